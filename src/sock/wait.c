/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only file that sleeps.
 *
 * A wait first spins: it looks at the device, at the timers and at what it waits for, without
 * a system call. Then it sleeps: it claims a waiter slot, sets its bit where it waits (in a
 * turn), lies down (waiter_sleep), looks a last time, and polls the device, its bell, and the
 * kernel's descriptors it was given, no longer than to the stack's next deadline.
 *
 * Invariants
 *  W1  Between the turn that set our bit and the sleep there is always a last look; whoever
 *	makes us ready after it finds the slot asleep and rings (core/stack/waiter.c).
 *  W2  Every sleep starts with no kick owed.
 *  W3  A handler that ran since the call began ends the wait; one that runs between the last
 *	look and the sleep rings our own bell, so the sleep does not begin.
 *  W4  Of many threads and processes asleep on one device the kernel wakes one
 *	(EPOLLEXCLUSIVE); that one takes the packets and rings the others. Waits that have
 *	descriptors of poll() with them are woken all.
 *  W5  Who is rung by peers again and again for what other threads take anyway naps: it sleeps on
 *	what is its own, no longer than NAP_NS, and wants no ring meanwhile (Q5 of core/stack/irq.c).
 *	Those threads ring its bell for what is its; should they be busy elsewhere, it looks itself
 *	when it gets up, and when nobody else has been in the stack, it sleeps as before.
 *
 * Whether spinning pays is learned: an average of the last spins, per process. A gap in our
 * own clock means that somebody else wants this core: then spinning stops as well. A profile
 * whose spins are long (latency) is taken at its word, but for two things: of one process no
 * more threads spin at once than there are cores to spare, for one is enough to see packets
 * and rings the others; and who was preempted sleeps this once, so that two who spin on one
 * core do not pass it to and fro by time slices.
 */
#include "core/ap/ap.h"
#include "sock/self.h"
#include "sock/stream.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

#define STOLEN_NS	(60 * NS_PER_US)	/* such a gap between two looks: the core is wanted */
#define PREEMPTED_NS	(500 * NS_PER_US)	/* ... even by profiles that spin: another ran here */
#define SCORE_LOW	40	/* about one in six: below it spinning is only tried now and then */
#define TRY_ANYWAY	32
#define NO_SLOT_NS	NS_PER_MS	/* how long to sleep when all waiter slots are taken */
#define NAP_NS		NS_PER_MS
#define VAIN_MAX	3	/* rings for nothing, then naps */
#define GAP_MIN_NS	(20 * NS_PER_US)	/* between looks at the kernel's side, once one found nothing */
#define GAP_MAX_NS	NS_PER_MS		/* ... and when none has for long; what found is repeated at once */

/* ---- pacing of looks at the kernel's side -------------------------------------------------- */

bool foreign_due(uint64_t now)
{
	return now - self.foreign_at >= self.foreign_gap_ns;
}

void foreign_found(uint64_t now, bool found)
{
	uint64_t gap = self.foreign_gap_ns * 2;

	self.foreign_at = now;
	self.foreign_gap_ns = found ? 0 : min_u64(max_u64(gap, GAP_MIN_NS), GAP_MAX_NS);
}

static bool foreign_look(struct wait *w, uint64_t now)
{
	struct timespec zero = { 0, 0 };
	struct pollfd p = { .fd = w->nested, .events = POLLIN };
	int n;

	if (!w->n_pfd && w->nested < 0)
		return false;
	n = w->n_pfd ? sys_ppoll(w->pfd, w->n_pfd, &zero, NULL) : sys_ppoll(&p, 1, &zero, NULL);
	foreign_found(now, n > 0);
	w->foreign = n > 0;
	return n > 0;
}

/* ---- counting --------------------------------------------------------------------------------- */

#define NOTES_MAX 256	/* a thread that never sleeps tells of them when they are so many */

/* Told in the slot that is ours while we hold it, or else, seldom, where all without one do. A
 * handler that comes in between may spoil a count, and nothing else. */
static void tell_notes(int slot)
{
	uint32_t i, n;

	for (i = 0; i < N_WAIT_COUNTS && self.x.map.seg; i++) {
		n = me.waits[i];
		if (!n)
			continue;
		me.waits[i] = 0;
		if (slot >= 0)
			waiter_note(&self.x.map, slot, i, n);
		else	/* relaxed: a count */
			__atomic_fetch_add(&self.x.map.seg->waits[i], n, __ATOMIC_RELAXED);
	}
}

