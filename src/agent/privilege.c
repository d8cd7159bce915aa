// SPDX-License-Identifier: BSD-2-Clause
/*
 * What the agent gives up. Before: all of root's capabilities, needed to load programs and
 * mount bpffs. After privilege_drop(), kept:
 *
 *   NET_ADMIN, NET_RAW   devices, netlink, XDP attachment of VFs, AF_XDP sockets
 *   BPF                  map updates where the sysctl forbids them to others
 *   IPC_LOCK             pins packet memory past RLIMIT_MEMLOCK
 *   SETUID, SETGID, KILL the surrogate takes its user's identity itself; ending it is ours
 *
 * In particular NET_BIND_SERVICE is gone: lease.c's proof that a socket is bound relies on it.
 * The bounding set shrinks as well, so a surrogate, executed as root before it becomes its
 * user, never has more than this.
 *
 * An agent of one's own (--user) keeps nothing, even if root started it.
 */
#include "agent/agent.h"

#include <errno.h>
#include <linux/capability.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define BIT(c) (1ull << (c))
#ifndef CAP_BPF
#define CAP_BPF 39
#endif
#define KEEP (BIT(CAP_NET_ADMIN) | BIT(CAP_NET_RAW) | BIT(CAP_BPF) | BIT(CAP_IPC_LOCK) | \
	      BIT(CAP_SETUID) | BIT(CAP_SETGID) | BIT(CAP_KILL))

#define WANT_FILES 524288	/* 64 stacks x (128 blocks x 64 ports x 2 sockets) is beyond any use */

int privilege_limits(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r))
		return -errno;
	if (r.rlim_max < WANT_FILES) {
		r.rlim_cur = r.rlim_max = WANT_FILES;
		if (!setrlimit(RLIMIT_NOFILE, &r))
			return 0;
		if (getrlimit(RLIMIT_NOFILE, &r))
			return -errno;
	}
	r.rlim_cur = r.rlim_max;
	return setrlimit(RLIMIT_NOFILE, &r) ? -errno : 0;
}

int privilege_drop(bool keep)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];
	uint64_t have, c, kept = keep ? KEEP : 0;

	if (syscall(SYS_capget, &h, d))
		return -errno;
	have = d[0].permitted | (uint64_t)d[1].permitted << 32;
	for (c = 0; c < 64; c++)
		if (!(kept & BIT(c)) && prctl(PR_CAPBSET_READ, c) == 1 &&
		    prctl(PR_CAPBSET_DROP, c) && keep)
			return -errno;	/* who has nothing may not drop, and need not */
	have &= kept;
	d[0].permitted = d[0].effective = (uint32_t)have;
	d[1].permitted = d[1].effective = (uint32_t)(have >> 32);
	d[0].inheritable = d[1].inheritable = 0;
	if (syscall(SYS_capset, &h, d))
		return -errno;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? -errno : 0;
}
