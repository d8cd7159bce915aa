/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The many names under which libc offers reading and writing, brought to two: a transfer
 * (struct io) to or from a connection, or a datagram socket.
 */
#include "sock/io.h"

#include <errno.h>
#include <limits.h>
#include <netinet/in.h>
#include <sys/mman.h>

#define IOV_ON_STACK 16

/* A copy of the program's iovec, which the transfer moves on; it must stay as it was. */
struct iov_copy {
	struct iovec small[IOV_ON_STACK];
	struct iovec *v;
	size_t mapped;
};

static int copy_iov(struct iov_copy *c, const struct iovec *v, size_t n)
{
	c->v = c->small;
	c->mapped = 0;
	if (n > IOV_MAX)
		return -EMSGSIZE;
	if (n > IOV_ON_STACK) {
		c->mapped = n * sizeof(*v);
		c->v = sys_mmap(NULL, c->mapped, PROT_READ | PROT_WRITE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (SYS_MAP_FAILED(c->v))
			return -ENOMEM;
	}
	if (n)
		memcpy(c->v, v, n * sizeof(*v));
	return 0;
}

static void drop_iov(struct iov_copy *c)
{
	if (c->mapped)
		sys_munmap(c->v, c->mapped);
}

static bool any_wild(const struct io *io)
{
	uint32_t i;

	for (i = 0; i < io->n_iov; i++)
		if (unlikely(is_wild(io->iov[i].iov_base)) && io->iov[i].iov_len)
			return true;
	return false;
}

static int64_t read_any(struct io *io, struct sockaddr *sa, socklen_t *sa_n, int *ret_flags);

/* EFAULT, if there is something that would have been copied there. */
static int64_t read_wild(const struct io *io)
{
	uint8_t byte;
	struct iovec v = { &byte, 1 };
	struct io try = { .iov = &v, .n_iov = 1, .fd = io->fd, .flags = io->flags | MSG_PEEK };
	int ignored;
	int64_t r = read_any(&try, NULL, NULL, &ignored);

	return r > 0 ? -EFAULT : r;
}

static int64_t write_any(struct io *io, const struct sockaddr *sa, socklen_t sa_n);

static int64_t write_wild(const struct io *io)
{
	struct io try = { .fd = io->fd, .flags = io->flags };
	int64_t r = fd_get(io->fd).kind == FD_TCP ? write_any(&try, NULL, 0) : 0;

	return r < 0 ? r : -EFAULT;
}

static int64_t read_any(struct io *io, struct sockaddr *sa, socklen_t *sa_n, int *ret_flags)
{
	struct ent e = fd_get(io->fd);

	*ret_flags = 0;
	if (unlikely(any_wild(io)) && !(io->flags & MSG_TRUNC && e.kind == FD_TCP))
		return read_wild(io);
	if (likely(e.kind == FD_TCP)) {
		int64_t r = tcp_read(e, io);

		if (sa_n && r >= 0)
			*sa_n = 0;	/* as the kernel: a stream's peer is not repeated */
		return r;
	}
	if (e.kind == FD_UDP)
		return dgram_read(e, io, sa, sa_n, ret_flags);
	if (e.kind == FD_LISTEN && io->flags & MSG_ERRQUEUE)
		return -EAGAIN;
	return e.kind == FD_LISTEN ? -ENOTCONN : e.kind == FD_PRIVATE ? -EBADF : SK_PASS;
}

static int64_t write_any(struct io *io, const struct sockaddr *sa, socklen_t sa_n)
{
	struct ent e = fd_get(io->fd);

	if (unlikely(any_wild(io)))
		return write_wild(io);
	if (likely(e.kind == FD_TCP))
		return unlikely(io->flags & MSG_FASTOPEN) ? fastopen_again(e, io) : tcp_write(e, io);
	if (unlikely(io->flags & MSG_FASTOPEN) && e.kind == FD_PLAIN && e.reason == REASON_UNDECIDED &&
	    !(e.flags & FDF_DGRAM))
		return fastopen_connect(io->fd, io, sa, sa_n);
	else if (e.kind == FD_PLAIN && sa && udp_autobind(io->fd) == 0)
		e = fd_get(io->fd);
	if (e.kind == FD_UDP)
		return io->flags & MSG_OOB && !(e.flags & FDF_V6) ? -EOPNOTSUPP : dgram_write(e, io, sa, sa_n);
	if (e.kind == FD_LISTEN) {
		if (!(io->flags & MSG_NOSIGNAL))
			raise_sigpipe();
		return -EPIPE;
	}
	return e.kind == FD_PRIVATE ? -EBADF : SK_PASS;
}

/* ---- receiving ------------------------------------------------------------------------------- */

int64_t sk_recvfrom(int fd, void *p, size_t n, int flags, struct sockaddr *sa, socklen_t *sa_n)
{
	struct iovec v = { p, n };
	struct io io = { .iov = &v, .n_iov = 1, .flags = flags, .fd = fd };
	int ignored;

	return read_any(&io, sa, sa_n, &ignored);
}

int64_t sk_recv(int fd, void *p, size_t n, int flags)
{
	return sk_recvfrom(fd, p, n, flags, NULL, NULL);
}

int64_t sk_read(int fd, void *p, size_t n)
{
	if (!n && fd_get(fd).kind != FD_PRIVATE)
		return 0;	/* read() of nothing does not ask the socket; recv() does */
	return sk_recvfrom(fd, p, n, 0, NULL, NULL);
}

static int64_t read_vector(int fd, const struct iovec *v, int n, int flags)
{
	struct iov_copy c;
	struct io io = { .n_iov = (uint32_t)n, .fd = fd, .flags = flags };
	int ignored;
	int64_t r;

	if (n < 0 || n > IOV_MAX)
		return -EINVAL;
	if (iov_bytes(v, (uint32_t)n) == 0 && fd_get(fd).kind != FD_PRIVATE)
		return 0;	/* as read() */
	r = copy_iov(&c, v, (size_t)n);
	if (r)
		return r;
	io.iov = c.v;
	r = read_any(&io, NULL, NULL, &ignored);
	drop_iov(&c);
	return r;
}

int64_t sk_readv(int fd, const struct iovec *v, int n)
{
	return read_vector(fd, v, n, 0);
}

#define RWF_OURS (RWF_HIPRI | RWF_DSYNC | RWF_SYNC | RWF_NOWAIT)	/* others are the kernel's to refuse */

/* A stream has no positions: -1 is the only one, and the kernel says so of others. */
int64_t sk_preadv2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	if (at != -1 || flags & ~RWF_OURS)
		return SK_PASS;
	return read_vector(fd, v, n, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

int64_t sk_preadv64v2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	return sk_preadv2(fd, v, n, at, flags);
}

int64_t sk_recvmsg(int fd, struct msghdr *m, int flags)
{
	struct iov_copy c;
	struct io io = { .n_iov = (uint32_t)m->msg_iovlen, .flags = flags, .fd = fd, .ctl = m->msg_control,
			 .ctl_n = m->msg_controllen };
	socklen_t sa_n = m->msg_namelen;
	struct ent e = fd_get(fd);
	int64_t r;
	int got;

	if (unlikely(flags & MSG_ERRQUEUE) && e.kind == FD_TCP)
		return errqueue_read(e, m);
	r = copy_iov(&c, m->msg_iov, m->msg_iovlen);
	if (r)
		return r;
	io.iov = c.v;
	r = read_any(&io, m->msg_name, &sa_n, &got);
	drop_iov(&c);
	if (r < 0)
		return r;
	m->msg_namelen = m->msg_name ? sa_n : 0;
	m->msg_controllen = e.kind == FD_UDP ? io.ctl_n : 0;
	m->msg_flags = got | (flags & MSG_OOB);
	return r;
}

/* As the kernel, a failure after the first message is kept for the next call (SO_ERROR's place). */
static void keep_error(int fd, int64_t r)
{
	struct ent e = fd_get(fd);
	struct turn t;
	struct sk *sk;

	if (r == -EAGAIN || r == SK_PASS || e.kind != FD_UDP || !sk_enter(&t))
		return;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && !sk->err) {
		sk_error(&t, sk, (int)-r);
		sk_ready(&t, sk, EPOLLERR, 0);
	}
	sk_leave(&t, false);
}

