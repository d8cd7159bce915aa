/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What becomes of sockets when a program makes processes by clone() and clone3() itself, with memory and
 * descriptors copied or shared. Each case in a process of its own. Compared as calls.c is.
 */
#include "process.h"

#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>

#define STACK 262144

static int conn = -1, done[2];
static volatile int shared;
static const char *now;
static char stack[STACK] __attribute__((aligned(64)));

static void wait_all(pid_t pid)
{
	int status = -1;

	while (waitpid(pid, &status, __WALL) < 0 && errno == EINTR)
		;
	printf("%s: child made %s, status %d\n", now, pid > 0 ? "yes" : en(-1), status);
	fflush(stdout);
}

static void say(const char *who, int fd)
{
	printf("%s: %s", now, who);
	echo_line(fd, who);
}

static pid_t by_clone(int (*fn)(void *), int flags, void *arg)
{
	return clone(fn, stack + STACK, flags | SIGCHLD, arg);
}

/* ---- copies, as by fork() --------------------------------------------------------------------------- */

static int talks(void *arg)
{
	(void)arg;
	say("child", conn);
	close(conn);
	conn = dial("ECHO");
	say("child anew", conn);
	fflush(stdout);
	return 7;
}

static void goes_on(void)
{
	say("parent", conn);
	close(conn);
	conn = dial("ECHO");
	say("parent anew", conn);
}

static void t_clone_copy(void)
{
	conn = dial("ECHO");
	wait_all(by_clone(talks, 0, NULL));
	goes_on();
}

static void by_number(int how)
{
	struct clone_args a = { .exit_signal = SIGCHLD };
	pid_t pid;

	conn = dial("ECHO");
	pid = (pid_t)(how == 0 ? syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0) :
		      how == 1 ? syscall(SYS_clone3, &a, sizeof(a)) : syscall(SYS_fork));
	if (pid == 0)
		_exit(talks(NULL));
	wait_all(pid);
	goes_on();
}

static void t_clone_number(void) { by_number(0); }
static void t_clone3_number(void) { by_number(1); }
static void t_fork_number(void) { by_number(2); }

/* The parent's end goes before the child has used its own. */
static void t_clone_outlives(void)
{
	char c = 0;
	pid_t pid;

	conn = dial("ECHO");
	if (pipe(done))
		return;
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (pid == 0) {
		if (read(done[0], &c, 1) == 1)
			say("child alone", conn);
		_exit(3);
	}
	close(conn);
	if (write(done[1], "x", 1) != 1)
		printf("write: %s\n", en(-1));
	wait_all(pid);
}

static int accepts(void *arg)
{
	int fd = accept(*(int *)arg, NULL, NULL);
	char buf[16] = "";
	ssize_t r = recv(fd, buf, 5, MSG_WAITALL);

	printf("%s: accepted, '%s' %s\n", now, buf, en(r));
	fflush(stdout);
	return 0;
}

