/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks the whole stack and holds it against the invariants that the files of this folder
 * number (K, S, H, W, E). The simulator does so after each turn, the strong side before it
 * goes on with a stack whose holder died. A walk never takes more steps than its pool has
 * slots, and never leaves the segment, whatever it finds.
 *
 * Two parts cost what the pool costs, not what is in use: buckets of the flow table and
 * frames. In a stack of standard size those are looked at in one turn of 64.
 */
#include <errno.h>

#include "base/atomic.h"
#include "core/stack/links.h"

#define SMALL	4096u		/* pools up to this are walked each time */

static bool is_time_for_all(const struct turn *t, uint32_t mask)
{
	return mask < SMALL || (t->map->seg->n_turns & 63) == 0;
}

/* ---- frames (K1, K2) ------------------------------------------------------------------------- */

static int check_free_pkts(struct turn *t)
{
	const struct segment *seg = t->map->seg;
	uint32_t slot = seg->free_pkt & t->map->pkt_mask, n = 0;

	while (slot) {
		const struct pkt *p = pkt_slot(t, slot);

		if (p->state != PKT_FREE || p->at_device)
			return condemn(t, WHY_PKT_STATE);
		if (++n > t->map->pkt_mask)
			return condemn(t, WHY_PKT_POOL);
		slot = p->next & t->map->pkt_mask;
	}
	return n == seg->n_free_pkt ? 0 : condemn(t, WHY_PKT_POOL);
}

static int check_pkts(struct turn *t)
{
	const struct segment *seg = t->map->seg;
	uint32_t n[PKT_HELD + 1] = { 0 }, posted = 0;

	if (!is_time_for_all(t, t->map->pkt_mask))
		return 0;
	if (check_free_pkts(t))
		return -EUCLEAN;
	for (uint32_t i = 1; i <= t->map->pkt_mask; i++) {
		const struct pkt *p = pkt_slot(t, i);
		uint8_t state = p->state;

		if (state > PKT_HELD || (p->at_device && state != PKT_HELD) ||
		    (p->flags & PKT_F_DEFER_PUT && !p->at_device))
			return condemn(t, WHY_PKT_STATE);
		n[state]++;
	}
	for (uint32_t vi = 0; vi < N_VIS; vi++)
		posted += seg->n_posted[vi];
	if (n[PKT_FREE] != seg->n_free_pkt || n[PKT_POSTED] != posted)
		return condemn(t, WHY_PKT_POOL);
	return 0;
}

/* ---- sockets, lists and tables (S, H) ----------------------------------------------------------- */

struct tally { uint32_t live, counted, hashed, bound, work, txwait, timer, items; };

static bool is_in_bucket(const struct turn *t, const uint32_t *table, uint32_t bucket,
			 const struct sk *sk)
{
	uint32_t slot = table[bucket] & t->map->sk_mask;

	for (uint32_t left = t->map->sk_mask; slot && left; left--) {
		if (sk_slot(t, slot) == sk)
			return true;
		slot = sk_slot(t, slot)->hash_next & t->map->sk_mask;
	}
	return false;
}

static int check_sk(struct turn *t, const struct sk *sk, struct tally *n)
{
	const struct stack_map *map = t->map;

	if (sk->kind > SK_AP)
		return condemn(t, WHY_SK_KIND);
	if ((sk->self & SK_SLOT_MASK) != sk_slot_of(t, sk))
		return condemn(t, WHY_SK_POOL);
	if (sk->kind == SK_FREE)
		return sk->flags || sk->items ? condemn(t, WHY_SK_POOL) : 0;
	n->live++;
	n->counted += sk->kind != SK_LISTEN;
	n->hashed += !!(sk->flags & SK_F_HASHED);
	n->bound += !!(sk->flags & SK_F_BOUND);
	n->work += !!(sk->flags & SK_F_WORK);
	n->txwait += !!(sk->flags & SK_F_TXWAIT);
	n->timer += !!(sk->flags & SK_F_TIMER);
	if (sk->tmr_at != NEVER_NS && !(sk->flags & SK_F_TIMER))
		return condemn(t, WHY_WHEEL);
	if ((sk->flags & (SK_F_HASHED | SK_F_BOUND)) == (SK_F_HASHED | SK_F_BOUND))
		return condemn(t, WHY_FLOW_TABLE);
	if (sk->flags & SK_F_HASHED && !is_in_bucket(t, map->flow, flow_bucket_of(t, sk), sk))
		return condemn(t, WHY_FLOW_TABLE);
	if (sk->flags & SK_F_BOUND && !is_in_bucket(t, map->listen, listen_bucket_of(t, sk), sk))
		return condemn(t, WHY_FLOW_TABLE);
	return 0;
}

