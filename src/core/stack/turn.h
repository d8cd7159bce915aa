/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The turn: the right to run a stack.
 *
 * It lives on the executor's own C stack. Whoever holds one holds the stack's lock; time
 * stands still in it; what it owes the world when it ends (bells to ring, sleepers to wake)
 * is written in it and paid after the release, outside the lock.
 *
 * Invariants
 *  T1  An errand bit is set on the door only while somebody holds the turn, and a turn is not
 *      released while an errand bit is set (turn_end says so and the executor goes round
 *      again); so no errand is lost.
 *  T2  No system call, no sleep and no log line inside a turn.
 *  T3  Every function that touches the segment takes the turn first.
 *  T4  `now` never goes back within a stack.
 *
 * Lock order: fd table (sock/) -> turn. Nothing else nests.
 */
#ifndef CORE_STACK_TURN_H
#define CORE_STACK_TURN_H

#include "abi/mirror.h"
#include "abi/segment.h"
#include "abi/vif.h"
#include "base/must.h"
#include "base/types.h"

enum executor { EXEC_NONE = 0, EXEC_APP = 1, EXEC_SURROGATE = 2, EXEC_SIM = 3, EXEC_ADAPTER = 4 };

/* Sum of bytes as 16-bit words in memory order, not folded, not complemented (base/csum.h). */
typedef uint64_t (*csum_fn)(const void *p, size_t n, uint64_t sum);
/* Moves n bytes' cache lines towards other cores; a hint. */
typedef void (*demote_fn)(const void *p, size_t n);

/*
 * One process's private view of a mapped segment: pointers and geometry, checked once by
 * shm_attach() and never read from the segment again. Masks are sizes less one.
 */
struct ap_view {
	struct ap_pair	*pair;
	const struct ap_front *front;	/* the peer's */
	uint32_t	 pair_id;
	int		 bell_fd;	/* write end of the peer's pipe; the executor's */
};

struct stack_map {
	struct segment	*seg;
	uint32_t	*flow;		/* n_flow_buckets sk slots */
	uint32_t	*listen;	/* n_listen_buckets sk slots */
	struct ep	*eps;
	struct epitem	*epis;
	struct trace_rec *trace;
	struct pkt	*pkts;
	struct ap_table	*ap_tables;	/* n_pairs */
	uint8_t		*socks;		/* SK_BYTES each */
	uint8_t		*umem;
	uint32_t sk_mask, pkt_mask, flow_mask, listen_mask, ep_mask, epi_mask, trace_mask;
	uint32_t n_vis;			/* slots of vi[] in use */
	struct vif_map	 vi[N_VIS];
	/* Pairs mapped here (exec/pairs.c): base NULL or pair_id 0: not (yet). Changed in turns. */
	struct ap_view	 ap[N_PAIRS];
	struct ap_front	*front;		/* our own; NULL: no apertures */
	uint32_t	 n_pairs;
	const struct mirror *mirror;
	demote_fn	 demote;		/* NULL: none */
	csum_fn		 csum;		/* the fastest this CPU has */
	uint64_t	 bytes;		/* mapped */
	uint32_t	 strong;	/* 1: the segment is somebody else's: condemn, never panic */
};

/* What may fail on purpose in the simulator ("fail here?"); NULL elsewhere. */
enum mishap_site { MISHAP_PKT, MISHAP_SK, MISHAP_EP, MISHAP_EPITEM, MISHAP_TX_RING, N_MISHAP_SITES };
typedef bool (*mishap_fn)(void *arg, uint32_t site);

struct turn {
	const struct stack_map *map;
	uint64_t now;		/* ns, CLOCK_MONOTONIC; sampled once, when the turn is taken */
	enum executor who;
	uint32_t proc;		/* caller's slot in seg->procs */
	uint32_t budget;	/* packets this turn may still take from the rings */
	uint32_t bells;		/* bit per VI: frames were posted to its tx ring, tell the device */
	uint32_t wakes;		/* bit per waiter: ring its bell */
	uint64_t trims;		/* bit per pair: ring memory of it lies idle (core/ap/ap.h) */
	uint64_t ap_rings;	/* bit per pair: its other stack sleeps, write to its pipe */
	uint32_t asks;		/* 1: seg->neigh_asks or port_scarce wants the agent */
	uint32_t timers;	/* 1: the wheel or the tx-wait list moved: seg->deadline is to be found anew */
	uint32_t n_woken;	/* threads woken so far (S0c-IRQ-03) */
	mishap_fn mishap;
	void *mishap_arg;
};

#define TURN_BUDGET 256

/*
 * Takes the turn if the door is open. If it is shut, leaves `errand` (DOOR_ERRAND_*, or 0)
 * on the door for the holder and returns false. `tid` is the caller's thread id.
 * `now` may be older than seg->last_turn_at by clock skew between cores: it is raised to it.
 */
must_check bool turn_try(struct turn *t, const struct stack_map *map, enum executor who,
			 uint32_t tid, uint32_t proc, uint64_t now, uint64_t errand);

/*
 * Ends the turn: publishes seg->deadline, then releases the door unless errands are on it.
 * Returns 0 when released; else the errands, taken off the door, which the caller must run
 * (same turn, still held) before it calls again. `*ret_contended` tells, after a release,
 * that at least one futex waiter sleeps on the door: wake them all (S0c-LOCK-02).
 */
must_check uint64_t turn_end(struct turn *t, bool *ret_contended);

/* Leaves errands on a shut door without wanting the turn. False: it is open, nothing is left. */
must_check bool turn_leave_word(const struct stack_map *map, uint64_t errand);

/* Before sleeping on the door: sets DOOR_CONTENDED if it is held. False: it is open, try again. */
must_check bool turn_contend(const struct stack_map *map, uint64_t *ret_door);

/* Who holds the door now: 0, or the holder's tid. A peek; true only when it was read. */
uint32_t turn_holder(const struct stack_map *map);

/*
 * The strong side found the holder dead: takes its turn over (compare-and-swap on the very
 * door word that was seen). The caller then runs stack_check() and condemns or goes on.
 */
must_check bool turn_adopt(struct turn *t, const struct stack_map *map, enum executor who,
			   uint32_t tid, uint64_t now, uint32_t dead_tid);

#endif
