/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The virtual interface as a program sees it: four single-producer single-consumer rings in
 * shared memory over one packet memory. The layout is that of AF_XDP (struct xdp_desc,
 * UAPI linux/if_xdp.h), because the kernel is our first device; the adapter, and the
 * simulator's device, offer the same rings, so the core has one driver.
 *
 *   tx    program -> device   vif_desc   frames to send
 *   comp  device -> program   u64        frames that have left, to be reused
 *   fill  program -> device   u64        empty frames to receive into
 *   rx    device -> program   vif_desc   received frames
 *
 * A packet longer than a frame is a run of descriptors with VIF_MORE on all but the last.
 * A frame's address is its byte offset in the segment's packet memory.
 */
#ifndef ABI_VIF_H
#define ABI_VIF_H

#include <assert.h>
#include <stdint.h>

#define VIF_MORE	(1u << 0)	/* XDP_PKT_CONTD */
#define VIF_NEED_WAKEUP	(1u << 0)	/* ring flag: the device sleeps, ring its bell */

struct vif_desc {
	uint64_t addr;
	uint32_t len;
	uint32_t options;
};
static_assert(sizeof(struct vif_desc) == 16, "struct xdp_desc");

/*
 * One ring as mapped by one process: pointers, so never in a segment. Our side's index is
 * written by the holder of the turn only; both indices run freely modulo 2^32.
 */
struct vif_ring {
	uint32_t *producer;
	uint32_t *consumer;
	uint32_t *flags;
	void	 *slots;	/* struct vif_desc[] or uint64_t[] */
	uint32_t  mask;		/* slots - 1; a power of two less one */
};

/* What kind of device is behind an interface; decides what the driver may trust. */
#define VIF_F_PRESENT	    (1u << 0)
#define VIF_F_PARTIAL_CSUM  (1u << 1)	/* peers in this machine's memory leave checksums unfinished (F10) */
#define VIF_F_DIRECT	    (1u << 2)	/* own queue of the interface, no software VF in between */

/* All of one VI that a process keeps private. */
struct vif_map {
	struct vif_ring rx, tx, fill, comp;
	uint32_t flags;		/* VIF_F_* */
	uint32_t ifindex;	/* of the attached interface (key into the mirror), not of the VF */
};

#endif
