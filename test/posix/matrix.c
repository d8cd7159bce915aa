/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every call in every state of a socket, and every option in every state: one line each, "state.call:
 * answer". What no case of the other programs thinks of is found here.
 */
#include "case.h"

#include <linux/sockios.h>
#include <netinet/udp.h>

/* ---- states --------------------------------------------------------------------------------- */

static void settle(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	poll(&p, 1, 5000);
}

static int s_fresh(void) { return socket(peer.ss_family, SOCK_STREAM, 0); }

/* To the address that the peer is reached from, any port. */
static int bind_any(int fd)
{
	struct sockaddr_storage a = { .ss_family = peer.ss_family };

	return bind(fd, (void *)&a, peer_n);
}

static int s_bound(void)
{
	int fd = s_fresh();

	bind_any(fd);
	return fd;
}

static int s_listening(void)
{
	int fd = s_bound();

	listen(fd, 5);
	return fd;
}

static int s_connected(void) { return dial("ECHO"); }

static int s_data(void)
{
	int fd = dial("LATE 0 abcdef");

	settle(fd, POLLIN);
	return fd;
}

static int s_shut_rd(void)
{
	int fd = dial("ECHO");

	shutdown(fd, SHUT_RD);
	return fd;
}

static int s_peer_shut(void)
{
	int fd = dial("HALF x");

	settle(fd, POLLRDHUP);
	(void)!recv(fd, &(char){ 0 }, 1, 0);
	return fd;
}

static int s_ended(void)
{
	int fd = dial("HOLD 0");

	struct tcp_info ti = { 0 };
	socklen_t n = sizeof(ti);

	settle(fd, POLLRDHUP);
	shutdown(fd, SHUT_WR);
	settle(fd, 0);
	for (uint64_t until = now_ms() + 1000; now_ms() < until && ti.tcpi_state != TCP_CLOSE; usleep(1000))
		getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n);
	return fd;
}

static int s_reset(void)
{
	int fd = dial("RESET");

	settle(fd, 0);
	return fd;
}

