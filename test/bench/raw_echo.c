/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The floor: 64-byte frames there and back over the very device side that sockets use (VF,
 * filters, validation), with no TCP above it. Both ends spin on their rings.
 *
 *   raw_echo server PORT                       answers whatever comes to UDP PORT
 *   raw_echo client ADDR PORT ROUNDS [BYTES]   -> one JSON line
 *
 * It gets a stack from the agent like any program, but drives the rings through core/vif
 * alone: a UDP header is there because the filters ask for one.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/ip/ip.h"
#include "core/vif/vif.h"
#include "exec/ctl.h"
#include "exec/exec.h"

noreturn_fn void onramp_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

static struct exec x;

static void check(int err, const char *what)
{
	if (err < 0) {
		fprintf(stderr, "raw_echo: %s: %s\n", what, strerror(-err));
		exit(1);
	}
}

/* The turn is never ended while frames go round: its errands would take them off the ring. */
static void kick(struct turn *t)
{
	t->map->seg->kicks_owed = 0;
	host_kick(&x.fds, t->bells);
	t->bells = 0;
}

/* Sends one frame that is complete from its Ethernet header on. */
static void post(struct turn *t, pkt_h h)
{
	while (vif_post(t, 0, h) == -ENOBUFS)
		vif_reap(t, 0);
	pkt_put(t, h);
	kick(t);
}

static pkt_h wait_frame(struct turn *t)
{
	pkt_h h;

	for (;;) {
		h = vif_poll(t, 0);
		if (h.v)
			return h;
		vif_reap(t, 0);
		vif_refill(t, 0);
	}
}

/* Swaps the two ends of an Ethernet + IPv4 + UDP frame; sums stay as they are. */
static void turn_round(uint8_t *f)
{
	uint8_t tmp[6];

	memcpy(tmp, f, 6); memcpy(f, f + 6, 6); memcpy(f + 6, tmp, 6);
	memcpy(tmp, f + 26, 4); memcpy(f + 26, f + 30, 4); memcpy(f + 30, tmp, 4);
	memcpy(tmp, f + 34, 2); memcpy(f + 34, f + 36, 2); memcpy(f + 36, tmp, 2);
}

static _Noreturn void serve(uint16_t port)
{
	struct sockaddr_in sin = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct ctl_lease lease = { .laddr = ip_from4(0), .lport = port, .proto = IPPROTO_UDP };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct turn t;
	pkt_h h;

	if (bind(fd, (struct sockaddr *)&sin, sizeof(sin)) < 0)
		check(-errno, "bind");
	check(exec_lease_add(&x, &lease, fd), "lease");
	exec_begin(&x, &t);
	(void)exec_round(&x, &t);	/* stocks the fill ring before anybody may send */
	exec_end(&x, &t, false);
	printf("ready\n");
	fflush(stdout);
	exec_begin(&x, &t);
	for (;;) {
		h = wait_frame(&t);
		turn_round(pkt_data(&t, pkt_at(&t, h)));
		post(&t, h);
	}
}

static void fill_frame(struct turn *t, struct pkt *p, const struct ipaddr *dst, uint16_t lport,
		       uint16_t port, uint32_t bytes)
{
	struct ipaddr src = ip_from4(0);
	struct path path = { 0 };
	struct ip_out out;
	uint8_t *udp;
	int err, tries = 0;

	while ((err = ip_route(t, dst, &src, &path)) == -EAGAIN && tries++ < 2000) {
		exec_end(&x, t, false);
		usleep(1000);
		exec_begin(&x, t);
	}
	check(err, "route");
	p->len = (uint16_t)(8 + bytes);
	p->tot = p->len;
	udp = pkt_data(t, p);
	memset(udp, 0, p->len);
	put_be16(udp, lport);
	put_be16(udp + 2, port);
	put_be16(udp + 4, p->len);
	out = (struct ip_out){ .src = &src, .dst = dst, .path = &path, .proto = IPPROTO_UDP };
	check(ip_output(t, pkt_handle(t, p), &out), "output");
}

static int by_value(const void *a, const void *b)
{
	uint64_t p = *(const uint64_t *)a, q = *(const uint64_t *)b;

	return p < q ? -1 : p > q;
}

static void measure(const char *host, uint16_t port, size_t rounds, uint32_t bytes)
{
	uint64_t *d = calloc(rounds, sizeof(*d)), t0;
	size_t i, warm = rounds / 10, n = rounds - warm;
	struct ipaddr dst;
	struct in_addr in;
	struct turn t;
	uint16_t lport;
	pkt_h h;

	inet_pton(AF_INET, host, &in);
	dst = ip_from4(ntohl(in.s_addr));
	check(exec_get_ports(&x), "port block");
	exec_begin(&x, &t);
	(void)exec_round(&x, &t);
	lport = port_get(&t, IPPROTO_UDP, &dst, &dst, port, NULL);
	if (lport == 0)
		check(-EADDRNOTAVAIL, "port");
	for (i = 0; i < rounds; i++) {
		t0 = host_now();
		if (i == 0) {
			h = pkt_get(&t);
			fill_frame(&t, pkt_at(&t, h), &dst, lport, port, bytes);
			pkt_put(&t, h);
			kick(&t);
		} else {
			turn_round(pkt_data(&t, pkt_at(&t, h)));
			post(&t, h);
		}
		h = wait_frame(&t);
		if (i >= warm)
			d[i - warm] = host_now() - t0;
	}
	exec_end(&x, &t, false);
	qsort(d, n, sizeof(*d), by_value);
	printf("{\"rtt_us_p50\":%.3f,\"rtt_us_p99\":%.3f,\"rounds\":%zu}\n", (double)d[n / 2] / 1e3,
	       (double)d[n * 99 / 100] / 1e3, n);
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: raw_echo server PORT | client ADDR PORT ROUNDS [BYTES]\n");
		return 2;
	}
	check(exec_open(&x, EXEC_APP, 3), "stack from the agent");
	if (!strcmp(argv[1], "server"))
		serve((uint16_t)atoi(argv[2]));
	if (argc < 5)
		return 2;
	measure(argv[2], (uint16_t)atoi(argv[3]), strtoul(argv[4], NULL, 10),
		argc > 5 ? (uint32_t)atoi(argv[5]) : 22);
	return 0;
}
