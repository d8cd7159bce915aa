/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Paths: dumbbells and long fat pipes, one after the other, and what connections get out of them, as
 * a table. Two hosts, one bottleneck between them, flows from the first to the second side by side.
 * The simulator is deterministic and all sums are in integers, so the table is the same on every
 * machine; it is kept in test/sim/paths.txt, and dev/test-paths compares.
 *
 *	Mb/s	received by the programs in the second half of the time, all flows together
 *	%	of the bottleneck's rate
 *	Jain	of the flows' shares in that half, per mille: (sum x)^2 / (n sum x^2)
 *	again	segments sent again, per mille
 *	RTO	time-outs
 *	undo	cuts of cwnd that were taken back
 *	queue	longest wait at the bottleneck, ms
 *	back	ms from the end of the trouble until three quarters of the rate are received again; of
 *		transfers that end: until the last byte was received
 */
#include "sim/sim.h"

#include <stdlib.h>

#include "core/tcp/tcb.h"

#define MBIT		1000000ull
#define MAX_FLOWS	8
#define MAX_SAMPLES	8192
#define MS		NS_PER_MS
#define US		NS_PER_US
#define ENDLESS		(1ull << 40)

enum { CUBIC = TCP_CC_CUBIC, RENO = TCP_CC_RENO, BBR = TCP_CC_BBR, DCTCP = TCP_CC_DCTCP };

struct pathway {
	const char *name;
	uint64_t bits, rtt_ns;
	uint32_t queue;		/* bytes; 0: one bandwidth-delay product */
	uint32_t n_flows;
	uint8_t	 cc[MAX_FLOWS];
	uint64_t last_ns;
	uint64_t bytes;		/* of each flow; 0: as much as goes */
	uint64_t gap_ns;	/* between the flows' beginnings */
	struct knobs k;		/* what the wire does; all else is set here */
	uint32_t mtu;		/* 0: 1500 */
	uint8_t	 ecn;
	bool	 takes_long;	/* not for make test */
};

#define ONE(x) 1, { x }
#define TWO(x, y) 2, { x, y }
#define FOUR(a, b, c, d) 4, { a, b, c, d }

