// SPDX-License-Identifier: BSD-2-Clause
/*
 * The life of a stack:
 *
 *   SPARE --STACK_GET--> LIVE --surrogate exits 0, or nobody is left--> gone
 *
 * The surrogate decides when a live stack is over: it alone sees whether a connection is left
 * when the programs are gone. If it crashes it is replaced, three times; after that the stack
 * ends with its last client, as it does where no surrogate can run at all.
 *
 * Ending is in two phases: first no packet and no connection can reach it or leave it (filters
 * and directory), then its devices, descriptors and ports go back.
 *
 * Without an attached interface stacks are made all the same, with no virtual function: their
 * traffic is that between programs of this host.
 */
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "abi/segment.h"
#include "host/host.h"

static uint32_t count(const struct agent *a, uid_t uid, bool all)
{
	uint32_t i, n = 0;

	for (i = 1; i <= N_SLOTS; i++)
		n += a->stacks[i].state == STACK_LIVE && (all || a->stacks[i].uid == uid);
	return n;
}

static void read_comm(struct stack *s)
{
	char path[48];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/comm", (int)s->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, s->comm, sizeof(s->comm) - 1);
	(void)close(fd);
	if (n <= 0)
		n = 0;
	s->comm[n] = 0;
	s->comm[strcspn(s->comm, "\n")] = 0;
}

static bool partial_csum(const struct nic *n)
{
	/* In generic mode frames arrive as socket buffers, whose checksum may be unfinished:
	 * from a veth or virtio peer, or merged by GRO. */
	return n->mode == ATTACH_GENERIC;
}

static void describe(struct agent *a, const struct stack *s, struct ctl_stack *ret)
{
	uint32_t i;

	memset(ret, 0, sizeof(*ret));
	ret->stack_id = s->id;
	ret->n_vis = s->n_vis;
	ret->ring_slots = N_RING;
	ret->dir_slot = s->slot;
	for (i = 0; i < s->n_vis; i++) {
		ret->vi_ifindex[i] = s->vi[i].ifindex;
		ret->vi_flags[i] = VIF_F_PRESENT | (s->vi[i].vf ? 0 : VIF_F_DIRECT) |
				   (partial_csum(&a->nics[s->vi[i].nic]) ? VIF_F_PARTIAL_CSUM : 0);
	}
}

int stack_get(struct agent *a, struct request *rq)
{
	bool root = rq->c->cred.uid == 0;
	uint32_t uid = rq->c->cred.uid, i;
	struct stack *s;
	int err;

	if (count(a, 0, true) >= N_STACKS ||
	    (!root && !a->own && count(a, uid, false) >= N_STACKS_UID))
		return -EDQUOT;
	s = kit_take(a, root);
	if (!s) {
		err = kit_make(a, false, &s);
		if (err)
			return err;
	}
	/* The last write the agent ever makes to this segment. */
	if (pwrite(s->seg, &uid, sizeof(uid), offsetof(struct segment, uid)) != sizeof(uid))
		return -EIO;
	s->state = STACK_LIVE;
	s->uid = uid;
	s->gid = rq->c->cred.gid;
	s->pid = rq->c->cred.pid;
	read_comm(s);
	s->n_clients = 1;
	s->orphaned_at = 0;
	s->wants_child = true;
	rq->c->stack = s;
	dir_stack_begin(a, s);
	describe(a, s, &rq->reply.u.stack);
	rq->out[rq->n_out++] = s->seg;
	rq->out[rq->n_out++] = a->mirror_fd;
	rq->out[rq->n_out++] = s->front;
	rq->out[rq->n_out++] = s->pipe;
	for (i = 0; i < s->n_vis; i++)
		rq->out[rq->n_out++] = s->vi[i].xsk;
	for (i = 0; i < N_WAITERS; i++)
		rq->out[rq->n_out++] = s->bell[i];
	return 0;
}

struct stack *stack_find(struct agent *a, uint32_t id)
{
	uint32_t i;

	for (i = 1; i <= N_SLOTS; i++)
		if (a->stacks[i].state == STACK_LIVE && a->stacks[i].id == id)
			return &a->stacks[i];
	return NULL;
}

