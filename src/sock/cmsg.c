/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Control messages of datagrams, in Linux's order and sizes (net/core/sock.c, net/ipv4/ip_sockglue.c,
 * net/ipv6/datagram.c): programs are known to look at the first only.
 *
 * Of what a send asks for, only that is taken which is sound and ours; all else goes with its datagram
 * to the kernel's socket below, which sends it from the same address and port, or refuses it. So there
 * is no second opinion here about what is wrong.
 */
#include "sock/dgram.h"

#include <time.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <netinet/in.h>
#include <netinet/udp.h>

#define LOOPBACK_IFINDEX 1	/* in every network namespace */

void cmsg_put(struct cmsg_out *c, int level, int type, const void *p, size_t n)
{
	struct cmsghdr h = { .cmsg_len = CMSG_LEN(n), .cmsg_level = level, .cmsg_type = type };
	size_t room = c->at ? c->room - c->used : 0;
	uint8_t *to = c->at + c->used;

	if (room < sizeof(h)) {
		c->flags |= MSG_CTRUNC;
		return;
	}
	if (room < h.cmsg_len) {
		c->flags |= MSG_CTRUNC;
		h.cmsg_len = room;
	}
	memcpy(to, &h, sizeof(h));
	memcpy(to + sizeof(h), p, h.cmsg_len - sizeof(h));
	c->used += min_u64(room, CMSG_SPACE(n));
}

/* ---- what came --------------------------------------------------------------------------------- */

/* The stack counts in CLOCK_MONOTONIC; programs are told the time of day. */
static struct timespec time_of_day(uint64_t at)
{
	struct timespec now;
	uint64_t ns, mono = host_now();

	clock_gettime(CLOCK_REALTIME, &now);
	ns = (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec - (mono > at ? mono - at : 0);
	return (struct timespec){ .tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S) };
}

void cmsg_stamps(struct cmsg_out *c, const struct udp_opts *o, const struct udp_arrival *a)
{
	struct scm_timestamping all = { .ts = { { 0 } } };
	struct timespec ts;
	struct timeval tv;

	if (o->stamp || o->stamping) {
		ts = time_of_day(a->at);
		tv = (struct timeval){ .tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000 };
		if (o->stamp == SO_TIMESTAMP_OLD || o->stamp == SO_TIMESTAMP_NEW)
			cmsg_put(c, SOL_SOCKET, o->stamp, &tv, sizeof(tv));
		else if (o->stamp)
			cmsg_put(c, SOL_SOCKET, o->stamp, &ts, sizeof(ts));
		all.ts[0] = ts;
		if (o->stamping & SOF_TIMESTAMPING_SOFTWARE && o->stamping & SOF_TIMESTAMPING_RX_SOFTWARE)
			cmsg_put(c, SOL_SOCKET, SO_TIMESTAMPING_OLD, &all, sizeof(all));
	}
	if (o->wants & WANT_RXQ_OVFL && a->drops)
		cmsg_put(c, SOL_SOCKET, SO_RXQ_OVFL, &a->drops, sizeof(a->drops));
}

/* Within the host, Linux names the loopback for IPv4 and the address's own interface for IPv6. */
static uint32_t ifindex_of(const struct udp_arrival *a)
{
	const struct mirror *m = self.x.map.mirror;
	uint32_t n = m ? min_u32(peek32(&m->n_addrs), N_ADDRS) : 0;

	if (a->ifindex)
		return a->ifindex;
	for (uint32_t i = 0; i < n && !ip_is4(&a->to.addr); i++)
		if (m->addrs[i].ifindex && ip_eq(&m->addrs[i].addr, &a->to.addr))
			return m->addrs[i].ifindex;
	return LOOPBACK_IFINDEX;
}

