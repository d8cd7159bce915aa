/* SPDX-License-Identifier: BSD-2-Clause */
/* Ethernet II. A VLAN tag is a type like any other here: tagged frames are the kernel's. */
#include "wire/eth.h"

bool wire_eth_parse(const uint8_t *p, uint32_t avail, struct eth_hdr *ret)
{
	if (avail < ETH_HDR_LEN)
		return false;
	memcpy(ret->dst, p, 6);
	memcpy(ret->src, p + 6, 6);
	ret->type = get_be16(p + 12);
	return true;
}

void wire_eth_emit(uint8_t *p, const struct eth_hdr *h)
{
	memcpy(p, h->dst, 6);
	memcpy(p + 6, h->src, 6);
	put_be16(p + 12, h->type);
}
