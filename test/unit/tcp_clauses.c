/* SPDX-License-Identifier: BSD-2-Clause */
/* Requirements that nothing else comes across (docs/rfc/musts.txt): what is so if nothing is said, who may
 * open what beside whom, what goes into the IP header, and peers that go back on their word. */
#include "test/unit/tcp_play.h"

#include "core/tcp/cc.h"
#include "wire/ip4.h"

#define M 1448u
#define OTHER "10.0.0.3"

/* The IP header of the next frame, and its segment's. */
static bool hear_ip(struct ip4_hdr *ip)
{
	static uint8_t f[70000];
	uint32_t len = nr_sent(&pl.n, f);

	if (len == 0)
		return false;
	assert_true(wire_ip4_parse(f + 14, len - 14, ip));
	assert_true(wire_tcp_parse(f + 34, len - 34, &pl.last.h));
	pl.last.len = 14u + ip->tot_len - 34 - pl.last.h.hdr_len;
	return true;
}

/* A bare segment from one address to another. */
static void seg_between(const char *from, const char *to, const struct tcp_hdr *h)
{
	struct ipaddr s = addr_of(from), d = addr_of(to);
	uint32_t n = wire_tcp_emit_len(h), at = nr_headers(pl.frame, from, to, IPPROTO_TCP, n);
	uint16_t c;

	wire_tcp_emit(pl.frame + at, h);
	c = csum_finish(csum_add_scalar(pl.frame + at, n, ip_pseudo(&s, &d, IPPROTO_TCP, n)));
	memcpy(pl.frame + at + TCP_CSUM_OFF, &c, 2);
	assert_true(nr_arrive(&pl.n, pl.frame, at + n, 3840));
	taken(1);
}

static void test_karn(void **state)
{
	struct tcp_rtt before;

	(void)state;
	pl.with_ts = false;
	establish();
	before = tcb_of(pl.sk)->rtt;
	assert_int_equal(send_n(100, 0), 100);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 100);
	after_ms(1200);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 100);
	rfc("6298", "3", "an acknowledgement of what went twice measures nothing");
	after_ms(5);
	seg(TCP_F_ACK, S(1), A(101));
	assert_int_equal(tcb_of(pl.sk)->rtt.srtt_us8, before.srtt_us8);
	assert_int_equal(tcb_of(pl.sk)->rtt.rttvar_us4, before.rttvar_us4);
	while (hear())
		;
	assert_int_equal(send_n(100, 0), 100);
	expect(TCP_F_ACK | TCP_F_PSH, A(101), S(1), 100);
	after_ms(5);
	seg(TCP_F_ACK, S(1), A(201));
	assert_int_not_equal(tcb_of(pl.sk)->rtt.srtt_us8, before.srtt_us8);
}

static void test_keepalive_defaults(void **state)
{
	(void)state;
	rfc("9293", "3.8.4", "no keepalive unless it was asked for");
	establish();
	for (uint32_t i = 0; i < 24; i++)
		after_s(3600);
	expect_nothing();
	play_end();
	play_begin();
	pl.o.keepalive = 1;
	establish();
	rfc("9293", "3.8.4", "two hours, unless something else was asked for");
	after_s(7198);
	expect_nothing();
	after_s(4);
	expect(TCP_F_ACK, A(0), S(1), 0);
	seg(TCP_F_ACK, S(1), A(1));
	play_end();
	play_begin();
	pl.o.keepalive = 1;
	pl.o.keepidle_s = 1;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	rfc("9293", "3.8.4", "no probes while data is outstanding: that is sent again");
	for (uint32_t i = 0, n = 0; i < 300; i++) {
		after_ms(100);
		while (hear()) {
			assert_int_equal(pl.last.len, 10);
			assert_int_equal(pl.last.h.seq, A(1));
			n++;
		}
		assert_true(i < 299 || n > 4);
	}
}

static void test_listen_beside(void **state)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);

	(void)state;
	connect_out();
	expect(TCP_F_SYN, A(0), 0, 0);
	rfc("9293", "3.9.1.1", "one may listen on a port of which a connection is being opened");
	listen_on(8);
	h.sport = PEER_PORT + 1;
	say(&h, NULL, 0);
	assert_true(hear());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	assert_int_equal(pl.last.h.dport, PEER_PORT + 1);
	expect_state(SYN_SENT);
	h = seg_of(TCP_F_RST, S(1), 0);
	h.sport = PEER_PORT + 1;
	say(&h, NULL, 0);
	expect_nothing();
}

