/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams between two stacks: the dual queue's variable half (S2-VQ). A datagram is copied
 * into the queue as header and words; an event tells how many. The other stack copies it into
 * frames and gives it to the socket as if it had come by a wire; so a socket does not know
 * by which way a datagram came, and SO_RCVBUF counts the same.
 */
#include "core/ap/parts.h"

#include <netinet/in.h>

#define VAR_MASK (AP_VAR_WORDS - 1u)
#define MAX_LEN4 65507u		/* what fits behind IPv4's header (RFC 768) */
#define MAX_LEN6 65527u		/* ... whose length counts in IPv4, and not in IPv6 (RFC 8200 3) */
#define HEAD_WORDS ((uint32_t)(sizeof(struct ap_dgram) / 4))

static uint32_t words_of(uint64_t len) { return HEAD_WORDS + (uint32_t)((len + 3) / 4); }

/* Copies n bytes between memory and the circular queue, at word `at`, byte `skip` from there. */
static void copy_var(uint32_t *var, uint32_t at, uint32_t skip, void *mem, uint32_t n, bool out)
{
	uint8_t *base = (uint8_t *)var;
	uint32_t off = ((at & VAR_MASK) * 4 + skip) & (AP_VAR_WORDS * 4 - 1);
	uint32_t k = min_u32(n, AP_VAR_WORDS * 4 - off);

	if (out) {
		memcpy(mem, base + off, k);
		memcpy((uint8_t *)mem + k, base, n - k);
	} else {
		memcpy(base + off, mem, k);
		memcpy(base, (uint8_t *)mem + k, n - k);
	}
}

/* Where a send has come to in the user's vectors. */
struct gram_from { const struct iovec *iov; size_t skip; };

/* The next h->len bytes, with their header, into the queue; -EAGAIN: no room. */
static int put_one(struct turn *t, uint32_t slot, struct ap_pair *p, struct ap_dgram *h, struct gram_from *from)
{
	struct ap_slot *s = slot_at(t, slot);
	uint32_t side = our_side(s), at = s->var_wr[side], skip = sizeof(*h), left = h->len;
	struct ap_lane *l = &p->lane[side];

	h->words = words_of(h->len);
	if (AP_VAR_WORDS - min_u32(at - acquire32(&l->var_rd), AP_VAR_WORDS) < h->words) {
		ev(t, EV_AP_DGRAM_FULL, 0, slot, h->len);
		return -EAGAIN;
	}
	copy_var(l->var, at, 0, h, sizeof(*h), false);
	while (left) {
		uint32_t k = (uint32_t)min_u64(left, from->iov->iov_len - from->skip);

		copy_var(l->var, at, skip, (uint8_t *)from->iov->iov_base + from->skip, k, false);
		skip += k;
		left -= k;
		from->skip += k;
		if (from->skip == from->iov->iov_len) {
			from->iov++;
			from->skip = 0;
		}
	}
	s->var_wr[side] += h->words;
	release32(&l->var_wr, s->var_wr[side]);		/* pairs with acquire32() in dgram_poll() */
	lane_post(t, slot, side, AP_EV_VAR, 0, 0, h->words);
	return 0;
}

int ap_dgram(struct turn *t, uint32_t slot, const struct udp_origin *o, uint32_t seg, const struct iovec *iov,
	     uint32_t n_iov)
{
	struct ap_dgram h = { .src = o->src.addr, .dst = o->dst.addr, .sport = o->src.port, .dport = o->dst.port,
			      .ttl = o->ttl, .tos = o->tos };
	struct ap_pair *p = pair_at(t->map, slot);
	struct gram_from from = { iov, 0 };
	uint64_t len = 0;
	int err;

	for (uint32_t i = 0; i < n_iov; i++)
		len += iov[i].iov_len;
	if (len > (ip_is4(&o->dst.addr) ? MAX_LEN4 : MAX_LEN6))
		return -EMSGSIZE;
	if (!p || slot_at(t, slot)->over)
		return -ECONNREFUSED;
	if (!seg || seg > len)
		seg = (uint32_t)len;
	do {
		h.len = (uint32_t)min_u64(seg, len);
		err = put_one(t, slot, p, &h, &from);
		len -= h.len;
	} while (!err && len);
	return err;
}

/* ---- the receiving side --------------------------------------------------------------------------- */

/* The payload in frames; 0: none left. */
static pkt_h to_frames(struct turn *t, struct ap_lane *l, uint32_t at, uint32_t len)
{
	pkt_h head = pkt_get(t);
	struct pkt *p, *f;
	uint32_t done = 0;

	if (!head.v)
		return head;
	p = f = pkt_at(t, head);
	for (;;) {
		uint32_t k = min_u32(len - done, FRAME_BYTES - f->off);
		pkt_h h;

		copy_var(l->var, at, (uint32_t)sizeof(struct ap_dgram) + done, pkt_frame(t, f) + f->off, k, true);
		f->len = (uint16_t)k;
		p->tot += k;
		done += k;
		if (done == len)
			return head;
		h = pkt_get(t);
		if (!h.v) {
			pkt_put(t, head);
			return (pkt_h){ 0 };
		}
		f->frag = h.v;
		f = pkt_at(t, h);
		f->off = 0;
		p->n_frags++;
	}
}

void dgram_poll(struct turn *t, uint32_t slot, uint32_t k)
{
	struct ap_slot *s = slot_at(t, slot);
	struct ap_pair *p = pair_at(t->map, slot);
	struct ap_lane *l;
	uint32_t n;

	if (!p)
		return;
	l = &p->lane[k];
	n = acquire32(&l->var_wr) - s->var_rd[k];	/* pairs with release32() in ap_dgram() */
	if (n > AP_VAR_WORDS)
		n = 0, s->var_rd[k] = peek32(&l->var_wr);
	while (n >= HEAD_WORDS) {
		struct udp_origin o;
		struct ap_dgram h;
		pkt_h pkt;

		copy_var(l->var, s->var_rd[k], 0, &h, sizeof(h), true);
		if (h.len > MAX_LEN6 || h.words != words_of(h.len) || h.words > n) {
			s->var_rd[k] += n;	/* a lie: all that is there goes */
			break;
		}
		o = (struct udp_origin){ .src = { h.src, h.sport }, .dst = { h.dst, h.dport },
					 .ttl = h.ttl, .tos = h.tos, .local = true };
		pkt = to_frames(t, l, s->var_rd[k], h.len);
		if (pkt.v && udp_deliver(t, pkt, &o) == V_DROP)
			pkt_put(t, pkt);
		s->var_rd[k] += h.words;
		n -= h.words;
	}
	release32(&l->var_rd, s->var_rd[k]);	/* pairs with acquire32() in ap_dgram(): it may be written over */
}
