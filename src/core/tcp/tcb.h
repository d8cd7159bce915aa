/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The TCP control block: all that is known of one connection, in sk->proto_area.
 *
 * Picture of the send side (one queue of segments, in sequence order):
 *
 *	snd_una                    snd_nxt                 write_seq
 *	   | sent, not acknowledged   |  queued, never sent    |
 *	   txq.head ...               tx_next ...              txq.tail
 *
 * and of the receive side:
 *
 *	copied_seq        rcv_nxt                 rcv_wup + rcv_wnd
 *	   | rxq: in order   |  ooo: islands, sorted     |  right edge, never taken back
 *
 * What is true, may be done and may not be done in each state:
 *
 *	CLOSED		nothing queued to send, no timer, not in the flow table; unread data and a
 *			pending error may be left. May be freed. Nothing may be sent.
 *	LISTEN		sk->kind is SK_LISTEN and proto_area holds struct tcp_listen.
 *	SYN_SENT	snd_una = iss, snd_nxt = iss + 1; the retransmission timer runs or the SYN is
 *			owed. Data may not be queued, but what goes with the SYN (snd_nxt is past it).
 *			With TCB_F_DEFER nothing was sent, and data is awaited to go with it.
 *	SYN_RCVD	as SYN_SENT, with irs known; an embryo, or one half of a simultaneous open.
 *	ESTABLISHED	data both ways. With TCB_F_FASTOPEN (then in any later state, too) our SYN-ACK is
 *			not acknowledged: its timer runs instead of that of data, snd_una is iss + 1
 *			all the same, and TCP_INFO says SYN_RECV, as Linux's.
 *	CLOSE_WAIT	the peer has finished; we may still send.
 *	FIN_WAIT_1	we have finished (FIN queued or sent), not acknowledged; we may still receive.
 *	FIN_WAIT_2	our FIN is acknowledged: txq empty; we may still receive.
 *	CLOSING		both finished, our FIN not acknowledged.
 *	LAST_ACK	as CLOSING, the peer finished first.
 *	TIME_WAIT	txq and ooo empty; only misc_at runs; acknowledges what comes late.
 *
 * Invariants (tcp_check() in state.c):
 *	B1  snd_una <= snd_nxt <= write_seq, and snd_nxt - snd_una is below 2^31.
 *	B2  txq holds [snd_una rounded down to a segment, write_seq) without gaps; tx_next is the
 *	    first with seq >= snd_nxt, or 0.
 *	B3  sacked_out, lost_out and retrans_out are the sums over the marks of txq; no segment is
 *	    both SACKED and LOST; with SACK off, sacked_out counts duplicate ACKs instead.
 *	B4  rxq holds [copied_seq, rcv_nxt) without gaps (a FIN takes one number, an urgent byte
 *	    taken out of line is still in the queue).
 *	B5  ooo is sorted, does not overlap, and lies above rcv_nxt; ooo_last is in it, or 0.
 *	B6  the right edge rcv_wup + rcv_wnd is at or above rcv_nxt.
 *	B7  sk->tmr_at is not later than the earliest of the deadlines kept here.
 *	B8  data in flight or a FIN in flight means that a retransmission or persist deadline is set.
 *	B9  cwnd is at least one segment and mss at least TCP_MIN_MSS. (What is owed to the peer is
 *	    watched: W1 of watch.c.)
 *	B10 in CLOSED no deadline is set and txq is empty.
 *
 * Writers are files of this folder; "turn" is implied. No pointers, fixed widths.
 */
#ifndef CORE_TCP_TCB_H
#define CORE_TCP_TCB_H

#include <assert.h>

#include "abi/segment.h"
#include "base/rate32.h"
#include "core/tcp/tcp.h"

#define TCP_MIN_MSS	48	/* below this a peer's MSS is a mistake or an attack; Linux's floor */
#define TCP_DEF_MSS	536	/* RFC 9293 3.7.1: when the peer sends no MSS option */
#define TCP_DEF_MSS6	1220	/* over IPv6 */
#define TCP_N_SACKS	4
#define TCP_SYNACK_RETRIES 5u	/* Linux's tcp_synack_retries */

