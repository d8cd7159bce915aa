/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * IP against a mirror made by hand: what is accepted and what is dropped with which event;
 * which way a destination takes and why; that sending leaves the packet as it was; what Linux
 * says to a socket for each ICMP error.
 */
#include "test/unit/net_rig.h"

#include <errno.h>
#include <stdio.h>

#include "core/ip/glance.h"

static struct net_rig n;

static int setup(void **state)
{
	(void)state;
	nr_make(&n);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	nr_free(&n);
	return 0;
}

/* ---- reception ------------------------------------------------------------------------------ */

/* Lets a frame arrive and takes it; the packet is put. */
static enum verdict input(const uint8_t *p, uint32_t len, struct ip_info *in, uint32_t *ret_tot)
{
	struct turn *t = &n.r.t;
	enum verdict v;
	pkt_h h;

	assert_true(nr_arrive(&n, p, len, 3840));
	h = vif_poll(t, 0);
	assert_true(h.v);
	v = ip_input(t, h, in);
	*ret_tot = pkt_at(t, h)->tot;
	pkt_put(t, h);
	vif_refill(t, 0);
	return v;
}

static void expect(const uint8_t *p, uint32_t len, enum event e)
{
	uint64_t was = rig_count(&n.r, e);
	struct ip_info in;
	uint32_t tot;

	assert_int_equal(input(p, len, &in, &tot), V_DROP);
	assert_int_equal(rig_count(&n.r, e), was + 1);
}

static void test_input_good(void **state)
{
	struct ip_info in;
	uint8_t p[200];
	uint32_t len, tot;
	struct ipaddr peer = addr_of("10.0.0.2"), me = addr_of("10.0.0.1");

	(void)state;
	len = nr_udp(p, "10.0.0.2", 1000, "10.0.0.1", 2000, "hello", 5);
	memset(p + len, 0xee, 18);		/* padded, as Ethernet does */
	assert_int_equal(input(p, len + 18, &in, &tot), V_TAKEN);
	assert_int_equal(tot, 13);
	assert_true(in.is4 && in.proto == IPPROTO_UDP && in.ttl == 64 && in.vi == 0);
	assert_true(ip_eq(&in.src, &peer) && ip_eq(&in.dst, &me));
	assert_int_equal(csum_fold(in.pseudo), csum_fold(ip_pseudo(&peer, &me, 17, 13)));

	len = nr_udp(p, "fd00::2", 1000, "fd00::1", 2000, "hello", 5);
	assert_int_equal(input(p, len, &in, &tot), V_TAKEN);
	assert_int_equal(tot, 13);
	assert_true(!in.is4 && in.proto == IPPROTO_UDP);

	/* UDP may come by broadcast and multicast; TCP may not. */
	len = nr_udp(p, "10.0.0.2", 1000, "10.0.0.255", 2000, "hello", 5);
	assert_int_equal(input(p, len, &in, &tot), V_TAKEN);
	len = nr_udp(p, "10.0.0.2", 1000, "224.0.0.1", 2000, "hello", 5);
	assert_int_equal(input(p, len, &in, &tot), V_TAKEN);
	nr_headers(p, "10.0.0.2", "10.0.0.255", IPPROTO_TCP, 20);
	expect(p, 54, EV_IP_NOT_OURS);
}

static void test_input_options(void **state)
{
	struct ip_info in;
	uint8_t p[100] = { 0 };
	uint32_t tot;
	uint16_t c;

	(void)state;
	/* IPv4 with 8 bytes of options; IPv6 with a destination options header. */
	nr_headers(p, "10.0.0.2", "10.0.0.1", IPPROTO_TCP, 28);
	p[14] = 0x47;
	memset(p + 34, 1, 8);
	memset(p + 24, 0, 2);
	c = csum_finish(csum_add_scalar(p + 14, 28, 0));
	memcpy(p + 24, &c, 2);
	assert_int_equal(input(p, 14 + 48, &in, &tot), V_TAKEN);
	assert_int_equal(tot, 20);
	nr_headers(p, "fd00::2", "fd00::1", 60, 28);
	memset(p + 54, 0, 8);
	p[54] = IPPROTO_TCP;
	assert_int_equal(input(p, 54 + 28, &in, &tot), V_TAKEN);
	assert_int_equal(tot, 20);
	assert_int_equal(in.proto, IPPROTO_TCP);
}

