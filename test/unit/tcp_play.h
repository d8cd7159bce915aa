/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection, a clock, and a peer who says exactly what a test wants: segments go in through
 * the receive ring and net_rx(), what the stack says is taken off the transmit ring and
 * compared. Numbers are relative: S(n) is the peer's n-th, A(n) our n-th, SYNs counted.
 * After each step the connection's invariants are checked.
 */
#ifndef TEST_UNIT_TCP_PLAY_H
#define TEST_UNIT_TCP_PLAY_H

#include "test/unit/net_rig.h"

#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/net/net.h"
#include "core/tcp/parts.h"

/* What a test is the proof of, for the ledger (dev/rfc). */
#define rfc(number, clause, what) ((void)(number clause what))

#define PEER_ISN 0x80001000u
#define S(n) (PEER_ISN + (n))
#define A(n) (pl.iss + (n))
#define US	"10.0.0.1"
#define PEER	"10.0.0.2"
#define OUR_PORT 80
#define PEER_PORT 40000
#define PEER_WND 500u		/* times 128 where scaled */

struct said { struct tcp_hdr h; uint32_t len; uint8_t data[70000]; };

static struct {
	struct net_rig n;
	struct turn *t;
	struct sk *lsk, *sk;
	struct tcp_opts o;
	uint32_t iss;		/* ours */
	uint32_t ts;		/* peer's clock */
	bool with_ts, with_sack, with_ws;
	uint16_t mss;
	struct said last;	/* what expect() took */
	uint8_t frame[70000];
} pl;

/* ---- time ---------------------------------------------------------------------------------- */

static inline void checked(void)
{
	if (pl.sk && sk_find(pl.t, sk_handle(pl.sk)) && pl.sk->kind != SK_FREE)
		tcp_check(pl.t, pl.sk);
	assert_int_equal(pl.n.r.map.seg->condemned, 0);
}

/* The clock goes on and timers fire, a millisecond at a time: the wheel rounds up to a tick. */
static inline void after_ms(uint32_t ms)
{
	pl.t->now += ms * NS_PER_MS;
	pl.ts += ms;
	net_tick(pl.t);
	net_tx(pl.t);
	checked();
}

static inline void after_s(uint32_t s) { after_ms(s * 1000); }

/* ---- the peer speaks -------------------------------------------------------------------------- */

static inline struct tcp_hdr seg_of(uint8_t flags, uint32_t seq, uint32_t ack)
{
	return (struct tcp_hdr){
		.sport = PEER_PORT, .dport = OUR_PORT, .seq = seq, .ack = ack, .flags = flags,
		.wnd = PEER_WND, .has_ts = pl.with_ts && !(flags & TCP_F_RST), .ts_val = pl.ts,
	};
}

/* On the wire; what comes before the next net_rx() comes in one batch. */
static inline void arrive(const struct tcp_hdr *h, const void *data, uint32_t len)
{
	struct ipaddr s = addr_of(PEER), d = addr_of(US);
	uint32_t n = wire_tcp_emit_len(h);
	uint32_t at = nr_headers(pl.frame, PEER, US, IPPROTO_TCP, n + len);
	uint16_t c;

	wire_tcp_emit(pl.frame + at, h);
	if (len)
		memcpy(pl.frame + at + n, data, len);
	c = csum_finish(csum_add_scalar(pl.frame + at, n + len,
					ip_pseudo(&s, &d, IPPROTO_TCP, n + len)));
	memcpy(pl.frame + at + TCP_CSUM_OFF, &c, 2);
	assert_true(nr_arrive(&pl.n, pl.frame, at + n + len, 3840));
}

static inline void taken(uint32_t batch)
{
	pl.t->budget = TURN_BUDGET;
	assert_true(net_rx(pl.t) == batch);
	checked();
}

static inline void say(const struct tcp_hdr *h, const void *data, uint32_t len)
{
	arrive(h, data, len);
	taken(1);
}

static inline void seg(uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct tcp_hdr h = seg_of(flags, seq, ack);

	say(&h, NULL, 0);
}

/* The peer's stream is byte n = (uint8_t)n, so that misplaced text shows. */
static inline void text_of(uint8_t *p, uint32_t seq, uint32_t len)
{
	for (uint32_t i = 0; i < len; i++)
		p[i] = (uint8_t)(seq - PEER_ISN + i);
}

static inline void seg_text(uint8_t flags, uint32_t seq, uint32_t ack, uint32_t len)
{
	struct tcp_hdr h = seg_of(flags, seq, ack);
	uint8_t p[3000];

	assert_true(len <= sizeof(p));
	text_of(p, seq, len);
	say(&h, p, len);
}

