/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads and processes of a trapped program. Dispatch is a thread's own and is not inherited, so who
 * is made must ask for it before its first call:
 *
 *	thread	The child begins on a stack of ours, where the parent put a copy of the frame with the
 *		child's stack pointer and a result of 0 in it. It arms itself and returns by that frame: all
 *		registers are as clone(2) promises.
 *	fork	The child goes on in the very function, as parents do.
 *	vfork	A child that borrows memory is not trapped: its calls are the kernel's until it execs, so
 *		what it closes or moves is its own descriptors and not our table of its parent's.
 *
 * A thread is found by its id, for neither FS nor the stack say who it is. N_THREADS are known at once;
 * clone() of more fails with EAGAIN, as at RLIMIT_NPROC.
 */
#include "trap/parts.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "base/atomic.h"

#if defined(__x86_64__)

#define N_THREADS 8192u		/* a power of two */
#define TOMB UINT32_MAX

/* Writers: threads, each its own entry. Searched along from the id's own place to the first 0. */
static struct { uint32_t tid; struct trap_thread *thread; } known[N_THREADS];
static struct trap_thread *all;		/* ever made; prepended atomically */

struct trap_thread *trap_self(void)
{
	uint32_t tid = (uint32_t)sys_gettid(), i, at, n;

	for (i = tid, n = 0; n < N_THREADS; i++, n++) {
		/* acq: pairs with rel in trap_thread_bind() */
		at = __atomic_load_n(&known[i % N_THREADS].tid, __ATOMIC_ACQUIRE);
		if (at == tid)
			return known[i % N_THREADS].thread;
		if (!at)
			return NULL;
	}
	return NULL;
}

static bool enrol(struct trap_thread *t, uint32_t tid)
{
	uint32_t i, n, at;

	for (i = tid, n = 0; n < N_THREADS; i++, n++) {
		at = peek32(&known[i % N_THREADS].tid);
		/* relaxed: claimed by TOMB - 1, which is nobody's id, then filled in */
		if ((at && at != TOMB) || !__atomic_compare_exchange_n(&known[i % N_THREADS].tid, &at, TOMB - 1, false,
									__ATOMIC_RELAXED, __ATOMIC_RELAXED))
			continue;
		known[i % N_THREADS].thread = t;
		/* rel: pairs with acq in trap_self() */
		__atomic_store_n(&known[i % N_THREADS].tid, tid, __ATOMIC_RELEASE);
		t->tid = tid;
		return true;
	}
	return false;
}

void trap_thread_bind(struct trap_thread *t, uint32_t tid) { (void)!enrol(t, tid); }

static void unbind(uint32_t tid)
{
	uint32_t i, n;

	for (i = tid, n = 0; n < N_THREADS; i++, n++)
		if (peek32(&known[i % N_THREADS].tid) == tid) {
			poke32(&known[i % N_THREADS].tid, TOMB);
			return;
		}
}

/* ---- their memory -------------------------------------------------------------------------------------- */

