/* SPDX-License-Identifier: BSD-2-Clause */
/* NewReno (RFC 5681, RFC 6582, RFC 3465). */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

static void reno_init(struct tcp_cc *c)
{
	c->acked = 0;
}

static void reno_on_ack(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us)
{
	(void)now;
	(void)srtt_us;
	if (c->cwnd < c->ssthresh)
		acked = tcp_cc_slow_start(c, acked);
	c->acked += min_u32(acked, c->cwnd);
	if (c->acked >= c->cwnd) {	/* one segment per window acknowledged */
		c->acked -= c->cwnd;
		tcp_cc_grow(c, c->mss);
	}
}

/* RFC 5681 (4): half of what was in flight; Linux takes half of cwnd, which usage.c keeps
 * from running ahead of the flight. */
static uint32_t reno_on_loss(struct tcp_cc *c)
{
	c->acked = 0;
	return max_u32(c->cwnd / 2, 2u * c->mss);
}

static void reno_on_idle(struct tcp_cc *c, uint64_t idle_ns, uint64_t now, bool app_limited)
{
	(void)c;	/* what is counted towards the next segment stays, as in Linux */
	(void)idle_ns;
	(void)now;
	(void)app_limited;
}

const struct tcp_cc_ops tcp_cc_reno = {
	.name = "reno", .init = reno_init, .on_ack = reno_on_ack, .on_loss = reno_on_loss,
	.on_idle = reno_on_idle,
};
