// SPDX-License-Identifier: BSD-2-Clause
/*
 * An agent of one's own: --user. Without privilege there are no interfaces, but connections between
 * programs of this host need none: memory, ports and the directory are anybody's to make.
 *
 * Its socket has a path, for an abstract name is the system agent's:
 *
 *   $XDG_RUNTIME_DIR/onramp/agent-NS | /run/user/UID/onramp/agent-NS | /tmp/onramp-UID/agent-NS
 *
 * where NS is the inode of the network namespace: like the other agent's, it serves one.
 *
 *  O1  The folder is a folder, not a link to one, its user's, and closed to all others; else the
 *      next is tried. What lies in it is therefore ours.
 *  O2  Whoever makes, tries, or removes a socket there holds the folder's lock (flock), so that of
 *      two agents that start at once one finds the other, and a socket that nobody listens to is
 *      a dead agent's. The folder may be removed while one waits for its lock: then it is looked
 *      for again.
 *  O3  It stays while there is a stack, a connection, or a program that ever said hello. The last
 *      is how a program started by `onramp run` keeps its agent before its first socket: the
 *      pidfd outlives exec(), and nothing of it is in the program. An agent that was started for a
 *      program has its pidfd from the beginning; if another agent was quicker, it gets it (own_hand_over()).
 */
#include "agent/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <poll.h>
#include <unistd.h>

#include "exec/ctl.h"
#include "host/host.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77		/* Linux 6.5 */
#endif

#define IDLE_NS		(2 * NS_PER_S)
#define LOCK_TRIES	200	/* of 10 ms: the lock is held for microseconds, unless its holder is stopped */
#define DIR_TRIES	16

/* ---- the folder ---- */

/* The folder above must be nobody else's either, or he could take ours away. */
static bool is_safe_above(const char *dir)
{
	char above[CTL_OWN_DIR_MAX];
	struct stat st;

	(void)snprintf(above, sizeof(above), "%s", dir);
	*strrchr(above, '/') = 0;
	if (stat(above, &st) || !S_ISDIR(st.st_mode))
		return false;
	return st.st_uid == getuid() || (st.st_uid == 0 && (!(st.st_mode & 022) || (st.st_mode & S_ISVTX)));
}

/* O1. The folder's descriptor, or -errno. */
static int open_dir(const char *dir, bool make)
{
	struct stat st;
	bool made;
	int fd;

	if (!is_safe_above(dir))
		return -ENOENT;
	made = make && mkdir(dir, 0700) == 0;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (made)
		(void)fchmod(fd, 0700);		/* whatever the umask is */
	if (fstat(fd, &st) || st.st_uid != getuid() || (st.st_mode & 07777) != 0700) {
		(void)close(fd);
		return -EPERM;
	}
	return fd;
}

static int take_lock(int fd)
{
	int i;

	for (i = 0; flock(fd, LOCK_EX | LOCK_NB); i++) {
		if ((errno != EWOULDBLOCK && errno != EINTR) || i == LOCK_TRIES)
			return -errno;
		(void)poll(NULL, 0, 10);
	}
	return 0;
}

static bool is_at(int fd, const char *dir)
{
	struct stat here, there;

	return !fstat(fd, &here) && !lstat(dir, &there) && here.st_ino == there.st_ino &&
	       here.st_dev == there.st_dev;
}

/* O2. */
static int lock_dir(const char *dir, bool make)
{
	int fd, err, i;

	for (i = 0; i < DIR_TRIES; i++) {
		fd = open_dir(dir, make);
		if (fd < 0 && fd == -ENOENT && make && is_safe_above(dir))
			continue;	/* removed under our hands */
		if (fd < 0)
			return fd;
		err = take_lock(fd);
		if (!err && is_at(fd, dir))
			return fd;
		(void)close(fd);
		if (err)
			return err;
	}
	return -EBUSY;
}

/* ---- sockets in it ---- */

static int path_in(char ret[108], const char *dir, const char *name)
{
	return snprintf(ret, 108, "%s/%s", dir, name) < 108 ? 0 : -ENAMETOOLONG;
}

/* A socket that refuses is one that a killed agent left. */
static bool is_dead(const char *path)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	bool dead;

	if (fd < 0)
		return false;
	(void)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", path);
	dead = connect(fd, (struct sockaddr *)&sun, sizeof(sun)) && errno == ECONNREFUSED;
	(void)close(fd);
	return dead;
}

/* Under the lock: what killed agents left, of this namespace and of those that are gone. */
static void sweep(const char *dir)
{
	char path[108];
	struct dirent *e;
	DIR *d = opendir(dir);

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, "agent-", 6) && !path_in(path, dir, e->d_name) && is_dead(path))
			(void)unlink(path);
	if (d)
		(void)closedir(d);
}

static int bind_in(struct agent *a, const char *dir, const char *name)
{
	struct own *o = &a->own_state;
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct stat st;
	mode_t mask;
	int err = path_in(sun.sun_path, dir, name);

	if (err)
		return err;
	mask = umask(0177);
	err = bind(a->listen_fd, (struct sockaddr *)&sun, sizeof(sun)) ? -errno : 0;
	(void)umask(mask);
	if (err)
		return err;
	/* Before the lock goes: who finds a socket that refuses takes its owner for dead. */
	if (listen(a->listen_fd, 64) || lstat(sun.sun_path, &st)) {
		err = -errno;
		(void)unlink(sun.sun_path);
		return err;
	}
	(void)snprintf(o->dir, sizeof(o->dir), "%s", dir);
	memcpy(o->path, sun.sun_path, sizeof(o->path));
	o->ino = st.st_ino;
	return 0;
}

