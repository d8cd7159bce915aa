/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attacks on TCP stacks that were published under a name, each as a test that says what it was and
 * shows that it comes to nothing here. (Fragments are the kernel's, and IP's tests have theirs.)
 */
#include "test/unit/tcp_play.h"

#include <stdlib.h>

static const struct geometry large = {
	.n_socks = 64, .n_pkts = 8192, .n_flow_buckets = 32, .n_listen_buckets = 8,
	.n_epolls = 8, .n_epitems = 128, .n_trace = 64, .n_pairs = 2,
};

static int large_setup(void **state)
{
	nr_geometry = &large;
	return play_setup(state);
}

static int large_teardown(void **state)
{
	int rc = play_teardown(state);

	nr_geometry = &rig_small;
	return rc;
}

#define large_test(f) cmocka_unit_test_setup_teardown(f, large_setup, large_teardown)

static void quiet(void)
{
	while (hear())
		;
}

static void islands(uint32_t first, uint32_t n, uint32_t step, uint32_t len)
{
	for (uint32_t i = 0; i < n; i++) {
		seg_text(TCP_F_ACK, S(first + i * step), A(1), len);
		quiet();
	}
}

/*
 * SegmentSmack (CVE-2018-5390): tiny segments out of order, so that each makes the receiver walk, or
 * rebuild, a queue that grows with every one of them. Here their number is bounded by what the
 * receive buffer may hold, at a kilobyte each, and so is the walk.
 */
static void test_segment_smack(void **state)
{
	uint32_t most = 0;

	(void)state;
	establish();
	srand(2);
	for (uint32_t i = 0; i < 20000; i++) {
		uint32_t at = 3 + 2 * ((uint32_t)rand() % 25000);

		seg_text(TCP_F_ACK, S(at), A(1), 1);
		quiet();
		most = max_u32(most, tcb_of(pl.sk)->ooo.n);
	}
	assert_in_range(most, 10, pl.sk->rcvbuf / 1024 + 1);
	assert_true(count(EV_TCP_OOO_PRUNED) > 10);
	/* The stream is not the worse for it. */
	for (uint32_t at = 1; at < 50001; at += 1000) {
		seg_text(TCP_F_ACK, S(at), A(1), 1000);
		quiet();
	}
	assert_int_equal(recv_n(60000, 0), 50000);
}

/* The same against a receiver with a large buffer: what lies too deep for its size is not looked for. */
static void test_segment_smack_deep(void **state)
{
	(void)state;
	pl.o.rcvbuf = 4 << 20;
	pl.o.rcvbuf_locked = 1;
	establish();
	islands(3, 1500, 2, 1);
	assert_int_equal(tcb_of(pl.sk)->ooo.n, 1500);
	assert_int_equal(count(EV_TCP_OOO_DROP), 0);
	seg_text(TCP_F_ACK, S(2902), A(1), 1);	/* 1,450 deep */
	quiet();
	assert_int_equal(count(EV_TCP_OOO_DROP), 1);
	assert_int_equal(tcb_of(pl.sk)->ooo.n, 1500);
	/* A full segment finds its place, and small ones near it then do. */
	seg_text(TCP_F_ACK, S(2000), A(1), 600);
	quiet();
	assert_int_equal(count(EV_TCP_OOO_DROP), 1);
	seg_text(TCP_F_ACK, S(2902), A(1), 1);
	quiet();
	assert_int_equal(count(EV_TCP_OOO_DROP), 1);
	for (uint32_t at = 1; at < 4001; at += 1000) {
		seg_text(TCP_F_ACK, S(at), A(1), 1000);
		quiet();
	}
	assert_int_equal(recv_n(60000, 0), 4000);
}

/* RFC 2018 8: what was pruned is reported no more, and is taken when it comes again. */
static void test_prune_tells_the_truth(void **state)
{
	(void)state;
	establish();
	islands(3, 140, 10, 1);
	assert_int_equal(count(EV_TCP_OOO_PRUNED), 1);
	for (uint32_t i = 0; i < 30; i++) {
		const struct tcb *b = tcb_of(pl.sk);
		uint32_t tail = b->ooo.tail ? pkt_slot(pl.t, b->ooo.tail)->end_seq : b->rcv_nxt;

		for (uint32_t k = 0; k < b->n_sacks; k++)
			assert_false(after(b->sacks[k].end, tail));
		seg_text(TCP_F_ACK, S(5 + 40 * i), A(1), 3);
		quiet();
	}
	for (uint32_t at = 1; at < 2001; at += 500) {
		seg_text(TCP_F_ACK, S(at), A(1), 500);
		quiet();
	}
	assert_int_equal(recv_n(60000, 0), 2000);
}

