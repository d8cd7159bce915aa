/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of this folder share: this process, its descriptor table, its one stack,
 * and the calling thread.
 *
 * Invariants
 *  D1  A descriptor's entry is one 64-bit word (kind, flags, reason, handle), written at once:
 *	a racing call sees the old one or the new one.
 *  D2  An entry is cleared before the kernel's descriptor is closed, and set after it was made;
 *	so a number that the kernel hands out is never one that still means a socket.
 *  D3  An accelerated entry has the bit of this process set in its socket's `procs`. Entries of
 *	the same socket carry FDF_SHARED if there may be more than one in this process.
 *  D4  Nobody of this folder holds the turn while in a system call (T2), or calls libc by a
 *	name that the library interposes.
 *  D5  A signal handler that arrives inside our own turn gets -EINTR or -EAGAIN for what needs
 *	a turn; its close() is remembered and done when the turn ends.
 */
#ifndef SOCK_SELF_H
#define SOCK_SELF_H

#include "abi/fdtab.h"
#include "base/atomic.h"
#include "core/net/net.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"
#include "core/udp/udp_area.h"
#include "core/vif/vif.h"
#include "exec/ctl.h"
#include "exec/exec.h"
#include "host/sys.h"
#include "sock/sock.h"

/* fd_ent.flags of sockets */
#define FDF_NONBLOCK	(1u << 0)	/* O_NONBLOCK, while the kernel owns the socket */
#define FDF_SHARED	(1u << 1)	/* another descriptor of this process may be the same socket */
#define FDF_OPTS	(1u << 2)	/* setsockopt() was called: options are worth reading back */
#define FDF_BOUND	(1u << 3)	/* bind() succeeded */
#define FDF_SNDBUF	(1u << 4)	/* SO_SNDBUF was set */
#define FDF_RCVBUF	(1u << 5)	/* SO_RCVBUF was set */
#define FDF_DGRAM	(1u << 6)
#define FDF_V6		(1u << 7)	/* AF_INET6 */
/* fd_ent.flags of epoll descriptors; FDF_SHARED as above */
#define FDF_FOREIGN	(1u << 0)	/* the kernel's instance has something in it */

/* sk.user */
#define SKU_NONBLOCK	(1u << 0)	/* O_NONBLOCK: of the open file, so of all descriptors */
#define SKU_CONNECTING	(1u << 1)	/* connect() has not yet told of success */
#define SKU_LEASED	(1u << 2)	/* holds a lease of its own on its local port */
#define SKU_KERNEL_TOO	(1u << 3)	/* the kernel's socket below is bound or listens as well */
#define SKU_RETURNED	(1u << 5)	/* a datagram socket that is the kernel's again (dgram_opts.c) */
#define SKU_CORKED	(1u << 6)	/* ... that the kernel is putting a datagram together for (MSG_MORE) */
#define SKU_SEEN	(1u << 4)	/* a name was asked for: keep what was told */
#define SKU_PASSED	(1u << 7)	/* a listener whose next connections come by the kernel only */

struct ent {			/* a copy of an entry's word */
	uint8_t	 kind, flags;
	uint16_t reason;
	uint32_t h;
};
static_assert(sizeof(struct ent) == 8, "one word (D1)");

enum stack_state { ST_NONE, ST_GETTING, ST_READY, ST_NEVER, ST_LEFT };

