/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors that are passed to other processes (SCM_RIGHTS), with the library and without, and
 * used by both. Compared as calls.c is.
 */
#include "process.h"

static void send_fd(int sock, int fd)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int))]; } c = { .h = { CMSG_LEN(sizeof(int)), SOL_SOCKET,
										 SCM_RIGHTS } };
	struct iovec v = { (char *)"x", 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

	memcpy(CMSG_DATA(&c.h), &fd, sizeof(fd));
	if (sendmsg(sock, &m, 0) != 1)
		printf("send_fd: %s\n", en(-1));
}

static int receive_fd(int sock)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int))]; } c;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	int got = -1;

	if (recvmsg(sock, &m, 0) == 1 && m.msg_controllen)
		memcpy(&got, CMSG_DATA(&c.h), sizeof(got));
	return got;
}

/* ---- SCM_RIGHTS ------------------------------------------------------------------------------------------- */

static void t_pass_to_self(void)
{
	int fd = dial("ECHO"), ends[2], got;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends))
		printf("socketpair: %s\n", en(-1));
	send_fd(ends[0], fd);
	got = receive_fd(ends[1]);
	printf("pass_to_self: other %d", got != fd && got >= 0);
	echo_line(got, "by the new one");
	printf("pass_to_self:");
	echo_line(fd, "by the old one");
	close(fd);
	printf("pass_to_self:");
	echo_line(got, "after the old one is closed");
	close(got);
	close(ends[0]);
	close(ends[1]);
}

static void pass_to(const char *path, int sock[2], int conn, char *const argv[])
{
	pid_t pid = fork();

	if (pid == 0) {
		close(conn);
		close(sock[0]);
		execv(path, argv);
		_exit(126);
	}
	send_fd(sock[0], conn);
	close(conn);
	reap(pid);
	close(sock[0]);
	close(sock[1]);
}

static void t_pass(void)
{
	for (int i = 0; i < 2; i++)
		for (int k = 0; k < 3; k++) {
			int fd = dial(k == 2 ? "SOURCE 3000000" : "ECHO"), s[2];

			if (socketpair(AF_UNIX, k ? SOCK_SEQPACKET : SOCK_STREAM, 0, s))
				printf("socketpair: %s\n", en(-1));
			printf("pass %s: ", kind_name(i));
			fflush(stdout);
			if (k == 0) {
				char *a[] = { "child", text_of(s[1]), "receive", "echo", "passed", NULL };

				pass_to(kinds[i], s, fd, a);
			} else if (k == 1) {
				char *a[] = { "child", text_of(s[1]), "receive", "names", (char *)addr_arg,
					      (char *)port_arg, NULL };

				pass_to(kinds[i], s, fd, a);
			} else {
				char *a[] = { "child", text_of(s[1]), "receive", "count", NULL };

				pass_to(kinds[i], s, fd, a);
			}
		}
}

/* Between processes of one program, which forked before the connection was there. */
static void t_pass_to_worker(void)
{
	int s[2], fd;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		printf("socketpair: %s\n", en(-1));
	pid = fork();
	if (pid == 0) {
		close(s[0]);
		fd = receive_fd(s[1]);
		printf("pass_to_worker:");
		echo_line(fd, "in the worker");
		_exit(0);
	}
	fd = dial("ECHO");
	send_fd(s[0], fd);
	close(fd);
	reap(pid);
	close(s[0]);
	close(s[1]);
}

static void t_pass_watched(void)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.u64 = 42 }, got = { 0 };
	int fd = dial("ECHO"), s[2], ep = epoll_create1(0), other, n;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s) || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
		printf("pass_watched: %s\n", en(-1));
	send_fd(s[0], fd);
	other = receive_fd(s[1]);
	send(other, "wake", 4, 0);
	n = epoll_wait(ep, &got, 1, 5000);
	printf("pass_watched: %d %llu %#x", n, (unsigned long long)got.data.u64, got.events);
	printf(" %s", en(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL)));
	close(other);
	echo_line(fd, "x");
	close(fd);
	close(ep);
	close(s[0]);
	close(s[1]);
}

/* The listener is given to another program, as a server does that is being replaced. */
static void t_pass_listener(void)
{
	for (int i = 0; i < 2; i++) {
		int l = listen_here(), port = port_of(l), s[2], ctl;
		char line[64];
		pid_t pid;

		if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
			printf("socketpair: %s\n", en(-1));
		printf("pass_listener %s: ", kind_name(i));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			close(l);
			execl(kinds[i], "child", text_of(s[1]), "receive", "accept", "half", "hello", (char *)NULL);
			_exit(126);
		}
		send_fd(s[0], l);
		close(l);
		usleep(200000);
		snprintf(line, sizeof(line), "DIAL %d 1 1", port);
		ctl = dial(line);
		reap(pid);
		close(ctl);
		close(s[0]);
		close(s[1]);
	}
}

/* It is accepted from by who passed it on, too. */
static void t_pass_listener_kept(void)
{
	int l = listen_here(), port = port_of(l), s[2], ctl, got, fd;
	char line[64], buf[8] = "";

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, s))
		printf("socketpair: %s\n", en(-1));
	send_fd(s[0], l);
	got = receive_fd(s[1]);
	for (int i = 0; i < 2; i++) {
		snprintf(line, sizeof(line), "DIAL %d 1 1", port);
		ctl = dial(line);
		fd = accept(i ? l : got, NULL, NULL);
		printf("pass_listener_kept: %s", en(fd));
		printf(" %zd %s", recv(fd, buf, 2, MSG_WAITALL), buf);
		printf(" nonblock %d\n", !!(fcntl(i ? l : got, F_GETFL) & O_NONBLOCK));
		close(fd);
		close(ctl);
	}
	close(got);
	close(l);
	close(s[0]);
	close(s[1]);
}

static void t_pass_udp(void)
{
	for (int i = 0; i < 2; i++) {
		struct sockaddr_storage a = { .ss_family = peer.ss_family };
		int fd = socket(peer.ss_family, SOCK_DGRAM, 0), s[2];
		char *argv[] = { "child", NULL, "receive", "udp", (char *)addr_arg, (char *)port_arg, "dgram", NULL };

		if (bind(fd, (void *)&a, peer_n) || socketpair(AF_UNIX, SOCK_STREAM, 0, s))
			printf("pass_udp: %s\n", en(-1));
		argv[1] = text_of(s[1]);
		printf("pass_udp %s: ", kind_name(i));
		fflush(stdout);
		pass_to(kinds[i], s, fd, argv);
	}
}

static const struct one_case cases[] = {
	{ "pass_to_self", t_pass_to_self }, { "pass", t_pass }, { "pass_to_worker", t_pass_to_worker },
	{ "pass_watched", t_pass_watched }, { "pass_listener", t_pass_listener },
	{ "pass_listener_kept", t_pass_listener_kept }, { "pass_udp", t_pass_udp },
};

int main(int argc, char **argv)
{
	find_children();
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
