/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Atomic access to words that live in shared layouts, where they are declared plain.
 *
 * peek and poke are relaxed: for words whose only writer is the holder of the turn and whose
 * readers without it merely ask "must anybody come?" (they look again under the turn).
 * acquire and release are for ring indices; the call names its partner.
 */
#ifndef BASE_ATOMIC_H
#define BASE_ATOMIC_H

#include <stdatomic.h>

#include "base/types.h"

static inline uint32_t peek32(const uint32_t *p)
{
	/* relaxed: one word, nothing read on its strength. */
	return atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)p, memory_order_relaxed);
}

static inline uint64_t peek64(const uint64_t *p)
{
	/* relaxed: one word, nothing read on its strength. */
	return atomic_load_explicit((_Atomic uint64_t *)(uintptr_t)p, memory_order_relaxed);
}

static inline void poke32(uint32_t *p, uint32_t v)
{
	/* relaxed: single writer; order comes from the turn's release. */
	atomic_store_explicit((_Atomic uint32_t *)p, v, memory_order_relaxed);
}

static inline void poke64(uint64_t *p, uint64_t v)
{
	/* relaxed: single writer; order comes from the turn's release. */
	atomic_store_explicit((_Atomic uint64_t *)p, v, memory_order_relaxed);
}

static inline uint32_t acquire32(const uint32_t *p)
{
	/* acq: pairs with the release32() that the caller names. */
	return atomic_load_explicit((_Atomic uint32_t *)(uintptr_t)p, memory_order_acquire);
}

static inline void release32(uint32_t *p, uint32_t v)
{
	/* rel: pairs with the acquire32() that the caller names. */
	atomic_store_explicit((_Atomic uint32_t *)p, v, memory_order_release);
}

#endif
