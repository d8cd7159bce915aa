/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The invariant that keeps a connection from being forgotten:
 *
 *  W1  Between turns, a connection that owes its peer anything (a SYN that is not answered, data or
 *	a FIN in flight, data or a FIN that has not been sent) has a retransmission or persist
 *	deadline, and the wheel holds it no later than that; or it is on the work list or the
 *	tx-wait list, which bring a turn by themselves.
 *
 * It does not depend on why something was not sent: windows, cwnd, pacing, Nagle, a missing frame
 * or neighbour may hold data back as they like, the deadline runs all the same. B7, B8 and B10 of
 * tcb.h say the same of the parts; the simulator asks this after every turn.
 */
#include "core/tcp/parts.h"

static bool owes(const struct sk *sk, const struct tcb *b)
{
	if (b->flags & TCB_F_DEFER)
		return false;
	if (sk->state == TCP_S_SYN_SENT || sk->state == TCP_S_SYN_RCVD)
		return true;
	return tcp_is_sync(sk->state) && (b->snd_una != b->write_seq || (b->flags & TCB_F_FIN_OWED));
}

bool tcp_is_watched(const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);

	if (sk->kind != SK_TCP || !owes(sk, b) || (sk->flags & (SK_F_WORK | SK_F_TXWAIT)))
		return true;
	return b->rtx_at != NEVER_NS && (sk->flags & SK_F_TIMER) && sk->tmr_at <= b->rtx_at;
}
