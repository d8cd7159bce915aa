/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Segments that are made, mapped and attacked; rings of a real AF_XDP socket where the test
 * may make one; bells, kicks and the door between real threads and processes.
 */
#include "test/unit/panic.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/if_xdp.h>

#include "base/atomic.h"
#include "base/csum.h"
#include "base/prng.h"
#include "core/stack/stack.h"
#include "host/host.h"
#include "host/sys.h"
#include "layout_hash.h"
#include "shm/shm.h"

/* ---- birth and mapping ----------------------------------------------------------------------- */

static void test_new(void **state)
{
	int fd = host_new_segment(7, 1000);
	struct stack_map map, ro;
	struct stat st;
	int ro_fd;
	char path[64];

	(void)state;
	assert_true(fd >= 0);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	assert_int_equal(host_map_segment(fd, true, &map), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(map.bytes, st.st_size);
	assert_int_equal(map.seg->geo.bytes, st.st_size);
	assert_int_equal(map.seg->stack_id, 7);
	assert_int_equal(map.seg->uid, 1000);
	assert_true(map.seg->secret[0] && map.seg->secret[3] && map.seg->secret[0] != map.seg->secret[1]);
	assert_int_equal(map.sk_mask, N_SOCKS - 1);
	assert_int_equal(map.pkt_mask, N_PKTS - 1);
	assert_ptr_equal(map.csum, csum_best());
	/* Sparse: what nobody has used is not there. */
	assert_true((uint64_t)st.st_blocks * 512 < 4u << 20);

	/* A tool's view: the file opened read-only, as the agent hands it out. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	ro_fd = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro_fd >= 0);
	assert_int_equal(host_map_segment(ro_fd, true, &ro), -EACCES);
	assert_int_equal(host_map_segment(ro_fd, false, &ro), 0);
	map.seg->ip_id = 4711;
	assert_int_equal(ro.seg->ip_id, 4711);
	host_unmap(&ro, 0);
	host_unmap(&map, 0);
	assert_null(map.seg);
	close(ro_fd);
	close(fd);
}

static void test_two_secrets(void **state)
{
	int a = host_new_segment(1, 0), b = host_new_segment(2, 0);
	struct stack_map ma, mb;

	(void)state;
	assert_int_equal(host_map_segment(a, true, &ma), 0);
	assert_int_equal(host_map_segment(b, true, &mb), 0);
	assert_memory_not_equal(ma.seg->secret, mb.seg->secret, sizeof(ma.seg->secret));
	host_unmap(&ma, 0);
	host_unmap(&mb, 0);
	close(a);
	close(b);
}

/* The owner of the descriptor can neither take pages from under us nor lift the seals. */
static void test_sealed(void **state)
{
	int fd = host_new_segment(1, 0);
	struct stat st;

	(void)state;
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(ftruncate(fd, 4096), -1);
	assert_int_equal(ftruncate(fd, st.st_size + 4096), -1);
	assert_int_equal(fallocate(fd, FALLOC_FL_KEEP_SIZE, st.st_size, 4096), -1);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	close(fd);
}

static void test_refused(void **state)
{
	struct stack_map map;
	struct geometry g;
	int fds[2], fd;

	(void)state;
	memset(&map, 0x5a, sizeof(map));
	assert_int_equal(host_map_segment(-1, true, &map), -EBADF);
	/* Not a file that can be sealed. */
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(host_map_segment(fds[0], true, &map), -EPROTO);
	close(fds[0]);
	close(fds[1]);
	fd = open("/dev/zero", O_RDWR);
	assert_int_equal(host_map_segment(fd, true, &map), -EPROTO);
	close(fd);
	/* Could be sealed, and is not; or not enough. */
	geometry_standard(&g);
	fd = memfd_create("t", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fd, (off_t)g.bytes), 0);
	assert_int_equal(host_map_segment(fd, true, &map), -EPROTO);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
	assert_int_equal(host_map_segment(fd, true, &map), -EPROTO);
	/* Sealed, and all zero: no segment. */
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL), 0);
	assert_int_equal(host_map_segment(fd, true, &map), -EPROTO);
	close(fd);
	/* Sealed and too short for a header. */
	fd = memfd_create("t", MFD_ALLOW_SEALING);
	assert_int_equal(ftruncate(fd, 100), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
	assert_int_equal(host_map_segment(fd, true, &map), -EPROTO);
	close(fd);
	/* Nothing was written to the result by any of these. */
	for (size_t i = 0; i < sizeof(map); i++)
		assert_int_equal(((uint8_t *)&map)[i], 0x5a);
}

static bool is_inside(const struct stack_map *m, const void *p, uint64_t n)
{
	const uint8_t *base = (const uint8_t *)m->seg, *at = p;

	return at >= base && n <= m->bytes && (uint64_t)(at - base) <= m->bytes - n;
}

