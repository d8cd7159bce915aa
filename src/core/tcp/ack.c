/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * When to acknowledge, and what window to offer (RFC 9293 3.8.6.2.2, 3.8.6.3; RFC 5681 4.2).
 *
 * Acknowledging follows Linux: at the end of a batch, at once when more than one full segment
 * is owed, when something is out of order, or in quick-ACK mode (the first segments of a
 * connection, and after trouble); else delayed by `ato`, 40 to 200 ms, in the hope that data
 * will carry it. `pingpong` says that so far it did.
 *
 * Invariants
 *  A1  The right edge of the window is never taken back (RFC 9293 3.8.6).
 *  A2  The window is 0 or worth a segment, or a sixteenth of the buffer (SWS avoidance).
 *  A3  No more is offered than half of the free frames could hold.
 */
#include "core/tcp/parts.h"

uint32_t tcp_window_left(const struct tcb *b)
{
	int32_t left = (int32_t)(b->rcv_wup + b->rcv_wnd - b->rcv_nxt);

	return left > 0 ? (uint32_t)left : 0;
}

/* A3. Small payloads are coalesced, so a frame holds a kilobyte at least. */
static uint32_t memory_room(struct turn *t, const struct tcb *b)
{
	uint32_t keep = (t->map->pkt_mask + 1) >> 4;
	uint32_t n = pkt_n_free(t);
	uint32_t per = max_u32(min_u32(b->rcv_mss, FRAME_BYTES - FRAME_HEADROOM), 1024);

	return n > keep ? (n - keep) / 2 * per : 0;
}

uint32_t tcp_window_pick(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t full = min_u32(sk->rcvbuf / 2, b->window_clamp);
	uint32_t left = tcp_window_left(b);
	uint32_t unit = 1u << (b->rcv_wscale & 15);
	uint32_t room = full > sk->rxq_bytes ? full - sk->rxq_bytes : 0;

	if (room < (full >> 4))	/* A2; a sixteenth of a large buffer may be more than memory gives */
		room = 0;
	room = min_u32(room, memory_room(t, b));
	if (room < min_u32(b->rcv_mss, full))
		room = 0;
	room = min_u32(room, 65535u << (b->rcv_wscale & 15)) & ~(unit - 1);
	if (room < left)	/* A1 */
		room = (left + unit - 1) & ~(unit - 1);
	return room;
}

void tcp_ack_quick(struct tcb *b, uint32_t max)
{
	uint32_t n = b->rcv_wnd / (2 * max_u32(b->rcv_mss, 1));

	n = min_u32(n ? n : 2, max);
	if (n > b->quick)
		b->quick = (uint8_t)n;
}

/* A delayed ACK may not push the peer's measured RTT past its own time-out. */
static uint32_t rto_ms(const struct tcb *b)
{
	return b->rtt.rto_us / 1000;
}

static void measure_mss(struct tcb *b, const struct tcp_seg *s)
{
	if (s->len >= b->rcv_mss) {
		b->rcv_mss = (uint16_t)max_u32(min_u32(s->len, b->advmss), TCP_MIN_MSS);
		return;
	}
	if (s->h.flags & TCP_F_PSH) {
		if (b->ack_flags & ACK_PUSHED)
			b->ack_flags |= ACK_PUSHED2;
		b->ack_flags |= ACK_PUSHED;
	}
}

/* The round trip as a receiver of bulk sees it, for tcp_rcv_space(). */
static void measure_rtt(struct turn *t, struct tcb *b, const struct tcp_seg *s)
{
	uint32_t us;

	if (!(b->flags & TCB_F_TS) || s->h.ts_ecr == 0 || s->len < b->rcv_mss)
		return;
	us = min_u32(tcp_ts_now(t, b) - s->h.ts_ecr, 10000) * 1000;
	us = max_u32(us, 1000);
	b->rcv_rtt_us = b->rcv_rtt_us ? b->rcv_rtt_us - (b->rcv_rtt_us >> 3) + (us >> 3) : us;
}

/* New data is in rxq: Linux's tcp_event_data_recv(). */
void tcp_ack_on_data(struct turn *t, struct sk *sk, const struct tcp_seg *s)
{
	struct tcb *b = tcb_of(sk);
	uint32_t now = tcp_now_ms(t);

	b->ack_flags |= ACK_SCHED;
	measure_mss(b, s);
	measure_rtt(t, b, s);
	if (b->ato_ms == 0) {	/* first data: let the peer's slow start see every ACK */
		tcp_ack_quick(b, TCP_QUICKACKS);
		b->ato_ms = TCP_DELACK_MIN_MS;
	} else {
		uint32_t m = now - b->last_rcv_ms;

		if (m <= TCP_DELACK_MIN_MS / 2)
			b->ato_ms = (uint16_t)((b->ato_ms >> 1) + TCP_DELACK_MIN_MS / 2);
		else if (m < b->ato_ms)
			b->ato_ms = (uint16_t)min_u32((b->ato_ms >> 1) + m, rto_ms(b));
		else if (m > rto_ms(b))
			tcp_ack_quick(b, TCP_QUICKACKS);	/* the peer may have restarted */
	}
	b->last_rcv_ms = now;
}

