/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an event costs in a set of epoll that watches ten connections, and in one that watches N
 * idle ones besides.
 *
 *   idle server ADDR PORT N	    listens on PORTS ports from PORT on; ten active clients first, then N idle
 *				    ones, on all ports, when its stdin says so; then the clock again -> one JSON line
 *   idle active ADDR PORT	    the ten: whenever it is asked on one, it writes a block there
 *   idle hold ADDR PORT N	    N connections that do nothing, until its stdin ends
 *
 * Bytes lie ready before the clock starts, and each read takes one, so that each is an event of a
 * level-triggered set and nobody waits: what is counted is the processor time of epoll_wait() and
 * read() alone. The least of many short rounds counts, because the machine does other things, too.
 *
 * Where one process may not have N descriptors, others hold them (forked before anything is measured,
 * asleep while it is), and watch them in the one set that they have inherited.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "test/bench/endpoint.h"

#define ACTIVE	10
#define BLOCK	2000
#define ROUNDS	100
#define PORTS	16
#define SPARE	200	/* descriptors that are not connections */
#define QUIET_NS 2500000000ull	/* after the last connection: what timers it left are over */

static const char *host;
static int port;

static void die(const char *what)
{
	printf("{\"failed\": \"%s: %s\"}\n", what, strerror(errno));
	fflush(stdout);
	exit(1);
}

static struct endpoint address(int i)
{
	char text[12];

	snprintf(text, sizeof(text), "%d", port + i);
	return endpoint(host, text);
}

static int dial(int i)
{
	struct endpoint at = address(i);
	struct linger none = { .l_onoff = 1 };	/* no TIME_WAIT for ports to wait for */
	int fd = socket(at.addr.ss_family, SOCK_STREAM, 0);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none)) < 0 ||
	    connect(fd, (void *)&at.addr, at.n) < 0)
		die("connect");
	return fd;
}

static int active(void)
{
	static char block[BLOCK];
	struct epoll_event e;
	int ep = epoll_create1(0);
	char c;

	for (int i = 0; i < ACTIVE; i++) {
		e = (struct epoll_event){ .events = EPOLLIN, .data.fd = dial(0) };
		if (epoll_ctl(ep, EPOLL_CTL_ADD, e.data.fd, &e) < 0)
			die("epoll_ctl");
	}
	while (epoll_wait(ep, &e, 1, -1) == 1) {
		if (read(e.data.fd, &c, 1) != 1)
			die("asked nothing");
		if (write(e.data.fd, block, BLOCK) != BLOCK)
			die("write");
	}
	return 1;
}

static int hold(int n)
{
	char c;

	for (int i = 0; i < n; i++)
		(void)dial(i % PORTS);
	printf("held\n");
	fflush(stdout);
	return read(0, &c, 1) > 0;
}

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static double round_of(int ep, const int *fd)
{
	struct epoll_event e[ACTIVE];
	int left = ACTIVE * BLOCK, there;
	uint64_t start;
	char c;

	for (int i = 0; i < ACTIVE; i++)
		if (write(fd[i], "g", 1) != 1)
			die("ask");
	for (int i = 0; i < ACTIVE; i++)
		while (ioctl(fd[i], FIONREAD, &there) == 0 && there < BLOCK)
			usleep(100);
	start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
	while (left) {
		int n = epoll_wait(ep, e, ACTIVE, -1);

		if (n < 0)
			die("epoll_wait");
		for (int i = 0; i < n; i++)
			left -= read(e[i].data.fd, &c, 1) == 1;
	}
	return (double)(clock_ns(CLOCK_THREAD_CPUTIME_ID) - start) / (ACTIVE * BLOCK);
}

static double least(int ep, const int *fd)
{
	double best = 1e9;

	for (int i = 0; i < ROUNDS; i++) {
		double ns = round_of(ep, fd);

		best = ns < best ? ns : best;
	}
	return best;
}

static void add(int ep, int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };

	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) < 0)
		die("epoll_ctl");
}

static int take(int ep, int l)
{
	int fd = accept(l, NULL, NULL);

	if (fd < 0)
		die("accept");
	add(ep, fd);
	return fd;
}

