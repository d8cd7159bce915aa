/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Readiness: sk_ready() is the one way in, ep_collect() the one way out, and between them
 * lie the ready lists. An item is one (epoll, socket, descriptor); it hangs on three lists:
 * its socket's (sk_next), its epoll's (ep_next, ep_prev) and, while it may be ready, its
 * epoll's ready list (ready_next).
 *
 *  E1  Level-triggered: whenever sk->ready & interest is not 0, the item is on the ready
 *      list. Set bits put it there; only a collection that finds it not ready takes it off.
 *  E2  Edge-triggered: the item goes on the list for each sk_ready() that sets a bit of
 *      interest, set already or not, and off it when collected.
 *  E3  One-shot: collected once, then interest is 0 until ep_mod(). Interest otherwise
 *      always includes EPOLLERR and EPOLLHUP.
 *  E4  A deleted item that cannot be found near the head of the ready list stays on it as a
 *      zombie, in no other list, until a collection or a sweep meets it. There are at most
 *      as many zombies as items, and a few.
 *  E5  A new event wakes one sleeper of an epoll. A collection that leaves something behind
 *      wakes one more. Who has a bit in ep->wait_mask has promised to look again.
 *  E6  EPOLLEXCLUSIVE: once an exclusive item has woken somebody, the socket's further
 *      exclusive items are passed over, not even listed, as Linux does. An exclusive item
 *      that dies while it is listed hands its event on to them.
 *  E7  A set in a set is an item, too: its source is the inner set, on whose `outers` it hangs
 *      instead of on a socket's list. Each event of the inner set fires it, as Linux does; whether
 *      it is ready is asked of the inner ready list when it is collected (ep_any()), which takes
 *      off what turns out not to be. Sets nest NESTS deep: the kernel, where the same sets are
 *      nested, refuses more, and cycles.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "base/atomic.h"
#include "core/stack/links.h"

#define LIVE	1u
#define ZOMBIE	2u
#define LOOK_NEAR 16u		/* how far a deletion looks along the ready list */
#define FEW_ZOMBIES 32u
#define NESTS	5u

#define ALWAYS	   (EPOLLERR | EPOLLHUP)	/* reported, asked for or not */
#define EP_PRIVATE (EPOLLET | EPOLLONESHOT | EPOLLEXCLUSIVE | EPOLLWAKEUP)

static struct epitem *epi_slot(const struct turn *t, uint32_t slot)
{
	return &t->map->epis[slot & t->map->epi_mask];
}

static uint32_t epi_slot_of(const struct turn *t, const struct epitem *it)
{
	return (uint32_t)(it - t->map->epis);
}

/* E3: the bits that this item reports. */
static uint32_t interest(const struct epitem *it)
{
	return it->events & ~(uint32_t)EP_PRIVATE;
}

/* What a source says, in all the words that epoll has for it. */
static uint32_t words(uint32_t ready)
{
	return ready | (ready & EPOLLIN ? EPOLLRDNORM : 0) | (ready & EPOLLOUT ? EPOLLWRNORM : 0) |
	       (ready & EPOLLPRI ? EPOLLRDBAND : 0);
}

/* ---- pools ------------------------------------------------------------------------------------ */

static struct epitem *epi_get(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint32_t slot = seg->free_epi & t->map->epi_mask;

	if (t->mishap && t->mishap(t->mishap_arg, MISHAP_EPITEM))
		return NULL;
	if (slot)
		seg->free_epi = epi_slot(t, slot)->sk_next;
	else if (seg->used_epi <= t->map->epi_mask)
		slot = seg->used_epi++;
	else
		return NULL;
	*epi_slot(t, slot) = (struct epitem){ .live = LIVE, .proc = t->proc };
	return epi_slot(t, slot);
}

static void epi_free(struct turn *t, struct epitem *it)
{
	struct segment *seg = t->map->seg;

	*it = (struct epitem){ .sk_next = seg->free_epi };
	seg->free_epi = epi_slot_of(t, it);
}

