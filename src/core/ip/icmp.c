/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ICMP and ICMPv6 errors about our own packets (RFC 792, RFC 1122 3.2.2, RFC 1191, RFC 4443,
 * RFC 8201). Everything else of ICMP is the kernel's, which has the same address.
 *
 * What we return is the flow that the quoted packet belongs to, and what Linux would tell its
 * socket: the two tables are those of net/ipv4/icmp.c and net/ipv6/icmp.c, since programs see
 * the result as errno. Whether to believe it is the protocol's affair (RFC 5927): TCP compares
 * the quoted sequence number with what is in flight.
 */
#include "core/ip/ip.h"

#include <errno.h>
#include <netinet/in.h>

#include "base/csum.h"
#include "wire/icmp.h"
#include "wire/udp.h"

#define MTU_MIN_IP4	552	/* Linux's ip_rt.min_pmtu: below, somebody is playing */
#define MTU_MIN_IP6	1280	/* RFC 8200 5 */

struct errno_of { int err; bool hard; };

/* RFC 1122 4.2.3.9 calls 2-4 hard for TCP; this is what Linux makes of each code. */
static const struct errno_of unreach4[] = {
	{ ENETUNREACH, false },		/* net */
	{ EHOSTUNREACH, false },	/* host */
	{ ENOPROTOOPT, true },		/* protocol */
	{ ECONNREFUSED, true },		/* port */
	{ EMSGSIZE, false },		/* fragmentation needed */
	{ EOPNOTSUPP, false },		/* source route failed */
	{ ENETUNREACH, true },		/* net unknown */
	{ EHOSTDOWN, true },		/* host unknown */
	{ ENONET, true },		/* host isolated */
	{ ENETUNREACH, true },		/* net prohibited */
	{ EHOSTUNREACH, true },		/* host prohibited */
	{ ENETUNREACH, false },		/* net, for this TOS */
	{ EHOSTUNREACH, false },	/* host, for this TOS */
	{ EHOSTUNREACH, true },		/* filtered */
	{ EHOSTUNREACH, true },		/* precedence violation */
	{ EHOSTUNREACH, true },		/* precedence cut-off */
};

static const struct errno_of unreach6[] = {
	{ ENETUNREACH, false },		/* no route */
	{ EACCES, true },		/* prohibited */
	{ EHOSTUNREACH, false },	/* beyond scope */
	{ EHOSTUNREACH, false },	/* address */
	{ ECONNREFUSED, true },		/* port */
	{ EACCES, true },		/* policy */
	{ EACCES, true },		/* reject route */
};

static bool explain4(const struct icmp_hdr *h, struct icmp_quote *q)
{
	switch (h->type) {
	case ICMP4_UNREACH:
		if (h->code >= n_elems(unreach4))
			return false;
		q->err = unreach4[h->code].err;
		q->hard = unreach4[h->code].hard;
		if (h->code == ICMP4_FRAG_NEEDED) {
			q->info = h->rest & 0xffff;
			q->mtu = max_u32(q->info, MTU_MIN_IP4);
		}
		return true;
	case ICMP4_TIME_EXCEEDED:
		if (h->code == ICMP4_FRAG_TIME)
			return false;	/* Linux: a receiver's affair, not the sender's */
		q->err = EHOSTUNREACH;
		return true;
	case ICMP4_PARAM_PROBLEM:
		q->info = h->rest >> 24;
		q->err = EPROTO;
		q->hard = true;
		return true;
	default:	/* source quench is dead (RFC 6633), redirects are the kernel's */
		return false;
	}
}

static bool explain6(const struct icmp_hdr *h, struct icmp_quote *q)
{
	q->info = h->rest;
	switch (h->type) {
	case ICMP6_UNREACH:
		q->err = h->code < n_elems(unreach6) ? unreach6[h->code].err : EPROTO;
		q->hard = h->code < n_elems(unreach6) ? unreach6[h->code].hard : true;
		return true;
	case ICMP6_TOO_BIG:
		q->err = EMSGSIZE;
		q->mtu = max_u32(h->rest, MTU_MIN_IP6);
		return true;
	case ICMP6_TIME_EXCEEDED:
		q->err = EHOSTUNREACH;
		return true;
	case ICMP6_PARAM_PROBLEM:
		q->err = EPROTO;
		q->hard = true;
		return true;
	default:
		/* RFC 4443 2.4 (a): errors of unknown types MUST be passed on. */
		q->err = EPROTO;
		return h->type < ICMP6_INFO_MIN;
	}
}

enum verdict icmp_input(struct turn *t, pkt_h head, const struct ip_info *in, struct icmp_quote *ret)
{
	const struct pkt *p = pkt_at(t, head);
	const uint8_t *data = pkt_data(t, p);
	uint32_t len = pkt_len(p);
	struct icmp_quote q = { .is4 = in->is4 };
	struct icmp_inner inner;
	struct icmp_hdr h;
	uint64_t sum;

	if (!wire_icmp_parse(data, len, &h)) {
		ev(t, EV_IP_BAD, 0, len, in->proto);
		return V_DROP;
	}
	if (!(in->is4 ? explain4(&h, &q) : explain6(&h, &q))) {
		ev(t, EV_IP_PROTO, 0, in->proto, h.type);
		return V_DROP;
	}
	/* RFC 792: over the message alone; RFC 4443 2.3: with the pseudo-header. */
	sum = pkt_csum(t, p, 0);
	if (!in->is4)
		sum = csum_add64(sum, in->pseudo);
	if (csum_finish(sum) != 0 ||
	    !wire_icmp_inner_parse(data + ICMP_HDR_LEN, len - ICMP_HDR_LEN, in->is4, &inner)) {
		ev(t, EV_IP_BAD, 0, len, in->proto);
		return V_DROP;
	}
	/* Linux: a datagram that did not fit is reported to a connected UDP socket at once. */
	if (q.mtu && inner.proto == IPPROTO_UDP)
		q.hard = true;
	q.proto = inner.proto;
	q.type = h.type;
	q.code = h.code;
	q.laddr = inner.src;
	q.raddr = inner.dst;
	q.lport = inner.sport;
	q.rport = inner.dport;
	q.seq = inner.seq;
	q.from = in->src;
	q.pay_off = ICMP_HDR_LEN + inner.off + UDP_HDR_LEN;
	ev(t, EV_ICMP_ERROR, 0, h.type, h.code);
	*ret = q;
	return V_TAKEN;
}
