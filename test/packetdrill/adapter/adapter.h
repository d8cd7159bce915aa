/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The parts of the adapter: one stack of the pure core in plain memory (world.c), descriptors and
 * calls on it (calls.c, opts.c), and waiting (wait.c). Only one world lives at a time.
 *
 *  P1  Whoever touches the world holds `lock`; the world's clock moves only in world_pass() and by
 *      the microsecond that each question for the time costs.
 *  P2  When the call that moved the world returns, every thread that it woke has gone as far as it
 *      can: it waits again or has left its call. So a script plays the same way every time.
 *  P3  A thread that waited is told, at its next question for the time, when its call ended.
 */
#ifndef TEST_PACKETDRILL_ADAPTER_H
#define TEST_PACKETDRILL_ADAPTER_H

#include "abi/mirror.h"
#include "core/net/net.h"
#include "core/tcp/tcp.h"
#include "host/host.h"
#include "test/packetdrill/adapter/table.h"

#define PD_N_FILES 64

/* ---- world.c ------------------------------------------------------------------------------- */

struct world_conf {
	uint32_t mtu;
	const char *local4, *local6;	/* of sockets that were not bound */
};

void world_make(const struct world_conf *c);
void world_free(void);
void world_tune(void);			/* by the sysctls of this network namespace, which scripts set */
uint64_t world_now(void);		/* ns */
void world_enter(struct turn *t);
void world_leave(struct turn *t);	/* what was sent is on the wire then */
void world_address(struct turn *t, const struct ipaddr *a);	/* ours from now on, if it was not */
int world_in(const uint8_t *p, size_t n);
size_t world_out(uint8_t *p, size_t room, uint64_t *ret_at);	/* 0: nothing */
uint64_t world_deadline(void);		/* of the stack's own timers */
void world_pass(uint64_t until);	/* timers that come due on the way run at their time */

/* ---- calls.c: descriptors --------------------------------------------------------------------- */

enum file_kind { FILE_FREE, FILE_NEW, FILE_CONN, FILE_LISTEN, FILE_EPOLL };

struct file {
	enum file_kind kind;
	int fd;				/* of /dev/null: packetdrill closes what a script leaves open itself */
	bool v6, nonblock, bound, connecting;
	sk_h sk;
	ep_h ep;
	struct ipaddr laddr;
	uint16_t lport;
	struct tcp_opts opts;		/* until it is opened */
	uint32_t rcvtimeo_ms, sndtimeo_ms, rcvlowat;
	uint8_t key[32];		/* TCP_FASTOPEN_KEY */
	uint32_t n_keys;		/* of 16 bytes */
};

struct file *file_of(int fd);		/* NULL: not ours */
void files_close(void);
int file_new(enum file_kind kind);	/* descriptor, or -EMFILE */
struct sk *file_sk(struct turn *t, const struct file *f);	/* NULL: none */
int64_t file_connect(struct file *f, const struct sockaddr *sa, bool defer);
int64_t file_await(struct file *f);	/* the end of a handshake: 0 or what came of it */
void pd_calls(struct pd_table *ret);

/* ---- opts.c ------------------------------------------------------------------------------------ */

int64_t opts_get(struct file *f, int level, int name, void *v, socklen_t *n);
int64_t opts_set(struct file *f, int level, int name, const void *v, socklen_t n);
int64_t opts_ioctl(struct file *f, unsigned long cmd, int *arg);

/* ---- fastopen.c -------------------------------------------------------------------------------- */

bool fastopen_is_on(void);
/* A send that may be what opens the connection. 1: go on with what is after *ret_done bytes; 0: that was all
 * that may be sent now; else what the call answers. */
int64_t fastopen_send(struct file *f, const struct iovec *v, uint32_t n, int flags, const struct sockaddr *sa,
		      int64_t *ret_done);
void fastopen_key(struct turn *t, const struct file *f, struct sk *lsk);

/* ---- wait.c -------------------------------------------------------------------------------------- */

void pd_lock(void);
void pd_unlock(void);			/* P2 */
/* With the lock: until ready(arg), or `until` has passed (false). */
bool pd_wait(bool (*ready)(void *arg), void *arg, uint64_t until);
uint64_t pd_clock(void);		/* us; P3 */
void pd_nap(uint64_t ns);
void pd_wait_begin(void);		/* the thread that calls is packetdrill's main one */
uint64_t pd_until_ms(int64_t ms);	/* < 0: for ever */
/* Time passes until `until`, for the stack and for those that wait; then 0, or as soon as `stop` says so. */
void pd_pass(uint64_t until, bool (*stop)(void));
uint64_t pd_deadline(void);		/* of the stack or of somebody who waits */

void poll_calls(struct pd_table *ret);	/* poll.c */

#endif
