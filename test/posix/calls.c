/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What socket calls answer, written down: one line per case, "name: what was seen". Run once on
 * the kernel and once under onramp against the same peer (peer.c); the two outputs must be
 * equal, so nothing in them may depend on time, ports or chance.
 *
 *   calls ADDR PORT [CASE...]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static struct sockaddr_storage peer;
static socklen_t peer_n;
static const char *self, *addr_arg, *port_arg;

static const char *en(long r)
{
	return r < 0 ? strerrorname_np(errno) : "ok";
}

static unsigned char pattern(uint64_t at)
{
	return (unsigned char)(at * 31 + (at >> 8) * 7 + 3);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Is it within reason? Slow machines are late, never early. */
static const char *took(uint64_t start, uint64_t ms)
{
	uint64_t d = now_ms() - start;

	return d + 5 < ms ? "early" : d > ms + 1500 ? "late" : "in time";
}

static int dial(const char *what)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);
	char line[256];
	int n = snprintf(line, sizeof(line), "%s\n", what);

	if (fd < 0 || connect(fd, (struct sockaddr *)&peer, peer_n) < 0) {
		printf("dial: %s\n", en(-1));
		exit(1);
	}
	if (what[0] && send(fd, line, (size_t)n, 0) != n)
		printf("dial: short\n");
	return fd;
}

static void nonblock(int fd, bool on)
{
	int fl = fcntl(fd, F_GETFL);

	fcntl(fd, F_SETFL, on ? fl | O_NONBLOCK : fl & ~O_NONBLOCK);
}

static void wait_in(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	poll(&p, 1, 5000);
}

/* ---- cases ----------------------------------------------------------------------------------- */

static void t_echo(void)
{
	char buf[64];
	int fd = dial("ECHO");
	ssize_t r = write(fd, "hello", 5), g = read(fd, buf, sizeof(buf));

	printf("echo: %zd %zd %.5s\n", r, g, buf);
	close(fd);
}

static void t_names(void)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);
	int fd = dial("HOLD 1");

	printf("names: %d", getpeername(fd, (void *)&a, &n));
	printf(" %u %d", n, memcmp(&a, &peer, peer.ss_family == AF_INET ? 8 : 24) == 0);
	n = sizeof(a);
	printf(" %d", getsockname(fd, (void *)&a, &n));
	printf(" %u %d %d\n", n, a.ss_family == peer.ss_family,
	       ((struct sockaddr_in *)&a)->sin_port != 0);
	close(fd);
}

static void t_connect_nonblock(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0), err = -1, r;
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t n = sizeof(err);

	r = connect(fd, (void *)&peer, peer_n);
	printf("connect_nonblock: %s", en(r));
	r = poll(&p, 1, 5000);
	printf(" poll %d %d", r, p.revents);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" err %d", err);
	r = connect(fd, (void *)&peer, peer_n);
	printf(" again %s", en(r));
	r = connect(fd, (void *)&peer, peer_n);
	printf(" again %s\n", en(r));
	close(fd);
}

static void t_connect_refused(void)
{
	struct sockaddr_storage a = peer;
	int fd = socket(peer.ss_family, SOCK_STREAM, 0), r;

	((struct sockaddr_in *)&a)->sin_port = htons(9);
	r = connect(fd, (void *)&a, peer_n);
	printf("connect_refused: %s", en(r));
	close(fd);
	fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);
	r = connect(fd, (void *)&a, peer_n);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	r = poll(&p, 1, 5000);
	printf(" poll %d %x", r, p.revents);
	int err;
	socklen_t n = sizeof(err);
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" %s", strerrorname_np(err));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" then %d\n", err);
	close(fd);
}

