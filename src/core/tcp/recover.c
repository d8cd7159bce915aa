/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loss recovery: when cwnd is cut, what is marked lost, and when it was all a mistake
 * (RFC 8985 with SACK, RFC 6582 without, RFC 6298 5 after a time-out, RFC 3708 and RFC 3522
 * to undo). While it lasts, cwnd follows what is delivered (RFC 6937), so that neither the cut
 * nor a burst of losses silences the sender or makes it send bursts.
 *
 *	OPEN --dup or SACK--> DISORDER --something is lost--> RECOVERY --all acked--> OPEN
 *	any --time-out--> LOSS --all acked that was sent before it--> OPEN
 *
 * Invariants
 *  R1  cwnd is cut once per window: again only when recovery_point has been acknowledged, or
 *	by a time-out.
 *  R2  In RECOVERY and LOSS something at or above snd_una and below recovery_point is
 *	outstanding.
 *  R3  An undo restores cwnd and ssthresh to what they were, never to more than that.
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

/* Remembers what an undo would restore, and cuts ssthresh. */
static void cut(struct tcb *b)
{
	if (b->undo_retrans < 0 || b->ca_state < TCP_CA_RECOVERY) {
		b->prior_cwnd = b->cc.cwnd;
		b->prior_ssthresh = b->cc.ssthresh;
	}
	if (b->ca_state == TCP_CA_RECOVERY)	/* what tcp_prr() left says little */
		b->cc.cwnd = max_u32(b->cc.cwnd, b->cc.ssthresh);
	b->cc.ssthresh = tcp_cc_ops(&b->cc)->on_loss(&b->cc);
	b->undo_marker = b->snd_una;
	b->undo_retrans = 0;
	b->flags &= ~(TCB_F_RTO_TS | TCB_F_RTO_CUT);
	b->early_flags &= (uint8_t)~(EARLY_PROBED | EARLY_PROBE_AGAIN);
	b->recovery_point = b->snd_nxt;
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

	b->ca_state = b->n_sacked ? TCP_CA_DISORDER : TCP_CA_OPEN;
	tcp_rack_on_recovered(b);
	stop_reorder(t, sk);
	ev(t, EV_TCP_RECOVERED, sk->self, b->snd_una, b->cc.cwnd);
}

/* R3. */
static void undo(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	unmark_all(t, b);
	b->cc.cwnd = max_u32(b->cc.cwnd, b->prior_cwnd);
	b->cc.ssthresh = max_u32(b->cc.ssthresh, b->prior_ssthresh);
	if (!(b->flags & TCB_F_RTO_CUT)) {
		/* Reordering looked like loss: be slower to believe next time. */
		b->reord_seen++;
		b->dupthresh = (uint16_t)min_u32(b->dupthresh + 2, 64);
	}
	forget_undo(b);
	if (b->ca_state >= TCP_CA_RECOVERY)
		leave(t, sk);
}

/* RFC 3522: the peer echoes a timestamp older than our first retransmission, so it answers
 * the original. */
static bool was_spurious(const struct tcb *b, const struct tcp_seg *s, const struct tcp_acked *a)
{
	return a->acked && b->undo_marker != 0 && b->undo_retrans >= 0 && s->h.has_ts &&
	       s->h.ts_ecr != 0 && (b->flags & TCB_F_RTO_TS) && before(s->h.ts_ecr, b->undo_ts);
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

	cut(b);
	b->ca_state = TCP_CA_RECOVERY;
	tcp_prr_begin(b);
	ev(t, EV_TCP_FAST_RECOVERY, sk->self, b->snd_una, b->cc.cwnd);
}

/* RFC 8985 7.4.2: a probe has repaired a loss, which costs as much as one that was seen. */
static void repaired(struct tcb *b)
{
	cut(b);
	forget_undo(b);
	b->cc.cwnd = min_u32(b->cc.cwnd, max_u32(b->cc.ssthresh, 2u * b->mss));
}

static void mark_head(struct turn *t, struct tcb *b)
{
	if (b->txq.head != 0 && b->txq.head != b->tx_next)
		tcp_mark_lost(b, pkt_slot(t, b->txq.head));
}

/* Without SACK: a duplicate ACK says that one more segment has left the network. */
static void count_dupack(struct tcb *b, const struct tcp_acked *a)
{
	if (!a->dupack || (b->flags & TCB_F_SACK))
		return;
	b->n_sacked++;
	b->sacked_out = min_u32(b->n_sacked * b->mss, tcp_out_bytes(b));
}

