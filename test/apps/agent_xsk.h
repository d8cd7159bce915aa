/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of the agent and a driver of its AF_XDP sockets, written apart from ours: it knows
 * abi/ only, so it tests what the agent hands out and not what our library makes of it.
 */
#ifndef TEST_AGENT_XSK_H
#define TEST_AGENT_XSK_H

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_xdp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "abi/ctl.h"
#include "abi/mirror.h"
#include "abi/segment.h"
#include "abi/vif.h"
#include "layout_hash.h"

#ifndef SOL_XDP
#define SOL_XDP 283
#endif

#define die(...) do { fprintf(stderr, "not ok: " __VA_ARGS__); fputc('\n', stderr); exit(1); } while (0)
#define expect(cond, ...) do { if (!(cond)) die(__VA_ARGS__); } while (0)

/* ---- control ---- */

/* To the system's agent, or to the one that AGENT_PATH names. */
static inline int ctl_open_client(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	socklen_t n = offsetof(struct sockaddr_un, sun_path) + sizeof(CTL_NAME);

	memcpy(sun.sun_path + 1, CTL_NAME, sizeof(CTL_NAME) - 1);
	if (getenv("AGENT_PATH"))
		n = offsetof(struct sockaddr_un, sun_path) +
		    (socklen_t)snprintf(sun.sun_path, sizeof(sun.sun_path), "%s", getenv("AGENT_PATH")) + 1;
	if (connect(fd, (struct sockaddr *)&sun, n))
		die("connect to the agent: %s", strerror(errno));
	return fd;
}

/* Returns the reply's err; descriptors received go to fds (room for 64). */
static inline int ctl_ask(int ctl, struct ctl_msg *m, int send_fd, int *fds, int *n_fds)
{
	union { struct cmsghdr h; char room[CMSG_SPACE(64 * sizeof(int))]; } cm;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr mh = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct cmsghdr *h;

	m->version = CTL_VERSION;
	m->layout_hash = ONRAMP_LAYOUT_HASH;
	m->cookie = 77;
	if (send_fd >= 0) {
		memset(&cm, 0, sizeof(cm));
		cm.h.cmsg_level = SOL_SOCKET;
		cm.h.cmsg_type = SCM_RIGHTS;
		cm.h.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&cm.h), &send_fd, sizeof(int));
		mh.msg_control = &cm;
		mh.msg_controllen = CMSG_SPACE(sizeof(int));
	}
	if (sendmsg(ctl, &mh, 0) != sizeof(*m))
		die("request: %s", strerror(errno));
	if (m->op == CTL_NEIGH_ASK)
		return 0;
	mh.msg_control = &cm;
	mh.msg_controllen = sizeof(cm);
	if (recvmsg(ctl, &mh, MSG_CMSG_CLOEXEC) != sizeof(*m))
		die("reply: %s", strerror(errno));
	expect(m->cookie == 77, "the reply is to something else");
	for (h = CMSG_FIRSTHDR(&mh); h; h = CMSG_NXTHDR(&mh, h)) {
		int n = (int)((h->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (fds)
			memcpy(fds, CMSG_DATA(h), (size_t)n * sizeof(int));
		if (n_fds)
			*n_fds = n;
	}
	return m->err;
}

static inline int ctl_simple(int ctl, uint32_t op)
{
	struct ctl_msg m = { .op = op };

	return ctl_ask(ctl, &m, -1, NULL, NULL);
}

static inline int hello(void)
{
	int ctl = ctl_open_client();

	expect(ctl_simple(ctl, CTL_HELLO) == 0, "the agent is of another build");
	return ctl;
}

/* ---- the AF_XDP socket ---- */

struct ring { uint32_t *prod, *cons, *flags; void *slots; };

struct xsk {
	int ctl, seg, mirror_fd, fd, front, pipe, peer_bell;
	int fds[N_VIS];		/* of all interfaces; fd is the first */
	struct ctl_stack info;
	const struct mirror *mirror;
	uint8_t *umem;
	struct ring rx, tx, fill, comp;
	uint32_t first_frame, tx_frame;	/* RX_FRAMES to receive into, then as many to send */
};

#define RING_MASK (N_RING - 1)
#define RX_FRAMES 1024

static inline void map_ring(int fd, struct ring *r, const struct xdp_ring_offset *o, off_t at,
			    size_t slot)
{
	uint8_t *p = mmap(NULL, o->desc + N_RING * slot, PROT_READ | PROT_WRITE,
			  MAP_SHARED | MAP_POPULATE, fd, at);

	if (p == MAP_FAILED)
		die("mapping a ring: %s", strerror(errno));
	r->prod = (void *)(p + o->producer);
	r->cons = (void *)(p + o->consumer);
	r->flags = (void *)(p + o->flags);
	r->slots = p + o->desc;
}

static inline void xsk_map_rings(struct xsk *x, uint32_t first_frame)
{
	struct xdp_mmap_offsets off;
	socklen_t n = sizeof(off);
	uint32_t i;

	expect(!getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &n), "ring offsets");
	map_ring(x->fd, &x->rx, &off.rx, XDP_PGOFF_RX_RING, sizeof(struct xdp_desc));
	map_ring(x->fd, &x->tx, &off.tx, XDP_PGOFF_TX_RING, sizeof(struct xdp_desc));
	map_ring(x->fd, &x->fill, &off.fr, (off_t)XDP_UMEM_PGOFF_FILL_RING, 8);
	map_ring(x->fd, &x->comp, &off.cr, (off_t)XDP_UMEM_PGOFF_COMPLETION_RING, 8);
	for (i = 0; i < RX_FRAMES; i++)
		((uint64_t *)x->fill.slots)[i] = (uint64_t)(first_frame + i) * FRAME_BYTES;
	__atomic_store_n(x->fill.prod, RX_FRAMES, __ATOMIC_RELEASE);
	x->first_frame = first_frame;
	x->tx_frame = first_frame + RX_FRAMES;
}

