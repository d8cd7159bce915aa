/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages from other sockets than ours may bring descriptors, which sock/ looks at. */
#include "preload/preload.h"

#include <string.h>

/* Numbers that come to mean something: the chain asks anew. */
static void chain_received(const struct msghdr *m)
{
	struct cmsghdr *c;
	size_t i;
	int fd;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; CMSG_LEN((i + 1) * sizeof(fd)) <= c->cmsg_len; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			chain_forget(fd);
		}
	}
}

static int64_t looked_at(int64_t r, const struct msghdr *m)
{
	int saved = errno;

	if (unlikely(r >= 0 && m->msg_controllen)) {
		sk_received(m);
		if (chain_on())
			chain_received(m);
		errno = saved;
	}
	return r;
}

ssize_t below_recvmsg(int fd, struct msghdr *m, int flags)
{
	static void *libc;
	int64_t got;

	if (fd_is_data(fd)) {
		got = sk_recvmsg(fd, m, flags);
		if (got != SK_PASS)
			return (ssize_t)sk_result(got);
	}
	got = ((ssize_t (*)(int, struct msghdr *, int))libc_own(&libc, "recvmsg"))(fd, m, flags);
	return (ssize_t)looked_at(got, m);
}

/* What the chain says of it, errno aside; false: it is not the chain's. */
static bool by_chain(int64_t r, int saved, int64_t *ret)
{
	errno = saved;
	*ret = r;
	return r != CHAIN_PASS;
}

exported ssize_t message_recvmsg(int fd, struct msghdr *m, int flags)
{
	int saved = errno;
	int64_t got;

	if (chain_has(fd) && by_chain(chain_recvmsg(fd, m, flags), saved, &got))
		return (ssize_t)sk_result(got);
	return below_recvmsg(fd, m, flags);
}

exported int message_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to)
{
	static void *libc;
	int64_t got;
	int i, r, saved = errno;

	if (chain_has(fd) && by_chain(chain_recvmmsg(fd, m, n, flags, to), saved, &got))
		return (int)sk_result(got);
	if (fd_is_data(fd)) {
		got = sk_recvmmsg(fd, m, n, flags, to);
		if (got != SK_PASS)
			return (int)sk_result(got);
	}
	r = ((int (*)(int, struct mmsghdr *, unsigned, int, struct timespec *))libc_own(&libc, "recvmmsg"))
		(fd, m, n, flags, to);
	for (i = 0; i < r; i++)
		(void)looked_at(0, &m[i].msg_hdr);
	return r;
}
