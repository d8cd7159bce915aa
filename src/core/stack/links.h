/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder need of each other to take a socket out of everything. */
#ifndef CORE_STACK_LINKS_H
#define CORE_STACK_LINKS_H

#include "core/stack/stack.h"

/* A singly linked queue of sockets: its flag, and where its link, head and tail are. */
struct sk_list { uint32_t flag, next, head, tail; };
extern const struct sk_list work_list, txwait_list;
void sk_list_cut(struct turn *t, const struct sk_list *l, struct sk *sk);

/* Takes it off the wheel really, not lazily. */
void tmr_cut(struct turn *t, struct sk *sk);
/* Start of the wheel bucket in ticks; see timer.c. */
uint64_t tmr_bucket_start(const struct wheel *w, uint32_t bucket);

/* Drops all its epoll registrations. */
void ep_forget(struct turn *t, struct sk *sk);

/* The bucket that a socket in the table is in, for stack_check(). */
uint32_t flow_bucket_of(const struct turn *t, const struct sk *sk);
uint32_t listen_bucket_of(const struct turn *t, const struct sk *sk);
/* Is any socket bound to that port, whatever its address? */
must_check bool listen_has_port(struct turn *t, uint8_t proto, uint16_t lport);

#endif
