/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a program may expect of its own process, asked so that the answer is the same text every time:
 * threads and their variables, signals (masks, alternate stacks, jumps out of handlers), fork, vfork,
 * exec, alarms, /proc. test/apps/trap compares it on the kernel and under `onramp run --trap`.
 *
 *	trap_probe [again]	`again`: as the program that it execs
 *	trap_probe cost		nanoseconds of a system call that does nothing
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t hits, on_alt;
static __thread int mine = 5;
static char alt[64 * 1024];
static sigjmp_buf out;

static void count(int sig)
{
	char here;

	hits += sig;
	on_alt = &here >= alt && &here < alt + sizeof(alt);
	if (write(-1, "", 0) != -1 || errno != EBADF)
		hits = -1000;
}

static void jump(int sig)
{
	siglongjmp(out, sig);
}

static void install(int sig, void (*fn)(int), int flags)
{
	struct sigaction sa = { .sa_handler = fn, .sa_flags = flags };

	sigfillset(&sa.sa_mask);
	sigaction(sig, &sa, NULL);
}

static void signals(void)
{
	stack_t ss = { .ss_sp = alt, .ss_size = sizeof(alt) }, was;
	sigset_t set, old;
	struct sigaction sa;
	int i;

	install(SIGUSR1, count, 0);
	raise(SIGUSR1);
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, &old);
	raise(SIGUSR1);
	printf("signals: blocked %d, SIGSYS blocked %d\n", hits, sigismember(&set, SIGSYS));
	sigprocmask(SIG_SETMASK, &old, NULL);
	printf("signals: %d\n", hits);
	sigaltstack(&ss, &was);
	install(SIGUSR2, count, SA_ONSTACK);
	raise(SIGUSR2);
	printf("alternate stack: was %d, used %d\n", was.ss_flags, on_alt);
	install(SIGUSR2, count, 0);
	raise(SIGUSR2);
	printf("alternate stack: used %d\n", on_alt);
	install(SIGALRM, jump, SA_NODEFER);
	for (i = 0; i < 20; i++)
		if (sigsetjmp(out, 1) == 0) {
			ualarm(2000, 0);
			for (;;)
				pause();
		}
	sigaction(SIGUSR1, NULL, &sa);
	printf("jumped out %d times, handler %d\n", i, sa.sa_handler == count);
	signal(SIGSYS, count);
	sigaction(SIGSYS, NULL, &sa);
	hits = 0;
	raise(SIGSYS);
	printf("SIGSYS: handler %d, came %d\n", sa.sa_handler == count, hits == SIGSYS);
}

static void *thread(void *arg)
{
	struct timespec brief = { 0, 1000000 };
	char *p = malloc(100000);

	mine += (int)(long)arg;
	memset(p, 1, 100000);
	nanosleep(&brief, NULL);
	free(p);
	return (void *)(long)mine;
}

static void threads(void)
{
	pthread_t t[50];
	long sum = 0, round, i;
	void *r;

	for (round = 0; round < 4; round++) {
		for (i = 0; i < 50; i++)
			pthread_create(&t[i], NULL, thread, (void *)i);
		for (i = 0; i < 50; i++) {
			pthread_join(t[i], &r);
			sum += (long)r;
		}
	}
	printf("threads: %ld, mine %d\n", sum, mine);
}

static int status_of(pid_t pid)
{
	int st;

	waitpid(pid, &st, 0);
	return WIFEXITED(st) ? WEXITSTATUS(st) : -WTERMSIG(st);
}

static void processes(void)
{
	char name[4096];
	ssize_t n;
	pid_t pid;
	FILE *f;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		threads();
		fflush(stdout);
		_exit(3);
	}
	printf("fork: %d\n", status_of(pid));
	fflush(stdout);
	pid = vfork();
	if (pid == 0)
		_exit(4);
	printf("vfork: %d, system: %d\n", status_of(pid), WEXITSTATUS(system("exit 5")));
	f = popen("echo from a pipe", "r");
	if (f && fgets(name, sizeof(name), f))
		printf("%s", name);
	if (f)
		pclose(f);
	n = readlink("/proc/self/exe", name, sizeof(name) - 1);
	name[n > 0 ? n : 0] = 0;
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		execl(name, "again", "again", (char *)NULL);
		_exit(errno);
	}
	printf("exec of itself: %d\n", status_of(pid));
	fflush(stdout);
	pid = fork();
	if (pid == 0)
		abort();
	printf("abort: %d\n", status_of(pid));
	printf("no such: %d, errno %d\n", execl("/nonexistent", "x", (char *)NULL), errno);
}

static void cost(void)
{
	struct timespec a, b;
	long i, n = 300000;

	clock_gettime(CLOCK_MONOTONIC, &a);
	for (i = 0; i < n; i++)
		syscall(SYS_getppid);
	clock_gettime(CLOCK_MONOTONIC, &b);
	printf("%.0f\n", ((double)(b.tv_sec - a.tv_sec) * 1e9 + (double)(b.tv_nsec - a.tv_nsec)) / (double)n);
}

int main(int argc, char **argv)
{
	if (argc > 1 && strcmp(argv[1], "cost") == 0) {
		cost();
		return 0;
	}
	printf("%s, environment %d\n", argc > 1 ? argv[0] : "first", getenv("PATH") != NULL);
	signals();
	threads();
	if (argc > 1)
		return 6;
	processes();
	return 0;
}
