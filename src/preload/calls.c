/* SPDX-License-Identifier: BSD-2-Clause */
/* The generated wrappers (src/preload/calls.def), and the way to libc's own functions. */
#include "preload/preload.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <stdlib.h>
#include <sys/syscall.h>

#include "calls.inc"

static long is_missing(void)
{
	errno = ENOSYS;
	return -1;
}

/* A function that this libc does not have fails as a system call that the kernel lacks. */
void *libc_find(void **at, const char *name)
{
	int saved = errno;
	void *p = dlsym(RTLD_NEXT, name);

	errno = saved;
	if (!p)
		p = (void *)is_missing;
	/* relaxed: see libc_own() */
	__atomic_store_n(at, p, __ATOMIC_RELAXED);
	return p;
}
