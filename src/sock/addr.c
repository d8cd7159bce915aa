/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses as programs write them (struct sockaddr) and as the core has them. */
#include "sock/self.h"

#include <errno.h>
#include <netinet/in.h>

/* -EAFNOSUPPORT for what is not an address of IPv4 or IPv6 that we could serve: those are
 * the kernel's to judge, link-local IPv6 (with its scope) among them. */
int addr_parse(const void *sa, socklen_t n, struct ipaddr *ret, uint16_t *ret_port)
{
	struct sockaddr_in a4;
	struct sockaddr_in6 a6;
	sa_family_t family;

	if (!sa || n < sizeof(family))
		return -EINVAL;
	memcpy(&family, sa, sizeof(family));
	if (family == AF_INET && n >= sizeof(a4)) {
		memcpy(&a4, sa, sizeof(a4));
		*ret = ip_from4(__builtin_bswap32(a4.sin_addr.s_addr));
		*ret_port = __builtin_bswap16(a4.sin_port);
		return 0;
	}
	if (family == AF_INET6 && n >= sizeof(a6)) {
		memcpy(&a6, sa, sizeof(a6));
		memcpy(ret->b, &a6.sin6_addr, 16);
		*ret_port = __builtin_bswap16(a6.sin6_port);
		return a6.sin6_scope_id || IN6_IS_ADDR_LINKLOCAL(&a6.sin6_addr) ? -EAFNOSUPPORT : 0;
	}
	return -EAFNOSUPPORT;
}

/* Writes as much as *n allows and sets *n to the full length, as the kernel does. */
void addr_emit(const struct ipaddr *a, uint16_t port, bool v6, void *sa, socklen_t *n)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6 };
	const void *from = v6 ? (const void *)&a6 : (const void *)&a4;
	socklen_t full = v6 ? sizeof(a6) : sizeof(a4);

	if (!sa || !n)
		return;
	a6.sin6_port = a4.sin_port = __builtin_bswap16(port);
	memcpy(&a6.sin6_addr, a->b, 16);
	if (!v6)
		a4.sin_addr.s_addr = __builtin_bswap32(ip_to4(a));
	memcpy(sa, from, *n < full ? *n : full);
	*n = full;
}

bool addr_is_loopback(const struct ipaddr *a)
{
	static const uint8_t one[16] = { [15] = 1 };

	return ip_is4(a) ? ip_to4(a) >> 24 == 127 : memcmp(a->b, one, 16) == 0;
}
