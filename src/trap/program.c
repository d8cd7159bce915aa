/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Static programs: mapped here, beside the library, as the kernel would have mapped them. The process
 * was started as `onramp-trap`, which the loader gave the library; now it becomes the program: its
 * segments, its arguments, environment and auxiliary vector on the process's own stack, its name.
 *
 * The kernel still believes that /proc/self/exe is onramp-trap; who asks by that name is told the
 * program. exec of another static program goes by onramp-trap again.
 */
#include "trap/parts.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#if defined(__x86_64__)

#define MAX_PHDRS 64
#define PAGE 4096ul

static char own_exe[PATH_MAX];	/* the program's path; "": not one that we mapped */

struct image {
	Elf64_Ehdr eh;
	Elf64_Phdr ph[MAX_PHDRS];
	uint64_t base;		/* what is added to its addresses */
};

/* -ENOEXEC: not a static program for this CPU. */
static int read_image(int fd, struct image *im)
{
	size_t n, i;

	if (sys_pread(fd, &im->eh, sizeof(im->eh), 0) != sizeof(im->eh) ||
	    memcmp(im->eh.e_ident, ELFMAG, SELFMAG) != 0 ||
	    im->eh.e_ident[EI_CLASS] != ELFCLASS64 || im->eh.e_machine != EM_X86_64 ||
	    (im->eh.e_type != ET_EXEC && im->eh.e_type != ET_DYN) || im->eh.e_phentsize != sizeof(im->ph[0]) ||
	    im->eh.e_phnum > MAX_PHDRS)
		return -ENOEXEC;
	n = im->eh.e_phnum * sizeof(im->ph[0]);
	if (sys_pread(fd, im->ph, n, (off_t)im->eh.e_phoff) != (ssize_t)n)
		return -ENOEXEC;
	for (i = 0; i < im->eh.e_phnum; i++)
		if (im->ph[i].p_type == PT_INTERP)
			return -ENOEXEC;
	return 0;
}

/* What raises privilege at exec must be exec'ed itself. */
static bool raises(int fd)
{
	struct stat st;
	uint8_t caps[64];

	return sys_fstat(fd, &st) || st.st_mode & (S_ISUID | S_ISGID) ||
	       SYS4(SYS_fgetxattr, fd, "security.capability", caps, sizeof(caps)) >= 0;
}

int trap_detour(const char *path, char *ret, unsigned long bytes)
{
	struct image im;
	int fd, err;

	if (!trap_loader || strlen(trap_loader) >= bytes || SYS2(SYS_access, path, X_OK))
		return -1;
	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	err = raises(fd) ? -EPERM : read_image(fd, &im);
	(void)sys_close(fd);
	if (err)
		return -1;
	memcpy(ret, trap_loader, strlen(trap_loader) + 1);
	return 0;
}

/* ---- mapping ------------------------------------------------------------------------------------------------ */

static int prot_of(const Elf64_Phdr *p)
{
	return (p->p_flags & PF_R ? PROT_READ : 0) | (p->p_flags & PF_W ? PROT_WRITE : 0) |
	       (p->p_flags & PF_X ? PROT_EXEC : 0);
}

/* Room for all of it, where it wants to be or anywhere. */
static int reserve(struct image *im)
{
	uint64_t from = UINT64_MAX, to = 0, want;
	void *p;
	int i;

	for (i = 0; i < im->eh.e_phnum; i++)
		if (im->ph[i].p_type == PT_LOAD) {
			from = im->ph[i].p_vaddr < from ? im->ph[i].p_vaddr : from;
			to = im->ph[i].p_vaddr + im->ph[i].p_memsz > to ? im->ph[i].p_vaddr + im->ph[i].p_memsz : to;
		}
	if (from >= to)
		return -ENOEXEC;
	from &= ~(PAGE - 1);
	want = im->eh.e_type == ET_EXEC ? from : 0;
	p = sys_mmap((void *)want, to - from, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
		     (want ? MAP_FIXED_NOREPLACE : 0), -1, 0);
	if (SYS_MAP_FAILED(p))
		return (int)(long)p;
	if (want && (uint64_t)(uintptr_t)p != want)
		return -EEXIST;		/* a kernel that does not know MAP_FIXED_NOREPLACE */
	im->base = (uint64_t)(uintptr_t)p - from;
	return 0;
}

