/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the dead leave: ports. A process's listeners die with it, but its connections may live
 * on as orphans. For those the agent is told the exact tuples (FLOW_ADD), and then that the
 * port itself is free (LEASE_DEL), so that a restarted server can have it. Private to exec/.
 *
 *	in a turn	estate_note()		what is bound now
 *			net_proc_died() ...
 *	no turn		estate_settle()		what is not any more: tell the agent
 */
#ifndef EXEC_ESTATE_H
#define EXEC_ESTATE_H

#include "abi/ctl.h"
#include "exec/exec.h"

#define ESTATE_MAX 1024		/* distinct bound addresses; more stay leased until the stack ends */

struct estate {
	uint32_t n;
	struct ctl_lease of[ESTATE_MAX];
};

void estate_note(struct estate *e, struct turn *t);
/* Takes turns of its own, but never waits for one: false, and nothing told, if it did not get
 * the first. Runs a round in each, so that a long list does not stop the stack. */
must_check bool estate_settle(struct estate *e, struct exec *x);

#endif
