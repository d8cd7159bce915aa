/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams. Below a UDP socket of ours the kernel's is bound to the same port and serves what
 * does not come over an attached interface: a read that finds nothing here looks there, and
 * a datagram to somewhere only the kernel reaches is sent there.
 *
 * So that a busy loop of reads does not cost a system call each, the kernel's side is looked
 * at in growing intervals while it has nothing (kernel_due(), at most 1 ms). A read that is
 * going to block looks every time.
 */
#include "sock/dgram.h"
#include "sock/local.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>

#define RX_SHOWS (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)
/* What a send may be flagged with that we know; the kernel sends the others. */
#define TX_FLAGS (MSG_DONTWAIT | MSG_NOSIGNAL | MSG_CONFIRM | MSG_EOR | MSG_ZEROCOPY)

struct arrival {
	struct udp_arrival of;
	struct udp_opts opts;
	struct udp_trouble why;
	bool v6;
};

/* In a turn: a datagram, or an error, with all that is known of it. */
static int64_t take(struct turn *t, struct sk *sk, const struct io *io, struct arrival *a)
{
	uint32_t flags = io->flags & MSG_PEEK ? UDP_RECV_PEEK : 0;

	a->v6 = sk->flags & SK_F_FAMILY6;
	udp_get_opts(t, sk, &a->opts);
	if (io->flags & MSG_ERRQUEUE)
		return udp_recv_error(t, sk, io->iov, io->n_iov, &a->of, &a->why);
	if (a->opts.gro)
		flags |= UDP_RECV_JOIN;
	return udp_recv(t, sk, io->iov, io->n_iov, flags, &a->of);
}

/*
 * Each socket has its own pace: one that is read first in a loop over many must not use up the looks of
 * the others. Where poll() has just found something on the kernel's side, all are looked at.
 */
#define GAP_MIN_NS 50000u
#define GAP_MAX_NS 1000000u

static bool kernel_due(const struct sk *sk)
{
	const struct udp *u = udp_of(sk);

	return sk->user & SKU_RETURNED || (self.foreign_at && !self.foreign_gap_ns) ||
	       host_now() - u->looked_at >= u->look_gap_ns;
}

static void kernel_looked(struct sk *sk, bool found)
{
	struct udp *u = udp_of(sk);

	u->looked_at = host_now();
	u->look_gap_ns = found ? 0 : min_u32(max_u32(u->look_gap_ns * 2, GAP_MIN_NS), GAP_MAX_NS);
}

static int64_t recv_turn(struct ent e, const struct io *io, struct arrival *a)
{
	struct turn t;
	struct sk *sk = sk_peek(e.h);
	int64_t r = -EBADF;

	if (sk && !(peek32(&sk->ready) & RX_SHOWS) && !sk_due())
		return -EAGAIN;
	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk) {
		r = take(&t, sk, io, a);
		if (r == -EAGAIN) {
			exec_round(&self.x, &t);
			r = take(&t, sk, io, a);
		}
	}
	sk_leave(&t, me.batch != 0);
	return r;
}

static int64_t recv_kernel(struct io *io, struct sockaddr *sa, socklen_t *sa_n, int *ret_flags)
{
	struct msghdr m = { .msg_name = sa, .msg_namelen = sa_n ? *sa_n : 0,
			    .msg_iov = io->iov, .msg_iovlen = io->n_iov,
			    .msg_control = io->ctl, .msg_controllen = io->ctl ? io->ctl_n : 0 };
	int64_t r = sys_recvmsg(io->fd, &m, io->flags | MSG_DONTWAIT);

	if (r < 0)
		return r;
	if (sa_n)
		*sa_n = m.msg_namelen;
	io->ctl_n = m.msg_controllen;
	*ret_flags = m.msg_flags & ~MSG_DONTWAIT;
	return r;
}

/* A link-local peer is one only together with its link (RFC 4007 6). */
static void name_emit(const struct arrival *a, struct sockaddr *sa, socklen_t *sa_n)
{
	struct sockaddr_in6 *six = (struct sockaddr_in6 *)(void *)sa;
	const uint8_t *b = a->of.from.addr.b;
	socklen_t room = sa_n ? *sa_n : 0;

	addr_emit(&a->of.from.addr, a->of.from.port, a->v6, sa, sa_n);
	if (sa && a->v6 && b[0] == 0xfe && (b[1] & 0xc0) == 0x80 && room >= sizeof(*six))
		six->sin6_scope_id = a->of.ifindex;
}

