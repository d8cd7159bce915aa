/* SPDX-License-Identifier: BSD-2-Clause */
/* LISTEN: SYNs, backlog, accept queue (RFC 9293 3.10.7.2), with Linux's manners. */
#include "test/unit/tcp_play.h"

static void test_classes(void **state)
{
	struct tcp_hdr h;

	(void)state;
	listen_on(8);
	rfc("9293", "3.10.7.2", "first: a reset is ignored");
	seg(TCP_F_RST, S(0), 0);
	expect_nothing();
	rfc("9293", "3.10.7.2", "second: an ACK gets a reset");
	seg(TCP_F_ACK, S(0), 4711);
	expect(TCP_F_RST, 4711, 0, 0);
	h = syn_of(TCP_F_SYN | TCP_F_ACK, 4712);
	say(&h, NULL, 0);
	expect(TCP_F_RST, 4712, 0, 0);
	rfc("9293", "3.10.7.2", "fourth: anything else is dropped");
	seg_text(0, S(0), 0, 10);
	seg(TCP_F_FIN, S(0), 0);
	seg(TCP_F_SYN | TCP_F_FIN, S(0), 0);
	expect_nothing();
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
}

static void test_syn(void **state)
{
	(void)state;
	embryo();
	rfc("9293", "3.10.7.2", "third: a SYN is answered with SYN, ACK and our options");
	assert_int_equal(pl.last.h.mss, 1460);
	assert_true(pl.last.h.has_ws && pl.last.h.sack_permitted && pl.last.h.has_ts);
	assert_int_equal(pl.last.h.ws, 7);
	assert_int_equal(pl.last.h.ts_ecr, pl.ts);
	rfc("7323", "2.2", "the window of a SYN is not scaled");
	assert_true(pl.last.h.wnd > 20000);
	expect_state(SYN_RCVD);
	assert_null(tcp_accept(pl.t, pl.lsk));
	assert_false(pl.lsk->ready & EPOLLIN);
}

static void test_plain_syn(void **state)
{
	struct tcp_hdr h = { .sport = PEER_PORT, .dport = OUR_PORT, .seq = S(0), .flags = TCP_F_SYN,
			     .wnd = 1000 };

	(void)state;
	pl.with_ts = pl.with_sack = pl.with_ws = false;
	listen_on(8);
	say(&h, NULL, 0);
	assert_true(hear());
	rfc("7323", "2.5", "options that the peer did not offer are not sent");
	assert_false(pl.last.h.has_ws || pl.last.h.sack_permitted || pl.last.h.has_ts);
	pl.iss = pl.last.h.seq;
	seg(TCP_F_ACK, S(1), A(1));
	pl.sk = tcp_accept(pl.t, pl.lsk);
	assert_non_null(pl.sk);
	rfc("9293", "3.7.1", "without an MSS option: 536");
	assert_int_equal(tcp_get_mss(pl.t, pl.sk), 536);
	assert_int_equal(send_n(1000, 0), 1000);
	/* Bounded by half the peer's window. */
	expect(TCP_F_ACK, A(1), S(1), 500);
	assert_false(pl.last.h.has_ts);
}

static void syn_from(uint16_t port)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);

	h.sport = port;
	say(&h, NULL, 0);
}

static void ack_from(uint16_t port, uint32_t ack)
{
	struct tcp_hdr h = seg_of(TCP_F_ACK, S(1), ack);

	h.sport = port;
	say(&h, NULL, 0);
}

