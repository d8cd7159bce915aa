/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine of apertures between hosts: reads and fences, a circular queue over apertures, page
 * U at each trust. Each test names the requirement whose "shown by" it is.
 */
#include "test/unit/aperture_rig.h"

#include <errno.h>

/* ---- reads and fences ----------------------------------------------------------------------------------------- */

static int finished(struct world *w, uint32_t read)
{
	for (;;) {
		uint64_t at;
		int r;

		pump(w);
		r = apw_read_done(w->h[0].e, read);
		if (r != -EINPROGRESS)
			return r;
		at = min_u64(apw_deadline(w->h[0].e), apw_deadline(w->h[1].e));
		assert_true(at != NEVER_NS);
		w->now = max_u64(w->now, at);
		apw_tick(w->h[0].e, w->now);
		apw_tick(w->h[1].e, w->now);
	}
}

/* S2-READ-01: 4 KB from the aperture of a stopped application: nothing of B's but its engine runs. */
static void test_reads(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct world w;
	struct link l;
	uint8_t got[4096];
	uint32_t id;

	(void)state;
	world_up(&w, 18);
	sb = all_of(&w.h[1], APW_LEVEL_2);
	l = linked(&w, &sa, &sb);
	for (uint32_t i = 0; i < MEM; i++)
		w.h[1].memory[i] = (uint8_t)(i * 31 >> 3);
	w.loss_ppm = 300000;
	for (uint32_t at = 0; at < 4096; at += 1024) {
		assert_int_equal(apw_read(w.h[0].e, w.now, l.a, 512 + at, got + at, 1024, &id), 0);
		assert_int_equal(finished(&w, id), 0);
	}
	w.loss_ppm = 0;
	assert_memory_equal(got, w.h[1].memory + 512, 4096);
	assert_int_equal(apw_read(w.h[0].e, w.now, l.a, MEM - 4, got, 8, &id), -ERANGE);
	/* What the sender does not know the receiver does. */
	assert_int_equal(apw_narrow(w.h[1].e, l.b, 0, 99), 0);
	assert_int_equal(apw_read(w.h[0].e, w.now, l.a, 96, got, 8, &id), 0);
	assert_int_equal(finished(&w, id), -ERANGE);
	assert_int_equal(apw_read(w.h[0].e, w.now, l.a, 92, got, 8, &id), 0);
	assert_int_equal(finished(&w, id), 0);
	assert_int_equal(apw_set_checks(w.h[1].e, l.b, APW_LEVEL_2, APW_F_VALID | APW_F_WRITE), 0);
	assert_int_equal(apw_read(w.h[0].e, w.now, l.a, 0, got, 8, &id), 0);
	assert_int_equal(finished(&w, id), -EACCES);
	assert_int_equal(apw_read(w.h[0].e, w.now, l.a, 0, got, 8, &id), 0);
	assert_int_equal(apw_close(w.h[0].e, w.now, l.a), 0);
	assert_int_equal(apw_read_done(w.h[0].e, id), -ECONNRESET);
	world_down(&w);
}

/* A fence says whether all stores before it are in memory; if not, what follows is in step again. */
static void test_fences(void **state)
{
	struct world w;

	(void)state;
	for (uint32_t round = 0; round < 40; round++) {
		struct apw_side sa = { 0 }, sb;
		struct link l;
		uint64_t v;
		uint32_t id, lost = 0, whole = 0;

		world_up(&w, 100 + round);
		sb = all_of(&w.h[1], round & 1 ? APW_LEVEL_2 : APW_LEVEL_1);
		sb.step = round & 1 ? 1 : 0;
		l = linked(&w, &sa, &sb);
		w.loss_ppm = 100000;
		for (uint64_t i = 1; i < 60; i++) {
			int r;

			for (uint64_t k = 0; k < 4; k++) {
				v = i << 8 | k;
				assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 8 * k, &v, 8, 0), 0);
			}
			assert_int_equal(apw_read(w.h[0].e, w.now, l.a, 0, NULL, 0, &id), 0);
			r = finished(&w, id);
			assert_true(r == 0 || r == -EIO);
			lost += r != 0;
			whole += r == 0;
			for (uint64_t k = 0; !r && k < 4; k++)
				assert_int_equal(((uint64_t *)(void *)w.h[1].memory)[k], i << 8 | k);
		}
		assert_true(lost > 3 && whole > 20);
		world_down(&w);
	}
}

/* S2-SHQ-01, S2-SHQ-03: a circular queue in an aperture, each pointer on its reader's side: 256 MB
 * through 64 KB, no overrun, and not one aperture more. */