static const struct pathway paths[] = {
	/* clean, from a switch to the other side of the world */
	{ "lan-cubic", 1000 * MBIT, 100 * US, 200000, ONE(CUBIC), .last_ns = 300 * MS },
	{ "lan-bbr", 1000 * MBIT, 100 * US, 200000, ONE(BBR), .last_ns = 300 * MS },
	{ "lan-reno", 1000 * MBIT, 100 * US, 200000, ONE(RENO), .last_ns = 300 * MS, .takes_long = true },
	{ "lan10g-cubic", 10000 * MBIT, 100 * US, 500000, ONE(CUBIC), .last_ns = 200 * MS, .mtu = 9000,
	  .takes_long = true },
	{ "lan10g-bbr", 10000 * MBIT, 100 * US, 500000, ONE(BBR), .last_ns = 200 * MS, .mtu = 9000,
	  .takes_long = true },
	{ "metro-cubic", 100 * MBIT, 10 * MS, 0, ONE(CUBIC), .last_ns = 5000 * MS },
	{ "metro-bbr", 100 * MBIT, 10 * MS, 0, ONE(BBR), .last_ns = 5000 * MS },
	{ "dsl-cubic", 1 * MBIT, 50 * MS, 20000, ONE(CUBIC), .last_ns = 30000 * MS },
	{ "dsl-bbr", 1 * MBIT, 50 * MS, 20000, ONE(BBR), .last_ns = 30000 * MS },
	{ "wan-cubic", 100 * MBIT, 100 * MS, 0, ONE(CUBIC), .last_ns = 20000 * MS, .takes_long = true },
	{ "wan-bbr", 100 * MBIT, 100 * MS, 0, ONE(BBR), .last_ns = 20000 * MS },
	{ "moon-cubic", 50 * MBIT, 300 * MS, 0, ONE(CUBIC), .last_ns = 60000 * MS, .takes_long = true },
	{ "moon-bbr", 50 * MBIT, 300 * MS, 0, ONE(BBR), .last_ns = 60000 * MS, .takes_long = true },
	{ "fat-bbr", 1000 * MBIT, 100 * MS, 0, ONE(BBR), .last_ns = 10000 * MS, .takes_long = true },
	{ "fat-cubic", 1000 * MBIT, 100 * MS, 0, ONE(CUBIC), .last_ns = 10000 * MS, .takes_long = true },

	/* losses that tell nothing of a queue */
	{ "fat-loss-bbr", 1000 * MBIT, 100 * MS, 0, ONE(BBR), .last_ns = 8000 * MS, .k.loss_ppm = 1000 },
	{ "wan-loss-bbr", 100 * MBIT, 100 * MS, 0, ONE(BBR), .last_ns = 20000 * MS, .k.loss_ppm = 1000 },
	{ "wan-loss-cubic", 100 * MBIT, 100 * MS, 0, ONE(CUBIC), .last_ns = 20000 * MS, .k.loss_ppm = 1000 },
	{ "wan-loss-reno", 100 * MBIT, 100 * MS, 0, ONE(RENO), .last_ns = 20000 * MS, .k.loss_ppm = 1000 },
	{ "loss1-cubic", 20 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 20000 * MS, .k.loss_ppm = 10000 },
	{ "loss1-bbr", 20 * MBIT, 40 * MS, 0, ONE(BBR), .last_ns = 20000 * MS, .k.loss_ppm = 10000 },
	{ "loss10-cubic", 10 * MBIT, 20 * MS, 0, ONE(CUBIC), .last_ns = 30000 * MS, .k.loss_ppm = 100000 },
	{ "loss10-bbr", 10 * MBIT, 20 * MS, 0, ONE(BBR), .last_ns = 30000 * MS, .k.loss_ppm = 100000 },
	{ "bursts-cubic", 50 * MBIT, 30 * MS, 0, ONE(CUBIC), .last_ns = 20000 * MS,
	  .k.burst_ppm = 500, .k.burst_frames = 20 },
	{ "bursts-bbr", 50 * MBIT, 30 * MS, 0, ONE(BBR), .last_ns = 20000 * MS,
	  .k.burst_ppm = 500, .k.burst_frames = 20 },

	/* order */
	{ "reorder1-cubic", 100 * MBIT, 20 * MS, 0, ONE(CUBIC), .last_ns = 8000 * MS,
	  .k.reorder_ppm = 10000, .k.reorder_ns = 4 * MS },
	{ "reorder30-cubic", 100 * MBIT, 20 * MS, 0, ONE(CUBIC), .last_ns = 8000 * MS,
	  .k.reorder_ppm = 300000, .k.reorder_ns = 4 * MS },
	{ "reorder30-reno", 100 * MBIT, 20 * MS, 0, ONE(RENO), .last_ns = 8000 * MS,
	  .k.reorder_ppm = 300000, .k.reorder_ns = 4 * MS, .takes_long = true },
	{ "reorder30-bbr", 100 * MBIT, 20 * MS, 0, ONE(BBR), .last_ns = 8000 * MS,
	  .k.reorder_ppm = 300000, .k.reorder_ns = 4 * MS },

	/* the way back */
	{ "ackloss-cubic", 50 * MBIT, 30 * MS, 0, ONE(CUBIC), .last_ns = 10000 * MS, .k.ack_loss_ppm = 300000 },
	{ "ackloss-bbr", 50 * MBIT, 30 * MS, 0, ONE(BBR), .last_ns = 10000 * MS, .k.ack_loss_ppm = 300000 },
	{ "acklumps-cubic", 100 * MBIT, 20 * MS, 0, ONE(CUBIC), .last_ns = 8000 * MS, .k.ack_lump_ns = 10 * MS },
	{ "acklumps-bbr", 100 * MBIT, 20 * MS, 0, ONE(BBR), .last_ns = 8000 * MS, .k.ack_lump_ns = 10 * MS },

	/* queues: much too long, with marks, and none at all */
	{ "bloat-cubic", 10 * MBIT, 20 * MS, 1000000, ONE(CUBIC), .last_ns = 20000 * MS },
	{ "bloat-bbr", 10 * MBIT, 20 * MS, 1000000, ONE(BBR), .last_ns = 20000 * MS },
	{ "shallow-cubic", 100 * MBIT, 40 * MS, 30000, ONE(CUBIC), .last_ns = 20000 * MS, .takes_long = true },
	{ "shallow-bbr", 100 * MBIT, 40 * MS, 30000, ONE(BBR), .last_ns = 20000 * MS },
	{ "ecn-cubic", 50 * MBIT, 20 * MS, 400000, ONE(CUBIC), .last_ns = 15000 * MS, .ecn = TCP_ECN_ASK,
	  .k.mark_bytes = 100000 },
	{ "ecn-dctcp", 1000 * MBIT, 200 * US, 500000, TWO(DCTCP, DCTCP), .last_ns = 300 * MS,
	  .k.mark_bytes = 60000 },
	{ "police-cubic", 100 * MBIT, 20 * MS, 0, ONE(CUBIC), .last_ns = 20000 * MS,
	  .k.police_bits = 20 * MBIT, .k.police_bytes = 50000 },
	{ "police-bbr", 100 * MBIT, 20 * MS, 0, ONE(BBR), .last_ns = 20000 * MS,
	  .k.police_bits = 20 * MBIT, .k.police_bytes = 50000 },

	/* shares */
	{ "fair-cubic", 50 * MBIT, 20 * MS, 375000, FOUR(CUBIC, CUBIC, CUBIC, CUBIC), .last_ns = 40000 * MS,
	  .gap_ns = 1000 * MS, .takes_long = true },
	{ "fair-reno", 50 * MBIT, 20 * MS, 375000, FOUR(RENO, RENO, RENO, RENO), .last_ns = 40000 * MS,
	  .gap_ns = 1000 * MS, .takes_long = true },
	{ "fair-bbr", 50 * MBIT, 20 * MS, 375000, FOUR(BBR, BBR, BBR, BBR), .last_ns = 40000 * MS,
	  .gap_ns = 1000 * MS },
	{ "fair-bbr-1bdp", 50 * MBIT, 20 * MS, 0, FOUR(BBR, BBR, BBR, BBR), .last_ns = 40000 * MS,
	  .gap_ns = 1000 * MS, .takes_long = true },
	{ "cubic-reno", 50 * MBIT, 20 * MS, 0, FOUR(CUBIC, RENO, CUBIC, RENO), .last_ns = 40000 * MS,
	  .takes_long = true },
	{ "cubic-bbr", 50 * MBIT, 20 * MS, 0, TWO(CUBIC, BBR), .last_ns = 40000 * MS },
	{ "cubic-bbr-deep", 50 * MBIT, 20 * MS, 1000000, TWO(CUBIC, BBR), .last_ns = 40000 * MS,
	  .takes_long = true },
	{ "fair-dctcp", 1000 * MBIT, 200 * US, 500000, FOUR(DCTCP, DCTCP, DCTCP, DCTCP), .last_ns = 600 * MS,
	  .k.mark_bytes = 60000, .takes_long = true },

	/* changes */
	{ "silence-cubic", 50 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 10000 * MS,
	  .k.event_at = 4000 * MS, .k.silence_ns = 500 * MS },
	{ "silence-bbr", 50 * MBIT, 40 * MS, 0, ONE(BBR), .last_ns = 10000 * MS,
	  .k.event_at = 4000 * MS, .k.silence_ns = 500 * MS },
	{ "faster-cubic", 20 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 16000 * MS,
	  .k.event_at = 4000 * MS, .k.then_bits = 100 * MBIT },
	{ "faster-bbr", 20 * MBIT, 40 * MS, 0, ONE(BBR), .last_ns = 16000 * MS,
	  .k.event_at = 4000 * MS, .k.then_bits = 100 * MBIT },
	{ "slower-cubic", 100 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 16000 * MS,
	  .k.event_at = 4000 * MS, .k.then_bits = 20 * MBIT, .takes_long = true },
	{ "slower-bbr", 100 * MBIT, 40 * MS, 0, ONE(BBR), .last_ns = 16000 * MS,
	  .k.event_at = 4000 * MS, .k.then_bits = 20 * MBIT },
	{ "mtu-cubic", 50 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 10000 * MS,
	  .k.event_at = 4000 * MS, .k.then_mtu = 1300 },

	/* the end of a transfer is lost: no time-out is needed */
	{ "tail1", 50 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 10000 * MS, .bytes = 100000, .k.tail_bytes = 1000 },
	{ "tail3", 50 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 10000 * MS, .bytes = 100000, .k.tail_bytes = 4000 },
	{ "tail10", 50 * MBIT, 40 * MS, 0, ONE(CUBIC), .last_ns = 10000 * MS, .bytes = 100000, .k.tail_bytes = 14000 },
	{ "tail3-bbr", 50 * MBIT, 40 * MS, 0, ONE(BBR), .last_ns = 10000 * MS, .bytes = 100000, .k.tail_bytes = 4000 },
};

