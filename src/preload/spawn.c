/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Programs started in one call: posix_spawn(), system(), popen(). The C library makes such a child
 * inside, where nobody sees it between its birth and its exec; so it would have our sockets'
 * descriptors and not our sockets. If there are any to inherit, the call is done here by fork()
 * and exec, whose wrappers see to that; if there are none, it is the C library's.
 *
 * File actions are opaque. Their layout is compared with what the C library makes of known ones
 * before it is believed; a library that lays them out otherwise keeps its own posix_spawn().
 */
#include "preload/preload.h"

#include <fcntl.h>
#include <paths.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- file actions, as glibc keeps them ---------------------------------------------------------------- */

enum act { ACT_CLOSE, ACT_DUP2, ACT_OPEN, ACT_CHDIR, ACT_FCHDIR, ACT_CLOSEFROM, ACT_TCSETPGRP };

struct action {
	int what;		/* enum act */
	union {
		struct { int fd, to; } num;
		struct { int fd; const char *path; int flags; mode_t mode; } open;
		const char *path;
	} u;
};

static const struct action *actions_of(const posix_spawn_file_actions_t *fa, int *ret_n)
{
	*ret_n = fa ? fa->__used : 0;
	return fa ? (const void *)fa->__actions : NULL;
}

static bool layout_is_known(void)
{
	static int known;	/* 0: not tried; else 1 + answer */
	posix_spawn_file_actions_t fa;
	const struct action *a;
	int n;

	if (known)
		return known == 2;
	memset(&fa, 0, sizeof(fa));
	if (posix_spawn_file_actions_init(&fa))
		return false;
	known = 1;
	if (!posix_spawn_file_actions_adddup2(&fa, 5, 7) && !posix_spawn_file_actions_addclose(&fa, 9) &&
	    !posix_spawn_file_actions_addopen(&fa, 3, "/x", O_WRONLY, 0640) &&
	    !posix_spawn_file_actions_addfchdir_np(&fa, 4)) {
		a = actions_of(&fa, &n);
		if (n == 4 && a && a[0].what == ACT_DUP2 && a[0].u.num.fd == 5 && a[0].u.num.to == 7 &&
		    a[1].what == ACT_CLOSE && a[1].u.num.fd == 9 && a[2].what == ACT_OPEN &&
		    a[2].u.open.fd == 3 && strcmp(a[2].u.open.path, "/x") == 0 &&
		    a[2].u.open.flags == O_WRONLY && a[2].u.open.mode == 0640 &&
		    a[3].what == ACT_FCHDIR && a[3].u.num.fd == 4)
			known = 2;
	}
	(void)posix_spawn_file_actions_destroy(&fa);
	return known == 2;
}

static bool duplicates_ours(const posix_spawn_file_actions_t *fa)
{
	int n, i;
	const struct action *a = actions_of(fa, &n);

	for (i = 0; i < n; i++)
		if (a[i].what == ACT_DUP2 && fd_is_any(a[i].u.num.fd))
			return true;
	return false;
}

static int act_open(const struct action *a)
{
	static void *libc;
	int fd, r;

	(void)wrap_close(a->u.open.fd);
	fd = ((int (*)(const char *, int, ...))libc_own(&libc, "open"))(a->u.open.path, a->u.open.flags,
									 a->u.open.mode);
	if (fd < 0 || fd == a->u.open.fd)
		return fd;
	r = wrap_dup2(fd, a->u.open.fd);
	(void)wrap_close(fd);
	return r;
}

static int act_one(const struct action *a)
{
	int flags;

	switch (a->what) {
	case ACT_CLOSE:
		(void)wrap_close(a->u.num.fd);	/* what is not open is no error: POSIX leaves it open */
		return 0;
	case ACT_DUP2:
		if (a->u.num.fd != a->u.num.to)
			return wrap_dup2(a->u.num.fd, a->u.num.to);
		flags = wrap_fcntl(a->u.num.fd, F_GETFD, 0);
		return flags < 0 ? -1 : wrap_fcntl(a->u.num.fd, F_SETFD, flags & ~FD_CLOEXEC);
	case ACT_OPEN:
		return act_open(a);
	case ACT_CHDIR:
		return chdir(a->u.path);
	case ACT_FCHDIR:
		return fchdir(a->u.num.fd);
	case ACT_CLOSEFROM:
		return wrap_close_range((unsigned)a->u.num.fd, ~0u, 0);
	case ACT_TCSETPGRP:
		return tcsetpgrp(a->u.num.fd, getpgrp());
	default:
		errno = EINVAL;
		return -1;
	}
}