ep_h ep_get(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint32_t slot = seg->free_ep & t->map->ep_mask;

	if (t->mishap && t->mishap(t->mishap_arg, MISHAP_EP))
		return (ep_h){ 0 };
	if (slot)
		seg->free_ep = t->map->eps[slot].next_free;
	else if (seg->used_ep <= t->map->ep_mask)
		slot = seg->used_ep++;
	else
		return (ep_h){ 0 };
	t->map->eps[slot] = (struct ep){ .live = 1 };
	return (ep_h){ slot };
}

/* ---- the ready list ------------------------------------------------------------------------------ */

static void ready_push(struct turn *t, struct ep *ep, struct epitem *it)
{
	uint32_t slot = epi_slot_of(t, it);

	it->on_ready = 1;
	it->ready_next = 0;
	if (ep->ready_head)
		epi_slot(t, ep->ready_tail)->ready_next = slot;
	else
		ep->ready_head = slot;
	ep->ready_tail = slot;
	poke32(&ep->n_ready, ep->n_ready + 1);
}

static struct epitem *ready_pop(struct turn *t, struct ep *ep)
{
	struct epitem *it = epi_slot(t, ep->ready_head);

	ep->ready_head = it->ready_next & t->map->epi_mask;
	if (!ep->ready_head)
		ep->ready_tail = 0;
	it->on_ready = 0;
	it->ready_next = 0;
	poke32(&ep->n_ready, ep->n_ready - 1);
	return it;
}

/* Takes an item off if it is among the first `near` of the list. */
static bool ready_cut(struct turn *t, struct ep *ep, struct epitem *it, uint32_t near)
{
	uint32_t *at = &ep->ready_head;
	uint32_t slot = epi_slot_of(t, it), prev = 0;

	for (; *at && near; near--) {
		if ((*at & t->map->epi_mask) == slot) {
			*at = it->ready_next;
			if (!*at)
				ep->ready_tail = prev;
			it->on_ready = 0;
			it->ready_next = 0;
			poke32(&ep->n_ready, ep->n_ready - 1);
			return true;
		}
		prev = *at & t->map->epi_mask;
		at = &epi_slot(t, prev)->ready_next;
	}
	return false;
}

/* Goes round the ready list once and frees the zombies (E4). */
static void ready_sweep(struct turn *t, struct ep *ep)
{
	for (uint32_t left = ep->n_ready & t->map->epi_mask; left && ep->ready_head; left--) {
		struct epitem *it = ready_pop(t, ep);

		if (it->live == ZOMBIE)
			epi_free(t, it);
		else
			ready_push(t, ep, it);
	}
	ep->n_zombies = 0;
}

/* ---- waking ---------------------------------------------------------------------------------------- */

/* E5. Returns whether a sleeper was there to be woken. */
static bool ep_wake_one(struct turn *t, struct ep *ep)
{
	uint32_t mask = ep->wait_mask & ~t->wakes;

	for (uint32_t m = mask; m; m &= m - 1) {
		uint32_t slot = (uint32_t)__builtin_ctz(m);

		if (waiter_sleeps(t->map, (int)slot)) {
			t->wakes |= 1u << slot;
			return true;
		}
	}
	/* Nobody seems asleep; one may be going to sleep, and waiter_ring() will tell. */
	t->wakes |= mask;
	return false;
}

static bool fire_outers(struct turn *t, struct ep *ep, uint32_t depth);

/* Lists an item and wakes its epoll. Returns whether somebody was woken. */
static bool item_fire(struct turn *t, struct epitem *it, uint32_t depth)
{
	struct ep *ep = ep_at(t, (ep_h){ it->ep });
	bool woke;

	if (!it->on_ready)
		ready_push(t, ep, it);
	woke = ep->wait_mask && ep_wake_one(t, ep);
	return unlikely(ep->outers) ? fire_outers(t, ep, depth) || woke : woke;
}

/* E7: an event of this set is one of those that watch it. */
static bool fire_outers(struct turn *t, struct ep *ep, uint32_t depth)
{
	uint32_t slot = ep->outers & t->map->epi_mask;
	bool woke = false;

	for (uint32_t left = t->map->epi_mask; slot && left && depth < NESTS; left--) {
		struct epitem *it = epi_slot(t, slot);

		if (interest(it) & (EPOLLIN | EPOLLRDNORM))
			woke |= item_fire(t, it, depth + 1);
		slot = it->sk_next & t->map->epi_mask;
	}
	return woke;
}

