/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Headers: parse after emit is the identity on random values; every prefix of a header is
 * refused, in memory that ends where the prefix ends; option layouts are Linux's byte by byte.
 */
#include "test/unit/panic.h"

#include <string.h>

#include "base/prng.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

#define ROUNDS 100000

static void fill(struct prng *r, void *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)prng_u64(r);
}

/* A copy that ends where memory ends, so that a sanitizer sees a read beyond. */
static uint8_t *tight(const uint8_t *p, size_t n)
{
	uint8_t *q = malloc(n ? n : 1);

	assert_non_null(q);
	memcpy(q, p, n);
	return q;
}

/* ---- TCP ------------------------------------------------------------------------------------ */

static void random_tcp(struct prng *r, struct tcp_hdr *h)
{
	uint32_t room;

	memset(h, 0, sizeof(*h));
	h->sport = (uint16_t)prng_u64(r);
	h->dport = (uint16_t)prng_u64(r);
	h->seq = (uint32_t)prng_u64(r);
	h->ack = (uint32_t)prng_u64(r);
	h->flags = (uint8_t)prng_u64(r);
	h->wnd = (uint16_t)prng_u64(r);
	h->urg = (uint16_t)prng_u64(r);
	h->has_ts = prng_u64(r) & 1;
	h->has_mss = prng_u64(r) & 1;
	h->has_ws = prng_u64(r) & 1;
	h->sack_permitted = prng_u64(r) & 1;
	if (h->has_mss)
		h->mss = (uint16_t)prng_u64(r);
	if (h->has_ws)
		h->ws = (uint8_t)prng_below(r, TCP_WS_MAX + 1);
	if (h->has_ts) {
		h->ts_val = (uint32_t)prng_u64(r);
		h->ts_ecr = (uint32_t)prng_u64(r);
	}
	room = 40 - (h->has_mss ? 4 : 0) - (h->has_ws ? 4 : 0) -
	       (h->has_ts ? 12 : h->sack_permitted ? 4 : 0);
	h->fo.has = h->flags & TCP_F_SYN && room >= 20 && (prng_u64(r) & 1);
	if (h->fo.has) {
		h->fo.exp = prng_u64(r) & 1;
		h->fo.len = (uint8_t)(prng_u64(r) & 1 ? 0 : 4 + 2 * prng_below(r, 7));
		for (uint32_t i = 0; i < h->fo.len; i++)
			h->fo.cookie[i] = (uint8_t)prng_u64(r);
		room -= ((h->fo.exp ? 4 : 2) + h->fo.len + 3u) & ~3u;
	}
	h->n_sack = (uint8_t)prng_below(r, room < 12 ? 1 : min_u32((room - 4) / 8, 4) + 1);
	for (uint32_t i = 0; i < h->n_sack; i++) {
		h->sack[i][0] = (uint32_t)prng_u64(r);
		h->sack[i][1] = (uint32_t)prng_u64(r);
	}
}

static void test_tcp_identity(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 1);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct tcp_hdr in, out;
		uint8_t raw[TCP_HDR_MAX], *p;
		uint32_t len;

		random_tcp(&r, &in);
		len = wire_tcp_emit(raw, &in);
		assert_int_equal(len, wire_tcp_emit_len(&in));
		assert_true(len >= TCP_HDR_MIN && len <= TCP_HDR_MAX && len % 4 == 0);
		assert_int_equal(get_be16(raw + TCP_CSUM_OFF), 0);
		p = tight(raw, len);
		memset(&out, 0, sizeof(out));
		assert_true(wire_tcp_parse(p, len, &out));
		in.hdr_len = (uint8_t)len;
		assert_memory_equal(&in, &out, sizeof(in));
		free(p);
	}
}

static void test_tcp_short(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 2);
	for (uint32_t i = 0; i < 200; i++) {
		struct tcp_hdr in, out;
		uint8_t raw[TCP_HDR_MAX];
		uint32_t len;

		random_tcp(&r, &in);
		len = wire_tcp_emit(raw, &in);
		for (uint32_t n = 0; n < len; n++) {
			uint8_t *p = tight(raw, n);

			assert_false(wire_tcp_parse(p, n, &out));
			free(p);
		}
	}
}

