/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine of apertures between hosts: tables, checks, extents, stores. Each test names the
 * requirement whose "shown by" it is.
 */
#include "test/unit/aperture_rig.h"

#include <errno.h>

static struct apw_in *edit_in(struct host *h, uint32_t index)
{
	struct apw_table *t = apw_in_table(h->e);

	return &apw_table_edit(t, index & t->mask)->in;
}

/* ---- the two-level store and addresses --------------------------------------------------------------- */

/* S2-MAP-06, the specification's own example; S2-OUT-02: classes, and the column. */
static void test_addresses(void **state)
{
	static uint32_t bits[256];
	struct apw_remap m = { .mask = 0x0ff00000, .shift = 20, .bits = bits };
	uint32_t c, i;
	uint64_t off;

	(void)state;
	bits[0x21] = 0x32u << 20;
	assert_int_equal(apw_remap(&m, 0x8210BEEC), 0x8320BEEC);
	for (uint32_t k = 0; k < APW_N_CLASSES; k++) {
		uint64_t bus = apw_bus_addr(k, 1234), last = (1ull << apw_class_bits(k)) - 1;

		assert_true(apw_bus_split(bus + last, &c, &i, &off));
		assert_true(c == k && i == 1234 && off == last);
		assert_true(apw_bus_split(bus + last + 1, &c, &i, &off));
		assert_true(c == k && i == 1235 && off == 0);
	}
	assert_int_equal(apw_class_bits(0), 10);
	assert_int_equal(apw_class_of(1 << 16), 2);
	assert_int_equal(apw_class_of((1 << 16) + 1), APW_COLUMN);
	assert_false(apw_bus_split(~0ull, &c, &i, &off));
}

/* S2-CACHE-01: 32 hot ones nearly always hit; 4,000 at random miss, and are right; nothing stale. */
static void test_fast_store(void **state)
{
	static union apw_row rows[4096];
	static struct apw_table t;
	struct prng r;

	(void)state;
	apw_table_init(&t, rows, 4096);
	prng_seed(&r, 7);
	for (uint32_t i = 1; i < 4096; i++) {
		uint32_t row = apw_table_take(&t);

		assert_int_equal(row, i);
		rows[row].out.index = row;
		rows[row].out.dst_host = row * 3;
	}
	assert_int_equal(apw_table_take(&t), 0);
	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t k = 1 + prng_below(&r, 32);

		assert_int_equal(apw_table_get(&t, k)->out.dst_host, k * 3);
	}
	assert_true(t.hits * 100 > (t.hits + t.misses) * 99);
	t.hits = t.misses = 0;
	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t k = 1 + prng_below(&r, 4095);
		union apw_row *e = apw_table_get(&t, k);

		assert_int_equal(e->out.dst_host, k * 3);
		apw_table_seq(&t, e, e->out.seq + 1);
		if (!prng_below(&r, 4)) {	/* changed: served changed, at once */
			apw_table_edit(&t, k)->out.dst_host = 5;
			assert_int_equal(apw_table_get(&t, k)->out.dst_host, 5);
			apw_table_edit(&t, k)->out.dst_host = k * 3;
		}
	}
	assert_true(t.misses > t.hits);
	for (uint32_t i = 1, sum = 0; i < 4096; i++) {	/* S2-OUT-05: no number was lost by eviction */
		sum += rows[i].out.seq;
		assert_int_equal(apw_table_get(&t, i)->out.seq, rows[i].out.seq);
		if (i == 4095)
			assert_int_equal(sum, 100000);
	}
	apw_table_give(&t, 77);
	assert_null(apw_table_get(&t, 77));
	assert_int_equal(apw_table_take(&t), 77);
}

/* ---- from store to memory -------------------------------------------------------------------------------- */

/* S2-MAP-01: X stores at x1, Y reads at y1, and the other way; stores of every size. */
static void test_store_and_load(void **state)
{
	struct world w;
	struct apw_side sa, sb;
	struct link l;
	uint64_t v = 10;

	(void)state;
	world_up(&w, 1);
	sa = all_of(&w.h[0], 0);
	sb = all_of(&w.h[1], 0);
	l = linked(&w, &sa, &sb);
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 64, &v, 8, 0), 0);
	pump(&w);
	assert_int_equal(*(uint64_t *)(void *)(w.h[1].memory + 64), 10);
	assert_int_equal(apw_store(w.h[1].e, w.now, l.bus_b + 1, &v, 1, 0), 0);
	pump(&w);
	assert_int_equal(w.h[0].memory[1], 10);
	for (uint32_t n = 0; n < 40000; n = n * 3 / 2 + 1) {
		uint8_t *big = malloc(n + 1);

		for (uint32_t i = 0; i < n; i++)
			big[i] = (uint8_t)(i * 7 + n);
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 100, big, n, APW_S_FLUSH), 0);
		pump(&w);
		assert_memory_equal(w.h[1].memory + 100, big, n);
		free(big);
	}
	world_down(&w);
}