void wait_note(enum wait_count what)
{
	me.waits[what]++;
	if (unlikely(++me.n_noted % NOTES_MAX == 0))
		tell_notes(-1);
}

static void note_in(int slot, enum wait_count what)
{
	if (slot >= 0)
		waiter_note(&self.x.map, slot, what, 1);
	else
		wait_note(what);
}

/* ---- spinning --------------------------------------------------------------------------------- */

bool wait_interrupted(const struct wait *w)
{
	return w->restarts ? me.n_hard != w->n_hard : me.n_sigs != w->n_sigs;
}

static uint64_t spin_budget(void)
{
	if (self.spins)
		return NEVER_NS;
	if (self.spin_score >= SCORE_LOW)
		return self.x.spin_ns;
	/* Two who answer each other and both sleep are slower than either's patience: a trial is
	 * longer, so that one of them finds out, and by being quicker lets the other. */
	return ++self.spin_skips % TRY_ANYWAY == 0 ? 2 * (uint64_t)self.x.spin_ns : 0;
}

static void spin_learn(bool paid)
{
	uint32_t s = self.spin_score;

	if (paid)
		wait_note(WAIT_SPUN);
	/* Racing threads lose a sample; it is an average. */
	self.spin_score = paid ? s + (SPIN_SCORE_ONE - s) / 8 : s - s / 8;
}

#define SPIN_OVER 1

/* With a signal mask of its own (ppoll) a pending signal shows only in the kernel. */
static int pending_signal(const struct wait *w)
{
	struct timespec zero = { 0, 0 };

	return w->mask && sys_ppoll(NULL, 0, &zero, w->mask) == -EINTR ? -EINTR : 0;
}

static int spin_check(struct wait *w, uint64_t start, uint64_t now, uint64_t last, uint64_t budget)
{
	if (now >= w->until)
		return -ETIMEDOUT;
	if (now >= peek64(&self.x.map.seg->deadline))
		sk_round();
	if (foreign_due(now)) {
		if (foreign_look(w, now))
			return 0;
		if (pending_signal(w))
			return -EINTR;
	}
	if (now - start >= budget || now - last >= (self.spins ? PREEMPTED_NS : STOLEN_NS))
		return SPIN_OVER;
	return -EAGAIN;
}

static int spin_for(struct wait *w, uint64_t budget)
{
	uint64_t start = host_now(), last = start, now;
	uint32_t i;
	int r;

	for (i = 1;; i++) {
		if (sk_pending())
			sk_round();
		if (w->ready(w)) {
			spin_learn(true);
			return 0;
		}
		if (unlikely(wait_interrupted(w)))
			return -EINTR;
		sys_relax();
		if (i & 7)
			continue;
		now = host_now();
		r = spin_check(w, start, now, last, budget);
		if (r == SPIN_OVER)
			spin_learn(false);
		if (r != -EAGAIN)
			return r;
		last = now;
	}
}

static int spin(struct wait *w)
{
	uint64_t budget;
	int r = SPIN_OVER;

	/* Two on one core: who spins keeps the other from answering (S0c). */
	if (self.x.map.front && ap_core_shared(&self.x.map, host_cpu()))
		return SPIN_OVER;
	budget = spin_budget();
	if (!budget)
		return SPIN_OVER;
	/* relaxed: a count of threads, nothing is read on its strength. */
	if (__atomic_fetch_add(&self.n_spinning, 1, __ATOMIC_RELAXED) < self.max_spinning)
		r = spin_for(w, budget);
	__atomic_fetch_sub(&self.n_spinning, 1, __ATOMIC_RELAXED);	/* relaxed: as above */
	return r;
}

/* ---- sleeping ------------------------------------------------------------------------------------ */

enum { TAG_DEVICE = 1, TAG_BELL, TAG_NESTED, TAG_PIPE, TAG_PEERS };	/* what an event of a slot's epoll is about */

static void watch(int ep, int fd, uint32_t events, uint32_t tag)
{
	struct epoll_event e = { .events = events, .data.u32 = tag };

	if (fd >= 0 && sys_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e) == -EINVAL) {
		e.events &= ~EPOLLEXCLUSIVE;
		(void)sys_epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	}
}

