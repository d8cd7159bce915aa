/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What carries frames: UDP datagrams, whose first two bytes are the type that Ethernet would have
 * in its header, or Ethernet frames of our own types, through a packet socket.
 *
 * The socket of an endpoint without a helper is used by libc's names, so that whoever interposes
 * those (onramp itself, under `onramp run`) may carry it; with a helper, both use the kernel's.
 */
#include "aperture/self.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/atomic.h"
#include "base/must.h"
#include "host/sys.h"
#include "wire/eth.h"

#define PREFIX		2	/* bytes of type before a frame in a datagram */
#define LEAD		64	/* a buffer's room in front: PREFIX or ETH_HDR_LEN end there */
#define SOCKET_BYTES	(4 << 20)
#define RING_BYTES	(2u << 20)	/* of received Ethernet frames, pinned by the kernel */

/* ---- names of hosts --------------------------------------------------------------------------- */

int ap_parse_ip4(const char *text, char sep, uint32_t *ret, long *ret_number)
{
	char host[INET_ADDRSTRLEN], *end;
	const char *at = strchr(text, sep);
	size_t n = at ? (size_t)(at - text) : strlen(text);
	struct in_addr a;

	if (n >= sizeof(host))
		return -EINVAL;
	memcpy(host, text, n);
	host[n] = '\0';
	if (inet_pton(AF_INET, host, &a) != 1)
		return -EINVAL;
	*ret = __builtin_bswap32(a.s_addr);
	*ret_number = -1;
	if (at) {
		*ret_number = strtol(at + 1, &end, 10);
		if (end == at + 1 || *end || *ret_number < 0 || *ret_number > 65535)
			return -EINVAL;
	}
	return 0;
}

int carrier_parse(const struct onramp_ap *ap, const char *text, struct apw_addr *ret)
{
	long port;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = ap_parse_ip4(text, ':', &ret->host, &port);
	if (r)
		return r;
	if (!ret->host || (!ap->is_ether && port <= 0))
		return -EINVAL;
	ret->carrier = ap->is_ether ? 0 : (uint16_t)port;
	return 0;
}

int carrier_address(struct onramp_ap *ap, char *text, size_t n)
{
	struct sockaddr_in sa;
	socklen_t len = sizeof(sa);
	uint32_t h;
	int got;

	if (ap->is_ether) {
		h = apw_host(ap->e);
		got = snprintf(text, n, "%u.%u.%u.%u", h >> 24, h >> 16 & 255, h >> 8 & 255, h & 255);
	} else {
		if (ap->raw ? sys_getsockname(ap->fd, &sa, &len) : getsockname(ap->fd, (struct sockaddr *)&sa, &len))
			return -EBADF;
		h = __builtin_bswap32(sa.sin_addr.s_addr);
		got = snprintf(text, n, "%u.%u.%u.%u:%u", h >> 24, h >> 16 & 255, h >> 8 & 255, h & 255,
			       __builtin_bswap16(sa.sin_port));
	}
	return got < 0 || (size_t)got >= n ? -ENOSPC : 0;
}

/* ---- opening ----------------------------------------------------------------------------------- */

static int udp_open(struct onramp_ap *ap, uint32_t host, long port)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_addr.s_addr = __builtin_bswap32(host),
				  .sin_port = __builtin_bswap16((uint16_t)(port > 0 ? port : 0)) };
	int type = SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, r;

	ap->fd = ap->raw ? sys_socket(AF_INET, type, 0) : socket(AF_INET, type, 0);
	if (ap->fd < 0)
		return ap->raw ? ap->fd : -errno;
	r = ap->raw ? sys_bind(ap->fd, &sa, sizeof(sa)) : bind(ap->fd, (struct sockaddr *)&sa, sizeof(sa)) ? -errno : 0;
	return r;
}

