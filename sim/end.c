/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One end of a TCP conversation, as a program would write it: reads when told that there is
 * something to read, writes when told that there is room, thinks, pauses, shuts down, closes.
 * An end that lives by epoll touches its socket only after an event, so a readiness that is
 * not reported hangs the conversation (S5). Every byte read is compared (S4).
 */
#include "sim/sim.h"

#include <errno.h>
#include <linux/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "sim/either.h"

#define PATIENCE_NS (150 * NS_PER_S)	/* for the other end of a conversation that failed */

static struct thread *thread_of(const struct end *e) { return &e->s->th[e->thread]; }
static bool by_epoll(const struct end *e) { return thread_of(e)->mode == TH_EPOLL; }
static struct end *other(const struct end *e) { return &e->talk->e[!e->server]; }

/* True if the network, and not we, can be blamed for an error. */
static bool explained(struct sim *w, const struct end *e)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->n_stacks; i++) {
		n += w->stack[i].seg->counters[EV_TCP_TIMEOUT];
		n += w->stack[i].seg->counters[EV_TCP_LISTEN_OVERFLOW];
	}
	return e->talk->may_fail || (n && !e->talk->ap);
}

/* Its peer may be gone, and it is never told. Through an aperture nothing is lost: it is told, or
 * it hangs (S5), unless the peer's socket lives on in another process. */
static bool may_be_left(const struct end *e)
{
	return !e->talk->ap || e->talk->tainted || other(e)->inherited;
}

void end_finish(struct sim *w, struct end *e, int err)
{
	struct end *o = other(e);

	if (e->finished)
		return;
	e->finished = true;
	e->err = err;
	record_text(w, "stack %u: %s of conversation %u is done, %s%d, sent %llu of %llu, received %llu of %llu",
		    e->s ? e->s->id : 9, e->server ? "server" : "client", e->talk->id, e->killed ? "killed, " : "",
		    err, (unsigned long long)e->tx_pos, (unsigned long long)e->tx_total,
		    (unsigned long long)e->rx_pos, (unsigned long long)e->rx_total);
	sim_digest(w, (uint64_t)e->talk->id << 32 | (uint32_t)err);
	sim_digest(w, e->rx_pos);
	if (err && !explained(w, e))
		sim_fail(w, "S4: %s of conversation %u fails with %d (%s), sent %llu of %llu, received %llu of %llu",
			 e->server ? "server" : "client", e->talk->id, -err, strerror(-err),
			 (unsigned long long)e->tx_pos, (unsigned long long)e->tx_total,
			 (unsigned long long)e->rx_pos, (unsigned long long)e->rx_total);
	if (err || e->killed || e->linger0 || e->abort_at != NEVER_NS) {
		e->talk->may_fail = true;
		if (!o->finished && o->open && may_be_left(o)) {
			o->give_up_at = w->now + PATIENCE_NS;
			/* It may be asleep for good, for what would tell it was lost with the
			 * rest: it looks up, and sleeps again as long as its patience lasts. */
			thread_wake(w, o->s, &o->s->th[o->thread], 1000);
		}
	}
}

/*
 * True if an end that waits in vain may be left by its peer: one that gave up after too many
 * time-outs, as wires that lose a fifth make happen, has told nobody, and the reset of one that
 * died before it accepted may be lost. It then gives up, too.
 */
bool end_excuse(struct sim *w, struct end *e)
{
	bool left = other(e)->finished || (!e->server && !e->talk->accepted && e->talk->may_fail);

	if (!e->open || !left || !explained(w, e) || e->give_up_at <= w->now)
		return false;
	if (!may_be_left(e))
		return false;
	e->give_up_at = w->now;
	e->talk->may_fail = true;
	thread_wake(w, e->s, thread_of(e), 1000);
	return true;
}

/* Its pair has been scribbled over. */
static bool is_tainted(struct sim *w, const struct end *e)
{
	const struct sim_pair *p = pair_between(w, e->s, other(e)->s);

	return p && p->tainted;
}

