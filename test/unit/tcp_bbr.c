/* SPDX-License-Identifier: BSD-2-Clause */
/* BBR, DCTCP and HyStart++ (RFC 9406) as pure objects: on a path made of three numbers, and on marks
 * and round trips that a test makes up. */
#include "test/unit/panic.h"

#include "core/tcp/cc.h"

#define rfc(number, clause, what) ((void)(number clause what))
#define MSS 1448u
#define RTT_US 20000u

static struct tcp_cc c;
static struct tcp_cc_sample s;
static uint64_t now;
static uint32_t base_rtt_us;

/* A path of `bw` bytes a second: what is in flight beyond bw * rtt waits, and what beyond
 * `room` is lost. A round trip: all of it is delivered. */
static void round_on(uint64_t bw, uint32_t room)
{
	uint64_t pipe = bw * base_rtt_us / 1000000, want = c.rate ? c.rate * base_rtt_us / 1000000 : c.cwnd;
	uint32_t flight = (uint32_t)min_u64(min_u64(c.cwnd, max_u64(want, 4 * MSS)), pipe + room);
	uint32_t rtt = flight > pipe ? (uint32_t)(flight * 1000000ull / bw) : base_rtt_us;
	uint32_t before = s.total, n = max_u32(flight / (4 * MSS), 1);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t got = flight / n;

		now += rtt * NS_PER_US / n;
		s.now = now;
		s.total += got;
		s.acked = s.delivered = got;
		s.prior_in_flight = flight;
		s.in_flight = flight - got;
		s.rtt_us = s.srtt_us = rtt;
		s.min_rtt_us = base_rtt_us;
		s.rs_prior = before - flight + got * i;
		s.rs_delivered = flight;
		s.rs_interval_us = rtt;
		s.rs_valid = true;
		tcp_cc_ops(&c)->on_sample(&c, &s);
	}
}

static void begin(uint8_t algo)
{
	now = 5 * NS_PER_S;
	base_rtt_us = RTT_US;
	s = (struct tcp_cc_sample){ .total = 100000, .rtt_us = -1 };
	tcp_cc_init(&c, algo, MSS);
}

static void test_bbr_finds_the_rate(void **state)
{
	const uint64_t bw = 12500000;	/* 100 Mb/s */

	(void)state;
	begin(TCP_CC_BBR);
	for (int i = 0; i < 30; i++)
		round_on(bw, 1000000);
	assert_true(c.bbr.full);
	assert_in_range(rate32_get(c.bbr.bw.v[0]), bw * 95 / 100, bw * 105 / 100);
	assert_int_equal(c.bbr.min_rtt_us, RTT_US);
	/* Never more in flight than twice the pipe, bursts and lumps aside. */
	assert_true(c.cwnd <= 2 * bw * RTT_US / 1000000 + 4 * 65536 + bw / 10);
	assert_in_range(c.rate, bw * 70 / 100, bw * 130 / 100);
	/* Losses say nothing of the rate. */
	assert_int_equal(tcp_cc_ops(&c)->on_loss(&c), c.ssthresh);
	/* The path grows fourfold: probing finds it in a few cycles. */
	for (int i = 0; i < 80; i++)
		round_on(4 * bw, 1000000);
	assert_in_range(rate32_get(c.bbr.bw.v[0]), 38 * bw / 10, 42 * bw / 10);
	/* And shrinks: the old rate is forgotten after ten rounds. */
	for (int i = 0; i < 40; i++)
		round_on(bw, 1000000);
	assert_in_range(rate32_get(c.bbr.bw.v[0]), bw * 95 / 100, bw * 105 / 100);
}

static void test_bbr_probes_the_round_trip(void **state)
{
	bool probed = false;

	(void)state;
	begin(TCP_CC_BBR);
	for (int i = 0; i < 700; i++) {
		round_on(12500000, 1000000);
		probed |= c.cwnd == 4 * MSS;
	}
	/* Once in ten seconds, for a moment, four segments. */
	assert_true(probed);
	assert_true(c.cwnd > 4 * MSS);
}

