/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp`: one program, a subcommand per task. This file finds the subcommand.
 */
#include "tools/tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

static const struct cmd *const cmds[] = {
	&cmd_run, &cmd_attach, &cmd_detach, &cmd_status, &cmd_ss, &cmd_why, &cmd_ports, &cmd_apertures,
	&cmd_evq, &cmd_doctor, &cmd_providers, &cmd_install, &cmd_uninstall, &cmd_version,
};

/* must() fails here only by a bug of this program: it says where, and dies. */
void onramp_panic(const char *file, int line, const char *what)
{
	fprintf(stderr, "onramp: bug at %s:%d: %s\n", file, line, what);
	abort();
}

static void usage(FILE *f)
{
	size_t i;

	fputs("usage: onramp COMMAND [OPTIONS]\n\n"
	      "Runs unmodified programs on a TCP and UDP stack of their own.\n\n", f);
	for (i = 0; i < n_elems(cmds); i++)
		fprintf(f, "  %-9s  %s\n", cmds[i]->name, cmds[i]->summary);
	fputs("\n`onramp COMMAND --help` tells more; so does `man onramp`.\n", f);
}

int main(int argc, char **argv)
{
	size_t i;

	if (argc < 2) {
		usage(stderr);
		return EXIT_BAD_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
	    strcmp(argv[1], "help") == 0) {
		usage(stdout);
		return EXIT_SUCCESS;
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0)
		return cmd_version.run(&cmd_version, 1, argv + 1);
	if (strcmp(argv[1], "--trial") == 0)	/* what `onramp install` asks of itself */
		return install_trial();
	for (i = 0; i < n_elems(cmds); i++)
		if (strcmp(argv[1], cmds[i]->name) == 0)
			return cmds[i]->run(cmds[i], argc - 1, argv + 1);
	fprintf(stderr, "onramp: no command is called '%s'\n\n", argv[1]);
	usage(stderr);
	return EXIT_BAD_USAGE;
}
