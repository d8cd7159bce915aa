/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What goes along with datagrams, over hand-made rings of which the test is the device: header fields
 * both ways, the error queue (RFC 1122 4.1.3.3), segments out and joined in, and sockets that share a
 * port. After each call the socket's invariants are checked.
 */
#include "test/unit/udp_rig.h"

#include <linux/errqueue.h>
#include <time.h>

static uint8_t got[70000];

static enum verdict datagram(const char *src, uint16_t sport, const char *dst, uint16_t dport, const void *p,
			     uint32_t len)
{
	return arrive(frame, nr_udp(frame, src, sport, dst, dport, p, len));
}

static int64_t take(struct sk *sk, uint32_t flags, struct udp_arrival *a)
{
	struct iovec v = { got, sizeof(got) };
	int64_t r = udp_recv(t, sk, &v, 1, flags, a);

	udp_check(t, sk);
	return r;
}

static int64_t give(struct sk *sk, const void *p, size_t len, const struct udp_out *o)
{
	struct iovec v[2] = { { (void *)(uintptr_t)p, len / 2 }, { (uint8_t *)(uintptr_t)p + len / 2, len - len / 2 } };
	int64_t r = udp_send(t, sk, v, 2, o);

	udp_check(t, sk);
	return r;
}

static struct udp_opts opts_of(struct sk *sk)
{
	struct udp_opts o;

	udp_get_opts(t, sk, &o);
	return o;
}

/* ---- header fields --------------------------------------------------------------------------------- */

static void test_arrival(void **state)
{
	struct sk *sk = open_at("0.0.0.0", 53), *six = open_at("::", 54);
	struct udp_arrival a;

	(void)state;
	t->now = 12345;
	assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, "abc", 3), V_TAKEN);
	assert_int_equal(take(sk, 0, &a), 3);
	assert_true(ip_eq(&a.to.addr, &(struct ipaddr){ 0 }) == false && a.to.port == 53);
	assert_int_equal(ip_to4(&a.to.addr), 0x0a000001);
	assert_int_equal(a.ttl, 64);
	assert_int_equal(a.ifindex, NR_IFINDEX);
	assert_int_equal(a.at, 12345);
	assert_int_equal(a.drops, 0);
	/* Class and hop limit of IPv6, by hand. */
	(void)nr_udp(frame, "fd00::2", 9, "fd00::1", 54, "x", 1);
	put_be32(frame + 14, 6u << 28 | 0x2cu << 20);
	frame[21] = 3;
	assert_int_equal(arrive(frame, 14 + 40 + 9), V_TAKEN);
	assert_int_equal(take(six, 0, &a), 1);
	assert_int_equal(a.ttl, 3);
	assert_int_equal(a.tos, 0x2c);
	udp_close(t, sk);
	udp_close(t, six);
}

static void test_drops_are_told(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct udp_arrival a;

	(void)state;
	sk->rcvbuf = 1000;
	for (int i = 0; i < 10; i++)
		(void)datagram("10.0.0.2", 9, "10.0.0.1", 53, "x", 1);
	assert_int_equal(take(sk, 0, &a), 1);
	assert_int_equal(a.drops, 0);
	while (take(sk, 0, &a) > 0)
		;
	assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, "x", 1), V_TAKEN);
	assert_int_equal(take(sk, 0, &a), 1);
	assert_true(a.drops > 0 && a.drops < 10);
	udp_close(t, sk);
}

/* Of the socket, and of one datagram alone; DF as IP_MTU_DISCOVER says; SO_NO_CHECK. */
static void test_fields_out(void **state)
{
	struct sk *sk = open_at("0.0.0.0", 53);
	struct udp_addr to = { addr_of("10.0.0.2"), 9 };
	struct udp_out o = { .to = &to };
	struct udp_opts so = opts_of(sk);

	(void)state;
	assert_int_equal(so.pmtud4, UDP_PMTUD_WANT);
	assert_int_equal(give(sk, "abc", 3, &o), 3);
	assert_int_equal(nr_sent(&n, got), 14 + 20 + 11);
	assert_true(got[15] == 0 && got[22] == 64 && got[20] & 0x40);
	assert_true(get_be16(got + 40) != 0);
	so.tos = 0x10;
	so.ttl = 7;
	so.pmtud4 = UDP_PMTUD_DONT;
	so.no_check = 1;
	udp_set_opts(t, sk, &so);
	assert_int_equal(give(sk, "abc", 3, &o), 3);
	assert_int_equal(nr_sent(&n, got), 14 + 20 + 11);
	assert_true(got[15] == 0x10 && got[22] == 7 && !(got[20] & 0x40));
	assert_int_equal(get_be16(got + 40), 0);
	o.set = UDP_OUT_TTL | UDP_OUT_TOS;
	o.ttl = 200;
	o.tos = 0x20;
	assert_int_equal(give(sk, "abc", 3, &o), 3);
	assert_int_equal(nr_sent(&n, got), 14 + 20 + 11);
	assert_true(got[15] == 0x20 && got[22] == 200);
	udp_close(t, sk);
}