static void refresh_csum(uint8_t *p)
{
	uint16_t c;

	memset(p + 24, 0, 2);
	c = csum_finish(csum_add_scalar(p + 14, 20, 0));
	memcpy(p + 24, &c, 2);
}

static void test_input_bad(void **state)
{
	uint8_t good[200], p[200];
	uint32_t len = nr_udp(good, "10.0.0.2", 1, "10.0.0.1", 2, "hello", 5);

	(void)state;
#define AGAIN() memcpy(p, good, sizeof(p))
	for (uint32_t i = 1; i < len; i++)
		expect(good, i, EV_IP_BAD);	/* every prefix */
	AGAIN(); p[12] = 0x81; p[13] = 0;
	expect(p, len, EV_IP_BAD);		/* VLAN */
	AGAIN(); p[24] ^= 1;
	expect(p, len, EV_IP_BAD_CSUM);
	AGAIN(); p[20] |= 0x20; refresh_csum(p);
	expect(p, len, EV_IP_FRAGMENT);		/* more to come */
	AGAIN(); p[21] = 2; refresh_csum(p);
	expect(p, len, EV_IP_FRAGMENT);		/* not the first */
	AGAIN(); put_be16(p + 16, 19); refresh_csum(p);
	expect(p, len, EV_IP_BAD);		/* shorter than its header */
	AGAIN(); p[23] = 132; refresh_csum(p);
	expect(p, len, EV_IP_PROTO);		/* SCTP */
	AGAIN(); p[33] = 77; refresh_csum(p);
	expect(p, len, EV_IP_NOT_OURS);
	AGAIN(); p[26] = 127; refresh_csum(p);
	expect(p, len, EV_IP_BAD);		/* from loopback */
	AGAIN(); p[26] = 224; refresh_csum(p);
	expect(p, len, EV_IP_BAD);		/* from a group */
#undef AGAIN
	len = nr_udp(p, "fd00::2", 1, "fd00::1", 2, "hello", 5);
	for (uint32_t i = 1; i < len; i++)
		expect(p, i, EV_IP_BAD);
	p[20] = 44;
	put_be16(p + 54 + 2, 1);
	expect(p, len, EV_IP_FRAGMENT);
}

static void test_input_super(void **state)
{
	static uint8_t p[66000], data[60000];
	struct ip_info in;
	uint32_t len, tot;

	(void)state;
	len = nr_udp(p, "10.0.0.2", 1, "10.0.0.1", 2, data, sizeof(data));
	assert_int_equal(input(p, len, &in, &tot), V_TAKEN);
	assert_int_equal(tot, 60008);
}

static void test_csum(void **state)
{
	struct turn *t = &n.r.t;
	struct ip_info in;
	uint8_t p[200];
	uint32_t len = nr_udp(p, "10.0.0.2", 1, "10.0.0.1", 2, "hello", 5);

	(void)state;
	for (int i = 0; i < 3; i++) {
		uint16_t unfinished;
		pkt_h h;

		if (i == 1)
			p[len - 1] ^= 1;	/* broken */
		assert_true(nr_arrive(&n, p, len, 3840));
		h = vif_poll(t, 0);
		assert_int_equal(ip_input(t, h, &in), V_TAKEN);
		if (i == 2) {
			/* F10: what a veth peer leaves; believed of such peers only. */
			unfinished = csum_fold(in.pseudo);
			memcpy(pkt_data(t, pkt_at(t, h)) + 6, &unfinished, 2);
			assert_false(ip_csum_ok(t, pkt_at(t, h), &in, 6));
			n.r.map.vi[0].flags |= VIF_F_PARTIAL_CSUM;
		}
		assert_int_equal(ip_csum_ok(t, pkt_at(t, h), &in, 6), i != 1);
		pkt_put(t, h);
	}
}

/* While the agent writes, what the filter let through passes. */
static void test_input_mirror_busy(void **state)
{
	struct ip_info in;
	uint8_t p[200];
	uint32_t tot, len = nr_udp(p, "10.0.0.2", 1, "10.0.0.77", 2, "hello", 5);

	(void)state;
	n.mir.seq = 3;
	assert_int_equal(input(p, len, &in, &tot), V_TAKEN);
	n.mir.seq = 4;
	expect(p, len, EV_IP_NOT_OURS);
}

