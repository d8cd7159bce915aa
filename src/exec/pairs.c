/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pairs as one process has them: asked of the agent, mapped, shown to the core, given back.
 *
 * What there is, the directory says (abi/mirror.h); what the stack knows, seg->ap[] does; what
 * this process has mapped, map->ap[]. A slot is settled by comparing the three:
 *
 *	named by	known to	mapped
 *	the directory	the stack	here
 *	  A		any		not A		fetch, map, ap_pair_open()
 *	  -		A		not A		the same: over, but perhaps unread
 *	  -		A		A		ap_pair_over(), once
 *	  -		A, over, done	A		PAIR_DEL; let go
 *	  not A		not A		A		another process gave it back: let go
 *
 * Invariants
 *  M1  map->ap[] is changed in turns, by the holder of pairs_lock.
 *  M2  Threads peek into pairs without a turn. So a pair's addresses are never unmapped: they are
 *	blanked after the turn, and used for the slot's next pair but one. Who still peeks there
 *	reads zeros, or another pair, and asks in a turn what it means.
 *  M3  Rings are written after the turn (X3), so the number of a slot's bell stays a bell: a new
 *	one takes the number of the old. Who comes late rings the wrong stack, which looks, and
 *	sleeps again.
 *  M4  The stack forgets a pair (pair_id 0) only after the agent has been told, and only if it
 *	still is that pair. Who dies in between leaves the rest to whoever looks next.
 */
#include "exec/exec.h"

#include <errno.h>
#include <fcntl.h>

#include "base/atomic.h"
#include "core/ap/ap.h"
#include "core/stack/stack.h"
#include "exec/ctl.h"
#include "exec/parts.h"
#include "host/sys.h"

#define AGENT_MS	200	/* a slow agent must not keep a surrogate from its stack for long */
#define AGAIN_NS	(100 * NS_PER_MS)
#define LOCK_NS		(2 * NS_PER_S)

static const struct dir_stack *words_of(const struct exec *x)
{
	return &x->map.mirror->stacks[x->dir_slot];
}

static uint32_t n_slots(const struct exec *x) { return min_u32(x->map.n_pairs, N_PAIRS); }

static void mark_over(struct exec *x, uint32_t slot, bool over)
{
	_Atomic uint64_t *mask = (_Atomic uint64_t *)&x->pairs_over;

	/* relaxed: says where to look again */
	if (over)
		atomic_fetch_or_explicit(mask, 1ull << slot, memory_order_relaxed);
	else
		atomic_fetch_and_explicit(mask, ~(1ull << slot), memory_order_relaxed);
}

bool exec_pairs_changed(const struct exec *x)
{
	uint64_t over;

	if (!x->dir_slot)
		return false;
	if (peek32(&words_of(x)->changes) != peek32(&x->pairs_seen))
		return true;
	for (over = peek64(&x->pairs_over); unlikely(over); over &= over - 1)
		if (ap_pair_is_done(&x->map, (uint32_t)__builtin_ctzll(over)))
			return true;
	return false;
}

uint64_t exec_pairs_new_bells(struct exec *x)
{
	/* relaxed: numbers, each set before its bit by the same thread or under pairs_lock */
	return atomic_exchange_explicit((_Atomic uint64_t *)&x->new_bells, 0, memory_order_acq_rel);
}

/* The surrogate does not wait for the door (G1 in surrogate.c). */
static bool take_turn(struct exec *x, struct turn *t)
{
	if (x->who == EXEC_SURROGATE)
		return turn_try(t, &x->map, x->who, host_tid(), x->proc, host_now(), 0);
	exec_begin(x, t);
	return true;
}

static void close_fds(const struct ctl_call *c)
{
	for (uint32_t i = 0; i < c->n_fds; i++)
		(void)sys_close(c->fds[i]);
}

static int ask(struct exec *x, struct ctl_call *c)
{
	if (x->who == EXEC_SURROGATE)
		c->timeout_ms = AGENT_MS;
	return exec_call(x, c);
}

/* ---- views ---------------------------------------------------------------------------------- */

/* After the turn in which the view was taken down (M2). */
static void retire(struct exec *x, uint32_t slot, const struct ap_view *v)
{
	struct ap_front *front;

	if (!v->pair)
		return;
	host_blank_pair(v->pair);
	(void)!host_blank_front((void *)(uintptr_t)v->front, &front);
	/* There is one in store only if the slot's last pair could not be mapped. */
	if (x->spare[slot].pair) {
		host_unmap_pair(x->spare[slot].pair);
		host_unmap_front(x->spare[slot].front);
	}
	x->spare[slot].pair = v->pair;
	x->spare[slot].front = (void *)(uintptr_t)v->front;
}

