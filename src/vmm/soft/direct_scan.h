/* SPDX-License-Identifier: Apache-2.0 */
/*
 * direct_scan.h - code that must not run as it is, because it would be told of the host. Pure.
 *
 * None of it is a wall: what it would learn are XCR0, the number of the processor, limits of segments, and that there is a
 * hypervisor below the host. But XSAVE
 * would write the host's state components, which are more than the guest's programs have room for; and INT 4 would be
 * seen behind the instruction, where it cannot be told from a fault of the next.
 */
#pragma once

#include "base/base.h"

/* So many bytes before are good to know. */
#define DIRECT_SCAN_BEFORE 64u

/*
 * Whether such an instruction may begin in [begin, end - 2); the bytes before help to find out. XGETBV is one if the
 * host's answer matters, so CPUID where it does not fault.
 */
#define DIRECT_TELLS_XCR0  1u
#define DIRECT_TELLS_CPUID 2u
bool direct_scan(const uint8_t *bytes, size_t begin, size_t end, uint32_t tells);
