/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams. Below a UDP socket of ours the kernel's is bound to the same port and serves what
 * does not come over an attached interface: a read that finds nothing here looks there, and
 * a datagram to somewhere only the kernel reaches is sent there.
 *
 * So that a busy loop of reads does not cost a system call each, the kernel's side is looked
 * at in growing intervals while it has nothing (foreign_due(), at most 1 ms). A read that is
 * going to block looks every time.
 */
#include "sock/io.h"
#include "sock/local.h"

#include <errno.h>
#include <netinet/in.h>

#define RX_SHOWS (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)

struct arrival { struct udp_addr from; uint32_t full; bool v6, connected; };

static int64_t recv_turn(struct ent e, const struct io *io, struct arrival *a)
{
	uint32_t flags = io->flags & MSG_PEEK ? UDP_RECV_PEEK : 0;
	struct turn t;
	struct sk *sk = sk_peek(e.h);
	int64_t r = -EBADF;

	if (sk && !(peek32(&sk->ready) & RX_SHOWS) && !sk_due())
		return -EAGAIN;
	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk) {
		a->v6 = sk->flags & SK_F_FAMILY6;
		r = udp_recv(&t, sk, io->iov, io->n_iov, flags, &a->from, &a->full);
		if (r == -EAGAIN) {
			exec_round(&self.x, &t);
			r = udp_recv(&t, sk, io->iov, io->n_iov, flags, &a->from, &a->full);
		}
	}
	sk_leave(&t, me.batch != 0);
	return r;
}

static int64_t recv_kernel(const struct io *io, struct sockaddr *sa, socklen_t *sa_n, int *ret_flags)
{
	struct msghdr m = { .msg_name = sa, .msg_namelen = sa_n ? *sa_n : 0,
			    .msg_iov = io->iov, .msg_iovlen = io->n_iov };
	int64_t r = sys_recvmsg(io->fd, &m, io->flags | MSG_DONTWAIT);

	if (r >= 0 && sa_n)
		*sa_n = m.msg_namelen;
	if (r >= 0)
		*ret_flags = m.msg_flags;
	return r;
}

static int64_t recv_done(const struct io *io, const struct arrival *a, int64_t r,
			 struct sockaddr *sa, socklen_t *sa_n, int *ret_flags)
{
	addr_emit(&a->from.addr, a->from.port, a->v6, sa, sa_n);
	*ret_flags = a->full > (uint64_t)r ? MSG_TRUNC : 0;
	return io->flags & MSG_TRUNC ? (int64_t)a->full : r;
}

int64_t dgram_read(struct ent e, struct io *io, struct sockaddr *sa, socklen_t *sa_n, int *ret_flags)
{
	struct pollfd pfd[WAIT_ROOM + 1] = { { .fd = io->fd, .events = POLLIN } };
	bool waiting = false, look = false;
	struct arrival a;
	struct wait w;
	struct sk *sk;
	int64_t r;
	int err;

	for (;;) {
		r = io->flags & MSG_ERRQUEUE ? -EAGAIN : recv_turn(e, io, &a);
		if (r >= 0)
			return recv_done(io, &a, r, sa, sa_n, ret_flags);
		if (r != -EAGAIN)
			return r;
		sk = sk_peek(e.h);
		if (!sk)
			return -EBADF;
		if (waiting ? look : foreign_due(host_now())) {
			r = recv_kernel(io, sa, sa_n, ret_flags);
			foreign_found(host_now(), r >= 0);
			if (r != -EAGAIN)
				return r;
		}
		if (io->flags & MSG_DONTWAIT || sk->user & SKU_NONBLOCK)
			return -EAGAIN;
		if (!waiting) {
			wait_init(&w, until_ms(sk->rcvtimeo_ms));
			wait_sk(&w, e.h, EPOLLIN | EPOLLRDHUP);
			w.pfd = pfd;
			w.n_pfd = 1;
			waiting = true;
		}
		err = wait_for(&w);
		if (err)
			return err == -ETIMEDOUT ? -EAGAIN : err;
		look = w.foreign;
	}
}

/* ---- sending ------------------------------------------------------------------------------------- */

static int64_t send_turn(struct ent e, const struct io *io, const struct udp_addr *to, bool *ret_ours)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	*ret_ours = sk && (to || sk->flags & SK_F_CONNECTED);
	if (*ret_ours) {
		r = udp_send(&t, sk, io->iov, io->n_iov, to);
		if (r == -EAGAIN) {
			exec_round(&self.x, &t);
			r = udp_send(&t, sk, io->iov, io->n_iov, to);
		}
	}
	sk_leave(&t, r > 0 && (io->flags & MSG_MORE || (me.batch && --me.batch)));
	return sk ? r : -EBADF;
}

static int64_t send_kernel(const struct io *io, const struct sockaddr *sa, socklen_t sa_n)
{
	struct msghdr m = { .msg_name = (void *)(uintptr_t)sa, .msg_namelen = sa_n,
			    .msg_iov = io->iov, .msg_iovlen = io->n_iov };

	return sys_sendmsg(io->fd, &m, io->flags);
}

/* The peer of a connected socket, if it is on this host. */
static bool connected_locally(struct ent e, struct udp_addr *ret)
{
	struct sk *sk = sk_peek(e.h);

	if (!sk || !(sk->flags & SK_F_CONNECTED))
		return false;
	*ret = (struct udp_addr){ sk->raddr, sk->rport };
	return local_is(&ret->addr);
}

int64_t dgram_write(struct ent e, struct io *io, const struct sockaddr *sa, socklen_t sa_n)
{
	struct udp_addr to;
	bool ours = false;
	struct wait w;
	struct sk *sk;
	int64_t r;
	int err;

	if (sa && addr_parse(sa, sa_n, &to.addr, &to.port))
		return send_kernel(io, sa, sa_n);
	if (sa ? local_is(&to.addr) : connected_locally(e, &to)) {
		r = local_dgram(e, io, &to);
		return r == SK_PASS ? send_kernel(io, sa, sa_n) : r;
	}
	for (;;) {
		r = send_turn(e, io, sa ? &to : NULL, &ours);
		/* EOPNOTSUPP: it takes fragments, which are the kernel's. */
		if (!ours || r == -EINVAL || r == -ENETUNREACH || r == -EOPNOTSUPP)
			return r == -EBADF && ours ? r : send_kernel(io, sa, sa_n);
		if (r != -EAGAIN)
			return r;
		sk = sk_peek(e.h);
		if (!sk || io->flags & MSG_DONTWAIT || sk->user & SKU_NONBLOCK)
			return sk ? -EAGAIN : -EBADF;
		wait_init(&w, until_ms(sk->sndtimeo_ms));
		wait_sk(&w, e.h, EPOLLOUT);
		err = wait_for(&w);
		if (err)
			return err == -ETIMEDOUT ? -EAGAIN : err;
	}
}
