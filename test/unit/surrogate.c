/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The surrogate's life beside real processes: forked children are the application, stopped,
 * continued and killed; another child is the surrogate. Rings are in shared memory, and the
 * kicks of the one interface are counted on a socket.
 */
#include "test/unit/panic.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "core/stack/stack.h"
#include "core/tcp/tcp.h"
#include "core/udp/udp.h"
#include "host/sys.h"
#include "test/unit/agent.h"
#include "test/unit/proc.h"

enum { TX_P, TX_C, RX_P, RX_C, FILL_P, FILL_C, COMP_P, COMP_C, N_IDX };

/* Shared by all processes of a test. */
struct shared {
	uint32_t idx[N_IDX];
	uint32_t flags;
	uint32_t ready;		/* atomic: children that have done their part */
	struct vif_desc tx[N_RING], rx[N_RING];
	uint64_t fill[N_RING], comp[N_RING];
};

struct world {
	struct agent agent;
	struct exec x;		/* everybody's; each child has its own copy */
	struct shared *s;
	int kicked;
	pid_t surrogate;
	pid_t kids[16];
	uint32_t n_kids;
};

static struct world w;

/* Children do not outlive a test, however it ends. */
static pid_t fork_child(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0 && w.n_kids < n_elems(w.kids));
	if (pid) {
		w.kids[w.n_kids++] = pid;
	} else {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		agent_forget(&w.agent);
	}
	return pid;
}

static void kill_kids(void)
{
	while (w.n_kids) {
		pid_t pid = w.kids[--w.n_kids];

		if (waitpid(pid, NULL, WNOHANG) == 0) {
			kill(pid, SIGKILL);
			waitpid(pid, NULL, 0);
		}
	}
}

