/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CUBIC (RFC 9438) in integers: bytes and milliseconds.
 *
 *	W_cubic(t) = C (t - K)^3 + W_max,	C = 0.4, beta = 0.7, in segments and seconds
 *
 * With t in ms and W in bytes, C (t-K)^3 is mss (t-K)^3 / 2.5e9. |t - K| is held below
 * 2^17 ms (131 s), so that its cube stays below 2^51 and the product with mss, after the
 * first division, below 2^46.
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

#define DT_MAX_MS (1u << 17)

/* Largest r with r^3 <= v, bit by bit. */
static uint32_t cube_root(uint64_t v)
{
	uint64_t r = 0;

	for (int bit = 20; bit >= 0; bit--) {	/* (2^21)^3 = 2^63 */
		uint64_t try = r | 1ull << bit;

		if (try * try * try <= v)
			r = try;
	}
	return (uint32_t)r;
}

static void cubic_init(struct tcp_cc *c)
{
	c->in_epoch = 0;
	c->w_max = 0;
	c->acked = 0;
	c->hs = (struct tcp_hystart){ .min_us = UINT32_MAX };
}

/* RFC 9406 4.2: when the conservative phase is over, congestion avoidance begins. */
static void cubic_on_sample(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	if (tcp_hystart(&c->hs, s)) {
		c->ssthresh = c->cwnd;
		c->hs.css = 0;
	}
}

/* RFC 9438 4.2: K is the time the cubic takes from cwnd up to W_max. */
static void begin_epoch(struct tcp_cc *c, uint64_t now)
{
	c->in_epoch = 1;
	c->epoch_at = now;
	c->acked = 0;
	c->est_acked = 0;
	c->w_est = c->cwnd;
	if (c->cwnd < c->w_max) {
		c->k_ms = cube_root((uint64_t)(c->w_max - c->cwnd) * 2500000000ull / c->mss);
		c->origin = c->w_max;
	} else {
		c->k_ms = 0;
		c->origin = c->cwnd;
	}
}

static uint32_t w_cubic(const struct tcp_cc *c, uint64_t t_ms)
{
	bool below = t_ms < c->k_ms;
	uint64_t dt = min_u64(below ? c->k_ms - t_ms : t_ms - c->k_ms, DT_MAX_MS);
	uint64_t off = dt * dt * dt / 2500000 * c->mss / 1000;

	if (below)
		return off < c->origin ? c->origin - (uint32_t)off : 0;
	return (uint32_t)min_u64(c->origin + off, c->cwnd_max);
}

/* RFC 9438 4.3: what Reno with beta 0.7 would have; alpha = 3 (1 - beta) / (1 + beta) = 9/17
 * until the window before the loss is reached, then 1. */
static void grow_estimate(struct tcp_cc *c, uint32_t acked)
{
	uint64_t need = c->w_est < c->w_max ? (uint64_t)c->cwnd * 17 / 9 : c->cwnd;

	c->est_acked += acked;
	while (c->est_acked >= need) {
		c->est_acked -= (uint32_t)need;
		c->w_est = min_u32(c->w_est + c->mss, c->cwnd_max);
	}
}

static void cubic_on_ack(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us)
{
	uint32_t target;
	uint64_t need;

	if (c->cwnd < c->ssthresh) {
		/* RFC 9406 4.2: a quarter in the conservative phase. */
		acked = tcp_cc_slow_start(c, c->hs.css ? (acked + 3) / 4 : acked);
		if (acked == 0)
			return;
	}
	acked = min_u32(acked, c->cwnd);
	if (!c->in_epoch)
		begin_epoch(c, now);
	/* RFC 9438 4.2: the target is the cubic one RTT ahead, within [cwnd, 1.5 cwnd]. */
	target = w_cubic(c, (now - c->epoch_at) / NS_PER_MS + srtt_us / 1000);
	target = min_u32(target, c->cwnd + c->cwnd / 2);
	grow_estimate(c, acked);
	target = max_u32(target, c->w_est);
	if (target <= c->cwnd)
		need = 100ull * c->cwnd;	/* flat: a little growth all the same, as Linux */
	else
		need = (uint64_t)c->cwnd * c->mss / (target - c->cwnd);
	need = min_u64(max_u64(need, 2), 1u << 30);
	c->acked += acked;
	if (c->acked >= need) {
		uint64_t n = c->acked / need;

		c->acked = (uint32_t)(c->acked - n * need);
		tcp_cc_grow(c, (uint32_t)min_u64(n * c->mss, acked));
	}
}

static uint32_t cubic_on_loss(struct tcp_cc *c)
{
	/* RFC 9438 4.7: fast convergence; 0.85 = (1 + beta) / 2. */
	if (c->cwnd < c->w_max)
		c->w_max = (uint32_t)((uint64_t)c->cwnd * 85 / 100);
	else
		c->w_max = c->cwnd;
	c->in_epoch = 0;
	c->hs.css = 0;
	/* RFC 9438 4.6: beta = 0.7. */
	return max_u32((uint32_t)((uint64_t)c->cwnd * 7 / 10), 2u * c->mss);
}

/* Time in which nothing was sent does not count (RFC 9438 4.2, as Linux shifts the epoch). */
static void cubic_on_idle(struct tcp_cc *c, uint64_t idle_ns, uint64_t now, bool app_limited)
{
	(void)app_limited;
	if (c->in_epoch)
		c->epoch_at = min_u64(c->epoch_at + idle_ns, now);
}

const struct tcp_cc_ops tcp_cc_cubic = {
	.name = "cubic", .init = cubic_init, .on_ack = cubic_on_ack, .on_loss = cubic_on_loss,
	.on_idle = cubic_on_idle, .on_sample = cubic_on_sample, .flags = CC_F_HYSTART,
};
