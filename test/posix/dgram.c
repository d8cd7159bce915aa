/* SPDX-License-Identifier: BSD-2-Clause */
/* What calls on a datagram socket answer. Compared as calls.c is. */
#include "case.h"

static int udp(int flags)
{
	struct timeval tv = { 3, 0 };
	int fd = socket(peer.ss_family, SOCK_DGRAM | flags, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

static void t_udp(void)
{
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	int fd = udp(0);
	char buf[64] = "";
	ssize_t r = sendto(fd, "hello", 5, 0, (void *)&peer, peer_n);

	printf("udp: %zd", r);
	r = recvfrom(fd, buf, sizeof(buf), 0, (void *)&from, &n);
	printf(" %zd %s %u %d", r, buf, n, memcmp(&from, &peer, peer.ss_family == AF_INET ? 8 : 24) == 0);
	r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	printf(" %s", en(r));
	r = send(fd, "x", 1, 0);
	printf(" send %s", en(r));
	r = connect(fd, (void *)&peer, peer_n);
	printf(" connect %s", en(r));
	r = send(fd, "abcdefgh", 8, 0);
	printf(" %zd", r);
	r = recv(fd, buf, 3, MSG_TRUNC);
	printf(" trunc %zd %.3s", r, buf);
	r = send(fd, "", 0, 0);
	printf(" empty %zd %zd", r, recv(fd, buf, 8, 0));
	n = sizeof(from);
	r = getpeername(fd, (void *)&from, &n);
	printf(" %s %u", en(r), n);
	r = getsockname(fd, (void *)&from, &n);
	printf(" %s %d\n", en(r), ((struct sockaddr_in *)&from)->sin_port != 0);
	close(fd);
}

static void t_udp_many(void)
{
	struct iovec v[2] = { { "ab", 2 }, { "cd", 2 } };
	struct sockaddr_storage a[4];
	char bufs[4][16];
	struct iovec w[4];
	struct mmsghdr m[4], s[2];
	struct msghdr one = { .msg_iov = v, .msg_iovlen = 2, .msg_name = &peer, .msg_namelen = peer_n };
	int fd = udp(0), ep = epoll_create1(0), q = -1, got;
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 3 };
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	ssize_t r;

	r = sendmsg(fd, &one, 0);
	printf("udp_many: %zd %zd %.4s", r, recv(fd, bufs[0], 16, 0), bufs[0]);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	printf(" %d", epoll_wait(ep, &e, 1, 0));
	r = sendto(fd, "4xyz", 4, 0, (void *)&peer, peer_n);
	printf(" %zd %d", r, epoll_wait(ep, &e, 1, 3000));
	usleep(100000);
	ioctl(fd, FIONREAD, &q);
	printf(" %x q %d poll %d", e.events, q, poll(&p, 1, 0));
	printf(" %x", p.revents);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct iovec){ bufs[i], i == 1 ? 2 : 16 };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &w[i], .msg_iovlen = 1, .msg_name = &a[i],
						.msg_namelen = sizeof(a[i]) };
	}
	got = recvmmsg(fd, m, 4, MSG_WAITFORONE, NULL);
	printf(" %d %u %u %x %u", got, m[0].msg_len, m[1].msg_len, m[1].msg_hdr.msg_flags,
	       m[0].msg_hdr.msg_namelen);
	for (int i = 0; i < 2; i++)
		s[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1, .msg_name = &peer,
						.msg_namelen = peer_n };
	got = sendmmsg(fd, s, 2, 0);
	r = recv(fd, bufs[0], 16, 0);
	printf(" %d %zd %.2s", got, r, bufs[0]);
	r = recv(fd, bufs[0], 16, 0);
	printf(" %zd %.2s %d\n", r, bufs[0], epoll_wait(ep, &e, 1, 0));
	close(fd);
	close(ep);
}

static void t_udp_refused(void)
{
	struct sockaddr_storage to = peer;
	struct pollfd p = { .events = POLLIN };
	int fd = udp(0), err = 0;
	socklen_t n = sizeof(err);
	char c;
	ssize_t r;

	((struct sockaddr_in *)&to)->sin_port = htons(9);
	connect(fd, (void *)&to, peer_n);
	r = send(fd, "x", 1, 0);
	p.fd = fd;
	printf("udp_refused: %zd poll %d", r, poll(&p, 1, 3000));
	printf(" %x", p.revents);
	r = recv(fd, &c, 1, 0);
	printf(" %s", en(r));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	r = recv(fd, &c, 1, MSG_DONTWAIT);
	printf(" %d %s\n", err, en(r));
	close(fd);
}

static void t_udp_sizes(void)
{
	static char out[66000], in[66000];
	const int sizes[] = { 1, 1472, 1473, 9000, 40000, 65507, 65508 };
	int fd = udp(0), big = 1 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	connect(fd, (void *)&peer, peer_n);
	memset(out, '-' + 1, sizeof(out));
	printf("udp_sizes:");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ssize_t s = send(fd, out, (size_t)sizes[i], 0), r;

		printf(" %s", en(s));
		if (s < 0)
			continue;
		r = recv(fd, in, sizeof(in), 0);
		printf("/%zd/%d", r, r > 0 && memcmp(in, out, (size_t)r) == 0);
	}
	printf("\n");
	close(fd);
}

static void t_udp_local(void)
{
	struct sockaddr_in lo = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, from;
	socklen_t n = sizeof(lo);
	struct sockaddr_in any = { .sin_family = AF_INET };
	int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd p = { .fd = a, .events = POLLIN };
	struct timeval tv = { 2, 0 };
	char buf[8] = "";
	ssize_t r;

	bind(a, (void *)&any, sizeof(any));
	setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	getsockname(a, (void *)&from, &n);
	lo.sin_port = from.sin_port;
	r = sendto(b, "loop", 4, 0, (void *)&lo, sizeof(lo));
	printf("udp_local: %zd poll %d", r, poll(&p, 1, 2000));
	n = sizeof(from);
	r = recvfrom(a, buf, 8, 0, (void *)&from, &n);
	printf(" %zd %s %d", r, buf, from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	r = sendto(a, "back", 4, 0, (void *)&from, n);
	printf(" %zd %zd", r, recv(b, buf, 8, 0));
	r = recv(a, buf, 8, MSG_DONTWAIT);
	printf(" %s\n", en(r));
	close(a);
	close(b);
}

static const struct one_case cases[] = {
	{ "udp", t_udp }, { "udp_many", t_udp_many }, { "udp_refused", t_udp_refused },
	{ "udp_sizes", t_udp_sizes }, { "udp_local", t_udp_local },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
