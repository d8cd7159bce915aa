/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * System calls by their numbers. libonramp.so itself defines write(), close(), poll() and
 * their kin, so our own code must not call those by name: it would meet itself. Nothing here
 * touches errno, is a cancellation point, or can be interposed; each returns what the kernel
 * returned, -errno on failure. Only calls that Linux has on every architecture are used
 * (ppoll, not poll), so both CPUs share all but the trap itself.
 */
#ifndef HOST_SYS_H
#define HOST_SYS_H

#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#define SYS_SIGSET_BYTES 8	/* of the kernel's sigset_t, not libc's */

#if defined(__x86_64__)
static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long ret;

	__asm__ __volatile__("syscall"
			     : "=a"(ret)
			     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			     : "rcx", "r11", "memory");
	return ret;
}

#define SYS_ELF_MACHINE 62	/* EM_X86_64 */
/* Tells the core that we are in a spin loop. */
static inline void sys_relax(void) { __builtin_ia32_pause(); }
#elif defined(__aarch64__)
static inline long sys_call6(long n, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = n;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	__asm__ __volatile__("svc 0"
			     : "+r"(x0)
			     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
			     : "memory");
	return x0;
}

#define SYS_ELF_MACHINE 183	/* EM_AARCH64 */
/* Tells the core that we are in a spin loop. */
static inline void sys_relax(void) { __asm__ __volatile__("yield"); }
#else
#error "onramp knows the system call trap of x86-64 and of arm64 only"
#endif

#define SYS0(n)			 sys_call6((n), 0, 0, 0, 0, 0, 0)
#define SYS1(n, a)		 sys_call6((n), (long)(a), 0, 0, 0, 0, 0)
#define SYS2(n, a, b)		 sys_call6((n), (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(n, a, b, c)	 sys_call6((n), (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(n, a, b, c, d)	 sys_call6((n), (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(n, a, b, c, d, e) \
	sys_call6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)
#define SYS6(n, a, b, c, d, e, f) \
	sys_call6((n), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* ---- bytes ------------------------------------------------------------------------------- */

static inline ssize_t sys_read(int fd, void *p, size_t n) { return SYS3(SYS_read, fd, p, n); }
static inline ssize_t sys_write(int fd, const void *p, size_t n) { return SYS3(SYS_write, fd, p, n); }

static inline ssize_t sys_readv(int fd, const struct iovec *v, int n)
{
	return SYS3(SYS_readv, fd, v, n);
}

static inline ssize_t sys_writev(int fd, const struct iovec *v, int n)
{
	return SYS3(SYS_writev, fd, v, n);
}

static inline ssize_t sys_pread(int fd, void *p, size_t n, off_t at)
{
	return SYS4(SYS_pread64, fd, p, n, at);
}

static inline ssize_t sys_pwrite(int fd, const void *p, size_t n, off_t at)
{
	return SYS4(SYS_pwrite64, fd, p, n, at);
}

static inline ssize_t sys_sendfile(int out, int in, off_t *off, size_t n)
{
	return SYS4(SYS_sendfile, out, in, off, n);
}

static inline ssize_t sys_splice(int in, int64_t *off_in, int out, int64_t *off_out, size_t n,
				 unsigned flags)
{
	return SYS6(SYS_splice, in, off_in, out, off_out, n, flags);
}

/* ---- descriptors --------------------------------------------------------------------------- */

static inline int sys_openat(int dir, const char *path, int flags, unsigned mode)
{
	return (int)SYS4(SYS_openat, dir, path, flags, mode);
}

static inline int sys_close(int fd) { return (int)SYS1(SYS_close, fd); }

static inline int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	return (int)SYS3(SYS_close_range, first, last, flags);
}

static inline int sys_dup(int fd) { return (int)SYS1(SYS_dup, fd); }

/* The kernel refuses from == to with -EINVAL; dup2()'s no-op for that case is the caller's. */
static inline int sys_dup3(int from, int to, int flags) { return (int)SYS3(SYS_dup3, from, to, flags); }
static inline int sys_fcntl(int fd, int cmd, long arg) { return (int)SYS3(SYS_fcntl, fd, cmd, arg); }

static inline int sys_ioctl(int fd, unsigned long cmd, void *arg)
{
	return (int)SYS3(SYS_ioctl, fd, cmd, arg);
}

static inline int sys_fstat(int fd, struct stat *st) { return (int)SYS2(SYS_fstat, fd, st); }
static inline int sys_fchmod(int fd, unsigned mode) { return (int)SYS2(SYS_fchmod, fd, mode); }
static inline int sys_ftruncate(int fd, off_t n) { return (int)SYS2(SYS_ftruncate, fd, n); }
static inline int sys_pipe2(int fds[2], int flags) { return (int)SYS2(SYS_pipe2, fds, flags); }

static inline int sys_memfd_create(const char *name, unsigned flags)
{
	return (int)SYS2(SYS_memfd_create, name, flags);
}

static inline int sys_eventfd2(unsigned value, int flags)
{
	return (int)SYS2(SYS_eventfd2, value, flags);
}

/* ---- sockets --------------------------------------------------------------------------------- */

static inline int sys_socket(int family, int type, int proto)
{
	return (int)SYS3(SYS_socket, family, type, proto);
}

static inline int sys_socketpair(int family, int type, int proto, int fds[2])
{
	return (int)SYS4(SYS_socketpair, family, type, proto, fds);
}

