// SPDX-License-Identifier: BSD-2-Clause
/*
 * The BPF maps: the only way in which the agent touches the data path. Opening loads the VF
 * programs and makes the maps; the interfaces' programs are loaded per attachment by the
 * keeper, over these same maps.
 *
 * Order of changes: what makes a flow reachable is written last and deleted first, so that a
 * packet never meets half an entry.
 *
 * An agent of one's own has no maps: what it is asked all the same is answered with nothing.
 */
#include "agent/agent.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <stdlib.h>

#include "bpf/onramp.skel.h"

#define MAP(a, name) bpf_map__fd((a)->bpf->maps.name)

/* The bss is mapped into the skeleton; only this module writes it. */
static uint32_t *n_exact(struct agent *a) { return &a->bpf->bss->n_exact; }

int filter_open(struct agent *a)
{
	int err;

	a->bpf = onramp_bpf__open();
	if (!a->bpf)
		return -errno;
	err = onramp_bpf__load(a->bpf);
	if (err) {
		onramp_bpf__destroy(a->bpf);
		a->bpf = NULL;
	}
	return err;
}

void filter_close(struct agent *a)
{
	onramp_bpf__destroy(a->bpf);
	a->bpf = NULL;
}

int filter_prog_fd(struct agent *a, bool app_end)
{
	return bpf_program__fd(app_end ? a->bpf->progs.xdp_vf_app_end :
					 a->bpf->progs.xdp_vf_agent_end);
}

static int put(int map, const void *key, const void *value)
{
	return bpf_map_update_elem(map, key, value, BPF_ANY) ? -errno : 0;
}

int filter_dev(struct agent *a, uint32_t ifindex, const struct dev_info *d)
{
	return put(MAP(a, devs), &ifindex, d);
}

void filter_dev_del(struct agent *a, uint32_t ifindex)
{
	(void)bpf_map_delete_elem(MAP(a, devs), &ifindex);
}

static uint32_t vf_index(const struct stack *s, uint32_t nic)
{
	return (s->slot - 1) * N_VIS + nic;
}

static struct dev_info info_of(const struct nic *n, uint32_t role)
{
	struct dev_info d = { .role = role, .nic = n->i, .nic_ifindex = n->ifindex,
			      .frame_max = n->mtu + ETH_HLEN };

	memcpy(d.mac, n->mac, sizeof(d.mac));
	d.generic = role == DEV_NIC && n->mode == ATTACH_GENERIC;
	return d;
}

int filter_vf(struct agent *a, const struct stack *s, const struct vf *v)
{
	struct dev_info d = info_of(&a->nics[v->nic], DEV_VF_AGENT);
	uint32_t i = vf_index(s, v->nic), ifindex = v->agent_ifindex;
	int err;

	d.slot = s->slot;
	err = filter_dev(a, v->agent_ifindex, &d);
	if (err)
		return err;
	d.role = DEV_VF_APP;
	d.xsk = v->id;
	err = filter_dev(a, v->app_ifindex, &d);
	return err ? err : put(MAP(a, vf_devs), &i, &ifindex);
}

void filter_vf_del(struct agent *a, const struct stack *s, const struct vf *v)
{
	uint32_t i = vf_index(s, v->nic);

	(void)bpf_map_delete_elem(MAP(a, vf_devs), &i);
	filter_dev_del(a, v->agent_ifindex);
	filter_dev_del(a, v->app_ifindex);
}

/* Also when MTU or MAC changed: the VFs' entries carry both. */
void filter_nic(struct agent *a, const struct nic *n)
{
	struct dev_info d = info_of(n, DEV_NIC);
	uint32_t i, k, ifindex = n->ifindex;

	if (n->direct) {
		d.slot = n->direct->slot;
		d.xsk = N_VF_DEVS + n->i;
	}
	(void)put(MAP(a, nic_devs), &n->i, &ifindex);
	(void)filter_dev(a, n->ifindex, &d);
	for (i = 1; i <= N_SLOTS; i++) {
		struct stack *s = &a->stacks[i];

		for (k = 0; s->state != STACK_NONE && k < s->n_vis; k++)
			if (s->vi[k].nic == n->i && s->vi[k].vf && s->vi[k].xsk >= 0)
				(void)filter_vf(a, s, s->vi[k].vf);
	}
}

void filter_nic_del(struct agent *a, const struct nic *n)
{
	filter_dev_del(a, n->ifindex);
	(void)bpf_map_delete_elem(MAP(a, nic_devs), &n->i);
}

int filter_xsk(struct agent *a, uint32_t id, int xsk)
{
	uint32_t fd = (uint32_t)xsk;

	return put(MAP(a, xsks), &id, &fd);
}

void filter_xsk_del(struct agent *a, uint32_t id)
{
	(void)bpf_map_delete_elem(MAP(a, xsks), &id);
}

