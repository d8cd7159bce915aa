/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The simulator: hosts, stacks, wires and programs in one thread on one virtual clock.
 *
 *   programs (talk.c, gram.c) -- threads (thread.c) -+- turns (stack.c) -- core
 *   surrogate (surrogate.c) -------------------------+
 *   core -- rings in plain memory -- device.c -- wire.c -- the other host's device.c
 *   core -- pairs in plain memory (pair.c) -- the core of another stack of the host
 *
 * Everything that happens is an event of one queue (queue.c), ordered by time and then by
 * the order of posting; all chance comes from one generator. So a seed is a whole history,
 * and its digest, over every frame, every turn and every byte an application saw, must be
 * the same whenever it is replayed. What is wrong in a history is found by:
 *
 *   S1  stack_check(), tcp_check() and udp_check() after turns;
 *   S2  the judge (judge.c), who reads each frame as it leaves a host;
 *   S3  the device, which refuses a frame that it was not given, and notices when a frame is
 *       rewritten while it is at the device;
 *   S4  the programs, who know each byte that they must receive, and when the stream ends;
 *   S5  the clock: a conversation that is not over when time runs out has hung;
 *   S7  a perfect wire and awake programs: nobody sends anything twice;
 *   S6  the end: all sockets closed and timers run out, every frame, slot, port and waiter is
 *       back where it came from;
 *   A1-A3  apertures (pair.c).
 */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <setjmp.h>
#include <stdio.h>

#include "base/prng.h"
#include "core/ap/ap.h"
#include "core/net/net.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"
#include "core/vif/vif.h"
#include "sim/knobs.h"

#define SIM_HOSTS	4
#define SIM_STACKS	8
#define SIM_THREADS	4	/* of one stack */
#define SIM_PROCS	2	/* that share a stack */
#define SIM_TALKS	512	/* TCP conversations of one world */
#define SIM_GRAMS	16	/* UDP conversations of one world */
#define SIM_BLOCKS	4	/* port blocks of a stack */
#define SIM_PORT	1000	/* first well-known port of a stack: SIM_PORT * (1 + its place) */
#define SIM_SURROGATE_TID 900
#define SIM_SLOTS	4	/* pairs of a stack at once */
#define SIM_PAIRS	16	/* of a world, those that are over included */

/* ---- events -------------------------------------------------------------------------------- */

enum sim_event_kind {
	SE_FRAME,	/* a frame reaches host a */
	SE_GLUE,	/* device of stack a hands up the super-frame it was gluing */
	SE_DEVICE,	/* device of stack a looks at its tx ring */
	SE_COMPLETE,	/* device of stack a gives frames back */
	SE_THREAD,	/* thread b of stack a runs, if its turn number still is `gen` */
	SE_SURROGATE,	/* surrogate of stack a looks around */
	SE_STOP,	/* some process of stack a is stopped for a while */
	SE_KILL,	/* process b of stack a dies */
	SE_NEIGH,	/* the agent of host a learns neighbour b */
	SE_CHURN,	/* something changes in the mirror of host a */
	SE_CUT,		/* host a falls silent for good */
	SE_HOSTILE,	/* the tenant of stack a writes nonsense into its segment, or into its pairs */
	SE_PAIR,	/* the agent makes a pair of stacks a and b */
	SE_END,		/* the agent sees that stack a has ended */
};

struct sim_frame {
	uint32_t len;
	uint32_t unfinished;	/* transport checksum holds the pseudo-header sum only */
	uint8_t	 data[];
};

struct sim_event {
	uint64_t at, order;
	uint32_t kind, a, b;
	uint32_t gen;
	struct sim_frame *frame;
};

/* ---- wires and devices ------------------------------------------------------------------------ */

