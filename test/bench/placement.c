/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a second copy costs between two processes of one host (docs/decisions/0012): messages
 * of one size, one after another, from a buffer of one process to a buffer of the other.
 *
 *   ring N	two copies through a shared ring of N bytes, published every 32 KiB, so that both
 *		processes copy at the same time
 *   readv	one copy, by the reader, with process_vm_readv()
 *   writev	one copy, by the writer, with process_vm_writev()
 *   landing	one copy, by the writer, into memory that both map
 *   place N	one copy, by the writer, into a shared ring, where the reader uses the bytes
 *
 *   placement [SECONDS]	-> one line for each: how, bytes, buffers, us a message, Gbit/s
 *
 * "hot": the same buffers each time; "cold": buffers take turns over 64 MiB on either side. A
 * message begins when the one before has arrived, as where a reader waits for each; its writer
 * has just made it, and its reader looks at every cache line before it says so. Of all messages
 * the lower decile is shown, so that a machine with other work on it can be used.
 */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AREA	(64ul << 20)
#define PIECE	(32ul << 10)
#define RING_MAX (4ul << 20)
#define N_SAMPLES 200000

enum how { RING, PLACE, READV, WRITEV, LANDING };

struct shared {
	_Alignas(64) _Atomic uint64_t wr;	/* bytes written, or messages offered */
	_Alignas(64) _Atomic uint64_t rd;	/* bytes read, or messages taken */
	_Alignas(64) _Atomic uint64_t stop;
	_Alignas(64) unsigned char ring[RING_MAX];
	unsigned char landing[AREA];
};

static struct shared *sh;
static unsigned char *mine;	/* source of one process, target of the other */

struct run { enum how how; size_t ring, bytes, area; };

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		fprintf(stderr, "placement: cpu %d: %s\n", cpu, strerror(errno));
}

/* What programs do with bytes, at the least: makes them, uses them. */
static void make(unsigned char *p, size_t n, uint64_t v)
{
	for (size_t i = 0; i < n; i += 64)
		memcpy(p + i, &v, sizeof(v));
}

static void use(const unsigned char *p, size_t n)
{
	static uint64_t sum;
	uint64_t s = 0, v;

	for (size_t i = 0; i < n; i += 64) {
		memcpy(&v, p + i, sizeof(v));
		s += v;
	}
	__atomic_store_n(&sum, s, __ATOMIC_RELAXED);
}

static void relax(void) { __builtin_ia32_pause(); }

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* One message from `at` of the writer's area; returns when the reader has it. */
static void put(const struct run *r, pid_t peer, size_t at, uint64_t n)
{
	struct iovec from = { mine + at, r->bytes }, to = { mine + at, r->bytes };
	uint64_t wr = atomic_load(&sh->wr), end = (n + 1) * r->bytes;

	if (r->how <= PLACE) {
		while (wr < end) {
			size_t k = end - wr < PIECE ? end - wr : PIECE, off = wr % r->ring;

			k = r->ring - off < k ? r->ring - off : k;
			while (wr + k - atomic_load(&sh->rd) > r->ring)
				relax();
			memcpy(sh->ring + off, mine + at + (wr - n * r->bytes), k);
			wr += k;
			atomic_store(&sh->wr, wr);
		}
		while (atomic_load(&sh->rd) != end)
			relax();
		return;
	}
	if (r->how == WRITEV && process_vm_writev(peer, &from, 1, &to, 1, 0) != (ssize_t)r->bytes)
		die("process_vm_writev");
	if (r->how == LANDING)
		memcpy(sh->landing + at, mine + at, r->bytes);
	atomic_store(&sh->wr, n + 1);
	while (atomic_load(&sh->rd) != n + 1)
		relax();
}

