// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
/*
 * The filter table in the kernel: three XDP programs over one set of maps.
 *
 *   wire -> xdp_nic           frame of a granted flow -> vf_devs[stack, nic]; others XDP_PASS
 *             | devmap
 *        VF agent end ======= VF application end
 *             |                    | xdp_vf_app_end: everything -> the stack's AF_XDP socket
 *   wire <- xdp_vf_agent_end  (sends) validates, else drops and counts
 *
 * Rules (the tests in test/apps/agent.sh carry the numbers):
 *  B1  A frame that is not certainly ours goes to the kernel untouched: other protocols, VLAN
 *      tags, fragments, IPv6 extension headers, addresses that are not this interface's; and what
 *      a sender or a GRO made of several datagrams (UDP_SEGMENT): here it would look like one.
 *  B2  What a stack sends has the interface's MAC and one of its addresses as source, is TCP or
 *      UDP, whole, not longer than the interface's MTU, and its replies would come back to that
 *      very stack. So nobody can speak for another's port, and rx and tx cannot disagree.
 *  B3  No program on a VF ever returns XDP_PASS: the kernel neither hears nor answers there.
 *  B4  A port that has just become a stack's may have connections that the kernel accepted or is about
 *	to: a successor takes its predecessor's listener over. They stay the kernel's. It is asked for each
 *	packet until the agent, who counts them, says that the last is gone.
 *
 * Port blocks come first in the lookup: the agent holds all their ports bound, so no listener
 * or exact flow can lie within one, and a block is an array access where the others are hashes.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

#define ICMP_UNREACH	3
#define ICMP_EXCEEDED	11
#define ICMP_PARAMETER	12
#define ICMP6_ERROR_MAX	127	/* RFC 4443 2.1: below 128 are errors */
#define IP_FRAGMENT	0x3fff	/* MF and the offset */

#define HDR_V4		(ETH_HLEN + 20 + 8)
#define HDR_V6		(ETH_HLEN + 40 + 8)

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, N_LEASES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct exact_key);
	__type(value, __u32);
} exact SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, N_LEASES);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct bound_key);
	__type(value, __u32);
} bound SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, N_BLOCKS);
	__type(key, __u32);
	__type(value, __u32);
} blocks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, N_ADDRS);
	__type(key, struct local_key);
	__type(value, __u32);
} locals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, N_DEVS);
	__type(key, __u32);
	__type(value, struct dev_info);
} devs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, N_VF_DEVS);
	__type(key, __u32);
	__type(value, __u32);
} vf_devs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_DEVMAP);
	__uint(max_entries, N_VIS);
	__type(key, __u32);
	__type(value, __u32);
} nic_devs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, N_XSKS);
	__type(key, __u32);
	__type(value, __u32);
} xsks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_VF_DEVS);
	__type(key, __u32);
	__type(value, struct vf_count);
} vf_counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, N_VIS);
	__type(key, __u32);
	__type(value, struct nic_count);
} nic_counts SEC(".maps");

/* Exact flows installed: none most of the time, and then the longest hash is spared. */
__u32 n_exact;

/* The five-tuple as seen from us, and the length that the IP header claims. */
struct tuple {
	struct exact_key k;
	__u32 ip_bytes;		/* header included */
	__u32 l4_off;		/* from the start of the frame */
	__u8  proto;
	__u8  is4;
	__u8  options;		/* IPv4 header longer than 20 bytes */
};

/*
 * Room for the first headers, laid so that the IP header is 4-aligned. Used when they do not
 * lie in the linear part, or the frame is shorter than the longest header we read.
 */
struct headroom {
	__u16 align;
	__u8  eth[ETH_HLEN];
	__u8  ip[56];
};

