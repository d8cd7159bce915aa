/* SPDX-License-Identifier: BSD-2-Clause */
/* CLOSED, and segments for which there is no socket (RFC 9293 3.10.7.1). */
#include "test/unit/tcp_play.h"

static void test_no_socket(void **state)
{
	struct tcp_hdr h;

	(void)state;
	rfc("9293", "3.10.7.1", "without ACK: a reset that acknowledges what came");
	h = syn_of(TCP_F_SYN, 0);
	say(&h, NULL, 0);
	expect(TCP_F_RST | TCP_F_ACK, 0, S(1), 0);
	seg_text(0, S(5), 0, 10);
	expect(TCP_F_RST | TCP_F_ACK, 0, S(15), 0);
	rfc("9293", "3.10.7.1", "with ACK: a reset at the number acknowledged");
	seg_text(TCP_F_ACK, S(1), 777, 10);
	expect(TCP_F_RST, 777, 0, 0);
	rfc("9293", "3.10.7.1", "a reset is never answered");
	seg(TCP_F_RST, S(1), 0);
	seg(TCP_F_RST | TCP_F_ACK, S(1), 5);
	expect_nothing();
}

static void test_closed_with_descriptor(void **state)
{
	(void)state;
	establish();
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	while (hear())
		;
	seg(TCP_F_RST, S(11), 0);
	expect_state(CLOSED);
	rfc("9293", "3.10.7.1", "a socket that has ended answers no more");
	seg(TCP_F_ACK, S(11), A(1));
	expect(TCP_F_RST, A(1), 0, 0);
	assert_true((pl.sk->ready & (EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR | EPOLLRDHUP)) ==
		    (EPOLLIN | EPOLLOUT | EPOLLHUP | EPOLLERR | EPOLLRDHUP));
	/* Linux: what came before the reset can be read, then the error, then the end. */
	assert_int_equal(recv_n(100, 0), 10);
	assert_int_equal(recv_n(100, 0), -ECONNRESET);
	assert_false(pl.sk->ready & EPOLLERR);
	assert_int_equal(recv_n(100, 0), 0);
	assert_int_equal(send_n(1, 0), -EPIPE);
	assert_int_equal(tcp_shutdown(pl.t, pl.sk, SHUT_WR), -ENOTCONN);
}

static void test_garbage(void **state)
{
	struct ip_info in;
	uint32_t at;
	pkt_h p;

	(void)state;
	memset(pl.frame, 0xff, 200);
	for (uint32_t len = 0; len < 60; len++) {
		at = nr_headers(pl.frame, PEER, US, IPPROTO_TCP, len);
		memset(pl.frame + at, (int)(len * 37), len);
		assert_true(nr_arrive(&pl.n, pl.frame, at + len, 3840));
		p = vif_poll(pl.t, 0);
		assert_true(p.v);
		if (ip_input(pl.t, p, &in) == V_TAKEN)
			assert_int_equal(tcp_input(pl.t, p, &in), V_DROP);
		pkt_put(pl.t, p);
		vif_refill(pl.t, 0);
	}
	expect_nothing();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_no_socket), play_test(test_closed_with_descriptor),
		play_test(test_garbage),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
