/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The Internet checksum over memory (csum.h says what a sum is).
 *
 * Because 2^16 = 1 modulo 65535, words of any multiple of 16 bits may be added: 64 at a time
 * with the carry brought round (scalar), or 32-bit halves widened into 64-bit lanes that
 * cannot overflow below 16 GiB (AVX2). Both take an unaligned start as it is.
 */
#include "base/csum.h"

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Fewer than eight bytes, padded with zeros behind. */
static inline uint64_t load_tail(const uint8_t *p, size_t n)
{
	uint64_t v = 0;
	uint32_t a;
	uint16_t b;
	size_t at = 0;

	if (n & 4) {
		memcpy(&a, p, 4);
		v = a;
		at = 4;
	}
	if (n & 2) {
		memcpy(&b, p + at, 2);
		v |= (uint64_t)b << 8 * at;
		at += 2;
	}
	if (n & 1)
		v |= (uint64_t)p[at] << 8 * at;
	return v;
}

uint64_t csum_add_scalar(const void *mem, size_t n, uint64_t sum)
{
	const uint8_t *p = mem;
	unsigned __int128 a = sum, b = 0;

	for (; n >= 32; n -= 32, p += 32) {
		a += load64(p);
		b += load64(p + 8);
		a += load64(p + 16);
		b += load64(p + 24);
	}
	for (; n >= 8; n -= 8, p += 8)
		a += load64(p);
	if (n)
		b += load_tail(p, n);
	a += b;
	return csum_add64((uint64_t)a, (uint64_t)(a >> 64));
}

#if defined(__x86_64__)
#include <immintrin.h>

/* Below this the set-up costs more than it saves. */
#define WORTH_IT 128

target_isa("avx2")
uint64_t csum_add_avx2(const void *mem, size_t n, uint64_t sum)
{
	const uint8_t *p = mem;
	const __m256i low = _mm256_set1_epi64x(0xffffffff);
	__m256i a = _mm256_setzero_si256(), b = a, c = a, d = a;
	uint64_t lane[4];

	if (n < WORTH_IT)
		return csum_add_scalar(p, n, sum);
	for (; n >= 64; n -= 64, p += 64) {
		__m256i x = _mm256_loadu_si256((const __m256i *)(const void *)p);
		__m256i y = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));

		a = _mm256_add_epi64(a, _mm256_and_si256(x, low));
		b = _mm256_add_epi64(b, _mm256_srli_epi64(x, 32));
		c = _mm256_add_epi64(c, _mm256_and_si256(y, low));
		d = _mm256_add_epi64(d, _mm256_srli_epi64(y, 32));
	}
	a = _mm256_add_epi64(_mm256_add_epi64(a, b), _mm256_add_epi64(c, d));
	_mm256_storeu_si256((__m256i *)(void *)lane, a);
	for (unsigned i = 0; i < 4; i++)
		sum = csum_add64(sum, lane[i]);
	return n ? csum_add_scalar(p, n, sum) : sum;
}
#else
uint64_t csum_add_avx2(const void *mem, size_t n, uint64_t sum)
{
	return csum_add_scalar(mem, n, sum);
}
#endif
