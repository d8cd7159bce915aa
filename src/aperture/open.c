/* SPDX-License-Identifier: BSD-2-Clause */
/* Endpoints: made, looked at, given back (onramp/aperture.h). */
#include "aperture/self.h"

#include <errno.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/atomic.h"
#include "host/sys.h"

/* ---- the arena -------------------------------------------------------------------------------- */

static size_t round64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

static uint32_t pow2_above(uint32_t n)
{
	uint32_t p = 2;

	while (p < n && p < 65536)
		p *= 2;
	return p;
}

static int conf_of(const struct onramp_ap_options *o, struct apw_conf *c)
{
	uint32_t conns = o->max_connections ? o->max_connections : 4096;

	*c = (struct apw_conf){
		.n_rows = pow2_above(conns + 1), .n_ports = N_OFFERS + 1, .n_regions = N_REGIONS, .n_queues = 2,
		.n_reads = N_READS, .n_frames = 256, .mtu = o->frame_bytes ? o->frame_bytes : FRAME_DEFAULT,
		.crc = crc32c_best(), .pack = true, .has_ether = o->interface != NULL,
	};
	if (conns > 65535 || c->mtu < 256 || c->mtu > 65000 || (o->flags & ~ONRAMP_AP_SERVE))
		return -EINVAL;
	host_entropy(c->secret, sizeof(c->secret));
	return 0;
}

static void *carve(uint8_t *base, size_t *at, size_t n)
{
	void *p = base ? base + *at : NULL;

	*at += round64(n);
	return p;
}

struct parts { void *engine, *os, *events, *buffers, *landing, *heap; size_t total; uint32_t stride; };

static void lay_out(struct parts *p, uint8_t *base, const struct apw_conf *c, uint64_t heap)
{
	size_t at = 0;

	carve(base, &at, sizeof(struct onramp_ap));
	p->engine = carve(base, &at, apw_bytes(c));
	p->os = carve(base, &at, apw_evq_bytes(64, 64));
	p->events = carve(base, &at, apw_evq_bytes(N_EVENTS, N_EVENT_WORDS));
	p->stride = (uint32_t)round64(c->mtu + 64u + 64u);
	p->buffers = carve(base, &at, (size_t)p->stride * N_BATCH);
	p->landing = carve(base, &at, (size_t)c->mtu * N_READS);
	at = (at + 4095) & ~(size_t)4095;
	p->heap = carve(base, &at, heap);
	p->total = at;
}

static int furnish(struct onramp_ap *ap, const struct parts *p, const struct apw_conf *c)
{
	static const struct apw_rule nobody = { .allow = false };
	struct apw_offer client = { .n_rules = 1, .rule = { nobody } };
	uint32_t os;
	int r;

	ap->buffers = p->buffers;
	ap->buffer_stride = p->stride;
	ap->landing = p->landing;
	ap->heap = p->heap;
	carrier_furnish(ap);
	ap->e = apw_init(p->engine, c);
	r = apw_queue(ap->e, p->os, 64, 64, &os);
	if (!r)
		r = apw_queue(ap->e, p->events, N_EVENTS, N_EVENT_WORDS, &ap->queue);
	client.queue = ap->queue;
	if (!r)	/* whose connections are ours: others cannot connect to it */
		r = apw_bind(ap->e, 0, &client, &ap->client_port);
	apw_evq_attach(&ap->events, p->events, N_EVENTS, N_EVENT_WORDS);
	return r;
}

