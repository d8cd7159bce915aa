/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The segment: all that is known of one stack, in one sealed memfd, mapped at a different
 * address by each program that runs the core on it (application, surrogate, simulator).
 *
 *   header | procs | waiters | flow buckets | listen buckets | epolls | epitems | trace |
 *   pkts (metadata) | socks | aperture tables | packet memory (page aligned; the UMEM)
 *
 * No pointers. A handle is a slot, in wrapped integers, and 0 names nothing; an sk_h also
 * carries the slot's generation. Each group of fields names its one writer; "turn" is the
 * holder of the turn (core/stack/turn.h), whichever process that is.
 *
 * Who may lie: the application owns the segment and may write anything into it at any time.
 * A reader on the strong side masks every handle with its private geometry, bounds every
 * walk, and copies before it checks. Nothing privileged is in here.
 */
#ifndef ABI_SEGMENT_H
#define ABI_SEGMENT_H

#include <assert.h>
#include <stdint.h>

#include "abi/aperture.h"
#include "base/limits.h"
#include "base/types.h"

#define SEGMENT_MAGIC 0x706d61726e6full		/* "onramp" */

typedef struct { uint32_t v; } sk_h;	/* generation << SK_GEN_SHIFT | slot */
typedef struct { uint32_t v; } pkt_h;	/* slot == frame number */
typedef struct { uint32_t v; } ep_h;	/* slot of an epoll instance */
typedef struct { uint32_t v; } epi_h;	/* slot of an epitem */

#define SK_GEN_SHIFT	17
#define SK_SLOT_MASK	((1u << SK_GEN_SHIFT) - 1)
static_assert(N_SOCKS == SK_SLOT_MASK + 1, "a slot fills the low bits of sk_h");

/* ---- the door (core/stack/turn.h) ---------------------------------------------------- */

#define DOOR_HELD	(1ull << 0)
#define DOOR_CONTENDED	(1ull << 1)	/* somebody sleeps on the door word (futex, low half) */
#define DOOR_ERRAND_RX	(1ull << 2)	/* poll the receive rings before you leave */
#define DOOR_ERRAND_TICK (1ull << 3)	/* run the timers before you leave */
#define DOOR_ERRAND_REAP (1ull << 4)	/* a process died: look at procs before you leave */
#define DOOR_ERRAND_ARM	(1ull << 5)	/* somebody sleeps: decide whether peers are to ring (irq.c) */
#define DOOR_ERRANDS	(DOOR_ERRAND_RX | DOOR_ERRAND_TICK | DOOR_ERRAND_REAP | DOOR_ERRAND_ARM)
#define DOOR_WHO_SHIFT	8		/* bits 8-15: enum executor of the holder */
#define DOOR_TID_SHIFT	32		/* bits 32-63: thread id of the holder */

/* ---- processes that share the stack ---------------------------------------------------- */

#define PROC_FREE	0
#define PROC_LIVE	1	/* pid may call */
#define PROC_DEAD	2	/* the surrogate saw it die; its references are being dropped */

struct proc_slot {		/* writer: turn */
	uint32_t state;		/* PROC_* */
	uint32_t pid;		/* in the agent's pid namespace when known, else the process's own */
};

/* ---- waiters --------------------------------------------------------------------------- */

#define WAITER_FREE	0
#define WAITER_AWAKE	1	/* owned by a thread that is not asleep */
#define WAITER_ASLEEP	2	/* ring its bell to wake it */
#define WAITER_RUNG	3	/* its bell has been rung and not yet heard */
#define WAITER_NAPS	4	/* as ASLEEP, but not for long: it wants no ring of peers meanwhile */

enum wait_count {
#define WAIT(name, word, sentence) WAIT_##name,
#include "abi/waits.def"
#undef WAIT
	N_WAIT_COUNTS
};
#define N_WAITS 16		/* room for them: two lines */
static_assert(N_WAIT_COUNTS <= N_WAITS, "waiter.n[]");

struct waiter {			/* a line that others ring, and two of its owner's alone */
	uint32_t state;		/* WAITER_*; atomic: owner 0->1->2->1, ringer 2->3 */
	uint32_t tid;		/* writer: owner */
	uint32_t proc;		/* writer: owner; slot in procs */
	uint32_t pad[13];
	uint64_t n[N_WAITS];	/* enum wait_count; writer: owner; of all owners so far */
};
static_assert(sizeof(struct waiter) == 192, "whole lines");

