/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The helper of an endpoint: what a network interface would do while its program computes, is
 * blocked, stopped or dead (S2-READ-01, S2-PORT-04). A fork that shares the arena, in which
 * everything is; it makes system calls by number only, for libc does not know of it.
 *
 * V1 It keeps out of the way: while the program looks by itself, or sleeps in a call and would be
 *    woken by the same frame, it leaves it a millisecond.
 * V2 It outlives the program by a few seconds at most: it closes what was open, and answers that
 *    the program is dead, meanwhile.
 * V3 It has no descriptor but the socket, the bell and two that tell it of the program's end, and
 *    takes no signal but those that cannot be refused.
 */
#include "aperture/self.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/atomic.h"
#include "host/sys.h"

#define POLITE_NS	NS_PER_MS	/* V1 */
#define LINGER_NS	(3 * NS_PER_S)	/* V2 */

struct watch { int alive, pidfd; char stat[32]; };

/* ---- how is the program? ----------------------------------------------------------------------- */

static bool is_over(const struct watch *w, uint64_t ns)
{
	struct pollfd p[2] = { { .fd = w->alive, .events = POLLIN }, { .fd = w->pidfd, .events = POLLIN } };
	struct timespec to = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	return sys_ppoll(p, 2, &to, NULL) > 0;
}

static enum ci_port_state state_of(const struct watch *w)
{
	char text[256];
	int fd = sys_openat(AT_FDCWD, w->stat, O_RDONLY | O_CLOEXEC, 0);
	ssize_t n = fd < 0 ? 0 : sys_read(fd, text, sizeof(text));
	ssize_t at = n - 1;

	if (fd >= 0)
		sys_close(fd);
	while (at > 0 && text[at] != ')')	/* the name may hold anything */
		at--;
	if (n <= 0 || at + 2 >= n)
		return CI_DEAD;
	switch (text[at + 2]) {
	case 'R': return CI_RUNNING;
	case 'T':
	case 't': return CI_STOPPED;
	case 'Z':
	case 'X': return CI_DEAD;
	default: return CI_BLOCKED;
	}
}

/* ---- the loop -------------------------------------------------------------------------------------- */

/* Returns when something came, time has, or the program is over (true). */
static bool something(struct onramp_ap *ap, const struct watch *w, uint64_t until)
{
	struct pollfd p[3] = { { .fd = w->alive, .events = POLLIN }, { .fd = w->pidfd, .events = POLLIN },
			       { .fd = ap->fd, .events = POLLIN } };
	uint64_t now = host_now(), ns = until > now ? until - now : 0;
	struct timespec to = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	(void)sys_ppoll(p, 3, until == NEVER_NS ? NULL : &to, NULL);
	if (p[0].revents || p[1].revents)
		return true;
	while (host_now() - peek64(&ap->looked_at) < POLITE_NS || peek32(&ap->sleepers)) {	/* V1 */
		uint64_t looked = peek64(&ap->looked_at);

		if (is_over(w, POLITE_NS))
			return true;
		if (looked == peek64(&ap->looked_at))
			break;	/* asleep for good, or stopped in its sleep */
	}
	return false;
}

/* It died with the lock: nothing in here can be trusted to be whole, but for reading (L4). */
static void last_words(struct onramp_ap *ap)
{
	uint8_t p[CI_MSG_LEN];
	struct apw_addr to;

	for (int round = 0; round < 3; round++) {
		for (uint32_t i = 1; i <= apw_in_table(ap->e)->mask; i++) {
			uint32_t n = apw_last_words(ap->e, i, p, &to);

			if (n)
				carrier_send_raw(ap, &to, CI_TYPE_MSG, p, n);
		}
		host_nap(200 * NS_PER_MS);
	}
}

