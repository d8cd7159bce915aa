/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A segment arrives (RFC 9293 3.10.7): one function a step, in the RFC's order, with RFC 7323's
 * PAWS in front and RFC 5961's caution about resets, SYNs and ACKs. Where Linux and the RFCs
 * part, Linux wins and a comment says so.
 *
 *	tcp_input	header, checksum, socket
 *	  fast()	ESTABLISHED, in order, nothing special: most segments
 *	  tcp_conn_input
 *	    syn_sent()	3.10.7.3
 *	    validate()	3.10.7.4 first (sequence, PAWS), second (RST), fourth (SYN)
 *	    take_ack()	fifth
 *	    urgent()	sixth
 *	    text()	seventh
 *	    fin()	eighth
 *
 * The third step, security, is not done: nobody uses it. A step returns false when the segment
 * is done with; the socket may be gone then.
 */
#include <netinet/in.h>

#include "core/tcp/parts.h"

/* ---- caution -------------------------------------------------------------------------------- */

bool tcp_oow_allowed(struct turn *t, struct tcb *b)
{
	uint32_t now = tcp_now_ms(t);

	if (now - b->last_oow_ms < TCP_OOW_LIMIT_MS) {
		ev(t, EV_TCP_CHALLENGE_LIMIT, 0, b->rcv_nxt, 0);
		return false;
	}
	b->last_oow_ms = now;
	return true;
}

/* RFC 5961 3.2, 4.2, 5.2, 7: an ACK to whoever sent what may be forged, at most so often. */
void tcp_challenge(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (!tcp_oow_allowed(t, b))
		return;
	ev(t, EV_TCP_CHALLENGE, sk->self, b->rcv_nxt, b->snd_nxt);
	tcp_emit_ack(t, sk);
}

/* RFC 7323 5.3: older than the last in-window timestamp, and that one is not too old. */
bool tcp_paws_reject(const struct turn *t, const struct tcb *b, const struct tcp_seg *s)
{
	if (!(b->flags & TCB_F_TS) || !s->h.has_ts)
		return false;
	if (!before(s->h.ts_val, b->ts_recent))
		return false;
	return tcp_now_s(t) - b->ts_recent_s < TCP_PAWS_DAYS_S;
}

/* Linux's tcp_disordered_ack(): an old pure ACK that was only reordered does no harm. */
static bool is_reordered_ack(const struct tcb *b, const struct tcp_seg *s)
{
	return (s->h.flags & TCP_F_ACK) && s->end_seq == s->seq && s->seq == b->rcv_nxt &&
	       s->h.ack == b->snd_una && s->wnd == b->snd_wnd &&
	       (int32_t)(b->ts_recent - s->h.ts_val) <= (int32_t)(b->rtt.rto_us / 1000);
}

/* RFC 7323 4.3 (2): the timestamp of the segment that covers the last ACK sent. */
static void store_timestamp(struct turn *t, struct tcb *b, const struct tcp_seg *s)
{
	if (!s->h.has_ts || after(s->seq, b->rcv_wup) || before(s->h.ts_val, b->ts_recent))
		return;
	b->ts_recent = s->h.ts_val;
	b->ts_recent_s = tcp_now_s(t);
}

/* ---- SYN_SENT (RFC 9293 3.10.7.3) ----------------------------------------------------------- */

static void reset_in(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	int err = ECONNRESET;

	ev(t, EV_TCP_RST_IN, sk->self, s->seq, sk->state);
	if (sk->state == TCP_S_SYN_SENT)
		err = ECONNREFUSED;
	else if (sk->state == TCP_S_CLOSE_WAIT)	/* Linux: the peer had said goodbye */
		err = EPIPE;
	tcp_done(t, sk, TE_R_RST, err);
}

