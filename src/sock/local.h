/* SPDX-License-Identifier: BSD-2-Clause */
/* Peers on this host (local.c). */
#ifndef SOCK_LOCAL_H
#define SOCK_LOCAL_H

#include "sock/io.h"

struct local_open {
	struct ipaddr laddr, raddr;	/* laddr a wildcard: as the kernel would choose */
	uint16_t lport, rport;		/* lport 0: one of the leased */
	uint32_t rcvtimeo, sndtimeo;
	const struct tcp_opts *opts;
};

/* This host itself, by any of its addresses or a wildcard. Needs a stack. */
bool local_is(const struct ipaddr *to);
struct ipaddr local_target(const struct ipaddr *to);
/* REASON_NONE: e->h is the connection, established. REASON_LOCAL: the kernel's peer. */
must_check enum reason local_connect(struct ent *e, struct local_open *o);
/* SK_PASS: nobody of ours is there; the kernel sends it. */
int64_t local_dgram(struct ent e, const struct io *io, const struct udp_out *out);

#endif
