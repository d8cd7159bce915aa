/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock of an endpoint: between threads of the program, and its helper. A futex of our own,
 * because the helper is a fork without libc's knowledge, and because its holder may die (L4).
 */
#include "aperture/self.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "base/atomic.h"
#include "host/sys.h"

#define SPINS	100
#define LOOK_NS	(100 * NS_PER_MS)	/* how often a waiter asks whether the holder is alive */

static uint32_t swap(uint32_t *w, uint32_t v)
{
	/* acq: pairs with the release in ap_leave(). */
	return atomic_exchange_explicit((_Atomic uint32_t *)w, v, memory_order_acquire);
}

static bool take(uint32_t *w)
{
	uint32_t none = 0;

	/* acq: pairs with the release in ap_leave(). */
	return atomic_compare_exchange_strong_explicit((_Atomic uint32_t *)w, &none, 1, memory_order_acquire,
						       memory_order_relaxed);
}

static bool try_for(struct onramp_ap *ap, uint64_t ns)
{
	struct timespec to = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	for (int i = 0; i < SPINS; i++) {
		if (take(&ap->lock))
			return true;
		sys_relax();
	}
	if (swap(&ap->lock, 2) == 0)
		return true;	/* 2 stays: one wake too many, at worst */
	(void)sys_futex(&ap->lock, FUTEX_WAIT, 2, &to);
	return swap(&ap->lock, 2) == 0;
}

/* Dead, and reaped by this very call: it is our child, and one that only __WCLONE sees. */
static bool helper_died(struct onramp_ap *ap)
{
	if (ap->helper <= 0 || SYS4(SYS_wait4, ap->helper, NULL, __WCLONE | WNOHANG, NULL) == 0)
		return false;
	ap->helper = 0;
	return true;
}

int ap_enter(struct onramp_ap *ap)
{
	while (!try_for(ap, LOOK_NS)) {
		/* relaxed: it is only true if the helper set it, and a dead one sets nothing any more. */
		if (peek32(&ap->held_by_helper) && helper_died(ap))
			poke32(&ap->broken, AP_BROKEN);
		if (peek32(&ap->broken) != AP_WHOLE)
			return -ENOTRECOVERABLE;
	}
	if (peek32(&ap->broken) != AP_WHOLE) {
		ap_leave(ap);
		return -ENOTRECOVERABLE;
	}
	return 0;
}

bool ap_try_enter(struct onramp_ap *ap, uint64_t ns)
{
	if (!try_for(ap, ns))
		return false;
	poke32(&ap->held_by_helper, 1);
	return true;
}

void ap_leave(struct onramp_ap *ap)
{
	uint32_t was;

	poke32(&ap->held_by_helper, 0);
	/* rel: pairs with the acquires above. */
	was = atomic_exchange_explicit((_Atomic uint32_t *)&ap->lock, 0, memory_order_release);
	if (was == 2)
		(void)sys_futex(&ap->lock, FUTEX_WAKE, 1, NULL);
}
