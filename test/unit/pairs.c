/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pairs as a process has them (M1 to M4 in exec/pairs.c): asked for, mapped, over, given back, with
 * other threads peeking meanwhile, for programs and surrogates; and rings paid after the turn.
 */
#include "test/unit/panic.h"

#include <sys/wait.h>

#include "core/ap/ap.h"
#include "core/stack/stack.h"
#include "host/sys.h"
#include "test/unit/agent.h"

static struct agent agent;

static int start(void **state)
{
	(void)state;
	agent_start(&agent);
	return 0;
}

static int finish(void **state)
{
	(void)state;
	agent_stop(&agent);
	return 0;
}

static struct ap_slot *known(struct exec *x, uint32_t slot) { return &x->map.seg->ap[slot]; }

static bool is_rung(int pipe)
{
	struct host_fds f = { .pipe = pipe };

	return host_hear_pipe(&f);
}

/* What the agent does when the other stack ends. */
static void end_peer(uint32_t slot)
{
	agent.pairs[slot].over = 1;
	agent_name_pair(&agent, slot, 0);
}

static void test_get(void **state)
{
	unsigned before = count_fds();
	uint32_t slot = 99, again = 98;
	struct turn t;
	struct exec x;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 200), 0);
	assert_false(exec_pairs_changed(&x));
	assert_int_equal(exec_pair_get(&x, 33, &slot), 0);
	assert_int_equal(slot, 0);
	assert_non_null(x.map.ap[0].pair);
	assert_int_equal(x.map.ap[0].pair_id, known(&x, 0)->pair_id);
	assert_true(known(&x, 0)->peer == 33 && known(&x, 0)->side == 1 && !known(&x, 0)->over);
	assert_int_equal(exec_pairs_new_bells(&x), 1);
	assert_int_equal(exec_pairs_new_bells(&x), 0);
	assert_true(x.map.ap[0].bell_fd >= 200);
	assert_true(fcntl(x.map.ap[0].bell_fd, F_GETFD) & FD_CLOEXEC);
	exec_begin(&x, &t);
	assert_int_equal(ap_pair_find(&t, 33, &again), 0);
	assert_int_equal(again, 0);
	assert_int_equal(ap_pair_find(&t, 34, &again), -ENOENT);
	/* Paid after the turn, and no more than what is owed. */
	t.ap_rings = 1;
	assert_false(is_rung(agent.pairs[0].pipe));
	exec_end(&x, &t, false);
	assert_true(is_rung(agent.pairs[0].pipe));
	exec_begin(&x, &t);
	exec_end(&x, &t, false);
	assert_false(is_rung(agent.pairs[0].pipe));
	/* Asked again (two threads wanted it): nothing changes. */
	assert_int_equal(exec_pair_get(&x, 33, &again), 0);
	assert_int_equal(again, 0);
	assert_int_equal(exec_pairs(&x), 0);
	assert_false(exec_pairs_changed(&x));
	assert_int_equal(agent_heard(&agent, CTL_PAIR_AT), 0);
	exec_close(&x);
	agent_drop_pair(&agent, 0);
	assert_int_equal(count_fds(), before);
}

static void test_made_by_peer(void **state)
{
	uint32_t slot;
	struct exec x, other;
	struct plumbing p;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	slot = agent_make_pair(&agent, 44);
	assert_true(exec_pairs_changed(&x));
	assert_int_equal(exec_pairs(&x), 0);
	assert_false(exec_pairs_changed(&x));
	assert_non_null(x.map.ap[slot].pair);
	/* The same stack in another process, or after exec(2). */
	exec_describe(&x, &p);
	assert_int_equal(p.dir_slot, AGENT_DIR_SLOT);
	assert_int_equal(exec_map(&other, &p, EXEC_APP), 0);
	assert_true(exec_pairs_changed(&other));
	assert_int_equal(exec_pairs(&other), 0);
	assert_non_null(other.map.ap[slot].pair);
	other.map.ap[slot].pair->lane[1].var_wr = 7;
	assert_int_equal(x.map.ap[slot].pair->lane[1].var_wr, 7);
	host_unmap(&other.map, p.ring_slots);
	sys_close(other.map.ap[slot].bell_fd);
	exec_close(&x);
}

