/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Into the library by SIGSYS, and out of it by rt_sigreturn(2).
 *
 *  T1  The kernel lets calls made in this library's text pass; all others become SIGSYS. So the
 *	library may do what it likes, and sigreturn is made here, by everybody's handlers.
 *  T2  SIGSYS comes on the alternate stack, for the program's own may be small (goroutines). What the
 *	kernel saved there is copied to a stack of ours at once and served from there: another
 *	signal's frame would begin at the same top. Only a call made on the alternate stack itself, by
 *	a handler, is served in place.
 *  T3  SIGSYS is never blocked: a forced signal that is blocked kills. Masks of the program's are
 *	kept free of it, and what it believes of SIGSYS is kept aside.
 *  T4  A static program has thread-local variables of its own, at the FS base. Ours are at another,
 *	which is in force from trap_run() until the program goes on, and never while a handler of its
 *	runs. Before trap_run() nothing here touches a thread-local variable.
 */
#include "trap/parts.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#if defined(__x86_64__)

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif
#ifndef SYS_USER_DISPATCH
#define SYS_USER_DISPATCH 2
#endif
#define ARCH_SET_FS 0x1002
#define ARCH_GET_FS 0x1003
#define HWCAP2_FSGSBASE 2
#define FP_MAGIC1 0x46505853u
#define FP_LEGACY 512
#define FP_SW_BYTES 464		/* where the kernel tells the size of the rest */

const char *trap_loader;

extern const char __ehdr_start[];	/* the linker's: this file, mapped. CFLAGS hide it */

static uint64_t text_from, text_bytes;
static bool fsgsbase;
static const uint8_t blocked = 1;	/* SYSCALL_DISPATCH_FILTER_BLOCK, for ever */

/* ---- FS --------------------------------------------------------------------------------------------- */

uint64_t trap_get_fs(void)
{
	uint64_t base;

	if (fsgsbase)
		__asm__ __volatile__("rdfsbase %0" : "=r"(base));
	else
		SYS2(SYS_arch_prctl, ARCH_GET_FS, &base);
	return base;
}

void trap_set_fs(uint64_t base)
{
	if (fsgsbase)
		__asm__ __volatile__("wrfsbase %0" : : "r"(base) : "memory");
	else
		SYS2(SYS_arch_prctl, ARCH_SET_FS, base);
}

/* ---- our text --------------------------------------------------------------------------------------- */

static void find_text(void)
{
	const Elf64_Ehdr *eh = (const void *)__ehdr_start;
	const Elf64_Phdr *ph = (const void *)(__ehdr_start + eh->e_phoff);
	unsigned i;

	for (i = 0; i < eh->e_phnum; i++)
		if (ph[i].p_type == PT_LOAD && ph[i].p_flags & PF_X) {
			text_from = (uint64_t)(uintptr_t)__ehdr_start + ph[i].p_vaddr;
			text_bytes = ph[i].p_memsz;
		}
}

bool trap_in_own_text(uint64_t at) { return at - text_from < text_bytes; }

void trap_arm(void)
{
	(void)sys_prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, text_from, text_bytes,
			(unsigned long)(uintptr_t)&blocked);
}

/* ---- frames ------------------------------------------------------------------------------------------- */

static size_t fp_bytes(const struct trap_frame *f)
{
	const uint8_t *fp = (const uint8_t *)(uintptr_t)f->fpstate;
	uint32_t sw[2];		/* magic, size of all */

	memcpy(sw, fp + FP_SW_BYTES, sizeof(sw));
	return sw[0] == FP_MAGIC1 && sw[1] >= FP_LEGACY && sw[1] < LEVEL_BYTES / 4 ? sw[1] : FP_LEGACY;
}

struct trap_frame *trap_copy_frame(const struct trap_frame *f, uint8_t *top)
{
	struct trap_frame *to;
	uintptr_t at = (uintptr_t)top;
	size_t n;

	if (f->fpstate) {
		n = fp_bytes(f);
		at = (at - n) & ~(uintptr_t)63;
		memcpy((void *)at, (const void *)(uintptr_t)f->fpstate, n);
	}
	to = (void *)((at - sizeof(*to)) & ~(uintptr_t)15);
	*to = *f;
	if (f->fpstate)
		to->fpstate = at;
	return to;
}

__asm__(".text\n"
	".type trap_restorer, @function\n"
	".hidden trap_restorer\n"
	".globl trap_restorer\n"
	"trap_restorer:\n"
	"	mov $15, %eax\n"
	"	syscall\n"
	".size trap_restorer, .-trap_restorer\n");

