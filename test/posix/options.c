/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What setsockopt() and getsockopt() answer for every option of TCP, on a connection that was
 * opened, on one that was accepted and on a listener: errors, values that come back, and the rules
 * about lengths. Compared as calls.c is; numbers that depend on the path are only judged.
 */
#include "case.h"



struct option { const char *name; int level, opt; int set[10], n; };

#define TCP(o, ...) { #o, IPPROTO_TCP, o, { __VA_ARGS__ }, sizeof((int[]){ __VA_ARGS__ }) / sizeof(int) }
#define SOL(o, ...) { #o, SOL_SOCKET, o, { __VA_ARGS__ }, sizeof((int[]){ __VA_ARGS__ }) / sizeof(int) }

static const struct option ints[] = {
	TCP(TCP_NODELAY, 0, 1, 2, -1, 0), TCP(TCP_CORK, 0, 1, 7, -1, 0),
	TCP(TCP_KEEPIDLE, 0, -1, 1, 33, 32767, 32768), TCP(TCP_KEEPINTVL, 0, -1, 1, 7, 32767, 32768),
	TCP(TCP_KEEPCNT, 0, -1, 1, 127, 128, 9), TCP(TCP_SYNCNT, 0, -1, 1, 127, 128, 5),
	TCP(TCP_LINGER2, 0, 1, 30, 120, 121, 100000, -1, -2, 0),
	TCP(TCP_DEFER_ACCEPT, 0, 1, 2, 3, 5, 10, 63, 64, -1, 0),
	TCP(TCP_QUICKACK, 1, 0, 1, 2, 3, 1), TCP(TCP_USER_TIMEOUT, 0, 1, 5000, -1, 0),
	TCP(TCP_NOTSENT_LOWAT, 0, 1, 16384, -1, 0), TCP(TCP_THIN_LINEAR_TIMEOUTS, 0, 1, 2, -1, 0),
	TCP(TCP_THIN_DUPACK, 0, 1, 2, -1, 0), TCP(TCP_SAVE_SYN, 0, 3, -1, 0),
	TCP(TCP_FASTOPEN_CONNECT, 2, -1, 1), TCP(TCP_FASTOPEN_NO_COOKIE, 2, -1),
	TCP(TCP_TIMESTAMP, 5), TCP(TCP_INFO, 1),
	SOL(SO_KEEPALIVE, 0, 1, 2, -1, 0), SOL(SO_OOBINLINE, 0, 1, 5, 0), SOL(SO_RCVLOWAT, 0, 1, 5, 1),
	SOL(SO_PRIORITY, 0, 6, 0), SOL(SO_REUSEADDR, 1, 0, 2), SOL(SO_DONTROUTE, 1, 0), SOL(SO_BROADCAST, 1, 0),
	SOL(SO_TYPE, 1), SOL(SO_PROTOCOL, 1), SOL(SO_ERROR, 1), SOL(SO_ACCEPTCONN, 1), SOL(SO_PEEK_OFF, 3, -1),
	SOL(SO_SNDLOWAT, 2), SOL(SO_DOMAIN, 1),
};

static void set_all(int fd, const struct option *o)
{
	for (int i = 0; i < o->n; i++) {
		int got = -77, r = setsockopt(fd, o->level, o->opt, &o->set[i], sizeof(int));
		socklen_t n = sizeof(got);

		printf(" %d:%s", o->set[i], en(r));
		r = getsockopt(fd, o->level, o->opt, &got, &n);
		if (o->opt == TCP_INFO || o->opt == TCP_TIMESTAMP || (o->level == SOL_SOCKET && o->opt == SO_DOMAIN))
			got = 0;
		printf("=%d/%s/%u", r < 0 ? -1 : got, en(r), n);
	}
}

