/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UDP as its user sees it: open, connect, receive, shut down, close. Where POSIX is silent,
 * Linux is the model, because programs have been tested against nothing else.
 *
 * A connected socket is in the flow table only, an unconnected one in the listen table only
 * (U4), so the lookup needs no filter by peer. Datagrams that were queued before connect()
 * stay, as in Linux.
 */
#include <sys/epoll.h>
#include <sys/socket.h>

#include <errno.h>
#include <netinet/in.h>
#include <time.h>
#include <linux/errqueue.h>

#include "core/udp/udp.h"
#include "core/udp/udp_area.h"
#include "core/udp/waiting.h"

#define BUF_DEFAULT	212992u		/* net.core.rmem_default, wmem_default */
#define SALT_UDP_PORT	0x75647070u
#define LINGER_NS	(3 * NS_PER_S)	/* as long as Linux resolves a neighbour */
#define READABLE	(EPOLLIN | EPOLLRDNORM)
#define WRITABLE	(EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND)

/* ---- ports ------------------------------------------------------------------------------- */

static struct port_block *block_of(struct turn *t, uint16_t port)
{
	struct segment *seg = t->map->seg;
	uint16_t base = (uint16_t)(port & ~(PORT_BLOCK - 1));

	for (uint32_t i = 0; base && i < N_PORT_BLOCKS; i++)
		if (seg->ports[i].base == base)
			return &seg->ports[i];
	return NULL;
}

/* By hand: a compiler without the CPU's instruction calls its library, which the core may not. */
static uint32_t n_bits(uint64_t v)
{
	uint32_t n = 0;

	for (; v; v &= v - 1)
		n++;
	return n;
}

/*
 * A leased port that no UDP socket has, drawn at random (RFC 6056 3.3.1: name resolvers rely
 * on it): unlike TCP's, it must not be shared, since its remote may be anyone. 0: none.
 */
static uint16_t draw_port(struct turn *t)
{
	struct segment *seg = t->map->seg;
	uint64_t nonce[2] = { t->now, seg->next_port_i++ };
	uint32_t r = stack_hash(t, nonce, sizeof(nonce), SALT_UDP_PORT);
	uint32_t n_free = 0, n_all = 0;
	uint16_t ret = 0;

	for (uint32_t i = 0; i < N_PORT_BLOCKS; i++) {
		struct port_block *b = &seg->ports[(r + i) % N_PORT_BLOCKS];
		uint32_t turn_by = r >> 26;	/* 0..63 */
		uint64_t free = ~b->used[1];
		uint32_t bit;

		if (!b->base)
			continue;
		n_all += PORT_BLOCK;
		n_free += n_bits(free);
		if (ret || !free)
			continue;
		free = turn_by ? free >> turn_by | free << (64 - turn_by) : free;
		bit = ((uint32_t)__builtin_ctzll(free) + turn_by) % PORT_BLOCK;
		ret = (uint16_t)(b->base + bit);
	}
	if (n_free < n_all / 4 || !ret) {
		seg->port_scarce = 1;
		t->asks = 1;
	}
	return ret;
}

static void port_mark(struct turn *t, uint16_t port, bool used)
{
	struct port_block *b = block_of(t, port);
	uint64_t bit = 1ull << (port % PORT_BLOCK);

	if (b)
		b->used[1] = used ? b->used[1] | bit : b->used[1] & ~bit;
}

/* ---- open, connect ------------------------------------------------------------------------- */

static int open_with(struct turn *t, const struct ipaddr *laddr, uint16_t lport, uint32_t flags, struct sk **ret)
{
	uint16_t port = lport ? lport : draw_port(t);
	struct sk *sk;
	int err;

	if (!port)
		return -EADDRNOTAVAIL;
	sk = sk_get(t, SK_UDP, IPPROTO_UDP);
	if (!sk)
		return -ENOBUFS;
	sk->laddr = *laddr;
	sk->lport = port;
	sk->rcvbuf = BUF_DEFAULT;
	sk->sndbuf = BUF_DEFAULT;
	sk->flags |= flags;
	udp_of(sk)->bound = *laddr;
	udp_of(sk)->o.pmtud4 = udp_of(sk)->o.pmtud6 = UDP_PMTUD_WANT;
	err = listen_insert(t, sk);
	if (err) {
		sk_put(t, sk);
		return err;
	}
	if (!lport)
		sk->flags |= SK_F_BLOCK_PORT;
	port_mark(t, port, true);
	sk_ready(t, sk, WRITABLE, 0);
	*ret = sk;
	return 0;
}

