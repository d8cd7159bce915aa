/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UDP over hand-made rings, of which the test is the device: what a user sees of datagrams in
 * and out, of errors, full buffers and unknown neighbours, and that every frame comes back.
 * After each call the socket's invariants are checked, and the stack's at the end.
 */
#include "test/unit/udp_rig.h"

static void connect_to(struct sk *sk, const char *raddr, uint16_t port)
{
	struct ipaddr a = addr_of(raddr);

	assert_int_equal(udp_connect(t, sk, &a, port), 0);
	udp_check(t, sk);
}

static enum verdict datagram(const char *src, uint16_t sport, const char *dst, uint16_t dport,
			     const void *data, uint32_t len)
{
	return arrive(frame, nr_udp(frame, src, sport, dst, dport, data, len));
}

static int64_t recv_from(struct sk *sk, void *buf, size_t len, uint32_t flags, struct udp_addr *from,
			 uint32_t *full)
{
	struct iovec v = { buf, len };
	struct udp_arrival a;
	int64_t ret = udp_recv(t, sk, &v, 1, flags, &a);

	udp_check(t, sk);
	if (from && ret >= 0)
		*from = a.from;
	if (full)
		*full = a.full;
	return ret;
}

static int64_t send_to(struct sk *sk, const void *buf, size_t len, const char *addr, uint16_t port)
{
	struct iovec v = { (void *)(uintptr_t)buf, len };
	struct udp_addr to = { addr ? addr_of(addr) : (struct ipaddr){ { 0 } }, port };
	int64_t ret = udp_send(t, sk, &v, 1, &(struct udp_out){ .to = addr ? &to : NULL });

	udp_check(t, sk);
	return ret;
}

/* The next frame sent is this datagram, sound in all its parts. */
static void expect_sent(const char *src, uint16_t sport, const char *dst, uint16_t dport,
			const void *data, uint32_t len)
{
	static uint8_t got[70000], want[70000];
	uint32_t k = nr_sent(&n, got), w = nr_udp(want, src, sport, dst, dport, data, len);

	assert_int_equal(k, w);
	/* From the addresses on: MACs are the other way round, the IP header has its own id. */
	assert_memory_equal(got, nr_peer_mac, 6);
	assert_memory_equal(got + 6, nr_mac, 6);
	if (get_be16(got + 12) == ETH_TYPE_IP4)
		assert_memory_equal(got + 26, want + 26, w - 26);
	else
		assert_memory_equal(got + 14, want + 14, w - 14);
}

/* ---- in --------------------------------------------------------------------------------------- */

static void test_receive(void **state)
{
	struct sk *sk = open_at("0.0.0.0", 53), *sk6 = open_at("::", 54);
	struct udp_addr from;
	struct ipaddr peer = addr_of("10.0.0.2"), peer6 = addr_of("fd00::2");
	char buf[100];
	uint32_t full;

	(void)state;
	assert_int_equal(recv_from(sk, buf, 100, 0, &from, &full), -EAGAIN);
	assert_int_equal(datagram("10.0.0.2", 1000, "10.0.0.1", 53, "hello", 5), V_TAKEN);
	assert_int_equal(datagram("10.0.0.2", 1001, "10.0.0.1", 53, "", 0), V_TAKEN);
	assert_true(sk->ready & EPOLLIN && sk->rxq_bytes == 5);
	assert_int_equal(udp_next_bytes(t, sk), 5);
	assert_int_equal(recv_from(sk, buf, 2, UDP_RECV_PEEK, &from, &full), 2);
	assert_int_equal(full, 5);
	assert_int_equal(recv_from(sk, buf, 3, 0, &from, &full), 3);
	assert_true(full == 5 && from.port == 1000 && ip_eq(&from.addr, &peer));
	assert_memory_equal(buf, "hel", 3);
	assert_int_equal(recv_from(sk, buf, 100, 0, &from, &full), 0);	/* empty, but one */
	assert_true(full == 0 && from.port == 1001);
	assert_false(sk->ready & EPOLLIN);
	assert_int_equal(recv_from(sk, buf, 100, 0, &from, &full), -EAGAIN);

	/* :: takes both families, unless told otherwise. */
	assert_int_equal(datagram("fd00::2", 7, "fd00::1", 54, "six", 3), V_TAKEN);
	assert_int_equal(datagram("10.0.0.2", 7, "10.0.0.1", 54, "four", 4), V_TAKEN);
	assert_int_equal(recv_from(sk6, buf, 100, 0, &from, NULL), 3);
	assert_true(ip_eq(&from.addr, &peer6));
	assert_int_equal(recv_from(sk6, buf, 100, 0, NULL, NULL), 4);
	sk6->flags |= SK_F_V6ONLY;
	assert_int_equal(datagram("10.0.0.2", 7, "10.0.0.1", 54, "four", 4), V_DROP);
	assert_int_equal(rig_count(&n.r, EV_UDP_NO_SOCKET), 1);
	udp_close(t, sk);
	udp_close(t, sk6);
}

