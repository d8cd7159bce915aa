/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Keyed hashes (SipHash, Aumasson and Bernstein 2012). The 2-4 variant is for values that a
 * peer sees and must not predict (initial sequence numbers, RFC 6528; port offsets, RFC 6056);
 * the 1-3 variant for hash tables, where only collisions must be out of the peer's reach.
 *
 * hash_flow() is for the one table that every packet looks into: NH (RFC 4418 5.2) over
 * 64-bit words, universal under a secret key, in a tenth of the time. Its value is seen by
 * nobody but the table.
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

/* key is all of seg->secret. */
static inline uint32_t hash_flow(const uint64_t key[4], const struct ipaddr *a,
				 const struct ipaddr *b, uint64_t rest)
{
	uint64_t w[4];
	unsigned __int128 sum;
	uint64_t h;

	memcpy(w, a->b, 16);
	memcpy(w + 2, b->b, 16);
	sum = (unsigned __int128)(w[0] + key[0]) * (w[1] + key[1]);
	sum += (unsigned __int128)(w[2] + key[2]) * (w[3] + key[3]);
	sum += (unsigned __int128)(rest + (key[0] ^ key[3])) * ((key[1] ^ key[2]) | 1);
	h = (uint64_t)sum ^ (uint64_t)(sum >> 64);
	return (uint32_t)(h * 0x9e3779b97f4a7c15ull >> 32);
}

#endif
