/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoll. The program's descriptor is a real kernel epoll, and what is not ours is in it. For
 * accelerated sockets there is a second instance in the segment (core/stack/epoll.c), made
 * when the first one is added; the table's entry holds its handle. epoll_wait() reports from
 * both; while it sleeps, the kernel's instance is one more thing that it watches.
 *
 * Invariants
 *  P1  The kernel's instance is looked at whenever ours has nothing and the call is about to
 *	wait or return empty-handed, and else in the pace of foreign_due(): a busy program pays
 *	little for it and starves nobody.
 *  P2  A listener or datagram socket of ours is in both, under the same data; one report of a
 *	pair is dropped when both are in the same answer.
 *  P3  A socket may be added before it is decided (then it is the kernel's). Such
 *	registrations are remembered, and moved when the socket becomes ours.
 *  P4  The device is polled at most once a call before it sleeps.
 *  P5  A set in a set is nested in the kernel, which refuses what may not be, and again in the
 *	segment once the inner one has a half there: the first socket of ours in it brings that about.
 *  P6  A thread may be asleep in libc's own epoll_wait() on a set that another thread gives its
 *	first socket of ours. It is nudged: an event of the library's own in the kernel's instance,
 *	which the wrapper takes for a reason to look again, and nobody else sees.
 *  P7  One-shot is one shot for both halves of a pair: whichever is reported, the other is disarmed.
 *
 * A sleeper that was rung must look (core/stack/epoll.c E5): a wait that ends by a signal or
 * by time still collects, and what it finds is reported instead.
 */
#include "sock/self.h"
#include "sock/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>

#define BATCH 64

/* ---- registrations of undecided sockets (P3) ------------------------------------------------- */

#define N_REGS 1024	/* x 24 B; a program with more pending sockets in epoll keeps the rest in the kernel */

struct reg {
	int32_t	 fd;	/* less one, so that zeroed memory is an empty table */
	int32_t	 ep;
	uint32_t events;
	uint64_t data;
};
static struct reg regs[N_REGS];
static uint32_t n_regs;		/* slots ever used */
static uint32_t regs_lock;

static void lock_regs(void)
{
	agent_enter();
	/* acq: pairs with rel in unlock_regs(); held for a few loads and stores */
	while (__atomic_exchange_n(&regs_lock, 1, __ATOMIC_ACQUIRE))
		sys_relax();
}

static void unlock_regs(void)
{
	/* rel: pairs with acq in lock_regs() */
	__atomic_store_n(&regs_lock, 0, __ATOMIC_RELEASE);
	agent_leave();
}

static struct reg *reg_find(int fd, int ep)
{
	uint32_t i;

	for (i = 0; i < n_regs; i++)
		if (regs[i].fd == fd + 1 && (ep < 0 || regs[i].ep == ep))
			return &regs[i];
	return NULL;
}

static void reg_note(int op, int ep, int fd, const struct epoll_event *e)
{
	struct reg *r;
	uint32_t i;

	lock_regs();
	r = reg_find(fd, ep);
	for (i = 0; !r && op == EPOLL_CTL_ADD && i < N_REGS; i++)
		if (!regs[i].fd)
			r = &regs[i];
	if (r && op == EPOLL_CTL_DEL) {
		r->fd = 0;
	} else if (r) {
		*r = (struct reg){ .fd = fd + 1, .ep = ep, .events = e->events, .data = e->data.u64 };
		if ((uint32_t)(r - regs) >= n_regs)
			n_regs = (uint32_t)(r - regs) + 1;
	}
	unlock_regs();
}

/* Takes one registration of that socket off the table. */
static bool reg_take(int fd, struct reg *ret)
{
	struct reg *r;

	lock_regs();
	r = reg_find(fd, -1);
	if (r) {
		*ret = *r;
		r->fd = 0;
	}
	unlock_regs();
	return r != NULL;
}

void epoll_forget(int fd)
{
	struct reg ignored;

	if (!n_regs || me.in_turn)
		return;
	while (reg_take(fd, &ignored))
		;
}

/* What was put into a set that is closed. */
static void reg_drop_set(int ep)
{
	uint32_t i;

	if (!n_regs || me.in_turn)
		return;
	lock_regs();
	for (i = 0; i < n_regs; i++)
		if (regs[i].fd && regs[i].ep == ep)
			regs[i].fd = 0;
	unlock_regs();
}

/* ---- threads asleep in the kernel's part alone (P6) ---------------------------------------------- */

#define NUDGE_NS NS_PER_S	/* who has not got up by then will not: it was cancelled, or left by longjmp() */

static uint16_t sleepers[N_FDS];	/* by descriptor of the set; untouched pages cost nothing */
static uint64_t nudged_at;
static uint64_t nudge_data(void) { return (uint64_t)(uintptr_t)&nudged_at; }

enum epoll_sleep epoll_sleep(int fd)
{
	if (fd_get(fd).kind != FD_EPOLL || (uint32_t)fd >= N_FDS)
		return EPOLL_PLAIN;
	/* seq_cst: pairs with the fence in nudge(): either it sees this, or we see its handle */
	__atomic_fetch_add(&sleepers[fd], 1, __ATOMIC_SEQ_CST);
	if (likely(!fd_get(fd).h))
		return EPOLL_COUNTED;
	__atomic_fetch_sub(&sleepers[fd], 1, __ATOMIC_RELAXED);	/* relaxed: only ever too many are nudged */
	return EPOLL_AGAIN;
}

/* Takes the nudge out of what the kernel reported; out of the set, too, when it has done its work. */
static int nudge_take(int fd, struct epoll_event *ev, int n)
{
	int i, kept = 0;

	for (i = 0; i < n; i++)
		if (ev[i].data.u64 != nudge_data())
			ev[kept++] = ev[i];
	if (kept == n)
		return n;
	/* relaxed: a sleeper that is not seen finds the handle. */
	if (!__atomic_load_n(&sleepers[fd], __ATOMIC_RELAXED) || host_now() - nudged_at > NUDGE_NS) {
		(void)sys_epoll_ctl(fd, EPOLL_CTL_DEL, self.nudge_fd, NULL);
	}
	return kept;
}

int epoll_awake(int fd, struct epoll_event *ev, int n)
{
	int kept;

	__atomic_fetch_sub(&sleepers[fd], 1, __ATOMIC_RELAXED);	/* relaxed: as in epoll_sleep() */
	if (n <= 0 || !fd_get(fd).h)
		return n;
	kept = nudge_take(fd, ev, n);
	return kept ? kept : EPOLL_NUDGED;
}

static void nudge(int fd)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = nudge_data() };

	/* seq_cst: pairs with the count in epoll_sleep() */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if ((uint32_t)fd >= N_FDS || !__atomic_load_n(&sleepers[fd], __ATOMIC_RELAXED))	/* relaxed: fenced */
		return;
	if (self.nudge_fd <= 0)
		self.nudge_fd = fd_make_private(sys_eventfd2(1, EFD_CLOEXEC | EFD_NONBLOCK));
	nudged_at = host_now();
	(void)sys_epoll_ctl(fd, EPOLL_CTL_ADD, self.nudge_fd, &e);
}

