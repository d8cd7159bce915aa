/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages from other sockets than ours may bring descriptors, which sock/ looks at. */
#include "preload/preload.h"

static int64_t looked_at(int64_t r, const struct msghdr *m)
{
	int saved = errno;

	if (unlikely(r >= 0 && m->msg_controllen)) {
		sk_received(m);
		errno = saved;
	}
	return r;
}

ssize_t message_recvmsg(int fd, struct msghdr *m, int flags) symbol_name("recvmsg");
exported ssize_t message_recvmsg(int fd, struct msghdr *m, int flags)
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

int message_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to) symbol_name("recvmmsg");
exported int message_recvmmsg(int fd, struct mmsghdr *m, unsigned n, int flags, struct timespec *to)
{
	static void *libc;
	int64_t got;
	int i, r;

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