static void assert_map_inside(const struct stack_map *m)
{
	assert_true(is_inside(m, m->flow, (m->flow_mask + 1ull) * 4));
	assert_true(is_inside(m, m->listen, (m->listen_mask + 1ull) * 4));
	assert_true(is_inside(m, m->eps, (m->ep_mask + 1ull) * sizeof(struct ep)));
	assert_true(is_inside(m, m->epis, (m->epi_mask + 1ull) * sizeof(struct epitem)));
	assert_true(is_inside(m, m->trace, (m->trace_mask + 1ull) * sizeof(struct trace_rec)));
	assert_true(is_inside(m, m->pkts, (m->pkt_mask + 1ull) * sizeof(struct pkt)));
	assert_true(is_inside(m, m->socks, (m->sk_mask + 1ull) * SK_BYTES));
	assert_true(is_inside(m, m->umem, (m->pkt_mask + 1ull) * FRAME_BYTES));
}

/* A tenant rewrites the header of its own segment: refused, or harmless. */
static void test_geometry_attack(void **state)
{
	static const uint64_t nasty[] = { 0, 1, 3, 4095, UINT32_MAX, 1ull << 31, 1ull << 32,
					  1ull << 47, INT64_MAX, UINT64_MAX, UINT64_MAX - 4095 };
	int fd = host_new_segment(1, 0);
	struct stack_map map, other;
	struct segment *seg;
	struct geometry good;
	struct prng rng;
	uint64_t magic, hash;
	unsigned refused = 0;

	(void)state;
	prng_seed(&rng, 5);
	assert_int_equal(host_map_segment(fd, true, &map), 0);
	seg = map.seg;
	good = seg->geo;
	magic = seg->magic;
	hash = seg->layout_hash;
	for (int i = 0; i < 4000; i++) {
		uint8_t *bytes = (uint8_t *)&seg->geo;
		size_t at = prng_below(&rng, sizeof(good) / 4) * 4;
		uint64_t v = i % 2 ? nasty[prng_below(&rng, n_elems(nasty))] : prng_u64(&rng);
		size_t n = i % 3 ? 8 : 4;

		memcpy(bytes + at, &v, at + n > sizeof(good) ? sizeof(good) - at : n);
		if (host_map_segment(fd, false, &other) == 0) {
			assert_map_inside(&other);
			host_unmap(&other, 0);
		} else {
			refused++;
		}
		seg->geo = good;
	}
	assert_true(refused > 3000);
	seg->magic ^= 1;
	assert_int_equal(host_map_segment(fd, false, &other), -EPROTO);
	seg->magic = magic;
	seg->layout_hash ^= 1;
	assert_int_equal(host_map_segment(fd, false, &other), -EPROTO);
	seg->layout_hash = hash;
	assert_int_equal(host_map_segment(fd, false, &other), 0);
	host_unmap(&other, 0);
	host_unmap(&map, 0);
	close(fd);
}

static void test_mirror(void **state)
{
	struct stack_map map = { 0 };
	struct mirror *m;
	int fd = memfd_create("t", 0);

	(void)state;
	assert_int_equal(host_map_mirror(-1, &map), -EBADF);
	assert_int_equal(host_map_mirror(fd, &map), -EPROTO);
	assert_int_equal(ftruncate(fd, sizeof(*m) + 3 * 4096), 0);
	assert_int_equal(host_map_mirror(fd, &map), -EPROTO);
	assert_null(map.mirror);
	m = mmap(NULL, sizeof(*m), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_true(m != MAP_FAILED);
	m->magic = MIRROR_MAGIC;
	assert_int_equal(host_map_mirror(fd, &map), 0);
	m->generation = 99;
	assert_int_equal(map.mirror->generation, 99);
	host_unmap(&map, 0);
	assert_null(map.mirror);
	munmap(m, sizeof(*m));
	close(fd);
}

/* ---- rings ------------------------------------------------------------------------------------- */

static int make_xsk(uint32_t slots, void **umem)
{
	struct xdp_umem_reg reg = { .len = 64 * FRAME_BYTES, .chunk_size = FRAME_BYTES };
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -1;
	*umem = mmap(NULL, reg.len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	reg.addr = (uintptr_t)*umem;
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)) ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_FILL_RING, &slots, sizeof(slots)) ||
	    setsockopt(fd, SOL_XDP, XDP_UMEM_COMPLETION_RING, &slots, sizeof(slots)) ||
	    setsockopt(fd, SOL_XDP, XDP_RX_RING, &slots, sizeof(slots)) ||
	    setsockopt(fd, SOL_XDP, XDP_TX_RING, &slots, sizeof(slots))) {
		close(fd);
		return -1;
	}
	return fd;
}