/* S2-NONCE-01, S2-NOT-01: the rows of both sides agree; other nonces at each reconnect. */
static void test_rows_agree(void **state)
{
	struct world w;
	struct apw_side sa, sb;
	uint64_t last = 0;

	(void)state;
	world_up(&w, 2);
	sa = all_of(&w.h[0], 0);
	sb = all_of(&w.h[1], 0);
	sb.size = 4096;
	for (int i = 0; i < 20; i++) {
		struct link l = linked(&w, &sa, &sb);
		const struct apw_in *ia = apw_in_row(w.h[0].e, l.a & 4095), *ib = apw_in_row(w.h[1].e, l.b & 4095);
		const struct apw_out *oa = apw_out_row(w.h[0].e, apw_conn(w.h[0].e, l.a)->out);
		const struct apw_out *ob = apw_out_row(w.h[1].e, apw_conn(w.h[1].e, l.b)->out);

		assert_true(oa->nonce == ib->nonce && ob->nonce == ia->nonce && oa->nonce != ob->nonce);
		assert_true(oa->remote_index == ib->index && ob->remote_index == ia->index);
		assert_true(oa->size == 4096 && ob->size == MEM && oa->size_class == 1 && ob->size_class == 2);
		assert_true(oa->dst_host == w.h[1].conf.host && oa->type == CI_TYPE_DATA);
		assert_true(oa->seq == ib->seq0 && ob->seq == ia->seq0);
		assert_true(oa->nonce != last);
		last = oa->nonce;
		assert_int_equal(apw_close(w.h[0].e, w.now, l.a), 0);
		pump(&w);
		assert_null(apw_conn(w.h[0].e, l.a));
		assert_null(apw_conn(w.h[1].e, l.b));
		apw_check(w.h[0].e);
		apw_check(w.h[1].e);
	}
	assert_int_equal(apw_in_table(w.h[0].e)->n_used, 0);
	assert_int_equal(apw_out_table(w.h[1].e)->n_used, 0);
	world_down(&w);
}

/* S2-OUT-02: in each class, and in the column, the last valid offset is taken and the next is not. */
static void test_sizes(void **state)
{
	static const uint64_t sizes[] = { 1 << 10, 1 << 12, 1 << 16, 1 << 20, 1 << 24, 5000 };
	struct world w;
	struct apw_side sa = { 0 }, sb;
	struct apw_event ev;
	uint8_t *big = zeroed(1 << 24), one = 1;

	(void)state;
	world_up(&w, 3);
	sb = all_of(&w.h[1], 0);
	assert_int_equal(apw_region(w.h[1].e, big, 1 << 24, &sb.region), 0);
	for (unsigned i = 0; i < n_elems(sizes); i++) {
		struct link l;

		sb.size = sizes[i];
		l = linked(&w, &sa, &sb);
		assert_int_equal(l.bus_a >> APW_CLASS_SHIFT, i);
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + sizes[i] - 1, &one, 1, 0), 0);
		assert_true(apw_store(w.h[0].e, w.now, l.bus_a + sizes[i], &one, 1, 0) < 0);
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + sizes[i] - 1, "ab", 2, 0), -ERANGE);
		/* S2-CON-06: the local interface tells errors as the network does. */
		assert_true(next_event(&w.h[0], APW_EV_ERROR, &ev));
		assert_true(ev.a == CI_E_EXTENT && ev.index == l.a);
		pump(&w);
		assert_int_equal(big[sizes[i] - 1], 1);
	}
	world_down(&w);
	munmap(big, 1 << 24);
}

