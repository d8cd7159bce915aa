/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Back to the kernel, in use. A datagram socket and a listener have the kernel's own below them:
 * giving up the lease is all it takes. A connection has only a placeholder there; its bytes go
 * on through a bridge (bridge.c), whose kernel socket takes the placeholder's number, in place.
 *
 * Invariants
 *  H1  The bridge has its reference before ours goes, so the connection never is nobody's.
 *  H2  Nothing is changed before the kernel's socket is in our hands; from there on nothing fails.
 *  H3  The bridge is no child that the program could wait for, and holds nothing of it: it is a
 *	grandchild of a process that ends at once, under a session of its own.
 */
#include "sock/handback.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/wait.h>

#include "sock/bridge.h"
#include "sock/stream.h"

#define PATH_BYTES	512
#define ANSWER_MS	5000	/* a bridge maps a stack and makes a namespace first: some 20 ms */
#define LATE_NS		(500 * NS_PER_MS)	/* who looked a listener up has come by then, or is refused */
#define LISTEN_MAX	4096

static int channel = -1;
static uint32_t channel_lock;

/* ---- the bridge's process ---------------------------------------------------------------------------- */

static bool put(char *to, size_t *at, const char *text)
{
	size_t n = strlen(text);

	if (*at + n + 1 > PATH_BYTES)
		return false;
	memcpy(to + *at, text, n + 1);
	*at += n;
	return true;
}

/* Beside this library, as it was built or as it was installed; "" if there is none. */
static void find_bridge(char ret[PATH_BYTES])
{
	static const char *const beside[] = { "../bin/onramp-bridge", "../../libexec/onramp/onramp-bridge" };
	size_t at = 0, i, dir = 0;
	Dl_info lib;

	ret[0] = 0;
	if (!dladdr((const void *)(uintptr_t)&self, &lib) || !lib.dli_fname || !put(ret, &at, lib.dli_fname))
		return;
	for (i = 0; ret[i]; i++)
		if (ret[i] == '/')
			dir = i + 1;
	for (i = 0; i < n_elems(beside); i++) {
		at = dir;
		if (put(ret, &at, beside[i]) && SYS4(SYS_faccessat, AT_FDCWD, ret, 1, 0) == 0)
			return;
	}
	ret[0] = 0;
}

static void close_run(unsigned first, unsigned last)
{
	if (first <= last)
		(void)sys_close_range(first, last, 0);
}

/* In the bridge: all that is open but the stack's plumbing and the channel. Our copy of the table
 * is still the program's, and only read. */
static void close_programs(int keep)
{
	unsigned n = min_u32(self.tab->n_used, N_FDS), fd, from = 0;

	for (fd = 0; fd < n; fd++) {
		bool mine = (int)fd == keep || (fd_get((int)fd).kind == FD_PRIVATE && (int)fd != self.tab_fd &&
						(int)fd != channel);

		if (!mine)
			continue;
		if (fd > from)
			close_run(from, fd - 1);
		from = fd + 1;
	}
	if ((unsigned)keep >= from) {
		close_run(from, (unsigned)keep - 1);
		from = (unsigned)keep + 1;
	}
	close_run(from, ~0u);
}

static void quiet_stdio(void)
{
	int fd = sys_openat(AT_FDCWD, "/dev/null", O_RDWR, 0);

	if (fd >= 0 && fd != 0)
		(void)sys_dup3(fd, 0, 0);
	if (fd >= 0) {
		(void)sys_dup3(0, 1, 0);
		(void)sys_dup3(0, 2, 0);
	}
}

