/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The engine of apertures between hosts: connections, ports, dual event queues. Each test names
 * the requirement whose "shown by" it is.
 */
#include "test/unit/aperture_rig.h"

#include <errno.h>

/* ---- connections ------------------------------------------------------------------------------- */

/* Some frames come twice, and one in ten only after what was sent later. */
static struct { uint8_t p[2048]; uint32_t n; uint16_t type; bool full; } held[2];
static bool tap_disorder(struct world *w, uint32_t from, struct apw_frame *f)
{
	struct host *to = &w->h[!from];

	if (prng_chance(&w->rng, 100000))
		give(w, to, &w->h[from].addr, f->type, f->bytes + f->start, f->len);
	if (held[from].full) {
		give(w, to, &w->h[from].addr, held[from].type, held[from].p, held[from].n);
		held[from].full = false;
	} else if (prng_chance(&w->rng, 100000)) {
		memcpy(held[from].p, f->bytes + f->start, f->len);
		held[from].n = f->len;
		held[from].type = f->type;
		held[from].full = true;
	}
	return true;
}

/* S2-CON-07: three frames of ten are lost, some come twice or late: 1000 connections, each once. */
static void test_loss(void **state)
{
	static uint32_t opened[2][4096], conn[1000];
	struct apw_offer o;
	struct apw_connect c;
	struct apw_event ev;
	struct world w;

	(void)state;
	world_up(&w, 30);
	memset(opened, 0, sizeof(opened));
	o = (struct apw_offer){ .side = all_of(&w.h[1], APW_LEVEL_2), .queue = w.h[1].queue };
	c = (struct apw_connect){ .to = w.h[1].addr, .port = PORT, .lport = w.h[0].port, .side = all_of(&w.h[0], 0) };
	assert_int_equal(apw_bind(w.h[1].e, PORT, &o, &c.port), 0);
	w.loss_ppm = 300000;
	w.tap = tap_disorder;
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn[i]), 0);
	pass(&w, NEVER_NS - 1);
	for (uint32_t k = 0; k < 2; k++)
		while (next_event(&w.h[k], APW_EV_OPEN, &ev))
			opened[k][ev.index & 4095]++;
	for (uint32_t i = 0; i < 1000; i++) {
		const struct apw_conn *a = apw_conn(w.h[0].e, conn[i]), *b;

		assert_non_null(a);
		assert_int_equal(a->state, APW_OPEN);
		assert_int_equal(opened[0][conn[i] & 4095], 1);
		b = apw_conn(w.h[1].e, a->peer_index);
		assert_true(b && b->state == APW_OPEN && b->peer_index == conn[i]);
		assert_int_equal(opened[1][a->peer_index & 4095], 1);
	}
	assert_int_equal(total(&w.h[1], APW_N_OPENED), 1000);
	assert_true(total(&w.h[0], APW_N_REPEATS) > 300);
	apw_check(w.h[0].e);
	for (uint32_t i = 0; i < 1000; i++)
		assert_int_equal(apw_close(w.h[i & 1].e, w.now,
					   i & 1 ? apw_conn(w.h[0].e, conn[i])->peer_index : conn[i]), 0);
	pass(&w, NEVER_NS - 1);
	assert_int_equal(apw_in_table(w.h[0].e)->n_used, 0);
	assert_int_equal(apw_in_table(w.h[1].e)->n_used, 0);
	assert_int_equal(apw_out_table(w.h[0].e)->n_used + apw_out_table(w.h[1].e)->n_used, 0);
	assert_int_equal(apw_region_end(w.h[1].e, w.h[1].region), 0);
	world_down(&w);
}

