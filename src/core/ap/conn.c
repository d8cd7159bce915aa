/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections: how they begin and end, and what poll() says of them.
 *
 * CONNECT is optimistic. The client writes name and lines, posts the event and has its
 * connection: whatever it sends waits in its ring, as it would in the receive queue of a
 * connection that the kernel has established and nobody has accepted. The server's stack takes it
 * when it looks; if nobody listens by then, it answers with a reset (S2-CON-02 to -05;
 * ACCEPT is the nonce in the server's own line, S2-NONCE-01).
 *
 * States are TCP's as they are after the last acknowledgement, because nothing is ever under
 * way: ESTABLISHED, FIN_WAIT_2 (we have finished), CLOSE_WAIT (the peer has), CLOSED.
 */
#include "core/ap/parts.h"

#include <netinet/in.h>
#include <sys/socket.h>

void conn_state(struct turn *t, struct sk *sk, enum tcp_state to)
{
	if (sk->state == to)
		return;
	ev(t, EV_AP_STATE, sk->self, sk->state, to);
	sk->state = (uint8_t)to;
}

/* ---- readiness --------------------------------------------------------------------------------- */

static bool is_readable(const struct sk *sk, uint32_t avail, const struct ap *a)
{
	uint32_t target = max_u32(sk->rcvlowat, 1);

	if (a->urg_state != AP_URG_NONE && !(a->flags & AP_F_OOBINLINE) && a->urg == a->rd)
		target++;
	return avail >= target;
}

/* Linux's tcp_poll(), as a mask. `avail`: bytes to read; `room`: there is room to write. */
static uint32_t poll_mask(const struct sk *sk, uint32_t avail, bool room)
{
	const struct ap *a = ap_of_const(sk);
	bool closed = sk->state == TCP_S_CLOSED;
	bool rd_shut = closed || sk->flags & SK_F_RD_SHUT || a->flags & AP_F_FIN_RCVD;
	bool wr_shut = closed || sk->flags & SK_F_WR_SHUT;
	uint32_t m = 0;

	if (closed || (rd_shut && wr_shut))
		m |= EPOLLHUP;
	if (rd_shut)
		m |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP;
	if (is_readable(sk, avail, a))
		m |= EPOLLIN | EPOLLRDNORM;
	if (wr_shut || room)
		m |= EPOLLOUT | EPOLLWRNORM;
	if (a->urg_state == AP_URG_VALID)
		m |= EPOLLPRI;
	if (sk_has_error(sk))
		m |= EPOLLERR;
	return m;
}

/*
 * The writer may be out of room, or wait for it with what poll() calls too little: then what there is
 * is shown, below SO_RCVLOWAT too, or both would wait for ever. As Linux's tcp_epollin_ready(), whose
 * window closes. (Not all that is in older rings counts: they are not written to.)
 */
static cold_fn bool is_pressed(const struct turn *t, const struct sk *sk)
{
	const struct ap *a = ap_of_const(sk);
	struct ap_ring_at r;
	struct lines l;
	uint32_t n, used;

	if (!sk->rxq_bytes || !lines_of(t->map, a, &l) || acquire32(&l.in->tx.nonce) != a->nonce)
		return false;
	n = peek32(&l.in->tx.n_rings);
	r = l.in->tx.ring[(n - 1) & 1];
	if (!n || !r.shift || r.shift > AP_MAX_SHIFT)
		return true;
	used = a->rd + sk->rxq_bytes - ((int32_t)(a->rd - r.start) < 0 ? r.start : a->rd);
	return used > ring_bytes(&r) || ring_bytes(&r) - used < ring_bytes(&r) / 3;
}

void conn_sync(struct turn *t, struct sk *sk, uint32_t edges)
{
	uint32_t m, set, clear;

	m = poll_mask(sk, sk->rxq_bytes, stream_has_room(ap_of(sk)));
	if (unlikely(sk->rcvlowat > 1) && !(m & EPOLLIN) && is_pressed(t, sk))
		m |= EPOLLIN | EPOLLRDNORM;
	set = (m & ~sk->ready) | (m & edges);
	clear = sk->ready & ~m;
	if (set | clear)
		sk_ready(t, sk, set, clear);
}

uint32_t ap_peek(const struct stack_map *map, const struct sk *sk)
{
	const struct ap *a = ap_of_const(sk);
	uint32_t ready = peek32(&sk->ready);
	struct lines l;

	if (ready & EPOLLIN || !lines_of(map, a, &l))
		return ready;
	if (acquire32(&l.in->tx.nonce) != a->nonce)
		return ready;
	if (is_readable(sk, acquire32(&l.in->tx.wr) - peek32(&a->rd), a))
		ready |= EPOLLIN | EPOLLRDNORM;
	return ready;
}

/* ---- what the peer says --------------------------------------------------------------------------- */

static void end_of(struct turn *t, struct sk *sk, int err)
{
	struct ap *a = ap_of(sk);

	a->flags |= AP_F_DEAD;
	conn_state(t, sk, TCP_S_CLOSED);
	flow_remove(t, sk);
	if (err && !(sk->flags & SK_F_EMBRYO))
		sk_error(t, sk, err);
	else if (err)
		sk->err = err;
	conn_sync(t, sk, EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | EPOLLHUP | EPOLLERR);
}

/* Linux's tcp_reset(). */
void conn_reset(struct turn *t, struct sk *sk)
{
	ev(t, EV_AP_RESET, sk->self, sk->state, 0);
	if (ap_of(sk)->flags & AP_F_DEAD)
		return;
	end_of(t, sk, sk->state == TCP_S_CLOSE_WAIT ? EPIPE : sk->state == TCP_S_CLOSED ? 0 : ECONNRESET);
}

static void take_fin(struct turn *t, struct sk *sk)
{
	struct ap *a = ap_of(sk);

	a->flags |= AP_F_FIN_RCVD;
	if (sk->state == TCP_S_ESTABLISHED) {
		conn_state(t, sk, TCP_S_CLOSE_WAIT);
	} else if (sk->state == TCP_S_FIN_WAIT_2) {
		conn_state(t, sk, TCP_S_CLOSED);
		flow_remove(t, sk);
	}
}

static void take_urgent(struct ap *a, const struct ap_tx *tx)
{
	uint32_t urg = peek32(&tx->urg);

	if (urg == a->urg && a->urg_state != AP_URG_NONE)
		return;
	if ((int32_t)(urg - a->rd) < 0 || (a->urg_state == AP_URG_NONE && urg == a->urg && a->urg + 1 == a->rd))
		return;		/* passed long ago */
	a->urg = urg;
	a->urg_state = AP_URG_VALID;
}

/* All that the peer's lines say. `from_event`: our wish has been served, whatever it was for. */
void conn_look(struct turn *t, struct sk *sk, bool from_event)
{
	struct ap *a = ap_of(sk);
	uint32_t flags, before = sk->rxq_bytes, edges = 0, ready = sk->ready;
	struct lines l;

	if (from_event)
		a->flags &= ~(AP_F_WISHED | AP_F_ROOM);
	if (a->flags & AP_F_DEAD || !lines_of(t->map, a, &l) || acquire32(&l.in->tx.nonce) != a->nonce)
		return;
	a->flags |= AP_F_ACCEPTED;
	flags = acquire32(&l.in->tx.flags);	/* before wr: FIN means that wr is the last */
	if (!stream_heard(t, sk, &l))
		return;
	if (flags & AP_TX_URG)
		take_urgent(a, &l.in->tx);
	if (flags & AP_TX_FIN && !(a->flags & AP_F_FIN_RCVD)) {
		take_fin(t, sk);
		edges |= EPOLLIN | EPOLLRDNORM | EPOLLRDHUP | (sk->state == TCP_S_CLOSED ? EPOLLHUP : 0);
	}
	if (flags & AP_TX_RST) {
		conn_reset(t, sk);
		return;
	}
	/* An event is an arrival, even if a read has met its bytes meanwhile: who watches edges may
	 * have stopped at what was there before (nginx does, by FIONREAD). */
	if (sk->rxq_bytes != before || (from_event && sk->rxq_bytes))
		edges |= EPOLLIN | EPOLLRDNORM;
	if (a->urg_state == AP_URG_VALID && flags & AP_TX_URG && !(ready & EPOLLPRI))
		edges |= EPOLLPRI;
	conn_sync(t, sk, edges);
	/* What was told may have been room that a quicker send() has filled since. */
	if (from_event && !(sk->ready & EPOLLOUT))
		stream_want_room(t, sk, &l);
	/* Edge-triggered watchers hear of each arrival, the others of the first that is enough; a sleeper, too. */
	if (from_event && (sk->flags & SK_F_EDGES || ((sk->items || sk->wait_mask) && !(sk->ready & EPOLLIN))))
		stream_wish(t, sk, &l);
}

void ap_want(struct turn *t, struct sk *sk)
{
	struct ap *a = ap_of(sk);
	struct lines l;

	if (a->flags & AP_F_DEAD || !lines_of(t->map, a, &l))
		return;
	conn_look(t, sk, false);
	if (!(a->flags & AP_F_DEAD))
		stream_wish(t, sk, &l);
}

/* ---- OPEN -------------------------------------------------------------------------------------------- */

static void init_common(struct turn *t, struct sk *sk, struct ap *a, const struct tcp_opts *o)
{
	sk->rcvlowat = 1;
	sk->path.mtu = 65535;
	sk->born_at = t->now;
	a->last_snd_ms = a->last_rcv_ms = (uint32_t)(t->now / NS_PER_MS);
	ap_set_opts(t, sk, o);
	slot_at(t, a->slot)->n_socks++;
}

/* Our own lines as a connection finds them. */
static void init_lines(struct ap *a, const struct lines *l)
{
	l->out->tx.wr = a->wr;
	l->out->tx.flags = 0;
	l->out->tx.urg = a->wr;
	l->out->tx.want_room = 0;
	l->out->tx.n_rings = 0;
	l->out->tx.ring[0] = l->out->tx.ring[1] = PRIV_RING_NONE;
	poke32(&l->in->rx.rd, a->rd);
	poke32(&l->in->wish.flags, 0);
	a->wish_asked = peek32(&l->in->wish.want_data);
	/* release32(): pairs with acquire32() of the peer's looks: the lines are ours from here */
	release32(&l->out->tx.nonce, a->nonce);
}

static uint32_t new_nonce(struct turn *t, uint32_t chan)
{
	uint64_t k[2] = { t->now, (uint64_t)chan << 32 | t->map->seg->n_turns };
	uint32_t n = stack_hash(t, k, sizeof(k), 0x6e6f6e);

	return n ? n : 1;
}

static void open_channel(struct turn *t, struct sk *sk, uint32_t slot, uint32_t chan, const struct lines *l)
{
	struct ap_slot *s = slot_at(t, slot);
	struct ap_chan *c = &l->pair->chan[chan];
	struct ap *a = ap_of(sk);

	/* Positions begin where the reader's line is, so that it need not be ours to reset. */
	a->wr = a->rd_seen = peek32(&l->out->rx.rd);
	a->rd = a->nonce * 2654435761u;
	a->urg = a->rd - 1;
	a->wish_seen = peek32(&l->out->wish.want_data);
	c->name = (struct ap_name){
		.laddr = sk->laddr, .raddr = sk->raddr, .lport = sk->lport, .rport = sk->rport,
		.start = { a->side ? a->rd : a->wr, a->side ? a->wr : a->rd },
	};
	init_lines(a, l);
	c->name.wish = a->wish_asked;
	release32(&c->name.nonce, a->nonce);	/* pairs with acquire32() in conn_take() */
	table_at(t, slot)->chan[a->side][chan] = (struct ap_chan_own){ .sk = sk->self, .nonce = a->nonce };
	s->top[a->side] = max_u32(s->top[a->side], chan + 1);
	lane_post(t, slot, a->side, AP_EV_CONNECT, chan, a->nonce, 0);
	ev(t, EV_AP_CONNECT, sk->self, s->pair_id, chan);
}

static void put_chan(struct turn *t, uint32_t slot, uint32_t side, uint32_t chan)
{
	table_at(t, slot)->chan[side][chan].next = slot_at(t, slot)->free_chan;
	slot_at(t, slot)->free_chan = chan;
}

int ap_connect(struct turn *t, uint32_t slot, const struct tcp_opts *o, const struct ipaddr *laddr,
	       uint16_t lport, const struct ipaddr *raddr, uint16_t rport, struct sk **ret)
{
	struct ap_pair *p = pair_at(t->map, slot);
	bool leased = lport == 0;
	uint32_t chan;
	struct lines l;
	struct sk *sk;
	struct ap *a;

	if (!p || slot_at(t, slot)->over)
		return -ECONNREFUSED;
	if (leased)
		lport = port_get(t, IPPROTO_TCP, laddr, raddr, rport, tcp_tw_reusable);
	if (!lport)
		return -EADDRNOTAVAIL;
	chan = chan_get(t, slot);
	sk = chan ? sk_get(t, SK_AP, IPPROTO_TCP) : NULL;
	if (!sk) {
		if (chan)
			put_chan(t, slot, our_side(slot_at(t, slot)), chan);
		return -ENOBUFS;
	}
	sk->laddr = *laddr;
	sk->raddr = *raddr;
	sk->lport = lport;
	sk->rport = rport;
	sk->flags |= (leased ? SK_F_BLOCK_PORT : 0) | (o->family6 ? SK_F_FAMILY6 : 0);
	if (flow_insert(t, sk) != 0) {
		put_chan(t, slot, our_side(slot_at(t, slot)), chan);
		sk_put(t, sk);
		return -EADDRINUSE;
	}
	a = ap_of(sk);
	a->slot = (uint8_t)slot;
	a->side = (uint8_t)our_side(slot_at(t, slot));
	a->chan = chan;
	a->nonce = new_nonce(t, chan);
	a->flags = AP_F_ACTIVE;
	must(lines_of(t->map, a, &l));
	init_common(t, sk, a, o);
	open_channel(t, sk, slot, chan, &l);
	conn_state(t, sk, TCP_S_ESTABLISHED);
	conn_sync(t, sk, 0);
	*ret = sk;
	return 0;
}

/* ---- a peer's CONNECT ------------------------------------------------------------------------------------ */

static void refuse(struct turn *t, uint32_t slot, uint32_t side, uint32_t chan, uint32_t nonce)
{
	struct ap_chan *c = &pair_at(t->map, slot)->chan[chan];
	struct ap_tx *tx = &c->dir[side].tx;

	poke32(&c->dir[~side & 1].wish.flags, AP_RX_SHUT);
	poke32(&tx->wr, c->name.start[side]);
	poke32(&tx->flags, AP_TX_RST | AP_TX_GONE);
	release32(&tx->nonce, nonce);		/* pairs with acquire32() of the peer's looks */
	lane_post(t, slot, side, AP_EV_LOOK, chan, nonce, 0);
	ev(t, EV_AP_REFUSED, 0, c->name.rport, chan);
}

/* Not in the flow table: no packet looks for it, and its peer may use the port again before
 * we have heard that the connection before is closed. */
static struct sk *new_child(struct turn *t, struct sk *lsk, const struct ap_name *n)
{
	struct sk *sk = sk_get(t, SK_AP, IPPROTO_TCP);

	if (!sk)
		return NULL;
	sk->laddr = n->raddr;
	sk->raddr = n->laddr;
	sk->lport = n->rport;
	sk->rport = n->lport;
	sk->flags |= lsk->flags & SK_F_FAMILY6;
	sk->priority = lsk->priority;
	return sk;
}

void conn_take(struct turn *t, uint32_t slot, uint32_t side, uint32_t chan, uint32_t nonce)
{
	struct ap_pair *p = pair_at(t->map, slot);
	struct ap_chan_own *own = &table_at(t, slot)->chan[side][chan];
	struct ap_name n;
	struct sk *lsk, *sk;
	struct lines l;
	struct ap *a;

	if (!p || (chan & 1) == side || !nonce)		/* C2; theirs to open */
		return;
	/* The opener's line may have been anew in part when we last settled: its flags were, and
	 * hid that it had gone, and its nonce was not. It is by now. */
	if (own->nonce != nonce)
		chan_settle(t, slot, side, chan);
	if (own->nonce)
		return;
	if (acquire32(&p->chan[chan].name.nonce) != nonce)	/* pairs with release32() in open_channel() */
		return;
	/* A sweep meets it again: we answered, and it is over. */
	if (peek32(&p->chan[chan].dir[side & 1].tx.nonce) == nonce)
		return;
	n = p->chan[chan].name;
	lsk = listen_pick(t, IPPROTO_TCP, &n.raddr, n.rport, &n.laddr, n.lport);
	sk = lsk && lsk->kind == SK_LISTEN ? new_child(t, lsk, &n) : NULL;
	if (!sk) {
		refuse(t, slot, side, chan, nonce);
		return;
	}
	a = ap_of(sk);
	a->slot = (uint8_t)slot;
	a->side = (uint8_t)side;
	a->chan = chan;
	a->nonce = nonce;
	must(lines_of(t->map, a, &l));
	a->wr = a->rd_seen = n.start[side];
	a->rd = n.start[~side & 1];
	a->urg = a->rd - 1;
	a->flags = AP_F_ACCEPTED;
	a->wish_seen = n.wish;
	init_common(t, sk, a, tcp_listen_opts(lsk));
	a->opts.defer_accept_s = 0;	/* the listener's alone */
	sk->rcvlowat = lsk->rcvlowat;
	init_lines(a, &l);
	*own = (struct ap_chan_own){ .sk = sk->self, .nonce = nonce };
	slot_at(t, slot)->top[side] = max_u32(slot_at(t, slot)->top[side], chan + 1);
	conn_state(t, sk, TCP_S_ESTABLISHED);
	conn_look(t, sk, false);
	ev(t, EV_AP_TAKEN, sk->self, slot_at(t, slot)->pair_id, chan);
	if (!tcp_listen_push(t, lsk, sk)) {
		ev(t, EV_AP_REFUSED, 0, n.rport, chan);
		a->flags |= AP_F_RST_SENT;	/* ap_close() then resets */
		ap_close(t, sk);
	}
}

/* ---- CLOSE -------------------------------------------------------------------------------------------------- */

int ap_shutdown(struct turn *t, struct sk *sk, int how)
{
	struct ap *a = ap_of(sk);
	struct lines l;

	if (sk->state == TCP_S_CLOSED)
		return -ENOTCONN;
	if (how != SHUT_WR)
		sk->flags |= SK_F_RD_SHUT;
	if (how != SHUT_RD && !(sk->flags & SK_F_WR_SHUT)) {
		sk->flags |= SK_F_WR_SHUT;
		if (lines_of(t->map, a, &l)) {
			release32(&l.out->tx.flags, l.out->tx.flags | AP_TX_FIN);	/* after wr */
			lane_look(t, a);
		}
		conn_state(t, sk, sk->state == TCP_S_CLOSE_WAIT ? TCP_S_CLOSED : TCP_S_FIN_WAIT_2);
		if (sk->state == TCP_S_CLOSED)
			flow_remove(t, sk);
	}
	conn_sync(t, sk, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP);
	return 0;
}

/* Our last words, and the channel's books. */
static void leave_channel(struct turn *t, struct sk *sk, bool reset)
{
	struct ap *a = ap_of(sk);
	struct ap_slot *s = slot_at(t, a->slot);
	struct ap_chan_own *own = &table_at(t, a->slot)->chan[a->side & 1][a->chan & (AP_N_CHANS - 1)];
	struct lines l;

	s->n_socks--;
	if (!lines_of(t->map, a, &l) || own->sk != sk->self)
		return;
	own->page[0] = a->old.page;
	own->shift[0] = (uint8_t)a->old.shift;
	own->page[1] = a->out.page;
	own->shift[1] = (uint8_t)a->out.shift;
	own->sk = 0;
	poke32(&l.in->wish.flags, AP_RX_SHUT);
	/* release32(): pairs with acquire32() in conn_look() and chan_settle(): all else is said */
	release32(&l.out->tx.flags, l.out->tx.flags | (reset ? AP_TX_RST : AP_TX_FIN) | AP_TX_GONE);
	lane_look(t, a);
	chan_settle(t, a->slot, a->side, a->chan);
}

void ap_close(struct turn *t, struct sk *sk)
{
	struct ap *a = ap_of(sk);
	struct lines l;
	bool reset = a->flags & AP_F_RST_SENT || a->opts.linger_s == 0;

	/* Linux's tcp_close(): what was sent to us and nobody read is answered by a reset. */
	if (!(a->flags & AP_F_DEAD) && lines_of(t->map, a, &l) && acquire32(&l.in->tx.nonce) == a->nonce)
		reset |= acquire32(&l.in->tx.wr) != a->rd;
	tcp_embryo_unlink(t, sk);
	conn_state(t, sk, TCP_S_CLOSED);
	leave_channel(t, sk, reset);
	sk_put(t, sk);
}

void ap_listen_stop(struct turn *t, struct sk *lsk)
{
	struct sk *sk;

	for (uint32_t left = t->map->sk_mask; left && (sk = tcp_listen_next(t, lsk, SK_AP)); left--) {
		ap_of(sk)->flags |= AP_F_RST_SENT;
		ap_close(t, sk);
	}
}

void ap_abort(struct turn *t, struct sk *sk, int err)
{
	struct ap *a = ap_of(sk);
	struct lines l;

	if (a->flags & AP_F_DEAD)
		return;
	a->flags |= AP_F_RST_SENT;
	if (lines_of(t->map, a, &l)) {
		release32(&l.out->tx.flags, l.out->tx.flags | AP_TX_RST);
		lane_look(t, a);
	}
	end_of(t, sk, err);
}

/* ---- idle ----------------------------------------------------------------------------------------------------- */

void ap_tick(struct turn *t, struct sk *sk)
{
	struct ap *a = ap_of(sk);
	struct lines l;

	if (a->flags & AP_F_NO_RING) {		/* there may be some now */
		a->flags &= ~AP_F_NO_RING;
		conn_sync(t, sk, 0);
	}
	if (!a->out.shift || !lines_of(t->map, a, &l))
		return;
	conn_look(t, sk, false);
	if (a->rd_seen == a->wr && a->wr_at_tick == a->wr && !a->rsv_n) {
		ev(t, EV_AP_RING_IDLE, sk->self, ring_bytes(&a->out), 0);
		stream_drop_rings(t, a);
		t->trims |= 1ull << a->slot % N_PAIRS;
		return;
	}
	a->wr_at_tick = a->wr;
	tmr_arm(t, sk, t->now + NS_PER_S);
}

void ap_check(struct turn *t, struct sk *sk)
{
	const struct ap *a = ap_of(sk);
	const struct ap_slot *s = slot_at(t, a->slot);
	const struct ap_chan_own *own;

	if (sk->state != TCP_S_ESTABLISHED && sk->state != TCP_S_FIN_WAIT_2 &&
	    sk->state != TCP_S_CLOSE_WAIT && sk->state != TCP_S_CLOSED)
		goto broken;
	if (a->slot >= t->map->n_pairs || a->side > 1 || !a->chan || a->chan >= AP_N_CHANS)
		goto broken;
	if (a->wr - a->rd_seen > ring_bytes(&a->out) + ring_bytes(&a->old))		/* P1 */
		goto broken;
	if (a->old.shift && (int32_t)(a->rd_seen - a->out.start) >= 0)			/* P2 */
		goto broken;
	own = &table_at(t, a->slot)->chan[a->side][a->chan];
	if (!(a->flags & AP_F_DEAD) && s->pair_id && (own->sk != sk->self || own->nonce != a->nonce))	/* P3 */
		goto broken;
	return;
broken:
	never(t, WHY_AP_INVARIANT);
}
