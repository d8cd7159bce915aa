/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What to send now. One function looks at everything that limits sending, in this order:
 * what is lost goes first (RFC 6675 NextSeg 1; but see RFC 5682), then new data under cwnd, pacing, the peer's window
 * with silly-window avoidance (RFC 9293 3.8.6.2.1), and Nagle as Linux has it, with Minshall's
 * test, TCP_CORK and MSG_MORE (RFC 9293 3.7.4).
 *
 * Invariants
 *  O1  snd_nxt never goes back: what is to be sent again is marked in the scoreboard.
 *  O2  On return, if anything is in flight the RTO runs; if something is queued but nothing is
 *	in flight, the persist timer runs or the socket is on the tx-wait list.
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

/* Bytes sent and not cumulatively acknowledged. */
uint32_t tcp_out_bytes(const struct tcb *b)
{
	return b->snd_nxt - b->snd_una;
}

/* RFC 6675 4: pipe. A segment sent again counts once, for its second copy. */
uint32_t tcp_in_flight(const struct tcb *b)
{
	uint32_t out = tcp_out_bytes(b);
	uint32_t gone = b->sacked_out + b->lost_out;

	return out > gone ? out - gone : 0;
}

/* Linux's tcp_bound_to_half_wnd(): never more than half of what the peer can take, so that
 * there is always something to acknowledge while the other half is under way. */
uint32_t tcp_mss_goal(const struct tcb *b)
{
	uint32_t half = b->max_wnd > TCP_DEF_MSS ? b->max_wnd >> 1 : b->max_wnd;

	if (half && b->mss > half)
		return max_u32(half, TCP_MIN_MSS);
	return b->mss;
}

/* ---- cutting ------------------------------------------------------------------------------- */

/* Copies the bytes of p from `from` on into fresh frames, a packet of their own. */
static pkt_h copy_tail(struct turn *t, const struct pkt *p, uint32_t from)
{
	pkt_h first = pkt_get(t);
	struct pkt *head, *f;

	if (first.v == 0)
		return first;
	head = f = pkt_at(t, first);
	for (;;) {
		uint32_t n = pkt_copy_out(t, p, from, pkt_data(t, f), FRAME_BYTES - f->off);
		pkt_h h;

		f->len = (uint16_t)n;
		head->tot += n;
		from += n;
		if (from >= p->tot || n == 0 || head->n_frags >= MAX_FRAGS)
			return first;
		h = pkt_get(t);
		if (h.v == 0) {
			pkt_put(t, first);
			return h;
		}
		f->frag = h.v;
		head->n_frags++;
		f = pkt_at(t, h);
		f->off = 0;
	}
}

static void inherit_marks(struct tcb *b, struct pkt *p, struct pkt *q)
{
	q->mark = p->mark;
	q->addr = p->addr;
	q->n_sent = p->n_sent;
	q->at = p->at;
	q->flags = p->flags & (PKT_F_FIN | PKT_F_PSH | PKT_F_EOR);
	p->flags &= (uint8_t)~(PKT_F_FIN | PKT_F_PSH | PKT_F_EOR);
	if (p->mark & MARK_SACKED)
		b->n_sacked++;
}

int tcp_split(struct turn *t, struct sk *sk, struct pkt *p, uint32_t n)
{
	struct tcb *b = tcb_of(sk);
	struct pkt *q;
	pkt_h h;

	must(n > 0 && n < p->tot);
	h = copy_tail(t, p, n);
	if (h.v == 0)
		return -ENOBUFS;
	q = pkt_at(t, h);
	if (q->tot != p->tot - n) {	/* the chain was shorter than it said */
		pkt_put(t, h);
		never(t, WHY_PKT_CHAIN);
		return -EUCLEAN;
	}
	q->seq = p->seq + n;
	q->end_seq = p->end_seq;
	p->end_seq = q->seq;
	pkt_trim(t, p, n);
	inherit_marks(b, p, q);
	q->next = p->next;
	p->next = h.v;
	if (q->next == 0)
		b->txq.tail = (uint16_t)h.v;
	b->txq.n++;
	b->wmem += TCP_SEG_CHARGE;
	return 0;
}

/* ---- FIN ------------------------------------------------------------------------------------- */

