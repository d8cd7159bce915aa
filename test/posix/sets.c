/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What epoll answers: one line per behaviour. Sets in sets, one socket in several sets, sets shared by
 * threads and over fork, changes while somebody waits, closing what is registered, one-shot and
 * exclusive registrations, what each event means and when it goes, timeouts and signal masks.
 */
#include "case.h"

#include <sys/eventfd.h>

#define MS 1000

static int add(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
}

static int mod(int ep, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event e = { .events = events, .data.u64 = data };

	return epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
}

/* "n: events/data ..." of one wait, sorted by data. */
static const char *waits(int ep, int ms)
{
	static char text[4][256];
	static int turn;
	struct epoll_event e[8], x;
	char *p = text[turn = (turn + 1) % 4], *at = p;
	int n = epoll_wait(ep, e, 8, ms);

	if (n < 0)
		return strerrorname_np(errno);
	for (int i = 0; i < n; i++)
		for (int j = i + 1; j < n; j++)
			if (e[j].data.u64 < e[i].data.u64) {
				x = e[i];
				e[i] = e[j];
				e[j] = x;
			}
	at += sprintf(at, "%d", n);
	for (int i = 0; i < n; i++)
		at += sprintf(at, "%s%x/%llu", i ? " " : ": ", e[i].events, (unsigned long long)e[i].data.u64);
	return p;
}

static void ask(int fd, const char *what) { (void)!write(fd, what, strlen(what)); }

static void eat(int fd)
{
	char buf[256];

	(void)!recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
}

/* An echo connection on which "hi" has come back. */
static int with_data(void)
{
	int fd = dial("ECHO");

	ask(fd, "hi");
	wait_in(fd);
	return fd;
}

/* ---- sets in sets --------------------------------------------------------------------------- */

static void t_nested(void)
{
	int fd = dial("ECHO"), in = epoll_create1(0), out = epoll_create1(0);
	struct pollfd p = { .fd = out, .events = POLLIN | POLLOUT };

	add(in, fd, EPOLLIN, 1);
	printf("nested_add: %s\n", en(add(out, in, EPOLLIN, 2)));
	printf("nested_quiet: %s %d\n", waits(out, 0), poll(&p, 1, 0));
	ask(fd, "hi");
	printf("nested_ready: %s\n", waits(out, 5 * MS));
	printf("nested_level: %s", waits(out, 0));
	printf(" then inner %s\n", waits(in, 0));
	printf("nested_poll: %d", poll(&p, 1, 0));
	printf(" %x\n", p.revents);
	eat(fd);
	printf("nested_drained: %s\n", waits(out, 0));
	printf("nested_poll_drained: %d\n", poll(&p, 1, 0));
	printf("nested_mod: %s\n", en(mod(out, in, EPOLLIN, 3)));
	ask(fd, "ho");
	printf("nested_mod_ready: %s\n", waits(out, 5 * MS));
	printf("nested_del: %s\n", en(epoll_ctl(out, EPOLL_CTL_DEL, in, NULL)));
	printf("nested_gone: %s", waits(out, 0));
	printf(", inner %s\n", waits(in, 0));
	close(fd);
	close(in);
	close(out);
}

static void t_nested_before(void)
{
	int fd, in = epoll_create1(0), out = epoll_create1(0), efd = eventfd(0, 0);
	uint64_t one = 1;

	add(out, in, EPOLLIN, 2);
	add(in, efd, EPOLLIN, 9);
	printf("nested_before_any: %s\n", waits(out, 0));
	fd = dial("ECHO");
	add(in, fd, EPOLLIN, 1);
	ask(fd, "hi");
	printf("nested_filled_later: %s", waits(out, 5 * MS));
	printf(" inner %s\n", waits(in, 0));
	eat(fd);
	(void)!write(efd, &one, 8);
	printf("nested_kernel_member: %s", waits(out, 5 * MS));
	printf(" inner %s\n", waits(in, 0));
	ask(fd, "hi");
	wait_in(fd);
	printf("nested_both_members: %s", waits(out, 5 * MS));
	printf(" inner %s\n", waits(in, 0));
	close(in);
	printf("nested_inner_closed: %s\n", waits(out, 0));
	close(fd);
	close(efd);
	close(out);
}

