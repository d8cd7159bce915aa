// SPDX-License-Identifier: BSD-2-Clause
/*
 * The directory (abi/mirror.h): which of our stacks serves which local port, and which pairs each
 * stack has. Programs read it where they connect(), without asking us.
 *
 *  Y1  A port is in it from the moment its lease is granted until the lease is given back, or the
 *      last program of its stack is gone: then connect() must be refused, or reach whoever has the
 *      port in the kernel, at once.
 *  Y2  Ports are under the mirror's seqlock. A stack's words are not: pair_id[] is written first,
 *      `changes` last, with release; who reads `changes` with acquire sees the pairs it counts.
 *  Y3  The memory is ours: nobody else can write there, so what we wrote can be believed.
 */
#include "agent/agent.h"

#include <errno.h>

#include "base/atomic.h"

#define N_PORTS_UID (N_DIR_PORTS / 2)	/* one ordinary user leaves the others room */

void mirror_begin(struct mirror *m)
{
	/* relaxed: the fence below orders it. */
	__atomic_store_n(&m->seq, m->seq + 1, __ATOMIC_RELAXED);
	/* rel: pairs with the readers' acquire fence (core/ip/glance.h): who sees a byte of what
	 * follows sees the odd seq. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void mirror_end(struct mirror *m)
{
	/* rel: pairs with the readers' acquire load of seq. */
	__atomic_store_n(&m->seq, m->seq + 1, __ATOMIC_RELEASE);
}

/* ---- ports ---- */

static uint32_t n_of_user(const struct agent *a, uid_t uid)
{
	uint32_t i, n = 0;

	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].state == STACK_LIVE && a->stacks[i].uid == uid)
			n += a->stacks[i].n_listed;
	return n;
}

static bool same_port(const struct dir_port *x, const struct dir_port *y)
{
	return x->proto == y->proto && x->lport == y->lport && x->dual == y->dual &&
	       x->stack_id == y->stack_id && ip_eq(&x->laddr, &y->laddr);
}

static uint32_t free_port(const struct mirror *m)
{
	uint32_t i;

	for (i = 0; i < N_DIR_PORTS && m->ports[i].proto; i++)
		;
	return i;
}

int dir_port_add(struct agent *a, struct stack *s, const struct dir_port *p)
{
	struct mirror *m = a->mirror;
	uint32_t i = free_port(m), *head = &m->buckets[dir_bucket(p->proto, p->lport)];

	if (i == N_DIR_PORTS || (!a->own && s->uid != 0 && n_of_user(a, s->uid) >= N_PORTS_UID))
		return -EDQUOT;
	mirror_begin(m);
	m->ports[i] = *p;
	m->ports[i].next = *head;
	*head = i + 1;
	m->ports_seq++;
	mirror_end(m);
	s->n_listed++;
	return 0;
}

void dir_port_del(struct agent *a, struct stack *s, const struct dir_port *p)
{
	struct mirror *m = a->mirror;
	uint32_t *at = &m->buckets[dir_bucket(p->proto, p->lport)], i;

	while (*at && !same_port(&m->ports[*at - 1], p))
		at = &m->ports[*at - 1].next;
	if (!*at)
		return;
	i = *at - 1;
	mirror_begin(m);
	*at = m->ports[i].next;
	m->ports[i] = (struct dir_port){ .proto = 0 };
	m->ports_seq++;
	mirror_end(m);
	s->n_listed--;
}

/* ---- stacks ---- */

static struct dir_stack *words_of(struct agent *a, const struct stack *s)
{
	static_assert(N_SLOTS < N_DIR_STACKS, "a place for each slot");

	return &a->mirror->stacks[s->slot];
}

void dir_stack_begin(struct agent *a, const struct stack *s)
{
	release32(&words_of(a, s)->stack_id, s->id);	/* pairs with acquire in the program's first look */
}

/* `changes` goes on counting: a surrogate that is being killed must not take the next stack's
 * words for its own unchanged ones. */
void dir_stack_end(struct agent *a, const struct stack *s)
{
	struct dir_stack *d = words_of(a, s);
	uint32_t i;

	poke32(&d->stack_id, 0);
	for (i = 0; i < N_PAIRS; i++)
		poke32(&d->pair_id[i], 0);
	release32(&d->changes, d->changes + 1);		/* pairs with acquire in exec/pairs.c */
}

void dir_pair_set(struct agent *a, const struct stack *s, uint32_t slot, uint32_t pair_id)
{
	struct dir_stack *d = words_of(a, s);

	poke32(&d->pair_id[slot], pair_id);
	release32(&d->changes, d->changes + 1);		/* pairs with acquire in exec/pairs.c */
}
