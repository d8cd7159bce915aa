/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * src/core/stack/turn.c itself, in every interleaving: two threads of the application that insist
 * on a turn and sleep on the door as exec/app.c does, and a surrogate that leaves an errand and
 * goes. Shown: I4 to I7 of docs/internals/waiting.md. There is no time limit to a sleep on the
 * door here: exec/app.c has one for the case that a releaser dies, and leans on it for nothing else.
 */
#include "test/model/prove.h"

#include <string.h>

#include "core/stack/turn.c"

enum { OK, NO_MARK, NO_WAKE, WAKES_ONE, NO_COMPARE, FORGETS_ERRANDS, RUNS_AFTER, ASKS_LATE,
       TRUSTS_PEEK };
static int bug;

#define N_MEMBERS 4

static struct segment seg;
static const struct stack_map map = { .seg = &seg };

static struct {
	uint32_t asked[N_MEMBERS];	/* what an errand is about: written, then the errand left */
	uint32_t done[N_MEMBERS];	/* in the turn only */
	uint32_t inside, turns;		/* in the turn only */
	uint32_t futex, pad;		/* the kernel's: who sleeps on the door */
	uint32_t owed[N_MEMBERS];	/* turns that a thread still wants */
	uint32_t dead, pad2;		/* the kernel's: threads that are gone, a bit each */
} w;

/* ---- what turn.c wants of the rest of the stack -------------------------------------------------- */

uint64_t stack_deadline(const struct turn *t) { (void)t; return 0; }

void ev(struct turn *t, enum event e, uint32_t h, uint32_t a, uint32_t b)
{
	(void)t; (void)e; (void)h; (void)a; (void)b;
}

void never(struct turn *t, enum why why)
{
	(void)t; (void)why;
	mc_fail("the door is not what its holder left it (D1)");
}

/* ---- as exec/app.c --------------------------------------------------------------------------------- */

static bool is_woken(int me) { return !(w.futex & 1u << me); }

static void door_wait(int me, uint64_t seen)
{
	mc_kernel();
	if ((uint32_t)seg.door != (uint32_t)seen && bug != NO_COMPARE)
		return;
	w.futex |= 1u << me;
	mc_wait(is_woken, me);
}

static void door_wake(void)
{
	mc_kernel();
	w.futex &= bug == WAKES_ONE ? w.futex - 1 : 0;
}

static void run_errand(void)
{
	for (int i = 0; i < N_MEMBERS; i++)
		w.done[i] = peek32(&w.asked[i]);
}

static void work(int me)
{
	if (w.inside++)
		mc_fail("two in the turn (D1)");
	w.turns++;
	run_errand();
	w.done[me] = peek32(&w.asked[me]);
	if (--w.inside)
		mc_fail("two in the turn (D1)");
}

static void leave(struct turn *t)
{
	bool contended = false;
	uint64_t errands, late = 0;

	for (;;) {
		errands = turn_end(t, &contended);
		if (!errands)
			break;
		if (bug == RUNS_AFTER)
			late |= errands;
		else if (bug != FORGETS_ERRANDS)
			run_errand();
	}
	if (late) {
		if (w.inside++)
			mc_fail("two in the turn (D1)");
		run_errand();
		w.inside--;
	}
	if (contended && bug != NO_WAKE)
		door_wake();
}

static bool mark(uint64_t *ret_door)
{
	if (bug != NO_MARK)
		return turn_contend(&map, ret_door);
	*ret_door = peek64(&seg.door);
	return *ret_door & DOOR_HELD;
}

static void enter(int me, struct turn *t)
{
	uint64_t door;

	while (!turn_try(t, &map, EXEC_APP, 100 + (uint32_t)me, 0, 0, 0))
		if (mark(&door))
			door_wait(me, door);
}

static void thread(int me)
{
	struct turn t;

	while (w.owed[me]) {
		w.owed[me]--;
		enter(me, &t);
		work(me);
		leave(&t);
	}
}

/* Leaves word and goes; finds the door open: does it. The second time the bit may be set already. */
static void surrogate(int me)
{
	struct turn t;

	for (uint32_t n = 1; n <= 2; n++) {
		if (bug != ASKS_LATE)
			poke32(&w.asked[me], n);
		if (turn_try(&t, &map, EXEC_SURROGATE, 100 + (uint32_t)me, 0, 0, DOOR_ERRAND_RX)) {
			work(me);
			leave(&t);
		}
		if (bug == ASKS_LATE)
			poke32(&w.asked[me], n);
	}
}

/* ---- a holder that dies in its turn ------------------------------------------------------------------ */

