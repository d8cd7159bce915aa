/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * clone(): libc's, whose child begins with a function, and the kernel's by number. What becomes of our
 * sockets is decided in sock/clone.c; here is how the child gets to say that it is there.
 *
 * By number a child without a stack of its own returns twice, as from fork(). One with a stack of its own
 * returns by what lies on that stack, past us: such a child is not followed.
 */
#include "preload/preload.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/syscall.h>

#include "host/sys.h"

struct begin {			/* read by the child before its parent may go on, or from its own copy */
	int (*fn)(void *);
	void *arg;
	enum sk_clone how;
};

static int begins(void *p)
{
	struct begin b = *(struct begin *)p;
	int status;

	sk_clone_child(b.how);
	status = b.fn(b.arg);
	if (b.how == SK_CLONE_FORK)
		sk_fini();
	return status;
}

typedef int (*clone_fn)(int (*)(void *), void *, int, void *, void *, void *, void *);

static int clone_with(clone_fn libc, const struct begin *b, void *stack, int flags, void *const extra[3])
{
	struct begin here = *b;
	int r;

	if (!here.fn || !stack)		/* EINVAL, said by libc */
		return libc(here.fn, stack, flags, here.arg, extra[0], extra[1], extra[2]);
	here.how = sk_clone_prepare((unsigned)flags);
	if (here.how == SK_CLONE_PLAIN)
		return libc(here.fn, stack, flags, here.arg, extra[0], extra[1], extra[2]);
	r = libc(begins, stack, flags, &here, extra[0], extra[1], extra[2]);
	sk_clone_parent(here.how);
	return r;
}

/* As libc's: three more are taken, whether they were given or not. */
int clone_call(int (*fn)(void *), void *stack, int flags, void *arg, void *ptid, void *tls, void *ctid)
	symbol_name("clone");
exported int clone_call(int (*fn)(void *), void *stack, int flags, void *arg, void *ptid, void *tls, void *ctid)
{
	static void *libc;
	struct begin b = { .fn = fn, .arg = arg };

	return clone_with((clone_fn)libc_own(&libc, "clone"), &b, stack, flags, (void *const[]){ ptid, tls, ctid });
}

int clone_call_alias(int (*fn)(void *), void *stack, int flags, void *arg, void *ptid, void *tls, void *ctid)
	symbol_name("__clone");
exported int clone_call_alias(int (*fn)(void *), void *stack, int flags, void *arg, void *ptid, void *tls, void *ctid)
{
	return clone_call(fn, stack, flags, arg, ptid, tls, ctid);
}

/* ---- by number ------------------------------------------------------------------------------------------- */

/* vfork() by number cannot return to a caller whose stack its child has used: it is fork(), too. */
static bool asked_for(const struct numbered *n, uint64_t *ret_flags, bool *ret_stack)
{
	const struct clone_args *a = (const struct clone_args *)n->a;

	*ret_stack = false;
	switch (n->number) {
#ifdef SYS_fork
	case SYS_fork:
		*ret_flags = 0;
		return true;
	case SYS_vfork:
		*ret_flags = 0;
		return true;
#endif
	case SYS_clone:
		*ret_flags = (uint64_t)n->a;
		*ret_stack = n->b != 0;
		return true;
	case SYS_clone3:
		if ((size_t)n->b < CLONE_ARGS_SIZE_VER0 || (uintptr_t)a < 4096)
			return false;
		*ret_flags = a->flags;
		*ret_stack = a->stack != 0;
		return true;
	default:
		return false;
	}
}

bool clone_by_number(const struct numbered *n, int64_t *ret)
{
	enum sk_clone how;
	uint64_t flags;
	bool stack;
	long r;

	if (!asked_for(n, &flags, &stack))
		return false;
	if (stack || flags & (CLONE_VM | CLONE_FILES | CLONE_SETTLS | CLONE_THREAD)) {
		sk_clone_apart();
		return false;
	}
	how = sk_clone_prepare(flags);
	if (n->number == SYS_clone || n->number == SYS_clone3)
		r = SYS5(n->number, n->a, n->b, n->c, n->d, n->e);
	else
		r = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (r == 0)
		sk_clone_child(how);
	else
		sk_clone_parent(how);
	*ret = r;
	return true;
}