/* The forked process is one more of the stack, with a table of its own and no socket. */
static bool become_member(uint32_t proc)
{
	struct fdtab *programs = self.tab;
	uint32_t i;

	sk_fds = (struct fd_view){ 0 };
	self.tab = NULL;
	self.tab_fd = channel = -1;
	self.templates[0] = self.templates[1] = -1;
	for (i = 0; i < N_WAITERS; i++)
		self.slot_ep[i] = self.slot_nested[i] = -1;
	self.quiet_slot = -1;
	sys_munmap(programs, sizeof(*programs));
	self.x.ctl_lock = self.x.pairs_lock = 0;
	if (fd_table() < 0)
		return false;
	(void)exec_after_fork_child(&self.x);
	exec_joined(&self.x, proc);
	fd_plumbing(&self.x);
	for (i = 0; i < N_PAIRS; i++)
		if (self.x.map.ap[i].bell_fd > 0)
			fd_mark_private(self.x.map.ap[i].bell_fd);
	return true;
}

static noreturn_fn void bridge_begins(const char *path, int end, uint32_t proc)
{
	static const char name[] = "onramp-bridge";
	const char *argv[3] = { name, NULL, NULL };
	int at = sys_fcntl(end, F_DUPFD, 3);
	char number[PROC_NUMBER];
	struct sk_exec e;

	host_after_fork();
	me = (struct thread){ 0 };
	self.n_spinning = 0;
	if (at >= 0) {
		close_programs(at);
		(void)SYS0(SYS_setsid);
		(void)SYS1(SYS_chdir, "/");
		quiet_stdio();
	}
	if (at < 0 || !become_member(proc))
		for (;;)
			SYS1(SYS_exit_group, 1);
	/* Without an agent the new image could not map what it needs: then this one stays. */
	if (path[0] && self.x.ctl_fd >= 0) {
		argv[1] = proc_number(number, (uint32_t)at);
		proc_inherit(&e);
		SYS3(SYS_execve, path, argv, e.vars);
		sk_exec_failed(&e);
	}
	sk_bridge(at);
}

/* H3. All signals are blocked, so that no handler runs in the copies. */
static int spawn(const char *path, int ends[2], uint32_t proc)
{
	uint64_t all = ~0ull, old;
	int status = 0;
	long child, r;

	SYS4(SYS_rt_sigprocmask, SIG_BLOCK, &all, &old, sizeof(all));
	child = SYS5(SYS_clone, 0, 0, 0, 0, 0);
	if (child == 0) {
		r = SYS5(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (r == 0)
			bridge_begins(path, ends[1], proc);
		for (;;)
			SYS1(SYS_exit_group, r < 0);
	}
	do {
		r = child < 0 ? child : SYS4(SYS_wait4, child, &status, __WALL, NULL);
	} while (r == -EINTR);
	SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &old, NULL, sizeof(old));
	return r < 0 ? (int)r : status ? -EAGAIN : 0;
}

static int start_bridge(void)
{
	char path[PATH_BYTES];
	uint32_t proc;
	int ends[2], err = sys_socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends);

	if (err)
		return err;
	find_bridge(path);
	err = exec_join(&self.x, 0, &proc);
	if (!err) {
		err = spawn(path, ends, proc);
		if (err)
			exec_leave(&self.x, proc);
	}
	sys_close(ends[1]);
	if (err)
		sys_close(ends[0]);
	else
		channel = fd_make_private(ends[0]);
	return err;
}

static void drop_channel(void)
{
	if (channel < 0)
		return;
	fd_take(channel);
	sys_close(channel);
	channel = -1;
}

void handback_after_fork(void)
{
	drop_channel();		/* answers would be stolen from the parent */
	channel_lock = 0;
}

static int ask_bridge(uint32_t h, int *ret_fd)
{
	struct bridge_ask ask = { .h = h };
	struct bridge_answer a = { .err = -EPIPE };
	struct timespec to = { ANSWER_MS / 1000, 0 };
	struct pollfd p = { .fd = channel, .events = POLLIN };
	int err = bridge_send(channel, &ask, sizeof(ask), -1);

	if (err)
		return err;
	while ((err = sys_ppoll(&p, 1, &to, NULL)) == -EINTR)
		;
	if (err != 1)
		return err < 0 ? err : -ETIMEDOUT;
	err = bridge_recv(channel, &a, sizeof(a), ret_fd);
	return err ? err : a.err ? a.err : *ret_fd < 0 ? -EPROTO : 0;
}

