/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp providers`: the catalogue, and whether each provider of it can be used here. A provider is code, so it is
 * loaded by a child, which may die of it.
 */
#include "tools/tool.h"

#include <dlfcn.h>
#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/must.h"
#include "conf/conf.h"
#include "onramp/provider.h"

#define LOAD_MS 5000

/* In the child: one line, "+ what it is" or "- what is wrong with it". */
static void tell(const char *file, int out)
{
	void *so = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const struct onramp_provider *p = so ? dlsym(so, "onramp_provider") : NULL;

	if (!so)
		dprintf(out, "-it cannot be loaded: %s\n", dlerror());
	else if (!p)
		dprintf(out, "-it is no provider: it has no onramp_provider\n");
	else if (p->abi != ONRAMP_PROVIDER_ABI)
		dprintf(out, "-it is built for provider ABI %u, and this onramp has %u\n", p->abi, ONRAMP_PROVIDER_ABI);
	else if (p->kind != ONRAMP_FILTER && p->kind != ONRAMP_BASE)
		dprintf(out, "-it is neither filter nor base\n");
	else
		dprintf(out, "+%s%s%s\n", p->kind == ONRAMP_BASE ? "base" : "filter", p->about ? ": " : "",
			p->about ? p->about : "");
}

static bool listen_to(int from, pid_t pid, char *text, size_t bytes)
{
	size_t n = 0;
	ssize_t got;
	int status;

	while (n + 1 < bytes && poll(&(struct pollfd){ .fd = from, .events = POLLIN }, 1, LOAD_MS) > 0 &&
	       (got = read(from, text + n, bytes - 1 - n)) > 0)
		n += (size_t)got;
	text[n] = 0;
	text[strcspn(text, "\n")] = 0;
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return text[0] == '+' || text[0] == '-';
}

bool provider_try(const char *file, char *text, size_t bytes)
{
	char line[512];
	int fds[2];
	pid_t pid;

	if (pipe2(fds, 0)) {
		snprintf(text, bytes, "%s", strerror(errno));
		return false;
	}
	pid = fork();
	if (pid == 0) {
		close(fds[0]);
		tell(file, fds[1]);
		_exit(0);
	}
	close(fds[1]);
	if (pid < 0 || !listen_to(fds[0], pid, line, sizeof(line)))
		snprintf(line, sizeof(line), "-it ends the program that loads it");
	close(fds[0]);
	tame(line);
	snprintf(text, bytes, "%s", line + 1);
	return line[0] == '+';
}

typedef void (*each_fn)(void *arg, const char *name, const char *file, const char *options);

/* Each entry of a catalogue of conf_providers(), which is cut into pieces. */
static void each_entry(char *catalogue, each_fn each, void *arg)
{
	char *at = catalogue, *bar, *save, *name, *file;

	for (; at && *at; at = bar) {
		bar = strchr(at, '|');
		if (bar)
			*bar++ = 0;
		save = NULL;
		name = strtok_r(at, " ", &save);
		file = strtok_r(NULL, " ", &save);
		each(arg, name, file, save ? save : "");
	}
}

struct checking { const struct cmd *c; unsigned n_bad; FILE *out; };

static void check_one(void *arg, const char *name, const char *file, const char *options)
{
	struct checking *k = arg;
	char text[512];
	bool ok = !file || provider_try(file, text, sizeof(text));

	fprintf(k->out, "%s%s", ftell(k->out) ? "|" : "", name);
	if (!ok) {
		k->n_bad++;
		text[strcspn(text, "|")] = 0;
		fprintf(k->out, " ! %s", text);
		fail(k->c, "onramp providers", "provider '%s' is left out: %s", name, text);
	} else if (file) {
		fprintf(k->out, " %s%s%s", file, options[0] ? " " : "", options);
	}
}

unsigned providers_check(const struct cmd *c, char *catalogue, size_t bytes)
{
	FREE char *text = NULL;
	size_t n = 0;
	struct checking k = { .c = c, .out = open_memstream(&text, &n) };

	must(k.out);
	each_entry(catalogue, check_one, &k);
	must(fclose(k.out) == 0);
	snprintf(catalogue, bytes, "%s", text);
	return k.n_bad;
}

/* ---- the command -------------------------------------------------------------------------------------------- */

struct showing { struct table table; struct json_object *array; bool all_well; };

static void show_one(void *arg, const char *name, const char *file, unused_arg const char *options)
{
	struct showing *s = arg;
	char text[512];
	bool ok = true;
	struct json_object *o = json_object_new_object();

	snprintf(text, sizeof(text), "%s", strcmp(name, "kernel") == 0 ? "all else" : "TCP and UDP");
	if (file)
		ok = provider_try(file, text, sizeof(text));
	s->all_well = s->all_well && ok;
	table_cell(&s->table, "%s", name);
	table_cell(&s->table, "%s", ok ? "yes" : "left out");
	table_cell(&s->table, "%s", text);
	table_cell(&s->table, "%s", file ? file : "-");
	json_object_object_add(o, "name", json_object_new_string(name));
	json_object_object_add(o, "usable", json_object_new_boolean(ok));
	json_object_object_add(o, "text", json_object_new_string(text));
	json_object_object_add(o, "file", json_object_new_string(file ? file : ""));
	json_object_array_add(s->array, o);
}

static int show(char *catalogue, bool json)
{
	static const char *const names[] = { "PROVIDER", "USED", "WHAT", "FILE" };
	struct showing s = { .array = json_object_new_array(), .all_well = true };

	table_init(&s.table, n_elems(names), 0);
	table_heading(&s.table, names);
	each_entry(catalogue, show_one, &s);
	if (json) {
		json_out(s.array);
	} else {
		table_print(&s.table);
		json_object_put(s.array);
	}
	table_free(&s.table);
	return s.all_well ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(const struct cmd *c, int argc, char **argv)
{
	static const struct option longs[] = {
		{ "json", no_argument, NULL, 'j' }, { "help", no_argument, NULL, 'h' }, { 0 },
	};
	char catalogue[CONF_CATALOGUE_MAX], why[1024];
	bool json = false;
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, "+:h", longs, NULL)) != -1) {
		if (o == 'h')
			return print_help(c);
		if (o != 'j')
			return bad_option(c, argv);
		json = true;
	}
	if (optind < argc)
		return misused(c, "'%s' is not understood", argv[optind]);
	if (conf_providers("all", catalogue, sizeof(catalogue), why, sizeof(why)))
		return fail(c, "man onramp-providers", "%s", why);
	if (!catalogue[0])
		snprintf(catalogue, sizeof(catalogue), "onramp|kernel");
	return show(catalogue, json);
}

const struct cmd cmd_providers = {
	.name = "providers",
	.args = "[--json]",
	.summary = "Shows who stands in front of sockets, in order, and whether it can be used.",
	.help =
	"      --json   for programs\n"
	"  -h, --help\n\n"
	"Exits with 1 if a provider of the catalogue cannot be used. See onramp-providers(5).\n",
	.run = run,
};
