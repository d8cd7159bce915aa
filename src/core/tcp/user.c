/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The user's calls on a connection (RFC 9293 3.10.1-3.10.5), with the errors that Linux gives.
 * Nothing here waits: -EAGAIN says that sock/ may.
 */
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/cursor.h"
#include "core/tcp/parts.h"

/* ---- OPEN ------------------------------------------------------------------------------------------ */

/* Is that tuple free, or can it be made so? */
static int take_tuple(struct turn *t, const struct ipaddr *laddr, uint16_t lport,
		      const struct ipaddr *raddr, uint16_t rport)
{
	struct sk *old = flow_find(t, IPPROTO_TCP, laddr, lport, raddr, rport);

	if (!old)
		return 0;
	if (!tcp_tw_reusable(t, old))
		return -EADDRINUSE;
	sk_put(t, old);
	return 0;
}

static int start(struct turn *t, struct sk *sk, const struct tcp_opts *o)
{
	int rc;

	tcb_init(t, sk, o);
	tcb_of(sk)->flags |= TCB_F_ACTIVE;
	rc = flow_insert(t, sk);
	if (rc != 0)
		return rc;
	tcp_event(t, sk, TE_CONNECT);
	if (unlikely(tcp_tfo_defers(t, sk, o))) {	/* RFC 7413 4.2.1: until there is data */
		tcb_of(sk)->flags |= TCB_F_DEFER;
		tcp_ready_sync(t, sk, 0);
		return 0;
	}
	tcp_tmr_rearm(t, sk, TCP_RTX_SYN);
	return tcp_emit_syn(t, sk);
}

int tcp_connect(struct turn *t, const struct tcp_opts *o, const struct ipaddr *laddr,
		uint16_t lport, const struct ipaddr *raddr, uint16_t rport, struct sk **ret)
{
	struct ipaddr src = *laddr;
	struct path path = { .generation = 0 };
	bool leased = lport == 0;
	struct sk *sk;
	int rc = ip_route(t, raddr, &src, &path);

	if (o->fo_defer && !(tcp_tune_fastopen(t) & TFO_CLIENT))
		return -EOPNOTSUPP;
	if (rc != 0 && rc != -EAGAIN)
		return rc;
	if (leased) {
		lport = port_get(t, IPPROTO_TCP, &src, raddr, rport, tcp_tw_reusable);
		if (lport == 0)
			return -EADDRNOTAVAIL;
	} else {
		rc = take_tuple(t, &src, lport, raddr, rport);
		if (rc != 0)
			return rc;
	}
	sk = sk_get(t, SK_TCP, IPPROTO_TCP);
	if (!sk)
		return -ENOBUFS;
	sk->laddr = src;
	sk->raddr = *raddr;
	sk->lport = lport;
	sk->rport = rport;
	sk->path = path;
	sk->flags |= (leased ? SK_F_BLOCK_PORT : 0) | (o->family6 ? SK_F_FAMILY6 : 0);
	rc = start(t, sk, o);
	if (rc != 0) {
		tcp_free(t, sk);
		return rc;
	}
	*ret = sk;
	return 0;
}

/* ---- SEND ------------------------------------------------------------------------------------------ */

/* k bytes have been copied behind frame f of p, the last segment. All that counts them moves
 * together, and before the next frame is asked for: who dies here leaves B2 true. */
static void count_in(struct tcb *b, struct pkt *p, struct pkt *f, uint32_t k)
{
	f->len = (uint16_t)(f->len + k);
	p->tot += k;
	p->end_seq += k;
	b->write_seq += k;
	b->wmem += k;
	b->txq.bytes += k;
}

