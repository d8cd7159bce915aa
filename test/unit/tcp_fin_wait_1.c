/* SPDX-License-Identifier: BSD-2-Clause */
/* FIN_WAIT_1 against every class of segment (RFC 9293 3.10.7.4). */
#include "test/unit/tcp_play.h"

static void test_common(void **state)
{
	(void)state;
	common(TCP_S_FIN_WAIT_1);
}

static void test_ack_of_fin(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_1);
	rfc("9293", "3.10.7.4", "the ACK of our FIN: FIN-WAIT-2");
	seg(TCP_F_ACK, S(1), A(2));
	expect_state(FIN_WAIT_2);
	expect_nothing();
	assert_true(tcp_is_drained(pl.t, pl.sk));
}

static void test_fin(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_1);
	rfc("9293", "3.10.7.4", "a FIN before the ACK of ours: CLOSING");
	seg(TCP_F_ACK | TCP_F_FIN, S(1), A(1));
	expect_state(CLOSING);
	expect(TCP_F_ACK, A(2), S(2), 0);
}

static void test_fin_and_ack(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_1);
	rfc("9293", "3.10.7.4", "a FIN with the ACK of ours: TIME-WAIT");
	seg(TCP_F_ACK | TCP_F_FIN, S(1), A(2));
	expect_state(TIME_WAIT);
	expect(TCP_F_ACK, A(2), S(2), 0);
	assert_true((pl.sk->ready & (EPOLLIN | EPOLLHUP | EPOLLRDHUP)) ==
		    (EPOLLIN | EPOLLHUP | EPOLLRDHUP));
}

static void test_text(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_1);
	rfc("9293", "3.10.7.4", "text is still taken");
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	expect_state(FIN_WAIT_1);
	expect(TCP_F_ACK, A(2), S(11), 0);
	assert_int_equal(recv_n(100, 0), 10);
	assert_int_equal(send_n(1, 0), -EPIPE);
}

static void test_retransmission(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_1);
	rfc("9293", "3.8.1", "a FIN is sent again until it is acknowledged");
	after_ms(250);
	expect(TCP_F_ACK | TCP_F_FIN, A(1), S(1), 0);
	after_ms(450);
	expect(TCP_F_ACK | TCP_F_FIN, A(1), S(1), 0);
	expect_state(FIN_WAIT_1);
}

static void test_orphan_text(void **state)
{
	(void)state;
	establish();
	tcp_close(pl.t, pl.sk);
	expect(TCP_F_ACK | TCP_F_FIN, A(1), S(1), 0);
	rfc("9293", "3.10.4", "text that nobody will read gets a reset");
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	expect(TCP_F_RST, A(1), 0, 0);
	pl.sk = NULL;
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	assert_int_equal(pl.n.r.map.seg->n_orphans, 0);
}

static void test_orphan_gives_up(void **state)
{
	(void)state;
	establish();
	tcp_close(pl.t, pl.sk);
	for (uint32_t ms = 0; ms < 300000 && pl.n.r.map.seg->n_conns; ms += 100) {
		pl.t->now += 100 * NS_PER_MS;
		net_tick(pl.t);
		while (hear())
			;
	}
	/* Linux: eight doublings of 200 ms and then the next time-out. */
	pl.sk = NULL;
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	assert_int_equal(count(EV_TCP_TIMEOUT), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common), play_test(test_ack_of_fin), play_test(test_fin),
		play_test(test_fin_and_ack), play_test(test_text), play_test(test_retransmission),
		play_test(test_orphan_text), play_test(test_orphan_gives_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
