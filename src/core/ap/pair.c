/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pairs and their channels; who serves which local port.
 *
 * A channel is opened by the side of its parity. Its two ends are forgotten one after the
 * other: each says AP_TX_GONE when its socket is closed, keeps its rings until the other has
 * said so too (or has read all), and the opener then may open it again.
 *
 *  C1  own.nonce is 0 exactly if this side knows nothing of the channel.
 *  C2  An opener opens a channel again only after it saw the other side's GONE; so in one lane
 *      "gone" comes before the next CONNECT, and a socket's lines are its own.
 *  C3  used_chan bounds the channels of ours that were ever opened.
 */
#include "core/ap/parts.h"

#include <netinet/in.h>

#include "abi/mirror.h"

/* ---- pairs ----------------------------------------------------------------------------------- */

static void for_socks(struct turn *t, uint32_t slot, void (*fn)(struct turn *t, struct sk *sk))
{
	uint32_t n = min_u32(t->map->seg->used_sk, t->map->sk_mask + 1);

	for (uint32_t i = 1; i < n; i++) {
		struct sk *sk = sk_slot(t, i);

		if (sk->kind == SK_AP && ap_of(sk)->slot == slot)
			fn(t, sk);
	}
}

static void table_reset(struct turn *t, uint32_t slot)
{
	struct ap_table *tab = table_at(t, slot);

	for (uint32_t side = 0; side < 2; side++) {
		struct ap_chan_own *own = tab->chan[side];

		/* What was never used is not touched: it has no pages. */
		for (uint32_t c = 0; c < min_u32(slot_at(t, slot)->top[side], AP_N_CHANS); c++)
			own[c] = (struct ap_chan_own){ .sk = 0 };
		pool_init(&tab->pool[side]);
	}
}

static void lose(struct turn *t, struct sk *sk)
{
	if (sk->state != TCP_S_CLOSED || !(ap_of(sk)->flags & AP_F_DEAD))
		conn_reset(t, sk);
}

void ap_pair_open(struct turn *t, uint32_t slot, const struct ctl_pair *d)
{
	struct ap_slot *s = slot_at(t, slot);
	uint32_t n_socks = s->pair_id ? s->n_socks : 0;	/* they close when their programs do */

	must(slot < N_PAIRS);
	if (slot >= t->map->n_pairs || s->pair_id == d->pair_id)
		return;
	if (s->pair_id)
		for_socks(t, slot, lose);
	table_reset(t, slot);
	*s = (struct ap_slot){
		.peer = d->peer, .side = d->side & 1, .is_self = d->is_self != 0, .pair_id = d->pair_id,
		.used_chan = d->side & 1 && !d->is_self ? 1 : 2, .n_socks = n_socks,
	};
	poke32(&t->map->seg->n_ap, max_u32(t->map->seg->n_ap, slot + 1));
	ev(t, EV_AP_PAIR, 0, d->pair_id, d->peer);
}

static void end(struct turn *t, struct sk *sk)
{
	struct lines l;

	/* What it ended itself is in its lines; otherwise it died without a word. */
	conn_look(t, sk, false);
	if (sk->kind != SK_AP || !lines_of(t->map, ap_of(sk), &l))
		return;
	/* Who only ended its sending may have died without a word, too: a writer that waits for room
	 * is told, one that writes later finds out (peer_shut() in stream.c). */
	if (!(ap_of(sk)->flags & AP_F_FIN_RCVD) || (sk->state == TCP_S_CLOSE_WAIT && !(sk->ready & EPOLLOUT)))
		lose(t, sk);
}

void ap_pair_over(struct turn *t, uint32_t slot)
{
	struct ap_slot *s = slot_at(t, slot);

	if (!s->pair_id || s->over)
		return;
	s->over = 1;
	for_socks(t, slot, end);
	ev(t, EV_AP_PAIR_OVER, 0, s->pair_id, s->n_socks);
}

void ap_bury(struct turn *t)
{
	for (uint32_t i = 0; i < t->map->n_pairs; i++) {
		struct ap_pair *p = pair_at(t->map, i);
		uint32_t side = our_side(slot_at(t, i));
		struct ap_lane *l;

		if (!p || slot_at(t, i)->is_self)
			continue;
		for (uint32_t c = 1, hole = 0; c < AP_N_CHANS && hole < AP_HOLE; c++) {
			struct ap_dir *out = &p->chan[c].dir[side];

			hole = peek32(&p->chan[c].name.nonce) ? 0 : hole + 1;
			if (hole)
				continue;
			poke32(&p->chan[c].dir[~side & 1].wish.flags, AP_RX_SHUT);
			/* release32(): pairs with acquire32() in conn_look() */
			release32(&out->tx.flags, peek32(&out->tx.flags) | AP_TX_RST | AP_TX_GONE);
		}
		l = &p->lane[side];
		cross_store(&l->swept, peek32(&l->swept) + 1);
		t->ap_rings |= 1ull << i;
	}
}

bool ap_pair_is_done(const struct stack_map *map, uint32_t slot)
{
	const struct ap_slot *s = &map->seg->ap[slot % N_PAIRS];

	return s->over && !peek32(&s->n_socks);
}

int ap_pair_find(const struct turn *t, uint32_t peer_stack, uint32_t *ret_slot)
{
	uint32_t n = min_u32(t->map->seg->n_ap, N_PAIRS);

	for (uint32_t i = 0; i < n; i++) {
		const struct ap_slot *s = &t->map->seg->ap[i];

		if (s->pair_id && !s->over && s->peer == peer_stack) {
			*ret_slot = i;
			return 0;
		}
	}
	return -ENOENT;
}

