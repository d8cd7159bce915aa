/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Wires: a pipe from each host to each other one, with bandwidth, a queue that overflows,
 * delay, jitter, loss by itself and in bursts, reordering, duplication, corruption, and a
 * router with a smaller MTU that says so by ICMP.
 *
 * Corruption flips one bit behind the Ethernet header. One flipped bit always changes a ones'
 * complement sum, so whatever accepts the frame has not looked at its checksum.
 */
#include "sim/sim.h"

#include <netinet/in.h>
#include <stdlib.h>

#include "base/csum.h"

static struct sim_frame *frame_copy(const struct sim_frame *f)
{
	struct sim_frame *c = malloc(sizeof(*c) + f->len);

	must(c);
	memcpy(c, f, sizeof(*c) + f->len);
	return c;
}

static void deliver(struct sim *w, struct sim_host *to, struct sim_frame *f, uint64_t at)
{
	w->n_in_flight++;
	sim_post(w, at, (struct sim_event){ .kind = SE_FRAME, .a = to->id, .frame = f });
}

static void lose(struct sim *w, struct sim_frame *f, const char *why)
{
	record_text(w, "wire: %u bytes lost: %s", f->len, why);
	w->n_lost++;
	free(f);
}

static void corrupt(struct sim *w, struct sim_frame *f)
{
	uint32_t at = (uint32_t)sim_between(w, 14, f->len - 1);

	f->data[at] ^= (uint8_t)(1u << prng_below(&w->rng, 8));
	record_text(w, "wire: byte %u corrupted", at);
}

static void emit_ip4(uint8_t *ip, uint32_t tot, uint8_t proto, uint32_t src, const uint8_t *dst4)
{
	uint16_t c;

	memset(ip, 0, 20);
	ip[0] = 0x45;
	put_be16(ip + 2, (uint16_t)tot);
	ip[8] = 64;
	ip[9] = proto;
	put_be32(ip + 12, src);
	memcpy(ip + 16, dst4, 4);
	c = csum_finish(csum_add_scalar(ip, 20, 0));
	memcpy(ip + 10, &c, 2);
}

/* A router 10.0.0.254 or fd00::fe says that f is too big (RFC 1191, RFC 8201; mtu not 0), or that
 * it cannot be delivered. */
static struct sim_frame *icmp_error(struct sim_host *from, const struct sim_frame *f, uint32_t mtu)
{
	bool is4 = f->data[12] == 0x08;
	uint32_t quote = min_u32(f->len - 14, is4 ? 548 : 1232);
	uint32_t hdr = is4 ? 20 : 40, icmp_len = 8 + quote;
	struct sim_frame *e = calloc(1, sizeof(*e) + 14 + hdr + icmp_len);
	uint8_t *ip, *icmp;
	uint64_t sum = 0;
	uint16_t c;

	must(e);
	e->len = 14 + hdr + icmp_len;
	memcpy(e->data, from->mac, 6);
	memcpy(e->data + 6, f->data, 6);
	memcpy(e->data + 12, f->data + 12, 2);
	ip = e->data + 14;
	icmp = ip + hdr;
	if (is4) {
		emit_ip4(ip, hdr + icmp_len, IPPROTO_ICMP, 0x0a0000fe, f->data + 14 + 12);
		icmp[0] = 3;
		icmp[1] = mtu ? 4 : 1;
		put_be16(icmp + 6, (uint16_t)mtu);
	} else {
		ip[0] = 0x60;
		put_be16(ip + 4, (uint16_t)icmp_len);
		ip[6] = IPPROTO_ICMPV6;
		ip[7] = 64;
		ip[8] = 0xfd;
		ip[23] = 0xfe;
		memcpy(ip + 24, f->data + 14 + 8, 16);
		icmp[0] = mtu ? 2 : 1;
		icmp[1] = mtu ? 0 : 3;
		put_be32(icmp + 4, mtu);
		sum = csum_add_scalar(ip + 8, 32, 0);
		sum = csum_add_u32(csum_add_u32(sum, icmp_len), IPPROTO_ICMPV6);
	}
	memcpy(icmp + 8, f->data + 14, quote);
	c = csum_finish(csum_add_scalar(icmp, icmp_len, sum));
	memcpy(icmp + 2, &c, 2);
	return e;
}

