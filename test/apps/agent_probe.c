// SPDX-License-Identifier: BSD-2-Clause
/*
 * Scenarios for the agent and its XDP programs, run by test/apps/agent.sh inside a network
 * namespace in which an agent runs and v0 (10.9.0.1/24, fd09::1/64) leads to v1 (.2, ::2) in
 * another namespace, whose name is the first argument. Each scenario is a process of its own
 * that becomes an ordinary user before it talks to the agent.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <sys/wait.h>

#include "agent_xsk.h"


static int ns_here, ns_there;
static uint8_t buf[70000];

static struct ipaddr local4(void) { return ip_from4(0x0a090001); }
static struct ipaddr peer4(void) { return ip_from4(0x0a090002); }

static struct ipaddr six(uint8_t last)
{
	struct ipaddr a = { { 0xfd, 0x09 } };

	a.b[15] = last;
	return a;
}

/* A socket of the other namespace, with a timeout. */
static int there(struct ipaddr a, uint16_t port, int type)
{
	struct timeval tv = { .tv_sec = 2 };
	int fd;

	expect(!setns(ns_there, CLONE_NEWNET), "setns");
	fd = bound(a, port, type);
	expect(!setns(ns_here, CLONE_NEWNET), "setns back");
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
	return fd;
}

static void get_stack(struct xsk *x)
{
	int err = xsk_get(x);

	expect(!err, "no stack: %s", strerror(-err));
	expect(x->info.n_vis == 1 && x->info.ring_slots == N_RING, "an odd stack");
}

static struct ctl_status status(void)
{
	struct ctl_msg m = { .op = CTL_STATUS };
	int ctl = hello();

	expect(!ctl_ask(ctl, &m, -1, NULL, NULL), "status");
	close(ctl);
	return m.u.status;
}

/* The flow that answers a received frame. */
static struct flow reply_to(const uint8_t *f)
{
	int four = get_be16(f + 12) == 0x0800;
	const uint8_t *ip = f + 14, *l4 = ip + (four ? 20 : 40);
	struct flow r;

	memcpy(r.dmac, f + 6, 6);
	memcpy(r.smac, f, 6);
	if (four) {
		r.dst = ip_from4(get_be32(ip + 12));
		r.src = ip_from4(get_be32(ip + 16));
	} else {
		memcpy(r.dst.b, ip + 8, 16);
		memcpy(r.src.b, ip + 24, 16);
	}
	r.dport = get_be16(l4);
	r.sport = get_be16(l4 + 2);
	return r;
}

/* One datagram each way: the kernel there to our rings and back. Returns the flow back. */
static struct flow echo(struct xsk *x, int peer, struct ipaddr to, uint16_t port, size_t n)
{
	static uint8_t out[66000], in[66000], frame[70000];
	size_t got, hdr = ip_is4(&to) ? 42 : 62, i;
	struct flow f;
	union sa u;
	socklen_t len = sa_of(&u, &to, port);
	int frames;

	for (i = 0; i < n; i++)
		out[i] = (uint8_t)(i * 7 + n);
	if (sendto(peer, out, n, 0, &u.sa, len) != (ssize_t)n)
		die("the peer cannot send %zu bytes: %s", n, strerror(errno));
	got = xsk_recv(x, frame, sizeof(frame), 2000, &frames);
	expect(got == hdr + n, "%zu bytes sent, a frame of %zu came", n, got);
	expect(!memcmp(frame + hdr, out, n), "the datagram of %zu bytes is not what was sent", n);
	f = reply_to(frame);
	xsk_send(x, buf, make_udp(buf, &f, out, n));
	got = (size_t)recv(peer, in, sizeof(in), 0);
	expect(got == n && !memcmp(in, out, n), "%zu bytes sent back, %zd came", n, (ssize_t)got);
	return f;
}

/* ---- scenarios ---- */

