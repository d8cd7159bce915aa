/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other end of calls.c: a plain server that does what the first line of each connection
 * says, one process per connection.
 *
 *   peer ADDR PORT
 *
 *   ECHO			sends back what comes, until the end; then closes
 *   SOURCE n		sends n bytes of a known pattern, then closes
 *   SINK			counts to the end, answers "count sum\n", closes
 *   LATE ms text	waits, sends text, waits for the end
 *   DRIP n ms		sends n single bytes, that far apart
 *   RESET		closes with SO_LINGER 0
 *   HALF text		shuts down its sending side after text, then counts to the end
 *   HOLD ms		does nothing for a while, then closes
 *   DIAL port n ms	connects back to that port n times, ms apart; each says "hi", waits for the end
 *   OOB text		sends the last byte of text as urgent data
 *
 * On the same port it sends back datagrams; one that begins with "n" n times, "-" not at all, and
 *
 *   ?			answers what its header said: TTL, TOS, the sender's address, its length
 *   !with ttl tos	comes back with these in its header
 *   !cut seg n		n bytes come back, sent as one by UDP_SEGMENT
 *   !icmp type code w	an ICMP error quotes it, with that word after the checksum; then "told" comes
 *   !spray port n	n sockets send "1" and then "2" each to that port of the sender
 *   !frag how n	n bytes come back in fragments (frag.h), made by hand
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "frag.h"

static unsigned char pattern(uint64_t at)
{
	return (unsigned char)(at * 31 + (at >> 8) * 7 + 3);
}

static bool send_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t r = send(fd, at, n, MSG_NOSIGNAL);

		if (r <= 0)
			return false;
		at += r;
		n -= (size_t)r;
	}
	return true;
}

static void drain(int fd)
{
	char buf[65536];

	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

static void echo(int fd)
{
	char buf[65536];
	ssize_t r;

	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (!send_all(fd, buf, (size_t)r))
			return;
}

static void source(int fd, uint64_t n)
{
	unsigned char buf[32768];
	uint64_t at = 0;

	while (at < n) {
		size_t k = n - at < sizeof(buf) ? (size_t)(n - at) : sizeof(buf);

		for (size_t i = 0; i < k; i++)
			buf[i] = pattern(at + i);
		if (!send_all(fd, buf, k))
			return;
		at += k;
	}
}

static void sink(int fd)
{
	unsigned char buf[65536];
	uint64_t n = 0, wrong = 0;
	char line[64];
	ssize_t r;

	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t i = 0; i < r; i++)
			wrong += buf[i] != pattern(n + (uint64_t)i);
		n += (uint64_t)r;
	}
	send_all(fd, line, (size_t)snprintf(line, sizeof(line), "%lu %lu\n", (unsigned long)n,
					    (unsigned long)wrong));
}

static void drip(int fd, unsigned n, unsigned ms)
{
	for (unsigned i = 0; i < n; i++) {
		usleep(ms * 1000);
		if (!send_all(fd, "abcdefghijklmnopqrstuvwxyz" + i % 26, 1))
			return;
	}
}

static void reset(int fd)
{
	struct linger l = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static void dial_back(int fd, unsigned port, unsigned times, unsigned ms)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);

	getpeername(fd, (void *)&a, &n);
	((struct sockaddr_in *)&a)->sin_port = htons((uint16_t)port);
	while (times--) {
		int c = socket(a.ss_family, SOCK_STREAM, 0);

		usleep(ms * 1000);
		if (fork() == 0) {
			if (connect(c, (void *)&a, n) == 0 && send_all(c, "hi", 2))
				drain(c);
			_exit(0);
		}
		close(c);
	}
	drain(fd);
}

