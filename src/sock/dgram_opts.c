/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options of datagram sockets. The kernel's socket below is always told first: it judges the value,
 * it answers getsockopt(), and what it sends or receives for us follows it. Then
 *
 *   ours	struct udp_opts: we do the same
 *   kernel's	what only the kernel can do with each datagram (theirs[]): the socket returns to it.
 *		Its lease goes back, so that nothing more is steered to us; we go on reading what
 *		came before, and from then on every call is the kernel's
 *   neither	multicast, broadcast, buffers of the kernel's part: datagrams that such options are
 *		about are never ours in the first place (bpf/, core/ip), so the kernel's socket has
 *		them, and the two serve side by side
 */
#include "sock/dgram.h"

#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>

/* Newer than the headers of some systems that this is built on. */
#define RCVMARK_	75
#define RCVPRIORITY_	82
#define RECVERR_RFC4884_4	26
#define RECVERR_RFC4884_6	31
#define IPV6_FLOWINFO_		11	/* linux/in6.h, which does not go with netinet/in.h */
#define IPV6_FLOWINFO_SEND_	33

/* Options that only the kernel has, if they are switched on; by value: `off` is what leaves them off. */
static const struct { int level, name, off; } theirs[] = {
	{ SOL_SOCKET, SO_MARK, 0 }, { SOL_SOCKET, SO_BINDTODEVICE, 0 }, { SOL_SOCKET, SO_BINDTOIFINDEX, 0 },
	{ SOL_SOCKET, SO_PEEK_OFF, -1 }, { SOL_SOCKET, SO_TXTIME, 0 }, { SOL_SOCKET, SO_ATTACH_FILTER, 0 },
	{ SOL_SOCKET, SO_ATTACH_BPF, 0 }, { SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, 0 },
	{ SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, 0 }, { SOL_SOCKET, RCVMARK_, 0 },
	{ SOL_SOCKET, SO_ZEROCOPY, 0 },
	{ SOL_SOCKET, RCVPRIORITY_, 0 }, { SOL_SOCKET, SO_SELECT_ERR_QUEUE, 0 }, { SOL_SOCKET, SO_WIFI_STATUS, 0 },
	{ SOL_SOCKET, SO_TIMESTAMPING_NEW, 0 }, { SOL_SOCKET, SO_DONTROUTE, 0 },
	{ IPPROTO_IP, IP_OPTIONS, 0 }, { IPPROTO_IP, IP_RECVOPTS, 0 }, { IPPROTO_IP, IP_RETOPTS, 0 },
	{ IPPROTO_IP, IP_PASSSEC, 0 }, { IPPROTO_IP, IP_TRANSPARENT, 0 }, { IPPROTO_IP, IP_FREEBIND, 0 },
	{ IPPROTO_IP, IP_CHECKSUM, 0 }, { IPPROTO_IP, RECVERR_RFC4884_4, 0 }, { IPPROTO_IP, IP_UNICAST_IF, 0 },
	{ IPPROTO_IP, IP_HDRINCL, 0 },
	{ IPPROTO_IPV6, IPV6_HOPOPTS, 0 }, { IPPROTO_IPV6, IPV6_RTHDR, 0 }, { IPPROTO_IPV6, IPV6_DSTOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_RTHDRDSTOPTS, 0 }, { IPPROTO_IPV6, IPV6_RECVHOPOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_RECVRTHDR, 0 }, { IPPROTO_IPV6, IPV6_RECVDSTOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_RECVPATHMTU, 0 }, { IPPROTO_IPV6, IPV6_2292PKTINFO, 0 },
	{ IPPROTO_IPV6, IPV6_2292HOPLIMIT, 0 }, { IPPROTO_IPV6, IPV6_2292HOPOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_2292RTHDR, 0 }, { IPPROTO_IPV6, IPV6_2292DSTOPTS, 0 },
	{ IPPROTO_IPV6, IPV6_FLOWINFO_, 0 }, { IPPROTO_IPV6, IPV6_FLOWINFO_SEND_, 0 },
	{ IPPROTO_IPV6, IPV6_DONTFRAG, 0 },
	{ IPPROTO_IPV6, IPV6_MTU, 0 }, { IPPROTO_IPV6, IPV6_TRANSPARENT, 0 }, { IPPROTO_IPV6, IPV6_FREEBIND, 0 },
	{ IPPROTO_IPV6, RECVERR_RFC4884_6, 0 }, { IPPROTO_IPV6, IPV6_ADDR_PREFERENCES, 0 },
	{ IPPROTO_IPV6, IPV6_UNICAST_IF, 0 }, { IPPROTO_IPV6, IPV6_ADDRFORM, -1 },
	{ IPPROTO_UDP, UDP_CORK, 0 }, { IPPROTO_UDP, UDP_ENCAP, 0 },
	{ IPPROTO_UDP, UDP_NO_CHECK6_TX, 0 }, { IPPROTO_UDP, UDP_NO_CHECK6_RX, 0 },
};

