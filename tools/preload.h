/* SPDX-License-Identifier: BSD-2-Clause */
/* /etc/ld.so.preload: our line in, our line out, and everything else as it was. */
#ifndef TOOLS_PRELOAD_H
#define TOOLS_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>

#include "tools/tool.h"

#define PRELOAD_FILE "/etc/ld.so.preload"

/* The lock under which all of this is done; a descriptor, or -errno. */
int preload_lock(void);
/* Makes `line` the file's last, in place of any other of ours. 0, 1 if it was there already, or -errno. */
int preload_add(const char *line);
/* As if preload_add() had never been. 0, 1 if there was nothing to take away, or -errno. */
int preload_remove(void);
/* The line of ours that is there, to be freed, or NULL. */
char *preload_line(void);
/* A whole file by a rename: the old one or the new one, also after a loss of power. 0 or -errno. */
int replace_file(const char *path, const char *bytes, size_t n);

#endif
