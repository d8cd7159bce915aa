/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Putting text in order (RFC 9293 3.10.7.4, seventh and eighth), and telling the peer what has
 * come out of order (RFC 2018 4) or twice (RFC 2883).
 *
 * Payload stays in the frame it came in until the user reads it. A small in-order payload is
 * copied behind the one before it when there is room, so that many tiny segments do not eat
 * the pool; when the pool is low, so is a larger one.
 *
 * Invariants: B4, B5 of tcb.h, and
 *  Q1  sacks[] are the islands of ooo most recently added to, latest first; every block lies
 *	above rcv_nxt.
 *  Q2  Text beyond the window that was advertised is cut off.
 *  Q3  Out-of-order text never takes the last eighth of the pool, in-order text behind other
 *	unread text never the last sixty-fourth: a reader always gets on.
 *  Q4  What waits out of order is charged its bytes and a kilobyte a packet against the receive buffer:
 *	past that the upper half goes, told or not (RFC 2018 8). Full segments never come to that.
 *  Q5  Its place is looked for from the end, from the place of the one before, or from the start, and
 *	not for ever: a small segment that lies deeper than that is dropped. So whoever sends many
 *	of them in the worst order (SegmentSmack) costs us a bounded time each.
 */
#include "core/tcp/parts.h"

#define OOO_CHARGE	1024u	/* a packet out of order, besides its bytes */
#define OOO_SMALL	512u
#define OOO_STEPS	256u	/* to the place of one smaller than that */

static uint32_t pool_share(const struct turn *t, uint32_t shift)
{
	return (t->map->pkt_mask + 1) >> shift;
}

void tcp_rx_purge(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	b->ooo_last = 0;
	pkt_put_queue(t, &b->rxq);
	pkt_put_queue(t, &b->ooo);
	b->rx_frames = 0;
	b->n_sacks = 0;
	sk->rxq_bytes = 0;
}

/* ---- SACK and DSACK ------------------------------------------------------------------------------- */

void tcp_dsack_set(struct turn *t, struct tcb *b, uint32_t start, uint32_t end)
{
	if (!(b->flags & TCB_F_SACK) || !after(end, start))
		return;
	b->dsack = (struct tcp_sack){ start, end };
	ev(t, EV_TCP_DSACK_OUT, 0, start, end);
}

void tcp_sack_blocks(const struct tcb *b, struct tcp_hdr *h, uint32_t max)
{
	uint32_t n = 0;

	max = min_u32(max, h->has_ts ? 3 : 4);
	if (!(b->flags & TCB_F_SACK))
		return;
	if (b->dsack.start != b->dsack.end && n < max) {	/* RFC 2883 4: it comes first */
		h->sack[n][0] = b->dsack.start;
		h->sack[n++][1] = b->dsack.end;
	}
	for (uint32_t i = 0; i < b->n_sacks && i < TCP_N_SACKS && n < max; i++) {
		h->sack[n][0] = b->sacks[i].start;
		h->sack[n++][1] = b->sacks[i].end;
	}
	h->n_sack = (uint8_t)n;
}

static void sack_remove(struct tcb *b, uint32_t i)
{
	for (; i + 1 < b->n_sacks && i + 1 < TCP_N_SACKS; i++)
		b->sacks[i] = b->sacks[i + 1];
	b->n_sacks--;
}

/* [start, end) has come: merged with the blocks it touches, and put first (Q1). */
static void sack_add(struct tcb *b, uint32_t start, uint32_t end)
{
	for (uint32_t i = 0; i < b->n_sacks && i < TCP_N_SACKS;) {
		struct tcp_sack s = b->sacks[i];

		if (after(s.start, end) || before(s.end, start)) {
			i++;
			continue;
		}
		start = before(s.start, start) ? s.start : start;
		end = after(s.end, end) ? s.end : end;
		sack_remove(b, i);
	}
	if (b->n_sacks >= TCP_N_SACKS)
		b->n_sacks = TCP_N_SACKS - 1;
	for (uint32_t i = b->n_sacks; i > 0; i--)
		b->sacks[i] = b->sacks[i - 1];
	b->sacks[0] = (struct tcp_sack){ start, end };
	b->n_sacks++;
}

/* rcv_nxt has advanced. */
static void sack_trim(struct tcb *b)
{
	if (b->ooo.n == 0) {
		b->n_sacks = 0;
		return;
	}
	for (uint32_t i = 0; i < b->n_sacks && i < TCP_N_SACKS;) {
		if (!after(b->sacks[i].end, b->rcv_nxt))
			sack_remove(b, i);
		else
			i++;
	}
}

/* ---- coalescing -------------------------------------------------------------------------------------- */

