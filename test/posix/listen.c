/* SPDX-License-Identifier: BSD-2-Clause */
/* What listeners answer: the peer is asked to connect back. Compared as calls.c is. */
#include "case.h"

static int open_listener(int flags, int backlog)
{
	struct sockaddr_storage a = { .ss_family = peer.ss_family };
	int fd = socket(peer.ss_family, SOCK_STREAM | flags, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (void *)&a, peer_n) || (backlog && listen(fd, backlog)))
		printf("open_listener: %s\n", en(-1));
	return fd;
}

static int port_of(int fd)
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof(a);

	getsockname(fd, (void *)&a, &n);
	return ntohs(a.sin6_port);
}

/* The connection on which the peer was asked; closing it ends the peer's part. */
static int ask(int listener, int times, int ms)
{
	char line[64];

	snprintf(line, sizeof(line), "DIAL %d %d %d", port_of(listener), times, ms);
	return dial(line);
}

static void t_accept(void)
{
	struct sockaddr_storage a, b;
	socklen_t n = sizeof(a), m = sizeof(b);
	int l = open_listener(0, 5), ctl = ask(l, 1, 20), v = -1, fd;
	char buf[8] = "";
	ssize_t r;

	fd = accept(l, (void *)&a, &n);
	printf("accept: %s %u %d", en(fd), n, a.ss_family == peer.ss_family);
	printf(" %d", memcmp((char *)&a + (n == 16 ? 4 : 8), (char *)&peer + (n == 16 ? 4 : 8), n == 16 ? 4 : 16));
	r = getpeername(fd, (void *)&b, &m);
	printf(" %zd %d", r, memcmp(&a, &b, n == 16 ? 8 : 24));
	m = sizeof(b);
	r = getsockname(fd, (void *)&b, &m);
	printf(" %zd %d", r, ntohs(((struct sockaddr_in *)&b)->sin_port) == port_of(l));
	n = sizeof(v);
	getsockopt(l, SOL_SOCKET, SO_ACCEPTCONN, &v, &n);
	printf(" listening %d", v);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &n);
	printf(" %d", v);
	r = recv(fd, buf, 2, MSG_WAITALL);
	printf(" %zd %s %d\n", r, buf, fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	close(ctl);
	close(l);
}

