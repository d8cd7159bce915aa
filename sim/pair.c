/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures between the stacks of one simulated host: pairs in plain memory between guard pages,
 * the agent who makes, names and ends them (agent/pair.c, directory.c), and each process's view
 * of them (exec/pairs.c), which is settled whenever it takes a turn.
 *
 *   connect() -> pair_want() ... SE_PAIR: made, named in both directories, both pipes rung
 *   the last connection of dead programs ... SE_END: not named any more, peers' pipes rung
 *
 * What is checked here:
 *   A1  Whenever nothing else happens, an event that waits in a lane has a thread that is awake, or
 *	 none that lives: what everybody sleeps through is a lost wake-up (S0c-IRQ-02).
 *   A2  A stack that has looked at all its events shows what is true (poll()'s view of each
 *	 connection against what its two programs did).
 *   A3  At the end channels, ring memory and slots are back (S6).
 */
#include "sim/sim.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>

#include "sim/either.h"

#define GUARD 4096u
#define MAPPED (AP_PAIR_BYTES + 2 * GUARD)

/* ---- memory --------------------------------------------------------------------------------- */

static struct ap_pair *pair_alloc(void)
{
	uint8_t *at = mmap(NULL, MAPPED, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	must(at != MAP_FAILED && !mprotect(at + GUARD, AP_PAIR_BYTES, PROT_READ | PROT_WRITE));
	return (struct ap_pair *)(void *)(at + GUARD);
}

void pair_unmake(struct sim *w)
{
	for (uint32_t i = 0; i < w->n_pairs; i++)
		must(!munmap((uint8_t *)w->pair[i].mem - GUARD, MAPPED));
	for (uint32_t i = 0; i < w->n_stacks; i++)
		free(w->stack[i].front);
}

void pair_stack_make(struct sim *w, struct sim_stack *s)
{
	if (!w->k.aperture)
		return;
	s->front = aligned_alloc(64, sizeof(*s->front));
	must(s->front);
	memset(s->front, 0, sizeof(*s->front));
	s->front->magic = AP_FRONT_MAGIC;
	s->front->stack_id = s->seg->stack_id;
	s->app.front = s->front;
}

/* ---- the agent ------------------------------------------------------------------------------- */

static struct sim_pair *pair_of_id(struct sim *w, uint32_t id)
{
	return id && id <= w->n_pairs ? &w->pair[id - 1] : NULL;
}

static struct sim_stack *other_of(const struct sim_pair *p, const struct sim_stack *s)
{
	return p->s[p->s[0] == s];
}

struct sim_pair *pair_between(struct sim *w, const struct sim_stack *a, const struct sim_stack *b)
{
	for (uint32_t i = 0; i < w->n_pairs; i++) {
		struct sim_pair *p = &w->pair[i];

		if (!p->over && ((p->s[0] == a && p->s[1] == b) || (p->s[0] == b && p->s[1] == a)))
			return p;
	}
	return NULL;
}

/* A byte in its pipe: who sleeps on it gets up, and who goes to sleep does not. */
static void ring_pipe(struct sim *w, struct sim_stack *s)
{
	s->piped = true;
	if (s->rx_since == NEVER_NS)
		s->rx_since = w->now;
	thread_rx_ready(w, s);
	surrogate_arm(w, s);
}

static void name_it(struct sim *w, struct sim_stack *s, uint32_t id)
{
	uint32_t slot = 0;

	while (slot < SIM_SLOTS && s->slot_taken[slot])
		slot++;
	if (slot == SIM_SLOTS)
		sim_fail(w, "S6: stack %u: pairs that are over do not come back", s->id);
	s->slot_taken[slot] = true;
	s->dir[slot] = id;
	s->dir_changes++;
	ring_pipe(w, s);
}

void pair_want(struct sim *w, struct sim_stack *s, struct sim_stack *peer)
{
	sim_post(w, w->now + sim_skewed(w, 1000, 200 * NS_PER_US), (struct sim_event){
		 .kind = SE_PAIR, .a = s->id, .b = peer->id });
}

void pair_make(struct sim *w, struct sim_stack *s, struct sim_stack *peer)
{
	struct sim_pair *p = &w->pair[w->n_pairs];

	if (s->gone || peer->gone || pair_between(w, s, peer))
		return;
	must(w->n_pairs < SIM_PAIRS);
	*p = (struct sim_pair){ .mem = pair_alloc(), .id = ++w->n_pairs, .s = { s, peer } };
	p->mem->magic = AP_PAIR_MAGIC;
	p->mem->pair_id = p->id;
	p->mem->stack[0] = s->seg->stack_id;
	p->mem->stack[1] = peer->seg->stack_id;
	record_text(w, "pair %u of stacks %u and %u is made", p->id, s->id, peer->id);
	name_it(w, s, p->id);
	if (peer != s)
		name_it(w, peer, p->id);
}

/* The stack has ended: its pairs are named no more. */
void pair_end(struct sim *w, struct sim_stack *s)
{
	record_text(w, "stack %u has ended", s->id);
	s->gone = true;
	for (uint32_t i = 0; i < n_elems(s->host->mirror->ports); i++)
		if (s->host->mirror->ports[i].stack_id == s->seg->stack_id)
			s->host->mirror->ports[i].proto = 0;
	for (uint32_t i = 0; i < w->n_pairs; i++) {
		struct sim_pair *p = &w->pair[i];
		struct sim_stack *o;

		if (p->over || (p->s[0] != s && p->s[1] != s))
			continue;
		p->over = true;
		o = other_of(p, s);
		for (uint32_t slot = 0; slot < SIM_SLOTS; slot++)
			if (o->dir[slot] == p->id)
				o->dir[slot] = 0;
		o->dir_changes++;
		ring_pipe(w, o);
	}
}

void pair_list_port(struct sim *w, struct sim_stack *s, const struct ipaddr *laddr, uint16_t lport)
{
	struct mirror *m = s->host->mirror;
	uint32_t *bucket = &m->buckets[dir_bucket(IPPROTO_TCP, lport)], i = 0;

	while (m->ports[i].stack_id)
		i++;
	m->seq++;
	m->ports[i] = (struct dir_port){ .laddr = *laddr, .lport = lport, .proto = IPPROTO_TCP,
					 .stack_id = s->seg->stack_id, .next = *bucket };
	*bucket = i + 1;
	m->seq++;
	(void)w;
}

/* ---- views ------------------------------------------------------------------------------------- */

static struct ap_front nobody;		/* a front that is never armed */

/* Knobs: little ring memory. */
static void make_scarce(struct sim *w, struct stack_map *map, uint32_t slot)
{
	struct ap_table *tab = &map->ap_tables[slot];

	for (uint32_t side = 0; side < 2 && w->k.ap_pages; side++) {
		struct ap_pool *p = &tab->pool[side];

		/* As if the rest had been taken, each block as large as its place allows. */
		while (p->used < AP_POOL_PAGES - w->k.ap_pages) {
			uint32_t o = min_u32((uint32_t)__builtin_ctz(p->used), AP_N_ORDERS - 1);

			while (p->used + (1u << o) > AP_POOL_PAGES - w->k.ap_pages)
				o--;
			p->order[p->used] = (uint8_t)(o + 1);
			p->used = (uint16_t)(p->used + (1u << o));
			p->n_taken += 1u << o;
		}
	}
}

static void fetch(struct sim *w, struct sim_stack *s, struct turn *t, struct stack_map *map, uint32_t slot,
		  const struct sim_pair *p)
{
	struct sim_stack *peer = other_of(p, s);
	struct ctl_pair d = {
		.slot = slot, .side = p->s[0] != s, .pair_id = p->id, .peer = peer->seg->stack_id,
		.is_self = peer == s, .over = p->over,
	};
	bool news = map->seg->ap[slot].pair_id != p->id;

	map->ap[slot] = (struct ap_view){ .pair = p->mem, .front = p->over ? &nobody : peer->front,
					  .pair_id = p->id, .bell_fd = -1 };
	ap_pair_open(t, slot, &d);
	if (news)
		make_scarce(w, map, slot);
}

static void tell_over(struct turn *t, uint32_t slot)
{
	uint32_t budget = t->budget;

	t->budget = AP_N_EVENTS;
	(void)ap_poll(t);
	t->budget = budget;
	ap_pair_over(t, slot);
}

/* The table that exec/pairs.c opens with. */
static void settle(struct sim *w, struct sim_stack *s, struct turn *t, struct stack_map *map, uint32_t slot)
{
	uint32_t named = s->dir[slot], known = map->seg->ap[slot].pair_id, mine = map->ap[slot].pair_id;
	uint32_t want = named ? named : known;

	if (want && want != mine) {
		fetch(w, s, t, map, slot, pair_of_id(w, want));
		mine = want;
		known = map->seg->ap[slot].pair_id;
	}
	if (!mine || named)
		return;
	if (known == mine && !map->seg->ap[slot].over)
		tell_over(t, slot);
	if (known == mine && ap_pair_is_done(map, slot)) {
		s->slot_taken[slot] = false;
		map->seg->ap[slot].pair_id = 0;
		known = 0;
	}
	if (known != mine)
		map->ap[slot] = (struct ap_view){ .bell_fd = -1 };
}

static struct stack_map *map_of(struct sim_stack *s, const struct turn *t)
{
	return t->map == &s->app ? &s->app : &s->strong;
}

void pair_settle(struct sim *w, struct sim_stack *s, struct turn *t)
{
	struct stack_map *map = map_of(s, t);

	if (!w->k.aperture || s->retired || s->gone)
		return;
	s->dir_seen[map == &s->strong] = s->dir_changes;
	for (uint32_t slot = 0; slot < SIM_SLOTS; slot++)
		settle(w, s, t, map, slot);
}

/* As exec_pairs_changed() || ap_pending(). */
bool pair_waits(const struct sim_stack *s, const struct stack_map *map)
{
	if (!s->front || s->retired || s->gone || (map == &s->app && !anybody_live(s)))
		return false;
	if (ap_pending(map) || s->dir_seen[map == &s->strong] != s->dir_changes)
		return true;
	for (uint32_t slot = 0; slot < SIM_SLOTS; slot++)
		if (s->slot_taken[slot] && !s->dir[slot] && map->ap[slot].pair_id && ap_pair_is_done(map, slot))
			return true;
	return false;
}

/* As exec_trim(), with whatever happens meanwhile between its two turns. */
void pair_trim(struct sim *w, struct sim_stack *s, uint64_t slots)
{
	struct turn t;

	if (s->n_trims || !sim_turn_try(w, s, &t, NULL, 0))
		return;
	s->trims_of_app = anybody_live(s);
	for (; slots && !s->n_trims; slots &= slots - 1)
		s->n_trims = ap_trim_take(&t, (uint32_t)__builtin_ctzll(slots), s->trim, n_elems(s->trim));
	sim_turn_end(w, s, &t);
	for (uint32_t i = 0; i < s->n_trims; i++)
		must(!madvise(s->trim[i].mem, s->trim[i].bytes, MADV_DONTNEED));
}

void pair_trimmed(struct sim_stack *s, struct turn *t)
{
	ap_trim_done(t, s->trim, s->n_trims);
	s->n_trims = 0;
}

static bool waits(const struct sim_stack *s) { return pair_waits(s, &s->app) || pair_waits(s, &s->strong); }

/* As if a lane had been full: who reads it looks at every channel. */
static void sweep_one(struct sim *w)
{
	struct sim_pair *p = &w->pair[prng_below(&w->rng, w->n_pairs)];
	uint32_t k = prng_below(&w->rng, 2);

	if (p->over)
		return;
	p->mem->lane[k].swept++;
	ring_pipe(w, p->s[!k]);
}

/* After a turn: whom it owes a byte; and the surrogate of whom it left something. */
void pair_pay(struct sim *w, struct sim_stack *s, const struct turn *t)
{
	if (!w->k.aperture)
		return;
	for (uint32_t slot = 0; slot < SIM_SLOTS; slot++) {
		struct sim_pair *p = pair_of_id(w, t->map->ap[slot].pair_id);

		if (t->ap_rings & 1ull << slot && p && !p->over)
			ring_pipe(w, other_of(p, s));
	}
	if (w->n_pairs && prng_chance(&w->rng, w->k.sweep_ppm))
		sweep_one(w);
	for (uint32_t i = 0; i < w->n_stacks; i++) {
		struct sim_stack *o = &w->stack[i];

		if (o == s || o->rx_since != NEVER_NS || !waits(o))
			continue;
		o->rx_since = w->now;
		surrogate_arm(w, o);
	}
}

/* ---- sleeping ----------------------------------------------------------------------------------- */

/* The thread is ASLEEP. True: something came meanwhile. */
bool pair_lie_down(struct sim_stack *s, struct thread *th)
{
	if (!s->front)
		return false;
	th->slept = true;
	if (th->waiter >= 0)
		irq_note(&s->app, th->waiter, irq_sleep(&s->app));
	else
		irq_arm(&s->app);
	return s->piped || pair_waits(s, &s->app);
}

void pair_get_up(struct sim_stack *s, struct thread *th)
{
	if (!s->front || !th->slept)
		return;
	th->slept = false;
	s->piped = false;
	irq_wake(&s->app, th->waiter);
}

static bool somebody_is_up(const struct sim_stack *s)
{
	bool live = false;

	for (uint32_t i = 0; i < s->n_threads; i++) {
		if (s->th[i].state != TH_ASLEEP && s->th[i].state != TH_GONE)
			return true;
		live |= s->th[i].state != TH_GONE;
	}
	return !live;
}

static bool lane_waits(const struct sim_pair *p, const struct sim_stack *s)
{
	for (uint32_t slot = 0; slot < SIM_SLOTS; slot++) {
		const struct ap_slot *own = &s->seg->ap[slot];
		uint32_t k = ~own->side & 1;

		if (own->pair_id == p->id && s->app.ap[slot].pair_id == p->id)
			return own->is_self ? s->seg->ap_self : p->mem->lane[k].wr != own->rd[k];
	}
	return false;
}

/* A1 */
void pair_check_sleepers(struct sim *w)
{
	for (uint32_t i = 0; i < 2 * w->n_pairs; i++) {
		const struct sim_pair *p = &w->pair[i / 2];
		const struct sim_stack *s = p->s[i % 2];

		/* Who holds the turn pays when it ends; who buries the dead rings for them. */
		if (p->over || p->tainted || s->gone || s->retired || s->in_turn ||
		    other_of(p, s)->in_turn || must_reap(s) || must_reap(other_of(p, s)))
			continue;
		if (lane_waits(p, s) && !somebody_is_up(s))
			sim_fail(w, "A1: events of pair %u wait, and all of stack %u sleep, front armed %u", p->id,
				 s->id, s->front->armed);
	}
}

/* ---- what is true (A2) ---------------------------------------------------------------------------- */

static struct end *other(const struct end *e) { return &e->talk->e[!e->server]; }

static bool has_ended(const struct end *e) { return e->shut || (e->started && !e->open); }

static void check_end(struct sim *w, struct turn *t, const struct end *e)
{
	const struct end *o = other(e);
	const struct sk *sk = sk_find(t, e->sk);
	uint64_t avail = o->tx_pos - e->rx_pos;

	if (!sk || !is_ap(sk) || sk->err || !(sk->items || sk->wait_mask))
		return;
	if (avail >= sk->rcvlowat && avail && !(ap_peek(t->map, sk) & EPOLLIN))
		sim_fail(w, "A2: conversation %u: a look without a turn does not show %llu bytes", e->talk->id,
			 (unsigned long long)avail);
	if (!(sk->ready & EPOLLIN) && ((avail && avail >= sk->rcvlowat) || has_ended(o)))
		sim_fail(w, "A2: conversation %u: %llu bytes%s for the %s, all events taken, and no EPOLLIN",
			 e->talk->id, (unsigned long long)avail, has_ended(o) ? " and an end" : "",
			 e->server ? "server" : "client");
	if ((sk->ready & EPOLLIN) && !avail && !has_ended(o))
		sim_fail(w, "A2: conversation %u: EPOLLIN for the %s, and nothing to read", e->talk->id,
			 e->server ? "server" : "client");
	if (has_ended(o) && !(sk->ready & EPOLLRDHUP))
		sim_fail(w, "A2: conversation %u: no EPOLLRDHUP for the %s", e->talk->id,
			 e->server ? "server" : "client");
	if (!(sk->ready & EPOLLOUT) && o->open && o->rx_pos == e->tx_pos && !w->k.ap_pages)
		sim_fail(w, "A2: conversation %u: all is read, all events are taken, and no EPOLLOUT for the %s",
			 e->talk->id, e->server ? "server" : "client");
}

void pair_check_ends(struct sim *w, struct sim_stack *s, struct turn *t)
{
	if (!w->k.aperture || s->retired || pair_waits(s, t->map))
		return;
	for (uint32_t i = 0; i < 2 * w->n_talks; i++) {
		const struct end *e = &w->talks[i / 2].e[i % 2];

		if (e->s == s && e->open && !e->talk->tainted && !e->killed && !other(e)->killed && other(e)->started)
			check_end(w, t, e);
	}
}

/* A3 */
void pair_check_counts(struct sim *w, const struct sim_stack *s)
{
	for (uint32_t slot = 0; slot < SIM_SLOTS && s->front; slot++) {
		const struct ap_slot *own = &s->seg->ap[slot];
		const struct ap_table *tab = &s->app.ap_tables[slot];
		const struct sim_pair *p = pair_of_id(w, own->pair_id);
		uint32_t known = 0;

		if (!p || s->gone)
			continue;
		if (own->n_socks)
			sim_fail(w, "A3: stack %u: pair %u has %u sockets left", s->id, p->id, own->n_socks);
		if (p->over || p->tainted)
			continue;
		for (uint32_t side = 0; side < 2; side++) {
			for (uint32_t c = 0; c < min_u32(own->top[side], AP_N_CHANS); c++)
				known += tab->chan[side][c].nonce != 0;
			if (tab->pool[side].n_taken > (w->k.ap_pages ? AP_POOL_PAGES - w->k.ap_pages - 1 : 0))
				sim_fail(w, "A3: stack %u: pair %u has %u pages of rings left", s->id, p->id,
					 tab->pool[side].n_taken);
		}
		if (known)
			sim_fail(w, "A3: stack %u: pair %u has %u channels left", s->id, p->id, known);
	}
}

/* ---- a hostile peer --------------------------------------------------------------------------------- */

static void taint(struct sim *w, struct sim_pair *p)
{
	if (!p->tainted)
		record_text(w, "pair %u is scribbled over", p->id);
	p->tainted = true;
	for (uint32_t i = 0; i < w->n_talks; i++)
		if (pair_between(w, w->talks[i].e[0].s, w->talks[i].e[1].s) == p)
			talk_taint(w, &w->talks[i]);
}

/* Mostly where something lives. */
static void scribble(struct sim *w, struct sim_pair *p)
{
	const struct ap_slot *own = &w->stack[0].seg->ap[0];
	struct ap_lane *l = &p->mem->lane[prng_below(&w->rng, 2)];
	uint32_t top = 4;

	for (uint32_t slot = 0; slot < SIM_SLOTS; slot++)
		if (own[slot].pair_id == p->id)
			top = max_u32(2, max_u32(own[slot].top[0], own[slot].top[1]));
	switch (prng_below(&w->rng, 10)) {
	case 0: return hostile_scribble(w, p->mem, AP_POOL_OFF);
	case 1: return hostile_scribble(w, l, offsetof(struct ap_lane, ev));
	case 2:
		return hostile_scribble(w, &l->ev[(l->wr - 1 - prng_below(&w->rng, 4)) & (AP_N_EVENTS - 1)],
					sizeof(l->ev[0]));
	case 3: return hostile_scribble(w, &l->var[(l->var_wr - prng_below(&w->rng, 64)) & (AP_VAR_WORDS - 1)], 4);
	case 4: return hostile_scribble(w, &w->stack[0].front->armed, 4);
	case 5: l->wr += prng_below(&w->rng, 6); return;
	case 6: return hostile_scribble(w, (uint8_t *)p->mem + AP_POOL_OFF, 64 * AP_PAGE);
	default:
		return hostile_scribble(w, &p->mem->chan[min_u32(prng_below(&w->rng, top) + 1, AP_N_CHANS - 1)],
					sizeof(struct ap_chan));
	}
}

/* Stack 0 writes nonsense wherever it may. */
void pair_hostile(struct sim *w)
{
	for (uint32_t i = 0; i < w->n_pairs; i++) {
		struct sim_pair *p = &w->pair[i];

		if (p->over || (p->s[0]->id && p->s[1]->id) || prng_below(&w->rng, 2))
			continue;
		taint(w, p);
		for (uint32_t n = 1 + prng_below(&w->rng, 8); n; n--)
			scribble(w, p);
		ring_pipe(w, p->s[0]);
		ring_pipe(w, p->s[1]);
	}
}
