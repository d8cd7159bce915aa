/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chance that replays from a seed: xoshiro256** (Blackman and Vigna), seeded by splitmix64.
 * For the simulator and for tests; never for keys.
 */
#ifndef BASE_PRNG_H
#define BASE_PRNG_H

#include "base/types.h"

struct prng { uint64_t s[4]; };

static inline void prng_seed(struct prng *r, uint64_t seed)
{
	for (unsigned i = 0; i < 4; i++) {
		uint64_t z = seed += 0x9e3779b97f4a7c15ull;

		z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
		z = (z ^ z >> 27) * 0x94d049bb133111ebull;
		r->s[i] = z ^ z >> 31;
	}
}

static inline uint64_t prng_u64(struct prng *r)
{
	uint64_t *s = r->s;
	uint64_t x = s[1] * 5;
	uint64_t ret = (x << 7 | x >> 57) * 9;
	uint64_t u = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= u;
	s[3] = s[3] << 45 | s[3] >> 19;
	return ret;
}

/* Evenly from [0, n); n > 0. The bias of multiply-and-shift is below n / 2^32. */
static inline uint32_t prng_below(struct prng *r, uint32_t n)
{
	return (uint32_t)((prng_u64(r) >> 32) * n >> 32);
}

/* True in `ppm` of a million throws. */
static inline bool prng_chance(struct prng *r, uint32_t ppm)
{
	return prng_below(r, 1000000) < ppm;
}

#endif