static void test_bbr_time_out(void **state)
{
	(void)state;
	begin(TCP_CC_BBR);
	for (int i = 0; i < 30; i++)
		round_on(12500000, 1000000);
	(void)tcp_cc_ops(&c)->on_loss(&c);
	tcp_cc_ops(&c)->on_state(&c, TCP_CA_LOSS, now, s.total, 0);
	assert_true(rate32_get(c.bbr.full_bw) == 0);
	assert_in_range(rate32_get(c.bbr.bw.v[0]), 11000000, 14000000);	/* what is known stays known */
	c.cwnd = MSS;
	s.ca_state = TCP_CA_OPEN;
	round_on(12500000, 1000000);
	assert_true(c.cwnd > 4 * MSS);		/* and cwnd comes back at once */
}

/* Fast and far: rates past what 32 bits of bytes a second hold, windows of a third of a gigabyte. */
static void test_bbr_is_not_too_small(void **state)
{
	static const struct { uint64_t bw; uint32_t rtt_us; } on[] = {
		{ 1250000000, 300000 },		/* 10 Gb/s to a satellite */
		{ 12500000000, 1000 },		/* 100 Gb/s in a town */
		{ 50000000000, 100 },		/* 400 Gb/s in a room */
		{ 12500, 2000000 },		/* and 100 kb/s from farther away */
	};

	(void)state;
	for (unsigned i = 0; i < n_elems(on); i++) {
		begin(TCP_CC_BBR);
		base_rtt_us = on[i].rtt_us;
		for (int n = 0; n < 25; n++)
			round_on(on[i].bw, 1000000000);
		assert_true(c.bbr.full);
		assert_int_equal(c.bbr.min_rtt_us, on[i].rtt_us);
		assert_in_range(rate32_get(c.bbr.bw.v[0]), on[i].bw * 98 / 100, on[i].bw * 102 / 100);
		assert_in_range(c.rate, on[i].bw * 70 / 100, on[i].bw * 130 / 100);
		assert_true(c.cwnd >= min_u64(on[i].bw * on[i].rtt_us / 1000000, c.cwnd_max));
	}
}

/* The instants of the model wrap every 72 minutes. With a connection that works all the time, that
 * is not to be seen: once in ten seconds the round trip is probed, bandwidth is every eight of them. */
static void test_bbr_while_its_clock_wraps(void **state)
{
	uint32_t n_probes = 0, n_up = 0;
	bool was_probing = false, was_up = false;

	(void)state;
	begin(TCP_CC_BBR);
	now = ((1ull << 32) - 26000000) * NS_PER_US;
	s.lost = 1;	/* ends the phase that looks for more after one round trip */
	for (int i = 0; i < 30; i++)
		round_on(12500000, 1000000);
	while (now < ((1ull << 32) + 25000000) * NS_PER_US) {
		bool probing, up;

		round_on(12500000, 1000000);
		probing = c.cwnd == 4 * MSS;
		up = c.bbr.pacing_gain > 256 && c.bbr.full;
		n_probes += probing && !was_probing;
		n_up += up && !was_up;
		was_probing = probing;
		was_up = up;
		assert_in_range(rate32_get(c.bbr.bw.v[0]), 11000000, 14000000);
	}
	assert_in_range(n_probes, 4, 5);
	/* 50 s of eight or nine round trips a cycle. */
	assert_in_range(n_up, 50000000 / (12 * RTT_US), 50000000 / (8 * RTT_US));
	assert_int_equal(c.bbr.min_rtt_us, RTT_US);
}

