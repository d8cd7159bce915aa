/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes: into a ring of ours, out of a ring of the peer's (S2-SHQ).
 *
 * A writer has room while the ring does; a full one is exchanged for a larger one, up to
 * AP_MAX_SHIFT: the new one begins where the old one ends, and the old one goes back when the
 * reader has passed. A reader finds the ring of a position by the newest ring's start.
 *
 *  R1  Ring n + 1 is published only when the reader has passed the start of ring n, so two are
 *      live at most, and ring[n & 1] is not overwritten while it is read.
 *  R2  Bytes are written before wr says so, and read before rd says so (release, acquire).
 *  R3  wr, then the peer's wish: a reader that made its wish and then saw no byte is told of it.
 *      rd, then the peer's want_room: likewise. (cross_store, cross_load)
 *  R5  A ring that was read to its end is begun anew at its start (as a new ring in the same
 *      memory), once it has gone REWIND bytes: a stream whose reader keeps up stays in the cache,
 *      and of a large ring only the pages that a slow reader has made necessary are touched.
 *  R4  Every offset is masked by the size of a ring that was checked to lie in the peer's pool.
 *  R6  Bytes between rd and wr lie still: a reader that is shown where they are (TCP_RECV_SHOW) may
 *      use them there until it says that it has read them, whoever closes or dies meanwhile. Those
 *      from rsv_at on are the program's to write until it commits them: their ring is not given back.
 *  R7  What is long is told in STEPs, so that the one copies in while the other copies out
 *      (docs/decisions/0012).
 *  R8  A ring's start is never more than 2^31 bytes before what is read, or "before" would turn
 *      over: of a reader that is never quite there (so R5 does not come) the writer moves it on.
 *
 * A reader that found little unread need not look whether the writer waits for room: no writer
 * waits with less than LITTLE bytes unread (a ring has 4 KiB, SO_SNDBUF at least as many).
 */
#include "base/cursor.h"
#include "core/ap/parts.h"

#define FIRST_MAX_SHIFT 16	/* a first ring is no larger, whatever is written first: 64 KiB */
#define REWIND		65536u	/* half a second-level cache's share */
#define LITTLE		2048	/* two thirds of the smallest ring, and less */
#define STEP		32768u
#define FAR		(1u << 30)
#define LOOKS		8	/* at a peer's two rings while it changes them */
#define NO_RING_NS	(10 * NS_PER_MS)	/* after which memory is asked for again */

/* ---- whose turn in memory ----------------------------------------------------------------------- */

/* Written, and no longer than this: handed over to the reader, who is probably waiting for it. Of long
 * writes the first lines have left for the shared cache before he comes, and the hint costs more than
 * it saves: 47 Gbit/s instead of 145. */
#define DEMOTE_MAX 1024u

/* [at, at + n) of the stream between a ring and the user; n is at most the ring (R4). */
static void move_ring(const struct stack_map *map, struct cursor *c, uint8_t *pool, const struct ap_ring_at *r,
		      uint32_t at, uint32_t n, bool to_user)
{
	uint8_t *mem = pool + (size_t)r->page * AP_PAGE;
	uint32_t size = ring_bytes(r), off = (at - r->start) & (size - 1), k = min_u32(n, size - off);
	bool demote = map->demote && !to_user && n <= DEMOTE_MAX;

	cursor_move(c, mem + off, k, to_user);
	if (demote)
		map->demote(mem + off, k);
	if (n > k) {
		cursor_move(c, mem, n - k, to_user);
		if (demote)
			map->demote(mem, n - k);
	}
}

/* ---- sending ---------------------------------------------------------------------------------------- */

static bool is_before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

/* Unread bytes in the newest ring. */
static uint32_t out_used(const struct ap *a)
{
	return a->wr - (is_before(a->rd_seen, a->out.start) ? a->out.start : a->rd_seen);
}

static uint32_t room_of(const struct ap *a)
{
	uint32_t size = ring_bytes(&a->out), used = out_used(a);

	return size > used ? size - used : 0;
}

/* SO_SNDBUF chooses rings, and no more: if it stopped a writer before the ring is full, a reader
 * would not know that it must look at want_room. */
static uint32_t max_shift(const struct ap *a)
{
	uint32_t shift = AP_PAGE_SHIFT;

	if (!a->opts.sndbuf_locked)
		return AP_MAX_SHIFT;
	while (shift < AP_MAX_SHIFT && (1u << shift) < a->opts.sndbuf)
		shift++;
	return shift;
}