/* ---- attributes ------------------------------------------------------------------------------------------ */

/* Before the first signal can come: the parent's handlers are not the child's. */
static void default_signals(const posix_spawnattr_t *at, short flags)
{
	struct sigaction act, dfl = { .sa_handler = SIG_DFL };
	sigset_t set;
	int i;

	sigemptyset(&set);
	if (flags & POSIX_SPAWN_SETSIGDEF)
		(void)posix_spawnattr_getsigdefault(at, &set);
	for (i = 1; i < _NSIG; i++) {
		if (i == SIGKILL || i == SIGSTOP || sigaction(i, NULL, &act))
			continue;
		if (sigismember(&set, i) == 1 || (act.sa_handler != SIG_IGN && act.sa_handler != SIG_DFL))
			(void)sigaction(i, &dfl, NULL);
	}
}

static int set_attributes(const posix_spawnattr_t *at, short flags)
{
	struct sched_param param;
	int policy;
	pid_t group;

	if (flags & POSIX_SPAWN_SETSCHEDULER) {
		(void)posix_spawnattr_getschedparam(at, &param);
		(void)posix_spawnattr_getschedpolicy(at, &policy);
		if (sched_setscheduler(0, policy, &param) < 0)
			return -1;
	} else if (flags & POSIX_SPAWN_SETSCHEDPARAM) {
		(void)posix_spawnattr_getschedparam(at, &param);
		if (sched_setparam(0, &param) < 0)
			return -1;
	}
	if (flags & POSIX_SPAWN_SETSID && setsid() < 0)
		return -1;
	if (flags & POSIX_SPAWN_SETPGROUP) {
		(void)posix_spawnattr_getpgroup(at, &group);
		if (setpgid(0, group) < 0)
			return -1;
	}
	if (flags & POSIX_SPAWN_RESETIDS && (setegid(getgid()) < 0 || seteuid(getuid()) < 0))
		return -1;
	return 0;
}

/* ---- the call ---------------------------------------------------------------------------------------------- */

struct spawn {
	const char *path;
	bool	 search;
	const posix_spawn_file_actions_t *fa;
	const posix_spawnattr_t *at;
	char *const *argv, *const *env;
	sigset_t mask;		/* the caller's */
	int	 *err;		/* shared with the child */
};

static noreturn_fn void child(const struct spawn *s)
{
	short flags = 0;
	sigset_t mask = s->mask;
	int n, i;
	const struct action *a = actions_of(s->fa, &n);

	if (s->at)
		(void)posix_spawnattr_getflags(s->at, &flags);
	default_signals(s->at, flags);
	if (flags & POSIX_SPAWN_SETSIGMASK)
		(void)posix_spawnattr_getsigmask(s->at, &mask);
	errno = 0;
	i = set_attributes(s->at, flags);
	for (; i >= 0 && n; n--, a++)
		i = act_one(a);
	if (i >= 0) {
		(void)sigprocmask(SIG_SETMASK, &mask, NULL);
		if (s->search)
			(void)execvpe(s->path, s->argv, s->env);
		else
			(void)execve(s->path, s->argv, s->env);
	}
	*s->err = errno ? errno : ECHILD;
	_exit(127);
}

