/* SPDX-License-Identifier: BSD-2-Clause */
/* A file of its own, so that a program linked with the archive may bring its own. */
#include "base/must.h"

#include <stdlib.h>

/* must() failed on our own data: standard error is the program's, so nothing is printed. */
void onramp_panic(const char *file, int line, const char *what)
{
	(void)file;
	(void)line;
	(void)what;
	abort();
}
