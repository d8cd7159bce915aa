/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loss recovery: when cwnd is cut, what is marked lost, and when it was all a mistake
 * (RFC 8985 with SACK, RFC 6582 without, RFC 6298 5 after a time-out, RFC 3168 for marks; RFC 3708,
 * RFC 3522 and RFC 5682 to undo). While it lasts, cwnd follows what is delivered (RFC 6937), so that
 * neither the cut nor a burst of losses silences the sender or makes it send bursts.
 *
 *	OPEN --dup or SACK--> DISORDER --something is lost--> RECOVERY --all acked--> OPEN
 *	OPEN, DISORDER --ECE--> MARKED --all acked that was in flight--> OPEN
 *	any --time-out--> LOSS --all acked that was sent before it--> OPEN
 *
 * After a time-out the first segment goes again, and its acknowledgement decides (RFC 5682): new
 * data goes next, not what seems lost. If what was sent once is acknowledged, nothing was lost.
 *
 * Limited transmit (RFC 3042) needs no code of its own: a duplicate ACK, or a SACK, says that a
 * segment has left the network, so in_flight shrinks by one and output.c sends a new one.
 *
 * Invariants
 *  R1  cwnd is cut once per window: again only when recovery_point has been acknowledged, or by
 *	the second time-out in a row.
 *  R2  In MARKED, RECOVERY and LOSS something at or above snd_una and below recovery_point is
 *	outstanding.
 *  R3  An undo restores cwnd and ssthresh to what they were, never to more than that. Marks of
 *	congestion (RFC 3168) are never undone.
 *
 * An algorithm with CC_F_OWNS says itself what cwnd is; what is lost is decided here all the same.
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

static bool owns(const struct tcb *b)
{
	return b->cc_flags & CC_F_OWNS;
}

static void set_state(struct turn *t, struct tcb *b, enum tcp_ca s)
{
	const struct tcp_cc_ops *ops = tcp_cc_ops(&b->cc);

	if (ops->on_state && b->ca_state != s)
		ops->on_state(&b->cc, s, t->now, b->rate.delivered, b->lost_total);
	b->ca_state = (uint8_t)s;
}

/* What losses, time-outs and marks have in common; ssthresh is the new one. */
static void reduce(struct tcb *b, uint32_t ssthresh)
{
	b->cc.ssthresh = ssthresh;
	b->early_flags &= (uint8_t)~(EARLY_PROBED | EARLY_PROBE_AGAIN);
	b->recovery_point = b->snd_nxt;
	tcp_ecn_reduced(b);
}

/* Remembers what an undo would restore, and cuts ssthresh. */
static void cut(struct tcb *b)
{
	if (b->undo_marker == 0 || b->ca_state < TCP_CA_MARKED) {
		b->prior_cwnd = b->cc.cwnd;
		b->prior_ssthresh = b->cc.ssthresh;
	}
	if (b->ca_state == TCP_CA_RECOVERY && !owns(b))	/* what tcp_prr() left says little */
		b->cc.cwnd = max_u32(b->cc.cwnd, b->cc.ssthresh);
	reduce(b, tcp_cc_ops(&b->cc)->on_loss(&b->cc));
	b->undo_marker = b->snd_una;
	/* What was sent again before and is still under way counts, and its time: an answer to it is
	 * no answer to an original. -1: none yet; tcp_retransmit() counts from 0. */
	b->undo_retrans = b->retrans_out ? (int32_t)((b->retrans_out + b->mss - 1) / b->mss) : -1;
	b->flags &= ~TCB_F_RTO_CUT;
	if (b->retrans_out == 0)
		b->flags &= ~TCB_F_RTO_TS;
}

static void forget_undo(struct tcb *b)
{
	b->undo_marker = 0;
	b->undo_retrans = -1;
}

static void unmark_all(struct turn *t, struct tcb *b)
{
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;

	for (; slot != 0 && slot != b->tx_next && left; left--) {
		struct pkt *p = pkt_slot(t, slot);

		if (p->mark & MARK_LOST) {
			p->mark &= (uint8_t)~MARK_LOST;
			b->lost_out -= p->end_seq - p->seq;
		}
		slot = p->next;
	}
}