/* tcb.flags */
#define TCB_F_TS	(1u << 0)	/* timestamps agreed (RFC 7323) */
#define TCB_F_SACK	(1u << 1)	/* SACK agreed (RFC 2018) */
#define TCB_F_WSCALE	(1u << 2)	/* window scaling agreed */
#define TCB_F_NODELAY	(1u << 3)	/* TCP_NODELAY */
#define TCB_F_CORK	(1u << 4)	/* TCP_CORK */
#define TCB_F_KEEPALIVE	(1u << 5)	/* SO_KEEPALIVE */
#define TCB_F_OOBINLINE	(1u << 6)	/* SO_OOBINLINE */
#define TCB_F_RCVBUF	(1u << 7)	/* SO_RCVBUF was set: no autotuning */
#define TCB_F_SNDBUF	(1u << 8)	/* SO_SNDBUF was set: no autotuning */
#define TCB_F_FIN_OWED	(1u << 9)	/* the user has closed; the FIN is not in txq yet */
#define TCB_F_FIN_SENT	(1u << 10)	/* the FIN is in txq (its number counts in write_seq) */
#define TCB_F_FIN_RCVD	(1u << 11)	/* the peer's FIN is in order and counted in rcv_nxt */
#define TCB_F_SYN_OWED	(1u << 12)	/* a SYN or SYN-ACK could not be sent yet */
#define TCB_F_MORE	(1u << 13)	/* the last send said MSG_MORE: the tail waits for more */
#define TCB_F_ORPHANED	(1u << 15)	/* counted in seg->n_orphans */
#define TCB_F_IN_TW	(1u << 16)	/* counted in seg->n_tw */
#define TCB_F_PUSH	(1u << 17)	/* send the tail whatever Nagle and the cork say (once) */
#define TCB_F_ACK_SEEN	(1u << 14)	/* embryo: its last ACK came, but the accept queue was full */
#define TCB_F_NOSPACE	(1u << 18)	/* the user met a full send buffer */
#define TCB_F_THIN	(1u << 19)	/* TCP_THIN_LINEAR_TIMEOUTS */
#define TCB_F_SND_URG	(1u << 20)	/* snd_up is ahead of snd_una */
#define TCB_F_V4	(1u << 22)	/* the peer is IPv4: smaller headers */
#define TCB_F_ACTIVE	(1u << 23)	/* opened by connect(): a simultaneous open stays so */
#define TCB_F_DEAD	(1u << 24)	/* ended by reset or timeout: both directions are shut */
#define TCB_F_CWND_FULL	(1u << 25)	/* the last output was stopped by cwnd: cwnd may grow */
#define TCB_F_RTO_TS	(1u << 26)	/* undo_ts is the timestamp of the first retransmission */
#define TCB_F_RTO_CUT	(1u << 27)	/* cwnd was last cut by a time-out */

#define TCB_F_DEFER	(1u << 28)	/* connect() has waited for data to go with the SYN; nothing was sent */
#define TCB_F_WR_WAITS	(1u << 29)	/* a writer waits for the handshake: its data will acknowledge the SYN-ACK */
#define TCB_F_SYN_FO	(1u << 30)	/* the SYN that is to be sent says Fast Open; those after it do not */
#define TCB_F_FASTOPEN	(1u << 31)	/* its SYN opened it (RFC 7413), our answer is not acknowledged */

/* tcb.ack_flags: what is owed to the peer (output.c decides, ack.c keeps) */
#define ACK_SCHED	(1u << 0)	/* something is to be acknowledged */
#define ACK_NOW		(1u << 1)	/* at the end of this batch at the latest */
#define ACK_PUSHED	(1u << 2)	/* small pushed segment came: acknowledge when read */
#define ACK_PUSHED2	(1u << 3)	/* a second one */

/* pkt.mark in txq: the scoreboard */
#define MARK_SACKED	(1u << 0)	/* the peer has it, above snd_una */
#define MARK_LOST	(1u << 1)	/* deemed lost, not yet sent again */
#define MARK_RETRANS	(1u << 2)	/* sent again, that copy is in flight */
#define MARK_EVER	(1u << 3)	/* ever sent again: no RTT from it (Karn) */

enum tcp_ca { TCP_CA_OPEN = 0, TCP_CA_DISORDER, TCP_CA_MARKED, TCP_CA_RECOVERY, TCP_CA_LOSS };

/* tcb.frto: is the time-out that was answered by a retransmission a mistake? (RFC 5682) */
enum tcp_frto { TCP_FRTO_OFF = 0, TCP_FRTO_ON, TCP_FRTO_NEW /* new data goes next */ };

