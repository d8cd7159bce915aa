/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The process: it begins, forks, execs, confines itself, ends.
 *
 * fork	 The child is one more process of the same stack. Before it runs, the parent claims a
 *	 slot for it and references every socket in its name, so nothing that the parent closes
 *	 meanwhile is lost to the child. The child copies the table, takes a control connection
 *	 and kernel epolls of its own, and joins. Hooked through pthread_atfork(), which also
 *	 sees daemon() and forkpty(). vfork() is made a fork() in preload/.
 * exec	 If sockets of ours are open, plumbing is made inheritable and the table's descriptor is
 *	 named in ONRAMP_FDTAB. The constructor in the new image maps it all again; entries
 *	 whose descriptor the kernel closed (close-on-exec) are let go then. A new image that
 *	 is not preloaded keeps the references until it dies; the surrogate sees that.
 * exit	 Sockets are let go of in the destructor, so that a peer hears of it at once. Who dies
 *	 otherwise is found by the surrogate.
 */
#include "sock/handback.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/auxv.h>
#include <sys/mman.h>

#include "layout_hash.h"

#define SPIN_DEFAULT_US	50
#define ACTIVATED_MAX	64	/* sockets of a service manager that are looked at */
#define LONG_SPIN_US	500	/* from here on the profile means: spin always */

/* ---- numbers and strings, without stdio -------------------------------------------------------- */

static uint32_t parse_u32(const char *s, uint32_t otherwise)
{
	uint64_t v = 0;
	const char *p = s;

	for (; p && *p >= '0' && *p <= '9' && v < UINT32_MAX; p++)
		v = v * 10 + (uint64_t)(*p - '0');
	return p && p != s && !*p && v <= UINT32_MAX ? (uint32_t)v : otherwise;
}

static void put_text(char *to, size_t bytes, const char *from)
{
	size_t n = from ? strlen(from) : 0;

	if (n >= bytes)
		n = bytes - 1;
	if (n)
		memcpy(to, from, n);
	to[n] = 0;
}