static void mortal(int me)
{
	struct turn t;

	enter(me, &t);
	if (mc_choose(2)) {
		mc_kernel();
		w.dead |= 1u << me;
		return;
	}
	work(me);
	leave(&t);
}

static bool is_dead_holder(uint64_t door)
{
	return door & DOOR_HELD && w.dead & 1u << (door_tid(door) - 100);
}

static bool holder_is_dead(int me) { (void)me; return is_dead_holder(seg.door); }

/* As the surrogate, and as an application's thread whose patience is over. */
static bool adopt(int me, struct turn *t)
{
	uint64_t door = peek64(&seg.door);

	if (!is_dead_holder(door))
		return false;
	if (bug == TRUSTS_PEEK)
		poke64(&seg.door, door_word(EXEC_SURROGATE, 100 + (uint32_t)me));
	else if (!turn_adopt(t, &map, EXEC_SURROGATE, 100 + (uint32_t)me, 0, door_tid(door)))
		return false;
	return true;
}

static void impatient(int me)
{
	struct turn t = { .map = &map, .who = EXEC_SURROGATE };

	while (!turn_try(&t, &map, EXEC_APP, 100 + (uint32_t)me, 0, 0, 0))
		if (adopt(me, &t))
			break;
	work(me);
	leave(&t);
}

static void heir(int me)
{
	struct turn t = { .map = &map, .who = EXEC_SURROGATE };

	poke32(&w.asked[me], 1);
	if (turn_try(&t, &map, EXEC_SURROGATE, 100 + (uint32_t)me, 0, 0, DOOR_ERRAND_RX)) {
		work(me);
		leave(&t);
	}
	for (;;) {
		mc_wait(holder_is_dead, me);
		if (adopt(me, &t)) {
			work(me);
			leave(&t);
		}
	}
}

/* ---- shown --------------------------------------------------------------------------------------------- */

static void reset(void)
{
	memset(&w, 0, sizeof(w));
	seg.door = 0;
	w.owed[0] = 2;
	w.owed[1] = w.owed[3] = 1;
}

static const char *always(void)
{
	return !(seg.door & DOOR_HELD) && seg.door & DOOR_ERRANDS ? "an errand lies on an open door (T1)" : NULL;
}

static const char *final(void)
{
	if (w.futex)
		return "asleep on an open door";
	if (seg.door)
		return "the door is not open and clean";
	for (int i = 0; i < N_MEMBERS; i++)
		if (w.done[i] != w.asked[i])
			return "an errand was lost (T1)";
	return NULL;
}

static const struct mc_model model = {
	.name = "door", .reset = reset, .always = always, .final = final,
	.actor = { thread, thread, surrogate },
	.actor_name = { "thread0", "thread1", "surrogate" },
};

static const struct mc_model death = {
	.name = "door, with a death", .reset = reset, .always = always, .final = final,
	.actor = { mortal, impatient, heir, thread },
	.actor_name = { "mortal", "impatient", "heir", "thread" },
};

static const struct mutant mutants[] = {
	{ .what = "asleep without a mark on the door", .bug = NO_MARK },
	{ .what = "the releaser wakes nobody", .bug = NO_WAKE },
	{ .what = "the futex does not compare", .bug = NO_COMPARE },
	{ .what = "errands are taken off and not run", .bug = FORGETS_ERRANDS },
	{ .what = "errands are run after the release", .bug = RUNS_AFTER },
	{ .what = "the errand is left before what it is about", .bug = ASKS_LATE },
	{ .what = "taking is not atomic", .op = MC_SPLIT, .in = "turn_try" },
	{ .what = "an errand left twice is written once (D2)", .op = MC_LAZY, .in = "turn_try" },
	{ .what = "ending is not atomic", .op = MC_SPLIT, .in = "turn_end" },
	{ .what = "marking is not atomic", .op = MC_SPLIT, .in = "turn_contend" },
};

static const struct mutant death_mutants[] = {
	{ .what = "the dead one's turn is taken by a store", .bug = TRUSTS_PEEK },
	{ .what = "adopting is not atomic", .op = MC_SPLIT, .in = "turn_adopt" },
};

static void test_door(void **state)
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
		cmocka_unit_test(test_door),
		cmocka_unit_test(test_mutants),
		cmocka_unit_test(test_death),
	};

	mc_region("w", &w, sizeof(w));
	mc_region("door", &seg.door, 8);
	mc_ignore(&seg.deadline, sizeof(seg.deadline));
	mc_ignore(&seg.last_turn_at, sizeof(seg.last_turn_at));
	mc_ignore(&seg.n_turns, sizeof(seg.n_turns));
	return cmocka_run_group_tests_name("model: door", tests, NULL, NULL);
}
