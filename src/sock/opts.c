/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Socket options. Three owners:
 *
 *   ours	opts.def: kept in the protocol's own block, effective at once
 *   both	the kernel's socket below is told as well, so that what it alone knows (and what
 *		a listener would do with connections of its own) stays right; its answer counts
 *		for options that we do not know at all
 *   kernel's	options that would change what the kernel does with packets and that we cannot
 *		copy (SO_MARK, SO_BINDTODEVICE, TCP_MD5SIG, ...): set before the socket is decided,
 *		they decide it for the kernel, reason OPTION; on a socket of ours they are
 *		options that this TCP does not have, and a datagram socket returns to it (dgram_opts.c)
 *
 * Until connect() or listen() all options are the kernel socket's. Those that were set are
 * read back then; a socket on which setsockopt() was never called costs no system call.
 */
#include "sock/dgram.h"
#include "sock/stream.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>

struct opt {
	int level, name;
	uint16_t off, size;
	bool boolean;
	int zero;
};

#define KIND_BOOL true
#define KIND_INT  false
static const struct opt opts[] = {
#define OPT(level, name, kind, field, zero)                                           \
	{ level, name, offsetof(struct tcp_opts, field),                              \
	  sizeof(((struct tcp_opts *)0)->field), KIND_##kind, zero },
#include "sock/opts.def"
#undef OPT
};

static const struct opt *opt_find(int level, int name)
{
	size_t i;

	for (i = 0; i < n_elems(opts); i++)
		if (opts[i].level == level && opts[i].name == name)
			return &opts[i];
	return NULL;
}

static void opt_put(struct tcp_opts *o, const struct opt *p, int v)
{
	uint8_t *at = (uint8_t *)o + p->off;
	uint8_t byte = p->boolean ? v != 0 : (uint8_t)v;

	if (p->size == 1)
		*at = byte;
	else
		memcpy(at, &v, sizeof(v));
}

static int opt_take(const struct tcp_opts *o, const struct opt *p)
{
	const uint8_t *at = (const uint8_t *)o + p->off;
	int v = *at;

	if (p->size != 1)
		memcpy(&v, at, sizeof(v));
	return v ? v : p->zero;
}

/* ---- bounds --------------------------------------------------------------------------------------- */

/* What the kernel refuses with EINVAL; on listeners it does so itself. */
static const struct bound { int level, name, min, max; } bounds[] = {
	{ IPPROTO_TCP, TCP_KEEPIDLE, 1, 32767 }, { IPPROTO_TCP, TCP_KEEPINTVL, 1, 32767 },
	{ IPPROTO_TCP, TCP_KEEPCNT, 1, 127 }, { IPPROTO_TCP, TCP_SYNCNT, 1, 127 },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, 0, INT32_MAX }, { IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 0, 1 },
	/* Only to be had before the connection is. */
	{ IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1, 0 }, { IPPROTO_TCP, TCP_FASTOPEN_NO_COOKIE, 1, 0 },
};

#define MSS_UNSET	536	/* RFC 9293 3.7.1 */
#define LINGER2_MAX	120	/* the kernel's TCP_FIN_TIMEOUT_MAX */
#define CLAMP_MIN	1152	/* half of SOCK_MIN_RCVBUF */

/* TCP_DEFER_ACCEPT counts SYN-ACKs: seconds become the instant of the next one, each a second, then
 * twice as long, up to two minutes, after the one before. */
static int until_synack(int s)
{
	int at = 0, wait = 1;

	while (at < s) {
		at += wait;
		wait = wait * 2 > 120 ? 120 : wait * 2;
	}
	return at;
}

static int as_kept(int level, int name, int v)
{
	if (level != IPPROTO_TCP)
		return v;
	switch (name) {
	case TCP_LINGER2:
		return v < 0 ? -1 : v > LINGER2_MAX ? LINGER2_MAX : v;
	case TCP_DEFER_ACCEPT:
		return until_synack(v > 255 * 120 ? 255 * 120 : v);
	case TCP_WINDOW_CLAMP:
		return v < CLAMP_MIN ? CLAMP_MIN : v;
	default:
		return v;
	}
}

/* ---- those that only the kernel has -------------------------------------------------------------- */

