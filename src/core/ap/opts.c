/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Options and what TCP_INFO tells of a connection without segments. Options that shape
 * segments are kept and told back; those that shape queues are obeyed.
 */
#include "core/ap/parts.h"

#include <linux/tcp.h>

#define RTT_US	1		/* what `ss` shows of a loopback connection is some 20 */

void ap_set_opts(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	struct ap *a = ap_of(sk);

	(void)t;
	a->opts = *o;
	sk->tos = o->tos;
	sk->ttl = o->ttl;
	sk->rcvbuf = o->rcvbuf ? o->rcvbuf : 131072;	/* tcp_rmem[1], tcp_wmem[1] as loopback has them */
	sk->sndbuf = o->sndbuf ? o->sndbuf : 2626560;
	sk->flags = o->zerocopy ? sk->flags | SK_F_ZEROCOPY : sk->flags & ~SK_F_ZEROCOPY;
	a->flags = o->oobinline ? a->flags | AP_F_OOBINLINE : a->flags & ~AP_F_OOBINLINE;
}

void ap_get_opts(struct turn *t, struct sk *sk, struct tcp_opts *ret)
{
	(void)t;
	*ret = ap_of(sk)->opts;
	ret->rcvbuf = sk->rcvbuf;
	ret->sndbuf = sk->sndbuf;
}

/* Linux's numbers for states (include/net/tcp_states.h). */
static uint8_t kernel_state(uint8_t state)
{
	switch (state) {
	case TCP_S_ESTABLISHED:
		return 1;
	case TCP_S_FIN_WAIT_2:
		return 5;
	case TCP_S_CLOSE_WAIT:
		return 8;
	default:
		return 7;	/* CLOSE */
	}
}

void ap_get_info(struct turn *t, struct sk *sk, struct tcp_info *ret, size_t bytes)
{
	const struct ap *a = ap_of(sk);
	uint32_t now_ms = (uint32_t)(t->now / NS_PER_MS);
	struct tcp_info i = {
		.tcpi_state = kernel_state(sk->state),
		.tcpi_options = TCPI_OPT_TIMESTAMPS | TCPI_OPT_SACK | TCPI_OPT_WSCALE,
		.tcpi_snd_wscale = 10, .tcpi_rcv_wscale = 10,
		.tcpi_rto = 200000, .tcpi_ato = 40000, .tcpi_snd_mss = AP_MSS, .tcpi_rcv_mss = AP_MSS,
		.tcpi_last_data_sent = now_ms - a->last_snd_ms,
		.tcpi_last_data_recv = now_ms - a->last_rcv_ms,
		.tcpi_last_ack_recv = now_ms - a->last_snd_ms,
		.tcpi_pmtu = 65535, .tcpi_advmss = AP_MSS, .tcpi_rtt = RTT_US, .tcpi_rttvar = RTT_US,
		.tcpi_snd_ssthresh = 0x7fffffff, .tcpi_rcv_ssthresh = sk->rcvbuf, .tcpi_snd_cwnd = 10,
		.tcpi_rcv_space = sk->rcvbuf, .tcpi_min_rtt = RTT_US, .tcpi_reordering = 3,
		.tcpi_bytes_acked = a->bytes_out, .tcpi_bytes_received = a->bytes_in,
		.tcpi_bytes_sent = a->bytes_out,
	};

	memset(ret, 0, bytes);
	memcpy(ret, &i, min_u64(bytes, sizeof(i)));
}
