/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors come and go: close, dup, fcntl, ioctl.
 *
 * A socket counts its processes, not its descriptors. Within a process a second descriptor is
 * rare, so dup() only flags both entries FDF_SHARED, and the close of a flagged one looks
 * through the table for another before the process's reference is dropped.
 */
#include "sock/handback.h"
#include "sock/place.h"
#include "sock/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/close_range.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

/* ---- close ----------------------------------------------------------------------------------- */

#define FLOWS_AT_ONCE 16

struct parting {		/* what is to be told to the agent after the turn */
	struct ctl_lease lease;
	struct ctl_flow flows[FLOWS_AT_ONCE];
	uint32_t n_flows;
	bool	 leased;
};

static void note_flow(struct parting *p, struct sk *sk)
{
	struct ctl_flow *f;

	if (p->n_flows == FLOWS_AT_ONCE)
		return;
	sk->flags |= SK_F_EXACT;
	f = &p->flows[p->n_flows++];
	memset(f, 0, sizeof(*f));
	f->laddr = sk->laddr;
	f->raddr = sk->raddr;
	f->lport = sk->lport;
	f->rport = sk->rport;
	f->proto = sk->proto;
}

/* A connected datagram socket has an address that its lease may not have. */
void lease_of_sk(const struct sk *sk, struct ctl_lease *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->laddr = sk->kind == SK_UDP ? udp_of(sk)->bound : sk->laddr;
	ret->lport = sk->lport;
	ret->proto = sk->proto;
	ret->cookie = sk->lease_cookie;
	ret->family6_dual = sk->flags & SK_F_FAMILY6 && !(sk->flags & SK_F_V6ONLY);
}

static void note_lease(struct parting *p, const struct sk *sk)
{
	p->leased = sk->user & SKU_LEASED;
	lease_of_sk(sk, &p->lease);
}

/* Connections that live under a listener's lease keep their packets by exact entries. Those in
 * TIME_WAIT do without: there may be tens of thousands, each a question to the agent, and all
 * that can still come for them is a FIN whose acknowledgement was lost. */
static void keep_flows(const struct ctl_lease *l)
{
	uint32_t slot = 1, end, i;
	struct parting p;
	struct turn t;

	do {
		p.n_flows = 0;
		if (!sk_enter(&t))
			return;
		end = min_u32(self.x.map.seg->used_sk, self.x.map.sk_mask + 1);
		for (; slot < end && p.n_flows < FLOWS_AT_ONCE; slot++) {
			struct sk *sk = sk_slot(&t, slot);

			if (sk->kind == SK_TCP && sk->lport == l->lport &&
			    sk->flags & SK_F_HASHED && sk->state != TCP_S_TIME_WAIT)
				note_flow(&p, sk);
		}
		sk_leave(&t, false);
		agent_enter();
		for (i = 0; i < p.n_flows; i++)
			(void)!exec_flow_add(&self.x, &p.flows[i]);
		agent_leave();
	} while (p.n_flows == FLOWS_AT_ONCE);
}

static void tell_agent(struct ent e, const struct parting *p)
{
	uint32_t i;

	if (!p->leased || self.quiet)
		return;
	if (e.kind == FD_LISTEN)
		keep_flows(&p->lease);
	agent_enter();
	for (i = 0; i < p->n_flows; i++)
		(void)!exec_flow_add(&self.x, &p->flows[i]);
	(void)exec_lease_del(&self.x, &p->lease);
	agent_leave();
}

