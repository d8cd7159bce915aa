/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Kernel sockets as /proc/PID/net shows them, found by the inode that /proc/PID/fd names;
 * and how addresses are spelt, which is ss(8)'s way.
 */
#include "tools/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"

/* Kernel's numbers (include/net/tcp_states.h) in ss's words. */
static const char *const tcp_states[] = {
	"UNKNOWN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
	"UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "SYN-RECV",
};

struct inode_row {
	unsigned long long inode;
	struct flow_row row;
};

/* All sockets of the namespace of the process last asked about, sorted by inode: this program
 * lives for a moment, and asks about many descriptors of one process after the other. */
static struct {
	pid_t pid;
	struct inode_row *rows;
	size_t n, room;
} cache;

/* "0100007F:1F90": words in the host's byte order, as the kernel prints them. */
static bool parse_addr(const char *s, bool is6, struct ipaddr *addr, uint16_t *port)
{
	uint32_t w[4];
	unsigned p;

	if (is6) {
		if (sscanf(s, "%8x%8x%8x%8x:%4x", &w[0], &w[1], &w[2], &w[3], &p) != 5)
			return false;
		memcpy(addr->b, w, 16);
	} else {
		if (sscanf(s, "%8x:%4x", &w[0], &p) != 2)
			return false;
		*addr = ip_from4(ntohl(w[0]));
	}
	*port = (uint16_t)p;
	return true;
}

static bool parse_line(const char *line, struct inode_row *ret, bool is6)
{
	char local[64], remote[64];
	unsigned long long ino = 0;
	unsigned state, txq, rxq;

	if (sscanf(line, " %*d: %63s %63s %x %x:%x %*s %*s %*s %*s %llu", local, remote, &state,
		   &txq, &rxq, &ino) != 6 || ino == 0)
		return false;
	ret->inode = ino;
	ret->row.state = state < n_elems(tcp_states) ? tcp_states[state] : tcp_states[0];
	ret->row.sendq = txq;
	ret->row.recvq = rxq;
	ret->row.family6 = is6;
	return parse_addr(local, is6, &ret->row.laddr, &ret->row.lport) &&
	       parse_addr(remote, is6, &ret->row.raddr, &ret->row.rport);
}

static void load_file(pid_t pid, const char *name, uint8_t proto)
{
	char path[64], line[512];
	struct inode_row r;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, name);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		r = (struct inode_row){ .row.proto = proto };
		if (!parse_line(line, &r, name[strlen(name) - 1] == '6'))
			continue;
		if (cache.n == cache.room) {
			cache.room = cache.room ? cache.room * 2 : 256;
			cache.rows = realloc(cache.rows, cache.room * sizeof(*cache.rows));
			must(cache.rows);
		}
		cache.rows[cache.n++] = r;
	}
	if (f)
		fclose(f);
}

static int by_inode(const void *a, const void *b)
{
	const struct inode_row *x = a, *y = b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void load(pid_t pid)
{
	cache.pid = pid;
	cache.n = 0;
	load_file(pid, "tcp", IPPROTO_TCP);
	load_file(pid, "tcp6", IPPROTO_TCP);
	load_file(pid, "udp", IPPROTO_UDP);
	load_file(pid, "udp6", IPPROTO_UDP);
	if (cache.n)
		qsort(cache.rows, cache.n, sizeof(*cache.rows), by_inode);
}

int ksock_find(pid_t pid, int fd, struct flow_row *ret)
{
	const struct inode_row *hit;
	struct inode_row key = { 0 };
	char path[64], link[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -ENOENT;
	link[n] = 0;
	if (sscanf(link, "socket:[%llu]", &key.inode) != 1)
		return -ENOENT;
	if (cache.pid != pid)
		load(pid);
	hit = cache.n ? bsearch(&key, cache.rows, cache.n, sizeof(key), by_inode) : NULL;
	if (!hit)
		return -ENOENT;
	*ret = hit->row;
	return 0;
}

static void port_text(uint8_t proto, uint16_t port, bool numeric, char *ret, size_t bytes)
{
	struct servent *se = NULL;

	if (port == 0) {
		snprintf(ret, bytes, "*");
		return;
	}
	if (!numeric)
		se = getservbyport(htons(port), proto == IPPROTO_TCP ? "tcp" : "udp");
	if (se)
		snprintf(ret, bytes, "%s", se->s_name);
	else
		snprintf(ret, bytes, "%u", port);
}

void addr_text(const struct flow_row *r, bool remote, bool numeric, char *ret, size_t bytes)
{
	const struct ipaddr *a = remote ? &r->raddr : &r->laddr;
	char host[INET6_ADDRSTRLEN], port[32];

	port_text(r->proto, remote ? r->rport : r->lport, numeric, port, sizeof(port));
	if (!r->family6 && (ip_is4(a) || ip_is_any(a))) {
		inet_ntop(AF_INET, a->b + 12, host, sizeof(host));
		snprintf(ret, bytes, "%s:%s", host, port);
		return;
	}
	if (ip_is_any(a) && !r->v6only) {	/* takes both families */
		snprintf(ret, bytes, "*:%s", port);
		return;
	}
	inet_ntop(AF_INET6, a->b, host, sizeof(host));
	snprintf(ret, bytes, "[%s]:%s", host, port);
}
