/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whether to be rung: the decision as a table of all its inputs (S0c-IRQ-03), and who asks for it
 * when. Orders of threads are test/model/aperture.c's.
 */
#include "test/unit/rig.h"

#include "base/atomic.h"

static const struct {
	bool armed, held;
	uint32_t n_woken;
	enum irq decision;
} rows[] = {
	{ false, false, 0, IRQ_ARM },
	{ false, false, 1, IRQ_WOKE },
	{ false, true, 0, IRQ_HELD },
	{ false, true, 1, IRQ_HELD },
	{ true, false, 0, IRQ_ARMED },
	{ true, false, 1, IRQ_ARMED },
	{ true, true, 0, IRQ_ARMED },
	{ true, true, 1, IRQ_ARMED },
	{ false, false, N_WAITERS, IRQ_WOKE },
};

static void test_decide(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_elems(rows); i++) {
		struct irq_signs s = { rows[i].armed, rows[i].held, rows[i].n_woken };

		if (irq_decide(&s) != rows[i].decision)
			fail_msg("armed %d, held %d, woken %u: %d, not %d", s.armed, s.held, s.n_woken,
				 irq_decide(&s), rows[i].decision);
	}
}

struct irq_rig {
	struct rig r;
	struct ap_front front;
	int slot[3];
};

static void make(struct irq_rig *i)
{
	memset(i, 0, sizeof(*i));
	rig_make(&i->r);
	i->r.map.front = &i->front;
	rig_end(&i->r);
	for (int k = 0; k < 3; k++)
		i->slot[k] = waiter_claim(&i->r.map, 10 + (uint32_t)k, 0);
}

static void finish(struct irq_rig *i)
{
	rig_begin(&i->r, 0);
	rig_free(&i->r);
}

/* irq_sleep() as src/sock/wait.c calls it: what it decided is counted in the slot. */
static enum irq lies_down(struct irq_rig *i, int slot)
{
	enum irq d = irq_sleep(&i->r.map);

	irq_note(&i->r.map, slot, d);
	return d;
}

static void expect_counts(const struct irq_rig *i, int slot, const uint64_t want[5])
{
	static const enum wait_count what[] = {
		WAIT_PRIMED, WAIT_SKIP_ENABLED, WAIT_SKIP_HELD, WAIT_SKIP_CONTENDED, WAIT_SKIP_WOKEN,
	};

	for (size_t k = 0; k < n_elems(what); k++)
		assert_int_equal(i->r.map.seg->waiters[slot].n[what[k]], want[k]);
}
#define COUNTS(i, slot, ...) expect_counts(i, slot, (const uint64_t[5]){ __VA_ARGS__ })

/* A lone thread: asleep and armed, up and not; S0c-IRQ-01: armed as often as it changed. */
static void test_alone(void **state)
{
	struct irq_rig i;

	(void)state;
	make(&i);
	for (uint32_t n = 1; n < 5; n++) {
		waiter_sleep(&i.r.map, i.slot[0]);
		assert_int_equal(lies_down(&i, i.slot[0]), IRQ_ARM);
		assert_int_equal(i.front.armed, n);
		assert_false(waiter_wake(&i.r.map, i.slot[0]));
		irq_wake(&i.r.map, i.slot[0]);
		assert_int_equal(i.front.armed, 0);
	}
	assert_int_equal(i.front.n_arms, 4);
	COUNTS(&i, i.slot[0], 4, 0, 0, 0, 0);
	finish(&i);
}

/* Rule 2, and who gets up arms anew for those that sleep on. */
static void test_leader(void **state)
{
	struct irq_rig i;

	(void)state;
	make(&i);
	waiter_sleep(&i.r.map, i.slot[0]);
	assert_int_equal(irq_sleep(&i.r.map), IRQ_ARM);
	waiter_sleep(&i.r.map, i.slot[1]);
	assert_int_equal(lies_down(&i, i.slot[1]), IRQ_ARMED);
	COUNTS(&i, i.slot[1], 0, 1, 0, 0, 0);
	assert_false(waiter_wake(&i.r.map, i.slot[0]));
	irq_wake(&i.r.map, i.slot[0]);
	assert_int_equal(i.front.armed, 2);
	assert_false(waiter_wake(&i.r.map, i.slot[1]));
	irq_wake(&i.r.map, i.slot[1]);
	assert_int_equal(i.front.armed, 0);
	finish(&i);
}

/* Rule 3: rung, and not up yet; it looks round when it is. */
static void test_woken(void **state)
{
	struct irq_rig i;

	(void)state;
	make(&i);
	waiter_sleep(&i.r.map, i.slot[0]);
	assert_true(waiter_ring(&i.r.map, i.slot[0]));
	waiter_sleep(&i.r.map, i.slot[1]);
	assert_int_equal(lies_down(&i, i.slot[1]), IRQ_WOKE);
	COUNTS(&i, i.slot[1], 0, 0, 0, 0, 1);
	assert_int_equal(i.front.armed, 0);
	assert_true(waiter_wake(&i.r.map, i.slot[0]));
	irq_wake(&i.r.map, i.slot[0]);
	assert_int_not_equal(i.front.armed, 0);
	finish(&i);
}