static int s_refused(void)
{
	struct sockaddr_storage a = peer;
	int fd = socket(peer.ss_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

	((struct sockaddr_in *)&a)->sin_port = htons(9);
	(void)!connect(fd, (void *)&a, peer_n);
	settle(fd, POLLOUT);
	nonblock(fd, false);
	return fd;
}

static int s_dgram(void) { return socket(peer.ss_family, SOCK_DGRAM, 0); }

static int s_dgram_bound(void)
{
	int fd = s_dgram();

	bind_any(fd);
	return fd;
}

static int s_dgram_connected(void)
{
	int fd = s_dgram();

	(void)!connect(fd, (void *)&peer, peer_n);
	return fd;
}

static int s_dgram_data(void)
{
	int fd = s_dgram_connected();

	(void)!send(fd, "abcdef", 6, 0);
	settle(fd, POLLIN);
	return fd;
}

static int s_closed(void)
{
	int fd = dial("ECHO");

	close(fd);
	return fd;
}

static const struct state { const char *name; int (*make)(void); } states[] = {
	{ "fresh", s_fresh }, { "bound", s_bound }, { "listening", s_listening }, { "connected", s_connected },
	{ "data", s_data }, { "shut_rd", s_shut_rd }, { "peer_shut", s_peer_shut }, { "ended", s_ended },
	{ "reset", s_reset }, { "refused", s_refused }, { "closed_fd", s_closed },
	{ "dgram", s_dgram }, { "dgram_bound", s_dgram_bound }, { "dgram_connected", s_dgram_connected },
	{ "dgram_data", s_dgram_data },
};
#define N_STATES (sizeof(states) / sizeof(states[0]))

/* ---- calls ------------------------------------------------------------------------------------ */

static char buf[64];
static struct sockaddr_storage name;
static socklen_t name_n;

static void *bad(void)
{
	static void *volatile p = (void *)8;	/* nothing is mapped there, and the compiler does not know */

	return p;
}

static void answer(long r)
{
	if (r < 0)
		printf("%s", strerrorname_np(errno));
	else
		printf("%ld", r);
}

static void c_bind(int fd) { answer(bind_any(fd)); }
static void c_bind_family(int fd)
{
	struct sockaddr_storage a = { .ss_family = AF_UNIX };

	answer(bind(fd, (void *)&a, sizeof(struct sockaddr_in6)));
}
static void c_bind_short(int fd) { answer(bind(fd, (void *)&peer, 3)); }
static void c_bind_foreign(int fd)
{
	struct sockaddr_storage a = peer;

	((struct sockaddr_in *)&a)->sin_port = 0;
	if (a.ss_family == AF_INET)
		((struct sockaddr_in *)&a)->sin_addr.s_addr = htonl(0xc0000201);	/* RFC 5737 */
	else
		inet_pton(AF_INET6, "2001:db8::1", &((struct sockaddr_in6 *)&a)->sin6_addr);
	answer(bind(fd, (void *)&a, peer_n));
}
static void c_connect(int fd)
{
	nonblock(fd, true);
	answer(connect(fd, (void *)&peer, peer_n));
}
static void c_connect_short(int fd) { answer(connect(fd, (void *)&peer, 4)); }
static void c_connect_family(int fd)
{
	struct sockaddr_storage a = { .ss_family = AF_UNIX };

	answer(connect(fd, (void *)&a, sizeof(struct sockaddr_in6)));
}
static void c_listen(int fd) { answer(listen(fd, 3)); }
static void c_accept(int fd)
{
	nonblock(fd, true);
	answer(accept(fd, NULL, NULL));
}
static void c_accept4_flag(int fd) { answer(accept4(fd, NULL, NULL, 1)); }
static void c_getsockname(int fd)
{
	name_n = sizeof(name);
	answer(getsockname(fd, (void *)&name, &name_n));
	printf(" %u", name_n);
}
static void c_getsockname_short(int fd)
{
	name_n = 4;
	answer(getsockname(fd, (void *)&name, &name_n));
	printf(" %u", name_n);
}
static void c_getsockname_negative(int fd)
{
	name_n = (socklen_t)-1;
	answer(getsockname(fd, (void *)&name, &name_n));
}
static void c_getpeername(int fd)
{
	name_n = sizeof(name);
	answer(getpeername(fd, (void *)&name, &name_n));
	printf(" %u", name_n);
}
static void c_send(int fd) { answer(send(fd, "x", 1, MSG_NOSIGNAL)); }
static void c_send_none(int fd) { answer(send(fd, "", 0, MSG_NOSIGNAL)); }
static void c_send_oob(int fd) { answer(send(fd, "x", 1, MSG_NOSIGNAL | MSG_OOB)); }
static void c_sendto(int fd)
{
	answer(sendto(fd, "x", 1, MSG_NOSIGNAL, (void *)&peer, peer_n));
}
static void c_sendto_short(int fd) { answer(sendto(fd, "x", 1, MSG_NOSIGNAL, (void *)&peer, 4)); }
static void c_sendmsg_none(int fd)
{
	struct msghdr m = { .msg_iovlen = 0 };

	answer(sendmsg(fd, &m, MSG_NOSIGNAL));
}
static void c_sendmsg_many(int fd)
{
	struct iovec v = { buf, 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1025 };

	answer(sendmsg(fd, &m, MSG_NOSIGNAL));
}
static void c_write_none(int fd) { answer(write(fd, "", 0)); }
static void c_recv(int fd) { answer(recv(fd, buf, 4, MSG_DONTWAIT)); }
static void c_recv_none(int fd) { answer(recv(fd, buf, 0, MSG_DONTWAIT)); }
static void c_recv_peek(int fd) { answer(recv(fd, buf, 4, MSG_DONTWAIT | MSG_PEEK)); }
static void c_recv_trunc(int fd) { answer(recv(fd, buf, 4, MSG_DONTWAIT | MSG_TRUNC)); }
static void c_recv_waitall(int fd) { answer(recv(fd, buf, 4, MSG_DONTWAIT | MSG_WAITALL)); }
static void c_recv_oob(int fd) { answer(recv(fd, buf, 4, MSG_DONTWAIT | MSG_OOB)); }
static void c_recv_errqueue(int fd) { answer(recv(fd, buf, 4, MSG_DONTWAIT | MSG_ERRQUEUE)); }
static void c_recvfrom(int fd)
{
	name_n = sizeof(name);
	name.ss_family = 99;
	answer(recvfrom(fd, buf, 4, MSG_DONTWAIT, (void *)&name, &name_n));
	printf(" %u %s", name_n, name.ss_family == 99 ? "untouched" : "named");
}
static void c_recvmsg(int fd)
{
	struct iovec v = { buf, 4 };
	char ctl[64];
	struct msghdr m = { .msg_name = &name, .msg_namelen = sizeof(name), .msg_iov = &v, .msg_iovlen = 1,
			    .msg_control = ctl, .msg_controllen = sizeof(ctl), .msg_flags = 0x77 };
	long r = recvmsg(fd, &m, MSG_DONTWAIT);

	answer(r);
	if (r >= 0)
		printf(" name %u control %zu flags %x", m.msg_namelen, m.msg_controllen, m.msg_flags);
}
static void c_read_none(int fd) { answer(read(fd, buf, 0)); }
static void c_shutdown_rd(int fd) { answer(shutdown(fd, SHUT_RD)); }
static void c_shutdown_wr(int fd) { answer(shutdown(fd, SHUT_WR)); }
static void c_shutdown_bad(int fd) { answer(shutdown(fd, 3)); }
static void one_ioctl(int fd, unsigned long cmd)
{
	int v = -1;
	long r = ioctl(fd, cmd, &v);

	answer(r);
	if (r == 0)
		printf(" %d", v);
}
static void c_fionread(int fd) { one_ioctl(fd, FIONREAD); }
static void c_siocoutq(int fd)
{
	int left = 1;

	/* When the last byte is acknowledged is the peer's business. */
	for (uint64_t until = now_ms() + 500; now_ms() < until && ioctl(fd, SIOCOUTQ, &left) == 0 && left; )
		usleep(1000);
	one_ioctl(fd, SIOCOUTQ);
}
static void c_siocoutqnsd(int fd) { one_ioctl(fd, SIOCOUTQNSD); }
static void c_siocatmark(int fd) { one_ioctl(fd, SIOCATMARK); }
static void c_sockatmark(int fd) { answer(sockatmark(fd)); }
static void c_siocgpgrp(int fd) { one_ioctl(fd, SIOCGPGRP); }
static void c_fionread_bad(int fd) { answer(ioctl(fd, FIONREAD, bad())); }
static void c_ioctl_unknown(int fd) { answer(ioctl(fd, 0x1234, buf)); }
static void c_poll(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN | POLLOUT | POLLPRI | POLLRDHUP };
	int n = poll(&p, 1, 0);

	printf("%d %x", n, p.revents);
}
static void c_poll_unasked(int fd)
{
	struct pollfd p = { .fd = fd };
	int n = poll(&p, 1, 0);

	printf("%d %x", n, p.revents);
}
static void c_select(int fd)
{
	fd_set r, w, x;
	struct timeval no = { 0, 0 };

	FD_ZERO(&r);
	FD_SET(fd, &r);
	w = x = r;
	answer(select(fd + 1, &r, &w, &x, &no));
	printf(" %d%d%d", FD_ISSET(fd, &r) != 0, FD_ISSET(fd, &w) != 0, FD_ISSET(fd, &x) != 0);
}
static void c_getfl(int fd) { answer(fcntl(fd, F_GETFL)); }
static void c_setfl(int fd)
{
	long r = fcntl(fd, F_SETFL, O_NONBLOCK);

	answer(r);
	if (r == 0)
		printf(" %x", fcntl(fd, F_GETFL));
}
static void c_getown(int fd)
{
	long r = fcntl(fd, F_SETOWN, getpid());

	answer(r);
	if (r == 0)
		printf(" %d", fcntl(fd, F_GETOWN) == getpid());
}
static void c_dup_low(int fd)
{
	int twin = fcntl(fd, F_DUPFD_CLOEXEC, 100);

	answer(twin);
	if (twin >= 0)
		printf(" %d", fcntl(twin, F_GETFD));
	close(twin);
}
static void c_dup2_self(int fd) { printf("%s", en(dup2(fd, fd))); }
static void c_dup3_self(int fd) { printf("%s", en(dup3(fd, fd, 0))); }
static void c_dup3_flag(int fd) { printf("%s", en(dup3(fd, 101, O_APPEND))); }
static void c_bad_memory(int fd) { answer(recv(fd, bad(), 4, MSG_DONTWAIT)); }
static void c_error(int fd)
{
	int v = -1;
	socklen_t n = sizeof(v);

	answer(getsockopt(fd, SOL_SOCKET, SO_ERROR, &v, &n));
	printf(" %s", v > 0 ? strerrorname_np(v) : "none");
}
static void c_tcp_state(int fd)
{
	struct tcp_info ti = { 0 };
	socklen_t n = sizeof(ti);

	answer(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &ti, &n));
	printf(" %d", ti.tcpi_state);
}

