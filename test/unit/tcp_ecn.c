/* SPDX-License-Identifier: BSD-2-Clause */
/* Marks instead of losses (RFC 3168): what a handshake agrees, who echoes and for how long, what it
 * costs; and pacing: what leaves, and when. */
#include "test/unit/tcp_play.h"

#include "core/tcp/cc.h"
#include "wire/ip4.h"

#define M 1448u

static struct tcb *b;
static uint8_t tos;	/* of what hear_ecn() took */

static bool hear_ecn(void)
{
	uint8_t f[70000];
	uint32_t len = nr_sent(&pl.n, f);

	if (len == 0)
		return false;
	tos = f[15];
	assert_true(wire_tcp_parse(f + 34, len - 34, &pl.last.h));
	pl.last.len = 14u + get_be16(f + 16) - 34 - pl.last.h.hdr_len;
	return true;
}

/* A segment of the peer with these ECN bits. */
static void arrive_ecn(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len, uint8_t ecn)
{
	struct tcp_hdr h = seg_of(flags, seq, ack);
	struct ipaddr s = addr_of(PEER), d = addr_of(US);
	uint32_t n = wire_tcp_emit_len(&h), at = nr_headers(pl.frame, PEER, US, IPPROTO_TCP, n + len);
	uint16_t c = 0;

	pl.frame[15] = (uint8_t)((pl.frame[15] & ~3u) | ecn);
	memcpy(pl.frame + 24, &c, 2);
	c = csum_finish(csum_add_scalar(pl.frame + 14, 20, 0));
	memcpy(pl.frame + 24, &c, 2);
	wire_tcp_emit(pl.frame + at, &h);
	text_of(pl.frame + at + n, seq, len);
	c = csum_finish(csum_add_scalar(pl.frame + at, n + len, ip_pseudo(&s, &d, IPPROTO_TCP, n + len)));
	memcpy(pl.frame + at + TCP_CSUM_OFF, &c, 2);
	assert_true(nr_arrive(&pl.n, pl.frame, at + n + len, 3840));
	taken(1);
}

/* The peer asks; we answer, if we do. */
static void establish_ecn(bool agreed)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN | TCP_F_ECE | TCP_F_CWR, 0);
	struct ipaddr us = addr_of(US), peer = addr_of(PEER);

	pl.o.sndbuf = 400000;
	pl.o.sndbuf_locked = 1;
	listen_on(8);
	say(&h, NULL, 0);
	assert_true(hear_ecn());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK | (agreed ? TCP_F_ECE : 0));
	rfc("3168", "6.1.1", "a SYN-ACK is not ECT");
	assert_int_equal(tos & 3, 0);
	pl.iss = pl.last.h.seq;
	seg(TCP_F_ACK, S(1), A(1));
	pl.sk = flow_find(pl.t, IPPROTO_TCP, &us, OUR_PORT, &peer, PEER_PORT);
	assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
	sk_ref(pl.t, pl.sk, 0);
	b = tcb_of(pl.sk);
	after_ms(20);
	tcp_rtt_init(&b->rtt);
	tcp_rtt_sample(&b->rtt, 20000);
}

static void test_answer(void **state)
{
	(void)state;
	rfc("3168", "6.1.1", "who is asked answers by default");
	establish_ecn(true);
	assert_true(b->ecn & ECN_OK);
	assert_int_equal(send_n(M, 0), M);
	rfc("3168", "6.1.2", "data is ECT(0)");
	assert_true(hear_ecn());
	assert_int_equal(tos & 3, 2);
	seg(TCP_F_ACK, S(1), A(1 + M));
}

static void test_off(void **state)
{
	(void)state;
	pl.o.ecn = TCP_ECN_OFF;
	establish_ecn(false);
	assert_int_equal(send_n(M, 0), M);
	assert_true(hear_ecn());
	assert_int_equal(tos & 3, 0);
	seg(TCP_F_ACK, S(1), A(1 + M));
}

static void test_ask(void **state)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN | TCP_F_ACK | TCP_F_ECE, 0);

	(void)state;
	pl.o.ecn = TCP_ECN_ASK;
	connect_out();
	rfc("3168", "6.1.1", "a SYN that asks says ECE and CWR, and is not ECT");
	assert_true(hear_ecn());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ECE | TCP_F_CWR);
	assert_int_equal(tos & 3, 0);
	rfc("3168", "6.1.1.1", "one that is sent again does not ask");
	after_ms(1100);
	assert_true(hear_ecn());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN);
	h.ack = A(1);
	h.ts_ecr = pl.last.h.ts_val;
	say(&h, NULL, 0);
	expect_state(ESTABLISHED);
	assert_true(tcb_of(pl.sk)->ecn & ECN_OK);
	while (hear_ecn())
		;
}

