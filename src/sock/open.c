/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * socket, bind, connect, listen: where it is decided who serves a socket.
 *
 * socket() makes a kernel socket and nothing else: FD_PLAIN, undecided. TCP is decided by
 * connect() or listen(), UDP by bind(), connect() or its first datagram. Deciding for the
 * kernel is final and leaves a reason; deciding for us keeps the kernel's socket below, which
 * holds the number, the port and the right to it (a lease is proved by that descriptor).
 *
 * A listener listens here first, then in the kernel: the other way round, a client could begin
 * its handshake with the kernel and end it with us. Who comes by an interface that is not
 * attached, or is a program of this host that is not accelerated, meets the kernel's.
 */
#include "sock/dgram.h"
#include "sock/local.h"
#include "sock/stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

#define SOMAXCONN_MAX 4096	/* the kernel's default net.core.somaxconn */

int64_t sk_socket(int family, int type, int proto)
{
	int base = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), fd;
	struct ent e = { .kind = FD_PLAIN, .reason = REASON_UNDECIDED };

	if ((family != AF_INET && family != AF_INET6) ||
	    (base != SOCK_STREAM && base != SOCK_DGRAM) ||
	    (proto != 0 && proto != (base == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP)))
		return SK_PASS;
	fd = sys_socket(family, type, proto);
	if (fd < 0)
		return fd;
	if (self.state == ST_LEFT || fd_table() < 0)
		return fd;
	e.flags = (uint8_t)((type & SOCK_NONBLOCK ? FDF_NONBLOCK : 0) |
			    (base == SOCK_DGRAM ? FDF_DGRAM : 0) | (family == AF_INET6 ? FDF_V6 : 0));
	fd_put(fd, e);
	return fd;
}

/* The kernel for good, or with --strict an error. `err` is what strict programs get. */
static int64_t fall_back(int fd, struct ent e, enum reason why, int err)
{
	if (strict_fails(why))
		return err;
	fd_kernel(fd, e, why);
	return SK_PASS;
}

/* ---- leases --------------------------------------------------------------------------------- */

static enum reason reason_of_lease(int err)
{
	switch (err) {
	case -EADDRNOTAVAIL:
		return REASON_NOT_ATTACHED_ADDR;
	case -ENOTCONN:
	case -EPIPE:
		return REASON_NO_AGENT;
	default:
		return REASON_LEASE_REFUSED;
	}
}

/* The right to this socket's local address and port, as the kernel says it has them. */
static enum reason lease(int fd, struct ent e, struct ctl_lease *ret)
{
	struct sockaddr_in6 sa;
	socklen_t n = sizeof(sa);
	uint64_t cookie = 0;
	socklen_t cookie_n = sizeof(cookie);
	int v6only = 1, err;

	memset(ret, 0, sizeof(*ret));
	(void)sys_getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &cookie_n);
	ret->cookie = (uint32_t)cookie;
	if (sys_getsockname(fd, &sa, &n) < 0 || addr_parse(&sa, n, &ret->laddr, &ret->lport))
		return REASON_NOT_ATTACHED_ADDR;
	n = sizeof(v6only);
	if (e.flags & FDF_V6)
		(void)sys_getsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, &n);
	ret->proto = e.flags & FDF_DGRAM ? IPPROTO_UDP : IPPROTO_TCP;
	/* A socket bound to one address has that address only, whatever IPV6_V6ONLY says: Java binds
	 * all of its sockets to ::ffff:a.b.c.d. */
	ret->family6_dual = !v6only && ip_is_any(&ret->laddr) && !ip_is4(&ret->laddr);
	agent_enter();
	err = exec_lease_add(&self.x, ret, fd);
	agent_leave();
	return err ? reason_of_lease(err) : REASON_NONE;
}

static void unlease(const struct ctl_lease *l)
{
	agent_enter();
	(void)exec_lease_del(&self.x, l);
	agent_leave();
}

/* In a turn: ours from now on. */
static void take_over(struct turn *t, struct sk *sk, struct ent e, uint32_t user)
{
	sk_ref(t, sk, self.x.proc);
	sk->user = user | (e.flags & FDF_NONBLOCK ? SKU_NONBLOCK : 0);
	if (e.flags & FDF_V6)
		sk->flags |= SK_F_FAMILY6;
}

/* ---- UDP --------------------------------------------------------------------------------------- */

