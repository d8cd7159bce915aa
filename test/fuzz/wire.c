/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every parser of src/wire on any bytes: none reads past its end (the sanitizer sees to that,
 * the bytes lie in memory of exactly their length), and what is parsed and emitted again
 * parses to the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/csum.h"
#include "base/must.h"
#include "wire/ci.h"
#include "wire/eth.h"
#include "wire/icmp.h"
#include "wire/ip4.h"
#include "wire/ip6.h"
#include "wire/tcp.h"
#include "wire/udp.h"

void onramp_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

static void tcp(const uint8_t *p, uint32_t n)
{
	struct tcp_hdr a, b;
	uint8_t raw[TCP_HDR_MAX];
	uint32_t len;

	memset(&a, 0, sizeof(a));
	memset(&b, 0, sizeof(b));
	if (!wire_tcp_parse(p, n, &a))
		return;
	must(a.hdr_len >= TCP_HDR_MIN && a.hdr_len <= n && a.n_sack <= TCP_SACK_MAX);
	must(a.ws <= TCP_WS_MAX);
	len = wire_tcp_emit(raw, &a);
	must(len == wire_tcp_emit_len(&a) && len <= TCP_HDR_MAX);
	must(wire_tcp_parse(raw, len, &b) && b.hdr_len == len);
	/* Odd padding may have left room for a block more than our own layout has. */
	must(b.n_sack <= a.n_sack);
	for (uint32_t i = b.n_sack; i < TCP_SACK_MAX; i++)
		a.sack[i][0] = a.sack[i][1] = b.sack[i][0] = b.sack[i][1] = 0;
	a.hdr_len = b.hdr_len;
	a.n_sack = b.n_sack;
	must(memcmp(&a, &b, sizeof(a)) == 0);
}

static void ip(const uint8_t *p, uint32_t n)
{
	struct ip4_hdr h4;
	struct ip6_hdr h6, again;
	struct eth_hdr eth;
	uint8_t raw[60], proto;
	uint32_t off = 0;

	if (wire_eth_parse(p, n, &eth)) {
		wire_eth_emit(raw, &eth);
		must(memcmp(raw, p, ETH_HDR_LEN) == 0);
	}
	if (wire_ip4_parse(p, n, &h4)) {
		must(h4.hdr_len <= n && h4.hdr_len >= IP4_HDR_LEN);
		wire_ip4_emit(raw, &h4);
		must(memcmp(raw + 1, p + 1, 5) == 0 && memcmp(raw + 12, p + 12, 8) == 0);
	}
	if (wire_ip6_parse(p, n, &h6)) {
		wire_ip6_emit(raw, &h6);
		must(memcmp(raw, p, IP6_HDR_LEN) == 0);
		must(wire_ip6_parse(raw, IP6_HDR_LEN, &again));
	}
	if (n && wire_ip6_walk(p + 1, n - 1, p[0], &proto, &off) == IP6_WALK_OK)
		must(off <= n - 1);
}

static void rest(const uint8_t *p, uint32_t n)
{
	struct udp_hdr udp;
	struct icmp_hdr icmp;
	struct icmp_inner q;
	uint8_t raw[8];

	if (wire_udp_parse(p, n, &udp)) {
		wire_udp_emit(raw, &udp);
		must(memcmp(raw, p, 8) == 0);
	}
	if (wire_icmp_parse(p, n, &icmp)) {
		wire_icmp_emit(raw, &icmp);
		must(memcmp(raw, p, 8) == 0);
	}
	for (int is4 = 0; is4 < 2; is4++)
		if (wire_icmp_inner_parse(p, n, is4, &q))
			must(q.proto == 6 || q.proto == 17);
}

/* A fuzzer does not guess checksums: the bytes as they are, and with the right one. */
static void ci_frame(const uint8_t *p, uint32_t n)
{
	struct ci_hdr h;
	struct ci_walk w;
	struct ci_burst b;
	uint32_t bytes = 0, bursts = 0;

	if (wire_ci_parse(p, n, &h) != CI_OK)
		return;
	must(h.hdr_len >= CI_HDR_LEN && h.hdr_len <= CI_HDR_MAX);
	must((uint32_t)h.hdr_len + h.data_len + CI_CRC_LEN <= n);
	if (wire_ci_crc_ok(p, &h, crc32c_scalar))
		bytes = 0;
	if (h.op != CI_WRITE)
		return;
	wire_ci_walk(p, &h, &w);
	while (wire_ci_next(&w, &b)) {
		must(b.data >= p + h.hdr_len && b.data + b.len <= p + h.hdr_len + h.data_len);
		must(b.dst.index <= CI_INDEX_MASK && b.dst.nonce <= CI_NONCE_MASK && b.first >= (bursts == 0));
		bytes += b.len;
		bursts++;
	}
	must(bytes == h.data_len && bursts == h.n_bursts);
}

static void ci_message(const uint8_t *p, uint32_t n)
{
	struct ci_msg a, b;
	uint8_t *raw;

	if (wire_ci_msg_parse(p, n, &a) != CI_OK)
		return;
	raw = malloc(CI_MSG_LEN + a.body_len + CI_CRC_LEN);
	must(raw);
	if (wire_ci_msg_crc_ok(p, &a, crc32c_scalar) && a.body_len)
		must(n >= (uint32_t)CI_MSG_LEN + a.body_len + CI_CRC_LEN);
	n = wire_ci_msg_emit(raw, &a, p + CI_MSG_LEN, crc32c_scalar);
	must(wire_ci_msg_parse(raw, n, &b) == CI_OK && memcmp(&a, &b, sizeof(a)) == 0);
	must(wire_ci_msg_crc_ok(raw, &b, crc32c_scalar));
	free(raw);
}

static void sum_right(uint8_t *p, uint32_t n, uint32_t at)
{
	uint16_t c;

	p[at] = p[at + 1] = 0;
	c = csum_finish(csum_add_scalar(p, n, 0));
	memcpy(p + at, &c, 2);
}

static void ci(uint8_t *p, uint32_t n)
{
	ci_frame(p, n);
	ci_message(p, n);
	if (n >= CI_MSG_LEN) {
		sum_right(p, CI_MSG_LEN, 16);
		ci_message(p, n);
	}
	if (n >= CI_HDR_LEN && p[2] * 4u >= CI_HDR_LEN && p[2] * 4u <= n) {
		sum_right(p, p[2] * 4u, 4);
		ci_frame(p, n);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size ? size : 1);

	must(p);
	memcpy(p, data, size);
	tcp(p, (uint32_t)size);
	ip(p, (uint32_t)size);
	rest(p, (uint32_t)size);
	ci(p, (uint32_t)size);	/* last: it writes checksums */
	free(p);
	return 0;
}
