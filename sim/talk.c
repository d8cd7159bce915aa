/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP conversations: who talks to whom about what, listeners, and which ends a thread looks
 * at in a turn. What one end does with its socket is in end.c.
 */
#include "sim/sim.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/epoll.h>

#include "sim/either.h"

/* ---- making ---------------------------------------------------------------------------------- */

static uint32_t round_bytes(const struct talk *k, uint32_t i, uint32_t server)
{
	uint64_t z = sim_hash(&(uint64_t[3]){ k->key[0], i, server }, 24);

	return 1 + (uint32_t)(z >> 16) % (server ? k->resp_max : k->req_max);
}

/* How far an end of a request/response conversation may send, having received rx_pos. */
uint64_t talk_limit_at(const struct end *e, uint64_t rx_pos)
{
	const struct talk *k = e->talk;
	uint64_t rx = 0, tx = 0;
	uint32_t i, ahead = e->server ? 0 : 1;

	if (!k->n_rounds)
		return e->tx_total;
	for (i = 0; i < k->n_rounds; i++) {
		rx += round_bytes(k, i, !e->server);
		if (rx > rx_pos)
			break;
	}
	for (uint32_t j = 0; j < min_u32(i + ahead, k->n_rounds); j++)
		tx += round_bytes(k, j, e->server);
	return tx;
}

uint64_t talk_limit(const struct end *e) { return talk_limit_at(e, e->rx_pos); }

static void set_opts(struct sim *w, struct tcp_opts *o)
{
	const struct knobs *k = &w->k;

	tcp_opts_default(o);
	o->cc = (uint8_t)prng_below(&w->rng, N_TCP_CC);
	o->ecn = (uint8_t)prng_below(&w->rng, 3);
	if (prng_below(&w->rng, 16) == 0)
		o->max_pacing = sim_skewed(w, 20000, 100000000);
	o->linger_s = -1;
	o->reuseaddr = 1;
	o->syncnt = 30;
	o->nodelay = prng_chance(&w->rng, 300000);
	o->oobinline = w->k.oob_ppm != 0;
	if (prng_chance(&w->rng, w->k.fiddle_ppm))
		o->notsent_lowat = (uint32_t)sim_skewed(w, 1, 30000);
	if (k->sndbuf && prng_chance(&w->rng, 700000)) {
		o->sndbuf = (uint32_t)sim_skewed(w, 2048, k->sndbuf);
		o->sndbuf_locked = 1;
	}
	if (k->rcvbuf && prng_chance(&w->rng, 700000)) {
		o->rcvbuf = (uint32_t)sim_skewed(w, 2048, k->rcvbuf);
		o->rcvbuf_locked = 1;
	}
	if (k->giant_ppm && prng_chance(&w->rng, k->giant_ppm)) {
		o->rcvbuf = INT32_MAX >> prng_below(&w->rng, 4);
		o->rcvbuf_locked = 1;
	}
	if (k->tiny_ppm && prng_chance(&w->rng, k->tiny_ppm)) {
		o->cork = prng_chance(&w->rng, 300000);
		o->quickack = prng_chance(&w->rng, 300000);
		o->maxseg = prng_chance(&w->rng, 300000) ? (uint32_t)sim_between(w, 88, 1460) : 0;
	}
	if (k->keepidle_s) {
		o->keepalive = 1;
		o->keepidle_s = k->keepidle_s;
		o->keepintvl_s = 1;
		o->keepcnt = 3;
	}
	o->user_timeout_ms = k->user_timeout_ms;
}

static void set_end(struct sim *w, struct talk *c, uint32_t side)
{
	const struct knobs *k = &w->k;
	struct end *e = &c->e[side];

	e->talk = c;
	e->server = side;
	e->abort_at = e->give_up_at = NEVER_NS;
	e->rd_max = (uint32_t)sim_skewed(w, 1, k->rd_max);
	e->wr_max = (uint32_t)sim_skewed(w, 1, k->wr_max);
	e->pause_ppm = prng_chance(&w->rng, 500000) ? k->pause_ppm : 0;
	e->pause_ns = k->pause_ns;
	e->n_rests = 40;
	if (k->lowat_ppm && prng_chance(&w->rng, k->lowat_ppm))
		e->lowat = (uint32_t)sim_skewed(w, 2, 3000000);
	e->think_ppm = prng_chance(&w->rng, 500000) ? k->think_ppm : 0;
	e->et = prng_chance(&w->rng, k->et_ppm);
	e->oneshot = !e->et && prng_chance(&w->rng, k->et_ppm / 2);
	set_opts(w, &c->opts[side]);
}

