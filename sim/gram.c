/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UDP conversations: numbered datagrams of random size one way, and, if so agreed, each one
 * echoed. They may be lost, or come twice on a wire that duplicates, or in another order, but
 * one that comes is whole, unchanged, and from where it says.
 */
#include "sim/sim.h"

#include <errno.h>
#include <sys/epoll.h>

#define GRAM_MAGIC 0x6772616dull

static uint8_t scratch[1 << 16];

static void gram_one(struct sim *w, struct gram *g)
{
	struct sim_stack *a = &w->stack[prng_below(&w->rng, w->n_stacks)], *b;
	bool v6 = prng_chance(&w->rng, w->k.v6_ppm);

	do
		b = &w->stack[prng_below(&w->rng, w->n_stacks)];
	while (b->host == a->host && !w->k.aperture);
	g->id = (uint32_t)(g - w->gram);
	g->s[0] = a;
	g->s[1] = b;
	g->thread[0] = prng_below(&w->rng, a->n_threads);
	g->thread[1] = prng_below(&w->rng, b->n_threads);
	g->laddr = v6 ? a->host->a6 : a->host->a4;
	g->raddr = v6 ? b->host->a6 : b->host->a4;
	g->lport = (uint16_t)(SIM_PORT * (a->place + 1) + 100 + 2 * g->id);
	g->rport = (uint16_t)(SIM_PORT * (b->place + 1) + 101 + 2 * g->id);
	g->echo = prng_below(&w->rng, 2);
	g->connected = prng_below(&w->rng, 2) && !w->k.aperture;
	g->n_total = 1 + (uint32_t)sim_skewed(w, 0, w->k.gram_n);
	g->bytes_max = (uint32_t)sim_skewed(w, 12, min_u32(w->k.gram_bytes_max, w->k.mtu - 48));
	g->next_at = 10000 + sim_between(w, 0, w->k.spread_ns);
	g->end_at = NEVER_NS;
}

void gram_make(struct sim *w)
{
	w->n_grams = min_u32(w->k.n_grams, SIM_GRAMS);
	for (uint32_t i = 0; i < w->n_grams; i++)
		gram_one(w, &w->gram[i]);
}

bool gram_done(struct sim *w)
{
	for (uint32_t i = 0; i < w->n_grams; i++) {
		if (!w->gram[i].finished && w->gram[i].end_at > w->now)
			return false;
	}
	return true;
}

static uint32_t make(const struct gram *g, uint32_t i, bool back)
{
	uint64_t key = sim_hash(&(uint64_t[3]){ g->id, i, back }, 24);
	uint32_t n = 12 + (uint32_t)(key >> 20) % (g->bytes_max - 11);

	put_be32(scratch, (uint32_t)GRAM_MAGIC + g->id);
	put_be32(scratch + 4, i);
	put_be32(scratch + 8, back);
	stream_fill(key, 0, scratch + 12, n - 12);
	return n;
}

/* As sock/ does it to an address of its own host; a pair may have to be made, and this one is lost. */
static int64_t send_ap(struct sim *w, struct turn *t, struct gram *g, uint32_t side, const struct udp_addr *to,
		       const struct iovec *v, uint32_t n)
{
	struct udp_origin o = { .src = { side ? g->raddr : g->laddr, side ? g->rport : g->lport },
				.dst = *to, .ttl = 64 };
	uint32_t slot;

	if (ap_pair_find(t, g->s[!side]->seg->stack_id, &slot)) {
		pair_want(w, g->s[side], g->s[!side]);
		return -EAGAIN;
	}
	return ap_dgram(t, slot, &o, 0, v, n);
}

static int64_t send_one(struct sim *w, struct turn *t, struct gram *g, struct sk *sk, uint32_t side, uint32_t i)
{
	struct udp_addr to = { side ? g->laddr : g->raddr, side ? g->lport : g->rport };
	struct iovec v[2];
	uint32_t n = make(g, i, side);

	v[0] = (struct iovec){ scratch, n / 3 };
	v[1] = (struct iovec){ scratch + n / 3, n - n / 3 };
	if (w->k.aperture)
		return send_ap(w, t, g, side, &to, v, 2);
	return udp_send(t, sk, v, 2, &(struct udp_out){ .to = g->connected && !side ? NULL : &to });
}

static void check_one(struct sim *w, struct gram *g, uint32_t side, uint32_t n, uint32_t full,
		      const struct udp_addr *from)
{
	static uint8_t got[sizeof(scratch)];
	uint32_t i = get_be32(scratch + 4);

	if (n != full || n < 12 || get_be32(scratch) != (uint32_t)GRAM_MAGIC + g->id || i >= g->n_total ||
	    get_be32(scratch + 8) != !side)
		sim_fail(w, "S4: datagram of %u bytes (%u) for UDP conversation %u", n, full, g->id);
	if (!ip_eq(&from->addr, side ? &g->laddr : &g->raddr) || from->port != (side ? g->lport : g->rport))
		sim_fail(w, "S4: datagram from port %u", from->port);
	memcpy(got, scratch, n);
	if (make(g, i, !side) != n || memcmp(got, scratch, n))
		sim_fail(w, "S4: datagram %u of UDP conversation %u has the wrong bytes", i, g->id);
	w->n_bytes += n;
}

