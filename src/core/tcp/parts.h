/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of this folder ask of each other, file by file. Only tcp.h is for others.
 *
 * Life of a segment in: input.c parses and finds the socket; ack.c, sack.c and recover.c take
 * its acknowledgement; reasm.c takes its text. Life of a byte out: user.c queues it, output.c
 * decides when, emit.c puts headers in front of it. close.c ends connections, timer.c keeps
 * their one deadline, state.c alone changes their state.
 *
 * A function marked "may free sk" returns false, or is void and last, when sk is gone.
 */
#ifndef CORE_TCP_PARTS_H
#define CORE_TCP_PARTS_H

#include <errno.h>
#include <sys/epoll.h>

#include "base/hash.h"
#include "core/tcp/tcb.h"
#include "wire/tcp.h"

/* Linux's numbers, where the RFCs leave room. */
#define TCP_RTO_MIN_US		200000u
#define TCP_RTO_MAX_US		120000000u
#define TCP_RTO_FALLBACK_US 3000000u	/* no sample from the handshake */
#define TCP_RTO_INIT_US		1000000u
#define TCP_DELACK_MIN_MS	40u
#define TCP_DELACK_MAX_MS	200u
#define TCP_RETRIES2		15u
#define TCP_ORPHAN_RETRIES	8u
#define TCP_SYN_RETRIES		6u
#define TCP_FIN_TIMEOUT_S	60u
#define TCP_TIMEWAIT_S		60u
#define TCP_THIN_RETRIES	6u	/* time-outs of a thin stream without back-off */
#define TCP_THIN_SEGS		4u	/* fewer in flight: thin */
#define TCP_OOW_LIMIT_MS	500u	/* one reply to invalid segments in so long */
#define TCP_INIT_CWND		10u	/* RFC 6928 */
#define TCP_DUPTHRESH		3u	/* RFC 5681 3.2; grows with reordering */
#define TCP_MAX_REORDERING	300u
#define TCP_QUICKACKS		16u
#define TCP_PAWS_DAYS_S		(24u * 24 * 60 * 60)	/* RFC 7323 5.5 */
#define TCP_RCVBUF_DEF		131072u
#define TCP_RCVBUF_MAX		(12u << 20)	/* twice the largest window, 6 MiB */
#define TCP_SNDBUF_DEF		87040u
#define TCP_SNDBUF_MAX		(4u << 20)
#define TCP_SEG_CHARGE		512u	/* what a segment costs of sndbuf besides its bytes */
#define TCP_MAX_ORPHANS		16384u
#define TCP_MAX_TW		16384u
#define TCP_MAX_EMBRYOS		4096u	/* of one listener */
#define TCP_FULL_EMBRYOS	8u	/* of one listener, with a socket each; the others are kept in 64 bytes */
#define TCP_COALESCE_MAX	1024u	/* payloads up to this are copied to free their frame */

/* A received segment, on the C stack. Sequence numbers as on the wire. */
struct tcp_seg {
	struct tcp_hdr h;
	const struct ip_info *in;
	pkt_h	 pkt;		/* 0 once somebody has taken it */
	uint32_t seq, end_seq;	/* SYN and FIN counted */
	uint32_t len;		/* bytes of data */
	uint32_t wnd;		/* scaled; SYN segments: as it is */
};

/* ---- state.c ---------------------------------------------------------------------------- */

enum tcp_event {
	TE_CONNECT, TE_LISTEN, TE_PASSIVE, TE_R_SYN, TE_R_SYNACK, TE_R_ACK_SYN, TE_CLOSE, TE_R_FIN,
	TE_R_ACK_FIN, TE_R_RST, TE_ABORT, TE_EXPIRE, N_TCP_EVENTS
};
void tcp_event(struct turn *t, struct sk *sk, enum tcp_event e);
/* The table itself, for the golden matrix: a state, or -1 when the event cannot happen. */
int tcp_state_next(unsigned state, unsigned event);
const char *tcp_event_name(unsigned event);

/* True in states in which the user may send, and in which data may be in flight. */
static inline bool tcp_may_send(uint8_t s) { return s == TCP_S_ESTABLISHED || s == TCP_S_CLOSE_WAIT; }
static inline bool tcp_is_sync(uint8_t s) { return s >= TCP_S_ESTABLISHED && s <= TCP_S_LAST_ACK; }

/* ---- tune.c: what sysctls say; each with Linux's default where nobody said anything ----------- */

