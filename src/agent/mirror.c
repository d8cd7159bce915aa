// SPDX-License-Identifier: BSD-2-Clause
/*
 * The mirror: what netlink says of links, addresses, routes and neighbours, for everybody to
 * read (abi/mirror.h).
 *
 * A table that news came about is read anew, whole, a little later, so that a burst costs one
 * dump and a lost message costs nothing. Neighbours alone are applied as they come: a
 * connection may be waiting for one. What is read lands in `next`, private; publish() copies
 * it under the seqlock and moves the generation only if an answer changed.
 *
 * Conservative: what the core does not model is a blocked route, which leaves the traffic to
 * the kernel. That is multipath, encapsulation, nexthop objects, TOS, source routing, all
 * types but unicast and local; every route of a family that has policy rules beyond the
 * kernel's own; and everything when a table does not fit.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "host/host.h"

#define SETTLE_NS (2 * NS_PER_MS)	/* after the first news of a burst */
#define STORM_NS  (250 * NS_PER_MS)	/* when the routes do not fit: they are many, and change */

#define DIRTY_LINKS	(1u << 0)
#define DIRTY_ADDRS	(1u << 1)
#define DIRTY_ROUTES	(1u << 2)
#define DIRTY_NEIGHS	(1u << 3)
#define DIRTY_ALL	15u

static struct mirror next;	/* being made */
static uint32_t dirty;
static uint64_t settle_at;	/* ns; 0: nothing is due */
static bool overflow;		/* the routes did not fit */
static bool ruled4, ruled6;	/* rules beyond the kernel's own */
static bool incomplete;		/* reading a table failed half-way: `next` is not to be shown */

static bool is_ours(const char *name)
{
	return !strncmp(name, "onr", 3) && name[3] >= '0' && name[3] <= '9';
}

static void soil(uint32_t what)
{
	dirty |= what;
	if (!settle_at)
		settle_at = host_now() + (overflow ? STORM_NS : SETTLE_NS);
}

/* ---- parsing ---- */

struct attrs { const struct nlattr *a[64]; };

static int on_attr(const struct nlattr *at, void *arg)
{
	struct attrs *as = arg;
	uint16_t type = mnl_attr_get_type(at);

	if (type < n_elems(as->a))
		as->a[type] = at;
	return MNL_CB_OK;
}

static void parse(const struct nlmsghdr *h, size_t header, struct attrs *ret)
{
	memset(ret, 0, sizeof(*ret));
	(void)mnl_attr_parse(h, (unsigned int)header, on_attr, ret);
}

static uint32_t u32_of(const struct nlattr *at)
{
	return at && mnl_attr_get_payload_len(at) >= 4 ? mnl_attr_get_u32(at) : 0;
}

static bool addr_of(const struct nlattr *at, int family, struct ipaddr *ret)
{
	if (!at)
		return false;
	if (family == AF_INET && mnl_attr_get_payload_len(at) == 4) {
		*ret = ip_from4(get_be32(mnl_attr_get_payload(at)));
		return true;
	}
	if (family == AF_INET6 && mnl_attr_get_payload_len(at) == 16) {
		memcpy(ret->b, mnl_attr_get_payload(at), 16);
		return true;
	}
	return false;
}

/* ---- links ---- */

static bool parse_link(const struct nlmsghdr *h, struct mir_link *l)
{
	const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(h);
	struct attrs as;

	parse(h, sizeof(*ifi), &as);
	if (!as.a[IFLA_IFNAME])
		return false;
	memset(l, 0, sizeof(*l));
	(void)snprintf(l->name, sizeof(l->name), "%s", mnl_attr_get_str(as.a[IFLA_IFNAME]));
	if (is_ours(l->name))
		return false;
	l->ifindex = (uint32_t)ifi->ifi_index;
	l->mtu = u32_of(as.a[IFLA_MTU]);
	if ((ifi->ifi_flags & IFF_UP) && (ifi->ifi_flags & IFF_RUNNING))
		l->flags |= LINK_UP;
	if (ifi->ifi_flags & IFF_LOOPBACK)
		l->flags |= LINK_LOOPBACK;
	if (as.a[IFLA_ADDRESS] && mnl_attr_get_payload_len(as.a[IFLA_ADDRESS]) == 6)
		memcpy(l->mac, mnl_attr_get_payload(as.a[IFLA_ADDRESS]), 6);
	return true;
}

