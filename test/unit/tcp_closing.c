/* SPDX-License-Identifier: BSD-2-Clause */
/* CLOSING against every class of segment (RFC 9293 3.10.7.4). */
#include "test/unit/tcp_play.h"

static void test_common(void **state)
{
	(void)state;
	common(TCP_S_CLOSING);
}

static void test_ack_of_fin(void **state)
{
	(void)state;
	play_to(TCP_S_CLOSING);
	rfc("9293", "3.10.7.4", "the ACK of our FIN: TIME-WAIT");
	seg(TCP_F_ACK, S(2), A(2));
	expect_state(TIME_WAIT);
	expect_nothing();
}

static void test_retransmission(void **state)
{
	(void)state;
	play_to(TCP_S_CLOSING);
	after_ms(250);
	expect(TCP_F_ACK | TCP_F_FIN, A(1), S(2), 0);
	seg(TCP_F_ACK | TCP_F_FIN, S(1), A(1));
	expect(TCP_F_ACK, A(2), S(2), 0);
	expect_state(CLOSING);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common), play_test(test_ack_of_fin), play_test(test_retransmission),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
