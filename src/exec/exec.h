/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Executors: short loops that take turns. app.c is the application's side (it may wait for
 * the door), surrogate.c the stand-in's (it never waits for it).
 */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include "host/host.h"

/* One process's end of one stack. */
struct exec {
	struct stack_map map;
	struct host_fds	 fds;
	uint32_t proc;		/* slot in seg->procs */
	enum executor who;
	int	 ctl_fd;	/* to the agent; -1: gone */
	uint32_t spin_ns;	/* how long to spin before sleeping (profile) */
};

/* Takes the turn, waiting for it if need be: spins a while, then sleeps on the door. */
void exec_begin(struct exec *x, struct turn *t);
/*
 * Ends it: runs the errands left on the door, releases, then kicks devices and rings bells.
 * `defer_kick`: leave the kick in seg->kicks_owed for exec_flush() or a later turn to pay.
 */
void exec_end(struct exec *x, struct turn *t, bool defer_kick);
/* Pays kicks that were deferred. Cheap when none are owed. */
void exec_flush(struct exec *x);
/* One full round in a turn already held: net_rx, net_tick if due, net_tx. Returns packets. */
uint32_t exec_round(struct exec *x, struct turn *t);

/* Requests to the agent: one message, one reply, both bounded by a timeout. -errno. */
must_check int exec_ask_neighbours(struct exec *x);	/* what the turn left in seg->neigh_asks */

/* The surrogate's whole life: returns when no process and no connection is left. */
struct surrogate_conf { uint32_t watchdog_ms; };
int exec_surrogate(struct exec *x, const struct surrogate_conf *conf);

#endif
