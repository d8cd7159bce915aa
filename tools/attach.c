/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp attach` and `onramp detach`. The first attach starts the agent, the last detach
 * ends it: nobody has to know that there is one.
 */
#include "tools/tool.h"

#include <errno.h>
#include <getopt.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "exec/ctl.h"

static int check_root(const struct cmd *c, int argc, char **argv)
{
	char again[256];
	int i, n;

	if (geteuid() == 0)
		return 0;
	n = snprintf(again, sizeof(again), "sudo onramp %s", c->name);
	for (i = 1; i < argc && n < (int)sizeof(again); i++)
		n += snprintf(again + n, sizeof(again) - (size_t)n, " %s", argv[i]);
	return fail(c, again, "only root may change what happens to an interface");
}

static int check_name(const struct cmd *c, const char *name)
{
	if (strlen(name) >= IFNAMSIZ || if_nametoindex(name) == 0)
		return fail(c, "ip -br link", "no interface is called '%s' in this network namespace",
			    name);
	return 0;
}

/* The sentence in the reply, when there is one that is not our own request's echo. */
static const char *sentence(struct ctl_call *call, const char *name)
{
	char *text = call->msg.u.text;

	text[sizeof(call->msg.u.text) - 1] = 0;
	tame(text);
	return text[0] && strcmp(text, name) != 0 ? text : NULL;
}

static int explain(const struct cmd *c, const char *name, struct ctl_call *call, int rc)
{
	const char *text = sentence(call, name);

	if (text && strncmp(text, name, strlen(name)) == 0)
		return fail(c, "onramp doctor", "%s", text);
	if (text)
		return fail(c, "onramp doctor", "%s: %s", name, text);
	switch (rc) {
	case -ENODEV:
	case -ENOENT:
		return fail(c, "onramp status", "%s is not attached", name);
	case -EEXIST:
	case -EALREADY:
		return fail(c, "onramp status", "%s is attached already", name);
	case -EBUSY:
		return fail(c, "ip -details link show", "%s carries an XDP program of somebody else", name);
	case -EOPNOTSUPP:
		return fail(c, "onramp attach --generic", "the driver of %s cannot do that", name);
	case -EPERM:
		return fail(c, "", "the agent does not take orders from this user");
	case -ENOSPC:
		return fail(c, "onramp detach one", "no more than %d interfaces can be attached", N_VIS);
	case -ETIMEDOUT:
		return fail(c, "onramp status", "%s: the agent did not answer in time", name);
	default:
		return fail(c, "onramp doctor", "%s: %s", name, strerror(-rc));
	}
}

struct attach_wish { struct ctl_link link; };

static int parse_attach(const struct cmd *c, int argc, char **argv, struct attach_wish *w)
{
	static const struct option longs[] = {
		{ "native", no_argument, NULL, 'n' },
		{ "generic", no_argument, NULL, 'g' },
		{ "direct", no_argument, NULL, 'd' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	uint32_t mode;
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":h", longs, NULL)) != -1) {
		mode = o == 'n' ? ATTACH_NATIVE : ATTACH_GENERIC;
		if (o == 'h')
			exit(print_help(c));
		if (o == 'd')
			w->link.flags |= ATTACH_F_DIRECT;
		else if (o != 'n' && o != 'g')
			return bad_option(c, argv);
		else if (w->link.mode != ATTACH_AUTO && w->link.mode != mode)
			return misused(c, "--native and --generic exclude each other");
		else
			w->link.mode = mode;
	}
	if (argc - optind != 1)
		return misused(c, "one interface is wanted");
	return 0;
}

static int attach(const struct cmd *c, int argc, char **argv)
{
	struct attach_wish w = { 0 };
	CLOSE_FD int ctl = -1;
	const char *name, *text;
	struct ctl_status st;
	struct ctl_call call;
	bool started = false;
	int rc = parse_attach(c, argc, argv, &w);

	if (rc)
		return rc;
	name = argv[optind];
	if (check_root(c, argc, argv) || check_name(c, name))
		return EXIT_FAILURE;
	ctl = agent_connect_system();
	if (ctl == -ECONNREFUSED) {
		started = true;
		ctl = agent_start(c);
		if (ctl < 0)
			return EXIT_FAILURE;
	} else if (ctl < 0) {
		return agent_absent(c, ctl);
	}
	ctl_prepare(&call, CTL_ATTACH);
	call.msg.u.link = w.link;
	memcpy(call.msg.u.link.name, name, strlen(name));
	call.timeout_ms = LINK_TIMEOUT_MS;
	rc = ctl_call(ctl, &call);
	if (rc == 0) {
		text = sentence(&call, name);
		printf("%s\n", text ? text : "attached");
		return EXIT_SUCCESS;
	}
	explain(c, name, &call, rc);
	/* An agent that we started for nothing does not stay. */
	if (started && agent_link(ctl, 0, &st) == -ENOENT)
		(void)agent_stop(ctl);
	return EXIT_FAILURE;
}

/* Says which, and ends the agent if that was the last. */
static int finish(const struct cmd *c, int ctl, const char *what)
{
	struct ctl_status st;
	int rc = what ? agent_link(ctl, 0, &st) : -ENOENT;

	if (rc == 0) {
		printf("%s detached\n", what);
		return EXIT_SUCCESS;
	}
	if (rc == -ENOENT)
		rc = agent_stop(ctl);
	if (rc && rc != -EPIPE && rc != -ECONNRESET)
		return fail(c, "onramp status", "the agent did not end: %s", strerror(-rc));
	printf("%s detached; it was the last, so the agent has ended\n", what ? what : "all interfaces");
	return EXIT_SUCCESS;
}

static int detach(const struct cmd *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	CLOSE_FD int ctl = -1;
	struct ctl_call call;
	const char *name;
	bool all = false;
	int o, rc;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":ah", longs, NULL)) != -1) {
		if (o == 'h')
			return print_help(c);
		if (o != 'a')
			return bad_option(c, argv);
		all = true;
	}
	if (argc - optind != (all ? 0 : 1))
		return misused(c, "one interface, or --all, is wanted");
	if (check_root(c, argc, argv))
		return EXIT_FAILURE;
	ctl = agent_connect_system();
	if (ctl == -ECONNREFUSED && all) {
		printf("nothing is attached\n");
		return EXIT_SUCCESS;
	}
	if (ctl == -EPROTO && all)	/* of another build, but it knows how to end */
		rc = ctl_connect_system(&ctl);
	if (ctl < 0)
		return agent_absent(c, ctl);
	if (all)
		return finish(c, ctl, NULL);
	name = argv[optind];
	if (strlen(name) >= sizeof(call.msg.u.link.name))
		return check_name(c, name);
	ctl_prepare(&call, CTL_DETACH);
	memcpy(call.msg.u.link.name, name, strlen(name));
	call.timeout_ms = LINK_TIMEOUT_MS;
	rc = ctl_call(ctl, &call);
	return rc ? explain(c, name, &call, rc) : finish(c, ctl, name);
}

const struct cmd cmd_attach = {
	.name = "attach",
	.args = "[--native | --generic] [--direct] INTERFACE",
	.summary = "Lets programs use an interface; starts the agent if none runs. Root only.",
	.help =
	"      --native   XDP in the driver; by default the better of the two is chosen\n"
	"      --generic  XDP in the kernel's stack; any driver; on veth the faster\n"
	"      --direct   programs get queues of the interface itself: faster, but the frames\n"
	"                 they send are not checked, so for trusted programs only\n"
	"  -h, --help\n\n"
	"What is not accelerated goes on using the interface as before: ping, ssh, anything.\n"
	"`onramp detach INTERFACE` undoes it.\n",
	.run = attach,
};

const struct cmd cmd_detach = {
	.name = "detach",
	.args = "INTERFACE | --all",
	.summary = "Gives an interface back; after the last one the agent ends. Root only.",
	.help =
	"  -a, --all   all interfaces\n"
	"  -h, --help\n\n"
	"Connections of accelerated programs over that interface end.\n",
	.run = detach,
};