/* In a turn. The pair pointer is what peeks look at: last when it appears, first when it goes. */
static struct ap_view replace(struct exec *x, uint32_t slot, const struct ap_view *to)
{
	struct ap_view *v = &x->map.ap[slot], old = *v;

	/* rel: pairs with the address dependency of whoever loads the pointer */
	__atomic_store_n(&v->pair, NULL, __ATOMIC_RELEASE);
	v->front = to->front;
	v->pair_id = to->pair_id;
	/* rel: as above */
	__atomic_store_n(&v->pair, to->pair, __ATOMIC_RELEASE);
	return old;
}

static bool reply_is_sane(const struct exec *x, const struct ctl_call *c)
{
	const struct ctl_pair *d = &c->msg.u.pair;

	return d->slot < n_slots(x) && d->side <= 1 && d->pair_id && d->peer && d->is_self <= 1 &&
	       d->over <= 1 && (!d->is_self || (d->side == 0 && d->peer == x->stack_id)) &&
	       c->n_fds == (d->over ? 1 : 3);
}

static int map_view(struct exec *x, const struct ctl_call *c, struct ap_view *ret)
{
	const struct ctl_pair *d = &c->msg.u.pair;
	const uint32_t stack[2] = { d->side ? d->peer : x->stack_id, d->side ? x->stack_id : d->peer };
	void *at = x->spare[d->slot].pair, *front_at = x->spare[d->slot].front;
	struct ap_front *front;
	int err = host_map_pair(c->fds[0], d->pair_id, stack, at, &ret->pair);

	if (err)
		return err;
	/* Nobody is there to be rung any more: a front that is never armed. */
	err = d->over ? host_blank_front(front_at, &front) :
			host_map_front(c->fds[1], false, d->peer, front_at, &front);
	if (err) {
		if (at)
			host_blank_pair(ret->pair);
		else
			host_unmap_pair(ret->pair);
		return err;
	}
	ret->front = front;
	ret->pair_id = d->pair_id;
	x->spare[d->slot].pair = x->spare[d->slot].front = NULL;
	return 0;
}

/* M3. Takes the descriptor. */
static void place_bell(struct exec *x, uint32_t slot, int fd)
{
	int *at = &x->map.ap[slot].bell_fd;

	if (*at >= 0) {
		(void)sys_dup3(fd, *at, O_CLOEXEC);
		(void)sys_close(fd);
		return;
	}
	/* relaxed: who reads -1 does not ring, which he need not before the turn below */
	__atomic_store_n(at, exec_move_up(fd, x->seg_fd), __ATOMIC_RELAXED);
	/* rel: pairs with acq in exec_pairs_new_bells() */
	atomic_fetch_or_explicit((_Atomic uint64_t *)&x->new_bells, 1ull << slot, memory_order_release);
}

/* A reply to PAIR_GET or PAIR_AT becomes a view; takes its descriptors. */
static int install(struct exec *x, struct ctl_call *c)
{
	const struct ctl_pair *d = &c->msg.u.pair;
	struct ap_view v = { .pair = NULL }, old;
	struct turn t;
	int err = reply_is_sane(x, c) ? map_view(x, c, &v) : -EPROTO;

	if (err) {
		close_fds(c);
		return err;
	}
	if (!d->over) {
		place_bell(x, d->slot, c->fds[2]);
		c->n_fds = 2;
	}
	close_fds(c);
	if (!take_turn(x, &t)) {
		retire(x, d->slot, &v);
		return -EAGAIN;
	}
	old = replace(x, d->slot, &v);
	ap_pair_open(&t, d->slot, d);
	(void)exec_round(x, &t);
	exec_end(x, &t, false);
	retire(x, d->slot, &old);
	return 0;
}

/* ---- settling a slot -------------------------------------------------------------------------------- */

static int fetch(struct exec *x, uint32_t slot)
{
	struct ctl_call c;
	int err;

	ctl_prepare(&c, CTL_PAIR_AT);
	c.msg.u.pair.slot = slot;
	err = ask(x, &c);
	if (!err)
		return install(x, &c);
	close_fds(&c);
	/* Given back meanwhile: the directory says so by its next change. */
	return err == -ENOENT ? 0 : err;
}

/* What came before the end is heard before it: events of a full lane, at most. */
static int tell_over(struct exec *x, uint32_t slot)
{
	struct turn t;

	if (!take_turn(x, &t))
		return -EAGAIN;
	t.budget = AP_N_EVENTS;
	(void)ap_poll(&t);
	t.budget = TURN_BUDGET;
	if (peek32(&x->map.seg->ap[slot].pair_id) == x->map.ap[slot].pair_id)
		ap_pair_over(&t, slot);
	(void)exec_round(x, &t);
	exec_end(x, &t, false);
	return 0;
}

