/* SPDX-License-Identifier: BSD-2-Clause */
/* When a loss was none: spurious time-outs (RFC 5682), duplicates reported (RFC 3708), reordering that
 * is learnt; limited transmit (RFC 3042); and that nothing owed is ever without a deadline (W1). */
#include "test/unit/tcp_play.h"

#include "core/tcp/cc.h"

#define M 1448u

static struct tcb *b;

static void open_path(void)
{
	pl.o.sndbuf = 400000;
	pl.o.sndbuf_locked = 1;
	pl.mss = pl.with_ts ? 1460 : M;
	establish();
	after_ms(20);
	b = tcb_of(pl.sk);
	tcp_rtt_init(&b->rtt);
	tcp_rtt_sample(&b->rtt, 20000);
}

static uint32_t heard(void)
{
	uint32_t n = 0;

	while (hear())
		n++;
	return n;
}

/* `segs` segments are queued and as many as cwnd lets are in flight; then the time-out. */
static void time_out(uint32_t segs)
{
	open_path();
	b->early_flags |= EARLY_PROBED;		/* no probe: it would tell more than the time-out */
	assert_int_equal(send_n(segs * M, 0), segs * M);
	assert_true(heard() >= 4);
	b->early_flags |= EARLY_PROBED;
	tcp_tmr_early(pl.t, pl.sk, TCP_EARLY_NONE, NEVER_NS);
	after_ms(300);
	assert_int_equal(b->ca_state, TCP_CA_LOSS);
	assert_int_equal(count(EV_TCP_RTO), 1);
	expect(TCP_F_ACK, A(1), S(1), M);
	expect_nothing();
}

static void ack(uint32_t n)
{
	struct tcp_hdr h = seg_of(TCP_F_ACK, S(1), A(1 + n * M));

	say(&h, NULL, 0);
}

static void sack(uint32_t to, uint32_t from, uint32_t end)
{
	uint32_t blocks[1][2] = { { A(1 + from * M), A(1 + end * M) } };

	seg_sack(S(1), A(1 + to * M), 1, (const uint32_t (*)[2])blocks);
}

/* ---- F-RTO --------------------------------------------------------------------------------- */

static void spurious(bool with_sack)
{
	uint32_t cwnd;

	pl.with_sack = with_sack;
	pl.with_ts = false;	/* else the echo would tell at once */
	time_out(14);
	cwnd = b->prior_cwnd;
	assert_int_equal(b->frto, TCP_FRTO_ON);
	/* The original flight was only late. Its first acknowledgement covers what went again, too. */
	ack(1);
	rfc("5682", "2.1", "(2b) new data goes next, not what seems lost");
	assert_int_equal(heard(), 2);
	assert_int_equal(pl.last.h.seq, A(1 + 11 * M));
	assert_int_equal(b->total_retrans, 1);
	ack(2);
	rfc("5682", "2.1", "(3b) what was sent once is acknowledged: the time-out was spurious");
	assert_int_equal(count(EV_TCP_FRTO), 1);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	assert_int_equal(b->lost_out, 0);
	assert_true(b->cc.cwnd >= cwnd);
	(void)heard();
	ack((b->snd_nxt - A(1)) / M);
	assert_int_equal(b->total_retrans, 1);
}

static void test_spurious_time_out(void **state)
{
	(void)state;
	spurious(false);
}

static void test_spurious_time_out_sack(void **state)
{
	(void)state;
	spurious(true);
}

static void test_real_time_out(void **state)
{
	(void)state;
	time_out(14);
	ack(1);
	assert_int_equal(heard(), 2);
	rfc("5682", "3.1", "(3a) new data is SACKed and the old is not: it was lost indeed");
	after_ms(20);
	sack(1, 10, 11);
	assert_int_equal(b->ca_state, TCP_CA_LOSS);
	assert_int_equal(b->frto, TCP_FRTO_OFF);
	assert_true(heard() >= 1);
	assert_true(b->total_retrans >= 2);
	assert_int_equal(count(EV_TCP_UNDO), 0);
	ack((b->snd_nxt - A(1)) / M);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
}

static void test_time_out_without_news(void **state)
{
	(void)state;
	pl.with_sack = false;
	time_out(4);
	rfc("5682", "2.1", "nothing new to send: the conventional way at once");
	ack(1);
	expect(TCP_F_ACK, A(1 + M), S(1), M);
	assert_int_equal(b->frto, TCP_FRTO_OFF);
	ack(4);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
}

static void test_retransmission_told_nothing(void **state)
{
	(void)state;
	pl.with_sack = pl.with_ts = false;
	time_out(4);
	rfc("5682", "2.1", "an ACK beyond what went again, without SACK, may be of that alone: no undo");
	ack(4);
	assert_int_equal(count(EV_TCP_FRTO), 0);
	assert_int_equal(b->ca_state, TCP_CA_OPEN);
	assert_true(b->cc.cwnd < b->prior_cwnd);
}

/* ---- limited transmit ------------------------------------------------------------------------- */

static void test_limited_transmit(void **state)
{
	(void)state;
	pl.with_sack = false;
	open_path();
	assert_int_equal(send_n(14 * M, 0), 14 * M);
	assert_int_equal(heard(), 10);
	rfc("3042", "2", "the first and the second duplicate ACK: a new segment each");
	ack(0);
	expect(TCP_F_ACK, A(1 + 10 * M), S(1), M);
	ack(0);
	expect(TCP_F_ACK, A(1 + 11 * M), S(1), M);
	expect_nothing();
	assert_int_equal(b->total_retrans, 0);
	ack(0);
	assert_true(heard() >= 1);
	assert_int_equal(b->total_retrans, 1);
	ack(14);
}

