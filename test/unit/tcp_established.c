/* SPDX-License-Identifier: BSD-2-Clause */
/* ESTABLISHED against every class of segment (RFC 9293 3.10.7.4). */
#include "test/unit/tcp_play.h"

static void test_common(void **state)
{
	(void)state;
	common(TCP_S_ESTABLISHED);
}

static void test_text(void **state)
{
	(void)state;
	establish();
	rfc("9293", "3.10.7.4", "text in order is delivered and acknowledged");
	seg_text(TCP_F_ACK | TCP_F_PSH, S(1), A(1), 100);
	expect(TCP_F_ACK, A(1), S(101), 0);	/* first data: quick ACK */
	assert_true(pl.sk->ready & EPOLLIN);
	assert_int_equal(tcp_unread(pl.t, pl.sk), 100);
	assert_int_equal(recv_n(30, TCP_RECV_PEEK), 30);
	assert_int_equal(recv_n(30, 0), 30);
	assert_int_equal(recv_n(1000, 0), 70);
	assert_int_equal(recv_n(1000, 0), -EAGAIN);
	assert_false(pl.sk->ready & EPOLLIN);
	expect_nothing();
}

static void test_overlap(void **state)
{
	(void)state;
	establish();
	seg_text(TCP_F_ACK, S(1), A(1), 100);
	while (hear())
		;
	rfc("9293", "3.10.7.4", "the old part of an overlapping segment is cut off");
	seg_text(TCP_F_ACK, S(51), A(1), 100);
	expect(TCP_F_ACK, A(1), S(151), 0);
	assert_int_equal(pl.last.h.n_sack, 1);
	assert_int_equal(pl.last.h.sack[0][0], S(51));
	assert_int_equal(pl.last.h.sack[0][1], S(101));
	assert_int_equal(recv_n(1000, 0), 150);
}

static void test_out_of_order(void **state)
{
	(void)state;
	establish();
	rfc("2018", "4", "islands are reported, the latest first");
	seg_text(TCP_F_ACK, S(101), A(1), 100);
	expect(TCP_F_ACK, A(1), S(1), 0);
	assert_int_equal(pl.last.h.n_sack, 1);
	assert_int_equal(pl.last.h.sack[0][0], S(101));
	seg_text(TCP_F_ACK, S(301), A(1), 100);
	expect(TCP_F_ACK, A(1), S(1), 0);
	assert_int_equal(pl.last.h.n_sack, 2);
	assert_int_equal(pl.last.h.sack[0][0], S(301));
	assert_int_equal(pl.last.h.sack[1][0], S(101));
	seg_text(TCP_F_ACK, S(201), A(1), 100);
	expect(TCP_F_ACK, A(1), S(1), 0);
	assert_int_equal(pl.last.h.n_sack, 1);
	assert_int_equal(pl.last.h.sack[0][0], S(101));
	assert_int_equal(pl.last.h.sack[0][1], S(401));
	assert_int_equal(recv_n(10, 0), -EAGAIN);
	rfc("5681", "4.2", "a segment that fills a gap is acknowledged at once");
	seg_text(TCP_F_ACK, S(1), A(1), 100);
	expect(TCP_F_ACK, A(1), S(401), 0);
	assert_int_equal(pl.last.h.n_sack, 0);
	assert_int_equal(recv_n(1000, 0), 400);
}

static void test_fin(void **state)
{
	(void)state;
	establish();
	rfc("9293", "3.10.7.4", "a FIN after text: both are taken, in this order");
	seg_text(TCP_F_ACK | TCP_F_FIN, S(1), A(1), 10);
	expect_state(CLOSE_WAIT);
	assert_true((pl.sk->ready & (EPOLLIN | EPOLLRDHUP)) == (EPOLLIN | EPOLLRDHUP));
	assert_false(pl.sk->ready & EPOLLHUP);
	assert_int_equal(recv_n(100, 0), 10);
	assert_int_equal(recv_n(100, 0), 0);
	assert_true(pl.sk->ready & EPOLLIN);
	after_ms(300);
	expect(TCP_F_ACK, A(1), S(12), 0);
}

static void test_fin_out_of_order(void **state)
{
	(void)state;
	establish();
	seg_text(TCP_F_ACK | TCP_F_FIN, S(11), A(1), 10);
	expect(TCP_F_ACK, A(1), S(1), 0);
	expect_state(ESTABLISHED);
	assert_int_equal(recv_n(100, 0), -EAGAIN);
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	expect_state(CLOSE_WAIT);
	expect(TCP_F_ACK, A(1), S(22), 0);
	assert_int_equal(recv_n(100, 0), 20);
	assert_int_equal(recv_n(100, 0), 0);
}

static void test_old_ack_with_text(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	seg(TCP_F_ACK, S(1), A(11));
	rfc("9293", "3.10.7.4", "an old ACK is ignored, the text that came with it is not");
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	assert_int_equal(recv_n(100, 0), 10);
	assert_int_equal(tcb_of(pl.sk)->snd_una, A(11));
}

