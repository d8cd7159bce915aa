/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * BBR, version 1 as Linux has it (draft-cardwell-iccrg-bbr-congestion-control): no loss says how
 * fast to send, but a model of the path,
 *
 *	bw	the largest delivery rate of the last ten round trips
 *	min_rtt	the shortest round trip of the last ten seconds
 *
 * from which follow the pacing rate, pacing_gain * bw, and cwnd, cwnd_gain * bw * min_rtt.
 *
 *	STARTUP    2.89 of both, until bw has not grown by a quarter in three rounds: the pipe is full
 *	DRAIN      1 / 2.89, until what is in flight fits the pipe: the queue of STARTUP is gone
 *	PROBE_BW   eight phases of a min_rtt: 5/4 to see whether there is more, 3/4 to drain what that
 *		   has queued, six times 1
 *	PROBE_RTT  four segments in flight for 200 ms when min_rtt is ten seconds old
 *
 * Beyond that model: a window for acknowledgements that come in lumps (extra), and a rate limiter in
 * the path (a policer), which shows as the same rate in two intervals that both lose a fifth: that
 * rate is taken as it is for 48 rounds (lt_*).
 *
 * Gains are 256ths. Rates are kept as struct rate32: less than a hundred-millionth too small, when
 * the sample they come from is told from the next by a microsecond in a round trip.
 *
 * Instants are microseconds modulo 2^32 (72 minutes), and only ever the beginning of something, whose age
 * is taken as unsigned: past a wrap something old may be thought young, but never the reverse, and not for
 * longer than the time that is waited for. What a long silence leaves behind is made old by
 * bbr_on_idle(), so that the wraps in it do not count.
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

enum mode { STARTUP, DRAIN, PROBE_BW, PROBE_RTT };

#define UNIT		256u
#define HIGH_GAIN	739u		/* 2/ln 2: doubles the rate each round trip */
#define DRAIN_GAIN	88u		/* its inverse */
#define CWND_GAIN	512u
#define N_PHASES	8u
#define BW_ROUNDS	10u
#define MIN_RTT_US	10000000u
#define PROBE_RTT_US	200000u
#define FULL_ROUNDS	3u
#define EXTRA_ROUNDS	5u
#define EXTRA_MAX_US	100000u
#define EXTRA_EPOCH	(1u << 30)	/* bytes after which an epoch of lumps ends in any case */
#define LT_MIN_ROUNDS	4u
#define LT_MAX_ROUNDS	16u
#define LT_USE_ROUNDS	48u
#define LT_DIFF		500u		/* bytes a second that make no difference */
#define BURST_MAX	65536u
#define SILENCE_NS	((1ull << 31) * NS_PER_US)	/* half of what an instant can be told from */

static_assert(HIGH_GAIN < 1u << 10, "tcp_bbr.pacing_gain");
static_assert(LT_USE_ROUNDS < 1u << 6 && LT_MAX_ROUNDS < LT_USE_ROUNDS, "tcp_bbr.lt_rounds");
static_assert(FULL_ROUNDS < 1u << 2 && EXTRA_ROUNDS < 1u << 3, "tcp_bbr.full_n, extra_rounds");
static_assert(TCP_CA_LOSS < 1u << 3, "tcp_bbr.prev_ca");

static const uint16_t phase_gain[N_PHASES] = { UNIT * 5 / 4, UNIT * 3 / 4, UNIT, UNIT, UNIT, UNIT, UNIT, UNIT };

static uint32_t us_of(uint64_t ns) { return (uint32_t)(ns / NS_PER_US); }

/* ---- the model ------------------------------------------------------------------------------- */

/* The largest value of the last BW_ROUNDS rounds: v[0] is it, v[1] and v[2] are the largest since
 * then, so that there is one when it grows old (Kathleen Nichols' windowed filter). */
static void maxbw_add(struct tcp_maxbw *m, uint32_t round, struct rate32 bw)
{
	uint32_t age = round - m->t[0];

	if (bw.v >= m->v[0].v || round - m->t[2] > BW_ROUNDS) {
		for (int i = 0; i < 3; i++) {
			m->v[i] = bw;
			m->t[i] = round;
		}
		return;
	}
	for (int i = 1; i < 3; i++) {
		if (bw.v < m->v[i].v)
			continue;
		for (int j = i; j < 3; j++) {
			m->v[j] = bw;
			m->t[j] = round;
		}
		break;
	}
	if (age > BW_ROUNDS) {		/* the best is too old: the next one is the best */
		for (int i = 0; i < 2; i++) {
			m->v[i] = m->v[i + 1];
			m->t[i] = m->t[i + 1];
		}
		m->v[2] = bw;
		m->t[2] = round;
		if (round - m->t[0] > BW_ROUNDS) {
			m->v[0] = m->v[1];
			m->t[0] = m->t[1];
			m->v[1] = m->v[2];
			m->t[1] = m->t[2];
		}
	} else if (m->t[1] == m->t[0] && age > BW_ROUNDS / 4) {
		m->v[1] = m->v[2] = bw;		/* a quarter has gone by without a second best */
		m->t[1] = m->t[2] = round;
	} else if (m->t[2] == m->t[1] && age > BW_ROUNDS / 2) {
		m->v[2] = bw;
		m->t[2] = round;
	}
}

