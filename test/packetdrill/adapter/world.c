/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One stack with one interface, whose rings are plain memory and whose device is this file. Frames
 * that are sent leave at once and are kept, with the time, until packetdrill asks for them; packets
 * from packetdrill get an Ethernet header and are received in a turn of their own. Every destination
 * is behind one gateway, which is known.
 */
#include "test/packetdrill/adapter/adapter.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "abi/mirror.h"
#include "base/csum.h"
#include "core/vif/vif.h"
#include "host/host.h"
#include "shm/shm.h"
#include "wire/eth.h"

#define RING	    1024u
#define IFINDEX	    7u
#define LAYOUT_HASH 0x7064726c6cull
#define TID	    4711
#define BEGIN_NS    (100000 * NS_PER_S)	/* long after boot: no clock is near zero */
#define N_WIRE	    4096u
#define WHEEL_STEP_NS (50 * NS_PER_US)
#define PORT_FIRST  32768

static const uint8_t our_mac[6] = { 2, 0, 0, 0, 0, 1 }, gateway_mac[6] = { 2, 0, 0, 0, 0, 2 };

struct wire_packet { uint64_t at; uint8_t *p; size_t n; };

static struct {
	struct stack_map map;
	struct mirror mir;
	void *mem;
	uint64_t now;
	struct vif_desc rx[RING], tx[RING];
	uint64_t fill[RING], comp[RING];
	uint32_t idx[8], ring_flags;
	struct wire_packet wire[N_WIRE];
	uint32_t wire_head, wire_tail;
} w;

void onramp_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "onramp: panic at %s:%d: %s\n", file, line, what);
	abort();
}

uint64_t world_now(void) { return w.now; }

void world_tune(void) { host_tcp_tuning(&w.mir.tcp); }

/* ---- the mirror ------------------------------------------------------------------------------- */

static struct ipaddr parse(const char *text)
{
	struct ipaddr a;
	struct in_addr a4;

	if (inet_pton(AF_INET, text, &a4) == 1)
		return ip_from4(ntohl(a4.s_addr));
	must(inet_pton(AF_INET6, text, &a) == 1);
	return a;
}

static void add_address(const struct ipaddr *a)
{
	if (w.mir.n_addrs < N_ADDRS)
		w.mir.addrs[w.mir.n_addrs++] = (struct mir_addr){ .addr = *a, .ifindex = IFINDEX,
								  .prefix = ip_is4(a) ? 16 : 48 };
}

static void add_gateway(const char *text, bool is4)
{
	struct ipaddr gw = parse(text);
	struct mir_neigh *n = &w.mir.neighs[w.mir.n_neighs++];

	w.mir.routes[w.mir.n_routes++] = (struct mir_route){
		.dst = is4 ? ip_from4(0) : (struct ipaddr){ { 0 } }, .gateway = gw, .ifindex = IFINDEX,
		.type = ROUTE_UNICAST, .is4 = is4, .prefix = is4 ? 96 : 0 };
	*n = (struct mir_neigh){ .addr = gw, .ifindex = IFINDEX, .flags = NEIGH_VALID };
	memcpy(n->mac, gateway_mac, 6);
}

static void mirror_make(const struct world_conf *c)
{
	struct mirror *m = &w.mir;
	struct ipaddr a4 = parse(c->local4), a6 = parse(c->local6);

	m->magic = MIRROR_MAGIC;
	m->generation = 1;
	m->n_links = 1;
	m->links[0] = (struct mir_link){ .ifindex = IFINDEX, .mtu = c->mtu, .flags = LINK_UP | LINK_ATTACHED,
					 .name = "drill" };
	memcpy(m->links[0].mac, our_mac, 6);
	add_address(&a4);
	add_address(&a6);
	add_gateway("192.168.0.1", true);
	add_gateway("fd3d:fa7b:d17d:8888::", false);
}

void world_address(struct turn *t, const struct ipaddr *a)
{
	uint32_t i;

	(void)t;
	if (ip_is_any(a))
		return;
	for (i = 0; i < w.mir.n_addrs; i++)
		if (ip_eq(&w.mir.addrs[i].addr, a))
			return;
	w.mir.seq++;
	add_address(a);
	w.mir.generation++;
	w.mir.seq++;
}

/* ---- the device ---------------------------------------------------------------------------------- */

static void device_make(void)
{
	struct vif_map *v = &w.map.vi[0];

	w.map.n_vis = 1;
	v->flags = VIF_F_PRESENT;
	v->ifindex = IFINDEX;
	v->rx = (struct vif_ring){ &w.idx[0], &w.idx[1], &w.ring_flags, w.rx, RING - 1 };
	v->tx = (struct vif_ring){ &w.idx[2], &w.idx[3], &w.ring_flags, w.tx, RING - 1 };
	v->fill = (struct vif_ring){ &w.idx[4], &w.idx[5], &w.ring_flags, w.fill, RING - 1 };
	v->comp = (struct vif_ring){ &w.idx[6], &w.idx[7], &w.ring_flags, w.comp, RING - 1 };
}

static void keep(uint8_t *p, size_t n)
{
	size_t len = n - ETH_HDR_LEN;

	if (w.wire_tail - w.wire_head == N_WIRE)
		must(!"a script reads the packets that it makes");
	memmove(p, p + ETH_HDR_LEN, len);
	w.wire[w.wire_tail++ % N_WIRE] = (struct wire_packet){ w.now, p, len };
}

