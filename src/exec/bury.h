/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The dead: processes whose references must be dropped, and a holder that died in its turn.
 * Private to exec/.
 */
#ifndef EXEC_BURY_H
#define EXEC_BURY_H

#include "exec/exec.h"

/* Drops all references of processes marked PROC_DEAD (errand REAP). */
void bury_processes(struct turn *t);

/* The same when no process lives: also those that only a socket's references know, and slots that
 * say what no slot can say. A program may have spoilt its own segment before it died. */
void bury_everybody(struct turn *t);

/* Checks the stack, and if it does not stand, gives every socket a reset and wakes everybody;
 * seg->condemned is then set, and it is true. */
bool bury_unsound(struct turn *t);
/* The same in a turn just adopted from a dead holder. */
void bury_holder(struct turn *t);

/* Every socket of a condemned stack says ECONNRESET; every sleeper is woken. Walks no list. */
void bury_stack(struct turn *t);

#endif
