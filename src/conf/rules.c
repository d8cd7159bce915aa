/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Addresses and ports of a profile's `kernel` and `only`, as people write them and as the library compares them:
 *
 *	10.0.0.0/8, :5432, 192.0.2.1:80-90, [2001:db8::]/32:443, fe80::/10
 *	00000000000000000000ffff0a000000/104:0-65535, ...	IPv4 as mapped
 */
#include "conf/conf.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool number(const char *s, size_t n, unsigned most, unsigned *ret)
{
	unsigned long v = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || v > most)
			return false;
		v = v * 10 + (unsigned long)(s[i] - '0');
	}
	*ret = (unsigned)v;
	return n && v <= most;
}

/* [ADDR][/BITS], brackets gone. */
static bool parse_net(const char *text, size_t n, unsigned char addr[16], unsigned *ret_bits)
{
	static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
	const char *slash = memchr(text, '/', n), *end = text + n;
	size_t len = slash ? (size_t)(slash - text) : n;
	char name[INET6_ADDRSTRLEN];
	bool v4;

	if (len && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (!len || len >= sizeof(name))
		return false;
	memcpy(name, text, len);
	name[len] = 0;
	v4 = inet_pton(AF_INET, name, addr + 12) == 1;
	if (v4)
		memcpy(addr, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, name, addr) != 1)
		return false;
	*ret_bits = v4 ? 32 : 128;
	if (slash && !number(slash + 1, (size_t)(end - slash - 1), *ret_bits, ret_bits))
		return false;
	*ret_bits += v4 ? 96 : 0;
	return true;
}

static bool parse_ports(const char *s, size_t n, unsigned *lo, unsigned *hi)
{
	const char *dash = memchr(s, '-', n);
	size_t k = dash ? (size_t)(dash - s) : n;

	if (!number(s, k, 65535, lo))
		return false;
	*hi = *lo;
	return !dash || (number(dash + 1, n - k - 1, 65535, hi) && *lo <= *hi);
}

/* Where the address ends: at the colon of a port, which for IPv6 stands after the bracket. */
static size_t net_length(const char *s, size_t n)
{
	const char *end = memchr(s, ']', n), *colon = memchr(end ? end : s, ':', n - (size_t)((end ? end : s) - s));

	if (!colon || (!end && memchr(colon + 1, ':', n - (size_t)(colon + 1 - s))))
		return n;	/* several colons and no bracket: an IPv6 address alone */
	return (size_t)(colon - s);
}

static bool one(const char *s, size_t n, char *ret, size_t bytes)
{
	unsigned char addr[16] = { 0 };
	unsigned bits = 0, lo = 0, hi = 65535, i;
	size_t k = net_length(s, n), at = strlen(ret);

	if (!n || (k && !parse_net(s, k, addr, &bits)) || (k < n && !parse_ports(s + k + 1, n - k - 1, &lo, &hi)))
		return false;
	if (at + 64 > bytes)
		return false;
	at += (size_t)snprintf(ret + at, bytes - at, "%s", at ? "," : "");
	for (i = 0; i < sizeof(addr); i++)
		at += (size_t)snprintf(ret + at, bytes - at, "%02x", addr[i]);
	snprintf(ret + at, bytes - at, "/%u:%u-%u", bits, lo, hi);
	return true;
}

bool conf_rules(const char *text, char *ret, size_t bytes)
{
	size_t n, gap;

	ret[0] = 0;
	for (; *text; text += n + (text[n] == ',')) {
		gap = strspn(text, " \t");
		text += gap;
		n = strcspn(text, ",");
		for (gap = n; gap && (text[gap - 1] == ' ' || text[gap - 1] == '\t'); gap--)
			;
		if (!one(text, gap, ret, bytes))
			return false;
	}
	return ret[0] != 0;
}
