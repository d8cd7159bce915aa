/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp-chooser.so: named by /etc/ld.so.preload, so the loader puts it into every dynamic program of the
 * machine. It looks at the list of chosen programs (chooser.h). One that is not on it runs on, untouched.
 * One that is, is started once more, by the same path, with the same arguments and in the same process,
 * with libonramp.so preloaded and its profile in the environment: as `onramp run` would have.
 *
 * It is the first initialiser of a process (DF_1_INITFIRST): nothing has run that a second start
 * could do twice. It needs no library, libc included, so it is there or not there, and nothing between.
 *
 * Invariants
 *  C1  Whatever is missing, unreadable, too long, not root's or not understood: the program runs on as if we
 *	were not there. No output, no signal, no thread, no descriptor, no change of memory but our own.
 *  C2  A process is started again at most once: the library is in LD_PRELOAD then, or the mark has its pid.
 *  C3  Programs with raised privilege (AT_SECURE) are left alone before anything else is looked at.
 *  C4  libonramp.so is named only if it can be read: the loader would complain aloud.
 *
 * Costs of who is not chosen: one small file read, and where its program is asked of /proc.
 *
 * gcc's address sanitizer wants its library to be a program's first and ends the program if it is not. Such a
 * program, chosen or not, is started again with the option that stops this (as `onramp run` does).
 */
#include "chooser/chooser.h"

#include <elf.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/prctl.h>

#include "base/compiler.h"
#include "host/sys.h"

#define N_ENV	8192	/* variables; a program with more is left alone */
#define COMM	16
#define SANITIZER "verify_asan_link_order"

static char list[CHOOSER_BYTES + 1], exe[CHOOSER_PATH + 1];
static char preload[2 * CHOOSER_PATH], mark[sizeof(CHOOSER_MARK) + 16 + COMM], calm[CHOOSER_PATH];
static char *env[N_ENV + 1];

struct start {
	char **argv, **envp;
	const char *name;	/* the file as it was named to exec; a script's is not the executable */
	uintptr_t phdr, n_phdr;
	bool secure;
};

/* The compiler may call these even so; there is no libc to have them from. */
void *memcpy(void *to, const void *from, size_t n);
void *memcpy(void *to, const void *from, size_t n)
{
	char *t = to;
	const char *f = from;

	while (n--)
		*t++ = *f++;
	return to;
}

void *memset(void *to, int c, size_t n);
void *memset(void *to, int c, size_t n)
{
	char *t = to;

	while (n--)
		*t++ = (char)c;
	return to;
}

/* ---- strings ----------------------------------------------------------------------------------------- */

static size_t length(const char *s)
{
	size_t n = 0;

	while (s[n])
		n++;
	return n;
}

/* What follows `head` in s, or NULL. */
static const char *after(const char *s, const char *head)
{
	while (*head)
		if (*s++ != *head++)
			return NULL;
	return s;
}

static bool same(const char *a, const char *b)
{
	const char *end = after(a, b);

	return end && !*end;
}

static bool holds(const char *s, const char *part)
{
	for (; *s; s++)
		if (after(s, part))
			return true;
	return false;
}

/* Appends; false if it does not fit. */
static bool add(char *to, size_t bytes, const char *s)
{
	size_t at = length(to), n = length(s);

	if (at + n >= bytes)
		return false;
	memcpy(to + at, s, n + 1);
	return true;
}

