/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When must the surrogate come? Decided here, from copies, without a turn and without side
 * effects, so that it can be tested as a table. Private to exec/.
 *
 *              due                       nothing for a while
 *   WATCH ───────────▶ STAND_IN      WATCH, STAND_IN ─────────▶ IDLE
 *     ▲                   │             IDLE ──── a frame came, a turn was taken ──▶ WATCH
 *     └── somebody else took a turn     IDLE ──── a timer is late ────────────────▶ STAND_IN
 *
 * What is said of frames holds for events of apertures as well.
 *
 *   WATCH     looks every watchdog_ms, holds no turn, waits on no device
 *   STAND_IN  runs the stack as frames and timers come, until the application is back
 *   IDLE      sleeps on devices, the pipe and the stack's own deadline: no cost
 *
 * All processes gone: OWNER (surrogate.c), which needs no watch.
 */
#ifndef EXEC_WATCHDOG_H
#define EXEC_WATCHDOG_H

#include "core/stack/turn.h"

struct peek_ring { uint32_t producer, consumer; };

/* What can be seen without the turn, at one instant. */
struct peek {
	uint64_t now, deadline, kicks_since;
	uint32_t n_turns, kicks_owed, n_conns, condemned;
	uint32_t n_vis;
	struct peek_ring rx[N_VIS], tx[N_VIS];
	uint32_t ap_waits, ap_taken;	/* events of apertures: any there; how many were ever taken */
};

void peek_take(const struct stack_map *map, uint64_t now, struct peek *ret);

#define DUE_RX	(1u << 0)	/* a frame, or an event of an aperture, waits since the last look or longer,
				 * and nobody took any */
#define DUE_TICK (1u << 1)	/* the stack's deadline has passed by more than the watchdog */
#define DUE_KICK (1u << 2)	/* a kick is owed for longer than the watchdog */
#define DUE_TX	(1u << 3)	/* frames wait on a tx ring since the last look, and none was taken */

/* Reasons to step in, given two looks at least a watchdog apart. */
uint32_t watchdog_due(const struct peek *before, const struct peek *now, uint64_t watchdog_ns);
/* Reasons for him who stands in already: no grace. */
uint32_t watchdog_work(const struct peek *now);

enum watch_mode { WATCH_WATCH, WATCH_STAND_IN, WATCH_IDLE };

struct watch {
	enum watch_mode mode;
	bool	 shut;		/* the last attempt to take a turn met a shut door */
	uint64_t active_at;	/* last sign of life: somebody's turn, or a frame */
	struct peek before;
};

/* One look: moves to the next mode, returns DUE_* bits for which a turn should be taken now. */
uint32_t watch_look(struct watch *w, const struct peek *now, uint64_t watchdog_ns);
/* After the turn, or the attempt: what we changed ourselves is not somebody else's life. */
void watch_done(struct watch *w, const struct peek *now, bool shut);
/* How long to sleep at most, ns, and whether a frame's arrival is to end it. */
uint64_t watch_sleep_ns(const struct watch *w, uint64_t watchdog_ns, bool *ret_on_frames);

#endif
