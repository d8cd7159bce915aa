/* SPDX-License-Identifier: BSD-2-Clause */
/* CLOSE_WAIT against every class of segment (RFC 9293 3.10.7.4). */
#include "test/unit/tcp_play.h"

static void test_common(void **state)
{
	(void)state;
	common(TCP_S_CLOSE_WAIT);
}

static void test_send_and_close(void **state)
{
	(void)state;
	play_to(TCP_S_CLOSE_WAIT);
	rfc("9293", "3.10.7.4", "the peer has finished, we may still send");
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(2), 10);
	assert_int_equal(recv_n(10, 0), 0);
	seg(TCP_F_ACK, S(2), A(11));
	assert_int_equal(tcp_shutdown(pl.t, pl.sk, SHUT_WR), 0);
	expect_state(LAST_ACK);
	expect(TCP_F_ACK | TCP_F_FIN, A(11), S(2), 0);
	assert_true(pl.sk->ready & EPOLLHUP);
}

static void test_fin_again(void **state)
{
	(void)state;
	play_to(TCP_S_CLOSE_WAIT);
	rfc("9293", "3.10.7.4", "a FIN sent again is acknowledged again");
	seg(TCP_F_ACK | TCP_F_FIN, S(1), A(1));
	expect(TCP_F_ACK, A(1), S(2), 0);
	expect_state(CLOSE_WAIT);
}

static void test_text_after_fin(void **state)
{
	(void)state;
	play_to(TCP_S_CLOSE_WAIT);
	rfc("9293", "3.10.7.4", "text after a FIN is ignored; Linux does not even answer");
	seg_text(TCP_F_ACK, S(2), A(1), 10);
	expect_nothing();
	assert_int_equal(tcp_unread(pl.t, pl.sk), 0);
	expect_state(CLOSE_WAIT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common), play_test(test_send_and_close),
		play_test(test_fin_again), play_test(test_text_after_fin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