static void serve(int fd)
{
	char line[256], text[128] = "";
	unsigned long a = 0, b = 0, c = 0;
	size_t n = 0;

	while (n < sizeof(line) - 1 && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n')
		n++;
	line[n] = 0;
	if (strcmp(line, "ECHO") == 0)
		echo(fd);
	else if (sscanf(line, "SOURCE %lu", &a) == 1)
		source(fd, a);
	else if (strcmp(line, "SINK") == 0)
		sink(fd);
	else if (sscanf(line, "LATE %lu %127s", &a, text) == 2)
		usleep((unsigned)a * 1000), send_all(fd, text, strlen(text)), drain(fd);
	else if (sscanf(line, "DRIP %lu %lu", &a, &b) == 2)
		drip(fd, (unsigned)a, (unsigned)b);
	else if (strcmp(line, "RESET") == 0)
		reset(fd);
	else if (sscanf(line, "HALF %127s", text) == 1)
		send_all(fd, text, strlen(text)), shutdown(fd, SHUT_WR), drain(fd);
	else if (sscanf(line, "HOLD %lu", &a) == 1)
		usleep((unsigned)a * 1000);
	else if (sscanf(line, "DIAL %lu %lu %lu", &a, &b, &c) == 3)
		dial_back(fd, (unsigned)a, (unsigned)b, (unsigned)c);
	else if (sscanf(line, "OOB %127s", text) == 1)
		send(fd, text, strlen(text), MSG_OOB), drain(fd);
}

/* A datagram that came, and what its header said. */
struct gram {
	struct sockaddr_storage from, to;
	socklen_t from_n;
	int ttl, tos;
	ssize_t n;
	char buf[65536];
};

static bool gram_recv(int fd, struct gram *g)
{
	char ctl[256];
	struct iovec v = { g->buf, sizeof(g->buf) - 1 };
	struct msghdr m = { .msg_name = &g->from, .msg_namelen = sizeof(g->from), .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = ctl, .msg_controllen = sizeof(ctl) };

	g->ttl = g->tos = -1;
	g->n = recvmsg(fd, &m, 0);
	if (g->n < 0)
		return false;
	g->buf[g->n] = 0;
	g->from_n = m.msg_namelen;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TTL)
			memcpy(&g->ttl, CMSG_DATA(c), sizeof(int));
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_HOPLIMIT)
			memcpy(&g->ttl, CMSG_DATA(c), sizeof(int));
		else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_TCLASS)
			memcpy(&g->tos, CMSG_DATA(c), sizeof(int));
		else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_TOS)
			g->tos = *CMSG_DATA(c);
	}
	return true;
}

static void send_with(int fd, const struct gram *g, int ttl, int tos, size_t n, uint16_t seg)
{
	static char zeros[65000];
	char ctl[128] = "";
	struct iovec v = { zeros, n };
	struct msghdr m = { .msg_name = (void *)(uintptr_t)&g->from, .msg_namelen = g->from_n, .msg_iov = &v,
			    .msg_iovlen = 1, .msg_control = ctl, .msg_controllen = sizeof(ctl) };
	bool v6 = g->from.ss_family == AF_INET6;
	int level = v6 ? IPPROTO_IPV6 : IPPROTO_IP;
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	size_t used = 0;

	if (seg) {
		*c = (struct cmsghdr){ CMSG_LEN(sizeof(seg)), SOL_UDP, UDP_SEGMENT };
		memcpy(CMSG_DATA(c), &seg, sizeof(seg));
		used = CMSG_SPACE(sizeof(seg));
	} else {
		*c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), level, v6 ? IPV6_HOPLIMIT : IP_TTL };
		memcpy(CMSG_DATA(c), &ttl, sizeof(ttl));
		c = (void *)(ctl + CMSG_SPACE(sizeof(int)));
		*c = (struct cmsghdr){ CMSG_LEN(sizeof(int)), level, v6 ? IPV6_TCLASS : IP_TOS };
		memcpy(CMSG_DATA(c), &tos, sizeof(tos));
		used = 2 * CMSG_SPACE(sizeof(int));
	}
	m.msg_controllen = used;
	for (size_t i = 0; i < n; i++)
		zeros[i] = (char)pattern(i);
	sendmsg(fd, &m, 0);
}

