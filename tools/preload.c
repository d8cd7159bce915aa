/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /etc/ld.so.preload is read at the start of every dynamic program, so a mistake here is one everywhere.
 *
 * Invariants
 *  L1  It is replaced by a rename: any reader sees the old content or the new, whole, and so it is after a
 *	kill or a loss of power at any point.
 *  L2  What it was is written down first (BEFORE), with mode, owner and time, and kept until it is restored.
 *  L3  Removing restores exactly that, if nobody else has changed the file since; if somebody has, our line
 *	goes and all else stays. A line is ours by the name of the file that it names.
 *  L4  Each step can be done again, after it was done or half done. No order of add and remove that is cut
 *	off anywhere leaves more than a file of ours below /etc/onramp, or TEMPORARY, which the next one takes.
 *
 * A link is followed first: what it leads to is replaced, and the link stays.
 */
#include "tools/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "chooser/chooser.h"

#define FOLDER	"/etc/onramp"
#define BEFORE	FOLDER "/ld.so.preload.before"
#define MAX_BYTES (1u << 20)
#define HEAD	"onramp-before 1 %d %o %u %u %lld %ld\n"

struct content {
	bool exists;
	char *bytes;		/* ended by a zero that does not count */
	size_t n;
	mode_t mode;
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
};

int preload_lock(void)
{
	int fd;

	if (mkdir(FOLDER, 0755) && errno != EEXIST)
		return -errno;
	fd = open(FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX)) {
		close(fd);
		return -EAGAIN;
	}
	return fd;
}

/* ---- whole files ------------------------------------------------------------------------------------- */

static int read_all(const char *path, struct content *c)
{
	CLOSE_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t got;

	*c = (struct content){ .mode = 0644 };
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || st.st_size > MAX_BYTES)
		return -EINVAL;
	c->bytes = malloc((size_t)st.st_size + 1);
	must(c->bytes);
	while (c->n < (size_t)st.st_size && (got = read(fd, c->bytes + c->n, (size_t)st.st_size - c->n)) > 0)
		c->n += (size_t)got;
	c->bytes[c->n] = 0;
	c->exists = true;
	c->mode = st.st_mode & 07777;
	c->uid = st.st_uid;
	c->gid = st.st_gid;
	c->mtime = st.st_mtim;
	return c->n == (size_t)st.st_size ? 0 : -EIO;
}

/* Names reach the disk with their folder. */
static int sync_folder(const char *path)
{
	char dir[PATH_MAX];
	CLOSE_FD int fd = -1;

	snprintf(dir, sizeof(dir), "%s", path);
	*strrchr(dir, '/') = 0;
	fd = open(dir[0] ? dir : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) ? -errno : 0;
}

static int write_all(int fd, const char *p, size_t n)
{
	ssize_t put;

	while (n) {
		put = write(fd, p, n);
		if (put < 0)
			return -errno;
		p += put;
		n -= (size_t)put;
	}
	return 0;
}

/* path's folder, and a name that nobody else uses there. */
static int temporary_of(const char *path, char ret[PATH_MAX])
{
	const char *slash = strrchr(path, '/');
	int n = snprintf(ret, PATH_MAX, "%.*s/.%s.onramp", (int)(slash - path), path, slash + 1);

	return n < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int fill(int fd, const struct content *c, bool keep_time)
{
	const struct timespec times[2] = { { .tv_nsec = UTIME_NOW }, c->mtime };
	int rc = write_all(fd, c->bytes, c->n);

	if (rc)
		return rc;
	if (fchown(fd, c->uid, c->gid) || fchmod(fd, c->mode) || (keep_time && futimens(fd, times)) || fsync(fd))
		return -errno;
	return 0;
}

static int replace(const char *path, const struct content *c, bool keep_time)
{
	char temporary[PATH_MAX];
	int fd, rc = temporary_of(path, temporary);

	if (rc)
		return rc;
	if (unlink(temporary) && errno != ENOENT)
		return -errno;
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	rc = fill(fd, c, keep_time);
	close(fd);
	if (rc == 0 && rename(temporary, path))
		rc = -errno;
	if (rc)
		unlink(temporary);
	return rc ? rc : sync_folder(path);
}

int replace_file(const char *path, const char *bytes, size_t n)
{
	const struct content c = { .bytes = (char *)(uintptr_t)bytes, .n = n, .mode = 0644 };

	return replace(path, &c, false);
}

static int remove_file(const char *path)
{
	if (unlink(path))
		return errno == ENOENT ? 0 : -errno;
	return sync_folder(path);
}

/* ---- what it was (L2) ----------------------------------------------------------------------------------- */

static int keep_before(const struct content *c)
{
	FREE char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);

	must(f);
	fprintf(f, HEAD, c->exists, c->mode, c->uid, c->gid, (long long)c->mtime.tv_sec, c->mtime.tv_nsec);
	if (c->n)
		fwrite(c->bytes, 1, c->n, f);
	must(fclose(f) == 0);
	return replace_file(BEFORE, text, n);
}