static void test_receive_many_frames(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	static uint8_t a[1000], b[65000];
	struct iovec v[3] = { { a, sizeof(a) }, { NULL, 0 }, { b, sizeof(b) } };
	struct udp_arrival in;

	(void)state;
	assert_int_equal(datagram("10.0.0.2", 1, "10.0.0.1", 53, big, 65507), V_TAKEN);
	assert_int_equal(udp_recv(t, sk, v, 3, 0, &in), 65507);
	assert_int_equal(in.full, 65507);
	assert_memory_equal(a, big, sizeof(a));
	assert_memory_equal(b, big + sizeof(a), 65507 - sizeof(a));
	udp_check(t, sk);
	udp_close(t, sk);
}

static void test_receive_bad(void **state)
{
	struct sk *sk = open_at("0.0.0.0", 53), *sk6 = open_at("::", 54);
	uint32_t len;
	char buf[10];

	(void)state;
	len = nr_udp(frame, "10.0.0.2", 1, "10.0.0.1", 53, "hello", 5);
	frame[len - 1] ^= 1;
	assert_int_equal(arrive(frame, len), V_DROP);
	put_be16(frame + 40, 0);			/* RFC 768: none, in IPv4 */
	assert_int_equal(arrive(frame, len), V_TAKEN);
	put_be16(frame + 38, 7);			/* shorter than a header */
	assert_int_equal(arrive(frame, len), V_DROP);
	put_be16(frame + 38, 14);			/* longer than the packet */
	assert_int_equal(arrive(frame, len), V_DROP);
	len = nr_udp(frame, "fd00::2", 1, "fd00::1", 54, "hello", 5);
	put_be16(frame + 60, 0);			/* RFC 8200 8.1 */
	assert_int_equal(arrive(frame, len), V_DROP);
	assert_int_equal(rig_count(&n.r, EV_UDP_BAD), 4);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), 5);

	/* IP may be longer than UDP; the sum is over UDP's length. */
	len = nr_udp(frame, "10.0.0.2", 1, "10.0.0.1", 53, "hello", 5);
	put_be16(frame + 16, 20 + 13 + 6);
	put_be16(frame + 24, 0);
	put_be16(frame + 24, (uint16_t)~csum_fold(csum_add_scalar(frame + 14, 20, 0)));
	put_be16(frame + 24, __builtin_bswap16(get_be16(frame + 24)));
	assert_int_equal(arrive(frame, len + 6), V_TAKEN);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), 5);
	udp_close(t, sk);
	udp_close(t, sk6);
}

