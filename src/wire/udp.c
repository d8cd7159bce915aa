/* SPDX-License-Identifier: BSD-2-Clause */
/* UDP header (RFC 768). */
#include "wire/udp.h"

bool wire_udp_parse(const uint8_t *p, uint32_t avail, struct udp_hdr *ret)
{
	if (avail < UDP_HDR_LEN)
		return false;
	ret->sport = get_be16(p);
	ret->dport = get_be16(p + 2);
	ret->len = get_be16(p + 4);
	memcpy(&ret->csum, p + UDP_CSUM_OFF, 2);
	return true;
}

void wire_udp_emit(uint8_t *p, const struct udp_hdr *h)
{
	put_be16(p, h->sport);
	put_be16(p + 2, h->dport);
	put_be16(p + 4, h->len);
	memcpy(p + UDP_CSUM_OFF, &h->csum, 2);
}
