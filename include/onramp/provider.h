/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp/provider.h - layers between programs and the stack (onramp-providers(5))
 *
 * A provider is a shared object that the catalogue of providers names. It stands in front of the sockets that it
 * asks for, whoever serves them in the end, our stack or the kernel's:
 *
 *	program -> filter -> filter -> onramp -> (kernel)
 *
 * A filter sees each call on its sockets before the next one does, and the result after; it may change data, refuse it
 * with an error, or answer by itself. A base provider makes sockets of its own, in place of onramp. The
 * object exports one symbol, `onramp_provider`, and calls nothing of onramp but what it is handed.
 *
 *	static ssize_t my_sendmsg(struct onramp_layer *l, int fd, const struct msghdr *m, int flags)
 *	{
 *		return looks_bad(m) ? -EACCES : next->sendmsg(l, fd, m, flags);
 *	}
 *
 * Results.	As of system calls: what the call returns, or -errno. errno itself counts for nothing.
 * Calls.	All ways to move bytes come as sendmsg and recvmsg: read(), readv(), sendfile(), stdio's and so on
 *		become one or several. splice() fails with EINVAL, which programs must be ready for.
 * Order.	`next` is the layer below that asked for this socket, or who serves it. Whatever is NULL is passed on.
 * Waiting.	A filter does not hold data back: poll() and epoll are answered by who serves the socket.
 * Threads.	Any thread may call, at any time, several at once, on one socket, too; forked children as well.
 * libc.	A provider may call anything of libc, sockets of its own included: in it, the calling thread's
 *		calls do not meet providers. No onramp run --trap.
 * Trust.	It is code of the program's own process, no fence: a program that means to can go round it.
 */
#ifndef ONRAMP_PROVIDER_H
#define ONRAMP_PROVIDER_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when something here changes that a built provider could notice. Others are refused, by name. */
#define ONRAMP_PROVIDER_ABI 1u

/* One provider's view of one socket, which may have several descriptors. */
struct onramp_layer {
	void *own;			/* the provider's own; NULL at first */
	int family, type, protocol;	/* as they were asked for, without SOCK_NONBLOCK and SOCK_CLOEXEC */
	const void *place[2];		/* onramp's */
};

struct onramp_ops {
	/* Base providers only: makes a descriptor (type may have SOCK_NONBLOCK, SOCK_CLOEXEC), or, by -EAFNOSUPPORT,
	 * -EPROTONOSUPPORT or -ESOCKTNOSUPPORT, leaves the socket to the next of the catalogue. */
	int (*socket)(struct onramp_layer *l, int family, int type, int protocol);
	/* It is there: made, accepted, inherited over exec, or received from another process. */
	void (*opened)(struct onramp_layer *l, int fd);
	int (*bind)(struct onramp_layer *l, int fd, const struct sockaddr *sa, socklen_t n);
	int (*connect)(struct onramp_layer *l, int fd, const struct sockaddr *sa, socklen_t n);
	int (*listen)(struct onramp_layer *l, int fd, int backlog);
	/* The new connection's descriptor. It has the same providers, with layers of its own. */
	int (*accept)(struct onramp_layer *l, int fd, struct sockaddr *sa, socklen_t *n, int flags);
	/* The bytes, and what else the kernel's calls of that name do: flags, addresses, control messages. */
	ssize_t (*sendmsg)(struct onramp_layer *l, int fd, const struct msghdr *m, int flags);
	ssize_t (*recvmsg)(struct onramp_layer *l, int fd, struct msghdr *m, int flags);
	int (*shutdown)(struct onramp_layer *l, int fd, int how);
	int (*getsockopt)(struct onramp_layer *l, int fd, int level, int name, void *v, socklen_t *n);
	int (*setsockopt)(struct onramp_layer *l, int fd, int level, int name, const void *v, socklen_t n);
	int (*getsockname)(struct onramp_layer *l, int fd, struct sockaddr *sa, socklen_t *n);
	int (*getpeername)(struct onramp_layer *l, int fd, struct sockaddr *sa, socklen_t *n);
	/* Its last descriptor in this process is about to be closed: gives back what `own` points to. */
	void (*closed)(struct onramp_layer *l);
};

enum onramp_provider_kind { ONRAMP_FILTER = 1, ONRAMP_BASE = 2 };

struct onramp_provider {
	uint32_t abi;		/* ONRAMP_PROVIDER_ABI; first, whatever the version */
	uint32_t kind;		/* enum onramp_provider_kind */
	const char *about;	/* a few words for people */
	/* Once per process, before any socket: what is below each of its layers, and what the catalogue's line
	 * says after the file. 0, or -errno: the provider is left out. */
	int (*start)(const struct onramp_ops *next, const char *options);
	/* Not zero: it stands in front of sockets of that kind. */
	int (*match)(int family, int type, int protocol);
	struct onramp_ops ops;
};

extern const struct onramp_provider onramp_provider __attribute__((visibility("default")));

#ifdef __cplusplus
}
#endif

#endif
