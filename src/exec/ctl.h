/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The client's side of abi/ctl.h: programs, surrogates and tools use it alike.
 *
 * Every call is one request and one reply, bounded by a timeout; none blocks longer. Replies
 * to a request that timed out are recognised by their cookie and thrown away, descriptors
 * closed. A control connection belongs to one process: after fork() the child opens its own
 * (exec_after_fork_child()), because two readers of one socket would steal replies.
 * errno is left alone; descriptors received are close-on-exec.
 */
#ifndef EXEC_CTL_H
#define EXEC_CTL_H

#include "abi/ctl.h"
#include "exec/exec.h"

#define CTL_TIMEOUT_MS	2000	/* the agent answers in microseconds; attaching a link takes longest */
#define CTL_MAX_FDS	(4 + N_VIS + N_WAITERS)	/* beside one reply */

/* Connects to this network namespace's agent, or if there is none to the user's own (agent/own.c):
 * non-blocking, close-on-exec. -ECONNREFUSED: there is neither; -EPERM: the listener is neither
 * root nor this process's own user. */
must_check int ctl_connect(int *ret_fd);
must_check int ctl_connect_system(int *ret_fd);
must_check int ctl_connect_own(int *ret_fd);
/* Whose agent a connection leads to: true, the user's own. */
bool ctl_is_own(int fd);
/* Where an own agent's socket may be: the i-th folder; -ENOENT past the last, -ENAMETOOLONG. And
 * its name there, which tells the network namespace. */
#define CTL_OWN_DIR_MAX	 80
#define CTL_OWN_NAME_MAX 28
must_check int ctl_own_dir(uint32_t i, char ret[CTL_OWN_DIR_MAX]);
must_check int ctl_own_name(char ret[CTL_OWN_NAME_MAX]);
/* Version and layout: -EPROTO if the agent is of another build. */
must_check int ctl_hello(int fd, uint32_t timeout_ms);

struct ctl_call {
	struct ctl_msg msg;	/* in: op and u; out: the reply */
	int	 send_fd;	/* goes with the request; -1: none. Stays the caller's */
	uint32_t timeout_ms;	/* 0: CTL_TIMEOUT_MS */
	uint32_t n_fds;		/* out: descriptors received */
	int	 fds[CTL_MAX_FDS];	/* out: the caller's to close */
};
/* Zeroes a call and sets its op. */
void ctl_prepare(struct ctl_call *c, enum ctl_op op);
/* 0 or the reply's error, then c->msg and c->fds are the reply's; on any other failure
 * (-ETIMEDOUT, -EPIPE: the agent is gone, -EPROTO) there are no descriptors. */
must_check int ctl_call(int fd, struct ctl_call *c);
/* Sends and expects no reply; never waits. -EAGAIN: the agent is behind. */
must_check int ctl_tell(int fd, struct ctl_msg *msg);

/* connect + hello + call + close, for tools: one question. */
must_check int ctl_once(struct ctl_call *c);

/* The same by way of a process's own stack: several threads may call; one at a time does.
 * -ENOTCONN: this process has no agent (any more). */
must_check int exec_call(struct exec *x, struct ctl_call *c);
must_check int exec_lease_add(struct exec *x, const struct ctl_lease *l, int bound_fd);
int exec_lease_del(struct exec *x, const struct ctl_lease *l);
must_check int exec_flow_add(struct exec *x, const struct ctl_flow *f);
int exec_flow_del(struct exec *x, const struct ctl_flow *f);
/* Gives back the exact entries of connections that are over (seg->n_flows_over). Takes a turn. */
void exec_flows_over(struct exec *x);

#endif
