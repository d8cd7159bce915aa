// SPDX-License-Identifier: BSD-2-Clause
/*
 * Leases: the right to receive on (protocol, address, port) and to send from it.
 *
 * The proof is a bound kernel socket, so the kernel's own rules decide who gets what:
 * privileged ports, SO_REUSEPORT's check of users, namespaces. Whoever holds the descriptor
 * has the right, as a worker has that was handed its listener; who created it is not asked.
 *
 *  E1  The socket is TCP or UDP over IPv4 or IPv6, of this namespace, bound where it says,
 *      to no device.
 *  E2  A TCP socket is bound or listening, and never was a connection: a worker that accepted
 *      from port 443 does not own port 443. A connection that has died looks unconnected and
 *      still shows its port; but the kernel has taken the port from it, so it can be bound
 *      again. bind() to port 0 tells: EINVAL says that the port is really held (is_held()).
 *  E3  One key belongs to one stack. Within a stack several sockets may prove it (reuseport);
 *      the filter goes with the last.
 *  E4  The agent keeps a duplicate, so the port stays taken as long as the stack uses it. When
 *      a listener is closed its duplicate is, too; the port stays bound until the last
 *      connection of it, each with an exact entry then, is gone ("parked").
 *  E5  When the last program of a stack is gone, its sockets stop listening at once, as the
 *      kernel's do. Its surrogate then says which connections live on and gives the leases
 *      back; who asks for one meanwhile waits (ctl.c). A lease that it has not given back
 *      LAPSE_NS later is void: the program died between proving it and using it.
 *  E6  A lease is listed in the directory from the moment it is granted until it is given back
 *      or its stack has no program any more, for connections from this host. Besides, if an
 *      attached interface has the address and the stack a virtual function, it is in the
 *      filters. Loopback is no interface that can be attached: its leases are listed only.
 *  E7  The kernel may have connections of a port that is leased anew: accepted by a predecessor, or
 *      half open. They stay the kernel's (B4 of the XDP programs), which costs a look for each packet;
 *      so the agent looks now and then whether they are gone. Those within this host do not count:
 *      none of their packets passes an interface.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <unistd.h>

#include "host/host.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

#define N_BUCKETS 1024
#define LOOK_FIRST_NS	NS_PER_S	/* E7: then after twice as long each time */
#define LOOK_LONGEST_NS	(60 * NS_PER_S)

struct lease {
	struct lease *next;	/* in the bucket of (proto, lport) */
	struct stack *stack;
	struct bound_key key[2];	/* [1]: the IPv4 wildcard of a dual-stack :: */
	uint32_t n_keys;
	uint32_t n_flows;	/* exact entries under it */
	bool	 parked;
	bool	 filtered;	/* in the filters (E6) */
	bool	 listed;	/* in the directory */
	int	 fd;		/* our duplicate of the proof; -1: let go, and no placeholder was to be had */
	bool	 let_go;	/* the proof is closed, fd is a placeholder for its port */
	struct ipaddr addr;	/* as in key[0] */
	uint64_t cookie;	/* SO_COOKIE of the proof, of which programs tell the low half */
	bool	 shared;	/* E7 */
	bool	 seen;		/* ... in the look that goes on */
	uint64_t look_at, look_ns;	/* the next one; what was waited for it */
};

static struct lease *buckets[N_BUCKETS];
static uint32_t n_leases;
static uint64_t look_at;	/* the earliest of theirs; 0: none is shared */

uint32_t lease_count(void) { return n_leases; }

static struct lease **bucket(uint8_t proto, uint16_t lport)
{
	return &buckets[(lport * 2u + (proto == IPPROTO_UDP)) % N_BUCKETS];
}

static struct bound_key key_of(const struct ipaddr *addr, uint16_t lport, uint8_t proto)
{
	struct bound_key k = { .lport = lport, .proto = proto };

	memcpy(&k.laddr, addr, sizeof(k.laddr));
	return k;
}

