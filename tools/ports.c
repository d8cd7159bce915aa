/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp ports`: where accelerated programs can be reached (S2-CON-01, S2-PORT-01): an entry for each
 * listener and each bound datagram socket of a stack, with its owner and whether he runs, for what
 * arrives is queued whether he does or not. With --blocks the ranges from which a stack takes ports
 * for its own connections, too.
 */
#include "tools/stacks.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "core/tcp/tcb.h"

struct view {
	const struct look *w;
	struct table text, blocks;
	struct json_object *json, *json_blocks;
	struct holders who;
	uint16_t *used[2];	/* --blocks: sockets of the stack at hand by port, TCP's and UDP's */
};

struct row {
	struct flow_row flow;
	bool published;		/* others find it: the agent has it in its directory */
	uint32_t queued, limit;
	const char *unit;
	const char *state;	/* of its owner */
};

/* S2-PORT-04: running, blocked, stopped, dead; of the process that the stack was made for. */
static const char *owner_state(uint32_t pid)
{
	char path[64], line[512], *at = NULL;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	f = fopen(path, "re");
	if (f) {
		at = fgets(line, sizeof(line), f) ? strrchr(line, ')') : NULL;
		fclose(f);
	}
	if (!at || !at[1] || strchr("ZXx", at[2]))
		return "dead";
	return at[2] == 'R' ? "running" : strchr("Tt", at[2]) ? "stopped" : "blocked";
}

static bool wanted(const struct look *w, const struct flow_row *r)
{
	bool is6 = r->family6 && !ip_is4(&r->laddr);

	if ((w->tcp || w->udp) && !(r->proto == IPPROTO_TCP ? w->tcp : w->udp))
		return false;
	return !(w->v4 || w->v6) || (is6 ? w->v6 : w->v4);
}

static bool row_of(const struct sk *sk, struct row *ret)
{
	*ret = (struct row){
		.flow = {
			.family6 = sk->flags & SK_F_FAMILY6, .v6only = sk->flags & SK_F_V6ONLY,
			.laddr = sk->laddr, .lport = sk->lport,
		},
		.published = sk->lease_cookie != 0,
	};
	if (sk->kind == SK_LISTEN) {
		const struct tcp_listen *l = (const struct tcp_listen *)(const void *)sk->proto_area;

		ret->flow.proto = IPPROTO_TCP;
		ret->queued = l->n_accept;
		ret->limit = l->backlog;
		ret->unit = "connections";
		return true;
	}
	if (sk->kind != SK_UDP || !sk->lport)
		return false;
	ret->flow.proto = IPPROTO_UDP;
	ret->queued = sk->rxq_bytes;
	ret->limit = sk->rcvbuf;
	ret->unit = "bytes";
	return true;
}

static void show_text(struct view *v, const struct stack_seen *s, const struct row *r, const struct held *who, size_t n)
{
	FREE char *users = holders_text(who, n);
	char local[96];

	addr_text(&r->flow, false, v->w->numeric, local, sizeof(local));
	table_cell(&v->text, "%s", r->flow.proto == IPPROTO_TCP ? "tcp" : "udp");
	table_cell(&v->text, "%s", local);
	table_cell(&v->text, "%u", s->info.stack_id);
	table_cell(&v->text, "%u", s->info.pid);
	table_cell(&v->text, "%u", s->info.uid);
	table_cell(&v->text, "%s", r->state);
	table_cell(&v->text, "%u", r->queued);
	table_cell(&v->text, "%u", r->limit);
	table_cell(&v->text, "%s", r->published ? "yes" : "no");
	table_cell(&v->text, "%s", users);
}

static void show_json(struct view *v, const struct stack_seen *s, const struct row *r, const struct held *who, size_t n)
{
	struct json_object *o = json_object_new_object();
	char local[96];

	addr_text(&r->flow, false, true, local, sizeof(local));
	json_object_object_add(o, "netid", json_object_new_string(r->flow.proto == IPPROTO_TCP ? "tcp" : "udp"));
	json_object_object_add(o, "local", json_object_new_string(local));
	json_object_object_add(o, "port", json_object_new_int(r->flow.lport));
	json_object_object_add(o, "stack", json_object_new_int64(s->info.stack_id));
	json_object_object_add(o, "pid", json_object_new_int64(s->info.pid));
	json_object_object_add(o, "comm", json_object_new_string(s->info.comm));
	json_object_object_add(o, "uid", json_object_new_int64(s->info.uid));
	json_object_object_add(o, "state", json_object_new_string(r->state));
	json_object_object_add(o, "queued", json_object_new_int64(r->queued));
	json_object_object_add(o, "limit", json_object_new_int64(r->limit));
	json_object_object_add(o, "unit", json_object_new_string(r->unit));
	json_object_object_add(o, "published", json_object_new_boolean(r->published));
	json_object_object_add(o, "users", holders_json(who, n));
	json_object_array_add(v->json, o);
}

static void show_block(struct view *v, const struct stack_seen *s, const struct port_block *b)
{
	unsigned last = min_u32(b->base + PORT_BLOCK - 1u, UINT16_MAX);
	int n_tcp = 0, n_udp = 0;
	struct json_object *o;

	for (unsigned p = b->base; p <= last; p++) {
		n_tcp += v->used[0][p] != 0;
		n_udp += v->used[1][p] != 0;
	}
	if (!v->json_blocks) {
		table_cell(&v->blocks, "%u-%u", b->base, last);
		table_cell(&v->blocks, "%u", s->info.stack_id);
		table_cell(&v->blocks, "%u", s->info.pid);
		table_cell(&v->blocks, "%s", s->info.comm);
		table_cell(&v->blocks, "%d", n_tcp);
		table_cell(&v->blocks, "%d", n_udp);
		return;
	}
	o = json_object_new_object();
	json_object_object_add(o, "first", json_object_new_int(b->base));
	json_object_object_add(o, "last", json_object_new_int((int)last));
	json_object_object_add(o, "stack", json_object_new_int64(s->info.stack_id));
	json_object_object_add(o, "pid", json_object_new_int64(s->info.pid));
	json_object_object_add(o, "comm", json_object_new_string(s->info.comm));
	json_object_object_add(o, "tcp_used", json_object_new_int(n_tcp));
	json_object_object_add(o, "udp_used", json_object_new_int(n_udp));
	json_object_array_add(v->json_blocks, o);
}

static void show_stack(struct view *v, const struct stack_seen *s)
{
	const char *state = owner_state(s->info.pid);
	uint32_t n = stack_n_socks(&s->map);
	FREE struct sk *sk = calloc(1, sizeof(*sk));
	const struct held *who;
	struct row r;
	size_t n_who;

	must(sk);
	for (int k = 0; k < 2 && v->used[k]; k++)
		memset(v->used[k], 0, (UINT16_MAX + 1) * sizeof(*v->used[k]));
	for (uint32_t i = 1; i < n; i++) {
		stack_copy_sk(&s->map, i, sk);
		if (v->used[0] && sk->kind != SK_FREE && sk->lport)
			v->used[sk->kind == SK_UDP][sk->lport] = 1;
		if (!row_of(sk, &r) || !wanted(v->w, &r.flow))
			continue;
		r.state = state;
		who = holders_of(&v->who, s->seg_ino, sk->self, &n_who);
		if (v->json)
			show_json(v, s, &r, who, n_who);
		else
			show_text(v, s, &r, who, n_who);
	}
	for (uint32_t i = 0; v->w->blocks && i < N_PORT_BLOCKS; i++) {
		struct port_block b = s->map.seg->ports[i];

		if (b.base)
			show_block(v, s, &b);
	}
}

static int finish(struct view *v)
{
	struct json_object *o = v->json;

	if (v->json_blocks) {
		o = json_object_new_object();
		json_object_object_add(o, "ports", v->json);
		json_object_object_add(o, "blocks", v->json_blocks);
	}
	if (o)
		return json_out(o);
	table_print(&v->text);
	if (v->w->blocks) {
		putchar('\n');
		table_print(&v->blocks);
	}
	return EXIT_SUCCESS;
}

static int run(const struct cmd *c, int argc, char **argv)
{
	static const char *const names[] = {
		"NETID", "LOCAL ADDRESS:PORT", "STACK", "PID", "UID", "OWNER", "QUEUED", "LIMIT", "PUBLISHED",
		"PROCESS",
	};
	static const char *const block_names[] = { "PORTS", "STACK", "PID", "PROGRAM", "TCP USED", "UDP USED" };
	struct look w;
	struct view v = { .w = &w };
	struct stacks all;
	int rc;

	if (look_parse(c, argc, argv, "tu46nbH", NULL, &w, &rc))
		return rc;
	rc = stacks_load(c, &all);
	if (rc == 0 && w.pid)
		rc = stacks_of_pid(c, &all, w.pid);
	if (rc) {
		stacks_free(&all);
		return rc;
	}
	if (w.json)
		v.json = json_object_new_array();
	if (w.json && w.blocks)
		v.json_blocks = json_object_new_array();
	for (int k = 0; k < 2 && w.blocks; k++)
		must((v.used[k] = calloc(UINT16_MAX + 1, sizeof(*v.used[k]))) != NULL);
	table_init(&v.text, n_elems(names), 7u << 2 | 3u << 6);
	table_init(&v.blocks, n_elems(block_names), 3u << 1 | 3u << 4);
	if (!w.no_heading) {
		table_heading(&v.text, names);
		table_heading(&v.blocks, block_names);
	}
	holders_load(&v.who);
	for (unsigned i = 0; i < all.n; i++)
		if (!all.of[i]->hidden)
			show_stack(&v, all.of[i]);
	rc = finish(&v);
	table_free(&v.text);
	table_free(&v.blocks);
	free(v.used[0]);
	free(v.used[1]);
	holders_free(&v.who);
	stacks_free(&all);
	return rc;
}

const struct cmd cmd_ports = {
	.name = "ports",
	.args = "[-t] [-u] [-4] [-6] [-n] [-b] [-H] [--json] [PID]",
	.summary = "Lists the ports under which accelerated programs are reached.",
	.help =
	"  PID               that process's stack only\n"
	"  -t, --tcp         TCP only; -u, --udp likewise\n"
	"  -4, --ipv4        IPv4 only; -6, --ipv6 likewise\n"
	"  -n, --numeric     ports as numbers\n"
	"  -b, --blocks      also the ranges from which a stack takes ports for its own connections\n"
	"  -H, --no-header   no headings\n"
	"      --json        for programs; with -b an object of two arrays\n"
	"  -h, --help\n\n"
	"OWNER      the program of the stack: running, blocked, stopped; dead: its surrogate carries on\n"
	"QUEUED     connections to accept, or bytes of datagrams, of at most LIMIT\n"
	"PUBLISHED  peers of this host, and attached interfaces, lead to it\n"
	"Stacks of other users are shown to root only.\n",
	.run = run,
};