static void in_open(struct turn *t, struct sk *sk, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);

	if (b->n_sacked == 0) {
		b->ca_state = TCP_CA_OPEN;
		stop_reorder(t, sk);
		return;
	}
	b->ca_state = TCP_CA_DISORDER;
	if (b->flags & TCB_F_SACK) {
		if (a->sacked || a->acked)
			tcp_rack_mark_lost(t, sk);
		if (b->lost_out == 0)
			return;
	} else if (b->n_sacked < b->dupthresh || !before(b->recovery_point, b->snd_una)) {
		/* RFC 6582 3.2 (2): not again for the window that was recovered before. */
		return;
	} else {
		mark_head(t, b);
	}
	enter_recovery(t, sk);
}

static void in_recovery(struct turn *t, struct sk *sk, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	uint32_t delivered = delivered_by(b, a), lost = b->lost_out;

	if (!before(b->snd_una, b->recovery_point)) {
		b->cc.cwnd = max_u32(b->cc.ssthresh, 2u * b->mss);
		if (!(b->flags & TCB_F_SACK)) {
			b->n_sacked = 0;
			b->sacked_out = 0;
		}
		leave(t, sk);
		return;
	}
	if (b->flags & TCB_F_SACK)
		tcp_rack_mark_lost(t, sk);
	else if (a->acked)	/* RFC 6582 3.2 (5): a partial ACK, the next hole is lost too */
		mark_head(t, b);
	if (delivered)
		tcp_prr(b, delivered, a->acked && b->lost_out <= lost);
}

static void in_loss(struct turn *t, struct sk *sk, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);

	if (!before(b->snd_una, b->recovery_point)) {
		if (!(b->flags & TCB_F_SACK)) {
			b->n_sacked = 0;
			b->sacked_out = 0;
		}
		leave(t, sk);
		return;
	}
	if (b->flags & TCB_F_SACK)
		tcp_rack_mark_lost(t, sk);
	else if (a->acked)
		mark_head(t, b);
}

static bool may_grow(const struct tcb *b, const struct tcp_acked *a)
{
	if (a->acked == 0 || b->ca_state == TCP_CA_RECOVERY)
		return false;
	if (b->ca_state == TCP_CA_LOSS)
		return true;
	/* RFC 5681 4.1, RFC 7661: not while something else is the limit. */
	if (b->cc.cwnd < b->cc.ssthresh)
		return a->in_flight >= b->cc.cwnd / 2 || (b->flags & TCB_F_CWND_FULL);
	return b->flags & TCB_F_CWND_FULL;
}

void tcp_recover_on_ack(struct turn *t, struct sk *sk, const struct tcp_seg *s, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	bool probed = b->early_flags & EARLY_PROBED;

	if (likely(b->ca_state == TCP_CA_OPEN && b->n_sacked == 0 && !a->dupack && !a->dsack &&
		   !probed)) {
		b->prr_delivered += a->acked;
		if (may_grow(b, a))
			tcp_cc_on_ack(&b->cc, a->acked, t->now, b->rtt.srtt_us8 >> 3);
		return;
	}
	count_dupack(b, a);
	/* A DSACK that answers a probe tells of no reordering. */
	if (a->dsack && !(probed && s->h.sack[0][1] == b->tlp_end))
		tcp_rack_on_dsack(b);
	if (probed && tcp_tlp_on_ack(b, s, a) && b->ca_state < TCP_CA_RECOVERY)
		repaired(b);
	if (b->undo_marker != 0 &&
	    (was_spurious(b, s, a) || (a->dsack && b->undo_retrans == 0)))
		undo(t, sk);
	switch (b->ca_state) {
	case TCP_CA_RECOVERY:
		in_recovery(t, sk, a);
		break;
	case TCP_CA_LOSS:
		in_loss(t, sk, a);
		break;
	default:
		b->prr_delivered += delivered_by(b, a);
		in_open(t, sk, a);
		break;
	}
	if (may_grow(b, a))
		tcp_cc_on_ack(&b->cc, a->acked, t->now, b->rtt.srtt_us8 >> 3);
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

/* RFC 6298 5.4-5.6, RFC 5681 3.1 (4): what has not arrived is presumed lost, and cwnd is one
 * segment. With SACK that is the first segment and what is overdue (RFC 8985 6.4): what was
 * sent a moment ago may well arrive. */
void tcp_recover_on_rto(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;

	if (b->ca_state != TCP_CA_LOSS || !before(b->snd_una, b->recovery_point))
		cut(b);
	b->ca_state = TCP_CA_LOSS;
	b->flags |= TCB_F_RTO_CUT;
	b->cc.cwnd = b->mss;
	b->early_flags &= (uint8_t)~(EARLY_PROBED | EARLY_PROBE_AGAIN);
	tcp_tmr_early(t, sk, TCP_EARLY_NONE, NEVER_NS);
	if (!(b->flags & TCB_F_SACK)) {
		b->n_sacked = 0;
		b->sacked_out = 0;
	}
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
