/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures and sleep, in every interleaving: a peer writes bytes for two sockets of a stack whose
 * two threads wait for one each. The code is core/ap/lane.c, core/ap/stream.c, core/stack/irq.c
 * and core/stack/waiter.c itself; the turn is the weakest lock there is (a store gives it back)
 * with turn.c's errands; the sleep is sock/wait.c's, step by step; pipe and bells are the kernel's,
 * of which a byte wakes one sleeper (EPOLLEXCLUSIVE), whichever it likes.
 *
 * Shown: I8 to I15 of docs/internals/waiting.md.
 */
#include "test/model/prove.h"

#include <stdlib.h>
#include <string.h>

#include "core/ap/lane.c"
#include "core/ap/pool.c"
#include "core/ap/stream.c"
#include "core/stack/irq.c"
#include "core/stack/waiter.c"

enum {
	OK, LOOKS_FIRST, NO_LAST_LOOK, NO_LANE_LOOK, ARMS_LAST, NO_ARM, DRAINS_LATE, NO_HANDOVER, WAKES_LATE,
	NO_ERRAND, NO_POLL_AFTER, NO_WISH, RINGS_FOREVER, NO_WATCHDOG, FORGETS_RING,
	ISR_STAYS_ARMED, ISR_ASKS_LESS, ISR_STAYS_OFF,
};
static int bug;

#define N_THREADS 2
#define THREADS	  3u	/* actors, a bit each */
#define PEER	  4u

/* What happens in this model besides. */
enum sees {
	LINE,		/* recv(): a sleeper's last look is at its connection's line too */
	READY,		/* epoll: at readiness only */
	EVENTS,		/* a listener, datagrams: there is no line, each arrival is an event */
};

static struct {
	enum sees sees;
	bool leaves;		/* a thread that read its byte may go and compute for ever */
	bool s0c;		/* irq_sleep(); else every sleeper arms */
	bool edges;		/* EPOLLET: the byte is not read, and each epoll has its edge */
	bool stops;		/* a thread that is woken may be stopped before it gets up */
	bool dies;		/* the peer's thread may die between its turn and the ring */
	uint32_t asleep;	/* who sleeps to begin with, a bit each */
	uint32_t left;		/* ... and who waited before, and is not there any more */
	uint32_t bytes;
} with;

static struct segment seg, peer_seg;
static struct ap_front front;
static struct ap_pair pair;
static uint8_t socks[(N_THREADS + 1) * SK_BYTES] __attribute__((aligned(64)));
static struct stack_map map = {
	.seg = &seg, .front = &front, .socks = socks, .sk_mask = 3, .n_pairs = 1,
	.ap[0] = { .pair = &pair, .pair_id = 7 },
};
static struct stack_map peer_map = {
	.seg = &peer_seg, .n_pairs = 1,
	.ap[0] = { .pair = &pair, .pair_id = 7, .front = &front },
};
static struct ap_table table, peer_table;

/* Of the model: the kernel's, and what is known in a turn only. */
static struct {
	uint32_t pipe, bell[N_THREADS];	/* bytes there */
	uint32_t blocked, woken, edges;	/* bit per thread */
	uint32_t holder;		/* of the turn: who, + 1 */
	uint32_t gone, last_ring, stopped, pad;
	uint32_t number[MC_ACTORS];	/* of an arming that this actor is about to make */
} w;
static struct ap out[N_THREADS];	/* the peer's side of each connection */

static struct sk *sk_of(int i) { return (struct sk *)(void *)(socks + (size_t)(i + 1) * SK_BYTES); }
static uint32_t chan_of(int i) { return 2 * (uint32_t)(i + 1); }

/* ---- what lane.c and stream.c want of the rest of the stack --------------------------------------- */

void ev(struct turn *t, enum event e, uint32_t h, uint32_t a, uint32_t b)
{
	(void)t; (void)e; (void)h; (void)a; (void)b;
}

void never(struct turn *t, enum why why) { (void)t; (void)why; mc_fail("what cannot be"); }

struct sk *sk_find(const struct turn *t, sk_h h) { (void)t; return sk_of((int)h.v - 1); }