static enum reason reason_of_route(int err)
{
	return err == -EADDRNOTAVAIL ? REASON_NO_PORT : err == -ENOBUFS ? REASON_NO_SOCKET_SLOT :
	       REASON_NO_ROUTE;
}

/* An address of this host; a hint for people, so the mirror's lock is not taken. */
static bool is_own_address(const struct ipaddr *a)
{
	const struct mirror *m = self.x.map.mirror;
	uint32_t i, n = m ? min_u32(m->n_addrs, N_ADDRS) : 0;

	for (i = 0; i < n; i++)
		if (m->addrs[i].ifindex && ip_eq(&m->addrs[i].addr, a))
			return true;
	return false;
}

/* What the kernel's socket is bound to. */
static int source_of(int fd, struct ipaddr *ret, uint16_t *ret_port)
{
	struct sockaddr_in6 sa;
	socklen_t n = sizeof(sa);
	int r = sys_getsockname(fd, &sa, &n);

	return r < 0 ? r : addr_parse(&sa, n, ret, ret_port);
}

/* The profile keeps what this socket was bound to in the kernel. */
static bool is_kept(int fd, struct ent e)
{
	struct ipaddr a;
	uint16_t port;

	return policy_on() && e.flags & FDF_BOUND && source_of(fd, &a, &port) == 0 && policy_keeps(&a, port);
}

/* A bound datagram socket becomes ours: lease, then the core's. The kernel's stays bound
 * and is read as well, for what comes by loopback. */
static enum reason udp_adopt(int fd, struct ent e)
{
	struct ctl_lease l;
	enum reason why = twins_elsewhere(fd, e) ? REASON_FORKED : stack_need();
	uint32_t rcvtimeo, sndtimeo;
	struct udp_opts uo = { .pmtud4 = UDP_PMTUD_WANT, .pmtud6 = UDP_PMTUD_WANT };
	struct tcp_opts o;
	struct turn t;
	struct sk *sk;
	int err;

	if (why != REASON_NONE)
		return why;
	if (is_kept(fd, e))
		return REASON_POLICY;
	if (opts_want_kernel(fd, e))
		return REASON_OPTION;
	why = lease(fd, e, &l);
	if (why != REASON_NONE)
		return why;
	opts_read_back(fd, e, &o, &rcvtimeo, &sndtimeo);
	dgram_opts_read_back(fd, e, &uo);
	if (!sk_enter(&t))
		return REASON_NO_SOCKET_SLOT;
	err = o.reuseport ? udp_open_shared(&t, &l.laddr, l.lport, &sk) : udp_open(&t, &l.laddr, l.lport, &sk);
	if (!err) {
		take_over(&t, sk, e, SKU_LEASED | SKU_KERNEL_TOO);
		sk->lease_cookie = l.cookie;
		sk->rcvtimeo_ms = rcvtimeo;
		sk->sndtimeo_ms = sndtimeo;
		sk->rcvbuf = o.rcvbuf_locked ? o.rcvbuf : sk->rcvbuf;
		sk->sndbuf = o.sndbuf_locked ? o.sndbuf : sk->sndbuf;
		udp_set_opts(&t, sk, &uo);
		if (e.flags & FDF_V6 && !l.family6_dual && !ip_is4(&l.laddr))
			sk->flags |= SK_F_V6ONLY;
		e.h = sk->self;
	}
	sk_leave(&t, false);
	if (err) {
		unlease(&l);
		return err == -ENOBUFS ? REASON_NO_SOCKET_SLOT : REASON_LEASE_REFUSED;
	}
	e.kind = FD_UDP;
	e.reason = REASON_NONE;
	twins_put(fd, e);
	return REASON_NONE;
}

static int64_t udp_decide(int fd, struct ent e, int err)
{
	enum reason why;

	e = twins_know(fd, e);
	why = udp_adopt(fd, e);
	return why == REASON_NONE ? 0 : fall_back(fd, e, why, err);
}

/* The kernel picks a port for a socket that was never bound. */
static int kernel_autobind(int fd, struct ent e)
{
	struct sockaddr_in6 any = { .sin6_family = e.flags & FDF_V6 ? AF_INET6 : AF_INET };

	return sys_bind(fd, &any, e.flags & FDF_V6 ? sizeof(any) : sizeof(struct sockaddr_in));
}

