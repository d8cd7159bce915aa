/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Scalars that must not be confused: network-order words, sequence numbers, addresses.
 * Each is a one-member struct, so that a mix-up is a compile error and costs nothing.
 */
#ifndef BASE_TYPES_H
#define BASE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/compiler.h"

typedef struct { uint16_t raw; } be16_t;
typedef struct { uint32_t raw; } be32_t;

static inline be16_t to_be16(uint16_t v) { return (be16_t){ __builtin_bswap16(v) }; }
static inline be32_t to_be32(uint32_t v) { return (be32_t){ __builtin_bswap32(v) }; }
static inline uint16_t of_be16(be16_t v) { return __builtin_bswap16(v.raw); }
static inline uint32_t of_be32(be32_t v) { return __builtin_bswap32(v.raw); }

/* Reads and writes network-order integers at any alignment. */
static inline uint16_t get_be16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap16(v);
}

static inline uint32_t get_be32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return __builtin_bswap32(v);
}

static inline void put_be16(void *p, uint16_t v)
{
	v = __builtin_bswap16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void put_be32(void *p, uint32_t v)
{
	v = __builtin_bswap32(v);
	memcpy(p, &v, sizeof(v));
}

/* TCP sequence numbers: arithmetic modulo 2^32 (RFC 9293 3.4). */
typedef struct { uint32_t v; } seq_t;

static inline seq_t seq_of(uint32_t v) { return (seq_t){ v }; }
static inline seq_t seq_add(seq_t a, uint32_t n) { return (seq_t){ a.v + n }; }
static inline seq_t seq_sub(seq_t a, uint32_t n) { return (seq_t){ a.v - n }; }
/* Distance from b to a, taken as signed: positive when a is later. */
static inline int32_t seq_diff(seq_t a, seq_t b) { return (int32_t)(a.v - b.v); }
static inline bool seq_eq(seq_t a, seq_t b) { return a.v == b.v; }
static inline bool seq_lt(seq_t a, seq_t b) { return seq_diff(a, b) < 0; }
static inline bool seq_le(seq_t a, seq_t b) { return seq_diff(a, b) <= 0; }
static inline bool seq_gt(seq_t a, seq_t b) { return seq_diff(a, b) > 0; }
static inline bool seq_ge(seq_t a, seq_t b) { return seq_diff(a, b) >= 0; }
static inline seq_t seq_max(seq_t a, seq_t b) { return seq_gt(a, b) ? a : b; }
static inline seq_t seq_min(seq_t a, seq_t b) { return seq_lt(a, b) ? a : b; }

/*
 * An IP address of either family: IPv6 as it is, IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2).
 * All zero is the IPv6 wildcard; ::ffff:0.0.0.0 the IPv4 one.
 */
struct ipaddr { uint8_t b[16]; };

static inline bool ip_eq(const struct ipaddr *a, const struct ipaddr *b)
{
	return memcmp(a->b, b->b, 16) == 0;
}

static inline bool ip_is4(const struct ipaddr *a)
{
	static const uint8_t prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };

	return memcmp(a->b, prefix, 12) == 0;
}

static inline struct ipaddr ip_from4(uint32_t host_order)
{
	struct ipaddr a = { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff } };

	put_be32(a.b + 12, host_order);
	return a;
}

/* The IPv4 part in host order; only for addresses for which ip_is4() holds. */
static inline uint32_t ip_to4(const struct ipaddr *a) { return get_be32(a->b + 12); }

/* True for ::, and for ::ffff:0.0.0.0. */
static inline bool ip_is_any(const struct ipaddr *a)
{
	static const uint8_t zero[16];

	return memcmp(a->b, zero, 10) == 0 && memcmp(a->b + 12, zero, 4) == 0 &&
	       ((a->b[10] == 0 && a->b[11] == 0) || (a->b[10] == 0xff && a->b[11] == 0xff));
}

/* 127.0.0.0/8, or ::1. */
static inline bool ip_is_loopback(const struct ipaddr *a)
{
	static const struct ipaddr loopback6 = { { [15] = 1 } };

	return ip_is4(a) ? a->b[12] == 127 : ip_eq(a, &loopback6);
}

static inline uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static inline uint32_t max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }
static inline uint64_t min_u64(uint64_t a, uint64_t b) { return a < b ? a : b; }
static inline uint64_t max_u64(uint64_t a, uint64_t b) { return a > b ? a : b; }

#define NS_PER_US 1000ull
#define NS_PER_MS 1000000ull
#define NS_PER_S  1000000000ull
#define NEVER_NS  UINT64_MAX	/* an instant that does not come */

#endif
