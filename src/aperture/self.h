/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * libonramp-aperture: what its files know of each other.
 *
 * An endpoint lies in one shared mapping ("arena"): this struct, the engine and its queues, receive
 * buffers, and the heap of onramp_ap_alloc(). Its helper process, if it has one, is a fork that
 * keeps that mapping at the same address, so pointers hold in both.
 *
 * L1 The engine, and all of this struct not said to be otherwise, is touched under `lock` only.
 * L2 Nobody sleeps in the kernel with the lock; a thread about to sleep has counted itself in
 *    `sleepers` and armed the event queue under the lock, and looked once more after that.
 * L3 Whoever moves the engine rings the bell, after it, if it did anything while others sleep.
 * L4 Who dies with the lock leaves the endpoint broken: the other side of it never enters again. The
 *    helper then only reads it, once, to close what was open.
 */
#ifndef APERTURE_SELF_H
#define APERTURE_SELF_H

#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "core/aperture/aperture.h"
#include "host/host.h"
#include "onramp/aperture.h"

#define N_EVENTS	4096	/* events that may wait: 64 KiB */
#define N_EVENT_WORDS	65536	/* and their words: 256 KiB */
#define N_BATCH		16	/* frames received in one go */
#define N_OFFERS	128
#define N_REGIONS	1024
#define HEAP_BYTES	(16u << 20)
#define N_READS		64	/* a bit each in `landing_used` */
#define FRAME_DEFAULT	1470	/* with the two bytes of type, IP and UDP: an MTU of 1500 */
#define SPIN_US		50

enum ap_broken { AP_WHOLE, AP_BROKEN };

/* With a ring, frames come by memory: the kernel writes, we look, without a system call. */
struct carrier_ether { int ifindex; uint8_t mac[6]; uint8_t *ring; size_t ring_bytes; uint32_t slot, n_slots, at; };

struct offer { uint16_t port; uint32_t region; };

struct onramp_ap {
	/* The lock: 0 free, 1 held, 2 held and somebody waits. Its own line. */
	uint32_t lock cacheline_aligned;
	uint32_t held_by_helper;
	uint32_t broken;		/* enum ap_broken */
	uint32_t sleepers;		/* threads asleep in a call; written under the lock, read by all */
	uint64_t looked_at;		/* when the program last moved the engine; relaxed */
	/* fixed at start */
	size_t	 arena_bytes cacheline_aligned;
	int	 pid;			/* the owner's */
	int	 fd, bell;		/* socket; eventfd */
	int	 epoll, timer;		/* -1 until onramp_ap_fd() */
	bool	 is_ether, raw;		/* raw: system calls by number, past whoever interposes them */
	struct carrier_ether ether;
	uint32_t frame_bytes;
	uint64_t spin_ns;
	struct apw *e;
	uint32_t queue;
	struct apw_evq_user events;
	uint16_t client_port;
	uint8_t	*buffers;		/* N_BATCH of buffer_stride */
	uint32_t buffer_stride;
	struct inbox { struct mmsghdr m[N_BATCH]; struct iovec v[N_BATCH]; struct sockaddr_in from[N_BATCH]; } inbox;
	uint8_t	*landing;		/* N_READS of frame_bytes: where answers land if there is a helper */
	uint64_t landing_used;
	uint8_t	*heap;
	uint64_t heap_bytes, heap_used;
	struct offer offers[N_OFFERS];
	uint64_t timer_for;		/* what the timer is set to */
	int	 net_err;		/* of frames that could not be sent, for the call that made them */
	int	 helper;		/* its process; 0: none */
	int	 alive_fd;		/* pipe: open as long as the program is */
};

/* lock.c */
must_check int ap_enter(struct onramp_ap *ap);	/* -ENOTRECOVERABLE */
void ap_leave(struct onramp_ap *ap);
must_check bool ap_try_enter(struct onramp_ap *ap, uint64_t ns);	/* the helper's */

/* carrier.c: UDP, or Ethernet frames. All give -errno. */
must_check int carrier_open(struct onramp_ap *ap, const char *address, const char *interface, uint32_t *ret_host);
void carrier_close(struct onramp_ap *ap);
void carrier_furnish(struct onramp_ap *ap);	/* once the buffers are there */
/* Hands what has come to the engine, at most N_BATCH frames. Returns how many. */
int carrier_receive(struct onramp_ap *ap, uint64_t now, enum ci_port_state s);
/* Sends what the engine has ready. False: the network takes no more now. */
bool carrier_send(struct onramp_ap *ap);
/* A message (CI_MSG_LEN bytes at most), past the engine. */
void carrier_send_raw(struct onramp_ap *ap, const struct apw_addr *to, uint16_t type, const uint8_t *p, uint32_t n);
must_check int carrier_address(struct onramp_ap *ap, char *text, size_t n);
must_check int carrier_parse(const struct onramp_ap *ap, const char *text, struct apw_addr *ret);
/* "10.0.0.1", "10.0.0.1:80", "10.0.0.0/8": what there is behind the address in *ret_number, or -1. */
must_check int ap_parse_ip4(const char *text, char sep, uint32_t *ret, long *ret_number);

/* wait.c */
int ap_progress(struct onramp_ap *ap, uint64_t now, enum ci_port_state s);	/* frames handled */
/* Until done() says so: 0, or -ETIMEDOUT. In and out with the lock. */
int ap_wait(struct onramp_ap *ap, bool (*done)(struct onramp_ap *ap, void *arg), void *arg, int timeout);
void ap_ring(struct onramp_ap *ap);
int ap_poll_fds(const struct onramp_ap *ap, struct pollfd *p, unsigned n, uint64_t ns);

/* serve.c */
must_check int serve_start(struct onramp_ap *ap);
void serve_stop(struct onramp_ap *ap);

#endif