static void linger(struct onramp_ap *ap)
{
	uint64_t now = host_now(), end = now + LINGER_NS;

	if (!ap_try_enter(ap, NS_PER_MS)) {	/* no thread of it is left to give it back */
		last_words(ap);
		return;
	}
	for (uint32_t i = 0; i < N_OFFERS; i++)
		if (ap->offers[i].port)
			apw_unbind(ap->e, now, ap->offers[i].port);
	apw_unbind(ap->e, now, ap->client_port);
	for (; now < end; now = host_now()) {
		struct pollfd p = { .fd = ap->fd, .events = POLLIN };
		struct timespec to = { 0, 50 * (long)NS_PER_MS };

		(void)ap_progress(ap, now, CI_DEAD);
		(void)sys_ppoll(&p, 1, &to, NULL);
	}
}

static noreturn_fn void serve(struct onramp_ap *ap, const struct watch *w)
{
	uint64_t next = 0;

	while (!something(ap, w, next)) {
		if (!ap_try_enter(ap, NS_PER_S))
			continue;
		(void)ap_progress(ap, host_now(), state_of(w));
		next = apw_deadline(ap->e);
		/* What waits in the socket's buffer for room is tried again soon. */
		next = min_u64(next, host_now() + (apw_tx_peek(ap->e) ? NS_PER_MS : NS_PER_S));
		ap_leave(ap);
	}
	linger(ap);
	(void)SYS1(SYS_exit_group, 0);
	for (;;)
		;
}

/* ---- start and stop -------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* V3. */
static void drop_all(struct onramp_ap *ap, const struct watch *w)
{
	int keep[] = { ap->fd, ap->bell, w->alive, w->pidfd };
	uint64_t every = ~0ull;
	unsigned from = 0;

	(void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &every, NULL, SYS_SIGSET_BYTES);
	(void)sys_prctl(PR_SET_NAME, (unsigned long)(uintptr_t)"onramp-aperture", 0, 0, 0);
	qsort(keep, n_elems(keep), sizeof(keep[0]), by_value);
	for (unsigned i = 0; i < n_elems(keep); i++) {
		if ((unsigned)keep[i] > from)
			(void)sys_close_range(from, (unsigned)keep[i] - 1, 0);
		from = (unsigned)keep[i] + 1;
	}
	(void)sys_close_range(from, ~0u, 0);
}

static void stat_path(char *p, int pid)
{
	char digits[12];
	int n = 0;

	for (; pid; pid /= 10)
		digits[n++] = (char)('0' + pid % 10);
	memcpy(p, "/proc/", 6);
	p += 6;
	while (n)
		*p++ = digits[--n];
	memcpy(p, "/stat", 6);
}

int serve_start(struct onramp_ap *ap)
{
	struct watch w;
	int fds[2], r = sys_pipe2(fds, O_CLOEXEC);
	long child;

	if (r)
		return r;
	w.alive = fds[0];
	w.pidfd = sys_pidfd_open(ap->pid, 0);
	stat_path(w.stat, ap->pid);
	/* No signal when it ends, and no wait() of the program's sees it: it is none of its children. */
	child = w.pidfd < 0 ? w.pidfd : SYS5(SYS_clone, 0, NULL, NULL, NULL, NULL);
	if (child == 0) {
		sys_close(fds[1]);
		drop_all(ap, &w);
		serve(ap, &w);
	}
	sys_close(fds[0]);
	if (w.pidfd >= 0)
		sys_close(w.pidfd);
	if (child < 0) {
		sys_close(fds[1]);
		return (int)child;
	}
	ap->helper = (int)child;
	ap->alive_fd = fds[1];
	return 0;
}

void serve_stop(struct onramp_ap *ap)
{
	if (ap->helper > 0) {
		(void)sys_kill(ap->helper, SIGKILL);
		(void)SYS4(SYS_wait4, ap->helper, NULL, __WCLONE, NULL);
		ap->helper = 0;
	}
	if (ap->alive_fd >= 0)
		sys_close(ap->alive_fd);
}
