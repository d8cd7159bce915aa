/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The agent's state and the seams between its modules. One thread, one event loop; nothing in
 * here is shared with anybody but through the BPF maps, the mirror and the control socket.
 *
 *   ctl.c      who asks          request.c  is it a message at all (pure, fuzzed)
 *   stack.c    stacks' lives     child.c    their surrogates
 *   kit.c      stacks made ahead vf.c xsk.c devices and sockets of them
 *   link.c     attached links    keeper.c   the one process that keeps all privileges
 *   lease.c    rights to ports   ports.c    blocks of ephemeral ports    filter.c  BPF maps
 *   mirror.c   what netlink says netlink.c  how netlink is asked         privilege.c  what we drop
 *   directory.c who serves what  pair.c     apertures between stacks     own.c     the agent of one user
 *
 * Every function returns 0 or -errno where it returns int, unless it says otherwise.
 */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <sys/types.h>
#include <sys/socket.h>

#include "abi/ctl.h"
#include "abi/mirror.h"
#include "abi/vif.h"
#include "bpf/maps.h"
#include "base/types.h"

#define N_SPARE		2	/* stacks kept ready: two programs may start at once */
#define N_CLIENTS_UID	(N_CLIENTS / 2)	/* connections of one unprivileged user */
#define N_RESPAWN	3	/* times a crashed surrogate is replaced */
#define N_FDS_APART	512	/* descriptors that port blocks leave for all else */
#define MAX_REPLY_FDS	(4 + N_VIS + N_WAITERS)
#define N_PROGRAMS	512	/* programs that keep an agent of one's own alive */

struct onramp_bpf;
struct mnl_socket;
struct stack;
struct pair;

/* ---- attached interfaces (link.c) ---- */

struct nic {
	bool	 live;
	uint32_t i;		/* its number: index into nics, and into the XDP programs' maps */
	uint32_t ifindex, mtu;
	uint32_t mode;		/* ATTACH_NATIVE or ATTACH_GENERIC */
	uint32_t flags;		/* ATTACH_F_* */
	uint8_t	 mac[6];
	char	 name[16];
	char	 note[128];
	struct stack *direct;	/* the stack that has its own queue, or NULL */
};

/* ---- software virtual functions (vf.c) ---- */

enum vf_state { VF_NONE = 0, VF_BARE, VF_USED };

struct vf {
	enum vf_state state;
	uint32_t id;		/* index into vfs, and into the xsks map */
	uint32_t nic;
	uint32_t app_ifindex, agent_ifindex;
	uint64_t rests_until;	/* ns: the kernel lets go of a closed AF_XDP socket a little later */
};

/* ---- stacks (stack.c, kit.c, child.c) ---- */

enum stack_state { STACK_NONE = 0, STACK_MAKING, STACK_SPARE, STACK_LIVE };

struct stack_vi {
	uint32_t nic;
	uint32_t ifindex;	/* of the interface */
	struct vf *vf;		/* NULL: direct */
	int	 xsk;		/* -1: its interface is gone */
	uint64_t spoofed_base;	/* counters when the stack got the slot */
};

struct stack {
	enum stack_state state;
	uint32_t slot;		/* 1 .. N_SLOTS, as in the maps */
	uint32_t id;
	bool	 direct;	/* has an interface's own queue */
	uid_t	 uid;
	gid_t	 gid;
	pid_t	 pid;		/* of the program that asked */
	char	 comm[16];
	int	 seg;
	uint64_t filled;	/* MAKING: bytes of packet memory that have pages */
	dev_t	 seg_dev;
	ino_t	 seg_ino;
	uint32_t n_vis;
	struct stack_vi vi[N_VIS];
	int	 bell[N_WAITERS];
	int	 front;		/* of its apertures; read-write, its own programs' only */
	int	 pipe;		/* its reading end */
	uint32_t pipe_port;	/* ... and its name */
	struct pair *pairs[N_PAIRS];
	uint32_t next_pair;	/* where the search for a free slot begins */
	uint32_t n_listed;	/* ports in the directory */
	uint32_t n_clients;	/* control connections that speak for it */
	uint64_t orphaned_at;	/* ns: when the last of them went; 0: there is one */
	uint32_t n_leases, n_flows, n_blocks;
	pid_t	 child;		/* its surrogate; 0: none */
	uint32_t n_crashes;
	bool	 wants_child;
};

