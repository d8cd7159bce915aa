/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp/aperture.h as a program uses it: over UDP on the loopback, as any user. Each test has
 * two endpoints; where both must move at once, one is in a child or a thread.
 */
#include "test/unit/panic.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "onramp/aperture.h"

#define ALL (ONRAMP_AP_READ | ONRAMP_AP_WRITE)

static struct onramp_ap *opened(uint32_t flags)
{
	struct onramp_ap_options o = { .size = sizeof(o), .flags = flags, .address = "127.0.0.1" };
	struct onramp_ap *ap;

	assert_int_equal(onramp_ap_open(&o, &ap), 0);
	return ap;
}

static const char *where(struct onramp_ap *ap)
{
	static char text[64];

	assert_int_equal(onramp_ap_address(ap, text, sizeof(text)), 0);
	return text;
}

/* An endpoint that is served by a thread, as a program that has one for it would do. */
struct served { struct onramp_ap *ap; pthread_t t; _Atomic int stop; };

static void *serve(void *arg)
{
	struct served *s = arg;

	while (!s->stop) {
		struct pollfd p = { .fd = onramp_ap_fd(s->ap), .events = POLLIN };

		(void)poll(&p, 1, 20);
		(void)onramp_ap_poll(s->ap);
	}
	return NULL;
}

static void served_start(struct served *s)
{
	s->stop = 0;
	s->ap = opened(0);
	assert_int_equal(pthread_create(&s->t, NULL, serve, s), 0);
}

static void served_stop(struct served *s)
{
	s->stop = 1;
	pthread_join(s->t, NULL);
	onramp_ap_close(s->ap);
}

static uint64_t counter(struct onramp_ap *ap, const char *name)
{
	const char *s;
	uint64_t v;

	for (unsigned n = 0; (s = onramp_ap_counter(ap, n, &v)) != NULL; n++)
		if (!strcmp(s, name))
			return v;
	fail();
	return 0;
}

/* S2-MAP-01, S2-READ-01, S2-CON-06 through the library. */
static void test_data(void **state)
{
	struct served b;
	struct onramp_ap *a = opened(0);
	struct onramp_ap_memory m = { .bytes = 300000, .flags = ALL }, mine = { .bytes = 4096, .flags = ALL };
	struct onramp_ap_event ev;
	uint8_t *mem, *big = malloc(300000), *got = malloc(300000);
	uint32_t conn;
	uint64_t size;
	uint16_t port;

	(void)state;
	served_start(&b);
	mem = calloc(1, 300000);
	m.base = mem;
	mine.base = onramp_ap_alloc(a, 4096);
	assert_int_equal(onramp_ap_offer(b.ap, 0, &m, NULL, &port), 0);
	assert_int_equal(onramp_ap_connect(a, where(b.ap), port, &mine, 5000, &conn), 0);
	assert_int_equal(onramp_ap_size(a, conn, &size), 0);
	assert_int_equal(size, 300000);
	assert_int_equal(onramp_ap_store8(a, conn, 1, 0x11), 0);
	assert_int_equal(onramp_ap_store16(a, conn, 2, 0x2222), 0);
	assert_int_equal(onramp_ap_store32(a, conn, 4, 0x33333333), 0);
	assert_int_equal(onramp_ap_store64(a, conn, 8, 0x4444444444444444), 0);
	assert_int_equal(onramp_ap_fence(a, conn, 5000), 0);
	assert_memory_equal(mem, "\0\x11\x22\x22\x33\x33\x33\x33\x44\x44\x44\x44\x44\x44\x44\x44", 16);
	for (unsigned i = 0; i < 300000; i++)
		big[i] = (uint8_t)(i * 7 ^ i >> 9);
	for (int tries = 0; ; tries++) {	/* a busy machine may drop some: then again */
		int r;

		assert_int_equal(onramp_ap_store(a, conn, 0, big, 300000, 0), 0);
		r = onramp_ap_fence(a, conn, 5000);
		if (!r)
			break;
		assert_int_equal(r, -EIO);
		assert_true(tries < 20);
	}
	assert_memory_equal(mem, big, 300000);
	assert_int_equal(onramp_ap_read(a, conn, 17, got, 250000, 10000), 0);
	assert_memory_equal(got, big + 17, 250000);
	assert_int_equal(onramp_ap_store64(a, conn, 300000 - 7, 1), -ERANGE);
	assert_int_equal(onramp_ap_read(a, conn, 299999, got, 2, 1000), -ERANGE);
	while (onramp_ap_event(a, &ev, 0) == 1)
		assert_int_equal(ev.type, ONRAMP_AP_EV_ERROR);
	for (uint64_t i = 0; i < 200; i++)	/* together in few frames */
		assert_int_equal(onramp_ap_store(a, conn, i * 8, &i, 8, i == 199 ? 0 : ONRAMP_AP_MORE), 0);
	assert_int_equal(onramp_ap_fence(a, conn, 5000), 0);
	for (uint64_t i = 0; i < 200; i++)
		assert_memory_equal(mem + i * 8, &i, 8);
	assert_int_equal(onramp_ap_disconnect(a, conn), 0);
	assert_int_equal(onramp_ap_disconnect(a, conn), -ENOENT);
	assert_int_equal(onramp_ap_withdraw(b.ap, port), 0);
	assert_int_equal(onramp_ap_withdraw(b.ap, port), -ENOENT);
	assert_int_equal(onramp_ap_connect(a, where(b.ap), port, NULL, 5000, &conn), -ECONNREFUSED);
	onramp_ap_close(a);
	served_stop(&b);
	free(mem);
	free(big);
	free(got);
}

