/* SPDX-License-Identifier: BSD-2-Clause */
/* The catalogue of programs that are accelerated wherever they are started (`onramp install`). */
#ifndef TOOLS_CHOSEN_H
#define TOOLS_CHOSEN_H

#include <stddef.h>
#include <stdio.h>

#define CHOSEN_CONF "/etc/onramp/programs.conf"

/*
 * Reads CHOSEN_CONF and settles it: *ret is the text of CHOOSER_LIST (chooser/chooser.h), to be freed, *n_programs
 * how many it has. 0, or -errno with one sentence in `why`. What is no error, but will not work as the
 * author may think, is told line by line on `notes`.
 */
int chosen_settle(const char *library, char **ret, unsigned *n_programs, char *why, size_t why_bytes, FILE *notes);

#endif
