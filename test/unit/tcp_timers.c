/* SPDX-License-Identifier: BSD-2-Clause */
/* Time-outs, delayed ACKs, keepalive: what happens when nothing comes. */
#include "test/unit/tcp_play.h"

static void test_rto(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	for (uint32_t ms = 0; ms < 1800; ms += 20) {
		after_ms(20);
		while (hear())
			;
	}
	rfc("6298", "5.5", "each expiry doubles the time-out: 200, 400, 800 ms");
	assert_int_equal(count(EV_TCP_RTO), 3);
	assert_int_equal(tcb_of(pl.sk)->cc.cwnd, 1448);
	rfc("6298", "5.7", "an ACK of new data ends the back-off");
	seg(TCP_F_ACK, S(1), A(11));
	assert_int_equal(tcb_of(pl.sk)->n_rtx, 0);
	assert_int_equal(tcb_of(pl.sk)->rtx_at, NEVER_NS);
}

static uint32_t until_closed(uint32_t step_ms, uint32_t max_s)
{
	uint64_t start = pl.t->now;

	while (pl.sk->state != TCP_S_CLOSED && pl.t->now - start < max_s * NS_PER_S) {
		after_ms(step_ms);
		while (hear())
			;
	}
	return (uint32_t)((pl.t->now - start) / NS_PER_S);
}

static void test_gives_up(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	rfc("9293", "3.8.3", "R2: at least 100 s; Linux's 15 retries are 924.6 s and the next time-out");
	assert_in_range(until_closed(100, 2000), 900, 1060);
	assert_int_equal(recv_n(1, 0), -ETIMEDOUT);
	assert_int_equal(count(EV_TCP_TIMEOUT), 1);
}

static void test_user_timeout(void **state)
{
	(void)state;
	pl.o.user_timeout_ms = 5000;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	rfc("5482", "2", "the user's time-out wins");
	assert_in_range(until_closed(100, 100), 4, 13);
	assert_int_equal(pl.sk->err, ETIMEDOUT);
}

static void test_soft_error(void **state)
{
	struct icmp_quote q = { .proto = IPPROTO_TCP, .is4 = 1, .laddr = addr_of(US),
				.raddr = addr_of(PEER), .lport = OUR_PORT, .rport = PEER_PORT,
				.err = ECONNREFUSED, .hard = true };

	(void)state;
	pl.o.user_timeout_ms = 5000;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	q.seq = A(1);
	rfc("5927", "6", "a hard ICMP error does not abort a synchronized connection");
	tcp_icmp(pl.t, &q);
	expect_state(ESTABLISHED);
	assert_int_equal(pl.sk->err, 0);
	until_closed(100, 100);
	assert_int_equal(pl.sk->err, ECONNREFUSED);	/* but tells why, at the end */
}

static void test_keepalive(void **state)
{
	(void)state;
	pl.o.keepalive = 1;
	pl.o.keepidle_s = 10;
	pl.o.keepintvl_s = 2;
	pl.o.keepcnt = 3;
	establish();
	after_s(9);
	seg_text(TCP_F_ACK, S(1), A(1), 1);
	while (hear())
		;
	after_s(9);
	while (hear())
		;
	rfc("9293", "3.8.4", "only when idle for as long as was asked");
	after_ms(1050);
	expect(TCP_F_ACK, A(0), S(2), 0);
	seg(TCP_F_ACK, S(2), A(1));
	after_s(9);
	expect_nothing();
	after_ms(1050);
	for (uint32_t i = 0; i < 2; i++) {
		expect(TCP_F_ACK, A(0), S(2), 0);
		after_ms(2005);
	}
	rfc("9293", "3.8.4", "not to answer one probe is not death");
	expect(TCP_F_ACK, A(0), S(2), 0);
	expect_state(ESTABLISHED);
	after_ms(2005);
	expect(TCP_F_ACK | TCP_F_RST, A(1), S(2), 0);
	expect_state(CLOSED);
	assert_int_equal(pl.sk->err, ETIMEDOUT);
}

static void test_keepalive_set_later(void **state)
{
	(void)state;
	establish();
	after_s(100);
	pl.o.keepalive = 1;
	pl.o.keepidle_s = 10;
	tcp_set_opts(pl.t, pl.sk, &pl.o);
	after_s(11);
	expect(TCP_F_ACK, A(0), S(1), 0);
	pl.o.keepalive = 0;
	tcp_set_opts(pl.t, pl.sk, &pl.o);
	after_s(1000);
	expect_nothing();
	assert_int_equal(tcb_of(pl.sk)->keep_at, NEVER_NS);
}