/* RFC 9293 3.10.7.4: SND.WL1 keeps an old segment from shrinking the window. */
static void test_window_update(void **state)
{
	struct tcp_hdr h;

	(void)state;
	establish();
	h = seg_of(TCP_F_ACK, S(1), A(1));
	h.wnd = 600;
	say(&h, NULL, 0);
	assert_int_equal(tcb_of(pl.sk)->snd_wnd, 600 * 128);
	seg(TCP_F_ACK, S(1), A(1));	/* Linux: at the same place only a larger window counts */
	assert_int_equal(tcb_of(pl.sk)->snd_wnd, 600 * 128);
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	seg_text(TCP_F_ACK, S(11), A(1), 10);
	assert_int_equal(tcb_of(pl.sk)->snd_wnd, PEER_WND * 128);
	h.wnd = 1;
	h.seq = S(1);
	say(&h, NULL, 0);
	assert_int_equal(tcb_of(pl.sk)->snd_wnd, PEER_WND * 128);
	while (hear())
		;
}

static void test_bad_checksum(void **state)
{
	struct tcp_hdr h;
	struct ip_info in;
	uint32_t at, n;
	pkt_h p;

	(void)state;
	establish();
	h = seg_of(TCP_F_RST, S(1), 0);
	n = wire_tcp_emit_len(&h);
	at = nr_headers(pl.frame, PEER, US, IPPROTO_TCP, n);
	wire_tcp_emit(pl.frame + at, &h);
	rfc("9293", "3.1", "a segment with a wrong checksum is dropped");
	assert_true(nr_arrive(&pl.n, pl.frame, at + n, 3840));
	p = vif_poll(pl.t, 0);
	assert_int_equal(ip_input(pl.t, p, &in), V_TAKEN);
	assert_int_equal(tcp_input(pl.t, p, &in), V_DROP);
	pkt_put(pl.t, p);
	vif_refill(pl.t, 0);
	assert_int_equal(count(EV_TCP_BAD), 1);
	expect_state(ESTABLISHED);
}

static void test_close(void **state)
{
	(void)state;
	establish();
	rfc("9293", "3.10.4", "CLOSE sends a FIN behind what is queued");
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	tcp_close(pl.t, pl.sk);
	expect_state(FIN_WAIT_1);
	expect(TCP_F_ACK | TCP_F_FIN, A(11), S(1), 0);
	assert_int_equal(pl.n.r.map.seg->n_orphans, 1);
}

static void test_close_unread(void **state)
{
	(void)state;
	establish();
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	while (hear())
		;
	rfc("9293", "3.10.4", "CLOSE with unread text sends a reset");
	tcp_close(pl.t, pl.sk);
	expect(TCP_F_RST | TCP_F_ACK, A(1), S(11), 0);
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	pl.sk = NULL;
}

static void test_linger_zero(void **state)
{
	(void)state;
	establish();
	pl.o.linger_s = 0;
	tcp_set_opts(pl.t, pl.sk, &pl.o);
	tcp_close(pl.t, pl.sk);
	expect(TCP_F_RST | TCP_F_ACK, A(1), S(1), 0);
	pl.sk = NULL;
}

static void test_abort(void **state)
{
	(void)state;
	establish();
	rfc("9293", "3.10.5", "ABORT sends a reset");
	tcp_abort(pl.t, pl.sk, ECONNABORTED);
	expect(TCP_F_RST | TCP_F_ACK, A(1), S(1), 0);
	assert_int_equal(recv_n(1, 0), -ECONNABORTED);
	assert_int_equal(recv_n(1, 0), 0);
	assert_int_equal(send_n(1, 0), -EPIPE);
}

static void test_urgent(void **state)
{
	struct tcp_hdr h;
	uint8_t p[10], oob;
	struct iovec v = { &oob, 1 };

	(void)state;
	establish();
	h = seg_of(TCP_F_ACK | TCP_F_URG, S(1), A(1));
	h.urg = 5;	/* BSD's way: the fifth byte */
	text_of(p, S(1), 10);
	say(&h, p, 10);
	rfc("9293", "3.8.5", "the urgent byte is signalled and read apart");
	assert_true(pl.sk->ready & EPOLLPRI);
	assert_int_equal(tcp_recv(pl.t, pl.sk, &v, 1, TCP_RECV_OOB, 0), 1);
	assert_int_equal(oob, 5);
	assert_false(pl.sk->ready & EPOLLPRI);
	assert_int_equal(tcp_recv(pl.t, pl.sk, &v, 1, TCP_RECV_OOB, 0), -EINVAL);
	assert_int_equal(recv_n(100, 0), 4);
	assert_true(tcp_at_mark(pl.t, pl.sk));
	v = (struct iovec){ p, 10 };
	assert_int_equal(tcp_recv(pl.t, pl.sk, &v, 1, 0, 0), 5);
	assert_int_equal(p[0], 6);
	while (hear())
		;
	assert_int_equal(send_n(3, TCP_SEND_OOB), 3);
	expect(TCP_F_ACK | TCP_F_PSH | TCP_F_URG, A(1), S(11), 3);
	assert_int_equal(pl.last.h.urg, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_common), play_test(test_text), play_test(test_overlap),
		play_test(test_out_of_order), play_test(test_fin), play_test(test_fin_out_of_order),
		play_test(test_old_ack_with_text), play_test(test_window_update),
		play_test(test_bad_checksum), play_test(test_close), play_test(test_close_unread),
		play_test(test_linger_zero), play_test(test_abort), play_test(test_urgent),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
