/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same conversations every time: what is said in them follows from a seed, which both ends know,
 * so every byte is checked and nothing that happens may depend on who carries it.
 *
 *   trace server ADDR PORT SEED			serves for ever; each connection says its number first
 *   trace client ADDR PORT SEED N	N conversations one after the other -> one JSON line
 *
 * A conversation: a few steps, in each of which one side sends 1 to 200,000 bytes in pieces, some of
 * them small and apart in time; then one side closes its half, and the other says its last words.
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

#define PIECE_MAX 65536u

struct talk {
	int fd;
	uint64_t rng;		/* what is said; drawn alike at both ends */
	uint64_t up, down;	/* bytes checked, by direction */
	uint64_t digest;	/* FNV-1a of all that came */
};

static uint8_t out[PIECE_MAX], in[PIECE_MAX];

static void die(const char *what)
{
	fprintf(stderr, "trace: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t draw(uint64_t *rng, uint64_t below)
{
	*rng ^= *rng << 13;
	*rng ^= *rng >> 7;
	*rng ^= *rng << 17;
	return *rng % below;
}

static void fill(uint8_t *p, uint32_t n, uint64_t *rng)
{
	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)draw(rng, 251);
}

static void say(struct talk *t, uint32_t n)
{
	for (uint32_t at = 0; at < n;) {
		ssize_t k = send(t->fd, out + at, n - at, MSG_NOSIGNAL);

		if (k <= 0)
			die("send");
		at += (uint32_t)k;
	}
}

static void hear(struct talk *t, uint32_t n)
{
	for (uint32_t at = 0; at < n;) {
		ssize_t k = recv(t->fd, in + at, n - at, 0);

		if (k <= 0) {
			errno = k ? errno : ENODATA;
			die("recv");
		}
		at += (uint32_t)k;
	}
	if (memcmp(in, out, n) != 0) {
		errno = EBADMSG;
		die("a byte differs");
	}
	for (uint32_t i = 0; i < n; i++)
		t->digest = (t->digest ^ in[i]) * 0x100000001b3u;
}

/* One side speaks; both have drawn what it is going to say. */
static void step(struct talk *t, bool we_speak, bool client)
{
	uint64_t most_of_it = draw(&t->rng, 3) ? 2000 : 200000;
	uint32_t left = 1 + (uint32_t)draw(&t->rng, most_of_it);
	bool apart = draw(&t->rng, 4) == 0;

	while (left) {
		uint32_t most = left < PIECE_MAX ? left : PIECE_MAX, n = 1 + (uint32_t)draw(&t->rng, most);

		fill(out, n, &t->rng);
		if (we_speak)
			say(t, n);
		else
			hear(t, n);
		if (we_speak && apart && n < 3000)
			usleep(2000);
		*(we_speak == client ? &t->up : &t->down) += n;
		left -= n;
	}
}

static void converse(struct talk *t, uint64_t seed, uint32_t i, bool client)
{
	uint32_t n;
	bool first;
	char c;

	t->rng = (seed * 1000003u + i + 1) * 0x9e3779b97f4a7c15u | 1;
	n = 1 + (uint32_t)draw(&t->rng, 6);
	while (n--)
		step(t, client == (draw(&t->rng, 2) == 0), client);
	/* Half a close, last words, the other half. */
	first = client == (draw(&t->rng, 2) == 0);
	if (first && shutdown(t->fd, SHUT_WR))
		die("shutdown");
	if (!first && recv(t->fd, &c, 1, 0) != 0)
		die("recv after the other's last byte");
	step(t, !first, client);
	if (!first && shutdown(t->fd, SHUT_WR))
		die("shutdown");
	if (first && recv(t->fd, &c, 1, 0) != 0)
		die("recv after the last words");
	close(t->fd);
}

static void serve(const struct endpoint *at, uint64_t seed)
{
	int l = socket(at->addr.ss_family, SOCK_STREAM, 0), on = 1;

	if (l < 0 || setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) ||
	    bind(l, (const void *)&at->addr, at->n) || listen(l, 16))
		die("listen");
	printf("ready\n");
	fflush(stdout);
	for (;;) {
		struct talk t = { .fd = accept(l, NULL, NULL) };
		uint32_t i;

		if (t.fd < 0)
			die("accept");
		if (recv(t.fd, &i, sizeof(i), MSG_WAITALL) != sizeof(i))
			die("recv of the number");
		converse(&t, seed, i, false);
	}
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

int main(int argc, char **argv)
{
	struct talk t = { .digest = 0xcbf29ce484222325u };
	struct endpoint at;
	double start;
	uint32_t n;

	if (argc < 5 || (strcmp(argv[1], "server") && argc < 6)) {
		fprintf(stderr, "usage: trace server ADDR PORT SEED | client ADDR PORT SEED N\n");
		return 2;
	}
	at = endpoint(argv[2], argv[3]);
	if (strcmp(argv[1], "server") == 0)
		serve(&at, strtoull(argv[4], NULL, 0));
	start = now_s();
	n = (uint32_t)atoi(argv[5]);
	for (uint32_t i = 0; i < n; i++) {
		t.fd = socket(at.addr.ss_family, SOCK_STREAM, 0);
		if (t.fd < 0 || connect(t.fd, (const void *)&at.addr, at.n))
			die("connect");
		if (send(t.fd, &i, sizeof(i), MSG_NOSIGNAL) != sizeof(i))
			die("send of the number");
		converse(&t, strtoull(argv[4], NULL, 0), i, true);
	}
	printf("{\"conversations\":%u,\"up\":%llu,\"down\":%llu,\"digest\":\"%016llx\",\"seconds\":%.3f}\n", n,
	       (unsigned long long)t.up, (unsigned long long)t.down, (unsigned long long)t.digest, now_s() - start);
	return 0;
}
