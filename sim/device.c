/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device at the other end of the rings: does what the kernel's AF_XDP socket in copy mode
 * does, and sulks within its rights. It looks at the tx ring only when its bell was rung; it
 * takes whole packets, and of those only as many as there is room for completions; it gives
 * frames back late, in batches, in any order; it drops what it has no frame for.
 *
 * Its own indices are private and only published, so a hostile tenant cannot move them.
 *
 * D1  A frame is the device's or the program's, never both: a fill entry, or a tx entry, of a
 *     frame that the device has for receiving is a fault of the program.
 * D2  Bytes handed over on tx do not change until their completion has been published.
 */
#include "sim/sim.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "base/csum.h"

#define RX_ROOM (FRAME_BYTES - FRAME_HEADROOM)

enum { I_TX_PROD, I_TX_CONS, I_COMP_PROD, I_COMP_CONS, I_FILL_PROD, I_FILL_CONS, I_RX_PROD, I_RX_CONS,
       I_FLAGS, I_N };
#define IDX(s, i) (&(s)->dev.idx[(i) * 16])	/* a cache line each, as in the kernel */

static struct vif_ring ring(struct sim_stack *s, int prod, int cons, void *slots)
{
	return (struct vif_ring){ .producer = IDX(s, prod), .consumer = IDX(s, cons),
				  .flags = IDX(s, I_FLAGS), .slots = slots, .mask = s->dev.mask };
}

void device_init(struct sim *w, struct sim_stack *s)
{
	struct device *d = &s->dev;
	uint32_t n = w->k.ring_slots, n_pkts = w->k.n_pkts;
	struct vif_map *vi = &s->app.vi[0];

	d->mask = n - 1;
	d->idx = aligned_alloc(64, (size_t)I_N * 64);
	must(d->idx);
	memset(d->idx, 0, (size_t)I_N * 64);
	d->tx = calloc(n, sizeof(*d->tx));
	d->rx = calloc(n, sizeof(*d->rx));
	d->comp = calloc(n, sizeof(*d->comp));
	d->fill = calloc(n, sizeof(*d->fill));
	d->done = calloc(n, sizeof(*d->done));
	d->fills = calloc(n, sizeof(*d->fills));
	d->owned = calloc(n_pkts, 1);
	must(d->tx && d->rx && d->comp && d->fill && d->done && d->fills && d->owned);
	*IDX(s, I_FLAGS) = VIF_NEED_WAKEUP;
	vi->tx = ring(s, I_TX_PROD, I_TX_CONS, d->tx);
	vi->comp = ring(s, I_COMP_PROD, I_COMP_CONS, d->comp);
	vi->fill = ring(s, I_FILL_PROD, I_FILL_CONS, d->fill);
	vi->rx = ring(s, I_RX_PROD, I_RX_CONS, d->rx);
	vi->flags = VIF_F_PRESENT | (w->k.unfinished_ppm || w->k.glue_ppm ? VIF_F_PARTIAL_CSUM : 0);
	vi->ifindex = 2;
	s->app.n_vis = 1;
}

void device_fini(struct sim_stack *s)
{
	struct device *d = &s->dev;

	free(d->idx);
	free(d->tx);
	free(d->rx);
	free(d->comp);
	free(d->fill);
	free(d->done);
	free(d->fills);
	free(d->owned);
	free(d->glue);
}

bool device_is_idle(const struct sim_stack *s)
{
	const struct device *d = &s->dev;

	/* Completions wake nobody: they may lie there until the next turn. */
	return !d->n_done && !d->glue && d->tx_cons == *IDX(s, I_TX_PROD) && d->rx_prod == *IDX(s, I_RX_CONS);
}

void device_kick(struct sim *w, struct sim_stack *s)
{
	if (s->dev.scheduled)
		return;
	s->dev.scheduled = true;
	sim_post(w, w->now + sim_between(w, 100, 3000), (struct sim_event){ .kind = SE_DEVICE, .a = s->id });
}

/* ---- transmit ------------------------------------------------------------------------------- */

