/* SPDX-License-Identifier: BSD-2-Clause */
/* Checksums against a naive one at all small lengths and offsets, SipHash against its
 * authors' vectors, the generator's ranges, and rates in four bytes. */
#include "test/unit/panic.h"

#include "base/csum.h"
#include "base/hash.h"
#include "base/prng.h"
#include "base/rate32.h"

/* RFC 1071, word by word as the RFC says it, big-endian. */
static uint16_t naive(const uint8_t *p, size_t n)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (uint64_t)p[i] << (i & 1 ? 0 : 8);
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

/* The sum as it would be read from the packet. */
static uint16_t wire(uint64_t sum)
{
	uint16_t c = csum_finish(sum);

	return get_be16(&c);
}

static csum_fn variants[3];

static void test_csum_small(void **state)
{
	static uint8_t mem[1024];
	struct prng r;

	(void)state;
	prng_seed(&r, 1);
	for (unsigned i = 0; i < sizeof(mem); i++)
		mem[i] = (uint8_t)prng_u64(&r);
	for (unsigned v = 0; v < n_elems(variants); v++)
		for (size_t off = 0; off < 40; off++)
			for (size_t n = 0; n < 400; n++)
				assert_int_equal(wire(variants[v](mem + off, n, 0)), naive(mem + off, n));
}

static void test_csum_extremes(void **state)
{
	static uint8_t mem[70000];

	(void)state;
	for (unsigned v = 0; v < n_elems(variants); v++) {
		memset(mem, 0xff, sizeof(mem));
		for (size_t n = 65500; n < 65540; n++)
			assert_int_equal(wire(variants[v](mem + (n & 7), n, 0)), naive(mem + (n & 7), n));
		/* A carry out of 64 bits at each addition. */
		assert_int_equal(wire(variants[v](mem, 64, UINT64_MAX)), naive(mem, 64));
		memset(mem, 0, sizeof(mem));
		assert_int_equal(csum_finish(variants[v](mem, 65535, 0)), 0xffff);
	}
}

static void test_csum_pieces(void **state)
{
	static uint8_t mem[3000];
	struct prng r;

	(void)state;
	prng_seed(&r, 2);
	for (unsigned i = 0; i < sizeof(mem); i++)
		mem[i] = (uint8_t)prng_u64(&r);
	for (unsigned round = 0; round < 3000; round++) {
		csum_fn fn = variants[round % n_elems(variants)];
		size_t total = prng_below(&r, sizeof(mem)), at = 0;
		uint64_t sum = 0;

		while (at < total) {
			size_t n = 1 + prng_below(&r, (uint32_t)(total - at));

			sum = csum_join(sum, fn(mem + at, n, 0), at);
			at += n;
		}
		assert_int_equal(wire(sum), naive(mem, total));
	}
}

static void test_csum_verify(void **state)
{
	uint8_t mem[64];
	uint8_t words[6] = { 0xc0, 0xa8, 0x00, 0x01, 0x12, 0x34 };
	struct prng r;

	(void)state;
	prng_seed(&r, 3);
	for (unsigned i = 0; i < sizeof(mem); i++)
		mem[i] = (uint8_t)prng_u64(&r);
	memset(mem + 16, 0, 2);
	uint16_t c = csum_finish(csum_add_scalar(mem, sizeof(mem), 0));

	memcpy(mem + 16, &c, 2);
	assert_int_equal(csum_finish(csum_add_scalar(mem, sizeof(mem), 0)), 0);
	mem[5] ^= 0x10;
	assert_int_not_equal(csum_finish(csum_add_scalar(mem, sizeof(mem), 0)), 0);

	uint64_t sum = csum_add_u16(csum_add_u32(0, 0xc0a80001), 0x1234);

	assert_int_equal(csum_fold(sum), csum_fold(csum_add_scalar(words, sizeof(words), 0)));
}

/* First entries of vectors_sip64 of the reference implementation: key 00..0f, input 00.. */
static void test_siphash(void **state)
{
	static const uint64_t want24[] = {
		0x726fdb47dd0e0e31ull, 0x74f839c593dc67fdull, 0x0d6c8009d9a94f5aull,
		0x85676696d7fb7e2dull, 0xcf2794e0277187b7ull, 0x18765564cd99a68dull,
		0xcbc9466e58fee3ceull, 0xab0200f58b01d137ull, 0x93f5f5799a932462ull,
	};
	uint64_t key[2] = { 0x0706050403020100ull, 0x0f0e0d0c0b0a0908ull };
	uint8_t in[64];

	(void)state;
	for (unsigned i = 0; i < sizeof(in); i++)
		in[i] = (uint8_t)i;
	for (unsigned n = 0; n < n_elems(want24); n++)
		assert_true(siphash24(key, in, n) == want24[n]);
	/* 15 bytes: the paper's own example (appendix A). */
	assert_true(siphash24(key, in, 15) == 0xa129ca6149be45e5ull);
	assert_true(siphash13(key, in, 15) != siphash24(key, in, 15));
	assert_int_not_equal(hash_bytes(key, in, 8, 1), hash_bytes(key, in, 8, 2));
}

