/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options and status (RFC 9293 3.10.6): what setsockopt() and getsockopt() see. Values and
 * defaults are Linux's.
 */
#include <linux/tcp.h>

#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

void tcp_opts_default(struct tcp_opts *o)
{
	*o = (struct tcp_opts){
		.quickack = 1, .linger_s = -1, .cc = TCP_CC_CUBIC, .ecn = TCP_ECN_SYSTEM,
		.max_pacing = UINT64_MAX,
	};
}

static uint32_t flag_if(uint8_t on, uint32_t flag)
{
	return on ? flag : 0;
}

static void set_buffers(struct turn *t, struct sk *sk, struct tcb *b, const struct tcp_opts *o)
{
	if (o->rcvbuf_locked && o->rcvbuf) {
		sk->rcvbuf = max_u32(o->rcvbuf, 2304);	/* SOCK_MIN_RCVBUF */
		b->flags |= TCB_F_RCVBUF;
	} else if (sk->rcvbuf == 0) {
		sk->rcvbuf = o->rcvbuf ? o->rcvbuf : tcp_tune_rcvbuf(t);
	}
	if (o->sndbuf_locked && o->sndbuf) {
		sk->sndbuf = max_u32(o->sndbuf, 4608);	/* SOCK_MIN_SNDBUF */
		b->flags |= TCB_F_SNDBUF;
	} else if (sk->sndbuf == 0) {
		sk->sndbuf = o->sndbuf ? o->sndbuf : tcp_tune_sndbuf(t);
	}
}

static void set_quickack(struct turn *t, struct sk *sk, bool on)
{
	struct tcb *b = tcb_of(sk);

	if (on == !b->pingpong)
		return;
	b->pingpong = !on;
	if (on && (b->ack_flags & ACK_SCHED) && tcp_is_sync(sk->state))
		tcp_emit_ack(t, sk);
}

static void set_keepalive(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	struct tcb *b = tcb_of(sk);
	uint16_t idle = (uint16_t)min_u32(o->keepidle_s ? o->keepidle_s : tcp_tune_keepidle_s(t), 32767);
	uint16_t intvl = (uint16_t)min_u32(o->keepintvl_s ? o->keepintvl_s : tcp_tune_keepintvl_s(t), 32767);
	bool on = b->flags & TCB_F_KEEPALIVE;
	bool changed = idle != b->keepidle_s || on != !!o->keepalive;

	b->keepidle_s = idle;
	b->keepintvl_s = intvl;
	b->keepcnt = (uint8_t)min_u32(o->keepcnt ? o->keepcnt : tcp_tune_keepcnt(t), 127);
	b->flags = (b->flags & ~TCB_F_KEEPALIVE) | flag_if(o->keepalive, TCB_F_KEEPALIVE);
	if (changed)
		tcp_tmr_keepalive(t, sk);
}

static void set_cc(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	struct tcb *b = tcb_of(sk);
	bool other = b->cc_wanted != o->cc;

	b->cc_wanted = o->cc < N_TCP_CC ? o->cc : TCP_CC_CUBIC;
	if (other && b->cc.mss != 0 && tcp_is_sync(sk->state))
		tcp_cc_switch(t, b);
	if (sk->state < TCP_S_ESTABLISHED && !(b->ecn & ECN_OK))
		tcp_ecn_init(b, o->ecn == TCP_ECN_SYSTEM ? tcp_tune_ecn(t) : o->ecn);
	b->max_rate = o->max_pacing ? o->max_pacing : UINT64_MAX;
	tcp_pace_init(t, b);
}