/* Wherever in a phase, and between whichever two acknowledgements, the clock wraps: phases go on. */
static void test_bbr_phases_over_the_wrap(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 400; i++) {
		uint64_t wrap = (1ull << 32) * NS_PER_US;
		uint32_t n_phases = 0, cycle;

		begin(TCP_CC_BBR);
		now = wrap - 800 * NS_PER_MS - i * 53 * NS_PER_US;
		s.lost = 1;
		while (now < wrap - 3 * RTT_US * NS_PER_US)
			round_on(12500000, 1000000);
		assert_true(c.bbr.full);
		cycle = c.bbr.cycle;
		for (int n = 0; n < 24; n++) {
			round_on(12500000, 1000000);
			n_phases += c.bbr.cycle != cycle;
			cycle = c.bbr.cycle;
		}
		assert_true(now > wrap);
		assert_in_range(n_phases, 18, 24);
	}
}

/* However long nothing was sent: what is known of the round trip is old afterwards, also when the
 * clock shows what it showed before. */
static void test_bbr_after_a_long_silence(void **state)
{
	static const uint64_t us[] = { 11000000, 1ull << 31, (1ull << 32) - 1, 1ull << 32, (1ull << 32) + 1000000,
				       3 * (1ull << 32) + 5000000 };

	(void)state;
	for (unsigned i = 0; i < 2 * n_elems(us); i++) {
		bool for_want_of_data = i & 1;

		begin(TCP_CC_BBR);
		for (int n = 0; n < 60; n++)
			round_on(12500000, 1000000);
		assert_int_equal(c.bbr.min_rtt_us, RTT_US);
		now += us[i / 2] * NS_PER_US;
		tcp_cc_ops(&c)->on_idle(&c, us[i / 2] * NS_PER_US, now, for_want_of_data);
		base_rtt_us = 2 * RTT_US;	/* the path is a longer one now */
		round_on(12500000, 1000000);
		assert_in_range(c.bbr.min_rtt_us, 2 * RTT_US, 3 * RTT_US);
		for (int n = 0; n < 60; n++)
			round_on(12500000, 1000000);
		assert_in_range(rate32_get(c.bbr.bw.v[0]), 12500000 * 95ull / 100, 12500000 * 105ull / 100);
		assert_true(c.cwnd >= 12500000ull * 2 * RTT_US / 1000000);
		assert_true(c.cwnd <= 12500000ull * 4 * RTT_US / 1000000 + 4 * 65536 + 12500000 / 10);
	}
}

/* ---- DCTCP (RFC 8257) ------------------------------------------------------------------------- */

static void dctcp_round(uint32_t marked_of_16)
{
	for (uint32_t i = 0; i < 16; i++) {
		s.una += 1000;
		s.total += 1000;
		s.total_ce += i < marked_of_16 ? 1000 : 0;
		s.nxt = s.una + 16000;
		tcp_cc_ops(&c)->on_sample(&c, &s);
	}
}

static void test_dctcp(void **state)
{
	(void)state;
	begin(TCP_CC_DCTCP);
	c.cwnd = 100 * MSS;
	rfc("8257", "3.3", "alpha begins at 1: the first mark costs a half");
	assert_int_equal(tcp_cc_ops(&c)->on_mark(&c), 50 * MSS);
	for (int i = 0; i < 200; i++)
		dctcp_round(0);
	rfc("8257", "3.3", "alpha follows the share of marked bytes");
	assert_int_equal(c.alpha, 0);
	for (int i = 0; i < 200; i++)
		dctcp_round(4);
	assert_in_range(c.alpha, 1024 / 4 - 24, 1024 / 4 + 24);
	rfc("8257", "3.4", "a window with marks costs alpha / 2");
	assert_in_range(tcp_cc_ops(&c)->on_mark(&c), 86 * MSS, 89 * MSS);
	rfc("8257", "3.5", "a loss costs what it always costs");
	assert_int_equal(tcp_cc_ops(&c)->on_loss(&c), 50 * MSS);
	c.cwnd = MSS;
	assert_int_equal(tcp_cc_ops(&c)->on_mark(&c), 2 * MSS);
}

/* ---- HyStart++ -------------------------------------------------------------------------------------- */

static struct tcp_hystart h;

