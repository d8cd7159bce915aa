/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Entering our stack from a call of the program, and leaving it: the one place that knows of
 * re-entry and of what is owed to the agent.
 *
 * A signal handler may run in the middle of our turn and call, say, write() on an accelerated
 * socket. Its own thread holds the door, so waiting would be for ever: such a call fails with
 * EINTR or EAGAIN (D5), both of which a handler must expect. close() cannot fail so: the
 * descriptor is remembered and closed when the turn has ended.
 */
#include "core/ap/ap.h"
#include "sock/self.h"

#include <errno.h>

thread_fast struct thread me;

bool sk_enter(struct turn *t)
{
	if (unlikely(me.in_turn))
		return false;
	me.in_turn = 1;
	/* A handler of this thread sees the flag before anything of the turn happens. */
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	exec_begin(&self.x, t);
	return true;
}

bool sk_enter_for(struct turn *t, uint32_t h)
{
	const struct sk *sk = sk_peek(h);

	if (!sk || sk->kind != SK_AP)
		return sk_enter(t);
	if (unlikely(me.in_turn))
		return false;
	me.in_turn = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	exec_begin_coarse(&self.x, t);
	return true;
}

static cold_fn void close_late(void)
{
	while (me.n_late)
		(void)sk_close(me.late[--me.n_late]);
}

int64_t late_close(int fd)
{
	if (me.n_late == SOCK_N_LATE)
		return -EINTR;
	me.late[me.n_late++] = fd;
	return 0;
}

#define PORTS_WAIT_MIN_NS (10 * NS_PER_MS)	/* a refusal is respected this long, at first */
#define PORTS_WAIT_MAX_NS NS_PER_S

/* One more block of ports. The agent may have none to give, and looking for one costs it
 * milliseconds: asked again only after a while that grows. Under seccomp not at all. */
int ask_ports(void)
{
	uint64_t now = host_now();
	int err;

	if (self.quiet || now < self.ports_at || me.in_turn)
		return -EAGAIN;
	agent_enter();
	err = exec_get_ports(&self.x);
	agent_leave();
	if (err) {
		self.ports_wait_ns = self.ports_wait_ns ? min_u64(2 * self.ports_wait_ns, PORTS_WAIT_MAX_NS) :
							  PORTS_WAIT_MIN_NS;
		self.ports_at = now + self.ports_wait_ns;
	} else {
		self.ports_wait_ns = 0;
	}
	return err;
}

void sk_leave(struct turn *t, bool defer_kick)
{
	uint64_t trims;
	uint32_t asks;

	exec_end(&self.x, t, defer_kick);
	asks = peek32(&self.x.map.seg->port_scarce);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	me.in_turn = 0;
	if (unlikely(asks))
		(void)!ask_ports();
	if (unlikely(peek32(&self.x.map.seg->n_flows_over)) && !self.quiet && !me.in_turn) {
		agent_enter();
		exec_flows_over(&self.x);
		agent_leave();
	}
	trims = t->trims;
	if (unlikely(trims) && !self.quiet && !me.in_turn) {
		agent_enter();
		exec_trim(&self.x, trims);
		agent_leave();
	}
	if (unlikely(me.n_late))
		close_late();
}

/* The clock is asked at every 16th look only: a timer may be that much late, a packet not. */
bool sk_due(void)
{
	/* What a pair brings is seen by a turn only once it is mapped. */
	if (unlikely(exec_pairs_changed(&self.x)) && !me.in_turn)
		sk_pairs();
	if (sk_pending())
		return true;
	if (++me.n_peeks & 15)
		return false;
	return host_now() >= peek64(&self.x.map.seg->deadline);
}

bool sk_pending(void)
{
	return vif_rx_pending(&self.x.map) || ap_pending(&self.x.map) || exec_pairs_changed(&self.x);
}

void sk_note_bells(void)
{
	uint64_t bells = exec_pairs_new_bells(&self.x);

	for (; unlikely(bells); bells &= bells - 1)
		fd_mark_private(self.x.map.ap[__builtin_ctzll(bells)].bell_fd);
}

void sk_pairs(void)
{
	agent_enter();
	(void)exec_pairs(&self.x);
	agent_leave();
	sk_note_bells();
}

bool sk_round(void)
{
	struct turn t;

	if (unlikely(exec_pairs_changed(&self.x)) && !me.in_turn)
		sk_pairs();
	if (turn_holder(&self.x.map) || !sk_enter(&t))
		return false;
	exec_round(&self.x, &t);
	sk_leave(&t, false);
	return true;
}

void sk_refresh(void)
{
	if (!sk_due())
		wait_note(WAIT_POLL_SKIP_CURRENT);
	else
		wait_note(sk_round() ? WAIT_POLL_UPDATE : WAIT_POLL_SKIP_LOCK);
}

int64_t nest_error(struct ent e)
{
	struct sk *sk = sk_peek(e.h);

	return sk && sk->user & SKU_NONBLOCK ? -EAGAIN : -EINTR;
}

uint64_t sk_clock(void) { return host_now(); }

void raise_sigpipe(void)
{
	SYS3(SYS_tgkill, sys_getpid(), sys_gettid(), SIGPIPE);
}
