/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The explorer (mc.h): depth first, by copying. A state is the actors' table, the regions and the
 * live part of each actor's stack; it is put back by memcpy(), for stacks lie where they lay.
 * States seen are known by 96 bits of hash. Steps that no other actor can notice (a choice, a
 * fence behind an empty buffer) are taken at once, alone.
 */
#include "test/model/mc.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/must.h"

#define STACK_BYTES 16384
#define N_BUF	    8
#define DEAD_BYTES  1024
#define N_REGIONS   40
#define N_MOVES	    32
#define N_PRIVATE   10000	/* accesses without a step: an actor that spins on its own buffer */

enum pending { AT_STEP, AT_DRAIN, AT_ROOM, AT_FENCE, AT_WAIT, AT_CHOICE, AT_END };

/* On its way to memory. Or a veil: its owner has the new value in memory, where plain code reads it,
 * and the others still see the old one, which is `v`. */
struct stored {
	void *p;
	uint64_t v;
	uint32_t bytes;
	uint16_t release, veil;
};

struct actor {
	char *sp;
	enum pending at;
	uint32_t n_buf, n_choices, choice;
	bool (*until)(int arg);
	int arg;
	uint32_t pad;
	struct stored buf[N_BUF];
};

struct move { uint8_t who, flush, nth, pad; };	/* flush: entry nth; else a step, with choice nth */

struct frame {
	uint32_t id, n_moves, next;
	struct move moves[N_MOVES];
	size_t at;		/* of its copy in mc.copies */
};

struct seen { uint64_t a; uint32_t b, number; };	/* number: the state's, + 1 */
struct edge { uint32_t from, to; };
struct origin { uint32_t from; struct move by; };	/* how a state was first met */
struct region { const char *name; char *p; uint32_t bytes, ignored, writers; int (*holder)(void); };

static struct {
	const struct mc_model *m;
	const struct mc_machine *on;
	struct region region[N_REGIONS], guarded[N_REGIONS];
	const void *fresh;
	uint32_t (*fresh_number)(int me);
	uint32_t n_guarded, n_regions, n_actors, cur, n_private;
	const char *broken;
	bool telling, inside;	/* inside: an actor runs */
	char *sched_sp;

	struct frame *frames;
	uint32_t depth, frames_cap;
	char *copies;
	size_t copies_len, copies_cap;
	struct seen *seen;
	uint32_t seen_mask, n_seen;
	struct edge *edges;
	uint32_t n_edges, edges_cap;
	struct origin *origins;
	uint32_t origins_cap;
	uint32_t *ends, n_ends, ends_cap;
	struct move *path;	/* of the last that broke */
	uint32_t n_path;
} mc;

static struct actor actors[MC_ACTORS];
static char stacks[MC_ACTORS][STACK_BYTES] __attribute__((aligned(64)));

static void *grow(void *p, uint32_t n, uint32_t *cap, size_t each)
{
	if (n < *cap)
		return p;
	*cap = *cap ? *cap * 2 : 1024;
	p = realloc(p, (size_t)*cap * each);
	must(p);
	return p;
}

/* ---- actors: stacks of their own ------------------------------------------------------------------ */

#if defined(__x86_64__)
void mc_switch(char **save, char *to);
/* What the calling convention says a call keeps, and the stack pointer: no more is needed, and no
 * more makes two states differ. */
__asm__(".text\n.globl mc_switch\n.type mc_switch,@function\nmc_switch:\n"
	"	pushq %rbp\n	pushq %rbx\n	pushq %r12\n	pushq %r13\n	pushq %r14\n	pushq %r15\n"
	"	movq %rsp, (%rdi)\n	movq %rsi, %rsp\n"
	"	popq %r15\n	popq %r14\n	popq %r13\n	popq %r12\n	popq %rbx\n	popq %rbp\n"
	"	ret\n.size mc_switch,.-mc_switch\n");

static void actor_main(void);