bool tcp_queue_fin(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	struct pkt *p;

	if (b->tx_next != 0) {		/* the last segment is still ours to change */
		p = pkt_slot(t, b->txq.tail);
		p->end_seq++;
	} else {
		pkt_h h = pkt_get(t);

		if (h.v == 0) {
			sk_txwait(t, sk);
			return false;
		}
		p = pkt_at(t, h);
		p->seq = b->write_seq;
		p->end_seq = p->seq + 1;
		pkt_q_push(t, &b->txq, h);
		b->wmem += TCP_SEG_CHARGE;
		b->tx_next = h.v;
	}
	p->flags |= PKT_F_FIN;
	b->write_seq++;
	b->flags = (b->flags & ~TCB_F_FIN_OWED) | TCB_F_FIN_SENT;
	return true;
}

/* ---- sending again ------------------------------------------------------------------------------ */

int tcp_retransmit(struct turn *t, struct sk *sk, struct pkt *p)
{
	struct tcb *b = tcb_of(sk);
	uint32_t len;
	int rc;

	if (p->tot > b->mss) {	/* the path or the peer takes less than it did */
		rc = tcp_split(t, sk, p, b->mss);
		if (rc != 0) {
			sk_txwait(t, sk);
			return rc;
		}
	}
	rc = tcp_emit_data(t, sk, p);
	if (rc != 0)
		return rc;
	len = p->end_seq - p->seq;
	if (p->mark & MARK_LOST)
		b->lost_out -= len;
	if (!(p->mark & MARK_RETRANS))
		b->retrans_out += len;
	p->mark = (uint8_t)((p->mark & ~MARK_LOST) | MARK_RETRANS | MARK_EVER);
	b->total_retrans++;
	b->bytes_retrans += p->tot;
	b->prr_out += p->tot;
	if (b->undo_marker != 0)
		b->undo_retrans = b->undo_retrans < 0 ? 1 : b->undo_retrans + 1;
	if (!(b->flags & TCB_F_RTO_TS)) {
		b->flags |= TCB_F_RTO_TS;
		b->undo_ts = tcp_ts_now(t, b);
	}
	ev(t, EV_TCP_RETRANS, sk->self, p->seq, p->tot);
	return 0;
}

enum go { GO_SEND, GO_CWND, GO_WINDOW, GO_NAGLE, GO_PACE };

static enum go send_lost(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t slot = b->txq.head, left = t->map->pkt_mask + 1;

	for (; slot != 0 && slot != b->tx_next && b->lost_out && left; left--) {
		struct pkt *p = pkt_slot(t, slot);
		uint32_t flight = tcp_in_flight(b);

		slot = p->mark & MARK_SACKED ? tcp_sack_skip(t, b, p) : p->next;
		if (!(p->mark & MARK_LOST))
			continue;
		/* RFC 6675 5 (4.3), RFC 6298 5.4: the first goes at once, whatever is still in
		 * flight. */
		if (flight != 0 && b->retrans_out != 0 &&
		    !(b->ca_state == TCP_CA_LOSS && p->seq == b->snd_una) &&
		    flight + min_u32(p->tot, b->mss) > b->cc.cwnd)
			return GO_CWND;
		/* RFC 9293 3.8.6: above a window that has shrunk, only the first may go. */
		if (after(p->end_seq, b->snd_una + b->snd_wnd) && p->seq != b->snd_una)
			return GO_WINDOW;
		if (b->paced && tcp_pace_holds(t, b))
			return GO_PACE;
		if (tcp_retransmit(t, sk, p) != 0)
			return GO_WINDOW;
		slot = p->next;	/* it may have been cut */
	}
	return GO_SEND;
}

/* ---- sending new data ------------------------------------------------------------------------------ */

static bool nagle_holds(const struct tcb *b, const struct pkt *p)
{
	if ((p->flags & PKT_F_FIN) || p->next != 0 || p->tot >= tcp_mss_goal(b))
		return false;
	if (b->flags & TCB_F_PUSH)
		return false;
	if ((b->flags & TCB_F_SND_URG) && before(p->seq, b->snd_up))
		return false;
	if (b->flags & (TCB_F_CORK | TCB_F_MORE))
		return true;
	if ((b->flags & TCB_F_NODELAY) || b->snd_nxt == b->snd_una)
		return false;
	/* Minshall: only a small segment in flight holds the next small one back. */
	return after(b->snd_sml, b->snd_una) && !after(b->snd_sml, b->snd_nxt);
}

/* Decides about the first unsent segment; may cut it. */
static enum go decide(struct turn *t, struct sk *sk, struct pkt *p)
{
	struct tcb *b = tcb_of(sk);
	uint32_t edge = b->snd_una + b->snd_wnd;
	uint32_t flight = tcp_in_flight(b);
	int32_t room = (int32_t)(edge - p->seq);

