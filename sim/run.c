/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One seed from beginning to end: make the world, let events happen until the conversations
 * are over, close what is left, wait until nothing is under way, count what came back (S6).
 */
#include "sim/sim.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "sim/either.h"

void sim_fail(struct sim *w, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(w->reason, sizeof(w->reason), fmt, ap);
	va_end(ap);
	record_text(w, "FAILED: %s", w->reason);
	longjmp(w->fail_jmp, 1);
}

/* ---- making ---------------------------------------------------------------------------------- */

static const struct world *world_find(const char *name)
{
	for (uint32_t i = 0; i < n_worlds; i++) {
		if (!strcmp(worlds[i].name, name))
			return &worlds[i];
	}
	return NULL;
}

static void defaults(struct knobs *k)
{
	*k = (struct knobs){
		.n_hosts = 2, .n_stacks_a_host = 1, .n_socks = 64, .n_pkts = 512, .ring_slots = 128,
		.mtu = 1500, .v6_ppm = 500000, .n_blocks = 1, .check_ppm = 250000,
		.delay_ns = 50 * NS_PER_US, .complete_ns = 100 * NS_PER_US,
		.n_threads = 1, .n_procs = 1, .cost_ns = 5000, .watchdog_ns = 5 * NS_PER_MS,
		.n_talks = 2, .spread_ns = NS_PER_MS, .bytes_min = 1, .bytes_max = 200000,
		.rd_max = 65536, .wr_max = 65536, .ends = END_ORDERLY, .backlog = 64,
		.epoll_ppm = 500000, .et_ppm = 500000, .spin_ppm = 300000, .pause_ns = 20 * NS_PER_MS,
		.rounds_max = 20, .round_bytes_max = 5000, .limit_ns = 4000 * NS_PER_S,
		.exit_ppm = 300000, .gram_n = 50, .gram_bytes_max = 1400,
	};
}

static void post_plans(struct sim *w)
{
	const struct knobs *k = &w->k;

	for (uint32_t i = 0; i < w->n_stacks; i++) {
		if (k->stop_every_ns)
			sim_post(w, sim_between(w, 0, k->stop_every_ns), (struct sim_event){ .kind = SE_STOP, .a = i });
		if (k->hostile || (k->scribble_every_ns && i == 0))
			sim_post(w, sim_between(w, NS_PER_MS / 10, 5 * NS_PER_MS), (struct sim_event){
				 .kind = SE_HOSTILE, .a = i });
	}
	for (uint32_t i = 0; i < w->n_hosts && k->churn_every_ns; i++)
		sim_post(w, sim_between(w, 0, k->churn_every_ns), (struct sim_event){ .kind = SE_CHURN, .a = i });
	if (k->kill_at)
		sim_post(w, k->kill_at, (struct sim_event){ .kind = SE_KILL, .a = k->kill_stack % w->n_stacks,
			 .b = k->n_procs - 1 });
	if (k->cut_at)
		sim_post(w, k->cut_at, (struct sim_event){ .kind = SE_CUT, .a = 1 });
}

static void world_make(struct sim *w, const struct world *world)
{
	prng_seed(&w->rng, w->seed * 1000003 + sim_hash(world->name, strlen(world->name)));
	defaults(&w->k);
	world->set(w, &w->k);
	w->now = NS_PER_S + sim_between(w, 0, 4000) * NS_PER_S;
	w->began = w->now;
	w->judge = judge_new();
	must(w->judge && w->k.n_hosts <= SIM_HOSTS && w->k.n_threads <= SIM_THREADS);
	w->n_hosts = w->k.n_hosts;
	w->k.limit_ns += w->now;
	w->k.cut_at += w->k.cut_at ? w->now : 0;
	w->k.kill_at += w->k.kill_at ? w->now : 0;
	w->wire_faults = w->k.mark_ppm || w->k.ack_loss_ppm || w->k.ack_lump_ns || w->k.loss_ppm ||
			 w->k.burst_ppm || w->k.reorder_ppm || w->k.dup_ppm || w->k.corrupt_ppm;
	for (uint32_t i = 0; i < w->n_hosts; i++) {
		w->host[i].id = i;
		w->host[i].n_stacks = w->k.n_stacks_a_host;
		for (uint32_t j = 0; j < w->k.n_stacks_a_host; j++) {
			struct sim_stack *s = &w->stack[w->n_stacks];

			w->host[i].stack[j] = s;
			s->id = w->n_stacks++;
			s->place = j;
			s->host = &w->host[i];
			stack_make(w, s);
			thread_init(w, s);
		}
	}
	talk_make(w);
	gram_make(w);
	for (uint32_t i = 0; i < w->n_talks; i++)
		w->talks[i].e[0].start_at += w->now;
	post_plans(w);
}

