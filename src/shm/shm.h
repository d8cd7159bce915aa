/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a mapped segment to a private map of it: the one place that reads seg->geo.
 * Pure: mapping is the caller's (host/, sim/, tests).
 */
#ifndef SHM_SHM_H
#define SHM_SHM_H

#include "core/stack/turn.h"

/* Counts from base/limits.h, offsets one after the other, packet memory page aligned, last. */
void geometry_standard(struct geometry *ret);
/* Same, for other counts (tests, sim): fills offsets and bytes from the counts in *geo. */
void geometry_lay_out(struct geometry *geo);
/* Counts are powers of two (at least 2) within base/limits.h; pools aligned, in ascending
 * order, without overlap, inside `bytes`, which lies inside the file. 0 or -EINVAL. */
must_check int geometry_check(const struct geometry *geo, uint64_t file_bytes);

/*
 * Checks the header of a mapped segment (magic, layout, geometry) on one private copy of it
 * and fills pointers, masks and bytes of *ret; everything else in *ret is zeroed, except
 * csum, which is csum_add_scalar. `base` is 64-byte aligned and file_bytes are mapped.
 * 0, -EPROTO (not a segment, or not of our layout), -EINVAL (geometry).
 */
must_check int shm_attach(struct segment *base, uint64_t file_bytes, uint64_t layout_hash,
			  struct stack_map *ret);
/* Writes magic, layout hash and geometry into a fresh zeroed mapping. Then: set ids and
 * secret, shm_attach(), stack_init(). */
void shm_format(struct segment *base, const struct geometry *geo, uint64_t layout_hash);

#endif
