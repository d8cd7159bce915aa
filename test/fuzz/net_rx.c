/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Anything that may reach net_rx(), in front of a stack that has a bit of everything: TCP
 * listeners, a connection that was opened and one that was accepted, with data both ways, UDP
 * sockets of both kinds. The input is a little language: frames as they are, or segments
 * whose numbers are given relative to what the connection expects and whose sums are right,
 * so that the fuzzer gets past the first checks; and between them the user, the clock and the
 * device do something.
 *
 * After each step the stack and all sockets must hold their invariants. At the end everything
 * is closed, time runs out, and every frame and slot is back.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define TEST_UNIT_PANIC_H	/* the rig without cmocka's panic; ours follows */
#include "base/must.h"
#include "test/unit/net_rig.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include "core/net/net.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"
#include "wire/tcp.h"

void onramp_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

#define N_HANDLES 8

static struct net_rig n;
static struct turn *t;
static sk_h conn[N_HANDLES];	/* TCP connections the user holds */
static sk_h lsn[2], udp[3];

/* What the peer of our two standing connections knows. */
static struct peer {
	uint16_t lport, rport;	/* ours, the peer's */
	uint32_t seq;		/* the next that we expect of it */
	uint32_t ack;		/* the next that it expects of us */
	uint32_t ts;		/* our latest timestamp */
} peer[2];

static uint8_t frame[70000], bytes[8192];

/* ---- reading the input ---------------------------------------------------------------------- */

static struct { const uint8_t *p; size_t n; } in;

static uint32_t take(uint32_t k)
{
	uint32_t v = 0;

	for (; k && in.n; k--, in.n--)
		v = v << 8 | *in.p++;
	return v;
}

/* ---- frames ------------------------------------------------------------------------------------ */

/* Finishes the transport checksum of a frame built by nr_headers(). */
static void finish(uint8_t *p, uint32_t at, uint32_t len, const char *s, const char *d, uint8_t proto)
{
	struct ipaddr src = addr_of(s), dst = addr_of(d);
	uint32_t off = proto == IPPROTO_TCP ? TCP_CSUM_OFF : 6;
	uint16_t c;

	memset(p + at + off, 0, 2);
	c = csum_finish(csum_add_scalar(p + at, len, ip_pseudo(&src, &dst, proto, len)));
	memcpy(p + at + off, &c, 2);
}

static void arrive(const uint8_t *p, uint32_t len, uint32_t piece)
{
	(void)!nr_arrive(&n, p, len, piece ? piece : 3840);
}

static void send_segment(uint16_t sport, uint16_t dport, const struct tcp_hdr *h, const uint8_t *opts,
			 uint32_t n_opts, uint32_t n_data)
{
	uint32_t hdr, at;
	struct tcp_hdr copy = *h;

	copy.sport = sport;
	copy.dport = dport;
	n_opts = min_u32(n_opts & ~3u, 40);
	at = nr_headers(frame, "10.0.0.2", "10.0.0.1", IPPROTO_TCP,
			(n_opts ? 20 + n_opts : wire_tcp_emit_len(h)) + n_data);
	hdr = wire_tcp_emit(frame + at, &copy);
	if (n_opts) {
		memcpy(frame + at + 20, opts, n_opts);
		hdr = 20 + n_opts;
		frame[at + 12] = (uint8_t)(hdr / 4 << 4);
	}
	memcpy(frame + at + hdr, bytes, n_data);
	finish(frame, at, hdr + n_data, "10.0.0.2", "10.0.0.1", IPPROTO_TCP);
	arrive(frame, at + hdr + n_data, 0);
}

/* What we sent, read by the peer: it learns where we are. */
static void drain(void)
{
	struct ip4_hdr ip;
	struct tcp_hdr h;
	uint32_t len;

	while ((len = nr_sent(&n, frame)) != 0) {
		if (!wire_ip4_parse(frame + 14, len - 14, &ip) || ip.proto != IPPROTO_TCP ||
		    !wire_tcp_parse(frame + 34, len - 34, &h))
			continue;
		must(csum_finish(csum_add_scalar(frame + 34, len - 34,
						 ip_pseudo(&ip.src, &ip.dst, 6, len - 34))) == 0);
		for (int i = 0; i < 2; i++) {
			uint32_t end = h.seq + len - 34 - h.hdr_len +
				       !!(h.flags & TCP_F_SYN) + !!(h.flags & TCP_F_FIN);

			if (peer[i].lport != h.sport || peer[i].rport != h.dport || h.flags & TCP_F_RST)
				continue;
			if ((int32_t)(end - peer[i].ack) > 0 || h.flags & TCP_F_SYN)
				peer[i].ack = end;
			if (h.flags & TCP_F_ACK)
				peer[i].seq = h.ack;
			if (h.has_ts)
				peer[i].ts = h.ts_val;
		}
	}
}

