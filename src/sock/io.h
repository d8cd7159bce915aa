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
	/* Datagrams: control messages. Receiving: the program's buffer, and after it what of it is used. */
	void	*ctl;
	size_t	 ctl_n;
};

uint64_t iov_bytes(const struct iovec *v, uint32_t n);
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
