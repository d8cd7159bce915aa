/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What calls on a connection answer: opening, bytes both ways, ends, options, descriptors.
 * Run once on the kernel and once under onramp against the same peer (peer.c): equal outputs.
 */
#include "case.h"

static void t_echo(void)
{
	char buf[64];
	int fd = dial("ECHO");
	ssize_t r = write(fd, "hello", 5), g = read(fd, buf, sizeof(buf));

	printf("echo: %zd %zd %.5s\n", r, g, buf);
	close(fd);
}

static void t_names(void)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	int fd = dial("HOLD 1");

	printf("names: %d", getpeername(fd, (void *)&a, &n));
	printf(" %u %d", n, memcmp(&a, &peer, peer.ss_family == AF_INET ? 8 : 24) == 0);
	n = sizeof(a);
	printf(" %d", getsockname(fd, (void *)&a, &n));
	printf(" %u %d %d\n", n, a.ss_family == peer.ss_family,
	       ((struct sockaddr_in *)&a)->sin_port != 0);
	close(fd);
}

static void t_connect_nonblock(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), err = -1, r;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t n = sizeof(err);

	r = connect(fd, (void *)&peer, peer_n);
	printf("connect_nonblock: %s", en(r));
	r = poll(&p, 1, 5000);
	printf(" poll %d %d", r, p.revents);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" err %d", err);
	r = connect(fd, (void *)&peer, peer_n);
	printf(" again %s", en(r));
	r = connect(fd, (void *)&peer, peer_n);
	printf(" again %s\n", en(r));
	close(fd);
}

static void t_connect_refused(void)
{
	struct sockaddr_storage a = peer;
	int fd = socket(peer.ss_family, SOCK_STREAM, 0), r;

	((struct sockaddr_in *)&a)->sin_port = htons(9);
	r = connect(fd, (void *)&a, peer_n);
	printf("connect_refused: %s", en(r));
	close(fd);
	fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	r = connect(fd, (void *)&a, peer_n);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	r = poll(&p, 1, 5000);
	printf(" poll %d %x", r, p.revents);
	int err;
	socklen_t n = sizeof(err);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" %s", strerrorname_np(err));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" then %d\n", err);
	close(fd);
}

