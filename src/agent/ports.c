// SPDX-License-Identifier: BSD-2-Clause
/*
 * Blocks of ephemeral ports: 64, aligned, each held by two bound kernel sockets (TCP and UDP,
 * dual-stack wildcard), so the kernel gives none of them to anybody else. They are closed to
 * reuse: a port that is busy anywhere in this namespace spoils its block.
 *
 * Blocks from the top of the range come first: the kernel's own choice of ephemeral ports
 * ends at 60999 by default. One block is kept bound ahead (128 sockets take a millisecond).
 * Ports that the administrator reserved (ip_local_reserved_ports) are left alone.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define FIRST_BLOCK (32768 / PORT_BLOCK)
#define MAX_SPARE 4

enum block_state { BLOCK_UNBOUND = 0, BLOCK_SPARE, BLOCK_LEASED };

static struct block {
	uint8_t	 state;
	uint8_t	 failed;	/* times in a row that binding failed */
	uint32_t slot;		/* leased to */
	int	*fds;		/* 2 * PORT_BLOCK */
} table[N_BLOCKS];

static void unbind(struct block *b)
{
	uint32_t i;

	for (i = 0; b->fds && i < 2 * PORT_BLOCK; i++)
		if (b->fds[i] >= 0)
			(void)close(b->fds[i]);
	free(b->fds);
	*b = (struct block){ .failed = b->failed };
}

/* Ports are many descriptors; clients and stacks must not starve for them. */
static bool too_high(int fd)
{
	static rlim_t limit;
	struct rlimit r;

	if (!limit)
		limit = getrlimit(RLIMIT_NOFILE, &r) ? 1024 : r.rlim_cur;
	return (rlim_t)fd + N_FDS_APART > limit;
}

/* Falls back to IPv4 alone where the kernel has no IPv6. */
static int hold_port(uint16_t port, int type)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET6, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), off = 0, one = 1, err;

	if (fd >= 0) {
		(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		err = bind(fd, (struct sockaddr *)&six, sizeof(six));
	} else {
		fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		if (fd < 0)
			return -errno;
		err = bind(fd, (struct sockaddr *)&four, sizeof(four));
	}
	if (err || too_high(fd)) {
		err = err ? -errno : -EMFILE;
		(void)close(fd);
		return err;
	}
	/* Datagrams that come by unattached interfaces are nobody's: keep next to none. */
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &one, sizeof(one));
	return fd;
}

static bool reserved(uint16_t base)
{
	static char text[4096];
	unsigned long lo, hi;
	char *p = text, *end;
	ssize_t n;
	int fd = open("/proc/sys/net/ipv4/ip_local_reserved_ports", O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	text[n > 0 ? n : 0] = 0;
	while (*p) {
		lo = hi = strtoul(p, &end, 10);
		if (end == p)
			break;
		if (*end == '-')
			hi = strtoul(end + 1, &end, 10);
		if (lo < base + (unsigned long)PORT_BLOCK && hi >= base)
			return true;
		p = *end ? end + 1 : end;
	}
	return false;
}

static int hold_block(uint32_t i)
{
	struct block *b = &table[i];
	uint16_t base = (uint16_t)(i * PORT_BLOCK), k;
	int fd;

	if (reserved(base))
		return -EACCES;
	b->fds = malloc(2 * PORT_BLOCK * sizeof(int));
	if (!b->fds)
		return -ENOMEM;
	memset(b->fds, 0xff, 2 * PORT_BLOCK * sizeof(int));
	for (k = 0; k < 2 * PORT_BLOCK; k++) {
		fd = hold_port((uint16_t)(base + k / 2), k % 2 ? SOCK_DGRAM : SOCK_STREAM);
		if (fd < 0) {
			unbind(b);
			return fd;
		}
		b->fds[k] = fd;
	}
	b->state = BLOCK_SPARE;
	return 0;
}

static struct block *spare(uint32_t *ret_i)
{
	uint32_t i;

	for (i = N_BLOCKS; i-- > FIRST_BLOCK; )
		if (table[i].state == BLOCK_SPARE) {
			*ret_i = i;
			return &table[i];
		}
	return NULL;
}

/* Binds the next block that can be bound. Blocks that failed before come last. */
static int hold_next(void)
{
	uint32_t i, pass;
	int err = -EAGAIN;

	for (pass = 0; pass < 2; pass++) {
		for (i = N_BLOCKS; i-- > FIRST_BLOCK; ) {
			struct block *b = &table[i];

			if (b->state != BLOCK_UNBOUND || (!pass && b->failed))
				continue;
			err = hold_block(i);
			if (!err) {
				b->failed = 0;
				return 0;
			}
			if (err == -EMFILE || err == -ENFILE || err == -ENOMEM)
				return -EDQUOT;
			b->failed = 1;
		}
	}
	return err;
}

bool ports_work(void)
{
	static bool hopeless;
	uint32_t i;

	if (hopeless || spare(&i))
		return false;
	hopeless = hold_next() != 0;
	return !hopeless;
}

int ports_get(struct agent *a, struct stack *s, struct ctl_ports *ret)
{
	struct block *b;
	uint32_t i;
	int err;

	if (s->n_blocks >= N_PORT_BLOCKS)
		return -EDQUOT;
	b = spare(&i);
	if (!b) {
		err = hold_next();
		if (err)
			return err;
		b = spare(&i);
	}
	if (!b)
		return -EAGAIN;
	err = filter_block(a, i, s->slot);
	if (err)
		return err;
	b->state = BLOCK_LEASED;
	b->slot = s->slot;
	s->n_blocks++;
	ret->base = (uint16_t)(i * PORT_BLOCK);
	ret->count = PORT_BLOCK;
	ret->pad = 0;
	return 0;
}

bool ports_own(const struct stack *s, uint16_t port)
{
	const struct block *b = &table[port / PORT_BLOCK];

	return b->state == BLOCK_LEASED && b->slot == s->slot;
}

/* A few blocks stay bound for the next program; the rest go back to the kernel. */
void ports_flush(struct agent *a, struct stack *s)
{
	uint32_t i, n = 0;

	for (i = FIRST_BLOCK; i < N_BLOCKS; i++)
		n += table[i].state == BLOCK_SPARE;
	for (i = N_BLOCKS; s->n_blocks && i-- > FIRST_BLOCK; ) {
		if (!ports_own(s, (uint16_t)(i * PORT_BLOCK)))
			continue;
		(void)filter_block(a, i, NO_SLOT);
		s->n_blocks--;
		table[i].slot = NO_SLOT;
		table[i].state = BLOCK_SPARE;
		if (n++ >= MAX_SPARE)
			unbind(&table[i]);
	}
}

void ports_close(void)
{
	uint32_t i;

	for (i = 0; i < N_BLOCKS; i++)
		unbind(&table[i]);
}
