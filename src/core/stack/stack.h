/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the protocols stand on: packets, sockets, tables, timers, waiters, events.
 * Everything here is in the segment and is touched only in a turn.
 */
#ifndef CORE_STACK_STACK_H
#define CORE_STACK_STACK_H

#include "base/atomic.h"
#include "core/stack/turn.h"

/* ---- trouble ---------------------------------------------------------------------------- */

enum why {		/* reasons to condemn a stack; kept in seg->condemned as reason + 1 */
#define WHY(name, sentence) WHY_##name,
#include "core/stack/why.def"
#undef WHY
	N_WHYS
};

/* Marks the stack condemned and returns -EUCLEAN. Never aborts. */
cold_fn int condemn(struct turn *t, enum why why);
/* "This cannot be": the application's executor panics, the strong side condemns. */
cold_fn void never(struct turn *t, enum why why);
const char *why_name(enum why why);

/* ---- events: counter, trace record, name and sentence in one ------------------------------ */

enum event {
#define EVENT(name, layer, sentence) EV_##name,
#include "core/stack/events.def"
#undef EVENT
	N_EVENTS
};
static_assert(N_EVENTS <= N_EVENTS_MAX, "counters[]");

void ev(struct turn *t, enum event e, uint32_t h, uint32_t a, uint32_t b);
const char *event_name(enum event e);
const char *event_sentence(enum event e);

/* What became of a received packet; the reason is an event. */
enum verdict { V_TAKEN, V_DROP };

/* ---- packets (pkt.c) ------------------------------------------------------------------------ */

/* A frame with `off` = FRAME_HEADROOM, len 0, no fields set; 0 if the pool is empty. */
must_check pkt_h pkt_get(struct turn *t);
/* Gives back a whole packet, all its frames; a frame at the device is pooled on completion. */
void pkt_put(struct turn *t, pkt_h h);
void pkt_put_queue(struct turn *t, struct pkt_queue *q);
uint32_t pkt_n_free(const struct turn *t);

static inline struct pkt *pkt_at(const struct turn *t, pkt_h h)
{
	return &t->map->pkts[h.v & t->map->pkt_mask];
}

static inline struct pkt *pkt_slot(const struct turn *t, uint32_t slot)
{
	return &t->map->pkts[slot & t->map->pkt_mask];
}

static inline pkt_h pkt_handle(const struct turn *t, const struct pkt *p)
{
	return (pkt_h){ (uint32_t)(p - t->map->pkts) };
}

/* The frame's memory, FRAME_BYTES long. */
static inline uint8_t *pkt_frame(const struct turn *t, const struct pkt *p)
{
	return t->map->umem + ((size_t)(p - t->map->pkts) << FRAME_SHIFT);
}

/* First live byte of this frame; off is clamped so that no bit pattern leaves the frame. */
static inline uint8_t *pkt_data(const struct turn *t, const struct pkt *p)
{
	return pkt_frame(t, p) + (p->off & (FRAME_BYTES - 1));
}

/* Live bytes of this frame that are really inside it, whatever the fields say. */
static inline uint32_t pkt_len(const struct pkt *p)
{
	uint32_t off = p->off & (FRAME_BYTES - 1);

	return min_u32(p->len, FRAME_BYTES - off);
}

/* Drops `n` bytes from the front of a packet, freeing no frame; keeps tot right. */
void pkt_pull(struct turn *t, struct pkt *head, uint32_t n);
/* Cuts a packet to `n` bytes, freeing frames past them. */
void pkt_trim(struct turn *t, struct pkt *head, uint32_t n);
/* Copies [from, from+n) of a packet out; returns bytes copied (short if the packet is). */
uint32_t pkt_copy_out(struct turn *t, const struct pkt *head, uint32_t from, void *dst, uint32_t n);
/* Sum over the packet's bytes from `from` to the end, for csum_finish(). Bytes count from
 * `from`, whatever the frames' lengths: `from` itself is taken as an even offset. */
uint64_t pkt_csum(struct turn *t, const struct pkt *head, uint32_t from);

void pkt_q_push(struct turn *t, struct pkt_queue *q, pkt_h h);
must_check pkt_h pkt_q_pop(struct turn *t, struct pkt_queue *q);