void sk_ready(struct turn *t, struct sk *sk, uint32_t set, uint32_t clear)
{
	poke32(&sk->ready, (peek32(&sk->ready) & ~clear) | set);
	if (set)
		t->wakes |= sk->wait_mask;
}

void conn_sync(struct turn *t, struct sk *sk, uint32_t edges)
{
	uint32_t ready = peek32(&sk->ready) & EPOLLIN;

	(void)edges;
	if (!sk->rxq_bytes != !ready)
		sk_ready(t, sk, ready ? 0 : EPOLLIN, ready);
}

void conn_look(struct turn *t, struct sk *sk, bool from_event)
{
	struct ap *a = ap_of(sk);
	struct lines l;

	if (from_event)
		a->flags &= ~(AP_F_WISHED | AP_F_ROOM);
	if (lines_of(t->map, a, &l) && stream_heard(t, sk, &l))
		conn_sync(t, sk, 0);
}

void conn_reset(struct turn *t, struct sk *sk) { (void)t; (void)sk; mc_fail("a lie was seen where nobody lies"); }
#define UNUSED5(a, b, c, d, e) ((void)(a), (void)(b), (void)(c), (void)(d), (void)(e))
void conn_take(struct turn *t, uint32_t slot, uint32_t side, uint32_t c, uint32_t n) { UNUSED5(t, slot, side, c, n); }
void chan_settle(struct turn *t, uint32_t slot, uint32_t side, uint32_t c) { UNUSED5(t, slot, side, c, 0); }
void dgram_poll(struct turn *t, uint32_t slot, uint32_t lane) { (void)t; (void)slot; (void)lane; }
void tmr_arm(struct turn *t, struct sk *sk, uint64_t at) { (void)t; (void)sk; (void)at; }

/* ---- the turn ------------------------------------------------------------------------------------------ */

static bool door_is_open(int me) { (void)me; return !(seg.door & DOOR_HELD); }

static void begin_turn(int me, struct turn *t)
{
	seg.door = DOOR_HELD;
	w.holder = (uint32_t)me + 1;
	memset(t, 0, sizeof(*t));
	t->map = &map;
	t->budget = TURN_BUDGET;
}

static void enter(int me, struct turn *t)
{
	mc_wait(door_is_open, me);
	begin_turn(me, t);
}

/* test/model/door.c has the real one. */
static bool try_turn(int me, struct turn *t, uint64_t errand)
{
	mc_kernel();
	if (seg.door & DOOR_HELD) {
		seg.door |= errand;
		return false;
	}
	begin_turn(me, t);
	return true;
}

bool turn_leave_word(const struct stack_map *m, uint64_t errand)
{
	mc_kernel();
	if (!(m->seg->door & DOOR_HELD))
		return false;
	m->seg->door |= errand;
	return true;
}

static void poll_lanes(struct turn *t)
{
	if (ap_pending(t->map))
		(void)ap_poll(t);
}

static void ring_bells(uint32_t wakes)
{
	for (int i = 0; i < N_THREADS; i++)
		if (wakes & 1u << i && waiter_ring(&map, i)) {
			mc_kernel();
			w.bell[i] = 1;
			if (w.blocked & 1u << i) {
				w.blocked &= ~(1u << i);
				w.woken |= 1u << i;
			}
		}
}

/* exec/app.c's release(): no errand is left on an open door. */
static void leave(int me, struct turn *t)
{
	for (;;) {
		uint64_t door;

		mc_kernel();		/* turn_end(): one read-modify-write */
		door = seg.door;
		seg.door = door & DOOR_ERRANDS ? door & ~DOOR_ERRANDS : 0;
		if (!(door & DOOR_ERRANDS))
			break;
		if (door & DOOR_ERRAND_RX)
			poll_lanes(t);
		if (door & DOOR_ERRAND_ARM && bug != NO_ERRAND && irq_errand(t) == IRQ_ARM &&
		    bug != NO_POLL_AFTER)
			poll_lanes(t);
		w.number[me] = 0;
	}
	w.holder = 0;
	ring_bells(t->wakes);
}

/* ---- the kernel's side of a sleep ------------------------------------------------------------------------ */

static bool is_woken(int me) { return w.woken & 1u << me; }

/* Edges: each thread's epoll has one of its own. They are told in some order, up to the first whose
 * thread is blocked; nobody reads the byte. */