static struct pkt *last_frame(struct turn *t, struct pkt *p)
{
	for (uint32_t left = MAX_FRAGS; p->frag != 0 && left; left--)
		p = pkt_slot(t, p->frag);
	return p;
}

/* Copies p's payload behind tail's, if it is small and there is room; p is then spent. */
static bool coalesce(struct turn *t, struct pkt *tail, struct pkt *p)
{
	uint32_t max = pkt_n_free(t) < pool_share(t, 2) ? FRAME_BYTES : TCP_COALESCE_MAX;
	struct pkt *f;
	uint32_t end;

	if (p->tot > max || p->n_frags > 2 || (tail->flags & PKT_F_FIN) || tail->end_seq != p->seq)
		return false;
	f = last_frame(t, tail);
	end = (f->off & (FRAME_BYTES - 1u)) + pkt_len(f);
	if (end + p->tot > FRAME_BYTES)
		return false;
	if (pkt_copy_out(t, p, 0, pkt_frame(t, f) + end, p->tot) != p->tot)
		return false;
	f->len = (uint16_t)(f->len + p->tot);
	tail->tot += p->tot;
	tail->end_seq = p->end_seq;
	tail->flags |= p->flags & (PKT_F_PSH | PKT_F_FIN);
	ev(t, EV_TCP_COALESCED, 0, p->seq, p->tot);
	return true;
}

/* ---- in order ------------------------------------------------------------------------------------------ */

/* p begins at rcv_nxt and is not in any queue. Takes it; true when it ended in a FIN. */
static bool take_in_order(struct turn *t, struct sk *sk, struct pkt *p)
{
	struct tcb *b = tcb_of(sk);
	bool fin = p->flags & PKT_F_FIN;

	b->rcv_nxt = p->end_seq;
	b->bytes_received += p->tot;
	if (p->tot == 0) {
		pkt_put(t, pkt_handle(t, p));
		return fin;
	}
	p->flags &= (uint8_t)~PKT_F_FIN;
	if (fin)
		p->end_seq--;
	if (b->rxq.tail != 0 && coalesce(t, pkt_slot(t, b->rxq.tail), p)) {
		b->rxq.bytes += p->tot;
		sk->rxq_bytes = b->rxq.bytes;
		pkt_put(t, pkt_handle(t, p));
		return fin;
	}
	b->rx_frames += p->n_frags;
	pkt_q_push(t, &b->rxq, pkt_handle(t, p));
	sk->rxq_bytes = b->rxq.bytes;
	return fin;
}

/* Cuts what is before rcv_nxt off p's front. */
static void trim_front(struct turn *t, struct pkt *p, uint32_t to)
{
	pkt_pull(t, p, min_u32(to - p->seq, p->tot));
	p->seq = to;
}

/* A FIN has come into order, and nothing can follow it, whatever came before it did. */
static void drop_islands(struct turn *t, struct tcb *b)
{
	uint32_t slot = b->rxq.head;

	b->ooo_last = 0;
	pkt_put_queue(t, &b->ooo);
	b->rx_frames = 0;
	for (uint32_t left = b->rxq.n; slot && left; left--) {
		b->rx_frames += pkt_slot(t, slot)->n_frags;
		slot = pkt_slot(t, slot)->next;
	}
}

/* What the islands can give now. True when a FIN came into order. */
static bool drain_ooo(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	bool fin = false;

	while (b->ooo.head != 0 && !fin) {
		struct pkt *p = pkt_slot(t, b->ooo.head);
		pkt_h h;

		if (after(p->seq, b->rcv_nxt))
			break;
		if (b->ooo_last == b->ooo.head)
			b->ooo_last = 0;
		h = pkt_q_pop(t, &b->ooo);
		b->rx_frames -= p->n_frags;
		if (!after(p->end_seq, b->rcv_nxt)) {
			tcp_dsack_set(t, b, p->seq, p->end_seq);
			pkt_put(t, h);
			continue;
		}
		if (before(p->seq, b->rcv_nxt))
			trim_front(t, p, b->rcv_nxt);
		fin = take_in_order(t, sk, p);
	}
	return fin;
}

/* ---- out of order ----------------------------------------------------------------------------------------- */

/* Links p behind prev (NULL: in front of all). */
static void ooo_link(struct turn *t, struct tcb *b, struct pkt *prev, struct pkt *p)
{
	pkt_h h = pkt_handle(t, p);

	if (prev == NULL && b->ooo.head == 0) {
		pkt_q_push(t, &b->ooo, h);
		return;
	}
	if (prev == NULL) {
		p->next = b->ooo.head;
		b->ooo.head = (uint16_t)h.v;
	} else {
		p->next = prev->next;
		prev->next = h.v;
	}
	if (p->next == 0)
		b->ooo.tail = (uint16_t)h.v;
	b->ooo.n++;
	b->ooo.bytes += p->tot;
}