void epoll_after_fork(void)
{
	memset(sleepers, 0, self.tab ? min_u32(self.tab->n_used, N_FDS) * sizeof(sleepers[0]) : 0);
}

/* ---- create, close -------------------------------------------------------------------------------- */

static int64_t note_epoll(int fd)
{
	if (fd >= 0 && self.state != ST_LEFT && self.state != ST_NEVER && fd_table() == 0)
		fd_put(fd, (struct ent){ .kind = FD_EPOLL });
	return fd;
}

int64_t sk_epoll_create1(int flags)
{
	return note_epoll(sys_epoll_create1(flags));
}

int64_t sk_epoll_create(int size)
{
	return size > 0 ? note_epoll(sys_epoll_create1(0)) : -EINVAL;
}

void epoll_close(int fd, struct ent e)
{
	struct turn t;
	struct ep *ep;

	wait_forget_nested(fd);
	epoll_forget(fd);
	reg_drop_set(fd);
	if (!e.h || (e.flags & FDF_SHARED && fd_has_twin(fd, e.h, e.kind)) || !sk_enter(&t))
		return;
	ep = ep_at(&t, (ep_h){ e.h });
	ep->procs &= ~(1ull << self.x.proc);
	if (ep->live && !ep->procs)
		ep_put(&t, (ep_h){ e.h });
	sk_leave(&t, false);
}

static void nested_moved(int fd, struct ent e);

/* It has a half of ours from now on: who sleeps on it, or watches it, learns of it. */
static void ep_made(int fd, struct ent e)
{
	fd_put(fd, e);
	nudge(fd);
	nested_moved(fd, e);
}