/* What is left of the time; false: nothing. */
static bool time_left(uint64_t until, struct timespec *to)
{
	uint64_t now = host_now(), left = until > now ? until - now : 0;

	*to = (struct timespec){ (time_t)(left / NS_PER_S), (long)(left % NS_PER_S) };
	return left != 0;
}

/* recvmmsg(2): the time is looked at after each message only, so a call that waits for its first
 * waits for ever; what is left of it is written back if there was one. */
int64_t sk_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to)
{
	int each = flags & ~MSG_WAITFORONE;
	uint64_t until = NEVER_NS;
	int64_t r = 0;
	unsigned i;

	if (to && (to->tv_sec < 0 || to->tv_nsec < 0 || to->tv_nsec >= (long)NS_PER_S))
		return -EINVAL;
	if (to)
		until = until_ns((uint64_t)to->tv_sec * NS_PER_S + (uint64_t)to->tv_nsec);
	n = n > IOV_MAX ? IOV_MAX : n;
	for (i = 0; i < n; i++) {
		r = sk_recvmsg(fd, &m[i].msg_hdr, each);
		if (r < 0)
			break;
		m[i].msg_len = (unsigned)r;
		if (flags & MSG_WAITFORONE)
			each |= MSG_DONTWAIT;
		if ((to && !time_left(until, to)) || m[i].msg_hdr.msg_flags & MSG_OOB) {
			i++;
			break;
		}
	}
	if (i && r < 0)
		keep_error(fd, r);
	return i ? (int64_t)i : r;
}