int udp_open(struct turn *t, const struct ipaddr *laddr, uint16_t lport, struct sk **ret)
{
	return open_with(t, laddr, lport, 0, ret);
}

int udp_open_shared(struct turn *t, const struct ipaddr *laddr, uint16_t lport, struct sk **ret)
{
	return open_with(t, laddr, lport, SK_F_REUSEPORT, ret);
}

/* From whichever table it is in to the one that (laddr, raddr, rport) asks for. On failure
 * it is as it was. */
static int move(struct turn *t, struct sk *sk, const struct ipaddr *laddr,
		const struct ipaddr *raddr, uint16_t rport)
{
	const struct sk was = { .laddr = sk->laddr, .raddr = sk->raddr, .rport = sk->rport,
				.flags = sk->flags };
	int err, back;

	flow_remove(t, sk);
	listen_remove(t, sk);
	sk->laddr = *laddr;
	sk->raddr = raddr ? *raddr : (struct ipaddr){ { 0 } };
	sk->rport = rport;
	err = raddr ? flow_insert(t, sk) : listen_insert(t, sk);
	if (!err) {
		sk->flags = raddr ? sk->flags | SK_F_CONNECTED : sk->flags & ~SK_F_CONNECTED;
		return 0;
	}
	sk->laddr = was.laddr;
	sk->raddr = was.raddr;
	sk->rport = was.rport;
	back = was.flags & SK_F_CONNECTED ? flow_insert(t, sk) : listen_insert(t, sk);
	if (back)
		never(t, WHY_FLOW_TABLE);
	return err;
}

int udp_connect(struct turn *t, struct sk *sk, const struct ipaddr *raddr, uint16_t rport)
{
	struct udp *u = udp_of(sk);
	struct ipaddr src = u->bound;
	struct path path = { 0 };
	int err;

	if (raddr && rport == 0)
		return -EINVAL;
	if (raddr && sk->flags & SK_F_V6ONLY && ip_is4(raddr))
		return -ENETUNREACH;
	if (raddr) {
		err = ip_route(t, raddr, &src, &path);
		if (err && err != -EAGAIN)	/* the datagrams will wait, not the caller */
			return err;
	}
	err = move(t, sk, &src, raddr, rport);
	if (err)
		return err;
	sk->path = path;
	u->last_dst = (struct ipaddr){ { 0 } };
	u->last_src = (struct ipaddr){ { 0 } };
	return 0;
}

int udp_connect_local(struct turn *t, struct sk *sk, const struct ipaddr *laddr, const struct ipaddr *raddr,
		      uint16_t rport)
{
	struct udp *u = udp_of(sk);
	struct ipaddr src = ip_is_any(&u->bound) ? *laddr : u->bound;

	if (rport == 0)
		return -EINVAL;
	return move(t, sk, &src, raddr, rport);
}

/* ---- receive --------------------------------------------------------------------------------- */

/* EPOLLERR is off when nothing is left to be told (U3). */
static void error_settle(struct turn *t, struct sk *sk)
{
	if (!sk->err && !udp_of(sk)->errq.n)
		sk_ready(t, sk, 0, EPOLLERR);
}

int udp_take_error(struct turn *t, struct sk *sk)
{
	int err = sk->err;

	if (likely(!err))
		return 0;
	sk->err = 0;
	error_settle(t, sk);
	return err > 0 ? -err : -EIO;
}

