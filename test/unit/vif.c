/* SPDX-License-Identifier: BSD-2-Clause */
/* The driver over hand-made rings: the test is the device, honest and not. */
#include "test/unit/rig.h"

#include <errno.h>

#include "core/vif/vif.h"

#define SLOTS 64u

struct device {
	struct rig r;
	uint32_t index[4][3];		/* producer, consumer, flags of rx, tx, fill, comp */
	struct vif_desc rx[SLOTS], tx[SLOTS];
	uint64_t fill[SLOTS], comp[SLOTS];
};

static void ring_make(struct vif_ring *ring, uint32_t index[3], void *slots)
{
	/* Near the wrap of 2^32, so that each test crosses it. */
	index[0] = index[1] = (uint32_t)-8;
	index[2] = 0;
	*ring = (struct vif_ring){ &index[0], &index[1], &index[2], slots, SLOTS - 1 };
}

static struct device *device_make_of(uint32_t n_pkts)
{
	struct geometry g = rig_small;
	static struct device d;
	struct vif_map *v = &d.r.map.vi[0];

	memset(&d, 0, sizeof(d));
	g.n_pkts = n_pkts;
	rig_make_as(&d.r, &g);
	d.r.map.n_vis = 1;
	v->flags = VIF_F_PRESENT;
	v->ifindex = 3;
	ring_make(&v->rx, d.index[0], d.rx);
	ring_make(&v->tx, d.index[1], d.tx);
	ring_make(&v->fill, d.index[2], d.fill);
	ring_make(&v->comp, d.index[3], d.comp);
	return &d;
}

static struct device *device_make(void) { return device_make_of(128); }

/* The device takes an empty frame. */
static uint64_t dev_take(struct device *d)
{
	assert_int_not_equal(d->index[2][0], d->index[2][1]);
	return d->fill[d->index[2][1]++ & (SLOTS - 1)];
}

static void dev_rx(struct device *d, uint64_t addr, uint32_t len, bool more)
{
	assert_in_range(d->index[0][0] - d->index[0][1], 0, SLOTS - 1);
	d->rx[d->index[0][0]++ & (SLOTS - 1)] =
		(struct vif_desc){ addr, len, more ? VIF_MORE : 0 };
}

/* The device sends up to `n` descriptors, as long as there is room to say so: they complete. */
static void dev_send(struct device *d, uint32_t n)
{
	for (; n && d->index[1][0] != d->index[1][1]; n--) {
		uint64_t addr;

		if (d->index[3][0] - d->index[3][1] == SLOTS)
			break;
		addr = d->tx[d->index[1][1]++ & (SLOTS - 1)].addr;
		d->comp[d->index[3][0]++ & (SLOTS - 1)] = addr;
	}
}

static void test_receive(void **state)
{
	struct device *d = device_make();
	struct turn *t = &d->r.t;
	struct pkt *p;
	pkt_h h;

	(void)state;
	assert_false(vif_rx_pending(&d->r.map));
	assert_int_equal(vif_poll(t, 0).v, 0);
	vif_refill(t, 0);
	/* Half the small pool is the target. */
	assert_int_equal(d->r.map.seg->n_posted[0], 64);
	assert_int_equal(stack_check(t), 0);
	for (unsigned round = 0; round < 200; round++) {
		uint64_t a = dev_take(d), b;

		d->r.map.umem[a + 256] = (uint8_t)round;
		dev_rx(d, a + 256, 100, false);
		assert_true(vif_rx_pending(&d->r.map));
		h = vif_poll(t, 0);
		assert_int_equal(h.v, a >> FRAME_SHIFT);
		p = pkt_at(t, h);
		assert_int_equal(p->tot, 100);
		assert_int_equal(p->len, 100);
		assert_int_equal(p->n_frags, 1);
		assert_int_equal(p->vi, 0);
		assert_true(p->at == t->now);
		assert_int_equal(p->state, PKT_HELD);
		assert_int_equal(*pkt_data(t, p), (uint8_t)round);
		pkt_put(t, h);
		/* Two packets, the second of three frames; half of a run is no packet yet. */
		a = dev_take(d);
		dev_rx(d, a + 256, 60, false);
		a = dev_take(d);
		b = dev_take(d);
		dev_rx(d, a + 256, 3840, true);
		dev_rx(d, b, 4096, true);
		h = vif_poll(t, 0);
		assert_int_equal(pkt_at(t, h)->tot, 60);
		pkt_put(t, h);
		assert_int_equal(vif_poll(t, 0).v, 0);
		dev_rx(d, dev_take(d), 7, false);
		h = vif_poll(t, 0);
		p = pkt_at(t, h);
		assert_int_equal(p->tot, 3840 + 4096 + 7);
		assert_int_equal(p->n_frags, 3);
		pkt_put(t, h);
		assert_int_equal(vif_poll(t, 0).v, 0);
		assert_false(vif_rx_pending(&d->r.map));
		vif_refill(t, 0);
		assert_int_equal(stack_check(t), 0);
	}
	assert_int_equal(rig_count(&d->r, EV_RX), 600);
	assert_int_equal(rig_count(&d->r, EV_RX_BAD_DESC), 0);
	rig_free(&d->r);
}

