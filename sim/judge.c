/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The judge reads every frame as it leaves a host and knows only the RFCs and what has been on
 * the wire before. What it refuses:
 *
 *   J1  Ethernet or IP headers that are wrong, a frame longer than the MTU, a wrong checksum;
 *   J2  TCP headers that are wrong: data offset, options that do not parse, SYN with FIN or RST,
 *       a SYN option outside a SYN;
 *   J3  data beyond the right edge that the other side has ever offered, but for a probe of one
 *       byte (RFC 9293 3.8.6.1);
 *   J4  a right edge that moves left (RFC 9293 3.8.6), beyond what scaling rounds;
 *   J5  an ACK of what has never been sent, or one that goes back;
 *   J6  a segment longer than the other side's MSS allows (RFC 9293 3.7.1, RFC 6691);
 *   J7  payload that is not the stream's: sent again with other bytes, or from another place;
 *   J8  a timestamp value that goes back, or the option missing once it has been agreed on;
 *   J9  SACK blocks of what has never been sent.
 */
#include "sim/sim.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "base/csum.h"

#define N_FLOWS 4096
#define TH_FIN 1
#define TH_SYN 2
#define TH_RST 4
#define TH_ACK 16
#define TH_URG 32

struct side {			/* of a flow: what one end has sent */
	bool seen, acked, synack;
	uint32_t iss, snd_max, ack, edge, ts, mss;
	uint8_t wscale;		/* as offered */
	bool offers_ws, offers_ts, offers_sack;
};

struct flow {
	struct ipaddr a[2];
	uint16_t port[2];
	uint16_t used;
	struct talk *talk;
	uint32_t client;	/* which side */
	struct side side[2];
};

struct judge { struct flow flow[N_FLOWS]; uint32_t n; };

struct seg {
	struct ipaddr src, dst;
	uint16_t sport, dport, wnd;
	uint32_t seq, ack, len, flags, ts, ts_ecr, mss;
	uint8_t wscale;
	bool has_ts, has_ws, has_sack_ok, has_mss;
	uint32_t n_sack, sack[8];
	const uint8_t *data;
};

struct judge *judge_new(void)
{
	return calloc(1, sizeof(struct judge));
}

static void parse_option(struct sim *w, struct seg *s, const uint8_t *o, uint32_t n)
{
	bool syn = s->flags & TH_SYN;

	if (o[0] == 2 && n == 4 && syn) {
		s->has_mss = true;
		s->mss = get_be16(o + 2);
	} else if (o[0] == 3 && n == 3 && syn) {
		s->has_ws = true;
		s->wscale = o[2];
		if (o[2] > 14)
			sim_fail(w, "J2: window scale %u", o[2]);
	} else if (o[0] == 4 && n == 2 && syn) {
		s->has_sack_ok = true;
	} else if (o[0] == 5 && n >= 10 && (n - 2) % 8 == 0 && n <= 34 && !syn) {
		s->n_sack = (n - 2) / 4;
		for (uint32_t i = 0; i < s->n_sack; i++)
			s->sack[i] = get_be32(o + 2 + 4 * i);
	} else if (o[0] == 8 && n == 10) {
		s->has_ts = true;
		s->ts = get_be32(o + 2);
		s->ts_ecr = get_be32(o + 6);
	} else {
		sim_fail(w, "J2: option %u of %u bytes, flags %#x", o[0], n, s->flags);
	}
}

static void parse_tcp(struct sim *w, struct seg *s, const uint8_t *p, uint32_t len)
{
	uint32_t thl, i, n;

	thl = len >= 20 ? (uint32_t)(p[12] >> 4) * 4 : 0;
	if (thl < 20 || thl > len)
		sim_fail(w, "J2: TCP header of %u bytes in a segment of %u", thl, len);
	s->seq = get_be32(p + 4);
	s->ack = get_be32(p + 8);
	s->flags = p[13];
	s->wnd = get_be16(p + 14);
	s->data = p + thl;
	s->len = len - thl;
	for (i = 20; i < thl && p[i]; i += n) {
		n = p[i] == 1 ? 1 : i + 1 < thl ? p[i + 1] : 0;
		if (!n || i + n > thl || (p[i] != 1 && n < 2))
			sim_fail(w, "J2: option %u runs out of the header", p[i]);
		if (p[i] != 1)
			parse_option(w, s, p + i, n);
	}
	if ((s->flags & TH_SYN) && (s->flags & (TH_FIN | TH_RST)))
		sim_fail(w, "J2: flags %#x", s->flags);
	if (!(s->flags & (TH_SYN | TH_RST | TH_ACK)))
		sim_fail(w, "J2: a segment without ACK, flags %#x", s->flags);
}

static struct flow *flow_of(struct sim *w, const struct seg *s, uint32_t *ret_side)
{
	struct judge *j = w->judge;
	struct flow *f;

