/* SPDX-License-Identifier: BSD-2-Clause */
/* The socket pool, flow and listen tables against naive ones, lists, and ephemeral ports. */
#include "test/unit/rig.h"

#include <errno.h>

#define TCP 6
#define UDP 17

static struct ipaddr v4(unsigned last) { return ip_from4(0x0a000000u + last); }

static struct ipaddr v6(unsigned last)
{
	struct ipaddr a = { { 0xfd, 1 } };

	a.b[15] = (uint8_t)last;
	return a;
}

/* ---- the pool ----------------------------------------------------------------------------- */

static void test_pool(void **state)
{
	struct rig r;
	struct sk *sk[64];
	sk_h old;

	(void)state;
	rig_make(&r);
	for (unsigned i = 0; i < 63; i++) {
		sk[i] = sk_get(&r.t, i % 2 ? SK_TCP : SK_LISTEN, TCP);
		assert_non_null(sk[i]);
		assert_ptr_equal(sk_find(&r.t, sk_handle(sk[i])), sk[i]);
		assert_true(sk[i]->tmr_at == NEVER_NS);
	}
	assert_null(sk_get(&r.t, SK_UDP, UDP));
	assert_int_equal(r.map.seg->n_conns, 31);
	assert_int_equal(stack_check(&r.t), 0);
	/* S2: a handle outlived finds nothing, also when the slot lives again. */
	old = sk_handle(sk[20]);
	sk_put(&r.t, sk[20]);
	assert_null(sk_find(&r.t, old));
	assert_ptr_equal(sk_get(&r.t, SK_UDP, UDP), sk[20]);
	assert_null(sk_find(&r.t, old));
	assert_ptr_equal(sk_find(&r.t, sk_handle(sk[20])), sk[20]);
	assert_int_equal(sk[20]->flags, 0);
	assert_null(sk_find(&r.t, (sk_h){ 0 }));
	for (unsigned i = 0; i < 63; i++)
		sk_put(&r.t, sk[i]);
	assert_int_equal(r.map.seg->n_conns, 0);
	assert_int_equal(r.map.seg->n_free_sk, 63);
	expect_assert_failure(sk_put(&r.t, sk[0]));
	rig_free(&r);
}

static void test_lists(void **state)
{
	struct rig r;
	struct sk *sk[6];

	(void)state;
	rig_make(&r);
	for (unsigned i = 0; i < 6; i++)
		sk[i] = sk_get(&r.t, SK_TCP, TCP);
	for (unsigned i = 0; i < 6; i++) {
		sk_work(&r.t, sk[i]);
		sk_work(&r.t, sk[i]);		/* twice is once */
		sk_txwait(&r.t, sk[5 - i]);
	}
	assert_int_equal(stack_check(&r.t), 0);
	sk_put(&r.t, sk[2]);			/* from the middle */
	sk_put(&r.t, sk[0]);			/* head of one, tail of the other */
	sk_put(&r.t, sk[5]);
	assert_int_equal(stack_check(&r.t), 0);
	assert_ptr_equal(sk_work_pop(&r.t), sk[1]);
	sk_work(&r.t, sk[1]);
	assert_ptr_equal(sk_work_pop(&r.t), sk[3]);
	assert_ptr_equal(sk_work_pop(&r.t), sk[4]);
	assert_ptr_equal(sk_work_pop(&r.t), sk[1]);
	assert_null(sk_work_pop(&r.t));
	assert_ptr_equal(sk_txwait_pop(&r.t), sk[4]);
	assert_ptr_equal(sk_txwait_pop(&r.t), sk[3]);
	assert_ptr_equal(sk_txwait_pop(&r.t), sk[1]);
	assert_null(sk_txwait_pop(&r.t));
	rig_free(&r);
}

static void test_refs(void **state)
{
	struct rig r;
	struct sk *sk;

	(void)state;
	rig_make(&r);
	sk = sk_get(&r.t, SK_TCP, TCP);
	assert_false(sk_unref(&r.t, sk, 3));
	sk_ref(&r.t, sk, 3);
	sk_ref(&r.t, sk, 63);
	assert_false(sk_unref(&r.t, sk, 3));
	assert_false(sk_unref(&r.t, sk, 3));
	assert_true(sk_unref(&r.t, sk, 63));
	rig_free(&r);
}

