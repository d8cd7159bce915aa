/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Getting a stack, joining it, leaving it.
 *
 * A process comes to a stack in one of four ways, all through exec_map(): it asks the agent
 * (exec_open), it was forked (mappings and descriptors are already there), it was exec'd by a
 * process that had one (descriptors named in abi/fdtab.h), or it is the stack's surrogate
 * (descriptors on its command line).
 */
#include "exec/exec.h"

#include <errno.h>
#include <fcntl.h>

#include "base/atomic.h"
#include "core/net/net.h"
#include "core/stack/stack.h"
#include "exec/ctl.h"
#include "exec/estate.h"
#include "exec/parts.h"
#include "host/sys.h"

#define JOIN_TIMEOUT_MS 500	/* fork() waits for it; the agent answers in microseconds */

/* ---- mapping ---------------------------------------------------------------------------------- */

static bool plumbing_is_sane(const struct plumbing *p)
{
	return p->seg_fd >= 0 && p->mirror_fd >= 0 && p->n_vis <= N_VIS && p->n_bells <= N_WAITERS &&
	       (!p->n_vis || (p->ring_slots >= 2 && p->ring_slots <= N_RING &&
			      !(p->ring_slots & (p->ring_slots - 1))));
}

int exec_map(struct exec *x, const struct plumbing *p, enum executor who)
{
	struct stack_map map;
	int err;

	if (!plumbing_is_sane(p))
		return -EPROTO;
	err = host_map_segment(p->seg_fd, true, &map);
	if (err)
		return err;
	err = host_map_mirror(p->mirror_fd, &map);
	if (!err && p->front_fd > 0)
		err = host_map_front(p->front_fd, true, p->stack_id, NULL, &map.front);
	for (uint32_t i = 0; !err && i < p->n_vis; i++) {
		map.vi[i].flags = p->vi_flags[i] | VIF_F_PRESENT;
		map.vi[i].ifindex = p->vi_ifindex[i];
		err = host_map_rings(p->xsk_fd[i], p->ring_slots, &map.vi[i]);
	}
	if (err) {
		host_unmap(&map, p->ring_slots);
		return err;
	}
	for (uint32_t i = 0; i < N_PAIRS; i++)
		map.ap[i].bell_fd = -1;
	map.n_vis = p->n_vis;
	map.strong = who == EXEC_SURROGATE;

	memset(x, 0, sizeof(*x));
	x->map = map;
	x->who = who;
	x->ctl_fd = p->ctl_fd;
	x->seg_fd = p->seg_fd;
	x->mirror_fd = p->mirror_fd;
	x->stack_id = p->stack_id;
	x->ring_slots = p->ring_slots;
	x->front_fd = p->front_fd;
	x->pipe_fd = x->fds.pipe = p->pipe_fd;
	x->dir_slot = p->front_fd > 0 ? p->dir_slot % N_DIR_STACKS : 0;
	x->fds.n_vis = p->n_vis;
	for (uint32_t i = 0; i < N_VIS; i++)
		x->fds.xsk[i] = i < p->n_vis ? p->xsk_fd[i] : -1;
	for (uint32_t i = 0; i < N_WAITERS; i++)
		x->fds.bell[i] = i < p->n_bells ? p->bell_fd[i] : -1;
	return 0;
}

void exec_describe(const struct exec *x, struct plumbing *ret)
{
	memset(ret, 0, sizeof(*ret));
	ret->seg_fd = x->seg_fd;
	ret->mirror_fd = x->mirror_fd;
	ret->ctl_fd = x->ctl_fd;
	ret->stack_id = x->stack_id;
	ret->ring_slots = x->ring_slots;
	ret->front_fd = x->front_fd;
	ret->pipe_fd = x->pipe_fd;
	ret->dir_slot = x->dir_slot;
	ret->n_vis = x->fds.n_vis;
	ret->n_bells = N_WAITERS;
	for (uint32_t i = 0; i < N_VIS; i++) {
		ret->xsk_fd[i] = x->fds.xsk[i];
		ret->vi_ifindex[i] = x->map.vi[i].ifindex;
		ret->vi_flags[i] = x->map.vi[i].flags;
	}
	memcpy(ret->bell_fd, x->fds.bell, sizeof(ret->bell_fd));
}

