/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP Fast Open (RFC 7413), as Linux has it: data in the SYN, and an answer to it before the handshake's
 * end. What proves that a client is where it says is a cookie that it was given on an earlier visit.
 *
 *	client		first visit	SYN, option empty	->
 *							<-	SYN-ACK, option with a cookie, kept here
 *			next one	SYN, cookie, data	->	accept(), read(), write()
 *							<-	SYN-ACK of the data too
 *
 * Client. A stack keeps cookies by pair of addresses, with the MSS that the server told, in sets of four
 * (tfo_table). Only the first SYN has the option; what is sent again is plain, since a middlebox may have
 * dropped the other. What the SYN-ACK does not acknowledge of the data goes again at once. A server that
 * gives no cookie is asked by the experimental option once, and by the numbered one from then on.
 *
 * Server. The cookie is SipHash of the two addresses under the listener's key, the kernel's construction:
 * a listener with the kernel's key takes the kernel's cookies. Its connection is in ESTABLISHED with
 * TCB_F_FASTOPEN and on the accept queue at once; until the SYN-ACK is acknowledged nothing but it is sent
 * again. A listener may have TCP_FASTOPEN of these; one that was reset counts for a minute more, so that
 * forged SYNs with a stolen cookie cost their sender time.
 *
 * Black holes (off unless tcp_fastopen_blackhole_timeout_sec says how long): three time-outs in a row of
 * a connection that used Fast Open, or its peer's FIN arriving where its data did not, make the stack do
 * without for that long, twice as long each time, up to 64 times.
 *
 * Invariants
 *  F1  A socket with TCB_F_FASTOPEN names its listener as parent, accepted or not, and is counted in the
 *	listener's n_fo while that lives.
 *  F2  TCB_F_DEFER only in SYN_SENT: no timer runs, nothing is queued, no SYN was sent.
 */
#include "base/cursor.h"
#include "core/tcp/parts.h"

#define SALT_PEER	0x74666f
#define SALT_KEY	0x746b
#define WAYS		4u
#define RST_HOLD_S	60u	/* Linux's, for what was reset */
#define OFF_DOUBLINGS	6u
#define TIMEOUTS_OFF	2u	/* time-outs before the one that tells of a black hole */
static_assert((N_TFO_PEERS & (N_TFO_PEERS - 1)) == 0 && N_TFO_PEERS % WAYS == 0, "sets of WAYS");

static struct tfo_table *table(const struct turn *t) { return &t->map->seg->tfo; }

/* ---- what servers have told ------------------------------------------------------------------------ */

static struct tfo_peer *set_of(const struct turn *t, const struct sk *sk)
{
	struct { struct ipaddr l, r; } k = { sk->laddr, sk->raddr };
	uint32_t h = hash_bytes(t->map->seg->secret, &k, sizeof(k), SALT_PEER);

	return &table(t)->peer[h & (N_TFO_PEERS - 1) & ~(WAYS - 1)];
}

static struct tfo_peer *peer_find(const struct turn *t, const struct sk *sk)
{
	struct tfo_peer *p = set_of(t, sk);

	for (uint32_t i = 0; i < WAYS; i++, p++)
		if (ip_eq(&p->raddr, &sk->raddr) && ip_eq(&p->laddr, &sk->laddr))
			return p;
	return NULL;
}

/* That of its set which was used least lately gives way. */
static struct tfo_peer *peer_get(const struct turn *t, const struct sk *sk)
{
	struct tfo_peer *p = peer_find(t, sk), *set = set_of(t, sk);

	if (p)
		return p;
	p = set;
	for (uint32_t i = 0; i < WAYS && !ip_is_any(&p->raddr); i++)
		if (ip_is_any(&set[i].raddr) || before(set[i].used_s, p->used_s))
			p = &set[i];
	*p = (struct tfo_peer){ .laddr = sk->laddr, .raddr = sk->raddr };
	return p;
}

/* What a SYN-ACK says: its MSS, and a cookie or that none came. */
static void peer_note(struct turn *t, const struct sk *sk, const struct tcp_seg *s, bool no_cookie)
{
	struct tfo_peer *p = peer_get(t, sk);

	p->used_s = tcp_now_s(t);
	p->mss = s->h.mss ? s->h.mss : TCP_DEF_MSS;
	if (s->h.fo.has && s->h.fo.len) {
		p->len = s->h.fo.len;
		memcpy(p->cookie, s->h.fo.cookie, p->len);
		p->flags = s->h.fo.exp ? TFO_PEER_EXP : 0;
	} else if (no_cookie && p->len == 0 && !(p->flags & TFO_PEER_TRIED)) {
		p->flags = tcb_of_const(sk)->early_flags & TFO_EXP ? TFO_PEER_TRIED : TFO_PEER_TRY;
	}
}

