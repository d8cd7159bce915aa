/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A provider that looks at all data of TCP and UDP sockets, both ways, and refuses what has a signature in it: EACCES.
 * A signature that comes in pieces is found, too. In providers.conf(5):
 *
 *	scanner /usr/local/lib/onramp/scanner.so signature=X5O!P%
 *
 * What is refused is not sent. What came in with it is not shown, nor is anything after it on that socket.
 */
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "onramp/provider.h"

#define MOST 64

static const struct onramp_ops *next;
static char signature[MOST + 1];
static size_t bytes, fallback[MOST + 1];	/* how much of the signature still fits when its i-th byte does not */

struct way { size_t seen; int bad; };	/* bytes of the signature that have gone by */
struct look { pthread_mutex_t lock; struct way out, in; };

static int scanner_start(const struct onramp_ops *below, const char *options)
{
	size_t i, k;

	next = below;
	if (strncmp(options, "signature=", 10) != 0 || !options[10] || strlen(options + 10) > MOST)
		return -EINVAL;
	strcpy(signature, options + 10);
	bytes = strlen(signature);
	for (i = 1, k = 0; i < bytes; i++) {
		while (k && signature[i] != signature[k])
			k = fallback[k];
		k += signature[i] == signature[k];
		fallback[i + 1] = k;
	}
	return 0;
}

static int scanner_match(int family, int type, int protocol)
{
	(void)protocol;
	return (family == AF_INET || family == AF_INET6) && (type == SOCK_STREAM || type == SOCK_DGRAM);
}

static void scanner_opened(struct onramp_layer *l, int fd)
{
	struct look *k = calloc(1, sizeof(*k));

	(void)fd;
	if (k)
		pthread_mutex_init(&k->lock, NULL);
	l->own = k;
}

static void scanner_closed(struct onramp_layer *l)
{
	free(l->own);
	l->own = NULL;
}

/* Goes on from *w over the first n bytes of v. */
static void scan(struct way *w, const struct iovec *v, size_t n_iov, size_t n)
{
	size_t i, k;

	for (i = 0; i < n_iov && n; i++) {
		const char *p = v[i].iov_base;

		for (k = 0; k < v[i].iov_len && n; k++, n--) {
			while (w->seen && p[k] != signature[w->seen])
				w->seen = fallback[w->seen];
			w->seen += p[k] == signature[w->seen];
			if (w->seen == bytes) {
				w->bad = 1;
				w->seen = fallback[w->seen];
			}
		}
	}
}

static ssize_t scanner_sendmsg(struct onramp_layer *l, int fd, const struct msghdr *m, int flags)
{
	struct look *k = l->own;
	struct way w;
	ssize_t r;

	if (!k)
		return -ENOMEM;
	pthread_mutex_lock(&k->lock);
	w = k->out;
	pthread_mutex_unlock(&k->lock);
	scan(&w, m->msg_iov, m->msg_iovlen, SIZE_MAX);
	if (w.bad)
		return -EACCES;
	r = next->sendmsg(l, fd, m, flags);
	if (r <= 0 || l->type != SOCK_STREAM)
		return r;
	/* What was taken of it has gone by; the rest will come again. */
	pthread_mutex_lock(&k->lock);
	scan(&k->out, m->msg_iov, m->msg_iovlen, (size_t)r);
	pthread_mutex_unlock(&k->lock);
	return r;
}

static void wipe(const struct msghdr *m, size_t n)
{
	size_t i, k;

	for (i = 0; i < m->msg_iovlen && n; i++, n -= k) {
		k = m->msg_iov[i].iov_len < n ? m->msg_iov[i].iov_len : n;
		memset(m->msg_iov[i].iov_base, 0, k);
	}
}

static ssize_t scanner_recvmsg(struct onramp_layer *l, int fd, struct msghdr *m, int flags)
{
	int stream = l->type == SOCK_STREAM;
	struct look *k = l->own;
	struct way w = { 0, 0 };
	ssize_t r;

	if (!k)
		return -ENOMEM;
	if (k->in.bad)
		return -EACCES;
	r = next->recvmsg(l, fd, m, flags);
	/* MSG_TRUNC throws a stream's bytes away unseen. */
	if (r <= 0 || flags & (MSG_ERRQUEUE | MSG_OOB) || (stream && flags & MSG_TRUNC))
		return r;
	pthread_mutex_lock(&k->lock);
	if (stream)
		w = k->in;
	scan(&w, m->msg_iov, m->msg_iovlen, (size_t)r);
	if (stream && (!(flags & MSG_PEEK) || w.bad))
		k->in = w;
	pthread_mutex_unlock(&k->lock);
	if (!w.bad)
		return r;
	wipe(m, (size_t)r);
	return -EACCES;
}

const struct onramp_provider onramp_provider = {
	.abi = ONRAMP_PROVIDER_ABI, .kind = ONRAMP_FILTER, .about = "refuses data with a signature in it",
	.start = scanner_start, .match = scanner_match,
	.ops = {
		.opened = scanner_opened, .closed = scanner_closed, .sendmsg = scanner_sendmsg, .recvmsg = scanner_recvmsg,
	},
};
