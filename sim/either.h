/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP's calls, and those of the same name for connections through apertures. In worlds where
 * processes die inside a turn, a call may be a process's last (step.c).
 */
#ifndef SIM_EITHER_H
#define SIM_EITHER_H

#include "core/ap/ap.h"
#include "core/ap/ap_area.h"
#include "core/tcp/tcb.h"
#include "sim/sim.h"

static inline bool is_ap(const struct sk *sk) { return sk->kind == SK_AP; }

static inline int64_t either_send(struct sim *w, struct turn *t, struct sk *sk, const struct iovec *v, uint32_t n,
				  uint32_t flags)
{
	int64_t r;

	step_in(w);
	r = is_ap(sk) ? ap_send(t, sk, v, n, flags) : tcp_send(t, sk, v, n, flags);
	step_out();
	return r;
}

static inline int64_t either_recv(struct sim *w, struct turn *t, struct sk *sk, const struct iovec *v, uint32_t n,
				  uint32_t flags)
{
	int64_t r;

	step_in(w);
	r = is_ap(sk) ? ap_recv(t, sk, v, n, flags, 0) : tcp_recv(t, sk, v, n, flags, 0);
	step_out();
	return r;
}

static inline int either_shutdown(struct sim *w, struct turn *t, struct sk *sk, int how)
{
	int r;

	step_in(w);
	r = is_ap(sk) ? ap_shutdown(t, sk, how) : tcp_shutdown(t, sk, how);
	step_out();
	return r;
}

static inline void either_abort(struct sim *w, struct turn *t, struct sk *sk, int err)
{
	step_in(w);
	if (is_ap(sk))
		ap_abort(t, sk, err);
	else
		tcp_abort(t, sk, err);
	step_out();
}

static inline void either_close(struct sim *w, struct turn *t, struct sk *sk)
{
	step_in(w);
	net_close(t, sk);
	step_out();
}

static inline struct sk *either_accept(struct sim *w, struct turn *t, struct sk *listener)
{
	struct sk *sk;

	step_in(w);
	sk = tcp_accept(t, listener);
	step_out();
	return sk;
}

/* Somebody is going to wait for it, or watches it. */
static inline void either_want(struct sim *w, struct turn *t, struct sk *sk)
{
	if (!is_ap(sk))
		return;
	step_in(w);
	ap_want(t, sk);
	step_out();
}

static inline void either_set_opts(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	if (is_ap(sk))
		ap_set_opts(t, sk, o);
	else
		tcp_set_opts(t, sk, o);
}

static inline void either_get_opts(struct turn *t, struct sk *sk, struct tcp_opts *ret)
{
	if (is_ap(sk))
		ap_get_opts(t, sk, ret);
	else
		tcp_get_opts(t, sk, ret);
}

static inline void either_get_info(struct turn *t, struct sk *sk, struct tcp_info *ret, size_t n)
{
	if (is_ap(sk))
		ap_get_info(t, sk, ret, n);
	else
		tcp_get_info(t, sk, ret, n);
}

/* What both ends of one connection have in common and no other has. */
static inline uint32_t either_mark(const struct sk *sk, bool server)
{
	if (is_ap(sk))
		return ap_of_const(sk)->nonce;
	return server ? tcb_of_const(sk)->irs : tcb_of_const(sk)->iss;
}

#endif
