/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine's memory, its queues, its transmit ring, and what must always hold. */
#include "base/hash.h"
#include "core/aperture/parts.h"

#define COUNT(name, sentence) #name,
const char *const apw_count_name[APW_N_COUNTS] = {
#include "core/aperture/counts.def"
};
#undef COUNT

/* ---- memory -------------------------------------------------------------------------------------- */

static void *carve(uint8_t *mem, size_t *at, size_t n)
{
	void *ret = mem ? mem + *at : NULL;

	*at += (n + 63) / 64 * 64;
	return ret;
}

static size_t lay_out(struct apw *e, uint8_t *mem, const struct apw_conf *c)
{
	struct apw none;
	size_t at = 0, stride;
	void *in, *out;

	if (!e)
		e = &none;	/* only the sum is wanted */
	carve(mem, &at, sizeof(struct apw));
	in = carve(mem, &at, (size_t)c->n_rows * sizeof(union apw_row));
	out = carve(mem, &at, (size_t)c->n_rows * sizeof(union apw_row));
	e->conns = carve(mem, &at, (size_t)c->n_rows * sizeof(struct apw_conn));
	e->chains = carve(mem, &at, (size_t)c->n_rows * sizeof(uint32_t));
	e->ports = carve(mem, &at, (size_t)c->n_ports * sizeof(struct apw_port));
	e->port_map = carve(mem, &at, 65536 * sizeof(uint16_t));
	e->regions = carve(mem, &at, (size_t)c->n_regions * sizeof(struct apw_region));
	e->queues = carve(mem, &at, (size_t)c->n_queues * sizeof(struct apw_evq));
	e->reads = carve(mem, &at, (size_t)c->n_reads * sizeof(struct apw_pending));
	stride = (sizeof(struct apw_frame) + CI_HDR_MAX + c->mtu + 63) / 64 * 64;
	e->frame_stride = (uint32_t)stride;
	e->frames = carve(mem, &at, (size_t)c->n_frames * stride);
	if (mem) {
		apw_table_init(&e->in, in, c->n_rows);
		apw_table_init(&e->out, out, c->n_rows);
	}
	return at;
}

size_t apw_bytes(const struct apw_conf *c)
{
	return lay_out(NULL, NULL, c);
}

struct apw *apw_init(void *mem, const struct apw_conf *c)
{
	struct apw *e = mem;

	must(c->n_rows >= 2 && c->n_rows <= 65536 && (c->n_rows & (c->n_rows - 1)) == 0);
	must(c->n_frames && (c->n_frames & (c->n_frames - 1)) == 0);
	must(c->mtu >= 256 && c->mtu <= 65000 && c->n_ports && c->n_ports < 65535 && c->crc);
	lay_out(e, mem, c);
	e->conf = *c;
	e->conn_due = NEVER_NS;
	return e;
}

/* The secret is the key, the count of draws the message: nobody outside can guess the next, and
 * the same secret gives the same history. */
uint64_t apw_draw(struct apw *e)
{
	uint64_t n = ++e->drawn;

	return siphash24(e->conf.secret, &n, sizeof(n));
}

uint64_t apw_count(const struct apw *e, enum apw_count c)
{
	return e->count[c];
}

uint32_t apw_host(const struct apw *e) { return e->conf.host; }

/* ---- regions, queues ------------------------------------------------------------------------------ */

int apw_region(struct apw *e, void *base, uint64_t bytes, uint32_t *ret)
{
	if (!base || !bytes)
		return -EINVAL;
	for (uint32_t i = 0; i < e->conf.n_regions; i++)
		if (!e->regions[i].base) {
			e->regions[i] = (struct apw_region){ .base = base, .bytes = bytes };
			*ret = i;
			return 0;
		}
	return -ENOSPC;
}

int apw_region_end(struct apw *e, uint32_t region)
{
	if (region >= e->conf.n_regions || !e->regions[region].base)
		return -EINVAL;
	if (e->regions[region].users)
		return -EBUSY;
	memset(&e->regions[region], 0, sizeof(e->regions[region]));
	return 0;
}

int apw_queue(struct apw *e, void *mem, uint32_t n_ev, uint32_t n_words, uint32_t *ret)
{
	if (e->n_queues == e->conf.n_queues)
		return -ENOSPC;
	apw_evq_init(&e->queues[e->n_queues], mem, n_ev, n_words);
	*ret = e->n_queues++;
	return 0;
}

