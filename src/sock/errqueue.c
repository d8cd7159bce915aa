/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The error queue of a connection: the only thing ever on it is that sends with MSG_ZEROCOPY are
 * done with the program's memory (S0a-ZC-01). We copy, as Linux does to any receiver on its own
 * host, and say so (SO_EE_CODE_ZEROCOPY_COPIED), so that programs stop asking for it. A send is
 * done when it returns; what is told is the same as the kernel tells, only earlier.
 *
 * All that waits is one range (sk_zc_take()): Linux, too, adds to the last notification what follows on it.
 */
#include "sock/dgram.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>

static void describe(struct msghdr *m, uint32_t first, uint32_t last, bool v6)
{
	struct {
		struct sock_extended_err ee;
		struct sockaddr_in6 offender;	/* nobody: zero */
	} err = { .ee = { .ee_origin = SO_EE_ORIGIN_ZEROCOPY, .ee_code = SO_EE_CODE_ZEROCOPY_COPIED,
			  .ee_info = first, .ee_data = last } };
	struct cmsg_out c = { .at = m->msg_control, .room = m->msg_controllen };
	size_t n = sizeof(err.ee) + (v6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in));

	cmsg_put(&c, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &err, n);
	m->msg_flags = MSG_ERRQUEUE | c.flags;
	m->msg_namelen = 0;
	m->msg_controllen = c.used;
}

int64_t errqueue_read(struct ent e, struct msghdr *m)
{
	uint32_t first, last;
	bool any = false, v6 = false;
	struct turn t;
	struct sk *sk;

	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk) {
		v6 = sk->flags & SK_F_FAMILY6;
		any = sk_zc_take(&t, sk, &first, &last);
	}
	sk_leave(&t, false);
	if (!any)
		return sk ? -EAGAIN : -EBADF;
	if (m)
		describe(m, first, last, v6);
	return 0;
}
