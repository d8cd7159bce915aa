/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * RACK (RFC 8985 6): a segment is lost when one sent later has arrived and it has not, a
 * round trip and a reordering window after it was sent. Time of sending is what counts, not
 * place in the stream, so a lost retransmission shows as a lost original does, and a tail
 * that hangs on few acknowledgements needs no third duplicate.
 *
 *	   sent	 a b c d	newest_at/rack_end: sent last of what has arrived
 *	arrived	   b   d	a, c: lost at at(x) + rack_rtt + window
 *
 * The window is nothing while no reordering was ever seen and there is other evidence (a
 * recovery under way, or dupthresh segments SACKed), which is RFC 6675's quickness; else a
 * quarter of the least RTT, times what DSACKs have taught, never more than SRTT.
 *
 * Only for peers that SACK. What is not yet due waits for the early deadline of timer.c.
 */
#include "core/tcp/parts.h"

#define REO_PERSIST	16u	/* recoveries for which what DSACKs taught is kept */

/* RFC 8985 5.2: segments of one batch share a time; the stream's order decides then. */
static bool sent_after(uint64_t at1, uint32_t end1, uint64_t at2, uint32_t end2)
{
	return at1 > at2 || (at1 == at2 && after(end1, end2));
}

/* RFC 8985 6.2 (1) to (3): p has just been acknowledged or SACKed; its marks still stand. */
void tcp_rack_delivered(struct turn *t, struct tcb *b, const struct pkt *p, struct tcp_acked *a)
{
	uint64_t us = (t->now - p->at) / NS_PER_US;

	if (!before(p->end_seq, b->rack_fack))
		b->rack_fack = p->end_seq;
	else if (!(p->mark & MARK_EVER) && (!a->reordered || before(p->seq, a->reord_low))) {
		a->reordered = true;
		a->reord_low = p->seq;
	}
	if (unlikely(p->mark & MARK_EVER)) {
		/* An answer to an earlier copy: it echoes what was said before this one left,
		 * or comes sooner than any answer could. */
		uint32_t ts = (uint32_t)(p->at / NS_PER_MS) + b->ts_off;

		if ((a->has_ecr && before(a->ecr, ts)) || us < b->rtt.min_us)
			return;
	}
	b->rack_rtt_us = (uint32_t)min_u64(us, TCP_RTO_MAX_US);
	if (sent_after(p->at, p->end_seq, b->newest_at, b->rack_end)) {
		b->newest_at = p->at;
		b->rack_end = p->end_seq;
	}
}

/* How far what came late was behind what came first, in segments: so many may be SACKED above a
 * segment that is not lost. (Linux's tcp_check_sack_reordering(), RFC 4653 has the idea.) */
void tcp_reordered(struct tcb *b, uint32_t segs)
{
	b->reord_seen++;
	if (segs > b->dupthresh)
		b->dupthresh = (uint16_t)min_u32(segs, TCP_MAX_REORDERING);
}

/* RFC 8985 6.2 (4): once per round trip a DSACK widens the window. */
void tcp_rack_on_dsack(struct tcb *b)
{
	if ((b->early_flags & EARLY_DSACK_ROUND) && before(b->snd_una, b->dsack_round))
		return;
	b->early_flags |= EARLY_DSACK_ROUND;
	b->dsack_round = b->snd_nxt;
	b->reo_mult += b->reo_mult < UINT8_MAX;
	b->reo_persist = REO_PERSIST;
}

/* RFC 8985 6.2 (4): a recovery that needed no wider window counts towards a narrower one. */
void tcp_rack_on_recovered(struct tcb *b)
{
	b->early_flags &= (uint8_t)~EARLY_DSACK_ROUND;
	b->reo_persist -= b->reo_persist != 0;
	if (b->reo_persist == 0)
		b->reo_mult = 1;
}

static uint64_t window_ns(const struct tcb *b)
{
	uint64_t us;

	if (b->reord_seen == 0 &&
	    (b->ca_state >= TCP_CA_RECOVERY || b->n_sacked >= b->dupthresh))
		return 0;
	if (b->rtt.srtt_us8 == 0)
		return NS_PER_MS;
	us = (uint64_t)(b->rtt.min_us / 4) * max_u32(b->reo_mult, 1);
	return min_u64(us, b->rtt.srtt_us8 >> 3) * NS_PER_US;
}

bool tcp_rack_is_overdue(const struct turn *t, const struct tcb *b, const struct pkt *p)
{
	return p->at + b->rack_rtt_us * NS_PER_US + window_ns(b) <= t->now;
}

/* RFC 8985 6.2 (5). One walk over what is in flight, which ends where first transmissions
 * begin that are younger than anything that has arrived. */
void tcp_rack_mark_lost(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;
	uint64_t patience = b->rack_rtt_us * NS_PER_US + window_ns(b), at = 0;

	for (; slot != 0 && slot != b->tx_next && left; left--) {
		struct pkt *p = pkt_slot(t, slot);

		slot = p->mark & MARK_SACKED ? tcp_sack_skip(t, b, p) : p->next;
		if (p->mark & (MARK_SACKED | MARK_LOST))
			continue;
		if (!sent_after(b->newest_at, b->rack_end, p->at, p->end_seq)) {
			if (!(p->mark & MARK_EVER))
				break;
			continue;
		}
		if (p->at + patience <= t->now)
			tcp_mark_lost(b, p);
		else
			at = max_u64(at, p->at + patience);
	}
	if (at != 0)
		tcp_tmr_early(t, sk, TCP_EARLY_REO, at);
	else if (b->early_kind == TCP_EARLY_REO)
		tcp_tmr_early(t, sk, TCP_EARLY_NONE, NEVER_NS);
}