/* S2-CON-04, S2-PORT-02: rules, ASK, events and messages in order. */
static void test_events(void **state)
{
	struct served a;
	struct onramp_ap *b = opened(0);
	struct onramp_ap_memory m = { .bytes = 4096, .flags = ALL | ONRAMP_AP_ASK | ONRAMP_AP_STEPPING };
	struct onramp_ap_rules rules = { .size = sizeof(rules), .n = 1, .rule = { { "10.0.0.0/8", 1 } } };
	struct onramp_ap_event ev;
	uint32_t conn = 0;
	uint16_t port, shut;
	char to[64];
	pid_t child;
	int status;

	(void)state;
	m.base = onramp_ap_alloc(b, 4096);
	assert_int_equal(onramp_ap_offer(b, 0, &m, NULL, &port), 0);
	assert_int_equal(onramp_ap_offer(b, 0, &m, &rules, &shut), 0);
	assert_int_equal(onramp_ap_offer(b, port, &m, NULL, NULL), -EADDRINUSE);
	memcpy(to, where(b), sizeof(to));
	child = fork();
	if (child == 0) {
		struct onramp_ap *c = opened(0);
		struct onramp_ap_event e;
		int bad = 0;

		bad |= onramp_ap_connect(c, to, shut, NULL, 5000, &conn) != -EACCES;
		bad |= (onramp_ap_connect(c, to, port, NULL, 5000, &conn) != -EACCES) << 1;	/* rejected by hand */
		bad |= (onramp_ap_connect(c, to, port, NULL, 5000, &conn) != 0) << 2;
		bad |= (onramp_ap_notify(c, conn, 0xfeedbeef) != 0) << 3;
		bad |= (onramp_ap_store(c, conn, 40, "x", 1, ONRAMP_AP_NOTIFY) != 0) << 4;
		bad |= (onramp_ap_message(c, to, port, "seven b", 7) != 0) << 5;
		bad |= (onramp_ap_event(c, &e, 5000) != 1 || e.type != ONRAMP_AP_EV_DELIVERY) << 6;
		onramp_ap_close(c);
		_exit(bad);
	}
	for (int asked = 0; asked < 2; asked++) {
		assert_int_equal(onramp_ap_event(b, &ev, 5000), 1);
		assert_int_equal(ev.type, ONRAMP_AP_EV_SETUP);
		assert_int_equal(ev.address, 0x7f000001);
		assert_int_equal(asked ? onramp_ap_accept(b, ev.conn, NULL) : onramp_ap_reject(b, ev.conn), 0);
		assert_int_equal(onramp_ap_event(b, &ev, 5000), 1);
		assert_int_equal(ev.type, asked ? ONRAMP_AP_EV_OPEN : ONRAMP_AP_EV_CLOSED);
	}
	conn = ev.conn;
	assert_int_equal(onramp_ap_event(b, &ev, 5000), 1);
	assert_true(ev.type == ONRAMP_AP_EV_DELIVERY && ev.value == 0xfeedbeef && ev.conn == conn);
	assert_int_equal(onramp_ap_event(b, &ev, 5000), 1);
	assert_true(ev.type == ONRAMP_AP_EV_DELIVERY && ev.value == 40 && ((char *)m.base)[40] == 'x');
	assert_int_equal(onramp_ap_event(b, &ev, 5000), 1);
	assert_true(ev.type == ONRAMP_AP_EV_MESSAGE && ev.bytes == 7 && !memcmp(ev.data, "seven b", 7));
	assert_int_equal(onramp_ap_event(b, &ev, 50), 0);
	assert_int_equal(onramp_ap_notify(b, conn, 1), 0);
	assert_int_equal(onramp_ap_event(b, &ev, 5000), 1);
	assert_int_equal(ev.type, ONRAMP_AP_EV_CLOSED);
	/* The goodbye is heard out while we are in a call. */
	(void)onramp_ap_event(b, &ev, 100);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	served_start(&a);
	served_stop(&a);
	onramp_ap_close(b);
}

