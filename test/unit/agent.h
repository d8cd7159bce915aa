/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An agent for tests: a thread that answers abi/ctl.h on the real abstract name, in a network
 * namespace that the test makes for itself. It grants one stack without interfaces, pairs with
 * stacks that there are not, notes what it was told, and misbehaves on request.
 */
#ifndef TEST_UNIT_AGENT_H
#define TEST_UNIT_AGENT_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/atomic.h"
#include "exec/ctl.h"
#include "layout_hash.h"

enum mood {
	MOOD_GOOD, MOOD_SILENT, MOOD_LATE, MOOD_SHORT, MOOD_WRONG_COOKIE, MOOD_HANGS_UP,
	MOOD_REFUSES, MOOD_OTHER_BUILD, MOOD_TOO_MANY_FDS, MOOD_FEW_FDS, MOOD_BAD_ERR,
};

#define AGENT_CONNS 8

struct agent {
	pthread_t thread;
	int listener, stop;		/* stop: eventfd */
	int seg, mirror, bells[N_WAITERS];
	int front, pipe;
	uint32_t pipe_port;
	struct mirror *m;		/* writable, at the agent's */
	uint32_t mood;			/* enum mood; atomic */
	uint16_t next_ports;
	uint32_t n_ops[CTL_PAIR_DEL + 1];	/* atomic: how often each was asked */
	struct ctl_lease last_del;
	struct ctl_flow  last_flow;
	struct ctl_neigh last_neigh;
	struct fake_pair { uint32_t id, peer, over; int fd, front, pipe; uint32_t port; } pairs[N_PAIRS];
	uint32_t n_pair_ids;
	int conns[AGENT_CONNS];		/* its ends, which forked children should not keep open */
	uint32_t n_conns;
	struct ctl_msg	 owed;		/* MOOD_LATE: the reply to the request before */
	bool		 owes;
};

/* True when the test has a network namespace, and so the name, for itself. */
static inline bool agent_world(void)
{
	return unshare(CLONE_NEWNET) == 0 || unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0;
}

static inline uint32_t agent_heard(struct agent *a, enum ctl_op op) { return acquire32(&a->n_ops[op]); }

/* Waits a while until an op has been heard n times. */
static inline bool agent_hears(struct agent *a, enum ctl_op op, uint32_t n)
{
	for (int i = 0; i < 2000 && agent_heard(a, op) < n; i++)
		usleep(1000);
	return agent_heard(a, op) >= n;
}

static inline void agent_send(int conn, const void *p, size_t n, const int *fds, uint32_t n_fds)
{
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int) * 64)]; } c = { { 0 } };
	struct iovec iov = { (void *)(uintptr_t)p, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		m.msg_control = &c;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c.h.cmsg_level = SOL_SOCKET;
		c.h.cmsg_type = SCM_RIGHTS;
		c.h.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(&c.h), fds, sizeof(int) * n_fds);
	}
	(void)!sendmsg(conn, &m, MSG_NOSIGNAL);
}

#define AGENT_DIR_SLOT 5

/* As the agent's directory.c does it. */
static inline void agent_name_pair(struct agent *a, uint32_t slot, uint32_t id)
{
	struct dir_stack *d = &a->m->stacks[AGENT_DIR_SLOT];

	poke32(&d->pair_id[slot], id);
	release32(&d->changes, d->changes + 1);
}

/* A pair of stack 7 with another, in the first free slot; that stack asked for it. */
static inline uint32_t agent_make_pair(struct agent *a, uint32_t peer)
{
	uint32_t slot = 0, ids[2] = { peer, 7 };
	struct fake_pair *p;

	while (a->pairs[slot].id)
		slot++;
	p = &a->pairs[slot];
	*p = (struct fake_pair){ .id = ++a->n_pair_ids, .peer = peer };
	p->fd = host_new_pair(p->id, ids);
	p->front = host_new_front(peer);
	p->pipe = host_new_pipe(&p->port);
	assert_true(p->fd >= 0 && p->front >= 0 && p->pipe >= 0);
	agent_name_pair(a, slot, p->id);
	return slot;
}

static inline void agent_drop_pair(struct agent *a, uint32_t slot)
{
	close(a->pairs[slot].fd);
	close(a->pairs[slot].front);
	close(a->pairs[slot].pipe);
	a->pairs[slot] = (struct fake_pair){ .id = 0 };
}

