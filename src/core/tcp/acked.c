/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an acknowledgement frees: segments leave the front of txq, their marks leave the
 * scoreboard's sums, and the round trip is measured on the way (RFC 6298 3: Karn).
 */
#include "core/tcp/parts.h"

/* Frames behind the head that a pull has emptied; the head stays, it carries the metadata. */
static void drop_empty(struct turn *t, struct pkt *p)
{
	while (p->frag != 0) {
		struct pkt *f = pkt_slot(t, p->frag);
		uint32_t slot = p->frag;

		if (f->len != 0)
			return;
		p->frag = f->frag;
		p->n_frags--;
		f->frag = 0;
		f->n_frags = 1;
		pkt_put(t, (pkt_h){ slot });
	}
}

/* The first n bytes of the head segment are acknowledged. */
static void shorten(struct turn *t, struct sk *sk, struct pkt *p, uint32_t n)
{
	struct tcb *b = tcb_of(sk);

	if (p->mark & MARK_SACKED)
		b->sacked_out -= n;
	if (p->mark & MARK_LOST)
		b->lost_out -= n;
	if (p->mark & MARK_RETRANS)
		b->retrans_out -= n;
	n = min_u32(n, p->tot);
	pkt_pull(t, p, n);
	drop_empty(t, p);
	p->seq += n;
	b->wmem -= n;
	b->txq.bytes -= n;
}

static void measure(struct turn *t, struct tcb *b, const struct pkt *p, struct tcp_acked *a)
{
	int64_t us;

	if (p->mark & MARK_SACKED)	/* measured when it was SACKed */
		return;
	us = (int64_t)((t->now - p->at) / NS_PER_US);
	tcp_rack_delivered(t, b, p, a);
	tcp_rate_delivered(b, p, &a->rs);
	if (p->mark & MARK_EVER) {
		a->retrans_acked = true;
	} else {
		a->orig_acked |= !after(p->end_seq, b->recovery_point);
		if (a->rtt_us < 0)
			a->rtt_us = us;
	}
}

static uint32_t free_acked(struct turn *t, struct sk *sk, uint32_t ack, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	uint32_t n = 0;

	while (b->txq.head != 0 && b->txq.head != b->tx_next) {
		struct pkt *p = pkt_slot(t, b->txq.head);
		pkt_h h;

		if (after(p->end_seq, ack)) {
			if (after(ack, p->seq))
				shorten(t, sk, p, ack - p->seq);
			break;
		}
		measure(t, b, p, a);
		if (unlikely(p->mark))
			tcp_unmark(b, p);
		b->wmem -= p->tot + TCP_SEG_CHARGE;
		h = pkt_q_pop(t, &b->txq);
		pkt_put(t, h);
		n++;
	}
	return n;
}

/* Without SACK, sacked_out counts duplicate ACKs: an advance takes back those that stood for
 * what it covers (Linux's tcp_remove_reno_sacks()). */
static void forget_dupacks(struct tcb *b, uint32_t n_segs)
{
	uint32_t gone = n_segs > 1 ? n_segs - 1 : 0;

	b->n_sacked = b->n_sacked > gone ? b->n_sacked - gone : 0;
	b->sacked_out = min_u32(b->n_sacked * b->mss, tcp_out_bytes(b));
}

void tcp_acked(struct turn *t, struct sk *sk, uint32_t ack, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);
	uint32_t n;

	a->acked = ack - b->snd_una;
	n = free_acked(t, sk, ack, a);
	b->snd_una = ack;
	b->bytes_acked += a->acked;
	b->delivered += n;
	b->flags &= ~TCB_F_MORE;
	/* Keeps recovery_point within reach of comparison (RFC 6582 3.2 (1): at first, ISS). */
	if (b->ca_state == TCP_CA_OPEN && before(b->recovery_point, ack))
		b->recovery_point = ack - 1;
	if (!(b->flags & TCB_F_SACK)) {
		forget_dupacks(b, n);
		/* Which copy of which segment has moved snd_una is not known then (RFC 5682 2.1). */
		a->orig_acked &= !a->retrans_acked;
	}
	if ((b->flags & TCB_F_SND_URG) && !before(b->snd_una, b->snd_up))
		b->flags &= ~TCB_F_SND_URG;
	sk->txq_bytes = b->txq.bytes;
}
