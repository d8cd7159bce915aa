/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Explicit congestion notification (RFC 3168), and DCTCP's reading of it (RFC 8257).
 *
 *	SYN		ECE and CWR ask (mode 1, or an algorithm that needs it)
 *	SYN-ACK		ECE agrees (modes 1 and 2)
 *	new data	ECT(0) in the IP header; never a retransmission, an acknowledgement or a probe
 *	CE arrives	ECE on every acknowledgement until the peer's CWR (classic), or exactly as long
 *			as marks arrive (DCTCP)
 *	ECE arrives	recover.c cuts once a window; the next new segment says CWR
 *
 * A SYN that has to be sent again does not ask: something on the path may not like the question
 * (RFC 3168 6.1.1.1).
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

#define IP_ECN_MASK	3u
#define IP_ECT1		1u
#define IP_ECT0		2u
#define IP_CE		3u
#define ECE_CWR		(TCP_F_ECE | TCP_F_CWR)

static bool needs_ecn(const struct tcb *b)
{
	return tcp_cc_of(b->cc_wanted)->flags & CC_F_ECN;
}

void tcp_ecn_init(struct tcb *b, uint8_t mode)
{
	bool needed = needs_ecn(b);

	b->ecn = (uint8_t)((mode == TCP_ECN_ASK || needed ? ECN_WANTED : 0) |
			   (mode != TCP_ECN_OFF || needed ? ECN_ANSWER : 0));
}

/* Of our SYN, or of our SYN-ACK. */
uint8_t tcp_ecn_syn_flags(const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);

	if (sk->state != TCP_S_SYN_SENT)
		return b->ecn & ECN_OK ? TCP_F_ECE : 0;
	return (b->ecn & ECN_WANTED) && b->n_rtx == 0 ? ECE_CWR : 0;
}

/* RFC 3168 6.1.1. A SYN that is itself ECT comes from somebody who has not read it, or has read
 * RFC 8311: only DCTCP's listener agrees then, as Linux. */
void tcp_ecn_take_syn(struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	uint8_t says = s->h.flags & ECE_CWR;

	b->ecn &= (uint8_t)~(ECN_OK | ECN_SEEN | ECN_ECHO | ECN_CWR_OWED | ECN_CE);
	if (s->h.flags & TCP_F_ACK) {
		if (says == TCP_F_ECE && (b->ecn & ECN_WANTED))
			b->ecn |= ECN_OK;
	} else if (says == ECE_CWR && (b->ecn & ECN_ANSWER) && ((s->in->tos & IP_ECN_MASK) == 0 || needs_ecn(b))) {
		b->ecn |= ECN_OK;
	}
}

/* RFC 8257 3.2: when marks begin or end, what came before is acknowledged as it was marked. */
static void dctcp_mark(struct turn *t, struct sk *sk, bool ce)
{
	struct tcb *b = tcb_of(sk);

	if (ce == !!(b->ecn & ECN_CE))
		return;
	if ((b->ack_flags & ACK_SCHED) && b->rcv_nxt != b->rcv_wup)
		tcp_emit_ack(t, sk);
	b->ecn = (uint8_t)(ce ? b->ecn | ECN_CE | ECN_ECHO : b->ecn & ~(ECN_CE | ECN_ECHO));
	b->ack_flags |= ACK_NOW;
}

static void marked(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (b->cc_flags & CC_F_ECN)
		dctcp_mark(t, sk, true);
	if (!(b->ecn & ECN_ECHO)) {
		tcp_ack_quick(b, 2);	/* the sender's window may be very small (Linux) */
		b->ecn |= ECN_ECHO;
	}
	b->ecn |= ECN_SEEN;
	ev(t, EV_TCP_CE_IN, sk->self, b->rcv_nxt, 0);
}

/* An acceptable segment has come: its text is not taken yet. */
void tcp_ecn_on_segment(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	if (!(b->ecn & ECN_OK))
		return;
	if (s->h.flags & TCP_F_CWR) {	/* RFC 3168 6.1.3: the peer has heard */
		if (!(b->cc_flags & CC_F_ECN))
			b->ecn &= (uint8_t)~ECN_ECHO;
		if (s->len)
			b->ack_flags |= ACK_NOW;
	}
	if (s->len == 0)
		return;
	switch (s->in->tos & IP_ECN_MASK) {
	case 0:		/* after others that had it: sent again, so an ACK was lost or late (Linux) */
		if (b->ecn & ECN_SEEN)
			tcp_ack_quick(b, 2);
		break;
	case IP_CE:
		marked(t, sk);
		break;
	default:
		if (b->cc_flags & CC_F_ECN)
			dctcp_mark(t, sk, false);
		b->ecn |= ECN_SEEN;
		break;
	}
}

uint8_t tcp_ecn_flags(struct tcb *b, bool fresh, uint8_t *ret_ip)
{
	uint8_t flags = 0;

	*ret_ip = 0;
	if (likely(!(b->ecn & ECN_OK)))
		return 0;
	if (fresh) {		/* RFC 3168 6.1.5: only what is sent for the first time */
		*ret_ip = IP_ECT0;
		if (b->ecn & ECN_CWR_OWED) {
			b->ecn &= (uint8_t)~ECN_CWR_OWED;
			flags |= TCP_F_CWR;
		}
	} else if (b->cc_flags & CC_F_ECN) {	/* RFC 8257 4.4, as Linux: all that DCTCP sends */
		*ret_ip = IP_ECT0;
	}
	if (b->ecn & ECN_ECHO)
		flags |= TCP_F_ECE;
	return flags;
}

void tcp_ecn_reduced(struct tcb *b)
{
	if (b->ecn & ECN_OK)
		b->ecn |= ECN_CWR_OWED;
}