static inline void seg_sack(uint32_t seq, uint32_t ack, uint32_t n, const uint32_t (*blocks)[2])
{
	struct tcp_hdr h = seg_of(TCP_F_ACK, seq, ack);

	h.n_sack = (uint8_t)n;
	for (uint32_t i = 0; i < n; i++) {
		h.sack[i][0] = blocks[i][0];
		h.sack[i][1] = blocks[i][1];
	}
	say(&h, NULL, 0);
}

/* ---- what we said ------------------------------------------------------------------------------- */

static inline bool hear(void)
{
	static uint8_t f[70000];
	uint32_t len = nr_sent(&pl.n, f), ip = 34;
	struct ipaddr s = addr_of(US), d;

	if (len == 0)
		return false;
	assert_true(len >= ip + 20);
	d = ip_from4(get_be32(f + 30));
	len = 14u + get_be16(f + 16);
	assert_int_equal(csum_finish(csum_add_scalar(f + ip, len - ip,
						     ip_pseudo(&s, &d, IPPROTO_TCP, len - ip))), 0);
	assert_true(wire_tcp_parse(f + ip, len - ip, &pl.last.h));
	pl.last.len = len - ip - pl.last.h.hdr_len;
	memcpy(pl.last.data, f + ip + pl.last.h.hdr_len, pl.last.len);
	return true;
}

static inline void expect_at(const char *file, int line, uint8_t flags, uint32_t seq, uint32_t ack,
			     uint32_t len)
{
	bool heard = hear();

	_assert_true(heard, "a segment was sent", file, line);
	_assert_int_equal(pl.last.h.flags, flags, file, line);
	_assert_int_equal(pl.last.h.seq, seq, file, line);
	if (flags & TCP_F_ACK)
		_assert_int_equal(pl.last.h.ack, ack, file, line);
	_assert_int_equal(pl.last.len, len, file, line);
}
#define expect(flags, seq, ack, len) expect_at(__FILE__, __LINE__, (flags), (seq), (ack), (len))
#define expect_nothing() assert_false(hear())
#define expect_state(s) assert_int_equal(pl.sk->state, TCP_S_##s)

static inline uint64_t count(enum event e) { return rig_count(&pl.n.r, e); }

/* ---- coming and going ------------------------------------------------------------------------------ */

static inline void play_begin(void)
{
	memset(&pl, 0, sizeof(pl));
	nr_make(&pl.n);
	pl.t = &pl.n.r.t;
	pl.with_ts = pl.with_sack = pl.with_ws = true;
	pl.mss = 1460;
	pl.ts = 1000;
	tcp_opts_default(&pl.o);
}

static inline void close_all(void)
{
	struct segment *g = pl.n.r.map.seg;

	for (uint32_t slot = 1; slot < g->used_sk; slot++) {
		struct sk *sk = sk_slot(pl.t, slot);

		if (sk->kind == SK_FREE)
			continue;
		if (sk->kind == SK_TCP && !(sk->flags & SK_F_EMBRYO)) {
			if (sk->state != TCP_S_CLOSED)
				tcp_abort(pl.t, sk, ECONNABORTED);
			if (sk->kind == SK_TCP)
				tcp_close(pl.t, sk);
		}
	}
	if (pl.lsk && pl.lsk->kind == SK_LISTEN)
		tcp_close(pl.t, pl.lsk);
}

static inline void play_end(void)
{
	close_all();
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	assert_int_equal(pl.n.r.map.seg->n_orphans, 0);
	assert_int_equal(pl.n.r.map.seg->n_tw, 0);
	nr_free(&pl.n);
}

static int play_setup(void **state) { (void)state; play_begin(); return 0; }
static int play_teardown(void **state) { (void)state; play_end(); return 0; }
#define play_test(f) cmocka_unit_test_setup_teardown(f, play_setup, play_teardown)

static inline struct tcp_hdr syn_of(uint8_t flags, uint32_t ack)
{
	struct tcp_hdr h = seg_of(flags, S(0), ack);

	h.wnd = 65000;
	h.has_mss = true;
	h.mss = pl.mss;
	h.sack_permitted = pl.with_sack;
	h.has_ws = pl.with_ws;
	h.ws = 7;
	return h;
}

static inline void listen_on(uint32_t backlog)
{
	struct ipaddr a = addr_of(US);

	assert_int_equal(tcp_listen(pl.t, &pl.o, &a, OUR_PORT, backlog, &pl.lsk), 0);
}

