/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Packets made by hand, by raw sockets, for datagram tests: ICMP errors about a datagram, and
 * datagrams in fragments of every kind that a network, or an enemy, sends (RFC 791 3.2, RFC 8200 4.5,
 * RFC 5722, RFC 8900).
 */
#ifndef POSIX_FRAG_H
#define POSIX_FRAG_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define RAW_MAX 66000

static uint8_t raw_buf[RAW_MAX];

static inline void be16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

static inline uint32_t sum16(const uint8_t *p, size_t n, uint32_t sum)
{
	for (size_t i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	return sum;
}

static inline unsigned fold16(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return ~sum & 0xffff;
}

static inline bool is_v6(const struct sockaddr_storage *a) { return a->ss_family == AF_INET6; }
static inline const uint8_t *raw_addr(const struct sockaddr_storage *a)
{
	return is_v6(a) ? (const uint8_t *)&((const struct sockaddr_in6 *)a)->sin6_addr :
			  (const uint8_t *)&((const struct sockaddr_in *)a)->sin_addr;
}
static inline size_t addr_bytes(const struct sockaddr_storage *a) { return is_v6(a) ? 16 : 4; }
static inline unsigned raw_port(const struct sockaddr_storage *a)
{
	const uint8_t *p = (const uint8_t *)&((const struct sockaddr_in *)a)->sin_port;

	return (unsigned)p[0] << 8 | p[1];
}

/* An IP header for `len` bytes behind it; returns its own length. IPv6's fragment header is the caller's. */
static inline size_t raw_ip(uint8_t *p, const struct sockaddr_storage *from, const struct sockaddr_storage *to,
			    unsigned proto, size_t len, unsigned id, unsigned off_field)
{
	if (is_v6(from)) {
		memset(p, 0, 8);
		p[0] = 0x60;
		be16(p + 4, (unsigned)len);
		p[6] = (uint8_t)proto;
		p[7] = 64;
		memcpy(p + 8, raw_addr(from), 16);
		memcpy(p + 24, raw_addr(to), 16);
		return 40;
	}
	memset(p, 0, 20);
	p[0] = 0x45;
	be16(p + 2, (unsigned)(20 + len));
	be16(p + 4, id);
	be16(p + 6, off_field);
	p[8] = 64;
	p[9] = (uint8_t)proto;
	memcpy(p + 12, raw_addr(from), 4);
	memcpy(p + 16, raw_addr(to), 4);
	be16(p + 10, fold16(sum16(p, 20, 0)));
	return 20;
}

static inline uint32_t raw_pseudo(const struct sockaddr_storage *from, const struct sockaddr_storage *to,
				  unsigned proto, size_t len)
{
	uint32_t sum = sum16(raw_addr(from), addr_bytes(from), proto + (uint32_t)len);

	return sum16(raw_addr(to), addr_bytes(to), sum);
}

static inline void raw_send(const struct sockaddr_storage *to, int proto, const uint8_t *p, size_t n)
{
	struct sockaddr_storage dst = *to;
	int fd = socket(to->ss_family, SOCK_RAW, proto);

	if (is_v6(to))
		((struct sockaddr_in6 *)&dst)->sin6_port = 0;
	sendto(fd, p, n, 0, (void *)&dst, is_v6(to) ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));
	close(fd);
}

/* An error from `us` about a datagram that `them` sent to us. */
static inline void raw_icmp(const struct sockaddr_storage *us, const struct sockaddr_storage *them, unsigned type,
			    unsigned code, uint32_t word, const void *data, size_t n)
{
	uint8_t *p = raw_buf, *udp;
	size_t ip, len;

	memset(p, 0, 8);
	p[0] = (uint8_t)type;
	p[1] = (uint8_t)code;
	be16(p + 4, word >> 16);
	be16(p + 6, word & 0xffff);
	ip = raw_ip(p + 8, them, us, IPPROTO_UDP, 8 + n, 7, 0x4000);
	udp = p + 8 + ip;
	be16(udp, raw_port(them));
	be16(udp + 2, raw_port(us));
	be16(udp + 4, (unsigned)(8 + n));
	be16(udp + 6, 0x1234);
	memcpy(udp + 8, data, n);
	len = 8 + ip + 8 + n;
	if (is_v6(us)) {
		be16(p + 2, fold16(sum16(p, len, raw_pseudo(us, them, IPPROTO_ICMPV6, len))));
		raw_send(them, IPPROTO_ICMPV6, p, len);
	} else {
		be16(p + 2, fold16(sum16(p, len, 0)));
		raw_send(them, IPPROTO_ICMP, p, len);
	}
}

/* ---- fragments ------------------------------------------------------------------------------------ */

struct pieces {
	const struct sockaddr_storage *from, *to;
	uint8_t whole[RAW_MAX];		/* UDP header and data */
	size_t	len;
	unsigned id;
};