/* Random options never lead beyond the header, nor to more than can be. */
static void test_tcp_any_options(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 3);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		uint32_t len = TCP_HDR_MIN + 4 * prng_below(&r, 11);
		uint8_t *p = malloc(len);
		struct tcp_hdr h;

		assert_non_null(p);
		fill(&r, p, len);
		p[12] = (uint8_t)(len / 4 << 4);
		for (uint32_t j = TCP_HDR_MIN; j < len; j++)
			p[j] &= prng_u64(&r) & 1 ? 0x0f : 0xff;
		assert_true(wire_tcp_parse(p, len, &h));
		assert_int_equal(h.hdr_len, len);
		assert_true(h.n_sack <= TCP_SACK_MAX && h.ws <= TCP_WS_MAX);
		free(p);
	}
}

static void parse_with(const uint8_t *o, uint32_t n, uint8_t flags, struct tcp_hdr *ret)
{
	uint8_t raw[TCP_HDR_MAX] = { 0 };
	uint32_t len = TCP_HDR_MIN + (n + 3) / 4 * 4;

	raw[12] = (uint8_t)(len / 4 << 4);
	raw[13] = flags;
	memcpy(raw + TCP_HDR_MIN, o, n);
	memset(ret, 0xa5, sizeof(*ret));
	assert_true(wire_tcp_parse(raw, len, ret));
}

static void parse_opts(const uint8_t *o, uint32_t n, struct tcp_hdr *ret) { parse_with(o, n, 0, ret); }
static void parse_syn(const uint8_t *o, uint32_t n, struct tcp_hdr *ret) { parse_with(o, n, TCP_F_SYN, ret); }

#define OPTS(h, ...) parse_opts((const uint8_t[]){ __VA_ARGS__ }, \
				sizeof((const uint8_t[]){ __VA_ARGS__ }), h)

static void test_tcp_broken_options(void **state)
{
	struct tcp_hdr h;

	(void)state;
	/* What stood before the broken one counts; what follows does not. */
	OPTS(&h, 2, 4, 5, 0xb4, 3, 0, 7, 1);
	assert_true(h.has_mss && h.mss == 1460 && !h.has_ws);
	OPTS(&h, 3, 1, 3, 3, 7);
	assert_false(h.has_ws);
	OPTS(&h, 8, 10, 0, 0, 0, 1, 0, 0);		/* runs out of the header */
	assert_false(h.has_ts);
	OPTS(&h, 1, 1, 1, 2);				/* kind in the last byte */
	assert_false(h.has_mss);
	OPTS(&h, 0, 3, 3, 7);				/* after the end */
	assert_false(h.has_ws);
	OPTS(&h, 2, 3, 5, 3, 3, 7, 0, 0);		/* wrong length: skipped, not obeyed */
	assert_true(!h.has_mss && h.has_ws && h.ws == 7);
	OPTS(&h, 3, 3, 200, 0);				/* RFC 7323 2.3: limited to 14 */
	assert_true(h.has_ws && h.ws == 14);
	OPTS(&h, 5, 9, 0, 0, 0, 1, 0, 0, 0);		/* not a whole block */
	assert_int_equal(h.n_sack, 0);
	OPTS(&h, 254, 4, 0, 0, 4, 2);			/* unknown: skipped */
	assert_true(h.sack_permitted);
}

static void test_tcp_fast_is_slow(void **state)
{
	struct tcp_hdr fast, slow;

	(void)state;
	OPTS(&fast, 1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8);
	OPTS(&slow, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 1);
	assert_true(fast.has_ts && fast.ts_val == 0x01020304 && fast.ts_ecr == 0x05060708);
	assert_memory_equal(&fast, &slow, sizeof(fast));
}

