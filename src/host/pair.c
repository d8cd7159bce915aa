/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures as files: a pair, a front, a pipe (abi/aperture.h), made and mapped.
 *
 * The pipe of a stack is what its sleepers wait on and what peers ring. Who holds an end for
 * ringing may be hostile, so what it is made of was chosen by what such a holder can do:
 *
 *   eventfd	one open file for all: who can ring can read(), and takes the wake-up away from the
 *		stack; or clears O_NONBLOCK, fills it, and the next one to ring sleeps in write()
 *   pipe(2)	the last reader may die at any moment, the agent that would keep it open, too; then
 *		whoever rings is killed by SIGPIPE, and write() has no MSG_NOSIGNAL. Who writes into
 *		it from memory that never comes (a FUSE file) stops all others on its mutex
 *   AF_UNIX	sends descriptors along: the reader that drops one closes a lingering socket, for hours
 *   netlink	NETLINK_USERSOCK, a socket for each end. Ringing is write() of one byte (programs under
 *		seccomp may), never sleeps, never signals: EAGAIN when two rings wait already, which
 *		is as good as rung; ECONNREFUSED when the stack is gone. It can carry nothing but
 *		bytes, and only the stack's own socket receives. Twice as dear as a pipe (0.7 us for
 *		both sides together, Linux 6.18), of a wake-up that takes twenty.
 *
 * So the worst that a peer (or anybody in the network namespace) can do to a pipe is to ring it.
 *
 * Fronts are files of the agent's user that only he may open, so a peer cannot make its read-only
 * descriptor a writable one through /proc, unless it is that user: under an agent of one's own all
 * programs are one user's, and could as well trace each other.
 */
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/mman.h>

#include "base/atomic.h"
#include "host/sys.h"
#include "layout_hash.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u		/* Linux 6.3 */
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define PIPE_ROOM 1	/* the kernel makes it its minimum: two rings */
#define HEAR_MAX 8

/* ---- making ---------------------------------------------------------------------------------- */

static int sealed_file(const char *name, size_t bytes, const void *head, size_t head_bytes)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = sys_memfd_create(name, flags | MFD_NOEXEC_SEAL);
	long err;

	if (fd == -EINVAL)
		fd = sys_memfd_create(name, flags);
	if (fd < 0)
		return fd;
	err = sys_ftruncate(fd, (off_t)bytes);
	if (!err)
		err = sys_pwrite(fd, head, head_bytes, 0);
	if (err >= 0)
		err = err == (long)head_bytes ? sys_fcntl(fd, F_ADD_SEALS, SEALS) : -EIO;
	if (err) {
		(void)sys_close(fd);
		return (int)err;
	}
	return fd;
}

int host_new_front(uint32_t stack_id)
{
	struct ap_front head = { .magic = AP_FRONT_MAGIC, .stack_id = stack_id };
	int fd = sealed_file("onramp-front", sizeof(head), &head, sizeof(head)), err;

	if (fd < 0)
		return fd;
	err = sys_fchmod(fd, 0600);
	if (err) {
		(void)sys_close(fd);
		return err;
	}
	return fd;
}

int host_new_pair(uint32_t pair_id, const uint32_t stack[2])
{
	struct { uint64_t magic, layout_hash; uint32_t pair_id, stack[2]; } head = {
		AP_PAIR_MAGIC, ONRAMP_LAYOUT_HASH, pair_id, { stack[0], stack[1] },
	};
	static_assert(offsetof(struct ap_pair, stack) == 20, "as head has it");

	return sealed_file("onramp-pair", AP_PAIR_BYTES, &head, offsetof(struct ap_pair, pad));
}

static int pipe_socket(void)
{
	return sys_socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_USERSOCK);
}

int host_new_pipe(uint32_t *ret_port)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK };
	socklen_t n = sizeof(nl);
	int fd = pipe_socket(), room = PIPE_ROOM, err;

	if (fd < 0)
		return fd;
	err = sys_bind(fd, &nl, sizeof(nl));
	if (!err)
		err = sys_setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room));
	if (!err)
		err = sys_getsockname(fd, &nl, &n);
	if (!err && !nl.nl_pid)
		err = -EADDRNOTAVAIL;
	if (err) {
		(void)sys_close(fd);
		return err;
	}
	*ret_port = nl.nl_pid;
	return fd;
}

int host_new_pipe_end(uint32_t port)
{
	struct sockaddr_nl nl = { .nl_family = AF_NETLINK, .nl_pid = port };
	int fd = pipe_socket(), err;

	if (fd < 0)
		return fd;
	err = sys_connect(fd, &nl, sizeof(nl));
	if (err) {
		(void)sys_close(fd);
		return err;
	}
	return fd;
}

