/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The timer wheel: four levels of 64 buckets, a tick of 2^20 ns (1.05 ms). Level l's buckets
 * are 64^l ticks wide, so the wheel reaches 2^24 ticks, 4.9 hours; what is due later waits in
 * the last bucket and is placed again from there.
 *
 *	level 0   |0|1|2| ... |63|        one tick each: due
 *	level 1   |  0  |  1  | ...       64 ticks each: moved down when their first tick comes
 *	level 2, 3                        4,096 and 262,144 ticks each
 *
 *  W1  Every socket in a bucket is due at or after the bucket's first tick, or is not due at
 *      all: deadlines are moved back, and disarmed, by writing tmr_at alone, which costs the
 *      usual case (a retransmission timer pushed on by each ACK) one store.
 *  W2  No bucket of level 0 starts before now_tick, none of another level at or before it.
 *  W3  occupied[l] has a bit for exactly the non-empty buckets; SK_F_TIMER is set for exactly
 *      the sockets in a bucket, and their tmr_bucket names it.
 *  W4  A deadline is rounded up to a tick, so nothing fires early.
 */
#include "core/stack/links.h"

#define LEVEL_SHIFT	6
#define SLOT_MASK	(WHEEL_SLOTS - 1)
#define WHEEL_SPAN	(1ull << (LEVEL_SHIFT * WHEEL_LEVELS))
static_assert(WHEEL_SLOTS == 1 << LEVEL_SHIFT, "a bit per bucket of a level");

static uint64_t tick_of(uint64_t at)
{
	/* Rounded up; NEVER_NS stays the last tick there is. */
	return (at >> WHEEL_TICK_SHIFT) + ((at & ((1ull << WHEEL_TICK_SHIFT) - 1)) != 0);
}

/* First tick of the bucket at `slot` of level `l`, as seen from now_tick. */
static uint64_t start_of(uint64_t now_tick, uint32_t l, uint32_t slot)
{
	uint64_t base = now_tick >> (LEVEL_SHIFT * l);
	uint64_t ahead = (slot - base) & SLOT_MASK;

	if (l && !ahead)
		ahead = WHEEL_SLOTS;	/* W2: this one's turn has been; a full round */
	return (base + ahead) << (LEVEL_SHIFT * l);
}

uint64_t tmr_bucket_start(const struct wheel *w, uint32_t bucket)
{
	return start_of(w->now_tick, (bucket >> LEVEL_SHIFT) & (WHEEL_LEVELS - 1), bucket & SLOT_MASK);
}

/* The earliest start of a non-empty bucket; UINT64_MAX when all are empty. */
static uint64_t next_start(const struct wheel *w)
{
	uint64_t best = UINT64_MAX;

	for (uint32_t l = 0; l < WHEEL_LEVELS; l++) {
		uint64_t bits = w->occupied[l];
		uint32_t from = (uint32_t)(w->now_tick >> (LEVEL_SHIFT * l)) + (l != 0);
		uint32_t turn = from & SLOT_MASK;

		if (!bits)
			continue;
		/* Rotated so that bit 0 is the bucket whose turn comes first. */
		bits = turn ? bits >> turn | bits << (WHEEL_SLOTS - turn) : bits;
		best = min_u64(best, start_of(w->now_tick, l,
					      (turn + (uint32_t)__builtin_ctzll(bits)) & SLOT_MASK));
	}
	return best;
}

static void wheel_link(struct turn *t, struct sk *sk)
{
	struct wheel *w = &t->map->seg->wheel;
	uint64_t tick = tick_of(sk->tmr_at);
	uint64_t ahead = tick > w->now_tick ? tick - w->now_tick : 0;
	uint32_t l, slot, *head;

	t->timers = 1;
	if (ahead >= WHEEL_SPAN)
		ahead = WHEEL_SPAN - 1;
	l = ahead ? (63u - (uint32_t)__builtin_clzll(ahead)) / LEVEL_SHIFT : 0;
	slot = (uint32_t)((w->now_tick + ahead) >> (LEVEL_SHIFT * l)) & SLOT_MASK;
	head = &w->bucket[l][slot];
	sk->tmr_prev = 0;
	sk->tmr_next = *head & t->map->sk_mask;
	if (sk->tmr_next)
		sk_slot(t, sk->tmr_next)->tmr_prev = sk_slot_of(t, sk);
	*head = sk_slot_of(t, sk);
	w->occupied[l] |= 1ull << slot;
	sk->tmr_bucket = (uint16_t)(l << LEVEL_SHIFT | slot);
	sk->flags |= SK_F_TIMER;
}