/* The first datagram of a socket that was never bound. */
int64_t udp_autobind(int fd)
{
	struct ent e = fd_get(fd);
	int r;

	if (e.kind != FD_PLAIN || e.reason != REASON_UNDECIDED || !(e.flags & FDF_DGRAM))
		return SK_PASS;
	r = kernel_autobind(fd, e);
	if (r < 0 && r != -EINVAL)	/* -EINVAL: bound already */
		return SK_PASS;
	e.flags |= FDF_BOUND;
	return udp_decide(fd, e, -ENETUNREACH);
}

/* connect() of a datagram socket that is ours: the kernel's follows, so that its side of
 * the world (loopback, other interfaces) stays right. */
static int64_t udp_reconnect(int fd, struct ent e, const struct sockaddr *sa, socklen_t n)
{
	struct ipaddr to, mine;
	uint16_t port, lport;
	struct turn t;
	struct sk *sk;
	int err = -EBADF, r;
	bool known = addr_parse(sa, n, &to, &port) == 0, local = known && local_is(&to);

	/* Fragments, and whatever else is not steered to us, find the kernel's by its peer. */
	r = sys_connect(fd, sa, n);
	if (r < 0)
		return r;
	if (known && policy_keeps(&to, port)) {
		dgram_return(fd, e, REASON_POLICY);
		return 0;
	}
	if (local && source_of(fd, &mine, &lport))
		return 0;
	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && local) {
		to = local_target(&to);
		err = udp_connect_local(&t, sk, &mine, &to, port);
	} else if (sk) {
		err = udp_connect(&t, sk, known ? &to : NULL, known ? port : 0);
	}
	sk_leave(&t, false);
	if (err != -EINVAL && err != -ENETUNREACH)
		return err == -EAGAIN ? 0 : err;
	/* A peer that only the kernel reaches: ours would still be open to everybody. */
	dgram_return(fd, e, REASON_NO_ROUTE);
	return 0;
}

/* ---- bind ------------------------------------------------------------------------------------------ */

/* The kernel's socket is bound to a: what follows from that. */
static int64_t bound(int fd, struct ent e, const struct ipaddr *a)
{
	fd_flags(fd, FDF_BOUND, 0);
	e.flags |= FDF_BOUND;
	if (!(e.flags & FDF_DGRAM))
		return 0;
	if (!a) {
		fd_kernel(fd, e, REASON_NOT_ATTACHED_ADDR);
		return 0;
	}
	if (a->b[0] == 0xff || (ip_is4(a) && ip_to4(a) >> 28 == 14)) {	/* multicast */
		fd_kernel(fd, e, REASON_OPTION);
		return 0;
	}
	return udp_decide(fd, e, -ENETUNREACH) == -ENETUNREACH ? -ENETUNREACH : 0;
}

/* bind() of a socket that is ours fails: in the words of the kernel, whose socket below is bound too,
 * or, where that is only a placeholder, of another that is asked instead. */