static void udp_echo(size_t max)
{
	int p4 = there(peer4(), 9000, SOCK_DGRAM), p6 = there(six(2), 9000, SOCK_DGRAM);
	static const size_t sizes[] = { 1, 18, 1000, 1452, 4000, 8900, 30000, 65000 };
	struct xsk x;
	size_t i;

	become(USER_A);
	get_stack(&x);
	expect(!lease(&x, local4(), PORT, 17, bound(local4(), PORT, SOCK_DGRAM)), "lease 4");
	expect(!lease(&x, six(1), PORT, 17, bound(six(1), PORT, SOCK_DGRAM)), "lease 6");
	for (i = 0; i < n_elems(sizes) && sizes[i] <= max; i++) {
		(void)echo(&x, p4, local4(), PORT, sizes[i]);
		(void)echo(&x, p6, six(1), PORT, sizes[i]);
	}
}

static void udp_small(void) { udp_echo(1452); }
static void udp_jumbo(void) { udp_echo(8900); }
static void udp_huge(void) { udp_echo(65000); }

/* Nothing of what is sent here may reach the peer. Returns after it was counted. */
static void refused(struct xsk *x, int peer, const char *what, size_t n, uint64_t spoofed,
		    uint64_t malformed)
{
	struct ctl_status before = status(), after;
	struct timeval tv = { .tv_usec = 30000 };
	uint8_t in[64];

	(void)setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	xsk_send(x, buf, n);
	expect(recv(peer, in, sizeof(in), 0) < 0, "%s reached the peer", what);
	after = status();
	expect(after.tx_spoofed - before.tx_spoofed == spoofed &&
	       after.tx_malformed - before.tx_malformed == malformed &&
	       after.tx_allowed == before.tx_allowed, "%s: not counted as it should be", what);
}

/* B2: a crafted frame is dropped and counted, whatever is wrong with it. */
static void spoof(void)
{
	int peer = there(peer4(), 9000, SOCK_DGRAM);
	struct flow good, f;
	struct xsk x;
	size_t n;

	become(USER_A);
	get_stack(&x);
	expect(!lease(&x, local4(), PORT, 17, bound(local4(), PORT, SOCK_DGRAM)), "lease");
	good = echo(&x, peer, local4(), PORT, 100);

	f = good; f.sport = 53;
	refused(&x, peer, "a foreign source port", make_udp(buf, &f, "hi", 2), 1, 0);
	f = good; f.smac[5] ^= 1;
	refused(&x, peer, "a foreign MAC", make_udp(buf, &f, "hi", 2), 1, 0);
	f = good; f.src = ip_from4(0x0a090007);
	refused(&x, peer, "a foreign address", make_udp(buf, &f, "hi", 2), 1, 0);
	n = make_tcp(buf, &good, 1, 0, 2);
	refused(&x, peer, "a foreign protocol", n, 1, 0);
	n = make_udp(buf, &good, "hi", 2);
	buf[14 + 6] = 0x20;
	refused(&x, peer, "a fragment", n, 0, 1);
	n = make_udp(buf, &good, "hi", 2);
	buf[14 + 9] = 1;
	refused(&x, peer, "ICMP", n, 0, 1);
	n = make_udp(buf, &good, "hi", 2);
	memmove(buf + 16, buf + 12, n - 12);
	put_be16(buf + 12, 0x8100);
	put_be16(buf + 14, 5);
	refused(&x, peer, "a VLAN tag", n + 4, 0, 1);
	n = make_udp(buf, &good, "hi", 2);
	put_be16(buf + 14 + 2, 2000);
	refused(&x, peer, "a length that lies", n, 0, 1);
	refused(&x, peer, "a frame too short", 20, 0, 1);
	refused(&x, peer, "a frame too long", make_udp(buf, &good, x.umem, 1480), 0, 1);
	(void)echo(&x, peer, local4(), PORT, 100);
}