static char *stack_begin(char *top)
{
	void **sp = (void **)(void *)top;

	*--sp = NULL;			/* as if somebody had called actor_main() */
	*--sp = (void *)(uintptr_t)actor_main;
	for (int i = 0; i < 6; i++)
		*--sp = NULL;
	return (char *)sp;
}
#elif defined(__aarch64__)
void mc_switch(char **save, char *to);
__asm__(".text\n.globl mc_switch\n.type mc_switch,%function\nmc_switch:\n"
	"	sub sp, sp, #160\n"
	"	stp x19, x20, [sp]\n	stp x21, x22, [sp, #16]\n	stp x23, x24, [sp, #32]\n"
	"	stp x25, x26, [sp, #48]\n	stp x27, x28, [sp, #64]\n	stp x29, x30, [sp, #80]\n"
	"	stp d8, d9, [sp, #96]\n	stp d10, d11, [sp, #112]\n"
	"	stp d12, d13, [sp, #128]\n	stp d14, d15, [sp, #144]\n"
	"	mov x9, sp\n	str x9, [x0]\n	mov sp, x1\n"
	"	ldp x19, x20, [sp]\n	ldp x21, x22, [sp, #16]\n	ldp x23, x24, [sp, #32]\n"
	"	ldp x25, x26, [sp, #48]\n	ldp x27, x28, [sp, #64]\n	ldp x29, x30, [sp, #80]\n"
	"	ldp d8, d9, [sp, #96]\n	ldp d10, d11, [sp, #112]\n"
	"	ldp d12, d13, [sp, #128]\n	ldp d14, d15, [sp, #144]\n"
	"	add sp, sp, #160\n	ret\n.size mc_switch,.-mc_switch\n");

static void actor_main(void);

static char *stack_begin(char *top)
{
	void **sp = (void **)(void *)(top - 160);

	memset(sp, 0, 160);
	sp[11] = (void *)(uintptr_t)actor_main;
	return (char *)sp;
}
#endif

/* Back to the explorer, until it chooses this actor's next step. */
static void pause_at(enum pending at)
{
	struct actor *a = &actors[mc.cur];

	a->at = at;
	mc.n_private = 0;
	mc_switch(&a->sp, mc.sched_sp);
}

static void actor_main(void)
{
	mc.m->actor[mc.cur]((int)mc.cur);
	for (;;)
		pause_at(AT_END);
}

void mc_fail(const char *why)
{
	if (!mc.broken)
		mc.broken = why;
	pause_at(AT_END);
}

void onramp_panic(const char *file, int line, const char *what)
{
	if (mc.inside)
		mc_fail(what);
	fprintf(stderr, "%s:%d: %s\n", file, line, what);
	abort();
}

/* ---- words -------------------------------------------------------------------------------------------- */

void mc_region(const char *name, void *p, uint32_t bytes)
{
	must(mc.n_regions < N_REGIONS && bytes % 8 == 0);
	mc.region[mc.n_regions++] = (struct region){ name, p, bytes, 0, 0, NULL };
}

void mc_ignore(const void *p, uint32_t bytes)
{
	must(mc.n_regions < N_REGIONS);
	mc.region[mc.n_regions++] = (struct region){ "", (char *)(uintptr_t)p, bytes, 1, 0, NULL };
}

void mc_guarded(const void *p, uint32_t bytes, int (*holder)(void))
{
	must(mc.n_guarded < N_REGIONS);
	mc.guarded[mc.n_guarded++] = (struct region){ "", (char *)(uintptr_t)p, bytes, 0, 0, holder };
}

void mc_fresh(const void *p, uint32_t (*number)(int me))
{
	mc.fresh = p;
	mc.fresh_number = number;
}

void mc_written_by(const void *p, uint32_t bytes, uint32_t who)
{
	must(mc.n_guarded < N_REGIONS);
	mc.guarded[mc.n_guarded++] = (struct region){ "", (char *)(uintptr_t)p, bytes, 0, who, NULL };
}

void mc_private(const void *p, uint32_t bytes) { mc_written_by(p, bytes, 0); }

