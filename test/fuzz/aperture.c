/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine of apertures between hosts on any frames, from somebody who knows the nonces of one
 * aperture and the rest of the format: memory outside that aperture stays as it was, and what
 * must hold of the engine holds (S2-MAP-03).
 *
 * Input: pieces of a byte of orders, a byte of length, and that many bytes of a frame. Orders say
 * which type it comes with, whether its checksums are put right, whether index and nonce are
 * those that it would have to guess, and how much time passes.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csum.h"
#include "base/must.h"
#include "core/aperture/aperture.h"

#define MEM 8192u
#define FIRST 2048u
#define SIZE 4096u

static struct apw_conf conf = { .host = 0x0a000002, .n_rows = 16, .n_ports = 4, .n_regions = 4, .n_queues = 2,
				.n_reads = 4, .n_frames = 8, .mtu = 512, .secret = { 1, 2 }, .crc = crc32c_scalar };
static const struct apw_addr peer = { .host = 0x0a000001, .carrier = 7 };
static uint8_t *memory, *mem, *os_mem, *q_mem;
static uint64_t now;

void onramp_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

static struct apw *fresh(uint32_t *ret_conn)
{
	struct apw_side s = { .flags = APW_F_READ | APW_F_WRITE, .checks = APW_LEVEL_1, .offset = FIRST, .size = SIZE };
	struct apw_offer o = { .queue = 1 };
	uint32_t region, q;
	uint16_t port, lport;
	struct apw *e;

	memset(mem, 0, apw_bytes(&conf));
	memset(os_mem, 0, apw_evq_bytes(8, 64));
	memset(q_mem, 0, apw_evq_bytes(8, 64));
	memset(memory, 0x5a, MEM);
	now = NS_PER_S;
	e = apw_init(mem, &conf);
	must(apw_queue(e, os_mem, 8, 64, &q) == 0 && apw_queue(e, q_mem, 8, 64, &q) == 0);
	must(apw_region(e, memory, MEM, &region) == 0);
	must(apw_bind(e, 0, &o, &lport) == 0);
	o.side = s;
	must(apw_bind(e, 5, &o, &port) == 0);
	struct apw_connect c = { .to = peer, .port = 9, .lport = lport, .side = s };
	must(apw_connect(e, now, &c, ret_conn) == 0);
	return e;
}

static void put_sum(uint8_t *p, uint32_t n, uint32_t at)
{
	uint16_t c;

	p[at] = p[at + 1] = 0;
	c = csum_finish(csum_add_scalar(p, n, 0));
	memcpy(p + at, &c, 2);
}

/* Index 24, nonce 40, as both sit in frames and messages. */
static void put_name(uint8_t *p, const struct apw_in *r)
{
	put_be32(p, r->index << 8 | (uint32_t)(r->nonce >> 32));
	put_be32(p + 4, (uint32_t)r->nonce);
}

static void put_right(uint8_t *p, uint32_t n, const struct apw_in *r, bool message, bool knows)
{
	uint32_t hdr = n > 2 ? p[2] * 4u : 0, data;

	if (message && n >= CI_MSG_LEN) {
		put_be16(p, CI_TYPE_MSG);
		p[2] = CI_VERSION;
		put_be32(p + 4, conf.host);
		if (knows)
			put_name(p + 32, r);
		put_sum(p, CI_MSG_LEN, 16);
	} else if (!message && n >= CI_HDR_LEN && hdr >= CI_HDR_LEN && hdr + CI_CRC_LEN <= n) {
		p[0] = CI_VERSION;
		p[3] = p[35] = 0;
		put_be32(p + 8, conf.host);
		if (knows)
			put_name(p + 12, r);
		data = get_be16(p + 6);
		if (hdr + data + CI_CRC_LEN > n)
			put_be16(p + 6, (uint16_t)(data = n - hdr - CI_CRC_LEN));
		put_sum(p, hdr, 4);
		put_be32(p + hdr + data, crc32c_scalar(p + hdr, data, 0));
	}
}

static void frame(struct apw *e, uint32_t conn, uint8_t orders, const uint8_t *given, uint32_t n)
{
	static const uint16_t types[] = { CI_TYPE_DATA, CI_TYPE_EVENT, CI_TYPE_MSG, CI_TYPE_DATA };
	uint16_t type = types[orders & 3];
	uint8_t *p = malloc(n ? n : 1);

	must(p);
	memcpy(p, given, n);
	if (orders & 4)
		put_right(p, n, apw_in_row(e, conn % conf.n_rows), type == CI_TYPE_MSG, orders & 8);
	apw_rx(e, now, &peer, type, p, n);
	apw_rx_end(e);
	free(p);
	if (orders & 16) {
		now += NS_PER_S / 4;
		apw_tick(e, now);
	}
	while (apw_tx_peek(e))
		apw_tx_pop(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct apw *e;
	uint32_t conn;

	if (!mem) {
		mem = aligned_alloc(64, (apw_bytes(&conf) + 63) / 64 * 64);
		os_mem = aligned_alloc(64, 4096);
		q_mem = aligned_alloc(64, 4096);
		memory = malloc(MEM);
		must(mem && os_mem && q_mem && memory && apw_evq_bytes(8, 64) <= 4096);
	}
	e = fresh(&conn);
	while (size >= 2) {
		uint32_t n = min_u32(data[1] * 2u, (uint32_t)size - 2);

		frame(e, conn, data[0], data + 2, n);
		data += 2 + n;
		size -= 2 + n;
	}
	apw_check(e);
	for (uint32_t i = 0; i < MEM; i++)
		if (i < FIRST || i >= FIRST + SIZE)
			must(memory[i] == 0x5a);
	return 0;
}