/* ---- black holes -------------------------------------------------------------------------------------- */

static bool is_off(struct turn *t)
{
	const struct tfo_table *tb = table(t);
	uint64_t s = tcp_tune_fastopen_off_s(t);

	if (s == 0 || tb->n_off == 0)
		return false;
	return tcp_now_s(t) - tb->off_at_s < s << min_u32(tb->n_off - 1, OFF_DOUBLINGS);
}

static void switch_off(struct turn *t, struct sk *sk)
{
	struct tfo_table *tb = table(t);

	if (tcp_tune_fastopen_off_s(t) == 0)
		return;
	tb->off_at_s = tcp_now_s(t);
	tb->n_off += tb->n_off < UINT32_MAX;
	ev(t, EV_TCP_TFO_OFF, sk->self, tb->n_off, 0);
}

void tcp_tfo_on_timeout(struct turn *t, struct sk *sk, bool expired)
{
	const struct tcb *b = tcb_of(sk);

	if (likely(!(b->early_flags & (TFO_ASKED | TFO_TAKEN)) && !(sk->state == TCP_S_SYN_SENT && b->txq.head)))
		return;
	if (b->n_rtx == TIMEOUTS_OFF || (b->n_rtx < TIMEOUTS_OFF && expired))
		switch_off(t, sk);
}

/* Linux's tcp_fastopen_active_disable_ofo_check(). */
void tcp_tfo_over(struct turn *t, struct sk *sk)
{
	const struct tcb *b = tcb_of(sk);
	struct tfo_table *tb = table(t);

	if (likely(!(b->early_flags & TFO_ASKED)))
		return;
	if (b->data_segs_in == 0) {
		if (b->ooo.n == 1 && pkt_slot(t, b->ooo.head)->flags & PKT_F_FIN)
			switch_off(t, sk);
	} else if (tb->n_off && !is_off(t) && (uint32_t)(sk->born_at / NS_PER_S) - tb->off_at_s < INT32_MAX) {
		tb->n_off = 0;		/* it was opened after the pause, and data came */
	}
}

/* ---- client ----------------------------------------------------------------------------------------- */

enum fo { FO_SILENT, FO_ASK, FO_GO };

/* What our SYN to this peer may say. */
static enum fo fo_of(struct turn *t, const struct sk *sk, struct tcp_fo *ret)
{
	const struct tcb *b = tcb_of_const(sk);
	const struct tfo_peer *p = peer_find(t, sk);

	*ret = (struct tcp_fo){ .has = false };
	if (is_off(t))
		return FO_SILENT;
	if (b->early_flags & TFO_NO_COOKIE || tcp_tune_fastopen(t) & TFO_CLIENT_NO_COOKIE)
		return FO_GO;
	ret->has = true;
	ret->exp = p && p->flags & (TFO_PEER_EXP | TFO_PEER_TRY);
	if (!p || p->len == 0)
		return FO_ASK;
	ret->len = min_u32(p->len, TCP_FO_MAX) & 0xff;
	memcpy(ret->cookie, p->cookie, ret->len);
	return FO_GO;
}

bool tcp_tfo_defers(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_fo fo;
	enum fo may;

	if (o->fo_defer)
		return true;
	if (!o->fo_connect)
		return false;
	may = fo_of(t, sk, &fo);
	if (may == FO_ASK)
		b->flags |= TCB_F_SYN_FO;
	return may == FO_GO;
}

void tcp_tfo_fill(struct turn *t, struct sk *sk, struct tcp_fo *fo)
{
	struct tcb *b = tcb_of(sk);
	enum fo may = fo_of(t, sk, fo);

	if (may == FO_SILENT)
		return;
	if (fo->has)
		b->early_flags |= TFO_ASKED | (fo->exp ? TFO_EXP : 0);
	ev(t, EV_TCP_TFO_OUT, sk->self, b->txq.bytes, fo->len);
}

bool tcp_is_deferred(const struct sk *sk)
{
	return sk->kind == SK_TCP && sk->state == TCP_S_SYN_SENT && tcb_of_const(sk)->flags & TCB_F_DEFER;
}

/* Linux's tcp_send_syn_data(): by the MSS that the server told before, the path's and the user's, less
 * room for options that middleboxes may add. */