/* ---- clients (ctl.c) ---- */

struct client {
	int	 fd;		/* -1: free */
	uint32_t i;
	struct ucred cred;
	bool	 greeted;
	bool	 internal;	/* our end of a surrogate's socket pair */
	struct stack *stack;	/* for which it speaks, or NULL */
};

/* A LEASE_ADD that waits for the surrogate of a dead program to give the port up. */
#define N_WAITING 16
struct waiting {
	struct client *c;	/* NULL: free */
	struct ctl_msg msg;
	int	 fd;		/* our duplicate of the proof */
	uint64_t until;		/* ns */
};

/* One decoded request in the making of its reply. Descriptors in `out` are borrowed unless
 * their bit is set in out_owned, then they are closed after the reply. */
struct request {
	struct client *c;
	const struct ctl_msg *msg;
	int	 fd;		/* -1: none came with it */
	struct ctl_msg reply;
	int	 out[MAX_REPLY_FDS];
	uint32_t n_out;
	uint64_t out_owned;
};

/* ---- an agent of one's own (own.c) ---- */

struct own {
	char	 dir[80];	/* "": not made (yet) */
	char	 path[108];	/* of the socket */
	ino_t	 ino;		/* of the socket: ours? */
	uint64_t idle_since;	/* ns; 0: somebody is there */
	struct program { int pidfd; pid_t pid; } programs[N_PROGRAMS];	/* pidfd -1: free */
};

/* ---- the agent ---- */

struct agent {
	int	 epfd, listen_fd, signal_fd, keeper_fd, ready_fd;
	int	 program_fd;	/* pidfd of the program that this agent of one's own is started for; -1: none */
	int	 spare_fd;	/* given up for a moment when there are no more (ctl.c) */
	pid_t	 keeper_pid;
	bool	 stop;
	bool	 verbose;
	uint64_t netns_cookie;
	struct onramp_bpf *bpf;
	struct mnl_socket *nl;		/* requests */
	struct mnl_socket *events;	/* multicast */
	struct mirror *mirror;		/* what clients map read-only */
	int	 mirror_fd;		/* read-only */
	struct nic nics[N_VIS];
	struct vf vfs[N_VF_DEVS];
	struct stack stacks[N_SLOTS + 1];	/* [0] unused */
	struct client clients[N_CLIENTS];
	struct waiting waiting[N_WAITING];
	uint32_t n_waiting;
	uint32_t next_stack_id;
	uint32_t next_pair_id;
	int	 ringer;		/* rings pipes (pair.c) */
	uint64_t refill_at;		/* ns: not before; after a failure */
	char	 surrogate[256];	/* path of the program */
	bool	 own;			/* of one user, without privilege: same-host traffic only */
	struct own own_state;
};

/* main.c */
printf_like(1, 2) void agt_log(const char *fmt, ...);

/* request.c: total, pure. 0: the message may be acted upon by this kind of caller. */
struct caller { uid_t uid; bool greeted; bool has_stack; bool internal; };
int request_check(const struct ctl_msg *m, size_t bytes, uint32_t n_fds, const struct caller *who,
		  uint64_t layout_hash);

/* ctl.c */
int  ctl_open(struct agent *a);
void ctl_close(struct agent *a);
int  ctl_adopt(struct agent *a, int fd, struct stack *s);	/* a surrogate's end */
void ctl_forget_stack(struct agent *a, struct stack *s);
void ctl_accept(struct agent *a);
void ctl_input(struct agent *a, struct client *c);
void ctl_retry(struct agent *a);	/* those that wait for a lease */

/* own.c */
int  own_open(struct agent *a);			/* makes directory and socket, and listens */
void own_close(struct agent *a);
/* A program said hello, or `pidfd` (-1: none) was sent for it: the agent stays while it lives. */
void own_met(struct agent *a, const struct client *c, int pidfd);
void own_meet(struct agent *a, int pidfd, pid_t pid);	/* takes the descriptor */
void own_hand_over(int pidfd);		/* tells the agent that was quicker of our program */
bool own_mark(const struct agent *a, const void *mark);	/* epoll reports a program's end */
void own_gone(struct agent *a, void *mark);
int  own_timeout(const struct agent *a);		/* ms until own_settle() may end it; -1: not idle */
void own_settle(struct agent *a);