static void t_eagain(void)
{
	char buf[8];
	int fd = dial("ECHO");
	ssize_t r;

	r = recv(fd, buf, 8, MSG_DONTWAIT);
	printf("eagain: %s", en(r));
	nonblock(fd, true);
	printf(" %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	r = read(fd, buf, 8);
	printf(" %s", en(r));
	nonblock(fd, false);
	printf(" %d", (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	int one = 1;
	ioctl(fd, FIONBIO, &one);
	r = read(fd, buf, 8);
	printf(" %s %d\n", en(r), (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
	close(fd);
}

static void t_peek_waitall(void)
{
	char buf[16] = "";
	int fd = dial("DRIP 6 20"), q = 0;
	ssize_t r;

	r = recv(fd, buf, 1, MSG_PEEK);
	printf("peek: %zd %c", r, buf[0]);
	r = recv(fd, buf, 6, MSG_WAITALL);
	printf(" waitall %zd %.6s", r, buf);
	r = recv(fd, buf, 6, MSG_WAITALL);
	printf(" end %zd", r);
	r = recv(fd, buf, 6, 0);
	printf(" %zd", r);
	ioctl(fd, FIONREAD, &q);
	printf(" %d\n", q);
	close(fd);
}

static void t_fionread_trunc(void)
{
	int fd = dial("LATE 20 abcdefgh"), q = -1;
	char buf[16];

	wait_in(fd);
	ioctl(fd, FIONREAD, &q);
	printf("fionread: %d", q);
	printf(" trunc %zd", recv(fd, NULL, 3, MSG_TRUNC));
	printf(" %zd %.5s\n", recv(fd, buf, 16, 0), buf);
	close(fd);
}

static void t_vectors(void)
{
	char a[3], b[5], c[10];
	struct iovec out[3] = { { "abc", 3 }, { "", 0 }, { "defghij", 7 } };
	struct iovec in[3] = { { a, 3 }, { b, 5 }, { c, 10 } };
	struct msghdr m = { .msg_iov = in, .msg_iovlen = 3 };
	int fd = dial("ECHO");
	ssize_t r = writev(fd, out, 3), g;

	usleep(50000);
	g = readv(fd, in, 3);
	printf("vectors: %zd %zd %.3s %.5s %.2s", r, g, a, b, c);
	m.msg_iov = out;
	r = sendmsg(fd, &m, 0);
	m.msg_iov = in;
	m.msg_flags = 77;
	usleep(50000);
	g = recvmsg(fd, &m, 0);
	printf(" %zd %zd %d %zu %.3s\n", r, g, m.msg_flags, m.msg_controllen, a);
	close(fd);
}

static void t_mmsg(void)
{
	char a[4], b[4];
	struct iovec v[2] = { { "abcd", 4 }, { "efgh", 4 } };
	struct iovec w[2] = { { a, 4 }, { b, 4 } };
	struct mmsghdr s[2] = { { .msg_hdr = { .msg_iov = v, .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = v + 1, .msg_iovlen = 1 } } };
	struct mmsghdr d[2] = { { .msg_hdr = { .msg_iov = w, .msg_iovlen = 1 } },
				{ .msg_hdr = { .msg_iov = w + 1, .msg_iovlen = 1 } } };
	int fd = dial("ECHO");
	int r = sendmmsg(fd, s, 2, 0), g;

	usleep(50000);
	g = recvmmsg(fd, d, 2, 0, NULL);
	printf("mmsg: %d %d %u %u %.4s%.4s\n", r, g, d[0].msg_len, d[1].msg_len, a, b);
	close(fd);
}

static void t_shutdown(void)
{
	char buf[64];
	int fd = dial("SINK");
	ssize_t r = send(fd, "", 0, 0);

	printf("shutdown: %zd", r);
	r = shutdown(fd, SHUT_WR);
	printf(" %s", en(r));
	r = send(fd, "x", 1, MSG_NOSIGNAL);
	printf(" send %s", en(r));
	r = read(fd, buf, sizeof(buf));
	printf(" %.*s", (int)r - 1, buf);
	r = read(fd, buf, sizeof(buf));
	printf(" %zd", r);
	r = shutdown(fd, SHUT_RDWR);
	printf(" %s\n", en(r));
	close(fd);
}

static void t_half(void)
{
	char buf[16];
	int fd = dial("HALF bye");
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLRDHUP };
	ssize_t r;

	usleep(50000);
	poll(&p, 1, 1000);
	r = read(fd, buf, 16);
	printf("half: %x %zd %zd", p.revents, r, read(fd, buf, 16));
	r = write(fd, "still", 5);
	printf(" %zd", r);
	poll(&p, 1, 0);
	printf(" %x\n", p.revents);
	close(fd);
}

static void on_pipe(int s) { (void)s; }

static void t_sigpipe(void)
{
	int fd = dial("HOLD 1"), got = 0;
	struct sigaction a = { .sa_handler = on_pipe }, old;
	sigset_t set, pend;
	ssize_t r;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	sigaction(SIGPIPE, &a, &old);
	sigprocmask(SIG_BLOCK, &set, NULL);
	shutdown(fd, SHUT_WR);
	r = write(fd, "x", 1);
	sigpending(&pend);
	got = sigismember(&pend, SIGPIPE);
	printf("sigpipe: %s %d", en(r), got);
	sigprocmask(SIG_UNBLOCK, &set, NULL);
	sigaction(SIGPIPE, &old, &a);
	printf(" %d\n", a.sa_handler == on_pipe && !(a.sa_flags & SA_SIGINFO));
	close(fd);
}

static void t_reset(void)
{
	char buf[8];
	int fd = dial("RESET"), err = 0;
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	socklen_t n = sizeof(err);
	ssize_t r;

	usleep(50000);
	poll(&p, 1, 1000);
	printf("reset: %x", p.revents);
	r = read(fd, buf, 8);
	printf(" %s", en(r));
	r = read(fd, buf, 8);
	printf(" %s", en(r));
	r = send(fd, buf, 8, MSG_NOSIGNAL);
	printf(" %s", en(r));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	printf(" %d\n", err);
	close(fd);
}

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
		execl(self, self, addr_arg, port_arg, "--after-exec", num, (char *)NULL);
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

static void *count_alarm_nothing(void *arg) { return arg; }
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

	(void)count_alarm_nothing;
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

static void opt(int fd, int level, int name, int v, const char *what)
{
	int got = -1;
	socklen_t n = sizeof(got);
	int r = setsockopt(fd, level, name, &v, sizeof(v));

	printf(" %s %s", what, en(r));
	r = getsockopt(fd, level, name, &got, &n);
	printf("/%s %d", en(r), got);
}

static void t_options(void)
{
	int fd = dial("HOLD 100"), v;
	socklen_t n = sizeof(v);
	struct linger l = { 1, 3 };

	printf("options:");
	opt(fd, IPPROTO_TCP, TCP_NODELAY, 1, "nodelay");
	opt(fd, IPPROTO_TCP, TCP_CORK, 1, "cork");
	opt(fd, IPPROTO_TCP, TCP_CORK, 0, "cork");
	opt(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "keepalive");
	opt(fd, IPPROTO_TCP, TCP_KEEPIDLE, 33, "idle");
	opt(fd, IPPROTO_TCP, TCP_KEEPINTVL, 7, "intvl");
	opt(fd, IPPROTO_TCP, TCP_KEEPCNT, 4, "cnt");
	opt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 5000, "ut");
	opt(fd, SOL_SOCKET, SO_RCVBUF, 50000, "rcvbuf");
	opt(fd, SOL_SOCKET, SO_SNDBUF, 60000, "sndbuf");
	opt(fd, SOL_SOCKET, SO_RCVLOWAT, 1, "lowat");
	printf("\noptions:");
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	n = sizeof(l);
	memset(&l, 0, sizeof(l));
	getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &n);
	printf(" linger %d %d", l.l_onoff, l.l_linger);
	n = sizeof(v);
	getsockopt(fd, SOL_SOCKET, SO_TYPE, &v, &n);
	printf(" type %d", v);
	getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &v, &n);
	printf(" proto %d", v);
	getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &v, &n);
	printf(" domain %d", v == peer.ss_family);
	getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &v, &n);
	printf(" listening %d", v);
	getsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &v, &n);
	printf(" mss %d", v > 500);
	struct tcp_info ti;
	n = sizeof(ti);
	memset(&ti, 0, sizeof(ti));
	getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n);
	printf(" info %d", ti.tcpi_state);
	v = setsockopt(fd, IPPROTO_TCP, 9999, &v, sizeof(v));
	printf(" unknown %s\n", en(v));
	l = (struct linger){ 0, 0 };
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static void t_sendfile(void)
{
	char name[] = "/tmp/onramp-calls-XXXXXX", line[64];
	int f = mkstemp(name), fd = dial("SINK"), half;
	uint64_t n = 300000, at;
	off_t off = 0, pos;
	ssize_t r = 0, sum = 0;
	unsigned char *p = malloc(n);

	unlink(name);
	for (at = 0; at < n; at++)
		p[at] = pattern(at);
	if (write(f, p, n) != (ssize_t)n)
		return;
	half = (int)n / 2;
	while (sum < half && (r = sendfile(fd, f, &off, (size_t)(half - sum))) > 0)
		sum += r;
	lseek(f, half, SEEK_SET);
	while ((r = sendfile(fd, f, NULL, 1 << 20)) > 0)
		sum += r;
	pos = lseek(f, 0, SEEK_CUR);
	shutdown(fd, SHUT_WR);
	r = recv(fd, line, sizeof(line), MSG_WAITALL);
	printf("sendfile: %zd off %ld pos %ld peer %.*s\n", sum, (long)off, (long)pos, (int)r - 1, line);
	free(p);
	close(f);
	close(fd);
}