static void test_local_address(void **state)
{
	struct ipaddr other = addr_of(OTHER), peer = addr_of(PEER), any = addr_of("0.0.0.0"), us = addr_of(US);
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);
	struct ip4_hdr ip;

	(void)state;
	nr_addr(&pl.n, OTHER, 24, 0);
	rfc("9293", "3.9.1.1", "a passive open of one address hears that address only");
	listen_on(8);
	seg_between(PEER, OTHER, &h);
	assert_true(hear_ip(&ip));
	assert_true(pl.last.h.flags & TCP_F_RST);
	seg_between(PEER, US, &h);
	assert_true(hear_ip(&ip));
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	assert_true(ip_eq(&ip.src, &us));
	h = seg_of(TCP_F_RST, S(1), 0);
	seg_between(PEER, US, &h);
	rfc("9293", "3.9.1.1", "an active one without address is given one, and keeps it");
	assert_int_equal(tcp_connect(pl.t, &pl.o, &any, 5001, &peer, PEER_PORT, &pl.sk), 0);
	assert_true(hear_ip(&ip));
	assert_true(ip_eq(&ip.src, &us));
	assert_true(ip_eq(&pl.sk->laddr, &us));
	pl.n.mir.generation++;
	after_ms(1050);
	assert_true(hear_ip(&ip));
	assert_true(ip_eq(&ip.src, &us));
	tcp_close(pl.t, pl.sk);
	rfc("9293", "3.9.1.1", "or goes by the one that it was told");
	assert_int_equal(tcp_connect(pl.t, &pl.o, &other, 5002, &peer, PEER_PORT, &pl.sk), 0);
	assert_true(hear_ip(&ip));
	assert_true(ip_eq(&ip.src, &other));
	tcp_close(pl.t, pl.sk);
	pl.sk = NULL;
}

static void test_invalid_remote(void **state)
{
	static const char *const nobody[] = { "224.0.0.1", "255.255.255.255", "10.0.0.255", "0.0.0.0", "240.0.0.1" };
	struct ipaddr any = addr_of("0.0.0.0"), to;

	(void)state;
	rfc("9293", "3.9.1.1", "no connection to all, or to a group");
	for (uint32_t i = 0; i < n_elems(nobody); i++) {
		to = addr_of(nobody[i]);
		assert_true(tcp_connect(pl.t, &pl.o, &any, 5001, &to, PEER_PORT, &pl.sk) < 0);
	}
	assert_int_equal(pl.n.r.map.seg->n_conns, 0);
	expect_nothing();
	pl.sk = NULL;
}

static void test_syn_to_many(void **state)
{
	static const char *const many[] = { "10.0.0.255", "255.255.255.255", "224.0.0.1" };
	struct tcp_hdr h = syn_of(TCP_F_SYN, 0);
	struct ipaddr any = addr_of("0.0.0.0");

	(void)state;
	assert_int_equal(tcp_listen(pl.t, &pl.o, &any, OUR_PORT, 8, &pl.lsk), 0);
	rfc("9293", "3.9.2.3", "a SYN to all, or to a group, is not answered");
	for (uint32_t i = 0; i < n_elems(many); i++)
		seg_between(PEER, many[i], &h);
	expect_nothing();
	assert_int_equal(count(EV_IP_NOT_OURS), n_elems(many));
	rfc("9293", "3.9.2.3", "nor is one from there");
	for (uint32_t i = 0; i < n_elems(many); i++)
		if (i)
			seg_between(many[i], US, &h);
	seg_between("127.0.0.1", US, &h);
	seg_between("0.0.0.0", US, &h);
	expect_nothing();
	assert_int_equal(count(EV_IP_BAD), n_elems(many) + 1);
	seg_between(PEER, US, &h);
	assert_true(hear());
	assert_int_equal(pl.last.h.flags, TCP_F_SYN | TCP_F_ACK);
	h = seg_of(TCP_F_RST, S(1), 0);
	say(&h, NULL, 0);
}

static void test_class_and_ttl(void **state)
{
	struct ip4_hdr ip;

	(void)state;
	pl.o.tos = 0x28;
	pl.o.ttl = 33;
	pl.o.ecn = TCP_ECN_OFF;
	connect_out();
	rfc("9293", "3.9.1.9", "the traffic class of a connection is the program's to say");
	assert_true(hear_ip(&ip));
	assert_int_equal(ip.tos, 0x28);
	assert_int_equal(ip.ttl, 33);
	after_ms(1050);
	assert_true(hear_ip(&ip));
	assert_int_equal(ip.tos, 0x28);
	assert_int_equal(ip.ttl, 33);
}

