/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting for sockets, and the process around them: poll, select, epoll, time limits, signals,
 * dup, fork, exec. Compared as calls.c is.
 */
#include "case.h"

static void t_timeouts(void)
{
	struct timeval tv = { 0, 120000 }, back;
	socklen_t n = sizeof(back);
	char buf[8];
	int fd = dial("ECHO");
	uint64_t t;
	ssize_t r;

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	getsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &back, &n);
	t = now_ms();
	r = read(fd, buf, 8);
	printf("timeouts: %s %s %ld.%06ld", en(r), took(t, 120), (long)back.tv_sec, (long)back.tv_usec);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	t = now_ms();
	r = poll(&p, 1, 80);
	printf(" poll %zd %s", r, took(t, 80));
	fd_set set;
	FD_ZERO(&set);
	FD_SET(fd, &set);
	tv = (struct timeval){ 0, 60000 };
	t = now_ms();
	r = select(fd + 1, &set, NULL, NULL, &tv);
	printf(" select %zd %s %d %ld\n", r, took(t, 60), FD_ISSET(fd, &set), (long)tv.tv_usec);
	close(fd);
}

static void t_poll_mixed(void)
{
	int fd = dial("LATE 60 x"), pipes[2], q = dial("HOLD 500");
	struct pollfd p[4];
	int r;

	if (pipe(pipes))
		return;
	p[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
	p[2] = (struct pollfd){ .fd = -1, .events = POLLIN };
	p[3] = (struct pollfd){ .fd = q, .events = POLLIN };
	r = poll(p, 4, 5000);
	printf("poll_mixed: %d %d %d %d %d", r, p[0].revents, p[1].revents, p[2].revents, p[3].revents);
	if (write(pipes[1], "y", 1) != 1)
		return;
	r = poll(p, 4, 5000);
	printf(" %d %d %d", r, p[0].revents, p[1].revents);
	char c;
	r = (int)read(fd, &c, 1);
	r = poll(p, 4, 5000);
	printf(" %d %d %d", r, p[0].revents, p[1].revents);
	p[0].events = POLLOUT;
	r = poll(p, 1, 0);
	printf(" %d %d\n", r, p[0].revents);
	close(fd);
	close(q);
	close(pipes[0]);
	close(pipes[1]);
}

static void *write_later(void *arg)
{
	usleep(60000);
	if (write(*(int *)arg, "z", 1) != 1)
		return arg;
	return NULL;
}

static void t_poll_foreign_wakes(void)
{
	int fd = dial("HOLD 2000"), pipes[2], ep = epoll_create1(0);
	struct pollfd p[2];
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 7 };
	pthread_t th;
	uint64_t t;
	int r;

	if (pipe(pipes))
		return;
	p[0] = (struct pollfd){ .fd = fd, .events = POLLIN };
	p[1] = (struct pollfd){ .fd = pipes[0], .events = POLLIN };
	pthread_create(&th, NULL, write_later, &pipes[1]);
	t = now_ms();
	r = poll(p, 2, 1500);
	printf("poll_foreign_wakes: %d %d %s", r, p[1].revents, took(t, 60));
	pthread_join(th, NULL);
	char c;
	r = (int)read(pipes[0], &c, 1);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	e.data.u64 = 8;
	epoll_ctl(ep, EPOLL_CTL_ADD, pipes[0], &e);
	pthread_create(&th, NULL, write_later, &pipes[1]);
	t = now_ms();
	r = epoll_wait(ep, &e, 1, 1500);
	printf(" epoll %d %lu %s\n", r, (unsigned long)e.data.u64, took(t, 60));
	pthread_join(th, NULL);
	close(fd);
	close(ep);
	close(pipes[0]);
	close(pipes[1]);
}