static int on_link(const struct nlmsghdr *h, void *arg)
{
	struct agent *a = arg;
	struct mir_link l;

	if (h->nlmsg_type != RTM_NEWLINK || !parse_link(h, &l))
		return 0;
	if (link_find(a, l.ifindex))
		l.flags |= LINK_ATTACHED;
	if (next.n_links < N_LINKS) {
		next.links[next.n_links++] = l;
	} else if (l.flags & LINK_ATTACHED) {
		/* The core only asks about attached links: they displace the last of the rest. */
		uint32_t i = N_LINKS;

		while (i-- > 0)
			if (!(next.links[i].flags & (LINK_ATTACHED | LINK_LOOPBACK))) {
				next.links[i] = l;
				break;
			}
	}
	return 0;
}

/* ---- addresses ---- */

static int on_addr(const struct nlmsghdr *h, void *arg)
{
	const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(h);
	struct mir_addr m = { .ifindex = ifa->ifa_index, .prefix = ifa->ifa_prefixlen,
			      .scope = ifa->ifa_scope, .flags = ifa->ifa_flags };
	struct agent *a = arg;
	struct attrs as;
	uint32_t i;

	if (h->nlmsg_type != RTM_NEWADDR)
		return 0;
	parse(h, sizeof(*ifa), &as);
	/* IFA_LOCAL is ours; IFA_ADDRESS is the peer's on point-to-point links. */
	if (!addr_of(as.a[IFA_LOCAL], ifa->ifa_family, &m.addr) &&
	    !addr_of(as.a[IFA_ADDRESS], ifa->ifa_family, &m.addr))
		return 0;
	if (ifa->ifa_flags & IFA_F_DADFAILED)
		return 0;
	if (next.n_addrs < N_ADDRS) {
		next.addrs[next.n_addrs++] = m;
		return 0;
	}
	for (i = N_ADDRS; link_find(a, m.ifindex) && i-- > 0; )
		if (!link_find(a, next.addrs[i].ifindex)) {
			next.addrs[i] = m;
			break;
		}
	return 0;
}

/* ---- rules and routes ---- */

static int on_rule(const struct nlmsghdr *h, void *arg)
{
	const struct fib_rule_hdr *r = mnl_nlmsg_get_payload(h);
	struct attrs as;
	uint32_t table, prio;
	bool plain;

	(void)arg;
	if (h->nlmsg_type != RTM_NEWRULE)
		return 0;
	parse(h, sizeof(*r), &as);
	table = as.a[FRA_TABLE] ? u32_of(as.a[FRA_TABLE]) : r->table;
	prio = u32_of(as.a[FRA_PRIORITY]);
	plain = r->action == FR_ACT_TO_TBL && !r->src_len && !r->dst_len && !r->tos &&
		!(r->flags & FIB_RULE_INVERT) && !as.a[FRA_FWMARK] && !as.a[FRA_IIFNAME] &&
		!as.a[FRA_OIFNAME] && !as.a[FRA_L3MDEV] && !as.a[FRA_UID_RANGE] &&
		!as.a[FRA_IP_PROTO] && !as.a[FRA_SPORT_RANGE] && !as.a[FRA_DPORT_RANGE] &&
		!as.a[FRA_TUN_ID];
	if (plain && ((prio == 0 && table == RT_TABLE_LOCAL) ||
		      (prio == 32766 && table == RT_TABLE_MAIN) ||
		      (prio == 32767 && table == RT_TABLE_DEFAULT)))
		return 0;
	if (r->family == AF_INET)
		ruled4 = true;
	else if (r->family == AF_INET6)
		ruled6 = true;
	return 0;
}

static uint8_t route_type(const struct rtmsg *r, const struct attrs *as, uint32_t table)
{
	bool odd = r->rtm_tos || r->rtm_src_len || as->a[RTA_MULTIPATH] || as->a[RTA_NH_ID] ||
		   as->a[RTA_ENCAP] || (r->rtm_type == RTN_UNICAST && !as->a[RTA_OIF]);

	if (odd || table == RT_TABLE_DEFAULT)
		return ROUTE_BLOCKED;
	if (r->rtm_type == RTN_LOCAL)
		return ROUTE_LOCAL;
	return r->rtm_type == RTN_UNICAST ? ROUTE_UNICAST : ROUTE_BLOCKED;
}

