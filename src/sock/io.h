/* SPDX-License-Identifier: BSD-2-Clause */
/* One transfer, as the files that move bytes pass it on. */
#ifndef SOCK_IO_H
#define SOCK_IO_H

#include "sock/self.h"

struct io {
	struct iovec *iov;	/* the callee may move it on */
	uint32_t n_iov;
	int	 flags;		/* MSG_* */
	uint32_t core_flags;	/* TCP_SEND_*, TCP_RECV_*; the callee's */
	int	 fd;
	bool	 at_mark;	/* of a read that may want more: the urgent mark is next */
	/* Datagrams: control messages. Receiving: the program's buffer, and after it what of it is used. */
	void	*ctl;
	size_t	 ctl_n;
};

uint64_t iov_bytes(const struct iovec *v, uint32_t n);
/* Moves an iovec on by what was transferred; true when nothing is left. */
bool io_advance(struct io *io, uint64_t n);
/* The program's memory is its own again: the bytes have been copied. Returns `sent`. */
int64_t io_sent(struct ent e, const struct io *io, int64_t sent);
/* Sends that open a connection (fastopen.c): of a socket that connect() has only noted; MSG_FASTOPEN of one
 * that is ours; and of one that is not decided (SK_PASS: the kernel's now). */
int64_t fastopen_write(struct ent e, struct io *io);
int64_t fastopen_again(struct ent e, struct io *io);
int64_t fastopen_connect(int fd, struct io *io, const struct sockaddr *sa, socklen_t n);
int64_t tcp_read(struct ent e, struct io *io);
int64_t tcp_write(struct ent e, struct io *io);
/* MSG_ERRQUEUE (errqueue.c). m NULL: only whether there was something, which is gone then. */
int64_t errqueue_read(struct ent e, struct msghdr *m);

/* A message of somebody else's socket carries descriptors (rights.c): ours become the kernel's. */
void rights_send(const struct msghdr *m);

/* Datagrams (dgram.c). */
int64_t dgram_read(struct ent e, struct io *io, struct sockaddr *sa, socklen_t *sa_n, int *ret_flags);
int64_t dgram_write(struct ent e, struct io *io, const struct sockaddr *sa, socklen_t sa_n);

#endif