void apw_crit(struct apw *e, uint32_t queue, const struct apw_crit *c)
{
	must(queue < e->n_queues);
	e->queues[queue].crit = *c;
}

void apw_where(struct apw *e, uint32_t queue, enum apw_event_type t, enum apw_where w)
{
	must(queue < e->n_queues && t < APW_EV_MAX);
	e->queues[queue].where[t] = (uint8_t)w;
}

uint32_t apw_depth(const struct apw *e, uint32_t queue)
{
	must(queue < e->n_queues);
	return apw_evq_depth(&e->queues[queue]);
}

bool apw_take_irq(struct apw *e)
{
	bool was = e->irq;

	e->irq = false;
	return was;
}

/* S2-DQ-04: the line, and who it is about in the system's queue; S2-DQ-07: errors are copied there. */
static void interrupt(struct apw *e, uint32_t queue, uint32_t did, const struct apw_event *ev, uint16_t port)
{
	struct apw_event odb = { .type = APW_EV_ODB_DATA, .index = port };
	uint32_t os = 0;

	if (did & APW_IRQ) {
		e->irq = true;
		apw_ev(e, APW_N_IRQS);
	}
	if (queue == 0 || !e->n_queues)
		return;
	if (did & APW_IRQ)
		os |= apw_evq_post(&e->queues[0], &odb, NULL, 0);
	if (did & APW_IS_ERROR) {
		struct apw_event copy = *ev;

		copy.words = 0;
		os |= apw_evq_post(&e->queues[0], &copy, NULL, 0);
	}
	if (os & APW_POSTED)
		apw_ev(e, APW_N_OS_MSGS);
}

void apw_post_queue(struct apw *e, uint32_t queue, uint16_t port, const struct apw_event *ev, const void *body,
		    uint32_t n)
{
	uint32_t did;

	if (queue >= e->n_queues)
		return;
	did = apw_evq_post(&e->queues[queue], ev, body, n);
	apw_ev(e, did ? APW_N_POSTED : APW_N_OVERFLOW);
	if (did & (APW_IRQ | APW_IS_ERROR))
		interrupt(e, queue, did, ev, port);
}

void apw_post(struct apw *e, uint16_t port, const struct apw_event *ev, const void *body, uint32_t n)
{
	const struct apw_port *p = apw_port_at(e, port);

	if (p)
		apw_post_queue(e, p->offer.queue, port, ev, body, n);
}

/* ---- the transmit ring ------------------------------------------------------------------------------ */

static struct apw_frame *slot(struct apw *e, uint32_t i)
{
	return (struct apw_frame *)(void *)(e->frames + (size_t)(i & (e->conf.n_frames - 1)) * e->frame_stride);
}

uint32_t apw_frames_free(const struct apw *e)
{
	return e->conf.n_frames - (e->tx_head - e->tx_tail);
}

struct apw_frame *apw_frame_take(struct apw *e)
{
	apw_flush(e);	/* the open frame has the slot at the head, and goes first */
	if (!apw_frames_free(e)) {
		apw_ev(e, APW_N_TX_FULL);
		return NULL;
	}
	return slot(e, e->tx_head);
}

void apw_frame_send(struct apw *e, struct apw_frame *f, const struct apw_addr *to, uint16_t type,
		    uint32_t start, uint32_t len)
{
	must(f == slot(e, e->tx_head) && apw_frames_free(e));
	f->to = *to;
	f->type = type;
	f->start = start;
	f->len = len;
	e->tx_head++;
}

struct apw_frame *apw_tx_peek(struct apw *e)
{
	return e->tx_head == e->tx_tail ? NULL : slot(e, e->tx_tail);
}

void apw_tx_pop(struct apw *e)
{
	must(e->tx_head != e->tx_tail);
	e->tx_tail++;
}

/* ---- rows by hand ------------------------------------------------------------------------------------- */

/* The number of the row in the low bits, chance in the others: 24 bits that are hard to guess. */
static uint32_t new_index(struct apw *e, uint32_t row)
{
	uint32_t high = ~e->in.mask & CI_INDEX_MASK;

	return ((uint32_t)apw_draw(e) & high) | row;
}

