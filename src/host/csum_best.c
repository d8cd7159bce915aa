/* SPDX-License-Identifier: BSD-2-Clause */
/* Asks the CPU which checksum it can run; the core may not ask. */
#include "base/csum.h"

csum_fn csum_best(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("avx2"))
		return csum_add_avx2;
#endif
	return csum_add_scalar;
}
