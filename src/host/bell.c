/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a turn owes the world, paid: doorbells of devices, bells of sleepers, the door's futex.
 *
 * A device is kicked by a write(2) of nothing, not by sendto(2): the least that a program
 * confined by seccomp still has (OpenSSH's pre-authentication child may write, and is killed
 * for sendto). The kernel takes it the same road (sock_write_iter -> xsk_sendmsg), and on
 * this kernel at 27 ns more of some 700. It does so only on a non-blocking descriptor;
 * one that is not is kicked by sendto(MSG_DONTWAIT), and where that is refused as well, by
 * poll(), which drives transmission in copy mode.
 */
#include "host/host.h"

#include <errno.h>
#include <linux/futex.h>

#include "base/atomic.h"
#include "core/stack/stack.h"
#include "host/sys.h"

/* The kernel sends TX_BATCH_SIZE (32) frames a call: a full ring in N_RING / 32 calls, and as
 * many again for what others post meanwhile. */
#define KICKS_MAX (2 * N_RING / 32)

/* 0: nothing left for the device to do; -EAGAIN: not all taken; other: no use to repeat. */
static int kick_once(int xsk)
{
	struct timespec zero = { 0, 0 };
	struct pollfd p = { .fd = xsk, .events = POLLOUT };
	long ret = sys_write(xsk, "", 0);

	if (ret == -EOPNOTSUPP || ret == -EPERM || ret == -EACCES || ret == -ENOSYS) {
		ret = sys_sendto(xsk, NULL, 0, MSG_DONTWAIT, NULL, 0);
		if (ret == -EPERM || ret == -EACCES || ret == -ENOSYS)
			ret = sys_ppoll(&p, 1, &zero, NULL) < 0 ? -EPERM : 0;
	}
	if (likely(ret >= 0))
		return 0;
	/* Batch ended, a frame was dropped by the device below, or its queue is full: more may
	 * be waiting. -ENXIO, -ENETDOWN, -EBADF: the interface is down or gone. */
	if (ret == -EAGAIN || ret == -EBUSY || ret == -ENOBUFS || ret == -EINTR || ret == -ENOMEM)
		return -EAGAIN;
	return (int)ret;
}

void host_kick(const struct host_fds *f, uint32_t bells)
{
	for (uint32_t vi = 0; vi < f->n_vis && vi < N_VIS; vi++)
		if (bells & (1u << vi))
			(void)kick_once(f->xsk[vi]);
}

/* The device's index of the tx ring: how far it has come. */
static uint32_t tx_taken(const struct vif_ring *tx)
{
	return peek32(tx->consumer);
}

/* True when the device would not take everything. */
static bool kick_drain(const struct vif_ring *tx, int xsk)
{
	uint32_t before = tx_taken(tx);

	for (int i = 0; i < KICKS_MAX; i++) {
		uint32_t after;

		if (likely(kick_once(xsk) != -EAGAIN))
			return false;
		after = tx_taken(tx);
		if (after == before)
			return true;
		before = after;
	}
	return true;
}

uint32_t host_kick_all(const struct stack_map *map, const struct host_fds *f, uint32_t bells)
{
	uint32_t left = 0;

	for (uint32_t vi = 0; vi < f->n_vis && vi < N_VIS; vi++) {
		if (!(bells & (1u << vi)) || !map->vi[vi].tx.consumer)
			continue;
		if (unlikely(kick_drain(&map->vi[vi].tx, f->xsk[vi])))
			left |= 1u << vi;
	}
	return left;
}

void host_ring(const struct stack_map *map, const struct host_fds *f, uint32_t wakes)
{
	static const uint64_t one = 1;

	for (; wakes; wakes &= wakes - 1) {
		int slot = __builtin_ctz(wakes);

		/* Full (-EAGAIN) is as good as rung. */
		if (waiter_ring(map, slot) && f->bell[slot] >= 0)
			(void)sys_write(f->bell[slot], &one, sizeof(one));
	}
}

void host_hear(const struct host_fds *f, int waiter)
{
	uint64_t times;

	must(waiter >= 0 && waiter < N_WAITERS);
	if (f->bell[waiter] >= 0)
		(void)sys_read(f->bell[waiter], &times, sizeof(times));
}

static uint32_t *door_low_half(const struct stack_map *map)
{
	/* Both CPUs we know are little-endian (the door's flags and executor are in these bits). */
	return (uint32_t *)(void *)&map->seg->door;
}

void host_door_wait(const struct stack_map *map, uint64_t seen, uint64_t timeout_ns)
{
	struct timespec to = { (time_t)(timeout_ns / NS_PER_S), (long)(timeout_ns % NS_PER_S) };

	/* Woken, late, interrupted or changed before we slept: the caller looks again anyway. */
	(void)sys_futex(door_low_half(map), FUTEX_WAIT, (uint32_t)seen, &to);
}

void host_door_wake(const struct stack_map *map)
{
	(void)sys_futex(door_low_half(map), FUTEX_WAKE, INT32_MAX, NULL);
}