/* S2-MAP-05: parts of two remote spaces of 4 GB through windows of 16 MB (trust 2). */
static void test_windows(void **state)
{
	struct world w;
	uint8_t *far[2];
	uint32_t win[4], region = 0;
	uint64_t v;

	(void)state;
	world_up(&w, 4);
	for (uint32_t i = 0; i < 4; i++) {
		struct apw_in row = { .map = APW_MEMORY, .checks = APW_LEVEL_0, .flags = APW_F_VALID | APW_F_WRITE,
				      .size = 1ull << 32, .type = CI_TYPE_DATA };
		struct apw_user u = { .dst_host = w.h[1].conf.host, .remote_base = 0xff000000u >> (i & 1) * 4 };
		uint32_t index;

		if (i % 2 == 0) {
			far[i / 2] = zeroed(1ull << 32);
			assert_int_equal(apw_region(w.h[1].e, far[i / 2], 1ull << 32, &region), 0);
		}
		row.base = (uint64_t)region << 48;
		row.sub_last = UINT32_MAX;
		assert_int_equal(apw_in_open(w.h[1].e, &row, &index), 0);
		u.remote_index = index;
		u.nonce = apw_in_row(w.h[1].e, index & 4095)->nonce;
		assert_int_equal(apw_window(w.h[0].e, 4, 2, &win[i]), 0);
		assert_int_equal(apw_activate(w.h[0].e, win[i], &u), 0);
		apw_table_edit(apw_out_table(w.h[0].e), win[i])->out.flags = APW_F_VALID;
		apw_table_edit(apw_out_table(w.h[0].e), win[i])->out.type = CI_TYPE_DATA;
		v = 0xabc0 + i;
		assert_int_equal(apw_store(w.h[0].e, w.now, apw_window_bus(w.h[0].e, win[i]) + (1 << 24) - 8, &v, 8,
					   0), 0);
		pump(&w);
		memcpy(&v, far[i / 2] + u.remote_base + (1 << 24) - 8, 8);
		assert_int_equal(v, 0xabc0 + i);
	}
	world_down(&w);
	munmap(far[0], 1ull << 32);
	munmap(far[1], 1ull << 32);
}

/* S2-MAP-04: 50,000 apertures, reached at random. */
static void test_many(void **state)
{
	struct apw_conf c = plain_conf();
	uint32_t *index = malloc(50000 * sizeof(*index));
	struct world w;

	(void)state;
	c.n_rows = 65536;
	world_up_as(&w, 5, &c);
	for (uint32_t i = 0; i < 50000; i++) {
		struct apw_in in = { .map = APW_MEMORY, .checks = APW_LEVEL_0, .flags = APW_F_VALID | APW_F_WRITE,
				     .size = 4, .base = i % 16384 * 4, .type = CI_TYPE_DATA };
		struct apw_out out = { .type = CI_TYPE_DATA, .flags = APW_F_VALID, .size = 4, .size_class = APW_COLUMN,
				       .dst_host = w.h[1].conf.host };

		assert_int_equal(apw_in_open(w.h[1].e, &in, &out.remote_index), 0);
		out.nonce = apw_in_row(w.h[1].e, out.remote_index & 65535)->nonce;
		assert_int_equal(apw_out_open(w.h[0].e, &out, &index[i]), 0);
	}
	for (uint32_t n = 0; n < 100000; n++) {
		uint32_t i = prng_below(&w.rng, 50000), v = (uint32_t)prng_u64(&w.rng), got;

		assert_int_equal(apw_store(w.h[0].e, w.now, apw_bus_addr(APW_COLUMN, index[i]), &v, 4, 0), 0);
		pump(&w);
		memcpy(&got, w.h[1].memory + i % 16384 * 4, 4);
		assert_int_equal(got, v);
	}
	assert_int_equal(total(&w.h[1], APW_N_BURSTS), 100000);
	assert_true(apw_in_table(w.h[1].e)->misses > 90000);
	world_down(&w);
	free(index);
}

/* S2-OUT-05 on the wire: consecutive numbers per aperture though 100 of them evict each other. */
static uint32_t seen_seq[4096];
static bool tap_seq(struct world *w, uint32_t from, struct apw_frame *f)
{
	struct ci_hdr h;

	(void)w;
	if (f->type == CI_TYPE_DATA && from == 0) {
		assert_int_equal(wire_ci_parse(f->bytes + f->start, f->len, &h), CI_OK);
		if (seen_seq[h.from])
			assert_int_equal(h.seq, seen_seq[h.from] + 1);
		seen_seq[h.from] = h.seq;
	}
	return true;
}

static void test_seq_across_eviction(void **state)
{
	struct world w;
	struct link l[100];
	struct apw_side sa = { 0 }, sb;
	uint64_t v = 0;

	(void)state;
	world_up(&w, 6);
	sb = all_of(&w.h[1], APW_LEVEL_2);
	memset(seen_seq, 0, sizeof(seen_seq));
	for (int i = 0; i < 100; i++)
		l[i] = linked(&w, &sa, &sb);
	w.tap = tap_seq;
	for (int n = 0; n < 20000; n++) {
		assert_int_equal(apw_store(w.h[0].e, w.now, l[prng_below(&w.rng, 100)].bus_a, &v, 8, 0), 0);
		pump(&w);
	}
	assert_int_equal(total(&w.h[1], APW_N_PACKETS), 20000);
	assert_int_equal(total(&w.h[1], APW_N_BAD_SEQ), 0);
	assert_true(apw_out_table(w.h[0].e)->misses > 1000);
	world_down(&w);
}