/* ---- the proof ---- */

static int sock_int(int fd, int level, int name, int *ret)
{
	socklen_t n = sizeof(*ret);

	return getsockopt(fd, level, name, ret, &n) ? -errno : 0;
}

/* E1: of this namespace, and not tied to a device (its filter would serve all of them). */
static int check_place(const struct agent *a, int fd)
{
	socklen_t n = sizeof(uint64_t);
	char dev[16] = "";
	uint64_t cookie;

	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &n) || cookie != a->netns_cookie)
		return -EPERM;
	n = sizeof(dev);
	if (!getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev, &n) && n && dev[0])
		return -EADDRNOTAVAIL;
	return 0;
}

static int check_name(int fd, int domain, const struct ctl_lease *l)
{
	union { struct sockaddr sa; struct sockaddr_in in; struct sockaddr_in6 in6; } u;
	socklen_t n = sizeof(u);
	struct ipaddr addr;
	int v6only = 0;

	memset(&u, 0, sizeof(u));
	if (getsockname(fd, &u.sa, &n))
		return -errno;
	if (domain == AF_INET) {
		addr = ip_from4(ntohl(u.in.sin_addr.s_addr));
		if (l->family6_dual)
			return -EPERM;
		return ip_eq(&addr, &l->laddr) && ntohs(u.in.sin_port) == l->lport ? 0 : -EPERM;
	}
	memcpy(addr.b, &u.in6.sin6_addr, 16);
	if (!ip_eq(&addr, &l->laddr) || ntohs(u.in6.sin6_port) != l->lport)
		return -EPERM;
	if (!l->family6_dual)
		return 0;
	/* Both families: only a wildcard without IPV6_V6ONLY has that. */
	if (sock_int(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only) || v6only || !ip_is_any(&addr))
		return -EPERM;
	return 0;
}

/* E2. The agent has no CAP_NET_BIND_SERVICE, and port 0 needs none: if the socket did not
 * hold its port, it gets an ephemeral one now, which is no harm and is refused. */
static bool is_held(int fd, int domain)
{
	union { struct sockaddr sa; struct sockaddr_in in; struct sockaddr_in6 in6; } u;

	memset(&u, 0, sizeof(u));
	u.sa.sa_family = (sa_family_t)domain;
	return bind(fd, &u.sa, domain == AF_INET ? sizeof(u.in) : sizeof(u.in6)) && errno == EINVAL;
}

static int check_tcp(int fd, int domain)
{
	struct tcp_info ti;
	socklen_t n = sizeof(ti);

	memset(&ti, 0, sizeof(ti));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n))
		return -EPERM;
	if (ti.tcpi_state != TCP_LISTEN && ti.tcpi_state != TCP_CLOSE)
		return -EPERM;
	return is_held(fd, domain) ? 0 : -EPERM;
}

static int check_proof(const struct agent *a, const struct ctl_lease *l, int fd)
{
	int domain, proto, type, err;

	if (sock_int(fd, SOL_SOCKET, SO_DOMAIN, &domain) ||
	    sock_int(fd, SOL_SOCKET, SO_PROTOCOL, &proto) ||
	    sock_int(fd, SOL_SOCKET, SO_TYPE, &type))
		return -ENOTSOCK;
	if ((domain != AF_INET && domain != AF_INET6) || proto != l->proto ||
	    type != (proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM))
		return -EPERM;
	err = check_place(a, fd);
	if (!err)
		err = check_name(fd, domain, l);
	if (!err && proto == IPPROTO_TCP)
		err = check_tcp(fd, domain);
	return err;
}

/* ---- keys ---- */

/* Somebody who still holds this key and is not parked; `but` aside. */
static struct lease *holder(const struct bound_key *k, const struct lease *but)
{
	struct lease *l;
	uint32_t i;

	for (l = *bucket(k->proto, k->lport); l; l = l->next)
		for (i = 0; l != but && !l->parked && i < l->n_keys; i++)
			if (!memcmp(&l->key[i], k, sizeof(*k)))
				return l;
	return NULL;
}

