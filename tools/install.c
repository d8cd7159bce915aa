/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp install` and `onramp uninstall`: programs of the catalogue are accelerated wherever they are started,
 * and no longer. Both can be repeated, and cut off at any point (tools/preload.c).
 *
 * Before the machine's loader is told anything, the chooser is tried: a program is started with it, and it
 * must neither say a word nor fail. What every program of the machine is to load must be root's, from / on.
 */
#include "tools/chosen.h"
#include "tools/preload.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "chooser/chooser.h"

#define TRIAL_MS 10000

struct files {
	char library[PATH_MAX];
	char line[PATH_MAX];		/* of ld.so.preload: with $LIB, which each loader fills in */
};

/* ---- the files ---------------------------------------------------------------------------------------- */

/* Who can write to it, or to a folder above it, decides what every program runs. */
static int check_owner(const struct cmd *c, const char *path)
{
	char part[PATH_MAX];
	struct stat st;
	char *slash;

	snprintf(part, sizeof(part), "%s", path);
	for (;;) {
		if (stat(part, &st))
			return fail(c, "make install", "%s: %s", part, strerror(errno));
		if (st.st_uid != 0 || (st.st_mode & 022 && !(S_ISDIR(st.st_mode) && st.st_mode & S_ISVTX)))
			return fail(c, "install onramp where only root can write (make install)",
				    "%s can be written by others than root", part);
		slash = strrchr(part, '/');
		if (!slash || !part[1])
			return 0;
		slash[slash == part] = 0;
	}
}

static int find_files(const struct cmd *c, struct files *f)
{
	char *slash, folder[PATH_MAX];
	int n;

	if (own_path(OWN_LIBRARY, f->library, sizeof(f->library)))
		return fail(c, "make install", "libonramp.so is neither beside this program nor installed");
	snprintf(folder, sizeof(folder), "%s", f->library);
	slash = strrchr(folder, '/');
	*slash = 0;
	n = snprintf(f->line, sizeof(f->line), "%s/$LIB/" CHOOSER_SO, folder);
	if (n >= (int)sizeof(f->line) || strpbrk(folder, " :\t\n"))
		return fail(c, "move the installation",
			    "%s: the dynamic loader takes no path with a space or a colon", folder);
	return check_owner(c, f->library);
}

/* The chooser as a loader finds it; `lib` is what that one takes $LIB for. */
static int check_chooser(const struct cmd *c, const struct files *f, const char *lib)
{
	char path[PATH_MAX];
	int n = (int)strcspn(f->line, "$");

	if (snprintf(path, sizeof(path), "%.*s%s/" CHOOSER_SO, n, f->line, lib) >= (int)sizeof(path))
		return fail(c, "move the installation", "its path is too long");
	return check_owner(c, path);
}

/* ---- the trial ------------------------------------------------------------------------------------------ */

static noreturn_fn void be_trial(int out)
{
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		_exit(EXIT_CANNOT_RUN);
	execl("/proc/self/exe", "onramp", "--trial", (char *)NULL);
	_exit(EXIT_CANNOT_RUN);
}

/* Starts this program with the chooser in front: it prints the chooser's path as it was loaded, and nothing else. */
static int try_out(const struct cmd *c, const struct files *f, char *said, size_t bytes)
{
	int fds[2], status = -1;
	size_t got = 0;
	ssize_t n;
	pid_t pid;

	must(setenv("LD_PRELOAD", f->line, 1) == 0 && setenv("ONRAMP_OFF", "trial", 1) == 0);
	if (pipe2(fds, O_CLOEXEC))
		return fail(c, "", "pipe: %s", strerror(errno));
	pid = fork();
	if (pid == 0)
		be_trial(fds[1]);
	close(fds[1]);
	while (got + 1 < bytes && poll(&(struct pollfd){ .fd = fds[0], .events = POLLIN }, 1, TRIAL_MS) > 0 &&
	       (n = read(fds[0], said + got, bytes - 1 - got)) > 0)
		got += (size_t)n;
	said[got] = 0;
	close(fds[0]);
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		return fail(c, "", "a program that was started with %s failed (%#x); nothing was changed. It said: %s",
			    f->line, status, said);
	unsetenv("LD_PRELOAD");
	unsetenv("ONRAMP_OFF");
	return 0;
}

int install_trial(void)
{
	FREE char *line = NULL;
	size_t room = 0;
	FILE *f = fopen("/proc/self/maps", "re");
	const char *path;

	while (f && getline(&line, &room, f) > 0) {
		path = strchr(line, '/');
		if (!path || !strstr(path, "/" CHOOSER_SO "\n"))
			continue;
		fputs(path, stdout);
		fclose(f);
		return EXIT_SUCCESS;
	}
	return EXIT_FAILURE;
}

static int trial(const struct cmd *c, const struct files *f)
{
	char said[PATH_MAX * 2], path[PATH_MAX];
	int rc = try_out(c, f, said, sizeof(said));
	size_t n;

	if (rc)
		return rc;
	n = strcspn(said, "\n");
	snprintf(path, sizeof(path), "%.*s", (int)n, said);
	if (path[0] != '/' || (said[n] && said[n + 1]))
		return fail(c, "", "a program that was started with %s says more than before; nothing was changed: %s",
			    f->line, said);
	return check_owner(c, path);
}

/* A 32-bit program's loader fills in another $LIB, and says aloud what it does not find there. */
static int check_32bit(const struct cmd *c, const struct files *f)
{
	static const char *const lib[] = { "lib/i386-linux-gnu", "lib32", "lib" };
	unsigned i;
	int rc = 0;

	for (i = 0; rc == 0 && i < n_elems(lib) && access("/lib/ld-linux.so.2", F_OK) == 0; i++)
		rc = check_chooser(c, f, lib[i]);
	return rc;
}

/* ---- the commands ----------------------------------------------------------------------------------------- */

static int parse(const struct cmd *c, int argc, char **argv, bool *check)
{
	static const struct option longs[] = {
		{ "check", no_argument, NULL, 'c' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, "+:h", longs, NULL)) != -1) {
		if (o == 'h')
			exit(print_help(c));
		if (o != 'c' || !check)
			return bad_option(c, argv);
		*check = true;
	}
	if (optind < argc)
		return misused(c, "'%s' is not understood", argv[optind]);
	return 0;
}

static int put_in_place(const struct cmd *c, const struct files *f, const char *list, unsigned n)
{
	CLOSE_FD int lock = preload_lock();
	CLOSE_FD int agent = -1;
	int rc;

	if (lock < 0)
		return fail(c, "", "/etc/onramp: %s", strerror(-lock));
	rc = replace_file(CHOOSER_LIST, list, strlen(list));
	if (rc)
		return fail(c, "", "%s: %s", CHOOSER_LIST, strerror(-rc));
	rc = preload_add(f->line);
	if (rc < 0)
		return fail(c, "", "%s: %s; it is as it was", PRELOAD_FILE, strerror(-rc));
	printf("%u program%s chosen; those that start from now on are accelerated\n", n, n == 1 ? " is" : "s are");
	agent = agent_connect_system();
	if (agent < 0)
		printf("no system agent runs here: until one does, they run on the kernel\n"
		       "  try: systemctl enable --now onrampd, or onramp attach INTERFACE\n");
	return EXIT_SUCCESS;
}

static int run_install(const struct cmd *c, int argc, char **argv)
{
	char why[1024];
	FREE char *list = NULL;
	struct files f;
	bool check = false;
	unsigned n = 0;
	int rc = parse(c, argc, argv, &check);

	if (rc)
		return rc;
	/* Profiles of the machine, not of who happens to be root. */
	unsetenv("HOME");
	unsetenv("XDG_CONFIG_HOME");
	rc = find_files(c, &f);
	if (rc)
		return rc;
	if (chosen_settle(f.library, &list, &n, why, sizeof(why), stderr))
		return fail(c, "man onramp-install", "%s", why);
	if (n == 0)
		return fail(c, "man onramp-install", "%s names no program", CHOSEN_CONF);
	if (check) {
		printf("%u program%s would be chosen\n", n, n == 1 ? "" : "s");
		return EXIT_SUCCESS;
	}
	if (geteuid() != 0)
		return fail(c, "sudo onramp install", "only root can choose for the whole machine");
	rc = trial(c, &f);
	if (rc == 0)
		rc = check_32bit(c, &f);
	return rc ? rc : put_in_place(c, &f, list, n);
}

static int run_uninstall(const struct cmd *c, int argc, char **argv)
{
	CLOSE_FD int lock = -1;
	int rc = parse(c, argc, argv, NULL);

	if (rc)
		return rc;
	if (geteuid() != 0)
		return fail(c, "sudo onramp uninstall", "only root can choose for the whole machine");
	lock = preload_lock();
	if (lock < 0)
		return fail(c, "", "/etc/onramp: %s", strerror(-lock));
	rc = preload_remove();
	if (rc < 0)
		return fail(c, "", "%s: %s; it is as it was", PRELOAD_FILE, strerror(-rc));
	unlink(CHOOSER_LIST);
	rmdir("/etc/onramp");	/* if it was made by us, and is empty */
	printf(rc == 0 ? "nothing is chosen any more; programs that run go on as they are\n" : "nothing was chosen\n");
	return EXIT_SUCCESS;
}

const struct cmd cmd_install = {
	.name = "install",
	.args = "[--check]",
	.summary = "Accelerates chosen programs wherever they are started.",
	.help =
	"      --check   only says whether the catalogue is right\n"
	"  -h, --help\n\n"
	"Reads " CHOSEN_CONF ", a line per program:\n\n"
	"  /usr/sbin/nginx  profile=latency user=www-data,root\n\n"
	"Each is accelerated from then on as below `onramp run`, whoever starts it. After a change of\n"
	"that file or of a profile, say `onramp install` again.\n",
	.run = run_install,
};

const struct cmd cmd_uninstall = {
	.name = "uninstall",
	.args = "",
	.summary = "Takes back what `onramp install` did.",
	.help = "  -h, --help\n\nPrograms that run go on as they are. " CHOSEN_CONF " stays.\n",
	.run = run_uninstall,
};