static void ring_edges(void)
{
	uint32_t who = w.blocked == 3 ? 1u << mc_choose(2) : w.blocked;

	if (!who || (w.blocked != 3 && mc_choose(2)))
		w.edges |= THREADS & ~w.blocked;
	w.edges |= who;
	w.blocked &= ~who;
	w.woken |= who;
}

static void ring_pipe(void)
{
	uint32_t who;

	mc_kernel();
	if (with.edges) {
		ring_edges();
		return;
	}
	if (!w.pipe && w.blocked) {
		who = w.blocked == 3 ? 1u << mc_choose(2) : w.blocked;
		w.blocked &= ~who;
		w.woken |= who;
	}
	w.pipe = 1;
}

/* Until the pipe or our bell is readable. True: the pipe. */
static bool block(int me)
{
	for (;;) {
		bool piped;

		mc_kernel();
		piped = with.edges ? w.edges & 1u << me : w.pipe;
		w.edges &= ~(1u << me);
		if (piped || w.bell[me])
			return piped;
		w.blocked |= 1u << me;
		mc_wait(is_woken, me);
		w.woken &= ~(1u << me);
	}
}

/* ---- a thread that waits for bytes of its socket ----------------------------------------------------------- */

static bool shows(const struct sk *sk, const struct lines *l)
{
	if (peek32(&sk->ready) & EPOLLIN)
		return true;
	if (with.sees != LINE)
		return false;
	return acquire32(&l->in->tx.wr) != peek32(&ap_of_const(sk)->rd);
}

static uint32_t fresh_number(int me)
{
	for (uint32_t n = 1;; n++) {
		bool used = n == front.armed || n == peer_seg.ap[0].rung || n == w.last_ring;

		for (int i = 0; i < MC_ACTORS; i++)
			used |= n == w.number[i];
		if (!used)
			return w.number[me] = n;
	}
}

static void settle(int me)
{
	if (bug == NO_ARM)
		return;
	if (with.s0c)
		(void)irq_sleep(&map);
	else
		irq_arm(&map);
	w.number[me] = 0;
}

static bool never_again(int me) { (void)me; return false; }
static void get_up(int me, bool rung, bool piped)
{
	if (waiter_wake(&map, me) | rung) {
		mc_kernel();
		w.bell[me] = 0;
	}
	if (piped && !with.edges && bug != DRAINS_LATE) {
		mc_kernel();
		w.pipe = 0;
	}
	if (bug == NO_HANDOVER)
		irq_disarm(&map);
	else if (bug != WAKES_LATE)
		irq_wake(&map, me);
	w.number[me] = 0;
}

static void lie_there(int me)
{
	bool rung, piped;

	piped = block(me);
	rung = w.bell[me];
	if (with.stops && mc_choose(2)) {
		w.stopped |= 1u << me;
		mc_wait(never_again, me);
	}
	get_up(me, rung, piped);
}

static void sleep_once(int me, const struct lines *l)
{
	struct sk *sk = sk_of(me);
	bool found = false;

	if (bug == LOOKS_FIRST)
		found = shows(sk, l) || ap_pending(&map);
	waiter_sleep(&map, me);
	if (bug != ARMS_LAST)
		settle(me);
	if (bug == NO_LANE_LOOK)
		found = shows(sk, l);
	else if (bug != NO_LAST_LOOK && bug != LOOKS_FIRST)
		found = shows(sk, l) || ap_pending(&map);
	if (bug == ARMS_LAST)
		settle(me);
	if (found)
		get_up(me, false, false);
	else
		lie_there(me);
}

/* One turn: looks, reads what is there, or says that it waits. True: it got its bytes. */
static bool look(int me, const struct lines *l)
{
	struct sk *sk = sk_of(me);
	struct ap *a = ap_of(sk);
	bool got = false;
	struct turn t;

	enter(me, &t);
	poll_lanes(&t);
	sk->wait_mask &= ~(1u << me);
	if (with.sees != EVENTS)
		conn_look(&t, sk, false);
	if (sk->rxq_bytes) {
		poke32(&a->rd, a->rd + sk->rxq_bytes);
		sk->rxq_bytes = 0;
		conn_sync(&t, sk, 0);
		got = true;
	} else {
		sk->wait_mask |= 1u << me;
		if (bug != NO_WISH && with.sees != EVENTS)
			stream_wish(&t, sk, l);
	}
	leave(me, &t);
	return got;
}

