/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors and the calls on them, over the core as src/sock is over it: what a connection answers
 * is the core's, what a descriptor adds (blocking, a socket that is not open yet, EINPROGRESS) is
 * here in the form that sock/open.c and sock/io.c have it in.
 */
#include "test/packetdrill/adapter/adapter.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct file files[PD_N_FILES];

#define answer(r) ({ int64_t r_ = (r); if (r_ < 0) errno = (int)-r_; r_ < 0 ? -1 : r_; })

/* ---- descriptors ------------------------------------------------------------------------------- */

struct file *file_of(int fd)
{
	for (int i = 0; i < PD_N_FILES; i++)
		if (files[i].kind != FILE_FREE && files[i].fd == fd)
			return &files[i];
	return NULL;
}

int file_new(enum file_kind kind)
{
	for (int i = 0; i < PD_N_FILES; i++) {
		int fd;

		if (files[i].kind != FILE_FREE)
			continue;
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			files[i] = (struct file){ .kind = kind, .fd = fd };
		return fd < 0 ? -errno : fd;
	}
	return -EMFILE;
}

struct sk *file_sk(struct turn *t, const struct file *f)
{
	return f->sk.v ? sk_find(t, f->sk) : NULL;
}

static struct file *socket_of(int fd)
{
	struct file *f = file_of(fd);

	return f && f->kind != FILE_EPOLL ? f : NULL;
}

static void file_close(struct file *f)
{
	struct turn t;
	struct sk *sk;

	world_enter(&t);
	sk = file_sk(&t, f);
	if (f->kind == FILE_EPOLL)
		ep_put(&t, f->ep);
	else if (sk && sk_unref(&t, sk, 0))
		net_close(&t, sk);
	world_leave(&t);
	*f = (struct file){ .kind = FILE_FREE };
}

void files_close(void)
{
	for (int i = 0; i < PD_N_FILES; i++)
		if (files[i].kind != FILE_FREE)
			file_close(&files[i]);
}

/* ---- addresses ------------------------------------------------------------------------------------- */

static int address_of(const struct sockaddr *sa, struct ipaddr *ret, uint16_t *ret_port)
{
	const struct sockaddr_in *a4 = (const void *)sa;
	const struct sockaddr_in6 *a6 = (const void *)sa;

	if (sa->sa_family == AF_INET) {
		*ret = ip_from4(ntohl(a4->sin_addr.s_addr));
		*ret_port = ntohs(a4->sin_port);
		return 0;
	}
	if (sa->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	memcpy(ret->b, &a6->sin6_addr, 16);
	*ret_port = ntohs(a6->sin6_port);
	return 0;
}

static void address_tell(const struct ipaddr *a, uint16_t port, bool v6, struct sockaddr *sa, socklen_t *n)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	socklen_t full = v6 ? sizeof(a6) : sizeof(a4);

	if (!sa || !n)
		return;
	memcpy(&a6.sin6_addr, a->b, 16);
	if (!v6)
		a4.sin_addr.s_addr = htonl(ip_to4(a));
	memcpy(sa, v6 ? (void *)&a6 : (void *)&a4, *n < full ? *n : full);
	*n = full;
}

/* ---- opening ---------------------------------------------------------------------------------------- */

static void take_over(struct turn *t, struct file *f, struct sk *sk, enum file_kind kind)
{
	sk_ref(t, sk, 0);
	sk->flags |= f->v6 ? SK_F_FAMILY6 : 0;
	sk->rcvtimeo_ms = f->rcvtimeo_ms;
	sk->sndtimeo_ms = f->sndtimeo_ms;
	if (f->rcvlowat)
		sk->rcvlowat = f->rcvlowat;
	f->sk = sk_handle(sk);
	f->kind = kind;
}

