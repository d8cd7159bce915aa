/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keyed hashes (SipHash, Aumasson and Bernstein 2012). The 2-4 variant is for values that a
 * peer sees and must not predict (initial sequence numbers, RFC 6528; port offsets, RFC 6056);
 * the 1-3 variant for hash tables, where only collisions must be out of the peer's reach.
 */
#ifndef BASE_HASH_H
#define BASE_HASH_H

#include "base/types.h"

uint64_t siphash24(const uint64_t key[2], const void *p, size_t n);
uint64_t siphash13(const uint64_t key[2], const void *p, size_t n);

/* 32 bits for a bucket; `salt` keeps tables apart. key is seg->secret (its first half). */
static inline uint32_t hash_bytes(const uint64_t key[2], const void *p, size_t n, uint32_t salt)
{
	uint64_t k[2] = { key[0] ^ salt, key[1] };
	uint64_t h = siphash13(k, p, n);

	return (uint32_t)(h ^ h >> 32);
}

#endif