void tcp_set_opts(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	struct tcb *b = tcb_of(sk);
	uint32_t held;

	if (sk->kind == SK_LISTEN) {
		listen_of(sk)->opts = *o;
		sk->rcvbuf = o->rcvbuf ? o->rcvbuf : sk->rcvbuf;
		sk->sndbuf = o->sndbuf ? o->sndbuf : sk->sndbuf;
		return;
	}
	held = b->flags & (TCB_F_CORK | TCB_F_NODELAY);
	b->flags &= ~(TCB_F_NODELAY | TCB_F_CORK | TCB_F_OOBINLINE | TCB_F_THIN);
	b->flags |= flag_if(o->nodelay, TCB_F_NODELAY) | flag_if(o->cork, TCB_F_CORK) |
		    flag_if(o->oobinline, TCB_F_OOBINLINE) | flag_if(o->thin, TCB_F_THIN);
	set_buffers(t, sk, b, o);
	set_quickack(t, sk, o->quickack);
	set_keepalive(t, sk, o);
	set_cc(t, sk, o);
	b->user_timeout_ms = o->user_timeout_ms;
	b->user_mss = (uint16_t)(o->maxseg ? max_u32(min_u32(o->maxseg, 32767), 88) : 0);
	b->linger_s = o->linger_s;
	b->linger2_s = o->linger2_s;
	b->syncnt = (uint8_t)min_u32(o->syncnt ? o->syncnt : tcp_tune_syn_retries(t), 127);
	b->window_clamp = o->window_clamp ? o->window_clamp : UINT32_MAX;
	b->defer_accept_s = (uint16_t)min_u32(o->defer_accept_s, UINT16_MAX);
	b->notsent_lowat = o->notsent_lowat;
	b->early_flags = (uint8_t)((b->early_flags & ~(TFO_CONNECT | TFO_NO_COOKIE)) |
				   flag_if(o->fo_connect, TFO_CONNECT) | flag_if(o->fo_no_cookie, TFO_NO_COOKIE));
	sk->tos = o->tos;
	sk->ttl = o->ttl;
	sk->flags = o->zerocopy ? sk->flags | SK_F_ZEROCOPY : sk->flags & ~SK_F_ZEROCOPY;
	if (tcp_is_sync(sk->state)) {
		/* Linux: TCP_NODELAY, and the end of TCP_CORK, push what they held back. */
		if (((held & TCB_F_CORK) && !o->cork) || (!(held & TCB_F_NODELAY) && o->nodelay)) {
			b->flags &= ~TCB_F_MORE;
			b->burst_segs = 0;
			if (b->tx_next)		/* once, even through a cork */
				b->flags |= TCB_F_PUSH;
			tcp_output(t, sk);
		}
	}
}

void tcp_get_opts(struct turn *t, struct sk *sk, struct tcp_opts *ret)
{
	const struct tcb *b = tcb_of(sk);

	(void)t;
	if (sk->kind == SK_LISTEN) {
		*ret = listen_of(sk)->opts;
		ret->rcvbuf = sk->rcvbuf;
		ret->sndbuf = sk->sndbuf;
		return;
	}
	*ret = (struct tcp_opts){
		.rcvbuf = sk->rcvbuf, .sndbuf = sk->sndbuf,
		.rcvbuf_locked = !!(b->flags & TCB_F_RCVBUF),
		.sndbuf_locked = !!(b->flags & TCB_F_SNDBUF),
		.nodelay = !!(b->flags & TCB_F_NODELAY), .cork = !!(b->flags & TCB_F_CORK),
		.quickack = !b->pingpong, .keepalive = !!(b->flags & TCB_F_KEEPALIVE),
		.keepidle_s = b->keepidle_s, .keepintvl_s = b->keepintvl_s, .keepcnt = b->keepcnt,
		.user_timeout_ms = b->user_timeout_ms, .maxseg = b->user_mss,
		.linger2_s = b->linger2_s, .syncnt = b->syncnt,
		.window_clamp = b->window_clamp == UINT32_MAX ? 0 : b->window_clamp,
		.defer_accept_s = b->defer_accept_s, .notsent_lowat = b->notsent_lowat,
		.linger_s = b->linger_s, .cc = b->cc_wanted, .max_pacing = b->max_rate,
		.ecn = b->ecn & ECN_WANTED ? TCP_ECN_ASK : b->ecn & ECN_ANSWER ? TCP_ECN_ANSWER : TCP_ECN_OFF,
		.oobinline = !!(b->flags & TCB_F_OOBINLINE), .thin = !!(b->flags & TCB_F_THIN),
		.fo_connect = !!(b->early_flags & TFO_CONNECT), .fo_no_cookie = !!(b->early_flags & TFO_NO_COOKIE),
		.tos = sk->tos, .ttl = sk->ttl,
		.v6only = !!(sk->flags & SK_F_V6ONLY), .reuseaddr = !!(sk->flags & SK_F_REUSEADDR),
		.family6 = !!(sk->flags & SK_F_FAMILY6), .zerocopy = !!(sk->flags & SK_F_ZEROCOPY),
	};
}