/* Copies up to n bytes into p, taking frames as needed. Bytes copied; fewer: no frame. */
static uint32_t fill_segment(struct turn *t, struct tcb *b, struct pkt *p, struct cursor *c,
			     uint32_t n)
{
	struct pkt *f = p;
	uint32_t done = 0;

	for (uint32_t left = MAX_FRAGS; f->frag != 0 && left; left--)
		f = pkt_slot(t, f->frag);
	while (done < n) {
		uint32_t end = (f->off & (FRAME_BYTES - 1u)) + pkt_len(f);
		uint32_t k = min_u32(n - done, FRAME_BYTES - end);

		if (k == 0) {
			pkt_h h = { 0 };

			if (p->n_frags < MAX_FRAGS && !tcp_pool_is_low(t, b))
				h = pkt_get(t);
			if (h.v == 0)
				break;
			f->frag = h.v;
			f = pkt_at(t, h);
			f->off = 0;
			p->n_frags++;
			continue;
		}
		cursor_move(c, pkt_frame(t, f) + end, k, false);
		count_in(b, p, f, k);
		done += k;
	}
	return done;
}

/* The segment to append to: the last one if it is unsent and has room, else a new one. */
static struct pkt *open_segment(struct turn *t, struct sk *sk, uint32_t goal)
{
	struct tcb *b = tcb_of(sk);
	struct pkt *p;
	pkt_h h;

	if (b->tx_next != 0) {
		p = pkt_slot(t, b->txq.tail);
		if (p->tot < goal && !(p->flags & (PKT_F_FIN | PKT_F_EOR)))
			return p;
	}
	if (tcp_pool_is_low(t, b))
		return NULL;
	h = pkt_get(t);
	if (h.v == 0)
		return NULL;
	p = pkt_at(t, h);
	p->seq = p->end_seq = b->write_seq;
	pkt_q_push(t, &b->txq, h);
	b->wmem += TCP_SEG_CHARGE;
	if (b->tx_next == 0)
		b->tx_next = h.v;
	return p;
}

static bool has_room(const struct turn *t, const struct sk *sk, const struct tcb *b)
{
	if (b->write_seq - b->snd_nxt >= tcp_notsent_lowat(t, b))
		return false;
	return b->wmem < sk->sndbuf;
}

/* An empty segment that could not be begun is not left behind (B2). */
static void drop_empty_tail(struct turn *t, struct tcb *b)
{
	uint32_t slot = b->txq.head, prev = 0, left = t->map->pkt_mask + 1;

	while (slot != 0 && slot != b->txq.tail && left--) {
		prev = slot;
		slot = pkt_slot(t, slot)->next;
	}
	if (slot == 0 || slot != b->txq.tail)
		return;
	if (prev)
		pkt_slot(t, prev)->next = 0;
	else
		b->txq.head = 0;
	b->txq.tail = (uint16_t)prev;
	b->txq.n--;
	b->wmem -= TCP_SEG_CHARGE;
	if (b->tx_next == slot)
		b->tx_next = 0;
	pkt_put(t, (pkt_h){ slot });
}

uint64_t tcp_queue(struct turn *t, struct sk *sk, struct cursor *c, uint64_t left, uint32_t goal)
{
	struct tcb *b = tcb_of(sk);
	uint64_t done = 0;

	while (left > 0 && has_room(t, sk, b)) {
		struct pkt *p = open_segment(t, sk, goal);
		uint32_t n;

		if (!p)
			break;
		n = fill_segment(t, b, p, c, (uint32_t)min_u64(left, goal - p->tot));
		if (n == 0) {
			if (p->tot == 0)
				drop_empty_tail(t, b);
			break;
		}
		done += n;
		left -= n;
	}
	return done;
}

/* Linux's sk_stream_error() and sk_stream_wait_connect(). */
static int64_t may_not_send(struct turn *t, struct sk *sk)
{
	int err = sk->err;

	if (sk->kind == SK_TCP && err == 0 && !(sk->flags & SK_F_WR_SHUT)) {
		if (tcp_may_send(sk->state))
			return 0;
		if (sk->state == TCP_S_SYN_SENT || sk->state == TCP_S_SYN_RCVD)
			return tcp_is_deferred(sk) ? -EALREADY : -EAGAIN;
	}
	if (err == 0 || sk->kind != SK_TCP)
		return -EPIPE;
	sk->err = 0;
	tcp_ready_sync(t, sk, 0);
	return -err;
}