/* ---- sockets (sk.c) -------------------------------------------------------------------------- */

/* A zeroed socket of that kind, not in any table, no descriptor; NULL if the pool is empty.
 * sk_get() and sk_put() keep seg->n_conns (SK_TCP and SK_UDP); n_orphans and n_tw are TCP's. */
must_check struct sk *sk_get(struct turn *t, enum sk_kind kind, uint8_t proto);
/* Takes it out of every table and list, wakes its sleepers, bumps its generation, frees it. */
void sk_put(struct turn *t, struct sk *sk);
/* Slot to socket: always inside the segment, never NULL, perhaps free. */
static inline struct sk *sk_slot(const struct turn *t, uint32_t slot)
{
	return (struct sk *)(void *)(t->map->socks + (size_t)(slot & t->map->sk_mask) * SK_BYTES);
}
/* Handle to socket, or NULL when the generation says it is no longer that one. */
must_check struct sk *sk_find(const struct turn *t, sk_h h);
static inline sk_h sk_handle(const struct sk *sk) { return (sk_h){ sk->self }; }
static inline uint32_t sk_slot_of(const struct turn *t, const struct sk *sk)
{
	return (uint32_t)((size_t)((const uint8_t *)sk - t->map->socks) / SK_BYTES);
}

/*
 * The one setter of readiness: sets and clears EPOLL* bits of sk->ready; for bits newly set
 * (and, for EPOLLET, for `set` bits even when already set: new data is a new edge) moves the
 * socket's epitems to their ready lists and owes wake-ups to its sleepers and theirs.
 */
void sk_ready(struct turn *t, struct sk *sk, uint32_t set, uint32_t clear);
/* Records a pending error (positive errno) for SO_ERROR and wakes sleepers, whatever they wait
 * for; the EPOLL* bits (EPOLLERR, EPOLLIN ...) are the caller's, by sk_ready(). */
void sk_error(struct turn *t, struct sk *sk, int err);

/* One more send with MSG_ZEROCOPY needs the program's memory no longer (it was copied). Such sends are
 * numbered from 0, and told of as one range, since none is ever done before an earlier one. */
void sk_zc_done(struct turn *t, struct sk *sk);
/* Takes that range, both ends included; false: there is nothing to tell. */
must_check bool sk_zc_take(struct turn *t, struct sk *sk, uint32_t *ret_first, uint32_t *ret_last);
/* What poll() says as EPOLLERR: an error, or something on the error queue. */
static inline bool sk_has_error(const struct sk *sk) { return sk->err || sk->zc_next != sk->zc_told; }

/* Work list: sockets whose protocol wants tcp_work()/udp_work() at the end of this batch. */
void sk_work(struct turn *t, struct sk *sk);
must_check struct sk *sk_work_pop(struct turn *t);
/* Tx-wait list: sockets that could not send for want of ring slot, frame or neighbour. */
void sk_txwait(struct turn *t, struct sk *sk);
must_check struct sk *sk_txwait_pop(struct turn *t);

/* A process takes or drops its reference; true when it was the last (caller closes; the
 * socket has left every epoll by then, as a file does at its last close). */
void sk_ref(struct turn *t, struct sk *sk, uint32_t proc);
must_check bool sk_unref(struct turn *t, struct sk *sk, uint32_t proc);

/* ---- tables (flow.c) -------------------------------------------------------------------------- */

/* Exact match on (proto, laddr, lport, raddr, rport) of sk. -EADDRINUSE if taken. */
must_check int flow_insert(struct turn *t, struct sk *sk);
void flow_remove(struct turn *t, struct sk *sk);
/* Its packets need not come here any more: notes an exact entry of the agent's, if it has one. */
void flow_over(struct turn *t, struct sk *sk);
must_check struct sk *flow_find(struct turn *t, uint8_t proto, const struct ipaddr *laddr,
				uint16_t lport, const struct ipaddr *raddr, uint16_t rport);
/* Listeners and unconnected UDP, by (proto, lport) with laddr exact before wildcard; a ::
 * wildcard without SK_F_V6ONLY takes IPv4 too. */
must_check int listen_insert(struct turn *t, struct sk *sk);
void listen_remove(struct turn *t, struct sk *sk);
must_check struct sk *listen_find(struct turn *t, uint8_t proto, const struct ipaddr *laddr,
				  uint16_t lport);
