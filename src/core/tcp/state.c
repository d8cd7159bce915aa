/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The state machine (RFC 9293 3.3.2, figure 5) as a table, and the check of the invariants
 * that tcb.h numbers. The only file that assigns sk->state.
 *
 * An empty cell cannot happen; whoever reports such an event has a bug, or the segment has
 * been scribbled on.
 */
#include "core/tcp/parts.h"

#define TO(s) (TCP_S_##s + 1)

static const uint8_t next[N_TCP_STATES][N_TCP_EVENTS] = {
	[TCP_S_CLOSED] = {
		[TE_CONNECT] = TO(SYN_SENT), [TE_LISTEN] = TO(LISTEN), [TE_PASSIVE] = TO(SYN_RCVD),
	},
	[TCP_S_LISTEN] = {
		[TE_CLOSE] = TO(CLOSED),
	},
	[TCP_S_SYN_SENT] = {
		[TE_R_SYN] = TO(SYN_RCVD), [TE_R_SYNACK] = TO(ESTABLISHED),
		[TE_CLOSE] = TO(CLOSED), [TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED),
		[TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_SYN_RCVD] = {
		[TE_R_ACK_SYN] = TO(ESTABLISHED), [TE_CLOSE] = TO(FIN_WAIT_1),
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_ESTABLISHED] = {
		[TE_CLOSE] = TO(FIN_WAIT_1), [TE_R_FIN] = TO(CLOSE_WAIT),
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_FIN_WAIT_1] = {
		[TE_R_FIN] = TO(CLOSING), [TE_R_ACK_FIN] = TO(FIN_WAIT_2),
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_FIN_WAIT_2] = {
		[TE_R_FIN] = TO(TIME_WAIT),
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_CLOSE_WAIT] = {
		[TE_CLOSE] = TO(LAST_ACK),
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_CLOSING] = {
		[TE_R_ACK_FIN] = TO(TIME_WAIT),
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_LAST_ACK] = {
		[TE_R_ACK_FIN] = TO(CLOSED),
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
	[TCP_S_TIME_WAIT] = {
		[TE_R_RST] = TO(CLOSED), [TE_ABORT] = TO(CLOSED), [TE_EXPIRE] = TO(CLOSED),
	},
};

static const char *const state_names[N_TCP_STATES] = {
	"CLOSED", "LISTEN", "SYN_SENT", "SYN_RCVD", "ESTABLISHED", "FIN_WAIT_1", "FIN_WAIT_2",
	"CLOSE_WAIT", "CLOSING", "LAST_ACK", "TIME_WAIT",
};

static const char *const event_names[N_TCP_EVENTS] = {
	"connect", "listen", "passive", "syn", "syn+ack", "ack of syn", "close", "fin",
	"ack of fin", "rst", "abort", "expire",
};

const char *tcp_state_name(unsigned state)
{
	return state < N_TCP_STATES ? state_names[state] : "?";
}

const char *tcp_event_name(unsigned event)
{
	return event < N_TCP_EVENTS ? event_names[event] : "?";
}

int tcp_state_next(unsigned state, unsigned event)
{
	must(state < N_TCP_STATES && event < N_TCP_EVENTS);
	return (int)next[state][event] - 1;
}

void tcp_event(struct turn *t, struct sk *sk, enum tcp_event e)
{
	uint8_t from = sk->state;
	uint8_t to;

	must(e < N_TCP_EVENTS);
	if (from >= N_TCP_STATES || next[from][e] == 0) {
		never(t, WHY_TCP_STATE);
		return;
	}
	to = (uint8_t)(next[from][e] - 1);
	sk->state = to;
	ev(t, EV_TCP_STATE, sk->self, from, to);
}

/* ---- invariants ---------------------------------------------------------------------------- */

struct sums { uint32_t sacked, lost, retrans, n_sacked, bytes, wmem, n; };

/* B2 and B3: one walk over the send queue. */
static bool check_txq(struct turn *t, const struct sk *sk, const struct tcb *b)
{
	struct sums s = { 0, 0, 0, 0, 0, 0, 0 };
	uint32_t at = 0, first_unsent = 0, slot = b->txq.head;

	for (; slot != 0; slot = pkt_slot(t, slot)->next) {
		const struct pkt *p = pkt_slot(t, slot);
		uint32_t len = p->end_seq - p->seq;

		if (++s.n > b->txq.n || (s.n > 1 && p->seq != at))
			return false;
		/* The SYN is not in the queue. */
		if (s.n == 1 && after(p->seq, b->snd_una + (sk->state < TCP_S_ESTABLISHED)))
			return false;
		if (len != p->tot + !!(p->flags & PKT_F_FIN))
			return false;
		at = p->end_seq;
		if (!first_unsent && !before(p->seq, b->snd_nxt))
			first_unsent = slot;
		if ((p->mark & MARK_SACKED) && (p->mark & MARK_LOST))
			return false;
		s.sacked += p->mark & MARK_SACKED ? len : 0;
		s.n_sacked += !!(p->mark & MARK_SACKED);
		s.lost += p->mark & MARK_LOST ? len : 0;
		s.retrans += p->mark & MARK_RETRANS ? len : 0;
		s.bytes += p->tot;
		s.wmem += p->tot + TCP_SEG_CHARGE;
	}
	if (s.n != b->txq.n || s.bytes != b->txq.bytes || s.wmem != b->wmem)
		return false;
	if (first_unsent != b->tx_next || (s.n && at != b->write_seq))
		return false;
	if ((b->flags & TCB_F_SACK) && (s.sacked != b->sacked_out || s.n_sacked != b->n_sacked))
		return false;
	return s.lost == b->lost_out && s.retrans == b->retrans_out;
}

/* B4 and B5. */
static bool check_rx(struct turn *t, const struct sk *sk, const struct tcb *b)
{
	uint32_t n = 0, bytes = 0, frames = 0, slot, at;
	bool found;

	for (slot = b->rxq.head; slot != 0; slot = pkt_slot(t, slot)->next) {
		const struct pkt *p = pkt_slot(t, slot);

		if (++n > b->rxq.n)
			return false;
		bytes += p->tot;
		frames += p->n_frags;
	}
	if (n != b->rxq.n || bytes != b->rxq.bytes || bytes != sk->rxq_bytes)
		return false;
	if (sk->state >= TCP_S_ESTABLISHED && sk->state != TCP_S_TIME_WAIT &&
	    b->copied_seq + bytes + !!(b->flags & TCB_F_FIN_RCVD) != b->rcv_nxt)
		return false;
	at = b->rcv_nxt;
	found = b->ooo_last == 0;
	for (slot = b->ooo.head, n = 0; slot != 0; slot = pkt_slot(t, slot)->next) {
		const struct pkt *p = pkt_slot(t, slot);

		found |= slot == b->ooo_last;

		if (++n > b->ooo.n || before(p->seq, at) || !after(p->end_seq, p->seq))
			return false;
		if (n == 1 && p->seq == b->rcv_nxt)
			return false;
		at = p->end_seq;
		frames += p->n_frags;
	}
	return n == b->ooo.n && frames == b->rx_frames && found;
}

/* B7, B8 and B10. */
static bool check_timers(const struct sk *sk, const struct tcb *b)
{
	if (tcp_tmr_earliest(b) < sk->tmr_at)
		return false;
	if (sk->state == TCP_S_CLOSED)
		return tcp_tmr_earliest(b) == NEVER_NS && b->txq.n == 0;
	if (tcp_is_sync(sk->state) && b->snd_nxt != b->snd_una && b->rtx_at == NEVER_NS)
		return false;
	if ((b->early_kind == TCP_EARLY_NONE) != (b->early_at == NEVER_NS))
		return false;
	return (b->rtx_kind == TCP_RTX_NONE) == (b->rtx_at == NEVER_NS);
}

void tcp_check(struct turn *t, struct sk *sk)
{
	const struct tcb *b = tcb_of(sk);

	if (sk->kind == SK_LISTEN) {
		if (sk->state != TCP_S_LISTEN && sk->state != TCP_S_CLOSED)
			never(t, WHY_TCP_STATE);
		else if (!tcp_listen_is_sound(t, sk))
			never(t, WHY_TCP_INVARIANT);
		return;
	}
	if (sk->kind != SK_TCP || sk->state >= N_TCP_STATES || sk->state == TCP_S_LISTEN) {
		never(t, WHY_TCP_STATE);
		return;
	}
	if (!check_timers(sk, b) || !check_rx(t, sk, b))
		goto broken;
	if (sk->state == TCP_S_CLOSED || sk->state == TCP_S_TIME_WAIT)
		return;
	if (after(b->snd_una, b->snd_nxt) || after(b->snd_nxt, b->write_seq))	/* B1 */
		goto broken;
	if (!check_txq(t, sk, b))
		goto broken;
	if (tcp_is_sync(sk->state) && after(b->rcv_nxt, b->rcv_wup + b->rcv_wnd + 1))	/* B6 */
		goto broken;
	if (b->mss < TCP_MIN_MSS || b->cc.cwnd < b->cc.mss)	/* B9 */
		goto broken;
	return;
broken:
	never(t, WHY_TCP_INVARIANT);
}