/* S2-OUT-06: 100 stores of 8 bytes are few frames; S2-IN-04: and fewer writes than bursts. */
static void test_packing(void **state)
{
	struct apw_conf c = plain_conf();
	struct apw_side sa = { 0 }, sb;
	struct world w;
	struct link l, k;

	(void)state;
	c.pack = true;
	world_up_as(&w, 7, &c);
	sb = all_of(&w.h[1], APW_LEVEL_2);
	l = linked(&w, &sa, &sb);
	k = linked(&w, &sa, &sb);
	w.frames = 0;
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 8 * i, &i, 8, 0), 0);
	for (uint64_t i = 0; i < 10; i++) {	/* two apertures of one host, in turns */
		assert_int_equal(apw_store(w.h[0].e, w.now, k.bus_a + 4096 + 16 * i, &i, 8, 0), 0);
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 8192 + 16 * i, &i, 8, 0), 0);
	}
	assert_int_equal(apw_deadline(w.h[0].e), w.now + APW_PACK_NS);
	w.now += APW_PACK_NS;
	apw_tick(w.h[0].e, w.now);
	assert_null(apw_tx_peek(w.h[1].e));
	pump(&w);
	assert_true(w.frames <= 4);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(((uint64_t *)(void *)w.h[1].memory)[i], i);
	for (uint64_t i = 0; i < 10; i++)
		assert_memory_equal(w.h[1].memory + 4096 + 16 * i, &i, 8);
	assert_int_equal(total(&w.h[1], APW_N_BURSTS), 120);
	assert_true(total(&w.h[1], APW_N_WRITES) < 40);
	world_down(&w);
}

/* S2-IN-04 across packets: a batch of frames with contiguous bursts is one write. */
static void test_joined_packets(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct world w;
	struct link l;
	uint8_t *copy[16], buf[1024];

	(void)state;
	world_up(&w, 8);
	sb = all_of(&w.h[1], APW_LEVEL_2);
	l = linked(&w, &sa, &sb);
	memset(buf, 0x5a, sizeof(buf));
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 1024 * i, buf, 1024, 0), 0);
	for (unsigned i = 0; i < 16; i++) {
		struct apw_frame *f = apw_tx_peek(w.h[0].e);

		copy[i] = malloc(f->len);
		memcpy(copy[i], f->bytes + f->start, f->len);
		apw_rx(w.h[1].e, w.now, &w.h[0].addr, f->type, copy[i], f->len);
		apw_tx_pop(w.h[0].e);
	}
	assert_int_equal(w.h[1].memory[0], 0);
	/* S2-IN-03: done in pieces of at most 4 KB, going on where it stopped. */
	assert_false(apw_write_some(w.h[1].e, 1));
	assert_true(w.h[1].memory[4095] == 0x5a && w.h[1].memory[4096] == 0);
	apw_rx_end(w.h[1].e);
	assert_int_equal(w.h[1].memory[16383], 0x5a);
	assert_int_equal(w.h[1].memory[16384], 0);
	assert_int_equal(total(&w.h[1], APW_N_PACKETS), 16);
	assert_int_equal(total(&w.h[1], APW_N_WRITES), 1);
	assert_int_equal(total(&w.h[1], APW_N_WRITE_STEPS), 4);
	for (unsigned i = 0; i < 16; i++)
		free(copy[i]);
	world_down(&w);
}

/* ---- what is refused --------------------------------------------------------------------------------------- */

/* A frame of one burst of 8 bytes, as the host's peer would send it. */
static uint32_t crafted(const struct apw_in *r, uint32_t host, uint32_t src_host, uint8_t *p)
{
	struct ci_hdr h = { .op = CI_WRITE, .dst = { host, r->index, r->nonce, 0 }, .seq = r->seq,
			    .src_host = src_host };

	return wire_ci_emit(p, &h, "\1\2\3\4\5\6\7\10", 8, crc32c_scalar);
}

