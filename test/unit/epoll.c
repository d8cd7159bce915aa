/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ready lists: each rule of Linux's epoll by itself (E1 to E7 of epoll.c), then a random walk
 * against a model that knows only what epoll_ctl(2) and epoll(7) promise.
 */
#include "test/unit/rig.h"

#include <errno.h>
#include <sys/epoll.h>

#define IN EPOLLIN
#define OUT EPOLLOUT

static struct ep_event got[128];

static struct sk *a_socket(struct rig *r) { return sk_get(&r->t, SK_TCP, 6); }

static uint32_t collect(struct rig *r, ep_h e) { return ep_collect(&r->t, e, got, n_elems(got)); }

static void put_to_sleep(struct rig *r, int slot)
{
	assert_int_equal(waiter_claim(&r->map, 1, 0), slot);
	waiter_sleep(&r->map, slot);
}

static void test_level(void **state)
{
	struct rig r;
	struct sk *sk;
	ep_h e;

	(void)state;
	rig_make(&r);
	e = ep_get(&r.t);
	sk = a_socket(&r);
	assert_int_equal(ep_add(&r.t, e, sk, 5, IN, 77), 0);
	assert_int_equal(ep_add(&r.t, e, sk, 5, IN, 77), -EEXIST);
	assert_int_equal(ep_add(&r.t, e, sk, 6, IN, 78), 0);	/* a dup */
	assert_int_equal(ep_del(&r.t, e, sk, 6), 0);
	assert_int_equal(ep_del(&r.t, e, sk, 6), -ENOENT);
	assert_int_equal(ep_mod(&r.t, e, sk, 6, IN, 0), -ENOENT);
	assert_int_equal(collect(&r, e), 0);
	sk_ready(&r.t, sk, OUT, 0);
	assert_int_equal(collect(&r, e), 0);
	sk_ready(&r.t, sk, IN, 0);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(collect(&r, e), 1);
		assert_int_equal(got[0].events, IN);
		assert_int_equal(got[0].fd, 5);
		assert_int_equal(got[0].data, 77);
	}
	sk_ready(&r.t, sk, 0, IN);
	assert_int_equal(collect(&r, e), 0);
	assert_int_equal(ep_at(&r.t, e)->n_ready, 0);
	/* Errors are reported to those who did not ask. */
	sk_ready(&r.t, sk, EPOLLERR | EPOLLHUP, 0);
	assert_int_equal(collect(&r, e), 1);
	assert_int_equal(got[0].events, EPOLLERR | EPOLLHUP);
	/* ... even to those who asked for nothing. */
	assert_int_equal(ep_mod(&r.t, e, sk, 5, 0, 78), 0);
	assert_int_equal(collect(&r, e), 1);
	assert_int_equal(got[0].events, EPOLLERR | EPOLLHUP);
	/* Watching something else that is ready already is an event. */
	sk_ready(&r.t, sk, 0, EPOLLERR | EPOLLHUP);
	assert_int_equal(collect(&r, e), 0);
	assert_int_equal(ep_mod(&r.t, e, sk, 5, OUT, 79), 0);
	assert_int_equal(collect(&r, e), 1);
	assert_int_equal(got[0].events, OUT);
	assert_int_equal(got[0].data, 79);
	rig_free(&r);
}

static void test_edge(void **state)
{
	struct rig r;
	struct sk *sk;
	ep_h e;

	(void)state;
	rig_make(&r);
	e = ep_get(&r.t);
	sk = a_socket(&r);
	sk_ready(&r.t, sk, OUT, 0);
	assert_int_equal(ep_add(&r.t, e, sk, 5, IN | OUT | EPOLLET, 1), 0);
	assert_int_equal(collect(&r, e), 1);	/* ready when added */
	assert_int_equal(got[0].events, OUT);
	assert_int_equal(collect(&r, e), 0);
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(collect(&r, e), 1);
	assert_int_equal(got[0].events, IN | OUT);
	assert_int_equal(collect(&r, e), 0);
	sk_ready(&r.t, sk, IN, 0);		/* more data: a new edge (E2) */
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(collect(&r, e), 1);
	sk_ready(&r.t, sk, 0, OUT);		/* less is no edge */
	assert_int_equal(collect(&r, e), 0);
	sk_ready(&r.t, sk, IN, 0);
	sk_ready(&r.t, sk, 0, IN);		/* gone before anybody looked */
	assert_int_equal(collect(&r, e), 0);
	rig_free(&r);
}

