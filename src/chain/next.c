/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From layer to layer: the first below the caller whose provider has that call, or who serves the socket. It runs
 * with chain_depth raised while in a provider, and without where sock/ and libc go on.
 */
#include "chain/parts.h"

#include <errno.h>
#include <stddef.h>

/* The layer from `i` on that has the operation at `offset` of struct onramp_ops, or NULL. */
static struct layer *find(const struct chained *c, uintptr_t i, size_t offset)
{
	for (; c && i < c->n; i++)
		if (*(void *const *)(const void *)((const char *)c->layers[i].ops + offset))
			return (struct layer *)(uintptr_t)&c->layers[i];
	return NULL;
}

/* CALL is made at the first layer from `i` on, or BELOW: with the depth as it has to be there. */
#define GO(c, i, op, call, below) do {							\
	struct layer *l = find(c, i, offsetof(struct onramp_ops, op));			\
	uint32_t depth = chain_depth;							\
	int64_t r;									\
											\
	chain_depth = l ? depth + 1 : 0;						\
	r = l ? (int64_t)l->ops->op call : chain_below->below;				\
	chain_depth = depth;								\
	return r;									\
} while (0)

static int64_t go_bind(const struct chained *c, uintptr_t i, int fd, const struct sockaddr *sa, socklen_t n)
{
	GO(c, i, bind, (&l->pub, fd, sa, n), bind(fd, sa, n));
}

static int64_t go_connect(const struct chained *c, uintptr_t i, int fd, const struct sockaddr *sa, socklen_t n)
{
	GO(c, i, connect, (&l->pub, fd, sa, n), connect(fd, sa, n));
}

static int64_t go_listen(const struct chained *c, uintptr_t i, int fd, int backlog)
{
	GO(c, i, listen, (&l->pub, fd, backlog), listen(fd, backlog));
}

static int64_t go_accept(const struct chained *c, uintptr_t i, int fd, struct sockaddr *sa, socklen_t *n, int flags)
{
	GO(c, i, accept, (&l->pub, fd, sa, n, flags), accept4(fd, sa, n, flags));
}

static int64_t go_sendmsg(const struct chained *c, uintptr_t i, int fd, const struct msghdr *m, int flags)
{
	GO(c, i, sendmsg, (&l->pub, fd, m, flags), sendmsg(fd, m, flags));
}

static int64_t go_recvmsg(const struct chained *c, uintptr_t i, int fd, struct msghdr *m, int flags)
{
	GO(c, i, recvmsg, (&l->pub, fd, m, flags), recvmsg(fd, m, flags));
}

static int64_t go_shutdown(const struct chained *c, uintptr_t i, int fd, int how)
{
	GO(c, i, shutdown, (&l->pub, fd, how), shutdown(fd, how));
}

static int64_t go_getsockopt(const struct chained *c, uintptr_t i, int fd, int level, int name, void *v, socklen_t *n)
{
	GO(c, i, getsockopt, (&l->pub, fd, level, name, v, n), getsockopt(fd, level, name, v, n));
}

static int64_t go_setsockopt(const struct chained *c, uintptr_t i, int fd, int level, int name, const void *v,
			     socklen_t n)
{
	GO(c, i, setsockopt, (&l->pub, fd, level, name, v, n), setsockopt(fd, level, name, v, n));
}

static int64_t go_getsockname(const struct chained *c, uintptr_t i, int fd, struct sockaddr *sa, socklen_t *n)
{
	GO(c, i, getsockname, (&l->pub, fd, sa, n), getsockname(fd, sa, n));
}

static int64_t go_getpeername(const struct chained *c, uintptr_t i, int fd, struct sockaddr *sa, socklen_t *n)
{
	GO(c, i, getpeername, (&l->pub, fd, sa, n), getpeername(fd, sa, n));
}

/* ---- as a provider sees it --------------------------------------------------------------------------------------- */

#define BELOW(l) (const struct chained *)(l)->place[0], (uintptr_t)(l)->place[1] + 1

static int next_socket(struct onramp_layer *l, int family, int type, int proto)
{
	(void)l;
	return (int)chain_below->kernel_socket(family, type, proto);
}

static int next_bind(struct onramp_layer *l, int fd, const struct sockaddr *sa, socklen_t n)
{
	return (int)go_bind(BELOW(l), fd, sa, n);
}

static int next_connect(struct onramp_layer *l, int fd, const struct sockaddr *sa, socklen_t n)
{
	return (int)go_connect(BELOW(l), fd, sa, n);
}

static int next_listen(struct onramp_layer *l, int fd, int backlog) { return (int)go_listen(BELOW(l), fd, backlog); }

static int next_accept(struct onramp_layer *l, int fd, struct sockaddr *sa, socklen_t *n, int flags)
{
	return (int)go_accept(BELOW(l), fd, sa, n, flags);
}

static ssize_t next_sendmsg(struct onramp_layer *l, int fd, const struct msghdr *m, int flags)
{
	return (ssize_t)go_sendmsg(BELOW(l), fd, m, flags);
}

