/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Half-open connections that have no socket (RFC 4987): those of 64 bytes, those that are a cookie
 * in the peer's hand, and a flood of SYNs from everywhere.
 */
#include "test/unit/tcp_play.h"

#include <stdlib.h>

/* ---- peers without number ------------------------------------------------------------------------ */

struct far { uint32_t ip; uint16_t port; uint32_t iss; uint32_t ts; };

#define CHECK_EVERY 61		/* a check of all entries takes longer than a SYN */
static uint32_t said;

/* A segment of one of them. Sums are made by hand: the flood is to cost us time, not the test. */
static void far_arrives(const struct far *f, const struct tcp_hdr *h, const void *data, uint32_t len)
{
	struct ipaddr d = ip_from4(0x0a000001), s = ip_from4(f->ip);
	uint32_t n = wire_tcp_emit_len(h), at = 34;
	static uint32_t had;
	uint16_t c;

	if (had != n + len || get_be16(pl.frame + 16) != 20 + n + len)
		(void)nr_headers(pl.frame, PEER, US, IPPROTO_TCP, n + len);
	had = n + len;
	put_be32(pl.frame + 26, f->ip);
	memset(pl.frame + 24, 0, 2);
	c = csum_finish(csum_add_scalar(pl.frame + 14, 20, 0));
	memcpy(pl.frame + 24, &c, 2);
	wire_tcp_emit(pl.frame + at, h);
	if (len)
		memcpy(pl.frame + at + n, data, len);
	c = csum_finish(csum_add_scalar(pl.frame + at, n + len, ip_pseudo(&s, &d, IPPROTO_TCP, n + len)));
	memcpy(pl.frame + at + TCP_CSUM_OFF, &c, 2);
	assert_true(nr_arrive(&pl.n, pl.frame, at + n + len, 3840));
}

static void far_says(const struct far *f, struct tcp_hdr h, const void *data, uint32_t len)
{
	h.sport = f->port;
	if (h.has_ts && !(h.flags & TCP_F_SYN))
		h.ts_ecr = f->ts;
	far_arrives(f, &h, data, len);
	pl.t->budget = TURN_BUDGET;
	assert_int_equal(net_rx(pl.t), 1);
	assert_int_equal(pl.n.r.map.seg->condemned, 0);
	if (pl.lsk && ++said % CHECK_EVERY == 0)
		tcp_check(pl.t, pl.lsk);
}

/* It says SYN; true: it was answered, and knows our number. */
static bool far_opens(struct far *f)
{
	far_says(f, syn_of(TCP_F_SYN, 0), NULL, 0);
	if (!hear())
		return false;
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	assert_int_equal(pl.last.h.dport, f->port);
	assert_int_equal(pl.last.h.ack, S(1));
	f->iss = pl.last.h.seq;
	f->ts = pl.last.h.ts_val;
	return true;
}

static void far_acks(const struct far *f) { far_says(f, seg_of(TCP_F_ACK, S(1), f->iss + 1), NULL, 0); }

static struct far a_far(uint32_t i)
{
	return (struct far){ .ip = 0x0b000000u + i, .port = (uint16_t)(1024 + i % 60000) };
}

/* A listener in front of everybody, behind the gateway. */
static void everybody(uint32_t backlog)
{
	nr_neigh(&pl.n, "10.0.0.254", NEIGH_VALID);
	pl.n.mir.generation++;
	if (!pl.lsk)
		listen_on(backlog);
}

static uint32_t n_socks(void)
{
	return pl.n.r.map.sk_mask - pl.n.r.map.seg->n_free_sk;
}

/* Bytes that half-open connections take: their sockets, their entries, the entries' hash. */
static uint32_t half_open_bytes(void)
{
	return listen_of(pl.lsk)->n_embryos * SK_BYTES + pl.n.r.map.seg->syns.n * (uint32_t)sizeof(struct syn_req) +
	       (uint32_t)sizeof(pl.n.r.map.seg->syns.bucket);
}

static void fill_sockets(void)
{
	for (uint32_t i = 0; i < TCP_FULL_EMBRYOS; i++) {
		struct far f = a_far(1000000 + i);

		assert_true(far_opens(&f));
	}
	assert_int_equal(listen_of(pl.lsk)->n_embryos, TCP_FULL_EMBRYOS);
}

