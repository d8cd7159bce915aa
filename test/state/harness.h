/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP by segment tables. A row is a clause, what it says, and a script that is played against
 * one stack over hand-made rings, in IPv4 and IPv6, with the options agreed and without, with
 * sequence numbers that are ordinary, that wrap and that change sign: each row counts
 * N_VARIANTS times. After each word of the script the control block's invariants are checked.
 *
 *	<FLAGS k=v ...	a segment from the peer. seq= counts from what the peer is to send
 *			next, ack= from the first number that we have in flight (both as they
 *			were when the setup ended), or from W, the right edge of the window,
 *			N, our next number, S, our latest SYN, Z, zero: seq=W+1. len= wnd= urg= ts= (from the latest)
 *			ecr= ws= mss= raw=HEX (options) nots off=WORDS sport= bad=1 (checksum)
 *	>FLAGS k=v ...	what we send, in order; all that is sent must be listed. seq= ack= len=
 *			wnd= urg= sack=FROM-TO (first block, if SACK is agreed) ts=0|1 ecr= mss=
 *			ws=0|1. Where they are not
 *			given, a segment of the connection must carry its snd_nxt and rcv_nxt.
 *	!CALL[:ARG][=R]	connect listen accept send urg recv peek oob shut close abort err
 *			unlisten linger linger2 defer inline rcvbuf; R is what it returns
 *	+MS		time passes, timers run
 *
 * then the state (GONE: no socket left; LISTEN: only a listener), poll()'s bits, the pending
 * error, an event that was counted once, and the next deadline.
 */
#ifndef TEST_STATE_HARNESS_H
#define TEST_STATE_HARNESS_H

#include "test/unit/net_rig.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "core/net/net.h"
#include "core/tcp/parts.h"

#define rfc(number, text) .rfc = (number), .clause = (text)
#define LINUX .rfc = "Linux", .clause = "-"

#define OUR_PORT  5000
#define PEER_PORT 7000
#define GONE	  200
#define SLACK_MS  3	/* what a deadline may be off */

enum { EVERY, WITH, WITHOUT, PLAIN4, PLAIN6 };	/* row.only: variants with options, or without; of these IPv4, IPv6 */

struct row {
	const char *rfc, *clause, *what;
	const char *script;
	int state;
	const char *ready;	/* of "iophre": IN OUT PRI HUP RDHUP ERR; NULL: as the state has it */
	int ev;			/* counted once since the setup; 0: not looked at */
	int64_t at;		/* ms to the next deadline; -1: none; 0: not looked at */
	int err;		/* pending at the end */
	int only;
	const char *setup;	/* instead of the table's */
};

struct variant { bool v6, opts; uint32_t iss, irs, peer_ts; };

struct play {
	struct net_rig n;
	const struct row *row;
	const struct variant *v;
	sk_h sk, lsk;
	uint32_t lbase, rbase;	/* what seq= and ack= count from */
	uint32_t edge, nxt;	/* W and N */
	uint32_t last_ts;	/* the latest that we sent */
	uint32_t last_syn;	/* S: number of the latest SYN that we sent */
	uint8_t snd_ws;		/* the peer's own scale, ours to apply to its windows */
	bool lbase_known, failed;
	uint8_t out[70000];
	uint32_t out_len;
	uint64_t counted[N_EVENTS];
	struct tcp_opts opts;
};

static const struct variant variants[] = {
	{ false, true, 0, 1000, 500000 },
	{ true, true, 0xffffffff, 0xfffffffe, 0xfffffff0 },
	{ false, true, 0x7fffffff, 0x7ffffffe, 0x7ffffff0 },
	{ true, false, 0, 1000, 0 },
	{ false, false, 0xffffffff, 0xfffffffe, 0 },
	{ true, false, 0x7fffffff, 0x7ffffffe, 0 },
};
#define N_VARIANTS (sizeof(variants) / sizeof(variants[0]))

static uint32_t rows_played, variants_played, rows_failed;

