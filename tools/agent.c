/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent as seen by the command: finding it, starting it, stopping it.
 *
 * It is started detached: a session of its own, no terminal, the root folder, and no
 * descriptor of ours but the one on which it says that it is ready. Its stderr until then is
 * a memfd, read back if it fails; afterwards it has nothing to say there.
 *
 * One's own agent is started by `onramp run`, which is about to become a program: so it must not
 * be its child, which the program would wait for, and it takes nothing over that the user meant for
 * the program (core, priority, what is preloaded).
 */
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exec/ctl.h"

#define READY_TIMEOUT_MS 20000
#define OWN_TIMEOUT_MS	 2000	/* a program is not kept waiting longer for its being faster */
#define EXIT_TIMEOUT_MS	 20000
#define PASSED_FD	 3

static int greet(int rc, int fd)
{
	if (rc)
		return rc;
	rc = ctl_hello(fd, CTL_TIMEOUT_MS);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int agent_connect(void)
{
	int fd = -1, rc = ctl_connect(&fd);

	return greet(rc, fd);
}

int agent_connect_system(void)
{
	int fd = -1, rc = ctl_connect_system(&fd);

	return greet(rc, fd);
}

int agent_connect_own(void)
{
	int fd = -1, rc = ctl_connect_own(&fd);

	return greet(rc, fd);
}

int agent_absent(const struct cmd *c, int err)
{
	switch (err) {
	case -ECONNREFUSED:
		return fail(c, reason_remedy(REASON_NO_AGENT), "%s", reason_sentence(REASON_NO_AGENT));
	case -EPROTO:
		return fail(c, "sudo onramp detach --all, then attach with this build",
			    "the agent here is of another build");
	case -EPERM:
		return fail(c, "find out who listens on @" CTL_NAME ": ss -xlp",
			    "what answers as the agent is neither root nor you");
	case -ETIMEDOUT:
		return fail(c, "sudo kill the onrampd that `ss -xlp` shows, then attach again",
			    "the agent does not answer");
	default:
		return fail(c, "", "the agent cannot be reached: %s", strerror(-err));
	}
}

/* What the user chose for the program is not for the agent, which other programs will use, too. */
static void shed_wishes(void)
{
	static const struct sched_param normal;
	cpu_set_t all;

	memset(&all, 0xff, sizeof(all));
	(void)sched_setaffinity(0, sizeof(all), &all);
	(void)sched_setscheduler(0, SCHED_OTHER, &normal);
	unsetenv("LD_PRELOAD");
	unsetenv("ONRAMP_FDTAB");
}

/* In the child: becomes the agent, or exits. `log` -1: nowhere. `what` says what `fd` is: the pipe on
 * which it says that it is ready, or the program that it is started for. */
noreturn_fn static void become_agent(const char *path, const char *option, const char *what, int fd, int log)
{
	char number[16];
	sigset_t none;
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	setsid();
	umask(022);
	signal(SIGPIPE, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	/* Out of the way of 0 to PASSED_FD first: any of the three may be down there. */
	fd = fcntl(fd, F_DUPFD_CLOEXEC, PASSED_FD + 1);
	log = fcntl(log >= 0 ? log : null, F_DUPFD_CLOEXEC, PASSED_FD + 1);
	null = fcntl(null, F_DUPFD_CLOEXEC, PASSED_FD + 1);
	if (chdir("/") || fd < 0 || log < 0 || null < 0 || dup2(null, 0) < 0 ||
	    dup2(null, 1) < 0 || dup2(log, 2) < 0 || dup2(fd, PASSED_FD) < 0)
		_exit(EXIT_CANNOT_RUN);
	close_range(PASSED_FD + 1, UINT_MAX, CLOSE_RANGE_CLOEXEC);
	snprintf(number, sizeof(number), "%d", PASSED_FD);
	execl(path, "onrampd", what, number, option, (char *)NULL);
	dprintf(2, "%s: %s\n", path, strerror(errno));
	_exit(EXIT_CANNOT_RUN);
}

enum outcome { READY, ENDED, SILENT };

/* One line on the descriptor means ready; its end, that the agent has given up. */
static enum outcome wait_ready(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char byte;
	int n;

	for (;;) {
		n = poll(&p, 1, timeout_ms);
		if (n == 0)
			return SILENT;
		if (n < 0)
			continue;
		if (read(fd, &byte, 1) != 1)
			return ENDED;
		if (byte == '\n')
			return READY;
	}
}

/* Somebody has the agent's name, though he may not listen yet. */
static bool name_is_taken(void)
{
	static const char name[] = " @" CTL_NAME "\n";
	char line[256];
	bool taken = false;
	FILE *f = fopen("/proc/self/net/unix", "re");

	while (f && !taken && fgets(line, sizeof(line), f))
		taken = strlen(line) >= sizeof(name) &&
			strcmp(line + strlen(line) - (sizeof(name) - 1), name) == 0;
	if (f)
		fclose(f);
	return taken;
}

/* Ours gave up because another was started at the same moment: that one will do. */
static int await_other(void)
{
	int fd = agent_connect_system(), waited;

	for (waited = 0; fd == -ECONNREFUSED && waited < READY_TIMEOUT_MS && name_is_taken(); waited += 50) {
		poll(NULL, 0, 50);
		fd = agent_connect_system();
	}
	return fd;
}

/* The last line that it wrote before it gave up. */
static void last_words(int log, char *ret, size_t bytes)
{
	off_t end = lseek(log, 0, SEEK_END);
	off_t from = end > (off_t)bytes - 1 ? end - (off_t)bytes + 1 : 0;
	ssize_t n = pread(log, ret, bytes - 1, from);
	char *nl;

	ret[n > 0 ? n : 0] = 0;
	while (ret[0] && ret[strlen(ret) - 1] == '\n')
		ret[strlen(ret) - 1] = 0;
	nl = strrchr(ret, '\n');
	if (nl)
		memmove(ret, nl + 1, strlen(nl + 1) + 1);
	tame(ret);
}

static int explain_failure(const struct cmd *c, enum outcome o, int status, int log)
{
	char words[512];

	last_words(log, words, sizeof(words));
	if (o == SILENT)
		fail(c, "onramp doctor", "the agent was not ready within %d s", READY_TIMEOUT_MS / 1000);
	else if (words[0])
		fail(c, "onramp doctor", "the agent did not start: %s", words);
	else if (WIFSIGNALED(status))
		fail(c, "onramp doctor", "the agent died of signal %d at start", WTERMSIG(status));
	else
		fail(c, "onramp doctor", "the agent exited with %d at start", WEXITSTATUS(status));
	return -ECHILD;
}

int agent_start(const struct cmd *c)
{
	char path[PATH_MAX];
	int ready[2], fd, status = 0;
	CLOSE_FD int log = -1, from = -1;
	enum outcome o;
	pid_t pid;

	if (own_path(OWN_AGENT, path, sizeof(path))) {
		fail(c, "make, or install onramp again",
		     "onrampd is neither beside this program nor installed");
		return -ENOENT;
	}
	log = memfd_create("onrampd-log", MFD_CLOEXEC);
	if (log < 0 || pipe2(ready, O_CLOEXEC)) {
		fail(c, "", "the agent cannot be started: %s", strerror(errno));
		return -EMFILE;
	}
	from = ready[0];
	pid = fork();
	if (pid == 0)
		become_agent(path, NULL, "--ready-fd", ready[1], log);
	close(ready[1]);
	if (pid < 0) {
		fail(c, "", "the agent cannot be started: %s", strerror(errno));
		return -EAGAIN;
	}
	o = wait_ready(from, READY_TIMEOUT_MS);
	if (o != READY) {
		kill(pid, SIGTERM);	/* it is silent, or it is leaving anyhow */
		waitpid(pid, &status, 0);
		fd = await_other();
		return fd >= 0 ? fd : explain_failure(c, o, status, log);
	}
	fd = agent_connect_system();
	if (fd < 0)
		agent_absent(c, fd);
	return fd;
}

/* In a child of a child, so that it is nobody's. */
static int start_own(const char *what, int fd)
{
	char path[PATH_MAX];
	int status;
	pid_t pid;

	if (own_path(OWN_AGENT, path, sizeof(path)))
		return -ENOENT;
	pid = fork();
	if (pid == 0) {
		pid = fork();
		if (pid)
			_exit(pid < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
		shed_wishes();
		become_agent(path, "--user", what, fd, -1);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return pid < 0 ? -EAGAIN : 0;
}

int agent_start_own(void)
{
	CLOSE_FD int from = -1;
	int ready[2], err;

	if (pipe2(ready, O_CLOEXEC))
		return -errno;
	from = ready[0];
	err = start_own("--ready-fd", ready[1]);
	close(ready[1]);
	if (err)
		return err;
	/* It may have given up because another was quicker: who connects will see. */
	return wait_ready(from, OWN_TIMEOUT_MS) == SILENT ? -ETIMEDOUT : 0;
}

int agent_start_own_behind(void)
{
	CLOSE_FD int self = (int)syscall(SYS_pidfd_open, getpid(), 0);

	return self < 0 ? -errno : start_own("--program-fd", self);
}

int agent_greet(void)
{
	struct ctl_msg hello = { .op = CTL_HELLO };
	CLOSE_FD int fd = -1;
	int err = ctl_connect(&fd);

	return err ? err : ctl_tell(fd, &hello);
}

/* The process that listens, as the kernel knows it; -1 if it cannot be watched. */
static int agent_pidfd(int ctl)
{
	struct ucred peer;
	socklen_t n = sizeof(peer);

	if (getsockopt(ctl, SOL_SOCKET, SO_PEERCRED, &peer, &n) || peer.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

int agent_stop(int ctl)
{
	CLOSE_FD int pidfd = agent_pidfd(ctl);
	struct pollfd p = { .fd = pidfd >= 0 ? pidfd : ctl, .events = POLLIN };
	struct ctl_call call;
	char bytes[sizeof(struct ctl_msg)];
	int rc;

	ctl_prepare(&call, CTL_SHUTDOWN);
	call.timeout_ms = LINK_TIMEOUT_MS;
	rc = ctl_call(ctl, &call);
	if (rc && rc != -EPIPE && rc != -ECONNRESET)
		return rc;
	/* Gone is who has exited; second best, who has closed his end of the connection. */
	for (;;) {
		if (poll(&p, 1, EXIT_TIMEOUT_MS) == 0)
			return -ETIMEDOUT;
		if (p.revents && pidfd >= 0)
			return 0;
		if (p.revents && recv(ctl, bytes, sizeof(bytes), MSG_DONTWAIT) <= 0 && errno != EINTR)
			return 0;
	}
}

int agent_link(int ctl, uint32_t i, struct ctl_status *ret)
{
	struct ctl_call call;
	int rc;

	ctl_prepare(&call, CTL_STATUS);
	call.msg.u.index = i;
	rc = ctl_call(ctl, &call);
	if (rc)
		return rc;
	*ret = call.msg.u.status;
	ret->name[sizeof(ret->name) - 1] = 0;
	ret->note[sizeof(ret->note) - 1] = 0;
	tame(ret->note);
	return 0;
}

int agent_stack(int ctl, uint32_t i, struct ctl_info *ret, int *ret_segment, int *ret_front)
{
	struct ctl_call call;
	uint32_t f;
	int rc;

	ctl_prepare(&call, CTL_STACKS);
	call.msg.u.index = i;
	rc = ctl_call(ctl, &call);
	if (rc)
		return rc;
	*ret = call.msg.u.info;
	ret->comm[sizeof(ret->comm) - 1] = 0;
	tame(ret->comm);
	*ret_segment = call.n_fds ? call.fds[0] : -1;
	*ret_front = call.n_fds > 1 ? call.fds[1] : -1;
	for (f = 2; f < call.n_fds; f++)
		close(call.fds[f]);
	return 0;
}
