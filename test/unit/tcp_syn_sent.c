/* SPDX-License-Identifier: BSD-2-Clause */
/* SYN_SENT (RFC 9293 3.10.7.3). */
#include "test/unit/tcp_play.h"

static void test_open(void **state)
{
	struct tcp_hdr h;

	(void)state;
	connect_out();
	rfc("9293", "3.10.1", "an active open sends a SYN with our options");
	expect(TCP_F_SYN, A(0), 0, 0);
	assert_int_equal(pl.last.h.mss, 1460);
	assert_true(pl.last.h.has_ws && pl.last.h.sack_permitted && pl.last.h.has_ts);
	expect_state(SYN_SENT);
	assert_false(pl.sk->ready & (EPOLLIN | EPOLLOUT | EPOLLHUP));
	assert_int_equal(send_n(1, 0), -EAGAIN);
	assert_int_equal(recv_n(1, 0), -EAGAIN);
	after_ms(20);
	h = syn_of(TCP_F_SYN | TCP_F_ACK, A(1));
	h.ts_ecr = pl.last.h.ts_val;
	say(&h, NULL, 0);
	expect(TCP_F_ACK, A(1), S(1), 0);
	expect_state(ESTABLISHED);
	assert_true(pl.sk->ready & EPOLLOUT);
	rfc("6298", "2.2", "the SYN measures the round trip");
	assert_in_range(tcb_of(pl.sk)->rtt.srtt_us8 >> 3, 19000, 22000);
	assert_int_equal(tcp_get_mss(pl.t, pl.sk), 1448);
	assert_int_equal(tcb_of(pl.sk)->cc.cwnd, 10 * 1448);
}

static void test_bad_ack(void **state)
{
	(void)state;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	rfc("9293", "3.10.7.3", "first: an ACK of anything but our SYN gets a reset");
	seg(TCP_F_ACK, S(0), A(0));
	expect(TCP_F_RST, A(0), 0, 0);
	seg(TCP_F_ACK | TCP_F_SYN, S(0), A(2));
	expect(TCP_F_RST, A(2), 0, 0);
	rfc("9293", "3.10.7.3", "unless it is a reset, which is dropped");
	seg(TCP_F_ACK | TCP_F_RST, S(0), A(2));
	seg(TCP_F_RST, S(0), 0);
	expect_nothing();
	expect_state(SYN_SENT);
	rfc("9293", "3.10.7.3", "fifth: neither SYN nor RST: dropped");
	seg(TCP_F_ACK, S(0), A(1));
	seg(0, S(0), 0);
	expect_nothing();
	expect_state(SYN_SENT);
}

static void test_refused(void **state)
{
	(void)state;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	rfc("9293", "3.10.7.3", "second: a reset that acknowledges our SYN ends it");
	seg(TCP_F_RST | TCP_F_ACK, S(0), A(1));
	expect_state(CLOSED);
	assert_true((pl.sk->ready & (EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT)) ==
		    (EPOLLERR | EPOLLHUP | EPOLLIN | EPOLLOUT));
	assert_int_equal(send_n(1, 0), -ECONNREFUSED);
	assert_int_equal(send_n(1, 0), -EPIPE);
}

static void test_simultaneous(void **state)
{
	struct tcp_hdr h;

	(void)state;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	rfc("9293", "3.5", "simultaneous open: SYN against SYN");
	h = syn_of(TCP_F_SYN, 0);
	say(&h, NULL, 0);
	expect_state(SYN_RCVD);
	expect(TCP_F_SYN | TCP_F_ACK, A(0), S(1), 0);
	h = syn_of(TCP_F_SYN | TCP_F_ACK, A(1));
	say(&h, NULL, 0);
	expect_state(ESTABLISHED);
	assert_true(pl.sk->ready & EPOLLOUT);
	assert_int_equal(send_n(5, 0), 5);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 5);
}

static void test_retransmission(void **state)
{
	uint32_t wait = 1;

	(void)state;
	pl.o.syncnt = 3;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	rfc("6298", "5.5", "each time-out doubles the next");
	for (uint32_t i = 0; i < 3; i++, wait *= 2) {
		after_ms(wait * 1000 - 10);
		expect_nothing();
		after_ms(15);
		expect(TCP_F_SYN, A(0), 0, 0);
	}
	after_ms(wait * 1000 + 10);
	expect_state(CLOSED);
	assert_int_equal(pl.sk->err, ETIMEDOUT);
}

static void test_neighbour(void **state)
{
	struct ipaddr any = addr_of("0.0.0.0"), peer = addr_of("10.0.0.9");

	(void)state;
	assert_int_equal(tcp_connect(pl.t, &pl.o, &any, OUR_PORT, &peer, 99, &pl.sk), 0);
	expect_nothing();
	rfc("1122", "2.3.2.2", "a SYN waits for the next hop's address, it is not lost");
	assert_true(tcb_of(pl.sk)->flags & TCB_F_SYN_OWED);
	after_ms(5);
	expect_nothing();
	nr_neigh(&pl.n, "10.0.0.9", NEIGH_VALID);
	pl.n.mir.generation++;
	after_ms(1);
	assert_true(nr_sent(&pl.n, pl.frame));
	assert_int_equal(pl.frame[34 + 13], TCP_F_SYN);
	assert_false(tcb_of(pl.sk)->flags & TCB_F_SYN_OWED);
}

static void test_icmp(void **state)
{
	struct icmp_quote q = { .proto = IPPROTO_TCP, .is4 = 1, .laddr = addr_of(US),
				.raddr = addr_of(PEER), .lport = OUR_PORT, .rport = PEER_PORT,
				.err = EHOSTUNREACH };

	(void)state;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	q.seq = A(1);
	rfc("5927", "4", "an ICMP error about what was not sent is ignored");
	tcp_icmp(pl.t, &q);
	expect_state(SYN_SENT);
	q.seq = A(0);
	tcp_icmp(pl.t, &q);
	expect_state(CLOSED);
	assert_int_equal(pl.sk->err, EHOSTUNREACH);
}

static void test_close(void **state)
{
	(void)state;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	rfc("9293", "3.10.4", "CLOSE in SYN-SENT forgets the connection");
	tcp_close(pl.t, pl.sk);
	pl.sk = NULL;
	expect_nothing();
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
}

static void test_text_on_syn_ack(void **state)
{
	struct tcp_hdr h;
	uint8_t p[10];

	(void)state;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	h = syn_of(TCP_F_SYN | TCP_F_ACK, A(1));
	text_of(p, S(1), 10);
	rfc("9293", "3.10.7.3", "text that comes with the SYN is taken");
	say(&h, p, 10);
	expect(TCP_F_ACK, A(1), S(11), 0);
	assert_int_equal(recv_n(100, 0), 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_open), play_test(test_bad_ack), play_test(test_refused),
		play_test(test_simultaneous), play_test(test_retransmission), play_test(test_neighbour),
		play_test(test_icmp), play_test(test_close), play_test(test_text_on_syn_ack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
