/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TCP header and options: bytes <-> plain struct (RFC 9293 3.1, 3.2; RFC 7323; RFC 2018).
 * Pure and total: any bytes parse or are refused, and nothing past `avail` is read.
 */
#ifndef WIRE_TCP_H
#define WIRE_TCP_H

#include "base/types.h"

#define TCP_HDR_MIN	20
#define TCP_HDR_MAX	60
#define TCP_CSUM_OFF	16	/* of the checksum field, from the start of the header */
#define TCP_SACK_MAX	4	/* blocks that 40 bytes of options can hold; 3 beside timestamps */
#define TCP_FO_MIN	4	/* bytes of a Fast Open cookie (RFC 7413 4.1.1) */
#define TCP_FO_MAX	16
#define TCP_WS_MAX	14	/* RFC 7323 2.3 */

#define TCP_F_FIN	0x01u
#define TCP_F_SYN	0x02u
#define TCP_F_RST	0x04u
#define TCP_F_PSH	0x08u
#define TCP_F_ACK	0x10u
#define TCP_F_URG	0x20u
#define TCP_F_ECE	0x40u
#define TCP_F_CWR	0x80u

struct tcp_fo {			/* Fast Open option (RFC 7413 4.1.1) */
	bool	 has;
	bool	 exp;		/* as it was before it had a number: kind 254, magic 0xf989 */
	uint8_t	 len;		/* of the cookie: 4..16 and even; 0: one is asked for */
	uint8_t	 cookie[TCP_FO_MAX];
};

struct tcp_hdr {		/* all in host order */
	uint16_t sport, dport;
	uint32_t seq, ack;
	uint8_t	 flags;		/* TCP_F_* */
	uint8_t	 hdr_len;	/* parse: bytes, options included; emit ignores it */
	uint16_t wnd;		/* as on the wire, not scaled */
	uint16_t urg;
	/* options; a value means something only when its has_ says so */
	bool	 has_ts, has_mss, has_ws, sack_permitted;
	uint8_t	 ws;		/* parse: already limited to TCP_WS_MAX */
	uint8_t	 n_sack;	/* blocks in sack[] */
	uint16_t mss;
	uint32_t ts_val, ts_ecr;
	uint32_t sack[TCP_SACK_MAX][2];	/* left edge, right edge (one past) */
	struct tcp_fo fo;	/* of a SYN */
};

/*
 * Parses the header and its options. False: fewer than a header's bytes, or the data offset
 * says less than 20 or more than `avail`. A broken option ends the options, as in Linux; what
 * stood before it counts. Only the first n_sack blocks of ret->sack are written.
 */
must_check bool wire_tcp_parse(const uint8_t *p, uint32_t avail, struct tcp_hdr *ret);

/* Bytes that wire_tcp_emit() will write: 20..60, a multiple of 4. */
must_check uint32_t wire_tcp_emit_len(const struct tcp_hdr *h);

/*
 * Writes the header with its options in Linux's order and padding; the checksum is zero.
 * SACK blocks past the room that the other options leave are left out. Returns the length.
 */
uint32_t wire_tcp_emit(uint8_t *p, const struct tcp_hdr *h);

#endif