/* tcb.ecn (RFC 3168); writer: ecn.c */
#define ECN_WANTED	(1u << 0)	/* our SYN asks for it */
#define ECN_OK		(1u << 1)	/* agreed */
#define ECN_SEEN	(1u << 2)	/* the peer has sent an ECT packet */
#define ECN_ECHO	(1u << 3)	/* acknowledgements say ECE */
#define ECN_CWR_OWED	(1u << 4)	/* the next new segment says CWR */
#define ECN_ANSWER	(1u << 5)	/* a SYN that asks is answered */
#define ECN_CE		(1u << 6)	/* DCTCP: the last segment was marked */

/* tcb.rtx_kind: what rtx_at stands for */
enum tcp_rtx { TCP_RTX_NONE = 0, TCP_RTX_RTO, TCP_RTX_PERSIST, TCP_RTX_SYN, TCP_RTX_SYNACK };

/* tcb.early_kind: what early_at stands for */
enum tcp_early { TCP_EARLY_NONE = 0, TCP_EARLY_REO, TCP_EARLY_TLP };

/* tcb.early_flags; writers: rack.c, tlp.c */
#define EARLY_PROBED		(1u << 0)	/* a tail loss probe is out, up to tlp_end */
#define EARLY_PROBE_AGAIN	(1u << 1)	/* it repeated a segment */
#define EARLY_DSACK_ROUND	(1u << 2)	/* dsack_round is valid */

/* in tcb.early_flags as well, for want of room; writer: tfo.c */
#define TFO_ASKED		(1u << 3)	/* our SYN had the option */
#define TFO_EXP			(1u << 4)	/* ... the experimental one */
#define TFO_TAKEN		(1u << 5)	/* all data of the SYN was taken, by the peer or by us */
#define TFO_CONNECT		(1u << 6)	/* TCP_FASTOPEN_CONNECT */
#define TFO_NO_COOKIE		(1u << 7)	/* TCP_FASTOPEN_NO_COOKIE */

/* tcb.urg_state */
enum tcp_urg { TCP_URG_NONE = 0, TCP_URG_NOTYET, TCP_URG_VALID, TCP_URG_READ };

struct tcp_sack { uint32_t start, end; };

/* Writer: rtt.c. Microseconds; srtt scaled by 8, rttvar by 4 (RFC 6298 appendix A of RFC 1122's lore). */
struct tcp_rtt {
	uint32_t srtt_us8;	/* 0: no sample yet */
	uint32_t rttvar_us4;
	uint32_t rto_us;	/* without back-off */
	uint32_t min_us;	/* least ever seen; UINT32_MAX: none */
	uint32_t latest_us;
};

/* HyStart++ (RFC 9406): when the first slow start has gone far enough. */
struct tcp_hystart {
	uint32_t round_end;	/* snd_nxt when the round began */
	uint32_t last_min_us, min_us;	/* least round trip of the last round, of this one */
	uint32_t css_min_us;	/* what the conservative phase was entered with */
	uint8_t	 n_samples;
	uint8_t	 css;		/* rounds in the conservative phase, 1 at its entry; 0: not in it */
	uint8_t	 in_round;	/* round_end is valid */
	uint8_t	 pad;
};

/* The largest of the last so many rounds, by its three best candidates. */
struct tcp_maxbw { struct rate32 v[3]; uint32_t t[3]; };

/* cc_bbr.c, which says what the clock of the instants is. */
struct tcp_bbr {
	struct tcp_maxbw bw;
	struct rate32 full_bw, lt_bw;
	uint32_t min_rtt_at, probe_at, cycle_at, epoch_at, lt_at;	/* us, modulo 2^32 */
	uint32_t min_rtt_us;
	uint32_t round_end;	/* delivered count at which the round is over */
	uint32_t n_rounds;
	uint32_t prior_cwnd;
	uint32_t epoch_acked, extra[2];	/* bytes acknowledged beyond what bw explains */
	uint32_t lt_delivered, lt_lost;
	uint32_t pacing_gain : 10, cwnd_gain : 10;	/* 256ths */
	uint32_t mode : 2, cycle : 3;
	uint32_t prev_ca : 3;	/* enum tcp_ca */
	uint32_t begun : 1;	/* there was a sample: instants are valid */
	uint32_t probing : 1;	/* in flight is what PROBE_RTT wants, since probe_at */
	uint32_t full : 1, full_n : 2;
	uint32_t conserving : 1, round_start : 1, idle_restart : 1, probe_round_done : 1, seen_rtt : 1;
	uint32_t extra_rounds : 3, extra_i : 1;
	uint32_t lt_sampling : 1, lt_use : 1, lt_rounds : 6;
	uint32_t spare_bits : 13;
};
static_assert(sizeof(struct tcp_bbr) == 96, "no padding");

