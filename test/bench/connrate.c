/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections a second over plain blocking sockets. The server closes first, so TIME_WAIT
 * is its own; the client waits for the end of the stream, then closes. An ADDR that is a path is
 * an AF_UNIX socket.
 *
 *   connrate server ADDR PORT
 *   connrate client ADDR PORT SECONDS    -> one JSON line
 *   connrate hold ADDR PORT COUNT        opens COUNT connections, prints "held", keeps them
 *                                        until its stdin ends
 *   connrate keep ADDR PORT              a server that accepts and keeps all connections
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/bench/endpoint.h"

static struct endpoint at;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int dial(void)
{
	int fd = socket(at.addr.ss_family, SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (connect(fd, (void *)&at.addr, at.n) < 0)
		die("connect");
	return fd;
}

static _Noreturn void serve(int keep)
{
	int one = 1, c, fd = socket(at.addr.ss_family, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&at.addr, at.n) < 0 || listen(fd, 1024) < 0)
		die("bind/listen");
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		c = accept(fd, NULL, NULL);
		if (c < 0 && errno != ECONNABORTED && errno != EINTR)
			die("accept");
		if (c >= 0 && !keep)
			close(c);
	}
}

static int hammer(double seconds)
{
	double t0 = now_s(), dt;
	uint64_t n = 0;
	char b;
	int fd;

	while ((dt = now_s() - t0) < seconds) {
		fd = dial();
		if (recv(fd, &b, 1, 0) != 0)
			die("recv");
		close(fd);
		n++;
	}
	printf("{\"conn_s\":%.1f,\"connections\":%llu}\n", (double)n / dt, (unsigned long long)n);
	return 0;
}

static int hold(unsigned long count)
{
	char b;

	while (count--)
		dial();
	printf("held\n");
	fflush(stdout);
	while (read(0, &b, 1) > 0)
		continue;
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit nofile;

	if (argc < 4) {
		fprintf(stderr, "usage: connrate server|client|hold|keep ADDR PORT [SECONDS|COUNT]\n");
		return 2;
	}
	if (getrlimit(RLIMIT_NOFILE, &nofile) == 0) {
		nofile.rlim_cur = nofile.rlim_max;
		setrlimit(RLIMIT_NOFILE, &nofile);
	}
	at = endpoint(argv[2], argv[3]);
	if (!strcmp(argv[1], "server") || !strcmp(argv[1], "keep"))
		serve(argv[1][0] == 'k');
	if (argc < 5) {
		fprintf(stderr, "connrate: seconds or a count is missing\n");
		return 2;
	}
	return argv[1][0] == 'c' ? hammer(strtod(argv[4], NULL)) : hold(strtoul(argv[4], NULL, 10));
}