static void t_accept_nonblock(void)
{
	int l = open_listener(SOCK_NONBLOCK, 5), fd = accept(l, NULL, NULL), ctl;
	struct pollfd p = { .fd = l, .events = POLLIN };
	char c;

	printf("accept_nonblock: %s poll %d", en(fd), poll(&p, 1, 0));
	ctl = ask(l, 1, 20);
	printf(" %d", poll(&p, 1, 3000));
	printf(" %x", p.revents);
	fd = accept4(l, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	printf(" %s %d %d", en(fd), (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, fcntl(fd, F_GETFD));
	close(ctl);
	usleep(20000);
	printf(" %zd", recv(fd, &c, 1, 0));
	close(fd);
	fd = accept4(l, NULL, NULL, 12345);
	printf(" %s", en(fd));
	fd = accept(l, NULL, NULL);
	printf(" %s\n", en(fd));
	close(l);
}

static void t_accept_timeout(void)
{
	struct timeval tv = { 0, 80000 };
	int l = open_listener(0, 5), fd;
	uint64_t t = now_ms();

	setsockopt(l, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	fd = accept(l, NULL, NULL);
	printf("accept_timeout: %s %s\n", en(fd), took(t, 80));
	close(l);
}

/* From afar and by loopback, into one queue. */
static void t_two_ways(void)
{
	int l = open_listener(SOCK_NONBLOCK, 5), ctl = ask(l, 2, 10), n = 0, ep = epoll_create1(0);
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 77 };
	int c = socket(peer.ss_family, SOCK_STREAM, 0), got = 0;
	char buf[4];

	four.sin_port = six.sin6_port = htons((uint16_t)port_of(l));
	epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
	printf("two_ways: %s", en(connect(c, peer.ss_family == AF_INET ? (void *)&four : (void *)&six, peer_n)));
	if (write(c, "lo", 2) != 2)
		return;
	while (n < 3 && epoll_wait(ep, &e, 1, 3000) == 1) {
		int fd = accept(l, NULL, NULL);

		if (fd < 0)
			continue;
		nonblock(fd, false);
		got += recv(fd, buf, 2, MSG_WAITALL) == 2 && (buf[1] == 'i' || buf[1] == 'o');
		n++;
		close(fd);
	}
	printf(" %d %d %d %lu\n", n, got, epoll_wait(ep, &e, 1, 0), (unsigned long)e.data.u64);
	close(c);
	close(ep);
	close(ctl);
	close(l);
}

/* In an epoll before it listens, then edge-triggered. */
static void t_listen_late(void)
{
	int l = open_listener(SOCK_NONBLOCK, 0), ep = epoll_create1(0), ctl, fd;
	struct epoll_event e = { .events = EPOLLIN | EPOLLET, .data.u64 = 9 }, got;

	printf("listen_late: %s", en(epoll_ctl(ep, EPOLL_CTL_ADD, l, &e)));
	printf(" %s", en(listen(l, 5)));
	epoll_wait(ep, &got, 1, 0);	/* the kernel says HUP for what did not listen yet */
	ctl = ask(l, 2, 30);
	printf(" %d", epoll_wait(ep, &got, 1, 3000));
	printf(" %x %lu", got.events, (unsigned long)got.data.u64);
	usleep(100000);
	fd = accept(l, NULL, NULL);
	printf(" %s", en(fd));
	close(fd);
	fd = accept(l, NULL, NULL);
	printf(" %s", en(fd));
	close(fd);
	fd = accept(l, NULL, NULL);
	printf(" %s\n", en(fd));
	close(ctl);
	close(l);
	close(ep);
}

static void t_child_accepts(void)
{
	int l = open_listener(0, 5), ctl = ask(l, 2, 60), fd, status;
	char buf[4];
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fd = accept(l, NULL, NULL);
		close(l);
		_exit(fd >= 0 && recv(fd, buf, 2, MSG_WAITALL) == 2 ? 4 : 1);
	}
	waitpid(pid, &status, 0);
	fd = accept(l, NULL, NULL);
	printf("child_accepts: %d %s %zd\n", WEXITSTATUS(status), en(fd), recv(fd, buf, 2, MSG_WAITALL));
	close(fd);
	close(ctl);
	close(l);
}

static void t_outlives_listener(void)
{
	int l = open_listener(0, 5), ctl = ask(l, 1, 10), fd = accept(l, NULL, NULL), port = port_of(l);
	struct sockaddr_storage a = { .ss_family = peer.ss_family };
	int again = socket(peer.ss_family, SOCK_STREAM, 0), one = 1;
	char buf[4];
	ssize_t r;

	close(l);
	usleep(20000);
	r = recv(fd, buf, 2, MSG_WAITALL);
	printf("outlives_listener: %zd", r);
	r = send(fd, "more", 4, MSG_NOSIGNAL);
	printf(" %zd", r);
	((struct sockaddr_in *)&a)->sin_port = htons((uint16_t)port);
	setsockopt(again, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	r = bind(again, (void *)&a, peer_n);
	printf(" bind %s", en(r));
	close(ctl);
	shutdown(fd, SHUT_WR);
	r = recv(fd, buf, 4, 0);
	printf(" end %zd\n", r);
	close(fd);
	close(again);
}

static void *shut_later(void *arg)
{
	usleep(60000);
	shutdown(*(int *)arg, SHUT_RDWR);
	return NULL;
}

static void t_shutdown_listener(void)
{
	int l = open_listener(0, 5), fd;
	pthread_t th;

	pthread_create(&th, NULL, shut_later, &l);
	fd = accept(l, NULL, NULL);
	printf("shutdown_listener: %s\n", en(fd));
	pthread_join(th, NULL);
	close(l);
}

static const struct one_case cases[] = {
	{ "accept", t_accept }, { "accept_nonblock", t_accept_nonblock },
	{ "accept_timeout", t_accept_timeout }, { "two_ways", t_two_ways },
	{ "listen_late", t_listen_late }, { "child_accepts", t_child_accepts },
	{ "outlives_listener", t_outlives_listener }, { "shutdown_listener", t_shutdown_listener },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