/* ---- flows ------------------------------------------------------------------------------------- */

static void set_tuple(struct sk *sk, uint32_t bits)
{
	/* Few addresses and ports, so that near misses are many. */
	sk->laddr = bits & 1 ? v4(1) : v6(1);
	sk->raddr = bits & 1 ? v4(bits >> 1 & 3) : v6(bits >> 1 & 3);
	sk->lport = (uint16_t)(80 + (bits >> 3 & 3));
	sk->rport = (uint16_t)(1000 + (bits >> 5 & 3));
	sk->proto = bits & 128 ? TCP : UDP;
}

static void test_flow_model(void **state)
{
	struct sk *has[256] = { NULL };
	struct prng rng;
	struct rig r;

	(void)state;
	rig_make(&r);
	prng_seed(&rng, 5);
	for (unsigned step = 0; step < 20000; step++) {
		uint32_t bits = prng_below(&rng, 256);
		struct sk key = { 0 };
		struct sk *found;

		set_tuple(&key, bits);
		found = flow_find(&r.t, key.proto, &key.laddr, key.lport, &key.raddr, key.rport);
		assert_ptr_equal(found, has[bits]);
		if (found && prng_below(&rng, 2)) {
			if (prng_below(&rng, 2))
				flow_remove(&r.t, found);
			sk_put(&r.t, found);
			has[bits] = NULL;
		} else {
			struct sk *sk = sk_get(&r.t, SK_TCP, TCP);

			if (!sk)
				continue;
			set_tuple(sk, bits);
			assert_int_equal(flow_insert(&r.t, sk), found ? -EADDRINUSE : 0);
			if (found)
				sk_put(&r.t, sk);
			else
				has[bits] = sk;
		}
		if (step % 16 == 0)
			assert_int_equal(stack_check(&r.t), 0);
	}
	rig_free(&r);
}

/* ---- listeners ------------------------------------------------------------------------------------ */

static struct sk *listener(struct rig *r, struct ipaddr laddr, uint16_t lport, uint32_t flags)
{
	struct sk *sk = sk_get(&r->t, SK_LISTEN, TCP);

	sk->laddr = laddr;
	sk->lport = lport;
	sk->flags |= flags;
	assert_int_equal(listen_insert(&r->t, sk), 0);
	return sk;
}

static struct sk *lookup(struct rig *r, struct ipaddr laddr, uint16_t lport)
{
	return listen_find(&r->t, TCP, &laddr, lport);
}

static void test_listen(void **state)
{
	struct ipaddr any6 = { { 0 } }, any4 = ip_from4(0);
	struct sk *exact, *w4, *w6, *dup;
	struct rig r;

	(void)state;
	rig_make(&r);
	w6 = listener(&r, any6, 80, 0);
	assert_ptr_equal(lookup(&r, v6(1), 80), w6);
	assert_ptr_equal(lookup(&r, v4(1), 80), w6);	/* dual-stack */
	assert_null(lookup(&r, v4(1), 81));
	w4 = listener(&r, any4, 80, 0);
	assert_ptr_equal(lookup(&r, v4(1), 80), w4);
	assert_ptr_equal(lookup(&r, v6(1), 80), w6);
	exact = listener(&r, v4(1), 80, 0);
	assert_ptr_equal(lookup(&r, v4(1), 80), exact);
	assert_ptr_equal(lookup(&r, v4(2), 80), w4);
	listen_remove(&r.t, w4);
	listen_remove(&r.t, w6);
	assert_null(lookup(&r, v4(2), 80));
	w6->flags |= SK_F_V6ONLY;
	assert_int_equal(listen_insert(&r.t, w6), 0);
	assert_null(lookup(&r, v4(2), 80));
	assert_ptr_equal(lookup(&r, v6(2), 80), w6);
	/* UDP on the same port is something else; the same twice is not. */
	dup = sk_get(&r.t, SK_UDP, UDP);
	dup->laddr = v4(1);
	dup->lport = 80;
	assert_int_equal(listen_insert(&r.t, dup), 0);
	listen_remove(&r.t, dup);
	dup->proto = TCP;
	assert_int_equal(listen_insert(&r.t, dup), -EADDRINUSE);
	assert_int_equal(stack_check(&r.t), 0);
	sk_put(&r.t, exact);
	assert_null(lookup(&r, v4(1), 80));
	rig_free(&r);
}

