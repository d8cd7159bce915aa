/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver of a virtual interface's four rings (abi/vif.h). The hottest code there is: per
 * packet one descriptor, one line of metadata, one store to a ring index.
 *
 *	    pool ──vif_refill──▶ fill ──▶ device ──▶ rx ──vif_poll──▶ core
 *	    core ──vif_post────▶ tx ────▶ device ──▶ comp ──vif_reap──▶ (pool)
 *
 *  V1  A frame on a fill ring is POSTED; n_posted counts them per VI. The device hands back
 *      only POSTED frames; anything else is dropped and counted, and names no frame of ours.
 *  V2  at_device counts a frame's places on tx and comp rings. It rises before the device
 *      can see the descriptor and falls when the completion is read.
 *  V3  Our index of a ring is written by the holder of the turn only, so it is read without
 *      order. The device's index is acquired; our index is released after the slots, and
 *      after the metadata of the frames in them.
 *  V4  Whatever the rings say, no more than a ring's length of slots is looked at in a call.
 *
 * Trust: the rings of an AF_XDP socket are mapped by every process of the stack. An index or
 * a descriptor is copied once, and the copy is checked and used.
 */
#include "core/vif/vif.h"

#include <errno.h>

#include "base/atomic.h"
#include "core/stack/frames.h"

#define REAP_EVERY	64u	/* a power of two: descriptors between looks at the comp ring */
#define FILL_MARGIN	8u	/* a fill ring is this many times deeper than the largest visit's use */
#define FILL_SHRINK_NS	(100 * NS_PER_MS)
#define REFILL_BATCH	32u	/* frames missing before it is worth restocking */
#define LOW_STOCK	64u	/* frames on a fill ring below which receiving comes first */

static inline struct vif_desc *desc_slots(const struct vif_ring *r) { return r->slots; }
static inline uint64_t *addr_slots(const struct vif_ring *r) { return r->slots; }

/* Slots that the device has produced and we have not consumed. */
static inline uint32_t ring_avail(struct turn *t, const struct vif_ring *r, uint32_t *ret_cons)
{
	/* Ours (V3). */
	uint32_t cons = peek32(r->consumer);
	/* acq: pairs with the device's release of its producer index. */
	uint32_t n = acquire32(r->producer) - cons;

	*ret_cons = cons;
	if (unlikely(n > r->mask + 1)) {
		condemn(t, WHY_RING_INDEX);
		return 0;
	}
	return n;
}

/* Slots that we may produce into. */
static inline uint32_t ring_space(struct turn *t, const struct vif_ring *r, uint32_t *ret_prod)
{
	/* Ours (V3). */
	uint32_t prod = peek32(r->producer);
	/* acq: pairs with the device's release of its consumer index: it has read the slots. */
	uint32_t used = prod - acquire32(r->consumer);

	*ret_prod = prod;
	if (unlikely(used > r->mask + 1)) {
		condemn(t, WHY_RING_INDEX);
		return 0;
	}
	return r->mask + 1 - used;
}

static inline bool is_present(const struct stack_map *map, uint32_t vi)
{
	return vi < N_VIS && map->vi[vi].flags & VIF_F_PRESENT;
}

bool vif_rx_pending(const struct stack_map *map)
{
	for (uint32_t vi = 0; vi < map->n_vis && vi < N_VIS; vi++) {
		const struct vif_ring *rx = &map->vi[vi].rx;

		/* A peek: who sees something takes the turn and looks again. */
		if (map->vi[vi].flags & VIF_F_PRESENT && peek32(rx->producer) != peek32(rx->consumer))
			return true;
	}
	return false;
}

static inline void owe_bell(struct turn *t, uint32_t vi)
{
	struct segment *seg = t->map->seg;

	t->bells |= 1u << vi;
	if (!seg->kicks_owed)
		poke64(&seg->kicks_since, t->now);
	poke32(&seg->kicks_owed, seg->kicks_owed | 1u << vi);
}

/* ---- receiving ------------------------------------------------------------------------------ */

