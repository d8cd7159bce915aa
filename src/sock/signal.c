/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signals and waits. The kernel tells a system call that a handler ran (EINTR, or a restart
 * when the handler was installed with SA_RESTART). Our waits spin in user space, where nobody
 * tells. So each handler is installed through a wrapper that counts, per thread, and, while
 * the thread is about to sleep, rings its bell: a signal never comes too late to end a wait.
 *
 * The program sees the handler that it installed: old actions are translated back. What
 * reaches the kernel otherwise (flags, mask, alternate stack) is the program's own.
 * Handlers installed by raw system calls are not counted; the kernel's EINTR ends a sleep.
 */
#include "sock/self.h"

#include <errno.h>

#define N_SIGS 65

typedef void (*plain_fn)(int);
typedef void (*info_fn)(int, siginfo_t *, void *);

/* Writer: sigaction() of the program. One pointer and flags; read by the wrapper. */
static struct { uintptr_t fn; uint32_t flags; } handlers[N_SIGS];

void sk_signal_came(bool restarts)
{
	static const uint64_t one = 1;
	uint32_t bell;

	me.n_sigs++;
	if (!restarts)
		me.n_hard++;
	bell = me.bell_plus1;
	if (bell)
		(void)sys_write((int)bell - 1, &one, sizeof(one));
}

static void wrapper(int sig, siginfo_t *info, void *context)
{
	uintptr_t fn = handlers[sig].fn;
	uint32_t flags = handlers[sig].flags;

	sk_signal_came(flags & SA_RESTART);
	if (flags & SA_RESETHAND)
		handlers[sig].fn = (uintptr_t)SIG_DFL;
	if (fn > (uintptr_t)SIG_IGN)	/* all three arguments, whichever kind it is: as the kernel */
		((info_fn)fn)(sig, info, context);
}

static bool is_function(const struct sigaction *a)
{
	return a->sa_handler != SIG_DFL && a->sa_handler != SIG_IGN;
}

static bool is_wrapper(const struct sigaction *a)
{
	return a->sa_flags & SA_SIGINFO && a->sa_sigaction == wrapper;
}

void sk_signal_wrap(int sig, const struct sigaction *act, struct sigaction *ret)
{
	*ret = *act;
	if (sig <= 0 || sig >= N_SIGS || !is_function(act) || is_wrapper(act))
		return;
	ret->sa_flags |= SA_SIGINFO;
	ret->sa_sigaction = wrapper;
}

void sk_signal_old(int sig, struct sigaction *old)
{
	if (sig <= 0 || sig >= N_SIGS || !is_wrapper(old))
		return;
	old->sa_handler = (plain_fn)handlers[sig].fn;
	if (!(handlers[sig].flags & SA_SIGINFO))
		old->sa_flags &= ~SA_SIGINFO;
}

void sk_signal_done(int sig, const struct sigaction *act)
{
	if (sig <= 0 || sig >= N_SIGS || is_wrapper(act))
		return;
	handlers[sig].flags = (uint32_t)act->sa_flags;
	handlers[sig].fn = (uintptr_t)act->sa_handler;
}
