/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DCTCP (RFC 8257): in datacentres switches mark early and often, and a sender learns from the
 * share of bytes that were marked how full the queue is, not only that it is:
 *
 *	alpha <- alpha + g (marked share of the last window - alpha),	g = 1/16
 *	a window with marks:	cwnd <- cwnd (1 - alpha / 2)
 *
 * A loss costs half as in Reno (3.5), and growth is Reno's. alpha begins at 1, so that the first
 * mark costs a half (3.3, 4.2).
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

#define ONE	1024u
#define G_SHIFT	4

static void dctcp_init(struct tcp_cc *c)
{
	c->acked = 0;
	c->in_epoch = 0;	/* round_seq is not known yet */
	c->alpha = ONE;
}

static void begin_round(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	c->in_epoch = 1;
	c->round_seq = s->nxt;
	c->old_delivered = s->total;
	c->old_ce = s->total_ce;
}

/* RFC 8257 3.3 (5) to (8). */
static void dctcp_on_sample(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	uint32_t all = s->total - c->old_delivered, ce = s->total_ce - c->old_ce;
	uint32_t decay = c->alpha >> G_SHIFT;

	if (!c->in_epoch) {
		begin_round(c, s);
		return;
	}
	if (before(s->una, c->round_seq))
		return;
	c->alpha -= decay ? decay : c->alpha;	/* not for ever a little above 0 */
	if (ce != 0)
		c->alpha = min_u32(c->alpha + (uint32_t)((uint64_t)ce * (ONE >> G_SHIFT) / max_u32(all, 1)), ONE);
	begin_round(c, s);
}

/* RFC 8257 3.4 */
static uint32_t dctcp_on_mark(struct tcp_cc *c)
{
	uint32_t less = (uint32_t)((uint64_t)c->cwnd * c->alpha / (2 * ONE));

	c->loss_cwnd = c->cwnd;
	return max_u32(c->cwnd - less, 2u * c->mss);
}

static uint32_t dctcp_on_loss(struct tcp_cc *c)
{
	c->loss_cwnd = c->cwnd;
	return max_u32(c->cwnd / 2, 2u * c->mss);
}

static void dctcp_on_ack(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us)
{
	tcp_cc_reno.on_ack(c, acked, now, srtt_us);
}

static void dctcp_on_idle(struct tcp_cc *c, uint64_t idle_ns, uint64_t now, bool app_limited)
{
	tcp_cc_reno.on_idle(c, idle_ns, now, app_limited);
}

static void dctcp_on_undo(struct tcp_cc *c)
{
	c->cwnd = max_u32(c->cwnd, c->loss_cwnd);
}

const struct tcp_cc_ops tcp_cc_dctcp = {
	.name = "dctcp", .flags = CC_F_ECN | CC_F_SAMPLES, .init = dctcp_init, .on_ack = dctcp_on_ack,
	.on_loss = dctcp_on_loss, .on_mark = dctcp_on_mark, .on_idle = dctcp_on_idle,
	.on_sample = dctcp_on_sample, .on_undo = dctcp_on_undo,
};
