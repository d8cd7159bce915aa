/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls of onramp/onramp.h for programs that are not linked with the library: it is there
 * already, preloaded; else it is loaded here, knows none of the program's sockets, and copies.
 */
#ifndef POSIX_PLACE_H
#define POSIX_PLACE_H

#include <dlfcn.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "onramp/onramp.h"

static struct {
	ssize_t (*recv)(int fd, struct iovec *pieces, int n, int flags);
	int	(*back)(int fd, size_t bytes);
	void   *(*reserve)(int fd, size_t want, size_t *got);
	ssize_t (*commit)(int fd, size_t bytes);
	int	(*in_place)(int fd);
	int	(*reg)(void *p, size_t bytes);
	int	(*unreg)(void *p, size_t bytes);
} op;

static void *op_find(void *lib, const char *name)
{
	void *p = dlsym(lib, name);

	if (!p) {
		fprintf(stderr, "%s: %s\n", name, dlerror());
		exit(2);
	}
	return p;
}

/* The library lies in BUILD/lib, this program in BUILD/test/SOMETHING. */
static void op_load(void)
{
	char exe[PATH_MAX] = "", path[PATH_MAX + 64];
	void *lib = RTLD_DEFAULT;

	if (!dlsym(lib, "onramp_in_place")) {
		if (readlink("/proc/self/exe", exe, sizeof(exe) - 1) < 0)
			exit(2);
		snprintf(path, sizeof(path), "%s/../../lib/libonramp.so", dirname(exe));
		lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
		if (!lib) {
			fprintf(stderr, "%s\n", dlerror());
			exit(2);
		}
	}
	op.recv = op_find(lib, "onramp_recv_in_place");
	op.back = op_find(lib, "onramp_hand_back");
	op.reserve = op_find(lib, "onramp_send_reserve");
	op.commit = op_find(lib, "onramp_send_commit");
	op.in_place = op_find(lib, "onramp_in_place");
	op.reg = op_find(lib, "onramp_register");
	op.unreg = op_find(lib, "onramp_unregister");
}

#endif