#define complain(p, ...) complain_at(p, word, __VA_ARGS__)
__attribute__((format(printf, 3, 4)))
static void complain_at(struct play *p, const char *word, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	if (p->failed)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	p->failed = true;
	print_error("RFC %s %s: %s [IPv%c, %s, ISS %x]\n\t%s\n\tat \"%.24s\": %s\n", p->row->rfc,
		    p->row->clause, p->row->what, p->v->v6 ? '6' : '4',
		    p->v->opts ? "options" : "no options", p->v->iss, p->row->script, word, text);
}

/* ---- the sockets ---------------------------------------------------------------------------- */

static const char *our_addr(const struct play *p) { return p->v->v6 ? "fd00::1" : "10.0.0.1"; }
static const char *peer_addr(const struct play *p) { return p->v->v6 ? "fd00::2" : "10.0.0.2"; }

static struct sk *conn(struct play *p)
{
	struct ipaddr l = addr_of(our_addr(p)), r = addr_of(peer_addr(p));
	struct sk *sk = p->sk.v ? sk_find(&p->n.r.t, p->sk) : NULL;
	struct sk *found = NULL;

	if (!sk || sk->state == TCP_S_CLOSED)
		found = flow_find(&p->n.r.t, IPPROTO_TCP, &l, OUR_PORT, &r, PEER_PORT);
	if (found) {
		sk = found;
		p->sk = sk_handle(sk);
	}
	return sk;
}

static struct sk *listener(struct play *p)
{
	struct sk *sk = p->lsk.v ? sk_find(&p->n.r.t, p->lsk) : NULL;

	return sk && sk->state == TCP_S_LISTEN ? sk : NULL;
}

static int state_now(struct play *p)
{
	struct sk *sk = conn(p);

	if (sk)
		return sk->state;
	return listener(p) ? TCP_S_LISTEN : GONE;
}

static const char *state_text(int state)
{
	return state == GONE ? "GONE" : tcp_state_name((unsigned)state);
}

static void check_all(struct play *p)
{
	for (uint32_t i = 1; i <= p->n.r.map.sk_mask; i++) {
		struct sk *sk = sk_slot(&p->n.r.t, i);

		if (sk->kind == SK_TCP || sk->kind == SK_LISTEN)
			tcp_check(&p->n.r.t, sk);
	}
}

/* Time moves on to the instant at which the next ISN of this tuple is the variant's. */
static void set_iss(struct play *p)
{
	struct sk *k;

	if (p->v->iss == 0)
		return;
	k = sk_get(&p->n.r.t, SK_TCP, IPPROTO_TCP);
	must(k);
	k->laddr = addr_of(our_addr(p));
	k->raddr = addr_of(peer_addr(p));
	k->lport = OUR_PORT;
	k->rport = PEER_PORT;
	p->n.r.t.now += (uint64_t)(uint32_t)(p->v->iss - tcp_new_isn(&p->n.r.t, k)) << 6;
	sk_put(&p->n.r.t, k);
}

/* ---- words --------------------------------------------------------------------------------------- */

/* The value after "key=" among the words up to the next verb; false: not there. */
static bool arg(const char *word, const char *key, char *ret, size_t n)
{
	size_t k = strlen(key), i = 0;

	for (const char *s = strchr(word, ' '); s; s = strchr(s, ' ')) {
		s += strspn(s, " ");
		if (strchr("<>!+", *s))
			return false;
		if (strncmp(s, key, k) || (s[k] != '=' && s[k] != ' ' && s[k] != '\0'))
			continue;
		s += k + (s[k] == '=');
		while (*s && *s != ' ' && i + 1 < n)
			ret[i++] = *s++;
		ret[i] = '\0';
		return true;
	}
	return false;
}

/* A number relative to base, or to the letter in front of it. */
static uint32_t number(const struct play *p, const char *s, uint32_t base)
{
	if (isupper((unsigned char)*s)) {
		base = *s == 'W' ? p->edge : *s == 'N' ? p->nxt : *s == 'S' ? p->last_syn : 0;
		s++;
	}
	return base + (uint32_t)strtol(s, NULL, 0);
}

static uint32_t arg_num(const struct play *p, const char *word, const char *key, uint32_t base,
			uint32_t otherwise)
{
	char s[64];

	return arg(word, key, s, sizeof(s)) ? number(p, s, base) : otherwise;
}