/* Our half of an epoll, made at first need. All its descriptors learn of it. */
static int ensure_ep(int epfd, struct ent *e)
{
	struct turn t;
	uint32_t i, n;
	ep_h h;

	if (e->h)
		return 0;
	if (!sk_enter(&t))
		return -EINTR;
	h = ep_get(&t);
	if (h.v)
		ep_at(&t, h)->procs = 1ull << self.x.proc;
	sk_leave(&t, false);
	if (!h.v)
		return -ENOMEM;
	e->h = h.v;
	n = e->flags & FDF_SHARED ? self.tab->n_used : 0;
	for (i = 0; i < n; i++) {	/* dup()ed before: copies have no handle yet */
		struct ent o = fd_get((int)i);

		if ((int)i != epfd && o.kind == FD_EPOLL && !o.h && o.flags & FDF_SHARED &&
		    SYS5(SYS_kcmp, sys_getpid(), sys_getpid(), 0, i, epfd) == 0) {
			o.h = h.v;
			ep_made((int)i, o);
		}
	}
	ep_made(epfd, *e);
	return 0;
}

/* Before a fork: a set that both processes will have is the same one for both. */
void epoll_before_fork(void)
{
	uint32_t i, n = min_u32(self.tab->n_used, N_FDS);

	for (i = 0; i < n; i++) {
		struct ent e = fd_get((int)i);

		if (e.kind == FD_EPOLL && !e.h)
			(void)!ensure_ep((int)i, &e);
	}
}

/* ---- ctl ---------------------------------------------------------------------------------------------- */

static int ctl_ours(int op, struct ent ep, int fd, struct ent e, uint32_t events, uint64_t data)
{
	ep_h h = { ep.h };
	int err = -EBADF;
	struct turn t;
	struct sk *sk;

	if (!sk_enter(&t))
		return -EINTR;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && op == EPOLL_CTL_ADD)
		err = ep_add(&t, h, sk, fd, events, data);
	else if (sk && op == EPOLL_CTL_MOD)
		err = ep_mod(&t, h, sk, fd, events, data);
	else if (sk && op == EPOLL_CTL_DEL)
		err = ep_del(&t, h, sk, fd);
	else if (sk)
		err = -EINVAL;
	if (sk && !err && op != EPOLL_CTL_DEL)
		sk_watched(&t, sk);
	sk_leave(&t, me.batch != 0);
	return err;
}

static bool pair_shots;		/* EPOLLONESHOT was asked for of a pair: P7 has something to do */

static bool is_pair(struct ent e) { return e.kind == FD_LISTEN || e.kind == FD_UDP || e.kind == FD_EPOLL; }

/* P2: the kernel's socket below is watched too; it can always be written to, so only for reading. */
static void ctl_kernel_too(int op, int epfd, int fd, const struct epoll_event *e)
{
	struct epoll_event k = { 0 };

	if (e) {
		k = *e;
		k.events &= ~(uint32_t)(EPOLLOUT | EPOLLWRNORM);
		pair_shots |= (k.events & EPOLLONESHOT) != 0;
	}
	(void)sys_epoll_ctl(epfd, op, fd, &k);
}

/* What Linux takes together with EPOLLEXCLUSIVE. */
#define EXCLUSIVE_OK ((uint32_t)(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE))

static int64_t ctl_accelerated(int op, int epfd, struct ent ep, int fd, struct ent e,
			       struct epoll_event *ev)
{
	int r;

	if (op != EPOLL_CTL_DEL && !ev)
		return -EFAULT;
	if (op != EPOLL_CTL_DEL && ev->events & EPOLLEXCLUSIVE && (op == EPOLL_CTL_MOD || ev->events & ~EXCLUSIVE_OK))
		return -EINVAL;
	r = ensure_ep(epfd, &ep);
	if (!r)
		r = ctl_ours(op, ep, fd, e, ev ? ev->events : 0, ev ? ev->data.u64 : 0);
	if (!r && e.kind != FD_TCP) {
		fd_flags(epfd, FDF_FOREIGN, 0);
		ctl_kernel_too(op, epfd, fd, ev);
	}
	return r;
}

/* ---- sets in sets (P5) ------------------------------------------------------------------------------------ */

static int nest_ours(int op, struct ent ep, int fd, struct ent e, const struct epoll_event *ev)
{
	ep_h h = { ep.h }, inner = { e.h };
	struct turn t;
	int err;

	if (!sk_enter(&t))
		return -EINTR;
	err = op == EPOLL_CTL_ADD ? ep_nest(&t, h, inner, fd, ev->events, ev->data.u64) :
	      op == EPOLL_CTL_MOD ? ep_nest_mod(&t, h, inner, fd, ev->events, ev->data.u64) :
				    ep_nest_del(&t, h, inner, fd);
	sk_leave(&t, false);
	return err;
}