/* ---- the stack ------------------------------------------------------------------------------------ */

static void check(void)
{
	must(stack_check(t) == 0);
	for (uint32_t i = 1; i < n.r.map.seg->used_sk; i++) {
		struct sk *sk = sk_slot(t, i);

		if (sk->kind == SK_UDP)
			udp_check(t, sk);
		else if (sk->kind != SK_FREE)
			tcp_check(t, sk);
	}
}

static void turn_over(void)
{
	t->budget = TURN_BUDGET;
	while (net_rx(t) && t->budget)
		;
	net_tick(t);
	net_tx(t);
	drain();
}

static void run(void)
{
	turn_over();
	check();
}

static sk_h keep(struct sk *sk)
{
	sk_ref(t, sk, 0);
	return sk_handle(sk);
}

static void open_sockets(void)
{
	struct ipaddr any = addr_of("0.0.0.0"), any6 = addr_of("::"), to = addr_of("10.0.0.2");
	struct tcp_hdr syn = { .seq = 5000, .flags = TCP_F_SYN, .wnd = 65535, .has_mss = true,
			       .mss = 1460, .has_ts = true, .ts_val = 1, .has_ws = true, .ws = 7,
			       .sack_permitted = true };
	struct tcp_hdr ack = { .flags = TCP_F_ACK, .wnd = 500, .has_ts = true, .ts_val = 2 };
	struct tcp_opts o;
	struct sk *sk;

	tcp_opts_default(&o);
	must(tcp_listen(t, &o, &any, 80, 4, &sk) == 0);
	lsn[0] = keep(sk);
	must(tcp_listen(t, &o, &any6, 81, 4, &sk) == 0);
	lsn[1] = keep(sk);
	must(udp_open(t, &any, 53, &sk) == 0);
	udp[0] = keep(sk);
	must(udp_open(t, &any6, 54, &sk) == 0);
	udp[1] = keep(sk);
	must(udp_open(t, &any, 55, &sk) == 0 && udp_connect(t, sk, &to, 9) == 0);
	udp[2] = keep(sk);
	must(port_block_add(t, 40000) == 0);

	/* Opened: our SYN, the peer's SYN-ACK. */
	peer[0] = (struct peer){ .lport = 1000, .rport = 2000 };
	must(tcp_connect(t, &o, &any, 1000, &to, 2000, &sk) == 0);
	conn[0] = keep(sk);
	run();
	syn.flags = TCP_F_SYN | TCP_F_ACK;
	syn.ack = peer[0].ack;
	syn.ts_ecr = peer[0].ts;
	send_segment(2000, 1000, &syn, NULL, 0, 0);
	peer[0].seq = 5001;
	run();
	must(sk->state == TCP_S_ESTABLISHED);

	/* Accepted: the peer's SYN, our SYN-ACK, its ACK. */
	peer[1] = (struct peer){ .lport = 80, .rport = 3000 };
	syn.flags = TCP_F_SYN;
	syn.ack = 0;
	syn.ts_ecr = 0;
	send_segment(3000, 80, &syn, NULL, 0, 0);
	run();
	ack.seq = 5001;
	ack.ack = peer[1].ack;
	ack.ts_ecr = peer[1].ts;
	send_segment(3000, 80, &ack, NULL, 0, 0);
	run();
	sk = tcp_accept(t, sk_find(t, lsn[0]));
	must(sk && sk->state == TCP_S_ESTABLISHED);
	conn[1] = keep(sk);
}

/* ---- the steps -------------------------------------------------------------------------------------- */

/* Bytes as they are, in pieces of some size; sums made right on request. */
static void step_raw(uint32_t how)
{
	uint32_t want = take(1), more = how & 3 ? take(1) * 256u : 0;
	uint32_t k = min_u32(want, (uint32_t)in.n), len = k + more;
	uint16_t c;

	memset(frame, 0, 600);
	memcpy(frame, in.p, k);
	in.p += k;
	in.n -= k;
	if (how & 4 && k >= 34) {
		put_be16(frame + 12, ETH_TYPE_IP4);
		memset(frame + 24, 0, 2);
		c = csum_finish(csum_add_scalar(frame + 14, (frame[14] & 0xfu) * 4, 0));
		memcpy(frame + 24, &c, 2);
	}
	arrive(frame, min_u32(max_u32(len, 1), 65000), how & 8 ? 1 + take(1) : 0);
}

