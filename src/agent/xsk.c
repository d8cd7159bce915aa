// SPDX-License-Identifier: BSD-2-Clause
/*
 * AF_XDP sockets, made by hand, because they are made here and driven elsewhere: packet
 * memory is mapped only while the kernel pins it, rings are mapped by whoever gets the
 * descriptor.
 *
 * The first socket of a stack registers the packet memory; further ones (one per attached
 * interface) share it and bring rings of their own. Copy mode: the devices are veth ends,
 * which have no other. Need-wakeup: the kernel says when it wants a kick. Scatter-gather:
 * packets longer than a frame are runs of descriptors; a kernel before 6.6 has no such thing
 * and refuses the flag, then MTU-sized frames are all there is.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef XDP_USE_SG
#define XDP_USE_SG (1 << 4)
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif

static int set_ring(int fd, int which)
{
	uint32_t n = N_RING;

	return setsockopt(fd, SOL_XDP, which, &n, sizeof(n)) ? -errno : 0;
}

static int register_umem(int fd, const struct umem_span *u)
{
	struct xdp_umem_reg reg = { .len = u->bytes, .chunk_size = FRAME_BYTES };
	void *p = mmap(NULL, u->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, u->fd, (off_t)u->off);
	int err = 0;

	if (p == MAP_FAILED)
		return -errno;
	reg.addr = (uint64_t)(uintptr_t)p;
	if (setsockopt(fd, SOL_XDP, XDP_UMEM_REG, &reg, sizeof(reg)))
		err = -errno;
	(void)munmap(p, u->bytes);	/* the pages stay pinned */
	return err;
}

static int bind_to(int fd, uint32_t ifindex, uint32_t queue, int shared_with)
{
	struct sockaddr_xdp sx = { .sxdp_family = AF_XDP, .sxdp_ifindex = ifindex,
				   .sxdp_queue_id = queue };

	if (shared_with >= 0) {
		sx.sxdp_flags = XDP_SHARED_UMEM;
		sx.sxdp_shared_umem_fd = (uint32_t)shared_with;
		return bind(fd, (struct sockaddr *)&sx, sizeof(sx)) ? -errno : 0;
	}
	sx.sxdp_flags = XDP_COPY | XDP_USE_NEED_WAKEUP | XDP_USE_SG;
	if (!bind(fd, (struct sockaddr *)&sx, sizeof(sx)))
		return 0;
	if (errno != EINVAL)
		return -errno;
	sx.sxdp_flags &= (uint16_t)~XDP_USE_SG;
	return bind(fd, (struct sockaddr *)&sx, sizeof(sx)) ? -errno : 0;
}

/* Returns the descriptor, non-blocking and close-on-exec. `shared_with`: another socket of
 * the same stack, whose packet memory serves; -1: register `umem`. */
int xsk_open(uint32_t ifindex, uint32_t queue, const struct umem_span *umem, int shared_with)
{
	static const int rings[] = { XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING,
				     XDP_RX_RING, XDP_TX_RING };
	int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), err = 0;
	size_t i;

	if (fd < 0)
		return -errno;
	if (shared_with < 0)
		err = register_umem(fd, umem);
	for (i = 0; !err && i < n_elems(rings); i++)
		err = set_ring(fd, rings[i]);
	if (!err)
		err = bind_to(fd, ifindex, queue, shared_with);
	if (err) {
		(void)close(fd);
		return err;
	}
	return fd;
}
