/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What others may ask of TCP (RFC 9293 3.10.1-6: OPEN, SEND, RECEIVE, CLOSE, ABORT, STATUS).
 * All calls are made in a turn and never wait: -EAGAIN says "not now"; waiting is sock/'s.
 */
#ifndef CORE_TCP_TCP_H
#define CORE_TCP_TCP_H

#include <sys/uio.h>

#include "core/ip/ip.h"

enum tcp_state {
	TCP_S_CLOSED = 0, TCP_S_LISTEN, TCP_S_SYN_SENT, TCP_S_SYN_RCVD, TCP_S_ESTABLISHED,
	TCP_S_FIN_WAIT_1, TCP_S_FIN_WAIT_2, TCP_S_CLOSE_WAIT, TCP_S_CLOSING, TCP_S_LAST_ACK,
	TCP_S_TIME_WAIT, N_TCP_STATES
};
const char *tcp_state_name(unsigned state);

/* ---- from net/ ------------------------------------------------------------------------- */

/* A segment, pulled to its TCP header. Always V_TAKEN or V_DROP (caller puts the packet). */
must_check enum verdict tcp_input(struct turn *t, pkt_h h, const struct ip_info *in);
void tcp_icmp(struct turn *t, const struct icmp_quote *q);
void tcp_tick(struct turn *t, struct sk *sk);	/* its deadline has passed */
void tcp_work(struct turn *t, struct sk *sk);	/* end of batch: owed ACKs, output */
void tcp_tx_ready(struct turn *t, struct sk *sk);	/* ring, frame or neighbour may be there now */
void tcp_check(struct turn *t, struct sk *sk);	/* numbered invariants; never() on a broken one */
must_check bool tcp_is_watched(const struct sk *sk);	/* W1 of watch.c */
/* An embryo, of TCP or of core/ap, is where its listener finds it. */
must_check bool tcp_embryo_is_listed(const struct turn *t, const struct sk *sk);

/* ---- OPEN -------------------------------------------------------------------------------- */

/* Options that a socket may carry before it is opened, and is opened with. */
struct tcp_opts {
	uint32_t rcvbuf, sndbuf;	/* bytes; 0: default, autotuned */
	uint8_t	 rcvbuf_locked, sndbuf_locked;	/* set by SO_*BUF: no autotuning */
	uint8_t	 nodelay, cork, quickack, keepalive;
	uint32_t keepidle_s, keepintvl_s, keepcnt;	/* 0: 7200, 75, 9 */
	uint32_t user_timeout_ms;	/* 0: none */
	uint32_t maxseg;		/* TCP_MAXSEG, 0: from MTU */
	int32_t	 linger2_s;		/* TCP_LINGER2; 0: 60 */
	uint32_t syncnt;		/* TCP_SYNCNT; 0: 6 */
	uint32_t window_clamp;
	uint32_t defer_accept_s;
	uint32_t notsent_lowat;		/* 0: none */
	int32_t	 linger_s;		/* SO_LINGER: -1 off, else seconds */
	uint8_t	 cc;			/* TCP_CC_* */
	uint8_t	 oobinline;
	uint8_t	 thin;			/* TCP_THIN_LINEAR_TIMEOUTS */
	uint8_t	 tos, ttl;
	uint8_t	 v6only, reuseaddr, reuseport, family6, zerocopy;
	uint8_t	 ecn;			/* TCP_ECN_*, as Linux's sysctl tcp_ecn */
	uint8_t	 fo_connect;		/* TCP_FASTOPEN_CONNECT */
	uint8_t	 fo_no_cookie;		/* TCP_FASTOPEN_NO_COOKIE */
	uint8_t	 fo_defer;		/* tcp_connect() is to wait for tcp_send_first() (MSG_FASTOPEN) */
	uint32_t fo_qlen;		/* TCP_FASTOPEN, of a listener */
	uint64_t max_pacing;		/* SO_MAX_PACING_RATE, bytes a second; UINT64_MAX: none */
};
#define TCP_CC_CUBIC 0
#define TCP_CC_RENO  1
#define TCP_CC_BBR   2
#define TCP_CC_DCTCP 3
#define N_TCP_CC     4
#define TCP_ECN_OFF	0
#define TCP_ECN_ASK	1
#define TCP_ECN_ANSWER	2
#define TCP_ECN_SYSTEM	255	/* as the system's sysctl has it */
/* Names of congestion control, as TCP_CONGESTION has them. By name: the number, -ENOENT. */
const char *tcp_cc_name(unsigned algo);
must_check int tcp_cc_by_name(const char *name);
/* The one in use, whose name is another's where what was asked for could not be had. */
const char *tcp_get_cc(const struct sk *sk);
void tcp_opts_default(struct tcp_opts *o);

/* Active open. laddr may be a wildcard (chosen by route). lport 0: a leased port is taken.
 * Sends the SYN (or queues it until the neighbour is known). On success *ret is in SYN_SENT,
 * in the flow table. -EADDRNOTAVAIL no port; -EADDRINUSE; -ENOBUFS; ip_route()'s errors. */
must_check int tcp_connect(struct turn *t, const struct tcp_opts *o, const struct ipaddr *laddr,
			   uint16_t lport, const struct ipaddr *raddr, uint16_t rport, struct sk **ret);
