/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp evq`: the event queues of this host's stacks (S2-DQ-01, S2-VQ), whether their peers are to
 * ring (S0c-IRQ-01), what waiting has come to (abi/waits.def) and, with --trace, the last events.
 *
 * Of a queue between two stacks each knows its own end for certain: who reads it how far it is, who
 * writes it likewise. WAITING needs both, so it is shown where both may be looked into; they are
 * looked at one after the other, so it may be off by what happened in between.
 */
#include "tools/stacks.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/must.h"

#define N_QUEUE_COLS 9
#define NOT_KNOWN UINT32_MAX

static const struct { const char *name, *sentence; } waits[] = {
#define WAIT(n, name, sentence) { #name, sentence },
#include "abi/waits.def"
#undef WAIT
};

struct queue {
	char name[32];
	const char *kind;	/* fixed, variable, device */
	bool in;
	uint32_t peer;
	uint32_t written, read;	/* NOT_KNOWN: the peer's word, which is not shown */
	uint32_t waiting;
	uint32_t room;
	uint32_t swept;
};

struct waiters { uint32_t awake, asleep, rung, naps; };

/* ---- what there is ----------------------------------------------------------------------------------- */

/* The other end of a pair: as it knows it; false if it is not to be looked into. */
static bool other_end(const struct stacks *all, const struct stack_seen *s, const struct ap_slot *p,
		      struct ap_slot *ret)
{
	for (unsigned i = 0; i < all->n && !p->is_self; i++) {
		const struct stack_seen *o = all->of[i];

		if (o == s || o->own != s->own || o->info.stack_id != p->peer)
			continue;
		for (uint32_t k = 0; k < N_PAIRS; k++) {
			*ret = o->map.seg->ap[k];
			if (ret->pair_id == p->pair_id)
				return true;
		}
	}
	*ret = *p;
	return p->is_self;
}

static uint32_t between(uint32_t written, uint32_t read, uint32_t room)
{
	return written - read <= room ? written - read : 0;	/* two moments */
}

static void lane_queue(const struct stacks *all, const struct stack_seen *s, const struct ap_slot *p, uint32_t lane,
		       bool in, bool var, struct queue *ret)
{
	struct ap_slot o;
	bool both = other_end(all, s, p, &o);
	const struct ap_slot *writer = in ? &o : p, *reader = in ? p : &o;

	*ret = (struct queue){
		.kind = var ? "variable" : "fixed", .in = in, .peer = p->peer, .room = var ? AP_VAR_WORDS : AP_N_EVENTS,
		.written = var ? writer->var_wr[lane] : writer->wr[lane],
		.read = var ? reader->var_rd[lane] : reader->rd[lane], .swept = reader->swept[lane],
	};
	snprintf(ret->name, sizeof(ret->name), "pair %" PRIu32, p->pair_id);
	ret->waiting = both ? between(ret->written, ret->read, ret->room) : NOT_KNOWN;
	if (!both && in)
		ret->written = NOT_KNOWN;
	if (!both && !in)
		ret->read = ret->swept = NOT_KNOWN;
}

typedef void (*queue_fn)(void *to, const struct queue *q);

static void for_queues(const struct stacks *all, const struct stack_seen *s, queue_fn fn, void *to)
{
	uint32_t n = min_u32(peek32(&s->map.seg->n_ap), N_PAIRS);
	struct queue q;

	for (uint32_t i = 0; i < n; i++) {
		struct ap_slot p = s->map.seg->ap[i];

		for (uint32_t k = 0; k < 8 && p.pair_id; k++) {
			uint32_t lane = k >> 2;
			bool in = k & 2;

			if (!p.is_self && in == (lane == (p.side & 1)))
				continue;
			lane_queue(all, s, &p, lane, in, k & 1, &q);
			fn(to, &q);
		}
	}
	for (uint32_t i = 0; i < min_u32(s->info.n_vis, N_VIS); i++) {
		q = (struct queue){
			.kind = "device", .in = true, .written = NOT_KNOWN, .read = NOT_KNOWN, .waiting = NOT_KNOWN,
			.room = s->map.seg->n_posted[i], .swept = NOT_KNOWN,
		};
		snprintf(q.name, sizeof(q.name), "interface %" PRIu32, i);
		fn(to, &q);
	}
}

static uint64_t wait_count(const struct stack_map *map, unsigned what)
{
	uint64_t n = peek64(&map->seg->waits[what]);

	for (uint32_t i = 0; i < N_WAITERS; i++)
		n += peek64(&map->seg->waiters[i].n[what]);
	return n;
}

static struct waiters count_waiters(const struct stack_map *map)
{
	struct waiters n = { 0 };

	for (uint32_t i = 0; i < N_WAITERS; i++) {
		uint32_t state = peek32(&map->seg->waiters[i].state);

		n.awake += state == WAITER_AWAKE;
		n.asleep += state == WAITER_ASLEEP;
		n.rung += state == WAITER_RUNG;
		n.naps += state == WAITER_NAPS;
	}
	return n;
}

/* ---- text -------------------------------------------------------------------------------------------- */

static void number_cell(struct table *t, uint32_t v)
{
	if (v == NOT_KNOWN)
		table_cell(t, "-");
	else
		table_cell(t, "%" PRIu32, v);
}

static void queue_text(void *to, const struct queue *q)
{
	struct table *t = to;

	table_cell(t, "%s", q->name);
	table_cell(t, "%s", q->kind);
	table_cell(t, "%s", q->in ? "in" : "out");
	if (q->peer)
		table_cell(t, "%" PRIu32, q->peer);
	else
		table_cell(t, "-");
	number_cell(t, q->written);
	number_cell(t, q->read);
	number_cell(t, q->waiting);
	number_cell(t, q->room);
	number_cell(t, q->swept);
}

static void head_text(const struct stack_seen *s)
{
	uint64_t door = peek64(&s->map.seg->door);
	struct waiters n = count_waiters(&s->map);
	uint32_t armed = s->front ? peek32(&s->front->armed) : 0, why = peek32(&s->map.seg->condemned);

	printf("%sstack %u%s  %s (%u)  uid %u%s\n", colour_on(BOLD), s->info.stack_id, colour_off(BOLD), s->info.comm,
	       s->info.pid, s->info.uid, why ? "  condemned" : "");
	if (door & DOOR_HELD)
		printf("  in the stack now: thread %u%s\n", (uint32_t)(door >> DOOR_TID_SHIFT),
		       door & DOOR_CONTENDED ? ", and others wait to get in" : "");
	if (!s->front)
		puts("  peers: whether they are to ring is not known");
	else
		printf("  peers %s ring; armed %u times\n", armed ? "are to" : "need not", peek32(&s->front->n_arms));
	printf("  waiting threads: %u asleep, %u napping, %u rung, %u awake\n", n.asleep, n.naps, n.rung, n.awake);
}

/* `all`: those that are zero, and every event that the stack counts. */
static void counts_text(const struct stack_seen *s, bool all)
{
	struct table t;

	table_init(&t, 3, 1u << 1);
	for (unsigned i = 0; i < n_elems(waits); i++) {
		uint64_t n = wait_count(&s->map, i);

		if (!n && !all)
			continue;
		table_cell(&t, "  %s", waits[i].name);
		table_cell(&t, "%" PRIu64, n);
		table_cell(&t, "%s", waits[i].sentence);
	}
	for (unsigned i = 0; i < N_EVENTS; i++) {
		uint64_t n = peek64(&s->map.seg->counters[i]);
		bool waiting = i == EV_PRIMED || i == EV_PRIME_SKIPPED || i == EV_AP_RING || i == EV_SURROGATE_TURN ||
			       i == EV_TURN_SHUT;

		if (!n || !(all || waiting))
			continue;
		table_cell(&t, "  %s", event_name(i));
		table_cell(&t, "%" PRIu64, n);
		table_cell(&t, "%s", event_sentence(i));
	}
	if (t.n_rows)
		table_print(&t);
	table_free(&t);
}

static void stack_text(const struct stacks *all, const struct stack_seen *s, const struct look *w)
{
	static const char *const names[] = {
		"  QUEUE", "KIND", "DIR", "PEER", "WRITTEN", "READ", "WAITING", "ROOM", "SWEPT",
	};
	struct table t;

	head_text(s);
	table_init(&t, N_QUEUE_COLS, 0x1f8u);
	if (!w->no_heading)
		table_heading(&t, names);
	for_queues(all, s, queue_text, &t);
	for (unsigned r = w->no_heading ? 0 : 1; r < t.n_rows; r++) {
		char *old = t.rows[r][0];

		must(asprintf(&t.rows[r][0], "  %s", old) > 0);
		free(old);
	}
	if (t.n_rows > (w->no_heading ? 0 : 1))
		table_print(&t);
	table_free(&t);
	counts_text(s, w->all);
}

/* ---- JSON -------------------------------------------------------------------------------------------- */

static void add_number(struct json_object *o, const char *name, uint32_t v)
{
	json_object_object_add(o, name, v == NOT_KNOWN ? NULL : json_object_new_int64(v));
}

static void queue_json(void *to, const struct queue *q)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "queue", json_object_new_string(q->name));
	json_object_object_add(o, "kind", json_object_new_string(q->kind));
	json_object_object_add(o, "direction", json_object_new_string(q->in ? "in" : "out"));
	add_number(o, "peer_stack", q->peer ? q->peer : NOT_KNOWN);
	add_number(o, "written", q->written);
	add_number(o, "read", q->read);
	add_number(o, "waiting", q->waiting);
	add_number(o, "room", q->room);
	add_number(o, "swept", q->swept);
	json_object_array_add(to, o);
}

static struct json_object *waiters_json(const struct stack_map *map)
{
	struct json_object *o = json_object_new_object();
	struct waiters n = count_waiters(map);

	json_object_object_add(o, "asleep", json_object_new_int64(n.asleep));
	json_object_object_add(o, "napping", json_object_new_int64(n.naps));
	json_object_object_add(o, "rung", json_object_new_int64(n.rung));
	json_object_object_add(o, "awake", json_object_new_int64(n.awake));
	return o;
}

static struct json_object *stack_json(const struct stacks *all, const struct stack_seen *s)
{
	struct json_object *o = json_object_new_object(), *queues = json_object_new_array();
	struct json_object *counts = json_object_new_object(), *events = json_object_new_object();
	uint64_t door = peek64(&s->map.seg->door);

	json_object_object_add(o, "stack", json_object_new_int64(s->info.stack_id));
	json_object_object_add(o, "pid", json_object_new_int64(s->info.pid));
	json_object_object_add(o, "comm", json_object_new_string(s->info.comm));
	json_object_object_add(o, "uid", json_object_new_int64(s->info.uid));
	json_object_object_add(o, "condemned", json_object_new_boolean(peek32(&s->map.seg->condemned)));
	json_object_object_add(o, "held_by",
			       door & DOOR_HELD ? json_object_new_int64((int64_t)(door >> DOOR_TID_SHIFT)) : NULL);
	json_object_object_add(o, "contended", json_object_new_boolean(door & DOOR_CONTENDED));
	json_object_object_add(o, "turns", json_object_new_int64(peek32(&s->map.seg->n_turns)));
	json_object_object_add(o, "armed", s->front ? json_object_new_boolean(peek32(&s->front->armed)) : NULL);
	json_object_object_add(o, "arms", s->front ? json_object_new_int64(peek32(&s->front->n_arms)) : NULL);
	json_object_object_add(o, "waiters", waiters_json(&s->map));
	for_queues(all, s, queue_json, queues);
	json_object_object_add(o, "queues", queues);
	for (unsigned i = 0; i < n_elems(waits); i++)
		json_object_object_add(counts, waits[i].name, json_object_new_uint64(wait_count(&s->map, i)));
	json_object_object_add(o, "waits", counts);
	for (unsigned i = 0; i < N_EVENTS; i++) {
		uint64_t n = peek64(&s->map.seg->counters[i]);

		if (n)
			json_object_object_add(events, event_name(i), json_object_new_uint64(n));
	}
	json_object_object_add(o, "events", events);
	return o;
}

/* ---- the trace --------------------------------------------------------------------------------------- */

static const char *executor_name(unsigned who)
{
	static const char *const text[] = {
		[EXEC_NONE] = "-", [EXEC_APP] = "program", [EXEC_SURROGATE] = "surrogate", [EXEC_SIM] = "simulator",
		[EXEC_ADAPTER] = "adapter",
	};

	return who < n_elems(text) ? text[who] : "?";
}

static void trace_row(const struct stack_seen *s, const struct trace_rec *r, uint64_t now, struct table *t,
		      struct json_object *json)
{
	struct json_object *o;

	if (!json) {
		table_cell(t, "%u", s->info.stack_id);
		table_cell(t, "%.6f", r->at < now ? (double)(now - r->at) / 1e9 : 0);
		table_cell(t, "%s", executor_name(r->who));
		table_cell(t, "%s", event_name(r->event));
		table_cell(t, "%" PRIu32, r->h & SK_SLOT_MASK);
		table_cell(t, "%" PRIu32, r->arg[0]);
		table_cell(t, "%" PRIu32, r->arg[1]);
		table_cell(t, "%s", event_sentence(r->event));
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "stack", json_object_new_int64(s->info.stack_id));
	json_object_object_add(o, "at_ns", json_object_new_uint64(r->at));
	json_object_object_add(o, "who", json_object_new_string(executor_name(r->who)));
	json_object_object_add(o, "event", json_object_new_string(event_name(r->event)));
	json_object_object_add(o, "socket", json_object_new_int64(r->h & SK_SLOT_MASK));
	json_object_object_add(o, "a", json_object_new_int64(r->arg[0]));
	json_object_object_add(o, "b", json_object_new_int64(r->arg[1]));
	json_object_array_add(json, o);
}

static int show_trace(const struct stacks *all, const struct look *w)
{
	static const char *const names[] = { "STACK", "AGO S", "WHO", "EVENT", "SOCKET", "A", "B", "WHAT IT MEANS" };
	struct json_object *json = w->json ? json_object_new_array() : NULL;
	struct timespec ts;
	struct table t;
	int rc = EXIT_SUCCESS;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	table_init(&t, n_elems(names), 3u | 7u << 4);
	if (!w->no_heading)
		table_heading(&t, names);
	for (unsigned i = 0; i < all->n; i++) {
		const struct stack_map *map = &all->of[i]->map;
		uint32_t end = peek32(&map->seg->trace_next);
		uint32_t n = min_u32(min_u32((uint32_t)w->trace, end), map->trace_mask + 1);

		for (uint32_t k = end - n; k != end && !all->of[i]->hidden; k++) {
			struct trace_rec r = map->trace[k & map->trace_mask];

			trace_row(all->of[i], &r, (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec, &t, json);
		}
	}
	if (json)
		rc = json_out(json);
	else
		table_print(&t);
	table_free(&t);
	return rc;
}

/* ---- the command ------------------------------------------------------------------------------------- */

static int show(const struct stacks *all, const struct look *w)
{
	struct json_object *json = w->json ? json_object_new_array() : NULL;
	bool any = false;

	for (unsigned i = 0; i < all->n; i++) {
		if (all->of[i]->hidden)
			continue;
		if (json) {
			json_object_array_add(json, stack_json(all, all->of[i]));
			continue;
		}
		if (any)
			putchar('\n');
		stack_text(all, all->of[i], w);
		any = true;
	}
	if (json)
		return json_out(json);
	if (!any)
		puts("no program that you may look into has a stack now");
	return EXIT_SUCCESS;
}

static int run(const struct cmd *c, int argc, char **argv)
{
	struct stacks all;
	struct look w;
	int rc;

	if (look_parse(c, argc, argv, "aHT", NULL, &w, &rc))
		return rc;
	rc = stacks_load(c, &all);
	if (rc == 0 && w.pid)
		rc = stacks_of_pid(c, &all, w.pid);
	if (rc == 0)
		rc = w.trace ? show_trace(&all, &w) : show(&all, &w);
	stacks_free(&all);
	return rc;
}

const struct cmd cmd_evq = {
	.name = "evq",
	.args = "[-a] [-H] [--trace[=N]] [--json] [PID]",
	.summary = "Shows event queues, who waits, and what waiting has come to.",
	.help =
	"  PID               that process's stack only\n"
	"  -a, --all         counters that are 0, too, and all events that a stack counts\n"
	"      --trace[=N]   instead: the last N events of each stack (100), the oldest first\n"
	"  -H, --no-header   no headings\n"
	"      --json        for programs\n"
	"  -h, --help\n\n"
	"KIND     fixed: events of 16 bytes; variable: words of datagrams; device: frames of an interface\n"
	"WRITTEN  events or words ever written, READ ever read, both modulo 2^32; WAITING between them.\n"
	"         - if it is known to a stack that is not yours to see\n"
	"ROOM     of the queue; of an interface, frames that wait to be filled\n"
	"SWEPT    times the queue was full, so that all connections were looked at instead\n"
	"A thread that never sleeps tells of its waits in lots of up to 256.\n"
	"Stacks of other users are shown to root only.\n",
	.run = run,
};