/* A round of n acknowledgements with that round trip; true: slow start is over. */
static bool hs_round(uint32_t n, uint32_t rtt_us)
{
	bool over = false;

	s.nxt = s.una + n * MSS;
	for (uint32_t i = 0; i < n; i++) {
		s.una += MSS;
		s.rtt_us = rtt_us;
		s.nxt = s.una + n * MSS;
		over |= tcp_hystart(&h, &s);
	}
	return over;
}

static void test_hystart(void **state)
{
	(void)state;
	begin(TCP_CC_CUBIC);
	h = (struct tcp_hystart){ .min_us = UINT32_MAX };
	for (int i = 0; i < 6; i++)
		assert_false(hs_round(16, 40000));
	assert_int_equal(h.css, 0);
	rfc("9406", "4.2", "an eighth more than the last round's least: the conservative phase");
	assert_false(hs_round(16, 46000));
	assert_true(h.css != 0);
	rfc("9406", "4.2", "the round trip falls back: slow start goes on");
	assert_false(hs_round(16, 40000));
	assert_int_equal(h.css, 0);
	assert_false(hs_round(16, 40000));
	rfc("9406", "4.2", "five rounds of it, and congestion avoidance begins");
	(void)hs_round(16, 60000);
	assert_true(h.css != 0);
	for (int i = 0; i < 4; i++)
		assert_false(hs_round(16, 61000));
	assert_true(hs_round(16, 61000) || hs_round(16, 61000));
}

static void test_hystart_is_patient(void **state)
{
	(void)state;
	begin(TCP_CC_CUBIC);
	h = (struct tcp_hystart){ .min_us = UINT32_MAX };
	rfc("9406", "4.3", "less than 4 ms more is jitter");
	for (uint32_t i = 0; i < 10; i++)
		assert_false(hs_round(16, 1000 + 3000 * (i & 1)));
	assert_int_equal(h.css, 0);
	rfc("9406", "4.2", "fewer than eight samples tell nothing");
	for (uint32_t i = 0; i < 10; i++)
		assert_false(hs_round(4, 40000 * (1 + i)));
	assert_int_equal(h.css, 0);
	/* CUBIC: a quarter of the growth in the conservative phase, and ssthresh at its end. */
	c.cwnd = 100 * MSS;
	c.hs.css = 1;
	tcp_cc_on_ack(&c, 4 * MSS, now, 40000);
	assert_int_equal(c.cwnd, 101 * MSS);
	c.hs.css = 6;
	c.hs.in_round = 1;
	c.hs.round_end = s.una + MSS;
	tcp_cc_ops(&c)->on_sample(&c, &s);
	assert_int_equal(c.ssthresh, c.cwnd);
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(tcp_cc_by_name("cubic"), TCP_CC_CUBIC);
	assert_int_equal(tcp_cc_by_name("reno"), TCP_CC_RENO);
	assert_int_equal(tcp_cc_by_name("bbr"), TCP_CC_BBR);
	assert_int_equal(tcp_cc_by_name("dctcp"), TCP_CC_DCTCP);
	assert_true(tcp_cc_by_name("vegas") < 0);
	assert_true(tcp_cc_by_name("bb") < 0);
	assert_true(tcp_cc_by_name("bbrx") < 0);
	assert_true(tcp_cc_by_name("") < 0);
	assert_null(tcp_cc_name(N_TCP_CC));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bbr_finds_the_rate), cmocka_unit_test(test_bbr_probes_the_round_trip),
		cmocka_unit_test(test_bbr_time_out),
		cmocka_unit_test(test_bbr_is_not_too_small), cmocka_unit_test(test_bbr_while_its_clock_wraps),
		cmocka_unit_test(test_bbr_phases_over_the_wrap), cmocka_unit_test(test_bbr_after_a_long_silence),
		cmocka_unit_test(test_dctcp), cmocka_unit_test(test_hystart),
		cmocka_unit_test(test_hystart_is_patient), cmocka_unit_test(test_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
