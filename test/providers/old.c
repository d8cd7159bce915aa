/* SPDX-License-Identifier: BSD-2-Clause */
/* A provider of another version of the interface. */
#include <stddef.h>

#include "onramp/provider.h"

const struct onramp_provider onramp_provider = { .abi = ONRAMP_PROVIDER_ABI + 6, .kind = ONRAMP_FILTER };