static int64_t bind_again(int fd, struct ent e, const struct sockaddr *sa, socklen_t n)
{
	struct sk *sk = sk_peek(e.h);
	int spare, r;

	if (e.kind != FD_TCP)
		return sys_bind(fd, sa, n);
	spare = sys_socket(sk && sk->flags & SK_F_FAMILY6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	r = spare < 0 ? 0 : sys_bind(spare, sa, n);
	if (spare >= 0)
		sys_close(spare);
	/* IPv4 looks at the address first, IPv6 at the socket. */
	if (r == -EADDRNOTAVAIL && sk && sk->flags & SK_F_FAMILY6 && sk->state != TCP_S_CLOSED)
		return -EINVAL;
	return r == -EADDRNOTAVAIL || r == -EAFNOSUPPORT || r == -EFAULT ? r : -EINVAL;
}

int64_t sk_bind(int fd, const struct sockaddr *sa, socklen_t n)
{
	struct ent e = fd_get(fd);
	struct ipaddr a;
	uint16_t port;
	int r;

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (ent_is_ours(e))
		return bind_again(fd, e, sa, n);
	if (e.kind != FD_PLAIN || e.reason != REASON_UNDECIDED)
		return SK_PASS;
	r = sys_bind(fd, sa, n);
	return r < 0 ? r : bound(fd, e, addr_parse(sa, n, &a, &port) ? NULL : &a);
}

void sk_bound(int fd)
{
	struct ent e = fd_get(fd);
	struct ipaddr a;
	uint16_t port;

	if (e.kind == FD_PLAIN && e.reason == REASON_UNDECIDED)
		(void)bound(fd, e, source_of(fd, &a, &port) ? NULL : &a);
}

/* ---- connect ------------------------------------------------------------------------------------------ */

struct opening {
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;
	uint32_t user, rcvtimeo, sndtimeo;
	struct tcp_opts opts;
	struct ctl_lease lease;
	bool local;		/* to this host itself */
	bool by_send;		/* MSG_FASTOPEN */
	bool refused;		/* ... which is switched off */
};

/* Source of a socket that bind() was called on: a port is leased as it is, without one the
 * address alone counts (IP_BIND_ADDRESS_NO_PORT). */
static enum reason source(int fd, struct ent e, struct opening *o)
{
	enum reason why;

	o->laddr = ip_is4(&o->raddr) ? ip_from4(0) : (struct ipaddr){ { 0 } };
	if (!(e.flags & FDF_BOUND))
		return REASON_NONE;
	why = lease(fd, e, &o->lease);
	if (addr_is_loopback(&o->lease.laddr))
		return REASON_LOCAL;
	if (o->lease.lport == 0) {
		o->laddr = o->lease.laddr;
		return REASON_NONE;
	}
	o->lport = o->lease.lport;
	if (!ip_is_any(&o->lease.laddr))
		o->laddr = o->lease.laddr;
	o->user |= SKU_LEASED;
	return why;
}

static int open_in_turn(struct opening *o, struct ent *e)
{
	struct turn t;
	struct sk *sk;
	int err;

	if (!sk_enter(&t))
		return -EINTR;
	if (vif_rx_pending(&self.x.map))
		exec_round(&self.x, &t);
	err = tcp_connect(&t, &o->opts, &o->laddr, o->lport, &o->raddr, o->rport, &sk);
	if (!err) {
		take_over(&t, sk, *e, o->user | SKU_CONNECTING);
		sk->lease_cookie = o->lease.cookie;
		sk->rcvtimeo_ms = o->rcvtimeo;
		sk->sndtimeo_ms = o->sndtimeo;
		e->h = sk->self;
	}
	sk_leave(&t, false);
	return err;
}

/* To this host itself. The port needs no lease: no packet is going to look for it. */
static enum reason tcp_open_local(int fd, struct ent *e, struct opening *o)
{
	struct local_open lo = { .raddr = o->raddr, .rport = o->rport, .opts = &o->opts };
	struct ipaddr any = ip_is4(&o->raddr) ? ip_from4(0) : (struct ipaddr){ { 0 } };

	lo.laddr = any;
	if (e->flags & FDF_BOUND && source_of(fd, &lo.laddr, &lo.lport))
		return REASON_LOCAL;
	if (ip_is_any(&lo.laddr))
		lo.laddr = any;
	opts_read_back(fd, *e, &o->opts, &lo.rcvtimeo, &lo.sndtimeo);
	return local_connect(e, &lo);
}

static enum reason tcp_open(int fd, struct ent *e, struct opening *o)
{
	enum reason why = stack_need();
	int err;

	if (why != REASON_NONE)
		return why;
	o->refused = o->by_send && !fastopen_is_on();
	if (o->refused)
		return REASON_NONE;
	o->local = local_is(&o->raddr);
	if (o->local)
		return e->flags & FDF_OPTS && opts_want_kernel(fd, *e) ? REASON_OPTION : tcp_open_local(fd, e, o);
	if (!self.x.map.n_vis)
		return REASON_NO_ROUTE;
	if (e->flags & FDF_OPTS && opts_want_kernel(fd, *e))
		return REASON_OPTION;
	opts_read_back(fd, *e, &o->opts, &o->rcvtimeo, &o->sndtimeo);
	o->opts.fo_defer = o->by_send;
	why = source(fd, *e, o);
	if (why != REASON_NONE)
		return why;
	if (!self.have_ports && !o->lport) {
		(void)!ask_ports();
		self.have_ports = 1;
	}
	err = open_in_turn(o, e);
	if (err == -EADDRNOTAVAIL && !o->lport && ask_ports() == 0)
		err = open_in_turn(o, e);
	if (err && o->user & SKU_LEASED)
		unlease(&o->lease);
	if (err == -EINVAL && is_own_address(&o->raddr))
		return REASON_LOCAL;
	return err ? reason_of_route(err) : REASON_NONE;
}

/* Interrupted, it goes on by itself. */
int64_t await_open(struct ent e)
{
	struct sk *sk = sk_peek(e.h);
	struct wait w;
	int r;

	if (!sk)
		return -EBADF;
	wait_init(&w, until_ms(sk->sndtimeo_ms));
	wait_sk(&w, e.h, EPOLLOUT);
	for (;;) {
		struct turn t;
		int err = -EBADF;

		if (!sk_enter(&t))
			return -EINTR;
		sk = sk_find(&t, (sk_h){ e.h });
		if (sk) {
			err = sk->err;
			sk->err = 0;
			if (!err && sk->state == TCP_S_SYN_SENT)
				err = EAGAIN;
			else if (!err && sk->state == TCP_S_CLOSED)
				err = ECONNABORTED;
			if (!err)
				sk->user &= ~SKU_CONNECTING;
			err = -err;
		}
		sk_leave(&t, false);
		if (err != -EAGAIN)
			return err;
		r = wait_for(&w);
		if (r)
			return r == -ETIMEDOUT ? -EINPROGRESS : r;
	}
}

/* connect() on a socket that is ours already. */
static int64_t connect_again(struct ent e)
{
	struct sk *sk = sk_peek(e.h);

	if (e.kind == FD_LISTEN)
		return -EISCONN;
	if (!sk)
		return -EBADF;
	if (tcp_is_deferred(sk))
		return -EISCONN;
	if (sk->state == TCP_S_SYN_SENT || sk->state == TCP_S_SYN_RCVD)
		return sk->user & SKU_NONBLOCK ? -EALREADY : await_open(e);
	if (!(sk->user & SKU_CONNECTING))
		return -EISCONN;
	if (sk->err)
		return await_open(e);
	sk->user &= ~SKU_CONNECTING;
	return sk->state == TCP_S_CLOSED ? -ECONNABORTED : 0;
}

/* What is not unicast is not for us. */
static bool not_for_us(const struct ipaddr *to)
{
	return to->b[0] == 0xff || (ip_is4(to) && ip_to4(to) >> 28 >= 14);
}

static int64_t tcp_connect_fd(int fd, struct ent e, struct opening *o)
{
	enum reason why = REASON_FORKED;
	bool nonblock;

	e = twins_know(fd, e);
	nonblock = e.flags & FDF_NONBLOCK;
	if (!twins_elsewhere(fd, e))
		why = tcp_open(fd, &e, o);
	if (o->refused)
		return -EOPNOTSUPP;
	if (why != REASON_NONE)
		return fall_back(fd, e, why, -ENETUNREACH);
	e.kind = FD_TCP;
	e.reason = o->local ? REASON_APERTURE : REASON_NONE;
	twins_put(fd, e);
	if (o->by_send || (sk_peek(e.h) && tcp_is_deferred(sk_peek(e.h))))
		return 0;
	return nonblock ? -EINPROGRESS : await_open(e);
}

static int64_t udp_connect_fd(int fd, struct ent e, const struct sockaddr *sa, socklen_t n)
{
	int64_t r;
	int k;

	/* The kernel chooses source address and port; then the port is leased. */
	k = sys_connect(fd, sa, n);
	if (k < 0)
		return k;
	r = udp_decide(fd, e, -ENETUNREACH);
	if (r == SK_PASS)
		return 0;
	return r ? r : udp_reconnect(fd, fd_get(fd), sa, n);
}

int64_t sk_connect(int fd, const struct sockaddr *sa, socklen_t n)
{
	struct ent e = fd_get(fd);
	struct opening o;

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (e.kind == FD_UDP)
		return udp_reconnect(fd, e, sa, n);
	if (ent_is_ours(e))
		return connect_again(e);
	if (e.kind != FD_PLAIN || e.reason != REASON_UNDECIDED)
		return SK_PASS;
	memset(&o, 0, sizeof(o));
	if (addr_parse(sa, n, &o.raddr, &o.rport))
		return SK_PASS;		/* AF_UNSPEC, link-local, wrong: still undecided */
	if (not_for_us(&o.raddr)) {
		fd_kernel(fd, e, REASON_OPTION);
		return SK_PASS;
	}
	if (o.rport == 0)
		return SK_PASS;
	if (policy_keeps(&o.raddr, o.rport)) {
		fd_kernel(fd, e, REASON_POLICY);
		return SK_PASS;
	}
	return e.flags & FDF_DGRAM ? udp_connect_fd(fd, e, sa, n) : tcp_connect_fd(fd, e, &o);
}

int64_t connect_by_send(int fd, const struct sockaddr *sa, socklen_t n, bool *ret_at_once)
{
	struct ent e = fd_get(fd);
	struct opening o;
	int64_t r;

	memset(&o, 0, sizeof(o));
	o.by_send = true;
	if (!sa || addr_parse(sa, n, &o.raddr, &o.rport) || not_for_us(&o.raddr) || o.rport == 0) {
		fd_kernel(fd, e, REASON_TFO);
		return SK_PASS;
	}
	r = tcp_connect_fd(fd, e, &o);
	*ret_at_once = fastopen_is_free(&o.opts);
	return r;
}

/* ---- listen --------------------------------------------------------------------------------------------- */

static int listen_in_turn(struct ent *e, const struct ctl_lease *l, const struct opening *o,
			  const struct fo_keys *keys, uint32_t backlog)
{
	struct turn t;
	struct sk *sk;
	int err;

	if (!sk_enter(&t))
		return -EINTR;
	err = tcp_listen(&t, &o->opts, &l->laddr, l->lport, backlog, &sk);
	if (!err) {
		take_over(&t, sk, *e, SKU_LEASED | SKU_KERNEL_TOO);
		sk->rcvtimeo_ms = o->rcvtimeo;
		sk->lease_cookie = l->cookie;
		tcp_listen_keys(&t, sk, keys->key, keys->n);
		e->h = sk->self;
	}
	sk_leave(&t, false);
	return err;
}

static enum reason tcp_listen_fd(int fd, struct ent *e, uint32_t backlog)
{
	struct opening o = { .user = 0 };
	struct fo_keys keys = { .n = 0 };
	struct ctl_lease l;
	enum reason why = stack_need();
	int err;

	if (why != REASON_NONE)
		return why;
	if (!(e->flags & FDF_BOUND) && kernel_autobind(fd, *e) < 0)
		return REASON_NO_PORT;
	if (is_kept(fd, *e))
		return REASON_POLICY;
	why = lease(fd, *e, &l);
	if (why != REASON_NONE)
		return why;
	opts_read_back(fd, *e, &o.opts, &o.rcvtimeo, &o.sndtimeo);
	o.opts.v6only = e->flags & FDF_V6 && !l.family6_dual && !ip_is4(&l.laddr);
	fastopen_keys(fd, &keys);
	err = listen_in_turn(e, &l, &o, &keys, backlog);
	if (!err)
		return REASON_NONE;
	unlease(&l);
	return err == -ENOBUFS ? REASON_NO_SOCKET_SLOT : REASON_LEASE_REFUSED;
}

static int64_t listen_again(int fd, struct ent e, int backlog)
{
	struct turn t;
	struct sk *sk;
	int r = sys_listen(fd, backlog);

	if (r < 0 || !sk_enter(&t))
		return r;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk)
		tcp_set_backlog(&t, sk, min_u32((uint32_t)backlog, SOMAXCONN_MAX));
	sk_leave(&t, false);
	return r;
}

