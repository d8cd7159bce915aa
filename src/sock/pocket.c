/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A pocket: a network namespace of the bridge's own, in which any address is an address of this
 * host. There two kernel sockets can be connected under the names of a connection that is really
 * somewhere else, and whoever gets one of them sees what it would have seen: getsockname(),
 * getpeername(), options, TCP_INFO. Sockets keep the namespace they were made in wherever they
 * are passed, and the namespace goes with the last of them.
 *
 * It takes no privilege: a user namespace of one's own comes with the right to it. Where those
 * are forbidden (a sysctl, a container's rules, a chroot) the two sockets are connected over the
 * loopback that there is, and only their names are others.
 */
#include "sock/bridge.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>

#define ADDR_TRIES 100
#define LO_INDEX 1	/* a namespace's first interface */

enum { POCKET_UNTRIED, POCKET_OURS, POCKET_NONE };

/* ---- netlink: the two things that are asked of it ------------------------------------------------ */

struct nl_link { struct nlmsghdr h; struct ifinfomsg m; };
struct nl_addr {
	struct nlmsghdr h;
	struct ifaddrmsg m;
	struct { struct rtattr a; uint8_t b[16]; } of[2];
};

/* Sends a request and hears what became of it. */
static int nl_ask(struct nlmsghdr *h)
{
	struct { struct nlmsghdr h; struct nlmsgerr e; uint8_t more[256]; } got = { .e.error = -EPROTO };
	int fd = sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
	ssize_t n;

	if (fd < 0)
		return fd;
	h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	n = sys_sendto(fd, h, h->nlmsg_len, 0, NULL, 0);
	if (n >= 0)
		n = sys_recvfrom(fd, &got, sizeof(got), 0, NULL, NULL);
	sys_close(fd);
	return n < 0 ? (int)n : got.h.nlmsg_type == NLMSG_ERROR ? got.e.error : -EPROTO;
}

static int loopback_up(void)
{
	struct nl_link l = {
		.h = { .nlmsg_len = sizeof(l), .nlmsg_type = RTM_NEWLINK },
		.m = { .ifi_index = LO_INDEX, .ifi_flags = IFF_UP, .ifi_change = IFF_UP },
	};

	return nl_ask(&l.h);
}

static int own_address(const struct ipaddr *a)
{
	size_t bytes = ip_is4(a) ? 4 : 16, attr = RTA_LENGTH(bytes);
	struct nl_addr l = {
		.h = { .nlmsg_len = (uint32_t)(offsetof(struct nl_addr, of) + 2 * attr),
		       .nlmsg_type = RTM_NEWADDR, .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE },
		.m = { .ifa_family = ip_is4(a) ? AF_INET : AF_INET6, .ifa_prefixlen = (uint8_t)(bytes * 8),
		       .ifa_flags = IFA_F_NODAD, .ifa_index = LO_INDEX },
	};
	uint8_t *at = (uint8_t *)l.of;
	int i;

	for (i = 0; i < 2; i++, at += attr) {
		struct rtattr ra = { (uint16_t)attr, i ? IFA_ADDRESS : IFA_LOCAL };

		memcpy(at, &ra, sizeof(ra));
		memcpy(at + RTA_LENGTH(0), a->b + (16 - bytes), bytes);
	}
	return nl_ask(&l.h);
}

static bool in_pocket(void)
{
	static int state = POCKET_UNTRIED;

	if (state == POCKET_UNTRIED) {
		bool got = SYS1(SYS_unshare, CLONE_NEWNET) == 0 ||
			   SYS1(SYS_unshare, CLONE_NEWUSER | CLONE_NEWNET) == 0;

		state = got && loopback_up() == 0 ? POCKET_OURS : POCKET_NONE;
	}
	return state == POCKET_OURS;
}

/* ---- the pair ---------------------------------------------------------------------------------------- */

static int stream_socket(bool v6)
{
	int fd = sys_socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1, zero = 0;

	if (fd < 0)
		return fd;
	(void)sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (v6)
		(void)sys_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	return fd;
}

static int bind_to(int fd, const struct ipaddr *a, uint16_t port, bool v6)
{
	struct sockaddr_in6 sa;
	socklen_t n = sizeof(sa);

	addr_emit(a, port, v6, &sa, &n);
	return sys_bind(fd, &sa, v6 ? sizeof(sa) : sizeof(struct sockaddr_in));
}

/* A listener for this one connection. */
static int listener_at(const struct ipaddr *a, uint16_t port)
{
	bool v6 = !ip_is4(a);
	int fd = stream_socket(v6), err;

	if (fd < 0)
		return fd;
	err = bind_to(fd, a, port, v6);
	if (!err)
		err = sys_listen(fd, 1);
	if (err)
		sys_close(fd);
	return err ? err : fd;
}

static int connect_to(int fd, int listener, bool v6)
{
	struct sockaddr_in6 sa;
	socklen_t n = sizeof(sa);
	struct ipaddr a;
	uint16_t port;
	int err = sys_getsockname(listener, &sa, &n);

	if (!err)
		err = addr_parse((struct sockaddr *)&sa, n, &a, &port);
	if (err)
		return err;
	n = sizeof(sa);
	addr_emit(&a, port, v6, &sa, &n);
	return sys_connect(fd, &sa, v6 ? sizeof(sa) : sizeof(struct sockaddr_in));
}

static int pair_at(const struct pocket_ends *e, int *ret_program, int *ret_bridge)
{
	int l = listener_at(&e->raddr, e->rport), fd = -1, end = -1, err, one = 1;

	if (l < 0)
		return l;
	fd = stream_socket(e->family6);
	err = fd < 0 ? fd : bind_to(fd, &e->laddr, e->lport, e->family6);
	if (!err)
		err = connect_to(fd, l, e->family6);
	if (!err)
		end = sys_accept4(l, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!err && end < 0)
		err = end;
	sys_close(l);
	if (err) {
		if (fd >= 0)
			sys_close(fd);
		return err;
	}
	(void)sys_setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	*ret_program = fd;
	*ret_bridge = end;
	return 0;
}

/* An address of IPv6 is usable some moments after it was added, even where nothing is to be detected. */
static int pair_soon(const struct pocket_ends *e, int *ret_program, int *ret_bridge)
{
	int err, tries;

	for (tries = 0; tries < ADDR_TRIES; tries++) {
		err = pair_at(e, ret_program, ret_bridge);
		if (err != -EADDRNOTAVAIL && err != -ENETUNREACH)
			break;
		host_nap(NS_PER_MS);
	}
	return err;
}

int pocket_pair(const struct pocket_ends *e, int *ret_program, int *ret_bridge)
{
	struct pocket_ends plain = { .family6 = e->family6 };
	static const struct ipaddr loopback6 = { { [15] = 1 } };

	if (in_pocket() && own_address(&e->laddr) == 0 && own_address(&e->raddr) == 0 &&
	    pair_soon(e, ret_program, ret_bridge) == 0)
		return 0;
	plain.laddr = plain.raddr = ip_is4(&e->laddr) ? ip_from4(INADDR_LOOPBACK) : loopback6;
	return pair_at(&plain, ret_program, ret_bridge);
}
