/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bytes that conversations send: a function of key and position, so that a receiver can
 * check any byte anywhere, and a byte that comes twice, late or shifted is not mistaken for
 * the right one.
 */
#include "sim/sim.h"

static uint64_t word_at(uint64_t key, uint64_t i)
{
	uint64_t z = key + i * 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

void stream_fill(uint64_t key, uint64_t pos, void *dst, size_t n)
{
	uint8_t *d = dst;

	while (n) {
		uint64_t v = word_at(key, pos / 8);
		size_t off = pos % 8, take = 8 - off < n ? 8 - off : n;

		memcpy(d, (const uint8_t *)&v + off, take);
		d += take;
		pos += take;
		n -= take;
	}
}

bool stream_same(uint64_t key, uint64_t pos, const void *src, size_t n)
{
	const uint8_t *s = src;

	while (n) {
		uint64_t v = word_at(key, pos / 8);
		size_t off = pos % 8, take = 8 - off < n ? 8 - off : n;

		if (memcmp(s, (const uint8_t *)&v + off, take))
			return false;
		s += take;
		pos += take;
		n -= take;
	}
	return true;
}