static uint8_t flags_of(const char *word)
{
	static const char letters[] = "FSRPAUEC";
	uint8_t f = 0;

	for (word++; *word && *word != ' '; word++) {
		const char *at = strchr(letters, *word);

		must(at || *word == '-');
		f |= at ? (uint8_t)(1u << (at - letters)) : 0;
	}
	return f;
}

/* ---- a segment from the peer ------------------------------------------------------------------------ */

static uint32_t hex_options(const char *s, uint8_t *o)
{
	uint32_t n = 0;
	unsigned byte;

	for (; sscanf(s, "%2x", &byte) == 1; s += 2)
		o[n++] = (uint8_t)byte;
	while (n % 4)
		o[n++] = 0;
	return n;
}

static void peer_header(struct play *p, const char *word, struct tcp_hdr *h)
{
	char s[64];
	bool syn;

	memset(h, 0, sizeof(*h));
	h->flags = flags_of(word);
	syn = h->flags & TCP_F_SYN;
	h->sport = (uint16_t)arg_num(p, word, "sport", 0, PEER_PORT);
	h->dport = OUR_PORT;
	h->seq = arg_num(p, word, "seq", p->rbase, p->rbase);
	h->ack = h->flags & TCP_F_ACK ? arg_num(p, word, "ack", p->lbase, p->lbase) : 0;
	h->urg = (uint16_t)arg_num(p, word, "urg", 0, 0);
	h->wnd = (uint16_t)(arg_num(p, word, "wnd", 0, 60000) >> (syn ? 0 : p->snd_ws));
	h->has_ts = p->v->opts && !arg(word, "nots", s, sizeof(s));
	h->ts_val = arg_num(p, word, "ts", p->v->peer_ts, p->v->peer_ts);
	h->ts_ecr = arg_num(p, word, "ecr", p->last_ts, p->last_ts);
	if (!syn)
		return;
	h->has_mss = true;
	h->mss = (uint16_t)arg_num(p, word, "mss", 0, 1460);
	h->has_ws = h->sack_permitted = p->v->opts;
	h->ws = (uint8_t)arg_num(p, word, "ws", 0, 2);
	if (h->has_ws)
		p->snd_ws = h->ws;
	if (!(h->flags & TCP_F_ACK))
		h->ts_ecr = 0;
}

static void inject(struct play *p, const char *word)
{
	uint8_t f[4096];
	struct ipaddr src = addr_of(peer_addr(p)), dst = addr_of(our_addr(p));
	struct tcp_hdr h;
	uint32_t at, n, len = arg_num(p, word, "len", 0, 0);
	uint16_t c;
	char s[128];

	peer_header(p, word, &h);
	at = p->v->v6 ? 54 : 34;
	memset(f, 0, sizeof(f));
	if (arg(word, "raw", s, sizeof(s))) {
		h.has_ts = h.has_mss = h.has_ws = h.sack_permitted = false;
		n = wire_tcp_emit(f + at, &h);
		n += hex_options(s, f + at + n);
		f[at + 12] = (uint8_t)(n / 4 << 4);
	} else {
		n = wire_tcp_emit(f + at, &h);
	}
	if (arg(word, "off", s, sizeof(s)))
		f[at + 12] = (uint8_t)(atoi(s) << 4);
	if (h.flags & TCP_F_URG || h.urg)
		put_be16(f + at + 18, h.urg);
	for (uint32_t i = 0; i < len; i++)
		f[at + n + i] = (uint8_t)('a' + (h.seq + i - p->rbase) % 26);
	c = csum_finish(csum_add_scalar(f + at, n + len,
					ip_pseudo(&src, &dst, IPPROTO_TCP, n + len)));
	memcpy(f + at + TCP_CSUM_OFF, &c, 2);
	f[at + TCP_CSUM_OFF] ^= (uint8_t)arg_num(p, word, "bad", 0, 0);
	nr_headers(f, peer_addr(p), our_addr(p), IPPROTO_TCP, n + len);
	must(nr_arrive(&p->n, f, at + n + len, 4000));
	p->n.r.t.budget = TURN_BUDGET;
	net_rx(&p->n.r.t);
	net_tx(&p->n.r.t);
}