static void t_bulk(void)
{
	uint64_t n = 8 << 20, got = 0, wrong = 0, at = 0;
	static unsigned char buf[100000];
	char line[64];
	int fd = dial("SOURCE 8388608");
	ssize_t r;

	while ((r = read(fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < r; i++)
			wrong += buf[i] != pattern(got + (uint64_t)i);
		got += (uint64_t)r;
	}
	printf("bulk: %lu %lu", (unsigned long)got, (unsigned long)wrong);
	close(fd);
	fd = dial("SINK");
	nonblock(fd, true);
	while (at < n) {
		size_t k = n - at < sizeof(buf) ? (size_t)(n - at) : sizeof(buf);
		struct pollfd p = { .fd = fd, .events = POLLOUT };

		for (size_t i = 0; i < k; i++)
			buf[i] = pattern(at + i);
		r = write(fd, buf, k);
		if (r < 0 && errno == EAGAIN)
			poll(&p, 1, 5000);
		else if (r < 0)
			break;
		else
			at += (uint64_t)r;
	}
	nonblock(fd, false);
	shutdown(fd, SHUT_WR);
	r = recv(fd, line, sizeof(line), MSG_WAITALL);
	printf(" %.*s\n", (int)r - 1, line);
	close(fd);
}

static void *echo_thread(void *arg)
{
	int fd = dial("ECHO");
	intptr_t bad = 0;
	char out[700], in[700];

	for (int i = 0; i < 200; i++) {
		memset(out, 'a' + (int)(intptr_t)arg, sizeof(out));
		out[0] = (char)i;
		if (write(fd, out, sizeof(out)) != sizeof(out) ||
		    recv(fd, in, sizeof(in), MSG_WAITALL) != sizeof(in) || memcmp(in, out, sizeof(in)))
			bad++;
	}
	close(fd);
	return (void *)bad;
}

static void t_threads(void)
{
	pthread_t th[8];
	intptr_t bad = 0;
	void *r;

	for (intptr_t i = 0; i < 8; i++)
		pthread_create(&th[i], NULL, echo_thread, (void *)i);
	for (int i = 0; i < 8; i++) {
		pthread_join(th[i], &r);
		bad += (intptr_t)r;
	}
	printf("threads: %ld\n", (long)bad);
}

static void t_stdio(void)
{
	int fd = dial("ECHO");
	FILE *f = fdopen(fd, "r+");
	char line[64] = "";

	printf("stdio: %d", f && fileno(f) == fd);
	fprintf(f, "line %d\n", 1);
	fflush(f);
	if (!fgets(line, sizeof(line), f))
		printf(" nothing");
	printf(" %.6s", line);
	dprintf(fd, "direct\n");
	if (!fgets(line, sizeof(line), f))
		printf(" nothing");
	printf(" %.6s %d", line, fclose(f));
	printf(" %d\n", fcntl(fd, F_GETFD) < 0);
}

static void t_oob(void)
{
	int fd = dial("OOB abc"), mark = -1;
	char buf[8] = "";
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLPRI };
	ssize_t r;

	usleep(80000);
	poll(&p, 1, 1000);
	printf("oob: %x", p.revents);
	r = recv(fd, buf, 8, MSG_OOB);
	printf(" %zd %c", r, buf[0]);
	r = recv(fd, buf, 8, 0);
	ioctl(fd, SIOCATMARK, &mark);
	printf(" %zd %.2s mark %d\n", r, buf, mark);
	close(fd);
}

