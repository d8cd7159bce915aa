/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mapping: from descriptors to a private stack_map, and back.
 *
 * Trust. The descriptor may come from anybody who could send one, and a tool maps segments
 * that a tenant can write. So: the file must be sealed against shrinking (else its owner
 * could take pages from under a reader: SIGBUS), its size comes from the kernel, and what the
 * header claims is checked against that size by shm_attach(), once.
 */
#include "host/host.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_xdp.h>
#include <sys/mman.h>

#include "base/csum.h"
#include "core/stack/stack.h"
#include "host/sys.h"
#include "layout_hash.h"
#include "shm/shm.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u		/* Linux 6.3 */
#endif
#ifndef SOL_XDP
#define SOL_XDP 283
#endif
#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9		/* Linux 6.17: frames a kick may send */
#endif

#define PAGE_BYTES 4096ul

static size_t page_up(size_t n) { return (n + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1); }

/* Maps all of a file of at least `min_bytes`. */
static int map_whole(int fd, int prot, size_t min_bytes, void **ret, size_t *ret_bytes)
{
	struct stat st;
	void *p;
	int err = sys_fstat(fd, &st);

	if (err)
		return err;
	if (!S_ISREG(st.st_mode) || st.st_size < 0 || (uint64_t)st.st_size < min_bytes)
		return -EPROTO;
	p = sys_mmap(NULL, (size_t)st.st_size, prot, MAP_SHARED, fd, 0);
	if (SYS_MAP_FAILED(p))
		return (int)(long)p;
	*ret = p;
	*ret_bytes = (size_t)st.st_size;
	return 0;
}

int host_map_segment(int fd, bool writable, struct stack_map *ret)
{
	const int want = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
	int seals = sys_fcntl(fd, F_GET_SEALS, 0);
	struct stack_map map;
	size_t bytes;
	void *p;
	int err;

	if (seals < 0)
		return seals == -EINVAL ? -EPROTO : seals;
	if ((seals & want) != want)
		return -EPROTO;
	err = map_whole(fd, writable ? PROT_READ | PROT_WRITE : PROT_READ, sizeof(struct segment),
			&p, &bytes);
	if (err)
		return err;
	err = shm_attach(p, bytes, ONRAMP_LAYOUT_HASH, &map);
	if (err) {
		(void)sys_munmap(p, bytes);
		return err;
	}
	map.bytes = bytes;
	map.csum = csum_best();
	map.demote = host_demote_best();
	*ret = map;
	return 0;
}

int host_map_mirror(int fd, struct stack_map *map)
{
	const struct mirror *m;
	size_t bytes;
	void *p;
	int err = map_whole(fd, PROT_READ, sizeof(*m), &p, &bytes);

	if (err)
		return err;
	m = p;
	if (m->magic != MIRROR_MAGIC) {
		(void)sys_munmap(p, bytes);
		return -EPROTO;
	}
	/* Only the struct is kept mapped, so that unmapping needs no size kept. */
	if (page_up(bytes) > page_up(sizeof(*m)))
		(void)sys_munmap((uint8_t *)p + page_up(sizeof(*m)), page_up(bytes) - page_up(sizeof(*m)));
	map->mirror = m;
	return 0;
}

/* ---- rings ------------------------------------------------------------------------------------ */

struct ring_kind {
	const struct xdp_ring_offset *off;
	size_t slot_bytes;
	off_t at;
	struct vif_ring *ret;
};

static int map_ring(int xsk_fd, const struct ring_kind *k, uint32_t slots)
{
	size_t bytes = k->off->desc + slots * k->slot_bytes;
	uint8_t *p = sys_mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE,
			      xsk_fd, k->at);

	if (SYS_MAP_FAILED(p))
		return (int)(long)p;
	k->ret->producer = (uint32_t *)(void *)(p + k->off->producer);
	k->ret->consumer = (uint32_t *)(void *)(p + k->off->consumer);
	k->ret->flags = (uint32_t *)(void *)(p + k->off->flags);
	k->ret->slots = p + k->off->desc;
	k->ret->mask = slots - 1;
	return 0;
}

static void unmap_ring(struct vif_ring *r, size_t slot_bytes)
{
	if (r->producer) {
		/* The indices begin the mapping, within its first page; the slots end it. */
		uintptr_t base = (uintptr_t)r->producer & ~(PAGE_BYTES - 1);
		uintptr_t end = (uintptr_t)r->slots + (r->mask + 1ul) * slot_bytes;

		(void)sys_munmap((void *)base, end - base);
	}
	memset(r, 0, sizeof(*r));
}

