/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When to be rung: S0c's "enable interrupts only if nobody else will look". A stack's front
 * (abi/aperture.h) says to its peers whether it wants to be rung; this file alone writes it.
 *
 *	sleeper						thread that wakes
 *	 1 waiter_sleep(): ASLEEP			 a waiter_wake(); what was rung is drained
 *	 2 irq_sleep(): armed, or somebody sees to it	 b irq_wake(): not armed; then a look round;
 *	 3 last look; nothing: sleeps			   armed again if others sleep
 *							 c a turn: looks, and wakes whom it concerns
 *
 *  Q1  Armed only before a look (3, c, or the holder's next poll): "armed" implies that what came
 *	before was seen or is being looked for (S0c-IRQ-02).
 *  Q2  Not armed: while it is already (rule 2); while somebody holds the turn, who then finds
 *	DOOR_ERRAND_ARM on it and decides in our place (rule 1; S0c-BLK-02's PRIME_REQ); while a
 *	thread that was rung has not got up, which looks round in b, after our ASLEEP (rule 3).
 *  Q3  Disarming is a swap, and the look round comes after it. Who goes to sleep meanwhile says
 *	ASLEEP before it looks at `armed`. So either it finds "not armed" and decides for itself,
 *	or b sees it asleep and arms for it: nobody sleeps on an arming that has been taken back.
 *  Q4  An arming is rung for once (S0c-IRQ-04): each has a number that no other has.
 *  Q5  Nobody arms for who naps (sock/wait.c): it was rung for what others took, again and again, and
 *	trusts them to look until it gets up by itself. Who sleeps arms whatever others do (Q1), and
 *	who was rung in its nap looks round as any other (b).
 *
 * Q2 leans on threads that are stopped or killed between being rung and getting up: for them the
 * surrogate's watchdog is there (S0a-TMR-03), and waiter_reap(). test/model/aperture.c tries all
 * interleavings.
 */
#include "base/atomic.h"
#include "core/stack/stack.h"

enum irq irq_decide(const struct irq_signs *s)
{
	if (s->armed)
		return IRQ_ARMED;
	if (s->held)
		return IRQ_HELD;
	if (s->n_woken)
		return IRQ_WOKE;
	return IRQ_ARM;
}

void irq_arm(const struct stack_map *map)
{
	uint32_t n;

	if (!map->front)
		return;
	do {
		/* relaxed: a number that no other arming has; the exchange below orders */
		n = atomic_fetch_add_explicit((_Atomic uint32_t *)&map->front->n_arms, 1,
					      memory_order_relaxed) + 1;
	} while (unlikely(!n));		/* 0 is "not armed" */
	/* seq_cst: pairs with the peer's load after it posted (V1 of core/ap/lane.c) */
	atomic_exchange_explicit((_Atomic uint32_t *)&map->front->armed, n, memory_order_seq_cst);
}

void irq_disarm(const struct stack_map *map)
{
	/* seq_cst: pairs with irq_signs_of() of one who goes to sleep (Q3) */
	if (map->front)
		atomic_exchange_explicit((_Atomic uint32_t *)&map->front->armed, 0, memory_order_seq_cst);
}

static uint32_t count_in(const struct stack_map *map, uint32_t state, int but)
{
	uint32_t n = 0;

	for (int i = 0; i < N_WAITERS; i++)
		/* acq: pairs with the swaps in waiter_sleep(), waiter_wake() and waiter_ring() */
		n += i != but && acquire32(&map->seg->waiters[i].state) == state;
	return n;
}

static bool is_down(const struct stack_map *map, int slot)
{
	/* acq: pairs with the swap in waiter_wake(): if it comes later, so does its look round */
	uint32_t state = acquire32(&map->seg->waiters[slot].state);

	return state == WAITER_ASLEEP || state == WAITER_RUNG || state == WAITER_NAPS;
}

struct irq_signs irq_signs_of(const struct stack_map *map)
{
	const uint32_t *armed = &map->front->armed;
	/* seq_cst: after our waiter_sleep(); pairs with irq_disarm() (Q3) */
	struct irq_signs s = {
		.armed = atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)armed, memory_order_seq_cst) != 0,
	};

	if (!s.armed)
		s.held = peek64(&map->seg->door) & DOOR_HELD;
	if (!s.armed && !s.held)
		s.n_woken = count_in(map, WAITER_RUNG, -1);
	return s;
}

enum irq irq_sleep(const struct stack_map *map)
{
	struct irq_signs s;
	enum irq d;

	if (!map->front)
		return IRQ_ARMED;
	s = irq_signs_of(map);
	d = irq_decide(&s);
	/* The door may have been opened since: then nobody is there to leave word for. */
	if (d == IRQ_HELD && !turn_leave_word(map, DOOR_ERRAND_ARM))
		d = IRQ_ARM;
	if (d == IRQ_ARM)
		irq_arm(map);
	return d;
}

void irq_note(const struct stack_map *map, int slot, enum irq decided)
{
	static const enum wait_count what[] = {
		[IRQ_ARM] = WAIT_PRIMED, [IRQ_ARMED] = WAIT_SKIP_ENABLED, [IRQ_HELD] = WAIT_SKIP_HELD,
		[IRQ_WOKE] = WAIT_SKIP_WOKEN,
	};
	/* A peek, a little late: whether others want to get in as well (S0c-BLK-03). */
	bool sought = decided == IRQ_HELD && peek64(&map->seg->door) & DOOR_CONTENDED;

	if (map->front)
		waiter_note(map, slot, sought ? WAIT_SKIP_CONTENDED : what[decided], 1);
}

void irq_wake(const struct stack_map *map, int slot)
{
	if (!map->front)
		return;
	irq_disarm(map);
	if (count_in(map, WAITER_ASLEEP, slot))
		irq_arm(map);
}

enum irq irq_errand(struct turn *t)
{
	struct irq_signs s;
	enum irq d;

	if (!t->map->front)
		return IRQ_ARMED;
	s = irq_signs_of(t->map);
	s.held = false;		/* by us */
	/* Those whom this turn will ring. Not those whose bit is set and who are up: they may have
	 * looked round already, and one of them may be this very thread. */
	s.n_woken = 0;
	for (uint32_t left = t->wakes; left; left &= left - 1)
		s.n_woken += is_down(t->map, __builtin_ctz(left));
	d = irq_decide(&s);
	if (d == IRQ_ARM)
		irq_arm(t->map);
	return d;
}