char *proc_number(char buf[PROC_NUMBER], uint32_t v)
{
	size_t n = PROC_NUMBER - 1;

	buf[n] = 0;
	do {
		buf[--n] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return buf + n;
}

static void put_var(char *to, size_t bytes, const char *name, uint32_t v)
{
	char digits[PROC_NUMBER];
	size_t at = strlen(name);

	put_text(to, bytes, name);
	put_text(to + at, bytes - at, proc_number(digits, v));
}

/* ---- begin ---------------------------------------------------------------------------------------- */

static void never_have(enum reason why, const char *detail)
{
	self.state = ST_NEVER;
	self.reason = (uint16_t)why;
	put_text(self.detail, sizeof(self.detail), detail);
}

/* How many threads may spin at once: one core is left to whom they wait for. */
static uint32_t spare_cores(void)
{
	uint64_t mask[16] = { 0 };
	uint32_t n = 0, i;

	if (SYS3(SYS_sched_getaffinity, 0, sizeof(mask), mask) < 0)
		return 1;
	for (i = 0; i < n_elems(mask); i++)
		n += (uint32_t)__builtin_popcountll(mask[i]);
	return n > 2 ? n - 1 : 1;
}

/* What TCP is to do where the program does not say. */
static void read_congestion(void)
{
	const char *cc = secure_getenv("ONRAMP_CONGESTION");
	uint32_t ecn = parse_u32(secure_getenv("ONRAMP_ECN"), TCP_ECN_ANSWER);
	int algo = cc ? tcp_cc_by_name(cc) : -1;

	self.cc_chosen = algo >= 0;
	self.cc = algo >= 0 ? (uint8_t)algo : TCP_CC_CUBIC;
	self.ecn = ecn <= TCP_ECN_ANSWER ? (uint8_t)ecn : TCP_ECN_ANSWER;
}

static void read_environment(void)
{
	const char *off = secure_getenv("ONRAMP_OFF");
	const char *strict = secure_getenv("ONRAMP_STRICT");
	uint32_t us = parse_u32(secure_getenv("ONRAMP_SPIN_US"), SPIN_DEFAULT_US);

	read_congestion();
	policy_read();
	self.max_spinning = spare_cores();
	self.agent_due_ms = parse_u32(secure_getenv("ONRAMP_AGENT_DUE"), 0);
	self.spins = us >= LONG_SPIN_US;
	self.x.spin_ns = self.spin_ns = (uint32_t)min_u64((uint64_t)us * NS_PER_US, UINT32_MAX);
	self.strict = strict && strict[0] == '1';
	put_text(self.profile, sizeof(self.profile), secure_getenv("ONRAMP_PROFILE"));
	put_text(self.preload, sizeof(self.preload), secure_getenv("LD_PRELOAD"));
	if (getauxval(AT_SECURE))
		never_have(REASON_SECURE_EXEC, "");
	else if (off && off[0])
		never_have(strstr(off, "profile") ? REASON_BAD_PROFILE : REASON_OFF, off);
}

/* ---- taking over after exec ---------------------------------------------------------------------- */

static void set_cloexec(int fd, bool on)
{
	if (fd >= 0)
		(void)sys_fcntl(fd, F_SETFD, on ? FD_CLOEXEC : 0);
}

static void plumbing_cloexec(bool on)
{
	uint32_t i;

	set_cloexec(self.tab_fd, on);
	set_cloexec(self.x.seg_fd, on);
	set_cloexec(self.x.mirror_fd, on);
	set_cloexec(self.x.ctl_fd, on);
	if (self.x.map.front) {
		set_cloexec(self.x.front_fd, on);
		set_cloexec(self.x.fds.pipe, on);
	}
	for (i = 0; i < N_VIS; i++)
		set_cloexec(i < self.x.fds.n_vis ? self.x.fds.xsk[i] : -1, on);
	for (i = 0; i < N_WAITERS; i++)
		set_cloexec(self.x.fds.bell[i], on);
}

/* The table that an exec left us: mapped and believed, or NULL. */
static struct fdtab *inherited_table(int fd)
{
	struct stat st;
	struct fdtab *tab;

	if (fd < 0 || sys_fstat(fd, &st) < 0 || (size_t)st.st_size != sizeof(*tab))
		return NULL;
	tab = sys_mmap(NULL, sizeof(*tab), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (SYS_MAP_FAILED(tab))
		return NULL;
	if (tab->magic == FDTAB_MAGIC && tab->layout_hash == ONRAMP_LAYOUT_HASH &&
	    tab->pid == (uint32_t)sys_getpid())
		return tab;
	sys_munmap(tab, sizeof(*tab));
	return NULL;
}

static int map_inherited(const struct fdtab *tab)
{
	struct plumbing p = { .seg_fd = tab->seg_fd, .mirror_fd = tab->mirror_fd,
			      .ctl_fd = tab->ctl_fd, .n_vis = tab->n_vis, .n_bells = N_WAITERS,
			      .ring_slots = N_RING, .stack_id = tab->stack_id,
			      .front_fd = tab->front_fd, .pipe_fd = tab->pipe_fd,
			      .dir_slot = tab->dir_slot };

	memcpy(p.xsk_fd, tab->xsk_fd, sizeof(p.xsk_fd));
	memcpy(p.bell_fd, tab->bell_fd, sizeof(p.bell_fd));
	memcpy(p.vi_ifindex, tab->vi_ifindex, sizeof(p.vi_ifindex));
	memcpy(p.vi_flags, tab->vi_flags, sizeof(p.vi_flags));
	return exec_map(&self.x, &p, EXEC_APP);
}

/* What close-on-exec took, and private descriptors that did not come along. */
static void drop_closed(void)
{
	uint32_t fd, n = min_u32(self.tab->n_used, N_FDS);

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);

		if (e.kind == FD_NONE || sys_fcntl((int)fd, F_GETFD, 0) >= 0)
			continue;
		fd_take((int)fd);
		if (ent_is_ours(e))
			conn_close((int)fd, e);
		else if (e.kind == FD_EPOLL)
			epoll_close((int)fd, e);
	}
}

static void lose_inherited(void)
{
	uint32_t fd, n = min_u32(self.tab->n_used, N_FDS);

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);

		if (ent_is_ours(e))
			fd_kernel((int)fd, e, REASON_EXEC_LOST);
		else if (e.kind == FD_EPOLL || e.kind == FD_PRIVATE)
			fd_take((int)fd);
	}
}

static void take_over_after_exec(int fd)
{
	struct fdtab *tab = inherited_table(fd);
	uint32_t i;

	if (!tab)
		return;
	self.tab = tab;
	self.tab_fd = fd;
	sk_fds = (struct fd_view){ tab->ents, N_FDS };
	fd_mark_private(fd);
	for (i = 0; i < N_WAITERS; i++)
		self.slot_ep[i] = self.slot_nested[i] = -1;
	if (tab->seg_fd < 0 || map_inherited(tab) < 0) {
		self.x = (struct exec){ .ctl_fd = -1, .seg_fd = -1, .mirror_fd = -1 };
		lose_inherited();
		return;
	}
	self.x.proc = tab->proc % N_PROCS;
	self.x.spin_ns = self.spin_ns;
	self.strict = (uint8_t)tab->strict;
	memcpy(self.profile, tab->profile, sizeof(self.profile));
	fd_plumbing(&self.x);
	plumbing_cloexec(true);
	self.state = ST_READY;
	if (exec_pairs_changed(&self.x))
		sk_pairs();
	drop_closed();
}