static enum reason reason_of_option(int level, int name)
{
	static const struct { int name; enum reason why; } theirs[] = {
		{ TCP_MD5SIG, REASON_OPTION }, { TCP_MD5SIG_EXT, REASON_OPTION }, { TCP_ULP, REASON_OPTION },
		{ TCP_REPAIR, REASON_OPTION }, { TCP_SAVE_SYN, REASON_OPTION }, { TCP_INQ, REASON_OPTION },
		{ TCP_TX_DELAY, REASON_OPTION }, { 38 /* TCP_AO_ADD_KEY */, REASON_OPTION },
	};

	for (size_t i = 0; level == IPPROTO_TCP && i < n_elems(theirs); i++)
		if (theirs[i].name == name)
			return theirs[i].why;
	return REASON_NONE;
}

/* Set to 0 they are off, which they are with us too. */
static bool is_switched_on(int name, const void *v, socklen_t n)
{
	int x = 1;

	if ((name == TCP_SAVE_SYN || name == TCP_INQ || name == TCP_TX_DELAY) && !is_wild(v) && n >= sizeof(x))
		memcpy(&x, v, sizeof(x));
	return x != 0;
}

/* ---- reading back from the kernel's socket ------------------------------------------------------ */

static bool kernel_int(int fd, int level, int name, int *ret)
{
	socklen_t n = sizeof(*ret);

	*ret = 0;
	return sys_getsockopt(fd, level, name, ret, &n) == 0;
}

static uint32_t timeval_ms(const struct timeval *tv)
{
	uint64_t ms;

	if (tv->tv_sec < 0 || (tv->tv_sec == 0 && tv->tv_usec <= 0))
		return 0;
	ms = (uint64_t)tv->tv_sec * 1000 + ((uint64_t)tv->tv_usec + 999) / 1000;
	return ms > UINT32_MAX / 2 ? 0 : (uint32_t)ms;
}

static struct timeval ms_timeval(uint32_t ms)
{
	return (struct timeval){ .tv_sec = ms / 1000, .tv_usec = (suseconds_t)(ms % 1000) * 1000 };
}

static uint32_t kernel_ms(int fd, int name)
{
	struct timeval tv = { 0 };
	socklen_t n = sizeof(tv);

	return sys_getsockopt(fd, SOL_SOCKET, name, &tv, &n) ? 0 : timeval_ms(&tv);
}

static void read_special(int fd, struct ent e, struct tcp_opts *o)
{
	struct linger l;
	socklen_t n = sizeof(l);
	int v;

	if (sys_getsockopt(fd, SOL_SOCKET, SO_LINGER, &l, &n) == 0)
		o->linger_s = l.l_onoff ? l.l_linger : -1;
	if (kernel_int(fd, SOL_SOCKET, SO_REUSEADDR, &v))
		o->reuseaddr = v != 0;
	if (kernel_int(fd, SOL_SOCKET, SO_REUSEPORT, &v))
		o->reuseport = v != 0;
	if (e.flags & FDF_RCVBUF && kernel_int(fd, SOL_SOCKET, SO_RCVBUF, &v)) {
		o->rcvbuf = (uint32_t)v;
		o->rcvbuf_locked = 1;
	}
	if (e.flags & FDF_SNDBUF && kernel_int(fd, SOL_SOCKET, SO_SNDBUF, &v)) {
		o->sndbuf = (uint32_t)v;
		o->sndbuf_locked = 1;
	}
}

static void read_congestion(int fd, struct tcp_opts *o)
{
	char name[16] = "";
	socklen_t n = sizeof(name);

	int algo;

	if (sys_getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n) != 0)
		return;
	name[sizeof(name) - 1] = 0;
	algo = tcp_cc_by_name(name);
	/* The profile's choice stands for whoever has not asked for another than the kernel's own. */
	if (algo >= 0 && !(self.cc_chosen && algo == TCP_CC_CUBIC))
		o->cc = (uint8_t)algo;
}

static void read_pacing(int fd, struct tcp_opts *o)
{
	uint64_t rate = 0;
	socklen_t n = sizeof(rate);

	if (sys_getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, &n) == 0 && n == sizeof(rate) && rate)
		o->max_pacing = rate;
}

/* The kernel knows names that we do not, and we know some that it may not have loaded. */
static int cong_of(const void *v, socklen_t n)
{
	char name[16] = "";

	memcpy(name, v, n < sizeof(name) - 1 ? n : sizeof(name) - 1);
	return tcp_cc_by_name(name);
}

