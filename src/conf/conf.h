/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Profiles: how long a program's waits spin before they sleep, whether falling back to the
 * kernel is allowed, and what TCP does where the program does not say. Read by `onramp run`,
 * which hands the outcome to the library in the environment; the library itself reads no files.
 *
 * A name is looked up as ~/.config/onramp/profiles/NAME.conf, then
 * /etc/onramp/profiles/NAME.conf, then among the built-in ones; so a user, and then the
 * machine's owner, may redefine `default` and `latency`.
 */
#ifndef CONF_CONF_H
#define CONF_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/compiler.h"

#define CONF_NAME_MAX	 32	/* with its terminator, as in struct fdtab */
#define CONF_ORIGIN_MAX	 512
#define CONF_PROVIDERS_MAX 256
#define CONF_RULES_MAX	 1600	/* 32 of them */
#define CONF_CATALOGUE_MAX 4096
#define CONF_SPIN_US_MAX 4000000u	/* 4 s: spin_ns is a uint32_t */
#define CONF_BASE_DEPTH	 8	/* profiles that a profile may stand on, one upon the other */

struct profile {
	char	 name[CONF_NAME_MAX];
	uint32_t spin_us;	/* spin this long, then sleep */
	bool	 strict;	/* a socket that cannot be accelerated is an error */
	char	 congestion[16];	/* cubic, reno, bbr, dctcp; empty: the stack's default */
	char	 providers[CONF_PROVIDERS_MAX];	/* of the catalogue: all, none, or their names */
	char	 kernel[CONF_RULES_MAX], only[CONF_RULES_MAX];	/* of conf_rules(): what stays in the kernel */
	uint32_t ecn;		/* as Linux's sysctl tcp_ecn: 0 never, 1 asks, 2 answers */
	char	 origin[CONF_ORIGIN_MAX];	/* "built in", or the file's path */
};

/*
 * Finds and reads a profile. 0, or: -EINVAL the name is not one; -ENOENT no such profile;
 * -EBADMSG a key or value is wrong; -ELOOP; -errno of reading the file. `why` then holds one
 * sentence without a full stop that names the profile, the file and the line.
 */
must_check int conf_profile(const char *name, struct profile *ret, char *why, size_t why_bytes);

/*
 * The catalogue of providers as the library wants it: those of `only` (a profile's `providers`), in their
 * order; "" if there is no catalogue. 0, or -EBADMSG with a sentence in `why`.
 */
must_check int conf_providers(const char *only, char *ret, size_t bytes, char *why, size_t why_bytes);

/* Addresses and ports, as people write them, as the library reads them (sock/policy.c). False: they are wrong, or
 * too many. */
bool conf_rules(const char *text, char *ret, size_t bytes);

/* The user's folder (0), or the machine's (1); false if there is none. */
bool conf_dir(unsigned place, char *ret, size_t bytes);

/* Calls `each` once per profile that conf_profile() would find by name, in the order of the
 * search; a name that appears again later is not repeated. */
void conf_each(void (*each)(void *arg, const char *name, const char *origin), void *arg);

/* The environment, read only if the program runs with nobody else's privilege. */
const char *conf_env(const char *name);

#endif