static void test_delayed_ack(void **state)
{
	struct tcb *b;

	(void)state;
	establish();
	b = tcb_of(pl.sk);
	/* The first segments are acknowledged at once. */
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	expect(TCP_F_ACK, A(1), S(11), 0);
	assert_int_equal(recv_n(10, 0), 10);
	b->quick = 0;
	/* A question; our answer carries the ACK. */
	seg_text(TCP_F_ACK | TCP_F_PSH, S(11), A(1), 10);
	expect_nothing();
	assert_int_equal(send_n(5, 0), 5);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(21), 5);
	assert_int_equal(b->pingpong, 1);
	seg_text(TCP_F_ACK | TCP_F_PSH, S(21), A(6), 10);
	expect_nothing();
	assert_int_equal(recv_n(100, 0), 20);
	expect_nothing();
	rfc("9293", "3.8.6.3", "an ACK is not held back longer than 500 ms; Linux's 40 to 200");
	after_ms(30);
	expect_nothing();
	after_ms(180);
	expect(TCP_F_ACK, A(6), S(31), 0);
	assert_int_equal(count(EV_TCP_DELACK), 1);
	assert_int_equal(b->pingpong, 0);
}

static void test_every_second(void **state)
{
	struct tcb *b;

	(void)state;
	establish();
	b = tcb_of(pl.sk);
	seg_text(TCP_F_ACK, S(1), A(1), 1448);
	while (hear())
		;
	b->quick = 0;
	b->pingpong = 1;
	rfc("9293", "3.8.6.3", "every second full segment is acknowledged at once");
	seg_text(TCP_F_ACK, S(1449), A(1), 1448);
	expect_nothing();
	seg_text(TCP_F_ACK, S(2897), A(1), 1448);
	expect(TCP_F_ACK, A(1), S(4345), 0);
}

static void test_quickack(void **state)
{
	struct tcp_opts o;

	(void)state;
	establish();
	tcb_of(pl.sk)->pingpong = 1;
	seg_text(TCP_F_ACK, S(1), A(1), 10);
	expect_nothing();
	tcp_get_opts(pl.t, pl.sk, &o);
	assert_int_equal(o.quickack, 0);
	o.quickack = 1;
	tcp_set_opts(pl.t, pl.sk, &o);	/* TCP_QUICKACK: what is owed goes now */
	expect(TCP_F_ACK, A(1), S(11), 0);
}

/* One acknowledgement for a batch. */
static void test_batch(void **state)
{
	struct tcp_hdr h;
	uint8_t p[1448];
	uint32_t n = 0;

	(void)state;
	establish();
	for (uint32_t i = 0; i < 8; i++) {
		struct ipaddr s = addr_of(PEER), d = addr_of(US);
		uint32_t at, hl;
		uint16_t c;

		h = seg_of(TCP_F_ACK, S(1) + i * 1448, A(1));
		text_of(p, h.seq, 1448);
		hl = wire_tcp_emit_len(&h);
		at = nr_headers(pl.frame, PEER, US, IPPROTO_TCP, hl + 1448);
		wire_tcp_emit(pl.frame + at, &h);
		memcpy(pl.frame + at + hl, p, 1448);
		c = csum_finish(csum_add_scalar(pl.frame + at, hl + 1448,
						ip_pseudo(&s, &d, IPPROTO_TCP, hl + 1448)));
		memcpy(pl.frame + at + TCP_CSUM_OFF, &c, 2);
		assert_true(nr_arrive(&pl.n, pl.frame, at + hl + 1448, 3840));
	}
	pl.t->budget = TURN_BUDGET;
	assert_int_equal(net_rx(pl.t), 8);
	while (hear())
		n++;
	assert_int_equal(n, 1);
	assert_int_equal(pl.last.h.ack, S(1) + 8 * 1448);
	assert_int_equal(recv_n(20000, 0), 8 * 1448);
	while (hear())
		;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_rto), play_test(test_gives_up), play_test(test_user_timeout),
		play_test(test_soft_error), play_test(test_keepalive),
		play_test(test_keepalive_set_later), play_test(test_delayed_ack),
		play_test(test_every_second), play_test(test_quickack), play_test(test_batch),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
