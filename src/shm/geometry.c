/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where everything lies in a segment. The offsets are the agent's word; geometry_check()
 * holds them against the file before any pointer is made of them.
 *
 *  G1  Each pool begins on a cache line, packet memory on a page.
 *  G2  Pools follow each other in the order of struct geometry's offsets, without overlap,
 *      behind the header, and end within `bytes`, which is at most the file.
 *  G3  Counts are powers of two from 2 to the maximum of base/limits.h, so a mask is a size
 *      less one, and sums of products stay far below 2^64.
 *  G4  A page follows packet memory: a strong reader whose tenant changes a frame's `off`
 *      between its two looks reads at most that far.
 */
#include "shm/shm.h"

#include <errno.h>

#define LINE	64u
#define N_POOLS	9u

struct pool { uint64_t off; uint64_t count; uint64_t each; uint64_t max; };

static void pools_of(const struct geometry *g, struct pool ret[N_POOLS])
{
	const struct pool p[N_POOLS] = {
		{ g->off_flow, g->n_flow_buckets, sizeof(uint32_t), N_FLOW_BUCKETS },
		{ g->off_listen, g->n_listen_buckets, sizeof(uint32_t), N_LISTEN_BUCKETS },
		{ g->off_epolls, g->n_epolls, sizeof(struct ep), N_EPOLLS },
		{ g->off_epitems, g->n_epitems, sizeof(struct epitem), N_EPITEMS },
		{ g->off_trace, g->n_trace, sizeof(struct trace_rec), N_TRACE },
		{ g->off_pkts, g->n_pkts, sizeof(struct pkt), N_PKTS_MAX },
		{ g->off_socks, g->n_socks, SK_BYTES, N_SOCKS },
		{ g->off_ap, g->n_pairs, sizeof(struct ap_table), N_PAIRS },
		{ g->off_umem, g->n_pkts, FRAME_BYTES, N_PKTS_MAX },
	};

	memcpy(ret, p, sizeof(p));
}

static uint64_t align_up(uint64_t v, uint64_t to) { return (v + to - 1) & ~(to - 1); }

void geometry_lay_out(struct geometry *g)
{
	uint64_t *off[N_POOLS] = {
		&g->off_flow, &g->off_listen, &g->off_epolls, &g->off_epitems,
		&g->off_trace, &g->off_pkts, &g->off_socks, &g->off_ap, &g->off_umem,
	};
	struct pool p[N_POOLS];
	uint64_t at = sizeof(struct segment);

	pools_of(g, p);
	for (unsigned i = 0; i < N_POOLS; i++) {
		at = align_up(at, i == N_POOLS - 1 ? FRAME_BYTES : LINE);
		*off[i] = at;
		at += p[i].count * p[i].each;
	}
	g->bytes = align_up(at, FRAME_BYTES) + FRAME_BYTES;
}

void geometry_standard(struct geometry *ret)
{
	*ret = (struct geometry){
		.n_socks = N_SOCKS, .n_pkts = N_PKTS, .n_flow_buckets = N_FLOW_BUCKETS,
		.n_listen_buckets = N_LISTEN_BUCKETS, .n_epolls = N_EPOLLS,
		.n_epitems = N_EPITEMS, .n_trace = N_TRACE, .n_pairs = N_PAIRS,
	};
	geometry_lay_out(ret);
}

int geometry_check(const struct geometry *g, uint64_t file_bytes)
{
	struct pool p[N_POOLS];
	uint64_t end = sizeof(struct segment);

	if (g->bytes > file_bytes || g->bytes & (FRAME_BYTES - 1))
		return -EINVAL;
	pools_of(g, p);
	for (unsigned i = 0; i < N_POOLS; i++) {
		uint64_t align = i == N_POOLS - 1 ? FRAME_BYTES : LINE;

		if (p[i].count < 2 || p[i].count > p[i].max || p[i].count & (p[i].count - 1))
			return -EINVAL;
		if (p[i].off & (align - 1) || p[i].off < end || p[i].off > g->bytes)
			return -EINVAL;
		end = p[i].off + p[i].count * p[i].each;
		if (end > g->bytes)
			return -EINVAL;
	}
	return end + FRAME_BYTES > g->bytes ? -EINVAL : 0;
}
