/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The surrogate: stands in for processes that do not come to their stack (stopped, busy,
 * dead), and lives until the last connection is over.
 *
 *   with processes:  look (watchdog.h) -> perhaps a turn -> sleep -> look
 *   without:         OWNER: frames and timers as they come, until there are no connections
 *
 * Invariants
 *  G1  It never waits for the door. A door shut by the living takes an errand; one shut by
 *      the dead is adopted, and the stack checked, or condemned.
 *  G2  It does not leave while a process of the stack lives, whatever state the stack is in.
 *  G3  It leaves only between turns.
 *  G4  The agent is of use, not needed: without it, ports stay leased and neighbours unasked.
 *  G5  What it takes off the pipe may have been meant for a sleeper of the program. So it takes a
 *      turn then, or leaves word on the door, and whoever sleeps for what came is woken (S0c-ISR).
 *
 * Trust: whatever the segment says is a tenant's word. Process ids in it choose which pidfds
 * are watched, no more; walks are bounded; the core runs with map->strong.
 *
 * Process ids. A slot's pid is in the pid namespace of the process that wrote it. When that
 * is not ours (conf->foreign_pids) only the process that the agent named is watched, all
 * slots die with it, and no holder is taken for dead while it lives.
 */
#include "exec/exec.h"

#include <errno.h>

#include "base/atomic.h"
#include "core/ap/ap.h"
#include "core/net/net.h"
#include "core/stack/stack.h"
#include "exec/bury.h"
#include "exec/ctl.h"
#include "exec/estate.h"
#include "exec/parts.h"
#include "exec/watchdog.h"
#include "host/sys.h"

#define WATCHDOG_MS	10
#define UNBORN_NS	(10 * NS_PER_S)	/* a slot claimed for a child that never said its pid */
/* Only TIME_WAIT is left: long enough to answer a last FIN sent again, not the 60 s that a
 * program's own stack keeps it. A dead program's stack holds its port blocks, thousands of
 * ports, and its place among its user's 16 stacks: short-lived clients, one after another,
 * ran out of both. A FIN that comes even later meets the kernel's reset. */
#define OWNER_TW_NS	(3 * NS_PER_S)
#define OWNER_NS	(1200 * NS_PER_S)	/* TCP gives up on a silent peer after some 924 s */
#define OWNER_NAP_NS	(1 * NS_PER_S)
#define PORTS_AGAIN_NS	(1 * NS_PER_S)
#define REAP_TRIES	100		/* looks; then whoever holds the door may bury, and ports stay leased */
#define NAP_MIN_NS	(100 * NS_PER_US)
#define AGENT_MS	200		/* a slow agent must not keep us from the stack for long */

#define APP_SLOT	N_PROCS		/* the process the agent named, slot or no slot */

struct ward {			/* a process whose death we await */
	uint32_t pid;		/* 0: none */
	int	 pidfd;		/* -1: not opened */
	uint64_t since;		/* first seen; for pid 0 in a live slot */
};

struct surrogate {
	struct exec *x;
	const struct surrogate_conf *conf;
	uint64_t watchdog_ns;
	struct watch watch;
	struct ward wards[N_PROCS + 1];
	bool	 heard;		/* G5: somebody rang, and nobody has looked */
	bool	 deaths;	/* slots were marked PROC_DEAD and not yet buried */
	uint32_t reap_tries;	/* ... because the door was shut, so many times */
	uint64_t ports_at;	/* when ports may be asked for next */
	uint16_t ports_base;	/* granted, not yet in the stack */
	struct estate estate;
};

static bool told_to_stop(const struct surrogate *s)
{
	/* relaxed: set by a signal handler of this thread */
	return s->conf->stop &&
	       atomic_load_explicit((_Atomic int *)(uintptr_t)s->conf->stop, memory_order_relaxed);
}

/* ---- processes --------------------------------------------------------------------------------- */

static void ward_forget(struct ward *w)
{
	if (w->pidfd >= 0)
		(void)sys_close(w->pidfd);
	*w = (struct ward){ .pidfd = -1 };
}

/* False: there is no such process. */
static bool ward_watch(struct ward *w, uint32_t pid, uint64_t now)
{
	int fd;

	if (w->pid == pid && w->pidfd >= 0)
		return true;
	ward_forget(w);
	fd = pid <= INT32_MAX ? sys_pidfd_open((int)pid, 0) : -ESRCH;
	if (fd == -ESRCH || fd == -EINVAL)
		return false;
	/* Any other error (-EMFILE): taken for alive, asked again at the next look. */
	w->pid = pid;
	w->pidfd = fd < 0 ? -1 : fd;
	w->since = now;
	return true;
}

static bool ward_is_dead(const struct ward *w)
{
	struct pollfd p = { .fd = w->pidfd, .events = POLLIN };
	struct timespec zero = { 0, 0 };

	return w->pidfd >= 0 && sys_ppoll(&p, 1, &zero, NULL) == 1;
}

