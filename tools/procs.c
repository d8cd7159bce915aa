/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptor tables of other processes, found by the name of their memfd in /proc/PID/fd.
 * They are copied with pread(), not mapped: their owner may cut or change the file while we
 * look, and must not be able to kill us by it.
 */
#include "tools/tool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "layout_hash.h"

#define FDTAB_LINK "/memfd:" FDTAB_NAME " (deleted)"
#define HEAD_BYTES offsetof(struct fdtab, ents)
#define MAX_NSPID  8

static const struct { const char *name, *sentence, *remedy; } reasons[] = {
#define REASON(n, s, r) { #n, s, r },
#include "abi/reasons.def"
#undef REASON
};

const char *reason_name(unsigned r)
{
	return r < N_REASONS ? reasons[r].name : "UNKNOWN";
}

const char *reason_sentence(unsigned r)
{
	return r < N_REASONS ? reasons[r].sentence : "for a reason that this build does not know";
}

const char *reason_remedy(unsigned r)
{
	return r < N_REASONS ? reasons[r].remedy : "";
}

uint32_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint32_t)((uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000);
}

/* A word-sized file of /proc, one line, tamed. */
static void read_comm(pid_t pid, char ret[16])
{
	char path[64];
	CLOSE_FD int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd >= 0 ? read(fd, ret, 15) : 0;
	ret[n > 0 ? n : 0] = 0;
	ret[strcspn(ret, "\n")] = 0;
	tame(ret);
}

/* The numbers by which a process is known in the pid namespaces from ours down to its own. */
static unsigned read_nspid(pid_t pid, uint32_t ret[MAX_NSPID])
{
	char path[64], line[256], *at;
	unsigned n = 0;
	FILE *f;

	ret[n++] = (uint32_t)pid;
	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		for (at = line + 6; n < MAX_NSPID && *at;) {
			unsigned long v = strtoul(at, &at, 10);

			if (v == 0)
				break;
			ret[n++] = (uint32_t)v;
		}
	}
	if (f)
		fclose(f);
	return n;
}

/* Opens and copies the head of one candidate. 0; -EPROTO; -errno. */
static int read_head(const char *path, struct fdtab *head, int *ret_fd)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
	    pread(fd, head, HEAD_BYTES, 0) == (ssize_t)HEAD_BYTES &&
	    head->magic == FDTAB_MAGIC && head->layout_hash == ONRAMP_LAYOUT_HASH) {
		head->profile[sizeof(head->profile) - 1] = 0;
		head->detail[sizeof(head->detail) - 1] = 0;
		tame(head->profile);
		tame(head->detail);
		*ret_fd = fd;
		return 0;
	}
	close(fd);
	return -EPROTO;
}

static void read_ents(int fd, struct proc_tab *ret)
{
	uint32_t n = ret->head->n_used;
	ssize_t got;

	if (n > N_FDS)
		n = N_FDS;
	ret->ents = ret->head->ents;
	got = pread(fd, ret->ents, n * sizeof(*ret->ents), (off_t)HEAD_BYTES);
	ret->n_ents = got > 0 ? (uint32_t)((size_t)got / sizeof(*ret->ents)) : 0;
}

/* The table among the open files of `dir`: the one whose owner is this very process, for a
 * child may still hold its parent's. */
static int find_table(DIR *dir, pid_t pid, struct fdtab *head, int *ret_fd)
{
	char path[300], link[64];
	uint32_t nspid[MAX_NSPID];
	unsigned n = read_nspid(pid, nspid), i;
	int rc = -ENOENT, one, fd = -1;
	struct dirent *de;
	ssize_t len;

	*ret_fd = -1;
	while ((de = readdir(dir))) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", pid, de->d_name);
		len = readlink(path, link, sizeof(link) - 1);
		if (len != (ssize_t)strlen(FDTAB_LINK) || memcmp(link, FDTAB_LINK, (size_t)len) != 0)
			continue;
		one = read_head(path, head, &fd);
		if (one) {
			rc = one;
			continue;
		}
		for (i = 0; i < n; i++)
			if (head->pid == nspid[i]) {
				*ret_fd = fd;
				return 0;
			}
		close(fd);
	}
	return rc;
}

/* A stack is named by its segment: numbers are each agent's own. */
static uint64_t segment_of(pid_t pid, const struct fdtab *head)
{
	char path[64];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, head->seg_fd);
	return head->seg_fd >= 0 && stat(path, &st) == 0 && S_ISREG(st.st_mode) ? st.st_ino : 0;
}

static bool in_our_netns(pid_t pid)
{
	struct stat ours, its;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
	return stat("/proc/self/ns/net", &ours) == 0 && stat(path, &its) == 0 &&
	       ours.st_ino == its.st_ino && ours.st_dev == its.st_dev;
}

int proc_tab_read(pid_t pid, struct proc_tab *ret)
{
	char path[64];
	DIR *dir;
	int rc, fd = -1;

	*ret = (struct proc_tab){ .pid = pid };
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	read_comm(pid, ret->comm);
	ret->head = calloc(1, sizeof(*ret->head));	/* 1 MiB, of which only what is read is touched */
	must(ret->head);
	rc = find_table(dir, pid, ret->head, &fd);
	closedir(dir);
	if (rc == 0) {
		ret->seg_ino = segment_of(pid, ret->head);
		ret->same_netns = in_our_netns(pid);
		read_ents(fd, ret);
		close(fd);
	} else {
		free(ret->head);
		ret->head = NULL;
	}
	return rc;
}

void proc_tab_free(struct proc_tab *p)
{
	free(p->head);
	*p = (struct proc_tab){ 0 };
}

struct proc_tab *proc_tabs(unsigned *ret_n, unsigned *ret_unseen)
{
	struct proc_tab *all = NULL, one;
	unsigned n = 0, room = 0;
	DIR *proc = opendir("/proc");
	struct dirent *de;
	long pid;
	int rc;

	*ret_unseen = 0;
	while (proc && (de = readdir(proc))) {
		pid = strtol(de->d_name, NULL, 10);
		if (pid <= 0 || pid > INT_MAX)
			continue;
		rc = proc_tab_read((pid_t)pid, &one);
		*ret_unseen += rc == -EACCES || rc == -EPERM;
		if (rc)
			continue;
		if (n == room) {
			room = room ? room * 2 : 16;
			all = realloc(all, room * sizeof(*all));
			must(all);
		}
		all[n++] = one;
	}
	if (proc)
		closedir(proc);
	*ret_n = n;
	return all;
}
