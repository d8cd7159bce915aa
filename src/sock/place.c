/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes in place: the public calls of include/onramp/onramp.h on sockets of ours (S2-SHQ-01, S4-ZC-01).
 *
 * Showing takes nothing (TCP_RECV_SHOW), so there is no state between showing and handing back:
 * a process that dies between the two, or whose socket is read otherwise, owes nothing. What
 * keeps the bytes still is that they are unread: frames of our TCP stay on the receive queue,
 * and the writer of a ring does not pass rd (core/ap/stream.c R6).
 */
#include "sock/place.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "sock/stream.h"

/* What a data call on that descriptor answers if it is no connection of ours. SK_PASS: not ours. */
static int64_t not_a_stream(struct ent e)
{
	return e.kind == FD_TCP ? 0 : e.kind == FD_LISTEN ? -ENOTCONN : e.kind == FD_UDP ? -EOPNOTSUPP :
	       e.kind == FD_PRIVATE ? -EBADF : SK_PASS;
}

/* ---- receiving --------------------------------------------------------------------------------- */

static int64_t show_turn(struct ent e, struct iovec *iov, int n_iov)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter_for(&t, e.h))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && !is_ap(sk))
		exec_round(&self.x, &t);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk)
		r = stream_recv(&t, sk, iov, (uint32_t)n_iov, TCP_RECV_SHOW);
	if (r == -EAGAIN && is_ap(sk) && (ap_pending(t.map) || vif_rx_pending(t.map))) {
		exec_round(&self.x, &t);
		sk = sk_find(&t, (sk_h){ e.h });
		r = sk ? stream_recv(&t, sk, iov, (uint32_t)n_iov, TCP_RECV_SHOW) : -EBADF;
	}
	sk_leave(&t, me.batch != 0);
	return r;
}

/* All that will come for now: no more is waited for. */
static bool is_enough(const struct sk *sk, const struct iovec *iov, int n_iov, int64_t shown)
{
	return shown >= (int64_t)max_u32(sk->rcvlowat, 1) || iov[n_iov - 1].iov_len ||
	       (shown > 0 && sk_shows(sk) & (EPOLLRDHUP | EPOLLHUP));
}

int64_t sk_recv_in_place(int fd, struct iovec *iov, int n_iov, int flags)
{
	struct ent e = fd_get(fd);
	int64_t r = not_a_stream(e);
	bool waiting = false;
	struct wait w;
	struct sk *sk;
	int err, i;

	if (n_iov <= 0 || !iov || flags & ~MSG_DONTWAIT)
		return -EINVAL;
	for (i = 0; i < n_iov; i++)
		iov[i] = (struct iovec){ NULL, 0 };
	if (r)
		return r == SK_PASS ? copy_recv(fd, iov, flags) : r;
	for (;;) {
		r = show_turn(e, iov, n_iov);
		if (r <= 0 && r != -EAGAIN)
			return r;
		sk = sk_peek(e.h);
		if (!sk)
			return -EBADF;
		if ((r > 0 && is_enough(sk, iov, n_iov, r)) || flags & MSG_DONTWAIT || sk->user & SKU_NONBLOCK)
			return r;
		if (!waiting) {
			wait_init(&w, until_ms(sk->rcvtimeo_ms));
			wait_sk(&w, e.h, EPOLLIN | EPOLLRDHUP);
			waiting = true;
		}
		err = wait_for(&w);
		if (err)
			return r > 0 ? r : err == -ETIMEDOUT ? -EAGAIN : err;
	}
}

static int64_t take_shown(struct turn *t, struct sk *sk, uint64_t left)
{
	int64_t r;

	(void)stream_unread(t, sk);	/* brings rxq_bytes up to date */
	if (left > sk->rxq_bytes)
		return -EINVAL;
	while (left) {
		struct iovec v = { NULL, left };

		r = stream_recv(t, sk, &v, 1, TCP_RECV_TRUNC | TCP_RECV_SHOWN);
		if (r <= 0)
			return r < 0 ? r : -EINVAL;
		left -= (uint64_t)r;
	}
	return 0;
}

int64_t sk_hand_back(int fd, size_t n)
{
	struct ent e = fd_get(fd);
	int64_t r = not_a_stream(e);
	struct turn t;
	struct sk *sk;

	if (r)
		return r == SK_PASS ? copy_hand_back(fd, n) : r;
	if (!sk_enter_for(&t, e.h))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	r = sk ? take_shown(&t, sk, n) : -EBADF;
	sk_leave(&t, me.batch != 0);
	return r;
}

/* ---- sending --------------------------------------------------------------------------------------- */

static bool is_ring(struct ent e)
{
	const struct sk *sk = e.kind == FD_TCP ? sk_peek(e.h) : NULL;

	return sk && is_ap(sk);
}

static int64_t reserve_turn(struct ent e, size_t want, void **ret)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EBADF;

	if (!sk_enter_for(&t, e.h))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && is_ap(sk))
		r = ap_reserve(&t, sk, want, ret);
	if (r == -EAGAIN) {
		exec_round(&self.x, &t);
		sk = sk_find(&t, (sk_h){ e.h });
		r = sk && is_ap(sk) ? ap_reserve(&t, sk, want, ret) : -EBADF;
	}
	sk_leave(&t, false);
	return r;
}

int64_t sk_send_reserve(int fd, size_t want, void **ret)
{
	struct ent e = fd_get(fd);
	int64_t r = not_a_stream(e);
	bool waiting = false;
	struct wait w;
	struct sk *sk;
	int err;

	if (!want)
		return -EINVAL;
	if (r && r != SK_PASS)
		return r;
	if (!is_ring(e))
		return copy_reserve(fd, want, ret);
	for (;;) {
		r = reserve_turn(e, want, ret);
		if (r != -EAGAIN)
			return r;
		sk = sk_peek(e.h);
		if (!sk || sk->user & SKU_NONBLOCK)
			return sk ? -EAGAIN : -EBADF;
		if (!waiting) {
			wait_init(&w, until_ms(sk->sndtimeo_ms));
			wait_sk(&w, e.h, EPOLLOUT);
			waiting = true;
		}
		err = wait_for(&w);
		if (err)
			return err == -ETIMEDOUT ? -EAGAIN : err;
	}
}

int64_t sk_send_commit(int fd, size_t n)
{
	struct ent e = fd_get(fd);
	int64_t r = not_a_stream(e);
	struct turn t;
	struct sk *sk;

	if (r && r != SK_PASS)
		return r;
	if (!is_ring(e))
		return copy_commit(fd, e, n);
	if (!sk_enter_for(&t, e.h))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	r = sk && is_ap(sk) ? ap_commit(&t, sk, n) : -EBADF;
	sk_leave(&t, false);
	return r;
}

/* ---- what to expect ------------------------------------------------------------------------------- */

#define RECV_IN_PLACE 1		/* as include/onramp/onramp.h */
#define SEND_IN_PLACE 2

int64_t sk_in_place(int fd)
{
	struct ent e = fd_get(fd);

	if (e.kind == FD_PRIVATE || (e.kind == FD_NONE && sys_fcntl(fd, F_GETFD, 0) < 0))
		return -EBADF;
	return e.kind != FD_TCP ? 0 : is_ring(e) ? RECV_IN_PLACE | SEND_IN_PLACE : RECV_IN_PLACE;
}
