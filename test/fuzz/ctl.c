/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What anybody may send to the agent: messages of any bytes from callers of any kind, and, for
 * those that pass request_check(), leases, flows and pairs acted upon for three stacks, with real
 * kernel sockets as proofs and the BPF maps played by two small tables. Stacks end, and others
 * come in their place; the third has no virtual function.
 *
 * After each step: a filter entry belongs to the stack that has a lease or flow for it, a port in
 * the directory to one that has a lease for it, a pair is named to those who hold it, and counts
 * agree. When the stacks end, tables and directory are empty, and no lease and no pair is left.
 */
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "src/agent/directory.c"
#include "src/agent/lease.c"
#include "src/agent/pair.c"
#include "src/agent/request.c"

#define HASH 0x1234
#define N_PROOFS 10
#define N_ENTRIES 4096

void onramp_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

void agt_log(const char *fmt, ...) { (void)fmt; }

#define holds(cond) do { if (!(cond)) onramp_panic(__FILE__, __LINE__, #cond); } while (0)

/* ---- the maps ---- */

static struct { struct bound_key k; uint32_t slot; } bounds[N_ENTRIES];
static struct { struct exact_key k; uint32_t slot; } exacts[N_ENTRIES];

int filter_bound(struct agent *a, const struct bound_key *k, uint32_t slot, bool shared)
{
	int i, unused = -1;

	(void)a;
	(void)shared;
	for (i = 0; i < N_ENTRIES; i++) {
		if (bounds[i].slot && !memcmp(&bounds[i].k, k, sizeof(*k))) {
			bounds[i].slot = slot;
			return 0;
		}
		if (!bounds[i].slot && unused < 0)
			unused = i;
	}
	if (unused < 0)
		return -E2BIG;
	holds(slot != NO_SLOT);		/* what is deleted must have been there */
	bounds[unused].k = *k;
	bounds[unused].slot = slot;
	return 0;
}

static int find_exact(const struct exact_key *k)
{
	int i;

	for (i = 0; i < N_ENTRIES; i++)
		if (exacts[i].slot && !memcmp(&exacts[i].k, k, sizeof(*k)))
			return i;
	return -1;
}

uint32_t filter_exact_owner(struct agent *a, const struct exact_key *k)
{
	int i = find_exact(k);

	(void)a;
	return i < 0 ? NO_SLOT : exacts[i].slot;
}

int filter_exact_add(struct agent *a, const struct exact_key *k, uint32_t slot)
{
	int i;

	(void)a;
	for (i = 0; i < N_ENTRIES; i++)
		if (!exacts[i].slot) {
			exacts[i].k = *k;
			exacts[i].slot = slot;
			return 0;
		}
	return -E2BIG;
}

void filter_exact_del(struct agent *a, const struct exact_key *k)
{
	(void)a;
	holds(find_exact(k) >= 0);
	exacts[find_exact(k)].slot = NO_SLOT;
}

bool ports_own(const struct stack *s, uint16_t port) { (void)s; return port >= 65472; }
struct stack *stack_find(struct agent *a, uint32_t id)
{
	uint32_t i;

	for (i = 1; i < 4; i++)
		if (a->stacks[i].id == id)
			return &a->stacks[i];
	return NULL;
}
bool mirror_has_addr(const struct agent *a, const struct ipaddr *addr)
{
	(void)a;
	return addr->b[15] == 1;
}

bool mirror_is_host(const struct agent *a, const struct ipaddr *addr)
{
	(void)a;
	return addr->b[15] == 1;
}
/* The kernel has one of each odd port. */
int nl_connections(uint16_t from, uint16_t to, diag_fn fn, void *arg)
{
	struct ipaddr l = ip_from4(0x7f000001), r = ip_from4(0x0a000002);
	uint32_t port;

	for (port = from | 1u; port <= to; port += 2)
		fn(arg, &l, (uint16_t)port, &r);
	return 0;
}

/* ---- proofs: bound, listening, reuseport twins, connected, unbound, not a socket ---- */

static struct proof { int fd; struct ctl_lease l; } proofs[N_PROOFS];

static int bound_socket(int family, int type, bool any, bool listens, uint16_t *port)
{
	union { struct sockaddr sa; struct sockaddr_in in; struct sockaddr_in6 in6; } u;
	int fd = socket(family, type | SOCK_CLOEXEC, 0), one = 1;
	socklen_t n = family == AF_INET ? sizeof(u.in) : sizeof(u.in6);

	memset(&u, 0, sizeof(u));
	u.sa.sa_family = (sa_family_t)family;
	u.in.sin_port = htons(*port);
	if (!any && family == AF_INET)
		u.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else if (!any)
		u.in6.sin6_addr = in6addr_loopback;
	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(fd, &u.sa, n) || (listens && listen(fd, 4)))
		return -1;
	(void)getsockname(fd, &u.sa, &n);
	*port = ntohs(u.in.sin_port);
	return fd;
}

