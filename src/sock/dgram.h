/* SPDX-License-Identifier: BSD-2-Clause */
/* Datagram sockets: their options, and what goes along with a datagram (control messages). */
#ifndef SOCK_DGRAM_H
#define SOCK_DGRAM_H

#include "sock/io.h"

/* udp_opts.wants: what recvmsg() is to tell. */
#define WANT_PKTINFO4	(1u << 0)
#define WANT_TTL	(1u << 1)
#define WANT_TOS	(1u << 2)
#define WANT_ORIGDST4	(1u << 3)
#define WANT_PKTINFO6	(1u << 4)
#define WANT_HOPLIMIT	(1u << 5)
#define WANT_TCLASS	(1u << 6)
#define WANT_ORIGDST6	(1u << 7)
#define WANT_RXQ_OVFL	(1u << 8)

/* ---- options (dgram_opts.c) ---------------------------------------------------------------------- */

/* What setsockopt() did to the kernel's socket before it became ours. */
void dgram_opts_read_back(int fd, struct ent e, struct udp_opts *o);
/* An option was set, and the kernel took it: so do we. False: it is one that only the kernel has, or
 * one that we have, to a value that we have not; the socket is to be the kernel's from now on. */
must_check bool dgram_opt_noted(struct udp_opts *o, int level, int name, const void *v, socklen_t n);
/* The socket goes back to the kernel, which gets its datagrams from now on; those that came already are
 * still read. The descriptor stays as it is but for the reason. */
void dgram_return(int fd, struct ent e, enum reason why);

/* ---- control messages (cmsg.c) --------------------------------------------------------------------- */

/* The program's buffer, filled as Linux's put_cmsg() does: what does not fit is cut off, and
 * MSG_CTRUNC says so. */
struct cmsg_out { uint8_t *at; size_t room, used; int flags; };
void cmsg_put(struct cmsg_out *c, int level, int type, const void *p, size_t n);
/* What a datagram, or an error, brings along. */
void cmsg_stamps(struct cmsg_out *c, const struct udp_opts *o, const struct udp_arrival *a);
void cmsg_arrival(struct cmsg_out *c, const struct udp_opts *o, const struct udp_arrival *a, bool v6, bool error);

/* What a send's control messages ask. */
enum cmsg_in { CMSG_OURS, CMSG_KERNELS };	/* or: the kernel knows it, or knows what is wrong with it */
struct cmsg_wish { struct udp_out out; struct ipaddr src; };
must_check enum cmsg_in cmsg_parse(const struct io *io, bool is4, struct cmsg_wish *ret);

#endif
