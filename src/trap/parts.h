/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share: the frame of a trapped call, and the thread that made it. */
#ifndef TRAP_PARTS_H
#define TRAP_PARTS_H

#include <stddef.h>
#include <stdint.h>
#include <sys/rseq.h>

#include "host/sys.h"
#include "sock/sock.h"
#include "trap/trap.h"

/* What rt_sigreturn(2) reads on x86-64, at the stack pointer less 8: the kernel's rt_sigframe up to
 * the siginfo. Where it lies does not matter, so it can be moved and changed. */
struct trap_frame {
	uint64_t restorer;
	uint64_t uc_flags, uc_link;
	struct { uint64_t sp; int32_t flags, pad; uint64_t bytes; } alt;	/* sigaltstack in force */
	uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
	uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
	uint16_t cs, gs, fs, ss;
	uint64_t err, trapno, oldmask, cr2;
	uint64_t fpstate;
	uint64_t reserved[8];
	uint64_t sigmask;
};
static_assert(sizeof(struct trap_frame) == 8 + 304, "the kernel's layout");

#define N_LEVELS	3		/* a handler may interrupt a call and make calls */
#define LEVEL_BYTES	(160 * 1024)	/* the largest buffers on a stack of ours are 16 KiB */
#define ALT_BYTES	(64 * 1024)
#define TLS_BELOW	(16 * 1024)	/* our thread-local variables lie below the thread's block */
#define TLS_ABOVE	(8 * 1024)

struct trap_thread {
	uint32_t tid;		/* 0: free */
	uint32_t over;		/* tid of one that is about to end: free when it has */
	uint64_t own_fs;	/* base of our thread-local variables; 0: the program's are ours, too */
	uint64_t fs;		/* the program's, while a call of it is being served */
	uint64_t alt_sp, alt_bytes;	/* the program's alternate stack; 0 bytes: none */
	int32_t	 alt_flags;
	struct trap_thread *next;	/* of all that there are */
	uint8_t *stacks;	/* N_LEVELS of LEVEL_BYTES */
	uint8_t *alt;		/* ours, while the program has none */
};

/* One call, being served. */
struct trap_call {
	struct trap_thread *thread;
	struct trap_frame *frame;
	uint64_t fs;		/* to be in force when the program goes on */
	long n, a[6];
};

/* Where glibc's rseq area lies in a thread's block. musl has none, and must not miss the name. */
extern const ptrdiff_t __rseq_offset weak_symbol;

#define SIGSYS_BIT (1ull << (SIGSYS - 1))

/* ---- entry.c ---------------------------------------------------------------------------------- */
extern const char *trap_loader;		/* path of onramp-trap; NULL: none */
void trap_arm(void);			/* this thread's calls are trapped from here on */
noreturn_fn void trap_go_on(struct trap_call *c);	/* the program, where its frame says */
/* Copies a frame (and the registers it points to) to the top of a stack; the new one. */
struct trap_frame *trap_copy_frame(const struct trap_frame *f, uint8_t *top);
uint64_t trap_get_fs(void);
void trap_set_fs(uint64_t base);
bool trap_in_own_text(uint64_t at);
void trap_restorer(void);		/* of handlers; in assembler */

/* ---- calls.c ---------------------------------------------------------------------------------- */
/* What the call comes to: its result, or -errno. May change the frame. */
long trap_serve(struct trap_call *c);
static inline long trap_raw(const struct trap_call *c)
{
	return sys_call6(c->n, c->a[0], c->a[1], c->a[2], c->a[3], c->a[4], c->a[5]);
}

/* ---- signal.c: the program's handlers, masks and stacks ------------------------------------------ */
long trap_sigaction(struct trap_call *c);
long trap_sigprocmask(struct trap_call *c);
long trap_sigaltstack(struct trap_call *c);
void trap_sigsys(int sig, siginfo_t *info, struct trap_frame *f);	/* one that is not ours */
void trap_own_alt(struct trap_thread *t, struct trap_frame *f);

/* ---- thread.c ------------------------------------------------------------------------------------ */
struct trap_thread *trap_self(void);	/* the calling thread; NULL: not trapped. Uses no thread-local */
struct trap_thread *trap_thread_new(bool own_tls);
void trap_thread_bind(struct trap_thread *t, uint32_t tid);
long trap_clone(struct trap_call *c);
noreturn_fn void trap_exit(struct trap_call *c);

/* ---- program.c ------------------------------------------------------------------------------------- */
long trap_execve(struct trap_call *c);
long trap_own_exe(struct trap_call *c, long r);	/* readlink() and open() of /proc/self/exe */

#endif
