/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which way to a destination: the mirror's routes, addresses and neighbours, asked as Linux
 * asks its own (RFC 1122 3.3.1, RFC 4861 5.2, RFC 6724 for the source address).
 *
 *  R1  A path that is resolved and of the mirror's present generation is the answer: one load.
 *      (While the agent writes, an old path serves on: the agent changes `generation` last.)
 *  R2  An answer is used only if the mirror did not change under the question. After ASKS
 *      questions the last one is used, but with generation 0: once, and then asked again. So
 *      an agent that was stopped, or died, in the middle of writing stops nobody.
 *  R3  What we may not send is not ours: addresses of this host, loopback, multicast,
 *      broadcast, interfaces without a VI, and sources that are not addresses of the
 *      interface, for the agent's program at the VI's other end would drop them. -EINVAL.
 *  R4  Neighbours are the kernel's to resolve: an unknown one is noted in seg->neigh_asks, at
 *      most once in ASK_AGAIN_NS; the executor carries it to the agent, and the mirror changes.
 *  R5  A neighbour that the kernel holds for failed is asked for again first: only when that
 *      has been wanted for FAILED_AFTER_NS is it given up.
 */
#include "core/ip/ip.h"

#include <errno.h>

#include "core/ip/glance.h"

#define ASKS		64	/* questions to a mirror that keeps changing */
#define LOOKS_ODD	512	/* looks per question at an odd seq: in all some 50 us */
#define ASK_AGAIN_NS	(100 * NS_PER_MS)
#define FAILED_AFTER_NS	(1 * NS_PER_S)
#define FORGOTTEN_NS	(3 * NS_PER_S)	/* an ask not renewed for so long begins anew */

/* linux/rtnetlink.h and linux/if_addr.h */
#define SCOPE_UNIVERSE	0
#define SCOPE_LINK	253
#define ADDR_SECONDARY	0x01u
#define ADDR_DADFAILED	0x08u
#define ADDR_DEPRECATED	0x20u
#define ADDR_TENTATIVE	0x40u

enum nud { NUD_UNKNOWN, NUD_OK, NUD_BAD };

/* The answer to one question, all copied. */
struct answer {
	struct ipaddr src, next_hop;
	uint32_t generation, mtu, vi;
	enum nud nud;
	uint8_t	 dst_mac[6], src_mac[6];
};

static const struct mir_link *link_of(const struct mirror *m, uint32_t ifindex)
{
	uint32_t n = min_u32(peek32(&m->n_links), N_LINKS);

	for (uint32_t i = 0; i < n; i++)
		if (m->links[i].ifindex == ifindex)
			return &m->links[i];
	return NULL;
}

/* Destinations that are this host, or many hosts (R3). */
static bool is_kernels(const struct mirror *m, const struct ipaddr *dst)
{
	uint32_t n = min_u32(peek32(&m->n_addrs), N_ADDRS);

	if (ip_is_any(dst) || ip_is_multicast(dst) || ip_is_loopback(dst))
		return true;
	if (ip_is4(dst) && (dst->b[12] == 0 || dst->b[12] >= 240))
		return true;
	for (uint32_t i = 0; i < n; i++)
		if (m->addrs[i].ifindex && (ip_eq(&m->addrs[i].addr, dst) ||
					    is_broadcast_of(&m->addrs[i], dst)))
			return true;
	return false;
}

static bool is_addr_of(const struct mirror *m, uint32_t ifindex, const struct ipaddr *addr)
{
	uint32_t n = min_u32(peek32(&m->n_addrs), N_ADDRS);

	for (uint32_t i = 0; i < n; i++)
		if (m->addrs[i].ifindex == ifindex && ip_eq(&m->addrs[i].addr, addr))
			return true;
	return false;
}

static bool route_matches(const struct mir_route *r, const struct ipaddr *dst)
{
	return r->ifindex && r->is4 == ip_is4(dst) && prefix_eq(&r->dst, dst, r->prefix);
}

/*
 * First match in the agent's order. With a source address given, a route of the same length
 * over the interface that owns it goes before: two interfaces in one subnet. Link-local
 * destinations exist once per link: there the source alone decides.
 */
static const struct mir_route *find_route(const struct mirror *m, const struct ipaddr *dst,
					  const struct ipaddr *src)
{
	uint32_t n = min_u32(peek32(&m->n_routes), N_ROUTES);
	const struct mir_route *first = NULL;

	for (uint32_t i = 0; i < n; i++) {
		const struct mir_route *r = &m->routes[i];

		if (first && r->prefix != first->prefix)
			break;
		if (!route_matches(r, dst))
			continue;
		if (!first)
			first = r;
		if (ip_is_any(src) || first->type != ROUTE_UNICAST)
			break;
		if (r->type == ROUTE_UNICAST && is_addr_of(m, r->ifindex, src))
			return r;
	}
	return first;
}