static void test_receive_full(void **state)
{
	struct sk *sk = open_at("0.0.0.0", 53);
	uint32_t got = 0;
	char buf[10];

	(void)state;
	sk->rcvbuf = 10 * 768;			/* an skb's true size */
	for (int i = 0; i < 20; i++)
		got += datagram("10.0.0.2", 1, "10.0.0.1", 53, "x", 1) == V_TAKEN;
	assert_int_equal(got, 11);		/* Linux: until it is over the limit */
	assert_int_equal(rig_count(&n.r, EV_UDP_FULL), 9);
	for (int i = 0; i < 11; i++)
		assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), 1);
	assert_int_equal(udp_of(sk)->rx_mem, 0);
	/* When frames run low, a socket may keep only a few. */
	sk->rcvbuf = 212992;
	got = 0;
	for (int i = 0; i < 100; i++)
		got += datagram("10.0.0.2", 1, "10.0.0.1", 53, "x", 1) == V_TAKEN;
	/* How many that is depends on what the fill ring holds by then; the pool's last eighth is
	 * not theirs, and the device still has frames to receive into. */
	assert_true(got < 100);
	assert_in_range(pkt_n_free(t), 1, 128 / 8 - 1);
	assert_true(t->map->seg->n_posted[0] >= 128 / 4);
	udp_close(t, sk);
}

static void test_connected(void **state)
{
	struct sk *sk = open_at("0.0.0.0", 53), *any = open_at("10.0.0.1", 53);
	struct ipaddr me = addr_of("10.0.0.1");
	char buf[10];

	(void)state;
	connect_to(sk, "10.0.0.2", 1000);
	assert_true(ip_eq(&sk->laddr, &me) && sk->flags & SK_F_CONNECTED);
	assert_int_equal(datagram("10.0.0.2", 1000, "10.0.0.1", 53, "peer", 4), V_TAKEN);
	assert_int_equal(datagram("10.0.0.2", 1001, "10.0.0.1", 53, "other", 5), V_TAKEN);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), 4);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), -EAGAIN);
	assert_int_equal(recv_from(any, buf, 10, 0, NULL, NULL), 5);
	udp_close(t, any);
	assert_int_equal(datagram("10.0.0.2", 1001, "10.0.0.1", 53, "other", 5), V_DROP);
	/* Another peer, then none: back to the address it was opened with. */
	connect_to(sk, "10.0.0.2", 1001);
	assert_int_equal(datagram("10.0.0.2", 1001, "10.0.0.1", 53, "other", 5), V_TAKEN);
	assert_int_equal(udp_connect(t, sk, NULL, 0), 0);
	assert_true(ip_is_any(&sk->laddr) && !(sk->flags & SK_F_CONNECTED));
	udp_check(t, sk);
	assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, "third", 5), V_TAKEN);
	/* A failed connect() changes nothing. */
	me = addr_of("127.0.0.1");
	assert_int_equal(udp_connect(t, sk, &me, 1), -EINVAL);
	udp_check(t, sk);
	udp_close(t, sk);
}

static void test_connect_taken(void **state)
{
	struct sk *a = open_at("10.0.0.1", 53), *b = open_at("0.0.0.0", 53);
	struct ipaddr peer = addr_of("10.0.0.2"), me = addr_of("10.0.0.1");
	struct sk *c;

	(void)state;
	connect_to(a, "10.0.0.2", 9);
	assert_int_equal(udp_connect(t, b, &peer, 9), -EADDRINUSE);
	udp_check(t, b);
	assert_true(ip_is_any(&b->laddr));
	connect_to(b, "10.0.0.2", 8);
	assert_int_equal(udp_open(t, &me, 53, &c), 0);
	assert_int_equal(udp_connect(t, a, NULL, 0), -EADDRINUSE);
	udp_check(t, a);
	udp_close(t, a);
	udp_close(t, b);
	udp_close(t, c);
}

/* ---- out ---------------------------------------------------------------------------------------- */