static ssize_t next_recvmsg(struct onramp_layer *l, int fd, struct msghdr *m, int flags)
{
	return (ssize_t)go_recvmsg(BELOW(l), fd, m, flags);
}

static int next_shutdown(struct onramp_layer *l, int fd, int how) { return (int)go_shutdown(BELOW(l), fd, how); }

static int next_getsockopt(struct onramp_layer *l, int fd, int level, int name, void *v, socklen_t *n)
{
	return (int)go_getsockopt(BELOW(l), fd, level, name, v, n);
}

static int next_setsockopt(struct onramp_layer *l, int fd, int level, int name, const void *v, socklen_t n)
{
	return (int)go_setsockopt(BELOW(l), fd, level, name, v, n);
}

static int next_getsockname(struct onramp_layer *l, int fd, struct sockaddr *sa, socklen_t *n)
{
	return (int)go_getsockname(BELOW(l), fd, sa, n);
}

static int next_getpeername(struct onramp_layer *l, int fd, struct sockaddr *sa, socklen_t *n)
{
	return (int)go_getpeername(BELOW(l), fd, sa, n);
}

static void next_opened(struct onramp_layer *l, int fd)
{
	(void)l;
	(void)fd;
}

static void next_closed(struct onramp_layer *l) { (void)l; }

const struct onramp_ops chain_next = {
	.socket = next_socket, .opened = next_opened, .bind = next_bind, .connect = next_connect,
	.listen = next_listen, .accept = next_accept, .sendmsg = next_sendmsg, .recvmsg = next_recvmsg,
	.shutdown = next_shutdown,
	.getsockopt = next_getsockopt, .setsockopt = next_setsockopt, .getsockname = next_getsockname,
	.getpeername = next_getpeername, .closed = next_closed,
};

/* ---- as the program sees it ------------------------------------------------------------------------ */

/* A number that is no socket any more: whoever closed it did not tell us (N2). */
static int64_t checked(int fd, int64_t r)
{
	int type;
	socklen_t n = sizeof(type);

	if (likely(r != -ENOTSOCK && r != -EBADF) || sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) >= 0)
		return r;
	chain_forget(fd);
	return CHAIN_PASS;
}

#define TOP(call) do {						\
	struct chained *c = chain_hold(fd);			\
	int64_t got;						\
								\
	if (!c)							\
		return CHAIN_PASS;				\
	got = (call);						\
	chain_drop(c);						\
	return checked(fd, got);				\
} while (0)

int64_t chain_bind(int fd, const struct sockaddr *sa, socklen_t n) { TOP(go_bind(c, 0, fd, sa, n)); }
int64_t chain_connect(int fd, const struct sockaddr *sa, socklen_t n) { TOP(go_connect(c, 0, fd, sa, n)); }
int64_t chain_listen(int fd, int backlog) { TOP(go_listen(c, 0, fd, backlog)); }
int64_t chain_shutdown(int fd, int how) { TOP(go_shutdown(c, 0, fd, how)); }
int64_t chain_getsockname(int fd, struct sockaddr *sa, socklen_t *n) { TOP(go_getsockname(c, 0, fd, sa, n)); }
int64_t chain_getpeername(int fd, struct sockaddr *sa, socklen_t *n) { TOP(go_getpeername(c, 0, fd, sa, n)); }

int64_t chain_getsockopt(int fd, int level, int name, void *v, socklen_t *n)
{
	TOP(go_getsockopt(c, 0, fd, level, name, v, n));
}

int64_t chain_setsockopt(int fd, int level, int name, const void *v, socklen_t n)
{
	TOP(go_setsockopt(c, 0, fd, level, name, v, n));
}

int64_t top_sendmsg(int fd, const struct msghdr *m, int flags) { TOP(go_sendmsg(c, 0, fd, m, flags)); }

/* As go_recvmsg(), but for an error that a call before has kept. */
static int64_t recv_or_error(struct chained *c, int fd, struct msghdr *m, int flags)
{
	/* relaxed: told once, by whoever comes first */
	uint32_t err = __atomic_exchange_n(&c->err, 0, __ATOMIC_RELAXED);

	return err ? -(int64_t)err : go_recvmsg(c, 0, fd, m, flags);
}

int64_t top_recvmsg(int fd, struct msghdr *m, int flags) { TOP(recv_or_error(c, fd, m, flags)); }

void top_keep_error(int fd, int64_t err)
{
	struct chained *c = chain_hold(fd);

	if (!c)
		return;
	if (err != -EAGAIN)
		/* relaxed: as above */
		__atomic_store_n(&c->err, (uint32_t)-err, __ATOMIC_RELAXED);
	chain_drop(c);
}

int64_t chain_accept4(int fd, struct sockaddr *sa, socklen_t *n, int flags)
{
	struct chained *c = chain_hold(fd);
	int64_t r;

	if (!c)
		return CHAIN_PASS;
	r = checked(fd, go_accept(c, 0, fd, sa, n, flags));
	if (r >= 0)
		chain_inherit(c, (int)r);
	chain_drop(c);
	return r;
}

int64_t chain_accept(int fd, struct sockaddr *sa, socklen_t *n) { return chain_accept4(fd, sa, n, 0); }