struct pipe {			/* from one host to another */
	uint64_t free_at;	/* when the last frame has been put on the wire */
	uint64_t last_at;	/* arrival of the last frame that was not held back */
	uint64_t tokens_at;	/* of the policer: when its bucket would have been empty */
	uint64_t max_wait;	/* longest that a frame stood in its queue */
	bool bad;		/* in a burst of loss */
	uint64_t bad_until;
	uint32_t route;		/* the last that a frame took */
};

struct device {			/* of one stack; all private to the device, as the kernel's is */
	uint32_t *idx;		/* shared: producer, consumer, flags of tx, comp, fill, rx */
	struct vif_desc *tx, *rx;
	uint64_t *comp, *fill;
	uint32_t mask;
	uint32_t tx_cons, comp_prod, fill_cons, rx_prod;
	bool scheduled;		/* an SE_DEVICE is under way */
	bool completing;	/* an SE_COMPLETE is under way */
	struct done { uint64_t addr; uint32_t len, at_hash; } *done;	/* read, completion owed */
	uint32_t n_done;
	uint8_t	 *owned;	/* per frame: 1 while it is in the fill ring or below */
	uint64_t *fills;	/* frames taken off the fill ring, not yet used */
	uint32_t n_fills;
	struct sim_frame *glue;
	uint64_t n_rx, n_tx, n_rx_dropped;
};

/* ---- programs ------------------------------------------------------------------------------------ */

enum thread_mode { TH_EPOLL, TH_SCAN, TH_SPIN };
enum thread_state { TH_QUEUED, TH_ASLEEP, TH_ON_DOOR, TH_HOLDING, TH_GONE };

struct thread {
	uint32_t i, tid, proc;
	enum thread_mode mode;
	enum thread_state state;
	int waiter;		/* slot, -1: none yet */
	uint32_t gen;
	uint64_t run_at;	/* of the SE_THREAD that counts */
	ep_h ep;
	bool again;		/* more to do: no sleep after this turn */
	bool slept;		/* and has not yet said that it is up */
	bool closed;		/* has put away what it had, at the end */
	uint32_t n_idle;	/* rounds spun for nothing */
	struct turn turn;	/* while TH_HOLDING */
};

struct end {			/* one end of a TCP conversation */
	struct talk *talk;
	struct sim_stack *s;
	uint32_t thread, proc;
	bool server, started, open, finished;
	sk_h sk;
	uint64_t tx_pos, tx_total, rx_pos, rx_total;
	uint64_t urg_end;	/* position after the last urgent byte sent; 0: none */
	uint32_t lowat;		/* SO_RCVLOWAT that it likes; 0: leaves it alone */
	uint64_t abort_at;	/* position (sent + received) at which to abort; NEVER_NS: never */
	bool closer;		/* closes as soon as all is sent and received */
	bool shutter;		/* shutdown(SHUT_WR) as soon as all is sent */
	bool eager;		/* closes at once when all is handed over */
	bool linger0;		/* ends with a reset by SO_LINGER 0 */
	bool shut, eof, killed;
	bool inherited;		/* another process of the stack has it open, too */
	bool et, oneshot, can_read, can_write, registered;
	uint32_t interest;
	uint64_t start_at, pause_until, think_until, give_up_at;
	uint32_t rd_max, wr_max, pause_ppm, think_ppm;
	uint32_t n_rests;	/* pauses and thoughts left: a conversation must come to its end */
	uint64_t pause_ns;
	int err;
};

struct talk {
	uint32_t id;
	uint64_t key[2];	/* of the stream from client, from server */
	uint16_t lport, rport;
	struct ipaddr laddr, raddr;
	bool v6, may_fail, accepted;
	bool ap;		/* both ends on one host */
	bool tainted;		/* somebody scribbled over its pair: nothing is promised */
	uint32_t mark;		/* to know the connection again at accept */
	uint32_t n_rounds;	/* request/response; 0: a stream */
	uint32_t req_max, resp_max;
	struct tcp_opts opts[2];
	uint64_t lost_to;	/* position up to which tail_bytes has had its share */
	struct end e[2];	/* client, server */
};

