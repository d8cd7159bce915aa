/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * LISTEN, and connections that nobody has accepted yet (RFC 9293 3.10.7.2).
 *
 *	SYN -> embryo (SYN_RCVD, on the listener's list) -> ACK -> accept queue -> accept()
 *
 * Backlog as Linux: while the accept queue is full a SYN is dropped, and so is a last ACK,
 * whose embryo goes on repeating its SYN-ACK; so nothing is refused, only delayed. Embryos
 * have a limit of their own.
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

	return n_listed(t, l->acc_head) == l->n_accept && n_listed(t, l->emb_head) == l->n_embryos;
}

/* ---- a SYN ----------------------------------------------------------------------------------------- */

/* Linux's sk_acceptq_is_full(): one more than the backlog may wait. */
static bool acceptq_is_full(const struct tcp_listen *l)
{
	return l->n_accept > l->backlog;
}

static bool embryos_are_full(const struct tcp_listen *l)
{
	return l->n_embryos >= min_u32(max_u32(l->backlog, 256), TCP_MAX_EMBRYOS);
}

static void new_embryo(struct turn *t, struct sk *lsk, struct tcp_seg *s, uint32_t isn)
{
	struct tcp_listen *l = listen_of(lsk);
	struct sk *sk = sk_get(t, SK_TCP, IPPROTO_TCP);
	struct tcb *b;

	if (!sk)
		return;
	sk->laddr = s->in->dst;
	sk->raddr = s->in->src;
	sk->lport = s->h.dport;
	sk->rport = s->h.sport;
	sk->flags |= lsk->flags & SK_F_FAMILY6;
	sk->mark = lsk->mark;
	sk->priority = lsk->priority;
	tcb_init(t, sk, &l->opts);
	sk->rcvlowat = lsk->rcvlowat;
	b = tcb_of(sk);
	if (isn) {
		b->iss = b->snd_una = isn;
		b->snd_nxt = b->write_seq = isn + 1;
		b->snd_sml = b->snd_up = b->recovery_point = b->usage_seq = isn;
	}
	if (flow_insert(t, sk) != 0) {
		sk_put(t, sk);
		return;
	}
	sk->flags |= SK_F_EMBRYO;
	sk->parent = lsk->self;
	emb_link(t, l, sk);
	tcp_event(t, sk, TE_PASSIVE);
	tcb_take_syn(t, sk, s);
	tcp_tmr_rearm(t, sk, TCP_RTX_SYNACK);
	/* A route that is missing now may be there for the repetition. */
	if (tcp_emit_syn(t, sk) != 0)
		b->flags |= TCB_F_SYN_OWED;
}

void tcp_listen_input(struct turn *t, struct sk *lsk, struct tcp_seg *s, uint32_t isn)
{
	struct tcp_listen *l = listen_of(lsk);

	if (s->h.flags & TCP_F_RST)	/* RFC 9293 3.10.7.2, first */
		return;
	if (s->h.flags & TCP_F_ACK) {	/* second */
		ev(t, EV_TCP_NO_SOCKET, lsk->self, s->seq, s->h.ack);
		tcp_reply_rst(t, s);
		return;
	}
	/* Third. A SYN with FIN is nobody's real opening; Linux drops it too. */
	if (!(s->h.flags & TCP_F_SYN) || (s->h.flags & TCP_F_FIN) || l->shut)
		return;
	if (acceptq_is_full(l) || embryos_are_full(l)) {
		l->n_overflow++;
		ev(t, EV_TCP_LISTEN_OVERFLOW, lsk->self, l->n_accept, l->n_embryos);
		return;
	}
	new_embryo(t, lsk, s, isn);
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
		l->n_overflow++;
		b->flags |= TCB_F_ACK_SEEN;
		ev(t, EV_TCP_LISTEN_OVERFLOW, lsk->self, l->n_accept, l->n_embryos);
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
		     (o->reuseaddr ? SK_F_REUSEADDR : 0);
	sk->tos = o->tos;
	sk->ttl = o->ttl;
	sk->rcvlowat = 1;
	sk->rcvbuf = o->rcvbuf ? o->rcvbuf : tcp_tune_rcvbuf(t);
	sk->sndbuf = o->sndbuf ? o->sndbuf : tcp_tune_sndbuf(t);
	l = listen_of(sk);
	l->opts = *o;
	l->backlog = sk->txq_bytes = backlog;	/* the latter is what `ss` shows */
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