static void test_bad_descriptors(void **state)
{
	struct device *d = device_make();
	struct turn *t = &d->r.t;
	uint64_t a, held;
	pkt_h mine = pkt_get(t), h;

	(void)state;
	vif_refill(t, 0);
	held = (uint64_t)mine.v << FRAME_SHIFT;
	dev_rx(d, UINT64_MAX, 100, false);
	dev_rx(d, 0, 100, false);
	dev_rx(d, 128ull << FRAME_SHIFT, 100, false);
	dev_rx(d, held, 100, false);			/* ours, not posted */
	a = dev_take(d);
	dev_rx(d, a + 256, 3841, false);		/* longer than the frame */
	a = dev_take(d);
	dev_rx(d, a + 256, UINT32_MAX, false);
	a = dev_take(d);
	dev_rx(d, a, 100, true);			/* good, good, bad: all dropped */
	dev_rx(d, dev_take(d), 100, true);
	dev_rx(d, held, 100, false);
	a = dev_take(d);
	dev_rx(d, a, 100, false);			/* a good one, ... */
	dev_rx(d, a, 100, false);			/* ... given back twice */
	h = vif_poll(t, 0);
	assert_int_equal(h.v, a >> FRAME_SHIFT);
	assert_int_equal(vif_poll(t, 0).v, 0);
	assert_int_equal(rig_count(&d->r, EV_RX_BAD_DESC), 8);
	assert_int_equal(d->r.map.seg->n_posted[0], 64 - 5);
	assert_int_equal(pkt_at(t, mine)->state, PKT_HELD);
	pkt_put(t, h);
	assert_int_equal(stack_check(t), 0);

	/* More frames than a packet can have: all dropped, nothing lost. */
	for (unsigned i = 0; i <= MAX_FRAGS; i++)
		dev_rx(d, dev_take(d), 10, i < MAX_FRAGS);
	dev_rx(d, dev_take(d), 11, false);
	h = vif_poll(t, 0);
	assert_int_equal(pkt_at(t, h)->tot, 11);
	pkt_put(t, h);
	pkt_put(t, mine);
	assert_int_equal(pkt_n_free(t) + d->r.map.seg->n_posted[0], 127);
	/* An index that cannot be condemns, and nothing is read. */
	d->index[0][0] += SLOTS + 1;
	assert_int_equal(vif_poll(t, 0).v, 0);
	assert_int_equal(d->r.map.seg->condemned, WHY_RING_INDEX + 1);
	rig_free(&d->r);
}

