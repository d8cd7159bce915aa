/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of sockets when programs fork, execute, spawn and change what they may. Compared
 * as calls.c is; child.c is what is executed, with the library and without.
 */
#include "process.h"

#include <spawn.h>
#include <sys/resource.h>

/* ---- exec ------------------------------------------------------------------------------------------ */

/* The usual way of inetd: the connection is standard input and output of what is executed. */
static void exec_stdio(const char *path, int conn, char *const argv[])
{
	int out = dup(1);
	pid_t pid = fork();

	if (pid == 0) {
		dup2(conn, 0);
		close(conn);
		dup2(out, 1);
		execv(path, argv);
		_exit(126);
	}
	close(out);
	reap(pid);
}

static void t_exec_stdio(void)
{
	for (int i = 0; i < 2; i++) {
		int fd = dial("ECHO");
		char *names[] = { "child", "0", "names", (char *)addr_arg, (char *)port_arg, NULL };
		char *echo[] = { "child", "0", "echo", "by standard input", NULL };

		printf("exec_stdio %s: ", kind_name(i));
		fflush(stdout);
		exec_stdio(kinds[i], fd, names);
		close(fd);
		fd = dial("ECHO");
		printf("exec_stdio %s: ", kind_name(i));
		fflush(stdout);
		exec_stdio(kinds[i], fd, echo);
		close(fd);
	}
}

/* The process that has it becomes the program, and nobody else has it. */
static void t_exec_alone(void)
{
	static char *const what[][3] = { { "echo", "alone" }, { "half", "the end" }, { "count" } };
	static const char *const asked[] = { "ECHO", "ECHO", "SOURCE 3000000" };

	for (int i = 0; i < 2; i++)
		for (size_t k = 0; k < 3; k++) {
			pid_t pid;

			printf("exec_alone %s %s: ", kind_name(i), what[k][0]);
			fflush(stdout);
			pid = fork();
			if (pid == 0) {
				char *n = text_of(dial(asked[k]));

				execl(kinds[i], "child", n, what[k][0], what[k][1], (char *)NULL);
				_exit(126);
			}
			reap(pid);
		}
}

/* What was received and not read, and what was sent, goes on where it was. */
static void t_exec_midway(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t pid;

		printf("exec_midway %s: ", kind_name(i));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int fd = dial("SOURCE 2000000");
			char buf[1000];
			ssize_t r = recv(fd, buf, sizeof(buf), MSG_WAITALL);

			usleep(50000);
			printf("%zd, then ", r);
			fflush(stdout);
			execl(kinds[i], "child", text_of(fd), "count", (char *)NULL);
			_exit(126);
		}
		reap(pid);
	}
}

static void t_exec_cloexec(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t pid;

		printf("exec_cloexec %s: ", kind_name(i));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int fd = dial("ECHO");

			fcntl(fd, F_SETFD, FD_CLOEXEC);
			execl(kinds[i], "child", text_of(fd), "open", (char *)NULL);
			_exit(126);
		}
		reap(pid);
	}
}

static void t_exec_nonblock(void)
{
	for (int i = 0; i < 2; i++) {
		pid_t pid;

		printf("exec_nonblock %s: ", kind_name(i));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int fd = dial("ECHO");

			nonblock(fd, true);
			execl(kinds[i], "child", text_of(fd), "names", addr_arg, port_arg, (char *)NULL);
			_exit(126);
		}
		reap(pid);
	}
}

/* An exec that fails leaves everything as it was. */
static void t_exec_fails(void)
{
	int fd = dial("ECHO");

	printf("exec_fails: %s", en(execl("/nowhere/at/all", "x", (char *)NULL)));
	printf(" %s", en(execl("/etc/passwd", "x", (char *)NULL)));
	echo_line(fd, "still here");
	close(fd);
}

