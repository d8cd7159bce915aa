/* SPDX-License-Identifier: BSD-2-Clause */
/* What comes along with datagrams, and what a send may ask for: control messages, error queues, time
 * stamps, fields of the IP header. Compared as calls.c is. */
#include "gram.h"

/* ---- what comes along ------------------------------------------------------------------------------ */

static const struct { const char *name; int level4, name4, level6, name6; } wants[] = {
	{ "pktinfo", IPPROTO_IP, IP_PKTINFO, IPPROTO_IPV6, IPV6_RECVPKTINFO },
	{ "ttl", IPPROTO_IP, IP_RECVTTL, IPPROTO_IPV6, IPV6_RECVHOPLIMIT },
	{ "tos", IPPROTO_IP, IP_RECVTOS, IPPROTO_IPV6, IPV6_RECVTCLASS },
	{ "origdst", IPPROTO_IP, IP_RECVORIGDSTADDR, IPPROTO_IPV6, IPV6_RECVORIGDSTADDR },
	{ "stamp", SOL_SOCKET, SO_TIMESTAMP, SOL_SOCKET, SO_TIMESTAMP },
	{ "stampns", SOL_SOCKET, SO_TIMESTAMPNS, SOL_SOCKET, SO_TIMESTAMPNS },
	{ "ovfl", SOL_SOCKET, SO_RXQ_OVFL, SOL_SOCKET, SO_RXQ_OVFL },
};
#define N_WANTS (sizeof(wants) / sizeof(wants[0]))

static const char *want(int fd, size_t i, int v)
{
	return v6_run ? set(fd, wants[i].level6, wants[i].name6, v) : set(fd, wants[i].level4, wants[i].name4, v);
}

static void t_each(void)
{
	for (size_t i = 0; i < N_WANTS; i++) {
		int fd = gram_socket(peer.ss_family);

		printf("each_%s: %s", wants[i].name, want(fd, i, 1));
		connect(fd, (void *)&peer, peer_n);
		send(fd, "!with 33 40", 11, 0);
		show_recv(fd, 100, 256, 0);
		printf(" get %d", v6_run ? get(fd, wants[i].level6, wants[i].name6) :
					   get(fd, wants[i].level4, wants[i].name4));
		/* Off and on again while datagrams come. */
		printf(" off %s", want(fd, i, 0));
		send(fd, "one", 3, 0);
		show_recv(fd, 100, 256, 0);
		printf(" on %s", want(fd, i, 1));
		send(fd, "two", 3, 0);
		show_recv(fd, 100, 256, 0);
		printf("\n");
		close(fd);
	}
}

static void t_all(void)
{
	int fd = gram_bound(peer.ss_family);

	for (size_t i = 0; i < N_WANTS; i++)
		want(fd, i, 1);
	printf("all:");
	sendto(fd, "!with 7 1", 9, 0, (void *)&peer, peer_n);
	show_recv(fd, 100, 512, 0);
	/* Peeked at, they are told as well, and again. */
	sendto(fd, "x", 1, 0, (void *)&peer, peer_n);
	wait_in(fd);
	printf("\nall_peek:");
	show_recv(fd, 100, 512, MSG_PEEK);
	show_recv(fd, 100, 512, 0);
	printf("\nall_none:");
	sendto(fd, "x", 1, 0, (void *)&peer, peer_n);
	show_recv(fd, 100, 0, 0);
	sendto(fd, "abc", 3, 0, (void *)&peer, peer_n);
	show_recv(fd, 1, 0, MSG_TRUNC);
	printf("\n");
	close(fd);
}

/* A buffer that is too small, at every length. */
static void t_ctrunc(void)
{
	int fd = gram_bound(peer.ss_family);
	const size_t rooms[] = { 1, 15, 16, 17, 19, 20, 24, 28, 32, 36, 40, 44, 48, 56, 64, 65, 80 };

	want(fd, 0, 1);
	want(fd, 1, 1);
	want(fd, 2, 1);
	printf("ctrunc:");
	for (size_t i = 0; i < sizeof(rooms) / sizeof(rooms[0]); i++) {
		sendto(fd, "x", 1, 0, (void *)&peer, peer_n);
		printf(" %zu", rooms[i]);
		show_recv(fd, 100, rooms[i], 0);
	}
	printf("\n");
	close(fd);
}