/* S2-CON-04: rules by address, most specific first in the list; a limit; no port. */
static void test_rules(void **state)
{
	static const struct { uint32_t host; enum ci_error want; } who[] = {
		{ 0x0a000001, CI_E_NONE }, { 0x0a00ff01, CI_E_DENIED }, { 0x0a010001, CI_E_NONE },
		{ 0x0b000001, CI_E_DENIED },
	};
	struct apw_offer o;
	struct apw_connect c;
	struct apw_event ev;
	struct world w;
	uint32_t conn, made;
	uint16_t port;
	struct apw_conf any = plain_conf();

	(void)state;
	any.host = 1;
	world_up_as(&w, 31, &any);
	o = (struct apw_offer){ .side = all_of(&w.h[1], 0), .queue = w.h[1].queue, .n_rules = 2, .max_conns = 2,
				.rule = { { 0x0a00ff00, 24, false }, { 0x0a000000, 8, true } } };
	assert_int_equal(apw_bind(w.h[1].e, PORT, &o, &port), 0);
	assert_int_equal(apw_bind(w.h[1].e, PORT, &o, &port), -EADDRINUSE);
	c = (struct apw_connect){ .to = w.h[1].addr, .port = PORT, .lport = w.h[0].port };
	for (unsigned i = 0; i < n_elems(who); i++) {
		w.h[0].addr.host = who[i].host;
		made = (uint32_t)total(&w.h[1], APW_N_APERTURES);
		assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), 0);
		pump(&w);
		if (who[i].want) {
			assert_true(next_event(&w.h[0], APW_EV_CLOSED, &ev) && ev.a == who[i].want);
			assert_int_equal(total(&w.h[1], APW_N_APERTURES), made);
		} else {
			assert_true(next_event(&w.h[0], APW_EV_OPEN, &ev) && ev.index == conn);
		}
	}
	w.h[0].addr.host = 0x0a000001;
	assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), 0);
	pump(&w);
	assert_true(next_event(&w.h[0], APW_EV_CLOSED, &ev) && ev.a == CI_E_FULL);
	c.port = 999;
	assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), 0);
	pump(&w);
	assert_true(next_event(&w.h[0], APW_EV_CLOSED, &ev) && ev.a == CI_E_NO_PORT);
	assert_int_equal(apw_unbind(w.h[1].e, w.now, PORT), 0);
	world_down(&w);
}

/* S2-CON-03, S2-CON-04: the application decides, from what the variable queue has; a new port takes over. */
static void test_asked(void **state)
{
	struct apw_offer o;
	struct apw_connect c;
	struct apw_side side;
	struct apw_event ev;
	struct ci_msg m;
	struct world w;
	uint32_t words[64], conn, i;
	uint16_t port, port2;

	(void)state;
	world_up(&w, 32);
	side = all_of(&w.h[1], 0);
	o = (struct apw_offer){ .queue = w.h[1].queue, .ask = true };
	assert_int_equal(apw_bind(w.h[1].e, PORT, &o, &port), 0);
	assert_int_equal(apw_bind(w.h[1].e, 0, &o, &port2), 0);
	c = (struct apw_connect){ .to = w.h[1].addr, .port = PORT, .lport = w.h[0].port, .side = all_of(&w.h[0], 0) };
	for (i = 0; i < 3; i++) {
		assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), 0);
		pass(&w, w.now + NS_PER_S);	/* repeated meanwhile, and one SETUP all the same */
		assert_int_equal(apw_evq_take(&w.h[1].q, &ev, words, 64), 1);
		assert_true(ev.type == APW_EV_SETUP && ev.words == CI_MSG_LEN / 4);
		assert_int_equal(wire_ci_msg_parse((uint8_t *)words, CI_MSG_LEN, &m), CI_OK);
		assert_true(m.type == CI_CONNECT && m.index == conn && m.size == MEM && m.dst_port == PORT);
		assert_int_equal(apw_evq_take(&w.h[1].q, &ev, words, 64), 0);
		conn = ev.index;
		if (i == 0) {
			assert_int_equal(apw_reject(w.h[1].e, w.now, conn, CI_E_DENIED), 0);
		} else if (i == 1) {
			assert_int_equal(apw_accept(w.h[1].e, w.now, conn, port2, &side), 0);
			assert_int_equal(apw_accept(w.h[1].e, w.now, conn, port2, &side), -ENOENT);
		}
		pass(&w, w.now + 40 * NS_PER_S);	/* nobody decides the third: refused */
		if (i == 1) {
			assert_true(next_event(&w.h[0], APW_EV_OPEN, &ev));
			assert_int_equal(apw_conn(w.h[0].e, ev.index)->rport, port2);
			assert_int_equal(apw_close(w.h[0].e, w.now, ev.index), 0);
			pump(&w);
		}
		assert_true(next_event(&w.h[0], APW_EV_CLOSED, &ev));
		while (apw_evq_take(&w.h[1].q, &ev, words, 64))
			;
	}
	assert_int_equal(apw_in_table(w.h[1].e)->n_used, 0);
	world_down(&w);
}