	for (uint32_t i = j->n; i; i--) {	/* latest first: ports are used again */
		f = &j->flow[i - 1];
		for (uint32_t d = 0; d < 2; d++) {
			if (f->port[d] == s->sport && f->port[!d] == s->dport &&
			    ip_eq(&f->a[d], &s->src) && ip_eq(&f->a[!d], &s->dst)) {
				*ret_side = d;
				return f;
			}
		}
	}
	if (j->n == N_FLOWS)
		j->n = 0;
	f = &j->flow[j->n++];
	memset(f, 0, sizeof(*f));
	f->a[0] = s->src;
	f->a[1] = s->dst;
	f->port[0] = s->sport;
	f->port[1] = s->dport;
	*ret_side = 0;
	return f;
}

static void judge_syn(struct sim *w, struct flow *f, uint32_t d, const struct seg *s)
{
	struct side *me = &f->side[d], *you = &f->side[!d];
	bool from_client = false;	/* a SYN of nobody's */

	if (!(s->flags & TH_ACK) && (!me->seen || me->iss != s->seq)) {
		if (me->seen)
			memset(you, 0, sizeof(*you));
		memset(me, 0, sizeof(*me));
		f->talk = talk_of_frame(w, &s->src, s->sport, &s->dst, s->dport, &from_client);
		f->client = from_client ? d : !d;
	} else if (me->iss != s->seq) {
		memset(me, 0, sizeof(*me));
	}
	if (!me->seen) {
		me->iss = me->snd_max = s->seq;
		me->snd_max++;
		me->edge = s->ack + s->wnd;
		me->ts = s->ts;
	}
	me->seen = true;
	me->synack = s->flags & TH_ACK;
	me->offers_ws = s->has_ws;
	me->wscale = s->wscale;
	me->offers_ts = s->has_ts;
	me->offers_sack = s->has_sack_ok;
	/* A middlebox may take it out; and a SYN that is sent again after the MTU has changed says
	 * something else, of which the other has heard the one or the other. */
	me->mss = max_u32(me->mss, s->has_mss && !(w->k.strip & STRIP_MSS) ? s->mss : max_u32(s->mss, 536));
	if (s->len)
		sim_fail(w, "J2: data in a SYN");
}

static void judge_edge(struct sim *w, struct side *me, const struct side *you, const struct seg *s)
{
	uint8_t shift = me->offers_ws && you->offers_ws ? me->wscale : 0;
	uint32_t edge = s->ack + ((uint32_t)s->wnd << shift);

	if (!me->acked) {
		me->acked = true;
		me->ack = s->ack;
		me->edge = edge;
	}
	if ((int32_t)(s->ack - me->ack) < 0)
		sim_fail(w, "J5: ACK goes back from %u to %u", me->ack, s->ack);
	if (you->seen && (int32_t)(s->ack - you->snd_max) > 0)
		sim_fail(w, "J5: ACK %u of what was never sent (%u)", s->ack, you->snd_max);
	if ((int32_t)(edge - me->edge) < -(int32_t)((1u << shift) - 1))
		sim_fail(w, "J4: right edge moves left by %u, scale %u, window %u", me->edge - edge, shift, s->wnd);
	me->ack = s->ack;
	if ((int32_t)(edge - me->edge) > 0)
		me->edge = edge;
	for (uint32_t i = 0; i < s->n_sack; i += 2) {
		if (!you->offers_sack || !me->offers_sack)
			sim_fail(w, "J9: SACK that was not agreed on");
		if ((int32_t)(s->sack[i + 1] - you->snd_max) > 0 || (int32_t)(s->sack[i + 1] - s->sack[i]) <= 0)
			sim_fail(w, "J9: SACK block %u-%u, sent up to %u", s->sack[i] - you->iss,
				 s->sack[i + 1] - you->iss, you->snd_max - you->iss);
	}
}

static void judge_data(struct sim *w, struct flow *f, uint32_t d, const struct seg *s)
{
	struct side *me = &f->side[d], *you = &f->side[!d];
	uint32_t end = s->seq + s->len, opts = me->offers_ts && you->offers_ts ? 12 : 0;
	int32_t over = (int32_t)(end - you->edge);

	if (you->acked && over > 0 && !(s->len == 1 && over == 1))
		sim_fail(w, "J3: %u bytes of data end %d beyond the window", s->len, over);
	if (you->mss && s->len + opts > you->mss)
		sim_fail(w, "J6: segment of %u bytes and %u of options, MSS %u", s->len, opts, you->mss);
	if (!f->talk)
		return;
	if ((int32_t)(s->seq - me->iss) < 1) {	/* a keepalive's byte lies below all data */
		if (s->len > 1)
			sim_fail(w, "J7: data from before the stream");
		return;
	}
	if (s->len == 1 && (int32_t)(end - me->snd_max) <= 0 && you->acked && end == you->ack)
		return;		/* a keepalive may carry one byte of garbage */
	if (!stream_same(f->talk->key[d != f->client], s->seq - me->iss - 1, s->data, s->len))
		sim_fail(w, "J7: %u bytes at position %u of conversation %u are not the stream's", s->len,
			 s->seq - me->iss - 1, f->talk->id);
}

