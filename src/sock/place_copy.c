/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of include/onramp/onramp.h where bytes are copied: on sockets of the kernel, and for
 * what our TCP sends.
 *
 * What is shown of a kernel's socket is peeked at, and taken off it when it is handed back: so
 * it stays readable meanwhile, for recv(), poll() and FIONREAD, as it does on sockets of ours. TCP
 * discards without a copy (MSG_TRUNC); other streams copy the same bytes to the same place again.
 *
 * Memory is found by the descriptor's number, and needs no lock: one thread at a time receives,
 * and one sends. It is kept for the next call, and given back at close() if that is seen here; else it
 * serves whatever has the number next.
 */
#include "sock/place.h"

#include <errno.h>
#include <sys/mman.h>

#define RECV_BYTES	65536u
#define SEND_MIN	65536u
#define SEND_MAX	(1u << 20)

struct copy {
	uint8_t *mem;
	uint32_t bytes;		/* of mem */
	uint32_t at, n;		/* [at, n): shown and not handed back; reserved and not sent */
};

static struct copy *copies[2];	/* by direction and descriptor; sparse memory: 24 B each that was used */
enum { RECV, SEND };

static struct copy *copy_of(int fd, int dir)
{
	/* acq: pairs with the exchange below */
	struct copy *all = __atomic_load_n(&copies[dir], __ATOMIC_ACQUIRE), *expected = NULL;
	size_t bytes = N_FDS * sizeof(*all);

	if ((uint32_t)fd >= N_FDS)
		return NULL;
	if (likely(all != NULL))
		return &all[fd];
	all = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (SYS_MAP_FAILED(all))
		return NULL;
	/* acq_rel: pairs with the load above; of two threads that make it, one wins */
	if (!__atomic_compare_exchange_n(&copies[dir], &expected, all, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
		sys_munmap(all, bytes);
		all = expected;
	}
	return &all[fd];
}

static bool has_room(struct copy *c, uint32_t bytes)
{
	uint8_t *p;

	if (c->bytes >= bytes)
		return true;
	p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (SYS_MAP_FAILED(p))
		return false;
	if (c->bytes)
		sys_munmap(c->mem, c->bytes);
	*c = (struct copy){ .mem = p, .bytes = bytes };
	return true;
}

void copy_forget(int fd)
{
	int dir;

	for (dir = RECV; dir <= SEND; dir++) {
		/* relaxed: the descriptor's own thread made it, if it was made */
		struct copy *all = __atomic_load_n(&copies[dir], __ATOMIC_RELAXED);

		if (!all || (uint32_t)fd >= N_FDS || !all[fd].bytes)
			continue;
		sys_munmap(all[fd].mem, all[fd].bytes);
		all[fd] = (struct copy){ 0 };
	}
}

static int must_be_stream(int fd)
{
	socklen_t n = sizeof(int);
	int type = 0, r = sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n);

	return r < 0 ? r : type == SOCK_STREAM ? 0 : -EOPNOTSUPP;
}

/* ---- receiving ---------------------------------------------------------------------------------- */

int64_t copy_recv(int fd, struct iovec *iov, int flags)
{
	int64_t r = must_be_stream(fd);
	struct copy *c;

	if (r)
		return r;
	c = copy_of(fd, RECV);
	if (!c || !has_room(c, RECV_BYTES))
		return -ENOMEM;
	c->at = c->n = 0;
	r = sys_recvfrom(fd, c->mem, RECV_BYTES, flags | MSG_PEEK, NULL, NULL);
	if (r < 0)
		return r;
	c->n = (uint32_t)r;
	if (r)
		iov[0] = (struct iovec){ c->mem, (size_t)r };
	return r;
}

int64_t copy_hand_back(int fd, size_t n)
{
	struct copy *c = copy_of(fd, RECV);
	int64_t r;

	if (!c)
		return -ENOMEM;
	if (n > c->n - c->at)
		return -EINVAL;
	while (n) {
		r = sys_recvfrom(fd, c->mem + c->at, n, MSG_TRUNC | MSG_DONTWAIT, NULL, NULL);
		if (r == -EINTR)
			continue;
		if (r <= 0)
			return r < 0 ? r : -EINVAL;
		c->at += (uint32_t)r;
		n -= (size_t)r;
	}
	return 0;
}

/* ---- sending ----------------------------------------------------------------------------------------- */

int64_t copy_reserve(int fd, size_t want, void **ret)
{
	uint32_t n = (uint32_t)min_u64(want, SEND_MAX);
	int64_t r = must_be_stream(fd);
	struct copy *c;

	if (r)
		return r;
	c = copy_of(fd, SEND);
	if (!c || !has_room(c, n <= SEND_MIN ? SEND_MIN : SEND_MAX))
		return -ENOMEM;
	c->at = 0;
	c->n = n;
	*ret = c->mem;
	return n;
}

int64_t copy_commit(int fd, struct ent e, size_t n)
{
	struct copy *c = copy_of(fd, SEND);
	size_t sent = 0;
	int64_t r = 0;

	if (!c)
		return -ENOMEM;
	if (n > c->n - c->at)
		return -EINVAL;
	while (sent < n) {
		struct iovec v = { c->mem + c->at, n - sent };
		struct io io = { .iov = &v, .n_iov = 1, .flags = MSG_NOSIGNAL, .fd = fd };

		r = e.kind == FD_TCP ? tcp_write(e, &io) :
				       sys_sendto(fd, c->mem + c->at, n - sent, MSG_NOSIGNAL, NULL, 0);
		if (r <= 0)
			break;
		c->at += (uint32_t)r;
		sent += (size_t)r;
	}
	if (sent == n || (r < 0 && r != -EAGAIN && r != -EINTR))
		c->at = c->n = 0;	/* over, by its end or by the connection's */
	return sent || !n ? (int64_t)sent : r;
}
