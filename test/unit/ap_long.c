/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures over more bytes than positions can count, with a reader who is never quite there: the
 * ring is not begun anew (R5 of core/ap/stream.c), so what says "before" must hold all the same (R8).
 */
#include "test/unit/rig.h"

#include <errno.h>
#include <sys/mman.h>

#include "core/ap/ap.h"
#include "core/net/net.h"

#define CHUNK	(64u << 10)
#define BEHIND	4u			/* chunks that the reader stays behind */
#define N_CHUNKS (80u << 10)		/* 5 GiB: past 2^31 and 2^32 */

static const struct geometry geo = {
	.n_socks = 64, .n_pkts = 128, .n_flow_buckets = 32, .n_listen_buckets = 8,
	.n_epolls = 8, .n_epitems = 128, .n_trace = 64, .n_pairs = 2,
};

static struct rig side[2];
static struct ap_front front[2];
static struct sk *conn[2];
static uint8_t out[CHUNK], in[CHUNK];

static void connect_both(struct ap_pair *pair)
{
	struct ipaddr here = ip_from4(0x7f000001);
	struct tcp_opts o;
	struct sk *lsk;

	pair->magic = AP_PAIR_MAGIC;
	pair->pair_id = 5;
	for (uint32_t i = 0; i < 2; i++) {
		struct ctl_pair d = { .slot = 0, .side = i, .pair_id = 5, .peer = 2 - i };

		rig_make_as(&side[i], &geo);
		side[i].map.front = &front[i];
		side[i].map.ap[0] = (struct ap_view){ .pair = pair, .front = &front[1 - i], .pair_id = 5 };
		ap_pair_open(&side[i].t, 0, &d);
	}
	tcp_opts_default(&o);
	assert_int_equal(tcp_listen(&side[1].t, &o, &here, 80, 1, &lsk), 0);
	assert_int_equal(ap_connect(&side[0].t, 0, &o, &here, 1000, &here, 80, &conn[0]), 0);
	(void)ap_poll(&side[1].t);
	conn[1] = tcp_accept(&side[1].t, lsk);
	assert_non_null(conn[1]);
}

static void put(uint32_t n)
{
	struct iovec v = { out, CHUNK };

	memset(out, (int)n, 64);
	memcpy(out + CHUNK / 2, &n, sizeof(n));
	assert_int_equal(ap_send(&side[0].t, conn[0], &v, 1, 0), CHUNK);
}

static void get(uint32_t n)
{
	struct iovec v = { in, CHUNK };
	uint32_t k;

	assert_int_equal(ap_recv(&side[1].t, conn[1], &v, 1, 0, 0), CHUNK);
	memcpy(&k, in + CHUNK / 2, sizeof(k));
	assert_int_equal(k, n);
	assert_int_equal(in[0], n & 0xff);
	assert_int_equal(in[63], n & 0xff);
}

static void test_never_quite_there(void **state)
{
	struct ap_pair *pair = mmap(NULL, AP_PAIR_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct iovec v = { in, 1 };

	(void)state;
	assert_ptr_not_equal(pair, MAP_FAILED);
	connect_both(pair);
	for (uint32_t n = 0; n < N_CHUNKS + BEHIND; n++) {
		if (n < N_CHUNKS)
			put(n);
		if (n >= BEHIND)
			get(n - BEHIND);
	}
	assert_int_equal(ap_recv(&side[1].t, conn[1], &v, 1, 0, 0), -EAGAIN);
	munmap(pair, AP_PAIR_BYTES);
	rig_free(&side[0]);
	rig_free(&side[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_never_quite_there) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
