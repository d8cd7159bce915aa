/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LISTEN, and connections that nobody has accepted yet (RFC 9293 3.10.7.2).
 *
 *	SYN -> embryo (SYN_RCVD, on the listener's list) -> ACK -> accept queue -> accept()
 *
 * Backlog as Linux: while the accept queue is full a SYN is dropped, and so is a last ACK,
 * whose embryo goes on repeating its SYN-ACK; so nothing is refused, only delayed.
 *
 * Only the first TCP_FULL_EMBRYOS embryos have a socket. The others are 64 bytes each (synq.c), and
 * when there are as many as there may be, the SYN is answered and nothing is kept (cookie.c): whoever
 * comes back with the right ACK gets the socket then.
 *
 * Invariants
 *  L1  A socket with SK_F_EMBRYO is on exactly one list of the listener it names as parent:
 *	acc_* if SK_F_ACCEPTQ, else emb_*.
 *  L2  n_embryos and n_accept count the two lists.
 *  L3  A listener goes only after its embryos: parent always names a live listener.
 */
#include <netinet/in.h>

#include "core/tcp/parts.h"

static struct sk *at_slot(const struct turn *t, uint32_t slot)
{
	return slot ? sk_slot(t, slot) : NULL;
}

static void emb_link(struct turn *t, struct tcp_listen *l, struct sk *sk)
{
	struct sk *head = at_slot(t, l->emb_head);

	sk->list_prev = 0;
	sk->list_next = l->emb_head;
	if (head)
		head->list_prev = sk_slot_of(t, sk);
	l->emb_head = sk_slot_of(t, sk);
	l->n_embryos++;
}

static void emb_cut(struct turn *t, struct tcp_listen *l, struct sk *sk)
{
	struct sk *prev = at_slot(t, sk->list_prev), *next = at_slot(t, sk->list_next);

	if (prev)
		prev->list_next = sk->list_next;
	else
		l->emb_head = sk->list_next;
	if (next)
		next->list_prev = sk->list_prev;
	sk->list_next = sk->list_prev = 0;
	l->n_embryos--;
}

static void acc_push(struct turn *t, struct tcp_listen *l, struct sk *sk)
{
	struct sk *tail = at_slot(t, l->acc_tail);

	sk->list_next = 0;
	sk->list_prev = l->acc_tail;
	if (tail)
		tail->list_next = sk_slot_of(t, sk);
	else
		l->acc_head = sk_slot_of(t, sk);
	l->acc_tail = sk_slot_of(t, sk);
	l->n_accept++;
	sk->flags |= SK_F_ACCEPTQ;
}

static void acc_cut(struct turn *t, struct tcp_listen *l, struct sk *sk)
{
	struct sk *prev = at_slot(t, sk->list_prev), *next = at_slot(t, sk->list_next);

	if (prev)
		prev->list_next = sk->list_next;
	else
		l->acc_head = sk->list_next;
	if (next)
		next->list_prev = sk->list_prev;
	else
		l->acc_tail = sk->list_prev;
	sk->list_next = sk->list_prev = 0;
	sk->flags &= ~SK_F_ACCEPTQ;
	l->n_accept--;
}

static void listener_ready(struct turn *t, struct sk *lsk, bool edge)
{
	const uint32_t in = EPOLLIN | EPOLLRDNORM;

	if (listen_of(lsk)->n_accept == 0) {
		sk_ready(t, lsk, 0, in);
		return;
	}
	if (edge || !(lsk->ready & EPOLLIN))
		sk_ready(t, lsk, in, 0);
}

void tcp_embryo_unlink(struct turn *t, struct sk *sk)
{
	struct sk *lsk;

	if (!(sk->flags & SK_F_EMBRYO))
		return;
	if (sk->kind == SK_TCP)
		tcp_tfo_end(t, sk, false);
	lsk = sk_find(t, (sk_h){ sk->parent });
	sk->flags &= ~SK_F_EMBRYO;
	sk->parent = 0;
	if (!lsk || lsk->kind != SK_LISTEN) {	/* L3 */
		never(t, WHY_TCP_INVARIANT);
		return;
	}
	if (sk->flags & SK_F_ACCEPTQ)
		acc_cut(t, listen_of(lsk), sk);
	else
		emb_cut(t, listen_of(lsk), sk);
	listener_ready(t, lsk, false);
}

/* L1: what a program that died between two stores may have left. */
bool tcp_embryo_is_listed(const struct turn *t, const struct sk *sk)
{
	struct sk *lsk = sk_find(t, (sk_h){ sk->parent });
	const struct sk *prev = at_slot(t, sk->list_prev), *next = at_slot(t, sk->list_next);
	bool accepting = sk->flags & SK_F_ACCEPTQ;
	uint32_t slot = sk_slot_of(t, sk);
	const struct tcp_listen *l;

	if (!lsk || lsk->kind != SK_LISTEN)
		return false;
	l = listen_of(lsk);
	if (prev ? prev->list_next != slot : (accepting ? l->acc_head : l->emb_head) != slot)
		return false;
	return next ? next->list_prev == slot : !accepting || l->acc_tail == slot;
}

static uint32_t n_listed(const struct turn *t, uint32_t slot)
{
	uint32_t n = 0;

	for (; slot && n <= t->map->sk_mask; n++)
		slot = sk_slot(t, slot)->list_next;
	return n;
}

bool tcp_listen_is_sound(const struct turn *t, struct sk *lsk)		/* L2 */
{
	const struct tcp_listen *l = listen_of(lsk);

	return n_listed(t, l->acc_head) == l->n_accept && n_listed(t, l->emb_head) == l->n_embryos &&
	       tcp_synq_is_sound(t, lsk);
}

/* ---- a SYN ----------------------------------------------------------------------------------------- */

/* Linux's sk_acceptq_is_full(): one more than the backlog may wait. */
static bool acceptq_is_full(const struct tcp_listen *l)
{
	return l->n_accept > l->backlog;
}

static bool embryos_are_full(const struct tcp_listen *l)
{
	return l->n_embryos + l->n_reqs >= min_u32(max_u32(l->backlog, 256), TCP_MAX_EMBRYOS);
}

static void overflow(struct turn *t, struct sk *lsk)
{
	struct tcp_listen *l = listen_of(lsk);

	l->n_overflow++;
	ev(t, EV_TCP_LISTEN_OVERFLOW, lsk->self, l->n_accept, l->n_embryos + l->n_reqs);
}

static struct syn_req req_of_syn(const struct tcp_seg *s, uint32_t isn)
{
	return (struct syn_req){
		.laddr = s->in->dst, .raddr = s->in->src, .rport = s->h.sport, .irs = s->seq, .iss = isn,
		.ts_val = s->h.ts_val, .mss = s->h.mss, .ws = s->h.ws, .flags = s->h.flags,
		.opts = (uint8_t)((s->h.has_ts ? SYN_O_TS : 0) | (s->h.has_ws ? SYN_O_WS : 0) |
				  (s->h.sack_permitted ? SYN_O_SACK : 0)),
	};
}

static struct tcp_seg syn_of_req(const struct syn_req *r, const struct ip_info *in)
{
	static const struct ip_info not_ect = { .tos = 0 };

	return (struct tcp_seg){
		.in = in ? in : &not_ect,
		.h = { .flags = r->flags ? r->flags : TCP_F_SYN, .has_mss = r->mss != 0, .mss = r->mss,
		       .has_ts = r->opts & SYN_O_TS, .ts_val = r->ts_val, .has_ws = r->opts & SYN_O_WS,
		       .ws = r->ws, .sack_permitted = r->opts & SYN_O_SACK },
		.seq = r->irs, .end_seq = r->irs + 1,
	};
}

/* r->iss 0: a new one. Its timers do not run, and SYN_OWED says that nothing was sent. */
struct sk *tcp_embryo_build(struct turn *t, struct sk *lsk, const struct syn_req *r, const struct ip_info *in)
{
	struct tcp_seg s = syn_of_req(r, in);
	struct sk *sk = sk_get(t, SK_TCP, IPPROTO_TCP);
	struct tcb *b;

	if (!sk)
		return NULL;
	sk->laddr = r->laddr;
	sk->raddr = r->raddr;
	sk->lport = lsk->lport;
	sk->rport = r->rport;
	sk->flags |= lsk->flags & SK_F_FAMILY6;
	sk->priority = lsk->priority;
	tcb_init(t, sk, &listen_of(lsk)->opts);
	sk->rcvlowat = lsk->rcvlowat;
	b = tcb_of(sk);
	if (r->iss) {
		b->iss = b->snd_una = r->iss;
		b->snd_nxt = b->write_seq = r->iss + 1;
		b->snd_sml = b->snd_up = b->recovery_point = b->usage_seq = r->iss;
	}
	b->defer_accept_s = 0;	/* the listener's alone */
	b->n_rtx = r->n_rtx;
	b->total_retrans = r->n_rtx;
	tcp_event(t, sk, TE_PASSIVE);
	tcb_take_syn(t, sk, &s);
	return sk;
}

/* The listener's from now on. False: the tuple is taken, and sk is gone. */
static bool adopt(struct turn *t, struct sk *lsk, struct sk *sk)
{
	if (flow_insert(t, sk) != 0) {
		tcp_free(t, sk);
		return false;
	}
	sk->flags |= SK_F_EMBRYO;
	sk->parent = lsk->self;
	emb_link(t, listen_of(lsk), sk);
	tcp_tmr_rearm(t, sk, TCP_RTX_SYNACK);
	return true;
}

/* RFC 7413 4.2.2: the SYN's data is the user's at once, and so is the connection. */
static void open_at_once(struct turn *t, struct sk *lsk, struct tcp_seg *s, uint32_t isn, const struct tcp_fo *fo)
{
	struct syn_req r = req_of_syn(s, isn);
	struct sk *sk = tcp_embryo_build(t, lsk, &r, s->in);
	struct tcp_listen *l = listen_of(lsk);
	struct tcb *b;

	if (!sk)
		return;
	if (flow_insert(t, sk) != 0) {
		tcp_free(t, sk);
		return;
	}
	if (ip_route(t, &sk->raddr, &sk->laddr, &sk->path) == 0)
		tcb_sync_mss(t, sk);
	b = tcb_of(sk);
	b->snd_una = b->iss + 1;
	b->snd_wnd = b->max_wnd = s->wnd;
	tcp_event(t, sk, TE_R_ACK_SYN);
	tcb_established(t, sk);
	b->flags |= TCB_F_FASTOPEN;
	l->n_fo++;
	tcp_tmr_rearm(t, sk, TCP_RTX_SYNACK);
	ev(t, EV_TCP_TFO_IN, sk->self, s->len, l->n_fo);
	sk->flags |= SK_F_EMBRYO;
	sk->parent = lsk->self;
	acc_push(t, l, sk);
	b->rcv_wup = b->rcv_nxt;
	b->rcv_wnd = min_u32(min_u32(sk->rcvbuf / 2, b->window_clamp), UINT16_MAX);
	if (s->len) {
		b->early_flags |= TFO_TAKEN;
		tcp_syn_text(t, sk, s);
	}
	if (tcp_emit_syn_fo(t, sk, fo) != 0)
		b->flags |= TCB_F_SYN_OWED;
	ev(t, EV_TCP_ACCEPT_READY, sk->self, lsk->self, l->n_accept);
	listener_ready(t, lsk, true);
}

/* A SYN is answered: by an embryo with a socket, by one of 64 bytes, or by nobody. */
static void answer_syn(struct turn *t, struct sk *lsk, struct tcp_seg *s, uint32_t isn)
{
	struct tcp_listen *l = listen_of(lsk);
	bool cookie = embryos_are_full(l) || (l->n_embryos >= TCP_FULL_EMBRYOS && !tcp_synq_has_room(t));
	bool full = !cookie && l->n_embryos < TCP_FULL_EMBRYOS;
	struct syn_req r = req_of_syn(s, isn);
	struct tcp_fo fo = { .has = false };
	struct sk *sk;

	if (!cookie && tcp_tfo_syn(t, lsk, s, &fo)) {
		open_at_once(t, lsk, s, isn, &fo);
		return;
	}
	sk = tcp_embryo_build(t, lsk, &r, s->in);
	if (!sk || (full && !adopt(t, lsk, sk)))
		return;
	if (cookie)
		tcp_cookie_make(t, lsk, sk, &r);
	/* A route that is missing now may be there for the repetition. */
	if (tcp_emit_syn_fo(t, sk, &fo) != 0)
		tcb_of(sk)->flags |= TCB_F_SYN_OWED;
	if (full)
		return;
	r.iss = tcb_of(sk)->iss;
	if (!(tcb_of(sk)->ecn & ECN_OK))	/* agreed or not: it is not asked twice */
		r.flags &= (uint8_t)~(TCP_F_ECE | TCP_F_CWR);
	tcp_free(t, sk);
	if (!cookie)
		tcp_synq_add(t, lsk, &r);
}

/* ---- what comes for a half-open connection without a socket ---------------------------------------- */

/* The peer's ACK: the embryo gets a socket, as if it had had one since its SYN, and s. */
static enum verdict embody(struct turn *t, struct sk *lsk, struct tcp_seg *s, const struct syn_req *r)
{
	struct sk *sk = tcp_embryo_build(t, lsk, r, NULL);
	struct tcb *b;

	if (!sk || !adopt(t, lsk, sk))
		return V_DROP;
	b = tcb_of(sk);
	b->rcv_wup = b->rcv_nxt;
	/* What our answer said at most: less may be free now, but it is not taken back (A1 of ack.c). */
	b->rcv_wnd = min_u32(min_u32(sk->rcvbuf / 2, b->window_clamp), UINT16_MAX);
	if (tcp_syn_parent(r) == 0) {
		b->n_rtx = 1;	/* when the cookie was sent, nobody knows: no sample (Karn) */
	} else {
		int64_t us = (int32_t)(r->at_us - tcp_now_us(t));

		us = us > 0 ? us : 0;
		b->rtx_at = t->now + (uint64_t)us * NS_PER_US;
		sk->born_at = b->rtx_at - ((2ull << r->n_rtx) - 1) * TCP_RTO_INIT_US * NS_PER_US;
		tcp_tmr_sync(t, sk);
	}
	s->wnd <<= b->snd_wscale & 15;
	return tcp_conn_input(t, sk, s);
}

static enum verdict req_input(struct turn *t, struct sk *lsk, struct tcp_seg *s, struct syn_req *r)
{
	struct syn_req was = *r;

	if (s->h.flags & TCP_F_RST) {
		if (s->seq == r->irs + 1) {	/* RFC 5961 3.2 */
			ev(t, EV_TCP_RST_IN, lsk->self, s->seq, TCP_S_SYN_RCVD);
			tcp_synq_drop(t, lsk, r);
		}
		return V_DROP;
	}
	if (s->h.flags & TCP_F_SYN) {
		if (s->seq == r->irs && !(s->h.flags & TCP_F_ACK))
			tcp_synq_again(t, lsk, r);
		else
			tcp_synq_challenge(t, lsk, r);
		return V_DROP;
	}
	if (!(s->h.flags & TCP_F_ACK))
		return V_DROP;
	if (s->h.ack != r->iss + 1) {	/* RFC 9293 3.10.7.4, SYN-RECEIVED */
		ev(t, EV_TCP_ACK_UNSENT, lsk->self, s->h.ack, r->iss + 1);
		tcp_reply_rst(t, s);
		return V_DROP;
	}
	if (acceptq_is_full(listen_of(lsk))) {
		overflow(t, lsk);
		return V_DROP;
	}
	tcp_synq_drop(t, lsk, r);
	return embody(t, lsk, s, &was);
}

static bool is_bare_ack(const struct tcp_seg *s)
{
	return (s->h.flags & (TCP_F_ACK | TCP_F_SYN | TCP_F_RST)) == TCP_F_ACK;
}

enum verdict tcp_listen_input(struct turn *t, struct sk *lsk, struct tcp_seg *s, uint32_t isn)
{
	struct tcp_listen *l = listen_of(lsk);
	struct syn_req *r = l->n_reqs ? tcp_synq_find(t, lsk, s) : NULL, cookie;

	if (r)
		return req_input(t, lsk, s, r);
	if (s->h.flags & TCP_F_RST)	/* RFC 9293 3.10.7.2, first */
		return V_DROP;
	if (unlikely(l->cookies) && is_bare_ack(s) && !l->shut && tcp_cookie_check(t, lsk, s, &cookie)) {
		if (!acceptq_is_full(l))
			return embody(t, lsk, s, &cookie);
		overflow(t, lsk);
		return V_DROP;
	}
	if (s->h.flags & TCP_F_ACK) {	/* second */
		ev(t, EV_TCP_NO_SOCKET, lsk->self, s->seq, s->h.ack);
		tcp_reply_rst(t, s);
		return V_DROP;
	}
	/* Third. A SYN with FIN is nobody's real opening; Linux drops it too. */
	if (!(s->h.flags & TCP_F_SYN) || (s->h.flags & TCP_F_FIN) || l->shut)
		return V_DROP;
	if (acceptq_is_full(l))
		overflow(t, lsk);
	else
		answer_syn(t, lsk, s, isn);
	return s->pkt.v ? V_DROP : V_TAKEN;
}

bool tcp_embryo_done(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	struct sk *lsk;
	struct tcp_listen *l;

	if (!(sk->flags & SK_F_EMBRYO))
		return true;
	lsk = sk_find(t, (sk_h){ sk->parent });
	if (!lsk || lsk->kind != SK_LISTEN) {
		never(t, WHY_TCP_INVARIANT);
		return false;
	}
	l = listen_of(lsk);
	/* TCP_DEFER_ACCEPT: an ACK without data is not worth a wake-up yet. Its end is the next
	 * SYN-ACK, which the peer will acknowledge again. */
	if (s->len == 0 && !(s->h.flags & TCP_F_FIN) && l->opts.defer_accept_s &&
	    t->now < sk->born_at + l->opts.defer_accept_s * NS_PER_S) {
		b->rtx_at = sk->born_at + l->opts.defer_accept_s * NS_PER_S;
		tcp_tmr_sync(t, sk);
		return false;
	}
	if (acceptq_is_full(l)) {
		b->flags |= TCB_F_ACK_SEEN;
		overflow(t, lsk);
		return false;
	}
	emb_cut(t, l, sk);
	acc_push(t, l, sk);
	ev(t, EV_TCP_ACCEPT_READY, sk->self, lsk->self, l->n_accept);
	listener_ready(t, lsk, true);
	return true;
}

/* ---- the user's side ----------------------------------------------------------------------------------- */

int tcp_listen(struct turn *t, const struct tcp_opts *o, const struct ipaddr *laddr,
	       uint16_t lport, uint32_t backlog, struct sk **ret)
{
	struct sk *sk = sk_get(t, SK_LISTEN, IPPROTO_TCP);
	struct tcp_listen *l;
	int rc;

	if (!sk)
		return -ENOBUFS;
	sk->laddr = *laddr;
	sk->lport = lport;
	sk->flags |= (o->v6only ? SK_F_V6ONLY : 0) | (o->family6 ? SK_F_FAMILY6 : 0) |
		     (o->reuseaddr ? SK_F_REUSEADDR : 0) | (o->reuseport ? SK_F_REUSEPORT : 0);
	sk->tos = o->tos;
	sk->ttl = o->ttl;
	sk->rcvlowat = 1;
	sk->rcvbuf = o->rcvbuf ? o->rcvbuf : tcp_tune_rcvbuf(t);
	sk->sndbuf = o->sndbuf ? o->sndbuf : tcp_tune_sndbuf(t);
	l = listen_of(sk);
	l->opts = *o;
	l->backlog = sk->txq_bytes = backlog;	/* the latter is what `ss` shows */
	if (l->opts.fo_qlen == 0 && tcp_tune_fastopen(t) & TFO_SERVER && tcp_tune_fastopen(t) & TFO_SERVER_ALL)
		l->opts.fo_qlen = backlog;
	rc = listen_insert(t, sk);
	if (rc != 0) {
		sk_put(t, sk);
		return rc;
	}
	tcp_event(t, sk, TE_LISTEN);
	*ret = sk;
	return 0;
}

void tcp_set_backlog(struct turn *t, struct sk *lsk, uint32_t backlog)
{
	(void)t;
	must(lsk->kind == SK_LISTEN);
	listen_of(lsk)->backlog = lsk->txq_bytes = backlog;
}

struct sk *tcp_accept(struct turn *t, struct sk *lsk)
{
	struct tcp_listen *l = listen_of(lsk);
	struct sk *sk = at_slot(t, l->acc_head);

	must(lsk->kind == SK_LISTEN);
	if (!sk)
		return NULL;
	if ((sk->kind != SK_TCP && sk->kind != SK_AP) || !(sk->flags & SK_F_EMBRYO)) {
		never(t, WHY_TCP_INVARIANT);
		return NULL;
	}
	acc_cut(t, l, sk);
	sk->flags &= ~SK_F_EMBRYO;
	if (sk->kind != SK_TCP || !(tcb_of(sk)->flags & TCB_F_FASTOPEN))	/* F1 of tfo.c */
		sk->parent = 0;
	listener_ready(t, lsk, false);
	if (sk->kind == SK_TCP)
		tcp_ready_sync(t, sk, 0);
	return sk;
}

bool tcp_listen_push(struct turn *t, struct sk *lsk, struct sk *sk)
{
	struct tcp_listen *l = listen_of(lsk);

	must(lsk->kind == SK_LISTEN);
	if (l->shut || l->n_accept > max_u32(l->backlog, TCP_MAX_EMBRYOS))
		return false;
	sk->flags |= SK_F_EMBRYO;
	sk->parent = lsk->self;
	acc_push(t, l, sk);
	ev(t, EV_TCP_ACCEPT_READY, sk->self, lsk->self, l->n_accept);
	listener_ready(t, lsk, true);
	return true;
}

struct sk *tcp_listen_next(struct turn *t, struct sk *lsk, enum sk_kind kind)
{
	uint32_t slot = listen_of(lsk)->acc_head, left = t->map->sk_mask;

	for (; slot && left; left--) {
		struct sk *sk = sk_slot(t, slot);

		if (sk->kind == kind)
			return sk;
		slot = sk->list_next;
	}
	return NULL;
}

const struct tcp_opts *tcp_listen_opts(struct sk *lsk) { return &listen_of(lsk)->opts; }

/* Resets what nobody will accept, and takes no more. The slot stays. */
static void stop(struct turn *t, struct sk *lsk)
{
	struct tcp_listen *l = listen_of(lsk);
	uint32_t left = t->map->sk_mask + 1;

	l->shut = 1;
	listen_remove(t, lsk);
	tcp_synq_drop_all(t, lsk);
	while ((l->acc_head || l->emb_head) && left--) {
		struct sk *sk = sk_slot(t, l->acc_head ? l->acc_head : l->emb_head);

		if (sk->kind != SK_TCP || !(sk->flags & SK_F_EMBRYO)) {
			never(t, WHY_TCP_INVARIANT);
			return;
		}
		/* Linux: embryos are forgotten, the accept queue is reset. */
		if (sk->state >= TCP_S_ESTABLISHED && sk->state != TCP_S_TIME_WAIT)
			tcp_emit_rst(t, sk);
		tcp_embryo_unlink(t, sk);
		sk->flags |= SK_F_ORPHAN;	/* nobody holds it: tcp_done() frees it */
		if (sk->state == TCP_S_CLOSED)
			tcp_free(t, sk);
		else
			tcp_done(t, sk, TE_ABORT, 0);
	}
	if (lsk->state == TCP_S_LISTEN)
		tcp_event(t, lsk, TE_CLOSE);
}

void tcp_listen_close(struct turn *t, struct sk *lsk)
{
	stop(t, lsk);
	sk_ready(t, lsk, EPOLLHUP | EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLOUT | EPOLLWRNORM, 0);
}