/* S2-CON-05: a window keeps its address whatever host it is mapped on. */
static void test_window_reused(void **state)
{
	struct apw_offer o;
	struct apw_connect c;
	struct apw_event ev;
	struct world w;
	uint32_t conn;
	uint64_t bus, size, v;

	(void)state;
	world_up(&w, 33);
	o = (struct apw_offer){ .side = all_of(&w.h[1], 0), .queue = w.h[1].queue };
	c = (struct apw_connect){ .to = w.h[1].addr, .lport = w.h[0].port };
	assert_int_equal(apw_bind(w.h[1].e, 0, &o, &c.port), 0);
	assert_int_equal(apw_window(w.h[0].e, 1, 1, &c.window), 0);
	for (v = 1; v < 100; v++) {
		assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), 0);
		if (v == 1)
			assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), -EINVAL);
		pump(&w);
		assert_true(next_event(&w.h[0], APW_EV_OPEN, &ev));
		assert_int_equal(apw_conn_bus(w.h[0].e, conn, &bus, &size), 0);
		assert_true(bus == apw_window_bus(w.h[0].e, c.window) && size == 4096);
		assert_int_equal(apw_store(w.h[0].e, w.now, bus + 4088, &v, 8, 0), 0);
		pump(&w);
		assert_memory_equal(w.h[1].memory + 4088, &v, 8);
		assert_int_equal(apw_close(w.h[0].e, w.now, conn), 0);
		assert_int_equal(apw_store(w.h[0].e, w.now, bus, &v, 8, 0), -ENXIO);
		pump(&w);
	}
	apw_window_end(w.h[0].e, c.window);
	assert_int_equal(apw_out_table(w.h[0].e)->n_used, 0);
	world_down(&w);
}

/* S2-CON-06: CLOSE, by who knows the nonce and by nobody else; unknown types; no write after it. */
static void test_close(void **state)
{
	struct apw_side sa, sb;
	struct apw_event ev;
	struct ci_msg m;
	struct world w;
	struct link l;
	uint8_t p[CI_MSG_LEN];
	uint64_t v = 1;

	(void)state;
	world_up(&w, 34);
	sa = all_of(&w.h[0], 0);
	sb = all_of(&w.h[1], 0);
	l = linked(&w, &sa, &sb);
	m = (struct ci_msg){ .type = CI_CLOSE, .dst_host = w.h[1].conf.host, .src_host = w.h[0].conf.host,
			     .index = l.a, .peer_index = l.b, .nonce = apw_in_row(w.h[0].e, l.a & 4095)->nonce };
	for (uint32_t i = 0; i < 1000; i++) {
		m.peer_nonce = prng_u64(&w.rng) & CI_NONCE_MASK;
		give(&w, &w.h[1], &w.h[0].addr, CI_TYPE_MSG, p, wire_ci_msg_emit(p, &m, NULL, crc32c_scalar));
		pump(&w);
	}
	assert_int_equal(apw_conn(w.h[1].e, l.b)->state, APW_OPEN);
	assert_int_equal(apw_conn(w.h[0].e, l.a)->state, APW_OPEN);
	for (uint32_t t = 0; t < 256; t++) {
		m.type = (uint8_t)t;
		if (t == 0 || t > CI_MESSAGE)
			give(&w, &w.h[1], &w.h[0].addr, CI_TYPE_MSG, p, wire_ci_msg_emit(p, &m, NULL, crc32c_scalar));
	}
	assert_int_equal(total(&w.h[1], APW_N_MSG_UNKNOWN), 248);
	assert_int_equal(apw_close(w.h[1].e, w.now, l.b), 0);
	memset(w.h[1].memory, 0, 8);
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, 0), 0);	/* it does not know yet */
	pump(&w);
	assert_int_equal(w.h[1].memory[0], 0);
	assert_true(next_event(&w.h[0], APW_EV_CLOSED, &ev) && ev.index == l.a);
	assert_true(next_event(&w.h[1], APW_EV_CLOSED, &ev) && ev.index == l.b);
	assert_null(apw_conn(w.h[1].e, l.b));
	world_down(&w);
}