static void test_send(void **state)
{
	struct sk *sk = open_at("0.0.0.0", 53), *sk6 = open_at("::", 54);
	struct iovec v[3] = { { (void *)(uintptr_t)"he", 2 }, { NULL, 0 }, { (void *)(uintptr_t)"llo", 3 } };
	struct udp_addr to = { addr_of("10.0.0.2"), 9 };

	(void)state;
	assert_int_equal(send_to(sk, "x", 1, NULL, 0), -EDESTADDRREQ);
	assert_int_equal(send_to(sk, "x", 1, "10.0.0.2", 0), -EINVAL);
	assert_int_equal(send_to(sk, "x", 1, "127.0.0.1", 9), -EINVAL);
	assert_int_equal(send_to(sk, "x", 1, "fd99::1", 9), -ENETUNREACH);
	assert_int_equal(udp_send(t, sk, v, 3, &(struct udp_out){ .to = &to }), 5);
	expect_sent("10.0.0.1", 53, "10.0.0.2", 9, "hello", 5);
	assert_int_equal(send_to(sk, "", 0, "10.0.0.2", 9), 0);
	expect_sent("10.0.0.1", 53, "10.0.0.2", 9, "", 0);
	assert_int_equal(send_to(sk6, "six", 3, "fd00::2", 9), 3);
	expect_sent("fd00::1", 54, "fd00::2", 9, "six", 3);
	assert_int_equal(send_to(sk6, "four", 4, "10.0.0.2", 9), 4);
	expect_sent("10.0.0.1", 54, "10.0.0.2", 9, "four", 4);
	assert_int_equal(send_to(sk6, "six", 3, "fd00::2", 9), 3);	/* and back again */
	expect_sent("fd00::1", 54, "fd00::2", 9, "six", 3);
	sk6->flags |= SK_F_V6ONLY;
	assert_int_equal(send_to(sk6, "four", 4, "10.0.0.2", 9), -ENETUNREACH);
	connect_to(sk, "10.0.0.2", 10);
	assert_int_equal(send_to(sk, "peer", 4, NULL, 0), 4);
	expect_sent("10.0.0.1", 53, "10.0.0.2", 10, "peer", 4);
	assert_int_equal(send_to(sk, "aside", 5, "10.0.0.2", 11), 5);
	expect_sent("10.0.0.1", 53, "10.0.0.2", 11, "aside", 5);
	udp_close(t, sk);
	udp_close(t, sk6);
}

static void test_send_sizes(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53), *sk6 = open_at("fd00::1", 53);
	uint32_t sizes[] = { 1, 2, 3839, 3840, 3841, 7936, 7937, 65507 };

	(void)state;
	assert_int_equal(send_to(sk, big, 1472, "10.0.0.2", 9), 1472);
	expect_sent("10.0.0.1", 53, "10.0.0.2", 9, big, 1472);
	/* Fragments are the kernel's; what no datagram can be is nobody's. */
	assert_int_equal(send_to(sk, big, 1473, "10.0.0.2", 9), -EOPNOTSUPP);
	assert_int_equal(send_to(sk6, big, 1453, "fd00::2", 9), -EOPNOTSUPP);
	assert_int_equal(send_to(sk, big, 65508, "10.0.0.2", 9), -EMSGSIZE);
	assert_int_equal(send_to(sk6, big, 65528, "fd00::2", 9), -EMSGSIZE);
	n.mir.links[0].mtu = 65535;
	n.mir.generation++;
	for (uint32_t i = 0; i < n_elems(sizes); i++) {
		assert_int_equal(send_to(sk, big, sizes[i], "10.0.0.2", 9), sizes[i]);
		expect_sent("10.0.0.1", 53, "10.0.0.2", 9, big, sizes[i]);
	}
	assert_int_equal(send_to(sk6, big, 65487, "fd00::2", 9), 65487);
	expect_sent("fd00::1", 53, "fd00::2", 9, big, 65487);
	udp_close(t, sk);
	udp_close(t, sk6);
}

/* A checksum that comes out as zero is sent as all ones. */
static void test_send_zero_csum(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	uint8_t got[100], data[2];
	uint32_t seen = 0;

	(void)state;
	for (uint32_t v = 0; v < 65536 && !seen; v++) {
		struct ipaddr s = addr_of("10.0.0.1"), d = addr_of("10.0.0.2");
		uint8_t h[10];

		put_be16(data, (uint16_t)v);
		wire_udp_emit(h, &(struct udp_hdr){ 53, 9, 10, 0 });
		memcpy(h + 8, data, 2);
		if (csum_finish(csum_add_scalar(h, 10, ip_pseudo(&s, &d, 17, 10))) == 0) {
			assert_int_equal(send_to(sk, data, 2, "10.0.0.2", 9), 2);
			assert_int_equal(nr_sent(&n, got), 44);
			assert_int_equal(get_be16(got + 40), 0xffff);
			seen = 1;
		}
	}
	assert_int_equal(seen, 1);
	udp_close(t, sk);
}