static void t_select(void)
{
	int fd = dial("LATE 40 x");
	fd_set r, w, x;
	int n;

	FD_ZERO(&r);
	FD_ZERO(&w);
	FD_ZERO(&x);
	FD_SET(fd, &r);
	FD_SET(fd, &w);
	n = select(fd + 1, &r, &w, &x, NULL);
	printf("select: %d %d %d", n, FD_ISSET(fd, &r), FD_ISSET(fd, &w));
	FD_ZERO(&w);
	FD_SET(fd, &r);
	struct timespec ts = { 5, 0 };
	n = pselect(fd + 1, &r, &w, &x, &ts, NULL);
	printf(" %d %d\n", n, FD_ISSET(fd, &r));
	close(fd);
}

static void t_epoll_lt(void)
{
	int fd = dial("ECHO"), ep = epoll_create1(EPOLL_CLOEXEC);
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 42 }, got[4];
	char buf[8];
	int r;

	printf("epoll_lt: %s", en(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e)));
	r = epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	printf(" %s", en(r));
	printf(" %d", epoll_wait(ep, got, 4, 0));
	if (write(fd, "abcd", 4) != 4)
		return;
	r = epoll_wait(ep, got, 4, 5000);
	printf(" %d %x %lu", r, got[0].events, (unsigned long)got[0].data.u64);
	r = (int)read(fd, buf, 2);
	r = epoll_wait(ep, got, 4, 5000);
	printf(" %d", r);
	r = (int)read(fd, buf, 8);
	printf(" %d %d", r, epoll_wait(ep, got, 4, 50));
	e.events = EPOLLIN | EPOLLOUT;
	r = epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	printf(" %s", en(r));
	r = epoll_wait(ep, got, 4, 5000);
	printf(" %d %x", r, got[0].events);
	r = epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	printf(" %s %d", en(r), epoll_wait(ep, got, 4, 0));
	r = epoll_ctl(ep, EPOLL_CTL_DEL, fd, NULL);
	printf(" %s", en(r));
	r = epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	printf(" %s\n", en(r));
	close(fd);
	close(ep);
}

static void t_epoll_et(void)
{
	int fd = dial("ECHO"), ep = epoll_create1(0), r;
	struct epoll_event e = { .events = EPOLLIN | EPOLLET | EPOLLRDHUP, .data.fd = fd }, got[4];
	char buf[8];

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	if (write(fd, "abcd", 4) != 4)
		return;
	r = epoll_wait(ep, got, 4, 5000);
	printf("epoll_et: %d %x", r, got[0].events);
	printf(" %d", epoll_wait(ep, got, 4, 50));
	if (write(fd, "efgh", 4) != 4)
		return;
	r = epoll_wait(ep, got, 4, 5000);
	printf(" %d", r);
	r = (int)read(fd, buf, 8);
	printf(" %d", r);
	e.events = EPOLLIN | EPOLLONESHOT;
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	if (write(fd, "i", 1) != 1)
		return;
	r = epoll_wait(ep, got, 4, 5000);
	printf(" oneshot %d %d", r, epoll_wait(ep, got, 4, 50));
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	printf(" %d", epoll_wait(ep, got, 4, 5000));
	r = (int)read(fd, buf, 8);
	shutdown(fd, SHUT_WR);
	e.events = EPOLLIN | EPOLLRDHUP | EPOLLET;
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	usleep(60000);
	r = epoll_wait(ep, got, 4, 5000);
	printf(" hup %d %x\n", r, got[0].events);
	close(fd);
	printf("epoll_et: closed %d\n", epoll_wait(ep, got, 4, 20));
	close(ep);
}

/* Added before it is connected: the registration must follow the socket. */
static void t_epoll_early(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), ep = epoll_create1(0), r;
	struct epoll_event e = { .events = EPOLLOUT | EPOLLET, .data.u64 = 5 }, got[2];

	r = epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	printf("epoll_early: %s", en(r));
	r = epoll_wait(ep, got, 2, 0);
	printf(" %d", r);
	r = connect(fd, (void *)&peer, peer_n);
	printf(" %s", en(r));
	r = epoll_wait(ep, got, 2, 5000);
	printf(" %d %x %lu", r, got[0].events, (unsigned long)got[0].data.u64);
	r = (int)write(fd, "ECHO\nq", 6);
	e.events = EPOLLIN;
	epoll_ctl(ep, EPOLL_CTL_MOD, fd, &e);
	printf(" %d", epoll_wait(ep, got, 2, 5000));
	printf(" %x\n", got[0].events);
	close(fd);
	close(ep);
}