static void test_oneshot(void **state)
{
	struct rig r;
	struct sk *sk;
	ep_h e;

	(void)state;
	rig_make(&r);
	e = ep_get(&r.t);
	sk = a_socket(&r);
	assert_int_equal(ep_add(&r.t, e, sk, 5, IN | EPOLLONESHOT, 1), 0);
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(collect(&r, e), 1);
	assert_int_equal(collect(&r, e), 0);
	sk_ready(&r.t, sk, IN | EPOLLERR, 0);	/* disarmed: not even errors (E3) */
	assert_int_equal(collect(&r, e), 0);
	assert_int_equal(ep_mod(&r.t, e, sk, 5, IN | EPOLLONESHOT, 2), 0);
	assert_int_equal(collect(&r, e), 1);
	assert_int_equal(got[0].events, IN | EPOLLERR);
	assert_int_equal(got[0].data, 2);
	assert_int_equal(collect(&r, e), 0);
	rig_free(&r);
}

/* Few at a time, all get their turn; order is that of becoming ready. */
static void test_fair(void **state)
{
	struct rig r;
	struct sk *sk[10];
	ep_h e;

	(void)state;
	rig_make(&r);
	e = ep_get(&r.t);
	for (int i = 0; i < 10; i++) {
		sk[i] = a_socket(&r);
		assert_int_equal(ep_add(&r.t, e, sk[i], i, IN, 0), 0);
	}
	for (int i = 9; i >= 0; i--)
		sk_ready(&r.t, sk[i], IN, 0);
	for (int i = 0; i < 40; i++) {
		assert_int_equal(ep_collect(&r.t, e, got, 1), 1);
		assert_int_equal(got[0].fd, 9 - i % 10);
	}
	assert_int_equal(collect(&r, e), 10);	/* each once, though they stay ready */
	rig_free(&r);
}

/* E4: add and delete what is ready, for ever, without collecting. */
static void test_zombies(void **state)
{
	struct rig r;
	struct sk *sk[40];
	ep_h e;

	(void)state;
	rig_make(&r);
	e = ep_get(&r.t);
	for (int i = 0; i < 40; i++) {
		sk[i] = a_socket(&r);
		sk_ready(&r.t, sk[i], OUT, 0);
		assert_int_equal(ep_add(&r.t, e, sk[i], i, OUT, 0), 0);
	}
	for (int i = 0; i < 2000; i++) {
		struct sk *s = sk[(i * 7) % 40];

		assert_int_equal(ep_del(&r.t, e, s, (i * 7) % 40), 0);
		assert_int_equal(stack_check(&r.t), 0);
		assert_int_equal(ep_add(&r.t, e, s, (i * 7) % 40, OUT, 1), 0);
	}
	assert_int_equal(collect(&r, e), 40);
	assert_int_equal(ep_at(&r.t, e)->n_zombies, 0);
	for (int i = 0; i < 40; i += 3)
		sk_put(&r.t, sk[i]);
	assert_int_equal(collect(&r, e), 26);
	assert_int_equal(stack_check(&r.t), 0);
	ep_put(&r.t, e);
	assert_int_equal(stack_check(&r.t), 0);
	for (int i = 1; i < 40; i += 3)
		assert_int_equal(sk[i]->items, 0);
	assert_int_equal(ep_get(&r.t).v, e.v);
	rig_free(&r);
}