static bool may_grow(const struct ap *a)
{
	return a->out.shift < max_shift(a) && !a->old.shift && !(a->flags & AP_F_NO_RING);
}

/* As Linux's sk_stream_is_writeable(): a third is free; a ring that may grow counts as free. */
bool stream_has_room(const struct ap *a)
{
	return may_grow(a) || (a->out.shift && room_of(a) >= ring_bytes(&a->out) / 3);
}

static struct ap_pool *pool_of(struct turn *t, const struct ap *a)
{
	return &table_at(t, a->slot)->pool[a->side & 1];
}

static void free_old(struct turn *t, struct ap *a)
{
	if (!a->old.shift || is_before(a->rd_seen, a->out.start))
		return;
	pool_back(t, pool_of(t, a), a->old.page, a->old.shift);
	a->old = PRIV_RING_NONE;
}

void stream_drop_rings(struct turn *t, struct ap *a)
{
	pool_back(t, pool_of(t, a), a->old.page, a->old.shift);
	pool_back(t, pool_of(t, a), a->out.page, a->out.shift);
	a->old = a->out = PRIV_RING_NONE;
	a->out.start = a->wr;
}

static cold_fn bool lie(struct turn *t, struct sk *sk)
{
	ev(t, EV_AP_LIE, sk->self, ap_of(sk)->wr, ap_of(sk)->rd);
	conn_reset(t, sk);
	return false;
}

/* R8. By whole rings, so that every byte stays where it is. */
static void renew_start(struct ap *a, const struct lines *l)
{
	uint32_t gone = a->rd_seen - a->out.start;

	if (likely(gone < FAR) || is_before(a->rd_seen, a->out.start) || !a->out.shift)
		return;
	a->out.start += gone & ~(ring_bytes(&a->out) - 1);
	poke32(&l->out->tx.ring[(a->n_rings - 1) & 1].start, a->out.start);
}

/* How far the peer has read. */
static bool hear_rd(struct turn *t, struct sk *sk, const struct lines *l)
{
	struct ap *a = ap_of(sk);
	uint32_t rd = acquire32(&l->out->rx.rd);	/* pairs with rel of rd by the reader (R2) */

	if (likely(rd == a->rd_seen))
		return true;
	if (unlikely(rd - a->rd_seen > a->wr - a->rd_seen))
		return lie(t, sk);
	a->rd_seen = rd;
	free_old(t, a);
	renew_start(a, l);
	return true;
}

bool stream_heard(struct turn *t, struct sk *sk, const struct lines *l)
{
	struct ap *a = ap_of(sk);

	sk->rxq_bytes = acquire32(&l->in->tx.wr) - a->rd;	/* pairs with cross_store() of the writer (R2) */
	if (unlikely(sk->rxq_bytes > 2u << AP_MAX_SHIFT))
		return lie(t, sk);
	if (!hear_rd(t, sk, l))
		return false;
	sk->txq_bytes = a->wr - a->rd_seen;
	return true;
}

/* The ring that begins at wr, from now on. */
static void publish_ring(struct turn *t, struct sk *sk, const struct lines *l, struct ap_ring_at r)
{
	struct ap *a = ap_of(sk);

	r.start = a->wr;
	a->out = r;
	l->out->tx.ring[a->n_rings & 1] = r;
	a->n_rings++;
	/* release32(): pairs with acquire32() in ring_for(): the descriptor is there */
	release32(&l->out->tx.n_rings, a->n_rings);
	if (sk->tmr_at == NEVER_NS || !(sk->flags & SK_F_TIMER))
		tmr_arm(t, sk, t->now + NS_PER_S);
}

/* How large the next ring may be. A reader that is a whole ring behind may be behind for good, so
 * the second ring is the largest; less when many are, so that all have something. */
static uint32_t next_shift(struct turn *t, const struct ap *a, uint32_t n)
{
	uint32_t taken = pool_of(t, a)->n_taken, shift = AP_PAGE_SHIFT;

	if (a->out.shift)
		return taken < AP_POOL_PAGES / 2 ? AP_MAX_SHIFT : taken < AP_POOL_PAGES / 4 * 3 ? 18 : 16;
	while (shift < FIRST_MAX_SHIFT && (1u << shift) < n)
		shift++;
	return shift;
}