/* ---- packets ----------------------------------------------------------------------------- */

#define PKT_FREE	0
#define PKT_POSTED	1	/* on the fill ring */
#define PKT_HELD	2	/* owned by the core: a queue, or in a function's hands */

#define PKT_F_SYN	(1u << 0)
#define PKT_F_FIN	(1u << 1)
#define PKT_F_PSH	(1u << 2)
#define PKT_F_URG	(1u << 3)
#define PKT_F_CSUM_OK	(1u << 4)	/* transport checksum verified, or unfinished from memory (F10) */
#define PKT_F_EOR	(1u << 6)	/* TCP send: nothing is added to it any more (MSG_EOR) */
#define PKT_F_DEFER_PUT	(1u << 5)	/* freed while at the device: pool it when its completion comes */

/*
 * Metadata of one frame. A packet is a head and the frames chained by `frag`; only the head's
 * `next`, `tot`, `seq`... mean anything. Writer: turn.
 */
struct pkt {
	uint32_t next;		/* pkt_h: next packet of a queue, or next free frame */
	uint32_t frag;		/* pkt_h: next frame of this packet */
	uint16_t off;		/* first live byte in the frame */
	uint16_t len;		/* live bytes in this frame */
	uint32_t tot;		/* head: live bytes of the whole packet */
	uint8_t	 state;		/* PKT_FREE, PKT_POSTED, PKT_HELD */
	uint8_t	 flags;		/* PKT_F_* */
	uint8_t	 at_device;	/* times this frame is on a tx ring, its completion not yet seen */
	uint8_t	 n_frags;	/* head: frames, itself included */
	uint8_t	 mark;		/* protocol's: TCP's scoreboard bits */
	uint8_t	 n_sent;	/* protocol's: times transmitted, saturating */
	uint8_t	 vi;		/* receive: interface it came by */
	uint8_t	 spare;
	uint32_t seq;		/* TCP: first sequence number, SYN and FIN counted */
	uint32_t end_seq;	/* TCP: one past the last */
	uint32_t arg[2];	/* protocol's: UDP's source port and flags, TCP's way past what is SACKed */
	uint64_t at;		/* ns: sent at, or received at */
	struct ipaddr addr;	/* UDP receive: source address; TCP send: struct tcp_tx */
};
static_assert(sizeof(struct pkt) == 64, "a line each; 8,192 x 64 B = 512 KiB");

struct pkt_queue {		/* writer: turn */
	uint16_t head, tail;	/* pkt_h, in as many bits as its slot takes */
	uint32_t n;		/* packets */
	uint32_t bytes;		/* sum of tot */
};
static_assert(N_PKTS_MAX <= UINT16_MAX + 1, "pkt_queue.head, ooo_last");

/* ---- where a packet goes -------------------------------------------------------------- */

struct path {			/* writer: turn; filled by ip_route() */
	uint32_t generation;	/* of the mirror when asked; 0: ask again */
	uint16_t mtu;		/* bytes of IP, the path's */
	uint8_t	 vi;
	uint8_t	 flags;		/* PATH_* */
	uint8_t	 dst_mac[6];
	uint8_t	 src_mac[6];
};
#define PATH_RESOLVED	(1u << 0)	/* dst_mac is known */
#define PATH_PMTU	(1u << 1)	/* mtu was lowered by an ICMP error: ip_route() does not raise it */
static_assert(sizeof(struct path) == 20, "layout");

/* ---- epoll ------------------------------------------------------------------------------ */

struct ep {			/* writer: turn */
	uint32_t live;
	uint32_t ready_head, ready_tail;	/* epi_h: items that may be ready */
	uint32_t n_ready;
	uint32_t n_items;
	uint32_t refs;		/* descriptors' processes, as sk.procs but counted */
	uint64_t procs;		/* bit per proc_slot that holds a descriptor of it */
	uint32_t wait_mask;	/* waiters asleep in epoll_wait on it */
	uint32_t next_free;
	uint32_t n_zombies;	/* deleted items still on the ready list */
	uint32_t outers;	/* epi_h: items by which other sets watch this one, linked by sk_next */
	uint32_t pad[3];
	uint32_t item_head;	/* epi_h: all items, linked by ep_next */
};
static_assert(sizeof(struct ep) == 64, "layout");