struct gram {			/* a UDP conversation */
	uint32_t id;
	struct sim_stack *s[2];
	uint32_t thread[2];
	sk_h sk[2];
	bool open[2], bound[2], echo, connected, finished;
	struct ipaddr laddr, raddr;
	uint16_t lport, rport;
	uint32_t n_total, n_sent, n_got, n_back, bytes_max;
	uint64_t next_at, end_at;
};

struct sim_stack {
	uint32_t id, place;	/* of all stacks; on its host */
	struct sim_host *host;
	struct segment *seg;
	struct stack_map app, strong;	/* two private maps of one segment */
	struct device dev;
	struct thread th[SIM_THREADS];
	uint32_t n_threads, n_procs;
	struct { bool live, reaped; uint64_t stopped_until; } proc[SIM_PROCS];
	sk_h listener[2];	/* IPv4, IPv6 */
	bool listening;
	uint16_t block[SIM_BLOCKS];
	uint64_t surrogate_at, rx_since;
	uint32_t trace_seen;
	uint64_t n_turns, n_surrogate_turns;
	bool in_turn, retired;
	/* apertures: its front, and what the agent keeps of its pairs */
	struct ap_front *front;
	uint32_t dir[SIM_SLOTS];	/* pair ids as the directory names them */
	uint32_t dir_changes, dir_seen[2];	/* by programs, by the surrogate */
	bool slot_taken[SIM_SLOTS];
	bool piped;		/* a byte lies in its pipe */
	struct ap_trim trim[8];	/* taken to be given back to the kernel, not yet put back */
	uint32_t n_trims;
	bool trims_of_app;
	bool ending, gone;
};

struct sim_pair {
	struct ap_pair *mem;
	uint32_t id;
	struct sim_stack *s[2];
	bool over, tainted;
};

struct sim_host {
	uint32_t id;
	uint8_t mac[6];
	struct ipaddr a4, a6;
	struct mirror *mirror;
	struct sim_stack *stack[3];
	uint32_t n_stacks;
	bool cut;
	uint32_t asked;		/* bit per host: resolution under way */
};

/* ---- the world -------------------------------------------------------------------------------------- */

struct sim {
	const char *world;
	uint64_t seed;
	struct prng rng;
	struct knobs k;
	uint64_t now, began, digest;
	uint64_t order;
	struct sim_event *heap;
	uint32_t n_heap, cap_heap;
	uint32_t n_in_flight;	/* frames on wires */
	struct sim_host host[SIM_HOSTS];
	struct sim_stack stack[SIM_STACKS];
	uint32_t n_hosts, n_stacks;
	struct pipe pipe[SIM_HOSTS][SIM_HOSTS];
	struct talk *talks;
	uint32_t n_talks, n_listening;
	struct gram gram[SIM_GRAMS];
	uint32_t n_grams;
	struct sim_pair pair[SIM_PAIRS];
	uint32_t n_pairs;
	struct judge *judge;
	struct path_run *path;	/* paths.c measures; NULL: it does not */
	bool closing;		/* conversations are over, programs close what is left */
	uint64_t n_bytes, n_frames, n_lost, n_events, n_turns, n_failed_talks, n_mishaps;
	bool wire_faults;	/* loss, reordering or worse may happen */
	bool troubled;		/* a process died, a pool ran dry on purpose: leaks may be its fault */
	struct recorder *rec;	/* NULL: nobody wants pcap and text */
	jmp_buf fail_jmp;
	jmp_buf slain_jmp;	/* the process dies in the middle of a turn */
	bool may_slay, in_trial;
	uint32_t n_rounds;	/* of hostility */
	char reason[512];
};

/* What a seed came to. */
struct sim_result {
	bool failed;
	uint64_t digest, virtual_ns, n_bytes, n_frames, n_turns, n_talks, n_failed_talks;
	char reason[512];
	uint64_t events[N_EVENTS];	/* of all stacks */
};

