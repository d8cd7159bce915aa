/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sleeping: the slots, then real threads that sleep on real bells while another makes things
 * ready. A lost wake-up would hang for ever, so each sleep has a limit and none may hit it.
 */
#include "test/unit/rig.h"

#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/atomic.h"

static void test_slots(void **state)
{
	struct rig r;

	(void)state;
	rig_make(&r);
	for (int i = 0; i < PEER_BELL; i++)
		assert_int_equal(waiter_claim(&r.map, 100 + (uint32_t)i, 7), i);
	assert_int_equal(waiter_claim(&r.map, 1, 7), -1);
	waiter_release(&r.map, 9);
	assert_int_equal(waiter_claim(&r.map, 1, 8), 9);
	assert_false(waiter_ring(&r.map, 9));		/* awake: no bell */
	waiter_sleep(&r.map, 9);
	assert_true(waiter_ring(&r.map, 9));
	assert_false(waiter_ring(&r.map, 9));		/* once a sleep (A3) */
	assert_true(waiter_wake(&r.map, 9));
	assert_false(waiter_ring(&r.map, 9));
	waiter_sleep(&r.map, 9);
	assert_false(waiter_wake(&r.map, 9));
	rig_free(&r);
}

static void test_reap(void **state)
{
	struct rig r;
	struct sk *sk;
	ep_h e;

	(void)state;
	rig_make(&r);
	for (int i = 0; i < 4; i++) {
		assert_int_equal(waiter_claim(&r.map, 1, i < 2 ? 5 : 6), i);
		waiter_sleep(&r.map, i);
	}
	sk = sk_get(&r.t, SK_TCP, 6);
	e = ep_get(&r.t);
	assert_int_equal(ep_add(&r.t, e, sk, 1, EPOLLIN, 0), 0);
	sk->wait_mask = 0xf;
	ep_at(&r.t, e)->wait_mask = 0xf;
	sk_ready(&r.t, sk, EPOLLIN, 0);
	r.t.wakes = 1;			/* only the first of the dead was told ... */
	waiter_reap(&r.t, 5);
	assert_int_equal(sk->wait_mask, 0xc);
	assert_int_equal(ep_at(&r.t, e)->wait_mask, 0xc);
	assert_int_equal(r.t.wakes, 0xc);	/* ... so the living are told instead */
	assert_int_equal(waiter_claim(&r.map, 1, 5), 0);
	r.t.wakes = 0;
	waiter_reap(&r.t, 9);
	assert_int_equal(sk->wait_mask, 0xc);
	/* A5: it may have owed bells to anybody, though it never slept itself. */
	assert_int_equal(r.t.wakes, 0xd);
	r.t.wakes = 0;
	rig_free(&r);
}

/* ---- threads --------------------------------------------------------------------------------- */

#define N_SLEEPERS 3
#define N_TOKENS   6000
#define LIMIT_MS   20000

struct hall {
	struct rig r;
	struct sk *sk;
	ep_h e;
	int bell[N_WAITERS];
	uint32_t tokens;	/* writer: turn; ready means there are some */
	uint32_t taken;		/* writer: turn */
	uint32_t made;		/* writer: turn */
	uint32_t late;		/* atomic: sleeps that hit the limit */
	bool by_epoll;		/* sleep on the epoll, not on the socket */
	bool peeks;		/* the last look is a peek, not a turn */
};

struct sleeper { struct hall *h; uint32_t i; pthread_t thread; };

static void hall_begin(struct hall *h, struct turn *t, uint32_t tid)
{
	while (!turn_try(t, &h->r.map, EXEC_APP, tid, 0, 0, 0))
		sched_yield();
}

static void hall_end(struct hall *h, struct turn *t)
{
	uint32_t wakes = t->wakes;
	bool contended;

	while (turn_end(t, &contended))
		;
	for (; wakes; wakes &= wakes - 1) {
		int slot = __builtin_ctz(wakes);
		uint64_t one = 1;

		if (waiter_ring(&h->r.map, slot))
			must(write(h->bell[slot], &one, sizeof(one)) == sizeof(one));
	}
}

static uint32_t *mask_of(struct hall *h, struct turn *t)
{
	return h->by_epoll ? &ep_at(t, h->e)->wait_mask : &h->sk->wait_mask;
}

