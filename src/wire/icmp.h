/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP and ICMPv6 (RFC 792, RFC 1191, RFC 4443): the fixed header, and the packet that an
 * error quotes. The two share a layout; only the numbers differ.
 */
#ifndef WIRE_ICMP_H
#define WIRE_ICMP_H

#include "base/types.h"

#define ICMP_HDR_LEN	8

#define ICMP4_UNREACH		3
#define ICMP4_FRAG_NEEDED	4	/* code of ICMP4_UNREACH */
#define ICMP4_TIME_EXCEEDED	11
#define ICMP4_FRAG_TIME		1	/* code of ICMP4_TIME_EXCEEDED: reassembly took too long */
#define ICMP4_PARAM_PROBLEM	12

#define ICMP6_UNREACH		1
#define ICMP6_TOO_BIG		2
#define ICMP6_TIME_EXCEEDED	3
#define ICMP6_PARAM_PROBLEM	4
#define ICMP6_INFO_MIN		128	/* below are errors */

struct icmp_hdr {
	uint8_t	 type, code;
	uint16_t csum;		/* as in memory */
	uint32_t rest;		/* host order; MTU: low half (ICMP), all (ICMPv6) */
};

/* The packet inside an error: addresses, ports, and TCP's sequence number. */
struct icmp_inner {
	struct ipaddr src, dst;
	uint8_t	 proto;		/* IPPROTO_TCP or IPPROTO_UDP */
	uint16_t sport, dport;
	uint32_t seq;		/* TCP only */
	uint32_t off;		/* of the quoted transport header, from the quote's first byte */
};

/* False: fewer than 8 bytes. */
must_check bool wire_icmp_parse(const uint8_t *p, uint32_t avail, struct icmp_hdr *ret);
void wire_icmp_emit(uint8_t *p, const struct icmp_hdr *h);

/*
 * Parses what follows the ICMP header of an error. False: cut short before 8 bytes of the
 * transport header (which RFC 792 guarantees), neither TCP nor UDP, or a later fragment.
 */
must_check bool wire_icmp_inner_parse(const uint8_t *p, uint32_t avail, bool is4,
				      struct icmp_inner *ret);

#endif
