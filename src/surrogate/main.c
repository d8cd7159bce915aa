/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp-surrogate: started by the agent, one per stack, to stand in for its programs
 * (exec/surrogate.c). Not for people; --help says what it is.
 *
 * It starts with the agent's rights and gives them up in stages, each a function:
 *
 *   parse      arguments; nothing else is read, the environment is not looked at
 *   close_rest standard descriptors to /dev/null, everything not named on the command line shut
 *   drop       groups, group, user, all capabilities; no new privileges; not ptraceable
 *   map        segment, mirror, rings: as the application's own user
 *   confine    seccomp: from here on it can move frames, sleep, and leave
 *
 * It never writes anything anywhere: what goes wrong is an exit status the agent sees.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <grp.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/atomic.h"
#include "exec/exec.h"
#include "host/sys.h"

enum exit_code { EXIT_DONE = 0, EXIT_USAGE = 2, EXIT_DROP = 3, EXIT_MAP = 4, EXIT_CONFINE = 5 };

struct args {
	struct plumbing p;
	struct surrogate_conf conf;
	uint32_t uid, gid;
	bool has_uid, has_gid;
};

/* To a log it would be the application's words in the agent's mouth: a core dump says more. */
void onramp_panic(const char *file, int line, const char *what)
{
	(void)file;
	(void)line;
	(void)what;
	abort();
}

/* ---- parse ------------------------------------------------------------------------------------- */

static const char usage[] =
	"onramp-surrogate keeps a program's accelerated connections going while the program is\n"
	"stopped, busy or gone. onrampd starts one for each stack; there is no reason to start it\n"
	"by hand.\n"
	"\n"
	"  --seg FD --mirror FD       the stack's segment, and the network mirror\n"
	"  --ctl FD                   connection to the agent; -1: none\n"
	"  --xsk FD[,FD...]           AF_XDP sockets, one for each virtual interface\n"
	"  --vi IFINDEX:FLAGS[,...]   what each of them is attached to\n"
	"  --ring N                   slots of each ring\n"
	"  --bells FD[,FD...]         eventfds of the stack's sleepers\n"
	"  --front FD --pipe FD       who listens for apertures, and where they ring\n"
	"  --dir-slot N               the stack's place in the mirror's directory\n"
	"  --pid PID --stack ID       the program it stands in for, and the stack's number\n"
	"  --uid U --gid G            whom to become\n"
	"  --watchdog MS              how long a program may leave work undone (10)\n"
	"  --help                     this text\n";

/* One unsigned number up to `max` at *s, which moves past it. */
static bool number(const char **s, unsigned long max, unsigned long *ret)
{
	char *end;
	unsigned long v;

	if (**s < '0' || **s > '9')
		return false;
	errno = 0;
	v = strtoul(*s, &end, 0);
	if (errno || v > max)
		return false;
	*s = end;
	*ret = v;
	return true;
}

