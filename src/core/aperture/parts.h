/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the engine know of each other. */
#ifndef CORE_APERTURE_PARTS_H
#define CORE_APERTURE_PARTS_H

#include <errno.h>

#include "base/must.h"
#include "core/aperture/aperture.h"

struct apw_region { uint8_t *base; uint64_t bytes; uint32_t users; };

struct apw_port {
	uint16_t port;		/* 0: free */
	uint8_t	 state;		/* enum ci_port_state */
	uint32_t n_conns;
	struct apw_offer offer;
	struct apw_in row;	/* APW_PORT */
	struct apw_in ipq;	/* APW_IPQ */
};

enum { RD_FREE, RD_WAITS, RD_DONE };

struct apw_pending {		/* a read or a fence of ours */
	uint8_t	 state;		/* RD_* */
	uint8_t	 tries;
	int16_t	 result;
	uint32_t conn, tag;
	uint32_t seq;		/* of the aperture when the request was sent */
	uint64_t offset, next_at;
	uint8_t	*p;
	uint32_t n;
};

struct apw_join {		/* S2-IN-04: contiguous bursts that become one write */
	uint8_t	*dst;
	uint32_t bytes, done;
	uint32_t n, piece, piece_done;
	struct { const uint8_t *p; uint32_t n; } at[APW_JOIN_PIECES];
};

struct apw {
	struct apw_conf conf;
	struct apw_table in cacheline_aligned, out cacheline_aligned;
	struct apw_conn *conns;		/* [row of the incoming table] */
	uint32_t *chains;		/* by who connects: heads, [row] */
	struct apw_port *ports;
	uint16_t *port_map;		/* [port]: number in ports + 1 */
	struct apw_region *regions;
	struct apw_evq *queues;
	struct apw_pending *reads;
	uint8_t *frames;
	uint32_t frame_stride, tx_head, tx_tail;
	uint32_t n_queues, timers;	/* timers: connections with one, a list */
	uint64_t conn_due;		/* no timer of those is earlier */
	uint64_t drawn;			/* random numbers drawn so far */
	uint64_t error_second;		/* and how many ERRORs went out in it */
	uint32_t errors;
	bool	 irq;
	bool	 building;		/* a frame is open for stores; its slot is tx_head's */
	uint32_t built_for;		/* row of the out-table whose section is open */
	uint64_t built_at;
	uint32_t n_reads_wait;
	struct ci_build build;
	struct apw_addr build_to;
	struct apw_join join;
	const struct apw_remap *remap;
	struct apw_remap remap_own;
	uint64_t count[APW_N_COUNTS];
};

static inline void apw_ev(struct apw *e, enum apw_count c) { e->count[c]++; }

/* init.c */
uint64_t apw_draw(struct apw *e);			/* 64 bits that nobody can guess */
/* A frame's slot, or NULL: none free (counted). apw_frame_send() makes it the next to be sent. */
struct apw_frame *apw_frame_take(struct apw *e);
void apw_frame_send(struct apw *e, struct apw_frame *f, const struct apw_addr *to, uint16_t type,
		    uint32_t start, uint32_t len);
uint32_t apw_frames_free(const struct apw *e);
/* Posts to a port's queue, and what its criteria ask for. */
void apw_post(struct apw *e, uint16_t port, const struct apw_event *ev, const void *body, uint32_t n);
void apw_post_queue(struct apw *e, uint32_t queue, uint16_t port, const struct apw_event *ev, const void *body,
		    uint32_t n);

/* port.c */
struct apw_port *apw_port_at(struct apw *e, uint16_t port);	/* NULL: not bound */
/* The first check that fails, or APW_N_COUNTS: all hold. seq NULL: has none. */
enum apw_count apw_checks(const struct apw_in *r, const uint32_t *seq, bool named, const struct apw_addr *from,
			  uint32_t host);
void apw_msg_in(struct apw *e, uint64_t now, const struct apw_addr *from, const uint8_t *p, uint32_t n);
void apw_msg_out(struct apw *e, const struct apw_addr *to, struct ci_msg *m, const void *body);

/* conn.c */
struct apw_conn *apw_conn_at(struct apw *e, uint32_t conn);
void apw_on_connect(struct apw *e, uint64_t now, const struct apw_addr *from, const struct ci_msg *m,
		    const uint8_t *raw);
void apw_on_answer(struct apw *e, uint64_t now, const struct apw_addr *from, const struct ci_msg *m);
void apw_conn_used(struct apw *e, uint32_t conn);	/* the peer sent data: it has our ACCEPT */
void apw_conn_tick(struct apw *e, uint64_t now);

/* in.c */
void apw_error_out(struct apw *e, uint64_t now, const struct apw_addr *to, const struct ci_msg *about);
uint8_t *apw_reach(const struct apw *e, const struct apw_in *r, uint64_t offset, uint64_t n);

/* out.c */
void apw_on_read_resp(struct apw *e, const struct ci_hdr *h, const uint8_t *data, uint32_t conn);
void apw_reads_end(struct apw *e, uint32_t conn, int why);
void apw_read_tick(struct apw *e, uint64_t now);
uint64_t apw_read_deadline(const struct apw *e);

#endif
