/* SPDX-License-Identifier: BSD-2-Clause */
/* What the chain of providers calls when all of them have had their say, and its beginning. */
#include "preload/preload.h"

#include <stdlib.h>

#include "host/sys.h"

/* A wrapper's result and errno, as one number; errno stays what it was. */
#define AS_ONE(call) do {			\
	int saved = errno;			\
	int64_t r = (int64_t)(call);		\
						\
	r = r < 0 ? -errno : r;			\
	errno = saved;				\
	return r;				\
} while (0)

static int64_t one_socket(int family, int type, int proto) { AS_ONE(below_socket(family, type, proto)); }
static int64_t kernel_socket(int family, int type, int proto) { return sys_socket(family, type, proto); }
static int64_t one_bind(int fd, const struct sockaddr *sa, socklen_t n) { AS_ONE(below_bind(fd, sa, n)); }
static int64_t one_connect(int fd, const struct sockaddr *sa, socklen_t n) { AS_ONE(below_connect(fd, sa, n)); }
static int64_t one_listen(int fd, int backlog) { AS_ONE(below_listen(fd, backlog)); }
static int64_t one_sendmsg(int fd, const struct msghdr *m, int flags) { AS_ONE(below_sendmsg(fd, m, flags)); }
static int64_t one_recvmsg(int fd, struct msghdr *m, int flags) { AS_ONE(below_recvmsg(fd, m, flags)); }
static int64_t one_shutdown(int fd, int how) { AS_ONE(below_shutdown(fd, how)); }
static int64_t one_name(int fd, struct sockaddr *sa, socklen_t *n) { AS_ONE(below_getsockname(fd, sa, n)); }
static int64_t one_peer(int fd, struct sockaddr *sa, socklen_t *n) { AS_ONE(below_getpeername(fd, sa, n)); }
static int64_t one_close(int fd) { AS_ONE(below_close(fd)); }

static int64_t one_accept(int fd, struct sockaddr *sa, socklen_t *n, int flags)
{
	AS_ONE(below_accept4(fd, sa, n, flags));
}

static int64_t one_getsockopt(int fd, int level, int name, void *v, socklen_t *n)
{
	AS_ONE(below_getsockopt(fd, level, name, v, n));
}

static int64_t one_setsockopt(int fd, int level, int name, const void *v, socklen_t n)
{
	AS_ONE(below_setsockopt(fd, level, name, v, n));
}

void layers_begin(void)
{
	static const struct chain_below below = {
		.socket = one_socket, .kernel_socket = kernel_socket, .bind = one_bind, .connect = one_connect,
		.listen = one_listen, .accept4 = one_accept, .sendmsg = one_sendmsg, .recvmsg = one_recvmsg,
		.shutdown = one_shutdown, .getsockopt = one_getsockopt, .setsockopt = one_setsockopt,
		.getsockname = one_name, .getpeername = one_peer, .close = one_close,
	};
	const char *names = secure_getenv("ONRAMP_PROVIDERS");
	char text[CHAIN_TEXT];
	bool onramp;

	if (!names || !names[0])
		return;
	chain_begin(names, &below, &onramp, text);
	sk_provided(text, onramp);
}