/* IPv4's are not for IPv6's datagrams, nor the other way round; a dual socket gets what fits. */
static void t_mapped(void)
{
	struct sockaddr_in6 a = { .sin6_family = AF_INET6 };
	struct sockaddr_in *p4 = (void *)&peer;
	int fd = gram_socket(AF_INET6), zero = 0;

	if (peer.ss_family == AF_INET6) {
		memcpy(&a, &peer, sizeof(a));
	} else {
		a.sin6_port = p4->sin_port;
		a.sin6_addr.s6_addr[10] = a.sin6_addr.s6_addr[11] = 0xff;
		memcpy(a.sin6_addr.s6_addr + 12, &p4->sin_addr, 4);
	}
	setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	for (size_t i = 0; i < 4; i++) {
		set(fd, wants[i].level4, wants[i].name4, 1);
		set(fd, wants[i].level6, wants[i].name6, 1);
	}
	set(fd, IPPROTO_IP, IP_TTL, 11);
	set(fd, IPPROTO_IPV6, IPV6_UNICAST_HOPS, 12);
	set(fd, IPPROTO_IP, IP_TOS, 16);
	set(fd, IPPROTO_IPV6, IPV6_TCLASS, 20);
	printf("mapped: %s", en(connect(fd, (void *)&a, sizeof(a))));
	send(fd, "!with 9 44", 10, 0);
	show_recv(fd, 100, 512, 0);
	send(fd, "?", 1, 0);
	heard(fd);
	printf("\n");
	close(fd);
}

