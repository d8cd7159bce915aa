/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures between hosts: the engine (docs/internals/apertures-wire.md has the theory and the
 * numbered invariants). It is what a network interface would be: frames go in, memory changes
 * and events appear; stores go in, frames come out. It makes no system call, takes time and its
 * secret as arguments, and lives in one piece of memory that the caller gives.
 *
 *	mem = the caller's, apw_bytes() long, zero
 *	e = apw_init(mem, &conf)
 *	apw_region(), apw_queue(), apw_bind()	what is offered, and where events go
 *	apw_connect(), apw_store(), apw_read()	what is asked of others
 *	apw_rx() for each frame, then apw_rx_end(); apw_tick() by apw_deadline()
 *	apw_tx_peek(), apw_tx_pop()		frames to send, after any of these
 *
 * Functions that return int give 0 or -errno. One thread at a time.
 */
#ifndef CORE_APERTURE_APERTURE_H
#define CORE_APERTURE_APERTURE_H

#include "core/aperture/evq.h"
#include "core/aperture/rows.h"
#include "wire/ci.h"

#define APW_N_RULES	8	/* rules of a port */
#define APW_FIRST_NS	(200 * NS_PER_MS)	/* S2-CON-07: 200 ms x 2^n */
#define APW_MAX_SHIFT	5	/* at most 6.4 s apart */
#define APW_TRIES	12
#define APW_ASKED_NS	(30 * NS_PER_S)		/* an application's time to decide */
#define APW_PACK_NS	(20 * NS_PER_US)	/* S2-OUT-06: how long a frame waits for more stores */
#define APW_READ_NS	(20 * NS_PER_MS)	/* a read is asked for again after 20 ms x 2^n */
#define APW_READ_TRIES	8
#define APW_ERRORS_S	100	/* S2-NONCE-02: ERROR messages a second */
#define APW_JOIN_BYTES	65536	/* S2-IN-04: contiguous bursts are one write up to here */
#define APW_JOIN_PIECES	32
#define APW_LEAD	16
#define APW_STEP_BYTES	4096	/* S2-IN-03: bytes of a write done in one go */

struct apw_addr {		/* where a host is, as far as the carrier is concerned */
	uint32_t host;		/* 0, of a frame received: as its header says */
	uint16_t carrier;	/* UDP port; Ethernet: 0 */
	uint8_t	 mac[6];	/* Ethernet; all zero: everybody */
};

struct apw_conf {
	uint32_t host;		/* our cluster address; 0: any is ours (its carrier knows) */
	uint32_t n_rows;	/* of each table; power of two, at most 65,536 (S2-MAP-04) */
	uint32_t n_ports, n_regions, n_queues, n_reads;
	uint32_t n_frames;	/* of the transmit ring; power of two */
	uint32_t mtu;		/* largest frame, without the carrier's headers: 256..65,000 */
	uint64_t secret[2];	/* from the system's entropy: nonces and indices come from it */
	crc32c_fn crc;
	bool	 pack;		/* let frames wait APW_PACK_NS for more stores */
	bool	 has_ether;	/* source Ethernet addresses are known: check (d) can be made */
};

struct apw_side {		/* what one end of a connection lets the other do */
	uint32_t region;	/* from apw_region(); with APW_QUEUE: a queue */
	uint8_t	 map;		/* enum apw_map */
	uint8_t	 flags;		/* APW_F_READ, APW_F_WRITE */
	uint8_t	 checks;	/* APW_LEVEL_*, or bits of one's own choice; 0: APW_LEVEL_1 */
	uint64_t offset, size;	/* in the region; size at most 2^32; 0: nothing to be reached */
	uint32_t sub_first, sub_last;	/* both 0: not narrowed (S2-IN-06) */
	uint16_t step, every;	/* S2-NONCE-04; needs APW_CK_SEQ */
};

struct apw_rule { uint32_t net; uint8_t bits; bool allow; };

struct apw_offer {		/* what a port does with CONNECT (S2-CON-04) */
	struct apw_side side;
	bool	 ask;		/* the application decides, by apw_accept() or apw_reject() */
	uint32_t queue;		/* where its events go */
	uint32_t max_conns;	/* 0: no limit but the table's */
	uint32_t n_rules;	/* the first that matches decides; none: allowed if there are no rules */
	struct apw_rule rule[APW_N_RULES];
};

struct apw_connect {
	struct apw_addr to;
	uint16_t port;		/* there */
	uint16_t lport;		/* here, bound: whose queue hears of it */
	struct apw_side side;
	uint32_t window;	/* from apw_window(), to be mapped on that host; 0: make one */
	bool	 polled;	/* who asks looks at the state: no OPEN, and APW_FAILED instead of CLOSED */
};

/* APW_FAILED: did not come about, `why` says why; apw_close() forgets it. */
enum apw_conn_state { APW_CLOSED, APW_CONNECTING, APW_ASKED, APW_ACCEPTING, APW_OPEN, APW_CLOSING, APW_FAILED };

struct apw_terms {		/* what the other side announced */
	uint64_t size;
	uint32_t seq0;
	uint16_t step, every, type;
	uint8_t	 flags, size_class;
};