/* From an address that was asked for; not from one that the interface has not. */
static void test_source(void **state)
{
	struct sk *sk;
	struct udp_addr to = { addr_of("10.0.0.2"), 9 };
	struct ipaddr second = addr_of("10.0.0.7"), alien = addr_of("192.0.2.1");
	struct udp_out o = { .to = &to }, p = { .to = &to, .src = &second }, q = { .to = &to, .src = &alien };

	(void)state;
	nr_addr(&n, "10.0.0.7", 24, 0);
	n.mir.generation++;
	sk = open_at("0.0.0.0", 53);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(give(sk, "a", 1, &o), 1);
		assert_true(nr_sent(&n, got) && got[29] == 1);
		assert_int_equal(give(sk, "a", 1, &p), 1);
		assert_true(nr_sent(&n, got) && got[29] == 7);
		assert_int_equal(give(sk, "a", 1, &p), 1);
		assert_true(nr_sent(&n, got) && got[29] == 7);
	}
	assert_int_equal(give(sk, "a", 1, &q), -EINVAL);
	p.ifindex = NR_IFINDEX;
	assert_int_equal(give(sk, "a", 1, &p), 1);
	assert_true(nr_sent(&n, got) && got[29] == 7);
	p.ifindex = NR_IFINDEX + 1;
	assert_int_equal(give(sk, "a", 1, &p), -EINVAL);
	udp_close(t, sk);
}

/* What waits for a neighbour goes as it was asked to. */
static void test_waits_as_asked(void **state)
{
	struct sk *sk;
	struct udp_addr to = { addr_of("10.0.0.9"), 9 };
	struct ipaddr second = addr_of("10.0.0.7");
	struct udp_out o = { .to = &to, .src = &second, .set = UDP_OUT_TTL | UDP_OUT_TOS, .ttl = 5, .tos = 8 };

	(void)state;
	nr_addr(&n, "10.0.0.7", 24, 0);
	n.mir.generation++;
	sk = open_at("0.0.0.0", 53);
	assert_int_equal(give(sk, "abc", 3, &o), 3);
	assert_int_equal(nr_sent(&n, got), 0);
	nr_neigh(&n, "10.0.0.9", NEIGH_VALID);
	n.mir.generation++;
	udp_tx_ready(t, sk);
	assert_int_equal(nr_sent(&n, got), 14 + 20 + 11);
	assert_true(got[15] == 8 && got[22] == 5 && got[29] == 7);
	udp_close(t, sk);
}

/* ---- segments ------------------------------------------------------------------------------------------ */

static void test_segments(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct udp_addr to = { addr_of("10.0.0.2"), 9 };
	struct udp_out o = { .to = &to, .set = UDP_OUT_SEG, .seg = 1000 };
	uint32_t sum = 0;

	(void)state;
	assert_int_equal(give(sk, big, 3500, &o), 3500);
	for (int i = 0; i < 4; i++) {
		uint32_t k = nr_sent(&n, got) - 42;

		assert_int_equal(k, i < 3 ? 1000 : 500);
		assert_memory_equal(got + 42, big + sum, k);
		sum += k;
	}
	assert_int_equal(nr_sent(&n, got), 0);
	/* Not cut: no larger than a segment. */
	assert_int_equal(give(sk, big, 1000, &o), 1000);
	assert_int_equal(nr_sent(&n, got), 1042);
	/* The kernel judges: too many, or too long for the path. */
	o.seg = 10;
	assert_int_equal(give(sk, big, 641, &o), -EINVAL);
	o.seg = 1473;
	assert_int_equal(give(sk, big, 3000, &o), -EINVAL);
	o.seg = 0;		/* this one whole, whatever the socket says */
	assert_int_equal(give(sk, big, 1400, &o), 1400);
	assert_int_equal(nr_sent(&n, got), 1442);
	udp_close(t, sk);
}