static int begin(void **state)
{
	struct vif_map *v = &w.x.map.vi[0];
	int pair[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	agent_start(&w.agent);
	assert_int_equal(exec_open(&w.x, EXEC_APP, 0), 0);
	w.s = mmap(NULL, sizeof(*w.s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(w.s != MAP_FAILED);
	v->flags = VIF_F_PRESENT;
	v->tx = (struct vif_ring){ &w.s->idx[TX_P], &w.s->idx[TX_C], &w.s->flags, w.s->tx, N_RING - 1 };
	v->rx = (struct vif_ring){ &w.s->idx[RX_P], &w.s->idx[RX_C], &w.s->flags, w.s->rx, N_RING - 1 };
	v->fill = (struct vif_ring){ &w.s->idx[FILL_P], &w.s->idx[FILL_C], &w.s->flags, w.s->fill, N_RING - 1 };
	v->comp = (struct vif_ring){ &w.s->idx[COMP_P], &w.s->idx[COMP_C], &w.s->flags, w.s->comp, N_RING - 1 };
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, pair), 0);
	w.kicked = pair[1];
	w.x.map.n_vis = w.x.fds.n_vis = 1;
	w.x.fds.xsk[0] = pair[0];
	return 0;
}

static int end(void **state)
{
	(void)state;
	kill_kids();
	memset(&w.x.map.vi[0], 0, sizeof(w.x.map.vi[0]));
	munmap(w.s, sizeof(*w.s));
	close(w.kicked);
	exec_close(&w.x);
	agent_stop(&w.agent);
	return 0;
}

static uint64_t count(enum event e) { return peek64(&w.x.map.seg->counters[e]); }

/* Waits for something that another process will make true. */
#define eventually(cond) do { \
	int left_ = 3000; \
	while (left_ && !(cond) && left_--) \
		usleep(1000); \
	if (!left_) \
		fail_msg("in 3 s not: %s", #cond); \
} while (0)

static int stop;
static void on_stop(int sig) { (void)sig; poke32((uint32_t *)&stop, 1); }

static void start_surrogate(pid_t app)
{
	w.surrogate = fork_child();
	if (w.surrogate == 0) {
		struct surrogate_conf conf = { .app_pid = (uint32_t)app, .stop = &stop };
		struct sigaction sa = { .sa_handler = on_stop };
		sigset_t term, before;

		sigemptyset(&term);
		sigaddset(&term, SIGTERM);
		sigprocmask(SIG_BLOCK, &term, &before);
		sigaction(SIGTERM, &sa, NULL);
		conf.sleep_mask = &before;
		w.x.who = EXEC_SURROGATE;
		w.x.map.strong = 1;
		if (exec_after_fork_child(&w.x))
			_exit(99);
		_exit(exec_surrogate(&w.x, &conf));
	}
}

static void surrogate_ends(void)
{
	int status, i = 0;

	while (waitpid(w.surrogate, &status, WNOHANG) == 0 && i++ < 5000)
		usleep(1000);
	if (i >= 5000) {
		kill(w.surrogate, SIGKILL);
		waitpid(w.surrogate, &status, 0);
		fail_msg("the surrogate does not end");
	}
	assert_int_equal(status, 0);
}

static bool surrogate_lives(void) { return waitpid(w.surrogate, NULL, WNOHANG) == 0; }

/* An application: joins, does its deed, says so, and sleeps until it is killed. */
static pid_t start_app(void (*deed)(uint32_t proc))
{
	uint32_t before = peek32(&w.s->ready);
	pid_t app = fork_child();

	if (app == 0) {
		uint32_t proc;

		if (exec_after_fork_child(&w.x) || exec_join(&w.x, (uint32_t)getpid(), &proc))
			_exit(99);
		w.x.proc = proc;
		if (deed)
			deed(proc);
		poke32(&w.s->ready, before + 1);
		for (;;)
			pause();
	}
	eventually(peek32(&w.s->ready) > before);
	return app;
}

static void finish(pid_t pid)
{
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* ---- deeds --------------------------------------------------------------------------------------- */

static void open_udp(uint32_t proc)
{
	struct ipaddr any = ip_from4(0);
	struct turn t;
	struct sk *sk;

	exec_begin(&w.x, &t);
	if (udp_open(&t, &any, 5353, &sk))
		_exit(98);
	sk_ref(&t, sk, proc);
	exec_end(&w.x, &t, false);
}

static void share_udp(uint32_t proc)
{
	struct turn t;

	exec_begin(&w.x, &t);
	sk_ref(&t, sk_slot(&t, 1), proc);
	exec_end(&w.x, &t, false);
}

static void hold_turn(uint32_t proc)
{
	static struct turn t;

	open_udp(proc);
	exec_begin(&w.x, &t);
}

static void break_in_turn(uint32_t proc)
{
	static struct turn t;

	open_udp(proc);
	exec_begin(&w.x, &t);
	w.x.map.seg->n_free_pkt += 3;
}

/* ---- tests ------------------------------------------------------------------------------------------ */

/* Killed outside a turn: its sockets are closed, its port is given back, and that is all. */
static void test_killed(void **state)
{
	pid_t app = start_app(open_udp);

	(void)state;
	start_surrogate(app);
	usleep(50000);
	assert_true(surrogate_lives());
	assert_int_equal(peek32(&w.x.map.seg->n_conns), 1);
	finish(app);
	surrogate_ends();
	assert_int_equal(peek32(&w.x.map.seg->n_conns), 0);
	assert_int_equal(count(EV_PROC_DIED), 1);
	assert_int_equal(count(EV_SURROGATE_OWNER), 1);
	assert_int_equal(agent_heard(&w.agent, CTL_LEASE_DEL), 1);
	assert_int_equal(w.agent.last_del.lport, 5353);
	assert_int_equal(w.agent.last_del.proto, 17);
	assert_int_equal(w.x.map.seg->door, 0);
}

/* Two processes with one socket: only the last one's death closes it. */
static void test_shared(void **state)
{
	pid_t a = start_app(open_udp), b = start_app(share_udp);

	(void)state;
	start_surrogate(a);
	finish(a);
	eventually(count(EV_PROC_DIED) == 1);
	usleep(50000);
	assert_int_equal(peek32(&w.x.map.seg->n_conns), 1);
	assert_int_equal(agent_heard(&w.agent, CTL_LEASE_DEL), 0);
	assert_true(surrogate_lives());
	finish(b);
	surrogate_ends();
	assert_int_equal(agent_heard(&w.agent, CTL_LEASE_DEL), 1);
}

/* It wrote over the table of processes before it died: its sockets are closed all the same. */
static void spoil_slots(uint32_t proc)
{
	open_udp(proc);
	memset(w.x.map.seg->procs, 0xef, sizeof(w.x.map.seg->procs));
}

static void test_spoilt_slots(void **state)
{
	pid_t app = start_app(spoil_slots);

	(void)state;
	start_surrogate(app);
	finish(app);
	surrogate_ends();
	assert_int_equal(agent_heard(&w.agent, CTL_LEASE_DEL), 1);
}

/* A zombie is dead, even while nobody waits for it. */
static void test_zombie(void **state)
{
	pid_t app = start_app(hold_turn);

	(void)state;
	start_surrogate(app);
	kill(app, SIGKILL);
	surrogate_ends();
	assert_int_equal(count(EV_ADOPTED), 1);
	assert_int_equal(waitpid(app, NULL, 0), app);
}

/* Killed inside a turn that left the stack sound, another process still there. */
static void test_killed_in_turn(void **state)
{
	pid_t b = start_app(NULL), a = start_app(hold_turn);

	(void)state;
	start_surrogate(b);
	finish(a);
	eventually(count(EV_PROC_DIED) == 1);
	assert_int_equal(count(EV_ADOPTED), 1);
	assert_int_equal(w.x.map.seg->condemned, 0);
	assert_int_equal(peek32(&w.x.map.seg->n_conns), 0);
	assert_true(surrogate_lives());
	finish(b);
	surrogate_ends();
}

/* ... and that left it broken: condemned, but watched while a process lives. */
static void test_condemned(void **state)
{
	pid_t b = start_app(NULL), a = start_app(break_in_turn);

	(void)state;
	start_surrogate(b);
	finish(a);
	eventually(peek32(&w.x.map.seg->condemned));
	eventually(peek64(&w.x.map.seg->door) == 0);
	usleep(50000);
	assert_int_equal(sk_slot(&(struct turn){ .map = &w.x.map }, 1)->err, ECONNRESET);
	assert_true(surrogate_lives());
	finish(b);
	surrogate_ends();
}

/* Spoilt outside a turn by a program that then ended: nobody waits for connections that never were. */
static void test_spoilt_count(void **state)
{
	pid_t app = start_app(open_udp);

	(void)state;
	start_surrogate(app);
	poke32(&w.x.map.seg->n_conns, 77);
	finish(app);
	surrogate_ends();
	assert_int_not_equal(peek32(&w.x.map.seg->condemned), 0);
}

static void put_rubbish(void)
{
	uint32_t p = w.s->idx[RX_P];

	w.s->rx[p & (N_RING - 1)] = (struct vif_desc){ w.s->fill[p & (N_RING - 1)], 60, 0 };
	release32(&w.s->idx[RX_P], p + 1);
}

/* Stopped: frames are taken, at first after a watchdog, then at once. Back: left to it. */
static void test_stopped(void **state)
{
	pid_t app = start_app(open_udp);
	uint64_t turns;
	char c;

	(void)state;
	start_surrogate(app);
	kill(app, SIGSTOP);
	put_rubbish();
	eventually(peek32(&w.s->idx[RX_C]) == 1);
	assert_true(count(EV_SURROGATE_TURN) >= 1);
	/* A kick that it owed. */
	poke64(&w.x.map.seg->kicks_since, host_now());
	poke32(&w.x.map.seg->kicks_owed, 1);
	eventually(recv(w.kicked, &c, 1, MSG_DONTWAIT) == 0);
	eventually(peek32(&w.x.map.seg->kicks_owed) == 0);
	/* Frames that the device was never told of: killed between release and kick. */
	while (recv(w.kicked, &c, 1, MSG_DONTWAIT) == 0)
		;
	release32(&w.s->idx[TX_P], 1);
	eventually(recv(w.kicked, &c, 1, MSG_DONTWAIT) == 0);
	release32(&w.s->idx[TX_C], 1);
	kill(app, SIGCONT);
	usleep(300000);
	turns = peek32(&w.x.map.seg->n_turns);
	usleep(100000);
	assert_int_equal(peek32(&w.x.map.seg->n_turns), turns);
	finish(app);
	surrogate_ends();
}

/* Stopped inside a turn: the door stays its own. */
static void test_stopped_in_turn(void **state)
{
	pid_t app = start_app(hold_turn);

	(void)state;
	start_surrogate(app);
	kill(app, SIGSTOP);
	put_rubbish();
	usleep(200000);
	assert_int_equal(count(EV_ADOPTED), 0);
	assert_int_equal(turn_holder(&w.x.map), app);
	assert_true(peek64(&w.x.map.seg->door) & DOOR_ERRAND_RX);
	assert_int_equal(peek32(&w.s->idx[RX_C]), 0);
	finish(app);
	surrogate_ends();
	assert_int_equal(count(EV_ADOPTED), 1);
}

static void test_term(void **state)
{
	pid_t app = start_app(open_udp);

	(void)state;
	start_surrogate(app);
	usleep(50000);
	kill(w.surrogate, SIGTERM);
	surrogate_ends();
	assert_int_equal(peek32(&w.x.map.seg->n_conns), 1);
	assert_int_equal(w.x.map.seg->door, 0);
	finish(app);
}

/* The agent dies: nothing changes, but that ports are not given back. */
static void test_no_agent(void **state)
{
	pid_t app = start_app(open_udp);
	uint64_t one = 1;

	(void)state;
	start_surrogate(app);
	usleep(50000);
	assert_int_equal(write(w.agent.stop, &one, 8), 8);
	usleep(100000);
	assert_true(surrogate_lives());
	kill(app, SIGSTOP);
	put_rubbish();
	eventually(peek32(&w.s->idx[RX_C]) == 1);
	finish(app);
	surrogate_ends();
	assert_int_equal(agent_heard(&w.agent, CTL_LEASE_DEL), 0);
}

/* Ports that the application will want are there before it asks. */
static void test_ports(void **state)
{
	pid_t app = start_app(NULL);

	(void)state;
	start_surrogate(app);
	poke32(&w.x.map.seg->port_scarce, 1);
	poke32(&w.x.map.seg->n_turns, 4711);
	eventually(peek32(&w.x.map.seg->port_scarce) == 0);
	assert_int_equal(w.x.map.seg->ports[0].base, 0x8000);
	finish(app);
	surrogate_ends();
}

/* Nothing to do for a while: it does nothing. */
static void test_idle(void **state)
{
	pid_t app = start_app(open_udp);
	long before;

	(void)state;
	start_surrogate(app);
	usleep(1500000);
	before = n_switches(w.surrogate);
	usleep(2000000);
	assert_in_range(n_switches(w.surrogate) - before, 0, 6);
	finish(app);
	surrogate_ends();
}

/* The other side of a pair of our stack: what its stack would have mapped. */
static struct ap_pair *peer_maps(uint32_t slot, uint32_t peer)
{
	const uint32_t ids[2] = { peer, 7 };
	struct ap_pair *p;

	assert_int_equal(host_map_pair(w.agent.pairs[slot].fd, w.agent.pairs[slot].id, ids, NULL, &p), 0);
	return p;
}

/* An event that says nothing: taken, and that is all. */
static void post_event(struct ap_pair *p)
{
	poke32(&p->lane[0].ev[p->lane[0].wr % AP_N_EVENTS].type, AP_EV_NONE);
	release32(&p->lane[0].wr, p->lane[0].wr + 1);
}

static void ring_pipe(void)
{
	int fd = host_new_pipe_end(w.agent.pipe_port);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "", 1), 1);
	close(fd);
}