static void t_nested_edge(void)
{
	int fd = dial("ECHO"), in = epoll_create1(0), out = epoll_create1(0);

	add(in, fd, EPOLLIN, 1);
	add(out, in, EPOLLIN | EPOLLET, 2);
	ask(fd, "hi");
	printf("nested_edge: %s", waits(out, 5 * MS));
	printf(" again %s\n", waits(out, 0));
	ask(fd, "ho");
	printf("nested_edge_next: %s\n", waits(out, 5 * MS));
	mod(out, in, EPOLLIN | EPOLLONESHOT, 3);
	printf("nested_oneshot: %s", waits(out, 5 * MS));
	printf(" again %s\n", waits(out, 0));
	ask(fd, "hu");
	printf("nested_oneshot_spent: %s\n", waits(out, 100));
	mod(out, in, EPOLLIN | EPOLLONESHOT, 4);
	printf("nested_oneshot_rearmed: %s\n", waits(out, 0));
	close(fd);
	close(in);
	close(out);
}

static void t_nested_deep(void)
{
	int fd = with_data(), ep[7], i;

	for (i = 0; i < 7; i++)
		ep[i] = epoll_create1(0);
	add(ep[0], fd, EPOLLIN, 100);
	printf("nested_deep_add:");
	for (i = 1; i < 7; i++)
		printf(" %s", en(add(ep[i], ep[i - 1], EPOLLIN, (uint64_t)i)));
	printf("\n");
	for (i = 0; i < 5; i++)
		printf("nested_depth_%d: %s\n", i, waits(ep[i], 0));
	printf("nested_self: %s\n", en(add(ep[6], ep[6], EPOLLIN, 0)));
	printf("nested_cycle: %s\n", en(add(ep[0], ep[2], EPOLLIN, 0)));
	printf("nested_exclusive: %s\n", en(add(ep[6], ep[0], EPOLLIN | EPOLLEXCLUSIVE, 0)));
	for (i = 0; i < 7; i++)
		close(ep[i]);
	close(fd);
}

static void *waits_later(void *arg)
{
	struct epoll_event e;
	int n = epoll_wait(*(int *)arg, &e, 1, 5000);

	return (void *)(intptr_t)(n == 1 ? (int)e.data.u64 : -1);
}

static void t_nested_wakes(void)
{
	int fd = dial("ECHO"), in = epoll_create1(0), out = epoll_create1(0);
	pthread_t th;
	void *got;

	add(in, fd, EPOLLIN, 1);
	add(out, in, EPOLLIN, 7);
	pthread_create(&th, NULL, waits_later, &out);
	usleep(50000);
	ask(fd, "hi");
	pthread_join(th, &got);
	printf("nested_wakes_sleeper: %d\n", (int)(intptr_t)got);
	close(fd);
	close(in);
	close(out);
}

/* ---- changes while somebody waits ------------------------------------------------------------- */

static void t_while_waiting(void)
{
	int fd, ep = epoll_create1(0), efd = eventfd(0, 0);
	pthread_t th;
	void *got;

	add(ep, efd, EPOLLIN, 9);
	pthread_create(&th, NULL, waits_later, &ep);
	usleep(100000);
	fd = with_data();
	add(ep, fd, EPOLLIN, 5);
	pthread_join(th, &got);
	printf("add_while_waiting: %d\n", (int)(intptr_t)got);
	printf("add_while_waiting_after: %s\n", waits(ep, 0));
	mod(ep, fd, 0, 5);
	pthread_create(&th, NULL, waits_later, &ep);
	usleep(50000);
	mod(ep, fd, EPOLLIN, 6);
	pthread_join(th, &got);
	printf("mod_while_waiting: %d\n", (int)(intptr_t)got);
	close(fd);
	close(ep);
	close(efd);
}

static void t_two_waiters(void)
{
	int ep = epoll_create1(0), efd = eventfd(0, 0), a, b;
	uint64_t one = 1;
	pthread_t th[2];
	void *got[2];

	add(ep, efd, EPOLLIN | EPOLLET, 9);
	pthread_create(&th[0], NULL, waits_later, &ep);
	pthread_create(&th[1], NULL, waits_later, &ep);
	usleep(100000);
	a = with_data();
	b = with_data();
	add(ep, a, EPOLLIN | EPOLLONESHOT, 5);
	add(ep, b, EPOLLIN | EPOLLONESHOT, 5);
	pthread_join(th[0], &got[0]);
	pthread_join(th[1], &got[1]);
	printf("two_asleep_two_events: %d %d\n", (int)(intptr_t)got[0], (int)(intptr_t)got[1]);
	(void)!write(efd, &one, 8);
	printf("two_asleep_kernel_after: %s\n", waits(ep, 1000));
	close(a);
	close(b);
	close(ep);
	close(efd);
}