/* ---- ringing and hearing ------------------------------------------------------------------------ */

void host_ring_pairs(const struct stack_map *map, uint64_t rings)
{
	static const uint64_t one = 1;	/* what an eventfd takes; a netlink socket takes anything */

	for (; rings; rings &= rings - 1) {
		int fd = map->ap[__builtin_ctzll(rings)].bell_fd;

		/* Full, or nobody there any more: either way there is no more to do. */
		if (fd > 0)
			(void)sys_write(fd, &one, sizeof(one));
	}
}

bool host_hear_ring(const struct host_fds *f, bool own_user)
{
	int fd = own_user ? f->bell[PEER_BELL] : f->pipe;
	uint8_t scrap[16];

	return fd > 0 && sys_read(fd, scrap, sizeof(scrap)) >= 0;
}

bool host_hear_pipe(const struct host_fds *f)
{
	uint8_t scrap[16];	/* what does not fit is dropped */
	int i = host_hear_ring(f, true);

	while (f->pipe > 0 && i < HEAR_MAX && sys_read(f->pipe, scrap, sizeof(scrap)) >= 0)
		i++;
	return i > 0;
}

/* ---- mapping ---------------------------------------------------------------------------------------- */

static int map_file(int fd, size_t bytes, int prot, void *at, void **ret)
{
	int seals = sys_fcntl(fd, F_GET_SEALS, 0), err;
	struct stat st;
	void *p;

	if (seals < 0)
		return seals == -EINVAL ? -EPROTO : seals;
	err = sys_fstat(fd, &st);
	if (err)
		return err;
	if ((seals & SEALS) != SEALS || (uint64_t)st.st_size != bytes)
		return -EPROTO;
	p = sys_mmap(at, bytes, prot, MAP_SHARED | MAP_NORESERVE | (at ? MAP_FIXED : 0), fd, 0);
	if (SYS_MAP_FAILED(p))
		return (int)(long)p;
	*ret = p;
	return 0;
}

static int blank(void *at, size_t bytes, void **ret)
{
	void *p = sys_mmap(at, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			   (at ? MAP_FIXED : 0), -1, 0);

	if (SYS_MAP_FAILED(p))
		return (int)(long)p;
	*ret = p;
	return 0;
}

/* The addresses were the caller's and stay his, so that he can blank them or try again. */
static int refuse(void *p, size_t bytes, const void *at)
{
	if (!at)
		(void)sys_munmap(p, bytes);
	else
		(void)blank(p, bytes, &p);
	return -EPROTO;
}

int host_map_pair(int fd, uint32_t pair_id, const uint32_t stack[2], void *at, struct ap_pair **ret)
{
	const struct ap_pair *head;
	void *p;
	int err = map_file(fd, AP_PAIR_BYTES, PROT_READ | PROT_WRITE, at, &p);

	if (err)
		return err;
	/* The peer may have written there: then this pair is of no use, and that is all. */
	head = p;
	if (peek64(&head->magic) != AP_PAIR_MAGIC || peek64(&head->layout_hash) != ONRAMP_LAYOUT_HASH ||
	    peek32(&head->pair_id) != pair_id || peek32(&head->stack[0]) != stack[0] ||
	    peek32(&head->stack[1]) != stack[1])
		return refuse(p, AP_PAIR_BYTES, at);
	*ret = p;
	return 0;
}

int host_map_front(int fd, bool writable, uint32_t stack_id, void *at, struct ap_front **ret)
{
	const struct ap_front *head;
	void *p;
	int err = map_file(fd, sizeof(*head), writable ? PROT_READ | PROT_WRITE : PROT_READ, at, &p);

	if (err)
		return err;
	head = p;
	if (peek64(&head->magic) != AP_FRONT_MAGIC || peek32(&head->stack_id) != stack_id)
		return refuse(p, sizeof(*head), at);
	*ret = p;
	return 0;
}

void host_blank_pair(struct ap_pair *pair)
{
	void *p;

	(void)blank(pair, AP_PAIR_BYTES, &p);
}

int host_blank_front(struct ap_front *front, struct ap_front **ret)
{
	void *p;
	int err = blank(front, sizeof(*front), &p);

	if (!err)
		*ret = p;
	return err;
}

void host_unmap_pair(void *pair)
{
	if (pair)
		(void)sys_munmap(pair, AP_PAIR_BYTES);
}

void host_unmap_front(void *front)
{
	if (front)
		(void)sys_munmap(front, sizeof(struct ap_front));
}