static void t_errors(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0), r;
	char buf[8];
	struct epoll_event e = { .events = EPOLLIN };
	int c = dial("HOLD 100"), ep = epoll_create1(0);

	r = (int)recv(fd, buf, 8, 0);
	printf("errors: %s", en(r));
	r = (int)send(fd, buf, 8, MSG_NOSIGNAL);
	printf(" %s", en(r));
	r = shutdown(fd, SHUT_WR);
	printf(" %s", en(r));
	r = listen(c, 5);
	printf(" listen %s", en(r));
	struct sockaddr_in6 any = { .sin6_family = peer.ss_family };
	r = bind(c, (void *)&any, peer_n);
	printf(" bind %s", en(r));
	r = accept(c, NULL, NULL);
	printf(" accept %s", en(r));
	r = connect(c, (void *)&peer, peer_n);
	printf(" connect %s", en(r));
	r = shutdown(c, 9);
	printf(" shut %s", en(r));
	r = (int)lseek(c, 0, SEEK_CUR);
	printf(" lseek %s", en(r));
	r = epoll_wait(ep, &e, 0, 0);
	printf(" epwait %s", en(r));
	r = epoll_ctl(ep, 77, c, &e);
	printf(" epctl %s", en(r));
	r = epoll_ctl(c, EPOLL_CTL_ADD, ep, &e);
	printf(" epctl %s", en(r));
	r = (int)splice(c, NULL, c, NULL, 10, 0);
	printf(" splice %s\n", en(r));
	close(fd);
	close(c);
	close(ep);
	r = close(c);
	printf("errors: close %s\n", en(r));
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