static void test_accept_queue(void **state)
{
	uint32_t iss[4];

	(void)state;
	listen_on(1);
	for (uint16_t i = 0; i < 4; i++) {
		syn_from((uint16_t)(1000 + i));
		assert_true(hear());
		iss[i] = pl.last.h.seq;
	}
	assert_int_equal(listen_of(pl.lsk)->n_embryos, 4);
	ack_from(1000, iss[0] + 1);
	assert_true(pl.lsk->ready & EPOLLIN);
	ack_from(1001, iss[1] + 1);
	/* Linux: backlog 1 lets two wait; then a last ACK, and a SYN, are dropped. */
	ack_from(1002, iss[2] + 1);
	assert_int_equal(listen_of(pl.lsk)->n_accept, 2);
	assert_int_equal(listen_of(pl.lsk)->n_embryos, 2);
	syn_from(2000);
	expect_nothing();
	assert_int_equal(count(EV_TCP_LISTEN_OVERFLOW), 2);
	assert_int_equal(tcp_accept(pl.t, pl.lsk)->rport, 1000);
	ack_from(1002, iss[2] + 1);
	assert_int_equal(tcp_accept(pl.t, pl.lsk)->rport, 1001);
	assert_int_equal(tcp_accept(pl.t, pl.lsk)->rport, 1002);
	assert_null(tcp_accept(pl.t, pl.lsk));
	assert_false(pl.lsk->ready & EPOLLIN);
}

static void test_close(void **state)
{
	(void)state;
	embryo();
	seg(TCP_F_ACK, S(1), A(1));
	syn_from(1000);
	assert_true(hear());
	tcp_close(pl.t, pl.lsk);
	pl.lsk = NULL;
	pl.sk = NULL;
	/* The one that waited for accept() is reset, the embryo is forgotten. */
	expect(TCP_F_RST | TCP_F_ACK, A(1), S(1), 0);
	expect_nothing();
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
}

static void test_data_before_accept(void **state)
{
	(void)state;
	embryo();
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	expect(TCP_F_ACK, A(1), S(11), 0);
	seg(TCP_F_ACK | TCP_F_FIN, S(11), A(1));
	assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
	expect_state(CLOSE_WAIT);
	assert_true((pl.sk->ready & (EPOLLIN | EPOLLOUT | EPOLLRDHUP)) ==
		    (EPOLLIN | EPOLLOUT | EPOLLRDHUP));
	assert_int_equal(recv_n(100, 0), 10);
	assert_int_equal(recv_n(100, 0), 0);
}

static void test_reset_before_accept(void **state)
{
	(void)state;
	embryo();
	seg(TCP_F_ACK, S(1), A(1));
	seg(TCP_F_RST, S(1), 0);
	/* Linux: it is accepted all the same, and the error is found then. */
	assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
	expect_state(CLOSED);
	assert_int_equal(recv_n(1, 0), -ECONNRESET);
}

static void test_defer_accept(void **state)
{
	(void)state;
	pl.o.defer_accept_s = 3;
	embryo();
	seg(TCP_F_ACK, S(1), A(1));
	expect_state(SYN_RCVD);
	after_ms(1500);
	expect_nothing();
	seg_text(TCP_F_ACK, S(1), A(1), 5);
	expect_state(ESTABLISHED);
	assert_true(pl.lsk->ready & EPOLLIN);
	expect(TCP_F_ACK, A(1), S(6), 0);
}

static void test_shutdown(void **state)
{
	(void)state;
	listen_on(8);
	assert_int_equal(tcp_shutdown(pl.t, pl.lsk, SHUT_WR), 0);
	syn_from(1000);
	assert_true(hear());
	assert_int_equal(tcp_shutdown(pl.t, pl.lsk, SHUT_RD), 0);
	assert_true(pl.lsk->ready & EPOLLHUP);
	syn_from(1001);
	expect(TCP_F_RST | TCP_F_ACK, 0, S(1), 0);
	assert_int_equal(tcp_shutdown(pl.t, pl.lsk, SHUT_RD), -ENOTCONN);
}

static void test_in_use(void **state)
{
	struct ipaddr a = addr_of(US);
	struct sk *other;

	(void)state;
	listen_on(1);
	assert_int_equal(tcp_listen(pl.t, &pl.o, &a, OUR_PORT, 1, &other), -EADDRINUSE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_classes), play_test(test_syn), play_test(test_plain_syn),
		play_test(test_accept_queue), play_test(test_close), play_test(test_data_before_accept),
		play_test(test_reset_before_accept), play_test(test_defer_accept),
		play_test(test_shutdown), play_test(test_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