uint32_t tcp_tune_rcvbuf(const struct turn *t);		/* to begin with, bytes */
uint32_t tcp_tune_rcvbuf_max(const struct turn *t);	/* autotuning's end */
uint32_t tcp_tune_sndbuf(const struct turn *t);
uint32_t tcp_tune_sndbuf_max(const struct turn *t);
uint8_t	 tcp_tune_wscale(const struct turn *t, const struct sk *sk);	/* to offer, by its buffer and clamp */
uint32_t tcp_tune_syn_retries(const struct turn *t);
uint32_t tcp_tune_syn_linear(const struct turn *t);	/* SYNs sent again before the time-out doubles */
uint32_t tcp_tune_synack_retries(const struct turn *t);
uint32_t tcp_tune_retries2(const struct turn *t);
uint32_t tcp_tune_orphan_retries(const struct turn *t);
uint32_t tcp_tune_fin_timeout_s(const struct turn *t);
uint32_t tcp_tune_keepidle_s(const struct turn *t);
uint32_t tcp_tune_keepintvl_s(const struct turn *t);
uint32_t tcp_tune_keepcnt(const struct turn *t);
uint32_t tcp_tune_notsent_lowat(const struct turn *t);
#define TFO_CLIENT		0x1u	/* bits of tcp_fastopen */
#define TFO_SERVER		0x2u
#define TFO_CLIENT_NO_COOKIE	0x4u
#define TFO_SERVER_NO_COOKIE	0x200u
#define TFO_SERVER_ALL		0x400u	/* listeners need not say TCP_FASTOPEN */
uint32_t tcp_tune_fastopen(const struct turn *t);
uint32_t tcp_tune_fastopen_off_s(const struct turn *t);	/* after a black hole; 0: none is looked for */
uint8_t	 tcp_tune_ecn(const struct turn *t);		/* TCP_ECN_* */
/* The socket's own or the system's; UINT32_MAX: none. */
static inline uint32_t tcp_notsent_lowat(const struct turn *t, const struct tcb *b)
{
	return b->notsent_lowat ? b->notsent_lowat : tcp_tune_notsent_lowat(t);
}
bool	 tcp_tune_is_off(const struct turn *t, uint32_t what);	/* MIR_TCP_NO_* */

/* ---- open.c: control blocks and what a handshake agrees --------------------------------- */

void tcb_init(struct turn *t, struct sk *sk, const struct tcp_opts *o);
uint32_t tcp_new_isn(struct turn *t, const struct sk *sk);
/* Takes the peer's SYN (or SYN-ACK): TCB_F_TS and so on stay only if the peer has them too. */
void tcb_take_syn(struct turn *t, struct sk *sk, const struct tcp_seg *s);
void tcb_established(struct turn *t, struct sk *sk);
/* mss, advmss and cc.mss from path, peer's clamp and options. Re-slices if it shrank. */
void tcb_sync_mss(struct turn *t, struct sk *sk);
uint16_t tcb_advmss(const struct sk *sk);

/* ---- input.c, timewait.c, listen.c --------------------------------------------------------- */

bool tcp_paws_reject(const struct turn *t, const struct tcb *b, const struct tcp_seg *s);
/* One reply per TCP_OOW_LIMIT_MS to what is invalid (RFC 5961 7). */
must_check bool tcp_oow_allowed(struct turn *t, struct tcb *b);
void tcp_challenge(struct turn *t, struct sk *sk);
/* Runs s through a connection in any state but TIME_WAIT. May free sk. */
enum verdict tcp_conn_input(struct turn *t, struct sk *sk, struct tcp_seg *s);
/* True: the segment is a SYN that opens a new connection, sk is gone, give it to a listener
 * with *ret_isn. Else it has been dealt with. May free sk. */
must_check bool tcp_timewait_input(struct turn *t, struct sk *sk, struct tcp_seg *s, uint32_t *ret_isn);
void tcp_enter_timewait(struct turn *t, struct sk *sk);
void tcp_syn_text(struct turn *t, struct sk *sk, struct tcp_seg *s);	/* what came with a SYN that opened sk */
enum verdict tcp_listen_input(struct turn *t, struct sk *lsk, struct tcp_seg *s, uint32_t isn);
/* The handshake's last ACK has come for an embryo. False: the accept queue is full, drop it. */
must_check bool tcp_embryo_done(struct turn *t, struct sk *sk, const struct tcp_seg *s);
void tcp_listen_close(struct turn *t, struct sk *lsk);
must_check bool tcp_listen_is_sound(const struct turn *t, struct sk *lsk);