void end_opened(struct sim *w, struct turn *t, struct end *e, struct sk *sk, struct thread *th)
{
	uint32_t id = e->talk->id * 2 + e->server;
	struct tcp_opts o = e->talk->opts[e->server];

	e->sk = sk_handle(sk);
	e->thread = th->i;
	e->proc = th->proc;
	e->open = e->started = true;
	if (e->talk->may_fail && other(e)->finished && may_be_left(e))	/* over before it was accepted */
		e->give_up_at = w->now + PATIENCE_NS;
	sk_ref(t, sk, th->proc);
	if (e->s->n_procs > 1 && e->proc == 0 && prng_chance(&w->rng, 300000) && e->s->proc[1].live)
		sk_ref(t, sk, 1), e->inherited = true;	/* over fork */
	if (e->server && prng_chance(&w->rng, 500000))
		either_set_opts(t, sk, &o);
	e->can_read = e->can_write = !by_epoll(e);
	if (e->talk->ap && is_tainted(w, e))
		talk_taint(w, e->talk);
	if (!by_epoll(e))
		return;
	e->interest = EPOLLIN | EPOLLOUT | EPOLLRDHUP | (e->et ? EPOLLET : e->oneshot ? EPOLLONESHOT : 0);
	if (ep_add(t, th->ep, sk, (int32_t)id, e->interest, id))
		sim_fail(w, "ep_add() of conversation %u", e->talk->id);
	either_want(w, t, sk);
	e->registered = true;
}

void end_close(struct sim *w, struct turn *t, struct end *e)
{
	struct sk *sk = sk_find(t, e->sk);
	bool last = false;
	struct tcp_opts o;

	if (!sk)
		sim_fail(w, "S4: the socket of conversation %u vanished before close", e->talk->id);
	if (e->linger0) {
		either_get_opts(t, sk, &o);
		o.linger_s = 0;
		either_set_opts(t, sk, &o);
	}
	if (e->registered && ep_del(t, thread_of(e)->ep, sk, (int32_t)(e->talk->id * 2 + e->server)))
		sim_fail(w, "ep_del() of conversation %u", e->talk->id);
	e->registered = false;
	for (uint32_t p = 0; p < e->s->n_procs; p++) {
		if (sk->procs & 1ull << p)
			last = sk_unref(t, sk, p);
	}
	if (!last)
		sim_fail(w, "sk_unref() of the last process says it was not");
	either_close(w, t, sk);
	e->open = false;
}

static void end_over(struct sim *w, struct turn *t, struct end *e, int err)
{
	end_close(w, t, e);
	end_finish(w, e, err);
}

void end_event(struct sim *w, struct turn *t, struct end *e, uint32_t events)
{
	if (!e->open)
		sim_fail(w, "S4: event %#x for conversation %u, which is closed", events, e->talk->id);
	if (events & ~(EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLERR | EPOLLHUP | EPOLLPRI))
		sim_fail(w, "S4: epoll reports %#x", events);
	if ((events & EPOLLIN) && !e->et && !(e->interest & EPOLLIN))
		sim_fail(w, "S4: EPOLLIN reported, not asked for");
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP))
		e->can_read = true;
	if (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))
		e->can_write = true;
	if (events & (EPOLLERR | EPOLLHUP))
		e->pause_until = e->think_until = 0;
	(void)t;
}

/* ---- reading ------------------------------------------------------------------------------------- */

static uint8_t scratch[1 << 17];

static uint32_t cut_iov(struct sim *w, struct iovec *v, uint8_t *p, uint32_t n)
{
	uint32_t i, k = 1 + prng_below(&w->rng, 3), take;

	for (i = 0; i < k; i++) {
		take = i + 1 < k ? (uint32_t)sim_between(w, 0, n) : n;
		v[i] = (struct iovec){ p, take };
		p += take;
		n -= take;
	}
	return k;
}

static bool check_bytes(struct sim *w, const struct end *e, uint32_t n)
{
	if (e->talk->tainted)
		return true;
	if (e->rx_pos + n > e->rx_total)
		sim_fail(w, "S4: conversation %u: %u bytes at %llu, the stream has %llu", e->talk->id, n,
			 (unsigned long long)e->rx_pos, (unsigned long long)e->rx_total);
	if (!stream_same(e->talk->key[!e->server], e->rx_pos, scratch, n))
		sim_fail(w, "S4: conversation %u: wrong bytes within %llu+%u, received by %s", e->talk->id,
			 (unsigned long long)e->rx_pos, n, e->server ? "server" : "client");
	return true;
}

/*
 * The end of what comes through an aperture: all that the other program was told is sent has been
 * read, since it lay there already; a program that died within send() may have said more.
 */
