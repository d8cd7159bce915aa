/* SPDX-License-Identifier: BSD-2-Clause */
/* ICMP and ICMPv6 headers and quotes (RFC 792, RFC 4443 3). */
#include "wire/icmp.h"

#include "wire/ip4.h"
#include "wire/ip6.h"

#define PROTO_TCP	6
#define PROTO_UDP	17
#define QUOTED_MIN	8	/* bytes of the transport header that every quote holds */

bool wire_icmp_parse(const uint8_t *p, uint32_t avail, struct icmp_hdr *ret)
{
	if (avail < ICMP_HDR_LEN)
		return false;
	ret->type = p[0];
	ret->code = p[1];
	memcpy(&ret->csum, p + 2, 2);
	ret->rest = get_be32(p + 4);
	return true;
}

void wire_icmp_emit(uint8_t *p, const struct icmp_hdr *h)
{
	p[0] = h->type;
	p[1] = h->code;
	memcpy(p + 2, &h->csum, 2);
	put_be32(p + 4, h->rest);
}

static bool inner_ip4(const uint8_t *p, uint32_t avail, struct icmp_inner *ret, uint32_t *ret_off)
{
	struct ip4_hdr h;

	if (!wire_ip4_parse(p, avail, &h) || h.frag_off != 0)
		return false;
	ret->src = h.src;
	ret->dst = h.dst;
	ret->proto = h.proto;
	*ret_off = h.hdr_len;
	return true;
}

static bool inner_ip6(const uint8_t *p, uint32_t avail, struct icmp_inner *ret, uint32_t *ret_off)
{
	struct ip6_hdr h;
	uint32_t off;

	if (!wire_ip6_parse(p, avail, &h) ||
	    wire_ip6_walk(p + IP6_HDR_LEN, avail - IP6_HDR_LEN, h.next, &ret->proto, &off) !=
	    IP6_WALK_OK)
		return false;
	ret->src = h.src;
	ret->dst = h.dst;
	*ret_off = IP6_HDR_LEN + off;
	return true;
}

bool wire_icmp_inner_parse(const uint8_t *p, uint32_t avail, bool is4, struct icmp_inner *ret)
{
	uint32_t off = 0;

	if (!(is4 ? inner_ip4(p, avail, ret, &off) : inner_ip6(p, avail, ret, &off)))
		return false;
	if (ret->proto != PROTO_TCP && ret->proto != PROTO_UDP)
		return false;
	if (avail - off < QUOTED_MIN)
		return false;
	ret->off = off;
	ret->sport = get_be16(p + off);
	ret->dport = get_be16(p + off + 2);
	ret->seq = ret->proto == PROTO_TCP ? get_be32(p + off + 4) : 0;
	return true;
}
