/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hostile tenant: writes nonsense into its segment and rings, and lets its surrogate run
 * on it. The surrogate must come back (the seed runner's alarm says when it does not) and must
 * stay inside the segment (the sanitizer says when it does not); what it makes of the nonsense
 * is its own affair, but it may only condemn, never panic.
 *
 * Everything is put back afterwards, so that one world serves for many trials.
 */
#include "sim/sim.h"

#include <stdlib.h>

#define RING_WORDS (16 * 9)
#define ROUNDS	20	/* of one world */
#define TRIALS	20	/* of one round */

struct saved {
	uint8_t *seg;
	struct device dev;
	uint32_t idx[RING_WORDS];
	void *tx, *rx, *comp, *fill, *fills, *owned, *done;
};

static void *copy_of(const void *p, size_t n)
{
	void *c = malloc(n);

	must(c);
	memcpy(c, p, n);
	return c;
}

static void put_back(void *to, void *from, size_t n)
{
	memcpy(to, from, n);
	free(from);
}

static void save(struct sim *w, struct sim_stack *s, struct saved *v)
{
	struct device *d = &s->dev;
	size_t n = d->mask + 1;

	v->seg = copy_of(s->seg, s->app.bytes);
	v->dev = *d;
	memcpy(v->idx, d->idx, sizeof(v->idx));
	v->tx = copy_of(d->tx, n * sizeof(*d->tx));
	v->rx = copy_of(d->rx, n * sizeof(*d->rx));
	v->comp = copy_of(d->comp, n * sizeof(*d->comp));
	v->fill = copy_of(d->fill, n * sizeof(*d->fill));
	v->fills = copy_of(d->fills, n * sizeof(*d->fills));
	v->done = copy_of(d->done, n * sizeof(*d->done));
	v->owned = copy_of(d->owned, w->k.n_pkts);
}

static void restore(struct sim *w, struct sim_stack *s, struct saved *v)
{
	struct device *d = &s->dev;
	size_t n = d->mask + 1;

	put_back(s->seg, v->seg, s->app.bytes);
	*d = v->dev;
	memcpy(d->idx, v->idx, sizeof(v->idx));
	put_back(d->tx, v->tx, n * sizeof(*d->tx));
	put_back(d->rx, v->rx, n * sizeof(*d->rx));
	put_back(d->comp, v->comp, n * sizeof(*d->comp));
	put_back(d->fill, v->fill, n * sizeof(*d->fill));
	put_back(d->fills, v->fills, n * sizeof(*d->fills));
	put_back(d->done, v->done, n * sizeof(*d->done));
	put_back(d->owned, v->owned, w->k.n_pkts);
}

/* A value of the kind that breaks things: small numbers, slots, edges, one bit off. */
static uint32_t nasty(struct sim *w, uint32_t was)
{
	switch (prng_below(&w->rng, 8)) {
	case 0: return 0;
	case 1: return UINT32_MAX;
	case 2: return was ^ 1u << prng_below(&w->rng, 32);
	case 3: return was + prng_below(&w->rng, 5) - 2;
	case 4: return prng_below(&w->rng, w->k.n_pkts);
	case 5: return prng_below(&w->rng, w->k.n_socks);
	case 6: return 1u << prng_below(&w->rng, 32);
	default: return (uint32_t)prng_u64(&w->rng);
	}
}

static void scribble_at(struct sim *w, void *base, size_t bytes)
{
	uint8_t *p = (uint8_t *)base + (sim_between(w, 0, bytes - 4) & ~3ull);
	uint32_t v;

	memcpy(&v, p, 4);
	v = nasty(w, v);
	memcpy(p, &v, 4);
}

void hostile_scribble(struct sim *w, void *base, size_t bytes) { scribble_at(w, base, bytes); }

/* Only where a tenant could: the segment and the rings. Mostly where something lives. */
static void scribble(struct sim *w, struct sim_stack *s)
{
	const struct stack_map *m = &s->strong;
	struct device *d = &s->dev;
	size_t socks = (size_t)max_u32(2, min_u32(s->seg->used_sk, w->k.n_socks)) * SK_BYTES;

	switch (prng_below(&w->rng, 12)) {
	case 0: return scribble_at(w, s->seg, s->app.bytes);
	case 1: return scribble_at(w, s->seg, sizeof(*s->seg));
	case 2: return scribble_at(w, m->pkts, (size_t)w->k.n_pkts * sizeof(struct pkt));
	case 3: return scribble_at(w, m->flow, 4 * (size_t)(m->flow_mask + 1));
	case 4: return scribble_at(w, m->listen, 4 * (size_t)(m->listen_mask + 1));
	case 5: return scribble_at(w, m->eps, sizeof(struct ep) * (m->ep_mask + 1));
	case 6: return scribble_at(w, m->epis, sizeof(struct epitem) * 32);
	case 7: return scribble_at(w, d->idx, sizeof(uint32_t) * RING_WORDS);
	case 8: return scribble_at(w, d->rx, sizeof(*d->rx) * (d->mask + 1));
	case 9: return scribble_at(w, d->comp, sizeof(*d->comp) * (d->mask + 1));
	default: return scribble_at(w, m->socks, socks);
	}
}

/* Some of what the wire brings is thrown in as well, so that receive paths run on nonsense. */
static void inject(struct sim *w, struct sim_stack *s)
{
	struct device *d = &s->dev;
	uint32_t n = prng_below(&w->rng, 6);

	for (uint32_t i = 0; i < w->n_heap && n; i++) {
		const struct sim_event *e = &w->heap[(i * 7 + 3) % w->n_heap];
		uint64_t addr;

		if (e->kind != SE_FRAME || e->a != s->host->id || !d->n_fills ||
		    e->frame->len > FRAME_BYTES - FRAME_HEADROOM)
			continue;
		addr = d->fills[--d->n_fills] + FRAME_HEADROOM;
		memcpy(s->app.umem + addr, e->frame->data, e->frame->len);
		d->owned[addr >> FRAME_SHIFT] = 0;
		d->rx[d->rx_prod++ & d->mask] = (struct vif_desc){ addr, e->frame->len, 0 };
		*s->app.vi[0].rx.producer = d->rx_prod;
		n--;
	}
}

static void trial(struct sim *w, struct sim_stack *s)
{
	uint32_t n = 1 + prng_below(&w->rng, 6);
	bool contended;
	struct turn t;

	inject(w, s);
	while (n--)
		scribble(w, s);
	s->seg->door = prng_below(&w->rng, 4) ? 0 : s->seg->door;
	for (n = 0; n < 4; n++) {
		if (!turn_try(&t, &s->strong, EXEC_SURROGATE, SIM_SURROGATE_TID, 0, w->now, 0) &&
		    !turn_adopt(&t, &s->strong, EXEC_SURROGATE, SIM_SURROGATE_TID, w->now,
				turn_holder(&s->strong)))
			return;
		net_rx(&t);
		if (prng_below(&w->rng, 2))
			scribble(w, s);
		if (prng_below(&w->rng, 2))
			s->seg->condemned = 0;		/* that word is the tenant's, too */
		net_tick(&t);
		net_tx(&t);
		if (prng_below(&w->rng, 4) == 0)
			net_proc_died(&t, 0);
		if (prng_below(&w->rng, 2) && net_check(&t))
			n = 4;
		for (uint32_t r = 0; r < 8 && turn_end(&t, &contended); r++)
			net_rx(&t);
		w->n_turns++;
	}
}

void hostile_round(struct sim *w, struct sim_stack *s)
{
	struct saved v;

	if (s->in_turn || s->retired || w->n_rounds == ROUNDS)
		return;
	w->n_rounds++;
	for (uint32_t i = 0; i < TRIALS; i++) {
		save(w, s, &v);
		w->in_trial = true;
		trial(w, s);
		w->in_trial = false;
		restore(w, s, &v);
	}
}