/* The thread that had it has ended: its stack, on which it ended, may be used. */
static bool is_over(struct trap_thread *t)
{
	uint32_t tid = peek32(&t->over);

	/* relaxed: whoever wins has it for himself */
	return tid && SYS3(SYS_tgkill, sys_getpid(), tid, 0) == -ESRCH &&
	       __atomic_compare_exchange_n(&t->over, &tid, 0, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

/* The block that FS points to, as libc's own code wants it: a pointer to itself, what guards the
 * stack, and no rseq area, so that the core is asked of the kernel. Our variables lie below. */
static void fill_block(uint8_t *block)
{
	uint64_t self = (uint64_t)(uintptr_t)block, v;

	memset(block - TLS_BELOW, 0, TLS_BELOW + TLS_ABOVE);
	memcpy(block, &self, sizeof(self));
	memcpy(block + 16, &self, sizeof(self));
	__asm__("mov %%fs:0x28, %0" : "=r"(v));
	memcpy(block + 0x28, &v, sizeof(v));
	__asm__("mov %%fs:0x30, %0" : "=r"(v));
	memcpy(block + 0x30, &v, sizeof(v));
	if (&__rseq_offset)
		memset(block + __rseq_offset, 0xff, 8);
}

struct trap_thread *trap_thread_new(bool own_tls)
{
	size_t bytes = sizeof(struct trap_thread) + 64 + N_LEVELS * LEVEL_BYTES + ALT_BYTES + TLS_BELOW + TLS_ABOVE;
	struct trap_thread *t;
	uint8_t *at;

	for (t = __atomic_load_n(&all, __ATOMIC_ACQUIRE); t; t = t->next)	/* acq: pairs with rel below */
		if (is_over(t))
			break;
	if (!t) {
		at = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (SYS_MAP_FAILED(at))
			return NULL;
		t = (void *)at;
		t->stacks = at + ((sizeof(*t) + 63) & ~63ul);
		t->alt = t->stacks + N_LEVELS * LEVEL_BYTES;
		t->next = __atomic_load_n(&all, __ATOMIC_RELAXED);	/* relaxed: the exchange decides */
		/* rel: pairs with acq above */
		while (!__atomic_compare_exchange_n(&all, &t->next, t, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
			;
	}
	t->tid = 0;
	t->alt_bytes = t->alt_sp = t->fs = t->own_fs = 0;
	if (own_tls) {
		t->own_fs = (uint64_t)(uintptr_t)(t->alt + ALT_BYTES + TLS_BELOW);
		fill_block(t->alt + ALT_BYTES + TLS_BELOW);
	}
	return t;
}

noreturn_fn void trap_exit(struct trap_call *c)
{
	struct trap_thread *t = c->thread;

	unbind(t->tid);
	poke32(&t->over, t->tid);
	for (;;)
		SYS1(SYS_exit, c->a[0]);
}

/* ---- clone ------------------------------------------------------------------------------------------------- */

/* clone(2) whose child runs fn(arg) on `sp` and does not come back. */
long trap_clone_raw(long flags, void *sp, long ptid, long ctid, long tls);
__asm__(".text\n"
	".type trap_clone_raw, @function\n"
	".hidden trap_clone_raw\n"
	".globl trap_clone_raw\n"
	"trap_clone_raw:\n"
	"	mov %rcx, %r10\n"
	"	mov $56, %eax\n"
	"	syscall\n"
	"	test %rax, %rax\n"
	"	jz 1f\n"
	"	ret\n"
	"1:	xor %ebp, %ebp\n"
	"	pop %rdi\n"
	"	pop %rax\n"
	"	call *%rax\n"
	"	hlt\n"
	".size trap_clone_raw, .-trap_clone_raw\n");

noreturn_fn static void begin_thread(struct trap_call *c)
{
	struct trap_thread *t = c->thread;
	stack_t own = { .ss_sp = t->alt, .ss_size = ALT_BYTES };

	trap_thread_bind(t, (uint32_t)sys_gettid());
	(void)SYS2(SYS_sigaltstack, &own, NULL);
	trap_own_alt(t, c->frame);
	trap_arm();
	trap_go_on(c);
}

noreturn_fn static void begin_borrowed(struct trap_call *c) { trap_go_on(c); }

/* Puts the child's call and what it begins with on a stack of its own; the stack pointer. */
static void *lay_out(struct trap_thread *t, const struct trap_call *c, uint64_t fs, void (*begin)(struct trap_call *))
{
	struct trap_frame *f = trap_copy_frame(c->frame, t->stacks + LEVEL_BYTES);
	struct trap_call *cc = (void *)((uintptr_t)f - sizeof(*cc) - 64);
	void **sp;

	*cc = *c;
	cc->thread = t;
	cc->frame = f;
	cc->fs = fs;
	f->rax = 0;
	if (c->a[1])
		f->rsp = (uint64_t)c->a[1];
	sp = (void *)(((uintptr_t)cc - 64) & ~(uintptr_t)15);
	sp[0] = cc;
	sp[1] = (void *)(uintptr_t)begin;
	return sp;
}

static uint64_t fs_of_child(const struct trap_call *c)
{
	return c->a[0] & CLONE_SETTLS ? (uint64_t)c->a[4] : c->fs;
}

static long clone_thread(struct trap_call *c)
{
	bool apart = c->thread->own_fs != 0;
	struct trap_thread *t = trap_thread_new(apart);
	uint64_t all_signals = ~0ull, was;
	long r, flags = c->a[0] | (apart ? CLONE_SETTLS : 0);

	if (!t)
		return -EAGAIN;
	t->fs = fs_of_child(c);
	/* Until it can stand signals; its frame has the mask that it is to have. */
	(void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all_signals, &was, sizeof(was));
	r = trap_clone_raw(flags, lay_out(t, c, apart ? fs_of_child(c) : 0, begin_thread), c->a[2], c->a[3],
			   apart ? (long)t->own_fs : c->a[4]);
	(void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &was, NULL, sizeof(was));
	if (r < 0)
		poke32(&t->over, TOMB - 2);	/* nobody's id: at once free again */
	return r;
}

static long clone_borrowing(struct trap_call *c)
{
	struct trap_thread *t = trap_thread_new(false);
	bool apart = c->thread->own_fs != 0;
	long r, flags = c->a[0] & ~(apart ? (long)CLONE_SETTLS : 0);

	if (!t)
		return -EAGAIN;
	r = trap_clone_raw(flags, lay_out(t, c, apart ? fs_of_child(c) : 0, begin_borrowed), c->a[2], c->a[3], c->a[4]);
	/* The parent of a vfork() comes here when the child has gone; of another, the stack stays its own. */
	if (r < 0 || c->a[0] & CLONE_VFORK)
		poke32(&t->over, TOMB - 2);
	return r;
}

/* In the child the others are not: their entries go, their memory may be used. */
static void after_fork(struct trap_call *c)
{
	struct trap_thread *t;

	memset(known, 0, sizeof(known));
	for (t = all; t; t = t->next)
		if (t != c->thread && t->tid)
			t->over = t->tid;
	trap_thread_bind(c->thread, (uint32_t)sys_gettid());
	trap_arm();
}

static long clone_process(struct trap_call *c)
{
	bool apart = c->thread->own_fs != 0, libcs = sk_is_forking();
	long r, flags = c->a[0] & ~(apart ? (long)CLONE_SETTLS : 0);

	if (flags & CLONE_FILES)
		sk_clone_apart();
	if (!libcs)
		sk_fork_prepare();
	r = SYS5(SYS_clone, flags, 0, c->a[2], c->a[3], c->a[4]);
	if (r) {
		if (!libcs)
			sk_fork_parent();
		return r;
	}
	after_fork(c);
	if (!libcs)
		sk_fork_child();
	if (c->a[1])
		c->frame->rsp = (uint64_t)c->a[1];
	if (apart)
		c->fs = fs_of_child(c);
	return 0;
}

long trap_clone(struct trap_call *c)
{
	if (c->n == SYS_fork || c->n == SYS_vfork) {
		memset(c->a, 0, sizeof(c->a));
		c->a[0] = SIGCHLD | (c->n == SYS_vfork ? CLONE_VM | CLONE_VFORK : 0);
	}
	if (!(c->a[0] & CLONE_VM))
		return clone_process(c);
	return c->a[0] & CLONE_THREAD ? clone_thread(c) : clone_borrowing(c);
}

#endif
