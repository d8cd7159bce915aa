/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sends that open a connection (tcp(7): MSG_FASTOPEN; TCP_FASTOPEN_CONNECT, whose connect() has waited for
 * data): Linux's tcp_sendmsg_fastopen(). What goes with the SYN is core/tcp/tfo.c's affair.
 *
 * Who may wait gets an answer when the handshake is over, and what did not go with the SYN is sent then.
 * Who may not is told what went with it, or EINPROGRESS: the bytes are still his.
 *
 * Within a host there is no SYN to put data in, and no server has given a cookie: as with the kernel's
 * loopback at a first visit, the connection is made, and the data goes by itself. Where no cookie is wanted
 * (tcp_fastopen has 4, or TCP_FASTOPEN_NO_COOKIE) it goes at once.
 */
#include "sock/io.h"
#include "sock/stream.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>

#include "abi/mirror.h"

static bool may_wait(const struct io *io, const struct sk *sk)
{
	return !(io->flags & MSG_DONTWAIT) && !(sk->user & SKU_NONBLOCK);
}

static int64_t first(struct ent e, const struct io *io, bool waits)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter_for(&t, e.h))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk)
		r = tcp_is_deferred(sk) ? tcp_send_first(&t, sk, io->iov, io->n_iov, waits) : -EALREADY;
	sk_leave(&t, false);
	return r;
}

/* The handshake's end, then the rest of it. */
static int64_t then_rest(struct ent e, struct io *io, int64_t sent)
{
	int64_t r = await_open(e);

	if (r < 0)
		return r == -EINPROGRESS && sent ? sent : r;
	if (io_advance(io, (uint64_t)sent))
		return io_sent(e, io, sent);
	r = tcp_write(e, io);
	return r < 0 ? (sent ? sent : r) : sent + r;
}

int64_t fastopen_write(struct ent e, struct io *io)
{
	const struct sk *sk = sk_peek(e.h);
	bool wait = sk && may_wait(io, sk);
	int64_t r = first(e, io, wait);

	if (r < 0)
		return r;
	if (wait)
		return then_rest(e, io, r);
	return r ? io_sent(e, io, r) : -EINPROGRESS;
}

/* MSG_FASTOPEN on a connection that is there, or nearly. */
int64_t fastopen_again(struct ent e, struct io *io)
{
	const struct sk *sk = sk_peek(e.h);

	if (!sk || e.kind != FD_TCP)
		return -EBADF;
	if (!is_ap(sk) && tcp_is_deferred(sk))
		return fastopen_write(e, io);
	if (!(sk->user & SKU_CONNECTING))
		return -EISCONN;
	if (sk->state != TCP_S_SYN_SENT && sk->state != TCP_S_SYN_RCVD)
		return tcp_write(e, io);
	return may_wait(io, sk) ? then_rest(e, io, 0) : -EALREADY;
}

/* No cookie is wanted: at a first visit, too, the data goes with the SYN. */
bool fastopen_is_free(const struct tcp_opts *o)
{
	const struct mirror *m = self.x.map.mirror;

	return o->fo_no_cookie || (m && m->tcp.fastopen && (m->tcp.fastopen - 1) & 4);
}

bool fastopen_is_on(void)
{
	const struct mirror *m = self.x.map.mirror;

	return !m || !m->tcp.fastopen || (m->tcp.fastopen - 1) & 1;
}

int64_t fastopen_connect(int fd, struct io *io, const struct sockaddr *sa, socklen_t n)
{
	bool at_once = false;
	int64_t r = connect_by_send(fd, sa, n, &at_once);
	struct ent e = fd_get(fd);
	const struct sk *sk = e.kind == FD_TCP ? sk_peek(e.h) : NULL;

	if (r < 0 || !sk)
		return r;
	if (tcp_is_deferred(sk))
		return fastopen_write(e, io);
	if (may_wait(io, sk))
		return then_rest(e, io, 0);
	/* Through an aperture it is open already, which whoever asks next is told. */
	return at_once ? tcp_write(e, io) : -EINPROGRESS;
}

/* As the kernel's own socket below has them, or the namespace. */
void fastopen_keys(int fd, struct fo_keys *ret)
{
	socklen_t n = sizeof(ret->key);

	ret->n = 0;
	if (sys_getsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_KEY, ret->key, &n) == 0 && n <= sizeof(ret->key))
		ret->n = n / 16;
}