static inline int sys_bind(int fd, const void *sa, socklen_t n)
{
	return (int)SYS3(SYS_bind, fd, sa, n);
}

static inline int sys_listen(int fd, int backlog) { return (int)SYS2(SYS_listen, fd, backlog); }

static inline int sys_connect(int fd, const void *sa, socklen_t n)
{
	return (int)SYS3(SYS_connect, fd, sa, n);
}

static inline int sys_accept4(int fd, void *sa, socklen_t *n, int flags)
{
	return (int)SYS4(SYS_accept4, fd, sa, n, flags);
}

static inline int sys_shutdown(int fd, int how) { return (int)SYS2(SYS_shutdown, fd, how); }

static inline int sys_getsockname(int fd, void *sa, socklen_t *n)
{
	return (int)SYS3(SYS_getsockname, fd, sa, n);
}

static inline int sys_getpeername(int fd, void *sa, socklen_t *n)
{
	return (int)SYS3(SYS_getpeername, fd, sa, n);
}

static inline int sys_getsockopt(int fd, int level, int name, void *v, socklen_t *n)
{
	return (int)SYS5(SYS_getsockopt, fd, level, name, v, n);
}

static inline int sys_setsockopt(int fd, int level, int name, const void *v, socklen_t n)
{
	return (int)SYS5(SYS_setsockopt, fd, level, name, v, n);
}

static inline ssize_t sys_sendto(int fd, const void *p, size_t n, int flags, const void *sa,
				 socklen_t sa_n)
{
	return SYS6(SYS_sendto, fd, p, n, flags, sa, sa_n);
}

static inline ssize_t sys_recvfrom(int fd, void *p, size_t n, int flags, void *sa, socklen_t *sa_n)
{
	return SYS6(SYS_recvfrom, fd, p, n, flags, sa, sa_n);
}

static inline ssize_t sys_sendmsg(int fd, const struct msghdr *m, int flags)
{
	return SYS3(SYS_sendmsg, fd, m, flags);
}

static inline ssize_t sys_recvmsg(int fd, struct msghdr *m, int flags)
{
	return SYS3(SYS_recvmsg, fd, m, flags);
}

static inline int sys_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	return (int)SYS4(SYS_sendmmsg, fd, m, n, flags);
}

static inline int sys_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to)
{
	return (int)SYS5(SYS_recvmmsg, fd, m, n, flags, to);
}

/* ---- waiting ----------------------------------------------------------------------------------- */

/* The kernel writes the time left into *to; `set`: NULL leaves the signal mask alone. */
static inline int sys_ppoll(struct pollfd *p, unsigned n, struct timespec *to, const sigset_t *set)
{
	return (int)SYS5(SYS_ppoll, p, n, to, set, SYS_SIGSET_BYTES);
}

static inline int sys_pselect6(int n, void *r, void *w, void *x, struct timespec *to, void *sig)
{
	return (int)SYS6(SYS_pselect6, n, r, w, x, to, sig);
}

static inline int sys_epoll_create1(int flags) { return (int)SYS1(SYS_epoll_create1, flags); }

static inline int sys_epoll_ctl(int ep, int op, int fd, struct epoll_event *e)
{
	return (int)SYS4(SYS_epoll_ctl, ep, op, fd, e);
}

static inline int sys_epoll_pwait(int ep, struct epoll_event *e, int max, int ms, const sigset_t *set)
{
	return (int)SYS6(SYS_epoll_pwait, ep, e, max, ms, set, SYS_SIGSET_BYTES);
}

static inline int sys_epoll_pwait2(int ep, struct epoll_event *e, int max, const struct timespec *to,
				   const sigset_t *set)
{
	return (int)SYS6(SYS_epoll_pwait2, ep, e, max, to, set, SYS_SIGSET_BYTES);
}

static inline int sys_futex(uint32_t *word, int op, uint32_t value, const struct timespec *to)
{
	return (int)SYS6(SYS_futex, word, op, value, to, 0, 0);
}

/* ---- memory, chance, processes --------------------------------------------------------------- */

#define SYS_MAP_FAILED(p) ((unsigned long)(p) >= (unsigned long)-4095L)

/* Address, or -errno in pointer's clothes: ask SYS_MAP_FAILED(). */
static inline void *sys_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	return (void *)SYS6(SYS_mmap, at, n, prot, flags, fd, off);
}

static inline int sys_munmap(void *p, size_t n) { return (int)SYS2(SYS_munmap, p, n); }
static inline int sys_madvise(void *p, size_t n, int how) { return (int)SYS3(SYS_madvise, p, n, how); }

static inline ssize_t sys_getrandom(void *p, size_t n, unsigned flags)
{
	return SYS3(SYS_getrandom, p, n, flags);
}

static inline int sys_getpid(void) { return (int)SYS0(SYS_getpid); }
static inline int sys_gettid(void) { return (int)SYS0(SYS_gettid); }
static inline unsigned sys_getuid(void) { return (unsigned)SYS0(SYS_getuid); }
static inline int sys_kill(int pid, int sig) { return (int)SYS2(SYS_kill, pid, sig); }

static inline int sys_pidfd_open(int pid, unsigned flags)
{
	return (int)SYS2(SYS_pidfd_open, pid, flags);
}

static inline int sys_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	return (int)SYS5(SYS_prctl, op, a, b, c, d);
}

#endif
