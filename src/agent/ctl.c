// SPDX-License-Identifier: BSD-2-Clause
/*
 * The control socket: who is connected, what they ask, what they are told.
 *
 * A message and its descriptors are received into our own memory, judged by request_check()
 * and only then acted upon. Descriptors that came and are not wanted are closed, always. A
 * reply that does not fit into the client's socket is not waited for: the client is dropped,
 * since it does not read what it asked for.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/host.h"
#include "layout_hash.h"

#define WAIT_NS	(250 * NS_PER_MS)	/* for a lease; half of what a program waits for us */
#define MAX_FDS_IN 4	/* more than any request wants; what exceeds it the kernel drops */

int ctl_open(struct agent *a)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t n = offsetof(struct sockaddr_un, sun_path) + 1 + sizeof(CTL_NAME) - 1;
	uint32_t i;

	static_assert(MAX_REPLY_FDS <= 64, "a bit each in out_owned");
	for (i = 0; i < N_CLIENTS; i++)
		a->clients[i] = (struct client){ .fd = -1, .i = i };
	a->spare_fd = eventfd(0, EFD_CLOEXEC);
	memcpy(sun.sun_path + 1, CTL_NAME, sizeof(CTL_NAME) - 1);
	a->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (a->listen_fd < 0)
		return -errno;
	if (a->own)
		return own_open(a);
	return bind(a->listen_fd, (struct sockaddr *)&sun, n) ? -errno : 0;
}

static int watch(struct agent *a, struct client *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	return epoll_ctl(a->epfd, EPOLL_CTL_ADD, c->fd, &ev) ? -errno : 0;
}

static struct client *new_client(struct agent *a)
{
	uint32_t i;

	for (i = 0; i < N_CLIENTS; i++)
		if (a->clients[i].fd < 0)
			return &a->clients[i];
	return NULL;
}

static void stop_waiting(struct agent *a, struct waiting *w)
{
	(void)close(w->fd);
	w->c = NULL;
	a->n_waiting--;
}

static void drop(struct agent *a, struct client *c)
{
	struct stack *s = c->stack;
	bool internal = c->internal;
	uint32_t i;

	for (i = 0; i < N_WAITING; i++)
		if (a->waiting[i].c == c)
			stop_waiting(a, &a->waiting[i]);

	(void)close(c->fd);
	*c = (struct client){ .fd = -1, .i = c->i };
	if (s && !internal)
		stack_left(a, s);
}

static uint32_t n_of_user(const struct agent *a, uid_t uid)
{
	uint32_t i, n = 0;

	for (i = 0; i < N_CLIENTS; i++)
		n += a->clients[i].fd >= 0 && a->clients[i].cred.uid == uid &&
		     !a->clients[i].internal;
	return n;
}

/* Out of descriptors: a caller that waits would keep the loop awake for ever, so one kept
 * back for this serves to tell it no. */
static int refuse_one(struct agent *a)
{
	int fd;

	if (a->spare_fd < 0)
		return -1;
	(void)close(a->spare_fd);
	fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (fd >= 0)
		(void)close(fd);
	a->spare_fd = eventfd(0, EFD_CLOEXEC);
	return -1;
}

static bool is_welcome(const struct agent *a, uid_t uid)
{
	if (a->own)
		return uid == getuid() || uid == 0;
	return uid == 0 || n_of_user(a, uid) < N_CLIENTS_UID;
}

void ctl_accept(struct agent *a)
{
	int fd = accept4(a->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred cred;
	socklen_t n = sizeof(cred);
	struct client *c;

	if (fd < 0 && (errno == EMFILE || errno == ENFILE))
		fd = refuse_one(a);
	if (fd < 0)
		return;
	c = new_client(a);
	if (!c || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n) || !is_welcome(a, cred.uid)) {
		(void)close(fd);
		return;
	}
	c->fd = fd;
	c->cred = cred;
	if (watch(a, c))
		drop(a, c);
}