static void set_stream(struct sim *w, struct talk *c)
{
	const struct knobs *k = &w->k;
	uint64_t total[2] = { 0, 0 };

	if (k->rounds_ppm && prng_chance(&w->rng, k->rounds_ppm)) {
		c->n_rounds = 1 + (uint32_t)sim_skewed(w, 0, k->rounds_max - 1);
		c->req_max = 1 + (uint32_t)sim_skewed(w, 0, k->round_bytes_max);
		c->resp_max = 1 + (uint32_t)sim_skewed(w, 0, k->round_bytes_max);
		for (uint32_t i = 0; i < c->n_rounds; i++) {
			total[0] += round_bytes(c, i, 0);
			total[1] += round_bytes(c, i, 1);
		}
	} else {
		total[0] = sim_skewed(w, k->bytes_min, k->bytes_max);
		if (prng_chance(&w->rng, k->duplex_ppm))
			total[1] = sim_skewed(w, k->bytes_min, k->bytes_max);
		else if (prng_chance(&w->rng, 300000)) {
			total[1] = total[0];
			total[0] = 0;
		}
	}
	for (uint32_t i = 0; i < 2; i++) {
		c->e[i].tx_total = total[i];
		c->e[i].rx_total = total[!i];
		/* Small writes are for short streams: a world is not to last for ever. */
		c->e[i].wr_max = max_u32(c->e[i].wr_max, (uint32_t)(total[i] / 500));
		c->e[i].rd_max = max_u32(c->e[i].rd_max, (uint32_t)(total[!i] / 1000));
	}
}

static void set_ending(struct sim *w, struct talk *c)
{
	uint32_t ends = w->k.ends ? w->k.ends : END_ORDERLY, pick, side = prng_below(&w->rng, 2);

	do
		pick = 1u << prng_below(&w->rng, 7);
	while (!(pick & ends));
	c->e[0].closer = pick & (END_CLIENT_CLOSES | END_BOTH_CLOSE | END_CLIENT_EAGER | END_LINGER0);
	c->e[1].closer = pick & (END_SERVER_CLOSES | END_BOTH_CLOSE);
	c->e[0].shutter = c->e[1].shutter = pick & END_HALF_CLOSE;
	c->e[0].eager = (pick & END_CLIENT_EAGER) && !c->e[0].rx_total;
	c->e[0].linger0 = pick & END_LINGER0;
	if (pick & END_ABORT) {
		c->e[side].abort_at = sim_skewed(w, 0, c->e[0].tx_total + c->e[1].tx_total);
		c->e[side].closer = true;
	}
	if (pick & (END_ABORT | END_LINGER0))
		c->may_fail = true;
}

static struct ipaddr loopback(struct sim *w, bool v6)
{
	return v6 ? (struct ipaddr){ { [15] = 1 } } : ip_from4(0x7f000001 + prng_below(&w->rng, 2));
}

static void talk_one(struct sim *w, struct talk *c)
{
	struct sim_stack *a, *b;

	a = &w->stack[w->path ? 0 : prng_below(&w->rng, w->n_stacks)];
	do
		b = &w->stack[prng_below(&w->rng, w->n_stacks)];
	while (b->host == a->host && !w->k.aperture);
	c->id = (uint32_t)(c - w->talks);
	c->key[0] = prng_u64(&w->rng);
	c->key[1] = prng_u64(&w->rng);
	c->v6 = prng_chance(&w->rng, w->k.v6_ppm);
	c->may_fail = w->k.may_fail;
	c->laddr = c->v6 ? a->host->a6 : a->host->a4;
	c->raddr = c->v6 ? b->host->a6 : b->host->a4;
	c->ap = a->host == b->host;
	if (w->k.loopback_ppm && prng_chance(&w->rng, w->k.loopback_ppm))
		c->laddr = c->raddr = loopback(w, c->v6);
	c->rport = (uint16_t)(SIM_PORT * (b->place + 1) + c->v6);
	set_end(w, c, 0);
	set_end(w, c, 1);
	set_stream(w, c);
	set_ending(w, c);
	if (w->path)
		path_talk(w, c);
	c->e[0].s = a;
	c->e[1].s = b;
	c->e[0].thread = prng_below(&w->rng, a->n_threads);
	c->e[0].proc = a->th[c->e[0].thread].proc;
	c->e[0].start_at = 10000 + sim_between(w, 0, w->k.spread_ns);
}

void talk_make(struct sim *w)
{
	w->n_talks = min_u32(w->k.n_talks, SIM_TALKS);
	w->talks = calloc(w->n_talks + 1, sizeof(*w->talks));
	must(w->talks);
	for (uint32_t i = 0; i < w->n_talks; i++)
		talk_one(w, &w->talks[i]);
}