static void t_dup(void)
{
	int fd = dial("ECHO"), d = dup(fd), e = fcntl(fd, F_DUPFD_CLOEXEC, 50), t = dup2(fd, 77);
	char buf[8];
	ssize_t r;

	printf("dup: %d %d %d", d > 0, e >= 50, t);
	close(fd);
	r = write(d, "ab", 2);
	printf(" %zd %zd", r, read(e, buf, 8));
	nonblock(d, true);
	r = read(t, buf, 8);
	printf(" shared %s", en(r));
	close(d);
	close(e);
	r = write(t, "cd", 2);
	usleep(50000);
	printf(" %zd %zd", r, read(t, buf, 8));
	printf(" %d", (fcntl(e, F_GETFD) < 0 && errno == EBADF));
	r = dup2(t, t);
	printf(" %zd", r);
	close(t);
	r = read(t, buf, 8);
	printf(" %s\n", en(r));
}

static void t_fork(void)
{
	int fd = dial("ECHO"), status;
	char buf[8] = "";
	ssize_t r;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		r = write(fd, "child", 5);
		r = read(fd, buf, 5);
		_exit(r == 5 && memcmp(buf, "child", 5) == 0 ? 7 : 8);
	}
	waitpid(pid, &status, 0);
	printf("fork: %d", WEXITSTATUS(status));
	r = write(fd, "parent", 6);
	printf(" %zd %zd", r, read(fd, buf, 6));
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		usleep(100000);
		r = write(fd, "late", 4);
		r = read(fd, buf, 4);
		_exit(r == 4 ? 9 : 1);
	}
	close(fd);	/* the child alone has it now */
	waitpid(pid, &status, 0);
	printf(" %d\n", WEXITSTATUS(status));
}

static void t_exec(void)
{
	int fd = dial("ECHO"), status;
	char num[16];
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(fd, 0);
		snprintf(num, sizeof(num), "%d", fd);
		fcntl(fd, F_SETFD, FD_CLOEXEC);
		execl("/proc/self/exe", "events", addr_arg, port_arg, "--after-exec", num, (char *)NULL);
		_exit(99);
	}
	close(fd);
	waitpid(pid, &status, 0);
	printf("exec: %d\n", WEXITSTATUS(status));
}

static int after_exec(const char *num)
{
	char buf[8];
	ssize_t r = write(0, "exec", 4);

	if (r != 4 || read(0, buf, 4) != 4 || memcmp(buf, "exec", 4))
		return 1;
	return fcntl(atoi(num), F_GETFD) < 0 && errno == EBADF ? 5 : 2;
}

static int n_alarms;
static void on_alarm(int s) { (void)s; n_alarms++; }

static void t_eintr(void)
{
	struct sigaction a = { .sa_handler = on_alarm }, old;
	struct itimerval it = { { 0, 0 }, { 0, 60000 } };
	int fd = dial("LATE 250 x");
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[8];
	ssize_t r;

	n_alarms = 0;
	sigaction(SIGALRM, &a, &old);
	setitimer(ITIMER_REAL, &it, NULL);
	r = read(fd, buf, 8);
	printf("eintr: %s %d", en(r), n_alarms);
	a.sa_flags = SA_RESTART;
	sigaction(SIGALRM, &a, NULL);
	setitimer(ITIMER_REAL, &it, NULL);
	r = poll(&p, 1, 120);
	printf(" poll %s %d", en(r), n_alarms);
	setitimer(ITIMER_REAL, &it, NULL);
	r = read(fd, buf, 8);
	printf(" restart %s %zd %d\n", en(r), r, n_alarms);
	sigaction(SIGALRM, &old, NULL);
	close(fd);
}