/* Over, told to the core once, given back when nothing of it is left; its addresses and the
 * number of its bell live on. */
static void test_over(void **state)
{
	uint32_t slot, id, at = agent_heard(&agent, CTL_PAIR_AT);
	struct ap_pair *first, *second;
	struct exec x;
	int bell;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	assert_int_equal(exec_pair_get(&x, 55, &slot), 0);
	assert_int_equal(exec_pairs(&x), 0);
	first = x.map.ap[slot].pair;
	bell = x.map.ap[slot].bell_fd;
	id = x.map.ap[slot].pair_id;
	first->lane[0].swept = 0;
	known(&x, slot)->n_socks = 1;		/* somebody still reads */
	end_peer(slot);
	assert_true(exec_pairs_changed(&x));
	assert_int_equal(exec_pairs(&x), 0);
	assert_true(known(&x, slot)->over);
	assert_int_equal(x.map.ap[slot].pair_id, id);
	assert_false(exec_pairs_changed(&x));
	assert_int_equal(agent_heard(&agent, CTL_PAIR_DEL), 0);
	known(&x, slot)->n_socks = 0;
	assert_true(exec_pairs_changed(&x));	/* without a word from the agent */
	assert_int_equal(exec_pairs(&x), 0);
	assert_int_equal(agent_heard(&agent, CTL_PAIR_DEL), 1);
	assert_int_equal(agent.pairs[slot].id, 0);
	assert_int_equal(known(&x, slot)->pair_id, 0);
	assert_null(x.map.ap[slot].pair);
	assert_false(exec_pairs_changed(&x));
	assert_int_equal(first->lane[0].wr, 0);	/* M2: no fault */
	/* The next in that slot. */
	assert_int_equal(agent_make_pair(&agent, 56), slot);
	assert_int_equal(exec_pairs(&x), 0);
	second = x.map.ap[slot].pair;
	assert_ptr_equal(second, first);
	assert_int_equal(x.map.ap[slot].bell_fd, bell);
	assert_int_equal(known(&x, slot)->peer, 56);
	host_ring_pairs(&x.map, 1ull << slot);
	assert_true(is_rung(agent.pairs[slot].pipe));
	assert_true(agent_heard(&agent, CTL_PAIR_AT) > at);
	exec_close(&x);
}

/* It was over before this process had it mapped: what came is there to be read. */
static void test_late(void **state)
{
	uint32_t slot;
	struct exec x;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	slot = agent_make_pair(&agent, 66);
	agent.pairs[slot].over = 1;		/* named all the same: P3 in agent/pair.c */
	known(&x, slot)->n_socks = 0;
	assert_int_equal(exec_pairs(&x), 0);
	assert_non_null(x.map.ap[slot].pair);
	assert_int_equal(x.map.ap[slot].front->armed, 0);
	assert_int_equal(x.map.ap[slot].bell_fd, -1);
	host_ring_pairs(&x.map, 1ull << slot);	/* nobody to ring */
	assert_false(known(&x, slot)->over);
	agent_name_pair(&agent, slot, 0);
	assert_int_equal(exec_pairs(&x), 0);
	assert_int_equal(agent.pairs[slot].id, 0);
	assert_null(x.map.ap[slot].pair);
	exec_close(&x);
}

