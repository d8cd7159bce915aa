/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hosts and stacks: their memory, their mirror, and the turn as every executor here takes it.
 * A stack has two private maps of one segment, the application's and the surrogate's (strong),
 * as two processes would have.
 */
#include "sim/sim.h"

#include <stdlib.h>

#include "base/csum.h"
#include "core/tcp/tcb.h"
#include "layout_hash.h"
#include "shm/shm.h"

/* ---- hosts ------------------------------------------------------------------------------------ */

static void mirror_write(struct sim_host *h, bool begin)
{
	struct mirror *m = h->mirror;

	m->seq++;
	if (!begin)
		m->generation++;
}

static void add_route(struct mirror *m, struct ipaddr dst, uint8_t prefix, bool is4)
{
	struct mir_route *r = &m->routes[m->n_routes++];

	*r = (struct mir_route){ .dst = dst, .ifindex = 2, .prefix = prefix, .type = ROUTE_UNICAST, .is4 = is4 };
	if (is4)
		r->gateway = r->prefsrc = ip_from4(0);
}

static void set_neigh(struct sim *w, struct sim_host *h, uint32_t peer, uint8_t flags)
{
	struct mirror *m = h->mirror;

	for (uint32_t i = 0; i < 2; i++) {
		struct mir_neigh *n = &m->neighs[2 * peer + i];

		n->addr = i ? w->host[peer].a6 : w->host[peer].a4;
		n->ifindex = flags ? 2 : 0;
		n->flags = flags;
		memcpy(n->mac, w->host[peer].mac, 6);
	}
	m->n_neighs = max_u32(m->n_neighs, 2 * peer + 2);
}

static struct ipaddr host_addr6(uint32_t id)
{
	return (struct ipaddr){ { 0xfd, [15] = (uint8_t)(id + 1) } };
}

static void host_make(struct sim *w, struct sim_host *h)
{
	struct mirror *m = h->mirror = calloc(1, sizeof(*m));
	struct mir_link *l;

	must(m);
	h->mac[0] = 2;
	h->mac[5] = (uint8_t)(h->id + 1);
	h->a4 = ip_from4(0x0a000001 + h->id);
	h->a6 = host_addr6(h->id);
	m->magic = MIRROR_MAGIC;
	m->generation = 1;
	l = &m->links[m->n_links++];
	*l = (struct mir_link){ .ifindex = 1, .mtu = 65536, .flags = LINK_UP | LINK_LOOPBACK, .name = "lo" };
	l = &m->links[m->n_links++];
	*l = (struct mir_link){ .ifindex = 2, .mtu = w->k.mtu, .flags = LINK_UP | LINK_ATTACHED, .name = "eth0" };
	memcpy(l->mac, h->mac, 6);
	m->addrs[m->n_addrs++] = (struct mir_addr){ .addr = h->a4, .ifindex = 2, .prefix = 24 };
	m->addrs[m->n_addrs++] = (struct mir_addr){ .addr = h->a6, .ifindex = 2, .prefix = 64 };
	add_route(m, host_addr6(UINT32_MAX), 64, false);
	add_route(m, ip_from4(0x0a000000), 96 + 24, true);
	for (uint32_t i = 0; i < w->n_hosts; i++) {
		w->host[i].mac[0] = 2;
		w->host[i].mac[5] = (uint8_t)(i + 1);
		w->host[i].a4 = ip_from4(0x0a000001 + i);
		w->host[i].a6 = host_addr6(i);
		if (i != h->id)
			set_neigh(w, h, i, w->k.neigh_ns ? 0 : NEIGH_VALID);
	}
}

void sim_neigh_learn(struct sim *w, struct sim_host *h, uint32_t peer)
{
	h->asked &= ~(1u << peer);
	mirror_write(h, true);
	set_neigh(w, h, peer, NEIGH_VALID);
	mirror_write(h, false);
}

/* A neighbour is forgotten, or a new generation says the same as the old one. */
void sim_churn(struct sim *w, struct sim_host *h)
{
	uint32_t peer = prng_below(&w->rng, w->n_hosts);
	uint64_t every = w->k.churn_every_ns;	/* known for longer than it takes to learn, on average */

	mirror_write(h, true);
	if (peer != h->id && w->k.neigh_ns &&
	    prng_chance(&w->rng, (uint32_t)(500000 * every / (every + 8 * w->k.neigh_ns))))
		set_neigh(w, h, peer, 0);
	if (w->k.mtu_churn_ppm && prng_chance(&w->rng, w->k.mtu_churn_ppm))
		h->mirror->links[1].mtu = (uint32_t)sim_between(w, 1280, w->k.mtu);
	mirror_write(h, false);
}