static void unmap_vi(struct vif_map *v)
{
	unmap_ring(&v->rx, sizeof(struct vif_desc));
	unmap_ring(&v->tx, sizeof(struct vif_desc));
	unmap_ring(&v->fill, sizeof(uint64_t));
	unmap_ring(&v->comp, sizeof(uint64_t));
}

int host_map_rings(int xsk_fd, uint32_t ring_slots, struct vif_map *ret)
{
	struct xdp_mmap_offsets off;
	socklen_t n = sizeof(off);
	struct vif_map v = { 0 };
	const struct ring_kind kinds[] = {
		{ &off.rx, sizeof(struct vif_desc), XDP_PGOFF_RX_RING, &v.rx },
		{ &off.tx, sizeof(struct vif_desc), XDP_PGOFF_TX_RING, &v.tx },
		{ &off.fr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_FILL_RING, &v.fill },
		{ &off.cr, sizeof(uint64_t), (off_t)XDP_UMEM_PGOFF_COMPLETION_RING, &v.comp },
	};
	int err;

	if (!ring_slots || ring_slots > N_RING || (ring_slots & (ring_slots - 1)))
		return -EINVAL;
	err = sys_getsockopt(xsk_fd, SOL_XDP, XDP_MMAP_OFFSETS, &off, &n);
	if (err)
		return err;
	if (n != sizeof(off))	/* a kernel before 5.4 has no flags word */
		return -EOPNOTSUPP;
	for (size_t i = 0; i < n_elems(kinds); i++) {
		err = map_ring(xsk_fd, &kinds[i], ring_slots);
		if (err) {
			unmap_vi(&v);
			return err;
		}
	}
	/* One kick may then empty the ring instead of 32 frames of it. Older kernels refuse. */
	(void)sys_setsockopt(xsk_fd, SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &ring_slots, sizeof(ring_slots));
	v.flags = ret->flags;
	v.ifindex = ret->ifindex;
	*ret = v;
	return 0;
}

void host_unmap(struct stack_map *map, uint32_t ring_slots)
{
	for (uint32_t i = 0; i < N_VIS; i++) {
		must(!map->vi[i].tx.producer || map->vi[i].tx.mask + 1 == ring_slots);
		unmap_vi(&map->vi[i]);
	}
	for (uint32_t i = 0; i < N_PAIRS; i++) {
		host_unmap_pair(map->ap[i].pair);
		host_unmap_front((void *)(uintptr_t)map->ap[i].front);
	}
	host_unmap_front(map->front);
	if (map->mirror)
		(void)sys_munmap((void *)(uintptr_t)map->mirror, page_up(sizeof(*map->mirror)));
	if (map->seg)
		(void)sys_munmap(map->seg, map->bytes);
	memset(map, 0, sizeof(*map));
}

/* ---- birth -------------------------------------------------------------------------------------- */

static int segment_file(size_t bytes)
{
	unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = sys_memfd_create("onramp-seg", flags | MFD_NOEXEC_SEAL);
	int err;

	if (fd == -EINVAL)
		fd = sys_memfd_create("onramp-seg", flags);
	if (fd < 0)
		return fd;
	err = sys_ftruncate(fd, (off_t)bytes);
	if (err) {
		(void)sys_close(fd);
		return err;
	}
	return fd;
}

static int segment_fill(int fd, const struct geometry *geo, uint32_t stack_id, uint32_t uid)
{
	struct stack_map map;
	struct segment *seg = sys_mmap(NULL, geo->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	int err;

	if (SYS_MAP_FAILED(seg))
		return (int)(long)seg;
	shm_format(seg, geo, ONRAMP_LAYOUT_HASH);
	seg->stack_id = stack_id;
	seg->uid = uid;
	host_entropy(seg->secret, sizeof(seg->secret));
	err = shm_attach(seg, geo->bytes, ONRAMP_LAYOUT_HASH, &map);
	if (!err)
		stack_init(&map);
	(void)sys_munmap(seg, geo->bytes);
	return err;
}

int host_new_segment(uint32_t stack_id, uint32_t uid)
{
	struct geometry geo;
	int fd, err;

	geometry_standard(&geo);
	fd = segment_file(geo.bytes);
	if (fd < 0)
		return fd;
	err = segment_fill(fd, &geo, stack_id, uid);
	/* Nobody, the owner of the descriptor included, may resize it or undo that. */
	if (!err)
		err = sys_fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	if (err) {
		(void)sys_close(fd);
		return err;
	}
	return fd;
}