int ctl_adopt(struct agent *a, int fd, struct stack *s)
{
	struct client *c = new_client(a);
	int err;

	if (!c)
		return -EDQUOT;
	c->fd = fd;
	c->cred = (struct ucred){ .pid = 0, .uid = s->uid, .gid = s->gid };
	c->greeted = true;
	c->internal = true;
	c->stack = s;
	err = watch(a, c);
	if (err)
		*c = (struct client){ .fd = -1, .i = c->i };
	return err;
}

void ctl_forget_stack(struct agent *a, struct stack *s)
{
	uint32_t i;

	for (i = 0; i < N_CLIENTS; i++) {
		struct client *c = &a->clients[i];

		if (c->fd < 0 || c->stack != s)
			continue;
		c->stack = NULL;
		if (c->internal)
			drop(a, c);
	}
	s->n_clients = 0;
}

void ctl_close(struct agent *a)
{
	uint32_t i;

	for (i = 0; i < N_CLIENTS; i++)
		if (a->clients[i].fd >= 0)
			drop(a, &a->clients[i]);
	if (a->own)
		own_close(a);
	if (a->listen_fd >= 0)
		(void)close(a->listen_fd);
	a->listen_fd = -1;
}

static int refuse_attach(struct ctl_msg *r)
{
	(void)snprintf(r->u.text, sizeof(r->u.text), "this is a user's own agent, which has no right "
		       "to interfaces; the system's agent has not been started here");
	return -EOPNOTSUPP;
}

static int act(struct agent *a, struct request *rq)
{
	const struct ctl_msg *m = rq->msg;
	struct ctl_msg *r = &rq->reply;
	struct stack *s = rq->c->stack;

	switch (m->op) {
	case CTL_HELLO:
		rq->c->greeted = true;
		if (a->own)
			own_met(a, rq->c, rq->fd);
		return 0;
	case CTL_STACK_GET:
		return stack_get(a, rq);
	case CTL_STACK_JOIN:
		return stack_join(a, rq);
	case CTL_LEASE_ADD:
		return lease_add(a, s, &m->u.lease, rq->fd);
	case CTL_LEASE_DEL:
		return lease_del(a, s, &m->u.lease);
	case CTL_FLOW_ADD:
		return flow_add(a, s, &m->u.flow);
	case CTL_FLOW_DEL:
		return flow_del(a, s, &m->u.flow);
	case CTL_PORTS_GET:
		return ports_get(a, s, &r->u.ports);
	case CTL_NEIGH_ASK:
		mirror_neigh_ask(a, &m->u.neigh);
		return 0;
	case CTL_PAIR_GET:
		return pair_get(a, rq);
	case CTL_PAIR_AT:
		return pair_at(a, rq);
	case CTL_PAIR_DEL:
		return pair_del(a, s, &m->u.pair);
	case CTL_ATTACH:
		if (a->own)
			return refuse_attach(r);
		return link_attach(a, &m->u.link, r->u.text, sizeof(r->u.text));
	case CTL_DETACH:
		return link_detach(a, m->u.link.name);
	case CTL_STATUS:
		return link_status(a, m->u.index, &r->u.status);
	case CTL_STACKS:
		return stack_info(a, rq);
	case CTL_SHUTDOWN:
		a->stop = true;
		return 0;
	default:
		return -EOPNOTSUPP;
	}
}

