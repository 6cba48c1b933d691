/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpuid.c - the host's leaves, each through a mask of what is implemented.
 */
#include "vmm/soft/cpuid.h"

#include <cpuid.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <x86intrin.h>

#include "vmm/soft/evex_table.h"
#include "vmm/soft/memory.h"

/* Leaf 1: SSE3 PCLMUL SSSE3 FMA CX16 SSE4.1 SSE4.2 MOVBE POPCNT AES XSAVE AVX F16C RDRAND. */
#define LEAF1_ECX 0x76d83203u
/* x2APIC, TSC deadline, hypervisor: ours whatever the host has. */
#define LEAF1_ECX_OURS 0x81200000u
#define LEAF1_OSXSAVE  (1u << 27)
/* FPU DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFSH MMX FXSR SSE SSE2 */
#define LEAF1_EDX 0x078bfbfdu
/* FSGSBASE TSC_ADJUST BMI1 AVX2 SMEP BMI2 ERMS RDSEED ADX SMAP CLFLUSHOPT CLWB SHA */
#define LEAF7_EBX     0x219c03abu
#define LEAF7_EBX_512 0xd0230000u /* F DQ IFMA CD BW VL */
#define LEAF7_ECX     0x00400704u /* UMIP GFNI VAES VPCLMULQDQ RDPID */
#define LEAF7_ECX_512 0x00005842u /* VBMI VBMI2 VNNI BITALG VPOPCNTDQ */
#define LEAF7_EDX     0x00000010u /* FSRM */
/* SPEC_CTRL and ARCH_CAPABILITIES, which says that a guest needs no workaround for its host's CPU. */
#define LEAF7_EDX_OURS 0x24000000u
/*
 * BHI_CTRL. Kernels that do not take BHI_NO for an answer set a bit of SPEC_CTRL then; else they would run a loop of calls
 * at each system call, made for the branch history of a CPU that executes their branches itself.
 */
#define LEAF7_2_EDX 0x10u
/* LAHF ABM 3DNOWPREFETCH; SYSCALL NX PDPE1GB RDTSCP LM and, on AMD, the copy of leaf 1. */
#define EXT1_ECX  0x00000121u
#define EXT1_EDX  0x2c100800u
#define EXT1_COPY 0x0183f3ffu

#define MEASURE_NS (2 * NS_PER_MS) /* least time that the counter is measured for */

#define XSAVE_LEGACY 576u
#define XSAVE_ALL    832u

struct leaf {
	uint32_t a, b, c, d;
};

/* The leaves that are made of the host's, by leaf and subleaf. */
static const struct {
	uint32_t leaf, sub;
} asked[] = { { 0, 0 }, { 1, 0 }, { 7, 0 }, { 7, 1 }, { 0xd, 5 }, { 0xd, 6 }, { 0xd, 7 },
	{ 0x15, 0 }, { 0x80000000, 0 }, { 0x80000001, 0 }, { 0x80000002, 0 }, { 0x80000003, 0 },
	{ 0x80000004, 0 }, { 0x80000005, 0 }, { 0x80000006, 0 } };

static struct leaf host_leaves[ARRAY_SIZE(asked)];

static void ask_host(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
		struct leaf *ret = &host_leaves[i];
		uint32_t leaf = asked[i].leaf;
		if ((uint32_t)__get_cpuid_max(leaf & 0x80000000, NULL) >= leaf)
			__cpuid_count(leaf, asked[i].sub, ret->a, ret->b, ret->c, ret->d);
	}
}

/*
 * CPUID leaves for the hypervisor where this host is a guest, and each program of a guest asks dozens of times when it
 * starts; so the host is asked once.
 */
static struct leaf host(uint32_t leaf, uint32_t sub)
{
	static pthread_once_t is_asked = PTHREAD_ONCE_INIT;
	pthread_once(&is_asked, ask_host);
	for (size_t i = 0; i < ARRAY_SIZE(asked); i++)
		if (asked[i].leaf == leaf && asked[i].sub == sub)
			return host_leaves[i];
	return (struct leaf){};
}