void opts_read_back(int fd, struct ent e, struct tcp_opts *o, uint32_t *rcvtimeo, uint32_t *sndtimeo)
{
	size_t i;
	int v;

	tcp_opts_default(o);
	o->cc = self.cc;
	o->ecn = self.ecn;
	*rcvtimeo = *sndtimeo = 0;
	o->family6 = (e.flags & FDF_V6) != 0;
	if (!(e.flags & FDF_OPTS))
		return;
	for (i = 0; i < n_elems(opts); i++) {
		const struct opt *p = &opts[i];

		/* The kernel reports what is in force, defaults included: those are left alone,
		 * and so is TCP_QUICKACK, which it reports as a state, not as a wish. */
		if (p->level == IPPROTO_IPV6 && !(e.flags & FDF_V6))
			continue;
		if ((p->level == IPPROTO_TCP && e.flags & FDF_DGRAM) || p->name == TCP_QUICKACK)
			continue;
		if (kernel_int(fd, p->level, p->name, &v) && v != p->zero && (v > 0 || p->name == TCP_LINGER2))
			opt_put(o, p, v);
	}
	/* What it reports for none is the MSS that a peer without the option would get. */
	if (!(e.flags & FDF_DGRAM) && kernel_int(fd, IPPROTO_TCP, TCP_MAXSEG, &v) && v > 0 && v != MSS_UNSET)
		o->maxseg = (uint32_t)v;
	if (!(e.flags & FDF_DGRAM)) {
		read_congestion(fd, o);
		read_pacing(fd, o);
	}
	read_special(fd, e, o);
	*rcvtimeo = kernel_ms(fd, SO_RCVTIMEO);
	*sndtimeo = kernel_ms(fd, SO_SNDTIMEO);
}

void opts_tell(int fd, const struct tcp_opts *o, uint32_t rcvtimeo, uint32_t sndtimeo)
{
	struct timeval rcv = ms_timeval(rcvtimeo), snd = ms_timeval(sndtimeo);
	struct linger l = { .l_onoff = 1, .l_linger = o->linger_s };
	struct tcp_opts plain;
	size_t i;

	tcp_opts_default(&plain);
	for (i = 0; i < n_elems(opts); i++) {
		int v = opt_take(o, &opts[i]);

		if (v != opt_take(&plain, &opts[i]))
			(void)sys_setsockopt(fd, opts[i].level, opts[i].name, &v, sizeof(v));
	}
	if (o->linger_s >= 0)
		(void)sys_setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	if (rcvtimeo)
		(void)sys_setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &rcv, sizeof(rcv));
	if (sndtimeo)
		(void)sys_setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &snd, sizeof(snd));
}

bool opts_want_kernel(int fd, struct ent e)
{
	static const struct { int level, name; } theirs[] = {
		{ SOL_SOCKET, SO_MARK }, { IPPROTO_IP, IP_TRANSPARENT }, { IPPROTO_IP, IP_FREEBIND },
	};
	char dev[16] = "";
	socklen_t n = sizeof(dev);
	size_t i;
	int v;

	if (!(e.flags & FDF_OPTS))
		return false;
	if (sys_getsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, dev, &n) == 0 && n > 0 && dev[0])
		return true;
	for (i = 0; i < n_elems(theirs); i++)
		if (kernel_int(fd, theirs[i].level, theirs[i].name, &v) && v)
			return true;
	return false;
}

/* ---- getsockopt ------------------------------------------------------------------------------------- */

static int64_t give(const void *from, socklen_t bytes, void *v, socklen_t *n)
{
	if (is_wild(n) || (is_wild(v) && *n))
		return -EFAULT;
	if ((int)*n < 0)
		return -EINVAL;
	if (*n > bytes)
		*n = bytes;
	memcpy(v, from, *n);
	return 0;
}

static int64_t give_int(int x, void *v, socklen_t *n)
{
	return give(&x, sizeof(x), v, n);
}

