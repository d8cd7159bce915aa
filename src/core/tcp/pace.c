/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pacing: how fast segments leave, for algorithms that ask for it (BBR) and for
 * SO_MAX_PACING_RATE. Each segment that leaves pushes pace_at on by the time it takes at the rate;
 * before that, the next one waits. No thread sleeps for it: whatever turn comes after pace_at
 * sends, an acknowledgement's in most cases, and if none comes the wheel brings one (pace_due).
 *
 * The wheel ticks once a millisecond and turns come late. So who was held back may make up for the
 * lateness, up to CATCH_UP_NS of it: on average the rate is kept, and a burst is what the rate gives
 * in that time. Who was not held back had nothing to send, or no window, and gets no such credit.
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

#define CATCH_UP_NS	(4 * NS_PER_MS)
#define UNPACED_SEGS	10u	/* the first of a connection go as they are (Linux) */

/* As Linux for algorithms that have no rate of their own: twice cwnd a round trip in slow start, a
 * fifth more than cwnd after it. */
static uint64_t rate_of_cwnd(const struct tcb *b)
{
	uint64_t srtt_us = max_u32(b->rtt.srtt_us8 >> 3, 1);
	uint32_t percent = b->cc.cwnd < b->cc.ssthresh / 2 ? 200 : 120;

	if (b->rtt.srtt_us8 == 0)
		return UINT64_MAX;
	return (uint64_t)max_u32(b->cc.cwnd, tcp_out_bytes(b)) * percent / 100 * 1000000 / srtt_us;
}

uint64_t tcp_pace_rate(const struct tcb *b)
{
	uint64_t r;

	if (b->cc_flags & CC_F_OWNS)
		r = b->cc.rate ? b->cc.rate : UINT64_MAX;
	else
		r = rate_of_cwnd(b);
	return min_u64(r, b->max_rate);
}

void tcp_pace_init(struct turn *t, struct tcb *b)
{
	bool on = (b->cc_flags & CC_F_OWNS) || b->max_rate != UINT64_MAX;

	if (on && !b->paced)
		b->pace_at = t->now;
	b->paced = on;
	if (!on)
		b->pace_due = NEVER_NS;
}

bool tcp_pace_holds(struct turn *t, struct tcb *b)
{
	if (b->pace_at <= t->now) {
		/* Late, or never held: pace_due tells. */
		if (b->pace_due == NEVER_NS)
			b->pace_at = t->now;
		else if (b->pace_at + CATCH_UP_NS < t->now)
			b->pace_at = t->now - CATCH_UP_NS;
		return false;
	}
	b->pace_due = b->pace_at;
	return true;
}

void tcp_pace_sent(struct turn *t, struct tcb *b, uint32_t bytes)
{
	uint64_t rate = tcp_pace_rate(b);

	(void)t;
	if (rate == UINT64_MAX || b->data_segs_out < UNPACED_SEGS)
		return;
	b->pace_at += min_u64((uint64_t)bytes * NS_PER_S / max_u64(rate, 1), NS_PER_S);
}