static void receive(struct sim *w, struct turn *t, struct gram *g, struct sk *sk, uint32_t side)
{
	struct iovec v = { scratch, sizeof(scratch) };
	struct udp_arrival a;
	uint32_t i;
	int64_t n;

	for (;;) {
		n = udp_recv(t, sk, &v, 1, 0, &a);
		if (n == -EAGAIN && (sk->ready & EPOLLIN))
			sim_fail(w, "S4: UDP: EPOLLIN, yet EAGAIN");
		if (n < 0)
			return;
		check_one(w, g, side, (uint32_t)n, a.full, &a.from);
		if (side)
			g->n_got++;
		else
			g->n_back++;
		i = get_be32(scratch + 4);
		if (side && g->echo && send_one(w, t, g, sk, 1, i) == -EMSGSIZE)
			sim_fail(w, "S4: udp_send() says EMSGSIZE");
	}
}

static struct sk *open_one(struct sim *w, struct turn *t, struct gram *g, uint32_t side, struct thread *th)
{
	struct ipaddr any = ip_is4(&g->laddr) ? ip_from4(0) : (struct ipaddr){ { 0 } };
	const struct ipaddr *a = prng_below(&w->rng, 2) ? &any : side ? &g->raddr : &g->laddr;
	struct sk *sk;
	int err = udp_open(t, a, side ? g->rport : g->lport, &sk);

	if (err == -ENOBUFS)
		return NULL;
	if (err)
		sim_fail(w, "S4: udp_open(): %d", err);
	sk_ref(t, sk, th->proc);
	g->sk[side] = sk_handle(sk);
	g->open[side] = true;
	g->bound[side] = true;
	if (!side && g->connected) {
		err = udp_connect(t, sk, &g->raddr, g->rport);
		if (err && err != -EAGAIN)
			sim_fail(w, "S4: udp_connect(): %d", err);
	}
	return sk;
}

static void run_side(struct sim *w, struct turn *t, struct gram *g, uint32_t side, struct thread *th)
{
	struct sk *sk = g->open[side] ? sk_find(t, g->sk[side]) : NULL;

	if (g->open[side] && !sk)
		sim_fail(w, "S4: a UDP socket vanished");
	if (w->closing) {
		if (sk && sk_unref(t, sk, th->proc))
			net_close(t, sk);
		g->open[side] = false;
		return;
	}
	if (!sk && !g->bound[side])
		sk = open_one(w, t, g, side, th);
	if (!sk)
		return;
	receive(w, t, g, sk, side);
	if (side || g->next_at > w->now || !g->bound[1] || g->n_sent == g->n_total)
		return;
	for (uint32_t n = 1 + prng_below(&w->rng, 8); n && g->n_sent < g->n_total; n--) {
		if (send_one(w, t, g, sk, 0, g->n_sent) < 0)
			break;
		g->n_sent++;
	}
	g->next_at = w->now + sim_skewed(w, 1000, 20 * NS_PER_MS);
	if (g->n_sent == g->n_total)
		g->end_at = w->now + NS_PER_S;
}

void gram_run(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th)
{
	for (uint32_t i = 0; i < 2 * w->n_grams; i++) {
		struct gram *g = &w->gram[i / 2];

		if (g->s[i % 2] == s && g->thread[i % 2] == th->i)
			run_side(w, t, g, i % 2, th);
	}
}

uint64_t gram_next_at(struct sim *w, struct sim_stack *s, struct thread *th)
{
	uint64_t at = NEVER_NS;

	for (uint32_t i = 0; i < w->n_grams && !w->closing; i++) {
		const struct gram *g = &w->gram[i];

		if (g->s[0] == s && g->thread[0] == th->i && g->n_sent < g->n_total)
			at = min_u64(at, max_u64(g->next_at, w->now + 1000));
	}
	return at;
}

void gram_sleep(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th, bool asleep)
{
	uint32_t bit = th->waiter >= 0 ? 1u << th->waiter : 0;

	for (uint32_t i = 0; i < 2 * w->n_grams; i++) {
		struct gram *g = &w->gram[i / 2];
		struct sk *sk;

		if (g->s[i % 2] != s || g->thread[i % 2] != th->i || !g->open[i % 2])
			continue;
		sk = sk_find(t, g->sk[i % 2]);
		if (sk && asleep)
			sk->wait_mask |= bit;
		else if (sk)
			sk->wait_mask &= ~bit;
	}
}