static void test_neighbour(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct mir_neigh *e;
	uint8_t got[100];

	(void)state;
	assert_int_equal(send_to(sk, "one", 3, "10.0.0.9", 9), 3);
	assert_int_equal(send_to(sk, "two", 3, "10.0.0.9", 9), 3);
	assert_true(t->asks && sk->flags & SK_F_TXWAIT && sk->txq_bytes == 6);
	assert_int_equal(nr_sent(&n, got), 0);
	/* One who is known is not kept waiting by one who is not. */
	assert_int_equal(send_to(sk, "aside", 5, "10.0.0.2", 9), 5);
	expect_sent("10.0.0.1", 53, "10.0.0.2", 9, "aside", 5);
	assert_ptr_equal(sk_txwait_pop(t), sk);
	udp_tx_ready(t, sk);
	assert_true(sk->flags & SK_F_TXWAIT);
	e = nr_neigh(&n, "10.0.0.9", NEIGH_VALID);
	n.mir.generation++;
	/* In order, also when the answer comes by way of the next send. */
	assert_int_equal(send_to(sk, "three", 5, "10.0.0.9", 9), 5);
	expect_sent("10.0.0.1", 53, "10.0.0.9", 9, "one", 3);
	expect_sent("10.0.0.1", 53, "10.0.0.9", 9, "two", 3);
	expect_sent("10.0.0.1", 53, "10.0.0.9", 9, "three", 5);
	assert_int_equal(sk->txq_bytes, 0);
	assert_ptr_equal(sk_txwait_pop(t), sk);
	udp_tx_ready(t, sk);
	assert_false(sk->flags & SK_F_TXWAIT);

	/* It fails: what waits is dropped in silence, the next send hears of it. */
	*e = (struct mir_neigh){ 0 };
	n.mir.generation++;
	assert_int_equal(send_to(sk, "lost", 4, "10.0.0.9", 9), 4);
	e = nr_neigh(&n, "10.0.0.9", NEIGH_FAILED);
	t->now += 50 * NS_PER_MS;
	udp_tx_ready(t, sk);
	assert_int_equal(udp_of(sk)->txq.n, 1);
	t->now += 1200 * NS_PER_MS;
	udp_tx_ready(t, sk);
	assert_int_equal(udp_of(sk)->txq.n, 0);
	assert_int_equal(send_to(sk, "lost", 4, "10.0.0.9", 9), -EHOSTUNREACH);
	udp_close(t, sk);
}

/* Too much for one who is not known: the oldest goes, the sender is not stopped. */
static void test_neighbour_full(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);

	(void)state;
	sk->sndbuf = 4 * FRAME_BYTES;
	for (uint8_t i = 0; i < 10; i++)
		assert_int_equal(send_to(sk, &i, 1, "10.0.0.9", 9), 1);
	assert_int_equal(udp_of(sk)->txq.n, 4);
	nr_neigh(&n, "10.0.0.9", NEIGH_VALID);
	n.mir.generation++;
	udp_tx_ready(t, sk);
	for (uint8_t i = 6; i < 10; i++)
		expect_sent("10.0.0.1", 53, "10.0.0.9", 9, &i, 1);
	udp_close(t, sk);
}

static void test_ring_full(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	uint8_t i;

	(void)state;
	n.slow = true;
	sk->sndbuf = 8 * FRAME_BYTES;
	n.idx[3] -= NR_RING - 4;		/* room for four */
	for (i = 0; i < 12; i++)
		assert_int_equal(send_to(sk, &i, 1, "10.0.0.2", 9), 1);
	assert_int_equal(udp_of(sk)->txq.n, 8);
	assert_int_equal(send_to(sk, &i, 1, "10.0.0.2", 9), -EAGAIN);
	assert_true(!(sk->ready & EPOLLOUT) && sk->flags & SK_F_TXWAIT);
	n.idx[3] += NR_RING - 4;
	assert_ptr_equal(sk_txwait_pop(t), sk);
	udp_tx_ready(t, sk);
	assert_true(sk->ready & EPOLLOUT);
	udp_check(t, sk);
	for (i = 0; i < 12; i++)
		expect_sent("10.0.0.1", 53, "10.0.0.2", 9, &i, 1);
	nr_complete(&n);
	udp_close(t, sk);
}

