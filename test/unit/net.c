/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The four entry points, with a TCP that only takes notes: who is called, how often, in which
 * order; what a dead process leaves behind.
 */
#include "test/unit/net_rig.h"

#include <sys/epoll.h>

#include <errno.h>

#include "core/ap/ap.h"
#include "core/net/net.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"
#include "core/udp/udp_area.h"

static struct net_rig n;
static struct turn *t;

/* ---- the TCP that takes notes ------------------------------------------------------------- */

static struct {
	uint32_t inputs, icmps, works, ticks, readies, closes;
	uint32_t inputs_at_work;	/* segments taken in when tcp_work() was first called */
	enum verdict verdict;
	struct sk *sk;			/* gets work with each segment */
	bool requeue;			/* tcp_tx_ready() fails again */
	struct icmp_quote quote;
	pkt_h kept[128];
} note;

enum verdict tcp_input(struct turn *tt, pkt_h h, const struct ip_info *in)
{
	assert_int_equal(in->proto, IPPROTO_TCP);
	if (note.sk)
		sk_work(tt, note.sk);
	if (note.verdict == V_TAKEN)
		note.kept[note.inputs] = h;
	note.inputs++;
	return note.verdict;
}

void tcp_icmp(struct turn *tt, const struct icmp_quote *q)
{
	(void)tt;
	note.icmps++;
	note.quote = *q;
}

void tcp_work(struct turn *tt, struct sk *sk)
{
	(void)tt;
	assert_ptr_equal(sk, note.sk);
	if (!note.works++)
		note.inputs_at_work = note.inputs;
}

void tcp_tx_ready(struct turn *tt, struct sk *sk)
{
	note.readies++;
	if (note.requeue)
		sk_txwait(tt, sk);
}

void tcp_tick(struct turn *tt, struct sk *sk)
{
	(void)tt;
	(void)sk;
	note.ticks++;
}

/* No apertures here: the real ones would bring the real TCP with them. */
bool ap_pending(const struct stack_map *map) { return map->seg->ap_self != 0; }
uint32_t ap_poll(struct turn *tt) { (void)tt; return 0; }
void ap_close(struct turn *tt, struct sk *sk) { sk_put(tt, sk); }
void ap_listen_stop(struct turn *tt, struct sk *sk) { (void)tt; (void)sk; }
void ap_tick(struct turn *tt, struct sk *sk) { (void)tt; (void)sk; }
void ap_check(struct turn *tt, struct sk *sk) { (void)tt; (void)sk; }

void tcp_close(struct turn *tt, struct sk *sk)
{
	note.closes++;
	sk_put(tt, sk);
}

static int setup(void **state)
{
	(void)state;
	memset(&note, 0, sizeof(note));
	nr_make(&n);
	t = &n.r.t;
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	nr_free(&n);
	return 0;
}

static void arrive_tcp(void)
{
	uint8_t p[100] = { 0 };
	uint32_t at = nr_headers(p, "10.0.0.2", "10.0.0.1", IPPROTO_TCP, 20);

	assert_true(nr_arrive(&n, p, at + 20, 3840));
}

/* ---- reception ------------------------------------------------------------------------------ */

static void test_dispatch(void **state)
{
	struct ipaddr me = addr_of("10.0.0.1");
	struct sk *udp;
	uint8_t p[200];
	uint32_t free_before;

	(void)state;
	assert_int_equal(udp_open(t, &me, 53, &udp), 0);
	free_before = pkt_n_free(t) + n.r.map.seg->n_posted[0];
	note.verdict = V_DROP;
	arrive_tcp();
	assert_true(nr_arrive(&n, p, nr_udp(p, "10.0.0.2", 1, "10.0.0.1", 53, "x", 1), 3840));
	assert_true(nr_arrive(&n, p, nr_udp(p, "10.0.0.2", 1, "10.0.0.1", 54, "x", 1), 3840));
	assert_true(nr_arrive(&n, p, 60, 3840));	/* nonsense: too long for what it says */
	assert_int_equal(net_rx(t), 4);
	assert_int_equal(t->budget, TURN_BUDGET - 4);
	assert_int_equal(note.inputs, 1);
	assert_int_equal(udp_of(udp)->rxq.n, 1);
	/* N1: the one datagram is all that is held. */
	assert_int_equal(pkt_n_free(t) + n.r.map.seg->n_posted[0], free_before - 1);
	note.verdict = V_TAKEN;
	arrive_tcp();
	assert_int_equal(net_rx(t), 1);
	assert_int_equal(pkt_n_free(t) + n.r.map.seg->n_posted[0], free_before - 2);
	pkt_put(t, note.kept[1]);
	assert_int_equal(net_rx(t), 0);
	net_close(t, udp);
}

