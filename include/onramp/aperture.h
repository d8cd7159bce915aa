/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp/aperture.h - memory shared between hosts (link with -lonramp-aperture)
 *
 * A program offers some of its memory on a port; another, on any host, connects to it and from
 * then on writes and reads there. Writes are stores: no reply, no copy on the way but the network's,
 * no wake-up unless asked for. Both directions are independent: each side says what of its own
 * memory the other may touch.
 *
 *	server						client
 *	onramp_ap_open(NULL or options, &ap)		onramp_ap_open(NULL, &ap)
 *	onramp_ap_offer(ap, 5, &memory, NULL, &port)	onramp_ap_connect(ap, "10.0.0.1:7000", 5, NULL, -1, &conn)
 *	onramp_ap_event(ap, &ev, -1)			onramp_ap_store64(ap, conn, 0, 42)
 *							onramp_ap_fence(ap, conn, -1)
 *
 * Opt-in: nothing of onramp uses this by itself, and it needs neither the agent nor privilege,
 * but for Ethernet frames of its own (options.interface), which need CAP_NET_RAW.
 *
 * Values.	Functions that return int give 0 (or what is said there), or -errno; they do not touch
 *		errno and print nothing. Offsets and sizes are bytes, timeouts milliseconds (0: do not
 *		wait, -1: for ever). Numbers are in the host's byte order, but for the bytes of your own
 *		stores, which arrive as they were.
 * Ownership.	Memory offered stays yours and must stay mapped until onramp_ap_withdraw() or
 *		onramp_ap_close(). Buffers given to calls are yours again when the call returns.
 * Threads.	Any thread may call; calls for the same endpoint take turns. A fork()ed child must not
 *		use its parent's endpoints.
 * Progress.	What others send arrives in your memory while some thread of yours is in a call of this
 *		library for that endpoint (onramp_ap_poll() is the shortest), or at any time with
 *		ONRAMP_AP_SERVE.
 * Loss.	Stores are datagrams: the network may lose them, and does not say so. onramp_ap_fence() says
 *		whether all arrived; if not, store again what matters. Set-up, reads and fences are
 *		repeated by themselves. With ONRAMP_AP_ORDERED nothing is written after a gap.
 * Trust.	A peer can do to your memory what the offer says, and nothing else. Packets are checked,
 *		not encrypted: who can read the network can learn the 40-bit nonces that guard an aperture.
 */
#ifndef ONRAMP_APERTURE_H
#define ONRAMP_APERTURE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct onramp_ap;			/* an endpoint: a socket, and all apertures behind it */

/* ---- endpoints ------------------------------------------------------------------------------- */

#define ONRAMP_AP_SERVE	0x1u	/* a helper process serves peers while the program does not: computes, is
				 * blocked, stopped, or gone (then it closes what was open, and leaves).
				 * Only memory from onramp_ap_alloc() can be offered then. */

struct onramp_ap_options {
	uint32_t size;			/* sizeof(struct onramp_ap_options) */
	uint32_t flags;			/* ONRAMP_AP_SERVE */
	const char *address;		/* "10.0.0.1:7000": where to be reached. NULL, or port 0 or left out:
					 * chosen; address 0.0.0.0 or NULL: any of this host's. IPv4 */
	const char *interface;		/* not NULL: Ethernet frames on this interface instead of UDP; then
					 * `address` is a name for this endpoint only (default: the
					 * interface's own), one for each endpoint on that network */
	uint32_t frame_bytes;		/* largest frame, without the carrier's headers; 0: 1470 */
	uint32_t max_connections;	/* 0: 4096; at most 65535 */
	uint32_t heap_bytes;		/* for onramp_ap_alloc(); 0: 16 MiB of address space, used as touched */
	uint32_t spin_us;		/* how long waits look before they sleep; 0: 50 */
};

/* -EINVAL, -EPERM (CAP_NET_RAW), -ENODEV, -EADDRINUSE, -EADDRNOTAVAIL, -ENOMEM, -EMFILE. */
int onramp_ap_open(const struct onramp_ap_options *options, struct onramp_ap **ret);
/* Tells the peers of open connections (waits for their answers, 1 s at most), gives all back. */
void onramp_ap_close(struct onramp_ap *ap);
/* What others give to onramp_ap_connect(): at most n bytes with the final zero. -ENOSPC: n too small. */
int onramp_ap_address(struct onramp_ap *ap, char *text, size_t n);
/* A descriptor that poll(2), select(2) and epoll(7) say is readable when onramp_ap_poll() has work.
 * It stays the library's: do not read or close it. */