static void check_ap_end(struct sim *w, const struct end *e, const char *what)
{
	const struct end *o = other(e);

	if (!e->talk->ap || e->talk->tainted)
		return;
	if (o->open && !o->shut && !o->killed && o->s->gone == false && o->s->retired == false)
		sim_fail(w, "S4: conversation %u: %s for the %s, whose peer has not ended", e->talk->id, what,
			 e->server ? "server" : "client");
	if (o->killed ? e->rx_pos < o->tx_pos : e->rx_pos != o->tx_pos)
		sim_fail(w, "S4: conversation %u: %s at %llu for the %s, of %llu that were sent", e->talk->id, what,
			 (unsigned long long)e->rx_pos, e->server ? "server" : "client",
			 (unsigned long long)o->tx_pos);
}

static void at_eof(struct sim *w, struct end *e)
{
	check_ap_end(w, e, "end of stream");
	if (!e->eof)
		record_text(w, "conversation %u: %s reads the end of the stream at %llu", e->talk->id,
			    e->server ? "server" : "client", (unsigned long long)e->rx_pos);
	if (e->rx_pos != e->rx_total && !explained(w, e))
		sim_fail(w, "S4: conversation %u: end of stream at %llu of %llu", e->talk->id,
			 (unsigned long long)e->rx_pos, (unsigned long long)e->rx_total);
	e->eof = true;
	e->can_read = false;
}

/*
 * SO_RCVLOWAT as a sensible program sets it: never more than is sure to come without a word from us.
 * What the peer has sent then wakes us, or what it has no room to send (is_pressed() in core/ap/conn.c).
 */
static void set_lowat(struct sim *w, struct turn *t, struct end *e, struct sk *sk)
{
	uint64_t sure = talk_limit_at(other(e), e->tx_pos) - e->rx_pos;

	if (!e->lowat || !is_ap(sk))
		return;
	sk->rcvlowat = (uint32_t)max_u64(min_u64(e->lowat, sure), 1);
	either_want(w, t, sk);
}

/* Linux reads up to the urgent mark and stops; whoever is there, and nobody else, is at the mark. */
static void check_mark(struct sim *w, struct turn *t, const struct end *e, struct sk *sk, uint64_t was)
{
	uint64_t end = other(e)->urg_end, at = end - 1;

	if (!is_ap(sk) || !w->k.oob_ppm || w->k.step_ppm || e->talk->tainted || other(e)->killed || e->killed)
		return;
	if (end && was < at && e->rx_pos > at)
		sim_fail(w, "S4: conversation %u: a read from %llu to %llu, over the urgent byte at %llu", e->talk->id,
			 (unsigned long long)was, (unsigned long long)e->rx_pos, (unsigned long long)at);
	if (ap_at_mark(t, sk) != (end && e->rx_pos == at))
		sim_fail(w, "S4: conversation %u: at %llu, urgent byte at %llu, SIOCATMARK says %d", e->talk->id,
			 (unsigned long long)e->rx_pos, (unsigned long long)at, ap_at_mark(t, sk));
	if (end && e->rx_pos <= at && !(sk->ready & EPOLLPRI))
		sim_fail(w, "S4: conversation %u: no EPOLLPRI at %llu, urgent byte at %llu", e->talk->id,
			 (unsigned long long)e->rx_pos, (unsigned long long)at);
}

/* 0 go on, 1 nothing more now, negative: an error for the program. */
static int read_once(struct sim *w, struct turn *t, struct end *e, struct sk *sk)
{
	uint32_t want = w->path ? e->rd_max : (uint32_t)sim_skewed(w, 1, e->rd_max), flags = 0;
	struct iovec v[3];
	int64_t r;

	if (w->path)
		flags = 0;
	else if (prng_chance(&w->rng, 20000))
		flags = TCP_RECV_PEEK;
	else if (prng_chance(&w->rng, 5000))
		flags = TCP_RECV_TRUNC;
	r = either_recv(w, t, sk, v, cut_iov(w, v, scratch, want), flags);
	if (r == -EAGAIN || (r == -ENOTCONN && sk->state == TCP_S_SYN_SENT)) {
		e->can_read = false;
		if ((sk->ready & EPOLLIN) && !e->talk->tainted)
			sim_fail(w, "S4: conversation %u: EPOLLIN, yet recv() says EAGAIN in %s", e->talk->id,
				 tcp_state_name(sk->state));
		return 1;
	}
	if (r < 0) {
		check_ap_end(w, e, "error");
		return (int)r;
	}
	if (r == 0) {
		at_eof(w, e);
		return 1;
	}
	if (r > want)
		sim_fail(w, "S4: recv() of %u returns %lld", want, (long long)r);
	if (flags != TCP_RECV_TRUNC)
		check_bytes(w, e, (uint32_t)r);
	if (flags == TCP_RECV_PEEK)
		return 0;
	e->rx_pos += (uint64_t)r;
	w->n_bytes += (uint64_t)r;
	check_mark(w, t, e, sk, e->rx_pos - (uint64_t)r);
	if (!is_ap(sk) && tcp_unread(t, sk) && !(sk->ready & EPOLLIN))
		sim_fail(w, "S4: %u bytes unread, yet no EPOLLIN", tcp_unread(t, sk));
	if (e->n_rests && prng_chance(&w->rng, e->pause_ppm)) {
		e->n_rests--;
		e->pause_until = w->now + sim_skewed(w, 1000, e->pause_ns);
		return 1;
	}
	return 0;
}