/* directory.c; the mirror's directory */
void dir_stack_begin(struct agent *a, const struct stack *s);
void dir_stack_end(struct agent *a, const struct stack *s);
/* -EDQUOT: full, or more than this user may have. */
int  dir_port_add(struct agent *a, struct stack *s, const struct dir_port *p);
void dir_port_del(struct agent *a, struct stack *s, const struct dir_port *p);
void dir_pair_set(struct agent *a, const struct stack *s, uint32_t slot, uint32_t pair_id);

/* pair.c */
int  pair_open(struct agent *a);
void pair_close(struct agent *a);
int  pair_prepare(struct stack *s);		/* its front and its pipe */
void pair_discard(struct stack *s);
int  pair_get(struct agent *a, struct request *rq);
int  pair_at(struct agent *a, struct request *rq);
int  pair_del(struct agent *a, struct stack *s, const struct ctl_pair *m);
void pair_flush(struct agent *a, struct stack *s);	/* it ends: its peers are told */

/* stack.c */
int  stack_get(struct agent *a, struct request *rq);
int  stack_join(struct agent *a, struct request *rq);
int  stack_info(struct agent *a, struct request *rq);
void stack_left(struct agent *a, struct stack *s);	/* a client that spoke for it is gone */
void stack_end(struct agent *a, struct stack *s);
void stack_nic_gone(struct agent *a, struct nic *n);	/* before the link is detached */
struct stack *stack_find(struct agent *a, uint32_t id);

/* kit.c */
bool kit_work(struct agent *a);		/* one unit of background work; true: there is more */
bool kit_urgent(const struct agent *a);	/* none is left */
int  kit_make(struct agent *a, bool direct, struct stack **ret);
struct stack *kit_take(struct agent *a, bool direct);
void kit_drop_spares(struct agent *a);
void kit_free(struct agent *a, struct stack *s);

/* child.c */
int  child_spawn(struct agent *a, struct stack *s);
void child_reap(struct agent *a);
void child_kill(struct stack *s);

/* vf.c */
bool vf_ready(struct agent *a, const struct nic *n);
int  vf_prepare(struct agent *a, const struct nic *n);
int  vf_take(struct agent *a, const struct nic *n, struct vf **ret);
void vf_put(struct vf *v);		/* the stack is done with it */
void vf_destroy(struct agent *a, struct vf *v);
void vf_destroy_nic(struct agent *a, const struct nic *n);
void vf_clean_stale(struct agent *a);

/* xsk.c */
struct umem_span { int fd; uint64_t off, bytes; };
int xsk_open(uint32_t ifindex, uint32_t queue, const struct umem_span *umem, int shared_with);

/* link.c */
int  link_attach(struct agent *a, const struct ctl_link *l, char *text, size_t text_bytes);
int  link_detach(struct agent *a, const char *name);
void link_detach_nic(struct agent *a, struct nic *n);
void link_changed(struct agent *a, const struct mir_link *l);	/* MTU or MAC */
void link_gone(struct agent *a, uint32_t ifindex);
int  link_status(struct agent *a, uint32_t i, struct ctl_status *ret);
struct nic *link_find(struct agent *a, uint32_t ifindex);

/* keeper.c */
int  keeper_start(struct agent *a);
int  keeper_attach(struct agent *a, uint32_t ifindex, uint32_t mode, uint32_t *ret_mode,
		   char *note, size_t note_bytes);
int  keeper_detach(struct agent *a, uint32_t ifindex);
void keeper_stop(struct agent *a);

