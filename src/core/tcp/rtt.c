/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Round-trip time and the retransmission time-out (RFC 6298), in integers.
 *
 * srtt is kept times 8 and rttvar times 4, so that the gains 1/8 and 1/4 are shifts. Linux
 * wins over RFC 6298 (2.4): the time-out is SRTT + max(4 RTTVAR, 200 ms), at most 120 s,
 * where the RFC asks for at least 1 s in all.
 *
 * Samples come only from segments sent once (Karn, RFC 6298 3), or, where timestamps are
 * agreed, from the echo (RFC 7323 4.1); acked.c chooses.
 */
#include "core/tcp/parts.h"

void tcp_rtt_init(struct tcp_rtt *r)
{
	r->srtt_us8 = 0;
	r->rttvar_us4 = 0;
	r->rto_us = TCP_RTO_INIT_US;	/* RFC 6298 (2.1): 1 second before any sample */
	r->min_us = UINT32_MAX;
	r->latest_us = 0;
}

void tcp_rtt_sample(struct tcp_rtt *r, uint32_t us)
{
	uint32_t err, var;

	us = min_u32(us ? us : 1, TCP_RTO_MAX_US);
	r->latest_us = us;
	r->min_us = min_u32(r->min_us, us);
	if (r->srtt_us8 == 0) {		/* RFC 6298 (2.2): SRTT <- R, RTTVAR <- R/2 */
		r->srtt_us8 = us << 3;
		r->rttvar_us4 = us << 1;
	} else {			/* RFC 6298 (2.3): RTTVAR first, with the old SRTT */
		uint32_t srtt = r->srtt_us8 >> 3;

		err = srtt > us ? srtt - us : us - srtt;
		r->rttvar_us4 = r->rttvar_us4 - (r->rttvar_us4 >> 2) + err;
		r->srtt_us8 = r->srtt_us8 - srtt + us;
	}
	var = r->rttvar_us4 > TCP_RTO_MIN_US ? r->rttvar_us4 : TCP_RTO_MIN_US;
	r->rto_us = min_u32((r->srtt_us8 >> 3) + var, TCP_RTO_MAX_US);
}

/* RFC 6298 (5.5): doubled at each expiry, up to a bound. */
uint64_t tcp_rtt_rto_ns(const struct tcp_rtt *r, uint32_t backoff)
{
	uint64_t us = (uint64_t)r->rto_us << min_u32(backoff, 16);

	return min_u64(us, TCP_RTO_MAX_US) * NS_PER_US;
}