static void test_no_frames(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct pkt_queue hoard = { 0 };

	(void)state;
	while (pkt_n_free(t))
		pkt_q_push(t, &hoard, pkt_get(t));
	assert_int_equal(send_to(sk, "x", 1, "10.0.0.2", 9), -EAGAIN);
	assert_false(sk->ready & EPOLLOUT);
	udp_tx_ready(t, sk);
	assert_true(!(sk->ready & EPOLLOUT) && sk->flags & SK_F_TXWAIT);
	pkt_put_queue(t, &hoard);
	udp_tx_ready(t, sk);
	assert_true(sk->ready & EPOLLOUT);
	assert_int_equal(send_to(sk, "x", 1, "10.0.0.2", 9), 1);
	udp_close(t, sk);
}

/* An ICMP error comes: its message is a frame without what the test does not look at. */
static void icmp_told(const struct icmp_quote *q)
{
	struct ip_info in = { .src = addr_of("10.0.0.9"), .dst = q->laddr, .ttl = 61, .tos = 4, .is4 = q->is4 };
	pkt_h h = pkt_get(t);
	struct pkt *p = pkt_at(t, h);

	assert_true(h.v);
	p->len = 36;
	p->tot = 36;
	memset(pkt_data(t, p), 0xaa, 28);
	memcpy(pkt_data(t, p) + 28, "quotequo", 8);
	if (udp_icmp(t, h, &in, q) == V_DROP)
		pkt_put(t, h);
}

/* ---- errors, shutdown, close ---------------------------------------------------------------------- */

static void test_icmp_errors(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53), *open = open_at("10.0.0.1", 54);
	struct icmp_quote q = { .proto = IPPROTO_UDP, .is4 = 1, .laddr = addr_of("10.0.0.1"),
				.raddr = addr_of("10.0.0.2"), .lport = 53, .rport = 9,
				.err = ECONNREFUSED, .hard = true };
	char buf[10];

	(void)state;
	connect_to(sk, "10.0.0.2", 9);
	icmp_told(&q);
	udp_check(t, sk);
	assert_true(sk->ready & EPOLLERR);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), -ECONNREFUSED);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), -EAGAIN);
	icmp_told(&q);
	assert_int_equal(send_to(sk, "x", 1, NULL, 0), -ECONNREFUSED);
	assert_int_equal(send_to(sk, "x", 1, NULL, 0), 1);
	q.hard = false;
	icmp_told(&q);
	q.hard = true;
	q.rport = 10;		/* not its peer */
	icmp_told(&q);
	q.lport = 54;		/* nobody's peer */
	icmp_told(&q);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), -EAGAIN);
	assert_int_equal(recv_from(open, buf, 10, 0, NULL, NULL), -EAGAIN);

	/* Too big: the path shrinks, and stays so. */
	q = (struct icmp_quote){ .proto = IPPROTO_UDP, .is4 = 1, .laddr = q.laddr, .raddr = q.raddr,
				 .lport = 53, .rport = 9, .err = EMSGSIZE, .hard = true, .mtu = 1000 };
	icmp_told(&q);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), -EMSGSIZE);
	assert_int_equal(send_to(sk, big, 973, NULL, 0), -EOPNOTSUPP);
	assert_int_equal(send_to(sk, big, 972, NULL, 0), 972);
	n.mir.generation++;
	assert_int_equal(send_to(sk, big, 973, NULL, 0), -EOPNOTSUPP);
	udp_close(t, sk);
	udp_close(t, open);
}

