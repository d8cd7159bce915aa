/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The application's executor: how a call gets its turn, and what is paid after it.
 *
 *   exec_begin   try -> spin 20 us -> mark the door, sleep on it (<= 10 ms), look again
 *   ...          the core, as the caller wishes
 *   exec_end     errands until there are none -> release -> door's sleeper, kicks, bells, pipes
 *		  of peers, asks
 *
 * Invariants
 *  X1  Whoever releases a contended door wakes all who sleep on it; who must sleep again
 *      marks the door again first (turn.c D3). The time limit of the sleep is for the case
 *      that the releaser dies between the two.
 *  X2  A kick is owed by the segment, not by a thread: vif_post() sets seg->kicks_owed under
 *      the turn, and whoever takes bits off it (atomically, no turn needed) must kick.
 *      Killed in between, or deferred and never paid: the surrogate sees frames that stay
 *      on the tx ring and kicks.
 *  X3  What is paid after the release was copied out of the segment before it. Pipes of peers
 *      are descriptors of this process, each of which stays its slot's for good (pairs.c).
 *
 * Death. A holder that died inside its turn is the surrogate's business. Only when a second
 * has passed and the door still bears the same dead thread do we bury it ourselves: then
 * there is no surrogate, and waiting longer would be for ever.
 */
#include "exec/exec.h"

#include <errno.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "core/ap/ap.h"
#include "core/net/net.h"
#include "core/stack/stack.h"
#include "core/vif/vif.h"
#include "exec/bury.h"
#include "exec/ctl.h"
#include "exec/parts.h"
#include "host/sys.h"

#define SPIN_NS		(20 * NS_PER_US)	/* twice a long turn: a burst of 64 packets */
#define SLEEP_NS	(10 * NS_PER_MS)	/* on the door; bounds a lost wake-up */
#define BURY_APP_NS	(1 * NS_PER_S)
#define BURY_SURROGATE_NS (5 * NS_PER_S)	/* its ids may be another pid namespace's: be slow */
#define ERRAND_ROUNDS	8		/* with the whole budget; further rounds are short */
#define SHORT_BUDGET	16

static inline void cpu_relax(void)
{
#if defined(__x86_64__)
	__builtin_ia32_pause();
#else
	__asm__ __volatile__("yield");
#endif
}

/* ---- begin ------------------------------------------------------------------------------------ */

void exec_begin_coarse(struct exec *x, struct turn *t)
{
	if (unlikely(!turn_try(t, &x->map, x->who, host_tid(), x->proc, host_now_coarse(), 0)))
		exec_begin(x, t);
}

static bool try_now(struct exec *x, struct turn *t)
{
	return turn_try(t, &x->map, x->who, host_tid(), x->proc, host_now(), 0);
}

static bool spin_for_turn(struct exec *x, struct turn *t, uint64_t until)
{
	do {
		for (int i = 0; i < 16; i++) {
			if (!turn_holder(&x->map))
				break;
			cpu_relax();
		}
		if (!turn_holder(&x->map) && try_now(x, t))
			return true;
	} while (host_now() < until);
	return false;
}

/* A door that does not change hands while we wait. */
struct vigil {
	uint64_t door;
	uint32_t n_turns;
	uint64_t since;
};

static uint64_t door_identity(uint64_t door)
{
	return door & ~(DOOR_ERRANDS | DOOR_CONTENDED);
}

/* True when the holder has been dead for long enough and its turn is now ours. */
static bool keep_vigil(struct exec *x, struct turn *t, struct vigil *v, uint64_t door)
{
	uint32_t n_turns = peek32(&x->map.seg->n_turns);
	uint32_t tid = (uint32_t)(door >> DOOR_TID_SHIFT);
	uint32_t who = (uint32_t)(door >> DOOR_WHO_SHIFT) & 0xff;
	uint64_t now = host_now();

	if (door_identity(door) != v->door || n_turns != v->n_turns) {
		*v = (struct vigil){ door_identity(door), n_turns, now };
		return false;
	}
	if (now - v->since < (who == EXEC_SURROGATE ? BURY_SURROGATE_NS : BURY_APP_NS))
		return false;
	if (host_tid_alive(tid)) {
		v->since = now;		/* stopped, or swapped out: its turn stays its own */
		return false;
	}
	if (!turn_adopt(t, &x->map, x->who, host_tid(), now, tid))
		return false;
	t->proc = x->proc;
	bury_holder(t);
	return true;
}