static inline void xsk_map(struct xsk *x)
{
	struct segment head;

	expect(pread(x->seg, &head, sizeof(head), 0) == sizeof(head), "segment header");
	expect(head.magic == SEGMENT_MAGIC && head.layout_hash == ONRAMP_LAYOUT_HASH, "not a segment");
	expect(head.uid == getuid(), "the segment says uid %u", head.uid);
	x->umem = mmap(NULL, N_PKTS * FRAME_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, x->seg,
		       (off_t)head.geo.off_umem);
	expect(x->umem != MAP_FAILED, "mapping packet memory");
	xsk_map_rings(x, 1);
}

/* The same stack's other interface: rings of its own, the same packet memory. */
static inline void xsk_second(const struct xsk *x, struct xsk *ret)
{
	*ret = *x;
	ret->fd = x->fds[1];
	xsk_map_rings(ret, 1 + 2 * RX_FRAMES);
}

/* Asks for a stack as whoever we are. Returns the agent's error. */
static inline int xsk_get(struct xsk *x)
{
	struct ctl_msg m = { .op = CTL_STACK_GET };
	int fds[64], n = 0, err;

	memset(x, 0, sizeof(*x));
	x->ctl = hello();
	err = ctl_ask(x->ctl, &m, -1, fds, &n);
	if (err)
		return err;
	x->info = m.u.stack;
	expect(n == 4 + (int)x->info.n_vis + N_WAITERS, "%d descriptors came", n);
	x->seg = fds[0];
	x->mirror_fd = fds[1];
	x->front = fds[2];
	x->pipe = fds[3];
	x->peer_bell = fds[4 + x->info.n_vis + PEER_BELL];
	memcpy(x->fds, fds + 4, x->info.n_vis * sizeof(int));
	x->fd = x->info.n_vis ? x->fds[0] : -1;
	x->mirror = mmap(NULL, sizeof(struct mirror), PROT_READ, MAP_SHARED, x->mirror_fd, 0);
	expect(x->mirror != MAP_FAILED && x->mirror->magic == MIRROR_MAGIC, "mirror");
	if (x->info.n_vis)
		xsk_map(x);
	return 0;
}

