/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The application's executor on a real segment: turns between threads and processes, errands,
 * kicks that are deferred and paid, holders that die.
 */
#include "test/unit/panic.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/atomic.h"
#include "core/stack/stack.h"
#include "exec/exec.h"
#include "host/sys.h"

/* A stack with one interface whose rings are ours, and whose kicks we can count. */
struct rig {
	struct exec x;
	int kicked;		/* the far end of the "AF_XDP socket" */
	uint32_t *idx;		/* producer, consumer of tx, rx, fill, comp */
	int mirror_fd;
};

enum { TX_P, TX_C, RX_P, RX_C, FILL_P, FILL_C, COMP_P, COMP_C, N_IDX };

static void ring_make(struct vif_ring *r, uint32_t *p, uint32_t *c, size_t slot_bytes)
{
	static uint32_t flags;

	*r = (struct vif_ring){ p, c, &flags, calloc(N_RING, slot_bytes), N_RING - 1 };
}

static void rig_make(struct rig *r)
{
	struct plumbing p = { .ctl_fd = -1 };
	struct mirror *m;
	struct vif_map *v;
	int pair[2];

	memset(r, 0, sizeof(*r));
	p.seg_fd = host_new_segment(3, 0);
	p.mirror_fd = memfd_create("t", 0);
	assert_int_equal(ftruncate(p.mirror_fd, sizeof(*m)), 0);
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, p.mirror_fd, 0);
	m->magic = MIRROR_MAGIC;
	munmap(m, sizeof(*m));
	p.n_bells = 2;
	p.bell_fd[0] = eventfd(0, EFD_NONBLOCK);
	p.bell_fd[1] = eventfd(0, EFD_NONBLOCK);
	assert_int_equal(exec_map(&r->x, &p, EXEC_APP), 0);
	assert_int_equal(r->x.fds.bell[2], -1);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	r->kicked = pair[1];
	r->idx = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	v = &r->x.map.vi[0];
	v->flags = VIF_F_PRESENT;
	ring_make(&v->tx, &r->idx[TX_P], &r->idx[TX_C], sizeof(struct vif_desc));
	ring_make(&v->rx, &r->idx[RX_P], &r->idx[RX_C], sizeof(struct vif_desc));
	ring_make(&v->fill, &r->idx[FILL_P], &r->idx[FILL_C], sizeof(uint64_t));
	ring_make(&v->comp, &r->idx[COMP_P], &r->idx[COMP_C], sizeof(uint64_t));
	r->x.map.n_vis = 1;
	r->x.fds.n_vis = 1;
	r->x.fds.xsk[0] = pair[0];
	r->x.ring_slots = N_RING;
}

static void rig_free(struct rig *r)
{
	struct vif_map *v = &r->x.map.vi[0];

	free(v->tx.slots);
	free(v->rx.slots);
	free(v->fill.slots);
	free(v->comp.slots);
	memset(v, 0, sizeof(*v));
	munmap(r->idx, 4096);
	close(r->kicked);
	exec_close(&r->x);
}

static unsigned kicks(struct rig *r)
{
	char c;
	unsigned n = 0;

	while (recv(r->kicked, &c, 1, MSG_DONTWAIT) == 0)
		n++;
	return n;
}

/* What vif_post() does to the debt. */
static void post(struct turn *t)
{
	t->bells |= 1;
	poke32(&t->map->seg->kicks_owed, 1);
	poke64(&t->map->seg->kicks_since, t->now);
}

/* ---- kicks ------------------------------------------------------------------------------------ */

static void test_kick(void **state)
{
	struct rig r;
	struct turn t;

	(void)state;
	rig_make(&r);
	exec_begin(&r.x, &t);
	exec_end(&r.x, &t, false);
	assert_int_equal(kicks(&r), 0);
	errno = 4711;
	exec_begin(&r.x, &t);
	post(&t);
	exec_end(&r.x, &t, false);
	assert_int_equal(errno, 4711);
	assert_int_equal(kicks(&r), 1);
	assert_int_equal(r.x.map.seg->kicks_owed, 0);
	exec_flush(&r.x);
	/* A batch of events: many posts, one kick. */
	for (int i = 0; i < 10; i++) {
		exec_begin(&r.x, &t);
		post(&t);
		exec_end(&r.x, &t, true);
	}
	assert_int_equal(kicks(&r), 0);
	assert_int_equal(r.x.map.seg->kicks_owed, 1);
	exec_flush(&r.x);
	exec_flush(&r.x);
	assert_int_equal(kicks(&r), 1);
	/* Or paid by whoever comes next. */
	exec_begin(&r.x, &t);
	post(&t);
	exec_end(&r.x, &t, true);
	exec_begin(&r.x, &t);
	exec_end(&r.x, &t, false);
	assert_int_equal(kicks(&r), 1);
	/* A segment that owes kicks to interfaces there are not. */
	r.x.map.seg->kicks_owed = ~1u;
	exec_flush(&r.x);
	assert_int_equal(kicks(&r), 0);
	assert_int_equal(r.x.map.seg->kicks_owed, 0);
	rig_free(&r);
}