/* Frames leave the transmit ring and are complete. */
static void transmit(struct turn *t)
{
	static uint8_t frame[RING * 64];
	size_t n = 0;

	while (w.idx[2] != w.idx[3]) {
		struct vif_desc d = w.tx[w.idx[3]++ & (RING - 1)];

		must(n + d.len <= sizeof(frame));
		memcpy(frame + n, w.map.umem + d.addr, d.len);
		n += d.len;
		w.comp[w.idx[6]++ & (RING - 1)] = d.addr;
		if (!(d.options & VIF_MORE)) {
			uint8_t *p = malloc(n);

			must(p);
			memcpy(p, frame, n);
			keep(p, n);
			n = 0;
		}
	}
	vif_reap(t, 0);
}

/* ---- turns ------------------------------------------------------------------------------------------ */

void world_enter(struct turn *t)
{
	must(turn_try(t, &w.map, EXEC_APP, TID, 0, w.now, 0));
}

void world_leave(struct turn *t)
{
	bool contended;

	do {
		if (vif_starves(t))
			vif_refill(t, 0);
		transmit(t);
		net_tx(t);
	} while (w.idx[2] != w.idx[3]);
	must(net_check(t) == 0);
	while (turn_end(t, &contended))
		net_tick(t);
}

int world_in(const uint8_t *p, size_t n)
{
	struct eth_hdr e = { .type = p[0] >> 4 == 4 ? ETH_TYPE_IP4 : ETH_TYPE_IP6 };
	uint8_t frame[FRAME_BYTES * 20];
	size_t at = 0, len = n + ETH_HDR_LEN;
	struct turn t;

	if (len > sizeof(frame))
		return -1;
	memcpy(e.dst, our_mac, 6);
	memcpy(e.src, gateway_mac, 6);
	wire_eth_emit(frame, &e);
	memcpy(frame + ETH_HDR_LEN, p, n);
	world_enter(&t);
	while (at < len) {
		uint32_t k = min_u32((uint32_t)(len - at), FRAME_BYTES - FRAME_HEADROOM);
		uint64_t addr;

		must(w.idx[4] != w.idx[5]);
		addr = w.fill[w.idx[5]++ & (RING - 1)] + FRAME_HEADROOM;
		memcpy(w.map.umem + addr, frame + at, k);
		at += k;
		w.rx[w.idx[0]++ & (RING - 1)] = (struct vif_desc){ addr, k, at < len ? VIF_MORE : 0 };
	}
	net_rx(&t);
	world_leave(&t);
	return 0;
}

size_t world_out(uint8_t *p, size_t room, uint64_t *ret_at)
{
	struct wire_packet *k = &w.wire[w.wire_head % N_WIRE];
	size_t n;

	if (w.wire_head == w.wire_tail)
		return 0;
	w.wire_head++;
	n = min_u64(k->n, room);
	memcpy(p, k->p, n);
	free(k->p);
	*ret_at = k->at;
	return n;
}

/* ---- time ---------------------------------------------------------------------------------------------- */

uint64_t world_deadline(void)
{
	struct turn t;
	uint64_t at;
	bool contended;

	world_enter(&t);
	at = net_deadline(&t);
	while (turn_end(&t, &contended))
		net_tick(&t);
	return at;
}

void world_pass(uint64_t until)
{
	for (;;) {
		uint64_t at = world_deadline();
		struct turn t;

		if (at > until)
			break;
		w.now = max_u64(w.now, at);
		world_enter(&t);
		net_tick(&t);
		net_tx(&t);
		world_leave(&t);
		/* The wheel's bound is a lower one: it has moved on, or a little later it will. */
		if (world_deadline() <= at)
			w.now += WHEEL_STEP_NS;
	}
	w.now = max_u64(w.now, until);
}

/* ---- coming and going ------------------------------------------------------------------------------------ */

void world_make(const struct world_conf *c)
{
	struct geometry g = { .n_socks = 256, .n_pkts = 8192, .n_flow_buckets = 64, .n_listen_buckets = 8,
			      .n_epolls = 8, .n_epitems = 128, .n_trace = 256, .n_pairs = 2 };
	struct segment *seg;
	struct turn t;

	memset(&w, 0, sizeof(w));
	w.now = BEGIN_NS;
	geometry_lay_out(&g);
	seg = w.mem = aligned_alloc(FRAME_BYTES, g.bytes);
	must(seg);
	memset(seg, 0, g.bytes);
	shm_format(seg, &g, LAYOUT_HASH);
	for (uint32_t i = 0; i < 4; i++)
		seg->secret[i] = 0x0123456789abcdefull * (i + 1);
	must(shm_attach(seg, g.bytes, LAYOUT_HASH, &w.map) == 0);
	mirror_make(c);
	w.map.mirror = &w.mir;
	device_make();
	stack_init(&w.map);
	seg->procs[0] = (struct proc_slot){ PROC_LIVE, TID };
	world_enter(&t);
	for (uint16_t i = 0; i < 4; i++)
		must(port_block_add(&t, (uint16_t)(PORT_FIRST + i * PORT_BLOCK)) == 0);
	vif_refill(&t, 0);
	world_leave(&t);
}

void world_free(void)
{
	uint8_t p[1];
	uint64_t at;

	while (world_out(p, sizeof(p), &at))
		;
	free(w.mem);
	memset(&w, 0, sizeof(w));
}