static uint64_t bw_of(const struct tcp_bbr *r)
{
	return rate32_get(r->lt_use ? r->lt_bw : r->bw.v[0]);
}

static uint64_t max_bw(const struct tcp_bbr *r) { return rate32_get(r->bw.v[0]); }

static uint64_t bdp(const struct tcp_cc *c, uint64_t bw, uint32_t gain)
{
	const struct tcp_bbr *r = &c->bbr;

	if (r->min_rtt_us == UINT32_MAX)
		return (uint64_t)TCP_INIT_CWND * c->mss;
	return min_u64(bw * r->min_rtt_us / 1000000 * gain / UNIT, c->cwnd_max);
}

/* Room for what is on its way between us and the wire, and for the acknowledgements of pairs. */
static uint64_t with_bursts(const struct tcp_cc *c, uint64_t cwnd)
{
	uint32_t burst = max_u32((uint32_t)min_u64(c->rate >> 10, BURST_MAX), c->mss);

	cwnd += 3ull * burst;
	if (c->bbr.mode == PROBE_BW && c->bbr.cycle == 0)
		cwnd += 2u * c->mss;
	return cwnd;
}

static uint64_t in_pipe(const struct tcp_cc *c, uint64_t bw, uint32_t gain)
{
	return with_bursts(c, bdp(c, bw, gain));
}

/* ---- a policer in the path -------------------------------------------------------------------------- */

static void lt_begin(struct tcp_bbr *r, uint64_t now, uint32_t total, uint32_t lost)
{
	r->lt_at = us_of(now);
	r->lt_delivered = total;
	r->lt_lost = lost;
	r->lt_rounds = 0;
}

static void lt_reset(struct tcp_bbr *r, uint64_t now, uint32_t total, uint32_t lost)
{
	r->lt_bw = rate32_of(0);
	r->lt_use = r->lt_sampling = 0;
	lt_begin(r, now, total, lost);
}

static void enter_probe_bw(struct tcp_bbr *r, uint64_t now)
{
	r->mode = PROBE_BW;
	/* Any phase but the draining one; the clock is as good as dice. */
	r->cycle = (now / NS_PER_US * 2654435761u >> 16) % (N_PHASES - 1);
	r->cycle += r->cycle >= 1;
	r->cycle_at = us_of(now);
}

/* An interval has ended, with enough losses to be a policer's. */
static void lt_done(struct tcp_bbr *r, const struct tcp_cc_sample *s, uint64_t bw)
{
	uint64_t had = rate32_get(r->lt_bw), diff = bw > had ? bw - had : had - bw;

	if (had && (diff * 8 <= had || diff <= LT_DIFF)) {	/* the same twice */
		r->lt_bw = rate32_of((bw + had) / 2);
		r->lt_use = 1;
		r->lt_rounds = 0;
		return;
	}
	r->lt_bw = rate32_of(bw);
	lt_begin(r, s->now, s->total, s->total_lost);
}

static void lt_sample(struct tcp_bbr *r, const struct tcp_cc_sample *s)
{
	uint32_t lost = s->total_lost - r->lt_lost, got = s->total - r->lt_delivered;
	uint32_t us = us_of(s->now) - r->lt_at;

	if (r->lt_use) {	/* until it is time to see whether the policer is still there */
		if (r->mode == PROBE_BW && r->round_start && ++r->lt_rounds >= LT_USE_ROUNDS) {
			lt_reset(r, s->now, s->total, s->total_lost);
			enter_probe_bw(r, s->now);
		}
		return;
	}
	if (!r->lt_sampling) {	/* an interval begins with a loss: the bucket is empty */
		if (s->lost) {
			lt_begin(r, s->now, s->total, s->total_lost);
			r->lt_sampling = 1;
		}
		return;
	}
	if (s->app_limited) {
		lt_reset(r, s->now, s->total, s->total_lost);
		return;
	}
	r->lt_rounds += r->round_start;
	if (r->lt_rounds < LT_MIN_ROUNDS)
		return;
	if (r->lt_rounds > LT_MAX_ROUNDS) {
		lt_reset(r, s->now, s->total, s->total_lost);
		return;
	}
	/* And ends with one, if a fifth was lost in between. */
	if (!s->lost || got == 0 || (uint64_t)lost * UNIT < 50ull * got || us < 1000)
		return;
	lt_done(r, s, (uint64_t)got * 1000000 / us);
}

