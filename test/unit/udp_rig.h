/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of datagrams share: rings of which the test is the device, a frame in the making and
 * bytes that tell where they are, a socket, and a frame that comes in as net_rx() treats it. */
#ifndef TEST_UNIT_UDP_RIG_H
#define TEST_UNIT_UDP_RIG_H

#include "test/unit/net_rig.h"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <errno.h>

#include "core/udp/udp.h"
#include "core/udp/udp_area.h"

static struct net_rig n;
static struct turn *t;
static uint8_t frame[70000], big[66000];

static inline int setup(void **state)
{
	(void)state;
	nr_make(&n);
	t = &n.r.t;
	for (uint32_t i = 0; i < sizeof(big); i++)
		big[i] = (uint8_t)(i * 7 + i / 251);
	return 0;
}

static inline int teardown(void **state)
{
	(void)state;
	nr_free(&n);
	return 0;
}

static inline struct sk *open_at(const char *laddr, uint16_t port)
{
	struct ipaddr a = addr_of(laddr);
	struct sk *sk = NULL;

	assert_int_equal(udp_open(t, &a, port, &sk), 0);
	udp_check(t, sk);
	return sk;
}

static inline enum verdict arrive(const uint8_t *p, uint32_t len)
{
	struct ip_info in;
	enum verdict v;
	pkt_h h;

	assert_true(nr_arrive(&n, p, len, 3840));
	h = vif_poll(t, 0);
	assert_true(h.v);
	assert_int_equal(ip_input(t, h, &in), V_TAKEN);
	v = udp_input(t, h, &in);
	if (v == V_DROP)
		pkt_put(t, h);
	vif_refill(t, 0);
	return v;
}

#endif
