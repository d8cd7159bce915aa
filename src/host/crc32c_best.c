/* SPDX-License-Identifier: BSD-2-Clause */
/* Asks the CPU which CRC32C it can run; the core may not ask. */
#include "base/crc32c.h"

crc32c_fn crc32c_best(void)
{
#if defined(__x86_64__)
	__builtin_cpu_init();
	if (__builtin_cpu_supports("sse4.2"))
		return crc32c_sse42;
#endif
	return crc32c_scalar;
}