/* The TCP header of a frame, or NULL; *ret_l4 bytes of Ethernet and IP in front of it. */
static uint8_t *tcp_header(struct sim_frame *f, uint32_t *ret_l4)
{
	uint32_t l4 = f->data[12] == 0x08 ? 34 : 54;
	uint8_t proto = f->data[12] == 0x08 ? f->data[23] : f->data[20];

	*ret_l4 = l4;
	return proto == IPPROTO_TCP && f->len >= l4 + 20 ? f->data + l4 : NULL;
}

static void tcp_sum_again(struct sim_frame *f, uint8_t *tcp, uint32_t l4)
{
	uint64_t sum = l4 == 34 ? csum_add_scalar(f->data + 26, 8, 0) : csum_add_scalar(f->data + 22, 32, 0);
	uint16_t c = 0;

	memcpy(tcp + 16, &c, 2);
	sum = csum_add_u32(csum_add_u16(sum, IPPROTO_TCP), f->len - l4);
	c = csum_finish(csum_add_scalar(tcp, f->len - l4, sum));
	memcpy(tcp + 16, &c, 2);
}

/* A middlebox that knows better: options of a SYN become padding. */
static void strip_options(struct sim *w, struct sim_frame *f)
{
	uint32_t l4, thl, n;
	uint8_t *tcp = tcp_header(f, &l4);

	if (!tcp || (tcp[13] & 0x12) != 0x02)
		return;
	thl = (uint32_t)(tcp[12] >> 4) * 4;
	for (uint32_t i = 20; i < thl && tcp[i]; i += n) {
		n = tcp[i] == 1 ? 1 : tcp[i + 1];
		if (tcp[i] < 32 && w->k.strip & 1u << tcp[i])
			memset(tcp + i, 1, n);
	}
	tcp_sum_again(f, tcp, l4);
}

/*
 * What somebody sends who knows addresses and ports but sees nothing: a reset or FIN beyond the
 * end of the stream, where no acknowledgement can ever stand, a SYN, an ACK of the unsent
 * (RFC 5961). None of them may harm the connection.
 */
static void forge(struct sim *w, struct sim_host *to, const struct sim_frame *f)
{
	struct sim_frame *g = frame_copy(f);
	uint32_t l4;
	uint8_t *tcp = tcp_header(g, &l4);
	struct talk *c;

	c = tcp ? talk_of_ports(w, get_be16(tcp), get_be16(tcp + 2)) : NULL;
	if (!c || (tcp[13] & 0x07)) {
		free(g);
		return;
	}
	g->len = l4 + (uint32_t)(tcp[12] >> 4) * 4;
	put_be16(g->data + (l4 == 34 ? 16 : 18), (uint16_t)(g->len - (l4 == 34 ? 14 : 54)));
	put_be32(tcp + 4, c->mark + 3 + (uint32_t)c->e[0].tx_total + prng_below(&w->rng, 60000));
	switch (prng_below(&w->rng, 4)) {
	case 0: tcp[13] = 0x04; break;
	case 1: tcp[13] = 0x14; break;
	case 2: tcp[13] = 0x02; break;
	default:
		memcpy(tcp + 4, f->data + l4 + 4, 4);
		put_be32(tcp + 8, get_be32(tcp + 8) + 0x20000000 + prng_below(&w->rng, 0x20000000));
	}
	if (l4 == 34) {
		uint16_t sum;

		memset(g->data + 24, 0, 2);
		sum = csum_finish(csum_add_scalar(g->data + 14, 20, 0));
		memcpy(g->data + 24, &sum, 2);
	}
	tcp_sum_again(g, tcp, l4);
	record_text(w, "wire: forged segment, flags %#x, for conversation %u", tcp[13], c->id);
	deliver(w, to, g, w->now + sim_between(w, 0, 2 * w->k.delay_ns + 1000));
}

