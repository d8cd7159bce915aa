/* SPDX-License-Identifier: BSD-2-Clause */
/* Losses found by time (RFC 8985): reordering window and timer, lost retransmissions, tail loss
 * probes; and how fast a recovery sends (RFC 6937). The path's round trip is 20 ms. */
#include "test/unit/tcp_play.h"

#define M 1448u

static struct tcb *b;

static void open_path(void)
{
	pl.o.sndbuf = 400000;
	pl.o.sndbuf_locked = 1;
	establish();
	after_ms(20);
	b = tcb_of(pl.sk);
	tcp_rtt_init(&b->rtt);
	tcp_rtt_sample(&b->rtt, 20000);
}

static void queue(uint32_t segs)
{
	assert_int_equal(send_n(segs * M, 0), segs * M);
}

/* Full segments [from, to), and nothing else, have just been sent. */
static void expect_segs_at(int line, uint32_t from, uint32_t to)
{
	for (uint32_t i = from; i < to; i++) {
		_assert_true(hear(), "a segment was sent", __FILE__, line);
		_assert_int_equal(pl.last.h.seq, A(1 + i * M), __FILE__, line);
		_assert_int_equal(pl.last.len, M, __FILE__, line);
	}
	_assert_true(!hear(), "nothing more was sent", __FILE__, line);
}
#define expect_segs(from, to) expect_segs_at(__LINE__, (from), (to))

static void flight(uint32_t segs)
{
	open_path();
	queue(segs);
	expect_segs(0, segs);
	after_ms(20);
}

static void sack(uint32_t ack, uint32_t from, uint32_t to)
{
	uint32_t blocks[1][2] = { { A(1 + from * M), A(1 + to * M) } };

	seg_sack(S(1), A(1 + ack * M), 1, (const uint32_t (*)[2])blocks);
}

static void dsack(uint32_t ack, uint32_t from, uint32_t to) { sack(ack, from, to); }
static void ack(uint32_t n) { seg(TCP_F_ACK, S(1), A(1 + n * M)); }

/* ---- RACK ---------------------------------------------------------------------------------- */

static void test_reorder_timer(void **state)
{
	(void)state;
	flight(4);
	sack(0, 1, 2);
	rfc("8985", "6.2", "sent earlier, not arrived: within the reordering window it may be late");
	expect_nothing();
	assert_int_equal(b->early_kind, TCP_EARLY_REO);
	after_ms(3);
	expect_nothing();
	rfc("8985", "6.3", "when the window is over it is lost, on one SACK alone");
	after_ms(4);
	expect_segs(0, 1);
	assert_int_equal(b->ca_state, TCP_CA_RECOVERY);
	assert_int_equal(count(EV_TCP_RTO), 0);
	ack(4);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	assert_int_equal(b->early_kind, TCP_EARLY_NONE);
}

static void test_only_late(void **state)
{
	(void)state;
	flight(6);
	sack(0, 1, 2);
	after_ms(2);
	rfc("8985", "6.2", "what was sent once arrives below what has arrived: reordering");
	ack(2);
	assert_int_equal(b->reord_seen, 1);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	after_ms(10);
	expect_nothing();
	rfc("8985", "6.2", "three SACKed are no proof any more, a quarter of the round trip is waited");
	queue(4);
	expect_segs(6, 10);
	after_ms(20);
	sack(6, 7, 10);
	expect_nothing();
	after_ms(8);
	expect_segs(6, 7);
	ack(10);
}

static void test_lost_again(void **state)
{
	(void)state;
	flight(8);
	sack(0, 1, 4);
	expect_segs(0, 1);
	after_ms(1);
	queue(4);
	sack(0, 1, 8);
	assert_true(hear());
	assert_int_equal(pl.last.h.seq, A(1 + 8 * M));
	while (hear())
		;
	after_ms(20);
	rfc("8985", "6.2", "what was sent after a retransmission arrives: the retransmission is lost");
	sack(0, 1, 9);
	expect_segs(0, 1);
	assert_int_equal(b->total_retrans, 2);
	assert_int_equal(count(EV_TCP_RTO), 0);
	after_ms(20);
	ack(b->snd_nxt - b->snd_una > 12 * M ? 12 : (b->snd_nxt - A(1)) / M);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
}

