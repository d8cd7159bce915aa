/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Socket options and ioctls, over the list that the library has (sock/opts.def), so that an option
 * that is new there is known here. Before a socket is opened they are kept in its struct tcp_opts.
 */
#include "test/packetdrill/adapter/adapter.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/ioctl.h>

#define BUF_MIN 4608
#define BUF_MAX (4 << 20)

static const struct opt {
	int level, name;
	uint16_t off, size;
	bool boolean;
	int zero;
} opts[] = {
#define KIND_BOOL true
#define KIND_INT false
#define OPT(level, name, kind, field, zero)                                           \
	{ level, name, offsetof(struct tcp_opts, field),                              \
	  sizeof(((struct tcp_opts *)0)->field), KIND_##kind, zero },
#include "sock/opts.def"
#undef OPT
};

static const struct opt *opt_find(int level, int name)
{
	for (size_t i = 0; i < n_elems(opts); i++)
		if (opts[i].level == level && opts[i].name == name)
			return &opts[i];
	return NULL;
}

static int64_t give(const void *from, socklen_t bytes, void *v, socklen_t *n)
{
	if (!v || !n)
		return -EFAULT;
	*n = *n < bytes ? *n : bytes;
	memcpy(v, from, *n);
	return 0;
}

static int64_t give_int(int x, void *v, socklen_t *n) { return give(&x, sizeof(x), v, n); }

/* ---- reading ------------------------------------------------------------------------------------ */

static int64_t get_socket_level(struct file *f, struct sk *sk, int name, void *v, socklen_t *n,
				const struct tcp_opts *o)
{
	uint32_t ms = name == SO_RCVTIMEO ? f->rcvtimeo_ms : f->sndtimeo_ms;
	struct timeval tv = { .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
	struct linger l = { o->linger_s >= 0, o->linger_s >= 0 ? o->linger_s : 0 };
	int err = sk ? sk->err : 0;
	uint32_t meminfo[9];

	switch (name) {
	case SO_ERROR:
		if (sk)
			sk->err = 0;
		return give_int(err, v, n);
	case SO_RCVBUF:
		return give_int((int)(sk ? sk->rcvbuf : o->rcvbuf), v, n);
	case SO_SNDBUF:
		return give_int((int)(sk ? sk->sndbuf : o->sndbuf), v, n);
	case SO_RCVLOWAT:
		return give_int((int)max_u32(sk ? sk->rcvlowat : f->rcvlowat, 1), v, n);
	case SO_RCVTIMEO:
	case SO_SNDTIMEO:
		return give(&tv, sizeof(tv), v, n);
	case SO_LINGER:
		return give(&l, sizeof(l), v, n);
	case SO_REUSEADDR:
		return give_int(o->reuseaddr, v, n);
	case SO_MEMINFO:	/* of the kernel's memory: none */
		return give(memset(meminfo, 0, sizeof(meminfo)), sizeof(meminfo), v, n);
	default:
		return -ENOPROTOOPT;
	}
}

static int64_t get_tcp_level(struct turn *t, struct sk *sk, int name, void *v, socklen_t *n,
			     const struct tcp_opts *o)
{
	char name_of_cc[16] = "";
	union { struct tcp_info ti; uint8_t room[320]; } u;	/* newer kernels tell more: it is 0 here */

	switch (name) {
	case TCP_INFO:
		memset(&u, 0, sizeof(u));
		if (sk && sk->kind == SK_TCP)
			tcp_get_info(t, sk, &u.ti, sizeof(u.ti));
		return give(&u, sizeof(u), v, n);
	case TCP_CC_INFO:	/* as of algorithms that have nothing to tell */
		*n = 0;
		return 0;
	case TCP_MAXSEG:
		return give_int(sk && sk->kind == SK_TCP ? (int)tcp_get_mss(t, sk) :
				o->maxseg ? (int)o->maxseg : 536, v, n);
	case TCP_CONGESTION:
		strncpy(name_of_cc, tcp_cc_name(o->cc), sizeof(name_of_cc) - 1);
		return give(name_of_cc, sizeof(name_of_cc), v, n);
	default:
		return -ENOPROTOOPT;
	}
}

static void opts_now(struct turn *t, struct file *f, struct sk *sk, struct tcp_opts *ret)
{
	*ret = f->opts;
	if (sk && sk->kind == SK_TCP)
		tcp_get_opts(t, sk, ret);
	else if (sk && sk->kind == SK_LISTEN)
		*ret = *tcp_listen_opts(sk);
}

int64_t opts_get(struct file *f, int level, int name, void *v, socklen_t *n)
{
	const struct opt *p = opt_find(level, name);
	struct tcp_opts o;
	struct turn t;
	struct sk *sk;
	int64_t r = -ENOPROTOOPT;

	world_enter(&t);
	sk = file_sk(&t, f);
	opts_now(&t, f, sk, &o);
	if (p) {
		const uint8_t *at = (const uint8_t *)&o + p->off;
		int x = *at;

		if (p->size != 1)
			memcpy(&x, at, sizeof(x));
		r = give_int(x ? x : p->zero, v, n);
	} else if (level == SOL_SOCKET) {
		r = get_socket_level(f, sk, name, v, n, &o);
	} else if (level == IPPROTO_TCP) {
		r = get_tcp_level(&t, sk, name, v, n, &o);
	}
	world_leave(&t);
	return r;
}

/* ---- writing -------------------------------------------------------------------------------------- */

static uint32_t buf_bytes(int v)
{
	uint64_t twice = 2 * (uint64_t)(v < 0 ? 0 : v);

	return twice < BUF_MIN ? BUF_MIN : twice > BUF_MAX ? BUF_MAX : (uint32_t)twice;
}

static uint32_t ms_of(const void *v)
{
	struct timeval tv;

	memcpy(&tv, v, sizeof(tv));
	return (uint32_t)((uint64_t)tv.tv_sec * 1000 + ((uint64_t)tv.tv_usec + 999) / 1000);
}

static int64_t set_socket_level(struct file *f, struct sk *sk, struct tcp_opts *o, int name, const void *v, int x)
{
	struct linger l;

	switch (name) {
	case SO_LINGER:
		memcpy(&l, v, sizeof(l));
		o->linger_s = l.l_onoff ? l.l_linger : -1;
		return 0;
	case SO_RCVBUF:
	case SO_RCVBUFFORCE:
		o->rcvbuf = buf_bytes(x);
		o->rcvbuf_locked = 1;
		return 0;
	case SO_SNDBUF:
	case SO_SNDBUFFORCE:
		o->sndbuf = buf_bytes(x);
		o->sndbuf_locked = 1;
		return 0;
	case SO_MAX_PACING_RATE:
		o->max_pacing = x == -1 ? UINT64_MAX : (uint32_t)x;
		return 0;
	case SO_REUSEADDR:
		o->reuseaddr = x != 0;
		return 0;
	case SO_RCVLOWAT:
		f->rcvlowat = x < 0 ? INT32_MAX : x == 0 ? 1 : (uint32_t)x;
		if (sk)
			sk->rcvlowat = f->rcvlowat;
		return 0;
	case SO_RCVTIMEO:
		f->rcvtimeo_ms = ms_of(v);
		return 0;
	case SO_SNDTIMEO:
		f->sndtimeo_ms = ms_of(v);
		return 0;
	default:
		return -ENOPROTOOPT;
	}
}

static int64_t set_tcp_level(struct tcp_opts *o, int name, const void *v, socklen_t n, int x)
{
	char text[17] = "";
	int algo;

	if (name == TCP_MAXSEG) {
		o->maxseg = (uint32_t)x;
		return 0;
	}
	if (name != TCP_CONGESTION)
		return -ENOPROTOOPT;
	memcpy(text, v, n < sizeof(text) - 1 ? n : sizeof(text) - 1);
	algo = tcp_cc_by_name(text);
	if (algo >= 0)
		o->cc = (uint8_t)algo;
	return algo < 0 ? algo : 0;
}

static void opt_put(struct tcp_opts *o, const struct opt *p, int x)
{
	uint8_t *at = (uint8_t *)o + p->off;

	if (p->boolean)
		x = x != 0;
	if (p->size == 1)
		*at = (uint8_t)x;
	else
		memcpy(at, &x, sizeof(x));
}

static int64_t set_key(struct file *f, const void *v, socklen_t n)
{
	struct turn t;
	struct sk *sk;

	if (n != 16 && n != 32)
		return -EINVAL;
	memcpy(f->key, v, n);
	f->n_keys = n / 16;
	world_enter(&t);
	sk = file_sk(&t, f);
	if (sk && f->kind == FILE_LISTEN)
		fastopen_key(&t, f, sk);
	world_leave(&t);
	return 0;
}

int64_t opts_set(struct file *f, int level, int name, const void *v, socklen_t n)
{
	const struct opt *p = opt_find(level, name);
	struct tcp_opts o;
	struct turn t;
	struct sk *sk;
	int64_t r = -ENOPROTOOPT;
	int x = 0;

	if (!v)
		return -EFAULT;
	memcpy(&x, v, n < sizeof(x) ? n : sizeof(x));
	if (level == IPPROTO_TCP && name == TCP_FASTOPEN_KEY)
		return set_key(f, v, n);
	if (level == IPPROTO_TCP && name == TCP_FASTOPEN_CONNECT && (f->kind != FILE_NEW || !fastopen_is_on()))
		return f->kind != FILE_NEW ? -EINVAL : -EOPNOTSUPP;
	world_enter(&t);
	sk = file_sk(&t, f);
	opts_now(&t, f, sk, &o);
	if (p && n >= sizeof(x)) {
		opt_put(&o, p, x);
		r = 0;
	} else if (p) {
		r = -EINVAL;
	} else if (level == IPPROTO_IP && name == IP_MTU_DISCOVER) {
		r = 0;		/* the kernel's, which has one for all */
	} else if (level == SOL_SOCKET) {
		r = set_socket_level(f, sk, &o, name, v, x);
	} else if (level == IPPROTO_TCP) {
		r = set_tcp_level(&o, name, v, n, x);
	}
	if (r == 0 && sk)
		tcp_set_opts(&t, sk, &o);
	else if (r == 0)
		f->opts = o;
	world_leave(&t);
	return r;
}

/* ---- ioctl ------------------------------------------------------------------------------------------ */

int64_t opts_ioctl(struct file *f, unsigned long cmd, int *arg)
{
	struct turn t;
	struct sk *sk;
	int64_t r = 0;

	world_enter(&t);
	sk = file_sk(&t, f);
	if (cmd == FIONBIO)
		f->nonblock = *arg != 0;
	else if (!sk || sk->kind != SK_TCP)
		r = -EINVAL;
	else if (cmd == SIOCINQ)
		*arg = (int)tcp_unread(&t, sk);
	else if (cmd == SIOCOUTQ)
		*arg = (int)tcp_unacked(&t, sk);
	else if (cmd == SIOCOUTQNSD)
		*arg = (int)tcp_unsent(&t, sk);
	else if (cmd == SIOCATMARK)
		*arg = tcp_at_mark(&t, sk);
	else
		r = -ENOTTY;
	world_leave(&t);
	return r;
}