static uint32_t n_taken(uint32_t slot) { return peek32(&w.x.map.seg->ap[slot].rd[0]); }

/* Stopped: a pair is met, its events are taken, and its end is seen to, without the program. */
static void test_aperture(void **state)
{
	pid_t app = start_app(open_udp);
	uint32_t slot;
	struct ap_pair *p;

	(void)state;
	start_surrogate(app);
	kill(app, SIGSTOP);
	slot = agent_make_pair(&w.agent, 33);
	p = peer_maps(slot, 33);
	post_event(p);
	eventually(n_taken(slot) == 1);
	assert_int_equal(peek32(&p->lane[0].rd), 1);
	/* It has seen that nobody comes; from now on it is rung for. */
	eventually(peek32(&w.x.map.front->armed) != 0);
	post_event(p);
	ring_pipe();
	eventually(n_taken(slot) == 2);
	assert_false(w.x.map.seg->ap[slot].over);
	w.agent.pairs[slot].over = 1;
	agent_name_pair(&w.agent, slot, 0);
	ring_pipe();
	eventually(agent_heard(&w.agent, CTL_PAIR_DEL) == 1);
	eventually(peek32(&w.x.map.seg->ap[slot].pair_id) == 0);
	host_unmap_pair(p);
	kill(app, SIGCONT);
	finish(app);
	surrogate_ends();
}