static int64_t do_socket(int family, int type, int proto)
{
	int fd;

	if ((family != AF_INET && family != AF_INET6) || (type & 0xf) != SOCK_STREAM ||
	    (proto != 0 && proto != IPPROTO_TCP))
		return -EPROTONOSUPPORT;
	world_tune();
	fd = file_new(FILE_NEW);
	if (fd < 0)
		return fd;
	file_of(fd)->v6 = family == AF_INET6;
	file_of(fd)->nonblock = type & SOCK_NONBLOCK;
	tcp_opts_default(&file_of(fd)->opts);
	file_of(fd)->opts.family6 = family == AF_INET6;
	return fd;
}

static int64_t do_bind(struct file *f, const struct sockaddr *sa)
{
	struct ipaddr a;
	uint16_t port;
	struct turn t;
	int err = address_of(sa, &a, &port);

	if (err)
		return err;
	if (f->kind != FILE_NEW || f->bound)
		return -EINVAL;
	f->laddr = a;
	f->lport = port;
	f->bound = true;
	world_enter(&t);
	world_address(&t, &a);
	world_leave(&t);
	return 0;
}

static int64_t do_listen(struct file *f, int backlog)
{
	struct turn t;
	struct sk *sk;
	int err = 0;

	if (f->kind == FILE_CONN)
		return -EINVAL;
	world_enter(&t);
	if (f->kind == FILE_LISTEN) {
		sk = file_sk(&t, f);
		if (sk)
			tcp_set_backlog(&t, sk, (uint32_t)backlog);
	} else {
		err = tcp_listen(&t, &f->opts, &f->laddr, f->lport, min_u32((uint32_t)backlog, 4096), &sk);
		if (!err) {
			take_over(&t, f, sk, FILE_LISTEN);
			fastopen_key(&t, f, sk);
		}
	}
	world_leave(&t);
	return err;
}

static bool sk_shows(void *arg, uint32_t bits)
{
	struct turn t;
	struct sk *sk;
	bool is;

	world_enter(&t);
	sk = file_sk(&t, arg);
	is = !sk || sk->ready & bits;
	world_leave(&t);
	return is;
}

static bool can_read(void *arg) { return sk_shows(arg, EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP); }
static bool can_write(void *arg) { return sk_shows(arg, EPOLLOUT | EPOLLERR | EPOLLHUP); }

static uint64_t until_of(uint32_t timeo_ms) { return pd_until_ms(timeo_ms ? (int64_t)timeo_ms : -1); }

/* What came of a handshake, as sock/open.c's await_open(). */
int64_t file_await(struct file *f)
{
	uint64_t until = until_of(f->sndtimeo_ms);

	for (;;) {
		struct turn t;
		struct sk *sk;
		int err = EBADF;

		world_enter(&t);
		sk = file_sk(&t, f);
		if (sk) {
			err = sk->err;
			sk->err = 0;
			if (!err && sk->state == TCP_S_SYN_SENT)
				err = EAGAIN;
			else if (!err && sk->state == TCP_S_CLOSED)
				err = ECONNABORTED;
			if (!err)
				f->connecting = false;
		}
		world_leave(&t);
		if (err != EAGAIN)
			return -err;
		if (!pd_wait(can_write, f, until))
			return -EINPROGRESS;
	}
}

static int64_t connect_again(struct file *f)
{
	struct turn t;
	struct sk *sk;
	int err = 0;
	uint8_t state = 0;
	bool deferred = false;

	if (f->kind == FILE_LISTEN)
		return -EISCONN;
	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk) {
		err = sk->err;
		state = sk->state;
		deferred = tcp_is_deferred(sk);
	}
	world_leave(&t);
	if (!sk)
		return -EBADF;
	if (deferred)
		return -EISCONN;
	if (state == TCP_S_SYN_SENT || state == TCP_S_SYN_RCVD)
		return f->nonblock ? -EALREADY : file_await(f);
	if (err)
		return file_await(f);
	if (!f->connecting)
		return -EISCONN;
	f->connecting = false;
	return state == TCP_S_CLOSED ? -ECONNABORTED : 0;
}

