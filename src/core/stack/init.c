/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fresh stack. The segment is all zero but for its header, and stays so wherever it can:
 * sockets, epolls and epitems are counted up from untouched memory as they are needed. Only
 * the packet frames, which are pinned memory in any case, are put on their list at once.
 */
#include "core/stack/stack.h"

#include "base/hash.h"

void stack_init(const struct stack_map *map)
{
	struct segment *seg = map->seg;

	/* Frame 0 is never used; the list runs upwards from 1. */
	for (uint32_t i = 1; i <= map->pkt_mask; i++)
		map->pkts[i].next = i < map->pkt_mask ? i + 1 : 0;
	seg->free_pkt = 1;
	seg->n_free_pkt = map->pkt_mask;
	seg->n_free_sk = map->sk_mask;
	seg->used_sk = 1;
	seg->used_ep = 1;
	seg->used_epi = 1;
	seg->deadline = NEVER_NS;
	seg->next_port_i = (uint16_t)seg->secret[3];
	seg->ip_id = (uint16_t)(seg->secret[3] >> 16);
}

uint32_t stack_hash(const struct turn *t, const void *p, size_t n, uint32_t salt)
{
	return hash_bytes(t->map->seg->secret, p, n, salt);
}
