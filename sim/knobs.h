/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What can be turned about a world. A world is a function that sets these from the seed
 * (worlds.c); everything else in the simulator only reads them. _ppm: chance of a million.
 */
#ifndef SIM_KNOBS_H
#define SIM_KNOBS_H

#include "base/types.h"

struct sim;

#define END_CLIENT_CLOSES	(1u << 0)
#define END_SERVER_CLOSES	(1u << 1)
#define END_BOTH_CLOSE		(1u << 2)
#define END_HALF_CLOSE		(1u << 3)	/* both shut down writing, then read to the end */
#define END_CLIENT_EAGER	(1u << 4)	/* close() right after the last send() */
#define END_ABORT		(1u << 5)	/* one side resets, somewhere in the middle */
#define END_LINGER0		(1u << 6)	/* one side ends with SO_LINGER 0 */
#define END_ORDERLY		(END_CLIENT_CLOSES | END_SERVER_CLOSES | END_BOTH_CLOSE | END_HALF_CLOSE)

#define STRIP_MSS	(1u << 2)	/* by option number */
#define STRIP_WSCALE	(1u << 3)
#define STRIP_SACK	(1u << 4)
#define STRIP_TS	(1u << 8)

struct knobs {
	/* hosts and stacks */
	uint32_t n_hosts, n_stacks_a_host;
	uint32_t n_socks, n_pkts, ring_slots;	/* powers of two */
	uint32_t mtu;
	uint32_t v6_ppm;
	uint32_t n_blocks;	/* port blocks of each stack */
	bool aperture;		/* one host, whose stacks talk through apertures */
	bool no_vis;		/* stacks have no interface */
	uint32_t loopback_ppm;	/* conversations over loopback addresses */
	uint32_t sweep_ppm;	/* a lane says that events were left out */
	uint32_t ap_pages;	/* ring memory of each side of a pair; 0: all of it */
	uint32_t check_ppm;	/* stack_check() after a turn */

	/* wire */
	uint32_t loss_ppm, burst_ppm, burst_frames, reorder_ppm, dup_ppm, corrupt_ppm;
	uint64_t delay_ns, jitter_ns, bits_per_s;
	uint32_t queue_bytes;
	uint32_t path_mtu;	/* of a router between hosts; 0: none */
	uint32_t strip;		/* STRIP_*: options that a middlebox takes out of SYNs */
	uint32_t forge_ppm;	/* somebody who does not see the wire sends resets, SYNs and ACKs */
	uint32_t unreach_ppm;	/* a router says of a lost frame that it could not deliver it */
	uint64_t cut_at;	/* host 1 falls silent; 0: never */
	uint32_t mark_bytes;	/* a router marks ECT frames when its queue is longer (RFC 3168); 0: never */
	uint32_t mark_ppm;	/* ... or by chance */
	uint32_t ack_loss_ppm;	/* of segments without data */
	uint64_t ack_lump_ns;	/* segments without data leave together, so often */
	uint64_t police_bits;	/* a token bucket drops what is above so many bits a second; 0: none */
	uint32_t police_bytes;	/* its depth */
	uint64_t reorder_ns;	/* how late what is held back comes at most; 0: four delays */
	uint32_t tail_bytes;	/* the end of each stream is lost, the first time */
	uint64_t event_at;	/* from then on: */
	uint64_t silence_ns;	/*	nothing passes for so long, */
	uint64_t then_bits;	/*	bits_per_s is this, */
	uint32_t then_mtu;	/*	path_mtu is this */
	uint64_t flap_every_ns;	/* so often the route changes: delay, rate, MTU, or nowhere for a while; 0: never */

	/* device */
	uint32_t unfinished_ppm, glue_ppm;	/* as peers in this machine's memory do */
	uint64_t complete_ns;	/* completions come up to this late */
	uint32_t shuffle_ppm;	/* completions out of order */

	/* executors */
	uint32_t n_threads, n_procs;
	uint64_t cost_ns;	/* of a turn, at most */
	uint32_t hold_ppm;	/* turn held across other events */
	uint64_t hold_ns;
	uint32_t defer_ppm;	/* kick deferred */
	uint32_t mishap_ppm;	/* pool empty, on purpose */
	uint32_t slay_ppm;	/* process dies inside a turn, at a mishap site */
	uint32_t step_ppm, step_max;	/* ... or within a call, after so many instructions */
	uint64_t stop_every_ns, stop_ns;	/* processes stopped or busy; 0: never */
	uint64_t watchdog_ns;	/* the surrogate's */
	uint64_t kill_at;	/* a process dies; 0: none does */
	uint32_t kill_stack;
	uint32_t exit_ppm;	/* programs exit at the end instead of closing tidily */

	/* mirror */
	uint64_t neigh_ns;	/* resolution takes up to this; 0: all are known */
	uint64_t churn_every_ns;
	uint32_t mtu_churn_ppm;	/* of churns: the link's MTU changes */

	/* conversations */
	uint32_t n_talks;
	uint64_t spread_ns;	/* over which they start */
	uint64_t bytes_min, bytes_max;	/* of each direction that has data */
	uint32_t duplex_ppm, rounds_ppm, rounds_max, round_bytes_max;
	uint32_t rd_max, wr_max;
	uint32_t pause_ppm, think_ppm;
	uint64_t pause_ns;
	uint32_t ends;		/* END_* */
	uint32_t backlog;
	uint32_t et_ppm, epoll_ppm, spin_ppm;
	uint32_t fiddle_ppm;	/* options changed in the middle of it all, TCP_INFO asked for */
	uint32_t oob_ppm;	/* urgent bytes, read in line */
	uint32_t lowat_ppm;	/* SO_RCVLOWAT, of connections within a host */
	uint32_t tiny_ppm;	/* options for small writes: nodelay, cork, MSG_MORE */
	uint32_t sndbuf, rcvbuf;	/* 0: default */
	uint32_t giant_ppm;	/* receive buffers of up to 2 GiB: windows in units of up to 16 KiB */
	uint32_t keepidle_s;	/* keepalive on all; 0: off */
	uint32_t user_timeout_ms;
	bool may_fail;		/* failures of conversations are in order */
	bool may_leak;		/* the final count is not taken */
	bool hostile;
	uint64_t scribble_every_ns;	/* stack 0 over its pairs; 0: never */
	uint64_t limit_ns;	/* of virtual time */

	uint32_t n_grams, gram_n, gram_bytes_max;
};

struct world {
	const char *name, *about;
	void (*set)(struct sim *w, struct knobs *k);
	uint32_t share;		/* of the seeds, when all worlds are run */
};
extern const struct world worlds[];
extern const uint32_t n_worlds;

#endif