int64_t file_connect(struct file *f, const struct sockaddr *sa, bool defer)
{
	struct ipaddr a, any;
	uint16_t port;
	bool deferred = false;
	struct tcp_opts o;
	struct turn t;
	struct sk *sk;
	int err;

	if (f->kind != FILE_NEW)
		return connect_again(f);
	err = address_of(sa, &a, &port);
	if (err)
		return err;
	any = ip_is4(&a) ? ip_from4(0) : (struct ipaddr){ { 0 } };
	o = f->opts;
	o.fo_defer = defer;
	world_enter(&t);
	err = tcp_connect(&t, &o, f->bound && !ip_is_any(&f->laddr) ? &f->laddr : &any, f->lport, &a, port, &sk);
	if (!err) {
		take_over(&t, f, sk, FILE_CONN);
		deferred = tcp_is_deferred(sk);
	}
	world_leave(&t);
	if (err)
		return err;
	f->connecting = true;
	return deferred ? 0 : f->nonblock ? -EINPROGRESS : file_await(f);
}

static int64_t do_accept(struct file *l, struct sockaddr *sa, socklen_t *n)
{
	uint64_t until = until_of(l->rcvtimeo_ms);

	if (l->kind != FILE_LISTEN)
		return -EINVAL;
	for (;;) {
		struct turn t;
		struct sk *lsk, *sk;
		int fd = -EAGAIN;

		world_enter(&t);
		lsk = file_sk(&t, l);
		sk = lsk ? tcp_accept(&t, lsk) : NULL;
		if (sk) {
			struct file *f;

			fd = file_new(FILE_CONN);
			must(fd >= 0);
			f = file_of(fd);
			f->v6 = l->v6;
			take_over(&t, f, sk, FILE_CONN);
			address_tell(&sk->raddr, sk->rport, l->v6, sa, n);
		} else if (!lsk || lsk->state != TCP_S_LISTEN) {
			fd = -EINVAL;
		}
		world_leave(&t);
		if (fd != -EAGAIN || l->nonblock)
			return fd;
		if (!pd_wait(can_read, l, until))
			return -EAGAIN;
	}
}

/* ---- bytes --------------------------------------------------------------------------------------------- */

/* iov moved on by n bytes, in a copy. */
static uint32_t iov_from(const struct iovec *v, uint32_t n_iov, uint64_t n, struct iovec *ret)
{
	uint32_t k = 0;

	for (; n_iov; v++, n_iov--) {
		if (n >= v->iov_len) {
			n -= v->iov_len;
			continue;
		}
		ret[k++] = (struct iovec){ (uint8_t *)v->iov_base + n, v->iov_len - n };
		n = 0;
	}
	return k;
}

static uint64_t iov_sum(const struct iovec *v, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

static int64_t send_once(struct file *f, const struct iovec *v, uint32_t n, uint32_t flags)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EPIPE;

	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk)
		r = tcp_send(&t, sk, v, n, flags);
	world_leave(&t);
	return r;
}

static void zerocopy_done(struct file *f, int flags)
{
	struct turn t;
	struct sk *sk;

	if (!(flags & MSG_ZEROCOPY))
		return;
	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk && sk->flags & SK_F_ZEROCOPY)
		sk_zc_done(&t, sk);
	world_leave(&t);
}

static int64_t do_send(struct file *f, const struct iovec *v, uint32_t n, int flags, const struct sockaddr *sa)
{
	uint32_t core = (flags & MSG_MORE ? TCP_SEND_MORE : 0) | (flags & MSG_OOB ? TCP_SEND_OOB : 0) |
			(flags & MSG_EOR ? TCP_SEND_EOR : 0);
	uint64_t all = iov_sum(v, n), until = until_of(f->sndtimeo_ms);
	struct iovec left[64];
	int64_t sent = 0, r;

	if (n > n_elems(left))
		return -EMSGSIZE;
	r = fastopen_send(f, v, n, flags, sa, &sent);
	if (r < 0)
		return r;
	while (r && ((uint64_t)sent < all || !all)) {
		r = send_once(f, left, iov_from(v, n, (uint64_t)sent, left), core);
		if (r < 0 && r != -EAGAIN)
			return sent ? sent : r;
		sent += r > 0 ? r : 0;
		if ((uint64_t)sent >= all)
			break;
		if (f->nonblock || flags & MSG_DONTWAIT || !pd_wait(can_write, f, until))
			break;
		r = 1;
	}
	if (sent > 0)
		zerocopy_done(f, flags);
	return sent || !all ? sent : -EAGAIN;
}