/* SO_LINGER: the last close waits until all is delivered, or for that long. */
static void linger(struct ent e)
{
	struct tcp_opts o;
	struct turn t;
	struct wait w;
	struct sk *sk;
	bool last = false;

	if (!sk_enter(&t))
		return;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && sk->procs == 1ull << self.x.proc && !(sk->user & SKU_NONBLOCK)) {
		stream_get_opts(&t, sk, &o);
		last = o.linger_s > 0 && sk->state != TCP_S_CLOSED && sk->state != TCP_S_SYN_SENT;
		if (last)
			(void)!stream_shutdown(&t, sk, SHUT_WR);
	}
	sk_leave(&t, false);
	if (!last)
		return;
	wait_init(&w, until_ns((uint64_t)o.linger_s * NS_PER_S));
	wait_sk(&w, e.h, EPOLLHUP);
	for (last = false; !last;) {
		uint64_t until = w.until;

		if (!sk_enter(&t))
			return;
		sk = sk_find(&t, (sk_h){ e.h });
		last = !sk || stream_is_drained(&t, sk) || t.now >= until;
		sk_leave(&t, false);
		if (!last) {
			/* Draining is no readiness: look again with each deadline, at least. */
			w.until = min_u64(until, until_ns(NS_PER_MS));
			if (wait_for(&w) == -EINTR)
				return;
			w.until = until;
		}
	}
}

/* New connections are led elsewhere before a listener goes: to another process that has the
 * kernel's listener, too, or to the next instance. What comes in between would be refused. */
static void redirect_first(struct ent e, struct parting *p)
{
	struct turn t;
	struct sk *sk;
	bool last = false;

	if (e.kind != FD_LISTEN || !sk_enter(&t))
		return;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && sk->procs == 1ull << self.x.proc) {
		note_lease(p, sk);
		last = true;
	}
	sk_leave(&t, false);
	if (last)
		tell_agent(e, p);
}

static void drop_ref(struct ent e)
{
	struct parting p = { .n_flows = 0 }, first = { .n_flows = 0 };
	struct turn t;
	struct sk *sk;
	bool last = false;

	redirect_first(e, &first);
	if (!sk_enter(&t))
		return;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && sk_unref(&t, sk, self.x.proc)) {
		last = true;
		note_lease(&p, sk);
		net_close(&t, sk);
		sk = sk_find(&t, (sk_h){ e.h });
		if (sk && e.kind == FD_TCP && p.leased && sk->state != TCP_S_TIME_WAIT)
			note_flow(&p, sk);
	}
	/* A FIN can go with what the next wait sends; a thread that does not wait for events is
	 * given no such credit. If it never comes, the surrogate pays. */
	sk_leave(&t, me.loops);
	if (last && !first.leased)
		tell_agent(e, &p);
}

void conn_give_up_lease(struct ent e)
{
	struct parting p = { .n_flows = 0 };
	struct turn t;
	struct sk *sk;

	if (!sk_enter(&t))
		return;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk) {
		note_lease(&p, sk);
		sk->user = (sk->user & ~SKU_LEASED) | SKU_PASSED;
	}
	sk_leave(&t, false);
	tell_agent(e, &p);
}

/* At exit: what holds a lease is closed by itself, so that its port is free at once; the rest
 * goes all together. */
void conn_close_leased(void)
{
	uint32_t fd, n = self.tab ? min_u32(self.tab->n_used, N_FDS) : 0;

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);
		struct sk *sk = ent_is_ours(e) ? sk_peek(e.h) : NULL;

		if (sk && sk->user & SKU_LEASED)
			drop_ref(fd_take((int)fd));
	}
}

void conn_close(int fd, struct ent e)
{
	if (e.flags & FDF_SHARED && fd_has_twin(fd, e.h, e.kind))
		return;
	if (e.kind == FD_TCP)
		linger(e);
	drop_ref(e);
}

/* What an entry stood for goes; the kernel's descriptor is the caller's. */
static void let_go(int fd, struct ent e)
{
	copy_forget(fd);
	if (ent_is_ours(e))
		conn_close(fd, e);
	else if (e.kind == FD_EPOLL)
		epoll_close(fd, e);
	else if (e.kind == FD_PLAIN && e.reason == REASON_UNDECIDED)
		epoll_forget(fd);
}

int64_t sk_close(int fd)
{
	struct ent e = fd_get(fd);

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (unlikely(me.in_turn) && (ent_is_ours(e) || e.kind == FD_EPOLL))
		return late_close(fd);
	e = fd_take(fd);
	let_go(fd, e);
	return SK_PASS;
}

static int close_run(unsigned first, unsigned last, int flags)
{
	return first <= last ? sys_close_range(first, last, (unsigned)flags) : 0;
}