/* CTL_PAIR_*; descriptors to go with the reply, the last to be closed after it. */
static inline uint32_t agent_pair(struct agent *a, struct ctl_msg *m, int *fds)
{
	uint32_t slot = m->u.pair.slot % N_PAIRS, want = m->u.pair.pair_id;
	struct fake_pair *p;

	if (m->op == CTL_PAIR_GET) {
		for (slot = 0; slot < N_PAIRS - 1; slot++)
			if (a->pairs[slot].peer == m->u.pair.peer && !a->pairs[slot].over)
				break;
		if (a->pairs[slot].peer != m->u.pair.peer)
			slot = agent_make_pair(a, m->u.pair.peer);
	}
	p = &a->pairs[slot];
	m->err = p->id && (m->op != CTL_PAIR_DEL || p->id == want) ? 0 : -ENOENT;
	if (m->err)
		return 0;
	if (m->op == CTL_PAIR_DEL) {
		m->err = p->over ? 0 : -EBUSY;
		if (p->over)
			agent_drop_pair(a, slot);
		return 0;
	}
	m->u.pair = (struct ctl_pair){ .slot = slot, .side = 1, .pair_id = p->id, .peer = p->peer,
				       .over = p->over };
	fds[0] = p->fd;
	fds[1] = p->front;
	fds[2] = p->over ? -1 : host_new_pipe_end(p->port);
	return p->over ? 1 : 3;
}

static inline uint32_t agent_grant(struct agent *a, struct ctl_msg *r, int *fds)
{
	uint32_t n = 0;

	r->u.stack = (struct ctl_stack){ .stack_id = 7, .ring_slots = N_RING, .dir_slot = AGENT_DIR_SLOT };
	fds[n++] = a->seg;
	fds[n++] = a->mirror;
	fds[n++] = a->front;
	fds[n++] = a->pipe;
	for (uint32_t i = 0; i < N_WAITERS; i++)
		fds[n++] = a->bells[i];
	if (peek32(&a->mood) == MOOD_FEW_FDS)
		n--;
	while (peek32(&a->mood) == MOOD_TOO_MANY_FDS && n < 60)
		fds[n++] = a->seg;
	return n;
}

/* Notes a request and makes the good reply; returns descriptors to go with it. */
static inline uint32_t agent_answer(struct agent *a, struct ctl_msg *m, int *fds)
{
	m->err = 0;
	switch (m->op) {
	case CTL_PAIR_GET:
	case CTL_PAIR_AT:
	case CTL_PAIR_DEL:
		return agent_pair(a, m, fds);
	case CTL_HELLO:
		m->layout_hash = ONRAMP_LAYOUT_HASH ^ (peek32(&a->mood) == MOOD_OTHER_BUILD);
		return 0;
	case CTL_STACK_GET:
		return agent_grant(a, m, fds);
	case CTL_PORTS_GET:
		m->u.ports = (struct ctl_ports){ .base = a->next_ports, .count = PORT_BLOCK };
		a->next_ports += PORT_BLOCK;
		return 0;
	case CTL_LEASE_DEL:
		a->last_del = m->u.lease;
		return 0;
	case CTL_FLOW_ADD:
		a->last_flow = m->u.flow;
		return 0;
	case CTL_NEIGH_ASK:
		a->last_neigh = m->u.neigh;
		return 0;
	default:
		return 0;
	}
}

/* False: hang up. */
static inline bool agent_serve(struct agent *a, int conn)
{
	uint32_t mood = peek32(&a->mood), n_fds;
	int fds[64], dup_of_sent, pair_end = -1;
	union { struct cmsghdr h; char b[CMSG_SPACE(sizeof(int))]; } c;
	struct ctl_msg m;
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr h = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c) };

	if (recvmsg(conn, &h, MSG_CMSG_CLOEXEC) != sizeof(m) || m.version != CTL_VERSION ||
	    m.layout_hash != ONRAMP_LAYOUT_HASH || m.op > CTL_PAIR_DEL)
		return false;
	if (CMSG_FIRSTHDR(&h)) {
		memcpy(&dup_of_sent, CMSG_DATA(CMSG_FIRSTHDR(&h)), sizeof(int));
		close(dup_of_sent);
	} else if (m.op == CTL_LEASE_ADD || m.op == CTL_STACK_JOIN) {
		return false;
	}
	n_fds = agent_answer(a, &m, fds);
	release32(&a->n_ops[m.op], a->n_ops[m.op] + 1);
	if (m.op == CTL_NEIGH_ASK || mood == MOOD_SILENT)
		return true;
	if (mood == MOOD_HANGS_UP)
		return false;
	if (n_fds == 3 && (m.op == CTL_PAIR_GET || m.op == CTL_PAIR_AT))
		pair_end = fds[2];
	if (mood == MOOD_REFUSES && m.op != CTL_HELLO)
		m.err = -EDQUOT;
	if (mood == MOOD_BAD_ERR)
		m.err = 12345;
	if (mood == MOOD_LATE) {
		struct ctl_msg now = m;

		if (a->owes)	/* first what was due long ago, with a descriptor to leak */
			agent_send(conn, &a->owed, sizeof(a->owed), &a->seg, 1);
		if (a->owes)
			agent_send(conn, &now, sizeof(now), fds, n_fds);
		a->owed = now;
		a->owes = !a->owes;
		return true;
	}
	if (mood == MOOD_WRONG_COOKIE) {
		m.cookie++;
		agent_send(conn, &m, sizeof(m), &a->seg, 1);
		return true;
	}
	agent_send(conn, &m, mood == MOOD_SHORT ? sizeof(m) - 8 : sizeof(m), fds, n_fds);
	if (pair_end >= 0)
		close(pair_end);
	return true;
}