/* ---- what an acknowledgement tells -------------------------------------------------------------- */

static void take_bw(struct tcp_bbr *r, const struct tcp_cc_sample *s)
{
	struct rate32 bw;

	r->round_start = 0;
	if (!s->rs_valid)
		return;
	if (!before(s->rs_prior, r->round_end)) {
		r->round_end = s->total;
		r->n_rounds++;
		r->round_start = 1;
		r->conserving = 0;
	}
	lt_sample(r, s);
	bw = rate32_of((uint64_t)s->rs_delivered * 1000000 / max_u32(s->rs_interval_us, 1));
	if (!s->app_limited || bw.v >= r->bw.v[0].v)
		maxbw_add(&r->bw, r->n_rounds, bw);
}

/* Acknowledgements that come in lumps make delivery look faster for a moment than the path is:
 * what comes beyond bw since the lump began. */
static void take_extra(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	struct tcp_bbr *r = &c->bbr;
	uint64_t expected, extra;

	if (!s->rs_valid || s->delivered == 0)
		return;
	if (r->round_start && ++r->extra_rounds >= EXTRA_ROUNDS) {
		r->extra_rounds = 0;
		r->extra_i ^= 1;
		r->extra[r->extra_i & 1] = 0;
	}
	expected = bw_of(r) * (us_of(s->now) - r->epoch_at) / 1000000;
	if (r->epoch_acked <= expected || r->epoch_acked + s->delivered >= EXTRA_EPOCH) {
		r->epoch_acked = 0;
		r->epoch_at = us_of(s->now);
		expected = 0;
	}
	r->epoch_acked += s->delivered;
	extra = min_u64(r->epoch_acked - expected, c->cwnd);
	r->extra[r->extra_i & 1] = max_u32(r->extra[r->extra_i & 1], (uint32_t)extra);
}

static bool phase_is_over(const struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	const struct tcp_bbr *r = &c->bbr;
	bool full = us_of(s->now) - r->cycle_at > r->min_rtt_us;

	if (r->pacing_gain == UNIT)
		return full;
	if (r->pacing_gain > UNIT)	/* until the pipe holds that much, or some of it is lost */
		return full && (s->lost || s->prior_in_flight >= in_pipe(c, max_bw(r), r->pacing_gain));
	return full || s->prior_in_flight <= in_pipe(c, max_bw(r), UNIT);
}

static void move_phase(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	struct tcp_bbr *r = &c->bbr;

	if (r->mode != PROBE_BW || !phase_is_over(c, s))
		return;
	r->cycle = (r->cycle + 1) & (N_PHASES - 1);
	r->cycle_at = us_of(s->now);
}

/* Three rounds, and bw has not grown by a quarter. */
static void look_if_full(struct tcp_bbr *r, const struct tcp_cc_sample *s)
{
	uint64_t full_bw = rate32_get(r->full_bw);

	if (r->full || !r->round_start || s->app_limited)
		return;
	if (max_bw(r) >= full_bw + full_bw / 4) {
		r->full_bw = r->bw.v[0];
		r->full_n = 0;
		return;
	}
	r->full = ++r->full_n >= FULL_ROUNDS;
}

static void look_if_drained(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	struct tcp_bbr *r = &c->bbr;

	if (r->mode == STARTUP && r->full) {
		r->mode = DRAIN;
		c->ssthresh = (uint32_t)in_pipe(c, max_bw(r), UNIT);
	}
	if (r->mode == DRAIN && s->in_flight <= in_pipe(c, max_bw(r), UNIT))
		enter_probe_bw(r, s->now);
}

static void save_cwnd(struct tcp_cc *c)
{
	struct tcp_bbr *r = &c->bbr;

	if (r->prev_ca < TCP_CA_RECOVERY && r->mode != PROBE_RTT)
		r->prior_cwnd = c->cwnd;
	else
		r->prior_cwnd = max_u32(r->prior_cwnd, c->cwnd);
}