static const struct region *guard_of(const void *p)
{
	const char *c = p;

	for (uint32_t i = 0; i < mc.n_guarded; i++)
		if (c >= mc.guarded[i].p && c < mc.guarded[i].p + mc.guarded[i].bytes)
			return &mc.guarded[i];
	return NULL;
}

static bool is_private(const struct region *g) { return g && !g->holder && !g->writers; }
static bool is_guarded(const struct region *g) { return g && g->holder; }

static bool all_ended(uint32_t who)
{
	for (; who; who &= who - 1)
		if (actors[__builtin_ctz(who)].at != AT_END || actors[__builtin_ctz(who)].n_buf)
			return false;
	return true;
}

static bool is_ours_alone(const struct region *g)
{
	if (is_guarded(g))
		return g->holder() == (int)mc.cur;
	return g && all_ended(g->writers & ~(1u << mc.cur));
}

static const struct region *region_of(const void *p)
{
	const char *c = p;

	for (uint32_t i = 0; i < mc.n_regions; i++)
		if (c >= mc.region[i].p && c < mc.region[i].p + mc.region[i].bytes)
			return &mc.region[i];
	must(!"a word that no model knows");
	return NULL;
}

static uint64_t word_get(const void *p, uint32_t bytes)
{
	uint64_t v = 0;

	must(bytes == 4 || bytes == 8);
	memcpy(&v, p, bytes);
	return v;
}

static void word_set(void *p, uint32_t bytes, uint64_t v)
{
	memcpy(p, &v, bytes);
}

/* As this actor sees it in memory. */
static uint64_t word_seen(const void *p, uint32_t bytes)
{
	for (uint32_t w = 0; w < mc.n_actors; w++)
		for (uint32_t i = 0; w != mc.cur && i < actors[w].n_buf; i++)
			if (actors[w].buf[i].veil && actors[w].buf[i].p == p)
				return actors[w].buf[i].v;
	return word_get(p, bytes);
}

static void tell(const char *what, const void *p, uint64_t v, const char *in)
{
	const struct region *r;

	if (!mc.telling)
		return;
	r = p ? region_of(p) : NULL;
	printf("  %-10s %-8s %s%s", mc.m->actor_name[mc.cur], what, in ? in : "", in ? ": " : "");
	if (r)
		printf("%s+%u = %#llx", r->name, (unsigned)((const char *)p - r->p), (unsigned long long)v);
	printf("\n");
}

static bool is_mutant(enum mc_op op, const char *in, const void *p)
{
	return mc.on->op == op && (!mc.on->at || mc.on->at == p) && (!mc.on->in[0] || !strcmp(mc.on->in, in));
}

uint64_t mc_load(const void *p, uint32_t bytes, int order, const char *in)
{
	struct actor *a = &actors[mc.cur];
	uint64_t v;

	(void)order;
	if (region_of(p)->ignored)
		return word_get(p, bytes);
	for (uint32_t i = a->n_buf; i; i--)
		if (a->buf[i - 1].p == p && !a->buf[i - 1].veil) {
			if (++mc.n_private > N_PRIVATE)
				mc_fail("spins on a word that only it has seen");
			return a->buf[i - 1].v;
		}
	if (is_ours_alone(guard_of(p)))
		return word_get(p, bytes);
	pause_at(AT_STEP);
	/* Still not in the buffer: only its owner adds to it. */
	v = word_seen(p, bytes);
	tell("reads", p, v, in);
	return v;
}

void mc_store(void *p, uint32_t bytes, uint64_t v, int order, const char *in)
{
	struct actor *a = &actors[mc.cur];
	bool veil;

	if (region_of(p)->ignored)
		return;
	if (is_private(guard_of(p))) {
		word_set(p, bytes, v);
		return;
	}
	if (order == memory_order_seq_cst && !is_mutant(MC_UNFENCED, in, p)) {
		mc_swap(p, bytes, v, in);
		return;
	}
	if (a->n_buf == N_BUF)
		pause_at(AT_ROOM);
	tell("stores", p, v, in);
	veil = is_guarded(guard_of(p));
	a->buf[a->n_buf++] = (struct stored){ p, veil ? word_get(p, bytes) : v, bytes,
					      order != memory_order_relaxed, veil };
	if (veil)
		word_set(p, bytes, v);
}

