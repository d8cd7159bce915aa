/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Datagrams out (RFC 768, RFC 1122 4.1).
 *
 * The payload is copied into frames with room in front, the header is written there, and the
 * frames go to the device and are given back at once: the pool takes them when they return.
 *
 * What cannot go now waits in txq as bare payload. Two reasons, two manners, both Linux's:
 *	a neighbour is being resolved: the send has succeeded; when too much waits, the oldest is
 *	    dropped (RFC 1122 2.3.2.2 wants at least the latest kept);
 *	the ring is full: the socket buffer fills, and then the send waits (-EAGAIN).
 * Waiting sockets are on the tx-wait list, so net_tx() comes by.
 *
 * UDP_SEGMENT is a loop: one call and one kick for many datagrams is what it is about.
 *
 * A datagram larger than the path's MTU would need fragments, which are the kernel's
 * (-EOPNOTSUPP): sock/ sends it by the kernel socket below, from the same address and port.
 */
#include <sys/epoll.h>

#include <errno.h>
#include <netinet/in.h>

#include "base/atomic.h"
#include "base/csum.h"
#include "core/udp/udp.h"
#include "core/udp/udp_area.h"
#include "core/udp/waiting.h"
#include "wire/udp.h"

#define WRITABLE	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)
#define MAX_LEN		65535u
#define IP4_LEN		20u
#define IP6_LEN		40u

/* ---- where to ------------------------------------------------------------------------------ */

/* The way of one datagram: `path` is the socket's, or `own` when that is busy with its peer. */
struct way {
	struct udp_addr to;
	struct ipaddr src;
	struct path *path;
	struct path own;
	bool	 given;		/* src is what the user asked for */
	uint8_t	 ttl, tos;
};

/*
 * ip_route() for w->to. Unconnected sockets remember the latest destination, and the source that
 * went with it: servers tend to answer the one who asked, from the address that he asked.
 */
static int find_way(struct turn *t, struct sk *sk, struct way *w)
{
	struct udp *u = udp_of(sk);
	int err;

	if (sk->flags & SK_F_V6ONLY && ip_is4(&w->to.addr))
		return -ENETUNREACH;
	w->path = &sk->path;
	if (!w->given)
		w->src = sk->laddr;
	if (sk->flags & SK_F_CONNECTED) {
		if (!ip_eq(&w->to.addr, &sk->raddr) || !ip_eq(&w->src, &sk->laddr)) {
			w->own = (struct path){ 0 };
			w->path = &w->own;
		}
		return ip_route(t, &w->to.addr, &w->src, w->path);
	}
	if (!ip_eq(&w->to.addr, &u->last_dst) || w->given != !!u->src_given ||
	    (w->given && !ip_eq(&w->src, &u->last_src))) {
		sk->path = (struct path){ 0 };
		u->last_dst = w->to.addr;
		u->src_given = w->given;
	} else if (sk->path.generation == peek32(&t->map->mirror->generation)) {
		w->src = u->last_src;
	}
	err = ip_route(t, &w->to.addr, &w->src, w->path);
	if (!err || err == -EAGAIN)
		u->last_src = w->src;
	return err;
}

/* Its IP header's fields: of this datagram, or of the socket. */
static void find_fields(const struct sk *sk, const struct udp_out *o, struct way *w)
{
	const struct udp_opts *so = &udp_of(sk)->o;
	bool is4 = ip_is4(&w->to.addr);

	w->ttl = o->set & UDP_OUT_TTL ? o->ttl : is4 ? so->ttl : so->hops;
	w->tos = o->set & UDP_OUT_TOS ? o->tos : is4 ? so->tos : so->tclass;
}

/* What waits keeps where it goes: addr and arg[0]; ttl and tos in bytes that are a protocol's; and
 * at the frame's start, which no header reaches, the source that was asked for. */
#define WAIT_F_SRC (1u << 0)
static_assert(sizeof(struct ipaddr) + 14 + 40 + UDP_HDR_LEN <= FRAME_HEADROOM, "before the headers");

static void keep_way(struct turn *t, struct pkt *p, const struct way *w)
{
	p->addr = w->to.addr;
	p->arg[0] = w->to.port;
	p->mark = w->ttl;
	p->n_sent = w->tos;
	p->spare = w->given ? WAIT_F_SRC : 0;
	memcpy(pkt_frame(t, p), &w->src, sizeof(w->src));
}