/* The bytes that Linux sends in a SYN, in an ACK with timestamps, and with SACK blocks. */
static void test_tcp_linux_layout(void **state)
{
	static const uint8_t syn[] = { 2, 4, 5, 0xb4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0,
				       1, 3, 3, 7 };
	static const uint8_t syn_no_ts[] = { 2, 4, 5, 0xb4, 1, 1, 4, 2, 1, 3, 3, 7 };
	static const uint8_t ack[] = { 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2 };
	static const uint8_t sack[] = { 1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2,
					1, 1, 5, 10, 0, 0, 0, 5, 0, 0, 0, 9 };
	struct tcp_hdr h = { .has_mss = true, .mss = 1460, .has_ts = true, .ts_val = 1,
			     .has_ws = true, .ws = 7, .sack_permitted = true };
	uint8_t p[TCP_HDR_MAX];

	(void)state;
	assert_int_equal(wire_tcp_emit(p, &h), 20 + sizeof(syn));
	assert_memory_equal(p + 20, syn, sizeof(syn));
	h.has_ts = false;
	assert_int_equal(wire_tcp_emit(p, &h), 20 + sizeof(syn_no_ts));
	assert_memory_equal(p + 20, syn_no_ts, sizeof(syn_no_ts));
	h = (struct tcp_hdr){ .has_ts = true, .ts_val = 1, .ts_ecr = 2 };
	assert_int_equal(wire_tcp_emit(p, &h), 20 + sizeof(ack));
	assert_memory_equal(p + 20, ack, sizeof(ack));
	h.n_sack = 1;
	h.sack[0][0] = 5;
	h.sack[0][1] = 9;
	assert_int_equal(wire_tcp_emit(p, &h), 20 + sizeof(sack));
	assert_memory_equal(p + 20, sack, sizeof(sack));
	h.n_sack = 4;		/* RFC 2018 3: three fit beside timestamps */
	assert_int_equal(wire_tcp_emit(p, &h), TCP_HDR_MAX);
	assert_int_equal(p[20 + 12 + 3], 2 + 3 * 8);
}

/* RFC 7413 4.1.1, and as Linux reads what is against it. */
static void test_tcp_fast_open(void **state)
{
	static const uint8_t ask[] = { 34, 2 }, four[] = { 34, 6, 1, 2, 3, 4 }, odd[] = { 34, 5, 1, 2, 3 },
			     two[] = { 34, 4, 1, 2 }, exp[] = { 254, 8, 0xf9, 0x89, 5, 6, 7, 8 },
			     other[] = { 254, 8, 0xf9, 0x88, 5, 6, 7, 8 }, cut[] = { 254, 3, 0xf9 };
	uint8_t both[20];
	struct tcp_hdr h;

	(void)state;
	parse_syn(ask, sizeof(ask), &h);
	assert_true(h.fo.has && h.fo.len == 0 && !h.fo.exp);
	parse_syn(four, sizeof(four), &h);
	assert_true(h.fo.has && h.fo.len == 4);
	assert_memory_equal(h.fo.cookie, four + 2, 4);
	parse_syn(exp, sizeof(exp), &h);
	assert_true(h.fo.has && h.fo.len == 4 && h.fo.exp);
	assert_memory_equal(h.fo.cookie, exp + 4, 4);
	parse_syn(odd, sizeof(odd), &h);
	assert_false(h.fo.has);
	parse_syn(two, sizeof(two), &h);
	assert_false(h.fo.has);
	parse_syn(other, sizeof(other), &h);
	assert_false(h.fo.has);
	parse_syn(cut, sizeof(cut), &h);
	assert_false(h.fo.has);
	parse_opts(four, sizeof(four), &h);	/* not in a SYN */
	assert_false(h.fo.has);
	memcpy(both, four, sizeof(four));
	memcpy(both + sizeof(four), exp, sizeof(exp));
	parse_syn(both, sizeof(four) + sizeof(exp), &h);	/* the last counts */
	assert_true(h.fo.has && h.fo.exp);
}

/* ---- the others -------------------------------------------------------------------------------- */

