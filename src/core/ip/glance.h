/* SPDX-License-Identifier: BSD-2-Clause */
/* Reading the mirror under its seqlock (abi/mirror.h): begin, read, and ask whether it held. */
#ifndef CORE_IP_GLANCE_H
#define CORE_IP_GLANCE_H

#include "abi/mirror.h"
#include "base/atomic.h"

/* False: the agent is writing just now; nothing read before a true is worth keeping. */
static inline bool glance_begin(const struct mirror *m, uint32_t *ret_seq)
{
	/* acq: pairs with the release of an even seq in the agent's mirror writer */
	*ret_seq = acquire32(&m->seq);
	return !(*ret_seq & 1);
}

/* True: what was read since glance_begin() is one consistent state. */
static inline bool glance_end(const struct mirror *m, uint32_t seq)
{
	/* acq: pairs with the release fence after the agent has made seq odd */
	atomic_thread_fence(memory_order_acquire);
	return peek32(&m->seq) == seq;
}

/* True when the first `bits` bits of both are the same. */
static inline bool prefix_eq(const struct ipaddr *a, const struct ipaddr *b, uint32_t bits)
{
	uint32_t whole = min_u32(bits, 128) / 8, rest = bits < 128 ? bits % 8 : 0;

	if (memcmp(a->b, b->b, whole) != 0)
		return false;
	return !rest || (a->b[whole] ^ b->b[whole]) >> (8 - rest) == 0;
}

/* Prefix length of a local address in the 128-bit form. */
static inline uint32_t addr_bits(const struct mir_addr *a)
{
	return ip_is4(&a->addr) ? 96 + min_u32(a->prefix, 32) : min_u32(a->prefix, 128);
}

/* The subnet's broadcast address; IPv4 only, and only if the subnet is large enough for one. */
static inline bool is_broadcast_of(const struct mir_addr *a, const struct ipaddr *dst)
{
	uint32_t mask;

	if (!ip_is4(&a->addr) || !ip_is4(dst) || a->prefix == 0 || a->prefix >= 31)
		return false;
	mask = 0xffffffffu >> a->prefix;
	return ip_to4(dst) == (ip_to4(&a->addr) | mask);
}

static inline bool ip_is_multicast(const struct ipaddr *a)
{
	return ip_is4(a) ? (a->b[12] & 0xf0) == 0xe0 : a->b[0] == 0xff;
}

static inline bool ip_is_link_local6(const struct ipaddr *a)
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

#endif