int filter_bound(struct agent *a, const struct bound_key *k, uint32_t slot, bool shared)
{
	uint32_t value = slot | (shared ? BOUND_SHARED : 0);

	if (slot != NO_SLOT)
		return put(MAP(a, bound), k, &value);
	return bpf_map_delete_elem(MAP(a, bound), k) ? -errno : 0;
}

uint32_t filter_exact_owner(struct agent *a, const struct exact_key *k)
{
	uint32_t slot;

	return !a->bpf || bpf_map_lookup_elem(MAP(a, exact), k, &slot) ? NO_SLOT : slot;
}

int filter_exact_add(struct agent *a, const struct exact_key *k, uint32_t slot)
{
	if (bpf_map_update_elem(MAP(a, exact), k, &slot, BPF_NOEXIST))
		return -errno;
	/* relaxed: the programs may see the entry a moment late, as any packet may come early. */
	__atomic_add_fetch(n_exact(a), 1, __ATOMIC_RELAXED);
	return 0;
}

void filter_exact_del(struct agent *a, const struct exact_key *k)
{
	/* relaxed: the entry is gone already, and looking for it once more does no harm. */
	if (!bpf_map_delete_elem(MAP(a, exact), k))
		__atomic_sub_fetch(n_exact(a), 1, __ATOMIC_RELAXED);
}

/* Walks the whole map: only for stacks that leave flows behind, which is rare. */
void filter_exact_flush(struct agent *a, uint32_t slot)
{
	struct exact_key k, next;
	const void *from = NULL;

	while (!bpf_map_get_next_key(MAP(a, exact), from, &next)) {
		if (from && filter_exact_owner(a, &k) == slot)
			filter_exact_del(a, &k);
		k = next;
		from = &k;
	}
	if (from && filter_exact_owner(a, &k) == slot)
		filter_exact_del(a, &k);
}

int filter_block(struct agent *a, uint32_t block, uint32_t slot)
{
	return !a->bpf ? 0 : put(MAP(a, blocks), &block, &slot);
}

/* Makes `locals` what the mirror says of attached links: adds first, then deletes the rest. */
void filter_locals(struct agent *a)
{
	const struct mirror *m = a->mirror;
	struct local_key k = { 0 }, next, doomed[64];
	const void *from = NULL;
	uint32_t i, one = 1, n = 0;

	if (!a->bpf)
		return;
	for (i = 0; i < m->n_addrs; i++) {
		if (!link_find(a, m->addrs[i].ifindex))
			continue;
		memcpy(&k.addr, &m->addrs[i].addr, sizeof(k.addr));
		k.ifindex = m->addrs[i].ifindex;
		(void)put(MAP(a, locals), &k, &one);
	}
	while (n < n_elems(doomed) && !bpf_map_get_next_key(MAP(a, locals), from, &next)) {
		bool keep = false;

		for (i = 0; i < m->n_addrs && !keep; i++)
			keep = m->addrs[i].ifindex == next.ifindex && link_find(a, next.ifindex) &&
			       !memcmp(&m->addrs[i].addr, &next.addr, sizeof(next.addr));
		if (!keep)
			doomed[n++] = next;
		k = next;
		from = &k;
	}
	for (i = 0; i < n; i++)
		(void)bpf_map_delete_elem(MAP(a, locals), &doomed[i]);
	if (n == n_elems(doomed))
		filter_locals(a);	/* ends: each round deletes 64 of at most N_ADDRS */
}

static int possible_cpus(void)
{
	static int n;

	if (!n)
		n = libbpf_num_possible_cpus();
	return n > 0 ? n : 1;
}

void filter_count_vf(struct agent *a, uint32_t slot, uint32_t nic, struct vf_count *ret)
{
	uint32_t i = (slot - 1) * N_VIS + nic;
	int cpu, n = possible_cpus();
	struct vf_count *per_cpu = calloc((size_t)n, sizeof(*per_cpu));

	memset(ret, 0, sizeof(*ret));
	if (per_cpu && !bpf_map_lookup_elem(MAP(a, vf_counts), &i, per_cpu)) {
		for (cpu = 0; cpu < n; cpu++) {
			ret->rx_redirected += per_cpu[cpu].rx_redirected;
			ret->tx_allowed += per_cpu[cpu].tx_allowed;
			ret->tx_spoofed += per_cpu[cpu].tx_spoofed;
			ret->tx_malformed += per_cpu[cpu].tx_malformed;
		}
	}
	free(per_cpu);
}

void filter_count_nic(struct agent *a, uint32_t nic, struct nic_count *ret)
{
	int cpu, n = possible_cpus();
	struct nic_count *per_cpu = calloc((size_t)n, sizeof(*per_cpu));

	memset(ret, 0, sizeof(*ret));
	if (per_cpu && !bpf_map_lookup_elem(MAP(a, nic_counts), &nic, per_cpu)) {
		for (cpu = 0; cpu < n; cpu++) {
			ret->rx_passed += per_cpu[cpu].rx_passed;
			ret->rx_errors += per_cpu[cpu].rx_errors;
		}
	}
	free(per_cpu);
}
