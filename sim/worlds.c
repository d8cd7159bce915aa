/* SPDX-License-Identifier: BSD-2-Clause */
/* The worlds: what is hard about each, as knobs. */
#include "sim/sim.h"

static uint64_t log_between(struct sim *w, uint64_t lo, uint64_t hi)
{
	return sim_skewed(w, lo, hi);
}

static void some_wire(struct sim *w, struct knobs *k)
{
	k->delay_ns = log_between(w, 1000, 40 * NS_PER_MS);
	k->jitter_ns = prng_below(&w->rng, 2) ? k->delay_ns / 4 : 0;
	if (prng_below(&w->rng, 2)) {
		k->bits_per_s = log_between(w, 2000000, 10000000000ull);
		k->queue_bytes = (uint32_t)log_between(w, 20000, 2000000);
	}
}

static void some_loss(struct sim *w, struct knobs *k)
{
	k->loss_ppm = (uint32_t)log_between(w, 0, 200000);
	switch (prng_below(&w->rng, 5)) {
	case 0:
		k->loss_ppm /= 2;
		k->burst_ppm = (uint32_t)log_between(w, 100, 10000);
		k->burst_frames = 1 + prng_below(&w->rng, 10);
		break;
	case 1:
		k->reorder_ppm = (uint32_t)log_between(w, 1000, 300000);
		break;
	case 2:
		k->dup_ppm = (uint32_t)log_between(w, 1000, 200000);
		break;
	case 3:
		k->corrupt_ppm = (uint32_t)log_between(w, 1000, 100000);
		break;
	default:
		k->reorder_ppm = (uint32_t)log_between(w, 1000, 100000);
		k->dup_ppm = (uint32_t)log_between(w, 1000, 50000);
		k->corrupt_ppm = (uint32_t)log_between(w, 1000, 50000);
	}
}

static void jumbo(struct sim *w, struct knobs *k)
{
	static const uint32_t mtus[] = { 1280, 1400, 1500, 4000, 9000, 65535 };

	k->mtu = mtus[prng_below(&w->rng, n_elems(mtus))];
	k->n_pkts = k->mtu > 9000 ? 2048 : 1024;
	k->ring_slots = k->mtu > 9000 ? 512 : 256;
	k->check_ppm = 60000;
}

/* Peers and middleboxes that know less than we do. */
static void some_strip(struct sim *w, struct knobs *k)
{
	static const uint32_t bits[] = { STRIP_MSS, STRIP_WSCALE, STRIP_SACK, STRIP_TS };

	for (uint32_t i = 0; i < n_elems(bits); i++)
		k->strip |= prng_below(&w->rng, 2) ? bits[i] : 0;
}

static void set_bulk(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	jumbo(w, k);
	k->bytes_min = 50000;
	k->bytes_max = 2000000;
	k->n_talks = 1 + prng_below(&w->rng, 3);
}

static void set_lossy(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	some_loss(w, k);
	if (prng_below(&w->rng, 8) == 0)
		jumbo(w, k);
	k->bytes_min = 2000;
	k->bytes_max = k->loss_ppm > 100000 ? 100000 : 300000;
	k->duplex_ppm = 400000;
	k->n_talks = 1 + prng_below(&w->rng, 3);
	k->pause_ppm = prng_below(&w->rng, 2) ? 50000 : 0;
	if (prng_below(&w->rng, 3) == 0)
		some_strip(w, k);
	if (prng_below(&w->rng, 3) == 0)
		k->mark_ppm = (uint32_t)log_between(w, 1000, 300000);
	if (prng_below(&w->rng, 4) == 0)
		k->ack_loss_ppm = (uint32_t)log_between(w, 10000, 300000);
	if (prng_below(&w->rng, 8) == 0)
		k->ack_lump_ns = log_between(w, 100000, 20 * NS_PER_MS);
}