/* ---- listen.c, synq.c, cookie.c: half-open connections --------------------------------------- */

/* A socket in SYN_RCVD made of what r says, in no table and on no list; NULL: none is free. `in` is
 * the SYN's own, or NULL when it has gone. */
must_check struct sk *tcp_embryo_build(struct turn *t, struct sk *lsk, const struct syn_req *r,
				       const struct ip_info *in);

/* The listener's slot of a half-open connection that is in the table; 0: it is not. */
static inline uint32_t tcp_syn_parent(const struct syn_req *r)
{
	return r->parent | (uint32_t)(r->opts >> SYN_O_SLOT_SHIFT) << 16;
}

must_check bool tcp_synq_has_room(const struct turn *t);
void tcp_synq_add(struct turn *t, struct sk *lsk, const struct syn_req *r);
must_check struct syn_req *tcp_synq_find(const struct turn *t, const struct sk *lsk, const struct tcp_seg *s);
void tcp_synq_drop(struct turn *t, struct sk *lsk, struct syn_req *r);
void tcp_synq_drop_all(struct turn *t, struct sk *lsk);
/* The peer has said SYN again: it is answered again, but not too often. */
void tcp_synq_again(struct turn *t, struct sk *lsk, struct syn_req *r);
void tcp_synq_challenge(struct turn *t, struct sk *lsk, struct syn_req *r);	/* RFC 5961 4.2 */
void tcp_synq_tick(struct turn *t, struct sk *lsk);
must_check bool tcp_synq_is_sound(const struct turn *t, struct sk *lsk);

/* Makes the answer that sk is about to give one that needs no memory: its ISN, and with
 * timestamps its TSval, say all that the peer's ACK will have to bring back. */
void tcp_cookie_make(struct turn *t, struct sk *lsk, struct sk *sk, const struct syn_req *r);
/* True: s acknowledges such an answer of ours; *ret is what the SYN was. */
must_check bool tcp_cookie_check(struct turn *t, struct sk *lsk, const struct tcp_seg *s, struct syn_req *ret);

/* ---- tfo.c: TCP Fast Open (RFC 7413) ----------------------------------------------------------- */

/* connect(): true: nothing is sent until there is data. May set TCB_F_SYN_FO. */
must_check bool tcp_tfo_defers(struct turn *t, struct sk *sk, const struct tcp_opts *o);
void tcp_tfo_fill(struct turn *t, struct sk *sk, struct tcp_fo *fo);	/* the option of our SYN */
/* Our SYN is answered: what of its data was not taken goes again. snd_una is past the SYN. */
void tcp_tfo_syn_acked(struct turn *t, struct sk *sk, const struct tcp_seg *s);
void tcp_tfo_on_timeout(struct turn *t, struct sk *sk, bool expired);	/* is it a black hole? */
/* A SYN at a listener: true: it opens a connection by itself. *ret is for the answer, either way. */
must_check bool tcp_tfo_syn(struct turn *t, struct sk *lsk, const struct tcp_seg *s, struct tcp_fo *ret);
/* The first segment after our answer, with TCB_F_FASTOPEN. False: it is done with. */
must_check bool tcp_tfo_ack(struct turn *t, struct sk *sk, const struct tcp_seg *s);
void tcp_tfo_over(struct turn *t, struct sk *sk);	/* the connection ends: did anything come? */
void tcp_tfo_end(struct turn *t, struct sk *sk, bool reset);	/* it is no longer half open */

/* ---- ack.c: acknowledging and the receive window -------------------------------------------- */

void tcp_ack_on_data(struct turn *t, struct sk *sk, const struct tcp_seg *s);
void tcp_ack_on_sent(struct turn *t, struct tcb *b);	/* an acknowledgement has left */
void tcp_ack_on_data_sent(struct turn *t, struct tcb *b);
void tcp_ack_quick(struct tcb *b, uint32_t max);
void tcp_ack_decide(struct turn *t, struct sk *sk);	/* end of batch */
void tcp_ack_on_read(struct turn *t, struct sk *sk, bool copied);
uint32_t tcp_window_left(const struct tcb *b);	/* of what was advertised */
uint32_t tcp_window_pick(struct turn *t, struct sk *sk);	/* to advertise now, bytes */
void tcp_rcv_space(struct turn *t, struct sk *sk);	/* receive autotuning, after a read */

