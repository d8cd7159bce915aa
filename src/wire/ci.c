/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames and messages of apertures between hosts (ci.h draws them). */
#include "wire/ci.h"

#include "base/csum.h"
#include "base/must.h"

#define DATA_MAX 0xffffu

/* ---- words ------------------------------------------------------------------------------------ */

static void put_index_nonce(uint8_t *p, uint32_t index, uint64_t nonce)
{
	put_be32(p, index << 8 | (uint32_t)(nonce >> 32 & 0xff));
	put_be32(p + 4, (uint32_t)nonce);
}

static void get_index_nonce(const uint8_t *p, uint32_t *index, uint64_t *nonce)
{
	uint32_t w = get_be32(p);

	*index = w >> 8;
	*nonce = (uint64_t)(w & 0xff) << 32 | get_be32(p + 4);
}

void wire_ci_addr_parse(const uint8_t *p, struct ci_addr *ret)
{
	ret->host = get_be32(p);
	get_index_nonce(p + 4, &ret->index, &ret->nonce);
	ret->offset = get_be32(p + 12);
}

void wire_ci_addr_emit(uint8_t *p, const struct ci_addr *a)
{
	put_be32(p, a->host);
	put_index_nonce(p + 4, a->index, a->nonce);
	put_be32(p + 12, a->offset);
}

static void put_csum(uint8_t *p, uint32_t n, uint32_t at)
{
	uint16_t c;

	memset(p + at, 0, 2);
	c = csum_finish(csum_add_scalar(p, n, 0));
	memcpy(p + at, &c, 2);
}

/* ---- parsing a frame ------------------------------------------------------------------------------ */

/* One descriptor, after the burst in *at. False: cut off or senseless. */
static bool desc_parse(const uint8_t **desc, const uint8_t *end, struct ci_burst *at)
{
	const uint8_t *p = *desc;
	uint8_t ctl;
	uint32_t need;

	if (p == end)
		return false;
	ctl = *p++;
	if (ctl & ~(CI_B_LEN | CI_B_OFF | CI_B_AP | CI_B_EVENT))
		return false;
	if ((ctl & CI_B_AP) && !(ctl & CI_B_OFF))
		return false;
	need = (ctl & CI_B_LEN ? 2 : 0) + (ctl & CI_B_OFF ? 4 : 0) + (ctl & CI_B_AP ? 14 : 0);
	if ((size_t)(end - p) < need)
		return false;
	at->dst.offset += at->len;
	at->first = false;
	if (ctl & CI_B_AP) {
		get_index_nonce(p, &at->dst.index, &at->dst.nonce);
		at->seq = get_be32(p + 8);
		at->from = get_be16(p + 12);
		at->first = true;
		p += 14;
	}
	if (ctl & CI_B_OFF) {
		at->dst.offset = get_be32(p);
		p += 4;
	}
	if (ctl & CI_B_LEN) {
		at->len = get_be16(p);
		p += 2;
	}
	at->event = ctl & CI_B_EVENT;
	*desc = p;
	return true;
}

void wire_ci_walk(const uint8_t *p, const struct ci_hdr *h, struct ci_walk *w)
{
	w->desc = p + CI_HDR_LEN;
	w->end = p + h->hdr_len;
	w->data = w->end;
	w->left = h->n_bursts;
	w->at = (struct ci_burst){ .dst = h->dst, .seq = h->seq, .from = h->from };
}

bool wire_ci_next(struct ci_walk *w, struct ci_burst *ret)
{
	bool head = w->at.data == NULL;

	if (!w->left || !desc_parse(&w->desc, w->end, &w->at))
		return false;
	w->left--;
	if (head)	/* the fixed header opened the first section */
		w->at.first = true;
	w->at.data = w->data;
	w->data += w->at.len;
	*ret = w->at;
	return true;
}