static void t_exec_path(void)
{
	char path[8192];
	pid_t pid;

	for (int i = 0; i < 2; i++) {
		printf("exec_path %s: ", kind_name(i));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			char *copy = strdup(kinds[i]);
			int fd = dial("ECHO");

			snprintf(path, sizeof(path), "/nowhere:%s:/bin", dirname(copy));
			setenv("PATH", path, 1);
			execlp(i ? "child_static" : "child", "child", text_of(fd), "echo", "found", (char *)NULL);
			_exit(126);
		}
		reap(pid);
	}
}

static void t_exec_script(void)
{
	char name[64], line[4200];
	int f;
	pid_t pid;

	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "/tmp/onramp-script-%d", getpid());
		f = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0700);
		snprintf(line, sizeof(line), "#! /bin/sh\nexec %s \"$@\"\n", kinds[i]);
		if (write(f, line, strlen(line)) < 0)
			printf("script: %s\n", en(-1));
		close(f);
		printf("exec_script %s: ", kind_name(i));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int fd = dial("ECHO");

			dup2(fd, 0);
			close(fd);
			execl(name, name, "0", "echo", "by a script", (char *)NULL);
			_exit(126);
		}
		reap(pid);
		unlink(name);
	}
}

/* ---- spawn, system, popen ------------------------------------------------------------------------------ */

static void spawn_with(const char *path, int conn, posix_spawn_file_actions_t *fa, char *number, char *text)
{
	char *argv[] = { "child", number, "echo", text, NULL };
	pid_t pid = -1;
	int r;

	fflush(stdout);
	r = posix_spawn(&pid, path, fa, NULL, argv, environ);
	if (r)
		printf("%s\n", strerrorname_np(r));
	else
		reap(pid);
	close(conn);
}

static void t_spawn(void)
{
	for (int i = 0; i < 2; i++) {
		posix_spawn_file_actions_t fa;
		int fd = dial("ECHO");

		fcntl(fd, F_SETFD, FD_CLOEXEC);
		posix_spawn_file_actions_init(&fa);
		posix_spawn_file_actions_adddup2(&fa, fd, 0);
		posix_spawn_file_actions_addclose(&fa, fd);
		printf("spawn %s, dup2 to 0: ", kind_name(i));
		spawn_with(kinds[i], fd, &fa, "0", "spawned");
		posix_spawn_file_actions_destroy(&fa);

		fd = dial("ECHO");
		posix_spawn_file_actions_init(&fa);
		posix_spawn_file_actions_adddup2(&fa, fd, 0);
		posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
		posix_spawn_file_actions_addclosefrom_np(&fa, 3);
		printf("spawn %s, open and closefrom: ", kind_name(i));
		spawn_with(kinds[i], fd, &fa, "0", "closed the rest");
		posix_spawn_file_actions_destroy(&fa);
	}
}

static void t_spawn_inherit(void)
{
	int fd = dial("ECHO");

	printf("spawn_inherit: ");
	spawn_with(dynamic, fd, NULL, text_of(fd), "inherited");
}

static void t_spawn_fails(void)
{
	char *argv[] = { "x", NULL };
	int fd = dial("ECHO"), r;
	posix_spawn_file_actions_t fa;
	pid_t pid = -7;

	r = posix_spawn(&pid, "/nowhere", NULL, NULL, argv, environ);
	printf("spawn_fails: %s", r ? strerrorname_np(r) : "ok");
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_adddup2(&fa, 4000, 0);
	r = posix_spawn(&pid, dynamic, &fa, NULL, argv, environ);
	printf(" %s %s", r ? strerrorname_np(r) : "ok", en(waitpid(-1, NULL, WNOHANG)));
	posix_spawn_file_actions_destroy(&fa);
	echo_line(fd, "after failing");
	close(fd);
}

