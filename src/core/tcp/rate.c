/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The delivery rate (as in Linux; draft-cheng-iccrg-delivery-rate-estimation): each segment
 * remembers, when it is sent, how much had been delivered by then and since when. When it arrives,
 *
 *	rate = delivered since / the longer of: the time in which that was sent, the time in which
 *	       it was acknowledged
 *
 * so neither a burst of segments nor a burst of acknowledgements makes a path look fast. A sample
 * taken while the application had nothing to send is marked: it says at most how fast the
 * application is (app_limited: the count that must be delivered before that is over).
 *
 * Times are microseconds and counts bytes, modulo 2^32: an hour, and 4 GiB, between a segment and
 * its acknowledgement are more than any path holds.
 */
#include "core/tcp/parts.h"

static_assert(sizeof(struct tcp_tx) <= sizeof(struct ipaddr), "fits in pkt.addr");

static struct tcp_tx tx_of(const struct pkt *p)
{
	struct tcp_tx x;

	memcpy(&x, p->addr.b, sizeof(x));
	return x;
}

void tcp_rate_sent(struct turn *t, struct tcb *b, struct pkt *p)
{
	struct tcp_tx x;

	if (b->snd_nxt == b->snd_una)	/* the clock of a flight begins with it */
		b->rate.first_us = b->rate.at_us = tcp_now_us(t);
	x = (struct tcp_tx){ b->rate.delivered, b->rate.at_us, b->rate.first_us, b->rate.app_limited };
	memcpy(p->addr.b, &x, sizeof(x));
}

/* p has arrived; the latest sent of all that this acknowledgement brings is the sample. */
void tcp_rate_delivered(struct tcb *b, const struct pkt *p, struct tcp_rs *rs)
{
	struct tcp_tx x = tx_of(p);
	uint32_t sent_us = (uint32_t)(p->at / NS_PER_US);

	if (rs->seen && (before(sent_us, b->rate.first_us) ||
			 (sent_us == b->rate.first_us && !after(p->end_seq, rs->end_seq))))
		return;
	rs->seen = true;
	rs->prior_delivered = x.delivered;
	rs->prior_at_us = x.at_us;
	rs->app_limited = x.app_limited != 0;
	rs->end_seq = p->end_seq;
	b->rate.first_us = sent_us;
	rs->interval_us = sent_us - x.first_us;
}

void tcp_rate_on_ack(struct turn *t, struct tcb *b, struct tcp_acked *a, uint32_t delivered)
{
	struct tcp_rate *r = &b->rate;
	struct tcp_rs *rs = &a->rs;
	uint32_t now = tcp_now_us(t);

	r->delivered += delivered;
	if (a->ece)
		r->delivered_ce += delivered;
	if (r->app_limited && after(r->delivered, r->app_limited))
		r->app_limited = 0;
	if (delivered)
		r->at_us = now;
	if (!rs->seen)
		return;
	rs->delivered = r->delivered - rs->prior_delivered;
	rs->interval_us = max_u32(rs->interval_us, now - rs->prior_at_us);
	/* Faster than the path has ever been is an answer to an earlier copy. */
	if (rs->interval_us == 0 || (b->rtt.min_us != UINT32_MAX && rs->interval_us < b->rtt.min_us))
		return;
	rs->valid = true;
	if (!rs->app_limited || (uint64_t)rs->delivered * r->best_us >= (uint64_t)r->best * rs->interval_us) {
		r->best = rs->delivered;
		r->best_us = rs->interval_us;
		b->rate_app = rs->app_limited;
	}
}

void tcp_rate_app_limited(struct tcb *b)
{
	uint32_t until = b->rate.delivered + tcp_in_flight(b);

	b->rate.app_limited = until ? until : 1;
}
