/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The application's executor: threads that take turns in their own calls, spin a little,
 * and sleep as the library does: a waiter slot, asleep before the last look, woken by the
 * waiter's bell, by the device (a thread or two of those asleep, not all: so whoever got the
 * data must ring the others), by the stack's deadline, or by a time of their own.
 *
 *            shut door             work           turn_end
 *   QUEUED ────────────▶ ON_DOOR   ────▶ HOLDING ──────────▶ ASLEEP ──▶ QUEUED
 *      └────────────────────────────────────┘
 */
#include "sim/sim.h"

static void queue_at(struct sim *w, struct sim_stack *s, struct thread *th, uint64_t at)
{
	th->run_at = at;
	sim_post(w, at, (struct sim_event){ .kind = SE_THREAD, .a = s->id, .b = th->i, .gen = ++th->gen });
}

void thread_wake(struct sim *w, struct sim_stack *s, struct thread *th, uint64_t in_ns)
{
	if (th->state != TH_ASLEEP && th->state != TH_ON_DOOR)
		return;
	th->state = TH_QUEUED;
	queue_at(w, s, th, w->now + in_ns);
}

/* The descriptor of the interface turns readable: one sleeper sees it, perhaps more. */
void thread_rx_ready(struct sim *w, struct sim_stack *s)
{
	uint32_t first = s->n_threads ? prng_below(&w->rng, s->n_threads) : 0;
	bool woken = false;

	for (uint32_t i = 0; i < s->n_threads; i++) {
		struct thread *th = &s->th[(first + i) % s->n_threads];

		if (th->state != TH_ASLEEP || (woken && prng_chance(&w->rng, 700000)))
			continue;
		thread_wake(w, s, th, sim_between(w, 500, 20 * NS_PER_US));
		woken = true;
	}
}

void thread_door_open(struct sim *w, struct sim_stack *s)
{
	for (uint32_t i = 0; i < s->n_threads; i++) {
		if (s->th[i].state == TH_ON_DOOR)
			thread_wake(w, s, &s->th[i], sim_between(w, 100, 5000));
	}
}

/* SIGSTOP, or a long computation: for a while no thread of the process comes. */
void thread_stop(struct sim *w, struct sim_stack *s)
{
	uint32_t p = prng_below(&w->rng, s->n_procs);

	s->proc[p].stopped_until = w->now + sim_skewed(w, 1000, w->k.stop_ns);
	record_text(w, "stack %u: process %u stopped for %llu us", s->id, p,
		    (unsigned long long)(s->proc[p].stopped_until - w->now) / 1000);
}

void thread_init(struct sim *w, struct sim_stack *s)
{
	s->n_threads = w->k.n_threads;
	for (uint32_t i = 0; i < s->n_threads; i++) {
		struct thread *th = &s->th[i];

		th->i = i;
		th->tid = 10 + s->id * SIM_THREADS + i;
		th->proc = i % s->n_procs;
		th->mode = prng_chance(&w->rng, w->k.epoll_ppm) ? TH_EPOLL :
			   prng_chance(&w->rng, w->k.spin_ppm) ? TH_SPIN : TH_SCAN;
		th->waiter = -1;
		th->state = TH_QUEUED;
		queue_at(w, s, th, w->now + i * 1000);
	}
}

static void door_shut(struct sim *w, struct sim_stack *s, struct thread *th)
{
	uint64_t door;

	if (prng_chance(&w->rng, 500000) && turn_contend(&s->app, &door)) {
		th->state = TH_ON_DOOR;
		return;
	}
	queue_at(w, s, th, w->now + sim_between(w, 100, 10 * NS_PER_US));
}

static void work(struct sim *w, struct sim_stack *s, struct thread *th)
{
	struct turn *t = &th->turn;

	if (th->waiter < 0 && !w->closing)
		th->waiter = waiter_claim(&s->app, th->tid, th->proc);
	talk_sleep(w, t, s, th, false);
	gram_sleep(w, t, s, th, false);
	sim_turn_round(w, t);
	pair_check_ends(w, s, t);
	talk_run(w, t, s, th);
	gram_run(w, t, s, th);
}

/* Ends the turn and, unless there is more to do, sleeps. */
static void leave(struct sim *w, struct sim_stack *s, struct thread *th)
{
	struct turn *t = &th->turn;
	bool again = th->again;
	uint64_t at;

	if (again || (th->mode == TH_SPIN && th->n_idle++ < 20)) {
		th->state = TH_QUEUED;
		sim_turn_end(w, s, t);
		if (again)
			th->n_idle = 0;
		queue_at(w, s, th, w->now + sim_between(w, 200, w->k.cost_ns));
		return;
	}
	th->n_idle = 0;
	th->state = TH_ASLEEP;
	if (th->waiter >= 0)
		waiter_sleep(&s->app, th->waiter);
	talk_sleep(w, t, s, th, true);
	gram_sleep(w, t, s, th, true);
	sim_turn_end(w, s, t);
	if (th->state != TH_ASLEEP)
		return;
	at = min_u64(s->seg->deadline, min_u64(talk_next_at(w, s, th), gram_next_at(w, s, th)));
	if (th->waiter < 0 && !w->closing)	/* all slots taken: polls */
		at = min_u64(at, w->now + NS_PER_MS);
	if (vif_rx_pending(&s->app) || pair_lie_down(s, th))
		thread_wake(w, s, th, sim_between(w, 500, 5000));
	else if (at != NEVER_NS)
		queue_at(w, s, th, max_u64(at, w->now + 500) + prng_below(&w->rng, 20000));
}

void thread_run(struct sim *w, struct sim_stack *s, struct thread *th)
{
	uint64_t until = s->proc[th->proc].stopped_until;

	if (until > w->now)
		return queue_at(w, s, th, until + sim_between(w, 100, 50000));
	if (th->state == TH_HOLDING)
		return leave(w, s, th);
	if (th->waiter >= 0)
		waiter_wake(&s->app, th->waiter);
	th->state = TH_QUEUED;
	pair_get_up(s, th);
	if (!sim_turn_try(w, s, &th->turn, th, prng_chance(&w->rng, 500000) ? DOOR_ERRAND_RX : 0))
		return door_shut(w, s, th);
	th->state = TH_HOLDING;
	th->again = false;
	if ((w->k.slay_ppm || w->k.step_ppm) && !w->closing) {
		if (setjmp(w->slain_jmp)) {
			w->may_slay = false;
			process_die(w, s, th->proc);
			return;
		}
		w->may_slay = true;
	}
	work(w, s, th);
	w->may_slay = false;
	if (w->k.hold_ppm && prng_chance(&w->rng, w->k.hold_ppm))
		return queue_at(w, s, th, w->now + sim_skewed(w, 1000, w->k.hold_ns));
	leave(w, s, th);
}
