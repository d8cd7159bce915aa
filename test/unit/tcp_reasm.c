/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reassembly against a model: text in any order, overlapping, repeated, and the reader gets
 * each byte once and in its place; SACK blocks tell the truth, the latest first.
 */
#include "test/unit/tcp_play.h"

#define SPAN 1200u

/* What the peer's stream has reached us, byte by byte. */
static bool have[SPAN + 1];

static void check_blocks(void)
{
	const struct tcb *b = tcb_of(pl.sk);
	uint32_t base = b->rcv_nxt - S(1);

	for (uint32_t i = 0; i < b->n_sacks; i++) {
		uint32_t from = b->sacks[i].start - S(1), to = b->sacks[i].end - S(1);

		assert_true(from > base && from < to && to <= SPAN + 1);
		for (uint32_t k = from; k < to && k < SPAN; k++)
			assert_true(have[k]);
		for (uint32_t j = 0; j < i; j++)
			assert_true(after(b->sacks[j].start, b->sacks[i].end) ||
				    before(b->sacks[j].end, b->sacks[i].start));
	}
}

static void one_history(uint64_t seed)
{
	struct prng g;
	uint32_t got = 0, next = 0;
	bool fin = false;
	int64_t r;

	prng_seed(&g, seed);
	play_begin();
	establish();
	memset(have, 0, sizeof(have));
	for (uint32_t step = 0; next < SPAN || !fin; step++) {
		uint32_t from = prng_below(&g, SPAN), len = 1 + prng_below(&g, 100);
		uint8_t flags = TCP_F_ACK;

		assert_true(step < 20000);
		if (prng_below(&g, 3) == 0)
			from = next + prng_below(&g, 50);
		from = min_u32(from, SPAN - 1);
		len = min_u32(len, SPAN - from);
		if (from + len == SPAN && prng_below(&g, 2))
			flags |= TCP_F_FIN;
		seg_text(flags, S(1) + from, A(1), len);
		for (uint32_t i = from; i < from + len; i++)
			have[i] = true;
		while (next < SPAN && have[next])
			next++;
		while (hear())
			;
		assert_true(tcb_of(pl.sk)->rcv_nxt - S(1) >= next);
		fin = pl.sk->state == TCP_S_CLOSE_WAIT;
		check_blocks();
		if (prng_below(&g, 4) == 0 && (r = recv_n(1 + prng_below(&g, 200), 0)) > 0)
			got += (uint32_t)r;
		if (next == SPAN && !fin)
			seg_text(TCP_F_ACK | TCP_F_FIN, S(1) + SPAN - 1, A(1), 1);
	}
	while ((r = recv_n(500, 0)) > 0)
		got += (uint32_t)r;
	assert_int_equal(r, 0);
	assert_int_equal(got, SPAN);
	while (hear())
		;
	play_end();
}

static void test_histories(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 200; seed++)
		one_history(seed);
}

/* Frames that are not held: the fill ring takes its share at its own time. */
static uint32_t spare(void)
{
	return pkt_n_free(pl.t) + pl.n.r.map.seg->n_posted[0];
}

static void test_coalescing(void **state)
{
	uint32_t free_before;

	(void)state;
	establish();
	seg_text(TCP_F_ACK, S(1), A(1), 20);
	while (hear())
		;
	free_before = spare();
	for (uint32_t i = 1; i < 40; i++)
		seg_text(TCP_F_ACK, S(1) + 20 * i, A(1), 20);
	while (hear())
		;
	assert_int_equal(count(EV_TCP_COALESCED), 39);
	assert_int_equal(tcb_of(pl.sk)->rxq.n, 1);
	assert_int_equal(spare(), free_before);
	assert_int_equal(recv_n(2000, 0), 800);
	/* Nothing waits: the payload stays where it came. */
	seg_text(TCP_F_ACK, S(801), A(1), 20);
	assert_int_equal(count(EV_TCP_COALESCED), 39);
	while (hear())
		;
}

static void test_window_edge(void **state)
{
	uint32_t edge;

	(void)state;
	pl.o.rcvbuf = 4608;
	pl.o.rcvbuf_locked = 1;
	establish();
	edge = tcb_of(pl.sk)->rcv_wup + tcb_of(pl.sk)->rcv_wnd;
	rfc("9293", "3.10.7.4", "what is beyond the window is cut off");
	seg_text(TCP_F_ACK | TCP_F_FIN, edge - 10, A(1), 20);
	expect(TCP_F_ACK, A(1), S(1), 0);
	assert_int_equal(pl.last.h.sack[0][0], edge - 10);
	assert_int_equal(pl.last.h.sack[0][1], edge);
	rfc("9293", "3.8.6", "the right edge is not taken back");
	assert_true(!before(tcb_of(pl.sk)->rcv_nxt + tcp_window_left(tcb_of(pl.sk)), edge));
	seg_text(TCP_F_ACK, S(1), A(1), edge - 10 - S(1));
	expect_state(ESTABLISHED);
	assert_int_equal(tcp_unread(pl.t, pl.sk), edge - S(1));
	while (hear())
		;
	assert_int_equal(pl.last.h.wnd, 0);
	assert_int_equal(recv_n(5000, 0), (int64_t)(edge - S(1)));
	rfc("9293", "3.8.6.2.2", "the window opens again when it is worth a segment");
	expect(TCP_F_ACK, A(1), edge, 0);
	assert_true(pl.last.h.wnd > 0);
}

/* Out-of-order text may not take the last of the pool. */
static void test_pool_share(void **state)
{
	(void)state;
	establish();
	for (uint32_t i = 0; i < 400; i++) {
		seg_text(TCP_F_ACK, S(101) + 4 * i, A(1), 1);
		while (hear())
			;
		assert_true(spare() >= 16);
	}
	assert_true(count(EV_TCP_OOO_DROP) > 0);
	seg_text(TCP_F_ACK, S(1), A(1), 100);
	assert_int_equal(recv_n(1000, 0), 101);
	while (hear())
		;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_histories), play_test(test_coalescing),
		play_test(test_window_edge), play_test(test_pool_share),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
