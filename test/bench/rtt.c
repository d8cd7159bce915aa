/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ping-pong over plain sockets: one byte stream or one datagram there and back, timed at the
 * client. An ordinary program on purpose: it knows nothing of onramp, so the same binary
 * measures the kernel and us. An ADDR that is a path is an AF_UNIX socket.
 *
 *   rtt server (tcp|udp) (block|spin) ADDR PORT BYTES
 *   rtt client (tcp|udp) (block|spin) ADDR PORT BYTES ROUNDS   -> one JSON line
 *
 * The first tenth of the rounds warms up and is not counted. "spin" receives with
 * non-blocking calls in a loop; "block" with blocking ones.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/bench/endpoint.h"

static bool spin, udp;
static struct endpoint at;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static int open_socket(bool server)
{
	int one = 1, fd = socket(at.addr.ss_family, udp ? SOCK_DGRAM : SOCK_STREAM, 0);

	if (fd < 0)
		die("socket");
	if (server) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(fd, (void *)&at.addr, at.n) < 0)
			die("bind");
		if (!udp && listen(fd, 16) < 0)
			die("listen");
		return fd;
	}
	/* An AF_UNIX datagram has no sender to answer unless that one has a name; any will do. */
	if (udp && at.addr.ss_family == AF_UNIX &&
	    bind(fd, &(struct sockaddr){ .sa_family = AF_UNIX }, sizeof(sa_family_t)) < 0)
		die("bind");
	if (connect(fd, (void *)&at.addr, at.n) < 0)
		die("connect");
	return fd;
}

/* Receives exactly n bytes, or one datagram. False at end of stream. */
static bool get(int fd, char *buf, size_t n, struct sockaddr_storage *from, socklen_t *len)
{
	size_t have = 0;
	ssize_t r;

	while (have < n) {
		r = recvfrom(fd, buf + have, n - have, spin ? MSG_DONTWAIT : 0,
			     (struct sockaddr *)from, len);
		if (r > 0)
			have += (size_t)r;
		else if (r == 0)
			return false;
		else if (errno != EAGAIN && errno != EINTR)
			die("recv");
		if (udp && r > 0)
			break;
	}
	return true;
}

static void put(int fd, const char *buf, size_t n, struct sockaddr_storage *to, socklen_t len)
{
	ssize_t r = sendto(fd, buf, n, MSG_NOSIGNAL, (struct sockaddr *)to, len);

	if (r != (ssize_t)n)
		die("send");
}

static _Noreturn void serve(int fd, size_t bytes)
{
	struct sockaddr_storage from;
	char *buf = calloc(1, bytes);
	socklen_t len;
	int one = 1, c;

	printf("ready\n");
	fflush(stdout);
	for (;;) {
		c = udp ? fd : accept(fd, NULL, NULL);
		if (c < 0)
			die("accept");
		if (!udp)
			setsockopt(c, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		for (;;) {
			len = sizeof(from);
			if (!get(c, buf, bytes, udp ? &from : NULL, udp ? &len : NULL))
				break;
			put(c, buf, bytes, udp ? &from : NULL, udp ? len : 0);
		}
		close(c);
	}
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static int measure(int fd, size_t bytes, size_t rounds)
{
	char *buf = calloc(1, bytes);
	uint64_t *t = calloc(rounds, sizeof(*t)), t0, sum = 0;
	size_t warm = rounds / 10, n = rounds - warm, i;
	int one = 1;

	if (!udp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	for (i = 0; i < rounds; i++) {
		t0 = now_ns();
		put(fd, buf, bytes, NULL, 0);
		if (!get(fd, buf, bytes, NULL, NULL)) {
			fprintf(stderr, "rtt: the server closed\n");
			return 1;
		}
		if (i >= warm)
			sum += t[i - warm] = now_ns() - t0;
	}
	qsort(t, n, sizeof(*t), by_value);
	printf("{\"rtt_us_p50\":%.3f,\"rtt_us_p99\":%.3f,\"rtt_us_mean\":%.3f,\"rounds\":%zu}\n",
	       (double)t[n / 2] / 1e3, (double)t[n * 99 / 100] / 1e3, (double)sum / (double)n / 1e3, n);
	return 0;
}

int main(int argc, char **argv)
{
	bool server = argc > 1 && !strcmp(argv[1], "server");
	int fd;

	if (argc < (server ? 7 : 8)) {
		fprintf(stderr, "usage: rtt server|client tcp|udp block|spin ADDR PORT BYTES [ROUNDS]\n");
		return 2;
	}
	udp = !strcmp(argv[2], "udp");
	spin = !strcmp(argv[3], "spin");
	at = endpoint(argv[4], argv[5]);
	fd = open_socket(server);
	if (server)
		serve(fd, strtoul(argv[6], NULL, 10));
	return measure(fd, strtoul(argv[6], NULL, 10), strtoul(argv[7], NULL, 10));
}