static void test_shutdown(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	char buf[10];

	(void)state;
	assert_int_equal(udp_shutdown(t, sk, 7), -EINVAL);
	assert_int_equal(udp_shutdown(t, sk, SHUT_WR), -ENOTCONN);	/* and yet */
	assert_int_equal(send_to(sk, "x", 1, "10.0.0.2", 9), -EPIPE);
	assert_int_equal(udp_connect(t, sk, NULL, 0), 0);
	connect_to(sk, "10.0.0.2", 9);
	assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, "x", 1), V_TAKEN);
	assert_int_equal(udp_shutdown(t, sk, SHUT_RD), 0);
	assert_true(sk->ready & EPOLLHUP && sk->ready & EPOLLRDHUP);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), 1);
	assert_int_equal(recv_from(sk, buf, 10, 0, NULL, NULL), 0);
	assert_true(sk->ready & EPOLLIN);
	udp_close(t, sk);
}

/* What was sent before the close is sent after it; if it cannot be, not for ever. */
static void test_orphan(void **state)
{
	struct sk *a = open_at("10.0.0.1", 53), *b = open_at("10.0.0.1", 54);
	uint32_t alive = n.r.map.seg->n_conns;

	(void)state;
	assert_int_equal(send_to(a, "last", 4, "10.0.0.9", 9), 4);
	assert_int_equal(send_to(b, "lost", 4, "10.0.0.10", 9), 4);
	udp_close(t, a);
	udp_close(t, b);
	assert_true(a->flags & SK_F_ORPHAN);
	udp_check(t, a);
	assert_int_equal(stack_check(t), 0);
	assert_int_equal(n.r.map.seg->n_conns, alive);
	assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, "x", 1), V_DROP);
	nr_neigh(&n, "10.0.0.9", NEIGH_VALID);
	n.mir.generation++;
	assert_ptr_equal(sk_txwait_pop(t), a);
	udp_tx_ready(t, a);
	expect_sent("10.0.0.1", 53, "10.0.0.9", 9, "last", 4);
	assert_int_equal(n.r.map.seg->n_conns, alive - 1);
	t->now += 2 * NS_PER_S;
	assert_ptr_equal(sk_txwait_pop(t), b);
	udp_tx_ready(t, b);
	assert_int_equal(n.r.map.seg->n_conns, alive - 1);
	t->now += 2 * NS_PER_S;
	assert_ptr_equal(sk_txwait_pop(t), b);
	udp_tx_ready(t, b);
	assert_int_equal(n.r.map.seg->n_conns, alive - 2);
	assert_null(sk_txwait_pop(t));
}

static void test_ports(void **state)
{
	static uint8_t seen[65536];
	struct ipaddr any = addr_of("0.0.0.0");
	struct sk *sk[64], *more;
	uint32_t steps = 0;

	(void)state;
	assert_int_equal(udp_open(t, &any, 0, &more), -EADDRNOTAVAIL);
	assert_true(t->asks && n.r.map.seg->port_scarce);
	assert_int_equal(port_block_add(t, 40000), 0);
	for (uint32_t i = 0; i < 63; i++) {
		assert_int_equal(udp_open(t, &any, 0, &sk[i]), 0);
		assert_true(sk[i]->lport >= 40000 && sk[i]->lport < 40064 && !seen[sk[i]->lport]++);
		steps += i && sk[i]->lport == sk[i - 1]->lport + 1;
		if (i % 2) {
			struct ipaddr peer = addr_of("10.0.0.2");

			assert_int_equal(udp_connect(t, sk[i], &peer, 9), 0);
		}
	}
	assert_true(steps < 20);		/* not one after the other */
	assert_true(n.r.map.seg->port_scarce);
	/* 64 slots of sockets: 63 usable. */
	assert_int_equal(udp_open(t, &any, 0, &more), -ENOBUFS);
	udp_close(t, sk[10]);
	assert_int_equal(udp_open(t, &any, 0, &sk[10]), 0);
	for (uint32_t i = 0; i < 63; i++)
		udp_close(t, sk[i]);
	for (uint32_t i = 0; i < N_PORT_BLOCKS; i++)
		assert_int_equal(n.r.map.seg->ports[i].used[1], 0);
	assert_int_equal(udp_open(t, &any, 50, &sk[0]), 0);
	assert_int_equal(udp_open(t, &any, 50, &more), -EADDRINUSE);
	udp_close(t, sk[0]);
}