static void world_unmake(struct sim *w)
{
	for (uint32_t i = 0; i < w->n_heap; i++)
		free(w->heap[i].frame);
	pair_unmake(w);
	for (uint32_t i = 0; i < w->n_stacks; i++)
		stack_unmake(&w->stack[i]);
	for (uint32_t i = 0; i < w->n_hosts; i++)
		free(w->host[i].mirror);
	free(w->heap);
	free(w->talks);
	free(w->judge);
}

/* ---- happening -------------------------------------------------------------------------------- */

/* The longer a world lasts, the more rarely it is troubled, so that its end is not put off for ever. */
static void again(struct sim *w, const struct sim_event *e, uint64_t every)
{
	every += (w->now - w->began) / 200;
	if (!w->closing)
		sim_post(w, w->now + 1 + sim_between(w, 0, 2 * every), *e);
}

static void happen(struct sim *w, struct sim_event *e)
{
	struct sim_stack *s = &w->stack[e->a % SIM_STACKS];

	switch ((enum sim_event_kind)e->kind) {
	case SE_FRAME: return wire_arrive(w, &w->host[e->a], e->frame);
	case SE_GLUE: return device_unglue(w, s);
	case SE_DEVICE: return device_run(w, s);
	case SE_COMPLETE: return device_complete(w, s);
	case SE_THREAD:
		if (s->th[e->b].gen == e->gen && s->th[e->b].state != TH_GONE)
			thread_run(w, s, &s->th[e->b]);
		return;
	case SE_SURROGATE:
		if (s->surrogate_at == e->at)
			surrogate_run(w, s);
		return;
	case SE_STOP:
		thread_stop(w, s);
		return again(w, e, w->k.stop_every_ns);
	case SE_KILL: return process_die(w, s, e->b);
	case SE_NEIGH: return sim_neigh_learn(w, &w->host[e->a], e->b);
	case SE_CHURN:
		sim_churn(w, &w->host[e->a]);
		return again(w, e, w->k.churn_every_ns);
	case SE_CUT:
		record_text(w, "host %u falls silent", e->a);
		w->host[e->a].cut = true;
		return;
	case SE_HOSTILE:
		if (w->k.aperture)
			pair_hostile(w);
		else
			hostile_round(w, s);
		return again(w, e, w->k.aperture ? w->k.scribble_every_ns : 5 * NS_PER_MS);
	case SE_PAIR: return pair_make(w, s, &w->stack[e->b]);
	case SE_END: return pair_end(w, s);
	}
}

static struct end *unfinished(struct sim *w)
{
	for (uint32_t i = 0; i < w->n_talks; i++) {
		struct talk *c = &w->talks[i];

		if (!c->e[0].finished)
			return &c->e[0];
		if (!c->e[1].finished && (c->accepted || !c->may_fail))
			return &c->e[1];
	}
	return NULL;
}

/* Says of a conversation that hangs what its two sockets think. */
static void hung(struct sim *w, const struct end *e, const char *why)
{
	char text[400];
	int n = 0;

	for (uint32_t i = 0; i < 2 && n < 300; i++) {
		const struct end *x = &e->talk->e[i];
		const struct stack_map *m = &x->s->app;
		const struct sk *sk = (const void *)(m->socks + (size_t)(x->sk.v & m->sk_mask) * SK_BYTES);
		const struct tcb *b = tcb_of_const(sk);
		const struct ap *a = ap_of_const(sk);

		if (!x->open) {
			n += snprintf(text + n, sizeof(text) - (size_t)n, "; %s %s", i ? "server" : "client",
				      x->finished ? "done" : "not open");
			continue;
		}
		if (is_ap(sk)) {
			n += snprintf(text + n, sizeof(text) - (size_t)n,
				      "; %s stack %u %08x %s sent %llu/%llu got %llu/%llu wr %u seen %u rd %u "
				      "ring 2^%u ready %x flags %x/%x", i ? "server" : "client", x->s->id, x->sk.v,
				      tcp_state_name(sk->state), (unsigned long long)x->tx_pos,
				      (unsigned long long)x->tx_total, (unsigned long long)x->rx_pos,
				      (unsigned long long)x->rx_total, a->wr, a->rd_seen, a->rd, a->out.shift,
				      sk->ready, sk->flags, a->flags);
			continue;
		}
		n += snprintf(text + n, sizeof(text) - (size_t)n,
			      "; %s stack %u %08x %s sent %llu/%llu got %llu/%llu una %u nxt %u wr %u wnd %u rcv %u "
			      "ready %x flags %x/%x tmr %lld", i ? "server" : "client", x->s->id, x->sk.v,
			      tcp_state_name(sk->state), (unsigned long long)x->tx_pos, (unsigned long long)x->tx_total,
			      (unsigned long long)x->rx_pos, (unsigned long long)x->rx_total, b->snd_una - b->iss,
			      b->snd_nxt - b->iss, b->write_seq - b->iss, b->snd_wnd, b->rcv_nxt - b->irs, sk->ready,
			      sk->flags, b->flags, sk->tmr_at == NEVER_NS ? -1 : (long long)(sk->tmr_at - w->now));
	}
	sim_fail(w, "S5: %s: conversation %u%s", why, e->talk->id, text);
}