/* Writer: cc_*.c through cc.h. Windows in bytes. */
struct tcp_cc {
	uint32_t cwnd, ssthresh;
	uint32_t cwnd_max;	/* never grow past this */
	uint32_t acked;		/* bytes acknowledged towards the next increase */
	uint64_t rate;		/* bytes a second that an algorithm with CC_F_OWNS wants; 0: not known yet */
	uint8_t	 algo;		/* TCP_CC_* */
	uint8_t	 in_epoch;	/* CUBIC: epoch_at and what follows are valid */
	uint16_t mss;
	uint32_t app_limited;	/* the algorithm makes a bubble: see rate.c; 0: it does not */
	union {
		struct {	/* CUBIC (RFC 9438) */
			uint32_t w_max;		/* bytes */
			uint32_t w_est;		/* bytes: Reno-friendly estimate */
			uint32_t est_acked;
			uint32_t k_ms;		/* time from the epoch to w_max */
			uint32_t origin;	/* bytes: the plateau of this epoch */
			struct tcp_hystart hs;
			uint64_t epoch_at;	/* ns */
		};
		struct {	/* DCTCP (RFC 8257) */
			uint32_t alpha;		/* 1024ths */
			uint32_t round_seq;	/* snd_nxt when this round began */
			uint32_t old_delivered, old_ce;
			uint32_t loss_cwnd;
		};
		struct tcp_bbr bbr;
	};
};

/* How fast deliveries come (rate.c). Counts of bytes and times in us, all modulo 2^32. */
struct tcp_rate {
	uint32_t delivered;	/* bytes acknowledged or SACKed */
	uint32_t delivered_ce;	/* of these, by acknowledgements with ECE */
	uint32_t at_us;		/* when `delivered` last grew */
	uint32_t first_us;	/* when the segment was sent whose delivery was the last sample */
	uint32_t app_limited;	/* what is delivered up to here says little of the path; 0: nothing */
	uint32_t best, best_us;	/* the last sample worth telling: bytes, in so long; rate_app */
};

/* What a segment remembers of the moment it was sent (pkt.addr). */
struct tcp_tx { uint32_t delivered, at_us, first_us, app_limited; };

struct tcb {
	/* Met by every segment; writers: input.c (snd_una, snd_wnd, snd_wl*, ts_recent),
	 * output.c (snd_nxt, rcv_wup, rcv_wnd), reasm.c (rcv_nxt), user.c (copied_seq, write_seq). */
	uint32_t snd_una, snd_nxt, snd_wnd, snd_wl1;
	uint32_t rcv_nxt;
	uint32_t rcv_wup;	/* acknowledgement last sent */
	uint32_t rcv_wnd;	/* window sent with it */
	uint32_t copied_seq;	/* first byte the user has not read */
	uint32_t flags;		/* TCB_F_* */
	uint32_t ts_recent;	/* RFC 7323 4.3 */
	uint32_t ts_recent_s;	/* seconds: when it was set */
	uint32_t ts_off;	/* our timestamp clock less the stack's */
	uint32_t write_seq;	/* one past the last byte queued to send */
	uint16_t mss;		/* payload of a full segment now */
	uint16_t rcv_mss;	/* estimate of the peer's, for ACK policy */
	uint8_t	 ca_state;	/* enum tcp_ca; writer: recover.c */
	uint8_t	 ack_flags;	/* ACK_* */
	uint8_t	 quick;		/* quick ACKs left */
	uint8_t	 pingpong;	/* interactive: data answers data */
	uint8_t	 snd_wscale, rcv_wscale;
	uint8_t	 rtx_kind;	/* enum tcp_rtx; writer: timer.c */
	uint8_t	 n_rtx;		/* timeouts in a row */
	uint32_t tx_next;	/* pkt_h: first segment never sent */
	uint8_t	 ecn;		/* ECN_* */
	uint8_t	 frto;		/* enum tcp_frto; writer: recover.c, output.c */
	uint8_t	 paced;		/* 1: pace.c is asked before each segment */
	uint8_t	 cc_flags;	/* CC_F_* of the algorithm in use */
	struct pkt_queue txq;	/* writers: user.c, output.c, input.c */
	struct pkt_queue rxq;	/* writers: reasm.c, user.c */
	struct pkt_queue ooo;	/* writer: reasm.c */
	uint8_t	 rate_app;	/* 1: the application was the limit of rate.best; writer: rate.c */
	uint8_t	 spare[3];

