/* SPDX-License-Identifier: BSD-2-Clause */
/* Windows of a gigabyte (RFC 7323 2.3: scale 14), which is half of what numbers can tell apart: what lies at
 * the edges, wherever the numbers begin, and that what is beyond is not taken for what is before. */
#include "test/unit/tcp_play.h"

#define GIB (1u << 30)
#define M 1448u

/* As establish(), with a buffer of two gigabytes, half of which is window, and a peer that scales by 14. */
static void establish_giant(void)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);
	struct ipaddr us = addr_of(US), peer = addr_of(PEER);

	pl.o.rcvbuf = INT32_MAX;
	pl.o.rcvbuf_locked = 1;
	h.ws = 14;
	listen_on(8);
	say(&h, NULL, 0);
	assert_true(hear());
	rfc("7323", "2.3", "14 is the largest scale");
	assert_true(pl.last.h.has_ws);
	assert_int_equal(pl.last.h.ws, 14);
	pl.iss = pl.last.h.seq;
	h = seg_of(TCP_F_ACK, S(1), A(1));
	h.wnd = 65535;
	say(&h, NULL, 0);
	pl.sk = flow_find(pl.t, IPPROTO_TCP, &us, OUR_PORT, &peer, PEER_PORT);
	assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
	sk_ref(pl.t, pl.sk, 0);
	expect_state(ESTABLISHED);
	expect_nothing();
}

static void giant_seg(uint32_t seq, uint32_t ack, uint32_t len)
{
	struct tcp_hdr h = seg_of(TCP_F_ACK, seq, ack);
	uint8_t p[3000];

	h.wnd = 65535;
	text_of(p, seq, len);
	say(&h, p, len);
	checked();
}

static void test_receiver(void **state)
{
	uint32_t edge, n;

	(void)state;
	establish_giant();
	/* The window opens with what memory there is; this pool has less than a gigabyte. */
	tcb_of(pl.sk)->rcv_wnd = 65535u << 14;
	tcb_of(pl.sk)->rcv_wup = tcb_of(pl.sk)->rcv_nxt;
	edge = S(1) + (65535u << 14);
	rfc("7323", "2.3", "the window is a gigabyte less one unit");
	assert_int_equal(tcp_window_left(tcb_of(pl.sk)), GIB - (1u << 14));
	giant_seg(edge - 2 * M, A(1), M);
	expect(TCP_F_ACK, A(1), S(1), 0);
	assert_int_equal(pl.last.h.n_sack, 1);
	assert_int_equal(pl.last.h.sack[0][0], edge - 2 * M);
	assert_int_equal(pl.last.h.sack[0][1], edge - M);
	n = (uint32_t)count(EV_TCP_OUT_OF_WINDOW);
	giant_seg(edge + 1, A(1), M);
	assert_int_equal(count(EV_TCP_OUT_OF_WINDOW), n + 1);
	pl.t->now += 2 * NS_PER_S;
	while (hear())
		;
	giant_seg(S(1) - GIB, A(1), M);
	assert_int_equal(count(EV_TCP_OUT_OF_WINDOW), n + 2);
	giant_seg(S(1) + 0x7fffffffu, A(1), M);
	assert_int_equal(count(EV_TCP_OUT_OF_WINDOW), n + 3);
	while (hear())
		;
	rfc("5961", "3.2", "a reset at the last number of a gigabyte is in the window, one behind it is not");
	seg(TCP_F_RST, edge + 1, 0);
	expect_state(ESTABLISHED);
	expect_nothing();
	pl.t->now += 2 * NS_PER_S;
	seg(TCP_F_RST, edge - 1, 0);
	expect(TCP_F_ACK, A(1), S(1), 0);
	expect_state(ESTABLISHED);
	giant_seg(S(1), A(1), M);
	while (hear())
		;
	assert_int_equal(pl.last.h.ack, S(1) + M);
	assert_int_equal(recv_n(2 * M, 0), M);
	while (hear())
		;
}

static void test_sender(void **state)
{
	uint32_t sent = 0, n;

	(void)state;
	pl.o.sndbuf = 60000;
	pl.o.sndbuf_locked = 1;
	establish_giant();
	rfc("7323", "2.3", "the peer's window is its number, shifted");
	assert_int_equal(tcb_of(pl.sk)->snd_wnd, 65535u << 14);
	for (uint32_t i = 0; i < 400; i++) {	/* numbers wrap on the way where they begin so */
		assert_int_equal(send_n(5 * M, 0), (int64_t)(5 * M));
		sent += 5 * M;
		while (hear())
			;
		giant_seg(S(1), A(1 + sent), 0);
		assert_int_equal(tcb_of(pl.sk)->snd_una, A(1 + sent));
	}
	n = (uint32_t)count(EV_TCP_ACK_UNSENT);
	rfc("5961", "5.2", "an ACK as old as the largest window is old, one of what was not sent is not");
	seg(TCP_F_ACK, S(1), tcb_of(pl.sk)->snd_una - 100000);
	assert_int_equal(count(EV_TCP_ACK_UNSENT), n);
	pl.t->now += 2 * NS_PER_S;
	seg(TCP_F_ACK, S(1), tcb_of(pl.sk)->snd_nxt + 1);
	assert_int_equal(count(EV_TCP_ACK_UNSENT), n + 1);
	seg(TCP_F_ACK, S(1), tcb_of(pl.sk)->snd_nxt + GIB);
	assert_int_equal(count(EV_TCP_ACK_UNSENT), n + 2);
	while (hear())
		;
	expect_state(ESTABLISHED);
}

int main(void)
{
	const struct CMUnitTest tests[] = { play_test(test_receiver), play_test(test_sender) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
