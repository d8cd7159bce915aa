/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hosts with an engine each, joined by a wire that may lose, and time that passes when told.
 * Same seed, same history. Each frame is handed over in memory of exactly its length.
 */
#ifndef TEST_UNIT_APERTURE_RIG_H
#define TEST_UNIT_APERTURE_RIG_H

#include "test/unit/panic.h"

#include <string.h>
#include <sys/mman.h>

#include "base/prng.h"
#include "core/aperture/aperture.h"

#define MTU	1472
#define N_EV	4096
#define N_WORDS	32768
#define MEM	65536u
#define PORT	100

struct host {
	struct apw *e;
	struct apw_conf conf;
	void *mem;
	size_t bytes;
	struct apw_addr addr;
	uint8_t *memory;	/* region 0 */
	uint32_t region, queue;
	void *os_mem, *q_mem;
	struct apw_evq_user os, q;
	uint16_t port;		/* bound at start, offers nothing */
};

struct world {
	struct host h[2];
	uint64_t now;
	struct prng rng;
	uint32_t loss_ppm;
	uint64_t frames;	/* carried */
	uint32_t carried[4];	/* data, event, message, lost */
	/* Sees, and may bend, each frame; false: it is lost. */
	bool (*tap)(struct world *w, uint32_t from, struct apw_frame *f);
	void *arg;
};

static unused_arg void *zeroed(size_t n)
{
	void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	assert_ptr_not_equal(p, MAP_FAILED);
	return p;
}

static void host_up(struct host *h, uint32_t n, const struct apw_conf *base)
{
	struct apw_offer none = { 0 };
	uint32_t os;

	memset(h, 0, sizeof(*h));
	h->conf = *base;
	h->conf.host = base->host ? 0 : 0x0a000001 + n;	/* 1: it takes any address for its own */
	h->conf.secret[0] = n + 1;
	h->conf.secret[1] = ~(uint64_t)n;
	h->bytes = apw_bytes(&h->conf);
	h->mem = zeroed(h->bytes);
	h->e = apw_init(h->mem, &h->conf);
	h->addr = (struct apw_addr){ .host = 0x0a000001 + n, .carrier = (uint16_t)(7000 + n),
				     .mac = { 2, 0, 0, 0, 0, (uint8_t)n } };
	h->memory = calloc(1, MEM);
	h->os_mem = zeroed(apw_evq_bytes(N_EV, N_WORDS));
	h->q_mem = zeroed(apw_evq_bytes(N_EV, N_WORDS));
	assert_int_equal(apw_queue(h->e, h->os_mem, N_EV, N_WORDS, &os), 0);
	assert_int_equal(os, 0);
	assert_int_equal(apw_queue(h->e, h->q_mem, N_EV, N_WORDS, &h->queue), 0);
	apw_evq_attach(&h->os, h->os_mem, N_EV, N_WORDS);
	apw_evq_attach(&h->q, h->q_mem, N_EV, N_WORDS);
	assert_int_equal(apw_region(h->e, h->memory, MEM, &h->region), 0);
	none.queue = h->queue;
	assert_int_equal(apw_bind(h->e, 0, &none, &h->port), 0);
}

static unused_arg void host_down(struct host *h)
{
	apw_check(h->e);
	munmap(h->mem, h->bytes);
	munmap(h->os_mem, apw_evq_bytes(N_EV, N_WORDS));
	munmap(h->q_mem, apw_evq_bytes(N_EV, N_WORDS));
	free(h->memory);
}

static unused_arg struct apw_conf plain_conf(void)
{
	return (struct apw_conf){ .n_rows = 4096, .n_ports = 128, .n_regions = 16, .n_queues = 128, .n_reads = 16,
				  .n_frames = 1024, .mtu = MTU, .crc = crc32c_scalar, .has_ether = true };
}

static void world_up_as(struct world *w, uint64_t seed, const struct apw_conf *c)
{
	memset(w, 0, sizeof(*w));
	prng_seed(&w->rng, seed);
	w->now = NS_PER_S;
	for (uint32_t i = 0; i < 2; i++)
		host_up(&w->h[i], i, c);
}

