/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stack_check() on stacks that have been scribbled on: known wounds are found, and no wound
 * whatever makes it, or the calls of the strong side, leave the segment or run for ever.
 */
#include "test/unit/rig.h"

#include <errno.h>
#include <sys/epoll.h>

/* A stack with something everywhere. */
static void furnish(struct rig *r)
{
	struct turn *t = &r->t;
	ep_h e = ep_get(t);

	for (unsigned i = 0; i < 20; i++) {
		struct sk *sk = sk_get(t, i % 3 ? SK_TCP : SK_LISTEN, 6);

		sk->laddr = ip_from4(0x0a000001);
		sk->raddr = ip_from4(0x0a000002 + i);
		sk->lport = (uint16_t)(80 + i);
		sk->rport = (uint16_t)(i % 3 ? 1000 : 0);
		must((i % 3 ? flow_insert(t, sk) : listen_insert(t, sk)) == 0);
		tmr_arm(t, sk, t->now + i * 77 * NS_PER_MS);
		sk_work(t, sk);
		if (i & 1)
			sk_txwait(t, sk);
		must(ep_add(t, e, sk, (int)i, EPOLLIN, i) == 0);
		if (i % 5 == 0)
			sk_ready(t, sk, EPOLLIN, 0);
	}
	sk_put(t, sk_slot(t, 4));
	for (unsigned i = 0; i < 7; i++)
		(void)!pkt_get(t).v;
	must(port_block_add(t, 64) == 0);
	must(stack_check(t) == 0);
}

#define WOUND(expr, why) do { \
	struct rig r; \
	rig_make(&r); \
	furnish(&r); \
	struct segment *seg = r.map.seg; \
	struct turn *t = &r.t; \
	(void)seg; (void)t; \
	expr; \
	assert_int_equal(stack_check(&r.t), -EUCLEAN); \
	assert_int_equal(seg->condemned, WHY_##why + 1); \
	free(r.mem); \
} while (0)

static void test_wounds(void **state)
{
	(void)state;
	WOUND(seg->free_pkt = 0, PKT_POOL);
	WOUND(seg->n_free_pkt++, PKT_POOL);
	WOUND(seg->n_posted[1] = 1, PKT_POOL);
	WOUND(pkt_slot(t, 100)->next = 100, PKT_POOL);
	WOUND(pkt_slot(t, 1)->state = 77, PKT_STATE);
	WOUND(pkt_slot(t, 100)->state = PKT_HELD, PKT_STATE);
	WOUND(pkt_slot(t, 1)->flags = PKT_F_DEFER_PUT, PKT_STATE);
	WOUND(seg->used_sk = 0, SK_POOL);
	WOUND(seg->used_sk = 1u << 31, SK_POOL);
	WOUND(seg->free_sk = 0, SK_POOL);
	WOUND(seg->n_conns = 0, SK_POOL);
	WOUND(sk_slot(t, 3)->self++, SK_POOL);
	WOUND(sk_slot(t, 3)->kind = 99, SK_KIND);
	WOUND(sk_slot(t, 3)->lport++, FLOW_TABLE);
	WOUND(sk_slot(t, 3)->flags &= ~SK_F_HASHED, FLOW_TABLE);
	WOUND(r.map.flow[3] = 4, FLOW_TABLE);
	WOUND(r.map.listen[3] = 3, FLOW_TABLE);
	WOUND(seg->work_head = 0, SK_LIST);
	WOUND(seg->work_tail = 1, SK_LIST);
	WOUND(sk_slot(t, 6)->tx_next = 6, SK_LIST);
	WOUND(seg->wheel.occupied[2] ^= 1, WHEEL);
	WOUND(sk_slot(t, 2)->tmr_prev = 9, WHEEL);
	WOUND(sk_slot(t, 2)->flags &= ~SK_F_TIMER, WHEEL);
	WOUND(sk_slot(t, 20)->tmr_at = 1, WHEEL);
	WOUND(r.map.eps[1].n_items++, EPOLL_LIST);
	WOUND(r.map.eps[1].n_ready = 0, EPOLL_LIST);
	WOUND(r.map.eps[1].ready_tail = 1, EPOLL_LIST);
	WOUND(r.map.epis[2].sk ^= 1, EPOLL_LIST);
	WOUND(r.map.epis[2].ep_next = 2, EPOLL_LIST);
	WOUND(sk_slot(t, 2)->items = 0, EPOLL_LIST);
}

