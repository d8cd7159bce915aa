/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp ss`: the sockets of accelerated programs, in the columns of ss(8), and who serves
 * each. Two sources:
 *
 *   segments   the agent hands out each stack's, read-only; sockets are copied slot by slot.
 *              Their owner writes while we read, so a row may mix two moments; it may also
 *              lie, so nothing read decides what is read next, but for the slot count, which
 *              is bounded by the private geometry.
 *   fd tables  name the processes that hold a socket, and the sockets that the kernel serves.
 */
#include "tools/tool.h"

#include <errno.h>
#include <getopt.h>
#include <json-c/json.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "tools/stacks.h"

struct want {
	bool tcp, udp;		/* neither: both */
	bool listening, all;
	bool v4, v6;		/* neither: both */
	bool numeric, json, no_heading;
};

struct view {
	const struct want *w;
	struct table text;
	struct json_object *json;
	struct holders who;
};

/* In the order of enum tcp_state (core/tcp/tcp.h), in ss's words. */
static const char *const state_words[] = {
	"UNCONN", "LISTEN", "SYN-SENT", "SYN-RECV", "ESTAB", "FIN-WAIT-1", "FIN-WAIT-2",
	"CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
};
#define STATE_ESTAB 4

static bool wanted(const struct want *w, const struct flow_row *r)
{
	bool passive = strcmp(r->state, "LISTEN") == 0 || strcmp(r->state, "UNCONN") == 0;
	bool passing = strcmp(r->state, "TIME-WAIT") == 0 || strcmp(r->state, "SYN-RECV") == 0;
	bool is6 = r->family6 && !(ip_is4(&r->laddr) && ip_is4(&r->raddr));

	if ((w->tcp || w->udp) && !(r->proto == IPPROTO_TCP ? w->tcp : w->udp))
		return false;
	if ((w->v4 || w->v6) && !(is6 ? w->v6 : w->v4))
		return false;
	return w->all || (w->listening ? passive : !passive && !passing);
}

static void show_text(struct view *v, const struct flow_row *r, const struct held *who, size_t n,
		      const char *provider)
{
	char local[96], remote[96];
	FREE char *users = holders_text(who, n);

	addr_text(r, false, v->w->numeric, local, sizeof(local));
	addr_text(r, true, v->w->numeric, remote, sizeof(remote));
	table_cell(&v->text, "%s", r->proto == IPPROTO_TCP ? "tcp" : "udp");
	table_cell(&v->text, "%s", r->state);
	table_cell(&v->text, "%llu", (unsigned long long)r->recvq);
	table_cell(&v->text, "%llu", (unsigned long long)r->sendq);
	table_cell(&v->text, "%s", local);
	table_cell(&v->text, "%s", remote);
	table_cell(&v->text, "%s", users);
	table_cell(&v->text, "%s", provider);
}

static void show_json(struct view *v, const struct flow_row *r, const struct held *who, size_t n,
		      const char *provider)
{
	struct json_object *o = json_object_new_object();
	char local[96], remote[96];

	addr_text(r, false, true, local, sizeof(local));
	addr_text(r, true, true, remote, sizeof(remote));
	json_object_object_add(o, "netid", json_object_new_string(r->proto == IPPROTO_TCP ? "tcp" : "udp"));
	json_object_object_add(o, "state", json_object_new_string(r->state));
	json_object_object_add(o, "recv_q", json_object_new_uint64(r->recvq));
	json_object_object_add(o, "send_q", json_object_new_uint64(r->sendq));
	json_object_object_add(o, "local", json_object_new_string(local));
	json_object_object_add(o, "peer", json_object_new_string(remote));
	json_object_object_add(o, "provider", json_object_new_string(provider));
	json_object_object_add(o, "users", holders_json(who, n));
	json_object_array_add(v->json, o);
}

static void show(struct view *v, const struct flow_row *r, const struct held *who, size_t n,
		 const char *provider)
{
	if (!wanted(v->w, r))
		return;
	if (v->json)
		show_json(v, r, who, n, provider);
	else
		show_text(v, r, who, n, provider);
}

/* One socket of a segment, copied, as a row. False: nothing to show. */
static bool sk_row(const struct sk *sk, uint32_t n_embryos, struct flow_row *ret)
{
	*ret = (struct flow_row){
		.family6 = sk->flags & SK_F_FAMILY6, .v6only = sk->flags & SK_F_V6ONLY,
		.laddr = sk->laddr, .raddr = sk->raddr, .lport = sk->lport, .rport = sk->rport,
		.recvq = sk->rxq_bytes, .sendq = sk->txq_bytes,
	};
	switch (sk->kind) {
	case SK_TCP:
	case SK_AP:
		ret->proto = IPPROTO_TCP;
		ret->state = sk->state < n_elems(state_words) ? state_words[sk->state] : "UNKNOWN";
		return true;
	case SK_LISTEN:
		ret->proto = IPPROTO_TCP;
		ret->state = "LISTEN";
		ret->recvq = n_embryos;	/* as for the kernel's: connections to accept */
		return true;
	case SK_UDP:
		ret->proto = IPPROTO_UDP;
		ret->state = sk->flags & SK_F_CONNECTED ? "ESTAB" : "UNCONN";
		return true;
	default:
		return false;
	}
}

static void show_segment(struct view *v, const struct stack_map *map, uint64_t seg_ino)
{
	uint32_t n = stack_n_socks(map), slot;
	const struct held *who;
	FREE uint32_t *embryos = calloc((size_t)map->sk_mask + 1, sizeof(*embryos));
	FREE struct sk *sk = calloc(1, sizeof(*sk));
	struct flow_row row;
	size_t n_who;

	must(embryos && sk);
	for (slot = 1; slot < n; slot++) {
		stack_copy_sk(map, slot, sk);
		if ((sk->kind == SK_TCP || sk->kind == SK_AP) && (sk->flags & SK_F_EMBRYO) && sk->state >= STATE_ESTAB)
			embryos[sk->parent & map->sk_mask]++;
	}
	for (slot = 1; slot < n; slot++) {
		stack_copy_sk(map, slot, sk);
		if (!sk_row(sk, embryos[slot], &row))
			continue;
		who = holders_of(&v->who, seg_ino, sk->self, &n_who);
		show(v, &row, who, n_who, sk->kind == SK_AP ? "aperture" : "onramp");
	}
}

/* Sockets of accelerated programs that the kernel serves after all. */
static void show_kernel(struct view *v)
{
	struct flow_row row;
	struct held who;
	unsigned i, fd;

	for (i = 0; i < v->who.n_tabs; i++) {
		const struct proc_tab *p = &v->who.tabs[i];

		for (fd = 0; p->same_netns && fd < p->n_ents; fd++) {
			if (p->ents[fd].kind != FD_PLAIN || ksock_find(p->pid, (int)fd, &row))
				continue;
			who = (struct held){ 0, 0, p->pid, (int)fd, p->comm };
			show(v, &row, &who, 1, "kernel");
		}
	}
}

static int parse(const struct cmd *c, int argc, char **argv, struct want *w)
{
	static const struct option longs[] = {
		{ "tcp", no_argument, NULL, 't' }, { "udp", no_argument, NULL, 'u' },
		{ "listening", no_argument, NULL, 'l' }, { "all", no_argument, NULL, 'a' },
		{ "numeric", no_argument, NULL, 'n' }, { "processes", no_argument, NULL, 'p' },
		{ "ipv4", no_argument, NULL, '4' }, { "ipv6", no_argument, NULL, '6' },
		{ "no-header", no_argument, NULL, 'H' }, { "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' }, { 0 },
	};
	int o;

	opterr = 0;
	while ((o = getopt_long(argc, argv, ":tulanp46Hjh", longs, NULL)) != -1) {
		switch (o) {
		case 't': w->tcp = true; break;
		case 'u': w->udp = true; break;
		case 'l': w->listening = true; break;
		case 'a': w->all = true; break;
		case 'n': w->numeric = true; break;
		case 'p': break;	/* always */
		case '4': w->v4 = true; break;
		case '6': w->v6 = true; break;
		case 'H': w->no_heading = true; break;
		case 'j': w->json = true; break;
		case 'h': exit(print_help(c));
		default: return bad_option(c, argv);
		}
	}
	return optind < argc ? misused(c, "filters such as '%s' are ss's, not ours", argv[optind]) : 0;
}

static int run(const struct cmd *c, int argc, char **argv)
{
	static const char *const names[] = {
		"Netid", "State", "Recv-Q", "Send-Q", "Local Address:Port", "Peer Address:Port",
		"Process", "Provider",
	};
	struct want w = { 0 };
	struct view v = { .w = &w };
	struct stacks all;
	int rc = parse(c, argc, argv, &w);

	if (rc)
		return rc;
	rc = stacks_load(c, &all);
	if (rc)
		return rc;
	if (w.json)
		v.json = json_object_new_array();
	table_init(&v.text, n_elems(names), 1u << 2 | 1u << 3);
	if (!w.no_heading)
		table_heading(&v.text, names);
	holders_load(&v.who);
	for (unsigned i = 0; i < all.n; i++)
		show_segment(&v, &all.of[i]->map, all.of[i]->seg_ino);
	show_kernel(&v);
	if (v.json)
		rc = json_out(v.json);
	else
		table_print(&v.text);
	table_free(&v.text);
	holders_free(&v.who);
	stacks_free(&all);
	return rc;
}

const struct cmd cmd_ss = {
	.name = "ss",
	.args = "[-t] [-u] [-l | -a] [-4] [-6] [-n] [-H] [--json]",
	.summary = "Lists sockets of accelerated programs, in the columns of ss.",
	.help =
	"  -t, --tcp         TCP only\n"
	"  -u, --udp         UDP only\n"
	"  -l, --listening   listeners, instead of connections\n"
	"  -a, --all         listeners, connections, and those that are closing\n"
	"  -4, --ipv4        IPv4 only; -6, --ipv6 likewise\n"
	"  -n, --numeric     ports as numbers\n"
	"  -H, --no-header   no heading\n"
	"      --json        for programs; addresses are numeric\n"
	"  -h, --help\n\n"
	"Provider says who serves the socket: `onramp`, or `kernel`: `onramp why PID` says why.\n"
	"Stacks of other users are shown to root only.\n",
	.run = run,
};
