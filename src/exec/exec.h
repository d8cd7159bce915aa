/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Executors: short loops that take turns. app.c is the application's side (it may wait for
 * the door), surrogate.c the stand-in's (it never waits for it).
 */
#ifndef EXEC_EXEC_H
#define EXEC_EXEC_H

#include <stdbool.h>

#include "host/host.h"

/* One process's end of one stack. */
struct exec {
	struct stack_map map;
	struct host_fds	 fds;
	uint32_t proc;		/* slot in seg->procs */
	enum executor who;
	int	 ctl_fd;	/* to the agent; -1: gone */
	uint32_t spin_ns;	/* how long to spin before sleeping (profile) */

	int	 seg_fd, mirror_fd;
	uint32_t stack_id, ring_slots;
	uint32_t ctl_lock;	/* private futex: one request at a time on ctl_fd */
	uint32_t unkicked;	/* atomic, bit per VI: the device would not take all; kick again */

	/* apertures (pairs.c) */
	int	 front_fd, pipe_fd;	/* 0 or -1: none */
	uint32_t dir_slot;
	uint32_t pairs_lock;	/* private futex: who changes map.ap[] */
	uint32_t pairs_seen;	/* atomic: `changes` of the directory that have been acted upon */
	uint64_t pairs_at;	/* ns: after a failure, not before */
	uint64_t pairs_over;	/* atomic, bit per slot: over, and not yet given back */
	uint64_t new_bells;	/* atomic, bit per slot: map.ap[].bell_fd is a new number */
	struct { void *pair, *front; } spare[N_PAIRS];	/* blank mappings to be used again */
};

/* Descriptors and facts from which an exec is built: as the agent hands them out, as they
 * are kept for exec(2) (abi/fdtab.h), or as the surrogate finds them on its command line. */
struct plumbing {
	int	 seg_fd, mirror_fd, ctl_fd;	/* ctl_fd -1: no agent */
	int	 xsk_fd[N_VIS], bell_fd[N_WAITERS];
	uint32_t vi_ifindex[N_VIS], vi_flags[N_VIS];	/* VIF_F_* */
	uint32_t n_vis, n_bells, ring_slots, stack_id;
	int	 front_fd, pipe_fd;	/* of apertures; 0 or -1: none */
	uint32_t dir_slot;
};

/* ---- getting and losing a stack (plumb.c) ---------------------------------------------- */

/* Asks the agent for a new stack. Descriptors are moved to min_fd or above (0: as they come),
 * so that a program which counts on low numbers keeps them. -ECONNREFUSED: no agent;
 * -EPROTO: another build; the agent's refusal (-EDQUOT...); -errno. No proc slot yet. */
must_check int exec_open(struct exec *x, enum executor who, int min_fd);
/* Maps everything of a stack whose descriptors this process has; they become the exec's.
 * On failure they stay the caller's. */
must_check int exec_map(struct exec *x, const struct plumbing *p, enum executor who);
void exec_describe(const struct exec *x, struct plumbing *ret);	/* the reverse of exec_map() */
/* Unmaps and closes all descriptors; takes no turn. */
void exec_close(struct exec *x);

/* Claims a slot in seg->procs for `pid`; 0: for a child about to be forked (the surrogate
 * then waits for exec_joined() for some seconds before it takes the child for dead).
 * Takes a turn. -EUSERS: all N_PROCS are taken. */
must_check int exec_join(struct exec *x, uint32_t pid, uint32_t *ret_proc);
/* In the child: the slot its parent claimed is its own. Takes a turn. */
void exec_joined(struct exec *x, uint32_t proc);
/* Drops the slot and all references it has (net_proc_died), and gives back to the agent the
 * leases of listeners that end with it. Takes turns, and talks to the agent. */
void exec_leave(struct exec *x, uint32_t proc);
/* First thing in a forked child: new tid, own control connection, which joins the stack.
 * Takes no turn. Without an agent the child goes on without one; the reason is returned. */
int exec_after_fork_child(struct exec *x);

/* ---- apertures (pairs.c) ------------------------------------------------------------------- */

/* The directory has news for this process: pairs made or over. A load; no turn, any time. */
bool exec_pairs_changed(const struct exec *x);
/* Acts upon them: maps what is new, tells the core, lets go of what is over. Takes turns, and
 * talks to the agent. 0 also when another thread is at it; else -errno, to be tried again: then
 * some pairs are not mapped here, and the core treats their connections as not ready. */
int exec_pairs(struct exec *x);
/* The slot of the pair with that stack, which the agent makes if there is none. -ENOENT: there is
 * no such stack (any more); -EDQUOT: too many pairs; -errno. */
must_check int exec_pair_get(struct exec *x, uint32_t peer_stack, uint32_t *ret_slot);
/* Slots whose map.ap[].bell_fd has a number that it had not at the last call: plumbing, for the
 * caller to keep the program from. A slot keeps its number until exec_close(). */
uint64_t exec_pairs_new_bells(struct exec *x);

/* ---- turns (app.c) ------------------------------------------------------------------------ */

/* Takes the turn, waiting for it if need be: spins a while, then sleeps on the door. Always
 * returns with the turn; look at seg->condemned if it matters. A holder that is dead and that
 * no surrogate buries within a second is buried here. */
void exec_begin(struct exec *x, struct turn *t);
/* The same in a turn whose clock may be some milliseconds old: for what has no timers to keep. */
void exec_begin_coarse(struct exec *x, struct turn *t);
/*
 * Ends it: runs the errands left on the door, releases, then kicks devices and rings bells.
 * `defer_kick`: leave the kick in seg->kicks_owed for exec_flush() or a later turn to pay.
 */
void exec_end(struct exec *x, struct turn *t, bool defer_kick);
/* Pays kicks that were deferred. Cheap when none are owed. */
void exec_flush(struct exec *x);
/* One full round in a turn already held: net_rx (apertures, too), net_tick if due, net_tx. Returns
 * packets and events. */
uint32_t exec_round(struct exec *x, struct turn *t);

/* Gives idle ring memory of the pairs named in `slots` (t->trims) back to the kernel. Not in a
 * turn, and not by a program that may make no system calls. */
void exec_trim(struct exec *x, uint64_t slots);

/* Requests to the agent: one message, one reply, both bounded by a timeout. -errno. */
must_check int exec_ask_neighbours(struct exec *x);	/* what the turn left in seg->neigh_asks */
/* One more block of ephemeral ports, into the stack. Not in a turn. Worth calling when
 * seg->port_scarce is set, and once before the first connect(). */
must_check int exec_get_ports(struct exec *x);

/* ---- the surrogate (surrogate.c) ------------------------------------------------------------ */

struct surrogate_conf {
	uint32_t watchdog_ms;	/* 0: 10 */
	uint32_t app_pid;	/* the process the stack was made for, in our pid namespace */
	bool	 foreign_pids;	/* its pid namespace is not ours: pids in the segment mean nothing */
	const int *stop;	/* set by a signal handler: leave (between turns) */
	const void *sleep_mask;	/* sigset_t in force while asleep; NULL: as it is */
};
/* The surrogate's whole life: returns 0 when no process and no connection is left. */
must_check int exec_surrogate(struct exec *x, const struct surrogate_conf *conf);

#endif
