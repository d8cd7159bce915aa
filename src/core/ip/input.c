/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reception of IP (RFC 791, RFC 1122 3.2, RFC 8200, RFC 9293 3.9).
 *
 * The order of questions: is it Ethernet with an IP version that we speak; is the header
 * sound; is it whole; is it for us; is it of a protocol that we carry. Whatever gets a no is
 * dropped with an event of its own; the kernel never learns of it, because the programs in
 * front of us (bpf/) have only sent what matched a lease.
 *
 *  I1  All headers are read from the first frame, which the device fills from the start: a
 *      header that is not there is a broken packet.
 *  I2  The packet's own length decides what is read; the header's length may only make it
 *      shorter (Ethernet pads to 60 bytes). 64 KiB super-frames of veth peers are normal.
 *  I3  Fragments are the kernel's: it holds the same address and reassembles.
 *
 * Whether the destination is ours is asked of the mirror. It is the second fence only: so
 * when the agent is found writing, three looks in a row, the packet passes.
 */
#include "core/ip/ip.h"

#include <netinet/in.h>

#include "base/csum.h"
#include "core/ip/glance.h"
#include "wire/eth.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

#define LOOKS 3		/* at a mirror that is being written */

uint64_t ip_pseudo(const struct ipaddr *src, const struct ipaddr *dst, uint8_t proto, uint32_t len)
{
	uint64_t sum, w[4];

	if (ip_is4(src) && ip_is4(dst)) {
		uint32_t s, d;

		memcpy(&s, src->b + 12, 4);
		memcpy(&d, dst->b + 12, 4);
		sum = (uint64_t)s + d;
	} else {
		memcpy(w, src->b, 16);
		memcpy(w + 2, dst->b, 16);
		sum = csum_add64(csum_add64(w[0], w[1]), csum_add64(w[2], w[3]));
	}
	return csum_add_u32(csum_add_u32(sum, len), proto);
}

bool ip_csum_ok(struct turn *t, const struct pkt *p, const struct ip_info *in, uint32_t csum_off)
{
	const struct vif_map *vi = &t->map->vi[in->vi & (N_VIS - 1)];
	uint16_t field;

	if (p->flags & PKT_F_CSUM_OK)
		return true;
	if (pkt_len(p) < csum_off + 2)
		return false;
	memcpy(&field, pkt_data(t, p) + csum_off, 2);
	/* F10: a sender in this machine's memory leaves the sum of the pseudo-header there. */
	if (vi->flags & VIF_F_PARTIAL_CSUM && field == csum_fold(in->pseudo))
		return true;
	return csum_finish(csum_add64(in->pseudo, pkt_csum(t, p, 0))) == 0;
}

static bool is_ours_now(const struct mirror *m, uint32_t ifindex, const struct ipaddr *dst,
			bool many_ok)
{
	uint32_t n = min_u32(peek32(&m->n_addrs), N_ADDRS);

	if (many_ok && (ip_is_multicast(dst) || (ip_is4(dst) && ip_to4(dst) == 0xffffffffu)))
		return true;
	for (uint32_t i = 0; i < n; i++) {
		const struct mir_addr *a = &m->addrs[i];

		if (a->ifindex != ifindex)
			continue;
		if (ip_eq(&a->addr, dst) || (many_ok && is_broadcast_of(a, dst)))
			return true;
	}
	return false;
}

/* many_ok: broadcast and multicast will do as well (UDP). */
static bool is_ours(const struct turn *t, uint32_t vi, const struct ipaddr *dst, bool many_ok)
{
	const struct mirror *m = t->map->mirror;
	uint32_t ifindex = t->map->vi[vi].ifindex;

	for (uint32_t i = 0; i < LOOKS; i++) {
		uint32_t seq;
		bool ours;

		if (!glance_begin(m, &seq))
			continue;
		ours = is_ours_now(m, ifindex, dst, many_ok);
		if (likely(glance_end(m, seq)))
			return ours;
	}
	return true;
}

/* A source that no reply could reach (RFC 1122 3.2.1.3). */
static bool is_bad_source(const struct ipaddr *src)
{
	if (ip_is_any(src) || ip_is_multicast(src) || ip_is_loopback(src))
		return true;
	return ip_is4(src) && (src->b[12] == 0 || ip_to4(src) == 0xffffffffu);
}

struct layer3 {
	uint32_t hdr_len, tot;	/* bytes of headers; of headers and payload */
};

static bool parse_ip4(struct turn *t, const uint8_t *p, uint32_t avail, struct ip_info *ret,
		      struct layer3 *l3)
{
	struct ip4_hdr h;

