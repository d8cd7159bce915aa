/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Calls that change the process: fork, exec, exit, signals, limits, sandboxes.
 *
 * exec must work in a signal handler and in a child forked from a program with threads, so
 * nothing here allocates: argument and environment vectors are copied on the stack.
 */
#include "preload/preload.h"
#include "trap/trap.h"

#include <alloca.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

typedef void (*fork_fn)(void);
/* What pthread_atfork() is made of in glibc. Named outright, because musl has the latter only, as a
 * function of its own, and a symbol that is missing would keep musl's programs from starting. */
extern int __register_atfork(fork_fn before, fork_fn parent, fork_fn child, void *dso) weak_symbol;
extern void *__dso_handle;

static void at_fork(fork_fn before, fork_fn parent, fork_fn child)
{
	static void *libc;
	int (*own)(fork_fn, fork_fn, fork_fn);

	if (__register_atfork) {
		(void)__register_atfork(before, parent, child, &__dso_handle);
		return;
	}
	own = (int (*)(fork_fn, fork_fn, fork_fn))libc_own(&libc, "pthread_atfork");
	if (own)
		(void)own(before, parent, child);
}

starts_library static void begin(void)
{
	int saved = errno;

	sk_init();
	layers_begin();
	stream_standard();
	at_fork(sk_fork_prepare, sk_fork_parent, sk_fork_child);
	(void)!trap_begin();
	errno = saved;
}

/* What `onramp-trap` calls. */
int process_become(const char *path, char *const *argv, char *const *env) symbol_name("onramp_trap_become");
exported int process_become(const char *path, char *const *argv, char *const *env)
{
	return trap_become(path, argv, env);
}

ends_library static void end(void)
{
	stream_flush();
	sk_fini();
}

/* ---- fork, exit ------------------------------------------------------------------------------ */

/* A child that borrows its parent's memory cannot have a table of its own; POSIX lets vfork()
 * be fork(). */
pid_t process_vfork(void) symbol_name("vfork");
exported pid_t process_vfork(void)
{
	return fork();
}

/* fork() without the handlers of pthread_atfork(), ours among them. */
pid_t process_fork_bare(void) symbol_name("_Fork");
exported pid_t process_fork_bare(void)
{
	static void *libc;
	pid_t pid;

	sk_fork_prepare();
	pid = ((pid_t (*)(void))libc_own(&libc, "_Fork"))();
	if (pid == 0)
		sk_fork_child();
	else
		sk_fork_parent();
	return pid;
}

static noreturn_fn void leave(int status)
{
	static void *libc;

	sk_fini();
	((void (*)(int))libc_own(&libc, "_exit"))(status);
	__builtin_unreachable();
}

noreturn_fn void process_exit(int status) symbol_name("_exit");
exported noreturn_fn void process_exit(int status) { leave(status); }

noreturn_fn void process_exit_c99(int status) symbol_name("_Exit");
exported noreturn_fn void process_exit_c99(int status) { leave(status); }

/* ---- exec -------------------------------------------------------------------------------------- */

typedef int (*exec_fn)(const char *, char *const *, char *const *);

/* `program` says which file it is going to be, for the functions that look for it. */
static int exec_program(exec_fn fn, const struct sk_program *program, const char *path, char *const *argv,
			char *const *env)
{
	struct sk_exec e;
	size_t n = 0, i;
	char **all;
	int r;

	sk_exec_prepare(&e, program, env);
	if (!e.n)
		return fn(path, argv, env);
	while (env && env[n])
		n++;
	all = alloca((n + e.n + 1) * sizeof(*all));
	for (i = 0; i < n; i++)
		all[i] = env[i];
	for (i = 0; i < e.n; i++)
		all[n + i] = (char *)(uintptr_t)e.vars[i];
	all[n + e.n] = NULL;
	r = fn(path, argv, all);
	sk_exec_failed(&e);
	return r;
}

static int exec_with(exec_fn fn, const char *path, char *const *argv, char *const *env)
{
	struct sk_program p = { .path = path };

	return exec_program(fn, &p, path, argv, env);
}

/* As exec_with() for a name that is looked for by PATH. */
static int exec_found(exec_fn fn, const char *file, char *const *argv, char *const *env)
{
	struct sk_program p = { .path = file, .search = "/bin:/usr/bin" };
	char *const *at;

	for (at = environ; at && *at; at++)
		if (strncmp(*at, "PATH=", 5) == 0)
			p.search = *at + 5;
	return exec_program(fn, &p, file, argv, env);
}

