/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bridge: an unprivileged process of the same stack that carries bytes between accelerated
 * connections and kernel sockets. It is asked over a channel by the program that gave a connection
 * up (handback.c), and lives until it has none left and nobody could ask any more.
 *
 * Invariants
 *  B1	What was read from one side is written to the other before more is read: a reader who
 *	does not read stops the writer, as one connection would.
 *  B2	Each direction ends by itself: an end of stream becomes shutdown(SHUT_WR) on the other
 *	side once everything before it was written.
 *  B3	An error on one side is a reset on the other. What the program would have been told is
 *	lost but for the fact.
 *  B4	It never asks for a signal, a thread or a timer, writes nothing, and keeps nothing open
 *	that was the program's: no directory, no terminal, no descriptor but the stack's.
 *
 * A program that closed its end for good and one that shut down sending look the same. The kernel
 * forgets such an end after a minute, and keepalive probes on ours find that out (B5).
 */
#include "sock/bridge.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>

#define PIPE_BYTES	(64 * 1024)
#define MOVES_AT_ONCE	16
#define ENDED_IDLE_S	20	/* B5: the program's end is asked from then on */
#define ENDED_PROBES_S	10
#define LONE_MS		2000	/* a bridge that is not needed goes, even if somebody could ask */

struct stream_pipe {		/* one direction */
	uint8_t	*buf;
	uint32_t at, n;
	bool	 ended;		/* nothing more will be read */
	bool	 told;		/* ... and the other side has been told */
};

enum { DOWN, UP };		/* from the connection to the program, and back */

struct bridged {
	int	 conn;		/* our accelerated descriptor; -1: free */
	int	 kernel;
	struct stream_pipe pipe[2];
};

struct bridge {
	int	 channel;	/* -1: nobody can ask any more */
	uint32_t n;		/* entries ever used */
	uint32_t n_live;
	struct bridged *of;
	struct pollfd *poll;
};

/* ---- messages with a descriptor beside them -------------------------------------------------------- */

union one_fd {
	struct cmsghdr head;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

int bridge_send(int channel, const void *msg, size_t n, int fd)
{
	struct iovec iov = { (void *)(uintptr_t)msg, n };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	union one_fd ctl = { 0 };
	ssize_t r;

	if (fd >= 0) {
		m.msg_control = &ctl;
		m.msg_controllen = sizeof(ctl.bytes);
		ctl.head.cmsg_level = SOL_SOCKET;
		ctl.head.cmsg_type = SCM_RIGHTS;
		ctl.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&ctl.head), &fd, sizeof(fd));
	}
	do {
		r = sys_sendmsg(channel, &m, MSG_NOSIGNAL);
	} while (r == -EINTR);
	return r < 0 ? (int)r : r == (ssize_t)n ? 0 : -EPROTO;
}

int bridge_recv(int channel, void *msg, size_t n, int *ret_fd)
{
	struct iovec iov = { msg, n };
	union one_fd ctl = { 0 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &ctl,
			    .msg_controllen = sizeof(ctl.bytes) };
	ssize_t r;

	*ret_fd = -1;
	do {
		r = sys_recvmsg(channel, &m, MSG_CMSG_CLOEXEC);
	} while (r == -EINTR);
	if (r < 0)
		return r == -ECONNRESET ? -EPIPE : (int)r;
	if (m.msg_controllen >= CMSG_LEN(sizeof(int)) && ctl.head.cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(&ctl.head), sizeof(*ret_fd));
	if (r == (ssize_t)n)
		return 0;
	if (*ret_fd >= 0)
		sys_close(*ret_fd);
	*ret_fd = -1;
	return r == 0 ? -EPIPE : -EPROTO;
}

/* ---- the two sides of a connection -------------------------------------------------------------------- */

static int64_t side_read(const struct bridged *b, int dir, void *p, size_t n)
{
	return dir == DOWN ? sk_recv(b->conn, p, n, MSG_DONTWAIT) :
			     sys_recvfrom(b->kernel, p, n, MSG_DONTWAIT, NULL, NULL);
}

static int64_t side_write(const struct bridged *b, int dir, const void *p, size_t n)
{
	return dir == UP ? sk_send(b->conn, p, n, MSG_DONTWAIT | MSG_NOSIGNAL) :
			   sys_sendto(b->kernel, p, n, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0);
}

