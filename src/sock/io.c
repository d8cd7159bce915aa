/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes of a TCP connection in and out: one table lookup, one turn, no system call besides
 * the kick. A read that finds nothing takes a turn only if the device or a timer has
 * something to say; otherwise two loads say EAGAIN.
 *
 * Kicks. A send tells the device at once, unless the program is working through a batch of
 * events (epoll_wait() returned more than one): then the last send of the batch does, or
 * the next wait, whichever comes first.
 *
 * The device is polled by reads that find nothing and by waits. A program that only ever
 * writes, or reads from a socket that never runs dry, still has to come by: sends and long
 * reads take a round when packets are waiting.
 */
#include "sock/io.h"
#include "sock/stream.h"

#include <errno.h>
#include <sys/epoll.h>

#define LONG_BYTES	4096	/* a transfer from which on other work is worth a look first */
#define IOV_BATCH	64	/* entries that go to the core at once */

#define RX_SHOWS (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)

uint64_t iov_bytes(const struct iovec *v, uint32_t n)
{
	uint64_t sum = 0;
	uint32_t i;

	for (i = 0; i < n; i++)
		sum += v[i].iov_len;
	return sum;
}

/* ---- receiving ----------------------------------------------------------------------------------- */

/* Through an aperture what the peer wrote is seen without a round. */
static int64_t recv_ap(struct turn *t, struct ent e, struct sk *sk, const struct io *io)
{
	int64_t r = ap_recv(t, sk, io->iov, io->n_iov, io->core_flags, 0);

	if (r != -EAGAIN || !(ap_pending(t->map) || vif_rx_pending(t->map)))
		return r;
	exec_round(&self.x, t);
	sk = sk_find(t, (sk_h){ e.h });
	return sk ? ap_recv(t, sk, io->iov, io->n_iov, io->core_flags, 0) : -EBADF;
}

static int64_t recv_tcp(struct turn *t, struct ent e, struct sk *sk, const struct io *io)
{
	bool round = false;
	int64_t r = -EBADF;

	if (!(sk->ready & RX_SHOWS)) {
		exec_round(&self.x, t);
		round = true;
		sk = sk_find(t, (sk_h){ e.h });
	}
	if (likely(sk))
		r = tcp_recv(t, sk, io->iov, io->n_iov, io->core_flags, 0);
	if (r >= LONG_BYTES && !round && (vif_rx_pending(t->map) || vif_starves(t)))
		exec_round(&self.x, t);
	return r;
}

/* One read may not be enough: a blocking one goes on, but not over the urgent mark. */
static bool wants_more(const struct io *io, const struct sk *sk)
{
	return io->flags & MSG_WAITALL || sk->rcvlowat > 1;
}

static int64_t recv_turn(struct ent e, struct io *io)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter_for(&t, e.h))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (likely(sk))
		r = is_ap(sk) ? recv_ap(&t, e, sk, io) : recv_tcp(&t, e, sk, io);
	if (unlikely(r > 0 && wants_more(io, sk))) {
		sk = sk_find(&t, (sk_h){ e.h });
		io->at_mark = sk && stream_at_mark(&t, sk);
	}
	sk_leave(&t, me.batch != 0);
	return r;
}

/* Nothing to read, for sure, without a turn. Below SO_RCVLOWAT there may be something all the same. */
static bool recv_dry(struct ent e)
{
	struct sk *sk = sk_peek(e.h);

	return sk && !(sk_shows(sk) & RX_SHOWS) && sk->rcvlowat <= 1 && !sk_due();
}

bool io_advance(struct io *io, uint64_t n)
{
	while (io->n_iov && n >= io->iov->iov_len) {
		n -= io->iov->iov_len;
		io->iov++;
		io->n_iov--;
	}
	if (!io->n_iov)
		return true;
	io->iov->iov_base = (uint8_t *)io->iov->iov_base + n;
	io->iov->iov_len -= n;
	return false;
}

static uint32_t core_recv_flags(int flags)
{
	return (flags & MSG_PEEK ? TCP_RECV_PEEK : 0) | (flags & MSG_TRUNC ? TCP_RECV_TRUNC : 0) |
	       (flags & MSG_OOB ? TCP_RECV_OOB : 0);
}

static bool dont_wait(const struct io *io, const struct sk *sk)
{
	return io->flags & (MSG_DONTWAIT | MSG_OOB) || sk->user & SKU_NONBLOCK;
}

/* How many bytes a blocking read waits for. */
static uint64_t recv_target(const struct io *io, const struct sk *sk)
{
	uint64_t all = iov_bytes(io->iov, io->n_iov);

	if (io->flags & MSG_PEEK)
		return 1;
	return io->flags & MSG_WAITALL ? all : min_u64(all, max_u32(sk->rcvlowat, 1));
}

/* Blocks until `target` bytes are there, the stream ends, or time or patience do. */
static int64_t recv_more(struct ent e, struct io *io, int64_t got, uint64_t target)
{
	struct sk *sk = sk_peek(e.h);
	struct wait w;
	int64_t r;

	if (!sk)
		return got ? got : -EBADF;
	wait_init(&w, until_ms(sk->rcvtimeo_ms));
	wait_sk(&w, e.h, EPOLLIN | EPOLLRDHUP);
	for (;;) {
		r = wait_for(&w);
		if (r) {	/* what there is, be it less than SO_RCVLOWAT */
			int64_t rest = sk->rcvlowat > 1 ? recv_turn(e, io) : 0;

			got += rest > 0 ? rest : 0;
			return got ? got : r == -ETIMEDOUT ? -EAGAIN : r;
		}
		r = recv_turn(e, io);
		if (r == -EAGAIN)
			continue;
		if (r <= 0)
			return got ? got : r;
		got += r;
		if ((uint64_t)got >= target || io->at_mark || io_advance(io, (uint64_t)r))
			return got;
	}
}

