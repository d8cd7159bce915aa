/* SPDX-License-Identifier: BSD-2-Clause */
/* A model and its mutants as one cmocka test: the protocol must hold, each mutant must not. */
#ifndef TEST_MODEL_PROVE_H
#define TEST_MODEL_PROVE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test/model/mc.h"

struct mutant {
	const char *what;	/* was done wrong */
	int bug;		/* of the model's own, or 0 */
	enum mc_op op;		/* or of the code's: an operation in that function */
	const char *in;
	const void *at;		/* or on that word */
	bool weak;		/* x86 forgives it: shown on the weaker machine */
};

/* The weaker machine does all that x86 does, and more. */
static inline void prove(const struct mc_model *m, bool weak)
{
	struct mc_machine on = { .weak = weak, .in = "" };
	struct mc_result r = mc_explore(m, &on);

	print_message("  %s: %u states, %u steps, %u ends\n", m->name, r.states, r.steps, r.ends);
	if (r.broken) {
		mc_tell(m, &on);
		fail_msg("%s: %s", m->name, r.broken);
	}
	assert_true(r.ends > 0);
}

/* A test that cannot fail shows nothing: here it must, once for each row. */
static inline void prove_mutants(const struct mc_model *m, const struct mutant *mu, size_t n, int *bug)
{
	for (size_t i = 0; i < n; i++) {
		struct mc_machine on = { .weak = mu[i].weak, .op = mu[i].op, .in = mu[i].in ? mu[i].in : "",
					 .at = mu[i].at };
		struct mc_result r;

		*bug = mu[i].bug;
		r = mc_explore(m, &on);
		*bug = 0;
		print_message("  %s, %s: %s (%u states)\n", m->name, mu[i].what,
			      r.broken ? r.broken : "NOT FOUND", r.states);
		if (!r.broken)
			fail_msg("%s: nothing found where %s", m->name, mu[i].what);
	}
}

#endif
