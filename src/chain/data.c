/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * All calls that move bytes, made of sendmsg and recvmsg, as the kernel makes them: a provider has two ways to see to.
 */
#include "chain/parts.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "host/host.h"

#define COPY_BYTES 16384	/* of a file at once, on the stack */

/* ---- receiving --------------------------------------------------------------------------------------- */

/* read() and write() of nothing ask nothing of a socket; recv() and send() do. */
int64_t chain_readv(int fd, const struct iovec *v, int n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n };
	int64_t sum = 0;
	int i;

	if (n < 0 || n > IOV_MAX)
		return -EINVAL;
	for (i = 0; i < n && !sum; i++)
		sum = v[i].iov_len != 0;
	return sum ? top_recvmsg(fd, &m, 0) : 0;
}

int64_t chain_read(int fd, void *p, size_t n)
{
	const struct iovec v = { p, n };

	return chain_readv(fd, &v, 1);
}

int64_t chain_recvfrom(int fd, void *p, size_t n, int flags, struct sockaddr *sa, socklen_t *sa_n)
{
	struct iovec v = { p, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_name = sa, .msg_namelen = sa && sa_n ? *sa_n : 0 };
	int64_t r = top_recvmsg(fd, &m, flags);

	if (r >= 0 && sa && sa_n)
		*sa_n = m.msg_namelen;
	return r;
}

int64_t chain_recv(int fd, void *p, size_t n, int flags) { return chain_recvfrom(fd, p, n, flags, NULL, NULL); }
int64_t chain_recvmsg(int fd, struct msghdr *m, int flags) { return top_recvmsg(fd, m, flags); }

static int64_t positioned(off_t at, int flags)
{
	return at != -1 ? -ESPIPE : flags & ~RWF_NOWAIT ? -EOPNOTSUPP : 0;
}

int64_t chain_preadv2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n };
	int64_t err = positioned(at, flags);

	return err ? err : flags ? top_recvmsg(fd, &m, MSG_DONTWAIT) : chain_readv(fd, v, n);
}

/* What is left is written back; false: nothing is. */
static bool time_left(uint64_t until, struct timespec *to)
{
	uint64_t now = host_now(), left = until > now ? until - now : 0;

	to->tv_sec = (time_t)(left / NS_PER_S);
	to->tv_nsec = (long)(left % NS_PER_S);
	return left != 0;
}

int64_t chain_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to)
{
	int each = flags & ~MSG_WAITFORONE;
	uint64_t until = 0;
	int64_t r = 0;
	unsigned i;

	if (to && (to->tv_sec < 0 || to->tv_nsec < 0 || to->tv_nsec >= (long)NS_PER_S))
		return -EINVAL;
	if (to)
		until = host_now() + (uint64_t)to->tv_sec * NS_PER_S + (uint64_t)to->tv_nsec;
	for (i = 0; i < n && i < IOV_MAX; i++) {
		r = top_recvmsg(fd, &m[i].msg_hdr, each);
		if (r < 0)
			break;
		m[i].msg_len = (unsigned)r;
		each |= flags & MSG_WAITFORONE ? MSG_DONTWAIT : 0;
		if ((to && !time_left(until, to)) || m[i].msg_hdr.msg_flags & MSG_OOB) {
			i++;
			break;
		}
	}
	if (i && r < 0)
		top_keep_error(fd, r);
	return i ? (int64_t)i : r;
}

/* ---- sending ----------------------------------------------------------------------------------------------- */

int64_t chain_writev(int fd, const struct iovec *v, int n)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n };

	return n < 0 || n > IOV_MAX ? -EINVAL : top_sendmsg(fd, &m, 0);
}

int64_t chain_write(int fd, const void *p, size_t n)
{
	const struct iovec v = { (void *)(uintptr_t)p, n };

	return chain_writev(fd, &v, 1);
}

int64_t chain_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *sa, socklen_t sa_n)
{
	struct iovec v = { (void *)(uintptr_t)p, n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_name = (void *)(uintptr_t)sa,
			    .msg_namelen = sa ? sa_n : 0 };

	return top_sendmsg(fd, &m, flags);
}

int64_t chain_send(int fd, const void *p, size_t n, int flags) { return chain_sendto(fd, p, n, flags, NULL, 0); }
int64_t chain_sendmsg(int fd, const struct msghdr *m, int flags) { return top_sendmsg(fd, m, flags); }

int64_t chain_pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	struct msghdr m = { .msg_iov = (struct iovec *)(uintptr_t)v, .msg_iovlen = (size_t)n };
	int64_t err = positioned(at, flags);

	return err ? err : n < 0 || n > IOV_MAX ? -EINVAL : top_sendmsg(fd, &m, flags ? MSG_DONTWAIT : 0);
}

int64_t chain_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	int64_t r = 0;
	unsigned i;

	for (i = 0; i < n && i < IOV_MAX; i++) {
		r = top_sendmsg(fd, &m[i].msg_hdr, flags);
		if (r < 0)
			break;
		m[i].msg_len = (unsigned)r;
	}
	return i ? (int64_t)i : r;
}

/* One piece; what the socket does not take stays in the file. */
static int64_t send_piece(int out, int in, off_t at, size_t n)
{
	char copy[COPY_BYTES];
	ssize_t got = sys_pread(in, copy, n < sizeof(copy) ? n : sizeof(copy), at);

	/* A file that cannot be read at a place is none for sendfile(). */
	if (got <= 0)
		return got == -ESPIPE ? -EINVAL : got;
	return chain_send(out, copy, (size_t)got, 0);
}

int64_t chain_sendfile(int out, int in, off_t *off, size_t n)
{
	off_t at = off ? *off : SYS3(SYS_lseek, in, 0, SEEK_CUR);
	int64_t r = 0;
	size_t done = 0;

	if (at < 0)
		return off ? -EINVAL : at == -ESPIPE ? -EINVAL : at;
	while (done < n && (r = send_piece(out, in, at, n - done)) > 0) {
		done += (size_t)r;
		at += r;
	}
	if (done && off)
		*off = at;
	else if (done)
		(void)SYS3(SYS_lseek, in, at, SEEK_SET);
	return done ? (int64_t)done : r;
}
