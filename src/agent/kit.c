// SPDX-License-Identifier: BSD-2-Clause
/*
 * Stacks made ahead. A stack is a sealed segment, an AF_XDP socket per attached interface over
 * the segment's packet memory, bells, front and pipe; pinning 32 MiB, making devices and attaching
 * programs takes tens of milliseconds, which a short-lived program must not pay. So two lie
 * ready, complete with their place in the maps; STACK_GET only hands one out. What was handed
 * out is replaced when the loop is idle. Without an attached interface there is nothing to pin.
 *
 * A spare has no owner, no lease and no reader: the agent may still write its segment's
 * header (stack_get() puts the owner's uid there). It never maps a segment once it is live.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/segment.h"
#include "host/host.h"

#define RETRY_NS NS_PER_S	/* after a failure to make a stack */
#define FILL_STEP (1u << 20)	/* packet memory given pages at a time: under a millisecond */

static void close_fd(int *fd)
{
	if (*fd >= 0)
		(void)close(*fd);
	*fd = -1;
}

static struct stack *new_slot(struct agent *a)
{
	struct stack *s;
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++) {
		s = &a->stacks[i];
		if (s->state != STACK_NONE)
			continue;
		memset(s, 0, sizeof(*s));
		s->slot = i;
		s->seg = s->front = s->pipe = -1;
		for (i = 0; i < N_VIS; i++)
			s->vi[i].xsk = -1;
		for (i = 0; i < N_WAITERS; i++)
			s->bell[i] = -1;
		s->id = ++a->next_stack_id;
		return s;
	}
	return NULL;
}

/* The packet memory's place, from the header we have just had written. */
static int umem_of(const struct stack *s, struct umem_span *ret)
{
	struct geometry geo;
	ssize_t n = pread(s->seg, &geo, sizeof(geo), offsetof(struct segment, geo));

	if (n != (ssize_t)sizeof(geo))
		return n < 0 ? -errno : -EPROTO;
	ret->fd = s->seg;
	ret->off = geo.off_umem;
	ret->bytes = (uint64_t)geo.n_pkts * FRAME_BYTES;
	return 0;
}

static int add_direct(struct agent *a, struct stack *s, struct nic *n, const struct umem_span *u)
{
	struct stack_vi *vi = &s->vi[s->n_vis];
	int fd = xsk_open(n->ifindex, 0, u, s->n_vis ? s->vi[0].xsk : -1), err;

	if (fd < 0)
		return fd;
	err = filter_xsk(a, N_VF_DEVS + n->i, fd);
	if (err) {
		(void)close(fd);
		return err;
	}
	vi->vf = NULL;
	vi->xsk = fd;
	n->direct = s;
	filter_nic(a, n);
	return 0;
}

static int add_vf(struct agent *a, struct stack *s, struct nic *n, const struct umem_span *u)
{
	struct stack_vi *vi = &s->vi[s->n_vis];
	struct vf *v;
	int err = vf_take(a, n, &v), fd;

	if (err)
		return err;
	fd = xsk_open(v->app_ifindex, 0, u, s->n_vis ? s->vi[0].xsk : -1);
	err = fd < 0 ? fd : filter_xsk(a, v->id, fd);
	if (!err)
		err = filter_vf(a, s, v);
	if (err) {
		/* EBUSY: a former owner still holds the old socket. Its device is not reused. */
		if (fd >= 0)
			(void)close(fd);
		vf_destroy(a, v);
		return err == -EBUSY ? -EAGAIN : err;
	}
	vi->vf = v;
	vi->xsk = fd;
	return 0;
}

static int add_vi(struct agent *a, struct stack *s, struct nic *n, const struct umem_span *u)
{
	struct stack_vi *vi = &s->vi[s->n_vis];
	struct vf_count c;
	int err;

	if (s->direct && (n->flags & ATTACH_F_DIRECT))
		err = add_direct(a, s, n, u);
	else
		err = add_vf(a, s, n, u);
	if (err)
		return err;
	vi->nic = n->i;
	vi->ifindex = n->ifindex;
	filter_count_vf(a, s->slot, n->i, &c);
	vi->spoofed_base = c.tx_spoofed + c.tx_malformed;
	s->n_vis++;
	return 0;
}

static int begin(struct stack *s)
{
	struct stat st;

	s->seg = host_new_segment(s->id, 0);
	if (s->seg < 0)
		return s->seg;
	if (fstat(s->seg, &st))
		return -errno;
	s->seg_dev = st.st_dev;
	s->seg_ino = st.st_ino;
	return 0;
}

