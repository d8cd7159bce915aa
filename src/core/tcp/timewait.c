/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TIME_WAIT (RFC 9293 3.6.1, 3.10.7.4; RFC 6191; RFC 1337).
 *
 * The slot stays, its queues go (all but what a program that still holds the descriptor has
 * not read). What comes late is acknowledged, so that a peer whose last ACK was lost gets on;
 * a reset ends the wait if it has the very next number, as in Linux with tcp_rfc1337 unset, and
 * is ignored otherwise. RFC 1337 would ignore all; but then a client whose SYN looks old, another
 * stack with another clock behind the same port, would be answered with ACKs until the wait is
 * over, and its resets are how it says so. A SYN that cannot be old opens a new connection.
 */
#include <netinet/in.h>

#include "core/tcp/parts.h"

void tcp_enter_timewait(struct turn *t, struct sk *sk)
{
	struct segment *seg = t->map->seg;
	struct tcb *b = tcb_of(sk);

	must(sk->state == TCP_S_TIME_WAIT);
	if (seg->n_tw >= TCP_MAX_TW) {
		if (b->ack_flags & ACK_SCHED)
			tcp_emit_ack(t, sk);
		tcp_done(t, sk, TE_EXPIRE, 0);
		return;
	}
	seg->n_tw++;
	b->flags |= TCB_F_IN_TW;
	flow_over(t, sk);	/* without a listener here, a new connection is for somebody else */
	tcp_purge_tx(t, sk);
	b->ooo_last = 0;
	pkt_put_queue(t, &b->ooo);
	b->rx_frames = 0;
	b->n_sacks = 0;
	if (sk->flags & SK_F_ORPHAN)
		tcp_rx_purge(t, sk);
	for (uint32_t slot = b->rxq.head, left = b->rxq.n; slot && left; left--) {
		b->rx_frames += pkt_slot(t, slot)->n_frags;
		slot = pkt_slot(t, slot)->next;
	}
	if (b->flags & TCB_F_ORPHANED) {	/* it is n_tw's to count now, as in Linux */
		seg->n_orphans--;
		b->flags &= ~TCB_F_ORPHANED;
	}
	tcp_tmr_stop_all(t, sk);
	tcp_tmr_misc(t, sk, t->now + TCP_TIMEWAIT_S * NS_PER_S);
	tcp_ready_sync(t, sk, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLHUP);
}

/* RFC 6191 2, as Linux: a larger timestamp, or without timestamps a larger sequence number,
 * says that the SYN is not an old duplicate. */
static bool is_new_syn(const struct tcb *b, const struct tcp_seg *s, bool paws)
{
	if ((s->h.flags & (TCP_F_SYN | TCP_F_RST | TCP_F_ACK)) != TCP_F_SYN || paws)
		return false;
	return after(s->seq, b->rcv_nxt) ||
	       ((b->flags & TCB_F_TS) && s->h.has_ts && before(b->ts_recent, s->h.ts_val));
}

/* Nobody would answer it: then it may be anybody's, and must not end the wait (Linux). */
static bool is_heard(struct turn *t, const struct tcp_seg *s)
{
	const struct sk *lsk = listen_find(t, IPPROTO_TCP, &s->in->dst, s->h.dport);

	return lsk && lsk->kind == SK_LISTEN;
}

bool tcp_timewait_input(struct turn *t, struct sk *sk, struct tcp_seg *s, uint32_t *ret_isn)
{
	struct tcb *b = tcb_of(sk);
	bool paws = tcp_paws_reject(t, b, s);

	if (is_new_syn(b, s, paws) && is_heard(t, s)) {
		/* A new ISN above all that this incarnation may have sent. */
		uint32_t isn = b->snd_nxt + 65535 + 2;

		ev(t, EV_TCP_TW_REUSE, sk->self, s->seq, isn);
		tcp_done(t, sk, TE_EXPIRE, 0);
		*ret_isn = isn ? isn : 1;
		return true;
	}
	if (s->h.flags & TCP_F_RST) {	/* RFC 1337 3, but for the very next number (Linux) */
		ev(t, EV_TCP_RST_IN, sk->self, s->seq, 0);
		if (!paws && s->seq == b->rcv_nxt && !(s->h.flags & TCP_F_SYN))
			tcp_done(t, sk, TE_EXPIRE, 0);
		return false;
	}
	if (paws)
		ev(t, EV_TCP_PAWS, sk->self, s->h.ts_val, b->ts_recent);
	if (!paws && s->h.has_ts && (b->flags & TCB_F_TS) && !after(s->seq, b->rcv_wup)) {
		b->ts_recent = s->h.ts_val;
		b->ts_recent_s = tcp_now_s(t);
	}
	/* RFC 9293 3.10.7.4: acknowledge a retransmitted FIN and restart the 2 MSL; anything else
	 * that carries text, or lies outside, gets the same answer, but not too often. */
	if (s->end_seq != s->seq || s->seq != b->rcv_nxt || paws) {
		if (!paws && (s->h.flags & TCP_F_FIN))
			tcp_tmr_misc(t, sk, t->now + TCP_TIMEWAIT_S * NS_PER_S);
		if ((s->h.flags & TCP_F_FIN) || tcp_oow_allowed(t, b))
			tcp_emit_ack(t, sk);
	}
	return false;
}

/* For port_get(): yes means that the slot may be freed, with all book-keeping done. Only
 * timestamps make it safe to send from the same tuple so soon (RFC 6191; Linux's tcp_tw_reuse:
 * after a second). */
bool tcp_tw_reusable(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (sk->kind != SK_TCP || sk->state != TCP_S_TIME_WAIT || !(sk->flags & SK_F_ORPHAN))
		return false;
	if (!(b->flags & TCB_F_TS) || tcp_now_s(t) == b->ts_recent_s)
		return false;
	ev(t, EV_TCP_TW_REUSE, sk->self, b->rcv_nxt, b->snd_nxt);
	tcp_release(t, sk);
	return true;
}
