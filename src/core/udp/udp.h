/* SPDX-License-Identifier: BSD-2-Clause */
/* UDP (RFC 768): datagrams in, datagrams out. */
#ifndef CORE_UDP_UDP_H
#define CORE_UDP_UDP_H

#include <sys/uio.h>

#include "core/ip/ip.h"

struct udp_addr { struct ipaddr addr; uint16_t port; };

/* V_TAKEN: the packet is queued or dropped with a reason counted. V_DROP: caller puts it. */
must_check enum verdict udp_input(struct turn *t, pkt_h h, const struct ip_info *in);
/* The same for a payload that came by an aperture. */
must_check enum verdict udp_deliver(struct turn *t, pkt_h h, const struct udp_addr *src,
				    const struct udp_addr *dst);
void udp_icmp(struct turn *t, const struct icmp_quote *q);

/* A bound UDP socket (laddr may be a wildcard). -EADDRINUSE, -ENOBUFS. */
must_check int udp_open(struct turn *t, const struct ipaddr *laddr, uint16_t lport, struct sk **ret);
/* Sets, or with NULL clears, the peer. 0 or ip_route()'s errors. */
must_check int udp_connect(struct turn *t, struct sk *sk, const struct ipaddr *raddr, uint16_t rport);

/* The same for a peer on this host, to which no route leads: it is reached through apertures. */
must_check int udp_connect_local(struct turn *t, struct sk *sk, const struct ipaddr *laddr,
				 const struct ipaddr *raddr, uint16_t rport);
/* Sends one datagram to `to`, or to the peer when NULL. Bytes, or -EMSGSIZE, -EDESTADDRREQ,
 * -EAGAIN (sndbuf full), a pending error, ip_route()'s errors. While a neighbour is being
 * resolved the datagram is queued and counts as sent. -EOPNOTSUPP: longer than the path's MTU;
 * fragments are the kernel's, so the socket below sends it (same address, same port). */
must_check int64_t udp_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			    const struct udp_addr *to);
#define UDP_RECV_PEEK (1u << 0)
/* Receives one datagram: bytes copied; *ret_full is the datagram's own length. -EAGAIN if
 * none; a pending error; 0 with *ret_full 0 may be an empty datagram, or after shutdown. */
must_check int64_t udp_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			    uint32_t flags, struct udp_addr *ret_from, uint32_t *ret_full);
int udp_shutdown(struct turn *t, struct sk *sk, int how);
/* Bytes of the next datagram (FIONREAD). */
uint32_t udp_next_bytes(struct turn *t, struct sk *sk);
void udp_close(struct turn *t, struct sk *sk);	/* last descriptor gone */
void udp_tx_ready(struct turn *t, struct sk *sk);	/* from net_tx(): try the queue again */
void udp_check(struct turn *t, struct sk *sk);

#endif
