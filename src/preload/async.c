/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * io_uring and asynchronous I/O. What a program submits there goes to the kernel by ways in front of which
 * nobody can stand. A program that makes an io_uring keeps its sockets in the kernel from then on, and those
 * it has return there (sk_uring()); what is named to aio_*() or io_submit() returns by itself.
 *
 * Rings are seen by liburing's functions, here, and by number (number.c). Not seen: a ring made by an
 * instruction of the program's own, as by a liburing that is linked into it (`onramp run --trap` sees those).
 *
 * liburing and libaio answer with -errno. They may have been loaded by dlopen(), for their caller only: then
 * it is the caller that finds them.
 */
#include "preload/preload.h"

#include <aio.h>
#include <dlfcn.h>
#include <stddef.h>

typedef int (*ring_fn)(unsigned, void *, uintptr_t);

static ring_fn theirs(const char *name, void *caller, ring_fn own)
{
	void *p = dlsym(RTLD_NEXT, name), *h;
	Dl_info who;

	if (!p && dladdr(caller, &who) && who.dli_fname) {
		h = dlopen(who.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
		p = h ? dlsym(h, name) : NULL;
		if (h)
			dlclose(h);
	}
	return p == (void *)own ? NULL : (ring_fn)p;
}

static int make_ring(const char *name, void *caller, ring_fn own, unsigned entries, void *a, uintptr_t b)
{
	ring_fn fn = theirs(name, caller, own);

	if (!fn)
		return -ENOSYS;
	sk_uring();
	return fn(entries, a, b);
}

int ring_init(unsigned entries, void *ring, uintptr_t flags) symbol_name("io_uring_queue_init");
exported int ring_init(unsigned entries, void *ring, uintptr_t flags)
{
	return make_ring("io_uring_queue_init", __builtin_return_address(0), ring_init, entries, ring, flags);
}

int ring_init_params(unsigned entries, void *ring, uintptr_t params) symbol_name("io_uring_queue_init_params");
exported int ring_init_params(unsigned entries, void *ring, uintptr_t params)
{
	return make_ring("io_uring_queue_init_params", __builtin_return_address(0), ring_init_params, entries, ring,
			 params);
}

int ring_setup(unsigned entries, void *params, uintptr_t none) symbol_name("io_uring_setup");
exported int ring_setup(unsigned entries, void *params, uintptr_t none)
{
	return make_ring("io_uring_setup", __builtin_return_address(0), ring_setup, entries, params, none);
}

/* ---- asynchronous I/O ------------------------------------------------------------------------------- */

int aio_submit(void *ctx, long n, struct iocb **cbs) symbol_name("io_submit");
exported int aio_submit(void *ctx, long n, struct iocb **cbs)
{
	typedef int (*submit_fn)(void *, long, struct iocb **);
	static void *libaio;	/* looked for once: submitting is what such programs do all the time */
	/* relaxed: two threads that look for the same name find the same */
	void *fn = __atomic_load_n(&libaio, __ATOMIC_RELAXED);

	if (unlikely(!fn)) {
		fn = (void *)theirs("io_submit", __builtin_return_address(0), (ring_fn)(void *)aio_submit);
		__atomic_store_n(&libaio, fn, __ATOMIC_RELAXED);	/* relaxed: as above */
	}
	if (!fn)
		return -ENOSYS;
	sk_submits(n, cbs);
	return ((submit_fn)fn)(ctx, n, cbs);
}

/* struct aiocb64 begins as struct aiocb does. */
static int aio_one(const char *name, void **at, struct aiocb *cb)
{
	if (cb && fd_is_any(cb->aio_fildes))
		sk_submitted(cb->aio_fildes);
	return ((int (*)(struct aiocb *))libc_own(at, name))(cb);
}

#define AIO_ONE(own, name) \
	int own(struct aiocb *cb) symbol_name(name); \
	exported int own(struct aiocb *cb) { static void *libc; return aio_one(name, &libc, cb); }
AIO_ONE(aio_own_read, "aio_read")
AIO_ONE(aio_own_write, "aio_write")
AIO_ONE(aio_own_read64, "aio_read64")
AIO_ONE(aio_own_write64, "aio_write64")

static int aio_list(const char *name, void **at, int mode, struct aiocb *const *list, int n, struct sigevent *sig)
{
	for (int i = 0; i < n && list; i++)
		if (list[i] && fd_is_any(list[i]->aio_fildes))
			sk_submitted(list[i]->aio_fildes);
	return ((int (*)(int, struct aiocb *const *, int, struct sigevent *))libc_own(at, name))(mode, list, n, sig);
}

#define AIO_LIST(own, name) \
	int own(int mode, struct aiocb *const *list, int n, struct sigevent *sig) symbol_name(name); \
	exported int own(int mode, struct aiocb *const *list, int n, struct sigevent *sig) \
	{ static void *libc; return aio_list(name, &libc, mode, list, n, sig); }
AIO_LIST(aio_own_list, "lio_listio")
AIO_LIST(aio_own_list64, "lio_listio64")
