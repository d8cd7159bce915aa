/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Connections through apertures (abi/aperture.h): what TCP is to its users, between two
 * stacks of one host that map the same memory. A socket of kind SK_AP promises what SK_TCP
 * does and has TCP's states, without segments: a byte sent lies where the peer reads it.
 *
 * All calls are made in a turn and never wait, but those that say "no turn".
 */
#ifndef CORE_AP_AP_H
#define CORE_AP_AP_H

#include <sys/uio.h>

#include "abi/ctl.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"

/* ---- pairs, from exec/ ------------------------------------------------------------------------ */

/*
 * The agent made, or replaced, the pair in this slot, and map->ap[slot] shows it (its base and
 * pair_id are set by the caller in this very turn). Nothing is done if the stack knows that
 * pair already (another process came first); else whatever the slot held is reset.
 */
void ap_pair_open(struct turn *t, uint32_t slot, const struct ctl_pair *d);
/* The agent says that the pair is over: its other stack is gone. What was received can still be
 * read; connections that the peer did not end are reset (ECONNRESET). */
void ap_pair_over(struct turn *t, uint32_t slot);
/* The stack is condemned and nothing in it can be believed: every peer's connections are reset, by
 * walking the shared channels alone. */
void ap_bury(struct turn *t);
/* True if a pair that is over has no socket left: its slot may go back (CTL_PAIR_DEL). No turn. */
bool ap_pair_is_done(const struct stack_map *map, uint32_t slot);
/* Which slot has the pair with that stack: -ENOENT. */
must_check int ap_pair_find(const struct turn *t, uint32_t peer_stack, uint32_t *ret_slot);

/* ---- events, from net/ and the executors -------------------------------------------------------- */

/* Events wait in a lane of a pair mapped here, or in one with oneself. No turn: a load a pair. */
bool ap_pending(const struct stack_map *map);
/* Takes what is there, at most t->budget. Returns events taken. */
uint32_t ap_poll(struct turn *t);
/* About to wait on that processor: says so to peers. True if the peer we last dealt with said the
 * same: who spins here keeps it from answering. No turn. */
bool ap_core_shared(const struct stack_map *map, uint32_t cpu);

/*
 * Ring memory that nobody uses goes back to the kernel. In a turn whose t->trims names the slot:
 * take blocks; after the turn MADV_REMOVE each; in another turn say that it is done.
 */
struct ap_trim {
	uint32_t slot, side, page, shift, pair_id;
	void	*mem;
	size_t	 bytes;
};
must_check uint32_t ap_trim_take(struct turn *t, uint32_t slot, struct ap_trim *ret, uint32_t max);
void ap_trim_done(struct turn *t, const struct ap_trim *of, uint32_t n);

void ap_listen_stop(struct turn *t, struct sk *listener);	/* resets what nobody will accept */
void ap_tick(struct turn *t, struct sk *sk);	/* idle: gives its ring back */
void ap_check(struct turn *t, struct sk *sk);
/* What is kept of pairs: their sockets' number, and ring memory (the latter in one turn of 64). */
must_check bool ap_books_are_sound(const struct turn *t);

/* ---- OPEN ------------------------------------------------------------------------------------------ */

/* Who serves that local address and port: its stack's id, or 0 (the kernel, or nobody). Reads the
 * directory; no turn. */
uint32_t ap_lookup(const struct stack_map *map, uint8_t proto, const struct ipaddr *to, uint16_t port);
/* An address of this host: loopback, or one that the mirror has. No turn. */
bool ap_is_local(const struct stack_map *map, const struct ipaddr *a);

/* Connects through the pair in `slot`; established at once, as far as this side is concerned:
 * the other stack makes the connection of it when it looks, as a backlog would. -ENOBUFS:
 * no channel or socket free; -EADDRNOTAVAIL: no port; -EADDRINUSE. */
must_check int ap_connect(struct turn *t, uint32_t slot, const struct tcp_opts *o,
			  const struct ipaddr *laddr, uint16_t lport, const struct ipaddr *raddr,
			  uint16_t rport, struct sk **ret);

/* ---- the rest: as the function of the same name in core/tcp/tcp.h says -------------------------------- */

must_check int64_t ap_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			   uint32_t flags);
/* Room for bytes that the program is going to write itself, where the peer will read them: from *ret
 * on, 1 to `want`. -EAGAIN and errors as ap_send(). It lasts until ap_commit(), which sends the first n
 * bytes of it (n 0: none), or the next ap_send(), which makes ap_commit() fail with -EINVAL. */
must_check int64_t ap_reserve(struct turn *t, struct sk *sk, uint64_t want, void **ret);
must_check int64_t ap_commit(struct turn *t, struct sk *sk, uint64_t n);
must_check int64_t ap_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			   uint32_t flags, uint32_t skip);
bool ap_at_mark(struct turn *t, struct sk *sk);
must_check int ap_shutdown(struct turn *t, struct sk *sk, int how);
void ap_close(struct turn *t, struct sk *sk);
void ap_abort(struct turn *t, struct sk *sk, int err);
void ap_set_opts(struct turn *t, struct sk *sk, const struct tcp_opts *o);
void ap_get_opts(struct turn *t, struct sk *sk, struct tcp_opts *ret);
void ap_get_info(struct turn *t, struct sk *sk, struct tcp_info *ret, size_t bytes);
#define AP_MSS 65483	/* what the kernel says over its loopback interface, whose MTU is 65,536 */
uint32_t ap_unread(struct turn *t, struct sk *sk);
/* What poll() would say now, from the shared lines. No turn; a hint, as all peeks are. */
uint32_t ap_peek(const struct stack_map *map, const struct sk *sk);
/* Somebody is going to wait for it: the peer tells of the next byte, and of room. */
void ap_want(struct turn *t, struct sk *sk);

/* One datagram, or with `seg` as many as UDP_SEGMENT makes of it, to a bound socket of the stack at the
 * other end; -EAGAIN: its queue is full, and it is dropped, as a full receive buffer drops it. */
must_check int ap_dgram(struct turn *t, uint32_t slot, const struct udp_origin *o, uint32_t seg,
			const struct iovec *iov, uint32_t n_iov);

#endif