static int check_sks(struct turn *t, struct tally *n)
{
	const struct segment *seg = t->map->seg;
	uint32_t used = seg->used_sk;
	uint32_t slot = seg->free_sk & t->map->sk_mask, n_free = 0;

	if (used == 0 || used > t->map->sk_mask + 1)
		return condemn(t, WHY_SK_POOL);
	for (uint32_t i = 1; i < used; i++)
		if (check_sk(t, sk_slot(t, i), n))
			return -EUCLEAN;
	for (; slot; slot = sk_slot(t, slot)->hash_next & t->map->sk_mask)
		if (sk_slot(t, slot)->kind != SK_FREE || slot >= used || ++n_free > used)
			return condemn(t, WHY_SK_POOL);
	if (n_free + n->live != used - 1 || seg->n_free_sk != t->map->sk_mask - n->live ||
	    peek32(&seg->n_conns) != n->counted)
		return condemn(t, WHY_SK_POOL);
	return 0;
}

static int check_table(struct turn *t, const uint32_t *table, uint32_t mask, uint32_t flag,
		       uint32_t want)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b <= mask; b++) {
		uint32_t slot = table[b] & t->map->sk_mask;

		for (; slot; slot = sk_slot(t, slot)->hash_next & t->map->sk_mask) {
			const struct sk *sk = sk_slot(t, slot);

			if (sk->kind == SK_FREE || !(sk->flags & flag) || ++n > want)
				return condemn(t, WHY_FLOW_TABLE);
		}
	}
	return n == want ? 0 : condemn(t, WHY_FLOW_TABLE);
}

static int check_list(struct turn *t, uint32_t head, uint32_t tail, const struct sk_list *l,
		      uint32_t want)
{
	uint32_t slot = head & t->map->sk_mask, last = 0, n = 0;

	while (slot) {
		const struct sk *sk = sk_slot(t, slot);

		if (sk->kind == SK_FREE || !(sk->flags & l->flag) || ++n > want)
			return condemn(t, WHY_SK_LIST);
		last = slot;
		slot = (l == &work_list ? sk->work_next : sk->tx_next) & t->map->sk_mask;
	}
	return n == want && (!n || last == tail) ? 0 : condemn(t, WHY_SK_LIST);
}

/* ---- the wheel (W1 to W3) -------------------------------------------------------------------------- */

static int check_bucket(struct turn *t, uint32_t b, uint32_t *ret_n, uint32_t want)
{
	const struct wheel *w = &t->map->seg->wheel;
	uint64_t start = tmr_bucket_start(w, b);
	uint32_t slot = w->bucket[b / WHEEL_SLOTS][b % WHEEL_SLOTS], prev = 0;

	if (!!slot != (w->occupied[b / WHEEL_SLOTS] >> (b % WHEEL_SLOTS) & 1))
		return condemn(t, WHY_WHEEL);
	while (slot &= t->map->sk_mask) {
		const struct sk *sk = sk_slot(t, slot);

		if (sk->kind == SK_FREE || !(sk->flags & SK_F_TIMER) || sk->tmr_bucket != b ||
		    sk->tmr_prev != prev || ++*ret_n > want)
			return condemn(t, WHY_WHEEL);
		/* W1; what is overdue lies in the present bucket. */
		if (start > w->now_tick && sk->tmr_at >> WHEEL_TICK_SHIFT < start - 1)
			return condemn(t, WHY_WHEEL);
		prev = slot;
		slot = sk->tmr_next;
	}
	return 0;
}