/* Lengths that are too short, and pointers that lead nowhere. */
static void lengths(int fd, const struct option *o)
{
	static const socklen_t lens[] = { 0, 1, 3, 5, 8 };
	char buf[16];
	int one = 0;

	printf(" |set");
	for (unsigned i = 0; i < 5; i++) {
		memset(buf, 0, sizeof(buf));
		buf[0] = (char)one;
		printf(" %s", en(setsockopt(fd, o->level, o->opt, buf, lens[i])));
	}
	printf(" %s", en(setsockopt(fd, o->level, o->opt, NULL, sizeof(int))));
	printf(" |get");
	for (unsigned i = 0; i < 5; i++) {
		socklen_t n = lens[i];

		memset(buf, 0x55, sizeof(buf));
		printf(" %s", en(getsockopt(fd, o->level, o->opt, buf, &n)));
		printf("/%u/%d", n, n < sizeof(buf) && buf[n] == 0x55);
	}
	one = -1;
	printf(" %s", en(getsockopt(fd, o->level, o->opt, buf, (socklen_t *)&one)));
	printf(" %s", en(getsockopt(fd, o->level, o->opt, buf, NULL)));
	one = 4;
	printf(" %s\n", en(getsockopt(fd, o->level, o->opt, NULL, (socklen_t *)&one)));
}

static void all_ints(int fd, const char *what)
{
	for (size_t i = 0; i < sizeof(ints) / sizeof(ints[0]); i++) {
		printf("%s %s:", what, ints[i].name);
		set_all(fd, &ints[i]);
		if (ints[i].opt != TCP_INFO && ints[i].opt != TCP_TIMESTAMP)
			lengths(fd, &ints[i]);
		else
			printf("\n");
	}
}

/* ---- those whose values are the path's ------------------------------------------------------------- */

static int get(int fd, int level, int name)
{
	int v = -77;
	socklen_t n = sizeof(v);

	return getsockopt(fd, level, name, &v, &n) < 0 ? -errno : v;
}

static const char *set(int fd, int level, int name, int v)
{
	return en(setsockopt(fd, level, name, &v, sizeof(v)));
}

static void maxseg(int fd, const char *what)
{
	static const int vals[] = { 87, 88, 32767, 32768, -1, 0, 1000 };
	int before = get(fd, IPPROTO_TCP, TCP_MAXSEG);

	printf("%s TCP_MAXSEG: %d", what, before > 500);
	for (unsigned i = 0; i < 7; i++)
		printf(" %s", set(fd, IPPROTO_TCP, TCP_MAXSEG, vals[i]));
	printf(" %d\n", get(fd, IPPROTO_TCP, TCP_MAXSEG) <= before);
}

static void clamp(int fd, const char *what)
{
	static const int vals[] = { 0, 1, 1000, 5000, 50000, -1 };

	printf("%s TCP_WINDOW_CLAMP: %d", what, get(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP) > 0);
	for (unsigned i = 0; i < 6; i++) {
		printf(" %d:%s", vals[i], set(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, vals[i]));
		if (vals[i] > 0)
			printf("=%d", get(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP));
	}
	printf("\n");
}

static void congestion(int fd, const char *what)
{
	static const char *const names[] = { "reno", "cubic", "", "nonesuch", "renox", "cubic" };
	char name[32];
	socklen_t n;

	printf("%s TCP_CONGESTION:", what);
	for (unsigned i = 0; i < 6; i++) {
		printf(" %s:%s", names[i], en(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, names[i],
							 (socklen_t)strlen(names[i]))));
		n = sizeof(name);
		memset(name, 'x', sizeof(name));
		if (getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n) == 0)
			printf("=%s/%u", name, n);
	}
	n = 3;
	printf(" short %s", en(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &n)));
	printf(" %u %.*s\n", n, (int)n, name);
}