static void look_if_probed(struct tcp_cc *c, uint64_t now)
{
	struct tcp_bbr *r = &c->bbr;

	if (!r->probing || us_of(now) - r->probe_at <= PROBE_RTT_US)
		return;
	r->min_rtt_at = us_of(now);	/* ten seconds until the next one */
	c->cwnd = max_u32(c->cwnd, r->prior_cwnd);
	if (r->full)
		enter_probe_bw(r, now);
	else
		r->mode = STARTUP;
}

static void take_rtt(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	struct tcp_bbr *r = &c->bbr;
	bool old = us_of(s->now) - r->min_rtt_at > MIN_RTT_US;

	if (s->rtt_us >= 0 && (s->rtt_us < r->min_rtt_us || old)) {
		r->min_rtt_us = max_u32((uint32_t)min_u64((uint64_t)s->rtt_us, TCP_RTO_MAX_US), 1);
		r->min_rtt_at = us_of(s->now);
	}
	if (old && !r->idle_restart && r->mode != PROBE_RTT) {
		save_cwnd(c);
		r->mode = PROBE_RTT;
		r->probing = 0;
	}
	if (r->mode == PROBE_RTT) {
		c->app_limited = s->total + s->in_flight;	/* what is seen now is our own doing */
		c->app_limited += c->app_limited == 0;
		if (!r->probing && s->in_flight <= 4u * c->mss) {
			r->probing = 1;
			r->probe_at = us_of(s->now);
			r->probe_round_done = 0;
			r->round_end = s->total;
		} else if (r->probing) {
			r->probe_round_done |= r->round_start;
			if (r->probe_round_done)
				look_if_probed(c, s->now);
		}
	}
	if (s->delivered)
		r->idle_restart = 0;
}

/* ---- what follows from it -------------------------------------------------------------------------- */

static void set_gains(struct tcp_bbr *r)
{
	switch (r->mode) {
	case STARTUP:
		r->pacing_gain = r->cwnd_gain = HIGH_GAIN;
		break;
	case DRAIN:
		r->pacing_gain = DRAIN_GAIN;
		r->cwnd_gain = HIGH_GAIN;
		break;
	case PROBE_BW:
		r->pacing_gain = r->lt_use ? UNIT : phase_gain[r->cycle & (N_PHASES - 1)];
		r->cwnd_gain = CWND_GAIN;
		break;
	default:
		r->pacing_gain = r->cwnd_gain = UNIT;
		break;
	}
}

/* A hundredth less than the model says: queues shall not grow by rounding. */
static uint64_t paced(uint64_t bw, uint32_t gain)
{
	return bw * gain / UNIT * 99 / 100;
}

static void set_rate(struct tcp_cc *c, uint32_t srtt_us, uint64_t bw, uint32_t gain)
{
	struct tcp_bbr *r = &c->bbr;
	uint64_t rate = paced(bw, gain);

	if (!r->seen_rtt && srtt_us) {
		r->seen_rtt = 1;
		c->rate = paced((uint64_t)c->cwnd * 1000000 / srtt_us, HIGH_GAIN);
	}
	if (rate && (r->full || rate > c->rate))
		c->rate = rate;
}

/* Recoveries: for a round not more leaves than arrives, and afterwards cwnd is what it was. True:
 * it is not to grow to the model's target now. */
static bool in_trouble(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	struct tcp_bbr *r = &c->bbr;

	if (s->lost)
		c->cwnd = max_u32(c->cwnd > s->lost ? c->cwnd - s->lost : 0, c->mss);
	if (s->ca_state == TCP_CA_RECOVERY && r->prev_ca != TCP_CA_RECOVERY) {
		r->conserving = 1;
		r->round_end = s->total;
		c->cwnd = s->in_flight + s->delivered;
	} else if (r->prev_ca >= TCP_CA_RECOVERY && s->ca_state < TCP_CA_RECOVERY) {
		c->cwnd = max_u32(c->cwnd, r->prior_cwnd);
		r->conserving = 0;
	}
	r->prev_ca = s->ca_state;
	if (r->conserving)
		c->cwnd = max_u32(c->cwnd, s->in_flight + s->delivered);
	return r->conserving;
}