void tcp_ack_on_sent(struct turn *t, struct tcb *b)
{
	(void)t;
	b->ack_flags = 0;
	b->delack_at = NEVER_NS;
	if (b->quick && --b->quick == 0 && b->ato_ms)
		b->ato_ms = TCP_DELACK_MIN_MS;
}

/* Data went out soon after data came in: an interactive peer. */
void tcp_ack_on_data_sent(struct turn *t, struct tcb *b)
{
	uint32_t now = tcp_now_ms(t);

	b->flags &= ~TCB_F_WR_WAITS;
	if (now - b->last_rcv_ms < b->ato_ms)
		b->pingpong = 1;
	b->last_snd_ms = now;
}

static void delay(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t ato = b->ato_ms;
	uint64_t at;

	if (ato > TCP_DELACK_MIN_MS) {
		uint32_t max = TCP_DELACK_MAX_MS;

		if (b->rtt.srtt_us8)
			max = min_u32(max, max_u32((b->rtt.srtt_us8 >> 3) / 1000,
						   TCP_DELACK_MIN_MS));
		ato = min_u32(ato, max);
	}
	ato = max_u32(ato, 1);
	at = t->now + ato * NS_PER_MS;
	if (b->delack_at != NEVER_NS) {
		if (b->delack_at <= t->now + ato * NS_PER_MS / 4) {
			tcp_emit_ack(t, sk);	/* about to expire: no use in waiting */
			return;
		}
		at = min_u64(at, b->delack_at);
	}
	b->delack_at = at;
}

void tcp_ack_decide(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (!(b->ack_flags & ACK_SCHED))
		return;
	if (unlikely(b->flags & TCB_F_WR_WAITS)) {	/* Linux: its data will carry it */
		b->delack_at = min_u64(b->delack_at, t->now + TCP_DELACK_MAX_MS * NS_PER_MS);
		return;
	}
	/* RFC 9293 3.8.6.3 (MUST-58, SHLD-18): at least every second full-sized segment. */
	if ((b->ack_flags & ACK_NOW) || b->rcv_nxt - b->rcv_wup > b->rcv_mss ||
	    (b->quick && !b->pingpong) || b->ooo.n)
		tcp_emit_ack(t, sk);
	else
		delay(t, sk);
}

/* The user has read: an owed ACK may be due, or news of the window (Linux's cleanup_rbuf). */
void tcp_ack_on_read(struct turn *t, struct sk *sk, bool copied)
{
	struct tcb *b = tcb_of(sk);
	bool empty = b->rxq.n == 0;
	uint32_t left;

	if (b->ack_flags & ACK_SCHED) {
		if (b->rcv_nxt - b->rcv_wup > b->rcv_mss ||
		    (copied && empty && ((b->ack_flags & ACK_PUSHED2) ||
					 ((b->ack_flags & ACK_PUSHED) && !b->pingpong)))) {
			tcp_emit_ack(t, sk);
			return;
		}
	}
	if (!copied || (sk->flags & SK_F_RD_SHUT) || (b->flags & TCB_F_FIN_RCVD))
		return;
	/* RFC 9293 3.8.6.2.2: an update only when the window at least doubles, so that it is
	 * worth a packet; picking is skipped while the window is more than half open. */
	left = tcp_window_left(b);
	/* What a SYN-ACK offers is a first bid, as small as its field: the first ACK raises it. */
	if (b->segs_out <= 1 && 2 * left > b->rcv_wnd)
		return;
	if (2 * left <= min_u32(sk->rcvbuf / 2, b->window_clamp)) {
		uint32_t room = tcp_window_pick(t, sk);

		if (room && room >= 2 * left)
			tcp_emit_ack(t, sk);
	}
}

/* Receive autotuning: what the user reads in a round trip is what the window must hold twice
 * over, so that the sender can double (dynamic right-sizing, as Linux). */
void tcp_rcv_space(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint32_t now = tcp_now_us(t);
	uint32_t rtt = b->rcv_rtt_us ? b->rcv_rtt_us : max_u32(b->rtt.srtt_us8 >> 3, 1000);
	uint32_t copied;

	if (now - b->rcvq_at_us < rtt)
		return;
	copied = b->copied_seq - b->rcvq_seq;
	if (copied > b->rcvq_space) {
		if (!(b->flags & TCB_F_RCVBUF)) {
			uint64_t win = 2ull * copied + 16u * b->advmss;
			uint64_t grow = win * (copied - b->rcvq_space) / max_u32(b->rcvq_space, 1);

			win = min_u64(win + 2 * grow, tcp_tune_rcvbuf_max(t) / 2);
			sk->rcvbuf = max_u32(sk->rcvbuf, (uint32_t)(2 * win));
		}
		b->rcvq_space = copied;
	}
	b->rcvq_seq = b->copied_seq;
	b->rcvq_at_us = now;
}