static const struct call { const char *name; void (*fn)(int fd); } calls[] = {
	{ "bind", c_bind }, { "bind_family", c_bind_family }, { "bind_short", c_bind_short },
	{ "bind_foreign", c_bind_foreign }, { "connect", c_connect }, { "connect_short", c_connect_short },
	{ "connect_family", c_connect_family }, { "listen", c_listen }, { "accept", c_accept },
	{ "accept4_flag", c_accept4_flag }, { "getsockname", c_getsockname },
	{ "getsockname_short", c_getsockname_short }, { "getsockname_negative", c_getsockname_negative },
	{ "getpeername", c_getpeername }, { "send", c_send }, { "send_none", c_send_none }, { "send_oob", c_send_oob },
	{ "sendto", c_sendto }, { "sendto_short", c_sendto_short }, { "sendmsg_none", c_sendmsg_none },
	{ "sendmsg_many", c_sendmsg_many }, { "write_none", c_write_none }, { "recv", c_recv },
	{ "recv_none", c_recv_none }, { "recv_peek", c_recv_peek }, { "recv_trunc", c_recv_trunc },
	{ "recv_waitall", c_recv_waitall }, { "recv_oob", c_recv_oob }, { "recv_errqueue", c_recv_errqueue },
	{ "recvfrom", c_recvfrom }, { "recvmsg", c_recvmsg }, { "read_none", c_read_none },
	{ "shutdown_rd", c_shutdown_rd }, { "shutdown_wr", c_shutdown_wr }, { "shutdown_bad", c_shutdown_bad },
	{ "fionread", c_fionread }, { "siocoutq", c_siocoutq }, { "siocoutqnsd", c_siocoutqnsd },
	{ "siocatmark", c_siocatmark }, { "sockatmark", c_sockatmark }, { "siocgpgrp", c_siocgpgrp },
	{ "fionread_bad", c_fionread_bad }, { "ioctl_unknown", c_ioctl_unknown }, { "poll", c_poll },
	{ "poll_unasked", c_poll_unasked }, { "select", c_select }, { "getfl", c_getfl }, { "setfl", c_setfl },
	{ "setown", c_getown }, { "dupfd", c_dup_low }, { "dup2_self", c_dup2_self }, { "dup3_self", c_dup3_self },
	{ "dup3_flag", c_dup3_flag }, { "recv_bad_memory", c_bad_memory }, { "so_error", c_error },
	{ "tcp_info", c_tcp_state },
};

