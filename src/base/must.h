/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * must(): what is true of private data unless we have a bug. Always compiled in.
 * Never used on a value that another process or the wire could have written:
 * such a value is condemned (core/stack/stack.h), not asserted.
 */
#ifndef BASE_MUST_H
#define BASE_MUST_H

#include "base/compiler.h"

/* Supplied by each program: prints or logs where its executor may, then aborts. */
noreturn_fn cold_fn void onramp_panic(const char *file, int line, const char *what);

#define must(cond) \
	(likely(cond) ? (void)0 : onramp_panic(__FILE__, __LINE__, #cond))

#endif
