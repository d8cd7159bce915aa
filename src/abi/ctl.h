/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What programs, surrogates and tools say to the agent, over a SEQPACKET socket: one
 * fixed-size request, one fixed-size reply with the same op and cookie, descriptors beside
 * them by SCM_RIGHTS. Credentials come from the kernel (SO_PEERCRED), never from the message.
 *
 * The socket's name is abstract, so each network namespace has its own agent. A client
 * checks that the listener is root or its own user before it sends anything.
 */
#ifndef ABI_CTL_H
#define ABI_CTL_H

#include <assert.h>
#include <stdint.h>

#include "base/limits.h"
#include "base/types.h"

#define CTL_NAME "onramp/agent"		/* abstract: sun_path[0] = 0, then this, no terminator */
#define CTL_VERSION 1

enum ctl_op {
	CTL_HELLO = 1,		/* any client first: version and layout hash; reply: agent's. Optionally fd:
				 * pidfd of the program that is spoken for, if it is not the caller */
	CTL_STACK_GET = 2,	/* program: a stack. Reply u.stack; fds: segment, mirror (read-only),
				 * front, pipe (read end), xsk[n_vis], bell[N_WAITERS]. Optionally
				 * sends no fd. n_vis may be 0: same-host traffic only. */
	CTL_LEASE_ADD = 3,	/* program: u.lease; fd: its own bound socket. The port is in the directory
				 * from now on; and, if an attached interface has the address, in its
				 * filters. 0, -EADDRINUSE, -EPERM, -EADDRNOTAVAIL, -EDQUOT */
	CTL_LEASE_DEL = 4,	/* program or surrogate: u.lease, the listener or socket is closed */
	CTL_FLOW_ADD = 5,	/* program or surrogate: u.flow, an exact tuple under a lease it holds,
				 * so that the connection outlives the lease */
	CTL_FLOW_DEL = 6,
	CTL_PORTS_GET = 7,	/* program or surrogate: a port block. Reply u.ports */
	CTL_NEIGH_ASK = 8,	/* u.neigh; no reply */
	CTL_ATTACH = 9,		/* root: u.link. Reply text in u.text: mode chosen and why */
	CTL_DETACH = 10,	/* root: u.link */
	CTL_STATUS = 11,	/* anyone: u.index = i; reply u.status of the i-th link, -ENOENT past the end */
	CTL_STACKS = 12,	/* anyone: u.index = i; reply u.info of the i-th stack; -ENOENT past the end.
				 * fds: its segment and front, read-only, if the caller is root or its user */
	CTL_SHUTDOWN = 13,	/* root: detach all and exit */
	CTL_PAIR_GET = 15,	/* program: u.pair.peer: the pair with that stack, made if there is none.
				 * Reply u.pair; fds: pair, the peer's front (read-only), the write end of
				 * the peer's pipe. -ENOENT: no such stack; -EDQUOT: N_PAIRS */
	CTL_PAIR_AT = 16,	/* program or surrogate: u.pair.slot. Reply as above; -ENOENT */
	CTL_PAIR_DEL = 17,	/* program or surrogate: u.pair.slot, whose pair (u.pair.pair_id) is over,
				 * may be used again. -ENOENT: not that pair; -EBUSY: it is not over */
	CTL_STACK_JOIN = 14,	/* forked child or surrogate: u.index = stack id; says which stack this
				 * connection speaks for; fd: the segment (same inode proves it) */
};

#define LEASE_EXACT_ADDR 0

struct ctl_stack {
	uint32_t stack_id;
	uint32_t n_vis;
	uint32_t vi_ifindex[N_VIS];
	uint32_t vi_flags[N_VIS];	/* VIF_F_* */
	uint32_t ring_slots;		/* of each ring */
	uint32_t dir_slot;		/* index into the mirror's stacks[] */
};

struct ctl_lease {
	struct ipaddr laddr;	/* as getsockname() of the descriptor says; wildcard: every address of
				 * attached interfaces */
	uint16_t lport;
	uint8_t	 proto;
	uint8_t	 family6_dual;	/* :: without IPV6_V6ONLY: IPv4 too */
	uint32_t cookie;	/* LEASE_DEL: low half of SO_COOKIE of the socket that proved it, for several
				 * may share an address and port (SO_REUSEPORT); 0: any of them */
};

struct ctl_flow {
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;
	uint8_t	 proto;
	uint8_t	 pad[3];
};

struct ctl_pair {
	uint32_t slot;		/* of the caller's stack: 0 .. N_PAIRS - 1 */
	uint32_t side;		/* the caller's stack is side 0 or 1; 0 for a pair with itself */
	uint32_t pair_id;
	uint32_t peer;		/* stack id */
	uint32_t is_self;
	uint32_t over;		/* 1: its other stack is gone; of the descriptors only the pair comes */
};

struct ctl_ports { uint16_t base, count; uint32_t pad; };

struct ctl_neigh { struct ipaddr addr; uint32_t ifindex; uint32_t pad; };

#define ATTACH_AUTO	0
#define ATTACH_NATIVE	1
#define ATTACH_GENERIC	2
#define ATTACH_F_DIRECT	(1u << 0)

struct ctl_link { char name[16]; uint32_t mode; uint32_t flags; };

struct ctl_status {
	char	 name[16];
	uint32_t ifindex, mtu;
	uint32_t mode;		/* ATTACH_NATIVE or ATTACH_GENERIC, in force */
	uint32_t flags;		/* ATTACH_F_* */
	uint32_t n_vfs, n_vfs_free, n_leases, n_stacks;
	uint32_t n_shared;	/* leases of ports that the kernel has connections of, too */
	uint32_t pad;
	uint64_t rx_redirected, rx_passed, tx_allowed, tx_spoofed, tx_malformed, rx_errors;
	char	 note[128];	/* the one line that attach said */
};

struct ctl_info {
	uint32_t stack_id, pid, uid, surrogate_pid;
	uint32_t n_leases, n_vis;
	uint64_t tx_spoofed;	/* frames of this stack's VFs dropped by validation */
	char	 comm[16];
};

struct ctl_msg {
	uint32_t version;	/* CTL_VERSION */
	uint32_t op;		/* enum ctl_op */
	uint32_t cookie;	/* echoed */
	int32_t	 err;		/* reply: 0 or -errno */
	uint64_t layout_hash;
	union {
		struct ctl_stack  stack;
		struct ctl_lease  lease;
		struct ctl_flow	  flow;
		struct ctl_pair	  pair;
		struct ctl_ports  ports;
		struct ctl_neigh  neigh;
		struct ctl_link	  link;
		struct ctl_status status;
		struct ctl_info	  info;
		uint32_t index;
		char	 text[256];
		uint8_t	 bytes[360];
	} u;
};
static_assert(sizeof(struct ctl_msg) == 384, "fixed size");

#endif
