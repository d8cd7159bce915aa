// SPDX-License-Identifier: BSD-2-Clause
/*
 * onrampd: one per network namespace, or, with --user, one for each user besides (own.c), which
 * has no privilege and serves traffic within the host only. It starts in stages, each of which gives something up
 * or makes something known; afterwards it is one thread in one loop that blocks nowhere else
 * than in epoll_wait().
 *
 *   options    what was asked
 *   limits     descriptors for ports and clients
 *   name       the abstract socket: only one agent gets it (EADDRINUSE: there is one);
 *              --user: a socket in the user's runtime directory
 *   signals    become readable
 *   programs   VF programs and maps into the kernel
 *   keeper     forks the process that keeps all privileges; it clears an old agent's programs
 *   devices    an old agent's VFs removed
 *   mirror     netlink read
 *   apertures  what rings the pipes of stacks
 *   privileges dropped
 *   listen     now clients are heard; ready is said
 *
 * With --user there are no programs, no keeper and no devices.
 *
 * It leaves nothing behind: SIGTERM, SIGINT and CTL_SHUTDOWN undo all of it in reverse.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <libmnl/libmnl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/must.h"
#include "base/version.h"
#include "host/host.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif
#define N_EVENTS_AT_ONCE 64
#define QUIET_MS 3		/* nobody asks anything: time for work that is not urgent */
#define LAPSE_NS	(2 * NS_PER_S)	/* a surrogate tells within milliseconds; more than the machine is ever busy */

static struct agent agent;

/* Marks of what epoll reports, where it is not a client. */
static char mark_listen, mark_signal, mark_news;

void agt_log(const char *fmt, ...)
{
	char line[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "onrampd: %s\n", line);
}

noreturn_fn cold_fn void onramp_panic(const char *file, int line, const char *what)
{
	agt_log("%s:%d: not true: %s", file, line, what);
	abort();
}

static const char usage[] =
	"usage: onrampd [-v] [--user] [--ready-fd N]\n"
	"\n"
	"The agent of this network namespace: gives programs under `onramp run` their stacks,\n"
	"keeps their rights to ports, and mirrors routes and neighbours to them. Runs in the\n"
	"foreground, as root; `onramp attach` talks to it. SIGTERM removes all it made.\n"
	"\n"
	"  --user         your own agent, without privilege, for traffic within this host only;\n"
	"                 `onramp run` starts it where there is none, and it ends by itself\n"
	"  --ready-fd N   writes a line to descriptor N when clients are heard, then closes it\n"
	"  -v, --verbose  says what is attached and which stacks end\n"
	"  -h, --help     this text\n"
	"  -V, --version  the version\n"
	"\n"
	"See onrampd(8).\n";

static int stage_options(struct agent *a, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "ready-fd", required_argument, NULL, 'r' }, { "verbose", no_argument, NULL, 'v' },
		{ "user", no_argument, NULL, 'u' }, { "program-fd", required_argument, NULL, 'p' },
		{ "help", no_argument, NULL, 'h' }, { "version", no_argument, NULL, 'V' }, { 0 },
	};
	char *end;
	int c;

	while ((c = getopt_long(argc, argv, "vhV", longs, NULL)) != -1) {
		switch (c) {
		case 'r':
			a->ready_fd = (int)strtol(optarg, &end, 10);
			if (*end || !*optarg || fcntl(a->ready_fd, F_GETFD) < 0) {
				agt_log("--ready-fd %s: not an open descriptor", optarg);
				return 2;
			}
			(void)fcntl(a->ready_fd, F_SETFD, FD_CLOEXEC);
			break;
		case 'p':	/* undocumented: `onramp run` alone says it */
			a->program_fd = (int)strtol(optarg, &end, 10);
			break;
		case 'v':
			a->verbose = true;
			break;
		case 'u':
			a->own = true;
			break;
		case 'h':
			(void)fputs(usage, stdout);
			exit(0);
		case 'V':
			(void)printf("onrampd %s\n", ONRAMP_VERSION);
			exit(0);
		default:
			(void)fputs(usage, stderr);
			return 2;
		}
	}
	if (optind < argc) {
		agt_log("%s: what is that? See onrampd --help", argv[optind]);
		return 2;
	}
	return 0;
}

