/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How connections end, and what poll() says about them (Linux's tcp_done() and tcp_poll()).
 *
 * A socket's slot is free only when nobody holds it: no descriptor (SK_F_ORPHAN says so for
 * what once had one), no listener (SK_F_EMBRYO). One that a program still holds stays as
 * CLOSED, with its unread data and its error.
 */
#include "core/tcp/parts.h"

void tcp_purge_tx(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	pkt_put_queue(t, &b->txq);
	b->tx_next = 0;
	b->wmem = 0;
	b->sacked_out = b->lost_out = b->retrans_out = b->n_sacked = 0;
	sk->txq_bytes = 0;
}

void tcp_orphan(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (sk->flags & SK_F_ORPHAN)
		return;
	sk->flags |= SK_F_ORPHAN;
	b->flags |= TCB_F_ORPHANED;
	t->map->seg->n_orphans++;
	ev(t, EV_TCP_ORPHAN, sk->self, sk->state, b->txq.bytes);
}

static void uncount(struct turn *t, struct tcb *b)
{
	struct segment *seg = t->map->seg;

	if (b->flags & TCB_F_ORPHANED)
		seg->n_orphans--;
	if (b->flags & TCB_F_IN_TW)
		seg->n_tw--;
	b->flags &= ~(TCB_F_ORPHANED | TCB_F_IN_TW);
}

void tcp_release(struct turn *t, struct sk *sk)
{
	tcp_tfo_end(t, sk, false);
	tcp_embryo_unlink(t, sk);
	tcp_purge_tx(t, sk);
	tcp_rx_purge(t, sk);
	uncount(t, tcb_of(sk));
}

void tcp_free(struct turn *t, struct sk *sk)
{
	must(sk->kind == SK_TCP);
	tcp_release(t, sk);
	sk_put(t, sk);
}

void tcp_done(struct turn *t, struct sk *sk, enum tcp_event e, int err)
{
	struct tcb *b = tcb_of(sk);

	tcp_tfo_over(t, sk);
	tcp_tfo_end(t, sk, e == TE_R_RST);
	tcp_event(t, sk, e);
	tcp_tmr_stop_all(t, sk);
	tcp_purge_tx(t, sk);
	b->ooo_last = 0;
	pkt_put_queue(t, &b->ooo);
	b->rx_frames = 0;	/* counted anew below */
	b->n_sacks = 0;
	if (e != TE_CLOSE)	/* disconnected: not shut, but not connected either */
		b->flags |= TCB_F_DEAD;
	b->flags &= ~(TCB_F_FIN_OWED | TCB_F_SYN_OWED | TCB_F_DEFER | TCB_F_SYN_FO);
	b->ack_flags = 0;
	flow_remove(t, sk);
	if (sk->flags & SK_F_ORPHAN ||
	    ((sk->flags & SK_F_EMBRYO) && !(sk->flags & SK_F_ACCEPTQ))) {
		tcp_free(t, sk);
		return;
	}
	for (uint32_t slot = b->rxq.head, left = b->rxq.n; slot && left; left--) {
		b->rx_frames += pkt_slot(t, slot)->n_frags;
		slot = pkt_slot(t, slot)->next;
	}
	uncount(t, b);
	if (err)
		sk_error(t, sk, err);
	tcp_ready_sync(t, sk, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
}

/* ---- readiness ---------------------------------------------------------------------------------- */

/* Frames that sending leaves for receiving and acknowledging. */
bool tcp_pool_is_low(const struct turn *t, const struct tcb *b)
{
	uint32_t n = t->map->pkt_mask + 1;

	return pkt_n_free(t) < (b->txq.n ? n >> 4 : n >> 6);
}

/* Linux's sk_stream_is_writeable(): a third of the buffer is free, and what was not sent yet is less
 * than half of TCP_NOTSENT_LOWAT (whose other half lets a send that was woken go on). */
bool tcp_is_writeable(const struct turn *t, const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);

	/* Woken only when half of what may wait unsent is gone. */
	if (2 * (uint64_t)(b->write_seq - b->snd_nxt) >= tcp_notsent_lowat(t, b))
		return false;
	return sk->sndbuf >= b->wmem && sk->sndbuf - b->wmem >= b->wmem >> 1 &&
	       !tcp_pool_is_low(t, b);
}

bool tcp_is_readable(const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);
	uint32_t target = max_u32(sk->rcvlowat, 1);
	uint32_t unread = sk->rxq_bytes;

	/* An urgent byte that is to be passed over does not count. */
	if (b->urg_state != TCP_URG_NONE && !(b->flags & TCB_F_OOBINLINE) &&
	    b->urg_seq == b->copied_seq)
		target++;
	return unread >= target;
}

/* Linux's tcp_poll(), as a mask. */
static uint32_t poll_mask(const struct turn *t, const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);
	bool closed = sk->state == TCP_S_CLOSED;
	bool dead = closed && (b->flags & TCB_F_DEAD);
	bool rd_shut = dead || (sk->flags & SK_F_RD_SHUT) || (b->flags & TCB_F_FIN_RCVD);
	bool wr_shut = dead || (sk->flags & SK_F_WR_SHUT);
	uint32_t m = 0;

	if (closed || (rd_shut && wr_shut))
		m |= EPOLLHUP;
	if (rd_shut)
		m |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (sk->state != TCP_S_SYN_SENT && sk->state != TCP_S_SYN_RCVD) {
		if (tcp_is_readable(sk))
			m |= EPOLLIN | EPOLLRDNORM;
		if (wr_shut || tcp_is_writeable(t, sk))
			m |= EPOLLOUT | EPOLLWRNORM;
		if (b->urg_state == TCP_URG_VALID)
			m |= EPOLLPRI;
	}
	if (unlikely(b->flags & TCB_F_DEFER))	/* a write opens it */
		m |= EPOLLOUT | EPOLLWRNORM;
	if (sk_has_error(sk))
		m |= EPOLLERR;
	return m;
}

/* `edges`: bits whose cause has happened again, for EPOLLET. */
void tcp_ready_sync(struct turn *t, struct sk *sk, uint32_t edges)
{
	uint32_t m = poll_mask(t, sk);
	uint32_t set = (m & ~sk->ready) | (m & edges);
	uint32_t clear = sk->ready & ~m;

	if (set | clear)
		sk_ready(t, sk, set, clear);
	/* Frames that come back are nobody's event: who lacks them must look again. */
	if (unlikely(!(m & EPOLLOUT)) && tcp_may_send(sk->state) && tcp_pool_is_low(t, tcb_of(sk))) {
		tcb_of(sk)->flags |= TCB_F_NOSPACE;
		sk_txwait(t, sk);
	}
}

/* RFC 9293 3.10.4: with nobody left to read, FIN_WAIT_2 must not last for ever. Linux's
 * tcp_fin_timeout and TCP_LINGER2. */
bool tcp_on_fin_wait_2(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t s = b->linger2_s > 0 ? (uint32_t)b->linger2_s : tcp_tune_fin_timeout_s(t);

	if (!(sk->flags & SK_F_ORPHAN))
		return true;
	if (b->linger2_s < 0) {
		tcp_emit_rst(t, sk);
		tcp_done(t, sk, TE_ABORT, 0);
		return false;
	}
	tcp_tmr_misc(t, sk, t->now + s * NS_PER_S);
	return true;
}