/* The kernel's socket for that connection. A bridge that had nothing to do for a while is gone. */
static int bridged(uint32_t h, int *ret_fd)
{
	int err = -EPIPE, tries;

	agent_enter();
	/* acq: pairs with rel below; held while the bridge answers */
	while (__atomic_exchange_n(&channel_lock, 1, __ATOMIC_ACQUIRE))
		SYS0(SYS_sched_yield);
	for (tries = 0; tries < 2 && (err == -EPIPE || err == -ECONNRESET); tries++) {
		err = channel < 0 ? start_bridge() : 0;
		if (!err)
			err = ask_bridge(h, ret_fd);
		if (err == -EPIPE || err == -ETIMEDOUT || err == -ECONNRESET || err == -EPROTO)
			drop_channel();
	}
	/* rel: pairs with acq above */
	__atomic_store_n(&channel_lock, 0, __ATOMIC_RELEASE);
	agent_leave();
	return err;
}

/* ---- in place of ours ------------------------------------------------------------------------------------ */

struct leaving {		/* what the program had set */
	struct tcp_opts opts;
	uint32_t rcvtimeo, sndtimeo;
	bool	 nonblock, wr_shut, rd_shut;
};

static int look(uint32_t h, struct leaving *ret)
{
	struct turn t;
	struct sk *sk;
	int err = -EBADF;

	if (!sk_enter(&t))
		return -EAGAIN;
	(void)exec_round(&self.x, &t);
	sk = sk_find(&t, (sk_h){ h });
	if (sk) {
		stream_get_opts(&t, sk, &ret->opts);
		ret->rcvtimeo = sk->rcvtimeo_ms;
		ret->sndtimeo = sk->sndtimeo_ms;
		ret->nonblock = sk->user & SKU_NONBLOCK;
		ret->wr_shut = sk->flags & SK_F_WR_SHUT;
		ret->rd_shut = sk->flags & SK_F_RD_SHUT;
		err = sk->state == TCP_S_ESTABLISHED || sk->state == TCP_S_CLOSE_WAIT ||
		      sk->state == TCP_S_FIN_WAIT_1 || sk->state == TCP_S_FIN_WAIT_2 ? 0 : -ENOTCONN;
	}
	sk_leave(&t, false);
	return err;
}

/* The number that our epoll half goes by in this process. */
static int epoll_of(ep_h h)
{
	uint32_t fd, n = min_u32(self.tab->n_used, N_FDS);

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);

		if (e.kind == FD_EPOLL && e.h == h.v)
			return (int)fd;
	}
	return -1;
}

