/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sleeping without missing the bell. A waiter slot belongs to one thread and has one bell.
 * (NAPS is as ASLEEP here; what it says to irq.c is another matter.)
 *
 *	         claim              sleep               ring
 *	  FREE ─────────▶ AWAKE ─────────────▶ ASLEEP ─────────▶ RUNG
 *	    ▲   release     │ ▲      wake         │      wake      │
 *	    └───────────────┘ └───────────────────┴────────────────┘
 *
 *	sleeper                                    waker (sk_ready() and after)
 *	 1 in a turn: nothing there, so set          a in a turn: makes it ready,
 *	   own bit in a wait_mask; end the turn        collects wait_mask in t->wakes
 *	 2 waiter_sleep(): ASLEEP                    b ends the turn
 *	 3 last look, in a turn or by a peek         c waiter_ring() for each bit:
 *	 4 nothing: poll the bell                      ASLEEP becomes RUNG, rings the bell;
 *	 5 waiter_wake(): AWAKE; back to 1             any other state: leaves it alone
 *
 *  A1  A sleeper sets ASLEEP (2) before its last look (3); a waker makes ready (a) before it
 *      looks at the state (c). Both 2 and c are read-modify-writes of the same word, so one
 *      comes first. If 2 does, c sees ASLEEP and rings. If c does, 2 reads what c wrote, and
 *      with it everything before c: 3 sees that it is ready. No third case: no lost wake-up.
 *  A2  For the same reason waiter_ring() writes even where it does not ring.
 *  A3  A bell rung for nothing costs its owner one look; state RUNG makes sure that it is
 *      rung once a sleep at most.
 *  A4  Only the owner claims, sleeps, wakes and releases. The dead are released by
 *      waiter_reap(), in a turn, which also clears their bits, for a bit in an epoll's mask
 *      is a promise (E5 in epoll.c) that the slot's next owner has not made.
 *  A5  Who dies between b and c rang nobody, and what it owed died with it. So waiter_reap() owes
 *      everybody a bell: one look for nothing each (A3), once a process.
 */
#include "base/atomic.h"
#include "core/stack/stack.h"

static _Atomic uint32_t *state_of(const struct stack_map *map, int slot)
{
	return (_Atomic uint32_t *)&map->seg->waiters[(uint32_t)slot % N_WAITERS].state;
}

int waiter_claim(const struct stack_map *map, uint32_t tid, uint32_t proc)
{
	for (int i = 0; i < PEER_BELL; i++) {
		uint32_t seen = WAITER_FREE;

		/* acq: pairs with rel in waiter_release(), the old owner is done with it. */
		if (peek32(&map->seg->waiters[i].state) == WAITER_FREE &&
		    atomic_compare_exchange_strong_explicit(state_of(map, i), &seen, WAITER_AWAKE,
							    memory_order_acquire,
							    memory_order_relaxed)) {
			poke32(&map->seg->waiters[i].tid, tid);
			poke32(&map->seg->waiters[i].proc, proc);
			return i;
		}
	}
	return -1;
}

void waiter_release(const struct stack_map *map, int slot)
{
	must(slot >= 0 && slot < N_WAITERS);
	/* rel: pairs with acq in waiter_claim(). */
	atomic_store_explicit(state_of(map, slot), WAITER_FREE, memory_order_release);
}

void waiter_sleep(const struct stack_map *map, int slot)
{
	must(slot >= 0 && slot < N_WAITERS);
	/* seq_cst: pairs with waiter_ring() (A1). */
	atomic_exchange_explicit(state_of(map, slot), WAITER_ASLEEP, memory_order_seq_cst);
}

void waiter_nap(const struct stack_map *map, int slot)
{
	must(slot >= 0 && slot < N_WAITERS);
	/* seq_cst: pairs with waiter_ring() (A1). */
	atomic_exchange_explicit(state_of(map, slot), WAITER_NAPS, memory_order_seq_cst);
}

static bool is_asleep(uint32_t state) { return state == WAITER_ASLEEP || state == WAITER_NAPS; }

bool waiter_sleeps(const struct stack_map *map, int slot)
{
	return is_asleep(peek32(&map->seg->waiters[(uint32_t)slot % N_WAITERS].state));
}

bool waiter_wake(const struct stack_map *map, int slot)
{
	must(slot >= 0 && slot < N_WAITERS);
	/* acq: pairs with rel in waiter_ring(), what it rang for is seen. */
	return atomic_exchange_explicit(state_of(map, slot), WAITER_AWAKE,
					memory_order_acq_rel) == WAITER_RUNG;
}

bool waiter_ring(const struct stack_map *map, int slot)
{
	_Atomic uint32_t *state = state_of(map, slot);
	/* relaxed: only a guess, the compare-and-swap below decides. */
	uint32_t seen = atomic_load_explicit(state, memory_order_relaxed);

	must(slot >= 0 && slot < N_WAITERS);
	/* seq_cst: pairs with waiter_sleep() (A1); writes in every case (A2). */
	while (!atomic_compare_exchange_weak_explicit(state, &seen,
			is_asleep(seen) ? WAITER_RUNG : seen,
			memory_order_seq_cst, memory_order_relaxed))
		;
	return is_asleep(seen);
}

void waiter_reap(struct turn *t, uint32_t proc)
{
	struct segment *seg = t->map->seg;
	uint32_t dead = 0;

	for (int i = 0; i < N_WAITERS; i++) {
		if (peek32(&seg->waiters[i].state) == WAITER_FREE)
			continue;
		if (peek32(&seg->waiters[i].proc) == proc)
			dead |= 1u << i;
		else
			t->wakes |= 1u << i;	/* A5 */
	}
	if (!dead)
		return;
	for (uint32_t i = 1; i < seg->used_sk && i <= t->map->sk_mask; i++)
		sk_slot(t, i)->wait_mask &= ~dead;
	for (uint32_t i = 1; i < seg->used_ep && i <= t->map->ep_mask; i++)
		/* What it was woken for and did not collect is the others' now: A5 wakes them. */
		ep_at(t, (ep_h){ i })->wait_mask &= ~dead;
	t->wakes &= ~dead;
	for (int i = 0; i < N_WAITERS; i++)
		if (dead & 1u << i)
			waiter_release(t->map, i);
}