static void test_answer_to_the_first(void **state)
{
	uint64_t newest;

	(void)state;
	flight(8);
	sack(0, 1, 4);
	expect_segs(0, 1);
	newest = b->newest_at;
	after_ms(2);
	rfc("8985", "6.2", "an answer sooner than any round trip says nothing of the second copy");
	sack(1, 4, 5);
	assert_true(b->newest_at == newest);
	ack(8);
}

static void test_window_from_dsack(void **state)
{
	uint32_t at = 8;

	(void)state;
	flight(6);
	ack(6);
	rfc("8985", "6.2", "a DSACK a round trip widens the window, sixteen recoveries narrow it");
	queue(2);
	dsack(6, 3, 4);
	assert_int_equal(b->reo_mult, 2);
	dsack(6, 4, 5);
	assert_int_equal(b->reo_mult, 2);
	after_ms(20);
	ack(8);
	while (hear())
		;
	for (uint32_t i = 0; i < 16; i++, at += 5) {
		assert_int_equal(b->reo_mult, 2);
		b->cc.cwnd = 10 * M;
		queue(5);
		after_ms(20);
		sack(at, at + 1, at + 5);
		after_ms(30);
		while (hear())
			;
		ack(at + 5);
		assert_int_equal(b->ca_state, TCP_CA_OPEN);
	}
	assert_int_equal(b->reo_mult, 1);
}

static void test_time_out_spares_the_young(void **state)
{
	(void)state;
	flight(2);
	b->rtx_at = pl.t->now + 30 * NS_PER_MS;	/* as if probes and answers had been lost */
	tcp_tmr_early(pl.t, pl.sk, TCP_EARLY_NONE, NEVER_NS);
	tcp_tmr_sync(pl.t, pl.sk);
	after_ms(25);
	b->early_flags |= EARLY_PROBED;
	b->rack_rtt_us = 20000;
	pl.o.nodelay = 1;
	queue(1);
	expect_segs(2, 3);
	after_ms(7);
	rfc("8985", "6.4", "at a time-out the first and what is overdue is lost, not what just left");
	assert_int_equal(b->ca_state, TCP_CA_LOSS);
	assert_int_equal(count(EV_TCP_RTO), 1);
	expect_segs(0, 1);
	assert_int_equal(b->lost_out, M);
	ack(3);
}

/* ---- tail loss probes ------------------------------------------------------------------------ */

static void test_probe_with_new_data(void **state)
{
	uint32_t cwnd;

	(void)state;
	open_path();
	queue(14);
	expect_segs(0, 10);
	cwnd = b->cc.cwnd;
	after_ms(40);
	expect_nothing();
	rfc("8985", "7.3", "two silent round trips: new data, whatever cwnd says");
	rfc("9293", "3.8.6.3", "two segments, whose acknowledgement may not be delayed");
	after_ms(3);
	expect_segs(10, 12);
	assert_int_equal(count(EV_TCP_TLP), 1);
	rfc("8985", "7.2", "no probe follows a probe");
	after_ms(100);
	expect_nothing();
	rfc("8985", "7.4.2", "what new data asked and was told costs nothing");
	ack(12);
	assert_true(b->cc.cwnd >= cwnd);
	assert_false(b->early_flags & EARLY_PROBED);
	assert_int_equal(count(EV_TCP_RTO), 0);
}

static void test_tail_lost(void **state)
{
	(void)state;
	flight(5);
	ack(2);			/* two arrived, the rest of the tail did not */
	after_ms(60);
	rfc("8985", "7.3", "nothing new to send: the last segment again");
	expect_segs(4, 5);
	rfc("8985", "8", "its SACK shows the losses before it to RACK");
	after_ms(20);
	sack(2, 4, 5);
	if (b->ca_state != TCP_CA_RECOVERY)
		after_ms(10);
	assert_int_equal(b->ca_state, TCP_CA_RECOVERY);
	expect_segs(2, 3);
	after_ms(20);
	ack(3);
	expect_segs(3, 4);
	ack(5);
	assert_int_equal(count(EV_TCP_RTO), 0);
}