int64_t tcp_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
		 uint32_t flags)
{
	struct cursor c = { iov, n_iov, 0 };
	uint64_t want = cursor_bytes(iov, n_iov), done;
	int64_t rc = may_not_send(t, sk);
	struct tcb *b = tcb_of(sk);

	if (unlikely(rc != 0))
		return rc;
	if (want == 0)
		return 0;
	done = tcp_queue(t, sk, &c, want, tcp_mss_goal(b));
	if (done < want) {
		b->flags |= TCB_F_NOSPACE;
		if (has_room(t, sk, b))
			sk_txwait(t, sk);	/* frames were missing, not buffer */
	}
	if (done) {
		/* The tail is unsent: it has just been added to. */
		if (flags & TCP_SEND_MORE)
			b->flags |= TCB_F_MORE;
		else
			b->flags &= ~TCB_F_MORE;
		if ((flags & TCP_SEND_OOB) && done == want) {
			b->snd_up = b->write_seq;
			b->flags |= TCB_F_SND_URG;
		}
		if ((flags & TCP_SEND_EOR) && done == want)
			pkt_slot(t, b->txq.tail)->flags |= PKT_F_EOR;
		if (!(flags & TCP_SEND_MORE))	/* RFC 9293 3.9.1.2 (MUST-60) */
			pkt_slot(t, b->txq.tail)->flags |= PKT_F_PSH;
		sk->txq_bytes = b->txq.bytes;
		b->burst_segs = 0;
		tcp_output(t, sk);
	}
	if ((sk->ready & EPOLLOUT) && !tcp_is_writeable(t, sk)) {
		b->flags |= TCB_F_NOSPACE;
		if (tcp_pool_is_low(t, b))
			sk_txwait(t, sk);
		sk_ready(t, sk, 0, EPOLLOUT | EPOLLWRNORM);
	}
	return done ? (int64_t)done : -EAGAIN;
}

/* ---- RECEIVE ----------------------------------------------------------------------------------------- */

/* Takes n bytes, at most the head packet's, off the receive queue. */
static void consume(struct turn *t, struct sk *sk, struct pkt *p, uint32_t n)
{
	struct tcb *b = tcb_of(sk);

	if (n >= p->tot) {
		pkt_h h = pkt_q_pop(t, &b->rxq);

		b->rx_frames -= p->n_frags;
		pkt_put(t, h);
	} else {
		pkt_pull(t, p, n);
		p->seq += n;
		b->rxq.bytes -= n;
	}
	b->copied_seq += n;
	sk->rxq_bytes = b->rxq.bytes;
}

/* Bytes [from, from + n) of p to the user. */
static void copy_to_user(struct turn *t, const struct pkt *p, uint32_t from, struct cursor *c,
			 uint32_t n)
{
	const struct pkt *f = p;

	for (uint32_t left = t->map->pkt_mask + 1; left; left--) {
		uint32_t len = pkt_len(f);

		if (from < len) {
			uint32_t k = min_u32(n, len - from);

			cursor_move(c, pkt_data(t, f) + from, k, true);
			n -= k;
			from = 0;
		} else {
			from -= len;
		}
		if (n == 0 || f->frag == 0)
			return;
		f = pkt_slot(t, f->frag);
	}
}

/* How much may be read before the urgent mark, of n bytes at copied_seq; 0: at the mark. */
static uint32_t to_mark(const struct tcb *b, uint32_t n, uint32_t at)
{
	uint32_t off = b->urg_seq - at;

	if (likely(b->urg_state == TCP_URG_NONE) || off >= n)
		return n;
	return off;
}

