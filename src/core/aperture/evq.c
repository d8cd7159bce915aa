/* SPDX-License-Identifier: BSD-2-Clause */
/* Dual event queues (evq.h has the invariants). */
#include "core/aperture/evq.h"

#include "base/atomic.h"
#include "base/must.h"

size_t apw_evq_bytes(uint32_t n_ev, uint32_t n_words)
{
	return sizeof(struct apw_evq_host) + (size_t)n_ev * sizeof(struct apw_event) + (size_t)n_words * 4;
}

void apw_evq_init(struct apw_evq *q, void *mem, uint32_t n_ev, uint32_t n_words)
{
	must(n_ev && (n_ev & (n_ev - 1)) == 0 && n_words && (n_words & (n_words - 1)) == 0);
	memset(q, 0, sizeof(*q));
	q->host = mem;
	q->ev = (struct apw_event *)(q->host + 1);
	q->words = (uint32_t *)(q->ev + n_ev);
	q->n_ev = n_ev;
	q->n_words = n_words;
	for (uint32_t i = 0; i < APW_EV_MAX; i++)
		q->where[i] = APW_FIXED;
	q->where[APW_EV_VAR] = APW_VARIABLE;
	q->where[APW_EV_SETUP] = APW_BOTH;
	q->where[APW_EV_MESSAGE] = APW_BOTH;
}

void apw_evq_attach(struct apw_evq_user *u, void *mem, uint32_t n_ev, uint32_t n_words)
{
	memset(u, 0, sizeof(*u));
	u->host = mem;
	u->ev = (const struct apw_event *)(u->host + 1);
	u->words = (const uint32_t *)(u->ev + n_ev);
	u->n_ev = n_ev;
	u->n_words = n_words;
}

/* Q3: free entries, from RDPTR' and WRPTR, both at hand; none if RDPTR' cannot be. */
static uint32_t room(uint32_t wr, uint32_t rd, uint32_t n)
{
	uint32_t used = wr - rd;

	return used > n ? 0 : n - used;
}

uint32_t apw_evq_depth(const struct apw_evq *q)
{
	return q->n_ev - room(q->wr, peek32(&q->host->rd), q->n_ev);
}

static bool matches(const struct apw_crit *c, const struct apw_event *e)
{
	uint64_t head;

	if (!(c->types >> e->type & 1))
		return false;
	memcpy(&head, e, sizeof(head));
	for (uint32_t i = 0; i < c->n_forms && i < APW_N_FORMS; i++)
		if ((head & c->form[i].mask) == c->form[i].value)
			return true;
	return c->n_forms == 0;
}

static bool wants(struct apw_evq *q, const struct apw_event *e)
{
	const struct apw_crit *c = &q->crit;
	uint32_t armed = peek32(&q->host->irq);

	if ((c->flags & APW_CRIT_ERROR) && e->type == APW_EV_ERROR)
		return true;
	if (!(c->flags & APW_CRIT_BLOCKED) && (!armed || armed == q->rang))
		return false;
	if ((c->flags & APW_CRIT_FORM) && !matches(c, e))
		return false;
	q->rang = armed;	/* Q4 */
	return true;
}

static void copy_words(struct apw_evq *q, const void *body, uint32_t n, uint32_t n_words)
{
	const uint8_t *p = body;

	for (uint32_t i = 0; i < n_words; i++) {
		uint32_t left = n - 4 * i, w = 0;

		memcpy(&w, p + (size_t)4 * i, left < 4 ? left : 4);
		q->words[(q->var_wr + i) & (q->n_words - 1)] = w;
	}
}

uint32_t apw_evq_post(struct apw_evq *q, const struct apw_event *given, const void *body, uint32_t n)
{
	struct apw_event e = *given;
	enum apw_where where = e.type < APW_EV_MAX ? q->where[e.type] : APW_FIXED;
	uint32_t words = where == APW_FIXED ? 0 : (n + 3) / 4, ret = APW_POSTED;

	/* acq: pairs with the release of rd in apw_evq_take(): what was read may be overwritten. */
	if (!room(q->wr, acquire32(&q->host->rd), q->n_ev) ||
	    words > room(q->var_wr, acquire32(&q->host->var_rd), q->n_words) || words > UINT16_MAX) {
		q->overflow++;	/* Q1 */
		return 0;
	}
	if (words)
		copy_words(q, body, n, words);
	if (where == APW_VARIABLE && e.type != APW_EV_VAR) {
		e.a = e.type;
		e.b = n;
		e.type = APW_EV_VAR;
	}
	e.words = (uint16_t)words;
	q->ev[q->wr & (q->n_ev - 1)] = e;
	q->var_wr += words;
	q->wr++;
	q->posted++;
	/* rel: pairs with the acquires in apw_evq_take() (Q2). */
	release32(&q->host->var_wr, q->var_wr);
	release32(&q->host->wr, q->wr);
	/* Full order: pairs with the fence in apw_evq_arm(): either it sees the event or we the arming. */
	atomic_thread_fence(memory_order_seq_cst);
	if (wants(q, given)) {
		q->irqs++;
		ret |= APW_IRQ;
	}
	if ((q->crit.flags & APW_CRIT_ERROR) && given->type == APW_EV_ERROR)
		ret |= APW_IS_ERROR;
	return ret;
}

/* ---- the application's side --------------------------------------------------------------------- */

bool apw_evq_pending(const struct apw_evq_user *u)
{
	return peek32(&u->host->wr) != u->rd;
}

int apw_evq_take(struct apw_evq_user *u, struct apw_event *ret, uint32_t *ret_words, uint32_t max)
{
	/* acq: pairs with the release in apw_evq_post(). */
	if (acquire32(&u->host->wr) == u->rd)
		return 0;
	*ret = u->ev[u->rd & (u->n_ev - 1)];
	for (uint32_t i = 0; i < ret->words && i < max; i++)
		ret_words[i] = u->words[(u->var_rd + i) & (u->n_words - 1)];
	u->var_rd += ret->words;
	u->rd++;
	/* rel: pairs with the acquire in apw_evq_post(). */
	release32(&u->host->var_rd, u->var_rd);
	release32(&u->host->rd, u->rd);
	return 1;
}

void apw_evq_arm(struct apw_evq_user *u)
{
	if (++u->arming == 0)
		u->arming = 1;
	poke32(&u->host->irq, u->arming);
	/* Full order: pairs with the fence in apw_evq_post(). */
	atomic_thread_fence(memory_order_seq_cst);
}

void apw_evq_disarm(struct apw_evq_user *u)
{
	poke32(&u->host->irq, 0);
}