int apw_in_open(struct apw *e, const struct apw_in *given, uint32_t *ret_index)
{
	uint32_t row = apw_table_take(&e->in);
	struct apw_in *r;

	if (!row)
		return -ENOSPC;
	r = &apw_table_edit(&e->in, row)->in;
	*r = *given;
	while (!r->nonce)
		r->nonce = apw_draw(e) & CI_NONCE_MASK;
	r->seq = r->seq0;
	r->kind = APW_APERTURE;
	if (!r->sub_first && !r->sub_last)
		r->sub_last = (uint32_t)(r->size ? r->size - 1 : 0);
	if (r->map == APW_MEMORY && r->size)
		e->regions[r->base >> 48].users++;
	r->index = new_index(e, row);
	apw_ev(e, APW_N_APERTURES);
	*ret_index = r->index;
	return 0;
}

void apw_in_close(struct apw *e, uint32_t index)
{
	uint32_t row = index & e->in.mask;
	const struct apw_in *r = &apw_table_peek(&e->in, row)->in;

	must(r->index == index);
	apw_write_some(e, UINT32_MAX);	/* joined bursts may be for it */
	if (r->map == APW_MEMORY && r->size)
		e->regions[r->base >> 48].users--;
	memset(&e->conns[row], 0, sizeof(e->conns[row]));
	apw_table_give(&e->in, row);
}

int apw_out_open(struct apw *e, const struct apw_out *given, uint32_t *ret_index)
{
	uint32_t row = apw_table_take(&e->out);
	struct apw_out *r;

	if (!row)
		return -ENOSPC;
	r = &apw_table_edit(&e->out, row)->out;
	*r = *given;
	r->seq = r->seq0;
	r->index = row;
	*ret_index = row;
	return 0;
}

void apw_out_close(struct apw *e, uint32_t index)
{
	must(apw_table_peek(&e->out, index)->any.index == index);
	apw_flush(e);	/* the open frame may count on it */
	apw_table_give(&e->out, index);
}

const struct apw_in *apw_in_row(const struct apw *e, uint32_t row) { return &apw_table_peek(&e->in, row)->in; }
const struct apw_out *apw_out_row(const struct apw *e, uint32_t row) { return &apw_table_peek(&e->out, row)->out; }
struct apw_table *apw_in_table(struct apw *e) { return &e->in; }
struct apw_table *apw_out_table(struct apw *e) { return &e->out; }

void apw_set_remap(struct apw *e, const struct apw_remap *m)
{
	e->remap = NULL;
	if (m) {
		e->remap_own = *m;
		e->remap = &e->remap_own;
	}
}

/* ---- time, and what must hold ---------------------------------------------------------------------------- */

void apw_tick(struct apw *e, uint64_t now)
{
	if (e->building && now - e->built_at >= APW_PACK_NS)
		apw_flush(e);
	if (e->conn_due <= now)
		apw_conn_tick(e, now);
	apw_read_tick(e, now);
}

uint64_t apw_deadline(const struct apw *e)
{
	uint64_t at = e->building ? e->built_at + APW_PACK_NS : NEVER_NS;

	return min_u64(at, min_u64(e->conn_due, apw_read_deadline(e)));
}

static void check_table(const struct apw_table *t)
{
	for (uint32_t i = 0; i < APW_FAST; i++)
		if (t->tag[i])	/* W2 */
			must(memcmp(&t->fast[i], &t->rows[t->tag[i] & t->mask], sizeof(union apw_row)) == 0);
}

void apw_check(const struct apw *e)
{
	uint32_t rows = 0, users = 0, named = 0;

	check_table(&e->in);
	check_table(&e->out);
	for (uint32_t i = 1; i <= e->in.mask; i++) {
		const struct apw_in *r = &e->in.rows[i].in;

		if (!r->index) {
			must(e->conns[i].state == APW_CLOSED);
			continue;
		}
		rows++;
		must((r->index & e->in.mask) == i && r->size <= 1ull << 32);
		if (r->map == APW_MEMORY && r->size) {
			const struct apw_region *g = &e->regions[r->base >> 48];
			uint64_t off = r->base & ((1ull << 48) - 1);

			users++;
			must(off <= g->bytes && r->size <= g->bytes - off);	/* P1 */
			must(r->sub_first <= r->sub_last && r->sub_last < r->size);
		}
		if (e->conns[i].state != APW_CLOSED) {
			must(e->conns[i].in_index == r->index && r->conn == r->index);
			must(!e->conns[i].out || e->out.rows[e->conns[i].out].out.index == e->conns[i].out);
		}
	}
	must(rows == e->in.n_used);
	for (uint32_t i = 0; i < e->conf.n_regions; i++)
		named += e->regions[i].users;
	must(named == users);
	must(e->tx_head - e->tx_tail <= e->conf.n_frames);
}