static void opened(struct turn *t, struct sk *sk)
{
	tcb_established(t, sk);
	tcb_of(sk)->delivered++;	/* the SYN */
	if (sk->flags & SK_F_WR_SHUT) {		/* shutdown() came before the handshake's end */
		tcp_event(t, sk, TE_CLOSE);
		tcb_of(sk)->flags |= TCB_F_FIN_OWED;
		sk_work(t, sk);
	}
	tcp_ready_sync(t, sk, EPOLLOUT | EPOLLWRNORM);
}

static bool syn_ack_in(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	uint32_t rtt_us = (uint32_t)((t->now - b->rtx_at + (uint64_t)TCP_RTO_INIT_US * NS_PER_US) /
				     NS_PER_US);

	if (b->n_rtx == 0 && !(b->flags & TCB_F_SYN_OWED))	/* Karn */
		tcp_rtt_sample(&b->rtt, rtt_us);
	b->flags &= ~TCB_F_SYN_OWED;
	tcb_take_syn(t, sk, s);
	b->snd_una = b->iss + 1;
	b->snd_wl2 = s->h.ack;
	tcp_event(t, sk, TE_R_SYNACK);
	opened(t, sk);
	if (unlikely(b->early_flags & TFO_ASKED || b->txq.head))
		tcp_tfo_syn_acked(t, sk, s);
	if (unlikely(b->flags & TCB_F_WR_WAITS)) {	/* its data is soon: an interactive peer */
		b->ato_ms = TCP_DELACK_MIN_MS;
		tcp_ack_quick(b, TCP_QUICKACKS);
	}
	b->ack_flags |= ACK_SCHED | ACK_NOW;
	sk_work(t, sk);
	return true;
}

/* True: go on with text and FIN. */
static bool syn_sent(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	bool ack = s->h.flags & TCP_F_ACK;

	if (unlikely(b->flags & TCB_F_DEFER)) {	/* there is nobody yet */
		tcp_reply_rst(t, s);
		return false;
	}
	/* First: only our SYN can be acknowledged, and the data with it. */
	if (ack && (!after(s->h.ack, b->snd_una) || after(s->h.ack, b->snd_nxt))) {
		ev(t, EV_TCP_ACK_UNSENT, sk->self, s->h.ack, b->snd_nxt);
		tcp_reply_rst(t, s);
		return false;
	}
	if (s->h.flags & TCP_F_RST) {		/* second; RFC 5961 3.2: the ACK proves it */
		if (ack)
			reset_in(t, sk, s);
		return false;
	}
	if (!(s->h.flags & TCP_F_SYN))
		return false;
	if (ack && b->flags & TCB_F_TS && s->h.has_ts && s->h.ts_ecr &&
	    after(s->h.ts_ecr, tcp_ts_now(t, b))) {	/* Linux: an echo of what was never said */
		tcp_reply_rst(t, s);
		return false;
	}
	if (ack)
		return syn_ack_in(t, sk, s);
	/* Simultaneous open: fourth, "otherwise enter SYN-RECEIVED". Text that came with the
	 * SYN is left for the peer to send again. */
	tcb_take_syn(t, sk, s);
	b->n_rtx = 0;
	tcp_event(t, sk, TE_R_SYN);
	tcp_tmr_rearm(t, sk, TCP_RTX_SYNACK);
	if (tcp_emit_syn(t, sk) != 0)
		b->flags |= TCB_F_SYN_OWED;
	return false;
}

/* ---- first, second, fourth: is it acceptable? ----------------------------------------------- */

/* RFC 9293 3.4, with Linux's tcp_sequence(): overlap with [rcv_wup, right edge]. */
static bool in_window(const struct tcb *b, const struct tcp_seg *s)
{
	return !before(s->end_seq, b->rcv_wup) &&
	       !after(s->seq, b->rcv_nxt + tcp_window_left(b));
}

/* Our SYN-ACK may have been lost. */
static bool awaits_ack(const struct sk *sk)
{
	return sk->state == TCP_S_SYN_RCVD || tcb_of_const(sk)->flags & TCB_F_FASTOPEN;
}

