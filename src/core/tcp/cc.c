/* SPDX-License-Identifier: BSD-2-Clause */
/* The table, and what all congestion control shares: slow start, sizes, which algorithm runs. */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

static const struct tcp_cc_ops *const table[N_TCP_CC] = {
	[TCP_CC_CUBIC] = &tcp_cc_cubic, [TCP_CC_RENO] = &tcp_cc_reno, [TCP_CC_BBR] = &tcp_cc_bbr,
	[TCP_CC_DCTCP] = &tcp_cc_dctcp,
};

const struct tcp_cc_ops *tcp_cc_of(uint8_t algo)
{
	return algo < N_TCP_CC ? table[algo] : &tcp_cc_cubic;
}

const char *tcp_cc_name(unsigned algo)
{
	return algo < N_TCP_CC ? table[algo]->name : NULL;
}

static bool is_same(const char *a, const char *b)
{
	while (*a && *a == *b) {
		a++;
		b++;
	}
	return *a == *b;
}

int tcp_cc_by_name(const char *name)
{
	for (int i = 0; i < N_TCP_CC; i++) {
		if (is_same(table[i]->name, name))
			return i;
	}
	return -ENOENT;
}

const char *tcp_get_cc(const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);

	/* Linux has that name for it. */
	if (tcp_is_sync(sk->state) && b->cc_wanted == TCP_CC_DCTCP && b->cc.algo == TCP_CC_RENO)
		return "dctcp-reno";
	return tcp_cc_of(b->cc_wanted)->name;
}

void tcp_cc_init(struct tcp_cc *c, uint8_t algo, uint32_t mss)
{
	must(mss >= TCP_MIN_MSS && mss <= UINT16_MAX);
	*c = (struct tcp_cc){ .algo = algo, .mss = (uint16_t)mss, .cwnd = TCP_INIT_CWND * mss,
			      .ssthresh = INT32_MAX, .cwnd_max = 1u << 30 };
	tcp_cc_ops(c)->init(c);
}

/* DCTCP without ECN is Reno, as in Linux. */
static uint8_t fitting(const struct tcb *b)
{
	bool ecn = tcp_cc_of(b->cc_wanted)->flags & CC_F_ECN;

	return ecn && !(b->ecn & ECN_OK) ? TCP_CC_RENO : b->cc_wanted;
}

static void begun(struct turn *t, struct tcb *b)
{
	b->cc_flags = (uint8_t)tcp_cc_ops(&b->cc)->flags;
	tcp_pace_init(t, b);
}

void tcp_cc_begin(struct turn *t, struct tcb *b)
{
	tcp_cc_init(&b->cc, fitting(b), b->mss);
	begun(t, b);
}

/* In the middle: what is known of the path in general stays. */
void tcp_cc_switch(struct turn *t, struct tcb *b)
{
	uint32_t cwnd = b->cc.cwnd, ssthresh = b->cc.ssthresh;
	uint8_t algo = fitting(b);

	if (algo == b->cc.algo)
		return;
	tcp_cc_init(&b->cc, algo, b->mss);
	b->cc.cwnd = cwnd;
	if (!(tcp_cc_ops(&b->cc)->flags & CC_F_OWNS))
		b->cc.ssthresh = ssthresh;
	begun(t, b);
}

/* cwnd is thought of in segments: a new segment size rescales nothing but the floor. */
void tcp_cc_set_mss(struct tcp_cc *c, uint32_t mss)
{
	must(mss >= TCP_MIN_MSS && mss <= UINT16_MAX);
	c->mss = (uint16_t)mss;
	c->cwnd = max_u32(c->cwnd, mss);
	c->ssthresh = max_u32(c->ssthresh, 2 * mss);
}

void tcp_cc_grow(struct tcp_cc *c, uint32_t bytes)
{
	c->cwnd = min_u32(c->cwnd + min_u32(bytes, c->cwnd_max), c->cwnd_max);
}

/* RFC 5681 3.1, with RFC 3465's byte counting and, as in Linux, no limit per ACK. */
uint32_t tcp_cc_slow_start(struct tcp_cc *c, uint32_t acked)
{
	uint32_t room = c->ssthresh > c->cwnd ? c->ssthresh - c->cwnd : 0;
	uint32_t take = min_u32(acked, room);

	tcp_cc_grow(c, take);
	return acked - take;
}
