/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When the surrogate comes: every rule as a row of a table, then whole lives of a stack as
 * sequences of looks.
 */
#include "test/unit/panic.h"

#include "exec/watchdog.h"

#define MS	NS_PER_MS
#define DOG	(10 * MS)
#define T0	(1000 * NS_PER_S)

/* ---- two looks ---------------------------------------------------------------------------- */

struct row {
	const char *what;
	struct peek before, now;
	uint32_t due;
};

#define QUIET .deadline = NEVER_NS, .n_vis = 1
#define RX(p, c) .rx = { { (p), (c) } }
#define TX(p, c) .tx = { { (p), (c) } }

static const struct row rows[] = {
	{ "nothing at all", { .now = T0, QUIET }, { .now = T0 + DOG, QUIET }, 0 },
	{ "a frame came after the last look", { .now = T0, QUIET, RX(5, 5) },
	  { .now = T0 + DOG, QUIET, RX(6, 5) }, 0 },
	{ "a frame waits since before the last look", { .now = T0, QUIET, RX(6, 5) },
	  { .now = T0 + DOG, QUIET, RX(6, 5) }, DUE_RX },
	{ "more came, none was taken", { .now = T0, QUIET, RX(6, 5) },
	  { .now = T0 + DOG, QUIET, RX(60, 5) }, DUE_RX },
	{ "some were taken: somebody is at it", { .now = T0, QUIET, RX(60, 5) },
	  { .now = T0 + DOG, QUIET, RX(60, 6) }, 0 },
	{ "indices that wrapped", { .now = T0, QUIET, RX(3, UINT32_MAX) },
	  { .now = T0 + DOG, QUIET, RX(3, UINT32_MAX) }, DUE_RX },
	{ "the second interface", { .now = T0, .deadline = NEVER_NS, .n_vis = 2, .rx = { { 0, 0 }, { 2, 1 } } },
	  { .now = T0 + DOG, .deadline = NEVER_NS, .n_vis = 2, .rx = { { 0, 0 }, { 2, 1 } } }, DUE_RX },
	{ "an interface beyond n_vis", { .now = T0, .deadline = NEVER_NS, .rx = { { 2, 1 } } },
	  { .now = T0 + DOG, .deadline = NEVER_NS, .rx = { { 2, 1 } } }, 0 },
	{ "a deadline to come", { .now = T0, .n_vis = 1, .deadline = T0 + 11 * MS },
	  { .now = T0 + DOG, .n_vis = 1, .deadline = T0 + 11 * MS }, 0 },
	{ "a deadline just passed", { .now = T0, .n_vis = 1, .deadline = T0 + 1 },
	  { .now = T0 + DOG, .n_vis = 1, .deadline = T0 + 1 }, 0 },
	{ "a deadline passed by the watchdog", { .now = T0, .n_vis = 1, .deadline = T0 },
	  { .now = T0 + DOG, .n_vis = 1, .deadline = T0 }, DUE_TICK },
	{ "kicks just owed", { .now = T0, QUIET },
	  { .now = T0 + DOG, QUIET, .kicks_owed = 1, .kicks_since = T0 + 1 }, 0 },
	{ "kicks owed too long", { .now = T0, QUIET },
	  { .now = T0 + DOG, QUIET, .kicks_owed = 1, .kicks_since = T0 }, DUE_KICK },
	{ "an old debt that was paid", { .now = T0, QUIET },
	  { .now = T0 + DOG, QUIET, .kicks_owed = 0, .kicks_since = 1 }, 0 },
	{ "kicks owed in the future (a liar)", { .now = T0, QUIET },
	  { .now = T0 + DOG, QUIET, .kicks_owed = 1, .kicks_since = NEVER_NS }, 0 },
	{ "frames stay on the tx ring", { .now = T0, QUIET, TX(9, 8) },
	  { .now = T0 + DOG, QUIET, TX(9, 8) }, DUE_TX },
	{ "frames leave the tx ring", { .now = T0, QUIET, TX(9, 8) },
	  { .now = T0 + DOG, QUIET, TX(12, 11) }, 0 },
	{ "an event came after the last look", { .now = T0, QUIET },
	  { .now = T0 + DOG, QUIET, .ap_waits = 1 }, 0 },
	{ "an event waits since before the last look", { .now = T0, QUIET, .ap_waits = 1, .ap_taken = 7 },
	  { .now = T0 + DOG, QUIET, .ap_waits = 1, .ap_taken = 7 }, DUE_RX },
	{ "events are taken", { .now = T0, QUIET, .ap_waits = 1, .ap_taken = 7 },
	  { .now = T0 + DOG, QUIET, .ap_waits = 1, .ap_taken = 8 }, 0 },
	{ "all at once", { .now = T0, .n_vis = 1, RX(2, 1), TX(2, 1) },
	  { .now = T0 + DOG, .n_vis = 1, RX(2, 1), TX(2, 1), .kicks_owed = 1, .kicks_since = T0 },
	  DUE_RX | DUE_TX | DUE_TICK | DUE_KICK },
	{ "a condemned stack is left alone", { .now = T0, .n_vis = 1, RX(2, 1), .condemned = 1 },
	  { .now = T0 + DOG, .n_vis = 1, RX(2, 1), .condemned = 1 }, 0 },
};

