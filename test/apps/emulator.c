/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A wire with faults between two interfaces, for machines whose kernel has no netem: what comes in
 * at one goes out at the other, later, or twice, or not at all, as a seed says. Both ways alike.
 *
 *   emulator IF_A IF_B [delay_us=N] [jitter_us=N] [loss=PERMILLE] [dup=PERMILLE] [seed=N] [pcap=FILE]
 *
 * Every frame is delayed by delay_us and a random part of jitter_us, so jitter reorders. ARP and
 * neighbour discovery are only delayed. FILE gets every frame as it came in, before its fate, so that
 * a reader sees what either side sent. Says "ready" and runs until SIGTERM; then tells what it did in
 * a JSON line. Frames larger than the MTU (unsegmented super-frames) cannot go out: the interfaces'
 * peers must have their offloads off.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FRAME_MAX	(1 << 16)
#define N_QUEUED	65536u
#define LOOK_NS		100000000u
#define BUDGET		64		/* frames of one side before the other has its turn */

struct frame {
	uint64_t due;			/* ns */
	uint64_t order;			/* among those due at the same time */
	uint32_t to, len;
	uint8_t *bytes;
};

static struct {
	int fd[2];
	uint64_t delay, jitter, loss, dup, order;
	uint64_t rng[2];		/* one each way: the fate of the nth frame is not the other way's business */
	FILE *pcap;
	struct frame heap[N_QUEUED + 1];	/* from 1 on; the smallest first */
	uint32_t n;
	uint64_t taken, lost, doubled, sent, too_long, overflow;
	uint64_t stood_ms;		/* the longest that the machine let us stand still */
} w;

static volatile sig_atomic_t over;

static void stop(int sig)
{
	(void)sig;
	over = 1;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(clockid_t which)
{
	struct timespec ts;

	clock_gettime(which, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static uint64_t draw(uint32_t from, uint64_t below)
{
	uint64_t *r = &w.rng[from];

	*r ^= *r << 13;
	*r ^= *r >> 7;
	*r ^= *r << 17;
	return below ? *r % below : 0;
}

/* ---- what is on its way ------------------------------------------------------------------------- */

static bool before(const struct frame *a, const struct frame *b)
{
	return a->due != b->due ? a->due < b->due : a->order < b->order;
}

static void push(struct frame f)
{
	uint32_t i = ++w.n;

	for (; i > 1 && before(&f, &w.heap[i / 2]); i /= 2)
		w.heap[i] = w.heap[i / 2];
	w.heap[i] = f;
}

static struct frame pop(void)
{
	struct frame top = w.heap[1], last = w.heap[w.n--];
	uint32_t i = 1, k;

	for (; (k = 2 * i) <= w.n; i = k) {
		k += k < w.n && before(&w.heap[k + 1], &w.heap[k]);
		if (!before(&w.heap[k], &last))
			break;
		w.heap[i] = w.heap[k];
	}
	w.heap[i] = last;
	return top;
}

static void send_later(const uint8_t *bytes, uint32_t len, uint32_t to)
{
	struct frame f = { .to = to, .len = len, .order = w.order++ };

	if (w.n == N_QUEUED) {
		w.overflow++;
		return;
	}
	f.bytes = malloc(len);
	if (!f.bytes)
		die("malloc");
	memcpy(f.bytes, bytes, len);
	f.due = now_ns(CLOCK_MONOTONIC) + w.delay + draw(!to, w.jitter);
	push(f);
}

static void send_due(void)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC);

	while (w.n && w.heap[1].due <= now) {
		struct frame f = pop();

		if (send(w.fd[f.to], f.bytes, f.len, 0) == (ssize_t)f.len)
			w.sent++;
		else
			w.too_long++;
		free(f.bytes);
	}
}

/* ---- what comes ------------------------------------------------------------------------------------ */

static void put32(uint32_t v) { fwrite(&v, sizeof(v), 1, w.pcap); }

static void pcap_begin(const char *path)
{
	w.pcap = fopen(path, "wb");
	if (!w.pcap)
		die(path);
	put32(0xa1b2c3d4);
	put32(2 | 4 << 16);
	put32(0);
	put32(0);
	put32(FRAME_MAX);
	put32(1);			/* Ethernet */
}

static void pcap_frame(const uint8_t *bytes, uint32_t len)
{
	uint64_t us = now_ns(CLOCK_REALTIME) / 1000;

	put32((uint32_t)(us / 1000000));
	put32((uint32_t)(us % 1000000));
	put32(len);
	put32(len);
	fwrite(bytes, len, 1, w.pcap);
}

/* IP, but not ICMPv6: that finds neighbours. */
static bool may_be_hurt(const uint8_t *b, uint32_t len)
{
	uint32_t type = len >= 14 ? (uint32_t)b[12] << 8 | b[13] : 0;

	return type == ETHERTYPE_IP || (type == ETHERTYPE_IPV6 && len > 20 && b[20] != IPPROTO_ICMPV6);
}

static void take(uint32_t from)
{
	static uint8_t buf[FRAME_MAX];

	for (int i = 0; i < BUDGET; i++) {
		ssize_t n = recv(w.fd[from], buf, sizeof(buf), MSG_DONTWAIT);

		if (n <= 0)
			return;
		w.taken++;
		if (w.pcap)
			pcap_frame(buf, (uint32_t)n);
		if (may_be_hurt(buf, (uint32_t)n)) {
			if (draw(from, 1000) < w.loss) {
				w.lost++;
				continue;
			}
			if (draw(from, 1000) < w.dup) {
				w.doubled++;
				send_later(buf, (uint32_t)n, !from);
			}
		}
		send_later(buf, (uint32_t)n, !from);
	}
}

/* Until the next frame is due; LOOK_NS at most, to hear of SIGTERM. */
static uint64_t wait_ns(void)
{
	uint64_t now = now_ns(CLOCK_MONOTONIC), due = w.n ? w.heap[1].due : now + LOOK_NS;

	if (due <= now)
		return 0;
	return due - now < LOOK_NS ? due - now : LOOK_NS;
}

static void look(uint64_t slept_at, uint64_t asked)
{
	uint64_t late = now_ns(CLOCK_MONOTONIC) - slept_at;

	late = late > asked ? (late - asked) / 1000000 : 0;
	w.stood_ms = late > w.stood_ms ? late : w.stood_ms;
}

static int listen_on(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL)), on = 1, room = 16 << 20;
	struct sockaddr_ll at = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	struct packet_mreq all = { .mr_type = PACKET_MR_PROMISC };

	at.sll_ifindex = all.mr_ifindex = (int)if_nametoindex(name);
	if (fd < 0 || !at.sll_ifindex || bind(fd, (void *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &on, sizeof(on)) ||
	    setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof(all)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof(room)))
		die(name);
	return fd;
}