/* No memory. A ring that is full is told of room by its reader; but memory that other
 * connections give back is nobody's event, so it is asked for again after a while. */
static cold_fn bool no_ring(struct turn *t, struct sk *sk, uint32_t n)
{
	ev(t, EV_AP_NO_RING, sk->self, n, 0);
	ap_of(sk)->flags |= AP_F_NO_RING;
	tmr_arm(t, sk, t->now + NO_RING_NS);
	return false;
}

/* A ring, or a larger one, for `n` more bytes. False: as it was. */
static bool grow(struct turn *t, struct sk *sk, const struct lines *l, uint32_t n)
{
	struct ap *a = ap_of(sk);
	struct ap_ring_at r, had = a->out;

	if (!may_grow(a))
		return false;
	if (!pool_get(pool_of(t, a), min_u32(next_shift(t, a, n), max_shift(a)), &r))
		return no_ring(t, sk, n);
	if (r.shift <= had.shift) {
		pool_back(t, pool_of(t, a), r.page, r.shift);
		return no_ring(t, sk, n);
	}
	a->old = had;
	publish_ring(t, sk, l, r);
	free_old(t, a);
	ev(t, EV_AP_RING_NEW, sk->self, 1u << r.shift, a->out.start);
	return true;
}

/* R5. */
static void rewind_ring(struct turn *t, struct sk *sk, const struct lines *l)
{
	struct ap *a = ap_of(sk);

	if (a->wr - a->out.start < REWIND || a->out.shift <= FIRST_MAX_SHIFT || a->old.shift ||
	    !hear_rd(t, sk, l) || a->rd_seen != a->wr)
		return;
	publish_ring(t, sk, l, a->out);
}

/* R3: says that there are bytes; wakes who wished to know. */
static void say_written(struct turn *t, struct ap *a, const struct lines *l)
{
	uint32_t wish;

	if (unlikely(peek32(&t->map->seg->ap_last) != a->slot))
		poke32(&t->map->seg->ap_last, a->slot);
	cross_publish(&l->out->tx.wr, a->wr);
	if (t->map->demote)
		t->map->demote(&l->out->tx, sizeof(l->out->tx));
	wish = cross_load(&l->out->wish.want_data);
	if (wish != a->wish_seen) {
		a->wish_seen = wish;
		lane_look(t, a);
	}
}

/* Full: an event is to come when a third is free. False: it is already. */
static bool ask_room(struct turn *t, struct sk *sk, const struct lines *l)
{
	struct ap *a = ap_of(sk);

	if (!(a->flags & AP_F_ROOM)) {
		a->flags |= AP_F_ROOM;
		cross_store(&l->out->tx.want_room, ++a->room_asked);
	}
	if (!hear_rd(t, sk, l))
		return false;
	return !stream_has_room(a);
}

void stream_want_room(struct turn *t, struct sk *sk, const struct lines *l)
{
	if (!ask_room(t, sk, l))
		conn_sync(t, sk, 0);
}

static int64_t may_not_send(struct turn *t, struct sk *sk)
{
	int err = sk->err;

	if (likely(!err && !(sk->flags & SK_F_WR_SHUT) &&
		   (sk->state == TCP_S_ESTABLISHED || sk->state == TCP_S_CLOSE_WAIT)))
		return 0;
	if (!err)
		return -EPIPE;
	sk->err = 0;
	conn_sync(t, sk, 0);
	return -err;
}

/* The peer has closed its socket: as in TCP the bytes are accepted, and a reset comes back. A peer
 * that is gone, pair and all, has closed it whatever its lines say. */
static bool peer_shut(struct turn *t, const struct ap *a, const struct lines *l)
{
	if (unlikely(slot_at(t, a->slot)->over))
		return true;
	/* The nonce first: until it is there, the flags are an earlier connection's. */
	return acquire32(&l->in->tx.nonce) == a->nonce && unlikely(peek32(&l->out->wish.flags) & AP_RX_SHUT);
}

