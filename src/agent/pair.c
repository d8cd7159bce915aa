// SPDX-License-Identifier: BSD-2-Clause
/*
 * Pairs: the memory that two stacks share (abi/aperture.h). We make it, name it in the directory,
 * and hand out descriptors; we never map it.
 *
 *	         PAIR_GET by either                 one of them ends
 *	  (none) ─────────────────▶ both sides hold ────────────────▶ over ── PAIR_DEL ──▶ (none)
 *
 *  P1  Two stacks have one pair at most that is not over; so has one with itself, in one slot.
 *  P2  A slot whose pair is over stays taken until its stack has said that nothing of it is left
 *      (PAIR_DEL): until then the slot's number names old connections. Free slots are taken in
 *      turn, so that a number comes back late.
 *  P3  A pair whose one stack has ended is named to the other until that has fetched it: who
 *      connects, sends and exits at once has been heard, as in the kernel's backlog.
 *  P4  Each end for ringing that we hand out is a socket of its own: what its holder does to it,
 *      he does to nobody else.
 *  P5  Any two users may meet: it is the port's owner who decides whom he serves, as he does where
 *      clients come over the loopback. But one user's stacks take no more than a quarter of
 *      another's slots.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/host.h"

#define N_PAIRS_UID (N_PAIRS / 4)

struct side {
	struct stack *stack;	/* NULL: it has ended, or has given the slot back */
	uint32_t id;		/* the stack's */
	uint32_t slot;
	uid_t	 uid;
	bool	 fetched;
};

struct pair {
	uint32_t id;
	int	 fd;
	bool	 is_self, over;
	struct side side[2];
};

/* ---- front and pipe ---- */

int pair_open(struct agent *a)
{
	a->ringer = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_USERSOCK);
	return a->ringer < 0 ? -errno : 0;
}

void pair_close(struct agent *a)
{
	if (a->ringer >= 0)
		(void)close(a->ringer);
	a->ringer = -1;
}

static void ring(const struct agent *a, const struct stack *s)
{
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = s->pipe_port };

	(void)sendto(a->ringer, "", 1, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof(to));
}

int pair_prepare(struct stack *s)
{
	s->front = host_new_front(s->id);
	if (s->front < 0)
		return s->front;
	s->pipe = host_new_pipe(&s->pipe_port);
	return s->pipe < 0 ? s->pipe : 0;
}

void pair_discard(struct stack *s)
{
	if (s->front >= 0)
		(void)close(s->front);
	if (s->pipe >= 0)
		(void)close(s->pipe);
	s->front = s->pipe = -1;
}