/* Linux's numbering of states, for TCP_INFO. TIME_WAIT is CLOSE to a descriptor (7). */
static const uint8_t linux_state[N_TCP_STATES] = {
	[TCP_S_CLOSED] = 7, [TCP_S_LISTEN] = 10, [TCP_S_SYN_SENT] = 2, [TCP_S_SYN_RCVD] = 3,
	[TCP_S_ESTABLISHED] = 1, [TCP_S_FIN_WAIT_1] = 4, [TCP_S_FIN_WAIT_2] = 5,
	[TCP_S_CLOSE_WAIT] = 8, [TCP_S_CLOSING] = 11, [TCP_S_LAST_ACK] = 9, [TCP_S_TIME_WAIT] = 7,
};

static uint32_t segs(uint32_t bytes, const struct tcb *b)
{
	return (bytes + b->mss - 1) / b->mss;
}

static void info_state(const struct sk *sk, const struct tcb *b, struct tcp_info *i)
{
	i->tcpi_state = linux_state[sk->state < N_TCP_STATES ? sk->state : 0];
	if (sk->state == TCP_S_ESTABLISHED && b->flags & TCB_F_FASTOPEN)
		i->tcpi_state = linux_state[TCP_S_SYN_RCVD];
	i->tcpi_ca_state = b->ca_state;
	i->tcpi_retransmits = b->n_rtx;
	i->tcpi_probes = b->n_probes;
	i->tcpi_backoff = b->n_rtx;
	i->tcpi_options = (uint8_t)((b->flags & TCB_F_TS ? TCPI_OPT_TIMESTAMPS : 0) |
				    (b->flags & TCB_F_SACK ? TCPI_OPT_SACK : 0) |
				    (b->flags & TCB_F_WSCALE ? TCPI_OPT_WSCALE : 0) |
				    (b->early_flags & TFO_TAKEN ? TCPI_OPT_SYN_DATA : 0) |
				    (b->ecn & ECN_OK ? TCPI_OPT_ECN : 0) |
				    (b->ecn & ECN_SEEN ? TCPI_OPT_ECN_SEEN : 0));
	i->tcpi_snd_wscale = b->snd_wscale & 15;
	i->tcpi_rcv_wscale = b->rcv_wscale & 15;
	i->tcpi_pmtu = b->pmtu ? min_u32(b->pmtu, sk->path.mtu) : sk->path.mtu;
}

