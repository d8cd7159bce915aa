/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp run`: puts the library in front of libc, settles the profile, sees to it that there
 * is an agent, and becomes the program. What goes wrong here never keeps the program from running on the kernel, unless
 * --strict: then ONRAMP_OFF carries the sentence, and `onramp why` shows it.
 */
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/must.h"
#include "conf/conf.h"

#define AGENT_START_MS 1000	/* it takes some 10 ms; a program waits for it this long at most */

struct wish {
	const char *profile;	/* NULL: the environment's, else "default" */
	bool strict;
	bool trap;
	bool list;
};

static void list_one(void *arg, const char *name, const char *origin)
{
	struct table *t = arg;
	struct profile p;
	char why[CONF_ORIGIN_MAX];

	table_cell(t, "%s", name);
	if (conf_profile(name, &p, why, sizeof(why))) {
		table_cell(t, "-");
		table_cell(t, "-");
		table_cell(t, "%s", why);
		return;
	}
	table_cell(t, "%u", p.spin_us);
	table_cell(t, "%s", p.strict ? "yes" : "no");
	table_cell(t, "%s", origin);
}

static int list_profiles(void)
{
	static const char *const names[] = { "PROFILE", "SPIN_US", "STRICT", "FROM" };
	struct table t;

	table_init(&t, n_elems(names), 1u << 1);
	table_heading(&t, names);
	conf_each(list_one, &t);
	table_print(&t);
	table_free(&t);
	return EXIT_SUCCESS;
}

static int parse(const struct cmd *c, int argc, char **argv, struct wish *w)
{
	static const struct option longs[] = {
		{ "profile", required_argument, NULL, 'p' },
		{ "strict", no_argument, NULL, 's' },
		{ "trap", no_argument, NULL, 't' },
		{ "list-profiles", no_argument, NULL, 'l' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, "+:p:h", longs, NULL)) != -1) {
		if (o == 'p')
			w->profile = optarg;
		else if (o == 's')
			w->strict = true;
		else if (o == 't')
			w->trap = true;
		else if (o == 'l')
			w->list = true;
		else if (o == 'h')
			exit(print_help(c));
		else
			return bad_option(c, argv);
	}
	if (!w->list && optind >= argc)
		return misused(c, "no program was named");
	return 0;
}

/* The library first, whatever was preloaded already after it, nothing twice. */
static int set_preload(const struct cmd *c)
{
	char lib[PATH_MAX];
	const char *old = conf_env("LD_PRELOAD");
	FREE char *all = NULL;
	const char *at;

	if (own_path(OWN_LIBRARY, lib, sizeof(lib)))
		return fail(c, "make, or install onramp again",
			    "libonramp.so is neither beside this program (../lib) nor installed");
	if (strpbrk(lib, " :"))
		return fail(c, "move the installation",
			    "%s: the dynamic loader takes no path with a space or a colon", lib);
	at = old ? strstr(old, lib) : NULL;
	if (at)
		return 0;
	must(asprintf(&all, old && old[0] ? "%s:%s" : "%s", lib, old) >= 0);
	must(setenv("LD_PRELOAD", all, 1) == 0);
	return 0;
}

/* Hands the profile over. A variable that the user set himself wins over a profile that he
 * did not name. */
static void set_profile(const struct profile *p, bool named)
{
	char spin[16];

	snprintf(spin, sizeof(spin), "%u", p->spin_us);
	must(setenv("ONRAMP_PROFILE", p->name, 1) == 0);
	must(setenv("ONRAMP_SPIN_US", spin, named) == 0);
	snprintf(spin, sizeof(spin), "%u", p->ecn);
	must(setenv("ONRAMP_ECN", spin, named) == 0);
	must(unsetenv("ONRAMP_KERNEL") == 0 && unsetenv("ONRAMP_ONLY") == 0);
	if (p->kernel[0])
		must(setenv("ONRAMP_KERNEL", p->kernel, 1) == 0);
	if (p->only[0])
		must(setenv("ONRAMP_ONLY", p->only, 1) == 0);
	if (p->congestion[0])
		must(setenv("ONRAMP_CONGESTION", p->congestion, named) == 0);
}

/* Who stands in front of its sockets. A provider that cannot be used is left out, by the library, and told
 * here. 0, or with --strict EXIT_FAILURE. */
static int set_providers(const struct cmd *c, const struct profile *p, const struct wish *w)
{
	char catalogue[CONF_CATALOGUE_MAX], why[1024];
	bool strict = w->strict || p->strict;

	must(unsetenv("ONRAMP_PROVIDERS") == 0);
	if (conf_providers(p->providers, catalogue, sizeof(catalogue), why, sizeof(why))) {
		fail(c, "onramp providers", "%s%s", why, strict ? "" : "; running without providers");
		return strict ? EXIT_FAILURE : 0;
	}
	if (!catalogue[0])
		return 0;
	if (w->trap && strchr(catalogue, '/')) {
		fail(c, "one of the two", "providers and --trap exclude each other%s",
		     strict ? "" : "; running without providers");
		return strict ? EXIT_FAILURE : 0;
	}
	if (providers_check(c, catalogue, sizeof(catalogue)) && strict)
		return EXIT_FAILURE;
	must(setenv("ONRAMP_PROVIDERS", catalogue, 1) == 0);
	return 0;
}

/* Programs of one host need no more than an agent of one's own, which anybody may start. That we
 * said hello to it keeps it until the program ends (agent/own.c O3), whether its first socket
 * comes early or late. Nobody waits here: an agent that is being started says nothing, and the
 * library waits for it if the program's first socket comes sooner (sock/stack.c). What goes wrong
 * is nothing to stop for: `onramp why` says it. */
static void meet_agent(void)
{
	struct timespec now;
	char due[16];

	must(unsetenv("ONRAMP_AGENT_DUE") == 0);
	if (agent_greet() != -ECONNREFUSED || agent_start_own_behind())
		return;
	clock_gettime(CLOCK_MONOTONIC, &now);
	snprintf(due, sizeof(due), "%u",
		 (unsigned)(now.tv_sec * 1000 + now.tv_nsec / 1000000 + AGENT_START_MS));
	must(setenv("ONRAMP_AGENT_DUE", due, 1) == 0);
}

/* With --strict it must be there before the program is. */
static void await_agent(void)
{
	CLOSE_FD int ctl = agent_connect();

	if (ctl == -ECONNREFUSED && agent_start_own() == 0)
		ctl = agent_connect();
}

/* With --strict, whatever would make the library fall back for the whole process is an
 * error now, where somebody reads it. */
static int check_strict(const struct cmd *c, const char *program, bool trap)
{
	const char *obstacle, *remedy;
	CLOSE_FD int ctl = agent_connect();
	CLOSE_FD int fd = -1;

	if (ctl < 0)
		return agent_absent(c, ctl);
	fd = strchr(program, '/') ? open(program, O_RDONLY | O_CLOEXEC) : -1;
	obstacle = fd >= 0 && !(trap && needs_trap(fd)) ? preload_obstacle(fd, &remedy) : NULL;
	if (obstacle)
		return fail(c, remedy, "%s cannot be accelerated: %s", program, obstacle);
	return 0;
}

/* Where execvp() would find it; the word itself if it would not. */
static void find_program(const char *word, char *ret, size_t bytes)
{
	const char *path = conf_env("PATH"), *end;
	struct stat st;

	for (; path && !strchr(word, '/'); path = *end ? end + 1 : NULL) {
		end = strchrnul(path, ':');
		snprintf(ret, bytes, "%.*s/%s", end > path ? (int)(end - path) : 1,
			 end > path ? path : ".", word);
		if (stat(ret, &st) == 0 && S_ISREG(st.st_mode) && access(ret, X_OK) == 0)
			return;
	}
	snprintf(ret, bytes, "%s", word);
}

#define NAMES_BYTES (256 * 1024)	/* the names of what a file links are near its beginning */

/* A program that was linked with gcc's sanitizer library wants that one before all others, and does not
 * start otherwise. The order is a precaution of its own; ours does not disturb it. */
static void calm_sanitizer(const char *program)
{
	const char *old = conf_env("ASAN_OPTIONS");
	FREE char *head = malloc(NAMES_BYTES), *all = NULL;
	CLOSE_FD int fd = open(program, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 && head ? pread(fd, head, NAMES_BYTES, 0) : -1;

	if (n <= 0 || !memmem(head, (size_t)n, "libasan.so", strlen("libasan.so")) ||
	    (old && strstr(old, "verify_asan_link_order")))
		return;
	must(asprintf(&all, "%s%sverify_asan_link_order=0", old ? old : "", old && old[0] ? ":" : "") >= 0);
	must(setenv("ASAN_OPTIONS", all, 1) == 0);
}

/* A static program is put beside the library by onramp-trap; others need no help. Returns only if the
 * program is not to be started so. */
static void become_trapped(char **argv, const char *trap)
{
	char program[PATH_MAX];
	size_t n = 0;
	char **all;
	int fd;

	find_program(argv[0], program, sizeof(program));
	fd = strchr(program, '/') ? open(program, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0 || !needs_trap(fd) || access(program, X_OK))
		return;
	while (argv[n])
		n++;
	all = calloc(n + 3, sizeof(*all));
	must(all);
	all[0] = (char *)(uintptr_t)trap;
	all[1] = program;
	memcpy(all + 2, argv, n * sizeof(*all));
	execv(trap, all);
}

static int become(const struct cmd *c, char **argv, const char *trap)
{
	int err;

	if (trap)
		become_trapped(argv, trap);
	execvp(argv[0], argv);
	err = errno;
	if (err == ENOENT) {
		fail(c, "", "%s: no such program", argv[0]);
		return EXIT_NOT_FOUND;
	}
	fail(c, "", "%s: %s", argv[0], strerror(err));
	return EXIT_CANNOT_RUN;
}

static int run(const struct cmd *c, int argc, char **argv)
{
	const char *from_env = conf_env("ONRAMP_PROFILE"), *name;
	char why[CONF_ORIGIN_MAX + 256], program[PATH_MAX], trap[PATH_MAX];
	struct wish w = { 0 };
	struct profile p;
	int rc = parse(c, argc, argv, &w);

	if (rc)
		return rc;
	if (w.list)
		return list_profiles();
	must(unsetenv("ONRAMP_OFF") == 0);
	must(unsetenv("ONRAMP_STRICT") == 0);
	name = w.profile ? w.profile : from_env && from_env[0] ? from_env : "default";
	rc = conf_profile(name, &p, why, sizeof(why));
	if (rc && w.strict)
		return fail(c, "onramp run --list-profiles", "%s", why);
	if (rc) {
		fail(c, "onramp run --list-profiles", "%s; running on the kernel", why);
		must(setenv("ONRAMP_OFF", why, 1) == 0);
	} else {
		set_profile(&p, w.profile != NULL);
		if (set_providers(c, &p, &w))
			return EXIT_FAILURE;
	}
	if (rc == 0 && (w.strict || p.strict))
		await_agent();
	else if (rc == 0)
		meet_agent();
	if (w.strict || (rc == 0 && p.strict)) {
		find_program(argv[optind], program, sizeof(program));
		if (check_strict(c, program, w.trap))
			return EXIT_FAILURE;
		must(setenv("ONRAMP_STRICT", "1", 1) == 0);
	}
	if (set_preload(c))
		return EXIT_FAILURE;
	find_program(argv[optind], program, sizeof(program));
	calm_sanitizer(program);
	must(unsetenv("ONRAMP_TRAP") == 0);
	if (w.trap && own_path(OWN_TRAP, trap, sizeof(trap)))
		return fail(c, "make, or install onramp again",
			    "onramp-trap is neither beside this program nor installed");
	if (w.trap)
		must(setenv("ONRAMP_TRAP", trap, 1) == 0);
	return become(c, argv + optind, w.trap ? trap : NULL);
}

const struct cmd cmd_run = {
	.name = "run",
	.args = "[-p PROFILE] [--strict] [--trap] [--] PROGRAM [ARGUMENTS]",
	.summary = "Runs a program accelerated.",
	.help =
	"  -p, --profile NAME   how to wait: `default` sleeps when idle, `latency` spins\n"
	"      --strict         fail where onramp would fall back to the kernel\n"
	"      --trap           catches system calls that go past libc: static programs, Go\n"
	"      --list-profiles  which profiles there are, and from where\n"
	"  -h, --help\n\n"
	"What cannot be accelerated runs on the kernel; `onramp why PID` says why.\n"
	"Profiles are looked for in ~/.config/onramp/profiles and /etc/onramp/profiles.\n\n"
	"  onramp run -- redis-server --port 6379\n"
	"  onramp run -p latency -- nginx -g 'daemon off;'\n\n"
	"Exits as PROGRAM does; 127 if there is no such program, 126 if it cannot be run,\n"
	"1 if --strict is not met, 2 on wrong usage.\n",
	.run = run,
};