void udp_set_opts(struct turn *t, struct sk *sk, const struct udp_opts *o)
{
	struct udp *u = udp_of(sk);
	bool had = u->o.recverr4 || u->o.recverr6;

	u->o = *o;
	/* Linux: who no longer wants errors loses those that wait. */
	if (had && !o->recverr4 && !o->recverr6) {
		pkt_put_queue(t, &u->errq);
		u->err_mem = 0;
		error_settle(t, sk);
	}
}

void udp_get_opts(struct turn *t, const struct sk *sk, struct udp_opts *ret)
{
	(void)t;
	*ret = udp_of(sk)->o;
}

static uint32_t copy_to(struct turn *t, const struct pkt *p, const struct iovec *iov, uint32_t n_iov)
{
	uint32_t done = 0, tot = p->tot;

	for (uint32_t i = 0; i < n_iov && done < tot; i++) {
		uint32_t n = (uint32_t)min_u64(iov[i].iov_len, tot - done);
		uint32_t got = n ? pkt_copy_out(t, p, done, iov[i].iov_base, n) : 0;

		done += got;
		if (got < n)
			break;
	}
	return done;
}

static void dequeue(struct turn *t, struct sk *sk)
{
	struct udp *u = udp_of(sk);
	pkt_h h = pkt_q_pop(t, &u->rxq);
	struct pkt *p = pkt_at(t, h);

	u->rx_mem -= min_u32(p->arg[1], u->rx_mem);
	sk->rxq_bytes -= min_u32(p->tot, sk->rxq_bytes);
	pkt_put(t, h);
	if (!u->rxq.head && !(sk->flags & SK_F_RD_SHUT))
		sk_ready(t, sk, 0, READABLE);
}

static struct udp_note note_of(struct turn *t, const struct pkt *p)
{
	struct udp_note note = { .ttl = 0 };

	if (likely((p->off & (FRAME_BYTES - 1)) >= sizeof(note)))
		memcpy(&note, pkt_data(t, p) - sizeof(note), sizeof(note));
	return note;
}

static void describe(struct turn *t, const struct sk *sk, const struct pkt *p, struct udp_arrival *ret)
{
	struct udp_note note = note_of(t, p);

	*ret = (struct udp_arrival){
		.from = { p->addr, (uint16_t)p->arg[0] },
		.to = { note.dst, sk->lport },
		.at = p->at, .full = p->tot, .drops = note.drops, .ttl = note.ttl, .tos = note.tos,
		.ifindex = note.local ? 0 : t->map->vi[p->vi & (N_VIS - 1)].ifindex,
	};
}

#define JOIN_MAX 64u		/* Linux's UDP_GRO_CNT_MAX */

/*
 * UDP_GRO: how many of the first datagrams could have been one send with UDP_SEGMENT: same way, same
 * length but for a shorter last. Linux joins them as they come; here it is seen when they are read,
 * and never more than the reader has room for.
 */
static uint32_t n_joinable(struct turn *t, const struct pkt *first, uint64_t room)
{
	struct udp_note a = note_of(t, first), b;
	const struct pkt *p = first;
	uint64_t sum = first->tot;
	uint32_t n = 1;

	while (n < JOIN_MAX && first->tot && p->next & t->map->pkt_mask) {
		const struct pkt *q = pkt_slot(t, p->next);

		b = note_of(t, q);
		sum += q->tot;
		if (!q->tot || q->tot > first->tot || sum > min_u64(room, 65535) || q->arg[0] != first->arg[0] ||
		    !ip_eq(&q->addr, &first->addr) || q->vi != first->vi || !ip_eq(&a.dst, &b.dst) ||
		    a.ttl != b.ttl || a.tos != b.tos || a.local != b.local)
			break;
		n++;
		p = q;
		if (p->tot < first->tot)
			break;
	}
	return n;
}