static void t_spawn_attributes(void)
{
	char *argv[] = { "sh", "-c", "kill -USR1 $$; kill -USR2 $$; echo alive", NULL };
	int fd = dial("ECHO"), status = 0;
	posix_spawnattr_t at;
	sigset_t set;
	pid_t pid;

	signal(SIGUSR1, SIG_IGN);
	posix_spawnattr_init(&at);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	posix_spawnattr_setsigmask(&at, &set);
	posix_spawnattr_setpgroup(&at, 0);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
	printf("spawn_attributes: ");
	fflush(stdout);
	posix_spawnp(&pid, "sh", NULL, &at, argv, environ);
	printf("group of its own %d", getpgid(pid) == pid);
	waitpid(pid, &status, 0);
	printf(", status %d", status);
	sigaddset(&set, SIGUSR1);
	posix_spawnattr_setsigdefault(&at, &set);
	posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF);
	fflush(stdout);
	posix_spawnp(&pid, "sh", NULL, &at, argv, environ);
	waitpid(pid, &status, 0);
	printf(", by signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	posix_spawnattr_destroy(&at);
	signal(SIGUSR1, SIG_DFL);
	close(fd);
}

static void t_system(void)
{
	char line[8300];
	int fd = dial("ECHO"), r;

	snprintf(line, sizeof(line), "%s %d echo 'by system'", dynamic, fd);
	printf("system: ");
	fflush(stdout);
	r = system(line);
	printf("system: status %d", r);
	r = system("exit 3");
	printf(" %d", WIFEXITED(r) ? WEXITSTATUS(r) : -1);
	r = system("kill -9 $$");
	printf(" %d %d", WIFSIGNALED(r) ? WTERMSIG(r) : -1, system(NULL) != 0);
	echo_line(fd, "and here");
	close(fd);
}

static void t_popen(void)
{
	char line[8300], got[200] = "";
	int fd = dial("ECHO");
	FILE *f, *g;

	snprintf(line, sizeof(line), "%s %d echo 'by popen'", dynamic, fd);
	f = popen(line, "r");
	printf("popen: %s", f && fgets(got, sizeof(got), f) ? got : "nothing\n");
	printf("popen: %d", pclose(f));
	f = popen("cat >/dev/null; exit 5", "w");
	g = popen("cat >/dev/null; exit 6", "we");
	fputs("text", f);
	printf(" %d", fcntl(fileno(f), F_GETFD) | fcntl(fileno(g), F_GETFD) << 4);
	printf(" %d", WEXITSTATUS(pclose(f)));
	printf(" %d", WEXITSTATUS(pclose(g)));
	echo_line(fd, "popened");
	close(fd);
}

static void t_exec_listener(void)
{
	for (int i = 0; i < 2; i++) {
		int ports[2], ctl, port = 0;
		char line[64];
		pid_t pid;

		if (pipe(ports))
			return;
		printf("exec_listener %s: ", kind_name(i));
		fflush(stdout);
		pid = fork();
		if (pid == 0) {
			int l = listen_here();

			port = port_of(l);
			if (write(ports[1], &port, sizeof(port)) < 0)
				_exit(125);
			execl(kinds[i], "child", text_of(l), "accept", "half", "hello", (char *)NULL);
			_exit(126);
		}
		if (read(ports[0], &port, sizeof(port)) < 0)
			printf("%s\n", en(-1));
		usleep(300000);
		snprintf(line, sizeof(line), "DIAL %d 1 1", port);
		ctl = dial(line);
		reap(pid);
		close(ctl);
		close(ports[0]);
		close(ports[1]);
	}
}

/* ---- kinds of fork -------------------------------------------------------------------------------------- */

static void t_fork_bare(void)
{
	int fd = dial("ECHO");
	pid_t pid;

	printf("fork_bare:");
	fflush(stdout);
	pid = _Fork();
	if (pid == 0) {
		echo_line(fd, "in the child");
		_exit(0);
	}
	reap(pid);
	printf("fork_bare:");
	echo_line(fd, "in the parent");
	close(fd);
}