static void test_eth(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 4);
	for (uint32_t i = 0; i < 1000; i++) {
		struct eth_hdr in, out;
		uint8_t p[ETH_HDR_LEN];

		memset(&in, 0, sizeof(in));
		fill(&r, &in, sizeof(in));
		wire_eth_emit(p, &in);
		assert_true(wire_eth_parse(p, sizeof(p), &out));
		assert_memory_equal(&in, &out, sizeof(in));
		assert_false(wire_eth_parse(p, sizeof(p) - 1, &out));
	}
}

static void test_ip4(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 5);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct ip4_hdr in, out;
		uint8_t p[IP4_HDR_LEN];

		memset(&in, 0, sizeof(in));
		memset(&out, 0, sizeof(out));
		in.tos = (uint8_t)prng_u64(&r);
		in.ttl = (uint8_t)prng_u64(&r);
		in.proto = (uint8_t)prng_u64(&r);
		in.hdr_len = IP4_HDR_LEN;
		in.tot_len = (uint16_t)prng_u64(&r);
		in.id = (uint16_t)prng_u64(&r);
		in.frag_off = (uint16_t)(prng_below(&r, 0x2000) * 8);
		in.df = prng_u64(&r) & 1;
		in.mf = prng_u64(&r) & 1;
		in.src = ip_from4((uint32_t)prng_u64(&r));
		in.dst = ip_from4((uint32_t)prng_u64(&r));
		wire_ip4_emit(p, &in);
		assert_true(wire_ip4_parse(p, sizeof(p), &out));
		assert_memory_equal(&in, &out, sizeof(in));
	}
}

static void test_ip4_broken(void **state)
{
	struct ip4_hdr h = { .src = ip_from4(1), .dst = ip_from4(2) };
	uint8_t p[60] = { 0 };

	(void)state;
	wire_ip4_emit(p, &h);
	for (uint32_t n = 0; n < IP4_HDR_LEN; n++)
		assert_false(wire_ip4_parse(p, n, &h));
	p[0] = 0x44;
	assert_false(wire_ip4_parse(p, sizeof(p), &h));
	p[0] = 0x65;
	assert_false(wire_ip4_parse(p, sizeof(p), &h));
	p[0] = 0x4f;
	assert_false(wire_ip4_parse(p, 59, &h));
	assert_true(wire_ip4_parse(p, 60, &h));
	assert_int_equal(h.hdr_len, 60);
}

static void test_ip6(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 6);
	for (uint32_t i = 0; i < ROUNDS; i++) {
		struct ip6_hdr in, out;
		uint8_t p[IP6_HDR_LEN];

		memset(&in, 0, sizeof(in));
		memset(&out, 0, sizeof(out));
		in.tclass = (uint8_t)prng_u64(&r);
		in.hop_limit = (uint8_t)prng_u64(&r);
		in.next = (uint8_t)prng_u64(&r);
		in.pay_len = (uint16_t)prng_u64(&r);
		in.flow = prng_below(&r, 1u << 20);
		fill(&r, &in.src, 32);
		wire_ip6_emit(p, &in);
		assert_true(wire_ip6_parse(p, sizeof(p), &out));
		assert_memory_equal(&in, &out, sizeof(in));
		assert_false(wire_ip6_parse(p, prng_below(&r, IP6_HDR_LEN), &out));
	}
}