static int end_read(struct sim *w, struct turn *t, struct end *e, struct sk *sk)
{
	uint32_t n = 1 + prng_below(&w->rng, 16);
	int r = 0;

	while (n-- && e->can_read && !e->eof && e->pause_until <= w->now && !r)
		r = read_once(w, t, e, sk);
	return r < 0 ? r : 0;
}

/* ---- writing ------------------------------------------------------------------------------------- */

static int write_once(struct sim *w, struct turn *t, struct end *e, struct sk *sk, uint64_t limit)
{
	uint32_t n = (uint32_t)min_u64(w->path ? e->wr_max : sim_skewed(w, 1, e->wr_max), limit - e->tx_pos);
	uint32_t flags = 0;
	struct iovec v[3];
	int64_t r;

	if (w->k.tiny_ppm && e->tx_pos + n < limit && prng_chance(&w->rng, w->k.tiny_ppm / 2))
		flags = TCP_SEND_MORE;
	if (w->k.oob_ppm && prng_chance(&w->rng, w->k.oob_ppm))
		flags |= TCP_SEND_OOB;
	stream_fill(e->talk->key[e->server], e->tx_pos, scratch, n);
	r = either_send(w, t, sk, v, cut_iov(w, v, scratch, n), flags);
	if (r == -EAGAIN || (r == -ENOTCONN && sk->state == TCP_S_SYN_SENT)) {
		e->can_write = false;
		if ((sk->ready & EPOLLOUT) && !w->k.mishap_ppm && !e->talk->tainted)
			sim_fail(w, "S4: conversation %u: EPOLLOUT, yet send() says EAGAIN in %s", e->talk->id,
				 tcp_state_name(sk->state));
		return 1;
	}
	if (r < 0)
		return (int)r;
	if (r == 0 || r > n)
		sim_fail(w, "S4: send() of %u returns %lld", n, (long long)r);
	e->tx_pos += (uint64_t)r;
	if (flags & TCP_SEND_OOB && r == n)
		e->urg_end = e->tx_pos;
	if (e->n_rests && prng_chance(&w->rng, e->think_ppm)) {
		e->n_rests--;
		e->think_until = w->now + sim_skewed(w, 1000, e->pause_ns);
		return 1;
	}
	return 0;
}

static int end_write(struct sim *w, struct turn *t, struct end *e, struct sk *sk)
{
	uint32_t n = 1 + prng_below(&w->rng, 16);
	uint64_t limit = talk_limit(e);
	int r = 0;

	while (n-- && e->can_write && e->tx_pos < limit && e->think_until <= w->now && !r)
		r = write_once(w, t, e, sk, limit);
	return r < 0 ? r : 0;
}

/* ---- the end of it -------------------------------------------------------------------------------- */

/* Takes the cork out when all has been handed over: otherwise the tail may wait 200 ms. */
static void uncork(struct turn *t, struct end *e, struct sk *sk)
{
	struct tcp_opts o;

	either_get_opts(t, sk, &o);
	if (!o.cork)
		return;
	o.cork = 0;
	either_set_opts(t, sk, &o);
	e->talk->opts[e->server].cork = 0;
}

