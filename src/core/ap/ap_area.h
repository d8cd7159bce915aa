/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The aperture part of a socket, in sk->proto_area: what this side knows of its connection,
 * and believes; the shared lines (abi/aperture.h) are only ever compared with it.
 *
 * Picture of one direction:
 *
 *	rd                      old.. | out.start                 wr
 *	 | written, not yet read ...  | ... in the newest ring     |
 *
 * Invariants (ap_check() in conn.c):
 *	P1  0 <= wr - rd_seen <= bytes of the rings that hold them.
 *	P2  `old` is there only while rd_seen is before out.start.
 *	P3  table.chan[side][chan] names this socket and its nonce, and its rings.
 *	P4  CLOSED: FIN or RST has been said to the peer.
 *	P5  EPOLLIN is not missing from sk->ready while the wish is out and unserved bytes are
 *	    known: what is not known has an event under way.
 */
#ifndef CORE_AP_AREA_H
#define CORE_AP_AREA_H

#include <assert.h>

#include "abi/segment.h"
#include "core/tcp/tcp.h"

#define AP_F_FIN_RCVD	(1u << 0)	/* the peer has finished */
#define AP_F_DEAD	(1u << 1)	/* reset, or the pair is over */
#define AP_F_WISHED	(1u << 2)	/* an event will come for the next byte */
#define AP_F_ROOM	(1u << 3)	/* an event will come when there is room */
#define AP_F_ACCEPTED	(1u << 4)	/* the peer's lines are this connection's */
#define AP_F_OOBINLINE	(1u << 5)
#define AP_F_ACTIVE	(1u << 6)	/* we connected: the channel is ours to free */
#define AP_F_RST_SENT	(1u << 7)
#define AP_F_NO_RING	(1u << 8)	/* there was no memory for a (larger) ring; the timer is armed */

#define AP_URG_NONE	0	/* no urgent byte, or it has been passed */
#define AP_URG_VALID	1	/* can be read with MSG_OOB */
#define AP_URG_READ	2	/* has been; still in the stream, to be passed over */

struct ap {
	/* fixed */
	uint32_t chan, nonce;
	uint8_t	 slot;		/* of seg->ap */
	uint8_t	 side;		/* ours: dir[side] is what we send */
	uint8_t	 urg_state;
	uint8_t	 pad0;
	uint32_t flags;		/* AP_F_* */

	/* sending */
	uint32_t wr, rd_seen;
	struct ap_ring_at out, old;
	uint32_t n_rings;
	uint32_t wish_seen;	/* the peer's want_data that was served last */
	uint32_t room_asked;	/* our want_room */
	uint32_t rsv_at, rsv_n;	/* the program writes rsv_n bytes from rsv_at on by itself; 0: it does not */

	/* receiving */
	uint32_t rd;
	uint32_t in_rings;	/* the peer's n_rings when `in` and `in_end` were taken */
	struct ap_ring_at in;
	uint32_t in_end;	/* if in_older: where `in` ends and the newest begins */
	uint32_t in_older;
	uint32_t wish_asked;	/* our want_data */
	uint32_t room_seen;	/* the peer's want_room that was served last */
	uint32_t urg;		/* position of the urgent byte */

	/* for people, and the idle timer */
	uint32_t wr_at_tick;
	uint32_t last_snd_ms, last_rcv_ms;
	uint64_t bytes_out, bytes_in;
	struct tcp_opts opts;
};
static_assert(sizeof(struct ap) <= SK_PROTO_BYTES, "fits in sk.proto_area");

static inline struct ap *ap_of(struct sk *sk) { return (struct ap *)(void *)sk->proto_area; }
static inline const struct ap *ap_of_const(const struct sk *sk)
{
	return (const struct ap *)(const void *)sk->proto_area;
}

#endif