static bool app_is_alive(const struct surrogate *s)
{
	return s->wards[APP_SLOT].pid != 0;
}

static bool slot_is_alive(struct surrogate *s, uint32_t i, uint32_t pid, uint64_t now)
{
	struct ward *w = &s->wards[i];

	if (s->conf->foreign_pids)
		return app_is_alive(s);
	if (!pid) {		/* about to be forked; its parent is not to be mistaken for it */
		if (w->pid)
			ward_forget(w);
		if (!w->since)
			w->since = now;
		return now - w->since < UNBORN_NS;
	}
	return ward_watch(w, pid, now) && !ward_is_dead(w);
}

static void declare_dead(struct surrogate *s, uint32_t i)
{
	_Atomic uint32_t *state = (_Atomic uint32_t *)&s->x->map.seg->procs[i].state;
	uint32_t live = PROC_LIVE;

	/* A compare-and-swap, because its owner may free the slot in a turn of its own.
	 * rel: pairs with acq in bury_processes() */
	if (atomic_compare_exchange_strong_explicit(state, &live, PROC_DEAD, memory_order_release,
						    memory_order_relaxed))
		s->deaths = true;
	ward_forget(&s->wards[i]);
}

/* Looks at all slots; returns how many processes live. */
static uint32_t count_living(struct surrogate *s, uint64_t now)
{
	const struct proc_slot *procs = s->x->map.seg->procs;
	struct ward *app = &s->wards[APP_SLOT];
	uint32_t n = 0;

	if (app->pid && (!ward_watch(app, app->pid, now) || ward_is_dead(app)))
		ward_forget(app);
	n += app_is_alive(s);
	for (uint32_t i = 0; i < N_PROCS; i++) {
		/* acquire32(): pairs with rel in exec_join() */
		uint32_t state = acquire32(&procs[i].state);

		if (state != PROC_LIVE) {
			if (s->wards[i].pidfd >= 0 || s->wards[i].since)
				ward_forget(&s->wards[i]);
			s->deaths |= state == PROC_DEAD;
		} else if (slot_is_alive(s, i, peek32(&procs[i].pid), now)) {
			n++;
		} else {
			declare_dead(s, i);
		}
	}
	return n;
}

/* ---- turns ------------------------------------------------------------------------------------------ */

/* G1. `alone`: no process is left, so whoever holds the door is dead. */
static bool holder_is_dead(const struct surrogate *s, uint64_t door, bool alone)
{
	uint32_t tid = (uint32_t)(door >> DOOR_TID_SHIFT);
	uint32_t who = (uint32_t)(door >> DOOR_WHO_SHIFT) & 0xff;

	if (!(door & DOOR_HELD))
		return false;
	if (alone)
		return true;
	/* A surrogate's tid is in our namespace, whatever the application's is. */
	if (s->conf->foreign_pids && who != EXEC_SURROGATE)
		return false;
	return tid == host_tid() || !host_tid_alive(tid);
}

static bool take_turn(struct surrogate *s, struct turn *t, uint64_t errand, bool alone)
{
	struct exec *x = s->x;
	uint32_t tid = host_tid();
	uint64_t door;

	if (turn_try(t, &x->map, x->who, tid, x->proc, host_now(), errand))
		return true;
	door = peek64(&x->map.seg->door);
	if (!holder_is_dead(s, door, alone))
		return false;
	if (!turn_adopt(t, &x->map, x->who, tid, host_now(), (uint32_t)(door >> DOOR_TID_SHIFT)))
		return false;
	bury_holder(t);
	return true;
}

static void add_ports(struct surrogate *s, struct turn *t)
{
	if (s->ports_base && port_block_add(t, s->ports_base) == 0)
		s->ports_base = 0;
}

/* One turn for the stack; false: the door is shut, and knows what we came for. */
static bool stand_in(struct surrogate *s, uint32_t due, bool alone)
{
	uint64_t errand = 0;
	struct turn t;
	uint32_t n = 0;

	/* Burying is better done here, where the estate is noted first. */
	if (s->deaths && ++s->reap_tries > REAP_TRIES)
		errand |= DOOR_ERRAND_REAP;
	if (due & DUE_RX)
		errand |= DOOR_ERRAND_RX | DOOR_ERRAND_ARM;
	if (due & DUE_TICK)
		errand |= DOOR_ERRAND_TICK;
	if (!take_turn(s, &t, errand, alone))
		return false;
	if (s->deaths) {
		estate_note(&s->estate, &t);
		bury_processes(&t);
		s->deaths = false;
		s->reap_tries = 0;
	}
	if (!peek32(&t.map->seg->condemned)) {
		add_ports(s, &t);
		n = exec_round(s->x, &t);
		/* S0c-ISR-01 (6): unless somebody was woken, who will see to it himself. */
		if (due && exec_arms(&t))
			n += exec_round(s->x, &t);
		if (due)
			ev(&t, EV_SURROGATE_TURN, 0, due, n);
		if (due & (DUE_TX | DUE_KICK))
			poke32(&t.map->seg->kicks_owed, (1u << t.map->n_vis) - 1);
	}
	exec_end(s->x, &t, false);
	if (t.trims)
		exec_trim(s->x, t.trims);
	if (peek32(&s->x->map.seg->n_flows_over))
		exec_flows_over(s->x);
	return true;
}

