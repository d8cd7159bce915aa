/* SPDX-License-Identifier: BSD-2-Clause */
/* UDP header: bytes <-> plain struct (RFC 768). */
#ifndef WIRE_UDP_H
#define WIRE_UDP_H

#include "base/types.h"

#define UDP_HDR_LEN	8
#define UDP_CSUM_OFF	6

struct udp_hdr {
	uint16_t sport, dport;	/* host order */
	uint16_t len;		/* header and data; not compared with anything */
	uint16_t csum;		/* as in memory; 0: none (IPv4 only) */
};

/* False: fewer than 8 bytes. */
must_check bool wire_udp_parse(const uint8_t *p, uint32_t avail, struct udp_hdr *ret);
void wire_udp_emit(uint8_t *p, const struct udp_hdr *h);

#endif
