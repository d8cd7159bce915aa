/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures under real threads: two stacks in one process, each with two threads that spin little
 * and sleep as sock/wait.c does, and a third that comes at odd moments and leaves errands, as a
 * surrogate. Every byte is checked, no sleep may hit its limit, and ThreadSanitizer watches when
 * it is built in: what it is told are the orders that lane.c, stream.c and irq.c promise, for
 * rings, lanes and tables are plain memory.
 */
#include "test/unit/rig.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/atomic.h"
#include "core/ap/ap.h"
#include "core/net/net.h"

#define N_THREADS 2
#define N_CONNS	  4		/* conn i is thread i % N_THREADS's at either end */
#define N_BYTES	  4000000u
#define WINDOW	  4000u		/* the client's bytes under way: so that both ends wait, often */
#define LIMIT_MS  30000

static struct side {
	struct rig r;
	struct ap_front front;
	int pipe, bell[N_WAITERS];
	struct side *peer;
	uint32_t conn[N_CONNS];		/* handles */
	uint32_t late, sleeps, rings, met_shut;	/* atomic tallies */
} side[2];

static uint32_t live;			/* atomic: threads not done yet */

static uint8_t byte_at(uint32_t conn, uint32_t pos) { return (uint8_t)(pos * 7 + (pos >> 8) + conn * 31); }

static void tally(uint32_t *n)
{
	/* relaxed: a tally */
	atomic_fetch_add_explicit((_Atomic uint32_t *)n, 1, memory_order_relaxed);
}

/* ---- turns, as exec/app.c takes them -------------------------------------------------------- */

static void begin(struct side *s, struct turn *t, uint32_t tid)
{
	while (!turn_try(t, &s->r.map, EXEC_APP, tid, 0, 0, 0))
		sched_yield();
}

static void poll_lanes(struct turn *t)
{
	if (ap_pending(t->map))
		(void)ap_poll(t);
}

static void pay(struct side *s, const struct turn *t)
{
	static const uint64_t one = 1;

	for (uint32_t wakes = t->wakes; wakes; wakes &= wakes - 1) {
		int slot = __builtin_ctz(wakes);

		if (waiter_ring(&s->r.map, slot))
			must(write(s->bell[slot], &one, sizeof(one)) == sizeof(one));
	}
	if (!t->ap_rings)
		return;
	tally(&s->rings);
	must(write(s->peer->pipe, &one, sizeof(one)) == sizeof(one));
}

static void end(struct side *s, struct turn *t)
{
	uint64_t errands;
	bool contended;

	while ((errands = turn_end(t, &contended))) {
		t->budget = TURN_BUDGET;
		if (errands & DOOR_ERRAND_ARM)
			(void)irq_errand(t);
		poll_lanes(t);
	}
	pay(s, t);
}

/* ---- a thread with its connections ------------------------------------------------------------ */

struct flow {
	uint32_t sent, got;
	uint32_t i;			/* of side.conn */
};

struct worker {
	struct side *s;
	uint32_t tid;
	int slot;
	bool echoes;
	struct prng g;
	struct flow flow[N_CONNS / N_THREADS];
	pthread_t thread;
};

static struct sk *sk_of(struct worker *w, struct turn *t, const struct flow *f)
{
	struct sk *sk = sk_find(t, (sk_h){ w->s->conn[f->i] });

	must(sk);
	return sk;
}

/* The client sends the pattern, the server sends back what it got. */
static uint32_t may_send(const struct worker *w, const struct flow *f)
{
	if (w->echoes)
		return f->got - f->sent;
	return min_u32(N_BYTES - f->sent, WINDOW - (f->sent - f->got));
}

static bool send_some(struct worker *w, struct turn *t, struct flow *f)
{
	uint8_t buf[3000];
	uint32_t n = min_u32(may_send(w, f), 1 + prng_below(&w->g, sizeof(buf)));
	struct iovec iov = { buf, n };
	int64_t done;

	for (uint32_t k = 0; k < n; k++)
		buf[k] = byte_at(f->i, f->sent + k);
	done = n ? ap_send(t, sk_of(w, t, f), &iov, 1, 0) : -EAGAIN;
	must(done == -EAGAIN || (done > 0 && done <= n));
	f->sent += done > 0 ? (uint32_t)done : 0;
	return done > 0;
}

static bool recv_some(struct worker *w, struct turn *t, struct flow *f)
{
	uint8_t buf[3000];
	struct iovec iov = { buf, 1 + prng_below(&w->g, sizeof(buf)) };
	int64_t done = f->got < N_BYTES ? ap_recv(t, sk_of(w, t, f), &iov, 1, 0, 0) : -EAGAIN;

	must(done == -EAGAIN || done > 0);
	for (int64_t k = 0; k < done; k++)
		must(buf[k] == byte_at(f->i, f->got + (uint32_t)k));
	f->got += done > 0 ? (uint32_t)done : 0;
	return done > 0;
}