struct self {
	struct fdtab *tab;	/* NULL until the first socket */
	int	 tab_fd;
	uint32_t state;		/* enum stack_state; atomic */
	struct exec x;
	uint64_t ports_at, ports_wait_ns;	/* when the agent may be asked for ports again */
	uint32_t agent_due_ms;	/* until when one is being started, in ms of the clock's low half; 0: none is */
	uint64_t retry_at;	/* ns: before this, no second attempt to get a stack */
	uint16_t reason;	/* why there is none */
	uint8_t	 strict, spins;	/* spins: the profile's waits never sleep on their own account */
	uint8_t	 quiet;		/* under seccomp: no system call but read, write, ppoll, close */
	uint8_t	 have_ports;
	uint8_t	 uring;		/* the program has an io_uring: new sockets are the kernel's */
	uint8_t	 apart;		/* ... or shares memory or descriptors with another process (clone.c) */
	int	 quiet_slot;	/* waiter slot kept while quiet; -1 */
	int	 nudge_fd;	/* an eventfd that is always readable (epoll.c P6); 0: not made yet */
	int	 templates[2];	/* unconnected sockets, IPv4 and IPv6, that accepted descriptors copy */
	int	 slot_ep[N_WAITERS];	/* kernel epoll per waiter slot: devices, bell, one nested; -1 */
	int	 slot_nested[N_WAITERS];	/* the nested descriptor in it; -1 */
	uint32_t n_spinning, max_spinning;	/* threads in a spin, now (atomic) and at most */
	uint32_t spin_ns;	/* the profile's patience */
	uint8_t	 cc, ecn;	/* its congestion control, TCP_CC_*, and TCP_ECN_* */
	bool	 cc_chosen;	/* it names one */
	uint32_t spin_score;	/* 0..SPIN_SCORE_ONE: how often a spin has paid of late */
	uint32_t spin_skips;
	uint64_t foreign_gap_ns, foreign_at;	/* pacing of looks at the kernel's side */
	char	 profile[32];
	char	 detail[128], chain[256];	/* as in abi/fdtab.h */
	char	 preload[512];	/* LD_PRELOAD as we were started with */
};
extern struct self self;
#define SPIN_SCORE_ONE 256

/* The thread. Zero is its initial state; bell is the descriptor less one's complement so. */
struct thread {
	uint32_t in_turn;	/* between sk_enter() and sk_leave(), or as if: holds what a handler
				 * of this thread must not wait for */
	uint32_t forking, fork_locked;	/* between the hooks of fork(); its lock is ours */
	uint32_t batch;		/* sends that may leave their kick to a later one */
	uint32_t loops;		/* 1: waits for events; what it posts last may go with its next wait */
	uint32_t n_sigs, n_hard;	/* handlers run in this thread; those without SA_RESTART */
	uint32_t bell_plus1;	/* bell to ring from a handler while going to sleep; 0 none */
	uint32_t vain;		/* rings of peers, one upon the other, that brought this thread nothing */
	uint32_t borrowed;	/* a child of clone() has this memory for a while, not these descriptors */
	uint32_t n_peeks;
	uint32_t n_noted;
	uint32_t waits[N_WAITS];	/* enum wait_count, not yet told (wait_note()) */
	uint32_t n_late;
	int	 late[4];	/* descriptors closed by a handler inside a turn (D5) */
};
extern thread_fast struct thread me;

#define SOCK_N_LATE n_elems(me.late)

/* ---- table (fdtab.c) ---------------------------------------------------------------------- */

static inline struct ent fd_get(int fd)
{
	union { uint64_t w; struct ent e; } u = { 0 };

	if (likely((uint32_t)fd < sk_fds.n))
		/* acq: pairs with rel in fd_put() */
		u.w = __atomic_load_n((uint64_t *)(void *)&sk_fds.ents[fd], __ATOMIC_ACQUIRE);
	return u.e;
}

must_check int fd_table(void);			/* makes it if it is not there; 0 or -errno */
void fd_put(int fd, struct ent e);		/* also stamps born_ms and counts reasons */
struct ent fd_take(int fd);			/* clears it and returns what it was */
void fd_flags(int fd, uint8_t set, uint8_t clear);
bool fd_has_twin(int fd, uint32_t h, uint8_t kind);	/* another entry with that handle */
int fd_private_min(void);			/* where plumbing starts */
void fd_mark_private(int fd);
must_check int fd_make_private(int fd);		/* moves it up and marks it; new number or -errno */
must_check int fd_move_private(int fd);		/* the program wants its number: away with it */
void fd_plumbing(const struct exec *x);		/* writes an exec's descriptors into the table */
/* Around fork(): a copy is made, which the child uses and the parent drops. */
must_check int fd_table_prepare(void);
void fd_table_parent(void);
must_check int fd_table_child(void);
void fd_kernel(int fd, struct ent e, enum reason why);	/* for good in the kernel */