static int64_t get_socket_level(struct turn *t, struct ent e, struct sk *sk, int name, void *v, socklen_t *n,
				const struct tcp_opts *o)
{
	struct timeval tv;
	struct linger l;
	int err;

	switch (name) {
	case SO_ERROR:
		if (e.kind == FD_UDP) {
			err = -udp_take_error(t, sk);
			return err ? give_int(err, v, n) : SK_PASS;	/* the kernel's side may have one */
		}
		err = sk->err;
		sk->err = 0;
		return give_int(err, v, n);
	case SO_RCVBUF:
		return give_int((int)sk->rcvbuf, v, n);
	case SO_SNDBUF:
		return give_int((int)sk->sndbuf, v, n);
	case SO_RCVLOWAT:
		return give_int((int)max_u32(sk->rcvlowat, 1), v, n);
	case SO_RCVTIMEO:
	case SO_SNDTIMEO:
		tv = ms_timeval(name == SO_RCVTIMEO ? sk->rcvtimeo_ms : sk->sndtimeo_ms);
		return give(&tv, sizeof(tv), v, n);
	case SO_LINGER:
		if (e.kind == FD_UDP)
			return SK_PASS;
		l.l_onoff = o->linger_s >= 0;
		l.l_linger = o->linger_s >= 0 ? o->linger_s : 0;
		return give(&l, sizeof(l), v, n);
	case SO_MAX_PACING_RATE:
		if (e.kind == FD_UDP)
			return SK_PASS;
		if (n && *n >= sizeof(o->max_pacing))
			return give(&o->max_pacing, sizeof(o->max_pacing), v, n);
		return give_int((int)(uint32_t)min_u64(o->max_pacing, UINT32_MAX), v, n);
	default:
		return SK_PASS;
	}
}

static int64_t get_tcp_level(struct turn *t, struct sk *sk, int name, void *v, socklen_t *n,
			     const struct tcp_opts *o)
{
	char cong[16] = "";
	const char *text;
	struct tcp_info ti;

	switch (name) {
	case TCP_INFO:
		memset(&ti, 0, sizeof(ti));
		stream_get_info(t, sk, &ti, sizeof(ti));
		return give(&ti, sizeof(ti), v, n);
	case TCP_MAXSEG:
		return sk->kind == SK_TCP ? give_int((int)tcp_get_mss(t, sk), v, n) :
		       is_ap(sk) ? give_int(o->maxseg ? (int)min_u32(o->maxseg, AP_MSS) : AP_MSS, v, n) : SK_PASS;
	case TCP_WINDOW_CLAMP:	/* without one: what autotuning may reach */
		return give_int(o->window_clamp ? (int)o->window_clamp : (int)max_u32(sk->rcvbuf / 2, 65535), v, n);
	case TCP_CONGESTION:
		text = sk->kind == SK_TCP ? tcp_get_cc(sk) : tcp_cc_name(o->cc);
		memcpy(cong, text, strlen(text));
		return give(cong, sizeof(cong), v, n);
	default:
		return SK_PASS;
	}
}

static int64_t get_in_turn(struct turn *t, struct ent e, struct sk *sk, int level, int name,
			   void *v, socklen_t *n)
{
	const struct opt *p = opt_find(level, name);
	struct tcp_opts o;
	int64_t r = SK_PASS;

	tcp_opts_default(&o);
	if (e.kind != FD_UDP)
		stream_get_opts(t, sk, &o);
	/* A router's word about the path came to us. */
	if (e.kind == FD_UDP && sk->flags & SK_F_CONNECTED && sk->path.flags & PATH_PMTU &&
	    ((level == IPPROTO_IP && name == IP_MTU) || (level == IPPROTO_IPV6 && name == IPV6_MTU)))
		return give_int(sk->path.mtu, v, n);
	if (level == SOL_SOCKET)
		r = get_socket_level(t, e, sk, name, v, n, &o);
	else if (level == IPPROTO_TCP && e.kind == FD_TCP)
		r = get_tcp_level(t, sk, name, v, n, &o);
	if (level == IPPROTO_IPV6 && !(sk->flags & SK_F_FAMILY6))
		p = NULL;		/* refused by the kernel */
	if (level == IPPROTO_TCP && name == TCP_FASTOPEN)
		p = NULL;		/* a listener's: of others the kernel's below has it */
	if (r == SK_PASS && p && e.kind == FD_TCP)
		r = give_int(opt_take(&o, p), v, n);
	return r;
}

int64_t sk_getsockopt(int fd, int level, int name, void *v, socklen_t *n)
{
	struct ent e = fd_get(fd);
	int64_t r = -EBADF;
	struct turn t;
	struct sk *sk;

	if (level == IPPROTO_TCP && name == TCP_INFO && !n)
		return -EFAULT;
	if (sk_due())
		sk_round();
	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk)
		r = get_in_turn(&t, e, sk, level, name, v, n);
	sk_leave(&t, false);
	return r;
}