/* Sockets of a service manager (sd_listen_fds(3)): descriptors from 3 on, if they are meant for us. */
static void adopt_activated(void)
{
	uint32_t n = parse_u32(secure_getenv("LISTEN_FDS"), 0), i;

	if (!n || parse_u32(secure_getenv("LISTEN_PID"), 0) != (uint32_t)sys_getpid())
		return;
	for (i = 0; i < min_u32(n, ACTIVATED_MAX); i++)
		adopt((int)(3 + i), true);
}

void sk_init(void)
{
	uint32_t fd = parse_u32(secure_getenv("ONRAMP_FDTAB"), UINT32_MAX);

	read_environment();
	if (fd != UINT32_MAX)
		unsetenv("ONRAMP_FDTAB");
	if (self.state == ST_NEVER)
		return;
	if (fd != UINT32_MAX)
		take_over_after_exec((int)fd);
	adopt_activated();
}

void sk_provided(const char *text, bool onramp)
{
	put_text(self.chain, sizeof(self.chain), text);
	if (self.tab)
		memcpy(self.tab->chain, self.chain, sizeof(self.chain));
	if (!onramp && self.state == ST_NONE)
		never_have(REASON_OFF, "no line of providers.conf names onramp");
}

void sk_fini(void)
{
	if (!stack_have() || me.in_turn || me.borrowed || self.apart)
		return;
	exec_flush(&self.x);
	if (peek32(&self.x.map.seg->condemned))
		return;
	conn_close_leased();
	/* From here on our sockets are closed to whoever still runs (other destructors). */
	self.state = ST_LEFT;
	exec_leave(&self.x, self.x.proc);
}

/* ---- fork ---------------------------------------------------------------------------------------------- */

static uint32_t child_proc = UINT32_MAX;
static uint32_t fork_lock;

/* All that is open is the child's, too. */
static void ref_all(uint32_t proc)
{
	uint32_t fd = 0, n = min_u32(self.tab->n_used, N_FDS);
	struct turn t;

	if (!sk_enter(&t))
		return;
	for (; fd < n; fd++) {
		struct ent e = fd_get((int)fd);
		struct sk *sk;

		if (ent_is_ours(e)) {
			sk = sk_find(&t, (sk_h){ e.h });
			if (sk)
				sk_ref(&t, sk, proc);
		} else if (e.kind == FD_EPOLL && e.h) {
			ep_at(&t, (ep_h){ e.h })->procs |= 1ull << proc;
		}
	}
	sk_leave(&t, false);
}

bool sk_is_forking(void) { return me.forking != 0; }

void sk_fork_prepare(void)
{
	/* A handler that forks in the middle of this: its child goes without. */
	if (me.forking++ || !self.tab || me.in_turn || me.borrowed || self.apart)
		return;
	/* acq: pairs with rel in sk_fork_parent(); one fork at a time has child_proc */
	while (__atomic_exchange_n(&fork_lock, 1, __ATOMIC_ACQUIRE))
		SYS0(SYS_sched_yield);
	me.fork_locked = 1;
	if (stack_have())
		epoll_before_fork();
	if (fd_table_prepare() < 0 || !stack_have())
		return;
	if (exec_join(&self.x, 0, &child_proc))
		child_proc = UINT32_MAX;
	else
		ref_all(child_proc);
}

void sk_fork_parent(void)
{
	if (--me.forking || !me.fork_locked)
		return;
	me.fork_locked = 0;
	fd_table_parent();
	child_proc = UINT32_MAX;
	/* rel: pairs with acq in sk_fork_prepare() */
	__atomic_store_n(&fork_lock, 0, __ATOMIC_RELEASE);
}

/* The child's sockets are not its own: no slot was free, or no copy of the table, and then
 * the one it sees is its parent's. It goes on in the kernel. */
static void go_without(bool own_table)
{
	self.state = ST_NEVER;
	self.reason = REASON_AGENT_REFUSED;
	if (own_table) {
		lose_inherited();
		return;
	}
	sk_fds = (struct fd_view){ 0 };
	self.tab = NULL;
	self.tab_fd = -1;
}