	/* Deadlines, ns; writer: timer.c */
	uint64_t rtx_at;	/* RTO, persist, SYN or SYN-ACK: see rtx_kind */
	uint64_t delack_at;
	uint64_t keep_at;
	uint64_t misc_at;	/* TIME_WAIT, FIN_WAIT_2 and orphans */
	uint64_t early_at;	/* reordering window's end or tail loss probe: see early_kind */
	uint64_t pace_due;	/* output goes on then; writer: pace.c */

	/* Pacing; writer: pace.c */
	uint64_t pace_at;	/* ns: the next segment is not to leave before */
	uint64_t max_rate;	/* SO_MAX_PACING_RATE, bytes a second; UINT64_MAX: none */

	struct tcp_cc cc;
	struct tcp_rtt rtt;	/* writer: rtt.c */
	struct tcp_rate rate;	/* writer: rate.c */

	/* Send; writers: output.c, input.c, user.c */
	uint32_t snd_wl2;
	uint32_t max_wnd;	/* largest window the peer ever offered */
	uint32_t snd_sml;	/* end of the last small segment sent (Minshall) */
	uint32_t snd_up;	/* urgent pointer: one past the urgent byte */
	uint32_t wmem;		/* what txq is charged against sndbuf */
	uint16_t mss_clamp;	/* the peer's MSS option */
	uint16_t advmss;	/* our MSS option */
	uint16_t pmtu;		/* learned by ICMP (RFC 1191, RFC 8201), 0: the path's */
	uint16_t dupthresh;	/* duplicate ACKs that mean loss */

	/* Loss recovery; writers: sack.c, recover.c, rack.c, tlp.c */
	uint32_t sacked_out, lost_out, retrans_out;	/* bytes of txq so marked */
	uint32_t lost_total;	/* bytes ever marked lost */
	uint32_t n_sacked;	/* segments SACKED, or duplicate ACKs without SACK */
	uint32_t recovery_point;	/* snd_nxt when recovery began (RFC 6675) */
	uint32_t undo_marker;	/* snd_una when cwnd was cut; 0 with undo_retrans 0: nothing to undo */
	int32_t	 undo_retrans;	/* retransmissions not yet reported duplicate; -1: no undo */
	uint32_t prior_cwnd, prior_ssthresh;
	uint32_t undo_ts;	/* timestamp of the first retransmission (RFC 3522) */
	uint64_t newest_at;	/* ns: send time of the latest-sent segment known delivered */
	uint64_t retrans_at;	/* ns: first timeout of the present series, 0 none */
	uint32_t rack_end;	/* its end */
	uint32_t rack_rtt_us;	/* round trip of the latest delivery (RFC 8985 6.2) */
	uint32_t rack_fack;	/* highest end known delivered */
	uint32_t dsack_round;	/* snd_nxt when a DSACK last widened the reordering window */
	uint32_t tlp_end;	/* snd_nxt when the tail loss probe was sent */
	uint32_t prr_delivered;	/* bytes since recovery began (RFC 6937); before: since output */
	uint32_t prr_out;	/* bytes sent since recovery began */
	uint32_t prr_flight;	/* bytes in flight when it began */
	uint8_t	 early_kind;	/* enum tcp_early; writer: timer.c */
	uint8_t	 early_flags;	/* EARLY_* */
	uint8_t	 reo_mult;	/* reordering window, quarters of the least RTT */
	uint8_t	 reo_persist;	/* recoveries until reo_mult is 1 again */

	/* Is cwnd what limits? Writer: usage.c (RFC 7661) */
	uint32_t usage_seq;	/* snd_nxt when the sample below was taken */
	uint32_t max_out;	/* most in flight in that round trip */
	uint32_t cwnd_used;	/* most in flight since used_at_ms */
	uint32_t used_at_ms;	/* when cwnd was last filled, or reduced for want of it */