/* Takes out the packet after prev. */
static void ooo_unlink_next(struct turn *t, struct tcb *b, struct pkt *prev)
{
	uint32_t slot = prev ? prev->next : b->ooo.head;
	struct pkt *p = pkt_slot(t, slot);

	if (b->ooo_last == slot)
		b->ooo_last = 0;
	if (prev)
		prev->next = p->next;
	else
		b->ooo.head = (uint16_t)p->next;
	if (p->next == 0)
		b->ooo.tail = prev ? (uint16_t)pkt_handle(t, prev).v : 0;
	b->ooo.n--;
	b->ooo.bytes -= p->tot;
	b->rx_frames -= p->n_frags;
	p->next = 0;
	pkt_put(t, (pkt_h){ slot });
}

/* The last packet that begins at or before p; *ret NULL: none. False: too far to look (Q5). */
static bool ooo_before(struct turn *t, const struct tcb *b, const struct pkt *p, struct pkt **ret)
{
	uint32_t left = p->tot < OOO_SMALL ? OOO_STEPS : b->ooo.n, slot = b->ooo.head;
	struct pkt *prev = NULL;

	if (b->ooo.tail != 0 && !after(pkt_slot(t, b->ooo.tail)->seq, p->seq)) {
		*ret = pkt_slot(t, b->ooo.tail);
		return true;
	}
	if (b->ooo_last && !after(pkt_slot(t, b->ooo_last)->seq, p->seq))
		slot = b->ooo_last;
	for (; slot != 0 && left; left--) {
		struct pkt *n = pkt_slot(t, slot);

		if (after(n->seq, p->seq))
			break;
		prev = n;
		slot = n->next;
	}
	*ret = prev;
	return left || slot == 0;
}

static bool ooo_is_dear(const struct sk *sk, const struct tcb *b)
{
	return b->ooo.n * OOO_CHARGE + b->ooo.bytes > sk->rcvbuf;
}

/* The upper half goes (Q4), and is reported no more. */
static void ooo_prune(struct turn *t, struct tcb *b)
{
	uint32_t keep = max_u32(b->ooo.n / 2, 1), slot = b->ooo.head, cut;
	struct pkt *last = NULL;

	for (; slot != 0 && keep; keep--) {
		last = pkt_slot(t, slot);
		slot = last->next;
	}
	if (!last)
		return;
	cut = last->end_seq;
	b->ooo_last = 0;
	for (uint32_t left = b->ooo.n; last->next && left; left--)
		ooo_unlink_next(t, b, last);
	for (uint32_t i = 0; i < b->n_sacks && i < TCP_N_SACKS;) {
		if (!before(b->sacks[i].start, cut)) {
			sack_remove(b, i);
			continue;
		}
		if (after(b->sacks[i].end, cut))
			b->sacks[i].end = cut;
		i++;
	}
	ev(t, EV_TCP_OOO_PRUNED, 0, cut, b->ooo.n);
}

/* Makes room for p behind prev: what it covers goes, what it overlaps shortens it. */
static void ooo_make_room(struct turn *t, struct tcb *b, struct pkt *prev, struct pkt *p)
{
	for (uint32_t left = b->ooo.n; left; left--) {
		uint32_t slot = prev ? prev->next : b->ooo.head;
		struct pkt *n = pkt_slot(t, slot);

		if (slot == 0 || !before(n->seq, p->end_seq))
			return;
		if (after(n->end_seq, p->end_seq)) {
			tcp_dsack_set(t, b, n->seq, p->end_seq);
			pkt_trim(t, p, n->seq - p->seq);
			p->end_seq = n->seq;
			p->flags &= (uint8_t)~PKT_F_FIN;
			return;
		}
		tcp_dsack_set(t, b, n->seq, n->end_seq);
		ooo_unlink_next(t, b, prev);
	}
}

