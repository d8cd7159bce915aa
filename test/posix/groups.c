/* SPDX-License-Identifier: BSD-2-Clause */
/* Several sockets on one port (SO_REUSEPORT), and groups of hosts: multicast, its source filters, and
 * broadcast. Compared as calls.c is; which member has a flow is chance, so that is not written down. */
#include "gram.h"

#define N_MEMBERS 4
#define N_FLOWS 40

static uint16_t port_of(int fd)
{
	struct sockaddr_storage a = { 0 };
	socklen_t n = sizeof(a);

	getsockname(fd, (void *)&a, &n);
	return ntohs(((struct sockaddr_in *)&a)->sin_port);
}

static int member(int type, uint16_t port, int reuse, const char **ret)
{
	struct sockaddr_storage a = { .ss_family = peer.ss_family };
	int fd = type == SOCK_DGRAM ? gram_socket(peer.ss_family) : socket(peer.ss_family, type, 0);

	((struct sockaddr_in *)&a)->sin_port = htons(port);
	if (reuse)
		set(fd, SOL_SOCKET, SO_REUSEPORT, 1);
	*ret = en(bind(fd, (void *)&a, peer_n));
	return fd;
}

/* Who may join. */
static void t_group_bind(void)
{
	for (int type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
		const char *r;
		int a = member(type, 0, 1, &r), b, c, d;
		uint16_t port = port_of(a);

		printf("group_bind_%d: %s", type, r);
		b = member(type, port, 1, &r);
		printf(" %s", r);
		c = member(type, port, 0, &r);
		printf(" %s", r);
		if (type == SOCK_STREAM)
			printf(" listen %s %s", en(listen(a, 8)), en(listen(b, 8)));
		close(a);
		d = member(type, port, 1, &r);
		printf(" again %s", r);
		close(b);
		close(d);
		b = member(type, port, 0, &r);
		printf(" alone %s", r);
		c = c < 0 ? c : close(c);
		a = member(type, port, 1, &r);
		printf(" not %s\n", r);
		close(a);
		close(b);
	}
}

/* Reads what is there: each flow has one member, and keeps it. Returns how many datagrams came. */
static int sort_out(const int *fds, uint16_t *ports, int *owner, int *n_ports, bool *ret_torn)
{
	int sum = 0;

	for (int i = 0; i < N_MEMBERS; i++) {
		struct sockaddr_storage from;
		socklen_t n = sizeof(from);
		char c;

		while (fds[i] >= 0 && recvfrom(fds[i], &c, 1, MSG_DONTWAIT, (void *)&from, &n) == 1) {
			uint16_t p = ((struct sockaddr_in *)&from)->sin_port;
			int k = 0;

			while (k < *n_ports && ports[k] != p)
				k++;
			if (k == *n_ports && k < 2 * N_FLOWS) {
				ports[k] = p;
				owner[k] = i;
				++*n_ports;
			}
			*ret_torn |= owner[k] != i;
			sum++;
			n = sizeof(from);
		}
	}
	return sum;
}

static void spray(int via, const int *fds, uint16_t port, const char *what)
{
	uint16_t ports[2 * N_FLOWS + 1];
	int owner[2 * N_FLOWS + 1], n = 0, sum = 0, with = 0;
	bool torn = false;
	char line[64];

	send(via, line, (size_t)snprintf(line, sizeof(line), "!spray %u %u", port, N_FLOWS), 0);
	for (int tries = 0; tries < 200 && sum < 2 * N_FLOWS; tries++) {
		sum += sort_out(fds, ports, owner, &n, &torn);
		usleep(5000);
	}
	for (int i = 0; i < N_MEMBERS; i++) {
		bool any = false;

		for (int k = 0; k < n; k++)
			any |= owner[k] == i;
		with += any;
	}
	printf(" %s: %d of %d flows, %d members%s", what, sum, n, with, torn ? ", torn" : "");
}

static void t_group_udp(void)
{
	int fds[N_MEMBERS], via = gram_open();
	const char *r;
	uint16_t port = 0;

	printf("group_udp:");
	for (int i = 0; i < N_MEMBERS; i++) {
		fds[i] = member(SOCK_DGRAM, port, 1, &r);
		set(fds[i], SOL_SOCKET, SO_RCVBUF, 1 << 20);
		port = port_of(fds[i]);
		printf(" %s", r);
	}
	spray(via, fds, port, "four");
	close(fds[1]);
	fds[1] = -1;
	spray(via, fds, port, "three");
	fds[1] = member(SOCK_DGRAM, port, 1, &r);
	spray(via, fds, port, "again");
	/* A member that has a peer hears of nobody else. */
	connect(fds[0], (void *)&peer, peer_n);
	spray(via, fds, port, "one away");
	send(fds[0], "echo", 4, 0);
	printf(" %zd\n", grecv(fds[0], gbuf, 10, 0));
	for (int i = 0; i < N_MEMBERS; i++)
		close(fds[i]);
	close(via);
}

/* Takes what comes to any of them within a while: how many, and by how many. */
static void take_all(const int *fds, int want)
{
	struct pollfd p[N_MEMBERS];
	int sum = 0, with = 0, n_of[N_MEMBERS] = { 0 };

	for (int i = 0; i < N_MEMBERS; i++)
		p[i] = (struct pollfd){ .fd = fds[i], .events = POLLIN };
	while (sum < want && poll(p, N_MEMBERS, 3000) > 0) {
		for (int i = 0; i < N_MEMBERS; i++) {
			int fd = p[i].revents & POLLIN ? accept(fds[i], NULL, NULL) : -1;

			if (fd < 0)
				continue;
			n_of[i]++;
			sum++;
			close(fd);
		}
	}
	for (int i = 0; i < N_MEMBERS; i++)
		with += n_of[i] > 0;
	printf(" %d by %d", sum, with);
}