/* ---- routes ---------------------------------------------------------------------------------- */

static int route(const char *dst, const char *src, struct ipaddr *ret_src, struct path *path)
{
	struct ipaddr d = addr_of(dst);

	*ret_src = src ? addr_of(src) : (struct ipaddr){ { 0 } };
	*path = (struct path){ 0 };
	return ip_route(&n.r.t, &d, ret_src, path);
}

static void assert_addr(const struct ipaddr *a, const char *text)
{
	struct ipaddr b = addr_of(text);

	assert_memory_equal(a, &b, 16);
}

static void test_route_basic(void **state)
{
	struct ipaddr src, dst = addr_of("10.0.0.2");
	struct path p;

	(void)state;
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), 0);
	assert_addr(&src, "10.0.0.1");
	assert_true(p.flags == PATH_RESOLVED && p.vi == 0 && p.mtu == 1500 && p.generation == 1);
	assert_memory_equal(p.dst_mac, nr_peer_mac, 6);
	assert_memory_equal(p.src_mac, nr_mac, 6);
	assert_int_equal(route("fd00::2", NULL, &src, &p), 0);
	assert_addr(&src, "fd00::1");
	assert_int_equal(route("fe80::2", "fe80::1", &src, &p), -EAGAIN);
	assert_int_equal(route("fd01::2", NULL, &src, &p), -ENETUNREACH);

	/* R1: the same generation is not asked again; a new one is. */
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), 0);
	n.mir.links[0].mtu = 9000;
	assert_int_equal(ip_route(&n.r.t, &dst, &src, &p), 0);
	assert_int_equal(p.mtu, 1500);
	n.mir.generation++;
	assert_int_equal(ip_route(&n.r.t, &dst, &src, &p), 0);
	assert_int_equal(p.mtu, 9000);
	/* A path lowered by ICMP stays lowered. */
	p.mtu = 1400;
	p.flags |= PATH_PMTU;
	n.mir.generation++;
	assert_int_equal(ip_route(&n.r.t, &dst, &src, &p), 0);
	assert_int_equal(p.mtu, 1400);
}

static void test_route_refused(void **state)
{
	static const char *const kernels[] = {
		"127.0.0.1", "::1", "10.0.0.1", "fd00::1", "10.0.0.255", "255.255.255.255",
		"224.0.0.1", "ff02::1", "0.0.0.0", "::", "240.0.0.1",
	};
	struct ipaddr src;
	struct path p;

	(void)state;
	for (uint32_t i = 0; i < n_elems(kernels); i++)
		assert_int_equal(route(kernels[i], NULL, &src, &p), -EINVAL);
	/* A source that is not this interface's, or of the other family. */
	assert_int_equal(route("10.0.0.2", "10.9.9.9", &src, &p), -EINVAL);
	assert_int_equal(route("10.0.0.2", "fd00::1", &src, &p), -EINVAL);
	assert_int_equal(route("10.0.0.2", "10.0.0.1", &src, &p), 0);
	n.mir.links[0].flags = LINK_UP;		/* not attached */
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), -EINVAL);
	n.mir.links[0].flags = LINK_UP | LINK_ATTACHED;
	n.mir.routes[2].type = ROUTE_BLOCKED;
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), -EINVAL);
	n.mir.routes[2].type = ROUTE_UNICAST;
	n.mir.routes[2].ifindex = 8;		/* no VI there */
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), -EINVAL);
}