/* A switch that this kernel may not have at all: then we need not either. */
static void keys(int fd, const char *what)
{
	struct tcp_md5sig md5 = { .tcpm_keylen = 4, .tcpm_key = "abcd" };

	memcpy(&md5.tcpm_addr, &peer, peer_n);
	printf("%s TCP_MD5SIG: short %s\n", what, en(setsockopt(fd, IPPROTO_TCP, TCP_MD5SIG, &md5, 5)));
	printf("%s TCP_ULP: tls get", what);
	{
		char ulp[16] = "";
		socklen_t n = sizeof(ulp);

		printf(" %s", en(getsockopt(fd, IPPROTO_TCP, TCP_ULP, ulp, &n)));
		printf(" %u\n", n);
	}
}

static void saved_syn(int fd, const char *what)
{
	unsigned char buf[256];
	socklen_t n = sizeof(buf);

	printf("%s TCP_SAVED_SYN: %s", what, en(getsockopt(fd, IPPROTO_TCP, TCP_SAVED_SYN, buf, &n)));
	printf(" %u\n", n);
}

static void info(int fd, const char *what)
{
	struct tcp_info i;
	socklen_t n = sizeof(i);
	int r = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n);

	printf("%s TCP_INFO: %s %d", what, en(r), n >= 200);
	printf(" state %d ca %d", i.tcpi_state, i.tcpi_ca_state);
	printf(" retr %d probes %d backoff %d sacked %u lost %u", i.tcpi_retransmits, i.tcpi_probes,
	       i.tcpi_backoff, i.tcpi_sacked, i.tcpi_lost);
	n = 8;
	r = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n);
	printf(" short %s %u", en(r), n);
	n = 0;
	r = getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &n);
	printf(" none %s %u\n", en(r), n);
}

static void everything(int fd, const char *what)
{
	all_ints(fd, what);
	maxseg(fd, what);
	clamp(fd, what);
	congestion(fd, what);
	keys(fd, what);
	saved_syn(fd, what);
	info(fd, what);
}

/* ---- the cases ------------------------------------------------------------------------------------------ */

static int listener(void)
{
	struct sockaddr_storage a = { .ss_family = peer.ss_family };
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);

	if (bind(fd, (void *)&a, peer_n) || listen(fd, 5))
		printf("listener: %s\n", en(-1));
	return fd;
}

static void t_opened(void)
{
	int fd = dial("HOLD 3000");

	everything(fd, "opened");
	close(fd);
}

static void t_listener(void)
{
	int fd = listener();

	everything(fd, "listener");
	close(fd);
}

static int accept_one(int l, int *ctl)
{
	struct sockaddr_in6 a;
	socklen_t n = sizeof(a);
	char line[64];

	getsockname(l, (void *)&a, &n);
	snprintf(line, sizeof(line), "DIAL %d 1 10", ntohs(a.sin6_port));
	*ctl = dial(line);
	return accept(l, NULL, NULL);
}

static void t_accepted(void)
{
	int l = listener(), ctl, fd = accept_one(l, &ctl);

	everything(fd, "accepted");
	close(fd);
	close(ctl);
	close(l);
}

/* What a listener was told, its connections have. */
static void t_inherited(void)
{
	static const struct { int level, name, v; const char *text; } given[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1, "nodelay" }, { IPPROTO_TCP, TCP_KEEPIDLE, 77, "keepidle" },
		{ IPPROTO_TCP, TCP_KEEPINTVL, 12, "keepintvl" }, { IPPROTO_TCP, TCP_KEEPCNT, 3, "keepcnt" },
		{ IPPROTO_TCP, TCP_SYNCNT, 2, "syncnt" }, { IPPROTO_TCP, TCP_LINGER2, 17, "linger2" },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, 4321, "user_timeout" },
		{ IPPROTO_TCP, TCP_NOTSENT_LOWAT, 999, "lowat" },
		{ IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1, "thin" }, { IPPROTO_TCP, TCP_DEFER_ACCEPT, 3, "defer" },
		{ SOL_SOCKET, SO_KEEPALIVE, 1, "keepalive" }, { SOL_SOCKET, SO_OOBINLINE, 1, "oobinline" },
		{ SOL_SOCKET, SO_RCVLOWAT, 1, "rcvlowat" }, { SOL_SOCKET, SO_SNDBUF, 50000, "sndbuf" },
		{ SOL_SOCKET, SO_RCVBUF, 50000, "rcvbuf" }, { SOL_SOCKET, SO_PRIORITY, 3, "priority" },
	};
	int l = listener(), ctl, fd;

	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		set(l, given[i].level, given[i].name, given[i].v);
	fd = accept_one(l, &ctl);
	printf("inherited:");
	for (size_t i = 0; i < sizeof(given) / sizeof(given[0]); i++)
		printf(" %s %d", given[i].text, get(fd, given[i].level, given[i].name));
	printf("\n");
	close(fd);
	close(ctl);
	close(l);
}