/* What a stack still has to do before it can be counted, or NULL. */
static const char *unrest(const struct sim_stack *s)
{
	if (s->retired || s->gone)
		return NULL;
	if (s->seg->deadline != NEVER_NS)
		return "a deadline";
	if (s->seg->kicks_owed)
		return "a kick is owed";
	if (!device_is_idle(s))
		return "the device is busy";
	if (s->in_turn)
		return "the turn is held";
	if (s->front && !anybody_live(s) && s->seg->n_conns)
		return "its surrogate has connections left";
	if (pair_waits(s, &s->app) || (!anybody_live(s) && pair_waits(s, &s->strong)))
		return "apertures wait";
	for (uint32_t p = 0; p < s->n_procs; p++) {
		if (!s->proc[p].live && !s->proc[p].reaped)
			return "a process is not buried";
	}
	for (uint32_t j = 0; j < s->n_threads; j++) {
		if (s->th[j].state != TH_GONE && !s->th[j].closed)
			return "a thread has not closed";
	}
	return NULL;
}

static bool at_rest(const struct sim *w)
{
	if (w->n_in_flight)
		return false;
	for (uint32_t i = 0; i < w->n_stacks; i++) {
		if (unrest(&w->stack[i]))
			return false;
	}
	return true;
}

static void begin_closing(struct sim *w)
{
	record_text(w, "the conversations are over");
	w->closing = true;
	w->k.limit_ns = w->now + 2500 * NS_PER_S;
	for (uint32_t i = 0; i < w->n_stacks; i++) {
		struct sim_stack *s = &w->stack[i];
		bool exits = prng_chance(&w->rng, w->k.exit_ppm);

		for (uint32_t p = 0; p < s->n_procs && exits; p++)
			process_die(w, s, p);
		for (uint32_t j = 0; j < s->n_threads; j++)
			thread_wake(w, s, &s->th[j], sim_between(w, 100, NS_PER_MS));
	}
}

static void restless(struct sim *w)
{
	for (uint32_t i = 0; i < w->n_stacks; i++) {
		const struct segment *g = w->stack[i].seg;
		const char *why = unrest(&w->stack[i]);

		if (why)
			sim_fail(w, "S6: does not come to rest: stack %u: %s; deadline in %lld ns, "
				 "conns %u, orphans %u, "
				 "tw %u", i, why, g->deadline == NEVER_NS ? -1 : (long long)(g->deadline - w->now),
				 g->n_conns, g->n_orphans, g->n_tw);
	}
	sim_fail(w, "S6: does not come to rest: %u frames in flight", w->n_in_flight);
}

/* The end of what will happen, or of the time for it: true if somebody was left to wake. */
static bool at_a_loss(struct sim *w, const char *why)
{
	struct end *e = unfinished(w);

	if (w->closing)
		restless(w);
	if (e && !end_excuse(w, e))
		hung(w, e, why);
	w->k.limit_ns = max_u64(w->k.limit_ns, w->now + 10 * NS_PER_S);
	return e;
}

static void live(struct sim *w)
{
	struct sim_event ev;
	bool late;

	while (!w->closing || !at_rest(w)) {
		if (!sim_next(w, &ev)) {
			if (!at_a_loss(w, "nothing will ever happen again"))
				begin_closing(w);
			continue;
		}
		w->now = ev.at;
		w->n_events++;
		happen(w, &ev);
		pair_check_sleepers(w);
		if (w->path && path_look(w))
			return;
		late = w->now > w->k.limit_ns;
		if (late && !at_a_loss(w, "out of time") && !gram_done(w))
			sim_fail(w, "S5: out of time");
		if (!w->closing && (late || (w->n_events & 15) == 0) && !unfinished(w) && gram_done(w))
			begin_closing(w);
	}
}

/* ---- counting (S6) ------------------------------------------------------------------------------ */