/* SACKs its fifth to second segment, then says that it has none of them. */
static void test_reneging(void **state)
{
	uint32_t blocks[1][2];

	(void)state;
	establish();
	assert_int_equal(send_n(5 * M, 0), (int64_t)(5 * M));
	while (hear())
		;
	after_ms(10);
	blocks[0][0] = A(1 + 2 * M);
	blocks[0][1] = A(1 + 5 * M);
	seg_sack(S(1), A(1), 1, (const uint32_t (*)[2])blocks);
	while (hear())
		;
	seg(TCP_F_ACK, S(1), A(1 + 2 * M));
	rfc("2018", "8", "after a time-out the first segment goes again, SACKed or not");
	for (uint32_t i = 0, k = 0; k == 0; i++) {
		assert_true(i < 40);
		after_ms(100);
		while (hear())
			k += pl.last.h.seq == A(1 + 2 * M) && pl.last.len != 0;
	}
	seg(TCP_F_ACK, S(1), A(1 + 3 * M));
	for (uint32_t i = 0; tcb_of(pl.sk)->snd_una != A(1 + 5 * M); i++) {
		assert_true(i < 60);
		after_ms(100);
		while (hear())
			if (pl.last.h.seq + pl.last.len == A(1 + 5 * M) || pl.last.h.seq == A(1 + 3 * M))
				seg(TCP_F_ACK, S(1), pl.last.h.seq + pl.last.len);
	}
}

/* What was not agreed in the SYNs is not sent after them. */
static void test_no_sack_unasked(void **state)
{
	(void)state;
	pl.with_sack = false;
	establish();
	rfc("2018", "2", "no SACK to a peer that did not say it may be sent");
	seg_text(TCP_F_ACK, S(1001), A(1), 100);
	expect(TCP_F_ACK, A(1), S(1), 0);
	assert_int_equal(pl.last.h.n_sack, 0);
	assert_false(pl.last.h.sack_permitted);
	seg_text(TCP_F_ACK, S(1), A(1), 1000);
	expect(TCP_F_ACK, A(1), S(1101), 0);
	assert_int_equal(recv_n(2000, 0), 1100);
	while (hear())
		;
}

static void test_first_window_after_lost_syns(void **state)
{
	struct tcp_hdr h = syn_of(TCP_F_SYN | TCP_F_ACK, 0);

	(void)state;
	connect_out();
	after_ms(1010);
	after_ms(2010);
	while (hear())
		;
	h.ack = A(1);
	h.ts_ecr = pl.last.h.ts_val;
	rfc("5681", "3.1", "a SYN that was lost leaves a first window of one segment; Linux forgives one");
	say(&h, NULL, 0);
	expect_state(ESTABLISHED);
	assert_int_equal(tcb_of(pl.sk)->cc.cwnd, tcb_of(pl.sk)->mss);
	while (hear())
		;
}

static void test_ssthresh_held(void **state)
{
	uint32_t once;

	(void)state;
	establish();
	assert_int_equal(send_n(8 * M, 0), (int64_t)(8 * M));
	after_ms(700);
	once = tcb_of(pl.sk)->cc.ssthresh;
	assert_true(once < 8 * M);
	rfc("5681", "3.1", "the second time-out of a segment does not lower ssthresh again");
	after_ms(2000);
	after_ms(4000);
	assert_true(tcb_of(pl.sk)->n_rtx >= 2);
	assert_int_equal(tcb_of(pl.sk)->cc.ssthresh, once);
	while (hear())
		;
	seg(TCP_F_ACK, S(1), tcb_of(pl.sk)->snd_nxt);
}

static void test_timer_starts_anew(void **state)
{
	uint64_t was;

	(void)state;
	establish();
	assert_int_equal(send_n(2 * M, 0), (int64_t)(2 * M));
	while (hear())
		;
	was = tcb_of(pl.sk)->rtx_at;
	assert_true(was != NEVER_NS);
	after_ms(100);
	rfc("6298", "5.3", "an acknowledgement of new data starts the timer anew");
	seg(TCP_F_ACK, S(1), A(1 + M));
	assert_true(tcb_of(pl.sk)->rtx_at >= was + 90 * NS_PER_MS);
	assert_true(tcb_of(pl.sk)->rtx_at != NEVER_NS);
	rfc("6298", "5.2", "with all acknowledged it stops");
	seg(TCP_F_ACK, S(1), A(1 + 2 * M));
	assert_true(tcb_of(pl.sk)->rtx_at == NEVER_NS);
	while (hear())
		;
}

