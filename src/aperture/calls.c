/* SPDX-License-Identifier: BSD-2-Clause */
/* Offers, connections, data and events: what onramp/aperture.h promises, in terms of the engine. */
#include "aperture/self.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>

#include "base/atomic.h"
#include "host/sys.h"

_Static_assert((int)ONRAMP_AP_EV_DELIVERY == APW_EV_DELIVERY && (int)ONRAMP_AP_EV_SETUP == APW_EV_SETUP &&
	       (int)ONRAMP_AP_EV_OPEN == APW_EV_OPEN && (int)ONRAMP_AP_EV_CLOSED == APW_EV_CLOSED &&
	       (int)ONRAMP_AP_EV_ALIVE == APW_EV_ALIVEACK && (int)ONRAMP_AP_EV_ERROR == APW_EV_ERROR &&
	       (int)ONRAMP_AP_EV_MESSAGE == APW_EV_MESSAGE && (int)ONRAMP_AP_E_LINK == CI_E_LINK &&
	       (int)ONRAMP_AP_E_CRC == CI_E_CRC && (int)ONRAMP_AP_DEAD == CI_DEAD,
	       "the same numbers, outside and inside");

#define SEND_NS	NS_PER_S	/* how long a store waits for a network that takes no more */

/* ---- memory ------------------------------------------------------------------------------------ */

static bool is_offered(const struct onramp_ap *ap, uint32_t region)
{
	for (uint32_t i = 0; i < N_OFFERS; i++)
		if (ap->offers[i].port && ap->offers[i].region == region)
			return true;
	return false;
}

static int region_of(struct onramp_ap *ap, void *base, uint64_t bytes, uint32_t *ret)
{
	int r = apw_region(ap->e, base, bytes, ret);

	if (r != -ENOSPC)
		return r;
	/* Those of connections that are over are still there: now is the time. */
	for (uint32_t i = 0; i < N_REGIONS; i++)
		if (!is_offered(ap, i))
			apw_region_end(ap->e, i);
	return apw_region(ap->e, base, bytes, ret);
}

static int side_of(struct onramp_ap *ap, const struct onramp_ap_memory *m, struct apw_side *s)
{
	uint8_t *at = m ? m->base : NULL;

	memset(s, 0, sizeof(*s));
	s->checks = APW_LEVEL_1;
	if (!m)
		return 0;
	if (m->flags & ~(ONRAMP_AP_READ | ONRAMP_AP_WRITE | ONRAMP_AP_ORDERED | ONRAMP_AP_STEPPING |
			 ONRAMP_AP_ANY_SOURCE | ONRAMP_AP_ASK))
		return -EINVAL;
	s->flags = (m->flags & ONRAMP_AP_READ ? APW_F_READ : 0) | (m->flags & ONRAMP_AP_WRITE ? APW_F_WRITE : 0);
	s->checks |= ap->is_ether ? APW_CK_ETHER : 0;
	if (m->flags & (ONRAMP_AP_ORDERED | ONRAMP_AP_STEPPING))
		s->checks |= APW_CK_SEQ;
	if (m->flags & ONRAMP_AP_STEPPING)
		s->step = s->every = 1;
	if (m->flags & ONRAMP_AP_ANY_SOURCE)
		s->checks &= (uint8_t)~(APW_CK_SOURCE | APW_CK_ETHER);
	if (!at)
		return m->bytes ? -EINVAL : 0;
	if (!m->bytes || m->bytes > 1ull << 32 || m->first > m->last || m->last >= m->bytes)
		return -EINVAL;
	/* The helper has the arena only. */
	if (ap->helper && (at < ap->heap || at >= ap->heap + ap->heap_used ||
			   m->bytes > (uint64_t)(ap->heap + ap->heap_used - at)))
		return -EINVAL;
	s->size = m->bytes;
	s->sub_first = m->first;
	s->sub_last = m->last;
	return region_of(ap, at, m->bytes, &s->region);
}

/* ---- offers -------------------------------------------------------------------------------------- */

static int rules_of(const struct onramp_ap_rules *rules, struct apw_offer *o)
{
	if (!rules)
		return 0;
	if (rules->size < sizeof(*rules) || rules->n > APW_N_RULES)
		return -EINVAL;
	o->max_conns = rules->max_connections;
	o->n_rules = rules->n;
	for (uint32_t i = 0; i < rules->n; i++) {
		long bits;
		int r = rules->rule[i].net ? ap_parse_ip4(rules->rule[i].net, '/', &o->rule[i].net, &bits) : -EINVAL;

		if (r || bits > 32)
			return -EINVAL;
		o->rule[i].bits = (uint8_t)(bits < 0 ? 32 : bits);
		o->rule[i].allow = rules->rule[i].allow != 0;
	}
	return 0;
}