/* paths.c: the table of paths */
struct path_run;
int path_table(const char *only, bool all);	/* prints it; the cases whose name begins so, NULL: any */
void path_talk(const struct sim *w, struct talk *c);
void path_opts(const struct sim *w, struct tcp_opts *o);
bool path_look(struct sim *w);		/* after each event; true: it is over */

/* run.c */
struct world;
void sim_run_path(const struct world *world, struct path_run *path, struct sim_result *ret);
void sim_run(const char *world, uint64_t seed, const char *record_to, struct sim_result *ret);
noreturn_fn cold_fn void sim_fail(struct sim *w, const char *fmt, ...) printf_like(2, 3);

/* panic.c: onramp_panic() has no argument to carry the world */
extern struct sim *sim_running;

/* queue.c */
void sim_post(struct sim *w, uint64_t at, struct sim_event e);
bool sim_next(struct sim *w, struct sim_event *ret);

/* chance, in sim's own words */
static inline uint64_t sim_between(struct sim *w, uint64_t lo, uint64_t hi)
{
	return lo >= hi ? lo : lo + prng_u64(&w->rng) % (hi - lo + 1);
}
uint64_t sim_skewed(struct sim *w, uint64_t lo, uint64_t hi);	/* small ones more often */
void sim_digest(struct sim *w, uint64_t v);
void sim_digest_bytes(struct sim *w, const void *p, size_t n);
uint64_t sim_hash(const void *p, size_t n);

/* stream.c: what both ends know without telling each other */
void stream_fill(uint64_t key, uint64_t pos, void *dst, size_t n);
bool stream_same(uint64_t key, uint64_t pos, const void *src, size_t n);

/* wire.c */
void wire_send(struct sim *w, struct sim_host *from, struct sim_frame *f);
void wire_arrive(struct sim *w, struct sim_host *to, struct sim_frame *f);
bool wire_is_local(const struct sim_host *h, const uint8_t *frame, uint32_t len, uint32_t *ret_place);

/* device.c */
void device_init(struct sim *w, struct sim_stack *s);
void device_fini(struct sim_stack *s);
void device_kick(struct sim *w, struct sim_stack *s);
void device_run(struct sim *w, struct sim_stack *s);
void device_complete(struct sim *w, struct sim_stack *s);
void device_receive(struct sim *w, struct sim_stack *s, struct sim_frame *f);
void device_unglue(struct sim *w, struct sim_stack *s);
bool device_is_idle(const struct sim_stack *s);

/* judge.c */
struct judge *judge_new(void);
void judge_frame(struct sim *w, struct sim_host *from, const struct sim_frame *f);

/* stack.c */
void stack_make(struct sim *w, struct sim_stack *s);
void stack_unmake(struct sim_stack *s);
bool sim_turn_try(struct sim *w, struct sim_stack *s, struct turn *t, struct thread *th, uint64_t errand);
void sim_turn_round(struct sim *w, struct turn *t);
void sim_turn_end(struct sim *w, struct sim_stack *s, struct turn *t);
void sim_check(struct sim *w, struct sim_stack *s, struct turn *t);
void sim_neigh_learn(struct sim *w, struct sim_host *h, uint32_t peer);
void sim_churn(struct sim *w, struct sim_host *h);

/* thread.c */
void thread_init(struct sim *w, struct sim_stack *s);
void thread_run(struct sim *w, struct sim_stack *s, struct thread *th);
void thread_wake(struct sim *w, struct sim_stack *s, struct thread *th, uint64_t in_ns);
void thread_rx_ready(struct sim *w, struct sim_stack *s);
void thread_door_open(struct sim *w, struct sim_stack *s);
void thread_stop(struct sim *w, struct sim_stack *s);