/* ---- ports -------------------------------------------------------------------------------------------- */

static struct sk *connect_from(struct rig *r, uint16_t port, struct ipaddr raddr, uint16_t rport)
{
	struct sk *sk = sk_get(&r->t, SK_TCP, TCP);

	assert_non_null(sk);
	sk->laddr = v4(1);
	sk->lport = port;
	sk->raddr = raddr;
	sk->rport = rport;
	assert_int_equal(flow_insert(&r->t, sk), 0);
	return sk;
}

static bool state_is_7(struct turn *t, struct sk *sk)
{
	(void)t;
	return sk->state == 7;
}

static void test_ports(void **state)
{
	struct ipaddr l = v4(1), ra = v4(2), rb = v4(3);
	struct sk *sk[64] = { NULL };
	uint64_t seen = 0;
	uint16_t left = 0;
	unsigned n;
	struct rig r;

	(void)state;
	rig_make(&r);
	assert_int_equal(port_get(&r.t, TCP, &l, &ra, 80, NULL), 0);
	assert_int_equal(r.map.seg->port_scarce, 1);
	assert_int_equal(r.t.asks, 1);
	assert_int_equal(port_block_add(&r.t, 0), -EINVAL);
	assert_int_equal(port_block_add(&r.t, 1025), -EINVAL);
	assert_int_equal(port_block_add(&r.t, 40000), 0);
	assert_int_equal(port_block_add(&r.t, 40000), 0);
	assert_int_equal(r.map.seg->port_scarce, 0);
	assert_true(port_is_leased(&r.t, 40063));
	assert_false(port_is_leased(&r.t, 40064));
	assert_false(port_is_leased(&r.t, 39999));

	/* All but one to the same remote, each once; the pool of sockets ends first. */
	for (n = 0; n < 62; n++) {
		uint16_t port = port_get(&r.t, TCP, &l, &ra, 80, NULL);

		assert_in_range(port, 40000, 40063);
		assert_false(seen >> (port - 40000) & 1);
		seen |= 1ull << (port - 40000);
		sk[n] = connect_from(&r, port, ra, 80);
	}
	/* Another remote may share all of them. */
	assert_in_range(port_get(&r.t, TCP, &l, &rb, 80, NULL), 40000, 40063);
	assert_int_equal(r.map.seg->port_scarce, 0);
	sk_put(&r.t, sk[0]);
	sk_put(&r.t, sk[1]);
	sk[0] = connect_from(&r, port_get(&r.t, TCP, &l, &ra, 80, NULL), ra, 80);
	sk[1] = connect_from(&r, port_get(&r.t, TCP, &l, &ra, 80, NULL), ra, 80);
	assert_int_equal(stack_check(&r.t), 0);

	/* Three ports are left. One that is listened on, at whatever address, is nobody's. */
	sk_put(&r.t, sk[61]);
	for (unsigned i = 0, put = 0; i < 64; i++) {
		uint16_t port = (uint16_t)(40000 + i);

		if (flow_find(&r.t, TCP, &l, port, &ra, 80) || put++)
			continue;
		listener(&r, v4(9), port, 0);
		left = port;
	}
	for (unsigned i = 0; i < 200; i++)
		assert_int_not_equal(port_get(&r.t, TCP, &l, &ra, 80, NULL), left);
	rig_free(&r);
}