/*
 * SACK panic (CVE-2019-11477), SACK slowness (11478), excess segments (11479): a peer with an MSS of next
 * to nothing that acknowledges selectively, so that segments are joined past what a count of 16 bits
 * holds, or cut to pieces. Here segments are never joined, a SACK cuts none, and an MSS below 48 is 48.
 */
static void test_sack_panic(void **state)
{
	uint32_t n;

	(void)state;
	pl.mss = 8;
	establish();
	assert_int_equal(tcb_of(pl.sk)->mss, TCP_MIN_MSS);
	while (send_n(4800, 0) > 0)
		;
	n = tcb_of(pl.sk)->txq.n;
	quiet();
	srand(3);
	for (uint32_t i = 0; i < 3000; i++) {
		uint32_t sent = tcb_of(pl.sk)->snd_nxt - tcb_of(pl.sk)->snd_una, blocks[3][2];

		for (uint32_t k = 0; k < 3; k++) {
			uint32_t from = (uint32_t)rand() % (sent + 1);

			blocks[k][0] = tcb_of(pl.sk)->snd_una + from;
			blocks[k][1] = blocks[k][0] + (uint32_t)rand() % (i & 1 ? 17 : sent + 40);
		}
		pl.ts++;
		seg_sack(S(1), tcb_of(pl.sk)->snd_una, 3, (const uint32_t (*)[2])blocks);
		pl.t->now += NS_PER_MS / 3;
		net_tick(pl.t);
		net_tx(pl.t);
		quiet();
		assert_true(tcb_of(pl.sk)->txq.n <= n);
	}
	expect_state(ESTABLISHED);
	/* What it costs is charged: the send buffer holds at 512 bytes a segment besides its text. */
	assert_true(tcb_of(pl.sk)->wmem <= pl.sk->sndbuf + 512 + 4800);
}

/*
 * URGENT/11 (CVE-2019-12255, 12260, 12261, 12263): an urgent pointer of 0 made a length below nothing, one
 * in a connection that is only opening, or that is opened again, pointed outside. AMNESIA:33
 * (CVE-2020-17437): a pointer past the packet's end. Whatever it says, a read gives what has come and no more.
 */
static void test_urgent(void **state)
{
	static const uint16_t pointers[] = { 0, 1, 2, 9, 10, 11, 100, 32767, 32768, 65534, 65535 };
	uint8_t buf[100];
	struct iovec v = { buf, sizeof(buf) };

	(void)state;
	for (uint32_t s = TCP_S_SYN_RCVD; s < N_TCP_STATES; s++) {
		for (uint32_t i = 0; i < n_elems(pointers); i++) {
			uint64_t got = 0;
			int64_t r;
			struct tcp_hdr h;

			play_end();
			play_begin();
			pl.o.oobinline = i & 1;
			if (s == TCP_S_SYN_RCVD)
				embryo();
			else
				play_to(s);
			h = seg_of(TCP_F_ACK | TCP_F_URG, tcb_of(pl.sk)->rcv_nxt, tcb_of(pl.sk)->snd_nxt);
			h.urg = pointers[i];
			say(&h, buf, 10);
			if (s == TCP_S_SYN_RCVD) {
				assert_ptr_equal(tcp_accept(pl.t, pl.lsk), pl.sk);
				sk_ref(pl.t, pl.sk, 0);
			}
			h.seq += 10;
			h.urg = (uint16_t)(pointers[n_elems(pointers) - 1 - i]);
			if (pl.sk->kind == SK_TCP)
				say(&h, buf, 10);
			while (pl.sk->kind == SK_TCP && (r = tcp_recv(pl.t, pl.sk, &v, 1, 0, 0)) > 0) {
				got += (uint64_t)r;
				checked();
			}
			assert_true(got <= 20);
			r = tcp_recv(pl.t, pl.sk, &v, 1, TCP_RECV_OOB, 0);
			assert_true(r <= 1);
			quiet();
		}
	}
}

/* A segment to a listener, or to a connection, with options as they are. */
static void raw_options(uint8_t flags, uint32_t seq, uint32_t ack, const uint8_t *o, uint32_t n,
			uint32_t off_words)
{
	struct tcp_hdr h = { .sport = PEER_PORT, .dport = OUR_PORT, .seq = seq, .ack = ack, .flags = flags,
			     .wnd = 500 };
	struct ipaddr s = addr_of(PEER), d = addr_of(US);
	uint32_t at = nr_headers(pl.frame, PEER, US, IPPROTO_TCP, 20 + n);
	uint16_t c;

	wire_tcp_emit(pl.frame + at, &h);
	memcpy(pl.frame + at + 20, o, n);
	pl.frame[at + 12] = (uint8_t)(off_words << 4);
	c = csum_finish(csum_add_scalar(pl.frame + at, 20 + n, ip_pseudo(&s, &d, IPPROTO_TCP, 20 + n)));
	memcpy(pl.frame + at + TCP_CSUM_OFF, &c, 2);
	assert_true(nr_arrive(&pl.n, pl.frame, at + 20 + n, 3840));
	taken(1);
	quiet();
}

