/* SPDX-License-Identifier: BSD-2-Clause */
/* Losses: what is sent again and when, with SACK and without (RFC 6582). Time: tcp_rack.c. */
#include "test/unit/tcp_play.h"

#define M 1448u

static void open_with(uint32_t segs)
{
	pl.o.sndbuf = 400000;
	pl.o.sndbuf_locked = 1;
	establish();
	after_ms(20);
	tcp_rtt_init(&tcb_of(pl.sk)->rtt);	/* a path of 20 ms: no probe before 40 */
	tcp_rtt_sample(&tcb_of(pl.sk)->rtt, 20000);
	assert_int_equal(send_n(segs * M, 0), segs * M);
	for (uint32_t i = 0; i < segs; i++)
		expect(i + 1 < segs ? TCP_F_ACK : TCP_F_ACK | TCP_F_PSH, A(1 + i * M), S(1), M);
	after_ms(10);
}

/* The peer has segments [from, to) but not what is below. */
static void sack(uint32_t ack, uint32_t from, uint32_t to)
{
	uint32_t b[1][2] = { { A(1 + from * M), A(1 + to * M) } };

	seg_sack(S(1), A(1 + ack * M), 1, (const uint32_t (*)[2])b);
}

static void test_fast_retransmit(void **state)
{
	struct tcb *b;
	uint32_t cwnd;

	(void)state;
	open_with(8);
	b = tcb_of(pl.sk);
	cwnd = b->cc.cwnd;
	sack(0, 1, 2);
	sack(0, 1, 3);
	expect_nothing();
	rfc("6675", "5", "three segments above it are SACKed: the first is sent again, once");
	sack(0, 1, 4);
	expect(TCP_F_ACK, A(1), S(1), M);
	expect_nothing();
	assert_int_equal(count(EV_TCP_FAST_RECOVERY), 1);
	assert_true(b->cc.ssthresh < cwnd);
	sack(0, 1, 8);
	expect_nothing();
	seg(TCP_F_ACK, S(1), A(1 + 8 * M));
	rfc("6675", "5", "recovery ends when all that was in flight is acknowledged");
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	assert_int_equal(b->lost_out + b->sacked_out + b->retrans_out, 0);
	assert_int_equal(b->total_retrans, 1);
}

static void test_two_holes(void **state)
{
	(void)state;
	open_with(8);
	sack(0, 1, 2);
	sack(0, 3, 4);
	sack(0, 3, 8);
	rfc("6675", "4", "every hole with enough SACKed above it is lost");
	expect(TCP_F_ACK, A(1), S(1), M);
	after_ms(1);
	seg_sack(S(1), A(1 + 2 * M), 1, (const uint32_t[1][2]){ { A(1 + 3 * M), A(1 + 8 * M) } });
	if (hear()) {	/* unless it went together with the first */
		assert_int_equal(pl.last.h.seq, A(1 + 2 * M));
		assert_int_equal(pl.last.len, M);
	}
	assert_int_equal(tcb_of(pl.sk)->total_retrans, 2);
	seg(TCP_F_ACK, S(1), A(1 + 8 * M));
	assert_int_equal(tcb_of(pl.sk)->ca_state, TCP_CA_OPEN);
}

static void dup(uint32_t ack)
{
	seg(TCP_F_ACK, S(1), A(1 + ack * M));
}

static void test_new_reno(void **state)
{
	(void)state;
	pl.with_sack = false;
	open_with(8);
	dup(0);
	dup(0);
	expect_nothing();
	rfc("5681", "3.2", "the third duplicate ACK: fast retransmit");
	dup(0);
	expect(TCP_F_ACK, A(1), S(1), M);
	dup(0);
	expect_nothing();
	rfc("6582", "3.2", "a partial ACK: the next hole, at once");
	dup(4);
	expect(TCP_F_ACK, A(1 + 4 * M), S(1), M);
	dup(8);
	assert_int_equal(tcb_of(pl.sk)->ca_state, TCP_CA_OPEN);
	assert_int_equal(tcb_of(pl.sk)->total_retrans, 2);
	assert_int_equal(tcb_of(pl.sk)->n_sacked, 0);
}

static void test_rto_with_sack(void **state)
{
	struct tcb *b;

	(void)state;
	open_with(4);
	b = tcb_of(pl.sk);
	sack(0, 1, 2);
	after_ms(2000);
	while (hear())
		;
	rfc("5681", "3.1", "after a time-out cwnd is one segment");
	assert_int_equal(b->ca_state, TCP_CA_LOSS);
	assert_int_equal(b->cc.cwnd, M);
	seg(TCP_F_ACK, S(1), A(1 + 2 * M));
	assert_true(hear());
	assert_int_equal(pl.last.h.seq, A(1 + 2 * M));
	rfc("2018", "8", "what was SACKed is not sent again");
	while (hear())
		assert_true(pl.last.h.seq != A(1 + M));
	seg(TCP_F_ACK, S(1), A(1 + 4 * M));
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	assert_int_equal(b->n_rtx, 0);
}