/* What some do too late. */
static void late(int me)
{
	if (bug == WAKES_LATE) {
		irq_wake(&map, me);
		w.number[me] = 0;
	}
	if (bug == DRAINS_LATE) {
		mc_kernel();
		w.pipe = 0;
	}
}

static void thread(int me)
{
	bool sleeps = with.asleep & 1u << me;
	struct lines l;

	must(lines_of(&map, ap_of(sk_of(me)), &l));
	if (with.left & 1u << me)
		return;
	for (;;) {
		if (sleeps)
			lie_there(me);
		sleeps = false;
		if (look(me, &l)) {
			if (with.leaves && mc_choose(2)) {
				w.gone |= 1u << me;
				return;
			}
			continue;
		}
		if (bug == WAKES_LATE || bug == DRAINS_LATE)
			late(me);
		sleep_once(me, &l);
	}
}

/* ---- the peer -------------------------------------------------------------------------------------------------- */

static void pay(struct turn *t)
{
	if (!t->ap_rings)
		return;
	t->ap_rings = 0;
	if (peer_seg.ap[0].rung == w.last_ring)
		mc_fail("rung twice for one arming (V2)");
	w.last_ring = peer_seg.ap[0].rung;
	ring_pipe();
}

/* Its surrogate, for one who died before it rang: says that the connection is over, and rings
 * whatever was rung for before (net_proc_died()). */
static void heir(struct turn *t, const struct ap *a)
{
	t->ap_rings = bug != FORGETS_RING;
	w.last_ring = 0;
	lane_look(t, a);
	pay(t);
}

static void peer(int me)
{
	(void)me;
	for (uint32_t n = 0; n < with.bytes; n++) {
		struct turn t = { .map = &peer_map };
		struct ap *a = &out[n & 1];
		struct lines l;

		must(lines_of(&peer_map, a, &l));
		a->wr++;
		if (with.sees == EVENTS) {
			release32(&l.out->tx.wr, a->wr);
			lane_look(&t, a);
		} else {
			say_written(&t, a, &l);
		}
		if (bug == RINGS_FOREVER)
			peer_seg.ap[0].rung = 0;
		if (with.dies && t.ap_rings && mc_choose(2)) {
			heir(&t, a);
			return;
		}
		pay(&t);
	}
}

/* ---- the surrogate ------------------------------------------------------------------------------- */

static bool lies_there(int me)
{
	(void)me;
	return pair.lane[0].wr != seg.ap[0].rd[0];
}

/* A turn for a reason of its own; a thread's that goes and computes, too. At its end it decides for
 * those who found the door shut. */
static void surrogate(int me)
{
	struct turn t;

	enter(me, &t);
	poll_lanes(&t);
	leave(me, &t);
}

static bool pipe_is_full(int me) { (void)me; return w.pipe; }

/* The surrogate asleep on the pipe, beside the threads: S0c-ISR-01 as exec/surrogate.c does it. */
static void isr(int me)
{
	struct turn t;

	for (;;) {
		mc_wait(pipe_is_full, me);
		w.pipe = 0;
		if (bug != ISR_STAYS_ARMED)
			irq_disarm(&map);					/* (1) */
		if (!try_turn(me, &t, DOOR_ERRAND_RX | (bug == ISR_ASKS_LESS ? 0 : DOOR_ERRAND_ARM)))
			continue;						/* (2), (3) */
		poll_lanes(&t);							/* (4) */
		if (bug != ISR_STAYS_OFF && irq_errand(&t) == IRQ_ARM)		/* (6) */
			poll_lanes(&t);
		w.number[me] = 0;
		leave(me, &t);							/* (5) */
	}
}

/* Comes whenever events lie and nobody took them. */
static void watchdog(int me)
{
	while (bug != NO_WATCHDOG) {
		mc_wait(lies_there, me);
		surrogate(me);
	}
}

/* ---- shown -------------------------------------------------------------------------------------- */

static int holder(void) { return (int)w.holder - 1; }