static int on_metric(const struct nlattr *at, void *arg)
{
	if (mnl_attr_get_type(at) == RTAX_MTU)
		*(uint32_t *)arg = mnl_attr_get_u32(at);
	return MNL_CB_OK;
}

/* A gateway of the other family (RTA_VIA) is an address like any other: neighbours are
 * looked up by address and interface. */
static void parse_gateway(const struct rtmsg *r, const struct attrs *as, struct mir_route *m)
{
	const struct nlattr *via = as->a[RTA_VIA];
	const uint8_t *p;

	if (addr_of(as->a[RTA_GATEWAY], r->rtm_family, &m->gateway) || !via)
		return;
	p = mnl_attr_get_payload(via);
	if (mnl_attr_get_payload_len(via) == 2 + 16 && p[0] == AF_INET6)
		memcpy(m->gateway.b, p + 2, 16);
	else
		m->type = ROUTE_BLOCKED;
}

static int on_route(const struct nlmsghdr *h, void *arg)
{
	const struct rtmsg *r = mnl_nlmsg_get_payload(h);
	struct mir_route m = { .ifindex = 0 };
	struct attrs as;
	uint32_t table;

	(void)arg;
	if (h->nlmsg_type != RTM_NEWROUTE || (r->rtm_family != AF_INET && r->rtm_family != AF_INET6))
		return 0;
	parse(h, sizeof(*r), &as);
	table = as.a[RTA_TABLE] ? u32_of(as.a[RTA_TABLE]) : r->rtm_table;
	if (table != RT_TABLE_MAIN && table != RT_TABLE_LOCAL && table != RT_TABLE_DEFAULT)
		return 0;	/* no rule leads there, or all are blocked (ruled4, ruled6) */
	if ((r->rtm_flags & (RTM_F_CLONED | RTNH_F_DEAD)) != 0)
		return 0;
	m.is4 = r->rtm_family == AF_INET;
	m.prefix = (uint8_t)(r->rtm_dst_len + (m.is4 ? 96 : 0));
	m.dst = m.is4 ? ip_from4(0) : (struct ipaddr){ { 0 } };
	(void)addr_of(as.a[RTA_DST], r->rtm_family, &m.dst);
	(void)addr_of(as.a[RTA_PREFSRC], r->rtm_family, &m.prefsrc);
	m.ifindex = u32_of(as.a[RTA_OIF]);
	m.metric = u32_of(as.a[RTA_PRIORITY]);
	m.type = route_type(r, &as, table);
	parse_gateway(r, &as, &m);
	if (as.a[RTA_METRICS])
		(void)mnl_attr_parse_nested(as.a[RTA_METRICS], on_metric, &m.mtu);
	if (m.type != ROUTE_LOCAL && (m.is4 ? ruled4 : ruled6))
		m.type = ROUTE_BLOCKED;
	if (!m.ifindex)
		m.ifindex = UINT32_MAX;	/* blackhole and the like: in use, and nowhere */
	if (next.n_routes < N_ROUTES)
		next.routes[next.n_routes++] = m;
	else
		overflow = true;
	return 0;
}

static int by_preference(const void *pa, const void *pb)
{
	const struct mir_route *x = pa, *y = pb;

	if (x->prefix != y->prefix)
		return x->prefix > y->prefix ? -1 : 1;
	if (x->metric != y->metric)
		return x->metric < y->metric ? -1 : 1;
	return memcmp(x, y, sizeof(*x));	/* any fixed order: publish() compares */
}

/* Of too many routes none can be trusted to be the best: all are left to the kernel. */
static void block_everything(void)
{
	uint32_t i;

	next.n_routes = 2;
	for (i = 0; i < 2; i++)
		next.routes[i] = (struct mir_route){ .ifindex = UINT32_MAX, .type = ROUTE_BLOCKED,
						     .is4 = (uint8_t)i,
						     .prefix = (uint8_t)(i ? 96 : 0),
						     .dst = i ? ip_from4(0) :
								(struct ipaddr){ { 0 } } };
}

/* ---- neighbours ---- */

