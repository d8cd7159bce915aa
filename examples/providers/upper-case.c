/* SPDX-License-Identifier: BSD-2-Clause */
/* A provider that changes data: small letters become capitals, in either direction. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "onramp/provider.h"

static const struct onramp_ops *next;

static int upper_start(const struct onramp_ops *below, const char *options)
{
	(void)options;
	next = below;
	return 0;
}

static int upper_match(int family, int type, int protocol)
{
	(void)protocol;
	return (family == AF_INET || family == AF_INET6) && (type == SOCK_STREAM || type == SOCK_DGRAM);
}

static void upper(char *p, size_t n)
{
	while (n--) {
		*p = (char)toupper((unsigned char)*p);
		p++;
	}
}

/* The program's memory is its own: a copy is sent. */
static ssize_t upper_sendmsg(struct onramp_layer *l, int fd, const struct msghdr *m, int flags)
{
	struct msghdr copy = *m;
	struct iovec v = { NULL, 0 };
	size_t i, at = 0;
	ssize_t r;

	for (i = 0; i < m->msg_iovlen; i++)
		v.iov_len += m->msg_iov[i].iov_len;
	v.iov_base = malloc(v.iov_len + 1);
	if (!v.iov_base)
		return -ENOMEM;
	for (i = 0; i < m->msg_iovlen; at += m->msg_iov[i++].iov_len)
		memcpy((char *)v.iov_base + at, m->msg_iov[i].iov_base, m->msg_iov[i].iov_len);
	upper(v.iov_base, v.iov_len);
	copy.msg_iov = &v;
	copy.msg_iovlen = 1;
	r = next->sendmsg(l, fd, &copy, flags);
	free(v.iov_base);
	return r;
}

static ssize_t upper_recvmsg(struct onramp_layer *l, int fd, struct msghdr *m, int flags)
{
	ssize_t r = next->recvmsg(l, fd, m, flags);
	size_t i, k, left = r > 0 ? (size_t)r : 0;

	if (flags & (MSG_ERRQUEUE | (l->type == SOCK_STREAM ? MSG_TRUNC : 0)))
		return r;
	for (i = 0; i < m->msg_iovlen && left; i++, left -= k) {
		k = m->msg_iov[i].iov_len < left ? m->msg_iov[i].iov_len : left;
		upper(m->msg_iov[i].iov_base, k);
	}
	return r;
}

const struct onramp_provider onramp_provider = {
	.abi = ONRAMP_PROVIDER_ABI, .kind = ONRAMP_FILTER, .about = "makes letters capitals",
	.start = upper_start, .match = upper_match,
	.ops = { .sendmsg = upper_sendmsg, .recvmsg = upper_recvmsg },
};
