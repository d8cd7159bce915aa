/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames that come in (S2-IN). In this order, and nothing is touched before all have held:
 * header checksum; our host; the row; checks (a) to (e); CRC over the data; what may be done
 * there; extent. Each failure is counted by name, and told to the sender at most 100 times a second.
 *
 * I1 A frame of type CI-data or CI-event never reaches a port, a message never an aperture.
 * I2 A byte is written only if offset + length <= extent, in 64 bits, and inside the narrowed part.
 * I3 Sequence number and nonce advance by an accepted section, once, and never by a rejected one.
 * I4 Bursts are in memory in the order in which they were accepted, before the event that tells of them.
 */
#include <stdatomic.h>

#include "core/aperture/parts.h"

struct arrival {		/* a frame on its way through */
	struct apw *e;
	uint64_t now;
	struct apw_addr from;
	const struct ci_hdr *h;
	const uint8_t *raw;
	bool crc_ok;
};

/* ---- what went wrong ---------------------------------------------------------------------------- */

void apw_error_out(struct apw *e, uint64_t now, const struct apw_addr *to, const struct ci_msg *about)
{
	struct ci_msg m = *about;

	if (now / NS_PER_S != e->error_second) {
		e->error_second = now / NS_PER_S;
		e->errors = 0;
	}
	if (e->errors == APW_ERRORS_S) {
		apw_ev(e, APW_N_ERRORS_HELD);
		return;
	}
	e->errors++;
	m.type = CI_ERROR;
	apw_ev(e, APW_N_ERRORS_OUT);
	apw_msg_out(e, to, &m, NULL);
}

static enum ci_error error_of(enum apw_count bad)
{
	switch (bad) {
	case APW_N_BAD_SEQ: return CI_E_SEQ;
	case APW_N_BAD_NONCE: return CI_E_NONCE;
	case APW_N_BAD_ETHER:
	case APW_N_BAD_SOURCE: return CI_E_SOURCE;
	case APW_N_BAD_TYPE: return CI_E_TYPE;
	case APW_N_BAD_PERM: return CI_E_FORBIDDEN;
	case APW_N_BAD_EXTENT: return CI_E_EXTENT;
	case APW_N_BAD_CRC: return CI_E_CRC;
	default: return CI_E_NOT_VALID;
	}
}

static void reject(const struct arrival *a, const struct ci_addr *dst, uint32_t seq, uint16_t from, enum apw_count bad)
{
	struct ci_msg m = { .index = dst->index, .nonce = dst->nonce, .peer_index = from, .seq0 = seq,
			    .arg = error_of(bad), .arg2 = dst->offset };

	apw_ev(a->e, bad);
	apw_error_out(a->e, a->now, &a->from, &m);
}

/* ---- memory ---------------------------------------------------------------------------------------- */

uint8_t *apw_reach(const struct apw *e, const struct apw_in *r, uint64_t offset, uint64_t n)
{
	if (offset + n > r->size || (n && (offset < r->sub_first || offset + n - 1 > r->sub_last)))
		return NULL;	/* I2: none of these sums can wrap, for offset and n have 32 bits */
	return e->regions[r->base >> 48].base + (r->base & ((1ull << 48) - 1)) + offset;
}

/* Words that are aligned are written whole: who polls them never sees half of one. */
static void put(uint8_t *dst, const uint8_t *src, uint32_t n)
{
	uint64_t v8;
	uint32_t v4;

	if (n == 8 && ((uintptr_t)dst & 7) == 0) {
		memcpy(&v8, src, 8);
		/* rel: pairs with the application's load: earlier stores are seen before this one. */
		atomic_store_explicit((_Atomic uint64_t *)(void *)dst, v8, memory_order_release);
	} else if (n == 4 && ((uintptr_t)dst & 3) == 0) {
		memcpy(&v4, src, 4);
		/* rel: pairs with the application's load, as above. */
		atomic_store_explicit((_Atomic uint32_t *)(void *)dst, v4, memory_order_release);
	} else {
		memcpy(dst, src, n);
	}
}

bool apw_write_some(struct apw *e, uint32_t steps)
{
	struct apw_join *j = &e->join;

	for (; j->n && steps; steps--) {
		uint32_t left = APW_STEP_BYTES;

		while (left && j->piece < j->n) {
			const uint8_t *p = j->at[j->piece].p + j->piece_done;
			uint32_t rest = j->at[j->piece].n - j->piece_done;
			uint32_t n = rest <= 8 ? rest : min_u32(left, rest);	/* words stay whole */

			put(j->dst + j->done, p, n);
			j->done += n;
			j->piece_done += n;
			left -= min_u32(left, n);
			if (j->piece_done == j->at[j->piece].n) {
				j->piece++;
				j->piece_done = 0;
			}
		}
		apw_ev(e, APW_N_WRITE_STEPS);
		if (j->piece == j->n) {
			/* rel: pairs with the application's loads, for bytes that put() did not order. */
			atomic_thread_fence(memory_order_release);
			apw_ev(e, APW_N_WRITES);
			e->count[APW_N_BYTES_IN] += j->done;
			memset(j, 0, offsetof(struct apw_join, at));
		}
	}
	return j->n == 0;
}