/* The rest of a joined read, behind the first `done` bytes. */
static int64_t copy_joined(struct turn *t, const struct pkt *first, uint32_t n, const struct iovec *iov,
			   uint32_t n_iov, struct udp_arrival *ret)
{
	const struct pkt *p = first;
	size_t skip = 0;
	int64_t sum = 0;

	ret->seg = first->tot;
	ret->full = 0;
	for (; n; n--, p = pkt_slot(t, p->next)) {
		uint32_t done = 0, tot = p->tot;

		while (done < tot && n_iov) {
			uint32_t k = (uint32_t)min_u64(iov->iov_len - skip, tot - done);

			done += pkt_copy_out(t, p, done, (uint8_t *)iov->iov_base + skip, k);
			skip += k;
			if (skip == iov->iov_len) {
				iov++;
				n_iov--;
				skip = 0;
			}
		}
		ret->full += tot;
		sum += done;
	}
	return sum;
}

static uint64_t room_of(const struct iovec *iov, uint32_t n_iov)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < n_iov && n < 65536; i++)
		n += min_u64(iov[i].iov_len, 65536);
	return n;
}

int64_t udp_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
		 uint32_t flags, struct udp_arrival *ret)
{
	pkt_h h = { udp_of(sk)->rxq.head & t->map->pkt_mask };
	int err = udp_take_error(t, sk);
	struct udp_arrival own;
	const struct pkt *p;
	uint32_t n_join = 1;
	int64_t n;

	if (err)
		return err;
	if (!ret)
		ret = &own;
	ret->full = 0;
	if (!h.v)
		return sk->flags & SK_F_RD_SHUT ? 0 : -EAGAIN;
	p = pkt_at(t, h);
	describe(t, sk, p, ret);
	if (flags & UDP_RECV_JOIN)
		n_join = n_joinable(t, p, room_of(iov, n_iov));
	n = n_join > 1 ? copy_joined(t, p, n_join, iov, n_iov, ret) : copy_to(t, p, iov, n_iov);
	for (; n_join && !(flags & UDP_RECV_PEEK); n_join--)
		dequeue(t, sk);
	return n;
}

/* As Linux's sock_dequeue_err_skb(): the pending error goes with the message that told it, and
 * becomes the next one's. */
static void next_error(struct turn *t, struct sk *sk, uint8_t origin)
{
	pkt_h h = { udp_of(sk)->errq.head & t->map->pkt_mask };
	struct udp_trouble next = { .err = 0 };
	bool icmp = false;

	if (h.v) {
		memcpy(&next, pkt_data(t, pkt_at(t, h)) - sizeof(struct udp_note) - sizeof(next), sizeof(next));
		icmp = next.origin != SO_EE_ORIGIN_LOCAL;
	}
	if (icmp)
		sk->err = next.err;
	else if (origin != SO_EE_ORIGIN_LOCAL)
		sk->err = 0;
	error_settle(t, sk);
}

int64_t udp_recv_error(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
		       struct udp_arrival *ret, struct udp_trouble *ret_why)
{
	struct udp *u = udp_of(sk);
	pkt_h h = pkt_q_pop(t, &u->errq);
	struct pkt *p = pkt_at(t, h);
	uint32_t notes = sizeof(struct udp_note) + sizeof(*ret_why);
	int64_t n;

	if (!h.v)
		return -EAGAIN;
	u->err_mem -= min_u32(p->arg[1], u->err_mem);
	describe(t, sk, p, ret);
	*ret_why = (struct udp_trouble){ .err = EIO };
	if (likely((p->off & (FRAME_BYTES - 1)) >= notes))
		memcpy(ret_why, pkt_data(t, p) - notes, sizeof(*ret_why));
	n = copy_to(t, p, iov, n_iov);
	pkt_put(t, h);
	next_error(t, sk, ret_why->origin);
	return n;
}

uint32_t udp_next_bytes(struct turn *t, struct sk *sk)
{
	pkt_h h = { udp_of(sk)->rxq.head & t->map->pkt_mask };

	return h.v ? pkt_at(t, h)->tot : 0;
}

/* ---- the end ----------------------------------------------------------------------------------- */