/* The kernel epoll of a waiter slot in this process: devices and bell; made once. */
static int slot_epoll(int slot)
{
	int ep = self.slot_ep[slot];
	uint32_t i;

	if (likely(ep >= 0))
		return ep;
	ep = sys_epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		return ep;
	ep = fd_make_private(ep);
	for (i = 0; i < self.x.fds.n_vis; i++)
		watch(ep, self.x.fds.xsk[i], EPOLLIN | EPOLLEXCLUSIVE, TAG_DEVICE);
	if (self.x.map.front) {
		watch(ep, self.x.fds.bell[PEER_BELL], EPOLLIN | EPOLLEXCLUSIVE, TAG_PEERS);
		watch(ep, self.x.fds.pipe, EPOLLIN | EPOLLEXCLUSIVE, TAG_PIPE);
	}
	watch(ep, self.x.fds.bell[slot], EPOLLIN, TAG_BELL);
	self.slot_ep[slot] = ep;
	self.slot_nested[slot] = -1;
	return ep;
}

static void slot_nest(int slot, int ep, int nested)
{
	int old = self.slot_nested[slot];

	if (old == nested)
		return;
	if (old >= 0)
		(void)sys_epoll_ctl(ep, EPOLL_CTL_DEL, old, NULL);
	if (nested >= 0)
		watch(ep, nested, EPOLLIN, TAG_NESTED);
	self.slot_nested[slot] = nested;
}

void wait_forget_nested(int epfd)
{
	uint32_t i;

	if (!stack_have())
		return;
	for (i = 0; i < N_WAITERS; i++)
		if (self.slot_nested[i] == epfd) {
			if (self.slot_ep[i] >= 0)
				(void)sys_epoll_ctl(self.slot_ep[i], EPOLL_CTL_DEL, epfd, NULL);
			self.slot_nested[i] = -1;
		}
}

static struct timespec to_timespec(uint64_t ns)
{
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}

/* Asleep through the slot's epoll: 0, or -errno of the kernel. */
static int block_epoll(struct wait *w, int slot, int ep, struct timespec *to)
{
	struct epoll_event ev[4];
	int i, n, ms;

	slot_nest(slot, ep, w->nested);
	n = sys_epoll_pwait2(ep, ev, (int)n_elems(ev), to, w->mask);
	if (n == -ENOSYS) {
		ms = to ? (int)(to->tv_sec * 1000 + (to->tv_nsec + 999999) / 1000000) : -1;
		n = sys_epoll_pwait(ep, ev, (int)n_elems(ev), ms, w->mask);
	}
	for (i = 0; i < n; i++) {
		w->foreign |= ev[i].data.u32 == TAG_NESTED;
		w->rung |= ev[i].data.u32 == TAG_BELL;
		w->piped |= ev[i].data.u32 == TAG_PIPE;
		w->peers |= ev[i].data.u32 == TAG_PEERS;
	}
	return n < 0 ? n : 0;
}

/* Asleep in ppoll(): for descriptors of poll(), and under seccomp. Not ended by SIGCONT, as epoll_wait() is. */
static int block_poll(struct wait *w, int slot, struct timespec *to)
{
	struct pollfd own[WAIT_ROOM + 1], *p = w->n_pfd ? w->pfd : own;
	uint32_t n = w->n_pfd, i;
	int r;

	if (!n && w->nested >= 0)
		p[n++] = (struct pollfd){ .fd = w->nested, .events = POLLIN };
	for (i = 0; i < self.x.fds.n_vis && !w->naps; i++)
		p[n++] = (struct pollfd){ .fd = self.x.fds.xsk[i], .events = POLLIN };
	if (self.x.map.front && !w->naps) {
		p[n++] = (struct pollfd){ .fd = self.x.fds.pipe, .events = POLLIN };
		p[n++] = (struct pollfd){ .fd = self.x.fds.bell[PEER_BELL], .events = POLLIN };
	}
	if (slot >= 0)
		p[n++] = (struct pollfd){ .fd = self.x.fds.bell[slot], .events = POLLIN };
	r = sys_ppoll(p, n, to, w->mask);
	for (i = 0; r > 0 && i < (w->n_pfd ? w->n_pfd : w->nested >= 0); i++)
		w->foreign |= p[i].revents != 0;
	w->rung |= r > 0 && slot >= 0 && p[n - 1].revents;
	if (r > 0 && self.x.map.front && !w->naps) {
		w->piped |= p[n - 2 - (slot >= 0)].revents != 0;
		w->peers |= p[n - 1 - (slot >= 0)].revents != 0;
	}
	return r < 0 ? r : 0;
}