int64_t sk_close_range(unsigned first, unsigned last, int flags)
{
	unsigned n = self.tab ? min_u32(self.tab->n_used, N_FDS) : 0, from = first, fd;
	int r;

	if (first > last || flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC))
		return -EINVAL;
	if (!n || flags & CLOSE_RANGE_CLOEXEC)
		return SK_PASS;		/* plumbing is close-on-exec already */
	for (fd = first; fd < n && fd <= last; fd++) {
		struct ent e = fd_get((int)fd);

		if (e.kind == FD_PRIVATE) {
			if (fd > from) {
				r = close_run(from, fd - 1, flags);
				if (r < 0)
					return r;
			}
			from = fd + 1;
		} else if (e.kind != FD_NONE) {
			let_go((int)fd, fd_take((int)fd));
		}
	}
	return close_run(from, last, flags);
}

/* ---- dup -------------------------------------------------------------------------------------------- */

static void share(int from, int to)
{
	struct ent e = fd_get(from);

	if (e.kind == FD_NONE || e.kind == FD_PRIVATE)
		return;
	fd_flags(from, FDF_SHARED, 0);
	e.flags |= FDF_SHARED;
	fd_put(to, e);
}

int64_t sk_dup(int fd)
{
	int to;

	if (fd_get(fd).kind == FD_PRIVATE)
		return -EBADF;
	to = sys_dup(fd);
	if (to >= 0)
		share(fd, to);
	return to;
}

int64_t sk_dup3(int from, int to, int flags)
{
	struct ent e = fd_get(from), old = fd_get(to);
	int r;

	if (e.kind == FD_NONE && old.kind == FD_NONE)
		return SK_PASS;
	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (from == to)
		return -EINVAL;
	if (e.kind == FD_NONE && sys_fcntl(from, F_GETFD, 0) < 0)
		return -EBADF;
	if (old.kind == FD_PRIVATE) {
		r = fd_move_private(to);
		if (r < 0)
			return r;
	} else if (old.kind != FD_NONE) {
		let_go(to, fd_take(to));
	}
	r = sys_dup3(from, to, flags);
	if (r >= 0)
		share(from, to);
	return r;
}

int64_t sk_dup2(int from, int to)
{
	return from == to ? SK_PASS : sk_dup3(from, to, 0);
}

/* ---- what only the kernel does ------------------------------------------------------------------------ */

bool sk_is_undecided(int fd)
{
	struct ent e = fd_get(fd);

	return e.kind == FD_PLAIN && e.reason == REASON_UNDECIDED;
}

/* One that is not decided stays there, one of ours returns. False: it is neither, or cannot. */
static bool to_kernel(int fd, struct ent e, enum reason why)
{
	if (sk_is_undecided(fd)) {
		fd_kernel(fd, e, why);
		return true;
	}
	return ent_is_ours(e) && return_to_kernel(fd, why) == 0;
}

void sk_submitted(int fd)
{
	(void)to_kernel(fd, fd_get(fd), REASON_ASYNC_IO);
}

void sk_submits(long n, struct iocb *const *cbs)
{
	for (long i = 0; i < n && !is_wild(cbs); i++)
		if (!is_wild(cbs[i]) && fd_is_any((int)cbs[i]->aio_fildes))
			sk_submitted((int)cbs[i]->aio_fildes);
}

void sk_uring(void)
{
	uint32_t fd, n = self.tab ? min_u32(self.tab->n_used, N_FDS) : 0;

	if (self.uring || me.in_turn)
		return;
	self.uring = 1;
	for (fd = 0; fd < n; fd++)
		if (ent_is_ours(fd_get((int)fd)))
			sk_submitted((int)fd);
}

/* Signals of readiness are the kernel's to send. Whom and which it is to send them was said to the file
 * that a connection had below it; what it has now is another. */
static bool wants_signals(int fd, struct ent e, bool on)
{
	struct f_owner_ex owner = { 0 };
	int known, sig;

	if (!on)
		return false;
	known = sys_fcntl(fd, F_GETOWN_EX, (long)(uintptr_t)&owner);
	sig = sys_fcntl(fd, F_GETSIG, 0);
	if (!to_kernel(fd, e, REASON_SIGIO))
		return false;
	if (known == 0 && owner.pid)
		(void)sys_fcntl(fd, F_SETOWN_EX, (long)(uintptr_t)&owner);
	if (sig > 0)
		(void)sys_fcntl(fd, F_SETSIG, sig);
	return true;
}