static void refuse(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	if (s->h.flags & TCP_F_RST)
		return;
	if (s->h.flags & TCP_F_SYN) {
		/* In SYN_RCVD the peer repeats its SYN because our answer was lost. */
		if (awaits_ack(sk) && s->seq == b->irs) {
			if (tcp_oow_allowed(t, b) && tcp_emit_syn(t, sk) != 0)
				b->flags |= TCB_F_SYN_OWED;
			return;
		}
		tcp_challenge(t, sk);
		return;
	}
	/* Linux's tcp_send_dupack(): text sent again tells that our ACK was lost. */
	if (s->end_seq != s->seq && before(s->seq, b->rcv_nxt)) {
		tcp_ack_quick(b, TCP_QUICKACKS);
		if (b->dsack.start != b->dsack.end)	/* RFC 2883 4: each is told of */
			tcp_emit_ack(t, sk);
		tcp_dsack_set(t, b, s->seq,
			      after(s->end_seq, b->rcv_nxt) ? b->rcv_nxt : s->end_seq);
		b->ack_flags |= ACK_SCHED | ACK_NOW;
		sk_work(t, sk);
		return;
	}
	if (s->end_seq != s->seq || tcp_oow_allowed(t, b))
		tcp_emit_ack(t, sk);
}

/* RFC 5961 3.2: only a reset at exactly rcv_nxt is obeyed. (Linux: or, with SACK, at the end
 * of what has come in out of order.) */
static bool reset_is_exact(const struct tcb *b, const struct tcp_seg *s)
{
	uint32_t top = b->rcv_nxt;

	if (s->seq == b->rcv_nxt)
		return true;
	if (!(b->flags & TCB_F_SACK) || b->n_sacks == 0)
		return false;
	for (uint32_t i = 0; i < b->n_sacks && i < TCP_N_SACKS; i++)
		top = after(b->sacks[i].end, top) ? b->sacks[i].end : top;
	return s->seq == top;
}

static bool is_embryo(const struct sk *sk)
{
	return sk->state == TCP_S_SYN_RCVD && (sk->flags & SK_F_EMBRYO);
}

static bool validate(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	if (tcp_paws_reject(t, b, s) && !(s->h.flags & TCP_F_RST) && !is_reordered_ack(b, s)) {
		ev(t, EV_TCP_PAWS, sk->self, s->h.ts_val, b->ts_recent);
		refuse(t, sk, s);
		return false;
	}
	if (!in_window(b, s)) {
		ev(t, EV_TCP_OUT_OF_WINDOW, sk->self, s->seq, s->len);
		refuse(t, sk, s);
		return false;
	}
	if (s->h.flags & TCP_F_RST) {
		if (reset_is_exact(b, s))
			reset_in(t, sk, s);
		else
			tcp_challenge(t, sk);
		return false;
	}
	if (s->h.flags & TCP_F_SYN) {	/* RFC 5961 4.2 */
		if (awaits_ack(sk) && s->seq == b->irs) {
			/* Simultaneous open: their SYN-ACK acknowledges our SYN. */
			if ((s->h.flags & TCP_F_ACK) && s->h.ack == b->snd_nxt && sk->state == TCP_S_SYN_RCVD) {
				/* Linux: a SYN that came twice. */
				tcp_dsack_set(t, b, s->seq, s->seq + 1);
				b->ack_flags |= ACK_SCHED | ACK_NOW;
				return true;
			}
			refuse(t, sk, s);
			return false;
		}
		if (is_embryo(sk)) {	/* RFC 9293 3.10.7.4: back to LISTEN; Linux: with a reset */
			tcp_reply_rst(t, s);
			tcp_done(t, sk, TE_R_RST, 0);
			return false;
		}
		tcp_challenge(t, sk);
		return false;
	}
	return true;
}

/* ---- fifth: the ACK ------------------------------------------------------------------------- */