static void set_cwnd(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	struct tcp_bbr *r = &c->bbr;
	uint64_t target, extra;

	if (s->delivered && !in_trouble(c, s)) {
		target = bdp(c, bw_of(r), r->cwnd_gain);
		extra = min_u64(max_u32(r->extra[0], r->extra[1]), bw_of(r) * EXTRA_MAX_US / 1000000);
		target = with_bursts(c, target + (r->full ? extra : 0));
		if (r->full)
			c->cwnd = (uint32_t)min_u64((uint64_t)c->cwnd + s->delivered, target);
		else if (c->cwnd < target || s->total < TCP_INIT_CWND * c->mss)
			c->cwnd += s->delivered;
		c->cwnd = max_u32(c->cwnd, 4u * c->mss);
	}
	c->cwnd = min_u32(max_u32(c->cwnd, c->mss), c->cwnd_max);
	if (r->mode == PROBE_RTT)
		c->cwnd = min_u32(c->cwnd, 4u * c->mss);
}

static void bbr_on_sample(struct tcp_cc *c, const struct tcp_cc_sample *s)
{
	struct tcp_bbr *r = &c->bbr;

	if (!r->begun) {
		r->begun = 1;
		r->min_rtt_us = s->min_rtt_us;
		r->min_rtt_at = r->cycle_at = r->epoch_at = us_of(s->now);
		lt_reset(r, s->now, s->total, s->total_lost);
	}
	take_bw(r, s);
	take_extra(c, s);
	move_phase(c, s);
	look_if_full(r, s);
	look_if_drained(c, s);
	take_rtt(c, s);
	set_gains(r);
	set_rate(c, s->srtt_us, bw_of(r), r->pacing_gain);
	set_cwnd(c, s);
}

/* ---- the rest of the table ------------------------------------------------------------------------------ */

static void bbr_init(struct tcp_cc *c)
{
	c->bbr = (struct tcp_bbr){ .min_rtt_us = UINT32_MAX };
	c->ssthresh = INT32_MAX;
	set_gains(&c->bbr);
}

static void bbr_on_ack(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us)
{
	(void)c;	/* CC_F_OWNS: on_sample() does it all */
	(void)acked;
	(void)now;
	(void)srtt_us;
}

static uint32_t bbr_on_loss(struct tcp_cc *c)
{
	save_cwnd(c);
	return c->ssthresh;
}

/* A silence in which the clock of the instants may have gone round: what was waited for is over, and
 * an interval with so much nothing in it shows no policer. */
static void make_old(struct tcp_bbr *r, uint64_t now)
{
	r->min_rtt_at = us_of(now) - MIN_RTT_US - 1;
	r->probe_at = us_of(now) - PROBE_RTT_US - 1;
	r->cycle_at = us_of(now) - TCP_RTO_MAX_US - 1;	/* longer than any min_rtt */
	r->epoch_at = us_of(now);
	r->epoch_acked = 0;
	r->lt_sampling = 0;
}

/* From idle at the rate that is known, not faster: there is no queue to fill. */
static void bbr_on_idle(struct tcp_cc *c, uint64_t idle_ns, uint64_t now, bool app_limited)
{
	struct tcp_bbr *r = &c->bbr;

	if (idle_ns > SILENCE_NS)
		make_old(r, now);
	if (!app_limited)
		return;
	r->idle_restart = 1;
	r->epoch_at = us_of(now);
	r->epoch_acked = 0;
	if (r->mode == PROBE_BW)
		set_rate(c, 0, bw_of(r), UNIT);
	else if (r->mode == PROBE_RTT)
		look_if_probed(c, now);
}

/* A time-out: what was known of the bandwidth is doubtful, and a round is over. */
static void bbr_on_state(struct tcp_cc *c, enum tcp_ca state, uint64_t now, uint32_t total, uint32_t lost)
{
	struct tcp_bbr *r = &c->bbr;

	if (state != TCP_CA_LOSS)
		return;
	r->prev_ca = TCP_CA_LOSS;
	r->full_bw = rate32_of(0);
	r->round_start = 1;
	if (!r->lt_use && !r->lt_sampling) {
		lt_begin(r, now, total, lost);
		r->lt_sampling = 1;
	}
}

static void bbr_on_undo(struct tcp_cc *c)
{
	struct tcp_bbr *r = &c->bbr;

	r->full_bw = rate32_of(0);	/* a spurious slow-down is no full pipe */
	r->full_n = 0;
	r->lt_bw = rate32_of(0);
	r->lt_use = r->lt_sampling = 0;
	c->cwnd = max_u32(c->cwnd, r->prior_cwnd);
}

const struct tcp_cc_ops tcp_cc_bbr = {
	.name = "bbr", .flags = CC_F_OWNS | CC_F_SAMPLES, .init = bbr_init, .on_ack = bbr_on_ack,
	.on_loss = bbr_on_loss, .on_idle = bbr_on_idle, .on_sample = bbr_on_sample,
	.on_state = bbr_on_state, .on_undo = bbr_on_undo,
};
