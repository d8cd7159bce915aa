/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Half-open connections without a socket (RFC 4987 3.5). A listener's first TCP_FULL_EMBRYOS have
 * a socket each; what the others need to be remembered by is 64 bytes, from which the socket is
 * made again when the peer's ACK comes, or for a moment when our answer is to be repeated. So
 * whatever arrives, all half-open connections of a stack's listener together take 64 kB at most;
 * what does not fit here is answered with a cookie (cookie.c) and takes nothing.
 *
 * Each entry is found by its tuple in the stack's hash, and stands in its listener's list of those
 * that were repeated as often. Such a list is in the order of its deadlines, since each entry is
 * put at its end with the same delay: only heads are looked at.
 *
 * Invariants
 *  Y1  An entry in use names the slot of a live listener and is on exactly one list of it,
 *	reqs[n_rtx], and in the bucket of its tuple.
 *  Y2  n_reqs counts a listener's entries, syns.n all.
 *  Y3  While a listener has entries its timer runs, at the latest for the soonest of them.
 */
#include <netinet/in.h>

#include "core/tcp/parts.h"

#define SALT_SYN	0x73796e
#define REPEAT_MIN_US	(TCP_OOW_LIMIT_MS * 1000u)
static_assert(N_SYN_REQS * sizeof(struct syn_req) + N_SYN_BUCKETS * 2 + TCP_FULL_EMBRYOS * SK_BYTES <= 64000,
	      "64 kB at most");
#define TICK_MAX	64u	/* answers repeated in one go */

static struct syn_table *table(const struct turn *t)
{
	return &t->map->seg->syns;
}

static struct syn_req *at(const struct turn *t, uint32_t i)
{
	return &table(t)->req[i < N_SYN_REQS ? i : 0];
}

static uint16_t index_of(const struct turn *t, const struct syn_req *r)
{
	return (uint16_t)(r - table(t)->req);
}

static uint32_t bucket_of(const struct turn *t, const struct ipaddr *laddr, const struct ipaddr *raddr,
			  uint32_t parent, uint16_t rport)
{
	struct { struct ipaddr l, r; uint32_t parent, rport; } k = { *laddr, *raddr, parent, rport };

	return hash_bytes(t->map->seg->secret, &k, sizeof(k), SALT_SYN) & (N_SYN_BUCKETS - 1);
}

static uint32_t bucket_of_req(const struct turn *t, const struct syn_req *r)
{
	return bucket_of(t, &r->laddr, &r->raddr, tcp_syn_parent(r), r->rport);
}

static uint32_t wait_us(uint32_t n_rtx)
{
	return TCP_RTO_INIT_US << min_u32(n_rtx, TCP_SYNACK_RETRIES);
}

/* ---- lists --------------------------------------------------------------------------------------- */

static uint32_t level_of(const struct syn_req *r)
{
	return min_u32(r->n_rtx, TCP_SYNACK_RETRIES);
}

static void list_cut(struct turn *t, struct tcp_listen *l, struct syn_req *r)
{
	uint32_t k = level_of(r);

	if (r->prev)
		at(t, r->prev)->next = r->next;
	else
		l->reqs[k].head = r->next;
	if (r->next)
		at(t, r->next)->prev = r->prev;
	else
		l->reqs[k].tail = r->prev;
	r->next = r->prev = 0;
}

/* At the end of its list, due after that list's delay. */
static void list_push(struct turn *t, struct sk *lsk, struct syn_req *r)
{
	struct tcp_listen *l = listen_of(lsk);
	uint32_t k = level_of(r), us = wait_us(k);
	uint16_t i = index_of(t, r);

	r->at_us = tcp_now_us(t) + us;
	r->next = 0;
	r->prev = l->reqs[k].tail;
	if (r->prev)
		at(t, r->prev)->next = i;
	else
		l->reqs[k].head = i;
	l->reqs[k].tail = i;
	if (lsk->tmr_at > t->now + us * NS_PER_US)
		tmr_arm(t, lsk, t->now + us * NS_PER_US);
}

