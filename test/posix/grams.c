/* SPDX-License-Identifier: BSD-2-Clause */
/* Datagrams when things go wrong or come in numbers: ICMP errors and the error queue, fragments, many
 * in one call, many in one datagram. Compared as calls.c is. */
#include "gram.h"

/* ---- errors ------------------------------------------------------------------------------------------ */

struct icmp { unsigned type, code, word; };

static const struct icmp icmp4[] = {
	{ 3, 0, 0 }, { 3, 1, 0 }, { 3, 2, 0 }, { 3, 3, 0 }, { 3, 4, 0xffff }, { 3, 5, 0 }, { 3, 6, 0 }, { 3, 9, 0 },
	{ 3, 10, 0 }, { 3, 13, 0 }, { 3, 15, 0 }, { 3, 16, 0 }, { 4, 0, 0 }, { 11, 0, 0 }, { 11, 1, 0 },
	{ 12, 0, 0x14000000 }, { 8, 0, 0x10001 },
};
static const struct icmp icmp6[] = {
	{ 1, 0, 0 }, { 1, 1, 0 }, { 1, 2, 0 }, { 1, 3, 0 }, { 1, 4, 0 }, { 1, 5, 0 }, { 1, 6, 0 }, { 1, 7, 0 },
	{ 2, 0, 0x10000 }, { 3, 0, 0 }, { 3, 1, 0 }, { 4, 0, 40 }, { 4, 1, 6 }, { 100, 0, 0 },
};

static size_t n_icmp(void) { return v6_run ? sizeof(icmp6) / sizeof(icmp6[0]) : sizeof(icmp4) / sizeof(icmp4[0]); }

/* The peer has done it: what it then sent has come, and is still there, behind any error. */
static void told(int fd)
{
	int n = 0;

	for (int i = 0; i < 1500 && !n; i++, n ? 0 : usleep(2000))
		ioctl(fd, FIONREAD, &n);
}

static void provoke(int fd, const struct sockaddr_storage *to, size_t i)
{
	const struct icmp *c = v6_run ? &icmp6[i] : &icmp4[i];
	char line[64];
	int n = snprintf(line, sizeof(line), "!icmp %u %u %x", c->type, c->code, c->word);

	sendto(fd, line, (size_t)n, 0, (const void *)to, to ? peer_n : 0);
	told(fd);
}

static void show_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };

	poll(&p, 1, 0);
	printf(" p%x", p.revents);
}

/* Each error there is, on each sort of socket: connected or not, asking for errors or not. */
static void t_icmp(void)
{
	const char *const sorts[] = { "deaf", "connected", "bound", "deafbound" };
	size_t n;

	close(gram_open());
	n = n_icmp();
	for (int sort = 0; sort < (is_local() ? 2 : 4); sort++) {
		for (size_t i = 0; i < n; i++) {
			bool bound = sort >= 2, asks = sort == 1 || sort == 2;
			int fd = bound ? gram_bound(peer.ss_family) : gram_open(), err = -1;
			socklen_t len = sizeof(err);

			if (asks)
				set(fd, level_ip(), v6_run ? IPV6_RECVERR : IP_RECVERR, 1);
			provoke(fd, bound ? &peer : NULL, i);
			printf("icmp_%s_%u_%u:", sorts[sort], v6_run ? icmp6[i].type : icmp4[i].type,
			       v6_run ? icmp6[i].code : icmp4[i].code);
			show_poll(fd);
			if (asks) {
				show_recv(fd, 100, 256, MSG_ERRQUEUE);
				show_recv(fd, 100, 256, MSG_ERRQUEUE);
			}
			getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len);
			printf(" so %d", err);
			show_poll(fd);
			show_recv(fd, 100, 0, MSG_DONTWAIT);
			printf("\n");
			close(fd);
		}
	}
}

