/* SPDX-License-Identifier: BSD-2-Clause */
/* TCP Fast Open (RFC 7413): both ends, segment by segment, and the bounds on what others may cost us. */
#include "test/unit/tcp_play.h"

#include <linux/tcp.h>

#define COOKIE "\x11\x22\x33\x44\x55\x66\x77\x88"

static void tune(uint32_t fastopen, uint32_t off_s)
{
	pl.n.mir.tcp.fastopen = fastopen + 1;
	pl.n.mir.tcp.fastopen_off_s = off_s;
}

static struct tcp_fo fo_of(const void *cookie, uint32_t len)
{
	struct tcp_fo fo = { .has = true, .len = (uint8_t)len };

	memcpy(fo.cookie, cookie, len);
	return fo;
}

static void syn_with(uint16_t port, const struct tcp_fo *fo, uint32_t len)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);
	uint8_t p[100];

	h.sport = port;
	if (fo)
		h.fo = *fo;
	text_of(p, S(1), len);
	say(&h, p, len);
}

/* Our cookie for the peer. */
static struct tcp_fo visit(void)
{
	struct tcp_fo ask = { .has = true }, got;
	struct tcp_hdr rst;

	syn_with(39999, &ask, 0);
	assert_true(hear());
	rfc("7413", "4.1.2", "a SYN that asks is answered with a cookie");
	assert_true(pl.last.h.fo.has && !pl.last.h.fo.exp);
	assert_int_equal(pl.last.h.fo.len, 8);
	got = pl.last.h.fo;
	rst = seg_of(TCP_F_RST, S(1), 0);
	rst.sport = 39999;
	say(&rst, NULL, 0);
	return got;
}

/* A listener with room for `max`, and a connection opened by a SYN with 10 bytes. */
static struct tcp_fo open_fast(uint32_t max)
{
	struct ipaddr us = addr_of(US), peer = addr_of(PEER);
	struct tcp_fo fo;

	tune(TFO_CLIENT | TFO_SERVER, 0);
	pl.o.fo_qlen = max;
	listen_on(8);
	fo = visit();
	syn_with(PEER_PORT, &fo, 10);
	assert_true(hear());
	pl.iss = pl.last.h.seq;
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	pl.sk = flow_find(pl.t, IPPROTO_TCP, &us, OUR_PORT, &peer, PEER_PORT);
	assert_non_null(pl.sk);
	checked();
	return fo;
}

static void accepted(void)
{
	assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
	sk_ref(pl.t, pl.sk, 0);
}

static struct tcp_info info(void)
{
	struct tcp_info i;

	tcp_get_info(pl.t, pl.sk, &i, sizeof(i));
	return i;
}

/* ---- server --------------------------------------------------------------------------------------------- */

static void test_server(void **state)
{
	(void)state;
	(void)open_fast(4);
	rfc("7413", "4.2.2", "data of a SYN with a valid cookie is acknowledged and given to the user at once");
	assert_int_equal(pl.last.h.ack, S(11));
	assert_false(pl.last.h.fo.has);
	assert_true(pl.lsk->ready & EPOLLIN);
	accepted();
	assert_true(info().tcpi_options & TCPI_OPT_SYN_DATA);
	assert_int_equal(info().tcpi_state, 3);		/* SYN_RECV */
	assert_int_equal(recv_n(100, 0), 10);
	rfc("7413", "4.2.2", "the server may send before the handshake is over");
	assert_int_equal(send_n(300, 0), 300);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(11), 300);
	rfc("7413", "4.2.4", "until it is, the SYN-ACK alone goes again");
	after_ms(1001);
	expect(TCP_F_SYN | TCP_F_ACK, A(0), S(11), 0);
	expect_nothing();
	assert_int_equal(listen_of(pl.lsk)->n_fo, 1);
	seg(TCP_F_ACK, S(11), A(301));
	assert_int_equal(listen_of(pl.lsk)->n_fo, 0);
	assert_int_equal(info().tcpi_state, 1);
	assert_int_equal(tcb_of(pl.sk)->snd_una, A(301));
	assert_int_equal(pl.sk->parent, 0);
	expect_nothing();
}

static void test_lost_data(void **state)
{
	(void)state;
	(void)open_fast(4);
	accepted();
	assert_int_equal(send_n(300, 0), 300);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(11), 300);
	seg(TCP_F_ACK, S(11), A(1));
	expect_nothing();
	after_ms(3100);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(11), 300);
	seg(TCP_F_ACK, S(11), A(301));
	while (hear())
		;
}

