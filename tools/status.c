/* SPDX-License-Identifier: BSD-2-Clause */
/* `onramp status`: attached interfaces and the stacks that use them, as the agent tells. */
#include "tools/tool.h"

#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/ctl.h"

static const char *mode_text(const struct ctl_status *s)
{
	return s->mode == ATTACH_NATIVE ? "native" : s->mode == ATTACH_GENERIC ? "generic" : "unknown";
}

static struct json_object *num(uint64_t v)
{
	return json_object_new_uint64(v);
}

static void link_json(struct json_object *to, const struct ctl_status *s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "interface", json_object_new_string(s->name));
	json_object_object_add(o, "ifindex", num(s->ifindex));
	json_object_object_add(o, "mtu", num(s->mtu));
	json_object_object_add(o, "mode", json_object_new_string(mode_text(s)));
	json_object_object_add(o, "direct", json_object_new_boolean(s->flags & ATTACH_F_DIRECT));
	json_object_object_add(o, "vfs", num(s->n_vfs));
	json_object_object_add(o, "vfs_free", num(s->n_vfs_free));
	json_object_object_add(o, "leases", num(s->n_leases));
	json_object_object_add(o, "leases_shared", num(s->n_shared));
	json_object_object_add(o, "stacks", num(s->n_stacks));
	json_object_object_add(o, "rx_redirected", num(s->rx_redirected));
	json_object_object_add(o, "rx_passed", num(s->rx_passed));
	json_object_object_add(o, "rx_errors", num(s->rx_errors));
	json_object_object_add(o, "tx_allowed", num(s->tx_allowed));
	json_object_object_add(o, "tx_spoofed", num(s->tx_spoofed));
	json_object_object_add(o, "tx_malformed", num(s->tx_malformed));
	json_object_object_add(o, "note", json_object_new_string(s->note));
	json_object_array_add(to, o);
}

static void stack_json(struct json_object *to, const struct ctl_info *s)
{
	struct json_object *o = json_object_new_object();

	json_object_object_add(o, "stack", num(s->stack_id));
	json_object_object_add(o, "pid", num(s->pid));
	json_object_object_add(o, "comm", json_object_new_string(s->comm));
	json_object_object_add(o, "uid", num(s->uid));
	json_object_object_add(o, "surrogate_pid", num(s->surrogate_pid));
	json_object_object_add(o, "leases", num(s->n_leases));
	json_object_object_add(o, "interfaces", num(s->n_vis));
	json_object_object_add(o, "tx_spoofed", num(s->tx_spoofed));
	json_object_array_add(to, o);
}

static void link_text(struct table *t, const struct ctl_status *s)
{
	table_cell(t, "%s", s->name);
	table_cell(t, "%s%s", mode_text(s), s->flags & ATTACH_F_DIRECT ? ",direct" : "");
	table_cell(t, "%u", s->mtu);
	table_cell(t, "%u", s->n_stacks);
	table_cell(t, "%u", s->n_leases);
	table_cell(t, "%u/%u", s->n_vfs_free, s->n_vfs);
	table_cell(t, "%llu", (unsigned long long)s->rx_redirected);
	table_cell(t, "%llu", (unsigned long long)s->rx_passed);
	table_cell(t, "%llu", (unsigned long long)s->rx_errors);
	table_cell(t, "%llu", (unsigned long long)s->tx_allowed);
	table_cell(t, "%llu", (unsigned long long)s->tx_spoofed);
	table_cell(t, "%llu", (unsigned long long)s->tx_malformed);
}

static void stack_text(struct table *t, const struct ctl_info *s)
{
	table_cell(t, "%u", s->stack_id);
	table_cell(t, "%u", s->pid);
	table_cell(t, "%s", s->comm);
	table_cell(t, "%u", s->uid);
	table_cell(t, "%u", s->n_vis);
	table_cell(t, "%u", s->n_leases);
	if (s->surrogate_pid)
		table_cell(t, "%u", s->surrogate_pid);
	else
		table_cell(t, "-");
	table_cell(t, "%llu", (unsigned long long)s->tx_spoofed);
}

