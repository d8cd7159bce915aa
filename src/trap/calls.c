/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of a trapped call: the same as of libc's function of that name, where this library
 * stands in front of one (sock/), or what signal.c, thread.c and program.c make of it; everything else
 * is asked of the kernel as it was.
 */
#include "trap/parts.h"

#include <asm/prctl.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>

#if defined(__x86_64__)

#define FEW_FILES 64		/* a limit below it is a sandbox's */
#define USER_TOP (1ull << 47)
#define NS 1000000000ull

/* A mask as the kernel has it becomes one as libc has it, without SIGSYS. */
static const sigset_t *wide(const void *set, sigset_t *room)
{
	uint64_t v;

	if (!set)
		return NULL;
	memcpy(&v, set, sizeof(v));
	v &= ~SIGSYS_BIT;
	memset(room, 0, sizeof(*room));
	memcpy(room, &v, sizeof(v));
	return room;
}

/* Asked of the kernel, with the mask at a[i] made free of SIGSYS (T3). */
static long raw_with_mask(struct trap_call *c, int i)
{
	sigset_t room;

	c->a[i] = (long)wide((const void *)c->a[i], &room);
	return trap_raw(c);
}

/* ---- data and descriptors -------------------------------------------------------------------------- */

/* SK_PASS: not ours. */
static int64_t data_call(const struct trap_call *c)
{
	const long *a = c->a;
	int fd = (int)a[0];

	if (!fd_is_data(fd))
		return SK_PASS;
	switch (c->n) {
	case SYS_read:
		return sk_read(fd, (void *)a[1], (size_t)a[2]);
	case SYS_readv:
		return sk_readv(fd, (void *)a[1], (int)a[2]);
	case SYS_recvfrom:
		return sk_recvfrom(fd, (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (void *)a[5]);
	case SYS_recvmsg:
		return sk_recvmsg(fd, (void *)a[1], (int)a[2]);
	case SYS_recvmmsg:
		return sk_recvmmsg(fd, (void *)a[1], (unsigned)a[2], (int)a[3], (void *)a[4]);
	case SYS_write:
		return sk_write(fd, (void *)a[1], (size_t)a[2]);
	case SYS_writev:
		return sk_writev(fd, (void *)a[1], (int)a[2]);
	case SYS_preadv2:
		return sk_preadv2(fd, (void *)a[1], (int)a[2], a[3], (int)a[5]);
	case SYS_pwritev2:
		return sk_pwritev2(fd, (void *)a[1], (int)a[2], a[3], (int)a[5]);
	case SYS_shutdown:
		return sk_shutdown(fd, (int)a[1]);
	case SYS_getsockname:
		return sk_getsockname(fd, (void *)a[1], (void *)a[2]);
	case SYS_getpeername:
		return sk_getpeername(fd, (void *)a[1], (void *)a[2]);
	case SYS_getsockopt:
		return sk_getsockopt(fd, (int)a[1], (int)a[2], (void *)a[3], (void *)a[4]);
	default:
		return SK_PASS;
	}
}

static int64_t descriptor_call(const struct trap_call *c)
{
	const long *a = c->a;
	int fd = (int)a[0];
	sigset_t room;

	if (!fd_is_any(fd))
		return SK_PASS;
	switch (c->n) {
	case SYS_sendto:
		return sk_sendto(fd, (void *)a[1], (size_t)a[2], (int)a[3], (void *)a[4], (socklen_t)a[5]);
	case SYS_bind:
		return sk_bind(fd, (void *)a[1], (socklen_t)a[2]);
	case SYS_connect:
		return sk_connect(fd, (void *)a[1], (socklen_t)a[2]);
	case SYS_listen:
		return sk_listen(fd, (int)a[1]);
	case SYS_accept:
		return sk_accept(fd, (void *)a[1], (void *)a[2]);
	case SYS_accept4:
		return sk_accept4(fd, (void *)a[1], (void *)a[2], (int)a[3]);
	case SYS_setsockopt:
		return sk_setsockopt(fd, (int)a[1], (int)a[2], (void *)a[3], (socklen_t)a[4]);
	case SYS_close:
		return sk_close(fd);
	case SYS_dup:
		return sk_dup(fd);
	case SYS_fcntl:
		return sk_fcntl(fd, (int)a[1], a[2]);
	case SYS_ioctl:
		return sk_ioctl(fd, (unsigned long)a[1], a[2]);
	case SYS_epoll_ctl:
		return sk_epoll_ctl(fd, (int)a[1], (int)a[2], (void *)a[3]);
	case SYS_epoll_wait:
		return sk_epoll_wait(fd, (void *)a[1], (int)a[2], (int)a[3]);
	case SYS_epoll_pwait:
		return sk_epoll_pwait(fd, (void *)a[1], (int)a[2], (int)a[3], wide((void *)a[4], &room));
	case SYS_epoll_pwait2:
		return sk_epoll_pwait2(fd, (void *)a[1], (int)a[2], (void *)a[3], wide((void *)a[4], &room));
	default:
		return data_call(c);
	}
}

static int64_t any_call(const struct trap_call *c)
{
	const struct { const void *set; size_t bytes; } *masked = (const void *)c->a[5];
	const long *a = c->a;
	sigset_t room;

	switch (c->n) {
	case SYS_socket:
		return sk_socket((int)a[0], (int)a[1], (int)a[2]);
	case SYS_sendmsg:
		return sk_sendmsg((int)a[0], (void *)a[1], (int)a[2]);
	case SYS_sendmmsg:
		return sk_sendmmsg((int)a[0], (void *)a[1], (unsigned)a[2], (int)a[3]);
	case SYS_sendfile:
		return sk_sendfile((int)a[0], (int)a[1], (void *)a[2], (size_t)a[3]);
	case SYS_splice:
		return sk_splice((int)a[0], (void *)a[1], (int)a[2], (void *)a[3], (size_t)a[4], (unsigned)a[5]);
	case SYS_close_range:
		return sk_close_range((unsigned)a[0], (unsigned)a[1], (int)a[2]);
	case SYS_dup2:
		return sk_dup2((int)a[0], (int)a[1]);
	case SYS_dup3:
		return sk_dup3((int)a[0], (int)a[1], (int)a[2]);
	case SYS_poll:
		return sk_poll((void *)a[0], (nfds_t)a[1], (int)a[2]);
	case SYS_ppoll:
		return sk_ppoll((void *)a[0], (nfds_t)a[1], (void *)a[2], wide((void *)a[3], &room));
	case SYS_select:
		return sk_select((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (void *)a[4]);
	case SYS_pselect6:
		return sk_pselect((int)a[0], (void *)a[1], (void *)a[2], (void *)a[3], (void *)a[4],
				  masked ? wide(masked->set, &room) : NULL);
	case SYS_epoll_create:
		return sk_epoll_create((int)a[0]);
	case SYS_epoll_create1:
		return sk_epoll_create1((int)a[0]);
	case SYS_io_uring_setup:
		sk_uring();
		return SK_PASS;
	case SYS_io_submit:
		sk_submits(a[1], (void *)a[2]);
		return SK_PASS;
	default:
		return descriptor_call(c);
	}
}

/* What comes from the kernel's sockets may bring descriptors. */
static long receive_call(struct trap_call *c)
{
	const struct mmsghdr *many = (const void *)c->a[1];
	const struct msghdr *one = (const void *)c->a[1];
	long r = trap_raw(c), i;

	if (c->n == SYS_recvmsg && r >= 0 && one->msg_controllen)
		sk_received(one);
	for (i = 0; c->n == SYS_recvmmsg && i < r; i++)
		if (many[i].msg_hdr.msg_controllen)
			sk_received(&many[i].msg_hdr);
	return r;
}

/* ---- the process -------------------------------------------------------------------------------------- */

static long arch_prctl_call(struct trap_call *c)
{
	/* Where our thread-local variables are the program's own, the kernel may be told. */
	if (!c->thread->own_fs)
		return trap_raw(c);
	switch (c->a[0]) {
	case ARCH_SET_FS:
		if ((uint64_t)c->a[1] >= USER_TOP)
			return -EPERM;
		c->fs = (uint64_t)c->a[1];
		return 0;
	case ARCH_GET_FS:
		*(uint64_t *)c->a[1] = c->fs;
		return 0;
	default:
		return trap_raw(c);
	}
}

static long prctl_call(struct trap_call *c)
{
	if (c->a[0] == 59 /* PR_SET_SYSCALL_USER_DISPATCH: it is taken */)
		return -EINVAL;
	if (c->a[0] == PR_SET_SECCOMP)
		sk_seccomp();
	return trap_raw(c);
}

static long limit_call(struct trap_call *c)
{
	const struct rlimit *lim = (const void *)(c->n == SYS_setrlimit ? c->a[1] : c->a[2]);

	if ((c->n == SYS_setrlimit ? c->a[0] : c->a[1]) == RLIMIT_NOFILE && lim && lim->rlim_cur < FEW_FILES)
		sk_before_seccomp();
	return trap_raw(c);
}

/* The program's own return from a handler: by the frame at its stack pointer, from our text. */
noreturn_fn static void sigreturn_call(struct trap_call *c)
{
	c->frame = (struct trap_frame *)(uintptr_t)(c->frame->rsp - 8);
	c->frame->sigmask &= ~SIGSYS_BIT;
	trap_go_on(c);
}

static long process_call(struct trap_call *c)
{
	switch (c->n) {
	case SYS_rt_sigaction:
		return trap_sigaction(c);
	case SYS_rt_sigprocmask:
		return trap_sigprocmask(c);
	case SYS_sigaltstack:
		return trap_sigaltstack(c);
	case SYS_rt_sigreturn:
		sigreturn_call(c);
	case SYS_rt_sigsuspend:
	case SYS_rt_sigtimedwait:
		return raw_with_mask(c, 0);
	case SYS_signalfd:
	case SYS_signalfd4:
		return raw_with_mask(c, 1);
	case SYS_clone:
	case SYS_fork:
	case SYS_vfork:
		return trap_clone(c);
	case SYS_clone3:	/* libraries fall back to clone() */
		return -ENOSYS;
	case SYS_execve:
		return trap_execve(c);
	case SYS_exit:
		trap_exit(c);
	case SYS_exit_group:
		sk_fini();
		return trap_raw(c);
	case SYS_arch_prctl:
		return arch_prctl_call(c);
	case SYS_prctl:
		return prctl_call(c);
	case SYS_seccomp:
		sk_seccomp();
		return trap_raw(c);
	case SYS_setrlimit:
	case SYS_prlimit64:
		return limit_call(c);
	case SYS_recvmsg:
	case SYS_recvmmsg:
		return receive_call(c);
	case SYS_readlink:
	case SYS_readlinkat:
	case SYS_open:
	case SYS_openat:
		return trap_own_exe(c, trap_raw(c));
	default:
		return trap_raw(c);
	}
}

/* Waiting in the kernel for a set in which nothing is ours, until another thread puts something of ours
 * there (P6 of sock/epoll.c): then it is waited for by us, for what is left of the time. */
static long epoll_call(struct trap_call *c)
{
	struct timespec *asked = (struct timespec *)c->a[3], left;
	uint64_t until = 0, now;
	sigset_t room;
	int64_t r;
	int n;

	if (c->n != SYS_epoll_wait)
		c->a[4] = (long)wide((const void *)c->a[4], &room);
	if (c->n == SYS_epoll_pwait2 && asked) {
		left = *asked;
		c->a[3] = (long)&left;
		until = sk_clock() + (uint64_t)left.tv_sec * NS + (uint64_t)left.tv_nsec;
	} else if (c->n != SYS_epoll_pwait2 && (int)c->a[3] > 0) {
		until = sk_clock() + (uint64_t)c->a[3] * (NS / 1000);
	}
	for (;;) {
		n = (int)epoll_sleep((int)c->a[0]);
		if (n == EPOLL_PLAIN)
			return trap_raw(c);
		if (n == EPOLL_COUNTED) {
			n = epoll_awake((int)c->a[0], (struct epoll_event *)c->a[1], (int)trap_raw(c));
			if (n != EPOLL_NUDGED)
				return n;
		}
		now = until ? sk_clock() : 0;
		now = until > now ? until - now : 0;	/* what is left */
		if (until && c->n == SYS_epoll_pwait2)
			left = (struct timespec){ .tv_sec = (time_t)(now / NS), .tv_nsec = (long)(now % NS) };
		else if (until)
			c->a[3] = (long)((now + NS / 1000 - 1) / (NS / 1000));
		r = descriptor_call(c);
		if (r != SK_PASS)
			return (long)r;
	}
}

static long pselect_call(struct trap_call *c)
{
	struct { const void *set; size_t bytes; } to, *from = (void *)c->a[5];
	sigset_t room;

	if (from) {
		to.set = wide(from->set, &room);
		to.bytes = from->bytes;
		c->a[5] = (long)&to;
	}
	return trap_raw(c);
}

long trap_serve(struct trap_call *c)
{
	int64_t r = any_call(c);

	if (r != SK_PASS)
		return (long)r;
	if (c->n == SYS_pselect6)
		return pselect_call(c);
	if (c->n == SYS_ppoll)
		return raw_with_mask(c, 3);
	if (c->n == SYS_epoll_wait || c->n == SYS_epoll_pwait || c->n == SYS_epoll_pwait2)
		return epoll_call(c);
	return process_call(c);
}

#endif