/* A TIME_WAIT that gives way is freed, and its port handed out. */
static void test_port_reuse(void **state)
{
	struct geometry g = rig_small;
	struct ipaddr l = v4(1), ra = v4(2);
	struct sk *sk[64];
	sk_h old;
	struct rig r;

	(void)state;
	g.n_socks = 128;
	rig_make_as(&r, &g);
	assert_int_equal(port_block_add(&r.t, 64), 0);
	for (unsigned i = 0; i < 64; i++)
		sk[i] = connect_from(&r, port_get(&r.t, TCP, &l, &ra, 80, NULL), ra, 80);
	assert_int_equal(port_get(&r.t, TCP, &l, &ra, 80, NULL), 0);
	assert_int_equal(port_get(&r.t, TCP, &l, &ra, 80, state_is_7), 0);
	assert_int_equal(r.map.seg->port_scarce, 1);
	sk[17]->state = 7;
	old = sk_handle(sk[17]);
	assert_int_equal(port_get(&r.t, TCP, &l, &ra, 80, state_is_7), sk[17]->lport);
	assert_null(sk_find(&r.t, old));
	/* Full house: nothing more to ask for. */
	for (unsigned i = 2; i <= N_PORT_BLOCKS; i++)
		assert_int_equal(port_block_add(&r.t, (uint16_t)(i * 64)), 0);
	assert_int_equal(port_block_add(&r.t, 65472), -ENOSPC);
	rig_free(&r);
}

/* SO_REUSEPORT: a flow has one member, whoever else there is; all members have flows; and when one goes
 * only its flows move, and those of the last. */
static void test_groups(void **state)
{
	struct rig r;
	struct sk *sk[5], *was[200];
	struct ipaddr any = ip_from4(0), me = ip_from4(0x0a000001), peer = ip_from4(0x0a000002);
	uint32_t n_of[5] = { 0 }, moved = 0;

	(void)state;
	rig_make(&r);
	for (int i = 0; i < 5; i++) {
		sk[i] = sk_get(&r.t, SK_UDP, UDP);
		sk[i]->laddr = any;
		sk[i]->lport = 53;
		if (i == 0)
			assert_int_equal(listen_insert(&r.t, sk[i]), 0);
		if (i == 1)	/* the first is alone, and wants to be */
			assert_int_equal(listen_insert(&r.t, sk[i]), -EADDRINUSE);
	}
	listen_remove(&r.t, sk[0]);
	for (int i = 0; i < 4; i++) {
		sk[i]->flags |= SK_F_REUSEPORT;
		assert_int_equal(listen_insert(&r.t, sk[i]), 0);
		assert_int_equal(sk[i]->group_i, i);
	}
	assert_int_equal(listen_insert(&r.t, sk[4]), -EADDRINUSE);	/* it has not asked to share */
	for (uint16_t p = 0; p < 200; p++) {
		was[p] = listen_pick(&r.t, UDP, &me, 53, &peer, p);
		for (int i = 0; i < 4; i++)
			n_of[i] += was[p] == sk[i];
		assert_ptr_equal(listen_pick(&r.t, UDP, &me, 53, &peer, p), was[p]);
	}
	assert_int_equal(n_of[0] + n_of[1] + n_of[2] + n_of[3], 200);
	for (int i = 0; i < 4; i++)
		assert_true(n_of[i] > 10);
	listen_remove(&r.t, sk[1]);
	assert_int_equal(sk[3]->group_i, 1);
	for (uint16_t p = 0; p < 200; p++) {
		struct sk *now = listen_pick(&r.t, UDP, &me, 53, &peer, p);

		assert_true(now == sk[0] || now == sk[2] || now == sk[3]);
		moved += now != was[p];
	}
	assert_true(moved >= n_of[1] && moved < 200);
	listen_remove(&r.t, sk[0]);
	listen_remove(&r.t, sk[2]);
	assert_ptr_equal(listen_pick(&r.t, UDP, &me, 53, &peer, 9), sk[3]);
	assert_int_equal(sk[3]->group_i, 0);
	listen_remove(&r.t, sk[3]);
	assert_null(listen_pick(&r.t, UDP, &me, 53, &peer, 9));
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_refs),
		cmocka_unit_test(test_flow_model),
		cmocka_unit_test(test_listen),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_port_reuse),
		cmocka_unit_test(test_groups),
	};

	return cmocka_run_group_tests_name("tables", tests, NULL, NULL);
}
