/* SPDX-License-Identifier: BSD-2-Clause */
/* What is sent and when: windows, Nagle and cork, SWS, probes, the path's MTU, scarcity. */
#include "test/unit/tcp_play.h"

#include <linux/tcp.h>

static void ack_all(void)
{
	seg(TCP_F_ACK, tcb_of(pl.sk)->rcv_nxt, tcb_of(pl.sk)->snd_nxt);
}

static void set(void)
{
	tcp_set_opts(pl.t, pl.sk, &pl.o);
}

static void test_segments(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(4000, 0), 4000);
	rfc("9293", "3.7.1", "text is cut to the effective MSS, options taken off");
	expect(TCP_F_ACK, A(1), S(1), 1448);
	expect(TCP_F_ACK, A(1449), S(1), 1448);
	rfc("9293", "3.9.1.2", "the last segment of a SEND is pushed");
	expect(TCP_F_ACK | TCP_F_PSH, A(2897), S(1), 1104);
	for (uint32_t i = 0; i < pl.last.len; i++)
		assert_int_equal(pl.last.data[i], (uint8_t)((2897 + i) * 3));
	assert_int_equal(tcp_unacked(pl.t, pl.sk), 4000);
	seg(TCP_F_ACK, S(1), A(1449) + 100);
	assert_int_equal(tcp_unacked(pl.t, pl.sk), 4000 - 1548);
	ack_all();
	assert_int_equal(tcp_unacked(pl.t, pl.sk), 0);
	assert_int_equal(tcb_of(pl.sk)->wmem, 0);
}

static void test_nagle(void **state)
{
	(void)state;
	establish();
	rfc("9293", "3.7.4", "a small segment waits while a small one is in flight");
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	assert_int_equal(send_n(10, 0), 10);
	assert_int_equal(send_n(10, 0), 10);
	expect_nothing();
	assert_int_equal(tcp_unsent(pl.t, pl.sk), 20);
	ack_all();
	expect(TCP_F_ACK | TCP_F_PSH, A(11), S(1), 20);
	/* Minshall: a full one in flight does not count. */
	ack_all();
	assert_int_equal(send_n(1448, 0), 1448);
	expect(TCP_F_ACK | TCP_F_PSH, A(31), S(1), 1448);
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1479), S(1), 10);
	rfc("9293", "3.7.4", "TCP_NODELAY turns it off, at once");
	assert_int_equal(send_n(10, 0), 10);
	expect_nothing();
	pl.o.nodelay = 1;
	set();
	expect(TCP_F_ACK | TCP_F_PSH, A(1489), S(1), 10);
}

/* Linux's MSG_EOR: what comes after it does not share its segment, whatever holds both back. */
static void test_end_of_record(void **state)
{
	(void)state;
	pl.o.cork = 1;
	establish();
	assert_int_equal(send_n(100, 0), 100);
	assert_int_equal(send_n(50, TCP_SEND_EOR), 50);
	assert_int_equal(send_n(10, 0), 10);
	assert_int_equal(tcb_of(pl.sk)->txq.n, 2);
	pl.o.cork = 0;
	set();
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 150);
	expect(TCP_F_ACK | TCP_F_PSH, A(151), S(1), 10);
}

static void test_cork(void **state)
{
	(void)state;
	pl.o.cork = 1;
	pl.o.nodelay = 1;
	establish();
	assert_int_equal(send_n(100, 0), 100);
	expect_nothing();
	assert_int_equal(send_n(1448, 0), 1448);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 1448);
	expect_nothing();
	pl.o.cork = 0;
	set();
	expect(TCP_F_ACK | TCP_F_PSH, A(1449), S(1), 100);
	ack_all();
	/* Linux: a cork holds for 200 ms and no longer. */
	pl.o.cork = 1;
	set();
	assert_int_equal(send_n(100, 0), 100);
	after_ms(150);
	expect_nothing();
	after_ms(60);
	expect(TCP_F_ACK | TCP_F_PSH, A(1549), S(1), 100);
}

