/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv6 header and extension headers (RFC 8200 3, 4; RFC 6946). */
#include "wire/ip6.h"

#define EXT_HOP_BY_HOP	0
#define EXT_ROUTING	43
#define EXT_FRAGMENT	44
#define EXT_DST_OPTS	60

bool wire_ip6_parse(const uint8_t *p, uint32_t avail, struct ip6_hdr *ret)
{
	uint32_t word;

	if (avail < IP6_HDR_LEN || p[0] >> 4 != 6)
		return false;
	word = get_be32(p);
	ret->tclass = (uint8_t)(word >> 20);
	ret->flow = word & 0xfffff;
	ret->pay_len = get_be16(p + 4);
	ret->next = p[6];
	ret->hop_limit = p[7];
	memcpy(ret->src.b, p + 8, 16);
	memcpy(ret->dst.b, p + 24, 16);
	return true;
}

void wire_ip6_emit(uint8_t *p, const struct ip6_hdr *h)
{
	put_be32(p, 6u << 28 | (uint32_t)h->tclass << 20 | (h->flow & 0xfffff));
	put_be16(p + 4, h->pay_len);
	p[6] = h->next;
	p[7] = h->hop_limit;
	memcpy(p + 8, h->src.b, 16);
	memcpy(p + 24, h->dst.b, 16);
}

enum ip6_walk wire_ip6_walk(const uint8_t *p, uint32_t avail, uint8_t next,
			    uint8_t *ret_proto, uint32_t *ret_off)
{
	uint32_t off = 0;

	for (uint32_t i = 0; i <= IP6_EXT_MAX; i++) {
		uint32_t len;

		*ret_proto = next;
		*ret_off = off;
		if (next != EXT_HOP_BY_HOP && next != EXT_ROUTING && next != EXT_FRAGMENT &&
		    next != EXT_DST_OPTS)
			return IP6_WALK_OK;
		if (avail - off < 8)
			return IP6_WALK_BAD;
		len = next == EXT_FRAGMENT ? 8 : (uint32_t)p[off + 1] * 8 + 8;
		if (avail - off < len)
			return IP6_WALK_BAD;
		/* RFC 8200 4.4: segments left not zero means that we are on the way only. */
		if (next == EXT_ROUTING && p[off + 3] != 0)
			return IP6_WALK_ROUTED;
		if (next == EXT_FRAGMENT && (get_be16(p + off + 2) & 0xfff9)) {
			*ret_proto = p[off];
			*ret_off = off + len;
			return IP6_WALK_FRAGMENT;
		}
		next = p[off];
		off += len;
	}
	return IP6_WALK_BAD;
}