static void test_last_close(void **state)
{
	struct rig r;
	struct sk *sk;
	ep_h e, f;

	(void)state;
	rig_make(&r);
	e = ep_get(&r.t);
	f = ep_get(&r.t);
	sk = a_socket(&r);
	sk_ref(&r.t, sk, 0);
	sk_ref(&r.t, sk, 1);
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(ep_add(&r.t, e, sk, 5, IN, 0), 0);
	assert_int_equal(ep_add(&r.t, f, sk, 5, IN, 0), 0);
	assert_false(sk_unref(&r.t, sk, 0));
	assert_int_equal(collect(&r, e), 1);
	assert_true(sk_unref(&r.t, sk, 1));
	assert_int_equal(collect(&r, e), 0);
	assert_int_equal(collect(&r, f), 0);
	assert_int_equal(ep_at(&r.t, e)->n_items, 0);
	rig_free(&r);
}

static void test_wakes(void **state)
{
	struct rig r;
	struct sk *sk, *other;
	ep_h e;

	(void)state;
	rig_make(&r);
	e = ep_get(&r.t);
	sk = a_socket(&r);
	other = a_socket(&r);
	for (int i = 0; i < 3; i++)
		put_to_sleep(&r, i);
	sk->wait_mask = 1 << 2;
	ep_at(&r.t, e)->wait_mask = 1 << 0 | 1 << 1;
	assert_int_equal(ep_add(&r.t, e, sk, 5, IN, 0), 0);
	assert_int_equal(ep_add(&r.t, e, other, 6, IN, 0), 0);
	sk_ready(&r.t, sk, 0, IN);
	assert_int_equal(r.t.wakes, 0);
	/* The socket's sleepers all, the epoll's one (E5). */
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(r.t.wakes, 1 << 2 | 1 << 0);
	sk_ready(&r.t, other, IN, 0);
	assert_int_equal(r.t.wakes, 1 << 2 | 1 << 1 | 1 << 0);
	/* Nobody asleep, but somebody about to be: the bell is for waiter_ring() to decide. */
	r.t.wakes = 0;
	waiter_wake(&r.map, 0);
	waiter_wake(&r.map, 1);
	sk_ready(&r.t, other, IN, 0);
	assert_int_equal(r.t.wakes, 1 << 1 | 1 << 0);
	/* Who leaves something behind passes the word. */
	r.t.wakes = 0;
	waiter_sleep(&r.map, 1);
	ep_at(&r.t, e)->wait_mask = 1 << 1;
	assert_int_equal(ep_collect(&r.t, e, got, 1), 1);
	assert_int_equal(r.t.wakes, 1 << 1);
	/* Adding what is ready wakes, too; and an error wakes the socket's own. */
	r.t.wakes = 0;
	assert_int_equal(ep_add(&r.t, e, sk, 9, IN, 0), 0);
	assert_int_equal(r.t.wakes, 1 << 1);
	r.t.wakes = 0;
	sk_error(&r.t, sk, ECONNRESET);
	assert_int_equal(sk->err, ECONNRESET);
	assert_int_equal(r.t.wakes, 1 << 2);
	rig_free(&r);
}

static void test_exclusive(void **state)
{
	struct rig r;
	struct sk *sk;
	ep_h e[3];

	(void)state;
	rig_make(&r);
	sk = a_socket(&r);
	for (int i = 0; i < 3; i++) {
		e[i] = ep_get(&r.t);
		put_to_sleep(&r, i);
		ep_at(&r.t, e[i])->wait_mask = 1u << i;
		assert_int_equal(ep_add(&r.t, e[i], sk, 5, IN | EPOLLEXCLUSIVE, (uint64_t)i), 0);
	}
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(r.t.wakes, 1);
	assert_int_equal(collect(&r, e[1]), 0);
	/* The next event finds the first one still unheard, and goes to the second. */
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(r.t.wakes, 3);
	/* The first dies with its event uncollected: the third takes it (E6). */
	ep_put(&r.t, e[0]);
	assert_int_equal(r.t.wakes, 7);
	assert_int_equal(collect(&r, e[2]), 1);
	/* Nobody asleep: everybody is told. */
	sk_ready(&r.t, sk, 0, IN);
	assert_int_equal(collect(&r, e[1]) + collect(&r, e[2]), 0);
	ep_at(&r.t, e[1])->wait_mask = ep_at(&r.t, e[2])->wait_mask = 0;
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(collect(&r, e[1]) + collect(&r, e[2]), 2);
	rig_free(&r);
}

