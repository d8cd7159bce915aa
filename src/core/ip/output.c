/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sending of IP (RFC 791, RFC 6864, RFC 8200).
 *
 * The headers go in front of the transport header, into the head frame's headroom, for the
 * length of the call only: once posted, the descriptor names the bytes, and the packet is put
 * back as its owner gave it. So a queue of segments kept for sending again never sees an IP
 * header, and the same packet may go out by another route next time.
 *
 *  O1  The device reads a posted frame until its completion: a head frame at the device is
 *      never written. The caller knows that and makes a copy.
 *  O2  Nothing is fragmented here. Every packet of a protocol that finds its own size says DF.
 *
 * RFC 6864: identification means nothing with DF set; it counts up all the same, because
 * middleboxes that clear DF are still about.
 */
#include "core/ip/ip.h"

#include <errno.h>

#include "base/csum.h"
#include "core/vif/vif.h"
#include "wire/eth.h"
#include "wire/ip4.h"
#include "wire/ip6.h"

#define TTL_DEFAULT 64		/* RFC 1700; Linux's ip_default_ttl */

static void emit_ip4(struct turn *t, uint8_t *to, const struct ip_out *out, uint32_t pay_len)
{
	struct ip4_hdr h = {
		.tos = out->tos,
		.ttl = out->ttl ? out->ttl : TTL_DEFAULT,
		.proto = out->proto,
		.tot_len = (uint16_t)(IP4_HDR_LEN + pay_len),
		.id = t->map->seg->ip_id++,
		.df = out->flags & IP_OUT_DF,
		.src = *out->src,
		.dst = *out->dst,
	};
	uint16_t csum;

	wire_ip4_emit(to, &h);
	csum = csum_finish(csum_add_scalar(to, IP4_HDR_LEN, 0));
	memcpy(to + IP4_CSUM_OFF, &csum, 2);
}

static void emit_ip6(uint8_t *to, const struct ip_out *out, uint32_t pay_len)
{
	struct ip6_hdr h = {
		.tclass = out->tos,
		.flow = out->flow,
		.hop_limit = out->ttl ? out->ttl : TTL_DEFAULT,
		.next = out->proto,
		.pay_len = (uint16_t)pay_len,
		.src = *out->src,
		.dst = *out->dst,
	};

	wire_ip6_emit(to, &h);
}

static void emit_eth(uint8_t *to, const struct path *path, bool is4)
{
	struct eth_hdr h = { .type = is4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6 };

	memcpy(h.dst, path->dst_mac, 6);
	memcpy(h.src, path->src_mac, 6);
	wire_eth_emit(to, &h);
}

int ip_output(struct turn *t, pkt_h head, const struct ip_out *out)
{
	struct pkt *p = pkt_at(t, head);
	bool is4 = ip_is4(out->dst);
	uint32_t ip_len = is4 ? IP4_HDR_LEN : IP6_HDR_LEN;
	uint32_t room = ETH_HDR_LEN + ip_len;
	uint32_t off = p->off & (FRAME_BYTES - 1), len = pkt_len(p), tot = p->tot;
	uint8_t *data;
	int err;

	must(out->path && out->src && out->dst);
	if (!(out->path->flags & PATH_RESOLVED) || out->path->vi >= t->map->n_vis)
		return -EAGAIN;
	if (unlikely(p->at_device)) {
		never(t, WHY_PKT_STATE);		/* O1 */
		return -EUCLEAN;
	}
	if (unlikely(off < room || len > tot)) {
		never(t, WHY_PKT_CHAIN);
		return -EUCLEAN;
	}
	if (tot > 65535 - ip_len)
		return -EMSGSIZE;

	data = pkt_frame(t, p) + off - ip_len;
	if (is4)
		emit_ip4(t, data, out, tot);
	else
		emit_ip6(data, out, tot);
	emit_eth(data - ETH_HDR_LEN, out->path, is4);

	p->off = (uint16_t)(off - room);
	p->len = (uint16_t)(len + room);
	p->tot = tot + room;
	err = vif_post(t, out->path->vi, head);
	p->off = (uint16_t)off;
	p->len = (uint16_t)len;
	p->tot = tot;
	return err;
}
