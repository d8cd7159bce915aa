/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Anything that may reach tcp_input(), from every state there is. The first byte says in which the
 * connection stands when the segments begin to come: by segments and calls as in life, so that it
 * is a state that can be reached, with data sent and not acknowledged, text out of order, a shut
 * window, and so on, as the second byte has it. The rest is net_rx.c's little language, where
 * segments are given relative to what the connection expects.
 */
#define LLVMFuzzerTestOneInput from_the_start
#include "net_rx.c"
#undef LLVMFuzzerTestOneInput

#include "core/tcp/tcb.h"

enum { AS_LISTENER, AS_SYN_SENT, AS_SYN_RCVD, AS_SIMULTANEOUS, AS_PARKED, AS_COOKIE, AS_ESTABLISHED, AS_FIN_WAIT_1,
       AS_FIN_WAIT_2, AS_CLOSING, AS_TIME_WAIT, AS_CLOSE_WAIT, AS_LAST_ACK, AS_CLOSED, N_BEGINNINGS };

static struct sk *the_conn(void) { return conn[1].v ? sk_find(t, conn[1]) : NULL; }

static struct tcp_hdr plain(uint8_t flags)
{
	return (struct tcp_hdr){ .flags = flags, .seq = peer[1].seq, .ack = peer[1].ack, .wnd = 500, .has_ts = true,
				 .ts_val = 3, .ts_ecr = peer[1].ts };
}

/* What the peer of the accepted connection says next. */
static void says(uint8_t flags, uint32_t off, uint32_t n_data)
{
	struct tcp_hdr h = plain(flags);

	h.seq += off;
	send_segment(peer[1].rport, peer[1].lport, &h, NULL, 0, n_data);
	run();
}

static void syn_from(uint16_t port)
{
	struct tcp_hdr h = { .seq = 5000, .flags = TCP_F_SYN, .wnd = 65535, .has_mss = true, .mss = 1460,
			     .has_ts = true, .ts_val = 1, .has_ws = true, .ws = 7, .sack_permitted = true };

	send_segment(port, 80, &h, NULL, 0, 0);
	turn_over();
}

/* Half-open, as the n-th of them: with a socket, without one, or as a cookie. */
static void half_open(uint32_t n_before)
{
	for (uint32_t i = 0; i < n_before; i++)	/* all are checked once: that costs more than they do */
		syn_from((uint16_t)(10000 + i));
	peer[1] = (struct peer){ .lport = 80, .rport = 4000, .seq = 5001 };
	syn_from(4000);
	check();
}

static void open_again(bool simultaneous)
{
	struct ipaddr any = addr_of("0.0.0.0"), to = addr_of("10.0.0.2");
	struct tcp_hdr h = { .seq = 5000, .flags = TCP_F_SYN, .wnd = 1000, .has_mss = true, .mss = 1000 };
	struct tcp_opts o;
	struct sk *sk;

	tcp_opts_default(&o);
	peer[1] = (struct peer){ .lport = 1001, .rport = 2001, .seq = 5000 };
	must(tcp_connect(t, &o, &any, 1001, &to, 2001, &sk) == 0);
	conn[2] = keep(sk);
	run();
	if (simultaneous) {
		send_segment(2001, 1001, &h, NULL, 0, 0);
		peer[1].seq = 5001;
		run();
	}
}

/* What was going on before it got there. */
static void trouble(uint32_t how)
{
	struct iovec v = { bytes, how & 1 ? 8000 : 0 };
	struct sk *sk = the_conn();

	if (!sk)
		return;
	if (how & 1)
		(void)!tcp_send(t, sk, &v, 1, how & 2 ? TCP_SEND_OOB : 0);
	run();
	if (how & 4)
		says(TCP_F_ACK, 100, 50);	/* an island */
	if (how & 8)
		says(TCP_F_ACK | TCP_F_URG, 300, 10);
	if (how & 16) {
		struct tcp_hdr h = plain(TCP_F_ACK);

		h.wnd = 0;
		send_segment(peer[1].rport, peer[1].lport, &h, NULL, 0, 0);
		run();
	}
	if (how & 32) {
		t->now += 300 * NS_PER_MS;
		run();
	}
}

static void go_on(uint32_t where)
{
	bool first = where == AS_FIN_WAIT_1 || where == AS_FIN_WAIT_2 || where == AS_CLOSING || where == AS_TIME_WAIT;
	struct sk *sk = the_conn();

	if (where == AS_CLOSE_WAIT || where == AS_LAST_ACK)
		says(TCP_F_ACK | TCP_F_FIN, 0, 0);
	if (sk && (first || where == AS_LAST_ACK))
		(void)!tcp_shutdown(t, sk, SHUT_WR);
	run();
	if (where == AS_CLOSING)
		says(TCP_F_ACK | TCP_F_FIN, 0, 0);
	if (where == AS_FIN_WAIT_2 || where == AS_TIME_WAIT)
		says(TCP_F_ACK, 0, 0);
	if (where == AS_TIME_WAIT)
		says(TCP_F_ACK | TCP_F_FIN, 0, 0);
	if (where == AS_CLOSED)
		says(TCP_F_RST, 0, 0);
}

static void begin(uint32_t where, uint32_t how)
{
	switch (where) {
	case AS_LISTENER:
		return;
	case AS_SYN_SENT:
	case AS_SIMULTANEOUS:
		open_again(where == AS_SIMULTANEOUS);
		return;
	case AS_SYN_RCVD:
	case AS_PARKED:
	case AS_COOKIE:
		half_open(where == AS_COOKIE ? 256 : where == AS_PARKED ? 8 : 0);
		return;
	default:
		trouble(how);
		go_on(where);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	memset(conn, 0, sizeof(conn));
	nr_make(&n);
	t = &n.r.t;
	in.p = data;
	in.n = size;
	open_sockets();
	begin(take(1) % N_BEGINNINGS, take(1));
	for (uint32_t i = 0; i < 60 && in.n; i++)
		step();
	end();
	return 0;
}