/* S2-IN-04: a burst that begins where the last ended is written with it. */
static void join(struct apw *e, uint8_t *dst, const uint8_t *src, uint32_t n)
{
	struct apw_join *j = &e->join;

	if (j->n && (dst != j->dst + j->bytes || j->n == APW_JOIN_PIECES || j->bytes + n > APW_JOIN_BYTES || j->done))
		apw_write_some(e, UINT32_MAX);
	if (!j->n)
		j->dst = dst;
	j->at[j->n].p = src;
	j->at[j->n++].n = n;
	j->bytes += n;
}

void apw_rx_end(struct apw *e)
{
	apw_write_some(e, UINT32_MAX);
}

/* ---- rows and checks ------------------------------------------------------------------------------------ */

static struct apw_in *row_of(const struct arrival *a, uint32_t index)
{
	union apw_row *r = apw_table_get(&a->e->in, index);

	return r && r->in.kind == APW_APERTURE ? &r->in : NULL;
}

/* Checks (a) to (e), then the CRC, once a frame. `moving`: it has the nonce and number of this moment. */
static struct apw_in *admit(struct arrival *a, const struct ci_addr *dst, uint32_t seq, uint16_t from, bool moving)
{
	struct apw_in *r = row_of(a, dst->index);
	enum apw_count bad;
	uint64_t nonce;

	if (!r) {
		reject(a, dst, seq, from, APW_N_NO_APERTURE);
		return NULL;
	}
	nonce = moving ? apw_nonce_at(r->nonce, r->step, r->every, r->seq, r->seq0) : r->nonce;
	bad = apw_checks(r, moving ? &seq : NULL, nonce == dst->nonce, &a->from, a->h->src_host);
	if (bad == APW_N_COUNTS && !a->crc_ok) {
		a->crc_ok = wire_ci_crc_ok(a->raw, a->h, a->e->conf.crc);
		if (!a->crc_ok)
			bad = APW_N_BAD_CRC;
	}
	if (bad != APW_N_COUNTS) {
		reject(a, dst, seq, from, bad);
		return NULL;
	}
	return r;
}

static void accepted(struct arrival *a, struct apw_in *r)
{
	apw_table_seq(&a->e->in, (union apw_row *)r, r->seq + 1);	/* I3 */
	apw_ev(a->e, APW_N_PACKETS);
	apw_conn_used(a->e, r->conn);
}

/* ---- writes ------------------------------------------------------------------------------------------------ */

static void delivered(struct apw *e, const struct apw_in *r, uint32_t offset)
{
	struct apw_event ev = { .type = APW_EV_DELIVERY, .index = r->conn, .a = offset, .b = r->seq - 1 };
	const struct apw_conn *c = apw_conn_at(e, r->conn);

	apw_write_some(e, UINT32_MAX);	/* I4 */
	if (c)
		apw_post(e, c->lport, &ev, NULL, 0);
}

static void burst(struct arrival *a, const struct apw_in *r, const struct ci_burst *b)
{
	uint8_t *dst;

	if (b->len) {	/* an event alone writes nothing, and asks nobody's leave */
		if (!(r->flags & APW_F_WRITE)) {
			reject(a, &b->dst, b->seq, b->from, APW_N_BAD_PERM);
			return;
		}
		dst = apw_reach(a->e, r, b->dst.offset, b->len);
		if (!dst) {
			reject(a, &b->dst, b->seq, b->from, APW_N_BAD_EXTENT);
			return;
		}
		join(a->e, dst, b->data, b->len);
	}
	apw_ev(a->e, APW_N_BURSTS);
	if (b->event)
		delivered(a->e, r, b->dst.offset);
}

static void on_write(struct arrival *a)
{
	struct apw_in *r = NULL;
	struct ci_walk w;
	struct ci_burst b;

	wire_ci_walk(a->raw, a->h, &w);
	while (wire_ci_next(&w, &b)) {
		if (b.first) {
			r = admit(a, &b.dst, b.seq, b.from, true);
			if (r && (r->type != CI_TYPE_DATA || r->map != APW_MEMORY)) {
				reject(a, &b.dst, b.seq, b.from, APW_N_BAD_TYPE);
				r = NULL;
			}
			if (r)
				accepted(a, r);
		}
		if (r)
			burst(a, r, &b);
	}
}

static void on_event(struct arrival *a)
{
	const uint8_t *data = a->raw + a->h->hdr_len;
	struct apw_event ev = { .type = APW_EV_DELIVERY, .flags = APW_EVF_PACKET,
				.a = get_be32(data), .b = get_be32(data + 4) };
	struct apw_in *r = admit(a, &a->h->dst, a->h->seq, a->h->from, true);
	const struct apw_conn *c;

	if (!r)
		return;
	if (r->type != CI_TYPE_EVENT || r->map != APW_QUEUE) {
		reject(a, &a->h->dst, a->h->seq, a->h->from, APW_N_BAD_TYPE);
		return;
	}
	accepted(a, r);
	apw_ev(a->e, APW_N_EVENTS_IN);
	ev.index = r->conn;
	c = apw_conn_at(a->e, r->conn);
	apw_post_queue(a->e, (uint32_t)r->base, c ? c->lport : 0, &ev, NULL, 0);
}