static bool whole_number(const char *s, unsigned long max, uint32_t *ret)
{
	unsigned long v;

	if (!number(&s, max, &v) || *s)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static bool one_fd(const char *s, bool may_be_none, int *ret)
{
	uint32_t v;

	if (may_be_none && strcmp(s, "-1") == 0) {
		*ret = -1;
		return true;
	}
	if (!whole_number(s, INT32_MAX, &v))
		return false;
	*ret = (int)v;
	return true;
}

static bool fd_list(const char *s, uint32_t max, int *fds, uint32_t *ret_n)
{
	uint32_t n = 0;
	unsigned long v;

	if (!*s) {
		*ret_n = 0;
		return true;
	}
	while (n < max && number(&s, INT32_MAX, &v)) {
		fds[n++] = (int)v;
		if (!*s) {
			*ret_n = n;
			return true;
		}
		if (*s++ != ',')
			break;
	}
	return false;
}

static bool vi_list(const char *s, struct plumbing *p, uint32_t *ret_n)
{
	uint32_t n = 0;
	unsigned long ifindex, flags;

	if (!*s) {
		*ret_n = 0;
		return true;
	}
	while (n < N_VIS && number(&s, INT32_MAX, &ifindex) && *s++ == ':' &&
	       number(&s, UINT32_MAX, &flags)) {
		p->vi_ifindex[n] = (uint32_t)ifindex;
		p->vi_flags[n++] = (uint32_t)flags;
		if (!*s) {
			*ret_n = n;
			return true;
		}
		if (*s++ != ',')
			break;
	}
	return false;
}

enum opt { OPT_UID = 1, OPT_GID, OPT_SEG, OPT_MIRROR, OPT_CTL, OPT_XSK, OPT_VI, OPT_BELLS,
	   OPT_RING, OPT_PID, OPT_STACK, OPT_WATCHDOG, OPT_FRONT, OPT_PIPE, OPT_DIR, OPT_HELP };

static const struct option options[] = {
	{ "uid", required_argument, NULL, OPT_UID },	{ "gid", required_argument, NULL, OPT_GID },
	{ "seg", required_argument, NULL, OPT_SEG },	{ "mirror", required_argument, NULL, OPT_MIRROR },
	{ "ctl", required_argument, NULL, OPT_CTL },	{ "xsk", required_argument, NULL, OPT_XSK },
	{ "vi", required_argument, NULL, OPT_VI },	{ "bells", required_argument, NULL, OPT_BELLS },
	{ "ring", required_argument, NULL, OPT_RING },	{ "pid", required_argument, NULL, OPT_PID },
	{ "stack", required_argument, NULL, OPT_STACK },
	{ "watchdog", required_argument, NULL, OPT_WATCHDOG },
	{ "front", required_argument, NULL, OPT_FRONT }, { "pipe", required_argument, NULL, OPT_PIPE },
	{ "dir-slot", required_argument, NULL, OPT_DIR },
	{ "help", no_argument, NULL, OPT_HELP },	{ NULL, 0, NULL, 0 },
};

static bool take_option(struct args *a, int opt, const char *v, uint32_t *n_vi)
{
	struct plumbing *p = &a->p;

	switch (opt) {
	case OPT_UID:	return a->has_uid = whole_number(v, UINT32_MAX - 1, &a->uid);
	case OPT_GID:	return a->has_gid = whole_number(v, UINT32_MAX - 1, &a->gid);
	case OPT_SEG:	return one_fd(v, false, &p->seg_fd);
	case OPT_MIRROR: return one_fd(v, false, &p->mirror_fd);
	case OPT_CTL:	return one_fd(v, true, &p->ctl_fd);
	case OPT_XSK:	return fd_list(v, N_VIS, p->xsk_fd, &p->n_vis);
	case OPT_VI:	return vi_list(v, p, n_vi);
	case OPT_BELLS:	return fd_list(v, N_WAITERS, p->bell_fd, &p->n_bells);
	case OPT_RING:	return whole_number(v, N_RING, &p->ring_slots);
	case OPT_PID:	return whole_number(v, INT32_MAX, &a->conf.app_pid);
	case OPT_STACK:	return whole_number(v, UINT32_MAX, &p->stack_id);
	case OPT_FRONT:	return one_fd(v, false, &p->front_fd);
	case OPT_PIPE:	return one_fd(v, false, &p->pipe_fd);
	case OPT_DIR:	return whole_number(v, N_DIR_STACKS - 1, &p->dir_slot);
	case OPT_WATCHDOG: return whole_number(v, 60000, &a->conf.watchdog_ms);
	default:	return false;
	}
}

static bool parse(struct args *a, int argc, char **argv)
{
	uint32_t n_vi = 0;
	int opt;

	memset(a, 0, sizeof(*a));
	a->p.seg_fd = a->p.mirror_fd = a->p.ctl_fd = a->p.front_fd = a->p.pipe_fd = -1;
	opterr = 0;
	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == OPT_HELP) {
			(void)!write(STDOUT_FILENO, usage, sizeof(usage) - 1);
			exit(EXIT_DONE);
		}
		if (!take_option(a, opt, optarg, &n_vi))
			return false;
	}
	/* Never root by omission. */
	return optind == argc && a->p.seg_fd >= 0 && a->p.mirror_fd >= 0 && n_vi == a->p.n_vis &&
	       a->conf.app_pid && a->has_uid && a->has_gid;
}