static void wheel_unlink(struct turn *t, struct sk *sk)
{
	struct wheel *w = &t->map->seg->wheel;
	uint32_t l = (sk->tmr_bucket >> LEVEL_SHIFT) & (WHEEL_LEVELS - 1);
	uint32_t slot = sk->tmr_bucket & SLOT_MASK;
	uint32_t next = sk->tmr_next & t->map->sk_mask, prev = sk->tmr_prev & t->map->sk_mask;

	t->timers = 1;
	if (next)
		sk_slot(t, next)->tmr_prev = prev;
	if (prev)
		sk_slot(t, prev)->tmr_next = next;
	else
		w->bucket[l][slot] = next;
	if (!w->bucket[l][slot])
		w->occupied[l] &= ~(1ull << slot);
	sk->flags &= ~SK_F_TIMER;
}

void tmr_cut(struct turn *t, struct sk *sk)
{
	if (sk->flags & SK_F_TIMER)
		wheel_unlink(t, sk);
	sk->tmr_at = NEVER_NS;
}

void tmr_arm(struct turn *t, struct sk *sk, uint64_t at)
{
	struct wheel *w = &t->map->seg->wheel;

	if (sk->flags & SK_F_TIMER) {
		sk->tmr_at = at;
		if (likely(at == NEVER_NS || tick_of(at) >= tmr_bucket_start(w, sk->tmr_bucket)))
			return;		/* W1 */
		wheel_unlink(t, sk);
		wheel_link(t, sk);
		return;
	}
	sk->tmr_at = at;
	if (at == NEVER_NS)
		return;
	/* An empty wheel may have stood still for long: nothing is lost by setting it. */
	if (next_start(w) == UINT64_MAX)
		w->now_tick = t->now >> WHEEL_TICK_SHIFT;
	wheel_link(t, sk);
}

/* Places again what is in a bucket whose first tick has come, and drops what is not armed.
 * Returns sockets looked at. */
static uint32_t wheel_move_down(struct turn *t, uint32_t l, uint32_t slot)
{
	struct wheel *w = &t->map->seg->wheel;
	uint32_t at = w->bucket[l][slot] & t->map->sk_mask;
	uint32_t n = 0;

	w->bucket[l][slot] = 0;
	w->occupied[l] &= ~(1ull << slot);
	while (at && n <= t->map->sk_mask) {
		struct sk *sk = sk_slot(t, at);

		at = sk->tmr_next & t->map->sk_mask;
		n++;
		sk->flags &= ~SK_F_TIMER;
		if (sk->tmr_at != NEVER_NS)
			wheel_link(t, sk);
	}
	return n;
}

/* Goes to `tick`, which is at or before the next non-empty bucket's start. */
static void wheel_go(struct turn *t, uint64_t tick)
{
	struct wheel *w = &t->map->seg->wheel;

	w->now_tick = tick;
	for (uint32_t l = WHEEL_LEVELS - 1; l > 0; l--) {
		uint32_t slot = (uint32_t)(tick >> (LEVEL_SHIFT * l)) & SLOT_MASK;

		if ((tick & ((1ull << (LEVEL_SHIFT * l)) - 1)) == 0 && w->occupied[l] & 1ull << slot)
			wheel_move_down(t, l, slot);
	}
}

struct sk *tmr_pop(struct turn *t)
{
	struct wheel *w = &t->map->seg->wheel;
	uint64_t target = t->now >> WHEEL_TICK_SHIFT;
	/* Each step takes a socket out of the present bucket, or goes on by a bucket. */
	uint64_t left = 2ull * t->map->sk_mask + 2 * WHEEL_LEVELS * WHEEL_SLOTS;

	t->timers = 1;
	for (; left; left--) {
		uint32_t slot = w->bucket[0][w->now_tick & SLOT_MASK] & t->map->sk_mask;
		struct sk *sk = sk_slot(t, slot);
		uint64_t next;

		if (slot) {
			uint64_t at = sk->tmr_at;

			sk->tmr_bucket = (uint16_t)(w->now_tick & SLOT_MASK);
			wheel_unlink(t, sk);
			if (at == NEVER_NS)
				continue;
			if (tick_of(at) > w->now_tick) {
				wheel_link(t, sk);
				continue;
			}
			sk->tmr_at = NEVER_NS;
			return sk;
		}
		w->occupied[0] &= ~(1ull << (w->now_tick & SLOT_MASK));
		if (w->now_tick >= target)
			return NULL;
		next = next_start(w);
		if (next > target) {
			/* W2 holds: no bucket starts between. */
			w->now_tick = target;
			return NULL;
		}
		wheel_go(t, next);
	}
	never(t, WHY_WHEEL);
	return NULL;
}

uint64_t tmr_deadline(const struct turn *t)
{
	uint64_t tick = next_start(&t->map->seg->wheel);

	return tick >= NEVER_NS >> WHEEL_TICK_SHIFT ? NEVER_NS : tick << WHEEL_TICK_SHIFT;
}

uint64_t stack_deadline(const struct turn *t)
{
	uint64_t at = tmr_deadline(t);

	return t->map->seg->txwait_head ? min_u64(at, t->now + NS_PER_MS) : at;
}