static int answer(struct request *rq)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(MAX_REPLY_FDS * sizeof(int))]; } cm;
	struct iovec iov = { &rq->reply, sizeof(rq->reply) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (rq->n_out) {
		memset(&cm, 0, sizeof(cm));
		cm.h.cmsg_level = SOL_SOCKET;
		cm.h.cmsg_type = SCM_RIGHTS;
		cm.h.cmsg_len = CMSG_LEN(rq->n_out * sizeof(int));
		memcpy(CMSG_DATA(&cm.h), rq->out, rq->n_out * sizeof(int));
		mh.msg_control = &cm;
		mh.msg_controllen = CMSG_SPACE(rq->n_out * sizeof(int));
	}
	return sendmsg(rq->c->fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void fill_reply(struct ctl_msg *r, const struct ctl_msg *m)
{
	r->version = CTL_VERSION;
	r->op = m->op;
	r->cookie = m->cookie;
	r->layout_hash = ONRAMP_LAYOUT_HASH;
}

/* The lease is a dead program's, about to be given back (lease.c E5): the answer can wait.
 * False: it cannot, or there is no room to. */
static bool wait_for_lease(struct agent *a, const struct request *rq)
{
	uint32_t i;

	if (rq->msg->op != CTL_LEASE_ADD || rq->reply.err != -EADDRINUSE ||
	    !lease_will_end(&rq->msg->u.lease))
		return false;
	for (i = 0; i < N_WAITING; i++) {
		struct waiting *w = &a->waiting[i];

		if (w->c)
			continue;
		w->fd = fcntl(rq->fd, F_DUPFD_CLOEXEC, 3);
		if (w->fd < 0)
			return false;
		w->c = rq->c;
		w->msg = *rq->msg;
		w->until = host_now() + WAIT_NS;
		a->n_waiting++;
		return true;
	}
	return false;
}

void ctl_retry(struct agent *a)
{
	uint32_t i;

	for (i = 0; a->n_waiting && i < N_WAITING; i++) {
		struct waiting *w = &a->waiting[i];
		struct request rq = { .c = w->c, .msg = &w->msg, .fd = w->fd };

		if (!w->c)
			continue;
		rq.reply.err = lease_add(a, w->c->stack, &w->msg.u.lease, w->fd);
		if (rq.reply.err == -EADDRINUSE && host_now() < w->until)
			continue;
		fill_reply(&rq.reply, &w->msg);
		stop_waiting(a, w);
		if (answer(&rq))
			drop(a, rq.c);
	}
}

static void serve(struct agent *a, struct client *c, const struct ctl_msg *m, size_t bytes,
		  const int *fds, uint32_t n_fds)
{
	/* The owner of an agent is its root. */
	uid_t uid = a->own && c->cred.uid == getuid() ? 0 : c->cred.uid;
	struct caller who = { uid, c->greeted, c->stack != NULL, c->internal };
	struct request rq = { .c = c, .msg = m, .fd = n_fds ? fds[0] : -1 };
	uint32_t i;
	int err;

	rq.reply.err = request_check(m, bytes, n_fds, &who, ONRAMP_LAYOUT_HASH);
	if (!rq.reply.err)
		rq.reply.err = act(a, &rq);
	fill_reply(&rq.reply, m);
	if (rq.reply.op == CTL_NEIGH_ASK || wait_for_lease(a, &rq))
		return;
	err = answer(&rq);
	for (i = 0; i < rq.n_out; i++)
		if (rq.out_owned & (1ull << i))
			(void)close(rq.out[i]);
	if (err)
		drop(a, c);
}

static uint32_t take_fds(struct msghdr *mh, int *fds)
{
	struct cmsghdr *h;
	uint32_t n = 0, i, k;

	for (h = CMSG_FIRSTHDR(mh); h; h = CMSG_NXTHDR(mh, h)) {
		if (h->cmsg_level != SOL_SOCKET || h->cmsg_type != SCM_RIGHTS)
			continue;
		k = (uint32_t)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));
		for (i = 0; i < k && n < MAX_FDS_IN; i++, n++)
			memcpy(&fds[n], CMSG_DATA(h) + i * sizeof(int), sizeof(int));
	}
	return n;
}

/* Takes one message, so that no client keeps the others waiting: epoll calls again. */
void ctl_input(struct agent *a, struct client *c)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(MAX_FDS_IN * sizeof(int))]; } cm;
	struct ctl_msg m = { 0 };
	struct iovec iov = { &m, sizeof(m) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &cm,
			     .msg_controllen = sizeof(cm) };
	int fds[MAX_FDS_IN];
	uint32_t n_fds, i;
	ssize_t n;

	n = recvmsg(c->fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC | MSG_TRUNC);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop(a, c);
		return;
	}
	n_fds = take_fds(&mh, fds);
	serve(a, c, &m, (size_t)n, fds, n_fds);
	for (i = 0; i < n_fds; i++)
		(void)close(fds[i]);
}
