/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP Fast Open in calls (tcp(7): MSG_FASTOPEN, TCP_FASTOPEN_CONNECT), as sock/fastopen.c has it: a send
 * that opens the connection. Keys of listeners are those of the namespace, as Linux's.
 */
#include "test/packetdrill/adapter/adapter.h"

#include <errno.h>
#include <stdio.h>

bool fastopen_is_on(void)
{
	struct mir_tcp m;

	host_tcp_tuning(&m);
	world_tune();
	return !m.fastopen || (m.fastopen - 1) & 1;
}

/* Is it still to be opened by a send? And is its handshake under way? */
static bool state_of(struct file *f, bool *ret_opening)
{
	struct turn t;
	struct sk *sk;
	bool deferred;

	world_enter(&t);
	sk = file_sk(&t, f);
	deferred = sk && tcp_is_deferred(sk);
	*ret_opening = sk && (sk->state == TCP_S_SYN_SENT || sk->state == TCP_S_SYN_RCVD);
	world_leave(&t);
	return deferred;
}

static int64_t first(struct file *f, const struct iovec *v, uint32_t n, bool waits)
{
	struct turn t;
	struct sk *sk;
	int64_t r = -EPIPE;

	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk)
		r = tcp_send_first(&t, sk, v, n, waits);
	world_leave(&t);
	return r;
}

int64_t fastopen_send(struct file *f, const struct iovec *v, uint32_t n, int flags, const struct sockaddr *sa,
		      int64_t *ret_done)
{
	bool wait = !f->nonblock && !(flags & MSG_DONTWAIT), opening;
	int64_t r;

	*ret_done = 0;
	if (flags & MSG_FASTOPEN && (!fastopen_is_on() || (sa && sa->sa_family == AF_UNSPEC)))
		return -EOPNOTSUPP;
	if (f->kind == FILE_NEW) {
		if (!(flags & MSG_FASTOPEN))
			return -EPIPE;
		r = sa ? file_connect(f, sa, true) : -EINVAL;
		if (r < 0)
			return r;
	}
	if (f->kind != FILE_CONN)
		return -EPIPE;
	if (!state_of(f, &opening)) {
		if (!(flags & MSG_FASTOPEN))
			return 1;
		if (!f->connecting)
			return -EISCONN;
		r = !opening ? 0 : wait ? file_await(f) : -EALREADY;
		return r < 0 ? r : 1;
	}
	r = first(f, v, n, wait);
	if (r < 0)
		return r;
	*ret_done = r;
	if (wait) {
		r = file_await(f);
		return r < 0 ? r : 1;
	}
	return r > 0 ? 0 : -EINPROGRESS;
}

/* tcp_fastopen_key: four words in hexadecimal, the first byte of each last. */
void fastopen_key(struct turn *t, const struct file *f, struct sk *lsk)
{
	FILE *in = f->n_keys ? NULL : fopen("/proc/sys/net/ipv4/tcp_fastopen_key", "re");
	uint32_t w[4];
	uint8_t key[16];

	if (f->n_keys) {
		tcp_listen_keys(t, lsk, f->key, f->n_keys);
		return;
	}
	if (in && fscanf(in, "%x-%x-%x-%x", &w[0], &w[1], &w[2], &w[3]) == 4) {
		for (uint32_t i = 0; i < 16; i++)
			key[i] = (uint8_t)(w[i / 4] >> 8 * (i % 4));
		tcp_listen_keys(t, lsk, key, 1);
	}
	if (in)
		(void)fclose(in);
}
