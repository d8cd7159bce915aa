/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections: set up and taken down by messages that may be lost (S2-CON, S2-NONCE-01).
 *
 *	A  apw_connect()                               B  a bound port
 *	   CONNECT in-index A, nonce A  ------------>     the port's rules, or its application
 *	   <------------  ACCEPT in-index B, nonce B      incoming and outgoing aperture made
 *	   outgoing aperture made; OPEN
 *	   ACCEPT|ACK  ------------------------------>    OPEN (a packet of data says as much)
 *	   CLOSE  ------------------------------------>   forgotten
 *	   <-------------------------------  CLOSE|ACK
 *
 * C1 CONNECT, ACCEPT and CLOSE are sent again after 200 ms x 2^n until they are answered.
 * C2 A CONNECT is known by (host, in-index, nonce, port) of who sent it: repeated, it makes nothing new.
 * C3 An answer counts only if it shows the nonce of the incoming aperture it is about.
 * C4 An ACCEPT or CLOSE about a connection that is not is answered by what ends it there too.
 * C5 From apw_close() on, no byte is written for the peer.
 */
#include "base/hash.h"
#include "core/aperture/parts.h"

struct apw_conn *apw_conn_at(struct apw *e, uint32_t conn)
{
	struct apw_conn *c = &e->conns[conn & e->in.mask];

	return conn && c->state != APW_CLOSED && c->in_index == conn ? c : NULL;
}

const struct apw_conn *apw_conn(const struct apw *e, uint32_t conn)
{
	return apw_conn_at((struct apw *)(uintptr_t)e, conn);
}

/* ---- lists: by timer, by who connected ------------------------------------------------------------- */

static uint32_t row_of(const struct apw *e, const struct apw_conn *c)
{
	return (uint32_t)(c - e->conns);
}

static void timer_off(struct apw *e, struct apw_conn *c)
{
	if (c->next_at == NEVER_NS)
		return;
	c->next_at = NEVER_NS;
	if (c->prev)
		e->conns[c->prev].next = c->next;
	else
		e->timers = c->next;
	if (c->next)
		e->conns[c->next].prev = c->prev;
	c->prev = c->next = 0;
}

static void timer_at(struct apw *e, struct apw_conn *c, uint64_t at)
{
	timer_off(e, c);
	c->next_at = at;
	c->next = e->timers;
	if (c->next)
		e->conns[c->next].prev = row_of(e, c);
	e->timers = row_of(e, c);
	e->conn_due = min_u64(e->conn_due, at);
}

static uint32_t *chain_of(struct apw *e, uint32_t host, uint32_t index, uint64_t nonce)
{
	uint64_t k[2] = { (uint64_t)host << 32 | index, nonce };

	return &e->chains[hash_bytes(e->conf.secret, k, sizeof(k), 1) & e->in.mask];
}

static void chain_off(struct apw *e, struct apw_conn *c)
{
	uint32_t *at = chain_of(e, c->peer.host, c->peer_index, c->peer_nonce);

	for (uint32_t n = 0; *at && n <= e->in.mask; n++, at = &e->conns[*at].chain)
		if (*at == row_of(e, c)) {
			*at = c->chain;
			return;
		}
}

/* C2: who asked that before? */
static struct apw_conn *known(struct apw *e, const struct apw_addr *from, const struct ci_msg *m)
{
	uint32_t at = *chain_of(e, from->host, m->index, m->nonce);

	for (uint32_t n = 0; at && n <= e->in.mask; n++, at = e->conns[at].chain) {
		struct apw_conn *c = &e->conns[at];

		if (c->peer.host == from->host && c->peer_index == m->index && c->peer_nonce == m->nonce &&
		    c->rport == m->src_port)
			return c;
	}
	return NULL;
}

/* ---- messages about a connection ----------------------------------------------------------------------- */