static void prove(int i, int family, int type, bool any, bool listens, uint16_t port)
{
	struct proof *p = &proofs[i];

	p->fd = bound_socket(family, type, any, listens, &port);
	p->l.lport = port;
	p->l.proto = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;
	p->l.family6_dual = family == AF_INET6 && any;
	if (family == AF_INET)
		p->l.laddr = ip_from4(any ? 0 : INADDR_LOOPBACK);
	else if (!any)
		p->l.laddr.b[15] = 1;
}

static void make_proofs(void)
{
	if (proofs[0].fd)
		return;
	prove(0, AF_INET, SOCK_STREAM, false, true, 0);
	prove(1, AF_INET, SOCK_STREAM, false, true, proofs[0].l.lport);
	prove(2, AF_INET, SOCK_STREAM, true, false, 0);
	prove(3, AF_INET, SOCK_DGRAM, false, false, 0);
	prove(4, AF_INET6, SOCK_STREAM, true, true, 0);
	prove(5, AF_INET6, SOCK_DGRAM, true, false, 0);
	prove(6, AF_INET6, SOCK_STREAM, false, false, 0);
	proofs[7].fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	proofs[8].fd = dup(2);
	proofs[9].fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
}

/* ---- steps ---- */

static struct agent agent;
static struct mirror mirror;
static uint32_t last_id;

static void begin_stack(uint32_t i)
{
	struct stack *s = &agent.stacks[i];

	*s = (struct stack){ .state = STACK_LIVE, .slot = i, .id = ++last_id, .uid = i == 2,
			     .n_vis = i < 3, .front = -1, .pipe = -1 };
	holds(!pair_prepare(s));
	dir_stack_begin(&agent, s);
}

static void end_stack(uint32_t i)
{
	struct stack *s = &agent.stacks[i];
	uint32_t k;

	lease_flush(&agent, s);
	pair_flush(&agent, s);
	dir_stack_end(&agent, s);
	for (k = 0; k < N_ENTRIES; k++)
		if (exacts[k].slot == i)
			exacts[k].slot = NO_SLOT;
	pair_discard(s);
	s->n_flows = 0;
	holds(s->n_leases == 0 && s->n_listed == 0);
	for (k = 0; k < N_PAIRS; k++)
		holds(!s->pairs[k]);
}

/* Every port in the directory is a lease's, and every listed lease is there once. */
static void check_ports(void)
{
	uint32_t b, at, n = 0, k;
	struct lease *l;

	for (b = 0; b < N_DIR_BUCKETS; b++)
		for (at = mirror.buckets[b]; at; at = mirror.ports[at - 1].next) {
			const struct dir_port *p = &mirror.ports[at - 1];
			bool found = false;

			holds(++n <= N_DIR_PORTS && dir_bucket(p->proto, p->lport) == b);
			for (l = *bucket(p->proto, p->lport); l; l = l->next)
				found |= l->listed && l->stack->id == p->stack_id && !l->parked;
			holds(found);
		}
	for (k = 0; k < N_DIR_PORTS; k++)
		n -= mirror.ports[k].proto != 0;
	holds(n == 0);
	holds(!(mirror.seq & 1));
}

static void check_pairs(void)
{
	uint32_t i, k;

	for (i = 1; i < 4; i++)
		for (k = 0; k < N_PAIRS; k++) {
			struct stack *s = &agent.stacks[i];
			struct pair *p = s->pairs[k];
			uint32_t own = p && p->side[0].stack != s, named = mirror.stacks[i].pair_id[k];

			holds(p ? p->side[own].stack == s && p->side[own].slot == k : !named);
			if (p && !p->over)
				holds(named == p->id && (p->is_self || p->side[!own].stack));
			if (p && p->over)
				holds(named == (p->side[own].fetched ? 0 : p->id));
		}
}

static void check(void)
{
	uint32_t i, n = 0, flows[4] = { 0 };
	struct lease *l;

	for (i = 0; i < N_BUCKETS; i++)
		for (l = buckets[i]; l; l = l->next) {
			n++;
			holds(l->n_keys == 1 || l->n_keys == 2);
			holds(!l->parked || l->n_flows);
			flows[l->stack->slot] += l->n_flows;
		}
	holds(n == n_leases);
	for (i = 0; i < N_ENTRIES; i++) {
		if (bounds[i].slot) {
			l = holder(&bounds[i].k, NULL);
			holds(l && l->stack->slot == bounds[i].slot);
		}
	}
	for (i = 1; i < 4; i++)
		holds(flows[i] == agent.stacks[i].n_flows);
	check_ports();
	check_pairs();
}

static void act_pair(struct stack *s, const struct ctl_msg *m)
{
	struct client c = { .stack = s };
	struct request rq = { .c = &c, .msg = m };
	int err = m->op == CTL_PAIR_GET ? pair_get(&agent, &rq) :
		  m->op == CTL_PAIR_AT ? pair_at(&agent, &rq) : pair_del(&agent, s, &m->u.pair);
	uint32_t i;

	holds(err || m->op == CTL_PAIR_DEL || rq.n_out == (rq.reply.u.pair.over ? 1 : 3));
	for (i = 0; i < rq.n_out; i++)
		if (rq.out_owned & (1ull << i))
			(void)close(rq.out[i]);
}

