/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A closed-loop load of memcached's text protocol from one thread: each connection has one
 * "get" under way. An ordinary epoll program. An ADDR that is a path is an AF_UNIX socket.
 *
 *   mcload ADDR PORT CONNECTIONS SECONDS    -> one JSON line
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/bench/endpoint.h"

#define MAX_SAMPLES (4u << 20)

static const char set_cmd[] = "set key 0 0 32\r\n0123456789abcdef0123456789abcdef\r\n";
static const char get_cmd[] = "get key\r\n";
static const size_t reply_bytes = sizeof("VALUE key 0 32\r\n0123456789abcdef0123456789abcdef\r\nEND\r\n") - 1;

struct conn { int fd; size_t have; uint64_t sent_at; };

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

static void ask(struct conn *c)
{
	c->have = 0;
	c->sent_at = now_ns();
	if (write(c->fd, get_cmd, sizeof(get_cmd) - 1) != (ssize_t)sizeof(get_cmd) - 1)
		die("write");
}

static void dial(struct conn *c, const struct endpoint *at, int first)
{
	char buf[64];
	int one = 1;

	c->fd = socket(at->addr.ss_family, SOCK_STREAM, 0);
	if (c->fd < 0 || connect(c->fd, (const void *)&at->addr, at->n) < 0)
		die("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (first) {
		if (write(c->fd, set_cmd, sizeof(set_cmd) - 1) < 0 || read(c->fd, buf, sizeof(buf)) != 8)
			die("set");
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* Takes what has come; true when the reply is whole. */
static int take(struct conn *c)
{
	char buf[256];
	ssize_t n = read(c->fd, buf, sizeof(buf));

	if (n == 0 || (n < 0 && errno != EAGAIN))
		die("read");
	if (n > 0)
		c->have += (size_t)n;
	if (c->have > reply_bytes) {
		fprintf(stderr, "mcload: a reply of %zu bytes instead of %zu\n", c->have, reply_bytes);
		exit(1);
	}
	return c->have == reply_bytes;
}

int main(int argc, char **argv)
{
	uint32_t *lat = calloc(MAX_SAMPLES, sizeof(*lat));
	struct epoll_event ev, evs[256];
	struct endpoint at;
	uint64_t t0, end, n = 0;
	struct conn *conns;
	int ep, i, k, n_conns;

	if (argc < 5) {
		fprintf(stderr, "usage: mcload ADDR PORT CONNECTIONS SECONDS\n");
		return 2;
	}
	at = endpoint(argv[1], argv[2]);
	n_conns = atoi(argv[3]);
	conns = calloc((size_t)n_conns, sizeof(*conns));
	ep = epoll_create1(0);
	for (i = 0; i < n_conns; i++) {
		dial(&conns[i], &at, i == 0);
		ev = (struct epoll_event){ .events = EPOLLIN, .data.ptr = &conns[i] };
		if (epoll_ctl(ep, EPOLL_CTL_ADD, conns[i].fd, &ev) < 0)
			die("epoll_ctl");
	}
	for (i = 0; i < n_conns; i++)
		ask(&conns[i]);
	t0 = now_ns();
	end = t0 + (uint64_t)(strtod(argv[4], NULL) * 1e9);
	while (now_ns() < end) {
		k = epoll_wait(ep, evs, 256, 1000);
		if (k == 0) {
			fprintf(stderr, "mcload: nothing came for a second\n");
			return 1;
		}
		for (i = 0; i < k; i++) {
			struct conn *c = evs[i].data.ptr;

			if (!take(c))
				continue;
			lat[n++ % MAX_SAMPLES] = (uint32_t)(now_ns() - c->sent_at);
			ask(c);
		}
	}
	end = now_ns();
	if (n == 0)
		return 1;
	k = (int)(n < MAX_SAMPLES ? n : MAX_SAMPLES);
	qsort(lat, (size_t)k, sizeof(*lat), by_value);
	printf("{\"rps\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f}\n", (double)n * 1e9 / (double)(end - t0),
	       lat[k / 2] / 1e3, lat[(uint64_t)k * 99 / 100] / 1e3);
	return 0;
}
