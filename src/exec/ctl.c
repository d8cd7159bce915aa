/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The control client: fixed-size requests and replies with descriptors beside them.
 *
 * Nothing is believed that the kernel did not say: the listener's credentials are asked of
 * the kernel, a reply is of exactly one size, echoes op and cookie, and whatever came with a
 * reply that is not ours is closed. All waits are in one function, wait_for(), against one
 * deadline a call.
 */
#include "exec/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/un.h>

#include "base/atomic.h"
#include "core/stack/stack.h"
#include "exec/parts.h"
#include "host/sys.h"
#include "layout_hash.h"

/* Waits for `events`, or for the deadline. A signal does not shorten it. */
static int wait_for(int fd, short events, uint64_t until)
{
	for (;;) {
		uint64_t now = host_now(), left = until > now ? until - now : 0;
		struct timespec to = { (time_t)(left / NS_PER_S), (long)(left % NS_PER_S) };
		struct pollfd p = { .fd = fd, .events = events };
		int n = sys_ppoll(&p, 1, &to, NULL);

		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (n != -EINTR)
			return n;
	}
}

static uint64_t deadline_of(uint32_t timeout_ms)
{
	return host_now() + (timeout_ms ? timeout_ms : CTL_TIMEOUT_MS) * NS_PER_MS;
}

/* ---- connecting ----------------------------------------------------------------------------- */

static int peer_is_trusted(int fd)
{
	struct ucred cred;
	socklen_t n = sizeof(cred);
	int err = sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &n);

	if (err)
		return err;
	return cred.uid == 0 || cred.uid == sys_getuid() ? 0 : -EPERM;
}

static int connect_to(const struct sockaddr_un *sun, socklen_t n, int *ret_fd)
{
	uint64_t until = deadline_of(0);
	int fd, err;

	fd = sys_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fd;
	for (;;) {
		err = sys_connect(fd, sun, n);
		/* A full backlog is the only reason for -EAGAIN; the agent will come to it. */
		if (err != -EAGAIN && err != -EINTR)
			break;
		if (host_now() >= until) {
			err = -ETIMEDOUT;
			break;
		}
		(void)sys_ppoll(NULL, 0, &(struct timespec){ 0, 1000000 }, NULL);
	}
	if (!err)
		err = peer_is_trusted(fd);
	if (err) {
		(void)sys_close(fd);
		return err;
	}
	*ret_fd = fd;
	return 0;
}

/* ---- the user's own agent: a socket in a folder of his -------------------------------------------- */

/* Appends; false: no room. */
static bool put(char *to, size_t room, size_t *at, const char *text)
{
	size_t n = strlen(text);

	if (*at + n + 1 > room)
		return false;
	memcpy(to + *at, text, n + 1);
	*at += n;
	return true;
}

