/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Congestion control: how cwnd moves while nothing is being recovered, and what a loss costs.
 * When to reduce is recover.c's business. Pure objects over struct tcp_cc; windows in bytes.
 */
#ifndef CORE_TCP_CC_H
#define CORE_TCP_CC_H

#include "core/tcp/tcb.h"

struct tcp_cc_ops {
	const char *name;
	void	 (*init)(struct tcp_cc *c);
	/* `acked` bytes acknowledged while cwnd was the limit, outside recovery. */
	void	 (*on_ack)(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us);
	/* A loss: returns the new ssthresh, and remembers what it must. */
	uint32_t (*on_loss)(struct tcp_cc *c);
	void	 (*on_idle)(struct tcp_cc *c, uint64_t idle_ns);	/* nothing was sent for so long */
};

const struct tcp_cc_ops *tcp_cc_ops(const struct tcp_cc *c);
extern const struct tcp_cc_ops tcp_cc_reno, tcp_cc_cubic;

void tcp_cc_init(struct tcp_cc *c, uint8_t algo, uint32_t mss);
void tcp_cc_set_mss(struct tcp_cc *c, uint32_t mss);
/* Slow start (RFC 5681 3.1): returns the bytes left over past ssthresh. */
uint32_t tcp_cc_slow_start(struct tcp_cc *c, uint32_t acked);
void tcp_cc_grow(struct tcp_cc *c, uint32_t bytes);

static inline void tcp_cc_on_ack(struct tcp_cc *c, uint32_t acked, uint64_t now, uint32_t srtt_us)
{
	tcp_cc_ops(c)->on_ack(c, acked, now, srtt_us);
}

#endif
