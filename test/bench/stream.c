/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bulk over plain sockets: the client writes for a while, the server reads and reports. An ADDR
 * that is a path is an AF_UNIX socket.
 *
 *   stream server ADDR PORT                          serves one connection after another
 *   stream client ADDR PORT SECONDS [WRITE_BYTES [CONGESTION]]    -> one JSON line
 *
 * The client counts as delivered what the server says it has read (it answers with its
 * count when the stream ends), so nothing that sits in a buffer is counted.
 */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/bench/endpoint.h"

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

static int serve(int fd)
{
	static char buf[256 << 10];
	int c;

	printf("ready\n");
	fflush(stdout);
	while ((c = accept(fd, NULL, NULL)) >= 0) {
		uint64_t total = 0;
		ssize_t n;

		while ((n = recv(c, buf, sizeof(buf), 0)) > 0)
			total += (uint64_t)n;
		if (send(c, &total, sizeof(total), MSG_NOSIGNAL) != sizeof(total))
			perror("stream: reply");
		close(c);
	}
	die("accept");
	return 1;
}

static int push(int fd, double seconds, size_t chunk)
{
	char *buf = calloc(1, chunk);
	uint64_t sent = 0, got = 0;
	double t0 = now_s(), dt;
	ssize_t n;

	while (now_s() - t0 < seconds) {
		n = send(fd, buf, chunk, MSG_NOSIGNAL);
		if (n < 0)
			die("send");
		sent += (uint64_t)n;
	}
	shutdown(fd, SHUT_WR);
	if (recv(fd, &got, sizeof(got), MSG_WAITALL) != sizeof(got))
		die("recv");
	dt = now_s() - t0;
	if (got != sent) {
		fprintf(stderr, "stream: sent %llu, the server read %llu\n",
			(unsigned long long)sent, (unsigned long long)got);
		return 1;
	}
	printf("{\"gbit_s\":%.4f,\"bytes\":%llu,\"seconds\":%.3f}\n", (double)got * 8 / dt / 1e9,
	       (unsigned long long)got, dt);
	return 0;
}

int main(int argc, char **argv)
{
	int server = argc > 1 && !strcmp(argv[1], "server"), one = 1, fd;
	struct endpoint at;

	if (argc < (server ? 4 : 5)) {
		fprintf(stderr, "usage: stream server|client ADDR PORT [SECONDS [WRITE_BYTES [CONGESTION]]]\n");
		return 2;
	}
	at = endpoint(argv[2], argv[3]);
	fd = socket(at.addr.ss_family, SOCK_STREAM, 0);
	if (fd < 0)
		die("socket");
	if (!server) {
		if (argc > 6 && setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, argv[6], (socklen_t)strlen(argv[6])) < 0)
			die("TCP_CONGESTION");
		if (connect(fd, (void *)&at.addr, at.n) < 0)
			die("connect");
		return push(fd, strtod(argv[4], NULL), argc > 5 ? strtoul(argv[5], NULL, 10) : 128 << 10);
	}
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&at.addr, at.n) < 0 || listen(fd, 16) < 0)
		die("bind/listen");
	return serve(fd);
}