static uint64_t put_bytes(struct turn *t, struct sk *sk, const struct lines *l, struct cursor *c, uint64_t want)
{
	struct ap *a = ap_of(sk);
	uint64_t done = 0;

	while (done < want) {
		uint32_t room = room_of(a), n;

		if (done)	/* R7; pairs with acquire32() of the reader's looks at wr */
			release32(&l->out->tx.wr, a->wr);
		if (room < want - done) {
			if (!hear_rd(t, sk, l))
				break;
			room = room_of(a);
		}
		if (!room) {
			if (!grow(t, sk, l, (uint32_t)min_u64(want - done, 1u << AP_MAX_SHIFT)))
				break;
			continue;
		}
		n = (uint32_t)min_u64(min_u32(room, STEP), want - done);
		move_ring(t->map, c, pool_mem(l->pair, a->side), &a->out, a->wr, n, false);
		a->wr += n;
		done += n;
	}
	return done;
}

static void after_write(struct turn *t, struct sk *sk, const struct lines *l, uint64_t done)
{
	struct ap *a = ap_of(sk);

	say_written(t, a, l);
	a->bytes_out += done;
	a->last_snd_ms = (uint32_t)(t->now / NS_PER_MS);
	sk->txq_bytes = a->wr - a->rd_seen;
}

/* EPOLLOUT goes, unless the room has come meanwhile. */
static void out_of_room(struct turn *t, struct sk *sk, const struct lines *l)
{
	if (ask_room(t, sk, l))
		sk_ready(t, sk, 0, EPOLLOUT | EPOLLWRNORM);
	else if (!(sk->ready & EPOLLOUT))
		conn_sync(t, sk, 0);
}

int64_t ap_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov, uint32_t flags)
{
	struct cursor c = { iov, n_iov, 0 };
	uint64_t want = cursor_bytes(iov, n_iov), done;
	int64_t rc = may_not_send(t, sk);
	struct ap *a = ap_of(sk);
	struct lines l;

	if (unlikely(rc != 0 || want == 0))
		return rc;
	if (unlikely(!lines_of(t->map, a, &l)))
		return -EAGAIN;
	if (peer_shut(t, a, &l)) {
		conn_look(t, sk, false);
		if (!(a->flags & AP_F_DEAD))
			conn_reset(t, sk);
		return (int64_t)want;
	}
	rewind_ring(t, sk, &l);
	done = put_bytes(t, sk, &l, &c, want);
	if (unlikely(a->flags & AP_F_DEAD))
		return done ? (int64_t)done : may_not_send(t, sk);
	if (done) {
		if (unlikely(flags & TCP_SEND_OOB) && done == want) {
			poke32(&l.out->tx.urg, a->wr - 1);
			release32(&l.out->tx.flags, l.out->tx.flags | AP_TX_URG);
			a->wish_seen--;		/* whatever was served: this is told */
		}
		after_write(t, sk, &l, done);
	}
	if (unlikely(done < want || (sk->ready & EPOLLOUT && !stream_has_room(a))))
		out_of_room(t, sk, &l);
	return done ? (int64_t)done : -EAGAIN;
}

/* ---- sending what the program has written into the ring itself ------------------------------------- */

/* Room up to where the ring begins again. */
static uint32_t room_ahead(const struct ap *a)
{
	uint32_t size = ring_bytes(&a->out);

	return size ? min_u32(room_of(a), size - ((a->wr - a->out.start) & (size - 1))) : 0;
}

#define ENOUGH 4096u	/* a piece as large as this is not worth another ring */

int64_t ap_reserve(struct turn *t, struct sk *sk, uint64_t want, void **ret)
{
	int64_t rc = may_not_send(t, sk);
	struct ap *a = ap_of(sk);
	uint32_t least, n;
	struct lines l;

	if (rc)
		return rc;
	want = min_u64(want, 1u << AP_MAX_SHIFT);
	least = (uint32_t)min_u64(want, ENOUGH);
	if (!lines_of(t->map, a, &l) || !want)
		return want ? -EAGAIN : -EINVAL;
	if (peer_shut(t, a, &l)) {
		conn_look(t, sk, false);
		conn_reset(t, sk);
		return may_not_send(t, sk);
	}
	if (!hear_rd(t, sk, &l))
		return may_not_send(t, sk);
	n = room_ahead(a);
	if (n < want && n < ring_bytes(&a->out) && a->rd_seen == a->wr && !a->old.shift) {
		publish_ring(t, sk, &l, a->out);	/* empty: begun anew (R5) */
		n = room_ahead(a);
	}
	if (n < least && grow(t, sk, &l, (uint32_t)want))
		n = room_ahead(a);
	if (!n) {
		out_of_room(t, sk, &l);
		return -EAGAIN;
	}
	a->rsv_at = a->wr;
	a->rsv_n = (uint32_t)min_u64(n, want);
	*ret = pool_mem(l.pair, a->side) + (size_t)a->out.page * AP_PAGE +
	       ((a->wr - a->out.start) & (ring_bytes(&a->out) - 1));
	return a->rsv_n;
}