/* RLIMIT_NOFILE of 1 (a sandbox) lets poll() take one descriptor: the epoll made before. */
static int block_confined(struct wait *w, int slot, struct timespec *to)
{
	struct timespec brief = { 0, (long)NO_SLOT_NS };
	struct pollfd p = { .fd = self.x.fds.n_vis ? self.x.fds.xsk[0] : self.x.fds.pipe, .events = POLLIN };

	if (slot >= 0 && self.slot_ep[slot] >= 0)
		p.fd = self.slot_ep[slot];
	else if (!to || to->tv_sec > 0 || to->tv_nsec > brief.tv_nsec)
		to = &brief;
	w->rung = w->piped = w->peers = true;	/* which of them it was is not known */
	return sys_ppoll(&p, 1, to, w->mask) == -EINTR ? -EINTR : 0;
}

static int block(struct wait *w, int slot, uint64_t now)
{
	uint64_t until = min_u64(w->until, peek64(&self.x.map.seg->deadline));
	struct timespec ts, *to = NULL;
	int ep, r;

	if (slot < 0)
		until = min_u64(until, now + NO_SLOT_NS);
	if (w->naps)
		until = min_u64(until, now + NAP_NS);
	if (until != NEVER_NS) {
		ts = to_timespec(until > now ? until - now : 0);
		to = &ts;
	}
	ep = slot >= 0 && !self.quiet && !w->n_pfd && !w->polls && !w->naps ? slot_epoll(slot) : -1;
	if (ep >= 0)
		return block_epoll(w, slot, ep, to);
	r = block_poll(w, slot, to);
	return r == -EINVAL ? block_confined(w, slot, to) : r;
}

static bool arm(struct wait *w, int slot, bool on)
{
	struct turn t;

	if (!sk_enter(&t))
		return false;
	exec_round(&self.x, &t);
	if (slot >= 0)
		w->arm(&t, w, 1u << slot, on);
	sk_leave(&t, false);
	return true;
}

static int claim(void)
{
	if (self.quiet_slot >= 0)
		return self.quiet_slot;
	return waiter_claim(&self.x.map, host_tid(), self.x.proc);
}

/* Asleep, unless a last look finds something. */
static int lie_down(struct wait *w, int slot)
{
	uint64_t now;

	note_in(slot, w->naps ? WAIT_NAPPED : WAIT_SLEPT);
	if (slot < 0)
		irq_arm(&self.x.map);
	else if (!w->naps)
		irq_note(&self.x.map, slot, irq_sleep(&self.x.map));
	if (wait_interrupted(w))
		return -EINTR;
	if (w->ready(w) || (!w->naps && sk_pending())) {
		note_in(slot, WAIT_LAST_LOOK);
		return 0;
	}
	now = host_now();
	return now < w->until ? block(w, slot, now) : 0;
}

/* What was rung is heard, and others who sleep are seen to. */
static void get_up(const struct wait *w, int slot)
{
	bool rung = slot >= 0 && waiter_wake(&self.x.map, slot);

	/* Rung by a waker, by our own handler, or late by the waker of an earlier sleep. */
	if (rung || (slot >= 0 && w->rung)) {
		note_in(slot, WAIT_RUNG);
		host_hear(&self.x.fds, slot);
	}
	if (w->piped || w->peers)
		note_in(slot, WAIT_RUNG_BY_PEER);
	if (w->piped)	/* one ring: another that lies there ends the next sleep at once, and that is rare */
		(void)host_hear_ring(&self.x.fds, false);
	if (w->peers)
		(void)host_hear_ring(&self.x.fds, true);
	if (rung || !w->naps)
		irq_wake(&self.x.map, slot);
	if (exec_pairs_changed(&self.x))
		sk_round();
}

/* W5. `turns`: since it went to sleep, others' among them. */
static void learn_rings(const struct wait *w, int slot, uint32_t turns)
{
	if (w->ready(w) || w->foreign || !turns) {
		me.vain = 0;
	} else if (w->piped || w->peers) {
		me.vain++;
		note_in(slot, WAIT_VAIN);
	}
}