/* Several wait: the pending error goes with the messages, and calls take it first. */
static void t_errqueue(void)
{
	int fd = gram_open(), err;
	socklen_t n = sizeof(err);
	ssize_t r;

	if (is_local())		/* no router is on the way */
		return;
	printf("errqueue_empty:");
	show_recv(fd, 10, 64, MSG_ERRQUEUE);
	set(fd, level_ip(), v6_run ? IPV6_RECVERR : IP_RECVERR, 1);
	set(fd, level_ip(), v6_run ? IPV6_RECVPKTINFO : IP_PKTINFO, 1);
	set(fd, level_ip(), v6_run ? IPV6_RECVHOPLIMIT : IP_RECVTTL, 1);
	set(fd, SOL_SOCKET, SO_TIMESTAMP, 1);
	show_recv(fd, 10, 64, MSG_ERRQUEUE);
	printf("\nerrqueue_three:");
	provoke(fd, NULL, 3);
	r = send(fd, "-", 1, 0);
	printf(" send %s", en(r));
	r = send(fd, "-", 1, 0);
	printf(" %s", en(r));
	provoke(fd, NULL, 0);
	settle();
	r = grecv(fd, gbuf, 10, MSG_DONTWAIT);
	printf(" recv %s", en(r));
	r = grecv(fd, gbuf, 10, MSG_DONTWAIT);
	printf(" %s", en(r));
	show_poll(fd);
	provoke(fd, NULL, 1);
	settle();
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" so %d", err);
	show_recv(fd, 4, 512, MSG_ERRQUEUE);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" so %d", err);
	show_recv(fd, 100, 20, MSG_ERRQUEUE | MSG_PEEK);
	show_poll(fd);
	show_recv(fd, 100, 0, MSG_ERRQUEUE);
	show_poll(fd);
	printf("\nerrqueue_off:");
	provoke(fd, NULL, 3);
	settle();
	printf(" %s", set(fd, level_ip(), v6_run ? IPV6_RECVERR : IP_RECVERR, 0));
	show_recv(fd, 100, 256, MSG_ERRQUEUE);
	r = send(fd, "x", 1, 0);
	printf(" %s", en(r));
	r = grecv(fd, gbuf, 10, 0);
	printf(" %s\n", en(r));
	close(fd);
}

/* Nobody has the port: the real thing. */
static void t_err_refused(void)
{
	struct sockaddr_storage to = peer;
	int fd = gram_socket(peer.ss_family);

	((struct sockaddr_in *)&to)->sin_port = htons(9);
	set(fd, level_ip(), v6_run ? IPV6_RECVERR : IP_RECVERR, 1);
	printf("err_refused: %s", en(connect(fd, (void *)&to, peer_n)));
	printf(" %s", en(send(fd, "payload", 7, 0)));
	wait_in(fd);
	settle();
	show_recv(fd, 100, 0, MSG_DONTWAIT);
	show_recv(fd, 100, 256, MSG_ERRQUEUE);
	show_recv(fd, 100, 256, MSG_DONTWAIT);
	printf("\n");
	close(fd);
}

/* What never left this host. */
static void t_err_local(void)
{
	int how[] = { IP_PMTUDISC_DONT, IP_PMTUDISC_WANT, IP_PMTUDISC_DO, IP_PMTUDISC_PROBE };

	for (size_t i = 0; i < 4; i++) {
		int fd = gram_open(), mtu;
		ssize_t r;

		mtu = get(fd, level_ip(), v6_run ? IPV6_MTU : IP_MTU);
		printf("err_local_%d: %s", how[i],
		       set(fd, level_ip(), v6_run ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, how[i]));
		printf(" %d mtu %d", get(fd, level_ip(), v6_run ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER), mtu);
		set(fd, level_ip(), v6_run ? IPV6_RECVERR : IP_RECVERR, 1);
		r = send(fd, gbuf, 1400, 0);
		printf(" %s", en(r));
		printf(" %zd", grecv(fd, gbuf, sizeof(gbuf), 0));
		r = send(fd, gbuf, 3000, 0);
		printf(" %s", en(r));
		if (r > 0)
			printf(" %zd", grecv(fd, gbuf, sizeof(gbuf), 0));
		show_recv(fd, 100, 256, MSG_ERRQUEUE | MSG_DONTWAIT);
		printf("\n");
		close(fd);
	}
}