static void test_bad_cookie(void **state)
{
	struct tcp_fo bad = fo_of(COOKIE, 8), good;

	(void)state;
	tune(TFO_SERVER, 0);
	pl.o.fo_qlen = 4;
	listen_on(8);
	good = visit();
	syn_with(PEER_PORT, &bad, 10);
	rfc("7413", "4.2.2", "with another cookie only the SYN is acknowledged, and the right one told");
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(1));
	assert_memory_equal(pl.last.h.fo.cookie, good.cookie, 8);
	assert_int_equal(listen_of(pl.lsk)->n_fo, 0);
	syn_with(PEER_PORT + 1, NULL, 10);	/* no option, no Fast Open */
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(1));
	assert_false(pl.last.h.fo.has);
}

static void test_not_asked(void **state)
{
	struct tcp_fo ask = { .has = true };

	(void)state;
	listen_on(8);
	rfc("7413", "4.2.2", "a server that does not do it ignores the option");
	syn_with(PEER_PORT, &ask, 10);
	assert_true(hear());
	assert_false(pl.last.h.fo.has);
	assert_int_equal(pl.last.h.ack, S(1));
}

static void test_key(void **state)
{
	static const uint8_t key[32] = "0123456789abcdefghijklmnopqrstuv";
	struct tcp_fo old, new;

	(void)state;
	tune(TFO_SERVER, 0);
	pl.o.fo_qlen = 4;
	listen_on(8);
	tcp_listen_keys(pl.t, pl.lsk, key + 16, 1);
	old = visit();
	tcp_listen_keys(pl.t, pl.lsk, key, 2);
	syn_with(PEER_PORT, &old, 10);
	rfc("7413", "4.1.2", "a cookie of the key before is taken, and the present one told");
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(11));
	new = pl.last.h.fo;
	assert_true(new.has && memcmp(new.cookie, old.cookie, 8));
	syn_with(PEER_PORT + 1, &new, 10);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(11));
	assert_false(pl.last.h.fo.has);
}

static void test_limit(void **state)
{
	struct tcp_fo fo;

	(void)state;
	fo = open_fast(1);
	rfc("7413", "5.1", "no more than the listener allows at a time: the next is an ordinary one");
	syn_with(PEER_PORT + 1, &fo, 10);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(1));
	assert_int_equal(count(EV_TCP_TFO_FULL), 1);
	accepted();
	seg(TCP_F_RST, S(11), 0);
	assert_int_equal(pl.sk->state, TCP_S_CLOSED);
	assert_int_equal(listen_of(pl.lsk)->n_fo, 0);
	rfc("7413", "5.1", "one that was reset counts for a while longer");
	syn_with(PEER_PORT + 2, &fo, 10);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(1));
	after_s(125);
	while (hear())
		;
	syn_with(PEER_PORT + 3, &fo, 10);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(11));
}

static void test_overflow(void **state)
{
	struct tcp_fo fo;

	(void)state;
	tune(TFO_SERVER, 0);
	pl.o.fo_qlen = 100;
	listen_on(1);
	fo = visit();
	for (uint16_t i = 0; i < 4; i++)
		syn_with((uint16_t)(PEER_PORT + i), &fo, 10);
	assert_int_equal(listen_of(pl.lsk)->n_accept, 2);	/* one more than the backlog, as Linux */
	for (int i = 0; i < 2; i++)
		assert_true(hear());
	expect_nothing();
}

static void test_ends_early(void **state)
{
	(void)state;
	(void)open_fast(4);
	seg(TCP_F_RST, S(11), 0);
	rfc("7413", "4.2.2", "reset before accept(): it is accepted, with its data, and then its error");
	assert_int_equal(listen_of(pl.lsk)->n_fo, 0);
	accepted();
	assert_int_equal(recv_n(100, 0), 10);
	assert_int_equal(recv_n(100, 0), -ECONNRESET);
	expect_nothing();
}

static void test_listener_closes(void **state)
{
	(void)state;
	(void)open_fast(4);
	tcp_close(pl.t, pl.lsk);
	pl.lsk = pl.sk = NULL;
	expect(TCP_F_RST | TCP_F_ACK, A(1), S(11), 0);
}

static void test_listener_gone(void **state)
{
	(void)state;
	(void)open_fast(4);
	accepted();
	tcp_close(pl.t, pl.lsk);
	pl.lsk = NULL;
	seg(TCP_F_ACK, S(11), A(1));
	assert_int_equal(info().tcpi_state, 1);
	seg(TCP_F_FIN | TCP_F_ACK, S(11), A(1));
	expect_state(CLOSE_WAIT);
}