/* E7: sets in sets, three deep; what is read away underneath is not reported above. */
static void test_nested(void **state)
{
	struct rig r;
	struct sk *sk;
	ep_h e[3];

	(void)state;
	rig_make(&r);
	sk = a_socket(&r);
	for (int i = 0; i < 3; i++)
		e[i] = ep_get(&r.t);
	assert_int_equal(ep_add(&r.t, e[0], sk, 5, IN, 100), 0);
	assert_int_equal(ep_nest(&r.t, e[1], e[0], 6, IN, 101), 0);
	assert_int_equal(ep_nest(&r.t, e[1], e[0], 6, IN, 101), -EEXIST);
	assert_int_equal(ep_nest(&r.t, e[2], e[1], 7, IN | EPOLLET, 102), 0);
	assert_int_equal(collect(&r, e[2]), 0);
	put_to_sleep(&r, 0);
	ep_at(&r.t, e[2])->wait_mask = 1;
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(r.t.wakes, 1);		/* who sleeps on the outermost */
	assert_true(ep_is_ready(&r.t, e[2]));
	assert_int_equal(stack_check(&r.t), 0);
	assert_int_equal(collect(&r, e[2]), 1);
	assert_int_equal(got[0].data, 102);
	assert_int_equal(collect(&r, e[2]), 0);	/* an edge is told once */
	for (int i = 0; i < 2; i++)
		assert_int_equal(collect(&r, e[1]), 1);
	sk_ready(&r.t, sk, IN, 0);
	assert_int_equal(collect(&r, e[2]), 1);
	/* Read away before anybody looked. */
	sk_ready(&r.t, sk, IN, 0);
	sk_ready(&r.t, sk, 0, IN);
	assert_false(ep_is_ready(&r.t, e[2]));
	assert_int_equal(collect(&r, e[2]) + collect(&r, e[1]) + collect(&r, e[0]), 0);
	/* One-shot, told elsewhere, and armed again. */
	assert_int_equal(ep_nest_mod(&r.t, e[1], e[0], 6, IN | EPOLLONESHOT, 103), 0);
	sk_ready(&r.t, sk, IN, 0);
	ep_shot(&r.t, e[1], -1, 103);
	assert_int_equal(collect(&r, e[1]), 0);
	assert_int_equal(ep_nest_mod(&r.t, e[1], e[0], 6, IN, 104), 0);
	assert_int_equal(collect(&r, e[1]), 1);
	/* The inner one goes, and with it what watched it; so does the outer one. */
	ep_put(&r.t, e[0]);
	assert_int_equal(collect(&r, e[1]), 0);
	assert_int_equal(ep_at(&r.t, e[1])->n_items, 0);
	assert_int_equal(ep_nest_del(&r.t, e[2], e[1], 9), -ENOENT);
	assert_int_equal(ep_nest_del(&r.t, e[2], e[1], 7), 0);
	ep_put(&r.t, e[2]);
	assert_int_equal(stack_check(&r.t), 0);
	rig_free(&r);
}

/* ---- a random walk ----------------------------------------------------------------------------- */

#define N_SK 12
#define N_EP 3

struct item { bool live; uint32_t events; bool pending; };

