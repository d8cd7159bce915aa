/* SPDX-License-Identifier: BSD-2-Clause */
/* Giving a socket back to the kernel while it is in use, and taking one that the kernel has. */
#ifndef SOCK_HANDBACK_H
#define SOCK_HANDBACK_H

#include "sock/self.h"

/*
 * The descriptor (and its twins in this process) means a socket of the kernel's from now on: a
 * connection by way of a bridge, a listener or datagram socket as the one below it. 0; -EAGAIN in a
 * handler or sandbox, -ENOTCONN for a connection that is not established, -errno; then it is as it was.
 */
must_check int hand_back(int fd, enum reason why);
/* The same for good, listeners and all: what the program wants of it only the kernel does. */
must_check int return_to_kernel(int fd, enum reason why);
/* Before exec of a program without the library: what it is to inherit, and nobody else serves. */
void hand_back_for_exec(void);
/* A listener's next connections come by the kernel; those that came already are still accepted. */
void listener_return(int fd, struct ent e);
/* Accepting from a listener that was returned found no more of ours: the kernel's alone. */
void listener_finish(int fd);
bool listener_is_done(void);		/* time enough has passed for that */
/* A socket that another program made. If it listens it is accelerated like one of our own; but not if
 * it blocks: ours must not (accept.c), and the flag is everybody's. `manager`: who passed it does not
 * mind, for it only watches. */
void adopt(int fd, bool manager);
void handback_after_fork(void);

#endif
