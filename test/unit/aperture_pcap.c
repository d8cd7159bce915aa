/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the engine sends, read by somebody else: all frames go into a capture, as Ethernet and as
 * UDP, and test/rig/ci_decode.py, which shares no line with us, must find what the tables say.
 * S2-CON-02, S2-PORT-03, S2-OUT-03, S2-OUT-04, S2-OUT-05, S2-OUT-06, S2-NOT-01.
 */
#include "test/unit/aperture_rig.h"

#include <pcap/pcap.h>
#include <stdio.h>
#include <unistd.h>

static pcap_dumper_t *dump;
static FILE *expect;
static bool as_udp;

/* Around the payload: Ethernet alone, or Ethernet, IPv4 and UDP. */
static uint32_t encapsulate(uint8_t *p, const struct apw_addr *from, const struct apw_addr *to, uint16_t type,
			    const uint8_t *payload, uint32_t n)
{
	uint32_t at = 14;

	memcpy(p, to->mac, 6);
	memcpy(p + 6, from->mac, 6);
	put_be16(p + 12, as_udp ? 0x0800 : type == CI_TYPE_MSG ? CI_TYPE_EVENT : type);
	if (as_udp) {
		memset(p + at, 0, 28);
		p[at] = 0x45;
		put_be16(p + at + 2, (uint16_t)(20 + 8 + 2 + n));
		p[at + 8] = 64;
		p[at + 9] = 17;
		put_be32(p + at + 12, from->host);
		put_be32(p + at + 16, to->host);
		put_be16(p + at + 20, from->carrier);
		put_be16(p + at + 22, to->carrier);
		put_be16(p + at + 24, (uint16_t)(8 + 2 + n));
		put_be16(p + at + 28, type);
		at += 30;
	}
	memcpy(p + at, payload, n);
	return at + n;
}

static bool tap(struct world *w, uint32_t from, struct apw_frame *f)
{
	uint8_t raw[2000];
	struct pcap_pkthdr h = { .ts.tv_sec = (time_t)w->frames };

	h.len = h.caplen = encapsulate(raw, &w->h[from].addr, &w->h[!from].addr, f->type, f->bytes + f->start, f->len);
	pcap_dump((uint8_t *)dump, &h, raw);
	return true;
}

/* The cluster address as the outgoing table has it (S2-OUT-04), and the number (S2-OUT-05). */
static void expect_out(const struct host *h, uint32_t conn, const char *what, uint32_t offset, const char *more)
{
	const struct apw_out *o = apw_out_row(h->e, apw_conn(h->e, conn)->out);
	uint32_t d = o->dst_host;

	fprintf(expect, "{\"what\":\"%s\",\"host\":\"%u.%u.%u.%u\",", what, d >> 24,
		d >> 16 & 255, d >> 8 & 255, d & 255);
	fprintf(expect, "\"index\":%u,\"nonce\":%llu,\"offset\":%u,\"seq\":%u%s}\n", o->remote_index,
		(unsigned long long)o->nonce, offset, o->seq, more);
}

static void expect_setup(const struct host *h, uint32_t conn, const char *what)
{
	const struct apw_in *r = apw_in_row(h->e, conn & 4095);

	fprintf(expect, "{\"what\":\"%s\",\"index\":%u,\"nonce\":%llu,", what, r->index, (unsigned long long)r->nonce);
	fprintf(expect, "\"size\":%llu,\"seq0\":%u,\"ap_type\":%u}\n", (unsigned long long)r->size, r->seq0, r->type);
}