/* S2-IN-02: five packets, each failing one check; with that check left out it is accepted. */
static void test_five_checks(void **state)
{
	static const enum apw_count counts[] = { APW_N_BAD_VALID, APW_N_BAD_SEQ, APW_N_BAD_NONCE, APW_N_BAD_ETHER,
						 APW_N_BAD_SOURCE };
	struct apw_side sa = { 0 }, sb;
	struct world w;
	struct link l;
	uint8_t p[200];

	(void)state;
	world_up(&w, 9);
	sb = all_of(&w.h[1], APW_LEVEL_3);
	l = linked(&w, &sa, &sb);
	for (unsigned i = 0; i < 5; i++)
		for (unsigned masked = 0; masked < 2; masked++) {
			struct apw_in r = *edit_in(&w.h[1], l.b);
			struct apw_addr from = w.h[0].addr;
			uint32_t flags = APW_F_VALID | APW_F_WRITE, before[5], n;

			assert_int_equal(r.checks, APW_LEVEL_3);
			memset(w.h[1].memory, 0, 16);
			for (unsigned k = 0; k < 5; k++)
				before[k] = (uint32_t)total(&w.h[1], counts[k]);
			if (i == 0)
				flags &= ~APW_F_VALID;
			else if (i == 1)
				r.seq += 5;
			else if (i == 2)
				r.nonce ^= 1;
			else if (i == 3)
				from.mac[2] ^= 1;
			else
				from.host ^= 0x100;
			assert_int_equal(apw_set_checks(w.h[1].e, l.b, APW_LEVEL_3 & ~(masked << i), flags), 0);
			n = crafted(&r, w.h[1].conf.host, from.host, p);
			give(&w, &w.h[1], &from, CI_TYPE_DATA, p, n);
			assert_int_equal(w.h[1].memory[0], masked);
			for (unsigned k = 0; k < 5; k++)
				assert_int_equal(total(&w.h[1], counts[k]) - before[k], !masked && k == i);
			assert_int_equal(apw_set_checks(w.h[1].e, l.b, APW_LEVEL_3, APW_F_VALID | APW_F_WRITE), 0);
		}
	/* (e) may be a range: a netmask of 24 bits. */
	edit_in(&w.h[1], l.b)->src_bits = 24;
	for (uint32_t i = 0; i < 2; i++) {
		struct apw_addr from = w.h[0].addr;
		uint32_t n;

		memset(w.h[1].memory, 0, 16);
		from.host ^= i ? 0x100 : 0x40;
		n = crafted(edit_in(&w.h[1], l.b), w.h[1].conf.host, 0, p);
		give(&w, &w.h[1], &from, CI_TYPE_DATA, p, n);
		assert_int_equal(w.h[1].memory[0], !i);
	}
	world_down(&w);
}

/* S2-MAP-02: a million probes by somebody who knows the format and the hosts, but no index or nonce. */
static void test_probes(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct world w;

	(void)state;
	world_up(&w, 10);
	sb = all_of(&w.h[1], APW_LEVEL_1);
	for (int i = 0; i < 64; i++)
		(void)linked(&w, &sa, &sb);
	for (uint32_t i = 0; i < 1000000; i++) {
		struct ci_hdr h = { .op = CI_WRITE, .seq = (uint32_t)prng_u64(&w.rng) };
		uint8_t p[100];
		uint32_t n;

		h.dst = (struct ci_addr){ w.h[1].conf.host, (uint32_t)prng_u64(&w.rng) & CI_INDEX_MASK,
					  prng_u64(&w.rng) & CI_NONCE_MASK, (uint32_t)prng_u64(&w.rng) % MEM };
		n = wire_ci_emit(p, &h, "12345678", 8, crc32c_scalar);
		apw_rx(w.h[1].e, w.now, &w.h[0].addr, CI_TYPE_DATA, p, n);
		while (apw_tx_peek(w.h[1].e))
			apw_tx_pop(w.h[1].e);
	}
	assert_int_equal(total(&w.h[1], APW_N_WRITES), 0);
	for (uint32_t i = 0; i < MEM; i++)
		assert_int_equal(w.h[1].memory[i], 0);
	assert_int_equal(total(&w.h[1], APW_N_NO_APERTURE) + total(&w.h[1], APW_N_BAD_NONCE), 1000000);
	/* S2-NONCE-02: at most 100 ERRORs a second, and no time has passed. */
	assert_int_equal(total(&w.h[1], APW_N_ERRORS_OUT), APW_ERRORS_S);
	world_down(&w);
}