static void close_if(int fd)
{
	if (fd >= 0)
		(void)sys_close(fd);
}

/* Not every stack has these, and a zeroed description has none. */
static void close_aperture_fd(int fd)
{
	if (fd > 0)
		(void)sys_close(fd);
}

static void close_plumbing(const struct plumbing *p)
{
	close_if(p->seg_fd);
	close_if(p->mirror_fd);
	close_if(p->ctl_fd);
	close_aperture_fd(p->front_fd);
	close_aperture_fd(p->pipe_fd);
	for (uint32_t i = 0; i < p->n_vis; i++)
		close_if(p->xsk_fd[i]);
	for (uint32_t i = 0; i < p->n_bells; i++)
		close_if(p->bell_fd[i]);
}

void exec_close(struct exec *x)
{
	struct plumbing p;

	exec_describe(x, &p);
	pairs_close(x);
	host_unmap(&x->map, x->ring_slots);
	close_plumbing(&p);
	x->seg_fd = x->mirror_fd = x->ctl_fd = x->front_fd = x->pipe_fd = x->fds.pipe = -1;
	x->fds.n_vis = 0;
	memset(x->fds.xsk, -1, sizeof(x->fds.xsk));
	memset(x->fds.bell, -1, sizeof(x->fds.bell));
}

/* ---- asking for one --------------------------------------------------------------------------------- */

/* Best effort: a number below min_fd is inconvenient, not wrong. */
int exec_move_up(int fd, int min_fd)
{
	int up;

	if (fd < 0 || fd >= min_fd)
		return fd;
	up = sys_fcntl(fd, F_DUPFD_CLOEXEC, min_fd);
	if (up < 0)
		return fd;
	(void)sys_close(fd);
	return up;
}

static int plumbing_of_reply(const struct ctl_call *c, struct plumbing *p)
{
	const struct ctl_stack *s = &c->msg.u.stack;
	uint32_t at = 0;

	if (s->n_vis > N_VIS || c->n_fds != 4 + s->n_vis + N_WAITERS || s->dir_slot >= N_DIR_STACKS)
		return -EPROTO;
	p->stack_id = s->stack_id;
	p->ring_slots = s->ring_slots;
	p->n_vis = s->n_vis;
	p->n_bells = N_WAITERS;
	p->seg_fd = c->fds[at++];
	p->mirror_fd = c->fds[at++];
	p->front_fd = c->fds[at++];
	p->pipe_fd = c->fds[at++];
	p->dir_slot = s->dir_slot;
	for (uint32_t i = 0; i < s->n_vis; i++) {
		p->xsk_fd[i] = c->fds[at++];
		p->vi_ifindex[i] = s->vi_ifindex[i];
		p->vi_flags[i] = s->vi_flags[i];
	}
	for (uint32_t i = 0; i < N_WAITERS; i++)
		p->bell_fd[i] = c->fds[at++];
	return 0;
}

static void move_all_up(struct plumbing *p, int min_fd)
{
	p->seg_fd = exec_move_up(p->seg_fd, min_fd);
	p->mirror_fd = exec_move_up(p->mirror_fd, min_fd);
	p->ctl_fd = exec_move_up(p->ctl_fd, min_fd);
	p->front_fd = exec_move_up(p->front_fd, min_fd);
	p->pipe_fd = exec_move_up(p->pipe_fd, min_fd);
	for (uint32_t i = 0; i < p->n_vis; i++)
		p->xsk_fd[i] = exec_move_up(p->xsk_fd[i], min_fd);
	for (uint32_t i = 0; i < p->n_bells; i++)
		p->bell_fd[i] = exec_move_up(p->bell_fd[i], min_fd);
}

