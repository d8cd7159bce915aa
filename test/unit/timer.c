/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The wheel against a naive model: an array of deadlines. Whatever is armed, moved back and
 * forth and disarmed, a socket fires once, never early, at most a tick late, and the
 * deadline never lies after what it announces.
 */
#include "test/unit/rig.h"

#define TICK	(1ull << WHEEL_TICK_SHIFT)
#define N	60

struct model { struct rig r; struct sk *sk[N]; uint64_t at[N]; };

static void model_make(struct model *m)
{
	rig_make(&m->r);
	for (unsigned i = 0; i < N; i++) {
		m->sk[i] = sk_get(&m->r.t, SK_TCP, 6);
		assert_non_null(m->sk[i]);
		m->at[i] = NEVER_NS;
	}
}

static void model_arm(struct model *m, unsigned i, uint64_t at)
{
	tmr_arm(&m->r.t, m->sk[i], at);
	m->at[i] = at;
	assert_true(m->sk[i]->tmr_at == at);
}

static uint64_t model_first(const struct model *m)
{
	uint64_t first = NEVER_NS;

	for (unsigned i = 0; i < N; i++)
		first = min_u64(first, m->at[i]);
	return first;
}

/* Lets time go on to `now` and takes all that fires. */
static unsigned model_run(struct model *m, uint64_t now)
{
	struct turn *t = &m->r.t;
	struct sk *sk;
	unsigned n = 0;

	t->now = now;
	while ((sk = tmr_pop(t))) {
		unsigned i = sk_slot_of(t, sk) - 1;

		assert_ptr_equal(sk, m->sk[i]);
		assert_true(m->at[i] != NEVER_NS);
		assert_true(m->at[i] <= now);
		assert_true(sk->tmr_at == NEVER_NS);
		m->at[i] = NEVER_NS;
		n++;
	}
	for (unsigned i = 0; i < N; i++)
		assert_true(m->at[i] == NEVER_NS || m->at[i] + TICK > now);
	return n;
}

static void model_check(struct model *m)
{
	uint64_t first = max_u64(model_first(m), m->r.t.now);
	uint64_t deadline = tmr_deadline(&m->r.t);

	assert_int_equal(stack_check(&m->r.t), 0);
	if (first != NEVER_NS)
		assert_true(deadline < first + TICK || first > UINT64_MAX - TICK);
}

/* Scales from below a tick to beyond the wheel. */
static uint64_t some_delay(struct prng *rng)
{
	uint64_t scale = 1ull << prng_below(rng, 46);

	return prng_u64(rng) % (scale + 1);
}

static void test_model(void **state)
{
	for (uint64_t seed = 1; seed <= 60; seed++) {
		static struct model m;
		struct prng rng;
		uint64_t now;

		(void)state;
		model_make(&m);
		prng_seed(&rng, seed);
		now = m.r.t.now;
		for (unsigned step = 0; step < 1500; step++) {
			unsigned i = prng_below(&rng, N);

			switch (prng_below(&rng, 8)) {
			case 0: case 1: case 2: case 3:
				model_arm(&m, i, now + some_delay(&rng));
				break;
			case 4:
				model_arm(&m, i, NEVER_NS);
				break;
			case 5:		/* in the past */
				model_arm(&m, i, now - min_u64(now, some_delay(&rng)));
				break;
			case 6:
				now += some_delay(&rng) >> prng_below(&rng, 20);
				model_run(&m, now);
				break;
			case 7:		/* exactly when it says */
				if (tmr_deadline(&m.r.t) != NEVER_NS)
					now = max_u64(now, tmr_deadline(&m.r.t));
				model_run(&m, now);
				break;
			}
			model_check(&m);
		}
		/* Waking at the deadlines alone empties the wheel, in few steps. */
		for (unsigned step = 0; tmr_deadline(&m.r.t) != NEVER_NS; step++) {
			assert_in_range(step, 0, N * 300);
			now = max_u64(now, tmr_deadline(&m.r.t));
			model_run(&m, now);
		}
		assert_true(model_first(&m) == NEVER_NS);
		rig_free(&m.r);
	}
}

/* Every distance around each boundary of each level, from every phase that matters. */
static void test_boundaries(void **state)
{
	static const uint64_t edge[] = { 0, 1, 63, 64, 65, 4095, 4096, 4097, 262143, 262144,
					 262145, 16777215, 16777216, 16777217 };
	static const uint64_t phase[] = { 0, 1, 62, 63, 64, 4032, 4095, 262143, 16777215 };

	(void)state;
	for (unsigned p = 0; p < n_elems(phase); p++)
		for (unsigned e = 0; e < n_elems(edge); e++) {
			static struct model m;
			uint64_t now, at;

			model_make(&m);
			now = (1ull << 30 << WHEEL_TICK_SHIFT) + phase[p] * TICK;
			model_run(&m, now);
			at = now + edge[e] * TICK;
			model_arm(&m, 0, at);
			model_check(&m);
			if (edge[e]) {
				assert_int_equal(model_run(&m, at - 1), 0);
				model_check(&m);
			}
			assert_int_equal(model_run(&m, at), 1);
			assert_true(tmr_deadline(&m.r.t) == NEVER_NS);
			rig_free(&m.r);
		}
}

/* The usual life of a retransmission timer: pushed on by each ACK, and at last idle. */
static void test_pushed_on(void **state)
{
	static struct model m;
	uint64_t now;
	unsigned wakes = 0;

	(void)state;
	model_make(&m);
	now = m.r.t.now;
	for (unsigned i = 0; i < 10000; i++) {
		now += 100 * NS_PER_US;
		m.r.t.now = now;
		model_arm(&m, 7, now + 200 * NS_PER_MS);
		if (tmr_deadline(&m.r.t) <= now) {
			assert_int_equal(model_run(&m, now), 0);
			wakes++;
		}
	}
	/* One second: looked at a few times per 200 ms, not ten thousand times. */
	assert_in_range(wakes, 1, 100);
	model_arm(&m, 7, NEVER_NS);
	while (tmr_deadline(&m.r.t) != NEVER_NS) {
		assert_int_equal(model_run(&m, tmr_deadline(&m.r.t)), 0);
		assert_in_range(++wakes, 1, 110);
	}
	rig_free(&m.r);
}

/* Sockets freed while armed, or while idle on the wheel, leave nothing behind. */
static void test_freed(void **state)
{
	static struct model m;
	uint64_t now;

	(void)state;
	model_make(&m);
	now = m.r.t.now;
	for (unsigned i = 0; i < N; i++)
		model_arm(&m, i, now + 5 * NS_PER_MS + (i % 7) * 100 * NS_PER_MS);
	for (unsigned i = 0; i < N; i += 2) {
		if (i % 4)
			tmr_arm(&m.r.t, m.sk[i], NEVER_NS);
		sk_put(&m.r.t, m.sk[i]);
		m.at[i] = NEVER_NS;
		assert_int_equal(stack_check(&m.r.t), 0);
	}
	assert_int_equal(model_run(&m, now + 10 * NS_PER_S), N / 2);
	assert_true(tmr_deadline(&m.r.t) == NEVER_NS);
	rig_free(&m.r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_boundaries),
		cmocka_unit_test(test_pushed_on),
		cmocka_unit_test(test_freed),
	};

	return cmocka_run_group_tests_name("timer", tests, NULL, NULL);
}
