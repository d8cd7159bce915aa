/* SPDX-License-Identifier: BSD-2-Clause */
/* A stack of small geometry in plain memory, with a turn held on it. */
#ifndef TEST_UNIT_RIG_H
#define TEST_UNIT_RIG_H

#include "test/unit/panic.h"

#include "base/csum.h"
#include "base/prng.h"
#include "core/stack/stack.h"
#include "shm/shm.h"

#define RIG_HASH 0x7265676974ull
#define RIG_TID	 4711

struct rig {
	struct stack_map map;
	struct turn t;
	void *mem;
};

static const struct geometry rig_small = {
	.n_socks = 64, .n_pkts = 128, .n_flow_buckets = 32, .n_listen_buckets = 8,
	.n_epolls = 8, .n_epitems = 128, .n_trace = 64, .n_pairs = 2,
};

static inline void rig_begin(struct rig *r, uint64_t now)
{
	must(turn_try(&r->t, &r->map, EXEC_APP, RIG_TID, 0, now, 0));
}

static inline void rig_end(struct rig *r)
{
	bool contended;

	must(turn_end(&r->t, &contended) == 0);
}

static inline void rig_make_as(struct rig *r, const struct geometry *counts)
{
	struct geometry g = *counts;
	struct segment *seg;

	geometry_lay_out(&g);
	r->mem = aligned_alloc(FRAME_BYTES, g.bytes);
	must(r->mem);
	memset(r->mem, 0, g.bytes);
	seg = r->mem;
	shm_format(seg, &g, RIG_HASH);
	for (unsigned i = 0; i < 4; i++)
		seg->secret[i] = 0x0123456789abcdefull * (i + 1);
	must(shm_attach(seg, g.bytes, RIG_HASH, &r->map) == 0);
	stack_init(&r->map);
	rig_begin(r, 1000 * NS_PER_S);
}

static inline void rig_make(struct rig *r) { rig_make_as(r, &rig_small); }

/* Everything a test leaves must add up. */
static inline void rig_free(struct rig *r)
{
	must(stack_check(&r->t) == 0);
	rig_end(r);
	free(r->mem);
}

static inline uint64_t rig_count(const struct rig *r, enum event e)
{
	return r->map.seg->counters[e];
}

#endif