/* A router says that the path is narrow: from then on datagrams come through all the same. */
static void t_err_pmtu(void)
{
	const char *ask = v6_run ? "!icmp 2 0 514" : "!icmp 3 4 514";	/* 1300 */

	for (int how = IP_PMTUDISC_WANT; how <= IP_PMTUDISC_DO && !is_local(); how++) {
		int fd = gram_open();
		ssize_t r;

		set(fd, level_ip(), v6_run ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, how);
		ask = v6_run ? "!icmp 2 0 514" : "!icmp 3 4 514";
		send(fd, ask, strlen(ask), 0);
		told(fd);
		printf("err_pmtu_%d:", how);
		r = send(fd, gbuf, 1000, 0);
		printf(" %s", en(r));
		r = send(fd, gbuf, 1000, 0);
		printf(" %s", en(r));
		printf(" %zd", grecv(fd, gbuf, sizeof(gbuf), 0));
		printf(" %zd", grecv(fd, gbuf, sizeof(gbuf), 0));
		printf(" mtu %d", get(fd, level_ip(), v6_run ? IPV6_MTU : IP_MTU));
		r = send(fd, gbuf, 1400, 0);
		printf(" %s", en(r));
		if (r > 0)
			printf(" %zd", grecv(fd, gbuf, sizeof(gbuf), 0));
		printf("\n");
		close(fd);
	}
}

/* ---- fragments ------------------------------------------------------------------------------------------ */

static void t_frag(void)
{
	const char *const how[] = { "inorder", "backwards", "tiny", "twice", "overlap", "inside", "hole", "odd",
				    "pastend", "twolasts", "atomic", "flood" };

	if (is_local())		/* within the host nothing is cut: both ends would be the kernel's */
		return;
	for (size_t i = 0; i < sizeof(how) / sizeof(how[0]); i++) {
		int fd = gram_open(), flags = 0;
		ssize_t r, bad = 0, whole = 0;
		bool lives = false;
		char line[64];

		send(fd, line, (size_t)snprintf(line, sizeof(line), "!frag %s %u", how[i], i == 2 ? 200 : 1300), 0);
		send(fd, "after", 5, 0);
		for (;;) {
			r = grecv(fd, gbuf, sizeof(gbuf), flags);
			if (r < 0)
				break;
			if (r == 5 && !memcmp(gbuf, "after", 5)) {
				lives = true;
				flags = MSG_DONTWAIT;	/* what comes at all has come, or is about to */
				settle();
				continue;
			}
			whole = r;
			for (ssize_t k = 0; k < r; k++)
				bad += gbuf[k] != pattern((uint64_t)k);
		}
		printf("frag_%s: %zd wrong %zd after %d\n", how[i], whole, bad, lives);
		close(fd);
	}
}

/* Large and small mixed: none is lost, however they came. */
static void t_frag_mixed(void)
{
	const int sizes[] = { 10, 3000, 20, 20000, 30, 8000, 40 };
	int fd = gram_open(), big = 1 << 20;
	uint64_t seen = 0;

	set(fd, SOL_SOCKET, SO_RCVBUF, big);
	for (size_t i = 0; i < 7; i++)
		send(fd, gbuf, (size_t)sizes[i], 0);
	for (size_t i = 0; i < 7; i++) {
		ssize_t r = grecv(fd, gbuf, sizeof(gbuf), 0);

		for (size_t k = 0; k < 7; k++)
			seen |= r == sizes[k] ? 1u << k : 0;
	}
	printf("frag_mixed: %lx\n", (unsigned long)seen);
	close(fd);
}

/* ---- many ----------------------------------------------------------------------------------------------- */

#define MANY 6

static int many(int fd, int n, int flags, struct timespec *to, unsigned *ret_len)
{
	static unsigned char bufs[MANY][64];
	static struct iovec v[MANY];
	struct mmsghdr m[MANY];
	int r;

	memset(m, 0, sizeof(m));
	for (int i = 0; i < MANY; i++) {
		v[i] = (struct iovec){ bufs[i], 64 };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1 };
	}
	do
		r = recvmmsg(fd, m, (unsigned)n, flags, to);
	while (r < 0 && errno == EINTR);	/* a machine that was stopped for a while */
	for (int i = 0; i < MANY; i++)
		ret_len[i] = m[i].msg_len;
	return r;
}

