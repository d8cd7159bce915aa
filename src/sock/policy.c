/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a profile keeps in the kernel, by address and port: what ONRAMP_KERNEL names, and, if there is an ONRAMP_ONLY,
 * all that this does not. Both are lists of HEX32/BITS:LO-HI, made by conf/rules.c; a rule that is none of
 * these ends the list.
 *
 * A connection is judged by its peer, a listener and a bound datagram socket by their own address; who is
 * bound to all addresses, by the rules that name none.
 */
#include "sock/self.h"

#include <stdlib.h>

#define N_RULES 32

struct rule { struct ipaddr net; uint32_t bits, lo, hi; };
struct rules { struct rule r[N_RULES]; uint32_t n; };

static struct rules kernel, only;

static bool take_number(const char **at, char ends, uint32_t *ret)
{
	uint32_t v = 0;
	const char *p = *at;

	for (; *p >= '0' && *p <= '9' && v <= UINT16_MAX; p++)
		v = v * 10 + (uint32_t)(*p - '0');
	*ret = v;
	if (p == *at || (ends && *p != ends))
		return false;
	*at = p + (ends != 0);
	return true;
}

static bool take_digit(char c, uint8_t *ret)
{
	if (c >= '0' && c <= '9')
		*ret = (uint8_t)(*ret << 4 | (c - '0'));
	else if (c >= 'a' && c <= 'f')
		*ret = (uint8_t)(*ret << 4 | (c - 'a' + 10));
	else
		return false;
	return true;
}

static bool take_rule(const char **at, struct rule *r)
{
	uint32_t i;

	*r = (struct rule){ .bits = 0 };
	for (i = 0; i < 32; i++, (*at)++)
		if (!take_digit(**at, &r->net.b[i / 2]))
			return false;
	if (*(*at)++ != '/')
		return false;
	return take_number(at, ':', &r->bits) && r->bits <= 128 && take_number(at, '-', &r->lo) &&
	       take_number(at, 0, &r->hi);
}

static void read_rules(const char *text, struct rules *ret)
{
	while (text && *text && ret->n < N_RULES && take_rule(&text, &ret->r[ret->n])) {
		ret->n++;
		if (*text++ != ',')
			return;
	}
}

void policy_read(void)
{
	read_rules(secure_getenv("ONRAMP_KERNEL"), &kernel);
	read_rules(secure_getenv("ONRAMP_ONLY"), &only);
}

bool policy_on(void) { return kernel.n || only.n; }

static bool fits(const struct rules *rules, const struct ipaddr *a, uint16_t port)
{
	uint32_t i, k, left;

	for (i = 0; i < rules->n; i++) {
		const struct rule *r = &rules->r[i];

		if (port < r->lo || port > r->hi || (r->bits && ip_is_any(a)))
			continue;
		k = r->bits / 8;
		left = r->bits % 8;
		if (memcmp(a->b, r->net.b, k) == 0 && (!left || !((a->b[k] ^ r->net.b[k]) >> (8 - left))))
			return true;
	}
	return false;
}

bool policy_keeps(const struct ipaddr *a, uint16_t port)
{
	return policy_on() && (fits(&kernel, a, port) || (only.n && !fits(&only, a, port)));
}