static int ask_for_stack(int ctl_fd, struct plumbing *p)
{
	struct ctl_call c;
	int err = ctl_hello(ctl_fd, 0);

	if (err)
		return err;
	ctl_prepare(&c, CTL_STACK_GET);
	err = ctl_call(ctl_fd, &c);
	if (!err)
		err = plumbing_of_reply(&c, p);
	if (err)
		for (uint32_t i = 0; i < c.n_fds; i++)
			(void)sys_close(c.fds[i]);
	return err;
}

int exec_open(struct exec *x, enum executor who, int min_fd)
{
	struct plumbing p = { .ctl_fd = -1 };
	int ctl_fd, err = ctl_connect(&ctl_fd);

	if (err)
		return err;
	err = ask_for_stack(ctl_fd, &p);
	if (err) {
		(void)sys_close(ctl_fd);
		return err;
	}
	p.ctl_fd = ctl_fd;
	move_all_up(&p, min_fd);
	err = exec_map(x, &p, who);
	if (err)
		close_plumbing(&p);
	return err;
}

/* ---- processes of a stack ------------------------------------------------------------------------------ */

int exec_join(struct exec *x, uint32_t pid, uint32_t *ret_proc)
{
	struct proc_slot *procs = x->map.seg->procs;
	struct turn t;
	int err = -EUSERS;

	exec_begin(x, &t);
	for (uint32_t i = 0; i < N_PROCS; i++) {
		/* acquire32(): pairs with rel in bury_processes(): the slot is clean */
		if (acquire32(&procs[i].state) != PROC_FREE)
			continue;
		poke32(&procs[i].pid, pid);
		/* release32(): pairs with acq in the surrogate's count_living() */
		release32(&procs[i].state, PROC_LIVE);
		*ret_proc = i;
		err = 0;
		break;
	}
	(void)exec_round(x, &t);	/* the first one stocks the fill rings */
	exec_end(x, &t, false);
	return err;
}

void exec_joined(struct exec *x, uint32_t proc)
{
	struct turn t;

	must(proc < N_PROCS);
	x->proc = proc;
	exec_begin(x, &t);
	/* The surrogate takes any non-zero value, whenever it sees it. */
	poke32(&x->map.seg->procs[proc].pid, (uint32_t)sys_getpid());
	exec_end(x, &t, false);
}

void exec_leave(struct exec *x, uint32_t proc)
{
	static struct estate estate;	/* a process leaves once; and some leave on small stacks */
	struct turn t;

	must(proc < N_PROCS);
	exec_begin(x, &t);
	estate.n = 0;
	estate_note(&estate, &t);
	net_proc_died(&t, proc);
	exec_end(x, &t, false);
	(void)!estate_settle(&estate, x);
}

static int rejoin(struct exec *x, int *ret_fd)
{
	struct ctl_call c;
	int fd, err = ctl_connect(&fd);

	if (err)
		return err;
	err = ctl_hello(fd, JOIN_TIMEOUT_MS);
	if (!err) {
		ctl_prepare(&c, CTL_STACK_JOIN);
		c.msg.u.index = x->stack_id;
		c.send_fd = x->seg_fd;
		c.timeout_ms = JOIN_TIMEOUT_MS;
		err = ctl_call(fd, &c);
		for (uint32_t i = 0; i < c.n_fds; i++)
			(void)sys_close(c.fds[i]);
	}
	if (err) {
		(void)sys_close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

int exec_after_fork_child(struct exec *x)
{
	int fd, err;

	host_after_fork();
	/* Whoever held these is a thread of the parent's. */
	x->ctl_lock = 0;
	x->pairs_lock = 0;
	x->unkicked = 0;
	if (x->ctl_fd < 0)
		return -ENOTCONN;
	err = rejoin(x, &fd);
	if (!err) {
		/* Under the old number: others have noted it as ours. */
		int same = sys_dup3(fd, x->ctl_fd, O_CLOEXEC);

		(void)sys_close(fd);
		if (same >= 0)
			return 0;
		err = same;
	}
	(void)sys_close(x->ctl_fd);
	x->ctl_fd = -1;
	return err;
}