static bool parse_neigh(struct agent *a, const struct nlmsghdr *h, struct mir_neigh *m,
			uint16_t *ret_state)
{
	const struct ndmsg *nd = mnl_nlmsg_get_payload(h);
	struct attrs as;

	memset(m, 0, sizeof(*m));
	if (nd->ndm_family != AF_INET && nd->ndm_family != AF_INET6)
		return false;
	parse(h, sizeof(*nd), &as);
	m->ifindex = (uint32_t)nd->ndm_ifindex;
	*ret_state = nd->ndm_state;
	if (!link_find(a, m->ifindex) || !addr_of(as.a[NDA_DST], nd->ndm_family, &m->addr))
		return false;
	if (nd->ndm_state & NUD_FAILED)
		m->flags = NEIGH_FAILED;
	else if ((nd->ndm_state & (NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE |
				   NUD_PERMANENT | NUD_NOARP)) && as.a[NDA_LLADDR] &&
		 mnl_attr_get_payload_len(as.a[NDA_LLADDR]) == 6) {
		m->flags = NEIGH_VALID;
		memcpy(m->mac, mnl_attr_get_payload(as.a[NDA_LLADDR]), 6);
	}
	if (h->nlmsg_type == RTM_DELNEIGH)
		m->flags = 0;
	return true;
}

static void put_neigh(const struct mir_neigh *m)
{
	uint32_t i;

	for (i = 0; i < next.n_neighs; i++)
		if (next.neighs[i].ifindex == m->ifindex && ip_eq(&next.neighs[i].addr, &m->addr))
			break;
	if (m->flags && i < N_NEIGHS) {
		next.neighs[i] = *m;
		next.n_neighs += i == next.n_neighs;
	} else if (!m->flags && i < next.n_neighs) {
		next.neighs[i] = next.neighs[--next.n_neighs];
	}
}

static int on_neigh(const struct nlmsghdr *h, void *arg)
{
	struct mir_neigh m;
	uint16_t state;

	if (h->nlmsg_type == RTM_NEWNEIGH && parse_neigh(arg, h, &m, &state))
		put_neigh(&m);
	return 0;
}

/* ---- dumps ---- */

static int dump(struct agent *a, uint16_t type, uint8_t family, nl_fn fn)
{
	char buf[256] aligned8;
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	/* All of these begin with the family; strict checking wants the exact size. */
	size_t size = type == RTM_GETLINK ? sizeof(struct ifinfomsg) :
		      type == RTM_GETADDR ? sizeof(struct ifaddrmsg) :
		      type == RTM_GETROUTE ? sizeof(struct rtmsg) :
		      type == RTM_GETNEIGH ? sizeof(struct ndmsg) : sizeof(struct fib_rule_hdr);

	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	*(uint8_t *)mnl_nlmsg_put_extra_header(h, size) = family;
	return nl_talk(a, h, fn, a);
}

static int read_routes(struct agent *a)
{
	int err;

	ruled4 = ruled6 = overflow = false;
	next.n_routes = 0;
	err = dump(a, RTM_GETRULE, AF_INET, on_rule);
	if (!err)
		err = dump(a, RTM_GETROUTE, AF_INET, on_route);
	if (!err && !dump(a, RTM_GETRULE, AF_INET6, on_rule))
		err = dump(a, RTM_GETROUTE, AF_INET6, on_route);
	if (overflow)
		block_everything();
	qsort(next.routes, next.n_routes, sizeof(next.routes[0]), by_preference);
	return err;
}

static int read_tables(struct agent *a, uint32_t which)
{
	int err = 0;

	if (which & DIRTY_LINKS) {
		next.n_links = 0;
		err = dump(a, RTM_GETLINK, AF_UNSPEC, on_link);
	}
	if (!err && (which & DIRTY_ADDRS)) {
		next.n_addrs = 0;
		err = dump(a, RTM_GETADDR, AF_UNSPEC, on_addr);
	}
	if (!err && (which & DIRTY_ROUTES))
		err = read_routes(a);
	if (!err && (which & DIRTY_NEIGHS)) {
		next.n_neighs = 0;
		err = dump(a, RTM_GETNEIGH, AF_UNSPEC, on_neigh);
	}
	incomplete = err != 0;
	return err;
}

/* ---- publishing ---- */

