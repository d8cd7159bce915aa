/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Apertures between hosts: bytes <-> plain structs (docs/internals/apertures-wire.md).
 *
 * Two kinds of frame, each with an EtherType of its own (S2-OUT-03), and messages that set
 * connections up and take them down:
 *
 *	CI-data   0x88b5   writes, requests to read, answers to them; addressed to an aperture
 *	CI-event  0x88b6   an event of fixed size; addressed to an aperture
 *	message   0x4f41   addressed to a port. On Ethernet they travel in 0x88b6, where their
 *			   magic tells them from a CI header, whose first byte is a version
 *
 * Over UDP a datagram begins with those two bytes of type, then comes what Ethernet's payload
 * would be. A CI frame, numbers in network order:
 *
 *	 0  version 8 | op 8 | header length / 4 8 | flags 8
 *	 4  header checksum 16 | data length 16
 *	 8  destination: host 32 | in-index 24 | nonce 40 | offset 32	the cluster address (S2-OUT-04)
 *	24  sequence number 32
 *	28  source host 32
 *	32  source out-index 16 | bursts 8 | 0 8
 *	36  write: the bursts' descriptors; others: their own words; zeros up to a multiple of 4
 *	    data, then CRC32C over the data 32
 *
 * The checksum (RFC 1071) covers the whole header, descriptors included; the CRC the data. A
 * burst's descriptor is a byte of CI_B_* and what that names. What it leaves out is as in the
 * burst before: the same aperture, the offset at which the other ended, the same length (S2-OUT-06).
 *
 * Pure and total: any bytes parse or are refused, and nothing past `avail` is read.
 */
#ifndef WIRE_CI_H
#define WIRE_CI_H

#include "base/crc32c.h"
#include "base/types.h"

#define CI_TYPE_DATA	0x88b5
#define CI_TYPE_EVENT	0x88b6
#define CI_TYPE_MSG	0x4f41		/* "OA", also the magic of a message */

#define CI_VERSION	1
#define CI_HDR_LEN	36		/* without descriptors */
#define CI_HDR_MAX	256		/* with them: what we build, and what we take */
#define CI_REQ_LEN	52
#define CI_RESP_LEN	48
#define CI_CRC_LEN	4
#define CI_DESC_MAX	21		/* the longest descriptor */
#define CI_INDEX_MASK	0xffffffu	/* 24 bits */
#define CI_NONCE_MASK	0xffffffffffull	/* 40 bits */

struct ci_addr {			/* a cluster address: 128 bits on the wire */
	uint32_t host;
	uint32_t index;			/* 24 bits */
	uint64_t nonce;			/* 40 bits */
	uint32_t offset;
};

void wire_ci_addr_parse(const uint8_t *p, struct ci_addr *ret);	/* 16 bytes */
void wire_ci_addr_emit(uint8_t *p, const struct ci_addr *a);

enum ci_op {
	CI_WRITE = 1,			/* bursts of data */
	CI_READ_REQ = 2,		/* len bytes at the address, please; 0: what have you accepted? */
	CI_READ_RESP = 3,		/* the bytes, or why not */
	CI_EVENT = 4,			/* data: eight bytes for an event queue */
};

enum ci_parse {
	CI_OK,
	CI_SHORT,			/* cut off, or lengths that contradict each other */
	CI_VERSION_BAD,
	CI_CSUM_BAD,
	CI_MALFORMED,			/* checksum right, contents not */
};

struct ci_hdr {				/* host order */
	uint8_t	 op;			/* enum ci_op */
	uint8_t	 n_bursts;		/* write: at least 1; others 0 */
	uint16_t hdr_len;		/* parse: bytes, descriptors included */
	uint16_t data_len;		/* parse: bytes between header and CRC */
	struct ci_addr dst;
	uint32_t seq;
	uint32_t src_host;		/* 0: as the carrier says */
	uint16_t from;			/* sender's out-index, for errors to name */
	/* CI_READ_REQ and CI_READ_RESP */
	uint32_t tag;			/* chosen by who asks, given back */
	uint32_t len;			/* request: bytes wanted */
	uint32_t reply_index;		/* request: in-index and nonce to answer to */
	uint64_t reply_nonce;
	uint32_t accepted;		/* answer: the sequence number expected next */
	uint32_t status;		/* answer: 0, or enum ci_error */
};

/* Verifies lengths, version, checksum and descriptors; data may be followed by padding. The CRC
 * is the caller's to verify: wire_ci_crc_ok(). */
must_check enum ci_parse wire_ci_parse(const uint8_t *p, uint32_t avail, struct ci_hdr *ret);
/* The frame must have parsed. */
must_check bool wire_ci_crc_ok(const uint8_t *p, const struct ci_hdr *h, crc32c_fn crc);

/* ---- bursts ------------------------------------------------------------------------------- */

#define CI_B_LEN	0x01		/* length 16 */
#define CI_B_OFF	0x02		/* offset 32 */
#define CI_B_AP		0x04		/* index 24 | nonce 40 | sequence number 32 | out-index 16; OFF too */
#define CI_B_EVENT	0x08		/* tell the application once it is written */

struct ci_burst {
	struct ci_addr dst;
	uint32_t seq;
	uint16_t from;
	bool	 first;			/* of its aperture's section: sequence and nonce count once */
	bool	 event;
	uint32_t len;
	const uint8_t *data;
};

struct ci_walk { const uint8_t *desc, *end, *data; uint32_t left; struct ci_burst at; };