/* ---- sending ------------------------------------------------------------------------------------ */

int64_t sk_sendto(int fd, const void *p, size_t n, int flags, const struct sockaddr *sa, socklen_t sa_n)
{
	struct iovec v = { (void *)(uintptr_t)p, n };
	struct io io = { .iov = &v, .n_iov = 1, .flags = flags, .fd = fd };

	return write_any(&io, sa, sa_n);
}

int64_t sk_send(int fd, const void *p, size_t n, int flags)
{
	return sk_sendto(fd, p, n, flags, NULL, 0);
}

int64_t sk_write(int fd, const void *p, size_t n)
{
	return sk_sendto(fd, p, n, 0, NULL, 0);
}

static int64_t write_vector(int fd, const struct iovec *v, int n, int flags)
{
	struct iov_copy c;
	struct io io = { .n_iov = (uint32_t)n, .fd = fd, .flags = flags };
	int64_t r;

	if (n < 0 || n > IOV_MAX)
		return -EINVAL;
	r = copy_iov(&c, v, (size_t)n);
	if (r)
		return r;
	io.iov = c.v;
	r = write_any(&io, NULL, 0);
	drop_iov(&c);
	return r;
}

int64_t sk_writev(int fd, const struct iovec *v, int n)
{
	return write_vector(fd, v, n, 0);
}

int64_t sk_pwritev2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	if (at != -1 || flags & ~RWF_OURS)
		return SK_PASS;
	return write_vector(fd, v, n, flags & RWF_NOWAIT ? MSG_DONTWAIT : 0);
}

int64_t sk_pwritev64v2(int fd, const struct iovec *v, int n, off_t at, int flags)
{
	return sk_pwritev2(fd, v, n, at, flags);
}

int64_t sk_sendmsg(int fd, const struct msghdr *m, int flags)
{
	struct iov_copy c;
	struct io io = { .flags = flags, .fd = fd };
	int64_t r;

	if (fd_get(fd).kind == FD_NONE) {
		if (unlikely(m && m->msg_controllen))
			rights_send(m);
		return SK_PASS;
	}
	io.n_iov = (uint32_t)m->msg_iovlen;
	io.ctl = m->msg_control;
	io.ctl_n = m->msg_controllen;
	r = copy_iov(&c, m->msg_iov, m->msg_iovlen);
	if (r)
		return r;
	io.iov = c.v;
	r = write_any(&io, m->msg_namelen ? m->msg_name : NULL, m->msg_namelen);
	drop_iov(&c);
	return r;
}

int64_t sk_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	unsigned i;
	int64_t r = 0;

	if (fd_get(fd).kind == FD_NONE) {
		for (i = 0; m && i < n; i++)
			if (m[i].msg_hdr.msg_controllen)
				rights_send(&m[i].msg_hdr);
		return SK_PASS;
	}
	n = n > IOV_MAX ? IOV_MAX : n;
	me.batch = n > 1 ? n : 0;	/* one kick for all */
	for (i = 0; i < n; i++) {
		r = sk_sendmsg(fd, &m[i].msg_hdr, flags);
		if (r < 0)
			break;
		m[i].msg_len = (unsigned)r;
	}
	me.batch = 0;
	if (i && i < n)
		exec_flush(&self.x);
	return i ? (int64_t)i : r;
}
