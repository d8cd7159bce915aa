/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clone() and clone3(), asked for by the program itself. Our table of descriptors lies in the process's
 * memory, and what this thread is doing in its thread-local variables. A child that has copies of both,
 * memory and descriptors, is what fork() makes. All others would have one of them right and the other not:
 *
 *	memory shared, the parent waits (CLONE_VM | CLONE_VFORK)
 *		Sockets return to the kernel first. The child, which borrows the parent's thread-local
 *		variables, leaves the table alone: its descriptors are its own, or nothing is in them that is
 *		ours. When it has gone the parent goes on as before.
 *	memory or descriptors shared in any other way
 *		Sockets return to the kernel, and parent and child stay there.
 */
#include "sock/handback.h"

#include <sched.h>

static void all_back(void)
{
	uint32_t fd, n = stack_have() ? min_u32(self.tab->n_used, N_FDS) : 0;

	for (fd = 0; fd < n; fd++)
		if (ent_is_ours(fd_get((int)fd)))
			(void)!return_to_kernel((int)fd, REASON_CLONE);
}

static bool any_left(void)
{
	uint32_t fd, n = stack_have() ? min_u32(self.tab->n_used, N_FDS) : 0;

	for (fd = 0; fd < n; fd++)
		if (ent_is_ours(fd_get((int)fd)))
			return true;
	return false;
}

/* For good. The table stays for `onramp why` to read. A connection that cannot return (it is just being
 * made) keeps us here: then the parent's calls are right, which are more. */
static void live_apart(void)
{
	uint32_t fd, n = self.tab ? min_u32(self.tab->n_used, N_FDS) : 0;

	all_back();
	self.apart = 1;
	self.reason = REASON_CLONE;
	if (!self.tab || any_left())
		return;
	for (fd = 0; fd < n; fd++)
		if (sk_is_undecided((int)fd))
			fd_kernel((int)fd, fd_get((int)fd), REASON_CLONE);
	self.tab->reason = REASON_CLONE;
	/* rel: the wrappers see the table as it was, or none */
	__atomic_store_n(&sk_fds.n, 0, __ATOMIC_RELEASE);
	__atomic_store_n(&self.state, ST_LEFT, __ATOMIC_RELEASE);	/* rel: pairs with acq in stack_have() */
}

enum sk_clone sk_clone_prepare(uint64_t flags)
{
	if (me.in_turn || self.apart || me.borrowed)
		return SK_CLONE_PLAIN;
	if (!(flags & (CLONE_VM | CLONE_FILES | CLONE_SETTLS | CLONE_THREAD))) {
		sk_fork_prepare();
		return SK_CLONE_FORK;
	}
	if ((flags & (CLONE_VM | CLONE_VFORK | CLONE_SETTLS | CLONE_THREAD)) != (CLONE_VM | CLONE_VFORK)) {
		live_apart();
		return SK_CLONE_PLAIN;
	}
	all_back();
	return SK_CLONE_BORROW;
}

void sk_clone_apart(void)
{
	if (!me.in_turn && !self.apart)
		live_apart();
}

void sk_clone_child(enum sk_clone how)
{
	if (how == SK_CLONE_FORK)
		sk_fork_child();
	else if (how == SK_CLONE_BORROW)
		me.borrowed = 1;
}

void sk_clone_parent(enum sk_clone how)
{
	if (how == SK_CLONE_FORK)
		sk_fork_parent();
	else if (how == SK_CLONE_BORROW)
		me.borrowed = 0;
}