static void set_duplex(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->duplex_ppm = 1000000;
	k->bytes_max = 500000;
	k->n_talks = 1 + prng_below(&w->rng, 4);
	k->n_threads = 1 + prng_below(&w->rng, 3);
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 20000) : 0;
	k->fiddle_ppm = prng_below(&w->rng, 2) ? 200000 : 0;
	if (prng_below(&w->rng, 3) == 0)
		some_strip(w, k);
}

static void set_rounds(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->rounds_ppm = 1000000;
	k->rounds_max = 60;
	k->round_bytes_max = (uint32_t)log_between(w, 10, 20000);
	k->n_talks = 1 + prng_below(&w->rng, 8);
	k->n_threads = 1 + prng_below(&w->rng, 3);
	k->think_ppm = prng_below(&w->rng, 2) ? 100000 : 0;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 50000) : 0;
}

static void set_short(struct sim *w, struct knobs *k)
{
	k->delay_ns = log_between(w, 1000, 5 * NS_PER_MS);
	k->n_hosts = 2 + prng_below(&w->rng, 3);
	k->n_socks = 512;
	k->n_talks = 60 + prng_below(&w->rng, 150);
	k->spread_ns = log_between(w, NS_PER_MS, 2 * NS_PER_S);
	k->bytes_max = 3000;
	k->duplex_ppm = 500000;
	k->rounds_ppm = 300000;
	k->rounds_max = 3;
	k->ends = END_ORDERLY | END_CLIENT_EAGER | END_ABORT | END_LINGER0;
	k->backlog = 512;
	k->n_blocks = 4;
	k->n_threads = 1 + prng_below(&w->rng, 3);
	k->check_ppm = 50000;
	if (prng_below(&w->rng, 2)) {
		k->loss_ppm = (uint32_t)log_between(w, 0, 100000);
		k->dup_ppm = (uint32_t)log_between(w, 0, 50000);
		k->reorder_ppm = (uint32_t)log_between(w, 0, 50000);
	}
}

static void set_backlog(struct sim *w, struct knobs *k)
{
	set_short(w, k);
	k->n_hosts = 2;
	k->n_talks = 40 + prng_below(&w->rng, 60);
	k->spread_ns = log_between(w, 10000, 100 * NS_PER_MS);
	k->backlog = prng_below(&w->rng, 6);
	k->keepidle_s = 10;	/* a client whose last ACK met a full queue learns of it so */
	k->may_fail = true;	/* it may have sent all, and closed, by then */
	k->stop_every_ns = 50 * NS_PER_MS;
	k->stop_ns = 300 * NS_PER_MS;
}

static void set_stall(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->pause_ppm = 300000;
	k->pause_ns = log_between(w, 10 * NS_PER_MS, 20 * NS_PER_S);
	k->rd_max = (uint32_t)log_between(w, 10, 20000);
	k->rcvbuf = 60000;
	k->sndbuf = 100000;
	k->bytes_max = 100000;
	k->duplex_ppm = 300000;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 100000) : 0;
}

static void set_tiny(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->wr_max = (uint32_t)log_between(w, 1, 400);
	k->bytes_max = 20000;
	k->tiny_ppm = 500000;
	k->think_ppm = 50000;
	k->duplex_ppm = 500000;
	k->rounds_ppm = 300000;
	k->oob_ppm = prng_below(&w->rng, 2) ? 50000 : 0;
	k->fiddle_ppm = prng_below(&w->rng, 2) ? 200000 : 0;
	k->n_talks = 1 + prng_below(&w->rng, 4);
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 100000) : 0;
}

static void set_udp(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	if (prng_below(&w->rng, 2))
		some_loss(w, k);
	jumbo(w, k);
	k->n_hosts = 2 + prng_below(&w->rng, 2);
	k->n_grams = 1 + prng_below(&w->rng, 6);
	k->gram_bytes_max = prng_below(&w->rng, 2) ? 200 : 65000;
	k->neigh_ns = prng_below(&w->rng, 2) ? 5 * NS_PER_MS : 0;
	k->n_talks = prng_below(&w->rng, 2);
	k->bytes_max = 50000;
	k->n_threads = 1 + prng_below(&w->rng, 3);
}

