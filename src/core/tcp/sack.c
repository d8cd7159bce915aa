/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scoreboard (RFC 2018, RFC 2883, RFC 6675): the marks on txq's segments and their sums.
 *
 * What is lost is rack.c's to say.
 *
 * Invariants: B3 of tcb.h, and
 *  K1  arg[0] of a SACKED segment is 0 or names a segment behind it with nothing between them
 *	that is not SACKED. It stays true while the segment lives: a mark is only ever taken off
 *	the queue's head, and what is in front of a segment is freed before it is.
 *
 * Cost of an ACK that carries SACK: a walk over the holes, not over what lies between them, so a
 * window of ten thousand segments with ten holes costs ten steps.
 */
#include "core/tcp/parts.h"

/* The first segment behind p, which is SACKED, that is not (K1); 0: none. */
uint32_t tcp_sack_skip(struct turn *t, const struct tcb *b, struct pkt *p)
{
	uint32_t slot = p->arg[0] ? p->arg[0] : p->next, left = t->map->pkt_mask + 1;

	for (; slot != 0 && slot != b->tx_next && left; left--) {
		const struct pkt *q = pkt_slot(t, slot);

		if (!(q->mark & MARK_SACKED))
			break;
		slot = q->arg[0] ? q->arg[0] : q->next;
	}
	p->arg[0] = slot;
	return slot;
}

void tcp_unmark(struct tcb *b, struct pkt *p)
{
	uint32_t len = p->end_seq - p->seq;

	if (p->mark & MARK_SACKED) {
		b->sacked_out -= len;
		b->n_sacked--;
	}
	if (p->mark & MARK_LOST)
		b->lost_out -= len;
	if (p->mark & MARK_RETRANS)
		b->retrans_out -= len;
	p->mark = 0;
}

void tcp_mark_lost(struct tcb *b, struct pkt *p)
{
	uint32_t len = p->end_seq - p->seq;

	if (p->mark & (MARK_LOST | MARK_SACKED))
		return;
	if (p->mark & MARK_RETRANS) {
		p->mark &= (uint8_t)~MARK_RETRANS;
		b->retrans_out -= len;
	}
	p->mark |= MARK_LOST;
	b->lost_out += len;
	b->lost_total += len;
}

static void mark_sacked(struct turn *t, struct tcb *b, struct pkt *p, struct tcp_acked *a)
{
	uint32_t len = p->end_seq - p->seq;
	int64_t us = (int64_t)((t->now - p->at) / NS_PER_US);

	if (p->mark & MARK_LOST)
		b->lost_out -= len;
	if (p->mark & MARK_RETRANS)
		b->retrans_out -= len;
	p->mark = (uint8_t)((p->mark & ~(MARK_LOST | MARK_RETRANS)) | MARK_SACKED);
	p->arg[0] = 0;
	b->sacked_out += len;
	b->n_sacked++;
	b->delivered++;
	a->sacked += len;
	tcp_rack_delivered(t, b, p, a);
	tcp_rate_delivered(b, p, &a->rs);
	a->orig_acked |= !(p->mark & MARK_EVER) && !after(p->end_seq, b->recovery_point);
	if (!(p->mark & MARK_EVER) && a->rtt_us < 0)
		a->rtt_us = us;
}

/* RFC 2883 4: the first block reports a duplicate when it lies below the acknowledgement, or
 * inside the second block. */
static bool is_dsack(const struct tcp_hdr *h)
{
	const uint32_t *d = h->sack[0];

	if (before(d[0], h->ack))
		return true;
	return h->n_sack > 1 && !before(d[0], h->sack[1][0]) && !after(d[1], h->sack[1][1]);
}

static void take_dsack(struct turn *t, struct sk *sk, const uint32_t d[2], struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);

	if (!after(d[1], d[0]) || after(d[1], b->snd_nxt))
		return;
	a->dsack = true;
	b->dsack_dups++;
	ev(t, EV_TCP_DSACK_IN, sk->self, d[0], d[1]);
	/* RFC 3708: each reported duplicate was a retransmission that was not needed. */
	if (b->undo_retrans > 0 && b->undo_marker != 0 && !before(d[0], b->undo_marker)) {
		int32_t n = (int32_t)((d[1] - d[0] + b->mss - 1) / b->mss);

		b->undo_retrans -= n < b->undo_retrans ? n : b->undo_retrans;
	}
}

/* Blocks that are worth a look, out of the option; returns how many. */
static uint32_t pick_blocks(struct turn *t, struct sk *sk, const struct tcp_seg *s,
			    struct tcp_acked *a, struct tcp_sack ret[TCP_SACK_MAX])
{
	struct tcb *b = tcb_of(sk);
	uint32_t i = 0, n = 0, top = min_u32(s->h.n_sack, TCP_SACK_MAX);

	if (is_dsack(&s->h)) {
		take_dsack(t, sk, s->h.sack[0], a);
		i = 1;
	}
	for (; i < top; i++) {
		uint32_t start = s->h.sack[i][0], end = s->h.sack[i][1];

		if (!after(end, start) || after(end, b->snd_nxt) ||
		    (int32_t)(start - b->snd_una) < -(int32_t)(1u << 30)) {
			ev(t, EV_TCP_SACK_BAD, sk->self, start, end);
			continue;
		}
		if (!after(end, b->snd_una))
			continue;	/* old news */
		ret[n++] = (struct tcp_sack){ start, end };
	}
	return n;
}

void tcp_sack_input(struct turn *t, struct sk *sk, const struct tcp_seg *s, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_sack blocks[TCP_SACK_MAX];
	uint32_t n = pick_blocks(t, sk, s, a, blocks);
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1, top = b->snd_una;

	for (uint32_t i = 0; i < n; i++)
		top = after(blocks[i].end, top) ? blocks[i].end : top;
	for (; slot != 0 && slot != b->tx_next && left; left--) {
		struct pkt *p = pkt_slot(t, slot);

		if (!before(p->seq, top))
			break;
		slot = p->mark & MARK_SACKED ? tcp_sack_skip(t, b, p) : p->next;
		if (p->mark & MARK_SACKED)
			continue;
		for (uint32_t i = 0; i < n; i++) {
			if (!before(p->seq, blocks[i].start) && !after(p->end_seq, blocks[i].end)) {
				mark_sacked(t, b, p, a);
				break;
			}
		}
	}
}
