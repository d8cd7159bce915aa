/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signals of a trapped program. It speaks the kernel's language (rt_sigaction and its kin), so what it
 * asks for is kept as it asked, and the kernel is told something near: a handler of ours in front of
 * each of its, our own way back (T1), masks without SIGSYS (T3).
 *
 * Its mask and its alternate stack are set by changing the frame: that is what the kernel reads when
 * the call is over, and what it saved there when the call came is what the program had.
 */
#include "trap/parts.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#if defined(__x86_64__)

#define N_SIGS 65
#define KSA_RESTORER 0x04000000u
#define ALT_LEAST 2048		/* MINSIGSTKSZ: less is refused with ENOMEM */

struct ksigaction { uint64_t fn, flags, restorer, mask; };

static struct ksigaction asked[N_SIGS];	/* writer: trap_sigaction(); what the program believes */

typedef void (*handler_fn)(int, siginfo_t *, void *);

static void call_handler(int sig, siginfo_t *info, void *context, const struct ksigaction *k)
{
	struct trap_frame *f = (struct trap_frame *)((uint8_t *)context - offsetof(struct trap_frame, uc_flags));

	if (k->fn > (uint64_t)(uintptr_t)SIG_IGN)
		((handler_fn)(uintptr_t)k->fn)(sig, info, context);
	f->sigmask &= ~SIGSYS_BIT;
}

/* In front of every handler. Which FS base is in force is not known: ours if the signal met us at
 * work, else the program's, and the handler wants the latter (T4). */
static void on_signal(int sig, siginfo_t *info, void *context)
{
	struct ksigaction k = asked[sig];
	struct trap_thread *t = trap_self();
	uint64_t fs;

	if (!t) {
		call_handler(sig, info, context, &k);
		return;
	}
	if (!t->own_fs) {
		sk_signal_came(k.flags & SA_RESTART);
		call_handler(sig, info, context, &k);
		return;
	}
	fs = trap_get_fs();
	trap_set_fs(t->own_fs);
	sk_signal_came(k.flags & SA_RESTART);
	trap_set_fs(fs == t->own_fs ? t->fs : fs);
	call_handler(sig, info, context, &k);
	trap_set_fs(fs);
}

/* What the program's action becomes. One of this library's own, preload's wrapper, stays in front. */
static struct ksigaction disguised(const struct ksigaction *k)
{
	struct ksigaction r = *k;

	if (k->fn <= (uint64_t)(uintptr_t)SIG_IGN)
		return r;
	if (!trap_in_own_text(k->fn)) {
		r.fn = (uint64_t)(uintptr_t)on_signal;
		r.flags |= SA_SIGINFO;
	}
	r.flags |= KSA_RESTORER;
	r.restorer = (uint64_t)(uintptr_t)trap_restorer;
	r.mask &= ~SIGSYS_BIT;
	return r;
}

long trap_sigaction(struct trap_call *c)
{
	int sig = (int)c->a[0];
	const struct ksigaction *act = (const void *)c->a[1];
	struct ksigaction *old = (void *)c->a[2], was = { 0 }, now, kernels;
	long r = 0;

	if (c->a[3] != sizeof(uint64_t) || sig <= 0 || sig >= N_SIGS || !act)
		return sig == SIGSYS && !act && old ? (*old = asked[sig], 0) : trap_raw(c) == 0 && old ?
		       (old->fn == (uint64_t)(uintptr_t)on_signal ? (*old = asked[sig], 0) : 0) : trap_raw(c);
	now = *act;
	was = asked[sig];
	asked[sig] = now;	/* first: it may come at once */
	if (sig != SIGSYS) {
		struct ksigaction k = disguised(&now);

		r = SYS4(SYS_rt_sigaction, sig, &k, &kernels, sizeof(uint64_t));
		if (r)
			asked[sig] = was;
		else if (kernels.fn != (uint64_t)(uintptr_t)on_signal)
			was = kernels;
	}
	if (!r && old)
		*old = was;
	return r;
}

long trap_sigprocmask(struct trap_call *c)
{
	const uint64_t *set = (const void *)c->a[1];
	uint64_t *old = (void *)c->a[2], was = c->frame->sigmask, m;

	if (c->a[3] != sizeof(*set))
		return -EINVAL;
	if (set) {
		m = *set & ~SIGSYS_BIT;
		if (c->a[0] == SIG_BLOCK)
			m |= was;
		else if (c->a[0] == SIG_UNBLOCK)
			m = was & ~m;
		else if (c->a[0] != SIG_SETMASK)
			return -EINVAL;
		c->frame->sigmask = m;
	}
	if (old)
		*old = was;
	return 0;
}

void trap_own_alt(struct trap_thread *t, struct trap_frame *f)
{
	f->alt.sp = (uint64_t)(uintptr_t)t->alt;
	f->alt.bytes = ALT_BYTES;
	f->alt.flags = 0;
}

static bool is_on_alt(const struct trap_call *c)
{
	return c->frame->rsp - c->thread->alt_sp < c->thread->alt_bytes;
}

long trap_sigaltstack(struct trap_call *c)
{
	struct trap_thread *t = c->thread;
	const stack_t *ss = (const void *)c->a[0];
	stack_t *old = (void *)c->a[1];
	stack_t was = { .ss_sp = (void *)(uintptr_t)t->alt_sp, .ss_size = t->alt_bytes,
			.ss_flags = !t->alt_bytes ? SS_DISABLE : t->alt_flags | (is_on_alt(c) ? SS_ONSTACK : 0) };

	if (ss) {
		if (is_on_alt(c))
			return -EPERM;
		if (ss->ss_flags & ~(SS_DISABLE | SS_ONSTACK | (int)(1u << 31)))
			return -EINVAL;
		if (!(ss->ss_flags & SS_DISABLE) && ss->ss_size < ALT_LEAST)
			return -ENOMEM;
		t->alt_sp = (uint64_t)(uintptr_t)ss->ss_sp;
		t->alt_bytes = ss->ss_flags & SS_DISABLE ? 0 : ss->ss_size;
		t->alt_flags = ss->ss_flags & (int)(1u << 31);
		if (t->alt_bytes) {
			c->frame->alt.sp = t->alt_sp;
			c->frame->alt.bytes = t->alt_bytes;
			c->frame->alt.flags = t->alt_flags;
		} else {
			trap_own_alt(t, c->frame);
		}
	}
	if (old)
		*old = was;
	return 0;
}

/* From seccomp, from kill(2): the program's handler, or what the kernel does without one. */
void trap_sigsys(int sig, siginfo_t *info, struct trap_frame *f)
{
	struct ksigaction k = { .fn = (uint64_t)(uintptr_t)SIG_DFL };

	if (asked[sig].fn > (uint64_t)(uintptr_t)SIG_IGN) {
		on_signal(sig, info, &f->uc_flags);
		return;
	}
	if (asked[sig].fn == (uint64_t)(uintptr_t)SIG_IGN)
		return;
	(void)SYS4(SYS_rt_sigaction, sig, &k, NULL, sizeof(uint64_t));
	(void)SYS3(SYS_tgkill, sys_getpid(), sys_gettid(), sig);
}

#endif
