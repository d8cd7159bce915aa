/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A stack with one interface: rings in plain memory, of which the test is the device, and a
 * mirror in the test's own hand: 10.0.0.1/24 and fd00::1/64 on interface 7, a neighbour
 * 10.0.0.2 (fd00::2), a gateway 10.0.0.254.
 */
#ifndef TEST_UNIT_NET_RIG_H
#define TEST_UNIT_NET_RIG_H

#include "test/unit/rig.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "core/ip/ip.h"
#include "core/vif/vif.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/udp.h"

#define NR_RING 64u
#define NR_IFINDEX 7u

struct net_rig {
	struct rig r;
	struct mirror mir;
	struct vif_desc rx[NR_RING], tx[NR_RING];
	uint64_t fill[NR_RING], comp[NR_RING];
	uint32_t idx[8], flags;
	uint32_t n_comp;	/* frames taken off tx and not yet completed */
	uint64_t held[NR_RING];
	bool slow;		/* completions only by nr_complete() */
};

static const uint8_t nr_mac[6] = { 2, 0, 0, 0, 0, 1 }, nr_peer_mac[6] = { 2, 0, 0, 0, 0, 2 };

static inline struct ipaddr addr_of(const char *text)
{
	struct ipaddr a;
	struct in_addr a4;

	if (inet_pton(AF_INET, text, &a4) == 1)
		return ip_from4(ntohl(a4.s_addr));
	must(inet_pton(AF_INET6, text, &a) == 1);
	return a;
}

static inline void nr_addr(struct net_rig *n, const char *text, uint8_t prefix, uint8_t scope)
{
	n->mir.addrs[n->mir.n_addrs++] = (struct mir_addr){
		.addr = addr_of(text), .ifindex = NR_IFINDEX, .prefix = prefix, .scope = scope };
}

/* Routes are given in the order in which they are to match. */
static inline struct mir_route *nr_route(struct net_rig *n, const char *dst, uint8_t bits, const char *gw)
{
	struct mir_route *r = &n->mir.routes[n->mir.n_routes++];
	struct ipaddr d = addr_of(dst);

	*r = (struct mir_route){ .dst = d, .ifindex = NR_IFINDEX, .type = ROUTE_UNICAST,
				 .is4 = ip_is4(&d), .prefix = ip_is4(&d) ? 96 + bits : bits };
	if (gw)
		r->gateway = addr_of(gw);
	return r;
}

static inline struct mir_neigh *nr_neigh(struct net_rig *n, const char *text, uint8_t flags)
{
	struct mir_neigh *e = &n->mir.neighs[n->mir.n_neighs++];

	*e = (struct mir_neigh){ .addr = addr_of(text), .ifindex = NR_IFINDEX, .flags = flags };
	memcpy(e->mac, nr_peer_mac, 6);
	return e;
}

/* What the next rig is to hold; a test of quantities says so first. */
static const struct geometry *nr_geometry = &rig_small;

static inline void nr_make(struct net_rig *n)
{
	struct vif_map *v;

	memset(n, 0, sizeof(*n));
	rig_make_as(&n->r, nr_geometry);
	n->r.map.mirror = &n->mir;
	n->r.map.n_vis = 1;
	v = &n->r.map.vi[0];
	v->flags = VIF_F_PRESENT;
	v->ifindex = NR_IFINDEX;
	v->rx = (struct vif_ring){ &n->idx[0], &n->idx[1], &n->flags, n->rx, NR_RING - 1 };
	v->tx = (struct vif_ring){ &n->idx[2], &n->idx[3], &n->flags, n->tx, NR_RING - 1 };
	v->fill = (struct vif_ring){ &n->idx[4], &n->idx[5], &n->flags, n->fill, NR_RING - 1 };
	v->comp = (struct vif_ring){ &n->idx[6], &n->idx[7], &n->flags, n->comp, NR_RING - 1 };

	n->mir.magic = MIRROR_MAGIC;
	n->mir.generation = 1;
	n->mir.n_links = 1;
	n->mir.links[0] = (struct mir_link){ .ifindex = NR_IFINDEX, .mtu = 1500,
					     .flags = LINK_UP | LINK_ATTACHED, .name = "test0" };
	memcpy(n->mir.links[0].mac, nr_mac, 6);
	nr_addr(n, "10.0.0.1", 24, 0);
	nr_addr(n, "fd00::1", 64, 0);
	nr_addr(n, "fe80::1", 64, 253);
	nr_route(n, "fd00::", 64, NULL);
	nr_route(n, "fe80::", 64, NULL);
	nr_route(n, "10.0.0.0", 24, NULL);
	nr_route(n, "0.0.0.0", 0, "10.0.0.254");
	nr_neigh(n, "10.0.0.2", NEIGH_VALID);
	nr_neigh(n, "fd00::2", NEIGH_VALID);
	vif_refill(&n->r.t, 0);
}

