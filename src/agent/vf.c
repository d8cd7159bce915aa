// SPDX-License-Identifier: BSD-2-Clause
/*
 * Software virtual functions: veth pairs, both ends in the agent's namespace.
 *
 *   onr<id>a  application end: the stack's AF_XDP socket is bound to it
 *   onr<id>b  agent end: what the application sends comes out here, to be validated
 *
 * The kernel must neither speak nor listen there: no addresses, no IPv6, no ARP, and the XDP
 * programs let nothing pass. They are the largest MTU, because a redirect to a device is held
 * against that device's MTU and a peer's super-frame has 64 KB.
 *
 * The agent end's program runs in generic mode always, for what it redirects are socket
 * buffers made by the AF_XDP socket; the application end follows its interface, since a
 * native redirect needs a native program on the far side.
 *
 * A pair outlives the stacks that use it: making one and attaching its programs costs tens of
 * milliseconds. Before reuse it is quiet, because its old AF_XDP socket has been closed.
 */
#include "agent/agent.h"

#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <stdio.h>
#include <unistd.h>

#include "host/host.h"

#define VF_MTU 65535
#define VF_PREFIX "onr"
#define VF_REST_NS (200 * NS_PER_MS)

static void vf_name(char *ret, uint32_t id, char end)
{
	(void)snprintf(ret, IFNAMSIZ, VF_PREFIX "%u%c", id, end);
}

static struct nlmsghdr *link_request(void *buf, uint16_t type, uint16_t flags, uint32_t ifindex,
				     unsigned int on)
{
	struct nlmsghdr *h = mnl_nlmsg_put_header(buf);
	struct ifinfomsg *ifi;

	h->nlmsg_type = type;
	h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	ifi->ifi_family = AF_UNSPEC;
	ifi->ifi_index = (int)ifindex;
	ifi->ifi_flags = on;
	ifi->ifi_change = on;
	return h;
}

static void put_end(struct nlmsghdr *h, uint32_t id, char end)
{
	char name[IFNAMSIZ];

	vf_name(name, id, end);
	mnl_attr_put_strz(h, IFLA_IFNAME, name);
	mnl_attr_put_u32(h, IFLA_MTU, VF_MTU);
	mnl_attr_put_u32(h, IFLA_NUM_TX_QUEUES, 1);
	mnl_attr_put_u32(h, IFLA_NUM_RX_QUEUES, 1);
	mnl_attr_put_u32(h, IFLA_TXQLEN, 1000);
}

static int create_pair(struct agent *a, uint32_t id)
{
	char buf[1024] aligned8;
	struct nlmsghdr *h = link_request(buf, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, 0, IFF_NOARP);
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *ifi;

	put_end(h, id, 'a');
	info = mnl_attr_nest_start(h, IFLA_LINKINFO);
	mnl_attr_put_strz(h, IFLA_INFO_KIND, "veth");
	data = mnl_attr_nest_start(h, IFLA_INFO_DATA);
	peer = mnl_attr_nest_start(h, VETH_INFO_PEER);
	ifi = mnl_nlmsg_put_extra_header(h, sizeof(*ifi));
	ifi->ifi_flags = IFF_NOARP;
	ifi->ifi_change = IFF_NOARP;
	put_end(h, id, 'b');
	mnl_attr_nest_end(h, peer);
	mnl_attr_nest_end(h, data);
	mnl_attr_nest_end(h, info);
	return nl_talk(a, h, NULL, NULL);
}

static int delete_link(struct agent *a, uint32_t ifindex)
{
	char buf[256] aligned8;

	return nl_talk(a, link_request(buf, RTM_DELLINK, 0, ifindex, 0), NULL, NULL);
}

/* Without this the kernel gives each end a link-local address and talks to itself on it. */
static void silence(const char *name)
{
	char path[96];
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/disable_ipv6", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;		/* a kernel without IPv6 */
	if (write(fd, "1", 1) != 1)
		agt_log("%s: cannot switch IPv6 off", name);
	(void)close(fd);
}