static void t_sigmask(void)
{
	struct sigaction a = { .sa_handler = on_alarm }, old;
	struct itimerval it = { { 0, 0 }, { 0, 30000 } };
	int fd = dial("HOLD 500"), ep = epoll_create1(0), r;
	struct epoll_event e = { .events = EPOLLIN };
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec ts = { 2, 0 };
	sigset_t block, none;

	n_alarms = 0;
	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGALRM);
	sigaction(SIGALRM, &a, &old);
	sigprocmask(SIG_BLOCK, &block, NULL);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	setitimer(ITIMER_REAL, &it, NULL);
	r = poll(&p, 1, 100);
	printf("sigmask: %d %d", r, n_alarms);
	r = ppoll(&p, 1, &ts, &none);
	printf(" %s %d", en(r), n_alarms);
	setitimer(ITIMER_REAL, &it, NULL);
	r = epoll_pwait(ep, &e, 1, 2000, &none);
	printf(" %s %d\n", en(r), n_alarms);
	sigprocmask(SIG_UNBLOCK, &block, NULL);
	sigaction(SIGALRM, &old, NULL);
	close(fd);
	close(ep);
}

static void t_close_range(void)
{
	int low = dial("ECHO"), fd = fcntl(low, F_DUPFD, 20), status;
	char buf[8];
	ssize_t r;
	pid_t pid;

	close(low);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		dup2(fd, 3);
		closefrom(4);
		r = write(3, "left", 4);
		r = r == 4 ? read(3, buf, 8) : -1;
		for (int i = 4; i < 1024; i++)
			close(i);
		if (r != 4 || write(3, "more", 4) != 4 || read(3, buf, 8) != 4)
			_exit(1);
		_exit(fcntl(fd, F_GETFD) < 0 ? 3 : 2);
	}
	waitpid(pid, &status, 0);
	r = write(fd, "here", 4);
	printf("close_range: %d %zd %zd\n", WEXITSTATUS(status), r, read(fd, buf, 8));
	close(fd);
}

/* A child that stops us for a moment while we wait. */
static pid_t stopper(void)
{
	pid_t pid, parent = getpid();

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		usleep(60000);
		kill(parent, SIGSTOP);
		usleep(60000);
		kill(parent, SIGCONT);
		_exit(0);
	}
	return pid;
}

/* signal(7): being continued ends some calls, though no handler ran. */
static void t_stopped(void)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct timeval limit = { 0, 400000 }, to = limit;
	struct timespec ts = { 0, 400000000 };
	int fd = dial("ECHO"), ep = epoll_create1(0);
	struct pollfd p = { .fd = fd, .events = POLLIN };
	pid_t pid = stopper();
	fd_set set;
	char buf[8];

	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
	printf("stopped: poll %s", en(poll(&p, 1, 400)));
	waitpid(pid, NULL, 0);
	pid = stopper();
	printf(" ppoll %s", en(ppoll(&p, 1, &ts, NULL)));
	waitpid(pid, NULL, 0);
	pid = stopper();
	FD_ZERO(&set);
	FD_SET(fd, &set);
	printf(" select %s", en(select(fd + 1, &set, NULL, NULL, &to)));
	waitpid(pid, NULL, 0);
	pid = stopper();
	printf(" epoll %s", en(epoll_wait(ep, &ev, 1, 400)));
	waitpid(pid, NULL, 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	pid = stopper();
	printf(" timed recv %s\n", en(recv(fd, buf, 8, 0)));
	waitpid(pid, NULL, 0);
	close(fd);
	close(ep);
}

static const struct one_case cases[] = {
	{ "timeouts", t_timeouts }, { "poll_mixed", t_poll_mixed },
	{ "poll_foreign_wakes", t_poll_foreign_wakes }, { "select", t_select },
	{ "epoll_lt", t_epoll_lt }, { "epoll_et", t_epoll_et }, { "epoll_early", t_epoll_early },
	{ "dup", t_dup }, { "fork", t_fork }, { "exec", t_exec }, { "eintr", t_eintr },
	{ "sigmask", t_sigmask }, { "close_range", t_close_range },
	{ "stopped", t_stopped },
};

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[3], "--after-exec") == 0)
		return after_exec(argv[4]);
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