static void t_calls(void)
{
	for (size_t i = 0; i < N_STATES; i++)
		for (size_t j = 0; j < sizeof(calls) / sizeof(calls[0]); j++) {
			int fd = states[i].make();

			/* Which descriptor a closed one is, is nobody's business: a free number. */
			printf("%s.%s: ", states[i].name, calls[j].name);
			calls[j].fn(fd);
			printf("\n");
			if (states[i].make != s_closed)
				close(fd);
		}
}

/* ---- options -------------------------------------------------------------------------------------- */

#define O(level, name) { #name, level, name }
static const struct option { const char *text; int level, name; } options[] = {
	O(SOL_SOCKET, SO_REUSEADDR), O(SOL_SOCKET, SO_TYPE), O(SOL_SOCKET, SO_DOMAIN), O(SOL_SOCKET, SO_PROTOCOL),
	O(SOL_SOCKET, SO_ACCEPTCONN), O(SOL_SOCKET, SO_DONTROUTE), O(SOL_SOCKET, SO_BROADCAST),
	O(SOL_SOCKET, SO_KEEPALIVE), O(SOL_SOCKET, SO_OOBINLINE), O(SOL_SOCKET, SO_NO_CHECK),
	O(SOL_SOCKET, SO_PRIORITY), O(SOL_SOCKET, SO_REUSEPORT), O(SOL_SOCKET, SO_RCVLOWAT),
	O(SOL_SOCKET, SO_SNDLOWAT), O(SOL_SOCKET, SO_TIMESTAMP), O(SOL_SOCKET, SO_PEEK_OFF),
	O(SOL_SOCKET, SO_RXQ_OVFL), O(SOL_SOCKET, SO_BUSY_POLL), O(SOL_SOCKET, SO_ZEROCOPY),
	O(SOL_SOCKET, SO_LOCK_FILTER), O(SOL_SOCKET, SO_SELECT_ERR_QUEUE), O(SOL_SOCKET, SO_PASSCRED),
	O(IPPROTO_TCP, TCP_NODELAY), O(IPPROTO_TCP, TCP_CORK), O(IPPROTO_TCP, TCP_KEEPIDLE),
	O(IPPROTO_TCP, TCP_KEEPINTVL), O(IPPROTO_TCP, TCP_KEEPCNT), O(IPPROTO_TCP, TCP_SYNCNT),
	O(IPPROTO_TCP, TCP_LINGER2), O(IPPROTO_TCP, TCP_DEFER_ACCEPT), O(IPPROTO_TCP, TCP_USER_TIMEOUT),
	O(IPPROTO_TCP, TCP_THIN_LINEAR_TIMEOUTS), O(IPPROTO_TCP, TCP_NOTSENT_LOWAT), O(IPPROTO_TCP, TCP_FASTOPEN),
	O(IPPROTO_TCP, TCP_SAVE_SYN), O(IPPROTO_TCP, TCP_REPAIR), O(IPPROTO_TCP, TCP_INQ),
	O(IPPROTO_IP, IP_TOS), O(IPPROTO_IP, IP_TTL), O(IPPROTO_IP, IP_RECVTOS), O(IPPROTO_IP, IP_FREEBIND),
	O(IPPROTO_IP, IP_MTU_DISCOVER), O(IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT), O(IPPROTO_IP, IP_MULTICAST_TTL),
	O(IPPROTO_IPV6, IPV6_V6ONLY), O(IPPROTO_IPV6, IPV6_UNICAST_HOPS), O(IPPROTO_IPV6, IPV6_TCLASS),
	O(IPPROTO_IPV6, IPV6_MTU_DISCOVER), O(IPPROTO_IPV6, IPV6_RECVTCLASS), O(IPPROTO_UDP, UDP_CORK),
	O(SOL_SOCKET, 9999), O(IPPROTO_TCP, 9999), O(9999, 1),
};