/* The device takes no more now: remembered by the process, and paid by its next turn. */
static void test_kick_refused(void **state)
{
	struct rig r;
	struct turn t;

	(void)state;
	rig_make(&r);
	while (send(r.x.fds.xsk[0], "", 0, MSG_DONTWAIT) == 0)
		;
	exec_begin(&r.x, &t);
	post(&t);
	exec_end(&r.x, &t, false);
	assert_int_equal(r.x.unkicked, 1);
	assert_true(kicks(&r) > 1);
	exec_begin(&r.x, &t);
	exec_end(&r.x, &t, false);
	assert_int_equal(kicks(&r), 1);
	assert_int_equal(r.x.unkicked, 0);
	rig_free(&r);
}

/* ---- rounds and errands -------------------------------------------------------------------------- */

static void test_round(void **state)
{
	struct rig r;
	struct turn t;

	(void)state;
	rig_make(&r);
	exec_begin(&r.x, &t);
	/* The first round stocks the fill ring. */
	assert_int_equal(exec_round(&r.x, &t), 0);
	assert_in_range(r.idx[FILL_P], RX_POSTED / 2, RX_POSTED);
	assert_int_equal(stack_check(&t), 0);
	exec_end(&r.x, &t, false);
	/* A frame of rubbish is received and dropped. */
	((struct vif_desc *)r.x.map.vi[0].rx.slots)[0] =
		(struct vif_desc){ ((uint64_t *)r.x.map.vi[0].fill.slots)[0], 60, 0 };
	r.idx[RX_P] = 1;
	exec_begin(&r.x, &t);
	assert_int_equal(exec_round(&r.x, &t), 1);
	exec_end(&r.x, &t, false);
	assert_int_equal(r.idx[RX_C], 1);
	rig_free(&r);
}

/* Each errand that is left while the door is shut is run before it opens (T1). */
static void test_errands(void **state)
{
	struct rig r;
	struct turn t, other;
	uint32_t proc;

	(void)state;
	rig_make(&r);
	assert_int_equal(exec_join(&r.x, 4711, &proc), 0);
	((struct vif_desc *)r.x.map.vi[0].rx.slots)[0] =
		(struct vif_desc){ ((uint64_t *)r.x.map.vi[0].fill.slots)[0], 60, 0 };
	exec_begin(&r.x, &t);
	r.idx[RX_P] = 1;
	assert_false(turn_try(&other, &r.x.map, EXEC_SURROGATE, 2, 0, 0, DOOR_ERRAND_RX));
	exec_end(&r.x, &t, false);
	assert_int_equal(r.idx[RX_C], 1);

	exec_begin(&r.x, &t);
	r.x.map.seg->procs[proc].state = PROC_DEAD;
	assert_false(turn_try(&other, &r.x.map, EXEC_SURROGATE, 2, 0, 0, DOOR_ERRAND_REAP | DOOR_ERRAND_TICK));
	exec_end(&r.x, &t, false);
	assert_int_equal(r.x.map.seg->procs[proc].state, PROC_FREE);
	assert_int_equal(r.x.map.seg->door, 0);
	rig_free(&r);
}

/* ---- sleepers --------------------------------------------------------------------------------------- */

static void test_wakes(void **state)
{
	struct rig r;
	struct turn t;
	uint64_t n;
	int slot;

	(void)state;
	rig_make(&r);
	slot = waiter_claim(&r.x.map, host_tid(), 0);
	waiter_sleep(&r.x.map, slot);
	exec_begin(&r.x, &t);
	t.wakes = 1u << slot;
	exec_end(&r.x, &t, false);
	assert_int_equal(read(r.x.fds.bell[slot], &n, 8), 8);
	rig_free(&r);
}

/* ---- many at the door ---------------------------------------------------------------------------------- */

#define N_THREADS 4
#define N_TURNS	  5000

struct crowd {
	struct rig r;
	uint64_t protected;	/* plain: only the turn guards it */
	uint32_t stop;
};

static void *crowd_member(void *arg)
{
	struct crowd *c = arg;
	struct turn t;

	for (int i = 0; i < N_TURNS; i++) {
		exec_begin(&c->r.x, &t);
		c->protected++;
		/* Long enough, now and then, that others give up spinning and sleep. */
		if (i % 500 == 0)
			usleep(200);
		post(&t);
		exec_end(&c->r.x, &t, i % 2);
	}
	exec_flush(&c->r.x);
	return NULL;
}