static void test_due(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_elems(rows); i++) {
		uint32_t due = watchdog_due(&rows[i].before, &rows[i].now, DOG);

		if (due != rows[i].due)
			fail_msg("%s: %#x, not %#x", rows[i].what, due, rows[i].due);
	}
}

static void test_work(void **state)
{
	struct peek p = { .now = T0, QUIET };

	(void)state;
	assert_int_equal(watchdog_work(&p), 0);
	p.ap_waits = 1;
	assert_int_equal(watchdog_work(&p), DUE_RX);
	p.ap_waits = 0;
	p.rx[0].producer = 1;
	assert_int_equal(watchdog_work(&p), DUE_RX);
	p.deadline = T0;
	assert_int_equal(watchdog_work(&p), DUE_RX | DUE_TICK);
	p.kicks_owed = 2;
	assert_int_equal(watchdog_work(&p), DUE_RX | DUE_TICK | DUE_KICK);
	p.condemned = 1;
	assert_int_equal(watchdog_work(&p), 0);
}

/* ---- lives ----------------------------------------------------------------------------------- */

struct life {
	struct watch w;
	struct peek p;
};

static void be_born(struct life *l)
{
	memset(l, 0, sizeof(*l));
	l->p = (struct peek){ .now = T0, QUIET, .n_conns = 1 };
	l->w.active_at = T0;
	l->w.before = l->p;
}

static uint32_t look_after(struct life *l, uint64_t ns)
{
	l->p.now += ns;
	return watch_look(&l->w, &l->p, DOG);
}

/* The turn that was due: the surrogate took it, and everything there was to do is done. */
static void stand_in(struct life *l)
{
	l->p.n_turns++;
	l->p.rx[0].consumer = l->p.rx[0].producer;
	if (l->p.deadline <= l->p.now)
		l->p.deadline = l->p.now + 200 * MS;
	watch_done(&l->w, &l->p, false);
}

static void app_turn(struct life *l)
{
	l->p.n_turns++;
	l->p.rx[0].consumer = l->p.rx[0].producer;
}

static uint64_t nap(const struct life *l, bool want_frames)
{
	bool frames;
	uint64_t ns = watch_sleep_ns(&l->w, DOG, &frames);

	assert_int_equal(frames, want_frames);
	return ns;
}

static void test_idle(void **state)
{
	struct life l;

	(void)state;
	be_born(&l);
	/* While its program is at it: a look each watchdog, and never a turn. */
	for (int i = 0; i < 300; i++) {
		l.p.rx[0].producer++;
		app_turn(&l);
		assert_int_equal(look_after(&l, DOG), 0);
		assert_int_equal(l.w.mode, WATCH_WATCH);
		assert_true(nap(&l, false) == DOG);
	}
	/* Nothing for a second: it sleeps on devices, and long. */
	for (int i = 0; i < 100; i++)
		assert_int_equal(look_after(&l, DOG), 0);
	assert_int_equal(l.w.mode, WATCH_IDLE);
	assert_true(nap(&l, true) == NS_PER_S);
	/* No connection: longer. */
	l.p.n_conns = 0;
	assert_int_equal(look_after(&l, NS_PER_S), 0);
	assert_true(nap(&l, true) == 5 * NS_PER_S);
	/* A timer ahead: until it is late. */
	l.p.n_conns = 1;
	l.p.deadline = l.p.now + NS_PER_S + 300 * MS;
	assert_int_equal(look_after(&l, NS_PER_S), 0);
	assert_true(nap(&l, true) == 300 * MS + DOG);
	/* The program ran it: back to watching. */
	l.p.deadline = NEVER_NS;
	app_turn(&l);
	assert_int_equal(look_after(&l, 310 * MS), 0);
	assert_int_equal(l.w.mode, WATCH_WATCH);
}

static void test_idle_frame(void **state)
{
	struct life l;

	(void)state;
	be_born(&l);
	for (int i = 0; i < 101; i++)
		assert_int_equal(look_after(&l, DOG), 0);
	assert_int_equal(l.w.mode, WATCH_IDLE);
	/* A frame ends the sleep, but its program has the first word. */
	l.p.rx[0].producer++;
	assert_int_equal(look_after(&l, 3 * MS), 0);
	assert_int_equal(l.w.mode, WATCH_WATCH);
	assert_true(nap(&l, false) == DOG);
	/* It says nothing. */
	assert_int_equal(look_after(&l, DOG), DUE_RX);
	assert_int_equal(l.w.mode, WATCH_STAND_IN);
	stand_in(&l);
	/* From now on a frame is met at once. */
	assert_true(nap(&l, true) == 100 * MS);
	l.p.rx[0].producer++;
	assert_int_equal(look_after(&l, MS), DUE_RX);
	stand_in(&l);
	/* And timers on time. */
	l.p.deadline = l.p.now + 40 * MS;
	watch_done(&l.w, &l.p, false);
	assert_true(nap(&l, true) == 40 * MS);
	assert_int_equal(look_after(&l, 40 * MS), DUE_TICK);
	stand_in(&l);
	/* The program is back. */
	l.p.rx[0].producer++;
	app_turn(&l);
	assert_int_equal(look_after(&l, MS), 0);
	assert_int_equal(l.w.mode, WATCH_WATCH);
	assert_true(nap(&l, false) == DOG);
}