static void t_eagain(void)
{
	char buf[8];
	int fd = dial("ECHO");
	ssize_t r;

	r = recv(fd, buf, 8, MSG_DONTWAIT);
	printf("eagain: %s", en(r));
	nonblock(fd, true);
	printf(" %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	r = read(fd, buf, 8);
	printf(" %s", en(r));
	nonblock(fd, false);
	printf(" %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	int one = 1;
	ioctl(fd, FIONBIO, &one);
	r = read(fd, buf, 8);
	printf(" %s %d\n", en(r), (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	close(fd);
}

static void t_peek_waitall(void)
{
	char buf[16] = "";
	int fd = dial("DRIP 6 20"), q = 0;
	ssize_t r;

	r = recv(fd, buf, 1, MSG_PEEK);
	printf("peek: %zd %c", r, buf[0]);
	r = recv(fd, buf, 6, MSG_WAITALL);
	printf(" waitall %zd %.6s", r, buf);
	r = recv(fd, buf, 6, MSG_WAITALL);
	printf(" end %zd", r);
	r = recv(fd, buf, 6, 0);
	printf(" %zd", r);
	ioctl(fd, FIONREAD, &q);
	printf(" %d\n", q);
	close(fd);
}

static void t_fionread_trunc(void)
{
	int fd = dial("LATE 20 abcdefgh"), q = -1;
	char buf[16];

	wait_in(fd);
	ioctl(fd, FIONREAD, &q);
	printf("fionread: %d", q);
	printf(" trunc %zd", recv(fd, NULL, 3, MSG_TRUNC));
	printf(" %zd %.5s\n", recv(fd, buf, 16, 0), buf);
	close(fd);
}

static void t_vectors(void)
{
	char a[3], b[5], c[10];
	struct iovec out[3] = { { "abc", 3 }, { "", 0 }, { "defghij", 7 } };
	struct iovec in[3] = { { a, 3 }, { b, 5 }, { c, 10 } };
	struct msghdr m = { .msg_iov = in, .msg_iovlen = 3 };
	int fd = dial("ECHO");
	ssize_t r = writev(fd, out, 3), g;

	usleep(50000);
	g = readv(fd, in, 3);
	printf("vectors: %zd %zd %.3s %.5s %.2s", r, g, a, b, c);
	m.msg_iov = out;
	r = sendmsg(fd, &m, 0);
	m.msg_iov = in;
	m.msg_flags = 77;
	usleep(50000);
	g = recvmsg(fd, &m, 0);
	printf(" %zd %zd %d %zu %.3s\n", r, g, m.msg_flags, m.msg_controllen, a);
	close(fd);
}

static void t_mmsg(void)
{
	char a[4], b[4];
	struct iovec v[2] = { { "abcd", 4 }, { "efgh", 4 } };
	struct iovec w[2] = { { a, 4 }, { b, 4 } };
	struct mmsghdr s[2] = { { .msg_hdr = { .msg_iov = v, .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = v + 1, .msg_iovlen = 1 } } };
	struct mmsghdr d[2] = { { .msg_hdr = { .msg_iov = w, .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = w + 1, .msg_iovlen = 1 } } };
	int fd = dial("ECHO");
	int r = sendmmsg(fd, s, 2, 0), g;

	usleep(50000);
	g = recvmmsg(fd, d, 2, 0, NULL);
	printf("mmsg: %d %d %u %u %.4s%.4s\n", r, g, d[0].msg_len, d[1].msg_len, a, b);
	close(fd);
}

static void t_shutdown(void)
{
	char buf[64];
	int fd = dial("SINK");
	ssize_t r = send(fd, "", 0, 0);

	printf("shutdown: %zd", r);
	r = shutdown(fd, SHUT_WR);
	printf(" %s", en(r));
	r = send(fd, "x", 1, MSG_NOSIGNAL);
	printf(" send %s", en(r));
	r = read(fd, buf, sizeof(buf));
	printf(" %.*s", (int)r - 1, buf);
	r = read(fd, buf, sizeof(buf));
	printf(" %zd", r);
	r = shutdown(fd, SHUT_RDWR);
	printf(" %s\n", en(r));
	close(fd);
}

static void t_half(void)
{
	char buf[16];
	int fd = dial("HALF bye");
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	ssize_t r;

	usleep(50000);
	poll(&p, 1, 1000);
	r = read(fd, buf, 16);
	printf("half: %x %zd %zd", p.revents, r, read(fd, buf, 16));
	r = write(fd, "still", 5);
	printf(" %zd", r);
	poll(&p, 1, 0);
	printf(" %x\n", p.revents);
	close(fd);
}

static void on_pipe(int s) { (void)s; }

static void t_sigpipe(void)
{
	int fd = dial("HOLD 1"), got = 0;
	struct sigaction a = { .sa_handler = on_pipe }, old;
	sigset_t set, pend;
	ssize_t r;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigaction(SIGPIPE, &a, &old);
	sigprocmask(SIG_BLOCK, &set, NULL);
	shutdown(fd, SHUT_WR);
	r = write(fd, "x", 1);
	sigpending(&pend);
	got = sigismember(&pend, SIGPIPE);
	printf("sigpipe: %s %d", en(r), got);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigaction(SIGPIPE, &old, &a);
	printf(" %d\n", a.sa_handler == on_pipe && !(a.sa_flags & SA_SIGINFO));
	close(fd);
}

static void t_reset(void)
{
	char buf[8];
	int fd = dial("RESET"), err = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	socklen_t n = sizeof(err);
	ssize_t r;

	usleep(50000);
	poll(&p, 1, 1000);
	printf("reset: %x", p.revents);
	r = read(fd, buf, 8);
	printf(" %s", en(r));
	r = read(fd, buf, 8);
	printf(" %s", en(r));
	r = send(fd, buf, 8, MSG_NOSIGNAL);
	printf(" %s", en(r));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" %d\n", err);
	close(fd);
}

static void opt(int fd, int level, int name, int v, const char *what)
{
	int got = -1;
	socklen_t n = sizeof(got);
	int r = setsockopt(fd, level, name, &v, sizeof(v));

	printf(" %s %s", what, en(r));
	r = getsockopt(fd, level, name, &got, &n);
	printf("/%s %d", en(r), got);
}

static void t_options(void)
{
	int fd = dial("HOLD 100"), v;
	socklen_t n = sizeof(v);
	struct linger l = { 1, 3 };

	printf("options:");
	opt(fd, IPPROTO_TCP, TCP_NODELAY, 1, "nodelay");
	opt(fd, IPPROTO_TCP, TCP_CORK, 1, "cork");
	opt(fd, IPPROTO_TCP, TCP_CORK, 0, "cork");
	opt(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "keepalive");
	opt(fd, IPPROTO_TCP, TCP_KEEPIDLE, 33, "idle");
	opt(fd, IPPROTO_TCP, TCP_KEEPINTVL, 7, "intvl");
	opt(fd, IPPROTO_TCP, TCP_KEEPCNT, 4, "cnt");
	opt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000, "ut");
	opt(fd, SOL_SOCKET, SO_RCVBUF, 50000, "rcvbuf");
	opt(fd, SOL_SOCKET, SO_SNDBUF, 60000, "sndbuf");
	opt(fd, SOL_SOCKET, SO_RCVLOWAT, 1, "lowat");
	printf("\noptions:");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	n = sizeof(l);
	memset(&l, 0, sizeof(l));
	getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &n);
	printf(" linger %d %d", l.l_onoff, l.l_linger);
	n = sizeof(v);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &n);
	printf(" type %d", v);
	getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &n);
	printf(" proto %d", v);
	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &v, &n);
	printf(" domain %d", v == peer.ss_family);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &n);
	printf(" listening %d", v);
	getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &v, &n);
	printf(" mss %d", v > 500);
	struct tcp_info ti;
	n = sizeof(ti);
	memset(&ti, 0, sizeof(ti));
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n);
	printf(" info %d", ti.tcpi_state);
	v = setsockopt(fd, IPPROTO_TCP, 9999, &v, sizeof(v));
	printf(" unknown %s\n", en(v));
	l = (struct linger){ 0, 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static void t_sendfile(void)
{
	char name[] = "/tmp/onramp-calls-XXXXXX", line[64];
	int f = mkstemp(name), fd = dial("SINK"), half;
	uint64_t n = 300000, at;
	off_t off = 0, pos;
	ssize_t r = 0, sum = 0;
	unsigned char *p = malloc(n);

	unlink(name);
	for (at = 0; at < n; at++)
		p[at] = pattern(at);
	if (write(f, p, n) != (ssize_t)n)
		return;
	half = (int)n / 2;
	while (sum < half && (r = sendfile(fd, f, &off, (size_t)(half - sum))) > 0)
		sum += r;
	lseek(f, half, SEEK_SET);
	while ((r = sendfile(fd, f, NULL, 1 << 20)) > 0)
		sum += r;
	pos = lseek(f, 0, SEEK_CUR);
	shutdown(fd, SHUT_WR);
	r = recv(fd, line, sizeof(line), MSG_WAITALL);
	printf("sendfile: %zd off %ld pos %ld peer %.*s\n", sum, (long)off, (long)pos, (int)r - 1, line);
	free(p);
	close(f);
	close(fd);
}

static void t_bulk(void)
{
	uint64_t n = 8 << 20, got = 0, wrong = 0, at = 0;
	static unsigned char buf[100000];
	char line[64];
	int fd = dial("SOURCE 8388608");
	ssize_t r;

	while ((r = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < r; i++)
			wrong += buf[i] != pattern(got + (uint64_t)i);
		got += (uint64_t)r;
	}
	printf("bulk: %lu %lu", (unsigned long)got, (unsigned long)wrong);
	close(fd);
	fd = dial("SINK");
	nonblock(fd, true);
	while (at < n) {
		size_t k = n - at < sizeof(buf) ? (size_t)(n - at) : sizeof(buf);
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		for (size_t i = 0; i < k; i++)
			buf[i] = pattern(at + i);
		r = write(fd, buf, k);
		if (r < 0 && errno == EAGAIN)
			poll(&p, 1, 5000);
		else if (r < 0)
			break;
		else
			at += (uint64_t)r;
	}
	nonblock(fd, false);
	shutdown(fd, SHUT_WR);
	r = recv(fd, line, sizeof(line), MSG_WAITALL);
	printf(" %.*s\n", (int)r - 1, line);
	close(fd);
}

static void *echo_thread(void *arg)
{
	int fd = dial("ECHO");
	intptr_t bad = 0;
	char out[700], in[700];

	for (int i = 0; i < 200; i++) {
		memset(out, 'a' + (int)(intptr_t)arg, sizeof(out));
		out[0] = (char)i;
		if (write(fd, out, sizeof(out)) != sizeof(out) ||
		    recv(fd, in, sizeof(in), MSG_WAITALL) != sizeof(in) || memcmp(in, out, sizeof(in)))
			bad++;
	}
	close(fd);
	return (void *)bad;
}

static void t_threads(void)
{
	pthread_t th[8];
	intptr_t bad = 0;
	void *r;

	for (intptr_t i = 0; i < 8; i++)
		pthread_create(&th[i], NULL, echo_thread, (void *)i);
	for (int i = 0; i < 8; i++) {
		pthread_join(th[i], &r);
		bad += (intptr_t)r;
	}
	printf("threads: %ld\n", (long)bad);
}

static void t_stdio(void)
{
	int fd = dial("ECHO");
	FILE *f = fdopen(fd, "r+");
	char line[64] = "";

	printf("stdio: %d", f && fileno(f) == fd);
	fprintf(f, "line %d\n", 1);
	fflush(f);
	if (!fgets(line, sizeof(line), f))
		printf(" nothing");
	printf(" %.6s", line);
	dprintf(fd, "direct\n");
	if (!fgets(line, sizeof(line), f))
		printf(" nothing");
	printf(" %.6s %d", line, fclose(f));
	printf(" %d\n", fcntl(fd, F_GETFD) < 0);
}

static void t_oob(void)
{
	int fd = dial("OOB abc"), mark = -1;
	char buf[8] = "";
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLPRI };
	ssize_t r;

	usleep(80000);
	poll(&p, 1, 1000);
	printf("oob: %x", p.revents);
	r = recv(fd, buf, 8, MSG_OOB);
	printf(" %zd %c", r, buf[0]);
	r = recv(fd, buf, 8, 0);
	ioctl(fd, SIOCATMARK, &mark);
	printf(" %zd %.2s mark %d\n", r, buf, mark);
	close(fd);
}

