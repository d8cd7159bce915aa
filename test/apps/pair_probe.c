// SPDX-License-Identifier: BSD-2-Clause
/*
 * Scenarios of same-host traffic, run by test/apps/agent.sh where an agent runs, the system's or
 * (AGENT_PATH) one's own: stacks without an interface, the directory, pairs and their ends. Each is
 * a process of its own, which becomes an ordinary user first, if it is root.
 */
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "agent_xsk.h"

/* Ports of a stack in the directory; and whether this one is among them. */
static uint32_t ports_of(const struct xsk *x, struct ipaddr a, uint16_t port, uint8_t proto, bool *ret)
{
	const struct mirror *m = x->mirror;
	uint32_t at, i, n = 0;

	*ret = false;
	for (at = m->buckets[dir_bucket(proto, port)], i = 0; at && i < N_DIR_PORTS; i++) {
		const struct dir_port *p = &m->ports[at - 1];

		*ret |= p->lport == port && p->proto == proto && p->stack_id == x->info.stack_id &&
			ip_eq(&p->laddr, &a);
		at = p->next;
	}
	for (i = 0; i < N_DIR_PORTS; i++)
		n += m->ports[i].proto && m->ports[i].stack_id == x->info.stack_id;
	return n;
}

static bool is_listed(const struct xsk *x, struct ipaddr a, uint16_t port, uint8_t proto)
{
	bool there;

	(void)ports_of(x, a, port, proto, &there);
	return there;
}

static void end_stack(struct xsk *x)
{
	close(x->ctl);
	x->ctl = -1;
}

/* A stack where nothing is attached: memory, ports, a place in the directory, and no device. */
static void no_interface(void)
{
	struct ipaddr lo = ip_from4(0x7f000001);
	struct ctl_msg m = { .op = CTL_PORTS_GET };
	struct stat st;
	struct xsk x;

	become(USER_A);
	expect(!xsk_get(&x), "no stack");
	expect(x.info.n_vis == 0 && x.fd == -1, "interfaces, where none is attached");
	expect(x.info.dir_slot > 0 && x.info.dir_slot < N_DIR_STACKS &&
	       x.mirror->stacks[x.info.dir_slot].stack_id == x.info.stack_id, "no place in the directory");
	expect((fcntl(x.front, F_GETFL) & O_ACCMODE) == O_RDWR, "the front is not the stack's to write");
	expect(fcntl(x.pipe, F_GETFL) & O_NONBLOCK, "a pipe that blocks");
	expect(!fstat(x.seg, &st) && st.st_blocks < 8 << 11, "%lld KiB of memory for packets that cannot come",
	       (long long)st.st_blocks / 2);
	expect(!lease(&x, lo, PORT, 6, bound(lo, PORT, SOCK_STREAM)), "lease");
	expect(is_listed(&x, lo, PORT, 6), "the lease is not in the directory");
	expect(!ctl_ask(x.ctl, &m, -1, NULL, NULL) && m.u.ports.count == PORT_BLOCK, "a block");
}

/* Y1, E6: who serves what, from the grant to the end. */
static void directory(void)
{
	struct ipaddr lo = ip_from4(0x7f000001), any = ip_from4(0), any6 = { { 0 } };
	struct ctl_msg m;
	struct xsk x, y;
	uint32_t seq;
	bool there;
	union sa u;
	int fd, twin, conn;

	become(USER_A);
	expect(!xsk_get(&x) && !xsk_get(&y), "no stack");
	seq = y.mirror->ports_seq;
	fd = bound(lo, PORT + 1, SOCK_STREAM);
	twin = bound(lo, PORT + 1, SOCK_STREAM);
	expect(!listen(fd, 5) && !lease(&x, lo, PORT + 1, 6, fd), "lease");
	expect(y.mirror->ports_seq == seq + 1 && !(y.mirror->seq & 1), "the others were not told");
	expect(is_listed(&x, lo, PORT + 1, 6) && !is_listed(&x, any, PORT + 1, 6), "not as bound");
	expect(!lease(&x, lo, PORT + 1, 6, twin), "reuseport");
	expect(ports_of(&x, lo, PORT + 1, 6, &there) == 1, "listed twice");
	expect(lease(&y, lo, PORT + 1, 6, bound(lo, PORT + 1, SOCK_STREAM)) == -EADDRINUSE, "E3");
	m = lease_msg(CTL_LEASE_DEL, lo, PORT + 1, 6);
	expect(!ctl_ask(x.ctl, &m, -1, NULL, NULL) && is_listed(&x, lo, PORT + 1, 6), "its twin is gone as well");
	m = lease_msg(CTL_LEASE_DEL, lo, PORT + 1, 6);
	expect(!ctl_ask(x.ctl, &m, -1, NULL, NULL) && !is_listed(&x, lo, PORT + 1, 6), "still listed");
	close(fd);
	close(twin);

	/* A dual-stack wildcard, a datagram socket, and then the program is gone. */
	fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	expect(!bind(fd, &u.sa, sa_of(&u, &any6, PORT + 2)) && !listen(fd, 5), "bind");
	m = lease_msg(CTL_LEASE_ADD, any6, PORT + 2, 6);
	m.u.lease.family6_dual = 1;
	expect(!ctl_ask(x.ctl, &m, fd, NULL, NULL) && is_listed(&x, any6, PORT + 2, 6), "wildcard");
	expect(!lease(&x, lo, PORT + 2, 17, bound(lo, PORT + 2, SOCK_DGRAM)), "udp");
	expect(ports_of(&x, lo, PORT + 2, 17, &there) == 2 && there, "not both");
	close(fd);
	end_stack(&x);
	expect(ctl_simple(y.ctl, CTL_HELLO) == 0, "hello");	/* the agent has come round to it */
	expect(ports_of(&x, lo, PORT + 2, 17, &there) == 0, "a dead program's ports are listed");
	conn = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	expect(connect(conn, &u.sa, sa_of(&u, &lo, PORT + 2)) && errno == ECONNREFUSED, "not refused");
}