/* One try in a turn: takes a token, or, if there is none, says whether to wait. */
static bool hall_take(struct hall *h, struct turn *t, int slot, bool *ret_done)
{
	struct ep_event got;
	uint32_t n = 1;

	if (h->by_epoll)
		n = ep_collect(t, h->e, &got, 1);
	*ret_done = h->taken == N_TOKENS;
	if (!n || !h->tokens) {
		if (*ret_done)
			*mask_of(h, t) &= ~(1u << slot);
		else
			*mask_of(h, t) |= 1u << slot;
		return false;
	}
	*mask_of(h, t) &= ~(1u << slot);
	poke32(&h->taken, h->taken + 1);
	if (--h->tokens == 0)
		sk_ready(t, h->sk, 0, EPOLLIN);
	if (h->taken == N_TOKENS) {
		/* The end is an event for all. */
		t->wakes |= h->sk->wait_mask | ep_at(t, h->e)->wait_mask;
	}
	return true;
}

static bool last_look(struct hall *h, struct turn *t, int slot, uint32_t tid, bool *ret_done)
{
	bool took;

	if (h->peeks) {
		if (h->by_epoll ? peek32(&ep_at(t, h->e)->n_ready) : peek32(&h->sk->ready) & EPOLLIN)
			return true;
		*ret_done = peek32(&h->taken) == N_TOKENS;
		return *ret_done;
	}
	hall_begin(h, t, tid);
	took = hall_take(h, t, slot, ret_done);
	hall_end(h, t);
	return took || *ret_done;
}

static void *sleep_and_take(void *arg)
{
	struct sleeper *s = arg;
	struct hall *h = s->h;
	uint32_t tid = 200 + s->i;
	int slot = waiter_claim(&h->r.map, tid, 0);
	bool done = false;
	struct turn t;

	must(slot >= 0);
	while (!done) {
		struct pollfd p = { .fd = h->bell[slot], .events = POLLIN };
		uint64_t v;
		bool took;

		hall_begin(h, &t, tid);
		took = hall_take(h, &t, slot, &done);
		hall_end(h, &t);
		if (took || done)
			continue;
		waiter_sleep(&h->r.map, slot);
		if (!last_look(h, &t, slot, tid, &done) && poll(&p, 1, LIMIT_MS) == 0)
			/* relaxed: a tally. */
			atomic_fetch_add_explicit((_Atomic uint32_t *)&h->late, 1,
						  memory_order_relaxed);
		if (waiter_wake(&h->r.map, slot))
			(void)!read(h->bell[slot], &v, sizeof(v));
	}
	waiter_release(&h->r.map, slot);
	return NULL;
}

static void hall_run(bool by_epoll, bool peeks)
{
	static struct hall h;
	struct sleeper s[N_SLEEPERS];
	struct prng g;
	struct turn t;

	memset(&h, 0, sizeof(h));
	h.by_epoll = by_epoll;
	h.peeks = peeks;
	rig_make(&h.r);
	h.sk = sk_get(&h.r.t, SK_TCP, 6);
	h.e = ep_get(&h.r.t);
	assert_int_equal(ep_add(&h.r.t, h.e, h.sk, 1, EPOLLIN, 0), 0);
	rig_end(&h.r);
	for (int i = 0; i < N_WAITERS; i++)
		h.bell[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (uint32_t i = 0; i < N_SLEEPERS; i++) {
		s[i] = (struct sleeper){ .h = &h, .i = i };
		assert_int_equal(pthread_create(&s[i].thread, NULL, sleep_and_take, &s[i]), 0);
	}
	prng_seed(&g, 9);
	while (h.made < N_TOKENS) {
		uint32_t n = min_u32(1 + prng_below(&g, 3), N_TOKENS - h.made);

		hall_begin(&h, &t, 100);
		h.tokens += n;
		h.made += n;
		sk_ready(&t, h.sk, EPOLLIN, 0);
		hall_end(&h, &t);
		for (uint32_t k = prng_below(&g, 4); k; k--)
			sched_yield();
	}
	for (uint32_t i = 0; i < N_SLEEPERS; i++)
		pthread_join(s[i].thread, NULL);
	assert_int_equal(h.taken, N_TOKENS);
	assert_int_equal(h.late, 0);
	for (int i = 0; i < N_WAITERS; i++)
		close(h.bell[i]);
	rig_begin(&h.r, 0);
	rig_free(&h.r);
}

static void test_on_socket(void **state) { (void)state; hall_run(false, false); }
static void test_on_socket_peek(void **state) { (void)state; hall_run(false, true); }
static void test_on_epoll(void **state) { (void)state; hall_run(true, false); }
static void test_on_epoll_peek(void **state) { (void)state; hall_run(true, true); }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_slots),
		cmocka_unit_test(test_reap),
		cmocka_unit_test(test_on_socket),
		cmocka_unit_test(test_on_socket_peek),
		cmocka_unit_test(test_on_epoll),
		cmocka_unit_test(test_on_epoll_peek),
	};

	return cmocka_run_group_tests_name("waiter", tests, NULL, NULL);
}