int onramp_ap_open(const struct onramp_ap_options *given, struct onramp_ap **ret)
{
	struct onramp_ap_options o = { .size = sizeof(o) };
	int was = errno, r;
	struct onramp_ap *ap;
	struct apw_conf c;
	struct parts p;
	uint64_t heap;

	if (given && (given->size < 8 || given->size > sizeof(o)))
		return -EINVAL;
	if (given)
		memcpy(&o, given, given->size);
	r = conf_of(&o, &c);
	if (r)
		return r;
	heap = (o.heap_bytes ? o.heap_bytes : HEAP_BYTES) + 4095ull;
	lay_out(&p, NULL, &c, heap);
	/* Shared: a helper is a fork. Pages that nobody touches cost nothing. */
	ap = sys_mmap(NULL, p.total, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (SYS_MAP_FAILED(ap))
		return -ENOMEM;
	ap->arena_bytes = p.total;
	ap->heap_bytes = heap;
	ap->pid = sys_getpid();
	ap->fd = ap->bell = ap->epoll = ap->timer = ap->alive_fd = -1;
	ap->raw = o.flags & ONRAMP_AP_SERVE;
	ap->frame_bytes = c.mtu;
	ap->spin_ns = (o.spin_us ? o.spin_us : SPIN_US) * NS_PER_US;
	r = carrier_open(ap, o.address, o.interface, &c.host);
	lay_out(&p, (uint8_t *)ap, &c, heap);
	if (!r)
		r = furnish(ap, &p, &c);
	if (!r) {
		ap->bell = sys_eventfd2(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = ap->bell < 0 ? ap->bell : 0;
	}
	if (!r && (o.flags & ONRAMP_AP_SERVE))
		r = serve_start(ap);
	errno = was;
	if (r) {
		onramp_ap_close(ap);
		return r;
	}
	*ret = ap;
	return 0;
}

static bool all_closed(struct onramp_ap *ap, void *arg)
{
	(void)arg;
	return apw_in_table(ap->e)->n_used == 0;
}

/* What is still open is closed, and the peers' answers waited for. */
static void farewell(struct onramp_ap *ap)
{
	uint64_t now = host_now();

	for (uint32_t i = 0; i < N_OFFERS; i++)
		if (ap->offers[i].port)
			apw_unbind(ap->e, now, ap->offers[i].port);
	apw_unbind(ap->e, now, ap->client_port);
	ap_wait(ap, all_closed, NULL, 1000);
}

void onramp_ap_close(struct onramp_ap *ap)
{
	int was = errno;

	if (!ap)
		return;
	if (ap->pid == sys_getpid()) {	/* a fork()ed child only lets go */
		if (ap->e && ap->fd >= 0 && !ap_enter(ap)) {
			farewell(ap);
			ap_leave(ap);
		}
		serve_stop(ap);
	}
	carrier_close(ap);
	if (ap->epoll >= 0) {
		if (ap->raw)
			sys_close(ap->epoll);
		else
			close(ap->epoll);
		sys_close(ap->timer);
	}
	if (ap->bell >= 0)
		sys_close(ap->bell);
	sys_munmap(ap, ap->arena_bytes);
	errno = was;
}

int onramp_ap_address(struct onramp_ap *ap, char *text, size_t n)
{
	int was = errno, r = carrier_address(ap, text, n);

	errno = was;
	return r;
}

void *onramp_ap_alloc(struct onramp_ap *ap, size_t n)
{
	void *p = NULL;

	if (ap_enter(ap))
		return NULL;
	if (n && n <= ap->heap_bytes - ap->heap_used) {
		p = ap->heap + ap->heap_used;
		ap->heap_used = min_u64(ap->heap_used + round64(n), ap->heap_bytes);
	}
	ap_leave(ap);
	return p;
}

/* ---- for event loops ------------------------------------------------------------------------------ */

static void timer_for(struct onramp_ap *ap)
{
	uint64_t at = apw_deadline(ap->e);
	struct itimerspec t = { 0 };

	if (ap->timer < 0 || at == ap->timer_for)
		return;
	ap->timer_for = at;
	if (at != NEVER_NS) {
		t.it_value.tv_sec = (time_t)(at / NS_PER_S);
		t.it_value.tv_nsec = (long)(at % NS_PER_S);
	}
	(void)SYS4(SYS_timerfd_settime, ap->timer, TFD_TIMER_ABSTIME, &t, NULL);
}

static int watch(struct onramp_ap *ap)
{
	struct epoll_event ev = { .events = EPOLLIN };
	int fds[3], ep, r = 0;

	ap->timer = (int)SYS2(SYS_timerfd_create, CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (ap->timer < 0)
		return ap->timer;
	fds[0] = ap->fd;
	fds[1] = ap->bell;
	fds[2] = ap->timer;
	ep = ap->raw ? sys_epoll_create1(EPOLL_CLOEXEC) : epoll_create1(EPOLL_CLOEXEC);
	if (ep < 0)
		r = ap->raw ? ep : -errno;
	for (int i = 0; i < 3 && !r; i++)
		if (ap->raw)
			r = sys_epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev);
		else if (epoll_ctl(ep, EPOLL_CTL_ADD, fds[i], &ev))
			r = -errno;
	if (r) {
		sys_close(ap->timer);
		ap->timer = -1;
		if (ep >= 0)
			sys_close(ep);
		return r;
	}
	ap->epoll = ep;
	apw_evq_arm(&ap->events);
	timer_for(ap);
	return 0;
}

int onramp_ap_fd(struct onramp_ap *ap)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = ap->epoll < 0 ? watch(ap) : 0;
	if (!r)
		r = ap->epoll;
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_poll(struct onramp_ap *ap)
{
	int was = errno, r = ap_enter(ap);
	uint64_t n, now;

	if (r)
		return r;
	now = host_now();
	poke64(&ap->looked_at, now);
	if (ap->epoll >= 0) {
		(void)sys_read(ap->bell, &n, sizeof(n));
		(void)sys_read(ap->timer, &n, sizeof(n));
		apw_evq_arm(&ap->events);
	}
	apw_flush(ap->e);
	r = ap_progress(ap, now, CI_RUNNING);
	timer_for(ap);
	ap_leave(ap);
	errno = was;
	return r;
}

const char *onramp_ap_counter(struct onramp_ap *ap, unsigned n, uint64_t *ret)
{
	if (n >= APW_N_COUNTS)
		return NULL;
	*ret = apw_count(ap->e, (enum apw_count)n);
	return apw_count_name[n];
}
