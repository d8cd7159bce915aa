/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ephemeral ports: blocks of 64 that the agent holds for this stack with real sockets, so
 * that no other program has them.
 *
 * Which port comes next is RFC 6056's algorithm 3: a counter over the leased ports, begun at
 * a place that only the secret and the remote end decide, so that an outsider cannot tell
 * from one connection's port where another's is. A port is free for a remote when nobody has
 * that 5-tuple; connections to different remotes may share one.
 *
 *  P1  port_scarce is 1 when the last search looked at more than three quarters of the ports
 *      or found none, and another block can still be taken in.
 */
#include <errno.h>

#include "base/hash.h"
#include "core/stack/links.h"

#define SALT_PORT 0x706f7274

static uint32_t blocks_of(const struct segment *seg, uint16_t base[N_PORT_BLOCKS])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < N_PORT_BLOCKS; i++)
		if (seg->ports[i].base)
			base[n++] = seg->ports[i].base;
	return n;
}

/* RFC 6056 3.3.3: F(local, remote, secret). */
static uint32_t port_offset(const struct turn *t, uint8_t proto, const struct ipaddr *laddr,
			    const struct ipaddr *raddr, uint16_t rport)
{
	const uint64_t *key = t->map->seg->secret;
	struct { struct ipaddr l, r; uint32_t port, proto, salt, pad; } k = {
		*laddr, *raddr, rport, proto, SALT_PORT, 0,
	};

	return (uint32_t)siphash24(key + 2, &k, sizeof(k));
}

uint16_t port_get(struct turn *t, uint8_t proto, const struct ipaddr *laddr,
		  const struct ipaddr *raddr, uint16_t rport,
		  bool (*reusable)(struct turn *t, struct sk *sk))
{
	struct segment *seg = t->map->seg;
	uint16_t base[N_PORT_BLOCKS];
	uint32_t n_blocks = blocks_of(seg, base);
	uint32_t n = n_blocks * PORT_BLOCK, tried = 0;
	uint32_t at = n ? (port_offset(t, proto, laddr, raddr, rport) + seg->next_port_i) % n : 0;
	uint16_t ret = 0;

	while (tried < n && !ret) {
		uint16_t port = (uint16_t)(base[at / PORT_BLOCK] + at % PORT_BLOCK);
		struct sk *sk = flow_find(t, proto, laddr, port, raddr, rport);

		tried++;
		at = at + 1 == n ? 0 : at + 1;
		if (listen_has_port(t, proto, port))
			continue;
		if (!sk) {
			ret = port;
		} else if (reusable && reusable(t, sk)) {
			sk_put(t, sk);
			ret = port;
		}
	}
	seg->next_port_i = (uint16_t)(seg->next_port_i + tried);
	seg->port_scarce = (!ret || tried > n / 4 * 3) && n_blocks < N_PORT_BLOCKS;
	t->asks |= seg->port_scarce;
	return ret;
}

bool port_is_leased(struct turn *t, uint16_t port)
{
	const struct segment *seg = t->map->seg;
	uint16_t base = (uint16_t)(port & ~(PORT_BLOCK - 1));

	for (uint32_t i = 0; base && i < N_PORT_BLOCKS; i++)
		if (seg->ports[i].base == base)
			return true;
	return false;
}

int port_block_add(struct turn *t, uint16_t base)
{
	struct segment *seg = t->map->seg;

	if (base == 0 || base & (PORT_BLOCK - 1))
		return -EINVAL;
	if (port_is_leased(t, base))
		return 0;
	for (uint32_t i = 0; i < N_PORT_BLOCKS; i++) {
		if (seg->ports[i].base)
			continue;
		seg->ports[i] = (struct port_block){ .base = base };
		seg->port_scarce = 0;
		return 0;
	}
	return -ENOSPC;
}
