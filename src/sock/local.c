/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Peers on this host: connect() and datagrams that need no network, because the agent's
 * directory names a stack that serves the address and port. Then the two stacks share a pair
 * (abi/aperture.h), asked of the agent at their first meeting. Whoever is not in the
 * directory is reached by the kernel, as before.
 */
#include "sock/local.h"

#include <errno.h>
#include <netinet/in.h>

#include "sock/stream.h"

/* Where the kernel would connect from: itself for an own address, 127.0.0.1 for all of 127/8. */
static struct ipaddr source_for(const struct ipaddr *to)
{
	return ip_is4(to) && ip_to4(to) >> 24 == 127 ? ip_from4(INADDR_LOOPBACK) : *to;
}

/* connect() to a wildcard is to the loopback. */
struct ipaddr local_target(const struct ipaddr *to)
{
	static const struct ipaddr loopback6 = { { [15] = 1 } };

	if (!ip_is_any(to))
		return *to;
	return ip_is4(to) ? ip_from4(INADDR_LOOPBACK) : loopback6;
}

bool local_is(const struct ipaddr *to)
{
	struct ipaddr a = local_target(to);

	/* All of 127/8 is this host, but its last is everybody there: the kernel's, with SO_BROADCAST. */
	if (ip_is4(&a) && ip_to4(&a) == 0x7fffffff)
		return false;
	return ap_is_local(&self.x.map, &a);
}

/* The slot of our pair with that stack, asked of the agent if need be. */
static int pair_with(uint32_t stack, uint32_t *ret_slot)
{
	struct turn t;
	int err;

	if (!sk_enter(&t))
		return -EINTR;
	err = ap_pair_find(&t, stack, ret_slot);
	sk_leave(&t, false);
	if (!err || self.quiet || me.in_turn)
		return err;
	agent_enter();
	err = exec_pair_get(&self.x, stack, ret_slot);
	agent_leave();
	sk_note_bells();
	return err;
}

static int open_in_turn(uint32_t slot, struct local_open *o, struct ent *e)
{
	struct turn t;
	struct sk *sk;
	int err;

	if (!sk_enter(&t))
		return -EINTR;
	err = ap_connect(&t, slot, o->opts, &o->laddr, o->lport, &o->raddr, o->rport, &sk);
	if (!err) {
		sk_ref(&t, sk, self.x.proc);
		sk->user = e->flags & FDF_NONBLOCK ? SKU_NONBLOCK | SKU_CONNECTING : 0;
		sk->flags |= e->flags & FDF_V6 ? SK_F_FAMILY6 : 0;
		sk->rcvtimeo_ms = o->rcvtimeo;
		sk->sndtimeo_ms = o->sndtimeo;
		e->h = sk->self;
	}
	sk_leave(&t, false);
	return err;
}

static enum reason reason_of(int err)
{
	switch (err) {
	case -EADDRNOTAVAIL:
		return REASON_NO_PORT;
	case -ENOBUFS:
		return REASON_NO_SOCKET_SLOT;
	default:
		return REASON_LOCAL;
	}
}

enum reason local_connect(struct ent *e, struct local_open *o)
{
	uint32_t stack, slot;
	int err;

	o->raddr = local_target(&o->raddr);
	stack = ap_lookup(&self.x.map, IPPROTO_TCP, &o->raddr, o->rport);
	if (!stack)
		return REASON_LOCAL;
	if (ip_is_any(&o->laddr))
		o->laddr = source_for(&o->raddr);
	err = pair_with(stack, &slot);
	if (err)
		return err == -EDQUOT ? REASON_NO_PAIR : REASON_LOCAL;
	if (!self.have_ports && !o->lport) {
		(void)!ask_ports();
		self.have_ports = 1;
	}
	err = open_in_turn(slot, o, e);
	if (err == -EADDRNOTAVAIL && !o->lport && ask_ports() == 0)
		err = open_in_turn(slot, o, e);
	return err ? reason_of(err) : REASON_NONE;
}

/* ---- datagrams ------------------------------------------------------------------------------------ */

static int64_t iov_all(const struct io *io) { return (int64_t)iov_bytes(io->iov, io->n_iov); }

/* From where, and what the header would say: of this datagram, or of the socket. */
static void fill_origin(const struct sk *sk, const struct udp_out *out, struct udp_origin *o)
{
	const struct udp_opts *so = &udp_of(sk)->o;
	bool is4 = ip_is4(&o->dst.addr);

	o->src.port = sk->lport;
	o->src.addr = out->src ? *out->src : ip_is_any(&sk->laddr) ? source_for(&o->dst.addr) : sk->laddr;
	o->ttl = out->set & UDP_OUT_TTL ? out->ttl : is4 ? so->ttl : so->hops;
	o->ttl = o->ttl ? o->ttl : 64;
	o->tos = out->set & UDP_OUT_TOS ? out->tos : is4 ? so->tos : so->tclass;
}

#define MAX_SEGS 64		/* of UDP_SEGMENT, in the kernels that allow fewest */

int64_t local_dgram(struct ent e, const struct io *io, const struct udp_out *out)
{
	struct udp_origin o = { .dst = { local_target(&out->to->addr), out->to->port } };
	uint32_t stack = ap_lookup(&self.x.map, IPPROTO_UDP, &o.dst.addr, o.dst.port), slot, seg;
	int64_t r = -EBADF;
	struct turn t;
	struct sk *sk;

	/* The loopback is all that leads here; what else was asked for is the kernel's to refuse. */
	if (!stack || out->ifindex > 1 || (out->src && !local_is(out->src)) || pair_with(stack, &slot))
		return SK_PASS;
	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && sk->err) {
		r = udp_take_error(&t, sk);
	} else if (sk && sk->flags & SK_F_WR_SHUT) {
		r = -EPIPE;
	} else if (sk) {
		seg = out->set & UDP_OUT_SEG ? out->seg : udp_of(sk)->o.seg;
		fill_origin(sk, out, &o);
		r = seg && iov_all(io) > seg && (iov_all(io) > (int64_t)seg * MAX_SEGS || udp_of(sk)->o.no_check) ?
		    -ECONNREFUSED :
		    ap_dgram(&t, slot, &o, seg, io->iov, io->n_iov);
		/* A full queue drops it, as a full receive buffer does; the sender is not told. */
		r = r == -EAGAIN || r == 0 ? iov_all(io) : r == -ECONNREFUSED ? SK_PASS : r;
	}
	sk_leave(&t, false);
	return r;
}