static int front_to_read(const struct stack *s)
{
	char path[40];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", s->front);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

/* ---- making ---- */

static void destroy(struct pair *p)
{
	(void)close(p->fd);
	free(p);
}

static struct pair *find(const struct stack *s, const struct stack *peer)
{
	uint32_t i;

	for (i = 0; i < N_PAIRS; i++) {
		struct pair *p = s->pairs[i];

		if (p && !p->over && (p->is_self ? s == peer :
		    p->side[p->side[0].stack == s].stack == peer))
			return p;
	}
	return NULL;
}

static int free_slot(struct stack *s, uint32_t *ret)
{
	uint32_t i, k;

	for (i = 0; i < N_PAIRS; i++) {
		k = (s->next_pair + i) % N_PAIRS;
		if (s->pairs[k])
			continue;
		s->next_pair = k + 1;
		*ret = k;
		return 0;
	}
	return -EDQUOT;
}

/* P5 */
static bool takes_too_many(const struct stack *of, uid_t uid)
{
	uint32_t i, n = 0;

	if (uid == 0 || uid == of->uid)
		return false;
	for (i = 0; i < N_PAIRS; i++) {
		const struct pair *p = of->pairs[i];

		n += p && (p->side[0].uid == uid || p->side[1].uid == uid);
	}
	return n >= N_PAIRS_UID;
}

static void hold(struct agent *a, struct pair *p, uint32_t side, struct stack *s, uint32_t slot)
{
	p->side[side] = (struct side){ .stack = s, .id = s->id, .slot = slot, .uid = s->uid };
	s->pairs[slot] = p;
	dir_pair_set(a, s, slot, p->id);
}

static int make(struct agent *a, struct stack *s, struct stack *peer, struct pair **ret)
{
	const uint32_t ids[2] = { s->id, peer->id };
	uint32_t slot, peer_slot = 0;
	struct pair *p;
	int err;

	if (takes_too_many(peer, s->uid))
		return -EDQUOT;
	err = free_slot(s, &slot);
	if (!err && peer != s)
		err = free_slot(peer, &peer_slot);
	if (err)
		return err;
	p = calloc(1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	if (++a->next_pair_id == 0)
		a->next_pair_id = 1;
	p->id = a->next_pair_id;
	p->is_self = peer == s;
	p->fd = host_new_pair(p->id, ids);
	if (p->fd < 0) {
		err = p->fd;
		free(p);
		return err;
	}
	hold(a, p, 0, s, slot);
	if (!p->is_self) {
		hold(a, p, 1, peer, peer_slot);
		ring(a, peer);
	}
	*ret = p;
	return 0;
}

/* ---- handing out ---- */

static void give(struct request *rq, int fd, bool owned)
{
	rq->out_owned |= (uint64_t)owned << rq->n_out;
	rq->out[rq->n_out++] = fd;
}

/* P3: it was told of it; that it is over is what it must know now. */
static void note_fetched(struct agent *a, struct pair *p, struct side *own)
{
	if (own->fetched)
		return;
	own->fetched = true;
	if (p->over)
		dir_pair_set(a, own->stack, own->slot, 0);
}

static int answer(struct agent *a, struct request *rq, const struct stack *s, struct pair *p)
{
	struct ctl_pair *ret = &rq->reply.u.pair;
	uint32_t own = p->side[0].stack != s;
	struct side *peer = &p->side[p->is_self ? 0 : !own];
	int front, end;

	*ret = (struct ctl_pair){ .slot = p->side[own].slot, .side = own, .pair_id = p->id,
				  .peer = peer->id, .is_self = p->is_self, .over = p->over };
	if (!p->over) {
		front = front_to_read(peer->stack);
		if (front < 0)
			return front;
		/* One's own programs can do worse to each other than read a ring away: they get the
		 * bell that costs half as much. */
		end = peer->stack->uid == s->uid ? fcntl(peer->stack->bell[PEER_BELL], F_DUPFD_CLOEXEC, 0) :
						   host_new_pipe_end(peer->stack->pipe_port);
		if (end < 0) {
			(void)close(front);
			return end;
		}
		give(rq, p->fd, false);
		give(rq, front, true);
		give(rq, end, true);
	} else {
		give(rq, p->fd, false);
	}
	note_fetched(a, p, &p->side[own]);
	return 0;
}

int pair_get(struct agent *a, struct request *rq)
{
	struct stack *s = rq->c->stack, *peer = stack_find(a, rq->msg->u.pair.peer);
	struct pair *p;
	int err;

	/* One without programs listens no more: it only finishes what it has. */
	if (!peer || peer->orphaned_at)
		return -ENOENT;
	p = find(s, peer);
	if (!p) {
		err = make(a, s, peer, &p);
		if (err)
			return err;
	}
	return answer(a, rq, s, p);
}

int pair_at(struct agent *a, struct request *rq)
{
	struct stack *s = rq->c->stack;
	uint32_t slot = rq->msg->u.pair.slot;

	if (slot >= N_PAIRS || !s->pairs[slot])
		return -ENOENT;
	return answer(a, rq, s, s->pairs[slot]);
}

/* ---- ending ---- */

static void let_go(struct pair *p, struct stack *s)
{
	uint32_t own = p->side[0].stack != s;

	s->pairs[p->side[own].slot] = NULL;
	p->side[own].stack = NULL;
	if (!p->side[0].stack && !p->side[1].stack)
		destroy(p);
}

int pair_del(struct agent *a, struct stack *s, const struct ctl_pair *m)
{
	struct pair *p = m->slot < N_PAIRS ? s->pairs[m->slot] : NULL;

	if (!p || p->id != m->pair_id)
		return -ENOENT;
	if (!p->over)
		return -EBUSY;
	dir_pair_set(a, s, m->slot, 0);
	let_go(p, s);
	return 0;
}

void pair_flush(struct agent *a, struct stack *s)
{
	uint32_t i;

	for (i = 0; i < N_PAIRS; i++) {
		struct pair *p = s->pairs[i];
		struct side *peer;

		if (!p)
			continue;
		peer = &p->side[p->side[0].stack == s];
		p->over = true;
		if (peer->stack) {
			if (peer->fetched)
				dir_pair_set(a, peer->stack, peer->slot, 0);
			ring(a, peer->stack);
		}
		let_go(p, s);
	}
}