int onramp_ap_fd(struct onramp_ap *ap);
/* Handles what has come, without waiting. Returns how many frames that was. */
int onramp_ap_poll(struct onramp_ap *ap);
/* Zeroed memory, aligned to 64 bytes, that lives until onramp_ap_close(). NULL: heap_bytes used up. */
void *onramp_ap_alloc(struct onramp_ap *ap, size_t n);

/* ---- what others may reach --------------------------------------------------------------------- */

#define ONRAMP_AP_READ		0x01u	/* peers may read */
#define ONRAMP_AP_WRITE		0x02u	/* peers may write */
#define ONRAMP_AP_ORDERED	0x04u	/* check sequence numbers: after a loss nothing is written until
					 * the peer has called onramp_ap_fence(). Replays are refused */
#define ONRAMP_AP_STEPPING	0x08u	/* and the nonce changes with each packet; implies ORDERED */
#define ONRAMP_AP_ANY_SOURCE	0x10u	/* do not check who sent a packet, the nonce alone decides */
#define ONRAMP_AP_ASK		0x20u	/* of an offer: each connection is decided by onramp_ap_accept() */

struct onramp_ap_memory {
	void	*base;			/* NULL: nothing; size is 0 */
	uint64_t bytes;			/* at most 4 GiB */
	uint32_t flags;			/* ONRAMP_AP_READ ... */
	uint32_t first, last;		/* both 0: all; else only these bytes of it, last included */
};

struct onramp_ap_rules {		/* of who may connect: the first that matches decides */
	uint32_t size;			/* sizeof(struct onramp_ap_rules) */
	uint32_t max_connections;	/* 0: no limit */
	uint32_t n;			/* at most 8; with n > 0 who matches none is refused */
	struct { const char *net; int allow; } rule[8];	/* "10.1.0.0/16", "192.0.2.7" */
};

/* Offers memory on a port. port 0: one is chosen. rules NULL: everybody who can reach us. ret may be
 * NULL. -EADDRINUSE, -ENOSPC, -EINVAL. */
int onramp_ap_offer(struct onramp_ap *ap, uint16_t port, const struct onramp_ap_memory *m,
		    const struct onramp_ap_rules *rules, uint16_t *ret_port);
/* No new connections, and those of the port are closed: peers do not touch the memory any more. -ENOENT. */
int onramp_ap_withdraw(struct onramp_ap *ap, uint16_t port);

/* ---- connections --------------------------------------------------------------------------------- */

/* Connects; mine (may be NULL) is what the other side may reach of ours. Connections are numbers,
 * never used twice in a row. -ETIMEDOUT, -ECONNREFUSED (no such port), -EACCES (the rules),
 * -ENOSPC (too many), -EINVAL. Ethernet: the host's name as given to its options.address. */
int onramp_ap_connect(struct onramp_ap *ap, const char *address, uint16_t port, const struct onramp_ap_memory *mine,
		      int timeout, uint32_t *ret_conn);
/* After ONRAMP_AP_EV_SETUP; m NULL: what the port offers. -ENOENT: too late. */
int onramp_ap_accept(struct onramp_ap *ap, uint32_t conn, const struct onramp_ap_memory *m);
int onramp_ap_reject(struct onramp_ap *ap, uint32_t conn);
/* From now on the peer touches nothing of ours through it. -ENOENT. */
int onramp_ap_disconnect(struct onramp_ap *ap, uint32_t conn);
/* Bytes of the peer's memory that can be reached. -ENOTCONN, -ENOENT. */
int onramp_ap_size(struct onramp_ap *ap, uint32_t conn, uint64_t *ret);
/* Asks the peer's interface how its program is; ONRAMP_AP_EV_ALIVE will say. -ENOTCONN. */
int onramp_ap_alive(struct onramp_ap *ap, uint32_t conn);

/* ---- data ------------------------------------------------------------------------------------------ */

#define ONRAMP_AP_NOTIFY	0x1u	/* the peer gets ONRAMP_AP_EV_DELIVERY once the bytes are there */
#define ONRAMP_AP_MORE		0x2u	/* more follows: may share a frame with it. Sent by the next call
					 * without MORE, or when the frame is full, or by onramp_ap_poll() */

/* Stores n bytes at an offset of the peer's memory. An aligned 4 or 8 bytes are seen whole, and
 * after all that were stored before. -ERANGE (beyond it), -ENOTCONN, -ENOENT, -ENOBUFS and -EAGAIN
 * (the network takes no more now), or the network's error. */
int onramp_ap_store(struct onramp_ap *ap, uint32_t conn, uint64_t offset, const void *p, size_t n, uint32_t flags);