static bool tap_dead(struct world *w, uint32_t from, struct apw_frame *f)
{
	(void)w;
	(void)from;
	(void)f;
	return false;
}

/* S2-MAP-03: a host that is gone costs its own connections, after a while, and nobody else's. */
static void test_dead_peer(void **state)
{
	struct apw_side sa, sb;
	struct apw_offer o;
	struct apw_connect c;
	struct apw_event ev;
	struct world w;
	struct link l;
	uint32_t conn, polled;

	(void)state;
	world_up(&w, 41);
	sa = all_of(&w.h[0], 0);
	sb = all_of(&w.h[1], 0);
	l = linked(&w, &sa, &sb);
	o = (struct apw_offer){ .side = sb, .queue = w.h[1].queue };
	c = (struct apw_connect){ .to = w.h[1].addr, .lport = w.h[0].port, .side = sa };
	assert_int_equal(apw_bind(w.h[1].e, 0, &o, &c.port), 0);
	w.tap = tap_dead;
	assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), 0);
	c.polled = true;
	assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &polled), 0);
	assert_int_equal(apw_close(w.h[1].e, w.now, l.b), 0);
	pass(&w, w.now + 100 * NS_PER_S);
	assert_int_equal(total(&w.h[0], APW_N_REPEATS), 2 * (APW_TRIES - 1));
	assert_int_equal(total(&w.h[1], APW_N_REPEATS), APW_TRIES - 1);
	assert_true(next_event(&w.h[0], APW_EV_CLOSED, &ev) && ev.index == conn && ev.a == CI_E_LINK);
	assert_true(next_event(&w.h[1], APW_EV_CLOSED, &ev) && ev.index == l.b && ev.a == CI_E_LINK);
	assert_int_equal(apw_conn(w.h[0].e, polled)->state, APW_FAILED);
	assert_int_equal(apw_conn(w.h[0].e, polled)->why, CI_E_LINK);
	assert_int_equal(apw_close(w.h[0].e, w.now, polled), 0);
	assert_null(apw_conn(w.h[0].e, polled));
	/* Back again: what host 1 forgot ends at host 0 as soon as they speak (C4). */
	w.tap = NULL;
	c.polled = false;
	assert_int_equal(apw_connect(w.h[0].e, w.now, &c, &conn), 0);
	assert_int_equal(apw_alive(w.h[0].e, NULL, 0, 0, l.a), 0);
	pass(&w, w.now + NS_PER_S);
	assert_true(next_event(&w.h[0], APW_EV_OPEN, &ev) && ev.index == conn);
	assert_true(next_event(&w.h[0], APW_EV_ALIVEACK, &ev) && ev.a == CI_DEAD);
	world_down(&w);
}

/* ---- ports --------------------------------------------------------------------------------------- */

/* S2-PORT-01, S2-PORT-04: a message to a port whose application is stopped waits; its state is told. */
static void test_port_states(void **state)
{
	struct apw_offer o = { 0 };
	struct apw_event ev;
	struct world w;
	struct ci_msg m;
	uint32_t words[64];
	uint16_t port;

	(void)state;
	world_up(&w, 35);
	o.queue = w.h[1].queue;
	assert_int_equal(apw_bind(w.h[1].e, PORT, &o, &port), 0);
	for (uint32_t s = CI_RUNNING; s <= CI_DEAD; s++) {
		apw_port_state(w.h[1].e, PORT, (enum ci_port_state)s);
		assert_int_equal(apw_message(w.h[0].e, &w.h[1].addr, PORT, w.h[0].port, "hello", 5), 0);
		assert_int_equal(apw_alive(w.h[0].e, &w.h[1].addr, PORT, w.h[0].port, 0), 0);
		pump(&w);
		assert_true(next_event(&w.h[0], APW_EV_ALIVEACK, &ev) && ev.a == s && ev.b == s + 1);
	}
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(apw_evq_take(&w.h[1].q, &ev, words, 64), 1);
		assert_true(ev.type == APW_EV_MESSAGE && ev.a == w.h[0].addr.host && ev.b == w.h[0].port);
		assert_int_equal(wire_ci_msg_parse((uint8_t *)words, ev.words * 4u, &m), CI_SHORT);
		assert_memory_equal((uint8_t *)words + CI_MSG_LEN, "hello", 5);
	}
	assert_int_equal(apw_unbind(w.h[1].e, w.now, PORT), 0);
	assert_int_equal(apw_alive(w.h[0].e, &w.h[1].addr, PORT, w.h[0].port, 0), 0);
	assert_int_equal(apw_message(w.h[0].e, &w.h[1].addr, PORT, w.h[0].port, "hello", 5), 0);
	pump(&w);
	assert_true(next_event(&w.h[0], APW_EV_ALIVEACK, &ev) && ev.a == CI_DEAD);
	assert_int_equal(total(&w.h[1], APW_N_MSG_NO_PORT), 1);
	world_down(&w);
}

