/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The chain of providers (include/onramp/provider.h), between libc's names and sock/. Without a catalogue
 * none of this is there, and a call costs one look at a zero.
 */
#ifndef CHAIN_CHAIN_H
#define CHAIN_CHAIN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#include "base/compiler.h"

/* What the last layer calls: sock/ and libc, as if there were no chain. Results, or -errno. */
struct chain_below {
	int64_t (*socket)(int family, int type, int proto);
	int64_t (*kernel_socket)(int family, int type, int proto);
	int64_t (*bind)(int fd, const struct sockaddr *sa, socklen_t n);
	int64_t (*connect)(int fd, const struct sockaddr *sa, socklen_t n);
	int64_t (*listen)(int fd, int backlog);
	int64_t (*accept4)(int fd, struct sockaddr *sa, socklen_t *n, int flags);
	int64_t (*sendmsg)(int fd, const struct msghdr *m, int flags);
	int64_t (*recvmsg)(int fd, struct msghdr *m, int flags);
	int64_t (*shutdown)(int fd, int how);
	int64_t (*getsockopt)(int fd, int level, int name, void *v, socklen_t *n);
	int64_t (*setsockopt)(int fd, int level, int name, const void *v, socklen_t n);
	int64_t (*getsockname)(int fd, struct sockaddr *sa, socklen_t *n);
	int64_t (*getpeername)(int fd, struct sockaddr *sa, socklen_t *n);
	int64_t (*close)(int fd);
};

#define CHAIN_PASS INT64_MIN	/* not a socket of the chain after all: as without it */
#define CHAIN_TEXT 256	/* as abi/fdtab.h has it */

/* Constructor: loads what the catalogue names, "NAME [FILE [OPTIONS]]|NAME...". *ret_onramp: our stack is among
 * them. What came of it, for people, is left in `text`. */
void chain_begin(const char *catalogue, const struct chain_below *below, bool *ret_onramp, char text[CHAIN_TEXT]);

/* The table of who has layers; n is 0 without a chain. */
struct chain_view { uint32_t *socks; uint32_t n; };
extern struct chain_view chain_fds;
bool chain_is(int fd);		/* asks the kernel what it is, once */
static inline bool chain_on(void) { return unlikely(chain_fds.n != 0); }
static inline bool chain_has(int fd) { return unlikely((uint32_t)fd < chain_fds.n) && chain_is(fd); }
void chain_forget(int fd);	/* is about to be closed, or came to mean something else */
void chain_forget_range(unsigned first, unsigned last);
void chain_copied(int from, int to);

/* Calls on a socket of the chain. */
int64_t chain_socket(int family, int type, int proto);
int64_t chain_bind(int fd, const struct sockaddr *sa, socklen_t n);
int64_t chain_connect(int fd, const struct sockaddr *sa, socklen_t n);
int64_t chain_listen(int fd, int backlog);
int64_t chain_accept(int fd, struct sockaddr *sa, socklen_t *n);
int64_t chain_accept4(int fd, struct sockaddr *sa, socklen_t *n, int flags);
int64_t chain_shutdown(int fd, int how);
int64_t chain_getsockname(int fd, struct sockaddr *sa, socklen_t *n);
int64_t chain_getpeername(int fd, struct sockaddr *sa, socklen_t *n);
int64_t chain_getsockopt(int fd, int level, int name, void *v, socklen_t *n);
int64_t chain_setsockopt(int fd, int level, int name, const void *v, socklen_t n);
/* Bytes (data.c) */
int64_t chain_read(int fd, void *p, size_t n);
int64_t chain_readv(int fd, const struct iovec *v, int n);
int64_t chain_preadv2(int fd, const struct iovec *v, int n, off_t at, int flags);
int64_t chain_recv(int fd, void *p, size_t n, int flags);
int64_t chain_recvfrom(int fd, void *p, size_t n, int flags, struct sockaddr *sa, socklen_t *sa_n);
int64_t chain_recvmsg(int fd, struct msghdr *m, int flags);
int64_t chain_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to);
int64_t chain_write(int fd, const void *p, size_t n);
int64_t chain_writev(int fd, const struct iovec *v, int n);
int64_t chain_pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags);
int64_t chain_send(int fd, const void *p, size_t n, int flags);
int64_t chain_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *sa, socklen_t sa_n);
int64_t chain_sendmsg(int fd, const struct msghdr *m, int flags);
int64_t chain_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags);
int64_t chain_sendfile(int out, int in, off_t *off, size_t n);

#endif