static void reset(void)
{
	memset(&w, 0, sizeof(w));
	memset(socks, 0, sizeof(socks));
	memset(&pair.lane[0].ev[0], 0, 8 * sizeof(struct ap_event));
	seg.door = 0;
	front.armed = 0;
	pair.lane[0].wr = pair.lane[0].rd = 0;
	seg.ap[0] = (struct ap_slot){ .pair_id = 7, .side = 1 };
	peer_seg.ap[0] = (struct ap_slot){ .pair_id = 7, .side = 0 };
	for (int i = 0; i < N_THREADS; i++) {
		struct ap_chan *c = &pair.chan[chan_of(i)];

		memset(c, 0, sizeof(*c));
		c->dir[0].tx.nonce = c->dir[1].tx.nonce = 1;
		*ap_of(sk_of(i)) = (struct ap){ .chan = chan_of(i), .nonce = 1, .side = 1 };
		sk_of(i)->kind = SK_AP;
		out[i] = (struct ap){ .chan = chan_of(i), .nonce = 1, .side = 0 };
		table.chan[1][chan_of(i)] = (struct ap_chan_own){ .sk = (uint32_t)i + 1, .nonce = 1 };
		seg.waiters[i].state = WAITER_AWAKE;
	}
}

/* A thread that has waited when an exploration begins, as it got there: see look(). */
static void has_waited(int me)
{
	ap_of(sk_of(me))->flags = AP_F_WISHED;
	ap_of(sk_of(me))->wish_asked = pair.chan[chan_of(me)].dir[0].wish.want_data = 1;
	if (with.left & 1u << me) {
		w.gone |= 1u << me;
		return;
	}
	sk_of(me)->wait_mask = 1u << me;
	seg.waiters[me].state = WAITER_ASLEEP;
	front.armed = 1;
}

static void begin(void)
{
	reset();
	for (int i = 0; i < N_THREADS; i++)
		if ((with.asleep | with.left) & 1u << i)
			has_waited(i);
}

static const char *final(void)
{
	for (int i = 0; i < N_THREADS; i++)
		if (!((w.gone | w.stopped) & 1u << i) && ap_of(sk_of(i))->rd != out[i].wr)
			return "a byte is unread, and nobody is awake";
	return NULL;
}

#define MODEL(what, ...) { \
	.name = what, .reset = begin, .final = final, .actor = { thread, thread, peer, __VA_ARGS__ }, \
	.actor_name = { "thread0", "thread1", "peer", "surrogate", "visitor" } }

static const struct mc_model plain = MODEL("apertures"), guarded = MODEL("apertures, surrogate", surrogate),
			     watched = MODEL("apertures, watchdog", watchdog),
			     served = MODEL("apertures, interrupts", isr),
			     visited = MODEL("apertures, interrupts and a visitor", isr, surrogate);

static void set(uint32_t bytes, uint32_t asleep, bool leaves, bool s0c)
{
	memset(&with, 0, sizeof(with));
	with.bytes = bytes;
	with.asleep = asleep;
	with.leaves = leaves;
	with.s0c = s0c;
}

static void sees(enum sees what, uint32_t bytes, uint32_t asleep)
{
	set(bytes, asleep, true, true);
	with.sees = what;
	prove(&plain, false);
}

static void test_sees(void **state)
{
	(void)state;
	sees(LINE, 2, 3);
	sees(READY, 1, 0);
	sees(EVENTS, 1, 0);
}

static void test_threads(void **state)
{
	(void)state;
	for (int i = 0; i < 4; i++) {
		set(1, 0, i & 1, i & 2);
		prove(&plain, false);
	}
}

static void test_surrogate(void **state)
{
	(void)state;
	set(1, 1, true, true);
	prove(&guarded, false);
	set(1, 3, true, true);
	prove(&guarded, false);
}

static void test_isr(void **state)
{
	(void)state;
	set(1, 1, true, true);
	prove(&served, false);
	set(1, 3, true, true);
	prove(&served, false);
	set(2, 2, false, true);
	with.left = 1;
	prove(&served, false);
	prove(&visited, false);
}

/* An edge instead of a byte that is there until it is read. */
static void test_edges(void **state)
{
	(void)state;
	set(1, 0, true, true);
	with.edges = true;
	prove(&plain, false);
}

