/* SPDX-License-Identifier: BSD-2-Clause */
/* Congestion control as pure objects: Reno (RFC 5681) and CUBIC (RFC 9438). */
#include "test/unit/panic.h"

#include "base/prng.h"
#include "core/tcp/cc.h"

#define MSS 1448u

static void lose(struct tcp_cc *c)
{
	c->ssthresh = tcp_cc_ops(c)->on_loss(c);
	c->cwnd = c->ssthresh;
}

/* A round trip in which all of cwnd is acknowledged, two segments at a time. */
static void round_trip(struct tcp_cc *c, uint64_t *now, uint64_t rtt_ns)
{
	uint32_t w = c->cwnd, n = (w + 2 * MSS - 1) / (2 * MSS);

	for (uint32_t i = 0; i < n; i++)
		tcp_cc_on_ack(c, 2 * MSS, *now + rtt_ns * i / n, (uint32_t)(rtt_ns / NS_PER_US));
	*now += rtt_ns;
}

static void test_initial(void **state)
{
	struct tcp_cc c;

	(void)state;
	for (uint8_t a = TCP_CC_CUBIC; a <= TCP_CC_RENO; a++) {
		tcp_cc_init(&c, a, MSS);
		assert_int_equal(c.cwnd, 10 * MSS);	/* RFC 6928 */
		assert_true(c.ssthresh > 1u << 30);
	}
	tcp_cc_init(&c, TCP_CC_RENO, 65483);
	assert_int_equal(c.cwnd, 654830);
}

static void test_slow_start(void **state)
{
	struct tcp_cc c;
	uint64_t now = 0;

	(void)state;
	for (uint8_t a = TCP_CC_CUBIC; a <= TCP_CC_RENO; a++) {
		tcp_cc_init(&c, a, MSS);
		for (int i = 0; i < 5; i++)
			round_trip(&c, &now, 10 * NS_PER_MS);
		/* RFC 5681 3.1: doubled each round trip. */
		assert_int_equal(c.cwnd, 320 * MSS);
	}
}

static void test_reno_avoidance(void **state)
{
	struct tcp_cc c;
	uint64_t now = 0;
	uint32_t w;

	(void)state;
	tcp_cc_init(&c, TCP_CC_RENO, MSS);
	c.cwnd = 100 * MSS;
	lose(&c);
	assert_int_equal(c.cwnd, 50 * MSS);	/* RFC 5681 (4) */
	for (int i = 0; i < 20; i++) {
		w = c.cwnd;
		round_trip(&c, &now, 10 * NS_PER_MS);
		/* RFC 5681 (2): one segment a round trip. */
		assert_in_range(c.cwnd, w, w + MSS);
	}
	assert_in_range(c.cwnd, 68 * MSS, 71 * MSS);
}

static void test_floor(void **state)
{
	struct tcp_cc c;

	(void)state;
	for (uint8_t a = TCP_CC_CUBIC; a <= TCP_CC_RENO; a++) {
		tcp_cc_init(&c, a, MSS);
		for (int i = 0; i < 100; i++)
			lose(&c);
		assert_int_equal(c.cwnd, 2 * MSS);
	}
}

/* RFC 9438 4.2: after K = cbrt(W_max (1 - beta) / C) seconds, cwnd is W_max again; before, the
 * curve is concave, after it convex. */
