/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the programs of this folder that write down answers share: the peer's address, a
 * connection to it, and the loop over cases. Output: one line per case, "name: what was
 * seen", with nothing in it that depends on time, ports or chance.
 *
 *   PROGRAM ADDR PORT [CASE...]
 */
#ifndef POSIX_CASE_H
#define POSIX_CASE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <linux/errqueue.h>
#include <unistd.h>

struct one_case { const char *name; void (*fn)(void); };

static struct sockaddr_storage peer;
static socklen_t peer_n;
static const char *addr_arg, *port_arg;

static inline const char *en(long r)
{
	return r < 0 ? strerrorname_np(errno) : "ok";
}

static inline unsigned char pattern(uint64_t at)
{
	return (unsigned char)(at * 31 + (at >> 8) * 7 + 3);
}

static inline uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Is it within reason? Slow machines are late, never early. */
static inline const char *took(uint64_t start, uint64_t ms)
{
	uint64_t d = now_ms() - start;

	return d + 5 < ms ? "early" : d > ms + 1500 ? "late" : "in time";
}

static inline int dial(const char *what)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);
	char line[256];
	int n = snprintf(line, sizeof(line), "%s\n", what);

	if (fd < 0 || connect(fd, (struct sockaddr *)&peer, peer_n) < 0) {
		printf("dial: %s\n", en(-1));
		exit(1);
	}
	if (what[0] && send(fd, line, (size_t)n, 0) != n)
		printf("dial: short\n");
	return fd;
}

static inline void nonblock(int fd, bool on)
{
	int fl = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK);
}

static inline void wait_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, 5000);
}

static bool wanted(int argc, char **argv, const char *name)
{
	for (int i = 3; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc <= 3;
}

static int run_cases(int argc, char **argv, const struct one_case *cases, size_t n)
{
	struct sockaddr_in6 *a6 = (void *)&peer;
	struct sockaddr_in *a4 = (void *)&peer;

	if (argc < 3)
		return 2;
	addr_arg = argv[1];
	port_arg = argv[2];
	peer.ss_family = strchr(argv[1], ':') ? AF_INET6 : AF_INET;
	peer_n = peer.ss_family == AF_INET ? sizeof(*a4) : sizeof(*a6);
	if (peer.ss_family == AF_INET)
		inet_pton(AF_INET, argv[1], &a4->sin_addr);
	else
		inet_pton(AF_INET6, argv[1], &a6->sin6_addr);
	a4->sin_port = htons((uint16_t)atoi(argv[2]));
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < n; i++)
		if (wanted(argc, argv, cases[i].name))
			cases[i].fn();
	return 0;
}

#endif