/* The longest packet there is: 65,535 bytes behind an Ethernet header. */
static void test_super_frame(void **state)
{
	struct device *d = device_make();
	struct turn *t = &d->r.t;
	uint32_t left = 65535 + 14;
	pkt_h h;

	(void)state;
	vif_refill(t, 0);
	while (left) {
		bool first = left == 65535 + 14;
		uint32_t n = min_u32(left, first ? 3840 : 4096);

		left -= n;
		dev_rx(d, dev_take(d) + (first ? 256 : 0), n, left);
	}
	h = vif_poll(t, 0);
	assert_int_equal(pkt_at(t, h)->tot, 65535 + 14);
	assert_in_range(pkt_at(t, h)->n_frags, 17, MAX_FRAGS);
	/* And out again by the same frames. */
	assert_int_equal(vif_post(t, 0, h), 0);
	assert_int_equal(d->index[1][0] - d->index[1][1], pkt_at(t, h)->n_frags);
	pkt_put(t, h);
	assert_int_equal(stack_check(t), 0);
	dev_send(d, SLOTS);
	vif_reap(t, 0);
	assert_int_equal(pkt_n_free(t), 127 - (64 - 17));
	rig_free(&d->r);
}

static void test_refill_leaves_some(void **state)
{
	struct device *d = device_make();
	struct turn *t = &d->r.t;
	struct pkt_queue q = { 0 };

	(void)state;
	/* Senders hold most: a quarter of the pool stays theirs, once enough is posted. */
	for (unsigned i = 0; i < 90; i++)
		pkt_q_push(t, &q, pkt_get(t));
	vif_refill(t, 0);
	assert_int_equal(d->r.map.seg->n_posted[0], 35);	/* 37 free, a 64th of 128 kept */
	assert_int_equal(pkt_n_free(t), 2);
	pkt_put_queue(t, &q);
	vif_refill(t, 0);
	assert_int_equal(d->r.map.seg->n_posted[0], 64);
	/* A missing handful is not worth the while. */
	for (unsigned i = 0; i < 7; i++) {
		pkt_h h;

		dev_rx(d, dev_take(d), 1, false);
		h = vif_poll(t, 0);
		pkt_put(t, h);
		vif_refill(t, 0);
	}
	assert_int_equal(d->r.map.seg->n_posted[0], 57);
	/* A device that sleeps for want of frames is told. */
	dev_rx(d, dev_take(d), 1, false);
	pkt_put(t, vif_poll(t, 0));
	d->index[2][2] = VIF_NEED_WAKEUP;
	assert_int_equal(t->bells, 0);
	vif_refill(t, 0);
	assert_int_equal(d->r.map.seg->n_posted[0], 64);
	assert_int_equal(t->bells, 1);
	assert_int_equal(stack_check(t), 0);
	rig_free(&d->r);
}

/* A packet of the given frame lengths. */
static pkt_h a_packet(struct turn *t, const uint32_t *len, uint32_t n)
{
	pkt_h head = { 0 };
	struct pkt *tail = NULL;

	for (uint32_t i = 0; i < n; i++) {
		pkt_h h = pkt_get(t);
		struct pkt *p = pkt_at(t, h);

		assert_int_not_equal(h.v, 0);
		p->len = (uint16_t)len[i];
		if (tail)
			tail->frag = h.v;
		else
			head = h;
		tail = p;
		pkt_at(t, head)->tot += len[i];
		pkt_at(t, head)->n_frags = (uint8_t)(i + 1);
	}
	return head;
}

