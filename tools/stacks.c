/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stacks of this host, as far as the caller may look: the agents (the system's, and one's own)
 * name them all and hand out the segments of the caller's own, or of everybody's to root.
 *
 * A segment is mapped read-only, its file can neither shrink nor be given back while it is mapped,
 * and whoever it belongs to goes on writing: so its stack may end while we look, and what was
 * copied may mix two moments, or lie. Nothing read from it decides what is read next but for
 * numbers that are bounded by the private geometry. Memory that a stack never used is not touched:
 * a look would give it pages.
 */
#include "tools/stacks.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/must.h"
#include "exec/ctl.h"

#define PASSES 4

static bool is_known(const struct stacks *all, const struct ctl_info *info, bool own)
{
	for (unsigned i = 0; i < all->n; i++)
		if (all->of[i]->own == own && all->of[i]->info.stack_id == info->stack_id)
			return true;
	return false;
}

static struct stack_seen *add(struct stacks *all, const struct ctl_info *info, bool own)
{
	struct stack_seen *s = calloc(1, sizeof(*s));

	all->of = realloc(all->of, (all->n + 1) * sizeof(struct stack_seen *));
	must(s && all->of);
	s->info = *info;
	s->own = own;
	all->of[all->n++] = s;
	return s;
}

static int look_into(struct stack_seen *s, int seg, int front)
{
	struct stat st;
	int err = host_map_segment(seg, false, &s->map);

	if (err)
		return err;
	s->seg_ino = fstat(seg, &st) == 0 ? st.st_ino : 0;
	if (front >= 0 && host_map_front(front, false, s->info.stack_id, NULL, &s->front))
		s->front = NULL;
	return 0;
}

static void load_one(const struct cmd *c, struct stacks *all, const struct ctl_info *info, bool own, int seg,
		     int front, bool first)
{
	char again[64];
	int err;

	if (is_known(all, info, own))
		return;
	if (seg < 0 && !first)
		return;
	if (seg < 0) {
		snprintf(again, sizeof(again), "sudo onramp %s", c->name);
		fail(c, again, "stack %u (%s, pid %u) belongs to user %u: not shown", info->stack_id, info->comm,
		     info->pid, info->uid);
		return;
	}
	err = look_into(add(all, info, own), seg, front);
	if (err) {
		fail(c, "", "stack %u (%s, pid %u) cannot be read: %s", info->stack_id, info->comm, info->pid,
		     strerror(-err));
		free(all->of[--all->n]);
	}
}

static int load_from(const struct cmd *c, struct stacks *all, int ctl)
{
	bool own = ctl_is_own(ctl);
	struct ctl_info info;
	int err = 0, seg, front;
	uint32_t i, pass;

	/* They are counted: when one ends between two questions, the next is passed over. So once more,
	 * and again. */
	for (pass = 0; pass < PASSES && (!err || err == -ENOENT); pass++) {
		for (i = 0, err = 0; i < N_STACKS && !err; i++) {
			err = agent_stack(ctl, i, &info, &seg, &front);
			if (err)
				break;
			load_one(c, all, &info, own, seg, front, pass == 0);
			close_fd(&seg);
			close_fd(&front);
		}
	}
	if (err && err != -ENOENT)
		return fail(c, "", "the agent's answer was: %s", strerror(-err));
	return 0;
}

int stacks_load(const struct cmd *c, struct stacks *ret)
{
	CLOSE_FD int ctl = agent_connect();
	int rc;

	*ret = (struct stacks){ 0 };
	if (ctl < 0)
		return agent_absent(c, ctl);
	rc = load_from(c, ret, ctl);
	/* What was started before the system's agent is still with one's own. */
	if (rc == 0 && !ctl_is_own(ctl)) {
		close(ctl);
		ctl = agent_connect_own();
		if (ctl >= 0)
			rc = load_from(c, ret, ctl);
	}
	return rc;
}

void stacks_free(struct stacks *all)
{
	for (unsigned i = 0; i < all->n; i++) {
		host_unmap_front(all->of[i]->front);
		host_unmap(&all->of[i]->map, 0);
		free(all->of[i]);
	}
	free(all->of);
	*all = (struct stacks){ 0 };
}

/* ---- what is asked for -------------------------------------------------------------------------- */