/* B5 */
static void watch_ended(int fd)
{
	static const struct { int level, name, v; } to[] = {
		{ IPPROTO_TCP, TCP_KEEPIDLE, ENDED_IDLE_S }, { IPPROTO_TCP, TCP_KEEPINTVL, ENDED_PROBES_S },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
	};
	size_t i;

	for (i = 0; i < n_elems(to); i++)
		(void)sys_setsockopt(fd, to[i].level, to[i].name, &to[i].v, sizeof(to[i].v));
}

/* B2 */
static void tell_end(struct bridged *b, int dir)
{
	b->pipe[dir].told = true;
	if (dir == UP) {
		(void)sk_shutdown(b->conn, SHUT_WR);
		watch_ended(b->kernel);
	} else {
		(void)sys_shutdown(b->kernel, SHUT_WR);
	}
}

/* Until one side would block, or others have waited enough. False: that direction met an error. */
static bool move(struct bridged *b, int dir)
{
	struct stream_pipe *p = &b->pipe[dir];
	uint32_t left = MOVES_AT_ONCE;
	int64_t r;

	while (!p->told && left--) {
		if (!p->n && !p->ended) {
			r = side_read(b, dir, p->buf, PIPE_BYTES);
			if (r == -EAGAIN || r == -EINTR)
				return true;
			if (r < 0)
				return false;
			p->at = 0;
			p->n = (uint32_t)r;
			p->ended = r == 0;
		}
		if (!p->n) {
			tell_end(b, dir);
			return true;
		}
		r = side_write(b, dir, p->buf + p->at, p->n);
		if (r == -EAGAIN || r == -EINTR)
			return true;
		if (r < 0)
			return false;
		p->at += (uint32_t)r;
		p->n -= (uint32_t)r;
	}
	return true;
}