/* The surrogate lies beside this program: in one directory, or in libexec of an installation. */
static void find_surrogate(struct agent *a)
{
	static const char *const places[] = { "/onramp-surrogate", "/../lib/onramp/onramp-surrogate",
					      "/../libexec/onramp/onramp-surrogate" };
	char self[sizeof(a->surrogate) - 48];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	size_t i;

	self[n > 0 ? n : 0] = 0;
	if (strrchr(self, '/'))
		*strrchr(self, '/') = 0;
	for (i = 0; i < n_elems(places); i++) {
		(void)snprintf(a->surrogate, sizeof(a->surrogate), "%s%s", self, places[i]);
		if (!access(a->surrogate, X_OK))
			return;
	}
	agt_log("onramp-surrogate is not beside this program: stacks end with their programs");
}

static int stage_name(struct agent *a)
{
	struct sockaddr_storage unused_arg none;
	socklen_t n = sizeof(a->netns_cookie);
	int err = ctl_open(a);

	if (err == -EADDRINUSE && a->own)
		agt_log("another agent of yours runs in this network namespace");
	else if (err == -EADDRINUSE)
		agt_log("another agent runs in this network namespace (@%s is taken)", CTL_NAME);
	if (!err && getsockopt(a->listen_fd, SOL_SOCKET, SO_NETNS_COOKIE, &a->netns_cookie, &n)) {
		/* Unix sockets answer too from Linux 5.14; asked of an IPv4 one otherwise. */
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		n = sizeof(a->netns_cookie);
		if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &a->netns_cookie, &n))
			err = -errno;
		if (fd >= 0)
			(void)close(fd);
	}
	return err;
}

static int watch(struct agent *a, int fd, void *mark)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = mark };

	return epoll_ctl(a->epfd, EPOLL_CTL_ADD, fd, &ev) ? -errno : 0;
}

static int stage_signals(struct agent *a)
{
	sigset_t set;

	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGTERM);
	(void)sigaddset(&set, SIGINT);
	(void)sigaddset(&set, SIGHUP);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	(void)signal(SIGPIPE, SIG_IGN);
	a->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	a->epfd = epoll_create1(EPOLL_CLOEXEC);
	if (a->signal_fd < 0 || a->epfd < 0)
		return -errno;
	return watch(a, a->signal_fd, &mark_signal);
}

static int stage_devices(struct agent *a)
{
	int err = nl_open(a);

	if (!err && !a->own)
		vf_clean_stale(a);
	return err;
}

static int stage_mirror(struct agent *a)
{
	int err = mirror_open(a);

	return err ? err : watch(a, mnl_socket_get_fd(a->events), &mark_news);
}

static int stage_listen(struct agent *a)
{
	if (listen(a->listen_fd, 64))
		return -errno;
	return watch(a, a->listen_fd, &mark_listen);
}

static int stage_limits(struct agent *a) { (void)a; return privilege_limits(); }
static int stage_privileges(struct agent *a) { return privilege_drop(!a->own); }
static int stage_programs(struct agent *a) { return a->own ? 0 : filter_open(a); }
static int stage_keeper(struct agent *a) { return a->own ? 0 : keeper_start(a); }

static const struct stage {
	const char *name;
	int (*enter)(struct agent *a);
} stages[] = {
	{ "limits", stage_limits }, { "name", stage_name }, { "signals", stage_signals },
	{ "programs", stage_programs }, { "keeper", stage_keeper }, { "devices", stage_devices },
	{ "mirror", stage_mirror }, { "apertures", pair_open }, { "privileges", stage_privileges },
	{ "listen", stage_listen },
};

static int start(struct agent *a)
{
	size_t i;
	int err;

	for (i = 0; i < n_elems(stages); i++) {
		err = stages[i].enter(a);
		if (!err)
			continue;
		if (err != -EADDRINUSE)
			agt_log("cannot start: %s: %s", stages[i].name, strerror(-err));
		return err;
	}
	if (a->own)
		own_meet(a, a->program_fd, -1);
	if (a->ready_fd >= 0) {
		if (write(a->ready_fd, "ready\n", 6) != 6)
			agt_log("nobody reads --ready-fd");
		(void)close(a->ready_fd);
		a->ready_fd = -1;
	}
	return 0;
}

