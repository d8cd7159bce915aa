/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp-trap: what `onramp run --trap` starts in place of a statically linked program. The loader gives
 * this program the library, and the library turns the process into that one (trap/program.c). Where it
 * cannot, the program is started as ever, on the kernel.
 *
 *	onramp-trap PATH ARGV0 [ARGUMENTS]
 */
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

static const char usage[] = "usage: onramp-trap PATH ARGV0 [ARGUMENTS]\n"
	"Starts a statically linked program under onramp; `onramp run --trap` uses it.\n";

int main(int argc, char **argv)
{
	int (*become)(const char *, char *const *, char *const *);

	if (argc < 3) {
		(void)fputs(usage, stderr);
		return 2;
	}
	*(void **)&become = dlsym(RTLD_DEFAULT, "onramp_trap_become");
	if (become)
		(void)become(argv[1], argv + 2, environ);
	execve(argv[1], argv + 2, environ);
	/* allow: there is no application: as a shell would say it */
	perror(argv[1]);
	return errno == ENOENT ? 127 : 126;
}