static void show_many(int fd, int n, int flags, struct timespec *to)
{
	unsigned len[MANY];
	int r = many(fd, n, flags, to, len);

	printf(" %s %d:", en(r), r);
	for (int i = 0; i < r; i++)
		printf("%s%u", i ? "," : "", len[i]);
}

static void t_recvmmsg(void)
{
	struct timespec zero = { 0, 0 }, some = { 0, 200000000 }, bad = { 0, 1000000000 }, neg = { -1, 0 };
	int fd = gram_open();
	uint64_t t0;

	printf("recvmmsg:");
	show_many(fd, 3, MSG_DONTWAIT, NULL);
	send(fd, "3 of us", 7, 0);
	settle();
	show_many(fd, 2, 0, NULL);
	show_many(fd, 2, MSG_DONTWAIT, NULL);
	show_many(fd, 0, MSG_DONTWAIT, NULL);
	send(fd, "4abc", 4, 0);
	settle();
	show_many(fd, 6, MSG_WAITFORONE, NULL);
	printf("\nrecvmmsg_time: bad");
	show_many(fd, 2, 0, &bad);
	show_many(fd, 2, 0, &neg);
	/* None left after the first: one is returned, whatever waits. */
	send(fd, "3", 1, 0);
	settle();
	printf(" zero");
	show_many(fd, 3, 0, &zero);
	printf(" some");
	show_many(fd, 2, 0, &some);
	printf(" %d", some.tv_sec == 0 && some.tv_nsec > 0 && some.tv_nsec < 200000000);
	/* The time does not wake who waits: SO_RCVTIMEO does. */
	t0 = now_ms();
	some = (struct timespec){ 0, 1000000 };
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){ 0, 300000 }, sizeof(struct timeval));
	show_many(fd, 2, 0, &some);
	printf(" %s %d\n", now_ms() - t0 + 5 >= 300 ? "not early" : "early", some.tv_nsec == 1000000);
	close(fd);
}

/* An error behind the first message is kept for the next call. */
static void t_recvmmsg_error(void)
{
	int fd = gram_open();
	unsigned len[MANY];
	struct mmsghdr m[2];
	struct iovec v = { gbuf, 10 };
	int r;

	memset(m, 0, sizeof(m));
	m[0].msg_hdr = (struct msghdr){ .msg_iov = &v, .msg_iovlen = 1 };
	m[1].msg_hdr = (struct msghdr){ .msg_iov = (void *)8, .msg_iovlen = 2000 };
	printf("recvmmsg_error:");
	send(fd, "2x", 2, 0);
	settle();
	r = recvmmsg(fd, m, 2, MSG_DONTWAIT, NULL);
	printf(" %d", r);
	r = many(fd, 1, MSG_DONTWAIT, NULL, len);
	printf(" %s", en(r));
	r = many(fd, 2, MSG_DONTWAIT, NULL, len);
	printf(" %s %d\n", en(r), r);
	close(fd);
}

static void t_sendmmsg(void)
{
	struct sockaddr_storage nowhere = peer;
	int fd = gram_bound(peer.ss_family), r;
	struct iovec v[4] = { { (void *)(uintptr_t)"a", 1 }, { (void *)(uintptr_t)"bb", 2 }, { gbuf, 66000 },
			      { (void *)(uintptr_t)"d", 1 } };
	struct mmsghdr m[4];
	unsigned len[MANY];

	((struct sockaddr_in *)&nowhere)->sin_port = 0;
	memset(m, 0, sizeof(m));
	for (int i = 0; i < 4; i++)
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1, .msg_name = &peer,
						.msg_namelen = peer_n };
	printf("sendmmsg:");
	r = sendmmsg(fd, m, 4, 0);	/* the third is too long: two went */
	printf(" %d %u %u", r, m[0].msg_len, m[1].msg_len);
	r = sendmmsg(fd, m + 2, 2, 0);
	printf(" %s", en(r));
	r = sendmmsg(fd, m, 0, 0);
	printf(" %d", r);
	m[1].msg_hdr.msg_name = &nowhere;
	r = sendmmsg(fd, m, 2, 0);
	printf(" %d", r);
	r = sendmmsg(fd, m + 1, 1, 0);
	printf(" %s", en(r));
	m[0].msg_hdr.msg_name = NULL;
	m[0].msg_hdr.msg_namelen = 0;
	r = sendmmsg(fd, m, 1, 0);
	printf(" %s", en(r));
	settle();
	r = many(fd, 6, MSG_DONTWAIT, NULL, len);
	printf(" back %d\n", r);
	close(fd);
}

