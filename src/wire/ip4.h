/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv4 header: bytes <-> plain struct (RFC 791 3.1). Options are stepped over, never built. */
#ifndef WIRE_IP4_H
#define WIRE_IP4_H

#include "base/types.h"

#define IP4_HDR_LEN	20	/* without options; what emit writes */
#define IP4_CSUM_OFF	10

struct ip4_hdr {		/* host order */
	uint8_t	 tos, ttl, proto;
	uint8_t	 hdr_len;	/* parse: bytes, options included */
	uint16_t tot_len;	/* header and payload, as on the wire: not compared with anything */
	uint16_t id;
	uint16_t frag_off;	/* bytes */
	bool	 df, mf;
	struct ipaddr src, dst;
};

/* False: short, not version 4, or a header length below 20 or above `avail`. The checksum is
 * the caller's to verify: the sum over hdr_len bytes finishes to 0. */
must_check bool wire_ip4_parse(const uint8_t *p, uint32_t avail, struct ip4_hdr *ret);
/* Writes 20 bytes, the checksum zero. frag_off must be a multiple of 8. */
void wire_ip4_emit(uint8_t *p, const struct ip4_hdr *h);

#endif
