/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a copy stands in the user's vectors: streams of both providers move bytes by it. */
#ifndef BASE_CURSOR_H
#define BASE_CURSOR_H

#include <sys/uio.h>

#include "base/types.h"

struct cursor {
	const struct iovec *iov;
	uint32_t n;		/* iovecs left, the present one included */
	size_t	 off;		/* into the present one */
};

/* What one call may move: at most INT32_MAX, as the kernel's MAX_RW_COUNT nearly is. */
static inline uint64_t cursor_bytes(const struct iovec *iov, uint32_t n)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < n; i++)
		sum += iov[i].iov_len;
	return min_u64(sum, INT32_MAX);
}

/* Moves n bytes between the vectors and `mem`; there are that many left. */
static inline void cursor_move(struct cursor *c, uint8_t *mem, uint32_t n, bool to_user)
{
	while (n > 0 && c->n > 0) {
		uint32_t k = (uint32_t)min_u64(n, c->iov->iov_len - c->off);
		uint8_t *u = (uint8_t *)c->iov->iov_base + c->off;

		if (k && to_user)
			memcpy(u, mem, k);
		else if (k)
			memcpy(mem, u, k);
		mem += k;
		n -= k;
		c->off += k;
		if (c->off == c->iov->iov_len) {
			c->iov++;
			c->n--;
			c->off = 0;
		}
	}
}

#endif