static void fill_all(void)
{
	fill_sockets();
	for (uint32_t i = 0; i < N_SYN_REQS - 1; i++) {
		struct far f = a_far(2000000 + i);

		assert_true(far_opens(&f));
	}
	assert_int_equal(listen_of(pl.lsk)->n_reqs, N_SYN_REQS - 1);
	assert_int_equal(count(EV_TCP_COOKIE_OUT), 0);
}

/* ---- 64 bytes ---------------------------------------------------------------------------------------- */

static void test_parked(void **state)
{
	struct far f = a_far(1);
	uint32_t socks;
	struct tcb *b;

	(void)state;
	everybody(4096);
	fill_sockets();
	socks = n_socks();
	assert_true(far_opens(&f));
	assert_int_equal(n_socks(), socks);
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 1);
	assert_true(pl.last.h.has_ws && pl.last.h.sack_permitted && pl.last.h.has_ts);
	pl.t->now += 700 * NS_PER_US;
	far_acks(&f);
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 0);
	pl.sk = tcp_accept(pl.t, pl.lsk);
	assert_non_null(pl.sk);
	sk_ref(pl.t, pl.sk, 0);
	expect_state(ESTABLISHED);
	b = tcb_of(pl.sk);
	assert_int_equal(b->flags & (TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE), TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE);
	assert_int_equal(b->snd_wscale, 7);
	assert_int_equal(b->snd_wnd, PEER_WND << 7);
	assert_in_range(b->rtt.srtt_us8 >> 3, 690, 710);
	far_says(&f, seg_of(TCP_F_ACK | TCP_F_PSH, S(1), f.iss + 1), "abcde", 5);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(6));
}

static void test_parked_repeats(void **state)
{
	struct far f = a_far(1);
	uint32_t wait = 1;

	(void)state;
	everybody(4096);
	fill_sockets();
	assert_true(far_opens(&f));
	/* Those with a socket shall not be heard. */
	while (listen_of(pl.lsk)->emb_head)
		tcp_done(pl.t, sk_slot(pl.t, listen_of(pl.lsk)->emb_head), TE_ABORT, 0);
	rfc("9293", "3.8.1", "a SYN-ACK that is not acknowledged is sent again, ever more rarely");
	for (uint32_t i = 0; i < TCP_SYNACK_RETRIES; i++, wait *= 2) {
		after_ms(wait * 1000 - 5);
		expect_nothing();
		after_ms(8);
		assert_true(hear());
		assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
		assert_int_equal(pl.last.h.seq, f.iss);
		assert_true(pl.last.h.has_ws && pl.last.h.sack_permitted);
		expect_nothing();
	}
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 1);
	after_s(wait + 1);
	expect_nothing();
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 0);
	assert_int_equal(pl.n.r.map.seg->syns.n, 0);
}

static void test_parked_hears(void **state)
{
	struct far f = a_far(1);
	struct tcp_hdr h;

	(void)state;
	everybody(4096);
	fill_sockets();
	assert_true(far_opens(&f));
	/* The same SYN at once: not answered; later: answered again. */
	far_says(&f, syn_of(TCP_F_SYN, 0), NULL, 0);
	expect_nothing();
	pl.t->now += 600 * NS_PER_MS;
	far_says(&f, syn_of(TCP_F_SYN, 0), NULL, 0);
	assert_true(hear());
	assert_int_equal(pl.last.h.seq, f.iss);
	rfc("5961", "4.2", "another SYN is answered with an ACK, which a restarted peer resets");
	pl.t->now += 600 * NS_PER_MS;
	h = syn_of(TCP_F_SYN, 0);
	h.seq += 5000;
	far_says(&f, h, NULL, 0);
	expect(TCP_F_ACK, f.iss + 1, S(1), 0);
	far_says(&f, h, NULL, 0);
	expect_nothing();
	rfc("5961", "3.2", "a reset counts at RCV.NXT only");
	far_says(&f, seg_of(TCP_F_RST, S(2), 0), NULL, 0);
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 1);
	rfc("9293", "3.10.7.4", "SYN-RECEIVED: an ACK of something else gets a reset");
	far_says(&f, seg_of(TCP_F_ACK, S(1), f.iss + 2), NULL, 0);
	expect(TCP_F_RST, f.iss + 2, 0, 0);
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 1);
	far_says(&f, seg_of(TCP_F_RST, S(1), 0), NULL, 0);
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 0);
	expect_nothing();
}