static void test_more(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(100, TCP_SEND_MORE), 100);
	expect_nothing();
	assert_int_equal(send_n(100, 0), 100);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 200);
}

static void window(uint16_t wnd)
{
	struct tcp_hdr h = seg_of(TCP_F_ACK, tcb_of(pl.sk)->rcv_nxt, tcb_of(pl.sk)->snd_nxt);

	h.wnd = wnd;
	say(&h, NULL, 0);
}

static void test_persist(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	window(0);
	assert_int_equal(send_n(50, 0), 50);
	expect_nothing();
	rfc("9293", "3.8.6.1", "a shut window is probed, less and less often");
	after_ms(205);
	expect(TCP_F_ACK, A(10), S(1), 0);
	seg(TCP_F_ACK, S(1), A(11));	/* still shut: PEER_WND is what seg() says */
	expect(TCP_F_ACK | TCP_F_PSH, A(11), S(1), 50);
}

static void test_persist_backoff(void **state)
{
	uint32_t gap = 200;

	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	window(0);
	assert_int_equal(send_n(50, 0), 50);
	for (uint32_t i = 0; i < 8; i++, gap *= 2) {
		after_ms(gap - 5);
		expect_nothing();
		after_ms(10);
		expect(TCP_F_ACK, A(10), S(1), 0);
		rfc("9293", "3.8.6.1", "the connection stays while probes are answered");
		window(0);
	}
	expect_state(ESTABLISHED);
}

static void test_persist_gives_up(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	window(0);
	assert_int_equal(send_n(50, 0), 50);
	for (uint32_t s = 0; s < 2000 && pl.sk->state == TCP_S_ESTABLISHED; s++) {
		after_s(1);
		while (hear())
			;
	}
	expect_state(CLOSED);
	assert_int_equal(pl.sk->err, ETIMEDOUT);
}

static void test_silly_window(void **state)
{
	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	rfc("9293", "3.8.6.2.1", "a sliver of window is not filled");
	window(2);	/* 256 bytes */
	assert_int_equal(send_n(3000, 0), 3000);
	expect_nothing();
	window(12);	/* 1,536: a segment fits */
	expect(TCP_F_ACK, A(11), S(1), 1448);
	expect_nothing();
	window(PEER_WND);
	expect(TCP_F_ACK, A(1459), S(1), 1448);
	expect(TCP_F_ACK | TCP_F_PSH, A(2907), S(1), 104);
}

static void test_congestion_window(void **state)
{
	uint32_t n = 0;

	(void)state;
	pl.o.sndbuf = 400000;
	pl.o.sndbuf_locked = 1;
	establish();
	assert_int_equal(send_n(30000, 0), 30000);
	while (hear())
		n++;
	rfc("6928", "2", "ten segments at first");
	assert_int_equal(n, 10);
	seg(TCP_F_ACK, S(1), A(1 + 2 * 1448));
	for (n = 0; hear(); n++)
		;
	rfc("5681", "3.1", "slow start: two more for each that was acknowledged");
	assert_int_equal(n, 4);
}

static void test_send_buffer(void **state)
{
	int64_t n;

	(void)state;
	pl.o.sndbuf = 10000;
	pl.o.sndbuf_locked = 1;
	establish();
	n = send_n(60000, 0);
	assert_in_range(n, 4000, 12000);
	assert_false(pl.sk->ready & EPOLLOUT);
	assert_int_equal(send_n(1, 0), -EAGAIN);
	while (hear())
		;
	ack_all();
	assert_true(pl.sk->ready & EPOLLOUT);
	assert_true(send_n(1, 0) == 1);
	while (hear())
		;
}