static void test_spurious_timeout(void **state)
{
	struct tcb *b;
	struct tcp_hdr h;
	uint32_t cwnd, ts;

	(void)state;
	open_with(4);
	b = tcb_of(pl.sk);
	cwnd = b->cc.cwnd;
	ts = pl.last.h.ts_val;
	after_ms(1000);
	while (hear())
		;
	assert_int_equal(b->ca_state, TCP_CA_LOSS);
	rfc("3522", "3.2", "the echo says that the original arrived: all is as before");
	h = seg_of(TCP_F_ACK, S(1), A(1 + 4 * M));
	h.ts_ecr = ts;
	say(&h, NULL, 0);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	assert_true(b->cc.cwnd >= cwnd);
}

static void test_dsack_undo(void **state)
{
	struct tcb *b;
	uint32_t cwnd, blocks[2][2];

	(void)state;
	open_with(8);
	b = tcb_of(pl.sk);
	cwnd = b->cc.cwnd;
	sack(0, 1, 4);
	expect(TCP_F_ACK, A(1), S(1), M);
	/* It was only late: the original comes, then the copy. */
	after_ms(1);
	blocks[0][0] = A(1);
	blocks[0][1] = A(1 + M);
	blocks[1][0] = A(1 + 5 * M);
	blocks[1][1] = A(1 + 6 * M);
	seg_sack(S(1), A(1 + 4 * M), 2, (const uint32_t (*)[2])blocks);
	rfc("3708", "3", "all that was sent again was not needed: cwnd is given back");
	assert_int_equal(b->dsack_dups, 1);
	assert_true(b->cc.cwnd >= cwnd);
	seg(TCP_F_ACK, S(1), A(1 + 8 * M));
	while (hear())
		;
}

static void test_bad_sack(void **state)
{
	struct tcb *b;
	uint32_t blocks[3][2];

	(void)state;
	open_with(4);
	b = tcb_of(pl.sk);
	blocks[0][0] = A(1 + 2 * M);
	blocks[0][1] = A(1 + M);		/* backwards */
	blocks[1][0] = A(1 + 3 * M);
	blocks[1][1] = A(1 + 9 * M);		/* of what was not sent */
	blocks[2][0] = A(1) - 100000;
	blocks[2][1] = A(1) - 90000;		/* long ago */
	seg_sack(S(1), A(1), 3, (const uint32_t (*)[2])blocks);
	assert_int_equal(b->sacked_out, 0);
	assert_int_equal(b->n_sacked, 0);
	/* Part of a segment is no segment. */
	blocks[0][0] = A(1 + M) + 1;
	blocks[0][1] = A(1 + 2 * M);
	seg_sack(S(1), A(1), 1, (const uint32_t (*)[2])blocks);
	assert_int_equal(b->sacked_out, 0);
	seg(TCP_F_ACK, S(1), A(1 + 4 * M));
}

/* Any SACKs, true or not, in any order: the scoreboard stays consistent (tcp_check() after
 * each step), and what is acknowledged in the end is all. */
static void test_any_sacks(void **state)
{
	struct prng g;

	(void)state;
	for (uint64_t seed = 1; seed <= 100; seed++) {
		prng_seed(&g, seed);
		play_begin();
		pl.with_sack = prng_below(&g, 4);
		pl.o.nodelay = 1;
		establish();
		for (int i = 0; i < 150; i++) {
			struct tcb *b = tcb_of(pl.sk);
			uint32_t out = b->snd_nxt - b->snd_una, blocks[4][2];
			uint32_t n = prng_below(&g, 5), ack = b->snd_una;

			if (prng_below(&g, 3) == 0)
				(void)!send_n(1 + prng_below(&g, 3000), 0);
			if (prng_below(&g, 6) == 0)
				after_ms(prng_below(&g, 400));
			if (prng_below(&g, 3) == 0)
				ack += prng_below(&g, out + 1);
			for (uint32_t k = 0; k < 4; k++) {
				blocks[k][0] = b->snd_una + prng_below(&g, out + 100) - 50;
				blocks[k][1] = blocks[k][0] + prng_below(&g, out + 100) - 10;
			}
			seg_sack(S(1), ack, pl.with_sack ? n : 0, (const uint32_t (*)[2])blocks);
			while (hear())
				;
		}
		seg(TCP_F_ACK, S(1), tcb_of(pl.sk)->snd_nxt);
		while (hear())
			seg(TCP_F_ACK, S(1), tcb_of(pl.sk)->snd_nxt);
		assert_int_equal(tcp_unacked(pl.t, pl.sk), 0);
		play_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_fast_retransmit), play_test(test_two_holes), play_test(test_new_reno),
		play_test(test_rto_with_sack), play_test(test_spurious_timeout),
		play_test(test_dsack_undo), play_test(test_bad_sack), cmocka_unit_test(test_any_sacks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