static int offer(struct onramp_ap *ap, uint16_t port, const struct onramp_ap_memory *m,
		 const struct onramp_ap_rules *rules, uint16_t *ret_port)
{
	struct apw_offer o = { .queue = ap->queue, .ask = m && (m->flags & ONRAMP_AP_ASK) };
	struct offer *slot = NULL;
	int r;

	for (uint32_t i = 0; i < N_OFFERS && !slot; i++)
		if (!ap->offers[i].port)
			slot = &ap->offers[i];
	if (!slot)
		return -ENOSPC;
	r = rules_of(rules, &o);
	if (!r)
		r = side_of(ap, m, &o.side);
	if (r)
		return r;
	r = apw_bind(ap->e, port, &o, &slot->port);
	if (r) {
		if (o.side.size)
			apw_region_end(ap->e, o.side.region);
		slot->port = 0;
		return r;
	}
	slot->region = o.side.region;
	*ret_port = slot->port;
	return 0;
}

int onramp_ap_offer(struct onramp_ap *ap, uint16_t port, const struct onramp_ap_memory *m,
		    const struct onramp_ap_rules *rules, uint16_t *ret_port)
{
	int was = errno, r = ap_enter(ap);
	uint16_t got;

	if (r)
		return r;
	r = offer(ap, port, m, rules, &got);
	if (!r && ret_port)
		*ret_port = got;
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_withdraw(struct onramp_ap *ap, uint16_t port)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = -ENOENT;
	for (uint32_t i = 0; i < N_OFFERS; i++)
		if (port && ap->offers[i].port == port) {
			r = apw_unbind(ap->e, host_now(), port);
			apw_region_end(ap->e, ap->offers[i].region);
			ap->offers[i].port = 0;
		}
	(void)carrier_send(ap);
	ap_leave(ap);
	errno = was;
	return r;
}

/* ---- connections ------------------------------------------------------------------------------------ */

static bool decided(struct onramp_ap *ap, void *arg)
{
	const struct apw_conn *c = apw_conn(ap->e, *(uint32_t *)arg);

	return !c || c->state != APW_CONNECTING;
}

static int why_not(const struct apw_conn *c)
{
	if (!c)
		return -ECONNRESET;	/* opened, and closed by the peer, while we slept */
	switch (c->why) {
	case CI_E_NO_PORT: return -ECONNREFUSED;
	case CI_E_DENIED: return -EACCES;
	case CI_E_FULL: return -ENOSPC;
	default: return -ETIMEDOUT;
	}
}

static int connect_to(struct onramp_ap *ap, const char *address, uint16_t port, const struct onramp_ap_memory *mine,
		      int timeout, uint32_t *ret_conn)
{
	struct apw_connect a = { .port = port, .lport = ap->client_port, .polled = true };
	const struct apw_conn *c;
	uint32_t conn;
	int r = carrier_parse(ap, address, &a.to), waited;

	if (!r)
		r = side_of(ap, mine, &a.side);
	if (r)
		return r;
	r = apw_connect(ap->e, host_now(), &a, &conn);
	if (r) {
		if (a.side.size)
			apw_region_end(ap->e, a.side.region);
		return r;
	}
	waited = ap_wait(ap, decided, &conn, timeout);
	c = apw_conn(ap->e, conn);
	if (c && (c->state == APW_OPEN || c->state == APW_ACCEPTING)) {
		*ret_conn = conn;
		return 0;
	}
	r = waited ? waited : why_not(c);
	if (c)
		(void)apw_close(ap->e, host_now(), conn);
	if (a.side.size)
		apw_region_end(ap->e, a.side.region);
	return r;
}