static bool put_number(char *to, size_t room, size_t *at, uint64_t v)
{
	char digits[24];
	size_t i = sizeof(digits) - 1;

	digits[i] = 0;
	do {
		digits[--i] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	return put(to, room, at, digits + i);
}

int ctl_own_dir(uint32_t i, char ret[CTL_OWN_DIR_MAX])
{
	const char *runtime = secure_getenv("XDG_RUNTIME_DIR");
	size_t at = 0, room = CTL_OWN_DIR_MAX;
	bool fits = true;

	switch (i) {
	case 0:
		if (!runtime || runtime[0] != '/')
			return -ENAMETOOLONG;	/* none: like one that does not fit */
		fits = put(ret, room, &at, runtime) && put(ret, room, &at, "/onramp");
		break;
	case 1:
		fits = put(ret, room, &at, "/run/user/") && put_number(ret, room, &at, sys_getuid()) &&
		       put(ret, room, &at, "/onramp");
		break;
	case 2:
		fits = put(ret, room, &at, "/tmp/onramp-") && put_number(ret, room, &at, sys_getuid());
		break;
	default:
		return -ENOENT;
	}
	return fits ? 0 : -ENAMETOOLONG;
}

/* A path is the same in all network namespaces, so the name has the namespace's inode. */
int ctl_own_name(char ret[CTL_OWN_NAME_MAX])
{
	int fd = sys_openat(AT_FDCWD, "/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC, 0), err;
	size_t at = 0;
	struct stat st;

	if (fd < 0)
		return fd;
	err = sys_fstat(fd, &st);
	(void)sys_close(fd);
	if (err)
		return err;
	return put(ret, CTL_OWN_NAME_MAX, &at, "agent-") &&
	       put_number(ret, CTL_OWN_NAME_MAX, &at, st.st_ino) ? 0 : -ENAMETOOLONG;
}

/* A folder that another user made where ours would be must not decide whom we talk to. */
static bool is_ours(const char *dir)
{
	int fd = sys_openat(AT_FDCWD, dir, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0);
	struct stat st;
	bool ours;

	if (fd < 0)
		return false;
	ours = sys_fstat(fd, &st) == 0 && st.st_uid == sys_getuid() && !(st.st_mode & 077);
	(void)sys_close(fd);
	return ours;
}

static int connect_in(const char *dir, const char *name, int *ret_fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	size_t at = 0, room = sizeof(sun.sun_path);

	if (!put(sun.sun_path, room, &at, dir) || !put(sun.sun_path, room, &at, "/") ||
	    !put(sun.sun_path, room, &at, name))
		return -ENAMETOOLONG;
	return is_ours(dir) ? connect_to(&sun, sizeof(sun), ret_fd) : -ENOENT;
}

int ctl_connect_own(int *ret_fd)
{
	char dir[CTL_OWN_DIR_MAX], name[CTL_OWN_NAME_MAX];

	if (ctl_own_name(name))
		return -ECONNREFUSED;
	for (uint32_t i = 0;; i++) {
		int err = ctl_own_dir(i, dir);

		if (err == -ENOENT)
			return -ECONNREFUSED;
		if (!err && connect_in(dir, name, ret_fd) == 0)
			return 0;
	}
}

int ctl_connect_system(int *ret_fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t n = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + sizeof(CTL_NAME));

	/* Abstract: a zero byte, then the name, which has no terminator. */
	memcpy(sun.sun_path + 1, CTL_NAME, sizeof(CTL_NAME) - 1);
	return connect_to(&sun, n, ret_fd);
}

int ctl_connect(int *ret_fd)
{
	int err = ctl_connect_system(ret_fd);

	if (err != -ECONNREFUSED && err != -EPERM)
		return err;
	/* Who sits on the name and is not to be trusted does not keep us from our own. */
	return ctl_connect_own(ret_fd) == 0 ? 0 : err;
}

bool ctl_is_own(int fd)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	socklen_t n = sizeof(sun);

	return sys_getpeername(fd, &sun, &n) == 0 && n > offsetof(struct sockaddr_un, sun_path) &&
	       sun.sun_path[0] != 0;
}

int ctl_hello(int fd, uint32_t timeout_ms)
{
	struct ctl_call c;
	int err;

	ctl_prepare(&c, CTL_HELLO);
	c.timeout_ms = timeout_ms;
	err = ctl_call(fd, &c);
	if (err)
		return err;
	return c.msg.layout_hash == ONRAMP_LAYOUT_HASH ? 0 : -EPROTO;
}

/* ---- one message out -------------------------------------------------------------------------- */

void ctl_prepare(struct ctl_call *c, enum ctl_op op)
{
	memset(c, 0, sizeof(*c));
	c->msg.op = op;
	c->send_fd = -1;
}

union one_fd {
	struct cmsghdr head;
	uint8_t bytes[CMSG_SPACE(sizeof(int))];
};

static int send_one(int sock, const struct ctl_msg *msg, int send_fd)
{
	struct iovec iov = { (void *)(uintptr_t)msg, sizeof(*msg) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
	union one_fd ctl = { 0 };
	ssize_t n;

	if (send_fd >= 0) {
		m.msg_control = &ctl;
		m.msg_controllen = sizeof(ctl.bytes);
		ctl.head.cmsg_level = SOL_SOCKET;
		ctl.head.cmsg_type = SCM_RIGHTS;
		ctl.head.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&ctl.head), &send_fd, sizeof(send_fd));
	}
	n = sys_sendmsg(sock, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n < 0)
		return (int)n;
	return n == sizeof(*msg) ? 0 : -EPROTO;
}