/* The first HDR_V6 bytes of the frame, in place or copied. NULL: too short to be TCP or UDP. */
static __always_inline const __u8 *headers(struct xdp_md *ctx, struct headroom *room)
{
	const __u8 *data = (const __u8 *)(long)ctx->data;
	const __u8 *end = (const __u8 *)(long)ctx->data_end;
	__u64 len;

	if (data + HDR_V6 <= end)
		return data;
	len = bpf_xdp_get_buff_len(ctx);
	if (len < HDR_V4)
		return 0;
	if (len > HDR_V6)
		len = HDR_V6;
	barrier_var(len);
	len &= 63;		/* tells the verifier what the two lines above did */
	if (len == 0)
		return 0;
	__builtin_memset(room, 0, sizeof(*room));
	if (bpf_xdp_load_bytes(ctx, 0, room->eth, len))
		return 0;
	return room->eth;
}

static __always_inline void addr_of4(struct addr16 *a, __u32 be)
{
	a->w[0] = 0;
	a->w[1] = 0;
	a->w[2] = bpf_htonl(0xffff);
	a->w[3] = be;
}

static __always_inline void addr_of6(struct addr16 *a, const struct in6_addr *six)
{
	a->w[0] = six->in6_u.u6_addr32[0];
	a->w[1] = six->in6_u.u6_addr32[1];
	a->w[2] = six->in6_u.u6_addr32[2];
	a->w[3] = six->in6_u.u6_addr32[3];
}

/* Fills addresses; `ours` is the destination of what we receive and the source of what we send. */
static __always_inline int parse_ip(const __u8 *h, struct tuple *t, int receiving)
{
	__u16 type = *(const __u16 *)(h + 12);

	if (type == bpf_htons(ETH_P_IP)) {
		const struct iphdr *ip = (const void *)(h + ETH_HLEN);
		__u32 ihl = ip->ihl;

		if (ip->version != 4 || ihl < 5 || (ip->frag_off & bpf_htons(IP_FRAGMENT)))
			return -1;
		t->is4 = 1;
		t->options = ihl != 5;
		t->proto = ip->protocol;
		t->ip_bytes = bpf_ntohs(ip->tot_len);
		t->l4_off = ETH_HLEN + 4 * ihl;
		addr_of4(&t->k.laddr, receiving ? ip->daddr : ip->saddr);
		addr_of4(&t->k.raddr, receiving ? ip->saddr : ip->daddr);
		return 0;
	}
	if (type == bpf_htons(ETH_P_IPV6)) {
		const struct ipv6hdr *ip = (const void *)(h + ETH_HLEN);

		if (ip->version != 6)
			return -1;
		t->is4 = 0;
		t->options = 0;
		t->proto = ip->nexthdr;
		t->ip_bytes = sizeof(*ip) + bpf_ntohs(ip->payload_len);
		t->l4_off = ETH_HLEN + sizeof(*ip);
		addr_of6(&t->k.laddr, receiving ? &ip->daddr : &ip->saddr);
		addr_of6(&t->k.raddr, receiving ? &ip->saddr : &ip->daddr);
		return 0;
	}
	return -1;
}

static __always_inline int parse_ports(struct xdp_md *ctx, const __u8 *h, struct tuple *t,
				       int receiving)
{
	__u16 pair[2];

	if (t->options) {
		if (bpf_xdp_load_bytes(ctx, t->l4_off, pair, sizeof(pair)))
			return -1;
	} else if (t->is4) {
		pair[0] = *(const __u16 *)(h + ETH_HLEN + 20);
		pair[1] = *(const __u16 *)(h + ETH_HLEN + 22);
	} else {
		pair[0] = *(const __u16 *)(h + ETH_HLEN + 40);
		pair[1] = *(const __u16 *)(h + ETH_HLEN + 42);
	}
	t->k.lport = bpf_ntohs(receiving ? pair[1] : pair[0]);
	t->k.rport = bpf_ntohs(receiving ? pair[0] : pair[1]);
	t->k.proto = t->proto;
	return 0;
}