static int finish(struct agent *a, struct stack *s)
{
	struct umem_span u;
	uint32_t i;
	int err = umem_of(s, &u);

	if (!err)
		err = pair_prepare(s);
	for (i = 0; !err && i < N_VIS; i++) {
		if (!a->nics[i].live)
			continue;
		err = add_vi(a, s, &a->nics[i], &u);
		if (err == -EAGAIN)
			err = add_vi(a, s, &a->nics[i], &u);
	}
	for (i = 0; !err && i < N_WAITERS; i++) {
		s->bell[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (s->bell[i] < 0)
			err = -errno;
	}
	return err;
}

/* At once: from the one in the making, if it will do. */
int kit_make(struct agent *a, bool direct, struct stack **ret)
{
	struct stack *s = NULL;
	uint32_t i;
	int err = 0;

	for (i = 1; i <= N_SLOTS && !s; i++)
		if (a->stacks[i].state == STACK_MAKING && a->stacks[i].direct == direct)
			s = &a->stacks[i];
	if (!s) {
		s = new_slot(a);
		if (!s)
			return -EDQUOT;
		s->direct = direct;
	}
	s->state = STACK_SPARE;
	if (s->seg < 0)
		err = begin(s);
	if (!err)
		err = finish(a, s);
	if (err) {
		kit_free(a, s);
		return err;
	}
	*ret = s;
	return 0;
}

static bool any_nic(const struct agent *a)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++)
		if (a->nics[i].live)
			return true;
	return false;
}

/* One short step towards a spare, so that no client waits long meanwhile: what takes the time
 * is giving pages to the packet memory. 1: it is ready. */
static int step(struct agent *a, struct stack *s)
{
	struct umem_span u;
	uint32_t i;
	int err;

	if (s->seg < 0)
		return begin(s);
	err = umem_of(s, &u);
	if (err)
		return err;
	if (any_nic(a) && s->filled < u.bytes) {
		if (fallocate(s->seg, 0, (off_t)(u.off + s->filled), FILL_STEP))
			return -errno;
		s->filled += FILL_STEP;
		return 0;
	}
	for (i = 0; i < N_VIS; i++)
		if (a->nics[i].live && !vf_ready(a, &a->nics[i]))
			return vf_prepare(a, &a->nics[i]);
	err = finish(a, s);
	return err ? err : 1;
}

/* Gives all back. The stack must have no leases, flows or blocks any more. */
void kit_free(struct agent *a, struct stack *s)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++) {
		struct stack_vi *vi = &s->vi[i];
		struct nic *n = &a->nics[vi->nic];

		if (i < s->n_vis && vi->xsk >= 0 && vi->vf) {
			filter_vf_del(a, s, vi->vf);
			filter_xsk_del(a, vi->vf->id);
			vf_put(vi->vf);
		} else if (i < s->n_vis && vi->xsk >= 0 && n->direct == s) {
			n->direct = NULL;
			filter_nic(a, n);
			filter_xsk_del(a, N_VF_DEVS + n->i);
		}
		close_fd(&vi->xsk);
	}
	close_fd(&s->seg);
	pair_discard(s);
	for (i = 0; i < N_WAITERS; i++)
		close_fd(&s->bell[i]);
	s->state = STACK_NONE;
}

void kit_drop_spares(struct agent *a)
{
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].state == STACK_SPARE || a->stacks[i].state == STACK_MAKING)
			kit_free(a, &a->stacks[i]);
	a->refill_at = 0;
}

static uint32_t n_spare(const struct agent *a, bool direct)
{
	uint32_t i, n = 0;

	for (i = 1; i <= N_SLOTS; i++)
		n += a->stacks[i].state == STACK_SPARE && a->stacks[i].direct == direct;
	return n;
}

/* An own queue exists once: it is wanted while an interface has one that nobody has. */
static bool wants_direct(const struct agent *a)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++)
		if (a->nics[i].live && (a->nics[i].flags & ATTACH_F_DIRECT) && !a->nics[i].direct)
			return true;
	return false;
}

struct stack *kit_take(struct agent *a, bool direct)
{
	struct stack *s = NULL;
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++) {
		if (a->stacks[i].state != STACK_SPARE)
			continue;
		if (a->stacks[i].direct && direct)
			return &a->stacks[i];
		if (!a->stacks[i].direct && !s)
			s = &a->stacks[i];
	}
	return s;
}

bool kit_urgent(const struct agent *a) { return !n_spare(a, false); }

static struct stack *in_the_making(struct agent *a)
{
	bool direct = wants_direct(a);
	struct stack *s;
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].state == STACK_MAKING)
			return &a->stacks[i];
	if (!direct && n_spare(a, false) >= N_SPARE)
		return NULL;
	s = new_slot(a);
	if (s) {
		s->direct = direct;
		s->state = STACK_MAKING;
	}
	return s;
}

bool kit_work(struct agent *a)
{
	struct stack *s;
	int err;

	if (host_now() < a->refill_at)
		return false;
	s = in_the_making(a);
	if (!s)
		return false;
	err = step(a, s);
	if (err == 1)
		s->state = STACK_SPARE;
	if (err >= 0)
		return true;
	kit_free(a, s);
	a->refill_at = host_now() + RETRY_NS;
	if (err != -EDQUOT)
		agt_log("cannot prepare a stack: %s", strerror(-err));
	return false;
}