static uint64_t read_bytes(struct turn *t, struct sk *sk, struct cursor *c, uint64_t want,
			   uint32_t flags)
{
	struct tcb *b = tcb_of(sk);
	uint64_t done = 0;

	while (done < want && b->rxq.head != 0) {
		struct pkt *p = pkt_slot(t, b->rxq.head);
		uint32_t n = (uint32_t)min_u64(want - done, p->tot);

		if (likely(!(flags & TCP_RECV_SHOWN)))
			n = to_mark(b, n, b->copied_seq);

		if (n == 0) {	/* at the mark: a read stops here, and the next goes past it */
			if (done)
				break;
			b->urg_state = b->urg_state == TCP_URG_VALID ? TCP_URG_VALID : TCP_URG_READ;
			if (!(b->flags & TCB_F_OOBINLINE)) {
				consume(t, sk, p, 1);
				b->urg_state = TCP_URG_NONE;
				continue;
			}
			n = (uint32_t)min_u64(want, p->tot);
			b->urg_state = TCP_URG_NONE;
		}
		if (!(flags & TCP_RECV_TRUNC))
			copy_to_user(t, p, 0, c, n);
		done += n;
		consume(t, sk, p, n);
	}
	return done;
}

static uint64_t peek_bytes(struct turn *t, struct sk *sk, struct cursor *c, uint64_t want,
			   uint32_t skip)
{
	struct tcb *b = tcb_of(sk);
	uint32_t slot = b->rxq.head, at = b->copied_seq, left = b->rxq.n;
	uint64_t done = 0;

	for (; slot != 0 && done < want && left; left--) {
		const struct pkt *p = pkt_slot(t, slot);
		uint32_t from = min_u32(skip, p->tot), n;

		skip -= from;
		n = (uint32_t)min_u64(want - done, p->tot - from);
		if (unlikely(to_mark(b, n, at + from) < n)) {
			uint32_t off = to_mark(b, n, at + from);

			if (off || done) {
				copy_to_user(t, p, from, c, off);
				return done + off;
			}
			if (!(b->flags & TCB_F_OOBINLINE)) {	/* at the mark: past it, as a read */
				from++;
				n = (uint32_t)min_u64(want, p->tot - from);
			}
		}
		copy_to_user(t, p, from, c, n);
		done += n;
		at += p->tot;
		slot = p->next;
	}
	return done;
}

/* Where the frames of p lie, from entry `i` on; the next entry that is free. */
static uint32_t show_packet(struct turn *t, const struct pkt *p, struct iovec *iov, uint32_t i, uint32_t n_iov,
			    uint32_t n)
{
	const struct pkt *f = p;

	for (uint32_t left = t->map->pkt_mask + 1; left && i < n_iov && n; left--) {
		uint32_t k = min_u32(n, pkt_len(f));

		if (k)
			iov[i++] = (struct iovec){ pkt_data(t, f), k };
		n -= k;
		if (f->frag == 0)
			break;
		f = pkt_slot(t, f->frag);
	}
	return i;
}

/* TCP_RECV_SHOW: frames stay where they are as long as they are unread. */
static uint64_t show_bytes(struct turn *t, struct sk *sk, struct iovec *iov, uint32_t n_iov)
{
	struct tcb *b = tcb_of(sk);
	uint32_t at = b->copied_seq, slot, left, i = 0;
	uint64_t done = 0;

	if (b->urg_state != TCP_URG_NONE && b->urg_seq == at && b->rxq.head) {
		if (!(b->flags & TCB_F_OOBINLINE))
			consume(t, sk, pkt_slot(t, b->rxq.head), 1);
		b->urg_state = TCP_URG_NONE;
		at = b->copied_seq;
	}
	for (slot = b->rxq.head, left = b->rxq.n; slot != 0 && left && i < n_iov; left--) {
		const struct pkt *p = pkt_slot(t, slot);
		uint32_t n = to_mark(b, p->tot, at);

		i = show_packet(t, p, iov, i, n_iov, n);
		if (n < p->tot)
			break;
		at += n;
		slot = p->next;
	}
	for (uint32_t k = 0; k < i; k++)
		done += iov[k].iov_len;
	for (; i < n_iov; i++)
		iov[i] = (struct iovec){ NULL, 0 };
	return done;
}