/* A SYN, and the embryo's SYN-ACK. */
static inline void embryo(void)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);
	struct ipaddr us = addr_of(US), peer = addr_of(PEER);

	if (!pl.lsk)
		listen_on(8);
	say(&h, NULL, 0);
	assert_true(hear());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	assert_int_equal(pl.last.h.ack, S(1));
	pl.iss = pl.last.h.seq;
	pl.sk = flow_find(pl.t, IPPROTO_TCP, &us, OUR_PORT, &peer, PEER_PORT);
	assert_non_null(pl.sk);
	checked();
}

static inline void establish(void)
{
	embryo();
	seg(TCP_F_ACK, S(1), A(1));
	assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
	sk_ref(pl.t, pl.sk, 0);
	expect_state(ESTABLISHED);
	expect_nothing();
}

static inline void connect_out(void)
{
	struct ipaddr any = addr_of("0.0.0.0"), peer = addr_of(PEER);

	assert_int_equal(tcp_connect(pl.t, &pl.o, &any, OUR_PORT, &peer, PEER_PORT, &pl.sk), 0);
	sk_ref(pl.t, pl.sk, 0);
	pl.iss = tcb_of(pl.sk)->iss;
	checked();
}

static inline void connect_done(void)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN | TCP_F_ACK, 0);

	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	h.ack = A(1);
	h.ts_ecr = pl.last.h.ts_val;
	say(&h, NULL, 0);
	expect(TCP_F_ACK, A(1), S(1), 0);
	expect_state(ESTABLISHED);
}

/* Our stream is byte n = (uint8_t)(n * 3). */
static inline int64_t send_n(uint32_t n, uint32_t flags)
{
	static uint8_t p[70000];
	uint32_t at = tcb_of(pl.sk)->write_seq - pl.iss;
	struct iovec v = { p, n };
	int64_t r;

	assert_true(n <= sizeof(p));
	for (uint32_t i = 0; i < n; i++)
		p[i] = (uint8_t)((at + i) * 3);
	r = tcp_send(pl.t, pl.sk, &v, 1, flags);
	checked();
	return r;
}

/* Reads up to n bytes; those that were read are compared with the peer's stream. */
static inline int64_t recv_n(uint32_t n, uint32_t flags)
{
	static uint8_t p[70000];
	struct iovec v = { p, n };
	uint32_t at = tcb_of(pl.sk)->copied_seq;
	int64_t r = tcp_recv(pl.t, pl.sk, &v, 1, flags, 0);

	for (int64_t i = 0; i < r; i++)
		assert_int_equal(p[i], (uint8_t)(at - PEER_ISN + (uint32_t)i));
	checked();
	return r;
}

/* Brings a connection to one of the synchronized states; all that was said is taken away. What
 * our and the peer's numbers are then: A(1 or 2), S(1 or 2), a FIN counting one. */
static inline void play_to(unsigned state)
{
	establish();
	if (state == TCP_S_CLOSE_WAIT || state == TCP_S_LAST_ACK)
		seg(TCP_F_FIN | TCP_F_ACK, S(1), A(1));
	if (state == TCP_S_FIN_WAIT_1 || state == TCP_S_FIN_WAIT_2 || state == TCP_S_CLOSING ||
	    state == TCP_S_TIME_WAIT || state == TCP_S_LAST_ACK)
		assert_int_equal(tcp_shutdown(pl.t, pl.sk, SHUT_WR), 0);
	if (state == TCP_S_CLOSING)
		seg(TCP_F_FIN | TCP_F_ACK, S(1), A(1));
	if (state == TCP_S_FIN_WAIT_2 || state == TCP_S_TIME_WAIT)
		seg(TCP_F_ACK, S(1), A(2));
	if (state == TCP_S_TIME_WAIT)
		seg(TCP_F_FIN | TCP_F_ACK, S(1), A(2));
	if (state == TCP_S_CLOSE_WAIT)
		after_ms(300);		/* the FIN's delayed ACK */
	while (hear())
		;
	/* Rate limits of the past shall not matter. */
	tcb_of(pl.sk)->last_oow_ms -= 2 * TCP_OOW_LIMIT_MS;
	assert_int_equal(pl.sk->state, state);
	checked();
}

static inline bool fin_was_sent(unsigned s)
{
	return s == TCP_S_FIN_WAIT_1 || s == TCP_S_FIN_WAIT_2 || s == TCP_S_CLOSING ||
	       s == TCP_S_LAST_ACK || s == TCP_S_TIME_WAIT;
}

static inline bool fin_came(unsigned s)
{
	return s == TCP_S_CLOSE_WAIT || s == TCP_S_CLOSING || s == TCP_S_LAST_ACK ||
	       s == TCP_S_TIME_WAIT;
}

/* ---- what is the same in every synchronized state (RFC 9293 3.10.7.4) --------------------------------- */

struct at { uint32_t snd_nxt, snd_una, rcv_nxt; };