static struct ci_msg about(const struct apw *e, const struct apw_conn *c, enum ci_msg_type type, uint8_t ack)
{
	const struct apw_in *r = apw_in_row(e, row_of(e, c));
	struct ci_msg m = {
		.type = (uint8_t)type, .flags = ack, .dst_port = c->rport, .src_port = c->lport,
		.index = c->in_index, .nonce = r->nonce, .peer_index = c->peer_index, .peer_nonce = c->peer_nonce,
		/* S2-NOT-01, S2-IN-05: what this aperture is, and how it checks. */
		.ap_type = r->type, .size = r->size, .size_class = (uint8_t)apw_class_of(r->size),
		.seq0 = r->seq0, .step = r->step, .every = r->every,
	};

	m.flags |= (r->checks & APW_CK_SEQ ? CI_M_SEQ : 0) | (r->step ? CI_M_STEP : 0) |
		   (r->flags & APW_F_READ ? CI_M_READ : 0) | (r->flags & APW_F_WRITE ? CI_M_WRITE : 0);
	return m;
}

static void tell(struct apw *e, const struct apw_conn *c, enum ci_msg_type type, uint8_t ack)
{
	struct ci_msg m = about(e, c, type, ack);

	apw_msg_out(e, &c->peer, &m, NULL);
}

uint32_t apw_last_words(const struct apw *e, uint32_t row, uint8_t *p, struct apw_addr *ret_to)
{
	const struct apw_conn *c = &e->conns[row & e->in.mask];
	struct ci_msg m;

	if (c->state != APW_OPEN && c->state != APW_ACCEPTING && c->state != APW_CLOSING)
		return 0;
	m = about(e, c, CI_CLOSE, 0);
	m.dst_host = c->peer.host;
	m.src_host = e->conf.host;
	m.arg = CI_E_LINK;
	*ret_to = c->peer;
	return wire_ci_msg_emit(p, &m, NULL, e->conf.crc);
}

/* An answer to somebody of whom we keep nothing: their own words turned round. */
static void answer(struct apw *e, const struct apw_addr *to, const struct ci_msg *m, enum ci_msg_type type,
		   uint8_t ack, enum ci_error why)
{
	struct ci_msg a = { .type = (uint8_t)type, .flags = ack, .dst_port = m->src_port, .src_port = m->dst_port,
			    .index = m->peer_index, .nonce = m->peer_nonce, .peer_index = m->index,
			    .peer_nonce = m->nonce, .arg = why };

	apw_msg_out(e, to, &a, NULL);
}

static void event(struct apw *e, const struct apw_conn *c, enum apw_event_type type, uint32_t a)
{
	struct apw_event ev = { .type = (uint8_t)type, .index = c->in_index, .a = a };

	apw_post(e, c->lport, &ev, NULL, 0);
}

static void set_state(struct apw *e, struct apw_conn *c, enum apw_conn_state s, uint64_t now)
{
	c->state = (uint8_t)s;
	c->tries = 0;
	if (s == APW_CONNECTING || s == APW_ACCEPTING || s == APW_CLOSING)
		timer_at(e, c, now + APW_FIRST_NS);
	else if (s == APW_ASKED)
		timer_at(e, c, now + APW_ASKED_NS);
	else
		timer_off(e, c);
}

/* ---- apertures of a connection ----------------------------------------------------------------------------- */

static int side_ok(const struct apw *e, const struct apw_side *s)
{
	const struct apw_region *g;

	if (s->step && !(s->checks & APW_CK_SEQ))
		return -EINVAL;	/* a nonce that moves needs order (S2-NONCE-04) */
	if (s->map == APW_QUEUE)
		return s->region < e->n_queues ? 0 : -EINVAL;
	if (!s->size)
		return 0;
	if (s->region >= e->conf.n_regions || s->size > 1ull << 32)
		return -EINVAL;
	g = &e->regions[s->region];
	if (!g->base || s->offset > g->bytes || s->size > g->bytes - s->offset)
		return -EINVAL;
	if ((s->sub_first || s->sub_last) && (s->sub_first > s->sub_last || s->sub_last >= s->size))
		return -EINVAL;
	return 0;
}