static void t_stamping(void)
{
	const int flags[] = { SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE, 0,
			      SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_RX_SOFTWARE };
	int fd = gram_open();

	printf("stamping:");
	for (size_t i = 0; i < 3; i++) {
		printf(" set %s", set(fd, SOL_SOCKET, SO_TIMESTAMPING, flags[i]));
		printf(" get %d", get(fd, SOL_SOCKET, SO_TIMESTAMPING));
		settle();
		send(fd, "x", 1, 0);
		show_recv(fd, 100, 256, 0);
	}
	/* One stamp at a time is in force, whatever was set before. */
	set(fd, SOL_SOCKET, SO_TIMESTAMPING, 0);
	set(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
	set(fd, SOL_SOCKET, SO_TIMESTAMPNS, 1);
	printf("\nstamp_one: %d %d", get(fd, SOL_SOCKET, SO_TIMESTAMP), get(fd, SOL_SOCKET, SO_TIMESTAMPNS));
	send(fd, "x", 1, 0);
	show_recv(fd, 100, 256, 0);
	set(fd, SOL_SOCKET, SO_TIMESTAMP, 0);
	printf(" %d %d\n", get(fd, SOL_SOCKET, SO_TIMESTAMP), get(fd, SOL_SOCKET, SO_TIMESTAMPNS));
	close(fd);
}

static void t_overflow(void)
{
	int fd = gram_open(), n = 0;

	set(fd, SOL_SOCKET, SO_RXQ_OVFL, 1);
	set(fd, SOL_SOCKET, SO_RCVBUF, 2304);
	for (int i = 0; i < 30; i++)
		send(fd, "9 of these, please", 18, 0);
	settle();
	settle();
	while (grecv(fd, gbuf, sizeof(gbuf), MSG_DONTWAIT) > 0)
		n++;
	send(fd, "x", 1, 0);
	printf("overflow: %s", n > 0 && n < 200 ? "some were lost" : "none was lost");
	show_recv(fd, 100, 256, 0);
	printf("\n");
	close(fd);
}

/* ---- what a send asks for ------------------------------------------------------------------------------ */

static void t_fields(void)
{
	const int ttls[] = { 1, 64, 255, -1, 77, 0, 256 }, toses[] = { 0, 4, 0xb8, 3, 255, 256 };
	int fd = gram_open();

	printf("fields_ttl:");
	for (size_t i = 0; i < 7; i++) {
		printf(" %d %s", ttls[i], set(fd, level_ip(), v6_run ? IPV6_UNICAST_HOPS : IP_TTL, ttls[i]));
		printf(" %d", get(fd, level_ip(), v6_run ? IPV6_UNICAST_HOPS : IP_TTL));
		send(fd, "?", 1, 0);
		heard(fd);
	}
	printf("\nfields_tos:");
	for (size_t i = 0; i < 6; i++) {
		printf(" %d %s", toses[i], set(fd, level_ip(), v6_run ? IPV6_TCLASS : IP_TOS, toses[i]));
		printf(" %d", get(fd, level_ip(), v6_run ? IPV6_TCLASS : IP_TOS));
		send(fd, "?", 1, 0);
		heard(fd);
	}
	printf("\n");
	close(fd);
}

/* The same by control message, for one datagram; the next is as before. */
static void t_send_ctl(void)
{
	int l = peer.ss_family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
	int ttl = l == IPPROTO_IPV6 ? IPV6_HOPLIMIT : IP_TTL, tos = l == IPPROTO_IPV6 ? IPV6_TCLASS : IP_TOS;
	const struct ctl_int c[][2] = {
		{ { l, ttl, 4, 5 }, { l, tos, 4, 12 } }, { { l, ttl, 4, 200 }, { 0 } }, { { l, tos, 4, 0xfc }, { 0 } },
		{ { l, tos, 1, 0x20 }, { 0 } }, { { l, ttl, 4, 0 }, { 0 } }, { { l, ttl, 4, 256 }, { 0 } },
		{ { l, ttl, 4, -1 }, { 0 } }, { { l, tos, 4, 256 }, { 0 } }, { { l, ttl, 1, 4 }, { 0 } },
		{ { l, 99, 4, 4 }, { 0 } }, { { SOL_SOCKET, 99, 4, 1 }, { 0 } }, { { 77, 1, 4, 1 }, { 0 } },
	};
	int fd = gram_open(), un = gram_bound(peer.ss_family);

	for (size_t i = 0; i < sizeof(c) / sizeof(c[0]); i++) {
		ssize_t r = send_ctl(fd, NULL, "?", 1, c[i], c[i][1].n ? 2 : 1);

		printf("send_ctl_%zu: %s", i, en(r));
		if (r >= 0)
			heard(fd);
		r = send_ctl(un, &peer, "?", 1, c[i], c[i][1].n ? 2 : 1);
		printf(" %s", en(r));
		if (r >= 0)
			heard(un);
		printf("\n");
	}
	send(fd, "?", 1, 0);
	printf("send_ctl_after:");
	heard(fd);
	printf("\n");
	close(fd);
	close(un);
}

/* From which address: ours, nobody's, another interface's. */
static void t_send_pktinfo(void)
{
	const char *const from[] = { "own", "stranger", "any" };
	int fd = gram_bound(peer.ss_family);
	struct sockaddr_storage me;
	socklen_t n = sizeof(me);

	connect(fd, (void *)&peer, peer_n);
	getsockname(fd, (void *)&me, &n);
	close(fd);
	fd = gram_bound(peer.ss_family);
	for (int i = 0; i < 9; i++) {
		union { struct cmsghdr h; char b[64]; } u = { .b = "" };
		struct iovec v = { (void *)(uintptr_t)"?", 1 };
		struct msghdr m = { .msg_name = &peer, .msg_namelen = peer_n, .msg_iov = &v, .msg_iovlen = 1,
				    .msg_control = u.b };
		struct in_pktinfo i4 = { 0 };
		struct in6_pktinfo i6 = { 0 };
		unsigned real = index_of(v6_run ? (void *)&((struct sockaddr_in6 *)&me)->sin6_addr :
					 (void *)&((struct sockaddr_in *)&me)->sin_addr, peer.ss_family);
		int index = i / 3 == 0 ? 0 : i / 3 == 1 ? (int)real : 9999;
		ssize_t r;

		if (i % 3 == 0) {
			i4.ipi_spec_dst = ((struct sockaddr_in *)&me)->sin_addr;
			i6.ipi6_addr = ((struct sockaddr_in6 *)&me)->sin6_addr;
		} else if (i % 3 == 1) {
			inet_pton(AF_INET, "192.0.2.7", &i4.ipi_spec_dst);
			inet_pton(AF_INET6, "2001:db8::7", &i6.ipi6_addr);
		}
		i4.ipi_ifindex = index;
		i6.ipi6_ifindex = (unsigned)index;
		u.h = v6_run ? (struct cmsghdr){ CMSG_LEN(sizeof(i6)), IPPROTO_IPV6, IPV6_PKTINFO } :
			       (struct cmsghdr){ CMSG_LEN(sizeof(i4)), IPPROTO_IP, IP_PKTINFO };
		memcpy(CMSG_DATA(&u.h), v6_run ? (void *)&i6 : (void *)&i4, v6_run ? sizeof(i6) : sizeof(i4));
		m.msg_controllen = v6_run ? CMSG_SPACE(sizeof(i6)) : CMSG_SPACE(sizeof(i4));
		r = sendmsg(fd, &m, 0);
		printf("send_pktinfo_%s_%d: %s", from[i % 3], i / 3, en(r));
		if (r >= 0)
			heard(fd);
		printf("\n");
	}
	close(fd);
}

/* ---- options that only the kernel has, on a socket that is in use ------------------------------------ */

static void t_theirs(void)
{
	static const struct { const char *name; int level, opt, v; } o[] = {
		{ "mark", SOL_SOCKET, SO_MARK, 5 }, { "peek_off", SOL_SOCKET, SO_PEEK_OFF, 0 },
		{ "cork", IPPROTO_UDP, UDP_CORK, 0 }, { "zerocopy", SOL_SOCKET, SO_ZEROCOPY, 1 },
		{ "no_check", SOL_SOCKET, SO_NO_CHECK, 1 }, { "broadcast", SOL_SOCKET, SO_BROADCAST, 1 },
		{ "priority", SOL_SOCKET, SO_PRIORITY, 3 }, { "freebind", IPPROTO_IP, IP_FREEBIND, 1 },
		{ "recvopts", IPPROTO_IP, IP_RECVOPTS, 1 }, { "checksum", IPPROTO_IP, IP_CHECKSUM, 0 },
		{ "busy_poll", SOL_SOCKET, SO_BUSY_POLL, 0 }, { "dontroute", SOL_SOCKET, SO_DONTROUTE, 1 },
		{ "wrong", IPPROTO_IP, 200, 1 }, { "ttl0", IPPROTO_IP, IP_TTL, 0 },
	};

	for (size_t i = 0; i < sizeof(o) / sizeof(o[0]); i++) {
		struct pollfd p = { .events = POLLIN | POLLOUT };
		int fd = gram_open(), un;
		ssize_t r;

		send(fd, "early", 5, 0);
		wait_in(fd);
		printf("theirs_%s: %s", o[i].name, set(fd, o[i].level, o[i].opt, o[i].v));
		printf(" %d", get(fd, o[i].level, o[i].opt));
		r = grecv(fd, gbuf, 100, 0);
		printf(" %zd %.5s", r, gbuf);
		p.fd = fd;
		printf(" poll %d", poll(&p, 1, 0));
		printf(" %x", p.revents);
		for (int k = 0; k < 3; k++) {
			r = send(fd, "later" + k, (size_t)(5 - k), 0);
			printf(" %zd", r);
			r = grecv(fd, gbuf, 100, 0);
			printf(" %zd %.*s", r, r > 0 ? (int)r : 0, gbuf);
		}
		/* And before it is in use. */
		un = gram_socket(peer.ss_family);
		printf(" un %s", set(un, o[i].level, o[i].opt, o[i].v));
		r = sendto(un, "x", 1, 0, (void *)&peer, peer_n);
		printf(" %s", en(r));
		r = grecv(un, gbuf, 100, 0);
		printf(" %zd\n", r);
		close(un);
		close(fd);
	}
}

static const struct one_case cases[] = {
	{ "each", t_each }, { "all", t_all }, { "ctrunc", t_ctrunc }, { "mapped", t_mapped },
	{ "stamping", t_stamping }, { "overflow", t_overflow }, { "fields", t_fields }, { "send_ctl", t_send_ctl },
	{ "send_pktinfo", t_send_pktinfo }, { "theirs", t_theirs },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