static uint32_t syn_room(struct turn *t, const struct sk *sk)
{
	const struct tfo_peer *p = peer_find(t, sk);
	uint32_t mss = tcb_advmss(sk);

	if (p && p->mss)
		mss = min_u32(mss, p->mss);
	mss = max_u32(mss, TCP_MIN_MSS);
	return mss - (TCP_HDR_MAX - TCP_HDR_MIN);
}

static uint32_t put_in_syn(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov, uint64_t want)
{
	struct tcb *b = tcb_of(sk);
	struct cursor c = { iov, n_iov, 0 };
	uint32_t room = syn_room(t, sk), n;
	struct pkt *p;

	n = want ? (uint32_t)tcp_queue(t, sk, &c, min_u64(want, room), room) : 0;
	if (n == 0)
		return 0;
	p = pkt_slot(t, b->txq.head);
	p->flags |= PKT_F_PSH;
	tcp_rate_sent(t, b, p);
	b->tx_next = 0;
	b->snd_nxt = b->write_seq;
	sk->txq_bytes = b->txq.bytes;
	return n;
}

int64_t tcp_send_first(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov, bool waits)
{
	struct tcb *b = tcb_of(sk);
	uint64_t want = cursor_bytes(iov, n_iov);
	uint32_t done = 0;
	struct tcp_fo fo;
	enum fo may;
	int rc;

	must(tcp_is_deferred(sk));
	b->flags &= ~TCB_F_DEFER;
	sk->born_at = t->now;
	may = fo_of(t, sk, &fo);
	b->flags |= fo.has ? TCB_F_SYN_FO : 0;
	if (may == FO_GO)
		done = put_in_syn(t, sk, iov, n_iov, want);
	b->flags |= done ? TCB_F_SYN_FO : 0;	/* the data alone, where no cookie is wanted */
	if (waits && done < want)
		b->flags |= TCB_F_WR_WAITS;
	tcp_tmr_rearm(t, sk, TCP_RTX_SYN);
	rc = tcp_emit_syn(t, sk);
	if (rc != 0) {
		tcp_done(t, sk, TE_CLOSE, 0);
		return rc;
	}
	tcp_ready_sync(t, sk, 0);
	return done;
}

void tcp_tfo_syn_acked(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_acked a = { .prior_una = b->snd_una, .rtt_us = -1, .had = b->snd_una };
	bool data = b->txq.head != 0;

	if (s->h.ack != b->snd_una)
		tcp_acked(t, sk, s->h.ack, &a);
	if (b->early_flags & TFO_ASKED)
		peer_note(t, sk, s, b->total_retrans == 0 && !data);
	else if (data)
		peer_note(t, sk, &(struct tcp_seg){ .h = { .mss = s->h.mss } }, false);
	if (!data)
		return;
	if (b->snd_una != b->snd_nxt) {
		ev(t, EV_TCP_TFO_LEFT, sk->self, s->h.ack, b->snd_nxt);
		tcp_recover_on_syn(t, sk);
		return;
	}
	b->early_flags |= TFO_TAKEN;
	b->delivered--;		/* SYN and data came in one */
	ev(t, EV_TCP_TFO_TAKEN, sk->self, s->h.ack, 0);
}

/* ---- server --------------------------------------------------------------------------------------------- */

/* Addresses as they stand in the packet, the client's first: Linux's construction. */
static void cookie_of(const struct turn *t, const struct tcp_listen *l, uint32_t k, const struct ip_info *in,
		      uint8_t ret[8])
{
	uint64_t key[2] = { l->fo_key[2 * k], l->fo_key[2 * k + 1] }, h;
	struct ipaddr a[2] = { in->src, in->dst };
	uint8_t a4[8];

	for (uint32_t i = 0; i < 2 && l->n_fo_keys == 0; i++)
		key[i] = siphash24(t->map->seg->secret + 2, &(uint32_t){ SALT_KEY + i }, sizeof(uint32_t));
	if (ip_is4(&a[0])) {
		put_be32(a4, ip_to4(&a[0]));
		put_be32(a4 + 4, ip_to4(&a[1]));
		h = siphash24(key, a4, sizeof(a4));
	} else {
		h = siphash24(key, a, sizeof(a));
	}
	for (uint32_t i = 0; i < 8; i++)
		ret[i] = (uint8_t)(h >> 8 * i);
}

/* 0: not one of ours; 1: made with the key before; 2: good. */
static uint32_t cookie_is_good(const struct turn *t, const struct tcp_listen *l, const struct tcp_seg *s)
{
	uint8_t c[8];

	for (uint32_t k = 0; k < max_u32(l->n_fo_keys, 1); k++) {
		cookie_of(t, l, k, s->in, c);
		if (s->h.fo.len == sizeof(c) && memcmp(s->h.fo.cookie, c, sizeof(c)) == 0)
			return k ? 1 : 2;
	}
	return 0;
}