/* Two users at once on one single-queue interface, neither able to speak for the other. */
static void two_users(void)
{
	int peer = there(peer4(), 9000, SOCK_DGRAM), ready[2], go[2], st;
	struct flow f;
	struct xsk x;
	char c;
	pid_t pid;

	expect(!pipe(ready) && !pipe(go), "pipe");
	pid = fork();
	if (!pid) {
		become(USER_B);
		get_stack(&x);
		expect(!lease(&x, local4(), PORT + 1, 17, bound(local4(), PORT + 1, SOCK_DGRAM)), "B");
		expect(write(ready[1], "r", 1) == 1 && read(go[0], &c, 1) == 1, "pipe");
		(void)echo(&x, peer, local4(), PORT + 1, 500);
		exit(0);
	}
	become(USER_A);
	get_stack(&x);
	expect(read(ready[0], &c, 1) == 1, "the other user failed");
	expect(lease(&x, local4(), PORT + 1, 17, bound(local4(), PORT + 3, SOCK_DGRAM)) == -EPERM,
	       "a lease for another port than the socket's");
	expect(!lease(&x, local4(), PORT, 17, bound(local4(), PORT, SOCK_DGRAM)), "A");
	f = echo(&x, peer, local4(), PORT, 500);
	f.sport = PORT + 1;
	refused(&x, peer, "the other user's port", make_udp(buf, &f, "hi", 2), 1, 0);
	expect(write(go[1], "g", 1) == 1 && wait(&st) == pid && st == 0, "the other user failed");
	(void)echo(&x, peer, local4(), PORT, 500);
}