static void finish(struct bridge *s, struct bridged *b, bool reset)
{
	static const struct linger at_once = { .l_onoff = 1, .l_linger = 0 };

	if (reset) {	/* B3 */
		(void)sys_setsockopt(b->kernel, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
		(void)sk_setsockopt(b->conn, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	}
	sys_close(b->kernel);
	(void)sk_close(b->conn);
	sys_close(b->conn);
	sys_munmap(b->pipe[DOWN].buf, 2 * PIPE_BYTES);
	b->conn = -1;
	s->n_live--;
}

/* ---- new ones ---------------------------------------------------------------------------------------------- */

static struct bridged *new_entry(struct bridge *s)
{
	uint32_t i;

	for (i = 0; i < s->n; i++)
		if (s->of[i].conn < 0)
			return &s->of[i];
	return s->n < BRIDGE_MAX ? &s->of[s->n++] : NULL;
}

/* The connection gets a descriptor of ours: any will do to be its number. */
static int hold(uint32_t h, int some_fd, struct pocket_ends *ret)
{
	struct ent e = { .kind = FD_TCP, .reason = REASON_BRIDGED, .h = h };
	struct turn t;
	struct sk *sk;
	int fd = sys_fcntl(some_fd, F_DUPFD_CLOEXEC, 3);

	if (fd < 0)
		return fd;
	if (!sk_enter(&t)) {
		sys_close(fd);
		return -EINTR;
	}
	sk = sk_find(&t, (sk_h){ h });
	if (sk) {
		sk_ref(&t, sk, self.x.proc);
		*ret = (struct pocket_ends){ .laddr = sk->laddr, .raddr = sk->raddr, .lport = sk->lport,
					     .rport = sk->rport, .family6 = sk->flags & SK_F_FAMILY6 };
	}
	sk_leave(&t, false);
	if (!sk) {
		sys_close(fd);
		return -ENOTCONN;
	}
	fd_put(fd, e);
	return fd;
}

static int take(struct bridge *s, uint32_t h, int *ret_fd)
{
	struct bridged *b = new_entry(s);
	struct pocket_ends ends;
	uint8_t *buf;
	int err;

	if (!b)
		return -ENOBUFS;
	b->conn = -1;
	buf = sys_mmap(NULL, 2 * PIPE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (SYS_MAP_FAILED(buf))
		return -ENOMEM;
	err = hold(h, s->channel, &ends);
	if (err < 0) {
		sys_munmap(buf, 2 * PIPE_BYTES);
		return err;
	}
	*b = (struct bridged){ .conn = err, .kernel = -1, .pipe = { { .buf = buf }, { .buf = buf + PIPE_BYTES } } };
	s->n_live++;
	err = pocket_pair(&ends, ret_fd, &b->kernel);
	if (err)
		finish(s, b, false);
	return err;
}

static void hear(struct bridge *s)
{
	struct bridge_answer a = { 0 };
	struct bridge_ask ask;
	int fd = -1, ignored;

	a.err = bridge_recv(s->channel, &ask, sizeof(ask), &ignored);
	if (!a.err)
		a.err = take(s, ask.h, &fd);
	else
		a.err = -EPIPE;
	if (a.err == -EPIPE || bridge_send(s->channel, &a, sizeof(a), fd)) {
		sys_close(s->channel);
		s->channel = -1;
	}
	if (fd >= 0)
		sys_close(fd);
}

/* ---- life ---------------------------------------------------------------------------------------------------- */

static short events_of(const struct bridged *b, int from, int to)
{
	const struct stream_pipe *in = &b->pipe[from], *out = &b->pipe[to];

	return (short)((!in->ended && !in->n ? POLLIN : 0) | (out->n ? POLLOUT : 0));
}

/* An end that waits for nothing is not watched: it would say for ever that it has hung up. */
static uint32_t watch(struct bridge *s)
{
	uint32_t i, n = 0;

	for (i = 0; i < s->n; i++) {
		const struct bridged *b = &s->of[i];
		short conn = b->conn < 0 ? 0 : events_of(b, DOWN, UP);
		short kernel = b->conn < 0 ? 0 : events_of(b, UP, DOWN);

		if (conn)
			s->poll[n++] = (struct pollfd){ .fd = b->conn, .events = conn };
		if (kernel || (b->conn >= 0 && b->pipe[UP].told))	/* B5: its reset is heard */
			s->poll[n++] = (struct pollfd){ .fd = b->kernel, .events = kernel };
	}
	if (s->channel >= 0)
		s->poll[n++] = (struct pollfd){ .fd = s->channel, .events = POLLIN };
	return n;
}

static bool channel_calls(const struct bridge *s, uint32_t n)
{
	return s->channel >= 0 && n && s->poll[n - 1].revents;
}

static bool kernel_failed(const struct bridged *b)
{
	struct pollfd p = { .fd = b->kernel };
	struct timespec zero = { 0, 0 };

	return sys_ppoll(&p, 1, &zero, NULL) == 1 && p.revents & POLLERR;
}

static void move_all(struct bridge *s)
{
	uint32_t i;

	for (i = 0; i < s->n; i++) {
		struct bridged *b = &s->of[i];

		if (b->conn < 0)
			continue;
		if (!move(b, DOWN) || !move(b, UP) || (b->pipe[UP].told && kernel_failed(b)))
			finish(s, b, true);
		else if (b->pipe[DOWN].told && b->pipe[UP].told)
			finish(s, b, false);
	}
}

static int64_t sleep_on(struct bridge *s, uint32_t n)
{
	struct timespec lone = { LONE_MS / 1000, 0 };
	int64_t r = s->n_live ? sk_poll(s->poll, n, -1) : SK_PASS;

	return r == SK_PASS ? sys_ppoll(s->poll, n, s->n_live ? NULL : &lone, NULL) : r;
}

noreturn_fn void sk_bridge(int channel)
{
	size_t bytes = BRIDGE_MAX * sizeof(struct bridged) + (2 * BRIDGE_MAX + 1 + WAIT_ROOM) * sizeof(struct pollfd);
	struct bridge s = { .channel = channel };
	uint32_t n;

	s.of = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (!SYS_MAP_FAILED(s.of)) {
		s.poll = (struct pollfd *)(void *)(s.of + BRIDGE_MAX);
		while (s.channel >= 0 || s.n_live) {
			n = watch(&s);
			if (sleep_on(&s, n) == 0 && !s.n_live)
				break;
			if (channel_calls(&s, n))
				hear(&s);
			move_all(&s);
		}
	}
	sk_fini();
	for (;;)
		SYS1(SYS_exit_group, 0);
}
