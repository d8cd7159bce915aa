/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Getting this process's stack: asked of the agent when the first socket could use one, not
 * before, so that a program without connections costs the agent nothing. Whatever keeps us
 * from having one is a reason, kept in the table's head for `onramp why`.
 *
 * An agent that is not there may come: an attempt is repeated, at most once a second.
 */
#include "sock/self.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>

struct self self = { .tab_fd = -1, .spin_score = SPIN_SCORE_ONE, .quiet_slot = -1, .templates = { -1, -1 },
		     .x = { .ctl_fd = -1, .seg_fd = -1, .mirror_fd = -1 } };

#define RETRY_NS NS_PER_S

static void set_reason(enum reason why)
{
	self.reason = (uint16_t)why;
	if (self.tab)
		self.tab->reason = (uint16_t)why;
}

static enum reason reason_of(int err)
{
	switch (err) {
	case -EPROTO:
		return REASON_ABI_MISMATCH;
	case -ECONNREFUSED:
	case -ENOENT:
	case -EPIPE:
		return REASON_NO_AGENT;
	default:
		return REASON_AGENT_REFUSED;
	}
}

#define AGENT_START_MS	1000	/* as tools/run.c says */
#define LOOK_NS		NS_PER_MS

/* `onramp run` has started an agent and not waited for it. */
static bool agent_is_coming(void)
{
	uint32_t left = self.agent_due_ms - (uint32_t)(host_now() / NS_PER_MS);

	return self.agent_due_ms && left <= AGENT_START_MS && left;
}

static enum reason get_stack(void)
{
	uint32_t i;
	int err;

	if (fd_table() < 0)
		return REASON_AGENT_REFUSED;
	for (;;) {
		err = exec_open(&self.x, EXEC_APP, fd_private_min());
		if (err != -ECONNREFUSED || !agent_is_coming())
			break;
		host_nap(LOOK_NS);
	}
	self.x.spin_ns = self.spin_ns;
	if (err)
		return reason_of(err);
	if (self.x.map.n_vis == 0 && !self.x.map.front) {
		exec_close(&self.x);
		return REASON_NO_ROUTE;
	}
	err = exec_join(&self.x, (uint32_t)sys_getpid(), &self.x.proc);
	if (err) {
		exec_close(&self.x);
		return REASON_AGENT_REFUSED;
	}
	for (i = 0; i < N_WAITERS; i++)
		self.slot_ep[i] = self.slot_nested[i] = -1;
	fd_plumbing(&self.x);
	return REASON_NONE;
}

enum reason stack_need(void)
{
	uint32_t state;
	enum reason why;

	if (unlikely(self.uring))
		return REASON_ASYNC_IO;
	if (unlikely(self.apart || me.borrowed))
		return REASON_CLONE;
	for (;;) {
		/* acq: pairs with rel below */
		state = __atomic_load_n(&self.state, __ATOMIC_ACQUIRE);
		if (likely(state == ST_READY))
			return peek32(&self.x.map.seg->condemned) ? REASON_CONDEMNED : REASON_NONE;
		if (state == ST_NEVER || state == ST_LEFT)
			return self.reason;
		if (state == ST_NONE && host_now() < self.retry_at)
			return self.reason;
		if (me.in_turn)
			return REASON_NO_AGENT;
		/* acq_rel: one thread asks; the others look again until it has published */
		if (state == ST_NONE &&
		    __atomic_compare_exchange_n(&self.state, &state, ST_GETTING, false,
						__ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
			break;
		SYS0(SYS_sched_yield);
	}
	agent_enter();
	why = get_stack();
	agent_leave();
	set_reason(why);
	self.retry_at = host_now() + RETRY_NS;
	/* rel: pairs with acq above and in stack_have() */
	__atomic_store_n(&self.state, why == REASON_NONE ? ST_READY : ST_NONE, __ATOMIC_RELEASE);
	return why;
}

int stack_template(bool v6)
{
	int *at = &self.templates[v6];
	int fd = __atomic_load_n(at, __ATOMIC_RELAXED);	/* relaxed: a number, valid or -1 */
	int none = -1;

	if (likely(fd >= 0))
		return fd;
	fd = sys_socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	fd = fd_make_private(fd);
	/* relaxed: the loser of a race closes its own. */
	if (!__atomic_compare_exchange_n(at, &none, fd, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
		fd_take(fd);
		sys_close(fd);
		fd = none;
	}
	return fd;
}

/* With --strict a fall-back that the user could have prevented is an error. */
bool strict_fails(enum reason why)
{
	return self.strict && why != REASON_POLICY && why != REASON_LOCAL && why != REASON_APERTURE &&
	       why != REASON_KERNEL_PEER &&
	       why != REASON_NOT_INET && why != REASON_UNDECIDED && why != REASON_NONE;
}

/* Base's must(): our own bug. The sentence is left where `onramp why` finds it. */
void onramp_panic(const char *file, int line, const char *what)
{
	size_t at = 0, n = sizeof(self.detail) - 1;
	const char *const parts[] = { file, ": ", what };
	size_t i, k;

	(void)line;
	for (i = 0; self.tab && i < n_elems(parts); i++)
		for (k = 0; parts[i][k] && at < n; k++)
			self.tab->detail[at++] = parts[i][k];
	SYS3(SYS_tgkill, sys_getpid(), sys_gettid(), SIGABRT);
	for (;;)
		SYS1(SYS_exit_group, 134);
}