/* RFC 9293 3.10.7.4: SND.WL1 and SND.WL2 keep old segments from moving the window. */
static bool take_window(struct tcb *b, const struct tcp_seg *s)
{
	uint32_t old = b->snd_wnd;

	if (!after(s->h.ack, b->snd_una) && !after(s->seq, b->snd_wl1) &&
	    !(s->seq == b->snd_wl1 && s->wnd > b->snd_wnd))
		return false;
	b->snd_wl1 = s->seq;
	b->snd_wl2 = s->h.ack;
	b->snd_wnd = s->wnd;
	b->max_wnd = max_u32(b->max_wnd, s->wnd);
	return old != s->wnd;
}

/* RFC 9293 3.10.7.4, SYN-RECEIVED: the handshake's end. */
static bool syn_rcvd_ack(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	if (!after(s->h.ack, b->snd_una) || after(s->h.ack, b->snd_nxt)) {
		ev(t, EV_TCP_ACK_UNSENT, sk->self, s->h.ack, b->snd_nxt);
		tcp_reply_rst(t, s);
		return false;
	}
	if (!tcp_embryo_done(t, sk, s))
		return false;
	if (b->n_rtx == 0 && b->rtx_at != NEVER_NS && b->rtx_kind == TCP_RTX_SYNACK) {
		uint64_t sent = b->rtx_at - (uint64_t)TCP_RTO_INIT_US * NS_PER_US;

		if (sent <= t->now)
			tcp_rtt_sample(&b->rtt, (uint32_t)((t->now - sent) / NS_PER_US));
	}
	b->flags &= ~TCB_F_SYN_OWED;
	b->snd_una = b->iss + 1;
	b->snd_wnd = s->wnd;
	b->max_wnd = max_u32(b->max_wnd, s->wnd);
	b->snd_wl1 = s->seq;
	b->snd_wl2 = s->h.ack;
	tcp_event(t, sk, TE_R_ACK_SYN);
	opened(t, sk);
	return true;
}

/* Timers and accounts after an ACK that may have advanced. */
static void after_ack(struct turn *t, struct sk *sk, const struct tcp_seg *s, struct tcp_acked *a)
{
	struct tcb *b = tcb_of(sk);

	/* RFC 7323 4.1: the echo measures too, where Karn forbids the rest. */
	if (a->acked && a->rtt_us < 0 && s->h.has_ts && s->h.ts_ecr) {
		uint32_t ms = tcp_ts_now(t, b) - s->h.ts_ecr;

		if (ms < TCP_RTO_MAX_US / 1000)
			a->rtt_us = (int64_t)max_u32(ms, 1) * 1000;
	}
	if (a->rtt_us >= 0)
		tcp_rtt_sample(&b->rtt, (uint32_t)a->rtt_us);
	if (a->acked) {
		b->n_rtx = 0;	/* RFC 6298 5.7 and Linux: progress ends the back-off */
		b->retrans_at = 0;
		if (b->snd_nxt != b->snd_una)	/* RFC 6298 5.3 */
			tcp_tmr_rearm(t, sk, TCP_RTX_RTO);
		else
			tcp_tmr_rearm(t, sk, TCP_RTX_NONE);
	} else if (b->rtx_kind == TCP_RTX_PERSIST && a->wnd_changed && b->snd_wnd) {
		b->n_rtx = 0;
		b->retrans_at = 0;
	}
	if (a->acked || a->sacked)
		tcp_tlp_on_progress(t, sk);
	if (a->acked && !(b->flags & TCB_F_SNDBUF) && b->cc.cwnd > sk->sndbuf / 3)
		sk->sndbuf = max_u32(sk->sndbuf, min_u32(b->cc.cwnd * 3, tcp_tune_sndbuf_max(t)));
}

