/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors in messages (SCM_RIGHTS). Who receives one is not to be known when it is sent: it may
 * lie in a queue, and its reader may be anybody. So what is sent is the kernel's: a connection
 * goes on through a bridge, a listener and a datagram socket are given back to the kernel first.
 * The sender keeps using its own number, which now means the same as the receiver's.
 *
 * A program that passes the connections of a listener on, one after another, gets them from the
 * kernel after the first: there they are carried by nobody.
 *
 * What is received and listens is listened to by us as well: that is how a new process of a
 * server takes over from its predecessor.
 */
#include "sock/handback.h"
#include "sock/io.h"

#include <netinet/in.h>
#include <sys/socket.h>

/* The listener of this process that such a connection came by; -1. */
static int listener_of(uint16_t port)
{
	uint32_t fd, n = min_u32(self.tab->n_used, N_FDS);

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);
		const struct sk *l = e.kind == FD_LISTEN ? sk_peek(e.h) : NULL;

		if (l && l->lport == port)
			return (int)fd;
	}
	return -1;
}

static void send_one(int fd)
{
	struct ent e = fd_get(fd);
	const struct sk *sk = ent_is_ours(e) ? sk_peek(e.h) : NULL;
	int l = sk && e.kind == FD_TCP ? listener_of(sk->lport) : -1;

	if (!ent_is_ours(e))
		return;
	if (hand_back(fd, REASON_BRIDGED) == 0 && l >= 0)
		listener_return(l, fd_get(l));
}

static void each_right(const struct msghdr *m, void (*fn)(int))
{
	struct cmsghdr *c;
	size_t i, n;
	int fd;

	for (c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR((struct msghdr *)(uintptr_t)m, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len < CMSG_LEN(0))
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (i = 0; i < n; i++) {
			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			fn(fd);
		}
	}
}

void rights_send(const struct msghdr *m)
{
	if (stack_have())
		each_right(m, send_one);
}

static void received_one(int fd) { adopt(fd, false); }

void sk_received(const struct msghdr *m)
{
	if (!me.in_turn && self.state != ST_NEVER && self.state != ST_LEFT)
		each_right(m, received_one);
}
