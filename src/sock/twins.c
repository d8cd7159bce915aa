/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several numbers of one socket that is not decided yet. Of a decided one the entries have the same
 * handle; of an undecided one there is none, but the kernel's socket has a cookie. What is decided about one
 * number is so for all: connect() on one, and send() on the other, mean the same connection.
 *
 * A child that decides over a socket which its parent has still, under the same number, leaves it to the
 * kernel: the parent's table would not learn of it. If the parent has gone, as when a program makes itself
 * a daemon, or closed it, the socket is the child's alone.
 */
#include "sock/self.h"

#include <fcntl.h>
#include <sys/socket.h>

#define PARTING_MS 20

static uint64_t cookie_of(int fd)
{
	uint64_t v = 0;
	socklen_t n = sizeof(v);

	return self.quiet || sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &v, &n) ? 0 : v;
}

static bool is_undecided(struct ent e) { return e.kind == FD_PLAIN && e.reason == REASON_UNDECIDED; }

/* The next number after `at` of the undecided socket with that cookie; -1. */
static int next_twin(int fd, int at, uint64_t cookie)
{
	int n = self.tab ? (int)min_u32(self.tab->n_used, N_FDS) : 0;

	while (cookie && ++at < n) {
		struct ent e = fd_get(at);

		if (at != fd && is_undecided(e) && e.flags & FDF_SHARED && cookie_of(at) == cookie)
			return at;
	}
	return -1;
}

struct ent twins_know(int fd, struct ent e)
{
	const uint8_t own = FDF_NONBLOCK | FDF_SHARED;
	uint64_t cookie;
	int i, r;

	if (likely(!(e.flags & FDF_SHARED)) || self.quiet)
		return e;
	cookie = cookie_of(fd);
	for (i = next_twin(fd, -1, cookie); i >= 0; i = next_twin(fd, i, cookie))
		e.flags |= (uint8_t)(fd_get(i).flags & ~own);
	r = sys_fcntl(fd, F_GETFL, 0);
	if (r >= 0)
		e.flags = (uint8_t)((e.flags & ~FDF_NONBLOCK) | (r & O_NONBLOCK ? FDF_NONBLOCK : 0));
	return e;
}

void twins_put(int fd, struct ent e)
{
	uint64_t cookie = unlikely(e.flags & FDF_SHARED) ? cookie_of(fd) : 0;
	int i;

	fd_put(fd, e);
	if (ent_is_ours(e))
		epoll_moved(fd, e);
	for (i = next_twin(fd, -1, cookie); i >= 0; i = next_twin(fd, i, cookie)) {
		fd_put(i, e);
		if (ent_is_ours(e))
			epoll_moved(i, e);
	}
}

/* ---- after fork ---------------------------------------------------------------------------------------- */

void twins_after_fork(uint32_t parent)
{
	uint32_t fd, n = min_u32(self.tab->n_used, N_FDS);

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);

		if (is_undecided(e)) {
			e.h = parent;
			fd_put((int)fd, e);
		}
	}
}

/* "socket:[inode]" of a process's descriptor. */
static bool name_of(char ret[64], const char *pid, int fd)
{
	char path[64] = "/proc/", digits[PROC_NUMBER];
	size_t at = strlen(path), n = strlen(pid);
	const char *number = proc_number(digits, (uint32_t)fd);
	int64_t r;

	memcpy(path + at, pid, n);
	at += n;
	memcpy(path + at, "/fd/", 4);
	memcpy(path + at + 4, number, strlen(number) + 1);
	r = SYS4(SYS_readlinkat, AT_FDCWD, path, ret, 63);
	ret[r > 0 ? r : 0] = 0;
	return r > 0;
}

static bool parent_has(int fd, uint32_t parent)
{
	char digits[PROC_NUMBER], his[64], mine[64];

	return (uint32_t)SYS0(SYS_getppid) == parent && name_of(his, proc_number(digits, parent), fd) &&
	       name_of(mine, "self", fd) && strcmp(his, mine) == 0;
}

/* A parent that is about to end, or to close it, is given a moment. */
bool twins_elsewhere(int fd, struct ent e)
{
	int i;

	if (likely(!e.h) || self.quiet)
		return false;
	for (i = 0; i < PARTING_MS && parent_has(fd, e.h); i++)
		host_nap(NS_PER_MS);
	return i == PARTING_MS;
}