static struct apw_in side_row(struct apw *e, const struct apw_side *s, const struct apw_addr *peer)
{
	struct apw_in r = {
		.map = s->map, .size = s->size, .checks = s->checks ? s->checks : APW_LEVEL_1,
		.flags = APW_F_VALID | (s->flags & (APW_F_READ | APW_F_WRITE)),
		.seq0 = (uint32_t)apw_draw(e), .src_host = peer->host, .src_bits = 32,
		.sub_first = s->sub_first, .sub_last = s->sub_last, .step = s->step, .every = s->every,
		.type = s->map == APW_QUEUE ? CI_TYPE_EVENT : CI_TYPE_DATA,
		.base = s->map == APW_QUEUE ? s->region : (uint64_t)s->region << 48 | s->offset,
	};

	if (s->step && !s->every)
		r.every = 1;
	if (!e->conf.has_ether)
		r.checks &= (uint8_t)~APW_CK_ETHER;
	memcpy(r.src_eth, peer->mac, 6);
	return r;
}

/* The incoming aperture, and the connection that has its number. */
static int conn_new(struct apw *e, const struct apw_in *row, struct apw_conn **ret)
{
	uint32_t index;
	int r = apw_in_open(e, row, &index);

	if (r)
		return r;
	apw_table_edit(&e->in, index & e->in.mask)->in.conn = index;
	*ret = &e->conns[index & e->in.mask];
	memset(*ret, 0, sizeof(**ret));
	(*ret)->in_index = index;
	(*ret)->next_at = NEVER_NS;
	return 0;
}

static void terms_of(struct apw_conn *c, const struct ci_msg *m)
{
	c->peer_index = m->index;
	c->peer_nonce = m->nonce;
	c->terms = (struct apw_terms){ .size = min_u64(m->size, 1ull << 32), .seq0 = m->seq0, .step = m->step,
				       .every = m->every, .type = m->ap_type, .flags = m->flags,
				       .size_class = m->size_class };
}

/* S2-CON-05: the window on the peer's aperture; one made before keeps its address and its class. */
static int open_out(struct apw *e, struct apw_conn *c)
{
	const struct apw_terms *t = &c->terms;
	struct apw_out *r, fresh = { .size_class = apw_class_of(t->size) };
	int err = c->out ? 0 : apw_out_open(e, &fresh, &c->out);

	if (err)
		return err;
	r = &apw_table_edit(&e->out, c->out)->out;
	r->nonce = c->peer_nonce;
	r->seq = r->seq0 = t->seq0;
	r->size = min_u64(t->size, 1ull << apw_class_bits(r->size_class));
	r->remote_index = c->peer_index;
	r->remote_base = 0;
	r->dst_host = c->peer.host;
	r->dst_port = c->peer.carrier;
	memcpy(r->dst_eth, c->peer.mac, 6);
	r->type = t->type;
	r->step = t->flags & CI_M_STEP ? t->step : 0;
	r->every = t->every;
	r->conn = c->in_index;
	r->lport = c->lport;
	r->flags = APW_F_VALID | (t->flags & CI_M_READ ? APW_F_READ : 0) | (t->flags & CI_M_WRITE ? APW_F_WRITE : 0);
	return 0;
}

/* C5: nothing of our memory can be reached through it any more, and the window leads nowhere. */
static void shut(struct apw *e, struct apw_conn *c)
{
	struct apw_in *in;

	apw_write_some(e, UINT32_MAX);
	apw_flush(e);
	in = &apw_table_edit(&e->in, row_of(e, c))->in;
	if (in->map == APW_MEMORY && in->size)
		e->regions[in->base >> 48].users--;
	in->flags = 0;
	in->checks |= APW_CK_VALID;
	in->size = in->sub_first = in->sub_last = 0;
	if (c->out)
		apw_table_edit(&e->out, c->out)->out.flags = 0;
	apw_reads_end(e, c->in_index, -ECONNRESET);
}

static void finish(struct apw *e, struct apw_conn *c, enum ci_error why)
{
	struct apw_port *p = apw_port_at(e, c->lport);

	if (c->state != APW_CLOSING)
		shut(e, c);
	timer_off(e, c);
	chain_off(e, c);
	if (p && p->n_conns)
		p->n_conns--;
	if (c->out && c->keep_window)
		apw_table_edit(&e->out, c->out)->out.conn = 0;
	else if (c->out)
		apw_out_close(e, c->out);
	apw_ev(e, APW_N_CLOSED);
	if (c->polled && c->state == APW_CONNECTING) {
		c->out = 0;
		c->why = (uint8_t)why;
		c->state = APW_FAILED;
		return;
	}
	event(e, c, APW_EV_CLOSED, why);
	apw_in_close(e, c->in_index);
}

