/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Is cwnd what limits the sender? A window that is not used proves nothing of the path, so it
 * must not grow (RFC 5681 4.1, RFC 7661 4.3), and after a while it is taken back to what is used
 * (RFC 2861 3.2); after an idle time-out it is halved per time-out (RFC 5681 4.1). As Linux has it:
 *
 *	full	the last output was stopped by cwnd, or in slow start more than half of it has been
 *		in flight within the last round trip, so that it may double what was used
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

static void remember(struct tcb *b)
{
	b->cc.ssthresh = max_u32(b->cc.ssthresh, b->cc.cwnd / 4 * 3);
}

bool tcp_usage_is_full(const struct tcb *b)
{
	if (b->flags & TCB_F_CWND_FULL)
		return true;
	return b->cc.cwnd < b->cc.ssthresh && b->cc.cwnd < 2 * (uint64_t)b->max_out;
}

/* RFC 2861 3.2: for a time-out no round trip has filled it. */
static void shrink(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t used = max_u32(b->cwnd_used, TCP_INIT_CWND * b->mss);

	if (b->ca_state == TCP_CA_OPEN && !(b->flags & TCB_F_NOSPACE)) {
		if (used < b->cc.cwnd) {
			remember(b);
			b->cc.cwnd = b->cc.cwnd / 2 + used / 2;
		}
		b->cwnd_used = 0;
	}
	b->used_at_ms = tcp_now_ms(t);
}

/* Something has been sent. */
void tcp_usage_on_output(struct turn *t, struct sk *sk, bool cwnd_full)
{
	struct tcb *b = tcb_of(sk);
	uint32_t out = tcp_out_bytes(b);
	bool was = b->flags & TCB_F_CWND_FULL;

	/* The strongest witness of a round trip counts. */
	if (!before(b->snd_una, b->usage_seq) || cwnd_full || (!was && out > b->max_out)) {
		b->flags = cwnd_full ? b->flags | TCB_F_CWND_FULL : b->flags & ~TCB_F_CWND_FULL;
		b->max_out = out;
		b->usage_seq = b->snd_nxt;
	}
	if (tcp_usage_is_full(b)) {
		b->cwnd_used = 0;
		b->used_at_ms = tcp_now_ms(t);
		return;
	}
	b->cwnd_used = max_u32(b->cwnd_used, out);
	if (!(b->cc_flags & CC_F_OWNS) && !tcp_tune_is_off(t, MIR_TCP_NO_RESTART) &&
	    tcp_now_ms(t) - b->used_at_ms >= b->rtt.rto_us / 1000)
		shrink(t, sk);
}

/* RFC 5681 4.1: after an idle RTO, cwnd is no longer known to be right; halved per RTO, as Linux
 * does, down to the initial window. */
void tcp_usage_on_start(struct turn *t, struct tcb *b, uint32_t last_ms)
{
	uint32_t idle_ms = tcp_now_ms(t) - last_ms;
	uint32_t rto_ms = b->rtt.rto_us / 1000;
	uint32_t floor = min_u32(b->cc.cwnd, TCP_INIT_CWND * b->mss);

	if (b->data_segs_out <= 1)
		return;
	if (idle_ms || (b->cc_flags & CC_F_OWNS))
		tcp_cc_ops(&b->cc)->on_idle(&b->cc, idle_ms * NS_PER_MS, t->now, b->rate.app_limited != 0);
	if (idle_ms <= rto_ms || (b->cc_flags & CC_F_OWNS) || tcp_tune_is_off(t, MIR_TCP_NO_RESTART))
		return;
	remember(b);
	for (uint32_t n = 0; n < 16 && idle_ms > rto_ms && b->cc.cwnd > floor; n++) {
		b->cc.cwnd = max_u32(b->cc.cwnd / 2, floor);
		idle_ms -= rto_ms;
	}
	b->used_at_ms = tcp_now_ms(t);
	b->cwnd_used = 0;
}
