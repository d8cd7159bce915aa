/* SPDX-License-Identifier: BSD-2-Clause */
/* Between the files of this folder: what waits to be sent, and the end of a socket. */
#ifndef CORE_UDP_WAITING_H
#define CORE_UDP_WAITING_H

#include "core/stack/stack.h"

/* Sends what waits as far as it will go. 0: nothing waits any more; -EAGAIN: what is left
 * waits for neighbours; -ENOBUFS: for the ring. */
must_check int udp_flush(struct turn *t, struct sk *sk);
void udp_drop_waiting(struct turn *t, struct sk *sk);
/* An error of our own for the queue (SO_EE_ORIGIN_LOCAL), if the socket wants it there. */
void udp_local_error(struct turn *t, struct sk *sk, const struct ipaddr *dst, int err, uint32_t info);
/* Gives everything back; the socket is gone. */
void udp_finish(struct turn *t, struct sk *sk);

#endif