static cold_fn void begin_slowly(struct exec *x, struct turn *t)
{
	struct vigil v = { 0 };
	uint64_t door;

	if (spin_for_turn(x, t, host_now() + SPIN_NS))
		return;
	for (;;) {
		if (turn_contend(&x->map, &door)) {
			if (keep_vigil(x, t, &v, door))
				return;
			host_door_wait(&x->map, door, SLEEP_NS);
		}
		if (try_now(x, t))
			return;
	}
}

void exec_begin(struct exec *x, struct turn *t)
{
	if (unlikely(!try_now(x, t)))
		begin_slowly(x, t);
}

/* ---- a round, and errands ----------------------------------------------------------------------- */

static bool tick_is_due(const struct turn *t)
{
	return peek64(&t->map->seg->deadline) <= t->now;
}

uint32_t exec_round(struct exec *x, struct turn *t)
{
	uint32_t n = 0;

	(void)x;
	if (vif_rx_pending(t->map) || ap_pending(t->map) || unlikely(vif_starves(t)))
		n = net_rx(t);
	if (unlikely(tick_is_due(t)))
		net_tick(t);
	net_tx(t);
	return n;
}

bool exec_arms(struct turn *t)
{
	enum irq d = irq_errand(t);

	if (t->map->front)
		ev(t, d == IRQ_ARM ? EV_PRIMED : EV_PRIME_SKIPPED, 0, d, 0);
	return d == IRQ_ARM;
}

static void run_errands(struct exec *x, struct turn *t, uint64_t errands)
{
	if (errands & DOOR_ERRAND_REAP)
		bury_processes(t);
	if (errands & DOOR_ERRAND_TICK)
		net_tick(t);
	/* Armed: look once more, for what came before (Q1 of core/stack/irq.c). */
	if (errands & DOOR_ERRAND_ARM && exec_arms(t))
		errands |= DOOR_ERRAND_RX;
	if (errands & (DOOR_ERRAND_RX | DOOR_ERRAND_TICK))
		(void)exec_round(x, t);
}

/* ---- end ---------------------------------------------------------------------------------------- */

#define N_ASKS n_elems(((struct segment *)0)->neigh_asks)

struct asks {
	uint32_t n;
	struct ctl_neigh of[N_ASKS];
};

/* In the turn: what the core wants resolved, each entry once. */
static cold_fn void collect_asks(struct turn *t, struct asks *a)
{
	struct segment *seg = t->map->seg;

	for (size_t i = 0; i < N_ASKS; i++) {
		uint32_t vi = seg->neigh_asks[i].vi % N_VIS;

		if (seg->neigh_asks[i].asked || ip_is_any(&seg->neigh_asks[i].addr))
			continue;
		seg->neigh_asks[i].asked = 1;
		a->of[a->n].addr = seg->neigh_asks[i].addr;
		a->of[a->n].ifindex = t->map->vi[vi].ifindex;
		a->of[a->n++].pad = 0;
	}
	t->asks = 0;
}

static cold_fn int tell_asks(struct exec *x, const struct asks *a)
{
	struct ctl_msg msg;
	int err, worst = 0;

	if (x->ctl_fd < 0)
		return -ENOTCONN;
	for (uint32_t i = 0; i < a->n; i++) {
		memset(&msg, 0, sizeof(msg));
		msg.op = CTL_NEIGH_ASK;
		msg.u.neigh = a->of[i];
		/* Not sent: the core asks again in a while, as it does when a reply is lost. */
		err = ctl_tell(x->ctl_fd, &msg);
		if (err)
			worst = err;
	}
	return worst;
}