/* ---- who connects ------------------------------------------------------------------------------------------ */

int apw_connect(struct apw *e, uint64_t now, const struct apw_connect *a, uint32_t *ret_conn)
{
	struct apw_port *p = apw_port_at(e, a->lport);
	struct apw_in row;
	struct apw_conn *c;
	int r;

	if (!p)
		return -ENOENT;
	if (side_ok(e, &a->side) || !a->port)
		return -EINVAL;
	if (a->window) {
		const struct apw_out *w = apw_out_row(e, a->window & e->out.mask);

		if (w->index != a->window || w->conn || w->flags)
			return -EINVAL;
	}
	row = side_row(e, &a->side, &a->to);
	r = conn_new(e, &row, &c);
	if (r)
		return r;
	c->peer = a->to;
	c->rport = a->port;
	c->lport = a->lport;
	c->side = a->side;
	c->out = a->window;
	c->keep_window = a->window != 0;
	c->polled = a->polled;
	if (a->window)
		apw_table_edit(&e->out, a->window)->out.conn = c->in_index;
	p->n_conns++;
	set_state(e, c, APW_CONNECTING, now);
	tell(e, c, CI_CONNECT, 0);
	*ret_conn = c->in_index;
	return 0;
}

static void on_accept(struct apw *e, uint64_t now, const struct apw_addr *from, struct apw_conn *c,
		      const struct ci_msg *m)
{
	if (m->flags & CI_M_ACK) {
		if (c->state == APW_ACCEPTING)
			set_state(e, c, APW_OPEN, now);
		return;
	}
	if (c->state == APW_OPEN && c->peer_index == m->index) {
		tell(e, c, CI_ACCEPT, CI_M_ACK);	/* ours was lost */
		return;
	}
	if (c->state != APW_CONNECTING || !m->index)
		return;
	/* The port may be a new one, and now the Ethernet address is known too. */
	c->rport = m->src_port;
	c->peer.carrier = from->carrier;
	memcpy(c->peer.mac, from->mac, 6);
	memcpy(apw_table_edit(&e->in, row_of(e, c))->in.src_eth, from->mac, 6);
	terms_of(c, m);
	if (open_out(e, c)) {
		answer(e, from, m, CI_CLOSE, 0, CI_E_FULL);
		finish(e, c, CI_E_FULL);
		return;
	}
	set_state(e, c, APW_OPEN, now);
	apw_ev(e, APW_N_OPENED);
	tell(e, c, CI_ACCEPT, CI_M_ACK);
	if (!c->polled)
		event(e, c, APW_EV_OPEN, 0);
}

/* ---- who is asked ------------------------------------------------------------------------------------------- */

static bool allowed(const struct apw_offer *o, uint32_t host)
{
	for (uint32_t i = 0; i < o->n_rules; i++) {
		const struct apw_rule *r = &o->rule[i];
		uint32_t mask = r->bits ? ~0u << (32 - min_u32(r->bits, 32)) : 0;

		if ((host & mask) == (r->net & mask))
			return r->allow;
	}
	return o->n_rules == 0;
}

/* S2-CON-04: what the port's rules say. */
static enum ci_error verdict(struct apw *e, const struct apw_addr *from, const struct ci_msg *m)
{
	struct apw_port *p = apw_port_at(e, m->dst_port);

	if (!p) {
		apw_ev(e, APW_N_MSG_NO_PORT);
		return CI_E_NO_PORT;
	}
	if (apw_checks(&p->row, NULL, true, from, m->src_host) != APW_N_COUNTS || !allowed(&p->offer, from->host))
		return CI_E_DENIED;
	if (p->offer.max_conns && p->n_conns >= p->offer.max_conns)
		return CI_E_FULL;
	return CI_E_NONE;
}

