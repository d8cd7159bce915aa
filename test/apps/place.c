/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two programs that use the calls of onramp/onramp.h on both ends (S2-SHQ-01, S4-ZC-01): is it the same memory,
 * and does it lie still while the other end floods, dies or closes?
 *
 *   place server ADDR PORT	one connection after another; a line for each
 *   place client ADDR PORT CASE	same | flood | death | close | bulk
 *
 * "same" proves that nothing was copied by doing what no program may do: the sender changes a byte
 * that it has sent, and the receiver looks again at the piece that it was shown.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>

#include "test/bench/endpoint.h"
#include "test/posix/place.h"

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static unsigned char pattern(uint64_t at) { return (unsigned char)(at * 31 + (at >> 8) * 7 + 3); }

static uint64_t wrong_in(const struct iovec *v, int n, uint64_t from)
{
	uint64_t bad = 0;

	for (int i = 0; i < n; i++)
		for (size_t k = 0; k < v[i].iov_len; k++)
			bad += ((unsigned char *)v[i].iov_base)[k] != pattern(from++);
	return bad;
}

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Memory of a stack or of a pair of stacks, or of this process alone? */
static bool is_shared(const void *p)
{
	FILE *f = fopen("/proc/self/maps", "r");
	unsigned long from, to;
	char line[512];
	bool got = false;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx", &from, &to) == 2 && (uintptr_t)p >= from && (uintptr_t)p < to)
			got = strstr(line, "/memfd:") != NULL;
	if (f)
		fclose(f);
	return got;
}

static void send_text(int fd, const char *text)
{
	if (send(fd, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
		die("send");
}

static void await(int fd)
{
	char c;

	if (recv(fd, &c, 1, 0) != 1)
		die("recv");
}

/* ---- the receiving end ------------------------------------------------------------------------------ */

static void receive_same(int fd)
{
	struct iovec v[4];
	const char *p;
	char before;

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 4 }, sizeof(int));
	if (op.recv(fd, v, 4, 0) != 4)
		die("recv_in_place");
	p = v[0].iov_base;
	before = *p;
	send_text(fd, "r");
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 5 }, sizeof(int));
	if (op.recv(fd, v, 4, 0) != 5)
		die("recv_in_place");
	printf("same: in place %d, shared %d, %c then %c, moved %d\n", op.in_place(fd), is_shared(p), before, *p,
	       p != v[0].iov_base);
	op.back(fd, 5);
}

/* All of the writer's patience: as much as goes in while nothing is taken out. */
static void receive_flood(int fd)
{
	struct iovec v[64];
	uint64_t got = 0, wrong = 0;
	ssize_t r = 0, n;

	usleep(100000);
	n = op.recv(fd, v, 64, 0);
	for (int i = 0; i < 50; i++, usleep(10000))
		wrong += wrong_in(v, 64, 0);
	if (op.back(fd, (size_t)n))
		die("hand_back");
	for (got = (uint64_t)n; (r = op.recv(fd, v, 64, 0)) > 0; got += (uint64_t)r) {
		wrong += wrong_in(v, 64, got);
		if (op.back(fd, (size_t)r))
			die("hand_back");
	}
	printf("flood: %lu bytes, %lu wrong, held %d, end %zd\n", (unsigned long)got, (unsigned long)wrong, n > 1000,
	       r);
}

static void receive_death(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLRDHUP };
	struct iovec v[64];
	uint64_t wrong = 0;
	ssize_t n, r;

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 50000 }, sizeof(int));
	n = op.recv(fd, v, 64, 0);
	send_text(fd, "d");
	poll(&p, 1, 5000);
	for (int i = 0; i < 20; i++, usleep(20000))
		wrong += wrong_in(v, 64, 0);
	r = op.back(fd, (size_t)n);
	printf("death: held %d, %lu wrong, handed back %zd", n >= 50000, (unsigned long)wrong, r);
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 1 }, sizeof(int));
	for (uint64_t at = (uint64_t)n; (r = op.recv(fd, v, 64, 0)) > 0; at += (uint64_t)r) {
		wrong += wrong_in(v, 64, at);
		n += r;
		op.back(fd, (size_t)r);
	}
	printf(", %zd in all, %lu wrong, then %s\n", n, (unsigned long)wrong,
	       !r || errno == ECONNRESET ? "end or reset" : strerror(errno));
}

static void receive_close(int fd)
{
	struct iovec v[4];
	ssize_t n = op.recv(fd, v, 4, 0);

	printf("close: held %d\n", n > 0);
}