static void test_send(void **state)
{
	static const uint32_t len[] = { 54, 0, 100, 7 };
	struct device *d = device_make();
	struct turn *t = &d->r.t;
	pkt_h h = a_packet(t, len, 4);
	struct pkt *p = pkt_at(t, h);
	uint32_t at = d->index[1][0];

	(void)state;
	assert_int_equal(vif_post(t, 0, h), 0);
	/* The empty frame is left out; MORE on all but the last. */
	assert_int_equal(d->index[1][0] - at, 3);
	assert_true(d->tx[at & (SLOTS - 1)].addr == ((uint64_t)h.v << FRAME_SHIFT) + FRAME_HEADROOM);
	assert_int_equal(d->tx[at & (SLOTS - 1)].len, 54);
	assert_int_equal(d->tx[at & (SLOTS - 1)].options, VIF_MORE);
	assert_int_equal(d->tx[(at + 1) & (SLOTS - 1)].options, VIF_MORE);
	assert_int_equal(d->tx[(at + 2) & (SLOTS - 1)].len, 7);
	assert_int_equal(d->tx[(at + 2) & (SLOTS - 1)].options, 0);
	assert_int_equal(t->bells, 1);
	assert_int_equal(d->r.map.seg->kicks_owed, 1);
	assert_true(d->r.map.seg->kicks_since == t->now);
	assert_int_equal(p->at_device, 1);
	/* Twice at the device, then given back: pooled when both are complete (K2). */
	assert_int_equal(vif_post(t, 0, h), 0);
	assert_int_equal(p->at_device, 2);
	pkt_put(t, h);
	assert_int_equal(pkt_n_free(t), 127 - 3);	/* the empty frame was free to go */
	assert_int_equal(stack_check(t), 0);
	dev_send(d, 3);
	vif_reap(t, 0);
	assert_int_equal(pkt_n_free(t), 127 - 3);
	dev_send(d, 3);
	vif_reap(t, 0);
	assert_int_equal(pkt_n_free(t), 127);
	/* Kept by its owner: completion alone frees nothing. */
	h = a_packet(t, len, 1);
	assert_int_equal(vif_post(t, 0, h), 0);
	dev_send(d, 1);
	vif_reap(t, 0);
	assert_int_equal(pkt_at(t, h)->at_device, 0);
	assert_int_equal(pkt_at(t, h)->state, PKT_HELD);
	pkt_put(t, h);
	assert_int_equal(pkt_n_free(t), 127);
	assert_int_equal(vif_post(t, 1, h), -ENETDOWN);
	rig_free(&d->r);
}

static void test_ring_full(void **state)
{
	static const uint32_t len[] = { 60, 60, 60 };
	struct device *d = device_make_of(512);
	struct turn *t = &d->r.t;
	uint32_t sent = 0, err = 0;
	pkt_h h;

	(void)state;
	for (unsigned i = 0; i < 30; i++) {
		h = a_packet(t, len, 3);
		if (vif_post(t, 0, h) == 0)
			sent++;
		else
			err++;
		pkt_put(t, h);
	}
	/* All or none: 21 packets of 3 in 64 slots. */
	assert_int_equal(sent, 21);
	assert_int_equal(err, 9);
	assert_int_equal(rig_count(&d->r, EV_TX_RING_FULL), 9);
	assert_int_equal(d->index[1][0] - d->index[1][1], 63);
	/* The device at its own pace, nobody calling vif_reap(): posting sees to it itself. */
	for (unsigned i = 0; i < 2000; i++) {
		dev_send(d, 3);
		h = a_packet(t, len, 1 + i % 3);
		if (vif_post(t, 0, h) < 0) {
			/* The comp ring was full; it has been emptied, so it goes on. */
			dev_send(d, SLOTS);
			assert_int_equal(vif_post(t, 0, h), 0);
		}
		pkt_put(t, h);
	}
	for (unsigned i = 0; i < 2; i++) {
		dev_send(d, SLOTS);
		vif_reap(t, 0);
	}
	assert_int_equal(pkt_n_free(t), 511);
	/* Completions for what was never sent: counted, nothing freed. */
	for (unsigned i = 0; i < 3; i++)
		d->comp[d->index[3][0]++ & (SLOTS - 1)] = (uint64_t)(i * 100) << FRAME_SHIFT;
	vif_reap(t, 0);
	assert_int_equal(rig_count(&d->r, EV_RX_BAD_DESC), 3);
	assert_int_equal(pkt_n_free(t), 511);
	rig_free(&d->r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_receive),
		cmocka_unit_test(test_bad_descriptors),
		cmocka_unit_test(test_super_frame),
		cmocka_unit_test(test_refill_leaves_some),
		cmocka_unit_test(test_send),
		cmocka_unit_test(test_ring_full),
	};

	return cmocka_run_group_tests_name("vif", tests, NULL, NULL);
}
