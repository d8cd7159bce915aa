/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP's sysctls, as the agent read them from its network namespace (struct mir_tcp). What an administrator
 * set for the kernel's TCP holds for ours; where nothing is known, Linux's own default holds. A number is
 * used as it is only within the bounds that the segment's pools and the field's width leave.
 */
#include "abi/mirror.h"
#include "core/tcp/parts.h"

#define KEEPIDLE_DEF_S	7200u
#define KEEPINTVL_DEF_S	75u
#define KEEPCNT_DEF	9u
#define WSCALE_MAX	14u	/* RFC 7323 2.3 */
#define BUF_MIN		4608u

static const struct mir_tcp *said(const struct turn *t)
{
	static const struct mir_tcp nothing;

	return t->map->mirror ? &t->map->mirror->tcp : &nothing;
}

static uint32_t or_else(uint32_t v, uint32_t otherwise) { return v ? v : otherwise; }

static uint32_t buffer(uint32_t v, uint32_t otherwise, uint32_t max)
{
	return max_u32(min_u32(or_else(v, otherwise), max), BUF_MIN);
}

uint32_t tcp_tune_rcvbuf(const struct turn *t) { return buffer(said(t)->rmem, TCP_RCVBUF_DEF, TCP_RCVBUF_MAX); }
uint32_t tcp_tune_rcvbuf_max(const struct turn *t) { return buffer(said(t)->rmem_max, TCP_RCVBUF_MAX, TCP_RCVBUF_MAX); }
uint32_t tcp_tune_sndbuf_max(const struct turn *t) { return buffer(said(t)->wmem_max, TCP_SNDBUF_MAX, TCP_SNDBUF_MAX); }
/* Linux's begins small and is enlarged when the connection is open, to what ten segments want. */
uint32_t tcp_tune_sndbuf(const struct turn *t)
{
	return buffer(max_u32(said(t)->wmem, TCP_SNDBUF_DEF), TCP_SNDBUF_DEF, tcp_tune_sndbuf_max(t));
}

/* Linux's tcp_select_initial_window(): the least scale by which the largest window that there may ever be
 * can be told, though never more than a buffer that the user has fixed, or TCP_WINDOW_CLAMP, allows. */
uint8_t tcp_tune_wscale(const struct turn *t, const struct sk *sk)
{
	uint32_t space = or_else(said(t)->rmem_max, TCP_RCVBUF_MAX / 2), scale = 0;
	const struct tcb *b = tcb_of_const(sk);

	if (b->flags & TCB_F_RCVBUF)	/* the whole of what was asked for, more than the default or less */
		space = sk->rcvbuf / 2;
	space = min_u32(space, b->window_clamp);
	while (scale < WSCALE_MAX && space >> scale > UINT16_MAX)
		scale++;
	return (uint8_t)scale;
}

uint32_t tcp_tune_syn_retries(const struct turn *t) { return or_else(said(t)->syn_retries, TCP_SYN_RETRIES); }
uint32_t tcp_tune_syn_linear(const struct turn *t) { return said(t)->syn_linear; }
uint32_t tcp_tune_synack_retries(const struct turn *t) { return or_else(said(t)->synack_retries, TCP_SYNACK_RETRIES); }
uint32_t tcp_tune_retries2(const struct turn *t) { return or_else(said(t)->retries2, TCP_RETRIES2); }
uint32_t tcp_tune_orphan_retries(const struct turn *t) { return or_else(said(t)->orphan_retries, TCP_ORPHAN_RETRIES); }
uint32_t tcp_tune_fin_timeout_s(const struct turn *t) { return or_else(said(t)->fin_timeout_s, TCP_FIN_TIMEOUT_S); }
uint32_t tcp_tune_keepidle_s(const struct turn *t) { return or_else(said(t)->keepidle_s, KEEPIDLE_DEF_S); }
uint32_t tcp_tune_keepintvl_s(const struct turn *t) { return or_else(said(t)->keepintvl_s, KEEPINTVL_DEF_S); }
uint32_t tcp_tune_keepcnt(const struct turn *t) { return or_else(said(t)->keepcnt, KEEPCNT_DEF); }
uint32_t tcp_tune_notsent_lowat(const struct turn *t) { return or_else(said(t)->notsent_lowat, UINT32_MAX); }
uint8_t tcp_tune_ecn(const struct turn *t) { return said(t)->ecn ? (uint8_t)(said(t)->ecn - 1) : TCP_ECN_ANSWER; }

uint32_t tcp_tune_fastopen(const struct turn *t) { return said(t)->fastopen ? said(t)->fastopen - 1 : TFO_CLIENT; }
uint32_t tcp_tune_fastopen_off_s(const struct turn *t) { return said(t)->fastopen_off_s; }

bool tcp_tune_is_off(const struct turn *t, uint32_t what) { return said(t)->off & what; }