static void t_group_tcp(void)
{
	int fds[N_MEMBERS], c;
	const char *r;
	uint16_t port = 0;
	char line[64];

	printf("group_tcp:");
	for (int i = 0; i < N_MEMBERS; i++) {
		fds[i] = member(SOCK_STREAM, port, 1, &r);
		port = port_of(fds[i]);
		printf(" %s", r);
		listen(fds[i], 64);
		nonblock(fds[i], true);
	}
	snprintf(line, sizeof(line), "DIAL %u 40 1", port);
	c = dial(line);
	take_all(fds, 40);
	close(c);
	close(fds[2]);
	fds[2] = -1;
	c = dial(line);
	take_all(fds, 40);
	close(c);
	printf("\n");
	for (int i = 0; i < N_MEMBERS; i++)
		close(fds[i]);
}

/* ---- groups of hosts --------------------------------------------------------------------------------- */

static void t_multicast(void)
{
	struct ip_mreqn join = { .imr_ifindex = 1 };
	struct ip_mreq_source src = { .imr_interface.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in to = { .sin_family = AF_INET };
	int fd = gram_bound(AF_INET), tx = gram_bound(AF_INET);
	ssize_t r;

	/* In use by the time that it joins. */
	if (peer.ss_family == AF_INET)
		sendto(fd, "-", 1, 0, (void *)&peer, peer_n);
	inet_pton(AF_INET, "239.7.7.7", &join.imr_multiaddr);
	to.sin_addr = join.imr_multiaddr;
	to.sin_port = htons(port_of(fd));
	printf("multicast: join %s", en(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join))));
	printf(" if %s", en(setsockopt(tx, IPPROTO_IP, IP_MULTICAST_IF, &join, sizeof(join))));
	printf(" ttl %s", set(tx, IPPROTO_IP, IP_MULTICAST_TTL, 3));
	printf(" send %s", en(sendto(tx, "many", 4, 0, (void *)&to, sizeof(to))));
	printf(" %zd", grecv(fd, gbuf, 10, 0));
	printf(" again %s", en(setsockopt(fd, IPPROTO_IP, IP_ADD_MEMBERSHIP, &join, sizeof(join))));
	printf(" leave %s", en(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join))));
	printf(" %s", en(setsockopt(fd, IPPROTO_IP, IP_DROP_MEMBERSHIP, &join, sizeof(join))));
	set(fd, IPPROTO_IP, IP_MULTICAST_ALL, 0);
	sendto(tx, "none", 4, 0, (void *)&to, sizeof(to));
	r = grecv(fd, gbuf, 10, MSG_DONTWAIT);
	printf(" %s\nmulticast_source:", en(r));
	/* From one source, then from another: RFC 3376 in the kernel's hands. */
	src.imr_multiaddr = join.imr_multiaddr;
	inet_pton(AF_INET, "127.0.0.9", &src.imr_sourceaddr);
	printf(" %s", en(setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &src, sizeof(src))));
	sendto(tx, "other", 5, 0, (void *)&to, sizeof(to));
	printf(" %s", en(grecv(fd, gbuf, 10, MSG_DONTWAIT)));
	src.imr_sourceaddr.s_addr = htonl(INADDR_LOOPBACK);
	printf(" %s", en(setsockopt(fd, IPPROTO_IP, IP_ADD_SOURCE_MEMBERSHIP, &src, sizeof(src))));
	close(tx);
	tx = gram_socket(AF_INET);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	to.sin_port = 0;
	bind(tx, (void *)&to, sizeof(to));
	setsockopt(tx, IPPROTO_IP, IP_MULTICAST_IF, &join, sizeof(join));
	to.sin_addr = join.imr_multiaddr;
	to.sin_port = htons(port_of(fd));
	sendto(tx, "source", 6, 0, (void *)&to, sizeof(to));
	printf(" %zd\n", grecv(fd, gbuf, 10, 0));
	close(fd);
	close(tx);
}

static void t_broadcast(void)
{
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_addr.s_addr = INADDR_BROADCAST };
	int fd = gram_bound(AF_INET), tx = gram_bound(AF_INET);

	inet_pton(AF_INET, "127.255.255.255", &to.sin_addr);
	to.sin_port = htons(port_of(fd));
	printf("broadcast: %s", en(sendto(tx, "all", 3, 0, (void *)&to, sizeof(to))));
	printf(" %s", set(tx, SOL_SOCKET, SO_BROADCAST, 1));
	printf(" %s", en(sendto(tx, "all", 3, 0, (void *)&to, sizeof(to))));
	printf(" %zd", grecv(fd, gbuf, 10, 0));
	printf(" connect %s", en(connect(tx, (void *)&to, sizeof(to))));
	printf(" %s", en(send(tx, "four", 4, 0)));
	printf(" %zd\n", grecv(fd, gbuf, 10, 0));
	close(fd);
	close(tx);
}

static const struct one_case cases[] = {
	{ "group_bind", t_group_bind }, { "group_udp", t_group_udp }, { "group_tcp", t_group_tcp },
	{ "multicast", t_multicast }, { "broadcast", t_broadcast },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
