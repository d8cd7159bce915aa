/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SYN cookies (RFC 4987 3.6): when a listener has as many half-open connections as it may have, a
 * SYN is answered all the same, and nothing of it is kept: what the peer's ACK must bring back
 * stands in our initial sequence number,
 *
 *	31     27 26   24 23                    0
 *	| minute | MSS   | hash with our secret |
 *
 * (a "minute" has 64 seconds), and, if the peer has timestamps, in the low six bits of our first
 * one: its window scale, whether it has SACK, whether ECN was agreed. That timestamp is never ahead of
 * our clock. A peer without timestamps loses the options, as it would with Linux.
 *
 * A forged ACK is right once in 2^24 tries; so ACKs are taken for such answers only while
 * cookies were given out lately, and for two minutes at most.
 *
 * What is lost: our answer is never repeated. A peer that waits for us to speak first, and whose
 * ACK was lost, waits in vain. That is why a cookie is the last resort and the 64 bytes of synq.c
 * come before it.
 */
#include "core/tcp/parts.h"

#define SALT_COOKIE	0x636f6f6b
#define PERIOD_S	64u
#define N_PERIODS	2u
#define MAC_BITS	24
#define MAC_MASK	((1u << MAC_BITS) - 1)

#define TS_BITS		6
#define TS_MASK		((1u << TS_BITS) - 1)
#define TS_NO_WS	15u
#define TS_SACK		(1u << 4)
#define TS_ECN		(1u << 5)

/* The largest that is not above the peer's is told: Ethernet over this and that, and jumbo. */
static const uint16_t mss_table[8] = { TCP_MIN_MSS, 536, 1220, 1360, 1440, 1460, 4036, 8940 };

static uint32_t mss_index(uint16_t mss)
{
	uint32_t i = n_elems(mss_table) - 1;

	while (i && mss_table[i] > mss)
		i--;
	return i;
}

static uint32_t cookie_of(const struct turn *t, const struct syn_req *r, uint16_t lport, uint32_t period,
			  uint32_t mss_i)
{
	struct { struct ipaddr l, r; uint32_t ports, irs, period, mss_i, salt; } k = {
		r->laddr, r->raddr, (uint32_t)lport << 16 | r->rport, r->irs, period, mss_i, SALT_COOKIE,
	};
	uint64_t h = siphash24(t->map->seg->secret + 2, &k, sizeof(k));

	return (period & 31) << 27 | mss_i << MAC_BITS | ((uint32_t)(h ^ h >> 32) & MAC_MASK);
}

/* The latest timestamp, not ahead of the clock, that ends in these bits. */
static uint32_t ts_with(uint32_t now, uint32_t bits)
{
	uint32_t ts = (now & ~TS_MASK) | bits;

	return after(ts, now) ? ts - (TS_MASK + 1) : ts;
}

void tcp_cookie_make(struct turn *t, struct sk *lsk, struct sk *sk, const struct syn_req *r)
{
	struct tcp_listen *l = listen_of(lsk);
	struct tcb *b = tcb_of(sk);
	uint32_t now = tcp_ts_now(t, b), bits;

	b->iss = cookie_of(t, r, sk->lport, tcp_now_s(t) / PERIOD_S, mss_index(b->mss_clamp));
	b->snd_una = b->iss;
	b->snd_nxt = b->write_seq = b->iss + 1;
	if (b->flags & TCB_F_TS) {
		bits = b->flags & TCB_F_WSCALE ? r->ws & 15u : TS_NO_WS;
		bits |= b->flags & TCB_F_SACK ? TS_SACK : 0;
		bits |= b->ecn & ECN_OK ? TS_ECN : 0;
		b->ts_off += ts_with(now, bits) - now;
	} else {
		b->flags &= ~(TCB_F_SACK | TCB_F_WSCALE);
		b->rcv_wscale = b->snd_wscale = 0;
		b->ecn &= (uint8_t)~ECN_OK;
	}
	l->cookies = 1;
	l->cookie_at_s = tcp_now_s(t);
	ev(t, EV_TCP_COOKIE_OUT, lsk->self, b->iss, r->irs);
}

static void options_of(const struct tcp_seg *s, struct syn_req *ret)
{
	uint32_t bits = s->h.ts_ecr & TS_MASK;

	if (!s->h.has_ts)
		return;
	ret->opts = SYN_O_TS;
	ret->ts_val = s->h.ts_val;
	if ((bits & 15) != TS_NO_WS) {
		ret->opts |= SYN_O_WS;
		ret->ws = (uint8_t)(bits & 15);
	}
	if (bits & TS_SACK)
		ret->opts |= SYN_O_SACK;
	if (bits & TS_ECN)
		ret->flags = TCP_F_SYN | TCP_F_ECE | TCP_F_CWR;
}

bool tcp_cookie_check(struct turn *t, struct sk *lsk, const struct tcp_seg *s, struct syn_req *ret)
{
	const struct tcp_listen *l = listen_of(lsk);
	uint32_t cookie = s->h.ack - 1, mss_i = cookie >> MAC_BITS & 7;
	uint32_t period = tcp_now_s(t) / PERIOD_S;
	bool found = false;

	if (!l->cookies || tcp_now_s(t) - l->cookie_at_s > N_PERIODS * PERIOD_S)
		return false;
	*ret = (struct syn_req){
		.laddr = s->in->dst, .raddr = s->in->src, .rport = s->h.sport, .irs = s->seq - 1,
		.iss = cookie, .mss = mss_table[mss_i],
	};
	for (uint32_t i = 0; i < N_PERIODS && !found; i++)
		found = cookie == cookie_of(t, ret, s->h.dport, period - i, mss_i);
	ev(t, found ? EV_TCP_COOKIE_IN : EV_TCP_COOKIE_BAD, lsk->self, s->h.ack, s->seq);
	if (found)
		options_of(s, ret);
	return found;
}