	if (p->tot > b->mss && tcp_split(t, sk, p, b->mss) != 0) {
		sk_txwait(t, sk);
		return GO_CWND;
	}
	if (flight != 0 && flight + p->tot > b->cc.cwnd)
		return GO_CWND;
	if (unlikely(after(p->end_seq, edge))) {
		/* RFC 9293 3.8.6.2.1 (3): half of the largest window is worth a segment. A lone
		 * FIN past the edge waits like a byte of data. */
		if (room <= 0 || (uint32_t)room >= p->tot || (uint32_t)room < b->max_wnd / 2)
			return GO_WINDOW;
		if (tcp_split(t, sk, p, (uint32_t)room) != 0)
			return GO_WINDOW;
	}
	if (nagle_holds(b, p))
		return GO_NAGLE;
	return unlikely(b->paced) && tcp_pace_holds(t, b) ? GO_PACE : GO_SEND;
}

static int send_new(struct turn *t, struct sk *sk, struct pkt *p)
{
	struct tcb *b = tcb_of(sk);
	bool first = b->snd_nxt == b->snd_una;
	uint32_t last_ms = b->last_snd_ms;
	int rc;

	tcp_rate_sent(t, b, p);
	rc = tcp_emit_data(t, sk, p);
	if (rc != 0)
		return rc;
	if (first)
		tcp_usage_on_start(t, b, last_ms);
	b->snd_nxt = p->end_seq;
	b->tx_next = p->next;
	b->prr_out += p->tot;
	if (p->tot < b->mss)
		b->snd_sml = p->end_seq;
	return 0;
}

int tcp_send_next(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	struct pkt *p = b->tx_next ? pkt_slot(t, b->tx_next) : NULL;
	int rc;

	if (!p || after(p->seq + min_u32(p->end_seq - p->seq, b->mss), b->snd_una + b->snd_wnd))
		return -EAGAIN;
	if (p->tot > b->mss) {
		rc = tcp_split(t, sk, p, b->mss);
		if (rc != 0)
			return rc;
	}
	return send_new(t, sk, p);
}

/* O2. */
static void keep_timer(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (unlikely(b->flags & TCB_F_FASTOPEN)) {	/* the SYN-ACK's runs */
		tcp_tmr_sync(t, sk);
		return;
	}
	if (b->snd_nxt != b->snd_una) {
		if (b->rtx_kind != TCP_RTX_RTO)
			tcp_tmr_rearm(t, sk, TCP_RTX_RTO);
	} else if (b->tx_next || (b->flags & TCB_F_FIN_OWED)) {
		if (b->rtx_kind != TCP_RTX_PERSIST)
			tcp_tmr_rearm(t, sk, TCP_RTX_PERSIST);
	} else if (b->rtx_kind != TCP_RTX_NONE) {
		tcp_tmr_rearm(t, sk, TCP_RTX_NONE);
	}
	tcp_tmr_sync(t, sk);
}

/* Nothing will follow p now. */
static bool ends_burst(const struct turn *t, const struct tcb *b, const struct pkt *p)
{
	const struct pkt *q = pkt_slot(t, p->next);
	uint32_t n = min_u32(q->tot, b->mss);

	return !p->next || tcp_in_flight(b) + p->tot + n > b->cc.cwnd ||
	       after(q->seq + n, b->snd_una + b->snd_wnd) || nagle_holds(b, q);
}

/* As Linux marks the last segment of each burst that is more than a segment: a receiver that gathers
 * segments (GRO) then hands up what it has. A burst is what one arrival, one send or one time-out lets go. */
static void mark_burst(struct turn *t, struct tcb *b, struct pkt *p)
{
	if (++b->burst_segs > 1 && ends_burst(t, b, p))
		p->flags |= PKT_F_PSH;
}

/* New data, until something stops it. */
static enum go send_fresh(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t left = t->map->pkt_mask + 1, had = b->snd_nxt;
	enum go go = GO_SEND;
	bool full;

	while (b->tx_next && left-- && go == GO_SEND) {
		struct pkt *p = pkt_slot(t, b->tx_next);

		go = decide(t, sk, p);
		if (go == GO_SEND && p->tot)
			mark_burst(t, b, p);
		if (go == GO_SEND && send_new(t, sk, p) != 0)
			break;
	}
	full = go == GO_CWND || tcp_in_flight(b) + b->mss > b->cc.cwnd;
	if (full || b->snd_nxt != had)
		tcp_usage_on_output(t, sk, full);
	if (b->tx_next == 0) {
		b->flags &= ~TCB_F_PUSH;
		if (!full)
			tcp_rate_app_limited(b);
	}
	return go;
}

