/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the command prints: errors that name the thing and the way out, aligned tables,
 * colours on a terminal only, JSON.
 */
#include "tools/tool.h"

#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "conf/conf.h"

void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

void free_mem(void *pp)
{
	free(*(void **)pp);
}

int fail(const struct cmd *c, const char *way_out, const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fprintf(stderr, "onramp %s: ", c->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	if (way_out && way_out[0])
		fprintf(stderr, "  try: %s\n", way_out);
	return EXIT_FAILURE;
}

int misused(const struct cmd *c, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "onramp %s: ", c->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nusage: onramp %s%s%s\n  try: onramp %s --help\n", c->name,
		c->args[0] ? " " : "", c->args, c->name);
	return EXIT_BAD_USAGE;
}

int print_help(const struct cmd *c)
{
	printf("usage: onramp %s%s%s\n\n%s\n\n%s", c->name, c->args[0] ? " " : "", c->args,
	       c->summary, c->help);
	return EXIT_SUCCESS;
}

int bad_option(const struct cmd *c, char **argv)
{
	const char *word = argv[optind - 1];

	/* optopt is 0 for an unknown long option; a known one lacks or has too many arguments. */
	if (strncmp(word, "--", 2) == 0)
		return misused(c, "option '%s' is unknown or its argument is missing", word);
	return misused(c, "option '-%c' is unknown or its argument is missing", optopt);
}

const char *colour_on(enum colour c)
{
	static const char *const seq[] = {
		[PLAIN] = "", [GOOD] = "\033[32m", [WARN] = "\033[33m", [DIM] = "\033[2m",
		[BOLD] = "\033[1m",
	};
	static int wanted = -1;
	const char *term;

	if (wanted < 0) {
		term = conf_env("TERM");
		wanted = isatty(STDOUT_FILENO) && !conf_env("NO_COLOR") && term &&
			 strcmp(term, "dumb") != 0;
	}
	return wanted ? seq[c] : "";
}

const char *colour_off(enum colour c)
{
	return c != PLAIN && colour_on(c)[0] ? "\033[0m" : "";
}

void table_init(struct table *t, unsigned n_cols, unsigned right)
{
	must(n_cols > 0 && n_cols <= MAX_COLS);
	*t = (struct table){ .n_cols = n_cols, .right = right };
}

static char **last_row(struct table *t, unsigned *ret_col)
{
	unsigned col = t->n_cols;

	if (t->n_rows)
		for (col = 0; col < t->n_cols && t->rows[t->n_rows - 1][col];)
			col++;
	if (col == t->n_cols) {
		if (t->n_rows == t->room) {
			t->room = t->room ? t->room * 2 : 16;
			t->rows = realloc(t->rows, t->room * sizeof(*t->rows));
			must(t->rows);
		}
		memset(t->rows[t->n_rows++], 0, sizeof(*t->rows));
		col = 0;
	}
	*ret_col = col;
	return t->rows[t->n_rows - 1];
}

void table_cell(struct table *t, const char *fmt, ...)
{
	unsigned col;
	char **row = last_row(t, &col);
	va_list ap;

	va_start(ap, fmt);
	must(vasprintf(&row[col], fmt, ap) >= 0);
	va_end(ap);
	tame(row[col]);
}

void table_heading(struct table *t, const char *const *names)
{
	unsigned i;

	for (i = 0; i < t->n_cols; i++)
		table_cell(t, "%s", names[i]);
}

void table_print(const struct table *t)
{
	int width[MAX_COLS] = { 0 };
	unsigned r, c;

	for (r = 0; r < t->n_rows; r++)
		for (c = 0; c < t->n_cols && t->rows[r][c]; c++)
			if ((int)strlen(t->rows[r][c]) > width[c])
				width[c] = (int)strlen(t->rows[r][c]);
	for (r = 0; r < t->n_rows; r++) {
		for (c = 0; c < t->n_cols && t->rows[r][c]; c++) {
			if (t->right & (1u << c))
				printf("%*s", width[c], t->rows[r][c]);
			else if (c + 1 < t->n_cols)
				printf("%-*s", width[c], t->rows[r][c]);
			else
				printf("%s", t->rows[r][c]);
			if (c + 1 < t->n_cols)
				fputs("  ", stdout);
		}
		putchar('\n');
	}
}

void table_free(struct table *t)
{
	unsigned r, c;

	for (r = 0; r < t->n_rows; r++)
		for (c = 0; c < t->n_cols; c++)
			free(t->rows[r][c]);
	free(t->rows);
	*t = (struct table){ 0 };
}

void tame(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < 0x20 || (unsigned char)*s >= 0x7f)
			*s = '?';
}

void age_text(uint64_t ms, char *ret, size_t bytes)
{
	unsigned long long s = ms / 1000;

	if (s == 0)
		snprintf(ret, bytes, "%llums", (unsigned long long)ms);
	else if (s < 60)
		snprintf(ret, bytes, "%llus", s);
	else if (s < 3600)
		snprintf(ret, bytes, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(ret, bytes, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		snprintf(ret, bytes, "%llud%02lluh", s / 86400, s / 3600 % 24);
}

int json_out(struct json_object *o)
{
	const char *text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PRETTY |
							  JSON_C_TO_STRING_SPACED |
							  JSON_C_TO_STRING_NOSLASHESCAPE);
	bool ok = text && puts(text) >= 0 && fflush(stdout) == 0;

	json_object_put(o);
	return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}