struct epitem {			/* writer: turn */
	uint32_t sk;		/* sk_h; 0: see inner */
	uint32_t ep;		/* ep_h */
	uint32_t sk_next;	/* epi_h: other items of the same source */
	uint32_t ep_next, ep_prev;	/* epi_h: other items of the same epoll */
	uint32_t ready_next;	/* epi_h */
	uint32_t events;	/* EPOLL* asked for, with EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE */
	uint32_t on_ready;	/* 1: on the ready list */
	uint64_t data;		/* epoll_data, opaque */
	int32_t	 fd;		/* descriptor number it was added under */
	uint32_t inner;		/* ep_h: the source is a set in this set; 0: a socket */
	uint32_t live;
	uint32_t proc;		/* proc slot that added it */
	uint64_t pad;
};
static_assert(sizeof(struct epitem) == 64, "layout");

/* ---- sockets ------------------------------------------------------------------------------ */

enum sk_kind {
	SK_FREE = 0,
	SK_TCP = 1,		/* a connection, from SYN to TIME_WAIT */
	SK_LISTEN = 2,		/* a TCP listener */
	SK_UDP = 3,
	SK_AP = 4,		/* a connection through an aperture: state is TCP's, no segment is sent */
};

#define SK_F_ORPHAN	(1u << 0)	/* no descriptor refers to it any more */
#define SK_F_HASHED	(1u << 1)	/* in the flow table */
#define SK_F_BOUND	(1u << 2)	/* in the listen table */
#define SK_F_WORK	(1u << 3)	/* on the work list */
#define SK_F_TXWAIT	(1u << 4)	/* on the tx-wait list: ring, frame or neighbour missing */
#define SK_F_TIMER	(1u << 5)	/* on the timer wheel */
#define SK_F_RD_SHUT	(1u << 6)	/* shutdown(SHUT_RD) */
#define SK_F_WR_SHUT	(1u << 7)	/* shutdown(SHUT_WR) */
#define SK_F_V6ONLY	(1u << 8)
#define SK_F_BLOCK_PORT	(1u << 9)	/* lport comes from a leased block, give it back */
#define SK_F_CONNECTED	(1u << 10)	/* UDP: raddr and rport are set */
#define SK_F_FAMILY6	(1u << 11)	/* the descriptor is AF_INET6 (addresses print so) */
#define SK_F_EMBRYO	(1u << 12)	/* not yet accepted: belongs to `parent` */
#define SK_F_REUSEADDR	(1u << 13)
#define SK_F_EDGES	(1u << 14)	/* some epoll item of it is edge-triggered */
#define SK_F_ACCEPTQ	(1u << 15)	/* on the listener's accept queue, not its embryo list */
#define SK_F_ZEROCOPY	(1u << 16)	/* SO_ZEROCOPY: sends with MSG_ZEROCOPY are told of */
#define SK_F_EXACT	(1u << 17)	/* its listener is gone; an entry of the agent's leads its packets here */
#define SK_F_REUSEPORT	(1u << 18)	/* SO_REUSEPORT when it was bound: others may have its address and port */

#define SK_PROTO_BYTES	704
#define SK_BYTES	896

struct sk {
	/* fixed while allocated; writer: turn */
	uint32_t self;		/* its own sk_h, generation included */
	uint8_t	 kind;		/* enum sk_kind */
	uint8_t	 state;		/* TCP: enum tcp_state (RFC 9293 names); writer: core/tcp/state.c */
	uint8_t	 proto;		/* IPPROTO_TCP, IPPROTO_UDP */
	uint8_t	 pad0;
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;	/* host order */
	uint32_t flags;		/* SK_F_* */

	/* readiness and waiting; writer: turn; the application peeks at `ready` without it */
	uint32_t ready;		/* EPOLLIN | EPOLLOUT | ... as poll() would say now */
	int32_t	 err;		/* pending SO_ERROR, positive errno; 0 none */
	uint32_t wait_mask;	/* waiters asleep on this socket */
	uint32_t items;		/* epi_h: epoll registrations */
	uint64_t procs;		/* bit per proc_slot that holds a descriptor */