struct path_run {
	const struct pathway *p;
	uint64_t every_ns, next_at;
	uint64_t got[MAX_SAMPLES];	/* bytes received by then, all flows */
	uint64_t half[MAX_FLOWS], end[MAX_FLOWS];
	uint32_t n;
	uint64_t max_wait, done_at;
};

static const struct pathway *setting_up;	/* the case whose world is being made */

/* ---- making ---------------------------------------------------------------------------------- */

static uint64_t bdp(const struct pathway *p)
{
	return p->bits / 8 * (p->rtt_ns / 1000) / 1000000;
}

static uint32_t pow2_above(uint64_t v)
{
	uint32_t n = 256;

	while (n < v)
		n *= 2;
	return n;
}

static void set_path(struct sim *w, struct knobs *k)
{
	const struct pathway *p = setting_up;
	struct knobs had = *k;
	uint32_t mtu = p->mtu ? p->mtu : 1500;
	uint64_t window = 2 * bdp(p) * max_u64(p->k.then_bits / p->bits, 1) + p->queue + 200000;

	(void)w;
	*k = p->k;
	k->n_hosts = had.n_hosts;
	k->n_stacks_a_host = had.n_stacks_a_host;
	k->n_socks = had.n_socks;
	k->n_blocks = had.n_blocks;
	k->complete_ns = 10 * US;
	k->n_threads = k->n_procs = 1;
	k->cost_ns = 1000;
	k->watchdog_ns = had.watchdog_ns;
	k->epoll_ppm = 1000000;
	k->backlog = had.backlog;
	k->ends = END_CLIENT_CLOSES;
	k->limit_ns = 2 * p->last_ns + 100 * NS_PER_S;
	k->mtu = mtu;
	k->n_pkts = min_u32(pow2_above(2 * p->n_flows * window / min_u32(mtu, 3800)), N_PKTS_MAX);
	k->ring_slots = min_u32(k->n_pkts / 2, 2048);
	k->delay_ns = p->rtt_ns / 2;
	k->bits_per_s = p->bits;
	k->queue_bytes = p->queue ? p->queue : (uint32_t)max_u64(bdp(p), 5 * mtu);
	k->n_talks = p->n_flows;
	k->rd_max = k->wr_max = 1 << 17;
	k->bytes_min = k->bytes_max = p->bytes ? p->bytes : ENDLESS;
	k->rcvbuf = k->sndbuf = (uint32_t)min_u64(2 * window, 200000000);
}

