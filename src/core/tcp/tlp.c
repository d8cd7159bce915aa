/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Tail loss probes (RFC 8985 7): when a flight goes unanswered for two round trips, one more
 * segment is sent, a new one if there is one, else the last again. Its acknowledgement shows
 * what was lost at the flight's end, or that only acknowledgements were, long before the
 * retransmission time-out, which costs the whole window.
 *
 *	flight  ->  (2 SRTT, nothing heard)  ->  probe  ->  ACK or SACK  ->  RACK
 *
 * A probe that repeats a segment may also repair the very loss it asks about. Then no SACK
 * tells of it: an acknowledgement past the probe without a DSACK does (7.4), and congestion
 * control hears of it.
 *
 * Deviations. A probe of new data is two segments, as in RFC 9002 6.2.4: if nothing but the
 * acknowledgement of the flight was lost, one alone is in order, and its own acknowledgement may
 * be delayed by 40 ms (RFC 9293 3.8.6.3); the second one makes it due. A recovery is watched too
 * while the reordering timer is not running: its last word may be lost like any other (RFC 9002
 * 6.2 does so; 7.2 would leave it to the time-out). And where the probe would not come before
 * the time-out, which is so with a single segment in flight on most paths, there is none, and
 * the time-out does what it always did (7.2 would send the probe at the time-out, and wait for
 * another one after it).
 */
#include "core/tcp/parts.h"

#define MAX_ACK_DELAY_US	200000u	/* RFC 8985 7.2: what a lone segment's ACK may wait */
#define CLOCK_SLACK_US		1000u	/* a tick of either host's clock */

/* RFC 8985 7.2: TLP_calc_PTO(). */
static uint64_t pto_ns(struct turn *t, const struct tcb *b)
{
	uint64_t us = (b->rtt.srtt_us8 >> 2) + CLOCK_SLACK_US;

	/* What fills a hole is acknowledged at once (RFC 5681 4.2). */
	if (b->ca_state == TCP_CA_OPEN && b->txq.head != 0 &&
	    pkt_slot(t, b->txq.head)->next == b->tx_next)
		us += MAX_ACK_DELAY_US;
	return us * NS_PER_US;
}

/* RFC 8985 7.2: nothing that arrives tells more, and the last probe has been answered. */
static bool is_quiet(const struct tcb *b)
{
	return (b->flags & TCB_F_SACK) &&
	       (b->ca_state == TCP_CA_OPEN || b->ca_state == TCP_CA_MARKED ||
		b->ca_state == TCP_CA_RECOVERY) &&
	       !(b->early_flags & EARLY_PROBED) && b->rtx_kind == TCP_RTX_RTO;
}

/* New data has left, or an acknowledgement has advanced. */
void tcp_tlp_arm(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint64_t at = NEVER_NS;

	if (b->early_kind == TCP_EARLY_REO)
		return;
	if (is_quiet(b) && b->rtt.srtt_us8 != 0) {
		at = t->now + pto_ns(t, b);
		if (at >= b->rtx_at)
			at = NEVER_NS;
	}
	tcp_tmr_early(t, sk, at == NEVER_NS ? TCP_EARLY_NONE : TCP_EARLY_TLP, at);
}

/* Something has arrived. A recovery asks again whenever it falls silent. */
void tcp_tlp_on_progress(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (b->ca_state == TCP_CA_RECOVERY)
		b->early_flags &= (uint8_t)~(EARLY_PROBED | EARLY_PROBE_AGAIN);
	tcp_tlp_arm(t, sk);
}

/* What to send again: what is known to be lost, which cwnd holds back, or else the last segment
 * not known to have arrived. */
static struct pkt *pick(struct turn *t, const struct tcb *b)
{
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;
	struct pkt *last = NULL;

	for (; slot != 0 && slot != b->tx_next && left; left--) {
		struct pkt *p = pkt_slot(t, slot);

		if (p->mark & MARK_LOST)
			return p;
		if (!(p->mark & MARK_SACKED))
			last = p;
		slot = p->mark & MARK_SACKED ? tcp_sack_skip(t, b, p) : p->next;
	}
	return last;
}

/* One segment may be all there is, or all there is room for. */
static bool send_new(struct turn *t, struct sk *sk)
{
	if (tcp_send_next(t, sk) != 0)
		return false;
	(void)!tcp_send_next(t, sk);
	return true;
}

/* RFC 8985 7.3: TLP_send_probe(). */
void tcp_tlp_fire(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t had = b->snd_nxt;
	struct pkt *p;

	if (!is_quiet(b) || !tcp_is_sync(sk->state) || b->snd_nxt == b->snd_una)
		return;
	if (b->lost_out == 0 && send_new(t, sk)) {
		b->early_flags &= (uint8_t)~EARLY_PROBE_AGAIN;
	} else {
		p = pick(t, b);
		/* As in send_lost() of output.c: what a window that has shrunk no longer covers stays here. */
		if (p && p->seq != b->snd_una && after(p->end_seq, b->snd_una + b->snd_wnd))
			p = NULL;
		if (!p || tcp_retransmit(t, sk, p) != 0)
			return;		/* the time-out still runs */
		b->early_flags |= EARLY_PROBE_AGAIN;
	}
	b->early_flags |= EARLY_PROBED;
	b->tlp_end = b->snd_nxt;
	ev(t, EV_TCP_TLP, sk->self, had, b->snd_nxt - had);
	tcp_tmr_rearm(t, sk, TCP_RTX_RTO);
}

/* RFC 8985 7.4.2: TLP_process_ack(). True: the probe has repaired a loss. */
bool tcp_tlp_on_ack(struct tcb *b, const struct tcp_seg *s, const struct tcp_acked *a)
{
	bool again = b->early_flags & EARLY_PROBE_AGAIN;
	bool dsack = a->dsack && s->h.sack[0][1] == b->tlp_end;
	bool beyond = after(s->h.ack, b->tlp_end);

	if (before(s->h.ack, b->tlp_end))
		return false;
	/* Delivered new data; the original came and the probe too; or a duplicate without a
	 * DSACK says so. */
	if (!again || dsack || beyond || (a->dupack && s->h.n_sack == 0))
		b->early_flags &= (uint8_t)~(EARLY_PROBED | EARLY_PROBE_AGAIN);
	return again && beyond && !dsack;
}