static void info_send(struct turn *t, const struct tcb *b, struct tcp_info *i)
{
	i->tcpi_rto = (uint32_t)(tcp_rtt_rto_ns(&b->rtt, b->n_rtx) / NS_PER_US);
	i->tcpi_snd_mss = b->mss;
	i->tcpi_unacked = segs(b->snd_nxt - b->snd_una, b);
	i->tcpi_sacked = b->n_sacked;
	/* Linux keeps what it has sent again among the lost, until it arrives. */
	i->tcpi_lost = segs(b->lost_out + (b->ca_state >= TCP_CA_RECOVERY ? b->retrans_out : 0), b);
	i->tcpi_retrans = segs(b->retrans_out, b);
	i->tcpi_last_data_sent = tcp_now_ms(t) - b->last_snd_ms;
	i->tcpi_rtt = b->rtt.srtt_us8 >> 3;
	i->tcpi_rttvar = b->rtt.rttvar_us4 >> 2;
	i->tcpi_min_rtt = b->rtt.min_us;
	i->tcpi_snd_ssthresh = b->cc.ssthresh >= INT32_MAX ? INT32_MAX : segs(b->cc.ssthresh, b);
	i->tcpi_snd_cwnd = segs(b->cc.cwnd, b);
	i->tcpi_reordering = b->dupthresh;
	i->tcpi_total_retrans = b->total_retrans;
	i->tcpi_pacing_rate = tcp_pace_rate(b);
	i->tcpi_max_pacing_rate = b->max_rate;
	i->tcpi_bytes_acked = b->bytes_acked;
	i->tcpi_segs_out = b->segs_out;
	i->tcpi_data_segs_out = b->data_segs_out;
	i->tcpi_notsent_bytes = b->write_seq - b->snd_nxt;
	i->tcpi_delivered = b->delivered;
	i->tcpi_delivered_ce = segs(b->rate.delivered_ce, b);
	if (b->rate.best_us) {
		i->tcpi_delivery_rate = (uint64_t)b->rate.best * 1000000 / b->rate.best_us;
		i->tcpi_delivery_rate_app_limited = b->rate_app & 1;
	}
	i->tcpi_bytes_sent = b->bytes_sent;
	i->tcpi_bytes_retrans = b->bytes_retrans;
	i->tcpi_dsack_dups = b->dsack_dups;
	i->tcpi_reord_seen = b->reord_seen;
	i->tcpi_snd_wnd = b->snd_wnd;
}

static void info_recv(struct turn *t, const struct sk *sk, const struct tcb *b, struct tcp_info *i)
{
	i->tcpi_ato = b->ato_ms * 1000u;
	i->tcpi_rcv_mss = b->rcv_mss;
	i->tcpi_advmss = b->advmss;
	i->tcpi_last_data_recv = tcp_now_ms(t) - b->last_rcv_ms;
	i->tcpi_last_ack_recv = tcp_now_ms(t) - b->last_ack_ms;
	i->tcpi_rcv_ssthresh = sk->rcvbuf / 2;
	i->tcpi_rcv_rtt = b->rcv_rtt_us;
	i->tcpi_rcv_space = b->rcvq_space;
	i->tcpi_bytes_received = b->bytes_received;
	i->tcpi_segs_in = b->segs_in;
	i->tcpi_data_segs_in = b->data_segs_in;
	i->tcpi_rcv_ooopack = b->rcv_ooopack;
}

void tcp_get_info(struct turn *t, struct sk *sk, struct tcp_info *ret, size_t bytes)
{
	struct tcp_info i;
	const struct tcb *b = tcb_of(sk);

	memset(&i, 0, sizeof(i));
	if (sk->kind == SK_LISTEN) {
		i.tcpi_state = linux_state[sk->state == TCP_S_LISTEN ? TCP_S_LISTEN : TCP_S_CLOSED];
		i.tcpi_unacked = listen_of(sk)->n_accept;	/* as Linux: the queue and */
		i.tcpi_sacked = listen_of(sk)->backlog;		/* its limit */
	} else {
		info_state(sk, b, &i);
		info_send(t, b, &i);
		info_recv(t, sk, b, &i);
	}
	memcpy(ret, &i, bytes < sizeof(i) ? bytes : sizeof(i));
}

uint32_t tcp_get_mss(struct turn *t, struct sk *sk)
{
	(void)t;
	if (sk->kind == SK_LISTEN)
		return listen_of(sk)->opts.maxseg ? listen_of(sk)->opts.maxseg : TCP_DEF_MSS;
	return tcb_of(sk)->mss;
}

uint32_t tcp_unread(struct turn *t, struct sk *sk)
{
	(void)t;
	return sk->kind == SK_TCP ? sk->rxq_bytes : 0;
}

uint32_t tcp_unsent(struct turn *t, struct sk *sk)
{
	const struct tcb *b = tcb_of(sk);

	(void)t;
	return sk->kind == SK_TCP && sk->state != TCP_S_SYN_SENT ? b->write_seq - b->snd_nxt : 0;
}

uint32_t tcp_unacked(struct turn *t, struct sk *sk)
{
	(void)t;
	return sk->kind == SK_TCP ? sk->txq_bytes : 0;
}