static unused_arg void world_up(struct world *w, uint64_t seed)
{
	struct apw_conf c = plain_conf();

	world_up_as(w, seed, &c);
}

static unused_arg void world_down(struct world *w)
{
	host_down(&w->h[0]);
	host_down(&w->h[1]);
}

static void give(struct world *w, struct host *to, const struct apw_addr *from, uint16_t type, const uint8_t *p,
		 uint32_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	assert_non_null(copy);
	memcpy(copy, p, n);
	apw_rx(to->e, w->now, from, type, copy, n);
	apw_rx_end(to->e);
	free(copy);
}

/* Carries what is there, one frame; false: there was none. */
static bool carry(struct world *w, uint32_t i)
{
	struct apw_frame *f = apw_tx_peek(w->h[i].e);

	if (!f)
		return false;
	w->frames++;
	w->carried[f->type == CI_TYPE_DATA ? 0 : f->type == CI_TYPE_EVENT ? 1 : 2]++;
	if ((w->tap && !w->tap(w, i, f)) || prng_chance(&w->rng, w->loss_ppm))
		w->carried[3]++;
	else
		give(w, &w->h[!i], &w->h[i].addr, f->type, f->bytes + f->start, f->len);
	apw_tx_pop(w->h[i].e);
	return true;
}

static unused_arg void pump(struct world *w)
{
	for (bool busy = true; busy; ) {
		apw_flush(w->h[0].e);
		apw_flush(w->h[1].e);
		busy = carry(w, 0);
		busy |= carry(w, 1);
	}
}

/* Time goes on until `until`, or until nothing is due. */
static unused_arg void pass(struct world *w, uint64_t until)
{
	for (;;) {
		uint64_t at;

		pump(w);
		at = min_u64(apw_deadline(w->h[0].e), apw_deadline(w->h[1].e));
		if (at > until)
			break;
		w->now = max_u64(w->now, at);
		apw_tick(w->h[0].e, w->now);
		apw_tick(w->h[1].e, w->now);
	}
	if (until != NEVER_NS - 1)
		w->now = until;
}

/* The next event of a type in the host's queue; others on the way are thrown away. */
static unused_arg bool next_event(struct host *h, uint8_t type, struct apw_event *ret)
{
	uint32_t words[64];

	while (apw_evq_take(&h->q, ret, words, 64))
		if (ret->type == type)
			return true;
	return false;
}

static unused_arg uint64_t total(const struct host *h, enum apw_count c)
{
	return apw_count(h->e, c);
}

/* A side that offers all of the host's memory, for reading and writing. */
static unused_arg struct apw_side all_of(const struct host *h, uint8_t checks)
{
	return (struct apw_side){ .region = h->region, .flags = APW_F_READ | APW_F_WRITE, .checks = checks,
				  .size = MEM };
}

struct link { uint32_t a, b; uint64_t bus_a, bus_b; };	/* connection numbers and bus addresses */

/* Host 0 connects to host 1; both offer what they are told to. */
static unused_arg struct link linked(struct world *w, const struct apw_side *sa, const struct apw_side *sb)
{
	struct apw_offer o = { .side = *sb, .queue = w->h[1].queue };
	struct apw_connect c = { .to = w->h[1].addr, .lport = w->h[0].port, .side = *sa };
	struct apw_event ev;
	struct link l;
	uint64_t size;

	assert_int_equal(apw_bind(w->h[1].e, 0, &o, &c.port), 0);
	assert_int_equal(apw_connect(w->h[0].e, w->now, &c, &l.a), 0);
	pump(w);
	assert_true(next_event(&w->h[0], APW_EV_OPEN, &ev));
	assert_int_equal(ev.index, l.a);
	assert_true(next_event(&w->h[1], APW_EV_OPEN, &ev));
	l.b = ev.index;
	assert_int_equal(apw_conn_bus(w->h[0].e, l.a, &l.bus_a, &size), 0);
	assert_int_equal(apw_conn_bus(w->h[1].e, l.b, &l.bus_b, &size), 0);
	return l;
}

#endif