static bool read_before(struct content *c)
{
	struct content kept;
	long long sec;
	int exists;
	char *body;
	bool ok;

	*c = (struct content){ 0 };
	if (read_all(BEFORE, &kept) || !kept.exists)
		return false;
	body = strchr(kept.bytes, '\n');
	ok = body && sscanf(kept.bytes, HEAD, &exists, &c->mode, &c->uid, &c->gid, &sec, &c->mtime.tv_nsec) == 6;
	if (ok) {
		c->exists = exists != 0;
		c->mtime.tv_sec = sec;
		c->n = kept.n - (size_t)(body + 1 - kept.bytes);
		c->bytes = malloc(c->n + 1);
		must(c->bytes);
		memcpy(c->bytes, body + 1, c->n + 1);
	}
	free(kept.bytes);
	return ok;
}

/* ---- lines -------------------------------------------------------------------------------------------------- */

static bool is_ours(const char *line, size_t n)
{
	static const char name[] = "/" CHOOSER_SO;
	size_t k = sizeof(name) - 1;

	while (n && strchr(" \t\r\n", line[n - 1]))
		n--;
	/* One path and no other, nor a comment: what somebody has made of it is theirs. */
	return n > k && line[0] == '/' && strcspn(line, " \t:#") >= n && memcmp(line + n - k, name, k) == 0;
}

/* Calls for each line whether it is ours; `with` gets the others, if it is there. The last of ours, or NULL. */
static char *sift(const struct content *c, FILE *others)
{
	const char *at = c->bytes, *end = at + c->n, *next;
	char *found = NULL;

	for (; at && at < end; at = next) {
		next = memchr(at, '\n', (size_t)(end - at));
		next = next ? next + 1 : end;
		if (!is_ours(at, (size_t)(next - at))) {
			if (others)
				fwrite(at, 1, (size_t)(next - at), others);
			continue;
		}
		free(found);
		found = strndup(at, strcspn(at, "\r\n"));
		must(found);
	}
	return found;
}

char *preload_line(void)
{
	struct content c;
	char *line;

	if (read_all(PRELOAD_FILE, &c))
		return NULL;
	line = sift(&c, NULL);
	free(c.bytes);
	return line;
}

/* c without lines of ours, and with `line` at its end, if not NULL. */
static struct content edited(const struct content *c, const char *line)
{
	struct content r = *c;
	FILE *f = open_memstream(&r.bytes, &r.n);

	must(f);
	free(sift(c, f));
	must(fflush(f) == 0);
	if (line)
		fprintf(f, "%s%s\n", r.n && r.bytes[r.n - 1] != '\n' ? "\n" : "", line);
	must(fclose(f) == 0);
	return r;
}

static bool same_bytes(const struct content *a, const struct content *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->bytes, b->bytes, a->n) == 0);
}

/* Where a link leads; the name itself if there is nothing yet. */
static void real_path(char ret[PATH_MAX])
{
	if (!realpath(PRELOAD_FILE, ret))
		snprintf(ret, PATH_MAX, "%s", PRELOAD_FILE);
}

int preload_add(const char *line)
{
	struct content now, after;
	char path[PATH_MAX];
	FREE char *found = NULL;
	int rc;

	real_path(path);
	rc = read_all(path, &now);
	if (rc == 0) {
		found = sift(&now, NULL);
		after = edited(&now, line);
		if (found && same_bytes(&now, &after))
			rc = 1;
		else if (!found)	/* else what it was is written down already */
			rc = keep_before(&now);
		if (rc == 0)
			rc = replace(path, &after, false);
		free(after.bytes);
	}
	free(now.bytes);
	return rc;
}

/* `now` has a line of ours. */
static int restore(const char *path, const struct content *now, const char *line)
{
	struct content before, again = { 0 }, rest = edited(now, NULL);
	bool known = read_before(&before);
	int rc;

	if (known)
		again = edited(&before, line);
	if (known && same_bytes(&again, now))
		rc = before.exists ? replace(path, &before, true) : remove_file(path);
	else
		rc = rest.n ? replace(path, &rest, false) : remove_file(path);
	free(rest.bytes);
	free(again.bytes);
	free(before.bytes);
	return rc;
}

int preload_remove(void)
{
	char path[PATH_MAX], temporary[PATH_MAX];
	FREE char *line = NULL;
	struct content now;
	int rc;

	real_path(path);
	rc = read_all(path, &now);
	if (rc == 0) {
		line = sift(&now, NULL);
		rc = line ? restore(path, &now, line) : 1;
	}
	free(now.bytes);
	if (rc < 0)
		return rc;
	/* What a command that was killed has left. */
	if (temporary_of(path, temporary) == 0)
		unlink(temporary);
	unlink(FOLDER "/.ld.so.preload.before.onramp");
	unlink(FOLDER "/.chosen.list.onramp");
	unlink(BEFORE);
	return rc;
}