static void test_odd_ack(void **state)
{
	(void)state;
	(void)open_fast(4);
	accepted();
	seg(TCP_F_ACK, S(11), A(2));
	expect(TCP_F_RST, A(2), 0, 0);
	seg(TCP_F_ACK, S(11), A(0));
	expect(TCP_F_RST, A(0), 0, 0);
	assert_int_equal(info().tcpi_state, 3);
}

static void test_timeout(void **state)
{
	(void)state;
	(void)open_fast(4);
	accepted();
	for (int i = 0; i < 200; i++)
		after_s(1);
	assert_int_equal(pl.sk->state, TCP_S_CLOSED);
	assert_int_equal(pl.sk->err, ETIMEDOUT);
	assert_int_equal(listen_of(pl.lsk)->n_fo, 0);
	for (int i = 0; i < 6; i++)	/* one more than ordinary ones, as Linux */
		expect(TCP_F_SYN | TCP_F_ACK, A(0), S(11), 0);
	expect_nothing();
}

/* ---- client ---------------------------------------------------------------------------------------------- */

static void answer(uint32_t ack, const struct tcp_fo *fo, uint32_t len)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN | TCP_F_ACK, ack);
	uint8_t p[100];

	h.ts_ecr = pl.last.h.ts_val;
	if (fo)
		h.fo = *fo;
	text_of(p, S(1), len);
	say(&h, p, len);
}

static int64_t first(uint32_t n)
{
	static uint8_t p[4000];
	struct iovec v = { p, n };
	int64_t r = tcp_send_first(pl.t, pl.sk, &v, 1, false);

	checked();
	return r;
}

static void gone(void)
{
	tcp_abort(pl.t, pl.sk, 0);
	tcp_close(pl.t, pl.sk);
	pl.sk = NULL;
	while (hear())
		;
}

/* One that asks, and gets a cookie. */
static void asked(void)
{
	struct tcp_fo fo = fo_of(COOKIE, 8);

	tune(TFO_CLIENT, 0);
	pl.o.fo_defer = 1;
	connect_out();
	expect_nothing();
	assert_int_equal(first(100), 0);
	assert_true(hear());
	rfc("7413", "4.1.3", "without a cookie one is asked for, and no data goes");
	assert_true(pl.last.h.fo.has);
	assert_int_equal(pl.last.h.fo.len, 0);
	assert_int_equal(pl.last.len, 0);
	answer(A(1), &fo, 0);
	expect(TCP_F_ACK, A(1), S(1), 0);
	gone();
}

static void test_client(void **state)
{
	(void)state;
	asked();
	connect_out();
	assert_true(tcp_is_deferred(pl.sk));
	assert_true(pl.sk->ready & EPOLLOUT);
	assert_int_equal(send_n(10, 0), -EALREADY);
	assert_int_equal(first(2000), 1420);
	assert_false(pl.sk->ready & EPOLLOUT);
	assert_true(hear());
	rfc("7413", "4.2.1", "with a cookie the SYN has data, up to the MSS");
	assert_int_equal(pl.last.h.flags, TCP_F_SYN);
	assert_int_equal(pl.last.len, 1420);
	assert_memory_equal(pl.last.h.fo.cookie, COOKIE, 8);
	assert_int_equal(send_n(10, 0), -EAGAIN);
	answer(A(1421), NULL, 5);
	rfc("7413", "4.2.3", "what the SYN-ACK acknowledges is done with; it may have data");
	expect(TCP_F_ACK, A(1421), S(6), 0);
	expect_state(ESTABLISHED);
	assert_true(info().tcpi_options & TCPI_OPT_SYN_DATA);
	assert_int_equal(tcb_of(pl.sk)->txq.n, 0);
	assert_int_equal(recv_n(10, 0), 5);
}

static void test_left(void **state)
{
	(void)state;
	asked();
	connect_out();
	assert_int_equal(first(1000), 1000);
	assert_true(hear());
	rfc("7413", "4.2.3", "what it leaves out goes again at once");
	answer(A(401), NULL, 0);
	expect(TCP_F_ACK | TCP_F_PSH, A(401), S(1), 600);
	expect_nothing();
	assert_false(info().tcpi_options & TCPI_OPT_SYN_DATA);
	seg(TCP_F_ACK, S(1), A(1001));
	assert_int_equal(tcb_of(pl.sk)->ca_state, TCP_CA_OPEN);
}