static void t_errors(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0), r;
	char buf[8];
	struct epoll_event e = { .events = EPOLLIN };
	int c = dial("HOLD 100"), ep = epoll_create1(0);

	r = (int)recv(fd, buf, 8, 0);
	printf("errors: %s", en(r));
	r = (int)send(fd, buf, 8, MSG_NOSIGNAL);
	printf(" %s", en(r));
	r = shutdown(fd, SHUT_WR);
	printf(" %s", en(r));
	r = listen(c, 5);
	printf(" listen %s", en(r));
	struct sockaddr_in6 any = { .sin6_family = peer.ss_family };
	r = bind(c, (void *)&any, peer_n);
	printf(" bind %s", en(r));
	r = accept(c, NULL, NULL);
	printf(" accept %s", en(r));
	r = connect(c, (void *)&peer, peer_n);
	printf(" connect %s", en(r));
	r = shutdown(c, 9);
	printf(" shut %s", en(r));
	r = (int)lseek(c, 0, SEEK_CUR);
	printf(" lseek %s", en(r));
	r = epoll_wait(ep, &e, 0, 0);
	printf(" epwait %s", en(r));
	r = epoll_ctl(ep, 77, c, &e);
	printf(" epctl %s", en(r));
	r = epoll_ctl(c, EPOLL_CTL_ADD, ep, &e);
	printf(" epctl %s", en(r));
	r = (int)splice(c, NULL, c, NULL, 10, 0);
	printf(" splice %s\n", en(r));
	close(fd);
	close(c);
	close(ep);
	r = close(c);
	printf("errors: close %s\n", en(r));
}