static void out_of_order(struct turn *t, struct sk *sk, struct tcp_seg *s, struct pkt *p)
{
	struct tcb *b = tcb_of(sk);
	uint32_t start = p->seq, end = p->end_seq;
	struct pkt *prev;

	ev(t, EV_TCP_OOO, sk->self, p->seq, p->tot);
	b->rcv_ooopack++;
	if (unlikely(ooo_is_dear(sk, b)))
		ooo_prune(t, b);
	if (pkt_n_free(t) < pool_share(t, 3) || !ooo_before(t, b, p, &prev)) {	/* Q3, Q5 */
		ev(t, EV_TCP_OOO_DROP, sk->self, p->seq, p->tot);
		return;
	}
	if (prev && !before(prev->end_seq, p->end_seq)) {
		ev(t, EV_TCP_DUP_DATA, sk->self, p->seq, p->tot);
		tcp_dsack_set(t, b, p->seq, p->end_seq);
		sack_add(b, start, end);
		return;
	}
	if (prev && after(prev->end_seq, p->seq)) {
		tcp_dsack_set(t, b, p->seq, prev->end_seq);
		trim_front(t, p, prev->end_seq);
	}
	ooo_make_room(t, b, prev, p);
	sack_add(b, start, end);
	if (!after(p->end_seq, p->seq))
		return;		/* its two neighbours had all of it between them */
	s->pkt.v = 0;
	if (prev && coalesce(t, prev, p)) {
		b->ooo.bytes += p->tot;
		b->ooo_last = (uint16_t)pkt_handle(t, prev).v;
		pkt_put(t, pkt_handle(t, p));
		return;
	}
	b->rx_frames += p->n_frags;
	ooo_link(t, b, prev, p);
	if (p->next)
		b->ooo_last = (uint16_t)pkt_handle(t, p).v;
}

/* ---- the seventh step ------------------------------------------------------------------------------------- */

/* Nothing new in it: the peer has not heard our ACK. */
static bool duplicate(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	ev(t, EV_TCP_DUP_DATA, sk->self, s->seq, s->len);
	tcp_dsack_set(t, b, s->seq, s->end_seq);
	tcp_ack_quick(b, TCP_QUICKACKS);
	b->ack_flags |= ACK_SCHED | ACK_NOW;
	return false;
}

static bool in_order(struct turn *t, struct sk *sk, struct tcp_seg *s, struct pkt *p)
{
	struct tcb *b = tcb_of(sk);
	bool fin, filled = b->ooo.n != 0;

	if (before(p->seq, b->rcv_nxt)) {
		tcp_dsack_set(t, b, p->seq, b->rcv_nxt);
		b->ack_flags |= ACK_NOW;
		trim_front(t, p, b->rcv_nxt);
	}
	if (p->tot && b->rxq.n && pkt_n_free(t) < pool_share(t, 6)) {	/* Q3 */
		ev(t, EV_TCP_OOO_DROP, sk->self, p->seq, p->tot);
		b->ack_flags |= ACK_SCHED | ACK_NOW;
		return false;
	}
	s->pkt.v = 0;
	fin = take_in_order(t, sk, p);
	if (unlikely(filled) && !fin) {
		/* RFC 5681 4.2: filling a hole is acknowledged at once. */
		fin = drain_ooo(t, sk);
		b->ack_flags |= ACK_NOW;
	}
	if (unlikely(fin && b->ooo.n))
		drop_islands(t, b);
	sack_trim(b);
	return fin;
}

bool tcp_text(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	struct pkt *p = pkt_at(t, s->pkt);
	uint32_t edge = b->rcv_nxt + tcp_window_left(b);
	bool fin = s->h.flags & TCP_F_FIN;

	if (s->len == 0 && !fin)
		return false;
	if (unlikely(b->dsack.start != b->dsack.end))	/* RFC 2883 4: each duplicate is told of */
		tcp_emit_ack(t, sk);
	if (!after(s->end_seq, b->rcv_nxt))
		return duplicate(t, sk, s);
	p->seq = s->seq;
	p->end_seq = s->end_seq;
	p->flags = (uint8_t)((p->flags & ~(PKT_F_FIN | PKT_F_PSH)) | (fin ? PKT_F_FIN : 0) |
			     (s->h.flags & TCP_F_PSH ? PKT_F_PSH : 0));
	p->at = t->now;
	if (unlikely(after(p->end_seq, edge)) && !(p->tot == 0 && p->seq == b->rcv_nxt)) {	/* Q2 */
		uint32_t keep = before(p->seq, edge) ? edge - p->seq : 0;

		ev(t, EV_TCP_OUT_OF_WINDOW, sk->self, s->seq, s->len);
		b->ack_flags |= ACK_SCHED | ACK_NOW;
		if (keep == 0)
			return false;
		/* All the text may fit, and only the FIN not. */
		pkt_trim(t, p, keep);
		p->end_seq = p->seq + keep;
		p->flags &= (uint8_t)~PKT_F_FIN;
		if (!after(p->end_seq, b->rcv_nxt))
			return false;
	}
	if (likely(!after(p->seq, b->rcv_nxt)))
		return in_order(t, sk, s, p);
	out_of_order(t, sk, s, p);
	b->ack_flags |= ACK_SCHED | ACK_NOW;
	if (!(b->flags & TCB_F_SACK))	/* RFC 5681 4.2: the peer counts them, one a segment */
		tcp_emit_ack(t, sk);
	return false;
}