static int take_in(struct apw *e, uint64_t now, struct apw_conn *c, const struct apw_side *s)
{
	struct apw_in *r;
	struct apw_in row;
	int err = side_ok(e, s);

	if (err)
		return err;
	err = open_out(e, c);
	if (err)
		return err;
	row = side_row(e, s, &c->peer);
	r = &apw_table_edit(&e->in, row_of(e, c))->in;
	row.index = r->index;
	row.nonce = r->nonce;
	row.kind = APW_APERTURE;
	row.conn = c->in_index;
	row.seq = row.seq0;
	if (!row.sub_first && !row.sub_last)
		row.sub_last = (uint32_t)(row.size ? row.size - 1 : 0);
	if (row.map == APW_MEMORY && row.size)
		e->regions[s->region].users++;
	*r = row;
	c->side = *s;
	set_state(e, c, APW_ACCEPTING, now);
	apw_ev(e, APW_N_OPENED);
	tell(e, c, CI_ACCEPT, 0);
	event(e, c, APW_EV_OPEN, 0);
	return 0;
}

int apw_accept(struct apw *e, uint64_t now, uint32_t conn, uint16_t port, const struct apw_side *side)
{
	struct apw_conn *c = apw_conn_at(e, conn);
	struct apw_port *was, *p;
	int r;

	if (!c || c->state != APW_ASKED)
		return -ENOENT;
	was = apw_port_at(e, c->lport);
	p = port ? apw_port_at(e, port) : was;
	if (!p || !was)
		return -ENOENT;
	r = side_ok(e, side ? side : &p->offer.side);
	if (r)
		return r;
	c->lport = p->port;
	was->n_conns--;
	p->n_conns++;
	return take_in(e, now, c, side ? side : &p->offer.side);
}

int apw_reject(struct apw *e, uint64_t now, uint32_t conn, enum ci_error why)
{
	struct apw_conn *c = apw_conn_at(e, conn);
	struct ci_msg m = { .type = CI_REJECT, .arg = why };

	(void)now;
	if (!c || c->state != APW_ASKED)
		return -ENOENT;
	m.dst_port = c->rport;
	m.src_port = c->lport;
	m.peer_index = c->peer_index;
	m.peer_nonce = c->peer_nonce;
	apw_msg_out(e, &c->peer, &m, NULL);
	apw_ev(e, APW_N_REFUSED);
	finish(e, c, why);
	return 0;
}

void apw_on_connect(struct apw *e, uint64_t now, const struct apw_addr *from, const struct ci_msg *m,
		    const uint8_t *raw)
{
	struct apw_conn *c = known(e, from, m);
	struct apw_in nothing = { .type = CI_TYPE_DATA, .checks = APW_CK_VALID };
	struct apw_event ev = { .type = APW_EV_SETUP, .a = from->host };
	enum ci_error why;
	struct apw_port *p;
	uint32_t *head;

	if (c) {	/* C2 */
		if (c->state == APW_ACCEPTING || c->state == APW_OPEN)
			tell(e, c, CI_ACCEPT, 0);
		return;
	}
	if (!m->index || !m->nonce) {
		apw_ev(e, APW_N_MALFORMED);
		return;
	}
	why = verdict(e, from, m);
	if (!why && conn_new(e, &nothing, &c))
		why = CI_E_FULL;
	if (why) {
		apw_ev(e, APW_N_REFUSED);
		answer(e, from, m, CI_REJECT, 0, why);
		return;
	}
	p = apw_port_at(e, m->dst_port);
	p->n_conns++;
	c->peer = *from;
	c->rport = m->src_port;
	c->lport = m->dst_port;
	terms_of(c, m);
	head = chain_of(e, from->host, m->index, m->nonce);
	c->chain = *head;
	*head = row_of(e, c);
	set_state(e, c, APW_ASKED, now);
	ev.index = c->in_index;
	ev.b = c->rport;
	apw_post(e, c->lport, &ev, raw, CI_MSG_LEN);
	if (!p->offer.ask && take_in(e, now, c, &p->offer.side))
		apw_reject(e, now, c->in_index, CI_E_FULL);
}

/* ---- both ----------------------------------------------------------------------------------------------------- */