/* Frames of the packet at tx_cons, 0 if it is not all there yet. */
static uint32_t packet_frames(struct sim *w, struct sim_stack *s, uint32_t avail, uint32_t *ret_len)
{
	struct device *d = &s->dev;
	uint32_t len = 0;

	for (uint32_t i = 0; i < avail; i++) {
		const struct vif_desc *x = &d->tx[(d->tx_cons + i) & d->mask];
		uint32_t off = x->addr & (FRAME_BYTES - 1);

		if (!x->len || x->len > FRAME_BYTES - off || x->addr >> FRAME_SHIFT >= w->k.n_pkts ||
		    (x->options & ~VIF_MORE) || i == MAX_FRAGS) {
			if (w->k.hostile)
				return 0;
			sim_fail(w, "device of stack %u: bad tx descriptor %#llx+%u, options %#x, number %u",
				 s->id, (unsigned long long)x->addr, x->len, x->options, i);
		}
		len += x->len;
		*ret_len = len;
		if (!(x->options & VIF_MORE))
			return i + 1;
	}
	if (avail && !w->k.hostile)
		sim_fail(w, "device of stack %u: tx ring ends within a packet", s->id);
	return 0;
}

static struct sim_frame *take_packet(struct sim *w, struct sim_stack *s, uint32_t n, uint32_t len)
{
	struct device *d = &s->dev;
	struct sim_frame *f = malloc(sizeof(*f) + len);

	must(f);
	f->unfinished = 0;
	f->len = 0;
	for (uint32_t i = 0; i < n; i++) {
		struct vif_desc x = d->tx[d->tx_cons++ & d->mask];
		const uint8_t *from = s->app.umem + x.addr;

		if (d->owned[x.addr >> FRAME_SHIFT] && !w->k.hostile)
			sim_fail(w, "device of stack %u: D1: frame %llu sent, but it is in the fill ring",
				 s->id, (unsigned long long)x.addr >> FRAME_SHIFT);
		memcpy(f->data + f->len, from, x.len);
		f->len += x.len;
		d->done[d->n_done++] = (struct done){ x.addr, x.len, w->path ? 0 : (uint32_t)sim_hash(from, x.len) };
	}
	return f;
}

static void complete_later(struct sim *w, struct sim_stack *s)
{
	struct device *d = &s->dev;

	if (d->completing || !d->n_done)
		return;
	d->completing = true;
	sim_post(w, w->now + sim_skewed(w, 100, w->k.complete_ns), (struct sim_event){
		 .kind = SE_COMPLETE, .a = s->id });
}

void device_run(struct sim *w, struct sim_stack *s)
{
	struct device *d = &s->dev;
	uint32_t avail, n, len = 0, room;

	d->scheduled = false;
	for (uint32_t budget = 32; budget; budget--) {
		avail = *IDX(s, I_TX_PROD) - d->tx_cons;
		room = d->mask + 1 - (d->comp_prod - *IDX(s, I_COMP_CONS)) - d->n_done;
		if (avail > d->mask + 1) {
			if (w->k.hostile)
				return;
			sim_fail(w, "device of stack %u: tx ring overrun", s->id);
		}
		n = packet_frames(w, s, avail, &len);
		if (!n)
			break;
		if (n > room || room > d->mask + 1) {	/* tried again: the executor's kick says EAGAIN */
			d->scheduled = true;
			sim_post(w, w->now + 20 * NS_PER_US, (struct sim_event){ .kind = SE_DEVICE, .a = s->id });
			break;
		}
		d->n_tx++;
		wire_send(w, s->host, take_packet(w, s, n, len));
		*IDX(s, I_TX_CONS) = d->tx_cons;
		if (budget == 1)
			device_kick(w, s);
	}
	complete_later(w, s);
}

