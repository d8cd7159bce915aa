/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the calls of onramp/onramp.h answer (S2-SHQ-01, S0a-ZC-01): the same on sockets of the kernel, where
 * the library copies, and on accelerated ones. Compared as calls.c is.
 */
#include "case.h"
#include "place.h"

static struct iovec v[64];

static size_t sum(int n)
{
	size_t s = 0;

	for (int i = 0; i < n; i++)
		s += v[i].iov_len;
	return s;
}

/* What is shown, and its first bytes, as text. */
static void show(int fd, int n_iov, int flags, size_t n)
{
	ssize_t r = op.recv(fd, v, n_iov, flags);
	char buf[64];
	size_t at = 0;

	for (int i = 0; r > 0 && i < n_iov && at < n; i++)
		for (size_t k = 0; k < v[i].iov_len && at < n; k++)
			buf[at++] = ((char *)v[i].iov_base)[k];
	buf[at] = 0;
	printf(" %zd %s", r, r < 0 ? en(r) : buf);
}

static void t_in_place_echo(void)
{
	int fd = dial("ECHO"), q = 0, r;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t got;
	char buf[16];
	char *at = op.reserve(fd, 10, &got);

	printf("in_place_echo: %d %zu", at != NULL, got);
	memcpy(at, "0123456789", 10);
	printf(" %zd", op.commit(fd, 10));
	show(fd, 4, 0, 10);
	printf(" %zu %d", sum(4), v[3].iov_len == 0);
	poll(&p, 1, 0);
	ioctl(fd, FIONREAD, &q);
	printf(" still %x %d", p.revents, q);
	r = op.back(fd, 4);
	printf(" %d", r);
	show(fd, 4, 0, 6);
	r = (int)recv(fd, buf, 3, 0);
	printf(" %d %.3s", r, buf);
	show(fd, 1, MSG_DONTWAIT, 3);
	r = op.back(fd, 3);
	p.revents = 0;
	poll(&p, 1, 0);
	printf(" %d %x", r, p.revents);
	r = (int)op.recv(fd, v, 4, MSG_DONTWAIT);
	printf(" %s", en(r));
	nonblock(fd, true);
	r = (int)op.recv(fd, v, 4, 0);
	printf(" %s %d\n", en(r), op.back(fd, 0));
	close(fd);
}

static void t_in_place_ends(void)
{
	int fd = dial("HALF bye"), r;
	size_t got;

	usleep(50000);
	printf("in_place_ends:");
	show(fd, 2, 0, 3);
	printf(" %d", op.back(fd, 3));
	show(fd, 2, 0, 3);
	show(fd, 2, 0, 3);
	printf(" %zu\n", sum(2));
	close(fd);
	fd = dial("RESET");
	usleep(50000);
	printf("in_place_ends:");
	show(fd, 2, 0, 3);
	show(fd, 2, 0, 3);
	r = op.reserve(fd, 5, &got) ? (int)op.commit(fd, 5) : -1;
	printf(" %s\n", en(r));
	close(fd);
	fd = dial("SINK");
	op.reserve(fd, 5, &got);
	shutdown(fd, SHUT_WR);
	r = (int)op.commit(fd, 5);
	printf("in_place_ends: %s\n", en(r));
	close(fd);
}

static void t_in_place_waits(void)
{
	int fd = dial("DRIP 8 20"), low = 5, one = 1;
	struct timeval tv = { 0, 80000 };
	uint64_t t;
	int r;

	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &low, sizeof(low));
	r = (int)op.recv(fd, v, 8, 0);
	printf("in_place_waits: %d %.5s", r >= 5, (char *)v[0].iov_base);	/* or more, if we were late */
	op.back(fd, 5);
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 100 }, sizeof(low));
	r += (int)op.recv(fd, v, 8, 0) - 5;	/* the end comes first */
	printf(" %d\n", r >= 3 && r <= 6);
	close(fd);
	fd = dial("ECHO");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	t = now_ms();
	r = (int)op.recv(fd, v, 1, 0);
	printf("in_place_waits: %s %s", en(r), took(t, 80));
	close(fd);
	fd = dial("LATE 60 later");
	t = now_ms();
	show(fd, 1, 0, 5);
	printf(" %s", took(t, 60));
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &one, sizeof(one));
	printf(" %d\n", op.back(fd, 5));
	close(fd);
}

