/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Providers, loaded, and the layers that they have on sockets.
 *
 *	chain_fds.socks[fd]	0: not asked yet   1: no layers   else the number of a struct chained, plus 1
 *
 * Invariants
 *  N1  A descriptor is asked about at its first call: what it is by the kernel's word, who wants it by theirs. So
 *	those that came by exec, SCM_RIGHTS or socketpair() have their layers, too.
 *  N2  A number that was closed where nobody told us is found by ENOTSOCK or EBADF, and asked about again.
 *  N3  Copies of a descriptor share one struct chained. Each holds a reference, and so does each call that is
 *	under way; the last to go ends it.
 *  N4  A thread that is in a provider does not meet providers: it may have sockets of its own.
 *  N5  A provider that is refused is left out, with the reason in the text that `onramp why` shows; all
 *	others work.
 */
#include "chain/parts.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/limits.h"

#define NONE	 1u
#define N_CHAINED 65536		/* sockets with layers at once: 65,536 x 0.5 KiB, touched as they are used */
#define NAME_MAX_BYTES 4096

struct entry { uint8_t kind; const struct onramp_provider *p; };

struct chain_view chain_fds;
const struct chain_below *chain_below;
thread_fast uint32_t chain_depth;

static struct entry catalogue[CHAIN_ENTRIES];
static uint32_t n_entries;
static struct chained *pool;

/* ---- one socket's layers --------------------------------------------------------------------------------- */

static uint32_t index_of(int fd)
{
	/* acq: pairs with acq_rel in publish() */
	return (uint32_t)fd < chain_fds.n ? __atomic_load_n(&chain_fds.socks[fd], __ATOMIC_ACQUIRE) : 0;
}

static uint32_t number_of(const struct chained *c) { return (uint32_t)(c - pool) + NONE + 1; }

struct chained *chain_hold(int fd)
{
	uint32_t i = index_of(fd), refs;
	struct chained *c;