/* What this turn said to another socket of the same stack is heard before it ends, so that no
 * one need be rung for it. Bounded by the budget: what is left keeps ap_self set. */
static void poll_self(struct turn *t)
{
	t->budget = max_u32(t->budget, SHORT_BUDGET);
	(void)ap_poll(t);
}

/* Releases; on return the turn is over. True: a sleeper on the door must be woken. */
static bool release(struct exec *x, struct turn *t, struct asks *a)
{
	bool contended = false;
	uint64_t errands;

	for (uint32_t round = 0;; round++) {
		if (peek32(&t->map->seg->ap_self))
			poll_self(t);
		/* Deferred work of a call that received nothing; net_rx() runs the list. */
		if (unlikely(t->map->seg->work_head))
			(void)net_rx(t);
		if (unlikely(t->asks))
			collect_asks(t, a);
		errands = turn_end(t, &contended);
		if (likely(!errands))
			return contended;
		/* T1: no release while there are errands. New ones come slower than short
		 * rounds run, so this ends. */
		t->budget = round < ERRAND_ROUNDS ? TURN_BUDGET : SHORT_BUDGET;
		run_errands(x, t, errands);
	}
}

void exec_end(struct exec *x, struct turn *t, bool defer_kick)
{
	struct asks a = { .n = 0 };

	if (unlikely(release(x, t, &a)))
		host_door_wake(&x->map);
	if (!defer_kick)
		exec_flush(x);
	if (t->wakes)
		host_ring(&x->map, &x->fds, t->wakes);
	if (t->ap_rings)
		host_ring_pairs(&x->map, t->ap_rings);
	if (unlikely(a.n))
		(void)tell_asks(x, &a);
}

void exec_flush(struct exec *x)
{
	_Atomic uint32_t *owed = (_Atomic uint32_t *)&x->map.seg->kicks_owed;
	_Atomic uint32_t *unkicked = (_Atomic uint32_t *)&x->unkicked;
	/* relaxed: our own posts are in our program order; others pay for theirs */
	uint32_t bells = atomic_load_explicit(owed, memory_order_relaxed);
	/* relaxed: as above */
	uint32_t again = atomic_load_explicit(unkicked, memory_order_relaxed);

	if (likely(!(bells | again)))
		return;
	if (bells)
		/* acq: pairs with rel in turn_end() of the turn in which vif_post() set it */
		bells = atomic_exchange_explicit(owed, 0, memory_order_acquire);
	if (unlikely(again))
		/* relaxed: who takes a bit off kicks, and the device orders the rest */
		bells |= atomic_exchange_explicit(unkicked, 0, memory_order_relaxed);
	again = host_kick_all(&x->map, &x->fds, bells);
	if (unlikely(again))
		/* relaxed: as above */
		atomic_fetch_or_explicit(unkicked, again, memory_order_relaxed);
}

int exec_ask_neighbours(struct exec *x)
{
	struct asks a = { .n = 0 };
	struct turn t;

	exec_begin(x, &t);
	collect_asks(&t, &a);
	exec_end(x, &t, false);
	return tell_asks(x, &a);
}

#define TRIMS 32	/* blocks at a time */

void exec_trim(struct exec *x, uint64_t slots)
{
	struct ap_trim of[TRIMS];
	struct turn t;
	uint32_t n;

	for (; slots; slots &= slots - 1) {
		do {
			if (!exec_try_turn(x, &t))
				return;		/* another idle ring will bring us back */
			n = ap_trim_take(&t, (uint32_t)__builtin_ctzll(slots), of, TRIMS);
			exec_end(x, &t, false);
			for (uint32_t i = 0; i < n; i++)
				(void)sys_madvise(of[i].mem, of[i].bytes, MADV_REMOVE);
			if (!exec_try_turn(x, &t))
				return;		/* those blocks are lost to the pair (M4 of core/ap/pool.c) */
			ap_trim_done(&t, of, n);
			exec_end(x, &t, false);
		} while (n == TRIMS);
	}
}