static void t_in_place_errors(void)
{
	int tcp = dial("ECHO"), udp = socket(peer.ss_family, SOCK_DGRAM, 0), file = open("/dev/null", O_RDWR), r;
	int raw = socket(peer.ss_family, SOCK_STREAM, 0), pair[2];
	char buf[8];
	size_t got = 77;

	r = (int)op.recv(tcp, v, 0, 0);
	printf("in_place_errors: %s", en(r));
	r = (int)op.recv(tcp, v, 1, MSG_PEEK);
	printf(" %s", en(r));
	r = op.back(tcp, 1);
	printf(" %s", en(r));
	r = op.reserve(tcp, 0, &got) ? 0 : -1;
	printf(" %s %zu", en(r), got);
	r = (int)op.commit(tcp, 1);
	printf(" %s", en(r));
	op.reserve(tcp, 4, &got);
	r = (int)op.commit(tcp, 5);
	printf(" %s", en(r));
	r = (int)op.commit(tcp, 0);
	printf(" %s", en(r));
	connect(udp, (void *)&peer, peer_n);
	r = (int)op.recv(udp, v, 1, MSG_DONTWAIT);
	printf("\nin_place_errors: udp %s", en(r));
	r = op.reserve(udp, 1, &got) ? 0 : -1;
	printf(" %s", en(r));
	r = (int)op.recv(file, v, 1, 0);
	printf(" file %s", en(r));
	r = op.reserve(file, 1, &got) ? 0 : -1;
	printf(" %s", en(r));
	r = (int)op.recv(raw, v, 1, 0);
	printf(" unconnected %s", en(r));
	close(raw);
	r = (int)op.recv(raw, v, 1, 0);
	printf(" closed %s", en(r));
	r = op.in_place(raw);
	printf(" %s", en(r));
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		return;
	memcpy(op.reserve(pair[0], 6, &got), "unixes", 6);
	printf(" unix %zd", op.commit(pair[0], 6));
	show(pair[1], 2, 0, 6);
	r = op.back(pair[1], 2);
	printf(" %d", r);
	r = op.back(pair[1], 2);
	printf(" %d %.2s", r, (char *)v[0].iov_base + 4);
	r = (int)read(pair[1], buf, 8);
	printf(" %d %.2s\n", r, buf);
	close(pair[0]);
	close(pair[1]);
	close(tcp);
	close(udp);
	close(file);
}

static void t_in_place_bulk(void)
{
	uint64_t n = 8 << 20, got = 0, wrong = 0, at = 0;
	int fd = dial("SOURCE 8388608"), pieces;
	char line[64];
	ssize_t r;

	while ((r = op.recv(fd, v, 1 + (int)(got % 64), 0)) > 0) {
		size_t take = 1 + (size_t)(got * 31) % (size_t)r, seen = 0;

		for (pieces = 0; pieces < 64 && seen < take; pieces++)
			for (size_t k = 0; k < v[pieces].iov_len && seen < take; k++, seen++)
				wrong += ((unsigned char *)v[pieces].iov_base)[k] != pattern(got + seen);
		if (op.back(fd, take))
			break;
		got += take;
	}
	printf("in_place_bulk: %lu %lu", (unsigned long)got, (unsigned long)wrong);
	close(fd);
	fd = dial("SINK");
	nonblock(fd, true);
	while (at < n) {
		struct pollfd p = { .fd = fd, .events = POLLOUT };
		size_t want = 1 + (size_t)(at * 31) % 200000, room, sent = 0;
		unsigned char *to;

		want = want < n - at ? want : (size_t)(n - at);
		to = op.reserve(fd, want, &room);
		if (!to && errno == EAGAIN && poll(&p, 1, 5000) > 0)
			continue;
		if (!to || !room || room > want)
			break;
		for (size_t i = 0; i < room; i++)
			to[i] = pattern(at + i);
		while (sent < room) {
			r = op.commit(fd, room - sent);
			if (r < 0 && errno == EAGAIN && poll(&p, 1, 5000) > 0)
				continue;
			if (r <= 0)
				break;
			sent += (size_t)r;
		}
		at += sent;
		if (sent < room)
			break;
	}
	nonblock(fd, false);
	shutdown(fd, SHUT_WR);
	r = recv(fd, line, sizeof(line), MSG_WAITALL);
	printf(" %lu %.*s\n", (unsigned long)at, (int)r - 1, line);
	close(fd);
}

