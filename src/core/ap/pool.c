/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ring memory of our side of a pair: a buddy allocator over pages. Its books are in our own
 * segment, so the peer, who maps the memory itself, cannot make two rings share a byte.
 *
 *  M1  order[p] is 1 + log2 of the pages of the block that begins at page p, with FREE set
 *      while the block is on its order's list; 0 where no block begins.
 *  M2  A block of n pages begins at a multiple of n; page 0 begins none (0 ends lists).
 *  M4  A free block is DIRTY if pages of it may be in memory. Such blocks are taken, given back to
 *      the kernel outside the turn, and put back clean (ap_trim_take, ap_trim_done); who dies in
 *      between costs the pair that block.
 *  M3  Pages from `used` up have never been handed out: their memory was never touched.
 */
#include "core/ap/parts.h"

#define FREE  0x80u
#define DIRTY 0x40u
#define BLOCK 0x3fu	/* 1 + log2 of pages */

void pool_init(struct ap_pool *p)
{
	for (uint32_t o = 0; o < AP_N_ORDERS; o++)
		p->free[o] = 0;
	p->used = 1;
	p->n_taken = 0;
}

static void push(struct ap_pool *p, uint32_t o, uint32_t page, uint32_t dirty)
{
	uint32_t head = p->free[o] & (AP_POOL_PAGES - 1);

	page &= AP_POOL_PAGES - 1;
	p->order[page] = (uint8_t)((o + 1) | FREE | dirty);
	p->next[page] = (uint16_t)head;
	p->prev[page] = 0;
	if (head)
		p->prev[head] = (uint16_t)page;
	p->free[o] = (uint16_t)page;
}

static void cut(struct ap_pool *p, uint32_t o, uint32_t page)
{
	uint32_t next = p->next[page] & (AP_POOL_PAGES - 1), prev = p->prev[page] & (AP_POOL_PAGES - 1);

	if (prev)
		p->next[prev] = (uint16_t)next;
	else
		p->free[o] = (uint16_t)next;
	if (next)
		p->prev[next] = (uint16_t)prev;
	p->order[page] = 0;
}

/* Untouched memory, aligned for that order; what is skipped becomes free blocks. */
static uint32_t take_fresh(struct ap_pool *p, uint32_t o)
{
	uint32_t n = 1u << o, at = (p->used + n - 1u) & ~(n - 1u);

	if (at + n > AP_POOL_PAGES)
		return 0;
	while (p->used < at) {
		uint32_t low = (uint32_t)__builtin_ctz(p->used);

		push(p, low, p->used, 0);
		p->used = (uint16_t)(p->used + (1u << low));
	}
	p->used = (uint16_t)(at + n);
	return at;
}

static uint32_t take(struct ap_pool *p, uint32_t want)
{
	uint32_t page = 0, o, dirty;

	for (o = want; o < AP_N_ORDERS && !p->free[o]; o++)
		;
	if (o < AP_N_ORDERS) {
		page = p->free[o] & (AP_POOL_PAGES - 1);
		dirty = p->order[page] & DIRTY;
		cut(p, o, page);
		while (o > want) {
			o--;
			push(p, o, page + (1u << o), dirty);
		}
	} else {
		page = take_fresh(p, want);
	}
	if (page) {
		p->order[page] = (uint8_t)(want + 1);
		p->n_taken += 1u << want;
	}
	return page;
}

bool pool_get(struct ap_pool *p, uint32_t shift, struct ap_ring_at *ret)
{
	uint32_t o = min_u32(max_u32(shift, AP_PAGE_SHIFT), AP_MAX_SHIFT) - AP_PAGE_SHIFT;

	for (;; o--) {
		uint32_t page = take(p, o);

		if (page) {
			ret->page = page;
			ret->shift = o + AP_PAGE_SHIFT;
			return true;
		}
		if (o == 0)
			return false;
	}
}