static void act(struct stack *s, const struct ctl_msg *m, const struct proof *p, bool has_fd)
{
	switch (m->op) {
	case CTL_LEASE_ADD:
		(void)lease_add(&agent, s, &m->u.lease, has_fd ? p->fd : -1);
		break;
	case CTL_LEASE_DEL:
		(void)lease_del(&agent, s, &m->u.lease);
		break;
	case CTL_FLOW_ADD:
		(void)flow_add(&agent, s, &m->u.flow);
		break;
	case CTL_FLOW_DEL:
		(void)flow_del(&agent, s, &m->u.flow);
		break;
	case CTL_PAIR_GET:
	case CTL_PAIR_AT:
	case CTL_PAIR_DEL:
		act_pair(s, m);
		break;
	default:
		break;
	}
	lease_look(&agent);
}

/* A lease or flow near one that a proof would give, so that the fuzzer need not guess ports. */
static void aim(struct ctl_msg *m, const struct proof *p, uint8_t how)
{
	static const uint32_t ops[] = { CTL_LEASE_ADD, CTL_LEASE_DEL, CTL_FLOW_ADD, CTL_FLOW_DEL };

	memset(&m->u, 0, sizeof(m->u));
	m->version = CTL_VERSION;
	if ((how >> 3 & 3) == 3) {
		m->op = CTL_PAIR_GET + (how & 3) % 3;
		m->u.pair.slot = how >> 6;
		m->u.pair.peer = last_id - (how >> 5) % 4;
		m->u.pair.pair_id = mirror.stacks[1 + (how >> 5) % 3].pair_id[how >> 6];
		return;
	}
	m->op = ops[how & 3];
	if (m->op == CTL_LEASE_ADD || m->op == CTL_LEASE_DEL) {
		m->u.lease = p->l;
		m->u.lease.laddr.b[15] ^= (how >> 6) & 1;
		return;
	}
	m->u.flow = (struct ctl_flow){ .laddr = p->l.laddr, .raddr = p->l.laddr, .proto = p->l.proto,
				       .lport = p->l.lport, .rport = (uint16_t)(1 + (how >> 5)) };
	m->u.flow.laddr.b[15] = 1;
	m->u.flow.raddr.b[15] = 2;
}

static void step(const uint8_t *c, const uint8_t *body, size_t n)
{
	static struct ctl_msg m;
	const struct proof *p = &proofs[c[1] % N_PROOFS];
	struct caller who = { c[2] & 1, c[2] >> 1 & 1, c[2] >> 2 & 1, c[2] >> 3 & 1 };
	uint32_t n_fds = c[2] >> 4 & 3;
	int err;

	memset(&m, 0, sizeof(m));
	memcpy(&m, body, n < sizeof(m) ? n : sizeof(m));
	if (c[3] >= 0xf0) {
		if (c[3] & 8)
			lease_orphan(&agent, &agent.stacks[1 + c[3] % 3]);
		end_stack(1 + c[3] % 3);
		begin_stack(1 + c[3] % 3);
		check();
	}
	if (c[0] & 4)
		aim(&m, p, c[0] >> 3 << 3 | (c[0] & 3));
	err = request_check(&m, c[0] & 4 ? sizeof(m) : n, n_fds, &who, HASH);
	if (err)
		return;
	holds(m.version == CTL_VERSION && m.op <= CTL_PAIR_DEL && n_fds <= 1);
	holds(who.greeted || m.op == CTL_HELLO || (m.op == CTL_SHUTDOWN && !who.uid));
	holds(!who.uid || (m.op != CTL_ATTACH && m.op != CTL_DETACH && m.op != CTL_SHUTDOWN));
	holds(m.op != CTL_ATTACH || strnlen(m.u.link.name, 16) < 16);
	if (who.has_stack)
		act(&agent.stacks[1 + c[3] % 3], &m, p, n_fds);
	check();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	socklen_t cn = sizeof(agent.netns_cookie);
	uint32_t i, k;

	make_proofs();
	(void)getsockopt(proofs[0].fd, SOL_SOCKET, SO_NETNS_COOKIE, &agent.netns_cookie, &cn);
	agent.mirror = &mirror;
	if (!agent.ringer)
		holds(!pair_open(&agent));
	for (i = 1; i < 4; i++)
		begin_stack(i);
	while (size >= 4) {
		size_t n = size - 4 < sizeof(struct ctl_msg) ? size - 4 : sizeof(struct ctl_msg);

		step(data, data + 4, data[0] & 4 ? 0 : n);
		n = data[0] & 4 ? 4 : 4 + n;
		data += n;
		size -= n;
	}
	for (i = 1; i < 4; i++)
		end_stack(i);
	check_ports();
	holds(n_leases == 0);
	for (k = 0; k < N_ENTRIES; k++)
		holds(!bounds[k].slot);
	for (i = 0; i < 7; i++)		/* a flush has stopped the listeners */
		if (proofs[i].l.proto == IPPROTO_TCP && (i < 2 || i == 4))
			(void)listen(proofs[i].fd, 4);
	return 0;
}
