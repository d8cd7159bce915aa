/* SPDX-License-Identifier: BSD-2-Clause */
/* Profiles: what a file may say, what is said about one that is wrong, which of two counts. */
#include "test/unit/panic.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conf/conf.h"

static char home[] = "/tmp/onramp-conf-XXXXXX";
static char profiles[128];

static void path_of(const char *name, char *ret, size_t bytes)
{
	snprintf(ret, bytes, "%s/%s.conf", profiles, name);
}

static void write_profile(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	path_of(name, path, sizeof(path));
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void remove_profile(const char *name)
{
	char path[256];

	path_of(name, path, sizeof(path));
	unlink(path);
}

static int set_up(void **state)
{
	char step[128];

	(void)state;
	if (!mkdtemp(home))
		return -1;
	snprintf(step, sizeof(step), "%s/onramp", home);
	snprintf(profiles, sizeof(profiles), "%s/onramp/profiles", home);
	return mkdir(step, 0700) || mkdir(profiles, 0700) || setenv("XDG_CONFIG_HOME", home, 1);
}

static int tear_down(void **state)
{
	char step[128];

	(void)state;
	snprintf(step, sizeof(step), "%s/onramp", home);
	return rmdir(profiles) || rmdir(step) || rmdir(home);
}

static void test_built_in(void **state)
{
	struct profile p;
	char why[512];

	(void)state;
	assert_int_equal(conf_profile("default", &p, why, sizeof(why)), 0);
	assert_string_equal(p.name, "default");
	assert_string_equal(p.origin, "built in");
	assert_false(p.strict);
	assert_int_equal(conf_profile("latency", &p, why, sizeof(why)), 0);
	assert_true(p.spin_us > 1000);
}

/* P1: a wrong file gives a sentence that names file and line, and leaves the result alone. */
static void test_wrong(void **state)
{
	static const struct { const char *text; int err; const char *said; } t[] = {
		{ "spin_us = 5x\n", -EBADMSG, "line 1: spin_us must be" },
		{ "spin_us = -1\n", -EBADMSG, "line 1: spin_us must be" },
		{ "spin_us =\n", -EBADMSG, "line 1: spin_us must be" },
		{ "spin_us = 4000001\n", -EBADMSG, "line 1: spin_us must be" },
		{ "spin_us = 99999999999999999999\n", -EBADMSG, "line 1: spin_us must be" },
		{ "\n\nstrict = maybe\n", -EBADMSG, "line 3: strict must be" },
		{ "spin_us = 1\nfoo = 1\nbar = 1\n", -EBADMSG, "line 2: no key is called 'foo'" },
		{ "congestion = vegas\n", -EBADMSG, "line 1: congestion must be" },
		{ "ecn = 3\n", -EBADMSG, "line 1: ecn must be" },
		{ "[zap]\nspin_us = 1\n", -EBADMSG, "line 2: no section is called [zap]" },
		{ "rubbish\nfoo = 1\n", -EBADMSG, "line 1: neither a key" },
		{ "base = ../x\n", -EBADMSG, "line 1: base must name" },
		{ "base = nosuch\n", -ENOENT, "'nosuch' does not exist" },
	};
	struct profile p = { .spin_us = 42 };
	char why[512];
	size_t i;

	(void)state;
	for (i = 0; i < n_elems(t); i++) {
		write_profile("wrong", t[i].text);
		assert_int_equal(conf_profile("wrong", &p, why, sizeof(why)), t[i].err);
		if (!strstr(why, t[i].said))
			fail_msg("'%s' said: %s", t[i].text, why);
		assert_int_equal(p.spin_us, 42);
	}
	remove_profile("wrong");
}

/* P2: names stay in the folders. */
static void test_names(void **state)
{
	static const char *const bad[] = {
		"", "..", "../x", "/etc/passwd", "a b", "a.conf", "a/b", "a\nb",
		"an-endless-name-that-goes-on-and-on-and-on",
	};
	struct profile p;
	char why[512];
	size_t i;

	(void)state;
	for (i = 0; i < n_elems(bad); i++)
		assert_int_equal(conf_profile(bad[i], &p, why, sizeof(why)), -EINVAL);
	assert_int_equal(conf_profile("nosuch", &p, why, sizeof(why)), -ENOENT);
}

/* P3: bases, one hidden by its own name, and a circle. */
static void test_bases(void **state)
{
	struct profile p;
	char why[512];

	(void)state;
	write_profile("web", "; comment\n[profile]\nbase = latency\nstrict = yes\n");
	assert_int_equal(conf_profile("web", &p, why, sizeof(why)), 0);
	assert_string_equal(p.name, "web");
	assert_true(p.strict);
	assert_true(p.spin_us > 1000);
	assert_int_equal(p.ecn, 2);
	assert_string_equal(p.congestion, "");
	write_profile("far", "congestion = bbr\necn = 1\n");
	assert_int_equal(conf_profile("far", &p, why, sizeof(why)), 0);
	assert_string_equal(p.congestion, "bbr");
	assert_int_equal(p.ecn, 1);
	write_profile("latency", "spin_us = 77\n");
	assert_int_equal(conf_profile("web", &p, why, sizeof(why)), 0);
	assert_int_equal(p.spin_us, 77);
	write_profile("latency", "base = latency\nstrict = no\n");
	assert_int_equal(conf_profile("latency", &p, why, sizeof(why)), 0);
	assert_true(p.spin_us > 1000);
	write_profile("a", "base = b\n");
	write_profile("b", "base = a\n");
	assert_int_equal(conf_profile("a", &p, why, sizeof(why)), -ELOOP);
	remove_profile("web");
	remove_profile("far");
	remove_profile("latency");
	remove_profile("a");
	remove_profile("b");
}

static void count(void *arg, const char *name, const char *origin)
{
	unsigned *n = arg;

	(void)origin;
	n[0]++;
	n[1] += strcmp(name, "latency") == 0;
}

/* Each name once, the nearest. */
static void test_each(void **state)
{
	unsigned n[2] = { 0, 0 };

	(void)state;
	write_profile("latency", "");
	write_profile("not a name", "");
	conf_each(count, n);
	assert_int_equal(n[1], 1);
	assert_true(n[0] >= 2);
	remove_profile("latency");
	remove_profile("not a name");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_built_in), cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_names), cmocka_unit_test(test_bases),
		cmocka_unit_test(test_each),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