/* ---- what we send --------------------------------------------------------------------------------------- */

static bool next_out(struct play *p)
{
	if (p->out_len == 0)
		p->out_len = nr_sent(&p->n, p->out);
	return p->out_len != 0;
}

/* The TCP header of the frame in p->out, the rest being sound; the length of its text or -1. */
static int parse_out(struct play *p, const char *word, struct tcp_hdr *h)
{
	uint32_t at = p->v->v6 ? 54 : 34, n = p->out_len;
	struct ipaddr src = addr_of(our_addr(p)), dst = addr_of(peer_addr(p));
	uint16_t type = get_be16(p->out + 12);

	p->out_len = 0;
	if (n < at || type != (p->v->v6 ? ETH_TYPE_IP6 : ETH_TYPE_IP4) ||
	    memcmp(p->out, nr_peer_mac, 6) || memcmp(p->out + 6, nr_mac, 6)) {
		complain(p, "not an IP packet to the peer");
		return -1;
	}
	if (csum_finish(csum_add_scalar(p->out + at, n - at,
					ip_pseudo(&src, &dst, IPPROTO_TCP, n - at)))) {
		complain(p, "checksum");
		return -1;
	}
	if (!wire_tcp_parse(p->out + at, n - at, h) || h->sport != OUR_PORT) {
		complain(p, "header");
		return -1;
	}
	if (h->has_ts)
		p->last_ts = h->ts_val;
	if (h->flags & TCP_F_SYN)
		p->last_syn = h->seq;
	if ((h->flags & TCP_F_SYN) && !p->lbase_known) {
		p->lbase = h->seq;
		p->lbase_known = true;
	}
	return (int)(n - at - h->hdr_len);
}

static void same(struct play *p, const char *word, const char *what, uint32_t is, uint32_t wanted)
{
	if (is != wanted)
		complain(p, "%s is %d, not %d", what, (int)is, (int)wanted);
}

/* What every segment of a connection says, unless the row says otherwise. */
static void check_usual(struct play *p, const char *word, const struct tcp_hdr *h, uint32_t len)
{
	struct sk *sk = conn(p);
	const struct tcb *b = sk ? tcb_of(sk) : NULL;
	bool rst = h->flags & TCP_F_RST, syn = h->flags & TCP_F_SYN;
	bool ts = b && sk->state != TCP_S_CLOSED && !rst;
	char s[64];

	if (arg(word, "seq", s, sizeof(s)))
		same(p, word, "seq", h->seq - p->lbase, number(p, s, p->lbase) - p->lbase);
	else if (!b || rst)
		complain(p, "the row must say seq=");
	else if (!syn && !len && !(h->flags & TCP_F_FIN))
		same(p, word, "seq", h->seq - p->lbase, b->snd_nxt - p->lbase);
	else if (syn)
		same(p, word, "seq", h->seq, b->iss);
	if (arg(word, "ack", s, sizeof(s)))
		same(p, word, "ack", h->ack - p->rbase, number(p, s, p->rbase) - p->rbase);
	else if (h->flags & TCP_F_ACK && (!b || rst))
		complain(p, "the row must say ack=");
	else if (h->flags & TCP_F_ACK)
		same(p, word, "ack", h->ack - p->rbase, b->rcv_nxt - p->rbase);
	else
		same(p, word, "ack", h->ack, 0);
	if (arg(word, "ts", s, sizeof(s)))
		same(p, word, "has_ts", h->has_ts, (uint32_t)atoi(s));
	else if (ts)
		same(p, word, "has_ts", h->has_ts, !!(b->flags & TCB_F_TS));
	if (ts && h->has_ts && (h->flags & TCP_F_ACK))
		same(p, word, "ecr", h->ts_ecr, b->ts_recent);
}

