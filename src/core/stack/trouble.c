/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Trouble: values in the segment that cannot be. On the strong side they are somebody else's
 * doing and condemn that stack, which its executors then leave alone; in the application
 * they are our own bug, and it is told so. Nothing here stops a strong executor.
 */
#include "base/atomic.h"
#include "core/stack/stack.h"

#include <errno.h>

int condemn(struct turn *t, enum why why)
{
	struct segment *seg = t->map->seg;

	must(why < N_WHYS);
	if (peek32(&seg->condemned) == 0) {
		poke32(&seg->condemned, (uint32_t)why + 1);
		ev(t, EV_CONDEMNED, 0, why, 0);
	}
	return -EUCLEAN;
}

void never(struct turn *t, enum why why)
{
	bool strong = t->map->strong || t->who == EXEC_SURROGATE || t->who == EXEC_ADAPTER;

	condemn(t, why);
	if (!strong)
		onramp_panic(__FILE__, __LINE__, why_name(why));
}

const char *why_name(enum why why)
{
	static const char *const sentence[N_WHYS] = {
#define WHY(name, text) [WHY_##name] = text,
#include "core/stack/why.def"
#undef WHY
	};

	return why < N_WHYS ? sentence[why] : "a reason this version does not know";
}
