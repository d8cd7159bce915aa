/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Frames and messages of apertures between hosts: what is built parses to the same, what is cut
 * or bent is refused, the checksums are the published ones. S2-OUT-04, -06, -07, -08; S2-PORT-03.
 */
#include "test/unit/panic.h"

#include <string.h>

#include "base/prng.h"
#include "wire/ci.h"

#define ROUNDS 20000
#define MTU 1472

static uint8_t *tight(const uint8_t *p, size_t n)
{
	uint8_t *q = malloc(n ? n : 1);

	assert_non_null(q);
	memcpy(q, p, n);
	return q;
}

/* RFC 3720 B.4, and the check value of the catalogue. */
static void test_crc32c(void **state)
{
	uint8_t b[32], big[3000];
	struct prng r;

	(void)state;
	memset(b, 0, 32);
	assert_int_equal(crc32c_scalar(b, 32, 0), 0x8a9136aa);
	memset(b, 0xff, 32);
	assert_int_equal(crc32c_scalar(b, 32, 0), 0x62a8ab43);
	for (unsigned i = 0; i < 32; i++)
		b[i] = (uint8_t)i;
	assert_int_equal(crc32c_scalar(b, 32, 0), 0x46dd794e);
	assert_int_equal(crc32c_scalar("123456789", 9, 0), 0xe3069283);
	prng_seed(&r, 1);
	for (unsigned i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)prng_u64(&r);
	for (unsigned i = 0; i < 2000; i++) {
		uint32_t at = prng_below(&r, 64), n = prng_below(&r, 2900), cut = n ? prng_below(&r, n) : 0;
		uint32_t crc = crc32c_scalar(big + at, n, 0);

		assert_int_equal(crc32c_best()(big + at, n, 0), crc);
		assert_int_equal(crc32c_best()(big + at + cut, n - cut, crc32c_best()(big + at, cut, 0)), crc);
	}
}

static void random_addr(struct prng *r, struct ci_addr *a)
{
	a->host = (uint32_t)prng_u64(r);
	a->index = (uint32_t)prng_u64(r) & CI_INDEX_MASK;
	a->nonce = prng_u64(r) & CI_NONCE_MASK;
	a->offset = (uint32_t)prng_u64(r);
}

/* S2-OUT-04: host 32 | in-index 24 | nonce 40 | offset 32. */
static void test_cluster_address(void **state)
{
	static const uint8_t want[16] = { 10, 9, 0, 1, 0xab, 0xcd, 0xef, 0x12, 0x34, 0x56, 0x78, 0x9a, 0, 1, 2, 3 };
	struct ci_addr a = { 0x0a090001, 0xabcdef, 0x123456789aull, 0x00010203 }, b;
	uint8_t raw[16];
	struct prng r;

	(void)state;
	wire_ci_addr_emit(raw, &a);
	assert_memory_equal(raw, want, 16);
	prng_seed(&r, 2);
	for (unsigned i = 0; i < ROUNDS; i++) {
		memset(&a, 0, sizeof(a));
		memset(&b, 0, sizeof(b));
		random_addr(&r, &a);
		wire_ci_addr_emit(raw, &a);
		wire_ci_addr_parse(raw, &b);
		assert_memory_equal(&a, &b, sizeof(a));
	}
}