/* ---- several numbers of an undecided socket (twins.c) --------------------------------------- */

struct ent twins_know(int fd, struct ent e);	/* the entry, with what was done by other numbers */
void twins_put(int fd, struct ent e);		/* decided: for all of them, here and in epolls */
void twins_after_fork(uint32_t parent);
bool twins_elsewhere(int fd, struct ent e);	/* undecided, and our parent has it, too */

/* ---- stack (stack.c) ------------------------------------------------------------------------ */

/* 0, or the reason why this process has no stack now. */
must_check enum reason stack_need(void);
static inline bool stack_have(void)
{
	/* acq: pairs with rel in stack_need() */
	return __atomic_load_n(&self.state, __ATOMIC_ACQUIRE) == ST_READY;
}
must_check int stack_template(bool v6);		/* descriptor, or -errno */
bool strict_fails(enum reason why);

/* ---- entering and leaving (enter.c) ---------------------------------------------------------- */

must_check bool sk_enter(struct turn *t);	/* false: inside our own turn already (D5) */
bool sk_enter_for(struct turn *t, uint32_t h);	/* to move bytes of that socket: its clock need not be exact */
void sk_leave(struct turn *t, bool defer_kick);
bool sk_pending(void);		/* packets, events of peers, or a new pair: a peek */
bool sk_due(void);		/* the device or a timer wants a round: a peek */
bool sk_round(void);		/* a turn for that, if nobody else is at it: then false */
void sk_refresh(void);		/* before a look at readiness: the same, where it is due (S0c-POLL-01) */
void sk_pairs(void);		/* maps pairs that are new, lets go of what is over */
void sk_note_bells(void);	/* descriptors that came with them are plumbing */
must_check int ask_ports(void);
int64_t late_close(int fd);	/* D5 */

/* Round requests to the agent and private locks: a handler that arrives now must not wait. */
static inline void agent_enter(void)
{
	me.in_turn++;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}
static inline void agent_leave(void)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	me.in_turn--;
}

/* Slot of a handle, for peeking without a turn; NULL if it is another socket by now. */
static inline struct sk *sk_peek(uint32_t h)
{
	struct sk *sk = (struct sk *)(void *)(self.x.map.socks +
					      (size_t)(h & self.x.map.sk_mask) * SK_BYTES);

	return likely(peek32(&sk->self) == h) ? sk : NULL;
}
static inline bool ent_is_ours(struct ent e) { return e.kind >= FD_TCP && e.kind <= FD_UDP; }

/* ---- waiting (wait.c) -------------------------------------------------------------------------- */

#define WAIT_ROOM (N_VIS + 3)	/* entries behind n_pfd that the sleeper uses itself */

struct wait {
	uint64_t until;		/* ns; NEVER_NS */
	const sigset_t *mask;	/* in force while waiting; NULL: as it is */
	uint32_t n_sigs, n_hard;	/* of the thread, when the call began */
	bool	 restarts;	/* SA_RESTART applies to this call */
	bool	 polls;		/* poll() or select(): being stopped and continued does not end it */
	bool	 foreign;	/* out: the kernel's side has something */
	bool	 rung;		/* the sleeper's: its bell is to be drained */
	bool	 naps;		/* ... and for a while others look (W5) */
	bool	 piped, peers;	/* ... and the stack's pipe, or PEER_BELL, by which peers ring */
	bool	 (*ready)(const struct wait *w);	/* a look without a turn */
	void	 (*arm)(struct turn *t, const struct wait *w, uint32_t bit, bool on);
	struct pollfd *pfd;	/* the kernel's descriptors, WAIT_ROOM free entries behind them */
	uint32_t n_pfd;
	int	 nested;	/* kernel epoll to watch; -1 */
	uint32_t h;		/* for ready() and arm() */
	uint32_t events;
	const void *arg;
};
void wait_init(struct wait *w, uint64_t until);
/* 0: look again; -ETIMEDOUT; -EINTR. */
must_check int wait_for(struct wait *w);
/* One socket: until any of `events` (or an error) shows. kernel_fd -1: not in the kernel too. */
void wait_sk(struct wait *w, uint32_t h, uint32_t events);
uint64_t until_ms(uint32_t ms);			/* 0: for ever */
uint64_t until_ns(uint64_t ns);
bool wait_interrupted(const struct wait *w);
void wait_forget_nested(int epfd);		/* its number is going to mean something else */
void wait_note(enum wait_count what);	/* counts it, for `onramp evq` */
void wait_after_fork(void);
void wait_prepare_quiet(void);
/* True when it is time to look at the kernel's side again; `found` paces the next. */
bool foreign_due(uint64_t now);
void foreign_found(uint64_t now, bool found);

