/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The surrogate's executor: never waits for the door, comes when the oldest thing to be done
 * is older than the watchdog, buries processes that died, and runs the stack alone when none
 * is left.
 */
#include "sim/sim.h"

bool anybody_live(const struct sim_stack *s)
{
	for (uint32_t i = 0; i < s->n_procs; i++) {
		if (s->proc[i].live)
			return true;
	}
	return false;
}

bool must_reap(const struct sim_stack *s)
{
	for (uint32_t i = 0; i < s->n_procs; i++) {
		if (!s->proc[i].live && !s->proc[i].reaped)
			return true;
	}
	return false;
}

static uint64_t due_at(struct sim *w, const struct sim_stack *s)
{
	uint64_t at = min_u64(s->seg->deadline, s->rx_since);

	if (s->seg->kicks_owed)
		at = min_u64(at, s->seg->kicks_since);
	if (must_reap(s))
		return w->now;
	if (at == NEVER_NS)
		return at;
	return at + (anybody_live(s) ? w->k.watchdog_ns : 0);
}

static void look_at(struct sim *w, struct sim_stack *s, uint64_t at)
{
	if (at >= s->surrogate_at)
		return;
	s->surrogate_at = at;
	sim_post(w, at, (struct sim_event){ .kind = SE_SURROGATE, .a = s->id });
}

/* The surrogate leaves with the last connection of dead programs. */
static void end_if_over(struct sim *w, struct sim_stack *s)
{
	if (!w->k.aperture || s->ending || anybody_live(s) || must_reap(s) || s->seg->n_conns)
		return;
	s->ending = true;
	sim_post(w, w->now + sim_skewed(w, 1000, 10 * NS_PER_MS), (struct sim_event){ .kind = SE_END, .a = s->id });
}

void surrogate_arm(struct sim *w, struct sim_stack *s)
{
	uint64_t at;

	if (s->retired || s->gone)
		return;
	end_if_over(w, s);
	at = due_at(w, s);
	if (at != NEVER_NS)
		look_at(w, s, max_u64(at, w->now) + sim_between(w, 1000, 50000));
}

/* Also run by a holder of the turn who found the errand on the door. */
void surrogate_reap(struct sim *w, struct sim_stack *s, struct turn *t)
{
	for (uint32_t i = 0; i < s->n_procs; i++) {
		if (s->proc[i].live || s->proc[i].reaped)
			continue;
		record_text(w, "stack %u: process %u is buried", s->id, i);
		net_proc_died(t, i);
		s->proc[i].reaped = true;
	}
}

void process_die(struct sim *w, struct sim_stack *s, uint32_t proc)
{
	if (!s->proc[proc].live)
		return;
	record_text(w, "stack %u: process %u dies", s->id, proc);
	s->proc[proc].live = false;
	for (uint32_t i = 0; i < s->n_threads; i++) {
		if (s->th[i].proc != proc)
			continue;
		if (s->th[i].state == TH_HOLDING)
			w->troubled = true;
		s->th[i].state = TH_GONE;
		s->th[i].gen++;
	}
	talk_proc_died(w, s, proc);
	if (proc == s->th[0].proc && !s->listening) {	/* nobody else will: others need not wait */
		s->listening = true;
		w->n_listening++;
	}
	look_at(w, s, w->now + sim_between(w, 10000, 2 * NS_PER_MS));
}

static bool holder_is_dead(const struct sim_stack *s, uint32_t tid)
{
	for (uint32_t i = 0; i < s->n_threads; i++) {
		if (s->th[i].tid == tid)
			return s->th[i].state == TH_GONE;
	}
	return false;
}

/* The turn of a dead holder: goes on if the stack is sound, retires it otherwise. */
static bool adopt(struct sim *w, struct sim_stack *s, struct turn *t)
{
	uint32_t holder = turn_holder(&s->strong);

	if (!holder || !holder_is_dead(s, holder) ||
	    !turn_adopt(t, &s->strong, EXEC_SURROGATE, SIM_SURROGATE_TID + s->id, w->now, holder))
		return false;
	s->in_turn = true;
	s->seg->n_turns = (s->seg->n_turns + 63) & ~63u;	/* as bury_holder() does */
	if (net_check(t)) {
		record_text(w, "stack %u: condemned after a death in a turn: %s", s->id,
			    why_name((enum why)(s->seg->condemned - 1)));
		if (!w->k.slay_ppm && !w->k.step_ppm)
			sim_fail(w, "stack %u: condemned though its process died between calls", s->id);
		ap_bury(t);
		for (uint32_t i = 0; i < s->n_procs; i++)	/* all they have left is errors */
			process_die(w, s, i);
		s->retired = true;
		s->host->cut = !w->k.aperture;
		sim_post(w, w->now + 1000, (struct sim_event){ .kind = SE_END, .a = s->id });
	}
	pair_settle(w, s, t);
	return true;
}

void surrogate_run(struct sim *w, struct sim_stack *s)
{
	uint64_t errands = DOOR_ERRAND_RX | DOOR_ERRAND_TICK;
	bool reap = must_reap(s);
	struct turn t;

	s->surrogate_at = NEVER_NS;
	if (s->retired || s->gone)
		return;
	if (due_at(w, s) > w->now)
		return surrogate_arm(w, s);
	for (uint32_t i = 0; i < s->n_procs; i++) {
		if (!s->proc[i].live && !s->proc[i].reaped)
			s->seg->procs[i].state = PROC_DEAD;
	}
	if (reap)
		errands |= DOOR_ERRAND_REAP;
	if (!sim_turn_try(w, s, &t, NULL, errands) && !adopt(w, s, &t))
		return look_at(w, s, w->now + w->k.watchdog_ns);
	s->n_surrogate_turns++;
	if (!s->retired) {
		surrogate_reap(w, s, &t);
		sim_turn_round(w, &t);
	}
	sim_turn_end(w, s, &t);
}
