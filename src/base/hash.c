/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SipHash as its authors define it; little-endian loads, as all our machines are. Checked in
 * test/unit/base.c against the vectors of the reference implementation.
 */
#include "base/hash.h"

struct sip { uint64_t v0, v1, v2, v3; };

static inline uint64_t rotl(uint64_t x, unsigned n) { return x << n | x >> (64 - n); }

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v1 = rotl(s->v1, 13) ^ s->v0;
	s->v0 = rotl(s->v0, 32);
	s->v2 += s->v3;
	s->v3 = rotl(s->v3, 16) ^ s->v2;
	s->v0 += s->v3;
	s->v3 = rotl(s->v3, 21) ^ s->v0;
	s->v2 += s->v1;
	s->v1 = rotl(s->v1, 17) ^ s->v2;
	s->v2 = rotl(s->v2, 32);
}

/* Inlined twice with constant round counts. */
static inline uint64_t sip(const uint64_t key[2], const uint8_t *p, size_t n, unsigned c, unsigned d)
{
	struct sip s = {
		key[0] ^ 0x736f6d6570736575ull, key[1] ^ 0x646f72616e646f6dull,
		key[0] ^ 0x6c7967656e657261ull, key[1] ^ 0x7465646279746573ull,
	};
	uint64_t last = (uint64_t)n << 56;
	uint64_t m;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&m, p, sizeof(m));
		s.v3 ^= m;
		for (unsigned i = 0; i < c; i++)
			sip_round(&s);
		s.v0 ^= m;
	}
	for (unsigned i = 0; i < n; i++)
		last |= (uint64_t)p[i] << 8 * i;
	s.v3 ^= last;
	for (unsigned i = 0; i < c; i++)
		sip_round(&s);
	s.v0 ^= last;
	s.v2 ^= 0xff;
	for (unsigned i = 0; i < d; i++)
		sip_round(&s);
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t siphash24(const uint64_t key[2], const void *p, size_t n)
{
	return sip(key, p, n, 2, 4);
}

uint64_t siphash13(const uint64_t key[2], const void *p, size_t n)
{
	return sip(key, p, n, 1, 3);
}