/* S2-PORT-02: data go past the queue, but for deliveries that were asked for. */
static void test_out_of_band(void **state)
{
	struct apw_side sa = { 0 }, sb;
	struct apw_event ev;
	struct world w;
	struct link l;
	uint8_t data[1024] = { 0 };
	uint32_t asked = 0, got = 0;

	(void)state;
	world_up(&w, 36);
	sb = all_of(&w.h[1], APW_LEVEL_2);
	l = linked(&w, &sa, &sb);
	for (uint32_t i = 0; i < 65536; i++) {	/* 64 MB */
		bool tell = i % 1000 == 7;

		memcpy(data, &i, 4);
		assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + i % 64 * 1024, data, 1024,
					   tell ? APW_S_EVENT : 0), 0);
		asked += tell;
		pump(&w);
		while (apw_evq_pending(&w.h[1].q)) {
			assert_true(next_event(&w.h[1], APW_EV_DELIVERY, &ev));
			assert_int_equal(ev.a, i % 64 * 1024);
			/* I4: what it tells of is there. */
			assert_memory_equal(w.h[1].memory + ev.a, &i, 4);
			got++;
		}
	}
	assert_int_equal(asked, got);
	/* An event alone, after all stores before it. */
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a + 77, NULL, 0, APW_S_EVENT), 0);
	pump(&w);
	assert_true(next_event(&w.h[1], APW_EV_DELIVERY, &ev) && ev.a == 77);
	world_down(&w);
}

/* S2-IN-01: a row of each kind; S2-IN-08: the same number as index and as port do not collide. */
static void test_port_rows(void **state)
{
	struct apw_offer o = { 0 };
	struct apw_in *row, in = { .map = APW_MEMORY, .checks = APW_LEVEL_0, .size = 64, .type = CI_TYPE_DATA,
				   .flags = APW_F_VALID | APW_F_WRITE };
	struct ci_hdr h = { .op = CI_WRITE };
	struct ci_msg m = { .type = CI_MESSAGE, .body_len = 4 };
	struct apw_event ev;
	struct world w;
	uint8_t p[200];
	uint32_t index;
	uint16_t port;

	(void)state;
	world_up(&w, 37);
	do {
		assert_int_equal(apw_in_open(w.h[1].e, &in, &index), 0);
	} while (index > 65535);	/* chance is in the upper bits */
	o.queue = w.h[1].queue;
	assert_int_equal(apw_bind(w.h[1].e, (uint16_t)index, &o, &port), 0);
	row = apw_port_row(w.h[1].e, port, APW_PORT);
	assert_true(row->index == port && row->kind == APW_PORT && row->type == CI_TYPE_EVENT && row->base == o.queue);
	assert_true(apw_port_row(w.h[1].e, port, APW_IPQ)->kind == APW_IPQ);
	assert_int_equal(apw_in_row(w.h[1].e, index & 4095)->kind, APW_APERTURE);
	h.dst = (struct ci_addr){ w.h[1].conf.host, index, apw_in_row(w.h[1].e, index & 4095)->nonce, 0 };
	give(&w, &w.h[1], &w.h[0].addr, CI_TYPE_DATA, p, wire_ci_emit(p, &h, "data", 4, crc32c_scalar));
	assert_memory_equal(w.h[1].memory, "data", 4);
	assert_false(apw_evq_pending(&w.h[1].q));
	m.dst_host = w.h[1].conf.host;
	m.dst_port = port;
	/* On Ethernet messages share a type with events. */
	give(&w, &w.h[1], &w.h[0].addr, CI_TYPE_EVENT, p, wire_ci_msg_emit(p, &m, "word", crc32c_scalar));
	assert_true(next_event(&w.h[1], APW_EV_MESSAGE, &ev));
	assert_memory_equal(w.h[1].memory, "data", 4);
	/* (e) for ports: only that range may talk to the variable queue. */
	row = apw_port_row(w.h[1].e, port, APW_IPQ);
	row->src_host = 0x0b000000;
	row->src_bits = 8;
	give(&w, &w.h[1], &w.h[0].addr, CI_TYPE_MSG, p, wire_ci_msg_emit(p, &m, "word", crc32c_scalar));
	assert_false(apw_evq_pending(&w.h[1].q));
	assert_int_equal(total(&w.h[1], APW_N_BAD_SOURCE), 1);
	world_down(&w);
}