/* The one thing that leans on the watchdog: a thread that was woken and is stopped, or never gets
 * the processor, before it has looked round (S0c-IRQ-03, rule 3). */
static void test_watchdog(void **state)
{
	struct mc_machine on = { .in = "" };
	struct mc_result r;

	(void)state;
	set(1, 3, true, true);
	with.stops = true;
	prove(&watched, false);
	r = mc_explore(&plain, &on);
	assert_non_null(r.broken);
	print_message("  without the watchdog: %s\n", r.broken);
}

/* A peer that died between its turn and the ring: what it owed is owed again. */
static void test_death(void **state)
{
	(void)state;
	set(1, 3, false, true);
	with.dies = true;
	prove(&plain, false);
}

/* Everything, with nobody asleep at first: minutes, so only when asked for (make nightly). */
static void test_deep(void **state)
{
	(void)state;
	if (!getenv("MODEL_DEEP"))
		skip();
	for (int i = 0; i < 4; i++) {
		set(2, 0, i & 1, i & 2);
		prove(&plain, false);
	}
	sees(READY, 2, 3);
	sees(EVENTS, 2, 3);
	set(2, 3, true, true);
	with.edges = true;
	prove(&plain, false);
	set(1, 0, true, true);
	prove(&guarded, false);
	set(1, 0, true, true);
	with.stops = true;
	prove(&watched, false);
}

/* ---- and the mutants ------------------------------------------------------------------------------- */

static const struct row {
	struct mutant m;
	uint32_t bytes, asleep;
	bool leaves, s0c, dies;
	enum sees sees;
} rows[] = {
	{ { .what = "the last look is before ASLEEP and arming", .bug = LOOKS_FIRST },
	  1, 0, false, false, false, LINE },
	{ { .what = "no last look", .bug = NO_LAST_LOOK }, 1, 0, false, false, false, LINE },
	{ { .what = "the last look leaves out the lanes", .bug = NO_LANE_LOOK }, 1, 0, false, false, false, EVENTS },
	{ { .what = "armed after the last look", .bug = ARMS_LAST }, 1, 0, false, false, false, LINE },
	{ { .what = "nobody arms", .bug = NO_ARM }, 1, 0, false, false, false, LINE },
	{ { .what = "the pipe is drained after the look", .bug = DRAINS_LATE }, 2, 3, true, false, false, LINE },
	{ { .what = "who wakes and leaves does not arm for others", .bug = NO_HANDOVER },
	  2, 3, true, false, false, LINE },
	{ { .what = "disarmed after the look", .bug = WAKES_LATE }, 2, 3, true, false, false, LINE },
	{ { .what = "the holder does not decide for who met it", .bug = NO_ERRAND }, 2, 1, true, true, false, LINE },
	{ { .what = "the holder arms and does not look again", .bug = NO_POLL_AFTER },
	  2, 1, true, true, false, LINE },
	{ { .what = "no wish for data", .bug = NO_WISH }, 1, 0, false, false, false, LINE },
	{ { .what = "rung more than once for an arming", .bug = RINGS_FOREVER }, 2, 3, false, false, false, LINE },
	{ { .what = "a dead peer's debt is forgotten", .bug = FORGETS_RING }, 1, 3, false, true, true, LINE },
	{ { .what = "no fence between wr and the wish", .op = MC_UNFENCED, .in = "cross_publish" },
	  1, 0, false, false, false, LINE },
	{ { .what = "no fence between the event and armed", .op = MC_UNFENCED, .at = &pair.lane[0].wr },
	  1, 0, false, false, false, EVENTS },
	{ { .what = "no fence between the wish and wr", .op = MC_UNFENCED,
	    .at = &pair.chan[2].dir[0].wish.want_data },
	  1, 0, false, false, false, READY },
	{ { .what = "armed waits in the store buffer", .op = MC_SPLIT, .in = "irq_arm" },
	  1, 0, false, false, false, LINE },
	{ { .what = "disarming waits in the store buffer", .op = MC_SPLIT, .in = "irq_disarm" },
	  2, 3, true, false, false, LINE },
	{ { .what = "ASLEEP waits in the store buffer", .op = MC_SPLIT, .in = "waiter_sleep" },
	  2, 0, true, true, false, LINE },
};