/* Nothing is out of order: nothing can be late. */
static void stop_reorder(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (b->ca_state == TCP_CA_OPEN && b->early_kind == TCP_EARLY_REO)
		tcp_tmr_early(t, sk, TCP_EARLY_NONE, NEVER_NS);
}

static void leave(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	set_state(t, b, b->n_sacked ? TCP_CA_DISORDER : TCP_CA_OPEN);
	b->frto = TCP_FRTO_OFF;
	tcp_rack_on_recovered(b);
	stop_reorder(t, sk);
	ev(t, EV_TCP_RECOVERED, sk->self, b->snd_una, b->cc.cwnd);
}

/* R3. */
static void undo(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	unmark_all(t, b);
	if (b->prior_ssthresh != 0) {
		if (tcp_cc_ops(&b->cc)->on_undo)
			tcp_cc_ops(&b->cc)->on_undo(&b->cc);
		else
			b->cc.cwnd = max_u32(b->cc.cwnd, b->prior_cwnd);
		if (b->prior_ssthresh > b->cc.ssthresh) {
			b->cc.ssthresh = b->prior_ssthresh;
			b->ecn &= (uint8_t)~ECN_CWR_OWED;
		}
	}
	if (!(b->flags & TCB_F_RTO_CUT)) {
		/* Reordering looked like loss: be slower to believe next time. */
		tcp_reordered(b, b->dupthresh + 2u);
	}
	forget_undo(b);
	ev(t, EV_TCP_UNDO, sk->self, b->snd_una, b->cc.cwnd);
	if (b->ca_state >= TCP_CA_RECOVERY)
		leave(t, sk);
}

/* RFC 3522: the peer echoes a timestamp older than our first retransmission, so it answers the
 * original. RFC 3708: all that was sent again has been reported as received twice. */
static bool was_spurious(const struct tcb *b, const struct tcp_seg *s, const struct tcp_acked *a)
{
	if (b->undo_marker == 0 || b->undo_retrans < 0)
		return false;
	if (a->dsack && b->undo_retrans == 0)
		return true;
	return a->acked && s->h.has_ts && s->h.ts_ecr != 0 && (b->flags & TCB_F_RTO_TS) &&
	       before(s->h.ts_ecr, b->undo_ts);
}

/* Bytes that have arrived, in order or not, by this acknowledgement. */
static uint32_t delivered_by(const struct tcb *b, const struct tcp_acked *a)
{
	int32_t n = (int32_t)(b->snd_una + b->sacked_out - a->had);

	return n > 0 ? (uint32_t)n : 0;
}

static void enter_recovery(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (b->ca_state == TCP_CA_MARKED) {	/* cut for this window already (R1) */
		b->recovery_point = b->snd_nxt;
		forget_undo(b);
		set_state(t, b, TCP_CA_RECOVERY);
	} else {
		cut(b);
		set_state(t, b, TCP_CA_RECOVERY);
		if (!owns(b))
			tcp_prr_begin(b);
	}
	ev(t, EV_TCP_FAST_RECOVERY, sk->self, b->snd_una, b->cc.cwnd);
}

/* RFC 3168 6.1.2: a mark costs what a loss costs, once per window, and nothing is sent again. */
static void enter_cwr(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	const struct tcp_cc_ops *ops = tcp_cc_ops(&b->cc);

	forget_undo(b);
	reduce(b, ops->on_mark ? ops->on_mark(&b->cc) : ops->on_loss(&b->cc));
	set_state(t, b, TCP_CA_MARKED);
	if (!owns(b))
		tcp_prr_begin(b);
	ev(t, EV_TCP_CWR, sk->self, b->snd_una, b->cc.ssthresh);
}

/* RFC 8985 7.4.2: a probe has repaired a loss, which costs as much as one that was seen. */
static void repaired(struct tcb *b)
{
	cut(b);
	forget_undo(b);
	if (!owns(b))
		b->cc.cwnd = min_u32(b->cc.cwnd, max_u32(b->cc.ssthresh, 2u * b->mss));
}

static void mark_head(struct turn *t, struct tcb *b)
{
	if (b->txq.head != 0 && b->txq.head != b->tx_next)
		tcp_mark_lost(b, pkt_slot(t, b->txq.head));
}