/* Urgent bytes are passed as recv() passes them. */
static void t_in_place_urgent(void)
{
	int fd = dial("OOB abc"), r;
	char c = 0;

	usleep(80000);
	printf("in_place_urgent:");
	show(fd, 4, 0, 2);
	r = op.back(fd, sum(4));
	printf(" %d", r);
	r = (int)recv(fd, &c, 1, MSG_OOB);
	printf(" %d %c", r, c);
	shutdown(fd, SHUT_WR);
	usleep(50000);
	show(fd, 4, 0, 1);
	printf("\n");
	close(fd);
}

static void t_in_place_fork(void)
{
	int fd = dial("ECHO"), status = 0;
	size_t got;
	pid_t pid;

	memcpy(op.reserve(fd, 8, &got), "abcdefgh", 8);
	op.commit(fd, 8);
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 8 }, sizeof(int));
	printf("in_place_fork:");
	show(fd, 4, 0, 8);
	fflush(stdout);
	setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 1 }, sizeof(int));
	pid = fork();
	if (!pid) {
		int ok = memcmp(v[0].iov_base, "abcdefgh", 8) == 0 && op.recv(fd, v, 4, 0) == 8 &&
			 memcmp(v[0].iov_base, "abcdefgh", 8) == 0 && op.back(fd, 3) == 0;

		_exit(ok ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	printf(" %d", status);
	show(fd, 4, 0, 5);
	printf(" %d\n", op.back(fd, 5));
	close(fd);
}

static void t_register(void)
{
	size_t n = 5 << 20, page = 4096;
	unsigned char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), in[64];
	size_t present = 0;
	int r;

	p[100] = 7;
	r = op.reg(p + 50, n - 100);
	printf("register: %s", en(r));
	for (size_t at = 0; at < n; at += sizeof(in) * page) {
		size_t k = n - at < sizeof(in) * page ? (n - at) / page : sizeof(in);

		if (mincore(p + at, k * page, in))
			printf(" %s", en(-1));
		for (size_t i = 0; i < k; i++)
			present += in[i] & 1;
	}
	printf(" %d %d", present == n / page, p[100]);
	r = op.reg(p + n / 2, 10);
	printf(" again %s", en(r));
	r = op.unreg(p + 50, n);
	printf(" %s", en(r));
	r = op.unreg(p + 50, n - 100);
	printf(" %s", en(r));
	r = op.unreg(p + 50, n - 100);
	printf(" %s", en(r));
	r = op.reg(p, 0);
	printf(" %s", en(r));
	munmap(p, n);
	r = op.reg(p, n);
	printf(" %s\n", en(r));
}

static const struct one_case cases[] = {
	{ "in_place_echo", t_in_place_echo }, { "in_place_ends", t_in_place_ends },
	{ "in_place_waits", t_in_place_waits }, { "in_place_errors", t_in_place_errors },
	{ "in_place_bulk", t_in_place_bulk }, { "in_place_urgent", t_in_place_urgent },
	{ "in_place_fork", t_in_place_fork }, { "register", t_register },
};

int main(int argc, char **argv)
{
	op_load();
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
