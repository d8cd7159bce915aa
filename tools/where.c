/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where this installation's other files are, and whether a program can be preloaded at all.
 *
 * Files of ours are looked for beside this program first (a build folder, an unpacked
 * archive), then in the folders of an installation. Never by PATH or the environment: what
 * is found may be started as root.
 */
#include "tools/tool.h"

#include <elf.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const beside[][2] = {	/* relative to the folder of this program */
	[OWN_LIBRARY]	= { "../lib/libonramp.so", "../lib/onramp/libonramp.so" },
	[OWN_AGENT]	= { "onrampd", "../sbin/onrampd" },
	[OWN_SURROGATE] = { "onramp-surrogate", "../libexec/onramp/onramp-surrogate" },
	[OWN_TRAP]	= { "onramp-trap", "../libexec/onramp/onramp-trap" },
};
static const char *const installed[][2] = {
	[OWN_LIBRARY]	= { "/usr/local/lib/onramp/libonramp.so", "/usr/lib/onramp/libonramp.so" },
	[OWN_AGENT]	= { "/usr/local/sbin/onrampd", "/usr/sbin/onrampd" },
	[OWN_SURROGATE] = { "/usr/local/libexec/onramp/onramp-surrogate",
			    "/usr/libexec/onramp/onramp-surrogate" },
	[OWN_TRAP]	= { "/usr/local/libexec/onramp/onramp-trap", "/usr/libexec/onramp/onramp-trap" },
};

static bool take(const char *path, char *ret, size_t bytes)
{
	char real[PATH_MAX];

	return access(path, R_OK) == 0 && realpath(path, real) &&
	       (size_t)snprintf(ret, bytes, "%s", real) < bytes;
}

int own_path(enum own_file which, char *ret, size_t bytes)
{
	char exe[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;
	size_t i;

	if (n > 0) {
		exe[n] = 0;
		slash = strrchr(exe, '/');
		if (slash)
			slash[1] = 0;
		for (i = 0; slash && i < n_elems(beside[which]); i++) {
			snprintf(path, sizeof(path), "%s%s", exe, beside[which][i]);
			if (take(path, ret, bytes))
				return 0;
		}
	}
	for (i = 0; i < n_elems(installed[which]); i++)
		if (take(installed[which][i], ret, bytes))
			return 0;
	return -ENOENT;
}

/* Reads the program headers for PT_INTERP; true as well when the file is no ELF (a script). */
static bool is_dynamic(int fd)
{
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	unsigned i;

	if (pread(fd, &eh, sizeof(eh), 0) != sizeof(eh) || memcmp(eh.e_ident, ELFMAG, SELFMAG) != 0)
		return true;
	if (eh.e_ident[EI_CLASS] != ELFCLASS64)
		return true;	/* said elsewhere */
	for (i = 0; i < eh.e_phnum && eh.e_phentsize == sizeof(ph); i++)
		if (pread(fd, &ph, sizeof(ph), (off_t)(eh.e_phoff + i * sizeof(ph))) == sizeof(ph) &&
		    ph.p_type == PT_INTERP)
			return true;
	return false;
}

static bool is_32bit(int fd)
{
	unsigned char ident[EI_NIDENT];

	return pread(fd, ident, sizeof(ident), 0) == sizeof(ident) &&
	       memcmp(ident, ELFMAG, SELFMAG) == 0 && ident[EI_CLASS] == ELFCLASS32;
}

static bool raises_privilege(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && (((st.st_mode & S_ISUID) && st.st_uid != geteuid()) ||
				       ((st.st_mode & S_ISGID) && st.st_gid != getegid()));
}

bool needs_trap(int fd)
{
	return !raises_privilege(fd) && !is_32bit(fd) && !is_dynamic(fd);
}

const char *preload_obstacle(int fd, const char **ret_remedy)
{
	*ret_remedy = "";
	if (raises_privilege(fd)) {
		*ret_remedy = "start it as the user it changes to";
		return "it is a setuid or setgid program, into which the loader lets no library";
	}
	if (is_32bit(fd)) {
		*ret_remedy = "use a 64-bit build of it";
		return "it is a 32-bit program";
	}
	if (!is_dynamic(fd)) {
		*ret_remedy = "onramp run --trap, or use a dynamically linked build of it";
		return "it is linked statically, so no library can be put in front of libc";
	}
	return NULL;
}