/* Asleep with the program: a ring wakes it, once; and whoever was meant is not robbed of it (G5):
 * it takes the turn itself. */
static void test_aperture_idle(void **state)
{
	pid_t app = start_app(open_udp);
	uint32_t slot = agent_make_pair(&w.agent, 34), turns;
	struct ap_pair *p = peer_maps(slot, 34);
	long before;

	(void)state;
	start_surrogate(app);
	usleep(1500000);
	assert_int_not_equal(peek32(&w.x.map.front->armed), 0);
	turns = peek32(&w.x.map.seg->n_turns);
	post_event(p);
	ring_pipe();
	eventually(n_taken(slot) == 1);
	assert_true(peek32(&w.x.map.seg->n_turns) > turns);
	assert_false(host_hear_pipe(&w.x.fds));
	/* Rung for nothing, when it sleeps again: no more than a look. */
	usleep(1500000);
	before = n_switches(w.surrogate);
	ring_pipe();
	usleep(1000000);
	assert_in_range(n_switches(w.surrogate) - before, 0, 6);
	host_unmap_pair(p);
	finish(app);
	surrogate_ends();
}

static void listen_here(uint32_t proc)
{
	struct ipaddr any = { { 0 } };
	struct tcp_opts o;
	struct turn t;
	struct sk *sk;

	tcp_opts_default(&o);
	exec_begin(&w.x, &t);
	if (tcp_listen(&t, &o, &any, 80, 8, &sk))
		_exit(98);
	sk_ref(&t, sk, proc);
	exec_end(&w.x, &t, false);
}