/* ---- the agent ---------------------------------------------------------------------------------------- */

static void agent_gone(struct surrogate *s)
{
	if (s->x->ctl_fd >= 0)
		(void)sys_close(s->x->ctl_fd);
	s->x->ctl_fd = -1;
}

/* Ports for the application's next connect(), so that it need not ask itself. */
static void fetch_ports(struct surrogate *s, uint64_t now)
{
	struct ctl_call c;
	int err;

	if (s->ports_base || now < s->ports_at || s->x->ctl_fd < 0 ||
	    !peek32(&s->x->map.seg->port_scarce))
		return;
	s->ports_at = now + PORTS_AGAIN_NS;
	ctl_prepare(&c, CTL_PORTS_GET);
	c.timeout_ms = AGENT_MS;
	err = exec_call(s->x, &c);
	for (uint32_t i = 0; i < c.n_fds; i++)
		(void)sys_close(c.fds[i]);
	if (!err)
		s->ports_base = c.msg.u.ports.base;
	else if (err == -EPIPE)
		agent_gone(s);
}

/* The agent says nothing of itself: what comes is a late reply, or its end. */
static void hear_agent(struct surrogate *s)
{
	struct ctl_msg scrap;
	ssize_t n;

	do {
		n = sys_recvfrom(s->x->ctl_fd, &scrap, sizeof(scrap), MSG_DONTWAIT, NULL, NULL);
	} while (n > 0);
	if (n != -EAGAIN && n != -EINTR)
		agent_gone(s);
}

/* ---- sleeping ------------------------------------------------------------------------------------------- */

/* Until a frame (if wanted), a death, the agent's end, a signal, or the time is over. */
static void sleep_for(struct surrogate *s, uint64_t ns, bool on_frames)
{
	struct timespec to = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
	struct pollfd p[N_PROCS + 1 + N_VIS + 3];
	unsigned n = 0, agent;

	/* S0c-IRQ-02: whoever posts from here on rings; what was posted before is seen now. */
	if (on_frames)
		irq_arm(&s->x->map);
	if (on_frames && ap_pending(&s->x->map))
		return;
	for (uint32_t i = 0; i <= N_PROCS; i++)
		if (s->wards[i].pidfd >= 0)
			p[n++] = (struct pollfd){ .fd = s->wards[i].pidfd, .events = POLLIN };
	agent = n;
	p[n++] = (struct pollfd){ .fd = s->x->ctl_fd, .events = POLLIN };
	for (uint32_t i = 0; on_frames && i < s->x->fds.n_vis; i++)
		p[n++] = (struct pollfd){ .fd = s->x->fds.xsk[i], .events = POLLIN };
	if (on_frames && s->x->fds.pipe > 0)
		p[n++] = (struct pollfd){ .fd = s->x->fds.pipe, .events = POLLIN };
	if (on_frames && s->x->fds.pipe > 0)
		p[n++] = (struct pollfd){ .fd = s->x->fds.bell[PEER_BELL], .events = POLLIN };
	if (sys_ppoll(p, n, &to, s->conf->sleep_mask) <= 0)
		return;
	if (p[agent].revents)
		hear_agent(s);
	if (on_frames && host_hear_pipe(&s->x->fds)) {
		irq_disarm(&s->x->map);		/* S0c-ISR-01 (1): it has been rung for */
		s->heard = true;
	}
	/* A device that is gone says so for ever: its frames no longer end a sleep. */
	for (unsigned i = agent + 1; i < n; i++)
		if (p[i].revents & (POLLERR | POLLHUP | POLLNVAL))
			host_nap(s->watchdog_ns);
}

/* ---- the two lives --------------------------------------------------------------------------------------- */

/* Pairs that are new are mapped before the dead are buried, or their peers would not hear of it.
 * One of the dead may hold the door: then it is adopted first. */
static void map_before_burial(struct surrogate *s, bool alone)
{
	struct turn t;

	if (!exec_pairs_changed(s->x) || !take_turn(s, &t, 0, alone))
		return;
	exec_end(s->x, &t, false);
	poke64(&s->x->pairs_at, 0);	/* the shut door was no fault of the agent's */
	(void)exec_pairs(s->x);
}