/* ---- setsockopt ----------------------------------------------------------------------------------------- */

static bool set_timeout(struct sk *sk, int level, int name, const void *v, socklen_t n)
{
	struct timeval tv;

	if (level != SOL_SOCKET || (name != SO_RCVTIMEO && name != SO_SNDTIMEO) || n < sizeof(tv))
		return false;
	memcpy(&tv, v, sizeof(tv));
	if (name == SO_RCVTIMEO)
		sk->rcvtimeo_ms = timeval_ms(&tv);
	else
		sk->sndtimeo_ms = timeval_ms(&tv);
	return true;
}

#define BUF_MIN	4608		/* the kernel's floor, doubled as it reports */
#define BUF_MAX	(4 << 20)	/* half of what packet frames can hold */

static uint32_t buf_bytes(int v)
{
	uint64_t twice = 2 * (uint64_t)(v < 0 ? 0 : v);

	return twice < BUF_MIN ? BUF_MIN : twice > BUF_MAX ? BUF_MAX : (uint32_t)twice;
}

static bool set_special(struct tcp_opts *o, struct sk *sk, int level, int name, const void *v,
			socklen_t n)
{
	struct linger l;
	int x = 0;

	memcpy(&x, v, n < sizeof(x) ? n : sizeof(x));
	if (level == SOL_SOCKET && name == SO_LINGER && n >= sizeof(l)) {
		memcpy(&l, v, sizeof(l));
		o->linger_s = l.l_onoff ? l.l_linger : -1;
	} else if (level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_RCVBUFFORCE)) {
		o->rcvbuf = buf_bytes(x);
		o->rcvbuf_locked = 1;
	} else if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_SNDBUFFORCE)) {
		o->sndbuf = buf_bytes(x);
		o->sndbuf_locked = 1;
	} else if (level == SOL_SOCKET && name == SO_RCVLOWAT) {
		sk->rcvlowat = x < 0 ? INT32_MAX : x == 0 ? 1 : (uint32_t)x;
		if (o->rcvbuf_locked)	/* tcp_set_rcvlowat() */
			sk->rcvlowat = max_u32(min_u32(sk->rcvlowat, o->rcvbuf >> 1), 1);
	} else if (level == IPPROTO_TCP && name == TCP_MAXSEG) {
		o->maxseg = (uint32_t)x;
	} else if (level == IPPROTO_TCP && name == TCP_CONGESTION) {
		o->cc = (uint8_t)cong_of(v, n);
	} else if (level == SOL_SOCKET && name == SO_MAX_PACING_RATE) {
		o->max_pacing = x == -1 ? UINT64_MAX : (uint32_t)x;
		if (n >= sizeof(o->max_pacing))
			memcpy(&o->max_pacing, v, sizeof(o->max_pacing));
	} else {
		return false;
	}
	return true;
}

/* False: from now on it is the kernel's. */
static bool set_in_turn(struct turn *t, struct ent e, struct sk *sk, int level, int name,
			const void *v, socklen_t n)
{
	const struct opt *p = opt_find(level, name);
	struct udp_opts uo;
	struct tcp_opts o;
	int x;

	if (set_timeout(sk, level, name, v, n))
		return true;
	if (e.kind == FD_UDP) {
		tcp_opts_default(&o);
		o.rcvbuf = o.sndbuf = 0;
		if (set_special(&o, sk, level, name, v, n)) {
			sk->rcvbuf = o.rcvbuf ? o.rcvbuf : sk->rcvbuf;
			sk->sndbuf = o.sndbuf ? o.sndbuf : sk->sndbuf;
		}
		udp_get_opts(t, sk, &uo);
		if (!dgram_opt_noted(&uo, level, name, v, n))
			return false;
		udp_set_opts(t, sk, &uo);
		return true;
	}
	stream_get_opts(t, sk, &o);
	if (p && n >= sizeof(x)) {
		memcpy(&x, v, sizeof(x));
		opt_put(&o, p, as_kept(level, name, x));
	} else if (!set_special(&o, sk, level, name, v, n)) {
		return true;
	}
	stream_set_opts(t, sk, &o);
	if (level == SOL_SOCKET && name == SO_RCVLOWAT && is_ap(sk))
		ap_want(t, sk);		/* what lies there may be enough now */
	return true;
}

