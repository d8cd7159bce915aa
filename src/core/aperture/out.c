/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stores, events and reads that go out (S2-OUT-06): the bus address is split, its row found, a
 * burst added to the frame that is open; frames for one host are shared by its apertures.
 *
 * O1 The sequence number is that of a section: of the bursts of one aperture that follow one
 *    another in a frame. It is written back when the section is opened.
 * O2 One frame at most is open; any other frame sends it on its way first, so order is kept.
 * O3 A store is in frames wholly or not at all.
 */
#include "core/aperture/parts.h"

#define BURST_MIN 32u	/* a frame with less room than this is closed before a longer store */

/* ---- the open frame --------------------------------------------------------------------------- */

void apw_flush(struct apw *e)
{
	struct apw_frame *f;
	uint32_t start, len;

	if (!e->building)
		return;
	e->building = false;	/* first: apw_frame_take() flushes */
	f = apw_frame_take(e);
	must(f && f->bytes == e->build.buf);
	start = wire_ci_end(&e->build, e->conf.crc, &len);
	apw_frame_send(e, f, &e->build_to, CI_TYPE_DATA, start, len);
	apw_ev(e, APW_N_FRAMES_OUT);
}

static struct apw_addr addr_of(const struct apw_out *r)
{
	struct apw_addr a = { .host = r->dst_host, .carrier = r->dst_port };

	memcpy(a.mac, r->dst_eth, 6);
	return a;
}

static bool same_host(const struct apw_addr *a, const struct apw_addr *b)
{
	return a->host == b->host && a->carrier == b->carrier && memcmp(a->mac, b->mac, 6) == 0;
}

static void open_frame(struct apw *e, uint64_t now, const struct apw_addr *to)
{
	struct ci_hdr h = { .op = CI_WRITE, .src_host = e->conf.host };
	struct apw_frame *f = apw_frame_take(e);

	must(f);	/* the caller counted */
	wire_ci_begin(&e->build, f->bytes, e->conf.mtu, &h);
	e->building = true;
	e->built_for = 0;
	e->built_at = now;
	e->build_to = *to;
}

/* ---- stores -------------------------------------------------------------------------------------- */

/* What nobody can do is told like an error of the network (S2-CON-06). */
static int refuse(struct apw *e, const struct apw_out *r, uint32_t offset, enum ci_error why, int err)
{
	struct apw_event ev = { .type = APW_EV_ERROR, .a = why, .b = offset };

	apw_ev(e, APW_N_STORES_BAD);
	if (r) {
		ev.index = r->conn;
		apw_post(e, r->lport, &ev, NULL, 0);
	}
	return err;
}

static int locate(struct apw *e, uint64_t bus, uint64_t n, struct apw_out **ret, uint64_t *ret_offset)
{
	uint32_t size_class, index;
	union apw_row *row;

	if (e->remap)
		bus = (bus & ~(uint64_t)UINT32_MAX) | apw_remap(e->remap, (uint32_t)bus);
	row = apw_bus_split(bus, &size_class, &index, ret_offset) ? apw_table_get(&e->out, index) : NULL;
	if (!row || row->out.size_class != size_class || !(row->out.flags & APW_F_VALID))
		return refuse(e, NULL, 0, CI_E_NOT_VALID, -ENXIO);
	if (*ret_offset + n > row->out.size || row->out.remote_base + *ret_offset + n > 1ull << 32)
		return refuse(e, &row->out, (uint32_t)*ret_offset, CI_E_EXTENT, -ERANGE);
	*ret = &row->out;
	return 0;
}

static struct ci_addr cluster_of(const struct apw_out *r, uint64_t offset)
{
	return (struct ci_addr){ r->dst_host, r->remote_index,
				 apw_nonce_at(r->nonce, r->step, r->every, r->seq, r->seq0),
				 (uint32_t)(r->remote_base + offset) };
}

/* The most that a frame of one burst holds. */
static uint32_t burst_max(const struct apw *e)
{
	return e->conf.mtu - CI_HDR_LEN - 24 - CI_CRC_LEN;
}

uint32_t apw_store_max(const struct apw *e)
{
	return burst_max(e) * (e->conf.n_frames > 2 ? e->conf.n_frames / 2 : 1);
}

/* One burst into the open frame, opening one, and a section, if need be. */
static void add(struct apw *e, uint64_t now, struct apw_out *r, uint64_t offset, const void *p, uint32_t n, bool event)
{
	struct apw_addr to = addr_of(r);
	struct ci_addr dst;
	bool fresh;

	if (e->building && !same_host(&to, &e->build_to))
		apw_flush(e);
	if (!e->building)
		open_frame(e, now, &to);
	fresh = e->built_for != r->index;
	if (fresh) {
		e->built_for = r->index;
		dst = cluster_of(r, offset);
		wire_ci_add(&e->build, &dst, r->seq, (uint16_t)r->index, true, p, n, event);
		apw_table_seq(&e->out, (union apw_row *)r, r->seq + 1);	/* O1 */
	} else {
		dst = cluster_of(r, offset);
		wire_ci_add(&e->build, &dst, 0, 0, false, p, n, event);
	}
	e->count[APW_N_BYTES_OUT] += n;
}

