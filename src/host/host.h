/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only system calls that the core's executors make on its behalf: clock, entropy, bells,
 * kicks, futexes, mapping. Used by app, surrogate and agent; the simulator has its own.
 * No function here prints, and all leave errno as they found it unless they say otherwise.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "core/stack/turn.h"

demote_fn host_demote_best(void);		/* NULL: this CPU has none (line_best.c) */
uint64_t host_now(void);			/* ns, CLOCK_MONOTONIC */
uint64_t host_now_coarse(void);		/* the same, up to 4 ms old, for a quarter of the price */
uint32_t host_cpu(void);			/* where we run; a hint, as soon as it is told */
void	 host_entropy(void *p, size_t n);	/* getrandom(2) */
void	 host_nap(uint64_t ns);			/* sleeps; a signal ends it early */
uint32_t host_tid(void);			/* cached per thread */
void	 host_after_fork(void);			/* first in a forked child: forget the cached tid */
bool	 host_tid_alive(uint32_t tid);		/* some thread of our pid namespace has that id */

/* Descriptors through which a process reaches the devices and sleepers of one stack. */
struct host_fds {
	int xsk[N_VIS];
	int bell[N_WAITERS];	/* eventfds, non-blocking */
	uint32_t n_vis;
	int pipe;		/* where peers' rings come in (pair.c), non-blocking; 0 or -1: none */
};

/* Tells the devices named in `bells` (bit per VI) that their tx rings have work. Uses
 * write(2) of nothing on a non-blocking AF_XDP socket, which programs under seccomp may do. */
void host_kick(const struct host_fds *f, uint32_t bells);
/* The same, and again (the kernel sends 32 frames a call) until the tx ring is drained or no
 * progress is made. Returns the VIs whose device would not take all now: kick those later. */
must_check uint32_t host_kick_all(const struct stack_map *map, const struct host_fds *f, uint32_t bells);
void host_ring(const struct stack_map *map, const struct host_fds *f, uint32_t wakes);
void host_hear(const struct host_fds *f, int waiter);	/* drains one's own bell */
/* The peers named in `rings` (bit per pair; t->ap_rings) sleep: their pipes. After the turn. */
void host_ring_pairs(const struct stack_map *map, uint64_t rings);
/* Drains the stack's pipe. True: something was in it; then the caller must take a turn, or leave
 * DOOR_ERRAND_RX on the door, for it may have taken the ring that another sleeper was sent. */
bool host_hear_pipe(const struct host_fds *f);
bool host_hear_ring(const struct host_fds *f, bool own_user);	/* one of those in it, or the PEER_BELL */

/* Shared futex on the low half of the door word. */
void host_door_wait(const struct stack_map *map, uint64_t seen, uint64_t timeout_ns);
void host_door_wake(const struct stack_map *map);	/* all who sleep on it */

/* Maps the segment (read-write, or read-only for tools), checks header and geometry against
 * the file's size and our layout hash, fills the private map. -EPROTO, -EINVAL, -errno. */
must_check int host_map_segment(int fd, bool writable, struct stack_map *ret);
/* The kernel's TCP sysctls of the caller's network namespace; what cannot be read stays 0. */
struct mir_tcp;
void host_tcp_tuning(struct mir_tcp *ret);
must_check int host_map_mirror(int fd, struct stack_map *map);
/* Maps the four rings of an AF_XDP socket (XDP_MMAP_OFFSETS) into map->vi[vi]. */
must_check int host_map_rings(int xsk_fd, uint32_t ring_slots, struct vif_map *ret);
void host_unmap(struct stack_map *map, uint32_t ring_slots);

/* ---- apertures (pair.c) ---- */

/* Maps what the agent gave, after looking at seals, size and head, at `at` or, if that is NULL,
 * anywhere. What is at `at` must be a mapping of the same kind, blanked. -EPROTO, -errno. */
must_check int host_map_pair(int fd, uint32_t pair_id, const uint32_t stack[2], void *at,
			     struct ap_pair **ret);
must_check int host_map_front(int fd, bool writable, uint32_t stack_id, void *at, struct ap_front **ret);
/* Lets the memory go and keeps the addresses: who still peeks there without a turn reads zeros.
 * A pair's or a front's; `front` NULL asks for a blank front of its own. */
void host_blank_pair(struct ap_pair *pair);
must_check int host_blank_front(struct ap_front *front, struct ap_front **ret);
void host_unmap_pair(void *pair);		/* NULL is nothing */
void host_unmap_front(void *front);

/* For the agent, and for tests: a new front, a new pair, sealed; a pipe's two ends: its reading
 * end and its name, and an end by which one peer rings it. Descriptors, or -errno. */
must_check int host_new_front(uint32_t stack_id);
must_check int host_new_pair(uint32_t pair_id, const uint32_t stack[2]);
must_check int host_new_pipe(uint32_t *ret_port);
must_check int host_new_pipe_end(uint32_t port);

/* A new sealed segment of standard geometry, initialised (secret drawn, pools laid out).
 * Returns its descriptor, close-on-exec, or -errno. The caller is the agent, or a test. */
must_check int host_new_segment(uint32_t stack_id, uint32_t uid);

#endif