/* What is to be judged here: -errno, as the kernel would say. */
static int judge(struct ent e, int level, int name, const void *v, socklen_t n)
{
	int x = 0;

	if (e.kind == FD_UDP || is_wild(v) || n < sizeof(x))
		return 0;
	memcpy(&x, v, sizeof(x));
	if (level == IPPROTO_TCP && name == TCP_MD5SIG && n < sizeof(struct tcp_md5sig))
		return -EINVAL;
	if (level == IPPROTO_TCP && name == TCP_SAVE_SYN && (x < 0 || x > 2))
		return -EINVAL;
	if (reason_of_option(level, name) == REASON_OPTION && name != TCP_ULP && is_switched_on(name, v, n))
		return name == TCP_REPAIR ? -EPERM : -ENOPROTOOPT;
	if (level == SOL_SOCKET && name == SO_ZEROCOPY)
		return x < 0 || x > 1 ? -EINVAL : 0;
	if (level == IPPROTO_TCP && name == TCP_WINDOW_CLAMP && x == 0 && e.kind == FD_TCP)
		return -EINVAL;
	for (size_t i = 0; i < n_elems(bounds) && e.kind == FD_TCP; i++)
		if (bounds[i].level == level && bounds[i].name == name && (x < bounds[i].min || x > bounds[i].max))
			return -EINVAL;
	return 0;
}

/* Noted before the socket is decided: what was set is read back, and which buffer sizes are
 * the program's own cannot be told from their values. */
static int64_t set_undecided(int fd, struct ent e, int level, int name, const void *v, socklen_t n)
{
	enum reason why = reason_of_option(level, name);
	struct udp_opts o = { .wants = 0 };
	uint8_t set = FDF_OPTS;
	int r;

	if (why != REASON_NONE && !(e.flags & FDF_DGRAM) && is_switched_on(name, v, n)) {
		r = sys_setsockopt(fd, level, name, v, n);
		if (r >= 0)	/* what the kernel refuses decides nothing */
			fd_kernel(fd, e, why);
		return r;
	}
	/* One that only the kernel has is its socket's. */
	if (level == IPPROTO_TCP && name == TCP_CONGESTION && !(e.flags & FDF_DGRAM)) {
		r = sys_setsockopt(fd, level, name, v, n);
		if (r == 0 && cong_of(v, n) < 0)
			fd_kernel(fd, e, REASON_OPTION);
		else
			fd_flags(fd, FDF_OPTS, 0);
		return r;
	}
	/* Not all of what only the kernel can do could be read back later. */
	if (e.flags & FDF_DGRAM && v && !dgram_opt_noted(&o, level, name, v, n)) {
		r = sys_setsockopt(fd, level, name, v, n);
		if (r == 0)
			fd_kernel(fd, e, REASON_OPTION);
		return r;
	}
	if (level == SOL_SOCKET && (name == SO_RCVBUF || name == SO_RCVBUFFORCE))
		set |= FDF_RCVBUF;
	if (level == SOL_SOCKET && (name == SO_SNDBUF || name == SO_SNDBUFFORCE))
		set |= FDF_SNDBUF;
	fd_flags(fd, set, 0);
	return SK_PASS;
}

/* What TCP_CONGESTION answers for an accelerated connection, the kernel having answered r. */
static int cong_judged(int level, int name, const void *v, socklen_t n, int r)
{
	if (level != IPPROTO_TCP || name != TCP_CONGESTION || (r != 0 && r != -ENOENT))
		return r;
	return cong_of(v, n) >= 0 ? 0 : -ENOENT;
}

/* The kernel judges what is to be set, and says what becomes of it (a default, a limit), on a socket
 * that is for nothing else: the one below an accepted connection is shared with others. */