	if (!wire_ip4_parse(p, avail, &h) || h.tot_len < h.hdr_len) {
		ev(t, EV_IP_BAD, 0, avail, 4);
		return false;
	}
	if (csum_finish(csum_add_scalar(p, h.hdr_len, 0)) != 0) {
		ev(t, EV_IP_BAD_CSUM, 0, avail, 0);
		return false;
	}
	if (h.mf || h.frag_off) {
		ev(t, EV_IP_FRAGMENT, 0, h.frag_off, h.id);
		return false;
	}
	ret->src = h.src;
	ret->dst = h.dst;
	ret->proto = h.proto;
	ret->ttl = h.ttl;
	ret->tos = h.tos;
	ret->is4 = 1;
	l3->hdr_len = h.hdr_len;
	l3->tot = h.tot_len;
	return true;
}

static bool parse_ip6(struct turn *t, const uint8_t *p, uint32_t avail, struct ip_info *ret,
		      struct layer3 *l3)
{
	struct ip6_hdr h;
	enum ip6_walk walk;
	uint32_t off;

	if (!wire_ip6_parse(p, avail, &h)) {
		ev(t, EV_IP_BAD, 0, avail, 6);
		return false;
	}
	l3->tot = IP6_HDR_LEN + (uint32_t)h.pay_len;
	walk = wire_ip6_walk(p + IP6_HDR_LEN, min_u32(avail, l3->tot) - IP6_HDR_LEN, h.next,
			     &ret->proto, &off);
	/* RFC 4291 2.5.5.2: mapped addresses stand for IPv4 in programs and are never sent. */
	if (ip_is4(&h.src) || ip_is4(&h.dst))
		walk = IP6_WALK_BAD;
	if (walk != IP6_WALK_OK) {
		ev(t, walk == IP6_WALK_FRAGMENT ? EV_IP_FRAGMENT :
		   walk == IP6_WALK_ROUTED ? EV_IP_NOT_OURS : EV_IP_BAD, 0, h.next, 6);
		return false;
	}
	ret->src = h.src;
	ret->dst = h.dst;
	ret->ttl = h.hop_limit;
	ret->tos = h.tclass;
	ret->is4 = 0;
	l3->hdr_len = IP6_HDR_LEN + off;
	return true;
}

static bool is_carried(const struct ip_info *in)
{
	return in->proto == IPPROTO_TCP || in->proto == IPPROTO_UDP ||
	       in->proto == (in->is4 ? IPPROTO_ICMP : IPPROTO_ICMPV6);
}

enum verdict ip_input(struct turn *t, pkt_h h, struct ip_info *ret)
{
	struct pkt *p = pkt_at(t, h);
	const uint8_t *data = pkt_data(t, p);
	uint32_t len = pkt_len(p), vi = p->vi & (N_VIS - 1);
	uint32_t tot = p->tot;
	struct layer3 l3;
	struct eth_hdr eth;
	bool sound;

	if (!wire_eth_parse(data, len, &eth) ||
	    (eth.type != ETH_TYPE_IP4 && eth.type != ETH_TYPE_IP6)) {
		ev(t, EV_IP_BAD, 0, len, 0);
		return V_DROP;
	}
	data += ETH_HDR_LEN;
	len -= ETH_HDR_LEN;
	ret->vi = (uint8_t)vi;
	sound = eth.type == ETH_TYPE_IP4 ? parse_ip4(t, data, len, ret, &l3) :
					   parse_ip6(t, data, len, ret, &l3);
	if (!sound)
		return V_DROP;
	if (tot < ETH_HDR_LEN || l3.tot > tot - ETH_HDR_LEN || is_bad_source(&ret->src)) {
		ev(t, EV_IP_BAD, 0, l3.tot, tot);
		return V_DROP;
	}
	if (!is_carried(ret)) {
		ev(t, EV_IP_PROTO, 0, ret->proto, 0);
		return V_DROP;
	}
	if (!is_ours(t, vi, &ret->dst, ret->proto == IPPROTO_UDP)) {
		ev(t, EV_IP_NOT_OURS, 0, vi, ret->proto);
		return V_DROP;
	}
	pkt_trim(t, p, ETH_HDR_LEN + l3.tot);
	pkt_pull(t, p, ETH_HDR_LEN + l3.hdr_len);
	ret->pseudo = ip_pseudo(&ret->src, &ret->dst, ret->proto, l3.tot - l3.hdr_len);
	return V_TAKEN;
}
