/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Proportional rate reduction (RFC 6937, with the choice of RFC 6937bis between its two bounds):
 * how fast a recovery sends. cwnd is set anew by each acknowledgement, to what is in flight and
 * what that acknowledgement is worth:
 *
 *	flight above ssthresh	ssthresh / flight at the start, for each byte delivered
 *	flight at or below it	a byte for a byte; and a segment more while all goes well
 *
 * So the cut is spread over a round trip instead of silencing the sender for the first third
 * of it, and many losses at once do not end in one burst. At the end cwnd is ssthresh.
 */
#include "core/tcp/parts.h"

/* How much what is delivered allows beyond what has been sent for it. */
static int64_t allowance(const struct tcb *b, uint32_t flight, uint32_t delivered, bool safe)
{
	uint32_t target = max_u32(b->cc.ssthresh, b->mss);
	int64_t owed = (int64_t)b->prr_delivered - b->prr_out;

	if (flight > target) {
		uint64_t n = (uint64_t)b->prr_delivered * target + b->prr_flight - 1;

		return (int64_t)(n / max_u32(b->prr_flight, 1)) - b->prr_out;
	}
	owed = owed > delivered ? owed : delivered;
	owed += safe ? b->mss : 0;
	return owed < target - flight ? owed : target - flight;
}

/* `delivered` bytes have newly arrived. `safe`: snd_una has advanced and nothing more is lost. */
void tcp_prr(struct tcb *b, uint32_t delivered, bool safe)
{
	uint32_t flight = tcp_in_flight(b);
	int64_t room;

	b->prr_delivered += delivered;
	room = allowance(b, flight, delivered, safe);
	if (room < b->mss && b->prr_out == 0)	/* the first retransmission goes at once */
		room = b->mss;
	b->cc.cwnd = max_u32(flight + (room > 0 ? (uint32_t)room : 0), b->mss);
}

/* What this batch of acknowledgements has delivered so far is in prr_delivered already: output
 * comes after the batch, and nothing has been sent for it. */
void tcp_prr_begin(struct tcb *b)
{
	uint32_t out = tcp_out_bytes(b);

	b->prr_out = 0;
	b->prr_flight = max_u32(out - min_u32(b->sacked_out, out) + b->prr_delivered, b->mss);
	tcp_prr(b, 0, false);
}
