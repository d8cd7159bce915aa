/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physics below a same-host round trip: what it takes a cache line to go from one core to
 * another and its answer to come back. Each of two threads has a line of its own that it writes
 * and the other reads, as the two sides of a ring do.
 *
 *   cacheline [CORE CORE]    -> one JSON line; cores 0 and 1 unless told
 *
 * The median of many batches, because a virtual machine's cores are not always there.
 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BATCH	1000
#define BATCHES	2001

struct line {
	_Alignas(128) _Atomic uint32_t word;
};

static struct line ping, pong;
static int cores[2] = { 0, 1 };

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void stay_on(int core)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(core, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0) {
		perror("cacheline: core");
		exit(1);
	}
}

static void *answer(void *arg)
{
	uint32_t i;

	(void)arg;
	stay_on(cores[1]);
	for (i = 1; i <= BATCH * BATCHES; i++) {
		while (atomic_load_explicit(&ping.word, memory_order_acquire) != i)
			continue;
		atomic_store_explicit(&pong.word, i, memory_order_release);
	}
	return NULL;
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
	static uint64_t t[BATCHES];
	uint32_t i = 0, b, end;
	pthread_t other;
	uint64_t t0;

	if (argc > 2) {
		cores[0] = atoi(argv[1]);
		cores[1] = atoi(argv[2]);
	}
	stay_on(cores[0]);
	if (pthread_create(&other, NULL, answer, NULL))
		return 1;
	for (b = 0; b < BATCHES; b++) {
		t0 = now_ns();
		for (end = i + BATCH; i < end;) {
			atomic_store_explicit(&ping.word, ++i, memory_order_release);
			while (atomic_load_explicit(&pong.word, memory_order_acquire) != i)
				continue;
		}
		t[b] = now_ns() - t0;
	}
	pthread_join(other, NULL);
	qsort(t, BATCHES, sizeof(t[0]), by_value);
	printf("{\"rtt_us_p50\":%.4f,\"rtt_us_min\":%.4f}\n", (double)t[BATCHES / 2] / BATCH / 1e3,
	       (double)t[0] / BATCH / 1e3);
	return 0;
}
