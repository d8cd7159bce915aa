/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the subcommands of `onramp` share: errors, tables, JSON, and ways to look at other
 * processes. This program is short-lived and may print and allocate; it runs no core.
 *
 * Whatever it reads of other programs (descriptor tables, segments) may be a lie: it is
 * copied, bounded, and shown; never followed outside what was copied.
 */
#ifndef TOOLS_TOOL_H
#define TOOLS_TOOL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi/ctl.h"
#include "abi/fdtab.h"
#include "base/compiler.h"

#define CLOSE_FD on_leaving(close_fd)
#define FREE	 on_leaving(free_mem)
void close_fd(int *fd);
void free_mem(void *pp);	/* pointer to the pointer */

/* Exit codes, as env(1) and nohup(1) have them where a program is started. */
#define EXIT_BAD_USAGE	2
#define EXIT_CANNOT_RUN 126
#define EXIT_NOT_FOUND	127

struct cmd {
	const char *name;
	const char *args;	/* of the usage line */
	const char *summary;	/* one line of `onramp --help` */
	const char *help;	/* the rest of `onramp NAME --help` */
	int (*run)(const struct cmd *c, int argc, char **argv);
};
extern const struct cmd cmd_run, cmd_attach, cmd_detach, cmd_status, cmd_ss, cmd_why, cmd_doctor,
	cmd_install, cmd_uninstall, cmd_providers, cmd_version, cmd_ports, cmd_apertures, cmd_evq;

/* ---- providers.c ---------------------------------------------------------------------------- */

/* Loads a provider in a child: true and what it is, or false and what is wrong with it. */
bool provider_try(const char *file, char *text, size_t bytes);
/* Says which of a catalogue (conf_providers()) cannot be used; how many. Their entries become "NAME ! TEXT". */
unsigned providers_check(const struct cmd *c, char *catalogue, size_t bytes);

/* `onramp --trial`: a program like any other, that says whether the chooser is in it (install.c). */
int install_trial(void);

/* ---- out.c: what is printed ------------------------------------------------------------ */

/* "onramp NAME: what" on stderr, and on a second line the way out, if there is one. Returns
 * EXIT_FAILURE, so that it can end a command. */
printf_like(3, 4) int fail(const struct cmd *c, const char *way_out, const char *fmt, ...);
/* Usage on stderr, EXIT_BAD_USAGE. */
printf_like(2, 3) int misused(const struct cmd *c, const char *fmt, ...);
int print_help(const struct cmd *c);
/* For getopt_long's '?' and ':' with opterr = 0. */
int bad_option(const struct cmd *c, char **argv);

enum colour { PLAIN, GOOD, WARN, DIM, BOLD };
const char *colour_on(enum colour c);	/* "" unless stdout is a terminal that wants colours */
const char *colour_off(enum colour c);

#define MAX_COLS 16
struct table {
	unsigned n_cols, n_rows, room;
	unsigned right;		/* bit per column: align to the right */
	char *(*rows)[MAX_COLS];	/* rows[0] is the heading, if there is one */
};
void table_init(struct table *t, unsigned n_cols, unsigned right);
void table_heading(struct table *t, const char *const *names);
/* The next cell of the last row; a row begins when the one before is full. */
printf_like(2, 3) void table_cell(struct table *t, const char *fmt, ...);
void table_print(const struct table *t);
void table_free(struct table *t);

/* Untrusted bytes for a terminal: control characters become '?'. In place. */
void tame(char *s);
/* 83 -> "1m23s"; ms since, for people. */
void age_text(uint64_t ms, char *ret, size_t bytes);
struct json_object;
int json_out(struct json_object *o);	/* prints, puts, returns EXIT_SUCCESS or failure */

/* ---- agent.c: talking to onrampd --------------------------------------------------------- */

#define LINK_TIMEOUT_MS 30000	/* attaching makes veth pairs, sockets and loads programs */

/* A connection to the agent of this network namespace, or else to one's own, greeted; or -errno:
 * -ECONNREFUSED none answers; -EPROTO it is of another build; -EPERM somebody else poses as it. */
int agent_connect(void);
int agent_connect_system(void);
int agent_connect_own(void);
/* Explains agent_connect()'s error. Returns EXIT_FAILURE. */
int agent_absent(const struct cmd *c, int err);
/* Starts the agent beside this program and waits until it is ready. The connection, or
 * -errno after having said why. */
int agent_start(const struct cmd *c);
/* Starts one's own agent, nobody's child, and waits a little until it is ready. Says nothing: 0,
 * or -errno. Another one that was started at the same moment is as good. */
int agent_start_own(void);
/* The same without waiting: it stays while this process lives, whatever it becomes. */
int agent_start_own_behind(void);
/* Says hello for this process and does not wait for an answer. */
int agent_greet(void);
/* Tells it to remove everything and exit, and waits until it has. 0 or -errno. */
int agent_stop(int ctl);
/* The i-th attached link, or stack; -ENOENT past the end. *ret_segment, *ret_front: -1 if not ours to see. */
int agent_link(int ctl, uint32_t i, struct ctl_status *ret);
int agent_stack(int ctl, uint32_t i, struct ctl_info *ret, int *ret_segment, int *ret_front);

/* ---- where.c: this installation ----------------------------------------------------------- */

/* Path of a file of ours; 0 or -ENOENT. `kind`: */
enum own_file { OWN_LIBRARY, OWN_AGENT, OWN_SURROGATE, OWN_TRAP };
int own_path(enum own_file which, char *ret, size_t bytes);
/* What keeps a program from being preloaded: NULL nothing, else a sentence. */
/* It is linked statically: only --trap reaches it. */
bool needs_trap(int fd);
const char *preload_obstacle(int fd, const char **ret_remedy);

/* ---- procs.c: other processes ------------------------------------------------------------- */

struct proc_tab {		/* a copy of a process's descriptor table */
	pid_t pid;
	char  comm[16];
	uint64_t seg_ino;	/* inode of its stack's segment: names the stack; 0 none */
	bool same_netns;	/* as this program */
	struct fdtab *head;
	struct fd_ent *ents;	/* in it; n_ents were read */
	uint32_t n_ents;
};

/* Reads the table of one process. 0; -ESRCH no such process; -EACCES; -ENOENT it has none;
 * -EPROTO it is of another build. */
int proc_tab_read(pid_t pid, struct proc_tab *ret);
void proc_tab_free(struct proc_tab *p);
/* All processes that have one and that we may look at. Caller frees each and the array. */
struct proc_tab *proc_tabs(unsigned *ret_n, unsigned *ret_unseen);
const char *reason_sentence(unsigned reason), *reason_remedy(unsigned reason), *reason_name(unsigned reason);
uint32_t now_ms(void);		/* CLOCK_MONOTONIC, low 32 bits, as fd_ent.born_ms */

/* ---- ksock.c: kernel sockets, by /proc/PID/net --------------------------------------------- */

struct flow_row {		/* one line of `onramp ss`, whoever serves it */
	uint8_t	 proto;		/* IPPROTO_TCP, IPPROTO_UDP */
	bool	 family6, v6only;
	const char *state;	/* in ss's spelling */
	uint64_t recvq, sendq;
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;
};
/* The kernel socket under a descriptor. 0 or -ENOENT (not INET, gone, or not ours to see). */
int ksock_find(pid_t pid, int fd, struct flow_row *ret);
/* "10.0.0.1:80", "[::1]:80", "*:80", "0.0.0.0:*". */
void addr_text(const struct flow_row *r, bool remote, bool numeric, char *ret, size_t bytes);

#endif