static uint32_t n_reset(struct turn *t, struct tcp_listen *l)
{
	uint32_t minute = tcp_now_s(t) / RST_HOLD_S;

	if (minute != l->fo_minute) {
		l->n_fo_rst[1] = minute == l->fo_minute + 1 ? l->n_fo_rst[0] : 0;
		l->n_fo_rst[0] = 0;
		l->fo_minute = minute;
	}
	return l->n_fo_rst[0] + l->n_fo_rst[1];
}

static bool has_room(struct turn *t, struct sk *lsk)
{
	struct tcp_listen *l = listen_of(lsk);
	uint32_t max = l->opts.fo_qlen;

	if (max && l->n_fo + n_reset(t, l) < max)
		return true;
	if (max)
		ev(t, EV_TCP_TFO_FULL, lsk->self, l->n_fo, max);
	return false;
}

bool tcp_tfo_syn(struct turn *t, struct sk *lsk, const struct tcp_seg *s, struct tcp_fo *ret)
{
	const struct tcp_listen *l = listen_of(lsk);
	uint32_t on = tcp_tune_fastopen(t), good;
	bool opens;

	*ret = (struct tcp_fo){ .has = false };
	if (!(on & TFO_SERVER) || (s->len == 0 && !s->h.fo.has) || !has_room(t, lsk))
		return false;
	if (on & TFO_SERVER_NO_COOKIE || l->opts.fo_no_cookie)
		return true;
	if (!s->h.fo.has)
		return false;
	good = s->h.fo.len ? cookie_is_good(t, l, s) : 0;
	opens = good != 0;
	if (good < 2) {		/* a cookie for next time */
		ret->has = true;
		ret->exp = s->h.fo.exp;
		ret->len = 8;
		cookie_of(t, l, 0, s->in, ret->cookie);
		ev(t, EV_TCP_TFO_ASKED, lsk->self, s->seq, s->h.fo.len);
	}
	return opens;
}

bool tcp_tfo_ack(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	if (before(s->h.ack, b->iss + 1) || after(s->h.ack, b->snd_nxt)) {
		ev(t, EV_TCP_ACK_UNSENT, sk->self, s->h.ack, b->snd_nxt);
		tcp_reply_rst(t, s);
		return false;
	}
	if (b->n_rtx == 0 && b->rtx_at != NEVER_NS && b->rtx_kind == TCP_RTX_SYNACK) {
		uint64_t sent = b->rtx_at - (uint64_t)TCP_RTO_INIT_US * NS_PER_US;

		if (sent <= t->now)
			tcp_rtt_sample(&b->rtt, (uint32_t)max_u64((t->now - sent) / NS_PER_US, 1));
	}
	b->flags &= ~TCB_F_SYN_OWED;
	b->n_rtx = 0;
	b->retrans_at = 0;
	b->delivered++;
	tcp_tfo_end(t, sk, false);
	tcp_tmr_rearm(t, sk, b->snd_nxt != b->snd_una ? TCP_RTX_RTO : TCP_RTX_NONE);
	sk_work(t, sk);
	return true;
}

void tcp_tfo_end(struct turn *t, struct sk *sk, bool reset)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_listen *l;
	struct sk *lsk;

	if (likely(!(b->flags & TCB_F_FASTOPEN)))
		return;
	b->flags &= ~TCB_F_FASTOPEN;
	lsk = sk_find(t, (sk_h){ sk->parent });
	if (!(sk->flags & SK_F_EMBRYO))
		sk->parent = 0;
	if (!lsk || lsk->kind != SK_LISTEN)	/* it has closed */
		return;
	l = listen_of(lsk);
	l->n_fo -= l->n_fo > 0;
	if (reset && !(sk->flags & SK_F_EMBRYO)) {
		(void)n_reset(t, l);
		l->n_fo_rst[0]++;
	}
}

void tcp_listen_keys(struct turn *t, struct sk *lsk, const uint8_t *key, uint32_t n)
{
	struct tcp_listen *l = listen_of(lsk);

	(void)t;
	must(lsk->kind == SK_LISTEN && n <= 2);
	l->n_fo_keys = n;
	for (uint32_t i = 0; i < 2 * n; i++) {
		l->fo_key[i] = 0;
		for (uint32_t k = 0; k < 8; k++)
			l->fo_key[i] |= (uint64_t)key[8 * i + k] << 8 * k;
	}
}