/* RFC 5682 2.1 (2b): up to two new segments in the place of what seems lost; if none could go,
 * the conventional way. */
static enum go send_for_frto(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	enum go go;

	b->cc.cwnd = max_u32(b->cc.cwnd, tcp_in_flight(b) + 2u * b->mss);
	b->flags |= b->tx_next ? TCB_F_PUSH : 0;	/* Nagle would hold back the very question */
	go = send_fresh(t, sk);
	if (after(b->snd_nxt, b->recovery_point)) {
		b->frto = TCP_FRTO_ON;
		return go;
	}
	b->frto = TCP_FRTO_OFF;
	return send_lost(t, sk);
}

static enum go send_what_may_go(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	enum go go = GO_SEND;

	if (unlikely(b->frto == TCP_FRTO_NEW))
		return send_for_frto(t, sk);
	if (unlikely(b->lost_out))	/* Linux: nothing goes again before the SYN-ACK is acknowledged */
		go = b->flags & TCB_F_FASTOPEN ? GO_WINDOW : send_lost(t, sk);
	if (b->tx_next && !b->lost_out)
		go = send_fresh(t, sk);
	return go;
}

void tcp_output(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t had = b->snd_nxt + b->total_retrans;
	enum go go;

	if (!tcp_is_sync(sk->state))
		return;
	if (unlikely(b->flags & TCB_F_FIN_OWED) && !tcp_queue_fin(t, sk)) {
		keep_timer(t, sk);
		return;
	}
	tcb_sync_mss(t, sk);
	go = send_what_may_go(t, sk);
	if (unlikely(b->paced) && go != GO_PACE)
		b->pace_due = NEVER_NS;
	if (b->ca_state < TCP_CA_MARKED)
		b->prr_delivered = 0;
	keep_timer(t, sk);
	if (b->snd_nxt + b->total_retrans != had)
		tcp_tlp_arm(t, sk);
}

/* Linux's tcp_write_wakeup(): what fits of the first segment if anything does, else an old
 * sequence number, which makes the peer repeat its window (RFC 9293 3.8.6.1). */
bool tcp_probe(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	struct pkt *p = b->tx_next ? pkt_slot(t, b->tx_next) : NULL;
	int32_t room = p ? (int32_t)(b->snd_una + b->snd_wnd - p->seq) : 0;

	if (room > 0) {
		uint32_t n = min_u32((uint32_t)room, b->mss);

		if (p->tot > n && tcp_split(t, sk, p, n) != 0) {
			sk_txwait(t, sk);
			return false;
		}
		p->flags |= PKT_F_PSH;
		if (send_new(t, sk, p) != 0)
			return false;
		keep_timer(t, sk);
		return true;
	}
	ev(t, EV_TCP_PERSIST, sk->self, b->snd_una, b->snd_wnd);
	return tcp_emit_ctl(t, sk, b->snd_una - 1, TCP_F_ACK) == 0;
}

/* ---- from net/ --------------------------------------------------------------------------------- */

/* Room in the send buffer may have come back. */
static void tell_writer(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	bool want = (b->flags & TCB_F_NOSPACE) || !(sk->ready & EPOLLOUT);

	if (!want || !tcp_may_send(sk->state))
		return;
	if (!tcp_is_writeable(t, sk)) {
		if (tcp_pool_is_low(t, b))	/* frames that come back are nobody's event */
			sk_txwait(t, sk);
		return;
	}
	b->flags &= ~TCB_F_NOSPACE;
	sk_ready(t, sk, EPOLLOUT | EPOLLWRNORM, 0);
}

void tcp_work(struct turn *t, struct sk *sk)
{
	if (sk->kind != SK_TCP)
		return;
	if (tcp_is_sync(sk->state)) {
		tcp_output(t, sk);
		tell_writer(t, sk);
	}
	if (sk->state >= TCP_S_ESTABLISHED)
		tcp_ack_decide(t, sk);
	tcp_tmr_sync(t, sk);
}

void tcp_tx_ready(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	int rc;

	if (sk->kind != SK_TCP)
		return;
	if (b->flags & TCB_F_SYN_OWED) {
		rc = tcp_emit_syn(t, sk);
		if (rc != 0 && sk->state == TCP_S_SYN_SENT) {
			tcp_done(t, sk, TE_EXPIRE, -rc);
			return;
		}
		if (!(b->flags & TCB_F_SYN_OWED))	/* the time-out runs from now */
			tcp_tmr_rearm(t, sk, (enum tcp_rtx)b->rtx_kind);
	}
	tcp_work(t, sk);
}