int ctl_tell(int fd, struct ctl_msg *msg)
{
	msg->version = CTL_VERSION;
	msg->layout_hash = ONRAMP_LAYOUT_HASH;
	return send_one(fd, msg, -1);
}

/* ---- one message in ----------------------------------------------------------------------------- */

static void close_all(const int *fds, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		(void)sys_close(fds[i]);
}

struct reply {
	struct ctl_msg msg;
	uint32_t n_fds;
	int	 fds[CTL_MAX_FDS];
};

static void take_fds(struct msghdr *m, struct reply *r)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = c->cmsg_len < CMSG_LEN(0) ? 0 : (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(fd));
			if (r->n_fds < CTL_MAX_FDS)
				r->fds[r->n_fds++] = fd;
			else
				(void)sys_close(fd);
		}
	}
}

/* 0: a message of the right shape. -EAGAIN: none now. -EPIPE: the agent has hung up. */
static int receive_one(int sock, struct reply *r)
{
	union {
		struct cmsghdr head;
		uint8_t bytes[CMSG_SPACE(sizeof(int) * CTL_MAX_FDS)];
	} ctl;
	struct iovec iov = { &r->msg, sizeof(r->msg) };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1,
			    .msg_control = &ctl, .msg_controllen = sizeof(ctl.bytes) };
	ssize_t n = sys_recvmsg(sock, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	r->n_fds = 0;
	if (n < 0)
		return n == -ECONNRESET ? -EPIPE : (int)n;
	take_fds(&m, r);
	if (n == 0)
		return -EPIPE;
	if (n != sizeof(r->msg) || (m.msg_flags & (MSG_TRUNC | MSG_CTRUNC))) {
		close_all(r->fds, r->n_fds);
		return -EPROTO;
	}
	return 0;
}

static uint32_t next_cookie(void)
{
	static _Atomic uint32_t last;

	/* relaxed: only that no two calls of a process get the same */
	return atomic_fetch_add_explicit(&last, 1, memory_order_relaxed) + 1;
}

int ctl_call(int fd, struct ctl_call *c)
{
	uint64_t until = deadline_of(c->timeout_ms);
	uint32_t op = c->msg.op, cookie = next_cookie();
	struct reply r;
	int err;

	c->msg.version = CTL_VERSION;
	c->msg.layout_hash = ONRAMP_LAYOUT_HASH;
	c->msg.cookie = cookie;
	c->n_fds = 0;
	while ((err = send_one(fd, &c->msg, c->send_fd)) != 0) {
		if (err != -EAGAIN && err != -EINTR)
			return err;
		err = wait_for(fd, POLLOUT, until);
		if (err)
			return err;
	}
	for (;;) {
		err = receive_one(fd, &r);
		if (!err && r.msg.op == op && r.msg.cookie == cookie)
			break;
		if (!err) {	/* the late reply to a call that gave up */
			close_all(r.fds, r.n_fds);
			continue;
		}
		if (err != -EAGAIN && err != -EINTR)
			return err;
		err = wait_for(fd, POLLIN, until);
		if (err)
			return err;
	}
	c->msg = r.msg;
	c->n_fds = r.n_fds;
	memcpy(c->fds, r.fds, sizeof(c->fds[0]) * r.n_fds);
	/* Not to be trusted to be an errno: tools print it. */
	return r.msg.err > 0 || r.msg.err < -4095 ? -EPROTO : r.msg.err;
}

int ctl_once(struct ctl_call *c)
{
	int fd, err = ctl_connect(&fd);

	if (err)
		return err;
	err = ctl_hello(fd, c->timeout_ms);
	if (!err)
		err = ctl_call(fd, c);
	(void)sys_close(fd);
	return err;
}

/* ---- on behalf of a stack ------------------------------------------------------------------------- */

#define LOCK_FREE	0
#define LOCK_HELD	1
#define LOCK_WAITED	2	/* held, and somebody sleeps on it */

/* A bounded mutex: a signal handler that comes back in here on the thread that holds it must
 * get an error, not a deadlock. */