static void test_three_seconds(void **state)
{
	struct tcp_hdr h;

	(void)state;
	pl.with_ts = false;
	connect_out();
	after_ms(1010);
	while (hear())
		;
	h = syn_of(TCP_F_SYN | TCP_F_ACK, A(1));
	say(&h, NULL, 0);
	expect_state(ESTABLISHED);
	while (hear())
		;
	rfc("6298", "5.7", "a SYN that timed out and measured nothing leaves a time-out of three seconds");
	assert_int_equal(tcp_rtt_rto_ns(&tcb_of(pl.sk)->rtt, 0), 3 * NS_PER_S);
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	after_ms(2900);
	while (hear())
		assert_true(pl.last.len == 0 || count(EV_TCP_RTO) == 1);
	after_ms(5);
	seg(TCP_F_ACK, S(1), A(11));
}

/* Duplicates that a time-out's own retransmissions make begin nothing. */
static void test_no_second_recovery(void **state)
{
	uint32_t cwnd;

	(void)state;
	pl.with_sack = false;
	establish();
	assert_int_equal(send_n(8 * M, 0), (int64_t)(8 * M));
	while (hear())
		;
	after_ms(700);
	while (hear())
		;
	assert_int_equal(tcb_of(pl.sk)->ca_state, TCP_CA_LOSS);
	cwnd = tcb_of(pl.sk)->cc.ssthresh;
	rfc("6582", "3.2", "duplicates below what was in flight at the time-out begin no fast recovery");
	for (uint32_t i = 0; i < 4; i++) {
		seg(TCP_F_ACK, S(1), A(1));
		assert_int_equal(tcb_of(pl.sk)->ca_state, TCP_CA_LOSS);
	}
	assert_int_equal(tcb_of(pl.sk)->cc.ssthresh, cwnd);
	while (hear())
		;
	seg(TCP_F_ACK, S(1), tcb_of(pl.sk)->snd_nxt);
}

static void test_stamp_clock(void **state)
{
	uint32_t was;

	(void)state;
	establish();
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(1), S(1), 10);
	was = pl.last.h.ts_val;
	seg(TCP_F_ACK, S(1), A(11));
	after_ms(1000);
	rfc("7323", "5.4", "our timestamps count milliseconds");
	assert_int_equal(send_n(10, 0), 10);
	expect(TCP_F_ACK | TCP_F_PSH, A(11), S(1), 10);
	assert_in_range(pl.last.h.ts_val - was, 999, 1001);
	seg(TCP_F_ACK, S(1), A(21));
}

static void test_css_growth(void **state)
{
	struct tcp_cc c;

	(void)state;
	tcp_cc_init(&c, TCP_CC_CUBIC, M);
	tcp_cc_on_ack(&c, 2 * M, NS_PER_S, 20000);
	assert_int_equal(c.cwnd, 12 * M);
	c.hs.css = 1;
	rfc("9406", "4.2", "a quarter of slow start's growth in the conservative phase");
	tcp_cc_on_ack(&c, 2 * M, NS_PER_S, 20000);
	tcp_cc_on_ack(&c, 2 * M, NS_PER_S, 20000);
	assert_int_equal(c.cwnd, 13 * M);
}

static void test_cubic_idle(void **state)
{
	struct tcp_cc c, idle;
	uint64_t now = 10 * NS_PER_S;

	(void)state;
	tcp_cc_init(&c, TCP_CC_CUBIC, M);
	c.cwnd = 1000 * M;
	c.ssthresh = tcp_cc_ops(&c)->on_loss(&c);
	c.cwnd = c.ssthresh;
	for (uint32_t i = 0; i < 20; i++, now += 100 * NS_PER_MS)
		tcp_cc_on_ack(&c, c.cwnd, now, 100000);
	idle = c;
	rfc("9438", "5.8", "the curve does not go on while nothing is sent");
	tcp_cc_ops(&idle)->on_idle(&idle, 30 * NS_PER_S, now + 30 * NS_PER_S, true);
	for (uint32_t i = 0; i < 10; i++, now += 100 * NS_PER_MS) {
		tcp_cc_on_ack(&c, c.cwnd, now, 100000);
		tcp_cc_on_ack(&idle, idle.cwnd, now + 30 * NS_PER_S, 100000);
	}
	assert_in_range(idle.cwnd, c.cwnd - 2 * M, c.cwnd + 2 * M);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		play_test(test_karn), play_test(test_keepalive_defaults), play_test(test_listen_beside),
		play_test(test_local_address), play_test(test_invalid_remote), play_test(test_syn_to_many),
		play_test(test_class_and_ttl), play_test(test_reneging), play_test(test_no_sack_unasked),
		play_test(test_first_window_after_lost_syns), play_test(test_ssthresh_held),
		play_test(test_timer_starts_anew), play_test(test_three_seconds), play_test(test_no_second_recovery),
		play_test(test_stamp_clock), cmocka_unit_test(test_css_growth), cmocka_unit_test(test_cubic_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
