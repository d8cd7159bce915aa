/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events between two stacks: the dual queue's fixed half, and when to ring (S2-DQ, S0c).
 *
 *	we post						they look
 *	1 what it is about is in memory			a lane.wr read: nothing new
 *	2 the event, then lane.wr			b armed := a new number
 *	3 armed read: not 0, not rung for yet?		c lane.wr read again: still nothing
 *	4 ring their pipe				d sleep on the pipe
 *
 *  V1  2, 3, b and c are sequentially consistent: either 3 sees b's number or c sees 2's event.
 *      So an event is seen or rung for.
 *  V2  An arming is rung for once (S0c-IRQ-04): `rung` remembers for which.
 *  V3  A channel has at most a few events under way: one for the wish, one for room, and one
 *      for each change of state. Should the ring be full all the same, `swept` says "look at
 *      every channel" (S0c-IND-03); so nothing is lost. That is done SWEEP_STEP channels at a time,
 *      or a peer that asks for it again and again would hold us up; it is done with, and not before,
 *      when the last was looked at.
 *  V4  rd and wr that come from the peer are differences bounded by the ring; a peer that lies
 *      loses, or repeats, its own events.
 */
#include "core/ap/parts.h"

#define EV_MASK (AP_N_EVENTS - 1u)
#define SWEEP_STEP 4096u

static void ring_peer(struct turn *t, uint32_t slot)
{
	struct ap_slot *s = slot_at(t, slot);
	const struct ap_front *f = t->map->ap[slot].front;
	uint32_t armed = f ? cross_load(&f->armed) : 0;

	if (armed && armed != s->rung) {
		s->rung = armed;
		t->ap_rings |= 1ull << slot;
		ev(t, EV_AP_RING, 0, slot, armed);
	}
}

void lane_post(struct turn *t, uint32_t slot, uint32_t side, enum ap_event_type type, uint32_t chan,
	       uint32_t nonce, uint32_t arg)
{
	struct ap_slot *s = slot_at(t, slot);
	struct ap_pair *p = pair_at(t->map, slot);
	struct ap_lane *l;

	side &= 1;
	if (unlikely(!p || s->over))
		return;
	l = &p->lane[side];
	if (unlikely(s->wr[side] - peek32(&l->rd) >= AP_N_EVENTS)) {
		cross_store(&l->swept, peek32(&l->swept) + 1);		/* V3 */
		ev(t, EV_AP_SWEEP, 0, slot, chan);
	} else {
		l->ev[s->wr[side] & EV_MASK] = (struct ap_event){ type, chan, nonce, arg };
		cross_store(&l->wr, ++s->wr[side]);			/* V1: 2 */
	}
	if (s->is_self)
		poke32(&t->map->seg->ap_self, 1);
	else
		ring_peer(t, slot);					/* V1: 3 */
}

/* ---- the looking side ------------------------------------------------------------------------------- */

/* Lanes that we read: the other side's; of a pair with ourselves both. */
static inline uint32_t first_lane(const struct ap_slot *s) { return s->is_self ? 0 : ~s->side & 1u; }
static inline uint32_t last_lane(const struct ap_slot *s) { return s->is_self ? 1 : ~s->side & 1u; }

bool ap_pending(const struct stack_map *map)
{
	uint32_t n = min_u32(peek32(&map->seg->n_ap), N_PAIRS);

	for (uint32_t i = 0; i < n; i++) {
		const struct ap_slot *s = &map->seg->ap[i];
		const struct ap_pair *p = pair_at(map, i);
		uint32_t k = ~s->side & 1u;

		if (p && s->is_self && peek32(&map->seg->ap_self))
			return true;
		if (!p || s->is_self)
			continue;
		if (cross_load(&p->lane[k].wr) != peek32(&s->rd[k]) ||
		    peek32(&p->lane[k].swept) != peek32(&s->swept[k]) || peek32(&s->sweep_at[k]))
			return true;
	}
	return false;
}

bool ap_core_shared(const struct stack_map *map, uint32_t cpu)
{
	uint32_t slot = peek32(&map->seg->ap_last) & (N_PAIRS - 1);
	const struct ap_front *theirs = pair_at(map, slot) ? map->ap[slot].front : NULL;

	if (!map->front)
		return false;
	if (peek32(&map->front->cpu) != cpu + 1)
		poke32(&map->front->cpu, cpu + 1);
	return theirs && peek32(&theirs->cpu) == cpu + 1;
}

