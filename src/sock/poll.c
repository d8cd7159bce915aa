/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * poll, ppoll, select, pselect over descriptors of both kinds. Without one of ours among
 * them the call is the kernel's. Otherwise the kernel's part is a copy of the array in which
 * ours are masked out (fd -1), except listeners and datagram sockets, which are watched on both
 * sides; the copy has room behind it for what the sleeper watches itself.
 */
#include "sock/self.h"
#include "sock/stream.h"

#include <errno.h>
#include <sys/mman.h>

#define ON_STACK 64	/* descriptors: no allocation up to here */

struct polling {
	struct pollfd *user;
	uint32_t n;
	struct pollfd *k;	/* the kernel's part, and WAIT_ROOM more */
	bool	 mixed;		/* something in the kernel's part */
	bool	 strangers;	/* ... that is not the kernel's side of one of ours */
};

/* ---- one descriptor -------------------------------------------------------------------------- */

/* What lies on a ready list may not be ready any more: that takes a turn to find out. */
static bool epoll_shows(struct ent e)
{
	struct turn t;
	bool any;

	if (!peek32(&self.x.map.eps[e.h & self.x.map.ep_mask].n_ready) || !sk_enter(&t))
		return false;
	any = ep_is_ready(&t, (ep_h){ e.h });
	sk_leave(&t, true);
	return any;
}

static short ready_of(struct ent e, short events)
{
	uint32_t want = (uint32_t)(unsigned short)events | POLLERR | POLLHUP, r;
	struct sk *sk;

	if (e.kind == FD_EPOLL)
		return (short)(want & (POLLIN | POLLRDNORM) && epoll_shows(e) ? want & (POLLIN | POLLRDNORM) : 0);
	sk = sk_peek(e.h);
	if (!sk)
		return POLLNVAL;
	r = sk_shows(sk);
	if (r & EPOLLIN)
		r |= POLLRDNORM;
	if (r & EPOLLOUT)
		r |= POLLWRNORM;
	return (short)(r & want);
}

static bool ours(struct ent e)
{
	return ent_is_ours(e) || (e.kind == FD_EPOLL && e.h);
}

static bool ready_any(const struct wait *w)
{
	const struct polling *p = w->arg;
	uint32_t i;

	for (i = 0; i < p->n; i++) {
		struct ent e = fd_get(p->user[i].fd);

		if (ours(e) && ready_of(e, p->user[i].events))
			return true;
	}
	return false;
}

static void arm_all(struct turn *t, const struct wait *w, uint32_t bit, bool on)
{
	const struct polling *p = w->arg;
	uint32_t i;

	for (i = 0; i < p->n; i++) {
		struct ent e = fd_get(p->user[i].fd);
		uint32_t *mask = NULL;
		struct sk *sk;

		if (e.kind == FD_EPOLL && e.h) {
			mask = &ep_at(t, (ep_h){ e.h })->wait_mask;
		} else if (ent_is_ours(e)) {
			sk = sk_find(t, (sk_h){ e.h });
			mask = sk ? &sk->wait_mask : NULL;
			if (sk && on)
				sk_watched(t, sk);
		}
		if (mask)
			*mask = on ? *mask | bit : *mask & ~bit;
	}
}

/* ---- the kernel's part -------------------------------------------------------------------------- */

/* Fills the copy; false if nothing of ours is in it. */
static bool split(struct polling *p)
{
	bool any = false;
	uint32_t i;

	p->mixed = p->strangers = false;
	for (i = 0; i < p->n; i++) {
		struct ent e = fd_get(p->user[i].fd);

		p->k[i] = p->user[i];
		p->k[i].revents = 0;
		if (ours(e))
			any = true;
		if (e.kind == FD_TCP || p->user[i].fd < 0) {
			p->k[i].fd = -1;
			continue;
		}
		p->mixed = true;
		p->strangers |= !ours(e);
	}
	return any;
}

static bool any_ours(const struct pollfd *u, nfds_t n)
{
	nfds_t i;

	for (i = 0; i < n; i++)
		if (ours(fd_get(u[i].fd)))
			return true;
	return false;
}

static int look_kernel(struct polling *p)
{
	struct timespec zero = { 0, 0 };
	uint32_t i;
	int r;

	for (i = 0; i < p->n; i++)
		p->k[i].revents = 0;
	if (!p->mixed)
		return 0;
	r = sys_ppoll(p->k, p->n, &zero, NULL);
	foreign_found(host_now(), r > 0);
	return r;
}

/* What is ready on either side, into the program's array. A datagram socket of ours can
 * always send; the kernel's says nothing about that but what we say ourselves. */