/* ---- emit.c: headers and posting ------------------------------------------------------------ */

/* Sends a queued segment as it is; the packet's data fields are as before on return. 0, -EAGAIN
 * or -ENOBUFS (on the tx-wait list then), or ip_route()'s errors. */
must_check int tcp_emit_data(struct turn *t, struct sk *sk, struct pkt *p);
/* Sends a segment without data. Same returns. */
must_check int tcp_emit_ctl(struct turn *t, struct sk *sk, uint32_t seq, uint8_t flags);
void tcp_emit_ack(struct turn *t, struct sk *sk);	/* now, or owed */
/* SYN or SYN-ACK by state; now, or owed (0 then too). Else ip_route()'s error. */
must_check int tcp_emit_syn(struct turn *t, struct sk *sk);
must_check int tcp_emit_syn_fo(struct turn *t, struct sk *sk, const struct tcp_fo *fo);	/* with that option */
void tcp_emit_rst(struct turn *t, struct sk *sk);	/* for a connection */
void tcp_reply_rst(struct turn *t, const struct tcp_seg *s);	/* RFC 9293 3.10.7.1 */

/* ---- user.c ------------------------------------------------------------------------------------ */

/* Queues up to `left` bytes in segments of `goal`. Bytes queued. */
struct cursor;
uint64_t tcp_queue(struct turn *t, struct sk *sk, struct cursor *c, uint64_t left, uint32_t goal);

/* ---- output.c ------------------------------------------------------------------------------- */

void tcp_output(struct turn *t, struct sk *sk);
uint32_t tcp_in_flight(const struct tcb *b);
uint32_t tcp_out_bytes(const struct tcb *b);
/* Cuts p, of sk's txq, to n bytes; the rest becomes the next segment. -ENOBUFS. */
must_check int tcp_split(struct turn *t, struct sk *sk, struct pkt *p, uint32_t n);
/* Queues the FIN if it is owed. False: no frame; tried again later. */
bool tcp_queue_fin(struct turn *t, struct sk *sk);
/* Sends the first unsent segment whatever cwnd and Nagle say. -EAGAIN: there is none, or the
 * peer's window has no room for it; tcp_emit_data()'s errors. */
must_check int tcp_send_next(struct turn *t, struct sk *sk);
must_check int tcp_retransmit(struct turn *t, struct sk *sk, struct pkt *p);
/* Window probe (RFC 9293 3.8.6.1). False: it has not left, for want of frame, ring or neighbour. */
must_check bool tcp_probe(struct turn *t, struct sk *sk);
uint32_t tcp_mss_goal(const struct tcb *b);	/* mss bounded by half the largest window */

/* ---- acked.c: what an acknowledgement frees ------------------------------------------------- */

struct tcp_rs {			/* a sample of the delivery rate (rate.c) */
	uint32_t delivered;	/* bytes */
	uint32_t interval_us;
	uint32_t prior_delivered, prior_at_us;
	uint32_t end_seq;
	bool	 seen;		/* some segment was delivered */
	bool	 valid;
	bool	 app_limited;
};
struct tcp_acked {
	uint32_t prior_una;
	uint32_t acked;		/* bytes newly acknowledged, SYN and FIN counted */
	uint32_t sacked;	/* bytes newly SACKed */
	uint32_t in_flight;	/* before */
	int64_t	 rtt_us;	/* sample, or -1 */
	bool	 dupack;
	bool	 dsack;
	bool	 wnd_changed;
	bool	 retrans_acked;	/* something sent twice was acknowledged */
	bool	 has_ecr;
	bool	 ece;		/* the peer echoes congestion (RFC 3168) */
	bool	 orig_acked;	/* something sent once, below recovery_point, has arrived (RFC 5682) */
	bool	 reordered;	/* something sent once has arrived below what had: */
	uint32_t reord_low;	/* its first number */
	uint32_t fack;		/* and what had arrived before this acknowledgement */
	uint32_t ecr;		/* the timestamp echoed */
	uint32_t had;		/* snd_una and sacked_out before, for what is delivered now */
	uint32_t lost;		/* lost_total before */
	struct tcp_rs rs;	/* rate.c */
};
/* Frees segments below s->h.ack and advances snd_una. */
void tcp_acked(struct turn *t, struct sk *sk, uint32_t ack, struct tcp_acked *a);