static struct way kept_way(struct turn *t, const struct pkt *p)
{
	struct way w = { .to = { .addr = p->addr, .port = (uint16_t)p->arg[0] }, .ttl = p->mark,
			 .tos = p->n_sent, .given = p->spare & WAIT_F_SRC };

	memcpy(&w.src, pkt_frame(t, p), sizeof(w.src));
	return w;
}

/* ---- one datagram to the device ------------------------------------------------------------ */

static void emit_header(struct turn *t, struct pkt *p, const struct sk *sk, const struct way *w)
{
	struct udp_hdr h = { .sport = sk->lport, .dport = w->to.port, .len = (uint16_t)p->tot };
	uint8_t *data = pkt_data(t, p);
	uint64_t sum;

	wire_udp_emit(data, &h);
	if (udp_of(sk)->o.no_check && ip_is4(&w->to.addr))
		return;
	sum = ip_pseudo(&w->src, &w->to.addr, IPPROTO_UDP, p->tot);
	h.csum = csum_finish(csum_add64(sum, pkt_csum(t, p, 0)));
	/* RFC 768: a sum of zero is sent as all ones; zero says that there is none. */
	if (h.csum == 0)
		h.csum = 0xffff;
	memcpy(data + UDP_CSUM_OFF, &h.csum, 2);
}

/* Sends a payload packet; whatever comes of it, it is still the caller's, and bare. */
static int transmit(struct turn *t, struct sk *sk, pkt_h h, const struct way *w)
{
	struct pkt *p = pkt_at(t, h);
	uint16_t off = p->off, len = p->len;
	uint32_t tot = p->tot;
	struct ip_out out = {
		.src = &w->src, .dst = &w->to.addr, .path = w->path,
		.proto = IPPROTO_UDP, .tos = w->tos, .ttl = w->ttl,
	};
	uint8_t how = udp_of(sk)->o.pmtud4;
	int err;

	if (how >= UDP_PMTUD_WANT && how <= UDP_PMTUD_PROBE)
		out.flags = IP_OUT_DF;

	if (unlikely(off < UDP_HDR_LEN || tot > MAX_LEN - UDP_HDR_LEN)) {
		never(t, WHY_UDP_INVARIANT);
		return -EUCLEAN;
	}
	p->off = (uint16_t)(off - UDP_HDR_LEN);
	p->len = (uint16_t)(len + UDP_HDR_LEN);
	p->tot = tot + UDP_HDR_LEN;
	emit_header(t, p, sk, w);
	err = ip_output(t, h, &out);
	p->off = off;
	p->len = len;
	p->tot = tot;
	if (!err)
		ev(t, EV_UDP_OUT, sk->self, tot, w->to.port);
	return err;
}

/* ---- what waits ------------------------------------------------------------------------------ */

static void push_front(struct turn *t, struct pkt_queue *q, pkt_h h)
{
	struct pkt *p = pkt_at(t, h);

	p->next = q->head;
	q->head = (uint16_t)h.v;
	if (!q->tail)
		q->tail = (uint16_t)h.v;
	q->n++;
	q->bytes += p->tot;
}

static void uncharge(struct sk *sk, const struct pkt *p)
{
	struct udp *u = udp_of(sk);

	u->tx_mem -= min_u32(p->arg[1], u->tx_mem);
	sk->txq_bytes -= min_u32(p->tot, sk->txq_bytes);
}

static void enqueue(struct turn *t, struct sk *sk, pkt_h h, const struct way *w)
{
	struct udp *u = udp_of(sk);
	struct pkt *p = pkt_at(t, h);

	keep_way(t, p, w);
	p->arg[1] = max_u32(p->n_frags, 1) * FRAME_BYTES;
	u->tx_mem += p->arg[1];
	sk->txq_bytes += p->tot;
	pkt_q_push(t, &u->txq, h);
	sk_txwait(t, sk);
}

void udp_drop_waiting(struct turn *t, struct sk *sk)
{
	struct udp *u = udp_of(sk);

	pkt_put_queue(t, &u->txq);
	u->tx_mem = 0;
	sk->txq_bytes = 0;
}

/* Makes room for one more among those that wait for a neighbour. */
static void drop_oldest(struct turn *t, struct sk *sk)
{
	struct udp *u = udp_of(sk);

	while (u->tx_mem >= sk->sndbuf && u->txq.n > 0) {
		pkt_h h = pkt_q_pop(t, &u->txq);

		if (!h.v)
			return;
		uncharge(sk, pkt_at(t, h));
		pkt_put(t, h);
	}
}

