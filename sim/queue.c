/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The event queue: a binary heap by (at, order). `order` counts postings, so that two events
 * of one instant happen in the order in which they were posted, on every machine.
 */
#include "sim/sim.h"

#include <stdlib.h>

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->order < b->order;
}

void sim_post(struct sim *w, uint64_t at, struct sim_event e)
{
	uint32_t i;

	if (w->n_heap == w->cap_heap) {
		w->cap_heap = w->cap_heap ? 2 * w->cap_heap : 256;
		w->heap = realloc(w->heap, w->cap_heap * sizeof(*w->heap));
		must(w->heap);
	}
	e.at = at > w->now ? at : w->now;
	e.order = w->order++;
	for (i = w->n_heap++; i && before(&e, &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
		w->heap[i] = w->heap[(i - 1) / 2];
	w->heap[i] = e;
}

bool sim_next(struct sim *w, struct sim_event *ret)
{
	struct sim_event last;
	uint32_t i = 0, c;

	if (!w->n_heap)
		return false;
	*ret = w->heap[0];
	last = w->heap[--w->n_heap];
	for (; (c = 2 * i + 1) < w->n_heap; i = c) {
		if (c + 1 < w->n_heap && before(&w->heap[c + 1], &w->heap[c]))
			c++;
		if (!before(&w->heap[c], &last))
			break;
		w->heap[i] = w->heap[c];
	}
	w->heap[i] = last;
	return true;
}

uint64_t sim_skewed(struct sim *w, uint64_t lo, uint64_t hi)
{
	uint64_t span = hi > lo ? hi - lo : 0;

	return lo + (span >> prng_below(&w->rng, 64 - (unsigned)__builtin_clzll(span | 1))) *
		    (prng_below(&w->rng, 1000) + 1) / 1000;
}

void sim_digest(struct sim *w, uint64_t v)
{
	uint64_t z = w->digest ^ v;

	z = (z ^ z >> 32) * 0xd6e8feb86659fd93ull;
	w->digest = z ^ z >> 32;
}

uint64_t sim_hash(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint64_t h = n * 0x9e3779b97f4a7c15ull, v;

	for (; n >= 8; n -= 8, b += 8) {
		memcpy(&v, b, 8);
		h = (h ^ v) * 0xd6e8feb86659fd93ull;
		h ^= h >> 29;
	}
	v = 0;
	memcpy(&v, b, n);
	h = (h ^ v) * 0xd6e8feb86659fd93ull;
	return h ^ h >> 32;
}

void sim_digest_bytes(struct sim *w, const void *p, size_t n)
{
	sim_digest(w, sim_hash(p, n));
}
