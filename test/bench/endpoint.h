/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the benchmarks' programs meet: an IPv4 or IPv6 address and a port, or a path, which is
 * an AF_UNIX socket.
 */
#ifndef TEST_BENCH_ENDPOINT_H
#define TEST_BENCH_ENDPOINT_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

struct endpoint {
	struct sockaddr_storage addr;
	socklen_t n;
};

static inline struct endpoint endpoint(const char *host, const char *port)
{
	struct endpoint e = { .n = 0 };
	struct sockaddr_in6 *a6 = (void *)&e.addr;
	struct sockaddr_in *a4 = (void *)&e.addr;
	struct sockaddr_un *un = (void *)&e.addr;

	if (host[0] == '/' && strlen(host) < sizeof(un->sun_path)) {
		un->sun_family = AF_UNIX;
		memcpy(un->sun_path, host, strlen(host) + 1);
		e.n = sizeof(*un);
	} else if (inet_pton(AF_INET, host, &a4->sin_addr) == 1) {
		a4->sin_family = AF_INET;
		a4->sin_port = htons((uint16_t)atoi(port));
		e.n = sizeof(*a4);
	} else if (inet_pton(AF_INET6, host, &a6->sin6_addr) == 1) {
		a6->sin6_family = AF_INET6;
		a6->sin6_port = htons((uint16_t)atoi(port));
		e.n = sizeof(*a6);
	} else {
		fprintf(stderr, "'%s' is no address and no path\n", host);
		exit(2);
	}
	return e;
}

#endif
