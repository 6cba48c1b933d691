/* SPDX-License-Identifier: Apache-2.0 */
/*
 * host.h - the platform by calls to a tender, where there is one (abi/machine.h).
 */
#pragma once

#include "abi/machine.h"
#include "unikernel/kernel.h"

extern bool host_is_there, host_has_header; /* header: frames have one of virtio */

/* From here on there is one. */
void host_start(bool has_header);

int64_t host_call(uint32_t operation, uint64_t first, uint64_t second, uint64_t third);

/* Calls with memory of ours or the program's, piece by piece: `operation` takes address and bytes as its last two. */
int64_t host_transfer(
	uint32_t operation, uint64_t first, void *data, uint64_t size, bool is_filled);

int64_t host_send(const struct iovec *parts, int count);