/* One number changes its meaning; the last of a connection's lets our reference go (H1). */
static void put_in_place(int fd, struct ent e, int kernel, enum reason why)
{
	int flags = sys_fcntl(fd, F_GETFD, 0);

	(void)fd_take(fd);
	(void)sys_dup3(kernel, fd, flags > 0 && flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	conn_close(fd, e);
	e.flags &= (uint8_t)~FDF_SHARED;
	fd_kernel(fd, e, why);
}

#define FOLLOW_MAX 8		/* epolls that one descriptor is in */

struct followed { int epfd; struct epoll_event ev; };

/* Takes what this process registered of that number off our epolls: a wait must not report both. */
static uint32_t leave_epolls(int fd, uint32_t h, struct followed f[FOLLOW_MAX])
{
	struct ep_event was;
	uint32_t n = 0;
	struct turn t;
	struct sk *sk;
	ep_h ep;

	if (!sk_enter(&t))
		return 0;
	sk = sk_find(&t, (sk_h){ h });
	while (sk && n < FOLLOW_MAX && ep_take(&t, sk, fd, &ep, &was)) {
		f[n].epfd = epoll_of(ep);
		f[n++].ev = (struct epoll_event){ .events = was.events, .data.u64 = was.data };
	}
	sk_leave(&t, false);
	return n;
}

/* The kernel's epoll behind ours has it from now on. */
static void join_epolls(int fd, const struct followed *f, uint32_t n)
{
	uint32_t i;

	for (i = 0; i < n; i++) {
		struct epoll_event ev = f[i].ev;

		if (f[i].epfd >= 0 && sys_epoll_ctl(f[i].epfd, EPOLL_CTL_ADD, fd, &ev) == 0)
			fd_flags(f[i].epfd, FDF_FOREIGN, 0);
	}
}

static int connection_back(struct ent e, enum reason why)
{
	uint32_t i, n_f, n = min_u32(self.tab->n_used, N_FDS);
	struct followed f[FOLLOW_MAX];
	struct leaving l;
	int kernel, r, err = look(e.h, &l);

	if (!err)
		err = bridged(e.h, &kernel);
	if (err)
		return err;
	opts_tell(kernel, &l.opts, l.rcvtimeo, l.sndtimeo);
	r = sys_fcntl(kernel, F_GETFL, 0);
	if (l.nonblock && r >= 0)
		(void)sys_fcntl(kernel, F_SETFL, r | O_NONBLOCK);
	if (l.wr_shut)
		(void)sys_shutdown(kernel, SHUT_WR);
	if (l.rd_shut)
		(void)sys_shutdown(kernel, SHUT_RD);
	for (i = 0; i < n; i++) {
		struct ent twin = fd_get((int)i);

		if (twin.kind != FD_TCP || twin.h != e.h)
			continue;
		n_f = leave_epolls((int)i, e.h, f);
		put_in_place((int)i, twin, kernel, why);
		join_epolls((int)i, f, n_f);
	}
	sys_close(kernel);
	return 0;
}

/* ---- listeners and datagram sockets: the kernel's own is below them -------------------------------------- */

/* What is of the open file, and was kept in ours. */
static void restore_nonblock(int fd, bool on)
{
	int r = sys_fcntl(fd, F_GETFL, 0);

	if (r >= 0 && !!(r & O_NONBLOCK) != on)
		(void)sys_fcntl(fd, F_SETFL, on ? r | O_NONBLOCK : r & ~O_NONBLOCK);
}

/* All numbers of that socket are the kernel's from now on. Epoll has it there already (P2). */
static void only_kernels(struct ent e, enum reason why)
{
	uint32_t i, n = min_u32(self.tab->n_used, N_FDS);
	struct sk *sk = sk_peek(e.h);
	bool nonblock = sk && sk->user & SKU_NONBLOCK;
	struct followed ignored[FOLLOW_MAX];

	for (i = 0; i < n; i++) {
		struct ent twin = fd_get((int)i);

		if (twin.kind != e.kind || twin.h != e.h)
			continue;
		(void)leave_epolls((int)i, e.h, ignored);
		restore_nonblock((int)i, nonblock);
		(void)fd_take((int)i);
		conn_close((int)i, twin);
		twin.flags &= (uint8_t)~FDF_SHARED;
		fd_kernel((int)i, twin, why);
	}
}

static uint64_t returned_at;	/* ns: when a listener was given back last; atomic */

bool listener_is_done(void) { return host_now() - peek64(&returned_at) > LATE_NS; }

void listener_finish(int fd)
{
	struct ent e = fd_get(fd);

	if (e.kind == FD_LISTEN)
		only_kernels(e, REASON_PASSED);
}

/* Who looked us up in the directory before is still to come. A program that accepts without waiting goes on
 * to do so, and takes them; one that blocks needs the kernel's socket to block as well, so it is given
 * them a moment only. */
void listener_return(int fd, struct ent e)
{
	struct sk *sk = sk_peek(e.h);

	conn_give_up_lease(e);
	poke64(&returned_at, host_now());
	if (!sk || sk->user & SKU_NONBLOCK)
		return;
	host_nap(2 * NS_PER_MS);
	sk_round();
	sk = sk_peek(e.h);
	if (!sk || !(peek32(&sk->ready) & EPOLLIN))
		listener_finish(fd);
}

static void datagrams_back(int fd, struct ent e, enum reason why)
{
	struct sk *sk = sk_peek(e.h);
	struct sockaddr_in6 sa;
	socklen_t n = sizeof(sa);

	conn_give_up_lease(e);
	if (sk && sk->flags & SK_F_CONNECTED) {
		addr_emit(&sk->raddr, sk->rport, e.flags & FDF_V6, &sa, &n);
		(void)sys_connect(fd, &sa, e.flags & FDF_V6 ? sizeof(sa) : sizeof(struct sockaddr_in));
	}
	only_kernels(e, why);
}

int hand_back(int fd, enum reason why)
{
	struct ent e = fd_get(fd);

	if (!stack_have() || self.quiet || me.in_turn)
		return -EAGAIN;
	switch (e.kind) {
	case FD_TCP:
		return connection_back(e, why);
	case FD_LISTEN:
		listener_return(fd, e);
		return 0;
	case FD_UDP:
		datagrams_back(fd, e, why == REASON_BRIDGED ? REASON_PASSED : why);
		return 0;
	default:
		return -EBADF;
	}
}

int return_to_kernel(int fd, enum reason why)
{
	int err = hand_back(fd, why);
	struct ent e = fd_get(fd);

	if (!err && e.kind == FD_LISTEN)
		only_kernels(e, why);
	return err;
}

/* Nobody else has it: then who inherits it is who serves it. What stands for standard input or
 * output is meant for the new program even if others have it still. */
static bool is_meant(int fd, struct ent e)
{
	struct sk *sk = sk_peek(e.h);
	int flags = sys_fcntl(fd, F_GETFD, 0);

	if (!sk || flags < 0 || flags & FD_CLOEXEC)
		return false;
	return sk->procs == 1ull << self.x.proc || (fd <= 2 && e.kind == FD_TCP);
}

void hand_back_for_exec(void)
{
	uint32_t fd, n = self.tab ? min_u32(self.tab->n_used, N_FDS) : 0;

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);

		if (!ent_is_ours(e) || !is_meant((int)fd, e))
			continue;
		(void)!hand_back((int)fd, REASON_BRIDGED);
		listener_finish((int)fd);	/* nobody is left here who could accept */
	}
}

