/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a client says first to a steady server (steady.c): which stream this is, and of what kind.
 */
#ifndef TEST_APPS_STEADY_H
#define TEST_APPS_STEADY_H

#include <stdbool.h>
#include <stdint.h>

enum kind { DUPLEX, ECHO, UPLOAD, DOWNLOAD, CHURN, N_KINDS, GUEST = N_KINDS };

struct hello {
	uint64_t magic, id, kind;
	uint64_t check;		/* a hostile guest may garble what it has said: then it is nobody */
};

#define HELLO_MAGIC 0x79646165747321ull

/* Word i of what the stream of that key carries. */
static inline uint64_t word_at(uint64_t key, uint64_t i)
{
	uint64_t x = (key * 0x9e3779b97f4a7c15u) ^ (i * 0xbf58476d1ce4e5b9u);

	x ^= x >> 29;
	x *= 0x94d049bb133111ebu;
	return x ^ x >> 32;
}

static inline struct hello hello_of(uint64_t id, uint64_t kind)
{
	return (struct hello){ HELLO_MAGIC, id, kind, word_at(HELLO_MAGIC ^ id, kind) };
}

static inline bool hello_is_good(const struct hello *h)
{
	return h->magic == HELLO_MAGIC && h->kind <= GUEST && h->check == hello_of(h->id, h->kind).check;
}

#endif