static void walk_check(struct rig *r, ep_h e, struct item it[N_SK], struct sk *sk[N_SK])
{
	uint32_t n = collect(r, e), want = 0;

	for (unsigned i = 0; i < N_SK; i++) {
		uint32_t mask = it[i].events & (IN | OUT | EPOLLRDHUP);
		uint32_t events = mask ? sk[i]->ready & (mask | EPOLLERR | EPOLLHUP) : 0;
		bool said = false;

		for (uint32_t k = 0; k < n; k++)
			if (got[k].fd == (int32_t)i) {
				assert_false(said);
				said = true;
				assert_int_equal(got[k].events, events);
			}
		if (!it[i].live) {
			assert_false(said);
			continue;
		}
		if (it[i].events & EPOLLET)
			assert_int_equal(said, it[i].pending && events);
		else
			assert_int_equal(said, !!events);
		it[i].pending = false;
		if (said && it[i].events & EPOLLONESHOT)
			it[i].events &= ~(uint32_t)(IN | OUT | EPOLLRDHUP);
		want += said;
	}
	assert_int_equal(n, want);
}

static void walk(uint64_t seed)
{
	static const uint32_t bit[] = { IN, OUT, EPOLLRDHUP, EPOLLERR, EPOLLHUP };
	struct item it[N_EP][N_SK] = { 0 };
	struct sk *sk[N_SK];
	ep_h e[N_EP];
	struct prng g;
	struct rig r;

	rig_make(&r);
	prng_seed(&g, seed);
	for (unsigned i = 0; i < N_SK; i++)
		sk[i] = a_socket(&r);
	for (unsigned i = 0; i < N_EP; i++)
		e[i] = ep_get(&r.t);
	for (unsigned step = 0; step < 4000; step++) {
		unsigned s = prng_below(&g, N_SK), p = prng_below(&g, N_EP);
		uint32_t b = bit[prng_below(&g, n_elems(bit))];
		uint32_t events = (prng_below(&g, 2) ? IN : OUT) | (prng_below(&g, 2) ? EPOLLET : 0) |
				  (prng_below(&g, 3) ? 0 : EPOLLONESHOT);
		struct item *i = &it[p][s];

		switch (prng_below(&g, 6)) {
		case 0:
			assert_int_equal(ep_add(&r.t, e[p], sk[s], (int)s, events, s),
					 i->live ? -EEXIST : 0);
			if (!i->live)
				*i = (struct item){ true, events, true };
			break;
		case 1:
			assert_int_equal(ep_mod(&r.t, e[p], sk[s], (int)s, events, s),
					 i->live ? 0 : -ENOENT);
			if (i->live)
				*i = (struct item){ true, events,
					i->pending || sk[s]->ready & (events | EPOLLERR | EPOLLHUP) };
			break;
		case 2:
			assert_int_equal(ep_del(&r.t, e[p], sk[s], (int)s), i->live ? 0 : -ENOENT);
			*i = (struct item){ 0 };
			break;
		case 3:
			sk_ready(&r.t, sk[s], b, 0);
			for (unsigned k = 0; k < N_EP; k++)
				it[k][s].pending |= (it[k][s].events & (IN | OUT) &&
						     (it[k][s].events | EPOLLERR | EPOLLHUP) & b);
			break;
		case 4:
			sk_ready(&r.t, sk[s], 0, b);
			break;
		case 5:
			walk_check(&r, e[p], it[p], sk);
			break;
		}
		assert_int_equal(stack_check(&r.t), 0);
	}
	rig_free(&r);
}

static void test_walk(void **state)
{
	(void)state;
	for (uint64_t seed = 1; seed <= 40; seed++)
		walk(seed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_level),
		cmocka_unit_test(test_edge),
		cmocka_unit_test(test_oneshot),
		cmocka_unit_test(test_fair),
		cmocka_unit_test(test_zombies),
		cmocka_unit_test(test_last_close),
		cmocka_unit_test(test_wakes),
		cmocka_unit_test(test_exclusive),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_walk),
	};

	return cmocka_run_group_tests_name("epoll", tests, NULL, NULL);
}