/* ---- registration ----------------------------------------------------------------------------------- */

static void t_register(void)
{
	int fd = dial("ECHO"), ep = epoll_create1(0), twin, gone;
	struct epoll_event e = { .events = EPOLLIN };

	printf("add: %s\n", en(add(ep, fd, EPOLLIN, 1)));
	printf("add_twice: %s\n", en(add(ep, fd, EPOLLIN, 1)));
	twin = dup(fd);
	printf("add_dup: %s\n", en(add(ep, twin, EPOLLIN, 2)));
	ask(fd, "hi");
	wait_in(fd);
	printf("dup_both_report: %s\n", waits(ep, 1000));
	close(fd);
	printf("dup_one_closed: %s\n", waits(ep, 0));
	printf("dup_del_closed: %s\n", en(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL)));
	printf("dup_del_other: %s\n", en(epoll_ctl(ep, EPOLL_CTL_DEL, twin, NULL)));
	printf("dup_left: %s\n", waits(ep, 0));
	close(twin);
	printf("dup_all_closed: %s\n", waits(ep, 0));
	fd = dial("ECHO");
	printf("mod_absent: %s\n", en(mod(ep, fd, EPOLLIN, 1)));
	printf("del_absent: %s\n", en(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL)));
	printf("ctl_bad_op: %s\n", en(epoll_ctl(ep, 99, fd, &e)));
	printf("ctl_no_event: %s\n", en(epoll_ctl(ep, EPOLL_CTL_ADD, fd, NULL)));
	printf("ctl_not_a_set: %s\n", en(epoll_ctl(fd, EPOLL_CTL_ADD, ep, &e)));
	printf("exclusive_oneshot: %s\n", en(add(ep, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 0)));
	printf("exclusive_rdhup: %s\n", en(add(ep, fd, EPOLLIN | EPOLLEXCLUSIVE | EPOLLRDHUP, 0)));
	printf("exclusive_add: %s\n", en(add(ep, fd, EPOLLIN | EPOLLEXCLUSIVE, 0)));
	printf("exclusive_mod: %s\n", en(mod(ep, fd, EPOLLIN, 0)));
	printf("exclusive_del: %s\n", en(epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL)));
	printf("add_then_exclusive: %s", en(add(ep, fd, EPOLLIN, 0)));
	printf(" %s\n", en(mod(ep, fd, EPOLLIN | EPOLLEXCLUSIVE, 0)));
	gone = fd;
	close(fd);
	printf("ctl_closed: %s\n", en(add(ep, gone, EPOLLIN, 0)));
	close(ep);
	printf("ctl_set_closed: %s\n", en(add(ep, 0, EPOLLIN, 0)));
}

static void t_arguments(void)
{
	int fd = with_data(), ep = epoll_create1(0);
	struct epoll_event e[2];
	volatile int minus = -1;

	add(ep, fd, EPOLLIN, 1);
	printf("wait_max_0: %s\n", en(epoll_wait(ep, e, 0, 0)));
	printf("wait_max_negative: %s\n", en(epoll_wait(ep, e, minus, 0)));
	printf("wait_not_a_set: %s\n", en(epoll_wait(fd, e, 1, 0)));
	printf("create_0: %s\n", en(epoll_create(0)));
	printf("create1_bad_flag: %s\n", en(epoll_create1(1)));
	close(fd);
	close(ep);
	printf("wait_closed: %s\n", en(epoll_wait(ep, e, 1, 0)));
}

static void t_many_sets(void)
{
	int fd = dial("ECHO"), a = epoll_create1(0), b = epoll_create1(0);

	add(a, fd, EPOLLIN, 1);
	add(b, fd, EPOLLIN | EPOLLET, 2);
	ask(fd, "hi");
	printf("two_sets: %s", waits(a, 5 * MS));
	printf(" and %s\n", waits(b, 5 * MS));
	printf("two_sets_again: %s", waits(a, 0));
	printf(" and %s\n", waits(b, 0));
	close(a);
	ask(fd, "ho");
	printf("two_sets_one_closed: %s\n", waits(b, 5 * MS));
	close(b);
	close(fd);
}

/* ---- what events mean --------------------------------------------------------------------------------- */