static void set_dead(struct sim *w, struct knobs *k)
{
	/* With all frames in the queues of the silent, writers ask for some a thousand times a second,
	 * for a quarter of an hour: right, and slow to watch. */
	k->n_pkts = 4096;
	k->n_talks = 2 + prng_below(&w->rng, 6);
	k->bytes_max = 2000000;
	k->bits_per_s = 50000000;
	k->queue_bytes = 200000;
	k->duplex_ppm = 500000;
	k->pause_ppm = 100000;
	k->cut_at = log_between(w, NS_PER_MS, 300 * NS_PER_MS);
	k->keepidle_s = 1 + prng_below(&w->rng, 20);
	k->user_timeout_ms = prng_below(&w->rng, 2) ? 1000 + prng_below(&w->rng, 30000) : 0;
	k->may_fail = true;
}

static void set_timewait(struct sim *w, struct knobs *k)
{
	set_short(w, k);
	k->n_hosts = 2;
	k->n_talks = 150 + prng_below(&w->rng, 150);
	k->spread_ns = 20 * NS_PER_S;
	k->v6_ppm = 0;
	k->n_blocks = 1;
	k->ends = END_ORDERLY | END_CLIENT_EAGER;
}

static void set_veth(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	jumbo(w, k);
	k->n_pkts = 2048;
	k->ring_slots = 512;
	k->unfinished_ppm = 800000;
	k->glue_ppm = prng_below(&w->rng, 4) ? 900000 : 0;
	k->bytes_min = 20000;
	k->bytes_max = 1500000;
	k->duplex_ppm = 300000;
	k->rounds_ppm = 200000;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 50000) : 0;
	k->n_grams = prng_below(&w->rng, 2);
}

static void set_stopped(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->n_threads = 1 + prng_below(&w->rng, 4);
	k->stop_every_ns = log_between(w, NS_PER_MS, 200 * NS_PER_MS);
	k->stop_ns = log_between(w, NS_PER_MS, 2 * NS_PER_S);
	k->hold_ppm = 200000;
	k->hold_ns = log_between(w, 10000, 10 * NS_PER_MS);
	k->defer_ppm = prng_below(&w->rng, 2) ? 300000 : 0;
	k->watchdog_ns = log_between(w, NS_PER_MS / 10, 20 * NS_PER_MS);
	k->duplex_ppm = 500000;
	k->rounds_ppm = 300000;
	k->n_talks = 1 + prng_below(&w->rng, 6);
	k->bytes_max = 150000;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 100000) : 0;
	k->n_grams = prng_below(&w->rng, 3);
}

static void set_killed(struct sim *w, struct knobs *k)
{
	set_stopped(w, k);
	k->n_grams = 0;
	k->n_procs = 1 + prng_below(&w->rng, 2);
	k->n_threads = k->n_procs + prng_below(&w->rng, 2);
	k->n_talks = 4 + prng_below(&w->rng, 10);
	k->kill_at = log_between(w, 100000, NS_PER_S);
	k->kill_stack = prng_below(&w->rng, 2);
}

static void set_slain(struct sim *w, struct knobs *k)
{
	set_killed(w, k);
	k->kill_at = 0;
	k->slay_ppm = (uint32_t)log_between(w, 10, 10000);
	k->may_leak = true;
	k->may_fail = true;
	k->check_ppm = 0;
}

static void set_felled(struct sim *w, struct knobs *k)
{
	set_slain(w, k);
	k->step_ppm = (uint32_t)log_between(w, 100, 50000);
	k->step_max = (uint32_t)log_between(w, 10, 10000);
}

static void set_scarce(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->n_pkts = prng_below(&w->rng, 2) ? 256 : 128;
	k->ring_slots = prng_below(&w->rng, 2) ? 32 : 64;
	k->mishap_ppm = (uint32_t)log_between(w, 0, 100000);
	k->n_talks = 1 + prng_below(&w->rng, 12);
	k->bytes_max = 100000;
	k->duplex_ppm = 500000;
	k->n_grams = prng_below(&w->rng, 3);
	k->pause_ppm = 50000;
	k->complete_ns = log_between(w, 1000, 20 * NS_PER_MS);
	k->shuffle_ppm = 300000;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 50000) : 0;
	k->may_fail = k->mishap_ppm != 0;
	k->check_ppm = 500000;
}