/* How good a source address is for that route; 0: not at all (RFC 6724 rules 2, 3, 8). */
static uint32_t rate_source(const struct mir_addr *a, const struct mir_route *r,
			    const struct ipaddr *dst)
{
	bool local6 = !ip_is4(dst) && ip_is_link_local6(dst);
	uint32_t score = 1;

	if (ip_is4(&a->addr) != ip_is4(dst) || a->flags & (ADDR_TENTATIVE | ADDR_DADFAILED))
		return 0;
	if (local6 ? a->scope == SCOPE_LINK : a->scope == SCOPE_UNIVERSE)
		score += 32;
	if (!(a->flags & ADDR_DEPRECATED))
		score += 16;
	if (prefix_eq(&a->addr, dst, addr_bits(a)))
		score += 8;
	if (!ip_is_any(&r->gateway) && prefix_eq(&a->addr, &r->gateway, addr_bits(a)))
		score += 4;
	if (!(a->flags & ADDR_SECONDARY))
		score += 2;
	return score;
}

static int choose_source(const struct mirror *m, const struct mir_route *r,
			 const struct ipaddr *dst, struct ipaddr *src)
{
	uint32_t n = min_u32(peek32(&m->n_addrs), N_ADDRS);
	const struct mir_addr *best = NULL;
	uint32_t best_score = 0;

	if (!ip_is_any(src))
		return is_addr_of(m, r->ifindex, src) ? 0 : -EINVAL;
	if (!ip_is_any(&r->prefsrc)) {
		*src = r->prefsrc;
		return is_addr_of(m, r->ifindex, src) ? 0 : -EINVAL;
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct mir_addr *a = &m->addrs[i];
		uint32_t score = a->ifindex == r->ifindex ? rate_source(a, r, dst) : 0;

		if (score > best_score) {
			best_score = score;
			best = a;
		}
	}
	if (!best)
		return -EINVAL;		/* Linux would borrow another interface's; we may not */
	*src = best->addr;
	return 0;
}

static bool find_vi(const struct turn *t, uint32_t ifindex, uint32_t *ret_vi)
{
	for (uint32_t i = 0; i < min_u32(t->map->n_vis, N_VIS); i++) {
		if (t->map->vi[i].flags & VIF_F_PRESENT && t->map->vi[i].ifindex == ifindex) {
			*ret_vi = i;
			return true;
		}
	}
	return false;
}

static void find_neigh(const struct mirror *m, uint32_t ifindex, struct answer *ret)
{
	uint32_t n = min_u32(peek32(&m->n_neighs), N_NEIGHS);

	ret->nud = NUD_UNKNOWN;
	for (uint32_t i = 0; i < n; i++) {
		const struct mir_neigh *e = &m->neighs[i];

		if (e->ifindex != ifindex || !ip_eq(&e->addr, &ret->next_hop))
			continue;
		memcpy(ret->dst_mac, e->mac, 6);
		if (e->flags & NEIGH_VALID)
			ret->nud = NUD_OK;
		else if (e->flags & NEIGH_FAILED)
			ret->nud = NUD_BAD;
		return;
	}
}

/* One question. Whatever the mirror holds, even torn, the answer is within bounds. */
static int ask(const struct turn *t, const struct mirror *m, const struct ipaddr *dst,
	       struct answer *ret)
{
	const struct mir_route *r;
	const struct mir_link *link;
	int err;

	ret->generation = peek32(&m->generation);
	if (is_kernels(m, dst))
		return -EINVAL;
	r = find_route(m, dst, &ret->src);
	if (!r)
		return -ENETUNREACH;
	link = link_of(m, r->ifindex);
	if (r->type != ROUTE_UNICAST || !link || link->flags & LINK_LOOPBACK ||
	    !(link->flags & LINK_ATTACHED) || !(link->flags & LINK_UP) ||
	    !find_vi(t, r->ifindex, &ret->vi))
		return -EINVAL;
	err = choose_source(m, r, dst, &ret->src);
	if (err)
		return err;
	ret->mtu = min_u32(link->mtu, r->mtu ? r->mtu : link->mtu);
	memcpy(ret->src_mac, link->mac, 6);
	ret->next_hop = ip_is_any(&r->gateway) ? *dst : r->gateway;
	find_neigh(m, r->ifindex, ret);
	return 0;
}