static void t_events(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0);
	uint32_t all = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLPRI;

	add(ep, fd, all, 1);
	printf("fresh_socket: %s\n", waits(ep, 0));
	(void)!connect(fd, (void *)&peer, peer_n);
	mod(ep, fd, EPOLLOUT, 1);
	printf("connected: %s\n", waits(ep, 5 * MS));
	mod(ep, fd, all, 1);
	ask(fd, "ECHO\nhi");
	wait_in(fd);
	printf("data: %s\n", waits(ep, 5 * MS));
	mod(ep, fd, EPOLLRDNORM | EPOLLWRNORM, 1);
	printf("data_by_other_names: %s\n", waits(ep, 0));
	mod(ep, fd, 0, 1);
	printf("asked_for_nothing: %s\n", waits(ep, 0));
	mod(ep, fd, all, 1);
	shutdown(fd, SHUT_RD);
	printf("shut_rd: %s\n", waits(ep, 0));
	shutdown(fd, SHUT_WR);
	printf("shut_both: %s\n", waits(ep, 5 * MS));
	close(fd);
	fd = dial("HALF bye");
	add(ep, fd, all, 2);
	wait_in(fd);
	usleep(50000);
	printf("peer_shut: %s\n", waits(ep, 5 * MS));
	eat(fd);
	printf("peer_shut_drained: %s\n", waits(ep, 0));
	mod(ep, fd, EPOLLRDHUP, 2);
	printf("rdhup_alone: %s\n", waits(ep, 0));
	close(fd);
	fd = dial("RESET");
	add(ep, fd, all, 3);
	usleep(100000);
	printf("reset: %s\n", waits(ep, 5 * MS));
	mod(ep, fd, 0, 3);
	printf("reset_unasked: %s\n", waits(ep, 0));
	close(fd);
	fd = dial("OOB x");
	add(ep, fd, EPOLLPRI, 4);
	printf("urgent: %s\n", waits(ep, 5 * MS));
	close(fd);
	close(ep);
}

static void t_edges(void)
{
	int fd = dial("ECHO"), ep = epoll_create1(0);
	char c;

	add(ep, fd, EPOLLIN | EPOLLOUT | EPOLLET, 1);
	printf("edge_first: %s\n", waits(ep, 5 * MS));
	printf("edge_none: %s\n", waits(ep, 50));
	ask(fd, "ab");
	wait_in(fd);
	usleep(30000);
	printf("edge_data: %s\n", waits(ep, 5 * MS));
	(void)!read(fd, &c, 1);
	printf("edge_partly_read: %s\n", waits(ep, 50));
	mod(ep, fd, EPOLLIN | EPOLLET, 2);
	printf("edge_mod_reports_again: %s\n", waits(ep, 50));
	ask(fd, "c");
	usleep(50000);
	printf("edge_more: %s\n", waits(ep, 5 * MS));
	mod(ep, fd, EPOLLIN | EPOLLONESHOT, 3);
	printf("oneshot: %s\n", waits(ep, 50));
	ask(fd, "d");
	usleep(50000);
	printf("oneshot_spent: %s\n", waits(ep, 50));
	mod(ep, fd, EPOLLIN | EPOLLONESHOT | EPOLLET, 4);
	printf("oneshot_edge: %s", waits(ep, 50));
	printf(" then %s\n", waits(ep, 50));
	close(fd);
	close(ep);
}

/* Listeners and datagram sockets of ours are in the kernel's instance, too. */
static void t_pairs(void)
{
	int fd = socket(peer.ss_family, SOCK_DGRAM, 0), ep = epoll_create1(0);
	char buf[8];

	(void)!connect(fd, (void *)&peer, peer_n);
	printf("dgram_add: %s\n", en(add(ep, fd, EPOLLIN | EPOLLONESHOT, 1)));
	ask(fd, "one");
	printf("dgram_oneshot: %s\n", waits(ep, 5 * MS));
	ask(fd, "two");
	printf("dgram_oneshot_spent: %s\n", waits(ep, 100));
	mod(ep, fd, EPOLLIN | EPOLLOUT, 2);
	printf("dgram_mod: %s\n", waits(ep, 5 * MS));
	printf("dgram_read: %zd %zd\n", recv(fd, buf, 8, 0), recv(fd, buf, 8, 0));
	mod(ep, fd, EPOLLIN | EPOLLET, 3);
	ask(fd, "six");
	printf("dgram_edge: %s", waits(ep, 5 * MS));
	printf(" then %s\n", waits(ep, 50));
	close(fd);
	printf("dgram_closed: %s\n", waits(ep, 0));
	close(ep);
}

