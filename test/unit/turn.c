/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The door. One thread first, each rule by itself; then many threads at once over plain
 * memory that only the turn protects, which ThreadSanitizer watches when it is built in.
 */
#include "test/unit/rig.h"

#include <pthread.h>
#include <sched.h>

#include "base/atomic.h"

static void test_one(void **state)
{
	struct rig r;
	struct turn other;
	uint64_t door;
	bool contended;

	(void)state;
	rig_make(&r);
	assert_int_equal(turn_holder(&r.map), RIG_TID);
	assert_false(turn_try(&other, &r.map, EXEC_SURROGATE, 2, 0, 0, 0));
	/* An errand is left, and the holder may not go before it is run (T1). */
	assert_false(turn_try(&other, &r.map, EXEC_SURROGATE, 2, 0, 0, DOOR_ERRAND_RX));
	assert_false(turn_try(&other, &r.map, EXEC_SURROGATE, 2, 0, 0, DOOR_ERRAND_TICK));
	assert_true(turn_contend(&r.map, &door));
	assert_true(door & DOOR_CONTENDED);
	assert_true(turn_end(&r.t, &contended) == (DOOR_ERRAND_RX | DOOR_ERRAND_TICK));
	assert_int_equal(turn_holder(&r.map), RIG_TID);
	assert_int_equal(rig_count(&r, EV_TURN_SHUT), 1);
	assert_true(turn_end(&r.t, &contended) == 0);
	assert_true(contended);
	assert_int_equal(turn_holder(&r.map), 0);
	assert_false(turn_contend(&r.map, &door));

	/* T4: time does not go back. */
	assert_true(turn_try(&other, &r.map, EXEC_SURROGATE, 2, 3, 5, DOOR_ERRAND_RX));
	assert_true(other.now == 1000 * NS_PER_S);
	assert_int_equal(other.proc, 3);
	assert_int_equal(other.who, EXEC_SURROGATE);
	assert_int_equal(other.budget, TURN_BUDGET);
	assert_true(turn_end(&other, &contended) == 0);
	assert_false(contended);
	rig_begin(&r, 2000 * NS_PER_S);
	assert_true(r.map.seg->last_turn_at == 2000 * NS_PER_S);
	assert_int_equal(r.map.seg->n_turns, 3);
	rig_free(&r);
}

static void test_adopt(void **state)
{
	struct rig r;
	struct turn t;
	bool contended;

	(void)state;
	rig_make(&r);
	assert_false(turn_try(&t, &r.map, EXEC_SURROGATE, 2, 0, 0, DOOR_ERRAND_REAP));
	assert_false(turn_adopt(&t, &r.map, EXEC_SURROGATE, 2, 0, RIG_TID + 1));
	assert_true(turn_adopt(&t, &r.map, EXEC_SURROGATE, 2, 0, RIG_TID));
	assert_int_equal(turn_holder(&r.map), 2);
	assert_int_equal(rig_count(&r, EV_ADOPTED), 1);
	assert_true(turn_end(&t, &contended) == DOOR_ERRAND_REAP);
	assert_true(turn_end(&t, &contended) == 0);
	assert_false(turn_adopt(&t, &r.map, EXEC_SURROGATE, 2, 0, 2));
	rig_begin(&r, 0);
	rig_free(&r);
}

/* D4: a word that cannot be is condemned on the strong side, and panics at home. */
static void test_impossible(void **state)
{
	struct rig r;
	bool contended;

	(void)state;
	rig_make(&r);
	r.map.seg->door = 0;
	r.map.strong = 1;
	assert_true(turn_end(&r.t, &contended) == 0);
	assert_true(contended);
	assert_int_equal(r.map.seg->condemned, WHY_DOOR + 1);
	r.map.strong = 0;
	expect_assert_failure((void)(turn_end(&r.t, &contended) + 1));
	rig_begin(&r, 0);
	rig_free(&r);
}

static void test_deadline(void **state)
{
	struct rig r;
	struct sk *sk;

	(void)state;
	rig_make(&r);
	rig_end(&r);
	assert_true(r.map.seg->deadline == NEVER_NS);
	rig_begin(&r, 0);
	sk = sk_get(&r.t, SK_TCP, 6);
	tmr_arm(&r.t, sk, r.t.now + 10 * NS_PER_MS);
	rig_end(&r);
	assert_in_range(r.map.seg->deadline, r.t.now + 10 * NS_PER_MS, r.t.now + 12 * NS_PER_MS);
	rig_begin(&r, 0);
	sk_txwait(&r.t, sk);
	rig_end(&r);
	assert_true(r.map.seg->deadline == r.t.now + NS_PER_MS);
	rig_begin(&r, 0);
	rig_free(&r);
}