/* A segment of one of the two connections, nearly right. */
static void step_segment(uint32_t how)
{
	struct peer *p = &peer[how & 1];
	uint32_t flags = take(1), n_data = how & 2 ? take(2) % 3000 : take(1) % 4, ts = take(1);
	struct tcp_hdr h = {
		.seq = p->seq + (uint32_t)(int16_t)(how & 4 ? take(2) : 0),
		.ack = p->ack + (uint32_t)(int16_t)(how & 8 ? take(2) : 0),
		.flags = (uint8_t)(flags ? flags : TCP_F_ACK), .wnd = (uint16_t)(how & 16 ? take(2) : 500),
		.urg = (uint16_t)(flags & TCP_F_URG ? take(1) : 0), .has_ts = ts != 255,
		.ts_val = 2 + ts, .ts_ecr = p->ts - (how & 32 ? take(1) : 0),
	};

	if (how & 64) {
		h.n_sack = (uint8_t)(1 + take(1) % 3);
		for (uint32_t i = 0; i < h.n_sack; i++) {
			h.sack[i][0] = p->ack + (uint32_t)(int16_t)take(2);
			h.sack[i][1] = h.sack[i][0] + take(2);
		}
	}
	send_segment(p->rport, p->lport, &h, NULL, 0, n_data);
}

/* A segment to a listener, or to nobody, with any options. */
static void step_stranger(uint32_t how)
{
	uint8_t opts[40];
	uint32_t n_opts = how & 1 ? take(1) % 44 & ~3u : 0;
	struct tcp_hdr h = {
		.seq = take(how & 2 ? 4 : 1), .ack = take(how & 4 ? 4 : 1),
		.flags = (uint8_t)(how & 8 ? take(1) : TCP_F_SYN), .wnd = (uint16_t)take(2),
		.has_mss = !(how & 16), .mss = 1460,
	};
	uint16_t dport = how & 32 ? 81 : how & 64 ? 7 : 80;

	n_opts = min_u32(n_opts, 40);
	for (uint32_t i = 0; i < n_opts; i++)
		opts[i] = (uint8_t)take(1);
	send_segment((uint16_t)(4000 + take(1) % 8), dport, &h, opts, n_opts, how & 128 ? take(1) : 0);
}

static void step_datagram(uint32_t how)
{
	bool six = how & 1;
	uint32_t len = how & 2 ? take(2) % 8000 : take(1);
	uint32_t k = nr_udp(frame, six ? "fd00::2" : "10.0.0.2", (uint16_t)(how & 4 ? 9 : take(1)),
			    six ? "fd00::1" : "10.0.0.1", (uint16_t)(53 + take(1) % 4), bytes, len);

	arrive(frame, k, how & 8 ? 1 + take(1) : 0);
}

/* An error about one of our flows. */
static void step_icmp(uint32_t how)
{
	struct icmp_hdr h = { (uint8_t)(how & 1 ? ICMP4_UNREACH : take(1)), (uint8_t)(take(1) % 17), 0,
			      take(2) };
	struct peer *p = &peer[how >> 1 & 1];
	bool is_udp = how & 4;
	uint8_t quote[100] = { 0 };
	uint32_t at;
	uint16_t c;

	nr_headers(quote, "10.0.0.1", "10.0.0.2", is_udp ? IPPROTO_UDP : IPPROTO_TCP, 8);
	put_be16(quote + 34, is_udp ? 55 : p->lport);
	put_be16(quote + 36, is_udp ? 9 : p->rport);
	put_be32(quote + 38, p->ack - (how & 8 ? take(2) : 0));
	at = nr_headers(frame, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP, 36);
	wire_icmp_emit(frame + at, &h);
	memcpy(frame + at + 8, quote + 14, 28);
	c = csum_finish(csum_add_scalar(frame + at, 36, 0));
	memcpy(frame + at + 2, &c, 2);
	arrive(frame, at + 36, 0);
}

static void step_user_tcp(uint32_t how, struct sk *sk, sk_h *slot)
{
	static uint8_t buf[8192];
	struct iovec v = { how & 8 ? buf : bytes, take(2) % 8192 };

	switch (how & 7) {
	case 0: case 1:
		(void)!tcp_send(t, sk, &v, 1, how >> 4 & 3);
		break;
	case 2: case 3: case 4:
		v.iov_base = buf;
		(void)!tcp_recv(t, sk, &v, 1, how >> 4 & 7, 0);
		break;
	case 5:
		(void)!tcp_shutdown(t, sk, (int)(take(1) % 3));
		break;
	case 6:
		if (sk_unref(t, sk, 0))
			net_close(t, sk);
		slot->v = 0;
		break;
	default: {
		struct tcp_opts o;

		tcp_get_opts(t, sk, &o);
		o.nodelay = how >> 4 & 1;
		o.cork = how >> 5 & 1;
		o.keepalive = how >> 6 & 1;
		o.linger_s = how >> 7 & 1 ? 0 : -1;
		tcp_set_opts(t, sk, &o);
	}
	}
}