static void check_out(struct play *p, const char *word)
{
	struct tcp_hdr h;
	uint32_t from, to;
	char s[64];
	int len;

	if (!next_out(p)) {
		complain(p, "nothing was sent");
		return;
	}
	len = parse_out(p, word, &h);
	if (len < 0)
		return;
	if (h.flags != flags_of(word))
		complain(p, "flags are %#x, seq %d, ack %d, length %d", h.flags,
			 (int)(h.seq - p->lbase), (int)(h.ack - p->rbase), len);
	check_usual(p, word, &h, (uint32_t)len);
	same(p, word, "length", (uint32_t)len, arg_num(p, word, "len", 0, 0));
	if (arg(word, "wnd", s, sizeof(s)))
		same(p, word, "window", h.wnd, number(p, s, 0));
	same(p, word, "urg", h.urg, arg_num(p, word, "urg", 0, 0));
	if (arg(word, "mss", s, sizeof(s)))
		same(p, word, "mss", h.has_mss ? h.mss : 0, number(p, s, 0));
	if (arg(word, "ws", s, sizeof(s)))
		same(p, word, "has_ws", h.has_ws, number(p, s, 0));
	if (arg(word, "ecr", s, sizeof(s)))
		same(p, word, "ecr", h.ts_ecr - p->v->peer_ts, number(p, s, 0));
	if (p->v->opts && arg(word, "sack", s, sizeof(s))) {
		must(sscanf(s, "%d-%d", (int *)&from, (int *)&to) == 2);
		same(p, word, "SACK blocks", h.n_sack > 0, 1);
		same(p, word, "SACK from", h.sack[0][0] - p->rbase, from);
		same(p, word, "SACK to", h.sack[0][1] - p->rbase, to);
	} else {
		same(p, word, "SACK blocks", h.n_sack, 0);
	}
}

static void nothing_left(struct play *p, const char *word)
{
	struct tcp_hdr h;
	int len;

	if (p->failed || !next_out(p))
		return;
	len = parse_out(p, word, &h);
	complain(p, "before that was sent: flags %#x, seq %d, ack %d, length %d", h.flags,
		 (int)(h.seq - p->lbase), (int)(h.ack - p->rbase), len);
}

/* ---- calls -------------------------------------------------------------------------------------------------- */

static const struct { const char *name; int v; } names[] = {
	{ "EPIPE", -EPIPE }, { "EAGAIN", -EAGAIN }, { "ENOTCONN", -ENOTCONN }, { "EINVAL", -EINVAL },
	{ "ECONNRESET", -ECONNRESET }, { "ECONNREFUSED", -ECONNREFUSED }, { "EADDRINUSE", -EADDRINUSE },
	{ "ETIMEDOUT", -ETIMEDOUT }, { "EHOSTUNREACH", -EHOSTUNREACH },
	{ "rd", SHUT_RD }, { "wr", SHUT_WR }, { "rw", SHUT_RDWR },
};

static int64_t value(const char *s)
{
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (!strncmp(s, names[i].name, strlen(names[i].name)))
			return names[i].v;
	return strtol(s, NULL, 0);
}

static int64_t call_data(struct play *p, struct sk *sk, const char *name, int64_t a)
{
	static uint8_t buf[65536];
	struct iovec iov = { buf, (size_t)a };
	struct turn *t = &p->n.r.t;

	switch (name[0]) {
	case 's':
		return tcp_send(t, sk, &iov, 1, 0);
	case 'u':
		return tcp_send(t, sk, &iov, 1, TCP_SEND_OOB);
	case 'o':
		return tcp_recv(t, sk, &iov, 1, TCP_RECV_OOB, 0);
	case 'p':
		return tcp_recv(t, sk, &iov, 1, TCP_RECV_PEEK, 0);
	default:
		return tcp_recv(t, sk, &iov, 1, 0, 0);
	}
}

static int64_t call_open(struct play *p, const char *name, int64_t a)
{
	struct ipaddr l = addr_of(our_addr(p)), r = addr_of(peer_addr(p));
	struct turn *t = &p->n.r.t;
	struct sk *sk = NULL;
	int rc;

	p->opts.family6 = p->v->v6;
	if (name[0] == 'c')
		rc = tcp_connect(t, &p->opts, &l, OUR_PORT, &r, PEER_PORT, &sk);
	else
		rc = tcp_listen(t, &p->opts, &l, OUR_PORT, a ? (uint32_t)a : 5, &sk);
	if (rc == 0 && name[0] == 'c') {
		p->sk = sk_handle(sk);
		if (!p->lbase_known)
			p->lbase = tcb_of(sk)->iss;
		p->lbase_known = true;
	} else if (rc == 0) {
		p->lsk = sk_handle(sk);
	}
	return rc;
}