/* The child has become the program when the pipe's other end is closed, which exec does. */
static int spawn_here(pid_t *ret, struct spawn *s)
{
	sigset_t all;
	int ends[2], status;
	char none;
	pid_t pid;

	s->err = mmap(NULL, sizeof(int), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s->err == MAP_FAILED)
		return ENOMEM;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		(void)munmap(s->err, sizeof(int));
		return errno;
	}
	ends[1] = sk_plumbing(ends[1]);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &s->mask);
	pid = fork();
	if (pid == 0)
		child(s);
	status = pid < 0 ? errno : 0;
	sk_plumbing_done(ends[1]);
	while (pid > 0 && wrap_read(ends[0], &none, 1) < 0 && errno == EINTR)
		;
	(void)wrap_close(ends[0]);
	if (!status)
		status = *s->err;
	if (pid > 0 && status)
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
	else if (!status && ret)
		*ret = pid;
	(void)pthread_sigmask(SIG_SETMASK, &s->mask, NULL);
	(void)munmap(s->err, sizeof(int));
	return status;
}

typedef int (*spawn_fn)(pid_t *, const char *, const posix_spawn_file_actions_t *, const posix_spawnattr_t *,
			char *const *, char *const *);

static int spawn(spawn_fn libc, pid_t *ret, struct spawn *s)
{
	int saved = errno, r;

	if (!sk_inheritable() && !(sk_fds.n && layout_is_known() && duplicates_ours(s->fa)))
		return libc(ret, s->path, s->fa, s->at, s->argv, s->env);
	if (!layout_is_known())
		return libc(ret, s->path, s->fa, s->at, s->argv, s->env);
	r = spawn_here(ret, s);
	errno = saved;
	return r;
}

int spawn_path(pid_t *ret, const char *path, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at,
	       char *const *argv, char *const *env) symbol_name("posix_spawn");
exported int spawn_path(pid_t *ret, const char *path, const posix_spawn_file_actions_t *fa,
			const posix_spawnattr_t *at, char *const *argv, char *const *env)
{
	struct spawn s = { .path = path, .fa = fa, .at = at, .argv = argv, .env = env };
	static void *libc;

	return spawn((spawn_fn)libc_own(&libc, "posix_spawn"), ret, &s);
}

int spawn_file(pid_t *ret, const char *file, const posix_spawn_file_actions_t *fa, const posix_spawnattr_t *at,
	       char *const *argv, char *const *env) symbol_name("posix_spawnp");
exported int spawn_file(pid_t *ret, const char *file, const posix_spawn_file_actions_t *fa,
			const posix_spawnattr_t *at, char *const *argv, char *const *env)
{
	struct spawn s = { .path = file, .search = true, .fa = fa, .at = at, .argv = argv, .env = env };
	static void *libc;

	return spawn((spawn_fn)libc_own(&libc, "posix_spawnp"), ret, &s);
}

/* ---- system ------------------------------------------------------------------------------------------------- */

static pthread_mutex_t system_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned n_systems;	/* calls under way: the first changes the signals, the last puts them back */
static struct sigaction system_int, system_quit;

static void system_signals(bool begin)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };

	(void)pthread_mutex_lock(&system_lock);
	if (begin && n_systems++ == 0) {
		(void)sigaction(SIGINT, &ignore, &system_int);
		(void)sigaction(SIGQUIT, &ignore, &system_quit);
	} else if (!begin && --n_systems == 0) {
		(void)sigaction(SIGINT, &system_int, NULL);
		(void)sigaction(SIGQUIT, &system_quit, NULL);
	}
	(void)pthread_mutex_unlock(&system_lock);
}

