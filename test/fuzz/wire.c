/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every parser of src/wire on any bytes: none reads past its end (the sanitizer sees to that,
 * the bytes lie in memory of exactly their length), and what is parsed and emitted again
 * parses to the same.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
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

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *p = malloc(size ? size : 1);

	must(p);
	memcpy(p, data, size);
	tcp(p, (uint32_t)size);
	ip(p, (uint32_t)size);
	rest(p, (uint32_t)size);
	free(p);
	return 0;
}