static void set_mirror(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->n_hosts = 2 + prng_below(&w->rng, 3);
	k->neigh_ns = log_between(w, 10000, 300 * NS_PER_MS);
	k->churn_every_ns = log_between(w, 10000, 50 * NS_PER_MS);
	k->mtu_churn_ppm = prng_below(&w->rng, 2) ? 200000 : 0;
	k->n_talks = 4 + prng_below(&w->rng, 10);
	k->spread_ns = 100 * NS_PER_MS;
	k->bytes_max = 60000;
	k->duplex_ppm = 500000;
	k->n_grams = prng_below(&w->rng, 4);
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 50000) : 0;
}

static void set_pmtu(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	jumbo(w, k);
	if (k->mtu < 1400)
		k->mtu = 1500;
	k->path_mtu = 1280 + prng_below(&w->rng, k->mtu > 2000 ? 700 : 100);
	k->bytes_min = 5000;
	k->bytes_max = 300000;
	k->duplex_ppm = 300000;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 50000) : 0;
}

/* Routes that change under what is on its way. */
static void set_flaps(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	jumbo(w, k);
	k->mtu = max_u32(k->mtu, 1500);
	k->flap_every_ns = log_between(w, 20 * NS_PER_MS, 2 * NS_PER_S);
	k->bytes_min = 20000;
	k->bytes_max = 400000;
	k->duplex_ppm = 300000;
	k->rounds_ppm = 200000;
	k->n_talks = 1 + prng_below(&w->rng, 4);
	k->pause_ppm = prng_below(&w->rng, 2) ? 50000 : 0;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 50000) : 0;
}

/* Windows in units of up to 16 KiB: what is offered is rounded, and may not be taken back. */
static void set_giant(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->giant_ppm = 800000;
	k->n_pkts = prng_below(&w->rng, 2) ? 256 : 4096;
	k->check_ppm = 60000;
	k->bytes_min = 20000;
	k->bytes_max = k->n_pkts > 256 ? 1500000 : 200000;
	k->duplex_ppm = 400000;
	k->pause_ppm = prng_below(&w->rng, 2) ? 200000 : 0;
	k->pause_ns = log_between(w, NS_PER_MS, 3 * NS_PER_S);
	k->n_talks = 1 + prng_below(&w->rng, 3);
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 50000) : 0;
	k->reorder_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 200000) : 0;
}

static void set_forged(struct sim *w, struct knobs *k)
{
	set_duplex(w, k);
	k->strip = 0;
	k->bytes_max = 100000;
	k->forge_ppm = (uint32_t)log_between(w, 1000, 500000);
	k->reorder_ppm = prng_below(&w->rng, 2) ? 10000 : 0;
	k->dup_ppm = 1;		/* no perfect wire */
	if (prng_below(&w->rng, 2)) {
		k->loss_ppm = (uint32_t)log_between(w, 1000, 50000);
		k->unreach_ppm = 500000;
		k->may_fail = true;	/* a connection that is being opened obeys such news */
	}
}

static void set_shared(struct sim *w, struct knobs *k)
{
	some_wire(w, k);
	k->n_hosts = 2 + prng_below(&w->rng, 3);
	k->n_stacks_a_host = 2;
	k->n_procs = 2;
	k->n_threads = 2 + prng_below(&w->rng, 3);
	k->n_talks = 10 + prng_below(&w->rng, 30);
	k->bytes_max = 50000;
	k->rounds_ppm = 300000;
	k->duplex_ppm = 300000;
	k->hold_ppm = 50000;
	k->hold_ns = 100000;
	k->defer_ppm = 200000;
	k->n_grams = prng_below(&w->rng, 4);
	k->ends = END_ORDERLY | END_CLIENT_EAGER | END_ABORT;
	k->loss_ppm = prng_below(&w->rng, 2) ? (uint32_t)log_between(w, 0, 30000) : 0;
}