struct talk *talk_of_frame(struct sim *w, const struct ipaddr *laddr, uint16_t lport,
			   const struct ipaddr *raddr, uint16_t rport, bool *ret_from_client)
{
	for (uint32_t i = w->n_talks; i; i--) {
		struct talk *c = &w->talks[i - 1];

		if (c->e[0].started && !c->e[0].finished && c->lport == lport && c->rport == rport &&
		    ip_eq(&c->laddr, laddr) && ip_eq(&c->raddr, raddr)) {
			*ret_from_client = true;
			return c;
		}
	}
	return NULL;
}

/* The conversation of a segment from client to server whose two ends are both at it. */
struct talk *talk_of_ports(struct sim *w, uint16_t lport, uint16_t rport)
{
	for (uint32_t i = w->n_talks; i; i--) {
		struct talk *c = &w->talks[i - 1];

		if (c->lport == lport && c->rport == rport && c->e[0].open && c->e[1].open)
			return c;
	}
	return NULL;
}

/* ---- opening ------------------------------------------------------------------------------------ */

void talk_listen(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th)
{
	struct tcp_opts o;
	struct ipaddr any[2] = { ip_from4(0), { { 0 } } };
	const struct ipaddr *at;
	uint16_t port;
	struct sk *sk;
	int err;

	for (uint32_t i = 0; i < 2; i++) {
		set_opts(w, &o);
		if (w->path)
			path_opts(w, &o);
		o.v6only = 1;
		o.family6 = (uint8_t)i;
		at = w->k.loopback_ppm || prng_chance(&w->rng, 500000) ? &any[i] : i ? &s->host->a6 : &s->host->a4;
		port = (uint16_t)(SIM_PORT * (s->place + 1) + i);
		err = tcp_listen(t, &o, at, port, w->k.backlog, &sk);
		if (err == -ENOBUFS && w->k.mishap_ppm) {
			i--;
			continue;
		}
		if (err)
			sim_fail(w, "tcp_listen(): %d", err);
		for (uint32_t p = 0; p < s->n_procs; p++)
			if (s->proc[p].live)
				sk_ref(t, sk, p);
		s->listener[i] = sk_handle(sk);
		if (w->k.aperture)
			pair_list_port(w, s, at, port);
	}
	s->listening = true;
	w->n_listening++;
	(void)th;
}

static void watch_listeners(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct sk *sk = sk_find(t, s->listener[i]);
		uint32_t excl = s->n_threads > 1 && prng_chance(&w->rng, 500000) ? EPOLLEXCLUSIVE : 0;

		if (sk && ep_add(t, th->ep, sk, (int32_t)(1000 + i), EPOLLIN | excl, UINT64_MAX))
			sim_fail(w, "ep_add() of a listener");
	}
}

static struct end *end_of_accepted(struct sim *w, struct sim_stack *s, const struct sk *sk)
{
	for (uint32_t i = 0; i < w->n_talks; i++) {
		struct talk *c = &w->talks[i];

		if (c->e[1].s != s || !c->e[0].started || c->lport != sk->rport || c->rport != sk->lport ||
		    !ip_eq(&c->laddr, &sk->raddr) || c->mark != either_mark(sk, true))
			continue;
		if (c->accepted && c->tainted)
			continue;
		if (c->accepted)
			sim_fail(w, "S4: conversation %u is accepted twice", c->id);
		return &c->e[1];
	}
	return NULL;
}

/* Its program died within connect(), or there was none. */
static bool is_stray(const struct sim *w, const struct sk *sk)
{
	return w->k.slay_ppm || w->k.step_ppm || (is_ap(sk) && w->k.scribble_every_ns);
}

static void accept_all(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th)
{
	for (uint32_t i = 0; i < 2; i++) {
		struct sk *l = sk_find(t, s->listener[i]), *sk;
		uint32_t n = 1 + prng_below(&w->rng, 8);

		if (!l && s->proc[0].live)
			sim_fail(w, "S4: a listener has vanished");
		while (l && n && (sk = either_accept(w, t, l))) {
			struct end *e = end_of_accepted(w, s, sk);

			if (!e && is_stray(w, sk)) {
				either_close(w, t, sk);
				continue;
			}
			if (!e)
				sim_fail(w, "S4: accepted a connection that nobody made, from port %u", sk->rport);
			n--;
			e->talk->accepted = true;
			record_text(w, "stack %u: conversation %u accepted", s->id, e->talk->id);
			end_opened(w, t, e, sk, th);
		}
		if (l && !n)
			th->again = true;
	}
}