void mc_fence(int order, const char *in)
{
	if (order != memory_order_seq_cst || is_mutant(MC_UNFENCED, in, NULL) || !actors[mc.cur].n_buf)
		return;
	pause_at(AT_FENCE);
	tell("fence", NULL, 0, in);
}

uint64_t mc_swap(void *p, uint32_t bytes, uint64_t v, const char *in)
{
	uint64_t old;

	must(!region_of(p)->ignored);
	if (is_mutant(MC_SPLIT, in, p)) {
		old = mc_load(p, bytes, memory_order_relaxed, in);
		mc_store(p, bytes, v, memory_order_relaxed, in);
		return old;
	}
	pause_at(AT_DRAIN);
	old = word_get(p, bytes);
	word_set(p, bytes, v);
	tell("swaps", p, v, in);
	return old;
}

uint64_t mc_add(void *p, uint32_t bytes, uint64_t v, const char *in)
{
	uint64_t old;

	if (p == mc.fresh)
		return mc.fresh_number((int)mc.cur) - 1;
	if (is_mutant(MC_SPLIT, in, p)) {
		old = mc_load(p, bytes, memory_order_relaxed, in);
		mc_store(p, bytes, old + v, memory_order_relaxed, in);
		return old;
	}
	pause_at(AT_DRAIN);
	old = word_get(p, bytes);
	word_set(p, bytes, old + v);
	tell("adds", p, old + v, in);
	return old;
}

bool mc_cas(void *p, uint32_t bytes, void *expected, uint64_t v, const char *in)
{
	uint64_t want = word_get(expected, bytes), old;

	if (is_mutant(MC_SPLIT, in, p) || (is_mutant(MC_LAZY, in, p) && want == v)) {
		old = mc_load(p, bytes, memory_order_relaxed, in);
		if (old == want && want != v)
			mc_store(p, bytes, v, memory_order_relaxed, in);
	} else {
		pause_at(AT_DRAIN);
		old = word_get(p, bytes);
		if (old == want)
			word_set(p, bytes, v);
		tell(old == want ? "swaps" : "misses", p, old == want ? v : old, in);
	}
	word_set(expected, bytes, old);
	return old == want;
}

void mc_kernel(void)
{
	pause_at(AT_DRAIN);
	tell("kernel", NULL, 0, NULL);
}

void mc_wait(bool (*until)(int arg), int arg)
{
	actors[mc.cur].until = until;
	actors[mc.cur].arg = arg;
	pause_at(AT_WAIT);
	tell("goes on", NULL, 0, NULL);
}

uint32_t mc_choose(uint32_t n)
{
	actors[mc.cur].n_choices = n;
	pause_at(AT_CHOICE);
	if (mc.telling)
		printf("  %-10s chooses %u of %u\n", mc.m->actor_name[mc.cur], actors[mc.cur].choice, n);
	return actors[mc.cur].choice;
}

/* ---- moves ------------------------------------------------------------------------------------------------ */

static bool can_step(const struct actor *a)
{
	switch (a->at) {
	case AT_STEP:	return true;
	case AT_ROOM:	return a->n_buf < N_BUF;
	case AT_DRAIN:
	case AT_FENCE:	return a->n_buf == 0;
	case AT_WAIT:	return a->n_buf == 0 && a->until(a->arg);
	default:	return false;
	}
}

/* K2: may the nth store go to memory before those in front of it? */
static bool can_flush(const struct actor *a, uint32_t nth)
{
	if (!nth)
		return true;
	if (!mc.on->weak || a->buf[nth].release)
		return false;
	for (uint32_t i = 0; i < nth; i++)
		if (a->buf[i].p == a->buf[nth].p)
			return false;
	return true;
}