static void test_parked_overflow(void **state)
{
	struct far f[3] = { a_far(1), a_far(2), a_far(3) };

	(void)state;
	everybody(1);
	fill_sockets();
	for (uint32_t i = 0; i < 3; i++)
		assert_true(far_opens(&f[i]));
	far_acks(&f[0]);
	far_acks(&f[1]);
	assert_int_equal(listen_of(pl.lsk)->n_accept, 2);
	far_acks(&f[2]);	/* one too many: dropped, as with tcp_abort_on_overflow 0 */
	expect_nothing();
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 1);
	assert_non_null(tcp_accept(pl.t, pl.lsk));
	far_acks(&f[2]);
	assert_int_equal(listen_of(pl.lsk)->n_reqs, 0);
	assert_int_equal(listen_of(pl.lsk)->n_accept, 2);
	/* A listener that goes forgets those that are left. */
	assert_non_null(tcp_accept(pl.t, pl.lsk));
	f[0] = a_far(4);
	assert_true(far_opens(&f[0]));
	tcp_close(pl.t, pl.lsk);
	pl.lsk = NULL;
	assert_int_equal(pl.n.r.map.seg->syns.n, 0);
	while (hear())
		;
}

/* RFC 9293 3.8.6: what the SYN-ACK offered is not taken back, though there is no memory left by now. */
static void test_parked_window(void **state)
{
	struct far f = a_far(1);
	struct pkt_queue hoard = { 0 };

	(void)state;
	everybody(4096);
	fill_sockets();
	assert_true(far_opens(&f));
	while (pkt_n_free(pl.t) > 6)
		pkt_q_push(pl.t, &hoard, pkt_get(pl.t));
	far_says(&f, seg_of(TCP_F_ACK | TCP_F_PSH, S(1), f.iss + 1), "abcde", 5);
	pl.sk = tcp_accept(pl.t, pl.lsk);
	assert_non_null(pl.sk);
	sk_ref(pl.t, pl.sk, 0);
	assert_int_equal(pl.sk->rxq_bytes, 5);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(6));
	assert_true((uint32_t)pl.last.h.wnd << 7 >= 60000);
	pkt_put_queue(pl.t, &hoard);
}

/* ---- cookies ------------------------------------------------------------------------------------------- */

/* The connection that f's ACK makes. */
static struct sk *of_cookie(const struct far *f)
{
	far_acks(f);
	pl.sk = tcp_accept(pl.t, pl.lsk);
	if (pl.sk)
		sk_ref(pl.t, pl.sk, 0);
	return pl.sk;
}

static void test_cookie(void **state)
{
	struct far f = a_far(1);
	uint32_t socks;
	struct tcb *b;

	(void)state;
	everybody(4096);
	fill_all();
	socks = n_socks();
	assert_true(far_opens(&f));
	rfc("4987", "3.6", "when no more can be kept, SYNs are answered and nothing is");
	assert_int_equal(count(EV_TCP_COOKIE_OUT), 1);
	assert_int_equal(n_socks(), socks);
	assert_true(pl.last.h.has_ws && pl.last.h.sack_permitted && pl.last.h.has_ts);
	after_ms(40);
	while (hear())
		;
	assert_non_null(of_cookie(&f));
	expect_state(ESTABLISHED);
	b = tcb_of(pl.sk);
	rfc("7323", "2.2", "options survive in the timestamp");
	assert_int_equal(b->flags & (TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE), TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE);
	assert_int_equal(b->snd_wscale, 7);
	assert_int_equal(b->snd_wnd, PEER_WND << 7);
	assert_int_equal(b->mss_clamp, 1460);
	assert_int_equal(b->iss, f.iss);
	assert_int_equal(b->ts_recent, pl.ts);
	assert_int_equal(b->rtt.srtt_us8, 0);
	/* Our clock does not go back: PAWS at the peer (RFC 7323 5.2). */
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, f.iss + 1, S(1), 10);
	assert_true(!before(pl.last.h.ts_val, f.ts));
	far_says(&f, seg_of(TCP_F_ACK | TCP_F_PSH, S(1), f.iss + 11), "abcde", 5);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(6));
}