/* The slot of a frame that may come back from the fill ring (V1), or 0. */
static inline uint32_t posted_slot(const struct turn *t, uint64_t addr)
{
	uint64_t slot = addr >> FRAME_SHIFT;

	if (unlikely(slot > t->map->pkt_mask || pkt_slot(t, (uint32_t)slot)->state != PKT_POSTED))
		return 0;
	return (uint32_t)slot;
}

static inline void count_off(struct turn *t, uint32_t vi)
{
	if (likely(t->map->seg->n_posted[vi]))
		t->map->seg->n_posted[vi]--;
}

/* Descriptors of the packet that begins at `cons`: 0 when its end is not there yet. */
static inline uint32_t run_length(const struct vif_ring *rx, uint32_t cons, uint32_t avail)
{
	for (uint32_t n = 0; n < avail; n++)
		if (!(desc_slots(rx)[(cons + n) & rx->mask].options & VIF_MORE))
			return n + 1;
	/* A ring full of one packet's beginning will never see its end. */
	return avail == rx->mask + 1 ? avail : 0;
}

/* Makes a packet of `n` descriptors; 0 and nothing kept when one of them cannot be. */
static pkt_h run_take(struct turn *t, uint32_t vi, uint32_t cons, uint32_t n)
{
	const struct vif_ring *rx = &t->map->vi[vi].rx;
	struct pkt *head = NULL, *tail = NULL;
	bool bad = n > MAX_FRAGS;

	for (uint32_t i = 0; i < n; i++) {
		struct vif_desc d = desc_slots(rx)[(cons + i) & rx->mask];
		uint32_t off = d.addr & (FRAME_BYTES - 1);
		uint32_t slot = posted_slot(t, d.addr);
		struct pkt *p = pkt_slot(t, slot);

		/* The device wrote these lines from another core: headers and a small payload
		 * are fetched at once instead of one after the other. */
		if (i == 0) {
			const uint8_t *data = t->map->umem + ((size_t)slot << FRAME_SHIFT) + off;

			__builtin_prefetch(data);
			__builtin_prefetch(data + 64);
			__builtin_prefetch(data + 128);
		}
		if (unlikely(!slot)) {
			ev(t, EV_RX_BAD_DESC, 0, (uint32_t)(d.addr >> FRAME_SHIFT), d.len);
			bad = true;
			continue;
		}
		count_off(t, vi);
		if (unlikely(d.len > FRAME_BYTES - off)) {
			ev(t, EV_RX_BAD_DESC, 0, slot, d.len);
			bad = true;
			d.len = 0;
		}
		*p = (struct pkt){ .off = (uint16_t)off, .len = (uint16_t)d.len,
				   .state = PKT_HELD, .n_frags = 1, .vi = (uint8_t)vi, .at = t->now };
		if (!head)
			head = p;
		else
			tail->frag = slot;
		tail = p;
		head->tot += d.len;
		head->n_frags = (uint8_t)(i + 1);
	}
	if (likely(!bad && head && head->tot))
		return pkt_handle(t, head);
	if (n > MAX_FRAGS)
		ev(t, EV_RX_BAD_DESC, 0, 0, n);
	if (head)
		pkt_put(t, pkt_handle(t, head));
	return (pkt_h){ 0 };
}

pkt_h vif_poll(struct turn *t, uint32_t vi)
{
	const struct vif_ring *rx = &t->map->vi[vi & (N_VIS - 1)].rx;
	uint32_t left, cons, avail;

	if (!is_present(t->map, vi))
		return (pkt_h){ 0 };
	for (left = rx->mask + 1; left; left--) {
		uint32_t n;
		pkt_h h;

		avail = ring_avail(t, rx, &cons);
		n = avail ? run_length(rx, cons, avail) : 0;
		if (!n)
			break;
		h = run_take(t, vi, cons, n);
		/* rel: pairs with the device's acquire of our consumer index: slots are read. */
		release32(rx->consumer, cons + n);
		if (unlikely(!h.v))
			continue;
		if (avail > n) {
			/* The packet after this one: its metadata, and its headers. */
			uint64_t next = desc_slots(rx)[(cons + n) & rx->mask].addr;

			next &= ((uint64_t)t->map->pkt_mask << FRAME_SHIFT) | (FRAME_BYTES - 1);
			__builtin_prefetch(&t->map->pkts[next >> FRAME_SHIFT], 1);
			__builtin_prefetch(t->map->umem + next);
		}
		ev(t, EV_RX, 0, pkt_at(t, h)->tot, vi);
		return h;
	}
	return (pkt_h){ 0 };
}