static int sleep_once(struct wait *w)
{
	int slot = claim(), r;
	uint32_t turns;

	w->rung = w->piped = w->peers = false;
	w->naps = slot >= 0 && me.vain >= VAIN_MAX && self.x.map.front;
	if (!arm(w, slot, true)) {
		if (slot >= 0 && slot != self.quiet_slot)
			waiter_release(&self.x.map, slot);
		return -EINTR;
	}
	if (slot >= 0) {
		me.bell_plus1 = (uint32_t)self.x.fds.bell[slot] + 1;
		tell_notes(slot);
		if (w->naps)
			waiter_nap(&self.x.map, slot);
		else
			waiter_sleep(&self.x.map, slot);
	}
	turns = peek32(&self.x.map.seg->n_turns);
	r = lie_down(w, slot);
	me.bell_plus1 = 0;
	turns = peek32(&self.x.map.seg->n_turns) - turns;
	get_up(w, slot);
	(void)arm(w, slot, false);
	learn_rings(w, slot, turns);
	if (slot >= 0 && slot != self.quiet_slot)
		waiter_release(&self.x.map, slot);
	return r;
}

void sk_cancelled(void)
{
	static const uint64_t one = 1;
	uint32_t i;

	if (!stack_have())
		return;
	/* Whatever its state says: one that is about to sleep would miss a ring (A2), but not a bell. */
	for (i = 0; i < PEER_BELL; i++) {
		const struct waiter *s = &self.x.map.seg->waiters[i];

		if (peek32(&s->state) != WAITER_FREE && peek32(&s->proc) == self.x.proc)
			(void)sys_write(self.x.fds.bell[i], &one, sizeof(one));
	}
}

int wait_for(struct wait *w)
{
	int r;

	me.batch = 0;
	exec_flush(&self.x);
	w->foreign = false;
	pthread_testcancel();	/* calls that wait are cancellation points; here nothing is held */
	r = spin(w);
	if (r != SPIN_OVER)
		return r;
	for (;;) {
		r = sleep_once(w);
		pthread_testcancel();
		if (w->ready(w) || w->foreign)
			return 0;
		/* With a mask the kernel says EINTR for handlers of signals it alone let in. */
		if (wait_interrupted(w) || (r == -EINTR && !w->restarts))
			return -EINTR;
		if (w->until != NEVER_NS && host_now() >= w->until)
			return -ETIMEDOUT;
	}
}

/* ---- what is waited for ------------------------------------------------------------------------------ */

void wait_init(struct wait *w, uint64_t until)
{
	*w = (struct wait){ .until = until, .nested = -1, .n_sigs = me.n_sigs, .n_hard = me.n_hard };
}

static bool ready_sk(const struct wait *w)
{
	struct sk *sk = sk_peek(w->h);

	/* Not EPOLLERR: what is on the error queue is no reason to read or write. */
	return !sk || sk_shows(sk) & (w->events | EPOLLHUP) ||
	       __atomic_load_n(&sk->err, __ATOMIC_RELAXED);	/* relaxed: a peek */
}

static void arm_sk(struct turn *t, const struct wait *w, uint32_t bit, bool on)
{
	struct sk *sk = sk_find(t, (sk_h){ w->h });

	if (sk)
		sk->wait_mask = on ? sk->wait_mask | bit : sk->wait_mask & ~bit;
	if (sk && on)
		sk_watched(t, sk);
}

void wait_sk(struct wait *w, uint32_t h, uint32_t events)
{
	w->h = h;
	w->events = events;
	w->ready = ready_sk;
	w->arm = arm_sk;
	w->restarts = w->until == NEVER_NS;	/* Linux's sock_intr_errno(): not with a time-out */
}

uint64_t until_ns(uint64_t ns)
{
	uint64_t now = host_now();

	return ns >= NEVER_NS - now ? NEVER_NS : now + ns;
}

uint64_t until_ms(uint32_t ms)
{
	return ms ? until_ns((uint64_t)ms * NS_PER_MS) : NEVER_NS;
}

/* ---- changes of the process ----------------------------------------------------------------------------- */

/* The kernel epolls are shared with the parent: the child makes its own. */
void wait_after_fork(void)
{
	uint32_t i;

	for (i = 0; i < N_WAITERS; i++) {
		if (self.slot_ep[i] >= 0) {
			fd_take(self.slot_ep[i]);
			sys_close(self.slot_ep[i]);
		}
		self.slot_ep[i] = self.slot_nested[i] = -1;
	}
	self.quiet_slot = -1;
	memset(me.waits, 0, sizeof(me.waits));	/* the parent tells of them */
}

/* Before descriptors run out for good: a slot and its epoll for the time in the sandbox. */
void wait_prepare_quiet(void)
{
	if (!stack_have() || self.quiet_slot >= 0)
		return;
	self.quiet_slot = waiter_claim(&self.x.map, host_tid(), self.x.proc);
	if (self.quiet_slot >= 0)
		(void)!slot_epoll(self.quiet_slot);
}
