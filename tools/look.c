/* SPDX-License-Identifier: BSD-2-Clause */
/* What `onramp ports`, `apertures` and `evq` are asked: a command line of [OPTIONS] [WORD] [PID]. */
#include "tools/stacks.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_DEFAULT 100	/* records */

static bool parse_number(const char *s, int *ret)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(s, &end, 10);
	if (errno || end == s || *end || v <= 0 || v > INT_MAX)
		return false;
	*ret = (int)v;
	return true;
}

/* 0; or an exit status, and then it has been said why. */
static int parse_words(const struct cmd *c, int argc, char **argv, const char *const *words, struct look *ret)
{
	int pid;

	for (size_t i = 0; words && words[i] && optind < argc; i++)
		if (strcmp(argv[optind], words[i]) == 0) {
			ret->word = words[i];
			optind++;
			break;
		}
	if (optind < argc) {
		if (!parse_number(argv[optind], &pid))
			return misused(c, "'%s' is not a process id", argv[optind]);
		ret->pid = pid;
		optind++;
	}
	return optind < argc ? misused(c, "'%s' is one word too many", argv[optind]) : 0;
}

static int parse_option(const struct cmd *c, int o, char **argv, struct look *ret)
{
	switch (o) {
	case 't': ret->tcp = true; break;
	case 'u': ret->udp = true; break;
	case '4': ret->v4 = true; break;
	case '6': ret->v6 = true; break;
	case 'n': ret->numeric = true; break;
	case 'a': ret->all = true; break;
	case 'b': ret->blocks = true; break;
	case 'H': ret->no_heading = true; break;
	case 'j': ret->json = true; break;
	case 'T':
		ret->trace = TRACE_DEFAULT;
		if (optarg && !parse_number(optarg, &ret->trace))
			return misused(c, "'%s' is not a number of records", optarg);
		break;
	default: return bad_option(c, argv);
	}
	return 0;
}

bool look_parse(const struct cmd *c, int argc, char **argv, const char *letters, const char *const *words,
		struct look *ret, int *ret_status)
{
	static const struct option longs[] = {
		{ "tcp", no_argument, NULL, 't' }, { "udp", no_argument, NULL, 'u' },
		{ "ipv4", no_argument, NULL, '4' }, { "ipv6", no_argument, NULL, '6' },
		{ "numeric", no_argument, NULL, 'n' }, { "all", no_argument, NULL, 'a' },
		{ "blocks", no_argument, NULL, 'b' }, { "no-header", no_argument, NULL, 'H' },
		{ "trace", optional_argument, NULL, 'T' }, { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	int o;

	*ret = (struct look){ 0 };
	opterr = 0;
	while ((o = getopt_long(argc, argv, ":tu46nabHjh", longs, NULL)) != -1) {
		if (o == 'h') {
			*ret_status = print_help(c);
			return true;
		}
		if (o != 'j' && o != '?' && o != ':' && !strchr(letters, o)) {
			*ret_status = misused(c, "option '%s' is another command's", argv[optind - 1]);
			return true;
		}
		*ret_status = parse_option(c, o, argv, ret);
		if (*ret_status)
			return true;
	}
	*ret_status = parse_words(c, argc, argv, words, ret);
	return *ret_status != 0;
}
