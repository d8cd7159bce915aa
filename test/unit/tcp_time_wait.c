/* SPDX-License-Identifier: BSD-2-Clause */
/* TIME_WAIT (RFC 9293 3.6.1, 3.10.7.4; RFC 6191; RFC 1337). */
#include "test/unit/tcp_play.h"

static void orphaned(void)
{
	play_to(TCP_S_TIME_WAIT);
	assert_false(sk_unref(pl.t, pl.sk, 1));
	assert_true(sk_unref(pl.t, pl.sk, 0));
	tcp_close(pl.t, pl.sk);
	expect_state(TIME_WAIT);
	assert_int_equal(pl.n.r.map.seg->n_tw, 1);
}

static void test_expiry(void **state)
{
	(void)state;
	orphaned();
	after_s(59);
	assert_int_equal(pl.n.r.map.seg->n_conns, 1);
	rfc("9293", "3.6.1", "TIME-WAIT ends by itself");
	after_s(2);
	pl.sk = NULL;
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	expect_nothing();
}

static void test_fin_again(void **state)
{
	(void)state;
	orphaned();
	after_s(50);
	rfc("9293", "3.10.7.4", "a FIN sent again is acknowledged, and 2 MSL begin anew");
	seg(TCP_F_ACK | TCP_F_FIN, S(1), A(2));
	expect(TCP_F_ACK, A(2), S(2), 0);
	after_s(50);
	expect_state(TIME_WAIT);
	after_s(11);
	pl.sk = NULL;
	assert_int_equal(pl.n.r.map.seg->n_tw, 0);
}

static void test_reset(void **state)
{
	(void)state;
	orphaned();
	rfc("1337", "3", "a reset does not end TIME-WAIT");
	seg(TCP_F_RST, S(3), 0);
	expect_nothing();
	expect_state(TIME_WAIT);
	/* Linux: unless it has the very next number. */
	seg(TCP_F_RST, S(2), 0);
	expect_nothing();
	pl.sk = NULL;
	assert_int_equal(pl.n.r.map.seg->n_tw, 0);
}

static void test_late_text(void **state)
{
	(void)state;
	orphaned();
	seg_text(TCP_F_ACK, S(1) - 50, A(2), 10);
	expect(TCP_F_ACK, A(2), S(2), 0);
	seg(TCP_F_ACK, S(2), A(2));
	expect_nothing();
	expect_state(TIME_WAIT);
}

static void test_new_syn(void **state)
{
	struct tcp_hdr h;

	(void)state;
	orphaned();
	after_s(2);
	rfc("6191", "2", "a SYN with a later timestamp opens a new connection");
	h = syn_of(TCP_F_SYN, 0);
	h.seq = S(0) - 1000;
	say(&h, NULL, 0);
	assert_true(hear());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	assert_int_equal(pl.last.h.ack, S(1) - 1000);
	assert_true(after(pl.last.h.seq, A(2)));
	assert_int_equal(count(EV_TCP_TW_REUSE), 1);
	assert_int_equal(pl.n.r.map.seg->n_tw, 0);
	pl.sk = NULL;
}

static void test_old_syn(void **state)
{
	struct tcp_hdr h;

	(void)state;
	orphaned();
	rfc("6191", "2", "a SYN that may be old does not");
	h = syn_of(TCP_F_SYN, 0);
	h.ts_val = pl.ts - 100;
	h.seq = S(0) - 1000;
	say(&h, NULL, 0);
	expect(TCP_F_ACK, A(2), S(2), 0);
	expect_state(TIME_WAIT);
}

static void test_without_timestamps(void **state)
{
	struct tcp_hdr h;

	(void)state;
	pl.with_ts = false;
	orphaned();
	h = syn_of(TCP_F_SYN, 0);
	h.seq = S(1) - 100;
	say(&h, NULL, 0);
	expect(TCP_F_ACK, A(2), S(2), 0);
	rfc("6191", "2", "without timestamps a larger sequence number will do");
	h.seq = S(3);
	say(&h, NULL, 0);
	assert_true(hear());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	pl.sk = NULL;
}

static void test_held(void **state)
{
	(void)state;
	play_to(TCP_S_TIME_WAIT);
	/* The program still has the descriptor: to it, the connection is over. */
	assert_true(pl.sk->ready & EPOLLHUP);
	assert_int_equal(recv_n(1, 0), 0);
	assert_int_equal(send_n(1, 0), -EPIPE);
	assert_int_equal(tcp_shutdown(pl.t, pl.sk, SHUT_WR), -ENOTCONN);
	after_s(61);
	expect_state(CLOSED);
}

static void test_reuse_by_connect(void **state)
{
	struct ipaddr any = addr_of("0.0.0.0"), peer = addr_of(PEER);
	struct sk *sk;

	(void)state;
	orphaned();
	assert_int_equal(tcp_connect(pl.t, &pl.o, &any, OUR_PORT, &peer, PEER_PORT, &sk), -EADDRINUSE);
	after_s(2);
	rfc("6191", "2", "with timestamps, an active open may reuse the tuple after a second");
	assert_int_equal(tcp_connect(pl.t, &pl.o, &any, OUR_PORT, &peer, PEER_PORT, &sk), 0);
	assert_int_equal(pl.n.r.map.seg->n_tw, 0);
	assert_true(hear());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN);
	pl.sk = NULL;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_expiry), play_test(test_fin_again), play_test(test_reset),
		play_test(test_late_text), play_test(test_new_syn), play_test(test_old_syn),
		play_test(test_without_timestamps), play_test(test_held),
		play_test(test_reuse_by_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