/* MSG_OOB (Linux's tcp_recv_urg()). */
static int64_t recv_urgent(struct sk *sk, struct cursor *c, uint64_t want, uint32_t flags)
{
	struct tcb *b = tcb_of(sk);

	if ((b->flags & TCB_F_OOBINLINE) || b->urg_state == TCP_URG_NONE ||
	    b->urg_state == TCP_URG_READ)
		return -EINVAL;
	if (b->urg_state != TCP_URG_VALID)
		return -EAGAIN;
	if (!(flags & TCP_RECV_PEEK))
		b->urg_state = TCP_URG_READ;
	if (want == 0)
		return 0;
	if (!(flags & TCP_RECV_TRUNC))
		cursor_move(c, &b->urg_byte, 1, true);
	return 1;
}

/* Nothing to read: why? In Linux's order. */
static int64_t nothing(struct turn *t, struct sk *sk)
{
	struct tcb *b = tcb_of(sk);
	int err = sk->err;

	if (err) {
		sk->err = 0;
		tcp_ready_sync(t, sk, 0);
		return -err;
	}
	if ((b->flags & (TCB_F_FIN_RCVD | TCB_F_DEAD)) || (sk->flags & SK_F_RD_SHUT))
		return 0;
	return sk->state == TCP_S_CLOSED ? -ENOTCONN : -EAGAIN;
}

int64_t tcp_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
		 uint32_t flags, uint32_t skip)
{
	struct cursor c = { iov, n_iov, 0 };
	uint64_t want = flags & TCP_RECV_SHOW ? 0 : cursor_bytes(iov, n_iov), done;
	struct tcb *b = tcb_of(sk);

	if (sk->kind != SK_TCP)
		return -ENOTCONN;
	if (unlikely(flags & TCP_RECV_OOB)) {
		int64_t rc = recv_urgent(sk, &c, want, flags);

		tcp_ready_sync(t, sk, 0);
		return rc;
	}
	if (flags & TCP_RECV_SHOW) {
		done = show_bytes(t, sk, (struct iovec *)(uintptr_t)iov, n_iov);
		return done ? (int64_t)done : nothing(t, sk);
	}
	if (flags & TCP_RECV_PEEK) {
		done = peek_bytes(t, sk, &c, want, skip);
		return done || want == 0 ? (int64_t)done : nothing(t, sk);
	}
	if (want == 0)
		return 0;
	done = read_bytes(t, sk, &c, want, flags);
	if (flags & TCP_RECV_SHOWN && (int32_t)(b->urg_seq - b->copied_seq) < 0)
		b->urg_state = TCP_URG_NONE;
	if (done == 0)
		return nothing(t, sk);
	if (likely(tcp_is_sync(sk->state))) {
		tcp_rcv_space(t, sk);
		tcp_ack_on_read(t, sk, true);
	}
	if (!tcp_is_readable(sk) || (sk->ready & EPOLLPRI && b->urg_state != TCP_URG_VALID))
		tcp_ready_sync(t, sk, 0);
	return (int64_t)done;
}

bool tcp_at_mark(struct turn *t, struct sk *sk)
{
	const struct tcb *b = tcb_of(sk);

	(void)t;
	return sk->kind == SK_TCP && b->urg_state != TCP_URG_NONE && b->copied_seq == b->urg_seq;
}

/* ---- CLOSE, ABORT ------------------------------------------------------------------------------------- */

static void send_fin(struct turn *t, struct sk *sk)
{
	tcp_event(t, sk, TE_CLOSE);
	tcb_of(sk)->flags |= TCB_F_FIN_OWED;
	tcp_output(t, sk);
}