static void test_echo(void **state)
{
	(void)state;
	establish_ecn(true);
	arrive_ecn(TCP_F_ACK, S(1), A(1), 500, 2);
	while (hear_ecn())
		assert_false(pl.last.h.flags & TCP_F_ECE);
	rfc("3168", "6.1.3", "a marked segment: every acknowledgement says so until the peer has reduced");
	arrive_ecn(TCP_F_ACK, S(501), A(1), 500, 3);
	assert_true(hear_ecn());
	assert_true(pl.last.h.flags & TCP_F_ECE);
	arrive_ecn(TCP_F_ACK, S(1001), A(1), 500, 2);
	assert_true(hear_ecn());
	assert_true(pl.last.h.flags & TCP_F_ECE);
	arrive_ecn(TCP_F_ACK | TCP_F_CWR, S(1501), A(1), 500, 2);
	assert_true(hear_ecn());
	assert_false(pl.last.h.flags & TCP_F_ECE);
	assert_int_equal(recv_n(2000, 0), 2000);
}

static void test_reduce(void **state)
{
	uint32_t cwnd, ssthresh;

	(void)state;
	establish_ecn(true);
	assert_int_equal(send_n(20 * M, 0), 20 * M);
	while (hear_ecn())
		;
	cwnd = b->cc.cwnd;
	seg(TCP_F_ACK | TCP_F_ECE, S(1), A(1 + 2 * M));
	rfc("3168", "6.1.2", "an echo costs what a loss costs, once a window");
	assert_int_equal(b->ca_state, TCP_CA_MARKED);
	ssthresh = b->cc.ssthresh;
	assert_true(ssthresh < cwnd);
	assert_int_equal(b->total_retrans, 0);
	seg(TCP_F_ACK | TCP_F_ECE, S(1), A(1 + 6 * M));
	assert_int_equal(b->cc.ssthresh, ssthresh);
	rfc("3168", "6.1.2", "and the next new segment says CWR, once");
	assert_true(hear_ecn());
	assert_true(pl.last.h.flags & TCP_F_CWR);
	assert_int_equal(tos & 3, 2);
	while (hear_ecn())
		assert_false(pl.last.h.flags & TCP_F_CWR);
	after_ms(5);
	seg(TCP_F_ACK, S(1), A(1 + 10 * M));
	while (hear_ecn())
		;
	seg(TCP_F_ACK, S(1), b->snd_nxt);
	assert_true(b->ca_state != TCP_CA_MARKED);
	assert_true(b->cc.cwnd <= cwnd);
	while (hear_ecn())
		seg(TCP_F_ACK, S(1), b->snd_nxt);
}

static void test_not_again(void **state)
{
	uint32_t blocks[1][2];

	(void)state;
	establish_ecn(true);
	assert_int_equal(send_n(8 * M, 0), 8 * M);
	while (hear_ecn())
		;
	after_ms(20);
	blocks[0][0] = A(1 + M);
	blocks[0][1] = A(1 + 8 * M);
	seg_sack(S(1), A(1), 1, (const uint32_t (*)[2])blocks);
	rfc("3168", "6.1.5", "a retransmission is not ECT");
	assert_true(hear_ecn());
	assert_int_equal(pl.last.h.seq, A(1));
	assert_int_equal(tos & 3, 0);
	seg(TCP_F_ACK, S(1), A(1 + 8 * M));
}

static void test_not_ect(void **state)
{
	struct tcp_hdr h;
	uint32_t n = 0;

	(void)state;
	establish_ecn(true);
	rfc("3168", "6.1.4", "an acknowledgement without data is not ECT");
	seg_text(TCP_F_ACK, S(1), A(1), 1448);
	seg_text(TCP_F_ACK, S(1449), A(1), 1448);
	while (hear_ecn()) {
		assert_int_equal(tos & 3, 0);
		n++;
	}
	assert_true(n > 0);
	assert_int_equal(recv_n(3000, 0), 2896);
	while (hear_ecn())
		;
	h = seg_of(TCP_F_ACK, S(2897), A(1));
	h.wnd = 0;
	say(&h, NULL, 0);
	assert_int_equal(send_n(100, 0), 100);
	rfc("3168", "6.1.6", "nor is a window probe");
	after_ms(250);
	assert_true(hear_ecn());
	assert_int_equal(tos & 3, 0);
	h.wnd = PEER_WND;
	h.ts_val = pl.ts;
	say(&h, NULL, 0);
	while (hear_ecn())
		;
	seg(TCP_F_ACK, S(2897), A(101));
}

