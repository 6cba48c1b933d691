/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid.h - what the guest is told about its CPU: what this engine does and the host can.
 */
#pragma once

#include "vmm/soft/cpu.h"

#define HOST_HAS_RDRAND  UINT64_C(0x001)
#define HOST_HAS_RDSEED  UINT64_C(0x002)
#define HOST_HAS_AVX     UINT64_C(0x004)
#define HOST_HAS_AVX2    UINT64_C(0x008)
#define HOST_HAS_FMA     UINT64_C(0x010)
#define HOST_HAS_F16C    UINT64_C(0x020)
#define HOST_HAS_AES     UINT64_C(0x040)
#define HOST_HAS_PCLMUL  UINT64_C(0x080)
#define HOST_HAS_SHA     UINT64_C(0x100)
#define HOST_HAS_GFNI    UINT64_C(0x200)
#define HOST_HAS_VAES    UINT64_C(0x400)
#define HOST_HAS_VPCLMUL UINT64_C(0x800)
#define HOST_HAS_BASE    UINT64_C(0x1000) /* all that the engine's own code is made of */
#define HOST_IS_KNOWN    UINT64_C(0x2000)
#define HOST_HAS_AVX512  UINT64_C(0x4000) /* F, CD, BW, DQ and VL */
#define HOST_HAS_IFMA    UINT64_C(0x8000)
#define HOST_HAS_VBMI    UINT64_C(0x10000)
#define HOST_HAS_VBMI2   UINT64_C(0x20000)
#define HOST_HAS_VNNI    UINT64_C(0x40000)
#define HOST_HAS_BITALG  UINT64_C(0x80000)
#define HOST_HAS_VPOPCNT UINT64_C(0x100000)

/* For the few places where AMD's CPUs differ from the others'. */
bool cpuid_host_is_amd(void);

/* Whether the host has all of these. */
bool cpuid_host_has(uint64_t features);

/* Likewise, of X_... of evex_table.h. */
bool cpuid_host_has_evex(uint32_t features);

/* Whether XCR0 may hold this; whether it may on this host. */
bool cpuid_is_xcr0(uint64_t value);
bool cpuid_host_has_xcr0(uint64_t value);

/* Where an XSAVE image has components 5 to 7: opmasks, the upper halves of 16 vectors, 16 vectors more. */
struct cpuid_layout {
	uint32_t opmask, upper, more, bytes;
};
struct cpuid_layout cpuid_layout(bool is_intel);

/*
 * The signature of leaf 1 that a guest is shown, from the host's and EBX of its leaf 7, EDX of that and EAX of leaf 7.1.
 */
uint32_t cpuid_signature(uint32_t host, bool is_amd, const uint32_t features[3]);

/* EAX, EBX, ECX, EDX of a leaf. */
void cpuid_query(const struct cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t regs[4]);

/* The host's time stamp counter and CLOCK_MONOTONIC, read at once. */
struct cpuid_instant {
	uint64_t tsc, ns;
};
struct cpuid_instant cpuid_now(void);

/* Frequency of the host's time stamp counter; measured from `since` if nobody says, for which it may sleep a little. */
uint64_t cpuid_tsc_khz(const struct cpuid_instant *since);