static void nested_moved(int fd, struct ent e)
{
	struct epoll_event ev;
	struct reg r;
	struct ent ep;

	while (n_regs && reg_take(fd, &r)) {
		ev = (struct epoll_event){ .events = r.events, .data.u64 = r.data };
		ep = fd_get(r.ep);
		if (ep.kind == FD_EPOLL && ensure_ep(r.ep, &ep) == 0)
			(void)nest_ours(EPOLL_CTL_ADD, ep, fd, e, &ev);
	}
}

static int64_t ctl_nested(int op, int epfd, struct ent ep, int fd, struct ent e, struct epoll_event *ev)
{
	int r = sys_epoll_ctl(epfd, op, fd, ev);

	if (r < 0 || me.in_turn)
		return r;
	pair_shots |= ev && op != EPOLL_CTL_DEL && ev->events & EPOLLONESHOT;
	if (!e.h) {
		reg_note(op, epfd, fd, ev);
		return r;
	}
	if (op == EPOLL_CTL_ADD && ensure_ep(epfd, &ep))
		return r;
	if (ep.h)
		(void)nest_ours(op, ep, fd, e, ev);
	return r;
}

int64_t sk_epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
	struct ent ep = fd_get(epfd), e = fd_get(fd);
	int r;

	if (ep.kind == FD_PRIVATE || e.kind == FD_PRIVATE)
		return -EBADF;
	if (ep.kind != FD_EPOLL)
		return SK_PASS;
	if (ent_is_ours(e))
		return ctl_accelerated(op, epfd, ep, fd, e, ev);
	if (op == EPOLL_CTL_ADD && !(ep.flags & FDF_FOREIGN))
		fd_flags(epfd, FDF_FOREIGN, 0);
	if (e.kind == FD_EPOLL)
		return ctl_nested(op, epfd, fd_get(epfd), fd, e, ev);
	if (e.kind != FD_PLAIN || e.reason != REASON_UNDECIDED)
		return SK_PASS;
	r = sys_epoll_ctl(epfd, op, fd, ev);
	if (!r && !me.in_turn)
		reg_note(op, epfd, fd, ev);
	return r;
}

void epoll_moved(int fd, struct ent e)
{
	struct epoll_event ev;
	struct reg r;

	while (n_regs && reg_take(fd, &r)) {
		ev = (struct epoll_event){ .events = r.events, .data.u64 = r.data };
		(void)sys_epoll_ctl(r.ep, EPOLL_CTL_DEL, fd, NULL);
		(void)ctl_accelerated(EPOLL_CTL_ADD, r.ep, fd_get(r.ep), fd, e, &ev);
	}
}

/* ---- wait ------------------------------------------------------------------------------------------------ */

struct epwait {
	int	 epfd;
	struct ent ep;
	struct epoll_event *ev;
	int	 max;
};

static bool ep_has(const struct wait *w)
{
	return peek32(&self.x.map.eps[w->h & self.x.map.ep_mask].n_ready) != 0;
}

static void ep_arm(struct turn *t, const struct wait *w, uint32_t bit, bool on)
{
	struct ep *ep = ep_at(t, (ep_h){ w->h });

	ep->wait_mask = on ? ep->wait_mask | bit : ep->wait_mask & ~bit;
}

/* P7, both ways. */
static void disarm_kernel(int epfd, const struct ep_event *got)
{
	struct epoll_event none = { .events = EPOLLONESHOT, .data.u64 = got->data };

	(void)sys_epoll_ctl(epfd, EPOLL_CTL_MOD, got->fd, &none);
}

static void disarm_ours(struct ent ep, const struct epoll_event *ev, int n)
{
	struct turn t;
	int i;

	if (!sk_enter(&t))
		return;
	for (i = 0; i < n; i++)
		ep_shot(&t, (ep_h){ ep.h }, -1, ev[i].data.u64);
	sk_leave(&t, false);
}

/* Ours: one turn, and only if there may be something. Kicks that are owed are paid here in
 * either case, together with what the round itself has to send. */
static int collect_ours(const struct epwait *p, uint64_t *ret_now)
{
	struct wait w = { .h = p->ep.h };
	struct ep_event got[BATCH];
	uint32_t i, n;
	struct turn t;

	*ret_now = 0;
	if (!ep_has(&w) && !sk_due()) {
		wait_note(WAIT_POLL_SKIP_CURRENT);
		exec_flush(&self.x);
		return 0;
	}
	if (!sk_enter(&t))
		return -EINTR;
	wait_note(WAIT_POLL_UPDATE);
	exec_round(&self.x, &t);	/* P4 */
	n = ep_collect(&t, (ep_h){ p->ep.h }, got, min_u32((uint32_t)p->max, BATCH));
	*ret_now = t.now;
	sk_leave(&t, false);
	for (i = 0; i < n; i++) {
		p->ev[i] = (struct epoll_event){ .events = got[i].events, .data.u64 = got[i].data };
		if (unlikely(got[i].shot) && is_pair(fd_get(got[i].fd)))
			disarm_kernel(p->epfd, &got[i]);
	}
	return (int)n;
}

