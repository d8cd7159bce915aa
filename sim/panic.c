/* SPDX-License-Identifier: BSD-2-Clause */
/* A must() that does not hold, or a never() on the weak side, is a failed seed. */
#include "sim/sim.h"

#include <stdlib.h>

struct sim *sim_running;

void onramp_panic(const char *file, int line, const char *what)
{
	struct sim *w = sim_running;

	if (!w) {
		fprintf(stderr, "onramp-sim: %s:%d: %s\n", file, line, what);
		abort();
	}
	for (uint32_t i = 0; i < w->n_stacks && !w->in_trial; i++) {
		if (w->stack[i].seg)
			record_turn(w, &w->stack[i], NULL);
	}
	sim_fail(w, "panic at %s:%d: %s", file, line, what);
}