static exec_fn libc_execve(void)
{
	static void *libc;

	return (exec_fn)libc_own(&libc, "execve");
}

static exec_fn libc_execvpe(void)
{
	static void *libc;

	return (exec_fn)libc_own(&libc, "execvpe");
}

int process_execve(const char *path, char *const *argv, char *const *env) symbol_name("execve");
exported int process_execve(const char *path, char *const *argv, char *const *env)
{
	return exec_with(libc_execve(), path, argv, env);
}

int process_execv(const char *path, char *const *argv) symbol_name("execv");
exported int process_execv(const char *path, char *const *argv)
{
	return exec_with(libc_execve(), path, argv, environ);
}

int process_execvp(const char *file, char *const *argv) symbol_name("execvp");
exported int process_execvp(const char *file, char *const *argv)
{
	return exec_found(libc_execvpe(), file, argv, environ);
}

int process_execvpe(const char *file, char *const *argv, char *const *env) symbol_name("execvpe");
exported int process_execvpe(const char *file, char *const *argv, char *const *env)
{
	return exec_found(libc_execvpe(), file, argv, env);
}

/* fexecve() takes a number where the others take a path: carried through as one. */
static int by_descriptor(const char *fd, char *const *argv, char *const *env)
{
	static void *libc;

	return ((int (*)(int, char *const *, char *const *))libc_own(&libc, "fexecve"))
		((int)(intptr_t)fd, argv, env);
}

int process_fexecve(int fd, char *const *argv, char *const *env) symbol_name("fexecve");
exported int process_fexecve(int fd, char *const *argv, char *const *env)
{
	struct sk_program p = { .fd = fd };

	return exec_program(by_descriptor, &p, (const char *)(intptr_t)fd, argv, env);
}

/* The arguments after `first` up to NULL, counted. */
static size_t count_args(va_list ap)
{
	size_t n = 1;

	while (va_arg(ap, char *))
		n++;
	return n;
}

static void copy_args(char **argv, size_t n, const char *first, va_list ap)
{
	size_t i;

	argv[0] = (char *)(uintptr_t)first;
	for (i = 1; i <= n; i++)
		argv[i] = va_arg(ap, char *);
}

int process_execl(const char *path, const char *arg, ...) symbol_name("execl");
exported int process_execl(const char *path, const char *arg, ...)
{
	va_list ap;
	char **argv;
	size_t n;

	va_start(ap, arg);
	n = count_args(ap);
	va_end(ap);
	argv = alloca((n + 1) * sizeof(*argv));
	va_start(ap, arg);
	copy_args(argv, n, arg, ap);
	va_end(ap);
	return exec_with(libc_execve(), path, argv, environ);
}

int process_execlp(const char *file, const char *arg, ...) symbol_name("execlp");
exported int process_execlp(const char *file, const char *arg, ...)
{
	va_list ap;
	char **argv;
	size_t n;

	va_start(ap, arg);
	n = count_args(ap);
	va_end(ap);
	argv = alloca((n + 1) * sizeof(*argv));
	va_start(ap, arg);
	copy_args(argv, n, arg, ap);
	va_end(ap);
	return exec_found(libc_execvpe(), file, argv, environ);
}

int process_execle(const char *path, const char *arg, ...) symbol_name("execle");
exported int process_execle(const char *path, const char *arg, ...)
{
	va_list ap;
	char **argv;
	char *const *env;
	size_t n;

	va_start(ap, arg);
	n = count_args(ap);
	va_end(ap);
	argv = alloca((n + 1) * sizeof(*argv));
	va_start(ap, arg);
	copy_args(argv, n, arg, ap);
	env = va_arg(ap, char *const *);
	va_end(ap);
	return exec_with(libc_execve(), path, argv, env);
}

/* ---- signals ------------------------------------------------------------------------------------- */

static int libc_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	static void *libc;

	return ((int (*)(int, const struct sigaction *, struct sigaction *))
		libc_own(&libc, "sigaction"))(sig, act, old);
}

int process_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
	symbol_name("sigaction");
