/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What `onramp install` writes and the chooser reads: the catalogue of programs, settled.
 *
 *	onramp-chooser 1
 *	library PATH			libonramp.so
 *	program PATH			an executable; the first that fits is taken
 *	uid NUMBER			whose; several lines are alternatives, none: anybody's
 *	set NAME=VALUE			added to its environment
 *	end				the last line: what is cut short is not believed
 *
 * Lines end with a newline, paths are absolute, nothing is quoted. The file is root's, and writable by root
 * only; it is replaced by a rename, never written in place.
 */
#ifndef CHOOSER_CHOOSER_H
#define CHOOSER_CHOOSER_H

#define CHOOSER_LIST	"/etc/onramp/chosen.list"
#define CHOOSER_MAGIC	"onramp-chooser 1"
#define CHOOSER_BYTES	65536		/* of that file: some 300 programs */
#define CHOOSER_PATH	4096
#define CHOOSER_SO	"onramp-chooser.so"
/* PID:NAME of a process that the chooser started a second time, so that it keeps the name it had. */
#define CHOOSER_MARK	"ONRAMP_CHOSEN"

#endif
