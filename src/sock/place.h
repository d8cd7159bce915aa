/* SPDX-License-Identifier: BSD-2-Clause */
/* Bytes in place (include/onramp/onramp.h), and the copies where that cannot be. */
#ifndef SOCK_PLACE_H
#define SOCK_PLACE_H

#include "sock/io.h"

/* Of sockets that are not ours, and for what cannot be in place: the memory is the library's, one
 * piece for each descriptor and direction (place_copy.c). */
int64_t copy_recv(int fd, struct iovec *iov, int flags);
int64_t copy_hand_back(int fd, size_t n);
int64_t copy_reserve(int fd, size_t want, void **ret);
int64_t copy_commit(int fd, struct ent e, size_t n);
void copy_forget(int fd);	/* the descriptor is closed */

#endif
