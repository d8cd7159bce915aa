/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every maximum of the project, with its sum. Memory named here is virtual unless it says
 * "pinned": a sparse memfd costs a page only once the page has been touched.
 */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define N_SOCKS		131072	/* sockets of a stack, and slot 0: 131,072 x 896 B = 112 MiB */
#define N_PKTS		8192	/* packet frames of a stack: 8,192 x 4 KiB = 32 MiB, pinned */
#define N_PKTS_MAX	65536	/* ... of one made for long fat pipes: 256 MiB */
#define FRAME_SHIFT	12	/* a frame is a page: the chunk size of AF_XDP that every kernel takes */
#define FRAME_BYTES	(1u << FRAME_SHIFT)
#define FRAME_HEADROOM	256	/* XDP_PACKET_HEADROOM: where the kernel puts a received frame */
#define N_FLOW_BUCKETS	65536	/* exact-match hash: 65,536 x 4 B = 256 KiB; two sockets a bucket if full */
#define N_LISTEN_BUCKETS 256	/* listeners and unconnected UDP: 256 x 4 B = 1 KiB */
#define N_SYN_REQS	800	/* half-open connections: 800 x 64 B + 512 B; with 8 sockets under 64,000 B */
#define N_TFO_PEERS	256	/* servers whose Fast Open cookie is kept: 256 x 64 B = 16 KiB */
#define N_SYN_BUCKETS	256	/* ... their hash: 256 x 2 B */
#define N_EPOLLS	256	/* epoll instances of a stack: 256 x 64 B = 16 KiB */
#define N_EPITEMS	262144	/* (epoll, socket) pairs: 262,144 x 64 B = 16 MiB */
#define N_WAITERS	32	/* threads of a stack asleep at once, a bell each; more poll at 1 ms */
#define PEER_BELL	(N_WAITERS - 1)	/* not a thread's: peers of the same user ring it (host/pair.c) */
#define N_PROCS		64	/* processes that share a stack (fork); one bit each in sk.procs */
#define N_VIS		4	/* virtual interfaces of a stack: one per attached interface */
#define N_RING		2048	/* slots of each AF_XDP ring: rx + tx + fill + completion = 112 KiB, pinned */
#define N_TRACE		4096	/* trace records: 4,096 x 32 B = 128 KiB */
#define RX_POSTED	N_RING	/* frames kept on the fill ring at most: all of it, 120 super-frames of 64 KiB x 17 */
#define RX_POSTED_MIN	128	/* and while little comes: 512 KiB of frames stay in the second-level cache */
#define RX_BURST	64	/* frames a turn takes from one ring before it looks elsewhere */
#define MAX_FRAGS	18	/* frames of one packet: 3,840 + 17 x 4,096 B >= 65,535 + 14 */

#define PORT_BLOCK	64	/* ephemeral ports leased at a time */
#define N_PORT_BLOCKS	128	/* blocks of a stack: 8,192 ports */
#define N_FLOWS_OVER	64	/* exact entries to be given back at once: 40 bytes each */

#define N_LINKS		16	/* mirror: interfaces */
#define N_ADDRS		256	/* mirror: local addresses */
#define N_ROUTES	1024	/* mirror: routes */
#define N_NEIGHS	1024	/* mirror: neighbours */

#define N_FDS		262144	/* descriptors of a process we look after: 262,144 x 16 B = 4 MiB */

#define N_STACKS	64	/* stacks of one agent */
#define N_STACKS_UID	16	/* stacks of one unprivileged user */
#define N_CLIENTS	512	/* control connections of one agent */
#define N_LEASES	65536	/* filter entries of one agent */
#define N_LEASES_STACK	16384	/* filter entries of one stack */

#define N_PAIRS		64	/* peers of a stack on its own host, itself included */
#define AP_N_CHANS	65536	/* connections of a pair, half from each side: 65,536 x 448 B = 28 MiB */
#define AP_N_EVENTS	32768	/* events of a lane: 512 KiB; should it be full, all channels in use are looked at */
#define AP_VAR_WORDS	262144	/* datagrams under way in a lane: 1 MiB */
#define AP_PAGE_SHIFT	12	/* the smallest ring of a stream: 4 KiB */
#define AP_PAGE		(1u << AP_PAGE_SHIFT)
#define AP_MAX_SHIFT	22	/* the largest: 4 MiB */
#define AP_POOL_PAGES	32768	/* ring memory of one side of a pair: 128 MiB */
#define N_DIR_PORTS	4096	/* directory: listeners and bound datagram sockets of the host's stacks */
#define N_DIR_STACKS	72	/* ... its slots for stacks: N_STACKS, spares, and none */
#define N_DIR_BUCKETS	1024	/* ... by protocol and port */

#endif