void device_complete(struct sim *w, struct sim_stack *s)
{
	struct device *d = &s->dev;
	uint32_t n = d->n_done, i, j;
	struct done x;

	d->completing = false;
	if (w->k.shuffle_ppm && prng_chance(&w->rng, w->k.shuffle_ppm)) {
		for (i = n; i > 1; i--) {
			j = prng_below(&w->rng, i);
			x = d->done[j];
			d->done[j] = d->done[i - 1];
			d->done[i - 1] = x;
		}
		n = 1 + prng_below(&w->rng, n);
	}
	for (i = 0; i < n; i++) {
		x = d->done[i];
		if (!w->path && (uint32_t)sim_hash(s->app.umem + x.addr, x.len) != x.at_hash && !w->k.hostile)
			sim_fail(w, "device of stack %u: D2: frame %llu was rewritten while at the device",
				 s->id, (unsigned long long)x.addr >> FRAME_SHIFT);
		d->comp[d->comp_prod++ & d->mask] = x.addr;
	}
	memmove(d->done, d->done + n, (d->n_done - n) * sizeof(*d->done));
	d->n_done -= n;
	*IDX(s, I_COMP_PROD) = d->comp_prod;
	complete_later(w, s);
}

/* ---- receive -------------------------------------------------------------------------------- */

/* Takes what is in the fill ring into the device's hands. */
static void take_fills(struct sim *w, struct sim_stack *s)
{
	struct device *d = &s->dev;
	uint32_t avail = *IDX(s, I_FILL_PROD) - d->fill_cons;

	if (avail > d->mask + 1) {
		if (w->k.hostile)
			return;
		sim_fail(w, "device of stack %u: fill ring overrun", s->id);
	}
	for (; avail && d->n_fills <= d->mask; avail--) {
		uint64_t addr = d->fill[d->fill_cons++ & d->mask], i = addr >> FRAME_SHIFT;

		if (i >= w->k.n_pkts || d->owned[i] || !i) {
			if (w->k.hostile)
				continue;
			sim_fail(w, "device of stack %u: D1: bad or double fill %#llx", s->id,
				 (unsigned long long)addr);
		}
		d->owned[i] = 1;
		d->fills[d->n_fills++] = i << FRAME_SHIFT;
	}
	*IDX(s, I_FILL_CONS) = d->fill_cons;
}

static void hand_up(struct sim *w, struct sim_stack *s, struct sim_frame *f)
{
	struct device *d = &s->dev;
	uint32_t n = (f->len + RX_ROOM - 1) / RX_ROOM, at = 0;
	uint32_t room = d->mask + 1 - (d->rx_prod - *IDX(s, I_RX_CONS));

	take_fills(w, s);
	if (n > d->n_fills || n > room || room > d->mask + 1) {
		record_text(w, "stack %u: device drops %u bytes: %s", s->id, f->len,
			    n > room ? "rx ring full" : "no frame to receive into");
		d->n_rx_dropped++;
		w->n_lost++;
		free(f);
		return;
	}
	for (uint32_t i = 0; i < n; i++) {
		uint64_t addr = d->fills[i] + FRAME_HEADROOM;
		uint32_t len = min_u32(f->len - at, RX_ROOM);

		memcpy(s->app.umem + addr, f->data + at, len);
		d->owned[addr >> FRAME_SHIFT] = 0;
		d->rx[d->rx_prod++ & d->mask] = (struct vif_desc){ addr, len, i + 1 < n ? VIF_MORE : 0 };
		at += len;
	}
	memmove(d->fills, d->fills + n, (d->n_fills - n) * sizeof(*d->fills));
	d->n_fills -= n;
	d->n_rx++;
	*IDX(s, I_RX_PROD) = d->rx_prod;
	free(f);
	if (s->rx_since == NEVER_NS)
		s->rx_since = w->now;
	thread_rx_ready(w, s);
	surrogate_arm(w, s);
}

