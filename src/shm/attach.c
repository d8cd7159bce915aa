/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Attaching: the header is copied once, the copy is checked, and the private map is made
 * from the copy. Nobody reads seg->geo again, so whoever changes it later changes nothing.
 */
#include "shm/shm.h"

#include <errno.h>

#include "base/atomic.h"
#include "base/csum.h"

int shm_attach(struct segment *base, uint64_t file_bytes, uint64_t layout_hash,
	       struct stack_map *ret)
{
	uint8_t *mem = (uint8_t *)base;
	struct geometry g;
	int err;

	if (file_bytes < sizeof(struct segment))
		return -EPROTO;
	if (peek64(&base->magic) != SEGMENT_MAGIC || peek64(&base->layout_hash) != layout_hash)
		return -EPROTO;
	memcpy(&g, &base->geo, sizeof(g));
	err = geometry_check(&g, file_bytes);
	if (err)
		return err;
	*ret = (struct stack_map){
		.seg = base,
		.flow = (uint32_t *)(void *)(mem + g.off_flow),
		.listen = (uint32_t *)(void *)(mem + g.off_listen),
		.eps = (struct ep *)(void *)(mem + g.off_epolls),
		.epis = (struct epitem *)(void *)(mem + g.off_epitems),
		.trace = (struct trace_rec *)(void *)(mem + g.off_trace),
		.pkts = (struct pkt *)(void *)(mem + g.off_pkts),
		.socks = mem + g.off_socks,
		.ap_tables = (struct ap_table *)(void *)(mem + g.off_ap),
		.umem = mem + g.off_umem,
		.sk_mask = g.n_socks - 1, .pkt_mask = g.n_pkts - 1,
		.flow_mask = g.n_flow_buckets - 1, .listen_mask = g.n_listen_buckets - 1,
		.ep_mask = g.n_epolls - 1, .epi_mask = g.n_epitems - 1,
		.trace_mask = g.n_trace - 1, .n_pairs = g.n_pairs,
		.csum = csum_add_scalar,
		.bytes = g.bytes,
	};
	return 0;
}

void shm_format(struct segment *base, const struct geometry *geo, uint64_t layout_hash)
{
	base->geo = *geo;
	base->layout_hash = layout_hash;
	base->magic = SEGMENT_MAGIC;
}
