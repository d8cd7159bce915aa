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

int udp_open(struct turn *t, const struct ipaddr *laddr, uint16_t lport, struct sk **ret)
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
	udp_of(sk)->bound = *laddr;
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

int udp_take_error(struct turn *t, struct sk *sk)
{
	int err = sk->err;

	if (likely(!err))
		return 0;
	sk->err = 0;
	sk_ready(t, sk, 0, EPOLLERR);
	return err > 0 ? -err : -EIO;
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

int64_t udp_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
		 uint32_t flags, struct udp_addr *ret_from, uint32_t *ret_full)
{
	pkt_h h = { udp_of(sk)->rxq.head & t->map->pkt_mask };
	int err = udp_take_error(t, sk);
	const struct pkt *p;
	int64_t n;

	if (err)
		return err;
	if (ret_full)
		*ret_full = 0;
	if (!h.v)
		return sk->flags & SK_F_RD_SHUT ? 0 : -EAGAIN;
	p = pkt_at(t, h);
	n = copy_to(t, p, iov, n_iov);
	if (ret_from)
		*ret_from = (struct udp_addr){ .addr = p->addr, .port = (uint16_t)p->arg[0] };
	if (ret_full)
		*ret_full = p->tot;
	if (!(flags & UDP_RECV_PEEK))
		dequeue(t, sk);
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
	port_mark(t, sk->lport, false);
	sk_put(t, sk);
}

void udp_close(struct turn *t, struct sk *sk)
{
	struct udp *u = udp_of(sk);

	pkt_put_queue(t, &u->rxq);
	u->rx_mem = 0;
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
	     table == want;							/* U4 */
	if (!(sk->flags & SK_F_ORPHAN))						/* U3 */
		ok = ok && readable == !!(sk->ready & EPOLLIN) &&
		     !!sk->err == !!(sk->ready & EPOLLERR);
	if (u->txq.n || (!(sk->ready & EPOLLOUT) && !(sk->flags & SK_F_ORPHAN)))	/* U5 */
		ok = ok && sk->flags & SK_F_TXWAIT;
	if (!ok)
		never(t, WHY_UDP_INVARIANT);
}