/* ---- rtt.c ---------------------------------------------------------------------------------- */

void tcp_rtt_init(struct tcp_rtt *r);
void tcp_rtt_sample(struct tcp_rtt *r, uint32_t us);
uint64_t tcp_rtt_rto_ns(const struct tcp_rtt *r, uint32_t backoff);

/* ---- sack.c --------------------------------------------------------------------------------- */

void tcp_sack_input(struct turn *t, struct sk *sk, const struct tcp_seg *s, struct tcp_acked *a);
void tcp_mark_lost(struct tcb *b, struct pkt *p);
uint32_t tcp_sack_skip(struct turn *t, const struct tcb *b, struct pkt *p);
void tcp_unmark(struct tcb *b, struct pkt *p);	/* takes p out of all sums */

/* ---- rack.c: loss by time (RFC 8985 6) ------------------------------------------------------ */

void tcp_rack_delivered(struct turn *t, struct tcb *b, const struct pkt *p, struct tcp_acked *a);
void tcp_reordered(struct tcb *b, uint32_t segs);	/* by so many segments */
void tcp_rack_on_dsack(struct tcb *b);
void tcp_rack_on_recovered(struct tcb *b);
/* Marks what is lost; arms the early deadline for what may soon be. */
void tcp_rack_mark_lost(struct turn *t, struct sk *sk);
bool tcp_rack_is_overdue(const struct turn *t, const struct tcb *b, const struct pkt *p);

/* ---- prr.c: how fast a recovery sends (RFC 6937) -------------------------------------------- */

void tcp_prr_begin(struct tcb *b);
void tcp_prr(struct tcb *b, uint32_t delivered, bool safe);

/* ---- tlp.c: tail loss probes (RFC 8985 7) --------------------------------------------------- */

void tcp_tlp_arm(struct turn *t, struct sk *sk);	/* something was sent */
void tcp_tlp_on_progress(struct turn *t, struct sk *sk);	/* something has arrived */
void tcp_tlp_fire(struct turn *t, struct sk *sk);
bool tcp_tlp_on_ack(struct tcb *b, const struct tcp_seg *s, const struct tcp_acked *a);

/* ---- rate.c: how fast deliveries come --------------------------------------------------------- */

void tcp_rate_sent(struct turn *t, struct tcb *b, struct pkt *p);	/* before it counts as in flight */
void tcp_rate_delivered(struct tcb *b, const struct pkt *p, struct tcp_rs *rs);
void tcp_rate_on_ack(struct turn *t, struct tcb *b, struct tcp_acked *a, uint32_t delivered);
void tcp_rate_app_limited(struct tcb *b);	/* there is nothing more to send */

/* ---- pace.c: how fast segments leave ------------------------------------------------------------ */

void tcp_pace_init(struct turn *t, struct tcb *b);	/* algorithm or SO_MAX_PACING_RATE are new */
bool tcp_pace_holds(struct turn *t, struct tcb *b);	/* true: not now; pace_due is set */
void tcp_pace_sent(struct turn *t, struct tcb *b, uint32_t bytes);
uint64_t tcp_pace_rate(const struct tcb *b);	/* bytes a second; UINT64_MAX: as they come */

/* ---- usage.c: is cwnd the limit? (RFC 7661) ------------------------------------------------------ */

void tcp_usage_on_output(struct turn *t, struct sk *sk, bool cwnd_full);
bool tcp_usage_is_full(const struct tcb *b);
/* The first segment of a flight has left; the last one of the flight before at last_ms. */
void tcp_usage_on_start(struct turn *t, struct tcb *b, uint32_t last_ms);

/* ---- ecn.c (RFC 3168, RFC 8257) ------------------------------------------------------------------ */

void tcp_ecn_init(struct tcb *b, uint8_t mode);		/* tcp_opts.ecn */
uint8_t tcp_ecn_syn_flags(const struct sk *sk);		/* ECE and CWR of our SYN or SYN-ACK */
void tcp_ecn_take_syn(struct sk *sk, const struct tcp_seg *s);
void tcp_ecn_on_segment(struct turn *t, struct sk *sk, const struct tcp_seg *s);
/* Flags of a segment; its IP ECN bits. `fresh`: it carries data that was never sent. */
uint8_t tcp_ecn_flags(struct tcb *b, bool fresh, uint8_t *ret_ip);
void tcp_ecn_reduced(struct tcb *b);			/* cwnd was cut: the peer is to know */
static inline bool tcp_ecn_is_plain(const struct tcb *b, const struct tcp_seg *s)
{
	return !(b->ecn & ECN_OK) || ((b->ecn & (ECN_SEEN | ECN_CE)) == ECN_SEEN && (s->in->tos & 3) % 3 != 0);
}