int udp_flush(struct turn *t, struct sk *sk)
{
	struct udp *u = udp_of(sk);

	for (uint32_t n = min_u32(u->txq.n, t->map->pkt_mask); n; n--) {
		pkt_h h = pkt_q_pop(t, &u->txq);
		struct pkt *p = pkt_at(t, h);
		struct way w;
		int err;

		if (!h.v)
			break;
		w = kept_way(t, p);
		err = find_way(t, sk, &w);
		if (err == -EAGAIN) {
			pkt_q_push(t, &u->txq, h);	/* others may have a neighbour */
			continue;
		}
		if (!err)
			err = transmit(t, sk, h, &w);
		if (err == -ENOBUFS) {
			push_front(t, &u->txq, h);
			return -ENOBUFS;
		}
		/* Sent; or unreachable after all, which a datagram's sender is not told. */
		uncharge(sk, p);
		pkt_put(t, h);
	}
	return u->txq.n ? -EAGAIN : 0;
}

/* ---- the user's bytes -------------------------------------------------------------------------- */

/* Sum of the lengths; anything too long for a datagram comes out as too long. */
static uint32_t iov_bytes(const struct iovec *iov, uint32_t n_iov)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < n_iov && n <= MAX_LEN; i++)
		n += min_u64(iov[i].iov_len, MAX_LEN + 1);
	return (uint32_t)min_u64(n, MAX_LEN + 1);
}

struct iov_at { const struct iovec *iov; size_t done; };

static void iov_read(struct iov_at *at, uint8_t *to, uint32_t n)
{
	while (n) {
		size_t k = at->iov->iov_len - at->done;

		if (k > n)
			k = n;
		if (k)
			memcpy(to, (const uint8_t *)at->iov->iov_base + at->done, k);
		to += k;
		n -= (uint32_t)k;
		at->done += k;
		if (n && at->done == at->iov->iov_len) {
			at->iov++;
			at->done = 0;
		}
	}
}

/* A packet of the next `len` bytes, as many frames as it takes; 0: no frames, and no byte taken. */
static pkt_h copy_in(struct turn *t, struct iov_at *from, uint32_t len)
{
	pkt_h head = pkt_get(t);
	struct pkt *first = pkt_at(t, head), *p = first;
	struct iov_at at = *from;
	uint32_t left = len;

	if (!head.v)
		return head;
	for (;;) {
		uint32_t k = min_u32(left, FRAME_BYTES - p->off);
		pkt_h more;

		iov_read(&at, pkt_data(t, p), k);
		p->len = (uint16_t)k;
		left -= k;
		if (!left)
			break;
		more = pkt_get(t);
		if (!more.v) {
			pkt_put(t, head);
			return more;
		}
		p->frag = more.v;
		p = pkt_at(t, more);
		p->off = 0;
		first->n_frags++;
	}
	first->tot = len;
	*from = at;
	return head;
}

/* ---- sending ------------------------------------------------------------------------------------ */

/* The user may not send now: EPOLLOUT will tell when. */
static int64_t not_now(struct turn *t, struct sk *sk)
{
	sk_ready(t, sk, 0, WRITABLE);
	sk_txwait(t, sk);
	return -EAGAIN;
}

/* What forbids this send before a byte is looked at; 0: nothing. */
static int refusal(struct turn *t, struct sk *sk, uint32_t len, const struct udp_addr *to)
{
	int err;

	if (len > MAX_LEN)
		return -EMSGSIZE;
	if (!to && !(sk->flags & SK_F_CONNECTED))
		return -EDESTADDRREQ;
	if (to && to->port == 0)
		return -EINVAL;
	err = udp_take_error(t, sk);
	if (err)
		return err;
	return sk->flags & SK_F_WR_SHUT ? -EPIPE : 0;
}

/* Too long for any datagram, or for this path. */
static int measure(struct turn *t, struct sk *sk, const struct way *w, uint32_t len)
{
	bool is4 = ip_is4(&w->to.addr);
	uint32_t ip_len = is4 ? IP4_LEN : IP6_LEN;
	uint32_t max = MAX_LEN - UDP_HDR_LEN - (is4 ? IP4_LEN : 0);
	uint8_t how = is4 ? udp_of(sk)->o.pmtud4 : udp_of(sk)->o.pmtud6;

	if (len > max)
		return -EMSGSIZE;
	if (len + UDP_HDR_LEN + ip_len <= w->path->mtu)
		return 0;
	/* A router's word about the path came to us, not to the kernel (RFC 1191 6.2). */
	if (!(w->path->flags & PATH_PMTU) || how != UDP_PMTUD_DO)
		return -EOPNOTSUPP;
	udp_local_error(t, sk, &w->to.addr, EMSGSIZE, w->path->mtu);
	return -EMSGSIZE;
}