static void t_clone_accepts(void)
{
	int l = listen_here(), fd;
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	pid_t pid;

	pid = by_clone(accepts, 0, &l);
	getsockname(l, (void *)&a, &n);
	if (a.ss_family == AF_INET)
		((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		((struct sockaddr_in6 *)&a)->sin6_addr = in6addr_loopback;
	fd = socket(a.ss_family, SOCK_STREAM, 0);
	printf("%s: connect %s\n", now, en(connect(fd, (void *)&a, n)));
	n = send(fd, "hello", 5, 0) == 5;
	wait_all(pid);
	printf("%s: sent %d\n", now, (int)n);
}

static void t_clone_bad(void)
{
	printf("clone_bad: no function %s\n", en(clone(NULL, stack + STACK, SIGCHLD, NULL)));
	printf("clone_bad: no stack %s\n", en(clone(talks, NULL, SIGCHLD, NULL)));
	printf("clone_bad: thread alone %s\n", en(syscall(SYS_clone, CLONE_THREAD | SIGCHLD, 0, 0, 0, 0)));
	printf("clone_bad: clone3 %s\n", en(syscall(SYS_clone3, NULL, 64)));
	printf("clone_bad: clone3 short %s\n", en(syscall(SYS_clone3, &peer, 8)));
	conn = dial("ECHO");
	say("after", conn);
}

/* ---- memory borrowed for a while --------------------------------------------------------------------- */

static int borrows(void *arg)
{
	int fd;

	(void)arg;
	shared = 5;
	say("child", conn);
	close(conn);
	fd = dial("ECHO");
	say("child anew", fd);
	dup2(fd, 100);
	close(fd);
	fflush(stdout);
	return 7;
}

static void borrow(int flags)
{
	conn = dial("ECHO");
	wait_all(by_clone(borrows, CLONE_VM | CLONE_VFORK | flags, NULL));
	printf("%s: memory %d, 100 is %s\n", now, shared, en(fcntl(100, F_GETFD)));
	if (!(flags & CLONE_FILES))
		say("parent", conn);
	conn = dial("ECHO");
	say("parent anew", conn);
}

static void t_clone_vfork(void) { borrow(0); }
static void t_clone_vfork_files(void) { borrow(CLONE_FILES); }

static int becomes(void *arg)
{
	char *echo[] = { "child", "0", "echo", "by standard input", NULL };
	int out = dup(1);

	dup2(conn, 0);
	close(conn);
	dup2(out, 1);
	execv(arg, echo);
	_exit(126);
}

static void t_clone_vfork_exec(void)
{
	for (int i = 0; i < 2; i++) {
		conn = dial("ECHO");
		fcntl(conn, F_SETFD, FD_CLOEXEC);
		printf("%s: %s ", now, kind_name(i));
		fflush(stdout);
		wait_all(by_clone(becomes, CLONE_VM | CLONE_VFORK, (void *)(uintptr_t)kinds[i]));
		say("parent", conn);
		close(conn);
	}
	wait_all(by_clone(becomes, CLONE_VM | CLONE_VFORK, "/none"));
	conn = dial("ECHO");
	say("parent anew", conn);
}

static void t_clone_vfork_exits(void)
{
	int ep = epoll_create1(0);
	struct epoll_event ev = { .events = EPOLLIN };

	conn = dial("ECHO");
	epoll_ctl(ep, EPOLL_CTL_ADD, conn, &ev);
	wait_all(by_clone(becomes, CLONE_VM | CLONE_VFORK, "/none"));
	printf("%s: send %s\n", now, en(send(conn, "x", 1, 0)));
	printf("%s: epoll %d\n", now, epoll_wait(ep, &ev, 1, 5000));
}

/* ---- shared ------------------------------------------------------------------------------------------ */

static int shares(void *arg)
{
	(void)arg;
	say("child", conn);
	shared = dup(conn);
	close(conn);
	fflush(stdout);
	syscall(SYS_exit, 9);
	return 0;
}

static void share(int flags)
{
	int fd;

	conn = dial("ECHO");
	fd = dial("ECHO");
	wait_all(by_clone(shares, flags, NULL));
	printf("%s: parent's %s, child's %s\n", now, en(fcntl(conn, F_GETFD)),
	       shared ? en(fcntl(shared, F_GETFD)) : "unknown");
	if (!(flags & CLONE_FILES))
		say("parent", conn);
	say("another", fd);
	fd = dial("ECHO");
	say("parent anew", fd);
}

static void t_clone_vm(void) { share(CLONE_VM); }
static void t_clone_vm_files(void) { share(CLONE_VM | CLONE_FILES); }
static void t_clone_files(void) { share(CLONE_FILES); }

static const struct one_case cases[] = {
	{ "clone_copy", t_clone_copy },
	{ "clone_number", t_clone_number },
	{ "clone3_number", t_clone3_number },
	{ "fork_number", t_fork_number },
	{ "clone_outlives", t_clone_outlives },
	{ "clone_accepts", t_clone_accepts },
	{ "clone_bad", t_clone_bad },
	{ "clone_vfork", t_clone_vfork },
	{ "clone_vfork_files", t_clone_vfork_files },
	{ "clone_vfork_exec", t_clone_vfork_exec },
	{ "clone_vfork_exits", t_clone_vfork_exits },
	{ "clone_vm", t_clone_vm },
	{ "clone_vm_files", t_clone_vm_files },
	{ "clone_files", t_clone_files },
};

static void run_one(size_t i)
{
	pid_t pid;

	now = cases[i].name;
	pid = fork();
	if (pid == 0) {
		cases[i].fn();
		fflush(stdout);
		_exit(0);
	}
	reap(pid);
}

int main(int argc, char **argv)
{
	find_children();
	run_cases(argc, argv, NULL, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (wanted(argc, argv, cases[i].name))
			run_one(i);
	return 0;
}