/* ---- dual event queues ------------------------------------------------------------------------------ */

/* S2-DQ-04: a hundred sleep; a message to one wakes that one. S2-DQ-05: who is awake is not woken. */
static void test_one_wakes(void **state)
{
	struct apw_evq_user user[100];
	struct apw_offer o = { 0 };
	struct apw_event ev;
	void *mem[100];
	struct world w;
	uint16_t port;

	(void)state;
	world_up(&w, 38);
	for (uint32_t i = 0; i < 100; i++) {
		mem[i] = zeroed(apw_evq_bytes(16, 256));
		assert_int_equal(apw_queue(w.h[1].e, mem[i], 16, 256, &o.queue), 0);
		apw_evq_attach(&user[i], mem[i], 16, 256);
		assert_int_equal(apw_bind(w.h[1].e, (uint16_t)(1000 + i), &o, &port), 0);
		apw_evq_arm(&user[i]);
	}
	assert_false(apw_take_irq(w.h[1].e));
	assert_int_equal(apw_message(w.h[0].e, &w.h[1].addr, 1042, w.h[0].port, "x", 1), 0);
	assert_int_equal(apw_message(w.h[0].e, &w.h[1].addr, 1042, w.h[0].port, "y", 1), 0);
	pump(&w);
	assert_true(apw_take_irq(w.h[1].e));
	assert_false(apw_take_irq(w.h[1].e));
	/* Q4: armed once, woken once, though two messages came. */
	assert_int_equal(apw_evq_take(&w.h[1].os, &ev, NULL, 0), 1);
	assert_true(ev.type == APW_EV_ODB_DATA && ev.index == 1042);
	assert_int_equal(apw_evq_take(&w.h[1].os, &ev, NULL, 0), 0);
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(apw_evq_pending(&user[i]), i == 42);
	apw_evq_disarm(&user[42]);
	for (uint32_t i = 0; i < 100000; i++) {
		uint32_t words[64];

		while (apw_evq_take(&user[42], &ev, words, 64))
			;
		assert_int_equal(apw_message(w.h[0].e, &w.h[1].addr, 1042, w.h[0].port, "x", 1), 0);
		pump(&w);
	}
	assert_false(apw_take_irq(w.h[1].e));
	assert_int_equal(total(&w.h[1], APW_N_IRQS), 1);
	assert_int_equal(total(&w.h[1], APW_N_OS_MSGS), 1);
	world_down(&w);
	for (uint32_t i = 0; i < 100; i++)
		munmap(mem[i], apw_evq_bytes(16, 256));
}