static const struct { int level, name; uint32_t want; } wants[] = {
	{ IPPROTO_IP, IP_PKTINFO, WANT_PKTINFO4 }, { IPPROTO_IP, IP_RECVTTL, WANT_TTL },
	{ IPPROTO_IP, IP_RECVTOS, WANT_TOS }, { IPPROTO_IP, IP_RECVORIGDSTADDR, WANT_ORIGDST4 },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, WANT_PKTINFO6 }, { IPPROTO_IPV6, IPV6_RECVHOPLIMIT, WANT_HOPLIMIT },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS, WANT_TCLASS }, { IPPROTO_IPV6, IPV6_RECVORIGDSTADDR, WANT_ORIGDST6 },
	{ SOL_SOCKET, SO_RXQ_OVFL, WANT_RXQ_OVFL },
};

/* ---- one option --------------------------------------------------------------------------------- */

/* Linux takes a byte for an int at the IP level. */
static int int_of(const void *v, socklen_t n)
{
	int x = 0;

	if (v && n >= sizeof(x))
		memcpy(&x, v, sizeof(x));
	else if (v && n)
		x = *(const uint8_t *)v;
	return x;
}

static bool is_theirs(int level, int name, int v, socklen_t n)
{
	for (size_t i = 0; i < n_elems(theirs); i++)
		if (theirs[i].level == level && theirs[i].name == name)
			return v != theirs[i].off && n;
	return false;
}

static bool note_want(struct udp_opts *o, int level, int name, int v)
{
	for (size_t i = 0; i < n_elems(wants); i++) {
		if (wants[i].level != level || wants[i].name != name)
			continue;
		o->wants = v ? o->wants | wants[i].want : o->wants & ~wants[i].want;
		return true;
	}
	return false;
}

static bool note_socket(struct udp_opts *o, int name, int v)
{
	switch (name) {
	case SO_TIMESTAMP_OLD:
	case SO_TIMESTAMP_NEW:
	case SO_TIMESTAMPNS_OLD:
	case SO_TIMESTAMPNS_NEW:
		o->stamp = v ? (uint16_t)name : 0;
		return true;
	case SO_TIMESTAMPING_OLD:
		/* What a sent datagram, or a clock of the device's, would tell is the kernel's. */
		if ((uint32_t)v & ~(uint32_t)(SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE))
			return false;
		o->stamping = (uint32_t)v;
		return true;
	case SO_NO_CHECK:
		o->no_check = v != 0;
		return true;
	default:
		return true;
	}
}

static void note_ip4(struct udp_opts *o, int name, int v)
{
	switch (name) {
	case IP_RECVERR:
		o->recverr4 = v != 0;
		break;
	case IP_MTU_DISCOVER:
		o->pmtud4 = (uint8_t)v;
		break;
	case IP_TOS:
		o->tos = (uint8_t)v;
		break;
	case IP_TTL:
		o->ttl = v < 0 ? 0 : (uint8_t)v;
		break;
	}
}