void sk_ready(struct turn *t, struct sk *sk, uint32_t set, uint32_t clear)
{
	uint32_t slot = sk->items & t->map->epi_mask;
	uint32_t left = t->map->epi_mask;
	bool taken = false;

	poke32(&sk->ready, (sk->ready & ~clear) | set);
	if (!set)
		return;
	set = words(set);
	t->wakes |= sk->wait_mask;
	for (; slot && left; left--) {
		struct epitem *it = epi_slot(t, slot);

		if (interest(it) & set && !(taken && it->events & EPOLLEXCLUSIVE)) {
			bool woke = item_fire(t, it, 0);

			taken |= woke && it->events & EPOLLEXCLUSIVE;
		}
		slot = it->sk_next & t->map->epi_mask;
	}
	if (unlikely(slot))
		never(t, WHY_EPOLL_LIST);
}

/* ---- items ---------------------------------------------------------------------------------------------- */

static bool ep_any(struct turn *t, struct ep *ep, uint32_t depth);

/* Where an item's source keeps those that watch it. */
static uint32_t *watchers(const struct turn *t, const struct epitem *it)
{
	struct sk *sk = it->inner ? NULL : sk_find(t, (sk_h){ it->sk });

	return it->inner ? &ep_at(t, (ep_h){ it->inner })->outers : sk ? &sk->items : NULL;
}

/* What an item has to report now. */
static uint32_t item_shows(struct turn *t, const struct epitem *it, uint32_t depth)
{
	const struct sk *sk;

	if (unlikely(it->inner)) {
		if (!(interest(it) & (EPOLLIN | EPOLLRDNORM)) || !ep_any(t, ep_at(t, (ep_h){ it->inner }), depth + 1))
			return 0;
		return interest(it) & (EPOLLIN | EPOLLRDNORM);
	}
	sk = sk_find(t, (sk_h){ it->sk });
	if (unlikely(!sk)) {
		never(t, WHY_EPOLL_LIST);
		return 0;
	}
	return interest(it) & words(sk->ready);
}

/* E7: whether a collection would find something; what would be found not to be ready goes. */
static bool ep_any(struct turn *t, struct ep *ep, uint32_t depth)
{
	for (uint32_t left = t->map->epi_mask; ep->ready_head && left && depth < NESTS; left--) {
		struct epitem *it = epi_slot(t, ep->ready_head);

		if (it->live == LIVE && item_shows(t, it, depth))
			return true;
		ready_pop(t, ep);
		if (it->live == ZOMBIE) {
			ep->n_zombies--;
			epi_free(t, it);
		}
	}
	return false;
}

bool ep_is_ready(struct turn *t, ep_h h)
{
	return ep_any(t, ep_at(t, h), 0);
}

static struct epitem *item_find(const struct turn *t, ep_h h, uint32_t head, int32_t fd)
{
	uint32_t slot = head & t->map->epi_mask;

	for (uint32_t left = t->map->epi_mask; slot && left; left--) {
		struct epitem *it = epi_slot(t, slot);

		if (it->ep == h.v && it->fd == fd)
			return it;
		slot = it->sk_next & t->map->epi_mask;
	}
	return NULL;
}

/* Newly watched, or watched for something else: what is ready already is an event. */
static void item_look(struct turn *t, struct epitem *it)
{
	if (item_shows(t, it, 0))
		item_fire(t, it, 0);
}

/* A new item in both lists; the source is the caller's. */
static int item_new(struct turn *t, ep_h h, uint32_t *head, const struct ep_event *e, struct epitem **ret)
{
	struct ep *ep = ep_at(t, h);
	struct epitem *it;

	if (item_find(t, h, *head, e->fd))
		return -EEXIST;
	it = epi_get(t);
	if (!it)
		return -ENOSPC;
	it->ep = h.v;
	it->events = e->events | ALWAYS;
	it->data = e->data;
	it->fd = e->fd;
	/* At the head, but an exclusive one at the tail: Linux's order of waking. */
	if (e->events & EPOLLEXCLUSIVE) {
		for (uint32_t left = t->map->epi_mask; *head && left; left--)
			head = &epi_slot(t, *head)->sk_next;
		*head = epi_slot_of(t, it);
	} else {
		it->sk_next = *head;
		*head = epi_slot_of(t, it);
	}
	it->ep_next = ep->item_head;
	if (ep->item_head)
		epi_slot(t, ep->item_head)->ep_prev = epi_slot_of(t, it);
	ep->item_head = epi_slot_of(t, it);
	ep->n_items++;
	*ret = it;
	return 0;
}