static void test_ip6_walk(void **state)
{
	uint8_t p[128] = { 0 }, proto;
	uint32_t off;

	(void)state;
	assert_int_equal(wire_ip6_walk(p, 0, 6, &proto, &off), IP6_WALK_OK);
	assert_true(proto == 6 && off == 0);
	/* hop-by-hop (16 bytes), destination options (8), routing with nothing left (8), TCP */
	p[0] = 60;
	p[1] = 1;
	p[16] = 43;
	p[24] = 6;
	assert_int_equal(wire_ip6_walk(p, 32, 0, &proto, &off), IP6_WALK_OK);
	assert_true(proto == 6 && off == 32);
	for (uint32_t n = 0; n < 32; n++)
		assert_int_equal(wire_ip6_walk(p, n, 0, &proto, &off), IP6_WALK_BAD);
	p[27] = 1;
	assert_int_equal(wire_ip6_walk(p, 32, 0, &proto, &off), IP6_WALK_ROUTED);
	/* RFC 6946: an atomic fragment is no fragment. */
	memset(p, 0, sizeof(p));
	p[0] = 17;
	assert_int_equal(wire_ip6_walk(p, 8, 44, &proto, &off), IP6_WALK_OK);
	assert_true(proto == 17 && off == 8);
	p[3] = 1;
	assert_int_equal(wire_ip6_walk(p, 8, 44, &proto, &off), IP6_WALK_FRAGMENT);
	/* Without end: bounded. */
	memset(p, 0, sizeof(p));
	assert_int_equal(wire_ip6_walk(p, sizeof(p), 0, &proto, &off), IP6_WALK_BAD);
}

static void test_udp_icmp(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 7);
	for (uint32_t i = 0; i < 1000; i++) {
		struct udp_hdr in, out;
		struct icmp_hdr a, b;
		uint8_t p[8];

		fill(&r, &in, sizeof(in));
		wire_udp_emit(p, &in);
		assert_true(wire_udp_parse(p, 8, &out));
		assert_memory_equal(&in, &out, sizeof(in));
		assert_false(wire_udp_parse(p, 7, &out));
		fill(&r, &a, sizeof(a));
		wire_icmp_emit(p, &a);
		assert_true(wire_icmp_parse(p, 8, &b));
		assert_memory_equal(&a, &b, sizeof(a));
		assert_false(wire_icmp_parse(p, 7, &b));
	}
}

static void test_icmp_inner(void **state)
{
	struct ip4_hdr ip = { .proto = 6, .src = ip_from4(0x0a000001), .dst = ip_from4(0x0a000002) };
	struct ip6_hdr ip6 = { .next = 17, .src = { { 1 } }, .dst = { { 2 } } };
	struct icmp_inner q;
	uint8_t p[64] = { 0 };

	(void)state;
	wire_ip4_emit(p, &ip);
	put_be16(p + 20, 1000);
	put_be16(p + 22, 80);
	put_be32(p + 24, 0xdeadbeef);
	assert_true(wire_icmp_inner_parse(p, 28, true, &q));
	assert_true(q.proto == 6 && q.sport == 1000 && q.dport == 80 && q.seq == 0xdeadbeef);
	assert_true(ip_eq(&q.src, &ip.src) && ip_eq(&q.dst, &ip.dst));
	for (uint32_t n = 0; n < 28; n++) {
		uint8_t *t = tight(p, n);

		assert_false(wire_icmp_inner_parse(t, n, true, &q));
		free(t);
	}
	assert_false(wire_icmp_inner_parse(p, 28, false, &q));
	ip.frag_off = 8;
	wire_ip4_emit(p, &ip);
	assert_false(wire_icmp_inner_parse(p, 28, true, &q));
	wire_ip6_emit(p, &ip6);
	put_be16(p + 40, 53);
	assert_true(wire_icmp_inner_parse(p, 48, false, &q));
	assert_true(q.proto == 17 && q.sport == 53);
	assert_false(wire_icmp_inner_parse(p, 47, false, &q));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_tcp_identity),
		cmocka_unit_test(test_tcp_short),
		cmocka_unit_test(test_tcp_any_options),
		cmocka_unit_test(test_tcp_broken_options),
		cmocka_unit_test(test_tcp_fast_is_slow),
		cmocka_unit_test(test_tcp_linux_layout), cmocka_unit_test(test_tcp_fast_open),
		cmocka_unit_test(test_eth),
		cmocka_unit_test(test_ip4),
		cmocka_unit_test(test_ip4_broken),
		cmocka_unit_test(test_ip6),
		cmocka_unit_test(test_ip6_walk),
		cmocka_unit_test(test_udp_icmp),
		cmocka_unit_test(test_icmp_inner),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