/* Everything the strong side calls, on whatever is there. */
static void use_it(struct rig *r, struct prng *g)
{
	struct turn *t = &r->t;
	struct pkt_queue q = { prng_below(g, 200), prng_below(g, 200), 5, 5 };
	struct ep_event got[8];
	struct ipaddr a = ip_from4(0x0a000001), b = ip_from4(0x0a000002 + prng_below(g, 20));
	uint8_t out[100];
	struct sk *sk;
	pkt_h h;

	for (unsigned i = 0; i < 10 && (sk = tmr_pop(t)); i++)
		tmr_arm(t, sk, t->now + NS_PER_MS);
	(void)tmr_deadline(t);
	for (unsigned i = 0; i < 80 && (sk = sk_work_pop(t)); i++)
		;
	for (unsigned i = 0; i < 80 && (sk = sk_txwait_pop(t)); i++)
		sk_work(t, sk);
	(void)!flow_find(t, 6, &a, (uint16_t)(80 + prng_below(g, 20)), &b, 1000);
	(void)!listen_find(t, 6, &a, (uint16_t)(80 + prng_below(g, 20)));
	(void)!port_get(t, 6, &a, &b, 80, NULL);
	(void)!ep_collect(t, (ep_h){ prng_below(g, 8) }, got, 8);
	sk = sk_slot(t, prng_below(g, 64));
	sk_ready(t, sk, EPOLLIN, EPOLLOUT);
	(void)!ep_add(t, (ep_h){ 1 }, sk, 99, EPOLLIN, 0);
	(void)!ep_del(t, (ep_h){ 1 }, sk, (int)prng_below(g, 20));
	if (sk->kind)
		sk_put(t, sk);
	sk = sk_get(t, SK_TCP, 6);
	if (sk) {
		tmr_arm(t, sk, t->now);
		tmr_arm(t, sk, NEVER_NS);
	}
	h = pkt_get(t);
	pkt_q_push(t, &q, h);
	(void)pkt_copy_out(t, pkt_slot(t, prng_below(g, 128)), 3, out, sizeof(out));
	(void)pkt_csum(t, pkt_slot(t, prng_below(g, 128)), 3);
	pkt_pull(t, pkt_slot(t, prng_below(g, 128)), prng_below(g, 9000));
	pkt_trim(t, pkt_slot(t, prng_below(g, 128)), prng_below(g, 9000));
	pkt_put_queue(t, &q);
	ep_put(t, (ep_h){ prng_below(g, 8) });
	waiter_reap(t, 0);
}

/* Bytes of the header and the pools at random; under ASan, a step outside is a failure. */
static void test_scribbled(void **state)
{
	unsigned found = 0;

	(void)state;
	for (uint64_t seed = 1; seed <= 400; seed++) {
		struct prng g;
		struct rig r;
		uint64_t first, span;

		rig_make(&r);
		furnish(&r);
		r.map.strong = 1;
		prng_seed(&g, seed);
		first = offsetof(struct segment, deadline);
		span = (uint64_t)((uint8_t *)r.map.ap_tables - (uint8_t *)r.mem) - first;
		for (unsigned i = 0, n = 1 + prng_below(&g, 2400); i < n; i++) {
			uint64_t at = first + prng_below(&g, (uint32_t)span / 4) * 4ull;
			uint32_t v = prng_below(&g, 3) ? prng_below(&g, 130) : (uint32_t)prng_u64(&g);

			memcpy((uint8_t *)r.mem + at, &v, sizeof(v));
		}
		r.t.now += prng_below(&g, 1000) * NS_PER_MS;
		found += stack_check(&r.t) != 0;
		for (unsigned i = 0; i < 20; i++)
			use_it(&r, &g);
		(void)!stack_check(&r.t);
		free(r.mem);
	}
	assert_in_range(found, 300, 400);
}

static void test_names(void **state)
{
	(void)state;
	for (unsigned i = 0; i < N_WHYS; i++)
		assert_true(strlen(why_name((enum why)i)) > 10);
	for (unsigned i = 0; i < N_EVENTS; i++) {
		assert_true(strlen(event_name((enum event)i)) > 1);
		assert_true(strlen(event_sentence((enum event)i)) > 8);
	}
	assert_string_equal(event_name(EV_RX), "RX");
	assert_non_null(why_name(N_WHYS));
	assert_string_equal(event_name(N_EVENTS), "?");
}

static void test_trace(void **state)
{
	struct rig r;

	(void)state;
	rig_make(&r);
	for (uint32_t i = 0; i < 100; i++)
		ev(&r.t, EV_TCP_IN, 7, i, i + 1);
	assert_int_equal(rig_count(&r, EV_TCP_IN), 100);
	assert_int_equal(r.map.seg->trace_next, 100);
	for (uint32_t i = 36; i < 100; i++) {
		const struct trace_rec *rec = &r.map.trace[i & 63];

		assert_int_equal(rec->event, EV_TCP_IN);
		assert_int_equal(rec->who, EXEC_APP);
		assert_int_equal(rec->h, 7);
		assert_int_equal(rec->arg[0], i);
		assert_int_equal(rec->arg[1], i + 1);
		assert_true(rec->at == r.t.now);
	}
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wounds),
		cmocka_unit_test(test_scribbled),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_trace),
	};

	return cmocka_run_group_tests_name("check", tests, NULL, NULL);
}