void apw_on_answer(struct apw *e, uint64_t now, const struct apw_addr *from, const struct ci_msg *m)
{
	struct apw_conn *c = apw_conn_at(e, m->peer_index);

	/* C3 */
	if (!c || c->state == APW_FAILED || apw_in_row(e, row_of(e, c))->nonce != m->peer_nonce ||
	    c->peer.host != from->host ||
	    (c->state != APW_CONNECTING && c->peer_nonce != m->nonce)) {
		apw_ev(e, APW_N_MSG_STALE);
		if (m->flags & CI_M_ACK || !m->index)
			return;
		if (m->type == CI_ACCEPT)	/* C4 */
			answer(e, from, m, CI_CLOSE, 0, CI_E_NOT_VALID);
		else if (m->type == CI_CLOSE)
			answer(e, from, m, CI_CLOSE, CI_M_ACK, CI_E_NONE);
		return;
	}
	if (m->type == CI_ACCEPT) {
		on_accept(e, now, from, c, m);
	} else if (m->type == CI_REJECT) {
		if (c->state == APW_CONNECTING)
			finish(e, c, (enum ci_error)m->arg);
	} else if (m->flags & CI_M_ACK) {
		if (c->state == APW_CLOSING)
			finish(e, c, CI_E_NONE);
	} else {
		answer(e, from, m, CI_CLOSE, CI_M_ACK, CI_E_NONE);
		finish(e, c, (enum ci_error)m->arg);
	}
}

void apw_conn_used(struct apw *e, uint32_t conn)
{
	struct apw_conn *c = apw_conn_at(e, conn);

	if (c && c->state == APW_ACCEPTING)
		set_state(e, c, APW_OPEN, 0);
}

int apw_close(struct apw *e, uint64_t now, uint32_t conn)
{
	struct apw_conn *c = apw_conn_at(e, conn);

	if (!c || c->state == APW_CLOSING)
		return -ENOENT;
	if (c->state == APW_FAILED) {
		apw_in_close(e, conn);
		return 0;
	}
	if (c->state == APW_ASKED)
		return apw_reject(e, now, conn, CI_E_DENIED);
	if (c->state == APW_CONNECTING) {	/* an ACCEPT on its way is answered by CLOSE (C4) */
		c->polled = false;
		finish(e, c, CI_E_NONE);
		return 0;
	}
	shut(e, c);
	set_state(e, c, APW_CLOSING, now);
	tell(e, c, CI_CLOSE, 0);
	return 0;
}

void apw_conn_tick(struct apw *e, uint64_t now)
{
	static const uint8_t says[] = { [APW_CONNECTING] = CI_CONNECT, [APW_ACCEPTING] = CI_ACCEPT,
					[APW_CLOSING] = CI_CLOSE };
	uint32_t at = e->timers, next;

	e->conn_due = NEVER_NS;	/* found anew on the way, and by timers that are set meanwhile */
	for (uint32_t n = 0; at && n <= e->in.mask; n++, at = next) {
		struct apw_conn *c = &e->conns[at];

		next = c->next;
		if (c->next_at > now) {
			e->conn_due = min_u64(e->conn_due, c->next_at);
			continue;
		}
		if (c->state == APW_ASKED) {
			apw_reject(e, now, c->in_index, CI_E_DENIED);
		} else if (++c->tries >= APW_TRIES) {
			finish(e, c, CI_E_LINK);
		} else {
			uint8_t tries = c->tries;

			apw_ev(e, APW_N_REPEATS);
			tell(e, c, (enum ci_msg_type)says[c->state], 0);
			timer_off(e, c);
			timer_at(e, c, now + (APW_FIRST_NS << min_u32(tries, APW_MAX_SHIFT)));
		}
	}
}

int apw_conn_bus(const struct apw *e, uint32_t conn, uint64_t *ret_bus, uint64_t *ret_size)
{
	const struct apw_conn *c = apw_conn(e, conn);
	const struct apw_out *r;

	if (!c)
		return -ENOENT;
	if (!c->out || (c->state != APW_OPEN && c->state != APW_ACCEPTING))
		return -ENOTCONN;
	r = apw_out_row(e, c->out);
	*ret_bus = apw_bus_addr(r->size_class, r->index);
	*ret_size = r->size;
	return 0;
}
