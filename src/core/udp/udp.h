/* SPDX-License-Identifier: BSD-2-Clause */
/* UDP (RFC 768): datagrams in, datagrams out. */
#ifndef CORE_UDP_UDP_H
#define CORE_UDP_UDP_H

#include <sys/uio.h>

#include "core/ip/ip.h"

struct udp_addr { struct ipaddr addr; uint16_t port; };

/* What setsockopt() set. Values are Linux's; zero is the default but for pmtud4 and pmtud6. */
struct udp_opts {
	uint32_t wants;		/* UDP_WANT_*: what recvmsg() is to tell; sock/ gives them their meaning */
	uint32_t stamping;	/* SOF_TIMESTAMPING_* in force */
	uint16_t stamp;		/* the SO_TIMESTAMP* option in force; 0: none */
	uint16_t seg;		/* UDP_SEGMENT: bytes of each datagram that a send is cut into; 0: one */
	uint8_t	 pmtud4, pmtud6;	/* IP_PMTUDISC_* */
	uint8_t	 tos, ttl;	/* IPv4; ttl 0: the default */
	uint8_t	 tclass, hops;	/* IPv6 */
	uint8_t	 recverr4, recverr6;	/* errors are queued, and told to unconnected sockets too */
	uint8_t	 no_check;	/* SO_NO_CHECK: IPv4 datagrams leave without a checksum */
	uint8_t	 gro;		/* UDP_GRO */
	uint8_t	 pad[2];
};
#define UDP_PMTUD_DONT	0	/* IP_PMTUDISC_* of linux/in.h; those of IPv6 are the same */
#define UDP_PMTUD_WANT	1
#define UDP_PMTUD_DO	2
#define UDP_PMTUD_PROBE	3

/* Where a datagram came from, and what its IP header said. */
struct udp_origin {
	struct udp_addr src, dst;
	uint8_t ttl, tos;
	bool	local;		/* by an aperture: no interface but the loopback */
};

/* V_TAKEN: the packet is queued or dropped with a reason counted. V_DROP: caller puts it. */
must_check enum verdict udp_input(struct turn *t, pkt_h h, const struct ip_info *in);
/* The same for a payload that came by an aperture. */
must_check enum verdict udp_deliver(struct turn *t, pkt_h h, const struct udp_origin *o);
/* An ICMP error about a datagram of ours; h is the message, `in` its header. V_TAKEN: it is on a
 * socket's error queue. */
must_check enum verdict udp_icmp(struct turn *t, pkt_h h, const struct ip_info *in, const struct icmp_quote *q);

/* A bound UDP socket (laddr may be a wildcard). -EADDRINUSE, -ENOBUFS. */
must_check int udp_open(struct turn *t, const struct ipaddr *laddr, uint16_t lport, struct sk **ret);
/* The same with SO_REUSEPORT: others that have it may be bound there too. */
must_check int udp_open_shared(struct turn *t, const struct ipaddr *laddr, uint16_t lport, struct sk **ret);
/* Sets, or with NULL clears, the peer. 0 or ip_route()'s errors. */
must_check int udp_connect(struct turn *t, struct sk *sk, const struct ipaddr *raddr, uint16_t rport);

/* The same for a peer on this host, to which no route leads: it is reached through apertures. */
must_check int udp_connect_local(struct turn *t, struct sk *sk, const struct ipaddr *laddr,
				 const struct ipaddr *raddr, uint16_t rport);
/* One send: to whom (NULL: the peer) and what control messages said of this datagram alone. */
struct udp_out {
	const struct udp_addr *to;
	const struct ipaddr *src;	/* NULL: the socket's, or the route's */
	uint32_t ifindex;		/* 0: any */
	uint16_t seg;			/* as udp_opts.seg, if UDP_OUT_SEG is set */
	uint8_t	 set, ttl, tos;
};
#define UDP_OUT_TTL	(1u << 0)
#define UDP_OUT_TOS	(1u << 1)
#define UDP_OUT_SEG	(1u << 2)

/* Sends one datagram, or as many as UDP_SEGMENT makes of it. Bytes, or -EMSGSIZE, -EDESTADDRREQ,
 * -EAGAIN (sndbuf full), a pending error, ip_route()'s errors. While a neighbour is being
 * resolved the datagram is queued and counts as sent. -EOPNOTSUPP: longer than the path's MTU;
 * fragments are the kernel's, so the socket below sends it (same address, same port). -EINVAL: the
 * kernel is to judge it, and to send it if it can. */
must_check int64_t udp_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			    const struct udp_out *o);

/* What came with a datagram, or with an error. */
struct udp_arrival {
	struct udp_addr from, to;	/* an error: whom it was sent to; where the message came */
	uint64_t at;		/* ns, the stack's clock */
	uint32_t full;		/* the datagram's own length */
	uint32_t seg;		/* UDP_RECV_JOIN: length of each that was joined; 0: one alone */
	uint32_t drops;		/* datagrams lost to a full buffer before it (SO_RXQ_OVFL) */
	uint32_t ifindex;	/* it came by; 0: within this host */
	uint8_t	 ttl, tos;
};
#define UDP_RECV_PEEK (1u << 0)
#define UDP_RECV_JOIN (1u << 1)		/* UDP_GRO: what would have been one segmented send is read at once */
/* Receives one datagram: bytes copied; ret->full is the datagram's own length. -EAGAIN if
 * none; a pending error; 0 with full 0 may be an empty datagram, or after shutdown. ret may be NULL. */
must_check int64_t udp_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			    uint32_t flags, struct udp_arrival *ret);

/* sock_extended_err, less what is always zero. */
struct udp_trouble {
	struct ipaddr from;	/* the offender */
	uint32_t info;
	int32_t	 err;		/* errno, positive */
	uint8_t	 origin;	/* SO_EE_ORIGIN_* */
	uint8_t	 type, code;
	uint8_t	 pad;
};
/* Takes the first off the error queue: bytes copied of the datagram that it is about; -EAGAIN. */
must_check int64_t udp_recv_error(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
				  struct udp_arrival *ret, struct udp_trouble *ret_why);
/* Takes the pending error, as SO_ERROR does: 0 or -errno. */
int udp_take_error(struct turn *t, struct sk *sk);

void udp_set_opts(struct turn *t, struct sk *sk, const struct udp_opts *o);
void udp_get_opts(struct turn *t, const struct sk *sk, struct udp_opts *ret);
int udp_shutdown(struct turn *t, struct sk *sk, int how);
/* Bytes of the next datagram (FIONREAD). */
uint32_t udp_next_bytes(struct turn *t, struct sk *sk);
void udp_close(struct turn *t, struct sk *sk);	/* last descriptor gone */
void udp_tx_ready(struct turn *t, struct sk *sk);	/* from net_tx(): try the queue again */
void udp_check(struct turn *t, struct sk *sk);

#endif
