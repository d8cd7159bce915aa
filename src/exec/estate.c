/* SPDX-License-Identifier: BSD-2-Clause */
#include "exec/estate.h"

#include <errno.h>
#include <netinet/in.h>

#include "core/net/net.h"
#include "core/stack/stack.h"
#include "exec/ctl.h"
#include "exec/parts.h"
#include "host/sys.h"

#define FLOWS_A_TURN	128
#define AGENT_MS	200	/* a slow agent keeps neither a surrogate from its stack nor a program from its end */
#define TURN_TRIES	200	/* of 100 us: the application's turns are shorter than that */

/* ---- what is bound ---------------------------------------------------------------------------- */

/* Sockets that need a lease to be reached. Not those with a port of a leased block; nor
 * connections, which have one only if the program bound them before connect(): the port of
 * such a one is in TIME_WAIT for as long as the stack lives on. */
static bool is_leased(const struct sk *sk)
{
	return (sk->kind == SK_LISTEN || sk->kind == SK_UDP) && sk->lport &&
	       !(sk->flags & SK_F_BLOCK_PORT);
}

static struct ctl_lease lease_of(const struct sk *sk)
{
	return (struct ctl_lease){
		.laddr = sk->laddr,
		.lport = sk->lport,
		.proto = sk->kind == SK_UDP ? IPPROTO_UDP : IPPROTO_TCP,
		.cookie = sk->lease_cookie,
		.family6_dual = ip_is_any(&sk->laddr) && !ip_is4(&sk->laddr) &&
				!(sk->flags & SK_F_V6ONLY),
	};
}

static bool lease_eq(const struct ctl_lease *a, const struct ctl_lease *b)
{
	if (a->cookie || b->cookie)
		return a->cookie == b->cookie;
	return a->lport == b->lport && a->proto == b->proto && ip_eq(&a->laddr, &b->laddr);
}

static uint32_t n_slots(const struct turn *t)
{
	return min_u32(t->map->seg->used_sk, t->map->sk_mask + 1);
}

static bool is_noted(const struct estate *e, const struct ctl_lease *l)
{
	for (uint32_t i = 0; i < e->n; i++)
		if (lease_eq(&e->of[i], l))
			return true;
	return false;
}

void estate_note(struct estate *e, struct turn *t)
{
	for (uint32_t slot = 1; slot < n_slots(t); slot++) {
		const struct sk *sk = sk_slot(t, slot);
		struct ctl_lease l;

		if (!is_leased(sk))
			continue;
		l = lease_of(sk);
		if (e->n < ESTATE_MAX && !is_noted(e, &l))
			e->of[e->n++] = l;
	}
}

/* Takes off the list what somebody still holds. */
static void strike_living(struct estate *e, struct turn *t)
{
	struct ctl_lease l;

	for (uint32_t slot = 1; slot < n_slots(t); slot++) {
		const struct sk *sk = sk_slot(t, slot);

		if (!is_leased(sk))
			continue;
		l = lease_of(sk);
		for (uint32_t i = 0; i < e->n; i++)
			if (lease_eq(&e->of[i], &l))
				e->of[i--] = e->of[--e->n];
	}
}

/* ---- what lives on under it --------------------------------------------------------------------- */

struct flows {
	uint32_t n, next_slot;
	bool	 orphans;	/* this pass: those without a descriptor; they come last */
	struct ctl_flow of[FLOWS_A_TURN];
};

static bool lease_covers(const struct ctl_lease *l, const struct sk *sk)
{
	if (l->lport != sk->lport || l->proto != IPPROTO_TCP)
		return false;
	if (ip_eq(&l->laddr, &sk->laddr))
		return true;
	return ip_is_any(&l->laddr) && (ip_is4(&l->laddr) == ip_is4(&sk->laddr) || l->family6_dual);
}

static bool lives_under(const struct estate *e, const struct sk *sk, bool orphans)
{
	if (sk->kind != SK_TCP || net_is_waiting_out(sk) || !(sk->flags & SK_F_HASHED) ||
	    sk->flags & SK_F_BLOCK_PORT ||
	    !!(sk->flags & SK_F_ORPHAN) != orphans)
		return false;
	for (uint32_t i = 0; i < e->n; i++)
		if (lease_covers(&e->of[i], sk))
			return true;
	return false;
}

/* False: the pass is at its end. */
static bool collect_flows(const struct estate *e, struct turn *t, struct flows *f)
{
	uint32_t end = n_slots(t);

	f->n = 0;
	for (; f->next_slot < end; f->next_slot++) {
		struct sk *sk = sk_slot(t, f->next_slot);

		if (!lives_under(e, sk, f->orphans))
			continue;
		if (f->n == FLOWS_A_TURN)
			return true;
		sk->flags |= SK_F_EXACT;
		f->of[f->n++] = (struct ctl_flow){
			.laddr = sk->laddr, .raddr = sk->raddr, .lport = sk->lport,
			.rport = sk->rport, .proto = IPPROTO_TCP,
		};
	}
	return false;
}

bool exec_try_turn(struct exec *x, struct turn *t)
{
	for (int i = 0; i < TURN_TRIES; i++) {
		if (turn_try(t, &x->map, x->who, host_tid(), x->proc, host_now(), 0))
			return true;
		host_nap(100 * NS_PER_US);
	}
	return false;
}

/* False: the agent will take no more (gone, slow, or its limit is reached). What it has
 * already, or finds no lease for, is no reason to stop. */
static bool tell(struct exec *x, struct ctl_call *c)
{
	int err;

	c->timeout_ms = AGENT_MS;
	err = exec_call(x, c);
	for (uint32_t i = 0; i < c->n_fds; i++)
		(void)sys_close(c->fds[i]);
	return err != -ENOTCONN && err != -EPIPE && err != -ETIMEDOUT && err != -EDQUOT;
}

static bool tell_flows(struct exec *x, const struct flows *f)
{
	struct ctl_call c;

	for (uint32_t i = 0; i < f->n; i++) {
		ctl_prepare(&c, CTL_FLOW_ADD);
		c.msg.u.flow = f->of[i];
		if (!tell(x, &c))
			return false;
	}
	return true;
}

static void tell_leases(struct exec *x, const struct estate *e)
{
	struct ctl_call c;

	for (uint32_t i = 0; i < e->n; i++) {
		ctl_prepare(&c, CTL_LEASE_DEL);
		c.msg.u.lease = e->of[i];
		if (!tell(x, &c))
			return;
	}
}

bool estate_settle(struct estate *e, struct exec *x)
{
	struct flows f = { .next_slot = 1 };
	bool first = true, more = true;
	struct turn t;

	while (e->n && more) {
		if (!exec_try_turn(x, &t)) {
			if (first)
				return false;
			break;
		}
		if (first)
			strike_living(e, &t);
		first = false;
		(void)exec_round(x, &t);
		more = collect_flows(e, &t, &f);
		exec_end(x, &t, false);
		if (!tell_flows(x, &f))
			break;
		if (!more && !f.orphans) {
			f.orphans = more = true;
			f.next_slot = 1;
		}
	}
	tell_leases(x, e);
	e->n = 0;
	return true;
}