/* Asks until the mirror has held still (R2). */
static int ask_until_stable(const struct turn *t, const struct ipaddr *dst,
			    const struct ipaddr *src, struct answer *ret)
{
	const struct mirror *m = t->map->mirror;
	int err = -ENETUNREACH;

	for (uint32_t i = 0; i < ASKS; i++) {
		uint32_t seq, looks = LOOKS_ODD;

		while (!glance_begin(m, &seq) && --looks)
			;
		*ret = (struct answer){ .src = *src };
		err = ask(t, m, dst, ret);
		if (glance_end(m, seq) && !(seq & 1))
			return err;
	}
	ret->generation = 0;
	return err;
}

/* ---- neighbours that the agent must resolve (R4, R5) -------------------------------------- */

#define N_ASKS n_elems(((struct segment *)0)->neigh_asks)

/* The slot for that next hop: its own, else a free one, else that which is oldest. */
static uint32_t ask_slot(const struct segment *seg, uint32_t vi, const struct ipaddr *next_hop)
{
	uint32_t best = 0;

	for (uint32_t i = 0; i < N_ASKS; i++) {
		if (seg->neigh_asks[i].vi == vi && ip_eq(&seg->neigh_asks[i].addr, next_hop))
			return i;
		if (seg->neigh_asks[i].at < seg->neigh_asks[best].at)
			best = i;
	}
	return best;
}

/* -EAGAIN: it is being resolved; -EHOSTUNREACH: that has been tried. */
static int want_neigh(struct turn *t, uint32_t vi, const struct ipaddr *next_hop, enum nud nud)
{
	struct segment *seg = t->map->seg;
	uint32_t i = ask_slot(seg, vi, next_hop);
	bool same = seg->neigh_asks[i].vi == vi && ip_eq(&seg->neigh_asks[i].addr, next_hop);

	if (!same || t->now - seg->neigh_asks[i].at > FORGOTTEN_NS) {
		seg->neigh_asks[i].addr = *next_hop;
		seg->neigh_asks[i].vi = vi;
		seg->neigh_asks[i].first_at = t->now;
	} else if (nud == NUD_BAD && t->now - seg->neigh_asks[i].first_at > FAILED_AFTER_NS) {
		return -EHOSTUNREACH;
	} else if (t->now - seg->neigh_asks[i].at < ASK_AGAIN_NS) {
		t->asks |= !seg->neigh_asks[i].asked;
		return -EAGAIN;
	}
	seg->neigh_asks[i].at = t->now;
	seg->neigh_asks[i].asked = 0;
	t->asks = 1;
	ev(t, EV_NEIGH_ASK, 0, get_be32(next_hop->b + 12), vi);
	return -EAGAIN;
}

/* A lowered MTU is kept as long as the way is the same (RFC 1191 3: at least 5 minutes). */
static void fill_path(struct path *path, const struct answer *a)
{
	uint16_t mtu = (uint16_t)min_u32(a->mtu, 65535);
	bool lowered = path->generation && path->flags & PATH_PMTU && path->vi == a->vi &&
		       path->mtu < mtu;

	*path = (struct path){
		.generation = a->generation,
		.mtu = lowered ? path->mtu : mtu,
		.vi = (uint8_t)a->vi,
		.flags = lowered ? PATH_PMTU : 0,
	};
	memcpy(path->src_mac, a->src_mac, 6);
}

int ip_route(struct turn *t, const struct ipaddr *dst, struct ipaddr *src, struct path *path)
{
	struct answer a;
	int err;

	if (likely(path->flags & PATH_RESOLVED && path->generation &&
		   path->generation == peek32(&t->map->mirror->generation) && !ip_is_any(src)))
		return 0;				/* R1 */
	if (ip_is4(dst) != ip_is4(src) && !ip_is_any(src))
		return -EINVAL;

	err = ask_until_stable(t, dst, src, &a);
	if (err) {
		if (err == -ENETUNREACH)
			ev(t, EV_NO_ROUTE, 0, get_be32(dst->b + 12), 0);
		path->flags &= (uint8_t)~PATH_RESOLVED;
		return err;
	}
	fill_path(path, &a);
	*src = a.src;
	if (a.nud != NUD_OK)
		return want_neigh(t, a.vi, &a.next_hop, a.nud);
	memcpy(path->dst_mac, a.dst_mac, 6);
	path->flags |= PATH_RESOLVED;
	return 0;
}