/* Idle ones come to all ports; listeners have a set of their own, so that the other is left alone. */
static void take_idle(int ep, const int *l, int n)
{
	struct epoll_event e[PORTS];
	int door = epoll_create1(0);

	for (int i = 0; i < PORTS; i++)
		add(door, l[i]);
	while (n) {
		int ready = epoll_wait(door, e, PORTS, -1);

		if (ready < 0)
			die("epoll_wait");
		for (int i = 0; i < ready && n; i++, n--)
			(void)take(ep, e[i].data.fd);
	}
}

/* ---- who holds them ---- */

static struct holder { int go[2], done[2], n; } holders[64];
static int n_holders;

static void holder(const struct holder *h, int ep, const int *l)
{
	char c;

	close(h->go[1]);
	if (read(h->go[0], &c, 1) != 1)
		exit(0);
	take_idle(ep, l, h->n);
	if (write(h->done[1], &c, 1) != 1)
		exit(1);
	exit(read(h->go[0], &c, 1) > 0);	/* until the server ends */
}

static void fork_holders(int ep, const int *l, int n, int most)
{
	for (; n > 0 && n_holders < 64; n_holders++) {
		struct holder *h = &holders[n_holders];
		pid_t pid;

		h->n = n < most ? n : most;
		n -= h->n;
		if (pipe2(h->go, O_CLOEXEC) < 0 || pipe2(h->done, O_CLOEXEC) < 0)
			die("pipe");
		pid = fork();
		if (pid < 0)
			die("fork");
		if (pid == 0) {
			for (int i = 0; i < n_holders; i++)
				close(holders[i].go[1]);
			holder(h, ep, l);
		}
		close(h->go[0]);
	}
}

static void let_hold(void)
{
	char c = 'g';

	for (int i = 0; i < n_holders; i++)
		if (write(holders[i].go[1], &c, 1) != 1 || read(holders[i].done[0], &c, 1) != 1)
			die("holder");
}

/* ---- the server ---- */

static void listen_all(int *l)
{
	int one = 1;

	for (int i = 0; i < PORTS; i++) {
		struct endpoint at = address(i);

		l[i] = socket(at.addr.ss_family, SOCK_STREAM, 0);
		setsockopt(l[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(l[i], (void *)&at.addr, at.n) < 0 || listen(l[i], 4096) < 0)
			die("listen");
	}
}

/* Timers that the connections' beginnings have left run out; and nothing is told of idle ones. */
static void settle(int ep)
{
	uint64_t until = clock_ns(CLOCK_MONOTONIC) + QUIET_NS;
	struct epoll_event e;

	while (clock_ns(CLOCK_MONOTONIC) < until)
		if (epoll_wait(ep, &e, 1, 100) != 0)
			die("an idle connection is not idle");
}

static void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

static int server(int n, int most)
{
	int l[PORTS], fd[ACTIVE], ep = epoll_create1(0);
	double alone, among;
	char c;

	listen_all(l);
	if (n + SPARE > most)
		fork_holders(ep, l, n, most - SPARE);
	say("ready");
	for (int i = 0; i < ACTIVE; i++)
		fd[i] = take(ep, l[0]);
	alone = least(ep, fd);
	say("alone");
	if (read(0, &c, 1) != 1)
		return 1;
	if (n_holders)
		let_hold();
	else
		take_idle(ep, l, n);
	settle(ep);
	among = least(ep, fd);
	printf("{\"alone_ns\": %.1f, \"among_ns\": %.1f, \"idle\": %d, \"holders\": %d}\n", alone, among, n, n_holders);
	fflush(stdout);
	return read(0, &c, 1) > 0;
}

int main(int argc, char **argv)
{
	bool counted = argc == 5;
	struct rlimit lim;

	if (argc < 4) {
		fprintf(stderr, "usage: idle server|active|hold ADDR PORT [N]\n");
		return 2;
	}
	getrlimit(RLIMIT_NOFILE, &lim);
	lim.rlim_cur = lim.rlim_max;
	setrlimit(RLIMIT_NOFILE, &lim);
	host = argv[2];
	port = atoi(argv[3]);
	if (!strcmp(argv[1], "active"))
		return active();
	if (!strcmp(argv[1], "server") && counted)
		return server(atoi(argv[4]), (int)lim.rlim_cur);
	return !strcmp(argv[1], "hold") && counted ? hold(atoi(argv[4])) : 2;
}
