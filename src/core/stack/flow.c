/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two hash tables of sockets, keyed by the segment's secret so that a peer cannot aim at one
 * bucket. Buckets hold slots; sockets of a bucket are linked by hash_next, so a socket is in
 * one table at most.
 *
 *  H1  SK_F_HASHED: in the flow table, in the bucket of its present 5-tuple. SK_F_BOUND: in
 *      the listen table, in the bucket of its present (proto, lport). The owner takes it out
 *      before it changes any of these fields, and puts it back.
 *  H2  No two sockets of a table have the same key (listen table: same address included), unless
 *      all that have it are SK_F_REUSEPORT: a group.
 *  H3  The members of a group are numbered from 0 on (group_i), in the order in which they came.
 *      When one goes, the last takes its number. So a peer's flow stays with its member as long as
 *      the group does not change, and few flows move when it does; this is Linux's
 *      reuseport_select_sock() and reuseport_detach_sock().
 */
#include <errno.h>

#include "base/hash.h"
#include "core/stack/links.h"

#define SALT_LISTEN	0x6c697374

static uint32_t flow_bucket(const struct turn *t, uint8_t proto, const struct ipaddr *laddr,
			    uint16_t lport, const struct ipaddr *raddr, uint16_t rport)
{
	uint64_t rest = (uint64_t)proto << 32 | (uint32_t)lport << 16 | rport;

	return hash_flow(t->map->seg->secret, laddr, raddr, rest) & t->map->flow_mask;
}

uint32_t flow_bucket_of(const struct turn *t, const struct sk *sk)
{
	return flow_bucket(t, sk->proto, &sk->laddr, sk->lport, &sk->raddr, sk->rport);
}

struct sk *flow_find(struct turn *t, uint8_t proto, const struct ipaddr *laddr, uint16_t lport,
		     const struct ipaddr *raddr, uint16_t rport)
{
	uint32_t slot = t->map->flow[flow_bucket(t, proto, laddr, lport, raddr, rport)];

	for (uint32_t left = t->map->sk_mask; slot &= t->map->sk_mask; left--) {
		struct sk *sk = sk_slot(t, slot);

		if (sk->rport == rport && sk->lport == lport && sk->proto == proto &&
		    ip_eq(&sk->raddr, raddr) && ip_eq(&sk->laddr, laddr) && sk->flags & SK_F_HASHED)
			return sk;
		if (unlikely(!left)) {
			never(t, WHY_FLOW_TABLE);
			return NULL;
		}
		slot = sk->hash_next;
	}
	return NULL;
}

int flow_insert(struct turn *t, struct sk *sk)
{
	uint32_t *head = &t->map->flow[flow_bucket_of(t, sk)];

	must(sk->kind != SK_FREE && !(sk->flags & (SK_F_HASHED | SK_F_BOUND)));
	if (flow_find(t, sk->proto, &sk->laddr, sk->lport, &sk->raddr, sk->rport))
		return -EADDRINUSE;
	sk->hash_next = *head;
	*head = sk_slot_of(t, sk);
	sk->flags |= SK_F_HASHED;
	return 0;
}

/* Unlinks a socket from a bucket's chain. */
static void chain_cut(struct turn *t, uint32_t *at, struct sk *sk)
{
	uint32_t slot = sk_slot_of(t, sk);

	for (uint32_t left = t->map->sk_mask; *at && left; left--) {
		if ((*at & t->map->sk_mask) == slot) {
			*at = sk->hash_next;
			sk->hash_next = 0;
			return;
		}
		at = &sk_slot(t, *at)->hash_next;
	}
	never(t, WHY_FLOW_TABLE);
}

void flow_over(struct turn *t, struct sk *sk)
{
	struct segment *seg = t->map->seg;

	if (!(sk->flags & SK_F_EXACT))
		return;
	sk->flags &= ~SK_F_EXACT;
	if (seg->n_flows_over >= N_FLOWS_OVER)
		return;
	seg->flows_over[seg->n_flows_over].laddr = sk->laddr;
	seg->flows_over[seg->n_flows_over].raddr = sk->raddr;
	seg->flows_over[seg->n_flows_over].lport = sk->lport;
	seg->flows_over[seg->n_flows_over].rport = sk->rport;
	seg->n_flows_over++;
}

void flow_remove(struct turn *t, struct sk *sk)
{
	flow_over(t, sk);
	if (!(sk->flags & SK_F_HASHED))
		return;
	chain_cut(t, &t->map->flow[flow_bucket_of(t, sk)], sk);
	sk->flags &= ~SK_F_HASHED;
}

/* ---- listeners and unconnected UDP ---------------------------------------------------------- */

static uint32_t listen_bucket(const struct turn *t, uint8_t proto, uint16_t lport)
{
	uint32_t k = (uint32_t)proto << 16 | lport;

	return stack_hash(t, &k, sizeof(k), SALT_LISTEN) & t->map->listen_mask;
}

uint32_t listen_bucket_of(const struct turn *t, const struct sk *sk)
{
	return listen_bucket(t, sk->proto, sk->lport);
}