/* surrogate.c */
void surrogate_arm(struct sim *w, struct sim_stack *s);
void surrogate_run(struct sim *w, struct sim_stack *s);
void surrogate_reap(struct sim *w, struct sim_stack *s, struct turn *t);
bool anybody_live(const struct sim_stack *s);
bool must_reap(const struct sim_stack *s);
void process_die(struct sim *w, struct sim_stack *s, uint32_t proc);

/* talk.c, end.c */
void talk_make(struct sim *w);
uint64_t talk_limit(const struct end *e);
uint64_t talk_limit_at(const struct end *e, uint64_t rx_pos);	/* ... once it has received that much */
void talk_run(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th);
uint64_t talk_next_at(struct sim *w, struct sim_stack *s, struct thread *th);
void talk_sleep(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th, bool asleep);
void talk_listen(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th);
void talk_taint(struct sim *w, struct talk *c);
void talk_proc_died(struct sim *w, struct sim_stack *s, uint32_t proc);
struct talk *talk_of_frame(struct sim *w, const struct ipaddr *laddr, uint16_t lport,
			   const struct ipaddr *raddr, uint16_t rport, bool *ret_from_client);
struct talk *talk_of_ports(struct sim *w, uint16_t lport, uint16_t rport);
void end_run(struct sim *w, struct turn *t, struct end *e, bool *ret_again);
void end_event(struct sim *w, struct turn *t, struct end *e, uint32_t events);
void end_opened(struct sim *w, struct turn *t, struct end *e, struct sk *sk, struct thread *th);
void end_close(struct sim *w, struct turn *t, struct end *e);
void end_finish(struct sim *w, struct end *e, int err);
bool end_excuse(struct sim *w, struct end *e);

/* gram.c */
void gram_make(struct sim *w);
void gram_run(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th);
uint64_t gram_next_at(struct sim *w, struct sim_stack *s, struct thread *th);
void gram_sleep(struct sim *w, struct turn *t, struct sim_stack *s, struct thread *th, bool asleep);
bool gram_done(struct sim *w);

/* hostile.c */
void hostile_round(struct sim *w, struct sim_stack *s);
void hostile_scribble(struct sim *w, void *base, size_t bytes);

/* step.c: between these two calls the process may die */
void step_in(struct sim *w);
void step_out(void);

/* pair.c */
void pair_stack_make(struct sim *w, struct sim_stack *s);
void pair_unmake(struct sim *w);
struct sim_pair *pair_between(struct sim *w, const struct sim_stack *a, const struct sim_stack *b);
void pair_want(struct sim *w, struct sim_stack *s, struct sim_stack *peer);
void pair_make(struct sim *w, struct sim_stack *s, struct sim_stack *peer);
void pair_end(struct sim *w, struct sim_stack *s);
void pair_list_port(struct sim *w, struct sim_stack *s, const struct ipaddr *laddr, uint16_t lport);
void pair_settle(struct sim *w, struct sim_stack *s, struct turn *t);
bool pair_waits(const struct sim_stack *s, const struct stack_map *map);
void pair_trim(struct sim *w, struct sim_stack *s, uint64_t slots);
void pair_trimmed(struct sim_stack *s, struct turn *t);
void pair_pay(struct sim *w, struct sim_stack *s, const struct turn *t);
bool pair_lie_down(struct sim_stack *s, struct thread *th);
void pair_get_up(struct sim_stack *s, struct thread *th);
void pair_check_sleepers(struct sim *w);
void pair_check_ends(struct sim *w, struct sim_stack *s, struct turn *t);
void pair_check_counts(struct sim *w, const struct sim_stack *s);
void pair_hostile(struct sim *w);

/* record.c */
struct recorder *record_open(const char *prefix);
void record_close(struct recorder *r);
void record_frame(struct sim *w, const struct sim_frame *f);
void record_turn(struct sim *w, struct sim_stack *s, struct turn *t);
void record_text(struct sim *w, const char *fmt, ...) printf_like(2, 3);

#endif