/* Events of apertures are frames in all this. */
static void test_idle_event(void **state)
{
	struct life l;

	(void)state;
	be_born(&l);
	for (int i = 0; i < 101; i++)
		assert_int_equal(look_after(&l, DOG), 0);
	assert_int_equal(l.w.mode, WATCH_IDLE);
	l.p.ap_waits = 1;
	assert_int_equal(look_after(&l, 3 * MS), 0);
	assert_int_equal(l.w.mode, WATCH_WATCH);
	assert_int_equal(look_after(&l, DOG), DUE_RX);
	assert_int_equal(l.w.mode, WATCH_STAND_IN);
	l.p.ap_waits = 0;
	l.p.ap_taken++;
	stand_in(&l);
	assert_true(nap(&l, true) == 100 * MS);
	l.p.ap_waits = 1;
	assert_int_equal(look_after(&l, MS), DUE_RX);
	/* While one waits it does not lie down to be woken by it. */
	stand_in(&l);
	l.w.mode = WATCH_WATCH;
	l.w.active_at = 0;
	l.w.shut = true;
	(void)look_after(&l, MS);
	assert_int_not_equal(l.w.mode, WATCH_IDLE);
}

static void test_late_timer(void **state)
{
	struct life l;

	(void)state;
	be_born(&l);
	l.p.deadline = T0 + 5 * NS_PER_S;
	for (int i = 0; i < 101; i++)
		assert_int_equal(look_after(&l, DOG), 0);
	assert_int_equal(l.w.mode, WATCH_IDLE);
	assert_int_equal(look_after(&l, T0 + 5 * NS_PER_S + DOG - l.p.now), DUE_TICK);
	assert_int_equal(l.w.mode, WATCH_STAND_IN);
}

/* Stopped inside a turn: nothing can be done, and nothing may spin. */
static void test_shut(void **state)
{
	struct life l;

	(void)state;
	be_born(&l);
	l.p.rx[0].producer = 1;
	assert_int_equal(look_after(&l, DOG), 0);
	for (int i = 0; i < 500; i++) {
		assert_int_equal(look_after(&l, DOG), DUE_RX);
		watch_done(&l.w, &l.p, true);
		assert_true(nap(&l, false) == DOG);
	}
	/* It went on, and opened the door. */
	app_turn(&l);
	assert_int_equal(look_after(&l, DOG), 0);
	assert_int_equal(l.w.mode, WATCH_WATCH);
}

/* Woken early and often (a signal, a death): what is due is still found after a watchdog. */
static void test_early_looks(void **state)
{
	struct life l;
	uint32_t due = 0;

	(void)state;
	be_born(&l);
	l.p.rx[0].producer = 1;
	for (int i = 0; i < 30 && !due; i++)
		due = look_after(&l, MS);
	assert_int_equal(due, DUE_RX);
	assert_in_range(l.p.now - T0, DOG, 2 * DOG + MS);
}

static void test_condemned(void **state)
{
	struct life l;

	(void)state;
	be_born(&l);
	l.p.rx[0].producer = 1;
	l.p.deadline = 0;
	l.p.condemned = 1;
	for (int i = 0; i < 300; i++)
		assert_int_equal(look_after(&l, DOG), 0);
	assert_true(nap(&l, false) == NS_PER_S);
}

/* Whatever a hostile segment shows, the sleep is bounded and no look is lost for ever. */
static void test_any(void **state)
{
	uint64_t seed = 42;

	(void)state;
	for (int i = 0; i < 200000; i++) {
		struct watch w;
		struct peek p;
		uint8_t *bytes[2] = { (uint8_t *)&w, (uint8_t *)&p };
		size_t sizes[2] = { sizeof(w), sizeof(p) };
		bool frames;

		for (int k = 0; k < 2; k++)
			for (size_t j = 0; j < sizes[k]; j++) {
				seed = seed * 6364136223846793005ull + 1442695040888963407ull;
				bytes[k][j] = (uint8_t)(seed >> 56);
			}
		w.mode = seed % 3;
		w.shut = seed >> 8 & 1;
		p.n_vis = w.before.n_vis = (uint32_t)(seed >> 16) % (N_VIS + 1);
		w.before.now = p.now - seed % NS_PER_S;
		(void)watch_look(&w, &p, DOG);
		assert_in_range(watch_sleep_ns(&w, DOG, &frames), 0, 5 * NS_PER_S + DOG);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_work),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_idle_frame),
		cmocka_unit_test(test_idle_event),
		cmocka_unit_test(test_late_timer),
		cmocka_unit_test(test_shut),
		cmocka_unit_test(test_early_looks),
		cmocka_unit_test(test_condemned),
		cmocka_unit_test(test_any),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