bool ap_books_are_sound(const struct turn *t)
{
	uint32_t n = min_u32(t->map->seg->used_sk, t->map->sk_mask + 1), n_socks[N_PAIRS] = { 0 };
	uint32_t n_ap = min_u32(t->map->seg->n_ap, t->map->n_pairs);
	bool pools = (t->map->seg->n_turns & 63) == 0;

	for (uint32_t i = 1; i < n && n_ap; i++)
		if (sk_slot(t, i)->kind == SK_AP)
			n_socks[ap_of(sk_slot(t, i))->slot % N_PAIRS]++;
	for (uint32_t i = 0; i < n_ap; i++) {
		const struct ap_slot *s = slot_at(t, i);

		if (!s->pair_id)
			continue;
		if (s->n_socks != n_socks[i])
			return false;
		for (uint32_t side = 0; side < 2 && pools; side++)
			if (!pool_is_sound(&table_at(t, i)->pool[side]))
				return false;
	}
	return true;
}

/* ---- channels -------------------------------------------------------------------------------------- */

uint32_t chan_get(struct turn *t, uint32_t slot)
{
	struct ap_slot *s = slot_at(t, slot);
	struct ap_chan_own *own = table_at(t, slot)->chan[our_side(s)];
	uint32_t c = s->free_chan & (AP_N_CHANS - 1);

	if (c) {
		s->free_chan = own[c].next;
		own[c].next = 0;
		return c;
	}
	c = s->used_chan;
	if (c >= AP_N_CHANS)
		return 0;
	s->used_chan += 2;
	return c;
}

static void drop_rings(struct turn *t, uint32_t slot, uint32_t side, struct ap_chan_own *own)
{
	for (uint32_t i = 0; i < 2; i++)
		pool_back(t, &table_at(t, slot)->pool[side & 1], own->page[i], own->shift[i]);
	own->shift[0] = own->shift[1] = 0;
}

void chan_settle(struct turn *t, uint32_t slot, uint32_t side, uint32_t chan)
{
	struct ap_slot *s = slot_at(t, slot);
	struct ap_chan_own *own = &table_at(t, slot)->chan[side & 1][chan & (AP_N_CHANS - 1)];
	struct ap_pair *p = pair_at(t->map, slot);
	const struct ap_tx *theirs;
	bool gone;

	if (!p || own->sk || !own->nonce)
		return;
	theirs = &p->chan[chan & (AP_N_CHANS - 1)].dir[~side & 1].tx;
	/* An opener that has begun anew has forgotten the old one; an accepter whose line is still
	 * an earlier connection's has not yet taken this one. */
	if (acquire32(&theirs->nonce) == own->nonce)
		gone = acquire32(&theirs->flags) & AP_TX_GONE;
	else
		gone = (chan & 1) != side;
	if (!gone && !s->over)
		return;
	if (own->shift[0] | own->shift[1])
		t->trims |= own->shift[0] > 16 || own->shift[1] > 16 ? 1ull << slot % N_PAIRS : 0;
	drop_rings(t, slot, side, own);
	own->nonce = 0;
	if ((chan & 1) == side) {	/* ours to open again */
		own->next = s->free_chan;
		s->free_chan = chan;
	}
}

/* ---- the directory ------------------------------------------------------------------------------------ */

#define TRIES 64	/* of the seqlock: the agent writes for microseconds */

bool ap_is_local(const struct stack_map *map, const struct ipaddr *a)
{
	static const struct ipaddr loopback6 = { { [15] = 1 } };
	const struct mirror *m = map->mirror;
	uint32_t n = m ? min_u32(peek32(&m->n_addrs), N_ADDRS) : 0;

	if (ip_eq(a, &loopback6) || (ip_is4(a) && ip_to4(a) >> 24 == 127))
		return true;
	/* Without the seqlock: an address that comes or goes in this moment may be taken for
	 * either; the directory decides who serves it. */
	for (uint32_t i = 0; i < n; i++)
		if (peek32(&m->addrs[i].ifindex) && ip_eq(&m->addrs[i].addr, a))
			return true;
	return false;
}

/* How well an entry matches: 0 not at all, 1 any address of both families, 2 of its family,
 * 3 that very address; the kernel's order. */
static uint32_t match(const struct dir_port *d, const struct ipaddr *to)
{
	if (ip_eq(&d->laddr, to))
		return 3;
	if (!ip_is_any(&d->laddr))
		return 0;
	if (ip_is4(&d->laddr) == ip_is4(to))
		return 2;
	return d->dual && ip_is4(to);
}

static uint32_t lookup_once(const struct mirror *m, uint8_t proto, const struct ipaddr *to, uint16_t port)
{
	uint32_t at = peek32(&m->buckets[dir_bucket(proto, port)]), best = 0, ret = 0;

	for (uint32_t left = N_DIR_PORTS; at && at <= N_DIR_PORTS && left; left--) {
		struct dir_port d = m->ports[at - 1];
		uint32_t how = d.proto == proto && d.lport == port ? match(&d, to) : 0;

		if (how > best) {
			best = how;
			ret = d.stack_id;
		}
		at = d.next;
	}
	return ret;
}

uint32_t ap_lookup(const struct stack_map *map, uint8_t proto, const struct ipaddr *to, uint16_t port)
{
	const struct mirror *m = map->mirror;

	if (!m)
		return 0;
	for (uint32_t i = 0; i < TRIES; i++) {
		uint32_t seq = acquire32(&m->seq), ret;

		if (seq & 1)
			continue;
		ret = lookup_once(m, proto, to, port);
		/* acq: pairs with rel of the agent's writes; seqlock (Boehm 2012) */
		atomic_thread_fence(memory_order_acquire);
		if (peek32(&m->seq) == seq)
			return ret;
	}
	return 0;
}
