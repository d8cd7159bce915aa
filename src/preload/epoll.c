/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * epoll_wait() and its kin. A set in which nothing is ours is waited for by libc's own function,
 * which is a cancellation point and costs what it always did; but another thread may put the first
 * socket of ours into that very set meanwhile. The sleeper is nudged then (sock/epoll.c P6) and
 * waits on here, for what is left of its time.
 */
#include "preload/preload.h"

#define NS 1000000000ull

enum how { WAIT, PWAIT, PWAIT2 };

struct waiting {
	enum how how;
	int ep, max;
	struct epoll_event *ev;
	const sigset_t *set;
	bool ends;		/* there is a time limit */
	uint64_t until;		/* ns */
	int ms;			/* as it was asked for, or what is left of it */
	struct timespec to;
};

static int64_t ours(const struct waiting *w)
{
	if (w->how == PWAIT2)
		return sk_epoll_pwait2(w->ep, w->ev, w->max, w->ends ? &w->to : NULL, w->set);
	return sk_epoll_pwait(w->ep, w->ev, w->max, w->ms, w->set);
}

static int libcs(const struct waiting *w)
{
	static void *wait, *pwait, *pwait2;

	if (w->how == WAIT)
		return ((int (*)(int, struct epoll_event *, int, int))libc_own(&wait, "epoll_wait"))
			(w->ep, w->ev, w->max, w->ms);
	if (w->how == PWAIT)
		return ((int (*)(int, struct epoll_event *, int, int, const sigset_t *))
			libc_own(&pwait, "epoll_pwait"))(w->ep, w->ev, w->max, w->ms, w->set);
	return ((int (*)(int, struct epoll_event *, int, const struct timespec *, const sigset_t *))
		libc_own(&pwait2, "epoll_pwait2"))(w->ep, w->ev, w->max, w->ends ? &w->to : NULL, w->set);
}

static void shorten(struct waiting *w)
{
	uint64_t now = w->ends ? sk_clock() : 0, left = w->until > now ? w->until - now : 0;

	if (!w->ends)
		return;
	w->ms = (int)((left + NS / 1000 - 1) / (NS / 1000));
	w->to = (struct timespec){ .tv_sec = (time_t)(left / NS), .tv_nsec = (long)(left % NS) };
}

static int wait_with(struct waiting *w)
{
	int64_t got;
	int n;

	for (;;) {
		got = ours(w);
		if (got != SK_PASS)
			return (int)sk_result(got);
		switch (epoll_sleep(w->ep)) {
		case EPOLL_PLAIN:
			return libcs(w);
		case EPOLL_AGAIN:
			continue;
		case EPOLL_COUNTED:
			break;
		}
		n = epoll_awake(w->ep, w->ev, libcs(w));
		if (n != EPOLL_NUDGED)
			return n;
		shorten(w);
	}
}

int epoll_by_ms(int ep, struct epoll_event *e, int max, int ms) symbol_name("epoll_wait");
exported int epoll_by_ms(int ep, struct epoll_event *e, int max, int ms)
{
	struct waiting w = { .how = WAIT, .ep = ep, .max = max, .ev = e, .ms = ms, .ends = ms >= 0 };

	if (w.ends && fd_is_any(ep))
		w.until = sk_clock() + (uint64_t)ms * (NS / 1000);
	return fd_is_any(ep) ? wait_with(&w) : libcs(&w);
}

int epoll_by_ms_mask(int ep, struct epoll_event *e, int max, int ms, const sigset_t *set) symbol_name("epoll_pwait");
exported int epoll_by_ms_mask(int ep, struct epoll_event *e, int max, int ms, const sigset_t *set)
{
	struct waiting w = { .how = PWAIT, .ep = ep, .max = max, .ev = e, .ms = ms, .ends = ms >= 0, .set = set };

	if (w.ends && fd_is_any(ep))
		w.until = sk_clock() + (uint64_t)ms * (NS / 1000);
	return fd_is_any(ep) ? wait_with(&w) : libcs(&w);
}

int epoll_by_ns(int ep, struct epoll_event *e, int max, const struct timespec *to, const sigset_t *set)
	symbol_name("epoll_pwait2");
exported int epoll_by_ns(int ep, struct epoll_event *e, int max, const struct timespec *to, const sigset_t *set)
{
	struct waiting w = { .how = PWAIT2, .ep = ep, .max = max, .ev = e, .set = set, .ends = to != NULL };

	if (to) {
		w.to = *to;
		w.until = (uint64_t)to->tv_sec > UINT64_MAX / NS / 2 ? UINT64_MAX :
			  sk_clock() + (uint64_t)to->tv_sec * NS + (uint64_t)to->tv_nsec;
	}
	return fd_is_any(ep) ? wait_with(&w) : libcs(&w);
}