/* The same, and in the filters. */
static bool is_filtered(const struct bound_key *k, const struct lease *but)
{
	const struct lease *l;
	uint32_t i;

	for (l = *bucket(k->proto, k->lport); l; l = l->next)
		for (i = 0; l != but && l->filtered && i < l->n_keys; i++)
			if (!memcmp(&l->key[i], k, sizeof(*k)))
				return true;
	return false;
}

static int add_filters(struct agent *a, struct lease *l)
{
	uint32_t i;
	int err;

	for (i = 0; i < l->n_keys; i++) {
		err = filter_bound(a, &l->key[i], l->stack->slot, l->shared);
		if (err) {
			while (i--)
				if (!is_filtered(&l->key[i], l))
					(void)filter_bound(a, &l->key[i], NO_SLOT, false);
			return err == -E2BIG ? -EDQUOT : err;
		}
	}
	l->filtered = true;
	return 0;
}

/* ---- the directory (E6) ---- */

static struct dir_port entry_of(const struct lease *l)
{
	struct dir_port p = { .lport = l->key[0].lport, .proto = l->key[0].proto,
			      .dual = l->n_keys > 1, .stack_id = l->stack->id };

	memcpy(&p.laddr, &l->key[0].laddr, sizeof(p.laddr));
	return p;
}

/* Another lease of this stack stands behind the same entry (reuseport). */
static bool has_listed_twin(const struct lease *l)
{
	const struct lease *t;

	for (t = *bucket(l->key[0].proto, l->key[0].lport); t; t = t->next)
		if (t != l && t->listed && t->stack == l->stack && t->n_keys == l->n_keys &&
		    !memcmp(&t->key[0], &l->key[0], sizeof(l->key[0])))
			return true;
	return false;
}

static int list(struct agent *a, struct lease *l)
{
	struct dir_port p = entry_of(l);
	int err = has_listed_twin(l) ? 0 : dir_port_add(a, l->stack, &p);

	l->listed = !err;
	return err;
}

static void unlist(struct agent *a, struct lease *l)
{
	struct dir_port p = entry_of(l);

	if (!l->listed)
		return;
	l->listed = false;
	if (!has_listed_twin(l))
		dir_port_del(a, l->stack, &p);
}

/* ---- ports that the kernel has connections of, too (E7) ---- */

static void share(struct lease *l)
{
	if (l->key[0].proto != IPPROTO_TCP)
		return;
	l->shared = true;
	l->look_ns = LOOK_FIRST_NS;
	l->look_at = host_now() + l->look_ns;
	if (!look_at || l->look_at < look_at)
		look_at = l->look_at;
}

static bool covers(const struct lease *l, const struct ipaddr *laddr)
{
	struct ipaddr k;
	uint32_t i;

	for (i = 0; i < l->n_keys; i++) {
		memcpy(&k, &l->key[i].laddr, sizeof(k));
		if (ip_eq(&k, laddr) || ip_is_any(&k))
			return true;
	}
	return false;
}

static void on_kernels(void *arg, const struct ipaddr *laddr, uint16_t lport, const struct ipaddr *raddr)
{
	struct lease *l;

	if (mirror_is_host(arg, raddr))
		return;
	for (l = *bucket(IPPROTO_TCP, lport); l; l = l->next)
		if (l->key[0].lport == lport && covers(l, laddr))
			l->seen = true;
}

/* What is shared and due, or 0; and when the next ones are. */
static uint32_t due(uint64_t now, uint16_t *from, uint16_t *to)
{
	uint32_t i, n = 0;
	struct lease *l;

	*from = UINT16_MAX;
	*to = 0;
	for (i = 0; i < N_BUCKETS; i++) {
		for (l = buckets[i]; l; l = l->next) {
			if (!l->shared || !l->filtered || now < l->look_at)
				continue;
			l->seen = false;
			*from = (uint16_t)min_u32(*from, l->key[0].lport);
			*to = (uint16_t)max_u32(*to, l->key[0].lport);
			n++;
		}
	}
	return n;
}