/* A ring too small for all of them: the rest waits, and goes in order. */
static void test_segments_wait(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct udp_addr to = { addr_of("10.0.0.2"), 9 };
	struct udp_out o = { .to = &to, .set = UDP_OUT_SEG, .seg = 100 };
	uint32_t half = min_u32(pkt_n_free(t), NR_RING + 20) / 2 * 100, sum = 0, k;

	(void)state;
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(give(sk, big + half * i, half, &o), half);
	for (int tries = 0; sum < 2 * half && tries < 1000; tries++) {
		k = nr_sent(&n, got);
		if (!k) {
			vif_reap(t, 0);
			udp_tx_ready(t, sk);
			udp_check(t, sk);
			continue;
		}
		assert_int_equal(k, 142);
		assert_memory_equal(got + 42, big + sum, 100);
		sum += 100;
	}
	assert_int_equal(sum, 2 * half);
	udp_close(t, sk);
}

static void test_join(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct udp_arrival a;
	struct iovec small = { got, 250 };

	(void)state;
	for (uint32_t i = 0; i < 4; i++)	/* 100, 100, 100, 40 */
		assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, big + 100 * i, i < 3 ? 100 : 40), V_TAKEN);
	assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, "y", 1), V_TAKEN);
	assert_int_equal(take(sk, UDP_RECV_PEEK | UDP_RECV_JOIN, &a), 340);
	assert_int_equal(take(sk, UDP_RECV_JOIN, &a), 340);
	assert_true(a.seg == 100 && a.full == 340);
	assert_memory_equal(got, big, 340);
	assert_int_equal(take(sk, UDP_RECV_JOIN, &a), 1);	/* the shorter one was an end */
	assert_int_equal(a.seg, 0);
	/* No more than there is room for, and not from two senders. */
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, big, 100), V_TAKEN);
	assert_int_equal(datagram("10.0.0.2", 10, "10.0.0.1", 53, big, 100), V_TAKEN);
	assert_int_equal(udp_recv(t, sk, &small, 1, UDP_RECV_JOIN, &a), 200);
	assert_int_equal(take(sk, UDP_RECV_JOIN, &a), 100);
	assert_int_equal(take(sk, UDP_RECV_JOIN, &a), 100);
	assert_int_equal(a.from.port, 10);
	/* Without being asked, nothing is joined. */
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(datagram("10.0.0.2", 9, "10.0.0.1", 53, big, 100), V_TAKEN);
	assert_int_equal(take(sk, 0, &a), 100);
	assert_int_equal(take(sk, 0, &a), 100);
	assert_int_equal(take(sk, 0, &a), -EAGAIN);
	udp_close(t, sk);
}

/* ---- the error queue --------------------------------------------------------------------------------------- */

/* An error about a datagram to 10.0.0.2:9 from port 53, quoting `text`. */
static enum verdict error(uint8_t type, uint8_t code, uint32_t rest, const char *text)
{
	uint32_t len = (uint32_t)strlen(text), at;
	struct icmp_hdr h = { type, code, 0, rest };
	uint8_t *p = frame;
	struct icmp_quote q;
	struct ip_info in;
	enum verdict v;
	pkt_h k;

	at = nr_headers(p, "10.0.0.9", "10.0.0.1", IPPROTO_ICMP, 8 + 28 + len);
	(void)nr_udp(p + 2000, "10.0.0.1", 53, "10.0.0.2", 9, text, len);
	wire_icmp_emit(p + at, &h);
	memcpy(p + at + 8, p + 2014, 28 + len);
	h.csum = csum_finish(csum_add_scalar(p + at, 36 + len, 0));
	wire_icmp_emit(p + at, &h);
	assert_true(nr_arrive(&n, p, at + 36 + len, 3840));
	k = vif_poll(t, 0);
	assert_int_equal(ip_input(t, k, &in), V_TAKEN);
	assert_int_equal(icmp_input(t, k, &in, &q), V_TAKEN);
	v = udp_icmp(t, k, &in, &q);
	if (v == V_DROP)
		pkt_put(t, k);
	vif_refill(t, 0);
	return v;
}

static int64_t take_error(struct sk *sk, struct udp_arrival *a, struct udp_trouble *why)
{
	struct iovec v = { got, sizeof(got) };
	int64_t r = udp_recv_error(t, sk, &v, 1, a, why);

	udp_check(t, sk);
	return r;
}

