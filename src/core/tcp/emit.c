/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Putting a header in front of bytes and handing the packet down (RFC 9293 3.1, 3.7).
 *
 * The header goes into the headroom of the very frame that stays on the retransmission queue;
 * when the packet is posted, offset and length are put back as they were, since the device
 * reads its own descriptor. A head frame that the device may still be reading is never
 * written: the segment is copied to fresh frames instead.
 *
 * What cannot go out now for want of a ring slot, a frame or a neighbour puts the socket on
 * the tx-wait list; nothing is lost by that.
 */
#include <netinet/in.h>

#include "base/csum.h"
#include "core/tcp/parts.h"

/* RFC 6437 3: the same for all segments of a connection, and as good as random among connections; Linux's
 * net.ipv6.auto_flowlabels. Our ISN is both, and no secret. */
static uint32_t flow_label(const struct tcb *b)
{
	return (b->iss * 0x9e3779b1u ^ 0x5bd1e995u) >> 12;
}

/* ecn: the IP header's two bits. */
static int post(struct turn *t, struct sk *sk, struct pkt *p, const struct tcp_hdr *h, uint8_t ecn)
{
	struct ip_out out = {
		.src = &sk->laddr, .dst = &sk->raddr, .path = &sk->path, .proto = IPPROTO_TCP,
		.tos = (uint8_t)((sk->tos & ~3u) | ecn), .ttl = sk->ttl, .flags = IP_OUT_DF,
		.flow = flow_label(tcb_of(sk)),
	};
	uint32_t n = wire_tcp_emit_len(h);
	uint16_t off = p->off, len = p->len, sum;
	uint32_t tot = p->tot;
	uint8_t *at;
	int rc;

	if (off < n + IP_HEADERS_MAX || off > FRAME_BYTES || len > FRAME_BYTES - off) {
		never(t, WHY_PKT_CHAIN);
		return -EUCLEAN;
	}
	p->off = (uint16_t)(off - n);
	p->len = (uint16_t)(len + n);
	p->tot = tot + n;
	at = pkt_data(t, p);
	wire_tcp_emit(at, h);
	sum = csum_finish(csum_add64(pkt_csum(t, p, 0),
				     ip_pseudo(&sk->laddr, &sk->raddr, IPPROTO_TCP, p->tot)));
	memcpy(at + TCP_CSUM_OFF, &sum, sizeof(sum));
	rc = ip_output(t, pkt_handle(t, p), &out);
	p->off = off;
	p->len = len;
	p->tot = tot;
	return rc;
}

/* The path, with the consequences of a new MTU left to the next tcp_output(). */
static int route(struct turn *t, struct sk *sk)
{
	return ip_route(t, &sk->raddr, &sk->laddr, &sk->path);
}

static int failed(struct turn *t, struct sk *sk, int rc)
{
	if (rc == -EAGAIN || rc == -ENOBUFS)
		sk_txwait(t, sk);
	else
		tcb_of(sk)->soft_err = -rc;
	return rc;
}

/* What every segment of a synchronized connection says. */
static void fill(struct turn *t, struct sk *sk, struct tcp_hdr *h, uint32_t *ret_wnd)
{
	struct tcb *b = tcb_of(sk);
	uint32_t wnd = tcp_window_pick(t, sk);

	h->sport = sk->lport;
	h->dport = sk->rport;
	h->ack = b->rcv_nxt;
	h->wnd = (uint16_t)min_u32(wnd >> (b->rcv_wscale & 15), UINT16_MAX);
	h->urg = 0;
	h->has_mss = h->has_ws = h->sack_permitted = h->fo.has = false;
	h->n_sack = 0;
	h->has_ts = b->flags & TCB_F_TS;
	if (h->has_ts) {	/* RFC 7323 3.2: on every segment once agreed */
		h->ts_val = tcp_ts_now(t, b);
		h->ts_ecr = b->ts_recent;
	}
	*ret_wnd = (uint32_t)h->wnd << (b->rcv_wscale & 15);
}

/* A segment with an acknowledgement has left. */
static void sent(struct turn *t, struct tcb *b, uint32_t wnd)
{
	if (wnd == 0 && b->rcv_wnd != 0)
		ev(t, EV_TCP_WINDOW_SHUT, 0, b->rcv_nxt, 0);
	b->rcv_wup = b->rcv_nxt;
	b->rcv_wnd = wnd;
	b->dsack.start = b->dsack.end;
	b->segs_out++;
	tcp_ack_on_sent(t, b);
}