/* Twins have one entry: it is shared until the last of them is not. */
static void unshare(struct agent *a, struct lease *l)
{
	const struct lease *t;
	uint32_t i;

	l->shared = false;
	for (i = 0; i < l->n_keys; i++) {
		for (t = *bucket(l->key[0].proto, l->key[0].lport); t; t = t->next)
			if (t->shared && t->filtered && t->key[0].lport == l->key[0].lport)
				break;
		if (!t)
			(void)filter_bound(a, &l->key[i], l->stack->slot, false);
	}
	if (a->verbose)
		agt_log("port %u: the kernel has no connection of it any more", l->key[0].lport);
}

void lease_look(struct agent *a)
{
	uint64_t now = host_now();
	uint16_t from, to;
	struct lease *l;
	uint32_t i;
	bool told;

	if (!look_at || now < look_at)
		return;
	told = due(now, &from, &to) && !nl_connections(from, to, on_kernels, a);
	look_at = 0;
	for (i = 0; i < N_BUCKETS; i++) {
		for (l = buckets[i]; l; l = l->next) {
			if (!l->shared || !l->filtered)
				continue;
			if (now >= l->look_at && told && !l->seen) {
				unshare(a, l);
				continue;
			}
			if (now >= l->look_at) {
				l->look_ns = min_u64(2 * l->look_ns, LOOK_LONGEST_NS);
				l->look_at = now + l->look_ns;
			}
			if (!look_at || l->look_at < look_at)
				look_at = l->look_at;
		}
	}
}

uint32_t lease_shared_count(void)
{
	const struct lease *l;
	uint32_t i, n = 0;

	for (i = 0; i < N_BUCKETS; i++)
		for (l = buckets[i]; l; l = l->next)
			n += l->shared && l->filtered;
	return n;
}

int lease_look_ms(void)
{
	uint64_t now = host_now();

	return !look_at ? -1 : look_at <= now ? 0 : (int)((look_at - now) / NS_PER_MS) + 1;
}

/* ---- granting and taking back ---- */

static bool wants_filters(const struct agent *a, const struct lease *l)
{
	struct ipaddr addr;

	memcpy(&addr, &l->key[0].laddr, sizeof(addr));
	return l->stack->n_vis && (ip_is_any(&addr) || mirror_has_addr(a, &addr));
}

static int install(struct agent *a, struct lease *l)
{
	const struct lease *h;
	uint32_t i;
	int err;

	for (i = 0; i < l->n_keys; i++) {
		h = holder(&l->key[i], NULL);
		if (h && h->stack != l->stack)
			return -EADDRINUSE;
	}
	if (wants_filters(a, l)) {
		share(l);
		err = add_filters(a, l);
		if (err)
			return err;
	}
	err = list(a, l);
	/* A full directory costs clients of this host their short way, and no more. */
	return l->filtered ? 0 : err;
}

static void uninstall(struct agent *a, struct lease *l)
{
	uint32_t i;

	unlist(a, l);
	if (!l->filtered)
		return;
	l->filtered = false;
	for (i = 0; i < l->n_keys; i++)
		if (!is_filtered(&l->key[i], l))
			(void)filter_bound(a, &l->key[i], NO_SLOT, false);
}

/* A socket that holds the port as connections that outlive their listener do: whoever binds with
 * SO_REUSEADDR may have it as well. -1: somebody listens there, or it is not ours to bind. */
