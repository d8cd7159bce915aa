/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The catalogue of providers: who stands in front of sockets, in order (onramp-providers(5)).
 *
 *	# NAME		[FILE [OPTIONS]]
 *	scanner		/usr/local/lib/onramp/scanner.so  signature=X
 *	onramp
 *	kernel
 *
 * ~/.config/onramp/providers.conf, or else /etc/onramp/providers.conf. The library gets it in one line of the
 * environment, entries separated by '|'.
 */
#include "conf/conf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BLANK " \t\r\n"
#define NAME_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_"

struct joining {
	const char *only, *path;
	char *ret, *why;
	size_t bytes, why_bytes;
	unsigned line;
};

static int wrong(struct joining *j, const char *what, const char *word)
{
	snprintf(j->why, j->why_bytes, "%s line %u: %s '%.60s'", j->path, j->line, what, word);
	return -EBADMSG;
}

/* In a list of names, divided by commas. */
static bool is_in(const char *list, const char *name)
{
	size_t n = strlen(name), k;

	for (; *list; list += k + (list[k] == ',')) {
		k = strcspn(list, ",");
		if (k == n && memcmp(list, name, n) == 0)
			return true;
	}
	return false;
}

static int append(struct joining *j, const char *a, const char *b, const char *c)
{
	size_t at = strlen(j->ret);
	int n = snprintf(j->ret + at, j->bytes - at, "%s%s%s%s%s%s", at ? "|" : "", a, b[0] ? " " : "", b,
			 c[0] ? " " : "", c);

	return n >= 0 && (size_t)n < j->bytes - at ? 0 : wrong(j, "the catalogue is too long at", a);
}

static int join_line(struct joining *j, char *text)
{
	char *save = NULL, *name = strtok_r(text, BLANK, &save), *file, *options;
	bool built_in;

	if (!name || name[0] == '#' || name[0] == ';')
		return 0;
	built_in = strcmp(name, "onramp") == 0 || strcmp(name, "kernel") == 0;
	file = strtok_r(NULL, BLANK, &save);
	options = save ? save + strspn(save, BLANK) : (char[]){ "" };
	options[strcspn(options, "\r\n")] = 0;
	if (name[strspn(name, NAME_CHARS)])
		return wrong(j, "a name has letters, digits, - and _ only, unlike", name);
	if (built_in && file)
		return wrong(j, "no file belongs to", name);
	if (!built_in && (!file || file[0] != '/'))
		return wrong(j, "the whole path of a file belongs to", name);
	if (strchr(options, '|') || (file && strchr(file, '|')))
		return wrong(j, "there must be no | in", options);
	if (!built_in && strcmp(j->only, "all") != 0 && !is_in(j->only, name))
		return 0;
	return append(j, name, file ? file : "", options);
}

int conf_providers(const char *only, char *ret, size_t bytes, char *why, size_t why_bytes)
{
	struct joining j = { .only = only, .ret = ret, .bytes = bytes, .why = why, .why_bytes = why_bytes };
	char path[CONF_ORIGIN_MAX], line[1024];
	FILE *f = NULL;
	unsigned place;
	int rc = 0;

	ret[0] = 0;
	for (place = 0; place < 2 && !f; place++) {
		if (!conf_dir(place, path, sizeof(path) - 32))
			continue;
		strncat(path, "/providers.conf", 31);
		f = fopen(path, "re");
	}
	if (!f || strcmp(only, "none") == 0) {
		if (f)
			fclose(f);
		return 0;
	}
	j.path = path;
	while (rc == 0 && fgets(line, sizeof(line), f)) {
		j.line++;
		rc = strlen(line) == sizeof(line) - 1 ? wrong(&j, "too long:", line) : join_line(&j, line);
	}
	fclose(f);
	if (rc)
		ret[0] = 0;
	return rc;
}