/*
 * How deep the fill ring should be. Frames go round it first in, first out, so a deep ring
 * means that each packet is written to, and read from, memory that left the cache long ago
 * (measured: 6.0 us a round trip with 1,024 frames, 5.1 with 128). So it is shallow until a
 * visit finds that many were used since the last one, and shallow again when that is over.
 */
static uint32_t fill_target(struct turn *t, uint32_t vi, uint32_t posted)
{
	struct segment *seg = t->map->seg;
	uint32_t target = max_u32(seg->fill_target[vi], RX_POSTED_MIN);
	uint32_t need = posted < target ? (target - posted) * FILL_MARGIN : 0;

	if (unlikely(need > target))
		target = min_u32(max_u32(need, 2 * target), RX_POSTED);
	else if (likely(need > target / 2 || target == RX_POSTED_MIN))
		return target;
	else if (t->now - seg->fill_grown_at[vi] < FILL_SHRINK_NS)
		return target;
	else
		target = max_u32(target / 2, RX_POSTED_MIN);
	seg->fill_target[vi] = target;
	seg->fill_grown_at[vi] = t->now;
	return target;
}

/* How many frames the fill ring should get: up to its target, but a quarter of the pool is
 * the senders'. When next to nothing is posted, all but the last 64th is the receiver's: less
 * than what senders leave (a sixteenth, tcp/close.c), for it is acknowledgements that give
 * senders' frames back, and two stacks that can only send would wait for each other. */
static uint32_t refill_want(struct turn *t, uint32_t vi)
{
	const struct segment *seg = t->map->seg;
	uint32_t n_pkts = t->map->pkt_mask + 1;
	uint32_t posted = seg->n_posted[vi];
	uint32_t target = min_u32(fill_target(t, vi, posted),
				  n_pkts / 2 / max_u32(t->map->n_vis, 1));
	uint32_t keep = posted < min_u32(LOW_STOCK, target / 2) ? n_pkts / 64 : n_pkts / 4;

	if (posted + REFILL_BATCH > target && posted + target / 8 > target)
		return 0;
	if (seg->n_free_pkt <= keep)
		return 0;
	return min_u32(target - posted, seg->n_free_pkt - keep);
}

bool vif_starves(const struct turn *t)
{
	const struct segment *seg = t->map->seg;

	for (uint32_t vi = 0; vi < min_u32(t->map->n_vis, N_VIS); vi++)
		if (seg->n_posted[vi] < max_u32(seg->fill_target[vi], RX_POSTED_MIN) / 4)
			return true;
	return false;
}

void vif_refill(struct turn *t, uint32_t vi)
{
	const struct vif_ring *fill = &t->map->vi[vi & (N_VIS - 1)].fill;
	struct segment *seg = t->map->seg;
	uint32_t prod, want, n;

	if (!is_present(t->map, vi))
		return;
	/* Our own books first: the ring's consumer index is the device's line, a miss each time. */
	want = refill_want(t, vi);
	if (likely(!want))
		return;
	want = min_u32(want, ring_space(t, fill, &prod));
	for (n = 0; n < want; n++) {
		pkt_h h = pkt_get(t);

		if (!h.v) {
			ev(t, EV_FILL_SHORT, 0, want, n);
			break;
		}
		pkt_at(t, h)->state = PKT_POSTED;
		addr_slots(fill)[(prod + n) & fill->mask] = (uint64_t)h.v << FRAME_SHIFT;
	}
	if (!n)
		return;
	seg->n_posted[vi] += n;
	/* rel: pairs with the device's acquire of our producer index. */
	release32(fill->producer, prod + n);
	/* A device that went to sleep for want of frames: the bell is how it hears of these. */
	if (peek32(fill->flags) & VIF_NEED_WAKEUP)
		owe_bell(t, vi);
}

/* ---- sending ---------------------------------------------------------------------------------- */

