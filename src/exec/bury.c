/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a stack when somebody who used it dies.
 *
 * Outside a turn: its references are dropped as the kernel closes a dead process's files.
 * Inside one: the segment may be half-changed. stack_check() decides whether it can be used;
 * if not, the stack is condemned, which costs its own sockets and nobody else's.
 */
#include "exec/bury.h"

#include <errno.h>
#include <sys/epoll.h>

#include "core/net/net.h"
#include "core/stack/stack.h"

void bury_processes(struct turn *t)
{
	struct segment *seg = t->map->seg;

	for (uint32_t i = 0; i < N_PROCS; i++) {
		/* acq: pairs with rel in the surrogate's declare_dead() */
		if (__atomic_load_n(&seg->procs[i].state, __ATOMIC_ACQUIRE) != PROC_DEAD)
			continue;
		ev(t, EV_PROC_DIED, 0, seg->procs[i].pid, i);
		net_proc_died(t, i);
		seg->procs[i].pid = 0;
		/* rel: pairs with acq above: the slot is reused only when it is clean */
		__atomic_store_n(&seg->procs[i].state, PROC_FREE, __ATOMIC_RELEASE);
	}
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
		/* relaxed: the application peeks; bells follow after the release */
		__atomic_store_n(&sk->ready, EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDHUP,
				 __ATOMIC_RELAXED);
	}
	t->wakes = UINT32_MAX;
	t->bells = 0;
	/* relaxed: held turn; exec_flush() finds nothing to kick */
	__atomic_store_n(&seg->kicks_owed, 0, __ATOMIC_RELAXED);
}

void bury_holder(struct turn *t)
{
	ev(t, EV_ADOPTED, 0, t->who, 0);
	if (t->map->seg->condemned || stack_check(t) != 0)
		bury_stack(t);
}
