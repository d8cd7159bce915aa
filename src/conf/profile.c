/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Profiles as files. The format is INI, read by inih; there are eight keys, all optional:
 *
 *	base = latency		start from that profile instead of from `default`
 *	spin_us = 50		0 to 4000000
 *	strict = yes		yes or no
 *	congestion = bbr	cubic, reno, bbr or dctcp
 *	ecn = 1			0, 1 or 2, as Linux's sysctl tcp_ecn
 *	kernel = :22, 10.0.0.0/8	what stays in the kernel (rules.c)
 *	only = 192.0.2.0/24:80-90	everything else does
 *	providers = none	all, none, or names of the catalogue (providers.c), divided by commas
 *
 * Invariants
 *  P1  Whatever a file holds, the outcome is a whole profile or a sentence that says what is
 *      wrong; never half a profile.
 *  P2  A name cannot leave the profile folders: letters, digits, '-' and '_' only.
 *  P3  A profile that names itself as its base means the one it hides, so that a user's
 *      `latency` may refine the machine's, and that the built-in one. Other circles end
 *      after CONF_BASE_DEPTH steps.
 */
#include "conf/conf.h"

#include <dirent.h>
#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX	 ".conf"
#define N_PLACES 3	/* the user's folder, the machine's, built in */

static const struct profile built_in[] = {
	{ "default", 50, false, "", "all", "", "", 2, "built in" },	/* twice what waking a sleeping core costs */
	{ "latency", 100000, false, "", "all", "", "", 2, "built in" },	/* a request every 100 ms never sleeps */
};

struct reading {
	struct profile *p;
	const char *path;
	FILE *f;
	int  line;		/* being read */
	int  bad_line;		/* the first that a handler refused, and what is wrong with it */
	char what[160];
	char base[CONF_NAME_MAX];
};

const char *conf_env(const char *name)
{
	return secure_getenv(name);
}

printf_like(3, 4) static void say(char *why, size_t n, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(why, n, fmt, ap);
	va_end(ap);
}

static bool name_ok(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n < CONF_NAME_MAX &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") == n;
}

bool conf_dir(unsigned place, char *ret, size_t bytes)
{
	const char *base;

	if (place == 1) {
		snprintf(ret, bytes, "/etc/onramp");
		return true;
	}
	base = conf_env("XDG_CONFIG_HOME");
	if (base && base[0] == '/')
		return (size_t)snprintf(ret, bytes, "%s/onramp", base) < bytes;
	base = conf_env("HOME");
	return base && base[0] == '/' && (size_t)snprintf(ret, bytes, "%s/.config/onramp", base) < bytes;
}

/* The folder of that place, or false: there is none, as for a user without a home. */
static bool place_dir(unsigned place, char *ret, size_t bytes)
{
	static const char folder[] = "/profiles";

	if (!conf_dir(place, ret, bytes - sizeof(folder)))
		return false;
	strcat(ret, folder);	/* allow: room was left for it */
	return true;
}

static const struct profile *find_built_in(const char *name)
{
	size_t i;

	for (i = 0; i < n_elems(built_in); i++)
		if (strcmp(built_in[i].name, name) == 0)
			return &built_in[i];
	return NULL;
}