static bool put(struct ap_pool *p, uint32_t page, uint32_t shift, uint32_t dirty)
{
	uint32_t o = shift - AP_PAGE_SHIFT;

	if (o >= AP_N_ORDERS || !page || page >= AP_POOL_PAGES || p->order[page] != o + 1)
		return false;
	p->order[page] = 0;
	p->n_taken -= 1u << o;
	while (o + 1 < AP_N_ORDERS) {
		uint32_t buddy = page ^ (1u << o);

		/* M2: page 0 is nobody's, so its buddies stay single. */
		if (!buddy || buddy >= p->used || (p->order[buddy] & ~DIRTY) != ((o + 1) | FREE) ||
		    !min_u32(page, buddy))
			break;
		dirty |= p->order[buddy] & DIRTY;
		cut(p, o, buddy);
		page = min_u32(page, buddy);
		o++;
	}
	push(p, o, page, dirty);
	return true;
}

bool pool_put(struct ap_pool *p, uint32_t page, uint32_t shift) { return put(p, page, shift, DIRTY); }

void pool_back(struct turn *t, struct ap_pool *p, uint32_t page, uint32_t shift)
{
	if (shift && !pool_put(p, page, shift))
		never(t, WHY_AP_POOL);
}

/* Free blocks of an order, or UINT32_MAX if their list is broken. */
static uint32_t n_listed(const struct ap_pool *p, uint32_t o)
{
	uint32_t page = p->free[o], prev = 0, n = 0;

	for (; page; n++) {
		if (page >= AP_POOL_PAGES || n > AP_POOL_PAGES || p->prev[page] != prev ||
		    (p->order[page] & ~DIRTY) != ((o + 1) | FREE))
			return UINT32_MAX;
		prev = page;
		page = p->next[page];
	}
	return n;
}

bool pool_is_sound(const struct ap_pool *p)
{
	uint32_t n_free[AP_N_ORDERS] = { 0 }, n_taken = 0, used = p->used, page = 1;

	while (page < used) {
		uint32_t o = (p->order[page] & BLOCK) - 1u, n;

		if (o >= AP_N_ORDERS)
			return false;
		n = 1u << o;
		if (page & (n - 1) || page + n > AP_POOL_PAGES)
			return false;
		if (p->order[page] & FREE)
			n_free[o]++;
		else
			n_taken += n;
		page += n;
	}
	for (uint32_t o = 0; o < AP_N_ORDERS; o++)
		if (n_listed(p, o) != n_free[o])
			return false;
	return page == used && n_taken == p->n_taken;
}

/* ---- giving memory back (M4) ------------------------------------------------------------------- */

static bool trim_one(struct ap_pool *p, struct ap_trim *ret)
{
	for (uint32_t o = AP_N_ORDERS; o-- > 0;) {
		uint32_t page = p->free[o] & (AP_POOL_PAGES - 1);

		for (uint32_t left = 64; page && left; left--) {
			if (p->order[page] == ((o + 1) | FREE | DIRTY)) {
				cut(p, o, page);
				p->order[page] = (uint8_t)(o + 1);
				p->n_taken += 1u << o;
				ret->page = page;
				ret->shift = o + AP_PAGE_SHIFT;
				return true;
			}
			page = p->next[page] & (AP_POOL_PAGES - 1);
		}
	}
	return false;
}

uint32_t ap_trim_take(struct turn *t, uint32_t slot, struct ap_trim *ret, uint32_t max)
{
	struct ap_slot *s = slot_at(t, slot);
	struct ap_pair *pair = pair_at(t->map, slot);
	uint32_t n = 0;

	for (uint32_t side = 0; side < 2 && pair; side++) {
		if (side != our_side(s) && !s->is_self)
			continue;
		while (n < max && trim_one(&table_at(t, slot)->pool[side], &ret[n])) {
			ret[n].slot = slot;
			ret[n].side = side;
			ret[n].pair_id = s->pair_id;
			ret[n].mem = pool_mem(pair, side) + (size_t)ret[n].page * AP_PAGE;
			ret[n].bytes = (size_t)1 << ret[n].shift;
			n++;
		}
	}
	return n;
}

void ap_trim_done(struct turn *t, const struct ap_trim *of, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		if (slot_at(t, of[i].slot)->pair_id == of[i].pair_id &&
		    !put(&table_at(t, of[i].slot)->pool[of[i].side & 1], of[i].page, of[i].shift, 0))
			never(t, WHY_AP_POOL);
}
