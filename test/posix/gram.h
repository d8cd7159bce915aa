/* SPDX-License-Identifier: BSD-2-Clause */
/* Datagrams and what comes along with them, written down for ancil.c and grams.c. */
#ifndef POSIX_GRAM_H
#define POSIX_GRAM_H

#include "case.h"

#include <linux/net_tstamp.h>
#include <net/if.h>
#include <ifaddrs.h>
#include <netinet/udp.h>

static unsigned char gbuf[70000];
static bool v6_run;

static inline int gram_socket(int family)
{
	struct timeval tv = { 2, 0 };
	int fd = socket(family, SOCK_DGRAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	v6_run = peer.ss_family == AF_INET6;
	return fd;
}

/* recv(), again if the machine was stopped for a while: that is no signal of ours. */
static inline ssize_t grecv(int fd, void *p, size_t n, int flags)
{
	ssize_t r;

	do
		r = recv(fd, p, n, flags);
	while (r < 0 && errno == EINTR);
	return r;
}

/* A socket that talks to the peer. */
static inline int gram_open(void)
{
	int fd = gram_socket(peer.ss_family);

	connect(fd, (void *)&peer, peer_n);
	return fd;
}

/* One that is bound and has no peer. */
static inline int gram_bound(int family)
{
	struct sockaddr_storage any = { .ss_family = (sa_family_t)family };
	int fd = gram_socket(family);

	bind(fd, (void *)&any, family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
	return fd;
}

static inline const char *set(int fd, int level, int name, int v)
{
	return en(setsockopt(fd, level, name, &v, sizeof(v)));
}

static inline int get(int fd, int level, int name)
{
	socklen_t n = sizeof(int);
	int v = -1;

	return getsockopt(fd, level, name, &v, &n) ? -errno : v;
}

static inline int level_ip(void) { return v6_run ? IPPROTO_IPV6 : IPPROTO_IP; }

static inline void settle(void) { usleep(25000); }	/* what is under way comes */

static inline bool is_local(void) { return !strncmp(addr_arg, "127.", 4) || !strcmp(addr_arg, "::1"); }

/* The interface that has our address, 0 for none: names and numbers are not the same everywhere. */
static inline unsigned index_of(const void *addr, int family)
{
	struct ifaddrs *all, *a;
	unsigned ret = 0;

	if (getifaddrs(&all))
		return 0;
	for (a = all; a && !ret; a = a->ifa_next) {
		const void *p;

		if (!a->ifa_addr || a->ifa_addr->sa_family != family)
			continue;
		p = family == AF_INET ? (const void *)&((struct sockaddr_in *)a->ifa_addr)->sin_addr :
					(const void *)&((struct sockaddr_in6 *)a->ifa_addr)->sin6_addr;
		if (!memcmp(p, addr, family == AF_INET ? 4 : 16))
			ret = if_nametoindex(a->ifa_name);
	}
	freeifaddrs(all);
	return ret;
}

/* Does the message name an interface and an address that belong together? */
static inline const char *right_place(int index, const void *at, int family)
{
	struct in6_addr a6 = { 0 };
	const void *addr = memcpy(&a6, at, family == AF_INET ? 4 : 16);

	if (family == AF_INET6 && IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)addr)) {
		addr = (const char *)addr + 12;
		family = AF_INET;
	}
	return !index ? "no-interface" : (unsigned)index == index_of(addr, family) ? "right" : "elsewhere";
}

static inline void show_stamp(const char *what, struct timespec ts)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	printf(" %s:%s", what, ts.tv_sec + 5 < now.tv_sec ? "old" : ts.tv_sec > now.tv_sec + 1 ? "future" : "now");
}

static inline void show_offender(const struct sockaddr *sa)
{
	const struct sockaddr_in *a4 = (const void *)sa;
	const struct sockaddr_in6 *a6 = (const void *)sa;
	const struct sockaddr_in *p4 = (const void *)&peer;
	const struct sockaddr_in6 *p6 = (const void *)&peer;

	if (sa->sa_family == AF_INET)
		printf(" by4 %s", p4->sin_addr.s_addr == a4->sin_addr.s_addr ? "peer" : "other");
	else if (sa->sa_family == AF_INET6)
		printf(" by6 %s", !memcmp(&p6->sin6_addr, &a6->sin6_addr, 16) ? "peer" : "other");
	else
		printf(" by %d", sa->sa_family);
}