static int pair_ask(struct xsk *x, uint32_t op, uint32_t arg, struct ctl_pair *ret, int fds[3])
{
	struct ctl_msg m = { .op = op };
	int got[64], n = 0, err;

	m.u.pair.peer = m.u.pair.slot = arg;
	if (op == CTL_PAIR_DEL)
		m.u.pair.pair_id = ret->pair_id;
	err = ctl_ask(x->ctl, &m, -1, got, &n);
	if (op == CTL_PAIR_DEL)
		return err;
	*ret = m.u.pair;
	expect(n == (err ? 0 : m.u.pair.over ? 1 : 3), "%d descriptors with a pair", n);
	memcpy(fds, got, (size_t)n * sizeof(int));
	return err;
}

static const struct dir_stack *words(const struct xsk *x) { return &x->mirror->stacks[x->info.dir_slot]; }

static bool is_rung(int pipe, int ms)
{
	struct pollfd p = { .fd = pipe, .events = POLLIN };
	bool rung = poll(&p, 1, ms) == 1;
	char c[8];

	while (read(pipe, c, sizeof(c)) > 0)
		;
	return rung;
}

/* Both ends of a new pair of x and y: the same memory, each other's bells. */
static struct ctl_pair meet(struct xsk *x, struct xsk *y, uint32_t peer_uid)
{
	struct ap_pair *px, *py;
	struct ap_front *own, *seen;
	struct ctl_pair dx, dy;
	int fx[3], fy[3];
	const uint64_t one = 1;
	char path[32];

	expect(!pair_ask(x, CTL_PAIR_GET, y->info.stack_id, &dx, fx), "pair");
	expect(words(x)->pair_id[dx.slot] == dx.pair_id && words(x)->changes, "not named to the one");
	expect(is_rung(y->pipe, 1000), "the other was not told");
	expect(words(y)->pair_id[0] == dx.pair_id && words(y)->changes, "not named to the other");
	expect(!pair_ask(y, CTL_PAIR_AT, 0, &dy, fy), "its end");
	expect(dx.side == 0 && dy.side == 1 && dx.peer == y->info.stack_id && dy.peer == x->info.stack_id &&
	       dx.pair_id == dy.pair_id && !dx.is_self && !dy.is_self, "an odd pair");
	px = mmap(NULL, AP_PAIR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fx[0], 0);
	py = mmap(NULL, AP_PAIR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fy[0], 0);
	expect(px != MAP_FAILED && py != MAP_FAILED && px->magic == AP_PAIR_MAGIC &&
	       px->layout_hash == ONRAMP_LAYOUT_HASH && px->pair_id == dx.pair_id &&
	       px->stack[0] == x->info.stack_id && px->stack[1] == y->info.stack_id, "an odd head");
	px->chan[AP_N_CHANS - 1].name.nonce = 4711;
	expect(py->chan[AP_N_CHANS - 1].name.nonce == 4711, "not the same memory");
	expect(ftruncate(fx[0], 0) && ftruncate(fx[0], (off_t)AP_PAIR_BYTES * 2), "not sealed");
	own = mmap(NULL, sizeof(*own), PROT_READ | PROT_WRITE, MAP_SHARED, y->front, 0);
	seen = mmap(NULL, sizeof(*seen), PROT_READ, MAP_SHARED, fx[1], 0);
	expect(own != MAP_FAILED && seen != MAP_FAILED && seen->magic == AP_FRONT_MAGIC &&
	       seen->stack_id == y->info.stack_id, "an odd front");
	own->armed = 7;
	expect(seen->armed == 7, "not the other's front");
	expect(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fx[1], 0) == MAP_FAILED, "its front is writable");
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fx[1]);
	expect(peer_uid == 0 || open(path, O_RDWR) < 0, "its front can be made writable");
	/* Programs of one user ring an eventfd. */
	expect(write(fx[2], &one, 8) == 8 && is_rung(y->peer_bell, 1000) && !is_rung(x->peer_bell, 0), "no bell");
	expect(write(fy[2], &one, 8) == 8 && is_rung(x->peer_bell, 1000) && !is_rung(y->peer_bell, 0),
	       "no bell back");
	return dx;
}