/* ---- datagrams ------------------------------------------------------------------------------- */

static int udp(int flags)
{
	struct timeval tv = { 3, 0 };
	int fd = socket(peer.ss_family, SOCK_DGRAM | flags, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	return fd;
}

static void t_udp(void)
{
	struct sockaddr_storage from;
	socklen_t n = sizeof(from);
	int fd = udp(0);
	char buf[64] = "";
	ssize_t r = sendto(fd, "hello", 5, 0, (void *)&peer, peer_n);

	printf("udp: %zd", r);
	r = recvfrom(fd, buf, sizeof(buf), 0, (void *)&from, &n);
	printf(" %zd %s %u %d", r, buf, n, memcmp(&from, &peer, peer.ss_family == AF_INET ? 8 : 24) == 0);
	r = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
	printf(" %s", en(r));
	r = send(fd, "x", 1, 0);
	printf(" send %s", en(r));
	r = connect(fd, (void *)&peer, peer_n);
	printf(" connect %s", en(r));
	r = send(fd, "abcdefgh", 8, 0);
	printf(" %zd", r);
	r = recv(fd, buf, 3, MSG_TRUNC);
	printf(" trunc %zd %.3s", r, buf);
	r = send(fd, "", 0, 0);
	printf(" empty %zd %zd", r, recv(fd, buf, 8, 0));
	n = sizeof(from);
	r = getpeername(fd, (void *)&from, &n);
	printf(" %s %u", en(r), n);
	r = getsockname(fd, (void *)&from, &n);
	printf(" %s %d\n", en(r), ((struct sockaddr_in *)&from)->sin_port != 0);
	close(fd);
}

static void t_udp_many(void)
{
	struct iovec v[2] = { { "ab", 2 }, { "cd", 2 } };
	struct sockaddr_storage a[4];
	char bufs[4][16];
	struct iovec w[4];
	struct mmsghdr m[4], s[2];
	struct msghdr one = { .msg_iov = v, .msg_iovlen = 2, .msg_name = &peer, .msg_namelen = peer_n };
	int fd = udp(0), ep = epoll_create1(0), q = -1, got;
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 3 };
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT };
	ssize_t r;

	r = sendmsg(fd, &one, 0);
	printf("udp_many: %zd %zd %.4s", r, recv(fd, bufs[0], 16, 0), bufs[0]);
	epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e);
	printf(" %d", epoll_wait(ep, &e, 1, 0));
	r = sendto(fd, "4xyz", 4, 0, (void *)&peer, peer_n);
	printf(" %zd %d", r, epoll_wait(ep, &e, 1, 3000));
	usleep(100000);
	ioctl(fd, FIONREAD, &q);
	printf(" %x q %d poll %d", e.events, q, poll(&p, 1, 0));
	printf(" %x", p.revents);
	for (int i = 0; i < 4; i++) {
		w[i] = (struct iovec){ bufs[i], i == 1 ? 2 : 16 };
		m[i].msg_hdr = (struct msghdr){ .msg_iov = &w[i], .msg_iovlen = 1, .msg_name = &a[i],
						.msg_namelen = sizeof(a[i]) };
	}
	got = recvmmsg(fd, m, 4, MSG_WAITFORONE, NULL);
	printf(" %d %u %u %x %u", got, m[0].msg_len, m[1].msg_len, m[1].msg_hdr.msg_flags,
	       m[0].msg_hdr.msg_namelen);
	for (int i = 0; i < 2; i++)
		s[i].msg_hdr = (struct msghdr){ .msg_iov = &v[i], .msg_iovlen = 1, .msg_name = &peer,
						.msg_namelen = peer_n };
	got = sendmmsg(fd, s, 2, 0);
	r = recv(fd, bufs[0], 16, 0);
	printf(" %d %zd %.2s", got, r, bufs[0]);
	r = recv(fd, bufs[0], 16, 0);
	printf(" %zd %.2s %d\n", r, bufs[0], epoll_wait(ep, &e, 1, 0));
	close(fd);
	close(ep);
}

