/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The four entry points through which executors see the core, and what a packet meets, in
 * order (rx.c). The one place that sees TCP and UDP both.
 */
#ifndef CORE_NET_NET_H
#define CORE_NET_NET_H

#include "core/stack/stack.h"

static inline bool net_is_condemned(const struct turn *t) { return t->map->seg->condemned != 0; }

/* Takes up to t->budget packets off the receive rings and through the protocols, then runs
 * the sockets with deferred work (one ACK a batch). Returns packets taken. */
uint32_t net_rx(struct turn *t);
/* Completions in, and sockets that waited for ring, frame or neighbour out. */
void net_tx(struct turn *t);
/* Timers that are due. */
void net_tick(struct turn *t);
/* When somebody must come again, ns; NEVER_NS: not at all. */
uint64_t net_deadline(struct turn *t);
/* A process is gone: drops all its references, closing what was its alone, as the kernel
 * closes a dead process's sockets. */
void net_proc_died(struct turn *t, uint32_t proc);
/* stack_check() and the protocols' own invariants; 0, or -EUCLEAN with the stack condemned. */
must_check int net_check(struct turn *t);
/* Every connection that owes its peer something has a deadline (W1 of core/tcp/watch.c); cheap enough
 * for the simulator to ask after each turn. 0, or -EUCLEAN with the stack condemned. */
must_check int net_check_watched(struct turn *t);
/* Protocol-independent close of the last descriptor. */
void net_close(struct turn *t, struct sk *sk);
/* All that can still come for it is a FIN whose acknowledgement was lost. */
bool net_is_waiting_out(const struct sk *sk);

#endif