static uint32_t list_moves(struct move *ret)
{
	uint32_t n = 0;

	for (uint32_t w = 0; w < mc.n_actors; w++) {
		const struct actor *a = &actors[w];

		/* Nobody else can notice these: no other order need be tried. */
		if (a->at == AT_CHOICE) {
			for (n = 0; n < a->n_choices; n++)
				ret[n] = (struct move){ .who = (uint8_t)w, .nth = (uint8_t)n };
			return n;
		}
		if (a->at == AT_FENCE && !a->n_buf) {
			ret[0] = (struct move){ .who = (uint8_t)w };
			return 1;
		}
	}
	for (uint32_t w = 0; w < mc.n_actors; w++) {
		const struct actor *a = &actors[w];

		if (can_step(a))
			ret[n++] = (struct move){ .who = (uint8_t)w };
		for (uint32_t i = 0; i < a->n_buf && n < N_MOVES - 1; i++)
			if (can_flush(a, i))
				ret[n++] = (struct move){ .who = (uint8_t)w, .flush = 1, .nth = (uint8_t)i };
	}
	must(n < N_MOVES);
	return n;
}

static void make_move(struct move v)
{
	struct actor *a = &actors[v.who];
	struct stored s;

	mc.cur = v.who;
	if (v.flush) {
		s = a->buf[v.nth];
		if (!s.veil)
			word_set(s.p, s.bytes, s.v);
		a->n_buf--;
		memmove(&a->buf[v.nth], &a->buf[v.nth + 1], (a->n_buf - v.nth) * sizeof(s));
		tell("  memory", s.p, s.v, NULL);
		return;
	}
	a->choice = v.nth;
	/* What earlier calls left below is dead; were it left, it would be part of later frames. */
	memset(a->sp - DEAD_BYTES, 0, DEAD_BYTES);
	mc.inside = true;
	mc_switch(&mc.sched_sp, a->sp);
	mc.inside = false;
	a->choice = 0;
}

/* ---- states: copied, put back, known again ------------------------------------------------------------------ */

static char *stack_top(uint32_t w) { return stacks[w] + STACK_BYTES; }

#define ACTOR_HEAD offsetof(struct actor, buf)

static char *put(char *to, const void *p, size_t n) { return (char *)memcpy(to, p, n) + n; }

static const char *get(void *p, const char *from, size_t n)
{
	memcpy(p, from, n);
	return from + n;
}

static size_t state_save(char *to)
{
	char *at = to;

	for (uint32_t i = 0; i < mc.n_regions; i++)
		if (!mc.region[i].ignored)
			at = put(at, mc.region[i].p, mc.region[i].bytes);
	for (uint32_t w = 0; w < mc.n_actors; w++) {
		const struct actor *a = &actors[w];

		at = put(at, a, ACTOR_HEAD + a->n_buf * sizeof(a->buf[0]));
		/* One that is done has nothing more to remember. */
		if (a->at != AT_END)
			at = put(at, a->sp, (size_t)(stack_top(w) - a->sp));
	}
	return (size_t)(at - to);
}

static void state_load(const char *at)
{
	for (uint32_t i = 0; i < mc.n_regions; i++)
		if (!mc.region[i].ignored)
			at = get(mc.region[i].p, at, mc.region[i].bytes);
	for (uint32_t w = 0; w < mc.n_actors; w++) {
		struct actor *a = &actors[w];

		at = get(a, at, ACTOR_HEAD);
		at = get(a->buf, at, a->n_buf * sizeof(a->buf[0]));
		if (a->at != AT_END)
			at = get(a->sp, at, (size_t)(stack_top(w) - a->sp));
	}
}

#define STATE_MAX (sizeof(actors) + sizeof(stacks) + 4096)

static void hash_state(const char *p, size_t n, uint64_t *ret_a, uint32_t *ret_b)
{
	uint64_t a = 0x9e3779b97f4a7c15ull, b = 0xc2b2ae3d27d4eb4full, w;

	for (size_t i = 0; i < n; i += 8) {
		memcpy(&w, p + i, 8);
		a = (a ^ w) * 0xff51afd7ed558ccdull;
		a ^= a >> 32;
		b = (b + w) * 0xc4ceb9fe1a85ec53ull;
		b = b >> 29 | b << 35;
	}
	*ret_a = a;
	*ret_b = (uint32_t)(b >> 32);
}

