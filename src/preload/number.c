/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * syscall(): programs and libraries that ask the kernel by number, in C. What is a call of the
 * table is answered as by its name; what is not about our sockets goes to libc's syscall() and so to
 * the kernel, as it would. Calls made by an instruction of the program's own do not come by here
 * (`onramp run --trap`).
 *
 * As libc's: six arguments are taken, whether they were given or not.
 */
#include "preload/preload.h"

#include <sys/syscall.h>
#include <unistd.h>

/* Those whose numbers take other arguments than their names. */
static bool by_other_arguments(const struct numbered *n, int64_t *ret)
{
	switch (n->number) {
	case SYS_preadv2:	/* the position comes in two halves */
		if (!fd_is_data((int)n->a))
			return false;
		*ret = sk_preadv2((int)n->a, (const struct iovec *)n->b, (int)n->c, n->d, (int)n->f);
		return *ret != SK_PASS;
	case SYS_pwritev2:
		if (!fd_is_data((int)n->a))
			return false;
		*ret = sk_pwritev2((int)n->a, (const struct iovec *)n->b, (int)n->c, n->d, (int)n->f);
		return *ret != SK_PASS;
	case SYS_recvmsg:
		*ret = message_recvmsg((int)n->a, (struct msghdr *)n->b, (int)n->c);
		*ret = *ret < 0 ? -errno : *ret;
		return true;
	case SYS_recvmmsg:
		*ret = message_recvmmsg((int)n->a, (struct mmsghdr *)n->b, (unsigned)n->c, (int)n->d,
					(struct timespec *)n->e);
		*ret = *ret < 0 ? -errno : *ret;
		return true;
	case SYS_pselect6: {	/* a mask and its size */
		const sigset_t *const *set = (const sigset_t *const *)n->f;

		*ret = sk_pselect((int)n->a, (fd_set *)n->b, (fd_set *)n->c, (fd_set *)n->d,
				  (const struct timespec *)n->e, set ? *set : NULL);
		return *ret != SK_PASS;
	}
	default:
		return false;
	}
}

long number_call(long number, long a, long b, long c, long d, long e, long f) symbol_name("syscall");
exported long number_call(long number, long a, long b, long c, long d, long e, long f)
{
	const struct numbered n = { number, a, b, c, d, e, f };
	static void *libc;
	int64_t got;

	if (number == SYS_io_uring_setup)
		sk_uring();
	if (number == SYS_io_submit)
		sk_submits(b, (struct iocb *const *)c);
	if (chain_on() && chain_by_number(&n, &got))
		return (long)sk_result(got);
	if (call_by_number(&n, &got) || by_other_arguments(&n, &got) || clone_by_number(&n, &got))
		return (long)sk_result(got);
	return ((long (*)(long, long, long, long, long, long, long))libc_own(&libc, "syscall"))
		(number, a, b, c, d, e, f);
}
