/* SPDX-License-Identifier: BSD-2-Clause */
/* The retransmission time-out as a pure object (RFC 6298), with Linux's 200 ms. */
#include "test/unit/panic.h"

#include "base/prng.h"
#include "core/tcp/parts.h"

static void test_first(void **state)
{
	struct tcp_rtt r;

	(void)state;
	tcp_rtt_init(&r);
	/* RFC 6298 (2.1): one second before any sample. */
	assert_int_equal(tcp_rtt_rto_ns(&r, 0), NS_PER_S);
	tcp_rtt_sample(&r, 100000);
	/* RFC 6298 (2.2): SRTT = R, RTTVAR = R / 2, RTO = R + 4 R / 2. */
	assert_int_equal(r.srtt_us8 >> 3, 100000);
	assert_int_equal(r.rttvar_us4 >> 2, 50000);
	assert_int_equal(tcp_rtt_rto_ns(&r, 0), 300 * NS_PER_MS);
	assert_int_equal(r.min_us, 100000);
}

static void test_second(void **state)
{
	struct tcp_rtt r;

	(void)state;
	tcp_rtt_init(&r);
	tcp_rtt_sample(&r, 100000);
	tcp_rtt_sample(&r, 200000);
	/* RFC 6298 (2.3): RTTVAR = 3/4 50 + 1/4 100 = 62.5; SRTT = 7/8 100 + 1/8 200 = 112.5. */
	assert_int_equal(r.srtt_us8, 8 * 112500);
	assert_int_equal(r.rttvar_us4, 4 * 62500);
	assert_int_equal(tcp_rtt_rto_ns(&r, 0), 362500 * NS_PER_US);
}

static void test_floor_and_ceiling(void **state)
{
	struct tcp_rtt r;

	(void)state;
	tcp_rtt_init(&r);
	for (int i = 0; i < 1000; i++)
		tcp_rtt_sample(&r, 10);
	/* Linux: 200 ms above the round trip. */
	assert_in_range(tcp_rtt_rto_ns(&r, 0), 200 * NS_PER_MS, 201 * NS_PER_MS);
	assert_in_range(r.srtt_us8 >> 3, 9, 10);
	/* RFC 6298 (5.5), (2.5): doubled each time, at most 120 s. */
	for (uint32_t n = 0; n < 9; n++)
		assert_in_range(tcp_rtt_rto_ns(&r, n), (200ull << n) * NS_PER_MS, (201ull << n) * NS_PER_MS);
	for (uint32_t n = 10; n < 256; n++)
		assert_int_equal(tcp_rtt_rto_ns(&r, n), 120 * NS_PER_S);
	tcp_rtt_sample(&r, UINT32_MAX);
	assert_true(r.rto_us <= TCP_RTO_MAX_US);
	tcp_rtt_sample(&r, 0);
	assert_int_equal(r.min_us, 1);
}

/* Whatever the samples are, SRTT stays between the least and the largest. */
static void test_bounds(void **state)
{
	struct prng g;

	(void)state;
	prng_seed(&g, 1);
	for (int round = 0; round < 200; round++) {
		uint32_t lo = 1 + prng_below(&g, 1000000), span = 1 + prng_below(&g, 1000000);
		struct tcp_rtt r;

		tcp_rtt_init(&r);
		for (int i = 0; i < 200; i++) {
			tcp_rtt_sample(&r, lo + prng_below(&g, span));
			assert_in_range(r.srtt_us8 >> 3, lo ? lo - 1 : 0, lo + span);
			assert_true(r.rto_us >= (r.srtt_us8 >> 3) + TCP_RTO_MIN_US || r.rto_us == TCP_RTO_MAX_US);
			assert_true(r.min_us >= lo);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_first), cmocka_unit_test(test_second),
		cmocka_unit_test(test_floor_and_ceiling), cmocka_unit_test(test_bounds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