static void test_route_source(void **state)
{
	struct ipaddr src;
	struct path p;

	(void)state;
	/* Through the gateway: the address of the gateway's subnet, not the first. */
	n.mir.n_addrs = 0;
	nr_addr(&n, "192.168.5.5", 24, 0);
	nr_addr(&n, "10.0.0.1", 24, 0);
	nr_neigh(&n, "10.0.0.254", NEIGH_VALID);
	assert_int_equal(route("8.8.8.8", NULL, &src, &p), 0);
	assert_addr(&src, "10.0.0.1");
	/* The route's own word goes first. */
	n.mir.routes[3].prefsrc = addr_of("192.168.5.5");
	assert_int_equal(route("8.8.8.8", NULL, &src, &p), 0);
	assert_addr(&src, "192.168.5.5");
	n.mir.routes[3].prefsrc = addr_of("0.0.0.0");
	/* Tentative never, deprecated last. */
	n.mir.addrs[1].flags = 0x40;
	assert_int_equal(route("8.8.8.8", NULL, &src, &p), 0);
	assert_addr(&src, "192.168.5.5");
	n.mir.addrs[1].flags = 0x20;
	assert_int_equal(route("8.8.8.8", NULL, &src, &p), 0);
	assert_addr(&src, "192.168.5.5");
	/* None of the family: not ours. */
	assert_int_equal(route("fd00::2", NULL, &src, &p), -EINVAL);
	/* Global destination, link-local gateway: a global source all the same. */
	nr_addr(&n, "fe80::1", 64, 253);
	nr_addr(&n, "fd00::1", 64, 0);
	nr_route(&n, "::", 0, "fe80::fe");
	nr_neigh(&n, "fe80::fe", NEIGH_VALID);
	assert_int_equal(route("2001:db8::1", NULL, &src, &p), 0);
	assert_addr(&src, "fd00::1");
}

static void test_route_mtu(void **state)
{
	struct ipaddr src;
	struct path p;

	(void)state;
	n.mir.routes[2].mtu = 1300;
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), 0);
	assert_int_equal(p.mtu, 1300);
	n.mir.routes[2].mtu = 9000;
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), 0);
	assert_int_equal(p.mtu, 1500);
	n.mir.routes[2].mtu = 0;
	n.mir.links[0].mtu = 100000;
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), 0);
	assert_int_equal(p.mtu, 65535);
}

static void test_route_neighbour(void **state)
{
	struct turn *t = &n.r.t;
	struct segment *seg = n.r.map.seg;
	struct mir_neigh *e;
	struct ipaddr src, who = addr_of("10.0.0.9");
	struct path p;

	(void)state;
	assert_int_equal(route("10.0.0.9", NULL, &src, &p), -EAGAIN);
	assert_true(t->asks && p.generation == 1 && !(p.flags & PATH_RESOLVED) && p.mtu == 1500);
	assert_addr(&src, "10.0.0.1");
	assert_true(ip_eq(&seg->neigh_asks[0].addr, &who) && !seg->neigh_asks[0].asked);

	/* R4: told to the agent, it is not owed again for 100 ms. */
	seg->neigh_asks[0].asked = 1;
	t->asks = 0;
	t->now += 50 * NS_PER_MS;
	assert_int_equal(route("10.0.0.9", NULL, &src, &p), -EAGAIN);
	assert_false(t->asks);
	t->now += 60 * NS_PER_MS;
	assert_int_equal(route("10.0.0.9", NULL, &src, &p), -EAGAIN);
	assert_true(t->asks && !seg->neigh_asks[0].asked);
	assert_true(ip_is_any(&seg->neigh_asks[1].addr));

	/* R5: a failure counts only when it has been wanted for a second. */
	e = nr_neigh(&n, "10.0.0.9", NEIGH_FAILED);
	assert_int_equal(route("10.0.0.9", NULL, &src, &p), -EAGAIN);
	t->now += NS_PER_S;
	assert_int_equal(route("10.0.0.9", NULL, &src, &p), -EHOSTUNREACH);
	t->now += 4 * NS_PER_S;
	assert_int_equal(route("10.0.0.9", NULL, &src, &p), -EAGAIN);
	e->flags = NEIGH_VALID;
	assert_int_equal(route("10.0.0.9", NULL, &src, &p), 0);

	/* More next hops than slots: the latest is always noted. */
	for (int i = 20; i < 60; i++) {
		char text[32];
		bool found = false;

		snprintf(text, sizeof(text), "10.0.0.%d", i);
		who = addr_of(text);
		t->now += NS_PER_MS;
		assert_int_equal(route(text, NULL, &src, &p), -EAGAIN);
		for (uint32_t j = 0; j < n_elems(seg->neigh_asks); j++)
			found |= ip_eq(&seg->neigh_asks[j].addr, &who);
		assert_true(found);
	}
}

