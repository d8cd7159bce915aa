/* SPDX-License-Identifier: BSD-2-Clause */
/* The test program's own onramp_panic(): a failed must() fails the test, or is caught by
 * expect_assert_failure(). Included once by each unit test, which is one file. */
#ifndef TEST_UNIT_PANIC_H
#define TEST_UNIT_PANIC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/must.h"

void onramp_panic(const char *file, int line, const char *what)
{
	mock_assert(0, what, file, line);
	abort();
}

#endif