static int placeholder(const struct lease *l)
{
	bool v6 = !ip_is4(&l->addr);
	union { struct sockaddr sa; struct sockaddr_in in; struct sockaddr_in6 in6; } u;
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int on = 1, only = l->n_keys == 1;

	if (fd < 0)
		return -1;
	memset(&u, 0, sizeof(u));
	if (v6) {
		u.in6.sin6_family = AF_INET6;
		u.in6.sin6_port = htons(l->key[0].lport);
		memcpy(&u.in6.sin6_addr, l->addr.b, 16);
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only));
	} else {
		u.in.sin_family = AF_INET;
		u.in.sin_port = htons(l->key[0].lport);
		u.in.sin_addr.s_addr = htonl(ip_to4(&l->addr));
	}
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (!bind(fd, &u.sa, v6 ? sizeof(u.in6) : sizeof(u.in)))
		return fd;
	(void)close(fd);
	return -1;
}

/* The program is done with a listener. Other processes may not be: a new instance that was handed
 * it (haproxy's reload) or a child that is not preloaded. So it is closed, not shut down, and the
 * kernel stops accepting if we were the last. Without a listener the port is held on (E4). */
static void stop_listening(struct lease *l)
{
	if (l->key[0].proto != IPPROTO_TCP || l->let_go)
		return;
	(void)close(l->fd);
	l->let_go = true;
	l->fd = placeholder(l);
}

static void release(struct lease *l)
{
	struct lease **p = bucket(l->key[0].proto, l->key[0].lport);

	while (*p != l)
		p = &(*p)->next;
	*p = l->next;
	if (l->fd >= 0)
		(void)close(l->fd);
	l->stack->n_leases--;
	n_leases--;
	free(l);
}

int lease_add(struct agent *a, struct stack *s, const struct ctl_lease *m, int fd)
{
	struct ipaddr any4 = ip_from4(0);
	socklen_t n = sizeof(uint64_t);
	struct lease *l, **b;
	int err = check_proof(a, m, fd);

	if (err)
		return err;
	if (s->n_leases + s->n_flows >= N_LEASES_STACK || n_leases >= N_LEASES)
		return -EDQUOT;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->stack = s;
	l->addr = m->laddr;
	l->key[l->n_keys++] = key_of(&m->laddr, m->lport, m->proto);
	if (m->family6_dual)
		l->key[l->n_keys++] = key_of(&any4, m->lport, m->proto);
	(void)getsockopt(fd, SOL_SOCKET, SO_COOKIE, &l->cookie, &n);
	l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	err = l->fd < 0 ? -errno : install(a, l);
	if (err) {
		if (l->fd >= 0)
			(void)close(l->fd);
		free(l);
		return err;
	}
	b = bucket(m->proto, m->lport);
	l->next = *b;
	*b = l;
	s->n_leases++;
	n_leases++;
	return 0;
}

/* By its proof, which tells the members of a group apart (E3), and a connected datagram socket from
 * its address. */
static struct lease *find_own(const struct stack *s, const struct ctl_lease *m)
{
	struct bound_key k = key_of(&m->laddr, m->lport, m->proto);
	struct lease *l;

	for (l = *bucket(m->proto, m->lport); l && m->cookie; l = l->next)
		if (l->stack == s && !l->parked && (uint32_t)l->cookie == m->cookie)
			return l;
	for (l = *bucket(m->proto, m->lport); l; l = l->next)
		if (l->stack == s && !l->parked && !memcmp(&l->key[0], &k, sizeof(k)))
			return l;
	return NULL;
}

static void give_back(struct agent *a, struct lease *l)
{
	uninstall(a, l);
	if (!l->n_flows) {
		release(l);
		return;
	}
	l->parked = true;
	stop_listening(l);
}

int lease_del(struct agent *a, struct stack *s, const struct ctl_lease *m)
{
	struct lease *l = find_own(s, m);

	if (!l)
		return -ENOENT;
	give_back(a, l);
	return 0;
}

void lease_orphan(struct agent *a, struct stack *s)
{
	struct lease *l;
	uint32_t i;

	for (i = 0; i < N_BUCKETS && s->n_leases; i++) {
		for (l = buckets[i]; l; l = l->next) {
			if (l->stack != s)
				continue;
			unlist(a, l);
			stop_listening(l);
		}
	}
}