int64_t ap_commit(struct turn *t, struct sk *sk, uint64_t n)
{
	struct ap *a = ap_of(sk);
	bool theirs = n <= a->rsv_n && a->rsv_at == a->wr;
	struct lines l;
	int64_t rc;

	a->rsv_n = 0;
	if (!n || !theirs)
		return n ? -EINVAL : 0;
	rc = may_not_send(t, sk);
	if (rc)
		return rc;
	if (!lines_of(t->map, a, &l))
		return -EINVAL;
	if (peer_shut(t, a, &l)) {
		conn_look(t, sk, false);
		conn_reset(t, sk);
		return (int64_t)n;
	}
	a->wr += (uint32_t)n;
	after_write(t, sk, &l, n);
	if (sk->ready & EPOLLOUT && !stream_has_room(a))
		out_of_room(t, sk, &l);
	return (int64_t)n;
}

/* ---- receiving ------------------------------------------------------------------------------------------ */

static bool ring_is_sane(const struct ap_ring_at *r)
{
	return r->shift >= AP_PAGE_SHIFT && r->shift <= AP_MAX_SHIFT && r->page &&
	       (uint64_t)r->page + (1u << (r->shift - AP_PAGE_SHIFT)) <= AP_POOL_PAGES;
}

/* The ring that holds the byte at a->rd, and how far it goes (R1, R4). False: a lie. */
static bool ring_for(struct ap *a, const struct ap_tx *tx)
{
	uint32_t n = acquire32(&tx->n_rings);	/* pairs with release32() in grow() */

	if (likely(n == a->in_rings && a->in.shift &&
		   (!a->in_older || is_before(a->rd, a->in_end))))
		return true;
	for (uint32_t i = 0; i < LOOKS; i++) {
		struct ap_ring_at newest = tx->ring[(n - 1) & 1], older = tx->ring[n & 1];

		/* acq: pairs with release32() in grow(): unchanged meanwhile, so both were whole */
		atomic_thread_fence(memory_order_acquire);
		if (peek32(&tx->n_rings) != n) {
			n = acquire32(&tx->n_rings);
			continue;
		}
		a->in_older = n > 1 && is_before(a->rd, newest.start);
		a->in = a->in_older ? older : newest;
		a->in_end = newest.start;
		a->in_rings = n;
		if (n && ring_is_sane(&a->in) && !is_before(a->rd, a->in.start))
			return true;
		break;
	}
	a->in = PRIV_RING_NONE;
	return false;
}

/* Of n bytes at `at`, those before the urgent mark. */
static uint32_t to_mark(const struct ap *a, uint32_t n, uint32_t at)
{
	uint32_t off = a->urg - at;

	return likely(a->urg_state == AP_URG_NONE) || off >= n ? n : off;
}

/* At the mark. 1: one byte is passed over; 0: read on. */
static uint32_t pass_mark(struct ap *a)
{
	a->urg_state = AP_URG_NONE;
	return a->flags & AP_F_OOBINLINE ? 0 : 1;
}

/* Where [at, at + n) of the stream lies, in the entries that are left; how many bytes they hold. */
static uint32_t show_ring(struct cursor *c, uint8_t *pool, const struct ap_ring_at *r, uint32_t at, uint32_t n)
{
	uint8_t *mem = pool + (size_t)r->page * AP_PAGE;
	uint32_t size = ring_bytes(r), off = (at - r->start) & (size - 1), k = min_u32(n, size - off);
	struct iovec *v = (struct iovec *)(uintptr_t)c->iov;

	if (!c->n)
		return 0;
	*v++ = (struct iovec){ mem + off, k };
	if (n > k && c->n > 1)
		*v++ = (struct iovec){ mem, n - k };
	else
		n = k;
	c->n -= (uint32_t)(v - c->iov);
	c->iov = v;
	return n;
}