	/* links; writer: turn */
	uint32_t hash_next;	/* sk_h slot in the flow or listen bucket */
	uint32_t work_next;	/* sk_h slot on the work list */
	uint32_t tx_next;	/* sk_h slot on the tx-wait list */
	uint32_t tmr_next, tmr_prev;	/* sk_h slots in a wheel bucket */
	uint16_t tmr_bucket;
	uint16_t group_i;	/* its number among those that share its address and port (H3) */
	uint64_t tmr_at;	/* ns; NEVER_NS: not armed */

	struct path path;

	/* sizes, for `ss` and SO_*BUF; writer: turn */
	uint32_t rcvbuf, sndbuf;	/* bytes, as SO_RCVBUF/SO_SNDBUF would report */
	uint32_t rxq_bytes, txq_bytes;	/* unread; not yet acknowledged */
	uint32_t rcvlowat;
	uint8_t	 tos, ttl, priority, pad2;	/* ttl 0: the default */
	uint32_t lease_cookie;	/* ctl_lease.cookie of the kernel's socket below; 0: none */
	uint64_t born_at;	/* ns */
	uint32_t parent;	/* sk_h of the listener, for an embryo */
	uint32_t list_next;	/* sk slots: embryo list or accept queue */

	/* sock/'s own, the same for all descriptors and processes; writer: the calling thread */
	uint32_t user;		/* SKU_* (sock/sock.h) */
	uint32_t rcvtimeo_ms, sndtimeo_ms;	/* SO_RCVTIMEO, SO_SNDTIMEO; 0: for ever */
	uint32_t list_prev;

	/* the error queue: sends zc_told up to zc_next are done, and nobody was told; writer: turn */
	uint32_t zc_next, zc_told;

	/* the protocol's own: struct tcb, struct tcp_listen or struct udp */
	uint8_t	 proto_area[SK_PROTO_BYTES] aligned8;
};
static_assert(sizeof(struct sk) == SK_BYTES, "idle connection below 1 KiB");
static_assert(SK_BYTES % 64 == 0 && offsetof(struct sk, proto_area) % 64 == 0, "a slot's lines are its own");

/* ---- timer wheel: 4 levels x 64 buckets, tick 2^20 ns (core/stack/timer.c) ---------------- */

#define WHEEL_LEVELS	4
#define WHEEL_SLOTS	64
#define WHEEL_TICK_SHIFT 20

struct wheel {			/* writer: turn */
	uint64_t now_tick;
	uint64_t occupied[WHEEL_LEVELS];	/* bit per non-empty bucket */
	uint32_t bucket[WHEEL_LEVELS][WHEEL_SLOTS];	/* sk_h slot of the first */
};

/* ---- trace -------------------------------------------------------------------------------- */

struct trace_rec {
	uint64_t at;		/* ns */
	uint16_t event;		/* core/stack/events.def */
	uint8_t	 who;		/* enum executor */
	uint8_t	 pad;
	uint32_t h;		/* sk_h, or 0 */
	uint32_t arg[4];
};
static_assert(sizeof(struct trace_rec) == 32, "layout");

#define N_EVENTS_MAX	192

/* ---- leased port blocks -------------------------------------------------------------------- */

struct port_block {		/* writer: turn */
	uint16_t base;		/* first port; 0: slot unused */
	uint16_t pad[3];
	uint64_t used[2];	/* bit per port in use, [0] TCP, [1] UDP */
};
static_assert(PORT_BLOCK == 64, "a bit each");

/* ---- apertures: what a stack must be able to trust about its pairs ---------------------------- */

struct ap_chan_own {		/* our side of one channel; writer: turn */
	uint32_t sk;		/* sk_h, or 0: closed here */
	uint32_t nonce;		/* of the connection; 0: the channel is free */
	uint32_t page[2];	/* our rings in it, older and newer, while the peer may read them */
	uint8_t	 shift[2];	/* 0: none */
	uint8_t	 peer_gone;
	uint8_t	 pad[5];
	uint32_t next;		/* free channels of ours */
	uint32_t list;		/* spare */
};
static_assert(sizeof(struct ap_chan_own) == 32, "two a line");

#define AP_N_ORDERS (AP_MAX_SHIFT - AP_PAGE_SHIFT + 1)