void lease_lapse(struct agent *a, struct stack *s)
{
	struct lease *l, *next;
	uint32_t i;

	for (i = 0; i < N_BUCKETS && s->n_leases; i++) {
		for (l = buckets[i]; l; l = next) {
			next = l->next;
			if (l->stack == s && !l->parked)
				give_back(a, l);
		}
	}
}

bool lease_will_end(const struct ctl_lease *m)
{
	struct bound_key k[2] = { key_of(&m->laddr, m->lport, m->proto) };
	struct ipaddr any4 = ip_from4(0);
	uint32_t i, n = 1;

	if (m->family6_dual)
		k[n++] = key_of(&any4, m->lport, m->proto);
	for (i = 0; i < n; i++) {
		const struct lease *l = holder(&k[i], NULL);

		if (l && l->stack->orphaned_at)
			return true;
	}
	return false;
}

/* ---- exact flows ---- */

static struct exact_key exact_of(const struct ctl_flow *f)
{
	struct exact_key k = { .lport = f->lport, .rport = f->rport, .proto = f->proto };

	memcpy(&k.laddr, &f->laddr, sizeof(k.laddr));
	memcpy(&k.raddr, &f->raddr, sizeof(k.raddr));
	return k;
}

/* The lease of this stack that covers a local address and port; one with flows preferred, as
 * flows of one key are counted on one lease. */
static struct lease *covering(const struct stack *s, const struct ctl_flow *f, bool with_flows)
{
	struct ipaddr any = ip_is4(&f->laddr) ? ip_from4(0) : (struct ipaddr){ { 0 } };
	struct bound_key one = key_of(&f->laddr, f->lport, f->proto);
	struct bound_key all = key_of(&any, f->lport, f->proto);
	struct lease *l;
	uint32_t i;

	for (l = *bucket(f->proto, f->lport); l; l = l->next) {
		if (l->stack != s || (with_flows ? !l->n_flows : l->parked))
			continue;
		for (i = 0; i < l->n_keys; i++)
			if (!memcmp(&l->key[i], &one, sizeof(one)) ||
			    !memcmp(&l->key[i], &all, sizeof(all)))
				return l;
	}
	return NULL;
}

int flow_add(struct agent *a, struct stack *s, const struct ctl_flow *f)
{
	struct exact_key k = exact_of(f);
	struct lease *l = covering(s, f, true);
	uint32_t owner = filter_exact_owner(a, &k);
	int err;

	if (!s->n_vis)		/* no packet comes to it */
		return l || covering(s, f, false) || ports_own(s, f->lport) ? 0 : -EPERM;
	if (owner != NO_SLOT)
		return owner == s->slot ? 0 : -EADDRINUSE;
	if (!l)
		l = covering(s, f, false);
	if (!l)
		return ports_own(s, f->lport) ? 0 : -EPERM;	/* a block covers it already */
	if (s->n_leases + s->n_flows >= N_LEASES_STACK)
		return -EDQUOT;
	err = filter_exact_add(a, &k, s->slot);
	if (err)
		return err == -E2BIG ? -EDQUOT : err;
	l->n_flows++;
	s->n_flows++;
	return 0;
}

int flow_del(struct agent *a, struct stack *s, const struct ctl_flow *f)
{
	struct exact_key k = exact_of(f);
	struct lease *l;

	if (filter_exact_owner(a, &k) != s->slot)
		return -ENOENT;
	filter_exact_del(a, &k);
	s->n_flows--;
	l = covering(s, f, true);
	if (l && --l->n_flows == 0 && l->parked)
		release(l);
	return 0;
}

void lease_flush(struct agent *a, struct stack *s)
{
	struct lease *l, *next;
	uint32_t i;

	for (i = 0; i < N_BUCKETS && s->n_leases; i++) {
		for (l = buckets[i]; l; l = next) {
			next = l->next;
			if (l->stack != s)
				continue;
			if (!l->parked)
				uninstall(a, l);
			release(l);
		}
	}
}