/* Another process gave the pair back; and the slot has the next one already. */
static void test_given_back_elsewhere(void **state)
{
	struct exec x, y;
	struct plumbing p;
	uint32_t slot;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	slot = agent_make_pair(&agent, 70);
	assert_int_equal(exec_pairs(&x), 0);
	exec_describe(&x, &p);
	assert_int_equal(exec_map(&y, &p, EXEC_APP), 0);
	assert_int_equal(exec_pairs(&y), 0);
	end_peer(slot);
	assert_int_equal(exec_pairs(&x), 0);
	assert_int_equal(agent.pairs[slot].id, 0);
	assert_int_equal(exec_pairs(&y), 0);
	assert_null(y.map.ap[slot].pair);
	assert_int_equal(agent_make_pair(&agent, 71), slot);
	assert_int_equal(exec_pairs(&y), 0);
	assert_int_equal(exec_pairs(&x), 0);
	end_peer(slot);
	assert_int_equal(exec_pairs(&x), 0);
	assert_int_equal(agent_make_pair(&agent, 72), slot);
	assert_int_equal(exec_pairs(&y), 0);	/* never saw the end of 71 */
	assert_int_equal(known(&y, slot)->peer, 72);
	assert_int_equal(y.map.ap[slot].pair_id, known(&y, slot)->pair_id);
	host_unmap(&y.map, p.ring_slots);
	sys_close(y.map.ap[slot].bell_fd);
	host_unmap_pair(y.spare[slot].pair);
	host_unmap_front(y.spare[slot].front);
	exec_close(&x);
}

/* The surrogate does not wait for the door (G1): it has the pair, or tries again. */
static void test_surrogate(void **state)
{
	struct exec x, s;
	struct plumbing p;
	struct turn t;
	uint32_t slot;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	exec_describe(&x, &p);
	assert_int_equal(exec_map(&s, &p, EXEC_SURROGATE), 0);
	slot = agent_make_pair(&agent, 80);
	exec_begin(&x, &t);
	assert_int_equal(exec_pairs(&s), -EAGAIN);
	assert_null(s.map.ap[slot].pair);
	exec_end(&x, &t, false);
	usleep(2000);
	assert_int_equal(exec_pairs(&s), 0);
	assert_non_null(s.map.ap[slot].pair);
	host_unmap(&s.map, p.ring_slots);
	sys_close(s.map.ap[slot].bell_fd);
	host_unmap_pair(s.spare[slot].pair);
	host_unmap_front(s.spare[slot].front);
	exec_close(&x);
}

/* Replies that are not what was asked for, files that are no pairs: nothing is mapped or lost. */
static void test_bad(void **state)
{
	unsigned before;
	struct exec x;
	uint32_t slot;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	slot = agent_make_pair(&agent, 90);
	before = count_fds();
	agent.pairs[slot].peer = 91;	/* the file says 90 */
	assert_int_equal(exec_pairs(&x), -EPROTO);
	agent.pairs[slot].peer = 90;
	agent.pairs[slot].id += 100;
	x.pairs_at = 0;
	assert_int_equal(exec_pairs(&x), -EPROTO);
	agent.pairs[slot].id -= 100;
	poke32(&agent.mood, MOOD_REFUSES);
	x.pairs_at = 0;
	assert_int_equal(exec_pairs(&x), -EDQUOT);
	assert_int_equal(exec_pair_get(&x, 90, &slot), -EDQUOT);
	assert_int_equal(exec_pairs(&x), -EAGAIN);	/* not at every turn of a loop */
	poke32(&agent.mood, MOOD_GOOD);
	assert_null(x.map.ap[slot].pair);
	assert_true(exec_pairs_changed(&x));
	assert_int_equal(count_fds(), before);
	x.pairs_at = 0;
	assert_int_equal(exec_pairs(&x), 0);
	assert_non_null(x.map.ap[slot].pair);
	/* Without an agent what is mapped stays, and nobody is asked for ever. */
	sys_close(x.ctl_fd);
	x.ctl_fd = -1;
	(void)agent_make_pair(&agent, 92);
	assert_int_equal(exec_pairs(&x), -ENOTCONN);
	assert_false(exec_pairs_changed(&x));
	assert_non_null(x.map.ap[slot].pair);
	end_peer(slot);
	x.pairs_at = 0;
	assert_int_equal(exec_pairs(&x), -ENOTCONN);
	assert_null(x.map.ap[slot].pair);
	exec_close(&x);
}