/*
 * Ripple20 (CVE-2020-11896, 11902 ...), AMNESIA:33 (CVE-2020-13987, 13988, 17440, 24337 ...): lengths that the
 * packet does not have, option lengths of 0 that never end, headers that begin where the packet has ended.
 */
static void test_lengths_that_lie(void **state)
{
	uint8_t o[40];
	uint32_t at, had;

	(void)state;
	establish();
	had = tcb_of(pl.sk)->rcv_nxt;
	/* Every option number with every length, alone and at the end. */
	for (uint32_t kind = 0; kind < 256; kind++) {
		for (uint32_t len = 0; len < 256; len += len < 48 ? 1 : 13) {
			memset(o, 1, sizeof(o));
			o[0] = (uint8_t)kind;
			o[1] = (uint8_t)len;
			o[38] = (uint8_t)kind;
			o[39] = (uint8_t)len;
			raw_options(TCP_F_ACK, S(1), A(1), o, 40, 15);
		}
	}
	/* Data offsets that point before the header's end, and past the packet's. */
	for (uint32_t words = 0; words < 16; words++)
		raw_options(TCP_F_ACK, S(1), A(1), o, 8, words);
	/* IP's total length and header length, against what there is. */
	for (uint32_t i = 0; i < 2000; i++) {
		struct tcp_hdr h = seg_of(TCP_F_ACK, S(1), A(1));
		uint16_t c;

		at = nr_headers(pl.frame, PEER, US, IPPROTO_TCP, 20);
		h.has_ts = false;
		wire_tcp_emit(pl.frame + at, &h);
		pl.frame[14] = (uint8_t)(0x40 | (i & 15));
		put_be16(pl.frame + 16, (uint16_t)(i * 33));
		memset(pl.frame + 24, 0, 2);
		c = csum_finish(csum_add_scalar(pl.frame + 14, min_u32((i & 15) * 4, 40), 0));
		memcpy(pl.frame + 24, &c, 2);
		assert_true(nr_arrive(&pl.n, pl.frame, 14 + (i * 7) % 60, 3840));
		taken(1);
		quiet();
	}
	expect_state(ESTABLISHED);
	assert_int_equal(tcb_of(pl.sk)->rcv_nxt - had, 8);	/* an offset of five words: the options are text */
}

/*
 * NUMBER:JACK (CVE-2020-27213, 27630 ... 28388): initial sequence numbers that whoever has seen one can
 * guess. RFC 6528: the next is a function of the tuple that nobody knows without our secret, and of time.
 */
static void test_number_jack(void **state)
{
	enum { N = 2000 };
	static uint32_t isn[N];
	uint32_t bits[32] = { 0 }, alike = 0, secret_matters = 0;
	struct sk *k;

	(void)state;
	k = sk_get(pl.t, SK_TCP, IPPROTO_TCP);
	k->laddr = addr_of(US);
	k->raddr = addr_of(PEER);
	k->lport = OUR_PORT;
	rfc("6528", "3", "ISN = M + F(tuple, secret)");
	for (uint32_t i = 0; i < N; i++) {
		k->rport = (uint16_t)(1024 + i);
		isn[i] = tcp_new_isn(pl.t, k);
		pl.n.r.map.seg->secret[2] ^= 1;
		secret_matters += tcp_new_isn(pl.t, k) != isn[i];
		pl.n.r.map.seg->secret[2] ^= 1;
	}
	assert_true(secret_matters >= N - 1);
	/* Neighbouring ports, the same instant: each bit of the difference is a coin. */
	for (uint32_t i = 1; i < N; i++) {
		uint32_t d = isn[i] - isn[i - 1];

		alike += i > 1 && d == isn[i - 1] - isn[i - 2];
		for (uint32_t b = 0; b < 32; b++)
			bits[b] += d >> b & 1;
	}
	assert_int_equal(alike, 0);
	for (uint32_t b = 0; b < 32; b++)
		assert_in_range(bits[b], N / 2 - 160, N / 2 + 160);
	/* The same tuple again is above what the last one can have used: time goes on. */
	isn[0] = tcp_new_isn(pl.t, k);
	pl.t->now += NS_PER_S;
	isn[1] = tcp_new_isn(pl.t, k);
	assert_in_range(isn[1] - isn[0], 15000000, 16000000);
	sk_put(pl.t, k);
}