/* A copy in fresh frames; 0 when there are not enough. */
static pkt_h copy_of(struct turn *t, const struct pkt *p)
{
	pkt_h first = { 0 };
	struct pkt *last = NULL, *head = NULL;
	uint32_t from = 0;

	do {
		pkt_h h = pkt_get(t);
		struct pkt *f;
		uint32_t n;

		if (h.v == 0) {
			if (first.v)
				pkt_put(t, first);
			return (pkt_h){ 0 };
		}
		f = pkt_at(t, h);
		if (head) {
			f->off = 0;
			last->frag = h.v;
			head->n_frags++;
		} else {
			first = h;
			head = f;
		}
		n = pkt_copy_out(t, p, from, pkt_data(t, f), FRAME_BYTES - f->off);
		f->len = (uint16_t)n;
		head->tot += n;
		from += n;
		last = f;
		if (n == 0)
			break;
	} while (from < p->tot && head->n_frags < MAX_FRAGS);
	return first;
}

static int post_data(struct turn *t, struct sk *sk, struct pkt *p, const struct tcp_hdr *h, uint8_t ecn)
{
	pkt_h c;
	int rc;

	if (likely(p->at_device == 0))
		return post(t, sk, p, h, ecn);
	c = copy_of(t, p);
	if (c.v == 0)
		return -ENOBUFS;
	rc = post(t, sk, pkt_at(t, c), h, ecn);
	pkt_put(t, c);
	return rc;
}

int tcp_emit_data(struct turn *t, struct sk *sk, struct pkt *p)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_hdr h;
	uint32_t wnd;
	uint8_t ip_ecn;
	int rc = route(t, sk);

	if (unlikely(rc != 0))
		return failed(t, sk, rc);
	fill(t, sk, &h, &wnd);
	h.seq = p->seq;
	h.flags = TCP_F_ACK | (p->flags & PKT_F_PSH ? TCP_F_PSH : 0) |
		  (p->flags & PKT_F_FIN ? TCP_F_FIN : 0) |
		  tcp_ecn_flags(b, p->tot != 0 && !before(p->seq, b->snd_nxt), &ip_ecn);
	/* RFC 9293 3.8.5, with Linux's reading: snd_up is one past the urgent byte. */
	if (unlikely(b->flags & TCB_F_SND_URG) && before(p->seq, b->snd_up)) {
		h.flags |= TCP_F_URG;
		h.urg = (uint16_t)min_u32(b->snd_up - p->seq, UINT16_MAX);
	}
	if (unlikely(b->n_sacks || b->dsack.start != b->dsack.end) && b->mss > p->tot + 12)
		tcp_sack_blocks(b, &h, (b->mss - p->tot - 4) / 8);
	rc = post_data(t, sk, p, &h, ip_ecn);
	if (unlikely(rc != 0))
		return failed(t, sk, rc);
	sent(t, b, wnd);
	p->at = t->now;
	p->n_sent += p->n_sent < UINT8_MAX;
	b->bytes_sent += p->tot;
	b->data_segs_out += p->tot != 0;
	if (unlikely(b->paced))
		tcp_pace_sent(t, b, p->tot);
	ev(t, EV_TCP_OUT, sk->self, p->seq, p->tot);
	if (p->tot)
		tcp_ack_on_data_sent(t, b);
	return 0;
}

int tcp_emit_ctl(struct turn *t, struct sk *sk, uint32_t seq, uint8_t flags)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_hdr h;
	uint32_t wnd;
	uint8_t ip_ecn;
	pkt_h c;
	int rc = route(t, sk);

	if (unlikely(rc != 0))
		return failed(t, sk, rc);
	c = pkt_get(t);
	if (unlikely(c.v == 0))
		return failed(t, sk, -ENOBUFS);
	fill(t, sk, &h, &wnd);
	h.seq = seq;
	h.flags = flags;
	if (!(flags & TCP_F_RST))
		h.flags |= tcp_ecn_flags(b, false, &ip_ecn);
	else
		ip_ecn = 0;
	if (b->n_sacks || b->dsack.start != b->dsack.end)
		tcp_sack_blocks(b, &h, TCP_SACK_MAX);
	rc = post(t, sk, pkt_at(t, c), &h, ip_ecn);
	pkt_put(t, c);
	if (unlikely(rc != 0))
		return failed(t, sk, rc);
	sent(t, b, wnd);
	ev(t, EV_TCP_OUT, sk->self, seq, 0);
	return 0;
}

void tcp_emit_ack(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);

	if (tcp_emit_ctl(t, sk, b->snd_nxt, TCP_F_ACK) != 0)
		b->ack_flags |= ACK_SCHED | ACK_NOW;
}

static void fill_syn(struct turn *t, struct sk *sk, struct tcp_hdr *h, uint32_t *ret_wnd)
{
	struct tcb *b = tcb_of(sk);
	bool first = sk->state == TCP_S_SYN_SENT;

	fill(t, sk, h, ret_wnd);
	h->seq = b->iss;
	h->flags = (first ? TCP_F_SYN : TCP_F_SYN | TCP_F_ACK) | tcp_ecn_syn_flags(sk);
	h->ack = first ? 0 : b->rcv_nxt;
	/* RFC 7323 2.2: the window of a SYN is never scaled. */
	*ret_wnd = min_u32(tcp_window_pick(t, sk), UINT16_MAX);
	h->wnd = (uint16_t)*ret_wnd;
	h->has_mss = true;
	h->mss = b->advmss;
	h->sack_permitted = b->flags & TCB_F_SACK;
	h->has_ws = b->flags & TCB_F_WSCALE;
	h->ws = b->rcv_wscale;
}

