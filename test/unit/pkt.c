/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames, packets, queues: the pool adds up whatever is done to it; bytes are the same
 * whether they are read from one frame or from many. */
#include "test/unit/rig.h"

/* A packet of random bytes over frames of random lengths; its bytes are also put in `flat`. */
static pkt_h make_packet(struct rig *r, struct prng *rng, uint32_t n_frags, uint8_t *flat)
{
	pkt_h head = { 0 };
	struct pkt *h = NULL, *tail = NULL;

	for (uint32_t i = 0; i < n_frags; i++) {
		pkt_h f = pkt_get(&r->t);
		struct pkt *p = pkt_at(&r->t, f);

		assert_int_not_equal(f.v, 0);
		p->off = (uint16_t)prng_below(rng, 300);
		p->len = (uint16_t)prng_below(rng, 200);
		for (uint32_t k = 0; k < p->len; k++)
			pkt_data(&r->t, p)[k] = (uint8_t)prng_u64(rng);
		if (!h) {
			head = f;
			h = p;
		} else {
			tail->frag = f.v;
		}
		tail = p;
		memcpy(flat + h->tot, pkt_data(&r->t, p), p->len);
		h->tot += p->len;
		h->n_frags = (uint8_t)(i + 1);
	}
	return head;
}

static void assert_same(struct rig *r, pkt_h h, const uint8_t *flat, uint32_t n)
{
	static uint8_t out[8192];
	const struct pkt *p = pkt_at(&r->t, h);

	assert_int_equal(p->tot, n);
	assert_int_equal(pkt_copy_out(&r->t, p, 0, out, sizeof(out)), n);
	assert_memory_equal(out, flat, n);
	for (uint32_t from = 0; from <= n; from += 1 + n / 7) {
		uint64_t want = csum_add_scalar(flat + from, n - from, 0);

		assert_int_equal(csum_finish(pkt_csum(&r->t, p, from)), csum_finish(want));
		assert_int_equal(pkt_copy_out(&r->t, p, from, out, 33), min_u32(33, n - from));
		assert_memory_equal(out, flat + from, min_u32(33, n - from));
	}
}

static void test_bytes(void **state)
{
	static uint8_t flat[8192];
	struct prng rng;
	struct rig r;

	(void)state;
	rig_make(&r);
	prng_seed(&rng, 11);
	for (unsigned round = 0; round < 1500; round++) {
		pkt_h h = make_packet(&r, &rng, 1 + prng_below(&rng, MAX_FRAGS), flat);
		struct pkt *p = pkt_at(&r.t, h);
		uint32_t n = p->tot, cut, pull;

		assert_same(&r, h, flat, n);
		pull = prng_below(&rng, n + 1);
		pkt_pull(&r.t, p, pull);
		assert_same(&r, h, flat + pull, n - pull);
		cut = prng_below(&rng, n - pull + 1);
		pkt_trim(&r.t, p, cut);
		assert_same(&r, h, flat + pull, cut);
		pkt_put(&r.t, h);
		assert_int_equal(pkt_n_free(&r.t), 127);
	}
	rig_free(&r);
}

static void test_pool(void **state)
{
	struct rig r;
	pkt_h h[128];
	pkt_h again;

	(void)state;
	rig_make(&r);
	for (unsigned i = 0; i < 127; i++) {
		h[i] = pkt_get(&r.t);
		assert_in_range(h[i].v, 1, 127);
		assert_int_equal(pkt_at(&r.t, h[i])->off, FRAME_HEADROOM);
		assert_int_equal(pkt_at(&r.t, h[i])->state, PKT_HELD);
	}
	assert_int_equal(pkt_n_free(&r.t), 0);
	assert_int_equal(pkt_get(&r.t).v, 0);
	assert_int_equal(rig_count(&r, EV_PKT_EMPTY), 1);
	assert_int_equal(stack_check(&r.t), 0);
	pkt_put(&r.t, h[5]);
	pkt_put(&r.t, h[9]);
	/* K3: the last given back is the first taken. */
	again = pkt_get(&r.t);
	assert_int_equal(again.v, h[9].v);
	again = pkt_get(&r.t);
	assert_int_equal(again.v, h[5].v);
	for (unsigned i = 0; i < 127; i++)
		pkt_put(&r.t, h[i]);
	rig_free(&r);
}