static bool parse_spin(const char *value, uint32_t *ret)
{
	unsigned long v;
	char *end;

	if (value[0] < '0' || value[0] > '9')
		return false;
	errno = 0;
	v = strtoul(value, &end, 10);
	if (errno || *end || v > CONF_SPIN_US_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

static bool parse_yes(const char *value, bool *ret)
{
	if (strcmp(value, "yes") == 0)
		*ret = true;
	else if (strcmp(value, "no") == 0)
		*ret = false;
	else
		return false;
	return true;
}

static bool parse_congestion(const char *value, char *ret, size_t bytes)
{
	static const char *const names[] = { "cubic", "reno", "bbr", "dctcp" };

	for (size_t i = 0; i < n_elems(names); i++) {
		if (strcmp(names[i], value) == 0) {
			snprintf(ret, bytes, "%s", value);
			return true;
		}
	}
	return false;
}

static bool parse_ecn(const char *value, uint32_t *ret)
{
	if (value[0] < '0' || value[0] > '2' || value[1])
		return false;
	*ret = (uint32_t)(value[0] - '0');
	return true;
}

/* Names and commas; which of them there are is asked later. */
static bool parse_providers(const char *value, char *ret, size_t bytes)
{
	static const char chars[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_,";
	size_t n = strlen(value);

	if (!n || n >= bytes || strspn(value, chars) != n)
		return false;
	snprintf(ret, bytes, "%s", value);
	return true;
}

static bool is_key(const char *key)
{
	static const char *const keys[] = { "base", "spin_us", "strict", "congestion", "ecn", "providers",
					    "kernel", "only" };

	for (size_t i = 0; i < n_elems(keys); i++)
		if (strcmp(keys[i], key) == 0)
			return true;
	return false;
}

/* inih goes on after a line that its handler refuses by returning 0, and reports the first;
 * so the sentence kept is that of the first, too. */
static bool refused_before(struct reading *r)
{
	if (r->bad_line)
		return true;
	r->bad_line = r->line;	/* taken back when the line turns out to be good */
	return false;
}

static int good(struct reading *r)
{
	r->bad_line = 0;
	return 1;
}

static int on_key(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *r = arg;

	if (refused_before(r))
		return 0;
	if (section[0] && strcmp(section, "profile") != 0)
		say(r->what, sizeof(r->what), "no section is called [%.40s], only [profile]", section);
	else if (strcmp(key, "spin_us") == 0 && !parse_spin(value, &r->p->spin_us))
		say(r->what, sizeof(r->what), "spin_us must be 0 to %u, not '%.40s'",
		    CONF_SPIN_US_MAX, value);
	else if (strcmp(key, "strict") == 0 && !parse_yes(value, &r->p->strict))
		say(r->what, sizeof(r->what), "strict must be yes or no, not '%.40s'", value);
	else if (strcmp(key, "congestion") == 0 &&
		 !parse_congestion(value, r->p->congestion, sizeof(r->p->congestion)))
		say(r->what, sizeof(r->what), "congestion must be cubic, reno, bbr or dctcp, not '%.40s'", value);
	else if (strcmp(key, "ecn") == 0 && !parse_ecn(value, &r->p->ecn))
		say(r->what, sizeof(r->what), "ecn must be 0, 1 or 2, not '%.40s'", value);
	else if (strcmp(key, "providers") == 0 && !parse_providers(value, r->p->providers, sizeof(r->p->providers)))
		say(r->what, sizeof(r->what), "providers must be all, none, or names divided by commas, not '%.40s'",
		    value);
	else if (strcmp(key, "kernel") == 0 && !conf_rules(value, r->p->kernel, sizeof(r->p->kernel)))
		say(r->what, sizeof(r->what), "kernel: '%.60s' are not addresses and ports", value);
	else if (strcmp(key, "only") == 0 && !conf_rules(value, r->p->only, sizeof(r->p->only)))
		say(r->what, sizeof(r->what), "only: '%.60s' are not addresses and ports", value);
	else if (!is_key(key))
		say(r->what, sizeof(r->what), "no key is called '%.40s'; keys are base, spin_us, strict, congestion, "
		    "ecn, providers, kernel, only", key);
	else
		return good(r);
	return 0;
}

/* First pass: only the base, which must be read before anything overrides it. */
static int on_base(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *r = arg;

	(void)section;
	if (refused_before(r))
		return 0;
	if (strcmp(key, "base") != 0)
		return good(r);
	if (!name_ok(value)) {
		say(r->what, sizeof(r->what), "base must name a profile, not '%.40s'", value);
		return 0;
	}
	snprintf(r->base, sizeof(r->base), "%s", value);
	return good(r);
}

static char *next_line(char *buf, int bytes, void *arg)
{
	struct reading *r = arg;

	r->line++;
	return fgets(buf, bytes, r->f);
}

static int parse(struct reading *r, ini_handler handler, char *why, size_t n)
{
	int rc;

	rewind(r->f);
	r->line = r->bad_line = 0;
	rc = ini_parse_stream(next_line, r, handler, r);
	if (rc == 0 && ferror(r->f))
		rc = -1;	/* a folder, for one */
	if (rc == 0)
		return 0;
	if (rc < 0)
		say(why, n, "profile '%s': %s cannot be read", r->p->name, r->path);
	else
		say(why, n, "profile '%s': %s line %d: %s", r->p->name, r->path, rc,
		    rc == r->bad_line ? r->what : "neither a key = value nor a comment");
	return rc < 0 ? -EIO : -EBADMSG;
}

static int load(const char *name, unsigned place, unsigned depth, struct profile *ret,
		char *why, size_t n);

static int load_file(const char *name, unsigned place, unsigned depth, const char *path,
		     FILE *f, struct profile *ret, char *why, size_t n)
{
	struct profile p = { 0 };
	struct reading r = { .p = &p, .path = path, .f = f };
	bool same;
	int rc;

	snprintf(p.name, sizeof(p.name), "%s", name);
	rc = parse(&r, on_base, why, n);
	if (rc)
		return rc;
	if (!r.base[0])
		snprintf(r.base, sizeof(r.base), "%s", find_built_in(name) ? name : "default");
	same = strcmp(r.base, name) == 0;	/* P3 */
	rc = load(r.base, same ? place + 1 : 0, depth + 1, &p, why, n);
	if (rc)
		return rc;
	snprintf(p.name, sizeof(p.name), "%s", name);
	snprintf(p.origin, sizeof(p.origin), "%s", path);
	rc = parse(&r, on_key, why, n);
	if (rc == 0)
		*ret = p;
	return rc;
}

/* Looks a name up from `place` on. */
static int load(const char *name, unsigned place, unsigned depth, struct profile *ret,
		char *why, size_t n)
{
	char dir[CONF_ORIGIN_MAX / 2], path[CONF_ORIGIN_MAX];
	const struct profile *b;
	FILE *f;
	int rc;

	if (depth > CONF_BASE_DEPTH) {
		say(why, n, "profile '%s': its bases go round in a circle", name);
		return -ELOOP;
	}
	for (; place < N_PLACES - 1; place++) {
		if (!place_dir(place, dir, sizeof(dir)))
			continue;
		snprintf(path, sizeof(path), "%s/%s" SUFFIX, dir, name);
		f = fopen(path, "re");
		if (f) {
			rc = load_file(name, place, depth, path, f, ret, why, n);
			fclose(f);
			return rc;
		}
		rc = -errno;
		/* A folder that is closed to us is not ours: HOME is root's after setpriv or su. */
		if (rc != -ENOENT && rc != -ENOTDIR && !(rc == -EACCES && access(dir, X_OK))) {
			say(why, n, "profile '%s': %s: %s", name, path, strerror(-rc));
			return rc;
		}
	}
	b = find_built_in(name);
	if (!b) {
		say(why, n, "profile '%s' does not exist", name);
		return -ENOENT;
	}
	*ret = *b;
	return 0;
}

int conf_profile(const char *name, struct profile *ret, char *why, size_t why_bytes)
{
	if (!name_ok(name)) {
		say(why, why_bytes, "'%.40s' is not a profile's name: letters, digits, - and _ only", name);
		return -EINVAL;
	}
	return load(name, 0, 0, ret, why, why_bytes);
}

/* True if an earlier place has that name, too. */
static bool hidden(const char *name, unsigned place)
{
	char dir[CONF_ORIGIN_MAX / 2], path[CONF_ORIGIN_MAX];
	unsigned i;

	for (i = 0; i < place && i < N_PLACES - 1; i++) {
		if (!place_dir(i, dir, sizeof(dir)))
			continue;
		snprintf(path, sizeof(path), "%s/%s" SUFFIX, dir, name);
		if (access(path, F_OK) == 0)
			return true;
	}
	return false;
}

/* NAME.conf to NAME, if that is a profile's name. */
static bool name_of(const char *file, char ret[CONF_NAME_MAX])
{
	size_t len = strlen(file), suffix = strlen(SUFFIX);

	if (len <= suffix || len - suffix >= CONF_NAME_MAX || strcmp(file + len - suffix, SUFFIX) != 0)
		return false;
	memcpy(ret, file, len - suffix);
	ret[len - suffix] = 0;
	return name_ok(ret);
}

void conf_each(void (*each)(void *arg, const char *name, const char *origin), void *arg)
{
	char dir[CONF_ORIGIN_MAX / 2], name[CONF_NAME_MAX], path[CONF_ORIGIN_MAX];
	struct dirent *de;
	unsigned place;
	size_t i;
	DIR *d;

	for (place = 0; place < N_PLACES - 1; place++) {
		d = place_dir(place, dir, sizeof(dir)) ? opendir(dir) : NULL;
		while (d && (de = readdir(d))) {
			if (!name_of(de->d_name, name) || hidden(name, place))
				continue;
			snprintf(path, sizeof(path), "%s/%s" SUFFIX, dir, name);
			each(arg, name, path);
		}
		if (d)
			closedir(d);
	}
	for (i = 0; i < n_elems(built_in); i++)
		if (!hidden(built_in[i].name, N_PLACES - 1))
			each(arg, built_in[i].name, built_in[i].origin);
}