/* Numbers spread over all there are, as whoever guesses blindly would. */
#define BLIND_STEP 4999999u

/* RFC 5961: resets, SYNs and text from somebody who knows the tuple and guesses the numbers. */
static void test_blind(void **state)
{
	uint64_t challenged;
	uint32_t rcv;

	(void)state;
	establish();
	rcv = tcb_of(pl.sk)->rcv_nxt;
	rfc("5961", "3.2", "a reset in the window but not at RCV.NXT is asked about");
	for (uint32_t at = 1; at < 60000; at += 997) {
		seg(TCP_F_RST, rcv + at, 0);
		expect_state(ESTABLISHED);
	}
	rfc("5961", "4.2", "a SYN anywhere is asked about");
	for (uint32_t i = 0; i < 800; i++) {
		seg(TCP_F_SYN, rcv + i * BLIND_STEP, 0);
		expect_state(ESTABLISHED);
	}
	rfc("5961", "7", "and not too often");
	quiet();
	challenged = count(EV_TCP_CHALLENGE);
	assert_int_equal(challenged, 1);
	rfc("5961", "5.2", "text with an ACK that cannot be is not taken");
	for (uint32_t i = 1; i < 800; i++) {
		uint32_t ack = A(1) + i * BLIND_STEP;

		seg_text(TCP_F_ACK, rcv, ack, 10);
		expect_state(ESTABLISHED);
		assert_int_equal(pl.sk->rxq_bytes, 0);
	}
	assert_int_equal(tcb_of(pl.sk)->rcv_nxt, rcv);
	quiet();
	seg_text(TCP_F_ACK, rcv, A(1), 10);
	assert_int_equal(pl.sk->rxq_bytes, 10);
}

/*
 * The challenge ACK's side channel (CVE-2016-5696): a limit that all connections share tells whoever has one
 * of them what happens on the others. Ours is each connection's own.
 */
static void test_challenge_side_channel(void **state)
{
	struct sk *victim;
	uint32_t iss;
	struct tcp_hdr h;

	(void)state;
	establish();
	victim = pl.sk;
	/* The attacker's own connection, from another port. */
	h = syn_of(TCP_F_SYN, 0);
	h.sport = PEER_PORT + 1;
	say(&h, NULL, 0);
	assert_true(hear());
	iss = pl.last.h.seq;
	h = seg_of(TCP_F_ACK, S(1), iss + 1);
	h.sport = PEER_PORT + 1;
	say(&h, NULL, 0);
	pl.sk = tcp_accept(pl.t, pl.lsk);
	assert_non_null(pl.sk);
	sk_ref(pl.t, pl.sk, 0);
	quiet();
	for (uint32_t guess = 0; guess < 2; guess++) {
		uint32_t heard = 0;

		pl.t->now += 2 * NS_PER_S;
		/* A right guess, or a wrong one, at the victim's window ... */
		h = seg_of(TCP_F_RST, tcb_of(victim)->rcv_nxt + (guess ? 5 : 0x40000000), 0);
		say(&h, NULL, 0);
		quiet();
		/* ... shows nowhere in how often the attacker's is answered. */
		for (uint32_t i = 0; i < 200; i++) {
			h = seg_of(TCP_F_RST, tcb_of(pl.sk)->rcv_nxt + 9, 0);
			h.sport = PEER_PORT + 1;
			say(&h, NULL, 0);
			while (hear())
				heard += pl.last.h.dport == PEER_PORT + 1;
		}
		assert_int_equal(heard, 1);
	}
	assert_int_equal(victim->state, TCP_S_ESTABLISHED);
}

static void icmp_about(uint32_t seq, uint8_t type, uint8_t code, uint32_t rest)
{
	struct icmp_hdr h = { type, code, 0, rest };
	uint8_t quote[100] = { 0 };
	uint32_t at;
	uint16_t c;

	(void)nr_headers(quote, US, PEER, IPPROTO_TCP, 8);
	put_be16(quote + 34, OUR_PORT);
	put_be16(quote + 36, PEER_PORT);
	put_be32(quote + 38, seq);
	at = nr_headers(pl.frame, PEER, US, IPPROTO_ICMP, 36);
	wire_icmp_emit(pl.frame + at, &h);
	memcpy(pl.frame + at + 8, quote + 14, 28);
	c = csum_finish(csum_add_scalar(pl.frame + at, 36, 0));
	memcpy(pl.frame + at + 2, &c, 2);
	assert_true(nr_arrive(&pl.n, pl.frame, at + 36, 3840));
	taken(1);
}