/* S2-MAP-03: frames with any bytes, and our own bent: memory outside what was accepted never changes. */
static void test_any_bytes(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct world w;
	struct link l;
	uint8_t p[300];

	(void)state;
	world_up(&w, 11);
	sb = all_of(&w.h[1], APW_LEVEL_0);
	sb.offset = 4096;
	sb.size = 4096;
	l = linked(&w, &sa, &sb);
	memset(w.h[1].memory, 0x77, MEM);
	for (uint32_t i = 0; i < 300000; i++) {
		static const uint16_t types[] = { CI_TYPE_DATA, CI_TYPE_EVENT, CI_TYPE_MSG, 0x800 };
		uint32_t n = crafted(edit_in(&w.h[1], l.b), w.h[1].conf.host, 0, p);
		uint32_t flips = prng_below(&w.rng, 6);
		uint16_t c;

		for (; flips; flips--)
			p[prng_below(&w.rng, n)] = (uint8_t)prng_u64(&w.rng);
		if (prng_u64(&w.rng) & 1) {	/* with a right checksum again */
			uint32_t sum = 0;

			memset(p + 4, 0, 2);
			for (uint32_t k = 0; k < 40; k += 2)
				sum += get_be16(p + k);
			sum = (sum & 0xffff) + (sum >> 16);
			c = (uint16_t)~((sum & 0xffff) + (sum >> 16));
			put_be16(p + 4, c);
		}
		give(&w, &w.h[1], &w.h[0].addr, types[prng_below(&w.rng, 20) < 17 ? 0 : prng_below(&w.rng, 4)], p,
		     prng_below(&w.rng, 8) ? n : prng_below(&w.rng, n));
		while (apw_tx_peek(w.h[1].e))
			apw_tx_pop(w.h[1].e);
	}
	assert_true(total(&w.h[1], APW_N_BURSTS) > 1000);
	for (uint32_t i = 0; i < MEM; i++)
		if (i < 4096 || i >= 8192)
			assert_int_equal(w.h[1].memory[i], 0x77);
	world_down(&w);
}

/* S2-IN-03: extents in 64 bits; S2-IN-06: narrowed. The ERROR comes back to the writer (S2-CON-06). */
static void test_extents(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct apw_event ev;
	struct world w;
	struct link l;
	struct apw_out *o;
	uint64_t v = ~0ull;

	(void)state;
	world_up(&w, 12);
	sb = all_of(&w.h[1], APW_LEVEL_1);
	sb.offset = 1024;
	sb.size = 4096;
	l = linked(&w, &sa, &sb);
	o = &apw_table_edit(apw_out_table(w.h[0].e), apw_conn(w.h[0].e, l.a)->out)->out;
	o->size = 1ull << 32;	/* a sender that believes more than it was told */
	o->size_class = APW_COLUMN;
	l.bus_a = apw_bus_addr(APW_COLUMN, o->index);
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 4088, &v, 8, 0), 0);
	pump(&w);
	assert_int_equal(w.h[1].memory[1024 + 4095], 0xff);
	for (uint32_t i = 0; i < 3; i++) {
		static const uint64_t off[] = { 4092, 4096, 0xfffffff8 };

		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + off[i], &v, 8, 0), 0);
		pump(&w);
		assert_int_equal(w.h[1].memory[1024 + 4096], 0);
		assert_int_equal(total(&w.h[1], APW_N_BAD_EXTENT), i + 1);
		assert_true(next_event(&w.h[0], APW_EV_ERROR, &ev));
		assert_true(ev.a == CI_E_EXTENT && ev.b == off[i] && ev.index == l.a);
	}
	assert_int_equal(apw_narrow(w.h[1].e, l.b, 100, 199), 0);
	assert_int_equal(apw_narrow(w.h[1].e, l.b, 100, 4096), -EINVAL);
	for (uint32_t off = 80; off < 220; off++) {
		memset(w.h[1].memory, 0, 8192);
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + off, &v, 8, 0), 0);
		pump(&w);
		assert_int_equal(w.h[1].memory[1024 + off], off >= 100 && off + 7 <= 199 ? 0xff : 0);
	}
	world_down(&w);
}

/* S2-NONCE-02: right host and index, the nonce of an earlier connection: nothing is written, it is
 * counted, and told at most 100 times a second. */
static void test_stale_nonce(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct apw_event ev;
	struct world w;
	struct link l;
	uint64_t v = 1;

	(void)state;
	world_up(&w, 13);
	sb = all_of(&w.h[1], APW_LEVEL_1);
	l = linked(&w, &sa, &sb);
	edit_in(&w.h[1], l.b)->nonce ^= 0x1000000000ull;
	for (int i = 0; i < 250; i++)
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, 0), 0);
	pump(&w);
	assert_int_equal(w.h[1].memory[0], 0);
	assert_int_equal(total(&w.h[1], APW_N_BAD_NONCE), 250);
	assert_int_equal(total(&w.h[1], APW_N_ERRORS_OUT), 100);
	assert_int_equal(total(&w.h[1], APW_N_ERRORS_HELD), 150);
	assert_int_equal(total(&w.h[0], APW_N_ERRORS_IN), 100);
	assert_true(next_event(&w.h[0], APW_EV_ERROR, &ev) && ev.a == CI_E_NONCE && ev.index == l.a);
	w.now += NS_PER_S;
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, 0), 0);
	pump(&w);
	assert_int_equal(total(&w.h[1], APW_N_ERRORS_OUT), 101);
	world_down(&w);
}

