/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The UDP part of a socket, in sk->proto_area. Writer: turn; fixed widths, no pointers.
 *
 * Invariants (udp_check()):
 *	U1  rx_mem is the sum of arg[1] over rxq, tx_mem over txq, err_mem over errq: what each was
 *	    charged.
 *	U2  sk->rxq_bytes is the bytes of rxq, sk->txq_bytes those of txq.
 *	U3  EPOLLIN is set exactly if rxq is not empty or reading was shut down; EPOLLERR exactly
 *	    if an error is pending or queued.
 *	U4  connected: in the flow table; else in the listen table; orphan: in neither.
 *	U5  a socket whose txq is not empty, or that owes its user EPOLLOUT, is on the tx-wait list
 *	    (between turns).
 */
#ifndef CORE_UDP_UDP_AREA_H
#define CORE_UDP_UDP_AREA_H

#include <assert.h>

#include "abi/segment.h"
#include "core/udp/udp.h"

struct udp {
	/* Received, unread. pkt.addr, arg[0]: from where; arg[1]: bytes charged; at: when. */
	struct pkt_queue rxq;
	/* Waiting for a neighbour or for room on the ring, payload only. addr, arg[0]: to where;
	 * arg[1]: bytes charged. */
	struct pkt_queue txq;
	/* Errors not yet asked for (MSG_ERRQUEUE): what is left of the datagram. addr, arg[0]: to
	 * where it went; arg[1]: bytes charged; a struct udp_note and a udp_trouble before it. */
	struct pkt_queue errq;
	uint32_t pad0;
	uint32_t rx_mem, tx_mem;	/* frames' bytes charged against rcvbuf and sndbuf */
	struct ipaddr bound;	/* laddr as it was opened: what disconnecting goes back to */
	struct ipaddr last_dst, last_src;	/* unconnected: the pair that sk->path is for */
	uint64_t give_up_at;	/* orphan: when what still waits is dropped, ns */
	uint32_t n_full;	/* datagrams dropped for want of rcvbuf (SO_RXQ_OVFL) */
	uint32_t err_mem;
	uint32_t src_given;	/* last_src was asked for by the user */
	uint32_t look_gap_ns;	/* sock/'s own: how often the kernel's socket below is looked at, */
	uint64_t looked_at;	/* ... and when it was last; writer: the calling thread */
	struct udp_opts o;
};

/*
 * What is known of a datagram besides its bytes, kept in the frame where its headers were, or
 * would be: right before the payload. The shortest headers, IPv4's, leave 42 bytes; those of an
 * ICMP error about a datagram 70, for a struct udp_trouble in front of the note.
 */
struct udp_note {
	struct ipaddr dst;
	uint32_t drops;
	uint8_t	 ttl, tos;
	uint8_t	 local;
	uint8_t	 pad;
};
static_assert(sizeof(struct udp_note) <= 42, "where the headers were");
static_assert(sizeof(struct udp_note) + sizeof(struct udp_trouble) <= 70, "where the headers were");
static_assert(sizeof(struct udp) <= SK_PROTO_BYTES, "fits in sk.proto_area");
static_assert(sizeof(struct udp) % 8 == 0, "no tail padding");

static inline struct udp *udp_of(const struct sk *sk) { return (struct udp *)(uintptr_t)sk->proto_area; }

#endif