static void t_peek(void)
{
	int fd = gram_open();
	ssize_t r;

	send(fd, "first", 5, 0);
	send(fd, "second", 6, MSG_CONFIRM);
	settle();
	printf("udp_peek:");
	r = grecv(fd, gbuf, 3, MSG_PEEK);
	printf(" %zd", r);
	r = grecv(fd, gbuf, 3, MSG_PEEK | MSG_TRUNC);
	printf(" %zd", r);
	r = grecv(fd, NULL, 0, MSG_PEEK | MSG_TRUNC);
	printf(" %zd", r);
	r = grecv(fd, gbuf, 100, 0);
	printf(" %zd", r);
	show_recv(fd, 2, 0, MSG_TRUNC);
	r = grecv(fd, gbuf, 10, MSG_PEEK | MSG_DONTWAIT);
	printf(" %s\n", en(r));
	close(fd);
}

/* Several sends, one datagram. */
static void t_more(void)
{
	int fd = gram_open();
	ssize_t r;

	printf("more: %zd", send(fd, "ab", 2, MSG_MORE));
	printf(" %zd", send(fd, "cd", 2, MSG_MORE));
	r = grecv(fd, gbuf, 10, MSG_DONTWAIT);
	printf(" %s", en(r));
	printf(" %zd", send(fd, "ef", 2, 0));
	r = grecv(fd, gbuf, 10, 0);
	printf(" %zd %.6s", r, gbuf);
	printf(" %zd", send(fd, "g", 1, 0));
	r = grecv(fd, gbuf, 10, 0);
	printf(" %zd %.1s\ncork: %s", r, gbuf, set(fd, IPPROTO_UDP, UDP_CORK, 1));
	printf(" %zd %zd", send(fd, "hi", 2, 0), send(fd, "jk", 2, 0));
	r = grecv(fd, gbuf, 10, MSG_DONTWAIT);
	printf(" %s %s", en(r), set(fd, IPPROTO_UDP, UDP_CORK, 0));
	r = grecv(fd, gbuf, 10, 0);
	printf(" %zd %.4s\n", r, gbuf);
	close(fd);
}

/* ---- segments ------------------------------------------------------------------------------------------- */

/* Sends n bytes and counts what comes back: sizes, in order. */
static void cut_and_count(int fd, size_t n, int seg_ctl)
{
	struct ctl_int c = { SOL_UDP, UDP_SEGMENT, 2, seg_ctl };
	ssize_t r = seg_ctl >= 0 ? send_ctl(fd, NULL, gbuf, n, &c, 1) : send(fd, gbuf, n, 0);
	unsigned count = 0, last = 0, first = 0;

	printf(" %s", en(r));
	if (r < 0)
		return;
	for (size_t sum = 0; sum < n || !count; sum += (size_t)r) {
		r = grecv(fd, gbuf, sizeof(gbuf), 0);
		if (r < 0)
			break;
		first = count++ ? first : (unsigned)r;
		last = (unsigned)r;
	}
	memset(gbuf, '-' + 1, 66000);
	printf(" %ux%u+%u", count, first, last);
}