/* Takes one message into `at` of the reader's area; false: no more come. */
static int get(const struct run *r, pid_t peer, size_t at, uint64_t n)
{
	struct iovec to = { mine + at, r->bytes }, from = { mine + at, r->bytes };
	uint64_t rd = atomic_load(&sh->rd), end = (n + 1) * r->bytes;

	while (r->how <= PLACE && rd < end) {
		uint64_t wr;
		size_t k, off = rd % r->ring;

		while ((wr = atomic_load(&sh->wr)) == rd) {
			if (atomic_load(&sh->stop))
				return 0;
			relax();
		}
		k = wr - rd < r->ring - off ? wr - rd : r->ring - off;
		k = k < PIECE ? k : PIECE;
		if (r->how == PLACE)
			use(sh->ring + off, k);
		else
			memcpy(mine + at + (rd - n * r->bytes), sh->ring + off, k);
		rd += k;
		if (r->how == RING && rd == end)
			use(mine + at, r->bytes);
		atomic_store(&sh->rd, rd);
	}
	if (r->how <= PLACE)
		return 1;
	while (atomic_load(&sh->wr) != n + 1) {
		if (atomic_load(&sh->stop))
			return 0;
		relax();
	}
	if (r->how == READV && process_vm_readv(peer, &to, 1, &from, 1, 0) != (ssize_t)r->bytes)
		die("process_vm_readv");
	use(r->how == LANDING ? sh->landing + at : mine + at, r->bytes);
	atomic_store(&sh->rd, n + 1);
	return 1;
}

static int order(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return d < 0 ? -1 : d > 0;
}

static void measure(const struct run *r, double seconds)
{
	static const char *const names[] = { "ring", "place", "readv", "writev", "landing" };
	static double took[N_SAMPLES];
	uint64_t n = 0, warm = AREA / r->bytes, n_took = 0;
	size_t slots = r->area / r->bytes;
	pid_t parent = getpid(), child;
	double t0 = 0, t;

	atomic_store(&sh->wr, 0);
	atomic_store(&sh->rd, 0);
	atomic_store(&sh->stop, 0);
	child = fork();
	if (child < 0)
		die("fork");
	if (!child) {
		pin(1);
		/* The same addresses, memory of its own. */
		memset(mine, 1, AREA);
		while (get(r, parent, n % slots * r->bytes, n))
			n++;
		_exit(0);
	}
	pin(0);
	for (t = now_s(); n <= warm || (t - t0 < seconds && n_took < N_SAMPLES); n++) {
		double begin;

		make(mine + n % slots * r->bytes, r->bytes, n);
		begin = now_s();
		put(r, child, n % slots * r->bytes, n);
		t = now_s();
		if (n == warm)
			t0 = t;
		else if (n > warm)
			took[n_took++] = t - begin;
	}
	atomic_store(&sh->stop, 1);
	waitpid(child, NULL, 0);
	qsort(took, n_took, sizeof(took[0]), order);
	t = took[n_took / 10];
	printf("%-7s %8zu ring, %8zu bytes, %s: %8.2f us, %6.1f Gbit/s\n", names[r->how],
	       r->how <= PLACE ? r->ring : 0, r->bytes, r->area > r->bytes ? "cold" : "hot ", t * 1e6,
	       (double)r->bytes * 8 / t / 1e9);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	static const size_t rings[] = { 128 << 10, 512 << 10, 4 << 20 };
	static const size_t sizes[] = { 64 << 10, 256 << 10, 1 << 20, 8 << 20 };
	double seconds = argc > 1 ? strtod(argv[1], NULL) : 0.3;

	sh = mmap(NULL, sizeof(*sh), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	mine = mmap(NULL, AREA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (sh == MAP_FAILED || mine == MAP_FAILED)
		die("mmap");
	memset(sh, 0, sizeof(*sh));
	memset(mine, 2, AREA);
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++)
		for (int cold = 0; cold < 2; cold++) {
			size_t area = cold ? AREA : sizes[s];

			for (size_t i = 0; i < sizeof(rings) / sizeof(rings[0]); i++)
				measure(&(struct run){ RING, rings[i], sizes[s], area }, seconds);
			measure(&(struct run){ PLACE, rings[1], sizes[s], area }, seconds);
			for (enum how h = READV; h <= LANDING; h++)
				measure(&(struct run){ h, 0, sizes[s], area }, seconds);
		}
	return 0;
}
