/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Other names of the same calls: glibc exports some with two underscores, closefrom() is
 * close_range(), and the fortified variants check a size first, which libc's own then reports.
 */
#include "preload/preload.h"

#include <limits.h>
#include <netinet/in.h>
#include <sys/ioctl.h>

#define ALIAS(name) symbol_name(name)

int alias_close(int fd) ALIAS("__close");
exported int alias_close(int fd) { return wrap_close(fd); }

ssize_t alias_read(int fd, void *p, size_t n) ALIAS("__read");
exported ssize_t alias_read(int fd, void *p, size_t n) { return wrap_read(fd, p, n); }

ssize_t alias_write(int fd, const void *p, size_t n) ALIAS("__write");
exported ssize_t alias_write(int fd, const void *p, size_t n) { return wrap_write(fd, p, n); }

int alias_connect(int fd, const struct sockaddr *sa, socklen_t n) ALIAS("__connect");
exported int alias_connect(int fd, const struct sockaddr *sa, socklen_t n)
{
	return wrap_connect(fd, sa, n);
}

ssize_t alias_send(int fd, const void *p, size_t n, int flags) ALIAS("__send");
exported ssize_t alias_send(int fd, const void *p, size_t n, int flags)
{
	return wrap_send(fd, p, n, flags);
}

int alias_socket(int family, int type, int proto) ALIAS("__socket");
exported int alias_socket(int family, int type, int proto) { return wrap_socket(family, type, proto); }

ssize_t alias_recv(int fd, void *p, size_t n, int flags) ALIAS("__recv");
exported ssize_t alias_recv(int fd, void *p, size_t n, int flags) { return wrap_recv(fd, p, n, flags); }

int alias_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags) ALIAS("__sendmmsg");
exported int alias_sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	return wrap_sendmmsg(fd, m, n, flags);
}

int alias_atmark(int fd) ALIAS("sockatmark");
exported int alias_atmark(int fd)
{
	int at = 0;

	return wrap_ioctl(fd, SIOCATMARK, (long)(uintptr_t)&at) < 0 ? -1 : at;
}

/* libc binds by a call of its own that nobody can stand in front of. */
int alias_bindresvport(int fd, struct sockaddr_in *sa) ALIAS("bindresvport");
exported int alias_bindresvport(int fd, struct sockaddr_in *sa)
{
	static void *libc;
	int r = ((int (*)(int, struct sockaddr_in *))libc_own(&libc, "bindresvport"))(fd, sa);

	if (r == 0 && fd_is_any(fd))
		sk_bound(fd);
	return r;
}

int alias_poll(struct pollfd *p, nfds_t n, int ms) ALIAS("__poll");
exported int alias_poll(struct pollfd *p, nfds_t n, int ms) { return wrap_poll(p, n, ms); }

int alias_select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *to) ALIAS("__select");
exported int alias_select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *to)
{
	return wrap_select(n, r, w, x, to);
}

int alias_fcntl(int fd, int cmd, long arg) ALIAS("__fcntl");
exported int alias_fcntl(int fd, int cmd, long arg) { return wrap_fcntl(fd, cmd, arg); }

int alias_fcntl64(int fd, int cmd, long arg) ALIAS("fcntl64");
exported int alias_fcntl64(int fd, int cmd, long arg) { return wrap_fcntl(fd, cmd, arg); }

int alias_dup2(int from, int to) ALIAS("__dup2");
exported int alias_dup2(int from, int to) { return wrap_dup2(from, to); }

void alias_closefrom(int low) ALIAS("closefrom");
exported void alias_closefrom(int low)
{
	int saved = errno;

	(void)wrap_close_range(low < 0 ? 0 : (unsigned)low, UINT_MAX, 0);
	errno = saved;
}

/* ---- fortified --------------------------------------------------------------------------------- */

ssize_t checked_read(int fd, void *p, size_t n, size_t room) ALIAS("__read_chk");
exported ssize_t checked_read(int fd, void *p, size_t n, size_t room)
{
	static void *libc;

	if (likely(n <= room))
		return wrap_read(fd, p, n);
	return ((ssize_t (*)(int, void *, size_t, size_t))libc_own(&libc, "__read_chk"))(fd, p, n, room);
}

ssize_t checked_recv(int fd, void *p, size_t n, size_t room, int flags) ALIAS("__recv_chk");
exported ssize_t checked_recv(int fd, void *p, size_t n, size_t room, int flags)
{
	static void *libc;

	if (likely(n <= room))
		return wrap_recv(fd, p, n, flags);
	return ((ssize_t (*)(int, void *, size_t, size_t, int))libc_own(&libc, "__recv_chk"))
		(fd, p, n, room, flags);
}

ssize_t checked_recvfrom(int fd, void *p, size_t n, size_t room, int flags, struct sockaddr *sa,
			 socklen_t *sa_n) ALIAS("__recvfrom_chk");
exported ssize_t checked_recvfrom(int fd, void *p, size_t n, size_t room, int flags,
				  struct sockaddr *sa, socklen_t *sa_n)
{
	static void *libc;

	if (likely(n <= room))
		return wrap_recvfrom(fd, p, n, flags, sa, sa_n);
	return ((ssize_t (*)(int, void *, size_t, size_t, int, struct sockaddr *, socklen_t *))
		libc_own(&libc, "__recvfrom_chk"))(fd, p, n, room, flags, sa, sa_n);
}

int checked_poll(struct pollfd *p, nfds_t n, int ms, size_t room) ALIAS("__poll_chk");
exported int checked_poll(struct pollfd *p, nfds_t n, int ms, size_t room)
{
	static void *libc;

	if (likely(n <= room / sizeof(*p)))
		return wrap_poll(p, n, ms);
	return ((int (*)(struct pollfd *, nfds_t, int, size_t))libc_own(&libc, "__poll_chk"))
		(p, n, ms, room);
}

int checked_ppoll(struct pollfd *p, nfds_t n, const struct timespec *to, const sigset_t *set,
		  size_t room) ALIAS("__ppoll_chk");
exported int checked_ppoll(struct pollfd *p, nfds_t n, const struct timespec *to,
			   const sigset_t *set, size_t room)
{
	static void *libc;

	if (likely(n <= room / sizeof(*p)))
		return wrap_ppoll(p, n, to, set);
	return ((int (*)(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *, size_t))
		libc_own(&libc, "__ppoll_chk"))(p, n, to, set, room);
}