/* ICMP against TCP (RFC 5927): blind resets, source quench, and an MTU of nothing. */
static void test_blind_icmp(void **state)
{
	uint32_t mss;

	(void)state;
	establish();
	assert_int_equal(send_n(1000, 0), 1000);
	quiet();
	mss = tcb_of(pl.sk)->mss;
	rfc("5927", "4", "only what quotes something in flight is believed");
	for (uint32_t i = 1; i < 800; i++)
		icmp_about(A(1001) + i * BLIND_STEP, ICMP4_UNREACH, ICMP4_FRAG_NEEDED, 600);
	assert_int_equal(tcb_of(pl.sk)->mss, mss);
	rfc("5927", "5.2", "no error ends a connection that is established, hard or not");
	for (uint8_t code = 0; code < 16; code++)
		icmp_about(A(1), ICMP4_UNREACH, code, code == ICMP4_FRAG_NEEDED ? 1400 : 0);
	expect_state(ESTABLISHED);
	assert_int_equal(pl.sk->err, 0);
	rfc("5927", "6", "source quench is ignored");
	icmp_about(A(1), 4, 0, 0);
	assert_true(tcb_of(pl.sk)->cc.cwnd >= tcb_of(pl.sk)->mss * 10u);
	rfc("5927", "7", "an MTU below all sense is no smaller than 552");
	icmp_about(A(1), ICMP4_UNREACH, ICMP4_FRAG_NEEDED, 1);
	assert_true(tcb_of(pl.sk)->mss >= 552 - 40 - 12);
	rfc("5927", "7", "and it never grows");
	icmp_about(A(1), ICMP4_UNREACH, ICMP4_FRAG_NEEDED, 1500);
	assert_true(tcb_of(pl.sk)->mss <= 552 - 40);
	quiet();
}

/* Optimistic ACKs, and the "ACK of what was never sent" that makes two peers answer each other for ever. */
static void test_ack_storm(void **state)
{
	uint32_t n = 0;

	(void)state;
	establish();
	assert_int_equal(send_n(100, 0), 100);
	quiet();
	for (uint32_t i = 0; i < 1000; i++) {
		seg(TCP_F_ACK, S(1), A(5000 + i));
		while (hear())
			n++;
	}
	assert_int_equal(n, 1);
	assert_int_equal(tcb_of(pl.sk)->snd_una, A(1));
	/* Out-of-window text without a byte, over and over (RFC 5961 7; Linux's tcp_invalid_ratelimit). */
	pl.t->now += 2 * NS_PER_S;
	n = 0;
	for (uint32_t i = 0; i < 1000; i++) {
		seg(TCP_F_ACK, S(1) - 100000, A(1));
		while (hear())
			n++;
	}
	assert_true(n <= 2);
}

/* A window that stays shut (CVE-2008-4609, Sockstress): probes go on, ever more rarely, and memory is what
 * SO_SNDBUF says. */
static void test_sockstress(void **state)
{
	struct tcp_hdr h;
	uint32_t n = 0;

	(void)state;
	establish();
	h = seg_of(TCP_F_ACK, S(1), A(1));
	h.wnd = 0;
	say(&h, NULL, 0);
	while (send_n(4000, 0) > 0)
		;
	assert_true(tcb_of(pl.sk)->wmem <= pl.sk->sndbuf + 4512);
	for (uint32_t i = 0; i < 600; i++) {
		after_s(1);
		while (hear()) {
			n++;
			h = seg_of(TCP_F_ACK, S(1), A(1));
			h.wnd = 0;
			say(&h, NULL, 0);
		}
	}
	assert_in_range(n, 5, 40);
	expect_state(ESTABLISHED);
	/* An orphan of it is given up. */
	tcp_close(pl.t, pl.sk);
	pl.sk = NULL;
	for (uint32_t i = 0; i < 3000 && pl.n.r.map.seg->n_orphans; i++) {
		after_s(1);
		quiet();
	}
	assert_int_equal(pl.n.r.map.seg->n_orphans, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		large_test(test_segment_smack), large_test(test_segment_smack_deep),
		large_test(test_prune_tells_the_truth), large_test(test_sack_panic), play_test(test_urgent),
		play_test(test_lengths_that_lie), play_test(test_number_jack), play_test(test_blind),
		play_test(test_challenge_side_channel), play_test(test_blind_icmp), play_test(test_ack_storm),
		large_test(test_sockstress),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