/* ---- close_rest ---------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return x < y ? -1 : x > y;
}

/* Shuts every descriptor from 3 up that is not listed. Listed twice, or below 3: false. */
static bool close_all_but(int *keep, size_t n)
{
	unsigned next = 3;

	qsort(keep, n, sizeof(*keep), by_number);
	for (size_t i = 0; i < n; i++) {
		if (keep[i] < 0)
			continue;
		if ((unsigned)keep[i] < next)
			return false;
		if ((unsigned)keep[i] > next && sys_close_range(next, (unsigned)keep[i] - 1, 0) < 0)
			return false;
		next = (unsigned)keep[i] + 1;
	}
	return sys_close_range(next, ~0u, 0) == 0;
}

static bool close_rest(const struct plumbing *p)
{
	int keep[5 + N_VIS + N_WAITERS];
	int null = open("/dev/null", O_RDWR);
	size_t n = 0;

	if (null < 0)
		return false;
	for (int fd = 0; fd <= 2; fd++)
		if (fd != null && dup2(null, fd) < 0)
			return false;
	keep[n++] = p->seg_fd;
	keep[n++] = p->mirror_fd;
	keep[n++] = p->ctl_fd;
	keep[n++] = p->front_fd;
	keep[n++] = p->pipe_fd;
	for (uint32_t i = 0; i < p->n_vis; i++)
		keep[n++] = p->xsk_fd[i];
	for (uint32_t i = 0; i < p->n_bells; i++)
		keep[n++] = p->bell_fd[i];
	return close_all_but(keep, n);
}

/* ---- drop ------------------------------------------------------------------------------------------ */

static bool drop_capabilities(void)
{
	struct __user_cap_header_struct head = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[2] = { { 0, 0, 0 }, { 0, 0, 0 } };

	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) == 0 &&
	       SYS2(SYS_capset, &head, none) == 0;
}

static void drop_bounding_set(void)
{
	/* Past the kernel's last capability, and without CAP_SETPCAP, this is refused: an agent
	 * without privilege has none to pass on. */
	for (unsigned long cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
			break;
}

/* An agent of one's own has no other identity to give, and may not change groups. */
static bool drop(const struct args *a)
{
	bool is_it = geteuid() == a->uid && getegid() == a->gid;

	if (geteuid() == 0) {
		drop_bounding_set();
		if ((setgroups(0, NULL) && !is_it) || setresgid(a->gid, a->gid, a->gid) ||
		    setresuid(a->uid, a->uid, a->uid))
			return false;
	} else if (!is_it) {
		return false;
	}
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && drop_capabilities() &&
	       prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
}

/*
 * True when the program's process ids are numbers of another namespace: its status then
 * lists more than one (proc(5), NSpid). An unreadable status is taken for that, too.
 */
static bool has_foreign_pids(uint32_t pid)
{
	char path[32], line[256];
	bool foreign = true;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/status", pid);
	f = fopen(path, "re");
	if (!f)
		return true;
	while (fgets(line, sizeof(line), f)) {
		if (strncmp(line, "NSpid:", 6) != 0)
			continue;
		foreign = strchr(line + 6, '\t') != strrchr(line, '\t');
		break;
	}
	fclose(f);
	return foreign;
}

/* ---- confine ----------------------------------------------------------------------------------------- */

/*
 * What it does from now on: reads and writes descriptors it has, polls, talks to the agent and
 * maps the pairs that it gets from there, watches processes. Anything else fails with EPERM rather
 * than kills: the connections it keeps are worth more than a clear end, and a refused call does no
 * harm.
 */
static bool confine(void)
{
	static const int allowed[] = {
		SCMP_SYS(read), SCMP_SYS(write), SCMP_SYS(close), SCMP_SYS(ppoll),
		SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(recvmsg), SCMP_SYS(recvfrom),
		SCMP_SYS(futex), SCMP_SYS(clock_gettime), SCMP_SYS(restart_syscall),
		SCMP_SYS(pidfd_open), SCMP_SYS(getpid), SCMP_SYS(gettid), SCMP_SYS(getuid),
		SCMP_SYS(rt_sigreturn), SCMP_SYS(rt_sigprocmask), SCMP_SYS(munmap),
		SCMP_SYS(exit), SCMP_SYS(exit_group), SCMP_SYS(fstat), SCMP_SYS(dup3),
		SCMP_SYS(fcntl), SCMP_SYS(madvise),
	};
	scmp_filter_ctx ctx = seccomp_init(SCMP_ACT_ERRNO(EPERM));
	bool ok = ctx != NULL;

	for (size_t i = 0; ok && i < n_elems(allowed); i++)
		ok = seccomp_rule_add(ctx, SCMP_ACT_ALLOW, allowed[i], 0) == 0;
	/* "Is it alive?", and abort() of itself; no other signal to anybody. */
	ok = ok && seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(kill), 1,
				    SCMP_A1(SCMP_CMP_EQ, 0, 0)) == 0 &&
	     seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			      SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0)) == 0 &&
	     /* Pairs of apertures are mapped as they come; never as code. */
	     seccomp_rule_add(ctx, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1,
			      SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0)) == 0 &&
	     seccomp_load(ctx) == 0;
	if (ctx)
		seccomp_release(ctx);
	return ok;
}