struct ap_pool {		/* buddies of pages; writer: turn (core/ap/pool.c) */
	uint16_t free[AP_N_ORDERS];	/* first free block of each order; 0: none */
	uint16_t used;		/* pages ever handed out: above them memory is untouched */
	uint32_t n_taken;	/* pages in use */
	uint8_t	 order[AP_POOL_PAGES];	/* of the block that begins here, + 1; free ones | 0x80 */
	uint16_t next[AP_POOL_PAGES], prev[AP_POOL_PAGES];
};

/* One table a pair; sparse memory: a pair that was never made costs nothing. For a pair of the
 * stack with itself both sides are ours; else [own side] alone is used. */
struct ap_table {
	struct ap_chan_own chan[2][AP_N_CHANS];
	struct ap_pool pool[2];
};

struct ap_slot {		/* writer: turn */
	uint32_t pair_id;	/* 0: unused */
	uint32_t peer;		/* stack id */
	uint8_t	 side;		/* ours; of a pair with oneself 0 */
	uint8_t	 is_self;
	uint8_t	 over;		/* the agent ended it: what is left may be read */
	uint8_t	 pad;
	uint32_t n_socks;	/* SK_AP sockets on it */
	uint32_t free_chan;	/* first free of ours; 0: none */
	uint32_t used_chan;	/* of ours, ever used */
	uint32_t rung;		/* the arming of the peer for which we rang */
	/* private positions in lane d; of the one we read: rd and swept, of the other: wr */
	uint32_t wr[2], rd[2], var_wr[2], var_rd[2], swept[2];
	uint32_t top[2];	/* channels from here up were never used */
	uint32_t sweep_at[2];	/* where the next look at all channels goes on; 0: there is none under way */
	uint32_t sweep_of[2];	/* the peer's count that it answers */
};
static_assert(sizeof(struct ap_slot) == 92, "no padding");

/* ---- half-open connections (core/tcp/synq.c) --------------------------------------------------- */

/* A peer has said SYN and we have answered: all that is kept of it. Writer: turn. */
struct syn_req {
	struct ipaddr laddr, raddr;
	uint32_t irs, iss;
	uint32_t ts_val;	/* the peer's clock in its SYN */
	uint32_t at_us;		/* when our answer is repeated; the stack's clock, low half */
	uint16_t rport;
	uint16_t parent;	/* low half of the listener's slot, whose rest is in opts; both 0: free */
	uint16_t mss;		/* the peer's option; 0: none */
	uint8_t	 opts;		/* SYN_O_* */
	uint8_t	 ws;
	uint8_t	 flags;		/* of the peer's SYN, as on the wire */
	uint8_t	 n_rtx;		/* times our answer was repeated */
	uint16_t hash_next;
	uint16_t next, prev;	/* of the same listener, repeated as often; next: free entries */
};
static_assert(sizeof(struct syn_req) == 64, "a line each");
#define SYN_O_TS	(1u << 0)
#define SYN_O_SACK	(1u << 1)
#define SYN_O_WS	(1u << 2)
#define SYN_O_SLOT_SHIFT 3	/* from here on */
static_assert(SK_SLOT_MASK >> 16 <= 0xff >> SYN_O_SLOT_SHIFT, "a slot fits");

struct syn_table {		/* writer: turn; entry 0 names nothing */
	uint16_t bucket[N_SYN_BUCKETS];
	uint16_t free;		/* first free entry; 0: none */
	uint16_t used;		/* entries ever used, less entry 0: above them memory is untouched */
	uint32_t n;		/* in use */
	struct syn_req req[N_SYN_REQS] cacheline_aligned;
};

/* ---- TCP Fast Open (core/tcp/tfo.c) -------------------------------------------------------------- */

/* What a server has told us, as seen from one address of ours. Writer: turn. */
struct tfo_peer {
	struct ipaddr laddr, raddr;	/* raddr any: free */
	uint8_t	 cookie[16];
	uint32_t used_s;	/* the stack's clock */
	uint16_t mss;		/* of its SYN-ACK; 0: not known */
	uint8_t	 len;		/* of cookie; 0: none */
	uint8_t	 flags;		/* TFO_PEER_* */
	uint64_t pad;
};
static_assert(sizeof(struct tfo_peer) == 64, "a line each");
#define TFO_PEER_EXP	(1u << 0)	/* the cookie came in the experimental option */
#define TFO_PEER_TRY	(1u << 1)	/* no cookie came for the option: ask by the experimental one, once */
#define TFO_PEER_TRIED	(1u << 2)

