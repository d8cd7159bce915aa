/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Internet checksum (RFC 1071) as one running sum.
 *
 * A sum is a uint64_t: bytes taken as 16-bit words in the machine's own order, added modulo
 * 2^64 - 1 (end-around carry). It is never byte-swapped: RFC 1071 2(B) makes the folded sum
 * come out in memory order, so csum_finish() is stored with memcpy, not put_be16().
 *
 *	uint64_t sum = ip_pseudo(...);
 *	sum = t->map->csum(header, n, sum);		(checksum field zero)
 *	uint16_t c = csum_finish(sum);
 *	memcpy(header + off, &c, 2);
 *
 * Pieces. csum_fn takes its bytes as beginning at an even offset of the packet and pads an
 * odd tail with a zero byte. A piece that begins at an odd offset goes through csum_join():
 * multiplying by 256 modulo 2^64 - 1, a rotation, moves each of its bytes to the other half
 * of its word. pkt_csum() (core/stack) does all this for a packet's frames.
 *
 * Verification: the sum over data and its checksum field folds to 0xffff, that is,
 * csum_finish() gives 0. A sum over nothing but zero bytes is 0 and finishes to 0xffff.
 */
#ifndef BASE_CSUM_H
#define BASE_CSUM_H

#include "base/types.h"

typedef uint64_t (*csum_fn)(const void *p, size_t n, uint64_t sum);

uint64_t csum_add_scalar(const void *p, size_t n, uint64_t sum);
/* Only where the CPU has AVX2; elsewhere (not x86) it is csum_add_scalar() by another name. */
uint64_t csum_add_avx2(const void *p, size_t n, uint64_t sum);
/* The fastest of this CPU; in host/ (csum_best.c), because the core does not ask the CPU. */
csum_fn csum_best(void);

/* a + b with the carry brought round. */
static inline uint64_t csum_add64(uint64_t a, uint64_t b)
{
	uint64_t s = a + b;

	return s + (s < a);
}

/* Adds 16- and 32-bit numbers given in host order, as if they lay in the packet in network
 * order at an even offset. */
static inline uint64_t csum_add_u16(uint64_t sum, uint16_t v)
{
	return csum_add64(sum, __builtin_bswap16(v));
}

static inline uint64_t csum_add_u32(uint64_t sum, uint32_t v)
{
	return csum_add64(sum, __builtin_bswap32(v));
}

/* Joins the sum of a piece, computed by itself, that begins at offset `at` of the packet. */
static inline uint64_t csum_join(uint64_t sum, uint64_t piece, size_t at)
{
	if (at & 1)
		piece = piece << 8 | piece >> 56;
	return csum_add64(sum, piece);
}

/* Folded to 16 bits, not complemented: what an unfinished checksum field holds (F10). */
static inline uint16_t csum_fold(uint64_t sum)
{
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffffffu) + (sum >> 32);
	sum = (sum & 0xffffu) + (sum >> 16);
	sum = (sum & 0xffffu) + (sum >> 16);
	return (uint16_t)sum;
}

/* The checksum, ready to be stored as memory (native order, no swap). */
static inline uint16_t csum_finish(uint64_t sum) { return (uint16_t)~csum_fold(sum); }

#endif