/* One packet into buf, waiting up to ms; its length, 0 on timeout. `ret_frames`: pieces. */
static inline size_t xsk_recv(struct xsk *x, uint8_t *buf, size_t room, int ms, int *ret_frames)
{
	struct pollfd p = { .fd = x->fd, .events = POLLIN };
	size_t len = 0;
	int frames = 0;

	while (__atomic_load_n(x->rx.prod, __ATOMIC_ACQUIRE) == *x->rx.cons)
		if (poll(&p, 1, ms) <= 0)
			return 0;
	for (;;) {
		struct xdp_desc d;

		while (__atomic_load_n(x->rx.prod, __ATOMIC_ACQUIRE) == *x->rx.cons)
			;
		d = ((struct xdp_desc *)x->rx.slots)[*x->rx.cons & RING_MASK];
		expect(len + d.len <= room, "a packet of more than %zu bytes", room);
		memcpy(buf + len, x->umem + d.addr, d.len);
		len += d.len;
		frames++;
		((uint64_t *)x->fill.slots)[*x->fill.prod & RING_MASK] = d.addr & ~(uint64_t)(FRAME_BYTES - 1);
		__atomic_store_n(x->fill.prod, *x->fill.prod + 1, __ATOMIC_RELEASE);
		__atomic_store_n(x->rx.cons, *x->rx.cons + 1, __ATOMIC_RELEASE);
		if (!(d.options & VIF_MORE))
			break;
	}
	if (ret_frames)
		*ret_frames = frames;
	return len;
}

static inline void xsk_send(struct xsk *x, const uint8_t *buf, size_t len)
{
	uint32_t prod = *x->tx.prod, i;

	while (len) {
		size_t n = len < FRAME_BYTES ? len : FRAME_BYTES;
		struct xdp_desc d = { .addr = (uint64_t)x->tx_frame * FRAME_BYTES, .len = (uint32_t)n,
				      .options = n < len ? VIF_MORE : 0 };

		memcpy(x->umem + d.addr, buf, n);
		((struct xdp_desc *)x->tx.slots)[prod++ & RING_MASK] = d;
		if (++x->tx_frame == x->first_frame + 2 * RX_FRAMES)
			x->tx_frame = x->first_frame + RX_FRAMES;
		buf += n;
		len -= n;
	}
	__atomic_store_n(x->tx.prod, prod, __ATOMIC_RELEASE);
	for (i = 0; i < 1000 && *(volatile uint32_t *)x->tx.cons != prod; i++)
		if (write(x->fd, "", 0) < 0 && errno != EAGAIN && errno != EBUSY)
			die("kick: %s", strerror(errno));
	*x->comp.cons = __atomic_load_n(x->comp.prod, __ATOMIC_ACQUIRE);
}

/* What the kernel says it dropped for want of room in our rings. */
static inline const char *xsk_drops(const struct xsk *x)
{
	static char text[96];
	struct xdp_statistics st;
	socklen_t n = sizeof(st);

	memset(&st, 0, sizeof(st));
	(void)getsockopt(x->fd, SOL_XDP, XDP_STATISTICS, &st, &n);
	(void)snprintf(text, sizeof(text), "dropped: %llu full, %llu no frames, %llu else",
		       (unsigned long long)st.rx_ring_full,
		       (unsigned long long)st.rx_fill_ring_empty_descs,
		       (unsigned long long)st.rx_dropped);
	return text;
}

/* ---- users, sockets, leases ---- */

#define USER_A 65534
#define USER_B 65533
#define PORT 7000

static inline void become(uid_t uid)
{
	if (geteuid() != 0)
		return;		/* an agent of one's own has one user */
	expect(!setresgid(uid, uid, uid) && !setresuid(uid, uid, uid), "cannot become %u", uid);
}

union sa { struct sockaddr sa; struct sockaddr_in in; struct sockaddr_in6 in6; };

static inline socklen_t sa_of(union sa *u, const struct ipaddr *a, uint16_t port)
{
	memset(u, 0, sizeof(*u));
	if (ip_is4(a)) {
		u->in.sin_family = AF_INET;
		u->in.sin_port = htons(port);
		memcpy(&u->in.sin_addr, a->b + 12, 4);
		return sizeof(u->in);
	}
	u->in6.sin6_family = AF_INET6;
	u->in6.sin6_port = htons(port);
	memcpy(&u->in6.sin6_addr, a->b, 16);
	return sizeof(u->in6);
}

static inline int bound(struct ipaddr a, uint16_t port, int type)
{
	int fd = socket(ip_is4(&a) ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0), one = 1;
	union sa u;
	socklen_t n = sa_of(&u, &a, port);

	(void)setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
	if (bind(fd, &u.sa, n))
		die("bind to port %u: %s", port, strerror(errno));
	return fd;
}