static int collect(struct polling *p, bool with_kernel)
{
	int n = 0, r = with_kernel ? look_kernel(p) : 0;
	uint32_t i;

	if (r < 0 && r != -EINVAL)	/* -EINVAL: RLIMIT_NOFILE forbids it; ours alone then */
		return r;
	for (i = 0; i < p->n; i++) {
		struct pollfd *u = &p->user[i];
		struct ent e = fd_get(u->fd);
		short k = with_kernel && r > 0 ? p->k[i].revents : 0;

		if (ent_is_ours(e) && e.kind != FD_TCP)
			k &= ~(POLLOUT | POLLWRNORM | POLLHUP | (e.kind == FD_UDP ? 0 : POLLERR));
		u->revents = k;
		if (ours(e))
			u->revents |= ready_of(e, u->events);
		n += u->revents != 0;
	}
	return n;
}

/* Others' descriptors are always looked at, so that what is ready is reported together. The
 * kernel's side of listeners and datagram sockets keeps foreign_due()'s pace while ours has
 * something to report. */
static bool kernel_now(const struct polling *p, bool at_once)
{
	struct wait w = { .arg = p };

	if (!p->mixed || p->strangers || at_once)
		return p->mixed;
	return foreign_due(host_now()) || !ready_any(&w);
}

static int64_t poll_loop(struct polling *p, uint64_t until, bool at_once, const sigset_t *set)
{
	struct wait w;
	int r;

	me.loops = 1;
	sk_refresh();
	wait_init(&w, until);
	r = collect(p, kernel_now(p, at_once));
	if (r || at_once) {
		exec_flush(&self.x);
		return r;
	}
	w.mask = set;
	w.ready = ready_any;
	w.arm = arm_all;
	w.arg = p;
	w.pfd = p->k;
	w.n_pfd = p->mixed ? p->n : 0;
	w.polls = true;
	for (;;) {
		int err = wait_for(&w);

		r = collect(p, p->mixed && (p->strangers || w.foreign || err));
		if (r)
			return r;
		if (err)
			return err == -ETIMEDOUT ? 0 : err;
	}
}

static int64_t poll_all(struct pollfd *u, nfds_t n, uint64_t until, bool at_once, const sigset_t *set)
{
	struct pollfd small[ON_STACK + WAIT_ROOM];
	struct polling p = { .user = u, .n = (uint32_t)n, .k = small };
	size_t bytes = (n + WAIT_ROOM) * sizeof(*u);
	int64_t r;

	if (n > N_FDS)
		return SK_PASS;
	if (n > ON_STACK) {
		p.k = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (SYS_MAP_FAILED(p.k))
			return -ENOMEM;
	}
	r = split(&p) ? poll_loop(&p, until, at_once, set) : SK_PASS;
	if (n > ON_STACK)
		sys_munmap(p.k, bytes);
	return r;
}

int64_t sk_poll(struct pollfd *u, nfds_t n, int ms)
{
	if (!stack_have() || !any_ours(u, n))
		return SK_PASS;
	return poll_all(u, n, ms < 0 ? NEVER_NS : until_ns((uint64_t)ms * NS_PER_MS), ms == 0, NULL);
}

static bool bad_timespec(const struct timespec *to)
{
	return to && (to->tv_sec < 0 || to->tv_nsec < 0 || to->tv_nsec >= (long)NS_PER_S);
}

static uint64_t timespec_ns(const struct timespec *to)
{
	if (!to || (uint64_t)to->tv_sec > NEVER_NS / NS_PER_S / 2)
		return NEVER_NS;
	return (uint64_t)to->tv_sec * NS_PER_S + (uint64_t)to->tv_nsec;
}

int64_t sk_ppoll(struct pollfd *u, nfds_t n, const struct timespec *to, const sigset_t *set)
{
	uint64_t ns = timespec_ns(to);

	if (!stack_have() || !any_ours(u, n) || bad_timespec(to))
		return SK_PASS;
	return poll_all(u, n, ns == NEVER_NS ? NEVER_NS : until_ns(ns), ns == 0, set);
}

/* ---- select --------------------------------------------------------------------------------------- */

#define SEL_READ  (POLLIN | POLLRDNORM | POLLRDBAND | POLLHUP | POLLERR)
#define SEL_WRITE (POLLOUT | POLLWRNORM | POLLWRBAND | POLLERR)
#define SEL_EXC	  POLLPRI
#define WORD_BITS (8 * (int)sizeof(unsigned long))