/* The descriptors say what the header says: as many, as long, and nothing but zeros behind. */
static bool bursts_ok(const uint8_t *p, const struct ci_hdr *h)
{
	struct ci_walk w;
	struct ci_burst b;
	uint32_t n = 0, bytes = 0;

	/* The fixed header has the first address; a length it has not. */
	if (!h->n_bursts || h->hdr_len == CI_HDR_LEN || (p[CI_HDR_LEN] & (CI_B_LEN | CI_B_OFF | CI_B_AP)) != CI_B_LEN)
		return false;
	wire_ci_walk(p, h, &w);
	while (wire_ci_next(&w, &b)) {
		n++;
		bytes += b.len;
	}
	if (n != h->n_bursts || bytes != h->data_len || w.end - w.desc > 3)
		return false;
	for (; w.desc < w.end; w.desc++)
		if (*w.desc)
			return false;
	return true;
}

static bool words_parse(const uint8_t *p, struct ci_hdr *h)
{
	switch (h->op) {
	case CI_WRITE:
		return bursts_ok(p, h);
	case CI_READ_REQ:
		if (h->hdr_len != CI_REQ_LEN || h->data_len || h->n_bursts)
			return false;
		h->tag = get_be32(p + 36);
		h->len = get_be32(p + 40);
		get_index_nonce(p + 44, &h->reply_index, &h->reply_nonce);
		return true;
	case CI_READ_RESP:
		if (h->hdr_len != CI_RESP_LEN || h->n_bursts)
			return false;
		h->tag = get_be32(p + 36);
		h->accepted = get_be32(p + 40);
		h->status = get_be32(p + 44);
		return true;
	case CI_EVENT:
		return h->hdr_len == CI_HDR_LEN && h->data_len == 8 && !h->n_bursts;
	}
	return false;
}

enum ci_parse wire_ci_parse(const uint8_t *p, uint32_t avail, struct ci_hdr *h)
{
	memset(h, 0, sizeof(*h));
	if (avail < CI_HDR_LEN)
		return CI_SHORT;
	h->hdr_len = (uint16_t)(p[2] * 4u);
	h->data_len = get_be16(p + 6);
	if (h->hdr_len < CI_HDR_LEN || h->hdr_len > CI_HDR_MAX || h->hdr_len > avail)
		return CI_SHORT;
	if (csum_finish(csum_add_scalar(p, h->hdr_len, 0)) != 0)
		return CI_CSUM_BAD;
	if (p[0] != CI_VERSION)
		return CI_VERSION_BAD;
	if (avail - h->hdr_len < (uint32_t)h->data_len + CI_CRC_LEN)
		return CI_SHORT;
	h->op = p[1];
	wire_ci_addr_parse(p + 8, &h->dst);
	h->seq = get_be32(p + 24);
	h->src_host = get_be32(p + 28);
	h->from = get_be16(p + 32);
	h->n_bursts = p[34];
	if (p[3] || p[35] || !words_parse(p, h))
		return CI_MALFORMED;
	return CI_OK;
}

bool wire_ci_crc_ok(const uint8_t *p, const struct ci_hdr *h, crc32c_fn crc)
{
	const uint8_t *data = p + h->hdr_len;

	return crc(data, h->data_len, 0) == get_be32(data + h->data_len);
}

/* ---- building a frame -------------------------------------------------------------------------------- */

static void hdr_emit(uint8_t *p, const struct ci_hdr *h)
{
	p[0] = CI_VERSION;
	p[1] = h->op;
	p[2] = (uint8_t)(h->hdr_len / 4);
	p[3] = 0;
	put_be16(p + 6, h->data_len);
	wire_ci_addr_emit(p + 8, &h->dst);
	put_be32(p + 24, h->seq);
	put_be32(p + 28, h->src_host);
	put_be16(p + 32, h->from);
	p[34] = h->n_bursts;
	p[35] = 0;
	if (h->op == CI_READ_REQ) {
		put_be32(p + 36, h->tag);
		put_be32(p + 40, h->len);
		put_index_nonce(p + 44, h->reply_index, h->reply_nonce);
	} else if (h->op == CI_READ_RESP) {
		put_be32(p + 36, h->tag);
		put_be32(p + 40, h->accepted);
		put_be32(p + 44, h->status);
	}
}