/* The same for a packet or a connection from there: of a group (SO_REUSEPORT), the member that its flow is
 * for. */
must_check struct sk *listen_pick(struct turn *t, uint8_t proto, const struct ipaddr *laddr, uint16_t lport,
				  const struct ipaddr *raddr, uint16_t rport);
/* A leased ephemeral port free for that remote (flow_find says so; TIME_WAIT that RFC 6191
 * lets us reuse counts as free: when `reusable` says yes it has done its protocol's own
 * book-keeping, and the socket is sk_put() here), or 0. `reusable` may be NULL. Sets
 * seg->port_scarce and t->asks when low. */
must_check uint16_t port_get(struct turn *t, uint8_t proto, const struct ipaddr *laddr,
			     const struct ipaddr *raddr, uint16_t rport,
			     bool (*reusable)(struct turn *t, struct sk *sk));
bool port_is_leased(struct turn *t, uint16_t port);
/* Adds a block granted by the agent. -ENOSPC when all slots are used. */
must_check int port_block_add(struct turn *t, uint16_t base);

/* ---- timers (timer.c): one deadline a socket ----------------------------------------------------- */

/* Re-arms; NEVER_NS disarms. Moving a deadline back, or disarming, is one store: the socket
 * stays where it is on the wheel (SK_F_TIMER) and is looked at again when that bucket is due.
 * Whether a socket is armed is sk->tmr_at's to say. Fires up to one tick (1.05 ms) late. */
void tmr_arm(struct turn *t, struct sk *sk, uint64_t at);
/* Next socket whose deadline has passed, disarmed; NULL when none. Bounded by the pool. */
must_check struct sk *tmr_pop(struct turn *t);
/* A lower bound of the instant at which tmr_pop() returns something; NEVER_NS when nothing is
 * on the wheel. Never later than the truth; when it has passed, tmr_pop() moves it on. */
uint64_t tmr_deadline(const struct turn *t);
/* The same, or 1 ms from now while sockets wait to send: what seg->deadline publishes. */
uint64_t stack_deadline(const struct turn *t);

/* ---- epoll (epoll.c): the ready lists; waiting is sock/'s ---------------------------------------- */

struct ep_event { uint32_t events; int32_t fd; uint64_t data; bool shot; };	/* shot: by EPOLLONESHOT */

must_check ep_h ep_get(struct turn *t);			/* 0: pool empty */
void ep_put(struct turn *t, ep_h h);			/* drops all its items */
static inline struct ep *ep_at(const struct turn *t, ep_h h) { return &t->map->eps[h.v & t->map->ep_mask]; }
/* -EEXIST, -ENOSPC. What is ready already is reported. */
must_check int ep_add(struct turn *t, ep_h h, struct sk *sk, int32_t fd, uint32_t events,
		      uint64_t data);
/* -ENOENT. As ep_add() for what is ready already; re-arms EPOLLONESHOT. */
must_check int ep_mod(struct turn *t, ep_h h, struct sk *sk, int32_t fd, uint32_t events,
		      uint64_t data);
must_check int ep_del(struct turn *t, ep_h h, struct sk *sk, int32_t fd);	/* -ENOENT */
/* A set in a set, as above. Cycles are the caller's to refuse. */
must_check int ep_nest(struct turn *t, ep_h h, ep_h inner, int32_t fd, uint32_t events, uint64_t data);
must_check int ep_nest_mod(struct turn *t, ep_h h, ep_h inner, int32_t fd, uint32_t events, uint64_t data);
must_check int ep_nest_del(struct turn *t, ep_h h, ep_h inner, int32_t fd);
/* Whether ep_collect() would report anything. */
must_check bool ep_is_ready(struct turn *t, ep_h h);
/* EPOLLONESHOT items with that data (and descriptor, unless negative) have been reported elsewhere. */
void ep_shot(struct turn *t, ep_h h, int32_t fd, uint64_t data);
/* Takes one registration that the turn's process made of that descriptor off, in whichever epoll it
 * is: the descriptor is going to mean another socket. False: there is none. */
