/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `onramp apertures`: the incoming and the outgoing aperture tables of this host's stacks, in the
 * columns of S2-IN-01 and S2-OUT-01 as far as they mean something between two stacks of one host:
 * who may write where, from which position on, under which nonce. Three kinds of row, as there:
 *
 *   data       a connection, a ring of bytes in the writer's pool (the reader has no ring of its own,
 *	        S2-SHQ-03); index is PAIR.CHANNEL, the same at both ends
 *   events     a lane's queue of fixed-size events; index is PAIR
 *   datagrams  a lane's queue of words
 *
 * What one end calls out the other calls in: out.nonce here is in.nonce there (S2-NONCE-01). Read from
 * what each stack believes (its own segment), not from the memory that a peer may have spoilt.
 */
#include "tools/stacks.h"

#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"
#include "core/ap/ap_area.h"

struct row {
	const struct stack_seen *s;
	bool out;
	const char *type;
	uint32_t pair_id, chan;		/* chan 0: a lane */
	uint32_t nonce, seq, pending;
	uint64_t base, size;		/* size 0: there is no memory now */
	bool valid;
	uint32_t peer;
	const struct flow_row *flow;	/* NULL: a lane */
};

struct view {
	const struct look *w;
	struct table text;
	struct json_object *json;
};

static void show_text(struct view *v, const struct row *r)
{
	char local[96] = "-", remote[96] = "-", index[32], nonce[16] = "-", base[24] = "-";

	if (r->flow) {
		addr_text(r->flow, false, v->w->numeric, local, sizeof(local));
		addr_text(r->flow, true, v->w->numeric, remote, sizeof(remote));
		snprintf(nonce, sizeof(nonce), "%08" PRIx32, r->nonce);
		snprintf(index, sizeof(index), "%" PRIu32 ".%" PRIu32, r->pair_id, r->chan);
	} else {
		snprintf(index, sizeof(index), "%" PRIu32, r->pair_id);
	}
	if (r->size)
		snprintf(base, sizeof(base), "0x%" PRIx64, r->base);
	table_cell(&v->text, "%s", r->out ? "out" : "in");
	table_cell(&v->text, "%u", r->s->info.stack_id);
	table_cell(&v->text, "%s", r->s->info.comm);
	table_cell(&v->text, "%s", index);
	table_cell(&v->text, "%s", r->type);
	table_cell(&v->text, "%s", nonce);
	table_cell(&v->text, "%" PRIu32, r->seq);
	table_cell(&v->text, "%s", base);
	table_cell(&v->text, "%" PRIu64, r->size);
	table_cell(&v->text, "%" PRIu32, r->pending);
	table_cell(&v->text, "%s", r->valid ? "yes" : "no");
	table_cell(&v->text, "%" PRIu32, r->peer);
	table_cell(&v->text, "%s", local);
	table_cell(&v->text, "%s", remote);
}

static void show_json(struct view *v, const struct row *r)
{
	struct json_object *o = json_object_new_object();
	char addr[96];

	json_object_object_add(o, "direction", json_object_new_string(r->out ? "out" : "in"));
	json_object_object_add(o, "stack", json_object_new_int64(r->s->info.stack_id));
	json_object_object_add(o, "pid", json_object_new_int64(r->s->info.pid));
	json_object_object_add(o, "comm", json_object_new_string(r->s->info.comm));
	json_object_object_add(o, "type", json_object_new_string(r->type));
	json_object_object_add(o, "pair", json_object_new_int64(r->pair_id));
	json_object_object_add(o, "index", r->flow ? json_object_new_int64(r->chan) : NULL);
	json_object_object_add(o, "nonce", r->flow ? json_object_new_int64(r->nonce) : NULL);
	json_object_object_add(o, "seq", json_object_new_int64(r->seq));
	json_object_object_add(o, "base", r->size ? json_object_new_int64((int64_t)r->base) : NULL);
	json_object_object_add(o, "size", json_object_new_int64((int64_t)r->size));
	json_object_object_add(o, "pending", json_object_new_int64(r->pending));
	json_object_object_add(o, "valid", json_object_new_boolean(r->valid));
	json_object_object_add(o, "peer_stack", json_object_new_int64(r->peer));
	for (int remote = 0; remote < 2 && r->flow; remote++) {
		addr_text(r->flow, remote, true, addr, sizeof(addr));
		json_object_object_add(o, remote ? "remote" : "local", json_object_new_string(addr));
	}
	json_object_array_add(v->json, o);
}

static void show(struct view *v, const struct row *r)
{
	if (v->w->word && strcmp(v->w->word, r->out ? "out" : "in") != 0)
		return;
	if (v->json)
		show_json(v, r);
	else
		show_text(v, r);
}

/* ---- lanes ---------------------------------------------------------------------------------------- */

/* The two queues of a lane that is ours to write (out), or to read. */
static void show_lane(struct view *v, const struct stack_seen *s, const struct ap_slot *p, uint32_t lane, bool out)
{
	uint64_t at = offsetof(struct ap_pair, lane) + lane * sizeof(struct ap_lane);
	struct row r = {
		.s = s, .out = out, .type = "events", .pair_id = p->pair_id, .valid = !p->over, .peer = p->peer,
		.seq = out ? p->wr[lane] : p->rd[lane],
		.base = at + offsetof(struct ap_lane, ev), .size = AP_N_EVENTS * sizeof(struct ap_event),
	};

	show(v, &r);
	r.type = "datagrams";
	r.seq = out ? p->var_wr[lane] : p->var_rd[lane];
	r.base = at + offsetof(struct ap_lane, var);
	r.size = AP_VAR_WORDS * sizeof(uint32_t);
	show(v, &r);
}