exported int process_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction ours, was, asked;
	int r;

	if (!act) {
		r = libc_sigaction(sig, NULL, old);
		if (r == 0 && old)
			sk_signal_old(sig, old);
		return r;
	}
	asked = *act;		/* `old` may be the same object */
	sk_signal_wrap(sig, &asked, &ours);
	r = libc_sigaction(sig, NULL, &was);
	if (r == 0)
		sk_signal_old(sig, &was);
	/* Noted first: the wrapper must find the handler when the first signal comes. */
	if (r == 0)
		sk_signal_done(sig, &asked);
	if (r == 0)
		r = libc_sigaction(sig, &ours, NULL);
	if (r == 0 && old)
		*old = was;
	return r;
}

static void *signal_with(int sig, void *fn, int flags)
{
	struct sigaction act = { .sa_flags = flags }, old;

	act.sa_handler = (void (*)(int))fn;
	sigemptyset(&act.sa_mask);
	if (!(flags & SA_RESETHAND))
		sigaddset(&act.sa_mask, sig);
	return process_sigaction(sig, &act, &old) ? (void *)SIG_ERR : (void *)old.sa_handler;
}

void *process_signal(int sig, void *fn) symbol_name("signal");
exported void *process_signal(int sig, void *fn) { return signal_with(sig, fn, SA_RESTART); }

void *process_bsd_signal(int sig, void *fn) symbol_name("bsd_signal");
exported void *process_bsd_signal(int sig, void *fn) { return signal_with(sig, fn, SA_RESTART); }

void *process_ssignal(int sig, void *fn) symbol_name("ssignal");
exported void *process_ssignal(int sig, void *fn) { return signal_with(sig, fn, SA_RESTART); }

#define SYSV_FLAGS (SA_RESETHAND | SA_NODEFER)

void *process_sysv_signal(int sig, void *fn) symbol_name("sysv_signal");
exported void *process_sysv_signal(int sig, void *fn) { return signal_with(sig, fn, SYSV_FLAGS); }

void *process_sysv_signal2(int sig, void *fn) symbol_name("__sysv_signal");
exported void *process_sysv_signal2(int sig, void *fn) { return signal_with(sig, fn, SYSV_FLAGS); }

int process_siginterrupt(int sig, int interrupt) symbol_name("siginterrupt");
exported int process_siginterrupt(int sig, int interrupt)
{
	struct sigaction act;

	if (process_sigaction(sig, NULL, &act))
		return -1;
	act.sa_flags = interrupt ? act.sa_flags & ~SA_RESTART : act.sa_flags | SA_RESTART;
	return process_sigaction(sig, &act, NULL);
}

/* ---- cancellation -------------------------------------------------------------------------------- */

/* The C library sends no signal to a thread that is not in one of its own system calls; ours look
 * when they wake (sock/wait.c). */
int process_cancel(pthread_t th) symbol_name("pthread_cancel");
exported int process_cancel(pthread_t th)
{
	static void *libc;
	int r = ((int (*)(pthread_t))libc_own(&libc, "pthread_cancel"))(th);

	if (r == 0)
		sk_cancelled();
	return r;
}

/* ---- limits and sandboxes --------------------------------------------------------------------------- */

#define FEW_FILES 64	/* a limit below it is a sandbox's */

static void before_limit(int what, const struct rlimit *lim)
{
	if (what == RLIMIT_NOFILE && lim && lim->rlim_cur < FEW_FILES)
		sk_before_seccomp();
}

int process_setrlimit(int what, const struct rlimit *lim) symbol_name("setrlimit");
exported int process_setrlimit(int what, const struct rlimit *lim)
{
	static void *libc;

	before_limit(what, lim);
	return ((int (*)(int, const struct rlimit *))libc_own(&libc, "setrlimit"))(what, lim);
}

int process_setrlimit64(int what, const struct rlimit *lim) symbol_name("setrlimit64");
exported int process_setrlimit64(int what, const struct rlimit *lim)
{
	return process_setrlimit(what, lim);
}

int process_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
	symbol_name("prctl");
exported int process_prctl(int op, unsigned long a, unsigned long b, unsigned long c, unsigned long d)
{
	static void *libc;

	if (op == PR_SET_SECCOMP)
		sk_seccomp();
	return ((int (*)(int, unsigned long, unsigned long, unsigned long, unsigned long))
		libc_own(&libc, "prctl"))(op, a, b, c, d);
}
