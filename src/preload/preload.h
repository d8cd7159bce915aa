/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Standing in front of libc. Each wrapper asks the fd table first; what is not ours goes to
 * the next definition of the same name (libc's, or another preloaded library's), found at
 * its first use, before any constructor if need be. errno is touched only to report an
 * error of our own: this is where -errno becomes errno, once.
 *
 * Wrappers are defined under C names of their own and given the linker's name, so that the
 * headers' declarations (transparent unions, nonnull, variadic) do not get in the way.
 */
#ifndef PRELOAD_PRELOAD_H
#define PRELOAD_PRELOAD_H

#include <errno.h>

#include "chain/chain.h"
#include "sock/sock.h"

void *libc_find(void **at, const char *name);

static inline void *libc_own(void **at, const char *name)
{
	/* relaxed: two threads that look for the same name find the same. */
	void *p = __atomic_load_n(at, __ATOMIC_RELAXED);

	return likely(p != NULL) ? p : libc_find(at, name);
}

static inline int64_t sk_result(int64_t r)
{
	if (likely(r >= 0))
		return r;
	errno = (int)-r;
	return -1;
}

/* The wrappers, for the hand-written ones to call. */
ssize_t wrap_read(int fd, void *p, size_t n) symbol_name("read");
ssize_t wrap_write(int fd, const void *p, size_t n) symbol_name("write");
ssize_t wrap_recv(int fd, void *p, size_t n, int flags) symbol_name("recv");
ssize_t wrap_recvfrom(int fd, void *p, size_t n, int flags, struct sockaddr *sa, socklen_t *sa_n)
	symbol_name("recvfrom");
ssize_t wrap_send(int fd, const void *p, size_t n, int flags) symbol_name("send");
int wrap_poll(struct pollfd *p, nfds_t n, int ms) symbol_name("poll");
int wrap_ppoll(struct pollfd *p, nfds_t n, const struct timespec *to, const sigset_t *set) symbol_name("ppoll");
int wrap_select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *to) symbol_name("select");
int wrap_close(int fd) symbol_name("close");
int wrap_close_range(unsigned first, unsigned last, int flags) symbol_name("close_range");
int wrap_connect(int fd, const struct sockaddr *sa, socklen_t n) symbol_name("connect");
int wrap_dup2(int from, int to) symbol_name("dup2");
int wrap_fcntl(int fd, int cmd, long arg) symbol_name("fcntl");
int wrap_ioctl(int fd, unsigned long cmd, long arg) symbol_name("ioctl");
int wrap_socket(int family, int type, int proto) symbol_name("socket");
ssize_t message_recvmsg(int fd, struct msghdr *m, int flags) symbol_name("recvmsg");
int message_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to) symbol_name("recvmmsg");
int wrap_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags) symbol_name("sendmmsg");

/* stdio (stream.c), at the beginning and at the end of the process. */
void stream_standard(void);
void stream_flush(void);

/* The same by number (calls.c): false if that number is none of ours, or libc is to be called. */
struct numbered { long number, a, b, c, d, e, f; };
bool call_by_number(const struct numbered *n, int64_t *ret);
bool chain_by_number(const struct numbered *n, int64_t *ret);	/* with a chain: whatever it might see */

/* What is below the chain of providers (layers.c): as the wrappers, without it. */
int below_socket(int family, int type, int proto);
int below_bind(int fd, const struct sockaddr *sa, socklen_t n);
int below_connect(int fd, const struct sockaddr *sa, socklen_t n);
int below_listen(int fd, int backlog);
int below_accept4(int fd, struct sockaddr *sa, socklen_t *n, int flags);
ssize_t below_sendmsg(int fd, const struct msghdr *m, int flags);
ssize_t below_recvmsg(int fd, struct msghdr *m, int flags);
int below_shutdown(int fd, int how);
int below_getsockopt(int fd, int level, int name, void *v, socklen_t *n);
int below_setsockopt(int fd, int level, int name, const void *v, socklen_t n);
int below_getsockname(int fd, struct sockaddr *sa, socklen_t *n);
int below_getpeername(int fd, struct sockaddr *sa, socklen_t *n);
int below_close(int fd);
void layers_begin(void);
bool clone_by_number(const struct numbered *n, int64_t *ret);	/* (clone.c) */

#endif
