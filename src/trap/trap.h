/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp run --trap`: programs whose system calls no library sees. The kernel hands each call that
 * is not made by this library to a handler of ours (Syscall User Dispatch, prctl(2)), which does with
 * it what preload/ does with libc's call of that name. docs/internals/trap.md tells the whole.
 *
 * A program that the dynamic loader starts has the library already: trap_begin() is enough. One that
 * is linked statically is put beside the library by `onramp-trap`, a small program that the loader does
 * start: trap_become().
 */
#ifndef TRAP_TRAP_H
#define TRAP_TRAP_H

#include <stdbool.h>

/* The constructor: from here on this thread's calls are trapped, and those of all that it makes.
 * False: this kernel cannot (CONFIG_GENERIC_ENTRY, Linux 5.11), or this CPU is none that we know. */
bool trap_begin(void);

/* Maps the static program and becomes it: no return but with -errno, if it cannot be mapped. */
int trap_become(const char *path, char *const *argv, char *const *env);

/* Whether execve() of this file would start a program that no library reaches: -1 no, else 0, and
 * the path of `onramp-trap` to start in its place. */
int trap_detour(const char *path, char *ret_loader, unsigned long bytes);

#endif
