/* SPDX-License-Identifier: BSD-2-Clause */
/* What process.c and pass.c share: the programs that they execute, and waiting for them. */
#ifndef POSIX_PROCESS_H
#define POSIX_PROCESS_H

#include "case.h"

#include <libgen.h>

static char dynamic[4096], fixed[4096];	/* child, and child_static */

static inline void find_children(void)
{
	char here[4000];
	ssize_t n = readlink("/proc/self/exe", here, sizeof(here) - 1);

	here[n > 0 ? n : 0] = 0;
	dirname(here);
	snprintf(dynamic, sizeof(dynamic), "%s/child", here);
	snprintf(fixed, sizeof(fixed), "%s/child_static", here);
}

/* Both kinds, one after the other. */
static const char *const kinds[2] = { dynamic, fixed };
static inline const char *kind_name(int i) { return i ? "static" : "dynamic"; }

static inline void reap(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (status)
		printf("child: status %#x\n", (unsigned)status);
	fflush(stdout);
}

static inline char *text_of(int fd)
{
	static char buf[4][12];
	static int at;
	char *p = buf[at++ % 4];

	snprintf(p, 12, "%d", fd);
	return p;
}

static inline void echo_line(int fd, const char *text)
{
	char buf[256] = "";
	ssize_t n = (ssize_t)strlen(text), r = send(fd, text, (size_t)n, MSG_NOSIGNAL);

	printf(" %s", r == n ? "sent" : en(-1));
	r = r == n ? recv(fd, buf, (size_t)n, MSG_WAITALL) : -1;
	printf(" '%s' %s\n", buf, en(r));
	fflush(stdout);
}

static inline int port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof(a);

	getsockname(fd, (void *)&a, &n);
	return ntohs(a.sin6_port);
}

static inline int listen_here(void)
{
	struct sockaddr_storage a = { .ss_family = peer.ss_family };
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);

	if (bind(fd, (void *)&a, peer_n) || listen(fd, 8))
		printf("listen_here: %s\n", en(-1));
	return fd;
}

#endif
