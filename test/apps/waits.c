/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads of one program that answer each other, so that all of them want one stack: a pair of threads a
 * connection, over 127.0.0.1, a byte there and back, until the standard input ends.
 *
 *   waits PORT PAIRS	prints "ready" when all are connected
 *
 * With PAIRS 0 it is one thread: it connects to PORT, where somebody echoes, and waits for each byte.
 */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_PAIRS 8

static int fds[2 * MAX_PAIRS];

static void die(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static struct sockaddr_in at(const char *port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10)) };

	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return a;
}

static int reach(const struct sockaddr_in *a)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	if (fd < 0 || connect(fd, (const void *)a, sizeof(*a)))
		die("connect");
	return fd;
}

static void *answer(void *arg)
{
	int fd = *(int *)arg;
	char c = 0;

	while (recv(fd, &c, 1, 0) == 1 && send(fd, &c, 1, MSG_NOSIGNAL) == 1)
		;
	return NULL;
}

static int until_told(void)
{
	char c;

	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	_exit(EXIT_SUCCESS);
}

static void lone(const struct sockaddr_in *a)
{
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	int fd = reach(a);
	char c = 'x';

	puts("ready");
	fflush(stdout);
	while (poll(&in, 1, 0) == 0)
		if (send(fd, &c, 1, MSG_NOSIGNAL) != 1 || recv(fd, &c, 1, 0) != 1)
			die("echo");
	exit(EXIT_SUCCESS);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = at(argc > 1 ? argv[1] : "0");
	int n = argc > 2 ? (int)strtol(argv[2], NULL, 10) : -1, l, i, on = 1;
	pthread_t th;

	if (n < 0 || n > MAX_PAIRS) {
		fputs("usage: waits PORT PAIRS\n", stderr);
		return 2;
	}
	if (!n)
		lone(&a);
	l = socket(AF_INET, SOCK_STREAM, 0);
	if (l < 0 || setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) || bind(l, (void *)&a, sizeof(a)) ||
	    listen(l, n))
		die("listen");
	for (i = 0; i < n; i++) {
		fds[2 * i] = reach(&a);
		fds[2 * i + 1] = accept(l, NULL, NULL);
		if (fds[2 * i + 1] < 0 || send(fds[2 * i], "x", 1, MSG_NOSIGNAL) != 1)
			die("accept");
	}
	for (i = 0; i < 2 * n; i++)
		if (pthread_create(&th, NULL, answer, &fds[i]))
			die("thread");
	return until_told();
}
