/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share. */
#ifndef CORE_AP_PARTS_H
#define CORE_AP_PARTS_H

#include <errno.h>
#include <sys/epoll.h>

#include "base/atomic.h"
#include "core/ap/ap.h"
#include "core/ap/ap_area.h"

/*
 * Words that both sides write and look at crosswise ("I wrote; do you sleep?", "I sleep; did
 * you write?") are sequentially consistent: whoever comes second sees the first (S0c-IRQ-02).
 */
static inline uint32_t cross_load(const uint32_t *p)
{
	/* seq_cst: pairs with cross_store() on the other side's word */
	return atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)p, memory_order_seq_cst);
}
static inline void cross_store(uint32_t *p, uint32_t v)
{
	/* seq_cst: pairs with cross_load() of the other side */
	atomic_store_explicit((_Atomic uint32_t *)p, v, memory_order_seq_cst);
}

/* A release now, ordered before a later cross_load() by the fence between them: what is written
 * is on its way to the reader while the fence waits, not after it. */
static inline void cross_publish(uint32_t *p, uint32_t v)
{
	/* rel: pairs with acquire32() and cross_load() of the other side */
	atomic_store_explicit((_Atomic uint32_t *)p, v, memory_order_release);
	/* seq_cst: pairs with cross_store() on the word that is looked at next */
	atomic_thread_fence(memory_order_seq_cst);
}

#define PRIV_RING_NONE ((struct ap_ring_at){ 0, 0, 0 })

static inline uint32_t ring_bytes(const struct ap_ring_at *r) { return r->shift ? 1u << (r->shift & 31) : 0; }
static inline uint32_t our_side(const struct ap_slot *s) { return s->side & 1u; }

static inline struct ap_slot *slot_at(const struct turn *t, uint32_t slot)
{
	return &t->map->seg->ap[slot % N_PAIRS];
}
static inline struct ap_table *table_at(const struct turn *t, uint32_t slot)
{
	return &t->map->ap_tables[slot & (t->map->n_pairs - 1)];
}
/* The pair as this process has it mapped; NULL: not (yet). */
static inline struct ap_pair *pair_at(const struct stack_map *map, uint32_t slot)
{
	const struct ap_view *v = &map->ap[slot % N_PAIRS];

	return likely(v->pair && v->pair_id == peek32(&map->seg->ap[slot % N_PAIRS].pair_id)) ? v->pair : NULL;
}
static inline uint8_t *pool_mem(struct ap_pair *p, uint32_t side)
{
	return (uint8_t *)p + AP_POOL_OFF + (size_t)side * AP_POOL_PAGES * AP_PAGE;
}

/* The lines of a connection, in this process. */
struct lines {
	struct ap_pair *pair;
	struct ap_dir  *out, *in;
};
static inline bool lines_of(const struct stack_map *map, const struct ap *a, struct lines *ret)
{
	struct ap_chan *c;

	ret->pair = pair_at(map, a->slot);
	if (unlikely(!ret->pair))
		return false;
	c = &ret->pair->chan[a->chan & (AP_N_CHANS - 1)];
	ret->out = &c->dir[a->side & 1];
	ret->in = &c->dir[~a->side & 1];
	return true;
}

/* ---- pool.c: memory of our side ------------------------------------------------------------- */

void pool_init(struct ap_pool *p);
must_check bool pool_is_sound(const struct ap_pool *p);	/* M1, M2 */
/* A block of 2^shift bytes or, when there is none, of the largest size that there is, down to
 * a page. Fills page and shift of *ret; false: nothing is left. */
must_check bool pool_get(struct ap_pool *p, uint32_t shift, struct ap_ring_at *ret);
/* False: that block is not out, so the books are wrong. */
must_check bool pool_put(struct ap_pool *p, uint32_t page, uint32_t shift);
/* The same with never() as its answer; shift 0: nothing. */
void pool_back(struct turn *t, struct ap_pool *p, uint32_t page, uint32_t shift);

/* ---- lane.c ------------------------------------------------------------------------------------ */

void lane_post(struct turn *t, uint32_t slot, uint32_t side, enum ap_event_type type, uint32_t chan,
	       uint32_t nonce, uint32_t arg);
static inline void lane_look(struct turn *t, const struct ap *a)
{
	lane_post(t, a->slot, a->side, AP_EV_LOOK, a->chan, a->nonce, 0);
}

/* ---- conn.c, pair.c -------------------------------------------------------------------------------- */

void conn_take(struct turn *t, uint32_t slot, uint32_t side, uint32_t chan, uint32_t nonce);
void conn_look(struct turn *t, struct sk *sk, bool from_event);
void conn_sync(struct turn *t, struct sk *sk, uint32_t edges);
void conn_reset(struct turn *t, struct sk *sk);		/* the peer reset it, or is gone */
void conn_state(struct turn *t, struct sk *sk, enum tcp_state to);
/* A channel without a socket here: its rings go back once the peer has forgotten it. */
void chan_settle(struct turn *t, uint32_t slot, uint32_t side, uint32_t chan);
must_check uint32_t chan_get(struct turn *t, uint32_t slot);	/* of ours; 0: none */
/* A side opens its channels one after the other (C3), so behind so many that never were, counted in
 * both sides', there is none, and walks touch no memory there. Holes are left by an opener that spoilt
 * its memory or, one wide, by one that had no socket left. */
#define AP_HOLE 128u

/* ---- stream.c ------------------------------------------------------------------------------------------ */

/* Takes the peer's position over; false: it is impossible, and the connection has been reset. */
must_check bool stream_heard(struct turn *t, struct sk *sk, const struct lines *l);
bool stream_has_room(const struct ap *a);
/* The socket has no room: an event is to come when it has. */
void stream_want_room(struct turn *t, struct sk *sk, const struct lines *l);
void stream_wish(struct turn *t, struct sk *sk, const struct lines *l);
void stream_drop_rings(struct turn *t, struct ap *a);

/* ---- dgram.c -------------------------------------------------------------------------------------------- */

void dgram_poll(struct turn *t, uint32_t slot, uint32_t lane);

#endif
