/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP header and options (RFC 9293 3.1, 3.2; RFC 7323 3.2; RFC 2018 2, 3; RFC 7413 4.1.1).
 *
 * Two shapes make up nearly all traffic: no options, and NOP NOP TS. Both are recognised
 * whole; everything else goes through the option walk, which takes each option only at its
 * exact length, as Linux does.
 *
 * The order of options when we emit is Linux's (tcp_options_write): MSS; timestamps, whose
 * two bytes of padding carry SACK-permitted in a SYN; NOP + window scale; Fast Open; NOP NOP SACK. Some
 * middleboxes and every fingerprint database know that order.
 */
#include "wire/tcp.h"

#define OPT_EOL		0
#define OPT_NOP		1
#define OPT_MSS		2
#define OPT_WS		3
#define OPT_SACK_PERM	4
#define OPT_SACK	5
#define OPT_TS		8
#define OPT_FO		34
#define OPT_EXP		254
#define FO_MAGIC	0xf989u

#define TS_BYTES	12	/* NOP NOP TS, or SACK-permitted TS */
#define TS_WORD		0x0101080au	/* NOP NOP TS length 10 */

/* Linux's reading: only in a SYN; an odd length is as no option, another bad one undoes one before it. */
static void parse_fo(const uint8_t *cookie, uint32_t len, bool exp, struct tcp_hdr *h)
{
	if (!(h->flags & TCP_F_SYN) || len % 2)
		return;
	h->fo = (struct tcp_fo){ .has = false };
	if (len != 0 && (len < TCP_FO_MIN || len > TCP_FO_MAX))
		return;
	h->fo.has = true;
	h->fo.exp = exp;
	h->fo.len = (uint8_t)len;
	memcpy(h->fo.cookie, cookie, len);
}

static void parse_option(const uint8_t *o, uint32_t len, struct tcp_hdr *h)
{
	switch (o[0]) {
	case OPT_MSS:
		if (len == 4) {
			h->has_mss = true;
			h->mss = get_be16(o + 2);
		}
		break;
	case OPT_WS:
		if (len == 3) {
			h->has_ws = true;
			h->ws = (uint8_t)min_u32(o[2], TCP_WS_MAX);
		}
		break;
	case OPT_SACK_PERM:
		if (len == 2)
			h->sack_permitted = true;
		break;
	case OPT_SACK:
		if (len < 10 || (len - 2) % 8 || (len - 2) / 8 > TCP_SACK_MAX)
			break;
		h->n_sack = (uint8_t)((len - 2) / 8);
		for (uint32_t i = 0; i < h->n_sack; i++) {
			h->sack[i][0] = get_be32(o + 2 + 8 * i);
			h->sack[i][1] = get_be32(o + 6 + 8 * i);
		}
		break;
	case OPT_TS:
		if (len == 10) {
			h->has_ts = true;
			h->ts_val = get_be32(o + 2);
			h->ts_ecr = get_be32(o + 6);
		}
		break;
	case OPT_FO:
		parse_fo(o + 2, len - 2, false, h);
		break;
	case OPT_EXP:
		if (len >= 4 && get_be16(o + 2) == FO_MAGIC)
			parse_fo(o + 4, len - 4, true, h);
		break;
	default:	/* RFC 9293 3.1: an option not known MUST be skipped */
		break;
	}
}

static void parse_options(const uint8_t *o, uint32_t left, struct tcp_hdr *h)
{
	while (left > 0) {
		uint32_t len;

		if (o[0] == OPT_EOL)
			return;
		if (o[0] == OPT_NOP) {
			len = 1;
		} else {
			/* RFC 9293 3.1: MUST be prepared for an illegal length. */
			if (left < 2 || o[1] < 2 || o[1] > left)
				return;
			len = o[1];
			parse_option(o, len, h);
		}
		o += len;
		left -= len;
	}
}

bool wire_tcp_parse(const uint8_t *p, uint32_t avail, struct tcp_hdr *ret)
{
	uint32_t hdr_len;

	if (avail < TCP_HDR_MIN)
		return false;
	hdr_len = (uint32_t)(p[12] >> 4) * 4;
	if (hdr_len < TCP_HDR_MIN || hdr_len > avail)
		return false;

	ret->sport = get_be16(p);
	ret->dport = get_be16(p + 2);
	ret->seq = get_be32(p + 4);
	ret->ack = get_be32(p + 8);
	ret->flags = p[13];
	ret->hdr_len = (uint8_t)hdr_len;
	ret->wnd = get_be16(p + 14);
	ret->urg = get_be16(p + 18);
	ret->has_ts = ret->has_mss = ret->has_ws = ret->sack_permitted = false;
	ret->ws = 0;
	ret->n_sack = 0;
	ret->fo.has = false;
	ret->mss = 0;
	ret->ts_val = ret->ts_ecr = 0;

	if (likely(hdr_len == TCP_HDR_MIN + TS_BYTES && get_be32(p + 20) == TS_WORD)) {
		ret->has_ts = true;
		ret->ts_val = get_be32(p + 24);
		ret->ts_ecr = get_be32(p + 28);
	} else if (hdr_len > TCP_HDR_MIN) {
		parse_options(p + TCP_HDR_MIN, hdr_len - TCP_HDR_MIN, ret);
	}
	return true;
}