static const struct mutant isr_mutants[] = {
	{ .what = "the arming that was rung for stays", .bug = ISR_STAYS_ARMED },
	{ .what = "who meets a shut door does not ask for a decision", .bug = ISR_ASKS_LESS },
	{ .what = "interrupts stay off though nobody was woken", .bug = ISR_STAYS_OFF },
};

static void test_mutants(void **state)
{
	(void)state;
	for (size_t i = 0; i < n_elems(rows); i++) {
		set(rows[i].bytes, rows[i].asleep, rows[i].leaves, rows[i].s0c);
		with.dies = rows[i].dies;
		with.sees = rows[i].sees;
		prove_mutants(&plain, &rows[i].m, 1, &bug);
	}
	set(2, 2, false, true);
	with.left = 1;
	prove_mutants(&visited, isr_mutants, n_elems(isr_mutants), &bug);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_threads),
		cmocka_unit_test(test_sees),
		cmocka_unit_test(test_surrogate),
		cmocka_unit_test(test_isr),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_watchdog),
		cmocka_unit_test(test_death),
		cmocka_unit_test(test_mutants),
		cmocka_unit_test(test_deep),
	};

	map.ap_tables = &table;
	peer_map.ap_tables = &peer_table;
	seg.n_ap = peer_seg.n_ap = 1;
	/* The line of "must anybody come?": constants here, and hints. */
	mc_ignore(&seg.deadline, offsetof(struct segment, free_sk) - offsetof(struct segment, deadline));
	mc_ignore(&peer_seg.deadline, offsetof(struct segment, free_sk) - offsetof(struct segment, deadline));
	mc_ignore(&seg.ap[0].pair_id, 4);
	mc_ignore(&peer_seg.ap[0].pair_id, 4);
	mc_ignore(&seg.ap[0].swept[0], 8);
	mc_ignore(&pair.lane[0].swept, 4);
	mc_ignore(&pair.lane[0].rd, 4);
	mc_guarded(&seg.ap[0].rd[0], 4, holder);
	mc_written_by(&pair.lane[0].wr, 4, PEER);
	mc_ignore(&seg.waiters[N_THREADS], (N_WAITERS - N_THREADS) * sizeof(struct waiter));
	mc_region("w", &w, sizeof(w));
	mc_region("door", &seg.door, 8);
	mc_region("slot", &seg.ap[0], (sizeof(seg.ap[0]) + 7) & ~7u);
	mc_region("peer slot", &peer_seg.ap[0], (sizeof(seg.ap[0]) + 7) & ~7u);
	mc_region("armed", &front.armed, 8);
	mc_fresh(&front.n_arms, fresh_number);
	mc_region("lane.wr", &pair.lane[0].wr, 8);
	mc_region("events", &pair.lane[0].ev[0], 8 * sizeof(struct ap_event));
	for (int i = 0; i < N_THREADS; i++) {
		struct ap_chan *c = &pair.chan[chan_of(i)];

		mc_region("tx", &c->dir[0].tx, 8);
		mc_region("wish", &c->dir[0].wish, 8);
		mc_ignore(&c->dir[1].rx.rd, 4);
		mc_region("ready", &sk_of(i)->ready, 16);
		mc_region("rxq", &sk_of(i)->rxq_bytes, 8);
		mc_region("ap.flags", &ap_of(sk_of(i))->flags, 8);
		mc_region("ap.rd", &ap_of(sk_of(i))->rd, 8);
		mc_region("ap.wish", &ap_of(sk_of(i))->wish_asked, 8);
		mc_region("out.wr", &out[i].wr, 8);
		mc_region("out.wish", &out[i].n_rings, 8);
		mc_guarded(&sk_of(i)->ready, 4, holder);
		mc_written_by(&c->dir[0].tx, 8, PEER);
		mc_written_by(&c->dir[0].wish, 8, THREADS);
		mc_private(&ap_of(sk_of(i))->rd, 4);
		mc_region("waiter", &seg.waiters[i], 8);
	}
	return cmocka_run_group_tests_name("model: aperture", tests, NULL, NULL);
}