/* ---- main ------------------------------------------------------------------------------------------------ */

static _Atomic int stop;

static void on_stop(int sig)
{
	(void)sig;
	/* relaxed: read by this very thread, after ppoll() */
	atomic_store_explicit(&stop, 1, memory_order_relaxed);
}

/* Stop signals come only while it sleeps (G3): blocked here, let in by ppoll(). */
static bool arm_signals(sigset_t *ret_asleep)
{
	struct sigaction sa = { .sa_handler = on_stop };
	sigset_t stops;

	sigemptyset(&stops);
	sigaddset(&stops, SIGTERM);
	sigaddset(&stops, SIGINT);
	sigaddset(&stops, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &stops, ret_asleep))
		return false;
	sigdelset(ret_asleep, SIGTERM);
	sigdelset(ret_asleep, SIGINT);
	sigdelset(ret_asleep, SIGHUP);
	return sigaction(SIGTERM, &sa, NULL) == 0 && sigaction(SIGINT, &sa, NULL) == 0 &&
	       sigaction(SIGHUP, &sa, NULL) == 0;
}

int main(int argc, char **argv)
{
	static struct exec x;
	struct args a;
	sigset_t asleep;
	char name[16];

	if (!parse(&a, argc, argv)) {
		(void)!write(STDERR_FILENO, "onramp-surrogate: see --help\n", 29);
		return EXIT_USAGE;
	}
	/* Not to be stopped by the terminal of whoever started the agent. */
	(void)setsid();
	snprintf(name, sizeof(name), "onramp-sur/%u", a.p.stack_id);
	prctl(PR_SET_NAME, name, 0, 0, 0);
	a.conf.foreign_pids = has_foreign_pids(a.conf.app_pid);
	if (!close_rest(&a.p) || !drop(&a) || !arm_signals(&asleep))
		return EXIT_DROP;
	if (exec_map(&x, &a.p, EXEC_SURROGATE) != 0)
		return EXIT_MAP;
	if (!confine())
		return EXIT_CONFINE;
	a.conf.stop = (const int *)&stop;
	a.conf.sleep_mask = &asleep;
	/* What libc or a sanitizer would do at exit is not allowed any more: straight out. */
	(void)SYS1(SYS_exit_group, exec_surrogate(&x, &a.conf) == 0 ? EXIT_DONE : EXIT_FAILURE);
	return EXIT_FAILURE;
}