static bool look_at(struct surrogate *s)
{
	struct exec *x = s->x;
	struct peek now;
	uint64_t sleep_ns;
	uint32_t due;
	bool on_frames, shut;

	peek_take(&x->map, host_now(), &now);
	if (!count_living(s, now.now))
		return false;
	fetch_ports(s, now.now);
	/* Before anything is done with them: the dead are closed where their peers see it. */
	if (!now.condemned && exec_pairs(x) == 0)
		peek_take(&x->map, host_now(), &now);
	due = watch_look(&s->watch, &now, s->watchdog_ns) | (s->heard ? DUE_RX : 0);
	s->heard = false;
	if (s->deaths)
		map_before_burial(s, false);
	if (due || s->deaths || s->ports_base) {
		shut = !stand_in(s, due, false);
		peek_take(&x->map, host_now(), &now);
		watch_done(&s->watch, &now, shut);
	}
	if (s->estate.n)
		(void)!estate_settle(&s->estate, x);
	sleep_ns = watch_sleep_ns(&s->watch, s->watchdog_ns, &on_frames);
	/* Somebody to bury, ports to hand in, behind a shut door: try again soon. */
	if (s->deaths || s->ports_base || s->estate.n)
		sleep_ns = min_u64(sleep_ns, s->watchdog_ns);
	sleep_for(s, sleep_ns, on_frames);
	return true;
}

/* The processes are gone: their references go, and what is left is ours. */
static void inherit(struct surrogate *s)
{
	struct exec *x = s->x;
	struct turn t;

	map_before_burial(s, true);
	if (!take_turn(s, &t, 0, true))
		return;		/* impossible door: own_until_done() finds it condemned or free */
	ev(&t, EV_SURROGATE_OWNER, 0, peek32(&x->map.seg->n_conns), 0);
	if (!peek32(&x->map.seg->condemned))
		estate_note(&s->estate, &t);
	bury_everybody(&t);
	/* They may have spoilt it outside their turns: then there is nothing to be done for it, and who
	 * counts on what it says of its connections would stay for as long as TCP is patient. */
	if (!bury_unsound(&t))
		(void)exec_round(x, &t);
	s->deaths = false;
	exec_end(x, &t, false);
	(void)!estate_settle(&s->estate, x);
}

static bool is_done(const struct segment *seg, uint64_t now, uint64_t born, uint64_t *tw_since)
{
	uint32_t n = peek32(&seg->n_conns);

	if (!n || peek32(&seg->condemned) || now - born > OWNER_NS)
		return true;
	if (n > peek32(&seg->n_tw)) {
		*tw_since = 0;
		return false;
	}
	if (!*tw_since)
		*tw_since = now;
	return now - *tw_since > OWNER_TW_NS;
}

static void own_until_done(struct surrogate *s)
{
	const struct segment *seg = s->x->map.seg;
	uint64_t born = host_now(), now = born, tw_since = 0, deadline;
	struct turn t;

	while (!told_to_stop(s) && !is_done(seg, now, born, &tw_since)) {
		(void)exec_pairs(s->x);
		if (take_turn(s, &t, 0, true)) {
			(void)exec_round(s->x, &t);
			exec_end(s->x, &t, false);
		}
		if (peek32(&seg->n_flows_over))
			exec_flows_over(s->x);
		now = host_now();
		deadline = peek64(&seg->deadline);
		deadline = deadline > now ? min_u64(deadline - now, OWNER_NAP_NS) : 0;
		sleep_for(s, max_u64(deadline, NAP_MIN_NS), true);
		s->heard = false;	/* a turn comes next, whoever rang */
		now = host_now();
		/* A child that nobody knew of, or a new program under the same stack. */
		if (count_living(s, now))
			return;
	}
}

int exec_surrogate(struct exec *x, const struct surrogate_conf *conf)
{
	static struct surrogate s;	/* one a process; too big for a stack */

	memset(&s, 0, sizeof(s));
	s.x = x;
	s.conf = conf;
	s.watchdog_ns = (conf->watchdog_ms ? conf->watchdog_ms : WATCHDOG_MS) * NS_PER_MS;
	for (uint32_t i = 0; i <= N_PROCS; i++)
		s.wards[i].pidfd = -1;
	s.wards[APP_SLOT].pid = conf->app_pid;
	s.watch.active_at = host_now();
	peek_take(&x->map, s.watch.active_at, &s.watch.before);

	for (;;) {
		while (!told_to_stop(&s) && look_at(&s))
			;
		if (!told_to_stop(&s)) {
			inherit(&s);
			own_until_done(&s);
		}
		if (told_to_stop(&s) || !count_living(&s, host_now()))
			break;
	}
	for (uint32_t i = 0; i <= N_PROCS; i++)
		ward_forget(&s.wards[i]);
	return 0;
}
