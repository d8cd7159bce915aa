/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Last descriptors: of a socket, and of a whole process.
 *
 * A process that dies does not say close(). The surrogate, who holds a pidfd, says it for it,
 * in this order: its sleepers' slots, so that nobody rings for the dead; its sockets; its
 * epoll instances (sockets have left them by then); its slot, which is free again at the end.
 * Everything is found by walking the pools, which is slow and happens once a process.
 */
#include "core/net/net.h"

#include "core/ap/ap.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"

bool net_is_waiting_out(const struct sk *sk)
{
	return sk->kind == SK_TCP && sk->state == TCP_S_TIME_WAIT;
}

void net_close(struct turn *t, struct sk *sk)
{
	switch (sk->kind) {
	case SK_LISTEN:
		ap_listen_stop(t, sk);
		tcp_close(t, sk);
		return;
	case SK_TCP:
		tcp_close(t, sk);
		return;
	case SK_AP:
		ap_close(t, sk);
		return;
	case SK_UDP:
		udp_close(t, sk);
		return;
	default:
		never(t, WHY_SK_KIND);
	}
}

/* Taken from the pool in the turn in which its maker died, before it was anybody's. Between
 * turns there is none: who makes a socket takes its reference in the same turn. */
static bool is_nobodys(const struct sk *sk)
{
	return sk->procs == 0 && !(sk->flags & (SK_F_ORPHAN | SK_F_EMBRYO));
}

static void drop_socks(struct turn *t, uint32_t proc)
{
	uint32_t n = min_u32(t->map->seg->used_sk, t->map->sk_mask + 1);

	for (uint32_t slot = 1; slot < n; slot++) {
		struct sk *sk = sk_slot(t, slot);

		if (sk->kind == SK_FREE)
			continue;
		if (is_nobodys(sk) || (sk->procs & 1ull << proc && sk_unref(t, sk, proc)))
			net_close(t, sk);
	}
}

static void drop_epolls(struct turn *t, uint32_t proc)
{
	uint32_t n = min_u32(t->map->seg->used_ep, t->map->ep_mask + 1);

	for (uint32_t slot = 1; slot < n; slot++) {
		struct ep *ep = ep_at(t, (ep_h){ slot });

		if (!ep->live || !(ep->procs & 1ull << proc))
			continue;
		ep->procs &= ~(1ull << proc);
		if (!ep->procs)
			ep_put(t, (ep_h){ slot });
	}
}

/* It may have died between its turn and the ring it owed a peer, for an event that the peer's
 * sleeper does not know of (V1 of core/ap/lane.c leans on the ring): all are rung now. */
static void ring_peers(struct turn *t)
{
	uint32_t n = min_u32(t->map->seg->n_ap, N_PAIRS);

	for (uint32_t i = 0; i < n; i++) {
		const struct ap_slot *s = &t->map->seg->ap[i];

		if (s->pair_id && !s->over && !s->is_self)
			t->ap_rings |= 1ull << i;
	}
}

void net_proc_died(struct turn *t, uint32_t proc)
{
	struct proc_slot *p = &t->map->seg->procs[proc & (N_PROCS - 1)];

	must(proc < N_PROCS);
	ev(t, EV_PROC_DIED, 0, p->pid, proc);
	waiter_reap(t, proc);
	ring_peers(t);
	drop_socks(t, proc);
	drop_epolls(t, proc);
	*p = (struct proc_slot){ .state = PROC_FREE };
}
