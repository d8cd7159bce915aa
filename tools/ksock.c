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

/* Kernel's numbers (include/net/tcp_states.h) in ss's words. */
static const char *const tcp_states[] = {
	"UNKNOWN", "ESTAB", "SYN-SENT", "SYN-RECV", "FIN-WAIT-1", "FIN-WAIT-2", "TIME-WAIT",
	"UNCONN", "CLOSE-WAIT", "LAST-ACK", "LISTEN", "CLOSING", "SYN-RECV",
};

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

static bool parse_line(char *line, bool is6, unsigned long inode, struct flow_row *ret)
{
	char local[64], remote[64];
	unsigned long long ino = 0;
	unsigned state, txq, rxq;

	if (sscanf(line, " %*d: %63s %63s %x %x:%x %*s %*s %*s %*s %llu", local, remote, &state,
		   &txq, &rxq, &ino) != 6 || ino != inode)
		return false;
	ret->state = state < n_elems(tcp_states) ? tcp_states[state] : tcp_states[0];
	ret->sendq = txq;
	ret->recvq = rxq;
	ret->family6 = is6;
	return parse_addr(local, is6, &ret->laddr, &ret->lport) &&
	       parse_addr(remote, is6, &ret->raddr, &ret->rport);
}

static bool search(pid_t pid, const char *name, unsigned long inode, struct flow_row *ret)
{
	char path[64], line[512];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/net/%s", pid, name);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = parse_line(line, name[strlen(name) - 1] == '6', inode, ret);
	if (f)
		fclose(f);
	return found;
}

int ksock_find(pid_t pid, int fd, struct flow_row *ret)
{
	static const char *const files[] = { "tcp", "tcp6", "udp", "udp6" };
	char path[64], link[64];
	unsigned long inode;
	ssize_t n;
	size_t i;

	*ret = (struct flow_row){ 0 };
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -ENOENT;
	link[n] = 0;
	if (sscanf(link, "socket:[%lu]", &inode) != 1)
		return -ENOENT;
	for (i = 0; i < n_elems(files); i++)
		if (search(pid, files[i], inode, ret)) {
			ret->proto = i < 2 ? IPPROTO_TCP : IPPROTO_UDP;
			return 0;
		}
	return -ENOENT;
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