/* ---- entries --------------------------------------------------------------------------------------- */

bool tcp_synq_has_room(const struct turn *t)
{
	return table(t)->free || table(t)->used < N_SYN_REQS - 1;
}

static uint16_t take(struct turn *t)
{
	struct syn_table *s = table(t);
	uint16_t i = s->free;

	if (i == 0) {
		if (s->used >= N_SYN_REQS - 1)
			return 0;
		return ++s->used;
	}
	if (i >= N_SYN_REQS || tcp_syn_parent(&s->req[i]) != 0) {
		never(t, WHY_TCP_INVARIANT);
		return 0;
	}
	s->free = s->req[i].next;
	return i;
}

void tcp_synq_add(struct turn *t, struct sk *lsk, const struct syn_req *r)
{
	struct syn_table *s = table(t);
	uint16_t i = take(t);
	struct syn_req *to = at(t, i);
	uint32_t b;

	if (i == 0)
		return;
	*to = *r;
	to->parent = (uint16_t)sk_slot_of(t, lsk);
	to->opts |= (uint8_t)(sk_slot_of(t, lsk) >> 16 << SYN_O_SLOT_SHIFT);
	b = bucket_of_req(t, to);
	to->hash_next = s->bucket[b];
	s->bucket[b] = i;
	s->n++;
	listen_of(lsk)->n_reqs++;
	list_push(t, lsk, to);
	ev(t, EV_TCP_SYN_PARKED, lsk->self, to->irs, s->n);
}

static void hash_cut(struct turn *t, struct syn_req *r)
{
	uint16_t *link = &table(t)->bucket[bucket_of_req(t, r)], i = index_of(t, r);

	for (uint32_t left = N_SYN_REQS; left && *link; left--) {
		if (*link == i) {
			*link = r->hash_next;
			return;
		}
		link = &at(t, *link)->hash_next;
	}
	never(t, WHY_TCP_INVARIANT);
}

void tcp_synq_drop(struct turn *t, struct sk *lsk, struct syn_req *r)
{
	struct syn_table *s = table(t);

	hash_cut(t, r);
	list_cut(t, listen_of(lsk), r);
	r->parent = 0;
	r->opts = 0;
	r->next = s->free;
	s->free = index_of(t, r);
	s->n--;
	listen_of(lsk)->n_reqs--;
}

void tcp_synq_drop_all(struct turn *t, struct sk *lsk)
{
	struct tcp_listen *l = listen_of(lsk);

	for (uint32_t k = 0; k <= TCP_SYNACK_RETRIES; k++)
		for (uint32_t left = N_SYN_REQS; left && l->reqs[k].head; left--)
			tcp_synq_drop(t, lsk, at(t, l->reqs[k].head));
}

struct syn_req *tcp_synq_find(const struct turn *t, const struct sk *lsk, const struct tcp_seg *s)
{
	uint32_t parent = sk_slot_of(t, lsk);
	uint32_t i = table(t)->bucket[bucket_of(t, &s->in->dst, &s->in->src, parent, s->h.sport)];

	for (uint32_t left = N_SYN_REQS; left && i; left--) {
		struct syn_req *r = at(t, i);

		if (r->rport == s->h.sport && tcp_syn_parent(r) == parent && ip_eq(&r->raddr, &s->in->src) &&
		    ip_eq(&r->laddr, &s->in->dst))
			return r;
		i = r->hash_next;
	}
	return NULL;
}

/* ---- our answer once more ---------------------------------------------------------------------------- */

/* What cannot go out now will be asked for again, or is repeated next time. */
static void answer(struct turn *t, struct sk *lsk, const struct syn_req *r)
{
	struct sk *sk = tcp_embryo_build(t, lsk, r, NULL);

	if (!sk)
		return;
	if (tcp_emit_syn(t, sk) == 0)
		ev(t, EV_TCP_RTO, sk->self, r->n_rtx, r->iss);
	tcp_free(t, sk);
}

