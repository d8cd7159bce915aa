/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv6 header: bytes <-> plain struct, and the walk over extension headers (RFC 8200). */
#ifndef WIRE_IP6_H
#define WIRE_IP6_H

#include "base/types.h"

#define IP6_HDR_LEN	40
#define IP6_EXT_MAX	8	/* extension headers stepped over before we give up */

struct ip6_hdr {		/* host order */
	uint8_t	 tclass, hop_limit;
	uint8_t	 next;		/* first next-header value */
	uint16_t pay_len;	/* as on the wire */
	uint32_t flow;		/* 20 bits */
	struct ipaddr src, dst;
};

/* False: short, or not version 6. */
must_check bool wire_ip6_parse(const uint8_t *p, uint32_t avail, struct ip6_hdr *ret);
/* Writes 40 bytes. */
void wire_ip6_emit(uint8_t *p, const struct ip6_hdr *h);

enum ip6_walk {
	IP6_WALK_OK,		/* *ret_proto and *ret_off are the upper layer's */
	IP6_WALK_BAD,		/* cut short, or too many headers */
	IP6_WALK_FRAGMENT,	/* a real fragment; off and proto are those behind its header */
	IP6_WALK_ROUTED,	/* a routing header with segments left: not for us */
};

/*
 * Steps over hop-by-hop, routing and destination options, and over the header of an atomic
 * fragment (RFC 6946). `p` is what follows the fixed header, `next` its next-header value.
 */
must_check enum ip6_walk wire_ip6_walk(const uint8_t *p, uint32_t avail, uint8_t next,
				       uint8_t *ret_proto, uint32_t *ret_off);

#endif