/* struct sock_extended_err and the offender, as ip_recv_error() and ipv6_recv_error() lay them out:
 * what the message's own control messages were comes before it. */
static void error_emit(struct cmsg_out *c, const struct arrival *a)
{
	struct {
		struct sock_extended_err ee;
		union { struct sockaddr_in a4; struct sockaddr_in6 a6; } offender;
	} err = { .ee = { .ee_errno = (uint32_t)a->why.err, .ee_origin = a->why.origin, .ee_type = a->why.type,
			  .ee_code = a->why.code, .ee_info = a->why.info } };
	socklen_t n = a->v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);

	if (a->why.origin != SO_EE_ORIGIN_LOCAL) {
		addr_emit(&a->why.from, 0, a->v6, &err.offender, &n);
		cmsg_arrival(c, &a->opts, &a->of, a->v6, true);
	} else {
		cmsg_stamps(c, &a->opts, &a->of);
	}
	cmsg_put(c, a->v6 ? IPPROTO_IPV6 : IPPROTO_IP, a->v6 ? IPV6_RECVERR : IP_RECVERR, &err, sizeof(err.ee) + n);
	c->flags |= MSG_ERRQUEUE;
}

static int64_t recv_done(struct io *io, const struct arrival *a, int64_t r, struct sockaddr *sa, socklen_t *sa_n,
			 int *ret_flags)
{
	struct cmsg_out c = { .at = io->ctl, .room = io->ctl ? io->ctl_n : 0 };

	name_emit(a, sa, sa_n);
	if (io->flags & MSG_ERRQUEUE)
		error_emit(&c, a);
	else if (a->opts.wants || a->opts.stamp || a->opts.stamping || a->opts.gro)
		cmsg_arrival(&c, &a->opts, &a->of, a->v6, false);
	io->ctl_n = c.used;
	/* Without a buffer nothing was asked for: recv() and read() say nothing of it. */
	*ret_flags = c.flags | (a->of.full > (uint64_t)r ? MSG_TRUNC : 0);
	return io->flags & MSG_TRUNC && !(io->flags & MSG_ERRQUEUE) ? (int64_t)a->of.full : r;
}