/* S2-NONCE-04: the nonce grows by 3 each 2 packets; a packet heard before is refused, and so is
 * one whose number was put right but not its nonce. */
static uint8_t heard[50][200];
static uint32_t n_heard, heard_len[50];
static bool tap_hear(struct world *w, uint32_t from, struct apw_frame *f)
{
	(void)w;
	if (from == 0 && f->type == CI_TYPE_DATA && n_heard < 50) {
		heard_len[n_heard] = f->len;
		memcpy(heard[n_heard++], f->bytes + f->start, f->len);
	}
	return true;
}

static void test_stepping_nonce(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct world w;
	struct link l;
	struct ci_hdr h;
	uint8_t p[200];

	(void)state;
	world_up(&w, 14);
	sb = all_of(&w.h[1], APW_LEVEL_2);
	sb.step = 3;
	sb.every = 2;
	l = linked(&w, &sa, &sb);
	n_heard = 0;
	w.tap = tap_hear;
	for (uint64_t i = 0; i < 50; i++) {
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 8 * i, &i, 8, 0), 0);
		pump(&w);
	}
	w.tap = NULL;
	assert_int_equal(total(&w.h[1], APW_N_PACKETS), 50);
	memset(w.h[1].memory, 0, MEM);
	for (uint32_t i = 0; i < 50; i++) {
		give(&w, &w.h[1], &w.h[0].addr, CI_TYPE_DATA, heard[i], heard_len[i]);
		assert_int_equal(wire_ci_parse(heard[i], heard_len[i], &h), CI_OK);
		assert_int_equal(h.dst.nonce, (edit_in(&w.h[1], l.b)->nonce + i / 2 * 3) & CI_NONCE_MASK);
		h.seq = edit_in(&w.h[1], l.b)->seq;
		give(&w, &w.h[1], &w.h[0].addr, CI_TYPE_DATA, p, wire_ci_emit(p, &h, "12345678", 8, crc32c_scalar));
	}
	for (uint32_t i = 0; i < MEM; i++)
		assert_int_equal(w.h[1].memory[i], 0);
	assert_int_equal(total(&w.h[1], APW_N_BAD_SEQ), 50);
	assert_int_equal(total(&w.h[1], APW_N_BAD_NONCE), 50);
	world_down(&w);
}

/* S2-OUT-07: a header bent in a switch touches no table; S2-OUT-08: data bent are refused and told. */
static uint32_t bend_at;
static bool tap_bend(struct world *w, uint32_t from, struct apw_frame *f)
{
	(void)w;
	if (from == 0 && f->type == CI_TYPE_DATA)
		f->bytes[f->start + bend_at / 8] ^= (uint8_t)(1u << bend_at % 8);
	return true;
}

static void test_damage(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct apw_event ev;
	struct world w;
	struct link l;
	uint64_t v = 0x1111111111111111;
	uint32_t bad_header = 0;

	(void)state;
	world_up(&w, 15);
	sb = all_of(&w.h[1], APW_LEVEL_1);
	l = linked(&w, &sa, &sb);
	w.tap = tap_bend;
	for (bend_at = 0; bend_at < (40 + 8 + 4) * 8; bend_at++) {
		uint64_t looks = apw_in_table(w.h[1].e)->hits + apw_in_table(w.h[1].e)->misses;

		w.now += NS_PER_S;
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, 0), 0);
		pump(&w);
		assert_int_equal(w.h[1].memory[0], 0);
		if (bend_at < 40 * 8) {
			bad_header++;
			assert_int_equal(apw_in_table(w.h[1].e)->hits + apw_in_table(w.h[1].e)->misses, looks);
		} else {
			assert_true(next_event(&w.h[0], APW_EV_ERROR, &ev) && ev.a == CI_E_CRC);
		}
	}
	assert_int_equal(total(&w.h[1], APW_N_HDR_CSUM) + total(&w.h[1], APW_N_SHORT), bad_header);
	assert_int_equal(total(&w.h[1], APW_N_BAD_CRC), 12 * 8);
	world_down(&w);
}

