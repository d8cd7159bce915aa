/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Time, chance and identity. The clock is read through libc's vDSO path, which makes no
 * system call and leaves errno alone when it succeeds, as CLOCK_MONOTONIC always does.
 */
#include "host/host.h"

#include <errno.h>
#include <sched.h>

#include "host/sys.h"

uint64_t host_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t host_now_coarse(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint32_t host_cpu(void)
{
	int cpu = sched_getcpu();

	return cpu < 0 ? 0 : (uint32_t)cpu;
}

void host_entropy(void *p, size_t n)
{
	uint8_t *at = p;

	while (n) {
		ssize_t got = sys_getrandom(at, n, 0);

		if (got == -EINTR || got == -EAGAIN)
			continue;
		/* Keys that are not random would be worse than no stack. */
		must(got > 0);
		at += got;
		n -= (size_t)got;
	}
}

void host_nap(uint64_t ns)
{
	struct timespec to = { (time_t)(ns / NS_PER_S), (long)(ns % NS_PER_S) };

	(void)sys_ppoll(NULL, 0, &to, NULL);
}

/* In initial-exec form: libonramp.so is loaded at start, and a call into the dynamic linker
 * for each turn would be dear. */
static __thread uint32_t cached_tid tls_fast;

uint32_t host_tid(void)
{
	if (unlikely(!cached_tid))
		cached_tid = (uint32_t)sys_gettid();
	return cached_tid;
}

void host_after_fork(void)
{
	cached_tid = 0;
}

/* A dead process that nobody has waited for still has its id; only its pidfd tells. */
static bool is_zombie(int tid)
{
	struct pollfd p = { .fd = sys_pidfd_open(tid, 0), .events = POLLIN };
	struct timespec zero = { 0, 0 };
	bool dead;

	if (p.fd < 0)		/* not the first thread of a process: those leave no corpse */
		return false;
	dead = sys_ppoll(&p, 1, &zero, NULL) == 1;
	(void)sys_close(p.fd);
	return dead;
}

bool host_tid_alive(uint32_t tid)
{
	/* A thread of somebody else's is -EPERM, and alive. An id past int's range is nobody's. */
	if (!tid || tid > INT32_MAX || sys_kill((int)tid, 0) == -ESRCH)
		return false;
	return !is_zombie((int)tid);
}