void wire_ci_begin(struct ci_build *b, uint8_t *buf, uint32_t max, const struct ci_hdr *h)
{
	b->buf = buf;
	b->max = min_u32(max, CI_HDR_MAX + DATA_MAX);
	b->n_desc = b->n_data = b->last_len = 0;
	b->h = *h;
	b->h.op = CI_WRITE;
	b->h.n_bursts = 0;
	b->at = h->dst;
}

uint32_t wire_ci_room(const struct ci_build *b)
{
	/* As if the next descriptor were the longest, and padded. */
	uint32_t head = CI_HDR_LEN + (b->n_desc + CI_DESC_MAX + 3) / 4 * 4;
	uint32_t used = head + b->n_data + CI_CRC_LEN;

	if (head > CI_HDR_MAX || b->h.n_bursts == 255 || used >= b->max)
		return 0;
	return min_u32(b->max - used, DATA_MAX - b->n_data);
}

void wire_ci_add(struct ci_build *b, const struct ci_addr *dst, uint32_t seq, uint16_t from, bool fresh,
		 const void *data, uint32_t len, bool event)
{
	uint8_t *d = b->desc + b->n_desc, ctl = event ? CI_B_EVENT : 0;
	uint8_t *p = d + 1;

	must(len <= wire_ci_room(b));
	if (!b->h.n_bursts) {
		b->h.dst = *dst;
		b->h.seq = seq;
		b->h.from = from;
	} else if (fresh) {
		ctl |= CI_B_AP | CI_B_OFF;
		put_index_nonce(p, dst->index, dst->nonce);
		put_be32(p + 8, seq);
		put_be16(p + 12, from);
		p += 14;
		put_be32(p, dst->offset);
		p += 4;
	} else if (dst->offset != b->at.offset) {
		ctl |= CI_B_OFF;
		put_be32(p, dst->offset);
		p += 4;
	}
	if (!b->h.n_bursts || len != b->last_len) {
		ctl |= CI_B_LEN;
		put_be16(p, (uint16_t)len);
		p += 2;
	}
	*d = ctl;
	b->n_desc += (uint32_t)(p - d);
	if (len)
		memcpy(b->buf + CI_HDR_MAX + b->n_data, data, len);
	b->n_data += len;
	b->last_len = len;
	b->at = *dst;
	b->at.offset += len;
	b->h.n_bursts++;
}

uint32_t wire_ci_end(struct ci_build *b, crc32c_fn crc, uint32_t *ret_len)
{
	uint8_t *data = b->buf + CI_HDR_MAX, *p;

	must(b->h.n_bursts);
	while (b->n_desc % 4)
		b->desc[b->n_desc++] = 0;
	b->h.hdr_len = (uint16_t)(CI_HDR_LEN + b->n_desc);
	b->h.data_len = (uint16_t)b->n_data;
	p = data - b->h.hdr_len;
	hdr_emit(p, &b->h);
	memcpy(p + CI_HDR_LEN, b->desc, b->n_desc);
	put_csum(p, b->h.hdr_len, 4);
	put_be32(data + b->n_data, crc(data, b->n_data, 0));
	*ret_len = b->h.hdr_len + b->n_data + CI_CRC_LEN;
	return CI_HDR_MAX - b->h.hdr_len;
}

