/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Streams of either provider: a connection of our TCP, or one through an aperture. Here the
 * one is told from the other; nowhere else in this folder, but where they begin.
 */
#ifndef SOCK_STREAM_H
#define SOCK_STREAM_H

#include <sys/ioctl.h>

#include "core/ap/ap.h"
#include "sock/self.h"

static inline bool is_ap(const struct sk *sk) { return sk->kind == SK_AP; }

static inline int64_t stream_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n, uint32_t flags)
{
	return is_ap(sk) ? ap_send(t, sk, iov, n, flags) : tcp_send(t, sk, iov, n, flags);
}
static inline int64_t stream_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n, uint32_t flags)
{
	return is_ap(sk) ? ap_recv(t, sk, iov, n, flags, 0) : tcp_recv(t, sk, iov, n, flags, 0);
}
static inline int stream_shutdown(struct turn *t, struct sk *sk, int how)
{
	if (sk->kind == SK_LISTEN)
		ap_listen_stop(t, sk);
	return is_ap(sk) ? ap_shutdown(t, sk, how) : tcp_shutdown(t, sk, how);
}
static inline void stream_get_opts(struct turn *t, struct sk *sk, struct tcp_opts *ret)
{
	if (is_ap(sk))
		ap_get_opts(t, sk, ret);
	else
		tcp_get_opts(t, sk, ret);
}
static inline void stream_set_opts(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	if (is_ap(sk))
		ap_set_opts(t, sk, o);
	else
		tcp_set_opts(t, sk, o);
}
static inline void stream_get_info(struct turn *t, struct sk *sk, struct tcp_info *ret, size_t n)
{
	if (is_ap(sk))
		ap_get_info(t, sk, ret, n);
	else
		tcp_get_info(t, sk, ret, n);
}
/* Bytes are where the peer reads them at once: nothing is unsent or unacknowledged. */
static inline uint32_t stream_unread(struct turn *t, struct sk *sk)
{
	return is_ap(sk) ? ap_unread(t, sk) : tcp_unread(t, sk);
}
static inline uint32_t stream_unacked(struct turn *t, struct sk *sk) { return is_ap(sk) ? 0 : tcp_unacked(t, sk); }
static inline uint32_t stream_unsent(struct turn *t, struct sk *sk) { return is_ap(sk) ? 0 : tcp_unsent(t, sk); }
static inline bool stream_is_drained(struct turn *t, struct sk *sk) { return is_ap(sk) || tcp_is_drained(t, sk); }
static inline bool stream_at_mark(struct turn *t, struct sk *sk)
{
	return is_ap(sk) ? ap_at_mark(t, sk) : tcp_at_mark(t, sk);
}

/* What poll() would say now, without a turn. */
static inline uint32_t sk_shows(const struct sk *sk)
{
	return is_ap(sk) ? ap_peek(&self.x.map, sk) : peek32(&sk->ready);
}
/* In a turn: somebody is going to sleep on it, or watches it. */
static inline void sk_watched(struct turn *t, struct sk *sk)
{
	if (is_ap(sk))
		ap_want(t, sk);
}

#endif