static int64_t call_end(struct play *p, struct sk *sk, const char *name, int64_t a)
{
	struct turn *t = &p->n.r.t;
	int rc;

	if (!strncmp(name, "shut", 4))
		return tcp_shutdown(t, sk, (int)a);
	if (!strncmp(name, "close", 5))
		tcp_close(t, sk);
	else if (!strncmp(name, "abort", 5))
		tcp_abort(t, sk, a ? (int)-a : 0);
	else if (!strncmp(name, "err", 3)) {	/* SO_ERROR */
		rc = sk->err;
		sk->err = 0;
		if (sk->kind == SK_TCP)
			tcp_ready_sync(t, sk, 0);
		return -rc;
	} else {
		must(!"a call");
	}
	return 0;
}

static int64_t call_opt(struct play *p, struct sk *sk, const char *name, int64_t a)
{
	if (!strncmp(name, "linger2", 7))
		p->opts.linger2_s = (int32_t)a;
	else if (!strncmp(name, "linger", 6))
		p->opts.linger_s = (int32_t)a;
	else if (!strncmp(name, "defer", 5))
		p->opts.defer_accept_s = (uint32_t)a;
	else if (!strncmp(name, "inline", 6))
		p->opts.oobinline = 1;
	else if (!strncmp(name, "rcvbuf", 6)) {
		p->opts.rcvbuf = (uint32_t)a;
		p->opts.rcvbuf_locked = 1;
	}
	if (sk && sk->kind == SK_TCP)
		tcp_set_opts(&p->n.r.t, sk, &p->opts);
	return 0;
}

static bool is_one_of(const char *name, const char *list)
{
	char s[24] = " ";

	for (size_t i = 1; i < sizeof(s) - 2 && isalnum((unsigned char)*name); i++)
		s[i] = *name++;
	strcat(s, " ");
	return strstr(list, s) != NULL;
}

static void call(struct play *p, const char *word)
{
	const char *name = word + 1, *colon = name + strcspn(name, ": =");
	const char *equal = name + strcspn(name, "= ");
	int64_t a = *colon == ':' ? value(colon + 1) : 0, rc, wanted = 0;
	struct turn *t = &p->n.r.t;
	struct sk *sk = conn(p), *lsk = listener(p);

	if (is_one_of(name, " send urg recv peek oob ")) {
		must(sk || lsk);
		rc = call_data(p, sk ? sk : lsk, name, a);
		wanted = a;
	} else if (is_one_of(name, " connect listen ")) {
		rc = call_open(p, name, a);
	} else if (is_one_of(name, " linger linger2 defer inline rcvbuf ")) {
		rc = call_opt(p, sk, name, a);
	} else if (is_one_of(name, " accept ")) {
		must(lsk);
		rc = tcp_accept(t, lsk) ? 0 : -EAGAIN;
	} else if (is_one_of(name, " unlisten ")) {
		must(lsk);
		tcp_close(t, lsk);
		rc = 0;
	} else {
		must(sk || lsk);
		rc = call_end(p, sk ? sk : lsk, name, a);
	}
	net_rx(t);	/* runs the work list */
	if (*equal == '=')
		wanted = value(equal + 1);
	if (rc != wanted)
		complain(p, "returned %d, not %d", (int)rc, (int)wanted);
}

static void pass_time(struct play *p, const char *word)
{
	p->n.r.t.now += strtoul(word + 1, NULL, 10) * NS_PER_MS + 2200000;
	net_tick(&p->n.r.t);
	net_tx(&p->n.r.t);
}

/* ---- a row ------------------------------------------------------------------------------------------------------ */