static void on_signal(struct agent *a)
{
	struct signalfd_siginfo si;

	while (read(a->signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGINT)
			a->stop = true;
	child_reap(a);
}

/* What is owed but not urgent. True: there is more, so do not sleep. */
static bool background(struct agent *a, bool idle)
{
	uint32_t i;
	int err;

	for (i = 1; i <= N_SLOTS; i++) {
		struct stack *s = &a->stacks[i];

		if (s->state != STACK_LIVE || !s->wants_child)
			continue;
		err = child_spawn(a, s);
		if (err && a->verbose)
			agt_log("stack %u has no surrogate: %s", s->id, strerror(-err));
		return true;
	}
	if (!idle)
		return true;
	return ports_work() || kit_work(a);
}

/* Leases of stacks without programs that no surrogate gave back in time (lease.c E5). */
static void lapse(struct agent *a)
{
	uint64_t now = host_now();
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++) {
		struct stack *s = &a->stacks[i];

		if (s->state == STACK_LIVE && s->orphaned_at && s->n_leases &&
		    now - s->orphaned_at > LAPSE_NS)
			lease_lapse(a, s);
	}
}

static int sleep_ms(const struct agent *a)
{
	uint64_t now = host_now();
	int ms = mirror_timeout();
	uint32_t i;

	if (a->n_waiting)
		return QUIET_MS;
	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].orphaned_at && a->stacks[i].n_leases && (ms < 0 || ms > 1000))
			ms = 1000;

	if (a->refill_at > now && (ms < 0 || ms > 1000))
		ms = (int)((a->refill_at - now) / NS_PER_MS) + 1;
	if (lease_look_ms() >= 0 && (ms < 0 || ms > lease_look_ms()))
		ms = lease_look_ms();
	if (a->own && own_timeout(a) >= 0 && (ms < 0 || ms > own_timeout(a)))
		ms = own_timeout(a);
	return ms;
}

/* A program that has just got its stack asks more: it comes before the next one's stack. */
static int busy_ms(struct agent *a)
{
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].wants_child)
			return 0;
	return kit_urgent(a) ? 0 : QUIET_MS;
}

static void run(struct agent *a)
{
	struct epoll_event ev[N_EVENTS_AT_ONCE];
	bool busy = true;
	int i, n;

	while (!a->stop) {
		n = epoll_wait(a->epfd, ev, N_EVENTS_AT_ONCE, busy ? busy_ms(a) : sleep_ms(a));
		for (i = 0; i < n; i++) {
			struct client *c = ev[i].data.ptr;

			if (ev[i].data.ptr == &mark_listen)
				ctl_accept(a);
			else if (ev[i].data.ptr == &mark_signal)
				on_signal(a);
			else if (ev[i].data.ptr == &mark_news)
				mirror_event(a);
			else if (own_mark(a, ev[i].data.ptr))
				own_gone(a, ev[i].data.ptr);
			else if (c->fd >= 0)
				ctl_input(a, c);
		}
		mirror_settle(a);
		lapse(a);
		lease_look(a);
		ctl_retry(a);
		if (a->own)
			own_settle(a);
		busy = background(a, n == 0);
	}
}

static void stop(struct agent *a)
{
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++)
		stack_end(a, &a->stacks[i]);
	if (a->mirror)
		for (i = 0; i < N_VIS; i++)
			if (a->nics[i].live)
				link_detach_nic(a, &a->nics[i]);
	ports_close();
	keeper_stop(a);
	if (a->listen_fd >= 0)
		ctl_close(a);
	if (a->mirror)
		mirror_close(a);
	pair_close(a);
	nl_close(a);
	if (a->bpf)
		filter_close(a);
}

int main(int argc, char **argv)
{
	struct agent *a = &agent;
	int err;

	a->listen_fd = a->keeper_fd = a->ready_fd = a->mirror_fd = a->epfd = a->signal_fd = -1;
	a->ringer = a->program_fd = -1;
	err = stage_options(a, argc, argv);
	if (err)
		return err;
	if (geteuid() != 0 && !a->own) {
		agt_log("must run as root: it makes devices and loads XDP programs. Or: onrampd --user");
		return 1;
	}
	find_surrogate(a);
	err = start(a);
	if (!err)
		run(a);
	else if (err == -EADDRINUSE && a->own)
		own_hand_over(a->program_fd);
	stop(a);
	return err ? 1 : 0;
}