static void test_again_is_plain(void **state)
{
	(void)state;
	asked();
	connect_out();
	assert_int_equal(first(1000), 1000);
	assert_true(hear());
	after_ms(1001);
	assert_true(hear());
	rfc("7413", "4.1.3", "a SYN that goes again has neither cookie nor data");
	assert_int_equal(pl.last.h.flags, TCP_F_SYN);
	assert_false(pl.last.h.fo.has);
	assert_int_equal(pl.last.len, 0);
	rfc("9293", "3.10.7.3", "an acknowledgement of what was never sent gets a reset");
	answer(A(1002), NULL, 0);
	expect(TCP_F_RST, A(1002), 0, 0);
	answer(A(0), NULL, 0);
	expect(TCP_F_RST, A(0), 0, 0);
	expect_state(SYN_SENT);
}

static void test_crossing(void **state)
{
	struct tcp_hdr h;

	(void)state;
	asked();
	connect_out();
	assert_int_equal(first(1000), 1000);
	assert_true(hear());
	h = syn_of(TCP_F_SYN, 0);
	say(&h, "x", 1);
	rfc("7413", "4.2.3", "SYNs with data that cross: each acknowledges the SYN alone");
	expect(TCP_F_SYN | TCP_F_ACK, A(0), S(1), 0);
	expect_state(SYN_RCVD);
	seg(TCP_F_ACK, S(1), A(1));
	expect_state(ESTABLISHED);
	checked();
	after_ms(1300);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 1000);
}

static void test_no_client(void **state)
{
	struct ipaddr any = addr_of("0.0.0.0"), peer = addr_of(PEER);

	(void)state;
	tune(TFO_SERVER, 0);
	pl.o.fo_defer = 1;
	assert_int_equal(tcp_connect(pl.t, &pl.o, &any, OUR_PORT, &peer, PEER_PORT, &pl.sk), -EOPNOTSUPP);
	pl.sk = NULL;
}

static void test_experimental(void **state)
{
	static const bool exp[] = { false, true, false, false };

	(void)state;
	tune(TFO_CLIENT, 0);
	pl.o.fo_defer = 1;
	rfc("7413", "4.1.3.1", "who gives no cookie is asked by the experimental option once");
	for (uint32_t i = 0; i < n_elems(exp); i++) {
		connect_out();
		assert_int_equal(first(10), 0);
		assert_true(hear());
		assert_true(pl.last.h.fo.has);
		assert_int_equal(pl.last.h.fo.exp, exp[i]);
		answer(A(1), NULL, 0);
		gone();
	}
}

static void test_black_hole(void **state)
{
	(void)state;
	asked();
	tune(TFO_CLIENT, 60);
	connect_out();
	assert_int_equal(first(100), 100);
	for (int i = 0; i < 12; i++)
		after_s(1);
	assert_int_equal(count(EV_TCP_TFO_OFF), 1);
	gone();
	connect_out();
	assert_int_equal(first(100), 0);
	assert_true(hear());
	rfc("7413", "4.1.3.1", "where it seems to be dropped, it is done without for a while");
	assert_false(pl.last.h.fo.has);
	gone();
	for (int i = 0; i < 61; i++)
		after_s(1);
	connect_out();
	assert_int_equal(first(100), 100);
	answer(A(101), NULL, 0);
	assert_int_equal(pl.n.r.map.seg->tfo.n_off, 1);
	seg_text(TCP_F_ACK, S(1), A(101), 10);
	gone();
	assert_int_equal(pl.n.r.map.seg->tfo.n_off, 0);		/* data came: all is well again */
}

static void test_many_peers(void **state)
{
	struct tfo_table *tb;

	(void)state;
	asked();
	tb = &pl.n.r.map.seg->tfo;
	/* Sets are of four: whatever is in the table, a lookup ends and a newcomer finds a place. */
	for (uint32_t i = 0; i < N_TFO_PEERS; i++)
		if (ip_is_any(&tb->peer[i].raddr))
			tb->peer[i] = (struct tfo_peer){ .raddr = addr_of("10.9.9.9"), .used_s = UINT32_MAX };
	connect_out();
	assert_int_equal(first(100), 100);
	assert_true(hear());
	assert_int_equal(pl.last.h.fo.len, 8);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_server), play_test(test_lost_data), play_test(test_bad_cookie),
		play_test(test_not_asked), play_test(test_key), play_test(test_limit), play_test(test_overflow),
		play_test(test_ends_early), play_test(test_listener_closes), play_test(test_listener_gone),
		play_test(test_odd_ack), play_test(test_timeout), play_test(test_client), play_test(test_left),
		play_test(test_again_is_plain), play_test(test_crossing), play_test(test_no_client),
		play_test(test_experimental), play_test(test_black_hole), play_test(test_many_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