/* Frames of our two types to this very host, and nothing else of what the interface hears. */
static int only_ours(int fd, uint32_t host)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, 12),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CI_TYPE_DATA, 3, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CI_TYPE_EVENT, 0, 6),
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, ETH_HDR_LEN),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, CI_TYPE_MSG, 2, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ETH_HDR_LEN + 8),	/* a frame's host */
		BPF_JUMP(BPF_JMP | BPF_JA, 1, 0, 0),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, ETH_HDR_LEN + 4),	/* a message's */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, host, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog prog = { n_elems(f), f };

	return sys_setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &prog, sizeof(prog));
}

/* Frames by memory, if the kernel lets us. Without, they are received by call, which works as well. */
static void ring_open(struct onramp_ap *ap)
{
	struct carrier_ether *c = &ap->ether;
	struct tpacket_req req = { .tp_block_size = 65536 };
	int version = TPACKET_V2;

	/* A slot is a power of two with room for the kernel's header, ours, and a frame. */
	for (c->slot = 2048; c->slot < ap->frame_bytes + 256; )
		c->slot *= 2;
	req.tp_block_size = c->slot > req.tp_block_size ? c->slot : req.tp_block_size;
	req.tp_frame_size = c->slot;
	req.tp_block_nr = RING_BYTES / req.tp_block_size;
	req.tp_frame_nr = c->n_slots = RING_BYTES / c->slot;
	if (sys_setsockopt(ap->fd, SOL_PACKET, PACKET_VERSION, &version, sizeof(version)) ||
	    sys_setsockopt(ap->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req)))
		return;
	c->ring = sys_mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, ap->fd, 0);
	c->ring_bytes = RING_BYTES;
	if (!SYS_MAP_FAILED(c->ring))
		return;
	c->ring = NULL;
	memset(&req, 0, sizeof(req));
	(void)sys_setsockopt(ap->fd, SOL_PACKET, PACKET_RX_RING, &req, sizeof(req));
}

static int ether_open(struct onramp_ap *ap, const char *interface, uint32_t *host)
{
	struct ifreq ifr = { 0 };
	struct sockaddr_ll sa = { .sll_family = AF_PACKET, .sll_protocol = __builtin_bswap16(0x0003) };
	int one = 1, r;

	if (strlen(interface) >= IFNAMSIZ)
		return -ENODEV;
	memcpy(ifr.ifr_name, interface, strlen(interface) + 1);
	/* Protocol 0: nothing comes in before the filter is there. */
	ap->fd = sys_socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (ap->fd < 0)
		return ap->fd;
	if (sys_ioctl(ap->fd, SIOCGIFINDEX, &ifr) < 0)
		return -ENODEV;
	ap->ether.ifindex = sa.sll_ifindex = ifr.ifr_ifindex;
	if (sys_ioctl(ap->fd, SIOCGIFHWADDR, &ifr) < 0)
		return -ENODEV;
	memcpy(ap->ether.mac, ifr.ifr_hwaddr.sa_data, 6);
	if (!*host) {
		int s = sys_socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		r = s < 0 ? s : sys_ioctl(s, SIOCGIFADDR, &ifr);
		if (s >= 0)
			sys_close(s);
		if (r < 0)
			return -EADDRNOTAVAIL;
		*host = __builtin_bswap32(((struct sockaddr_in *)(void *)&ifr.ifr_addr)->sin_addr.s_addr);
	}
	(void)sys_setsockopt(ap->fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one));
	r = only_ours(ap->fd, *host);
	if (!r)
		ring_open(ap);
	return r ? r : sys_bind(ap->fd, &sa, sizeof(sa));
}