/* Without SACK: a duplicate ACK says that one more segment has left the network. More of them than
 * there are segments: they were only late, and dupthresh was too low. */
static void count_dupack(struct tcb *b, const struct tcp_acked *a)
{
	uint32_t segs = tcp_out_bytes(b) / b->mss;

	if (!a->dupack || (b->flags & TCB_F_SACK))
		return;
	b->n_sacked++;
	if (b->n_sacked > max_u32(segs, 1)) {
		tcp_reordered(b, segs + 1);
		b->n_sacked = max_u32(segs, 1);
	}
	b->sacked_out = min_u32(b->n_sacked * b->mss, tcp_out_bytes(b));
}

static void forget_counted(struct tcb *b)
{
	if (b->flags & TCB_F_SACK)
		return;
	b->n_sacked = 0;
	b->sacked_out = 0;
}

static void in_open(struct turn *t, struct sk *sk, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);

	if (b->n_sacked == 0) {
		set_state(t, b, TCP_CA_OPEN);
		stop_reorder(t, sk);
		if (a->ece)
			enter_cwr(t, sk);
		return;
	}
	set_state(t, b, TCP_CA_DISORDER);
	if (b->flags & TCB_F_SACK) {
		if (a->sacked || a->acked)
			tcp_rack_mark_lost(t, sk);
		if (b->lost_out != 0)
			enter_recovery(t, sk);
		else if (a->ece)
			enter_cwr(t, sk);
		return;
	}
	/* RFC 6582 3.2 (2): not again for the window that was recovered before. */
	if (b->n_sacked < b->dupthresh || !before(b->recovery_point, b->snd_una)) {
		if (a->ece)
			enter_cwr(t, sk);
		return;
	}
	mark_head(t, b);
	enter_recovery(t, sk);
}

static void in_cwr(struct turn *t, struct sk *sk, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	uint32_t delivered = delivered_by(b, a);

	if (after(b->snd_una, b->recovery_point) || (b->snd_una == b->recovery_point && !b->n_sacked)) {
		if (!owns(b))
			b->cc.cwnd = max_u32(b->cc.ssthresh, 2u * b->mss);
		leave(t, sk);
		return;
	}
	if (b->flags & TCB_F_SACK) {
		if (b->n_sacked && (a->sacked || a->acked))
			tcp_rack_mark_lost(t, sk);
	} else if (b->n_sacked >= b->dupthresh) {
		mark_head(t, b);
	}
	if (b->lost_out != 0) {
		enter_recovery(t, sk);
		return;
	}
	if (delivered && !owns(b))
		tcp_prr(b, delivered, a->acked != 0);
}

static void in_recovery(struct turn *t, struct sk *sk, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	uint32_t delivered = delivered_by(b, a), lost = b->lost_out;

	if (!before(b->snd_una, b->recovery_point)) {
		if (!owns(b))
			b->cc.cwnd = max_u32(b->cc.ssthresh, 2u * b->mss);
		forget_counted(b);
		leave(t, sk);
		return;
	}
	if (b->flags & TCB_F_SACK)
		tcp_rack_mark_lost(t, sk);
	else if (a->acked)	/* RFC 6582 3.2 (5): a partial ACK, the next hole is lost too */
		mark_head(t, b);
	if (delivered && !owns(b))
		tcp_prr(b, delivered, a->acked && b->lost_out <= lost);
}

/* RFC 5682 3.1, and 2.1 without SACK. True: nothing more is to be marked or sent again now. */
static bool frto(struct turn *t, struct sk *sk, const struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);

	if (a->orig_acked && b->undo_marker != 0) {	/* (3b): it was not all lost */
		ev(t, EV_TCP_FRTO, sk->self, b->snd_una, b->recovery_point);
		undo(t, sk);
		return true;
	}
	if (after(b->snd_nxt, b->recovery_point)) {
		if (a->sacked || a->dupack)		/* (3a): what came is new data */
			b->frto = TCP_FRTO_OFF;
		return false;
	}
	if (a->acked == 0 || !before(b->snd_una, b->recovery_point))
		return false;
	b->recovery_point = b->snd_nxt;
	b->frto = TCP_FRTO_OFF;
	/* (2b): new data, if there is any that may go; output.c turns back if none does. */
	if (b->tx_next == 0 || !after(b->snd_una + b->snd_wnd, b->snd_nxt))
		return false;
	b->frto = TCP_FRTO_NEW;
	return true;
}

