/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Loses one frame in a hundred; attached with tc to a host's interface by the tests. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

SEC("tc")
int lose(struct __sk_buff *skb)
{
	return bpf_get_prandom_u32() % 100 == 0 ? TC_ACT_SHOT : TC_ACT_OK;
}

char _license[] SEC("license") = "Dual BSD/GPL";