static void ack_new(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_acked a = { .prior_una = b->snd_una, .rtt_us = -1,
			       .in_flight = tcp_in_flight(b), .had = b->snd_una + b->sacked_out,
			       .fack = b->rack_fack, .lost = b->lost_total,
			       .ece = (s->h.flags & TCP_F_ECE) && (b->ecn & ECN_OK),
			       .has_ecr = s->h.has_ts && s->h.ts_ecr != 0, .ecr = s->h.ts_ecr };
	bool out = b->snd_nxt != b->snd_una;

	a.wnd_changed = take_window(b, s);
	/* RFC 5681 2: a duplicate ACK. */
	a.dupack = out && s->h.ack == b->snd_una && s->len == 0 && !a.wnd_changed &&
		   !(s->h.flags & (TCP_F_SYN | TCP_F_FIN));
	if (s->h.ack != b->snd_una)
		tcp_acked(t, sk, s->h.ack, &a);
	else if (a.dupack)
		ev(t, EV_TCP_DUP_ACK, sk->self, s->h.ack, b->n_sacked);
	if (unlikely(s->h.n_sack) && (b->flags & TCB_F_SACK))
		tcp_sack_input(t, sk, s, &a);
	tcp_recover_on_ack(t, sk, s, &a);
	after_ack(t, sk, s, &a);
	if (a.acked || a.wnd_changed || a.sacked || a.dupack || a.ece)
		sk_work(t, sk);
}

/* What our FIN's acknowledgement changes. */
static bool fin_acked(struct turn *t, struct sk *sk)
{
	switch (sk->state) {
	case TCP_S_FIN_WAIT_1:
		tcp_event(t, sk, TE_R_ACK_FIN);
		t->wakes |= sk->wait_mask;	/* SO_LINGER waits for this */
		return tcp_on_fin_wait_2(t, sk);
	case TCP_S_CLOSING:
		tcp_event(t, sk, TE_R_ACK_FIN);
		t->wakes |= sk->wait_mask;
		tcp_enter_timewait(t, sk);
		return false;
	case TCP_S_LAST_ACK:
		tcp_done(t, sk, TE_R_ACK_FIN, 0);
		return false;
	default:
		return true;
	}
}

static bool take_ack(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	if (!(s->h.flags & TCP_F_ACK))
		return false;
	if (sk->state == TCP_S_SYN_RCVD && !syn_rcvd_ack(t, sk, s))
		return false;
	if (unlikely(b->flags & TCB_F_FASTOPEN) && !tcp_tfo_ack(t, sk, s))
		return false;
	if (after(s->h.ack, b->snd_nxt)) {	/* of what was never sent: ACK and drop */
		ev(t, EV_TCP_ACK_UNSENT, sk->self, s->h.ack, b->snd_nxt);
		tcp_challenge(t, sk);
		return false;
	}
	b->last_ack_ms = tcp_now_ms(t);
	b->n_probes = 0;
	b->keep_probes = 0;
	if (before(s->h.ack, b->snd_una)) {
		ev(t, EV_TCP_OLD_ACK, sk->self, s->h.ack, b->snd_una);
		/* RFC 5961 5.2: too old to be true. Nor can what was never sent be acknowledged;
		 * the SYN is not in bytes_acked. */
		if (before(s->h.ack, b->snd_una -
			   (uint32_t)min_u64(b->max_wnd, b->bytes_acked + 1))) {
			tcp_challenge(t, sk);
			return false;
		}
		return true;	/* its text may still be good */
	}
	store_timestamp(t, b, s);
	ack_new(t, sk, s);
	if ((b->flags & TCB_F_FIN_SENT) && b->snd_una == b->write_seq)
		return fin_acked(t, sk);
	return true;
}

/* ---- sixth: URG ----------------------------------------------------------------------------- */

/* RFC 9293 3.8.5, RFC 6093: Linux reads the pointer as one past the urgent byte (BSD's way),
 * keeps that one byte, and signals it once. */