static int64_t recv_once(struct file *f, const struct iovec *v, uint32_t n, uint32_t flags)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -ENOTCONN;

	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk)
		r = tcp_recv(&t, sk, v, n, flags, 0);
	world_leave(&t);
	return r;
}

static int64_t do_recv(struct file *f, const struct iovec *v, uint32_t n, int flags)
{
	uint32_t core = (flags & MSG_PEEK ? TCP_RECV_PEEK : 0) | (flags & MSG_TRUNC ? TCP_RECV_TRUNC : 0) |
			(flags & MSG_OOB ? TCP_RECV_OOB : 0);
	uint64_t all = iov_sum(v, n), until = until_of(f->rcvtimeo_ms);
	uint64_t target = flags & MSG_WAITALL && !(flags & MSG_PEEK) ? all : min_u64(all, 1);
	struct iovec left[64];
	int64_t got = 0, r;

	if (f->kind == FILE_NEW || f->kind == FILE_LISTEN || n > n_elems(left))
		return n > n_elems(left) ? -EMSGSIZE : -ENOTCONN;
	for (;;) {
		r = recv_once(f, left, iov_from(v, n, (uint64_t)got, left), core);
		if (r == 0 || (r < 0 && r != -EAGAIN))
			return got ? got : r;
		got += r > 0 ? r : 0;
		if ((uint64_t)got >= target && got)
			return got;
		if (f->nonblock || flags & (MSG_DONTWAIT | MSG_OOB) || !pd_wait(can_read, f, until))
			return got ? got : -EAGAIN;
	}
}

static void put_cmsg(struct msghdr *m, int level, int type, const void *p, size_t n)
{
	struct cmsghdr h = { .cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type };

	if (m->msg_control && m->msg_controllen >= CMSG_SPACE(n)) {
		memcpy(m->msg_control, &h, sizeof(h));
		memcpy((uint8_t *)m->msg_control + sizeof(h), p, n);
		m->msg_controllen = CMSG_SPACE(n);
	} else {
		m->msg_controllen = 0;
		m->msg_flags |= MSG_CTRUNC;
	}
}

/* As sock/errqueue.c. */
static int64_t errqueue(struct file *f, struct msghdr *m)
{
	struct {
		struct sock_extended_err ee;
		struct sockaddr_in6 offender;
	} err = { .ee = { .ee_origin = SO_EE_ORIGIN_ZEROCOPY, .ee_code = SO_EE_CODE_ZEROCOPY_COPIED } };
	size_t n = sizeof(err.ee) + (f->v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	struct turn t;
	struct sk *sk;
	bool any;

	world_enter(&t);
	sk = file_sk(&t, f);
	any = sk && sk_zc_take(&t, sk, &err.ee.ee_info, &err.ee.ee_data);
	world_leave(&t);
	if (!any)
		return -EAGAIN;
	m->msg_flags = MSG_ERRQUEUE;
	m->msg_namelen = 0;
	put_cmsg(m, f->v6 ? IPPROTO_IPV6 : IPPROTO_IP, f->v6 ? IPV6_RECVERR : IP_RECVERR, &err, n);
	return 0;
}

static int64_t do_recvmsg(struct file *f, struct msghdr *m, int flags)
{
	int64_t r;

	if (flags & MSG_ERRQUEUE)
		return errqueue(f, m);
	r = do_recv(f, m->msg_iov, (uint32_t)m->msg_iovlen, flags);
	if (r >= 0) {
		m->msg_flags = 0;
		m->msg_controllen = 0;
		m->msg_namelen = 0;
	}
	return r;
}

static int64_t do_shutdown(struct file *f, int how)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -ENOTCONN;

	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk)
		r = tcp_shutdown(&t, sk, how);
	world_leave(&t);
	return r;
}

