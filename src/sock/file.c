/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sendfile. A file goes out through a buffer on the stack that stays in the first-level cache; only
 * what the socket took counts, so offsets are exact when its buffer fills up in the middle.
 */
#include "sock/io.h"

#include <errno.h>
#include <unistd.h>

#define CHUNK (16 * 1024)

static int64_t send_chunk(struct ent e, int out, uint8_t *p, uint64_t n, bool more)
{
	struct iovec v = { p, n };
	struct io io = { .iov = &v, .n_iov = 1, .fd = out, .flags = more ? MSG_MORE : 0 };

	return tcp_write(e, &io);
}

/* From `at` on, until n bytes are sent, the file ends or the socket will not take more. */
static int64_t send_from(struct ent e, int out, int in, off_t at, uint64_t n)
{
	uint8_t buf[CHUNK];
	int64_t sent = 0, r;
	ssize_t got;

	while ((uint64_t)sent < n) {
		uint64_t want = min_u64(n - (uint64_t)sent, sizeof(buf));

		got = sys_pread(in, buf, want, at + sent);
		if (got <= 0)
			return sent ? sent : got == -ESPIPE ? -EINVAL : got;
		r = send_chunk(e, out, buf, (uint64_t)got, (uint64_t)(sent + got) < n);
		if (r < 0)
			return sent ? sent : r;
		sent += r;
		if (r < got)
			break;
	}
	return sent;
}

/* The kernel splices, which to a pipe it can. */
static int64_t from_socket(int out, int in, off_t *off, size_t n)
{
	int64_t r;

	if (off)
		return -ESPIPE;
	r = sk_splice(in, NULL, out, NULL, n, 0);
	return r == SK_PASS ? -EINVAL : r;
}

int64_t sk_sendfile(int out, int in, off_t *off, size_t n)
{
	struct ent e = fd_get(out);
	off_t at = off ? *off : (off_t)SYS3(SYS_lseek, in, 0, SEEK_CUR);
	int64_t r;

	if (ent_is_ours(fd_get(in)))
		return from_socket(out, in, off, n);
	if (e.kind == FD_NONE)
		return SK_PASS;
	if (e.kind != FD_TCP)
		return ent_is_ours(e) ? -EINVAL : SK_PASS;
	if (at < 0)
		return off || at == -ESPIPE ? -EINVAL : at;
	r = send_from(e, out, in, at, n);
	exec_flush(&self.x);
	if (r > 0 && off)
		*off = at + r;
	else if (r > 0)
		(void)SYS3(SYS_lseek, in, at + r, SEEK_SET);
	return r;
}

int64_t sk_sendfile64(int out, int in, off_t *off, size_t n)
{
	return sk_sendfile(out, in, off, n);
}