static void t_udp_refused(void)
{
	struct sockaddr_storage to = peer;
	struct pollfd p = { .events = POLLIN };
	int fd = udp(0), err = 0;
	socklen_t n = sizeof(err);
	char c;
	ssize_t r;

	((struct sockaddr_in *)&to)->sin_port = htons(9);
	connect(fd, (void *)&to, peer_n);
	r = send(fd, "x", 1, 0);
	p.fd = fd;
	printf("udp_refused: %zd poll %d", r, poll(&p, 1, 3000));
	printf(" %x", p.revents);
	r = recv(fd, &c, 1, 0);
	printf(" %s", en(r));
	getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &n);
	r = recv(fd, &c, 1, MSG_DONTWAIT);
	printf(" %d %s\n", err, en(r));
	close(fd);
}

static void t_udp_sizes(void)
{
	static char out[66000], in[66000];
	const int sizes[] = { 1, 1472, 1473, 9000, 40000, 65507, 65508 };
	int fd = udp(0), big = 1 << 20;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof(big));
	connect(fd, (void *)&peer, peer_n);
	memset(out, '-' + 1, sizeof(out));
	printf("udp_sizes:");
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		ssize_t s = send(fd, out, (size_t)sizes[i], 0), r;

		printf(" %s", en(s));
		if (s < 0)
			continue;
		r = recv(fd, in, sizeof(in), 0);
		printf("/%zd/%d", r, r > 0 && memcmp(in, out, (size_t)r) == 0);
	}
	printf("\n");
	close(fd);
}

