/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/watchdog.h"

#include "base/atomic.h"
#include "core/ap/ap.h"

#define QUIET_NS	(1 * NS_PER_S)	/* without a turn or a frame, before WATCH becomes IDLE */
#define NAP_NS		(1 * NS_PER_S)	/* IDLE with connections: a program that was stopped just
					 * after a send must not wait longer for its timers */
#define LONG_NAP_NS	(5 * NS_PER_S)	/* IDLE without any: only to meet forked children */
#define STAND_NAP_NS	(100 * NS_PER_MS)	/* STAND_IN: to notice that the application is back */

static void peek_ring(const struct vif_ring *r, struct peek_ring *ret)
{
	if (!r->producer) {
		*ret = (struct peek_ring){ 0, 0 };
		return;
	}
	ret->consumer = peek32(r->consumer);
	ret->producer = peek32(r->producer);
}

static void peek_apertures(const struct stack_map *map, struct peek *ret)
{
	uint32_t n = min_u32(peek32(&map->seg->n_ap), N_PAIRS);

	ret->ap_waits = ap_pending(map);
	for (uint32_t i = 0; i < n; i++) {
		const struct ap_slot *s = &map->seg->ap[i];

		ret->ap_taken += peek32(&s->rd[0]) + peek32(&s->rd[1]) + peek32(&s->swept[0]) +
				 peek32(&s->swept[1]);
	}
}

void peek_take(const struct stack_map *map, uint64_t now, struct peek *ret)
{
	const struct segment *seg = map->seg;

	memset(ret, 0, sizeof(*ret));
	ret->now = now;
	ret->deadline = peek64(&seg->deadline);
	ret->kicks_since = peek64(&seg->kicks_since);
	ret->n_turns = peek32(&seg->n_turns);
	ret->kicks_owed = peek32(&seg->kicks_owed);
	ret->n_conns = peek32(&seg->n_conns);
	ret->condemned = peek32(&seg->condemned);
	ret->n_vis = min_u32(map->n_vis, N_VIS);
	for (uint32_t i = 0; i < ret->n_vis; i++) {
		peek_ring(&map->vi[i].rx, &ret->rx[i]);
		peek_ring(&map->vi[i].tx, &ret->tx[i]);
	}
	peek_apertures(map, ret);
}

static bool is_pending(const struct peek_ring *r) { return r->producer != r->consumer; }

/* Something was there at both looks, and nothing was taken in between. */
static bool is_stuck(const struct peek_ring *before, const struct peek_ring *now)
{
	return is_pending(before) && is_pending(now) && before->consumer == now->consumer;
}

/* `at` has passed by more than `grace`; NEVER_NS has not. */
static bool is_late(uint64_t at, uint64_t now, uint64_t grace)
{
	return now > at && now - at >= grace;
}

uint32_t watchdog_due(const struct peek *before, const struct peek *now, uint64_t watchdog_ns)
{
	uint32_t due = 0;

	if (now->condemned)
		return 0;
	for (uint32_t i = 0; i < now->n_vis; i++) {
		if (is_stuck(&before->rx[i], &now->rx[i]))
			due |= DUE_RX;
		if (is_stuck(&before->tx[i], &now->tx[i]))
			due |= DUE_TX;
	}
	if (before->ap_waits && now->ap_waits && before->ap_taken == now->ap_taken)
		due |= DUE_RX;
	if (is_late(now->deadline, now->now, watchdog_ns))
		due |= DUE_TICK;
	if (now->kicks_owed && is_late(now->kicks_since, now->now, watchdog_ns))
		due |= DUE_KICK;
	return due;
}

static bool frames_wait(const struct peek *now)
{
	for (uint32_t i = 0; i < now->n_vis; i++)
		if (is_pending(&now->rx[i]))
			return true;
	return now->ap_waits;
}

uint32_t watchdog_work(const struct peek *now)
{
	uint32_t due = 0;

	if (now->condemned)
		return 0;
	if (frames_wait(now))
		due |= DUE_RX;
	if (now->deadline <= now->now)
		due |= DUE_TICK;
	if (now->kicks_owed)
		due |= DUE_KICK;
	return due;
}

static bool frames_came(const struct peek *before, const struct peek *now)
{
	for (uint32_t i = 0; i < now->n_vis; i++)
		if (before->rx[i].producer != now->rx[i].producer)
			return true;
	return now->ap_waits && !before->ap_waits;
}

uint32_t watch_look(struct watch *w, const struct peek *now, uint64_t watchdog_ns)
{
	bool others = now->n_turns != w->before.n_turns;
	bool apart = now->now - w->before.now >= watchdog_ns;
	bool came = frames_came(&w->before, now);
	bool woke = came && w->mode == WATCH_IDLE;
	uint32_t due = 0;

	if (others || came)
		w->active_at = now->now;
	if (others || woke)
		w->mode = WATCH_WATCH;
	else if (w->mode == WATCH_STAND_IN && !w->shut)
		due = watchdog_work(now);
	if (!due && apart)
		due = watchdog_due(&w->before, now, watchdog_ns);
	if (due)
		w->mode = WATCH_STAND_IN;
	else if (now->now - w->active_at >= QUIET_NS && !is_late(now->deadline, now->now, 0) &&
		 !frames_wait(now))	/* they would end the sleep at once */
		w->mode = WATCH_IDLE;
	/* Two looks closer than a watchdog: the older one stays, or nothing would ever be due. */
	if (apart || others || woke)
		w->before = *now;
	return due;
}

void watch_done(struct watch *w, const struct peek *now, bool shut)
{
	w->shut = shut;
	if (!shut)
		w->before = *now;
}

uint64_t watch_sleep_ns(const struct watch *w, uint64_t watchdog_ns, bool *ret_on_frames)
{
	uint64_t now = w->before.now, deadline = w->before.deadline;
	uint64_t left = deadline > now ? deadline - now : 0;

	*ret_on_frames = false;
	if (w->before.condemned)
		return NAP_NS;
	if (w->mode == WATCH_WATCH || (w->mode == WATCH_STAND_IN && w->shut))
		return watchdog_ns;
	*ret_on_frames = true;
	if (w->mode == WATCH_STAND_IN)
		return min_u64(left, STAND_NAP_NS);
	/* NEVER_NS plus something would come at once. */
	left = left > LONG_NAP_NS ? LONG_NAP_NS : left + watchdog_ns;
	return min_u64(left, w->before.n_conns ? NAP_NS : LONG_NAP_NS);
}