/* Bytes [at, at + n) as a fragment; `more` may lie. */
static inline void piece(const struct pieces *w, size_t at, size_t n, bool more, uint8_t spoil)
{
	static uint8_t pkt[RAW_MAX];
	size_t hdr;

	if (is_v6(w->from)) {
		hdr = raw_ip(pkt, w->from, w->to, 44, 8 + n, 0, 0);
		memset(pkt + hdr, 0, 8);
		pkt[hdr] = IPPROTO_UDP;
		be16(pkt + hdr + 2, (unsigned)at | more);
		be16(pkt + hdr + 6, w->id);
		hdr += 8;
	} else {
		hdr = raw_ip(pkt, w->from, w->to, IPPROTO_UDP, n, w->id, (unsigned)(at / 8) | (more ? 0x2000 : 0));
	}
	memcpy(pkt + hdr, w->whole + at, n);
	for (size_t i = 0; spoil && i < n; i++)
		pkt[hdr + i] ^= spoil;
	raw_send(w->to, IPPROTO_RAW, pkt, hdr + n);
}

static inline void pieces_of(const struct pieces *w, size_t each, bool backwards)
{
	size_t n = (w->len + each - 1) / each;

	for (size_t i = 0; i < n; i++) {
		size_t k = backwards ? n - 1 - i : i, at = k * each;

		piece(w, at, w->len - at < each ? w->len - at : each, k + 1 < n, 0);
	}
}

/* A datagram of n bytes (a pattern), in fragments. */
static inline void raw_frags(const struct sockaddr_storage *from, const struct sockaddr_storage *to, const char *how,
			     size_t n)
{
	static struct pieces w;
	static unsigned id;

	w.from = from;
	w.to = to;
	w.len = 8 + n;
	w.id = (++id + (unsigned)getpid() * 256u) & 0xffff;
	be16(w.whole, raw_port(from));
	be16(w.whole + 2, raw_port(to));
	be16(w.whole + 4, (unsigned)w.len);
	be16(w.whole + 6, 0);
	for (size_t i = 0; i < n; i++)
		w.whole[8 + i] = (uint8_t)(i * 31 + (i >> 8) * 7 + 3);
	be16(w.whole + 6, fold16(sum16(w.whole, w.len, raw_pseudo(from, to, IPPROTO_UDP, w.len))));
	if (!strcmp(how, "inorder"))
		pieces_of(&w, 512, false);
	else if (!strcmp(how, "backwards"))
		pieces_of(&w, 512, true);
	else if (!strcmp(how, "tiny"))		/* the UDP header is alone in the first */
		pieces_of(&w, 8, false);
	else if (!strcmp(how, "twice"))		/* each of them: RFC 5722 permits exact duplicates */
		piece(&w, 0, 512, true, 0), piece(&w, 0, 512, true, 0), piece(&w, 512, w.len - 512, false, 0),
			piece(&w, 512, w.len - 512, false, 0);
	else if (!strcmp(how, "overlap"))	/* RFC 5722 3: all of it is dropped */
		piece(&w, 0, 512, true, 0), piece(&w, 504, 512, true, 0xff), piece(&w, 512, w.len - 512, false, 0);
	else if (!strcmp(how, "inside"))	/* a later one within an earlier */
		piece(&w, 0, 1024, true, 0), piece(&w, 512, 64, true, 0xff), piece(&w, 1024, w.len - 1024, false, 0);
	else if (!strcmp(how, "hole"))		/* never whole */
		piece(&w, 0, 512, true, 0), piece(&w, 1024, w.len - 1024, false, 0);
	else if (!strcmp(how, "odd"))		/* a length that the offsets cannot count */
		piece(&w, 0, 509, true, 0), piece(&w, 512, w.len - 512, false, 0);
	else if (!strcmp(how, "pastend"))	/* something beyond what said that it was the last */
		piece(&w, 512, w.len - 512, false, 0), piece(&w, (w.len + 15) / 8 * 8, 64, true, 0),
			piece(&w, 0, 512, true, 0);
	else if (!strcmp(how, "twolasts"))	/* two ends */
		piece(&w, 512, w.len - 512, false, 0), piece(&w, 512, w.len - 520, false, 0),
			piece(&w, 0, 512, true, 0);
	else if (!strcmp(how, "atomic"))	/* RFC 6946: one that is whole */
		piece(&w, 0, w.len, false, 0);
	else if (!strcmp(how, "flood")) {	/* CVE-2018-5391: many that are never whole, then one that is */
		for (unsigned i = 0; i < 150; i++, w.id = (w.id + 1) & 0xffff)
			piece(&w, 8, 8, true, 0);
		id += 150;
		pieces_of(&w, 512, false);
	}
}

#endif