static bool same(const struct mirror *x, const struct mirror *y)
{
	return x->n_links == y->n_links && x->n_addrs == y->n_addrs &&
	       x->n_routes == y->n_routes && x->n_neighs == y->n_neighs &&
	       !memcmp(x->links, y->links, x->n_links * sizeof(x->links[0])) &&
	       !memcmp(x->addrs, y->addrs, x->n_addrs * sizeof(x->addrs[0])) &&
	       !memcmp(x->routes, y->routes, x->n_routes * sizeof(x->routes[0])) &&
	       !memcmp(x->neighs, y->neighs, x->n_neighs * sizeof(x->neighs[0]));
}

static void publish(struct agent *a)
{
	struct mirror *m = a->mirror;

	if (incomplete || same(m, &next))
		return;
	mirror_begin(m);
	memcpy(m->links, next.links, sizeof(m->links));
	memcpy(m->addrs, next.addrs, sizeof(m->addrs));
	memcpy(m->routes, next.routes, next.n_routes * sizeof(m->routes[0]));
	memcpy(m->neighs, next.neighs, next.n_neighs * sizeof(m->neighs[0]));
	m->n_links = next.n_links;
	m->n_addrs = next.n_addrs;
	m->n_routes = next.n_routes;
	m->n_neighs = next.n_neighs;
	if (++m->generation == 0)
		m->generation = 1;	/* 0 means "ask again" in a path */
	mirror_end(m);
}

static void tell_links(struct agent *a)
{
	uint32_t i, k;

	for (i = 0; i < a->mirror->n_links; i++)
		link_changed(a, &a->mirror->links[i]);
	for (i = 0; i < N_VIS; i++) {
		if (!a->nics[i].live)
			continue;
		for (k = 0; k < a->mirror->n_links; k++)
			if (a->mirror->links[k].ifindex == a->nics[i].ifindex)
				break;
		if (k == a->mirror->n_links)
			link_gone(a, a->nics[i].ifindex);
	}
}

void mirror_settle(struct agent *a)
{
	uint32_t which = dirty;
	int err;

	if (!settle_at || host_now() < settle_at)
		return;
	settle_at = 0;
	dirty = 0;
	err = read_tables(a, which);
	if (err) {		/* the tables changed while they were read: once more */
		soil(DIRTY_ALL);
		return;
	}
	publish(a);
	if (which & DIRTY_ADDRS)
		filter_locals(a);
	if (which & DIRTY_LINKS)
		tell_links(a);
}

int mirror_timeout(void)
{
	uint64_t now;

	if (!settle_at)
		return -1;
	now = host_now();
	return now >= settle_at ? 0 : (int)((settle_at - now + NS_PER_MS - 1) / NS_PER_MS);
}

void mirror_links_changed(struct agent *a)
{
	uint32_t tries;

	for (tries = 0; tries < 3; tries++)
		if (!read_tables(a, DIRTY_ALL))
			break;
	if (tries == 3)
		soil(DIRTY_ALL);
	publish(a);
}

/* ---- news ---- */

/* Our traffic does not pass the kernel, so it cannot see that a neighbour is in use: it lets
 * entries go stale. Asking keeps those of attached links verified while there are stacks. */
static void keep_fresh(struct agent *a, const struct mir_neigh *m, uint16_t state)
{
	struct ctl_neigh n = { .addr = m->addr, .ifindex = m->ifindex };
	uint32_t i;

	if (state != NUD_STALE)
		return;
	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].state == STACK_LIVE) {
			mirror_neigh_ask(a, &n);
			return;
		}
}

static int on_news(const struct nlmsghdr *h, void *arg)
{
	struct agent *a = arg;
	struct mir_neigh m;
	struct mir_link l;
	uint16_t state;

	switch (h->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		if (parse_link(h, &l))
			soil(DIRTY_LINKS | DIRTY_ADDRS | DIRTY_ROUTES);
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		soil(DIRTY_ADDRS | DIRTY_ROUTES);
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		if (!parse_neigh(a, h, &m, &state))
			break;
		put_neigh(&m);
		publish(a);
		keep_fresh(a, &m, state);
		break;
	default:
		soil(DIRTY_ROUTES);	/* routes, rules, nexthops */
	}
	return MNL_CB_OK;
}

void mirror_event(struct agent *a)
{
	static char buf[65536] aligned8;
	uint32_t i;
	ssize_t n;

	for (i = 0; i < 64; i++) {
		n = recv(mnl_socket_get_fd(a->events), buf, sizeof(buf), MSG_DONTWAIT);
		if (n < 0 && errno == ENOBUFS)
			soil(DIRTY_ALL);	/* some were lost: read all again */
		else if (n <= 0)
			return;
		else
			(void)mnl_cb_run(buf, (size_t)n, 0, 0, on_news, a);
	}
}

