/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections that go on in the kernel: for programs that do not have this library, and for other
 * processes that are handed one. docs/internals/processes.md tells the whole; here is what the
 * files share.
 *
 *	program			bridge (its own process, of the same stack)
 *	fd  kernel socket K1  <------>  K2   pump   accelerated connection  <------> peer
 *
 * K1 and K2 are the two ends of a TCP connection of the kernel, in a network namespace that holds
 * nothing else (pocket.c), so that they may bear the very addresses of the connection.
 */
#ifndef SOCK_BRIDGE_H
#define SOCK_BRIDGE_H

#include "sock/self.h"

/* One question on the bridge's channel, and one answer; K1 comes beside the answer. */
struct bridge_ask { uint32_t h; };
struct bridge_answer { int32_t err; };

#define BRIDGE_MAX 1024		/* connections of one bridge: x 128 KiB of buffers, as touched */

struct pocket_ends {
	struct ipaddr laddr, raddr;	/* the program's end, and its peer's */
	uint16_t lport, rport;
	bool	 family6;		/* of the program's descriptor */
};
/* A connection of the kernel between two sockets of this process, under those names if a namespace
 * is to be had, else under names of the loopback. -errno. */
must_check int pocket_pair(const struct pocket_ends *e, int *ret_program, int *ret_bridge);

/* What the message carries: one descriptor, or none (-1). 0, -EPIPE, -errno. */
must_check int bridge_send(int channel, const void *msg, size_t n, int fd);
must_check int bridge_recv(int channel, void *msg, size_t n, int *ret_fd);

#endif