static __always_inline int is_local(const struct addr16 *a, __u32 ifindex)
{
	struct local_key k = { .addr = *a, .ifindex = ifindex };

	return bpf_map_lookup_elem(&locals, &k) != 0;
}

/* The stack that owns this flow, with BOUND_SHARED maybe, or NO_SLOT. One function for both directions (B2). */
static __always_inline __u32 resolve(const struct tuple *t)
{
	struct bound_key b = { .lport = t->k.lport, .proto = t->k.proto };
	__u32 block = t->k.lport / PORT_BLOCK;
	__u32 *slot = bpf_map_lookup_elem(&blocks, &block);

	if (slot && *slot)
		return *slot;
	if (n_exact) {
		slot = bpf_map_lookup_elem(&exact, &t->k);
		if (slot)
			return *slot;
	}
	b.laddr = t->k.laddr;
	slot = bpf_map_lookup_elem(&bound, &b);
	if (slot)
		return *slot;
	b.laddr.w[3] = 0;
	if (!t->is4) {
		b.laddr.w[0] = 0;
		b.laddr.w[1] = 0;
		b.laddr.w[2] = 0;
	}
	slot = bpf_map_lookup_elem(&bound, &b);
	return slot ? *slot : NO_SLOT;
}

/* B4: the kernel has a socket for these four numbers, be it half open. */
static __always_inline int is_kernels(struct xdp_md *ctx, const struct tuple *t)
{
	struct bpf_sock_tuple k = {};
	struct bpf_sock *sk;
	__u32 bytes, state;

	if (t->k.proto != IPPROTO_TCP)
		return 0;
	if (t->is4) {
		k.ipv4.saddr = t->k.raddr.w[3];
		k.ipv4.daddr = t->k.laddr.w[3];
		k.ipv4.sport = bpf_htons(t->k.rport);
		k.ipv4.dport = bpf_htons(t->k.lport);
		bytes = sizeof(k.ipv4);
	} else {
		__builtin_memcpy(k.ipv6.saddr, t->k.raddr.w, sizeof(k.ipv6.saddr));
		__builtin_memcpy(k.ipv6.daddr, t->k.laddr.w, sizeof(k.ipv6.daddr));
		k.ipv6.sport = bpf_htons(t->k.rport);
		k.ipv6.dport = bpf_htons(t->k.lport);
		bytes = sizeof(k.ipv6);
	}
	sk = bpf_skc_lookup_tcp(ctx, &k, bytes, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return 0;
	state = sk->state;
	bpf_sk_release(sk);
	return state != BPF_TCP_LISTEN;
}

/*
 * An ICMP error about a packet of ours: the quoted packet went from us to the peer, so its
 * source is our side. Fills t->k from the quote; 0 when it is TCP or UDP.
 */
static __always_inline int parse_quote4(struct xdp_md *ctx, struct tuple *t)
{
	struct { __u8 icmp[8]; struct iphdr ip; } q;
	__u16 pair[2];

	if (t->options || bpf_xdp_load_bytes(ctx, t->l4_off, &q, sizeof(q)))
		return -1;
	if (q.icmp[0] != ICMP_UNREACH && q.icmp[0] != ICMP_EXCEEDED && q.icmp[0] != ICMP_PARAMETER)
		return -1;
	if (q.ip.version != 4 || q.ip.ihl != 5 || (q.ip.frag_off & bpf_htons(0x1fff)))
		return -1;
	if (q.ip.protocol != IPPROTO_TCP && q.ip.protocol != IPPROTO_UDP)
		return -1;
	if (q.ip.saddr != t->k.laddr.w[3])
		return -1;
	if (bpf_xdp_load_bytes(ctx, t->l4_off + sizeof(q), pair, sizeof(pair)))
		return -1;
	addr_of4(&t->k.raddr, q.ip.daddr);
	t->k.lport = bpf_ntohs(pair[0]);
	t->k.rport = bpf_ntohs(pair[1]);
	t->k.proto = q.ip.protocol;
	return 0;
}

static __always_inline int parse_quote6(struct xdp_md *ctx, struct tuple *t)
{
	struct { __u8 icmp[8]; struct ipv6hdr ip; } q;
	struct addr16 src;
	__u16 pair[2];

	if (bpf_xdp_load_bytes(ctx, t->l4_off, &q, sizeof(q)))
		return -1;
	if (q.icmp[0] > ICMP6_ERROR_MAX || q.ip.version != 6)
		return -1;
	if (q.ip.nexthdr != IPPROTO_TCP && q.ip.nexthdr != IPPROTO_UDP)
		return -1;
	addr_of6(&src, &q.ip.saddr);
	if (src.w[0] != t->k.laddr.w[0] || src.w[1] != t->k.laddr.w[1] ||
	    src.w[2] != t->k.laddr.w[2] || src.w[3] != t->k.laddr.w[3])
		return -1;
	if (bpf_xdp_load_bytes(ctx, t->l4_off + sizeof(q), pair, sizeof(pair)))
		return -1;
	addr_of6(&t->k.raddr, &q.ip.daddr);
	t->k.lport = bpf_ntohs(pair[0]);
	t->k.rport = bpf_ntohs(pair[1]);
	t->k.proto = q.ip.nexthdr;
	return 0;
}

static __always_inline int parse_received(struct xdp_md *ctx, const __u8 *h, struct tuple *t)
{
	if (t->proto == IPPROTO_TCP || t->proto == IPPROTO_UDP)
		return parse_ports(ctx, h, t, 1);
	if (t->is4 && t->proto == IPPROTO_ICMP)
		return parse_quote4(ctx, t);
	if (!t->is4 && t->proto == IPPROTO_ICMPV6)
		return parse_quote6(ctx, t);
	return -1;
}

/*
 * What the kernel has behind an xdp_md, as far as it is looked at here; offsets are found when the
 * program is loaded.
 */
struct xdp_buff {
	void *data_hard_start;
	__u32 frame_sz;
} __attribute__((preserve_access_index));

struct skb_shared_info {
	__u16 gso_size;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;

/*
 * Several datagrams in one buffer. A native driver has none such. In generic mode the buffer is
 * an skb, which says so at its end: where the kernel lets us look (6.2 and later), all are found, else
 * those that are longer than a frame of this interface can be.
 */
static __always_inline int is_several(struct xdp_md *ctx, const struct tuple *t, const struct dev_info *d)
{
	struct xdp_buff *x;
	__u16 gso_size = 0;
	__u64 at;

	if (t->proto != IPPROTO_UDP || !d->generic)
		return 0;
	if (ETH_HLEN + t->ip_bytes > d->frame_max)
		return 1;
	if (!bpf_cast_to_kern_ctx)
		return 0;
	x = bpf_cast_to_kern_ctx(ctx);
	at = (__u64)(long)x->data_hard_start + x->frame_sz -
	     ((bpf_core_type_size(struct skb_shared_info) + 63) & ~63ull);	/* xdp_data_hard_end() */
	at += bpf_core_field_offset(struct skb_shared_info, gso_size);
	if (bpf_probe_read_kernel(&gso_size, sizeof(gso_size), (const void *)(long)at))
		return 0;
	return gso_size != 0;
}

static __always_inline int pass(__u32 nic)
{
	struct nic_count *c = bpf_map_lookup_elem(&nic_counts, &nic);

	if (c)
		c->rx_passed++;
	return XDP_PASS;
}

SEC("xdp.frags")
int xdp_nic(struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex, slot, i;
	struct tuple t = {};
	struct headroom room;
	struct vf_count *c;
	struct dev_info *d;
	const __u8 *h;
	long to;

	d = bpf_map_lookup_elem(&devs, &ifindex);
	if (!d || d->role != DEV_NIC)
		return XDP_PASS;
	h = headers(ctx, &room);
	if (!h || parse_ip(h, &t, 1) || !is_local(&t.k.laddr, ifindex))
		return pass(d->nic);
	if (parse_received(ctx, h, &t) || is_several(ctx, &t, d))
		return pass(d->nic);
	slot = resolve(&t);
	if (slot & BOUND_SHARED) {
		if (is_kernels(ctx, &t))
			return pass(d->nic);
		slot &= ~BOUND_SHARED;
	}
	if (slot == NO_SLOT || slot > N_SLOTS)
		return pass(d->nic);
	i = (slot - 1) * N_VIS + d->nic;
	if (d->slot == slot)
		to = bpf_redirect_map(&xsks, d->xsk, XDP_PASS);
	else
		to = bpf_redirect_map(&vf_devs, i, XDP_PASS);
	if (to != XDP_REDIRECT) {	/* a stack that has no device on this interface */
		struct nic_count *n = bpf_map_lookup_elem(&nic_counts, &d->nic);

		if (n)
			n->rx_errors++;
		return XDP_PASS;
	}
	c = bpf_map_lookup_elem(&vf_counts, &i);
	if (c)
		c->rx_redirected++;
	return XDP_REDIRECT;
}

/* Everything that reaches the application end is the stack's. */
SEC("xdp.frags")
int xdp_vf_app_end(struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex;
	struct dev_info *d = bpf_map_lookup_elem(&devs, &ifindex);

	if (!d || d->role != DEV_VF_APP)
		return XDP_DROP;
	return bpf_redirect_map(&xsks, d->xsk, XDP_DROP);
}

/* Checks of form; ours are whole IP packets that the interface can carry. */
static __always_inline int well_formed(struct xdp_md *ctx, const struct tuple *t,
				       const struct dev_info *d)
{
	__u64 len = bpf_xdp_get_buff_len(ctx);
	__u32 least = t->l4_off + (t->proto == IPPROTO_TCP ? 20 : 8);

	return !t->options && (t->proto == IPPROTO_TCP || t->proto == IPPROTO_UDP) &&
	       len >= least && len <= d->frame_max && ETH_HLEN + t->ip_bytes <= len &&
	       ETH_HLEN + t->ip_bytes >= least;
}

/* Source MAC, compared as a 2- and a 4-byte word at offset 6 of the frame. */
static __always_inline int own_mac(const __u8 *h, const struct dev_info *d)
{
	return *(const __u16 *)(h + 6) == *(const __u16 *)d->mac &&
	       *(const __u16 *)(h + 8) == *(const __u16 *)(d->mac + 2) &&
	       *(const __u16 *)(h + 10) == *(const __u16 *)(d->mac + 4);
}

SEC("xdp.frags")
int xdp_vf_agent_end(struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex, i;
	struct tuple t = {};
	struct headroom room;
	struct vf_count *c;
	struct dev_info *d;
	const __u8 *h;

	d = bpf_map_lookup_elem(&devs, &ifindex);
	if (!d || d->role != DEV_VF_AGENT || d->slot == NO_SLOT || d->slot > N_SLOTS)
		return XDP_DROP;
	i = (d->slot - 1) * N_VIS + d->nic;
	c = bpf_map_lookup_elem(&vf_counts, &i);
	if (!c)
		return XDP_DROP;
	h = headers(ctx, &room);
	if (!h || parse_ip(h, &t, 0) || !well_formed(ctx, &t, d) || parse_ports(ctx, h, &t, 0)) {
		c->tx_malformed++;
		return XDP_DROP;
	}
	if (!own_mac(h, d) || !is_local(&t.k.laddr, d->nic_ifindex) || (resolve(&t) & ~BOUND_SHARED) != d->slot) {
		c->tx_spoofed++;
		return XDP_DROP;
	}
	c->tx_allowed++;
	return bpf_redirect_map(&nic_devs, d->nic, XDP_DROP);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
