/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The door: one 64-bit word. Low half: held, contended, errands, who; high half: the holder's
 * thread id. All changes are compare-and-swap on the whole word, so errands and release
 * cannot pass each other (T1 of turn.h).
 *
 *	            turn_try                turn_end, no errands
 *	   0 ───────────────────▶ HELD|who|tid ─────────────────────▶ 0
 *	                            │      ▲
 *	     turn_try by another,   │      │ turn_end takes the errands off,
 *	     which goes away again  ▼      │ and the holder runs them
 *	                   HELD|who|tid|ERRAND...
 *
 *  D1  Who turns 0 into HELD owns every "writer: turn" field until it writes 0.
 *  D2  An errand is left by a compare-and-swap even where its bit is set already: the release
 *      in it makes what the errand is about visible to the holder that takes the bit off.
 *  D3  Whoever released a contended door wakes all who sleep on it; each tries again, and
 *      sets the bit again before it sleeps again. So the bit needs no count.
 *  D4  The word lies in the application's memory. On the strong side a word that cannot be
 *      is condemned, never waited for.
 */
#include "core/stack/turn.h"

#include "base/atomic.h"
#include "core/stack/stack.h"

static inline _Atomic uint64_t *door_of(const struct stack_map *map)
{
	return (_Atomic uint64_t *)&map->seg->door;
}

static inline uint32_t door_tid(uint64_t door) { return (uint32_t)(door >> DOOR_TID_SHIFT); }
static inline uint32_t door_who(uint64_t door) { return (door >> DOOR_WHO_SHIFT) & 0xff; }

static inline uint64_t door_word(enum executor who, uint32_t tid)
{
	return DOOR_HELD | (uint64_t)who << DOOR_WHO_SHIFT | (uint64_t)tid << DOOR_TID_SHIFT;
}

/* The door is ours: writes down whose turn this is and when. */
static void turn_start(struct turn *t, const struct stack_map *map, enum executor who,
		       uint32_t proc, uint64_t now)
{
	struct segment *seg = map->seg;
	uint64_t last = seg->last_turn_at;

	*t = (struct turn){
		.map = map,
		.now = now < last ? last : now,		/* T4 */
		.who = who,
		.proc = proc,
		.budget = TURN_BUDGET,
	};
	poke64(&seg->last_turn_at, t->now);
	poke32(&seg->n_turns, seg->n_turns + 1);
}

bool turn_try(struct turn *t, const struct stack_map *map, enum executor who, uint32_t tid,
	      uint32_t proc, uint64_t now, uint64_t errand)
{
	_Atomic uint64_t *door = door_of(map);
	/* relaxed: only a guess, the compare-and-swap below decides. */
	uint64_t seen = atomic_load_explicit(door, memory_order_relaxed);

	must((errand & ~DOOR_ERRANDS) == 0);
	for (;;) {
		uint64_t next;

		if (seen & DOOR_HELD) {
			if (!errand)
				return false;
			next = seen | errand;
		} else {
			/* Nothing is left on an open door (T1); were it, it would be run now. */
			next = door_word(who, tid) | (seen & (DOOR_ERRANDS | DOOR_CONTENDED));
		}
		/* acq: pairs with rel in turn_end(), the last holder's writes are seen;
		 * rel: pairs with acq in turn_end(), which takes the errand off (D2). */
		if (atomic_compare_exchange_weak_explicit(door, &seen, next, memory_order_acq_rel,
							  memory_order_relaxed)) {
			if (seen & DOOR_HELD)
				return false;
			break;
		}
	}
	turn_start(t, map, who, proc, now);
	return true;
}

uint64_t turn_end(struct turn *t, bool *ret_contended)
{
	_Atomic uint64_t *door = door_of(t->map);
	uint64_t seen;

	if (t->timers || t->map->seg->txwait_head)
		poke64(&t->map->seg->deadline, stack_deadline(t));
	/* relaxed: only a guess, the compare-and-swap below decides. */
	seen = atomic_load_explicit(door, memory_order_relaxed);
	for (;;) {
		uint64_t errands = seen & DOOR_ERRANDS;

		if (!(seen & DOOR_HELD) || door_who(seen) != t->who) {
			/* Somebody wrote over the word: there is nothing left to release. */
			never(t, WHY_DOOR);
			*ret_contended = true;
			return 0;
		}
		/* acq: pairs with rel in turn_try(), what the errand is about is seen;
		 * rel: pairs with acq in turn_try(), the next holder sees our writes. */
		if (atomic_compare_exchange_weak_explicit(door, &seen, errands ? seen & ~errands : 0,
							  memory_order_acq_rel, memory_order_relaxed)) {
			if (!errands) {
				*ret_contended = seen & DOOR_CONTENDED;
				return 0;
			}
			ev(t, EV_TURN_SHUT, 0, (uint32_t)errands, door_tid(seen));
			return errands;
		}
	}
}

bool turn_leave_word(const struct stack_map *map, uint64_t errand)
{
	_Atomic uint64_t *door = door_of(map);
	/* relaxed: only a guess, the compare-and-swap below decides. */
	uint64_t seen = atomic_load_explicit(door, memory_order_relaxed);

	must(errand && (errand & ~DOOR_ERRANDS) == 0);
	while (seen & DOOR_HELD)
		/* rel: pairs with acq in turn_end() (D2). seq_cst: the caller looks at what the
		 * holder writes next, and one of them must see the other. */
		if (atomic_compare_exchange_weak_explicit(door, &seen, seen | errand,
							  memory_order_seq_cst, memory_order_relaxed))
			return true;
	return false;
}

bool turn_contend(const struct stack_map *map, uint64_t *ret_door)
{
	_Atomic uint64_t *door = door_of(map);
	/* relaxed: only a guess, the compare-and-swap below decides. */
	uint64_t seen = atomic_load_explicit(door, memory_order_relaxed);

	while (seen & DOOR_HELD) {
		if (seen & DOOR_CONTENDED ||
		    /* relaxed: carries no data; the futex compares the word again. */
		    atomic_compare_exchange_weak_explicit(door, &seen, seen | DOOR_CONTENDED,
							  memory_order_relaxed, memory_order_relaxed)) {
			*ret_door = seen | DOOR_CONTENDED;
			return true;
		}
	}
	return false;
}

uint32_t turn_holder(const struct stack_map *map)
{
	/* relaxed: a peek, true only when it was read. */
	uint64_t seen = atomic_load_explicit(door_of(map), memory_order_relaxed);

	return seen & DOOR_HELD ? door_tid(seen) : 0;
}

bool turn_adopt(struct turn *t, const struct stack_map *map, enum executor who, uint32_t tid,
		uint64_t now, uint32_t dead_tid)
{
	_Atomic uint64_t *door = door_of(map);
	/* relaxed: only a guess, the compare-and-swap below decides. */
	uint64_t seen = atomic_load_explicit(door, memory_order_relaxed);
	uint32_t dead_who;

	do {
		if (!(seen & DOOR_HELD) || door_tid(seen) != dead_tid)
			return false;
		dead_who = door_who(seen);
		/* acq: pairs with rel of whoever left errands in turn_try(); the dead one's
		 * writes are visible because it is dead. */
	} while (!atomic_compare_exchange_weak_explicit(door, &seen,
			door_word(who, tid) | (seen & (DOOR_ERRANDS | DOOR_CONTENDED)),
			memory_order_acq_rel, memory_order_relaxed));
	turn_start(t, map, who, 0, now);
	t->timers = 1;
	ev(t, EV_ADOPTED, 0, dead_tid, dead_who);
	return true;
}
