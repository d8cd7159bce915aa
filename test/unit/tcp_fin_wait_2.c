/* SPDX-License-Identifier: BSD-2-Clause */
/* FIN_WAIT_2 against every class of segment (RFC 9293 3.10.7.4). */
#include "test/unit/tcp_play.h"

static void test_common(void **state)
{
	(void)state;
	common(TCP_S_FIN_WAIT_2);
}

static void test_fin(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_2);
	rfc("9293", "3.10.7.4", "a FIN: TIME-WAIT");
	seg_text(TCP_F_ACK | TCP_F_FIN, S(1), A(2), 10);
	expect_state(TIME_WAIT);
	expect(TCP_F_ACK, A(2), S(12), 0);
	assert_int_equal(recv_n(100, 0), 10);	/* what came can still be read */
	assert_int_equal(recv_n(100, 0), 0);
}

static void test_text(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_2);
	seg_text(TCP_F_ACK, S(1), A(2), 10);
	expect(TCP_F_ACK, A(2), S(11), 0);
	assert_int_equal(recv_n(100, 0), 10);
	after_s(600);
	rfc("9293", "3.10.4", "with a reader, FIN-WAIT-2 lasts as long as the peer likes");
	expect_state(FIN_WAIT_2);
}

static void test_orphan(void **state)
{
	(void)state;
	play_to(TCP_S_FIN_WAIT_2);
	tcp_close(pl.t, pl.sk);
	after_s(59);
	expect_state(FIN_WAIT_2);
	after_s(2);	/* Linux: tcp_fin_timeout */
	pl.sk = NULL;
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	expect_nothing();
}

static void test_linger2(void **state)
{
	(void)state;
	pl.o.linger2_s = -1;
	play_to(TCP_S_FIN_WAIT_2);
	tcp_close(pl.t, pl.sk);
	pl.sk = NULL;
	/* TCP_LINGER2 below zero: no waiting at all. */
	expect(TCP_F_RST | TCP_F_ACK, A(2), S(1), 0);
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common), play_test(test_fin), play_test(test_text),
		play_test(test_orphan), play_test(test_linger2),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