static inline int onramp_ap_store8(struct onramp_ap *ap, uint32_t conn, uint64_t offset, uint8_t v)
{
	return onramp_ap_store(ap, conn, offset, &v, sizeof(v), 0);
}

static inline int onramp_ap_store16(struct onramp_ap *ap, uint32_t conn, uint64_t offset, uint16_t v)
{
	return onramp_ap_store(ap, conn, offset, &v, sizeof(v), 0);
}

static inline int onramp_ap_store32(struct onramp_ap *ap, uint32_t conn, uint64_t offset, uint32_t v)
{
	return onramp_ap_store(ap, conn, offset, &v, sizeof(v), 0);
}

static inline int onramp_ap_store64(struct onramp_ap *ap, uint32_t conn, uint64_t offset, uint64_t v)
{
	return onramp_ap_store(ap, conn, offset, &v, sizeof(v), 0);
}

/* An event alone, with 32 bits of your own: the peer gets ONRAMP_AP_EV_DELIVERY with that offset. */
int onramp_ap_notify(struct onramp_ap *ap, uint32_t conn, uint32_t value);
/* Waits until the peer's side has taken all stores before it. -EIO: some were lost on the way (those
 * after it are counted anew); -ETIMEDOUT, -ECONNRESET. */
int onramp_ap_fence(struct onramp_ap *ap, uint32_t conn, int timeout);
/* Copies n bytes at an offset of the peer's memory to p; in pieces, if n is large. -ERANGE, -EACCES
 * (not offered for reading), -ETIMEDOUT, -ECONNRESET. */
int onramp_ap_read(struct onramp_ap *ap, uint32_t conn, uint64_t offset, void *p, size_t n, int timeout);
/* A few words to a port, without a connection: they may be lost, or come twice. At most
 * onramp_ap_message_max() bytes. -EMSGSIZE. */
int onramp_ap_message(struct onramp_ap *ap, const char *address, uint16_t port, const void *p, size_t n);
size_t onramp_ap_message_max(struct onramp_ap *ap);

/* ---- events ------------------------------------------------------------------------------------------- */

enum onramp_ap_event_type {
	ONRAMP_AP_EV_DELIVERY = 3,	/* value: offset of what was stored, or the peer's own word */
	ONRAMP_AP_EV_SETUP = 6,		/* address, port, size: of who asks (ONRAMP_AP_ASK) */
	ONRAMP_AP_EV_OPEN = 7,
	ONRAMP_AP_EV_CLOSED = 8,	/* by either side; value: enum onramp_ap_error */
	ONRAMP_AP_EV_ALIVE = 9,		/* value: enum onramp_ap_state */
	ONRAMP_AP_EV_ERROR = 10,	/* value: enum onramp_ap_error; offset: where */
	ONRAMP_AP_EV_MESSAGE = 11,	/* address, port: of who sent; data, bytes */
};

enum onramp_ap_error {
	ONRAMP_AP_E_NONE, ONRAMP_AP_E_NO_PORT, ONRAMP_AP_E_DENIED, ONRAMP_AP_E_FULL, ONRAMP_AP_E_NOT_VALID,
	ONRAMP_AP_E_SEQUENCE, ONRAMP_AP_E_NONCE, ONRAMP_AP_E_SOURCE, ONRAMP_AP_E_RANGE, ONRAMP_AP_E_CRC,
	ONRAMP_AP_E_TYPE, ONRAMP_AP_E_FORBIDDEN, ONRAMP_AP_E_LINK,
};

enum onramp_ap_state { ONRAMP_AP_RUNNING, ONRAMP_AP_BLOCKED, ONRAMP_AP_STOPPED, ONRAMP_AP_DEAD };

struct onramp_ap_event {
	uint32_t type;			/* enum onramp_ap_event_type */
	uint32_t conn;			/* 0: none (MESSAGE) */
	uint32_t value;
	uint32_t offset;
	uint64_t size;			/* SETUP: bytes of the other side's memory that we may reach */
	uint32_t address;		/* IPv4, host byte order */
	uint16_t port;
	uint16_t bytes;			/* of data */
	uint8_t	 data[1480];
};

/* The next event: 1, or 0 if none came in time. Connections made by onramp_ap_connect() have no OPEN. */
int onramp_ap_event(struct onramp_ap *ap, struct onramp_ap_event *ret, int timeout);

/* ---- what happened --------------------------------------------------------------------------------------- */

/* Counters since onramp_ap_open(), by number, until NULL: a name, e.g. "BAD_NONCE", and its value. */
const char *onramp_ap_counter(struct onramp_ap *ap, unsigned n, uint64_t *ret);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