/* P2: a report of the kernel's under the same data as one of ours adds its bits there. */
static int merge(struct epoll_event *ours, int n_ours, struct epoll_event *k, int n_k)
{
	int i, j, kept = 0;

	for (i = 0; i < n_k; i++) {
		for (j = 0; j < n_ours && ours[j].data.u64 != k[i].data.u64; j++)
			;
		if (j < n_ours)
			ours[j].events |= k[i].events;
		else
			k[kept++] = k[i];
	}
	return kept;
}

static int collect_kernel(const struct epwait *p, int have, uint64_t now)
{
	int n = have < p->max ? sys_epoll_pwait(p->epfd, p->ev + have, p->max - have, 0, NULL) : 0;

	if (n > 0)
		n = nudge_take(p->epfd, p->ev + have, n);
	foreign_found(now, n > 0);
	if (unlikely(pair_shots) && n > 0)
		disarm_ours(p->ep, p->ev + have, n);
	return n > 0 && have ? merge(p->ev, have, p->ev + have, n) : n;
}

static int collect(const struct epwait *p, bool kernel_now)
{
	bool foreign = fd_get(p->epfd).flags & FDF_FOREIGN;
	uint64_t now;
	int n = collect_ours(p, &now), k = 0;

	if (n < 0)
		return n;
	me.batch = n > 1 ? (uint32_t)n : 0;
	if (foreign && !kernel_now) {
		now = now ? now : host_now();
		kernel_now = foreign_due(now);
	}
	if (foreign && kernel_now)
		k = collect_kernel(p, n, now ? now : host_now());
	return k < 0 ? (n ? n : k) : n + k;
}

static int64_t wait_loop(const struct epwait *p, uint64_t until, bool at_once, const sigset_t *set)
{
	struct wait w;
	int n, err;

	me.loops = 1;
	n = collect(p, false);
	if (n || at_once)
		return n;
	wait_init(&w, until);
	w.mask = set;
	w.ready = ep_has;
	w.arm = ep_arm;
	w.h = p->ep.h;
	w.nested = fd_get(p->epfd).flags & FDF_FOREIGN ? p->epfd : -1;
	for (;;) {
		err = wait_for(&w);
		n = collect(p, w.foreign || err);
		if (n)
			return n;
		if (err)
			return err == -ETIMEDOUT ? 0 : err;
	}
}

static int64_t wait_any(int epfd, struct epoll_event *ev, int max, uint64_t ns, const sigset_t *set)
{
	struct epwait p = { .epfd = epfd, .ep = fd_get(epfd), .ev = ev, .max = max };

	if (p.ep.kind == FD_PRIVATE)
		return -EBADF;
	if (p.ep.kind != FD_EPOLL || !p.ep.h)
		return SK_PASS;
	if (max <= 0)
		return -EINVAL;
	return wait_loop(&p, ns == NEVER_NS || ns == 0 ? ns : until_ns(ns), ns == 0, set);
}

static uint64_t ms_ns(int ms)
{
	return ms < 0 ? NEVER_NS : (uint64_t)ms * NS_PER_MS;
}

int64_t sk_epoll_wait(int ep, struct epoll_event *e, int max, int ms)
{
	return wait_any(ep, e, max, ms_ns(ms), NULL);
}

int64_t sk_epoll_pwait(int ep, struct epoll_event *e, int max, int ms, const sigset_t *set)
{
	return wait_any(ep, e, max, ms_ns(ms), set);
}

int64_t sk_epoll_pwait2(int ep, struct epoll_event *e, int max, const struct timespec *to,
			const sigset_t *set)
{
	uint64_t ns = NEVER_NS;

	if (to && (to->tv_sec < 0 || to->tv_nsec < 0 || to->tv_nsec >= (long)NS_PER_S))
		return -EINVAL;
	if (to && (uint64_t)to->tv_sec < NEVER_NS / NS_PER_S / 2)
		ns = (uint64_t)to->tv_sec * NS_PER_S + (uint64_t)to->tv_nsec;
	return wait_any(ep, e, max, ns, set);
}