/* One notification of the error queue, and all that is said with it, but whether the bytes were
 * copied: that is the path's affair, and differs between devices of the kernel, too. */
static void show_done(int fd, size_t room)
{
	struct { struct sock_extended_err ee; unsigned char offender[28]; } err = { .ee.ee_info = 99 };
	char control[256], buf[8], name[32];
	struct iovec v = { buf, sizeof(buf) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = room,
			    .msg_name = name, .msg_namelen = sizeof(name), .msg_flags = 77 };
	ssize_t r = recvmsg(fd, &m, MSG_ERRQUEUE);
	struct cmsghdr *c;
	int sum = 0;

	printf(" %s", en(r));
	if (r < 0)
		return;
	printf(" %zd flags %x control %zu name %u", r, m.msg_flags, m.msg_controllen, m.msg_namelen);
	c = CMSG_FIRSTHDR(&m);
	if (!c)
		return;
	printf(" [%d %zu", c->cmsg_level == (peer.ss_family == AF_INET ? SOL_IP : SOL_IPV6) &&
	       c->cmsg_type == (peer.ss_family == AF_INET ? IP_RECVERR : IPV6_RECVERR), (size_t)c->cmsg_len);
	if (c->cmsg_len >= CMSG_LEN(sizeof(err.ee)))
		memcpy(&err, CMSG_DATA(c), c->cmsg_len - CMSG_LEN(0));
	for (size_t i = 0; i < sizeof(err.offender); i++)
		sum += err.offender[i];
	printf(" errno %u origin %u type %u code %u %u..%u offender %d]", err.ee.ee_errno, err.ee.ee_origin,
	       err.ee.ee_type, err.ee.ee_code & ~SO_EE_CODE_ZEROCOPY_COPIED, err.ee.ee_info, err.ee.ee_data, sum);
}

