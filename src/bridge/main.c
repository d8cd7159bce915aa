/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp-bridge: started by the library, never by people, when a connection is to go on in a
 * program that does not have the library. What it does is in sock/bridge.c; here it only begins:
 * it takes over the stack as any program does after exec, by the table of descriptors that
 * ONRAMP_FDTAB names.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sock/sock.h"

static const char usage[] =
	"onramp-bridge CHANNEL\n"
	"Carries accelerated connections to programs that run on the kernel. libonramp.so starts it;\n"
	"there is no reason to start it by hand.\n";

/* It ends when the connections it carries have: a stopped service must not lose what its programs
 * still have to say, and who stops a session stops those programs. */
static void ignore_requests_to_end(void)
{
	static const int sigs[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGPIPE, SIGUSR1, SIGUSR2, SIGALRM };
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t none;
	size_t i;

	for (i = 0; i < n_elems(sigs); i++)
		(void)sigaction(sigs[i], &ignore, NULL);
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

int main(int argc, char **argv)
{
	char *end;
	long channel;

	if (argc != 2 || argv[1][0] < '0' || argv[1][0] > '9') {
		(void)fputs(usage, argc == 2 && strcmp(argv[1], "--help") == 0 ? stdout : stderr);
		return argc == 2 && strcmp(argv[1], "--help") == 0 ? EXIT_SUCCESS : 2;
	}
	channel = strtol(argv[1], &end, 10);
	ignore_requests_to_end();
	sk_init();
	sk_bridge((int)channel);
}