static void t_fork_twice(void)
{
	int fd = dial("ECHO"), p[2];
	pid_t pid;
	char c;

	if (pipe(p))
		return;
	printf("fork_twice:");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (fork() == 0) {
			setsid();
			usleep(100000);
			echo_line(fd, "in the grandchild");
			c = 'x';
			_exit(write(p[1], &c, 1) != 1);
		}
		_exit(0);
	}
	close(fd);
	reap(pid);
	close(p[1]);
	printf("fork_twice: %zd\n", read(p[0], &c, 1));
	close(p[0]);
}

static void t_vfork(void)
{
	int fd = dial("ECHO");
	pid_t pid;

	printf("vfork: ");
	fflush(stdout);
	pid = vfork();
	if (pid == 0) {
		execl(dynamic, "child", text_of(fd), "echo", "vforked", (char *)NULL);
		_exit(126);
	}
	reap(pid);
	close(fd);
}

static void t_daemon(void)
{
	int fd = dial("ECHO"), p[2];
	char line[64] = "";
	pid_t pid;

	if (pipe(p))
		return;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (daemon(0, 0))
			_exit(1);
		send(fd, "daemon", 6, 0);
		recv(fd, line, 6, MSG_WAITALL);
		_exit(write(p[1], line, 6) != 6);
	}
	close(fd);
	reap(pid);
	close(p[1]);
	printf("daemon: %zd", read(p[0], line, sizeof(line)));
	printf(" %s\n", line);
	close(p[0]);
}

/* ---- rights and limits ------------------------------------------------------------------------------------ */

static void in_child(const char *name, void (*fn)(int))
{
	int fd = dial("ECHO");
	pid_t pid;

	printf("%s:", name);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fn(fd);
		fflush(stdout);
		_exit(0);
	}
	close(fd);
	reap(pid);
}

static void old_and_new(int fd, const char *text)
{
	int more;

	echo_line(fd, text);
	printf("  and a new one:");
	fflush(stdout);
	more = dial("ECHO");
	echo_line(more, text);
}

static void drop_user(int fd)
{
	if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
		printf(" %s", en(-1));
	old_and_new(fd, "as nobody");
}

static void drop_user_fork(int fd)
{
	pid_t pid;

	if (geteuid() == 0 && (setgid(65534) || setuid(65534)))
		printf(" %s", en(-1));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		old_and_new(fd, "as nobody's child");
		_exit(0);
	}
	reap(pid);
}

static void change_root(int fd)
{
	if (geteuid() == 0 && (chroot("/var/empty") && chroot("/tmp")))
		printf(" %s", en(-1));
	if (chdir("/"))
		printf(" %s", en(-1));
	old_and_new(fd, "in a chroot");
}

static void few_files(int fd)
{
	struct rlimit l = { 24, 24 };

	setrlimit(RLIMIT_NOFILE, &l);
	old_and_new(fd, "with few files");
}

static void no_locked_memory(int fd)
{
	struct rlimit l = { 0, 0 };

	setrlimit(RLIMIT_MEMLOCK, &l);
	old_and_new(fd, "without locked memory");
}

static void no_processes(int fd)
{
	struct rlimit l = { 0, 0 };

	setrlimit(RLIMIT_NPROC, &l);
	old_and_new(fd, "without processes");
}

static void t_drop_user(void) { in_child("drop_user", drop_user); }
static void t_drop_user_fork(void) { in_child("drop_user_fork", drop_user_fork); }
static void t_chroot(void) { in_child("chroot", change_root); }
static void t_few_files(void) { in_child("few_files", few_files); }
static void t_no_locked_memory(void) { in_child("no_locked_memory", no_locked_memory); }
static void t_no_processes(void) { in_child("no_processes", no_processes); }

/* ---- threads and signals ------------------------------------------------------------------------------------ */

static void *reader(void *arg)
{
	char c;

	recv(*(int *)arg, &c, 1, 0);
	return NULL;
}

static void *poller(void *arg)
{
	struct pollfd p = { .fd = *(int *)arg, .events = POLLIN };

	poll(&p, 1, -1);
	return NULL;
}

