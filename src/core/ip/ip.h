/* SPDX-License-Identifier: BSD-2-Clause */
/* IPv4 and IPv6 side by side (RFC 791, RFC 8200), over the mirror's routes and neighbours. */
#ifndef CORE_IP_IP_H
#define CORE_IP_IP_H

#include "core/stack/stack.h"

#define IP_HEADERS_MAX	(14 + 40)	/* Ethernet + IPv6; what ip_output() needs in front */

/* What ip_input() learned; the packet has been pulled to its transport header. */
struct ip_info {
	struct ipaddr src, dst;
	uint8_t	 proto;		/* IPPROTO_TCP, IPPROTO_UDP, or IPPROTO_ICMP(V6) for an error */
	uint8_t	 ttl, tos;
	uint8_t	 vi;
	uint8_t	 is4;
	uint64_t pseudo;	/* pseudo-header sum with the transport length, for csum_finish() */
};

/* Parses Ethernet and IP of a received packet, trims padding. V_DROP: caller puts the packet. */
must_check enum verdict ip_input(struct turn *t, pkt_h h, struct ip_info *ret);

/* Verifies the transport checksum at `csum_off` of the pulled packet; accepts an unfinished
 * one (equal to the pseudo-header sum) from VIs with VIF_F_PARTIAL_CSUM (F10). */
must_check bool ip_csum_ok(struct turn *t, const struct pkt *p, const struct ip_info *in, uint32_t csum_off);

/*
 * Asks the mirror how to reach dst: fills path and, where *src is a wildcard, the source
 * address. 0; -ENETUNREACH no route; -EHOSTUNREACH neighbour failed; -EINVAL the kernel's
 * business (loopback, local, blocked, not over an attached interface of this stack).
 * -EAGAIN: the neighbour is being resolved; path is right but for PATH_RESOLVED.
 * A path of the mirror's present generation that is resolved is returned at once.
 */
must_check int ip_route(struct turn *t, const struct ipaddr *dst, struct ipaddr *src, struct path *path);

struct ip_out {
	const struct ipaddr *src, *dst;
	const struct path *path;
	uint8_t proto, tos, ttl;	/* ttl 0: 64 */
	uint8_t flags;			/* IP_OUT_* */
	uint32_t flow;			/* IPv6: the flow label, 20 bits; 0: none */
};
#define IP_OUT_DF (1u << 0)

/*
 * Prepends IP and Ethernet headers in the head frame's headroom (`off` moves down) and posts.
 * The transport header is in place, its checksum done (ip_pseudo() helps). On any error the
 * packet is as it was before the call. The caller still owns it. -ENOBUFS as vif_post().
 */
must_check int ip_output(struct turn *t, pkt_h head, const struct ip_out *out);

/* Pseudo-header sum (RFC 9293 3.1, RFC 8200 8.1), `len` transport bytes. */
uint64_t ip_pseudo(const struct ipaddr *src, const struct ipaddr *dst, uint8_t proto, uint32_t len);

/* For ICMP errors: the flow the quoted header names. */
struct icmp_quote {
	uint8_t proto;
	uint8_t type, code;	/* as received; is4 tells of which ICMP */
	uint8_t is4;
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;
	uint32_t seq;		/* TCP: the quoted sequence number (RFC 5927) */
	uint32_t mtu;		/* fragmentation needed / packet too big; else 0 */
	int err;		/* errno that Linux gives the socket for it */
	bool hard;		/* Linux reports it at once to a connected socket */
	/* What the error queue tells (RFC 1122 4.1.3.3), besides. */
	struct ipaddr from;	/* who says so */
	uint32_t info;		/* the MTU as received, or the pointer; else 0 */
	uint32_t pay_off;	/* from the ICMP header on, where the quoted payload begins */
};
must_check enum verdict icmp_input(struct turn *t, pkt_h h, const struct ip_info *in, struct icmp_quote *ret);

#endif
