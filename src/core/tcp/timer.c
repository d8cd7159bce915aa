/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events in, one deadline out. Six deadlines are kept in the control block; the socket's one
 * place on the wheel stands for the earliest of them and is moved only when that must become
 * earlier: pushing a time-out on costs a store, and the wheel's wake-up, when it comes too
 * early, only looks and arms again.
 *
 *	rtx_at		retransmission (RFC 6298 5), window probe (RFC 9293 3.8.6.1), SYN, SYN-ACK
 *	delack_at	delayed acknowledgement
 *	keep_at		keepalive (RFC 9293 3.8.4)
 *	misc_at		TIME_WAIT, and orphans in FIN_WAIT_2
 *	early_at	before rtx_at: reordering (RFC 8985 6.3), tail loss probe (RFC 8985 7)
 *	pace_due	output goes on: pace.c's
 *
 * The only file that writes them (ack.c clears and sets delack_at).
 */
#include "core/tcp/parts.h"

#define PROBE_AGAIN_NS	(2 * NS_PER_MS)

void tcp_tmr_sync(struct turn *t, struct sk *sk)
{
	const struct tcb *b = tcb_of(sk);
	uint64_t at = tcp_tmr_earliest(b);

	if (at < sk->tmr_at)
		tmr_arm(t, sk, at);
}

static uint64_t syn_rto_ns(uint32_t n)
{
	return min_u64((uint64_t)TCP_RTO_INIT_US << min_u32(n, 16), TCP_RTO_MAX_US) * NS_PER_US;
}

/* Linux's TCP_THIN_LINEAR_TIMEOUTS: a stream with little in flight hears of losses by time-outs only, so
 * the first of them do not wait twice as long each time. */
static bool backs_off(const struct sk *sk, const struct tcb *b, enum tcp_rtx kind)
{
	if (likely(!(b->flags & TCB_F_THIN)) || kind != TCP_RTX_RTO || sk->state != TCP_S_ESTABLISHED)
		return true;
	return b->n_rtx > TCP_THIN_RETRIES || b->snd_nxt - b->snd_una >= TCP_THIN_SEGS * (uint32_t)b->mss;
}

void tcp_tmr_rearm(struct turn *t, struct sk *sk, enum tcp_rtx kind)
{
	struct tcb *b = tcb_of(sk);

	b->rtx_kind = (uint8_t)kind;
	switch (kind) {
	case TCP_RTX_NONE:
		b->rtx_at = b->early_at = NEVER_NS;
		b->early_kind = TCP_EARLY_NONE;
		return;
	case TCP_RTX_SYN:	/* Linux: a second each at first, which is about when loss is over */
		b->rtx_at = t->now + syn_rto_ns(b->n_rtx - min_u32(b->n_rtx, tcp_tune_syn_linear(t)));
		break;
	case TCP_RTX_SYNACK:
		b->rtx_at = t->now + syn_rto_ns(b->n_rtx);
		break;
	default:
		b->rtx_at = t->now + tcp_rtt_rto_ns(&b->rtt, backs_off(sk, b, kind) ? b->n_rtx : 0);
		break;
	}
	tcp_tmr_sync(t, sk);
}

void tcp_tmr_early(struct turn *t, struct sk *sk, enum tcp_early kind, uint64_t at)
{
	struct tcb *b = tcb_of(sk);

	b->early_kind = (uint8_t)kind;
	b->early_at = at;
	tcp_tmr_sync(t, sk);
}

void tcp_tmr_misc(struct turn *t, struct sk *sk, uint64_t at)
{
	tcb_of(sk)->misc_at = at;
	tcp_tmr_sync(t, sk);
}

void tcp_tmr_stop_all(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	b->rtx_at = b->delack_at = b->keep_at = b->misc_at = b->early_at = b->pace_due = NEVER_NS;
	b->rtx_kind = TCP_RTX_NONE;
	b->early_kind = TCP_EARLY_NONE;
	tmr_arm(t, sk, NEVER_NS);
}

static uint64_t keepidle_ns(const struct tcb *b)
{
	return (uint64_t)b->keepidle_s * NS_PER_S;
}

void tcp_tmr_keepalive(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	b->keep_probes = 0;
	if (!(b->flags & TCB_F_KEEPALIVE) || !tcp_is_sync(sk->state)) {
		b->keep_at = NEVER_NS;
		return;
	}
	b->keep_at = t->now + keepidle_ns(b);
	tcp_tmr_sync(t, sk);
}

/* ---- giving up ------------------------------------------------------------------------------- */

/* Linux's retransmits_timed_out(): n doublings of the least RTO, as a time. */
static uint64_t patience_ms(uint32_t n)
{
	const uint32_t doublings = 9;	/* 200 ms << 9 first exceeds half of 120 s */

	if (n <= doublings)
		return ((2ull << n) - 1) * (TCP_RTO_MIN_US / 1000);
	return ((2ull << doublings) - 1) * (TCP_RTO_MIN_US / 1000) +
	       (uint64_t)(n - doublings) * (TCP_RTO_MAX_US / 1000);
}