static inline void *agent_run(void *arg)
{
	struct agent *a = arg;
	struct pollfd p[2 + AGENT_CONNS] = { { a->stop, POLLIN, 0 }, { a->listener, POLLIN, 0 } };
	uint32_t n = 0;

	while (poll(p, 2 + n, -1) >= 0 && !p[0].revents) {
		for (uint32_t i = 0; i < n; i++) {
			if (!p[2 + i].revents || agent_serve(a, p[2 + i].fd))
				continue;
			close(p[2 + i].fd);
			p[2 + i] = p[2 + --n];
			a->conns[i--] = a->conns[n];
		}
		if (p[1].revents && n < AGENT_CONNS) {
			a->conns[n] = accept4(a->listener, NULL, NULL, SOCK_CLOEXEC);
			p[2 + n] = (struct pollfd){ a->conns[n], POLLIN, 0 };
			n++;
		}
		poke32(&a->n_conns, n);
	}
	while (n)
		close(p[2 + --n].fd);
	return NULL;
}

/* In a forked child: it is not the agent. */
static inline void agent_forget(struct agent *a)
{
	close(a->listener);
	close(a->stop);
	for (uint32_t i = 0; i < peek32(&a->n_conns); i++)
		close(a->conns[i]);
}

static inline void agent_start(struct agent *a)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct mirror *m;

	memset(a, 0, sizeof(*a));
	a->front = host_new_front(7);
	a->pipe = host_new_pipe(&a->pipe_port);
	assert_true(a->front >= 0 && a->pipe >= 0);
	a->next_ports = 0x8000;
	a->seg = host_new_segment(7, getuid());
	a->mirror = memfd_create("t", MFD_CLOEXEC);
	assert_int_equal(ftruncate(a->mirror, sizeof(*m)), 0);
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, a->mirror, 0);
	m->magic = MIRROR_MAGIC;
	m->generation = 1;
	m->stacks[AGENT_DIR_SLOT].stack_id = 7;
	a->m = m;
	for (int i = 0; i < N_WAITERS; i++)
		a->bells[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	a->stop = eventfd(0, EFD_CLOEXEC);
	a->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	memcpy(sun.sun_path + 1, CTL_NAME, sizeof(CTL_NAME) - 1);
	assert_int_equal(bind(a->listener, (void *)&sun, (socklen_t)(offsetof(struct sockaddr_un,
			      sun_path) + sizeof(CTL_NAME))), 0);
	assert_int_equal(listen(a->listener, 8), 0);
	assert_int_equal(pthread_create(&a->thread, NULL, agent_run, a), 0);
}

static inline void agent_stop(struct agent *a)
{
	uint64_t one = 1;

	assert_int_equal(write(a->stop, &one, 8), 8);
	pthread_join(a->thread, NULL);
	close(a->stop);
	close(a->listener);
	for (uint32_t i = 0; i < N_PAIRS; i++)
		if (a->pairs[i].id)
			agent_drop_pair(a, i);
	munmap(a->m, sizeof(*a->m));
	close(a->front);
	close(a->pipe);
	close(a->seg);
	close(a->mirror);
	for (int i = 0; i < N_WAITERS; i++)
		close(a->bells[i]);
}

/* Of this process, the agent's ends of connections included: those it closes a little later. */
static inline unsigned count_fds_now(void)
{
	unsigned n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static inline unsigned count_fds(void)
{
	unsigned n = count_fds_now(), last = 0;

	for (int i = 0; i < 20 || n != last; i++) {
		usleep(1000);
		last = n;
		n = count_fds_now();
	}
	return n;
}

#endif
