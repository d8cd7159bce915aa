/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ports: what can be reached by number, and the messages that go there (S2-PORT, S2-CON-06).
 * Only out-of-band items pass through here; data go to apertures and never see a port (P5).
 */
#include "core/aperture/parts.h"

#define EPHEMERAL_FIRST	49152u

struct apw_port *apw_port_at(struct apw *e, uint16_t port)
{
	uint16_t n = e->port_map[port];

	return port && n ? &e->ports[n - 1] : NULL;
}

static uint16_t free_port(struct apw *e)
{
	uint32_t start = (uint32_t)apw_draw(e), span = 65536 - EPHEMERAL_FIRST;

	for (uint32_t i = 0; i < span; i++) {
		uint16_t p = (uint16_t)(EPHEMERAL_FIRST + (start + i) % span);

		if (!e->port_map[p])
			return p;
	}
	return 0;
}

int apw_bind(struct apw *e, uint16_t port, const struct apw_offer *o, uint16_t *ret_port)
{
	struct apw_port *p = NULL;

	if (o->n_rules > APW_N_RULES || o->queue >= e->n_queues)
		return -EINVAL;
	if (port && e->port_map[port])
		return -EADDRINUSE;
	for (uint32_t i = 0; i < e->conf.n_ports && !p; i++)
		if (!e->ports[i].port)
			p = &e->ports[i];
	if (!port)
		port = free_port(e);
	if (!p || !port)
		return -ENOSPC;
	*p = (struct apw_port){ .port = port, .state = CI_RUNNING, .offer = *o };
	p->row = (struct apw_in){ .index = port, .kind = APW_PORT, .map = APW_QUEUE, .checks = APW_LEVEL_1,
				  .flags = APW_F_VALID | APW_F_WRITE, .type = CI_TYPE_EVENT, .base = o->queue };
	p->ipq = p->row;
	p->ipq.kind = APW_IPQ;
	p->ipq.type = CI_TYPE_MSG;
	e->port_map[port] = (uint16_t)(p - e->ports + 1);
	*ret_port = port;
	return 0;
}

int apw_unbind(struct apw *e, uint64_t now, uint16_t port)
{
	struct apw_port *p = apw_port_at(e, port);

	if (!p)
		return -ENOENT;
	for (uint32_t i = 1; p->n_conns && i <= e->in.mask; i++)
		if (e->conns[i].state != APW_CLOSED && e->conns[i].lport == port) {
			apw_close(e, now, e->conns[i].in_index);
			e->conns[i].lport = 0;	/* its end concerns nobody who binds the port next */
		}
	e->port_map[port] = 0;
	memset(p, 0, sizeof(*p));
	return 0;
}

void apw_port_state(struct apw *e, uint16_t port, enum ci_port_state s)
{
	struct apw_port *p = apw_port_at(e, port);

	if (p)
		p->state = (uint8_t)s;
}

void apw_all_states(struct apw *e, enum ci_port_state s)
{
	for (uint32_t i = 0; i < e->conf.n_ports; i++)
		e->ports[i].state = (uint8_t)s;
}

struct apw_in *apw_port_row(struct apw *e, uint16_t port, enum apw_kind kind)
{
	struct apw_port *p = apw_port_at(e, port);

	return p ? kind == APW_IPQ ? &p->ipq : &p->row : NULL;
}

/* ---- the checks, for apertures and ports alike --------------------------------------------------------- */

enum apw_count apw_checks(const struct apw_in *r, const uint32_t *seq, bool named, const struct apw_addr *from,
			  uint32_t host)
{
	uint32_t mask = r->src_bits ? ~0u << (32 - r->src_bits) : 0;

	if ((r->checks & APW_CK_VALID) && !(r->flags & APW_F_VALID))
		return APW_N_BAD_VALID;
	if ((r->checks & APW_CK_SEQ) && seq && *seq != r->seq)
		return APW_N_BAD_SEQ;
	if ((r->checks & APW_CK_NONCE) && !named)
		return APW_N_BAD_NONCE;
	if ((r->checks & APW_CK_ETHER) && memcmp(r->src_eth, from->mac, 6) != 0)
		return APW_N_BAD_ETHER;
	/* The carrier knows better than the header who sent it, where it has addresses of its own. */
	if ((r->checks & APW_CK_SOURCE) && ((from->host ? from->host : host) & mask) != (r->src_host & mask))
		return APW_N_BAD_SOURCE;
	return APW_N_COUNTS;
}

/* ---- messages ------------------------------------------------------------------------------------------- */

void apw_msg_out(struct apw *e, const struct apw_addr *to, struct ci_msg *m, const void *body)
{
	struct apw_frame *f = apw_frame_take(e);

	if (!f)
		return;	/* as if it were lost: who needs it sends it again */
	m->dst_host = to->host;
	m->src_host = e->conf.host;
	apw_frame_send(e, f, to, CI_TYPE_MSG, 0, wire_ci_msg_emit(f->bytes, m, body, e->conf.crc));
	apw_ev(e, APW_N_MSGS_OUT);
}

int apw_alive(struct apw *e, const struct apw_addr *to, uint16_t port, uint16_t lport, uint32_t conn)
{
	struct ci_msg m = { .type = CI_ALIVE, .dst_port = port, .src_port = lport };
	const struct apw_conn *c = conn ? apw_conn_at(e, conn) : NULL;

	if (conn && (!c || !c->peer_index))
		return -ENOTCONN;
	if (c) {
		m.index = c->in_index;
		m.nonce = apw_in_row(e, conn & e->in.mask)->nonce;
		m.peer_index = c->peer_index;
		m.peer_nonce = c->peer_nonce;
		m.dst_port = c->rport;
		m.src_port = c->lport;
		to = &c->peer;
	}
	apw_msg_out(e, to, &m, NULL);
	return 0;
}