	if (i <= NONE)
		return NULL;
	c = &pool[i - NONE - 1];
	/* relaxed: acq below is of the exchange */
	refs = __atomic_load_n(&c->refs, __ATOMIC_RELAXED);
	while (refs)	/* 0: another thread has just closed it */
		/* acq: pairs with acq_rel in chain_drop() */
		if (__atomic_compare_exchange_n(&c->refs, &refs, refs + 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
			return c;
	return NULL;
}

void chain_drop(struct chained *c)
{
	uint32_t i;

	/* acq_rel: the last one has seen what all others did with the layers */
	if (__atomic_sub_fetch(&c->refs, 1, __ATOMIC_ACQ_REL))
		return;
	chain_depth++;
	for (i = 0; i < c->n; i++)
		if (c->layers[i].is_open && c->layers[i].ops->closed)
			c->layers[i].ops->closed(&c->layers[i].pub);
	chain_depth--;
	/* rel: pairs with acq in take_free() */
	__atomic_store_n(&c->used, 0, __ATOMIC_RELEASE);
}

static struct chained *take_free(void)
{
	static uint32_t hint;
	uint32_t i, zero;

	for (i = 0; i < N_CHAINED; i++) {
		/* relaxed: where to begin is a guess */
		struct chained *c = &pool[(__atomic_fetch_add(&hint, 1, __ATOMIC_RELAXED)) % N_CHAINED];

		zero = 0;
		/* acq: pairs with rel in chain_drop() */
		if (__atomic_compare_exchange_n(&c->used, &zero, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
			c->n = c->err = 0;
			/* rel: pairs with acq in chain_hold() */
			__atomic_store_n(&c->refs, 1, __ATOMIC_RELEASE);
			return c;
		}
	}
	return NULL;
}

static void add_layer(struct chained *c, const struct entry *e, int family, int type, int proto)
{
	struct layer *l = &c->layers[c->n];

	*l = (struct layer){ .pub = { .family = family, .type = type, .protocol = proto }, .ops = &e->p->ops };
	l->pub.place[0] = c;
	l->pub.place[1] = (const void *)(uintptr_t)c->n;
	c->n++;
}

/* The descriptor has these layers; another thread that was quicker has its own, and these go. */
static uint32_t publish(int fd, struct chained *c)
{
	uint32_t i, was = 0;

	chain_depth++;
	for (i = c->n; i-- > 0;) {
		c->layers[i].is_open = true;
		if (c->layers[i].ops->opened)
			c->layers[i].ops->opened(&c->layers[i].pub, fd);
	}
	chain_depth--;
	/* acq_rel: pairs with acq in index_of() */
	if (__atomic_compare_exchange_n(&chain_fds.socks[fd], &was, number_of(c), false, __ATOMIC_ACQ_REL,
					__ATOMIC_ACQUIRE))
		return number_of(c);
	chain_drop(c);
	return was;
}

static void set_none(int fd)
{
	if ((uint32_t)fd < chain_fds.n)
		/* rel: pairs with acq in index_of() */
		__atomic_store_n(&chain_fds.socks[fd], NONE, __ATOMIC_RELEASE);
}

static bool wants(const struct entry *e, int family, int type, int proto)
{
	bool yes;

	chain_depth++;
	yes = !e->p->match || e->p->match(family, type, proto);
	chain_depth--;
	return yes;
}

/* A socket that is there already gets the filters that want it. */
static uint32_t adopt(int fd)
{
	int family = 0, type = 0, proto = 0;
	socklen_t n = sizeof(int);
	struct chained *c;
	uint32_t i;

	if (sys_getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &family, &n) < 0 ||
	    sys_getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
	    sys_getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &proto, &n) < 0)
		return NONE;
	c = take_free();
	if (!c)
		return NONE;
	for (i = 0; i < n_entries && catalogue[i].kind == ONRAMP_FILTER; i++)
		if (wants(&catalogue[i], family, type, proto))
			add_layer(c, &catalogue[i], family, type, proto);
	if (c->n)
		return publish(fd, c);
	chain_drop(c);
	return NONE;
}

bool chain_is(int fd)
{
	uint32_t i;

	if (chain_depth)
		return false;
	i = index_of(fd);
	if (unlikely(!i)) {
		i = adopt(fd);
		if (i == NONE)
			set_none(fd);
	}
	return i > NONE;
}

void chain_forget(int fd)
{
	uint32_t i;

	if ((uint32_t)fd >= chain_fds.n)
		return;
	/* acq_rel: pairs with acq in index_of(); one thread gets the reference */
	i = __atomic_exchange_n(&chain_fds.socks[fd], 0, __ATOMIC_ACQ_REL);
	if (i > NONE)
		chain_drop(&pool[i - NONE - 1]);
}

void chain_forget_range(unsigned first, unsigned last)
{
	for (; first <= last && first < chain_fds.n; first++)
		if (index_of((int)first))
			chain_forget((int)first);
}

void chain_copied(int from, int to)
{
	struct chained *c = chain_hold(from);
	uint32_t was = 0;

	if (from == to || (uint32_t)to >= chain_fds.n) {
		if (c)
			chain_drop(c);
		return;
	}
	chain_forget(to);
	/* acq_rel: pairs with acq in index_of(); the reference goes with it */
	if (c && !__atomic_compare_exchange_n(&chain_fds.socks[to], &was, number_of(c), false, __ATOMIC_ACQ_REL,
					      __ATOMIC_ACQUIRE))
		chain_drop(c);
}

/* An accepted connection: the listener's providers. */
void chain_inherit(const struct chained *from, int fd)
{
	struct chained *c;
	uint32_t i;

	chain_forget(fd);
	c = (uint32_t)fd < chain_fds.n ? take_free() : NULL;
	if (!c)
		return;		/* asked about at its first call */
	for (i = 0; i < from->n; i++) {
		const struct layer *l = &from->layers[i];

		c->layers[i] = (struct layer){ .ops = l->ops, .pub = { .family = l->pub.family, .type = l->pub.type,
					       .protocol = l->pub.protocol } };
		c->layers[i].pub.place[0] = c;
		c->layers[i].pub.place[1] = (const void *)(uintptr_t)i;
		c->n++;
	}
	(void)publish(fd, c);
}

/* ---- socket(): along the catalogue ------------------------------------------------------------------------------ */

static bool is_refusal(int64_t r)
{
	return r == -EAFNOSUPPORT || r == -EPROTONOSUPPORT || r == -ESOCKTNOSUPPORT;
}

static bool is_onramps(int family, int type, int proto)
{
	int only = type == SOCK_STREAM ? IPPROTO_TCP : IPPROTO_UDP;

	return (family == AF_INET || family == AF_INET6) && (type == SOCK_STREAM || type == SOCK_DGRAM) &&
	       (proto == 0 || proto == only);
}

/* A base provider's socket, its own layer on top of the kernel's; or a refusal. */
static int64_t base_socket(struct chained *c, const struct entry *e, int family, int type, int proto)
{
	int64_t fd;

	add_layer(c, e, family, type & CHAIN_TYPE, proto);
	chain_depth++;
	fd = e->p->ops.socket(&c->layers[c->n - 1].pub, family, type, proto);
	chain_depth--;
	if (fd < 0)
		c->n--;
	return fd;
}

static int64_t make(struct chained *c, int family, int type, int proto)
{
	int base = type & CHAIN_TYPE;
	int64_t fd = -EAFNOSUPPORT;
	uint32_t i;

	for (i = 0; i < n_entries; i++) {
		const struct entry *e = &catalogue[i];

		if (e->kind == CHAIN_ONRAMP && is_onramps(family, base, proto))
			return chain_below->socket(family, type, proto);
		if (e->kind == CHAIN_KERNEL)
			return chain_below->kernel_socket(family, type, proto);
		if (!e->p || !wants(e, family, base, proto))
			continue;
		if (e->kind == ONRAMP_FILTER) {
			add_layer(c, e, family, base, proto);
			continue;
		}
		fd = base_socket(c, e, family, type, proto);
		if (!is_refusal(fd))
			return fd;
	}
	return chain_below->kernel_socket(family, type, proto);
}

int64_t chain_socket(int family, int type, int proto)
{
	struct chained *c;
	int64_t fd;

	if (chain_depth)
		return CHAIN_PASS;
	c = take_free();
	if (!c)
		return -ENOBUFS;
	fd = make(c, family, type, proto);
	if (fd >= 0)
		chain_forget((int)fd);
	if (fd >= 0 && c->n && fd < chain_fds.n) {
		(void)publish((int)fd, c);
		return fd;
	}
	if (fd >= 0)
		set_none((int)fd);
	chain_drop(c);
	return fd;
}

/* ---- the catalogue ----------------------------------------------------------------------------------------------- */

static void say(char text[CHAIN_TEXT], const char *a, const char *b, const char *c)
{
	const char *const parts[] = { a, b, c };
	size_t at = strlen(text), i, k;

	for (i = 0; i < n_elems(parts); i++)
		for (k = 0; parts[i] && parts[i][k] && at + 1 < CHAIN_TEXT; k++)
			text[at++] = parts[i][k];
	text[at] = 0;
}

/* What is wrong with it, or NULL. */
static const char *load(char *file, const char *options, const struct onramp_provider **ret)
{
	void *so = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const struct onramp_provider *p = so ? dlsym(so, "onramp_provider") : NULL;

	*ret = NULL;
	if (!so)
		return "cannot be loaded";
	if (!p)
		return "is no provider";
	if (p->abi != ONRAMP_PROVIDER_ABI)
		return "is built for another version of the provider ABI";
	if (p->kind != ONRAMP_FILTER && !(p->kind == ONRAMP_BASE && p->ops.socket))
		return "is neither filter nor base";
	if (p->start && p->start(&chain_next, options))
		return "did not start";
	*ret = p;
	return NULL;
}

/* What comes after the kernel is never reached. */
static bool has_kernel(void)
{
	uint32_t i;

	for (i = 0; i < n_entries; i++)
		if (catalogue[i].kind == CHAIN_KERNEL)
			return true;
	return false;
}

static void add_entry(char *line, bool *ret_onramp, char text[CHAIN_TEXT], char lost[CHAIN_TEXT])
{
	char *save = NULL, *name = strtok_r(line, " \t", &save), *file = strtok_r(NULL, " \t", &save);
	struct entry e = { 0 };
	const char *wrong;

	if (!name || n_entries == CHAIN_ENTRIES)
		return;
	if (!file) {
		e.kind = strcmp(name, "onramp") == 0 ? CHAIN_ONRAMP : CHAIN_KERNEL;
		*ret_onramp = *ret_onramp || (e.kind == CHAIN_ONRAMP && !has_kernel());
		wrong = e.kind == CHAIN_KERNEL && strcmp(name, "kernel") ? "has no file" : NULL;
	} else if (strcmp(file, "!") == 0) {
		wrong = save ? save : "";	/* `onramp run` has tried it */
	} else {
		wrong = load(file, save ? save : "", &e.p);
		e.kind = e.p ? (uint8_t)e.p->kind : 0;
	}
	if (wrong) {
		say(lost, "; ", name, " is left out: ");
		say(lost, wrong, NULL, NULL);
		return;
	}
	say(text, text[0] ? " > " : "", name, NULL);
	catalogue[n_entries++] = e;
}

void chain_begin(const char *names, const struct chain_below *below, bool *ret_onramp, char text[CHAIN_TEXT])
{
	static char copy[NAME_MAX_BYTES];
	char lost[CHAIN_TEXT] = { 0 };
	size_t bytes = N_FDS * sizeof(uint32_t), pool_bytes = N_CHAINED * sizeof(struct chained), i;
	bool any = false;
	char *at, *bar;
	uint8_t *p;

	text[0] = 0;
	*ret_onramp = false;
	if (strlen(names) >= sizeof(copy))
		return;
	memcpy(copy, names, strlen(names) + 1);
	chain_below = below;
	chain_depth++;
	for (at = copy; at; at = bar) {
		bar = strchr(at, '|');
		if (bar)
			*bar++ = 0;
		add_entry(at, ret_onramp, text, lost);
	}
	chain_depth--;
	say(text, lost, NULL, NULL);
	for (i = 0; i < n_entries; i++)
		any = any || catalogue[i].p;
	if (!any)
		return;
	p = sys_mmap(NULL, bytes + pool_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		     -1, 0);
	if (SYS_MAP_FAILED(p)) {
		say(text, "; no memory for providers", NULL, NULL);
		return;
	}
	pool = (struct chained *)(void *)(p + bytes);
	chain_fds = (struct chain_view){ (uint32_t *)(void *)p, N_FDS };
}
