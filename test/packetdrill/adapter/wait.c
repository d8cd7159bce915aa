/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Waiting in virtual time. packetdrill makes the calls that a script expects to block in a second
 * thread, and goes on with the script in its main one. While the second waits, the main one moves the
 * clock; before the call, the second does. So:
 *
 *	one	moves the world, then counts a round and wakes the others
 *	other	looks whether what it waits for is there; waits again, or leaves its call
 *	one	goes on when everybody who waited has looked (P2)
 *
 * A call of the main thread that would block has nobody to wait for: it passes time itself.
 */
#include "test/packetdrill/adapter/adapter.h"

#include <pthread.h>
#include <time.h>

#define LONGEST_NS (4 * 3600 * NS_PER_S)	/* that the main thread waits: longer than any timer of TCP's */

static struct {
	pthread_mutex_t lock;
	pthread_cond_t turn, back;
	pthread_t main;
	uint64_t round;		/* counts what may have woken somebody */
	uint32_t n_waiting, n_looked;	/* threads in pd_wait(), and those of them that saw `round` */
	uint64_t wake_at;	/* the earliest time limit of one that waits */
	bool left;		/* somebody has left a call since the main thread last slept */
} s = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0, NEVER_NS, false };

static __thread uint64_t left_at;	/* P3; 0: nothing to tell */

void pd_wait_begin(void)
{
	s.main = pthread_self();
	s.wake_at = NEVER_NS;
}

void pd_lock(void) { pthread_mutex_lock(&s.lock); }

/* With the lock, by who has moved the world: anybody but those who wait. */
static void settle(void)
{
	if (!s.n_waiting)
		return;
	s.round++;
	s.n_looked = 0;
	pthread_cond_broadcast(&s.turn);
	while (s.n_looked < s.n_waiting)
		pthread_cond_wait(&s.back, &s.lock);
}

void pd_unlock(void)
{
	settle();
	pthread_mutex_unlock(&s.lock);
}

uint64_t pd_until_ms(int64_t ms)
{
	return ms < 0 ? NEVER_NS : world_now() + (uint64_t)ms * NS_PER_MS;
}

uint64_t pd_deadline(void) { return min_u64(world_deadline(), s.wake_at); }

void pd_pass(uint64_t until, bool (*stop)(void))
{
	for (;;) {
		uint64_t at = pd_deadline();

		if (at > until || (stop && stop()))
			break;
		world_pass(at);
		settle();
	}
	if (!(stop && stop()))
		world_pass(until);
}

/* The main thread: time passes until it is ready, or nothing will ever happen. */
static bool wait_alone(bool (*ready)(void *arg), void *arg, uint64_t until)
{
	uint64_t end = min_u64(until, world_now() + LONGEST_NS);

	while (!ready(arg)) {
		uint64_t at = min_u64(pd_deadline(), end);

		world_pass(at);
		settle();
		if (at >= end)
			return ready(arg);
	}
	return true;
}

static void wait_for_round(uint64_t until)
{
	uint64_t seen = s.round;

	s.n_waiting++;
	s.n_looked++;
	s.wake_at = min_u64(s.wake_at, until);
	pthread_cond_signal(&s.back);
	while (seen == s.round)
		pthread_cond_wait(&s.turn, &s.lock);
	/* n_waiting is what settle() counts up to: who leaves has looked, too. */
	s.n_waiting--;
	s.wake_at = NEVER_NS;
	pthread_cond_signal(&s.back);
}

bool pd_wait(bool (*ready)(void *arg), void *arg, uint64_t until)
{
	bool is;

	if (pthread_equal(s.main, pthread_self()))
		return wait_alone(ready, arg, until);
	while (!(is = ready(arg)) && world_now() < until)
		wait_for_round(until);
	left_at = world_now();
	s.left = true;
	return is;
}

/* packetdrill's main thread naps without its own lock, which a thread that has left its call needs in
 * order to say so: it gets a little of the world's real time. */
static void let_others_finish(void)
{
	const struct timespec little = { 0, 2000000 };
	bool left;

	pd_lock();
	left = s.left;
	s.left = false;
	pd_unlock();
	if (left)
		nanosleep(&little, NULL);
}

void pd_nap(uint64_t ns)
{
	let_others_finish();
	pd_lock();
	pd_pass(world_now() + ns, NULL);
	pd_unlock();
	let_others_finish();
}

uint64_t pd_clock(void)
{
	uint64_t at = left_at;

	left_at = 0;
	if (at)
		return at / NS_PER_US;
	pd_lock();
	pd_pass(world_now() + NS_PER_US, NULL);
	at = world_now();
	pd_unlock();
	return at / NS_PER_US;
}