static void urgent(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	uint32_t at = s->seq + s->h.urg - (s->h.urg ? 1 : 0);

	if (s->h.flags & TCP_F_URG) {
		bool known = b->urg_state != TCP_URG_NONE && !after(at, b->urg_seq);

		if (!known && !before(at, b->copied_seq) && !before(at, b->rcv_nxt)) {
			b->urg_state = TCP_URG_NOTYET;
			b->urg_seq = at;
		}
	}
	if (b->urg_state != TCP_URG_NOTYET || s->pkt.v == 0)
		return;
	if (!before(b->urg_seq, s->seq) && b->urg_seq - s->seq < s->len) {
		uint8_t byte;

		if (pkt_copy_out(t, pkt_at(t, s->pkt), b->urg_seq - s->seq, &byte, 1) != 1)
			return;
		b->urg_byte = byte;
		b->urg_state = TCP_URG_VALID;
		tcp_ready_sync(t, sk, EPOLLPRI);
	}
}

/* ---- seventh and eighth: text and FIN ------------------------------------------------------- */

/* RFC 9293 3.10.4: with the reader gone, new data means that it will never be read. */
static bool nobody_reads(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	bool gone = sk->flags & (SK_F_ORPHAN | SK_F_RD_SHUT);

	if (sk->state != TCP_S_FIN_WAIT_1 && sk->state != TCP_S_FIN_WAIT_2)
		return false;
	if (!gone || s->len == 0 || !after(s->seq + s->len, b->rcv_nxt))
		return false;
	tcp_reply_rst(t, s);	/* as to a port where nobody is */
	tcp_done(t, sk, TE_ABORT, (sk->flags & SK_F_ORPHAN) ? 0 : ECONNRESET);
	return true;
}

static void fin(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	b->flags |= TCB_F_FIN_RCVD;
	b->ack_flags |= ACK_SCHED;
	b->n_sacks = 0;
	switch (sk->state) {
	case TCP_S_ESTABLISHED:
		tcp_event(t, sk, TE_R_FIN);
		b->pingpong = 1;	/* Linux: our own FIN may well carry the ACK */
		break;
	case TCP_S_FIN_WAIT_1:
		tcp_event(t, sk, TE_R_FIN);
		b->ack_flags |= ACK_NOW;
		break;
	case TCP_S_FIN_WAIT_2:
		tcp_event(t, sk, TE_R_FIN);
		tcp_emit_ack(t, sk);
		t->wakes |= sk->wait_mask;
		tcp_enter_timewait(t, sk);
		return;
	default:
		never(t, WHY_TCP_STATE);
		return;
	}
	sk_work(t, sk);
	tcp_ready_sync(t, sk, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLHUP);
}

static bool may_receive(uint8_t s)
{
	return s == TCP_S_ESTABLISHED || s == TCP_S_FIN_WAIT_1 || s == TCP_S_FIN_WAIT_2;
}

static void text(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	uint32_t had = b->rcv_nxt;
	bool ended;

	if (!may_receive(sk->state)) {
		/* The peer has finished: what seems new is ignored, but it may repeat itself. */
		if (before(s->seq, b->rcv_nxt)) {
			b->ack_flags |= ACK_SCHED | ACK_NOW;
			sk_work(t, sk);
		}
		return;
	}
	if (s->end_seq == s->seq || nobody_reads(t, sk, s))
		return;
	ended = tcp_text(t, sk, s);
	sk_work(t, sk);
	if (b->rcv_nxt != had) {
		b->data_segs_in++;
		if (b->rcv_nxt - had > ended)	/* a FIN alone says nothing of how data comes */
			tcp_ack_on_data(t, sk, s);
		if (tcp_is_readable(sk))
			sk_ready(t, sk, EPOLLIN | EPOLLRDNORM, 0);
	}
	if (ended)
		fin(t, sk);
}

void tcp_syn_text(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	uint16_t ato_ms = b->ato_ms;
	uint8_t quick = b->quick;

	s->seq++;		/* the SYN is done with */
	s->h.flags &= (uint8_t)~TCP_F_SYN;
	text(t, sk, s);
	b->ato_ms = ato_ms;	/* Linux: it says nothing of how data comes */
	b->quick = quick;
}