int apw_message(struct apw *e, const struct apw_addr *to, uint16_t port, uint16_t lport, const void *p, uint32_t n)
{
	struct ci_msg m = { .type = CI_MESSAGE, .dst_port = port, .src_port = lport, .body_len = (uint16_t)n };

	if (!n || n > UINT16_MAX || CI_MSG_LEN + n + CI_CRC_LEN > e->conf.mtu)
		return -EMSGSIZE;
	apw_msg_out(e, to, &m, p);
	return 0;
}

/* S2-PORT-04: answered here, whatever the application does. */
static void on_alive(struct apw *e, const struct apw_addr *from, const struct ci_msg *m)
{
	const struct apw_port *p = apw_port_at(e, m->dst_port);
	const struct apw_conn *c = m->peer_index ? apw_conn_at(e, m->peer_index) : NULL;
	struct ci_msg a = { .type = CI_ALIVEACK, .dst_port = m->src_port, .src_port = m->dst_port,
			    .index = m->peer_index, .nonce = m->peer_nonce,
			    .peer_index = m->index, .peer_nonce = m->nonce };

	a.arg = !p || (m->peer_index && !c) ? CI_DEAD : p->state;
	a.arg2 = p ? apw_depth(e, p->offer.queue) : 0;
	apw_msg_out(e, from, &a, NULL);
}

static void on_alive_ack(struct apw *e, const struct ci_msg *m)
{
	struct apw_event ev = { .type = APW_EV_ALIVEACK, .index = m->peer_index, .a = m->arg, .b = m->arg2 };

	if (m->peer_index) {
		const struct apw_conn *c = apw_conn_at(e, m->peer_index);

		if (!c || apw_in_row(e, m->peer_index & e->in.mask)->nonce != m->peer_nonce) {
			apw_ev(e, APW_N_MSG_STALE);
			return;
		}
	}
	apw_post(e, m->dst_port, &ev, NULL, 0);
}

/* Somebody on the way, most often the other end, could not do what one of our packets asked for. */
static void on_error(struct apw *e, const struct ci_msg *m)
{
	uint32_t row = m->peer_index & e->out.mask;
	const struct apw_out *r = apw_out_row(e, row);
	struct apw_event ev = { .type = APW_EV_ERROR, .a = m->arg, .b = m->arg2 };

	/* It names the aperture as our packet did, nonce and all: others cannot make errors up. */
	if (!row || r->index != row || r->remote_index != m->index ||
	    (r->nonce != m->nonce && apw_nonce_at(r->nonce, r->step, r->every, m->seq0, r->seq0) != m->nonce)) {
		apw_ev(e, APW_N_MSG_STALE);
		return;
	}
	apw_ev(e, APW_N_ERRORS_IN);
	ev.index = r->conn;
	apw_post(e, r->lport, &ev, NULL, 0);
}

/* Is that port there, and may that source talk to it? The IPQ row has the say over variable items. */
static bool admitted(struct apw *e, const struct apw_addr *from, const struct ci_msg *m, bool variable)
{
	struct apw_port *p = apw_port_at(e, m->dst_port);
	enum apw_count bad;

	if (!p) {
		apw_ev(e, APW_N_MSG_NO_PORT);
		return false;
	}
	bad = apw_checks(variable ? &p->ipq : &p->row, NULL, true, from, m->src_host);
	if (bad != APW_N_COUNTS) {
		apw_ev(e, bad);
		return false;
	}
	return true;
}

static void on_message(struct apw *e, const struct apw_addr *from, const struct ci_msg *m, const uint8_t *raw)
{
	struct apw_event ev = { .type = APW_EV_MESSAGE, .a = from->host ? from->host : m->src_host,
				.b = m->src_port };

	if (!wire_ci_msg_crc_ok(raw, m, e->conf.crc))
		apw_ev(e, APW_N_BAD_CRC);
	else if (m->body_len && admitted(e, from, m, true))
		apw_post(e, m->dst_port, &ev, raw, CI_MSG_LEN + m->body_len);
}

void apw_msg_in(struct apw *e, uint64_t now, const struct apw_addr *carrier, const uint8_t *p, uint32_t n)
{
	struct apw_addr from = *carrier;
	struct ci_msg m;

	switch (wire_ci_msg_parse(p, n, &m)) {
	case CI_OK:
		break;
	case CI_SHORT:
		apw_ev(e, APW_N_SHORT);
		return;
	case CI_CSUM_BAD:
		apw_ev(e, APW_N_HDR_CSUM);
		return;
	default:
		apw_ev(e, APW_N_VERSION);
		return;
	}
	if (e->conf.host && m.dst_host != e->conf.host) {
		apw_ev(e, APW_N_NOT_MINE);
		return;
	}
	if (!from.host)
		from.host = m.src_host;
	apw_ev(e, APW_N_MSGS_IN);
	switch (m.type) {
	case CI_CONNECT:
		apw_on_connect(e, now, &from, &m, p);
		break;
	case CI_ACCEPT:
	case CI_REJECT:
	case CI_CLOSE:
		apw_on_answer(e, now, &from, &m);
		break;
	case CI_ALIVE:
		on_alive(e, &from, &m);
		break;
	case CI_ALIVEACK:
		if (admitted(e, &from, &m, false))
			on_alive_ack(e, &m);
		break;
	case CI_ERROR:
		on_error(e, &m);
		break;
	case CI_MESSAGE:
		on_message(e, &from, &m, p);
		break;
	default:
		apw_ev(e, APW_N_MSG_UNKNOWN);
	}
}
