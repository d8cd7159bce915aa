/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What process.c executes, spawns and sends sockets to. Built twice: with a loader, which puts the
 * library in, and as child_static, into which nobody puts anything.
 *
 *   child FD WHAT [ARGUMENT...]
 *
 *   names ADDR PORT	what the socket says of itself and its peer
 *   echo TEXT		sends, and prints what comes back
 *   count		reads to the end, prints how much and a sum
 *   half TEXT		sends, shuts down sending, prints all that comes
 *   poll		whether there is something to read, within 5 s
 *   receive WHAT...	FD is an AF_UNIX socket: the socket comes by it
 *   accept WHAT...	FD listens: the socket comes by it
 *   udp ADDR PORT TEXT	a datagram to the peer and back
 *   open		whether the descriptor is open at all
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *en(long r) { return r < 0 ? strerrorname_np(errno) : "ok"; }

static int names(int fd, const char *addr, const char *port)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	char text[64] = "";
	int r = getpeername(fd, (struct sockaddr *)&a, &n), type = -1, err = -1;
	int p = ntohs(((struct sockaddr_in *)&a)->sin_port);

	if (r == 0 && a.ss_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)&a)->sin_addr, text, sizeof(text));
	else if (r == 0)
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)&a)->sin6_addr, text, sizeof(text));
	printf("peer %s %s port %s", en(r), strcmp(text, addr) ? text : "right", p == atoi(port) ? "right" : "wrong");
	n = sizeof(a);
	r = getsockname(fd, (struct sockaddr *)&a, &n);
	printf(", own %s %d %u %s", en(r), a.ss_family, n, ((struct sockaddr_in *)&a)->sin_port ? "a port" : "none");
	n = sizeof(type);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n);
	n = sizeof(err);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(", type %d error %d nonblock %d\n", type, err, !!(fcntl(fd, F_GETFL) & O_NONBLOCK));
	return 0;
}

static int echo(int fd, const char *text)
{
	size_t n = strlen(text), have = 0;
	char buf[4096];
	ssize_t r = send(fd, text, n, MSG_NOSIGNAL);

	printf("sent %s", r == (ssize_t)n ? "all" : en(-1));
	while (r > 0 && have < n && (r = recv(fd, buf + have, sizeof(buf) - have - 1, 0)) > 0)
		have += (size_t)r;
	buf[have] = 0;
	printf(", got '%s' %s\n", buf, r < 0 ? en(r) : r ? "" : "end");
	return 0;
}

static int count(int fd)
{
	unsigned char buf[65536];
	uint64_t n = 0, sum = 0;
	ssize_t r;

	while ((r = read(fd, buf, sizeof(buf))) > 0)
		for (ssize_t i = 0; i < r; i++)
			sum += (++n % 251) * buf[i];
	printf("counted %llu, sum %llu, %s\n", (unsigned long long)n, (unsigned long long)sum, en(r));
	return 0;
}

static int half(int fd, const char *text)
{
	char buf[4096];
	size_t have = 0;
	ssize_t r = write(fd, text, strlen(text));

	printf("wrote %s, shutdown %s", en(r), en(shutdown(fd, SHUT_WR)));
	while ((r = read(fd, buf + have, sizeof(buf) - have - 1)) > 0)
		have += (size_t)r;
	buf[have] = 0;
	printf(", got '%s' %s\n", buf, en(r));
	return 0;
}

static int receive(int fd)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int))]; } c;
	char byte;
	struct iovec v = { &byte, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };
	int got = -1;

	if (recvmsg(fd, &m, 0) == 1 && m.msg_controllen)
		memcpy(&got, CMSG_DATA(&c.h), sizeof(got));
	return got;
}

static int udp(int fd, const char *addr, const char *port, const char *text)
{
	struct sockaddr_storage a = { .ss_family = strchr(addr, ':') ? AF_INET6 : AF_INET };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[128] = "";
	ssize_t r;

	((struct sockaddr_in *)&a)->sin_port = htons((uint16_t)atoi(port));
	if (a.ss_family == AF_INET)
		inet_pton(AF_INET, addr, &((struct sockaddr_in *)&a)->sin_addr);
	else
		inet_pton(AF_INET6, addr, &((struct sockaddr_in6 *)&a)->sin6_addr);
	r = sendto(fd, text, strlen(text), 0, (struct sockaddr *)&a, a.ss_family == AF_INET ? 16 : 28);
	printf("sent %s", en(r));
	poll(&p, 1, 3000);
	r = recv(fd, buf, sizeof(buf) - 1, MSG_DONTWAIT);
	printf(", got '%s' %s\n", buf, en(r));
	return 0;
}

static int act(int fd, int n, char **a)
{
	const char *what = n > 0 ? a[0] : "";
	struct pollfd p = { .fd = fd, .events = POLLIN };

	if (!strcmp(what, "names") && n > 2)
		return names(fd, a[1], a[2]);
	if (!strcmp(what, "echo") && n > 1)
		return echo(fd, a[1]);
	if (!strcmp(what, "half") && n > 1)
		return half(fd, a[1]);
	if (!strcmp(what, "count"))
		return count(fd);
	if (!strcmp(what, "poll"))
		return printf("poll %d %d\n", poll(&p, 1, 5000), p.revents) < 0;
	if (!strcmp(what, "receive"))
		return act(receive(fd), n - 1, a + 1);
	if (!strcmp(what, "accept"))
		return act(accept(fd, NULL, NULL), n - 1, a + 1);
	if (!strcmp(what, "udp") && n > 3)
		return udp(fd, a[1], a[2], a[3]);
	if (!strcmp(what, "open"))
		return printf("open %s\n", en(fcntl(fd, F_GETFD))) < 0;
	return 2;
}

int main(int argc, char **argv)
{
	int r = argc > 2 ? act(atoi(argv[1]), argc - 2, argv + 2) : 2;

	fflush(stdout);
	return r;
}