/* ---- anything, in any order ------------------------------------------------------------------------ */

static const char *const peers[] = { "10.0.0.2", "10.0.0.9", "fd00::2", "fd00::9", "8.8.8.8" };

static void random_step(struct prng *r, struct sk **sk)
{
	const char *peer = peers[prng_below(r, n_elems(peers))];
	struct ipaddr a = addr_of(peer), any = { { 0 } };
	struct iovec v = { big, prng_below(r, 4) ? prng_below(r, 1400) : prng_below(r, 70000) };
	struct udp_addr to = { a, (uint16_t)(1 + prng_below(r, 3)) };
	uint16_t port = (uint16_t)(53 + prng_below(r, 4));

	if (!*sk) {
		if (udp_open(t, &any, port, sk))
			*sk = NULL;
		return;
	}
	switch (prng_below(r, 16)) {
	case 0:
		udp_close(t, *sk);
		*sk = NULL;
		return;
	case 1:
		(void)!udp_connect(t, *sk, prng_below(r, 3) ? &a : NULL, to.port);
		break;
	case 2:
		n.mir.n_neighs = 2;
		if (prng_below(r, 2))
			nr_neigh(&n, peer, prng_below(r, 2) ? NEIGH_VALID : NEIGH_FAILED);
		n.mir.generation++;
		break;
	case 3:
		n.mir.links[0].mtu = prng_below(r, 2) ? 1500 : 65535;
		n.mir.generation++;
		break;
	case 4:
		while (nr_sent(&n, frame))
			;
		nr_complete(&n);
		break;
	case 5:
		t->now += prng_below(r, 2000) * NS_PER_MS;
		break;
	case 6: case 7: case 8: {
		struct sk *w = sk_txwait_pop(t);

		if (w)
			udp_tx_ready(t, w);
		break;
	}
	case 9: case 10:
		(void)!udp_recv(t, *sk, &v, 1, prng_below(r, 4), NULL);
		break;
	case 11: case 12: {
		uint32_t k = nr_udp(frame, prng_below(r, 2) ? "10.0.0.2" : "10.0.0.9", to.port, "10.0.0.1",
				    port, big, (uint32_t)v.iov_len % 8000);
		if (n.r.map.seg->n_posted[0] > 4)
			(void)!arrive(frame, k);
		break;
	}
	default:
		(void)!udp_send(t, *sk, &v, 1, &(struct udp_out){ .to = prng_below(r, 2) ? &to : NULL });
	}
	if (*sk)
		udp_check(t, *sk);
}

static void test_random(void **state)
{
	struct sk *sk[6] = { NULL };
	struct prng r;

	(void)state;
	prng_seed(&r, 4711);
	n.slow = true;
	for (uint32_t i = 0; i < 60000; i++) {
		random_step(&r, &sk[prng_below(&r, 6)]);
		if (i % 16 == 0)
			assert_int_equal(stack_check(t), 0);
	}
	for (uint32_t i = 0; i < 6; i++)
		if (sk[i])
			udp_close(t, sk[i]);
	t->now += 10 * NS_PER_S;
	for (struct sk *w; (w = sk_txwait_pop(t));) {
		while (nr_sent(&n, frame))
			;
		nr_complete(&n);
		udp_tx_ready(t, w);
	}
	vif_refill(t, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_receive), T(test_receive_many_frames), T(test_receive_bad), T(test_receive_full),
		T(test_connected), T(test_connect_taken),
		T(test_send), T(test_send_sizes), T(test_send_zero_csum),
		T(test_neighbour), T(test_neighbour_full), T(test_ring_full), T(test_no_frames),
		T(test_icmp_errors), T(test_shutdown), T(test_orphan), T(test_ports), T(test_random),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