static void test_queue(void **state)
{
	struct pkt_queue q = { 0 };
	struct rig r;
	pkt_h h[10], got;

	(void)state;
	rig_make(&r);
	for (unsigned i = 0; i < 10; i++) {
		h[i] = pkt_get(&r.t);
		pkt_at(&r.t, h[i])->tot = pkt_at(&r.t, h[i])->len = (uint16_t)(i + 1);
		pkt_q_push(&r.t, &q, h[i]);
	}
	assert_int_equal(q.n, 10);
	assert_int_equal(q.bytes, 55);
	for (unsigned i = 0; i < 4; i++) {
		got = pkt_q_pop(&r.t, &q);
		assert_int_equal(got.v, h[i].v);
		pkt_put(&r.t, got);
	}
	assert_int_equal(q.n, 6);
	assert_int_equal(q.bytes, 45);
	pkt_put_queue(&r.t, &q);
	assert_int_equal(q.n + q.bytes + q.head + q.tail, 0);
	got = pkt_q_pop(&r.t, &q);
	assert_int_equal(got.v, 0);
	assert_int_equal(pkt_n_free(&r.t), 127);
	rig_free(&r);
}

static bool always(void *arg, uint32_t site)
{
	uint32_t *want = arg;

	return site == *want;
}

static void test_mishap(void **state)
{
	uint32_t site = MISHAP_PKT;
	struct rig r;

	(void)state;
	rig_make(&r);
	r.t.mishap = always;
	r.t.mishap_arg = &site;
	assert_int_equal(pkt_get(&r.t).v, 0);
	site = MISHAP_SK;
	assert_null(sk_get(&r.t, SK_TCP, 6));
	site = MISHAP_EP;
	assert_int_equal(ep_get(&r.t).v, 0);
	r.t.mishap = NULL;
	rig_free(&r);
}

/* What only a liar or a bug can do: at home it panics, on the strong side it condemns. */
static void test_liar(void **state)
{
	struct rig r;
	pkt_h a, b;
	uint8_t out[64];

	(void)state;
	rig_make(&r);
	a = pkt_get(&r.t);
	b = pkt_get(&r.t);
	pkt_put(&r.t, b);
	expect_assert_failure(pkt_put(&r.t, b));	/* twice */
	r.map.seg->condemned = 0;
	r.map.strong = 1;
	pkt_put(&r.t, b);
	assert_int_equal(r.map.seg->condemned, WHY_PKT_STATE + 1);

	/* A chain that bites its tail ends all the same. */
	r.map.seg->condemned = 0;
	pkt_at(&r.t, a)->frag = a.v;
	pkt_at(&r.t, a)->len = 1;
	assert_int_equal(pkt_copy_out(&r.t, pkt_at(&r.t, a), 0, out, sizeof(out)), 64);
	(void)pkt_csum(&r.t, pkt_at(&r.t, a), 0);
	assert_int_equal(r.map.seg->condemned, WHY_PKT_CHAIN + 1);
	/* So does one that promises more than it has. */
	r.map.seg->condemned = 0;
	pkt_at(&r.t, a)->frag = 0;
	pkt_at(&r.t, a)->tot = 99;
	pkt_pull(&r.t, pkt_at(&r.t, a), 50);
	assert_int_equal(r.map.seg->condemned, WHY_PKT_CHAIN + 1);
	/* No offset or length leaves the frame. */
	for (uint32_t off = 0; off < 65536; off += 251)
		for (uint32_t len = 0; len < 65536; len += 509) {
			struct pkt *p = pkt_at(&r.t, a);

			p->off = (uint16_t)off;
			p->len = (uint16_t)len;
			assert_true(pkt_data(&r.t, p) >= pkt_frame(&r.t, p) &&
				    pkt_data(&r.t, p) + pkt_len(p) <= pkt_frame(&r.t, p) + FRAME_BYTES);
		}
	pkt_put(&r.t, a);
	rig_free(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_pool),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_mishap),
		cmocka_unit_test(test_liar),
	};

	return cmocka_run_group_tests_name("pkt", tests, NULL, NULL);
}
