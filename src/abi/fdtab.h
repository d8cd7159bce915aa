/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The descriptor table of one process, in a memfd of its own ("onramp-fds") so that
 * `onramp why` can read it with or without an agent, and so that it survives exec.
 * Writer: the process. Readers: the process; tools through /proc/PID/fd, as hints only.
 */
#ifndef ABI_FDTAB_H
#define ABI_FDTAB_H

#include <assert.h>
#include <stdint.h>

#include "base/limits.h"

enum reason {
#define REASON(name, sentence, remedy) REASON_##name,
#include "abi/reasons.def"
#undef REASON
	N_REASONS
};

enum fd_kind {
	FD_NONE = 0,		/* not ours: straight to libc */
	FD_PLAIN = 1,		/* an INET socket still, or for good, in the kernel: see reason */
	FD_TCP = 2,		/* h: sk_h */
	FD_LISTEN = 3,		/* h: sk_h; the kernel socket below listens too */
	FD_UDP = 4,		/* h: sk_h; the kernel socket below is bound too */
	FD_EPOLL = 5,		/* h: ep_h, or 0 while only kernel descriptors are in it */
	FD_PRIVATE = 6,		/* our own plumbing: the program must not close it */
};

struct fd_ent {
	uint8_t	 kind;		/* enum fd_kind */
	uint8_t	 flags;		/* sock/'s */
	uint16_t reason;	/* enum reason */
	uint32_t h;
	uint32_t gen;		/* bumped at each change: a racing call sees old or new, not a mix */
	uint32_t born_ms;	/* CLOCK_MONOTONIC, low 32 bits of ms: since when */
};
static_assert(sizeof(struct fd_ent) == 16, "4 MiB a process, sparse");

#define FDTAB_MAGIC 0x7364667072ull
#define FDTAB_NAME  "onramp-fds"

struct fdtab {
	uint64_t magic;
	uint64_t layout_hash;
	uint32_t pid;
	uint32_t n_used;	/* descriptors >= this were never touched */
	uint32_t stack_id;	/* 0: none */
	uint16_t reason;	/* why the process as a whole has no stack; REASON_NONE if it has */
	uint16_t strict;
	int32_t	 seg_fd, mirror_fd, ctl_fd;	/* -1: none; for exec */
	int32_t	 front_fd, pipe_fd;		/* of apertures (abi/aperture.h); 0 or -1: none */
	int32_t	 xsk_fd[N_VIS];
	int32_t	 bell_fd[N_WAITERS];
	uint32_t vi_ifindex[N_VIS], vi_flags[N_VIS];
	uint32_t n_vis, proc;
	uint32_t dir_slot, pad_dir;
	char	 profile[32];
	char	 chain[256];	/* the catalogue of providers, and who of it was left out; "": none */
	char	 detail[128];	/* a sentence that adds to `reason`, e.g. the profile's error */
	uint64_t counts[N_REASONS];	/* sockets ever decided for each reason */
	struct fd_ent ents[N_FDS];
};

#endif
