/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * New control blocks, and what a handshake agrees: initial sequence numbers (RFC 6528), MSS
 * (RFC 9293 3.7.1, RFC 6691), window scale and timestamps (RFC 7323 2, 3), SACK (RFC 2018 2).
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

#define SALT_ISN 0x69736e
#define SALT_TS	 0x7473

struct tuple { struct ipaddr l, r; uint32_t ports, salt; };

static uint64_t tuple_hash(const struct turn *t, const struct sk *sk, uint32_t salt)
{
	struct tuple k = { sk->laddr, sk->raddr, (uint32_t)sk->lport << 16 | sk->rport, salt };

	return siphash24(t->map->seg->secret + 2, &k, sizeof(k));
}

/* RFC 6528 3: ISN = M + F(tuple, secret); M counts 64 ns as in Linux, so a tuple used again
 * begins above where it left off. */
uint32_t tcp_new_isn(struct turn *t, const struct sk *sk)
{
	return (uint32_t)(tuple_hash(t, sk, SALT_ISN) + (t->now >> 6));
}

void tcb_init(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	struct tcb *b = tcb_of(sk);

	b->flags = (tcp_tune_is_off(t, MIR_TCP_NO_TS) ? 0 : TCB_F_TS) |
		   (tcp_tune_is_off(t, MIR_TCP_NO_SACK) ? 0 : TCB_F_SACK) |
		   (tcp_tune_is_off(t, MIR_TCP_NO_WSCALE) ? 0 : TCB_F_WSCALE) | (ip_is4(&sk->raddr) ? TCB_F_V4 : 0);
	b->rtx_at = b->delack_at = b->keep_at = b->misc_at = b->early_at = b->pace_due = NEVER_NS;
	b->max_rate = UINT64_MAX;
	b->iss = tcp_new_isn(t, sk);
	b->snd_una = b->iss;
	b->snd_nxt = b->write_seq = b->iss + 1;
	b->snd_sml = b->snd_up = b->iss;
	b->recovery_point = b->iss;
	b->rack_fack = b->rack_end = b->iss;
	b->reo_mult = 1;
	b->undo_retrans = -1;
	b->dupthresh = TCP_DUPTHRESH;
	/* RFC 7323 7: an offset per tuple, so that uptime does not show. */
	b->ts_off = (uint32_t)tuple_hash(t, sk, SALT_TS);
	b->mss = b->mss_clamp = b->advmss = TCP_DEF_MSS;
	b->rcv_mss = TCP_DEF_MSS;
	b->window_clamp = UINT32_MAX;
	b->last_rcv_ms = b->last_ack_ms = b->last_snd_ms = tcp_now_ms(t);
	b->last_oow_ms = tcp_now_ms(t) - TCP_OOW_LIMIT_MS;
	tcp_rtt_init(&b->rtt);
	sk->rcvlowat = 1;
	tcp_set_opts(t, sk, o);
	b->rcv_wscale = tcp_tune_wscale(t, sk);	/* until the peer has none to offer */
	tcp_cc_init(&b->cc, b->cc_wanted, b->mss);
	b->usage_seq = b->iss;
}

static uint32_t ip_tcp_bytes(const struct tcb *b)
{
	return b->flags & TCB_F_V4 ? 20 + 20 : 40 + 20;
}

/* RFC 6691: fixed headers only are taken off; options are the sender's affair. */
uint16_t tcb_advmss(const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);
	uint32_t mtu = sk->path.mtu ? sk->path.mtu : TCP_DEF_MSS + 40;
	uint32_t m;

	if (b->pmtu)
		mtu = min_u32(mtu, b->pmtu);
	m = mtu > ip_tcp_bytes(b) ? mtu - ip_tcp_bytes(b) : TCP_MIN_MSS;

	if (b->user_mss)
		m = min_u32(m, b->user_mss);
	return (uint16_t)max_u32(m, TCP_MIN_MSS);
}

