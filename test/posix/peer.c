/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The other end of calls.c: a plain server that does what the first line of each connection
 * says, one process per connection.
 *
 *   peer ADDR PORT
 *
 *   ECHO			sends back what comes, until the end; then closes
 *   SOURCE n		sends n bytes of a known pattern, then closes
 *   SINK			counts to the end, answers "count sum\n", closes
 *   LATE ms text	waits, sends text, waits for the end
 *   DRIP n ms		sends n single bytes, that far apart
 *   RESET		closes with SO_LINGER 0
 *   HALF text		shuts down its sending side after text, then counts to the end
 *   HOLD ms		does nothing for a while, then closes
 *   DIAL port n ms	connects back to that port n times, ms apart; each says "hi", waits for the end
 *   OOB text		sends the last byte of text as urgent data
 *
 * On the same port it sends back datagrams; one that begins with "n" n times, "-" not at all.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static unsigned char pattern(uint64_t at)
{
	return (unsigned char)(at * 31 + (at >> 8) * 7 + 3);
}

static bool send_all(int fd, const void *p, size_t n)
{
	const char *at = p;

	while (n) {
		ssize_t r = send(fd, at, n, MSG_NOSIGNAL);

		if (r <= 0)
			return false;
		at += r;
		n -= (size_t)r;
	}
	return true;
}

static void drain(int fd)
{
	char buf[65536];

	while (recv(fd, buf, sizeof(buf), 0) > 0)
		;
}

static void echo(int fd)
{
	char buf[65536];
	ssize_t r;

	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0)
		if (!send_all(fd, buf, (size_t)r))
			return;
}

static void source(int fd, uint64_t n)
{
	unsigned char buf[32768];
	uint64_t at = 0;

	while (at < n) {
		size_t k = n - at < sizeof(buf) ? (size_t)(n - at) : sizeof(buf);

		for (size_t i = 0; i < k; i++)
			buf[i] = pattern(at + i);
		if (!send_all(fd, buf, k))
			return;
		at += k;
	}
}

static void sink(int fd)
{
	unsigned char buf[65536];
	uint64_t n = 0, wrong = 0;
	char line[64];
	ssize_t r;

	while ((r = recv(fd, buf, sizeof(buf), 0)) > 0) {
		for (ssize_t i = 0; i < r; i++)
			wrong += buf[i] != pattern(n + (uint64_t)i);
		n += (uint64_t)r;
	}
	send_all(fd, line, (size_t)snprintf(line, sizeof(line), "%lu %lu\n", (unsigned long)n,
					    (unsigned long)wrong));
}

static void drip(int fd, unsigned n, unsigned ms)
{
	for (unsigned i = 0; i < n; i++) {
		usleep(ms * 1000);
		if (!send_all(fd, "abcdefghijklmnopqrstuvwxyz" + i % 26, 1))
			return;
	}
}

static void reset(int fd)
{
	struct linger l = { 1, 0 };

	setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	close(fd);
}

static void dial_back(int fd, unsigned port, unsigned times, unsigned ms)
{
	struct sockaddr_storage a;
	socklen_t n = sizeof(a);

	getpeername(fd, (void *)&a, &n);
	((struct sockaddr_in *)&a)->sin_port = htons((uint16_t)port);
	while (times--) {
		int c = socket(a.ss_family, SOCK_STREAM, 0);

		usleep(ms * 1000);
		if (fork() == 0) {
			if (connect(c, (void *)&a, n) == 0 && send_all(c, "hi", 2))
				drain(c);
			_exit(0);
		}
		close(c);
	}
	drain(fd);
}

static void serve(int fd)
{
	char line[256], text[128] = "";
	unsigned long a = 0, b = 0, c = 0;
	size_t n = 0;

	while (n < sizeof(line) - 1 && recv(fd, line + n, 1, 0) == 1 && line[n] != '\n')
		n++;
	line[n] = 0;
	if (strcmp(line, "ECHO") == 0)
		echo(fd);
	else if (sscanf(line, "SOURCE %lu", &a) == 1)
		source(fd, a);
	else if (strcmp(line, "SINK") == 0)
		sink(fd);
	else if (sscanf(line, "LATE %lu %127s", &a, text) == 2)
		usleep((unsigned)a * 1000), send_all(fd, text, strlen(text)), drain(fd);
	else if (sscanf(line, "DRIP %lu %lu", &a, &b) == 2)
		drip(fd, (unsigned)a, (unsigned)b);
	else if (strcmp(line, "RESET") == 0)
		reset(fd);
	else if (sscanf(line, "HALF %127s", text) == 1)
		send_all(fd, text, strlen(text)), shutdown(fd, SHUT_WR), drain(fd);
	else if (sscanf(line, "HOLD %lu", &a) == 1)
		usleep((unsigned)a * 1000);
	else if (sscanf(line, "DIAL %lu %lu %lu", &a, &b, &c) == 3)
		dial_back(fd, (unsigned)a, (unsigned)b, (unsigned)c);
	else if (sscanf(line, "OOB %127s", text) == 1)
		send(fd, text, strlen(text), MSG_OOB), drain(fd);
}

static void echo_datagrams(int fd)
{
	struct sockaddr_storage from;
	char buf[65536];

	for (;;) {
		socklen_t n = sizeof(from);
		ssize_t r = recvfrom(fd, buf, sizeof(buf), 0, (void *)&from, &n);
		int times = r > 0 && buf[0] >= '2' && buf[0] <= '9' ? buf[0] - '0' : 1;

		for (; r >= 0 && times && !(r > 0 && buf[0] == '-'); times--)
			sendto(fd, buf, (size_t)r, 0, (void *)&from, n);
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	bool v6 = argc > 1 && strchr(argv[1], ':');
	int l, u, one = 1;

	if (argc != 3)
		return 2;
	signal(SIGCHLD, SIG_IGN);
	a4.sin_port = a6.sin6_port = htons((uint16_t)atoi(argv[2]));
	inet_pton(AF_INET, argv[1], &a4.sin_addr);
	inet_pton(AF_INET6, argv[1], &a6.sin6_addr);
	l = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM, 0);
	setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(l, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4)) || listen(l, 128))
		return perror("listen"), 1;
	u = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM, 0);
	if (bind(u, v6 ? (void *)&a6 : (void *)&a4, v6 ? sizeof(a6) : sizeof(a4)))
		return perror("bind"), 1;
	if (fork() == 0)
		echo_datagrams(u);
	close(u);
	for (;;) {
		int fd = accept(l, NULL, NULL);

		if (fd < 0)
			continue;
		if (fork() == 0) {
			close(l);
			serve(fd);
			_exit(0);
		}
		close(fd);
	}
}
