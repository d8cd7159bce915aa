/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dual event queues with split pointers (S2-DQ, S2-VQ).
 *
 * A queue is two rings in memory that the engine ("nic") and the application share: events of
 * 16 bytes, and words for what varies in length. An event with words > 0 says that so many
 * words of the second ring are its own. Of each pointer the original is with its writer, the
 * copy with its reader, and either side works from what is near it:
 *
 *	             original               copy
 *	WRPTR   struct apw_evq.wr      struct apw_evq_host.wr    (line written by the engine)
 *	RDPTR   struct apw_evq_user.rd struct apw_evq_host.rd    (line written by the application)
 *
 * Q1 Nothing unread is overwritten: without room for all of an item it is counted and dropped.
 * Q2 An item is visible whole: its words are written before its event, the event before WRPTR'.
 * Q3 RDPTR' is the application's word: the engine takes it as "full" if it cannot be.
 * Q4 For one arming (value of IRQ') there is at most one interrupt.
 */
#ifndef CORE_APERTURE_EVQ_H
#define CORE_APERTURE_EVQ_H

#include <assert.h>

#include "base/types.h"

/* 3 and 6 to 11 are the out-of-band events of a port (S2-PORT-02); 13 is the system queue's. */
enum apw_event_type {
	APW_EV_VAR = 2,		/* a variable item alone; a: its type */
	APW_EV_DELIVERY = 3,	/* data were delivered, and the sender wanted it told */
	APW_EV_SETUP = 6,	/* somebody wants to connect; words: his message */
	APW_EV_OPEN = 7,	/* a connection is open */
	APW_EV_CLOSED = 8,	/* ... is over; a: enum ci_error */
	APW_EV_ALIVEACK = 9,	/* a: enum ci_port_state, b: depth of its queue */
	APW_EV_ERROR = 10,	/* a: enum ci_error, b: offset */
	APW_EV_MESSAGE = 11,	/* words: its header and body */
	APW_EV_ODB_DATA = 13,	/* system queue: the port in `index` needs somebody to look */
	APW_EV_MAX = 14,
};

#define APW_EVF_PACKET	0x01u	/* DELIVERY: an event packet, a and b are its payload */

struct apw_event {
	uint8_t	 type;		/* enum apw_event_type */
	uint8_t	 flags;
	uint16_t words;		/* of the variable ring that belong to it */
	uint32_t index;		/* connection; system queue: port */
	uint32_t a, b;		/* DELIVERY: offset, number of the packet */
};
static_assert(sizeof(struct apw_event) == 16, "fixed size");

/* Which ring an item of a type goes to (S2-VQ-03). */
enum apw_where { APW_FIXED, APW_VARIABLE, APW_BOTH };

struct apw_evq_host {		/* shared; the events and the words follow */
	uint32_t wr cacheline_aligned;	/* WRPTR'; writer: engine */
	uint32_t var_wr;
	uint32_t pad_w[14];
	uint32_t rd;		/* RDPTR'; writer: application */
	uint32_t var_rd;
	uint32_t irq;		/* IRQ': 0, or the number of this arming */
	uint32_t pad_r[13];
};
static_assert(sizeof(struct apw_evq_host) == 128, "a line for each writer");

/* When the engine interrupts though nobody armed (S2-DQ-06); writer: the system. */
#define APW_CRIT_BLOCKED 0x01u	/* nobody handles this port now: interrupt */
#define APW_CRIT_FORM	 0x02u	/* ... but only for events that match */
#define APW_CRIT_ERROR	 0x04u	/* an error always interrupts, and is copied to the system queue */
#define APW_N_FORMS	 4

struct apw_crit {
	uint32_t flags;
	uint32_t types;		/* FORM: bit per event type */
	uint32_t n_forms;	/* FORM: and the event must match one of these, if any are given */
	uint32_t pad;
	struct { uint64_t mask, value; } form[APW_N_FORMS];	/* over the event's first 8 bytes */
};

struct apw_evq {		/* the engine's side */
	struct apw_evq_host *host;
	struct apw_event *ev;
	uint32_t *words;
	uint32_t n_ev, n_words;	/* powers of two */
	uint32_t wr, var_wr;	/* WRPTR */
	uint32_t rang;		/* the arming for which we interrupted last */
	uint8_t	 where[APW_EV_MAX];	/* enum apw_where */
	struct apw_crit crit;
	uint64_t posted, overflow, irqs;
};

struct apw_evq_user {		/* the application's side */
	struct apw_evq_host *host;
	const struct apw_event *ev;
	const uint32_t *words;
	uint32_t n_ev, n_words;
	uint32_t rd, var_rd;	/* RDPTR */
	uint32_t arming;
};

size_t apw_evq_bytes(uint32_t n_ev, uint32_t n_words);	/* of the shared memory */
/* Both counts are powers of two; mem is zero. */
void apw_evq_init(struct apw_evq *q, void *mem, uint32_t n_ev, uint32_t n_words);
void apw_evq_attach(struct apw_evq_user *u, void *mem, uint32_t n_ev, uint32_t n_words);

/* What apw_evq_post() did. */
#define APW_POSTED	0x1u
#define APW_IRQ		0x2u	/* and the line is to be raised */
#define APW_IS_ERROR	0x4u	/* and the system queue wants a copy */
/* Posts an item: an event, with n bytes that belong to it (padded to whole words). */
uint32_t apw_evq_post(struct apw_evq *q, const struct apw_event *e, const void *body, uint32_t n);
uint32_t apw_evq_depth(const struct apw_evq *q);	/* events not taken yet, as the engine knows */

/* Takes one event and its words (at most max, the rest is thrown away). Returns 1, or 0: none. */
int apw_evq_take(struct apw_evq_user *u, struct apw_event *ret, uint32_t *ret_words, uint32_t max);
/* Wakes me for the next event (S2-DQ-03 step 7). Then look once more, then sleep. */
void apw_evq_arm(struct apw_evq_user *u);
void apw_evq_disarm(struct apw_evq_user *u);
bool apw_evq_pending(const struct apw_evq_user *u);

#endif
