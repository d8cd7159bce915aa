/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The two-level store of aperture rows (S2-CACHE-01).
 *
 * W1 The large store has every row, always up to date: sequence numbers are written to both.
 * W2 An entry of the fast store equals its row; changing a row drops its entry first.
 * W3 A row is found by its whole index, so one given back and taken again is another aperture.
 */
#include "core/aperture/rows.h"

#include "base/must.h"

void apw_table_init(struct apw_table *t, void *rows, uint32_t n)
{
	must(n >= 2 && (n & (n - 1)) == 0);
	memset(t, 0, sizeof(*t));
	t->rows = rows;
	t->mask = n - 1;
	t->fresh = 1;	/* row 0 is never used: 0 says "none" */
}

uint32_t apw_table_take(struct apw_table *t)
{
	uint32_t row = t->free_head;

	if (row)
		t->free_head = t->rows[row].any.seq;
	else if (t->fresh <= t->mask)
		row = t->fresh++;
	else
		return 0;
	memset(&t->rows[row], 0, sizeof(t->rows[row]));
	t->n_used++;
	return row;
}

static void drop(struct apw_table *t, uint32_t index)
{
	for (uint32_t i = 0; index && i < APW_FAST; i++)
		if (t->tag[i] == index)
			t->tag[i] = t->used[i] = 0;
}

void apw_table_give(struct apw_table *t, uint32_t row)
{
	must(row && row <= t->mask && t->n_used);
	drop(t, t->rows[row].any.index);
	memset(&t->rows[row], 0, sizeof(t->rows[row]));
	t->rows[row].any.seq = t->free_head;
	t->free_head = row;
	t->n_used--;
}

union apw_row *apw_table_edit(struct apw_table *t, uint32_t row)
{
	must(row && row <= t->mask);
	drop(t, t->rows[row].any.index);
	return &t->rows[row];
}

const union apw_row *apw_table_peek(const struct apw_table *t, uint32_t row)
{
	must(row <= t->mask);
	return &t->rows[row];
}

/* All tags are compared; the compiler makes vectors of it. */
static uint32_t find(const struct apw_table *t, uint32_t index)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < APW_FAST; i++)
		at |= (t->tag[i] == index ? ~0u : 0) & (i + 1);
	return at;
}

/* Recency is a counter; when it wraps all entries are equally old. */
static union apw_row *touch(struct apw_table *t, uint32_t i)
{
	if (++t->clock == 0) {
		memset(t->used, 0, sizeof(t->used));
		t->clock = 1;
	}
	t->used[i] = t->clock;
	t->last = i;
	return &t->fast[i];
}

union apw_row *apw_table_get(struct apw_table *t, uint32_t index)
{
	uint32_t row = index & t->mask, i, oldest = 0;

	if (!index)
		return NULL;
	if (likely(t->tag[t->last] == index)) {
		t->hits++;
		return touch(t, t->last);
	}
	i = find(t, index);
	if (i) {
		t->hits++;
		return touch(t, i - 1);
	}
	t->misses++;
	if (t->rows[row].any.index != index)
		return NULL;
	for (i = 1; i < APW_FAST; i++)
		if (t->used[i] < t->used[oldest])
			oldest = i;
	t->tag[oldest] = index;
	t->fast[oldest] = t->rows[row];
	return touch(t, oldest);
}

void apw_table_seq(struct apw_table *t, union apw_row *r, uint32_t seq)
{
	r->any.seq = seq;
	t->rows[r->any.index & t->mask].any.seq = seq;
}

/* ---- addresses ------------------------------------------------------------------------------------ */

static const uint8_t class_bits[APW_N_CLASSES] = { 10, 12, 16, 20, 24, 32 };

uint32_t apw_class_bits(uint32_t size_class)
{
	must(size_class < APW_N_CLASSES);
	return class_bits[size_class];
}

uint32_t apw_class_of(uint64_t size)
{
	for (uint32_t c = 0; c < APW_COLUMN; c++)
		if (size == 1ull << class_bits[c])
			return c;
	return APW_COLUMN;
}

uint64_t apw_bus_addr(uint32_t size_class, uint32_t out_index)
{
	return (uint64_t)size_class << APW_CLASS_SHIFT | (uint64_t)out_index << apw_class_bits(size_class);
}

bool apw_bus_split(uint64_t bus, uint32_t *ret_class, uint32_t *ret_index, uint64_t *ret_offset)
{
	uint64_t c = bus >> APW_CLASS_SHIFT, low = bus & ((1ull << APW_CLASS_SHIFT) - 1);

	if (c >= APW_N_CLASSES || low >> class_bits[c] > UINT32_MAX)
		return false;
	*ret_class = (uint32_t)c;
	*ret_index = (uint32_t)(low >> class_bits[c]);
	*ret_offset = low & ((1ull << class_bits[c]) - 1);
	return true;
}

uint32_t apw_remap(const struct apw_remap *m, uint32_t local)
{
	return (local & ~m->mask) | (m->bits[(local & m->mask) >> m->shift] & m->mask);
}