static void probe_again(void)
{
	flight(3);
	after_ms(30);
	expect_segs(2, 3);
	after_ms(20);
}

static void test_probe_was_needless(void **state)
{
	uint32_t cwnd;

	(void)state;
	probe_again();
	cwnd = b->cc.cwnd;
	rfc("8985", "7.4.2", "a DSACK for the probe: only acknowledgements were lost or late");
	dsack(3, 2, 3);
	assert_false(b->early_flags & EARLY_PROBED);
	assert_int_equal(b->reo_mult, 1);
	queue(1);
	expect_segs(3, 4);
	ack(4);
	assert_true(b->cc.cwnd >= cwnd);
}

static void test_probe_repaired(void **state)
{
	uint32_t cwnd;

	(void)state;
	probe_again();
	cwnd = b->cc.cwnd;
	ack(3);
	assert_true(b->early_flags & EARLY_PROBED);
	assert_int_equal(b->cc.cwnd, cwnd);
	queue(1);
	expect_segs(3, 4);
	after_ms(20);
	rfc("8985", "7.4.2", "past the probe and no DSACK: it repaired a loss, which costs the usual");
	ack(4);
	assert_false(b->early_flags & EARLY_PROBED);
	assert_true(b->cc.cwnd < cwnd);
	assert_int_equal(b->cc.cwnd, b->cc.ssthresh);
}

static void test_probe_not(void **state)
{
	(void)state;
	flight(1);
	rfc("8985", "7.2", "a lone segment's acknowledgement may be delayed: no probe before the time-out");
	after_ms(150);
	expect_nothing();
	assert_int_equal(b->early_kind, TCP_EARLY_NONE);
	ack(1);
	pl.with_sack = false;
	b->flags &= ~TCB_F_SACK;
	queue(5);
	while (hear())
		;
	rfc("8985", "7.1", "without SACK there are no probes");
	assert_int_equal(b->early_kind, TCP_EARLY_NONE);
	ack(6);
}

static void test_probe_beyond_the_window(void **state)
{
	struct tcp_hdr h;

	(void)state;
	flight(5);
	h = seg_of(TCP_F_ACK, S(1), A(1 + M));
	h.wnd = 0;
	say(&h, NULL, 0);
	/* The window has shrunk: what lies above it is not sent again, but for the first. */
	after_ms(80);
	expect_nothing();
	assert_int_equal(b->total_retrans, 0);
	after_ms(300);
	expect_segs(1, 2);
	h = seg_of(TCP_F_ACK, S(1), A(1 + 5 * M));
	say(&h, NULL, 0);
}

static void test_probe_in_recovery(void **state)
{
	(void)state;
	flight(8);
	sack(0, 1, 8);
	expect_segs(0, 1);
	/* The retransmission is lost, and nothing comes any more. */
	after_ms(50);
	expect_segs(0, 1);
	assert_int_equal(count(EV_TCP_TLP), 1);
	assert_int_equal(count(EV_TCP_RTO), 0);
	after_ms(20);
	ack(8);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	assert_int_equal(b->early_kind, TCP_EARLY_NONE);
}

/* ---- PRR ----------------------------------------------------------------------------------------- */

static uint32_t heard(void)
{
	uint32_t n = 0;

	while (hear())
		n++;
	return n;
}

