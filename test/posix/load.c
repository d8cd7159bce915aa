/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Client of serve.c: threads that open, exchange and close, and compare every byte.
 *
 *   load ADDR PORT THREADS SECONDS	-> "connections C bytes B wrong W failed F"; 0 if W and F are 0
 *
 * Each connection makes a few exchanges of random size; a quarter end by shutdown() and reading
 * to the end, a quarter by closing with bytes on the way, the others after their last answer.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MOST 60000

static struct sockaddr_storage peer;
static socklen_t peer_n;
static time_t until;
static _Atomic unsigned long n_conns, n_bytes, n_wrong, n_failed;

static uint32_t next(uint32_t *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	*s ^= *s << 5;
	return *s;
}

static bool fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	n_failed++;
	return false;
}

/* Sends and receives at once, so that neither side's buffers can lock the other out. */
static bool exchange(int fd, const char *out, char *in, size_t n)
{
	size_t sent = 0, got = 0;

	while (got < n) {
		struct pollfd p = { .fd = fd, .events = (short)(POLLIN | (sent < n ? POLLOUT : 0)) };
		ssize_t r;

		if (poll(&p, 1, 10000) <= 0)
			return fail("nothing for 10 s");
		if (p.revents & POLLOUT) {
			r = send(fd, out + sent, n - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (r < 0 && errno != EAGAIN)
				return fail("send");
			sent += r > 0 ? (size_t)r : 0;
		}
		if (p.revents & ~POLLOUT) {
			r = recv(fd, in + got, n - got, MSG_DONTWAIT);
			if (r == 0 || (r < 0 && errno != EAGAIN))
				return fail(r ? "recv" : "early end");
			got += r > 0 ? (size_t)r : 0;
		}
	}
	n_bytes += n;
	n_wrong += memcmp(in, out, n) != 0;
	return true;
}

static void finish(int fd, uint32_t how, const char *out)
{
	struct timeval tv = { 10, 0 };
	ssize_t r;
	char c;

	if (how % 4 == 0) {
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
		shutdown(fd, SHUT_WR);
		errno = 0;
		r = recv(fd, &c, 1, 0);
		if (r)
			fail(r > 0 ? "a byte too many" : "no end after shutdown");
	} else if (how % 4 == 1 && send(fd, out, 1000, MSG_NOSIGNAL) < 0) {
		fail("last send");
	}
	close(fd);
}

static void *client(void *arg)
{
	uint32_t seed = (uint32_t)(uintptr_t)arg * 2654435761u + 1;
	char *out = malloc(MOST), *in = malloc(MOST);

	for (size_t i = 0; i < MOST; i++)
		out[i] = (char)next(&seed);
	while (time(NULL) < until && !n_failed) {
		int fd = socket(peer.ss_family, SOCK_STREAM, 0);

		if (connect(fd, (void *)&peer, peer_n) < 0) {
			fail("connect");
			close(fd);
			break;
		}
		n_conns++;
		for (uint32_t k = next(&seed) % 8; k; k--) {
			size_t n = next(&seed) % (next(&seed) % 4 ? 2000 : MOST) + 1;

			if (!exchange(fd, out + next(&seed) % (MOST - n + 1), in, n))
				break;
		}
		finish(fd, next(&seed), out);
	}
	free(out);
	free(in);
	return NULL;
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 *a6 = (void *)&peer;
	struct sockaddr_in *a4 = (void *)&peer;
	int n, i;

	if (argc != 5)
		return 2;
	peer.ss_family = strchr(argv[1], ':') ? AF_INET6 : AF_INET;
	peer_n = peer.ss_family == AF_INET ? sizeof(*a4) : sizeof(*a6);
	if (peer.ss_family == AF_INET)
		inet_pton(AF_INET, argv[1], &a4->sin_addr);
	else
		inet_pton(AF_INET6, argv[1], &a6->sin6_addr);
	a4->sin_port = htons((uint16_t)atoi(argv[2]));
	n = atoi(argv[3]);
	until = time(NULL) + atoi(argv[4]);
	pthread_t *th = calloc((size_t)n, sizeof(*th));
	for (i = 0; i < n; i++)
		pthread_create(&th[i], NULL, client, (void *)(uintptr_t)(i + 1));
	for (i = 0; i < n; i++)
		pthread_join(th[i], NULL);
	printf("connections %lu bytes %lu wrong %lu failed %lu\n", n_conns, n_bytes, n_wrong, n_failed);
	return n_wrong || n_failed || !n_conns;
}