static void test_misuse(void **state)
{
	struct onramp_ap_options o = { .size = sizeof(o) };
	struct onramp_ap_memory m = { .bytes = 10, .flags = ALL };
	struct onramp_ap *ap = opened(0);
	char text[8];
	uint32_t conn;
	uint64_t v;

	(void)state;
	o.address = "not an address";
	assert_int_equal(onramp_ap_open(&o, &ap) == 0, 0);
	o.address = "192.0.2.1";
	assert_int_equal(onramp_ap_open(&o, &ap), -EADDRNOTAVAIL);
	o.address = NULL;
	o.frame_bytes = 100;
	assert_int_equal(onramp_ap_open(&o, &ap), -EINVAL);
	o.frame_bytes = 0;
	o.interface = "no-such-interface";
	assert_true(onramp_ap_open(&o, &ap) < 0);
	assert_int_equal(onramp_ap_address(ap, text, sizeof(text)), -ENOSPC);
	assert_int_equal(onramp_ap_offer(ap, 5, &m, NULL, NULL), -EINVAL);	/* bytes of nothing */
	assert_int_equal(onramp_ap_store64(ap, 77, 0, 1), -ENOENT);
	assert_int_equal(onramp_ap_fence(ap, 77, 10), -ENOTCONN);
	assert_int_equal(onramp_ap_connect(ap, "127.0.0.1", 5, NULL, 10, &conn), -EINVAL);
	errno = 12345;
	assert_int_equal(onramp_ap_connect(ap, "127.0.0.1:9", 5, NULL, 10, &conn), -ETIMEDOUT);
	assert_int_equal(errno, 12345);
	assert_null(onramp_ap_counter(ap, 1000, &v));
	assert_true(onramp_ap_alloc(ap, 1 << 30) == NULL);
	onramp_ap_close(ap);
	onramp_ap_close(NULL);
}

/* ---- with a helper -------------------------------------------------------------------------------- */

struct told { char address[64]; uint16_t port; };

/* A child that offers memory, and then does what it is told through a pipe. */
static pid_t offering(struct told *t, int *ret_to)
{
	int up[2], down[2];
	pid_t p;

	assert_int_equal(pipe(up) | pipe(down), 0);
	p = fork();
	if (p == 0) {
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		struct onramp_ap *ap = opened(ONRAMP_AP_SERVE);
		struct onramp_ap_memory m = { .base = onramp_ap_alloc(ap, 65536), .bytes = 65536, .flags = ALL };
		struct onramp_ap_event ev;
		char c = 0;

		memset(m.base, 0x5a, 65536);
		close(down[1]);
		if (onramp_ap_offer(ap, 0, &m, NULL, &t->port))
			_exit(1);
		memcpy(t->address, where(ap), sizeof(t->address));
		if (write(up[1], t, sizeof(*t)) != sizeof(*t))
			_exit(2);
		while (read(down[0], &c, 1) == 1)
			if (c == 'w')		/* waits in a call */
				while (onramp_ap_event(ap, &ev, -1) == 1 && ev.type != ONRAMP_AP_EV_MESSAGE)
					;
			else if (c == 's')	/* is busy with something else */
				for (time_t end = time(NULL) + 2; time(NULL) < end; )
					;
		onramp_ap_close(ap);
		_exit(0);
	}
	close(up[1]);
	close(down[0]);
	assert_int_equal(read(up[0], t, sizeof(*t)), sizeof(*t));
	close(up[0]);
	*ret_to = down[1];
	return p;
}

static uint32_t asked(struct onramp_ap *a, uint32_t conn)
{
	struct onramp_ap_event ev;

	for (int tries = 0; tries < 20; tries++) {
		assert_int_equal(onramp_ap_alive(a, conn), 0);
		while (onramp_ap_event(a, &ev, 500) == 1)
			if (ev.type == ONRAMP_AP_EV_ALIVE)
				return ev.value;
	}
	return 99;
}

/* Whoever was just woken still looks, and so is running, for a moment. */
static void becomes(struct onramp_ap *a, uint32_t conn, uint32_t state)
{
	for (int i = 0; i < 50; i++) {
		if (asked(a, conn) == state)
			return;
		usleep(100000);
	}
	fail();
}