static void t_udp_local(void)
{
	struct sockaddr_in lo = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) }, from;
	socklen_t n = sizeof(lo);
	struct sockaddr_in any = { .sin_family = AF_INET };
	int a = socket(AF_INET, SOCK_DGRAM, 0), b = socket(AF_INET, SOCK_DGRAM, 0);
	struct pollfd p = { .fd = a, .events = POLLIN };
	struct timeval tv = { 2, 0 };
	char buf[8] = "";
	ssize_t r;

	bind(a, (void *)&any, sizeof(any));
	setsockopt(a, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	getsockname(a, (void *)&from, &n);
	lo.sin_port = from.sin_port;
	r = sendto(b, "loop", 4, 0, (void *)&lo, sizeof(lo));
	printf("udp_local: %zd poll %d", r, poll(&p, 1, 2000));
	n = sizeof(from);
	r = recvfrom(a, buf, 8, 0, (void *)&from, &n);
	printf(" %zd %s %d", r, buf, from.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
	r = sendto(a, "back", 4, 0, (void *)&from, n);
	printf(" %zd %zd", r, recv(b, buf, 8, 0));
	r = recv(a, buf, 8, MSG_DONTWAIT);
	printf(" %s\n", en(r));
	close(a);
	close(b);
}

static const struct { const char *name; void (*fn)(void); } cases[] = {
	{ "echo", t_echo }, { "names", t_names }, { "connect_nonblock", t_connect_nonblock },
	{ "connect_refused", t_connect_refused }, { "eagain", t_eagain },
	{ "peek", t_peek_waitall }, { "fionread", t_fionread_trunc }, { "vectors", t_vectors },
	{ "mmsg", t_mmsg }, { "shutdown", t_shutdown }, { "half", t_half },
	{ "sigpipe", t_sigpipe }, { "reset", t_reset }, { "timeouts", t_timeouts },
	{ "poll_mixed", t_poll_mixed }, { "poll_foreign_wakes", t_poll_foreign_wakes },
	{ "select", t_select }, { "epoll_lt", t_epoll_lt }, { "epoll_et", t_epoll_et },
	{ "epoll_early", t_epoll_early }, { "dup", t_dup }, { "fork", t_fork }, { "exec", t_exec },
	{ "eintr", t_eintr }, { "sigmask", t_sigmask }, { "options", t_options },
	{ "sendfile", t_sendfile }, { "bulk", t_bulk }, { "threads", t_threads },
	{ "stdio", t_stdio }, { "oob", t_oob }, { "errors", t_errors },
	{ "close_range", t_close_range }, { "udp", t_udp }, { "udp_many", t_udp_many },
	{ "udp_refused", t_udp_refused }, { "udp_sizes", t_udp_sizes }, { "udp_local", t_udp_local },
};

static bool wanted(int argc, char **argv, const char *name)
{
	for (int i = 3; i < argc; i++)
		if (strcmp(argv[i], name) == 0)
			return true;
	return argc <= 3;
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 *a6 = (void *)&peer;
	struct sockaddr_in *a4 = (void *)&peer;

	if (argc < 3)
		return 2;
	self = "/proc/self/exe";
	addr_arg = argv[1];
	port_arg = argv[2];
	if (argc == 5 && strcmp(argv[3], "--after-exec") == 0)
		return after_exec(argv[4]);
	peer.ss_family = strchr(argv[1], ':') ? AF_INET6 : AF_INET;
	peer_n = peer.ss_family == AF_INET ? sizeof(*a4) : sizeof(*a6);
	if (peer.ss_family == AF_INET)
		inet_pton(AF_INET, argv[1], &a4->sin_addr);
	else
		inet_pton(AF_INET6, argv[1], &a6->sin6_addr);
	a4->sin_port = htons((uint16_t)atoi(argv[2]));
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (wanted(argc, argv, cases[i].name))
			cases[i].fn();
	return 0;
}