void tcb_sync_mss(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t mtu = sk->path.mtu, m;

	(void)t;
	if (unlikely(mtu == 0))
		return;
	if (sk->state < TCP_S_ESTABLISHED)
		b->advmss = tcb_advmss(sk);
	if (b->pmtu)
		mtu = min_u32(mtu, b->pmtu);
	m = mtu > ip_tcp_bytes(b) ? mtu - ip_tcp_bytes(b) : 0;
	m = min_u32(m, b->mss_clamp);
	if (b->user_mss)
		m = min_u32(m, b->user_mss);
	m -= b->flags & TCB_F_TS ? min_u32(m, 12) : 0;
	m = max_u32(m, TCP_MIN_MSS);
	if (likely(m == b->mss))
		return;
	b->mss = (uint16_t)m;
	tcp_cc_set_mss(&b->cc, m);
}

void tcb_take_syn(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	uint32_t mss = b->flags & TCB_F_V4 ? TCP_DEF_MSS : TCP_DEF_MSS6;

	b->irs = s->seq;
	b->rcv_nxt = b->rcv_wup = b->copied_seq = b->rcvq_seq = s->seq + 1;
	b->urg_seq = s->seq;
	if (!s->h.has_ts)
		b->flags &= ~TCB_F_TS;
	if (!s->h.sack_permitted)
		b->flags &= ~TCB_F_SACK;
	if (!s->h.has_ws)
		b->flags &= ~TCB_F_WSCALE;
	if (b->flags & TCB_F_TS) {
		b->ts_recent = s->h.ts_val;
		b->ts_recent_s = tcp_now_s(t);
	}
	if (b->flags & TCB_F_WSCALE) {
		b->snd_wscale = s->h.ws;
	} else {
		b->rcv_wscale = 0;
	}
	b->mss_clamp = (uint16_t)max_u32(s->h.mss ? s->h.mss : mss, TCP_MIN_MSS);
	b->snd_wnd = b->max_wnd = s->wnd;	/* RFC 7323 2.2: not scaled in a SYN */
	b->snd_wl1 = s->seq;
	tcp_ecn_take_syn(sk, s);
	tcb_sync_mss(t, sk);
}

/* Linux's tcp_init_transfer(): from here cwnd, buffers and timers mean something. */
void tcb_established(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	tcb_sync_mss(t, sk);
	tcp_cc_begin(t, b);
	b->rate.at_us = b->rate.first_us = tcp_now_us(t);
	b->used_at_ms = tcp_now_ms(t);
	if (b->rtt.srtt_us8 == 0)	/* RFC 6298 5.7; Linux: whenever the handshake measured nothing */
		b->rtt.rto_us = TCP_RTO_FALLBACK_US;
	if (b->total_retrans > 1)	/* RFC 5681 3.1; Linux forgives one lost SYN */
		b->cc.cwnd = b->mss;
	if (!(b->flags & TCB_F_RCVBUF))
		sk->rcvbuf = max_u32(tcp_tune_rcvbuf(t), min_u32(8u * b->advmss, tcp_tune_rcvbuf_max(t)));
	if (!(b->flags & TCB_F_SNDBUF))
		sk->sndbuf = min_u32(max_u32(tcp_tune_sndbuf(t), 2 * TCP_INIT_CWND *
					     (b->mss + TCP_SEG_CHARGE)), tcp_tune_sndbuf_max(t));
	b->rcv_mss = (uint16_t)max_u32(min_u32(min_u32(b->advmss, b->mss), TCP_DEF_MSS),
				       TCP_MIN_MSS);
	b->rcvq_space = min_u32(sk->rcvbuf / 2, TCP_INIT_CWND * b->advmss);
	b->rcvq_at_us = tcp_now_us(t);
	b->last_rcv_ms = tcp_now_ms(t);
	b->n_rtx = 0;
	b->retrans_at = 0;
	b->soft_err = 0;
	tcp_tmr_rearm(t, sk, TCP_RTX_NONE);
	tcp_tmr_keepalive(t, sk);
}