/* The executor passes what the turn left in neigh_asks on to the agent. */
static void pass_asks(struct sim *w, struct sim_stack *s)
{
	for (uint32_t i = 0; i < n_elems(s->seg->neigh_asks); i++) {
		if (s->seg->neigh_asks[i].asked)
			continue;
		s->seg->neigh_asks[i].asked = 1;
		for (uint32_t p = 0; p < w->n_hosts; p++) {
			if ((!ip_eq(&s->seg->neigh_asks[i].addr, &w->host[p].a4) &&
			     !ip_eq(&s->seg->neigh_asks[i].addr, &w->host[p].a6)) || s->host->asked & 1u << p)
				continue;
			s->host->asked |= 1u << p;
			sim_post(w, w->now + sim_skewed(w, 1000, w->k.neigh_ns + 1000), (struct sim_event){
				 .kind = SE_NEIGH, .a = s->host->id, .b = p });
		}
	}
}

/* ---- stacks ------------------------------------------------------------------------------------- */

static void lease_blocks(struct sim *w, struct sim_stack *s)
{
	struct turn t;
	bool contended;

	if (!turn_try(&t, &s->app, EXEC_APP, 1, 0, w->now, 0))
		sim_fail(w, "a fresh door is shut");
	for (uint32_t i = 0; i < w->k.n_blocks && i < SIM_BLOCKS; i++) {
		s->block[i] = (uint16_t)(32768 + (s->place * SIM_BLOCKS + i) * PORT_BLOCK);
		if (port_block_add(&t, s->block[i]))
			sim_fail(w, "port_block_add() refuses block %u", i);
	}
	if (turn_end(&t, &contended) || stack_check(&t))
		sim_fail(w, "a fresh stack fails its check: %u", s->seg->condemned);
}

void stack_make(struct sim *w, struct sim_stack *s)
{
	struct geometry g = { .n_socks = w->k.n_socks, .n_pkts = w->k.n_pkts, .n_flow_buckets = 64,
			      .n_listen_buckets = 8, .n_epolls = 8, .n_epitems = 2 * w->k.n_socks,
			      .n_trace = 256, .n_pairs = w->k.aperture ? SIM_SLOTS : 2 };
	int err;

	if (!s->host->mirror)
		host_make(w, s->host);
	geometry_lay_out(&g);
	s->seg = aligned_alloc(4096, (g.bytes + 4095) & ~4095ull);
	must(s->seg);
	memset(s->seg, 0, g.bytes);
	shm_format(s->seg, &g, ONRAMP_LAYOUT_HASH);
	s->seg->stack_id = s->id + 1;
	for (uint32_t i = 0; i < 4; i++)
		s->seg->secret[i] = prng_u64(&w->rng);
	err = shm_attach(s->seg, g.bytes, ONRAMP_LAYOUT_HASH, &s->app);
	if (err)
		sim_fail(w, "shm_attach(): %d", err);
	s->app.mirror = s->host->mirror;
	device_init(w, s);
	if (w->k.no_vis)
		s->app.n_vis = 0;
	pair_stack_make(w, s);
	stack_init(&s->app);
	s->strong = s->app;
	s->strong.strong = 1;
	s->surrogate_at = s->rx_since = NEVER_NS;
	s->n_procs = w->k.n_procs;
	for (uint32_t i = 0; i < s->n_procs; i++) {
		s->proc[i].live = true;
		s->seg->procs[i] = (struct proc_slot){ PROC_LIVE, 100 + i };
	}
	lease_blocks(w, s);
}

void stack_unmake(struct sim_stack *s)
{
	device_fini(s);
	free(s->seg);
}

/* ---- turns ---------------------------------------------------------------------------------------- */

/* "Fail here?", and in worlds where processes die inside a turn: die here. */
static bool mishap(void *arg, uint32_t site)
{
	struct sim *w = arg;

	if (w->may_slay && w->k.slay_ppm && prng_chance(&w->rng, w->k.slay_ppm)) {
		record_text(w, "the process dies here, at mishap site %u", site);
		longjmp(w->slain_jmp, 1);
	}
	if (!w->k.mishap_ppm || w->closing || !prng_chance(&w->rng, w->k.mishap_ppm) ||
	    site == MISHAP_EP || site == MISHAP_EPITEM)
		return false;
	w->n_mishaps++;
	return true;
}