static void *crowd_surrogate(void *arg)
{
	struct crowd *c = arg;
	struct exec x = c->r.x;
	struct turn t;

	x.who = EXEC_SURROGATE;
	x.unkicked = 0;
	while (!peek32(&c->stop)) {
		if (turn_try(&t, &x.map, x.who, host_tid(), 0, host_now(), DOOR_ERRAND_RX | DOOR_ERRAND_TICK)) {
			(void)exec_round(&x, &t);
			exec_end(&x, &t, false);
		}
		(void)kicks(&c->r);
	}
	return NULL;
}

static void test_crowd(void **state)
{
	pthread_t threads[N_THREADS], surrogate;
	static struct crowd c;

	(void)state;
	memset(&c, 0, sizeof(c));
	rig_make(&c.r);
	assert_int_equal(pthread_create(&surrogate, NULL, crowd_surrogate, &c), 0);
	for (int i = 0; i < N_THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, crowd_member, &c), 0);
	for (int i = 0; i < N_THREADS; i++)
		pthread_join(threads[i], NULL);
	poke32(&c.stop, 1);
	pthread_join(surrogate, NULL);
	assert_int_equal(c.protected, N_THREADS * N_TURNS);
	assert_int_equal(c.r.x.map.seg->door, 0);
	assert_int_equal(c.r.x.map.seg->kicks_owed, 0);
	rig_free(&c.r);
}

/* A holder that is stopped, not dead, keeps its turn however long others wait. */
static void test_stopped_holder(void **state)
{
	struct rig r;
	struct turn t;
	uint64_t t0;
	pid_t child;
	int status;

	(void)state;
	rig_make(&r);
	child = fork();
	if (child == 0) {
		host_after_fork();
		exec_begin(&r.x, &t);
		usleep(1500000);
		exec_end(&r.x, &t, false);
		_exit(0);
	}
	while (!turn_holder(&r.x.map))
		usleep(1000);
	t0 = host_now();
	exec_begin(&r.x, &t);
	assert_true(host_now() - t0 > NS_PER_S);
	assert_int_equal(r.x.map.seg->counters[EV_ADOPTED], 0);
	exec_end(&r.x, &t, false);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	rig_free(&r);
}

/* ---- death in a turn --------------------------------------------------------------------------------------- */

/* A child takes the turn, does something, and dies in it. */
static void die_in_turn(struct rig *r, void (*deed)(struct turn *t))
{
	struct turn t;
	pid_t child = fork();
	int status;

	if (child == 0) {
		host_after_fork();
		exec_begin(&r->x, &t);
		if (deed)
			deed(&t);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(turn_holder(&r->x.map), child);
}

static void test_dead_holder(void **state)
{
	struct rig r;
	struct turn t;
	uint64_t t0 = host_now();

	(void)state;
	rig_make(&r);
	die_in_turn(&r, NULL);
	exec_begin(&r.x, &t);
	assert_in_range(host_now() - t0, NS_PER_S, 5 * NS_PER_S);
	assert_int_equal(t.who, EXEC_APP);
	assert_int_equal(r.x.map.seg->counters[EV_ADOPTED], 1);
	assert_int_equal(r.x.map.seg->condemned, 0);
	assert_int_equal(stack_check(&t), 0);
	exec_end(&r.x, &t, false);
	assert_int_equal(r.x.map.seg->door, 0);
	rig_free(&r);
}

static void break_pools(struct turn *t)
{
	struct sk *sk = sk_get(t, SK_UDP, 17);

	sk->lport = 53;
	t->map->seg->n_free_pkt += 7;
	t->map->seg->free_sk = sk_slot_of(t, sk);
}

static void test_dead_holder_broken(void **state)
{
	struct rig r;
	struct turn t;
	struct sk *sk;
	uint64_t n;
	int slot;

	(void)state;
	rig_make(&r);
	slot = waiter_claim(&r.x.map, 1, 0);
	waiter_sleep(&r.x.map, slot);
	die_in_turn(&r, break_pools);
	exec_begin(&r.x, &t);
	assert_true(r.x.map.seg->condemned);
	sk = sk_slot(&t, 1);
	assert_int_equal(sk->err, ECONNRESET);
	assert_true(sk->ready & EPOLLERR && sk->ready & EPOLLIN && sk->ready & EPOLLOUT);
	exec_end(&r.x, &t, false);
	assert_int_equal(r.x.map.seg->door, 0);
	/* Its sleepers were told. */
	assert_int_equal(read(r.x.fds.bell[slot], &n, 8), 8);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_kick_refused),
		cmocka_unit_test(test_round),
		cmocka_unit_test(test_errands),
		cmocka_unit_test(test_wakes),
		cmocka_unit_test(test_crowd),
		cmocka_unit_test(test_stopped_holder),
		cmocka_unit_test(test_dead_holder),
		cmocka_unit_test(test_dead_holder_broken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
