/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The catalogue of programs as people write it, and as the chooser reads it.
 *
 *	# EXECUTABLE		[profile=NAME] [user=NAME[,NAME...]]
 *	/usr/sbin/nginx		profile=latency user=www-data,root
 *
 * Names become what they stand for here, once, by root: users their numbers, profiles their values, links the
 * file that they lead to. What the chooser reads in every process needs no more than to be compared.
 */
#include "tools/chosen.h"

#include "tools/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "chooser/chooser.h"
#include "conf/conf.h"

#define MAX_UIDS 32
#define BLANK	 " \t\r\n"

struct entry {
	char *path;
	const char *profile;
	uid_t uids[MAX_UIDS];
	unsigned n_uids;
};

struct settling {
	FILE *out, *notes;
	char *why;
	size_t why_bytes;
	unsigned line, n;
	char catalogue[CONF_CATALOGUE_MAX];	/* of the entry's profile */
};

printf_like(2, 3) static int wrong(struct settling *s, const char *fmt, ...)
{
	int n = snprintf(s->why, s->why_bytes, "%s line %u: ", CHOSEN_CONF, s->line);
	va_list ap;

	va_start(ap, fmt);
	if (n > 0 && (size_t)n < s->why_bytes)
		vsnprintf(s->why + n, s->why_bytes - (size_t)n, fmt, ap);
	va_end(ap);
	return -EBADMSG;
}

static int parse_users(struct settling *s, char *names, struct entry *e)
{
	char *name, *save = NULL, *end;
	const struct passwd *pw;
	unsigned long v;

	for (name = strtok_r(names, ",", &save); name; name = strtok_r(NULL, ",", &save)) {
		if (e->n_uids == MAX_UIDS)
			return wrong(s, "at most %d users", MAX_UIDS);
		pw = getpwnam(name);
		errno = 0;
		v = strtoul(name, &end, 10);
		if (!pw && (*end || errno || v >= UINT_MAX || name[0] == '-'))
			return wrong(s, "there is no user '%.40s'", name);
		e->uids[e->n_uids++] = pw ? pw->pw_uid : (uid_t)v;
	}
	return e->n_uids ? 0 : wrong(s, "user= names nobody");
}

static int parse_line(struct settling *s, char *text, struct entry *e)
{
	char *word, *save = NULL;
	int rc = 0;

	*e = (struct entry){ .path = strtok_r(text, BLANK, &save), .profile = "default" };
	if (!e->path || e->path[0] == '#' || e->path[0] == ';') {
		e->path = NULL;
		return 0;
	}
	if (e->path[0] != '/' || strlen(e->path) >= CHOOSER_PATH)
		return wrong(s, "a program is named by its whole path, not '%.80s'", e->path);
	while (rc == 0 && (word = strtok_r(NULL, BLANK, &save))) {
		if (strncmp(word, "profile=", 8) == 0)
			e->profile = word + 8;
		else if (strncmp(word, "user=", 5) == 0)
			rc = parse_users(s, word + 5, e);
		else
			rc = wrong(s, "only profile= and user= may follow a program, not '%.40s'", word);
	}
	return rc;
}

static void put_entry(struct settling *s, const char *path, const struct entry *e, const struct profile *p)
{
	unsigned i;

	fprintf(s->out, "program %s\n", path);
	for (i = 0; i < e->n_uids; i++)
		fprintf(s->out, "uid %u\n", e->uids[i]);
	fprintf(s->out, "set ONRAMP_PROFILE=%s\nset ONRAMP_SPIN_US=%u\n", p->name, p->spin_us);
	fprintf(s->out, "set ONRAMP_ECN=%u\n", p->ecn);
	if (p->kernel[0])
		fprintf(s->out, "set ONRAMP_KERNEL=%s\n", p->kernel);
	if (p->only[0])
		fprintf(s->out, "set ONRAMP_ONLY=%s\n", p->only);
	if (s->catalogue[0])
		fprintf(s->out, "set ONRAMP_PROVIDERS=%s\n", s->catalogue);
	if (p->congestion[0])
		fprintf(s->out, "set ONRAMP_CONGESTION=%s\n", p->congestion);
	if (p->strict)
		fputs("set ONRAMP_STRICT=1\n", s->out);
	s->n++;
}

/* As it is named, which is how a script is known, and the file that the name leads to. */
static int settle_entry(struct settling *s, const struct entry *e)
{
	char profile_why[CONF_ORIGIN_MAX + 256], real[PATH_MAX];
	const char *obstacle, *remedy;
	CLOSE_FD int fd = open(e->path, O_RDONLY | O_CLOEXEC);
	struct profile p;

	if (conf_profile(e->profile, &p, profile_why, sizeof(profile_why)))
		return wrong(s, "%s", profile_why);
	if (conf_providers(p.providers, s->catalogue, sizeof(s->catalogue), profile_why, sizeof(profile_why)))
		return wrong(s, "%s", profile_why);
	if (providers_check(&cmd_install, s->catalogue, sizeof(s->catalogue)) && p.strict)
		return wrong(s, "profile %s is strict, and not all of its providers can be used", p.name);
	obstacle = fd >= 0 ? preload_obstacle(fd, &remedy) : NULL;
	if (fd < 0 && errno == ENOENT)
		fprintf(s->notes, "onramp install: %s does not exist (yet)\n", e->path);
	if (obstacle)
		fprintf(s->notes, "onramp install: %s stays on the kernel: %s\n", e->path, obstacle);
	put_entry(s, e->path, e, &p);
	if (realpath(e->path, real) && strcmp(real, e->path) != 0)
		put_entry(s, real, e, &p);
	return 0;
}

static int settle(struct settling *s, FILE *f)
{
	FREE char *text = NULL;
	size_t room = 0;
	struct entry e;
	int rc = 0;

	while (rc == 0 && getline(&text, &room, f) > 0) {
		s->line++;
		rc = parse_line(s, text, &e);
		if (rc == 0 && e.path)
			rc = settle_entry(s, &e);
	}
	return rc;
}

int chosen_settle(const char *library, char **ret, unsigned *n_programs, char *why, size_t why_bytes, FILE *notes)
{
	struct settling s = { .notes = notes, .why = why, .why_bytes = why_bytes, .catalogue = "" };
	FILE *f = fopen(CHOSEN_CONF, "re");
	size_t n = 0;
	int rc;

	*ret = NULL;
	if (!f) {
		rc = -errno;
		snprintf(why, why_bytes, "%s: %s", CHOSEN_CONF, strerror(-rc));
		return rc;
	}
	s.out = open_memstream(ret, &n);
	if (!s.out) {
		fclose(f);
		snprintf(why, why_bytes, "no memory");
		return -ENOMEM;
	}
	fprintf(s.out, "%s\nlibrary %s\n", CHOOSER_MAGIC, library);
	rc = settle(&s, f);
	fputs("end\n", s.out);
	fclose(f);
	if (fclose(s.out) || n > CHOOSER_BYTES) {
		snprintf(why, why_bytes, "%s: too many programs", CHOSEN_CONF);
		rc = rc ? rc : -EFBIG;
	}
	if (rc) {
		free(*ret);
		*ret = NULL;
	}
	*n_programs = s.n;
	return rc;
}