/* Holding the segment is what makes a process a member: it was given it, or inherited it. */
int stack_join(struct agent *a, struct request *rq)
{
	struct stack *s = stack_find(a, rq->msg->u.index);
	struct stat st;

	if (!s)
		return -ENOENT;
	if (fstat(rq->fd, &st))
		return -EBADF;
	if (st.st_dev != s->seg_dev || st.st_ino != s->seg_ino)
		return -EPERM;
	if ((fcntl(rq->fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		return -EPERM;	/* a reader's descriptor, as tools get */
	if (rq->c->cred.uid != 0 && rq->c->cred.uid != s->uid)
		return -EPERM;
	rq->c->stack = s;
	s->n_clients++;
	s->orphaned_at = 0;
	rq->reply.u.index = s->id;
	return 0;
}

/* The same file, read-only. */
static bool give_to_read(struct request *rq, int of)
{
	char path[40];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", of);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	rq->out_owned |= 1ull << rq->n_out;
	rq->out[rq->n_out++] = fd;
	return true;
}

int stack_info(struct agent *a, struct request *rq)
{
	struct ctl_info *ret = &rq->reply.u.info;
	uint32_t i, n = rq->msg->u.index, slot;
	struct stack *s = NULL;

	for (slot = 1; slot <= N_SLOTS && !s; slot++)
		if (a->stacks[slot].state == STACK_LIVE && n-- == 0)
			s = &a->stacks[slot];
	if (!s)
		return -ENOENT;
	memset(&rq->reply.u, 0, sizeof(rq->reply.u));
	ret->stack_id = s->id;
	ret->pid = (uint32_t)s->pid;
	ret->uid = s->uid;
	ret->surrogate_pid = (uint32_t)s->child;
	ret->n_leases = s->n_leases + s->n_blocks;
	ret->n_vis = s->n_vis;
	memcpy(ret->comm, s->comm, sizeof(ret->comm));
	for (i = 0; i < s->n_vis; i++) {
		struct vf_count c;

		filter_count_vf(a, s->slot, s->vi[i].nic, &c);
		ret->tx_spoofed += c.tx_spoofed + c.tx_malformed - s->vi[i].spoofed_base;
	}
	if (rq->c->cred.uid != 0 && rq->c->cred.uid != s->uid)
		return 0;
	if (give_to_read(rq, s->seg))
		(void)give_to_read(rq, s->front);
	return 0;
}

void stack_left(struct agent *a, struct stack *s)
{
	if (s->n_clients)
		s->n_clients--;
	if (s->n_clients)
		return;
	s->orphaned_at = host_now();
	lease_orphan(a, s);
	if (!s->child && !s->wants_child)
		stack_end(a, s);
}

void stack_end(struct agent *a, struct stack *s)
{
	if (s->state != STACK_LIVE)
		return;
	s->wants_child = false;
	ctl_forget_stack(a, s);
	ports_flush(a, s);
	lease_flush(a, s);
	pair_flush(a, s);
	dir_stack_end(a, s);
	if (s->n_flows)
		filter_exact_flush(a, s->slot);
	s->n_flows = 0;
	child_kill(s);
	if (a->verbose)
		agt_log("stack %u (%s) is over", s->id, s->comm);
	kit_free(a, s);
}

/* A stack that had interfaces and has none left cannot finish what it has: it ends. The others
 * go on with those they have; the numbers of their interfaces stay as the programs know them. */
void stack_nic_gone(struct agent *a, struct nic *n)
{
	uint32_t i, k, left, lost;

	for (i = 1; i <= N_SLOTS; i++) {
		struct stack *s = &a->stacks[i];

		if (s->state != STACK_LIVE)
			continue;
		for (k = 0, left = 0, lost = 0; k < s->n_vis; k++) {
			struct stack_vi *vi = &s->vi[k];

			if (vi->nic != n->i || vi->xsk < 0 || vi->ifindex != n->ifindex) {
				left += vi->xsk >= 0;
				continue;
			}
			if (vi->vf) {
				filter_vf_del(a, s, vi->vf);
				filter_xsk_del(a, vi->vf->id);
				vf_put(vi->vf);
			} else {
				filter_xsk_del(a, N_VF_DEVS + n->i);
				n->direct = NULL;
			}
			vi->vf = NULL;
			(void)close(vi->xsk);
			vi->xsk = -1;
			lost++;
		}
		if (lost && !left)
			stack_end(a, s);
	}
}
