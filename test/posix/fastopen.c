/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP Fast Open (RFC 7413) by calls: what a first visit gets, what a later one does, and what is refused.
 * Within a host (loopback addresses) whether data goes with the SYN is not told apart. */
#include "case.h"

static bool is_near(void)
{
	const struct sockaddr_in *a4 = (const void *)&peer;
	const struct sockaddr_in6 *a6 = (const void *)&peer;

	if (peer.ss_family == AF_INET)
		return ntohl(a4->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&a6->sin6_addr);
}

static int make(bool wait)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);

	nonblock(fd, !wait);
	return fd;
}

static ssize_t give(int fd, const char *text, int flags)
{
	return sendto(fd, text, strlen(text), MSG_FASTOPEN | MSG_NOSIGNAL | flags, (void *)&peer, peer_n);
}

static short ready(int fd, short events)
{
	struct pollfd p = { fd, events, 0 };

	(void)poll(&p, 1, 3000);
	return p.revents;
}

/* What comes back, and whether the data went with the SYN. */
static void hear(int fd, size_t n)
{
	struct tcp_info ti = { 0 };
	socklen_t len = sizeof(ti);
	char buf[6000] = "";
	size_t got = 0;

	while (got < n && ready(fd, POLLIN) & POLLIN) {
		ssize_t r = recv(fd, buf + got, sizeof(buf) - 1 - got, MSG_DONTWAIT);

		if (r <= 0)
			break;
		got += (size_t)r;
	}
	(void)getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &len);
	printf(" heard %zu %.8s", got, buf);
	if (!is_near())
		printf(" with the SYN %d", !!(ti.tcpi_options & 32 /* TCPI_OPT_SYN_DATA */));
}

/* A cookie is there afterwards, whatever was before. */
static void warm(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = make(true);
		char c;

		(void)give(fd, "ECHO\nx", 0);
		(void)recv(fd, &c, 1, 0);
		close(fd);
	}
}

static void t_blocking(void)
{
	int fd = make(true);
	char big[5001] = "ECHO\n";

	warm();
	memset(big + 5, 'b', 4995);
	printf("fastopen_blocking: %s", en(give(fd, "ECHO\nhello", 0)));
	hear(fd, 5);
	printf(" on it %s", en(give(fd, "x", 0)));
	printf(" connect %s", en(connect(fd, (void *)&peer, peer_n)));
	close(fd);
	fd = make(true);
	printf(" big %zd", give(fd, big, 0));
	hear(fd, 4995);
	close(fd);
	printf("\n");
}

static void t_nonblocking(void)
{
	int fd = make(false);
	ssize_t r;

	warm();
	r = give(fd, "ECHO\nhello", 0);
	if (is_near()) {
		(void)ready(fd, POLLOUT);
		if (r < 0 && errno == EINPROGRESS)
			r = send(fd, "ECHO\nhello", 10, 0);
	}
	printf("fastopen_nonblocking: %zd", r);
	hear(fd, 5);
	printf(" connect %s", en(connect(fd, (void *)&peer, peer_n)));
	printf(" %s", en(connect(fd, (void *)&peer, peer_n)));
	close(fd);
	fd = make(false);
	printf(" of nothing %s", en(sendto(fd, "", 0, MSG_FASTOPEN, (void *)&peer, peer_n)));
	printf(" writable %d", !!(ready(fd, POLLOUT) & POLLOUT));
	printf(" then %s", en(send(fd, "ECHO\nmore", 9, 0)));
	(void)recv(fd, &r, 0, 0);
	close(fd);
	printf("\n");
}

static void t_deferred(void)
{
	struct sockaddr_storage to;
	socklen_t n = sizeof(to);
	int fd = make(false), one = 1;
	char c;

	warm();
	printf("fastopen_deferred: %s", en(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one))));
	if (is_near()) {
		(void)connect(fd, (void *)&peer, peer_n);
	} else {
		printf(" connect %s", en(connect(fd, (void *)&peer, peer_n)));
		printf(" again %s", en(connect(fd, (void *)&peer, peer_n)));
		printf(" peer %s", en(getpeername(fd, (void *)&to, &n)));
		printf(" read %s", en(recv(fd, &c, 1, 0)));
		printf(" poll %x", ready(fd, POLLIN | POLLOUT));
	}
	(void)ready(fd, POLLOUT);
	printf(" send %zd", send(fd, "ECHO\nhello", 10, 0));
	hear(fd, 5);
	close(fd);
	fd = make(true);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one));
	printf(" waiting %s", en(connect(fd, (void *)&peer, peer_n)));
	printf(" %zd", send(fd, "ECHO\nthere", 10, 0));
	hear(fd, 5);
	printf(" option %s", en(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one))));
	close(fd);
	fd = make(true);
	(void)setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one));
	printf(" unused %s", en(connect(fd, (void *)&peer, peer_n)));
	printf(" %s\n", en(close(fd)));
}

static void t_no_cookie(void)
{
	int fd = make(true), one = 1, two = 2;
	socklen_t n = sizeof(two);

	printf("fastopen_no_cookie: %s", en(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &two, sizeof(two))));
	printf(" %s", en(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &one, sizeof(one))));
	printf(" send %zd", give(fd, "ECHO\nhello", 0));
	hear(fd, 5);
	(void)getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, &two, &n);
	printf(" is %d\n", two);
	close(fd);
}

static void t_refused(void)
{
	struct sockaddr_storage was = peer;
	int fd;
	ssize_t r;

	warm();
	((struct sockaddr_in *)&peer)->sin_port = htons(9);	/* nobody is there; the place is IPv6's, too */
	fd = make(true);
	r = give(fd, "x", 0);
	printf("fastopen_refused: %s", en(r));
	close(fd);
	fd = make(false);
	(void)give(fd, "x", 0);
	(void)ready(fd, POLLOUT);
	printf(" %s\n", en(send(fd, "x", 1, MSG_NOSIGNAL)));
	close(fd);
	peer = was;
}

static void t_wrong(void)
{
	struct sockaddr none = { .sa_family = AF_UNSPEC };
	int fd = make(true), two = 2;

	printf("fastopen_wrong: nowhere %s", en(sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, NULL, 0)));
	close(fd);
	fd = make(true);
	printf(" unspecified %s", en(sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, &none, sizeof(none))));
	close(fd);
	fd = make(true);
	printf(" option %s", en(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &two, sizeof(two))));
	printf(" key %s\n", en(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, "short", 5)));
	close(fd);
}

static const struct one_case cases[] = {
	{ "fastopen_blocking", t_blocking }, { "fastopen_nonblocking", t_nonblocking },
	{ "fastopen_deferred", t_deferred }, { "fastopen_no_cookie", t_no_cookie },
	{ "fastopen_refused", t_refused }, { "fastopen_wrong", t_wrong },
};

int main(int argc, char **argv) { return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0])); }