static void judge_tcp(struct sim *w, struct sim_host *from, struct seg *s)
{
	uint32_t d, end;
	struct flow *f = flow_of(w, s, &d);
	struct side *me = &f->side[d], *you = &f->side[!d];

	if (s->flags & TH_SYN)
		judge_syn(w, f, d, s);
	if (!me->seen || (s->flags & TH_RST))
		return;		/* a reset, or an answer to what is no longer known */
	end = s->seq + s->len + !!(s->flags & TH_SYN) + !!(s->flags & TH_FIN);
	if (s->has_ts && me->offers_ts) {
		if ((int32_t)(s->ts - me->ts) < 0)
			sim_fail(w, "J8: timestamp goes back from %u to %u", me->ts, s->ts);
		me->ts = s->ts;
	}
	if (!s->has_ts && me->offers_ts && you->seen && you->offers_ts && you->synack + me->synack == 1 &&
	    !(s->flags & TH_SYN))
		sim_fail(w, "J8: timestamp missing, host %u", from->id);
	if (s->len)
		judge_data(w, f, d, s);
	if ((int32_t)(end - me->snd_max) > 0)
		me->snd_max = end;
	if ((s->flags & TH_ACK) && !(s->flags & TH_SYN))
		judge_edge(w, me, you, s);
}

static uint64_t judge_ip(struct sim *w, struct sim_host *from, const struct sim_frame *f, struct seg *s,
			 uint32_t *ret_hdr, uint32_t *ret_proto)
{
	const uint8_t *p = f->data;

	if (f->len < 14 + 20 || memcmp(p + 6, from->mac, 6))
		sim_fail(w, "J1: frame of %u bytes, or not our source MAC", f->len);
	if (f->len > w->k.mtu + 14)
		sim_fail(w, "J1: %u bytes, MTU is %u", f->len - 14, w->k.mtu);
	if (p[12] == 0x08 && p[13] == 0x00) {
		if (p[14] != 0x45 || get_be16(p + 16) != f->len - 14 || csum_finish(csum_add_scalar(p + 14, 20, 0)))
			sim_fail(w, "J1: IPv4 header");
		s->src = ip_from4(get_be32(p + 26));
		s->dst = ip_from4(get_be32(p + 30));
		*ret_hdr = 34;
		*ret_proto = p[23];
		if (!ip_eq(&s->src, &from->a4))
			sim_fail(w, "J1: IPv4 source is not the host's");
		return csum_add_u32(csum_add_u16(csum_add_scalar(p + 26, 8, 0), p[23]), f->len - 34);
	}
	if (f->len < 54 || p[12] != 0x86 || p[13] != 0xdd || p[14] >> 4 != 6 || get_be16(p + 18) != f->len - 54)
		sim_fail(w, "J1: IPv6 header");
	memcpy(s->src.b, p + 22, 16);
	memcpy(s->dst.b, p + 38, 16);
	*ret_hdr = 54;
	*ret_proto = p[20];
	if (!ip_eq(&s->src, &from->a6))
		sim_fail(w, "J1: IPv6 source is not the host's");
	return csum_add_u32(csum_add_u16(csum_add_scalar(p + 22, 32, 0), p[20]), f->len - 54);
}

void judge_frame(struct sim *w, struct sim_host *from, const struct sim_frame *f)
{
	struct seg s = { .mss = 0 };
	uint32_t hdr, proto;
	const uint8_t *p = f->data;
	uint64_t sum;

	if (w->k.hostile)
		return;
	sum = judge_ip(w, from, f, &s, &hdr, &proto);
	if (proto != IPPROTO_TCP && proto != IPPROTO_UDP)
		sim_fail(w, "J1: protocol %u", proto);
	if (f->len < hdr + 8)
		sim_fail(w, "J1: no room for a transport header");
	if (proto == IPPROTO_UDP && hdr == 34 && !get_be16(p + hdr + 6))
		return;
	if (csum_finish(csum_add_scalar(p + hdr, f->len - hdr, sum)))
		sim_fail(w, "J1: transport checksum, protocol %u, %u bytes", proto, f->len - hdr);
	s.sport = get_be16(p + hdr);
	s.dport = get_be16(p + hdr + 2);
	if (proto == IPPROTO_UDP) {
		if (get_be16(p + hdr + 4) != f->len - hdr)
			sim_fail(w, "J1: UDP length");
		return;
	}
	parse_tcp(w, &s, p + hdr, f->len - hdr);
	judge_tcp(w, from, &s);
}