/* How well a bound socket suits a destination: 0 not at all, 3 its very address. */
static unsigned listen_score(const struct sk *sk, const struct ipaddr *laddr)
{
	if (ip_eq(&sk->laddr, laddr))
		return 3;
	if (!ip_is_any(&sk->laddr))
		return 0;
	if (ip_is4(&sk->laddr) == ip_is4(laddr))
		return 2;
	/* :: takes IPv4 too unless told otherwise; 0.0.0.0 never takes IPv6. */
	return ip_is4(laddr) && !(sk->flags & SK_F_V6ONLY) ? 1 : 0;
}

struct sk *listen_find(struct turn *t, uint8_t proto, const struct ipaddr *laddr, uint16_t lport)
{
	uint32_t slot = t->map->listen[listen_bucket(t, proto, lport)];
	struct sk *best = NULL;
	unsigned best_score = 0;

	for (uint32_t left = t->map->sk_mask; slot &= t->map->sk_mask; left--) {
		struct sk *sk = sk_slot(t, slot);

		if (sk->lport == lport && sk->proto == proto && sk->flags & SK_F_BOUND) {
			unsigned score = listen_score(sk, laddr);

			if (score > best_score) {
				best = sk;
				best_score = score;
			}
		}
		if (unlikely(!left)) {
			never(t, WHY_FLOW_TABLE);
			return NULL;
		}
		slot = sk->hash_next;
	}
	return best;
}

/* Is it of the group of that address? */
static bool is_member(const struct sk *sk, const struct sk *of)
{
	return sk->flags & SK_F_BOUND && sk->flags & SK_F_REUSEPORT && sk->lport == of->lport &&
	       sk->proto == of->proto && ip_eq(&sk->laddr, &of->laddr);
}

/* The member with that number; with GROUP_END, how many there are is all that is wanted. */
#define GROUP_END UINT32_MAX
static struct sk *group_walk(struct turn *t, const struct sk *of, uint32_t number, uint32_t *ret_n)
{
	uint32_t slot = t->map->listen[listen_bucket_of(t, of)], n = 0;

	for (uint32_t left = t->map->sk_mask; (slot &= t->map->sk_mask) && left; left--) {
		struct sk *sk = sk_slot(t, slot);

		if (is_member(sk, of)) {
			if (sk->group_i == number)
				return sk;
			n++;
		}
		slot = sk->hash_next;
	}
	*ret_n = n;
	return NULL;
}

struct sk *listen_pick(struct turn *t, uint8_t proto, const struct ipaddr *laddr, uint16_t lport,
		       const struct ipaddr *raddr, uint16_t rport)
{
	struct sk *sk = listen_find(t, proto, laddr, lport), *member;
	uint64_t rest = (uint64_t)proto << 32 | (uint32_t)lport << 16 | rport;
	uint32_t n = 0, hash;

	if (likely(!sk || !(sk->flags & SK_F_REUSEPORT)))
		return sk;
	(void)group_walk(t, sk, GROUP_END, &n);
	hash = (uint32_t)hash_flow(t->map->seg->secret, laddr, raddr, rest);
	member = group_walk(t, sk, (uint32_t)((uint64_t)hash * n >> 32), &n);
	return member ? member : sk;
}

/* Is any socket bound to that port, whatever its address? */
bool listen_has_port(struct turn *t, uint8_t proto, uint16_t lport)
{
	uint32_t slot = t->map->listen[listen_bucket(t, proto, lport)];

	for (uint32_t left = t->map->sk_mask; (slot &= t->map->sk_mask) && left; left--) {
		struct sk *sk = sk_slot(t, slot);

		if (sk->lport == lport && sk->proto == proto)
			return true;
		slot = sk->hash_next;
	}
	return false;
}

int listen_insert(struct turn *t, struct sk *sk)
{
	uint32_t *head = &t->map->listen[listen_bucket_of(t, sk)];
	struct sk *other = listen_find(t, sk->proto, &sk->laddr, sk->lport);

	uint32_t n = 0;

	must(sk->kind != SK_FREE && !(sk->flags & (SK_F_HASHED | SK_F_BOUND)));
	if (other && ip_eq(&other->laddr, &sk->laddr) && !(other->flags & sk->flags & SK_F_REUSEPORT))
		return -EADDRINUSE;
	(void)group_walk(t, sk, GROUP_END, &n);
	sk->group_i = (uint16_t)n;
	sk->hash_next = *head;
	*head = sk_slot_of(t, sk);
	sk->flags |= SK_F_BOUND;
	return 0;
}

void listen_remove(struct turn *t, struct sk *sk)
{
	struct sk *last;
	uint32_t n = 0;

	if (!(sk->flags & SK_F_BOUND))
		return;
	chain_cut(t, &t->map->listen[listen_bucket_of(t, sk)], sk);
	sk->flags &= ~SK_F_BOUND;
	if (!(sk->flags & SK_F_REUSEPORT))
		return;
	(void)group_walk(t, sk, GROUP_END, &n);
	last = group_walk(t, sk, n, &n);	/* H3: the one whose number is one too high now */
	if (last)
		last->group_i = sk->group_i;
}