/* RFC 9293 3.8.3 (R2), RFC 5482. */
static bool out_of_patience(struct turn *t, const struct sk *sk, const struct tcb *b)
{
	bool orphan = sk->flags & SK_F_ORPHAN;
	uint64_t ms;

	if (b->retrans_at == 0)
		return false;
	ms = (t->now - b->retrans_at) / NS_PER_MS;
	if (b->user_timeout_ms)
		return ms >= b->user_timeout_ms;
	return ms >= patience_ms(orphan ? tcp_tune_orphan_retries(t) : tcp_tune_retries2(t));
}

static void give_up(struct turn *t, struct sk *sk)
{
	const struct tcb *b = tcb_of(sk);
	int err = b->soft_err > 0 ? b->soft_err : ETIMEDOUT;

	ev(t, EV_TCP_TIMEOUT, sk->self, b->snd_una, b->n_rtx);
	tcp_done(t, sk, TE_EXPIRE, err);
}

/* ---- what fires; each returns false when sk is gone --------------------------------------------- */

static bool fire_rto(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	/* RFC 9293 3.8.6.1 (MUST-37): a shut window that is acknowledged keeps the connection. */
	bool shut = b->snd_wnd == 0 && tcp_now_ms(t) - b->last_ack_ms < TCP_RTO_MAX_US / 1000;

	if (b->snd_nxt == b->snd_una) {
		tcp_tmr_rearm(t, sk, TCP_RTX_NONE);
		return true;
	}
	tcp_tfo_on_timeout(t, sk, out_of_patience(t, sk, b));
	if (out_of_patience(t, sk, b) && !shut) {
		give_up(t, sk);
		return false;
	}
	b->n_rtx += b->n_rtx < UINT8_MAX;
	if (b->retrans_at == 0)
		b->retrans_at = t->now;
	ev(t, EV_TCP_RTO, sk->self, b->n_rtx, b->snd_una);
	tcp_recover_on_rto(t, sk);
	tcp_tmr_rearm(t, sk, TCP_RTX_RTO);
	tcp_output(t, sk);
	return true;
}

/* Probes cannot even leave, and the peer has not been heard for as long as a retransmission
 * would be tried. (Without probes unanswered: a peer that answers may keep its window shut.) */
static bool is_cut_off(const struct turn *t, const struct tcb *b, uint32_t max)
{
	uint64_t ms = patience_ms(max);

	return (t->now - b->retrans_at) / NS_PER_MS >= ms && tcp_now_ms(t) - b->last_ack_ms >= ms;
}

static bool fire_persist(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t max = sk->flags & SK_F_ORPHAN ? tcp_tune_orphan_retries(t) : tcp_tune_retries2(t);
	const struct pkt *p = b->tx_next ? pkt_slot(t, b->tx_next) : NULL;

	if (b->retrans_at == 0)
		b->retrans_at = t->now;
	if (b->n_probes == 0 ? is_cut_off(t, b, max) :
	    b->user_timeout_ms ? out_of_patience(t, sk, b) : b->n_probes >= max) {
		give_up(t, sk);
		return false;
	}
	b->n_rtx += b->n_rtx < UINT8_MAX;
	tcp_tmr_rearm(t, sk, TCP_RTX_PERSIST);
	if (!p || !after(p->end_seq, b->snd_una + b->snd_wnd)) {
		/* Held by the cork, a missing route or a missing frame, not by the peer. */
		b->flags |= TCB_F_PUSH;
		if (p)
			pkt_slot(t, b->tx_next)->flags |= PKT_F_PSH;
		tcp_output(t, sk);
		return true;
	}
	if (tcp_probe(t, sk)) {
		b->n_probes += b->n_probes < UINT8_MAX;
		return true;
	}
	/* What never left is no probe that the peer has not answered. Soon again: a neighbour
	 * that is asked for once a back-off may be forgotten each time before it is used. */
	b->n_rtx -= b->n_rtx > 0;
	b->rtx_at = t->now + PROBE_AGAIN_NS + (t->now - b->retrans_at) / 16;
	tcp_tmr_sync(t, sk);
	return true;
}

/* Linux: after the time that so many retransmissions would take if each waited twice as long as the one
 * before, whatever tcp_syn_linear_timeouts makes of it. */
static bool syn_is_late(const struct turn *t, const struct sk *sk, const struct tcb *b)
{
	uint64_t ms = b->user_timeout_ms;

	if (ms == 0 && sk->state == TCP_S_SYN_SENT)
		ms = ((2ull << min_u32(b->syncnt, 31)) - 1) * (TCP_RTO_INIT_US / 1000);
	return ms && (t->now - sk->born_at) / NS_PER_MS >= ms;
}