static bool is_lost(struct sim *w, struct pipe *p)
{
	const struct knobs *k = &w->k;

	/* A burst is so many frames, but no sender's back-off outlasts it. */
	if (p->bad && (w->now > p->bad_until || prng_below(&w->rng, k->burst_frames + 1) == 0))
		p->bad = false;
	if (!p->bad && k->burst_ppm && prng_chance(&w->rng, k->burst_ppm)) {
		p->bad = true;
		p->bad_until = w->now + 4 * k->delay_ns + 50 * NS_PER_MS;
	}
	return p->bad || (k->loss_ppm && prng_chance(&w->rng, k->loss_ppm));
}

static bool has_data(struct sim_frame *f)
{
	uint32_t l4;
	const uint8_t *tcp = tcp_header(f, &l4);

	return !tcp || (tcp[13] & 0x07) || f->len > l4 + (uint32_t)(tcp[12] >> 4) * 4;
}

/* Congestion experienced, if the sender can be told (RFC 3168 5). */
static bool mark(struct sim *w, struct pipe *p, struct sim_frame *f)
{
	bool is4 = f->data[12] == 0x08;
	uint8_t *at = f->data + 15, ecn = is4 ? *at & 3 : *at >> 4 & 3;
	uint64_t wait = p->free_at > w->now ? p->free_at - w->now : 0;
	bool full = w->k.mark_bytes && w->k.bits_per_s &&
		    wait > (uint64_t)w->k.mark_bytes * 8 * NS_PER_S / w->k.bits_per_s;
	uint16_t c = 0;

	if (ecn == 0 || ecn == 3 || (!full && !(w->k.mark_ppm && prng_chance(&w->rng, w->k.mark_ppm))))
		return false;
	*at |= is4 ? 3 : 0x30;
	if (is4) {
		memcpy(f->data + 24, &c, 2);
		c = csum_finish(csum_add_scalar(f->data + 14, 20, 0));
		memcpy(f->data + 24, &c, 2);
	}
	return true;
}

/* The last of a stream, the first time that it passes. */
static bool is_tail(struct sim *w, struct sim_frame *f)
{
	uint32_t l4, pos, len;
	uint8_t *tcp = tcp_header(f, &l4);
	struct talk *c = tcp ? talk_of_ports(w, get_be16(tcp), get_be16(tcp + 2)) : NULL;

	if (!c || (tcp[13] & 0x02))
		return false;
	pos = get_be32(tcp + 4) - c->mark - 1;
	len = f->len - l4 - (uint32_t)(tcp[12] >> 4) * 4;
	if (len == 0 || pos + len <= c->lost_to || pos + len + w->k.tail_bytes <= c->e[0].tx_total)
		return false;
	c->lost_to = pos + len;
	return true;
}

/* A policer has no queue: what finds the bucket empty is gone. */
static bool is_policed(struct sim *w, struct pipe *p, uint32_t len)
{
	uint64_t depth = (uint64_t)w->k.police_bytes * 8 * NS_PER_S / max_u64(w->k.police_bits, 1);
	uint64_t from = max_u64(p->tokens_at, w->now > depth ? w->now - depth : 0);

	if (w->k.police_bits == 0)
		return false;
	from += (uint64_t)len * 8 * NS_PER_S / w->k.police_bits;
	if (from > w->now)
		return true;
	p->tokens_at = from;
	return false;
}

/* The route of this moment: each period has one, drawn from the world's seed. What is under way
 * when it changes goes on as it was, and may be overtaken. */
struct route { uint32_t number; uint64_t delay_ns, bits; uint32_t mtu; bool nowhere; };

static struct route route_now(const struct sim *w)
{
	const struct knobs *k = &w->k;
	struct route r = { .delay_ns = k->delay_ns, .bits = k->bits_per_s };
	struct prng g;