void trap_go_on(struct trap_call *c)
{
	uint64_t sp = (uint64_t)(uintptr_t)c->frame + 8;

	if (c->fs)
		trap_set_fs(c->fs);
	__asm__ __volatile__("mov %0, %%rsp\n\tjmp trap_restorer" : : "r"(sp) : "memory");
	__builtin_unreachable();
}

/* On a stack of ours, or in place. */
noreturn_fn static void trap_run(struct trap_thread *t, struct trap_frame *f)
{
	struct trap_call c = {
		.thread = t, .frame = f, .n = (long)f->rax,
		.a = { (long)f->rdi, (long)f->rsi, (long)f->rdx, (long)f->r10, (long)f->r8, (long)f->r9 },
	};
	uint64_t outer = t->fs;

	if (t->own_fs) {
		c.fs = trap_get_fs();
		/* A call of a handler that interrupted us comes with the program's as well (T4). */
		t->fs = c.fs;
		trap_set_fs(t->own_fs);
	}
	f->rax = (uint64_t)trap_serve(&c);
	t->fs = outer;
	trap_go_on(&c);
}

noreturn_fn static void trap_landed(struct trap_thread *t, struct trap_frame *f)
{
	trap_run(t, f);
}

noreturn_fn static void land(struct trap_thread *t, struct trap_frame *f)
{
	uint64_t sp = (uint64_t)(uintptr_t)f & ~15ull;

	__asm__ __volatile__("mov %0, %%rsp\n\t"
			     "xor %%ebp, %%ebp\n\t"
			     "mov %1, %%rdi\n\t"
			     "mov %2, %%rsi\n\t"
			     "call *%3"
			     : : "r"(sp), "r"(t), "r"(f), "r"(trap_landed) : "rdi", "rsi", "memory");
	__builtin_unreachable();
}

static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	struct trap_frame *f = (struct trap_frame *)((uint8_t *)context - offsetof(struct trap_frame, uc_flags));
	struct trap_thread *t = trap_self();
	uint64_t in;
	uint8_t *top;

	if (info->si_code != SYS_USER_DISPATCH || !t) {
		trap_sigsys(sig, info, f);
		return;
	}
	if (f->rsp - f->alt.sp < f->alt.bytes)
		trap_run(t, f);		/* T2: in place */
	in = f->rsp - (uint64_t)(uintptr_t)t->stacks;
	if (in >= N_LEVELS * (uint64_t)LEVEL_BYTES)
		top = t->stacks + LEVEL_BYTES;
	else if (in / LEVEL_BYTES + 1 < N_LEVELS)
		top = t->stacks + (in / LEVEL_BYTES + 2) * LEVEL_BYTES;
	else
		trap_run(t, f);
	land(t, trap_copy_frame(f, top));
}

/* ---- begin ------------------------------------------------------------------------------------------------ */

static int install(void)
{
	struct { uint64_t fn, flags, restorer, mask; } act = {
		.fn = (uint64_t)(uintptr_t)on_sigsys,
		.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | 0x04000000 /* SA_RESTORER */,
		.restorer = (uint64_t)(uintptr_t)trap_restorer,
	};

	return (int)SYS4(SYS_rt_sigaction, SIGSYS, &act, NULL, sizeof(act.mask));
}

static bool is_possible(void)
{
	static const uint8_t allow;	/* SYSCALL_DISPATCH_FILTER_ALLOW */

	return sys_prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0,
			 (unsigned long)(uintptr_t)&allow) == 0 &&
	       sys_prctl(PR_SET_SYSCALL_USER_DISPATCH, 0, 0, 0, 0) == 0;
}

bool trap_begin(void)
{
	const char *loader = secure_getenv("ONRAMP_TRAP");
	uint64_t mask = SIGSYS_BIT;
	struct trap_thread *t;
	stack_t own;

	if (!loader || !loader[0] || !is_possible())
		return false;
	trap_loader = loader[0] == '/' ? loader : NULL;
	fsgsbase = getauxval(AT_HWCAP2) & HWCAP2_FSGSBASE;
	find_text();
	t = trap_thread_new(false);
	if (!t || install())
		return false;
	(void)SYS4(SYS_rt_sigprocmask, SIG_UNBLOCK, &mask, NULL, sizeof(mask));
	own = (stack_t){ .ss_sp = t->alt, .ss_size = ALT_BYTES };
	(void)SYS2(SYS_sigaltstack, &own, NULL);
	trap_thread_bind(t, (uint32_t)sys_gettid());
	trap_arm();
	return true;
}

#else

bool trap_begin(void) { return false; }

#endif
