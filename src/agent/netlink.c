// SPDX-License-Identifier: BSD-2-Clause
/*
 * One question to the kernel over rtnetlink, and its answer: an acknowledgement or a dump.
 * Used for making devices and for reading tables; multicast has a socket of its own, so an
 * answer is never mixed with news.
 */
#include "agent/agent.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/rtnetlink.h>

static uint32_t next_seq = 1;

int nl_open(struct agent *a)
{
	int on = 1;

	a->nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
	if (!a->nl)
		return -errno;
	if (mnl_socket_bind(a->nl, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Lets the kernel filter dumps by the header's fields; refused before Linux 4.20. */
	(void)mnl_socket_setsockopt(a->nl, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	return 0;
}

void nl_close(struct agent *a)
{
	if (a->nl)
		(void)mnl_socket_close(a->nl);
	a->nl = NULL;
}

/* Wraps the caller's callback for libmnl, which wants MNL_CB_*. */
struct talk { nl_fn fn; void *arg; };

static int on_message(const struct nlmsghdr *h, void *arg)
{
	struct talk *t = arg;

	return t->fn && t->fn(h, t->arg) < 0 ? MNL_CB_ERROR : MNL_CB_OK;
}

int nl_talk(struct agent *a, struct nlmsghdr *h, nl_fn fn, void *arg)
{
	static char buf[65536] aligned8;
	struct talk t = { fn, arg };
	uint32_t port = mnl_socket_get_portid(a->nl);
	ssize_t n;
	int rc;

	h->nlmsg_seq = next_seq++;
	if (mnl_socket_sendto(a->nl, h, h->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		n = mnl_socket_recvfrom(a->nl, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		/* The rest of an earlier answer, given up because the tables changed in it. */
		if ((size_t)n >= sizeof(*h) &&
		    ((const struct nlmsghdr *)(const void *)buf)->nlmsg_seq != h->nlmsg_seq)
			continue;
		rc = mnl_cb_run(buf, (size_t)n, h->nlmsg_seq, port, on_message, &t);
		if (rc == MNL_CB_ERROR)
			return errno ? -errno : -EIO;
		if (rc == MNL_CB_STOP)
			return 0;
	}
}