struct apw_conn {		/* its number is that of its incoming row */
	uint8_t	 state;		/* enum apw_conn_state; writer: conn.c */
	uint8_t	 tries;
	bool	 keep_window, polled;
	uint8_t	 why;		/* enum ci_error */
	uint16_t lport, rport;
	uint32_t in_index;	/* its name for others */
	uint32_t out;		/* row of its outgoing aperture; 0: none */
	uint32_t peer_index;
	uint32_t chain, prev, next;
	struct apw_addr peer;
	uint64_t peer_nonce;
	uint64_t next_at;	/* NEVER_NS: no timer */
	struct apw_terms terms;
	struct apw_side side;
};

#define COUNT(name, sentence) APW_N_##name,
enum apw_count {
#include "core/aperture/counts.def"
	APW_N_COUNTS
};
#undef COUNT
extern const char *const apw_count_name[APW_N_COUNTS];

struct apw_frame {		/* one to be sent: len bytes from bytes + start on */
	struct apw_addr to;
	uint16_t type;		/* CI_TYPE_*; on Ethernet messages go as CI_TYPE_EVENT */
	uint32_t start, len;
	uint8_t	 lead[APW_LEAD];	/* room in front, for the carrier's header */
	uint8_t	 bytes[];
};

struct apw;

/* ---- start ---------------------------------------------------------------------------------- */

size_t apw_bytes(const struct apw_conf *c);
struct apw *apw_init(void *mem, const struct apw_conf *c);
/* Invariants of docs/internals/apertures-wire.md; must() if one is broken. */
void apw_check(const struct apw *e);
uint64_t apw_count(const struct apw *e, enum apw_count c);
uint32_t apw_host(const struct apw *e);

/* Memory that may be offered. -ENOSPC. Ended once no aperture is on it: -EBUSY. */
must_check int apw_region(struct apw *e, void *base, uint64_t bytes, uint32_t *ret);
int apw_region_end(struct apw *e, uint32_t region);
/* A queue in mem (apw_evq_bytes() long, zero). Queue 0 is the system's. -ENOSPC. */
must_check int apw_queue(struct apw *e, void *mem, uint32_t n_ev, uint32_t n_words, uint32_t *ret);
void apw_crit(struct apw *e, uint32_t queue, const struct apw_crit *c);
void apw_where(struct apw *e, uint32_t queue, enum apw_event_type t, enum apw_where w);
uint32_t apw_depth(const struct apw *e, uint32_t queue);
/* The line: was there an interrupt since the last call? Queue 0 names the ports. */
bool apw_take_irq(struct apw *e);

/* ---- ports --------------------------------------------------------------------------------- */

/* Port 0: one that is free is chosen. -EADDRINUSE, -ENOSPC, -EINVAL. */
must_check int apw_bind(struct apw *e, uint16_t port, const struct apw_offer *o, uint16_t *ret_port);
/* Its connections are closed. -ENOENT. */
int apw_unbind(struct apw *e, uint64_t now, uint16_t port);
/* What ALIVE is answered with (S2-PORT-04). */
void apw_port_state(struct apw *e, uint16_t port, enum ci_port_state s);
void apw_all_states(struct apw *e, enum ci_port_state s);
/* The row of a port's messages (kind APW_PORT) or of its variable ones (APW_IPQ); NULL: not bound. */
struct apw_in *apw_port_row(struct apw *e, uint16_t port, enum apw_kind kind);

/* ---- connections ------------------------------------------------------------------------------ */

/* Sends CONNECT; OPEN or CLOSED will be in lport's queue. -ENOSPC, -EINVAL, -ENOENT (lport). */
must_check int apw_connect(struct apw *e, uint64_t now, const struct apw_connect *c, uint32_t *ret_conn);
/* Of a connection in SETUP; `port` may be another bound port that takes over (port'_B), or 0.
 * side NULL: the port's. -ENOENT. */
int apw_accept(struct apw *e, uint64_t now, uint32_t conn, uint16_t port, const struct apw_side *side);
int apw_reject(struct apw *e, uint64_t now, uint32_t conn, enum ci_error why);
int apw_close(struct apw *e, uint64_t now, uint32_t conn);
/* Who died in the middle of something leaves an engine that nobody may move. What can still be done
 * is to read it: the CLOSE (CI_MSG_LEN bytes) for the connection of that row; 0: it has none. */
uint32_t apw_last_words(const struct apw *e, uint32_t row, uint8_t *p, struct apw_addr *ret_to);
/* By the number in events; NULL: there is none. */
const struct apw_conn *apw_conn(const struct apw *e, uint32_t conn);
/* Its outgoing aperture's address on the local bus and size. -ENOTCONN, -ENOENT. */
must_check int apw_conn_bus(const struct apw *e, uint32_t conn, uint64_t *ret_bus, uint64_t *ret_size);
/* Asks the port's interface how it is: ALIVEACK comes to lport. conn 0: about the port alone. */
int apw_alive(struct apw *e, const struct apw_addr *to, uint16_t port, uint16_t lport, uint32_t conn);
/* Words to a port; lost or duplicated as any datagram. -EMSGSIZE. */
int apw_message(struct apw *e, const struct apw_addr *to, uint16_t port, uint16_t lport, const void *p, uint32_t n);