/* S2-DQ-06: blocked, and only CONNECT is worth waking for; patterns; S2-DQ-07: errors are in both queues. */
static void test_criteria(void **state)
{
	struct apw_crit crit = { .flags = APW_CRIT_BLOCKED | APW_CRIT_FORM, .types = 1u << APW_EV_SETUP };
	struct apw_side sa = { 0 }, sb;
	struct apw_event ev;
	struct world w;
	struct link l;
	uint64_t v = 0;

	(void)state;
	world_up(&w, 39);
	sb = all_of(&w.h[1], 0);
	l = linked(&w, &sa, &sb);
	assert_false(apw_take_irq(w.h[1].e));
	apw_crit(w.h[1].e, w.h[1].queue, &crit);
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, APW_S_EVENT), 0);
	pump(&w);
	assert_false(apw_take_irq(w.h[1].e));
	(void)linked(&w, &sa, &sb);
	assert_true(apw_take_irq(w.h[1].e));
	/* Deliveries at offset 64 and nowhere else. A form is over type, flags, words and connection. */
	crit.types = 1u << APW_EV_DELIVERY;
	crit.n_forms = 1;
	crit.form[0].mask = 0xffffffff000000ffull;
	crit.form[0].value = (uint64_t)l.b << 32 | APW_EV_DELIVERY;
	apw_crit(w.h[1].e, w.h[1].queue, &crit);
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, APW_S_EVENT), 0);
	pump(&w);
	assert_true(apw_take_irq(w.h[1].e));
	crit.form[0].value ^= 1ull << 40;
	apw_crit(w.h[1].e, w.h[1].queue, &crit);
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, APW_S_EVENT), 0);
	pump(&w);
	assert_false(apw_take_irq(w.h[1].e));
	/* Errors: host 0 writes where it may not; the message is in its port's queue and the system's. */
	crit = (struct apw_crit){ .flags = APW_CRIT_ERROR };
	apw_crit(w.h[0].e, w.h[0].queue, &crit);
	while (apw_evq_take(&w.h[0].os, &ev, NULL, 0))
		;
	assert_int_equal(apw_narrow(w.h[1].e, l.b, 0, 0), 0);
	assert_int_equal(apw_store(w.h[0].e, w.now, l.bus_a, &v, 8, 0), 0);
	pump(&w);
	assert_true(next_event(&w.h[0], APW_EV_ERROR, &ev) && ev.a == CI_E_EXTENT);
	assert_true(apw_take_irq(w.h[0].e));
	assert_int_equal(apw_evq_take(&w.h[0].os, &ev, NULL, 0), 1);
	assert_true(ev.type == APW_EV_ODB_DATA && ev.index == w.h[0].port);
	assert_int_equal(apw_evq_take(&w.h[0].os, &ev, NULL, 0), 1);
	assert_true(ev.type == APW_EV_ERROR && ev.a == CI_E_EXTENT);
	world_down(&w);
}

/* S2-DQ-03: full: counted, nothing overwritten, nothing lost of what was there; a lying RDPTR'. */
static void test_queue_full(void **state)
{
	struct apw_evq_user u;
	struct apw_evq q;
	struct apw_event ev = { .type = APW_EV_MESSAGE };
	uint32_t words[64] = { 0 }, n = 0;
	void *mem = zeroed(apw_evq_bytes(8, 64));

	(void)state;
	apw_evq_init(&q, mem, 8, 64);
	apw_evq_attach(&u, mem, 8, 64);
	for (uint32_t i = 0; i < 20; i++) {	/* eight events at most, though there were words for 16 */
		ev.a = words[0] = i;
		n += apw_evq_post(&q, &ev, words, 16) != 0;
	}
	assert_true(n == 8 && q.overflow == 12 && apw_evq_depth(&q) == 8);
	for (uint32_t i = 0; i < 8; i++) {
		assert_int_equal(apw_evq_take(&u, &ev, words, 16), 1);
		assert_true(ev.a == i && ev.words == 4 && words[0] == i);
	}
	assert_int_equal(apw_evq_take(&u, &ev, words, 16), 0);
	assert_true(apw_evq_post(&q, &ev, words, 64 * 4) != 0);	/* words for one of the largest */
	ev.type = APW_EV_MESSAGE;
	assert_int_equal(apw_evq_post(&q, &ev, words, 4), 0);
	assert_int_equal(apw_evq_take(&u, &ev, words, 16), 1);
	assert_int_equal(ev.words, 64);
	for (uint32_t i = 0; i < 100000; i++) {	/* Q3 */
		q.host->rd = i * 0x9e3779b9;
		q.host->var_rd = i * 0x85ebca6b;
		(void)apw_evq_post(&q, &ev, words, i % 64);
	}
	munmap(mem, apw_evq_bytes(8, 64));
}