/* The ACK that brings a cookie back may bring text as well, or be lost and text come instead. */
static void test_cookie_text(void **state)
{
	struct far f = a_far(1);
	char buf[8];
	struct iovec v = { buf, sizeof(buf) };

	(void)state;
	everybody(4096);
	fill_all();
	assert_true(far_opens(&f));
	far_says(&f, seg_of(TCP_F_ACK | TCP_F_PSH, S(1), f.iss + 1), "abcde", 5);
	assert_true(hear());
	assert_int_equal(pl.last.h.ack, S(6));
	pl.sk = tcp_accept(pl.t, pl.lsk);
	assert_non_null(pl.sk);
	sk_ref(pl.t, pl.sk, 0);
	assert_int_equal(tcp_recv(pl.t, pl.sk, &v, 1, 0, 0), 5);
	assert_memory_equal(buf, "abcde", 5);
}

static void test_cookie_plain(void **state)
{
	static const uint16_t offered[] = { 100, 536, 1000, 1219, 1460, 9000, 65535 };
	static const uint16_t kept[] = { TCP_MIN_MSS, 536, 536, 536, 1460, 8940, 8940 };

	(void)state;
	everybody(4096);
	fill_all();
	pl.with_ts = pl.with_sack = false;	/* but it offers a window scale */
	for (uint32_t i = 0; i < n_elems(offered); i++) {
		struct far f = a_far(i);

		pl.mss = offered[i];
		assert_true(far_opens(&f));
		/* What the ACK cannot bring back is not agreed. */
		assert_false(pl.last.h.has_ws || pl.last.h.sack_permitted || pl.last.h.has_ts);
		assert_non_null(of_cookie(&f));
		assert_int_equal(tcb_of(pl.sk)->flags & (TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE), 0);
		assert_int_equal(tcb_of(pl.sk)->mss_clamp, kept[i]);
		assert_int_equal(tcb_of(pl.sk)->snd_wnd, PEER_WND);
		tcp_abort(pl.t, pl.sk, ECONNABORTED);
		tcp_close(pl.t, pl.sk);
		pl.sk = NULL;
		assert_true(hear());
	}
}

static void test_cookie_no_sack(void **state)
{
	struct far f = a_far(1);

	(void)state;
	everybody(4096);
	fill_all();
	pl.with_sack = pl.with_ws = false;
	assert_true(far_opens(&f));
	assert_non_null(of_cookie(&f));
	assert_int_equal(tcb_of(pl.sk)->flags & (TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE), TCB_F_TS);
}

/* RFC 3168 6.1.1: what was agreed about ECN is not forgotten, whatever the embryo is kept as. */
static void test_ecn(void **state)
{
	(void)state;
	everybody(4096);
	fill_sockets();
	for (uint32_t i = 0; i < 6; i++) {
		struct far f = a_far(i);
		struct tcp_hdr h = syn_of(i & 1 ? TCP_F_SYN | TCP_F_ECE | TCP_F_CWR : TCP_F_SYN, 0);

		if (i == 2)
			for (uint32_t k = 0; k < N_SYN_REQS - 1; k++) {
				struct far g = a_far(2000000 + k);

				assert_true(far_opens(&g));
			}
		if (i == 4)
			h.has_ts = pl.with_ts = false;
		h.has_ts = h.has_ts && pl.with_ts;
		far_says(&f, h, NULL, 0);
		assert_true(hear());
		f.iss = pl.last.h.seq;
		f.ts = pl.last.h.ts_val;
		/* A peer without timestamps cannot bring it back: then it is not agreed. */
		assert_int_equal(!!(pl.last.h.flags & TCP_F_ECE), (i & 1) && i < 4);
		assert_non_null(of_cookie(&f));
		assert_int_equal(!!(tcb_of(pl.sk)->ecn & ECN_OK), (i & 1) && i < 4);
	}
	assert_int_equal(count(EV_TCP_COOKIE_IN), 4);
}