static void in_loss(struct turn *t, struct sk *sk, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);

	if (b->frto != TCP_FRTO_OFF && frto(t, sk, a))
		return;
	if (!before(b->snd_una, b->recovery_point)) {
		forget_counted(b);
		leave(t, sk);
		return;
	}
	if (b->flags & TCB_F_SACK)
		tcp_rack_mark_lost(t, sk);
	else if (a->acked)
		mark_head(t, b);
}

/* ---- congestion control hears of it ------------------------------------------------------------ */

static bool may_grow(const struct tcb *b, const struct tcp_acked *a)
{
	if (a->acked == 0 || a->ece || b->ca_state == TCP_CA_RECOVERY || b->ca_state == TCP_CA_MARKED)
		return false;
	/* RFC 5681 4.1, RFC 7661: not while something else is the limit. */
	return b->ca_state == TCP_CA_LOSS || tcp_usage_is_full(b);
}

static void tell(struct turn *t, struct tcb *b, const struct tcp_acked *a, uint32_t delivered)
{
	struct tcp_cc_sample s = {
		.now = t->now, .una = b->snd_una, .nxt = b->snd_nxt, .acked = a->acked, .delivered = delivered,
		.lost = b->lost_total - a->lost, .prior_in_flight = a->in_flight, .in_flight = tcp_in_flight(b),
		.rtt_us = a->rtt_us, .srtt_us = b->rtt.srtt_us8 >> 3, .min_rtt_us = b->rtt.min_us,
		.total = b->rate.delivered, .total_ce = b->rate.delivered_ce, .total_lost = b->lost_total,
		.rs_delivered = a->rs.delivered, .rs_interval_us = a->rs.interval_us,
		.rs_prior = a->rs.prior_delivered, .rs_valid = a->rs.valid, .app_limited = a->rs.app_limited,
		.ca_state = b->ca_state,
	};

	b->cc.app_limited = 0;
	if (likely(tcp_cc_ops(&b->cc)->on_sample))	/* cc_flags says so, and lies in the program's memory */
		tcp_cc_ops(&b->cc)->on_sample(&b->cc, &s);
	if (b->cc.app_limited)
		b->rate.app_limited = b->cc.app_limited;
}

static void control(struct turn *t, struct tcb *b, struct tcp_acked *a)
{
	uint32_t delivered = delivered_by(b, a);

	tcp_rate_on_ack(t, b, a, delivered);
	if (unlikely(b->cc_flags & CC_F_SAMPLES) || ((b->cc_flags & CC_F_HYSTART) && tcp_cc_in_first(&b->cc)))
		tell(t, b, a, delivered);
	if (!owns(b) && may_grow(b, a))
		tcp_cc_on_ack(&b->cc, a->acked, t->now, b->rtt.srtt_us8 >> 3);
}

/* What this acknowledgement says of the order in which things arrive. */
static void learn(struct tcb *b, const struct tcp_acked *a)
{
	if (a->reordered && before(a->reord_low, a->fack))
		tcp_reordered(b, (a->fack - a->reord_low + b->mss - 1) / b->mss);
}

void tcp_recover_on_ack(struct turn *t, struct sk *sk, const struct tcp_seg *s, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	bool probed = b->early_flags & EARLY_PROBED;

	if (likely(b->ca_state == TCP_CA_OPEN && b->n_sacked == 0 && !a->dupack && !a->dsack &&
		   !probed && !a->reordered && !a->ece)) {
		b->prr_delivered += a->acked;
		control(t, b, a);
		return;
	}
	learn(b, a);
	count_dupack(b, a);
	if (a->ece)		/* R3 */
		b->prior_ssthresh = 0;
	/* A DSACK that answers a probe tells of no reordering. */
	if (a->dsack && !(probed && s->h.sack[0][1] == b->tlp_end))
		tcp_rack_on_dsack(b);
	if (probed && tcp_tlp_on_ack(b, s, a) && b->ca_state < TCP_CA_MARKED)
		repaired(b);
	if (was_spurious(b, s, a))
		undo(t, sk);
	switch (b->ca_state) {
	case TCP_CA_RECOVERY:
		in_recovery(t, sk, a);
		break;
	case TCP_CA_LOSS:
		in_loss(t, sk, a);
		break;
	case TCP_CA_MARKED:
		in_cwr(t, sk, a);
		break;
	default:
		b->prr_delivered += delivered_by(b, a);
		in_open(t, sk, a);
		break;
	}
	control(t, b, a);
}