/* ---- DSACK -------------------------------------------------------------------------------------- */

static void test_dsack_before_anything_went(void **state)
{
	uint32_t blocks[2][2] = { { A(1), A(1 + M) }, { 0, 0 } };

	(void)state;
	open_path();
	assert_int_equal(send_n(10 * M, 0), 10 * M);
	(void)heard();
	ack(2);
	sack(2, 3, 6);
	assert_int_equal(b->ca_state, TCP_CA_RECOVERY);
	rfc("3708", "3", "a duplicate from before the cut undoes nothing");
	b->undo_retrans = -1;
	blocks[0][0] = A(1);
	blocks[0][1] = A(1 + M);
	seg_sack(S(1), A(1 + 2 * M), 1, (const uint32_t (*)[2])blocks);
	assert_int_equal(count(EV_TCP_UNDO), 0);
	assert_int_equal(b->ca_state, TCP_CA_RECOVERY);
	(void)heard();
	ack(10);
}

/* ---- reordering ---------------------------------------------------------------------------------- */

static void test_reordering_is_learnt(void **state)
{
	(void)state;
	open_path();
	assert_int_equal(send_n(10 * M, 0), 10 * M);
	(void)heard();
	after_ms(20);
	assert_int_equal(b->dupthresh, 3);
	sack(0, 7, 8);
	expect_nothing();
	rfc("8985", "6.2", "how far reordering went is learnt in segments, too, and told by TCP_INFO");
	ack(1);		/* the first, sent once, arrives when the eighth has */
	assert_int_equal(b->dupthresh, 8);
	assert_int_equal(b->reord_seen, 1);
	ack(10);
}

static void test_reordering_without_sack(void **state)
{
	(void)state;
	pl.with_sack = false;
	open_path();
	assert_int_equal(send_n(2 * M, 0), 2 * M);
	(void)heard();
	for (int i = 0; i < 4; i++)
		ack(0);
	/* More duplicates than segments above the first: somebody duplicates or reorders. */
	assert_true(b->n_sacked <= 2);
	assert_true(b->reord_seen >= 1);
	(void)heard();
	ack(2);
}

/* ---- W1 ------------------------------------------------------------------------------------------- */

static void test_watched(void **state)
{
	uint64_t at;

	(void)state;
	open_path();
	assert_true(tcp_is_watched(pl.sk));
	assert_int_equal(send_n(3 * M, 0), 3 * M);
	(void)heard();
	assert_true(tcp_is_watched(pl.sk));
	at = b->rtx_at;
	b->rtx_at = NEVER_NS;		/* as a bug would have it */
	assert_false(tcp_is_watched(pl.sk));
	b->rtx_at = pl.sk->tmr_at - 1;	/* the wheel would come too late */
	assert_false(tcp_is_watched(pl.sk));
	b->rtx_at = at;
	assert_true(tcp_is_watched(pl.sk));
	ack(2);
	/* A closed window: nothing in flight, data queued. */
	{
		struct tcp_hdr h = seg_of(TCP_F_ACK, S(1), A(1 + 3 * M));

		h.wnd = 0;
		say(&h, NULL, 0);
	}
	assert_int_equal(send_n(100, 0), 100);
	assert_int_equal(heard(), 0);
	assert_true(tcp_is_watched(pl.sk));
	assert_int_equal(b->rtx_kind, TCP_RTX_PERSIST);
	at = b->rtx_at;
	b->rtx_at = NEVER_NS;
	assert_false(tcp_is_watched(pl.sk));
	assert_int_equal(net_check_watched(pl.t), -EUCLEAN);
	b->rtx_at = at;
	pl.n.r.map.seg->condemned = 0;
}

/* ---- what is SACKed is stepped over (K1 of sack.c) -------------------------------------------------- */

static void test_skip(void **state)
{
	uint32_t n = 0, slot, acked = 0;

	(void)state;
	open_path();
	b->cc.cwnd = 100 * M;
	pl.sk->sndbuf = 1000000;
	for (int i = 0; i < 2; i++)
		assert_int_equal(send_n(20 * M, 0), 20 * M);
	assert_int_equal(heard(), 40);
	for (uint32_t i = 1; i < 40; i++)
		if (i % 7)
			sack(0, i, i + 1);
	for (slot = b->txq.head; slot && slot != b->tx_next; n++) {
		struct pkt *p = pkt_slot(pl.t, slot);

		acked += p->mark & MARK_SACKED ? 1 : 0;
		slot = p->mark & MARK_SACKED ? tcp_sack_skip(pl.t, b, p) : p->next;
	}
	/* Six holes, and a step for each run between them. */
	assert_int_equal(n, 12);
	assert_int_equal(acked, 6);
	(void)heard();
	ack(40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_spurious_time_out), play_test(test_spurious_time_out_sack),
		play_test(test_real_time_out), play_test(test_time_out_without_news),
		play_test(test_retransmission_told_nothing), play_test(test_limited_transmit),
		play_test(test_dsack_before_anything_went), play_test(test_reordering_is_learnt),
		play_test(test_reordering_without_sack), play_test(test_watched), play_test(test_skip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