static struct seen *seen_slot(uint64_t a, uint32_t b)
{
	uint32_t i = (uint32_t)a & mc.seen_mask;

	while (mc.seen[i].number && (mc.seen[i].a != a || mc.seen[i].b != b))
		i = (i + 1) & mc.seen_mask;
	return &mc.seen[i];
}

static void seen_grow(void)
{
	struct seen *old = mc.seen;
	uint32_t n = mc.seen ? mc.seen_mask + 1 : 0;

	mc.seen_mask = n ? 2 * n - 1 : (1u << 16) - 1;
	mc.seen = calloc((size_t)mc.seen_mask + 1, sizeof(*mc.seen));
	must(mc.seen);
	for (uint32_t i = 0; i < n; i++)
		if (old[i].number)
			*seen_slot(old[i].a, old[i].b) = old[i];
	free(old);
}

/* The state's number; true if it is new. */
static bool state_note(const char *copy, size_t n, uint32_t *ret_id)
{
	struct seen *s;
	uint64_t a;
	uint32_t b;

	if (2 * mc.n_seen >= mc.seen_mask)
		seen_grow();
	hash_state(copy, n, &a, &b);
	s = seen_slot(a, b);
	*ret_id = s->number - 1;
	if (s->number)
		return false;
	*ret_id = mc.n_seen++;
	*s = (struct seen){ a, b, mc.n_seen };
	return true;
}

/* ---- exploring -------------------------------------------------------------------------------------------------- */

static void begin(void)
{
	memset(actors, 0, sizeof(actors));
	memset(stacks, 0, sizeof(stacks));
	mc.broken = NULL;
	mc.m->reset();
	for (mc.n_actors = 0; mc.n_actors < MC_ACTORS && mc.m->actor[mc.n_actors]; mc.n_actors++)
		actors[mc.n_actors].sp = stack_begin(stack_top(mc.n_actors));
	/* Each up to its first access: nobody else can notice. */
	for (uint32_t w = 0; w < mc.n_actors; w++)
		make_move((struct move){ .who = (uint8_t)w });
}

/* A state just reached for the first time: judged, and kept if it leads anywhere. */
static void state_push(const char *copy, size_t len, uint32_t id)
{
	struct frame *f;

	mc.frames = grow(mc.frames, mc.depth, &mc.frames_cap, sizeof(*mc.frames));
	f = &mc.frames[mc.depth];
	*f = (struct frame){ .id = id, .at = mc.copies_len };
	f->n_moves = list_moves(f->moves);
	if (!mc.broken && mc.m->always)
		mc.broken = mc.m->always();
	if (!f->n_moves) {
		mc.ends = grow(mc.ends, mc.n_ends, &mc.ends_cap, sizeof(*mc.ends));
		mc.ends[mc.n_ends++] = id;
		if (!mc.broken)
			mc.broken = mc.m->final();
		return;
	}
	if (mc.copies_len + len > mc.copies_cap) {
		mc.copies_cap = mc.copies_cap ? mc.copies_cap * 2 : 1 << 22;
		mc.copies = realloc(mc.copies, mc.copies_cap);
		must(mc.copies);
	}
	memcpy(mc.copies + mc.copies_len, copy, len);
	mc.copies_len += len;
	mc.depth++;
}

/* The way from the first state to that one. */
static void remember_path(uint32_t id)
{
	uint32_t n = 0;

	for (uint32_t i = id; i; i = mc.origins[i].from)
		n++;
	free(mc.path);
	mc.path = calloc(n + 1, sizeof(*mc.path));
	must(mc.path);
	mc.n_path = n;
	for (uint32_t i = id; i; i = mc.origins[i].from)
		mc.path[--n] = mc.origins[i].by;
}