static void seed(uint64_t v)
{
	for (uint32_t i = 0; i < 2; i++)
		w.rng[i] = (2 * v + i) * 0x9e3779b97f4a7c15u + 1;
}

static void option(const char *arg)
{
	unsigned long long v;

	if (sscanf(arg, "delay_us=%llu", &v) == 1)
		w.delay = v * 1000;
	else if (sscanf(arg, "jitter_us=%llu", &v) == 1)
		w.jitter = v * 1000;
	else if (sscanf(arg, "loss=%llu", &v) == 1)
		w.loss = v;
	else if (sscanf(arg, "dup=%llu", &v) == 1)
		w.dup = v;
	else if (sscanf(arg, "seed=%llu", &v) == 1)
		seed(v);
	else if (strncmp(arg, "pcap=", 5) == 0)
		pcap_begin(arg + 5);
	else {
		fprintf(stderr, "emulator: no option is called %s\n", arg);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = stop };

	if (argc < 3) {
		fprintf(stderr, "usage: emulator IF_A IF_B [delay_us=N] [jitter_us=N] [loss=PERMILLE] [dup=PERMILLE] "
				"[seed=N] [pcap=FILE]\n");
		return 2;
	}
	seed(0);
	for (int i = 3; i < argc; i++)
		option(argv[i]);
	sigaction(SIGTERM, &sa, NULL);
	for (int i = 0; i < 2; i++)
		w.fd[i] = listen_on(argv[1 + i]);
	printf("ready\n");
	fflush(stdout);
	while (!over) {
		struct pollfd p[2] = { { .fd = w.fd[0], .events = POLLIN }, { .fd = w.fd[1], .events = POLLIN } };
		uint64_t asked = wait_ns(), at = now_ns(CLOCK_MONOTONIC);
		struct timespec to = { 0, (long)asked };

		if (ppoll(p, 2, &to, NULL) < 0 && errno != EINTR)
			die("ppoll");
		look(at, asked);
		for (uint32_t i = 0; i < 2; i++)
			if (p[i].revents & POLLIN)
				take(i);
		send_due();
	}
	if (w.pcap && fclose(w.pcap))
		die("pcap");
	printf("{\"taken\":%llu,\"lost\":%llu,\"doubled\":%llu,\"sent\":%llu,\"too_long\":%llu,\"overflow\":%llu,"
	       "\"stood_ms\":%llu}\n",
	       (unsigned long long)w.taken, (unsigned long long)w.lost, (unsigned long long)w.doubled,
	       (unsigned long long)w.sent, (unsigned long long)w.too_long, (unsigned long long)w.overflow,
	       (unsigned long long)w.stood_ms);
	return w.too_long || w.overflow;
}