static bool bit_at(const fd_set *s, int fd)
{
	const unsigned long *w = (const unsigned long *)(const void *)s;

	return s && w[fd / WORD_BITS] >> (fd % WORD_BITS) & 1;
}

static void bit_set(fd_set *s, int fd)
{
	((unsigned long *)(void *)s)[fd / WORD_BITS] |= 1ul << (fd % WORD_BITS);
}

static void bits_clear(fd_set *s, int n)
{
	if (s)
		memset(s, 0, (size_t)((n + WORD_BITS - 1) / WORD_BITS) * sizeof(unsigned long));
}

static short select_events(int fd, const fd_set *r, const fd_set *w, const fd_set *x)
{
	return (short)((bit_at(r, fd) ? POLLIN | POLLRDNORM | POLLRDBAND : 0) |
		       (bit_at(w, fd) ? POLLOUT | POLLWRNORM | POLLWRBAND : 0) |
		       (bit_at(x, fd) ? POLLPRI : 0));
}

static bool select_has_ours(int n, const fd_set *r, const fd_set *w, const fd_set *x)
{
	int fd;

	for (fd = 0; fd < n; fd++)
		if (fd_kind(fd) != FD_NONE && select_events(fd, r, w, x) && ours(fd_get(fd)))
			return true;
	return false;
}

/* Back from poll's answers to bits; the number of bits, or -EBADF as select() says it. */
static int64_t select_answer(const struct pollfd *p, uint32_t n_p, int n, fd_set *r, fd_set *w,
			     fd_set *x)
{
	int64_t bits = 0;
	uint32_t i;

	for (i = 0; i < n_p; i++)
		if (p[i].revents & POLLNVAL)
			return -EBADF;
	bits_clear(r, n);
	bits_clear(w, n);
	bits_clear(x, n);
	for (i = 0; i < n_p; i++) {
		if (p[i].events & POLLIN && p[i].revents & SEL_READ && ++bits)
			bit_set(r, p[i].fd);
		if (p[i].events & POLLOUT && p[i].revents & SEL_WRITE && ++bits)
			bit_set(w, p[i].fd);
		if (p[i].events & POLLPRI && p[i].revents & SEL_EXC && ++bits)
			bit_set(x, p[i].fd);
	}
	return bits;
}

static int64_t select_all(int n, fd_set *r, fd_set *w, fd_set *x, uint64_t ns, const sigset_t *set)
{
	struct pollfd small[ON_STACK], *p = small;
	size_t bytes = (size_t)n * sizeof(*p);
	uint32_t n_p = 0;
	int64_t got;
	int fd;

	if (n > ON_STACK) {
		p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (SYS_MAP_FAILED(p))
			return -ENOMEM;
	}
	for (fd = 0; fd < n; fd++) {
		short events = select_events(fd, r, w, x);

		if (events)
			p[n_p++] = (struct pollfd){ .fd = fd, .events = events };
	}
	got = poll_all(p, n_p, ns == NEVER_NS ? NEVER_NS : until_ns(ns), ns == 0, set);
	if (got >= 0)
		got = select_answer(p, n_p, n, r, w, x);
	if (n > ON_STACK)
		sys_munmap(p, bytes);
	return got;
}

int64_t sk_select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *to)
{
	uint64_t ns = NEVER_NS, until = NEVER_NS, now, left;
	int64_t got;

	if (!stack_have() || n < 0 || n > N_FDS || !select_has_ours(n, r, w, x))
		return SK_PASS;
	if (to && (to->tv_sec < 0 || to->tv_usec < 0))
		return -EINVAL;
	if (to && (uint64_t)to->tv_sec < NEVER_NS / NS_PER_S / 2) {
		ns = (uint64_t)to->tv_sec * NS_PER_S + (uint64_t)to->tv_usec * NS_PER_US;
		until = until_ns(ns);
	}
	got = select_all(n, r, w, x, ns, NULL);
	if (to && ns != NEVER_NS && got != SK_PASS) {	/* Linux says how much was left */
		now = host_now();
		left = until > now && ns ? until - now : 0;
		to->tv_sec = (time_t)(left / NS_PER_S);
		to->tv_usec = (suseconds_t)(left % NS_PER_S / NS_PER_US);
	}
	return got;
}

int64_t sk_pselect(int n, fd_set *r, fd_set *w, fd_set *x, const struct timespec *to,
		   const sigset_t *set)
{
	if (!stack_have() || n < 0 || n > N_FDS || bad_timespec(to) || !select_has_ours(n, r, w, x))
		return SK_PASS;
	return select_all(n, r, w, x, timespec_ns(to), set);
}