/* ---- reads (S2-READ-01) ---------------------------------------------------------------------------------------- */

static void respond(struct arrival *a, const struct apw_in *r, const void *data, uint32_t n, enum ci_error status)
{
	struct apw *e = a->e;
	const struct apw_conn *c = apw_conn_at(e, r->conn);
	struct ci_hdr h = { .op = CI_READ_RESP, .src_host = e->conf.host, .tag = a->h->tag, .accepted = r->seq,
			    .status = status };
	const struct apw_addr *to = c ? &c->peer : &a->from;
	struct apw_frame *f = apw_frame_take(e);

	if (!f)
		return;
	h.dst = (struct ci_addr){ to->host, a->h->reply_index, a->h->reply_nonce, a->h->dst.offset };
	apw_frame_send(e, f, to, CI_TYPE_DATA, 0, wire_ci_emit(f->bytes, &h, data, n, e->conf.crc));
	apw_ev(e, APW_N_READS);
}

/*
 * A request of no bytes is a fence: it is answered whatever the number expected, for to tell that
 * number is its purpose, and shows the nonce that the connection began with. A read takes part in
 * the checks as a write would, but moves nothing: repeated, it is the same read.
 */
static void on_read(struct arrival *a)
{
	const struct ci_hdr *h = a->h;
	struct apw_in *r = admit(a, &h->dst, h->seq, h->from, h->len != 0);
	const uint8_t *p;

	if (!r)
		return;
	apw_write_some(a->e, UINT32_MAX);
	apw_conn_used(a->e, r->conn);
	if (!h->len) {
		respond(a, r, NULL, 0, CI_E_NONE);
	} else if (r->map != APW_MEMORY) {
		apw_ev(a->e, APW_N_BAD_TYPE);
		respond(a, r, NULL, 0, CI_E_TYPE);
	} else if (!(r->flags & APW_F_READ)) {
		apw_ev(a->e, APW_N_BAD_PERM);
		respond(a, r, NULL, 0, CI_E_FORBIDDEN);
	} else {
		p = h->len > apw_read_max(a->e) ? NULL : apw_reach(a->e, r, h->dst.offset, h->len);
		if (!p)
			apw_ev(a->e, APW_N_BAD_EXTENT);
		respond(a, r, p, p ? h->len : 0, p ? CI_E_NONE : CI_E_EXTENT);
	}
}

static void on_answer(struct arrival *a)
{
	struct apw_in *r = admit(a, &a->h->dst, 0, 0, false);

	if (r)
		apw_on_read_resp(a->e, a->h, a->raw + a->h->hdr_len, r->conn);
}

/* ---- frames ---------------------------------------------------------------------------------------------------- */

static bool parsed(struct apw *e, const uint8_t *p, uint32_t n, struct ci_hdr *h)
{
	static const uint8_t count[] = { [CI_SHORT] = APW_N_SHORT, [CI_VERSION_BAD] = APW_N_VERSION,
					 [CI_CSUM_BAD] = APW_N_HDR_CSUM, [CI_MALFORMED] = APW_N_MALFORMED };
	enum ci_parse r = wire_ci_parse(p, n, h);

	if (r != CI_OK)
		apw_ev(e, (enum apw_count)count[r]);
	return r == CI_OK;
}

void apw_rx(struct apw *e, uint64_t now, const struct apw_addr *from, uint16_t type, const uint8_t *p, uint32_t n)
{
	struct ci_hdr h;
	struct arrival a = { .e = e, .now = now, .from = *from, .h = &h, .raw = p };

	apw_ev(e, APW_N_FRAMES_IN);
	/* On Ethernet messages share a type with events; their magic is no version (ci.h). I1. */
	if (type == CI_TYPE_MSG || (type == CI_TYPE_EVENT && n >= 2 && get_be16(p) == CI_TYPE_MSG)) {
		apw_msg_in(e, now, from, p, n);
		return;
	}
	if ((type != CI_TYPE_DATA && type != CI_TYPE_EVENT) || !parsed(e, p, n, &h))
		return;
	if (e->conf.host && h.dst.host != e->conf.host) {
		apw_ev(e, APW_N_NOT_MINE);
		return;
	}
	if (!a.from.host)
		a.from.host = h.src_host;
	if ((h.op == CI_EVENT) != (type == CI_TYPE_EVENT))
		apw_ev(e, APW_N_BAD_TYPE);
	else if (h.op == CI_WRITE)
		on_write(&a);
	else if (h.op == CI_EVENT)
		on_event(&a);
	else if (h.op == CI_READ_REQ)
		on_read(&a);
	else
		on_answer(&a);
}
