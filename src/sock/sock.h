/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What POSIX sockets mean on top of our stacks, for preload/. One function per interposed
 * call, sk_NAME: it returns the call's result, -errno, or SK_PASS: libc's own function is to
 * be called with the same arguments.
 */
#ifndef SOCK_SOCK_H
#define SOCK_SOCK_H

#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "abi/fdtab.h"
#include "base/compiler.h"

#define SK_PASS INT64_MIN

/* The table as the wrappers see it: nothing before the first socket. */
struct fd_view { struct fd_ent *ents; uint32_t n; };
extern struct fd_view sk_fds;

static inline uint8_t fd_kind(int fd)
{
	if (likely((uint32_t)fd >= sk_fds.n))
		return FD_NONE;
	/* relaxed: a hint; the called function reads the whole entry. */
	return __atomic_load_n(&sk_fds.ents[fd].kind, __ATOMIC_RELAXED);
}
/* Data calls are ours for accelerated sockets only; others for all that the table knows. */
static inline bool fd_is_data(int fd)
{
	uint8_t kind = fd_kind(fd);

	return unlikely(kind >= FD_TCP && kind <= FD_UDP);
}
static inline bool fd_is_any(int fd) { return unlikely(fd_kind(fd) != FD_NONE); }

/* ---- opening (open.c) ----------------------------------------------------------------------- */
int64_t sk_socket(int family, int type, int proto);
int64_t sk_bind(int fd, const struct sockaddr *sa, socklen_t n);
void sk_bound(int fd);		/* libc has bound it by itself */
int64_t sk_connect(int fd, const struct sockaddr *sa, socklen_t n);
int64_t sk_listen(int fd, int backlog);
int64_t sk_accept(int fd, struct sockaddr *sa, socklen_t *n);
int64_t sk_accept4(int fd, struct sockaddr *sa, socklen_t *n, int flags);
int64_t sk_shutdown(int fd, int how);
int64_t sk_getsockname(int fd, struct sockaddr *sa, socklen_t *n);
int64_t sk_getpeername(int fd, struct sockaddr *sa, socklen_t *n);

/* ---- data (io.c, msg.c, file.c, splice.c) ---------------------------------------------------------------- */
int64_t sk_read(int fd, void *p, size_t n);
int64_t sk_readv(int fd, const struct iovec *v, int n);
int64_t sk_preadv2(int fd, const struct iovec *v, int n, off_t at, int flags);
int64_t sk_preadv64v2(int fd, const struct iovec *v, int n, off_t at, int flags);
int64_t sk_pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags);
int64_t sk_pwritev64v2(int fd, const struct iovec *v, int n, off_t at, int flags);
int64_t sk_recv(int fd, void *p, size_t n, int flags);
int64_t sk_recvfrom(int fd, void *p, size_t n, int flags, struct sockaddr *sa, socklen_t *sa_n);
int64_t sk_recvmsg(int fd, struct msghdr *m, int flags);
int64_t sk_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to);
int64_t sk_write(int fd, const void *p, size_t n);
int64_t sk_writev(int fd, const struct iovec *v, int n);
int64_t sk_send(int fd, const void *p, size_t n, int flags);
int64_t sk_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *sa,
		  socklen_t sa_n);
int64_t sk_sendmsg(int fd, const struct msghdr *m, int flags);
/* Descriptors came beside a message of the kernel's: what they are is noted (rights.c). */
void sk_received(const struct msghdr *m);
int64_t sk_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags);
int64_t sk_sendfile(int out, int in, off_t *off, size_t n);
int64_t sk_sendfile64(int out, int in, off_t *off, size_t n);
int64_t sk_splice(int in, off_t *off_in, int out, off_t *off_out, size_t n, unsigned flags);

/* ---- bytes in place (place.c): include/onramp/onramp.h ---------------------------------------------- */
int64_t sk_recv_in_place(int fd, struct iovec *iov, int n_iov, int flags);
int64_t sk_hand_back(int fd, size_t n);
int64_t sk_send_reserve(int fd, size_t want, void **ret);	/* bytes of room at *ret */
int64_t sk_send_commit(int fd, size_t n);
int64_t sk_in_place(int fd);

/* ---- descriptors (desc.c) ------------------------------------------------------------------------ */
int64_t sk_close(int fd);
int64_t sk_close_range(unsigned first, unsigned last, int flags);
int64_t sk_dup(int fd);
int64_t sk_dup2(int from, int to);
int64_t sk_dup3(int from, int to, int flags);
int64_t sk_fcntl(int fd, int cmd, long arg);
int64_t sk_ioctl(int fd, unsigned long cmd, long arg);

bool sk_is_undecided(int fd);		/* a socket that may become ours */

/* What goes past all calls (preload/async.c): the program is about to make an io_uring; it names a
 * descriptor to asynchronous I/O. Whatever of it is ours returns to the kernel. */