static bool fire_syn(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	bool embryo = sk->flags & SK_F_EMBRYO;
	uint32_t max = embryo || b->rtx_kind == TCP_RTX_SYNACK ? tcp_tune_synack_retries(t) :
		       b->syncnt + tcp_tune_syn_linear(t);
	bool over;
	int rc;

	max += !!(b->flags & TCB_F_FASTOPEN);	/* as Linux */
	over = b->n_rtx >= max || (b->n_rtx && syn_is_late(t, sk, b));
	tcp_tfo_on_timeout(t, sk, over);
	if (over) {
		if (b->flags & TCB_F_ACK_SEEN)	/* the peer thinks that it is connected */
			tcp_emit_rst(t, sk);
		give_up(t, sk);
		return false;
	}
	if (b->flags & TCB_F_FASTOPEN && b->n_rtx == 1 && b->snd_nxt != b->snd_una)
		tcp_recover_on_rto(t, sk);
	b->n_rtx++;
	b->total_retrans += !(b->flags & TCB_F_SYN_OWED);
	tcp_tmr_rearm(t, sk, (enum tcp_rtx)b->rtx_kind);
	ev(t, EV_TCP_RTO, sk->self, b->n_rtx, b->snd_una);
	rc = tcp_emit_syn(t, sk);
	if (rc == 0 || sk->state != TCP_S_SYN_SENT)
		return true;
	tcp_done(t, sk, TE_EXPIRE, -rc);
	return false;
}

static bool fire_rtx(struct turn *t, struct sk *sk)
{
	switch (tcb_of(sk)->rtx_kind) {
	case TCP_RTX_RTO:
		return fire_rto(t, sk);
	case TCP_RTX_PERSIST:
		return fire_persist(t, sk);
	case TCP_RTX_SYN:
	case TCP_RTX_SYNACK:
		return fire_syn(t, sk);
	default:
		tcp_tmr_rearm(t, sk, TCP_RTX_NONE);
		return true;
	}
}

static void fire_early(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint8_t kind = b->early_kind;

	b->early_at = NEVER_NS;
	b->early_kind = TCP_EARLY_NONE;
	if (kind == TCP_EARLY_REO)
		tcp_recover_on_reorder(t, sk);
	else
		tcp_tlp_fire(t, sk);
}

static void fire_delack(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	b->delack_at = NEVER_NS;
	b->flags &= ~TCB_F_WR_WAITS;
	if (!(b->ack_flags & ACK_SCHED))
		return;
	if (b->pingpong) {	/* no data came to carry it: not so interactive after all */
		b->pingpong = 0;
		b->ato_ms = TCP_DELACK_MIN_MS;
	} else {
		b->ato_ms = (uint16_t)min_u32(b->ato_ms * 2u, b->rtt.rto_us / 1000);
	}
	ev(t, EV_TCP_DELACK, sk->self, b->rcv_nxt, b->ato_ms);
	tcp_emit_ack(t, sk);
}

/* RFC 9293 3.8.4: only on request, only when idle; an unanswered probe alone is not death. */
static bool fire_keepalive(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t quiet_ms = min_u32(tcp_now_ms(t) - b->last_rcv_ms, tcp_now_ms(t) - b->last_ack_ms);
	uint64_t quiet = quiet_ms * NS_PER_MS;
	bool dead;

	b->keep_at = NEVER_NS;
	if (!(b->flags & TCB_F_KEEPALIVE) || !tcp_is_sync(sk->state))
		return true;
	if (b->snd_nxt != b->snd_una || b->tx_next) {	/* the retransmission timer watches */
		b->keep_at = t->now + keepidle_ns(b);
		return true;
	}
	if (quiet < keepidle_ns(b)) {
		b->keep_at = t->now + keepidle_ns(b) - quiet;
		return true;
	}
	dead = b->user_timeout_ms ? b->keep_probes && quiet_ms >= b->user_timeout_ms :
				    b->keep_probes >= b->keepcnt;
	if (dead) {
		tcp_emit_rst(t, sk);
		give_up(t, sk);
		return false;
	}
	b->keep_probes++;
	ev(t, EV_TCP_KEEPALIVE, sk->self, b->keep_probes, quiet_ms);
	b->keep_at = t->now + (uint64_t)b->keepintvl_s * NS_PER_S;
	if (tcp_emit_ctl(t, sk, b->snd_una - 1, TCP_F_ACK) != 0)
		b->keep_probes--;	/* it never left */
	return true;
}

void tcp_tick(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (sk->kind == SK_LISTEN)
		tcp_synq_tick(t, sk);
	if (sk->kind != SK_TCP)
		return;
	b->burst_segs = 0;
	if (b->misc_at <= t->now) {
		tcp_done(t, sk, TE_EXPIRE, 0);
		return;
	}
	if (b->rtx_at <= t->now && !fire_rtx(t, sk))
		return;
	if (b->early_at <= t->now)
		fire_early(t, sk);
	if (b->pace_due <= t->now) {
		tcp_output(t, sk);
		if (b->pace_due <= t->now)	/* it had nothing to send */
			b->pace_due = NEVER_NS;
	}
	if (b->delack_at <= t->now)
		fire_delack(t, sk);
	if (b->keep_at <= t->now && !fire_keepalive(t, sk))
		return;
	tcp_tmr_sync(t, sk);
}