/* Pairs of one user's stacks, from the first word to the last (P1 to P3). */
static void pairs(void)
{
	struct ctl_pair d, e = { 0 };
	struct xsk x, y, z;
	int f[3];

	become(USER_A);
	expect(!xsk_get(&x) && !xsk_get(&y) && !xsk_get(&z), "no stack");
	d = meet(&x, &y, getenv("AGENT_PATH") ? 0 : USER_A);
	expect(!pair_ask(&y, CTL_PAIR_GET, x.info.stack_id, &e, f) && e.pair_id == d.pair_id, "a second pair");
	expect(!pair_ask(&x, CTL_PAIR_GET, x.info.stack_id, &e, f) && e.is_self && e.side == 0 &&
	       e.peer == x.info.stack_id, "no pair with itself");
	expect(pair_ask(&x, CTL_PAIR_GET, 0x7fffffff, &e, f) == -ENOENT, "a pair with nobody");
	expect(pair_ask(&x, CTL_PAIR_AT, N_PAIRS - 1, &e, f) == -ENOENT, "a pair that there is not");
	expect(pair_ask(&y, CTL_PAIR_DEL, 0, &d, f) == -EBUSY, "given back, and not over");
	end_stack(&x);
	expect(is_rung(y.pipe, 5000) && words(&y)->pair_id[0] == 0, "the end was not told");
	expect(!pair_ask(&y, CTL_PAIR_AT, 0, &e, f) && e.over && e.pair_id == d.pair_id, "no last look");
	expect(!pair_ask(&z, CTL_PAIR_GET, y.info.stack_id, &e, f), "another pair");
	expect(words(&y)->pair_id[0] == 0 && words(&y)->pair_id[1] == e.pair_id, "the slot was not free");
	expect(!pair_ask(&y, CTL_PAIR_DEL, 0, &d, f), "not given back");
	expect(pair_ask(&y, CTL_PAIR_AT, 0, &e, f) == -ENOENT, "still there");
}

/* P5: of two users; the one cannot be heard, stopped or seen by the other but through the pair. */
static void pair_users(void)
{
	int ready[2], ctl[2], status;
	struct xsk x, y;
	struct ctl_pair d;
	char c = 0;
	pid_t pid;
	int f[3], i;

	expect(!pipe(ready) && !pipe(ctl), "pipe");
	pid = fork();
	if (!pid) {
		become(USER_B);
		expect(!xsk_get(&y), "no stack");
		expect(write(ready[1], &y.info.stack_id, 4) == 4 && read(ctl[0], &c, 1) == 1, "pipe");
		expect(is_rung(y.pipe, 1000) && words(&y)->pair_id[0], "not told");
		expect(!pair_ask(&y, CTL_PAIR_AT, 0, &d, f) && write(f[2], "", 1) == 1, "its end");
		exit(0);
	}
	become(USER_A);
	expect(!xsk_get(&x) && read(ready[0], &y.info.stack_id, 4) == 4, "no stack");
	expect(!pair_ask(&x, CTL_PAIR_GET, y.info.stack_id, &d, f), "no pair with another user");
	expect((fcntl(f[1], F_GETFL) & O_ACCMODE) == O_RDONLY, "its front");
	expect(write(ctl[1], "", 1) == 1 && is_rung(x.pipe, 2000), "not rung by the other user");
	expect(waitpid(pid, &status, 0) == pid && status == 0, "the other user");
	for (i = 0; i < 50 && words(&x)->pair_id[d.slot]; i++)	/* both rings may have been one */
		(void)is_rung(x.pipe, 100);
	expect(!words(&x)->pair_id[d.slot], "its end was not told");
}

/* An agent of one's own: no limit but the agent's, no interface, and it obeys its owner. */
static void own_agent(void)
{
	struct ctl_msg m = { .op = CTL_ATTACH };
	struct xsk x[N_STACKS_UID + 2];
	struct ctl_pair d;
	int i, f[3];

	for (i = 0; i < N_STACKS_UID + 2; i++)
		expect(!xsk_get(&x[i]), "stack %d is refused", i);
	expect(x[0].info.n_vis == 0, "an interface");
	for (i = 1; i < N_STACKS_UID + 2; i++)
		expect(!pair_ask(&x[i], CTL_PAIR_GET, x[0].info.stack_id, &d, f), "pair %d", i);
	(void)snprintf(m.u.link.name, sizeof(m.u.link.name), "v0");
	expect(ctl_ask(x[0].ctl, &m, -1, NULL, NULL) == -EOPNOTSUPP && m.u.text[0], "it attaches");
}

static const struct { const char *name; void (*run)(void); } scenarios[] = {
	{ "no_interface", no_interface }, { "directory", directory }, { "pairs", pairs },
	{ "pair_users", pair_users }, { "own_agent", own_agent },
};

int main(int argc, char **argv)
{
	size_t i;

	for (i = 0; argc == 2 && i < n_elems(scenarios); i++)
		if (!strcmp(argv[1], scenarios[i].name)) {
			scenarios[i].run();
			return 0;
		}
	die("usage: pair_probe SCENARIO");
}