static void receive_bulk(int fd)
{
	static char buf[256 << 10];
	uint64_t sum = 0, total[2] = { 0 };
	double took[2] = { 0 };
	struct iovec v[16];
	ssize_t r = 1;

	for (int how = 0; how < 2 && r > 0; how++) {
		double t0 = now_s();

		while ((took[how] = now_s() - t0) < 0.5) {
			v[0] = (struct iovec){ buf, sizeof(buf) };
			r = how ? op.recv(fd, v, 16, 0) : recv(fd, buf, sizeof(buf), 0);
			if (r <= 0)
				break;
			if (!how)
				v[0].iov_len = (size_t)r;
			for (int i = 0; i < (how ? 16 : 1); i++)
				for (size_t k = 0; k < v[i].iov_len; k += 64)
					sum += ((unsigned char *)v[i].iov_base)[k];
			if (how && op.back(fd, (size_t)r))
				die("hand_back");
			total[how] += (uint64_t)r;
		}
	}
	printf("bulk: recv() %.1f Gbit/s, in place %.1f Gbit/s (%d)\n", (double)total[0] * 8e-9 / took[0],
	       (double)total[1] * 8e-9 / took[1], sum != 0);
}

static int serve(int l)
{
	int fd;

	printf("ready\n");
	while ((fd = accept(l, NULL, NULL)) >= 0) {
		char what = 0;

		if (recv(fd, &what, 1, 0) != 1)
			die("recv");
		switch (what) {
		case 's': receive_same(fd); break;
		case 'f': receive_flood(fd); break;
		case 'd': receive_death(fd); break;
		case 'c': receive_close(fd); break;
		default: receive_bulk(fd); break;
		}
		close(fd);
	}
	die("accept");
	return 1;
}

/* ---- the sending end ------------------------------------------------------------------------------------ */

static void send_same(int fd)
{
	size_t got;
	char *p = op.reserve(fd, 64, &got);

	if (!p || got < 4)
		die("send_reserve");
	memcpy(p, "AAAA", 4);
	if (op.commit(fd, 4) != 4)
		die("send_commit");
	await(fd);
	*p = 'B';
	send_text(fd, "x");
	printf("same: in place %d, shared %d\n", op.in_place(fd), is_shared(p));
	(void)!recv(fd, &(char){ 0 }, 1, 0);	/* until it has been looked at */
}

static uint64_t put_pattern(int fd, uint64_t from, size_t want)
{
	size_t room, sent = 0;
	unsigned char *p = op.reserve(fd, want, &room);
	ssize_t r = 0;

	if (!p && errno == EAGAIN)
		return 0;
	if (!p)
		die("send_reserve");
	for (size_t i = 0; i < room; i++)
		p[i] = pattern(from + i);
	while (sent < room && ((r = op.commit(fd, room - sent)) > 0 || errno == EAGAIN))
		sent += r > 0 ? (size_t)r : 0;
	if (sent < room)
		die("send_commit");
	return sent;
}

static void send_flood(int fd)
{
	uint64_t at = 0;
	double t0 = now_s();

	ioctl(fd, FIONBIO, &(int){ 1 });
	while (now_s() - t0 < 1.0) {
		uint64_t n = put_pattern(fd, at, 1 + at * 31 % 70000);

		if (!n)
			poll(&(struct pollfd){ .fd = fd, .events = POLLOUT }, 1, 20);
		at += n;
	}
	shutdown(fd, SHUT_WR);
	printf("flood: %lu bytes\n", (unsigned long)at);
}

static void send_death(int fd)
{
	uint64_t at = 0;
	size_t got;

	while (at < 60000)
		at += put_pattern(fd, at, 60000 - at);
	await(fd);
	/* With a reservation that it will never commit. */
	if (op.reserve(fd, 1000, &got))
		kill(getpid(), SIGKILL);
}

static void send_close(int fd)
{
	char c;

	put_pattern(fd, 0, 5000);
	printf("close: %s\n", recv(fd, &c, 1, 0) < 0 ? strerrorname_np(errno) : "ok");
}

static void send_bulk(int fd)
{
	static char buf[128 << 10];

	while (send(fd, buf, sizeof(buf), MSG_NOSIGNAL) > 0)
		;
}

int main(int argc, char **argv)
{
	bool server = argc == 4 && !strcmp(argv[1], "server");
	struct endpoint at;
	int fd;

	if (!server && argc != 5) {
		fprintf(stderr, "usage: place server|client ADDR PORT [same|flood|death|close|bulk]\n");
		return 2;
	}
	setvbuf(stdout, NULL, _IOLBF, 0);
	op_load();
	at = endpoint(argv[2], argv[3]);
	fd = socket(at.addr.ss_family, SOCK_STREAM, 0);
	if (server) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){ 1 }, sizeof(int));
		if (bind(fd, (void *)&at.addr, at.n) < 0 || listen(fd, 16) < 0)
			die("listen");
		return serve(fd);
	}
	if (connect(fd, (void *)&at.addr, at.n) < 0 || send(fd, argv[4], 1, 0) != 1)
		die("connect");
	switch (argv[4][0]) {
	case 's': send_same(fd); break;
	case 'f': send_flood(fd); break;
	case 'd': send_death(fd); break;
	case 'c': send_close(fd); break;
	default: send_bulk(fd); break;
	}
	close(fd);
	return 0;
}
