// SPDX-License-Identifier: BSD-2-Clause
/*
 * One question to the kernel over netlink, and its answer: an acknowledgement or a dump. Of rtnetlink
 * it is asked for making devices and for reading tables; multicast has a socket of its own, so an
 * answer is never mixed with news. Of sock_diag, which connections it has; so rarely that the socket is
 * opened for the question.
 */
#include "agent/agent.h"

#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/inet_diag.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>

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

static int talk(struct mnl_socket *nl, struct nlmsghdr *h, nl_fn fn, void *arg)
{
	static char buf[65536] aligned8;
	struct talk t = { fn, arg };
	uint32_t port = mnl_socket_get_portid(nl);
	ssize_t n;
	int rc;

	h->nlmsg_seq = next_seq++;
	if (mnl_socket_sendto(nl, h, h->nlmsg_len) < 0)
		return -errno;
	for (;;) {
		n = mnl_socket_recvfrom(nl, buf, sizeof(buf));
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

int nl_talk(struct agent *a, struct nlmsghdr *h, nl_fn fn, void *arg) { return talk(a->nl, h, fn, arg); }

/* ---- connections ---- */

/* Those that a packet may still be for. What is in TIME_WAIT is not worth asking: who hears a reset from us
 * instead has closed, too. */
#define DIAG_STATES (~(1u << TCP_LISTEN | 1u << TCP_CLOSE | 1u << TCP_TIME_WAIT))

struct asked { diag_fn fn; void *arg; };

static struct ipaddr diag_addr(uint8_t family, const __be32 *w)
{
	struct ipaddr a;

	if (family == AF_INET)
		return ip_from4(ntohl(w[0]));
	memcpy(a.b, w, sizeof(a.b));
	return a;
}

static int on_connection(const struct nlmsghdr *h, void *arg)
{
	const struct inet_diag_msg *m = mnl_nlmsg_get_payload(h);
	const struct asked *q = arg;
	struct ipaddr l, r;

	if (h->nlmsg_type != SOCK_DIAG_BY_FAMILY || h->nlmsg_len < mnl_nlmsg_size(sizeof(*m)))
		return 0;
	l = diag_addr(m->idiag_family, m->id.idiag_src);
	r = diag_addr(m->idiag_family, m->id.idiag_dst);
	q->fn(q->arg, &l, ntohs(m->id.idiag_sport), &r);
	return 0;
}

/* from <= source port <= to, in the kernel's little language: a jump that overshoots says no. */
static void put_range(struct nlmsghdr *h, uint16_t from, uint16_t to)
{
	const struct inet_diag_bc_op ops[4] = {
		{ .code = INET_DIAG_BC_S_GE, .yes = 8, .no = 20 }, { .no = from },
		{ .code = INET_DIAG_BC_S_LE, .yes = 8, .no = 12 }, { .no = to },
	};

	mnl_attr_put(h, INET_DIAG_REQ_BYTECODE, sizeof(ops), ops);
}

int nl_connections(uint16_t from, uint16_t to, diag_fn fn, void *arg)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct mnl_socket *nl = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC);
	struct asked q = { fn, arg };
	struct inet_diag_req_v2 *r;
	char buf[256] aligned8;
	struct nlmsghdr *h;
	size_t i;
	int err;

	if (!nl)
		return -errno;
	err = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : 0;
	for (i = 0; !err && i < n_elems(families); i++) {
		h = mnl_nlmsg_put_header(buf);
		h->nlmsg_type = SOCK_DIAG_BY_FAMILY;
		h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
		r = mnl_nlmsg_put_extra_header(h, sizeof(*r));
		r->sdiag_family = families[i];
		r->sdiag_protocol = IPPROTO_TCP;
		r->idiag_states = DIAG_STATES;
		put_range(h, from, to);
		err = talk(nl, h, on_connection, &q);
	}
	(void)mnl_socket_close(nl);
	return err;
}