static void test_rate_reduction(void **state)
{
	uint32_t n, cwnd;

	(void)state;
	open_path();
	queue(40);
	expect_segs(0, 10);
	after_ms(20);
	cwnd = b->cc.cwnd;
	sack(0, 1, 2);
	sack(0, 1, 3);
	(void)heard();
	sack(0, 1, 4);
	n = heard();
	rfc("6937", "3.1", "the first retransmission goes at once");
	assert_true(n >= 1 && b->total_retrans == 1);
	for (uint32_t i = 5; i <= 10; i++) {
		sack(0, 1, i);
		n += heard();
	}
	rfc("6937", "3.1", "sending goes on while the window shrinks, in proportion");
	assert_true(n >= 4 && n <= 8);
	assert_true(tcp_in_flight(b) <= b->cc.ssthresh + M);
	after_ms(20);
	ack((b->snd_nxt - A(1)) / M);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	rfc("6937", "3", "at the end cwnd is ssthresh");
	assert_true(b->cc.cwnd < cwnd + 2 * M && b->cc.cwnd >= b->cc.ssthresh);
}

static void test_many_lost(void **state)
{
	(void)state;
	open_path();
	queue(40);
	expect_segs(0, 10);
	after_ms(20);
	rfc("6937", "3.1", "many losses at once do not end in one burst");
	sack(0, 9, 10);
	after_ms(8);
	assert_int_equal(b->ca_state, TCP_CA_RECOVERY);
	assert_true(heard() <= 3);
	ack(1);
	assert_true(heard() <= 3);
}

/* ---- as a receiver -------------------------------------------------------------------------------- */

static void text_in_batch(uint32_t at, uint32_t len)
{
	struct tcp_hdr h = seg_of(TCP_F_ACK, S(at), A(1));
	uint8_t p[200];

	text_of(p, S(at), len);
	arrive(&h, p, len);
}

static void test_duplicates_in_a_batch(void **state)
{
	(void)state;
	establish();
	seg_text(TCP_F_ACK, S(1), A(1), 200);
	(void)heard();
	rfc("2883", "4", "each duplicate is reported, though an acknowledgement has room for one");
	text_in_batch(1, 100);
	text_in_batch(101, 100);
	taken(2);
	expect(TCP_F_ACK, A(1), S(201), 0);
	assert_int_equal(pl.last.h.sack[0][0], S(1));
	expect(TCP_F_ACK, A(1), S(201), 0);
	assert_int_equal(pl.last.h.sack[0][0], S(101));
	expect_nothing();
}

static void test_holes_in_a_batch(void **state)
{
	(void)state;
	establish();
	seg_text(TCP_F_ACK, S(1), A(1), 100);
	(void)heard();
	rfc("2018", "4", "one acknowledgement tells of all islands of a batch");
	text_in_batch(201, 100);
	text_in_batch(301, 100);
	text_in_batch(501, 100);
	taken(3);
	expect(TCP_F_ACK, A(1), S(101), 0);
	assert_int_equal(pl.last.h.n_sack, 2);
	assert_int_equal(pl.last.h.sack[0][0], S(501));
	assert_int_equal(pl.last.h.sack[1][0], S(201));
	assert_int_equal(pl.last.h.sack[1][1], S(401));
	expect_nothing();
}

static void test_holes_without_sack(void **state)
{
	(void)state;
	pl.with_sack = false;
	establish();
	seg_text(TCP_F_ACK, S(1), A(1), 100);
	(void)heard();
	rfc("5681", "4.2", "without SACK a duplicate ACK for each segment out of order: the peer counts to three");
	text_in_batch(201, 100);
	text_in_batch(301, 100);
	text_in_batch(401, 100);
	taken(3);
	for (int i = 0; i < 3; i++)
		expect(TCP_F_ACK, A(1), S(101), 0);
	expect_nothing();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_reorder_timer), play_test(test_only_late), play_test(test_lost_again),
		play_test(test_answer_to_the_first), play_test(test_window_from_dsack),
		play_test(test_time_out_spares_the_young), play_test(test_probe_with_new_data),
		play_test(test_tail_lost), play_test(test_probe_was_needless),
		play_test(test_probe_repaired), play_test(test_probe_not),
		play_test(test_probe_in_recovery), play_test(test_probe_beyond_the_window),
		play_test(test_rate_reduction),
		play_test(test_many_lost), play_test(test_duplicates_in_a_batch),
		play_test(test_holes_in_a_batch), play_test(test_holes_without_sack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