static int print_text(const struct cmd *c, int ctl)
{
	static const char *const link_names[] = {
		"INTERFACE", "MODE", "MTU", "STACKS", "LEASES", "VFS FREE", "RX OURS", "RX KERNEL",
		"RX ERRORS", "TX", "TX SPOOFED", "TX BAD",
	};
	static const char *const stack_names[] = {
		"STACK", "PID", "PROGRAM", "UID", "INTERFACES", "LEASES", "SURROGATE", "SPOOFED",
	};
	struct table links, stacks;
	struct ctl_status l;
	struct ctl_info s;
	uint32_t i;
	int seg, front, rc;

	table_init(&links, n_elems(link_names), 0xffcu);
	table_heading(&links, link_names);
	for (i = 0; (rc = agent_link(ctl, i, &l)) == 0 && i < N_LINKS; i++)
		link_text(&links, &l);
	if (rc && rc != -ENOENT)
		return fail(c, "", "the agent's answer was: %s", strerror(-rc));
	table_init(&stacks, n_elems(stack_names), 0xfbu);
	table_heading(&stacks, stack_names);
	for (i = 0; (rc = agent_stack(ctl, i, &s, &seg, &front)) == 0 && i < N_STACKS; i++) {
		close_fd(&seg);
		close_fd(&front);
		stack_text(&stacks, &s);
	}
	if (links.n_rows > 1)
		table_print(&links);
	else if (ctl_is_own(ctl))
		puts("your own agent: connections within this host only\n"
		     "  for other hosts: sudo onramp attach INTERFACE, then start programs anew");
	else
		puts("no interface is attached: connections within this host only\n"
		     "  try: sudo onramp attach INTERFACE");
	for (i = 0; agent_link(ctl, i, &l) == 0 && i < N_LINKS; i++)
		if (l.note[0])
			printf("%s%s: %s%s\n", colour_on(DIM), l.name, l.note, colour_off(DIM));
	putchar('\n');
	if (stacks.n_rows > 1)
		table_print(&stacks);
	else
		puts("no program has a stack now");
	table_free(&links);
	table_free(&stacks);
	return EXIT_SUCCESS;
}

static int print_json(const struct cmd *c, int ctl)
{
	struct json_object *o = json_object_new_object();
	struct json_object *links = json_object_new_array(), *stacks = json_object_new_array();
	struct ctl_status l;
	struct ctl_info s;
	uint32_t i;
	int seg, front, rc;

	json_object_object_add(o, "agent", json_object_new_string(ctl_is_own(ctl) ? "own" : "system"));
	json_object_object_add(o, "links", links);
	json_object_object_add(o, "stacks", stacks);
	for (i = 0; (rc = agent_link(ctl, i, &l)) == 0 && i < N_LINKS; i++)
		link_json(links, &l);
	for (i = 0; rc == -ENOENT && (rc = agent_stack(ctl, i, &s, &seg, &front)) == 0 && i < N_STACKS; i++) {
		close_fd(&seg);
		close_fd(&front);
		stack_json(stacks, &s);
		rc = -ENOENT;
	}
	if (rc && rc != -ENOENT) {
		json_object_put(o);
		return fail(c, "", "the agent's answer was: %s", strerror(-rc));
	}
	return json_out(o);
}

static int run(const struct cmd *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	CLOSE_FD int ctl = -1;
	bool json = false;
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":jh", longs, NULL)) != -1) {
		if (o == 'h')
			return print_help(c);
		if (o != 'j')
			return bad_option(c, argv);
		json = true;
	}
	if (optind < argc)
		return misused(c, "'%s' is one word too many", argv[optind]);
	ctl = agent_connect();
	if (ctl < 0)
		return agent_absent(c, ctl);
	return json ? print_json(c, ctl) : print_text(c, ctl);
}

const struct cmd cmd_status = {
	.name = "status",
	.args = "[--json]",
	.summary = "Shows attached interfaces and the stacks that use them.",
	.help =
	"      --json   for programs\n"
	"  -h, --help\n\n"
	"RX OURS    frames that went to accelerated programs; RX KERNEL: to the kernel\n"
	"TX         frames of programs that passed the check of their addresses and ports\n"
	"TX SPOOFED frames dropped because they did not; TX BAD: frames that were no packets\n",
	.run = run,
};