must_check bool ep_take(struct turn *t, struct sk *sk, int32_t fd, ep_h *ret_ep, struct ep_event *ret);
/* Collects up to max events in list order with Linux's LT/ET/ONESHOT rules; LT items that are
 * still ready go to the tail. Cost: proportional to what is reported, not to what is watched. */
must_check uint32_t ep_collect(struct turn *t, ep_h h, struct ep_event *ret, uint32_t max);

/* ---- waiters (waiter.c) --------------------------------------------------------------------------- */

/*
 * Protocol of a sleeper (invariants and proof in waiter.c). In a turn: nothing to be had, so
 * set own bit in sk->wait_mask or ep->wait_mask, end the turn. waiter_sleep(). Last look, in
 * a turn or by peeking sk->ready or ep->n_ready. Still nothing: poll the bell. Then always
 * waiter_wake(); if it says true, drain the bell; go round. Before returning to the caller,
 * in the turn of the last look: clear own bit where it was set (a bit set in an epoll's mask
 * promises that its owner will look again, because a new event wakes only one of them).
 */

/* Claims a free waiter slot for a thread; -1 when all are taken. Callable without a turn. */
int waiter_claim(const struct stack_map *map, uint32_t tid, uint32_t proc);
void waiter_release(const struct stack_map *map, int slot);
/* Goes to sleep (state 1->2) before the last look, and wakes up (->1) after: true if the
 * bell was rung, or is about to be. No turn needed. */
void waiter_sleep(const struct stack_map *map, int slot);
/* The same, of one who gets up by himself soon: nobody arms for him meanwhile (Q5 of irq.c). */
void waiter_nap(const struct stack_map *map, int slot);
/* Asleep either way, and not rung for yet: a peek. */
bool waiter_sleeps(const struct stack_map *map, int slot);
bool waiter_wake(const struct stack_map *map, int slot);
/* Counts, by the slot's owner: a plain increment of a line that nobody else writes. */
static inline void waiter_note(const struct stack_map *map, int slot, enum wait_count what, uint32_t times)
{
	uint64_t *n = &map->seg->waiters[(uint32_t)slot % N_WAITERS].n[what];

	poke64(n, *n + times);
}
/* A process died: frees its slots and clears their bits wherever they were set. */
void waiter_reap(struct turn *t, uint32_t proc);
/* The ringer's side: true if the bell must really be rung (2->3). No turn needed. */
must_check bool waiter_ring(const struct stack_map *map, int slot);

/* ---- being rung by peers (irq.c) ------------------------------------------------------------------- */

/* S0c-IRQ-03: the signs that somebody will look, and what follows from them. */
struct irq_signs {
	bool	 armed;		/* peers ring already */
	bool	 held;		/* somebody else is in the stack */
	uint32_t n_woken;	/* threads rung that are not up yet */
};
enum irq { IRQ_ARM, IRQ_ARMED, IRQ_HELD, IRQ_WOKE };	/* do; or why not */
must_check enum irq irq_decide(const struct irq_signs *s);
struct irq_signs irq_signs_of(const struct stack_map *map);

/* After waiter_sleep(), before the last look: sees to it that peers ring, or somebody looks. */
enum irq irq_sleep(const struct stack_map *map);
/* Counts what irq_sleep() decided, in the sleeper's own slot. */
void irq_note(const struct stack_map *map, int slot, enum irq decided);
/* After waiter_wake(), with the pipe drained, before the turn that looks: peers need not ring
 * for us; for others that sleep they go on. */
void irq_wake(const struct stack_map *map, int slot);
/* In a turn that found DOOR_ERRAND_ARM on its door, or that nobody follows (the surrogate's):
 * IRQ_ARM: armed; poll once more before the turn ends. */
enum irq irq_errand(struct turn *t);
/* Without asking. For those who sleep alone. */
void irq_arm(const struct stack_map *map);
void irq_disarm(const struct stack_map *map);

/* ---- the whole (check.c, init.c) -------------------------------------------------------------------- */

/* Lays out pools in a fresh zeroed segment whose header (geo, secret, ids) is filled in. */
void stack_init(const struct stack_map *map);
/* Walks everything; 0, or -EUCLEAN after condemn(). Run after each turn in the simulator. */
must_check int stack_check(struct turn *t);
uint32_t stack_hash(const struct turn *t, const void *p, size_t n, uint32_t salt);

#endif