/* S2-IN-05: checking on or off, any first number: all interoperate; a wrong one matters only if checked. */
static void test_seq_options(void **state)
{
	struct world w;

	(void)state;
	world_up(&w, 16);
	for (uint32_t i = 0; i < 64; i++) {
		struct apw_side sa = all_of(&w.h[0], i & 1 ? APW_LEVEL_2 : APW_LEVEL_1);
		struct apw_side sb = all_of(&w.h[1], i & 2 ? APW_LEVEL_2 : APW_LEVEL_1);
		struct link l = linked(&w, &sa, &sb);
		uint32_t v = i + 1, got, out = apw_conn(w.h[0].e, l.a)->out;

		for (int k = 0; k < 5; k++) {
			assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 16, &v, 4, 0), 0);
			assert_int_equal(apw_store(w.h[1].e, w.now, l.bus_b + 16, &v, 4, 0), 0);
			pump(&w);
		}
		memcpy(&got, w.h[1].memory + 16, 4);
		assert_int_equal(got, v);
		memcpy(&got, w.h[0].memory + 16, 4);
		assert_int_equal(got, v);
		apw_table_edit(apw_out_table(w.h[0].e), out)->out.seq += 9;
		v += 1000;
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 16, &v, 4, 0), 0);
		pump(&w);
		memcpy(&got, w.h[1].memory + 16, 4);
		assert_int_equal(got, i & 2 ? v - 1000 : v);
	}
	world_down(&w);
}

/* S2-IN-07, S2-OUT-03: two rows that differ in the tag: data change memory, an event packet a queue. */
static void test_event_packets(void **state)
{
	struct apw_side sa = { 0 }, mem, queue;
	struct apw_event ev;
	struct world w;
	struct link m, q;
	uint64_t v = 5;

	(void)state;
	world_up(&w, 17);
	mem = all_of(&w.h[1], APW_LEVEL_2);
	queue = mem;
	queue.map = APW_QUEUE;
	queue.region = w.h[1].queue;
	m = linked(&w, &sa, &mem);
	q = linked(&w, &sa, &queue);
	assert_int_equal(apw_store(w.h[0].e, w.now, q.bus_a, &v, 8, 0), -EOPNOTSUPP);
	assert_int_equal(apw_event(w.h[0].e, w.now, m.bus_a, 1, 2), -EOPNOTSUPP);
	assert_int_equal(apw_store(w.h[0].e, w.now, m.bus_a, &v, 8, 0), 0);
	pump(&w);
	assert_int_equal(w.h[1].memory[0], 5);
	assert_false(next_event(&w.h[1], APW_EV_DELIVERY, &ev));
	assert_int_equal(apw_event(w.h[0].e, w.now, q.bus_a, 0xaaaa, 0xbbbb), 0);
	pump(&w);
	assert_true(next_event(&w.h[1], APW_EV_DELIVERY, &ev));
	assert_true(ev.a == 0xaaaa && ev.b == 0xbbbb && ev.index == q.b && (ev.flags & APW_EVF_PACKET));
	assert_false(next_event(&w.h[1], APW_EV_DELIVERY, &ev));
	assert_int_equal(total(&w.h[1], APW_N_EVENTS_IN), 1);
	/* The tag decides, not the sender's view of it. */
	apw_table_edit(apw_out_table(w.h[0].e), apw_conn(w.h[0].e, q.a)->out)->out.type = CI_TYPE_DATA;
	assert_int_equal(apw_store(w.h[0].e, w.now, q.bus_a, &v, 8, 0), 0);
	pump(&w);
	assert_int_equal(total(&w.h[1], APW_N_BAD_TYPE), 1);
	assert_true(next_event(&w.h[0], APW_EV_ERROR, &ev) && ev.a == CI_E_TYPE);
	world_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_addresses),     cmocka_unit_test(test_fast_store),
		cmocka_unit_test(test_store_and_load), cmocka_unit_test(test_rows_agree),
		cmocka_unit_test(test_sizes),	      cmocka_unit_test(test_windows),
		cmocka_unit_test(test_many),	      cmocka_unit_test(test_seq_across_eviction),
		cmocka_unit_test(test_packing),	      cmocka_unit_test(test_joined_packets),
		cmocka_unit_test(test_five_checks),   cmocka_unit_test(test_probes),
		cmocka_unit_test(test_any_bytes),     cmocka_unit_test(test_extents),
		cmocka_unit_test(test_stale_nonce),   cmocka_unit_test(test_stepping_nonce),
		cmocka_unit_test(test_damage),	      cmocka_unit_test(test_seq_options),
		cmocka_unit_test(test_event_packets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