static inline struct ctl_msg lease_msg(uint32_t op, struct ipaddr a, uint16_t port, uint8_t proto)
{
	struct ctl_msg m = { .op = op };

	m.u.lease.laddr = a;
	m.u.lease.lport = port;
	m.u.lease.proto = proto;
	return m;
}

static inline int lease(struct xsk *x, struct ipaddr a, uint16_t port, uint8_t proto, int fd)
{
	struct ctl_msg m = lease_msg(CTL_LEASE_ADD, a, port, proto);

	return ctl_ask(x->ctl, &m, fd, NULL, NULL);
}

/* ---- frames ---- */

static inline uint16_t csum_fold(const void *p, size_t n, uint32_t sum)
{
	const uint8_t *b = p;
	size_t i;

	for (i = 0; i + 1 < n; i += 2)
		sum += (uint32_t)(b[i] << 8 | b[i + 1]);
	if (n & 1)
		sum += (uint32_t)b[n - 1] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

/* Addresses and MACs of one direction, as the frame will carry them. */
struct flow { uint8_t smac[6], dmac[6]; struct ipaddr src, dst; uint16_t sport, dport; };

/* Ethernet and IP around an L4 packet already at buf + 14 + 20 or 40, its checksum at csum_at. */
static inline size_t wrap(uint8_t *buf, const struct flow *f, uint8_t proto, size_t l4_len,
			  size_t csum_at)
{
	int four = ip_is4(&f->src), ip_len = four ? 20 : 40;
	uint8_t *ip = buf + 14, *l4 = ip + ip_len;
	uint32_t sum = (uint32_t)(proto + l4_len);

	memcpy(buf, f->dmac, 6);
	memcpy(buf + 6, f->smac, 6);
	put_be16(buf + 12, four ? 0x0800 : 0x86dd);
	memset(ip, 0, (size_t)ip_len);
	if (four) {
		ip[0] = 0x45;
		put_be16(ip + 2, (uint16_t)(20 + l4_len));
		put_be16(ip + 6, 0x4000);
		ip[8] = 64;
		ip[9] = proto;
		memcpy(ip + 12, f->src.b + 12, 4);
		memcpy(ip + 16, f->dst.b + 12, 4);
		put_be16(ip + 10, (uint16_t)~csum_fold(ip, 20, 0));
		sum += csum_fold(ip + 12, 8, 0);
	} else {
		ip[0] = 0x60;
		put_be16(ip + 4, (uint16_t)l4_len);
		ip[6] = proto;
		ip[7] = 64;
		memcpy(ip + 8, f->src.b, 16);
		memcpy(ip + 24, f->dst.b, 16);
		sum += csum_fold(ip + 8, 32, 0);
	}
	put_be16(l4 + csum_at, 0);
	put_be16(l4 + csum_at, (uint16_t)~csum_fold(l4, l4_len, sum));
	return 14 + (size_t)ip_len + l4_len;
}

static inline size_t make_udp(uint8_t *buf, const struct flow *f, const void *data, size_t n)
{
	uint8_t *u = buf + 14 + (ip_is4(&f->src) ? 20 : 40);

	put_be16(u, f->sport);
	put_be16(u + 2, f->dport);
	put_be16(u + 4, (uint16_t)(8 + n));
	memcpy(u + 8, data, n);
	return wrap(buf, f, 17, 8 + n, 6);
}

static inline size_t make_tcp(uint8_t *buf, const struct flow *f, uint32_t seq, uint32_t ack,
			      uint8_t flags)
{
	uint8_t *t = buf + 14 + (ip_is4(&f->src) ? 20 : 40);
	size_t n = flags & 2 ? 28 : 20;

	memset(t, 0, n);
	put_be16(t, f->sport);
	put_be16(t + 2, f->dport);
	put_be32(t + 4, seq);
	put_be32(t + 8, ack);
	t[12] = (uint8_t)(n / 4 << 4);
	t[13] = flags;
	put_be16(t + 14, 0xffff);
	if (flags & 2)	/* MSS 1460, window scale 2: 256 KiB, less than our rings hold */
		memcpy(t + 20, "\x02\x04\x05\xb4\x03\x03\x02\x01", 8);
	return wrap(buf, f, 6, n, 16);
}

#endif