	if (!k->flap_every_ns)
		return r;
	r.number = (uint32_t)((w->now - w->began) / k->flap_every_ns);
	prng_seed(&g, w->seed * 8191 + r.number);
	if (r.number == 0)
		return r;
	r.nowhere = (w->now - w->began) % k->flap_every_ns < k->flap_every_ns / 4 && prng_below(&g, 4) == 0;
	r.delay_ns = max_u64(r.delay_ns / 8, 1000) << prng_below(&g, 7);
	r.bits = (r.bits / 4) << prng_below(&g, 5);
	r.mtu = prng_below(&g, 2) ? 1280 + prng_below(&g, 300) : 0;
	return r;
}

/* What else the path does to this very frame; true: it is lost. */
static bool is_hit(struct sim *w, struct pipe *p, struct sim_frame *f)
{
	const struct knobs *k = &w->k;
	uint64_t at = w->now - w->began;

	if (route_now(w).nowhere)
		return true;
	if (k->event_at && k->silence_ns && at >= k->event_at && at < k->event_at + k->silence_ns)
		return true;
	if (k->ack_loss_ppm && !has_data(f) && prng_chance(&w->rng, k->ack_loss_ppm))
		return true;
	return (k->tail_bytes && is_tail(w, f)) || (has_data(f) && is_policed(w, p, f->len));
}

static uint64_t rate_now(const struct sim *w)
{
	const struct knobs *k = &w->k;

	if (k->flap_every_ns)
		return route_now(w).bits;
	return k->then_bits && k->event_at && w->now - w->began >= k->event_at ? k->then_bits : k->bits_per_s;
}

static uint64_t arrival(struct sim *w, struct pipe *p, uint32_t len)
{
	const struct knobs *k = &w->k;
	struct route r = route_now(w);
	uint64_t at = max_u64(w->now, p->free_at), jitter = k->jitter_ns ? sim_between(w, 0, k->jitter_ns) : 0;

	if (k->bits_per_s)
		at += (uint64_t)len * 8 * NS_PER_S / rate_now(w);
	p->max_wait = max_u64(p->max_wait, at - w->now);
	p->free_at = at;
	at += r.delay_ns + jitter;
	if (p->route != r.number) {
		p->route = r.number;
		p->last_at = 0;
	}
	if (k->reorder_ppm && prng_chance(&w->rng, k->reorder_ppm))
		return at + sim_between(w, 1, k->reorder_ns ? k->reorder_ns : 4 * (k->delay_ns + 10000));
	at = max_u64(at, p->last_at);
	p->last_at = at;
	return at;
}

static bool queue_overflows(const struct sim *w, const struct pipe *p)
{
	uint64_t wait = p->free_at > w->now ? p->free_at - w->now : 0;

	return w->k.bits_per_s && w->k.queue_bytes &&
	       wait > (uint64_t)w->k.queue_bytes * 8 * NS_PER_S / rate_now(w);
}

static void through_pipe(struct sim *w, struct sim_host *from, struct sim_host *to, struct sim_frame *f)
{
	struct pipe *p = &w->pipe[from->id][to->id];
	const struct knobs *k = &w->k;

	if (from->cut || to->cut)
		return lose(w, f, "silence");
	if (queue_overflows(w, p))
		return lose(w, f, "queue full");
	if (is_lost(w, p)) {
		if (k->unreach_ppm && prng_chance(&w->rng, k->unreach_ppm))
			deliver(w, from, icmp_error(from, f, 0), arrival(w, &w->pipe[to->id][from->id], 100));
		return lose(w, f, "chance");
	}
	if (is_hit(w, p, f))
		return lose(w, f, "the path");
	if ((k->mark_bytes || k->mark_ppm) && mark(w, p, f))
		record_text(w, "wire: marked");
	if (k->strip)
		strip_options(w, f);
	if (k->forge_ppm && prng_chance(&w->rng, k->forge_ppm))
		forge(w, to, f);
	if (k->dup_ppm && prng_chance(&w->rng, k->dup_ppm))
		deliver(w, to, frame_copy(f), arrival(w, p, f->len));
	if (k->corrupt_ppm && prng_chance(&w->rng, k->corrupt_ppm))
		corrupt(w, f);
	if (k->ack_lump_ns && !has_data(f)) {	/* with the next lump, in order */
		uint64_t at = arrival(w, p, f->len);

		return deliver(w, to, f, at + k->ack_lump_ns - at % k->ack_lump_ns);
	}
	deliver(w, to, f, arrival(w, p, f->len));
}