int apw_store(struct apw *e, uint64_t now, uint64_t bus, const void *p, uint32_t n, uint32_t flags)
{
	const uint8_t *src = p;
	struct apw_out *r;
	uint64_t offset;
	int err = locate(e, bus, n, &r, &offset);

	if (err)
		return err;
	if (r->type != CI_TYPE_DATA)
		return -EOPNOTSUPP;
	/* O3: enough frames for the worst case, one that is open included. */
	if (n > apw_store_max(e))
		return -EMSGSIZE;
	if (apw_frames_free(e) < n / burst_max(e) + 2) {
		apw_ev(e, APW_N_TX_FULL);
		return -ENOBUFS;
	}
	do {
		uint32_t room = e->building ? wire_ci_room(&e->build) : burst_max(e), part;

		if (room < n && room < BURST_MIN) {
			apw_flush(e);
			continue;
		}
		part = min_u32(n, min_u32(room, burst_max(e)));
		add(e, now, r, offset, src, part, part == n && (flags & APW_S_EVENT));
		src = part ? src + part : src;	/* nothing may be stored from nowhere */
		offset += part;
		n -= part;
		if (e->building && wire_ci_room(&e->build) == 0)
			apw_flush(e);
	} while (n);
	apw_ev(e, APW_N_STORES);
	if ((flags & APW_S_FLUSH) || !e->conf.pack)
		apw_flush(e);
	return 0;
}

int apw_notify(struct apw *e, uint64_t now, uint64_t bus, uint32_t value, uint32_t flags)
{
	struct apw_out *r;
	uint64_t offset;
	int err = locate(e, bus, 0, &r, &offset);

	if (err)
		return err;
	if (r->type != CI_TYPE_DATA)
		return -EOPNOTSUPP;
	if (apw_frames_free(e) < 2) {
		apw_ev(e, APW_N_TX_FULL);
		return -ENOBUFS;
	}
	/* The word travels as the offset of nothing. */
	add(e, now, r, (uint64_t)value - r->remote_base, NULL, 0, true);
	if ((flags & APW_S_FLUSH) || !e->conf.pack || wire_ci_room(&e->build) == 0)
		apw_flush(e);
	return 0;
}

int apw_event(struct apw *e, uint64_t now, uint64_t bus, uint32_t a, uint32_t b)
{
	struct ci_hdr h = { .op = CI_EVENT, .src_host = e->conf.host };
	struct apw_frame *f;
	struct apw_addr to;
	struct apw_out *r;
	uint64_t offset;
	uint8_t data[8];
	int err = locate(e, bus, 0, &r, &offset);

	(void)now;
	if (err)
		return err;
	if (r->type != CI_TYPE_EVENT)
		return -EOPNOTSUPP;
	f = apw_frame_take(e);
	if (!f)
		return -ENOBUFS;
	h.dst = cluster_of(r, offset);
	h.seq = r->seq;
	h.from = (uint16_t)r->index;
	put_be32(data, a);
	put_be32(data + 4, b);
	to = addr_of(r);
	apw_frame_send(e, f, &to, CI_TYPE_EVENT, 0, wire_ci_emit(f->bytes, &h, data, 8, e->conf.crc));
	apw_table_seq(&e->out, (union apw_row *)r, r->seq + 1);
	apw_ev(e, APW_N_FRAMES_OUT);
	return 0;
}

/* ---- reads and fences ---------------------------------------------------------------------------------- */

uint32_t apw_read_max(const struct apw *e)
{
	return e->conf.mtu - CI_RESP_LEN - CI_CRC_LEN;
}

static void ask(struct apw *e, struct apw_pending *d, const struct apw_out *r)
{
	struct ci_hdr h = { .op = CI_READ_REQ, .src_host = e->conf.host, .tag = d->tag, .len = d->n,
			    .from = (uint16_t)r->index };
	const struct apw_conn *c = apw_conn_at(e, d->conn);
	struct apw_addr to = addr_of(r);
	struct apw_frame *f = apw_frame_take(e);

	if (!f || !c)
		return;	/* as if lost: it is asked again */
	d->seq = h.seq = r->seq;
	h.dst = cluster_of(r, d->offset);
	if (!d->n)
		h.dst.nonce = r->nonce;
	h.reply_index = c->in_index;
	h.reply_nonce = apw_in_row(e, c->in_index & e->in.mask)->nonce;
	apw_frame_send(e, f, &to, CI_TYPE_DATA, 0, wire_ci_emit(f->bytes, &h, NULL, 0, e->conf.crc));
}