/* What programs do to sockets in mid-course. */
static void fiddle(struct sim *w, struct turn *t, struct sk *sk)
{
	struct tcp_info info;
	struct tcp_opts o;

	memset(&info, 0, sizeof(info));
	either_get_info(t, sk, &info, sizeof(info));
	sim_digest(w, info.tcpi_snd_cwnd);
	if (is_ap(sk))
		sim_digest(w, ap_unread(t, sk) + ap_at_mark(t, sk));
	else
		sim_digest(w, tcp_get_mss(t, sk) + tcp_unsent(t, sk) + tcp_unacked(t, sk) + tcp_is_drained(t, sk));
	either_get_opts(t, sk, &o);
	switch (prng_below(&w->rng, 6)) {
	case 0: o.nodelay = !o.nodelay; break;
	case 1: o.quickack = !o.quickack; break;
	case 2: o.keepalive = !o.keepalive; break;
	case 3: o.notsent_lowat = (uint32_t)sim_skewed(w, 0, 30000); break;
	case 4:
		o.rcvbuf = (uint32_t)sim_skewed(w, 2304, 400000);
		o.rcvbuf_locked = 1;
		break;
	default:
		o.sndbuf = (uint32_t)sim_skewed(w, 4608, 400000);
		o.sndbuf_locked = 1;
	}
	either_set_opts(t, sk, &o);
}

static int end_shut(struct sim *w, struct turn *t, struct end *e, struct sk *sk)
{
	int err;

	if (e->shut || !e->shutter || e->tx_pos != e->tx_total || sk->state == TCP_S_SYN_SENT)
		return 0;
	err = either_shutdown(w, t, sk, SHUT_WR);
	record_text(w, "conversation %u: %s shuts down writing: %d", e->talk->id, e->server ? "server" : "client", err);
	e->shut = true;
	return err;
}

static bool may_close(const struct end *e)
{
	if (e->eof && e->rx_pos < e->rx_total)	/* the other has died: nothing more will come */
		return true;
	if (e->tx_pos != e->tx_total)
		return false;
	if (e->shutter)
		return e->shut && e->eof;
	if (e->eager)
		return true;
	return e->eof || (e->closer && e->rx_pos == e->rx_total);
}

static void watch(struct sim *w, struct turn *t, struct end *e, struct sk *sk, bool *ret_again)
{
	uint32_t want = EPOLLRDHUP;

	if (!by_epoll(e)) {
		bool rd = e->can_read && !e->eof && e->pause_until <= w->now;
		bool wr = e->can_write && e->tx_pos < talk_limit(e) && e->think_until <= w->now;

		*ret_again |= rd || wr;
		e->can_read = e->can_write = true;
		return;
	}
	if (e->et) {
		*ret_again |= (e->can_read && !e->eof && e->pause_until <= w->now) ||
			      (e->can_write && e->tx_pos < talk_limit(e) && e->think_until <= w->now);
		return;
	}
	e->can_read = e->can_write = false;
	if (!e->eof && e->pause_until <= w->now)
		want |= EPOLLIN;
	else
		want &= ~(uint32_t)EPOLLRDHUP;
	if ((e->tx_pos < talk_limit(e) && e->think_until <= w->now) ||
	    (e->shutter && !e->shut && e->tx_pos == e->tx_total))
		want |= EPOLLOUT;
	if (e->oneshot)
		want |= EPOLLONESHOT;
	if (want != e->interest || e->oneshot) {
		e->interest = want;
		if (ep_mod(t, thread_of(e)->ep, sk, (int32_t)(e->talk->id * 2 + e->server), want,
			   e->talk->id * 2 + e->server))
			sim_fail(w, "ep_mod() of conversation %u", e->talk->id);
		either_want(w, t, sk);
	}
}

void end_run(struct sim *w, struct turn *t, struct end *e, bool *ret_again)
{
	struct sk *sk = sk_find(t, e->sk);
	int err;

	if (!sk)
		sim_fail(w, "S4: the socket of conversation %u vanished", e->talk->id);
	if (e->give_up_at <= w->now)
		return end_over(w, t, e, 0);
	if (e->tx_pos + e->rx_pos >= e->abort_at && sk->state != TCP_S_SYN_SENT) {
		record_text(w, "conversation %u: %s aborts", e->talk->id, e->server ? "server" : "client");
		either_abort(w, t, sk, ECONNABORTED);
		return end_over(w, t, e, 0);
	}
	if (w->k.fiddle_ppm && prng_chance(&w->rng, w->k.fiddle_ppm / 4))
		fiddle(w, t, sk);
	err = end_write(w, t, e, sk);
	if (!err)
		err = end_read(w, t, e, sk);
	if (!err && e->tx_pos == e->tx_total)
		uncork(t, e, sk);
	if (!err)
		err = end_shut(w, t, e, sk);
	if (err || may_close(e))
		return end_over(w, t, e, err);
	set_lowat(w, t, e, sk);
	watch(w, t, e, sk, ret_again);
}
