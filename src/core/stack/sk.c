/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sockets: their pool, their generations, the two lists of sockets that want something, and
 * who holds them.
 *
 *  S1  Slots from seg->used_sk up have never been used and are still zero, untouched memory;
 *      below it, a slot is live or on the free list (linked by hash_next).
 *  S2  sk->self changes when the slot is freed, so a handle kept by anybody finds nothing.
 *  S3  A socket is on the work list if and only if SK_F_WORK is set, on the tx-wait list if
 *      and only if SK_F_TXWAIT is. Both are queues: first come, first served.
 *  S4  A free socket is in no table, on no list and in no epoll: sk_put() sees to it.
 */
#include <sys/epoll.h>

#include "core/stack/stack.h"
#include "base/atomic.h"
#include "core/stack/links.h"

static bool is_counted(const struct sk *sk)
{
	return sk->kind == SK_TCP || sk->kind == SK_UDP || sk->kind == SK_AP;
}

/* A slot from the free list or, when that is empty, the first untouched one; 0: none. */
static uint32_t slot_take(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint32_t slot = seg->free_sk & t->map->sk_mask;

	if (slot) {
		struct sk *sk = sk_slot(t, slot);

		if (unlikely(sk->kind != SK_FREE)) {
			never(t, WHY_SK_POOL);
			return 0;
		}
		seg->free_sk = sk->hash_next & t->map->sk_mask;
		return slot;
	}
	if (seg->used_sk > t->map->sk_mask)
		return 0;
	return seg->used_sk++;
}

struct sk *sk_get(struct turn *t, enum sk_kind kind, uint8_t proto)
{
	struct segment *seg = t->map->seg;
	bool mishap = t->mishap && t->mishap(t->mishap_arg, MISHAP_SK);
	uint32_t slot = mishap ? 0 : slot_take(t);
	struct sk *sk = sk_slot(t, slot);
	uint32_t gen;

	must(kind > SK_FREE && kind <= SK_AP);
	if (!slot) {
		ev(t, EV_SK_EMPTY, 0, seg->used_sk, 0);
		return NULL;
	}
	gen = sk->self & ~SK_SLOT_MASK;
	memset(sk, 0, SK_BYTES);
	sk->self = gen | slot;
	sk->kind = (uint8_t)kind;
	sk->proto = proto;
	sk->tmr_at = NEVER_NS;
	sk->born_at = t->now;
	seg->n_free_sk--;
	if (is_counted(sk))
		poke32(&seg->n_conns, seg->n_conns + 1);
	return sk;
}

void sk_put(struct turn *t, struct sk *sk)
{
	struct segment *seg = t->map->seg;
	uint32_t slot = sk_slot_of(t, sk);

	if (unlikely(slot == 0 || slot >= seg->used_sk || sk->kind == SK_FREE)) {
		never(t, WHY_SK_KIND);
		return;
	}
	if (sk->flags & SK_F_HASHED)
		flow_remove(t, sk);
	if (sk->flags & SK_F_BOUND)
		listen_remove(t, sk);
	if (sk->flags & SK_F_WORK)
		sk_list_cut(t, &work_list, sk);
	if (sk->flags & SK_F_TXWAIT) {
		t->timers = 1;
		sk_list_cut(t, &txwait_list, sk);
	}
	tmr_cut(t, sk);
	ep_forget(t, sk);
	t->wakes |= sk->wait_mask;
	if (is_counted(sk))
		poke32(&seg->n_conns, seg->n_conns - 1);

	/* S2: the generation is all that outlives the socket. */
	sk->self = (sk->self & ~SK_SLOT_MASK) + (1u << SK_GEN_SHIFT) + slot;
	sk->kind = SK_FREE;
	sk->flags = 0;
	sk->procs = 0;
	sk->wait_mask = 0;
	poke32(&sk->ready, 0);
	sk->hash_next = seg->free_sk;
	seg->free_sk = slot;
	seg->n_free_sk++;
}

struct sk *sk_find(const struct turn *t, sk_h h)
{
	struct sk *sk = sk_slot(t, h.v & SK_SLOT_MASK);

	if (!(h.v & SK_SLOT_MASK) || sk->self != h.v || sk->kind == SK_FREE)
		return NULL;
	return sk;
}