/* An error was not routed to us, so there is no address that an answer would have. */
static void put_ip4(struct cmsg_out *c, uint32_t wants, const struct udp_arrival *a, bool error)
{
	struct in_addr addr = { .s_addr = __builtin_bswap32(ip_to4(&a->to.addr)) };
	struct in_pktinfo info = { .ipi_ifindex = (int)ifindex_of(a), .ipi_addr = addr };
	struct sockaddr_in dst = { .sin_family = AF_INET, .sin_port = __builtin_bswap16(a->to.port), .sin_addr = addr };
	int ttl = a->ttl;

	if (!error)
		info.ipi_spec_dst = addr;
	if (wants & WANT_PKTINFO4)
		cmsg_put(c, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
	if (wants & WANT_TTL)
		cmsg_put(c, IPPROTO_IP, IP_TTL, &ttl, sizeof(ttl));
	if (wants & WANT_TOS)
		cmsg_put(c, IPPROTO_IP, IP_TOS, &a->tos, 1);
	if (wants & WANT_ORIGDST4)
		cmsg_put(c, IPPROTO_IP, IP_ORIGDSTADDR, &dst, sizeof(dst));
}

static bool has_scope(const struct ipaddr *a) { return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80; }

static void put_ip6(struct cmsg_out *c, uint32_t wants, const struct udp_arrival *a)
{
	struct sockaddr_in6 dst = { .sin6_family = AF_INET6, .sin6_port = __builtin_bswap16(a->to.port) };
	int hops = a->ttl, tclass = a->tos;

	memcpy(&dst.sin6_addr, a->to.addr.b, 16);
	if (has_scope(&a->to.addr))
		dst.sin6_scope_id = ifindex_of(a);
	if (wants & WANT_HOPLIMIT)
		cmsg_put(c, IPPROTO_IPV6, IPV6_HOPLIMIT, &hops, sizeof(hops));
	if (wants & WANT_TCLASS)
		cmsg_put(c, IPPROTO_IPV6, IPV6_TCLASS, &tclass, sizeof(tclass));
	if (wants & WANT_ORIGDST6)
		cmsg_put(c, IPPROTO_IPV6, IPV6_ORIGDSTADDR, &dst, sizeof(dst));
}

void cmsg_arrival(struct cmsg_out *c, const struct udp_opts *o, const struct udp_arrival *a, bool v6,
		  bool error)
{
	struct in6_pktinfo info = { .ipi6_ifindex = 0 };
	int seg = (int)a->seg;

	cmsg_stamps(c, o, a);
	if (o->gro && seg)
		cmsg_put(c, SOL_UDP, UDP_GRO, &seg, sizeof(seg));
	if (!o->wants)
		return;
	if (v6 && o->wants & WANT_PKTINFO6) {
		info.ipi6_ifindex = ifindex_of(a);
		memcpy(&info.ipi6_addr, a->to.addr.b, 16);
		cmsg_put(c, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
	}
	if (ip_is4(&a->to.addr))
		put_ip4(c, o->wants, a, error);
	else
		put_ip6(c, o->wants, a);
}

/* ---- what a send asks for ---------------------------------------------------------------------------- */

static bool take_int(const struct cmsghdr *h, const void *data, int least, int most, int *ret)
{
	if (h->cmsg_len != CMSG_LEN(sizeof(*ret)))
		return false;
	memcpy(ret, data, sizeof(*ret));
	return *ret >= least && *ret <= most;
}

static bool take_ip4(const struct cmsghdr *h, const void *data, struct cmsg_wish *w)
{
	struct in_pktinfo info;
	int v;

	if (h->cmsg_type == IP_PKTINFO && h->cmsg_len == CMSG_LEN(sizeof(info))) {
		memcpy(&info, data, sizeof(info));
		w->out.ifindex = (uint32_t)info.ipi_ifindex;
		w->src = ip_from4(__builtin_bswap32(info.ipi_spec_dst.s_addr));
		return true;
	}
	if (h->cmsg_type == IP_TTL && take_int(h, data, 1, 255, &v)) {
		w->out.ttl = (uint8_t)v;
		w->out.set |= UDP_OUT_TTL;
		return true;
	}
	if (h->cmsg_type == IP_TOS && h->cmsg_len == CMSG_LEN(1))
		v = *(const uint8_t *)data;
	else if (h->cmsg_type != IP_TOS || !take_int(h, data, 0, 255, &v))
		return false;
	w->out.tos = (uint8_t)v;
	w->out.set |= UDP_OUT_TOS;
	return true;
}

static bool take_ip6(const struct cmsghdr *h, const void *data, bool is4, struct cmsg_wish *w)
{
	struct in6_pktinfo info;
	int v;

	if (h->cmsg_type == IPV6_PKTINFO && h->cmsg_len == CMSG_LEN(sizeof(info))) {
		memcpy(&info, data, sizeof(info));
		w->out.ifindex = info.ipi6_ifindex;
		memcpy(w->src.b, &info.ipi6_addr, 16);
		return ip_is4(&w->src) == is4 || (!is4 && ip_is_any(&w->src));
	}
	if (is4)
		return false;
	if (h->cmsg_type == IPV6_HOPLIMIT && take_int(h, data, 1, 255, &v)) {
		w->out.ttl = (uint8_t)v;
		w->out.set |= UDP_OUT_TTL;
		return true;
	}
	if (h->cmsg_type == IPV6_TCLASS && take_int(h, data, 0, 255, &v)) {
		w->out.tos = (uint8_t)v;
		w->out.set |= UDP_OUT_TOS;
		return true;
	}
	return false;
}

static bool take_udp(const struct cmsghdr *h, const void *data, struct cmsg_wish *w)
{
	if (h->cmsg_type != UDP_SEGMENT || h->cmsg_len != CMSG_LEN(sizeof(w->out.seg)))
		return false;
	memcpy(&w->out.seg, data, sizeof(w->out.seg));
	w->out.set |= UDP_OUT_SEG;
	return true;
}

enum cmsg_in cmsg_parse(const struct io *io, bool is4, struct cmsg_wish *ret)
{
	const uint8_t *at = io->ctl;
	size_t left = io->ctl ? io->ctl_n : 0;

	if (is4)
		ret->src = ip_from4(0);
	/* Linux stops where no whole header is left; a length that cannot be is an error. */
	while (left >= sizeof(struct cmsghdr)) {
		struct cmsghdr h;
		const uint8_t *data = at + sizeof(h);
		bool known;

		memcpy(&h, at, sizeof(h));
		if (h.cmsg_len < sizeof(h) || h.cmsg_len > left)
			return CMSG_KERNELS;
		known = h.cmsg_level == IPPROTO_IP ? is4 && take_ip4(&h, data, ret) :
			h.cmsg_level == IPPROTO_IPV6 ? take_ip6(&h, data, is4, ret) :
			h.cmsg_level == SOL_UDP ? take_udp(&h, data, ret) : false;
		if (!known)
			return CMSG_KERNELS;
		at += min_u64(left, CMSG_ALIGN(h.cmsg_len));
		left -= min_u64(left, CMSG_ALIGN(h.cmsg_len));
	}
	if (!ip_is_any(&ret->src))
		ret->out.src = &ret->src;
	return CMSG_OURS;
}
