/* SPDX-License-Identifier: BSD-2-Clause */
/* Stacks to look at, and who holds their sockets (stacks.c). */
#ifndef TOOLS_STACKS_H
#define TOOLS_STACKS_H

#include <json-c/json.h>

#include "core/stack/stack.h"
#include "tools/tool.h"

struct stack_seen {
	struct ctl_info info;	/* the agent's word */
	bool own;		/* of one's own agent */
	bool hidden;		/* not asked for; others' rows may refer to it */
	struct stack_map map;	/* read-only */
	struct ap_front *front;	/* NULL: not known */
	uint64_t seg_ino;
};

struct stacks {
	struct stack_seen **of;
	unsigned n;		/* without those that may not, or cannot, be read: said on stderr */
};

/* All stacks that the caller may see; 0, or an exit status, and then it has been said why. */
must_check int stacks_load(const struct cmd *c, struct stacks *ret);
void stacks_free(struct stacks *all);
/* Hides all but that process's. 0, or an exit status. */
must_check int stacks_of_pid(const struct cmd *c, struct stacks *all, pid_t pid);
uint32_t stack_n_socks(const struct stack_map *map);	/* slots that were ever used, bounded */
void stack_copy_sk(const struct stack_map *map, uint32_t slot, struct sk *ret);

struct held {			/* a descriptor, as an fd table tells */
	uint64_t seg_ino;	/* of the stack's segment */
	uint32_t h;
	pid_t pid;
	int fd;
	const char *comm;
};

struct holders {
	struct proc_tab *tabs;
	unsigned n_tabs, n_unseen;
	struct held *held;	/* sorted by stack and handle */
	size_t n_held;
};

void holders_load(struct holders *ret);
void holders_free(struct holders *all);
/* The first of those who hold that socket, and how many there are. */
const struct held *holders_of(const struct holders *all, uint64_t seg_ino, uint32_t h, size_t *ret_n);
char *holders_text(const struct held *who, size_t n);	/* users:(("nc",pid=1,fd=3)); the caller's to free */
struct json_object *holders_json(const struct held *who, size_t n);

/* ---- the options that these commands share (look.c) --------------------------------------------------- */

struct look {
	bool json, no_heading, all;
	bool tcp, udp, v4, v6;	/* neither of two: both */
	bool numeric, blocks;
	int  trace;		/* records; 0: none */
	pid_t pid;		/* 0: all */
	const char *word;	/* "in", "out", or NULL */
};
/* `letters`: those of "tu46naHb" that the command knows, and 'T' for --trace; `words`: those that may
 * come before PID, ended by NULL. 0, or an exit status in *ret: end with it. */
bool look_parse(const struct cmd *c, int argc, char **argv, const char *letters, const char *const *words,
		struct look *ret, int *ret_status);

#endif
