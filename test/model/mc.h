/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An explorer of interleavings: runs a few actors, each plain C on a stack of its own, in every
 * order in which their accesses to shared memory can happen, and says which order breaks what
 * was promised. The code under test is the real code: this header, included before it, makes
 * every C11 atomic operation in it a step of the explorer.
 *
 * The machine
 *  K1  A step is one access to shared memory with all private work after it. Between two
 *	steps any other actor may take any number of its own.
 *  K2  Stores go to the actor's store buffer and from there to memory whenever the machine
 *	likes, in order (x86-TSO). With mc_machine.weak they leave it in any order, except that
 *	a store with release leaves after all before it, and one word's stores keep their order:
 *	what a missing release breaks shows there.
 *  K3  Loads see the actor's own buffer, then memory. Read-modify-writes, stores and fences that
 *	are sequentially consistent, and system calls, wait until the buffer is empty.
 *  K4  An actor in mc_wait() sleeps in the kernel: it goes on only when its condition holds.
 *  K5  Two states are one if memory, buffers and what is on the actors' stacks are the same; a
 *	state is looked at once. Nothing is random: two runs see the same states.
 *
 * What is shown of a model
 *  P1  No order makes mc_fail() or a must() happen, and `always` holds in each state.
 *  P2  When nobody can move any more, `final` holds: nobody sleeps who has work.
 *  P3  From each state such an end can be reached: nobody goes round for ever.
 *
 * Loads do not overtake one another and nothing overtakes a read-modify-write: x86 promises both.
 */
#ifndef TEST_MODEL_MC_H
#define TEST_MODEL_MC_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define MC_ACTORS 5

struct mc_model {
	const char *name;
	void (*reset)(void);			/* before the first step; plain writes */
	void (*actor[MC_ACTORS])(int me);	/* the first NULL ends them */
	const char *actor_name[MC_ACTORS];
	const char *(*always)(void);		/* what is wrong with this state, or NULL */
	const char *(*final)(void);		/* the same, when nobody can move any more */
};

/* What may be done to a read-modify-write to see whether it is needed as it is. */
enum mc_op {
	MC_NONE,
	MC_SPLIT,	/* a load, and later a store that may wait in the buffer */
	MC_LAZY,	/* where it would write what is there already, it does not write */
	MC_UNFENCED,	/* no fence, or no more than a plain store */
};

struct mc_machine {
	bool weak;		/* K2 */
	enum mc_op op;		/* done to operations in the function `in`: a test of the test */
	const char *in;		/* "": any */
	const void *at;		/* done to operations on this word; NULL: any */
};

struct mc_result {
	const char *broken;	/* NULL: P1 to P3 hold */
	uint32_t states, steps, ends;
};

/* Once, before exploring: plain memory that is part of a state, and words that are not: they
 * stay as they are, whatever is stored. Other words may not be accessed. */
void mc_region(const char *name, void *p, uint32_t bytes);
void mc_ignore(const void *p, uint32_t bytes);
/* A counter whose values need only differ: adding to it gives any number that the model says is
 * not in use, less one, and is no step. So numbers do not grow, and states do not differ by them. */
void mc_fresh(const void *p, uint32_t (*number)(int me));
/* Part of a region before it that only the holder of a lock writes: its loads of it are no steps. */
void mc_guarded(const void *p, uint32_t bytes, int (*holder)(void));

/* Words that only those actors (a bit each) write: when the others of them have come to their
 * end, a load is no step. Words that one alone reads and writes: no access is. */
void mc_written_by(const void *p, uint32_t bytes, uint32_t actors);
void mc_private(const void *p, uint32_t bytes);

struct mc_result mc_explore(const struct mc_model *m, const struct mc_machine *on);
/* Says how the last exploration broke the model, step by step; for people. */
void mc_tell(const struct mc_model *m, const struct mc_machine *on);

/* ---- for actors ----------------------------------------------------------------------------- */

void mc_fail(const char *why);
uint32_t mc_choose(uint32_t n);			/* 0 to n - 1: each of them is explored */
/* All of the kernel's work in between is one step: plain accesses up to the next step. */
void mc_kernel(void);
void mc_wait(bool (*until)(int arg), int arg);	/* K4; then as after mc_kernel() */

uint64_t mc_load(const void *p, uint32_t bytes, int order, const char *in);
void mc_store(void *p, uint32_t bytes, uint64_t v, int order, const char *in);
uint64_t mc_swap(void *p, uint32_t bytes, uint64_t v, const char *in);
uint64_t mc_add(void *p, uint32_t bytes, uint64_t v, const char *in);
bool mc_cas(void *p, uint32_t bytes, void *expected, uint64_t v, const char *in);
void mc_fence(int order, const char *in);

#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_fetch_add_explicit
#undef atomic_compare_exchange_weak_explicit
#undef atomic_compare_exchange_strong_explicit
#undef atomic_thread_fence
#define atomic_load_explicit(p, order) mc_load((const void *)(p), sizeof(*(p)), (order), __func__)
#define atomic_store_explicit(p, v, order) \
	mc_store((void *)(p), sizeof(*(p)), (uint64_t)(v), (order), __func__)
#define atomic_exchange_explicit(p, v, order) \
	((void)(order), mc_swap((void *)(p), sizeof(*(p)), (uint64_t)(v), __func__))
#define atomic_fetch_add_explicit(p, v, order) \
	((void)(order), mc_add((void *)(p), sizeof(*(p)), (uint64_t)(v), __func__))
#define atomic_compare_exchange_strong_explicit(p, expected, v, yes, no) \
	((void)(yes), (void)(no), mc_cas((void *)(p), sizeof(*(p)), (expected), (uint64_t)(v), __func__))
#define atomic_compare_exchange_weak_explicit atomic_compare_exchange_strong_explicit
#define atomic_thread_fence(order) mc_fence((order), __func__)

#endif
