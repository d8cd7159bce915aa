/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other three entry points: what waited for room goes out, what is due happens, and when
 * somebody must come again.
 *
 * One pass over the tx-wait list a call: a socket that still cannot send goes to its tail
 * again and is met next time, at the latest after stack_deadline()'s millisecond.
 */
#include "core/net/net.h"

#include "core/ap/ap.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"
#include "core/vif/vif.h"

/* Sockets on the tx-wait list, at most as many as there are. */
static uint32_t n_waiting(const struct turn *t)
{
	uint32_t slot = t->map->seg->txwait_head & t->map->sk_mask, n = 0;

	for (; slot && n <= t->map->sk_mask; n++)
		slot = sk_slot(t, slot)->tx_next & t->map->sk_mask;
	return n;
}

void net_tx(struct turn *t)
{
	uint32_t n_vis = min_u32(t->map->n_vis, N_VIS);
	struct sk *sk;

	if (unlikely(net_is_condemned(t)))	/* N4 of rx.c */
		return;
	for (uint32_t vi = 0; vi < n_vis; vi++)
		vif_reap(t, vi);
	for (uint32_t n = n_waiting(t); n && (sk = sk_txwait_pop(t)); n--) {
		if (sk->kind == SK_UDP)
			udp_tx_ready(t, sk);
		else
			tcp_tx_ready(t, sk);
	}
}

void net_tick(struct turn *t)
{
	struct sk *sk;

	if (unlikely(net_is_condemned(t)))
		return;
	for (uint32_t left = t->map->sk_mask; left && (sk = tmr_pop(t)); left--)
		if (sk->kind == SK_TCP || sk->kind == SK_LISTEN)	/* UDP has no deadlines */
			tcp_tick(t, sk);
		else if (sk->kind == SK_AP)
			ap_tick(t, sk);
}

uint64_t net_deadline(struct turn *t)
{
	return stack_deadline(t);
}