/* ---- being the device ------------------------------------------------------------------------ */

/* A frame arrives, in pieces of at most `piece` bytes; false: no buffers. */
static inline bool nr_arrive(struct net_rig *n, const uint8_t *p, uint32_t len, uint32_t piece)
{
	while (len) {
		uint32_t k = min_u32(len, piece);
		uint64_t addr;

		if (n->idx[4] == n->idx[5])
			return false;
		addr = n->fill[n->idx[5]++ & (NR_RING - 1)] + FRAME_HEADROOM;
		memcpy(n->r.map.umem + addr, p, k);
		n->rx[n->idx[0] & (NR_RING - 1)] =
			(struct vif_desc){ addr, k, k < len ? VIF_MORE : 0 };
		n->idx[0]++;
		p += k;
		len -= k;
	}
	return true;
}

static inline void nr_complete(struct net_rig *n)
{
	for (uint32_t i = 0; i < n->n_comp; i++)
		n->comp[n->idx[6]++ & (NR_RING - 1)] = n->held[i];
	n->n_comp = 0;
	vif_reap(&n->r.t, 0);
}

/* The next frame we sent, copied out; 0: none. */
static inline uint32_t nr_sent(struct net_rig *n, uint8_t *p)
{
	uint32_t len = 0;

	while (n->idx[2] != n->idx[3]) {
		struct vif_desc d = n->tx[n->idx[3]++ & (NR_RING - 1)];

		memcpy(p + len, n->r.map.umem + d.addr, d.len);
		len += d.len;
		n->held[n->n_comp++] = d.addr;
		if (!(d.options & VIF_MORE))
			break;
	}
	if (!n->slow)
		nr_complete(n);
	return len;
}

/* Every frame is in the pool or on the fill ring. */
static inline void nr_free(struct net_rig *n)
{
	uint8_t p[70000];

	n->slow = false;
	while (nr_sent(n, p))
		;
	nr_complete(n);
	must(pkt_n_free(&n->r.t) + n->r.map.seg->n_posted[0] == n->r.map.pkt_mask);
	rig_free(&n->r);
}

/* ---- frames ------------------------------------------------------------------------------------ */

/* Ethernet and IP in front of `len` transport bytes already at p + the returned offset. */
static inline uint32_t nr_headers(uint8_t *p, const char *src, const char *dst, uint8_t proto, uint32_t len)
{
	struct ipaddr s = addr_of(src), d = addr_of(dst);
	struct eth_hdr eth = { .type = ip_is4(&s) ? ETH_TYPE_IP4 : ETH_TYPE_IP6 };
	struct ip4_hdr h4 = { .ttl = 64, .proto = proto, .tot_len = (uint16_t)(20 + len),
			      .src = s, .dst = d };
	struct ip6_hdr h6 = { .hop_limit = 64, .next = proto, .pay_len = (uint16_t)len,
			      .src = s, .dst = d };
	uint16_t c;

	memcpy(eth.dst, nr_mac, 6);
	memcpy(eth.src, nr_peer_mac, 6);
	wire_eth_emit(p, &eth);
	if (!ip_is4(&s)) {
		wire_ip6_emit(p + 14, &h6);
		return 54;
	}
	wire_ip4_emit(p + 14, &h4);
	c = csum_finish(csum_add_scalar(p + 14, 20, 0));
	memcpy(p + 24, &c, 2);
	return 34;
}

/* A whole UDP frame; returns its length. */
static inline uint32_t nr_udp(uint8_t *p, const char *src, uint16_t sport, const char *dst,
			      uint16_t dport, const void *data, uint32_t len)
{
	struct ipaddr s = addr_of(src), d = addr_of(dst);
	uint32_t at = nr_headers(p, src, dst, IPPROTO_UDP, 8 + len);
	struct udp_hdr h = { sport, dport, (uint16_t)(8 + len), 0 };

	wire_udp_emit(p + at, &h);
	memcpy(p + at + 8, data, len);
	h.csum = csum_finish(csum_add_scalar(p + at, 8 + len,
					     ip_pseudo(&s, &d, IPPROTO_UDP, 8 + len)));
	if (!h.csum)
		h.csum = 0xffff;
	wire_udp_emit(p + at, &h);
	return at + 8 + len;
}

#endif
