/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC32C over memory. Scalar: a byte a step, through a table that the preprocessor makes from
 * its eight basis entries, for the table of a CRC is linear: T[a ^ b] = T[a] ^ T[b].
 */
#include "base/crc32c.h"

/* T[1 << k]: that power of two brought through eight steps of the reflected polynomial 0x82f63b78. */
#define ENTRY(i) ((((i) >> 0 & 1) * 0xf26b8303u) ^ (((i) >> 1 & 1) * 0xe13b70f7u) ^ \
		  (((i) >> 2 & 1) * 0xc79a971fu) ^ (((i) >> 3 & 1) * 0x8ad958cfu) ^ \
		  (((i) >> 4 & 1) * 0x105ec76fu) ^ (((i) >> 5 & 1) * 0x20bd8edeu) ^ \
		  (((i) >> 6 & 1) * 0x417b1dbcu) ^ (((i) >> 7 & 1) * 0x82f63b78u))
#define ROW4(i)	 ENTRY(i), ENTRY((i) + 1), ENTRY((i) + 2), ENTRY((i) + 3)
#define ROW16(i) ROW4(i), ROW4((i) + 4), ROW4((i) + 8), ROW4((i) + 12)
#define ROW64(i) ROW16(i), ROW16((i) + 16), ROW16((i) + 32), ROW16((i) + 48)

static const uint32_t table[256] = { ROW64(0u), ROW64(64u), ROW64(128u), ROW64(192u) };

uint32_t crc32c_scalar(const void *mem, size_t n, uint32_t crc)
{
	const uint8_t *p = mem;

	crc = ~crc;
	for (; n; n--, p++)
		crc = crc >> 8 ^ table[(crc ^ *p) & 0xff];
	return ~crc;
}

#if defined(__x86_64__)
#include <nmmintrin.h>

target_isa("sse4.2")
uint32_t crc32c_sse42(const void *mem, size_t n, uint32_t crc)
{
	const uint8_t *p = mem;
	uint64_t a = (uint32_t)~crc, v;

	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&v, p, 8);
		a = _mm_crc32_u64(a, v);
	}
	for (; n; n--, p++)
		a = _mm_crc32_u8((uint32_t)a, *p);
	return ~(uint32_t)a;
}
#else
uint32_t crc32c_sse42(const void *mem, size_t n, uint32_t crc)
{
	return crc32c_scalar(mem, n, crc);
}
#endif