static void test_rings(void **state)
{
	struct stack_map map = { 0 };
	struct vif_map v = { .flags = VIF_F_PRESENT, .ifindex = 3 };
	struct host_fds fds = { .n_vis = 1 };
	void *umem = NULL;
	int fd = make_xsk(64, &umem);

	(void)state;
	if (fd < 0) {
		print_message("no AF_XDP here (%s): rings not tested\n", strerror(errno));
		skip();
	}
	assert_int_equal(host_map_rings(fd, 0, &v), -EINVAL);
	assert_int_equal(host_map_rings(fd, 63, &v), -EINVAL);
	assert_int_equal(host_map_rings(fd, 2 * N_RING, &v), -EINVAL);
	/* The kernel maps no more than it has. */
	assert_true(host_map_rings(fd, 2048, &v) < 0);
	assert_null(v.tx.producer);
	assert_int_equal(host_map_rings(fd, 64, &v), 0);
	assert_int_equal(v.flags, VIF_F_PRESENT);
	assert_int_equal(v.ifindex, 3);
	assert_int_equal(v.rx.mask, 63);
	for (uint32_t i = 0; i < 64; i++) {
		((struct vif_desc *)v.tx.slots)[i] = (struct vif_desc){ i * FRAME_BYTES, 60, 0 };
		((uint64_t *)v.fill.slots)[i] = (uint64_t)i * FRAME_BYTES;
	}
	assert_int_equal(*v.tx.producer + *v.rx.producer + *v.fill.producer + *v.comp.producer, 0);
	assert_true((uint8_t *)v.rx.slots != (uint8_t *)v.tx.slots);
	/* Kicked, but bound to nothing: an error, and not one to try again for. */
	map.vi[0] = v;
	map.n_vis = 1;
	fds.xsk[0] = fd;
	errno = 4711;
	assert_int_equal(host_kick_all(&map, &fds, 1), 0);
	host_kick(&fds, 1);
	assert_int_equal(errno, 4711);
	host_unmap(&map, 64);
	assert_null(map.vi[0].tx.producer);
	close(fd);
	munmap(umem, 64 * FRAME_BYTES);
}

/* ---- kicks: a datagram socket counts the writes of nothing -------------------------------------- */

struct kicked {
	struct stack_map map;
	struct host_fds fds;
	uint32_t taken;		/* the device's index of the tx ring */
	int peer;
};

static void kicked_make(struct kicked *k)
{
	int pair[2];

	memset(k, 0, sizeof(*k));
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	k->fds.n_vis = 1;
	k->fds.xsk[0] = pair[0];
	k->peer = pair[1];
	k->map.n_vis = 1;
	k->map.vi[0].tx.consumer = &k->taken;
}

static unsigned kicks_heard(struct kicked *k)
{
	char c;
	unsigned n = 0;

	while (recv(k->peer, &c, 1, MSG_DONTWAIT) == 0)
		n++;
	return n;
}

static void *take_frames(void *arg)
{
	struct kicked *k = arg;

	for (int i = 0; i < 200; i++) {
		kicks_heard(k);
		poke32(&k->taken, (uint32_t)i);
		usleep(100);
	}
	return NULL;
}

static void test_kick(void **state)
{
	struct kicked k;
	pthread_t thread;
	uint32_t left = 1;

	(void)state;
	kicked_make(&k);
	host_kick(&k.fds, 1);
	assert_int_equal(kicks_heard(&k), 1);
	host_kick(&k.fds, 0);
	host_kick(&k.fds, 2 | 8);
	assert_int_equal(kicks_heard(&k), 0);
	assert_int_equal(host_kick_all(&k.map, &k.fds, 1), 0);
	assert_int_equal(kicks_heard(&k), 1);
	/* A device that takes nothing more: given up at once, and said so. */
	while (send(k.fds.xsk[0], "", 0, MSG_DONTWAIT) == 0)
		;
	errno = 4711;
	assert_int_equal(host_kick_all(&k.map, &k.fds, 1), 1);
	assert_int_equal(errno, 4711);
	/* One that takes slowly: while there is progress. */
	assert_int_equal(pthread_create(&thread, NULL, take_frames, &k), 0);
	for (uint64_t until = host_now() + 10 * NS_PER_S; left && host_now() < until; sched_yield())
		left = host_kick_all(&k.map, &k.fds, 1);
	assert_int_equal(left, 0);
	pthread_join(thread, NULL);
	close(k.fds.xsk[0]);
	close(k.peer);
}

/* ---- bells, door, ids ------------------------------------------------------------------------------ */

