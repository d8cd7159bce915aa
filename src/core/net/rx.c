/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a packet meets, in order:
 *
 *	vif_poll	a frame from the device
 *	ip_input	Ethernet, IP: sound, whole, for us
 *	    tcp_input	its connection, or a listener, or a reset
 *	    udp_input	a socket's queue
 *	    icmp_input	-> tcp_icmp, udp_icmp
 *	(burst over)
 *	vif_refill	frames for the device, before anything else wants them
 *	tcp_work	one acknowledgement a batch, and what it let us send
 *
 * Here and nowhere else TCP and UDP meet.
 *
 *  N1  A packet's head belongs to one function at a time: a verdict of V_DROP hands it back,
 *      and we give it back to the pool; after V_TAKEN it is not ours to touch.
 *  N2  A turn takes at most t->budget packets and RX_BURST of them from one ring before it
 *      looks at the next, so that none starves.
 *  N3  The work list is drained after each burst, not each packet; it is bounded by the pool.
 *  N4  A condemned stack is left alone: nothing in it can be believed, and no peer is to hear
 *      what it makes of it.
 */
#include "core/net/net.h"

#include <netinet/in.h>

#include "core/ap/ap.h"
#include "core/ip/ip.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"
#include "core/vif/vif.h"

static enum verdict icmp_error(struct turn *t, pkt_h h, const struct ip_info *in)
{
	struct icmp_quote q;

	if (icmp_input(t, h, in, &q) == V_DROP)
		return V_DROP;
	if (q.proto != IPPROTO_TCP)
		return udp_icmp(t, h, in, &q);
	tcp_icmp(t, &q);
	return V_DROP;		/* understood; its bytes are of no further use */
}

static enum verdict transport(struct turn *t, pkt_h h, const struct ip_info *in)
{
	switch (in->proto) {
	case IPPROTO_TCP:
		return tcp_input(t, h, in);
	case IPPROTO_UDP:
		return udp_input(t, h, in);
	default:
		return icmp_error(t, h, in);
	}
}

static void packet(struct turn *t, pkt_h h)
{
	struct ip_info in;

	if (ip_input(t, h, &in) == V_DROP || transport(t, h, &in) == V_DROP)
		pkt_put(t, h);		/* N1 */
}

/* Up to `n` packets of one VI. (vif_poll() has the next one's headers fetched meanwhile.) */
static uint32_t burst(struct turn *t, uint32_t vi, uint32_t n)
{
	uint32_t done;

	for (done = 0; done < n; done++) {
		pkt_h h = vif_poll(t, vi);

		if (!h.v)
			break;
		packet(t, h);
	}
	t->budget -= done;
	return done;
}

static void work(struct turn *t)
{
	struct sk *sk;

	for (uint32_t left = t->map->sk_mask; left && (sk = sk_work_pop(t)); left--) {	/* N3 */
		if (sk->kind == SK_UDP)
			udp_tx_ready(t, sk);
		else
			tcp_work(t, sk);
	}
}

uint32_t net_rx(struct turn *t)
{
	uint32_t n_vis = min_u32(t->map->n_vis, N_VIS);
	uint32_t sum = 0;
	bool more;

	if (unlikely(net_is_condemned(t)))	/* N4 */
		return 0;
	if (ap_pending(t->map))
		sum += ap_poll(t);
	do {
		more = false;
		for (uint32_t vi = 0; vi < n_vis; vi++) {
			uint32_t n;

			vif_reap(t, vi);
			n = burst(t, vi, min_u32(t->budget, RX_BURST));	/* N2 */
			vif_refill(t, vi);
			/* A burst that was not full saw the ring's end: whoever comes next
			 * looks again, and one packet costs one look. */
			more |= n == RX_BURST;
			sum += n;
		}
		work(t);
	} while (more && t->budget);
	return sum;
}
