/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rows of the two aperture tables (S2-OUT-01, S2-IN-01): 64 bytes each, one cache line.
 * Their first two words are the same for both, so that one two-level store keeps either.
 *
 * Who may write: the engine (the K part, what only the operating system may set). What an
 * application may set it hands over as a struct apw_user, from which apw_activate() takes the
 * fields that its trust allows (S2-PRIV-01).
 */
#ifndef CORE_APERTURE_ROWS_H
#define CORE_APERTURE_ROWS_H

#include <assert.h>

#include "base/types.h"

/* A bit for each check, in the order in which they are made (S2-IN-02). */
#define APW_CK_VALID	0x01u
#define APW_CK_SEQ	0x02u
#define APW_CK_NONCE	0x04u
#define APW_CK_ETHER	0x08u
#define APW_CK_SOURCE	0x10u

/* Security levels: which checks are made. */
#define APW_LEVEL_0	(APW_CK_VALID | APW_CK_NONCE)
#define APW_LEVEL_1	(APW_LEVEL_0 | APW_CK_SOURCE)
#define APW_LEVEL_2	(APW_LEVEL_1 | APW_CK_SEQ)
#define APW_LEVEL_3	(APW_LEVEL_2 | APW_CK_ETHER)

#define APW_F_VALID	0x01u
#define APW_F_WRITE	0x02u	/* incoming: may be written */
#define APW_F_READ	0x04u	/* incoming: may be read */

enum apw_kind { APW_FREE, APW_APERTURE, APW_PORT, APW_IPQ };	/* S2-IN-01's three kinds of row */
enum apw_map { APW_MEMORY, APW_QUEUE };				/* S2-IN-07: what `base` points to */

struct apw_in {
	uint32_t index;		/* in-index, 24 bits; a port row: the port; 0: the row is free */
	uint32_t seq;		/* expected next */
	uint64_t nonce : 40, kind : 3, map : 3, checks : 5, flags : 6, src_bits : 6;
	uint64_t size;		/* the extent, at most 2^32 */
	uint64_t base;		/* APW_MEMORY: region << 48 | offset in it; APW_QUEUE: event queue */
	uint32_t seq0;
	uint32_t src_host;	/* compared under the mask of src_bits */
	uint32_t sub_first;	/* narrowed: the first byte and the last that may be touched */
	uint32_t sub_last;
	uint32_t conn;		/* 0: none */
	uint16_t type;		/* CI_TYPE_DATA or CI_TYPE_EVENT; port rows CI_TYPE_EVENT, IPQ CI_TYPE_MSG */
	uint16_t step, every;	/* the nonce grows by step each `every` packets; 0: it stays */
	uint8_t	 src_eth[6];
};
static_assert(sizeof(struct apw_in) == 64, "a line");

struct apw_out {
	uint32_t index;		/* out-index: the aperture's number on the local bus; 0: the row is free */
	uint32_t seq;		/* of the next packet */
	uint64_t nonce : 40, flags : 6, size_class : 3, trust : 2, keep : 1;
	uint64_t size;
	uint32_t remote_index;	/* in-index of the destination */
	uint32_t seq0;
	uint32_t dst_host;
	uint32_t remote_base;	/* added to offsets: a small window on a large remote space (S2-MAP-05) */
	uint32_t conn;
	uint16_t type;
	uint16_t step, every;
	uint16_t dst_port;	/* the carrier's: UDP */
	uint8_t	 dst_eth[6];
	uint16_t lport;		/* whom errors concern */
	uint32_t pad;
};
static_assert(sizeof(struct apw_out) == 64, "a line");

union apw_row {
	struct { uint32_t index, seq; } any;
	struct apw_in in;
	struct apw_out out;
};

/* What page U holds: the fields that an application may write, if it is trusted that far. */
struct apw_user {
	uint32_t dst_host;	/* trust 1 */
	uint32_t remote_index;	/* trust 1 */
	uint64_t nonce;		/* trust 1 */
	uint64_t size;		/* trust 2: not above the default */
	uint32_t remote_base;	/* trust 2 */
	uint32_t pad;
};

/* The nonce that packet number `seq` must show (S2-NONCE-04). */
static inline uint64_t apw_nonce_at(uint64_t nonce, uint16_t step, uint16_t every, uint32_t seq, uint32_t seq0)
{
	if (!step || !every)
		return nonce;
	return (nonce + (uint64_t)step * ((seq - seq0) / every)) & 0xffffffffffull;
}

/* ---- the two-level store (S2-CACHE-01) ---------------------------------------------------------- */

#define APW_FAST 64		/* entries of the fast store: 64 x 64 B, in the first-level cache */

struct apw_table {
	union apw_row *rows;	/* the large store: row number = index & mask */
	uint32_t mask;
	uint32_t n_used;
	uint32_t free_head;	/* row numbers, linked through any.seq; 0: none */
	uint32_t fresh;		/* rows from here on were never used */
	uint32_t clock;
	uint32_t last;		/* entry that served last */
	uint64_t hits, misses;
	uint32_t tag[APW_FAST] cacheline_aligned;	/* index; 0: empty */
	uint32_t used[APW_FAST];			/* clock of the last use */
	union apw_row fast[APW_FAST];
};

void apw_table_init(struct apw_table *t, void *rows, uint32_t n);
/* A free row's number, or 0. The row is the caller's to fill, index last. */
uint32_t apw_table_take(struct apw_table *t);
void apw_table_give(struct apw_table *t, uint32_t row);
/* The entry of that index in the fast store, brought there if need be; NULL: no such row. Good
 * until the next call for this table. Of its columns only seq may be changed, by apw_table_seq(). */
union apw_row *apw_table_get(struct apw_table *t, uint32_t index);
void apw_table_seq(struct apw_table *t, union apw_row *r, uint32_t seq);	/* written back */
/* The row itself, to be changed: the fast store forgets it, so that nothing stale is served. */
union apw_row *apw_table_edit(struct apw_table *t, uint32_t row);
/* The row itself, to look at. */
const union apw_row *apw_table_peek(const struct apw_table *t, uint32_t row);

/* ---- addresses on the local bus (S2-OUT-02, S2-OUT-06, S2-MAP-06) -------------------------------- */

/* Classes 0..4: 1 KB, 4 KB, 64 KB, 1 MB, 16 MB, whose size the base address tells; the last has
 * it in the size column, and room for 4 GB. */
#define APW_N_CLASSES	6
#define APW_COLUMN	5
#define APW_CLASS_SHIFT	56

uint32_t apw_class_bits(uint32_t size_class);
/* The class of exactly that size, or APW_COLUMN. */
uint32_t apw_class_of(uint64_t size);
uint64_t apw_bus_addr(uint32_t size_class, uint32_t out_index);
/* Splits <base:offset>. False: no such class. */
must_check bool apw_bus_split(uint64_t bus, uint32_t *ret_class, uint32_t *ret_index, uint64_t *ret_offset);

struct apw_remap {
	uint32_t mask;		/* the map bits: adjacent ones */
	uint32_t shift;		/* of the lowest */
	const uint32_t *bits;	/* (mask >> shift) + 1 values, in place: already shifted */
};
/* The local address with its map bits replaced by what the memory says. */
uint32_t apw_remap(const struct apw_remap *m, uint32_t local);

#endif
