/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvt.h - runs a Solo5 unikernel of the target hvt in a virtual machine of this process (KVM).
 */
#pragma once

#include "tender/solo5.h"

#define HVT_MEMORY_MAX (4 * GIB) /* a hypercall's address has 32 bits */

/* Where the guest runs once it has begun. */
enum hvt_ring {
	HVT_RING_MEASURED, /* 3 where this host's KVM interprets ring 0 */
	HVT_RING_0,
	HVT_RING_3,
};

/* 0 and the unikernel's exit status, or why it could not be run. */
int hvt_run(struct solo5 *solo5, uint64_t memory_bytes, const char *command_line,
	enum hvt_ring ring, int *ret_status, struct error *e) must_use;