/* ---- fcntl ------------------------------------------------------------------------------------------- */

static void set_nonblock(int fd, struct ent e, bool on)
{
	struct sk *sk = ent_is_ours(e) ? sk_peek(e.h) : NULL;

	/* relaxed: one bit, read by calls that come after by the program's own order. */
	if (sk && on)
		__atomic_fetch_or(&sk->user, SKU_NONBLOCK, __ATOMIC_RELAXED);
	else if (sk)
		__atomic_fetch_and(&sk->user, ~SKU_NONBLOCK, __ATOMIC_RELAXED);
	else if (e.kind == FD_PLAIN)
		fd_flags(fd, on ? FDF_NONBLOCK : 0, on ? 0 : FDF_NONBLOCK);
}

static int64_t dup_from(int fd, int cmd, long arg)
{
	int to = sys_fcntl(fd, cmd, arg);

	if (to >= 0)
		share(fd, to);
	return to;
}

int64_t sk_fcntl(int fd, int cmd, long arg)
{
	struct ent e = fd_get(fd);
	struct sk *sk;
	int r;

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	switch (cmd) {
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return dup_from(fd, cmd, arg);
	case F_GETFL:
		sk = ent_is_ours(e) ? sk_peek(e.h) : NULL;
		if (!sk)
			return SK_PASS;
		r = sys_fcntl(fd, F_GETFL, 0);
		return r < 0 ? r : (r & ~O_NONBLOCK) | (sk->user & SKU_NONBLOCK ? O_NONBLOCK : 0);
	case F_SETFL:
		set_nonblock(fd, e, arg & O_NONBLOCK);
		if (unlikely(wants_signals(fd, e, arg & O_ASYNC)))
			return SK_PASS;
		return ent_is_ours(e) ? 0 : SK_PASS;
	default:
		return SK_PASS;
	}
}

/* ---- ioctl -------------------------------------------------------------------------------------------- */

static int64_t ioctl_turn(struct ent e, unsigned long cmd, int *ret)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && e.kind == FD_UDP) {
		*ret = (int)udp_next_bytes(&t, sk);
		r = cmd == FIONREAD && *ret ? 0 : SK_PASS;	/* else the kernel's queue counts */
	} else if (sk && e.kind == FD_LISTEN) {
		r = 0;		/* no urgent data is no mark */
	} else if (sk) {
		r = 0;
		*ret = cmd == FIONREAD ? (int)stream_unread(&t, sk) :
		       cmd == SIOCATMARK ? stream_at_mark(&t, sk) :
		       cmd == SIOCOUTQ ? (int)stream_unacked(&t, sk) : (int)stream_unsent(&t, sk);
	}
	sk_leave(&t, false);
	return r;
}

int64_t sk_ioctl(int fd, unsigned long cmd, long arg)
{
	struct ent e = fd_get(fd);
	int *p = (int *)(uintptr_t)arg, v = 0;
	int64_t r;

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (cmd == FIONBIO && !is_wild(p)) {
		set_nonblock(fd, e, *p != 0);
		return ent_is_ours(e) ? 0 : SK_PASS;
	}
	if (unlikely(cmd == FIOASYNC && !is_wild(p) && wants_signals(fd, e, *p != 0)))
		return SK_PASS;
	if (!ent_is_ours(e))
		return SK_PASS;
	if (cmd != FIONREAD && cmd != SIOCATMARK && cmd != SIOCOUTQ && cmd != SIOCOUTQNSD)
		return SK_PASS;
	if (e.kind == FD_LISTEN && cmd != SIOCATMARK)
		return -EINVAL;
	if (is_wild(p))
		return -EFAULT;
	if (sk_due())
		sk_round();
	r = ioctl_turn(e, cmd, &v);
	if (r == 0)
		*p = v;
	return r;
}