/*
 * UDP_SEGMENT: one send, many datagrams of `seg` bytes, the last what is left. Linux's limits are
 * the kernel's to tell (-EINVAL): each must fit the path, and they are not too many.
 */
#define MAX_SEGS 64u		/* of the kernels that allow fewest */

static int measure_segs(struct turn *t, struct sk *sk, const struct way *w, uint32_t len, uint32_t seg)
{
	if (seg > len)
		seg = len;
	if (len > seg * MAX_SEGS || (udp_of(sk)->o.no_check && ip_is4(&w->to.addr)))
		return -EINVAL;
	return measure(t, sk, w, seg) ? -EINVAL : 0;
}

/* Where a send goes and by which way; -EAGAIN: it will have to wait for a neighbour. */
static int prepare(struct turn *t, struct sk *sk, const struct udp_out *o, struct way *w)
{
	int err;

	w->to.addr = o->to ? o->to->addr : sk->raddr;
	w->to.port = o->to ? o->to->port : sk->rport;
	w->given = o->src && !ip_is_any(o->src);
	if (w->given)
		w->src = *o->src;
	find_fields(sk, o, w);
	err = find_way(t, sk, w);
	if ((!err || err == -EAGAIN) && o->ifindex && t->map->vi[w->path->vi & (N_VIS - 1)].ifindex != o->ifindex)
		return -EINVAL;
	return err;
}

/* One datagram, or one of a segmented send, which is not cut off in the middle for want of ring. */
static int send_one(struct turn *t, struct sk *sk, struct iov_at *at, uint32_t len, const struct way *w, bool waits)
{
	pkt_h h = copy_in(t, at, len);
	int err;

	if (!h.v)
		return -EAGAIN;
	err = waits ? -ENOBUFS : transmit(t, sk, h, w);
	if (err == -ENOBUFS) {
		enqueue(t, sk, h, w);
		return 0;
	}
	pkt_put(t, h);
	return err;
}

int64_t udp_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
		 const struct udp_out *o)
{
	struct udp *u = udp_of(sk);
	uint32_t len = iov_bytes(iov, n_iov), done = 0;
	uint32_t seg = o->set & UDP_OUT_SEG ? o->seg : u->o.seg;
	struct iov_at at = { iov, 0 };
	int err, queue = 0;
	struct way w;
	bool waits;

	err = refusal(t, sk, len, o->to);
	if (err)
		return err;
	/* Those that wait go first, or order would be lost that a quiet network keeps. */
	if (u->txq.n)
		queue = udp_flush(t, sk);
	err = prepare(t, sk, o, &w);
	waits = err == -EAGAIN;
	if (err && !waits)
		return err;
	err = seg && seg < len ? measure_segs(t, sk, &w, len, seg) : measure(t, sk, &w, len);
	if (err)
		return err;
	if (u->tx_mem >= sk->sndbuf) {
		if (!waits)
			return not_now(t, sk);
		drop_oldest(t, sk);
	}
	if (!seg || seg > len)
		seg = len;
	do {
		uint32_t k = min_u32(seg, len - done), n_waiting = u->txq.n;

		err = send_one(t, sk, &at, k, &w, waits || queue == -ENOBUFS);
		if (err)
			break;
		waits |= u->txq.n != n_waiting;
		done += k;
	} while (done < len);
	if (err == -EAGAIN)
		/* Frames ran out: what is left is lost, as on the way. */
		return done ? (int64_t)len : not_now(t, sk);
	return err ? err : (int64_t)len;
}

void udp_tx_ready(struct turn *t, struct sk *sk)
{
	bool owes = !(sk->ready & EPOLLOUT) && !(sk->flags & SK_F_ORPHAN);
	bool sent = udp_flush(t, sk) == 0;

	if (sk->flags & SK_F_ORPHAN && (sent || t->now >= udp_of(sk)->give_up_at)) {
		udp_finish(t, sk);
		return;
	}
	/* Linux: writable again when half the buffer is free. */
	if (owes && udp_of(sk)->tx_mem <= sk->sndbuf / 2 && pkt_n_free(t)) {
		sk_ready(t, sk, WRITABLE, 0);
		owes = false;
	}
	if (owes || udp_of(sk)->txq.n)
		sk_txwait(t, sk);
}