static void test_bells(void **state)
{
	int seg = host_new_segment(1, 0), slot, other;
	struct host_fds fds = { 0 };
	struct stack_map map;
	uint64_t n;

	(void)state;
	assert_int_equal(host_map_segment(seg, true, &map), 0);
	for (int i = 0; i < N_WAITERS; i++)
		fds.bell[i] = -1;
	slot = waiter_claim(&map, host_tid(), 0);
	other = waiter_claim(&map, host_tid(), 0);
	fds.bell[slot] = eventfd(0, EFD_NONBLOCK);
	errno = 4711;
	host_ring(&map, &fds, UINT32_MAX);	/* nobody sleeps */
	assert_int_equal(read(fds.bell[slot], &n, 8), -1);
	waiter_sleep(&map, slot);
	waiter_sleep(&map, other);		/* and has no bell */
	errno = 4711;
	host_ring(&map, &fds, UINT32_MAX);
	host_ring(&map, &fds, UINT32_MAX);	/* rung once a sleep */
	assert_int_equal(read(fds.bell[slot], &n, 8), 8);
	assert_int_equal(n, 1);
	assert_true(waiter_wake(&map, slot));
	waiter_sleep(&map, slot);
	host_ring(&map, &fds, 1u << slot);
	assert_int_equal(errno, 4711);
	host_hear(&fds, slot);
	host_hear(&fds, slot);
	host_hear(&fds, other);
	assert_int_equal(errno, 4711);
	assert_int_equal(read(fds.bell[slot], &n, 8), -1);
	close(fds.bell[slot]);
	host_unmap(&map, 0);
	close(seg);
}

static void test_door_across_processes(void **state)
{
	int seg = host_new_segment(1, 0), status;
	struct stack_map map;
	uint64_t door, t0, waited;
	struct turn t;
	bool contended;
	pid_t child;

	(void)state;
	assert_int_equal(host_map_segment(seg, true, &map), 0);
	assert_true(turn_try(&t, &map, EXEC_APP, host_tid(), 0, host_now(), 0));
	/* A door that is not as seen: no sleep. A door that is: until the time is over. */
	t0 = host_now();
	host_door_wait(&map, 0, 10 * NS_PER_S);
	assert_true(host_now() - t0 < NS_PER_S);
	assert_true(turn_contend(&map, &door));
	t0 = host_now();
	host_door_wait(&map, door, 20 * NS_PER_MS);
	assert_in_range(host_now() - t0, 20 * NS_PER_MS, 2 * NS_PER_S);
	child = fork();
	if (child == 0) {
		host_door_wait(&map, door, 10 * NS_PER_S);
		_exit(0);
	}
	usleep(50000);
	assert_true(turn_end(&t, &contended) == 0);
	assert_true(contended);
	t0 = host_now();
	host_door_wake(&map);
	assert_int_equal(waitpid(child, &status, 0), child);
	waited = host_now() - t0;
	assert_true(WIFEXITED(status) && waited < 5 * NS_PER_S);
	host_unmap(&map, 0);
	close(seg);
}

static void *tell_tid(void *arg)
{
	*(uint32_t *)arg = host_tid();
	return NULL;
}

static void test_ids(void **state)
{
	uint32_t own = host_tid(), other;
	pthread_t thread;
	pid_t child;
	int status;

	(void)state;
	assert_int_equal(own, gettid());
	assert_int_equal(pthread_create(&thread, NULL, tell_tid, &other), 0);
	pthread_join(thread, NULL);
	assert_int_not_equal(own, other);
	assert_true(host_tid_alive(own));
	assert_false(host_tid_alive(0));
	assert_false(host_tid_alive(UINT32_MAX));
	assert_true(host_tid_alive(1));
	/* In a forked child the cache is forgotten; its end is seen before it is waited for. */
	child = fork();
	if (child == 0) {
		host_after_fork();
		_exit(host_tid() == (uint32_t)gettid() && host_tid() != own ? 0 : 1);
	}
	usleep(50000);
	assert_int_equal(kill(child, 0), 0);
	assert_false(host_tid_alive((uint32_t)child));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(WEXITSTATUS(status), 0);
	assert_false(host_tid_alive((uint32_t)child));
}

static void test_clock(void **state)
{
	uint64_t t0 = host_now(), t1;
	uint8_t a[64] = { 0 }, b[64] = { 0 };

	(void)state;
	errno = 4711;
	host_nap(2 * NS_PER_MS);
	t1 = host_now();
	assert_in_range(t1 - t0, 2 * NS_PER_MS, NS_PER_S);
	host_entropy(a, sizeof(a));
	host_entropy(b, sizeof(b));
	assert_int_equal(errno, 4711);
	assert_memory_not_equal(a, b, sizeof(a));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_new),
		cmocka_unit_test(test_two_secrets),
		cmocka_unit_test(test_sealed),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_geometry_attack),
		cmocka_unit_test(test_mirror),
		cmocka_unit_test(test_rings),
		cmocka_unit_test(test_kick),
		cmocka_unit_test(test_bells),
		cmocka_unit_test(test_door_across_processes),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_clock),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
