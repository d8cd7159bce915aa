/* SPDX-License-Identifier: BSD-2-Clause */
/* A base provider in place of one for RDMA: it makes TCP sockets, the kernel's, and says so: SO_PRIORITY is 5.
 * It refuses IPv6, so those go to who comes next. */
#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>

#include "onramp/provider.h"

static const struct onramp_ops *next;

static int switch_start(const struct onramp_ops *below, const char *options)
{
	(void)options;
	next = below;
	return 0;
}

static int switch_match(int family, int type, int protocol)
{
	(void)protocol;
	return (family == AF_INET || family == AF_INET6) && type == SOCK_STREAM;
}

static int switch_socket(struct onramp_layer *l, int family, int type, int protocol)
{
	int five = 5, fd;

	if (family == AF_INET6)
		return -EAFNOSUPPORT;
	fd = next->socket(l, family, type, protocol);
	if (fd >= 0)
		(void)next->setsockopt(l, fd, SOL_SOCKET, SO_PRIORITY, &five, sizeof(five));
	return fd;
}

const struct onramp_provider onramp_provider = {
	.abi = ONRAMP_PROVIDER_ABI, .kind = ONRAMP_BASE, .about = "TCP over IPv4, marked", .start = switch_start,
	.match = switch_match, .ops = { .socket = switch_socket },
};