static uint32_t path_mtu(const struct sim *w)
{
	const struct knobs *k = &w->k;

	if (k->flap_every_ns)
		return route_now(w).mtu;
	return k->then_mtu && k->event_at && w->now - w->began >= k->event_at ? k->then_mtu : k->path_mtu;
}

void wire_send(struct sim *w, struct sim_host *from, struct sim_frame *f)
{
	struct sim_host *to = NULL;

	w->n_frames++;
	sim_digest(w, w->now);
	if (!w->path) {
		sim_digest_bytes(w, f->data, f->len);
		record_frame(w, f);
		judge_frame(w, from, f);
	}
	for (uint32_t i = 0; i < w->n_hosts; i++) {
		if (!memcmp(f->data, w->host[i].mac, 6))
			to = &w->host[i];
	}
	if (!to || to == from)
		sim_fail(w, "host %u sends a frame to a MAC that nobody has", from->id);
	if (path_mtu(w) && f->len > path_mtu(w) + 14) {
		through_pipe(w, to, from, icmp_error(from, f, path_mtu(w)));
		return lose(w, f, "too big for the router");
	}
	through_pipe(w, from, to, f);
}

/* Which stack of the host has this port: what the XDP program's maps would say. */
static bool port_owner(const struct sim_host *h, uint16_t port, uint32_t *ret_place)
{
	for (uint32_t i = 0; i < h->n_stacks; i++) {
		const struct sim_stack *s = h->stack[i];
		bool hit = port >= SIM_PORT * (i + 1) && port < SIM_PORT * (i + 2);

		for (uint32_t b = 0; b < SIM_BLOCKS; b++)
			hit |= s->block[b] && port >= s->block[b] && port < s->block[b] + PORT_BLOCK;
		if (hit) {
			*ret_place = i;
			return true;
		}
	}
	return false;
}

bool wire_is_local(const struct sim_host *h, const uint8_t *p, uint32_t len, uint32_t *ret_place)
{
	uint32_t hdr, proto;

	if (len < 14 + 28)
		return false;
	if (p[12] == 0x08 && p[13] == 0x00) {
		if (memcmp(p + 30, h->a4.b + 12, 4))
			return false;
		hdr = 14 + (p[14] & 15) * 4;
		proto = p[23];
	} else {
		if (p[12] != 0x86 || p[13] != 0xdd || len < 14 + 48 || memcmp(p + 38, h->a6.b, 16))
			return false;
		hdr = 14 + 40;
		proto = p[20];
	}
	if (len < hdr + 8)
		return false;
	if (proto == IPPROTO_TCP || proto == IPPROTO_UDP)
		return port_owner(h, get_be16(p + hdr + 2), ret_place);
	if (proto != IPPROTO_ICMP && proto != IPPROTO_ICMPV6)
		return false;
	hdr += 8 + (p[12] == 0x08 ? 20 : 40);	/* the quoted transport header */
	return len >= hdr + 4 && port_owner(h, get_be16(p + hdr), ret_place);
}

void wire_arrive(struct sim *w, struct sim_host *to, struct sim_frame *f)
{
	uint32_t place;

	w->n_in_flight--;
	if (to->cut || !wire_is_local(to, f->data, f->len, &place))
		return lose(w, f, "nobody's");
	device_receive(w, to->stack[place], f);
}
