/* SPDX-License-Identifier: BSD-2-Clause */
/* Streams of stdio on sockets: opened before and after the connection, left full at the exit, and as the
 * standard streams of a program that is executed on a connection, as by inetd. */
#include "case.h"

static void hear(const char *name, int fd, size_t n)
{
	char buf[64] = "";
	size_t got = 0;
	ssize_t r = 0;

	while (got < n) {
		wait_in(fd);
		r = recv(fd, buf + got, n - got, MSG_DONTWAIT);
		if (r <= 0)
			break;
		got += (size_t)r;
	}
	printf("%s: %zu bytes, %.*s\n", name, got, (int)strcspn(buf, "\n"), buf);
}

static void reap(const char *name, pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	printf("%s: exit %d\n", name, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
}

static void t_left_at_exit(void)
{
	int fd = dial("ECHO");
	pid_t pid = fork();

	if (pid == 0) {
		FILE *f = fdopen(fd, "w");

		fprintf(f, "left in the stream\n");
		exit(3);
	}
	reap("left_at_exit", pid);
	hear("left_at_exit", fd, 19);
	close(fd);
}

static void t_not_at_abrupt_exit(void)
{
	int fd = dial("ECHO");
	pid_t pid = fork();

	if (pid == 0) {
		FILE *f = fdopen(fd, "w");

		fprintf(f, "never sent\n");
		_exit(4);
	}
	reap("not_at_abrupt_exit", pid);
	usleep(50000);
	printf("not_at_abrupt_exit: %s\n", en(recv(fd, &pid, 1, MSG_DONTWAIT)));
	close(fd);
}

static void t_before_connect(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);
	FILE *f = fdopen(fd, "r+");
	char line[64] = "";

	printf("before_connect: %s\n", en(connect(fd, (struct sockaddr *)&peer, peer_n)));
	printf("before_connect: printed %d", fprintf(f, "ECHO\na line\n"));
	printf(", flushed %d\n", fflush(f));
	printf("before_connect: %s", fgets(line, sizeof(line), f) ? line : "nothing\n");
	printf("before_connect: number %d\n", fileno(f) == fd);
	printf("before_connect: closed %d\n", fclose(f));
}

/* What the executed program does with its standard streams. */
static int talk(void)
{
	char line[64];

	printf("first\n");
	fflush(stdout);
	if (!fgets(line, sizeof(line), stdin))
		return 5;
	printf("then %s", line);
	fprintf(stderr, "unbuffered\n");
	return 6;
}

static void t_standard(void)
{
	char *const argv[] = { "stdio", "talk", NULL };
	int fd = dial("ECHO");
	pid_t pid = fork();

	if (pid == 0) {
		dup2(fd, 0);
		dup2(fd, 1);
		dup2(fd, 2);
		close(fd);
		execv("/proc/self/exe", argv);
		_exit(126);
	}
	reap("standard", pid);
	hear("standard", fd, 22);
	close(fd);
}

static const struct one_case cases[] = {
	{ "left_at_exit", t_left_at_exit }, { "not_at_abrupt_exit", t_not_at_abrupt_exit },
	{ "before_connect", t_before_connect }, { "standard", t_standard },
};

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "talk") == 0)
		return talk();
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
