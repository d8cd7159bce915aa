/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packet frames: a pool, chains of frames that are packets, queues of packets.
 *
 *  K1  A frame is FREE (on the free list), POSTED (on a fill ring) or HELD (somebody's), and
 *      FREE + POSTED + HELD is the pool less frame 0, which is never used.
 *  K2  A FREE frame is not at the device: a frame given back while a transmit ring still
 *      refers to it stays HELD with PKT_F_DEFER_PUT until vif_reap() sees it come back.
 *  K3  The free list is a stack: the frame given back last, warm in the cache, goes first.
 *  K4  A packet has at most as many frames as the pool; every walk stops there and says so.
 */
#include "base/csum.h"
#include "core/stack/frames.h"

pkt_h pkt_get(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint32_t slot = seg->free_pkt & t->map->pkt_mask;
	struct pkt *p = pkt_slot(t, slot);

	if (slot == 0 || (t->mishap && t->mishap(t->mishap_arg, MISHAP_PKT))) {
		ev(t, EV_PKT_EMPTY, 0, seg->n_free_pkt, 0);
		return (pkt_h){ 0 };
	}
	if (unlikely(p->state != PKT_FREE)) {
		never(t, WHY_PKT_POOL);
		return (pkt_h){ 0 };
	}
	seg->free_pkt = p->next;
	seg->n_free_pkt--;
	*p = (struct pkt){ .off = FRAME_HEADROOM, .state = PKT_HELD, .n_frags = 1 };
	return (pkt_h){ slot };
}

void pkt_put(struct turn *t, pkt_h h)
{
	uint32_t slot = h.v & t->map->pkt_mask;
	uint32_t left = t->map->pkt_mask;

	for (; slot; left--) {
		struct pkt *p = pkt_slot(t, slot);
		uint32_t frag = p->frag & t->map->pkt_mask;

		if (unlikely(!left || p->state != PKT_HELD || p->flags & PKT_F_DEFER_PUT)) {
			never(t, left ? WHY_PKT_STATE : WHY_PKT_CHAIN);
			return;
		}
		p->next = 0;
		p->frag = 0;
		if (p->at_device)
			p->flags |= PKT_F_DEFER_PUT;
		else
			frame_free(t, p, slot);
		slot = frag;
	}
}

void pkt_put_queue(struct turn *t, struct pkt_queue *q)
{
	uint32_t left = t->map->pkt_mask + 1;

	while (q->head) {
		pkt_h h = pkt_q_pop(t, q);

		if (unlikely(!h.v || !left--)) {
			never(t, WHY_PKT_CHAIN);
			break;
		}
		pkt_put(t, h);
	}
	*q = (struct pkt_queue){ 0 };
}

uint32_t pkt_n_free(const struct turn *t) { return t->map->seg->n_free_pkt; }

void pkt_q_push(struct turn *t, struct pkt_queue *q, pkt_h h)
{
	struct pkt *p = pkt_at(t, h);

	p->next = 0;
	if (q->head)
		pkt_slot(t, q->tail)->next = h.v;
	else
		q->head = (uint16_t)h.v;
	q->tail = (uint16_t)h.v;
	q->n++;
	q->bytes += p->tot;
}

pkt_h pkt_q_pop(struct turn *t, struct pkt_queue *q)
{
	pkt_h h = { q->head & t->map->pkt_mask };
	struct pkt *p = pkt_at(t, h);

	if (!h.v)
		return h;
	q->head = (uint16_t)(p->next & t->map->pkt_mask);
	if (!q->head)
		q->tail = 0;
	q->n--;
	q->bytes -= p->tot;
	p->next = 0;
	return h;
}

void pkt_pull(struct turn *t, struct pkt *head, uint32_t n)
{
	struct pkt *p = head;
	uint32_t left = t->map->pkt_mask;

	n = min_u32(n, head->tot);
	head->tot -= n;
	for (;;) {
		uint32_t k = min_u32(n, pkt_len(p));

		p->off = (uint16_t)(p->off + k);
		p->len = (uint16_t)(p->len - k);
		n -= k;
		if (!n)
			return;
		if (unlikely(!p->frag || !left--)) {
			never(t, WHY_PKT_CHAIN);	/* tot promised more than the frames hold */
			return;
		}
		p = pkt_slot(t, p->frag);
	}
}

void pkt_trim(struct turn *t, struct pkt *head, uint32_t n)
{
	struct pkt *p = head;
	uint32_t left = t->map->pkt_mask;
	uint32_t kept = 1;

	if (n >= head->tot)
		return;
	head->tot = n;
	while (n > pkt_len(p)) {
		n -= pkt_len(p);
		if (unlikely(!p->frag || !left--)) {
			never(t, WHY_PKT_CHAIN);
			return;
		}
		p = pkt_slot(t, p->frag);
		kept++;
	}
	p->len = (uint16_t)n;
	head->n_frags = (uint8_t)kept;
	if (p->frag) {
		pkt_h rest = { p->frag };

		p->frag = 0;
		pkt_put(t, rest);
	}
}

uint32_t pkt_copy_out(struct turn *t, const struct pkt *head, uint32_t from, void *dst, uint32_t n)
{
	const struct pkt *p = head;
	uint32_t left = t->map->pkt_mask;
	uint8_t *to = dst;
	uint32_t done = 0;

	for (;;) {
		uint32_t len = pkt_len(p);

		if (from < len) {
			uint32_t k = min_u32(n - done, len - from);

			memcpy(to + done, pkt_data(t, p) + from, k);
			done += k;
			from = 0;
		} else {
			from -= len;
		}
		if (done == n || !(p->frag & t->map->pkt_mask))
			return done;
		if (unlikely(!left--)) {
			never(t, WHY_PKT_CHAIN);
			return done;
		}
		p = pkt_slot(t, p->frag);
	}
}

uint64_t pkt_csum(struct turn *t, const struct pkt *head, uint32_t from)
{
	const struct pkt *p = head;
	uint32_t left = t->map->pkt_mask;
	uint64_t sum = 0;
	size_t at = 0;		/* bytes summed: where the next piece begins */

	for (;;) {
		uint32_t len = pkt_len(p);

		if (from < len) {
			uint64_t piece = t->map->csum(pkt_data(t, p) + from, len - from, 0);

			sum = csum_join(sum, piece, at);
			at += len - from;
			from = 0;
		} else {
			from -= len;
		}
		if (!(p->frag & t->map->pkt_mask))
			return sum;
		if (unlikely(!left--)) {
			never(t, WHY_PKT_CHAIN);
			return sum;
		}
		p = pkt_slot(t, p->frag);
	}
}
