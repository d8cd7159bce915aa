/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Loses one frame in a hundred; attached with tc to a host's interface by the tests. Stolen, not
 * shot: of a frame shot on its way out the sender's TCP is told, and none is lost to it. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int lose(struct __sk_buff *skb)
{
	return bpf_get_prandom_u32() % 100 == 0 ? TC_ACT_STOLEN : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