/* R2: an agent that stopped in the middle stops nobody, and its answer is not kept. */
static void test_route_torn(void **state)
{
	struct ipaddr src;
	struct path p;

	(void)state;
	n.mir.seq = 1;
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), 0);
	assert_true(p.flags & PATH_RESOLVED && p.generation == 0);
	/* Counts that cannot be are cut. */
	n.mir.n_addrs = n.mir.n_routes = n.mir.n_neighs = n.mir.n_links = UINT32_MAX;
	assert_int_equal(route("10.0.0.77", NULL, &src, &p), -EAGAIN);
}

/* Two interfaces in one subnet: the given source decides. */
static void test_route_two_links(void **state)
{
	struct ipaddr src;
	struct path p;

	(void)state;
	n.r.map.n_vis = 2;
	n.r.map.vi[1] = n.r.map.vi[0];
	n.r.map.vi[1].ifindex = 8;
	n.mir.links[1] = n.mir.links[0];
	n.mir.links[1].ifindex = 8;
	n.mir.n_links = 2;
	nr_addr(&n, "10.0.0.3", 24, 0);
	n.mir.addrs[3].ifindex = 8;
	n.mir.routes[4] = n.mir.routes[3];
	n.mir.routes[3] = n.mir.routes[2];
	n.mir.routes[3].ifindex = 8;
	n.mir.n_routes = 5;
	nr_neigh(&n, "10.0.0.2", NEIGH_VALID)->ifindex = 8;
	assert_int_equal(route("10.0.0.2", "10.0.0.3", &src, &p), 0);
	assert_int_equal(p.vi, 1);
	assert_int_equal(route("10.0.0.2", "10.0.0.1", &src, &p), 0);
	assert_int_equal(p.vi, 0);
	assert_int_equal(route("10.0.0.2", NULL, &src, &p), 0);
	assert_int_equal(p.vi, 0);
	/* But a less specific route is not taken for the source's sake. */
	assert_int_equal(route("8.8.8.8", "10.0.0.3", &src, &p), -EINVAL);
	n.r.map.n_vis = 1;
}

static void test_prefix(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 9);
	for (uint32_t i = 0; i < 100000; i++) {
		struct ipaddr a, b;
		uint32_t bits = prng_below(&r, 140), same = 0;

		for (uint32_t j = 0; j < 16; j++)
			a.b[j] = (uint8_t)prng_u64(&r);
		b = a;
		if (i % 8) {
			uint32_t flip = prng_below(&r, 128);

			b.b[flip / 8] ^= (uint8_t)(0x80 >> flip % 8);
			same = flip;
		} else {
			same = 128;
		}
		assert_int_equal(prefix_eq(&a, &b, bits), min_u32(bits, 128) <= same);
	}
}

/* ---- sending --------------------------------------------------------------------------------- */

static void test_output(void **state)
{
	static const char *const ends[][2] = { { "10.0.0.1", "10.0.0.2" }, { "fd00::1", "fd00::2" } };
	struct turn *t = &n.r.t;
	uint8_t sent[200];

	(void)state;
	for (uint32_t i = 0; i < 2; i++) {
		struct ipaddr src = addr_of(ends[i][0]), dst = addr_of(ends[i][1]);
		struct path path = { 0 };
		struct ip_out out = { &src, &dst, &path, IPPROTO_UDP, 0x10, 33, IP_OUT_DF, 0 };
		pkt_h h = pkt_get(t);
		struct pkt *p = pkt_at(t, h), was;

		memcpy(pkt_data(t, p), "12345678hello", 13);
		p->len = 13;
		p->tot = 13;
		was = *p;
		assert_int_equal(ip_output(t, h, &out), -EAGAIN);	/* not resolved */
		assert_int_equal(ip_route(t, &dst, &src, &path), 0);
		n.slow = true;
		assert_int_equal(ip_output(t, h, &out), 0);
		assert_int_equal(p->at_device, 1);
		was.at_device = 1;
		assert_memory_equal(p, &was, sizeof(was));
		assert_int_equal(t->bells, 1);
		pkt_put(t, h);
		if (i == 0) {
			struct ip4_hdr h4;

			assert_int_equal(nr_sent(&n, sent), 14 + 20 + 13);
			assert_true(wire_ip4_parse(sent + 14, 33, &h4));
			assert_int_equal(csum_finish(csum_add_scalar(sent + 14, 20, 0)), 0);
			assert_true(h4.tot_len == 33 && h4.df && h4.ttl == 33 && h4.tos == 0x10);
			assert_true(ip_eq(&h4.src, &src) && ip_eq(&h4.dst, &dst));
		} else {
			struct ip6_hdr h6;

			assert_int_equal(nr_sent(&n, sent), 14 + 40 + 13);
			assert_true(wire_ip6_parse(sent + 14, 53, &h6));
			assert_true(h6.pay_len == 13 && h6.next == 17 && h6.hop_limit == 33 &&
				    h6.tclass == 0x10);
			assert_true(ip_eq(&h6.src, &src) && ip_eq(&h6.dst, &dst));
		}
		assert_memory_equal(sent, nr_peer_mac, 6);
		assert_memory_equal(sent + 6, nr_mac, 6);
		nr_complete(&n);
	}
}

