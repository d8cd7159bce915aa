/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lines counted and sent on without being copied: a filter between two TCP connections, with the
 * calls of onramp/onramp.h. Every byte is looked at where it was received, and written once, where
 * the next reader finds it.
 *
 *	in-place 127.0.0.1 7000		upper case of what each client sends, back to it
 *
 *	onramp run -- build/examples/in-place 127.0.0.1 7000 &
 *	onramp run -- socat - TCP:127.0.0.1:7000
 *
 * It runs as well without onramp: then the library copies.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "onramp/onramp.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* One piece, as often as there is room for some of it. */
static int send_upper(int fd, const unsigned char *from, size_t n)
{
	while (n) {
		size_t room;
		unsigned char *to = onramp_send_reserve(fd, n, &room);

		if (!to)
			return -1;
		for (size_t i = 0; i < room; i++)
			to[i] = (unsigned char)toupper(from[i]);
		if (onramp_send_commit(fd, room) < 0)
			return -1;
		from += room;
		n -= room;
	}
	return 0;
}

static void serve(int fd)
{
	struct iovec v[8];
	size_t lines = 0;
	ssize_t n;

	while ((n = onramp_recv_in_place(fd, v, 8, 0)) > 0) {
		for (int i = 0; i < 8 && v[i].iov_len; i++) {
			const unsigned char *p = v[i].iov_base;

			for (size_t k = 0; k < v[i].iov_len; k++)
				lines += p[k] == '\n';
			if (send_upper(fd, p, v[i].iov_len))
				return;
		}
		if (onramp_hand_back(fd, (size_t)n))
			return;
	}
	printf("%zu lines, %s\n", lines, onramp_in_place(fd) & ONRAMP_SEND_IN_PLACE ? "in place" : "with copies");
}

int main(int argc, char **argv)
{
	struct sockaddr_in at = { .sin_family = AF_INET };
	int l = socket(AF_INET, SOCK_STREAM, 0), one = 1, fd;

	if (argc != 3 || inet_pton(AF_INET, argv[1], &at.sin_addr) != 1) {
		fprintf(stderr, "usage: in-place ADDR PORT\n");
		return 2;
	}
	at.sin_port = htons((uint16_t)atoi(argv[2]));
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (l < 0 || bind(l, (void *)&at, sizeof(at)) || listen(l, 16))
		die("listen");
	setvbuf(stdout, NULL, _IOLBF, 0);
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		serve(fd);
		close(fd);
	}
	die("accept");
}