static void test_hash_spreads(void **state)
{
	uint64_t key[2] = { 1, 2 };
	unsigned n[64] = { 0 };

	(void)state;
	for (uint32_t i = 0; i < 64000; i++)
		n[hash_bytes(key, &i, sizeof(i), 7) & 63]++;
	for (unsigned i = 0; i < 64; i++)
		assert_in_range(n[i], 850, 1150);
}

/* What real peers look like: one address, ports in a row; a prefix full of addresses. */
static void test_flows_spread(void **state)
{
	static const uint64_t keys[3][4] = {
		{ 0x243f6a8885a308d3, 0x13198a2e03707344, 0xa4093822299f31d0, 0x082efa98ec4e6c89 },
		{ 0x452821e638d01377, 0xbe5466cf34e90c6c, 0xc0ac29b7c97c50dd, 0x3f84d5b5b5470917 },
		{ 0x9216d5d98979fb1b, 0xd1310ba698dfb5ac, 0x2ffd72dbd01adfb7, 0xb8e1afed6a267e96 },
	};

	(void)state;
	for (unsigned k = 0; k < n_elems(keys); k++)
		for (unsigned kind = 0; kind < 4; kind++) {
			unsigned n[1024] = { 0 };

			for (uint32_t i = 0; i < 65536; i++) {
				struct ipaddr l = ip_from4(0x0a000001), r = ip_from4(0x0a000002);
				uint64_t rest = 6ull << 32 | 443u << 16 | 40000;

				if (kind == 0)
					rest += i - 32768;		/* remote ports */
				else if (kind == 1)
					rest ^= (uint64_t)i << 16;	/* local ports */
				else if (kind == 2)
					r = ip_from4(0x0a000000 + i);	/* remote hosts */
				else
					memcpy(r.b, &i, 4);		/* IPv6 prefixes */
				n[hash_flow(keys[k], &l, &r, rest) & 1023]++;
			}
			/* 64 each; a multiplicative hash may be more even than chance, or less. */
			for (unsigned i = 0; i < 1024; i++)
				assert_in_range(n[i], 0, 192);
		}
}

static void test_prng(void **state)
{
	struct prng a, b;
	unsigned hits = 0;

	(void)state;
	prng_seed(&a, 42);
	prng_seed(&b, 42);
	for (unsigned i = 0; i < 10000; i++) {
		uint64_t x = prng_u64(&a);

		assert_true(x == prng_u64(&b));
		assert_in_range(prng_below(&a, 7), 0, 6);
		prng_below(&b, 7);
	}
	for (unsigned i = 0; i < 100000; i++)
		hits += prng_chance(&a, 250000);
	assert_in_range(hits, 24000, 26000);
}

/* ---- rates in four bytes ------------------------------------------------------------------------ */

static void rate_holds(uint64_t v)
{
	uint64_t got = rate32_get(rate32_of(v));

	assert_true(got <= v);
	if (v < 1ull << 28)
		assert_true(got == v);
	else if (v < 1ull << 58)
		assert_true((v - got) < v >> 27);
	else
		assert_true(got == (1ull << 58) - (1ull << 30));
	/* What can be kept is kept as it is. */
	assert_true(rate32_of(got).v == rate32_of(v).v);
	/* Order. */
	assert_true(v == 0 || rate32_of(v - 1).v <= rate32_of(v).v);
	assert_true(v == UINT64_MAX || rate32_of(v + 1).v >= rate32_of(v).v);
}

static void test_rate32(void **state)
{
	struct prng r;

	(void)state;
	prng_seed(&r, 7);
	rate_holds(0);
	rate_holds(UINT64_MAX);
	for (unsigned bit = 0; bit < 64; bit++) {
		for (unsigned i = 0; i < 3000; i++) {
			rate_holds((1ull << bit) + i);
			rate_holds((1ull << bit) - i);
			rate_holds((1ull << bit) + prng_u64(&r) % (1ull << bit));
		}
	}
	/* Each code is a rate of its own, greater than the one before. */
	for (uint64_t code = 1; code <= UINT32_MAX; code += 1 + prng_u64(&r) % 4096) {
		struct rate32 a = { (uint32_t)code - 1 }, b = { (uint32_t)code };

		assert_true(rate32_get(a) < rate32_get(b));
		assert_true(rate32_of(rate32_get(b)).v == b.v);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_csum_small),
		cmocka_unit_test(test_csum_extremes),
		cmocka_unit_test(test_csum_pieces),
		cmocka_unit_test(test_csum_verify),
		cmocka_unit_test(test_siphash),
		cmocka_unit_test(test_hash_spreads),
		cmocka_unit_test(test_flows_spread),
		cmocka_unit_test(test_prng),
		cmocka_unit_test(test_rate32),
	};

	variants[0] = csum_add_scalar;
	variants[1] = csum_best();
	/* The wide one directly where it can run; csum_best() says whether. */
	variants[2] = csum_best() == csum_add_avx2 ? csum_add_avx2 : csum_add_scalar;
	return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