static uint32_t host_xcr0(void)
{
	uint32_t low, high;
	__asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

bool cpuid_host_is_amd(void)
{
	return host(0, 0).b == 0x68747541; /* "Auth" */
}

struct cpuid_layout cpuid_layout(bool is_intel)
{
	if (is_intel)
		return (struct cpuid_layout){ 1088, 1152, 1664, 2688 };
	return (struct cpuid_layout){ 832, 896, 1408, 2432 };
}

/* All five, which no CPU of a server lacks one of, where the state is kept as we do. */
static bool host_has_512(const struct leaf *seven)
{
	const uint32_t all = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31;
	struct cpuid_layout layout = cpuid_layout(!cpuid_host_is_amd());
	return (seven->b & all) == all && (host_xcr0() & XCR0_512) == XCR0_512 &&
		host(0xd, 5).b == layout.opmask && host(0xd, 6).b == layout.upper &&
		host(0xd, 7).b == layout.more;
}

static uint64_t host_features(void)
{
	struct leaf one = host(1, 0), seven = host(7, 0), ext = host(0x80000001, 0);
	uint64_t has = 0;
	bool has_avx = (one.c >> 28 & 1) && (one.c >> 27 & 1) && (host_xcr0() & 6) == 6;
	static const struct {
		uint32_t bit;
		uint64_t feature;
	} in_one[] = { { 30, HOST_HAS_RDRAND }, { 25, HOST_HAS_AES }, { 1, HOST_HAS_PCLMUL } },
	  in_seven[] = { { 18, HOST_HAS_RDSEED }, { 29, HOST_HAS_SHA } };
	for (size_t i = 0; i < ARRAY_SIZE(in_one); i++)
		has |= one.c >> in_one[i].bit & 1 ? in_one[i].feature : 0;
	for (size_t i = 0; i < ARRAY_SIZE(in_seven); i++)
		has |= seven.b >> in_seven[i].bit & 1 ? in_seven[i].feature : 0;
	if (has_avx)
		has |= HOST_HAS_AVX | (one.c >> 12 & 1 ? HOST_HAS_FMA : 0) |
			(one.c >> 29 & 1 ? HOST_HAS_F16C : 0) |
			(seven.b >> 5 & 1 ? HOST_HAS_AVX2 : 0) |
			(seven.c >> 9 & 1 ? HOST_HAS_VAES : 0) |
			(seven.c >> 10 & 1 ? HOST_HAS_VPCLMUL : 0);
	has |= seven.c >> 8 & 1 ? HOST_HAS_GFNI : 0;
	if (has_avx && host_has_512(&seven))
		has |= HOST_HAS_AVX512 | (seven.b >> 21 & 1 ? HOST_HAS_IFMA : 0) |
			(seven.c >> 1 & 1 ? HOST_HAS_VBMI : 0) |
			(seven.c >> 6 & 1 ? HOST_HAS_VBMI2 : 0) |
			(seven.c >> 11 & 1 ? HOST_HAS_VNNI : 0) |
			(seven.c >> 12 & 1 ? HOST_HAS_BITALG : 0) |
			(seven.c >> 14 & 1 ? HOST_HAS_VPOPCNT : 0);
	/* SSE4.2, CX16, POPCNT, MOVBE; BMI1, BMI2; LAHF, LZCNT. */
	bool has_base = (one.c & 0x00d82000) == 0x00d82000 && (seven.b & 0x108) == 0x108 &&
		(ext.c & 0x21) == 0x21;
	has |= has_base ? HOST_HAS_BASE : 0;
	return has;
}

bool cpuid_host_has(uint64_t features)
{
	static _Atomic uint64_t known;
	uint64_t has = atomic_load_explicit(&known, memory_order_relaxed);
	if (!has) {
		has = host_features() | HOST_IS_KNOWN;
		atomic_store_explicit(&known, has, memory_order_relaxed);
	}
	return (has & features) == features;
}

bool cpuid_is_xcr0(uint64_t value)
{
	uint64_t in_512 = value & 0xe0;
	if (!(value & 1) || (value & ~UINT64_C(0xe7)) || (value & 6) == 4)
		return false;
	return !in_512 || (in_512 == 0xe0 && (value & 4));
}

bool cpuid_host_has_xcr0(uint64_t value)
{
	return (!(value & 4) || cpuid_host_has(HOST_HAS_AVX)) &&
		(!(value & 0xe0) || cpuid_host_has(HOST_HAS_AVX512));
}

bool cpuid_host_has_evex(uint32_t features)
{
	static const struct {
		uint32_t evex;
		uint64_t host;
	} all[] = { { X_BASE, HOST_HAS_AVX512 }, { X_IFMA, HOST_HAS_IFMA },
		{ X_VBMI, HOST_HAS_VBMI }, { X_VBMI2, HOST_HAS_VBMI2 }, { X_VNNI, HOST_HAS_VNNI },
		{ X_BITALG, HOST_HAS_BITALG }, { X_VPOPCNTDQ, HOST_HAS_VPOPCNT },
		{ X_GFNI, HOST_HAS_GFNI }, { X_VAES, HOST_HAS_VAES },
		{ X_VPCLMUL, HOST_HAS_VPCLMUL } };
	uint64_t wanted = 0;
	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		wanted |= features & all[i].evex ? all[i].host : 0;
	return cpuid_host_has(wanted);
}

struct cpuid_instant cpuid_now(void)
{
	struct cpuid_instant best = {};
	uint64_t least = UINT64_MAX;
	for (int i = 0; i < 8; i++) {
		uint64_t before = __rdtsc(), ns = cpu_now(), took = __rdtsc() - before;
		if (took >= least)
			continue;
		least = took;
		best = (struct cpuid_instant){ .tsc = before + took / 2, .ns = ns };
	}
	return best;
}

uint64_t cpuid_tsc_khz(const struct cpuid_instant *since)
{
	struct leaf leaf = host(0x15, 0);
	if (leaf.a && leaf.b && leaf.c)
		return (uint64_t)leaf.c * leaf.b / leaf.a / 1000;
	/* Long enough that the clock's own error is a few millionths. */
	struct timespec until = { .tv_sec = (time_t)((since->ns + MEASURE_NS) / NS_PER_SEC),
		.tv_nsec = (long)((since->ns + MEASURE_NS) % NS_PER_SEC) };
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
	struct cpuid_instant now = cpuid_now();
	return (uint64_t)((unsigned __int128)(now.tsc - since->tsc) * 1000000 /
		(now.ns - since->ns));
}

/*
 * Compilers and libraries conclude from the model what a CPU has (GCC's `arch=rocketlake` clones do not ask for AVX-512):
 * a host that has what this engine has not is no model to show. Intel's becomes one that nobody knows, AMD's a Zen 3.
 */
uint32_t cpuid_signature(uint32_t host_signature, bool is_amd, const uint32_t features[3])
{
	bool has_avx512 = features[0] >> 16 & 1;
	/* VP2INTERSECT, AMX and FP16; AVX-VNNI and BF16. */
	bool has_more = (features[1] & 0x03c00100u) || (features[2] & 0x30u);
	if (!has_more && (!has_avx512 || cpuid_host_has(HOST_HAS_AVX512)))
		return host_signature;
	return is_amd ? 0x00a00f11 : 0x000606f0;
}

static uint32_t signature(uint32_t host_signature)
{
	struct leaf seven = host(7, 0);
	uint32_t features[3] = { seven.b, seven.d, host(7, 1).a };
	return cpuid_signature(host_signature, cpuid_host_is_amd(), features);
}

static struct leaf leaf_1(const struct cpu *cpu)
{
	struct leaf ret = host(1, 0);
	ret.a = signature(ret.a);
	uint32_t count = cpu->soft_count;
	ret.b = cpu->number << 24 | count << 16 | 8 << 8;
	bool has_avx = cpuid_host_has(HOST_HAS_AVX);
	ret.c = (ret.c & LEAF1_ECX & (has_avx ? ~0u : ~0x30001000u)) | LEAF1_ECX_OURS | 1u << 26;
	if (cpu->cr4 & CR4_OSXSAVE)
		ret.c |= LEAF1_OSXSAVE;
	ret.d = LEAF1_EDX | (count > 1 ? 1u << 28 : 0);
	if (!(cpu->lapic.base & 0x800))
		ret.d &= ~(1u << 9);
	return ret;
}

static struct leaf leaf_7(const struct cpu *cpu, uint32_t sub)
{
	struct leaf ret = host(7, 0);
	if (sub == 2)
		return (struct leaf){ .d = cpu->is_intel ? LEAF7_2_EDX : 0 };
	if (sub != 0)
		return (struct leaf){};
	bool has_avx = cpuid_host_has(HOST_HAS_AVX), has_512 = cpuid_host_has(HOST_HAS_AVX512);
	uint32_t in_b = LEAF7_EBX | (has_512 ? LEAF7_EBX_512 : 0);
	uint32_t in_c = LEAF7_ECX | (has_512 ? LEAF7_ECX_512 : 0);
	/* These four are done in software on any host. */
	uint32_t ours = 0x00100283u | 1u << 19;
	return (struct leaf){ .a = cpu->is_intel ? 2 : 0,
		.b = (ret.b & in_b & (has_avx ? ~0u : ~0x20u)) | ours,
		.c = (ret.c & in_c & (has_avx ? ~0u : ~0x600u)) | 4,
		.d = (ret.d & LEAF7_EDX) | LEAF7_EDX_OURS };
}

static struct leaf leaf_topology(const struct cpu *cpu, uint32_t sub)
{
	uint32_t bits = 0;
	while (1u << bits < cpu->soft_count)
		bits++;
	if (sub == 0)
		return (struct leaf){ 0, 1, 0x100, cpu->number };
	if (sub == 1)
		return (struct leaf){ bits, cpu->soft_count, 0x201, cpu->number };
	return (struct leaf){ 0, 0, sub, cpu->number };
}

static struct leaf leaf_xsave(const struct cpu *cpu, uint32_t sub)
{
	bool has_avx = cpuid_host_has(HOST_HAS_AVX), has_512 = cpuid_host_has(HOST_HAS_AVX512);
	struct cpuid_layout layout = cpuid_layout(cpu->is_intel);
	uint32_t all = has_512 ? layout.bytes : has_avx ? XSAVE_ALL : XSAVE_LEGACY;
	if (sub == 0) {
		uint32_t now = cpu->xcr0 & 4 ? XSAVE_ALL : XSAVE_LEGACY;
		return (struct leaf){ has_512 ? 0xe7
				: has_avx     ? 7
					      : 3,
			cpu->xcr0 & 0xe0 ? layout.bytes : now, all, 0 };
	}
	if (sub == 1)
		return (struct leaf){ .a = 1 }; /* XSAVEOPT */
	if (sub == 2 && has_avx)
		return (struct leaf){ 256, XSAVE_LEGACY, 0, 0 };
	if (sub == 5 && has_512)
		return (struct leaf){ 64, layout.opmask, 0, 0 };
	if (sub == 6 && has_512)
		return (struct leaf){ 512, layout.upper, 0, 0 };
	if (sub == 7 && has_512)
		return (struct leaf){ 1024, layout.more, 0, 0 };
	return (struct leaf){};
}

static struct leaf leaf_hypervisor(uint32_t leaf)
{
	if (leaf == 0x40000000)
		return (struct leaf){ 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d };
	if (leaf == 0x40000001)
		return (struct leaf){ .a = 0x01000009 }; /* both kvmclocks, stable */
	return (struct leaf){};
}

static struct leaf leaf_extended(const struct cpu *cpu, uint32_t leaf)
{
	struct leaf ret = host(leaf, 0);
	switch (leaf) {
	case 0x80000000:
		ret.a = 0x80000008;
		return ret;
	case 0x80000001:
		ret.c &= EXT1_ECX;
		ret.d = EXT1_EDX | (cpuid_host_is_amd() ? LEAF1_EDX & EXT1_COPY : 0);
		ret.b = 0;
		return ret;
	case 0x80000007:
		return (struct leaf){ .d = 0x100 }; /* invariant TSC */
	case 0x80000008:
		return (struct leaf){ .a = PHYSICAL_BITS | 48 << 8,
			.c = cpuid_host_is_amd() ? cpu->soft_count - 1 : 0 };
	default:
		return leaf <= 0x80000006 ? ret : (struct leaf){};
	}
}

void cpuid_query(const struct cpu *cpu, uint32_t leaf, uint32_t sub, uint32_t regs[4])
{
	struct leaf ret = {};
	if (leaf >= 0x80000000) {
		ret = leaf_extended(cpu, leaf <= 0x80000008 ? leaf : 0x80000009);
	} else if (leaf >= 0x40000000) {
		ret = leaf_hypervisor(leaf);
	} else {
		switch (leaf) {
		case 0:
			ret = host(0, 0);
			ret.a = 0xd;
			break;
		case 1:
			ret = leaf_1(cpu);
			break;
		case 7:
			ret = leaf_7(cpu, sub);
			break;
		case 0xb:
			ret = leaf_topology(cpu, sub);
			break;
		case 0xd:
			ret = leaf_xsave(cpu, sub);
			break;
		default:
			break;
		}
	}
	memcpy(regs, &ret, sizeof(ret));
}
