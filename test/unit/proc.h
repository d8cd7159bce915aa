/* SPDX-License-Identifier: BSD-2-Clause */
/* What /proc says of a process. */
#ifndef TEST_UNIT_PROC_H
#define TEST_UNIT_PROC_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <cmocka.h>

static inline long n_switches(pid_t pid)
{
	char path[64], line[256];
	long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		(void)!sscanf(line, "voluntary_ctxt_switches: %ld", &n);
	fclose(f);
	return n;
}

static inline bool status_has(pid_t pid, const char *want)
{
	char path[64], line[256];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	assert_non_null(f);
	while (!found && fgets(line, sizeof(line), f))
		found = strncmp(line, want, strlen(want)) == 0;
	fclose(f);
	return found;
}

/* How many descriptors a process has open. Its standard ones must lead nowhere. */
static inline unsigned n_descriptors(pid_t pid)
{
	char path[64], where[64];
	unsigned n = 0;
	ssize_t len;

	for (int fd = 0; fd < 512; fd++) {
		snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
		len = readlink(path, where, sizeof(where) - 1);
		if (len < 0)
			continue;
		where[len] = 0;
		n++;
		if (fd <= 2)
			assert_string_equal(where, "/dev/null");
	}
	return n;
}

#endif