/* RFC 8985 6.3: what should have arrived by now is lost. */
void tcp_recover_on_reorder(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (!tcp_is_sync(sk->state) || b->ca_state == TCP_CA_OPEN)
		return;
	ev(t, EV_TCP_REORDER_END, sk->self, b->snd_una, b->lost_out);
	tcp_rack_mark_lost(t, sk);
	if (b->lost_out != 0 && b->ca_state < TCP_CA_RECOVERY)
		enter_recovery(t, sk);
	tcp_output(t, sk);
}

/* Without SACK all, with it the first segment and what is overdue (RFC 8985 6.4): what was sent a
 * moment ago may well arrive. */
static void mark_for_rto(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;

	for (; slot != 0 && slot != b->tx_next && left; left--) {
		struct pkt *p = pkt_slot(t, slot);

		/* RFC 2018 8: a peer may renege; the first segment goes whatever it said. */
		if (slot == b->txq.head && (p->mark & MARK_SACKED)) {
			uint8_t ever = p->mark & MARK_EVER;

			tcp_unmark(b, p);
			p->mark = ever;
		}
		if (slot == b->txq.head || !(b->flags & TCB_F_SACK) ||
		    tcp_rack_is_overdue(t, b, p))
			tcp_mark_lost(b, p);
		slot = p->next;
	}
}

/* RFC 6298 5.4-5.6, RFC 5681 3.1 (4): what has not arrived is presumed lost, and cwnd is one
 * segment more than what is still thought to be under way. */
void tcp_recover_on_rto(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	bool fresh = b->ca_state < TCP_CA_RECOVERY;

	/* So many duplicates and no retransmission: dupthresh is too high (as Linux). */
	if (fresh && b->n_sacked >= TCP_DUPTHRESH)
		b->dupthresh = (uint16_t)min_u32(b->dupthresh, TCP_DUPTHRESH);
	/* R1. */
	if (b->ca_state < TCP_CA_MARKED || !before(b->snd_una, b->recovery_point) ||
	    (b->ca_state == TCP_CA_LOSS && b->n_rtx == 1))
		cut(b);
	set_state(t, b, TCP_CA_LOSS);
	b->recovery_point = b->snd_nxt;
	b->flags |= TCB_F_RTO_CUT;
	b->early_flags &= (uint8_t)~(EARLY_PROBED | EARLY_PROBE_AGAIN);
	tcp_tmr_early(t, sk, TCP_EARLY_NONE, NEVER_NS);
	forget_counted(b);
	mark_for_rto(t, sk);
	b->cc.cwnd = tcp_in_flight(b) + b->mss;
	/* RFC 5682 2.1 (1): not within a recovery of another kind. */
	b->frto = fresh || b->n_rtx > 1 ? TCP_FRTO_ON : TCP_FRTO_OFF;
}

void tcp_recover_on_mtu(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;

	for (; slot != 0 && slot != b->tx_next && left; left--) {
		struct pkt *p = pkt_slot(t, slot);

		if (p->tot > b->mss)
			tcp_mark_lost(b, p);
		slot = p->next;
	}
}

void tcp_recover_on_syn(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;

	for (; slot != 0 && slot != b->tx_next && left; left--) {
		tcp_mark_lost(b, pkt_slot(t, slot));
		slot = pkt_slot(t, slot)->next;
	}
	b->recovery_point = b->snd_nxt;
	b->prior_ssthresh = 0;
	forget_undo(b);
	set_state(t, b, TCP_CA_LOSS);
}