/* The view goes; and if it is still that pair which the stack knows, and it was given back, the
 * stack forgets it (M4). */
static int let_go(struct exec *x, uint32_t slot, bool given_back)
{
	uint32_t *known = &x->map.seg->ap[slot].pair_id;
	struct ap_view none = { .pair = NULL }, old;
	struct turn t;

	if (!take_turn(x, &t))
		return -EAGAIN;
	if (given_back && peek32(known) == x->map.ap[slot].pair_id)
		poke32(known, 0);
	old = replace(x, slot, &none);
	exec_end(x, &t, false);
	retire(x, slot, &old);
	mark_over(x, slot, false);
	return 0;
}

static int give_back(struct exec *x, uint32_t slot)
{
	struct ctl_call c;
	int err;

	ctl_prepare(&c, CTL_PAIR_DEL);
	c.msg.u.pair.slot = slot;
	c.msg.u.pair.pair_id = x->map.ap[slot].pair_id;
	err = ask(x, &c);
	close_fds(&c);
	/* Without an agent the slot will not be used again, but the memory may go. */
	if (!err || err == -ENOENT || err == -ENOTCONN || err == -EPIPE)
		return let_go(x, slot, true);
	return err;
}

static int settle(struct exec *x, uint32_t slot)
{
	const struct ap_slot *s = &x->map.seg->ap[slot];
	/* acquire32(): pairs with rel in agent/directory.c */
	uint32_t named = acquire32(&words_of(x)->pair_id[slot]);
	uint32_t known = peek32(&s->pair_id), mine = x->map.ap[slot].pair_id;
	uint32_t want = named ? named : known;
	int err = 0;

	if (want && want != mine)
		return fetch(x, slot);
	if (!mine || named)
		return 0;
	if (known != mine)
		return let_go(x, slot, false);
	mark_over(x, slot, true);
	if (!s->over)
		err = tell_over(x, slot);
	if (!err && ap_pair_is_done(&x->map, slot))
		err = give_back(x, slot);
	return err;
}

static int settle_all(struct exec *x)
{
	/* acquire32(): pairs with rel in agent/directory.c: the pairs it counts are seen */
	uint32_t changes = acquire32(&words_of(x)->changes);
	int err, worst = 0;

	for (uint32_t i = 0; i < n_slots(x); i++) {
		err = settle(x, i);
		if (err)
			worst = err;
	}
	/* Without an agent there is nobody to ask: what is mapped is all there is. */
	if (!worst || worst == -ENOTCONN || worst == -EPIPE)
		poke32(&x->pairs_seen, changes);
	return worst;
}

int exec_pairs(struct exec *x)
{
	uint64_t now;
	int err;

	if (likely(!exec_pairs_changed(x)))
		return 0;
	now = host_now();
	if (now < peek64(&x->pairs_at))
		return -EAGAIN;
	if (exec_lock(&x->pairs_lock, 0))
		return 0;
	err = settle_all(x);
	if (err)
		poke64(&x->pairs_at, now + (err == -EAGAIN ? NS_PER_MS : AGAIN_NS));
	exec_unlock(&x->pairs_lock);
	return err;
}

int exec_pair_get(struct exec *x, uint32_t peer_stack, uint32_t *ret_slot)
{
	struct ctl_call c;
	int err;

	if (!x->dir_slot)
		return -ENOTCONN;
	err = exec_lock(&x->pairs_lock, host_now() + LOCK_NS);
	if (err)
		return err;
	ctl_prepare(&c, CTL_PAIR_GET);
	c.msg.u.pair.peer = peer_stack;
	err = ask(x, &c);
	if (err) {
		close_fds(&c);
	} else if (c.msg.u.pair.slot < n_slots(x) && c.msg.u.pair.peer == peer_stack &&
		   c.msg.u.pair.pair_id == x->map.ap[c.msg.u.pair.slot].pair_id) {
		close_fds(&c);		/* it was mapped already: another thread was quicker */
		*ret_slot = c.msg.u.pair.slot;
	} else {
		err = c.msg.u.pair.peer == peer_stack ? install(x, &c) : -EPROTO;
		*ret_slot = c.msg.u.pair.slot;
	}
	exec_unlock(&x->pairs_lock);
	return err;
}

void pairs_close(struct exec *x)
{
	for (uint32_t i = 0; i < N_PAIRS; i++) {
		host_unmap_pair(x->spare[i].pair);
		host_unmap_front(x->spare[i].front);
		x->spare[i].pair = x->spare[i].front = NULL;
		if (x->map.ap[i].bell_fd > 0)
			(void)sys_close(x->map.ap[i].bell_fd);
		x->map.ap[i].bell_fd = -1;
	}
	x->dir_slot = 0;
}
