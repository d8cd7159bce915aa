/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A rate in four bytes, for structures of which there are many: bytes a second as a small floating
 * number, five bits of exponent above 27 of mantissa, the leading one of which is not kept.
 *
 *	below 2^28 (2.1 Gb/s)	the number itself, exact
 *	above			too small by less than one part in 2^27
 *	from 2^58 on		the largest there is, 2^58 - 2^30
 *
 * Greater rates have greater codes, so codes may be compared as they are; 0 is 0. Any code is some
 * rate: nothing that is read from shared memory has to be checked first.
 */
#ifndef BASE_RATE32_H
#define BASE_RATE32_H

#include "base/types.h"

struct rate32 { uint32_t v; };

#define RATE32_BITS 27		/* of the mantissa that are kept */

static inline struct rate32 rate32_of(uint64_t bytes_s)
{
	uint32_t shift;

	if (bytes_s >> (RATE32_BITS + 1) == 0)
		return (struct rate32){ (uint32_t)bytes_s };
	if (bytes_s >> 58)
		return (struct rate32){ UINT32_MAX };
	shift = 63 - RATE32_BITS - (uint32_t)__builtin_clzll(bytes_s);
	/* The leading one adds 1 to the exponent, which begins at 1 for numbers that have it. */
	return (struct rate32){ (shift << RATE32_BITS) + (uint32_t)(bytes_s >> shift) };
}

static inline uint64_t rate32_get(struct rate32 r)
{
	uint32_t exponent = r.v >> RATE32_BITS;

	if (exponent < 2)
		return r.v;
	return ((uint64_t)(r.v & ((1u << RATE32_BITS) - 1)) + (1u << RATE32_BITS)) << (exponent - 1);
}

#endif