static void test_icmp_dispatch(void **state)
{
	struct icmp_hdr h = { ICMP4_UNREACH, 3, 0, 0 };
	uint8_t p[200], quote[100] = { 0 };
	struct ipaddr me = addr_of("10.0.0.1"), peer = addr_of("10.0.0.2");
	struct sk *udp;

	(void)state;
	assert_int_equal(udp_open(t, &me, 53, &udp), 0);
	assert_int_equal(udp_connect(t, udp, &peer, 9), 0);
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t at = nr_headers(p, "10.0.0.2", "10.0.0.1", IPPROTO_ICMP, 36);

		nr_headers(quote, "10.0.0.1", "10.0.0.2", i ? IPPROTO_UDP : IPPROTO_TCP, 8);
		put_be16(quote + 34, 53);
		put_be16(quote + 36, 9);
		h.csum = 0;
		wire_icmp_emit(p + at, &h);
		memcpy(p + at + 8, quote + 14, 28);
		h.csum = csum_finish(csum_add_scalar(p + at, 36, 0));
		wire_icmp_emit(p + at, &h);
		assert_true(nr_arrive(&n, p, at + 36, 3840));
	}
	assert_int_equal(net_rx(t), 2);
	assert_int_equal(note.icmps, 1);
	assert_true(note.quote.lport == 53 && note.quote.rport == 9 && note.quote.err == ECONNREFUSED);
	assert_int_equal(udp->err, ECONNREFUSED);
	net_close(t, udp);
}

/* N2, N3: the budget holds, and work comes once a burst. */
static void test_budget(void **state)
{
	(void)state;
	note.verdict = V_DROP;
	note.sk = sk_get(t, SK_TCP, IPPROTO_TCP);
	t->budget = 10;
	for (int i = 0; i < 12; i++)
		arrive_tcp();
	assert_int_equal(net_rx(t), 10);
	assert_int_equal(t->budget, 0);
	assert_true(note.works == 1 && note.inputs_at_work == 10);
	assert_int_equal(net_rx(t), 0);
	t->budget = TURN_BUDGET;
	assert_int_equal(net_rx(t), 2);
	assert_int_equal(note.works, 2);
	assert_null(sk_work_pop(t));
	sk_put(t, note.sk);
}

/* ---- waiting and deadlines --------------------------------------------------------------------- */

static void test_tx_once(void **state)
{
	struct sk *sk[5];

	(void)state;
	for (int i = 0; i < 5; i++) {
		sk[i] = sk_get(t, SK_TCP, IPPROTO_TCP);
		sk_txwait(t, sk[i]);
	}
	note.requeue = true;
	net_tx(t);
	assert_int_equal(note.readies, 5);	/* each once, though all came back */
	assert_true(net_deadline(t) <= t->now + NS_PER_MS);
	note.requeue = false;
	net_tx(t);
	net_tx(t);
	assert_int_equal(note.readies, 10);
	assert_int_equal(net_deadline(t), NEVER_NS);
	for (int i = 0; i < 5; i++)
		sk_put(t, sk[i]);
}

static void test_tick(void **state)
{
	struct sk *sk = sk_get(t, SK_TCP, IPPROTO_TCP);

	(void)state;
	tmr_arm(t, sk, t->now + 10 * NS_PER_MS);
	assert_true(net_deadline(t) <= t->now + 12 * NS_PER_MS);
	net_tick(t);
	assert_int_equal(note.ticks, 0);
	t->now += 12 * NS_PER_MS;
	net_tick(t);
	net_tick(t);
	assert_int_equal(note.ticks, 1);
	sk_put(t, sk);
}

/* ---- processes ------------------------------------------------------------------------------------ */

static void test_proc_died(void **state)
{
	struct segment *seg = n.r.map.seg;
	struct sk *mine = sk_get(t, SK_TCP, IPPROTO_TCP), *shared = sk_get(t, SK_LISTEN, IPPROTO_TCP);
	struct sk *other = sk_get(t, SK_TCP, IPPROTO_TCP), *udp;
	struct ipaddr me = addr_of("10.0.0.1");
	ep_h e1 = ep_get(t), e2 = ep_get(t);
	int slot;

	(void)state;
	assert_int_equal(udp_open(t, &me, 53, &udp), 0);
	seg->procs[3] = (struct proc_slot){ PROC_DEAD, 77 };
	sk_ref(t, mine, 3);
	sk_ref(t, udp, 3);
	sk_ref(t, shared, 3);
	sk_ref(t, shared, 4);
	sk_ref(t, other, 4);
	ep_at(t, e1)->procs = 1u << 3;
	ep_at(t, e2)->procs = 1u << 3 | 1u << 4;
	assert_int_equal(ep_add(t, e1, other, 5, EPOLLIN, 0), 0);
	assert_int_equal(ep_add(t, e2, shared, 6, EPOLLIN, 0), 0);
	slot = waiter_claim(&n.r.map, 99, 3);
	assert_true(slot >= 0);
	other->wait_mask = 1u << slot;

	net_proc_died(t, 3);
	assert_int_equal(note.closes, 1);
	assert_true(mine->kind == SK_FREE && udp->kind == SK_FREE);
	assert_true(shared->kind == SK_LISTEN && shared->procs == 1u << 4);
	assert_true(other->kind == SK_TCP && !other->items && !other->wait_mask);
	assert_false(ep_at(t, e1)->live);
	assert_true(ep_at(t, e2)->live && ep_at(t, e2)->procs == 1u << 4 && shared->items);
	assert_int_equal(seg->procs[3].state, PROC_FREE);
	assert_int_equal(seg->waiters[slot].state, WAITER_FREE);

	net_proc_died(t, 4);
	assert_int_equal(note.closes, 3);
	assert_false(ep_at(t, e2)->live);
	assert_int_equal(seg->n_conns, 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_dispatch), T(test_icmp_dispatch), T(test_budget), T(test_tx_once), T(test_tick),
		T(test_proc_died),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
