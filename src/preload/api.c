/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The calls for programs that know of onramp (include/onramp/onramp.h), with libc's idea of errors.
 * Registered memory is nobody's business but the kernel's: what is kept of it here only serves to
 * refuse mistakes.
 */
#include "preload/preload.h"

#include <sys/mman.h>
#include <unistd.h>

#include "onramp/onramp.h"

/* Not in every libc's headers. */
#define POPULATE_WRITE	23	/* MADV_POPULATE_WRITE, Linux 5.14 */
#define HUGE_BYTES	(2ul << 20)

/* Whoever must see the bytes of a socket would not (include/onramp/provider.h). */
static bool is_filtered(int fd)
{
	if (!chain_has(fd))
		return false;
	errno = EOPNOTSUPP;
	return true;
}

exported ssize_t onramp_recv_in_place(int fd, struct iovec *pieces, int n, int flags)
{
	if (is_filtered(fd))
		return -1;
	return sk_result(sk_recv_in_place(fd, pieces, n, flags));
}

exported int onramp_hand_back(int fd, size_t bytes)
{
	if (is_filtered(fd))
		return -1;
	return (int)sk_result(sk_hand_back(fd, bytes));
}

exported void *onramp_send_reserve(int fd, size_t want, size_t *got)
{
	void *p = NULL;
	int64_t r = is_filtered(fd) ? -1 : sk_result(sk_send_reserve(fd, want, &p));

	*got = r > 0 ? (size_t)r : 0;
	return r > 0 ? p : NULL;
}

exported ssize_t onramp_send_commit(int fd, size_t bytes)
{
	if (is_filtered(fd))
		return -1;
	return sk_result(sk_send_commit(fd, bytes));
}

exported int onramp_in_place(int fd)
{
	if (chain_has(fd))
		return 0;
	return (int)sk_result(sk_in_place(fd));
}

/* ---- memory ------------------------------------------------------------------------------------ */

#define N_RANGES 256

static struct range { uintptr_t from, to; } ranges[N_RANGES];	/* to 0: free */
static int ranges_lock;

static void lock_ranges(void)
{
	/* acq: pairs with rel in unlock_ranges() */
	while (__atomic_exchange_n(&ranges_lock, 1, __ATOMIC_ACQUIRE))
		;
}

static void unlock_ranges(void)
{
	/* rel: pairs with acq in lock_ranges() */
	__atomic_store_n(&ranges_lock, 0, __ATOMIC_RELEASE);
}

/* A free entry, or the errno that says why there is none. */
static int find_room(struct range new, struct range **ret)
{
	size_t i;

	*ret = NULL;
	for (i = 0; i < N_RANGES; i++) {
		struct range *r = &ranges[i];

		if (r->to && r->from < new.to && new.from < r->to)
			return EINVAL;
		if (!r->to && !*ret)
			*ret = r;
	}
	return *ret ? 0 : ENOSPC;
}

/* Present and writable. A kernel that cannot do that at once lets the pages come as they are used. */
static int populate(struct range r)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), from = r.from & ~(page - 1);
	uintptr_t huge = (from + HUGE_BYTES - 1) & ~(HUGE_BYTES - 1), huge_end = r.to & ~(HUGE_BYTES - 1);
	size_t n = ((r.to + page - 1) & ~(page - 1)) - from;

	if (huge < huge_end)
		(void)!madvise((void *)huge, huge_end - huge, MADV_HUGEPAGE);
	if (madvise((void *)from, n, POPULATE_WRITE) == 0)
		return 0;
	/* EINVAL is also what it says of memory that cannot be written to. */
	return errno == EINVAL && madvise((void *)from, 0, POPULATE_WRITE) ? 0 : ENOMEM;
}

exported int onramp_register(void *p, size_t bytes)
{
	struct range new = { (uintptr_t)p, (uintptr_t)p + bytes }, *slot = NULL;
	int saved = errno, err;

	err = !bytes || new.to < new.from ? EINVAL : populate(new);
	if (!err) {
		lock_ranges();
		err = find_room(new, &slot);
		if (!err)
			*slot = new;
		unlock_ranges();
	}
	errno = err ? err : saved;
	return err ? -1 : 0;
}

exported int onramp_unregister(void *p, size_t bytes)
{
	size_t i;

	lock_ranges();
	for (i = 0; i < N_RANGES; i++)
		if (bytes && ranges[i].from == (uintptr_t)p && ranges[i].to == (uintptr_t)p + bytes)
			break;
	if (i < N_RANGES)
		ranges[i] = (struct range){ 0, 0 };
	unlock_ranges();
	if (i < N_RANGES)
		return 0;
	errno = EINVAL;
	return -1;
}