	/* Receive; writer: reasm.c, ack.c */
	struct tcp_sack sacks[TCP_N_SACKS];	/* blocks to report, latest first */
	struct tcp_sack dsack;	/* start == end: none */
	uint8_t	 n_sacks;
	uint8_t	 urg_state;	/* enum tcp_urg */
	uint8_t	 urg_byte;
	uint8_t	 n_probes;	/* window probes unanswered */
	uint32_t urg_seq;	/* of the urgent byte */
	uint16_t ato_ms;	/* delayed-ACK time-out estimate; 0: no data yet */
	uint8_t	 keep_probes;	/* keepalive probes unanswered */
	uint8_t	 cc_wanted;	/* TCP_CC_* as asked */
	uint32_t rcvq_seq, rcvq_space, rcvq_at_us;	/* receive autotuning: bytes read per RTT */
	uint32_t rcv_rtt_us;	/* as the receiver sees it, 0: no sample */
	uint32_t window_clamp;	/* TCP_WINDOW_CLAMP, or UINT32_MAX */
	uint32_t rx_frames;	/* frames held by rxq and ooo */

	/* Options; writer: user.c */
	uint32_t user_timeout_ms, notsent_lowat;
	int32_t	 linger_s, linger2_s;
	uint16_t keepidle_s, keepintvl_s;
	uint8_t	 keepcnt, syncnt;
	uint16_t user_mss;
	uint16_t defer_accept_s;	/* at most 255 SYN-ACKs, 120 s each */
	uint16_t ooo_last;	/* pkt_h: where out-of-order text last went, 0: nowhere; writer: reasm.c */

	/* Opening, and the listener's lists; writer: listen.c, user.c */
	uint32_t iss, irs;

	/* Bookkeeping; the file that does the thing */
	uint32_t last_rcv_ms, last_snd_ms, last_ack_ms;	/* data received, data sent, ACK received */
	uint32_t last_oow_ms;	/* last reply to something invalid (RFC 5961 7) */
	uint32_t segs_in, segs_out, data_segs_in, data_segs_out;
	uint32_t total_retrans, delivered, dsack_dups, rcv_ooopack, reord_seen;
	int32_t	 soft_err;	/* errno of an ICMP error not obeyed; reported at time-out */
	uint32_t burst_segs;	/* sent of the present burst; writer: output.c, and who begins one */
	uint64_t bytes_acked, bytes_received, bytes_sent, bytes_retrans;
};
static_assert(sizeof(struct tcb) <= SK_PROTO_BYTES, "fits in sk.proto_area");
static_assert(offsetof(struct tcb, delack_at) <= 128, "the hot fields are two lines");

/* A listener. Writer: listen.c; opts: user.c */
struct tcp_listen {
	struct tcp_opts opts;
	uint32_t backlog;
	uint32_t n_embryos;
	uint32_t n_accept;
	uint32_t emb_head;	/* sk slots, through sk.list_next/list_prev */
	uint32_t acc_head, acc_tail;
	uint32_t n_overflow;
	uint32_t shut;		/* 1: shutdown() has stopped it */
	/* Fast Open; writer: tfo.c */
	uint64_t fo_key[4];	/* TCP_FASTOPEN_KEY: the present one, the one before */
	uint32_t n_fo_keys;	/* 0: made of the stack's secret */
	uint32_t n_fo;		/* connections whose SYN-ACK is not acknowledged */
	uint32_t n_fo_rst[2];	/* those that were reset before: of this minute, of the one before */
	uint32_t fo_minute;
	/* What has no socket yet; writer: synq.c, cookie.c */
	uint32_t n_reqs;
	uint32_t cookie_at_s;	/* when a cookie was last given out */
	uint32_t cookies;	/* 1: cookie_at_s means something */
	struct { uint16_t head, tail; } reqs[TCP_SYNACK_RETRIES + 1];	/* by n_rtx, soonest first */
};
static_assert(sizeof(struct tcp_listen) <= SK_PROTO_BYTES, "fits in sk.proto_area");

static inline struct tcb *tcb_of(struct sk *sk) { return (struct tcb *)(void *)sk->proto_area; }
static inline const struct tcb *tcb_of_const(const struct sk *sk)
{
	return (const struct tcb *)(const void *)sk->proto_area;
}
static inline struct tcp_listen *listen_of(struct sk *sk)
{
	return (struct tcp_listen *)(void *)sk->proto_area;
}

#endif