/* Two or three stacks of one host, through each other's memory. */
static void set_aperture(struct sim *w, struct knobs *k)
{
	k->aperture = true;
	k->n_socks = 256;
	k->n_hosts = 1;
	k->n_stacks_a_host = 2 + prng_below(&w->rng, 2);
	k->no_vis = prng_below(&w->rng, 2);
	k->loopback_ppm = prng_below(&w->rng, 2) ? 500000 : 0;
	k->n_procs = 1 + prng_below(&w->rng, 2);
	k->n_threads = k->n_procs + prng_below(&w->rng, 3);
	k->n_talks = 1 + (uint32_t)log_between(w, 0, 40);
	k->spread_ns = log_between(w, 10000, 2 * NS_PER_S);
	k->bytes_max = log_between(w, 100, 3000000);
	k->duplex_ppm = 500000;
	k->rounds_ppm = 300000;
	k->rounds_max = 40;
	k->round_bytes_max = (uint32_t)log_between(w, 10, 100000);
	k->rd_max = k->wr_max = (uint32_t)log_between(w, 100, 100000);
	k->ends = END_ORDERLY | END_CLIENT_EAGER | END_ABORT | END_LINGER0;
	k->think_ppm = prng_below(&w->rng, 2) ? 100000 : 0;
	k->pause_ppm = prng_below(&w->rng, 2) ? 100000 : 0;
	k->pause_ns = log_between(w, 100000, 5 * NS_PER_S);
	k->sndbuf = prng_below(&w->rng, 3) ? 0 : (uint32_t)log_between(w, 4000, 300000);
	k->rcvbuf = prng_below(&w->rng, 3) ? 0 : (uint32_t)log_between(w, 4000, 300000);
	k->fiddle_ppm = prng_below(&w->rng, 4) ? 0 : 200000;
	k->oob_ppm = prng_below(&w->rng, 4) ? 0 : 50000;
	k->lowat_ppm = prng_below(&w->rng, 3) ? 0 : 500000;
	k->hold_ppm = prng_below(&w->rng, 2) ? 200000 : 0;
	k->hold_ns = log_between(w, 10000, 10 * NS_PER_MS);
	k->watchdog_ns = log_between(w, NS_PER_MS / 10, 20 * NS_PER_MS);
	if (prng_below(&w->rng, 3) == 0) {
		k->stop_every_ns = log_between(w, NS_PER_MS, 200 * NS_PER_MS);
		k->stop_ns = log_between(w, NS_PER_MS, 2 * NS_PER_S);
	}
	k->n_grams = prng_below(&w->rng, 3);
	if (prng_below(&w->rng, 4) == 0) {
		k->n_grams = 0;
		k->kill_at = log_between(w, 10000, NS_PER_S);
		k->kill_stack = prng_below(&w->rng, 3);
	}
	k->sweep_ppm = prng_below(&w->rng, 4) ? 0 : (uint32_t)log_between(w, 100, 100000);
	if (prng_below(&w->rng, 6) == 0) {	/* short ones, more than there are ports */
		k->n_talks = 100 + prng_below(&w->rng, 200);
		k->bytes_max = 2000;
		k->rounds_max = 3;
		k->round_bytes_max = 300;
		k->n_socks = 1024;
	}
	k->ap_pages = prng_below(&w->rng, 4) ? 0 : (uint32_t)log_between(w, 1, 2000);
}

static void set_ap_slain(struct sim *w, struct knobs *k)
{
	set_aperture(w, k);
	k->n_grams = 0;
	k->kill_at = 0;
	k->step_ppm = (uint32_t)log_between(w, 100, 50000);
	k->step_max = (uint32_t)log_between(w, 10, 4000);
	k->slay_ppm = (uint32_t)log_between(w, 10, 10000);
	k->may_leak = true;
	k->may_fail = true;
	k->check_ppm = 0;
}