/* As sock/ does it: who serves that address, the pair with it (the agent may have to make one), a
 * channel. The local address is the remote one, as the kernel has it on its own host. */
static int connect_ap(struct sim *w, struct turn *t, struct end *e, struct sk **ret)
{
	struct talk *c = e->talk;
	uint32_t slot, id;
	int err;

	if (!ap_is_local(t->map, &c->raddr))
		sim_fail(w, "S4: an address of this host is not local");
	id = ap_lookup(t->map, IPPROTO_TCP, &c->raddr, c->rport);
	if (id && id != c->e[1].s->seg->stack_id)
		sim_fail(w, "S4: port %u is served by stack %u, says the directory", c->rport, id);
	if (!id || c->e[1].s->gone)
		return -ECONNREFUSED;
	if (ap_pair_find(t, id, &slot) || t->map->ap[slot].pair_id != t->map->seg->ap[slot].pair_id) {
		pair_want(w, e->s, c->e[1].s);
		return -EAGAIN;
	}
	step_in(w);
	err = ap_connect(t, slot, &c->opts[0], &c->laddr, 0, &c->raddr, c->rport, ret);
	step_out();
	return err;
}

static void connect_one(struct sim *w, struct turn *t, struct end *e, struct thread *th)
{
	struct talk *c = e->talk;
	struct ipaddr any = c->v6 ? (struct ipaddr){ { 0 } } : ip_from4(0);
	struct sk *sk;
	int err;

	c->opts[0].family6 = c->v6;
	if (c->ap)
		err = connect_ap(w, t, e, &sk);
	else
		err = tcp_connect(t, &c->opts[0], prng_below(&w->rng, 2) ? &any : &c->laddr, 0, &c->raddr, c->rport,
				  &sk);
	if (c->ap && err == -EAGAIN) {
		e->start_at = w->now + sim_between(w, 10000, NS_PER_MS);
		return;
	}
	if (err == -EADDRNOTAVAIL || err == -ENOBUFS || err == -ENOMEM || err == -EAGAIN) {
		e->start_at = w->now + sim_between(w, NS_PER_MS, 500 * NS_PER_MS);	/* tried again */
		return;
	}
	if ((err == -EHOSTUNREACH || err == -ECONNREFUSED) && c->may_fail)
		return end_finish(w, e, err);
	if (err)
		sim_fail(w, "S4: tcp_connect(): %d", err);
	e->started = true;
	c->lport = sk->lport;
	c->mark = either_mark(sk, false);
	record_text(w, "stack %u: conversation %u connects from port %u: %llu bytes there, %llu back, %u rounds",
		    e->s->id, c->id, c->lport, (unsigned long long)c->e[0].tx_total,
		    (unsigned long long)c->e[1].tx_total, c->n_rounds);
	end_opened(w, t, e, sk, th);
}

/* ---- a thread's share of a turn ------------------------------------------------------------------- */

static void collect(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th)
{
	struct ep_event ev[16];
	uint32_t n = ep_collect(t, th->ep, ev, 1 + prng_below(&w->rng, n_elems(ev)));

	if (n)
		th->again = true;
	for (uint32_t i = 0; i < n; i++) {
		sim_digest(w, ev[i].data << 32 | ev[i].events);
		if (ev[i].data == UINT64_MAX) {
			accept_all(w, t, s, th);
			continue;
		}
		if (ev[i].data >= 2 * w->n_talks || ev[i].fd != (int32_t)ev[i].data)
			sim_fail(w, "S4: epoll reports data nobody registered");
		end_event(w, t, &w->talks[ev[i].data / 2].e[ev[i].data % 2], ev[i].events);
	}
}

static bool mine(const struct end *e, const struct sim_stack *s, const struct thread *th)
{
	return e->s == s && e->thread == th->i && !e->finished && !e->killed;
}

static void close_what_is_left(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th)
{
	struct sk *sk;

	if (th->ep.v)
		ep_put(t, th->ep);
	th->ep.v = 0;
	for (uint32_t i = 0; i < 2; i++) {
		sk = sk_find(t, s->listener[i]);
		if (sk && s->listening && sk_unref(t, sk, th->proc))
			net_close(t, sk);
	}
	for (uint32_t i = 0; i < 2 * w->n_talks; i++) {	/* inherited from one that was killed */
		const struct end *e = &w->talks[i / 2].e[i % 2];

		sk = e->s == s && e->killed ? sk_find(t, e->sk) : NULL;
		if (sk && sk->procs & 1ull << th->proc && sk_unref(t, sk, th->proc))
			net_close(t, sk);
	}
	if (th->waiter >= 0)
		waiter_release(&s->app, th->waiter);
	th->waiter = -1;
	th->closed = true;
}