int carrier_open(struct onramp_ap *ap, const char *address, const char *interface, uint32_t *ret_host)
{
	int bytes = SOCKET_BYTES, r;
	uint32_t host = 0;
	long port = -1;

	r = address ? ap_parse_ip4(address, ':', &host, &port) : 0;
	if (r)
		return r;
	ap->is_ether = interface != NULL;
	if (interface)
		ap->raw = true;
	r = interface ? ether_open(ap, interface, &host) : udp_open(ap, host, port);
	if (r) {
		carrier_close(ap);
		return r;
	}
	(void)sys_setsockopt(ap->fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
	(void)sys_setsockopt(ap->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	*ret_host = host;
	return 0;
}

void carrier_close(struct onramp_ap *ap)
{
	if (ap->ether.ring)
		sys_munmap(ap->ether.ring, ap->ether.ring_bytes);
	ap->ether.ring = NULL;
	if (ap->fd >= 0) {
		if (ap->raw)
			sys_close(ap->fd);
		else
			close(ap->fd);
	}
	ap->fd = -1;
}

/* ---- frames out ------------------------------------------------------------------------------------ */

/* Writes the carrier's header in front of p, where there is room, and sends both. */
static int send_one(struct onramp_ap *ap, const struct apw_addr *to, uint16_t type, uint8_t *p, uint32_t n)
{
	static const uint8_t nobody[6], everybody[6] = { 255, 255, 255, 255, 255, 255 };
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = __builtin_bswap16(to->carrier),
				  .sin_addr.s_addr = __builtin_bswap32(to->host) };
	struct eth_hdr eth = { .type = type == CI_TYPE_MSG ? CI_TYPE_EVENT : type };
	ssize_t r;

	if (ap->is_ether) {
		memcpy(eth.dst, memcmp(to->mac, nobody, 6) ? to->mac : everybody, 6);
		memcpy(eth.src, ap->ether.mac, 6);
		wire_eth_emit(p - ETH_HDR_LEN, &eth);
		return (int)sys_sendto(ap->fd, p - ETH_HDR_LEN, n + ETH_HDR_LEN, MSG_DONTWAIT, NULL, 0);
	}
	put_be16(p - PREFIX, type);
	if (ap->raw)
		return (int)sys_sendto(ap->fd, p - PREFIX, n + PREFIX, MSG_DONTWAIT, &sa, sizeof(sa));
	r = sendto(ap->fd, p - PREFIX, n + PREFIX, MSG_DONTWAIT, (struct sockaddr *)&sa, sizeof(sa));
	return r < 0 ? -errno : (int)r;
}

void carrier_send_raw(struct onramp_ap *ap, const struct apw_addr *to, uint16_t type, const uint8_t *p, uint32_t n)
{
	uint8_t whole[APW_LEAD + CI_MSG_LEN];

	must(n <= CI_MSG_LEN);
	memcpy(whole + APW_LEAD, p, n);
	(void)send_one(ap, to, type, whole + APW_LEAD, n);
}

bool carrier_send(struct onramp_ap *ap)
{
	struct apw_frame *f;

	while ((f = apw_tx_peek(ap->e)) != NULL) {
		int r = send_one(ap, &f->to, f->type, f->lead + APW_LEAD + f->start, f->len);

		if (r == -EINTR)
			continue;
		if (r == -EAGAIN || r == -ENOBUFS)
			return false;
		if (r < 0)
			ap->net_err = r;	/* this frame will never go; as if it were lost, and told */
		apw_tx_pop(ap->e);
	}
	return true;
}

/* ---- frames in --------------------------------------------------------------------------------------- */

static uint32_t head_of(const struct onramp_ap *ap)
{
	return ap->is_ether ? ETH_HDR_LEN : PREFIX;
}

void carrier_furnish(struct onramp_ap *ap)
{
	struct inbox *b = &ap->inbox;
	uint32_t head = head_of(ap);

	for (uint32_t i = 0; i < N_BATCH; i++) {
		/* What follows the header is aligned: words in it can be copied whole. */
		b->v[i] = (struct iovec){ ap->buffers + (size_t)i * ap->buffer_stride + LEAD - head,
					  ap->buffer_stride - LEAD + head };
		b->m[i].msg_hdr.msg_iov = &b->v[i];
		b->m[i].msg_hdr.msg_iovlen = 1;
		if (ap->is_ether)
			continue;
		b->m[i].msg_hdr.msg_name = &b->from[i];
		b->m[i].msg_hdr.msg_namelen = sizeof(b->from[i]);
	}
}

static int receive(struct onramp_ap *ap)
{
	int r;

	if (ap->raw)
		return sys_recvmmsg(ap->fd, ap->inbox.m, N_BATCH, MSG_DONTWAIT, NULL);
	r = recvmmsg(ap->fd, ap->inbox.m, N_BATCH, MSG_DONTWAIT, NULL);
	return r < 0 ? -errno : r;
}

/* S2-PORT-04: whoever asks how the program is gets to know how it was when the question came. */
static void about_state(struct onramp_ap *ap, uint16_t type, const uint8_t *p, uint32_t n, enum ci_port_state s)
{
	if ((type == CI_TYPE_MSG || type == CI_TYPE_EVENT) && n >= CI_MSG_LEN && p[3] == CI_ALIVE)
		apw_all_states(ap->e, s);
}

static void from_ether(struct onramp_ap *ap, uint64_t now, const uint8_t *p, uint32_t n, enum ci_port_state s)
{
	struct apw_addr a = { 0 };

	if (n < ETH_HDR_LEN)
		return;
	memcpy(a.mac, p + 6, 6);
	about_state(ap, get_be16(p + 12), p + ETH_HDR_LEN, n - ETH_HDR_LEN, s);
	apw_rx(ap->e, now, &a, get_be16(p + 12), p + ETH_HDR_LEN, n - ETH_HDR_LEN);
}

static struct tpacket2_hdr *slot_at(const struct carrier_ether *c, uint32_t i)
{
	return (struct tpacket2_hdr *)(void *)(c->ring + (size_t)(i % c->n_slots) * c->slot);
}

/* Slots go back to the kernel when the engine has no more use for what is in them. */
static int from_ring(struct onramp_ap *ap, uint64_t now, enum ci_port_state s)
{
	struct carrier_ether *c = &ap->ether;
	uint32_t n = 0;

	for (; n < N_BATCH; n++) {
		struct tpacket2_hdr *h = slot_at(c, c->at + n);

		/* acq: pairs with the kernel's release of the slot to us. */
		if (!(acquire32(&h->tp_status) & TP_STATUS_USER))
			break;
		if (h->tp_snaplen == h->tp_len && h->tp_mac < c->slot && h->tp_snaplen <= c->slot - h->tp_mac)
			from_ether(ap, now, (uint8_t *)h + h->tp_mac, h->tp_snaplen, s);
	}
	if (!n)
		return 0;
	apw_rx_end(ap->e);
	for (uint32_t i = 0; i < n; i++)
		/* rel: pairs with the kernel's acquire: we have read all of it. */
		release32(&slot_at(c, c->at + i)->tp_status, TP_STATUS_KERNEL);
	c->at = (c->at + n) % c->n_slots;
	return (int)n;
}

int carrier_receive(struct onramp_ap *ap, uint64_t now, enum ci_port_state s)
{
	struct mmsghdr *m = ap->inbox.m;
	uint32_t head = head_of(ap);
	int n;

	if (ap->ether.ring)
		return from_ring(ap, now, s);
	n = receive(ap);
	for (int i = 0; i < n; i++) {
		const struct sockaddr_in *from = &ap->inbox.from[i];
		const uint8_t *p = ap->inbox.v[i].iov_base;
		uint32_t len = m[i].msg_len;
		struct apw_addr a = { 0 };
		uint16_t type;

		m[i].msg_hdr.msg_namelen = ap->is_ether ? 0 : sizeof(*from);
		if (len < head || (m[i].msg_hdr.msg_flags & MSG_TRUNC))
			continue;
		if (ap->is_ether) {
			from_ether(ap, now, p, len, s);
			continue;
		}
		a.host = __builtin_bswap32(from->sin_addr.s_addr);
		a.carrier = __builtin_bswap16(from->sin_port);
		type = get_be16(p);
		about_state(ap, type, p + head, len - head, s);
		apw_rx(ap->e, now, &a, type, p + head, len - head);
	}
	if (n > 0)
		apw_rx_end(ap->e);
	return n > 0 ? n : 0;
}
