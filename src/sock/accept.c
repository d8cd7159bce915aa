/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * accept and the names of connections. A listener has two queues: ours and that of the
 * kernel's socket below it; ours first.
 *
 * The descriptor of a connection of ours is a copy of an unconnected kernel socket (dup is a
 * tenth of socket + close). It is made before the connection is taken, because a connection
 * cannot be put back when descriptors have run out.
 */
#include "sock/handback.h"
#include "sock/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

/* The descriptor for a connection about to be taken. */
static int spare_fd(bool v6, int flags)
{
	int template = stack_template(v6);

	if (template < 0)
		return template;
	return sys_fcntl(template, flags & SOCK_CLOEXEC ? F_DUPFD_CLOEXEC : F_DUPFD, 0);
}

struct peer { struct ipaddr addr; uint16_t port; bool v6; };

/* Next of our own queue: the descriptor, or -EAGAIN. */
static int accept_ours(struct ent e, int flags, struct peer *ret)
{
	struct ent ne = { .kind = FD_TCP };
	struct sk *l = sk_peek(e.h), *sk;
	struct turn t;
	int fd;

	if (!l)
		return -EBADF;
	/* Another process of this stack may have seen to it that something is here to accept, by a
	 * pair that this one has not mapped yet: what was sent would be told of and not be found. */
	if (unlikely(exec_pairs_changed(&self.x)) && !me.in_turn)
		sk_pairs();
	if (!(peek32(&l->ready) & (EPOLLIN | EPOLLHUP)) && sk_due())
		sk_round();
	if (!(peek32(&l->ready) & (EPOLLIN | EPOLLHUP)))
		return -EAGAIN;
	ret->v6 = l->flags & SK_F_FAMILY6;
	fd = spare_fd(ret->v6, flags);
	if (fd < 0)
		return fd;
	if (!sk_enter(&t)) {
		sys_close(fd);
		return -EINTR;
	}
	l = sk_find(&t, (sk_h){ e.h });
	sk = l ? tcp_accept(&t, l) : NULL;
	if (sk) {
		sk_ref(&t, sk, self.x.proc);
		sk->user = flags & SOCK_NONBLOCK ? SKU_NONBLOCK : 0;
		sk->rcvtimeo_ms = l->rcvtimeo_ms;
		sk->sndtimeo_ms = l->sndtimeo_ms;
		if (ret->v6)
			sk->flags |= SK_F_FAMILY6;
		ne.h = sk->self;
		ne.reason = is_ap(sk) ? REASON_APERTURE : REASON_NONE;
		ret->addr = sk->raddr;
		ret->port = sk->rport;
	}
	sk_leave(&t, me.batch != 0);
	if (!sk) {
		sys_close(fd);
		return l && l->state == TCP_S_LISTEN ? -EAGAIN : l ? -EINVAL : -EBADF;
	}
	fd_put(fd, ne);
	return fd;
}

/* A connection of the kernel's: its descriptor, known as such. */
static int accept_kernel(int fd, struct ent e, struct sockaddr *sa, socklen_t *n, int flags)
{
	struct ent ne = { .kind = FD_PLAIN, .reason = REASON_KERNEL_PEER };
	int r = sys_accept4(fd, sa, n, flags);

	if (r < 0)
		return r;
	ne.flags = (uint8_t)((flags & SOCK_NONBLOCK ? FDF_NONBLOCK : 0) | (e.flags & FDF_V6));
	fd_put(r, ne);
	return r;
}

int64_t sk_accept4(int fd, struct sockaddr *sa, socklen_t *n, int flags)
{
	struct pollfd pfd[WAIT_ROOM + 1] = { { .fd = fd, .events = POLLIN } };
	struct ent e = fd_get(fd);
	bool waiting = false;
	struct peer p;
	struct wait w;
	struct sk *l;
	int r;

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (!ent_is_ours(e))
		return SK_PASS;
	if (flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC))
		return -EINVAL;
	if (e.kind != FD_LISTEN)
		return e.kind == FD_UDP ? -EOPNOTSUPP : -EINVAL;
	for (;;) {
		r = accept_ours(e, flags, &p);
		if (r >= 0)
			addr_emit(&p.addr, p.port, p.v6, sa, n);
		if (r != -EAGAIN)
			return r;
		l = sk_peek(e.h);
		if (unlikely(l && l->user & SKU_PASSED) && listener_is_done()) {
			listener_finish(fd);
			return SK_PASS;
		}
		r = accept_kernel(fd, e, sa, n, flags);
		if (r != -EAGAIN)
			return r;
		l = sk_peek(e.h);
		if (!l)
			return -EBADF;
		if (l->user & SKU_NONBLOCK)
			return -EAGAIN;
		if (!waiting) {
			wait_init(&w, until_ms(l->rcvtimeo_ms));
			wait_sk(&w, e.h, EPOLLIN);
			w.pfd = pfd;
			w.n_pfd = 1;
			waiting = true;
		}
		r = wait_for(&w);
		if (r)
			return r == -ETIMEDOUT ? -EAGAIN : r;
	}
}

int64_t sk_accept(int fd, struct sockaddr *sa, socklen_t *n)
{
	return sk_accept4(fd, sa, n, 0);
}

/* ---- names, shutdown ------------------------------------------------------------------------- */

static int64_t give_name(const struct sk *sk, bool peer, void *sa, socklen_t *n)
{
	if (is_wild(n) || (is_wild(sa) && *n))
		return -EFAULT;
	if ((int)*n < 0)
		return -EINVAL;
	addr_emit(peer ? &sk->raddr : &sk->laddr, peer ? sk->rport : sk->lport, sk->flags & SK_F_FAMILY6, sa, n);
	return 0;
}

int64_t sk_getsockname(int fd, struct sockaddr *sa, socklen_t *n)
{
	struct ent e = fd_get(fd);
	struct sk *sk = sk_peek(e.h);

	if (!sk)
		return -EBADF;
	/* The kernel knows what a listener or a bound datagram socket was bound to. */
	if (e.kind == FD_LISTEN || (e.kind == FD_UDP && !(sk->flags & SK_F_CONNECTED)))
		return SK_PASS;
	return give_name(sk, false, sa, n);
}

int64_t sk_getpeername(int fd, struct sockaddr *sa, socklen_t *n)
{
	struct ent e = fd_get(fd);
	struct sk *sk = sk_peek(e.h);

	if (!sk)
		return -EBADF;
	if (e.kind == FD_UDP && !(sk->flags & SK_F_CONNECTED))
		return SK_PASS;
	if (e.kind == FD_LISTEN ||
	    (e.kind == FD_TCP && (sk->state == TCP_S_SYN_SENT || sk->state == TCP_S_CLOSED)))
		return -ENOTCONN;
	return give_name(sk, true, sa, n);
}

int64_t sk_shutdown(int fd, int how)
{
	struct ent e = fd_get(fd);
	struct turn t;
	struct sk *sk;
	int r = -EBADF;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk)
		r = e.kind == FD_UDP ? udp_shutdown(&t, sk, how) : stream_shutdown(&t, sk, how);
	sk_leave(&t, false);
	if (sk && e.kind != FD_TCP)
		(void)sys_shutdown(fd, how);
	return r;
}