static void test_mtu(void **state)
{
	struct icmp_quote q = { .proto = IPPROTO_TCP, .is4 = 1, .laddr = addr_of(US),
				.raddr = addr_of(PEER), .lport = OUR_PORT, .rport = PEER_PORT,
				.err = EMSGSIZE, .mtu = 1000 };

	(void)state;
	establish();
	assert_int_equal(send_n(2000, 0), 2000);
	expect(TCP_F_ACK, A(1), S(1), 1448);
	expect(TCP_F_ACK | TCP_F_PSH, A(1449), S(1), 552);
	q.seq = A(5000);
	rfc("5927", "7", "only about something in flight");
	tcp_icmp(pl.t, &q);
	assert_int_equal(tcp_get_mss(pl.t, pl.sk), 1448);
	q.seq = A(1);
	tcp_icmp(pl.t, &q);
	tcp_work(pl.t, pl.sk);
	rfc("1191", "6.4", "what did not fit is cut and sent again, at once");
	assert_int_equal(tcp_get_mss(pl.t, pl.sk), 948);
	expect(TCP_F_ACK, A(1), S(1), 948);
	expect(TCP_F_ACK, A(949), S(1), 500);
	assert_int_equal(tcb_of(pl.sk)->cc.cwnd >= 10 * 948, 1);
	q.mtu = 1200;
	rfc("5927", "7", "an MTU never grows by ICMP");
	tcp_icmp(pl.t, &q);
	assert_int_equal(tcp_get_mss(pl.t, pl.sk), 948);
	ack_all();
	assert_int_equal(tcp_unacked(pl.t, pl.sk), 0);
}

/* Frames that the device still reads are not written: a copy goes out. */
static void test_at_device(void **state)
{
	struct tcp_info i;

	(void)state;
	establish();
	pl.n.slow = true;
	assert_int_equal(send_n(100, 0), 100);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 100);
	after_ms(210);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 100);
	assert_int_equal(pl.last.data[50], (uint8_t)(51 * 3));
	seg(TCP_F_ACK, S(1), A(101));
	assert_int_equal(tcp_unacked(pl.t, pl.sk), 0);
	tcp_get_info(pl.t, pl.sk, &i, sizeof(i));
	assert_int_equal(i.tcpi_total_retrans, 1);
	assert_int_equal(i.tcpi_state, 1);
	nr_complete(&pl.n);
	pl.n.slow = false;
}

static bool no_frames(void *arg, uint32_t site)
{
	(void)arg;
	return site == MISHAP_PKT;
}

static void test_pool_empty(void **state)
{
	(void)state;
	establish();
	pl.t->mishap = no_frames;
	assert_int_equal(send_n(10, 0), -EAGAIN);
	assert_int_equal(tcp_shutdown(pl.t, pl.sk, SHUT_WR), 0);
	expect_nothing();
	pl.t->mishap = NULL;
	net_tx(pl.t);
	expect(TCP_F_ACK | TCP_F_FIN, A(1), S(1), 0);
	expect_state(FIN_WAIT_1);
}

/* EPOLLOUT lost to an empty pool comes back when frames do, though nobody says so. */
static void test_pool_low(void **state)
{
	uint32_t held[128], n = 0;

	(void)state;
	establish();
	pl.n.slow = true;	/* the sent frame does not come back so soon */
	while (pkt_n_free(pl.t) > 3)
		held[n++] = pkt_get(pl.t).v;
	assert_int_equal(send_n(10, 0), 10);
	assert_false(pl.sk->ready & EPOLLOUT);
	while (hear())
		;
	while (pkt_n_free(pl.t) > 0)
		held[n++] = pkt_get(pl.t).v;
	ack_all();
	assert_false(pl.sk->ready & EPOLLOUT);
	while (n)
		pkt_put(pl.t, (pkt_h){ held[--n] });
	net_tx(pl.t);
	assert_true(pl.sk->ready & EPOLLOUT);
	nr_complete(&pl.n);
	pl.n.slow = false;
}

static void test_ring_full(void **state)
{
	uint32_t sent = 0;

	(void)state;
	establish();
	pl.n.slow = true;
	/* The ring is full of other people's frames. */
	pl.n.idx[2] += NR_RING;
	assert_int_equal(send_n(10, 0), 10);
	assert_true(pl.sk->flags & SK_F_TXWAIT);
	pl.n.idx[2] -= NR_RING;
	net_tx(pl.t);
	while (hear())
		sent++;
	assert_int_equal(sent, 1);
	assert_int_equal(pl.last.len, 10);
	nr_complete(&pl.n);
	pl.n.slow = false;
}