/* SACK blocks that fit beside the other options. */
static uint32_t sack_room(const struct tcp_hdr *h, uint32_t used)
{
	uint32_t want = min_u32(h->n_sack, TCP_SACK_MAX);
	uint32_t left = TCP_HDR_MAX - TCP_HDR_MIN - used;

	if (want == 0 || left < 4 + 8)
		return 0;
	return min_u32(want, (left - 4) / 8);
}

static uint32_t fo_len(const struct tcp_hdr *h)
{
	return h->fo.has ? ((h->fo.exp ? 4u : 2u) + h->fo.len + 3u) & ~3u : 0;
}

/* Bytes of all options but SACK blocks. */
static uint32_t fixed_opts_len(const struct tcp_hdr *h)
{
	uint32_t n = 0;

	if (h->has_mss)
		n += 4;
	if (h->has_ts)
		n += TS_BYTES;
	else if (h->sack_permitted)
		n += 4;
	if (h->has_ws)
		n += 4;
	return n + fo_len(h);
}

uint32_t wire_tcp_emit_len(const struct tcp_hdr *h)
{
	uint32_t n = fixed_opts_len(h);
	uint32_t blocks = sack_room(h, n);

	return TCP_HDR_MIN + n + (blocks ? 4 + 8 * blocks : 0);
}

static uint8_t *emit_fo(uint8_t *o, const struct tcp_fo *fo, uint32_t bytes)
{
	uint32_t n = (fo->exp ? 4u : 2u) + fo->len;

	memset(o, OPT_NOP, bytes);
	o[0] = fo->exp ? OPT_EXP : OPT_FO;
	o[1] = (uint8_t)n;
	if (fo->exp)
		put_be16(o + 2, FO_MAGIC);
	memcpy(o + n - fo->len, fo->cookie, fo->len);
	return o + bytes;
}

static uint8_t *emit_fixed_opts(uint8_t *o, const struct tcp_hdr *h)
{
	if (h->has_mss) {
		put_be32(o, (uint32_t)OPT_MSS << 24 | 4u << 16 | h->mss);
		o += 4;
	}
	if (h->has_ts) {
		put_be32(o, h->sack_permitted ?
			 (uint32_t)OPT_SACK_PERM << 24 | 2u << 16 | OPT_TS << 8 | 10 : TS_WORD);
		put_be32(o + 4, h->ts_val);
		put_be32(o + 8, h->ts_ecr);
		o += TS_BYTES;
	} else if (h->sack_permitted) {
		put_be32(o, (uint32_t)OPT_NOP << 24 | OPT_NOP << 16 | OPT_SACK_PERM << 8 | 2);
		o += 4;
	}
	if (h->has_ws) {
		put_be32(o, (uint32_t)OPT_NOP << 24 | OPT_WS << 16 | 3u << 8 | h->ws);
		o += 4;
	}
	if (h->fo.has)
		o = emit_fo(o, &h->fo, fo_len(h));
	return o;
}

uint32_t wire_tcp_emit(uint8_t *p, const struct tcp_hdr *h)
{
	uint8_t *o = emit_fixed_opts(p + TCP_HDR_MIN, h);
	uint32_t blocks = sack_room(h, (uint32_t)(o - p) - TCP_HDR_MIN);
	uint32_t len;

	if (blocks) {
		put_be32(o, (uint32_t)OPT_NOP << 24 | OPT_NOP << 16 | OPT_SACK << 8 |
			 (2 + 8 * blocks));
		o += 4;
		for (uint32_t i = 0; i < blocks; i++, o += 8) {
			put_be32(o, h->sack[i][0]);
			put_be32(o + 4, h->sack[i][1]);
		}
	}
	len = (uint32_t)(o - p);
	put_be16(p, h->sport);
	put_be16(p + 2, h->dport);
	put_be32(p + 4, h->seq);
	put_be32(p + 8, h->ack);
	p[12] = (uint8_t)(len / 4 << 4);
	p[13] = h->flags;
	put_be16(p + 14, h->wnd);
	put_be16(p + TCP_CSUM_OFF, 0);
	put_be16(p + 18, h->urg);
	return len;
}