/* An outgoing aperture ahead of its connection: its address stays the same whatever host it is
 * mapped on (S2-CON-05). size_class APW_COLUMN: up to 4 GB. trust: S2-PRIV-02. -ENOSPC. */
must_check int apw_window(struct apw *e, uint32_t size_class, uint32_t trust, uint32_t *ret_window);
void apw_window_end(struct apw *e, uint32_t window);
uint64_t apw_window_bus(const struct apw *e, uint32_t window);
/* Takes from an application's page U what its trust allows. -EPERM: trust 0; -EINVAL. */
must_check int apw_activate(struct apw *e, uint32_t window, const struct apw_user *u);
/* S2-IN-06: finer bounds inside the aperture. -EINVAL: not inside. */
must_check int apw_narrow(struct apw *e, uint32_t conn, uint32_t first, uint32_t last);
/* Checks of an incoming aperture, and its validity (APW_CK_*, APW_F_*). */
must_check int apw_set_checks(struct apw *e, uint32_t conn, uint32_t checks, uint32_t flags);
/* Map bits of local addresses, replaced before a store is split (S2-MAP-06). NULL: none. */
void apw_set_remap(struct apw *e, const struct apw_remap *m);

/* Rows by themselves, without a connection: what an owner sets by hand. index, seq (= seq0) and,
 * if zero, the nonce are filled in. -ENOSPC. */
must_check int apw_in_open(struct apw *e, const struct apw_in *row, uint32_t *ret_index);
must_check int apw_out_open(struct apw *e, const struct apw_out *row, uint32_t *ret_index);
void apw_in_close(struct apw *e, uint32_t index);
void apw_out_close(struct apw *e, uint32_t index);
/* For tools: the row of that number, whatever it holds. */
const struct apw_in *apw_in_row(const struct apw *e, uint32_t row);
const struct apw_out *apw_out_row(const struct apw *e, uint32_t row);
struct apw_table *apw_in_table(struct apw *e);
struct apw_table *apw_out_table(struct apw *e);

/* ---- data ------------------------------------------------------------------------------------- */

#define APW_S_EVENT	0x1u	/* tell the other application once it is there */
#define APW_S_FLUSH	0x2u	/* and nothing more will come soon */

/* Stores n bytes at a bus address. They are in frames when it returns, all or (-errno) none:
 * -ENXIO no such aperture, -ERANGE beyond it, -EOPNOTSUPP it is an event queue, -ENOBUFS no
 * frames free: send some. At most apw_store_max() bytes. */
must_check int apw_store(struct apw *e, uint64_t now, uint64_t bus, const void *p, uint32_t n, uint32_t flags);
uint32_t apw_store_max(const struct apw *e);
/* An event of eight bytes to an aperture that is a queue. As apw_store(); -EOPNOTSUPP: memory. */
must_check int apw_event(struct apw *e, uint64_t now, uint64_t bus, uint32_t a, uint32_t b);
/* A delivery event with a word of one's own, after all stores before it. As apw_store(). */
must_check int apw_notify(struct apw *e, uint64_t now, uint64_t bus, uint32_t value, uint32_t flags);
/* Closes the frame that waits for more stores. */
void apw_flush(struct apw *e);

/* Reads n bytes (at most apw_read_max()) into p, which must stay until apw_read_done() says so.
 * n 0 is a fence: done when the other side has seen all stores before it. -ENOBUFS, -ENXIO, -ERANGE. */
must_check int apw_read(struct apw *e, uint64_t now, uint32_t conn, uint64_t offset, void *p, uint32_t n,
			uint32_t *ret_read);
uint32_t apw_read_max(const struct apw *e);
/* -EINPROGRESS; or 0 or what went wrong, and the read is forgotten: -EIO stores were lost (what
 * follows is in step again), -ETIMEDOUT, -ERANGE, -EACCES, -ECONNRESET. */
must_check int apw_read_done(struct apw *e, uint32_t read);
bool apw_read_over(const struct apw *e, uint32_t read);	/* apw_read_done() has something to say */
void apw_read_cancel(struct apw *e, uint32_t read);

/* ---- frames and time ----------------------------------------------------------------------------- */

/* A frame came: p[0..n) is what follows the two bytes of type. It must stay where it is until
 * apw_rx_end(), so that contiguous bursts can be written as one. */
void apw_rx(struct apw *e, uint64_t now, const struct apw_addr *from, uint16_t type, const uint8_t *p, uint32_t n);
void apw_rx_end(struct apw *e);
/* Joined bursts not yet in memory are written, at most `steps` times APW_STEP_BYTES (S2-IN-03).
 * True: none are left. apw_rx_end() does all. */
bool apw_write_some(struct apw *e, uint32_t steps);
void apw_tick(struct apw *e, uint64_t now);
uint64_t apw_deadline(const struct apw *e);	/* NEVER_NS: none */

struct apw_frame *apw_tx_peek(struct apw *e);	/* NULL: nothing to send */
void apw_tx_pop(struct apw *e);

#endif