/* A connection as an accepting child of that listener would hold it. */
static void hold_connection(uint32_t proc)
{
	struct turn t;
	struct sk *sk;

	exec_begin(&w.x, &t);
	sk = sk_get(&t, SK_TCP, 6);
	sk->state = TCP_S_ESTABLISHED;
	sk->laddr = ip_from4(0x0a000001);
	sk->raddr = ip_from4(0x0a000002);
	sk->lport = 80;
	sk->rport = 4711;
	if (flow_insert(&t, sk))
		_exit(98);
	sk_ref(&t, sk, proc);
	exec_end(&w.x, &t, false);
}

/* sshd's case: the listener dies, the children go on, and it must be able to start again. */
static void test_estate(void **state)
{
	pid_t child = start_app(hold_connection), server = start_app(listen_here);

	(void)state;
	start_surrogate(server);
	usleep(50000);
	finish(server);
	assert_true(agent_hears(&w.agent, CTL_LEASE_DEL, 1));
	assert_int_equal(w.agent.last_del.lport, 80);
	assert_int_equal(w.agent.last_del.proto, 6);
	assert_int_equal(w.agent.last_del.family6_dual, 1);
	assert_int_equal(agent_heard(&w.agent, CTL_FLOW_ADD), 1);
	assert_int_equal(w.agent.last_flow.rport, 4711);
	assert_int_equal(ip_to4(&w.agent.last_flow.raddr), 0x0a000002);
	assert_true(surrogate_lives());
	kill(w.surrogate, SIGTERM);
	surrogate_ends();
	finish(child);
}

/* ---- the program itself: arguments, rights given up, seccomp ------------------------------------------- */

static char program[512];

static bool find_program(void)
{
	ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 64);
	char *slash;

	if (n < 0)
		return false;
	program[n] = 0;
	for (int up = 0; up < 3; up++) {
		slash = strrchr(program, '/');
		if (!slash)
			return false;
		*slash = 0;
	}
	strcat(program, "/bin/onramp-surrogate");
	return access(program, X_OK) == 0;
}

