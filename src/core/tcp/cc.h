/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Congestion control behind one table: how cwnd moves while nothing is being recovered, and what
 * a loss or a mark costs. When to reduce is recover.c's business. Pure objects over struct tcp_cc,
 * which know neither connection nor clock; windows in bytes, times in ns or us as named.
 *
 *	cubic	RFC 9438, with HyStart++ (RFC 9406); the default
 *	reno	RFC 5681, RFC 6582
 *	bbr	version 1, as in Linux: a model of the path, cwnd and pacing rate follow from it
 *	dctcp	RFC 8257: cuts by the share of marked bytes; needs ECN, and is reno without it
 */
#ifndef CORE_TCP_CC_H
#define CORE_TCP_CC_H

#include "core/tcp/tcb.h"

#define CC_F_OWNS	(1u << 0)	/* sets cwnd itself and wants to be paced; PRR and idling leave it alone */
#define CC_F_SAMPLES	(1u << 1)	/* on_sample() for each acknowledgement */
#define CC_F_HYSTART	(1u << 2)	/* ... in the first slow start only */
#define CC_F_ECN	(1u << 3)	/* asks for ECN, and is told of each mark */

/* What one acknowledgement has told. */
struct tcp_cc_sample {
	uint64_t now;
	uint32_t una, nxt;
	uint32_t acked, delivered, lost;	/* newly: in order, in any order, marked lost */
	uint32_t prior_in_flight, in_flight;
	int64_t	 rtt_us;		/* -1: none */
	uint32_t srtt_us, min_rtt_us;
	uint32_t total, total_ce, total_lost;	/* delivered, with ECE, marked lost: modulo 2^32 */
	uint32_t rs_delivered, rs_interval_us, rs_prior;	/* the delivery rate's sample (rate.c) */
	bool	 rs_valid, app_limited;
	uint8_t	 ca_state;
};

struct tcp_cc_ops {
	const char *name;
	uint32_t flags;			/* CC_F_* */
	void	 (*init)(struct tcp_cc *c);
	/* `acked` bytes acknowledged while cwnd was the limit, outside recovery. */
	void	 (*on_ack)(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us);
	/* A loss: returns the new ssthresh, and remembers what it must. */
	uint32_t (*on_loss)(struct tcp_cc *c);
	uint32_t (*on_mark)(struct tcp_cc *c);	/* ECN: the same; NULL: as a loss */
	/* Something is sent, and for idle_ns nothing was; app_limited: for want of data. */
	void	 (*on_idle)(struct tcp_cc *c, uint64_t idle_ns, uint64_t now, bool app_limited);
	void	 (*on_sample)(struct tcp_cc *c, const struct tcp_cc_sample *s);	/* may be NULL */
	void	 (*on_state)(struct tcp_cc *c, enum tcp_ca state, uint64_t now, uint32_t total,
			     uint32_t total_lost);	/* may be NULL */
	void	 (*on_undo)(struct tcp_cc *c);	/* NULL: cwnd is what it was before the cut */
};

extern const struct tcp_cc_ops tcp_cc_reno, tcp_cc_cubic, tcp_cc_bbr, tcp_cc_dctcp;
const struct tcp_cc_ops *tcp_cc_of(uint8_t algo);
static inline const struct tcp_cc_ops *tcp_cc_ops(const struct tcp_cc *c) { return tcp_cc_of(c->algo); }

void tcp_cc_init(struct tcp_cc *c, uint8_t algo, uint32_t mss);
void tcp_cc_set_mss(struct tcp_cc *c, uint32_t mss);
/* Slow start (RFC 5681 3.1): returns the bytes left over past ssthresh. */
uint32_t tcp_cc_slow_start(struct tcp_cc *c, uint32_t acked);
void tcp_cc_grow(struct tcp_cc *c, uint32_t bytes);

/* A connection is open, or is told to use another algorithm: b->cc_wanted, or what comes nearest. */
void tcp_cc_begin(struct turn *t, struct tcb *b);
void tcp_cc_switch(struct turn *t, struct tcb *b);

/* RFC 9406 4.2: one acknowledgement of the first slow start; true: it is over. */
must_check bool tcp_hystart(struct tcp_hystart *h, const struct tcp_cc_sample *s);

static inline bool tcp_cc_in_first(const struct tcp_cc *c) { return c->ssthresh >= INT32_MAX; }

static inline void tcp_cc_on_ack(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us)
{
	tcp_cc_ops(c)->on_ack(c, acked, now, srtt_us);
}

#endif