/* Q5: nobody arms for who naps; rung in its nap, it sees to those who trusted that it would look. */
static void test_nap(void **state)
{
	struct irq_rig i;

	(void)state;
	make(&i);
	waiter_nap(&i.r.map, i.slot[1]);
	assert_true(waiter_sleeps(&i.r.map, i.slot[1]));
	waiter_sleep(&i.r.map, i.slot[0]);
	assert_int_equal(irq_sleep(&i.r.map), IRQ_ARM);
	assert_false(waiter_wake(&i.r.map, i.slot[0]));
	irq_wake(&i.r.map, i.slot[0]);
	assert_int_equal(i.front.armed, 0);
	assert_true(waiter_ring(&i.r.map, i.slot[1]));
	assert_false(waiter_ring(&i.r.map, i.slot[1]));
	assert_false(waiter_sleeps(&i.r.map, i.slot[1]));
	waiter_sleep(&i.r.map, i.slot[0]);
	assert_int_equal(irq_sleep(&i.r.map), IRQ_WOKE);
	assert_true(waiter_wake(&i.r.map, i.slot[1]));
	irq_wake(&i.r.map, i.slot[1]);
	assert_int_not_equal(i.front.armed, 0);
	finish(&i);
}

/* Rule 1: who finds the door shut leaves it to the holder, who cannot go without deciding
 * (S0c-BLK-02's PRIME_REQ); S0c-BLK-03: the holder's own lock does not count. */
static void test_held(void **state)
{
	struct irq_rig i;
	bool contended;
	uint64_t door;

	(void)state;
	make(&i);
	waiter_sleep(&i.r.map, i.slot[0]);
	rig_begin(&i.r, 0);
	assert_int_equal(lies_down(&i, i.slot[0]), IRQ_HELD);
	COUNTS(&i, i.slot[0], 0, 0, 1, 0, 0);
	assert_true(turn_contend(&i.r.map, &door));
	assert_int_equal(lies_down(&i, i.slot[0]), IRQ_HELD);
	COUNTS(&i, i.slot[0], 0, 0, 1, 1, 0);
	assert_int_equal(i.front.armed, 0);
	assert_true(turn_end(&i.r.t, &contended) == DOOR_ERRAND_ARM);
	assert_int_equal(irq_errand(&i.r.t), IRQ_ARM);
	assert_int_equal(i.front.armed, 1);
	assert_int_equal(irq_errand(&i.r.t), IRQ_ARMED);
	rig_end(&i.r);
	assert_false(turn_leave_word(&i.r.map, DOOR_ERRAND_ARM));
	finish(&i);
}

/* The holder wakes somebody: no. Somebody who is up already, itself perhaps: yes. */
static void test_errand_woken(void **state)
{
	struct irq_rig i;

	(void)state;
	make(&i);
	waiter_sleep(&i.r.map, i.slot[0]);
	waiter_sleep(&i.r.map, i.slot[1]);
	rig_begin(&i.r, 0);
	i.r.t.wakes = 1u << i.slot[1] | 1u << i.slot[2];
	assert_int_equal(irq_errand(&i.r.t), IRQ_WOKE);
	assert_int_equal(i.front.armed, 0);
	i.r.t.wakes = 1u << i.slot[2];
	assert_int_equal(irq_errand(&i.r.t), IRQ_ARM);
	rig_end(&i.r);
	finish(&i);
}

/* No apertures: nothing is touched. The number after the last is not "not armed". */
static void test_edges(void **state)
{
	struct irq_rig i;

	(void)state;
	make(&i);
	i.front.n_arms = UINT32_MAX;
	irq_arm(&i.r.map);
	assert_int_equal(i.front.armed, 1);
	i.r.map.front = NULL;
	assert_int_equal(lies_down(&i, i.slot[0]), IRQ_ARMED);
	COUNTS(&i, i.slot[0], 0, 0, 0, 0, 0);
	irq_wake(&i.r.map, i.slot[0]);
	irq_arm(&i.r.map);
	irq_disarm(&i.r.map);
	assert_int_equal(i.front.armed, 1);
	finish(&i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_decide),
		cmocka_unit_test(test_alone),
		cmocka_unit_test(test_leader),
		cmocka_unit_test(test_woken),
		cmocka_unit_test(test_nap),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_errand_woken),
		cmocka_unit_test(test_edges),
	};

	return cmocka_run_group_tests_name("irq", tests, NULL, NULL);
}
