/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events: one call counts, and leaves a record in the trace ring. Always on: a record is half
 * a cache line written in order, which costs less than deciding whether to write it.
 *
 * Records and counters are written in the turn and read by tools without it; a torn record
 * in a tool's listing is the price, so a tool shows, and never decides on, what it reads.
 */
#include "base/atomic.h"
#include "core/stack/stack.h"

void ev(struct turn *t, enum event e, uint32_t h, uint32_t a, uint32_t b)
{
	struct segment *seg = t->map->seg;
	uint32_t at = seg->trace_next;
	struct trace_rec *r = &t->map->trace[at & t->map->trace_mask];

	must(e < N_EVENTS);
	poke64(&seg->counters[e], seg->counters[e] + 1);
	r->at = t->now;
	r->event = (uint16_t)e;
	r->who = (uint8_t)t->who;
	r->pad = 0;
	r->h = h;
	r->arg[0] = a;
	r->arg[1] = b;
	r->arg[2] = 0;
	r->arg[3] = 0;
	poke32(&seg->trace_next, at + 1);
}

const char *event_name(enum event e)
{
	static const char *const name[N_EVENTS] = {
#define EVENT(n, layer, sentence) [EV_##n] = #n,
#include "core/stack/events.def"
#undef EVENT
	};

	return e < N_EVENTS ? name[e] : "?";
}

const char *event_sentence(enum event e)
{
	static const char *const text[N_EVENTS] = {
#define EVENT(n, layer, sentence) [EV_##n] = sentence,
#include "core/stack/events.def"
#undef EVENT
	};

	return e < N_EVENTS ? text[e] : "an event this version does not know";
}