/* filter.c */
int  filter_open(struct agent *a);
void filter_close(struct agent *a);
int  filter_dev(struct agent *a, uint32_t ifindex, const struct dev_info *d);
void filter_dev_del(struct agent *a, uint32_t ifindex);
void filter_nic(struct agent *a, const struct nic *n);		/* its entries, made anew */
void filter_nic_del(struct agent *a, const struct nic *n);
int  filter_vf(struct agent *a, const struct stack *s, const struct vf *v);
void filter_vf_del(struct agent *a, const struct stack *s, const struct vf *v);
int  filter_xsk(struct agent *a, uint32_t id, int xsk);
void filter_xsk_del(struct agent *a, uint32_t id);
int  filter_bound(struct agent *a, const struct bound_key *k, uint32_t slot, bool shared);	/* NO_SLOT: delete */
int  filter_exact_add(struct agent *a, const struct exact_key *k, uint32_t slot);
uint32_t filter_exact_owner(struct agent *a, const struct exact_key *k);
void filter_exact_del(struct agent *a, const struct exact_key *k);
void filter_exact_flush(struct agent *a, uint32_t slot);
int  filter_block(struct agent *a, uint32_t block, uint32_t slot);
void filter_locals(struct agent *a);	/* from the mirror */
void filter_count_vf(struct agent *a, uint32_t slot, uint32_t nic, struct vf_count *ret);
void filter_count_nic(struct agent *a, uint32_t nic, struct nic_count *ret);
int  filter_prog_fd(struct agent *a, bool app_end);

/* lease.c */
int  lease_add(struct agent *a, struct stack *s, const struct ctl_lease *l, int fd);
int  lease_del(struct agent *a, struct stack *s, const struct ctl_lease *l);
int  flow_add(struct agent *a, struct stack *s, const struct ctl_flow *f);
int  flow_del(struct agent *a, struct stack *s, const struct ctl_flow *f);
/* The programs of a stack are gone: their sockets listen no more, whatever we hold of them. */
void lease_orphan(struct agent *a, struct stack *s);
/* The surrogate had time to say what lives on: leases that it did not give back are void. */
void lease_lapse(struct agent *a, struct stack *s);
/* True if what is in the way of this lease belongs to a stack whose programs are gone. */
bool lease_will_end(const struct ctl_lease *l);
void lease_flush(struct agent *a, struct stack *s);
uint32_t lease_count(void);
uint32_t lease_shared_count(void);
/* Ports that the kernel has connections of, too (E7): looks when it is time. */
void lease_look(struct agent *a);
int  lease_look_ms(void);			/* ms until then; -1: no such port */

/* ports.c */
int  ports_get(struct agent *a, struct stack *s, struct ctl_ports *ret);
bool ports_own(const struct stack *s, uint16_t port);
void ports_flush(struct agent *a, struct stack *s);
bool ports_work(void);		/* binds a spare block; true: did something */
void ports_close(void);

/* mirror.c */
int  mirror_open(struct agent *a);
void mirror_close(struct agent *a);
void mirror_event(struct agent *a);	/* the multicast socket is readable */
int  mirror_timeout(void);		/* ms until mirror_settle() is due; -1: nothing is */
void mirror_settle(struct agent *a);
void mirror_links_changed(struct agent *a);	/* attached or detached: flags and neighbours */
void mirror_neigh_ask(struct agent *a, const struct ctl_neigh *n);
bool mirror_has_addr(const struct agent *a, const struct ipaddr *addr);	/* on an attached link */
bool mirror_is_host(const struct agent *a, const struct ipaddr *addr);	/* on any, or loopback */
/* Around every change of what the seqlock protects. */
void mirror_begin(struct mirror *m);
void mirror_end(struct mirror *m);

/* netlink.c */
struct nlmsghdr;
typedef int (*nl_fn)(const struct nlmsghdr *h, void *arg);
int  nl_open(struct agent *a);
void nl_close(struct agent *a);
int  nl_talk(struct agent *a, struct nlmsghdr *h, nl_fn fn, void *arg);
/* The kernel's TCP connections of these local ports, half-open ones included. */
typedef void (*diag_fn)(void *arg, const struct ipaddr *laddr, uint16_t lport, const struct ipaddr *raddr);
int  nl_connections(uint16_t from, uint16_t to, diag_fn fn, void *arg);

/* privilege.c */
int  privilege_limits(void);		/* descriptors, locked memory */
int  privilege_drop(bool keep);		/* all but what the agent needs after start; all, if not */

#endif