static void step_user(uint32_t how)
{
	sk_h *slot = &conn[how % N_HANDLES];
	struct sk *sk = slot->v ? sk_find(t, *slot) : NULL;

	if (sk) {
		step_user_tcp(take(1), sk, slot);
		return;
	}
	sk = sk_find(t, lsn[how >> 3 & 1]);
	sk = sk ? tcp_accept(t, sk) : NULL;
	slot->v = 0;
	if (sk)
		*slot = keep(sk);
}

/* All that a datagram socket can be told to do otherwise. */
static void step_udp_opts(struct sk *sk, uint32_t how)
{
	struct udp_opts o;

	udp_get_opts(t, sk, &o);
	o.recverr4 = how & 1;
	o.recverr6 = how >> 1 & 1;
	o.pmtud4 = o.pmtud6 = how >> 2 & 3;
	o.no_check = how >> 4 & 1;
	o.seg = how & 32 ? (uint16_t)(how & 0xff) : 0;
	o.ttl = o.hops = (uint8_t)how;
	udp_set_opts(t, sk, &o);
}

static void step_user_udp(uint32_t how)
{
	static uint8_t buf[2000];
	struct sk *sk = sk_find(t, udp[how % 3]);
	struct iovec v = { buf, sizeof(buf) }, w = { bytes, take(1) * 6u };
	struct udp_addr to = { addr_of("10.0.0.2"), (uint16_t)(1 + take(1)) };

	if (!sk)
		return;
	if (how & 4)
		step_udp_opts(sk, take(1));
	if ((how & 80) == 80)
		(void)!udp_recv_error(t, sk, &v, 1, &(struct udp_arrival){ .full = 0 },
				      &(struct udp_trouble){ .err = 0 });
	else if (how & 16)
		(void)!udp_recv(t, sk, &v, 1, how >> 5 & 3, NULL);
	else
		(void)!udp_send(t, sk, &w, 1, &(struct udp_out){ .to = how & 32 ? &to : NULL });
}

static void step_world(uint32_t how)
{
	switch (how & 7) {
	case 0:
		n.mir.neighs[0].flags = how & 8 ? NEIGH_VALID : how & 16 ? NEIGH_FAILED : 0;
		n.mir.generation++;
		break;
	case 1:
		n.mir.links[0].mtu = how & 8 ? 1500 : how & 16 ? 576 : 9000;
		n.mir.generation++;
		break;
	case 2:
		n.r.map.vi[0].flags ^= VIF_F_PARTIAL_CSUM;
		break;
	case 3: case 4:
		t->now += (uint64_t)take(2) * NS_PER_MS;
		break;
	default:
		t->now += (uint64_t)take(1) * 100 * NS_PER_US;
		break;
	}
}

static void step(void)
{
	uint32_t what = take(1), how = take(1);

	switch (what % 10) {
	case 0: step_raw(how); break;
	case 1: case 2: case 3: step_segment(how); break;
	case 4: step_stranger(how); break;
	case 5: step_datagram(how); break;
	case 6: step_icmp(how); break;
	case 7: step_user(how); break;
	case 8: step_user_udp(how); break;
	default: step_world(how); break;
	}
	if (!(what & 128))	/* else the next one meets it in the same batch */
		run();
}

/* ---- the end ------------------------------------------------------------------------------------------- */

static void close_one(sk_h h)
{
	struct sk *sk = h.v ? sk_find(t, h) : NULL;

	if (sk && sk_unref(t, sk, 0))
		net_close(t, sk);
}

static void end(void)
{
	run();
	for (uint32_t i = 0; i < N_HANDLES; i++)
		close_one(conn[i]);
	for (uint32_t i = 0; i < 3; i++)
		close_one(udp[i]);
	close_one(lsn[0]);
	close_one(lsn[1]);
	n.mir.neighs[0].flags = NEIGH_VALID;
	n.mir.generation++;
	/* Orphans, linger and TIME_WAIT have their times; no peer answers. */
	for (uint32_t i = 0; i < 2000 && n.r.map.seg->n_conns; i++) {
		uint64_t at = net_deadline(t);

		must(at != NEVER_NS);
		t->now = max_u64(t->now + (i < 200 ? NS_PER_MS : NS_PER_S), at);
		turn_over();
	}
	check();
	must(n.r.map.seg->n_conns == 0);
	nr_free(&n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(conn, 0, sizeof(conn));
	nr_make(&n);
	t = &n.r.t;
	in.p = data;
	in.n = size;
	open_sockets();
	for (uint32_t i = 0; i < 200 && in.n; i++)
		step();
	end();
	return 0;
}