/* What may prove a lease and what may not (E1 to E3). */
static void proofs(void)
{
	int far = there(peer4(), PORT, SOCK_STREAM), fd, conn, acc;
	struct ipaddr lo = ip_from4(0x7f000001), any = ip_from4(0);
	struct xsk x, y;
	union sa u;
	struct linger hard = { 1, 0 };

	become(USER_A);
	get_stack(&x);
	get_stack(&y);
	expect(lease(&x, local4(), PORT, 6, -1) == -EBADF, "no descriptor");
	expect(lease(&x, local4(), PORT, 6, x.seg) == -ENOTSOCK, "no socket");
	expect(lease(&x, peer4(), PORT, 6, far) == -EPERM, "a socket of another namespace");
	expect(lease(&x, local4(), PORT, 17, bound(local4(), PORT, SOCK_STREAM)) == -EPERM, "protocol");
	expect(!lease(&x, lo, PORT, 6, bound(lo, PORT, SOCK_STREAM)), "loopback");
	expect(lease(&x, any, PORT, 6, bound(local4(), PORT, SOCK_STREAM)) == -EPERM, "wildcard");
	fd = bound(any, PORT + 9, SOCK_STREAM);
	expect(!listen(fd, 5), "listen");
	conn = socket(AF_INET, SOCK_STREAM, 0);
	expect(!connect(conn, &u.sa, sa_of(&u, &lo, PORT + 9)), "connect");
	acc = accept(fd, NULL, NULL);
	expect(lease(&x, lo, PORT + 9, 6, acc) == -EPERM, "an accepted connection");
	(void)setsockopt(conn, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
	close(conn);
	(void)recv(acc, buf, 1, 0);
	expect(lease(&x, lo, PORT + 9, 6, acc) == -EPERM, "a dead accepted connection");
	expect(!lease(&x, any, PORT + 9, 6, fd), "a listener on every address");
	expect(lease(&y, any, PORT + 9, 6, bound(any, PORT + 9, SOCK_STREAM)) == -EADDRINUSE,
	       "another stack has it");
	expect(!lease(&x, any, PORT + 9, 6, bound(any, PORT + 9, SOCK_STREAM)), "reuseport, one stack");
}

/* E4: a port stays taken while the stack has flows on it, and no longer. */
static void parked(void)
{
	struct ctl_msg m, sent, flow = { .op = CTL_FLOW_ADD };
	struct ipaddr a = local4();
	union sa u;
	int fd, again;
	struct xsk x;
	socklen_t n;

	become(USER_A);
	get_stack(&x);
	fd = bound(a, PORT, SOCK_STREAM);
	expect(!listen(fd, 5), "listen");
	expect(!lease(&x, a, PORT, 6, fd), "lease");
	flow.u.flow = (struct ctl_flow){ .laddr = a, .raddr = peer4(), .lport = PORT, .rport = 5,
					 .proto = 6 };
	sent = flow;		/* the reply overwrites the request */
	expect(!ctl_ask(x.ctl, &flow, -1, NULL, NULL), "flow");
	close(fd);
	m = lease_msg(CTL_LEASE_DEL, a, PORT, 6);
	expect(!ctl_ask(x.ctl, &m, -1, NULL, NULL), "lease del");
	again = socket(AF_INET, SOCK_STREAM, 0);
	n = sa_of(&u, &a, PORT);
	expect(bind(again, &u.sa, n) && errno == EADDRINUSE, "the port is free already");
	flow = sent;
	flow.op = CTL_FLOW_DEL;
	expect(!ctl_ask(x.ctl, &flow, -1, NULL, NULL), "flow del");
	expect(!bind(again, &u.sa, n), "the port is still taken");
}

static void port_block(void)
{
	int peer = there(peer4(), 9000, SOCK_DGRAM), peer6 = there(six(2), 9000, SOCK_DGRAM);
	struct ctl_msg m = { .op = CTL_PORTS_GET };
	struct xsk x, y;
	struct flow f;
	union sa u;
	struct ipaddr a = local4();
	uint16_t base;

	become(USER_A);
	get_stack(&x);
	expect(!ctl_ask(x.ctl, &m, -1, NULL, NULL), "a block");
	base = m.u.ports.base;
	expect(base % PORT_BLOCK == 0 && m.u.ports.count == PORT_BLOCK, "odd block");
	expect(bind(socket(AF_INET, SOCK_STREAM, 0), &u.sa, sa_of(&u, &a, base)) &&
	       errno == EADDRINUSE, "a port of the block is free");
	f = echo(&x, peer, a, (uint16_t)(base + 63), 200);
	(void)echo(&x, peer6, six(1), base, 200);
	get_stack(&y);
	m.op = CTL_PORTS_GET;
	expect(!ctl_ask(y.ctl, &m, -1, NULL, NULL) && m.u.ports.base != base, "another block");
	refused(&y, peer, "a port of another's block", make_udp(buf, &f, "hi", 2), 1, 0);
}

/* A stack gets as many blocks as it may, all different, and then a clear no. */
static void port_quota(void)
{
	static bool seen[65536 / PORT_BLOCK];
	struct ctl_msg m;
	struct xsk x;
	int n, err;

	become(USER_A);
	get_stack(&x);
	for (n = 0; n <= N_PORT_BLOCKS; n++) {
		m = (struct ctl_msg){ .op = CTL_PORTS_GET };
		err = ctl_ask(x.ctl, &m, -1, NULL, NULL);
		if (err)
			break;
		expect(!seen[m.u.ports.base / PORT_BLOCK], "block %u twice", m.u.ports.base);
		seen[m.u.ports.base / PORT_BLOCK] = true;
	}
	printf("# %d blocks\n", n);
	expect(n > 0 && n <= N_PORT_BLOCKS && err == -EDQUOT, "%d blocks, then %d", n, err);
}

static void rights(void)
{
	struct ctl_msg m = { .op = CTL_ATTACH };
	struct xsk x[N_STACKS_UID + 1];
	int ctl, fds[64], n = 0, i;

	become(USER_B);
	ctl = ctl_open_client();
	expect(ctl_simple(ctl, CTL_STATUS) == -EPROTO, "heard before hello");
	ctl = hello();
	(void)snprintf(m.u.link.name, sizeof(m.u.link.name), "v0");
	expect(ctl_ask(ctl, &m, -1, NULL, NULL) == -EPERM, "a user may attach");
	expect(ctl_simple(ctl, CTL_SHUTDOWN) == -EPERM, "a user may stop the agent");
	expect(ctl_simple(ctl, CTL_PORTS_GET) == -ENOTCONN, "ports without a stack");
	expect(ctl_simple(ctl, 99) == -EOPNOTSUPP, "an unknown request");
	for (i = 0; i < N_STACKS_UID; i++)
		get_stack(&x[i]);
	expect(xsk_get(&x[i]) == -EDQUOT, "one more stack than a user may have");
	expect(ctl_simple(x[0].ctl, CTL_STACK_GET) == -EISCONN, "two stacks on one connection");
	expect(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, x[0].mirror_fd, 0) == MAP_FAILED,
	       "the mirror is writable");
	m = (struct ctl_msg){ .op = CTL_STACK_JOIN };
	m.u.index = x[0].info.stack_id;
	expect(ctl_ask(ctl, &m, x[1].seg, NULL, NULL) == -EPERM, "joined with another's segment");
	m.op = CTL_STACK_JOIN;
	m.u.index = x[0].info.stack_id;
	expect(!ctl_ask(ctl, &m, x[0].seg, NULL, NULL), "join");
	m = (struct ctl_msg){ .op = CTL_STACKS };
	expect(!ctl_ask(ctl, &m, -1, fds, &n) && n == 2 && m.u.info.uid == USER_B, "stacks");
	expect((fcntl(fds[0], F_GETFL) & O_ACCMODE) == O_RDONLY, "a tool's segment is writable");
	expect((fcntl(fds[1], F_GETFL) & O_ACCMODE) == O_RDONLY, "a tool's front is writable");
}