/* S2-OUT-06 (6): bursts for one host share a frame; unpacked they are what they were. */
static void test_packing(void **state)
{
	static uint8_t buf[CI_HDR_MAX + MTU], pool[4000];
	static struct ci_burst sent[256];
	struct prng r;

	(void)state;
	prng_seed(&r, 3);
	for (unsigned i = 0; i < sizeof(pool); i++)
		pool[i] = (uint8_t)prng_u64(&r);
	for (unsigned round = 0; round < ROUNDS; round++) {
		struct ci_hdr h = { .src_host = 7 }, got;
		struct ci_build b;
		struct ci_walk w;
		struct ci_burst x;
		struct ci_addr at;
		uint32_t n = 0, len, start, room;
		uint8_t *p;

		random_addr(&r, &at);
		wire_ci_begin(&b, buf, MTU, &h);
		while ((room = wire_ci_room(&b)) && n < 256 && prng_below(&r, 20)) {
			struct ci_burst *s = &sent[n];

			*s = (struct ci_burst){ .len = prng_below(&r, min_u32(room, prng_below(&r, 4) ? 16 : 1400) + 1),
						.first = !n || !prng_below(&r, 3), .event = prng_u64(&r) & 1 };
			if (s->first) {
				uint32_t host = at.host;

				random_addr(&r, &at);
				at.host = n ? host : at.host;
				s->seq = (uint32_t)prng_u64(&r);
				s->from = (uint16_t)prng_u64(&r);
			} else {
				s->seq = sent[n - 1].seq;
				s->from = sent[n - 1].from;
				if (prng_u64(&r) & 1)
					at.offset = (uint32_t)prng_u64(&r);
			}
			s->dst = at;
			s->data = pool + prng_below(&r, 2000);
			wire_ci_add(&b, &s->dst, s->seq, s->from, s->first, s->data, s->len, s->event);
			at.offset += s->len;
			n++;
		}
		if (!n)
			continue;
		start = wire_ci_end(&b, crc32c_scalar, &len);
		assert_true(len <= MTU);
		p = tight(buf + start, len);
		assert_int_equal(wire_ci_parse(p, len, &got), CI_OK);
		assert_true(wire_ci_crc_ok(p, &got, crc32c_best()));
		assert_int_equal(got.n_bursts, n);
		assert_int_equal(got.src_host, 7);
		wire_ci_walk(p, &got, &w);
		for (uint32_t i = 0; i < n; i++) {
			assert_true(wire_ci_next(&w, &x));
			assert_true(x.dst.host == sent[i].dst.host && x.dst.index == sent[i].dst.index &&
				    x.dst.nonce == sent[i].dst.nonce && x.dst.offset == sent[i].dst.offset);
			assert_int_equal(x.len, sent[i].len);
			assert_int_equal(x.first, sent[i].first);
			assert_int_equal(x.event, sent[i].event);
			assert_int_equal(x.seq, sent[i].seq);
			assert_int_equal(x.from, sent[i].from);
			assert_memory_equal(x.data, sent[i].data, x.len);
		}
		assert_false(wire_ci_next(&w, &x));
		free(p);
	}
}

static uint32_t sample(struct prng *r, uint8_t *p, struct ci_hdr *h)
{
	static const uint8_t ops[] = { CI_WRITE, CI_READ_REQ, CI_READ_RESP, CI_EVENT };
	uint8_t data[600];
	uint32_t n;

	memset(h, 0, sizeof(*h));
	h->op = ops[prng_below(r, 4)];
	random_addr(r, &h->dst);
	h->seq = (uint32_t)prng_u64(r);
	h->src_host = (uint32_t)prng_u64(r);
	h->from = (uint16_t)prng_u64(r);
	if (h->op == CI_READ_REQ) {
		h->tag = (uint32_t)prng_u64(r);
		h->len = (uint32_t)prng_u64(r);
		h->reply_index = (uint32_t)prng_u64(r) & CI_INDEX_MASK;
		h->reply_nonce = prng_u64(r) & CI_NONCE_MASK;
	} else if (h->op == CI_READ_RESP) {
		h->tag = (uint32_t)prng_u64(r);
		h->accepted = (uint32_t)prng_u64(r);
		h->status = (uint32_t)prng_u64(r);
	}
	n = h->op == CI_EVENT ? 8 : h->op == CI_READ_REQ ? 0 : prng_below(r, sizeof(data));
	for (uint32_t i = 0; i < n; i++)
		data[i] = (uint8_t)prng_u64(r);
	return wire_ci_emit(p, h, data, n, crc32c_best());
}

static void test_identity(void **state)
{
	uint8_t raw[1000];
	struct prng r;

	(void)state;
	prng_seed(&r, 4);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct ci_hdr a, b;
		uint32_t len = sample(&r, raw, &a);
		uint8_t *p = tight(raw, len);

		assert_int_equal(wire_ci_parse(p, len, &b), CI_OK);
		a.hdr_len = b.hdr_len;
		a.data_len = b.data_len;
		a.n_bursts = b.n_bursts;
		assert_memory_equal(&a, &b, sizeof(a));
		for (uint32_t n = 0; n < len && i < 200; n++) {
			uint8_t *q = tight(raw, n);

			assert_int_not_equal(wire_ci_parse(q, n, &b), CI_OK);
			free(q);
		}
		free(p);
	}
}

/* S2-OUT-07: any bit of the header; S2-OUT-08: any bit of the data or its CRC. */
static void test_flips(void **state)
{
	uint8_t raw[1000];
	struct prng r;

	(void)state;
	prng_seed(&r, 5);
	for (unsigned i = 0; i < 400; i++) {
		struct ci_hdr a, b, good;
		uint32_t len = sample(&r, raw, &a);

		assert_int_equal(wire_ci_parse(raw, len, &good), CI_OK);
		for (uint32_t bit = 0; bit < len * 8; bit++) {
			raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
			if (bit / 8 < good.hdr_len)
				assert_int_not_equal(wire_ci_parse(raw, len, &b), CI_OK);
			else
				assert_true(wire_ci_parse(raw, len, &b) == CI_OK &&
					    !wire_ci_crc_ok(raw, &b, crc32c_best()));
			raw[bit / 8] ^= (uint8_t)(1u << bit % 8);
		}
	}
}