static void tell(int fd, const struct gram *g)
{
	char name[INET6_ADDRSTRLEN] = "", line[200];
	const void *a = g->from.ss_family == AF_INET ? (const void *)&((const struct sockaddr_in *)&g->from)->sin_addr :
			(const void *)&((const struct sockaddr_in6 *)&g->from)->sin6_addr;
	int n;

	inet_ntop(g->from.ss_family, a, name, sizeof(name));
	n = snprintf(line, sizeof(line), "ttl %d tos %d from %s len %zd", g->ttl, g->tos, name, g->n);
	sendto(fd, line, (size_t)n, 0, (const void *)&g->from, g->from_n);
}

static void spray(const struct gram *g, unsigned port, unsigned n)
{
	struct sockaddr_storage to = g->from;
	int fds[64];

	((struct sockaddr_in *)&to)->sin_port = htons((uint16_t)port);
	for (unsigned i = 0; i < n && i < 64; i++) {
		fds[i] = socket(to.ss_family, SOCK_DGRAM, 0);
		sendto(fds[i], "1", 1, 0, (void *)&to, g->from_n);
	}
	for (unsigned i = 0; i < n && i < 64; i++) {
		sendto(fds[i], "2", 1, 0, (void *)&to, g->from_n);
		close(fds[i]);
	}
}

static void obey(int fd, const struct gram *g)
{
	unsigned a = 0, b = 0, c = 0;
	char how[32] = "";

	if (sscanf(g->buf, "!with %u %u", &a, &b) == 2)
		send_with(fd, g, (int)a, (int)b, (size_t)g->n, 0);
	else if (sscanf(g->buf, "!cut %u %u", &a, &b) == 2)
		send_with(fd, g, 0, 0, b, (uint16_t)a);
	else if (sscanf(g->buf, "!icmp %u %u %x", &a, &b, &c) == 3)
		raw_icmp(&g->to, &g->from, a, b, c, g->buf, (size_t)g->n), usleep(5000),
			sendto(fd, "told", 4, 0, (const void *)&g->from, g->from_n);
	else if (sscanf(g->buf, "!spray %u %u", &a, &b) == 2)
		spray(g, a, b);
	else if (sscanf(g->buf, "!frag %31s %u", how, &a) == 2)
		raw_frags(&g->to, &g->from, how, a);
}

static void echo_datagrams(int fd)
{
	static struct gram g;
	socklen_t n = sizeof(g.to);
	int one = 1;

	getsockname(fd, (void *)&g.to, &n);
	setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IP, IP_RECVTOS, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVHOPLIMIT, &one, sizeof(one));
	setsockopt(fd, IPPROTO_IPV6, IPV6_RECVTCLASS, &one, sizeof(one));
	for (;;) {
		int times;

		if (!gram_recv(fd, &g))
			continue;
		times = g.n > 0 && g.buf[0] >= '2' && g.buf[0] <= '9' ? g.buf[0] - '0' : 1;
		if (g.n > 0 && g.buf[0] == '?')
			tell(fd, &g);
		else if (g.n > 0 && g.buf[0] == '!')
			obey(fd, &g);
		else
			for (; times && !(g.n > 0 && g.buf[0] == '-'); times--)
				sendto(fd, g.buf, (size_t)g.n, 0, (void *)&g.from, g.from_n);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	bool v6 = argc > 1 && strchr(argv[1], ':');
	int l, u, one = 1;

	if (argc != 3)
		return 2;
	signal(SIGCHLD, SIG_IGN);
	a4.sin_port = a6.sin6_port = htons((uint16_t)atoi(argv[2]));
	inet_pton(AF_INET, argv[1], &a4.sin_addr);
	inet_pton(AF_INET6, argv[1], &a6.sin6_addr);
	l = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4)) || listen(l, 128))
		return perror("listen"), 1;
	u = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
	if (bind(u, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4)))
		return perror("bind"), 1;
	if (fork() == 0)
		echo_datagrams(u);
	close(u);
	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd < 0)
			continue;
		if (fork() == 0) {
			close(l);
			serve(fd);
			_exit(0);
		}
		close(fd);
	}
}
