/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An echo server in each of the shapes that servers have; load.c is its client.
 *
 *   serve SHAPE ADDR PORT
 *
 *   thread	four threads block in accept(), each serves a connection to its end
 *   prefork	the same with four processes
 *   poll	one poll() loop, non-blocking	select	the same with select()
 *   lt, et	one epoll loop, level- or edge-triggered
 *   oneshot	four threads share one epoll, EPOLLONESHOT
 *   exclusive	four processes, an epoll each, the listener shared by EPOLLEXCLUSIVE
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#define WORKERS 4

/* What is read and not yet written back, per descriptor. */
struct conn { char buf[16384]; size_t have; bool ended; };
static struct conn *conns[4096];
static int listener;

static struct conn *conn_of(int fd)
{
	if (!conns[fd])
		conns[fd] = calloc(1, sizeof(struct conn));
	return conns[fd];
}

static void forget(int fd)
{
	free(conns[fd]);
	conns[fd] = NULL;
	close(fd);
}

/* Goes on until it would block. False: the connection is over and closed. */
static bool pump(int fd)
{
	struct conn *c = conn_of(fd);
	ssize_t r;

	for (;;) {
		while (c->have) {
			r = send(fd, c->buf, c->have, MSG_NOSIGNAL);
			if (r < 0 && errno == EAGAIN)
				return true;
			if (r < 0)
				return forget(fd), false;
			c->have -= (size_t)r;
			memmove(c->buf, c->buf + r, c->have);
		}
		if (c->ended)
			return forget(fd), false;
		r = recv(fd, c->buf, sizeof(c->buf), 0);
		if (r < 0 && errno == EAGAIN)
			return true;
		if (r < 0)
			return forget(fd), false;
		c->ended = r == 0;
		c->have = (size_t)r;
	}
}

static bool wants_out(int fd) { return conns[fd] && conns[fd]->have; }

/* ---- blocking ----------------------------------------------------------------------------------- */

static void *blocking(void *arg)
{
	char buf[16384];

	for (;;) {
		int fd = accept(listener, NULL, NULL);
		ssize_t r, w, n;

		if (fd < 0)
			continue;
		while ((r = read(fd, buf, sizeof(buf))) > 0)
			for (n = 0; n < r; n += w) {
				w = send(fd, buf + n, (size_t)(r - n), MSG_NOSIGNAL);
				if (w < 0)
					break;
			}
		close(fd);
	}
	return arg;
}

static void in_threads(void *(*fn)(void *), void *arg)
{
	pthread_t th;

	for (int i = 1; i < WORKERS; i++)
		pthread_create(&th, NULL, fn, arg);
	fn(arg);
}

static void in_processes(void)
{
	for (int i = 1; i < WORKERS; i++)
		if (fork() == 0)
			return;
}

/* ---- poll and select ------------------------------------------------------------------------------- */

static void poll_loop(void)
{
	static struct pollfd p[4096];
	int n = 1, i;

	p[0] = (struct pollfd){ .fd = listener, .events = POLLIN };
	for (;;) {
		if (poll(p, (nfds_t)n, -1) < 0)
			continue;
		for (i = 1; i < n; i++) {
			if (!p[i].revents)
				continue;
			if (!pump(p[i].fd))
				p[i--] = p[--n];
			else
				p[i].events = wants_out(p[i].fd) ? POLLOUT : POLLIN;
		}
		for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;)
			p[n++] = (struct pollfd){ .fd = fd, .events = POLLIN };
	}
}

static void select_loop(void)
{
	bool live[FD_SETSIZE] = { false };
	fd_set rd, wr;

	for (;;) {
		int max = listener;

		FD_ZERO(&rd);
		FD_ZERO(&wr);
		FD_SET(listener, &rd);
		for (int fd = 0; fd < FD_SETSIZE; fd++)
			if (live[fd]) {
				FD_SET(fd, wants_out(fd) ? &wr : &rd);
				max = fd > max ? fd : max;
			}
		if (select(max + 1, &rd, &wr, NULL, NULL) < 0)
			continue;
		for (int fd = 0; fd <= max; fd++)
			if (live[fd] && (FD_ISSET(fd, &rd) || FD_ISSET(fd, &wr)))
				live[fd] = pump(fd);
		for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;)
			live[fd] = true;
	}
}

/* ---- epoll ------------------------------------------------------------------------------------------ */

static int ep;
static uint32_t mode;

static void watch(int op, int fd)
{
	struct epoll_event e = { .data.fd = fd };

	e.events = mode | (mode & EPOLLET ? EPOLLIN | EPOLLOUT : wants_out(fd) ? EPOLLOUT : EPOLLIN);
	epoll_ctl(ep, op, fd, &e);
}

static void *epoll_loop(void *arg)
{
	struct epoll_event e[32];

	for (;;) {
		int n = epoll_wait(ep, e, 32, -1);

		for (int i = 0; i < n; i++) {
			int fd = e[i].data.fd;

			if (fd == listener) {
				int c;

				while ((c = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
					watch(EPOLL_CTL_ADD, c);
			} else {
				bool out = wants_out(fd);

				if (pump(fd) && (mode & EPOLLONESHOT || out != wants_out(fd)))
					watch(EPOLL_CTL_MOD, fd);
			}
		}
	}
	return arg;
}

static void start_epoll(uint32_t with, uint32_t listen_with)
{
	struct epoll_event e = { .events = EPOLLIN | listen_with, .data.fd = listener };

	ep = epoll_create1(0);
	mode = with;
	epoll_ctl(ep, EPOLL_CTL_ADD, listener, &e);
}

static int open_listener(const char *addr, const char *port)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	bool v6 = strchr(addr, ':');
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0), one = 1;

	a4.sin_port = a6.sin6_port = htons((uint16_t)atoi(port));
	inet_pton(AF_INET, addr, &a4.sin_addr);
	inet_pton(AF_INET6, addr, &a6.sin6_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4)) || listen(fd, 511)) {
		perror("listen");
		exit(1);
	}
	return fd;
}

int main(int argc, char **argv)
{
	const char *shape = argc == 4 ? argv[1] : "";
	bool blocks = strcmp(shape, "thread") == 0 || strcmp(shape, "prefork") == 0;

	if (argc != 4)
		return 2;
	listener = open_listener(argv[2], argv[3]);
	if (!blocks)
		fcntl(listener, F_SETFL, O_NONBLOCK);
	if (strcmp(shape, "thread") == 0)
		in_threads(blocking, NULL);
	else if (strcmp(shape, "prefork") == 0)
		in_processes(), blocking(NULL);
	else if (strcmp(shape, "poll") == 0)
		poll_loop();
	else if (strcmp(shape, "select") == 0)
		select_loop();
	else if (strcmp(shape, "lt") == 0)
		start_epoll(0, 0), epoll_loop(NULL);
	else if (strcmp(shape, "et") == 0)
		start_epoll(EPOLLET, EPOLLET), epoll_loop(NULL);
	else if (strcmp(shape, "oneshot") == 0)
		start_epoll(EPOLLONESHOT, 0), in_threads(epoll_loop, NULL);
	else if (strcmp(shape, "exclusive") == 0)
		in_processes(), start_epoll(0, EPOLLEXCLUSIVE), epoll_loop(NULL);
	return 2;
}