/* ---- and from it ------------------------------------------------------------------------------------------- */

static int int_of(int fd, int level, int name)
{
	socklen_t n = sizeof(int);
	int v = -1;

	return sys_getsockopt(fd, level, name, &v, &n) ? -1 : v;
}

void adopt(int fd, bool manager)
{
	int family = int_of(fd, SOL_SOCKET, SO_DOMAIN), backlog, r;
	struct ent e = { .kind = FD_PLAIN, .reason = REASON_INHERITED };
	struct tcp_info ti = { 0 };
	socklen_t n = sizeof(ti);

	if ((family != AF_INET && family != AF_INET6) || fd_get(fd).kind != FD_NONE ||
	    int_of(fd, SOL_SOCKET, SO_PROTOCOL) != IPPROTO_TCP || self.state == ST_LEFT || fd_table() < 0)
		return;
	r = sys_fcntl(fd, F_GETFL, 0);
	e.flags = (uint8_t)((family == AF_INET6 ? FDF_V6 : 0) | (r > 0 && r & O_NONBLOCK ? FDF_NONBLOCK : 0));
	(void)sys_getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n);
	if (int_of(fd, SOL_SOCKET, SO_ACCEPTCONN) != 1 || !(manager || e.flags & FDF_NONBLOCK)) {
		fd_put(fd, e);
		return;
	}
	/* Of a listener the kernel reports the backlog as the limit of its queue. */
	backlog = (int)min_u32(ti.tcpi_sacked, LISTEN_MAX);
	e.reason = REASON_UNDECIDED;
	e.flags |= FDF_BOUND | FDF_OPTS;
	fd_put(fd, e);
	(void)sk_listen(fd, backlog);
}
