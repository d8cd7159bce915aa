// SPDX-License-Identifier: BSD-2-Clause
/*
 * Attached interfaces. Attaching: the maps know the interface first, then its program runs;
 * then the mirror says so to everybody. Detaching goes the other way, and ends the stacks
 * that have no other interface. Nothing of ours remains on a detached interface.
 */
#include "agent/agent.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

struct nic *link_find(struct agent *a, uint32_t ifindex)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++)
		if (a->nics[i].live && a->nics[i].ifindex == ifindex)
			return &a->nics[i];
	return NULL;
}

static struct nic *new_nic(struct agent *a)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++) {
		if (a->nics[i].live)
			continue;
		a->nics[i] = (struct nic){ .i = i };
		return &a->nics[i];
	}
	return NULL;
}

/* Fills MAC and MTU; Ethernet only, and no interface of our own making. */
static int examine(struct nic *n, const char *name, char *text, size_t text_bytes)
{
	struct ifreq ifr = { 0 };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), err = 0;
	const char *why = NULL;

	if (fd < 0)
		return -errno;
	(void)snprintf(ifr.ifr_name, sizeof(ifr.ifr_name), "%s", name);
	if (ioctl(fd, SIOCGIFHWADDR, &ifr))
		err = -errno;
	else if (ifr.ifr_hwaddr.sa_family != ARPHRD_ETHER)
		why = "not an Ethernet interface";
	memcpy(n->mac, ifr.ifr_hwaddr.sa_data, sizeof(n->mac));
	if (!err && ioctl(fd, SIOCGIFMTU, &ifr))
		err = -errno;
	n->mtu = (uint32_t)ifr.ifr_mtu;
	if (!err && ioctl(fd, SIOCGIFINDEX, &ifr))
		err = -errno;
	n->ifindex = (uint32_t)ifr.ifr_ifindex;
	(void)close(fd);
	(void)snprintf(n->name, sizeof(n->name), "%s", name);
	if (why) {
		(void)snprintf(text, text_bytes, "%s: %s", name, why);
		return -EOPNOTSUPP;
	}
	return err;
}

/* An own queue catches all only where there is one receive queue. */
static bool single_queue(const char *name)
{
	char path[64];

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/queues/rx-1", name);
	return access(path, F_OK) != 0;
}

int link_attach(struct agent *a, const struct ctl_link *l, char *text, size_t text_bytes)
{
	struct nic *n = new_nic(a);
	char note[sizeof(n->note)];
	uint32_t mode;
	int err;

	if (!n)
		return -EDQUOT;
	err = examine(n, l->name, text, text_bytes);
	if (err)
		return err;
	if (link_find(a, n->ifindex))
		return -EEXIST;
	if ((l->flags & ATTACH_F_DIRECT) && !single_queue(l->name)) {
		(void)snprintf(text, text_bytes, "%s has several receive queues; direct mode needs "
			       "one: ethtool -L %s combined 1", l->name, l->name);
		return -EOPNOTSUPP;
	}
	n->mode = ATTACH_GENERIC;
	n->flags = l->flags;
	n->live = true;
	filter_nic(a, n);
	err = keeper_attach(a, n->ifindex, l->mode, &mode, note, sizeof(note));
	if (err) {
		filter_nic_del(a, n);
		n->live = false;
		(void)snprintf(text, text_bytes, "%s: %s", l->name, note[0] ? note : strerror(-err));
		return err;
	}
	n->mode = mode;
	filter_nic(a, n);	/* which the program must know, too */
	(void)snprintf(n->note, sizeof(n->note), "%s", note);
	(void)snprintf(text, text_bytes, "%s: %s", l->name, note);
	mirror_links_changed(a);
	filter_locals(a);
	kit_drop_spares(a);	/* they lack this interface */
	if (a->verbose)
		agt_log("attached %s", text);
	return 0;
}

void link_detach_nic(struct agent *a, struct nic *n)
{
	int err = keeper_detach(a, n->ifindex);

	if (err && err != -ENODEV && err != -ENOENT)
		agt_log("%s: taking the XDP program off: %s", n->name, strerror(-err));
	stack_nic_gone(a, n);
	kit_drop_spares(a);
	filter_nic_del(a, n);
	n->live = false;
	n->direct = NULL;
	vf_destroy_nic(a, n);
	mirror_links_changed(a);
	filter_locals(a);
	if (a->verbose)
		agt_log("detached %s", n->name);
}

int link_detach(struct agent *a, const char *name)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++) {
		if (!a->nics[i].live || strcmp(a->nics[i].name, name))
			continue;
		link_detach_nic(a, &a->nics[i]);
		return 0;
	}
	return if_nametoindex(name) ? -ENOENT : -ENODEV;
}

/* News from the mirror. */
void link_changed(struct agent *a, const struct mir_link *l)
{
	struct nic *n = link_find(a, l->ifindex);

	if (!n)
		return;
	(void)snprintf(n->name, sizeof(n->name), "%.15s", l->name);
	if (n->mtu == l->mtu && !memcmp(n->mac, l->mac, sizeof(n->mac)))
		return;
	n->mtu = l->mtu;
	memcpy(n->mac, l->mac, sizeof(n->mac));
	filter_nic(a, n);
}

void link_gone(struct agent *a, uint32_t ifindex)
{
	struct nic *n = link_find(a, ifindex);

	if (!n)
		return;
	agt_log("%s is gone", n->name);
	link_detach_nic(a, n);
}

static void count_stacks(struct agent *a, const struct nic *n, struct ctl_status *ret)
{
	struct nic_count nc;
	struct vf_count vc;
	uint32_t i;

	filter_count_nic(a, n->i, &nc);
	ret->rx_passed = nc.rx_passed;
	ret->rx_errors = nc.rx_errors;
	for (i = 1; i <= N_SLOTS; i++) {
		filter_count_vf(a, i, n->i, &vc);
		ret->rx_redirected += vc.rx_redirected;
		ret->tx_allowed += vc.tx_allowed;
		ret->tx_spoofed += vc.tx_spoofed;
		ret->tx_malformed += vc.tx_malformed;
		ret->n_stacks += a->stacks[i].state == STACK_LIVE;
	}
	for (i = 0; i < N_VF_DEVS; i++)
		ret->n_vfs += a->vfs[i].state != VF_NONE && a->vfs[i].nic == n->i;
	for (i = 1; i <= N_SLOTS; i++)
		ret->n_vfs_free += a->stacks[i].state == STACK_SPARE;
}

int link_status(struct agent *a, uint32_t index, struct ctl_status *ret)
{
	uint32_t i;

	for (i = 0; i < N_VIS; i++) {
		const struct nic *n = &a->nics[i];

		if (!n->live || index-- > 0)
			continue;
		memset(ret, 0, sizeof(*ret));
		memcpy(ret->name, n->name, sizeof(ret->name));
		ret->ifindex = n->ifindex;
		ret->mtu = n->mtu;
		ret->mode = n->mode;
		ret->flags = n->flags;
		ret->n_leases = lease_count();
		ret->n_shared = lease_shared_count();
		memcpy(ret->note, n->note, sizeof(ret->note));
		count_stacks(a, n, ret);
		return 0;
	}
	return -ENOENT;
}