void sk_error(struct turn *t, struct sk *sk, int err)
{
	must(err > 0);
	sk->err = err;
	t->wakes |= sk->wait_mask;
}

void sk_zc_done(struct turn *t, struct sk *sk)
{
	sk->zc_next++;
	sk_ready(t, sk, EPOLLERR, 0);
}

bool sk_zc_take(struct turn *t, struct sk *sk, uint32_t *ret_first, uint32_t *ret_last)
{
	if (sk->zc_next == sk->zc_told)
		return false;
	*ret_first = sk->zc_told;
	*ret_last = sk->zc_next - 1;
	sk->zc_told = sk->zc_next;
	if (!sk->err)
		sk_ready(t, sk, 0, EPOLLERR);
	return true;
}

void sk_ref(struct turn *t, struct sk *sk, uint32_t proc)
{
	(void)t;
	must(proc < N_PROCS);
	sk->procs |= 1ull << proc;
}

bool sk_unref(struct turn *t, struct sk *sk, uint32_t proc)
{
	uint64_t bit = 1ull << (proc & (N_PROCS - 1));

	must(proc < N_PROCS);
	if (!(sk->procs & bit))
		return false;
	sk->procs &= ~bit;
	if (sk->procs)
		return false;
	ep_forget(t, sk);
	return true;
}

/* ---- the two lists ------------------------------------------------------------------------ */

/* Where a list's links are: offsets, so that both share the code below. */
const struct sk_list work_list = {
	SK_F_WORK, offsetof(struct sk, work_next),
	offsetof(struct segment, work_head), offsetof(struct segment, work_tail),
};
const struct sk_list txwait_list = {
	SK_F_TXWAIT, offsetof(struct sk, tx_next),
	offsetof(struct segment, txwait_head), offsetof(struct segment, txwait_tail),
};

static uint32_t *word_at(void *base, uint32_t off)
{
	return (uint32_t *)(void *)((uint8_t *)base + off);
}

static void sk_list_push(struct turn *t, const struct sk_list *l, struct sk *sk)
{
	uint32_t *head = word_at(t->map->seg, l->head);
	uint32_t *tail = word_at(t->map->seg, l->tail);
	uint32_t slot = sk_slot_of(t, sk);

	if (sk->flags & l->flag)
		return;
	sk->flags |= l->flag;
	*word_at(sk, l->next) = 0;
	if (*head)
		*word_at(sk_slot(t, *tail), l->next) = slot;
	else
		*head = slot;
	*tail = slot;
}

static struct sk *sk_list_pop(struct turn *t, const struct sk_list *l)
{
	uint32_t *head = word_at(t->map->seg, l->head);
	uint32_t slot = *head & t->map->sk_mask;
	struct sk *sk = sk_slot(t, slot);

	if (!slot)
		return NULL;
	*head = *word_at(sk, l->next) & t->map->sk_mask;
	if (unlikely(sk->kind == SK_FREE || !(sk->flags & l->flag))) {
		*head = 0;
		never(t, WHY_SK_LIST);
		return NULL;
	}
	sk->flags &= ~l->flag;
	return sk;
}

void sk_list_cut(struct turn *t, const struct sk_list *l, struct sk *sk)
{
	uint32_t *head = word_at(t->map->seg, l->head);
	uint32_t *at = head;
	uint32_t slot = sk_slot_of(t, sk), prev = 0;

	sk->flags &= ~l->flag;
	for (uint32_t left = t->map->sk_mask; *at && left; left--) {
		if ((*at & t->map->sk_mask) == slot) {
			*at = *word_at(sk, l->next);
			if (!*at)
				*word_at(t->map->seg, l->tail) = prev;
			return;
		}
		prev = *at & t->map->sk_mask;
		at = word_at(sk_slot(t, prev), l->next);
	}
	never(t, WHY_SK_LIST);
}

void sk_work(struct turn *t, struct sk *sk) { sk_list_push(t, &work_list, sk); }
struct sk *sk_work_pop(struct turn *t) { return sk_list_pop(t, &work_list); }
void sk_txwait(struct turn *t, struct sk *sk) { sk_list_push(t, &txwait_list, sk); }
struct sk *sk_txwait_pop(struct turn *t)
{
	t->timers = 1;
	return sk_list_pop(t, &txwait_list);
}