static void note_ip6(struct udp_opts *o, int name, int v)
{
	switch (name) {
	case IPV6_RECVERR:
		o->recverr6 = v != 0;
		break;
	case IPV6_MTU_DISCOVER:
		o->pmtud6 = (uint8_t)v;
		break;
	case IPV6_TCLASS:
		o->tclass = v < 0 ? 0 : (uint8_t)v;
		break;
	case IPV6_UNICAST_HOPS:
		o->hops = v < 0 ? 0 : (uint8_t)v;
		break;
	}
}

bool dgram_opt_noted(struct udp_opts *o, int level, int name, const void *v, socklen_t n)
{
	int x = int_of(v, n);

	/* A hop limit of none is a wish, too, and one that our zero does not stand for. */
	if (is_theirs(level, name, x, n) || (level == IPPROTO_IPV6 && name == IPV6_UNICAST_HOPS && x == 0))
		return false;
	if (note_want(o, level, name, x))
		return true;
	if (level == SOL_SOCKET)
		return note_socket(o, name, x);
	if (level == IPPROTO_IP)
		note_ip4(o, name, x);
	else if (level == IPPROTO_IPV6)
		note_ip6(o, name, x);
	else if (level == IPPROTO_UDP && name == UDP_SEGMENT)
		o->seg = (uint16_t)x;
	else if (level == IPPROTO_UDP && name == UDP_GRO)
		o->gro = x != 0;
	return true;
}

/* ---- what was set before -------------------------------------------------------------------------- */

static void read_one(int fd, struct udp_opts *o, int level, int name)
{
	socklen_t n = sizeof(int);
	int v = 0;

	if (sys_getsockopt(fd, level, name, &v, &n) == 0)
		(void)!dgram_opt_noted(o, level, name, &v, sizeof(v));
}

void dgram_opts_read_back(int fd, struct ent e, struct udp_opts *o)
{
	static const struct { int level, name; } more[] = {
		{ SOL_SOCKET, SO_NO_CHECK }, { SOL_SOCKET, SO_TIMESTAMPING_OLD },
		{ IPPROTO_IP, IP_RECVERR }, { IPPROTO_IP, IP_MTU_DISCOVER }, { IPPROTO_IP, IP_TOS },
		{ IPPROTO_IP, IP_TTL }, { IPPROTO_UDP, UDP_SEGMENT }, { IPPROTO_UDP, UDP_GRO },
		{ IPPROTO_IPV6, IPV6_RECVERR }, { IPPROTO_IPV6, IPV6_MTU_DISCOVER }, { IPPROTO_IPV6, IPV6_TCLASS },
		{ IPPROTO_IPV6, IPV6_UNICAST_HOPS },
	};
	static const int stamps[] = { SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_OLD, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW };

	if (!(e.flags & FDF_OPTS))
		return;
	for (size_t i = 0; i < n_elems(wants); i++)
		if (wants[i].level != IPPROTO_IPV6 || e.flags & FDF_V6)
			read_one(fd, o, wants[i].level, wants[i].name);
	for (size_t i = 0; i < n_elems(more); i++)
		if (more[i].level != IPPROTO_IPV6 || e.flags & FDF_V6)
			read_one(fd, o, more[i].level, more[i].name);
	/* The kernel reports the one that is in force as on, and the others as off. */
	for (size_t i = 0; i < n_elems(stamps) && !o->stamp; i++)
		read_one(fd, o, SOL_SOCKET, stamps[i]);
}

/* ---- back to the kernel ------------------------------------------------------------------------------- */

void dgram_return(int fd, struct ent e, enum reason why)
{
	struct ctl_lease l = { .proto = IPPROTO_UDP };
	bool leased = false;
	struct turn t;
	struct sk *sk;

	if (!sk_enter(&t))
		return;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && !(sk->user & SKU_RETURNED)) {
		lease_of_sk(sk, &l);
		leased = sk->user & SKU_LEASED;
		sk->user = (sk->user & ~SKU_LEASED) | SKU_RETURNED;
	}
	sk_leave(&t, false);
	if (leased && !self.quiet) {
		agent_enter();
		(void)!exec_lease_del(&self.x, &l);
		agent_leave();
	}
	e.reason = (uint16_t)why;
	fd_put(fd, e);
}