/* Over the bursts of a write that parsed. */
void wire_ci_walk(const uint8_t *p, const struct ci_hdr *h, struct ci_walk *ret);
must_check bool wire_ci_next(struct ci_walk *w, struct ci_burst *ret);	/* false: that was all */

/* ---- building ------------------------------------------------------------------------------- */

/*
 * A frame under construction in buf[]: data grows from CI_HDR_MAX on, the header is written in
 * front of it when the frame is closed, so nothing is moved but a few descriptors.
 */
struct ci_build {
	uint8_t *buf;			/* at least CI_HDR_MAX + max bytes */
	uint32_t max;			/* of the finished frame */
	uint32_t n_desc;		/* bytes of descriptors so far */
	uint32_t n_data;
	struct ci_hdr h;
	struct ci_addr at;		/* where the last burst ended */
	uint32_t last_len;
	uint8_t	 desc[CI_HDR_MAX - CI_HDR_LEN];
};

/* Begins a write whose first burst goes to h->dst. */
void wire_ci_begin(struct ci_build *b, uint8_t *buf, uint32_t max, const struct ci_hdr *h);
/* How many bytes of data another burst could carry; 0: none, close the frame. */
must_check uint32_t wire_ci_room(const struct ci_build *b);
/* Adds a burst of at most wire_ci_room() bytes; `fresh`: it opens a section of its aperture, with
 * that sequence number and out-index (always true of the first). */
void wire_ci_add(struct ci_build *b, const struct ci_addr *dst, uint32_t seq, uint16_t from, bool fresh,
		 const void *data, uint32_t len, bool event);
/* Closes the frame: it is ret_len bytes from the returned offset of buf on. */
must_check uint32_t wire_ci_end(struct ci_build *b, crc32c_fn crc, uint32_t *ret_len);
/* Any other frame, or a write of one burst: header, data and CRC into p. Returns its length. */
uint32_t wire_ci_emit(uint8_t *p, const struct ci_hdr *h, const void *data, uint32_t n, crc32c_fn crc);

/* ---- messages ------------------------------------------------------------------------------------ */

enum ci_msg_type {
	CI_CONNECT = 1,
	CI_ACCEPT = 2,
	CI_REJECT = 3,
	CI_CLOSE = 4,
	CI_ALIVE = 5,
	CI_ALIVEACK = 6,
	CI_ERROR = 7,
	CI_MESSAGE = 8,			/* words between applications: body_len bytes and a CRC32C follow */
};

enum ci_error {				/* arg of ERROR and REJECT; status of an answer */
	CI_E_NONE = 0,
	CI_E_NO_PORT = 1,
	CI_E_DENIED = 2,
	CI_E_FULL = 3,
	CI_E_NOT_VALID = 4,
	CI_E_SEQ = 5,
	CI_E_NONCE = 6,
	CI_E_SOURCE = 7,
	CI_E_EXTENT = 8,
	CI_E_CRC = 9,
	CI_E_TYPE = 10,
	CI_E_FORBIDDEN = 11,		/* no writing, or no reading, there */
	CI_E_LINK = 12,			/* the local carrier failed */
};

enum ci_port_state { CI_RUNNING = 0, CI_BLOCKED = 1, CI_STOPPED = 2, CI_DEAD = 3 };

#define CI_MSG_LEN	64
#define CI_M_ACK	0x01		/* ACCEPT and CLOSE: this answers one */
#define CI_M_SEQ	0x02		/* I check sequence numbers: begin with seq0 */
#define CI_M_STEP	0x04		/* the nonce grows by `step` each `every` packets */
#define CI_M_READ	0x08		/* my aperture may be read */
#define CI_M_WRITE	0x10		/* ... written */

/*
 *	 0  magic 16 | version 8 | type 8
 *	 4  destination host 32 | port 16 | source port 16
 *	12  source host 32
 *	16  checksum 16 | flags 8 | size class 8
 *	20  type of the aperture 16 | body length 16
 *	24  in-index 24 | nonce 40		the sender's aperture
 *	32  in-index 24 | nonce 40		the receiver's, as far as known
 *	40  size 64
 *	48  seq0 32 | step 16 | every 16
 *	56  arg 32 | arg2 32
 */
struct ci_msg {				/* host order */
	uint8_t	 type;			/* enum ci_msg_type, or unknown */
	uint8_t	 flags;			/* CI_M_* */
	uint8_t	 size_class;
	uint16_t ap_type;		/* CI_TYPE_DATA, CI_TYPE_EVENT, 0: none */
	uint16_t dst_port, src_port;
	uint16_t body_len;
	uint16_t step, every;
	uint32_t dst_host, src_host;
	uint32_t index, peer_index;	/* 24 bits */
	uint64_t nonce, peer_nonce;	/* 40 bits */
	uint64_t size;
	uint32_t seq0;
	uint32_t arg;			/* enum ci_error, enum ci_port_state */
	uint32_t arg2;			/* offset; depth of the queue; out-index of who erred */
};

/* Body and CRC may follow the 64 bytes; they are all there if CI_OK. */
must_check enum ci_parse wire_ci_msg_parse(const uint8_t *p, uint32_t avail, struct ci_msg *ret);
must_check bool wire_ci_msg_crc_ok(const uint8_t *p, const struct ci_msg *m, crc32c_fn crc);
/* Returns the length: 64, or more with a body (m->body_len bytes). */
uint32_t wire_ci_msg_emit(uint8_t *p, const struct ci_msg *m, const void *body, crc32c_fn crc);

#endif
