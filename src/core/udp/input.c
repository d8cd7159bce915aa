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
 * There is no port-unreachable from here: what reached us matched a lease, and the kernel
 * socket that holds the port would not have sent one either.
 */
#include <sys/epoll.h>

#include <netinet/in.h>

#include "base/csum.h"
#include "core/udp/udp.h"
#include "core/udp/udp_area.h"
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
		sk = listen_find(t, IPPROTO_UDP, laddr, lport);
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

enum verdict udp_deliver(struct turn *t, pkt_h h, const struct udp_addr *src, const struct udp_addr *dst)
{
	struct sk *sk = find_socket(t, &dst->addr, dst->port, &src->addr, src->port);
	struct pkt *p = pkt_at(t, h);
	struct udp *u;

	if (!sk) {
		ev(t, EV_UDP_NO_SOCKET, 0, dst->port, src->port);
		return V_DROP;
	}
	u = udp_of(sk);
	if (!has_room(t, sk)) {
		u->n_full++;
		ev(t, EV_UDP_FULL, sk->self, p->tot, u->rx_mem);
		return V_DROP;
	}
	p->addr = src->addr;
	p->arg[0] = src->port;
	p->arg[1] = charge_of(p);
	p->at = t->now;
	u->rx_mem += p->arg[1];
	sk->rxq_bytes += p->tot;
	pkt_q_push(t, &u->rxq, h);
	ev(t, EV_UDP_IN, sk->self, p->tot, src->port);
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
	return udp_deliver(t, h, &(struct udp_addr){ in->src, hdr.sport },
			   &(struct udp_addr){ in->dst, hdr.dport });
}

/* RFC 1191 6.2: the path's MTU is lowered, never raised; the sender finds out by itself. */
static void lower_mtu(struct turn *t, struct sk *sk, const struct icmp_quote *q)
{
	const struct ipaddr *dst = sk->flags & SK_F_CONNECTED ? &sk->raddr : &udp_of(sk)->last_dst;

	if (!ip_eq(dst, &q->raddr) || !sk->path.generation || q->mtu >= sk->path.mtu)
		return;
	sk->path.mtu = (uint16_t)q->mtu;
	sk->path.flags |= PATH_PMTU;
	ev(t, EV_ICMP_TOO_BIG, sk->self, q->mtu, 0);
}

void udp_icmp(struct turn *t, const struct icmp_quote *q)
{
	struct sk *sk = find_socket(t, &q->laddr, q->lport, &q->raddr, q->rport);

	if (!sk)
		return;
	if (q->mtu)
		lower_mtu(t, sk, q);
	/* RFC 1122 4.1.3.3, as Linux does it: connected sockets hear of hard errors. */
	if (!(sk->flags & SK_F_CONNECTED) || !q->hard || q->err <= 0)
		return;
	sk_error(t, sk, q->err);
	sk_ready(t, sk, EPOLLERR, 0);
}