static void show(int fd, const struct option *o)
{
	int v = -1;
	socklen_t n = sizeof(v);

	if (getsockopt(fd, o->level, o->name, &v, &n) < 0)
		printf(" %s", strerrorname_np(errno));
	else
		printf(" %d/%u", v, n);
}

static void t_options(void)
{
	static int (*const in[])(void) = { s_fresh, s_listening, s_connected, s_ended, s_dgram_connected };
	static const char *const called[] = { "fresh", "listening", "connected", "ended", "dgram" };

	for (size_t i = 0; i < sizeof(in) / sizeof(in[0]); i++)
		for (size_t j = 0; j < sizeof(options) / sizeof(options[0]); j++) {
			const struct option *o = &options[j];
			int fd = in[i](), v;

			printf("%s.%s%s:", called[i], o->text, o->level == 9999 ? "_LEVEL" : o->level == IPPROTO_TCP &&
			       o->name == 9999 ? "_TCP" : "");
			show(fd, o);
			for (v = 1; v >= -1; v -= o->name == 9999 ? 9 : 1) {
				printf(" set(%d) %s", v, en(setsockopt(fd, o->level, o->name, &v, sizeof(v))));
				show(fd, o);
			}
			v = 7;
			printf(" short %s", en(setsockopt(fd, o->level, o->name, &v, 1)));
			printf(" bad %s\n", en(setsockopt(fd, o->level, o->name, bad(), sizeof(v))));
			close(fd);
		}
}

static void t_timeouts(void)
{
	static const int names[] = { SO_RCVTIMEO, SO_SNDTIMEO };
	static const struct timeval values[] = {
		{ 0, 250000 }, { 3, 1000 }, { 0, 1 }, { 0, 1000000 }, { -1, 0 }, { 0, -1 },
	};

	for (int i = 0; i < 4; i++)
		for (size_t j = 0; j < sizeof(values) / sizeof(values[0]); j++) {
			int fd = i & 1 ? s_connected() : s_dgram_connected();
			struct timeval tv = { 9, 9 };
			socklen_t n = sizeof(tv);

			printf("%s.%s_%ld.%06ld: %s", i & 1 ? "connected" : "dgram",
			       i & 2 ? "SO_SNDTIMEO" : "SO_RCVTIMEO", (long)values[j].tv_sec, (long)values[j].tv_usec,
			       en(setsockopt(fd, SOL_SOCKET, names[i / 2], &values[j], sizeof(tv))));
			getsockopt(fd, SOL_SOCKET, names[i / 2], &tv, &n);
			printf(" %s %u\n", tv.tv_sec == 9 ? "?" : tv.tv_sec || tv.tv_usec ? "set" : "none", n);
			close(fd);
		}
}

static const struct one_case cases[] = {
	{ "state_calls", t_calls }, { "state_options", t_options }, { "state_timeouts", t_timeouts },
};

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	return run_cases(argc, argv, cases, sizeof(cases) / sizeof(cases[0]));
}