void path_opts(const struct sim *w, struct tcp_opts *o)
{
	tcp_opts_default(o);
	o->reuseaddr = 1;
	o->rcvbuf = w->k.rcvbuf;
	o->sndbuf = w->k.sndbuf;
	o->rcvbuf_locked = o->sndbuf_locked = 1;
	if (w->path->p->ecn)
		o->ecn = w->path->p->ecn;
	o->cc = w->path->p->cc[0] == DCTCP ? DCTCP : CUBIC;
}

void path_talk(const struct sim *w, struct talk *c)
{
	const struct pathway *p = w->path->p;

	for (uint32_t i = 0; i < 2; i++) {
		struct end *e = &c->e[i];

		path_opts(w, &c->opts[i]);
		c->opts[i].cc = p->cc[c->id];
		e->tx_total = i ? 0 : w->k.bytes_max;
		e->rx_total = i ? w->k.bytes_max : 0;
		e->rd_max = e->wr_max = w->k.wr_max;
		e->pause_ppm = e->think_ppm = 0;
		e->et = e->oneshot = false;
	}
	c->n_rounds = 0;
	c->v6 = false;
	c->laddr = w->host[0].a4;
	c->raddr = w->host[1].a4;
	c->rport = SIM_PORT;
	c->e[0].start_at = 10000 + c->id * (p->gap_ns ? p->gap_ns : 1000);
}

/* ---- measuring ------------------------------------------------------------------------------- */

static uint64_t got(const struct sim *w, uint32_t i)
{
	return w->talks[i].e[1].rx_pos;
}

static bool all_got(const struct sim *w)
{
	for (uint32_t i = 0; i < w->n_talks; i++) {
		if (got(w, i) < w->k.bytes_max)
			return false;
	}
	return true;
}

bool path_look(struct sim *w)
{
	struct path_run *r = w->path;
	uint64_t at = w->now - w->began, sum = 0;

	if (r->p->bytes && !r->done_at && all_got(w)) {
		r->done_at = at;
		return true;
	}
	if (at < r->next_at)
		return false;
	for (uint32_t i = 0; i < w->n_talks; i++) {
		if (at < r->p->last_ns / 2 + r->every_ns)
			r->half[i] = got(w, i);
		r->end[i] = got(w, i);
		sum += got(w, i);
	}
	if (r->n < MAX_SAMPLES)
		r->got[r->n++] = sum;
	r->next_at += r->every_ns;
	r->max_wait = max_u64(w->pipe[0][1].max_wait, r->max_wait);
	return at >= r->p->last_ns;
}