static void start_program(pid_t app, uid_t uid, gid_t gid)
{
	w.surrogate = fork_child();
	if (w.surrogate == 0) {
		char seg[16], mirror[16], ctl[16], pid[16], u[16], g[16], bells[512] = "";

		if (exec_after_fork_child(&w.x))
			_exit(99);
		snprintf(seg, sizeof(seg), "%d", w.x.seg_fd);
		snprintf(mirror, sizeof(mirror), "%d", w.x.mirror_fd);
		snprintf(ctl, sizeof(ctl), "%d", w.x.ctl_fd);
		snprintf(pid, sizeof(pid), "%d", app);
		snprintf(u, sizeof(u), "%u", uid);
		snprintf(g, sizeof(g), "%u", gid);
		for (int i = 0; i < N_WAITERS; i++)
			snprintf(bells + strlen(bells), 16, "%s%d", i ? "," : "", w.x.fds.bell[i]);
		for (int fd = 3; fd < 256; fd++)
			fcntl(fd, F_SETFD, 0);
		execl(program, program, "--seg", seg, "--mirror", mirror, "--ctl", ctl, "--xsk", "", "--vi",
		      "", "--bells", bells, "--ring", "2048", "--pid", pid, "--stack", "7", "--uid", u,
		      "--gid", g, NULL);
		_exit(98);
	}
}

static void test_program(void **state)
{
	uid_t uid = getuid() ? getuid() : 65534;
	gid_t gid = getuid() ? getgid() : 65534;
	pid_t app;

	(void)state;
	if (!find_program() || getuid() != 0) {
		print_message("not root, or no onramp-surrogate beside this: not tested\n");
		skip();
	}
	app = start_app(open_udp);
	start_program(app, uid, gid);
	eventually(status_has(w.surrogate, "Seccomp:\t2"));
	assert_true(status_has(w.surrogate, "Name:\tonramp-sur/7\n"));
	assert_true(status_has(w.surrogate, "Uid:\t65534\t65534\t65534\t65534\n"));
	assert_true(status_has(w.surrogate, "Gid:\t65534\t65534\t65534\t65534\n"));
	assert_true(status_has(w.surrogate, "Groups:\t \n"));
	assert_true(status_has(w.surrogate, "CapEff:\t0000000000000000"));
	assert_true(status_has(w.surrogate, "CapPrm:\t0000000000000000"));
	assert_true(status_has(w.surrogate, "NoNewPrivs:\t1"));
	/* Standard descriptors, its own, and the wards' (opened at its first look); nothing else of ours. */
	eventually(n_descriptors(w.surrogate) >= 3 + 3 + N_WAITERS + 1);
	assert_in_range(n_descriptors(w.surrogate), 3 + 3 + N_WAITERS + 1, 3 + 3 + N_WAITERS + 2);
	/* It does its work inside all that. */
	finish(app);
	surrogate_ends();
	assert_int_equal(peek32(&w.x.map.seg->n_conns), 0);
	assert_int_equal(agent_heard(&w.agent, CTL_LEASE_DEL), 1);
	/* And a signal ends it between turns. */
	app = start_app(hold_turn);
	start_program(app, uid, gid);
	eventually(status_has(w.surrogate, "Seccomp:\t2"));
	kill(w.surrogate, SIGTERM);
	surrogate_ends();
}

static int run_program(const char *arg, const char *value)
{
	pid_t pid = fork_child();
	int status;

	if (pid == 0) {
		close(1);
		close(2);
		open("/dev/null", O_WRONLY);
		open("/dev/null", O_WRONLY);
		execl(program, program, arg, value, NULL);
		_exit(98);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void test_arguments(void **state)
{
	static const char *const bad[][2] = {
		{ NULL, NULL }, { "--nonsense", NULL }, { "--seg", "3" }, { "--seg", "-1" },
		{ "--ring", "99999" }, { "--vi", "1" }, { "--xsk", "1,,2" }, { "--xsk", "1,2,3,4,5" },
		{ "--uid", "4294967295" }, { "--pid", "x" }, { "extra", NULL },
	};

	(void)state;
	if (!find_program())
		skip();
	assert_int_equal(run_program("--help", NULL), 0);
	for (size_t i = 0; i < n_elems(bad); i++)
		assert_int_equal(run_program(bad[i][0], bad[i][1]), 2);
}

#define alive(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		alive(test_killed),
		alive(test_shared),
		alive(test_spoilt_slots),
		alive(test_zombie),
		alive(test_killed_in_turn),
		alive(test_condemned),
		alive(test_spoilt_count),
		alive(test_stopped),
		alive(test_stopped_in_turn),
		alive(test_term),
		alive(test_no_agent),
		alive(test_ports),
		alive(test_idle),
		alive(test_aperture),
		alive(test_aperture_idle),
		alive(test_estate),
		alive(test_program),
		alive(test_arguments),
	};

	if (!agent_world()) {
		print_message("no network namespace to be had: not tested\n");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