/* Linux's tcp_stream_memory_free(): a send goes on to TCP_NOTSENT_LOWAT; poll() says OUT below half of it. */
static void test_notsent_lowat(void **state)
{
	(void)state;
	pl.o.notsent_lowat = 10000;
	establish();
	/* The peer's window takes PEER_WND << 7 = 64,000 bytes, cwnd ten segments: then it piles up. */
	for (uint32_t i = 0; i < 10; i++)
		assert_int_equal(send_n(1448, 0), 1448);
	assert_true(pl.sk->ready & EPOLLOUT);
	assert_int_equal(send_n(4999, 0), 4999);
	assert_true(pl.sk->ready & EPOLLOUT);
	assert_int_equal(send_n(1, 0), 1);
	assert_false(pl.sk->ready & EPOLLOUT);
	assert_true(send_n(20000, 0) > 0);
	assert_true(tcb_of(pl.sk)->write_seq - tcb_of(pl.sk)->snd_nxt >= 10000);
	assert_int_equal(send_n(1, 0), -EAGAIN);
	while (hear())
		;
	seg(TCP_F_ACK, S(1), A(1 + 10 * 1448));
	assert_true(pl.sk->ready & EPOLLOUT);
}

/* TCP_THIN_LINEAR_TIMEOUTS: with less than four segments in flight six time-outs do not back off. */
static void test_thin(void **state)
{
	uint32_t sent[2] = { 0 };

	(void)state;
	establish();
	for (uint32_t k = 0; k < 2; k++) {
		pl.o.thin = (uint8_t)k;
		tcp_set_opts(pl.t, pl.sk, &pl.o);
		assert_int_equal(send_n(10, 0), 10);
		for (uint32_t i = 0; i < 60; i++)
			after_ms(50);
		while (hear())
			sent[k]++;
		seg(TCP_F_ACK, S(1), A(11 + 10 * k));
	}
	assert_in_range(sent[0], 3, 6);
	assert_true(sent[1] >= sent[0] + 2);
}

/* The label of the next IPv6 frame that was sent. */
static uint32_t next_label(void)
{
	static uint8_t f[70000];

	assert_true(nr_sent(&pl.n, f) >= 74);
	assert_int_equal(get_be16(f + 12), ETH_TYPE_IP6);
	return get_be32(f + 14) & 0xfffff;
}

static void test_flow_label(void **state)
{
	struct ipaddr any = addr_of("::"), peer = addr_of("fd00::2");
	uint32_t label[8], alike = 0;

	(void)state;
	rfc("6437", "3", "one flow label a connection, as good as random among connections");
	for (uint16_t i = 0; i < n_elems(label); i++) {
		assert_int_equal(tcp_connect(pl.t, &pl.o, &any, (uint16_t)(5000 + i), &peer, 80, &pl.sk), 0);
		label[i] = next_label();
		assert_int_not_equal(label[i], 0);
		alike += i && label[i] == label[i - 1];
		after_ms(1010);
		assert_int_equal(next_label(), label[i]);
		tcp_close(pl.t, pl.sk);
		pl.sk = NULL;
	}
	assert_int_equal(alike, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_flow_label), play_test(test_notsent_lowat), play_test(test_thin),
		play_test(test_segments), play_test(test_nagle), play_test(test_end_of_record), play_test(test_cork),
		play_test(test_more), play_test(test_persist), play_test(test_persist_backoff),
		play_test(test_persist_gives_up), play_test(test_silly_window),
		play_test(test_congestion_window), play_test(test_send_buffer), play_test(test_mtu),
		play_test(test_at_device), play_test(test_pool_empty), play_test(test_pool_low),
		play_test(test_ring_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