static bool is_done(const struct worker *w)
{
	for (uint32_t k = 0; k < n_elems(w->flow); k++)
		if (w->flow[k].sent < N_BYTES || w->flow[k].got < N_BYTES)
			return false;
	return true;
}

/* One turn for each step, as calls are. */
static bool work(struct worker *w)
{
	bool any = false;
	struct turn t;

	for (uint32_t k = 0; k < n_elems(w->flow); k++) {
		begin(w->s, &t, w->tid);
		any |= recv_some(w, &t, &w->flow[k]);
		end(w->s, &t);
		begin(w->s, &t, w->tid);
		any |= send_some(w, &t, &w->flow[k]);
		end(w->s, &t);
	}
	return any;
}

static uint32_t wanted(const struct worker *w, const struct flow *f)
{
	return (f->got < N_BYTES ? EPOLLIN : 0) | (may_send(w, f) ? EPOLLOUT : 0);
}

/* ---- asleep, as sock/wait.c ---------------------------------------------------------------------- */

static void arm(struct worker *w, bool on)
{
	struct turn t;

	begin(w->s, &t, w->tid);
	poll_lanes(&t);
	for (uint32_t k = 0; k < n_elems(w->flow); k++) {
		struct sk *sk = sk_of(w, &t, &w->flow[k]);

		sk->wait_mask = on ? sk->wait_mask | 1u << w->slot : sk->wait_mask & ~(1u << w->slot);
		if (on && w->flow[k].got < N_BYTES)
			ap_want(&t, sk);
	}
	end(w->s, &t);
}

static bool ready(struct worker *w)
{
	struct turn peek = { .map = &w->s->r.map };

	for (uint32_t k = 0; k < n_elems(w->flow); k++) {
		const struct flow *f = &w->flow[k];
		/* Its slot is fixed while it lives: found without the turn, as sk_peek() does. */
		const struct sk *sk = sk_slot(&peek, w->s->conn[f->i] & w->s->r.map.sk_mask);

		if (ap_peek(&w->s->r.map, sk) & wanted(w, f))
			return true;
	}
	return false;
}

static void hear(int fd)
{
	uint64_t n;

	(void)!read(fd, &n, sizeof(n));
}

static void sleep_once(struct worker *w)
{
	struct side *s = w->s;
	struct pollfd p[2] = { { .fd = s->pipe, .events = POLLIN }, { .fd = s->bell[w->slot], .events = POLLIN } };

	arm(w, true);
	waiter_sleep(&s->r.map, w->slot);
	(void)irq_sleep(&s->r.map);
	if (!ready(w) && !ap_pending(&s->r.map)) {
		tally(&s->sleeps);
		if (poll(p, 2, LIMIT_MS) == 0)
			tally(&s->late);
	}
	if (waiter_wake(&s->r.map, w->slot) || p[1].revents)
		hear(s->bell[w->slot]);
	if (p[0].revents)
		hear(s->pipe);
	irq_wake(&s->r.map, w->slot);
	arm(w, false);
}

static void *run(void *arg)
{
	struct worker *w = arg;

	while (!is_done(w))
		if (!work(w) && !is_done(w))
			sleep_once(w);
	/* release: pairs with acquire32() in visit() */
	atomic_fetch_sub_explicit((_Atomic uint32_t *)&live, 1, memory_order_release);
	return NULL;
}

/* ---- who comes for reasons of his own ------------------------------------------------------------------ */

static void *visit(void *arg)
{
	struct side *s = arg;
	struct turn t;

	while (acquire32(&live)) {
		if (turn_try(&t, &s->r.map, EXEC_SURROGATE, 99, 0, 0, DOOR_ERRAND_RX | DOOR_ERRAND_ARM)) {
			poll_lanes(&t);
			if (irq_errand(&t) == IRQ_ARM)
				poll_lanes(&t);
			end(s, &t);
		} else {
			tally(&s->met_shut);
		}
		poll(NULL, 0, 1);
	}
	return NULL;
}

/* ---- the whole -------------------------------------------------------------------------------------------- */

static const struct geometry geo = {
	.n_socks = 64, .n_pkts = 128, .n_flow_buckets = 32, .n_listen_buckets = 8,
	.n_epolls = 8, .n_epitems = 128, .n_trace = 64, .n_pairs = 2,
};

