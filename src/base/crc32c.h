/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CRC32C (Castagnoli; RFC 3720 appendix B.4): what protects the data of apertures from end to
 * end (S2-OUT-08). Ethernet's own CRC is made anew at each hop and sees nothing that a
 * switch spoilt inside.
 *
 * A running value begins as 0 and ends as the checksum; crc32c(b, n, crc32c(a, m, 0)) is that
 * of a followed by b.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include "base/types.h"

typedef uint32_t (*crc32c_fn)(const void *p, size_t n, uint32_t crc);

uint32_t crc32c_scalar(const void *p, size_t n, uint32_t crc);
/* Only where the CPU has SSE4.2; elsewhere (not x86) it is crc32c_scalar() by another name. */
uint32_t crc32c_sse42(const void *p, size_t n, uint32_t crc);
/* The fastest of this CPU; in host/ (crc32c_best.c), because the core does not ask the CPU. */
crc32c_fn crc32c_best(void);

#endif