static int item_mod(struct turn *t, struct epitem *it, uint32_t events, uint64_t data)
{
	if (!it)
		return -ENOENT;
	if (it->events & EPOLLEXCLUSIVE)
		return -EINVAL;		/* as Linux: exclusive for as long as it is registered */
	it->events = events | ALWAYS;
	it->data = data;
	item_look(t, it);
	return 0;
}

int ep_add(struct turn *t, ep_h h, struct sk *sk, int32_t fd, uint32_t events, uint64_t data)
{
	struct ep_event e = { .events = events, .fd = fd, .data = data };
	struct epitem *it;
	int err = item_new(t, h, &sk->items, &e, &it);

	if (err)
		return err;
	it->sk = sk->self;
	sk->flags |= events & EPOLLET ? SK_F_EDGES : 0;
	item_look(t, it);
	return 0;
}

int ep_mod(struct turn *t, ep_h h, struct sk *sk, int32_t fd, uint32_t events, uint64_t data)
{
	sk->flags |= events & EPOLLET ? SK_F_EDGES : 0;
	return item_mod(t, item_find(t, h, sk->items, fd), events, data);
}

int ep_nest(struct turn *t, ep_h h, ep_h inner, int32_t fd, uint32_t events, uint64_t data)
{
	struct ep_event e = { .events = events, .fd = fd, .data = data };
	struct epitem *it;
	int err = item_new(t, h, &ep_at(t, inner)->outers, &e, &it);

	if (err)
		return err;
	it->inner = inner.v;
	item_look(t, it);
	return 0;
}

int ep_nest_mod(struct turn *t, ep_h h, ep_h inner, int32_t fd, uint32_t events, uint64_t data)
{
	return item_mod(t, item_find(t, h, ep_at(t, inner)->outers, fd), events, data);
}

/* Out of the epoll's two lists; it is out of its source's already. */
static void item_drop(struct turn *t, struct epitem *it)
{
	struct ep *ep = ep_at(t, (ep_h){ it->ep });

	if (it->ep_next)
		epi_slot(t, it->ep_next)->ep_prev = it->ep_prev;
	if (it->ep_prev)
		epi_slot(t, it->ep_prev)->ep_next = it->ep_next;
	else
		ep->item_head = it->ep_next;
	ep->n_items--;
	if (!it->on_ready || ready_cut(t, ep, it, LOOK_NEAR)) {
		epi_free(t, it);
		return;
	}
	it->live = ZOMBIE;
	it->sk = it->inner = it->sk_next = it->ep_next = it->ep_prev = it->events = 0;
	if (++ep->n_zombies > ep->n_items + FEW_ZOMBIES)
		ready_sweep(t, ep);
}

/* Takes an item off its source's list. */
static void item_leave(struct turn *t, struct epitem *it, uint32_t *at)
{
	uint32_t slot = epi_slot_of(t, it);

	for (uint32_t left = t->map->epi_mask; *at && left; left--) {
		if ((*at & t->map->epi_mask) == slot) {
			*at = it->sk_next;
			return;
		}
		at = &epi_slot(t, *at)->sk_next;
	}
	never(t, WHY_EPOLL_LIST);
}

static void item_delete(struct turn *t, struct epitem *it, uint32_t *head)
{
	bool hand_on = it->on_ready && it->events & EPOLLEXCLUSIVE;
	struct sk *sk = hand_on ? sk_find(t, (sk_h){ it->sk }) : NULL;

	item_leave(t, it, head);
	item_drop(t, it);
	if (sk && sk->items && sk->ready)
		sk_ready(t, sk, sk->ready, 0);		/* E6 */
}

int ep_del(struct turn *t, ep_h h, struct sk *sk, int32_t fd)
{
	struct epitem *it = item_find(t, h, sk->items, fd);

	if (!it)
		return -ENOENT;
	item_delete(t, it, &sk->items);
	return 0;
}

