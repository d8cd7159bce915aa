/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Outgoing apertures that an application keeps (S2-CON-05), and who may set which field
 * (S2-PRIV-01, S2-PRIV-02).
 *
 * U1 From page U only these are ever taken: destination host, remote index and nonce by trust 1;
 *    size, not above the default, and remote base by trust 2. The source is always ours.
 * U2 What is taken is copied once, checked, and the copy used: the page is the application's to
 *    write at any moment.
 */
#include "core/aperture/parts.h"

int apw_window(struct apw *e, uint32_t size_class, uint32_t trust, uint32_t *ret_window)
{
	struct apw_out r = { .size_class = size_class, .trust = min_u32(trust, 2), .keep = 1 };

	if (size_class >= APW_N_CLASSES)
		return -EINVAL;
	return apw_out_open(e, &r, ret_window);
}

static struct apw_out *window(struct apw *e, uint32_t w)
{
	const struct apw_out *r = apw_out_row(e, w & e->out.mask);

	return w && r->index == w ? &apw_table_edit(&e->out, w)->out : NULL;
}

void apw_window_end(struct apw *e, uint32_t w)
{
	const struct apw_out *r = window(e, w);

	must(r && r->keep && !r->conn);
	apw_out_close(e, w);
}

uint64_t apw_window_bus(const struct apw *e, uint32_t w)
{
	const struct apw_out *r = apw_out_row(e, w);

	return apw_bus_addr(r->size_class, r->index);
}

int apw_activate(struct apw *e, uint32_t w, const struct apw_user *page)
{
	struct apw_user u = *page;	/* U2 */
	struct apw_out *r;

	apw_flush(e);
	r = window(e, w);
	if (!r)
		return -EINVAL;
	if (r->trust == 0)
		return -EPERM;
	if (!u.remote_index || u.remote_index > CI_INDEX_MASK)
		return -EINVAL;
	r->dst_host = u.dst_host;
	r->remote_index = u.remote_index;
	r->nonce = u.nonce & CI_NONCE_MASK;
	if (r->trust >= 2) {
		uint64_t most = 1ull << apw_class_bits(r->size_class);

		r->size = u.size && u.size < most ? u.size : most;
		r->remote_base = u.remote_base;
	}
	return 0;
}

int apw_narrow(struct apw *e, uint32_t conn, uint32_t first, uint32_t last)
{
	struct apw_in *r;

	if (!apw_conn_at(e, conn))
		return -ENOENT;
	r = &apw_table_edit(&e->in, conn & e->in.mask)->in;
	if (first > last || last >= r->size)
		return -EINVAL;
	r->sub_first = first;
	r->sub_last = last;
	return 0;
}

int apw_set_checks(struct apw *e, uint32_t conn, uint32_t checks, uint32_t flags)
{
	uint32_t row = conn & e->in.mask;
	struct apw_in *r;

	if (!conn || apw_in_row(e, row)->index != conn)
		return -ENOENT;
	r = &apw_table_edit(&e->in, row)->in;
	if (r->step && !(checks & APW_CK_SEQ))
		return -EINVAL;
	r->checks = checks & 0x1f;
	r->flags = flags & (APW_F_VALID | APW_F_READ | APW_F_WRITE);
	return 0;
}