static int check_wheel(struct turn *t, uint32_t want)
{
	uint32_t n = 0;

	for (uint32_t b = 0; b < WHEEL_LEVELS * WHEEL_SLOTS; b++)
		if (check_bucket(t, b, &n, want))
			return -EUCLEAN;
	return n == want ? 0 : condemn(t, WHY_WHEEL);
}

/* ---- epoll (E1, E4) ----------------------------------------------------------------------------------- */

/* Items of one source, a socket or a set: each live, of this source, of a live epoll. */
static int check_items(struct turn *t, uint32_t head, uint32_t sk, uint32_t inner, struct tally *n)
{
	uint32_t slot = head & t->map->epi_mask;

	while (slot) {
		const struct epitem *it = &t->map->epis[slot];

		if (it->live != 1 || it->sk != sk || it->inner != inner || !ep_at(t, (ep_h){ it->ep })->live ||
		    ++n->items > t->map->epi_mask)
			return condemn(t, WHY_EPOLL_LIST);
		slot = it->sk_next & t->map->epi_mask;
	}
	return 0;
}

static int check_ep(struct turn *t, uint32_t h, uint32_t *ret_items)
{
	const struct ep *ep = &t->map->eps[h];
	uint32_t slot, n = 0, ready = 0, zombies = 0, prev = 0;

	for (slot = ep->item_head & t->map->epi_mask; slot; n++) {
		const struct epitem *it = &t->map->epis[slot];

		if (it->live != 1 || it->ep != h || it->ep_prev != prev || n >= ep->n_items)
			return condemn(t, WHY_EPOLL_LIST);
		prev = slot;
		slot = it->ep_next & t->map->epi_mask;
	}
	for (slot = ep->ready_head & t->map->epi_mask, prev = 0; slot; ready++) {
		const struct epitem *it = &t->map->epis[slot];

		if (!it->live || !it->on_ready || it->ep != h || ready >= ep->n_ready)
			return condemn(t, WHY_EPOLL_LIST);
		zombies += it->live != 1;
		prev = slot;
		slot = it->ready_next & t->map->epi_mask;
	}
	if (n != ep->n_items || ready != ep->n_ready || zombies != ep->n_zombies ||
	    (ready && prev != ep->ready_tail))
		return condemn(t, WHY_EPOLL_LIST);
	*ret_items += n;
	return 0;
}

static int check_epolls(struct turn *t, struct tally *n)
{
	const struct segment *seg = t->map->seg;
	uint32_t used_sk = seg->used_sk, used_ep = seg->used_ep, items = 0;

	if (used_ep == 0 || used_ep > t->map->ep_mask + 1 || seg->used_epi == 0 ||
	    seg->used_epi > t->map->epi_mask + 1)
		return condemn(t, WHY_EPOLL_LIST);
	for (uint32_t i = 1; i < used_sk; i++)
		if (check_items(t, sk_slot(t, i)->items, sk_slot(t, i)->self, 0, n))
			return -EUCLEAN;
	for (uint32_t i = 1; i < used_ep; i++)
		if (t->map->eps[i].live && check_items(t, t->map->eps[i].outers, 0, i, n))
			return -EUCLEAN;
	for (uint32_t i = 1; i < used_ep; i++)
		if (t->map->eps[i].live && check_ep(t, i, &items))
			return -EUCLEAN;
	return items == n->items ? 0 : condemn(t, WHY_EPOLL_LIST);
}

int stack_check(struct turn *t)
{
	const struct segment *seg = t->map->seg;
	const struct stack_map *map = t->map;
	struct tally n = { 0 };
	int err;

	err = check_pkts(t);
	if (!err)
		err = check_sks(t, &n);
	if (!err && is_time_for_all(t, map->flow_mask))
		err = check_table(t, map->flow, map->flow_mask, SK_F_HASHED, n.hashed);
	if (!err)
		err = check_table(t, map->listen, map->listen_mask, SK_F_BOUND, n.bound);
	if (!err)
		err = check_list(t, seg->work_head, seg->work_tail, &work_list, n.work);
	if (!err)
		err = check_list(t, seg->txwait_head, seg->txwait_tail, &txwait_list, n.txwait);
	if (!err)
		err = check_wheel(t, n.timer);
	if (!err)
		err = check_epolls(t, &n);
	return err;
}