static void run_script(struct play *p, const char *script)
{
	for (const char *word = script; *word && !p->failed; word++) {
		if (word > script && word[-1] != ' ')
			continue;
		if (*word == '<' || *word == '!' || *word == '+')
			nothing_left(p, word);
		if (*word == '<')
			inject(p, word);
		else if (*word == '>')
			check_out(p, word);
		else if (*word == '!')
			call(p, word);
		else if (*word == '+')
			pass_time(p, word);
		conn(p);
		check_all(p);
	}
	nothing_left(p, "the end");
}

static void setup_done(struct play *p)
{
	struct sk *sk = conn(p);
	const struct tcb *b = sk ? tcb_of(sk) : NULL;

	if (b && sk->state != TCP_S_CLOSED) {
		p->lbase = b->snd_una;
		p->nxt = b->snd_nxt;
		if (sk->state != TCP_S_SYN_SENT) {
			p->rbase = b->rcv_nxt;
			p->edge = b->rcv_nxt + tcp_window_left(b);
		}
	}
	memcpy(p->counted, p->n.r.map.seg->counters, sizeof(p->counted));
}

static uint32_t ready_bits(const char *letters)
{
	static const struct { char c; uint32_t bits; } bits[] = {
		{ 'i', EPOLLIN | EPOLLRDNORM }, { 'o', EPOLLOUT | EPOLLWRNORM }, { 'p', EPOLLPRI },
		{ 'h', EPOLLHUP }, { 'r', EPOLLRDHUP }, { 'e', EPOLLERR },
	};
	uint32_t m = 0;

	for (; *letters; letters++)
		for (size_t i = 0; i < sizeof(bits) / sizeof(bits[0]); i++)
			m |= bits[i].c == *letters ? bits[i].bits : 0;
	return m;
}

static const char *const usual_ready[N_TCP_STATES] = {
	[TCP_S_CLOSED] = "iohr", [TCP_S_LISTEN] = "", [TCP_S_SYN_SENT] = "", [TCP_S_SYN_RCVD] = "",
	[TCP_S_ESTABLISHED] = "o", [TCP_S_FIN_WAIT_1] = "o", [TCP_S_FIN_WAIT_2] = "o",
	[TCP_S_CLOSE_WAIT] = "ior", [TCP_S_CLOSING] = "iohr", [TCP_S_LAST_ACK] = "iohr",
	[TCP_S_TIME_WAIT] = "iohr",
};

static void check_deadline(struct play *p, const struct tcb *b)
{
	const char *word = "the end";
	uint64_t at = min_u64(min_u64(b->rtx_at, b->delack_at), min_u64(b->keep_at, b->misc_at));
	int64_t ms = at == NEVER_NS ? -1 : (int64_t)((at - p->n.r.t.now) / NS_PER_MS);

	/* The wheel may be a tick late, and no more. */
	if (net_deadline(&p->n.r.t) > at && net_deadline(&p->n.r.t) - at > 1ull << WHEEL_TICK_SHIFT)
		complain(p, "the stack's deadline is later than the socket's");
	if (p->row->at && (ms < p->row->at - SLACK_MS || ms > p->row->at + SLACK_MS ||
			   (ms < 0) != (p->row->at < 0)))
		complain(p, "next deadline in %d ms, not %d", (int)ms, (int)p->row->at);
}

static void check_end(struct play *p)
{
	const char *word = "the end";
	const struct row *r = p->row;
	struct sk *sk = conn(p);
	int state = state_now(p);
	uint64_t n = p->n.r.map.seg->counters[r->ev] - p->counted[r->ev];

	if (state != r->state)
		complain(p, "state is %s, not %s", state_text(state), state_text(r->state));
	if (r->ev && n != 1)
		complain(p, "%s counted %d times", event_name((enum event)r->ev), (int)n);
	sk = sk ? sk : listener(p);
	if (!sk)
		return;
	if (!(sk->flags & (SK_F_ORPHAN | SK_F_EMBRYO))) {
		uint32_t wanted = ready_bits(r->ready ? r->ready : usual_ready[sk->state]);

		wanted |= r->err ? EPOLLERR : 0;
		if (sk->ready != wanted)
			complain(p, "readiness is %#x, not %#x", sk->ready, wanted);
	}
	if (sk->err != r->err)
		complain(p, "pending error is %d, not %d", sk->err, r->err);
	if (sk->kind == SK_TCP)
		check_deadline(p, tcb_of(sk));
}