/* ---- the whole ------------------------------------------------------------------------------ */

static enum verdict verdict_of(const struct tcp_seg *s)
{
	return s->pkt.v ? V_DROP : V_TAKEN;
}

enum verdict tcp_conn_input(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	b->segs_in++;
	b->burst_segs = 0;
	if (sk->state == TCP_S_SYN_SENT) {
		if (!syn_sent(t, sk, s))
			return V_DROP;
		tcp_syn_text(t, sk, s);
		return verdict_of(s);
	}
	if (!validate(t, sk, s))
		return V_DROP;
	if (s->h.flags & TCP_F_SYN) {	/* the second half of a simultaneous open */
		s->seq++;
		s->h.flags &= (uint8_t)~TCP_F_SYN;
	}
	if (!take_ack(t, sk, s))
		return V_DROP;
	tcp_ecn_on_segment(t, sk, s);
	if (unlikely((s->h.flags & TCP_F_URG) || b->urg_state == TCP_URG_NOTYET) &&
	    may_receive(sk->state))
		urgent(t, sk, s);
	text(t, sk, s);
	return verdict_of(s);
}

/* Header prediction (Jacobson): an in-order segment of an untroubled connection. */
static bool is_simple(const struct tcb *b, const struct tcp_seg *s)
{
	return (s->h.flags & ~TCP_F_PSH) == TCP_F_ACK && s->seq == b->rcv_nxt &&
	       !before(s->h.ack, b->snd_una) && !after(s->h.ack, b->snd_nxt) &&
	       s->h.n_sack == 0 && !(b->flags & TCB_F_FASTOPEN) && b->ca_state == TCP_CA_OPEN && b->ooo.n == 0 &&
	       b->urg_state != TCP_URG_NOTYET && s->len <= tcp_window_left(b) &&
	       s->h.has_ts == !!(b->flags & TCB_F_TS) &&
	       (!s->h.has_ts || !before(s->h.ts_val, b->ts_recent)) && tcp_ecn_is_plain(b, s);
}

static enum verdict fast(struct turn *t, struct sk *sk, struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);

	b->segs_in++;
	b->burst_segs = 0;
	b->last_ack_ms = tcp_now_ms(t);
	b->n_probes = 0;
	b->keep_probes = 0;
	store_timestamp(t, b, s);
	if (s->h.ack != b->snd_una || s->wnd != b->snd_wnd || s->len == 0)
		ack_new(t, sk, s);
	else
		b->snd_wl1 = s->seq;
	if (s->len)
		text(t, sk, s);
	return verdict_of(s);
}

static enum verdict no_socket(struct turn *t, struct tcp_seg *s, uint32_t isn)
{
	struct sk *lsk = listen_pick(t, IPPROTO_TCP, &s->in->dst, s->h.dport, &s->in->src, s->h.sport);

	if (lsk && lsk->kind == SK_LISTEN)
		return tcp_listen_input(t, lsk, s, isn);
	ev(t, EV_TCP_NO_SOCKET, 0, s->seq, s->h.flags);
	tcp_reply_rst(t, s);
	return V_DROP;
}

static bool parse(struct turn *t, pkt_h h, const struct ip_info *in, struct tcp_seg *s)
{
	struct pkt *p = pkt_at(t, h);

	if (!wire_tcp_parse(pkt_data(t, p), pkt_len(p), &s->h) ||
	    !ip_csum_ok(t, p, in, TCP_CSUM_OFF)) {
		ev(t, EV_TCP_BAD, 0, p->tot, in->vi);
		return false;
	}
	pkt_pull(t, p, s->h.hdr_len);
	s->in = in;
	s->pkt = h;
	s->len = p->tot;
	s->seq = s->h.seq;
	s->end_seq = s->seq + s->len + !!(s->h.flags & TCP_F_SYN) + !!(s->h.flags & TCP_F_FIN);
	s->wnd = s->h.wnd;
	return true;
}