static void test_cookie_forged(void **state)
{
	struct far f = a_far(1), g = a_far(2);

	(void)state;
	everybody(4096);
	/* Nobody has been given one yet. */
	f.iss = 12345;
	far_acks(&f);
	expect(TCP_F_RST, f.iss + 1, 0, 0);
	assert_int_equal(count(EV_TCP_COOKIE_BAD), 0);
	fill_all();
	assert_true(far_opens(&f));
	/* Another number, another peer, another sequence number of the peer. */
	g.iss = f.iss;
	far_acks(&g);
	expect(TCP_F_RST, f.iss + 1, 0, 0);
	far_says(&f, seg_of(TCP_F_ACK, S(1), f.iss + 2), NULL, 0);
	expect(TCP_F_RST, f.iss + 2, 0, 0);
	far_says(&f, seg_of(TCP_F_ACK, S(2), f.iss + 1), NULL, 0);
	expect(TCP_F_RST, f.iss + 1, 0, 0);
	assert_int_equal(count(EV_TCP_COOKIE_BAD), 3);
	srand(1);
	for (uint32_t i = 0; i < 20000; i++) {
		g.iss = (uint32_t)rand() << 1 ^ (uint32_t)rand();
		far_acks(&g);
		expect(TCP_F_RST, g.iss + 1, 0, 0);
	}
	assert_null(tcp_accept(pl.t, pl.lsk));
	/* The right one, but too late. */
	pl.t->now += 200 * NS_PER_S;
	far_acks(&f);
	expect(TCP_F_RST, f.iss + 1, 0, 0);
}

static void test_cookie_overflow(void **state)
{
	struct far f[3] = { a_far(1), a_far(2), a_far(3) };

	(void)state;
	everybody(1);
	fill_sockets();
	while (listen_of(pl.lsk)->n_embryos + listen_of(pl.lsk)->n_reqs < 256) {
		struct far g = a_far(2000000 + listen_of(pl.lsk)->n_reqs);

		assert_true(far_opens(&g));
	}
	for (uint32_t i = 0; i < 3; i++)
		assert_true(far_opens(&f[i]));
	assert_int_equal(count(EV_TCP_COOKIE_OUT), 3);
	for (uint32_t i = 0; i < 3; i++)
		far_acks(&f[i]);
	expect_nothing();	/* the third is dropped, not reset */
	assert_int_equal(listen_of(pl.lsk)->n_accept, 2);
	assert_non_null(tcp_accept(pl.t, pl.lsk));
	far_acks(&f[2]);
	assert_int_equal(listen_of(pl.lsk)->n_accept, 2);
}

/* ---- the flood --------------------------------------------------------------------------------------------- */

static struct far legit[1000];

/* A million SYNs, from everywhere, while a connection talks and a thousand peers want one. */
static void test_flood(void **state)
{
	uint32_t n = 1000000, most = 0, at = 1, done = 0, socks;

	(void)state;
	everybody(4096);
	establish();
	socks = n_socks();
	for (uint32_t i = 0; i < n; i++) {
		struct far f = { .ip = 0x0c000000u + (i * 2654435761u >> 8), .port = (uint16_t)(i * 7919u) };

		far_says(&f, syn_of(TCP_F_SYN, 0), NULL, 0);
		while (hear())
			;
		pl.t->now += 700;	/* a second and a half for all */
		if (i % 1000 == 999) {
			legit[i / 1000] = a_far(i / 1000);
			assert_true(far_opens(&legit[i / 1000]));
			/* Established traffic: text both ways, acknowledged. */
			seg_text(TCP_F_ACK | TCP_F_PSH, S(at), A(at), 100);
			assert_int_equal(recv_n(200, 0), 100);
			assert_int_equal(send_n(100, 0), 100);
			assert_true(hear());
			while (hear())
				;
			at += 100;
		}
		if (half_open_bytes() > most)
			most = half_open_bytes();
		assert_true(n_socks() <= socks + TCP_FULL_EMBRYOS);
	}
	assert_true(most <= 64000);
	assert_int_equal(tcb_of(pl.sk)->total_retrans, 0);
	/* Who meant it gets through, with all options. */
	for (uint32_t i = 0; i < 1000; i++) {
		struct sk *sk;

		far_acks(&legit[i]);
		sk = tcp_accept(pl.t, pl.lsk);
		assert_non_null(sk);
		assert_int_equal(tcb_of(sk)->flags & (TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE),
				 TCB_F_TS | TCB_F_SACK | TCB_F_WSCALE);
		done++;
		tcp_abort(pl.t, sk, ECONNABORTED);
		tcp_close(pl.t, sk);
		while (hear())
			;
	}
	print_message("flood: %u SYNs, %u bytes at most, %u of 1000 let in\n", n, most, done);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_parked), play_test(test_parked_repeats), play_test(test_parked_hears),
		play_test(test_parked_overflow), play_test(test_parked_window), play_test(test_cookie),
		play_test(test_cookie_text),
		play_test(test_cookie_plain), play_test(test_cookie_no_sack), play_test(test_ecn),
		play_test(test_cookie_forged),
		play_test(test_cookie_overflow), play_test(test_flood),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