static int queued_errors(int fd, int ms)
{
	struct pollfd p = { .fd = fd };

	poll(&p, 1, ms);
	return p.revents;
}

static void t_zerocopy(void)
{
	static char big[100000];
	int fd = dial("SINK"), sizes[] = { 1, 100, 0, 20000, 100000 };
	ssize_t r;

	printf("zerocopy:");
	show_done(fd, 256);
	r = send(fd, big, 100, MSG_ZEROCOPY);	/* not asked for: as any other */
	usleep(100000);
	printf(" unasked %zd %x", r, queued_errors(fd, 0));
	opt(fd, SOL_SOCKET, SO_ZEROCOPY, 2, "2");
	opt(fd, SOL_SOCKET, SO_ZEROCOPY, -1, "-1");
	opt(fd, SOL_SOCKET, SO_ZEROCOPY, 1, "1");
	for (int i = 0; i < 5; i++) {
		r = send(fd, big, (size_t)sizes[i], MSG_ZEROCOPY);
		printf(" %zd", r);
	}
	r = send(fd, big, 5, 0);
	usleep(400000);		/* the last acknowledgement may be a late one */
	printf(" then %zd %x", r, queued_errors(fd, 1000));
	show_done(fd, 256);
	printf(" %x", queued_errors(fd, 0));
	show_done(fd, 256);
	printf("\nzerocopy:");
	for (size_t room = 0; room < 60; room += 20) {
		send(fd, big, 10, MSG_ZEROCOPY);
		usleep(200000);
		show_done(fd, room);
	}
	send(fd, big, 10, MSG_ZEROCOPY);
	printf(" plain %x", queued_errors(fd, 1000));
	r = recv(fd, big, sizeof(big), MSG_ERRQUEUE | MSG_DONTWAIT);
	printf(" %zd", r);
	r = recv(fd, big, sizeof(big), MSG_ERRQUEUE);
	printf(" %s", en(r));
	opt(fd, SOL_SOCKET, SO_ZEROCOPY, 0, "0");
	send(fd, big, 10, MSG_ZEROCOPY);
	usleep(100000);
	printf(" %x\n", queued_errors(fd, 0));
	close(fd);
}

