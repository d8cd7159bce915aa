/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * src/core/stack/waiter.c itself, in every interleaving: two sleepers, two wakers, two tokens.
 * Shown: I1 to I3 of docs/internals/waiting.md. The turn is here the weakest lock there is,
 * taken by a swap and given back by a store, so that waiter.c leans on nothing of turn.c.
 */
#include "test/model/prove.h"

#include <string.h>

#include "core/stack/waiter.c"

enum { OK, LOOKS_FIRST, NO_LAST_LOOK, RINGS_FIRST, NO_BIT, KEEPS_BELL, RINGS_ONE, REAPS_IN_SILENCE };
static int bug;

#define N_SLEEPERS 2

static struct segment seg;
static const struct stack_map map = { .seg = &seg };

static struct {
	uint32_t lock, ready;		/* ready: tokens; sk->ready to those who peek */
	uint32_t mask, taken;		/* in the turn only */
	uint32_t bell[N_SLEEPERS];	/* eventfds */
	uint32_t rings[N_SLEEPERS];	/* in one sleep */
	uint32_t dead, pad;
} w;

static bool lock_is_free(int me) { (void)me; return !w.lock; }
static bool bell_is_rung(int me) { return w.bell[me] != 0; }

static void lock(int me)
{
	mc_wait(lock_is_free, me);
	w.lock = 1;
}

static void unlock(void)
{
	/* rel: pairs with lock(). */
	atomic_store_explicit((_Atomic uint32_t *)&w.lock, 0, memory_order_release);
}

static void ring_for(uint32_t wakes)
{
	for (int i = 0; i < N_SLEEPERS; i++)
		if (wakes & 1u << i && waiter_ring(&map, i)) {
			if (w.rings[i]++)
				mc_fail("one bell rung twice in a sleep (A3)");
			mc_kernel();
			w.bell[i] = 1;
		}
}

static void hear(int me)
{
	mc_kernel();
	w.bell[me] = 0;
}

/* One sleep as sock/wait.c sleeps it; the turn before it found nothing and set the bit. */
static void sleep_once(int me)
{
	bool rung = false, look;

	if (bug == LOOKS_FIRST) {
		look = peek32(&w.ready);
		waiter_sleep(&map, me);
	} else {
		waiter_sleep(&map, me);
		look = bug != NO_LAST_LOOK && peek32(&w.ready);
	}
	if (!look) {
		mc_wait(bell_is_rung, me);
		rung = true;
	}
	rung |= waiter_wake(&map, me);
	w.rings[me] = 0;
	if (rung && bug != KEEPS_BELL)
		hear(me);
}

static void sleeper(int me)
{
	for (;;) {
		lock(me);
		w.mask &= ~(1u << me);
		if (w.ready) {
			poke32(&w.ready, w.ready - 1);
			w.taken++;
			unlock();
			if (mc_choose(2))
				return;	/* has what it wanted */
			continue;
		}
		if (bug != NO_BIT)
			w.mask |= 1u << me;
		unlock();
		sleep_once(me);
	}
}

static void waker(int me)
{
	uint32_t wakes;

	lock(me);
	wakes = w.mask;
	if (bug == RINGS_FIRST)
		ring_for(wakes);
	poke32(&w.ready, w.ready + 1);
	if (bug == RINGS_ONE)
		wakes &= 1;
	unlock();
	if (bug != RINGS_FIRST)
		ring_for(wakes);
}

/* ---- a waker that dies before it rings (A5) ---------------------------------------------------------- */

static void mortal(int me)
{
	lock(me);
	poke32(&w.ready, w.ready + 1);
	unlock();
	mc_kernel();
	w.dead = 1;
}

static bool somebody_died(int me) { (void)me; return w.dead; }

static void reaper(int me)
{
	struct turn t = { .map = &map };

	mc_wait(somebody_died, me);
	lock(me);
	waiter_reap(&t, 9);
	unlock();
	if (bug != REAPS_IN_SILENCE)
		ring_for(t.wakes);
}

static void reset(void)
{
	memset(&w, 0, sizeof(w));
	for (int i = 0; i < N_SLEEPERS; i++)
		seg.waiters[i].state = WAITER_AWAKE;
}

static const char *final(void)
{
	if (w.lock)
		return "the turn was never given back";
	for (int i = 0; i < N_SLEEPERS; i++)
		if (w.ready && seg.waiters[i].state == WAITER_ASLEEP)
			return "asleep, with a token there";
	return NULL;
}

static const struct mc_model model = {
	.name = "waiter", .reset = reset, .final = final,
	.actor = { sleeper, sleeper, waker, waker },
	.actor_name = { "sleeper0", "sleeper1", "waker0", "waker1" },
};

static const struct mc_model death = {
	.name = "waiter, with a death", .reset = reset, .final = final,
	.actor = { sleeper, sleeper, mortal, reaper },
	.actor_name = { "sleeper0", "sleeper1", "mortal", "reaper" },
};

static const struct mutant mutants[] = {
	{ .what = "the last look is before ASLEEP", .bug = LOOKS_FIRST },
	{ .what = "no last look", .bug = NO_LAST_LOOK },
	{ .what = "the bell is rung before it is ready", .bug = RINGS_FIRST },
	{ .what = "the bit is never set", .bug = NO_BIT },
	{ .what = "the bell is never heard", .bug = KEEPS_BELL },
	{ .what = "of two bits one is rung for", .bug = RINGS_ONE },
	{ .what = "ASLEEP waits in the store buffer", .op = MC_SPLIT, .in = "waiter_sleep" },
	{ .what = "ringing is not atomic", .op = MC_SPLIT, .in = "waiter_ring" },
	{ .what = "who does not ring does not write (A2)", .op = MC_LAZY, .in = "waiter_ring" },
};

static const struct mutant death_mutants[] = {
	{ .what = "nobody is rung for the dead", .bug = REAPS_IN_SILENCE },
};

static void test_waiter(void **state)
{
	(void)state;
	prove(&model, true);
}

static void test_mutants(void **state)
{
	(void)state;
	prove_mutants(&model, mutants, sizeof(mutants) / sizeof(mutants[0]), &bug);
}

static void test_death(void **state)
{
	(void)state;
	prove(&death, true);
	prove_mutants(&death, death_mutants, sizeof(death_mutants) / sizeof(death_mutants[0]), &bug);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_waiter),
		cmocka_unit_test(test_mutants),
		cmocka_unit_test(test_death),
	};

	mc_region("w", &w, sizeof(w));
	for (int i = 0; i < N_SLEEPERS; i++) {
		mc_region("waiter", &seg.waiters[i], 8);
		mc_ignore(&seg.waiters[i].proc, 4);
	}
	mc_ignore(&seg.waiters[N_SLEEPERS], (N_WAITERS - N_SLEEPERS) * sizeof(struct waiter));
	return cmocka_run_group_tests_name("model: waiter", tests, NULL, NULL);
}