void vif_reap(struct turn *t, uint32_t vi)
{
	const struct vif_ring *comp = &t->map->vi[vi & (N_VIS - 1)].comp;
	uint32_t cons, n;

	if (!is_present(t->map, vi))
		return;
	n = ring_avail(t, comp, &cons);
	if (!n)
		return;
	for (uint32_t i = 0; i < n; i++) {
		uint64_t slot = addr_slots(comp)[(cons + i) & comp->mask] >> FRAME_SHIFT;
		struct pkt *p = pkt_slot(t, (uint32_t)slot);

		if (i + 4 < n)
			__builtin_prefetch(pkt_slot(t, (uint32_t)(addr_slots(comp)[(cons + i + 4) &
							comp->mask] >> FRAME_SHIFT)), 1);
		if (unlikely(slot == 0 || slot > t->map->pkt_mask || p->state != PKT_HELD ||
			     !p->at_device)) {
			ev(t, EV_RX_BAD_DESC, 0, (uint32_t)slot, 0);
			continue;
		}
		if (--p->at_device == 0 && p->flags & PKT_F_DEFER_PUT)
			frame_free(t, p, (uint32_t)slot);
	}
	/* rel: pairs with the device's acquire of our consumer index: slots are read. */
	release32(comp->consumer, cons + n);
	ev(t, EV_TX_DONE, 0, n, vi);
}

/* Writes a packet's descriptors from `prod` on; frames without a byte are left out, for the
 * device refuses them. Returns descriptors written. */
static uint32_t run_put(struct turn *t, const struct vif_ring *tx, uint32_t prod,
			struct pkt *head, uint32_t n_frags)
{
	struct vif_desc *last = NULL;
	struct pkt *p = head;
	uint32_t n = 0;

	for (uint32_t i = 0; i < n_frags; i++) {
		uint32_t len = pkt_len(p);
		uint32_t slot = (uint32_t)(p - t->map->pkts);

		if (likely(len)) {
			last = &desc_slots(tx)[(prod + n++) & tx->mask];
			*last = (struct vif_desc){
				((uint64_t)slot << FRAME_SHIFT) + (p->off & (FRAME_BYTES - 1)),
				len, VIF_MORE,
			};
			p->at_device++;
		}
		p = pkt_slot(t, p->frag);
	}
	if (last)
		last->options = 0;
	return n;
}

/* The packet may be posted: every frame HELD, none too often at the device already. */
static bool may_post(struct turn *t, struct pkt *head, uint32_t *ret_frags)
{
	struct pkt *p = head;
	uint32_t n = 0;

	for (;;) {
		if (unlikely(p == t->map->pkts || p->state != PKT_HELD ||
			     p->flags & PKT_F_DEFER_PUT)) {
			never(t, WHY_PKT_STATE);
			return false;
		}
		if (unlikely(p->at_device == UINT8_MAX))
			return false;
		if (unlikely(++n > MAX_FRAGS)) {
			never(t, WHY_PKT_CHAIN);
			return false;
		}
		if (!(p->frag & t->map->pkt_mask))
			break;
		p = pkt_slot(t, p->frag);
	}
	*ret_frags = n;
	return true;
}

int vif_post(struct turn *t, uint32_t vi, pkt_h h)
{
	const struct vif_ring *tx = &t->map->vi[vi & (N_VIS - 1)].tx;
	struct pkt *head = pkt_at(t, h);
	uint32_t prod, space, n, n_frags;

	if (!is_present(t->map, vi))
		return -ENETDOWN;
	if (!may_post(t, head, &n_frags))
		return -ENOBUFS;
	space = ring_space(t, tx, &prod);
	/* A full comp ring stops the device, so it is emptied before it can fill. */
	if ((prod & (REAP_EVERY - 1)) < n_frags || space < n_frags)
		vif_reap(t, vi);
	if (unlikely(space < n_frags ||
		     (t->mishap && t->mishap(t->mishap_arg, MISHAP_TX_RING)))) {
		ev(t, EV_TX_RING_FULL, 0, n_frags, vi);
		owe_bell(t, vi);
		return -ENOBUFS;
	}
	n = run_put(t, tx, prod, head, n_frags);
	/* rel: pairs with the device's acquire of our producer index. */
	release32(tx->producer, prod + n);
	owe_bell(t, vi);
	ev(t, EV_TX, 0, head->tot, vi);
	return 0;
}
