/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv4 header (RFC 791 3.1). */
#include "wire/ip4.h"

#define FLAG_DF		0x4000u
#define FLAG_MF		0x2000u
#define OFF_MASK	0x1fffu

bool wire_ip4_parse(const uint8_t *p, uint32_t avail, struct ip4_hdr *ret)
{
	uint32_t hdr_len, frag;

	if (avail < IP4_HDR_LEN || p[0] >> 4 != 4)
		return false;
	hdr_len = (uint32_t)(p[0] & 0xf) * 4;
	if (hdr_len < IP4_HDR_LEN || hdr_len > avail)
		return false;
	frag = get_be16(p + 6);
	ret->tos = p[1];
	ret->ttl = p[8];
	ret->proto = p[9];
	ret->hdr_len = (uint8_t)hdr_len;
	ret->tot_len = get_be16(p + 2);
	ret->id = get_be16(p + 4);
	ret->frag_off = (uint16_t)((frag & OFF_MASK) * 8);
	ret->df = frag & FLAG_DF;
	ret->mf = frag & FLAG_MF;
	ret->src = ip_from4(get_be32(p + 12));
	ret->dst = ip_from4(get_be32(p + 16));
	return true;
}

void wire_ip4_emit(uint8_t *p, const struct ip4_hdr *h)
{
	uint32_t frag = (uint32_t)h->frag_off / 8 & OFF_MASK;

	if (h->df)
		frag |= FLAG_DF;
	if (h->mf)
		frag |= FLAG_MF;
	p[0] = 0x45;
	p[1] = h->tos;
	put_be16(p + 2, h->tot_len);
	put_be16(p + 4, h->id);
	put_be16(p + 6, (uint16_t)frag);
	p[8] = h->ttl;
	p[9] = h->proto;
	put_be16(p + IP4_CSUM_OFF, 0);
	memcpy(p + 12, h->src.b + 12, 4);
	memcpy(p + 16, h->dst.b + 12, 4);
}