/* Somebody who does not see the wire sends marks that nobody asked for. */
static void test_mark_outside(void **state)
{
	(void)state;
	establish_ecn(true);
	rfc("3168", "6.1.5", "a mark on a segment outside the window is not heeded");
	arrive_ecn(TCP_F_ACK, S(1) + 100000000, A(1), 100, 3);
	while (hear_ecn())
		assert_false(pl.last.h.flags & TCP_F_ECE);
	arrive_ecn(TCP_F_ACK, S(1), A(1), 500, 2);
	after_ms(60);
	while (hear_ecn())
		assert_false(pl.last.h.flags & TCP_F_ECE);
	assert_int_equal(recv_n(2000, 0), 500);
	while (hear_ecn())
		;
}

static void test_dctcp(void **state)
{
	(void)state;
	pl.o.cc = TCP_CC_DCTCP;
	establish_ecn(true);
	assert_string_equal(tcp_get_cc(pl.sk), "dctcp");
	rfc("8257", "3.2", "the echo lasts as long as the marks, not until CWR");
	arrive_ecn(TCP_F_ACK, S(1), A(1), 500, 3);
	assert_true(hear_ecn());
	while (hear_ecn())
		;
	assert_true(pl.last.h.flags & TCP_F_ECE);
	arrive_ecn(TCP_F_ACK, S(501), A(1), 500, 2);
	assert_true(hear_ecn());
	while (hear_ecn())
		;
	assert_false(pl.last.h.flags & TCP_F_ECE);
	assert_int_equal(recv_n(1000, 0), 1000);
}

static void test_dctcp_alone(void **state)
{
	(void)state;
	pl.o.cc = TCP_CC_DCTCP;
	establish();
	assert_string_equal(tcp_get_cc(pl.sk), "dctcp-reno");
	assert_int_equal(tcb_of(pl.sk)->cc.algo, TCP_CC_RENO);
}

/* ---- pacing ------------------------------------------------------------------------------------- */

static uint32_t heard_bytes(void)
{
	uint32_t n = 0;

	while (hear_ecn())
		n += pl.last.len;
	return n;
}

static void test_pacing(void **state)
{
	uint32_t sum = 0;

	(void)state;
	pl.o.max_pacing = 1448000;	/* a segment a millisecond */
	pl.o.sndbuf = 400000;
	pl.o.sndbuf_locked = 1;
	establish();
	b = tcb_of(pl.sk);
	b->cc.cwnd = 200 * M;
	pl.sk->sndbuf = 1000000;
	assert_int_equal(send_n(40 * M, 0), 40 * M);
	/* The first ten as they are, as Linux; the rest at the rate, with no acknowledgement and no call. */
	assert_in_range(heard_bytes(), 9 * M, 12 * M);
	assert_true(b->pace_due != NEVER_NS);
	for (int i = 0; i < 20; i++) {
		after_ms(1);
		sum += heard_bytes();
	}
	assert_in_range(sum, 17 * M, 22 * M);
	assert_int_equal(count(EV_TCP_RTO), 0);
	/* Whoever had nothing to send has saved nothing up. */
	for (int i = 0; i < 30; i++) {
		after_ms(1);
		(void)heard_bytes();
	}
	seg(TCP_F_ACK, S(1), b->snd_nxt);
	after_ms(100);
	assert_true(b->pace_due == NEVER_NS);
	assert_int_equal(send_n(10 * M, 0), 10 * M);
	assert_in_range(heard_bytes(), M, 2 * M);
	while (b->snd_una != b->write_seq) {
		after_ms(1);
		(void)heard_bytes();
		seg(TCP_F_ACK, S(1), b->snd_nxt);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_answer), play_test(test_off), play_test(test_ask), play_test(test_echo),
		play_test(test_reduce), play_test(test_not_again), play_test(test_not_ect),
		play_test(test_mark_outside), play_test(test_dctcp),
		play_test(test_dctcp_alone), play_test(test_pacing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