static void t_zerocopy_waits(void)
{
	int fd = dial("ECHO"), ep = epoll_create1(0), one = 1, r;
	struct epoll_event e = { .events = EPOLLET, .data.u64 = 5 };
	char buf[16] = "";
	fd_set rd, wr;

	setsockopt(fd, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	send(fd, "abc", 3, MSG_ZEROCOPY);
	r = epoll_wait(ep, &e, 1, 1000);
	printf("zerocopy_waits: %d %x", r, e.events);
	r = epoll_wait(ep, &e, 1, 0);
	printf(" %d", r);
	r = (int)recv(fd, buf, 8, 0);		/* what is on the error queue wakes no reader */
	printf(" %d %.3s", r, buf);
	r = (int)recv(fd, buf, 8, MSG_DONTWAIT);
	printf(" %s", en(r));
	struct timeval tv = { 0, 100000 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	uint64_t t = now_ms();
	r = (int)recv(fd, buf, 8, 0);
	printf(" %s %s", en(r), took(t, 100));
	FD_ZERO(&rd);
	FD_SET(fd, &rd);
	wr = rd;
	r = select(fd + 1, &rd, &wr, NULL, &tv);
	printf(" select %d", r);
	show_done(fd, 256);
	send(fd, "d", 1, MSG_ZEROCOPY);
	r = epoll_wait(ep, &e, 1, 1000);
	printf(" %d %x", r, e.events);
	show_done(fd, 256);
	printf("\n");
	close(ep);
	close(fd);
}

/* A connection that is accepted has what its listener has, and numbers of its own. */
static void t_zerocopy_child(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int l = socket(AF_INET, SOCK_STREAM, 0), c = socket(AF_INET, SOCK_STREAM, 0), s, got = 0, one = 1;
	socklen_t n = sizeof(a), m = sizeof(got);
	char b;

	setsockopt(l, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
	if (bind(l, (void *)&a, n) || listen(l, 5) || getsockname(l, (void *)&a, &n))
		printf("zerocopy_child: %s", en(-1));
	setsockopt(c, SOL_SOCKET, SO_ZEROCOPY, &one, sizeof(one));
	if (connect(c, (void *)&a, n))
		printf("zerocopy_child: %s", en(-1));
	s = accept(l, NULL, NULL);
	getsockopt(s, SOL_SOCKET, SO_ZEROCOPY, &got, &m);
	printf("zerocopy_child: %d", got);
	getsockopt(c, SOL_SOCKET, SO_ZEROCOPY, &got, &m);
	printf(" %d", got);
	for (int i = 0; i < 2; i++) {
		send(s, "x", 1, MSG_ZEROCOPY);
		printf(" %zd", recv(c, &b, 1, 0));
		usleep(100000);
	}
	printf(" %x", queued_errors(s, 1000) & POLLERR);
	recv(s, &b, 1, MSG_ERRQUEUE);
	printf(" %x\n", queued_errors(s, 0) & POLLERR);
	close(s);
	close(c);
	close(l);
}

static const struct one_case cases[] = {
	{ "echo", t_echo }, { "names", t_names }, { "connect_nonblock", t_connect_nonblock },
	{ "connect_refused", t_connect_refused }, { "eagain", t_eagain },
	{ "peek", t_peek_waitall }, { "fionread", t_fionread_trunc }, { "vectors", t_vectors },
	{ "mmsg", t_mmsg }, { "shutdown", t_shutdown }, { "half", t_half },
	{ "sigpipe", t_sigpipe }, { "reset", t_reset }, { "options", t_options },
	{ "sendfile", t_sendfile }, { "bulk", t_bulk }, { "threads", t_threads },
	{ "stdio", t_stdio }, { "oob", t_oob }, { "errors", t_errors }, { "zerocopy", t_zerocopy },
	{ "zerocopy_waits", t_zerocopy_waits }, { "zerocopy_child", t_zerocopy_child },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