/* By itself, or in front of the data that goes with it. */
static int post_syn(struct turn *t, struct sk *sk, const struct tcp_hdr *h)
{
	struct tcb *b = tcb_of(sk);
	struct pkt *p;
	pkt_h c;
	int rc;

	if (unlikely(b->flags & TCB_F_SYN_FO) && b->txq.head) {
		p = pkt_slot(t, b->txq.head);
		rc = post_data(t, sk, p, h, 0);
		if (rc == 0) {
			p->at = t->now;
			p->n_sent = 1;
			b->bytes_sent += p->tot;
			b->data_segs_out++;
		}
		return rc;
	}
	c = pkt_get(t);
	if (c.v == 0)
		return -ENOBUFS;
	rc = post(t, sk, pkt_at(t, c), h, 0);
	pkt_put(t, c);
	return rc;
}

int tcp_emit_syn_fo(struct turn *t, struct sk *sk, const struct tcp_fo *fo)
{
	struct tcb *b = tcb_of(sk);
	struct tcp_hdr h;
	uint32_t wnd = 0;
	int rc = route(t, sk);

	if (rc == 0) {
		tcb_sync_mss(t, sk);
		fill_syn(t, sk, &h, &wnd);
		if (fo)
			h.fo = *fo;
		else if (unlikely(b->flags & TCB_F_SYN_FO))
			tcp_tfo_fill(t, sk, &h.fo);
		rc = post_syn(t, sk, &h);
	}
	if (rc != 0) {
		b->flags |= TCB_F_SYN_OWED;
		rc = failed(t, sk, rc);
		return rc == -EAGAIN || rc == -ENOBUFS ? 0 : rc;
	}
	b->flags &= ~(TCB_F_SYN_OWED | TCB_F_SYN_FO);	/* RFC 7413 4.1.3: sent again without */
	sent(t, b, wnd);
	b->last_snd_ms = tcp_now_ms(t);
	ev(t, EV_TCP_OUT, sk->self, b->iss, 0);
	return 0;
}

int tcp_emit_syn(struct turn *t, struct sk *sk) { return tcp_emit_syn_fo(t, sk, NULL); }

void tcp_emit_rst(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	uint8_t flags = sk->state == TCP_S_SYN_SENT ? TCP_F_RST : TCP_F_RST | TCP_F_ACK;

	/* Best effort: a reset that cannot go out now is sent when the peer's next segment
	 * finds no socket. */
	if (tcp_emit_ctl(t, sk, b->snd_nxt, flags) == 0)
		ev(t, EV_TCP_RST_OUT, sk->self, b->snd_nxt, 0);
}

void tcp_reply_rst(struct turn *t, const struct tcp_seg *s)
{
	struct ipaddr src = s->in->dst;
	struct path path = { .generation = 0 };
	struct tcp_hdr h = { .sport = s->h.dport, .dport = s->h.sport };
	struct ip_out out = { .src = &src, .dst = &s->in->src, .path = &path,
			      .proto = IPPROTO_TCP, .flags = IP_OUT_DF };
	struct pkt *p;
	uint32_t n;
	uint16_t sum;
	uint8_t *at;
	pkt_h c;

	if (s->h.flags & TCP_F_RST)	/* RFC 9293 3.10.7.1: never in reply to a reset */
		return;
	if (ip_route(t, &s->in->src, &src, &path) != 0)
		return;
	c = pkt_get(t);
	if (c.v == 0)
		return;
	h.flags = TCP_F_RST;
	if (s->h.flags & TCP_F_ACK) {
		h.seq = s->h.ack;
	} else {
		h.flags |= TCP_F_ACK;
		h.ack = s->end_seq;
	}
	p = pkt_at(t, c);
	n = wire_tcp_emit_len(&h);
	p->off = (uint16_t)(p->off - n);
	p->len = (uint16_t)n;
	p->tot = n;
	at = pkt_data(t, p);
	wire_tcp_emit(at, &h);
	sum = csum_finish(csum_add64(pkt_csum(t, p, 0), ip_pseudo(&src, out.dst, IPPROTO_TCP, n)));
	memcpy(at + TCP_CSUM_OFF, &sum, sizeof(sum));
	if (ip_output(t, c, &out) == 0)
		ev(t, EV_TCP_RST_OUT, 0, h.seq, h.ack);
	pkt_put(t, c);
}
