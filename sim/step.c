/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Death at any instruction: a call of the core runs with the processor's trap flag set, so that
 * each instruction ends in a signal, and after so many of them the process is dead: the call
 * does not come back, and what it has written by then is what is there. Seeds of such worlds
 * are histories of one build: another compiler's instructions are others.
 *
 * Only the core is run so: the simulator must not be torn out of its own work. Where there is
 * no such flag, processes die at mishap sites alone.
 */
#include "sim/sim.h"

#include <signal.h>

#if defined(__x86_64__)

#include <x86intrin.h>

#define TRAP_FLAG 0x100ull

static volatile uint64_t steps_left;	/* 0: nobody is to die. allow: a signal handler counts it */
static struct sim *world;

static void on_step(int sig)
{
	(void)sig;
	if (!steps_left || --steps_left)
		return;
	longjmp(world->slain_jmp, 1);	/* the kernel has cleared the flag for this handler */
}

void step_in(struct sim *w)
{
	struct sigaction sa = { .sa_handler = on_step, .sa_flags = SA_NODEFER };

	if (!w->may_slay || !w->k.step_ppm || !prng_chance(&w->rng, w->k.step_ppm))
		return;
	world = w;
	steps_left = sim_skewed(w, 1, w->k.step_max);
	sigaction(SIGTRAP, &sa, NULL);
	__writeeflags(__readeflags() | TRAP_FLAG);
}

void step_out(void)
{
	if (!steps_left)
		return;
	steps_left = 0;
	__writeeflags(__readeflags() & ~TRAP_FLAG);
}

#else

void step_in(struct sim *w) { (void)w; }
void step_out(void) { }

#endif