int stacks_of_pid(const struct cmd *c, struct stacks *all, pid_t pid)
{
	struct proc_tab p;
	bool any = false;
	char again[64];
	int err = proc_tab_read(pid, &p);

	if (err == -ESRCH)
		return fail(c, "", "no process has the id %d", pid);
	if (err == -EACCES || err == -EPERM) {
		snprintf(again, sizeof(again), "sudo onramp %s %d", c->name, pid);
		return fail(c, again, "process %d belongs to somebody else", pid);
	}
	if (err || !p.seg_ino) {
		if (!err)
			proc_tab_free(&p);
		snprintf(again, sizeof(again), "onramp why %d", pid);
		return fail(c, again, "process %d has no stack", pid);
	}
	for (unsigned i = 0; i < all->n; i++) {
		all->of[i]->hidden = all->of[i]->seg_ino != p.seg_ino;
		any |= !all->of[i]->hidden;
	}
	proc_tab_free(&p);
	return any ? 0 : fail(c, "", "the stack of process %d is in another network namespace, or not to be read", pid);
}

/* ---- who holds a socket ------------------------------------------------------------------------- */

static int by_handle(const void *a, const void *b)
{
	const struct held *x = a, *y = b;

	if (x->seg_ino != y->seg_ino)
		return x->seg_ino < y->seg_ino ? -1 : 1;
	return x->h < y->h ? -1 : x->h > y->h;
}

void holders_load(struct holders *ret)
{
	size_t room = 0;
	unsigned i, fd;

	*ret = (struct holders){ 0 };
	ret->tabs = proc_tabs(&ret->n_tabs, &ret->n_unseen);
	for (i = 0; i < ret->n_tabs; i++)
		room += ret->tabs[i].n_ents;
	ret->held = calloc(room ? room : 1, sizeof(*ret->held));
	must(ret->held);
	for (i = 0; i < ret->n_tabs; i++) {
		const struct proc_tab *p = &ret->tabs[i];

		for (fd = 0; fd < p->n_ents; fd++) {
			const struct fd_ent *e = &p->ents[fd];

			if (e->kind == FD_TCP || e->kind == FD_LISTEN || e->kind == FD_UDP)
				ret->held[ret->n_held++] = (struct held){
					p->seg_ino, e->h, p->pid, (int)fd, p->comm };
		}
	}
	qsort(ret->held, ret->n_held, sizeof(*ret->held), by_handle);
}

void holders_free(struct holders *all)
{
	for (unsigned i = 0; i < all->n_tabs; i++)
		proc_tab_free(&all->tabs[i]);
	free(all->tabs);
	free(all->held);
	*all = (struct holders){ 0 };
}

const struct held *holders_of(const struct holders *all, uint64_t seg_ino, uint32_t h, size_t *ret_n)
{
	struct held key = { .seg_ino = seg_ino, .h = h };
	const struct held *at = bsearch(&key, all->held, all->n_held, sizeof(key), by_handle);
	const struct held *end = all->held + all->n_held;
	size_t n = 0;

	while (at && at > all->held && by_handle(at - 1, &key) == 0)
		at--;
	while (at && at + n < end && by_handle(at + n, &key) == 0)
		n++;
	*ret_n = n;
	return at;
}

char *holders_text(const struct held *who, size_t n)
{
	char *text = NULL, *old;

	for (size_t i = 0; i < n && i < 64; i++) {
		old = text;
		must(asprintf(&text, "%s%s(\"%s\",pid=%d,fd=%d)%s", old ? old : "users:(", old ? "," : "", who[i].comm,
			      who[i].pid, who[i].fd, i + 1 == n || i == 63 ? ")" : "") > 0);
		free(old);
	}
	if (!text)
		must(asprintf(&text, "-") > 0);
	return text;
}

struct json_object *holders_json(const struct held *who, size_t n)
{
	struct json_object *users = json_object_new_array(), *u;

	for (size_t i = 0; i < n; i++) {
		u = json_object_new_object();
		json_object_object_add(u, "comm", json_object_new_string(who[i].comm));
		json_object_object_add(u, "pid", json_object_new_int(who[i].pid));
		json_object_object_add(u, "fd", json_object_new_int(who[i].fd));
		json_object_array_add(users, u);
	}
	return users;
}

/* ---- sockets ---------------------------------------------------------------------------------------- */

uint32_t stack_n_socks(const struct stack_map *map)
{
	return min_u32(peek32(&map->seg->used_sk), map->sk_mask + 1);
}

void stack_copy_sk(const struct stack_map *map, uint32_t slot, struct sk *ret)
{
	memcpy(ret, map->socks + (size_t)(slot & map->sk_mask) * SK_BYTES, sizeof(*ret));
}