static char *number(uint64_t v, char room[24])
{
	char *p = room + 23;

	*p = 0;
	do {
		*--p = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return p;
}

/* ---- the environment ------------------------------------------------------------------------------------ */

static const char *value(char *const *vars, const char *name)
{
	const char *v;

	for (; *vars; vars++) {
		v = after(*vars, name);
		if (v && *v == '=')
			return v + 1;
	}
	return NULL;
}

/* NAME=VALUE takes the place of a variable of that name, or comes last. */
static bool put(char *var)
{
	size_t i, n = 0;

	while (var[n] && var[n] != '=')
		n++;
	for (i = 0; env[i]; i++) {
		size_t k = 0;

		while (k <= n && env[i][k] == var[k])
			k++;
		if (k > n)
			break;
	}
	if (i == N_ENV)
		return false;
	env[i] = var;
	return true;
}

static bool copy_env(char *const *from)
{
	size_t i;

	for (i = 0; from[i]; i++) {
		if (i == N_ENV)
			return false;
		env[i] = from[i];
	}
	return true;
}

/* ---- this process --------------------------------------------------------------------------------------- */

static void look(struct start *s, char **argv, char **envp)
{
	const Elf64_auxv_t *a;

	*s = (struct start){ .argv = argv, .envp = envp };
	while (*envp)
		envp++;
	for (a = (const void *)(envp + 1); a->a_type != AT_NULL; a++) {
		if (a->a_type == AT_SECURE)
			s->secure = a->a_un.a_val != 0;
		else if (a->a_type == AT_EXECFN)
			s->name = (const char *)a->a_un.a_val;
		else if (a->a_type == AT_PHDR)
			s->phdr = a->a_un.a_val;
		else if (a->a_type == AT_PHNUM)
			s->n_phdr = a->a_un.a_val;
	}
}

static bool find_exe(void)
{
	long n = SYS4(SYS_readlinkat, AT_FDCWD, "/proc/self/exe", exe, CHOOSER_PATH);

	if (n <= 0 || n >= CHOOSER_PATH)
		return false;
	exe[n] = 0;
	return exe[0] == '/';
}

/* The program itself links gcc's sanitizer library. The loader may have moved the table's address already. */
static bool is_sanitized(const struct start *s)
{
	const Elf64_Phdr *ph = (const void *)s->phdr;
	const Elf64_Dyn *dyn = NULL, *d;
	uintptr_t base = 0, strings = 0, i;

	for (i = 0; ph && i < s->n_phdr; i++)
		if (ph[i].p_type == PT_PHDR)
			base = s->phdr - ph[i].p_vaddr;
	for (i = 0; ph && i < s->n_phdr; i++)
		if (ph[i].p_type == PT_DYNAMIC)
			dyn = (const void *)(base + ph[i].p_vaddr);
	for (d = dyn; d && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_STRTAB)
			strings = d->d_un.d_ptr < base ? base + d->d_un.d_ptr : d->d_un.d_ptr;
	for (d = dyn; strings && d->d_tag != DT_NULL; d++)
		if (d->d_tag == DT_NEEDED && after((const char *)strings + d->d_un.d_val, "libasan.so"))
			return true;
	return false;
}

/* This process was started again already, if the mark has its pid. The second start keeps the name that ps(1)
 * shows, that of a script for one; what it execs later, in the same process, has its own. */
static bool is_second(char *const *envp)
{
	const char *marked = value(envp, CHOOSER_MARK), *name;
	char room[24];

	name = marked ? after(marked, number((uint64_t)sys_getpid(), room)) : NULL;
	if (!name || (*name != ':' && *name != '.'))
		return false;
	if (*name == ':') {
		(void)sys_prctl(PR_SET_NAME, (uintptr_t)(name + 1), 0, 0, 0);
		*(char *)(uintptr_t)name = '.';
	}
	return true;
}

static bool leave_mark(void)
{
	char comm[COMM + 1] = { 0 }, room[24];

	(void)sys_prctl(PR_GET_NAME, (uintptr_t)comm, 0, 0, 0);
	return add(mark, sizeof(mark), CHOOSER_MARK "=") &&
	       add(mark, sizeof(mark), number((uint64_t)sys_getpid(), room)) && add(mark, sizeof(mark), ":") &&
	       add(mark, sizeof(mark), comm) && put(mark);
}

/* ---- the list ---------------------------------------------------------------------------------------------- */

/* Reads it, and ends its lines with zeros; the bytes, or 0. */
static size_t read_list(void)
{
	int fd = sys_openat(AT_FDCWD, CHOOSER_LIST, O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0);
	struct stat st;
	size_t n = 0, i;
	long got = 0;

	if (fd < 0)
		return 0;
	if (sys_fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == 0 && !(st.st_mode & 022) &&
	    st.st_size > 0 && st.st_size <= CHOOSER_BYTES)
		while (n < CHOOSER_BYTES && (got = sys_read(fd, list + n, CHOOSER_BYTES - n)) > 0)
			n += (size_t)got;
	sys_close(fd);
	if (got < 0 || !n || list[n - 1] != '\n')
		return 0;
	for (i = 0; i < n; i++)
		if (list[i] == '\n')
			list[i] = 0;
	return n;
}

static char *next_line(char *at, const char *end)
{
	at += length(at) + 1;
	return at < end ? at : NULL;
}

static bool is_whole(size_t n)
{
	return n > 4 && same(list, CHOOSER_MAGIC) && same(list + n - 4, "end") && list[n - 5] == 0;
}

/* The line below the first entry that this program fits, or NULL. */
static char *find_entry(const struct start *s, const char *end)
{
	char room[24], *at, *rule;
	const char *who = number(sys_getuid(), room), *p;
	bool fits, asked;

	for (at = list; at; at = next_line(at, end)) {
		p = after(at, "program ");
		if (!p || !(same(p, exe) || (s->name && same(p, s->name))))
			continue;
		fits = asked = false;
		rule = next_line(at, end);
		for (; rule && (p = after(rule, "uid ")); rule = next_line(rule, end)) {
			asked = true;
			fits = fits || same(p, who);
		}
		if (fits || !asked)
			return rule;
	}
	return NULL;
}

/* The library in front of what was preloaded already, the profile, and the mark. */
static bool prepare(const struct start *s, char *rule, const char *end)
{
	const char *library = after(next_line(list, end), "library "), *old = value(s->envp, "LD_PRELOAD");
	char *p;

	if (!library || SYS3(SYS_faccessat, AT_FDCWD, library, 4) < 0)	/* C4 */
		return false;
	for (; rule && (p = (char *)(uintptr_t)after(rule, "set ")); rule = next_line(rule, end))
		if (!put(p))
			return false;
	return add(preload, sizeof(preload), "LD_PRELOAD=") && add(preload, sizeof(preload), library) &&
	       (!old || !*old || (add(preload, sizeof(preload), ":") && add(preload, sizeof(preload), old))) &&
	       put(preload) && leave_mark();
}

static bool calm_sanitizer(const struct start *s)
{
	const char *old = value(s->envp, "ASAN_OPTIONS");

	return add(calm, sizeof(calm), "ASAN_OPTIONS=") && (!old || !*old || (add(calm, sizeof(calm), old) &&
	       add(calm, sizeof(calm), ":"))) && add(calm, sizeof(calm), SANITIZER "=0") && put(calm);
}

/* Chosen: env is ready. */
static bool is_chosen(const struct start *s)
{
	const char *off = value(s->envp, "ONRAMP_OFF"), *preloaded = value(s->envp, "LD_PRELOAD");
	size_t n;
	char *rule;

	/* Below valgrind a second start would leave it. */
	if ((off && *off) || (preloaded && (holds(preloaded, "libonramp.so") || holds(preloaded, "vgpreload"))))
		return false;
	n = read_list();
	if (!n || !is_whole(n) || !find_exe())
		return false;
	rule = find_entry(s, list + n);
	return rule && prepare(s, rule, list + n);
}

starts_library static void choose(unused_arg int argc, char **argv, char **envp)
{
	const char *calmed;
	struct start s;
	bool again;

	if (!argv || !envp)
		return;
	look(&s, argv, envp);
	if (s.secure)
		return;
	again = !is_second(envp);
	if (!copy_env(envp))
		return;
	again = again && is_chosen(&s);
	calmed = value(envp, "ASAN_OPTIONS");
	if (is_sanitized(&s) && !(calmed && holds(calmed, SANITIZER)))
		again = (exe[0] || find_exe()) && calm_sanitizer(&s) && (again || leave_mark());
	if (again)
		SYS3(SYS_execve, exe, argv, env);	/* if it fails, all is as it was */
}
