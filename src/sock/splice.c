/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * splice() between a pipe and a socket of ours. No page changes hands: bytes are copied. What is
 * exact is the count, and that nothing is lost: bytes leave their source only when the other side
 * has them.
 *
 *  L1  Towards the socket, the pipe is looked into by tee() into a pipe of this call's own; what the
 *	socket took is then read off the pipe that was named.
 *  L2  From the socket, bytes are peeked at, written to the pipe as far as it takes them at once, and
 *	only those are taken off the socket.
 *
 * As in the kernel, a call that has moved something does not wait for more, SPLICE_F_NONBLOCK is about
 * the pipe when reading from a socket and about both when writing to one, and what cannot be between
 * a pipe and a socket is refused by the kernel, which sees the socket below.
 */
#include "sock/io.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>

#define CHUNK	(16 * 1024)
#define FLAGS	(SPLICE_F_MOVE | SPLICE_F_NONBLOCK | SPLICE_F_MORE | SPLICE_F_GIFT)

static bool is_pipe(int fd) { return sys_fcntl(fd, F_GETPIPE_SZ, 0) > 0; }

static bool is_nonblocking(int fd)
{
	int fl = sys_fcntl(fd, F_GETFL, 0);

	return fl >= 0 && fl & O_NONBLOCK;
}

/* ---- to a socket ----------------------------------------------------------------------------- */

static int64_t write_any(struct ent e, int fd, void *p, uint64_t n, int flags)
{
	struct iovec v = { p, n };
	struct io io = { .iov = &v, .n_iov = 1, .fd = fd, .flags = flags };

	return e.kind == FD_TCP ? tcp_write(e, &io) : dgram_write(e, &io, NULL, 0);
}

/* Of what the copy of the pipe holds, as much as the socket takes; that much goes off the pipe. */
static int64_t send_copy(struct ent e, int in, int copy, int out, int64_t all, int flags)
{
	uint8_t buf[CHUNK];
	int64_t done = 0, r = 0, n;

	while (done < all) {
		n = sys_read(copy, buf, sizeof(buf));
		if (n <= 0)
			break;
		r = write_any(e, out, buf, (uint64_t)n, done + n < all ? flags | MSG_MORE : flags);
		if (r <= 0)
			break;
		done += r;
		if (sys_read(in, buf, (size_t)r) != r || r < n)
			break;
	}
	return done ? done : r;
}

static int64_t splice_out(struct ent e, int in, int out, size_t n, unsigned flags)
{
	int how = (flags & SPLICE_F_NONBLOCK ? MSG_DONTWAIT : 0) | (flags & SPLICE_F_MORE ? MSG_MORE : 0);
	int copy[2], r;
	int64_t done = 0, got = 0, copied;

	r = sys_pipe2(copy, O_CLOEXEC);
	if (r < 0)
		return r;
	while ((size_t)done < n) {
		size_t left = n - (size_t)done;

		copied = SYS4(SYS_tee, in, copy[1], left, done ? flags | SPLICE_F_NONBLOCK : flags);
		got = copied > 0 ? send_copy(e, in, copy[0], out, copied, how) : copied;
		if (got > 0)
			done += got;
		if (got <= 0 || got < copied)	/* the rest lies in the copy, which is of no more use */
			break;
	}
	sys_close(copy[0]);
	sys_close(copy[1]);
	if (e.kind == FD_TCP)
		exec_flush(&self.x);
	return done ? done : got;
}

/* ---- from a socket ------------------------------------------------------------------------------ */

/* As much as the pipe takes without waiting. */
static int64_t fill_pipe(int out, uint8_t *p, size_t n)
{
	struct timespec zero = { 0, 0 };
	struct pollfd room = { .fd = out, .events = POLLOUT };
	struct iovec v = { p, n };
	int64_t r = SYS6(SYS_pwritev2, out, &v, 1, -1l, -1l, RWF_NOWAIT);

	if (r != -EOPNOTSUPP && r != -ENOSYS)
		return r;
	/* An older kernel: a page is taken at once if there is room at all. */
	if (sys_ppoll(&room, 1, &zero, NULL) != 1)
		return -EAGAIN;
	return sys_write(out, p, n < PIPE_BUF ? n : PIPE_BUF);
}

static int64_t read_any(struct ent e, int fd, void *p, uint64_t n, int flags)
{
	struct iovec v = { p, n };
	struct io io = { .iov = &v, .n_iov = 1, .fd = fd, .flags = flags };
	int ignored;

	return e.kind == FD_TCP ? tcp_read(e, &io) : dgram_read(e, &io, NULL, NULL, &ignored);
}

/* Until the pipe has room; 0, or what the call answers. */
static int await_room(int out, bool nonblock)
{
	struct timespec zero = { 0, 0 };
	struct pollfd p = { .fd = out, .events = POLLOUT };
	int r = sys_ppoll(&p, 1, nonblock ? &zero : NULL, NULL);

	return r < 0 ? r : r == 0 ? -EAGAIN : 0;
}

static int64_t splice_in(struct ent e, int in, int out, size_t n, unsigned flags)
{
	bool nonblock = flags & SPLICE_F_NONBLOCK || is_nonblocking(out);
	uint8_t buf[CHUNK];
	int64_t done = 0, r = 0, put;

	r = await_room(out, nonblock);
	while (r == 0 && (size_t)done < n) {
		int64_t got = read_any(e, in, buf, min_u64(n - (size_t)done, sizeof(buf)),
				       (done ? MSG_DONTWAIT : 0) | (e.kind == FD_TCP ? MSG_PEEK : 0));

		if (got <= 0) {
			r = got;
			break;
		}
		put = fill_pipe(out, buf, (size_t)got);
		if (put > 0 && e.kind == FD_TCP)
			(void)read_any(e, in, NULL, (uint64_t)put, MSG_TRUNC | MSG_DONTWAIT);
		r = put < 0 ? put : 0;
		done += put > 0 ? put : 0;
		if (put < got || e.kind != FD_TCP)
			break;
	}
	return done ? done : r;
}

int64_t sk_splice(int in, off_t *off_in, int out, off_t *off_out, size_t n, unsigned flags)
{
	struct ent from = fd_get(in), to = fd_get(out);
	bool listens = from.kind == FD_LISTEN || to.kind == FD_LISTEN;

	if (!ent_is_ours(from) && !ent_is_ours(to))
		return SK_PASS;
	if (me.in_turn)
		return -EINTR;
	if (listens || n == 0 || flags & ~FLAGS || off_in || off_out ||
	    !is_pipe(ent_is_ours(from) ? out : in))
		return SK_PASS;		/* the kernel refuses it in its own words */
	n = n > INT_MAX ? INT_MAX : n;
	return ent_is_ours(from) ? splice_in(from, in, out, n, flags) : splice_out(to, in, out, n, flags);
}
