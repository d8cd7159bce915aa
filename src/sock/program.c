/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a file will be when it is a process: one with this library in it, or one without. The
 * dynamic loaders of glibc and of musl put it there, and nobody else: not for static programs,
 * other architectures, other loaders, or programs that gain rights by exec.
 *
 * When in doubt the answer is yes: a file that cannot be read is what it mostly is, and exec says
 * itself what it will not run.
 */
#include "sock/self.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>

#define HEAD_BYTES	4096	/* of the file: its header, its program headers or its #! line */
#define NAME_BYTES	4096
#define INTERPRETERS	5	/* a script's interpreter may be a script; the kernel goes as far */

/* ---- which file -------------------------------------------------------------------------------------- */

static int open_file(const char *path)
{
	return sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
}

/* DIR/word, where exec would look for it. */
static int open_in(const char *dir, size_t n, const char *word)
{
	char name[NAME_BYTES];
	size_t k = strlen(word);

	if (n + k + 2 > sizeof(name))
		return -ENAMETOOLONG;
	memcpy(name, dir, n);
	if (n)
		name[n++] = '/';
	memcpy(name + n, word, k + 1);
	if (SYS3(SYS_faccessat, AT_FDCWD, name, 1) < 0)
		return -ENOENT;
	return open_file(name);
}

static int open_program(const struct sk_program *p)
{
	const char *at = p->search, *end;
	int fd = -ENOENT;

	if (!p->path)
		return sys_fcntl(p->fd, F_DUPFD_CLOEXEC, 0);
	if (strchr(p->path, '/') || !at)
		return open_file(p->path);
	for (; fd == -ENOENT || fd == -ENAMETOOLONG; at = end + 1) {
		for (end = at; *end && *end != ':'; end++)
			;
		fd = open_in(at, (size_t)(end - at), p->path);
		if (!*end)
			break;
	}
	return fd;
}

/* ---- what it is ---------------------------------------------------------------------------------------- */

/* Rights that exec adds make the loader deaf to LD_PRELOAD. */
static bool gains_rights(int fd, const struct stat *st)
{
	uint8_t caps[32];

	if (st->st_mode & S_ISUID && st->st_uid != (uid_t)SYS0(SYS_geteuid))
		return true;
	if (st->st_mode & S_ISGID && st->st_mode & S_IXGRP && st->st_gid != (gid_t)SYS0(SYS_getegid))
		return true;
	return SYS0(SYS_geteuid) != 0 && SYS4(SYS_fgetxattr, fd, "security.capability", caps, sizeof(caps)) > 0;
}

/* The loaders whose LD_PRELOAD we can be in: those of the GNU C library and of musl. */
static bool is_our_loader(const char *name, size_t n)
{
	static const char *const names[] = { "ld-linux", "ld-musl" };
	size_t i, k;

	for (i = 0; i < n; i++)
		for (k = 0; k < n_elems(names); k++)
			if (n - i >= strlen(names[k]) && memcmp(name + i, names[k], strlen(names[k])) == 0)
				return true;
	return false;
}

static bool elf_takes(int fd, const uint8_t *head, size_t n)
{
	char name[64];
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	ssize_t got;
	uint32_t i;

	if (n < sizeof(eh))
		return true;
	memcpy(&eh, head, sizeof(eh));
	if (eh.e_ident[EI_CLASS] != ELFCLASS64 || eh.e_machine != SYS_ELF_MACHINE)
		return false;
	for (i = 0; i < eh.e_phnum && eh.e_phentsize == sizeof(ph); i++) {
		if (sys_pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + i * sizeof(ph))) != sizeof(ph))
			return true;
		if (ph.p_type != PT_INTERP)
			continue;
		got = sys_pread(fd, name, min_u64(ph.p_filesz, sizeof(name)), (off_t)ph.p_offset);
		return got > 0 && is_our_loader(name, (size_t)got);
	}
	return false;
}

/* The interpreter that a script's first line names; false if there is none. */
static bool script_interpreter(const uint8_t *head, size_t n, char ret[NAME_BYTES])
{
	size_t i = 2, k = 0;

	if (n < 2 || head[0] != '#' || head[1] != '!')
		return false;
	while (i < n && (head[i] == ' ' || head[i] == '\t'))
		i++;
	while (i < n && k + 1 < NAME_BYTES && head[i] > ' ')
		ret[k++] = (char)head[i++];
	ret[k] = 0;
	return k > 0;
}

static bool file_takes(int fd)
{
	uint8_t head[HEAD_BYTES];
	char interpreter[NAME_BYTES];
	struct stat st;
	bool takes = true;
	uint32_t left = INTERPRETERS;
	ssize_t n;

	while (fd >= 0 && left--) {
		n = sys_pread(fd, head, sizeof(head), 0);
		if (n >= (ssize_t)SELFMAG && memcmp(head, ELFMAG, SELFMAG) == 0) {
			takes = !(sys_fstat(fd, &st) == 0 && gains_rights(fd, &st)) &&
				elf_takes(fd, head, (size_t)n);
			break;
		}
		if (n <= 0 || !script_interpreter(head, (size_t)n, interpreter))
			break;
		sys_close(fd);
		fd = open_file(interpreter);
	}
	if (fd >= 0)
		sys_close(fd);
	return takes;
}

/* ---- and what it is told --------------------------------------------------------------------------------- */

static const char *env_value(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0)
			return *env + n;
	return NULL;
}

/* A list of its own in which we are not keeps us out; none at all does not (proc.c adds ours). */
static bool env_takes(char *const *env)
{
	const char *off = env_value(env, "ONRAMP_OFF="), *list = env_value(env, "LD_PRELOAD=");

	return !(off && off[0]) && (!list || strstr(list, "libonramp"));
}

bool program_takes_library(const struct sk_program *p, char *const *env)
{
	return env_takes(env) && file_takes(open_program(p));
}