/* Options set before connect() are those of the connection. */
static void t_before(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0);

	set(fd, IPPROTO_TCP, TCP_SYNCNT, 3);
	set(fd, IPPROTO_TCP, TCP_LINGER2, -1);
	set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, 7000);
	set(fd, IPPROTO_TCP, TCP_MAXSEG, 700);
	set(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP, 20000);
	set(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, 5000);
	set(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS, 1);
	set(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT, 1);
	printf("before: %s", en(connect(fd, (void *)&peer, peer_n)));
	printf(" %d", get(fd, IPPROTO_TCP, TCP_SYNCNT));
	printf(" %d", get(fd, IPPROTO_TCP, TCP_LINGER2));
	printf(" %d", get(fd, IPPROTO_TCP, TCP_USER_TIMEOUT));
	printf(" mss %d", get(fd, IPPROTO_TCP, TCP_MAXSEG) <= 700);
	printf(" clamp %d", get(fd, IPPROTO_TCP, TCP_WINDOW_CLAMP));
	printf(" %d", get(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT));
	printf(" %d", get(fd, IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS));
	printf(" %d\n", get(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT));
	close(fd);
}

/* TCP Fast Open (RFC 7413): the first bytes go with the SYN, or at once after it. */
static void t_fastopen(void)
{
	int fd = socket(peer.ss_family, SOCK_STREAM, 0), one = 1, l = listener();
	char buf[8] = "";
	ssize_t r = sendto(fd, "ECHO\n", 5, MSG_FASTOPEN, (void *)&peer, peer_n);

	printf("fastopen: %zd %s", r, r < 0 ? en(r) : "");
	printf(" again %s", en(connect(fd, (void *)&peer, peer_n)));
	r = send(fd, "abc", 3, 0);
	printf(" %zd", r);
	r = recv(fd, buf, 3, MSG_WAITALL);
	printf(" %zd %s", r, buf);
	r = sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (void *)&peer, peer_n);
	printf(" on it %s", en(r));
	close(fd);
	fd = dial("ECHO");
	r = sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, (void *)&peer, peer_n);
	printf(" on another %s", en(r));
	close(fd);
	fd = socket(peer.ss_family, SOCK_STREAM, 0);
	r = setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &one, sizeof(one));
	printf(" option %s", en(r));
	r = connect(fd, (void *)&peer, peer_n);
	printf(" %s", en(r));
	r = send(fd, "ECHO\nhi", 7, 0);
	printf(" %zd", r);
	r = recv(fd, buf, 2, MSG_WAITALL);
	printf(" %zd %.2s", r, buf);
	close(fd);
	printf(" listener %s", set(l, IPPROTO_TCP, TCP_FASTOPEN, 5));
	printf(" %d\n", get(l, IPPROTO_TCP, TCP_FASTOPEN));
	close(l);
}

static const struct one_case cases[] = {
	{ "opened", t_opened }, { "listener", t_listener }, { "accepted", t_accepted }, { "inherited", t_inherited },
	{ "before", t_before },
	{ "fastopen", t_fastopen },
};

int main(int argc, char **argv)
{
	signal(SIGCHLD, SIG_IGN);
	alarm(30);
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