/* With fo_connect and a cookie, or with fo_defer, tcp_connect() sends nothing: data is to go with the SYN
 * (RFC 7413), by tcp_send_first(). */
bool tcp_is_deferred(const struct sk *sk);
/* Opens it, with as many of these bytes as may go with the SYN. `waits`: a writer does, with more.
 * Bytes taken (0 too); tcp_connect()'s errors, and the socket is closed. */
must_check int64_t tcp_send_first(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov, bool waits);
/* TCP_FASTOPEN_KEY of a listener: n keys of 16 bytes, 1 or 2. */
void tcp_listen_keys(struct turn *t, struct sk *listener, const uint8_t *key, uint32_t n);
/* Passive open. backlog as listen(2), bounded by the caller's somaxconn. -EADDRINUSE, -ENOBUFS. */
must_check int tcp_listen(struct turn *t, const struct tcp_opts *o, const struct ipaddr *laddr,
			  uint16_t lport, uint32_t backlog, struct sk **ret);
void tcp_set_backlog(struct turn *t, struct sk *listener, uint32_t backlog);
/* Next established connection, now without a parent; NULL when there is none. Of kind SK_TCP, or
 * SK_AP if core/ap put one there. */
must_check struct sk *tcp_accept(struct turn *t, struct sk *listener);
/* For core/ap: a connection that needs no handshake joins the accept queue; false: there are
 * too many, or the listener was shut down. Options it begins with; the first of a kind. */
must_check bool tcp_listen_push(struct turn *t, struct sk *listener, struct sk *sk);
must_check struct sk *tcp_listen_next(struct turn *t, struct sk *listener, enum sk_kind kind);
const struct tcp_opts *tcp_listen_opts(struct sk *listener);
void tcp_embryo_unlink(struct turn *t, struct sk *sk);	/* leaves its listener's lists */

/* ---- SEND and RECEIVE ----------------------------------------------------------------------- */

#define TCP_SEND_MORE (1u << 0)		/* MSG_MORE */
#define TCP_SEND_OOB  (1u << 1)
#define TCP_SEND_EOR  (1u << 2)		/* MSG_EOR: what is sent next begins a segment */
/* Copies in as much as fits and sends what may be sent. Bytes taken (> 0), -EAGAIN when the
 * buffer is full, -EALREADY when tcp_send_first() is to be asked, -EPIPE after shutdown, a pending error
 * (taken, as SO_ERROR). -ENOTCONN. */
must_check int64_t tcp_send(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			    uint32_t flags);
#define TCP_RECV_PEEK (1u << 0)
#define TCP_RECV_TRUNC (1u << 1)	/* discard instead of copying (MSG_TRUNC on TCP) */
#define TCP_RECV_OOB (1u << 2)
/* Nothing is copied nor taken: iov[] is filled with where the bytes lie, as far as its entries go,
 * the others are emptied. They stay there until taken. An urgent mark that lies before them is passed. */
#define TCP_RECV_SHOW (1u << 3)
/* With TRUNC: takes what was shown, whatever urgent mark has come into it since. */
#define TCP_RECV_SHOWN (1u << 4)
/* Bytes copied; 0 at end of stream; -EAGAIN; a pending error; -ENOTCONN. `skip`: for PEEK with
 * an offset, else 0. Sends a window update when one is due. */
must_check int64_t tcp_recv(struct turn *t, struct sk *sk, const struct iovec *iov, uint32_t n_iov,
			    uint32_t flags, uint32_t skip);
bool tcp_at_mark(struct turn *t, struct sk *sk);	/* SIOCATMARK */

/* ---- CLOSE, ABORT, STATUS --------------------------------------------------------------------- */

/* shutdown(2); how: SHUT_RD, SHUT_WR, SHUT_RDWR. -ENOTCONN. On a listener: as Linux, closes it. */
must_check int tcp_shutdown(struct turn *t, struct sk *sk, int how);
/* Last descriptor gone: unread data or SO_LINGER 0 sends a reset, else FIN and orphanhood.
 * The socket may be freed by this call. A listener resets its unaccepted connections. */
void tcp_close(struct turn *t, struct sk *sk);
void tcp_abort(struct turn *t, struct sk *sk, int err);	/* RST to the peer, err to the user */
/* True when a closing socket has nothing left to deliver (SO_LINGER's wait). */
bool tcp_is_drained(struct turn *t, struct sk *sk);

/* Changes options of an open socket; effects are immediate (uncork sends, and so on). */
void tcp_set_opts(struct turn *t, struct sk *sk, const struct tcp_opts *o);
void tcp_get_opts(struct turn *t, struct sk *sk, struct tcp_opts *ret);
struct tcp_info;	/* linux/tcp.h */
void tcp_get_info(struct turn *t, struct sk *sk, struct tcp_info *ret, size_t bytes);
uint32_t tcp_get_mss(struct turn *t, struct sk *sk);	/* TCP_MAXSEG */
uint32_t tcp_unread(struct turn *t, struct sk *sk);	/* SIOCINQ */
uint32_t tcp_unsent(struct turn *t, struct sk *sk);	/* SIOCOUTQNSD */
uint32_t tcp_unacked(struct turn *t, struct sk *sk);	/* SIOCOUTQ */
/* TIME_WAIT old enough for a new outgoing connection (RFC 6191, with timestamps after 1 s). */
bool tcp_tw_reusable(struct turn *t, struct sk *sk);

#endif