/* A stack without apertures (an exec of a build before, a test): all of it is quiet. */
static void test_none(void **state)
{
	struct plumbing p;
	struct exec x, y;
	uint32_t slot;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	exec_describe(&x, &p);
	p.front_fd = p.pipe_fd = 0;
	assert_int_equal(exec_map(&y, &p, EXEC_APP), 0);
	(void)agent_make_pair(&agent, 95);
	assert_false(exec_pairs_changed(&y));
	assert_int_equal(exec_pairs(&y), 0);
	assert_int_equal(exec_pair_get(&y, 95, &slot), -ENOTCONN);
	assert_false(host_hear_pipe(&y.fds));
	host_unmap(&y.map, p.ring_slots);
	exec_close(&x);
}

static void test_fork(void **state)
{
	struct exec x;
	uint32_t slot, proc;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 100), 0);
	assert_int_equal(exec_pair_get(&x, 96, &slot), 0);
	assert_int_equal(exec_join(&x, 0, &proc), 0);
	child = fork();
	if (child == 0) {
		uint32_t other;

		if (exec_after_fork_child(&x))
			_exit(1);
		exec_joined(&x, proc);
		x.map.ap[slot].pair->lane[1].var_wr = 11;
		host_ring_pairs(&x.map, 1ull << slot);
		_exit(exec_pair_get(&x, 97, &other) ? 2 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(x.map.ap[slot].pair->lane[1].var_wr, 11);
	assert_true(is_rung(agent.pairs[slot].pipe));
	/* What the child asked for is the stack's. */
	assert_true(exec_pairs_changed(&x));
	assert_int_equal(exec_pairs(&x), 0);
	assert_int_equal(known(&x, slot + 1)->peer, 97);
	assert_non_null(x.map.ap[slot + 1].pair);
	exec_leave(&x, proc);
	exec_close(&x);
}

/* ---- threads --------------------------------------------------------------------------------------- */

static uint32_t over_now;	/* atomic */

/* Peeks without a turn, as spinning threads do, and takes turns, while pairs come and go. */
static void *peek_much(void *arg)
{
	struct exec *x = arg;
	unsigned long n = 0;

	while (!acquire32(&over_now)) {
		struct turn t;

		n += ap_pending(&x->map);
		(void)exec_pairs(x);
		exec_begin(x, &t);
		(void)exec_round(x, &t);
		exec_end(x, &t, false);
	}
	return (void *)(n & 0);
}

static void test_threads(void **state)
{
	pthread_t threads[3];
	struct exec x;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	over_now = 0;
	for (size_t i = 0; i < n_elems(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, peek_much, &x), 0);
	for (uint32_t i = 0; i < 300; i++) {
		uint32_t slot = agent_make_pair(&agent, 1000 + i), id = agent.pairs[slot].id;

		for (int k = 0; k < 5000 && peek32(&x.map.ap[slot].pair_id) != id; k++)
			usleep(100);
		assert_int_equal(peek32(&x.map.ap[slot].pair_id), id);
		release32(&x.map.ap[slot].pair->lane[0].swept, i + 1);
		end_peer(slot);
		for (int k = 0; k < 5000 && acquire32(&agent.n_ops[CTL_PAIR_DEL]) <= i; k++)
			usleep(100);
		assert_int_equal(agent_heard(&agent, CTL_PAIR_DEL), i + 1);
	}
	release32(&over_now, 1);
	for (size_t i = 0; i < n_elems(threads); i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(peek32(&x.map.seg->condemned), 0);
	exec_close(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_get, start, finish),
		cmocka_unit_test_setup_teardown(test_made_by_peer, start, finish),
		cmocka_unit_test_setup_teardown(test_over, start, finish),
		cmocka_unit_test_setup_teardown(test_late, start, finish),
		cmocka_unit_test_setup_teardown(test_given_back_elsewhere, start, finish),
		cmocka_unit_test_setup_teardown(test_surrogate, start, finish),
		cmocka_unit_test_setup_teardown(test_bad, start, finish),
		cmocka_unit_test_setup_teardown(test_none, start, finish),
		cmocka_unit_test_setup_teardown(test_fork, start, finish),
		cmocka_unit_test_setup_teardown(test_threads, start, finish),
	};

	if (!agent_world()) {
		print_message("no network namespace to be had: not tested\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