/* Leaves the transport checksum as a sender in the same machine leaves it (F10). */
static void unfinish(struct sim_frame *f)
{
	bool is4 = f->data[12] == 0x08;
	uint32_t hdr = is4 ? 20 : 40;
	uint8_t proto = is4 ? f->data[23] : f->data[20];
	uint8_t *l4 = f->data + 14 + hdr;
	uint64_t sum = is4 ? csum_add_scalar(f->data + 26, 8, 0) : csum_add_scalar(f->data + 22, 32, 0);
	uint16_t c;

	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		return;
	sum = csum_add_u32(csum_add_u16(sum, proto), f->len - 14 - hdr);
	c = csum_fold(sum);
	memcpy(l4 + (proto == IPPROTO_TCP ? 16 : 6), &c, 2);
	f->unfinished = 1;
}

/* True if b continues a: same flow, same header but for what a sender's segmentation changes. */
static bool continues(const struct sim_frame *a, const struct sim_frame *b)
{
	uint32_t ip = a->data[12] == 0x08 ? 20 : 40, l4 = 14 + ip, thl;
	const uint8_t *ta = a->data + l4, *tb = b->data + l4;

	if (a->len < l4 + 20 || b->len < l4 + 20 || memcmp(a->data, b->data, 14))
		return false;
	if (ip == 20 ? memcmp(a->data + 26, b->data + 26, 8) || a->data[23] != 6 || b->data[23] != 6 :
	    memcmp(a->data + 22, b->data + 22, 32) || a->data[20] != 6 || b->data[20] != 6)
		return false;
	thl = (ta[12] >> 4) * 4;
	if (thl < 20 || a->len <= l4 + thl || b->len <= l4 + thl || (ta[13] & ~0x08) != 0x10 ||
	    (tb[13] & ~0x08) != 0x10 || a->len + b->len - l4 - thl > 65535)
		return false;
	return !memcmp(ta, tb, 4) && get_be32(ta + 4) + (a->len - l4 - thl) == get_be32(tb + 4) &&
	       !memcmp(ta + 8, tb + 8, 5) && !memcmp(ta + 14, tb + 14, 2) && !memcmp(ta + 20, tb + 20, thl - 20);
}

static struct sim_frame *glued(struct sim_frame *a, struct sim_frame *b)
{
	bool is4 = a->data[12] == 0x08;
	uint32_t l4 = 14 + (is4 ? 20 : 40), thl = (a->data[l4 + 12] >> 4) * 4, add = b->len - l4 - thl;
	uint8_t *ip;
	uint16_t c;

	a = realloc(a, sizeof(*a) + a->len + add);
	must(a);
	memcpy(a->data + a->len, b->data + l4 + thl, add);
	a->len += add;
	a->data[l4 + 13] |= b->data[l4 + 13];
	ip = a->data + 14;
	put_be16(ip + (is4 ? 2 : 4), (uint16_t)(a->len - 14 - (is4 ? 0 : 40)));
	if (is4) {
		memset(ip + 10, 0, 2);
		c = csum_finish(csum_add_scalar(ip, 20, 0));
		memcpy(ip + 10, &c, 2);
	}
	unfinish(a);
	free(b);
	return a;
}

void device_unglue(struct sim *w, struct sim_stack *s)
{
	struct sim_frame *f = s->dev.glue;

	s->dev.glue = NULL;
	if (f)
		hand_up(w, s, f);
}

void device_receive(struct sim *w, struct sim_stack *s, struct sim_frame *f)
{
	struct device *d = &s->dev;
	const struct knobs *k = &w->k;
	bool has_options = f->data[12] == 0x08 && f->data[14] != 0x45;

	if (k->unfinished_ppm && !k->corrupt_ppm && !has_options && prng_chance(&w->rng, k->unfinished_ppm))
		unfinish(f);
	if (!k->glue_ppm || k->corrupt_ppm || has_options)
		return hand_up(w, s, f);
	if (d->glue && continues(d->glue, f)) {
		d->glue = glued(d->glue, f);
	} else {
		device_unglue(w, s);
		d->glue = f;
	}
	if (!prng_chance(&w->rng, k->glue_ppm))
		return device_unglue(w, s);
	sim_post(w, w->now + sim_skewed(w, 1000, 50 * NS_PER_US), (struct sim_event){
		 .kind = SE_GLUE, .a = s->id });
}