static void t_segment(void)
{
	int fd = gram_open();

	memset(gbuf, '-' + 1, 66000);
	set(fd, SOL_SOCKET, SO_RCVBUF, 1 << 20);
	printf("segment_option: %s %d", set(fd, SOL_UDP, UDP_SEGMENT, 1000), get(fd, SOL_UDP, UDP_SEGMENT));
	cut_and_count(fd, 3500, -1);
	cut_and_count(fd, 1000, -1);
	cut_and_count(fd, 10, -1);
	cut_and_count(fd, 0, -1);
	cut_and_count(fd, 4000, 700);
	cut_and_count(fd, 800, 0);
	printf(" off %s", set(fd, SOL_UDP, UDP_SEGMENT, 0));
	cut_and_count(fd, 1400, -1);
	cut_and_count(fd, 1400, 500);
	printf("\nsegment_limits: %s %s", set(fd, SOL_UDP, UDP_SEGMENT, -1), set(fd, SOL_UDP, UDP_SEGMENT, 65536));
	cut_and_count(fd, 64 * 100, 100);
	cut_and_count(fd, 200 * 100, 100);
	cut_and_count(fd, 66000, 1000);
	set(fd, SOL_SOCKET, SO_NO_CHECK, 1);
	cut_and_count(fd, 200, 100);
	printf("\n");
	close(fd);
	/* A segment that does not fit the path; no fragments are made of it. */
	if (!is_local()) {
		fd = gram_open();
		printf("segment_mtu:");
		cut_and_count(fd, 6000, 1472 - 20 * v6_run);
		cut_and_count(fd, 6000, 1473 - 20 * v6_run);
		printf("\n");
		close(fd);
	}
}

/* Reads all of it; how much is joined depends on the way, but not what a joined read is made of. */
static void read_joined(int fd, unsigned total, int seg)
{
	unsigned sum = 0, bad = 0, joined = 0;

	while (sum < total) {
		union { struct cmsghdr h; char b[64]; } u = { .b = "" };
		struct iovec v = { gbuf, 65536 };
		struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = u.b, .msg_controllen = sizeof(u.b) };
		ssize_t r = recvmsg(fd, &m, 0);
		int told_seg = 0;

		if (r < 0)
			break;
		for (ssize_t k = 0; k < r; k++)
			bad += gbuf[k] != pattern(sum + (uint64_t)k);
		if (m.msg_controllen && u.h.cmsg_level == SOL_UDP && u.h.cmsg_type == UDP_GRO)
			memcpy(&told_seg, CMSG_DATA(&u.h), sizeof(told_seg));
		/* Whole segments, but for the very last; and then it is told how long they are. */
		bad += r > seg ? told_seg != seg : told_seg != 0 && told_seg != seg;
		sum += (unsigned)r;
		bad += r % seg && sum != total;
		joined += r > seg;
	}
	printf(" %u/%u%s", sum, bad, joined && total <= (unsigned)seg ? " joined" : "");
}

static void t_gro(void)
{
	static const struct { const char *ask; unsigned total; int seg; } c[] = {
		{ "!cut 500 2100", 2100, 500 }, { "!cut 500 500", 500, 500 }, { "!cut 1200 12000", 12000, 1200 },
		{ "!cut 100 6400", 6400, 100 }, { "!cut 100 300", 300, 100 },
	};
	int fd = gram_open();

	set(fd, SOL_SOCKET, SO_RCVBUF, 1 << 20);
	printf("gro: %s", set(fd, SOL_UDP, UDP_GRO, 1));
	printf(" %d", get(fd, SOL_UDP, UDP_GRO));
	for (size_t i = 0; i < 5; i++) {
		send(fd, c[i].ask, strlen(c[i].ask), 0);
		read_joined(fd, c[i].total, c[i].seg);
	}
	printf("\ngro_off: %s", set(fd, SOL_UDP, UDP_GRO, 0));
	/* Nothing is joined for who did not ask, however it came. */
	for (size_t i = 0; i < 5; i += 4) {
		send(fd, c[i].ask, strlen(c[i].ask), 0);
		for (unsigned sum = 0; sum < c[i].total;) {
			ssize_t r = show_recv(fd, 65536, 128, 0);

			if (r < 0)
				break;
			sum += (unsigned)r;
		}
	}
	printf("\n");
	close(fd);
}

static const struct one_case cases[] = {
	{ "icmp", t_icmp }, { "errqueue", t_errqueue }, { "err_refused", t_err_refused }, { "err_local", t_err_local },
	{ "frag", t_frag }, { "frag_mixed", t_frag_mixed }, { "recvmmsg", t_recvmmsg },
	{ "recvmmsg_error", t_recvmmsg_error }, { "sendmmsg", t_sendmmsg }, { "udp_peek", t_peek }, { "more", t_more },
	{ "segment", t_segment }, { "gro", t_gro },
	{ "err_pmtu", t_err_pmtu },	/* last: the kernel remembers what the router said */
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
