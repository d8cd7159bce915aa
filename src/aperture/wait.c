/* SPDX-License-Identifier: BSD-2-Clause */
/* Moving the engine, and waiting for what it may bring: look for a while, then sleep. */
#include "aperture/self.h"

#include <errno.h>
#include <poll.h>
#include <sys/timerfd.h>

#include "base/atomic.h"
#include "host/sys.h"

void ap_ring(struct onramp_ap *ap)
{
	uint64_t one = 1;

	(void)sys_write(ap->bell, &one, sizeof(one));
}

static void hear(struct onramp_ap *ap)
{
	uint64_t n;

	(void)sys_read(ap->bell, &n, sizeof(n));
}

int ap_progress(struct onramp_ap *ap, uint64_t now, enum ci_port_state s)
{
	int n = 0, got;

	do {
		got = carrier_receive(ap, now, s);
		n += got;
	} while (got == N_BATCH && n < 8 * N_BATCH);
	if (apw_deadline(ap->e) <= now)
		apw_tick(ap->e, now);
	(void)carrier_send(ap);
	if ((apw_take_irq(ap->e) && ap->epoll >= 0) || (n && ap->sleepers))	/* L3 */
		ap_ring(ap);
	return n;
}

/* The first is the socket, which may be somebody's else to poll for; the others are the kernel's. */
int ap_poll_fds(const struct onramp_ap *ap, struct pollfd *p, unsigned n, uint64_t ns)
{
	struct timespec to = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };
	struct timespec *at = ns == NEVER_NS ? NULL : &to;

	return ap->raw ? sys_ppoll(p, n, at, NULL) : ppoll(p, n, at, NULL);
}

static void sleep_until(struct onramp_ap *ap, uint64_t until, bool write)
{
	struct pollfd p[2] = { { .fd = ap->fd, .events = (short)(POLLIN | (write ? POLLOUT : 0)) },
			       { .fd = ap->bell, .events = POLLIN } };
	uint64_t now = host_now(), at = min_u64(until, apw_deadline(ap->e));

	if (at <= now)
		return;
	/* Two asleep may both be meant by one ring: then nobody sleeps for long. */
	if (++ap->sleepers > 1)
		at = min_u64(at, now + 2 * NS_PER_MS);
	ap_leave(ap);
	(void)ap_poll_fds(ap, p, 2, at == NEVER_NS ? NEVER_NS : at - now);
	if (ap_enter(ap))
		return;	/* broken; the caller looks */
	ap->sleepers--;
	hear(ap);
}

int ap_wait(struct onramp_ap *ap, bool (*done)(struct onramp_ap *ap, void *arg), void *arg, int timeout)
{
	uint64_t start = host_now(), until = timeout < 0 ? NEVER_NS : start + (uint64_t)timeout * NS_PER_MS;
	uint64_t look_until = start + ap->spin_ns, now;
	enum ci_port_state s = CI_RUNNING;

	for (;;) {
		int n;

		now = host_now();
		poke64(&ap->looked_at, now);
		n = ap_progress(ap, now, s);
		if (done(ap, arg))
			return 0;
		if (now >= until)
			return -ETIMEDOUT;
		if (peek32(&ap->broken) != AP_WHOLE)
			return -ENOTRECOVERABLE;
		s = CI_RUNNING;
		if (n)
			look_until = now + ap->spin_ns;
		if (now < look_until) {
			ap_leave(ap);
			sys_relax();
			if (ap_enter(ap))
				return -ENOTRECOVERABLE;
			continue;
		}
		apw_evq_arm(&ap->events);
		if (!done(ap, arg))	/* L2 */
			sleep_until(ap, until, apw_tx_peek(ap->e) != NULL);
		apw_evq_disarm(&ap->events);
		s = CI_BLOCKED;
	}
}