int onramp_ap_connect(struct onramp_ap *ap, const char *address, uint16_t port, const struct onramp_ap_memory *mine,
		      int timeout, uint32_t *ret_conn)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = connect_to(ap, address, port, mine, timeout, ret_conn);
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_accept(struct onramp_ap *ap, uint32_t conn, const struct onramp_ap_memory *m)
{
	int was = errno, r = ap_enter(ap);
	struct apw_side s;

	if (r)
		return r;
	r = m ? side_of(ap, m, &s) : 0;
	if (!r)
		r = apw_accept(ap->e, host_now(), conn, 0, m ? &s : NULL);
	(void)carrier_send(ap);
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_reject(struct onramp_ap *ap, uint32_t conn)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = apw_reject(ap->e, host_now(), conn, CI_E_DENIED);
	(void)carrier_send(ap);
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_disconnect(struct onramp_ap *ap, uint32_t conn)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = apw_close(ap->e, host_now(), conn);
	(void)carrier_send(ap);
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_size(struct onramp_ap *ap, uint32_t conn, uint64_t *ret)
{
	uint64_t bus;
	int r = ap_enter(ap);

	if (r)
		return r;
	r = apw_conn_bus(ap->e, conn, &bus, ret);
	ap_leave(ap);
	return r;
}

int onramp_ap_alive(struct onramp_ap *ap, uint32_t conn)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = conn ? apw_alive(ap->e, NULL, 0, 0, conn) : -ENOTCONN;
	(void)carrier_send(ap);
	ap_leave(ap);
	errno = was;
	return r;
}

/* ---- data --------------------------------------------------------------------------------------------- */

/* Gives the network time to take what is ready. With the lock, but while it waits. */
static int make_room(struct onramp_ap *ap, uint64_t until)
{
	struct pollfd p = { .fd = ap->fd, .events = POLLOUT };

	if (carrier_send(ap))
		return 0;
	if (host_now() >= until)
		return -EAGAIN;
	ap_leave(ap);
	(void)ap_poll_fds(ap, &p, 1, 10 * NS_PER_MS);
	return ap_enter(ap);
}

static int store(struct onramp_ap *ap, uint32_t conn, uint64_t offset, const uint8_t *p, size_t n, uint32_t flags)
{
	uint64_t bus, size, now = host_now();
	uint32_t max = apw_store_max(ap->e);
	int r = apw_conn_bus(ap->e, conn, &bus, &size);

	if (r)
		return r;
	if (offset > size || n > size - offset)
		return -ERANGE;
	ap->net_err = 0;
	do {
		uint32_t part = n > max ? max : (uint32_t)n;
		bool last = part == n;

		r = apw_store(ap->e, now, bus + offset, p, part,
			      last ? (flags & ONRAMP_AP_NOTIFY ? APW_S_EVENT : 0) |
				     (flags & ONRAMP_AP_MORE ? 0 : APW_S_FLUSH) : 0);
		if (r == -ENOBUFS) {
			r = make_room(ap, now + SEND_NS);
			if (r)
				return r;
			continue;
		}
		if (r)
			return r;
		p += part;
		offset += part;
		n -= part;
	} while (n);
	if (!(flags & ONRAMP_AP_MORE) || apw_tx_peek(ap->e))
		(void)carrier_send(ap);
	return ap->net_err;
}

int onramp_ap_store(struct onramp_ap *ap, uint32_t conn, uint64_t offset, const void *p, size_t n, uint32_t flags)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = flags & ~(ONRAMP_AP_NOTIFY | ONRAMP_AP_MORE) ? -EINVAL : store(ap, conn, offset, p, n, flags);
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_notify(struct onramp_ap *ap, uint32_t conn, uint32_t value)
{
	int was = errno, r = ap_enter(ap);
	uint64_t bus, size, now = host_now();

	if (r)
		return r;
	r = apw_conn_bus(ap->e, conn, &bus, &size);
	ap->net_err = 0;
	if (!r) {
		while ((r = apw_notify(ap->e, now, bus, value, APW_S_FLUSH)) == -ENOBUFS)
			if ((r = make_room(ap, now + SEND_NS)) != 0)
				break;
		(void)carrier_send(ap);
	}
	if (!r)
		r = ap->net_err;
	ap_leave(ap);
	errno = was;
	return r;
}

static bool read_over(struct onramp_ap *ap, void *arg)
{
	return apw_read_over(ap->e, *(uint32_t *)arg);
}

/* One request: its answer, or -ETIMEDOUT. The answer may come to the helper, which has the arena
 * and not the program's memory: then it lands in the arena first. */