/* Everything is given back: what a program would close, and what only time ends. */
static void clean_up(struct play *p)
{
	struct turn *t = &p->n.r.t;

	for (uint32_t i = 1; i <= p->n.r.map.sk_mask; i++) {
		struct sk *sk = sk_slot(t, i);

		if (sk->kind == SK_LISTEN)
			tcp_close(t, sk);
	}
	for (uint32_t i = 1; i <= p->n.r.map.sk_mask; i++) {
		struct sk *sk = sk_slot(t, i);

		if (sk->kind != SK_TCP)
			continue;
		sk->flags |= SK_F_ORPHAN;
		if (sk->state == TCP_S_CLOSED)
			tcp_free(t, sk);
		else
			tcp_done(t, sk, sk->state == TCP_S_SYN_SENT ? TE_CLOSE : TE_ABORT, 0);
	}
	must(p->n.r.map.seg->n_orphans == 0 && p->n.r.map.seg->n_tw == 0);
	must(p->n.r.map.seg->n_conns == 0);
}

static bool play(const struct row *r, const struct variant *v, const char *setup)
{
	struct play *p = calloc(1, sizeof(*p));
	bool ok;

	must(p);
	nr_make(&p->n);
	p->row = r;
	p->v = v;
	p->rbase = v->irs;
	p->lbase = 0x51000000;
	tcp_opts_default(&p->opts);
	set_iss(p);
	run_script(p, setup);
	if (!p->failed) {
		setup_done(p);
		run_script(p, r->script);
	}
	if (!p->failed)
		check_end(p);
	ok = !p->failed;
	clean_up(p);
	nr_free(&p->n);
	free(p);
	return ok;
}

static void play_rows(const struct row *rows, size_t n, const char *setup)
{
	uint32_t failed = 0;

	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];
		bool ok = true;

		if (getenv("STATE_ROWS"))	/* for playing the same rows to another stack */
			printf("ROW\t%s %s\t%s\t%s\t%s\t%s\t%d\n", r->rfc, r->clause, r->what,
			       r->setup ? r->setup : setup, r->script, state_text(r->state), r->only);
		rows_played++;
		for (size_t k = 0; ok && k < N_VARIANTS; k++) {
			if (r->only && ((r->only == WITH) != variants[k].opts || r->only == PLAIN4 + !variants[k].v6))
				continue;
			variants_played++;
			ok = play(r, &variants[k], r->setup ? r->setup : setup);
		}
		failed += !ok;
	}
	rows_failed += failed;
	if (failed)
		fail_msg("%u of %zu rows failed", failed, n);
}

#define PLAY(rows, setup) play_rows(rows, sizeof(rows) / sizeof(rows[0]), setup)

static inline int rows_done(int rc)
{
	print_message("%u rows, %u played, %u failed\n", rows_played, variants_played, rows_failed);
	return rc;
}

/* ---- how to get there ----------------------------------------------------------------------------------- */

#define TO_SYN_SENT	"!connect >S "
#define TO_LISTEN	"!listen "
#define TO_SYN_RCVD	TO_LISTEN "<S >SA "
#define TO_SIMULT	TO_SYN_SENT "<S >SA "
#define TO_ESTABLISHED	TO_SYN_SENT "<SA ack=1 >A "
#define TO_ACCEPTED	TO_SYN_RCVD "<A seq=1 ack=1 !accept "
#define TO_FIN_WAIT_1	TO_ESTABLISHED "!shut:wr >FA seq=1 "
#define TO_FIN_WAIT_2	TO_FIN_WAIT_1 "<A seq=1 ack=2 "
#define TO_CLOSE_WAIT	TO_ESTABLISHED "<FA seq=1 ack=1 +40 >A "
#define TO_CLOSING	TO_FIN_WAIT_1 "<FA seq=1 ack=1 >A "
#define TO_LAST_ACK	TO_CLOSE_WAIT "!shut:wr >FA seq=1 "
#define TO_TIME_WAIT	TO_FIN_WAIT_2 "<FA seq=1 ack=2 >A "

#endif