/* Only looked at: as it was, but what follows a mark that was passed (TCP_RECV_SHOW). */
static void look_no_more(struct ap *a, struct cursor *c, uint32_t start, uint32_t urg, uint32_t flags)
{
	struct iovec *v = (struct iovec *)(uintptr_t)c->iov;

	a->rd = start;
	a->urg_state = (uint8_t)urg;
	a->in_rings--;		/* the cache was for a later position */
	for (; flags & TCP_RECV_SHOW && c->n; c->n--)
		*v++ = (struct iovec){ NULL, 0 };
}

static int64_t get_bytes(struct turn *t, struct ap *a, const struct lines *l, struct cursor *c, uint64_t want,
			 uint32_t avail, uint32_t flags)
{
	uint32_t start = a->rd, done = 0, urg = a->urg_state;
	uint8_t *pool = pool_mem(l->pair, ~a->side & 1);

	while (done < want && avail) {
		uint32_t n = (uint32_t)min_u64(want - done, avail), k;

		if (!ring_for(a, &l->in->tx))
			return -EPROTO;
		if (a->in_older)
			n = min_u32(n, a->in_end - a->rd);
		n = min_u32(n, ring_bytes(&a->in));
		k = flags & TCP_RECV_SHOWN ? n : to_mark(a, n, a->rd);
		if (!k && done)
			break;
		if (!k) {
			k = pass_mark(a);
			a->rd += k;
			avail -= k;
			if (flags & TCP_RECV_SHOW) {
				start = a->rd;
				urg = a->urg_state;
			}
			continue;
		}
		if (flags & TCP_RECV_SHOW) {
			k = show_ring(c, pool, &a->in, a->rd, k);
			if (!k)
				break;
		} else if (!(flags & TCP_RECV_TRUNC)) {
			k = min_u32(k, STEP);
			if (done && !(flags & TCP_RECV_PEEK))	/* R7; pairs with acquire32() in hear_rd() */
				release32(&l->in->rx.rd, a->rd);
			move_ring(t->map, c, pool, &a->in, a->rd, k, true);
		}
		a->rd += k;
		avail -= k;
		done += k;
	}
	if (flags & (TCP_RECV_PEEK | TCP_RECV_SHOW))
		look_no_more(a, c, start, urg, flags);
	else if (flags & TCP_RECV_SHOWN && is_before(a->urg, a->rd))
		a->urg_state = AP_URG_NONE;
	return done;
}

/* R3: says how far we are; tells a writer that waits for room. */
static void say_read(struct turn *t, struct ap *a, const struct lines *l, uint32_t was)
{
	uint32_t room;

	if (likely(was < LITTLE)) {
		release32(&l->in->rx.rd, a->rd);	/* pairs with acquire32() in hear_rd() */
		return;
	}
	cross_store(&l->in->rx.rd, a->rd);
	room = cross_load(&l->in->tx.want_room);
	if (room == a->room_seen || acquire32(&l->in->tx.wr) - a->rd > ring_bytes(&a->in) / 3 * 2)
		return;
	a->room_seen = room;
	lane_look(t, a);
}

void stream_wish(struct turn *t, struct sk *sk, const struct lines *l)
{
	struct ap *a = ap_of(sk);

	if (a->flags & AP_F_WISHED)
		return;
	a->flags |= AP_F_WISHED;
	cross_store(&l->in->wish.want_data, ++a->wish_asked);
	if (cross_load(&l->in->tx.wr) - a->rd != sk->rxq_bytes)
		conn_look(t, sk, false);
}

static int64_t recv_oob(struct turn *t, struct sk *sk, const struct lines *l, const struct iovec *iov,
			uint32_t n_iov, uint32_t flags)
{
	struct ap *a = ap_of(sk);
	uint32_t rd = a->rd;
	struct cursor c = { iov, n_iov, 0 };
	int64_t done;

	if (a->flags & AP_F_OOBINLINE || a->urg_state != AP_URG_VALID)
		return -EINVAL;
	a->rd = a->urg;
	done = ring_for(a, &l->in->tx) ? 1 : -EPROTO;
	if (done == 1 && cursor_bytes(iov, n_iov))
		move_ring(t->map, &c, pool_mem(l->pair, ~a->side & 1), &a->in, a->urg, 1, true);
	a->rd = rd;
	a->in_rings--;
	if (done < 0) {
		(void)lie(t, sk);
		return -ECONNRESET;
	}
	if (!(flags & TCP_RECV_PEEK)) {
		a->urg_state = AP_URG_READ;
		sk_ready(t, sk, 0, EPOLLPRI);
	}
	return cursor_bytes(iov, n_iov) ? 1 : 0;
}

