/* SPDX-License-Identifier: BSD-2-Clause */
/* The kernel's TCP sysctls of this network namespace, for ours to go by. */
#include "host/host.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/mirror.h"

/* Up to three numbers; how many there were. */
static int numbers(const char *name, uint32_t *ret)
{
	char path[128], text[128];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/sys/net/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	n = read(fd, text, sizeof(text) - 1);
	(void)close(fd);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	return sscanf(text, "%u %u %u", &ret[0], &ret[1], &ret[2]);
}

static uint32_t number(const char *name)
{
	uint32_t v[3];

	return numbers(name, v) >= 1 ? v[0] : 0;
}

static uint8_t small(const char *name)
{
	uint32_t v = number(name);

	return (uint8_t)(v > UINT8_MAX ? UINT8_MAX : v);
}

static uint8_t if_zero(const char *name, uint32_t flag)
{
	uint32_t v[3];

	return numbers(name, v) >= 1 && v[0] == 0 ? (uint8_t)flag : 0;
}

static void buffers(struct mir_tcp *m)
{
	uint32_t v[3], core_max = number("core/rmem_max");

	if (numbers("ipv4/tcp_rmem", v) == 3) {
		m->rmem = v[1];
		m->rmem_max = v[2] > core_max ? v[2] : core_max;
	}
	if (numbers("ipv4/tcp_wmem", v) == 3) {
		m->wmem = v[1];
		m->wmem_max = v[2];
	}
}

/* 0, 1 or 2, plus 1. What is more asks for AccECN, or answers it: ECN is what that falls back to. */
static uint8_t ecn(void)
{
	uint32_t v[3];

	if (numbers("ipv4/tcp_ecn", v) < 1)
		return 0;
	return (uint8_t)(v[0] <= 2 ? v[0] + 1 : v[0] == 5 ? 3 : 2);
}

void host_tcp_tuning(struct mir_tcp *ret)
{
	struct mir_tcp m;
	uint32_t v[3];

	memset(&m, 0, sizeof(m));
	buffers(&m);
	m.keepidle_s = number("ipv4/tcp_keepalive_time");
	m.keepintvl_s = number("ipv4/tcp_keepalive_intvl");
	m.keepcnt = number("ipv4/tcp_keepalive_probes");
	m.fin_timeout_s = number("ipv4/tcp_fin_timeout");
	m.notsent_lowat = number("ipv4/tcp_notsent_lowat");
	if (m.notsent_lowat == UINT32_MAX)	/* none */
		m.notsent_lowat = 0;
	m.syn_retries = small("ipv4/tcp_syn_retries");
	m.syn_linear = small("ipv4/tcp_syn_linear_timeouts");
	m.synack_retries = small("ipv4/tcp_synack_retries");
	m.retries2 = small("ipv4/tcp_retries2");
	m.orphan_retries = small("ipv4/tcp_orphan_retries");
	if (numbers("ipv4/tcp_fastopen", v) >= 1)
		m.fastopen = v[0] + 1;
	m.fastopen_off_s = number("ipv4/tcp_fastopen_blackhole_timeout_sec");
	m.ecn = ecn();
	m.off = if_zero("ipv4/tcp_timestamps", MIR_TCP_NO_TS) | if_zero("ipv4/tcp_sack", MIR_TCP_NO_SACK) |
		if_zero("ipv4/tcp_window_scaling", MIR_TCP_NO_WSCALE) | if_zero("ipv4/tcp_dsack", MIR_TCP_NO_DSACK) |
		if_zero("ipv4/tcp_slow_start_after_idle", MIR_TCP_NO_RESTART);
	*ret = m;
}