/* O1: a frame at the device is not written. */
static void test_output_at_device(void **state)
{
	struct turn *t = &n.r.t;
	struct ipaddr src = addr_of("10.0.0.1"), dst = addr_of("10.0.0.2");
	struct path path = { 0 };
	struct ip_out out = { &src, &dst, &path, IPPROTO_UDP, 0, 0, 0, 0 };
	pkt_h h = pkt_get(t);

	(void)state;
	pkt_at(t, h)->len = 10;
	pkt_at(t, h)->tot = 10;
	assert_int_equal(ip_route(t, &dst, &src, &path), 0);
	pkt_at(t, h)->at_device = 1;
	expect_assert_failure((void)!ip_output(t, h, &out));
	pkt_at(t, h)->at_device = 0;
	n.r.map.seg->condemned = 0;
	pkt_put(t, h);
}

static void test_output_ring_full(void **state)
{
	struct turn *t = &n.r.t;
	struct ipaddr src = addr_of("10.0.0.1"), dst = addr_of("10.0.0.2");
	struct path path = { 0 };
	struct ip_out out = { &src, &dst, &path, IPPROTO_UDP, 0, 0, 0, 0 };
	pkt_h h = pkt_get(t);
	struct pkt *p = pkt_at(t, h), was;

	(void)state;
	p->len = 10;
	p->tot = 10;
	was = *p;
	assert_int_equal(ip_route(t, &dst, &src, &path), 0);
	n.idx[2] += NR_RING;
	assert_int_equal(ip_output(t, h, &out), -ENOBUFS);
	assert_memory_equal(p, &was, sizeof(was));
	n.idx[2] -= NR_RING;
	pkt_put(t, h);
}

/* ---- ICMP ------------------------------------------------------------------------------------- */

/* An error of that type about 8 bytes of our UDP datagram 10.0.0.1:7 -> 10.0.0.2:9. */
static uint32_t icmp4(uint8_t *p, uint8_t type, uint8_t code, uint32_t rest, uint8_t proto)
{
	struct icmp_hdr h = { type, code, 0, rest };
	uint32_t at = nr_headers(p, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP, 8 + 28);
	uint8_t quote[100] = { 0 };

	nr_headers(quote, "10.0.0.1", "10.0.0.2", proto, 8);
	put_be16(quote + 34, 7);
	put_be16(quote + 36, 9);
	put_be32(quote + 38, 0x12345678);
	wire_icmp_emit(p + at, &h);
	memcpy(p + at + 8, quote + 14, 28);
	h.csum = csum_finish(csum_add_scalar(p + at, 36, 0));
	wire_icmp_emit(p + at, &h);
	return at + 36;
}

static enum verdict icmp(const uint8_t *p, uint32_t len, struct icmp_quote *q)
{
	struct turn *t = &n.r.t;
	struct ip_info in;
	enum verdict v;
	pkt_h h;

	assert_true(nr_arrive(&n, p, len, 3840));
	h = vif_poll(t, 0);
	assert_int_equal(ip_input(t, h, &in), V_TAKEN);
	v = icmp_input(t, h, &in, q);
	pkt_put(t, h);
	vif_refill(t, 0);
	return v;
}