static int map_segment(const struct image *im, const Elf64_Phdr *p, int fd)
{
	uint64_t at = im->base + p->p_vaddr, start = at & ~(PAGE - 1), file_end = at + p->p_filesz;
	uint64_t zero_from = (file_end + PAGE - 1) & ~(PAGE - 1), end = at + p->p_memsz;
	void *r;

	if (p->p_filesz) {
		r = sys_mmap((void *)start, file_end - start, prot_of(p), MAP_PRIVATE | MAP_FIXED, fd,
			     (off_t)(p->p_offset & ~(PAGE - 1)));
		if (SYS_MAP_FAILED(r))
			return (int)(long)r;
	} else {
		zero_from = start;
	}
	if (end > file_end && p->p_filesz && p->p_flags & PF_W && file_end & (PAGE - 1))
		memset((void *)file_end, 0, (end < zero_from ? end : zero_from) - file_end);
	if (end > zero_from) {
		r = sys_mmap((void *)zero_from, end - zero_from, prot_of(p),
			     MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
		if (SYS_MAP_FAILED(r))
			return (int)(long)r;
	}
	return 0;
}

/* ---- the stack that it starts with ---------------------------------------------------------------------------- */

static uint64_t *put_aux(uint64_t *at, uint64_t type, uint64_t v)
{
	at[0] = type;
	at[1] = v;
	return at + 2;
}

static uint64_t *put_auxv(uint64_t *at, const struct image *im, const char *path)
{
	static const uint8_t same[] = {
		AT_SYSINFO_EHDR, AT_HWCAP, AT_PAGESZ, AT_CLKTCK, AT_FLAGS, AT_UID, AT_EUID, AT_GID, AT_EGID,
		AT_SECURE, AT_RANDOM, AT_HWCAP2, AT_PLATFORM, 51 /* AT_MINSIGSTKSZ */,
	};
	uint64_t phdr = im->base + im->eh.e_phoff;
	size_t i;

	/* In memory the table is where the segment that holds its place in the file is. */
	for (i = 0; i < im->eh.e_phnum; i++)
		if (im->ph[i].p_type == PT_LOAD && im->ph[i].p_offset <= im->eh.e_phoff &&
		    im->eh.e_phoff < im->ph[i].p_offset + im->ph[i].p_filesz)
			phdr = im->base + im->ph[i].p_vaddr + im->eh.e_phoff - im->ph[i].p_offset;
	for (i = 0; i < sizeof(same); i++)
		at = put_aux(at, same[i], getauxval(same[i]));
	at = put_aux(at, AT_PHDR, phdr);
	at = put_aux(at, AT_PHENT, sizeof(im->ph[0]));
	at = put_aux(at, AT_PHNUM, im->eh.e_phnum);
	at = put_aux(at, AT_BASE, 0);
	at = put_aux(at, AT_ENTRY, im->base + im->eh.e_entry);
	at = put_aux(at, AT_EXECFN, (uint64_t)(uintptr_t)path);
	return put_aux(at, AT_NULL, 0);
}

static size_t count(char *const *v)
{
	size_t n = 0;

	while (v[n])
		n++;
	return n;
}

noreturn_fn static void jump(uint64_t *sp, uint64_t entry)
{
	__asm__ __volatile__("mov %0, %%rsp\n\t"
			     "xor %%edx, %%edx\n\t"
			     "xor %%ebp, %%ebp\n\t"
			     "jmp *%1" : : "r"(sp), "r"(entry) : "rdx", "memory");
	__builtin_unreachable();
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

/* glibc's rseq area would be in the way of the program's own. */
static void give_up_rseq(void)
{
	uint8_t *block = __builtin_thread_pointer();

	if (!&__rseq_offset)
		return;
	(void)SYS4(SYS_rseq, block + __rseq_offset, 32, 1 /* RSEQ_FLAG_UNREGISTER */, 0x53053053);
	memset(block + __rseq_offset, 0xff, 8);
}

int trap_become(const char *path, char *const *argv, char *const *env)
{
	size_t argc = count(argv), envc = count(env), i;
	struct trap_thread *t = trap_self();
	struct image im;
	uint64_t *sp, *at;
	int fd, err;

	if (!t)
		return -ENOSYS;
	fd = sys_openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	err = read_image(fd, &im);
	if (!err)
		err = reserve(&im);
	for (i = 0; !err && i < im.eh.e_phnum; i++)
		if (im.ph[i].p_type == PT_LOAD)
			err = map_segment(&im, &im.ph[i], fd);
	(void)sys_close(fd);
	if (err) {
		trap_loader = NULL;	/* it is started as ever now, and not by us again */
		return err;
	}
	if (!realpath(path, own_exe))
		own_exe[0] = 0;
	(void)sys_prctl(PR_SET_NAME, (unsigned long)(uintptr_t)last_part(path), 0, 0, 0);
	give_up_rseq();
	sp = __builtin_alloca_with_align((argc + envc + 3 + 2 * 32) * sizeof(*sp), 128);
	at = sp;
	*at++ = argc;
	for (i = 0; i <= argc; i++)
		*at++ = (uint64_t)(uintptr_t)argv[i];
	for (i = 0; i <= envc; i++)
		*at++ = (uint64_t)(uintptr_t)env[i];
	(void)put_auxv(at, &im, path);
	t->own_fs = trap_get_fs();
	t->fs = t->own_fs;
	jump(sp, im.base + im.eh.e_entry);
}

/* ---- exec ------------------------------------------------------------------------------------------------------- */

long trap_execve(struct trap_call *c)
{
	const char *path = (const char *)c->a[0];
	char *const *argv = (char *const *)c->a[1], *const *env = (char *const *)c->a[2];
	size_t n_argv = argv ? count(argv) : 0, n_env = env ? count(env) : 0, i, bytes;
	struct sk_program p = { .path = path };
	bool detour;
	char loader[PATH_MAX];
	struct sk_exec e;
	char **all, **to;
	long r;

	if (!path)
		return -EFAULT;
	detour = trap_detour(path, loader, sizeof(loader)) == 0;
	if (detour)
		p.path = loader;	/* which the library comes to, and with it to the program */
	sk_exec_prepare(&e, &p, env);
	bytes = (n_argv + n_env + e.n + 8) * sizeof(*all);
	all = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (SYS_MAP_FAILED(all)) {
		sk_exec_failed(&e);
		return -ENOMEM;
	}
	to = all;
	if (detour) {
		*to++ = loader;
		*to++ = (char *)(uintptr_t)path;
	}
	for (i = 0; i < n_argv; i++)
		*to++ = argv[i];
	*to++ = NULL;
	c->a[0] = (long)(detour ? loader : path);
	c->a[1] = (long)all;
	c->a[2] = (long)to;
	for (i = 0; i < n_env; i++)
		*to++ = env[i];
	for (i = 0; i < e.n; i++)
		*to++ = (char *)(uintptr_t)e.vars[i];
	*to = NULL;
	r = trap_raw(c);
	(void)sys_munmap(all, bytes);
	sk_exec_failed(&e);
	return r;
}

/* ---- /proc/self/exe ------------------------------------------------------------------------------- */

static bool asks_for_exe(const char *path) { return own_exe[0] && strcmp(path, "/proc/self/exe") == 0; }

/* After the kernel answered, so that a pointer that leads nowhere has been found out. */
long trap_own_exe(struct trap_call *c, long r)
{
	bool at = c->n == SYS_readlinkat || c->n == SYS_openat;
	const char *path = (const char *)c->a[at];
	size_t n, room;

	if (r < 0 || !asks_for_exe(path))
		return r;
	if (c->n == SYS_readlink || c->n == SYS_readlinkat) {
		n = strlen(own_exe);
		room = (size_t)c->a[2 + at];
		n = n < room ? n : room;
		memcpy((void *)c->a[1 + at], own_exe, n);
		return (long)n;
	}
	(void)sys_close((int)r);
	return sys_openat(AT_FDCWD, own_exe, (int)c->a[1 + at], (unsigned)c->a[2 + at]);
}

#endif
