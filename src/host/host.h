/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only system calls that the core's executors make on its behalf: clock, entropy, bells,
 * kicks, futexes, mapping. Used by app, surrogate and agent; the simulator has its own.
 * No function here prints, and all leave errno as they found it unless they say otherwise.
 */
#ifndef HOST_HOST_H
#define HOST_HOST_H

#include "core/stack/turn.h"

uint64_t host_now(void);			/* ns, CLOCK_MONOTONIC */
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
};

/* Tells the devices named in `bells` (bit per VI) that their tx rings have work. Uses
 * write(2) of nothing on a non-blocking AF_XDP socket, which programs under seccomp may do. */
void host_kick(const struct host_fds *f, uint32_t bells);
/* The same, and again (the kernel sends 32 frames a call) until the tx ring is drained or no
 * progress is made. Returns the VIs whose device would not take all now: kick those later. */
must_check uint32_t host_kick_all(const struct stack_map *map, const struct host_fds *f, uint32_t bells);
void host_ring(const struct stack_map *map, const struct host_fds *f, uint32_t wakes);
void host_hear(const struct host_fds *f, int waiter);	/* drains one's own bell */

/* Shared futex on the low half of the door word. */
void host_door_wait(const struct stack_map *map, uint64_t seen, uint64_t timeout_ns);
void host_door_wake(const struct stack_map *map);	/* all who sleep on it */

/* Maps the segment (read-write, or read-only for tools), checks header and geometry against
 * the file's size and our layout hash, fills the private map. -EPROTO, -EINVAL, -errno. */
must_check int host_map_segment(int fd, bool writable, struct stack_map *ret);
must_check int host_map_mirror(int fd, struct stack_map *map);
/* Maps the four rings of an AF_XDP socket (XDP_MMAP_OFFSETS) into map->vi[vi]. */
must_check int host_map_rings(int xsk_fd, uint32_t ring_slots, struct vif_map *ret);
void host_unmap(struct stack_map *map, uint32_t ring_slots);

/* A new sealed segment of standard geometry, initialised (secret drawn, pools laid out).
 * Returns its descriptor, close-on-exec, or -errno. The caller is the agent, or a test. */
must_check int host_new_segment(uint32_t stack_id, uint32_t uid);

#endif