int64_t tcp_read(struct ent e, struct io *io)
{
	struct sk *sk;
	int64_t r = -EAGAIN;

	io->core_flags = core_recv_flags(io->flags);
	if (unlikely(io->flags & MSG_ERRQUEUE))
		return errqueue_read(e, NULL);
	if (io->flags & MSG_OOB || !recv_dry(e))	/* an urgent byte is EPOLLPRI */
		r = recv_turn(e, io);
	sk = sk_peek(e.h);
	if (unlikely(r == 0 && sk) && iov_bytes(io->iov, io->n_iov) == 0) {
		r = -sk->err;		/* nothing was asked for, and that is told all the same */
		sk->err = 0;
		if (r == 0 && !(sk_shows(sk) & RX_SHOWS))
			r = -EAGAIN;	/* Linux waits for a byte even so */
	}
	if (r == 0 || (r < 0 && r != -EAGAIN))
		return r;
	if (!sk)
		return r > 0 ? r : -EBADF;
	if (likely(r > 0)) {
		uint64_t target;

		if (likely(!wants_more(io, sk)))
			return r;
		target = recv_target(io, sk);
		if ((uint64_t)r >= target || io->at_mark || dont_wait(io, sk) || io_advance(io, (uint64_t)r))
			return r;
		return recv_more(e, io, r, target);
	}
	if (dont_wait(io, sk))
		return -EAGAIN;
	return recv_more(e, io, 0, recv_target(io, sk));
}

/* ---- sending --------------------------------------------------------------------------------------- */

static bool defer_kick(const struct io *io, bool more_to_come)
{
	if (more_to_come || io->flags & MSG_MORE)
		return true;
	if (!me.batch)
		return false;
	return --me.batch != 0;
}

static int64_t send_turn(struct ent e, const struct io *io, uint64_t bytes)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter_for(&t, e.h))
		return nest_error(e);
	if (bytes >= LONG_BYTES && vif_rx_pending(t.map))
		exec_round(&self.x, &t);
	sk = sk_find(&t, (sk_h){ e.h });
	if (likely(sk)) {
		r = stream_send(&t, sk, io->iov, io->n_iov, io->core_flags);
		if (r == -EAGAIN) {
			exec_round(&self.x, &t);
			sk = sk_find(&t, (sk_h){ e.h });
			r = sk ? stream_send(&t, sk, io->iov, io->n_iov, io->core_flags) : -EBADF;
		}
	}
	sk_leave(&t, r > 0 && defer_kick(io, false));
	return r;
}

int64_t io_sent(struct ent e, const struct io *io, int64_t sent)
{
	struct turn t;
	struct sk *sk;

	if (likely(!(io->flags & MSG_ZEROCOPY)) || sent <= 0 || !sk_enter(&t))
		return sent;
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && sk->flags & SK_F_ZEROCOPY)
		sk_zc_done(&t, sk);
	sk_leave(&t, me.batch != 0);
	return sent;
}

static int64_t send_failed(struct ent e, const struct io *io, int64_t sent, int64_t err)
{
	if (sent)
		return io_sent(e, io, sent);
	if (err == -EPIPE && !(io->flags & MSG_NOSIGNAL))
		raise_sigpipe();
	return err;
}

int64_t tcp_write(struct ent e, struct io *io)
{
	uint64_t all = iov_bytes(io->iov, io->n_iov);
	bool waiting = false;
	int64_t sent = 0, r;
	struct wait w;
	struct sk *sk;

	io->core_flags = (io->flags & MSG_MORE ? TCP_SEND_MORE : 0) |
			 (io->flags & MSG_OOB ? TCP_SEND_OOB : 0) | (io->flags & MSG_EOR ? TCP_SEND_EOR : 0);
	for (;;) {
		r = send_turn(e, io, all - (uint64_t)sent);
		if (r >= 0) {
			sent += r;
			if (likely((uint64_t)sent >= all) || io_advance(io, (uint64_t)r))
				return io_sent(e, io, sent);
		} else if (unlikely(r == -EALREADY)) {
			return fastopen_write(e, io);
		} else if (r != -EAGAIN) {
			return send_failed(e, io, sent, r);
		}
		sk = sk_peek(e.h);
		if (!sk)
			return send_failed(e, io, sent, -EBADF);
		if (io->flags & MSG_DONTWAIT || sk->user & SKU_NONBLOCK)
			return sent ? io_sent(e, io, sent) : -EAGAIN;
		if (!waiting) {
			wait_init(&w, until_ms(sk->sndtimeo_ms));
			wait_sk(&w, e.h, EPOLLOUT);
			waiting = true;
		}
		r = wait_for(&w);
		if (r)
			return sent ? io_sent(e, io, sent) : r == -ETIMEDOUT ? -EAGAIN : r;
	}
}