static void script(struct world *w)
{
	struct apw_side sa = all_of(&w->h[0], APW_LEVEL_2), sb = all_of(&w->h[1], APW_LEVEL_2), queue = sb;
	struct apw_event ev;
	struct link l, q;
	char more[200];
	uint64_t v;
	uint32_t id, words[64];

	l = linked(w, &sa, &sb);
	expect_setup(&w->h[0], l.a, "CONNECT");
	expect_setup(&w->h[1], l.b, "ACCEPT");
	for (v = 0; v < 100; v++) {
		if (v % 50 == 0)	/* each frame is a section: one number for all its bursts */
			expect_out(&w->h[0], l.a, "WRITE", (uint32_t)(v * 8), ",\"len\":8,\"section\":true");
		else
			fprintf(expect, "{\"offset\":%u,\"data\":\"%02x00000000000000\",\"section\":false}\n",
				(unsigned)v * 8, (unsigned)v);
		assert_int_equal(apw_store(w->h[0].e, w->now, l.bus_a + 8 * v, &v, 8,
					   v % 50 == 49 ? APW_S_FLUSH : 0), 0);
	}
	pump(w);
	queue.map = APW_QUEUE;
	queue.region = w->h[1].queue;
	q = linked(w, &sa, &queue);
	expect_setup(&w->h[1], q.b, "ACCEPT");
	expect_out(&w->h[0], q.a, "EVENT", 0, ",\"a\":3735928559,\"b\":7");
	assert_int_equal(apw_event(w->h[0].e, w->now, q.bus_a, 0xdeadbeef, 7), 0);
	pump(w);
	memcpy(w->h[1].memory + 512, "forty bytes of text, that may be read...", 40);
	snprintf(more, sizeof(more), ",\"len\":40,\"reply_index\":%u", l.a);
	expect_out(&w->h[0], l.a, "READ_REQ", 512, more);
	fprintf(expect, "{\"what\":\"READ_RESP\",\"index\":%u,\"len\":40,\"status\":0,\"accepted\":%u}\n", l.a,
		apw_in_row(w->h[1].e, l.b & 4095)->seq);
	assert_int_equal(apw_read(w->h[0].e, w->now, l.a, 512, more, 40, &id), 0);
	pump(w);
	assert_int_equal(apw_read_done(w->h[0].e, id), 0);
	/* The message types that are left: ALIVE and its answer, MESSAGE, REJECT, ERROR, CLOSE. */
	fprintf(expect, "{\"what\":\"ALIVE\",\"index\":%u,\"peer_index\":%u}\n", l.a, l.b);
	fprintf(expect, "{\"what\":\"ALIVEACK\",\"arg\":0}\n");
	assert_int_equal(apw_alive(w->h[0].e, NULL, 0, 0, l.a), 0);
	pump(w);
	fprintf(expect, "{\"what\":\"MESSAGE\",\"dport\":%u,\"body\":\"68656c6c6f\"}\n", w->h[1].port);
	assert_int_equal(apw_message(w->h[0].e, &w->h[1].addr, w->h[1].port, w->h[0].port, "hello", 5), 0);
	pump(w);
	assert_int_equal(apw_connect(w->h[0].e, w->now, &(struct apw_connect){ .to = w->h[1].addr, .port = 1,
				     .lport = w->h[0].port }, &id), 0);
	fprintf(expect, "{\"what\":\"REJECT\",\"peer_index\":%u,\"arg\":%u}\n", id, CI_E_NO_PORT);
	pump(w);
	assert_int_equal(apw_narrow(w->h[1].e, l.b, 0, 7), 0);
	expect_out(&w->h[0], l.a, "WRITE", 800, ",\"data\":\"6400000000000000\"");
	fprintf(expect, "{\"what\":\"ERROR\",\"index\":%u,\"arg\":%u,\"arg2\":800}\n", l.b, CI_E_EXTENT);
	assert_int_equal(apw_store(w->h[0].e, w->now, l.bus_a + 8 * v, &v, 8, APW_S_FLUSH), 0);
	pump(w);
	fprintf(expect, "{\"what\":\"CLOSE\",\"ack\":false,\"index\":%u}\n{\"what\":\"CLOSE\",\"ack\":true}\n", l.a);
	assert_int_equal(apw_close(w->h[0].e, w->now, l.a), 0);
	pump(w);
	while (apw_evq_take(&w->h[0].q, &ev, words, 64) || apw_evq_take(&w->h[1].q, &ev, words, 64))
		;
}

static void decoded(bool udp)
{
	char cap[] = "/tmp/onramp-ci-XXXXXX", want[] = "/tmp/onramp-ci-XXXXXX", cmd[500];
	struct apw_conf c = plain_conf();
	pcap_t *pcap = pcap_open_dead(DLT_EN10MB, 65535);
	struct world w;
	int fd[2] = { mkstemp(cap), mkstemp(want) }, r;

	assert_true(fd[0] >= 0 && fd[1] >= 0 && pcap);
	dump = pcap_dump_fopen(pcap, fdopen(fd[0], "w"));
	expect = fdopen(fd[1], "w");
	assert_true(dump && expect);
	as_udp = udp;
	c.pack = true;
	world_up_as(&w, 50, &c);
	w.tap = tap;
	script(&w);
	world_down(&w);
	pcap_dump_close(dump);
	pcap_close(pcap);
	fclose(expect);
	snprintf(cmd, sizeof(cmd), "python3 test/rig/ci_decode.py %s --port 7000 --expect %s > /dev/null", cap,
		 want);
	r = system(cmd);
	if (r) {
		snprintf(cmd, sizeof(cmd), "python3 test/rig/ci_decode.py %s --port 7000 --expect %s >&2; cat %s >&2",
			 cap, want, want);
		r |= system(cmd);
	}
	unlink(cap);
	unlink(want);
	assert_int_equal(r, 0);
}

static void test_ethernet(void **state)
{
	(void)state;
	decoded(false);
}

static void test_udp(void **state)
{
	(void)state;
	decoded(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_ethernet), cmocka_unit_test(test_udp) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