static bool is_drained(void *arg)
{
	struct turn t;
	struct sk *sk;
	bool is;

	world_enter(&t);
	sk = file_sk(&t, arg);
	is = !sk || tcp_is_drained(&t, sk);
	world_leave(&t);
	return is;
}

/* SO_LINGER's wait: the connection is being closed meanwhile, as in the kernel. */
static void linger(struct file *f)
{
	struct turn t;
	struct tcp_opts o;
	struct sk *sk;

	world_enter(&t);
	sk = file_sk(&t, f);
	o.linger_s = -1;
	if (sk && sk->kind == SK_TCP)
		tcp_get_opts(&t, sk, &o);
	if (o.linger_s > 0 && sk->rxq_bytes == 0)
		(void)!tcp_shutdown(&t, sk, SHUT_RDWR);
	world_leave(&t);
	if (o.linger_s > 0)
		(void)pd_wait(is_drained, f, pd_until_ms((int64_t)o.linger_s * 1000));
}

/* ---- the table --------------------------------------------------------------------------------------------- */

/* Each call: the lock, the descriptor, the call, errno. */
#define WITH_SOCKET(ret_type, what) ({                          \
	struct file *f;                                         \
	int64_t done;                                           \
								\
	pd_lock();                                              \
	f = socket_of(fd);                                      \
	done = f ? (what) : file_of(fd) ? -ENOTSOCK : -EBADF;   \
	pd_unlock();                                            \
	(ret_type)answer(done);                                 \
})

static int c_socket(void *c, int family, int type, int proto)
{
	int64_t r;

	(void)c;
	pd_lock();
	r = do_socket(family, type, proto);
	pd_unlock();
	return (int)answer(r);
}

static int c_bind(void *c, int fd, const struct sockaddr *sa, socklen_t n)
{
	(void)c, (void)n;
	return WITH_SOCKET(int, do_bind(f, sa));
}

static int c_listen(void *c, int fd, int backlog) { (void)c; return WITH_SOCKET(int, do_listen(f, backlog)); }

static int c_accept(void *c, int fd, struct sockaddr *sa, socklen_t *n)
{
	(void)c;
	return WITH_SOCKET(int, do_accept(f, sa, n));
}

static int c_connect(void *c, int fd, const struct sockaddr *sa, socklen_t n)
{
	(void)c, (void)n;
	return WITH_SOCKET(int, file_connect(f, sa, false));
}

static ssize_t c_readv(void *c, int fd, const struct iovec *v, int n)
{
	(void)c;
	return WITH_SOCKET(ssize_t, do_recv(f, v, (uint32_t)n, 0));
}

static ssize_t c_recv(void *c, int fd, void *p, size_t n, int flags)
{
	struct iovec v = { p, n };

	(void)c;
	return WITH_SOCKET(ssize_t, do_recv(f, &v, 1, flags));
}

static ssize_t c_read(void *c, int fd, void *p, size_t n) { return c_recv(c, fd, p, n, 0); }

static ssize_t c_recvfrom(void *c, int fd, void *p, size_t n, int flags, struct sockaddr *sa, socklen_t *sa_n)
{
	(void)sa;
	if (sa_n)
		*sa_n = 0;
	return c_recv(c, fd, p, n, flags);
}

static ssize_t c_recvmsg(void *c, int fd, struct msghdr *m, int flags)
{
	(void)c;
	return WITH_SOCKET(ssize_t, do_recvmsg(f, m, flags));
}

static ssize_t c_writev(void *c, int fd, const struct iovec *v, int n)
{
	(void)c;
	return WITH_SOCKET(ssize_t, do_send(f, v, (uint32_t)n, 0, NULL));
}

static ssize_t c_sendto(void *c, int fd, const void *p, size_t n, int flags, const struct sockaddr *sa, socklen_t sa_n)
{
	struct iovec v = { (void *)(uintptr_t)p, n };

	(void)c, (void)sa_n;
	return WITH_SOCKET(ssize_t, do_send(f, &v, 1, flags, sa));
}

static ssize_t c_send(void *c, int fd, const void *p, size_t n, int flags)
{
	return c_sendto(c, fd, p, n, flags, NULL, 0);
}

