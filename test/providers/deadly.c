/* SPDX-License-Identifier: BSD-2-Clause */
/* A shared object that nobody survives the loading of. */
#include <stdlib.h>

static void __attribute__((constructor)) begin(void) { abort(); }