/* Nothing to read: why. */
static int64_t nothing(struct turn *t, struct sk *sk)
{
	const struct ap *a = ap_of(sk);
	int err = sk->err;

	if (err) {
		sk->err = 0;
		conn_sync(t, sk, 0);
		return -err;
	}
	if (sk->state == TCP_S_CLOSED || a->flags & AP_F_FIN_RCVD || sk->flags & SK_F_RD_SHUT)
		return 0;
	return -EAGAIN;
}

/* Where the next byte goes that is written. */
static const uint8_t *next_line(const struct ap *a, const struct lines *l)
{
	const uint8_t *mem = pool_mem(l->pair, a->side) + (size_t)a->out.page * AP_PAGE;

	return mem + ((a->wr - a->out.start) & (ring_bytes(&a->out) - 1));
}

static void after_read(struct turn *t, struct sk *sk, const struct lines *l, uint32_t avail)
{
	struct ap *a = ap_of(sk);

	/* What is read is mostly answered. The line that the answer begins in was the reader's last: asked for
	 * now, it is here when it is written. Not in a function of its own, which gcc drops as without effect. */
	if (a->out.shift)
		__builtin_prefetch(next_line(a, l));
	say_read(t, a, l, avail);
	sk->rxq_bytes = acquire32(&l->in->tx.wr) - a->rd;
	if (sk->rxq_bytes >= max_u32(sk->rcvlowat, 1) && a->urg_state == AP_URG_NONE)
		return;
	if (sk->ready & (EPOLLIN | EPOLLPRI))
		conn_sync(t, sk, 0);
	if (sk->items && !(a->flags & AP_F_WISHED))
		stream_wish(t, sk, l);
}

int64_t ap_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov, uint32_t flags,
		uint32_t skip)
{
	struct cursor c = { iov, n_iov, 0 };
	uint64_t want = flags & TCP_RECV_SHOW ? INT32_MAX : cursor_bytes(iov, n_iov);
	struct ap *a = ap_of(sk);
	uint32_t avail;
	int64_t done;
	struct lines l;

	(void)skip;
	if (unlikely(!lines_of(t->map, a, &l)) || unlikely(acquire32(&l.in->tx.nonce) != a->nonce))
		return flags & TCP_RECV_OOB ? -EINVAL : nothing(t, sk);
	/* What the peer said besides bytes is met here too: a reader need not wait for the event. */
	if (unlikely(peek32(&l.in->tx.flags)) || unlikely(!(a->flags & AP_F_ACCEPTED)))
		conn_look(t, sk, false);
	if (flags & TCP_RECV_OOB)
		return recv_oob(t, sk, &l, iov, n_iov, flags);
	avail = a->flags & AP_F_DEAD ? sk->rxq_bytes : acquire32(&l.in->tx.wr) - a->rd;
	if (!avail)
		return nothing(t, sk);
	if (unlikely(avail > 2u << AP_MAX_SHIFT)) {
		(void)lie(t, sk);
		return -ECONNRESET;
	}
	done = get_bytes(t, a, &l, &c, want, avail, flags);
	if (unlikely(done < 0)) {
		(void)lie(t, sk);
		return -ECONNRESET;
	}
	if (flags & (TCP_RECV_PEEK | TCP_RECV_SHOW))
		return done ? done : want ? -EAGAIN : 0;
	a->bytes_in += (uint64_t)done;
	a->last_rcv_ms = (uint32_t)(t->now / NS_PER_MS);
	after_read(t, sk, &l, avail);
	return done || !want ? done : nothing(t, sk);
}

bool ap_at_mark(struct turn *t, struct sk *sk)
{
	(void)t;
	return ap_of(sk)->urg_state != AP_URG_NONE && ap_of(sk)->urg == ap_of(sk)->rd;
}

uint32_t ap_unread(struct turn *t, struct sk *sk)
{
	struct ap *a = ap_of(sk);
	uint32_t n;

	conn_look(t, sk, false);
	n = sk->rxq_bytes;
	/* SIOCINQ: up to the urgent byte, which is not counted */
	return a->urg_state != AP_URG_NONE && a->urg - a->rd < n && !(a->flags & AP_F_OOBINLINE) ?
	       (a->urg == a->rd ? n - 1 : a->urg - a->rd) : n;
}
