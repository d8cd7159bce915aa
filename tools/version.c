/* SPDX-License-Identifier: BSD-2-Clause */
/* `onramp version`. */
#include "tools/tool.h"

#include <getopt.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/version.h"
#include "layout_hash.h"

static int run(const struct cmd *c, int argc, char **argv)
{
	bool json = false;
	struct json_object *o;
	char hash[24];
	int i;

	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
			return print_help(c);
		if (strcmp(argv[i], "--json") != 0)
			return misused(c, "'%s' is not understood", argv[i]);
		json = true;
	}
	snprintf(hash, sizeof(hash), "%016llx", (unsigned long long)ONRAMP_LAYOUT_HASH);
	if (!json) {
		printf("onramp %s, layout %s, control protocol %d\n", ONRAMP_VERSION, hash, CTL_VERSION);
		return EXIT_SUCCESS;
	}
	o = json_object_new_object();
	json_object_object_add(o, "version", json_object_new_string(ONRAMP_VERSION));
	json_object_object_add(o, "layout", json_object_new_string(hash));
	json_object_object_add(o, "control_protocol", json_object_new_int(CTL_VERSION));
	return json_out(o);
}

const struct cmd cmd_version = {
	.name = "version",
	.args = "[--json]",
	.summary = "Prints version and layout; programs and agent must have the same layout.",
	.help = "      --json   for programs\n  -h, --help\n",
	.run = run,
};