enum verdict tcp_input(struct turn *t, pkt_h h, const struct ip_info *in)
{
	struct tcp_seg s;
	struct sk *sk;
	uint32_t isn = 0;

	if (unlikely(!parse(t, h, in, &s)))
		return V_DROP;
	ev(t, EV_TCP_IN, 0, s.seq, s.len);
	sk = flow_find(t, IPPROTO_TCP, &in->dst, s.h.dport, &in->src, s.h.sport);
	if (unlikely(!sk))
		return no_socket(t, &s, 0);
	if (unlikely(sk->kind != SK_TCP)) {
		never(t, WHY_SK_KIND);
		return V_DROP;
	}
	if (!(s.h.flags & TCP_F_SYN))	/* RFC 7323 2.3 */
		s.wnd <<= tcb_of(sk)->snd_wscale & 15;
	if (likely(sk->state == TCP_S_ESTABLISHED) && is_simple(tcb_of(sk), &s))
		return fast(t, sk, &s);
	if (sk->state == TCP_S_TIME_WAIT)
		return tcp_timewait_input(t, sk, &s, &isn) ? no_socket(t, &s, isn) : V_DROP;
	return tcp_conn_input(t, sk, &s);
}

/* ---- ICMP ----------------------------------------------------------------------------------- */

static void too_big(struct turn *t, struct sk *sk, uint32_t mtu)
{
	struct tcb *b = tcb_of(sk);
	uint32_t was = b->pmtu ? min_u32(b->pmtu, sk->path.mtu) : sk->path.mtu;

	if (mtu >= was)		/* RFC 5927 7: it may only shrink */
		return;
	b->pmtu = (uint16_t)mtu;
	ev(t, EV_ICMP_TOO_BIG, sk->self, mtu, was);
	tcb_sync_mss(t, sk);
	if (sk->state == TCP_S_SYN_SENT) {	/* Linux: a plain SYN follows at once */
		b->total_retrans++;
		if (tcp_emit_syn(t, sk) != 0)
			b->flags |= TCB_F_SYN_OWED;
		return;
	}
	tcp_recover_on_mtu(t, sk);
	sk_work(t, sk);
}

void tcp_icmp(struct turn *t, const struct icmp_quote *q)
{
	struct sk *sk = flow_find(t, IPPROTO_TCP, &q->laddr, q->lport, &q->raddr, q->rport);
	struct tcb *b;

	if (!sk || sk->kind != SK_TCP || sk->state == TCP_S_TIME_WAIT)
		return;
	b = tcb_of(sk);
	/* RFC 5927 4: believed only about something in flight. */
	if (before(q->seq, b->snd_una - !!(b->flags & TCB_F_FASTOPEN)) || !before(q->seq, b->snd_nxt))
		return;
	if (q->mtu) {
		if (tcp_is_sync(sk->state) || (sk->state == TCP_S_SYN_SENT && b->txq.head))
			too_big(t, sk, q->mtu);
		return;
	}
	/* Linux: one that a SYN opened by itself counts as open when it is accepted. */
	if (b->flags & TCB_F_FASTOPEN && sk->flags & SK_F_EMBRYO && q->err > 0) {
		tcp_done(t, sk, TE_EXPIRE, q->err);
		return;
	}
	if (sk->state == TCP_S_SYN_SENT || (sk->state == TCP_S_SYN_RCVD && q->hard)) {
		/* RFC 5461 4.1 and Linux: an opening connection gives up on any of them. */
		if (q->err > 0)
			tcp_done(t, sk, TE_EXPIRE, q->err);
		return;
	}
	/* RFC 5927 6, RFC 9293 3.9.2.2: soft for a synchronized one; told at time-out. */
	b->soft_err = q->err;
}