static ssize_t c_write(void *c, int fd, const void *p, size_t n) { return c_send(c, fd, p, n, 0); }

static ssize_t c_sendmsg(void *c, int fd, const struct msghdr *m, int flags)
{
	(void)c;
	return WITH_SOCKET(ssize_t, do_send(f, m->msg_iov, (uint32_t)m->msg_iovlen, flags,
					    m->msg_namelen ? m->msg_name : NULL));
}

static int64_t do_fcntl(struct file *f, int cmd, long arg)
{
	if (cmd == F_SETFL)
		f->nonblock = arg & O_NONBLOCK;
	else if (cmd != F_GETFL)
		return -EINVAL;
	return cmd == F_GETFL ? O_RDWR | (f->nonblock ? O_NONBLOCK : 0) : 0;
}

static int c_fcntl(void *c, int fd, int cmd, ...)
{
	va_list ap;
	long arg = 0;

	(void)c;
	if (cmd == F_SETFL) {
		va_start(ap, cmd);
		arg = va_arg(ap, int);
		va_end(ap);
	}
	return WITH_SOCKET(int, do_fcntl(f, cmd, arg));
}

static int c_ioctl(void *c, int fd, unsigned long cmd, ...)
{
	va_list ap;
	int *arg;

	(void)c;
	va_start(ap, cmd);
	arg = va_arg(ap, int *);
	va_end(ap);
	return WITH_SOCKET(int, opts_ioctl(f, cmd, arg));
}

static int c_close(void *c, int fd)
{
	struct file *f;

	(void)c;
	pd_lock();
	f = file_of(fd);
	if (f && f->kind == FILE_CONN)
		linger(f);
	if (f) {
		file_close(f);
		(void)close(fd);
	}
	pd_unlock();
	return (int)answer(f ? 0 : -EBADF);
}

static int c_shutdown(void *c, int fd, int how) { (void)c; return WITH_SOCKET(int, do_shutdown(f, how)); }

static int c_getsockopt(void *c, int fd, int level, int name, void *v, socklen_t *n)
{
	(void)c;
	return WITH_SOCKET(int, opts_get(f, level, name, v, n));
}

static int c_setsockopt(void *c, int fd, int level, int name, const void *v, socklen_t n)
{
	(void)c;
	return WITH_SOCKET(int, opts_set(f, level, name, v, n));
}

static int no_pipe(void *c, int fd[2]) { (void)c, (void)fd; return (int)answer(-ENOSYS); }

static int no_splice(void *c, int in, loff_t *off_in, int out, loff_t *off_out, size_t n, unsigned flags)
{
	(void)c, (void)in, (void)off_in, (void)out, (void)off_out, (void)n, (void)flags;
	return (int)answer(-ENOSYS);
}

/* packetdrill's data collection for its %{ }% blocks asks the kernel, not the table. When this object
 * is preloaded as well, what concerns our descriptors comes here all the same. */
exported int getsockopt(int fd, int level, int name, void *v, socklen_t *n)
{
	return file_of(fd) ? c_getsockopt(NULL, fd, level, name, v, n) :
	       (int)syscall(SYS_getsockopt, fd, level, name, v, n);
}

void pd_calls(struct pd_table *ret)
{
	ret->socket = c_socket;
	ret->bind = c_bind;
	ret->listen = c_listen;
	ret->accept = c_accept;
	ret->connect = c_connect;
	ret->read = c_read;
	ret->readv = c_readv;
	ret->recv = c_recv;
	ret->recvfrom = c_recvfrom;
	ret->recvmsg = c_recvmsg;
	ret->write = c_write;
	ret->writev = c_writev;
	ret->send = c_send;
	ret->sendto = c_sendto;
	ret->sendmsg = c_sendmsg;
	ret->fcntl = c_fcntl;
	ret->ioctl = c_ioctl;
	ret->close = c_close;
	ret->shutdown = c_shutdown;
	ret->getsockopt = c_getsockopt;
	ret->setsockopt = c_setsockopt;
	ret->pipe = no_pipe;
	ret->splice = no_splice;
}
