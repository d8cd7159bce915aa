/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver side of a virtual interface (abi/vif.h). */
#ifndef CORE_VIF_VIF_H
#define CORE_VIF_VIF_H

#include "core/stack/stack.h"

/* True if a receive ring has something: needs no turn, one load per VI. */
bool vif_rx_pending(const struct stack_map *map);
/* Next received packet of this VI as a chain of frames (state PKT_HELD, pkt.vi set, data
 * starting at the Ethernet header); 0 when the ring is empty. Malformed runs are dropped. */
must_check pkt_h vif_poll(struct turn *t, uint32_t vi);
/* Keeps the fill ring stocked. Called by net_rx(). */
void vif_refill(struct turn *t, uint32_t vi);
/* True if a fill ring holds less than a quarter of what it should: who has freed frames
 * (a read) refills now, for the device cannot deliver, and nobody else may come. */
bool vif_starves(const struct turn *t);
/* Takes back frames that have left: at_device falls, PKT_F_DEFER_PUT frames are freed. */
void vif_reap(struct turn *t, uint32_t vi);
/*
 * Posts a packet (first byte: Ethernet header) to the device, all frames or none; owes the
 * bell in t->bells and seg->kicks_owed. The frames stay the caller's: to be done with the
 * packet, pkt_put() it (it is pooled on completion). -ENOBUFS: ring full, ask again later.
 */
must_check int vif_post(struct turn *t, uint32_t vi, pkt_h head);

#endif
