/* SPDX-License-Identifier: BSD-2-Clause */
/* Geometry that is right passes; geometry wrong in any one way does not. */
#include "test/unit/rig.h"

#include <errno.h>

static void test_standard(void **state)
{
	struct geometry g;

	(void)state;
	geometry_standard(&g);
	assert_int_equal(geometry_check(&g, g.bytes), 0);
	assert_int_equal(g.off_umem % FRAME_BYTES, 0);
	assert_int_equal(geometry_check(&g, g.bytes - 1), -EINVAL);
	assert_true(g.bytes < 512ull << 20);	/* virtual: sockets and aperture tables are sparse */
}

static void test_counts(void **state)
{
	struct geometry good = rig_small;
	size_t first = offsetof(struct geometry, n_socks), last = offsetof(struct geometry, n_trace);

	(void)state;
	geometry_lay_out(&good);
	for (size_t at = first; at <= last; at += sizeof(uint32_t)) {
		static const uint32_t bad[] = { 0, 1, 3, 63, 65, 1u << 18, 1u << 31, UINT32_MAX };

		for (unsigned i = 0; i < n_elems(bad); i++) {
			struct geometry g = good;

			memcpy((uint8_t *)&g + at, &bad[i], sizeof(uint32_t));
			assert_int_equal(geometry_check(&g, 1ull << 40), -EINVAL);
		}
	}
}

static void test_offsets(void **state)
{
	struct geometry good = rig_small;
	size_t first = offsetof(struct geometry, off_flow), last = offsetof(struct geometry, bytes);

	(void)state;
	geometry_lay_out(&good);
	assert_int_equal(geometry_check(&good, good.bytes), 0);
	for (size_t at = first; at <= last; at += sizeof(uint64_t)) {
		uint64_t was, bad[6];

		memcpy(&was, (uint8_t *)&good + at, sizeof(was));
		bad[0] = 0;
		bad[1] = was + 8;		/* not aligned */
		bad[2] = was - FRAME_BYTES;	/* over the pool before, or over the last one's end */
		bad[3] = good.bytes + FRAME_BYTES;
		bad[4] = UINT64_MAX & ~4095ull;
		bad[5] = 1ull << 63;
		for (unsigned i = 0; i < n_elems(bad); i++) {
			struct geometry g = good;

			memcpy((uint8_t *)&g + at, &bad[i], sizeof(uint64_t));
			assert_int_equal(geometry_check(&g, good.bytes), -EINVAL);
		}
	}
}

static void test_attach(void **state)
{
	struct rig r;
	struct stack_map map;
	struct segment *seg;

	(void)state;
	rig_make(&r);
	seg = r.map.seg;
	assert_int_equal(shm_attach(seg, r.map.bytes, RIG_HASH + 1, &map), -EPROTO);
	assert_int_equal(shm_attach(seg, sizeof(struct segment) - 1, RIG_HASH, &map), -EPROTO);
	assert_int_equal(shm_attach(seg, r.map.bytes - 1, RIG_HASH, &map), -EINVAL);
	assert_int_equal(shm_attach(seg, r.map.bytes, RIG_HASH, &map), 0);
	assert_ptr_equal(map.umem, r.map.umem);
	assert_int_equal(map.pkt_mask, 127);
	assert_ptr_equal(map.csum, csum_add_scalar);
	/* Nobody reads it again: a changed header changes nothing for those who are in. */
	seg->geo.n_pkts = 1u << 20;
	assert_int_equal(shm_attach(seg, r.map.bytes, RIG_HASH, &map), -EINVAL);
	seg->magic = 0;
	assert_int_equal(shm_attach(seg, r.map.bytes, RIG_HASH, &map), -EPROTO);
	assert_int_equal(stack_check(&r.t), 0);
	rig_free(&r);
}

/* Pools are counted up, so a fresh standard stack has touched little but its frames. */
static void test_untouched(void **state)
{
	struct geometry g;
	struct rig r;
	const uint8_t *p;
	uint64_t dirty = 0;

	(void)state;
	geometry_standard(&g);
	rig_make_as(&r, &g);
	p = r.map.socks;
	for (uint64_t i = 0; i < (uint64_t)N_SOCKS * SK_BYTES; i++)
		dirty += p[i];
	assert_true(dirty == 0);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_standard),
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_offsets),
		cmocka_unit_test(test_attach),
		cmocka_unit_test(test_untouched),
	};

	return cmocka_run_group_tests_name("shm", tests, NULL, NULL);
}