static void one_event(struct turn *t, uint32_t slot, uint32_t side, const struct ap_event *e)
{
	struct ap_chan_own *own;

	if (e->type == AP_EV_VAR) {
		dgram_poll(t, slot, ~side & 1);
		return;
	}
	if (e->chan == 0 || e->chan >= AP_N_CHANS)
		return;
	if (e->type == AP_EV_CONNECT) {
		conn_take(t, slot, side, e->chan, e->nonce);
		return;
	}
	own = &table_at(t, slot)->chan[side][e->chan];
	if (e->type != AP_EV_LOOK || !own->nonce || own->nonce != e->nonce)
		return;				/* of an earlier connection, or nobody's */
	if (own->sk) {
		struct sk *sk = sk_find(t, (sk_h){ own->sk });

		if (sk && sk->kind == SK_AP)
			conn_look(t, sk, true);
	} else {
		chan_settle(t, slot, side, e->chan);
	}
}

static void sweep_one(struct turn *t, uint32_t slot, uint32_t side, uint32_t c, uint32_t nonce)
{
	const struct ap_chan_own *own = &table_at(t, slot)->chan[side][c];
	bool opens = (c & 1) != side;		/* theirs to open */

	if (opens && own->nonce != nonce)
		chan_settle(t, slot, side, c);	/* begun anew */
	if (opens && nonce && !own->nonce &&
	    acquire32(&pair_at(t->map, slot)->chan[c].dir[~side & 1].tx.nonce) == nonce)
		one_event(t, slot, side, &(struct ap_event){ AP_EV_CONNECT, c, nonce, 0 });
	else if (own->nonce)
		one_event(t, slot, side, &(struct ap_event){ AP_EV_LOOK, c, own->nonce, 0 });
}

/* V3: events were left out, which `swept` counts. Every channel of the lane is looked at; what we know
 * ourselves to be in use says how far to go, beyond it the peer does. */
static void sweep(struct turn *t, uint32_t slot, uint32_t k, struct ap_pair *p, uint32_t swept)
{
	struct ap_slot *s = slot_at(t, slot);
	uint32_t side = ~k & 1, known = min_u32(s->top[side], AP_N_CHANS);
	uint32_t c = s->sweep_at[k], left = SWEEP_STEP, hole = 0;

	if (c == 0) {
		c = 1;
		s->sweep_of[k] = swept;
	}
	for (; c < AP_N_CHANS && (c < known || hole < AP_HOLE) && left; c++, left--) {
		uint32_t nonce = peek32(&p->chan[c].name.nonce);

		hole = nonce ? 0 : hole + 1;
		sweep_one(t, slot, side, c, nonce);
	}
	poke32(&s->sweep_at[k], left ? 0 : c);
	if (left) {
		poke32(&s->swept[k], s->sweep_of[k]);
		dgram_poll(t, slot, k);
	} else if (s->is_self) {
		poke32(&t->map->seg->ap_self, 1);
	}
}

static uint32_t poll_lane(struct turn *t, uint32_t slot, uint32_t k, struct ap_pair *p)
{
	struct ap_slot *s = slot_at(t, slot);
	struct ap_lane *l = &p->lane[k];
	uint32_t swept = cross_load(&l->swept), n = cross_load(&l->wr) - s->rd[k], done = 0;

	if (unlikely(n > AP_N_EVENTS)) {	/* V4 */
		poke32(&s->rd[k], s->rd[k] + n);
		n = 0;
		swept = s->swept[k] + 1;
	}
	for (; done < n && t->budget; done++, t->budget--) {
		struct ap_event e = l->ev[s->rd[k] & EV_MASK];

		poke32(&s->rd[k], s->rd[k] + 1);	/* ap_pending() peeks */
		one_event(t, slot, ~k & 1, &e);
	}
	poke32(&l->rd, s->rd[k]);
	if (done)
		poke32(&t->map->seg->ap_last, slot);
	if (unlikely(swept != s->swept[k] || s->sweep_at[k]))
		sweep(t, slot, k, p, swept);
	return done;
}

uint32_t ap_poll(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint32_t n = min_u32(seg->n_ap, N_PAIRS), done = 0, self;
	bool mapped;

	do {
		mapped = false;
		for (uint32_t i = 0; i < n; i++) {
			struct ap_slot *s = slot_at(t, i);
			struct ap_pair *p = pair_at(t->map, i);

			/* Where it is not mapped, the word stays for a process that has it. */
			if (p && s->is_self) {
				mapped = true;
				poke32(&seg->ap_self, 0);
			}
			for (uint32_t k = first_lane(s); p && k <= last_lane(s); k++)
				done += poll_lane(t, i, k, p);
		}
		self = mapped ? peek32(&seg->ap_self) : 0;
	} while (self && t->budget);
	if (unlikely(self || !t->budget))
		poke32(&seg->ap_self, 1);	/* there may be more; who goes on finds out */
	return done;
}