void mirror_neigh_ask(struct agent *a, const struct ctl_neigh *n)
{
	char buf[256] aligned8;
	struct nlmsghdr *h;
	struct ndmsg *nd;

	if (!link_find(a, n->ifindex))
		return;
	h = mnl_nlmsg_put_header(buf);
	h->nlmsg_type = RTM_NEWNEIGH;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_CREATE | NLM_F_ACK;
	nd = mnl_nlmsg_put_extra_header(h, sizeof(*nd));
	nd->ndm_family = ip_is4(&n->addr) ? AF_INET : AF_INET6;
	nd->ndm_ifindex = (int)n->ifindex;
	nd->ndm_flags = NTF_USE;
	if (ip_is4(&n->addr))
		mnl_attr_put(h, NDA_DST, 4, n->addr.b + 12);
	else
		mnl_attr_put(h, NDA_DST, 16, n->addr.b);
	(void)nl_talk(a, h, NULL, NULL);
}

bool mirror_has_addr(const struct agent *a, const struct ipaddr *addr)
{
	const struct mirror *m = a->mirror;
	uint32_t i;

	for (i = 0; i < m->n_addrs; i++)
		if (ip_eq(&m->addrs[i].addr, addr) &&
		    link_find((struct agent *)(uintptr_t)a, m->addrs[i].ifindex))
			return true;
	return false;
}

bool mirror_is_host(const struct agent *a, const struct ipaddr *addr)
{
	uint32_t i;

	for (i = 0; i < a->mirror->n_addrs; i++)
		if (ip_eq(&a->mirror->addrs[i].addr, addr))
			return true;
	return ip_is_loopback(addr);
}

/* ---- opening ---- */

/* A file that only we can write: sealed after our own mapping is made. */
static int make_file(struct agent *a)
{
	int fd = memfd_create("onramp-mirror", MFD_CLOEXEC | MFD_ALLOW_SEALING), err = 0;
	char path[40];

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, sizeof(struct mirror)) || fchmod(fd, 0444))
		err = -errno;
	a->mirror = err ? MAP_FAILED : mmap(NULL, sizeof(struct mirror), PROT_READ | PROT_WRITE,
					    MAP_SHARED, fd, 0);
	if (a->mirror == MAP_FAILED) {
		a->mirror = NULL;
		err = err ? err : -errno;
	}
	if (!err && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE |
					   F_SEAL_SEAL))
		err = -errno;
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	a->mirror_fd = err ? -1 : open(path, O_RDONLY | O_CLOEXEC);
	if (!err && a->mirror_fd < 0)
		err = -errno;
	(void)close(fd);
	return err;
}

static int subscribe(struct agent *a)
{
	static const int groups[] = { RTNLGRP_LINK, RTNLGRP_NEIGH, RTNLGRP_IPV4_IFADDR,
				      RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE,
				      RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP };
	int bytes = 1 << 20;
	size_t i;

	a->events = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!a->events || mnl_socket_bind(a->events, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	(void)setsockopt(mnl_socket_get_fd(a->events), SOL_SOCKET, SO_RCVBUFFORCE, &bytes,
			 sizeof(bytes));
	for (i = 0; i < n_elems(groups); i++)	/* a kernel may lack the last ones */
		(void)setsockopt(mnl_socket_get_fd(a->events), SOL_NETLINK, NETLINK_ADD_MEMBERSHIP,
				 &groups[i], sizeof(groups[i]));
	return 0;
}

int mirror_open(struct agent *a)
{
	int err = make_file(a);

	if (!err)
		err = subscribe(a);
	if (err)
		return err;
	a->mirror->magic = MIRROR_MAGIC;
	a->mirror->generation = 1;
	host_tcp_tuning(&a->mirror->tcp);
	mirror_links_changed(a);
	return 0;
}

void mirror_close(struct agent *a)
{
	if (a->events)
		(void)mnl_socket_close(a->events);
	if (a->mirror)
		(void)munmap(a->mirror, sizeof(struct mirror));
	if (a->mirror_fd >= 0)
		(void)close(a->mirror_fd);
	a->events = NULL;
	a->mirror = NULL;
	a->mirror_fd = -1;
}