static void count_back(struct sim *w, struct sim_stack *s)
{
	const struct segment *g = s->seg;
	uint32_t used = 0, awake = 0, eps = 0;
	struct turn t;

	if (!sim_turn_try(w, s, &t, NULL, 0))
		sim_fail(w, "S6: stack %u: the door is shut at the end", s->id);
	pair_trimmed(s, &t);
	sim_turn_round(w, &t);
	sim_check(w, s, &t);
	sim_turn_end(w, s, &t);
	for (uint32_t i = 0; i < N_PORT_BLOCKS; i++)
		used += !!g->ports[i].used[0] + !!g->ports[i].used[1];
	for (uint32_t i = 0; i < N_WAITERS; i++)
		awake += g->waiters[i].state != WAITER_FREE;
	for (uint32_t i = 1; i <= s->app.ep_mask; i++)
		eps += s->app.eps[i].live != 0;
	if (g->n_free_pkt + g->n_posted[0] != w->k.n_pkts - 1)
		sim_fail(w, "S6: stack %u: %u frames free, %u posted, of %u", s->id, g->n_free_pkt, g->n_posted[0],
			 w->k.n_pkts - 1);
	if (g->n_free_sk != w->k.n_socks - 1 || g->n_conns || g->n_orphans || g->n_tw)
		sim_fail(w, "S6: stack %u: %u of %u sockets free, %u connections, %u orphans, %u in TIME_WAIT", s->id,
			 g->n_free_sk, w->k.n_socks - 1, g->n_conns, g->n_orphans, g->n_tw);
	pair_check_counts(w, s);
	if (used || awake || eps || g->work_head || g->txwait_head)
		sim_fail(w, "S6: stack %u: ports of %u blocks in use, %u waiters, %u epolls, lists %u %u",
			 s->id, used, awake,
			 eps, g->work_head, g->txwait_head);
}

/* S7: with nothing lost, late, out of order, dropped by a receiver short of frames or by a sender
 * whose ring was full (a reset is not sent later), what is sent again is a mistake. */
static void count_repeats(struct sim *w)
{
	const struct knobs *k = &w->k;
	uint64_t drops = 0;

	for (uint32_t i = 0; i < w->n_stacks; i++)
		drops += w->stack[i].seg->counters[EV_TCP_OOO_DROP] + w->stack[i].seg->counters[EV_PKT_EMPTY] +
			 w->stack[i].seg->counters[EV_TX_RING_FULL];
	if (w->n_lost || drops || w->wire_faults || k->bits_per_s || k->stop_every_ns || k->hold_ppm || k->mishap_ppm ||
	    k->neigh_ns || k->kill_at || k->cut_at || k->slay_ppm || k->path_mtu || k->flap_every_ns ||
	    k->churn_every_ns || k->hostile)
		return;
	for (uint32_t i = 0; i < w->n_stacks; i++) {
		const uint64_t *c = w->stack[i].seg->counters;
		uint64_t n = c[EV_TCP_RETRANS], rto = c[EV_TCP_RTO];

		/* The probe of a tail may meet a delayed ACK (RFC 8985 7.5). */
		if (n > c[EV_TCP_TLP] || rto)
			sim_fail(w, "S7: stack %u sends %llu segments again, %llu time-outs, and nothing was lost", i,
				 (unsigned long long)n, (unsigned long long)rto);
	}
}

static void run(const struct world *world, uint64_t seed, const char *record_to, struct path_run *path,
		struct sim_result *ret)
{
	struct sim *w = calloc(1, sizeof(*w));

	must(w && world);
	w->world = world->name;
	w->path = path;
	w->seed = seed;
	w->digest = seed;
	sim_running = w;
	if (record_to)
		w->rec = record_open(record_to);
	if (!setjmp(w->fail_jmp)) {
		world_make(w, world);
		live(w);
		if (!path)
			count_repeats(w);
		for (uint32_t i = 0; i < w->n_stacks && !path; i++) {
			if (!w->stack[i].retired && !w->troubled && !w->k.may_leak)
				count_back(w, &w->stack[i]);
		}
	}
	for (uint32_t i = 0; i < w->n_talks; i++)
		w->n_failed_talks += w->talks[i].e[0].err || w->talks[i].e[1].err;
	*ret = (struct sim_result){ w->reason[0], w->digest, w->now - w->began, w->n_bytes, w->n_frames, w->n_turns,
				    w->n_talks + w->n_grams, w->n_failed_talks, { 0 }, { 0 } };
	memcpy(ret->reason, w->reason, sizeof(ret->reason));
	for (uint32_t i = 0; i < w->n_stacks * N_EVENTS && w->stack[i / N_EVENTS].seg; i++)
		ret->events[i % N_EVENTS] += w->stack[i / N_EVENTS].seg->counters[i % N_EVENTS];
	sim_running = NULL;
	record_close(w->rec);
	world_unmake(w);
	free(w);
}

void sim_run(const char *name, uint64_t seed, const char *record_to, struct sim_result *ret)
{
	run(world_find(name), seed, record_to, NULL, ret);
}

void sim_run_path(const struct world *world, struct path_run *path, struct sim_result *ret)
{
	run(world, 1, NULL, path, ret);
}