static int raise_end(struct agent *a, uint32_t id, char end, uint32_t *ret_ifindex)
{
	char buf[256] aligned8, name[IFNAMSIZ];

	vf_name(name, id, end);
	*ret_ifindex = if_nametoindex(name);
	if (!*ret_ifindex)
		return -errno;
	silence(name);
	return nl_talk(a, link_request(buf, RTM_NEWLINK, 0, *ret_ifindex, IFF_UP), NULL, NULL);
}

static int vf_create(struct agent *a, struct vf *v, const struct nic *n)
{
	uint32_t app_mode = n->mode == ATTACH_NATIVE ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
	int err = create_pair(a, v->id);

	if (err)
		return err;
	v->nic = n->i;
	err = raise_end(a, v->id, 'a', &v->app_ifindex);
	if (!err)
		err = raise_end(a, v->id, 'b', &v->agent_ifindex);
	if (!err)
		err = bpf_xdp_attach((int)v->app_ifindex, filter_prog_fd(a, true), app_mode, NULL);
	if (!err)
		err = bpf_xdp_attach((int)v->agent_ifindex, filter_prog_fd(a, false),
				     XDP_FLAGS_SKB_MODE, NULL);
	if (err) {
		if (v->app_ifindex)
			(void)delete_link(a, v->app_ifindex);
		return err;
	}
	v->state = VF_BARE;
	return 0;
}

static struct vf *rested(struct agent *a, const struct nic *n)
{
	uint64_t now = host_now();
	uint32_t i;

	for (i = 0; i < N_VF_DEVS; i++)
		if (a->vfs[i].state == VF_BARE && a->vfs[i].nic == n->i &&
		    now >= a->vfs[i].rests_until)
			return &a->vfs[i];
	return NULL;
}

bool vf_ready(struct agent *a, const struct nic *n) { return rested(a, n) != NULL; }

/* Makes one more pair for an interface. */
int vf_prepare(struct agent *a, const struct nic *n)
{
	uint32_t i;

	for (i = 0; i < N_VF_DEVS; i++) {
		a->vfs[i].id = i;
		if (a->vfs[i].state == VF_NONE)
			return vf_create(a, &a->vfs[i], n);
	}
	return -EDQUOT;
}

/* A pair for an interface: one that lies ready, or a new one. */
int vf_take(struct agent *a, const struct nic *n, struct vf **ret)
{
	struct vf *v = rested(a, n);
	int err;

	if (!v) {
		err = vf_prepare(a, n);
		if (err)
			return err;
		v = rested(a, n);
	}
	if (!v)
		return -ENODEV;
	v->state = VF_USED;
	*ret = v;
	return 0;
}

void vf_put(struct vf *v)
{
	v->state = VF_BARE;
	v->rests_until = host_now() + VF_REST_NS;
}

void vf_destroy(struct agent *a, struct vf *v)
{
	int err;

	if (v->state == VF_NONE)
		return;
	err = delete_link(a, v->app_ifindex);	/* its peer goes with it */
	if (err && err != -ENODEV)
		agt_log("removing " VF_PREFIX "%ua: %s", v->id, strerror(-err));
	*v = (struct vf){ .id = v->id };
}

void vf_destroy_nic(struct agent *a, const struct nic *n)
{
	uint32_t i;

	for (i = 0; i < N_VF_DEVS; i++)
		if (a->vfs[i].state != VF_NONE && a->vfs[i].nic == n->i)
			vf_destroy(a, &a->vfs[i]);
}

/* What an agent that was killed left behind: pairs of our name, and nobody else's kind. */
void vf_clean_stale(struct agent *a)
{
	char name[IFNAMSIZ];
	uint32_t i, ifindex;

	for (i = 0; i < N_VF_DEVS; i++) {
		vf_name(name, i, 'a');
		ifindex = if_nametoindex(name);
		vf_name(name, i, 'b');
		if (!ifindex || !if_nametoindex(name))
			continue;
		agt_log("removing %s, left by an earlier agent", name);
		(void)delete_link(a, ifindex);
	}
}
