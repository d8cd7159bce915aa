/* SPDX-License-Identifier: BSD-2-Clause */
/* SYN_RCVD: an embryo against every class of segment (RFC 9293 3.10.7.4). */
#include "test/unit/tcp_play.h"

static void test_ack(void **state)
{
	(void)state;
	embryo();
	after_ms(30);
	rfc("9293", "3.10.7.4", "the ACK of our SYN establishes the connection");
	seg(TCP_F_ACK, S(1), A(1));
	expect_state(ESTABLISHED);
	expect_nothing();
	assert_true(pl.lsk->ready & EPOLLIN);
	assert_in_range(tcb_of(pl.sk)->rtt.srtt_us8 >> 3, 29000, 32000);
	assert_int_equal(tcb_of(pl.sk)->snd_wnd, PEER_WND * 128);
}

static void test_bad_ack(void **state)
{
	(void)state;
	embryo();
	rfc("9293", "3.10.7.4", "an unacceptable ACK gets a reset");
	seg(TCP_F_ACK, S(1), A(2));
	expect(TCP_F_RST, A(2), 0, 0);
	seg(TCP_F_ACK, S(1), A(0));
	expect(TCP_F_RST, A(0), 0, 0);
	expect_state(SYN_RCVD);
}

static void test_reset(void **state)
{
	(void)state;
	embryo();
	seg(TCP_F_RST, S(1) + 100000000, 0);
	expect_state(SYN_RCVD);
	rfc("9293", "3.10.7.4", "a reset returns a passive open to LISTEN: the embryo goes");
	seg(TCP_F_RST, S(1), 0);
	pl.sk = NULL;
	expect_nothing();
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	assert_int_equal(listen_of(pl.lsk)->n_embryos, 0);
}

static void test_syn_again(void **state)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);

	(void)state;
	embryo();
	h.ts_val = pl.ts;
	say(&h, NULL, 0);
	/* Linux: its SYN-ACK must have been lost, so it is repeated. */
	expect(TCP_F_SYN | TCP_F_ACK, A(0), S(1), 0);
	h.seq = S(50);
	after_s(1);
	while (hear())
		;
	rfc("9293", "3.10.7.4", "another SYN in the window: back to LISTEN, and Linux resets it");
	h.ts_val = pl.ts;
	say(&h, NULL, 0);
	expect(TCP_F_RST | TCP_F_ACK, 0, S(51), 0);
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	assert_int_equal(listen_of(pl.lsk)->n_embryos, 0);
}

static void test_retransmission(void **state)
{
	uint32_t wait = 1;

	(void)state;
	embryo();
	for (uint32_t i = 0; i < TCP_SYNACK_RETRIES; i++, wait *= 2) {
		after_ms(wait * 1000 - 10);
		expect_nothing();
		after_ms(15);
		expect(TCP_F_SYN | TCP_F_ACK, A(0), S(1), 0);
	}
	after_ms(wait * 1000 + 10);
	pl.sk = NULL;
	expect_nothing();
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
}

static void test_expiry_after_overflow(void **state)
{
	(void)state;
	embryo();
	listen_of(pl.lsk)->n_accept += 100;	/* full, for once */
	seg(TCP_F_ACK, S(1), A(1));
	expect_state(SYN_RCVD);
	listen_of(pl.lsk)->n_accept -= 100;
	for (uint32_t s = 0; s < 70; s++) {
		pl.t->now += NS_PER_S;
		net_tick(pl.t);
	}
	pl.sk = NULL;
	/* The peer thinks that it is connected: it is told. */
	while (hear() && !(pl.last.h.flags & TCP_F_RST))
		;
	assert_int_equal(pl.last.h.flags, TCP_F_RST | TCP_F_ACK);
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
}

static void test_text(void **state)
{
	(void)state;
	embryo();
	seg_text(TCP_F_ACK | TCP_F_FIN, S(1), A(1), 10);
	rfc("9293", "3.10.7.4", "text and FIN may come with the handshake's ACK");
	expect_state(CLOSE_WAIT);
	assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
	assert_int_equal(recv_n(100, 0), 10);
}

static void test_fin_and_window(void **state)
{
	(void)state;
	embryo();
	seg(TCP_F_FIN, S(1), 0);	/* without ACK */
	expect_state(SYN_RCVD);
	seg_text(TCP_F_ACK, S(1) + 100000000, A(1), 10);
	rfc("9293", "3.10.7.4", "text outside the window is answered, not taken");
	expect(TCP_F_ACK, A(1), S(1), 0);
	expect_state(SYN_RCVD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_ack), play_test(test_bad_ack), play_test(test_reset),
		play_test(test_syn_again), play_test(test_retransmission),
		play_test(test_expiry_after_overflow), play_test(test_text),
		play_test(test_fin_and_window),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