int apw_read(struct apw *e, uint64_t now, uint32_t conn, uint64_t offset, void *p, uint32_t n, uint32_t *ret_read)
{
	const struct apw_conn *c = apw_conn_at(e, conn);
	const struct apw_out *r = c && c->out ? apw_out_row(e, c->out) : NULL;
	struct apw_pending *d = NULL;

	if (!r || !(r->flags & APW_F_VALID))
		return -ENXIO;
	if (n > apw_read_max(e))
		return -EMSGSIZE;
	if (offset > 1ull << 32 || (n && offset + n > r->size) || r->remote_base + offset + n > 1ull << 32)
		return refuse(e, r, (uint32_t)offset, CI_E_EXTENT, -ERANGE);
	for (uint32_t i = 0; i < e->conf.n_reads && !d; i++)
		if (e->reads[i].state == RD_FREE)
			d = &e->reads[i];
	if (!d)
		return -ENOBUFS;
	*d = (struct apw_pending){ .state = RD_WAITS, .conn = conn, .offset = offset, .p = p, .n = n,
				   .tag = (uint32_t)apw_draw(e), .next_at = now + APW_READ_NS };
	e->n_reads_wait++;
	apw_flush(e);	/* what was stored before it is seen by it */
	ask(e, d, r);
	apw_ev(e, APW_N_READS_OUT);
	*ret_read = (uint32_t)(d - e->reads);
	return 0;
}

static void done(struct apw *e, struct apw_pending *d, int result)
{
	d->state = RD_DONE;
	d->result = (int16_t)result;
	e->n_reads_wait--;
}

/*
 * Were all stores before the request accepted? If not, what was lost is lost, and is told so;
 * stores from now on are numbered as the other side expects them.
 */
static int in_step(struct apw *e, const struct apw_pending *d, uint32_t accepted)
{
	const struct apw_conn *c = apw_conn_at(e, d->conn);
	struct apw_out *r;

	if (accepted == d->seq || !c || !c->out)
		return 0;
	r = &apw_table_edit(&e->out, c->out)->out;
	/* In order, everything after a gap was refused too; else what came later may have arrived. */
	r->seq = c->terms.flags & CI_M_SEQ ? accepted : r->seq + (accepted - d->seq);
	return -EIO;
}

void apw_on_read_resp(struct apw *e, const struct ci_hdr *h, const uint8_t *data, uint32_t conn)
{
	static const int16_t err[] = { [CI_E_EXTENT] = -ERANGE, [CI_E_FORBIDDEN] = -EACCES, [CI_E_TYPE] = -EOPNOTSUPP };

	for (uint32_t i = 0; i < e->conf.n_reads; i++) {
		struct apw_pending *d = &e->reads[i];

		if (d->state != RD_WAITS || d->tag != h->tag || d->conn != conn)
			continue;
		if (h->status) {
			done(e, d, h->status < n_elems(err) && err[h->status] ? err[h->status] : -EIO);
		} else if (h->data_len == d->n) {
			if (d->n)
				memcpy(d->p, data, d->n);
			done(e, d, d->n ? 0 : in_step(e, d, h->accepted));
		} else {
			break;
		}
		return;
	}
	apw_ev(e, APW_N_READ_STRAY);
}

int apw_read_done(struct apw *e, uint32_t read)
{
	struct apw_pending *d = &e->reads[read];

	must(read < e->conf.n_reads && d->state != RD_FREE);
	if (d->state == RD_WAITS)
		return -EINPROGRESS;
	d->state = RD_FREE;
	return d->result;
}

bool apw_read_over(const struct apw *e, uint32_t read)
{
	must(read < e->conf.n_reads);
	return e->reads[read].state == RD_DONE;
}

void apw_read_cancel(struct apw *e, uint32_t read)
{
	must(read < e->conf.n_reads);
	if (e->reads[read].state == RD_WAITS)
		e->n_reads_wait--;
	e->reads[read].state = RD_FREE;
}

void apw_reads_end(struct apw *e, uint32_t conn, int why)
{
	for (uint32_t i = 0; e->n_reads_wait && i < e->conf.n_reads; i++)
		if (e->reads[i].state == RD_WAITS && e->reads[i].conn == conn)
			done(e, &e->reads[i], why);
}

void apw_read_tick(struct apw *e, uint64_t now)
{
	for (uint32_t i = 0; e->n_reads_wait && i < e->conf.n_reads; i++) {
		struct apw_pending *d = &e->reads[i];
		const struct apw_conn *c;

		if (d->state != RD_WAITS || d->next_at > now)
			continue;
		c = apw_conn_at(e, d->conn);
		if (++d->tries == APW_READ_TRIES || !c || !c->out) {
			done(e, d, -ETIMEDOUT);
			continue;
		}
		d->next_at = now + (APW_READ_NS << d->tries);
		apw_flush(e);
		ask(e, d, apw_out_row(e, c->out));
		apw_ev(e, APW_N_READ_REPEATS);
	}
}

uint64_t apw_read_deadline(const struct apw *e)
{
	uint64_t first = NEVER_NS;

	for (uint32_t i = 0; e->n_reads_wait && i < e->conf.n_reads; i++)
		if (e->reads[i].state == RD_WAITS)
			first = min_u64(first, e->reads[i].next_at);
	return first;
}