/* Descriptors that lie behind a right checksum. */
static void test_bad_descriptors(void **state)
{
	struct ci_hdr h = { .op = CI_WRITE }, got;
	uint8_t raw[200], data[40] = { 0 };
	uint32_t len;
	uint16_t c;

	(void)state;
	static const struct { uint8_t at, value; } bend[] = {
		{ 36, 0x01 | CI_B_AP }, { 36, 0x00 }, { 36, CI_B_LEN | CI_B_OFF }, { 36, 0x11 }, { 38, 41 },
		{ 34, 0 }, { 34, 2 }, { 34, 255 }, { 39, 1 }, { 1, 0 }, { 1, 9 }, { 3, 1 }, { 35, 1 },
	};

	for (unsigned i = 0; i < n_elems(bend); i++) {
		len = wire_ci_emit(raw, &h, data, sizeof(data), crc32c_scalar);
		assert_int_equal(wire_ci_parse(raw, len, &got), CI_OK);
		raw[bend[i].at] = bend[i].value;
		memset(raw + 4, 0, 2);
		c = 0;
		for (uint32_t k = 0, sum = 0; k < 40; k += 2) {
			sum += get_be16(raw + k);
			sum = (sum & 0xffff) + (sum >> 16);
			c = (uint16_t)~sum;
		}
		put_be16(raw + 4, c);
		assert_int_equal(wire_ci_parse(raw, len, &got), CI_MALFORMED);
	}
}

/* S2-PORT-03: a fixed header in network order; every type. */
static void test_messages(void **state)
{
	uint8_t raw[CI_MSG_LEN + 300 + CI_CRC_LEN], body[300], *p;
	struct prng r;

	(void)state;
	prng_seed(&r, 6);
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct ci_msg a, b;
		uint32_t len;

		memset(&a, 0, sizeof(a));
		a.type = (uint8_t)prng_u64(&r);
		a.flags = (uint8_t)prng_u64(&r);
		a.size_class = (uint8_t)prng_u64(&r);
		a.ap_type = (uint16_t)prng_u64(&r);
		a.dst_port = (uint16_t)prng_u64(&r);
		a.src_port = (uint16_t)prng_u64(&r);
		a.body_len = (uint16_t)(prng_below(&r, 2) ? prng_below(&r, 300) : 0);
		a.step = (uint16_t)prng_u64(&r);
		a.every = (uint16_t)prng_u64(&r);
		a.dst_host = (uint32_t)prng_u64(&r);
		a.src_host = (uint32_t)prng_u64(&r);
		a.index = (uint32_t)prng_u64(&r) & CI_INDEX_MASK;
		a.peer_index = (uint32_t)prng_u64(&r) & CI_INDEX_MASK;
		a.nonce = prng_u64(&r) & CI_NONCE_MASK;
		a.peer_nonce = prng_u64(&r) & CI_NONCE_MASK;
		a.size = prng_u64(&r);
		a.seq0 = (uint32_t)prng_u64(&r);
		a.arg = (uint32_t)prng_u64(&r);
		a.arg2 = (uint32_t)prng_u64(&r);
		for (unsigned k = 0; k < sizeof(body); k++)
			body[k] = (uint8_t)(k * i);
		len = wire_ci_msg_emit(raw, &a, body, crc32c_scalar);
		p = tight(raw, len);
		assert_int_equal(wire_ci_msg_parse(p, len, &b), CI_OK);
		assert_memory_equal(&a, &b, sizeof(a));
		assert_true(wire_ci_msg_crc_ok(p, &b, crc32c_best()));
		if (a.body_len) {
			assert_int_equal(wire_ci_msg_parse(p, len - 1, &b), CI_SHORT);
			p[CI_MSG_LEN + i % a.body_len] ^= 1;
			assert_false(wire_ci_msg_crc_ok(p, &a, crc32c_best()));
		}
		p[i % CI_MSG_LEN] ^= (uint8_t)(1u << i % 8);
		assert_int_not_equal(wire_ci_msg_parse(p, len, &b), CI_OK);
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_crc32c),	   cmocka_unit_test(test_cluster_address),
		cmocka_unit_test(test_packing),	   cmocka_unit_test(test_identity),
		cmocka_unit_test(test_flips),	   cmocka_unit_test(test_bad_descriptors),
		cmocka_unit_test(test_messages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