int tcp_shutdown(struct turn *t, struct sk *sk, int how)
{
	bool rd = how == SHUT_RD || how == SHUT_RDWR, wr = how == SHUT_WR || how == SHUT_RDWR;

	if (sk->kind == SK_LISTEN) {
		if (sk->state != TCP_S_LISTEN)
			return -ENOTCONN;
		if (rd)
			tcp_listen_close(t, sk);
		return 0;
	}
	if (sk->state == TCP_S_CLOSED || sk->state == TCP_S_TIME_WAIT)
		return -ENOTCONN;
	if (sk->state == TCP_S_SYN_SENT) {	/* Linux: disconnects */
		tcp_done(t, sk, TE_CLOSE, ECONNRESET);
		return 0;
	}
	sk->flags |= (rd ? SK_F_RD_SHUT : 0) | (wr ? SK_F_WR_SHUT : 0);
	if (wr && tcp_may_send(sk->state))
		send_fin(t, sk);
	tcp_ready_sync(t, sk, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLHUP | EPOLLOUT | EPOLLWRNORM);
	return 0;
}

/* RFC 9293 3.10.4, RFC 2525 2.17: data that will never be read is not acknowledged silently. */
static bool must_reset(const struct turn *t, const struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);

	return sk->rxq_bytes != 0 || b->linger_s == 0 ||
	       t->map->seg->n_orphans >= TCP_MAX_ORPHANS;
}

/* RFC 9293 3.10.5: with both FINs on their way there is nothing left to break off (Linux:
 * unless the peer would miss something, or thinks that we have read it). */
static void reset_peer(struct turn *t, struct sk *sk)
{
	const struct tcb *b = tcb_of_const(sk);
	bool over = sk->state == TCP_S_CLOSING || sk->state == TCP_S_LAST_ACK;

	if (!over || sk->rxq_bytes != 0 || b->snd_nxt != b->write_seq)
		tcp_emit_rst(t, sk);
}

static void close_conn(struct turn *t, struct sk *sk)
{
	if (must_reset(t, sk)) {
		reset_peer(t, sk);
		sk->flags |= SK_F_ORPHAN;
		tcp_done(t, sk, TE_ABORT, 0);
		return;
	}
	sk->flags |= SK_F_RD_SHUT | SK_F_WR_SHUT;
	tcp_orphan(t, sk);
	if (tcp_may_send(sk->state))
		send_fin(t, sk);
	else if (sk->state == TCP_S_FIN_WAIT_2 && !tcp_on_fin_wait_2(t, sk))
		return;
}

void tcp_close(struct turn *t, struct sk *sk)
{
	if (sk->kind == SK_LISTEN) {
		if (sk->state == TCP_S_LISTEN)
			tcp_listen_close(t, sk);
		sk_put(t, sk);
		return;
	}
	switch (sk->state) {
	case TCP_S_CLOSED:
		tcp_free(t, sk);
		return;
	case TCP_S_SYN_SENT:
		sk->flags |= SK_F_ORPHAN;
		tcp_done(t, sk, TE_CLOSE, 0);
		return;
	case TCP_S_TIME_WAIT:
		sk->flags |= SK_F_ORPHAN;
		tcp_rx_purge(t, sk);
		return;
	default:
		close_conn(t, sk);
		return;
	}
}

void tcp_abort(struct turn *t, struct sk *sk, int err)
{
	if (sk->kind == SK_LISTEN) {
		if (sk->state == TCP_S_LISTEN)
			tcp_listen_close(t, sk);
		return;
	}
	if (sk->state == TCP_S_CLOSED)
		return;
	if (sk->state != TCP_S_SYN_SENT && sk->state != TCP_S_TIME_WAIT)
		reset_peer(t, sk);
	tcp_done(t, sk, TE_ABORT, err);
}

bool tcp_is_drained(struct turn *t, struct sk *sk)
{
	(void)t;
	if (sk->kind != SK_TCP)
		return true;
	switch (sk->state) {
	case TCP_S_FIN_WAIT_1:
	case TCP_S_CLOSING:
	case TCP_S_LAST_ACK:
		return false;
	case TCP_S_ESTABLISHED:
	case TCP_S_CLOSE_WAIT:
		return tcb_of(sk)->snd_una == tcb_of(sk)->write_seq;
	default:
		return true;
	}
}
