/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two programs that share memory over the network (onramp/aperture.h): a counter that goes back
 * and forth, written by stores and read by loads; then an event; then the bulk of it, with a fence.
 *
 *	aperture-pingpong server [ADDRESS[:PORT]] [INTERFACE]
 *	aperture-pingpong client SERVER[:PORT] [ROUNDS] [MY-ADDRESS INTERFACE]
 *
 * Without INTERFACE: UDP, as any user. With it: Ethernet frames of their own type, as root; then
 * addresses are names for the two programs. The server prints where it is, serves one client
 * after another, until it is ended by a signal. The client prints one line of JSON.
 */
#include <onramp/aperture.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PORT	5
#define BYTES	65536

struct shared {				/* what each side lets the other write */
	_Alignas(64) volatile uint64_t counter;	/* the network's, not this program's, to change */
	_Alignas(64) uint8_t line[64];
	_Alignas(64) uint8_t bulk[BYTES];
};

static struct onramp_ap *ap;
static struct shared *mine;

static void check(const char *what, int r)
{
	if (r >= 0)
		return;
	fprintf(stderr, "aperture-pingpong: %s: %s\n", what, strerror(-r));
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void open_endpoint(const char *address, const char *interface)
{
	struct onramp_ap_options o = { .size = sizeof(o), .address = address, .interface = interface, .spin_us = 2000 };

	check("open", onramp_ap_open(&o, &ap));
	mine = onramp_ap_alloc(ap, sizeof(*mine));
	check("alloc", mine ? 0 : -12);
}

static struct onramp_ap_memory memory(void)
{
	return (struct onramp_ap_memory){ .base = mine, .bytes = sizeof(*mine), .flags = ONRAMP_AP_READ | ONRAMP_AP_WRITE };
}

/* ---- the server -------------------------------------------------------------------------------- */

static uint32_t conn_now;		/* the client served now; 0: none */
static uint64_t seen, moved_at, said_at;

static void react(const struct onramp_ap_event *ev)
{
	if (ev->type == ONRAMP_AP_EV_OPEN) {
		conn_now = ev->conn;
		mine->counter = seen = 0;
		moved_at = now_ns();
	} else if (ev->type == ONRAMP_AP_EV_CLOSED && ev->conn == conn_now) {
		conn_now = 0;
	} else if (ev->type == ONRAMP_AP_EV_DELIVERY && ev->value == 7) {
		onramp_ap_notify(ap, ev->conn, 8);
		moved_at = now_ns();
	}
}

/* Sends the counter back when it has moved; and again, for a frame may be lost, while it rests. */
static void echo(void)
{
	uint64_t now = now_ns();

	if (mine->counter != seen) {
		seen = mine->counter;
		moved_at = now;
	} else if (!seen || now - said_at < 20000000) {
		return;
	}
	said_at = now;
	onramp_ap_store64(ap, conn_now, offsetof(struct shared, counter), seen);
}

static _Noreturn void serve(const char *address, const char *interface)
{
	struct onramp_ap_event ev;
	struct onramp_ap_memory m;
	char text[64];

	open_endpoint(address, interface);
	m = memory();
	check("offer", onramp_ap_offer(ap, PORT, &m, NULL, NULL));
	check("address", onramp_ap_address(ap, text, sizeof(text)));
	printf("ready %s\n", text);
	fflush(stdout);
	for (;;) {
		/* A client that has said nothing for a second is not worth spinning for. */
		int wait = !conn_now ? -1 : now_ns() - moved_at > 1000000000 ? 10 : 0;
		int r = onramp_ap_event(ap, &ev, wait);

		check("event", r);
		if (r)
			react(&ev);
		if (conn_now)
			echo();
	}
}

/* ---- the client ---------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* One store of 64 bits there, one back. A lost frame is stored again, as memory may be. */
static uint64_t round_trip(uint32_t conn, uint64_t n)
{
	uint64_t start = now_ns(), again = start + 50000000;

	check("store", onramp_ap_store64(ap, conn, offsetof(struct shared, counter), n));
	while (mine->counter != n) {
		check("poll", onramp_ap_poll(ap));
		if (now_ns() < again)
			continue;
		check("store", onramp_ap_store64(ap, conn, offsetof(struct shared, counter), n));
		again += 50000000;
	}
	return now_ns() - start;
}

/* An event there, one back. */
static uint64_t event_trip(uint32_t conn)
{
	struct onramp_ap_event ev;
	uint64_t start = now_ns();

	for (int tries = 0; tries < 100; tries++) {
		check("notify", onramp_ap_notify(ap, conn, 7));
		while (onramp_ap_event(ap, &ev, 50) == 1)
			if (ev.type == ONRAMP_AP_EV_DELIVERY && ev.value == 8)
				return now_ns() - start;
	}
	check("event", -110);
	return 0;
}

/* Stores, until a fence says that all has arrived. Returns how often that was not so. */
static unsigned store_surely(uint32_t conn, uint64_t offset, const void *p, size_t n)
{
	unsigned lost = 0;

	for (;;) {
		int r;

		check("store", onramp_ap_store(ap, conn, offset, p, n, 0));
		r = onramp_ap_fence(ap, conn, 10000);
		if (!r)
			return lost;
		if (r != -5)	/* EIO: some were lost */
			check("fence", r);
		lost++;
	}
}

static double megabytes_per_s(uint32_t conn)
{
	uint64_t start = now_ns(), n = 0;

	for (; now_ns() - start < 300000000; n++)
		store_surely(conn, offsetof(struct shared, bulk), mine->bulk, BYTES);
	return (double)n * BYTES * 1e3 / (double)(now_ns() - start);
}

static int measure(const char *server, unsigned long rounds, const char *address, const char *interface)
{
	uint64_t *t = calloc(rounds + 1, sizeof(*t)), event_ns = 0;
	unsigned long warm = rounds / 10, n = rounds - warm;
	struct onramp_ap_memory m;
	uint8_t back[64];
	double mb_s = 0;
	uint32_t conn;

	if (!t || !n)
		return 2;
	open_endpoint(address, interface);
	m = memory();
	check("connect", onramp_ap_connect(ap, server, PORT, &m, 5000, &conn));
	for (unsigned long i = 0; i < rounds; i++)
		t[i] = round_trip(conn, i + 1);
	for (int i = 0; i < 100; i++)
		event_ns += event_trip(conn);
	store_surely(conn, offsetof(struct shared, line), "written there, read from here", 30);
	check("read", onramp_ap_read(ap, conn, offsetof(struct shared, line), back, sizeof(back), 10000));
	check("compare", memcmp(back, "written there, read from here", 30) ? -5 : 0);
	if (rounds >= 1000)
		mb_s = megabytes_per_s(conn);
	qsort(t + warm, n, sizeof(*t), by_value);
	printf("{\"rtt_us_p50\":%.3f,\"rtt_us_p99\":%.3f,\"event_us\":%.3f,\"mb_s\":%.1f,\"rounds\":%lu}\n",
	       (double)t[warm + n / 2] / 1e3, (double)t[warm + n * 99 / 100] / 1e3, (double)event_ns / 1e5, mb_s, n);
	onramp_ap_disconnect(ap, conn);
	onramp_ap_close(ap);
	free(t);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc >= 2 && !strcmp(argv[1], "server"))
		serve(argc > 2 && argv[2][0] ? argv[2] : NULL, argc > 3 ? argv[3] : NULL);
	if (argc >= 3 && !strcmp(argv[1], "client"))
		return measure(argv[2], argc > 3 ? strtoul(argv[3], NULL, 10) : 20000, argc > 5 ? argv[4] : NULL,
			       argc > 5 ? argv[5] : NULL);
	fprintf(stderr, "usage: aperture-pingpong server [ADDRESS[:PORT]] [INTERFACE]\n"
			"       aperture-pingpong client SERVER[:PORT] [ROUNDS] [MY-ADDRESS INTERFACE]\n");
	return 2;
}
