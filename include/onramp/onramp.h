/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * onramp/onramp.h - bytes of stream sockets without copies (link with -lonramp; onramp-api(3))
 *
 * For programs that know of onramp. All others need nothing of this: `onramp run` accelerates
 * them as they are. Received bytes are used where they lie, and bytes to send are written where
 * their reader finds them:
 *
 *	n = onramp_recv_in_place(fd, iov, 4, 0)		p = onramp_send_reserve(fd, 4096, &got)
 *	... look at iov[0], iov[1] ...			... write up to `got` bytes at p ...
 *	onramp_hand_back(fd, n)				onramp_send_commit(fd, bytes)
 *
 * The calls work on every connected stream socket, whoever serves it, so a program can use them
 * without asking: where bytes cannot be used in place, the library copies (onramp_in_place()
 * tells). They mix freely with recv(), send(), poll() and epoll on the same descriptor.
 *
 * Values.	As in libc: -1 (or NULL) and errno. Sizes are bytes.
 * Waiting.	As recv() and send() do: unless the descriptor is O_NONBLOCK, up to SO_RCVTIMEO and
 *		SO_SNDTIMEO; SO_RCVLOWAT says how much is worth waking for.
 * Ownership.	Pieces are yours to read, not to write, until handed back; a reservation is yours to
 *		write until committed. Both end when the last descriptor of the socket in this process is
 *		closed, and not before: not when the peer closes, dies or resets the connection.
 * Threads.	One thread at a time receives from a socket, and one sends to it; they may be two.
 *		After fork() parent and child see the same bytes: who hands them back takes them from both.
 * Trust.	Through an aperture the bytes lie in memory that the peer wrote, and a hostile peer can go
 *		on writing there. Who does not trust it copies what it decides on, before it decides.
 */
#ifndef ONRAMP_ONRAMP_H
#define ONRAMP_ONRAMP_H

#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- receiving ------------------------------------------------------------------------------- */

/*
 * Where the bytes lie that came first and have not been read: up to `n` pieces, in order. Entries
 * that are not needed get length 0. Nothing is taken off the socket: a second call shows the same
 * bytes and those that have come since, and pieces of an earlier call may not be used after it.
 * flags: 0 or MSG_DONTWAIT.
 *
 * The bytes in all pieces; 0: end of stream. Errors: as recv(); EINVAL: n is not positive, or a flag is
 * not known; EOPNOTSUPP: not a stream, or it has a provider (onramp/provider.h).
 */
ssize_t onramp_recv_in_place(int fd, struct iovec *pieces, int n, int flags);

/*
 * The first `bytes` of what was shown are done with: they are read, and their memory is the
 * sender's again. What is not handed back stays to be read, in place or by recv(). The same
 * descriptor, not a copy of it, is to be used.
 *
 * 0. EINVAL: more than was shown.
 */
int onramp_hand_back(int fd, size_t bytes);

/* ---- sending ---------------------------------------------------------------------------------- */

/*
 * Room for bytes to send: *got of them, 1 to `want`, from the pointer on. *got is less than `want` where
 * the ring of an aperture ends, and it has at most 1 MiB elsewhere: commit, and reserve again for the rest.
 * A second call takes the first's room back, and so does sending in another way.
 *
 * NULL. Errors: as send(); EAGAIN: no room now (poll for POLLOUT); EINVAL: want is 0.
 */
void *onramp_send_reserve(int fd, size_t want, size_t *got);

/*
 * Sends the first `bytes` of the reservation, which ends; 0 gives it up. No SIGPIPE is raised.
 *
 * The bytes sent. Fewer, or -1 and EAGAIN, only where the library copies and the descriptor is
 * O_NONBLOCK: then the rest is still reserved, and follows on the bytes that were sent; commit it when the
 * socket is writable. Errors: as send(); EINVAL: more than was reserved, or the reservation is over.
 */
ssize_t onramp_send_commit(int fd, size_t bytes);

/* ---- what to expect ----------------------------------------------------------------------------- */

#define ONRAMP_RECV_IN_PLACE 0x1	/* pieces are where the network, or the peer, put the bytes */
#define ONRAMP_SEND_IN_PLACE 0x2	/* reservations are where the peer reads */

/* Of the calls above, those that do not copy on this socket now: 0 to 3. EBADF. */
int onramp_in_place(int fd);

/*
 * Makes memory ready to be sent from and received into: every page present and writable, in huge pages
 * where the system allows, so that no transfer meets a page fault. Nothing else depends on it: any
 * memory can be used with any call, and memory is not locked. A range that overlaps one already
 * registered is refused.
 *
 * 0. EINVAL: empty, overlapping, or (unregister) not a range that was registered; ENOMEM: not all of it is
 * mapped and writable; ENOSPC: 256 ranges are registered.
 */
int onramp_register(void *p, size_t bytes);
int onramp_unregister(void *p, size_t bytes);	/* before the memory is unmapped */

#ifdef __cplusplus
}
#endif

#endif