static bool find_neigh(const struct mirror *m, struct ipaddr a)
{
	uint32_t i, seq, n = 0;
	bool found = false;

	do {
		seq = __atomic_load_n(&m->seq, __ATOMIC_ACQUIRE);
		found = false;
		for (i = 0; i < m->n_neighs && i < N_NEIGHS; i++)
			found |= ip_eq(&m->neighs[i].addr, &a) && (m->neighs[i].flags & NEIGH_VALID);
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while (((seq & 1) || seq != *(volatile const uint32_t *)&m->seq) && n++ < 1000);
	return found;
}

static void neighbours(void)
{
	struct ctl_msg m = { .op = CTL_NEIGH_ASK };
	bool routed4 = false, routed6 = false, attached = false;
	struct ipaddr a[2] = { peer4(), six(2) };
	struct xsk x;
	uint32_t i, k;

	become(USER_A);
	get_stack(&x);
	for (i = 0; i < x.mirror->n_links; i++)
		attached |= x.mirror->links[i].ifindex == x.info.vi_ifindex[0] &&
			    (x.mirror->links[i].flags & LINK_ATTACHED);
	expect(attached, "the mirror does not know that v0 is attached");
	for (i = 0; i < x.mirror->n_routes; i++) {
		const struct mir_route *r = &x.mirror->routes[i];

		expect(!i || r->prefix <= r[-1].prefix, "routes are not sorted");
		routed4 |= r->type == ROUTE_UNICAST && r->is4 && r->prefix == 120 && !r->mtu;
		routed6 |= r->type == ROUTE_UNICAST && !r->is4 && r->prefix == 64 && r->dst.b[1] == 9;
	}
	expect(routed4 && routed6, "a route is missing");
	for (i = 0; i < 2; i++) {
		m.u.neigh.addr = a[i];
		m.u.neigh.ifindex = x.info.vi_ifindex[0];
		expect(!find_neigh(x.mirror, a[i]), "known before it was asked for");
		(void)ctl_ask(x.ctl, &m, -1, NULL, NULL);
		for (k = 0; k < 200 && !find_neigh(x.mirror, a[i]); k++)
			(void)poll(NULL, 0, 5);
		expect(find_neigh(x.mirror, a[i]), "neighbour %u does not answer", i);
	}
}

/* The receiving half of a TCP connection, as little of it as a peer needs to send all it has. */
struct sink {
	struct xsk *x;
	const uint8_t *want;
	uint8_t *have;		/* a byte per byte: frames of two CPUs overtake each other */
	uint32_t first, next, total;
	size_t largest;
	int most, unfinished, swapped;
};

#define SINK_ISS 1000

static void sink_frame(struct sink *k, size_t n, int frames)
{
	const uint8_t *t = buf + 34, *data = t + (t[12] >> 4) * 4;
	uint16_t l4 = (uint16_t)(get_be16(buf + 16) - 20);
	uint32_t at = get_be32(t + 4) - k->first;
	struct flow f = reply_to(buf);

	k->largest = n > k->largest ? n : k->largest;
	k->most = frames > k->most ? frames : k->most;
	if (t[13] & 2) {
		k->first = k->next = get_be32(t + 4) + 1;
		xsk_send(k->x, buf, make_tcp(buf, &f, SINK_ISS, k->next, 0x12));
		return;
	}
	n = (size_t)(buf + n - data);
	if (!n)
		return;
	expect(at + n <= k->total && !memcmp(data, k->want + at, n), "bytes differ near %u", at);
	k->unfinished += csum_fold(t, l4, csum_fold(buf + 26, 8, 6u + l4)) != 0xffff;
	k->swapped += k->first + at != k->next;
	memset(k->have + at, 1, n);
	while (k->next - k->first < k->total && k->have[k->next - k->first])
		k->next++;
	xsk_send(k->x, buf, make_tcp(buf, &f, SINK_ISS + 1, k->next, 0x10));
}

/* A kernel peer's TCP stream arrives in frames as long as it makes them, byte for byte. */
static void super_frames(void)
{
	static uint8_t out[1 << 20], have[1 << 20];
	int fd, peer = there(peer4(), 0, SOCK_STREAM), frames, st;
	struct ipaddr a = local4();
	struct sink k = { .want = out, .have = have, .total = sizeof(out) };
	struct xsk x;
	union sa u;
	pid_t pid;
	size_t n, i;

	become(USER_A);
	get_stack(&x);
	k.x = &x;
	fd = bound(a, PORT, SOCK_STREAM);
	expect(!listen(fd, 5) && !lease(&x, a, PORT, 6, fd), "lease");
	for (i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 31 + (i >> 8));
	pid = fork();
	if (!pid) {
		if (connect(peer, &u.sa, sa_of(&u, &a, PORT)) ||
		    write(peer, out, sizeof(out)) != sizeof(out))
			die("the peer: %s", strerror(errno));
		exit(0);
	}
	while (k.next - k.first < k.total) {
		n = xsk_recv(&x, buf, sizeof(buf), 2000, &frames);
		expect(n >= 54, "the stream stopped after %u bytes", k.next - k.first);
		sink_frame(&k, n, frames);
	}
	printf("# largest frame %zu bytes in %d pieces, %d checksums unfinished, %d out of order, "
	       "%s\n", k.largest, k.most, k.unfinished, k.swapped, xsk_drops(&x));
	expect(k.largest > 20000, "no super-frame came whole");
	expect(waitpid(pid, &st, 0) == pid && st == 0, "the peer");
}

/* The kernel answers on the same interface and address as if we were not there. */
static void kernel_too(void)
{
	int fd = bound(local4(), PORT + 20, SOCK_STREAM), peer = there(peer4(), 0, SOCK_STREAM), c;
	struct ipaddr a = local4();
	struct xsk x;
	union sa u;

	become(USER_A);
	get_stack(&x);
	expect(!lease(&x, a, PORT, 6, bound(a, PORT, SOCK_STREAM)), "lease");
	expect(!listen(fd, 5), "listen");
	expect(!connect(peer, &u.sa, sa_of(&u, &a, PORT + 20)), "connect to the kernel");
	c = accept(fd, NULL, NULL);
	expect(write(peer, "ping", 4) == 4 && read(c, buf, 10) == 4, "kernel TCP");
	expect(xsk_recv(&x, buf, sizeof(buf), 50, NULL) == 0, "the kernel's packet came to us");
}

/* E7: what the kernel accepted, or is about to, before the port was leased stays the kernel's. */
static void kernel_before(void)
{
	struct ipaddr to[2] = { local4(), six(1) }, any[2] = { ip_from4(0), { { 0 } } };
	int i, fd[2], peer[2], late[2], c[2], ms;
	struct xsk x;
	union sa u;

	become(0);
	for (i = 0; i < 2; i++) {
		fd[i] = bound(any[i], PORT + 30, SOCK_STREAM);
		expect(!listen(fd[i], 5), "listen");
		peer[i] = there(i ? six(2) : peer4(), 0, SOCK_STREAM);
		late[i] = there(i ? six(2) : peer4(), 0, SOCK_STREAM | SOCK_NONBLOCK);
		expect(!connect(peer[i], &u.sa, sa_of(&u, &to[i], PORT + 30)), "connect to the kernel");
		c[i] = accept(fd[i], NULL, NULL);
	}
	become(USER_A);
	get_stack(&x);
	for (i = 0; i < 2; i++) {
		expect(!lease(&x, any[i], PORT + 30, 6, fd[i]), "lease");
		expect(write(peer[i], "ping", 4) == 4 && read(c[i], buf, 10) == 4, "to the kernel's connection");
		expect(write(c[i], "pong!", 5) == 5 && read(peer[i], buf, 10) == 5, "and back");
		expect(xsk_recv(&x, buf, sizeof(buf), 50, NULL) == 0, "the kernel's packet came to us");
		expect(connect(late[i], &u.sa, sa_of(&u, &to[i], PORT + 30)) && errno == EINPROGRESS, "connect");
		expect(xsk_recv(&x, buf, sizeof(buf), 1000, NULL) > 0, "a new connection did not come to us");
		close(late[i]);
	}
	expect(status().n_shared == 2, "%u leases are shared", status().n_shared);
	for (i = 0; i < 2; i++) {
		close(c[i]);
		close(peer[i]);
	}
	for (ms = 0; ms < 9000 && status().n_shared; ms += 100)
		usleep(100000);
	expect(!status().n_shared, "the kernel's connections are over, and it is still asked");
}

/* Two interfaces, one stack, one packet memory; a listener on every address hears on both. */
static void two_links(void)
{
	int p0 = there(peer4(), 9000, SOCK_DGRAM), p1 = there(ip_from4(0x0a090102), 9000, SOCK_DGRAM);
	struct ctl_msg m = lease_msg(CTL_LEASE_ADD, six(0), PORT, 17);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ipaddr second = ip_from4(0x0a090101), any = { { 0 } };
	struct xsk x, y;
	struct flow f;
	union sa u;

	become(USER_A);
	expect(!xsk_get(&x) && x.info.n_vis == 2, "not two interfaces");
	xsk_second(&x, &y);
	expect(!bind(fd, &u.sa, sa_of(&u, &any, PORT)), "bind");
	m.u.lease.laddr = any;
	m.u.lease.family6_dual = 1;
	expect(!ctl_ask(x.ctl, &m, fd, NULL, NULL), "lease of a dual-stack wildcard");
	f = echo(&x, p0, local4(), PORT, 1000);
	refused(&y, p0, "one interface's frame on the other", make_udp(buf, &f, "hi", 2), 0, 0);
	(void)echo(&y, p1, second, PORT, 1000);
	(void)echo(&x, p0, local4(), PORT, 1000);
}

/* root's stack sits on the interface's own queue: any frame leaves, as documented. */
static void direct(void)
{
	int peer = there(peer4(), 9000, SOCK_DGRAM);
	struct xsk x;

	get_stack(&x);
	expect(x.info.vi_flags[0] & VIF_F_DIRECT, "no own queue");
	expect(!lease(&x, local4(), PORT, 17, bound(local4(), PORT, SOCK_DGRAM)), "lease");
	(void)echo(&x, peer, local4(), PORT, 1000);
}

/* A stack on which somebody else's surrogate dies keeps its leases and gets another one. */
static void surrogate(void)
{
	struct ctl_msg m = { .op = CTL_STACKS };
	struct xsk x;
	uint32_t first;
	int i, ctl = hello();

	become(USER_A);
	get_stack(&x);
	expect(!lease(&x, local4(), PORT, 17, bound(local4(), PORT, SOCK_DGRAM)), "lease");
	for (i = 0; i < 100 && (m.u.info.surrogate_pid == 0 || i < 20); i++) {
		m = (struct ctl_msg){ .op = CTL_STACKS };
		expect(!ctl_ask(ctl, &m, -1, NULL, NULL) && m.u.info.stack_id == x.info.stack_id, "info");
		(void)poll(NULL, 0, 10);
	}
	first = m.u.info.surrogate_pid;
	if (!first) {
		printf("# no onramp-surrogate beside onrampd\n");
		return;
	}
	expect(!kill((pid_t)first, SIGKILL), "the surrogate %u is not its user's", first);
	for (i = 0; i < 200 && (m.u.info.surrogate_pid == first || !m.u.info.surrogate_pid); i++) {
		m = (struct ctl_msg){ .op = CTL_STACKS };
		expect(!ctl_ask(ctl, &m, -1, NULL, NULL), "info");
		(void)poll(NULL, 0, 10);
	}
	expect(m.u.info.surrogate_pid && m.u.info.surrogate_pid != first, "no new surrogate");
	expect(m.u.info.n_leases == 1, "the lease is gone");
}

/* For detach and kill tests: has a stack and a lease, says so, sleeps. */
static void hold(void)
{
	struct xsk x;

	become(USER_A);
	get_stack(&x);
	expect(!lease(&x, local4(), PORT, 17, bound(local4(), PORT, SOCK_DGRAM)), "lease");
	printf("holding\n");
	(void)fflush(stdout);
	(void)pause();
}

static void change_link(uint32_t op, char **argv, int argc)
{
	struct ctl_msg m = { .op = op };
	int err, i, ctl = hello();

	expect(argc > 0, "which link?");
	(void)snprintf(m.u.link.name, sizeof(m.u.link.name), "%s", argv[0]);
	for (i = 1; i < argc; i++) {
		m.u.link.mode = !strcmp(argv[i], "native") ? ATTACH_NATIVE :
				!strcmp(argv[i], "generic") ? ATTACH_GENERIC : m.u.link.mode;
		m.u.link.flags |= !strcmp(argv[i], "direct") ? ATTACH_F_DIRECT : 0;
	}
	err = ctl_ask(ctl, &m, -1, NULL, NULL);
	if (op == CTL_ATTACH)
		printf("# %.256s\n", m.u.text);
	expect(!err, "%s", strerror(-err));
}

static const struct { const char *name; void (*run)(void); } scenarios[] = {
	{ "neighbours", neighbours }, { "udp_small", udp_small }, { "spoof", spoof },
	{ "two_users", two_users }, { "proofs", proofs }, { "parked", parked },
	{ "port_block", port_block }, { "port_quota", port_quota }, { "kernel_too", kernel_too },
	{ "kernel_before", kernel_before },
	{ "super_frames", super_frames }, { "rights", rights }, { "udp_jumbo", udp_jumbo },
	{ "udp_huge", udp_huge }, { "two_links", two_links }, { "direct", direct },
	{ "surrogate", surrogate }, { "hold", hold },
};

int main(int argc, char **argv)
{
	char path[128];
	size_t i;

	if (argc < 3)
		die("usage: agent_probe NETNS SCENARIO | attach LINK [...] | detach LINK | shutdown");
	(void)snprintf(path, sizeof(path), "/run/netns/%s", argv[1]);
	ns_here = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	ns_there = open(path, O_RDONLY | O_CLOEXEC);
	expect(ns_here >= 0 && ns_there >= 0, "%s: %s", path, strerror(errno));
	if (!strcmp(argv[2], "attach") || !strcmp(argv[2], "detach")) {
		change_link(argv[2][0] == 'a' ? CTL_ATTACH : CTL_DETACH, argv + 3, argc - 3);
		return 0;
	}
	if (!strcmp(argv[2], "shutdown"))
		return ctl_simple(hello(), CTL_SHUTDOWN) ? 1 : 0;
	for (i = 0; i < n_elems(scenarios); i++)
		if (!strcmp(argv[2], scenarios[i].name)) {
			scenarios[i].run();
			return 0;
		}
	die("%s: no such scenario", argv[2]);
}