/* ---- recover.c ------------------------------------------------------------------------------ */

void tcp_recover_on_ack(struct turn *t, struct sk *sk, const struct tcp_seg *s, struct tcp_acked *a);
void tcp_recover_on_rto(struct turn *t, struct sk *sk);
void tcp_recover_on_reorder(struct turn *t, struct sk *sk);	/* the reordering window is over */
/* The answer to our SYN left out what came with it: lost, but not by congestion. */
void tcp_recover_on_syn(struct turn *t, struct sk *sk);
/* The path's MTU shrank: what no longer fits is lost, but not by congestion. */
void tcp_recover_on_mtu(struct turn *t, struct sk *sk);

/* ---- reasm.c -------------------------------------------------------------------------------- */

/* Takes the text (and FIN) of an acceptable segment. True: the peer's FIN is now in order. */
must_check bool tcp_text(struct turn *t, struct sk *sk, struct tcp_seg *s);
void tcp_dsack_set(struct turn *t, struct tcb *b, uint32_t start, uint32_t end);
/* Fills h->sack from the blocks owed, at most `max`. */
void tcp_sack_blocks(const struct tcb *b, struct tcp_hdr *h, uint32_t max);
void tcp_rx_purge(struct turn *t, struct sk *sk);

/* ---- timer.c -------------------------------------------------------------------------------- */

void tcp_tmr_sync(struct turn *t, struct sk *sk);	/* after any deadline has changed */
void tcp_tmr_rearm(struct turn *t, struct sk *sk, enum tcp_rtx kind);	/* restart rtx_at */
void tcp_tmr_early(struct turn *t, struct sk *sk, enum tcp_early kind, uint64_t at);
void tcp_tmr_stop_all(struct turn *t, struct sk *sk);
void tcp_tmr_keepalive(struct turn *t, struct sk *sk);
void tcp_tmr_misc(struct turn *t, struct sk *sk, uint64_t at);

static inline uint64_t tcp_tmr_earliest(const struct tcb *b)
{
	return min_u64(min_u64(min_u64(b->rtx_at, b->delack_at), min_u64(b->keep_at, b->misc_at)),
		       min_u64(b->early_at, b->pace_due));
}

/* ---- close.c -------------------------------------------------------------------------------- */

/* To CLOSED by e, with err (positive, 0 none) for the user. Frees sk if nobody holds it. */
void tcp_done(struct turn *t, struct sk *sk, enum tcp_event e, int err);
void tcp_release(struct turn *t, struct sk *sk);	/* gives back all it holds but the slot */
void tcp_free(struct turn *t, struct sk *sk);	/* and the slot */
void tcp_orphan(struct turn *t, struct sk *sk);	/* its last descriptor is gone */
void tcp_ready_sync(struct turn *t, struct sk *sk, uint32_t edges);
bool tcp_is_writeable(const struct turn *t, const struct sk *sk);
bool tcp_is_readable(const struct sk *sk);
bool tcp_pool_is_low(const struct turn *t, const struct tcb *b);	/* no new frames for sending */
void tcp_purge_tx(struct turn *t, struct sk *sk);
/* After FIN_WAIT_2 is entered: who waits how long for the peer's FIN. May free sk. */
must_check bool tcp_on_fin_wait_2(struct turn *t, struct sk *sk);

/* ---- clocks --------------------------------------------------------------------------------- */

static inline uint32_t tcp_now_ms(const struct turn *t) { return (uint32_t)(t->now / NS_PER_MS); }
static inline uint32_t tcp_now_us(const struct turn *t) { return (uint32_t)(t->now / NS_PER_US); }
static inline uint32_t tcp_now_s(const struct turn *t) { return (uint32_t)(t->now / NS_PER_S); }
static inline uint32_t tcp_ts_now(const struct turn *t, const struct tcb *b)
{
	return tcp_now_ms(t) + b->ts_off;
}

/* Comparisons of raw sequence numbers, as seq_lt() and so on of base/types.h. */
static inline bool before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }
static inline bool after(uint32_t a, uint32_t b) { return (int32_t)(a - b) > 0; }

#endif
