/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp why`: which descriptors of a process are accelerated, and why the others are not.
 * Works without an agent: all it needs is the process's own table.
 */
#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct ask {
	pid_t pid;
	int fd;			/* -1: all */
	bool all, json;
};

/* What a descriptor is, in words; "" for one that is no business of ours. */
static const char *kind_text(const struct fd_ent *e)
{
	static const char *const text[] = {
		[FD_NONE] = "", [FD_PLAIN] = "socket", [FD_TCP] = "tcp", [FD_LISTEN] = "tcp listener",
		[FD_UDP] = "udp", [FD_EPOLL] = "epoll", [FD_PRIVATE] = "onramp's own",
	};

	return e->kind < n_elems(text) ? text[e->kind] : "unknown";
}

static bool is_ours(const struct fd_ent *e)
{
	return e->kind == FD_TCP || e->kind == FD_LISTEN || e->kind == FD_UDP ||
	       (e->kind == FD_EPOLL && e->h);
}

static const char *provider_of(const struct fd_ent *e)
{
	/* A datagram socket with a reason has returned to the kernel while it was in use. */
	if (!is_ours(e) || (e->kind == FD_UDP && e->reason != REASON_NONE))
		return "kernel";
	return e->kind == FD_TCP && e->reason == REASON_APERTURE ? "aperture" : "onramp";
}

static const char *sentence_of(const struct fd_ent *e)
{
	switch (e->kind) {
	case FD_PRIVATE:
		return "onramp's own plumbing";
	case FD_EPOLL:
		return e->h ? "watches accelerated sockets" : "watches only kernel descriptors so far";
	case FD_LISTEN:
		return e->reason ? reason_sentence(e->reason) :
				   "accelerated; listens in the kernel, too";
	default:
		return reason_sentence(e->reason);
	}
}

/* The remedy belongs to a reason to fall back, not to our own descriptors. */
static const char *remedy_of(const struct fd_ent *e)
{
	return e->kind == FD_PLAIN || e->kind == FD_UDP ? reason_remedy(e->reason) : "";
}

/* "10.0.0.1:80 10.0.0.2:4711" of the kernel socket, or "". */
static void peers_text(pid_t pid, unsigned fd, char *ret, size_t bytes)
{
	struct flow_row row;
	char local[80], remote[80];

	ret[0] = 0;
	if (ksock_find(pid, (int)fd, &row))
		return;
	addr_text(&row, false, true, local, sizeof(local));
	addr_text(&row, true, true, remote, sizeof(remote));
	snprintf(ret, bytes, "%s %s", local, row.rport ? remote : row.state);
}

static bool shown(const struct ask *a, unsigned fd, const struct fd_ent *e)
{
	if (a->fd >= 0)
		return (unsigned)a->fd == fd;
	return e->kind != FD_NONE && (a->all || e->kind != FD_PRIVATE);
}

static void row_text(struct table *t, const struct proc_tab *p, unsigned fd)
{
	const struct fd_ent *e = &p->ents[fd];
	char age[16], peers[176];

	age_text(now_ms() - e->born_ms, age, sizeof(age));
	peers_text(p->pid, fd, peers, sizeof(peers));
	table_cell(t, "%u", fd);
	table_cell(t, "%s", provider_of(e));
	table_cell(t, "%s", kind_text(e));
	table_cell(t, "%s", age);
	table_cell(t, "%s", peers[0] ? peers : "-");
	table_cell(t, "%s%s%s%s", sentence_of(e), remedy_of(e)[0] ? " (try: " : "", remedy_of(e),
		   remedy_of(e)[0] ? ")" : "");
}

static struct json_object *row_json(const struct proc_tab *p, unsigned fd)
{
	const struct fd_ent *e = &p->ents[fd];
	struct json_object *o = json_object_new_object();
	char peers[176];

	peers_text(p->pid, fd, peers, sizeof(peers));
	json_object_object_add(o, "fd", json_object_new_int((int)fd));
	json_object_object_add(o, "provider", json_object_new_string(provider_of(e)));
	json_object_object_add(o, "kind", json_object_new_string(kind_text(e)));
	json_object_object_add(o, "since_ms", json_object_new_int64(now_ms() - e->born_ms));
	json_object_object_add(o, "kernel_socket", json_object_new_string(peers));
	json_object_object_add(o, "code", json_object_new_string(reason_name(e->reason)));
	json_object_object_add(o, "reason", json_object_new_string(sentence_of(e)));
	json_object_object_add(o, "remedy", json_object_new_string(remedy_of(e)));
	return o;
}

/* The line about the process as a whole. */
static void whole_text(const struct proc_tab *p, char *ret, size_t bytes)
{
	const struct fdtab *h = p->head;

	if (h->reason == REASON_NONE && h->stack_id)
		snprintf(ret, bytes, "accelerated by stack %u%s, profile %s%s", h->stack_id,
			 h->n_vis ? "" : ", within this host only",
			 h->profile[0] ? h->profile : "default", h->strict ? ", strict" : "");
	else if (h->reason == REASON_NONE || h->reason == REASON_UNDECIDED)
		snprintf(ret, bytes, "has asked for no stack yet: no socket was bound or connected");
	else
		snprintf(ret, bytes, "runs on the kernel: %s%s%s", reason_sentence(h->reason),
			 h->detail[0] ? ": " : "", h->detail);
}

/* How often each reason was decided, descriptors closed since included. */
static void counts_text(const struct proc_tab *p)
{
	bool any = false;
	unsigned i;

	for (i = 0; i < N_REASONS; i++) {
		if (!p->head->counts[i] || i == REASON_UNDECIDED)
			continue;
		printf("%s%llu %s", any ? "; " : "sockets so far: ",
		       (unsigned long long)p->head->counts[i], reason_sentence(i));
		any = true;
	}
	if (any)
		putchar('\n');
}

/* In the process's own words, which may be anything. */
static void chain_text(const struct proc_tab *p, char *ret, size_t bytes)
{
	snprintf(ret, bytes, "%.*s", (int)sizeof(p->head->chain) - 1, p->head->chain);
	tame(ret);
}

static int print_text(const struct ask *a, const struct proc_tab *p)
{
	static const char *const names[] = { "FD", "PROVIDER", "KIND", "SINCE", "KERNEL SOCKET", "REASON" };
	const char *remedy = reason_remedy(p->head->reason);
	enum colour col = p->head->reason == REASON_NONE ? GOOD : WARN;
	char whole[512], chain[sizeof(p->head->chain)];
	struct table t;
	unsigned fd;

	whole_text(p, whole, sizeof(whole));
	printf("%s (%d) %s%s%s\n", p->comm, p->pid, colour_on(col), whole, colour_off(col));
	if (remedy[0])
		printf("  try: %s\n", remedy);
	if (a->fd < 0)
		counts_text(p);
	chain_text(p, chain, sizeof(chain));
	if (chain[0])
		printf("providers: %s\n", chain);
	table_init(&t, n_elems(names), 1u << 0 | 1u << 3);
	table_heading(&t, names);
	for (fd = 0; fd < p->n_ents; fd++)
		if (shown(a, fd, &p->ents[fd]))
			row_text(&t, p, fd);
	if (t.n_rows > 1)
		table_print(&t);
	table_free(&t);
	return EXIT_SUCCESS;
}

static int print_json(const struct ask *a, const struct proc_tab *p)
{
	struct json_object *o = json_object_new_object(), *fds = json_object_new_array();
	struct json_object *counts = json_object_new_object();
	char whole[512], chain[sizeof(p->head->chain)];
	unsigned i;

	chain_text(p, chain, sizeof(chain));
	json_object_object_add(o, "providers", json_object_new_string(chain));
	whole_text(p, whole, sizeof(whole));
	json_object_object_add(o, "pid", json_object_new_int(p->pid));
	json_object_object_add(o, "comm", json_object_new_string(p->comm));
	json_object_object_add(o, "preloaded", json_object_new_boolean(true));
	json_object_object_add(o, "stack", json_object_new_int64(p->head->stack_id));
	json_object_object_add(o, "profile", json_object_new_string(p->head->profile));
	json_object_object_add(o, "strict", json_object_new_boolean(p->head->strict));
	json_object_object_add(o, "code", json_object_new_string(reason_name(p->head->reason)));
	json_object_object_add(o, "reason", json_object_new_string(whole));
	json_object_object_add(o, "remedy", json_object_new_string(reason_remedy(p->head->reason)));
	for (i = 0; i < N_REASONS; i++)
		if (p->head->counts[i])
			json_object_object_add(counts, reason_name(i),
					       json_object_new_int64((int64_t)p->head->counts[i]));
	json_object_object_add(o, "counts", counts);
	for (i = 0; i < p->n_ents; i++)
		if (shown(a, i, &p->ents[i]))
			json_object_array_add(fds, row_json(p, i));
	json_object_object_add(o, "fds", fds);
	return json_out(o);
}

/* A process without a table: why not, as far as its executable tells. */
static int not_ours(const struct cmd *c, const struct ask *a, const char *comm)
{
	char path[64];
	const char *remedy = "", *why;
	CLOSE_FD int fd = -1;
	struct json_object *o;

	snprintf(path, sizeof(path), "/proc/%d/exe", a->pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return fail(c, "", "process %d is a kernel thread or a zombie", a->pid);
	why = fd >= 0 ? preload_obstacle(fd, &remedy) : NULL;
	if (!why) {
		why = "it was not started with onramp run";
		remedy = "onramp run -- PROGRAM";
	}
	if (!a->json) {
		printf("%s (%d) %sruns on the kernel: %s%s\n  try: %s\n", comm, a->pid,
		       colour_on(WARN), why, colour_off(WARN), remedy);
		return EXIT_SUCCESS;
	}
	o = json_object_new_object();
	json_object_object_add(o, "pid", json_object_new_int(a->pid));
	json_object_object_add(o, "comm", json_object_new_string(comm));
	json_object_object_add(o, "preloaded", json_object_new_boolean(false));
	json_object_object_add(o, "code", json_object_new_string("NOT_PRELOADED"));
	json_object_object_add(o, "reason", json_object_new_string(why));
	json_object_object_add(o, "remedy", json_object_new_string(remedy));
	return json_out(o);
}

static bool parse_number(const char *s, int *ret)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (errno || end == s || *end || v < 0 || v > INT_MAX)
		return false;
	*ret = (int)v;
	return true;
}

static int parse(const struct cmd *c, int argc, char **argv, struct ask *a)
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":ajh", longs, NULL)) != -1) {
		if (o == 'a')
			a->all = true;
		else if (o == 'j')
			a->json = true;
		else if (o == 'h')
			exit(print_help(c));
		else
			return bad_option(c, argv);
	}
	if (optind >= argc || argc - optind > 2)
		return misused(c, "one process id, and perhaps one descriptor, are wanted");
	if (!parse_number(argv[optind], &a->pid) || a->pid == 0)
		return misused(c, "'%s' is not a process id", argv[optind]);
	if (argc - optind == 2 && !parse_number(argv[optind + 1], &a->fd))
		return misused(c, "'%s' is not a descriptor", argv[optind + 1]);
	return 0;
}

/* One descriptor was named that the table says nothing about. */
static int check_fd(const struct cmd *c, const struct ask *a, const struct proc_tab *p)
{
	char path[64], link[128];
	ssize_t n;

	if (a->fd < 0 || ((unsigned)a->fd < p->n_ents && p->ents[a->fd].kind != FD_NONE))
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", a->pid, a->fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return fail(c, "", "%s (%d) has no descriptor %d", p->comm, a->pid, a->fd);
	link[n] = 0;
	tame(link);
	return fail(c, "", "descriptor %d of %s (%d) is %s: not a socket that onramp looks after",
		    a->fd, p->comm, a->pid, link);
}

static int run(const struct cmd *c, int argc, char **argv)
{
	struct ask a = { .fd = -1 };
	struct proc_tab p;
	char again[64];
	int rc = parse(c, argc, argv, &a);

	if (rc)
		return rc;
	rc = proc_tab_read(a.pid, &p);
	if (rc == -ESRCH)
		return fail(c, "", "no process has the id %d", a.pid);
	snprintf(again, sizeof(again), "sudo onramp why %d", a.pid);
	if (rc == -EACCES || rc == -EPERM)
		return fail(c, again, "process %d belongs to somebody else", a.pid);
	if (rc == -EPROTO)
		return fail(c, "use the onramp that it was started with",
			    "process %d runs under another build of onramp", a.pid);
	if (rc == -ENOENT)
		return not_ours(c, &a, p.comm);
	if (rc)
		return fail(c, "", "process %d: %s", a.pid, strerror(-rc));
	rc = check_fd(c, &a, &p);
	if (rc == 0)
		rc = a.json ? print_json(&a, &p) : print_text(&a, &p);
	proc_tab_free(&p);
	return rc;
}

const struct cmd cmd_why = {
	.name = "why",
	.args = "[-a] [--json] PID [FD]",
	.summary = "Says which sockets of a process are accelerated, and why others are not.",
	.help =
	"  -a, --all    onramp's own descriptors, too\n"
	"      --json   for programs\n"
	"  -h, --help\n\n"
	"First line: the process as a whole. Then a line per descriptor: who serves it, since\n"
	"when, why, and what to do about it. Needs no agent; root for other users' processes.\n",
	.run = run,
};
