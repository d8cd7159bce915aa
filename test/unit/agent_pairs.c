/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's bookkeeping of apertures by itself: who serves which port (Y1 to Y3), which pairs
 * there are (P1 to P5), which of the requests for them are heard (Q1 to Q5). No client, no socket but
 * those that pipes are made of.
 */
#include "test/unit/panic.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "src/agent/directory.c"
#include "src/agent/pair.c"
#include "src/agent/request.c"

static struct agent agent;
static struct mirror *mirror;

struct stack *stack_find(struct agent *a, uint32_t id)
{
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].state == STACK_LIVE && a->stacks[i].id == id)
			return &a->stacks[i];
	return NULL;
}

static struct stack *begin(uint32_t slot, uid_t uid)
{
	struct stack *s = &agent.stacks[slot];

	*s = (struct stack){ .state = STACK_LIVE, .slot = slot, .id = ++agent.next_stack_id, .uid = uid,
			     .front = -1, .pipe = -1 };
	assert_int_equal(pair_prepare(s), 0);
	dir_stack_begin(&agent, s);
	return s;
}

static void finish(struct stack *s)
{
	pair_flush(&agent, s);
	dir_stack_end(&agent, s);
	pair_discard(s);
	s->state = STACK_NONE;
}

static int set_up(void **state)
{
	(void)state;
	memset(&agent, 0, sizeof(agent));
	mirror = calloc(1, sizeof(*mirror));
	agent.mirror = mirror;
	assert_int_equal(pair_open(&agent), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	pair_close(&agent);
	free(mirror);
	return 0;
}

/* ---- the directory ------------------------------------------------------------------------------ */

static struct dir_port port(const struct stack *s, struct ipaddr a, uint16_t lport, uint8_t proto)
{
	return (struct dir_port){ .laddr = a, .lport = lport, .proto = proto, .stack_id = s->id };
}

/* Entries in the bucket of a port, and with this very address. */
static uint32_t listed(uint16_t lport, uint8_t proto, const struct ipaddr *a)
{
	uint32_t at, n = 0, chain = 0;

	for (at = mirror->buckets[dir_bucket(proto, lport)]; at; at = mirror->ports[at - 1].next) {
		const struct dir_port *p = &mirror->ports[at - 1];

		assert_true(++chain <= N_DIR_PORTS);
		n += p->lport == lport && p->proto == proto && ip_eq(&p->laddr, a);
	}
	return n;
}

static void test_ports(void **state)
{
	struct ipaddr lo = ip_from4(0x7f000001), any = ip_from4(0);
	struct stack *s = begin(1, 1000), *t = begin(2, 1000);
	struct dir_port p = port(s, lo, 80, 6), q = port(t, any, 80, 6), r = port(s, lo, 80, 17);
	/* The same bucket as 80, another port. */
	struct dir_port far = port(s, lo, (uint16_t)(80 + N_DIR_BUCKETS / 2), 6);
	uint32_t seq = mirror->ports_seq, generation = mirror->generation;

	(void)state;
	assert_int_equal(dir_port_add(&agent, s, &p), 0);
	assert_int_equal(dir_port_add(&agent, t, &q), 0);
	assert_int_equal(dir_port_add(&agent, s, &r), 0);
	assert_int_equal(dir_port_add(&agent, s, &far), 0);
	assert_int_equal(dir_bucket(6, 80), dir_bucket(6, far.lport));
	assert_int_equal(s->n_listed, 3);
	assert_int_equal(listed(80, 6, &lo), 1);
	assert_int_equal(listed(80, 6, &any), 1);
	assert_int_equal(listed(80, 17, &lo), 1);
	assert_int_equal(mirror->ports_seq, seq + 4);
	assert_int_equal(mirror->generation, generation);	/* paths are not asked anew for it */
	assert_int_equal(mirror->seq & 1, 0);
	/* Another stack's, or another family's entry is not taken for ours. */
	dir_port_del(&agent, t, &(struct dir_port){ .laddr = lo, .lport = 80, .proto = 6, .stack_id = t->id });
	dir_port_del(&agent, s, &(struct dir_port){ .laddr = lo, .lport = 80, .proto = 6, .dual = 1,
						    .stack_id = s->id });
	assert_int_equal(listed(80, 6, &lo), 1);
	assert_int_equal(mirror->ports_seq, seq + 4);
	dir_port_del(&agent, s, &p);
	dir_port_del(&agent, s, &far);
	dir_port_del(&agent, t, &q);
	dir_port_del(&agent, s, &r);
	assert_int_equal(listed(80, 6, &lo) + listed(80, 6, &any) + listed(80, 17, &lo), 0);
	assert_int_equal(s->n_listed + t->n_listed, 0);
	for (uint32_t i = 0; i < N_DIR_PORTS; i++)
		assert_int_equal(mirror->ports[i].proto, 0);
	finish(s);
	finish(t);
}

/* One ordinary user takes half at most, however many stacks he has; root takes all there is. */
static void test_ports_full(void **state)
{
	struct ipaddr lo = ip_from4(0x7f000001);
	struct stack *s = begin(1, 1000), *t = begin(2, 1000), *root = begin(3, 0);
	uint32_t i;

	(void)state;
	for (i = 0; i < N_DIR_PORTS; i++) {
		struct stack *of = i % 2 ? s : t;
		struct dir_port p = port(of, lo, (uint16_t)(i + 1), 6);

		assert_int_equal(dir_port_add(&agent, of, &p), i < N_DIR_PORTS / 2 ? 0 : -EDQUOT);
	}
	for (i = 0; i < N_DIR_PORTS; i++) {
		struct dir_port p = port(root, lo, (uint16_t)(i + 1), 17);

		assert_int_equal(dir_port_add(&agent, root, &p), i < N_DIR_PORTS / 2 ? 0 : -EDQUOT);
	}
	assert_int_equal(listed(1, 6, &lo), 1);
	agent.own = true;	/* one's own agent has one user */
	dir_port_del(&agent, t, &(struct dir_port){ .laddr = lo, .lport = 1, .proto = 6, .stack_id = t->id });
	assert_int_equal(dir_port_add(&agent, s, &(struct dir_port){ .laddr = lo, .lport = 9999, .proto = 6,
								     .stack_id = s->id }), 0);
	agent.own = false;
	finish(s);
	finish(t);
	finish(root);
}

/* ---- pairs ---------------------------------------------------------------------------------------- */

struct got { int err; uint32_t n; struct ctl_pair d; };

/* As a client would ask; descriptors that would be his are closed. */
static struct got ask(uint32_t op, struct stack *s, uint32_t arg, uint32_t id)
{
	struct client c = { .stack = s };
	struct ctl_msg m = { .op = op };
	struct request rq = { .c = &c, .msg = &m };
	struct got g;

	m.u.pair.peer = m.u.pair.slot = arg;
	m.u.pair.pair_id = id;
	g.err = op == CTL_PAIR_GET ? pair_get(&agent, &rq) : op == CTL_PAIR_AT ? pair_at(&agent, &rq) :
		pair_del(&agent, s, &m.u.pair);
	g.n = rq.n_out;
	g.d = rq.reply.u.pair;
	for (uint32_t i = 0; i < rq.n_out; i++) {
		assert_true(fcntl(rq.out[i], F_GETFD) & FD_CLOEXEC);
		if (i == 0 && !g.err)
			assert_false(rq.out_owned & 1);		/* the pair itself stays */
		if (rq.out_owned & (1ull << i))
			close(rq.out[i]);
	}
	return g;
}

static uint32_t named(const struct stack *s, uint32_t slot) { return mirror->stacks[s->slot].pair_id[slot]; }
static uint32_t changes(const struct stack *s) { return mirror->stacks[s->slot].changes; }

static bool rung(const struct stack *s)
{
	struct host_fds f = { .pipe = s->pipe };

	return host_hear_pipe(&f);
}

static void test_pair(void **state)
{
	struct stack *a = begin(1, 1000), *b = begin(2, 2000);
	struct got g, h;
	uint32_t before, a_id = a->id;

	(void)state;
	assert_int_equal(ask(CTL_PAIR_GET, a, 4711, 0).err, -ENOENT);
	assert_int_equal(ask(CTL_PAIR_AT, a, 0, 0).err, -ENOENT);
	before = changes(b);
	g = ask(CTL_PAIR_GET, a, b->id, 0);
	assert_int_equal(g.err, 0);
	assert_int_equal(g.n, 3);
	assert_true(g.d.side == 0 && g.d.peer == b->id && !g.d.is_self && !g.d.over && g.d.pair_id);
	assert_int_equal(named(a, g.d.slot), g.d.pair_id);
	/* The other side is told, by number and by bell, and gets the same pair from its end. */
	assert_int_equal(changes(b), before + 1);
	assert_true(rung(b));
	assert_false(rung(a));
	h = ask(CTL_PAIR_AT, b, 0, 0);
	assert_true(!h.err && h.n == 3 && h.d.side == 1 && h.d.peer == a->id && h.d.pair_id == g.d.pair_id);
	/* P1: whoever asks again, and from whichever end, has it already. */
	assert_int_equal(ask(CTL_PAIR_GET, a, b->id, 0).d.pair_id, g.d.pair_id);
	assert_int_equal(ask(CTL_PAIR_GET, b, a->id, 0).d.pair_id, g.d.pair_id);
	assert_int_equal(changes(b), before + 1);
	/* P2: it is not over. */
	assert_int_equal(ask(CTL_PAIR_DEL, b, 0, g.d.pair_id).err, -EBUSY);
	finish(a);
	assert_true(rung(b));
	assert_int_equal(named(b, 0), 0);
	assert_int_equal(changes(b), before + 2);
	h = ask(CTL_PAIR_AT, b, 0, 0);		/* a process that comes late may still read */
	assert_true(!h.err && h.n == 1 && h.d.over && h.d.peer == a_id);
	assert_int_equal(ask(CTL_PAIR_DEL, b, 0, g.d.pair_id + 1).err, -ENOENT);
	assert_int_equal(ask(CTL_PAIR_DEL, b, 0, g.d.pair_id).err, 0);
	assert_int_equal(ask(CTL_PAIR_DEL, b, 0, g.d.pair_id).err, -ENOENT);
	assert_int_equal(ask(CTL_PAIR_AT, b, 0, 0).err, -ENOENT);
	finish(b);
}

/* With itself: one slot, one side. */
static void test_self(void **state)
{
	struct stack *a = begin(1, 1000);
	struct got g = ask(CTL_PAIR_GET, a, a->id, 0);

	(void)state;
	assert_true(!g.err && g.n == 3 && g.d.is_self && g.d.side == 0 && g.d.peer == a->id);
	assert_int_equal(ask(CTL_PAIR_GET, a, a->id, 0).d.pair_id, g.d.pair_id);
	assert_int_equal(ask(CTL_PAIR_AT, a, g.d.slot, 0).d.pair_id, g.d.pair_id);
	assert_int_equal(named(a, 1), 0);
	finish(a);
	assert_int_equal(named(a, 0), 0);
}

/* P3: who connects, sends and exits at once is heard. */
static void test_unheard(void **state)
{
	struct stack *a = begin(1, 1000), *b = begin(2, 1000);
	struct got g = ask(CTL_PAIR_GET, a, b->id, 0), h;
	uint32_t before;

	(void)state;
	(void)rung(b);
	finish(a);
	assert_true(rung(b));
	assert_int_equal(named(b, 0), g.d.pair_id);
	before = changes(b);
	h = ask(CTL_PAIR_AT, b, 0, 0);
	assert_true(!h.err && h.n == 1 && h.d.over && h.d.pair_id == g.d.pair_id);
	assert_int_equal(named(b, 0), 0);
	assert_int_equal(changes(b), before + 1);
	assert_int_equal(ask(CTL_PAIR_AT, b, 0, 0).d.over, 1);
	assert_int_equal(changes(b), before + 1);
	finish(b);
}

/* Programs gone: it finishes what it has, and meets nobody new. */
static void test_orphan(void **state)
{
	struct stack *a = begin(1, 1000), *b = begin(2, 1000), *c = begin(3, 1000);
	struct got g = ask(CTL_PAIR_GET, a, b->id, 0);

	(void)state;
	b->orphaned_at = 1;
	assert_int_equal(ask(CTL_PAIR_GET, c, b->id, 0).err, -ENOENT);
	assert_int_equal(ask(CTL_PAIR_AT, a, g.d.slot, 0).err, 0);
	finish(a);
	finish(b);
	finish(c);
}

/* P2: a slot that is free again is taken last. */
static void test_round_robin(void **state)
{
	struct stack *a = begin(1, 0);

	(void)state;
	for (uint32_t i = 0; i < 2 * N_PAIRS; i++) {
		struct stack *b = begin(2, 0);
		struct got g = ask(CTL_PAIR_GET, b, a->id, 0), h;

		assert_int_equal(g.err, 0);
		assert_int_equal(named(a, i % N_PAIRS), g.d.pair_id);
		h = ask(CTL_PAIR_AT, a, i % N_PAIRS, 0);
		assert_int_equal(h.d.pair_id, g.d.pair_id);
		finish(b);
		assert_int_equal(ask(CTL_PAIR_DEL, a, i % N_PAIRS, g.d.pair_id).err, 0);
	}
	finish(a);
}

/* All slots of a stack taken, by living peers and by such as it has not given back. */
static void test_full(void **state)
{
	struct stack *a = begin(1, 0), *b, *c;
	uint32_t i;

	(void)state;
	for (i = 0; i < N_PAIRS; i++) {
		b = begin(2, 0);
		assert_int_equal(ask(CTL_PAIR_GET, b, a->id, 0).err, 0);
		assert_int_equal(ask(CTL_PAIR_AT, a, i, 0).err, 0);
		if (i < N_PAIRS - 1)
			finish(b);
	}
	c = begin(3, 0);
	assert_int_equal(ask(CTL_PAIR_GET, c, a->id, 0).err, -EDQUOT);
	assert_int_equal(ask(CTL_PAIR_GET, a, c->id, 0).err, -EDQUOT);
	assert_int_equal(ask(CTL_PAIR_GET, b, a->id, 0).err, 0);	/* it has one */
	assert_int_equal(ask(CTL_PAIR_DEL, a, 3, ask(CTL_PAIR_AT, a, 3, 0).d.pair_id).err, 0);
	assert_int_equal(ask(CTL_PAIR_GET, c, a->id, 0).err, 0);
	finish(a);
	finish(b);
	finish(c);
}

/* P5: one user cannot fill another's slots, not even with stacks that end at once. */
static void test_quota(void **state)
{
	struct stack *a = begin(1, 1000), *b, *own = begin(3, 1000);
	uint32_t i;

	(void)state;
	for (i = 0; i < N_PAIRS / 4; i++) {
		b = begin(2, 2000);
		assert_int_equal(ask(CTL_PAIR_GET, b, a->id, 0).err, 0);
		finish(b);
	}
	b = begin(2, 2000);
	assert_int_equal(ask(CTL_PAIR_GET, b, a->id, 0).err, -EDQUOT);
	assert_int_equal(ask(CTL_PAIR_GET, a, b->id, 0).err, 0);	/* whom he asks himself */
	assert_int_equal(ask(CTL_PAIR_GET, own, a->id, 0).err, 0);
	finish(a);
	finish(b);
	finish(own);
}

/* ---- what comes is what was promised (S2-MAP-03) ---------------------------------------------------- */

static void test_descriptors(void **state)
{
	struct stack *a = begin(1, 1000), *b = begin(2, 1000);
	struct client c = { .stack = a };
	struct ctl_msg m = { .op = CTL_PAIR_GET };
	struct request rq = { .c = &c, .msg = &m };
	const uint32_t ids[2] = { a->id, b->id };
	struct ap_pair *pair, *again;
	struct ap_front *front;
	uint32_t wrong[2] = { a->id, a->id };

	(void)state;
	b->uid = a->uid + 1;		/* another's: of the same user it would be the PEER_BELL */
	m.u.pair.peer = b->id;
	assert_int_equal(pair_get(&agent, &rq), 0);
	assert_int_equal(fcntl(rq.out[0], F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
			 F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	assert_int_equal(ftruncate(rq.out[0], 4096), -1);
	assert_int_equal(host_map_pair(rq.out[0], rq.reply.u.pair.pair_id, ids, NULL, &pair), 0);
	assert_int_equal(host_map_pair(rq.out[0], rq.reply.u.pair.pair_id, wrong, NULL, &again), -EPROTO);
	assert_int_equal(host_map_pair(rq.out[0], 4711, ids, NULL, &again), -EPROTO);
	assert_int_equal(host_map_pair(a->front, rq.reply.u.pair.pair_id, ids, NULL, &again), -EPROTO);
	/* At the same place again, and blank: whoever peeks there still can. */
	pair->lane[0].wr = 5;
	assert_int_equal(host_map_pair(rq.out[0], rq.reply.u.pair.pair_id, ids, pair, &again), 0);
	assert_ptr_equal(again, pair);
	assert_int_equal(pair->lane[0].wr, 5);
	host_blank_pair(pair);
	assert_int_equal(pair->lane[0].wr, 0);
	assert_int_equal(host_map_pair(rq.out[0], rq.reply.u.pair.pair_id, ids, pair, &again), 0);
	assert_int_equal(again->lane[0].wr, 5);
	assert_int_equal(host_map_pair(rq.out[0], 4711, ids, pair, &again), -EPROTO);
	assert_int_equal(pair->lane[0].wr, 0);
	host_unmap_pair(pair);
	/* The front can be read, and not made writable. */
	assert_int_equal(fcntl(rq.out[1], F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(host_map_front(rq.out[1], true, b->id, NULL, &front), -EACCES);
	assert_int_equal(host_map_front(rq.out[1], false, a->id, NULL, &front), -EPROTO);
	assert_int_equal(host_map_front(rq.out[1], false, b->id, NULL, &front), 0);
	assert_int_equal(front->armed, 0);
	host_unmap_front(front);
	/* The pipe's end rings and never waits, signals, or hears. */
	for (int i = 0; i < 100; i++)
		assert_true(write(rq.out[2], "", 1) == 1 || errno == EAGAIN);
	assert_int_equal(recv(rq.out[2], wrong, 4, MSG_DONTWAIT), -1);
	assert_true(rung(b));
	assert_false(rung(b));
	finish(b);
	assert_int_equal(write(rq.out[2], "", 1), -1);
	assert_int_equal(errno, ECONNREFUSED);
	close(rq.out[1]);
	close(rq.out[2]);
	finish(a);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static void test_requests(void **state)
{
	static const struct { uint32_t op, arg, id; int err; } rules_of[] = {
		{ CTL_PAIR_GET, 1, 0, 0 }, { CTL_PAIR_GET, 0, 0, -EINVAL },
		{ CTL_PAIR_AT, 0, 0, 0 }, { CTL_PAIR_AT, N_PAIRS - 1, 0, 0 },
		{ CTL_PAIR_AT, N_PAIRS, 0, -EINVAL }, { CTL_PAIR_AT, UINT32_MAX, 0, -EINVAL },
		{ CTL_PAIR_DEL, 0, 1, 0 }, { CTL_PAIR_DEL, 0, 0, -EINVAL },
		{ CTL_PAIR_DEL, N_PAIRS, 1, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < n_elems(rules_of); i++) {
		struct ctl_msg m = { .version = CTL_VERSION, .op = rules_of[i].op };
		struct caller who = { 1000, true, true, false }, surrogate = { 1000, true, true, true };
		struct caller none = { 1000, true, false, false }, early = { 1000, false, true, false };

		m.u.pair.peer = m.u.pair.slot = rules_of[i].arg;
		m.u.pair.pair_id = rules_of[i].id;
		assert_int_equal(request_check(&m, sizeof(m), 0, &who, 1), rules_of[i].err);
		assert_int_equal(request_check(&m, sizeof(m), 0, &surrogate, 1), rules_of[i].err);
		assert_int_equal(request_check(&m, sizeof(m), 0, &none, 1), -ENOTCONN);
		assert_int_equal(request_check(&m, sizeof(m), 0, &early, 1), -EPROTO);
		assert_int_equal(request_check(&m, sizeof(m), 1, &who, 1), -EBADF);
		assert_int_equal(request_check(&m, sizeof(m) - 1, 0, &who, 1), -EPROTO);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ports, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ports_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_pair, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_self, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_unheard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_orphan, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_round_robin, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_quota, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_descriptors, set_up, tear_down),
		cmocka_unit_test(test_requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
