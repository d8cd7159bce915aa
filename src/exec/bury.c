/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a stack when somebody who used it dies.
 *
 * Outside a turn: its references are dropped as the kernel closes a dead process's files.
 * Inside one: the segment may be half-changed. net_check() decides whether it can be used;
 * if not, the stack is condemned, which costs its own sockets and nobody else's.
 */
#include "exec/bury.h"

#include <errno.h>
#include <sys/epoll.h>

#include "base/atomic.h"
#include "core/ap/ap.h"
#include "core/net/net.h"
#include "core/stack/stack.h"

void bury_processes(struct turn *t)
{
	struct segment *seg = t->map->seg;

	for (uint32_t i = 0; i < N_PROCS; i++) {
		/* acquire32(): pairs with rel in the surrogate's declare_dead() */
		if (acquire32(&seg->procs[i].state) != PROC_DEAD)
			continue;
		if (!peek32(&seg->condemned)) {
			net_proc_died(t, i);
			continue;
		}
		/* Its sockets were given up together with all others. */
		poke32(&seg->procs[i].pid, 0);
		/* release32(): pairs with acq in exec_join() */
		release32(&seg->procs[i].state, PROC_FREE);
	}
}

void bury_everybody(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint32_t n = min_u32(seg->used_sk, t->map->sk_mask + 1);
	uint64_t named = 0;

	for (uint32_t slot = 1; slot < n; slot++)
		if (sk_slot(t, slot)->kind != SK_FREE)
			named |= sk_slot(t, slot)->procs;
	for (uint32_t i = 0; i < N_PROCS; i++) {
		/* acquire32(): pairs with rel in exec_join(): who is live now has joined since */
		uint32_t state = acquire32(&seg->procs[i].state);

		if (state != PROC_LIVE && (state != PROC_FREE || named >> i & 1))
			poke32(&seg->procs[i].state, PROC_DEAD);
	}
	bury_processes(t);
}

void bury_stack(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint32_t n = min_u32(seg->used_sk, t->map->sk_mask + 1);

	/* Lists cannot be believed any more, so none is walked: each slot by itself. */
	for (uint32_t slot = 1; slot < n; slot++) {
		struct sk *sk = sk_slot(t, slot);

		if (sk->kind == SK_FREE)
			continue;
		if (!sk->err)
			sk->err = ECONNRESET;
		poke32(&sk->ready, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP);
	}
	ap_bury(t);
	t->wakes = UINT32_MAX;
	t->bells = 0;
	poke32(&seg->kicks_owed, 0);
}

/* It may have died with an event in its hand, off the lane and not yet done. What events are about
 * stands in the channels: the next poll looks at all of them, once. */
static void look_again(struct segment *seg)
{
	uint32_t n = min_u32(seg->n_ap, N_PAIRS);

	for (uint32_t i = 0; i < n; i++)
		for (uint32_t k = 0; k < 2; k++) {
			poke32(&seg->ap[i].swept[k], seg->ap[i].swept[k] - 1);
			poke32(&seg->ap[i].sweep_at[k], 0);
		}
	/* And with wakes and rings that nobody else knows of: net_proc_died() pays those. */
}

bool bury_unsound(struct turn *t)
{
	struct segment *seg = t->map->seg;

	/* net_check() leaves out the dear parts except in one turn of 64: be that one. */
	poke32(&seg->n_turns, (peek32(&seg->n_turns) + 63) & ~63u);
	if (!peek32(&seg->condemned) && net_check(t) == 0)
		return false;
	bury_stack(t);
	return true;
}

void bury_holder(struct turn *t)
{
	if (!bury_unsound(t))
		look_again(t->map->seg);
}