static int spare_judge(const struct sk *sk, int level, int name, const void *v, socklen_t n, int *ret)
{
	int fd = sys_socket(sk && sk->flags & SK_F_FAMILY6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return fd;
	r = sys_setsockopt(fd, level, name, v, n);
	if (r == 0 && !kernel_int(fd, level, name, ret))
		r = -ENOPROTOOPT;
	sys_close(fd);
	return r;
}

static int bad_timeout(const void *v, socklen_t n)
{
	struct timeval tv;

	if (n < sizeof(tv) || is_wild(v))
		return n < sizeof(tv) ? -EINVAL : -EFAULT;
	memcpy(&tv, v, sizeof(tv));
	return tv.tv_usec < 0 || tv.tv_usec >= 1000000 ? -EDOM : 0;
}

static bool is_v6(struct ent e) { return sk_peek(e.h) && sk_peek(e.h)->flags & SK_F_FAMILY6; }
static bool is_open(const struct sk *sk) { return sk && sk->state != TCP_S_CLOSED; }

/* Of a connection: 0 and, where it is a number, the one that counts in *ret, with *v and *n pointing
 * there; or what the kernel says. What is on or off needs no judge. */
static int judge_stream(int fd, struct ent e, int level, int name, const void **v, socklen_t *n, int *ret)
{
	const struct opt *p = opt_find(level, name);
	bool theirs = level == IPPROTO_TCP && name == TCP_FASTOPEN;
	bool number = (p && !p->boolean && !theirs) || (level == SOL_SOCKET && name == SO_RCVLOWAT);
	int r;

	if (level == SOL_SOCKET && (name == SO_RCVTIMEO || name == SO_SNDTIMEO))
		return bad_timeout(*v, *n);
	if (((level == IPPROTO_TCP && name == TCP_FASTOPEN) ||
	     (level == IPPROTO_IPV6 && name == IPV6_V6ONLY && is_v6(e))) &&
	    *n >= sizeof(int) && !is_wild(*v) && is_open(sk_peek(e.h)))
		return -EINVAL;		/* only before it is bound */
	if (number && !self.quiet) {
		r = spare_judge(sk_peek(e.h), level, name, *v, *n, ret);
		*v = ret;
		*n = sizeof(*ret);
		return r;
	}
	if ((!p || theirs) && !(level == SOL_SOCKET && (name == SO_LINGER || name == SO_MAX_PACING_RATE)))
		return cong_judged(level, name, *v, *n, sys_setsockopt(fd, level, name, *v, *n));
	return *n < sizeof(int) ? -EINVAL : is_wild(*v) ? -EFAULT : 0;
}

/* Of a socket that the kernel's below is the same as. */
static int judge_both(int fd, int level, int name, const void **v, socklen_t *n, int *ret)
{
	bool bounded = level == SOL_SOCKET ? name == SO_RCVLOWAT : level == IPPROTO_TCP && name == TCP_FASTOPEN;
	int r = cong_judged(level, name, *v, *n, sys_setsockopt(fd, level, name, *v, *n));

	if (r == 0 && bounded && kernel_int(fd, level, name, ret)) {
		*v = ret;
		*n = sizeof(*ret);
	}
	return r;
}

int64_t sk_setsockopt(int fd, int level, int name, const void *v, socklen_t n)
{
	struct ent e = fd_get(fd);
	struct fo_keys keys;
	bool kept = true, keyed;
	struct turn t;
	struct sk *sk;
	int r, number;

	if (e.kind == FD_PRIVATE)
		return -EBADF;
	if (e.kind == FD_PLAIN && e.reason == REASON_UNDECIDED)
		return set_undecided(fd, e, level, name, v, n);
	if (!ent_is_ours(e))
		return SK_PASS;
	r = e.kind == FD_UDP && level == IPPROTO_TCP ? 0 : judge(e, level, name, v, n);
	if (!r)
		r = e.kind == FD_TCP ? judge_stream(fd, e, level, name, &v, &n, &number) :
				       judge_both(fd, level, name, &v, &n, &number);
	if (r < 0)
		return r;
	keyed = e.kind == FD_LISTEN && level == IPPROTO_TCP && (name == TCP_FASTOPEN || name == TCP_FASTOPEN_KEY);
	if (keyed)
		fastopen_keys(fd, &keys);
	if (!sk_enter(&t))
		return nest_error(e);
	sk = sk_find(&t, (sk_h){ e.h });
	if (sk && keyed)
		tcp_listen_keys(&t, sk, keys.key, keys.n);
	if (sk)
		kept = set_in_turn(&t, e, sk, level, name, v, n);
	sk_leave(&t, false);
	if (!kept)
		dgram_return(fd, e, REASON_OPTION);
	return sk ? 0 : -EBADF;
}
