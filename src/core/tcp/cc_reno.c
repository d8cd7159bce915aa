/* SPDX-License-Identifier: BSD-2-Clause */
/* What all congestion control shares, and Reno's own (RFC 5681, RFC 6928, RFC 3465). */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

const struct tcp_cc_ops *tcp_cc_ops(const struct tcp_cc *c)
{
	return c->algo == TCP_CC_RENO ? &tcp_cc_reno : &tcp_cc_cubic;
}

void tcp_cc_init(struct tcp_cc *c, uint8_t algo, uint32_t mss)
{
	must(mss >= TCP_MIN_MSS && mss <= UINT16_MAX);
	*c = (struct tcp_cc){ .algo = algo, .mss = (uint16_t)mss, .cwnd = TCP_INIT_CWND * mss,
			      .ssthresh = INT32_MAX, .cwnd_max = 1u << 30 };
	tcp_cc_ops(c)->init(c);
}

/* cwnd is thought of in segments: a new segment size rescales nothing but the floor. */
void tcp_cc_set_mss(struct tcp_cc *c, uint32_t mss)
{
	must(mss >= TCP_MIN_MSS && mss <= UINT16_MAX);
	c->mss = (uint16_t)mss;
	c->cwnd = max_u32(c->cwnd, mss);
	c->ssthresh = max_u32(c->ssthresh, 2 * mss);
}

void tcp_cc_grow(struct tcp_cc *c, uint32_t bytes)
{
	c->cwnd = min_u32(c->cwnd + min_u32(bytes, c->cwnd_max), c->cwnd_max);
}

/* RFC 5681 3.1, with RFC 3465's byte counting and, as in Linux, no limit per ACK. */
uint32_t tcp_cc_slow_start(struct tcp_cc *c, uint32_t acked)
{
	uint32_t room = c->ssthresh > c->cwnd ? c->ssthresh - c->cwnd : 0;
	uint32_t take = min_u32(acked, room);

	tcp_cc_grow(c, take);
	return acked - take;
}

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

/* RFC 5681 (4): half of what was in flight; Linux takes half of cwnd, which output.c keeps
 * from running ahead of the flight. */
static uint32_t reno_on_loss(struct tcp_cc *c)
{
	c->acked = 0;
	return max_u32(c->cwnd / 2, 2u * c->mss);
}

static void reno_on_idle(struct tcp_cc *c, uint64_t idle_ns)
{
	(void)idle_ns;
	c->acked = 0;
}

const struct tcp_cc_ops tcp_cc_reno = {
	.name = "reno", .init = reno_init, .on_ack = reno_on_ack, .on_loss = reno_on_loss,
	.on_idle = reno_on_idle,
};