static void test_icmp4(void **state)
{
	static const struct { uint8_t type, code; uint32_t rest; int err; bool hard; uint32_t mtu; } want[] = {
		{ 3, 0, 0, ENETUNREACH, false, 0 }, { 3, 1, 0, EHOSTUNREACH, false, 0 },
		{ 3, 2, 0, ENOPROTOOPT, true, 0 }, { 3, 3, 0, ECONNREFUSED, true, 0 },
		{ 3, 4, 1400, EMSGSIZE, false, 1400 }, { 3, 4, 0, EMSGSIZE, false, 552 },
		{ 3, 5, 0, EOPNOTSUPP, false, 0 }, { 3, 13, 0, EHOSTUNREACH, true, 0 },
		{ 11, 0, 0, EHOSTUNREACH, false, 0 }, { 12, 0, 0, EPROTO, true, 0 },
	};
	struct icmp_quote q;
	uint8_t p[200];

	(void)state;
	for (uint32_t i = 0; i < n_elems(want); i++) {
		uint32_t len = icmp4(p, want[i].type, want[i].code, want[i].rest, IPPROTO_TCP);

		assert_int_equal(icmp(p, len, &q), V_TAKEN);
		assert_int_equal(q.err, want[i].err);
		assert_int_equal(q.hard, want[i].hard);
		assert_int_equal(q.mtu, want[i].mtu);
		assert_true(q.is4 && q.proto == IPPROTO_TCP && q.lport == 7 && q.rport == 9);
		assert_int_equal(q.seq, 0x12345678);
		assert_addr(&q.laddr, "10.0.0.1");
		assert_addr(&q.raddr, "10.0.0.2");
	}
	assert_int_equal(icmp(p, icmp4(p, 3, 4, 1400, IPPROTO_UDP), &q), V_TAKEN);
	assert_true(q.hard);
	/* An echo is the kernel's; so are unknown codes; a broken sum is nobody's. */
	assert_int_equal(icmp(p, icmp4(p, 8, 0, 0, IPPROTO_TCP), &q), V_DROP);
	assert_int_equal(icmp(p, icmp4(p, 3, 16, 0, IPPROTO_TCP), &q), V_DROP);
	assert_int_equal(icmp(p, icmp4(p, 3, 3, 0, IPPROTO_ICMP), &q), V_DROP);
	(void)icmp4(p, 3, 3, 0, IPPROTO_TCP);
	p[50] ^= 1;
	assert_int_equal(icmp(p, 14 + 20 + 36, &q), V_DROP);
}

static void test_icmp6(void **state)
{
	struct icmp_hdr h = { ICMP6_TOO_BIG, 0, 0, 1000 };
	struct ipaddr s = addr_of("fd00::2"), d = addr_of("fd00::1");
	uint8_t p[200], quote[100] = { 0 };
	uint32_t at = nr_headers(p, "fd00::2", "fd00::1", IPPROTO_ICMPV6, 8 + 48);
	struct icmp_quote q;

	(void)state;
	nr_headers(quote, "fd00::1", "fd00::2", IPPROTO_UDP, 8);
	put_be16(quote + 54, 7);
	put_be16(quote + 56, 9);
	for (uint32_t i = 0; i < 2; i++) {
		h.csum = 0;
		wire_icmp_emit(p + at, &h);
		memcpy(p + at + 8, quote + 14, 48);
		h.csum = csum_finish(csum_add_scalar(p + at, 56, ip_pseudo(&s, &d, 58, 56)));
		wire_icmp_emit(p + at, &h);
		assert_int_equal(icmp(p, at + 56, &q), V_TAKEN);
		assert_true(!q.is4 && q.lport == 7 && q.rport == 9 && q.proto == IPPROTO_UDP);
		if (i == 0) {
			assert_true(q.err == EMSGSIZE && q.mtu == 1280 && q.hard);
			h = (struct icmp_hdr){ ICMP6_UNREACH, 4, 0, 0 };
		} else {
			assert_true(q.err == ECONNREFUSED && q.mtu == 0 && q.hard);
		}
	}
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_input_good), T(test_input_options), T(test_input_bad), T(test_input_super),
		T(test_csum), T(test_input_mirror_busy),
		T(test_route_basic), T(test_route_refused), T(test_route_source), T(test_route_mtu),
		T(test_route_neighbour), T(test_route_torn), T(test_route_two_links), T(test_prefix),
		T(test_output), T(test_output_at_device), T(test_output_ring_full),
		T(test_icmp4), T(test_icmp6),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