void talk_run(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th)
{
	if (w->closing)
		return close_what_is_left(w, t, s, th);
	if (!s->listening && th->i == 0)
		talk_listen(w, t, s, th);
	if (th->mode == TH_EPOLL && !th->ep.v) {
		th->ep = ep_get(t);
		if (!th->ep.v)
			sim_fail(w, "ep_get() has none left");
		ep_at(t, th->ep)->procs |= 1ull << th->proc;
		watch_listeners(w, t, s, th);
	}
	if (th->mode == TH_EPOLL)
		collect(w, t, s, th);
	else if (s->listening)
		accept_all(w, t, s, th);
	for (uint32_t i = 0; i < w->n_talks; i++) {
		struct talk *c = &w->talks[i];
		struct end *e = &c->e[0];

		if (mine(e, s, th) && !e->started && e->start_at <= w->now && w->n_listening == w->n_stacks)
			connect_one(w, t, e, th);
		for (uint32_t side = 0; side < 2; side++) {
			e = &c->e[side];
			if (e->open && mine(e, s, th))
				end_run(w, t, e, &th->again);
		}
	}
	/* What is on the ready list now, epoll_wait() would report without sleeping. */
	if (th->mode == TH_EPOLL && ep_at(t, th->ep)->n_ready)
		th->again = true;
}

uint64_t talk_next_at(struct sim *w, struct sim_stack *s, struct thread *th)
{
	uint64_t at = NEVER_NS;

	if (w->closing)		/* held a turn when it was time to close */
		return th->closed ? at : w->now + 1000;
	if (!s->listening)
		return w->now + 10000;
	for (uint32_t i = 0; i < 2 * w->n_talks; i++) {
		const struct end *e = &w->talks[i / 2].e[i % 2];

		if (!mine(e, s, th))
			continue;
		if (!e->server && !e->started)
			at = min_u64(at, max_u64(e->start_at, w->n_listening == w->n_stacks ? 0 : w->now + 10000));
		if (!e->open)
			continue;
		at = min_u64(at, e->give_up_at);
		/* Of a rest that ended while the turn was held, nobody has heard. */
		if (e->pause_until > th->turn.now)
			at = min_u64(at, e->pause_until);
		if (e->think_until > th->turn.now)
			at = min_u64(at, e->think_until);
	}
	return at;
}

/* Puts the thread's bit where it waits, or takes it away. */
void talk_sleep(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th, bool asleep)
{
	uint32_t bit = th->waiter >= 0 ? 1u << th->waiter : 0;
	struct sk *sk;

	if (th->mode == TH_EPOLL) {
		if (th->ep.v && asleep)
			ep_at(t, th->ep)->wait_mask |= bit;
		else if (th->ep.v)
			ep_at(t, th->ep)->wait_mask &= ~bit;
		return;
	}
	for (uint32_t i = 0; i < 2 * w->n_talks + 2; i++) {
		const struct end *e = &w->talks[i / 2].e[i % 2];

		if (i < 2 * w->n_talks && (!e->open || !mine(e, s, th)))
			continue;
		sk = sk_find(t, i < 2 * w->n_talks ? e->sk : s->listener[i % 2]);
		if (!sk)
			continue;
		sk->wait_mask = asleep ? sk->wait_mask | bit : sk->wait_mask & ~bit;
		if (asleep)
			either_want(w, t, sk);
	}
}

void talk_proc_died(struct sim *w, struct sim_stack *s, uint32_t proc)
{
	for (uint32_t i = 0; i < 2 * w->n_talks; i++) {
		struct talk *c = &w->talks[i / 2];
		struct end *e = &c->e[i % 2];

		if (e->s == s && (proc == 0 || s->n_procs == 1) && e->server && !c->accepted)
			c->may_fail = true;
		if (e->s != s || e->proc != proc || e->finished)
			continue;
		if (e->server && !c->accepted)
			continue;
		c->may_fail = true;
		e->killed = true;
		e->open = false;
		end_finish(w, e, 0);
	}
}

/* Nothing is promised any more: its programs give up soon. */
void talk_taint(struct sim *w, struct talk *c)
{
	c->tainted = c->may_fail = true;
	for (uint32_t i = 0; i < 2; i++) {
		struct end *e = &c->e[i];

		if (e->finished || !e->open)
			continue;
		e->give_up_at = min_u64(e->give_up_at, w->now + sim_skewed(w, 1000, NS_PER_S));
		thread_wake(w, e->s, &e->s->th[e->thread], 1000);
	}
}
