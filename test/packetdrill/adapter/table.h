/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What packetdrill and a shared object under test agree on (its --so_filename): the object exports
 * packetdrill_interface_init(), which fills a table of calls. Order and types are the contract;
 * the names are ours. Every call gets `ctx` first, and answers as the system call of its name
 * does: -1 and errno.
 *
 * In this mode packetdrill has no clock of its own: it asks clock() and passes time by nap(). So the
 * object may keep any time it likes.
 */
#ifndef TEST_PACKETDRILL_TABLE_H
#define TEST_PACKETDRILL_TABLE_H

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>

struct pd_table {
	void *ctx;
	void (*fini)(void *ctx);
	int (*socket)(void *ctx, int family, int type, int proto);
	int (*bind)(void *ctx, int fd, const struct sockaddr *sa, socklen_t n);
	int (*listen)(void *ctx, int fd, int backlog);
	int (*accept)(void *ctx, int fd, struct sockaddr *sa, socklen_t *n);
	int (*connect)(void *ctx, int fd, const struct sockaddr *sa, socklen_t n);
	ssize_t (*read)(void *ctx, int fd, void *p, size_t n);
	ssize_t (*readv)(void *ctx, int fd, const struct iovec *v, int n);
	ssize_t (*recv)(void *ctx, int fd, void *p, size_t n, int flags);
	ssize_t (*recvfrom)(void *ctx, int fd, void *p, size_t n, int flags, struct sockaddr *sa, socklen_t *sa_n);
	ssize_t (*recvmsg)(void *ctx, int fd, struct msghdr *m, int flags);
	ssize_t (*write)(void *ctx, int fd, const void *p, size_t n);
	ssize_t (*writev)(void *ctx, int fd, const struct iovec *v, int n);
	ssize_t (*send)(void *ctx, int fd, const void *p, size_t n, int flags);
	ssize_t (*sendto)(void *ctx, int fd, const void *p, size_t n, int flags, const struct sockaddr *sa,
			  socklen_t sa_n);
	ssize_t (*sendmsg)(void *ctx, int fd, const struct msghdr *m, int flags);
	int (*fcntl)(void *ctx, int fd, int cmd, ...);
	int (*ioctl)(void *ctx, int fd, unsigned long cmd, ...);
	int (*close)(void *ctx, int fd);
	int (*shutdown)(void *ctx, int fd, int how);
	int (*getsockopt)(void *ctx, int fd, int level, int name, void *v, socklen_t *n);
	int (*setsockopt)(void *ctx, int fd, int level, int name, const void *v, socklen_t n);
	int (*poll)(void *ctx, struct pollfd *p, nfds_t n, int ms);
	/* A packet, from its IP header on, comes in from the wire. 0. */
	int (*packet_in)(void *ctx, const void *p, size_t n);
	/* The next packet that went out, and when: *n is the room at p, then the packet's length. */
	int (*packet_out)(void *ctx, void *p, size_t *n, long long *us);
	int (*nap)(void *ctx, useconds_t us);
	int (*clock)(void *ctx, struct timeval *tv, struct timezone *tz);
	int (*epoll_create)(void *ctx, int size);
	int (*epoll_ctl)(void *ctx, int ep, int op, int fd, struct epoll_event *e);
	int (*epoll_wait)(void *ctx, int ep, struct epoll_event *e, int max, int ms);
	int (*pipe)(void *ctx, int fd[2]);
	int (*splice)(void *ctx, int in, loff_t *off_in, int out, loff_t *off_out, size_t n, unsigned flags);
};

void packetdrill_interface_init(const char *flags, struct pd_table *ret);

#endif
