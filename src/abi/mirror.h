/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control-plane mirror: links, addresses, routes and neighbours of the agent's network
 * namespace, as netlink tells them. Writer: the agent, alone. Readers map it read-only.
 *
 * One seqlock guards it all: `seq` is odd while the agent writes; a reader that sees it odd,
 * or changed after its read, reads again (bounded), and uses only what it copied.
 * `generation` changes whenever an answer may have changed: a path cached under the same
 * generation is still good, and checking that costs one load.
 */
#ifndef ABI_MIRROR_H
#define ABI_MIRROR_H

#include <assert.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/types.h"

#define MIRROR_MAGIC 0x726f7272696d6e6full	/* "onmirror" */

#define LINK_UP		(1u << 0)
#define LINK_ATTACHED	(1u << 1)	/* onramp attach: traffic over it may be accelerated */
#define LINK_LOOPBACK	(1u << 2)

struct mir_link {
	uint32_t ifindex;	/* 0: slot unused */
	uint32_t mtu;
	uint32_t flags;		/* LINK_* */
	uint8_t	 mac[6];
	uint8_t	 pad[2];
	char	 name[16];
};

struct mir_addr {
	struct ipaddr addr;
	uint32_t ifindex;	/* 0: slot unused */
	uint8_t	 prefix;	/* bits, of 32 for IPv4 and of 128 for IPv6 */
	uint8_t	 scope;		/* RT_SCOPE_* */
	uint8_t	 flags;		/* IFA_F_* low byte (tentative, deprecated) */
	uint8_t	 pad;
};

#define ROUTE_UNICAST	 1	/* RTN_UNICAST */
#define ROUTE_LOCAL	 2	/* RTN_LOCAL */
#define ROUTE_BLOCKED	 3	/* blackhole, unreachable, prohibit, multipath, anything we leave to the kernel */

/* Sorted by the agent: longest prefix first, then lowest metric; so the first match wins. */
struct mir_route {
	struct ipaddr dst;
	struct ipaddr gateway;	/* any: on link */
	struct ipaddr prefsrc;	/* any: none given */
	uint32_t ifindex;	/* 0: slot unused */
	uint32_t mtu;		/* RTAX_MTU, 0: the link's */
	uint32_t metric;
	uint8_t	 prefix;	/* bits of the 128-bit form: IPv4's are 96 + n */
	uint8_t	 type;		/* ROUTE_* */
	uint8_t	 is4;
	uint8_t	 pad;
};

#define NEIGH_VALID	(1u << 0)	/* REACHABLE, STALE, DELAY, PROBE, PERMANENT, NOARP */
#define NEIGH_FAILED	(1u << 1)

struct mir_neigh {
	struct ipaddr addr;
	uint32_t ifindex;	/* 0: slot unused */
	uint8_t	 mac[6];
	uint8_t	 flags;		/* NEIGH_* */
	uint8_t	 pad;
};

/*
 * The directory: which local port is served by which stack of this agent, and which pairs
 * (abi/aperture.h) each stack has. Under the same seqlock; a change of it changes `ports_seq`,
 * not `generation`.
 */
struct dir_port {
	struct ipaddr laddr;	/* as bound; a wildcard takes every local address of its family */
	uint16_t lport;
	uint8_t	 proto;		/* 0: slot unused */
	uint8_t	 dual;		/* :: without IPV6_V6ONLY: IPv4 too */
	uint32_t stack_id;
	uint32_t next;		/* slot + 1 of the next in the bucket; 0: the last */
};
static_assert(sizeof(struct dir_port) == 28, "layout");

static inline uint32_t dir_bucket(uint8_t proto, uint16_t lport)
{
	return ((uint32_t)lport * 2 + (proto & 1)) & (N_DIR_BUCKETS - 1);
}

/* Indexed by the agent's slot of the stack, which STACK_GET told. Read without the seqlock. */
struct dir_stack {
	uint32_t stack_id;	/* 0: none */
	uint32_t changes;	/* counts up when pair_id[] has changed */
	uint32_t pair_id[N_PAIRS];	/* 0: no pair there (any more) */
};

/* TCP's sysctls of the namespace (net.ipv4.tcp_*). A number that is 0 stands for Linux's default, so that
 * a mirror that nobody filled says nothing. Each is one word: read without the seqlock. */
struct mir_tcp {
	uint32_t rmem, rmem_max;	/* bytes: tcp_rmem's default; its maximum or net.core.rmem_max */
	uint32_t wmem, wmem_max;	/* bytes: tcp_wmem's default and maximum */
	uint32_t keepidle_s, keepintvl_s, keepcnt;
	uint32_t fin_timeout_s;
	uint32_t notsent_lowat;
	uint8_t	 syn_retries, synack_retries, retries2, orphan_retries;
	uint8_t	 off;		/* MIR_TCP_NO_* */
	uint8_t	 ecn;		/* tcp_ecn, plus 1 */
	uint8_t	 syn_linear;	/* tcp_syn_linear_timeouts: a kernel may lack it */
	uint8_t	 pad;
	uint32_t fastopen;	/* tcp_fastopen, plus 1 */
	uint32_t fastopen_off_s;	/* tcp_fastopen_blackhole_timeout_sec */
};
#define MIR_TCP_NO_TS	   (1u << 0)	/* tcp_timestamps=0 */
#define MIR_TCP_NO_SACK	   (1u << 1)	/* tcp_sack=0 */
#define MIR_TCP_NO_WSCALE  (1u << 2)	/* tcp_window_scaling=0 */
#define MIR_TCP_NO_DSACK   (1u << 3)	/* tcp_dsack=0 */
#define MIR_TCP_NO_RESTART (1u << 4)	/* tcp_slow_start_after_idle=0 */
static_assert(sizeof(struct mir_tcp) == 52, "layout");

struct mirror {
	uint64_t magic;
	uint32_t seq;
	uint32_t generation;
	uint32_t n_links, n_addrs, n_routes, n_neighs;	/* used prefixes of the arrays */
	uint64_t pad[4];
	struct mir_tcp tcp;
	uint32_t pad_tcp;
	struct mir_link	 links[N_LINKS];
	struct mir_addr	 addrs[N_ADDRS];
	struct mir_route routes[N_ROUTES];
	struct mir_neigh neighs[N_NEIGHS];
	uint32_t ports_seq, pad_ports;
	uint32_t buckets[N_DIR_BUCKETS];	/* slot + 1 in ports[]; 0: none */
	struct dir_port ports[N_DIR_PORTS];
	struct dir_stack stacks[N_DIR_STACKS];	/* [0] unused */
};
static_assert(sizeof(struct mir_route) == 64, "layout");
static_assert(sizeof(struct mir_neigh) == 28, "layout");

#endif