/* th NULL: the surrogate. */
bool sim_turn_try(struct sim *w, struct sim_stack *s, struct turn *t, struct thread *th, uint64_t errand)
{
	uint64_t skew = prng_below(&w->rng, 3000);	/* clocks of cores differ */
	uint64_t now = w->now > skew && !th ? w->now - skew : w->now;
	bool ok;

	if (th)
		ok = turn_try(t, &s->app, EXEC_APP, th->tid, th->proc, now, errand);
	else
		ok = turn_try(t, &s->strong, EXEC_SURROGATE, SIM_SURROGATE_TID + s->id, 0, now, errand);
	if (!ok)
		return false;
	if (s->in_turn)
		sim_fail(w, "stack %u: two hold the turn", s->id);
	s->in_turn = true;
	t->mishap = mishap;
	t->mishap_arg = w;
	s->n_turns++;
	w->n_turns++;
	pair_settle(w, s, t);
	if (s->n_trims && s->trims_of_app == (th != NULL))
		pair_trimmed(s, t);
	return true;
}

/* Frames for receiving run low, so that nothing may come that would bring net_rx() about. */
static bool is_starved(const struct sim *w, const struct turn *t)
{
	return t->map->n_vis && t->map->seg->n_posted[0] < min_u32(RX_POSTED, w->k.n_pkts / 2) / 4;
}

/* As the executors of exec/ do it: no receiving where there is nothing to receive. */
void sim_turn_round(struct sim *w, struct turn *t)
{
	uint32_t n = 0;

	step_in(w);
	if (vif_rx_pending(t->map) || ap_pending(t->map) || is_starved(w, t) || prng_below(&w->rng, 8) == 0)
		n = net_rx(t);
	if (t->map->seg->deadline <= t->now)
		net_tick(t);
	net_tx(t);
	step_out();
	sim_digest(w, n);
}

void sim_check(struct sim *w, struct sim_stack *s, struct turn *t)
{
	if (!s->retired && net_check(t))
		sim_fail(w, "S1: stack %u fails its check: %s", s->id, why_name((enum why)(s->seg->condemned - 1)));
}

static void run_errands(struct sim *w, struct sim_stack *s, struct turn *t, uint64_t errands)
{
	if (s->retired)
		return;
	t->budget = TURN_BUDGET;
	if (errands & DOOR_ERRAND_REAP)
		surrogate_reap(w, s, t);
	if (errands & DOOR_ERRAND_ARM && irq_errand(t) == IRQ_ARM)
		errands |= DOOR_ERRAND_RX;
	if (errands & DOOR_ERRAND_RX)
		sim_digest(w, net_rx(t));
	if (errands & DOOR_ERRAND_TICK)
		net_tick(t);
	net_tx(t);
}

static void pay(struct sim *w, struct sim_stack *s, struct turn *t, bool contended)
{
	if (t->bells)
		device_kick(w, s);
	for (uint32_t i = 0; i < N_WAITERS; i++) {
		if (!(t->wakes & 1u << i) || !waiter_ring(&s->app, (int)i))
			continue;
		for (uint32_t j = 0; j < s->n_threads; j++) {
			if (s->th[j].waiter == (int)i)
				thread_wake(w, s, &s->th[j], sim_between(w, 500, 20 * NS_PER_US));
		}
	}
	pair_pay(w, s, t);
	if (contended)
		thread_door_open(w, s);
	pass_asks(w, s);
}

void sim_turn_end(struct sim *w, struct sim_stack *s, struct turn *t)
{
	bool contended = false, defer = t->who == EXEC_APP && w->k.defer_ppm && prng_chance(&w->rng, w->k.defer_ppm);
	uint64_t errands;

	if (w->k.check_ppm && prng_chance(&w->rng, w->k.check_ppm))
		sim_check(w, s, t);
	else if (w->k.check_ppm && !w->k.hostile && !s->retired && net_check_watched(t))	/* after every turn */
		sim_fail(w, "S1: stack %u: a connection owes something and has no deadline", s->id);
	s->rx_since = vif_rx_pending(&s->app) || pair_waits(s, &s->app) || pair_waits(s, &s->strong) ?
		      w->now : NEVER_NS;
	record_turn(w, s, t);
	for (;;) {
		if (!defer) {
			t->bells |= s->seg->kicks_owed;
			s->seg->kicks_owed = 0;
		} else {
			t->bells = 0;
		}
		if (s->seg->ap_self && !s->retired) {	/* as exec_end() */
			t->budget = max_u32(t->budget, 16);
			(void)ap_poll(t);
		}
		s->in_turn = false;
		errands = turn_end(t, &contended);
		if (!errands)
			break;
		s->in_turn = true;
		run_errands(w, s, t, errands);
		record_turn(w, s, t);
	}
	sim_digest(w, (uint64_t)s->id << 32 | t->who);
	sim_digest(w, s->seg->deadline);
	pay(w, s, t, contended);
	if (t->trims)
		pair_trim(w, s, t->trims);
	surrogate_arm(w, s);
}
