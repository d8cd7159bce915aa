// SPDX-License-Identifier: BSD-2-Clause
/*
 * Is it a request at all, and may this caller make it? A pure, total function of the bytes,
 * the number of descriptors beside them and what the kernel says of the caller: no system
 * call, no state. Everything past it may rely on what it says.
 *
 *  Q1  A message has exactly the fixed size and our version.
 *  Q2  HELLO comes first; a stack's requests come after STACK_GET or STACK_JOIN.
 *  Q3  A descriptor comes with those requests that want one, and with no other.
 *  Q4  Changing links is root's. Everything else is anybody's; limits come later.
 *  Q5  Strings end within their field; ports, protocols and addresses are of a kind we serve,
 *      slots and ids are within their range.
 */
#include "agent/agent.h"

#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>

#define WANTS_ROOT	(1u << 0)
#define WANTS_STACK	(1u << 1)
#define WANTS_FD	(1u << 2)
#define MAY_FD		(1u << 3)
#define NO_STACK	(1u << 4)	/* one connection speaks for one stack, for good */
#define ANY_TIME	(1u << 5)	/* before HELLO too */

static const struct { uint8_t known, wants; } rules[] = {
	[CTL_HELLO]	 = { 1, ANY_TIME | MAY_FD },
	[CTL_STACK_GET]	 = { 1, NO_STACK | MAY_FD },
	[CTL_LEASE_ADD]	 = { 1, WANTS_STACK | WANTS_FD },
	[CTL_LEASE_DEL]	 = { 1, WANTS_STACK },
	[CTL_FLOW_ADD]	 = { 1, WANTS_STACK },
	[CTL_FLOW_DEL]	 = { 1, WANTS_STACK },
	[CTL_PORTS_GET]	 = { 1, WANTS_STACK },
	[CTL_NEIGH_ASK]	 = { 1, 0 },
	[CTL_ATTACH]	 = { 1, WANTS_ROOT },
	[CTL_DETACH]	 = { 1, WANTS_ROOT },
	[CTL_STATUS]	 = { 1, 0 },
	[CTL_STACKS]	 = { 1, 0 },
	[CTL_SHUTDOWN]	 = { 1, WANTS_ROOT | ANY_TIME },
	[CTL_STACK_JOIN] = { 1, NO_STACK | WANTS_FD },
	[CTL_PAIR_GET]	 = { 1, WANTS_STACK },
	[CTL_PAIR_AT]	 = { 1, WANTS_STACK },
	[CTL_PAIR_DEL]	 = { 1, WANTS_STACK },
};

static bool proto_ok(uint8_t proto) { return proto == IPPROTO_TCP || proto == IPPROTO_UDP; }

static bool link_ok(const struct ctl_link *l)
{
	size_t n = strnlen(l->name, sizeof(l->name));

	return n > 0 && n < IFNAMSIZ && l->mode <= ATTACH_GENERIC && !(l->flags & ~ATTACH_F_DIRECT);
}

static int check_body(const struct ctl_msg *m)
{
	switch (m->op) {
	case CTL_LEASE_ADD:
	case CTL_LEASE_DEL:
		if (!proto_ok(m->u.lease.proto) || !m->u.lease.lport || m->u.lease.family6_dual > 1)
			return -EINVAL;
		return 0;
	case CTL_FLOW_ADD:
	case CTL_FLOW_DEL:
		if (!proto_ok(m->u.flow.proto) || !m->u.flow.lport || !m->u.flow.rport ||
		    ip_is_any(&m->u.flow.laddr) || ip_is_any(&m->u.flow.raddr) ||
		    ip_is4(&m->u.flow.laddr) != ip_is4(&m->u.flow.raddr))
			return -EINVAL;
		return 0;
	case CTL_NEIGH_ASK:
		return ip_is_any(&m->u.neigh.addr) || !m->u.neigh.ifindex ? -EINVAL : 0;
	case CTL_PAIR_GET:
		return m->u.pair.peer ? 0 : -EINVAL;
	case CTL_PAIR_AT:
		return m->u.pair.slot < N_PAIRS ? 0 : -EINVAL;
	case CTL_PAIR_DEL:
		return m->u.pair.slot < N_PAIRS && m->u.pair.pair_id ? 0 : -EINVAL;
	case CTL_ATTACH:
	case CTL_DETACH:
		return link_ok(&m->u.link) ? 0 : -EINVAL;
	default:
		return 0;
	}
}

int request_check(const struct ctl_msg *m, size_t bytes, uint32_t n_fds, const struct caller *who,
		  uint64_t layout_hash)
{
	uint8_t wants;

	if (bytes != sizeof(*m) || m->version != CTL_VERSION)
		return -EPROTO;
	if (m->op >= n_elems(rules) || !rules[m->op].known)
		return -EOPNOTSUPP;
	wants = rules[m->op].wants;
	if (m->op == CTL_HELLO && m->layout_hash != layout_hash)
		return -EPROTO;
	if (!who->greeted && !(wants & ANY_TIME))
		return -EPROTO;
	if ((wants & WANTS_ROOT) && who->uid != 0)
		return -EPERM;
	if ((wants & WANTS_STACK) && !who->has_stack)
		return -ENOTCONN;
	if ((wants & NO_STACK) && (who->has_stack || who->internal))
		return -EISCONN;
	if (n_fds > 1 || ((wants & WANTS_FD) && n_fds != 1))
		return -EBADF;
	if (n_fds && !(wants & (WANTS_FD | MAY_FD)))
		return -EBADF;
	return check_body(m);
}