uint32_t wire_ci_emit(uint8_t *p, const struct ci_hdr *given, const void *data, uint32_t n, crc32c_fn crc)
{
	struct ci_hdr h = *given;
	uint8_t *at;

	h.hdr_len = h.op == CI_READ_REQ ? CI_REQ_LEN : h.op == CI_READ_RESP ? CI_RESP_LEN :
		    h.op == CI_WRITE ? CI_HDR_LEN + 4 : CI_HDR_LEN;
	h.data_len = (uint16_t)n;
	h.n_bursts = h.op == CI_WRITE;
	hdr_emit(p, &h);
	if (h.op == CI_WRITE) {
		p[36] = CI_B_LEN;
		put_be16(p + 37, (uint16_t)n);
		p[39] = 0;
	}
	put_csum(p, h.hdr_len, 4);
	at = p + h.hdr_len;
	if (n)
		memcpy(at, data, n);
	put_be32(at + n, crc(at, n, 0));
	return h.hdr_len + n + CI_CRC_LEN;
}

/* ---- messages ------------------------------------------------------------------------------------------ */

enum ci_parse wire_ci_msg_parse(const uint8_t *p, uint32_t avail, struct ci_msg *m)
{
	memset(m, 0, sizeof(*m));
	if (avail < CI_MSG_LEN)
		return CI_SHORT;
	if (csum_finish(csum_add_scalar(p, CI_MSG_LEN, 0)) != 0)
		return CI_CSUM_BAD;
	if (get_be16(p) != CI_TYPE_MSG || p[2] != CI_VERSION)
		return CI_VERSION_BAD;
	m->type = p[3];
	m->dst_host = get_be32(p + 4);
	m->dst_port = get_be16(p + 8);
	m->src_port = get_be16(p + 10);
	m->src_host = get_be32(p + 12);
	m->flags = p[18];
	m->size_class = p[19];
	m->ap_type = get_be16(p + 20);
	m->body_len = get_be16(p + 22);
	get_index_nonce(p + 24, &m->index, &m->nonce);
	get_index_nonce(p + 32, &m->peer_index, &m->peer_nonce);
	m->size = (uint64_t)get_be32(p + 40) << 32 | get_be32(p + 44);
	m->seq0 = get_be32(p + 48);
	m->step = get_be16(p + 52);
	m->every = get_be16(p + 54);
	m->arg = get_be32(p + 56);
	m->arg2 = get_be32(p + 60);
	if (m->body_len && avail - CI_MSG_LEN < (uint32_t)m->body_len + CI_CRC_LEN)
		return CI_SHORT;
	return CI_OK;
}

bool wire_ci_msg_crc_ok(const uint8_t *p, const struct ci_msg *m, crc32c_fn crc)
{
	const uint8_t *body = p + CI_MSG_LEN;

	return !m->body_len || crc(body, m->body_len, 0) == get_be32(body + m->body_len);
}

uint32_t wire_ci_msg_emit(uint8_t *p, const struct ci_msg *m, const void *body, crc32c_fn crc)
{
	put_be16(p, CI_TYPE_MSG);
	p[2] = CI_VERSION;
	p[3] = m->type;
	put_be32(p + 4, m->dst_host);
	put_be16(p + 8, m->dst_port);
	put_be16(p + 10, m->src_port);
	put_be32(p + 12, m->src_host);
	p[18] = m->flags;
	p[19] = m->size_class;
	put_be16(p + 20, m->ap_type);
	put_be16(p + 22, m->body_len);
	put_index_nonce(p + 24, m->index, m->nonce);
	put_index_nonce(p + 32, m->peer_index, m->peer_nonce);
	put_be32(p + 40, (uint32_t)(m->size >> 32));
	put_be32(p + 44, (uint32_t)m->size);
	put_be32(p + 48, m->seq0);
	put_be16(p + 52, m->step);
	put_be16(p + 54, m->every);
	put_be32(p + 56, m->arg);
	put_be32(p + 60, m->arg2);
	put_csum(p, CI_MSG_LEN, 16);
	if (!m->body_len)
		return CI_MSG_LEN;
	memcpy(p + CI_MSG_LEN, body, m->body_len);
	put_be32(p + CI_MSG_LEN + m->body_len, crc(p + CI_MSG_LEN, m->body_len, 0));
	return CI_MSG_LEN + m->body_len + CI_CRC_LEN;
}
