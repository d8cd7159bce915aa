/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share. */
#ifndef CHAIN_PARTS_H
#define CHAIN_PARTS_H

#include "chain/chain.h"
#include "host/sys.h"
#include "onramp/provider.h"

#include <netinet/in.h>

#define CHAIN_ENTRIES	8
#define CHAIN_ONRAMP	16	/* beside ONRAMP_FILTER and ONRAMP_BASE */
#define CHAIN_KERNEL	17
#define CHAIN_TYPE	(~(SOCK_NONBLOCK | SOCK_CLOEXEC))

struct layer {
	struct onramp_layer pub;	/* first */
	const struct onramp_ops *ops;
	bool is_open;		/* its provider was told of it */
};

/* One socket. */
struct chained {
	uint32_t refs, used;	/* atomic; used: from before the first reference until after the last */
	uint32_t n;
	uint32_t err;		/* atomic; what came after some messages of recvmmsg(), for the next call to tell */
	struct layer layers[CHAIN_ENTRIES];
};

extern const struct chain_below *chain_below;
extern const struct onramp_ops chain_next;
extern thread_fast uint32_t chain_depth;	/* this thread is in a provider */

struct chained *chain_hold(int fd);	/* with a reference, or NULL */
void chain_drop(struct chained *c);
void chain_inherit(const struct chained *from, int fd);

/* The first layer's call, or that of who is below all. */
int64_t top_sendmsg(int fd, const struct msghdr *m, int flags);
void top_keep_error(int fd, int64_t err);
int64_t top_recvmsg(int fd, struct msghdr *m, int flags);

#endif
