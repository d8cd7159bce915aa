/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/*
 * What the agent writes and the XDP programs read: keys and values of the BPF maps. Shared by
 * clang -target bpf and by the agent, so it is plain C of fixed-width integers.
 *
 * A flow resolves to a stack's slot, not to a device: the same lease serves every interface,
 * and the device is vf_devs[slot * N_VIS + nic], which the program of that interface looks up.
 * Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d; ports are in host order.
 */
#ifndef BPF_MAPS_H
#define BPF_MAPS_H

#include <linux/types.h>

#include "base/limits.h"

#define N_SLOTS		(N_STACKS + 4)	/* live stacks and the spares kept ready */
#define N_VF_DEVS	(N_SLOTS * N_VIS)
#define N_XSKS		(N_VF_DEVS + N_VIS)	/* by VF; then by interface, for its own queue */
#define N_DEVS		(2 * N_VF_DEVS + N_VIS)	/* both ends of each VF, and the interfaces */
#define N_BLOCKS	(65536 / PORT_BLOCK)
#define NO_SLOT		0	/* slots count from 1 in the maps, so that a zeroed entry is none */
#define BOUND_SHARED	(1u << 31)	/* values of `bound`: the kernel may have connections, too (B4) */

struct addr16 { __u32 w[4]; };

struct exact_key {		/* one connection, seen from us */
	struct addr16 laddr, raddr;
	__u16 lport, rport;
	__u8  proto;
	__u8  pad[3];
};

struct bound_key {		/* a listener, or an unconnected UDP socket */
	struct addr16 laddr;	/* :: or ::ffff:0.0.0.0 for any, by family */
	__u16 lport;
	__u8  proto;
	__u8  pad;
};

struct local_key {		/* an address of an attached interface */
	struct addr16 addr;
	__u32 ifindex;
};

#define DEV_NIC		1	/* an attached interface */
#define DEV_VF_AGENT	2	/* what the application sends arrives here */
#define DEV_VF_APP	3	/* the AF_XDP socket sits here */

struct dev_info {		/* what a program must know of the device it runs on */
	__u32 role;		/* DEV_* */
	__u32 slot;		/* VF: the stack's, NO_SLOT: not handed out. NIC: the stack that has its queue */
	__u32 nic;		/* number of the attached interface, 0 .. N_VIS - 1 */
	__u32 nic_ifindex;
	__u32 frame_max;	/* bytes of the longest frame the interface takes, Ethernet header included */
	__u32 xsk;		/* VF application end, or NIC with a direct stack: index into xsks */
	__u8  mac[6];		/* the interface's */
	__u8  generic;		/* NIC: the program runs on skbs */
	__u8  pad;
};

struct vf_count {		/* per CPU, per vf_devs index */
	__u64 rx_redirected, tx_allowed, tx_spoofed, tx_malformed;
};

struct nic_count {		/* per CPU, per interface */
	__u64 rx_passed, rx_errors;
};

#endif
