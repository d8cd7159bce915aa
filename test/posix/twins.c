/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several numbers, or processes, of one socket that was neither bound, connected nor listening when
 * they came to be. Compared as calls.c is.
 */
#include "process.h"

static const char *now;

static int plain(int type)
{
	return socket(peer.ss_family, type, 0);
}

static void hello(int fd)
{
	if (send(fd, "ECHO\n", 5, MSG_NOSIGNAL) != 5)
		printf("%s: greeting %s\n", now, en(-1));
}

static void talk(int fd, const char *text)
{
	printf("%s:", now);
	echo_line(fd, text);
}

static void link_up(int fd)
{
	printf("%s: connect %s\n", now, en(connect(fd, (void *)&peer, peer_n)));
}

static void t_twin_connects(void)
{
	int a = plain(SOCK_STREAM), b = dup(a), c = dup2(b, 90);

	link_up(b);
	hello(a);
	talk(c, "by the third");
	close(b);
	talk(a, "by the first");
	printf("%s: again %s\n", now, en(connect(c, (void *)&peer, peer_n)));
	close(a);
	talk(c, "by the last");
	close(c);
}

static void t_twin_nonblock(void)
{
	int a = plain(SOCK_STREAM), b = fcntl(a, F_DUPFD, 80), r;
	struct pollfd p = { .fd = a, .events = POLLOUT };

	nonblock(a, true);
	r = connect(b, (void *)&peer, peer_n);
	printf("%s: connect %s\n", now, r < 0 && errno == EINPROGRESS ? "ok" : en(r));
	printf("%s: poll %d\n", now, poll(&p, 1, 5000));
	printf("%s: recv %s\n", now, en(recv(a, &r, 1, 0)));
	nonblock(b, false);
	hello(a);
	talk(a, "blocking");
	close(a);
	close(b);
}

static void t_twin_options(void)
{
	int a = plain(SOCK_STREAM), b = dup(a), on = 1;
	socklen_t n = sizeof(on);

	printf("%s: set %s\n", now, en(setsockopt(a, IPPROTO_TCP, TCP_NODELAY, &on, n)));
	link_up(b);
	on = -1;
	printf("%s: get %s", now, en(getsockopt(a, IPPROTO_TCP, TCP_NODELAY, &on, &n)));
	printf(" %d\n", on);
	close(a);
	close(b);
}

static void t_twin_epoll(void)
{
	int a = plain(SOCK_STREAM), b = dup(a), ep = epoll_create1(0), r;
	struct epoll_event ev = { .events = EPOLLIN, .data.u32 = 11 };
	struct epoll_event got[4];
	char c;

	epoll_ctl(ep, EPOLL_CTL_ADD, a, &ev);
	ev.data.u32 = 22;
	epoll_ctl(ep, EPOLL_CTL_ADD, b, &ev);
	link_up(b);
	hello(a);
	send(b, "x", 1, 0);
	wait_in(a);
	r = epoll_wait(ep, got, 4, 5000);
	printf("%s: %d, ", now, r);
	r = (int)recv(a, &c, 1, 0);
	printf("read %d\n", r);
	close(ep);
	close(a);
	close(b);
}