static inline struct at begin_at(unsigned state)
{
	struct tcb *b;

	play_begin();
	play_to(state);
	b = tcb_of(pl.sk);
	return (struct at){ b->snd_nxt, b->snd_una, b->rcv_nxt };
}

static inline void end_unmoved(unsigned state)
{
	assert_int_equal(pl.sk->state, state);
	play_end();
}

static inline void common_reset(unsigned state)
{
	struct at x = begin_at(state);
	int err = state == TCP_S_CLOSE_WAIT ? EPIPE : ECONNRESET;

	rfc("9293", "3.10.7.4", "a reset at exactly RCV.NXT ends the connection");
	seg(TCP_F_RST, x.rcv_nxt, 0);
	assert_int_equal(pl.sk->state, TCP_S_CLOSED);
	assert_int_equal(pl.sk->err, err);
	assert_true((pl.sk->ready & (EPOLLERR | EPOLLHUP | EPOLLIN)) == (EPOLLERR | EPOLLHUP | EPOLLIN));
	expect_nothing();
	play_end();

	x = begin_at(state);
	rfc("5961", "3.2", "a reset elsewhere in the window gets a challenge ACK");
	seg(TCP_F_RST, x.rcv_nxt + 1, 0);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	seg(TCP_F_RST, x.rcv_nxt + 2, 0);
	rfc("5961", "7", "challenge ACKs are limited");
	expect_nothing();
	end_unmoved(state);

	x = begin_at(state);
	rfc("9293", "3.10.7.4", "a reset outside the window is dropped in silence");
	seg(TCP_F_RST, x.rcv_nxt - 1000, 0);
	seg(TCP_F_RST, x.rcv_nxt + (1u << 30), 0);
	expect_nothing();
	end_unmoved(state);
}

static inline void common_syn(unsigned state)
{
	struct at x = begin_at(state);
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);

	rfc("5961", "4.2", "a SYN, wherever it lies, gets a challenge ACK");
	h.seq = x.rcv_nxt;
	say(&h, NULL, 0);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	end_unmoved(state);

	x = begin_at(state);
	h.seq = x.rcv_nxt + 100000000;
	say(&h, NULL, 0);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	end_unmoved(state);
}

static inline void common_acks(unsigned state)
{
	struct at x = begin_at(state);

	rfc("9293", "3.10.7.4", "an ACK of what was not sent is answered with an ACK and dropped");
	seg(TCP_F_ACK, x.rcv_nxt, x.snd_nxt + 1);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	assert_int_equal(tcb_of(pl.sk)->snd_una, x.snd_una);
	end_unmoved(state);

	x = begin_at(state);
	rfc("5961", "5.2", "an ACK older than the largest window gets a challenge ACK");
	seg(TCP_F_ACK, x.rcv_nxt, x.snd_una - 500 * 128 - 70000);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	end_unmoved(state);

	x = begin_at(state);
	rfc("9293", "3.10.7.4", "a segment without ACK is dropped");
	seg(0, x.rcv_nxt, 0);
	seg(TCP_F_PSH | TCP_F_FIN, x.rcv_nxt, 0);
	expect_nothing();
	end_unmoved(state);

	x = begin_at(state);
	rfc("7323", "5.3", "a segment with an old timestamp is acknowledged and dropped");
	pl.ts -= 5000;
	seg_text(TCP_F_ACK, x.rcv_nxt, x.snd_una, 10);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	assert_int_equal(count(EV_TCP_PAWS), 1);
	end_unmoved(state);
}

static inline void common_window(unsigned state)
{
	struct at x = begin_at(state);

	rfc("9293", "3.10.7.4", "text outside the window is acknowledged and dropped");
	seg_text(TCP_F_ACK, x.rcv_nxt + 100000000, x.snd_una, 10);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	end_unmoved(state);

	x = begin_at(state);
	rfc("9293", "3.8.4", "a keepalive probe is answered");
	seg(TCP_F_ACK, x.rcv_nxt - 1, x.snd_una);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	end_unmoved(state);

	x = begin_at(state);
	rfc("2883", "4.1.1", "text received before is reported by DSACK");
	seg_text(TCP_F_ACK, S(1) - 20, x.snd_una, 10);
	expect(TCP_F_ACK, x.snd_nxt, x.rcv_nxt, 0);
	assert_int_equal(pl.last.h.n_sack, 1);
	assert_int_equal(pl.last.h.sack[0][0], S(1) - 20);
	assert_int_equal(pl.last.h.sack[0][1], S(1) - 10);
	end_unmoved(state);
}

static inline void common(unsigned state)
{
	common_reset(state);
	common_syn(state);
	common_acks(state);
	common_window(state);
}

#endif