/* ---- time, signals, fork ----------------------------------------------------------------------------------- */

static void on_signal(int sig) { (void)sig; }

static void t_times(void)
{
	int fd = dial("ECHO"), ep = epoll_create1(0), n;
	struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
	struct itimerval it = { .it_value = { 0, 50000 } };
	struct timespec to = { 0, 30000000 }, bad = { 0, 1000000000 }, minus = { -1, 0 };
	struct epoll_event e;
	sigset_t none, alrm;
	uint64_t start;

	add(ep, fd, EPOLLIN, 1);
	start = now_ms();
	n = epoll_wait(ep, &e, 1, 40);
	printf("timeout_ms: %d %s\n", n, took(start, 40));
	start = now_ms();
	n = epoll_pwait2(ep, &e, 1, &to, NULL);
	printf("timeout_ns: %d %s\n", n, took(start, 30));
	printf("timeout_bad: %s\n", en(epoll_pwait2(ep, &e, 1, &bad, NULL)));
	printf("timeout_negative: %s\n", en(epoll_pwait2(ep, &e, 1, &minus, NULL)));
	to = (struct timespec){ 0, 1 };
	printf("timeout_1ns: %d\n", epoll_pwait2(ep, &e, 1, &to, NULL));
	to = (struct timespec){ 0, 0 };
	printf("timeout_0: %d\n", epoll_pwait2(ep, &e, 1, &to, NULL));
	sigaction(SIGALRM, &sa, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	printf("signal_ends_it_despite_restart: %s\n", en(epoll_wait(ep, &e, 1, 5000)));
	sigemptyset(&none);
	sigemptyset(&alrm);
	sigaddset(&alrm, SIGALRM);
	sigprocmask(SIG_BLOCK, &alrm, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	printf("signal_blocked: %d\n", epoll_wait(ep, &e, 1, 150));
	printf("signal_pending_let_in: %s\n", en(epoll_pwait(ep, &e, 1, 5000, &none)));
	setitimer(ITIMER_REAL, &it, NULL);
	printf("signal_let_in: %s\n", en(epoll_pwait(ep, &e, 1, 5000, &none)));
	setitimer(ITIMER_REAL, &it, NULL);
	usleep(80000);
	ask(fd, "hi");
	wait_in(fd);
	n = epoll_pwait(ep, &e, 1, 0, &none);
	printf("signal_or_event: %s\n", n == 1 || errno == EINTR ? "one of them" : "neither");
	(void)epoll_pwait(ep, &e, 1, 0, &none);
	sigprocmask(SIG_UNBLOCK, &alrm, NULL);
	sa.sa_handler = SIG_DFL;
	sigaction(SIGALRM, &sa, NULL);
	close(fd);
	close(ep);
}

static void t_fork(void)
{
	int fd = dial("ECHO"), ep = epoll_create1(0), status = -1;
	struct epoll_event e;
	pid_t pid;

	add(ep, fd, EPOLLIN, 11);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int n = epoll_wait(ep, &e, 1, 5000);

		eat(fd);
		_exit(n == 1 && e.data.u64 == 11 ? 0 : 1);
	}
	usleep(50000);
	ask(fd, "hi");
	waitpid(pid, &status, 0);
	printf("fork_child_waits: %d\n", WEXITSTATUS(status));
	printf("fork_parent_after: %s\n", waits(ep, 0));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		mod(ep, fd, EPOLLIN, 12);	/* the set is one and the same */
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ask(fd, "ho");
	printf("fork_child_changes: %s\n", waits(ep, 5 * MS));
	close(fd);
	close(ep);
}

static const struct one_case cases[] = {
	{ "nested", t_nested }, { "nested_before", t_nested_before }, { "nested_edge", t_nested_edge },
	{ "nested_deep", t_nested_deep }, { "nested_wakes", t_nested_wakes },
	{ "while_waiting", t_while_waiting }, { "two_waiters", t_two_waiters }, { "register", t_register },
	{ "arguments", t_arguments }, { "many_sets", t_many_sets }, { "events", t_events },
	{ "edges", t_edges }, { "pairs", t_pairs }, { "times", t_times }, { "set_fork", t_fork },
};

int main(int argc, char **argv)
{
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