/* The error queue: ours, then that of the kernel's socket, which has sent for us. Never waits. */
static int64_t read_errors(struct ent e, struct io *io, struct sockaddr *sa, socklen_t *sa_n, int *ret_flags)
{
	struct arrival a;
	int64_t r = recv_turn(e, io, &a);

	if (r >= 0)
		return recv_done(io, &a, r, sa, sa_n, ret_flags);
	return r == -EAGAIN ? recv_kernel(io, sa, sa_n, ret_flags) : r;
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

	if (unlikely(io->flags & MSG_ERRQUEUE))
		return read_errors(e, io, sa, sa_n, ret_flags);
	for (;;) {
		r = recv_turn(e, io, &a);
		if (r >= 0)
			return recv_done(io, &a, r, sa, sa_n, ret_flags);
		if (r != -EAGAIN)
			return r;
		sk = sk_peek(e.h);
		if (!sk)
			return -EBADF;
		if (waiting ? look : kernel_due(sk)) {
			r = recv_kernel(io, sa, sa_n, ret_flags);
			kernel_looked(sk, r != -EAGAIN);
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

static int64_t send_turn(struct ent e, const struct io *io, const struct udp_out *o, bool *ret_ours)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	*ret_ours = sk && (o->to || sk->flags & SK_F_CONNECTED);
	if (*ret_ours) {
		r = udp_send(&t, sk, io->iov, io->n_iov, o);
		if (r == -EAGAIN) {
			exec_round(&self.x, &t);
			r = udp_send(&t, sk, io->iov, io->n_iov, o);
		}
	}
	sk_leave(&t, r > 0 && me.batch && --me.batch);
	return sk ? r : -EBADF;
}

static int64_t send_kernel(const struct io *io, const struct sockaddr *sa, socklen_t sa_n)
{
	struct msghdr m = { .msg_name = (void *)(uintptr_t)sa, .msg_namelen = sa_n,
			    .msg_iov = io->iov, .msg_iovlen = io->n_iov,
			    .msg_control = io->ctl, .msg_controllen = io->ctl ? io->ctl_n : 0 };

	return sys_sendmsg(io->fd, &m, io->flags);
}

/* MSG_MORE makes one datagram of several sends, which is the kernel's until the last of them. */
static int64_t send_corked(struct sk *sk, const struct io *io, const struct sockaddr *sa, socklen_t sa_n)
{
	int64_t r = send_kernel(io, sa, sa_n);

	if (io->flags & MSG_MORE && r >= 0)
		sk->user |= SKU_CORKED;
	else if (!(io->flags & MSG_MORE))
		sk->user &= ~SKU_CORKED;
	return r;
}

/*
 * A datagram that does not fit the path is cut up by the kernel, which has not heard of routers on the
 * way: their messages about this port came to us. So its socket is told what we know: without
 * DF the routers cut IPv4's; IPv6's are cut at the source (RFC 8200 5).
 */
static void tell_mtu(struct ent e, const struct io *io)
{
	struct sk *sk = sk_peek(e.h);
	int v = IP_PMTUDISC_DONT, mtu;

	if (!sk || !(sk->path.flags & PATH_PMTU))
		return;
	mtu = sk->path.mtu;
	if (sk->flags & SK_F_FAMILY6)
		(void)sys_setsockopt(io->fd, IPPROTO_IPV6, IPV6_MTU, &mtu, sizeof(mtu));
	if (udp_of(sk)->o.pmtud4 == UDP_PMTUD_WANT)
		(void)sys_setsockopt(io->fd, IPPROTO_IP, IP_MTU_DISCOVER, &v, sizeof(v));
}

/* The peer of a connected socket, if it is on this host. */
static bool connected_locally(const struct sk *sk, struct udp_addr *ret)
{
	*ret = (struct udp_addr){ sk->raddr, sk->rport };
	return sk->flags & SK_F_CONNECTED && local_is(&ret->addr);
}

int64_t dgram_write(struct ent e, struct io *io, const struct sockaddr *sa, socklen_t sa_n)
{
	struct sk *sk = sk_peek(e.h);
	struct cmsg_wish w = { .out = { .to = NULL } };
	struct udp_addr to;
	bool ours = false, is4;
	struct wait wt;
	int64_t r;
	int err;

	if (!sk)
		return -EBADF;
	if (unlikely(sk->user & (SKU_RETURNED | SKU_CORKED) || io->flags & ~TX_FLAGS))
		return send_corked(sk, io, sa, sa_n);
	if (sa && addr_parse(sa, sa_n, &to.addr, &to.port))
		return send_kernel(io, sa, sa_n);
	is4 = ip_is4(sa ? &to.addr : &sk->raddr);
	if (io->ctl && io->ctl_n && cmsg_parse(io, is4, &w) == CMSG_KERNELS)
		return send_kernel(io, sa, sa_n);
	if (sa ? local_is(&to.addr) : connected_locally(sk, &to)) {
		w.out.to = &to;
		r = local_dgram(e, io, &w.out);
		return r == SK_PASS ? send_kernel(io, sa, sa_n) : r;
	}
	w.out.to = sa ? &to : NULL;
	for (;;) {
		r = send_turn(e, io, &w.out, &ours);
		if (r == -EOPNOTSUPP)	/* fragments are the kernel's */
			tell_mtu(e, io);
		if (!ours || r == -EINVAL || r == -ENETUNREACH || r == -EOPNOTSUPP)
			return r == -EBADF && ours ? r : send_kernel(io, sa, sa_n);
		if (r != -EAGAIN)
			return r;
		sk = sk_peek(e.h);
		if (!sk || io->flags & MSG_DONTWAIT || sk->user & SKU_NONBLOCK)
			return sk ? -EAGAIN : -EBADF;
		wait_init(&wt, until_ms(sk->sndtimeo_ms));
		wait_sk(&wt, e.h, EPOLLOUT);
		err = wait_for(&wt);
		if (err)
			return err == -ETIMEDOUT ? -EAGAIN : err;
	}
}
