/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program as others build and watch them: test/apps/tools makes it with another C library and with a
 * sanitizer, and runs it below debuggers and tracers. It echoes from a child, by a thread and by itself.
 *
 *   guest PORT		says "ready", and ends when its standard input does
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int fd;

static void echo(const char *text)
{
	char got[32] = "";
	ssize_t n = (ssize_t)strlen(text);

	if (send(fd, text, (size_t)n, 0) != n || recv(fd, got, (size_t)n, MSG_WAITALL) != n || strcmp(got, text))
		printf("not %s\n", text);
	else
		printf("%s\n", text);
	fflush(stdout);
}

static void *in_thread(void *arg)
{
	echo("thread");
	return arg;
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	pthread_t th;
	char c;

	a.sin_port = htons((unsigned short)atoi(argc > 1 ? argv[1] : ""));
	a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = socket(AF_INET, SOCK_STREAM, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) || send(fd, "ECHO\n", 5, 0) != 5) {
		perror("guest");
		return 1;
	}
	if (fork() == 0) {
		echo("child");
		_exit(0);
	}
	wait(NULL);
	pthread_create(&th, NULL, in_thread, NULL);
	pthread_join(th, NULL);
	echo("parent");
	printf("ready\n");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}