void sk_uring(void);
void sk_submitted(int fd);
struct iocb;
void sk_submits(long n, struct iocb *const *cbs);	/* io_submit() */

/* ---- options (opts.c) ------------------------------------------------------------------------------ */
int64_t sk_getsockopt(int fd, int level, int name, void *v, socklen_t *n);
int64_t sk_setsockopt(int fd, int level, int name, const void *v, socklen_t n);

/* ---- waiting (poll.c, epoll.c) ----------------------------------------------------------------------- */
int64_t sk_poll(struct pollfd *p, nfds_t n, int ms);
int64_t sk_ppoll(struct pollfd *p, nfds_t n, const struct timespec *to, const sigset_t *set);
int64_t sk_select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *to);
int64_t sk_pselect(int n, fd_set *r, fd_set *w, fd_set *x, const struct timespec *to,
		   const sigset_t *set);
int64_t sk_epoll_create(int size);
int64_t sk_epoll_create1(int flags);
int64_t sk_epoll_ctl(int ep, int op, int fd, struct epoll_event *e);
int64_t sk_epoll_wait(int ep, struct epoll_event *e, int max, int ms);
int64_t sk_epoll_pwait(int ep, struct epoll_event *e, int max, int ms, const sigset_t *set);
int64_t sk_epoll_pwait2(int ep, struct epoll_event *e, int max, const struct timespec *to,
			const sigset_t *set);
/* Round libc's own wait on a set in which nothing is ours so far (epoll.c P6). */
enum epoll_sleep {
	EPOLL_PLAIN,		/* none of ours: just wait */
	EPOLL_COUNTED,		/* wait, then epoll_awake() */
	EPOLL_AGAIN,		/* something of ours came into it: ask sk_epoll_*() again */
};
#define EPOLL_NUDGED (-2)	/* of epoll_awake(): as EPOLL_AGAIN */
enum epoll_sleep epoll_sleep(int fd);
int epoll_awake(int fd, struct epoll_event *ev, int n);
uint64_t sk_clock(void);	/* CLOCK_MONOTONIC, ns */

/* ---- the process (proc.c, signal.c) --------------------------------------------------------------------- */
void sk_init(void);		/* constructor: reads the environment, takes over after exec */
void sk_provided(const char *text, bool onramp);	/* the catalogue of providers, for people; we are in it */
void sk_fini(void);		/* exit: what only this process holds is closed */
void sk_fork_prepare(void);
void sk_fork_parent(void);
void sk_fork_child(void);
/* clone() by the program, with these CLONE_*: before it, in the child, and in the parent. */
enum sk_clone { SK_CLONE_PLAIN, SK_CLONE_FORK, SK_CLONE_BORROW };
enum sk_clone sk_clone_prepare(uint64_t flags);
void sk_clone_child(enum sk_clone how);
void sk_clone_parent(enum sk_clone how);
void sk_clone_apart(void);	/* of a kind that cannot be followed */

/* What an exec adds to the environment; strings live as long as the struct. */
#define SK_EXEC_VARS 3
struct sk_exec {
	const char *vars[SK_EXEC_VARS];
	uint32_t n;
	char	 fdtab[32], spin[48], preload[544];
};
/* The program that is about to be: `path`, looked for by PATH if it has no slash and `search` is that
 * variable's value, or, if path is NULL, the file behind `fd`. */
struct sk_program { const char *path, *search; int fd; };
/* Prepares plumbing to be inherited if sockets are, and gives connections back to the kernel if the
 * program cannot have the library; `env` is what the program is to get. */
void sk_exec_prepare(struct sk_exec *e, const struct sk_program *p, char *const *env);
void sk_exec_failed(const struct sk_exec *e);

/* Notes a handler about to be installed and puts ours in its place in *ret; the old one. */
void sk_signal_wrap(int sig, const struct sigaction *act, struct sigaction *ret);
void sk_signal_old(int sig, struct sigaction *old);	/* translates what the kernel said it was */
void sk_signal_done(int sig, const struct sigaction *act);	/* installed */
/* A socket of ours is open that a child would inherit (not close-on-exec). */
bool sk_inheritable(void);
int sk_plumbing(int fd);	/* keeps the program, and file actions, from a descriptor: its new number */
void sk_plumbing_done(int fd);	/* closes it */
/* The life of a bridge (bridge.c): onramp-bridge, or a forked process that could not become it. */
noreturn_fn void sk_bridge(int channel);
void sk_cancelled(void);	/* some thread was asked to end: all that sleep have a look */
void sk_signal_came(bool restarts);	/* a handler runs: for those who do not install it by the above */
bool sk_is_forking(void);	/* libc's fork() has called sk_fork_prepare() */
void sk_before_seccomp(void);
void sk_seccomp(void);		/* the program is about to confine itself */

#endif