static void set_ap_hostile(struct sim *w, struct knobs *k)
{
	set_aperture(w, k);
	k->n_stacks_a_host = 3;
	k->n_talks += 5;
	k->n_grams = 0;
	k->scribble_every_ns = log_between(w, 10000, 50 * NS_PER_MS);
	k->check_ppm = 1000000;
}

static void set_hostile(struct sim *w, struct knobs *k)
{
	set_rounds(w, k);
	k->n_pkts = 128;
	k->n_socks = 32;
	k->ring_slots = 32;
	k->n_grams = 1;
	k->bytes_max = 30000;
	k->rounds_ppm = 500000;
	k->hostile = true;
	k->check_ppm = 0;
}

static void set_any(struct sim *w, struct knobs *k)
{
	static void (*const from[])(struct sim *, struct knobs *) = {
		set_lossy, set_rounds, set_stall, set_tiny, set_veth, set_stopped, set_mirror, set_shared,
	};

	from[prng_below(&w->rng, n_elems(from))](w, k);
	from[prng_below(&w->rng, n_elems(from))](w, k);
	k->complete_ns = log_between(w, 1000, 5 * NS_PER_MS);
	k->shuffle_ppm = prng_below(&w->rng, 2) ? 200000 : 0;
	if (!k->n_talks)
		k->n_talks = 1;
	k->n_threads = max_u32(k->n_threads, k->n_procs);
	k->bytes_max = min_u64(k->bytes_max, 200000);
	k->bytes_min = min_u64(k->bytes_min, k->bytes_max);
}

const struct world worlds[] = {
	{ "bulk", "one way, large, any MTU, clean wires with queues", set_bulk, 3 },
	{ "lossy", "loss up to 20 %, bursts, reordering, duplicates, corruption", set_lossy, 40 },
	{ "duplex", "both ways at once, several threads", set_duplex, 4 },
	{ "rounds", "request and response, pipelined", set_rounds, 6 },
	{ "short", "many short connections, every way to end one", set_short, 4 },
	{ "backlog", "listeners that overflow", set_backlog, 3 },
	{ "stall", "readers that pause, small buffers, closed windows", set_stall, 6 },
	{ "tiny", "small writes: Nagle, cork, MSG_MORE, small segments", set_tiny, 6 },
	{ "udp", "datagrams", set_udp, 4 },
	{ "dead", "a host falls silent: keepalive, user timeout, retries", set_dead, 3 },
	{ "timewait", "few ports, many connections", set_timewait, 2 },
	{ "veth", "unfinished checksums and super-frames", set_veth, 5 },
	{ "stopped", "programs stopped or busy, turns held, kicks deferred", set_stopped, 8 },
	{ "killed", "a process dies between turns", set_killed, 5 },
	{ "slain", "a process dies inside a turn", set_slain, 4 },
	{ "felled", "... or at any instruction of a call", set_felled, 3 },
	{ "scarce", "tiny pools and rings, takes that fail on purpose", set_scarce, 5 },
	{ "mirror", "neighbours that must be asked for, and change", set_mirror, 5 },
	{ "pmtu", "a router with a smaller MTU", set_pmtu, 3 },
	{ "flaps", "routes that change under way: delay, rate, MTU, nowhere", set_flaps, 5 },
	{ "giant", "windows of up to a gigabyte, scale 14", set_giant, 3 },
	{ "forged", "segments of somebody who does not see the wire, routers that complain", set_forged, 3 },
	{ "shared", "several stacks a host, processes a stack, threads a process", set_shared, 4 },
	{ "any", "two worlds' troubles at once", set_any, 10 },
	{ "aperture", "stacks of one host, through each other's memory", set_aperture, 10 },
	{ "ap-slain", "... whose processes die at any instruction", set_ap_slain, 4 },
	{ "ap-hostile", "... one of which scribbles over what it shares", set_ap_hostile, 4 },
	{ "hostile", "nonsense in the segment under the surrogate", set_hostile, 3 },
};
const uint32_t n_worlds = n_elems(worlds);