/* By words only: numbers of ports, interfaces and clocks are not the same twice. */
static inline void show_cmsg(const struct cmsghdr *c)
{
	struct sock_extended_err ee;
	struct in6_pktinfo i6;
	struct in_pktinfo i4;
	struct timespec ts[3];
	struct timeval tv;
	int v = 0;

	printf(" [%d %d %zu", c->cmsg_level, c->cmsg_type, c->cmsg_len - sizeof(*c));
	memcpy(&v, CMSG_DATA(c), c->cmsg_len - sizeof(*c) < sizeof(v) ? c->cmsg_len - sizeof(*c) : sizeof(v));
	if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMP) {
		memcpy(&tv, CMSG_DATA(c), sizeof(tv));
		show_stamp("tv", (struct timespec){ tv.tv_sec, 0 });
	} else if (c->cmsg_level == SOL_SOCKET && (c->cmsg_type == SO_TIMESTAMPNS || c->cmsg_type == SO_TIMESTAMPING)) {
		memcpy(ts, CMSG_DATA(c), c->cmsg_type == SO_TIMESTAMPNS ? sizeof(ts[0]) : sizeof(ts));
		show_stamp("ts", ts[0]);
	} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
		memcpy(&i4, CMSG_DATA(c), sizeof(i4));
		printf(" %s %d", right_place(i4.ipi_ifindex, &i4.ipi_addr, AF_INET),
		       i4.ipi_addr.s_addr == i4.ipi_spec_dst.s_addr);
	} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
		memcpy(&i6, CMSG_DATA(c), sizeof(i6));
		printf(" %s", right_place((int)i6.ipi6_ifindex, &i6.ipi6_addr, AF_INET6));
	} else if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		   (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR)) {
		memcpy(&ee, CMSG_DATA(c), sizeof(ee));
		printf(" %s origin %u type %u code %u info %x data %u", strerrorname_np((int)ee.ee_errno), ee.ee_origin,
		       ee.ee_type, ee.ee_code, ee.ee_info, ee.ee_data);
		if (c->cmsg_len >= CMSG_LEN(sizeof(ee) + sizeof(struct sockaddr_in)))
			show_offender((const void *)(CMSG_DATA(c) + sizeof(ee)));
	} else if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_ORIGDSTADDR) {
		const struct sockaddr_in *d = (const void *)CMSG_DATA(c);

		printf(" %d %d", d->sin_family, index_of(&d->sin_addr, AF_INET) && d->sin_port);
	} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_ORIGDSTADDR) {
		const struct sockaddr_in6 *d = (const void *)CMSG_DATA(c);

		printf(" %d %d %u", d->sin6_family, index_of(&d->sin6_addr, AF_INET6) && d->sin6_port,
		       d->sin6_scope_id);
	} else if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_RXQ_OVFL) {
		printf(" %s", v ? "some" : "none");
	} else {
		printf(" =%d", v);
	}
	printf("]");
}

/* One recvmsg(), all that it says. */
static inline ssize_t show_recv(int fd, size_t room, size_t ctl, int flags)
{
	union { struct cmsghdr align; char b[512]; } u = { .b = "" };
	struct sockaddr_storage from = { 0 };
	struct iovec v = { gbuf, room };
	struct msghdr m = { .msg_name = &from, .msg_namelen = sizeof(from), .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = ctl ? u.b : NULL, .msg_controllen = ctl };
	ssize_t r;

	do
		r = recvmsg(fd, &m, flags);
	while (r < 0 && errno == EINTR);
	if (r < 0) {
		printf(" %s", en(r));
		return r;
	}
	printf(" %zd f%x n%u%s c%zu", r, m.msg_flags, m.msg_namelen,
	       m.msg_namelen && !memcmp(&from, &peer, peer.ss_family == AF_INET ? 8 : 24) ? "=peer" : "",
	       m.msg_controllen);
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c && c->cmsg_len >= sizeof(*c); c = CMSG_NXTHDR(&m, c))
		show_cmsg(c);
	return r;
}

/* sendmsg() with one or two control messages of an int each; level 0: none. */
struct ctl_int { int level, type; size_t n; int v; };

static inline ssize_t send_ctl(int fd, const struct sockaddr_storage *to, const void *p, size_t n,
			       const struct ctl_int *c, size_t n_c)
{
	union { struct cmsghdr align; char b[256]; } u = { .b = "" };
	struct iovec v = { (void *)(uintptr_t)p, n };
	struct msghdr m = { .msg_name = (void *)(uintptr_t)to, .msg_namelen = to ? peer_n : 0, .msg_iov = &v,
			    .msg_iovlen = 1, .msg_control = u.b };

	for (size_t i = 0; i < n_c; i++) {
		struct cmsghdr h = { CMSG_LEN(c[i].n), c[i].level, c[i].type };

		memcpy(u.b + m.msg_controllen, &h, sizeof(h));
		memcpy(u.b + m.msg_controllen + sizeof(h), &c[i].v, c[i].n < 4 ? c[i].n : 4);
		m.msg_controllen += CMSG_SPACE(c[i].n);
	}
	return sendmsg(fd, &m, 0);
}

/* What the peer says that it saw, without the address. */
static inline void heard(int fd)
{
	char line[200] = "";
	ssize_t r = grecv(fd, line, sizeof(line) - 1, 0);
	char *from = strstr(line, " from "), *len = strstr(line, " len");

	if (r < 0)
		printf(" %s", en(r));
	else
		printf(" (%.*s%s)", from ? (int)(from - line) : (int)r, line, len ? len : "");
}

#endif