static int ask(struct onramp_ap *ap, uint32_t conn, uint64_t offset, void *p, uint32_t n, int timeout)
{
	uint8_t *to = p;
	uint32_t at, id;
	int r;

	if (~ap->landing_used == 0)
		return -ENOBUFS;	/* so many threads ask at once */
	at = (uint32_t)__builtin_ctzll(~ap->landing_used);
	if (ap->helper && n)
		to = ap->landing + (size_t)at * ap->frame_bytes;
	r = apw_read(ap->e, host_now(), conn, offset, to, n, &id);
	if (r)
		return r == -ENXIO ? -ENOTCONN : r;
	ap->landing_used |= 1ull << at;
	r = ap_wait(ap, read_over, &id, timeout);
	if (!r)
		r = apw_read_done(ap->e, id);
	else
		apw_read_cancel(ap->e, id);
	if (!r && to != p && n)
		memcpy(p, to, n);
	ap->landing_used &= ~(1ull << at);
	return r;
}

int onramp_ap_fence(struct onramp_ap *ap, uint32_t conn, int timeout)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	r = ask(ap, conn, 0, NULL, 0, timeout);
	ap_leave(ap);
	errno = was;
	return r;
}

int onramp_ap_read(struct onramp_ap *ap, uint32_t conn, uint64_t offset, void *p, size_t n, int timeout)
{
	uint64_t until = host_now() + (uint64_t)(timeout < 0 ? 0 : timeout) * NS_PER_MS;
	int was = errno, r = ap_enter(ap);
	uint8_t *at = p;

	if (r)
		return r;
	while (n && !r) {
		uint32_t part = (uint32_t)min_u64(n, apw_read_max(ap->e));
		uint64_t now = host_now();

		r = ask(ap, conn, offset, at, part,
			timeout < 0 ? -1 : now >= until ? 0 : (int)((until - now) / NS_PER_MS) + 1);
		at += part;
		offset += part;
		n -= part;
	}
	ap_leave(ap);
	errno = was;
	return r;
}

size_t onramp_ap_message_max(struct onramp_ap *ap)
{
	size_t most = sizeof(((struct onramp_ap_event *)0)->data), fits = ap->frame_bytes - CI_MSG_LEN - CI_CRC_LEN;

	return fits < most ? fits : most;
}

int onramp_ap_message(struct onramp_ap *ap, const char *address, uint16_t port, const void *p, size_t n)
{
	int was = errno, r = ap_enter(ap);
	struct apw_addr to;

	if (r)
		return r;
	r = carrier_parse(ap, address, &to);
	if (!r && n > onramp_ap_message_max(ap))
		r = -EMSGSIZE;
	if (!r) {
		ap->net_err = 0;
		r = apw_message(ap->e, &to, port, ap->client_port, p, (uint32_t)n);
		(void)carrier_send(ap);
	}
	if (!r)
		r = ap->net_err;
	ap_leave(ap);
	errno = was;
	return r;
}

/* ---- events ------------------------------------------------------------------------------------------------ */

static bool event_there(struct onramp_ap *ap, void *arg)
{
	(void)arg;
	return apw_evq_pending(&ap->events);
}

static bool take_event(struct onramp_ap *ap, struct onramp_ap_event *ret)
{
	uint32_t words[(CI_MSG_LEN + sizeof(ret->data) + 3) / 4];
	struct apw_event ev;
	struct ci_msg m;

	if (!apw_evq_take(&ap->events, &ev, words, n_elems(words)))
		return false;
	memset(ret, 0, offsetof(struct onramp_ap_event, data));
	ret->type = ev.type;
	ret->conn = ev.index;
	ret->value = ev.a;
	ret->offset = ev.type == APW_EV_ERROR ? ev.b : ev.a;
	if (!ev.words)
		return true;
	/* Its checksum held when it came; a body is behind the 64 bytes, its CRC was looked at too. */
	if (wire_ci_msg_parse((uint8_t *)words, ev.words * 4u + CI_CRC_LEN, &m) != CI_OK)
		return true;
	ret->value = 0;
	ret->address = ev.a;
	ret->port = m.src_port;
	ret->size = m.size;
	if (ev.type == APW_EV_MESSAGE) {
		ret->bytes = (uint16_t)min_u32(m.body_len, sizeof(ret->data));
		memcpy(ret->data, (uint8_t *)words + CI_MSG_LEN, ret->bytes);
	}
	return true;
}

int onramp_ap_event(struct onramp_ap *ap, struct onramp_ap_event *ret, int timeout)
{
	int was = errno, r = ap_enter(ap);

	if (r)
		return r;
	if (!take_event(ap, ret)) {
		r = ap_wait(ap, event_there, NULL, timeout);
		r = r == -ETIMEDOUT ? 0 : r ? r : take_event(ap, ret);
	} else {
		r = 1;
	}
	ap_leave(ap);
	errno = was;
	return r;
}