/* Per mille. */
static uint32_t jain(const uint64_t *x, uint32_t n)
{
	uint64_t sum = 0, squares = 0;

	for (uint32_t i = 0; i < n; i++) {
		sum += x[i] >> 10;
		squares += (x[i] >> 10) * (x[i] >> 10);
	}
	return squares ? (uint32_t)(sum * sum * 1000 / (n * squares)) : 0;
}

static uint64_t rate_after(const struct pathway *p)
{
	uint64_t r = p->k.then_bits && p->k.event_at ? p->k.then_bits : p->bits;

	return p->k.police_bits ? min_u64(r, p->k.police_bits) : r;
}

/* When three quarters of the rate were received again, in 200 ms at least. */
static int64_t back_ms(const struct path_run *r)
{
	const struct pathway *p = r->p;
	uint64_t from = p->k.event_at + p->k.silence_ns;
	uint32_t span = (uint32_t)(max_u64(200 * MS, 2 * p->rtt_ns) / r->every_ns);
	uint64_t want = rate_after(p) / 8 * (span * r->every_ns / US) / 1000000 * 3 / 4;

	if (p->bytes)
		return r->done_at ? (int64_t)(r->done_at / MS) : -1;
	if (p->k.event_at == 0)
		return -1;
	for (uint32_t i = (uint32_t)(from / r->every_ns); i + span < r->n; i++) {
		if (r->got[i + span] - r->got[i] >= want)
			return (int64_t)((i * r->every_ns - from) / MS);
	}
	return -1;
}

static void print(const struct path_run *r, const struct sim_result *res)
{
	const struct pathway *p = r->p;
	uint64_t x[MAX_FLOWS], sum = 0, ns = (r->n ? r->n : 1) * r->every_ns;
	uint64_t half_at = (p->last_ns / 2 / r->every_ns) * r->every_ns, sent = max_u64(res->events[EV_TCP_OUT], 1);
	uint64_t span_us = max_u64((ns > half_at ? ns - half_at : 1) / US, 1);
	int64_t back = back_ms(r);
	uint64_t mbps10;

	for (uint32_t i = 0; i < p->n_flows; i++) {
		x[i] = r->end[i] - r->half[i];
		sum += x[i];
	}
	mbps10 = p->bytes ? 0 : sum * 80 / span_us;
	printf("%-16s %6llu.%llu %4llu %5u %6llu %5llu %5llu %6llu %6lld", p->name, (unsigned long long)mbps10 / 10,
	       (unsigned long long)mbps10 % 10, (unsigned long long)(mbps10 * 10 * MBIT / rate_after(p)),
	       p->n_flows > 1 ? jain(x, p->n_flows) : 1000,
	       (unsigned long long)(res->events[EV_TCP_RETRANS] * 2000 / sent),
	       (unsigned long long)res->events[EV_TCP_RTO], (unsigned long long)res->events[EV_TCP_UNDO],
	       (unsigned long long)(r->max_wait / MS), (long long)back);
	for (uint32_t i = 0; i < p->n_flows && p->n_flows > 1; i++)
		printf(" %s=%llu", tcp_cc_name(p->cc[i]), (unsigned long long)(x[i] * 8 / span_us));
	putchar('\n');
	fflush(stdout);
}

int path_table(const char *only, bool all)
{
	static const struct world world = { "path", "one path, measured", set_path, 0 };
	static struct path_run run;
	static struct sim_result res;
	int failed = 0;

	printf("# %-14s %8s %4s %5s %6s %5s %5s %6s %6s\n", "path", "Mb/s", "%", "Jain", "again", "RTO", "undo",
	       "queue", "back");
	for (uint32_t i = 0; i < n_elems(paths); i++) {
		const struct pathway *p = &paths[i];

		if (only ? strncmp(p->name, only, strlen(only)) != 0 : p->takes_long && !all)
			continue;
		memset(&run, 0, sizeof(run));
		run.p = setting_up = p;
		run.every_ns = max_u64(max_u64(p->rtt_ns / 4, p->last_ns / (MAX_SAMPLES - 8)), 2 * MS);
		run.next_at = run.every_ns;
		sim_run_path(&world, &run, &res);
		if (res.failed) {
			printf("FAILED  %s: %s\n", p->name, res.reason);
			failed = 1;
			continue;
		}
		print(&run, &res);
	}
	return failed;
}
