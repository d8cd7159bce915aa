// SPDX-License-Identifier: BSD-2-Clause
/*
 * Surrogates: one process per live stack, the program onramp-surrogate beside this one. It
 * gets its descriptors by number on its command line and nothing else, and takes its user's
 * identity itself, as its first act.
 *
 * Exit status 0 means that the stack is over. Anything else is a crash: it is replaced,
 * because the connections live in the segment, not in the process.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define FD_FIRST 3
#define FD_HIGH	 1000	/* descriptors are gathered here, then laid out from FD_FIRST */
#define N_FDS_MAX (5 + N_VIS + N_WAITERS)
#define N_ARGS 40
#define CHILD_FILES 1024

struct plan {
	int	 fds[N_FDS_MAX];
	uint32_t n_fds;
	char	 text[2048];
	size_t	 n_text;
	char	*argv[N_ARGS];
	uint32_t n_args;
};

static char *arg(struct plan *p, const char *s)
{
	size_t n = strlen(s) + 1;
	char *ret = p->text + p->n_text;

	if (p->n_text + n > sizeof(p->text) || p->n_args + 1 >= N_ARGS)
		return NULL;
	memcpy(ret, s, n);
	p->n_text += n;
	p->argv[p->n_args++] = ret;
	return ret;
}

static bool number(struct plan *p, const char *name, unsigned long v)
{
	char buf[24];

	(void)snprintf(buf, sizeof(buf), "%lu", v);
	return arg(p, name) && arg(p, buf);
}

/* Appends descriptors to the layout; writes their future numbers, comma-separated. */
static bool fd_list(struct plan *p, const char *name, const int *fds, uint32_t n)
{
	char buf[512];
	size_t at = 0;
	uint32_t i;

	buf[0] = 0;
	for (i = 0; i < n; i++) {
		if (p->n_fds >= N_FDS_MAX)
			return false;
		at += (size_t)snprintf(buf + at, sizeof(buf) - at, "%s%u", i ? "," : "",
				       FD_FIRST + p->n_fds);
		p->fds[p->n_fds++] = fds[i];
	}
	return arg(p, name) && arg(p, buf);
}

static bool vi_list(struct plan *p, struct agent *a, const struct stack *s, int *ret_xsk,
		    uint32_t *ret_n)
{
	char buf[256];
	size_t at = 0;
	uint32_t i, n = 0, flags;

	buf[0] = 0;
	for (i = 0; i < s->n_vis; i++) {
		flags = VIF_F_PRESENT | (s->vi[i].vf ? 0 : VIF_F_DIRECT);
		if (a->nics[s->vi[i].nic].mode == ATTACH_GENERIC)
			flags |= VIF_F_PARTIAL_CSUM;
		at += (size_t)snprintf(buf + at, sizeof(buf) - at, "%s%u:%u", n ? "," : "",
				       s->vi[i].ifindex, flags);
		ret_xsk[n++] = s->vi[i].xsk;
	}
	*ret_n = n;
	return arg(p, "--vi") && arg(p, buf);
}

static bool make_plan(struct agent *a, struct stack *s, int ctl, struct plan *p)
{
	int xsk[N_VIS];
	uint32_t n_xsk;

	return arg(p, a->surrogate) && number(p, "--uid", s->uid) && number(p, "--gid", s->gid) &&
	       fd_list(p, "--seg", &s->seg, 1) && fd_list(p, "--mirror", &a->mirror_fd, 1) &&
	       fd_list(p, "--front", &s->front, 1) && fd_list(p, "--pipe", &s->pipe, 1) &&
	       number(p, "--dir-slot", s->slot) && fd_list(p, "--ctl", &ctl, 1) && vi_list(p, a, s, xsk, &n_xsk) &&
	       fd_list(p, "--xsk", xsk, n_xsk) && fd_list(p, "--bells", s->bell, N_WAITERS) &&
	       number(p, "--ring", N_RING) && number(p, "--pid", (unsigned long)s->pid) &&
	       number(p, "--stack", s->id);
}

/* In the child: lays the descriptors out, forgets all else, becomes the surrogate. */
noreturn_fn static void become(const struct plan *p)
{
	struct rlimit files = { CHILD_FILES, CHILD_FILES };
	int high[N_FDS_MAX];
	sigset_t none;
	uint32_t i;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	for (i = 0; i < p->n_fds; i++) {
		high[i] = fcntl(p->fds[i], F_DUPFD, FD_HIGH);
		if (high[i] < 0)
			_exit(126);
	}
	for (i = 0; i < p->n_fds; i++)
		if (dup2(high[i], (int)(FD_FIRST + i)) < 0)
			_exit(126);
	(void)close_range(FD_FIRST + p->n_fds, ~0u, 0);
	(void)setrlimit(RLIMIT_NOFILE, &files);
	(void)execv(p->argv[0], p->argv);
	_exit(127);
}

/* Interfaces are numbered alike in all processes of a stack, and the rings of one that is
 * gone cannot be mapped any more: such a stack keeps the surrogate it has, if it has one. */
static bool is_whole(const struct stack *s)
{
	uint32_t i;

	for (i = 0; i < s->n_vis; i++)
		if (s->vi[i].xsk < 0)
			return false;
	return true;
}

int child_spawn(struct agent *a, struct stack *s)
{
	struct plan p = { .n_fds = 0 };
	int pair[2], err;
	pid_t pid;

	s->wants_child = false;
	if (!is_whole(s))
		return -ENODEV;
	if (access(a->surrogate, X_OK))
		return -errno;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return -errno;
	err = make_plan(a, s, pair[1], &p) ? ctl_adopt(a, pair[0], s) : -E2BIG;
	if (err) {
		(void)close(pair[0]);
		(void)close(pair[1]);
		return err;
	}
	pid = fork();
	if (!pid)
		become(&p);
	(void)close(pair[1]);	/* on failure the adopted end sees the hang-up and goes */
	if (pid < 0)
		return -EAGAIN;
	s->child = pid;
	return 0;
}

static void on_exit_of(struct agent *a, struct stack *s, int status)
{
	s->child = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		stack_end(a, s);
		return;
	}
	s->n_crashes++;
	agt_log("stack %u (%s): surrogate %s %d%s", s->id, s->comm,
		WIFSIGNALED(status) ? "killed by signal" : "exited with",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
		s->n_crashes <= N_RESPAWN && is_whole(s) ? ", starting another" : "");
	s->wants_child = s->n_crashes <= N_RESPAWN && is_whole(s);
	if (!s->wants_child && !s->n_clients)
		stack_end(a, s);
}

void child_reap(struct agent *a)
{
	uint32_t i;
	int status;

	for (i = 1; i <= N_SLOTS; i++) {
		struct stack *s = &a->stacks[i];

		if (s->state == STACK_LIVE && s->child &&
		    waitpid(s->child, &status, WNOHANG) == s->child)
			on_exit_of(a, s, status);
	}
}

/* Waits for it: killed, it is gone at once, and its descriptors must be before reuse. */
void child_kill(struct stack *s)
{
	if (!s->child)
		return;
	(void)kill(s->child, SIGKILL);
	while (waitpid(s->child, NULL, 0) < 0 && errno == EINTR)
		;
	s->child = 0;
}