int udp_shutdown(struct turn *t, struct sk *sk, int how)
{
	uint32_t set = 0;

	if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
		return -EINVAL;
	if (how != SHUT_WR) {
		sk->flags |= SK_F_RD_SHUT;
		set |= READABLE | EPOLLRDHUP;
	}
	if (how != SHUT_RD)
		sk->flags |= SK_F_WR_SHUT;
	if (sk->flags & SK_F_RD_SHUT && sk->flags & SK_F_WR_SHUT)
		set |= EPOLLHUP;
	t->wakes |= sk->wait_mask;
	sk_ready(t, sk, set, 0);
	/* Linux says so, and shuts down all the same. */
	return sk->flags & SK_F_CONNECTED ? 0 : -ENOTCONN;
}

void udp_finish(struct turn *t, struct sk *sk)
{
	udp_drop_waiting(t, sk);
	pkt_put_queue(t, &udp_of(sk)->rxq);
	pkt_put_queue(t, &udp_of(sk)->errq);
	port_mark(t, sk->lport, false);
	sk_put(t, sk);
}

void udp_close(struct turn *t, struct sk *sk)
{
	struct udp *u = udp_of(sk);

	pkt_put_queue(t, &u->rxq);
	pkt_put_queue(t, &u->errq);
	u->rx_mem = u->err_mem = 0;
	sk->rxq_bytes = 0;
	if (udp_flush(t, sk) == 0) {
		udp_finish(t, sk);
		return;
	}
	/* A program that sends one datagram and exits has sent it: it goes on without it. */
	flow_remove(t, sk);
	listen_remove(t, sk);
	sk->flags = (sk->flags & ~SK_F_CONNECTED) | SK_F_ORPHAN;
	u->last_dst = (struct ipaddr){ { 0 } };
	u->give_up_at = t->now + LINGER_NS;
	sk_ready(t, sk, 0, READABLE | WRITABLE | EPOLLERR);
	sk_txwait(t, sk);
}

/* ---- invariants (udp_area.h) --------------------------------------------------------------------- */

static bool queue_adds_up(struct turn *t, const struct pkt_queue *q, uint32_t mem, uint32_t bytes)
{
	uint32_t slot = q->head & t->map->pkt_mask, left = t->map->pkt_mask;
	uint32_t n = 0, last = 0;

	for (; slot && left; left--) {
		const struct pkt *p = pkt_slot(t, slot);

		if (p->state != PKT_HELD)
			return false;
		mem -= p->arg[1];
		bytes -= p->tot;
		n++;
		last = slot;
		slot = p->next & t->map->pkt_mask;
	}
	return !slot && n == q->n && last == q->tail && mem == 0 && bytes == 0;
}

void udp_check(struct turn *t, struct sk *sk)
{
	struct udp *u = udp_of(sk);
	bool readable = u->rxq.n > 0 || sk->flags & SK_F_RD_SHUT;
	uint32_t table = sk->flags & (SK_F_HASHED | SK_F_BOUND);
	uint32_t want = sk->flags & SK_F_ORPHAN ? 0 :
			sk->flags & SK_F_CONNECTED ? SK_F_HASHED : SK_F_BOUND;
	bool ok;

	if (sk->kind != SK_UDP)
		return;
	ok = queue_adds_up(t, &u->rxq, u->rx_mem, sk->rxq_bytes) &&		/* U1, U2 */
	     queue_adds_up(t, &u->txq, u->tx_mem, sk->txq_bytes) &&
	     queue_adds_up(t, &u->errq, u->err_mem, u->errq.bytes) &&
	     table == want;							/* U4 */
	if (!(sk->flags & SK_F_ORPHAN))						/* U3 */
		ok = ok && readable == !!(sk->ready & EPOLLIN) &&
		     (sk->err || u->errq.n) == !!(sk->ready & EPOLLERR);
	if (u->txq.n || (!(sk->ready & EPOLLOUT) && !(sk->flags & SK_F_ORPHAN)))	/* U5 */
		ok = ok && sk->flags & SK_F_TXWAIT;
	if (!ok)
		never(t, WHY_UDP_INVARIANT);
}
