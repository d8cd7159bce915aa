/* SPDX-License-Identifier: BSD-2-Clause */
/* poll() and epoll over descriptors of ours, and the calls that are packetdrill's own: wire and clock. */
#include "test/packetdrill/adapter/adapter.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EPOCH_S	   1600000000ull	/* what gettimeofday() counts from: any day will do */
#define PATIENCE_NS (3 * 3600 * NS_PER_S)	/* longer than a keepalive's idle time */

static int fail(int err)
{
	errno = err;
	return -1;
}

/* ---- poll ------------------------------------------------------------------------------------------ */

struct polling { struct pollfd *p; nfds_t n; int found; };

static short look(int fd, short events)
{
	uint32_t want = (uint32_t)(unsigned short)events | POLLERR | POLLHUP, r = POLLHUP | POLLOUT;
	struct file *f = file_of(fd);
	struct turn t;
	struct sk *sk;

	if (!f)
		return POLLNVAL;
	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk)
		r = sk->ready;
	world_leave(&t);
	r |= (r & EPOLLIN ? POLLRDNORM : 0) | (r & EPOLLOUT ? POLLWRNORM : 0);
	return (short)(r & want);
}

static bool poll_ready(void *arg)
{
	struct polling *q = arg;

	q->found = 0;
	for (nfds_t i = 0; i < q->n; i++) {
		q->p[i].revents = q->p[i].fd < 0 ? 0 : look(q->p[i].fd, q->p[i].events);
		q->found += q->p[i].revents != 0;
	}
	return q->found != 0;
}

static int c_poll(void *c, struct pollfd *p, nfds_t n, int ms)
{
	struct polling q = { p, n, 0 };

	(void)c;
	pd_lock();
	if (!poll_ready(&q) && ms != 0)
		(void)pd_wait(poll_ready, &q, pd_until_ms(ms));
	pd_unlock();
	return q.found;
}

/* ---- epoll ------------------------------------------------------------------------------------------ */

static int c_epoll_create(void *c, int size)
{
	struct turn t;
	int fd;

	(void)c;
	if (size <= 0)
		return fail(EINVAL);
	pd_lock();
	fd = file_new(FILE_EPOLL);
	if (fd >= 0) {
		world_enter(&t);
		file_of(fd)->ep = ep_get(&t);
		world_leave(&t);
	}
	pd_unlock();
	return fd < 0 ? fail(-fd) : fd;
}

static int c_epoll_ctl(void *c, int ep, int op, int fd, struct epoll_event *e)
{
	struct file *pf, *f;
	struct turn t;
	struct sk *sk;
	int err = -EBADF;

	(void)c;
	pd_lock();
	pf = file_of(ep);
	f = file_of(fd);
	if (pf && f) {
		world_enter(&t);
		sk = file_sk(&t, f);
		if (!sk || pf->kind != FILE_EPOLL)
			err = -EINVAL;
		else if (op == EPOLL_CTL_ADD)
			err = ep_add(&t, pf->ep, sk, fd, e->events, e->data.u64);
		else if (op == EPOLL_CTL_MOD)
			err = ep_mod(&t, pf->ep, sk, fd, e->events, e->data.u64);
		else
			err = ep_del(&t, pf->ep, sk, fd);
		world_leave(&t);
	}
	pd_unlock();
	return err ? fail(-err) : 0;
}

struct collecting { ep_h ep; struct epoll_event *e; uint32_t max, n; };

static bool collect(void *arg)
{
	struct collecting *q = arg;
	struct ep_event got[16];
	struct turn t;

	world_enter(&t);
	q->n = ep_collect(&t, q->ep, got, min_u32(q->max, n_elems(got)));
	world_leave(&t);
	for (uint32_t i = 0; i < q->n; i++)
		q->e[i] = (struct epoll_event){ .events = got[i].events, .data.u64 = got[i].data };
	return q->n != 0;
}

static int c_epoll_wait(void *c, int ep, struct epoll_event *e, int max, int ms)
{
	struct collecting q = { .e = e, .max = max > 0 ? (uint32_t)max : 0 };
	struct file *pf;

	(void)c;
	pd_lock();
	pf = file_of(ep);
	if (pf && pf->kind == FILE_EPOLL && max > 0) {
		q.ep = pf->ep;
		if (!collect(&q) && ms != 0)
			(void)pd_wait(collect, &q, pd_until_ms(ms));
	}
	pd_unlock();
	return !pf ? fail(EBADF) : max <= 0 ? fail(EINVAL) : (int)q.n;
}

/* ---- wire and clock ------------------------------------------------------------------------------------ */

static int c_packet_in(void *c, const void *p, size_t n)
{
	int r;

	(void)c;
	pd_lock();
	r = world_in(p, n);
	pd_unlock();
	return r;
}

static struct { uint8_t p[65536]; size_t n; uint64_t at; } next;

static bool something_sent(void)
{
	if (!next.n)
		next.n = world_out(next.p, sizeof(next.p), &next.at);
	return next.n != 0;
}

/* packetdrill asks when its script expects a packet: time passes until there is one. When none is ever
 * going to be, an empty answer ends the script. */
static int c_packet_out(void *c, void *p, size_t *n, long long *us)
{
	(void)c;
	pd_lock();
	if (!something_sent())
		pd_pass(world_now() + PATIENCE_NS, something_sent);
	*n = min_u64(next.n, *n);
	memcpy(p, next.p, *n);
	*us = (long long)(EPOCH_S * 1000000 + next.at / NS_PER_US);
	next.n = 0;
	pd_unlock();
	return 0;
}

static int c_nap(void *c, useconds_t us)
{
	(void)c;
	pd_nap((uint64_t)us * NS_PER_US);
	return 0;
}

static int c_clock(void *c, struct timeval *tv, struct timezone *tz)
{
	uint64_t us = pd_clock();

	(void)c, (void)tz;
	*tv = (struct timeval){ .tv_sec = (time_t)(EPOCH_S + us / 1000000), .tv_usec = (suseconds_t)(us % 1000000) };
	return 0;
}

/* ---- init ------------------------------------------------------------------------------------------------ */

static void c_fini(void *c)
{
	(void)c;
	pd_lock();
	files_close();
	world_free();
	pd_unlock();
}

/* `flags`: words of the form name=value: mtu, local4, local6. */
exported void packetdrill_interface_init(const char *flags, struct pd_table *ret)
{
	static char text[256];
	struct world_conf conf = { .mtu = 1500, .local4 = "192.168.0.2", .local6 = "fd3d:fa7b:d17d::2" };
	char *save = NULL;

	strncpy(text, flags ? flags : "", sizeof(text) - 1);
	for (char *s = strtok_r(text, ", ", &save); s; s = strtok_r(NULL, ", ", &save)) {
		if (!strncmp(s, "mtu=", 4))
			conf.mtu = (uint32_t)strtoul(s + 4, NULL, 10);
		else if (!strncmp(s, "local4=", 7))
			conf.local4 = s + 7;
		else if (!strncmp(s, "local6=", 7))
			conf.local6 = s + 7;
	}
	world_make(&conf);
	pd_wait_begin();
	memset(ret, 0, sizeof(*ret));
	pd_calls(ret);
	ret->fini = c_fini;
	ret->poll = c_poll;
	ret->epoll_create = c_epoll_create;
	ret->epoll_ctl = c_epoll_ctl;
	ret->epoll_wait = c_epoll_wait;
	ret->packet_in = c_packet_in;
	ret->packet_out = c_packet_out;
	ret->nap = c_nap;
	ret->clock = c_clock;
}
