/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share besides their own headers. Private to exec/. */
#ifndef EXEC_PARTS_H
#define EXEC_PARTS_H

#include "exec/exec.h"

/* A mutex of one process (ctl.c), bounded: -ETIMEDOUT. `until` in the past: only if it is free. */
must_check int exec_lock(uint32_t *word, uint64_t until);
void exec_unlock(uint32_t *word);

/* The same descriptor at min_fd or above, if there is room (plumb.c). */
int exec_move_up(int fd, int min_fd);

/* The turn, if the door opens within some 20 ms (estate.c): the surrogate never waits longer (G1). */
must_check bool exec_try_turn(struct exec *x, struct turn *t);

/* irq_errand(), counted: true if it armed, so that one more look is due (app.c). */
must_check bool exec_arms(struct turn *t);

/* Before host_unmap(): what is blank, and the bells (pairs.c). */
void pairs_close(struct exec *x);

#endif