/* S2-VQ-02, the script: Var 10, Var 3, fixed, Var 1; and S2-VQ-01: 10,000 mixed, in order, each once. */
static void test_variable_queue(void **state)
{
	static const uint32_t script[] = { 10, 3, 0, 1 };
	struct apw_evq_user u;
	struct apw_evq q;
	uint32_t body[128], got[128], sum = 0, taken = 0;
	struct apw_event ev;
	struct prng r, again;
	void *mem = zeroed(apw_evq_bytes(64, 256));

	(void)state;
	apw_evq_init(&q, mem, 64, 256);
	apw_evq_attach(&u, mem, 64, 256);
	for (uint32_t i = 0; i < 4; i++) {
		ev = (struct apw_event){ .type = script[i] ? APW_EV_VAR : APW_EV_OPEN };
		assert_true(apw_evq_post(&q, &ev, body, script[i] * 4) != 0);
		sum += script[i];
		assert_true(q.host->wr == i + 1 && q.host->var_wr == sum);
	}
	for (uint32_t i = 0, n = 0; i < 4; i++) {
		assert_int_equal(apw_evq_take(&u, &ev, got, 128), 1);
		n += script[i];
		assert_true(ev.words == script[i] && q.host->rd == i + 1 && q.host->var_rd == n);
	}
	prng_seed(&r, 40);
	prng_seed(&again, 40);
	for (uint32_t i = 0; i < 10000; ) {
		struct prng before = r;
		uint32_t n = prng_below(&r, 2) ? prng_below(&r, 100) + 1 : 0;

		for (uint32_t k = 0; k < n; k++)
			body[k] = (uint32_t)prng_u64(&r);
		ev = (struct apw_event){ .type = n ? APW_EV_MESSAGE : APW_EV_OPEN, .a = i };
		if (apw_evq_post(&q, &ev, body, n * 4)) {
			i++;
			continue;
		}
		r = before;	/* full: take some, try again */
		for (uint32_t t = 1 + prng_below(&again, 1) + i % 7; t && apw_evq_take(&u, &ev, got, 128); t--, taken++)
			assert_int_equal(ev.a, taken);
	}
	while (apw_evq_take(&u, &ev, got, 128))
		assert_int_equal(ev.a, taken++);
	assert_int_equal(taken, 10000);
	assert_true(u.rd == q.wr && u.var_rd == q.var_wr);
	munmap(mem, apw_evq_bytes(64, 256));
}

/* S2-VQ-03: each type once: the queue it is found in is the table's; and the table can be changed. */
static void test_queue_choice(void **state)
{
	struct apw_evq_user u;
	struct apw_evq q;
	uint32_t body[4] = { 1, 2, 3, 4 }, got[16];
	void *mem = zeroed(apw_evq_bytes(64, 256));

	(void)state;
	apw_evq_init(&q, mem, 64, 256);
	apw_evq_attach(&u, mem, 64, 256);
	for (uint32_t where = APW_FIXED; where <= APW_BOTH + 1; where++)
		for (uint8_t t = APW_EV_VAR; t < APW_EV_MAX; t++) {
			struct apw_event ev = { .type = t, .index = 9 };
			uint32_t at = q.where[t];

			if (where <= APW_BOTH && t != APW_EV_VAR)
				at = q.where[t] = (uint8_t)where;
			assert_true(apw_evq_post(&q, &ev, body, 16) != 0);
			assert_int_equal(apw_evq_take(&u, &ev, got, 16), 1);
			assert_int_equal(ev.words, at == APW_FIXED ? 0 : 4);
			assert_int_equal(ev.type, at == APW_VARIABLE ? APW_EV_VAR : t);
			if (at == APW_VARIABLE && t != APW_EV_VAR)
				assert_true(ev.a == t && ev.b == 16);
			if (at != APW_FIXED)
				assert_memory_equal(got, body, 16);
		}
	munmap(mem, apw_evq_bytes(64, 256));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_loss),	     cmocka_unit_test(test_rules),
		cmocka_unit_test(test_asked),	     cmocka_unit_test(test_window_reused),
		cmocka_unit_test(test_close),	     cmocka_unit_test(test_dead_peer),
		cmocka_unit_test(test_port_states),
		cmocka_unit_test(test_out_of_band),  cmocka_unit_test(test_port_rows),
		cmocka_unit_test(test_one_wakes),    cmocka_unit_test(test_criteria),
		cmocka_unit_test(test_queue_full),   cmocka_unit_test(test_variable_queue),
		cmocka_unit_test(test_queue_choice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