/* ---- the process (proc.c) ------------------------------------------------------------------------ */

#define PROC_NUMBER 12
char *proc_number(char buf[PROC_NUMBER], uint32_t v);	/* in decimal, somewhere in buf */
void proc_inherit(struct sk_exec *e);	/* exec: plumbing stays open, and the new image is told of it */
/* Whether that program will have this library in it (program.c). */
bool program_takes_library(const struct sk_program *p, char *const *env);

/* A pointer that cannot be the program's: NULL and what is near it, and the kernel's half. The
 * kernel says EFAULT; another that is not mapped is met by the copy, and is a fault as in libc. */
static inline bool is_wild(const void *p) { return (uintptr_t)p < 4096 || (uintptr_t)p >> 47; }

/* What the profile keeps in the kernel (policy.c): a peer, or an address to be bound to. */
void policy_read(void);
bool policy_on(void);
bool policy_keeps(const struct ipaddr *a, uint16_t port);

/* ---- others ---------------------------------------------------------------------------------------- */

must_check int addr_parse(const void *sa, socklen_t n, struct ipaddr *ret, uint16_t *ret_port);
void addr_emit(const struct ipaddr *a, uint16_t port, bool v6, void *sa, socklen_t *n);
bool addr_is_loopback(const struct ipaddr *a);
int64_t await_open(struct ent e);		/* the end of a handshake: 0 or what came of it */
/* connect() that waits for data if it can; *ret_at_once: it is open, and data may go unasked. SK_PASS. */
int64_t connect_by_send(int fd, const struct sockaddr *sa, socklen_t n, bool *ret_at_once);
bool fastopen_is_on(void);			/* tcp_fastopen has 1 */
bool fastopen_is_free(const struct tcp_opts *o);	/* no cookie is wanted */
struct fo_keys { uint8_t key[32]; uint32_t n; };
void fastopen_keys(int fd, struct fo_keys *ret);
int64_t udp_autobind(int fd);			/* 0: ours now; else not */

void opts_read_back(int fd, struct ent e, struct tcp_opts *o, uint32_t *rcvtimeo, uint32_t *sndtimeo);
/* The other way: a kernel socket gets what the program had set on ours. */
void opts_tell(int fd, const struct tcp_opts *o, uint32_t rcvtimeo, uint32_t sndtimeo);
bool opts_want_kernel(int fd, struct ent e);	/* an option that only the kernel has is set */

void conn_close(int fd, struct ent e);		/* one descriptor of a socket goes (open.c) */
void lease_of_sk(const struct sk *sk, struct ctl_lease *ret);	/* as it was asked for */
void conn_give_up_lease(struct ent e);		/* its port is the kernel's; what it has goes on */
void conn_close_leased(void);			/* all that hold one, at exit */
void epoll_close(int fd, struct ent e);
void epoll_moved(int fd, struct ent e);		/* an undecided socket became ours */
void epoll_forget(int fd);			/* an undecided one is closed */
void epoll_before_fork(void);
void epoll_after_fork(void);
int64_t nest_error(struct ent e);		/* what a call inside our own turn gets */
void raise_sigpipe(void);

#endif