int ep_nest_del(struct turn *t, ep_h h, ep_h inner, int32_t fd)
{
	struct ep *in = ep_at(t, inner);
	struct epitem *it = item_find(t, h, in->outers, fd);

	if (!it)
		return -ENOENT;
	item_delete(t, it, &in->outers);
	return 0;
}

/* The source goes: so do all that watch it. */
static void drop_watchers(struct turn *t, uint32_t *head)
{
	uint32_t left = t->map->epi_mask;

	while (*head && left--) {
		struct epitem *it = epi_slot(t, *head);

		*head = it->sk_next & t->map->epi_mask;
		item_drop(t, it);
	}
	if (unlikely(*head)) {
		*head = 0;
		never(t, WHY_EPOLL_LIST);
	}
}

bool ep_take(struct turn *t, struct sk *sk, int32_t fd, ep_h *ret_ep, struct ep_event *ret)
{
	uint32_t slot = sk->items & t->map->epi_mask;

	for (uint32_t left = t->map->epi_mask; slot && left; left--) {
		struct epitem *it = epi_slot(t, slot);

		if (it->fd == fd && it->proc == t->proc) {
			*ret_ep = (ep_h){ it->ep };
			*ret = (struct ep_event){ .events = it->events, .fd = fd, .data = it->data };
			item_delete(t, it, &sk->items);
			return true;
		}
		slot = it->sk_next & t->map->epi_mask;
	}
	return false;
}

void ep_forget(struct turn *t, struct sk *sk)
{
	if (sk->items)
		drop_watchers(t, &sk->items);
}

void ep_put(struct turn *t, ep_h h)
{
	struct segment *seg = t->map->seg;
	struct ep *ep = ep_at(t, h);
	uint32_t left = t->map->epi_mask;

	drop_watchers(t, &ep->outers);
	while (ep->item_head && left--) {
		struct epitem *it = epi_slot(t, ep->item_head);
		uint32_t *head = watchers(t, it);

		if (unlikely(!head)) {
			never(t, WHY_EPOLL_LIST);
			break;
		}
		item_delete(t, it, head);
	}
	ready_sweep(t, ep);
	t->wakes |= ep->wait_mask;
	*ep = (struct ep){ .next_free = seg->free_ep };
	seg->free_ep = h.v & t->map->ep_mask;
}

/* One-shot in the kernel's half of a pair (sock/epoll.c P2) is one-shot in ours. */
void ep_shot(struct turn *t, ep_h h, int32_t fd, uint64_t data)
{
	const struct ep *ep = ep_at(t, h);
	uint32_t slot = ep->item_head & t->map->epi_mask;

	for (uint32_t left = t->map->epi_mask; slot && left; left--) {
		struct epitem *it = epi_slot(t, slot);

		if (it->events & EPOLLONESHOT && it->data == data && (fd < 0 || it->fd == fd))
			it->events &= EP_PRIVATE;
		slot = it->ep_next & t->map->epi_mask;
	}
}

/* ---- collecting -------------------------------------------------------------------------------------------- */

uint32_t ep_collect(struct turn *t, ep_h h, struct ep_event *ret, uint32_t max)
{
	struct ep *ep = ep_at(t, h);
	uint32_t last = ep->ready_tail;		/* what is put back behind it waits for next time */
	uint32_t left = t->map->epi_mask;
	uint32_t n = 0, slot = 0;

	while (n < max && ep->ready_head && slot != last && left--) {
		struct epitem *it;
		uint32_t events;

		slot = ep->ready_head & t->map->epi_mask;
		it = ready_pop(t, ep);
		if (it->live == ZOMBIE) {
			ep->n_zombies--;
			epi_free(t, it);
			continue;
		}
		events = item_shows(t, it, 0);
		if (!events)
			continue;
		ret[n++] = (struct ep_event){ events, it->fd, it->data, (it->events & EPOLLONESHOT) != 0 };
		if (it->events & EPOLLONESHOT)
			it->events &= EP_PRIVATE;
		else if (!(it->events & EPOLLET))
			ready_push(t, ep, it);
	}
	if (n && ep->ready_head && ep->wait_mask)
		ep_wake_one(t, ep);			/* E5 */
	return n;
}