/* At most so often: each time the entry's deadline begins anew. */
static bool may_answer(struct turn *t, struct sk *lsk, struct syn_req *r)
{
	uint32_t said_us = r->at_us - wait_us(level_of(r));

	if (tcp_now_us(t) - said_us < REPEAT_MIN_US)
		return false;
	list_cut(t, listen_of(lsk), r);
	list_push(t, lsk, r);
	return true;
}

void tcp_synq_again(struct turn *t, struct sk *lsk, struct syn_req *r)
{
	if (may_answer(t, lsk, r))
		answer(t, lsk, r);
}

/* A SYN that does not fit: an ACK asks whoever really is there to say so with a reset. */
void tcp_synq_challenge(struct turn *t, struct sk *lsk, struct syn_req *r)
{
	struct sk *sk = may_answer(t, lsk, r) ? tcp_embryo_build(t, lsk, r, NULL) : NULL;

	if (!sk)
		return;
	ev(t, EV_TCP_CHALLENGE, lsk->self, r->irs + 1, r->iss + 1);
	tcp_emit_ack(t, sk);
	tcp_free(t, sk);
}

static void fire(struct turn *t, struct sk *lsk, struct syn_req *r)
{
	if (r->n_rtx >= tcp_tune_synack_retries(t)) {	/* RFC 9293 3.8.3: nobody is there */
		ev(t, EV_TCP_TIMEOUT, lsk->self, r->iss, r->n_rtx);
		tcp_synq_drop(t, lsk, r);
		return;
	}
	list_cut(t, listen_of(lsk), r);
	r->n_rtx += r->n_rtx < UINT8_MAX;
	list_push(t, lsk, r);
	answer(t, lsk, r);
}

void tcp_synq_tick(struct turn *t, struct sk *lsk)
{
	struct tcp_listen *l = listen_of(lsk);
	uint32_t left = TICK_MAX, now = tcp_now_us(t);
	uint64_t next_at = NEVER_NS;

	if (lsk->kind != SK_LISTEN || lsk->state != TCP_S_LISTEN)
		return;
	for (uint32_t k = 0; k <= TCP_SYNACK_RETRIES; k++) {
		while (l->reqs[k].head && left && !after(at(t, l->reqs[k].head)->at_us, now)) {
			fire(t, lsk, at(t, l->reqs[k].head));
			left--;
		}
		if (l->reqs[k].head) {
			int32_t us = (int32_t)(at(t, l->reqs[k].head)->at_us - now);

			next_at = min_u64(next_at, t->now + (us > 0 ? (uint64_t)us * NS_PER_US : NS_PER_MS));
		}
	}
	if (next_at < lsk->tmr_at)
		tmr_arm(t, lsk, next_at);
}

/* ---- Y1, Y2 ---------------------------------------------------------------------------------------------- */

static bool is_in_bucket(const struct turn *t, const struct syn_req *r)
{
	uint32_t i = table(t)->bucket[bucket_of_req(t, r)];

	for (uint32_t left = N_SYN_REQS; left && i; left--) {
		if (at(t, i) == r)
			return true;
		i = at(t, i)->hash_next;
	}
	return false;
}

bool tcp_synq_is_sound(const struct turn *t, struct sk *lsk)
{
	const struct tcp_listen *l = listen_of(lsk);
	uint32_t n = 0;

	for (uint32_t k = 0; k <= TCP_SYNACK_RETRIES; k++) {
		uint32_t prev = 0, i = l->reqs[k].head;

		for (; i; i = at(t, i)->next) {
			const struct syn_req *r = at(t, i);

			if (i >= N_SYN_REQS || ++n > l->n_reqs || r->prev != prev || level_of(r) != k ||
			    tcp_syn_parent(r) != sk_slot_of(t, lsk) || !is_in_bucket(t, r))
				return false;
			prev = i;
		}
		if (prev != l->reqs[k].tail)
			return false;
	}
	return n == l->n_reqs && n <= table(t)->n;
}