struct tfo_table {		/* writer: turn */
	uint32_t n_off;		/* black holes in a row; 0: none */
	uint32_t off_at_s;	/* when the last was found */
	struct tfo_peer peer[N_TFO_PEERS] cacheline_aligned;
};

/* ---- header ---------------------------------------------------------------------------------- */

struct geometry {		/* fixed by the agent before anybody maps; checked, then copied */
	uint32_t n_socks, n_pkts, n_flow_buckets, n_listen_buckets, n_epolls, n_epitems, n_trace;
	uint32_t n_pairs;
	uint64_t off_flow, off_listen, off_epolls, off_epitems, off_trace, off_pkts, off_socks, off_ap,
		 off_umem;
	uint64_t bytes;		/* of the whole segment */
};

struct segment {
	/* fixed after init */
	uint64_t magic;
	uint64_t layout_hash;	/* dev/layout-hash over the headers that lay out the segment */
	struct geometry geo;
	uint32_t stack_id;	/* the agent's number of this stack, for people */
	uint32_t uid;
	uint64_t secret[4];	/* hash and ISN keys (RFC 6528), drawn by whoever makes the segment */
	uint64_t pad_fixed[4];

	/* the door: alone on its line */
	uint64_t door cacheline_aligned;
	uint64_t pad_door[7];

	/* read without the turn by those who ask "must anybody come?" ; writer: turn */
	uint64_t deadline;	/* ns: net_deadline() at the end of the last turn */
	uint64_t last_turn_at;	/* ns: when the last turn began */
	uint32_t n_turns;	/* wraps */
	uint32_t condemned;	/* reason + 1; 0: sound */
	uint32_t kicks_owed;	/* bit per VI: posted to a tx ring, device not told yet */
	uint32_t n_conns;	/* TCP connections and UDP sockets alive */
	uint64_t kicks_since;	/* ns: since when kicks_owed is not 0 */
	uint32_t ap_self;	/* 1: a pair with oneself has unread events */
	uint32_t n_ap;		/* slots of ap[] ever used: above them none is */
	uint32_t ap_last;	/* slot of the pair that we last had to do with; a hint */
	uint32_t pad_peek;

	/* all else; writer: turn */
	uint32_t free_sk, free_pkt, free_ep, free_epi;	/* first free slot of each pool; 0: none */
	uint32_t n_free_sk, n_free_pkt;
	uint32_t used_sk, used_epi, used_ep;	/* slots ever used: above them memory is untouched */
	uint32_t work_head, work_tail;		/* sk slots with deferred work in this turn */
	uint32_t txwait_head, txwait_tail;	/* sk slots waiting for ring, frame or neighbour */
	uint32_t n_posted[N_VIS];		/* frames on each fill ring */
	uint32_t fill_target[N_VIS];		/* frames wanted there; 0: RX_POSTED_MIN */
	uint64_t fill_grown_at[N_VIS];		/* ns: when so many were last needed */
	uint32_t trace_next;
	uint16_t next_port_i;	/* rotates over leased ports */
	uint16_t ip_id;
	uint32_t n_orphans, n_tw;
	/* Connections with SK_F_EXACT that are over: the agent's entry is to go, or a new connection
	 * under the same four numbers would be led here. What finds no room stays until the stack ends. */
	uint32_t n_flows_over;
	struct { struct ipaddr laddr, raddr; uint16_t lport, rport; } flows_over[N_FLOWS_OVER];
	uint32_t port_scarce;	/* 1: fewer than a quarter of leased ports free: ask for a block */
	struct wheel wheel;
	struct port_block ports[N_PORT_BLOCKS];
	struct proc_slot procs[N_PROCS];
	struct waiter waiters[N_WAITERS] cacheline_aligned;
	uint64_t waits[N_WAITS];	/* as waiter.n, of threads that have no slot; atomic */
	uint64_t counters[N_EVENTS_MAX];
	struct ap_slot ap[N_PAIRS];
	/* Next hops whose address is wanted; addr any: slot unused. `asked` 0: owed to the agent;
	 * whoever takes it to the agent sets it to 1 while it holds the turn. `at`: when it was
	 * last owed; first_at: since when it has been wanted without a pause. */
	struct { struct ipaddr addr; uint32_t vi, asked; uint64_t at, first_at; } neigh_asks[8];
	struct syn_table syns;
	struct tfo_table tfo;
};

#endif