static void test_shared_queue(void **state)
{
	struct apw_side sa, sb;
	struct world w;
	struct link l;
	uint64_t wr = 0, rd = 0, made, bytes = 256ull << 20;
	uint64_t *rd_at, *wr_at;
	struct prng in, out;
	uint8_t chunk[8192];

	(void)state;
	world_up(&w, 19);
	sa = all_of(&w.h[0], APW_LEVEL_2);
	sb = all_of(&w.h[1], APW_LEVEL_2);
	l = linked(&w, &sa, &sb);
	rd_at = (uint64_t *)(void *)w.h[0].memory;
	wr_at = (uint64_t *)(void *)(w.h[1].memory + 32768);
	made = total(&w.h[1], APW_N_APERTURES);
	prng_seed(&in, 1);
	prng_seed(&out, 1);
	while (rd < bytes) {
		uint64_t room = 32768 - (wr - *rd_at);
		uint32_t n = (uint32_t)min_u64(min_u64(room, prng_below(&w.rng, 8192)) & ~7ull, bytes - wr);

		assert_true(room <= 32768);
		for (uint32_t i = 0; i < n; i += 8) {
			uint64_t x = prng_u64(&in);

			memcpy(chunk + i, &x, 8);
		}
		if (n) {
			uint32_t at = wr % 32768, first = min_u32(n, 32768 - at);

			assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + at, chunk, first, 0), 0);
			if (n > first)
				assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, chunk + first, n - first, 0), 0);
			wr += n;
			assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 32768, &wr, 8, 0), 0);
		}
		pump(&w);
		assert_int_equal(*wr_at, wr);
		for (uint32_t k = prng_below(&w.rng, 2048); k && rd < *wr_at; k--, rd += 8)
			if (*(uint64_t *)(void *)(w.h[1].memory + rd % 32768) != prng_u64(&out))
				fail();
		assert_int_equal(apw_store(w.h[1].e, w.now, l.bus_b, &rd, 8, 0), 0);
		pump(&w);
	}
	assert_int_equal(total(&w.h[1], APW_N_APERTURES), made);
	world_down(&w);
}

/* S2-PRIV-01, S2-PRIV-02, S2-NONCE-03: page U scribbled over at each trust. */
static void test_trust(void **state)
{
	struct world w;
	struct apw_in row = { .map = APW_MEMORY, .checks = APW_LEVEL_1, .flags = APW_F_VALID | APW_F_WRITE,
			      .size = 4096, .base = 8192, .type = CI_TYPE_DATA, .src_bits = 32 };
	uint32_t index;

	(void)state;
	world_up(&w, 20);
	row.src_host = w.h[0].conf.host;
	row.nonce = 0x123456789a;	/* chosen by the application */
	assert_int_equal(apw_in_open(w.h[1].e, &row, &index), 0);
	memset(w.h[1].memory, 0x33, MEM);
	for (uint32_t trust = 0; trust <= 2; trust++) {
		struct apw_user u = { .dst_host = w.h[1].conf.host, .remote_index = index, .nonce = row.nonce };
		uint32_t win;
		uint64_t bus, v = 0x4444444444444444;
		struct apw_out *o;

		assert_int_equal(apw_window(w.h[0].e, 1, trust, &win), 0);
		bus = apw_window_bus(w.h[0].e, win);
		o = &apw_table_edit(apw_out_table(w.h[0].e), win)->out;
		o->flags = APW_F_VALID;
		o->type = CI_TYPE_DATA;
		o->size = 4096;
		assert_int_equal(apw_activate(w.h[0].e, win, &u), trust ? 0 : -EPERM);
		if (!trust)
			continue;
		assert_int_equal(apw_store(w.h[0].e, w.now, bus, &v, 8, 0), 0);
		pump(&w);
		assert_int_equal(w.h[1].memory[8192], 0x44);
		w.h[1].memory[8192] = 0x33;
		for (uint32_t i = 0; i < 20000; i++) {
			struct apw_out before = *apw_out_row(w.h[0].e, win);
			const struct apw_out *after;
			uint64_t n = total(&w.h[1], APW_N_BURSTS);

			for (unsigned k = 0; k < sizeof(u); k++)
				if (!prng_below(&w.rng, 3))
					((uint8_t *)&u)[k] = (uint8_t)prng_u64(&w.rng);
			if (apw_activate(w.h[0].e, win, &u))
				continue;
			after = apw_out_row(w.h[0].e, win);
			if (trust < 2)
				assert_true(after->size == before.size && after->remote_base == before.remote_base);
			assert_true(after->size <= 4096 && after->type == before.type && after->conn == before.conn);
			/* Wherever it goes, it says truly from whom: host 1 checks that. */
			if (!apw_store(w.h[0].e, w.now, bus + prng_below(&w.rng, 4080), &v, 8, 0))
				pump(&w);
			assert_int_equal(total(&w.h[1], APW_N_BURSTS), n);
		}
		apw_table_edit(apw_out_table(w.h[0].e), win)->out.flags = 0;
		apw_window_end(w.h[0].e, win);
	}
	world_down(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reads), cmocka_unit_test(test_fences), cmocka_unit_test(test_shared_queue),
		cmocka_unit_test(test_trust),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
