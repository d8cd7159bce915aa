/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool's own end of a frame's life: for pkt.c and the driver (vif/), nobody else. */
#ifndef CORE_STACK_FRAMES_H
#define CORE_STACK_FRAMES_H

#include "core/stack/stack.h"

/* Puts one frame, not at the device, on the free list. */
static inline void frame_free(struct turn *t, struct pkt *p, uint32_t slot)
{
	struct segment *seg = t->map->seg;

	p->state = PKT_FREE;
	p->flags = 0;
	p->next = seg->free_pkt;
	seg->free_pkt = slot;
	seg->n_free_pkt++;
}

#endif
