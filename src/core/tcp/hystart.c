/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * HyStart++ (RFC 9406): the first slow start ends when the least round trip of a round is clearly
 * longer than that of the round before, that is when a queue builds, and not only when it overflows.
 * Because it may be jitter, growth goes on for five rounds at a quarter of the pace (CSS); if the
 * round trip falls back meanwhile, slow start goes on as if nothing had been.
 */
#include "core/tcp/cc.h"
#include "core/tcp/parts.h"

/* RFC 9406 4.3 */
#define MIN_THRESH_US	4000u
#define MAX_THRESH_US	16000u
#define MIN_DIVISOR	8u
#define N_SAMPLES	8u
#define CSS_ROUNDS	5u

static void begin_round(struct tcp_hystart *h, const struct tcp_cc_sample *s)
{
	h->last_min_us = h->in_round ? h->min_us : UINT32_MAX;
	h->min_us = UINT32_MAX;
	h->n_samples = 0;
	h->round_end = s->nxt;
	h->in_round = 1;
	if (h->css)
		h->css++;
}

static void look(struct tcp_hystart *h)
{
	uint32_t thresh = min_u32(max_u32(h->last_min_us / MIN_DIVISOR, MIN_THRESH_US), MAX_THRESH_US);

	if (h->n_samples < N_SAMPLES || h->min_us == UINT32_MAX)
		return;
	if (h->css) {
		if (h->min_us < h->css_min_us)	/* 4.2: it was jitter */
			h->css = 0;
		return;
	}
	if (h->last_min_us == UINT32_MAX || h->min_us < h->last_min_us + thresh)
		return;
	h->css_min_us = h->min_us;
	h->css = 1;
}

bool tcp_hystart(struct tcp_hystart *h, const struct tcp_cc_sample *s)
{
	if (!h->in_round || !before(s->una, h->round_end))
		begin_round(h, s);
	if (s->rtt_us >= 0) {
		h->min_us = min_u32(h->min_us, (uint32_t)min_u64((uint64_t)s->rtt_us, UINT32_MAX - 1));
		h->n_samples += h->n_samples < UINT8_MAX;
		look(h);
	}
	return h->css > CSS_ROUNDS;
}