/* P3: backwards from the ends along the edges; a state that was not met, or none. */
static bool find_lost(uint32_t *ret_id)
{
	uint32_t *first = calloc((size_t)mc.n_seen + 1, sizeof(*first));
	uint32_t *from = malloc(((size_t)mc.n_edges + 1) * sizeof(*from));
	uint32_t *todo = malloc(((size_t)mc.n_seen + 1) * sizeof(*todo));
	char *met = calloc(mc.n_seen, 1);
	uint32_t n = 0, done = 0, id = 0;

	must(first && from && todo && met);
	for (uint32_t i = 0; i < mc.n_edges; i++)
		first[mc.edges[i].to + 1]++;
	for (uint32_t i = 0; i < mc.n_seen; i++)
		first[i + 1] += first[i];
	for (uint32_t i = 0; i < mc.n_edges; i++)
		from[first[mc.edges[i].to]++] = mc.edges[i].from;
	for (uint32_t i = 0; i < mc.n_ends; i++) {
		met[mc.ends[i]] = 1;
		todo[n++] = mc.ends[i];
	}
	while (done < n) {
		uint32_t to = todo[done++];

		for (uint32_t i = to ? first[to - 1] : 0; i < first[to]; i++)
			if (!met[from[i]]) {
				met[from[i]] = 1;
				todo[n++] = from[i];
			}
	}
	while (id < mc.n_seen && met[id])
		id++;
	*ret_id = id;
	free(first);
	free(from);
	free(todo);
	free(met);
	return n < mc.n_seen;
}

static void forget(void)
{
	free(mc.seen);
	free(mc.edges);
	free(mc.origins);
	free(mc.ends);
	free(mc.frames);
	free(mc.copies);
	mc.seen = NULL;
	mc.edges = NULL;
	mc.origins = NULL;
	mc.ends = NULL;
	mc.frames = NULL;
	mc.copies = NULL;
	mc.seen_mask = 0;
	mc.n_seen = mc.n_edges = mc.edges_cap = mc.origins_cap = mc.n_ends = mc.ends_cap = mc.depth = mc.frames_cap = 0;
	mc.copies_len = mc.copies_cap = 0;
}

/* The state that we are in, after that move from that state. */
static uint32_t arrive(uint32_t from, struct move by)
{
	static char copy[STATE_MAX];
	size_t len = state_save(copy);
	uint32_t id;

	mc.edges = grow(mc.edges, mc.n_edges, &mc.edges_cap, sizeof(*mc.edges));
	if (state_note(copy, len, &id)) {
		mc.origins = grow(mc.origins, id, &mc.origins_cap, sizeof(*mc.origins));
		mc.origins[id] = (struct origin){ from, by };
		state_push(copy, len, id);
	}
	mc.edges[mc.n_edges++] = (struct edge){ from, id };
	return id;
}

struct mc_result mc_explore(const struct mc_model *m, const struct mc_machine *on)
{
	struct mc_result r = { 0 };
	uint32_t here, lost;

	mc.m = m;
	mc.on = on;
	begin();
	here = arrive(0, (struct move){ 0 });
	while (mc.depth && !mc.broken) {
		struct frame *f = &mc.frames[mc.depth - 1];
		struct move by;

		if (f->next == f->n_moves) {
			mc.copies_len = f->at;
			mc.depth--;
			continue;
		}
		if (here != f->id)
			state_load(mc.copies + f->at);
		by = f->moves[f->next++];
		make_move(by);
		here = arrive(f->id, by);
		r.steps++;
	}
	if (mc.broken) {
		remember_path(here);
	} else if (find_lost(&lost)) {
		remember_path(lost);
		mc.broken = "somebody can go round for ever";
	}
	r.broken = mc.broken;
	r.states = mc.n_seen;
	r.ends = mc.n_ends;
	forget();
	return r;
}

void mc_tell(const struct mc_model *m, const struct mc_machine *on)
{
	const char *why = mc.broken;

	mc.m = m;
	mc.on = on;
	begin();
	mc.telling = true;
	for (uint32_t i = 0; i < mc.n_path; i++)
		make_move(mc.path[i]);
	mc.telling = false;
	printf("  and so: %s\n", why);
}
