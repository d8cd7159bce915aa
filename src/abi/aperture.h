/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures between two stacks of one host: the memory that both map (S2-SHQ, S2-DQ, S2-VQ).
 *
 *   pair (one sealed memfd for two stacks; a stack has one with itself too):
 *	head | lane[2] | channels | pool[2]
 *   front (one small memfd a stack): is anybody looking? Its stack writes, peers map it read-only
 *
 * Side 0 asked the agent for the pair, side 1 is the other stack. Lane d carries what side d
 * has to say: a ring of fixed events, and a ring of words for what varies in length
 * (datagrams). A channel is one connection: for each direction the writer's line, the reader's
 * line and the reader's wish, each on its reader's side of the cache. Bytes lie in circular
 * rings that the writer takes from its side's pool and gives back; a stream has none while it
 * is idle, and at most two while it changes from one size to another.
 *
 * Positions (wr, rd) count bytes of a stream modulo 2^32; in a ring of 2^shift bytes that begins
 * with the stream's byte `start`, position p lies at (p - start) & (2^shift - 1).
 *
 * Who may lie: the peer, about all of it, at any time. A reader copies, checks the copy against
 * its private position, and uses the copy; a wrong value costs that connection, or that pair,
 * and never a byte outside the pair (S2-MAP-03). What a side must be able to trust (which socket
 * a channel is, which memory is free) it keeps in its own segment (abi/segment.h: struct ap_slot).
 */
#ifndef ABI_APERTURE_H
#define ABI_APERTURE_H

#include <assert.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/types.h"

#define AP_PAIR_MAGIC	0x72696170616e6full	/* "onapair" */
#define AP_FRONT_MAGIC	0x746e6f7266616e6full	/* "onafront" */

/* ---- front: S0c's "are interrupts enabled?" ------------------------------------------------- */

struct ap_front {
	uint64_t magic;
	uint32_t stack_id;
	uint32_t n_arms;	/* armings so far; atomic: threads arm side by side */
	uint32_t pad[12];
	/* 0: somebody looks, or will soon; do not ring. Else the number of this arming: ring
	 * once for it (S0c-IRQ-04). Writer: threads of the stack, before they sleep. */
	uint32_t armed cacheline_aligned;
	uint32_t cpu;		/* where the thread that waited last did so, + 1; a hint */
	uint32_t pad_armed[14];
};
static_assert(sizeof(struct ap_front) == 128, "two lines");

/* ---- lanes: the dual event queue --------------------------------------------------------------- */

enum ap_event_type {
	AP_EV_NONE = 0,
	AP_EV_CONNECT = 1,	/* chan: a new channel; its name says who wants whom */
	AP_EV_LOOK = 2,		/* chan: data, room, an end, a reset or urgent data: see its lines */
	AP_EV_VAR = 3,		/* arg: that many words lie in the variable queue */
};

struct ap_event {		/* writer: the lane's side */
	uint32_t type;		/* enum ap_event_type */
	uint32_t chan;
	uint32_t nonce;		/* of the channel: an event of an earlier connection is stale */
	uint32_t arg;
};
static_assert(sizeof(struct ap_event) == 16, "four a line");

/* What begins each datagram in the variable queue; its bytes follow, padded to whole words. */
struct ap_dgram {
	uint32_t words;		/* of all, this header included */
	uint32_t len;		/* bytes of payload */
	struct ipaddr src, dst;
	uint16_t sport, dport;
	uint8_t	 ttl, tos;	/* as an IP header would have them */
	uint16_t pad;
};
static_assert(sizeof(struct ap_dgram) == 48, "whole words");

struct ap_lane {
	uint32_t wr cacheline_aligned;	/* WRPTR': events written; writer: the lane's side */
	uint32_t var_wr;	/* words written */
	uint32_t swept;		/* times the ring was full: the reader looks at every channel */
	uint32_t pad_w[13];
	uint32_t rd;		/* RDPTR': events taken; writer: the other side */
	uint32_t var_rd;
	uint32_t pad_r[14];
	struct ap_event ev[AP_N_EVENTS];
	uint32_t var[AP_VAR_WORDS];
};

/* ---- channels -------------------------------------------------------------------------------------- */

#define AP_TX_FIN	(1u << 0)	/* no byte comes after wr */
#define AP_TX_RST	(1u << 1)	/* reset: what was written may be read, then ECONNRESET */
#define AP_TX_GONE	(1u << 2)	/* this side has forgotten the channel: its memory may go */
#define AP_TX_URG	(1u << 3)	/* `urg` names an urgent byte */
#define AP_RX_SHUT	(1u << 0)	/* nobody will read: bytes that come now are answered by a reset */

struct ap_ring_at {
	uint32_t start;		/* stream position of its first byte */
	uint32_t page;		/* where in the writer's pool, in AP_PAGE bytes */
	uint32_t shift;		/* log2 of its bytes; 0: no ring */
};

struct ap_tx {			/* writer: who sends; on the way to the reader */
	uint32_t wr;		/* stream position after the last byte written */
	uint32_t flags;		/* AP_TX_* */
	uint32_t nonce;		/* the connection's: until it is here, the line is an earlier one's */
	uint32_t urg;		/* stream position of the urgent byte (AP_TX_URG) */
	uint32_t want_room;	/* changed: tell me when there is room again */
	uint32_t n_rings;	/* ring n is in ring[n & 1]; the newest is n_rings - 1 */
	struct ap_ring_at ring[2];
	uint32_t pad[4];
};
static_assert(sizeof(struct ap_tx) == 64, "a line");

struct ap_rx {			/* writer: who receives; on the way back */
	uint32_t rd;		/* stream position of the next byte to read */
	uint32_t pad[15];
};

/* Writer: who receives. Read at every send, so apart from rd: that line changes at every read, and
 * a writer with room for what it sends need not fetch it. */
struct ap_wish {
	uint32_t want_data;	/* changed: tell me of the next byte */
	uint32_t flags;		/* AP_RX_* */
	uint32_t pad[14];
};

struct ap_dir {
	struct ap_tx tx cacheline_aligned;
	struct ap_rx rx;
	struct ap_wish wish;
};

struct ap_name {		/* CONNECT's words (S2-CON-02, S2-NONCE-01); writer: who connects */
	struct ipaddr laddr, raddr;	/* as the connecting side sees them */
	uint16_t lport, rport;
	uint32_t nonce;
	uint32_t start[2];	/* positions at which the two directions begin */
	uint32_t wish;		/* the connecting side's want_data as it begins */
	uint32_t pad[3];
};
static_assert(sizeof(struct ap_name) == 64, "a line");

struct ap_chan {
	struct ap_name name cacheline_aligned;
	struct ap_dir dir[2];	/* dir[d]: bytes from side d */
};
static_assert(sizeof(struct ap_chan) == 7 * 64, "448 bytes a connection, both ends");

/* ---- the whole ---------------------------------------------------------------------------------------- */

struct ap_pair {		/* fixed by the agent; counts are those of base/limits.h */
	uint64_t magic;
	uint64_t layout_hash;
	uint32_t pair_id;
	uint32_t stack[2];	/* stack ids of side 0 and side 1 */
	uint32_t pad[9];
	struct ap_lane lane[2];
	struct ap_chan chan[AP_N_CHANS];	/* [0] unused; opened by side 0 if even, by side 1 if odd */
};

#define AP_POOL_OFF	((sizeof(struct ap_pair) + AP_PAGE - 1) & ~(uint64_t)(AP_PAGE - 1))
#define AP_PAIR_BYTES	(AP_POOL_OFF + 2ull * AP_POOL_PAGES * AP_PAGE)

#endif
