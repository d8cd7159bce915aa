/* SPDX-License-Identifier: BSD-2-Clause */
/* Ethernet II header: bytes <-> plain struct (IEEE 802.3). */
#ifndef WIRE_ETH_H
#define WIRE_ETH_H

#include "base/types.h"

#define ETH_HDR_LEN	14
#define ETH_TYPE_IP4	0x0800
#define ETH_TYPE_IP6	0x86dd

struct eth_hdr {
	uint8_t	 dst[6], src[6];
	uint16_t type;		/* host order */
};

/* False: fewer than 14 bytes. */
must_check bool wire_eth_parse(const uint8_t *p, uint32_t avail, struct eth_hdr *ret);
void wire_eth_emit(uint8_t *p, const struct eth_hdr *h);

#endif