/* bind() by one number, listen() by another, accept() by a third. */
static void t_twin_listens(void)
{
	struct sockaddr_storage any = { .ss_family = peer.ss_family };
	int a = plain(SOCK_STREAM), b = dup(a), c, fd, got;
	struct sockaddr_storage sa;
	socklen_t n = sizeof(sa);
	char buf[8] = "";

	printf("%s: bind %s\n", now, en(bind(a, (void *)&any, peer_n)));
	printf("%s: listen %s\n", now, en(listen(b, 4)));
	c = dup(a);
	printf("%s: same port %d\n", now, port_of(a) == port_of(b));
	getsockname(c, (void *)&sa, &n);
	if (sa.ss_family == AF_INET)
		((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&sa)->sin6_addr = in6addr_loopback;
	fd = plain(SOCK_STREAM);
	printf("%s: connect %s\n", now, en(connect(fd, (void *)&sa, n)));
	send(fd, "abc", 3, 0);
	wait_in(a);
	got = accept(a, NULL, NULL);
	printf("%s: accept %s, ", now, en(got));
	printf("%zd %s\n", recv(got, buf, 3, MSG_WAITALL), buf);
	printf("%s: connect it %s\n", now, en(connect(a, (void *)&peer, peer_n)));
	close(got);
	close(fd);
	close(a);
	close(b);
	close(c);
}

static void t_twin_datagrams(void)
{
	struct sockaddr_storage any = { .ss_family = peer.ss_family };
	int a = plain(SOCK_DGRAM), b = dup(a), s = plain(SOCK_DGRAM), t;
	struct sockaddr_storage sa;
	socklen_t n = sizeof(sa);
	char buf[8] = "";

	printf("%s: bind %s\n", now, en(bind(a, (void *)&any, peer_n)));
	getsockname(b, (void *)&sa, &n);
	if (sa.ss_family == AF_INET)
		((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&sa)->sin6_addr = in6addr_loopback;
	t = dup(s);
	printf("%s: connect %s\n", now, en(connect(s, (void *)&sa, n)));
	printf("%s: send %zd\n", now, send(t, "abc", 3, 0));
	wait_in(b);
	printf("%s: recv %zd ", now, recv(b, buf, sizeof(buf), MSG_DONTWAIT));
	printf("%s\n", buf);
	printf("%s: bind again %s\n", now, en(bind(b, (void *)&any, peer_n)));
	close(a);
	close(b);
	close(s);
	close(t);
}

/* ---- two processes ----------------------------------------------------------------------------------- */

static void t_forked_connects(void)
{
	int fd = plain(SOCK_STREAM);
	pid_t pid = fork();

	if (pid == 0) {
		link_up(fd);
		hello(fd);
		talk(fd, "child");
		_exit(0);
	}
	reap(pid);
	talk(fd, "parent");
	close(fd);
}

static void t_forked_alone(void)
{
	int fd = plain(SOCK_STREAM);
	pid_t pid = fork();

	if (pid == 0) {
		usleep(50000);
		link_up(fd);
		hello(fd);
		talk(fd, "child");
		_exit(0);
	}
	close(fd);
	reap(pid);
}

static void t_forked_listens(void)
{
	struct sockaddr_storage any = { .ss_family = peer.ss_family }, sa;
	int fd = plain(SOCK_STREAM), c, got;
	socklen_t n = sizeof(sa);
	pid_t pid;

	bind(fd, (void *)&any, peer_n);
	pid = fork();
	if (pid == 0) {
		printf("%s: listen %s\n", now, en(listen(fd, 4)));
		fflush(stdout);
		_exit(0);
	}
	reap(pid);
	getsockname(fd, (void *)&sa, &n);
	if (sa.ss_family == AF_INET)
		((struct sockaddr_in *)&sa)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&sa)->sin6_addr = in6addr_loopback;
	c = plain(SOCK_STREAM);
	printf("%s: connect %s\n", now, en(connect(c, (void *)&sa, n)));
	wait_in(fd);
	got = accept(fd, NULL, NULL);
	printf("%s: accept %s\n", now, en(got));
	close(got);
	close(c);
	close(fd);
}

static const struct one_case cases[] = {
	{ "twin_connects", t_twin_connects },
	{ "twin_nonblock", t_twin_nonblock },
	{ "twin_options", t_twin_options },
	{ "twin_epoll", t_twin_epoll },
	{ "twin_listens", t_twin_listens },
	{ "twin_datagrams", t_twin_datagrams },
	{ "forked_connects", t_forked_connects },
	{ "forked_alone", t_forked_alone },
	{ "forked_listens", t_forked_listens },
};

int main(int argc, char **argv)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		now = cases[i].name;
		run_cases(argc, argv, &cases[i], 1);
	}
	return 0;
}