/* ---- many at once ----------------------------------------------------------------------- */

#define N_THREADS 4
#define N_ROUNDS  20000

struct crowd {
	struct rig r;
	uint64_t protected;	/* plain: only the turn guards it */
	uint64_t errands_run;
	uint32_t asked[N_THREADS];	/* errands that a thread wants done: atomic */
	uint32_t done[N_THREADS];	/* writer: turn */
	uint32_t live;			/* threads still asking: atomic */
};

/* What the holder owes to those who left an errand: all that they asked for is done. */
static void run_errand(struct crowd *c)
{
	for (unsigned i = 0; i < N_THREADS; i++)
		poke32(&c->done[i], peek32(&c->asked[i]));
	c->errands_run++;
}

struct member { struct crowd *c; uint32_t i; pthread_t thread; };

static void *crowd_member(void *arg)
{
	struct member *m = arg;
	struct crowd *c = m->c;
	struct turn t;
	bool contended;

	for (unsigned n = 0; n < N_ROUNDS; n++) {
		/* Odd rounds leave an errand and go; even ones insist. */
		bool insist = n % 2 == 0;

		poke32(&c->asked[m->i], n + 1);
		while (!turn_try(&t, &c->r.map, EXEC_APP, 100 + m->i, 0, n, DOOR_ERRAND_RX)) {
			if (!insist)
				break;
			sched_yield();
		}
		if (turn_holder(&c->r.map) != 100 + m->i)
			continue;
		c->protected++;
		run_errand(c);
		ev(&t, EV_WAKE, 0, m->i, n);
		while (turn_end(&t, &contended))
			run_errand(c);
	}
	return NULL;
}

static void test_crowd(void **state)
{
	static struct crowd c;
	struct member m[N_THREADS];

	(void)state;
	rig_make(&c.r);
	rig_end(&c.r);
	for (uint32_t i = 0; i < N_THREADS; i++) {
		m[i] = (struct member){ .c = &c, .i = i };
		assert_int_equal(pthread_create(&m[i].thread, NULL, crowd_member, &m[i]), 0);
	}
	for (uint32_t i = 0; i < N_THREADS; i++)
		pthread_join(m[i].thread, NULL);
	/* No errand was lost: the last thing that each asked for was done by somebody. */
	for (uint32_t i = 0; i < N_THREADS; i++)
		assert_int_equal(c.done[i], N_ROUNDS);
	assert_int_equal(rig_count(&c.r, EV_WAKE), c.protected);
	assert_in_range(c.protected, N_THREADS * N_ROUNDS / 2, N_THREADS * N_ROUNDS);
	assert_true(c.errands_run >= c.protected);
	rig_begin(&c.r, 0);
	rig_free(&c.r);
}

/* Sleepers on the door: the contended bit is seen by whoever releases it. */
static void *contender(void *arg)
{
	struct member *m = arg;
	struct crowd *c = m->c;
	struct turn t;
	uint64_t door;
	bool contended;

	for (unsigned n = 0; n < N_ROUNDS / 4; n++) {
		while (!turn_try(&t, &c->r.map, EXEC_APP, 100 + m->i, 0, n, 0)) {
			if (turn_contend(&c->r.map, &door))
				poke32(&c->asked[m->i], 1);
			sched_yield();
		}
		c->protected++;
		while (turn_end(&t, &contended))
			;
		if (contended)
			/* relaxed: a tally. */
			atomic_fetch_add_explicit((_Atomic uint32_t *)&c->live, 1,
						  memory_order_relaxed);
	}
	return NULL;
}

static void test_contended(void **state)
{
	static struct crowd c;
	struct member m[N_THREADS];
	bool asked = false;

	(void)state;
	rig_make(&c.r);
	rig_end(&c.r);
	for (uint32_t i = 0; i < N_THREADS; i++) {
		m[i] = (struct member){ .c = &c, .i = i };
		assert_int_equal(pthread_create(&m[i].thread, NULL, contender, &m[i]), 0);
	}
	for (uint32_t i = 0; i < N_THREADS; i++)
		pthread_join(m[i].thread, NULL);
	for (uint32_t i = 0; i < N_THREADS; i++)
		asked |= c.asked[i];
	assert_int_equal(c.protected, N_THREADS * (N_ROUNDS / 4));
	assert_true(!asked || c.live);
	assert_true((c.r.map.seg->door & ~DOOR_HELD) == 0);
	rig_begin(&c.r, 0);
	rig_free(&c.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one),
		cmocka_unit_test(test_adopt),
		cmocka_unit_test(test_impossible),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_contended),
	};

	return cmocka_run_group_tests_name("turn", tests, NULL, NULL);
}