int exec_lock(uint32_t *word, uint64_t until)
{
	_Atomic uint32_t *lock = (_Atomic uint32_t *)word;
	uint32_t seen = LOCK_FREE;

	/* acq: pairs with rel in exec_unlock() */
	if (atomic_compare_exchange_strong_explicit(lock, &seen, LOCK_HELD, memory_order_acquire,
						    memory_order_relaxed))
		return 0;
	/* acq: pairs with rel in exec_unlock() */
	while (atomic_exchange_explicit(lock, LOCK_WAITED, memory_order_acquire) != LOCK_FREE) {
		uint64_t now = host_now(), left = until > now ? until - now : 0;
		struct timespec to = { (time_t)(left / NS_PER_S), (long)(left % NS_PER_S) };

		if (!left)
			return -ETIMEDOUT;
		(void)sys_futex(word, FUTEX_WAIT_PRIVATE, LOCK_WAITED, &to);
	}
	return 0;
}

void exec_unlock(uint32_t *word)
{
	_Atomic uint32_t *lock = (_Atomic uint32_t *)word;

	/* rel: pairs with acq in exec_lock() */
	if (atomic_exchange_explicit(lock, LOCK_FREE, memory_order_release) == LOCK_WAITED)
		(void)sys_futex(word, FUTEX_WAKE_PRIVATE, 1, NULL);
}

int exec_call(struct exec *x, struct ctl_call *c)
{
	int err;

	if (x->ctl_fd < 0)
		return -ENOTCONN;
	err = exec_lock(&x->ctl_lock, deadline_of(c->timeout_ms));
	if (err)
		return err;
	err = ctl_call(x->ctl_fd, c);
	exec_unlock(&x->ctl_lock);
	return err;
}

static int plain_call(struct exec *x, struct ctl_call *c)
{
	int err = exec_call(x, c);

	close_all(c->fds, c->n_fds);
	return err;
}

int exec_lease_add(struct exec *x, const struct ctl_lease *l, int bound_fd)
{
	struct ctl_call c;

	ctl_prepare(&c, CTL_LEASE_ADD);
	c.msg.u.lease = *l;
	c.send_fd = bound_fd;
	return plain_call(x, &c);
}

int exec_lease_del(struct exec *x, const struct ctl_lease *l)
{
	struct ctl_call c;

	ctl_prepare(&c, CTL_LEASE_DEL);
	c.msg.u.lease = *l;
	return plain_call(x, &c);
}

int exec_flow_add(struct exec *x, const struct ctl_flow *f)
{
	struct ctl_call c;

	ctl_prepare(&c, CTL_FLOW_ADD);
	c.msg.u.flow = *f;
	return plain_call(x, &c);
}

int exec_flow_del(struct exec *x, const struct ctl_flow *f)
{
	struct ctl_call c;

	ctl_prepare(&c, CTL_FLOW_DEL);
	c.msg.u.flow = *f;
	return plain_call(x, &c);
}

void exec_flows_over(struct exec *x)
{
	struct ctl_flow of[N_FLOWS_OVER];
	struct segment *seg = x->map.seg;
	uint32_t n, i;
	struct turn t;

	memset(of, 0, sizeof(of));
	if (!exec_try_turn(x, &t))
		return;
	n = min_u32(seg->n_flows_over, N_FLOWS_OVER);
	for (i = 0; i < n; i++) {
		of[i].laddr = seg->flows_over[i].laddr;
		of[i].raddr = seg->flows_over[i].raddr;
		of[i].lport = seg->flows_over[i].lport;
		of[i].rport = seg->flows_over[i].rport;
		of[i].proto = IPPROTO_TCP;
	}
	seg->n_flows_over = 0;
	exec_end(x, &t, false);
	for (i = 0; i < n; i++)
		(void)exec_flow_del(x, &of[i]);
}

int exec_get_ports(struct exec *x)
{
	struct ctl_call c;
	struct turn t;
	int err;

	ctl_prepare(&c, CTL_PORTS_GET);
	err = plain_call(x, &c);
	if (err)
		return err;
	if (c.msg.u.ports.count != PORT_BLOCK || c.msg.u.ports.base % PORT_BLOCK ||
	    !c.msg.u.ports.base)
		return -EPROTO;
	exec_begin(x, &t);
	err = port_block_add(&t, c.msg.u.ports.base);
	exec_end(x, &t, false);
	return err;
}