static void side_make(uint32_t i, struct ap_pair *pair)
{
	struct side *s = &side[i];
	struct ctl_pair d = { .slot = 0, .side = i, .pair_id = 5, .peer = 2 - i };

	memset(s, 0, sizeof(*s));
	rig_make_as(&s->r, &geo);
	s->peer = &side[1 - i];
	s->r.map.front = &s->front;
	s->r.map.ap[0] = (struct ap_view){ .pair = pair, .front = &s->peer->front, .pair_id = 5 };
	ap_pair_open(&s->r.t, 0, &d);
	s->pipe = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	for (int k = 0; k < N_WAITERS; k++)
		s->bell[k] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

static struct sk *connect_all(void)
{
	struct ipaddr here = ip_from4(0x7f000001);
	struct sk *lsk, *sk;
	struct tcp_opts o;

	tcp_opts_default(&o);
	assert_int_equal(tcp_listen(&side[1].r.t, &o, &here, 80, N_CONNS, &lsk), 0);
	for (uint32_t i = 0; i < N_CONNS; i++) {
		assert_int_equal(ap_connect(&side[0].r.t, 0, &o, &here, (uint16_t)(1000 + i), &here, 80, &sk), 0);
		side[0].conn[i] = sk->self;
	}
	(void)ap_poll(&side[1].r.t);
	for (uint32_t i = 0; i < N_CONNS; i++) {
		sk = tcp_accept(&side[1].r.t, lsk);
		assert_non_null(sk);
		side[1].conn[sk->rport - 1000] = sk->self;
	}
	return lsk;
}

static void side_free(struct side *s)
{
	close(s->pipe);
	for (int k = 0; k < N_WAITERS; k++)
		close(s->bell[k]);
	rig_free(&s->r);
}

static void close_all(struct sk *lsk)
{
	for (uint32_t i = 0; i < 2; i++)
		rig_begin(&side[i].r, 0);
	for (uint32_t i = 0; i < N_CONNS; i++)
		for (uint32_t k = 0; k < 2; k++)
			ap_close(&side[k].r.t, sk_find(&side[k].r.t, (sk_h){ side[k].conn[i] }));
	tcp_close(&side[1].r.t, lsk);
	for (uint32_t i = 0; i < 4; i++)
		(void)ap_poll(&side[i & 1].r.t);
	for (uint32_t i = 0; i < 2; i++)
		assert_int_equal(side[i].r.map.seg->n_conns, 0);
}

static void test_threads(void **state)
{
	static struct worker worker[2][N_THREADS];
	struct ap_pair *pair = mmap(NULL, AP_PAIR_BYTES, PROT_READ | PROT_WRITE,
				    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	pthread_t visitor[2];
	struct sk *lsk;

	(void)state;
	must(pair != MAP_FAILED);
	side_make(0, pair);
	side_make(1, pair);
	lsk = connect_all();
	rig_end(&side[0].r);
	rig_end(&side[1].r);
	live = 2 * N_THREADS;
	for (uint32_t i = 0; i < 2 * N_THREADS; i++) {
		struct worker *w = &worker[i & 1][i / 2];

		*w = (struct worker){ .s = &side[i & 1], .tid = 100 + i, .echoes = i & 1 };
		for (uint32_t k = 0; k < n_elems(w->flow); k++)
			w->flow[k].i = i / 2 + k * N_THREADS;
		prng_seed(&w->g, i);
		w->slot = waiter_claim(&w->s->r.map, w->tid, 0);
	}
	for (uint32_t i = 0; i < 2 * N_THREADS; i++)
		must(!pthread_create(&worker[i & 1][i / 2].thread, NULL, run, &worker[i & 1][i / 2]));
	for (uint32_t i = 0; i < 2; i++)
		must(!pthread_create(&visitor[i], NULL, visit, &side[i]));
	for (uint32_t i = 0; i < 2 * N_THREADS; i++)
		pthread_join(worker[i & 1][i / 2].thread, NULL);
	for (uint32_t i = 0; i < 2; i++)
		pthread_join(visitor[i], NULL);
	for (uint32_t i = 0; i < 2; i++) {
		const struct side *s = &side[i];

		print_message("  stack %u: %u sleeps, %u armings, rang %u times, %u shut doors\n", i, s->sleeps,
			      s->front.n_arms, s->rings, s->met_shut);
		assert_int_equal(s->late, 0);
		/* S0c-IRQ-04 */
		assert_in_range(s->rings, 0, s->peer->front.n_arms);
	}
	close_all(lsk);
	side_free(&side[0]);
	side_free(&side[1]);
	munmap(pair, AP_PAIR_BYTES);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests_name("ap_threads", tests, NULL, NULL);
}
