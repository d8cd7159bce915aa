/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control client against a good agent and against bad ones: each call ends in time, with
 * one reply that is its own, and no descriptor is left over whatever came.
 */
#include "test/unit/panic.h"

#include <sys/wait.h>

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

static void test_none(void **state)
{
	struct ctl_call c;
	struct exec x;
	unsigned before = count_fds();
	int fd = -7;

	(void)state;
	errno = 4711;
	assert_int_equal(ctl_connect(&fd), -ECONNREFUSED);
	assert_int_equal(fd, -7);
	ctl_prepare(&c, CTL_STATUS);
	assert_int_equal(ctl_once(&c), -ECONNREFUSED);
	assert_int_equal(exec_open(&x, EXEC_APP, 0), -ECONNREFUSED);
	assert_int_equal(errno, 4711);
	assert_int_equal(count_fds(), before);
}

static void test_good(void **state)
{
	struct ctl_call c;
	unsigned before = count_fds();
	int fd;

	(void)state;
	errno = 4711;
	assert_int_equal(ctl_connect(&fd), 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(ctl_hello(fd, 0), 0);
	ctl_prepare(&c, CTL_STACK_GET);
	assert_int_equal(ctl_call(fd, &c), 0);
	assert_int_equal(c.n_fds, 4 + N_WAITERS);
	assert_int_equal(c.msg.u.stack.stack_id, 7);
	for (uint32_t i = 0; i < c.n_fds; i++) {
		assert_true(fcntl(c.fds[i], F_GETFD) & FD_CLOEXEC);
		close(c.fds[i]);
	}
	for (int i = 0; i < 100; i++) {
		ctl_prepare(&c, CTL_STATUS);
		assert_int_equal(ctl_call(fd, &c), 0);
	}
	close(fd);
	ctl_prepare(&c, CTL_STATUS);
	assert_int_equal(ctl_once(&c), 0);
	assert_int_equal(errno, 4711);
	assert_int_equal(count_fds(), before);
}

struct bad { enum mood mood; int err; };

static void test_bad(void **state)
{
	static const struct bad bads[] = {
		{ MOOD_SILENT, -ETIMEDOUT }, { MOOD_SHORT, -EPROTO }, { MOOD_WRONG_COOKIE, -ETIMEDOUT },
		{ MOOD_HANGS_UP, -EPIPE }, { MOOD_REFUSES, -EDQUOT }, { MOOD_BAD_ERR, -EPROTO },
		{ MOOD_TOO_MANY_FDS, -EPROTO },
	};

	(void)state;
	for (size_t i = 0; i < n_elems(bads); i++) {
		unsigned before = count_fds();
		uint64_t t0 = host_now();
		struct ctl_call c;
		int fd, err;

		assert_int_equal(ctl_connect(&fd), 0);
		poke32(&agent.mood, bads[i].mood);
		ctl_prepare(&c, CTL_STACK_GET);
		c.timeout_ms = 100;
		err = ctl_call(fd, &c);
		if (err != bads[i].err)
			fail_msg("mood %d: %d, not %d", bads[i].mood, err, bads[i].err);
		assert_in_range(host_now() - t0, 0, NS_PER_S);
		for (uint32_t k = 0; k < c.n_fds; k++)
			close(c.fds[k]);
		close(fd);
		poke32(&agent.mood, MOOD_GOOD);
		assert_int_equal(count_fds(), before);
	}
}

/* A reply that comes after its call has given up is not taken for the next call's. */
static void test_late(void **state)
{
	unsigned before = count_fds();
	struct ctl_call c;
	int fd;

	(void)state;
	assert_int_equal(ctl_connect(&fd), 0);
	poke32(&agent.mood, MOOD_LATE);
	ctl_prepare(&c, CTL_PORTS_GET);
	c.timeout_ms = 50;
	assert_int_equal(ctl_call(fd, &c), -ETIMEDOUT);
	ctl_prepare(&c, CTL_PORTS_GET);
	assert_int_equal(ctl_call(fd, &c), 0);
	assert_int_equal(c.n_fds, 0);
	assert_int_equal(c.msg.u.ports.base, 0x8000 + PORT_BLOCK);
	close(fd);
	poke32(&agent.mood, MOOD_GOOD);
	assert_int_equal(count_fds(), before);
}

static void test_other_build(void **state)
{
	unsigned before = count_fds();
	struct exec x;

	(void)state;
	poke32(&agent.mood, MOOD_OTHER_BUILD);
	assert_int_equal(exec_open(&x, EXEC_APP, 0), -EPROTO);
	poke32(&agent.mood, MOOD_FEW_FDS);
	assert_int_equal(exec_open(&x, EXEC_APP, 0), -EPROTO);
	poke32(&agent.mood, MOOD_REFUSES);
	assert_int_equal(exec_open(&x, EXEC_APP, 0), -EDQUOT);
	poke32(&agent.mood, MOOD_GOOD);
	assert_int_equal(count_fds(), before);
}

static void assert_all_from(const struct plumbing *p, int min)
{
	assert_true(p->seg_fd >= min && p->mirror_fd >= min && p->ctl_fd >= min);
	assert_true(p->front_fd >= min && p->pipe_fd >= min);
	for (uint32_t i = 0; i < N_WAITERS; i++) {
		assert_true(p->bell_fd[i] >= min);
		assert_true(fcntl(p->bell_fd[i], F_GETFD) & FD_CLOEXEC);
	}
}

static void test_open(void **state)
{
	unsigned before = count_fds();
	struct exec x, again;
	struct plumbing p;
	struct turn t;
	uint32_t proc;

	(void)state;
	errno = 4711;
	assert_int_equal(exec_open(&x, EXEC_APP, 200), 0);
	assert_int_equal(x.stack_id, 7);
	exec_describe(&x, &p);
	assert_all_from(&p, 200);
	assert_int_equal(exec_join(&x, (uint32_t)getpid(), &proc), 0);
	x.proc = proc;
	assert_int_equal(x.map.seg->procs[proc].pid, getpid());
	assert_int_equal(exec_get_ports(&x), 0);
	exec_begin(&x, &t);
	assert_true(port_is_leased(&t, x.map.seg->ports[0].base));
	assert_int_equal(stack_check(&t), 0);
	exec_end(&x, &t, false);
	/* As after exec(2): the same stack from the descriptors alone. */
	assert_int_equal(exec_map(&again, &p, EXEC_APP), 0);
	assert_int_equal(again.map.seg->procs[proc].state, PROC_LIVE);
	host_unmap(&again.map, 0);
	exec_leave(&x, proc);
	assert_int_equal(x.map.seg->procs[proc].state, PROC_FREE);
	exec_close(&x);
	assert_int_equal(errno, 4711);
	assert_int_equal(count_fds(), before);
}

static void test_procs_full(void **state)
{
	struct exec x;
	uint32_t proc;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	for (uint32_t i = 0; i < N_PROCS; i++) {
		assert_int_equal(exec_join(&x, 1, &proc), 0);
		assert_int_equal(proc, i);
	}
	assert_int_equal(exec_join(&x, 1, &proc), -EUSERS);
	exec_leave(&x, 17);
	assert_int_equal(exec_join(&x, 1, &proc), 0);
	assert_int_equal(proc, 17);
	for (uint32_t i = 0; i < N_PROCS; i++)
		exec_leave(&x, i);
	exec_close(&x);
}

static void test_fork(void **state)
{
	uint32_t proc, joins = agent_heard(&agent, CTL_STACK_JOIN);
	struct exec x;
	int status;
	pid_t child;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 100), 0);
	assert_int_equal(exec_join(&x, 0, &proc), 0);
	child = fork();
	if (child == 0) {
		int old = x.ctl_fd;

		if (exec_after_fork_child(&x) || x.ctl_fd != old)
			_exit(1);
		exec_joined(&x, proc);
		_exit(exec_get_ports(&x) ? 2 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(agent_heard(&agent, CTL_STACK_JOIN), joins + 1);
	assert_int_equal(x.map.seg->procs[proc].pid, child);
	/* Ours was not disturbed. */
	assert_int_equal(exec_get_ports(&x), 0);
	exec_leave(&x, proc);
	exec_close(&x);
}

/* ---- many threads, one connection ------------------------------------------------------------------ */

static void *ask_much(void *arg)
{
	struct exec *x = arg;
	struct ctl_lease l = { .lport = 80, .proto = 6 };
	long bad = 0;

	for (int i = 0; i < 300; i++) {
		struct ctl_call c;

		ctl_prepare(&c, i % 2 ? CTL_STATUS : CTL_STACKS);
		bad += exec_call(x, &c) != 0 || c.msg.op != (i % 2 ? CTL_STATUS : CTL_STACKS);
		bad += exec_lease_del(x, &l) != 0;
	}
	return (void *)bad;
}

static void test_threads(void **state)
{
	pthread_t threads[4];
	struct exec x;
	void *bad;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	for (size_t i = 0; i < n_elems(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, ask_much, &x), 0);
	for (size_t i = 0; i < n_elems(threads); i++) {
		pthread_join(threads[i], &bad);
		assert_null(bad);
	}
	/* Held by a thread that does not come back (a signal handler's case): an error in time. */
	poke32(&x.ctl_lock, 1);
	struct ctl_call c;

	ctl_prepare(&c, CTL_STATUS);
	c.timeout_ms = 50;
	assert_int_equal(exec_call(&x, &c), -ETIMEDOUT);
	poke32(&x.ctl_lock, 0);
	exec_close(&x);
	x.ctl_fd = -1;
	ctl_prepare(&c, CTL_STATUS);
	assert_int_equal(exec_call(&x, &c), -ENOTCONN);
}

static void test_neighbours(void **state)
{
	struct exec x;
	struct turn t;

	(void)state;
	assert_int_equal(exec_open(&x, EXEC_APP, 0), 0);
	x.map.vi[1].ifindex = 42;
	exec_begin(&x, &t);
	x.map.seg->neigh_asks[3].addr = ip_from4(0x0a000001);
	x.map.seg->neigh_asks[3].vi = 1;
	x.map.seg->neigh_asks[3].asked = 0;
	x.map.seg->neigh_asks[4].addr = ip_from4(0x0a000002);
	x.map.seg->neigh_asks[4].asked = 1;
	t.asks = 1;
	exec_end(&x, &t, false);
	assert_true(agent_hears(&agent, CTL_NEIGH_ASK, 1));
	assert_int_equal(ip_to4(&agent.last_neigh.addr), 0x0a000001);
	assert_int_equal(agent.last_neigh.ifindex, 42);
	assert_int_equal(x.map.seg->neigh_asks[3].asked, 1);
	/* Nothing more is owed. */
	assert_int_equal(exec_ask_neighbours(&x), 0);
	exec_begin(&x, &t);
	t.asks = 1;
	exec_end(&x, &t, false);
	assert_int_equal(exec_get_ports(&x), 0);
	assert_int_equal(agent_heard(&agent, CTL_NEIGH_ASK), 1);
	exec_close(&x);
}

int main(void)
{
	const struct CMUnitTest alone[] = { cmocka_unit_test(test_none) };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_good, start, finish),
		cmocka_unit_test_setup_teardown(test_bad, start, finish),
		cmocka_unit_test_setup_teardown(test_late, start, finish),
		cmocka_unit_test_setup_teardown(test_other_build, start, finish),
		cmocka_unit_test_setup_teardown(test_open, start, finish),
		cmocka_unit_test_setup_teardown(test_procs_full, start, finish),
		cmocka_unit_test_setup_teardown(test_fork, start, finish),
		cmocka_unit_test_setup_teardown(test_threads, start, finish),
		cmocka_unit_test_setup_teardown(test_neighbours, start, finish),
	};

	if (!agent_world()) {
		print_message("no network namespace to be had: not tested\n");
		return 0;
	}
	return cmocka_run_group_tests(alone, NULL, NULL) + cmocka_run_group_tests(tests, NULL, NULL);
}