static void show_lanes(struct view *v, const struct stack_seen *s)
{
	uint32_t n = min_u32(peek32(&s->map.seg->n_ap), min_u32(s->map.n_pairs, N_PAIRS));

	for (uint32_t i = 0; i < n; i++) {
		struct ap_slot p = s->map.seg->ap[i];

		for (uint32_t lane = 0; lane < 2 && p.pair_id; lane++) {
			if (p.is_self || lane == (p.side & 1))
				show_lane(v, s, &p, lane, true);
			if (p.is_self || lane != (p.side & 1))
				show_lane(v, s, &p, lane, false);
		}
	}
}

/* ---- connections ------------------------------------------------------------------------------------ */

static bool is_valid(const struct stack_seen *s, const struct ap_slot *p, const struct ap *a)
{
	const struct ap_table *t = &s->map.ap_tables[a->slot & (s->map.n_pairs - 1)];
	const struct ap_chan_own *own = &t->chan[a->side & 1][a->chan & (AP_N_CHANS - 1)];

	return p->pair_id && !p->over && !(a->flags & AP_F_DEAD) && peek32(&own->nonce) == a->nonce;
}

static void set_ring(struct row *r, uint32_t side, const struct ap_ring_at *at)
{
	r->size = at->shift && at->shift <= AP_MAX_SHIFT ? 1ull << at->shift : 0;
	r->base = AP_POOL_OFF + ((uint64_t)(side & 1) * AP_POOL_PAGES + at->page) * AP_PAGE;
}

static void show_conn(struct view *v, const struct stack_seen *s, const struct sk *sk)
{
	const struct ap *a = ap_of_const(sk);
	struct ap_slot p = s->map.seg->ap[a->slot % N_PAIRS];
	struct flow_row flow = {
		.proto = IPPROTO_TCP, .family6 = sk->flags & SK_F_FAMILY6, .v6only = sk->flags & SK_F_V6ONLY,
		.laddr = sk->laddr, .raddr = sk->raddr, .lport = sk->lport, .rport = sk->rport,
	};
	struct row r = {
		.s = s, .type = "data", .pair_id = p.pair_id, .chan = a->chan, .nonce = a->nonce,
		.valid = is_valid(s, &p, a), .peer = p.peer, .flow = &flow,
	};

	r.out = true;
	r.seq = a->wr;
	r.pending = a->wr - a->rd_seen;
	set_ring(&r, a->side, &a->out);
	show(v, &r);
	r.out = false;
	r.seq = a->rd;
	r.pending = sk->rxq_bytes;
	set_ring(&r, ~a->side, &a->in);
	show(v, &r);
}

static void show_stack(struct view *v, const struct stack_seen *s)
{
	uint32_t n = stack_n_socks(&s->map);
	FREE struct sk *sk = calloc(1, sizeof(*sk));

	must(sk);
	show_lanes(v, s);
	for (uint32_t i = 1; i < n; i++) {
		stack_copy_sk(&s->map, i, sk);
		if (sk->kind == SK_AP)
			show_conn(v, s, sk);
	}
}

static int run(const struct cmd *c, int argc, char **argv)
{
	static const char *const words[] = { "in", "out", NULL };
	static const char *const names[] = {
		"DIR", "STACK", "PROGRAM", "INDEX", "TYPE", "NONCE", "SEQ", "BASE", "SIZE", "PENDING", "VALID", "PEER",
		"LOCAL", "REMOTE",
	};
	struct look w;
	struct view v = { .w = &w };
	struct stacks all;
	int rc;

	if (look_parse(c, argc, argv, "nH", words, &w, &rc))
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
	table_init(&v.text, n_elems(names), 1u << 1 | 1u << 3 | 0xfu << 6 | 1u << 11);
	if (!w.no_heading)
		table_heading(&v.text, names);
	for (unsigned i = 0; i < all.n; i++)
		if (!all.of[i]->hidden)
			show_stack(&v, all.of[i]);
	if (v.json)
		rc = json_out(v.json);
	else
		table_print(&v.text);
	table_free(&v.text);
	stacks_free(&all);
	return rc;
}

const struct cmd cmd_apertures = {
	.name = "apertures",
	.args = "[-n] [-H] [--json] [in | out] [PID]",
	.summary = "Lists the memory through which stacks of this host reach each other.",
	.help =
	"  in, out           that direction only; PID: that process's stack only\n"
	"  -n, --numeric     ports as numbers\n"
	"  -H, --no-header   no heading\n"
	"      --json        for programs; addresses are numeric\n"
	"  -h, --help\n\n"
	"INDEX    PAIR.CHANNEL of a connection, or PAIR: the same at both ends\n"
	"TYPE     data: a connection's ring; events, datagrams: the queues of a pair\n"
	"NONCE    the connection's, told when it was made: out here is in there\n"
	"SEQ      the next byte, event or word that is written (out) or read (in)\n"
	"BASE     where its memory begins in the pair's, SIZE in bytes; - and 0: it has none now\n"
	"PENDING  bytes written that the peer is not known to have read; that have come and were not read\n"
	"PEER     the stack at the other end; that of one's own is a connection with oneself\n"
	"Stacks of other users are shown to root only.\n",
	.run = run,
};