static int try_dir(struct agent *a, const char *dir, const char *name)
{
	int fd = lock_dir(dir, true), err;

	if (fd < 0)
		return fd;
	sweep(dir);
	err = bind_in(a, dir, name);
	if (err)
		(void)rmdir(dir);	/* if it was made for nothing */
	(void)close(fd);
	return err;
}

int own_open(struct agent *a)
{
	char dir[CTL_OWN_DIR_MAX], name[CTL_OWN_NAME_MAX];
	int err = ctl_own_name(name), last = -ENOENT, fd;
	uint32_t i;

	for (i = 0; i < N_PROGRAMS; i++)
		a->own_state.programs[i].pidfd = -1;
	if (err)
		return err;
	/* It may be in another folder than ours would be. */
	if (ctl_connect_own(&fd) == 0) {
		(void)close(fd);
		return -EADDRINUSE;
	}
	for (i = 0; (err = ctl_own_dir(i, dir)) != -ENOENT; i++) {
		if (err)
			continue;
		err = try_dir(a, dir, name);
		if (!err || err == -EADDRINUSE)
			return err;
		last = err;
	}
	return last;
}

void own_close(struct agent *a)
{
	struct own *o = &a->own_state;
	struct stat st;
	uint32_t i;
	int fd;

	for (i = 0; i < N_PROGRAMS; i++)
		if (o->programs[i].pidfd >= 0)
			own_gone(a, &o->programs[i]);
	if (!o->dir[0])
		return;
	fd = lock_dir(o->dir, false);
	if (!lstat(o->path, &st) && st.st_ino == o->ino)
		(void)unlink(o->path);
	if (fd < 0)
		return;
	sweep(o->dir);
	(void)rmdir(o->dir);
	(void)close(fd);
	o->dir[0] = 0;
}

/* ---- programs ---- */

static int pidfd_of(const struct client *c)
{
	socklen_t n = sizeof(int);
	int fd;

	if (!getsockopt(c->fd, SOL_SOCKET, SO_PEERPIDFD, &fd, &n))
		return fd;
	return c->cred.pid > 0 ? (int)syscall(SYS_pidfd_open, c->cred.pid, 0) : -1;
}

static struct program *program_of(struct agent *a, pid_t pid)
{
	struct program *p;

	for (p = a->own_state.programs; p < a->own_state.programs + N_PROGRAMS; p++)
		if (pid ? p->pidfd >= 0 && p->pid == pid : p->pidfd < 0)
			return p;
	return NULL;
}

void own_meet(struct agent *a, int pidfd, pid_t pid)
{
	struct program *p = program_of(a, 0);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = p };

	if (pidfd < 0)
		return;
	if (!p) {
		(void)close(pidfd);
		return;
	}
	*p = (struct program){ .pidfd = pidfd, .pid = pid };
	(void)fcntl(pidfd, F_SETFD, FD_CLOEXEC);
	if (epoll_ctl(a->epfd, EPOLL_CTL_ADD, pidfd, &ev))
		own_gone(a, p);
}

void own_met(struct agent *a, const struct client *c, int pidfd)
{
	if (pidfd >= 0)
		own_meet(a, fcntl(pidfd, F_DUPFD_CLOEXEC, 3), -1);
	else if (!program_of(a, c->cred.pid))
		own_meet(a, pidfd_of(c), c->cred.pid);
}

void own_hand_over(int pidfd)
{
	struct ctl_call call;
	int fd;

	if (pidfd < 0 || ctl_connect_own(&fd))
		return;
	ctl_prepare(&call, CTL_HELLO);
	call.send_fd = pidfd;
	(void)!ctl_call(fd, &call);
	(void)close(fd);
}

bool own_mark(const struct agent *a, const void *mark)
{
	const struct program *p = mark;

	return p >= a->own_state.programs && p < a->own_state.programs + N_PROGRAMS;
}

void own_gone(struct agent *a, void *mark)
{
	struct program *p = mark;

	(void)a;
	(void)close(p->pidfd);
	p->pidfd = -1;
}

/* ---- the end ---- */

/* O3. */
static bool is_idle(const struct agent *a)
{
	struct pollfd p = { .fd = a->listen_fd, .events = POLLIN };
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].state == STACK_LIVE)
			return false;
	for (i = 0; i < N_CLIENTS; i++)
		if (a->clients[i].fd >= 0)
			return false;
	for (i = 0; i < N_PROGRAMS; i++)
		if (a->own_state.programs[i].pidfd >= 0)
			return false;
	return poll(&p, 1, 0) <= 0;
}

int own_timeout(const struct agent *a)
{
	uint64_t since = a->own_state.idle_since, now = host_now();

	if (!since)
		return -1;
	return now - since >= IDLE_NS ? 0 : (int)((IDLE_NS - (now - since)) / NS_PER_MS) + 1;
}

void own_settle(struct agent *a)
{
	struct own *o = &a->own_state;

	if (!is_idle(a))
		o->idle_since = 0;
	else if (!o->idle_since)
		o->idle_since = host_now();
	else if (host_now() - o->idle_since >= IDLE_NS)
		a->stop = true;
}
