/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The descriptor table of this process: a memfd (abi/fdtab.h), so that tools can read it and
 * exec can inherit it. Made at the first socket; a program without sockets has none.
 *
 * Our own plumbing (segment, devices, bells, ...) are descriptors of the process, too, and
 * programs that close "everything above 2" must not hit them. They live at high numbers, are
 * marked FD_PRIVATE, answer close() with EBADF, and step aside when dup2() wants their number.
 */
#include "sock/self.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "layout_hash.h"

struct fd_view sk_fds;

#define PRIVATE_N	192	/* plumbing of one stack: 38 + N_VIS + templates + epolls + N_PAIRS, rounded up */
#define PRIVATE_TOP	4096	/* higher numbers would make every fork() copy a longer table */

int fd_private_min(void)
{
	struct rlimit lim;
	rlim_t top = PRIVATE_TOP;

	if (SYS4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &lim) == 0 && lim.rlim_cur < top)
		top = lim.rlim_cur;
	return (int)(top > 2 * PRIVATE_N ? top - PRIVATE_N : top / 2);
}

static struct fdtab *map_table(int fd)
{
	void *p = sys_mmap(NULL, sizeof(struct fdtab), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	return SYS_MAP_FAILED(p) ? NULL : p;
}

static int new_table(struct fdtab **ret)
{
	int fd = sys_memfd_create(FDTAB_NAME, MFD_CLOEXEC), high;

	if (fd < 0)
		return fd;
	high = sys_fcntl(fd, F_DUPFD_CLOEXEC, fd_private_min());
	if (high >= 0) {
		sys_close(fd);
		fd = high;
	}
	if (sys_ftruncate(fd, sizeof(struct fdtab)) < 0 || !(*ret = map_table(fd))) {
		sys_close(fd);
		return -ENOMEM;
	}
	return fd;
}

static void no_plumbing(struct fdtab *tab)
{
	uint32_t i;

	tab->seg_fd = tab->mirror_fd = tab->ctl_fd = tab->front_fd = tab->pipe_fd = -1;
	for (i = 0; i < N_VIS; i++)
		tab->xsk_fd[i] = -1;
	for (i = 0; i < N_WAITERS; i++)
		tab->bell_fd[i] = -1;
}

static void describe_self(struct fdtab *tab)
{
	tab->pid = (uint32_t)sys_getpid();
	tab->reason = self.reason;
	tab->strict = self.strict;
	memcpy(tab->profile, self.profile, sizeof(tab->profile));
	memcpy(tab->detail, self.detail, sizeof(tab->detail));
	memcpy(tab->chain, self.chain, sizeof(tab->chain));
}

/* Adopts a table, ours from now on. */
static void use_table(struct fdtab *tab, int fd)
{
	self.tab = tab;
	self.tab_fd = fd;
	sk_fds.ents = tab->ents;
	/* rel: the wrappers see either no table or one with its entries in place. */
	__atomic_store_n(&sk_fds.n, N_FDS, __ATOMIC_RELEASE);
	fd_mark_private(fd);
}

int fd_table(void)
{
	static uint32_t making;
	struct fdtab *tab;
	int fd;

	if (likely(sk_fds.n))
		return 0;
	if (me.in_turn)
		return -EAGAIN;		/* a handler inside this very function */
	agent_enter();
	/* acq_rel: pairs with itself in the other thread that opens its first socket */
	while (__atomic_exchange_n(&making, 1, __ATOMIC_ACQ_REL))
		SYS0(SYS_sched_yield);
	fd = sk_fds.n ? 0 : new_table(&tab);
	if (fd > 0) {
		tab->magic = FDTAB_MAGIC;
		tab->layout_hash = ONRAMP_LAYOUT_HASH;
		no_plumbing(tab);
		describe_self(tab);
		use_table(tab, fd);
	}
	/* rel: pairs with acq above, in the thread that waits */
	__atomic_store_n(&making, 0, __ATOMIC_RELEASE);
	agent_leave();
	return fd < 0 ? fd : 0;
}

/* The copy is made before the fork: afterwards parent and child change the old one at once. */
static struct fdtab *child_tab;
static int child_tab_fd = -1;

int fd_table_prepare(void)
{
	struct fdtab *tab, *old = self.tab;
	int fd;

	if (!old)
		return 0;
	fd = new_table(&tab);
	if (fd < 0)
		return fd;
	memcpy(tab, old, offsetof(struct fdtab, ents));
	memcpy(tab->ents, old->ents, min_u32(old->n_used, N_FDS) * sizeof(tab->ents[0]));
	child_tab = tab;
	child_tab_fd = fd;
	return 0;
}

void fd_table_parent(void)
{
	if (!child_tab)
		return;
	sys_munmap(child_tab, sizeof(*child_tab));
	sys_close(child_tab_fd);
	child_tab = NULL;
}

int fd_table_child(void)
{
	struct fdtab *old = self.tab;
	int old_fd = self.tab_fd;

	if (!old)
		return 0;
	if (!child_tab)
		return -ENOMEM;
	child_tab->pid = (uint32_t)sys_getpid();
	use_table(child_tab, child_tab_fd);
	child_tab = NULL;
	fd_take(old_fd);
	sys_munmap(old, sizeof(*old));
	sys_close(old_fd);
	return 0;
}

/* ---- entries --------------------------------------------------------------------------------- */

static void note_used(uint32_t fd)
{
	uint32_t n = peek32(&self.tab->n_used);

	/* relaxed: a high-water mark; only tools and copies read it. */
	while (n <= fd && !__atomic_compare_exchange_n(&self.tab->n_used, &n, fd + 1, true,
						       __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

void fd_put(int fd, struct ent e)
{
	union { struct ent e; uint64_t w; } u = { .e = e };
	struct fd_ent *at;

	if (!self.tab || me.borrowed)
		return;
	if (e.kind >= FD_PLAIN && e.kind <= FD_UDP && e.reason != REASON_UNDECIDED)
		/* relaxed: a counter for people. */
		__atomic_fetch_add(&self.tab->counts[(uint32_t)fd < N_FDS ? e.reason :
						     REASON_FD_TOO_HIGH], 1, __ATOMIC_RELAXED);
	if ((uint32_t)fd >= N_FDS)
		return;
	at = &self.tab->ents[fd];
	at->gen++;
	at->born_ms = (uint32_t)(host_now() / NS_PER_MS);
	note_used((uint32_t)fd);
	/* rel: pairs with acq in fd_get() */
	__atomic_store_n((uint64_t *)(void *)at, u.w, __ATOMIC_RELEASE);
}

struct ent fd_take(int fd)
{
	union { uint64_t w; struct ent e; } u = { 0 };

	if ((uint32_t)fd < sk_fds.n && !me.borrowed)
		/* acq_rel: of two racing close() calls one gets the entry, with all its words */
		u.w = __atomic_exchange_n((uint64_t *)(void *)&sk_fds.ents[fd], 0, __ATOMIC_ACQ_REL);
	return u.e;
}

void fd_flags(int fd, uint8_t set, uint8_t clear)
{
	uint8_t *at;

	if ((uint32_t)fd >= sk_fds.n)
		return;
	at = &sk_fds.ents[fd].flags;
	/* relaxed: flags stand alone; the kind beside them is not touched. */
	if (set)
		__atomic_fetch_or(at, set, __ATOMIC_RELAXED);
	if (clear)
		__atomic_fetch_and(at, (uint8_t)~clear, __ATOMIC_RELAXED);
}

bool fd_has_twin(int fd, uint32_t h, uint8_t kind)
{
	uint32_t i, n = self.tab ? self.tab->n_used : 0;

	for (i = 0; i < n && i < N_FDS; i++) {
		struct ent e = fd_get((int)i);

		if ((int)i != fd && e.h == h && e.kind == kind)
			return true;
	}
	return false;
}

void fd_kernel(int fd, struct ent e, enum reason why)
{
	e.kind = FD_PLAIN;
	e.reason = (uint16_t)why;
	e.h = 0;
	twins_put(fd, e);
}

/* ---- plumbing ---------------------------------------------------------------------------------- */

void fd_mark_private(int fd)
{
	fd_put(fd, (struct ent){ .kind = FD_PRIVATE });
}

int fd_make_private(int fd)
{
	int high = sys_fcntl(fd, F_DUPFD_CLOEXEC, fd_private_min());

	if (high >= 0)
		sys_close(fd);
	else
		high = fd;
	fd_mark_private(high);
	return high;
}

/* The variable that holds this plumbing descriptor, wherever it is kept. */
static void rename_plumbing(int from, int to)
{
	int32_t *const tab[] = { &self.tab->seg_fd, &self.tab->mirror_fd, &self.tab->ctl_fd,
				 &self.tab->front_fd, &self.tab->pipe_fd };
	int *const own[] = { &self.tab_fd, &self.x.seg_fd, &self.x.mirror_fd, &self.x.ctl_fd,
			     &self.x.front_fd, &self.x.pipe_fd, &self.x.fds.pipe,
			     &self.templates[0], &self.templates[1], &self.nudge_fd };
	size_t i;

	for (i = 0; i < n_elems(tab); i++)
		*tab[i] = *tab[i] == from ? to : *tab[i];
	for (i = 0; i < n_elems(own); i++)
		*own[i] = *own[i] == from ? to : *own[i];
	for (i = 0; i < N_VIS; i++) {
		self.tab->xsk_fd[i] = self.tab->xsk_fd[i] == from ? to : self.tab->xsk_fd[i];
		self.x.fds.xsk[i] = self.x.fds.xsk[i] == from ? to : self.x.fds.xsk[i];
	}
	for (i = 0; i < N_WAITERS; i++) {
		self.tab->bell_fd[i] = self.tab->bell_fd[i] == from ? to : self.tab->bell_fd[i];
		self.x.fds.bell[i] = self.x.fds.bell[i] == from ? to : self.x.fds.bell[i];
		self.slot_ep[i] = self.slot_ep[i] == from ? to : self.slot_ep[i];
	}
	for (i = 0; i < N_PAIRS; i++)
		if (self.x.map.ap[i].bell_fd == from)	/* kept by slots without a pair, too */
			self.x.map.ap[i].bell_fd = to;
}

int fd_move_private(int fd)
{
	int to;

	if (me.borrowed)	/* its own copy, which it needs no more */
		return 0;
	to = sys_fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
	if (to < 0)
		to = sys_fcntl(fd, F_DUPFD_CLOEXEC, fd_private_min());
	if (to < 0)
		return to;
	fd_mark_private(to);
	rename_plumbing(fd, to);
	fd_take(fd);
	return 0;
}

static void mark_if(int fd)
{
	if (fd >= 0)
		fd_mark_private(fd);
}

void fd_plumbing(const struct exec *x)
{
	struct fdtab *tab = self.tab;
	struct plumbing p;
	uint32_t i;

	exec_describe(x, &p);
	tab->seg_fd = p.seg_fd;
	tab->mirror_fd = p.mirror_fd;
	tab->ctl_fd = p.ctl_fd;
	tab->front_fd = p.front_fd;
	tab->pipe_fd = p.pipe_fd;
	tab->dir_slot = p.dir_slot;
	tab->n_vis = p.n_vis;
	tab->stack_id = p.stack_id;
	tab->proc = x->proc;
	mark_if(p.seg_fd);
	mark_if(p.mirror_fd);
	mark_if(p.ctl_fd);
	mark_if(p.front_fd > 0 ? p.front_fd : -1);
	mark_if(p.pipe_fd > 0 ? p.pipe_fd : -1);
	for (i = 0; i < N_VIS; i++) {
		tab->xsk_fd[i] = i < p.n_vis ? p.xsk_fd[i] : -1;
		tab->vi_ifindex[i] = i < p.n_vis ? p.vi_ifindex[i] : 0;
		tab->vi_flags[i] = i < p.n_vis ? p.vi_flags[i] : 0;
		mark_if(tab->xsk_fd[i]);
	}
	for (i = 0; i < N_WAITERS; i++) {
		tab->bell_fd[i] = i < p.n_bells ? p.bell_fd[i] : -1;
		mark_if(tab->bell_fd[i]);
	}
}
