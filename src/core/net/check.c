/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The whole stack held against its invariants, the protocols' included: what may be asked
 * before a stack is trusted whose holder died in its turn. A segment whose headers were being
 * written when the pen fell still looks like a packet to stack_check(), and only TCP knows
 * that its length is not that of its sequence numbers.
 */
#include "core/net/net.h"

#include <errno.h>

#include "core/ap/ap.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"

int net_check_watched(struct turn *t)
{
	uint32_t n = min_u32(t->map->seg->used_sk, t->map->sk_mask + 1);

	for (uint32_t slot = 1; slot < n; slot++) {
		if (!tcp_is_watched(sk_slot(t, slot)))
			return condemn(t, WHY_TCP_INVARIANT);
	}
	return 0;
}

int net_check(struct turn *t)
{
	uint32_t n = min_u32(t->map->seg->used_sk, t->map->sk_mask + 1);
	enum executor who = t->who;
	int err = stack_check(t);

	t->who = EXEC_SURROGATE;	/* whoever asks wants an answer, not a panic */
	for (uint32_t slot = 1; slot < n && !err; slot++) {
		struct sk *sk = sk_slot(t, slot);

		if (sk->kind == SK_UDP)
			udp_check(t, sk);
		else if (sk->kind == SK_AP)
			ap_check(t, sk);
		else if (sk->kind != SK_FREE)
			tcp_check(t, sk);
		if (sk->kind != SK_FREE && sk->flags & SK_F_EMBRYO && !tcp_embryo_is_listed(t, sk))
			never(t, WHY_TCP_INVARIANT);
		if (t->map->seg->condemned)
			err = -EUCLEAN;
	}
	if (!err)
		err = net_check_watched(t);
	if (!err && !ap_books_are_sound(t)) {
		never(t, WHY_AP_INVARIANT);
		err = -EUCLEAN;
	}
	t->who = who;
	return err;
}