static void test_cubic_curve(void **state)
{
	struct tcp_cc c;
	uint64_t now = 5 * NS_PER_S, start;
	uint32_t w_max = 1000 * MSS, first, mid;

	(void)state;
	tcp_cc_init(&c, TCP_CC_CUBIC, MSS);
	c.cwnd = w_max;
	lose(&c);
	assert_in_range(c.cwnd, 699 * MSS, 700 * MSS);	/* RFC 9438 4.6 */
	start = now;
	/* K = cbrt(300 / 0.4) = 9.086 s */
	while (now - start < 3 * NS_PER_S)
		round_trip(&c, &now, 100 * NS_PER_MS);
	first = c.cwnd - 700 * MSS;
	while (now - start < 6 * NS_PER_S)
		round_trip(&c, &now, 100 * NS_PER_MS);
	mid = c.cwnd;
	assert_true(mid - 700 * MSS - first < first);	/* concave */
	while (now - start < 9086 * NS_PER_MS)
		round_trip(&c, &now, 100 * NS_PER_MS);
	assert_in_range(c.cwnd, 980 * MSS, 1005 * MSS);
	while (now - start < 14 * NS_PER_S)
		round_trip(&c, &now, 100 * NS_PER_MS);
	/* 0.4 * 4.914^3 = 47 segments above. */
	assert_in_range(c.cwnd, 1030 * MSS, 1075 * MSS);
}

/* RFC 9438 4.3: on a short path CUBIC does no worse than Reno would. */
static void test_cubic_is_fair(void **state)
{
	struct tcp_cc c, r;
	uint64_t now = NS_PER_S, now2 = NS_PER_S;

	(void)state;
	tcp_cc_init(&c, TCP_CC_CUBIC, MSS);
	tcp_cc_init(&r, TCP_CC_RENO, MSS);
	c.cwnd = r.cwnd = 40 * MSS;
	lose(&c);
	lose(&r);
	for (int i = 0; i < 100; i++) {
		round_trip(&c, &now, NS_PER_MS);
		round_trip(&r, &now2, NS_PER_MS);
	}
	assert_true(c.cwnd + 10 * MSS >= r.cwnd);
}

static void test_fast_convergence(void **state)
{
	struct tcp_cc c;

	(void)state;
	tcp_cc_init(&c, TCP_CC_CUBIC, MSS);
	c.cwnd = 1000 * MSS;
	lose(&c);
	assert_int_equal(c.w_max, 1000 * MSS);
	lose(&c);	/* RFC 9438 4.7: below the last maximum: make room */
	assert_in_range(c.w_max, 594 * MSS, 595 * MSS);
}

/* No history makes cwnd leave its bounds or arithmetic go wrong. */
static void test_any_history(void **state)
{
	struct prng g;

	(void)state;
	prng_seed(&g, 7);
	for (int round = 0; round < 300; round++) {
		uint32_t mss = TCP_MIN_MSS + prng_below(&g, 65000);
		uint64_t now = prng_u64(&g) >> 20;
		struct tcp_cc c;

		tcp_cc_init(&c, (uint8_t)prng_below(&g, 2), mss);
		for (int i = 0; i < 400; i++) {
			uint32_t what = prng_below(&g, 100), before = c.cwnd;
			uint32_t acked = 1 + prng_below(&g, 4 * mss);

			now += prng_below(&g, 1000) * (prng_below(&g, 50) ? NS_PER_US : NS_PER_S);
			if (what < 90) {
				tcp_cc_on_ack(&c, acked, now, prng_below(&g, 3000000));
				assert_true(c.cwnd >= before && c.cwnd <= max_u32(c.cwnd_max, before));
				assert_true(c.cwnd - before <= acked + mss);
			} else if (what < 95) {
				lose(&c);
				assert_true(c.cwnd >= 2 * mss);
			} else if (what < 97) {
				c.cwnd = mss;	/* a time-out */
			} else if (what < 99) {
				tcp_cc_ops(&c)->on_idle(&c, prng_u64(&g) >> 34, now, false);
			} else {
				mss = TCP_MIN_MSS + prng_below(&g, 65000);
				tcp_cc_set_mss(&c, mss);
			}
			assert_true(c.cwnd >= mss);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_initial), cmocka_unit_test(test_slow_start),
		cmocka_unit_test(test_reno_avoidance), cmocka_unit_test(test_floor),
		cmocka_unit_test(test_cubic_curve), cmocka_unit_test(test_cubic_is_fair),
		cmocka_unit_test(test_fast_convergence), cmocka_unit_test(test_any_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