/* S2-PORT-04, S2-READ-01: running, blocked, stopped, dead: its memory is served all the same. */
static void test_helper(void **state)
{
	struct onramp_ap *a = opened(0);
	struct onramp_ap_event ev;
	struct told t;
	uint8_t got[4096];
	uint32_t conn;
	int to, status;
	pid_t p = offering(&t, &to);

	(void)state;
	assert_int_equal(onramp_ap_connect(a, t.address, t.port, NULL, 5000, &conn), 0);
	becomes(a, conn, ONRAMP_AP_BLOCKED);	/* once it is in read(2) */
	assert_int_equal(write(to, "s", 1), 1);
	becomes(a, conn, ONRAMP_AP_RUNNING);
	kill(p, SIGSTOP);
	assert_int_equal(waitpid(p, &status, WUNTRACED), p);
	assert_int_equal(asked(a, conn), ONRAMP_AP_STOPPED);
	assert_int_equal(onramp_ap_read(a, conn, 512, got, sizeof(got), 5000), 0);
	for (unsigned i = 0; i < sizeof(got); i++)
		assert_int_equal(got[i], 0x5a);
	assert_int_equal(onramp_ap_store64(a, conn, 512, 0x0101010101010101), 0);
	assert_int_equal(onramp_ap_fence(a, conn, 5000), 0);
	assert_int_equal(onramp_ap_read(a, conn, 512, got, 8, 5000), 0);
	assert_int_equal(got[0], 1);
	kill(p, SIGCONT);
	assert_int_equal(write(to, "w", 1), 1);
	becomes(a, conn, ONRAMP_AP_BLOCKED);
	kill(p, SIGKILL);
	assert_int_equal(waitpid(p, &status, 0), p);
	/* It says goodbye for the dead. */
	do {
		assert_int_equal(onramp_ap_event(a, &ev, 5000), 1);
	} while (ev.type != ONRAMP_AP_EV_CLOSED);
	assert_int_equal(ev.conn, conn);
	/* Refused while it lingers; nobody answers if it was killed in the middle of something. */
	assert_true(onramp_ap_connect(a, t.address, t.port, NULL, 1000, &conn) < 0);
	close(to);
	onramp_ap_close(a);
}

/* The helper is no child of the program's, and is gone when the endpoint is. */
static void test_helper_unseen(void **state)
{
	struct onramp_ap *ap = opened(ONRAMP_AP_SERVE);
	struct onramp_ap_memory m = { .bytes = 64, .flags = ALL };
	uint8_t mine[64];

	(void)state;
	m.base = mine;
	assert_int_equal(onramp_ap_offer(ap, 5, &m, NULL, NULL), -EINVAL);	/* not from the endpoint's heap */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	onramp_ap_close(ap);
}

/* ---- threads -------------------------------------------------------------------------------------- */

struct worker { struct onramp_ap *ap; uint32_t conn; unsigned n; int bad; };

static void *work(void *arg)
{
	struct worker *w = arg;
	uint64_t v, got;

	for (unsigned i = 1; i <= 300; i++) {
		v = (uint64_t)w->n << 32 | i;
		w->bad |= onramp_ap_store64(w->ap, w->conn, w->n * 64, v) != 0;
		if (onramp_ap_read(w->ap, w->conn, w->n * 64, &got, 8, 10000))
			w->bad |= 2;
		else if (got != v)
			w->bad |= 4;
	}
	return NULL;
}

static void test_threads(void **state)
{
	struct onramp_ap *a = opened(0);
	struct onramp_ap_memory m = { .bytes = 4096, .flags = ALL };
	struct worker w[8];
	pthread_t t[8];
	struct served b;
	uint32_t conn;
	uint16_t port;

	(void)state;
	served_start(&b);
	m.base = onramp_ap_alloc(b.ap, 4096);
	assert_int_equal(onramp_ap_offer(b.ap, 0, &m, NULL, &port), 0);
	assert_int_equal(onramp_ap_connect(a, where(b.ap), port, NULL, 5000, &conn), 0);
	for (unsigned i = 0; i < 8; i++) {
		w[i] = (struct worker){ a, conn, i, 0 };
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (unsigned i = 0; i < 8; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(w[i].bad, 0);
	}
	assert_true(counter(b.ap, "READS") >= 2400);
	onramp_ap_close(a);
	served_stop(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_data),	cmocka_unit_test(test_events),
		cmocka_unit_test(test_misuse),	cmocka_unit_test(test_helper),
		cmocka_unit_test(test_helper_unseen), cmocka_unit_test(test_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