static int system_here(const char *command)
{
	char *const argv[] = { (char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c", (char *)(uintptr_t)command, NULL };
	sigset_t block, mask, dfl;
	posix_spawnattr_t at;
	int status = -1, err;
	pid_t pid;

	sigemptyset(&dfl);
	sigemptyset(&block);
	sigaddset(&block, SIGCHLD);
	system_signals(true);
	if (system_int.sa_handler != SIG_IGN)
		sigaddset(&dfl, SIGINT);
	if (system_quit.sa_handler != SIG_IGN)
		sigaddset(&dfl, SIGQUIT);
	(void)pthread_sigmask(SIG_BLOCK, &block, &mask);
	(void)posix_spawnattr_init(&at);
	(void)posix_spawnattr_setsigmask(&at, &mask);
	(void)posix_spawnattr_setsigdefault(&at, &dfl);
	(void)posix_spawnattr_setflags(&at, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
	err = spawn_path(&pid, _PATH_BSHELL, NULL, &at, argv, environ);
	(void)posix_spawnattr_destroy(&at);
	if (err)
		status = err == ENOMEM || err == EAGAIN ? -1 : 127 << 8;
	else
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
	system_signals(false);
	(void)pthread_sigmask(SIG_SETMASK, &mask, NULL);
	if (err)
		errno = err;
	return status;
}

int spawn_system(const char *command) symbol_name("system");
exported int spawn_system(const char *command)
{
	static void *libc;

	if (command && sk_inheritable() && layout_is_known())
		return system_here(command);
	return ((int (*)(const char *))libc_own(&libc, "system"))(command);
}

/* ---- popen ---------------------------------------------------------------------------------------------------- */

struct opened { FILE *f; pid_t pid; struct opened *next; };
static struct opened *opened;
static pthread_mutex_t opened_lock = PTHREAD_MUTEX_INITIALIZER;

/* The child must not have the ends of its older siblings. */
static int popen_actions(posix_spawn_file_actions_t *fa, int end, int as)
{
	struct opened *o;
	int err = posix_spawn_file_actions_init(fa);

	for (o = opened; !err && o; o = o->next)
		if (fileno(o->f) != as)
			err = posix_spawn_file_actions_addclose(fa, fileno(o->f));
	return err ? err : posix_spawn_file_actions_adddup2(fa, end, as);
}

static int popen_spawn(struct opened *o, const char *command, int end, int as)
{
	char *const argv[] = { (char *)(uintptr_t)"sh", (char *)(uintptr_t)"-c", (char *)(uintptr_t)command, NULL };
	posix_spawn_file_actions_t fa;
	int err;

	(void)pthread_mutex_lock(&opened_lock);
	err = popen_actions(&fa, end, as);
	if (!err)
		err = spawn_path(&o->pid, _PATH_BSHELL, &fa, NULL, argv, environ);
	(void)posix_spawn_file_actions_destroy(&fa);
	if (!err) {
		o->next = opened;
		opened = o;
	}
	(void)pthread_mutex_unlock(&opened_lock);
	return err;
}

static FILE *popen_here(const char *command, bool reads, bool cloexec)
{
	struct opened *o = calloc(1, sizeof(*o));
	int ends[2], mine = !reads, err;

	if (!o)
		return NULL;
	if (pipe2(ends, O_CLOEXEC) < 0) {
		free(o);
		return NULL;
	}
	o->f = fdopen(ends[mine], reads ? "r" : "w");
	err = o->f ? popen_spawn(o, command, ends[!mine], reads ? 1 : 0) : errno;
	(void)wrap_close(ends[!mine]);
	if (!err) {
		if (!cloexec)
			(void)wrap_fcntl(ends[mine], F_SETFD, 0);
		return o->f;
	}
	if (o->f)
		(void)fclose(o->f);
	else
		(void)wrap_close(ends[mine]);
	free(o);
	errno = err;
	return NULL;
}

FILE *spawn_popen(const char *command, const char *mode) symbol_name("popen");
exported FILE *spawn_popen(const char *command, const char *mode)
{
	bool reads = mode[0] == 'r', cloexec = mode[0] && mode[1] == 'e';
	static void *libc;

	if ((reads || mode[0] == 'w') && !mode[1 + cloexec] && sk_inheritable() && layout_is_known())
		return popen_here(command, reads, cloexec);
	return ((FILE *(*)(const char *, const char *))libc_own(&libc, "popen"))(command, mode);
}

int spawn_pclose(FILE *f) symbol_name("pclose");
exported int spawn_pclose(FILE *f)
{
	static void *libc;
	struct opened **at, *o = NULL;
	int status = -1;

	(void)pthread_mutex_lock(&opened_lock);
	for (at = &opened; *at; at = &(*at)->next)
		if ((*at)->f == f) {
			o = *at;
			*at = o->next;
			break;
		}
	(void)pthread_mutex_unlock(&opened_lock);
	if (!o)
		return ((int (*)(FILE *))libc_own(&libc, "pclose"))(f);
	(void)fclose(f);
	while (waitpid(o->pid, &status, 0) < 0 && errno == EINTR)
		;
	free(o);
	return status;
}