int64_t sk_listen(int fd, int backlog)
{
	struct ent e = fd_get(fd);
	enum reason why;
	int r;

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (e.kind == FD_LISTEN)
		return listen_again(fd, e, backlog);
	if (ent_is_ours(e))
		return e.kind == FD_UDP ? -EOPNOTSUPP : -EINVAL;
	if (e.kind != FD_PLAIN || e.reason != REASON_UNDECIDED || e.flags & FDF_DGRAM)
		return SK_PASS;
	e = twins_know(fd, e);
	why = twins_elsewhere(fd, e) ? REASON_FORKED :
	      tcp_listen_fd(fd, &e, min_u32((uint32_t)backlog, SOMAXCONN_MAX));
	if (why != REASON_NONE)
		return fall_back(fd, e, why, -EADDRNOTAVAIL);
	e.kind = FD_LISTEN;
	e.reason = REASON_NONE;
	r = sys_listen(fd, backlog);
	if (r < 0) {
		conn_close(fd, e);
		return r;
	}
	/* accept() looks at the kernel's queue without waiting there. */
	r = sys_fcntl(fd, F_GETFL, 0);
	if (r >= 0 && !(r & O_NONBLOCK))
		(void)sys_fcntl(fd, F_SETFL, r | O_NONBLOCK);
	twins_put(fd, e);
	return 0;
}
