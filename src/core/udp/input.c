/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams in (RFC 768, RFC 1122 4.1, RFC 8200 8.1).
 *
 * A datagram stays in the frames it came in until it is read: one copy, into the reader's
 * buffer. It is charged what Linux would charge (an skb's true size), so that a burst meets
 * SO_RCVBUF at the number of datagrams that programs were written with: 277 small ones. That
 * frames are larger is the pool's affair: it is the stack's common good, and when it runs low
 * a socket may keep only a few.
 *
 * Errors wait in a queue of their own, as the datagram that they are about, whose frame they
 * came in; what else there is to say is in that frame, before it (udp_area.h).
 *
 * There is no port-unreachable from here: what reached us matched a lease, and the kernel
 * socket that holds the port would not have sent one either.
 */
#include <netinet/in.h>
#include <sys/epoll.h>
#include <time.h>
#include <linux/errqueue.h>

#include "base/csum.h"
#include "core/udp/udp.h"
#include "core/udp/udp_area.h"
#include "core/udp/waiting.h"
#include "wire/udp.h"

#define FRAMES_LOW	8	/* one frame in so many free: frames are scarce */
#define SCARCE_N	8	/* datagrams that a socket may keep then */
#define SKB_BYTES	256	/* struct sk_buff */
#define SKB_EXTRA	400	/* skb_shared_info and headroom, beside the payload */

/* Connected sockets first: they named their peer. */
static struct sk *find_socket(struct turn *t, const struct ipaddr *laddr, uint16_t lport,
			      const struct ipaddr *raddr, uint16_t rport)
{
	struct sk *sk = flow_find(t, IPPROTO_UDP, laddr, lport, raddr, rport);

	if (!sk)
		sk = listen_pick(t, IPPROTO_UDP, laddr, lport, raddr, rport);
	if (unlikely(sk && sk->kind != SK_UDP)) {
		never(t, WHY_SK_KIND);
		return NULL;
	}
	return sk;
}

/* Cuts the packet to the length in its header and verifies it; leaves the payload. */
static bool verify(struct turn *t, struct pkt *p, const struct ip_info *in, struct udp_hdr *ret)
{
	struct ip_info mine;
	uint32_t tot = p->tot;

	if (!wire_udp_parse(pkt_data(t, p), pkt_len(p), ret) || ret->len < UDP_HDR_LEN ||
	    ret->len > tot || ret->dport == 0)
		return false;
	if (ret->len < tot) {
		/* The pseudo-header holds the datagram's own length (RFC 768). */
		mine = *in;
		mine.pseudo = ip_pseudo(&in->src, &in->dst, in->proto, ret->len);
		in = &mine;
		pkt_trim(t, p, ret->len);
	}
	if (ret->csum == 0) {
		/* RFC 8200 8.1: MUST be dropped in IPv6. */
		if (!in->is4)
			return false;
	} else if (!ip_csum_ok(t, p, in, UDP_CSUM_OFF)) {
		return false;
	}
	pkt_pull(t, p, UDP_HDR_LEN);
	p->flags |= PKT_F_CSUM_OK;
	return true;
}

/* Linux's rule: a socket takes a datagram as long as it is not over its limit already. */
static bool has_room(const struct turn *t, struct sk *sk)
{
	const struct udp *u = udp_of(sk);

	if (pkt_n_free(t) < (t->map->pkt_mask + 1) / FRAMES_LOW && u->rxq.n >= SCARCE_N)
		return false;
	return u->rx_mem <= sk->rcvbuf;
}

/* Linux's true size: the allocator's power of two that holds it, and the descriptor. */
static uint32_t charge_of(const struct pkt *p)
{
	uint32_t size = 512;

	if (p->n_frags > 1)
		return p->n_frags * FRAME_BYTES;
	while (size < min_u32(p->tot, FRAME_BYTES) + SKB_EXTRA)
		size *= 2;
	return size + SKB_BYTES;
}

/* Right before the payload (udp_area.h). */
static bool keep_note(struct turn *t, struct pkt *p, const struct udp_note *note)
{
	if (unlikely((p->off & (FRAME_BYTES - 1)) < sizeof(*note))) {
		never(t, WHY_UDP_INVARIANT);
		return false;
	}
	memcpy(pkt_data(t, p) - sizeof(*note), note, sizeof(*note));
	return true;
}

enum verdict udp_deliver(struct turn *t, pkt_h h, const struct udp_origin *o)
{
	struct sk *sk = find_socket(t, &o->dst.addr, o->dst.port, &o->src.addr, o->src.port);
	struct udp_note note = { .dst = o->dst.addr, .ttl = o->ttl, .tos = o->tos, .local = o->local };
	struct pkt *p = pkt_at(t, h);
	struct udp *u;

	if (!sk) {
		ev(t, EV_UDP_NO_SOCKET, 0, o->dst.port, o->src.port);
		return V_DROP;
	}
	u = udp_of(sk);
	if (!has_room(t, sk)) {
		u->n_full++;
		ev(t, EV_UDP_FULL, sk->self, p->tot, u->rx_mem);
		return V_DROP;
	}
	note.drops = u->n_full;
	if (!keep_note(t, p, &note))
		return V_DROP;
	p->addr = o->src.addr;
	p->arg[0] = o->src.port;
	p->arg[1] = charge_of(p);
	p->at = t->now;
	u->rx_mem += p->arg[1];
	sk->rxq_bytes += p->tot;
	pkt_q_push(t, &u->rxq, h);
	ev(t, EV_UDP_IN, sk->self, p->tot, o->src.port);
	sk_ready(t, sk, EPOLLIN | EPOLLRDNORM, 0);
	return V_TAKEN;
}

enum verdict udp_input(struct turn *t, pkt_h h, const struct ip_info *in)
{
	struct pkt *p = pkt_at(t, h);
	struct udp_hdr hdr;

	if (!verify(t, p, in, &hdr)) {
		ev(t, EV_UDP_BAD, 0, p->tot, 0);
		return V_DROP;
	}
	return udp_deliver(t, h, &(struct udp_origin){
		.src = { in->src, hdr.sport }, .dst = { in->dst, hdr.dport }, .ttl = in->ttl, .tos = in->tos });
}

/* ---- errors -------------------------------------------------------------------------------- */

/* RFC 1191 6.2: the path's MTU is lowered, never raised; the sender finds out by itself. Who
 * probes (RFC 4821) is only told: his datagrams are not to be judged by it. */
static void lower_mtu(struct turn *t, struct sk *sk, const struct icmp_quote *q)
{
	const struct ipaddr *dst = sk->flags & SK_F_CONNECTED ? &sk->raddr : &udp_of(sk)->last_dst;
	uint8_t how = q->is4 ? udp_of(sk)->o.pmtud4 : udp_of(sk)->o.pmtud6;

	if (how >= UDP_PMTUD_PROBE || !ip_eq(dst, &q->raddr) || !sk->path.generation || q->mtu >= sk->path.mtu)
		return;
	sk->path.mtu = (uint16_t)q->mtu;
	sk->path.flags |= PATH_PMTU;
	ev(t, EV_ICMP_TOO_BIG, sk->self, q->mtu, 0);
}

/* As Linux's sock_queue_err_skb(): no more than what fits in SO_RCVBUF. */
static bool queue_error(struct turn *t, struct sk *sk, pkt_h h, const struct udp_note *note,
			const struct udp_trouble *why)
{
	struct udp *u = udp_of(sk);
	struct pkt *p = pkt_at(t, h);
	uint32_t off = p->off & (FRAME_BYTES - 1);

	p->arg[1] = charge_of(p);
	if (u->err_mem + p->arg[1] > sk->rcvbuf || off < sizeof(*note) + sizeof(*why) || !keep_note(t, p, note))
		return false;
	memcpy(pkt_data(t, p) - sizeof(*note) - sizeof(*why), why, sizeof(*why));
	p->at = t->now;
	u->err_mem += p->arg[1];
	pkt_q_push(t, &u->errq, h);
	sk_ready(t, sk, EPOLLERR, 0);
	return true;
}

void udp_local_error(struct turn *t, struct sk *sk, const struct ipaddr *dst, int err, uint32_t info)
{
	const struct udp_opts *o = &udp_of(sk)->o;
	struct udp_note note = { .dst = *dst };
	struct udp_trouble why = { .err = err, .origin = SO_EE_ORIGIN_LOCAL, .info = info };
	struct pkt *p;
	pkt_h h;

	if (!(ip_is4(dst) ? o->recverr4 : o->recverr6))
		return;
	h = pkt_get(t);
	if (!h.v)
		return;
	p = pkt_at(t, h);
	p->addr = *dst;
	p->arg[0] = sk->rport;
	if (!queue_error(t, sk, h, &note, &why))
		pkt_put(t, h);
}

static bool queue_icmp(struct turn *t, struct sk *sk, pkt_h h, const struct ip_info *in,
		       const struct icmp_quote *q)
{
	struct udp_note note = { .dst = in->dst, .ttl = in->ttl, .tos = in->tos };
	struct udp_trouble why = {
		.from = q->from, .info = q->info, .err = q->err, .type = q->type, .code = q->code,
		.origin = q->is4 ? SO_EE_ORIGIN_ICMP : SO_EE_ORIGIN_ICMP6,
	};
	struct pkt *p = pkt_at(t, h);

	if (q->pay_off > p->tot)
		return false;
	pkt_pull(t, p, q->pay_off);
	p->addr = q->raddr;
	p->arg[0] = q->rport;
	return queue_error(t, sk, h, &note, &why);
}

/*
 * RFC 1122 4.1.3.3, as Linux does it: connected sockets hear of hard errors; those that asked for
 * errors (IP_RECVERR) of all, connected or not.
 */
enum verdict udp_icmp(struct turn *t, pkt_h h, const struct ip_info *in, const struct icmp_quote *q)
{
	struct sk *sk = find_socket(t, &q->laddr, q->lport, &q->raddr, q->rport);
	enum verdict v = V_DROP;
	const struct udp_opts *o;
	bool unasked;

	if (!sk)
		return v;
	o = &udp_of(sk)->o;
	if (q->mtu)
		lower_mtu(t, sk, q);
	/* Whoever lets routers fragment is not told that one did not. */
	unasked = q->mtu && (q->is4 ? o->pmtud4 : o->pmtud6) == UDP_PMTUD_DONT;
	if (q->err <= 0 || (unasked && q->is4))
		return v;
	if (q->is4 ? o->recverr4 : o->recverr6)
		v = queue_icmp(t, sk, h, in, q) ? V_TAKEN : V_DROP;
	else if (!(sk->flags & SK_F_CONNECTED) || !q->hard || unasked)
		return v;
	sk_error(t, sk, q->err);
	sk_ready(t, sk, EPOLLERR, 0);
	return v;
}