static void *acceptor(void *arg)
{
	accept(*(int *)arg, NULL, NULL);
	return NULL;
}

static void *watcher(void *arg)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int ep = epoll_create1(0);

	epoll_ctl(ep, EPOLL_CTL_ADD, *(int *)arg, &ev);
	epoll_wait(ep, &ev, 1, -1);
	return NULL;
}

static void cancel_one(const char *name, void *(*fn)(void *), int fd)
{
	struct timespec until;
	void *ret = NULL;
	pthread_t th;
	int r;

	pthread_create(&th, NULL, fn, &fd);
	usleep(100000);
	pthread_cancel(th);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 3;
	r = pthread_timedjoin_np(th, &ret, &until);
	printf("cancel %s: %s %s\n", name, r ? strerrorname_np(r) : "joined",
	       ret == PTHREAD_CANCELED ? "cancelled" : "");
}

static void t_cancel(void)
{
	int fd = dial("ECHO"), l = listen_here();

	cancel_one("recv", reader, fd);
	cancel_one("poll", poller, fd);
	cancel_one("epoll_wait", watcher, fd);
	cancel_one("accept", acceptor, l);
	printf("cancel:");
	echo_line(fd, "goes on");
	close(fd);
	close(l);
}

static int sig_fd;
static volatile int sig_sent;

static void on_signal(int sig)
{
	int saved = errno;

	(void)sig;
	if (send(sig_fd, "s", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
		sig_sent++;
	errno = saved;
}

/* A handler sends on a connection of its own while the program is anywhere. */
static void t_signal_sends(void)
{
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { 0 };
	struct sigaction act = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	int fd = dial("ECHO"), n = 0, bad = 0;
	char out[512], in[512], line[64];
	ssize_t r;

	sig_fd = dial("SINK");
	memset(out, 'm', sizeof(out));
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (uint64_t end = now_ms() + 400; now_ms() < end; n++) {
		r = send(fd, out, sizeof(out), 0);
		if (r != (ssize_t)sizeof(out))
			bad++;
		for (size_t have = 0; have < sizeof(in) && r > 0; have += (size_t)(r > 0 ? r : 0))
			if ((r = recv(fd, in + have, sizeof(in) - have, 0)) <= 0)
				bad++;
	}
	setitimer(ITIMER_REAL, &never, NULL);
	shutdown(sig_fd, SHUT_WR);
	r = recv(sig_fd, line, sizeof(line) - 1, 0);
	line[r > 0 ? r : 0] = 0;
	printf("signal_sends: some %d, bad %d, all arrived %d\n", sig_sent > 0 && n > 0, bad, atoi(line) == sig_sent);
	close(fd);
	close(sig_fd);
}

static const struct one_case cases[] = {
	{ "exec_stdio", t_exec_stdio }, { "exec_alone", t_exec_alone }, { "exec_midway", t_exec_midway },
	{ "exec_cloexec", t_exec_cloexec }, { "exec_nonblock", t_exec_nonblock }, { "exec_fails", t_exec_fails },
	{ "exec_path", t_exec_path }, { "exec_script", t_exec_script }, { "exec_listener", t_exec_listener },
	{ "spawn", t_spawn }, { "spawn_inherit", t_spawn_inherit }, { "spawn_fails", t_spawn_fails },
	{ "spawn_attributes", t_spawn_attributes }, { "system", t_system }, { "popen", t_popen },
	{ "fork_bare", t_fork_bare }, { "fork_twice", t_fork_twice }, { "vfork", t_vfork }, { "daemon", t_daemon },
	{ "drop_user", t_drop_user }, { "drop_user_fork", t_drop_user_fork }, { "chroot", t_chroot },
	{ "few_files", t_few_files }, { "no_locked_memory", t_no_locked_memory },
	{ "no_processes", t_no_processes }, { "cancel", t_cancel }, { "signal_sends", t_signal_sends },
};

int main(int argc, char **argv)
{
	find_children();
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