static void test_errqueue(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);	/* not connected: only who asks is told */
	struct udp_opts o = opts_of(sk);
	struct udp_arrival a;
	struct udp_trouble why;

	(void)state;
	assert_int_equal(error(3, 3, 0, "first"), V_DROP);
	assert_int_equal(sk->ready & EPOLLERR, 0);
	assert_int_equal(take_error(sk, &a, &why), -EAGAIN);
	o.recverr4 = 1;
	udp_set_opts(t, sk, &o);
	assert_int_equal(error(3, 3, 0, "first"), V_TAKEN);
	assert_int_equal(error(11, 0, 0, "second"), V_TAKEN);
	udp_check(t, sk);
	assert_true(sk->ready & EPOLLERR);
	assert_int_equal(take(sk, 0, &a), -EHOSTUNREACH);	/* the latest is what calls are told */
	assert_true(sk->ready & EPOLLERR);
	assert_int_equal(take_error(sk, &a, &why), 5);
	assert_memory_equal(got, "first", 5);
	assert_true(why.err == ECONNREFUSED && why.origin == SO_EE_ORIGIN_ICMP && why.type == 3 && why.code == 3);
	assert_int_equal(ip_to4(&why.from), 0x0a000009);
	assert_true(ip_to4(&a.from.addr) == 0x0a000002 && a.from.port == 9 && a.ifindex == NR_IFINDEX);
	assert_int_equal(udp_take_error(t, sk), -EHOSTUNREACH);	/* the next one's, again */
	assert_int_equal(take_error(sk, &a, &why), 6);
	assert_int_equal(why.err, EHOSTUNREACH);
	assert_int_equal(sk->ready & EPOLLERR, 0);
	/* An MTU is told as it came; and what waits goes when nobody wants it any more. */
	assert_int_equal(error(3, 4, 1000, "third"), V_TAKEN);
	assert_int_equal(take_error(sk, &a, &why), 5);
	assert_true(why.err == EMSGSIZE && why.info == 1000);
	assert_int_equal(error(12, 0, 20u << 24, "fourth"), V_TAKEN);
	o.recverr4 = 0;
	udp_set_opts(t, sk, &o);
	assert_int_equal(take_error(sk, &a, &why), -EAGAIN);
	assert_int_equal(udp_take_error(t, sk), -EPROTO);
	udp_check(t, sk);
	udp_close(t, sk);
}

/* No more than the receive buffer holds; all of it comes back at close (nr_free()). */
static void test_errqueue_full(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct udp_opts o = opts_of(sk);
	uint32_t taken = 0;

	(void)state;
	o.recverr4 = 1;
	udp_set_opts(t, sk, &o);
	sk->rcvbuf = 4000;
	for (int i = 0; i < 20; i++) {
		taken += error(3, 1, 0, "x") == V_TAKEN;
		udp_check(t, sk);
	}
	assert_true(taken > 1 && taken < 10);
	udp_close(t, sk);
}

/* IP_MTU_DISCOVER: who wants no fragments is told what no longer fits; who probes is not stopped. */
static void test_mtu(void **state)
{
	struct sk *sk = open_at("10.0.0.1", 53);
	struct ipaddr to = addr_of("10.0.0.2");
	struct udp_out none = { .to = NULL };
	struct udp_opts o = opts_of(sk);
	struct udp_arrival a;
	struct udp_trouble why;

	(void)state;
	assert_int_equal(udp_connect(t, sk, &to, 9), 0);
	o.recverr4 = 1;
	o.pmtud4 = UDP_PMTUD_PROBE;
	udp_set_opts(t, sk, &o);
	assert_int_equal(error(3, 4, 1000, "x"), V_TAKEN);
	assert_int_equal(take_error(sk, &a, &why), 1);
	assert_int_equal(give(sk, big, 1400, &none), 1400);
	o.pmtud4 = UDP_PMTUD_DO;
	udp_set_opts(t, sk, &o);
	assert_int_equal(error(3, 4, 1000, "x"), V_TAKEN);
	assert_int_equal(take_error(sk, &a, &why), 1);
	assert_int_equal(give(sk, big, 1400, &none), -EMSGSIZE);
	assert_int_equal(take_error(sk, &a, &why), 0);
	assert_true(why.origin == SO_EE_ORIGIN_LOCAL && why.err == EMSGSIZE && why.info == 1000);
	o.pmtud4 = UDP_PMTUD_DONT;
	udp_set_opts(t, sk, &o);
	assert_int_equal(error(3, 4, 900, "x"), V_DROP);
	assert_int_equal(give(sk, big, 1400, &none), -EOPNOTSUPP);
	udp_close(t, sk);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_arrival), T(test_drops_are_told), T(test_fields_out), T(test_source), T(test_waits_as_asked),
		T(test_segments), T(test_segments_wait), T(test_join), T(test_errqueue), T(test_errqueue_full),
		T(test_mtu),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