void sk_fork_child(void)
{
	uint32_t proc = child_proc;
	bool had = self.state == ST_READY, own, borrowed = me.borrowed != 0;

	me = (struct thread){ 0 };
	if (self.apart)
		return;
	self.n_spinning = 0;
	fork_lock = 0;
	child_proc = UINT32_MAX;
	host_after_fork();
	if (!self.tab)
		return;
	if (borrowed) {		/* a child of a child of clone() */
		go_without(false);
		return;
	}
	own = fd_table_child() == 0;
	if (!own || (had && proc == UINT32_MAX)) {
		go_without(own);
		return;
	}
	twins_after_fork((uint32_t)SYS0(SYS_getppid));
	if (!had) {
		if (self.state == ST_GETTING)	/* by a thread that is not here any more */
			self.state = ST_NONE;
		return;
	}
	wait_after_fork();
	epoll_after_fork();
	handback_after_fork();
	self.x.ctl_lock = 0;
	(void)exec_after_fork_child(&self.x);
	exec_joined(&self.x, proc);
	fd_plumbing(&self.x);
}

/* ---- exec ----------------------------------------------------------------------------------------------- */

static bool any_socket(void)
{
	uint32_t fd, n = self.tab ? min_u32(self.tab->n_used, N_FDS) : 0;

	for (fd = 0; fd < n; fd++)
		if (ent_is_ours(fd_get((int)fd)) || (fd_get((int)fd).kind == FD_EPOLL && fd_get((int)fd).h))
			return true;
	return false;
}

bool sk_inheritable(void)
{
	uint32_t fd, n = stack_have() && !me.borrowed ? min_u32(self.tab->n_used, N_FDS) : 0;

	for (fd = 0; fd < n; fd++) {
		struct ent e = fd_get((int)fd);
		int flags = ent_is_ours(e) || (e.kind == FD_EPOLL && e.h) ? sys_fcntl((int)fd, F_GETFD, 0) : -1;

		if (flags >= 0 && !(flags & FD_CLOEXEC))
			return true;
	}
	return false;
}

int sk_plumbing(int fd) { return fd_make_private(fd); }

void sk_plumbing_done(int fd)
{
	fd_take(fd);
	sys_close(fd);
}

static bool env_has(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0)
			return true;
	return false;
}

void proc_inherit(struct sk_exec *e)
{
	self.tab->proc = self.x.proc;
	plumbing_cloexec(false);
	put_var(e->fdtab, sizeof(e->fdtab), "ONRAMP_FDTAB=", (uint32_t)self.tab_fd);
	put_text(e->spin, sizeof(e->spin), "ONRAMP_SPIN_US=0");
	e->vars[0] = e->fdtab;
	e->vars[1] = e->spin;
	e->vars[2] = NULL;
	e->n = 2;
}

void sk_exec_prepare(struct sk_exec *e, const struct sk_program *p, char *const *env)
{
	static const char preload[] = "LD_PRELOAD=";

	e->n = 0;
	if (!stack_have() || me.borrowed || !any_socket())
		return;
	exec_flush(&self.x);
	if (!program_takes_library(p, env)) {
		hand_back_for_exec();
		return;
	}
	proc_inherit(e);
	e->n = 1;
	if (self.preload[0] && !env_has(env, preload)) {
		memcpy(e->preload, preload, sizeof(preload));
		put_text(e->preload + sizeof(preload) - 1, sizeof(e->preload) - sizeof(preload) + 1,
			 self.preload);
		e->vars[e->n++] = e->preload;
	}
	if (!env_has(env, "ONRAMP_SPIN_US=")) {
		put_var(e->spin, sizeof(e->spin), "ONRAMP_SPIN_US=", self.spin_ns / 1000);
		e->vars[e->n++] = e->spin;
	}
}

void sk_exec_failed(const struct sk_exec *e)
{
	if (e->n)
		plumbing_cloexec(true);
}

/* ---- seccomp ---------------------------------------------------------------------------------------------- */

/* A sandbox lowers RLIMIT_NOFILE and then forbids making descriptors: what sleeping needs
 * is made before. */
void sk_before_seccomp(void)
{
	wait_prepare_quiet();
}

void sk_seccomp(void)
{
	if (!stack_have() || me.borrowed)
		return;
	wait_prepare_quiet();
	self.quiet = 1;
	if (self.x.ctl_fd >= 0) {
		fd_take(self.x.ctl_fd);
		sys_close(self.x.ctl_fd);
		self.x.ctl_fd = self.tab->ctl_fd = -1;
	}
}
