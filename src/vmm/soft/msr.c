/* SPDX-License-Identifier: Apache-2.0 */
/*
 * msr.c - a table of plain registers, and those that do something.
 */
#include "vmm/soft/msr.h"

#include <string.h>
#include <x86intrin.h>

#include "vmm/soft/apic.h"
#include "vmm/soft/memory.h"

#define MSR_TSC          0x10
#define MSR_APIC_BASE    0x1b
#define MSR_TSC_ADJUST   0x3b
#define MSR_SPEC_CTRL    0x48
#define MSR_PRED_CMD     0x49
#define MSR_BIOS_SIGN    0x8b
#define MSR_MTRR_CAP     0xfe
#define MSR_CAPABILITIES 0x10a
#define MSR_SYSENTER_CS  0x174
#define MSR_MISC_ENABLE  0x1a0
#define MSR_DEBUG_CTL    0x1d9
#define MSR_MTRR_BASE    0x200
#define MSR_PAT          0x277
#define MSR_MTRR_DEFAULT 0x2ff
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_EFER         0xc0000080
#define MSR_STAR         0xc0000081
#define MSR_LSTAR        0xc0000082
#define MSR_CSTAR        0xc0000083
#define MSR_FMASK        0xc0000084
#define MSR_FS_BASE      0xc0000100
#define MSR_GS_BASE      0xc0000101
#define MSR_KERNEL_GS    0xc0000102
#define MSR_TSC_AUX      0xc0000103
#define MSR_HWCR         0xc0010015
#define MSR_KVM_WALL     0x4b564d00
#define MSR_KVM_TIME     0x4b564d01
#define MSR_KVM_WALL_OLD 0x11
#define MSR_KVM_TIME_OLD 0x12

/*
 * RDCL_NO, IBRS_ALL, no flush of L1D, SSB_NO, MDS_NO, PSCHANGE_NO, TAA_NO, SBDR_NO, FBSDP_NO, PSDP_NO,
 * BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO: an access of the guest reaches memory by way of a check of
 * its own rights, not by the host's page tables, so separate page tables and the like win nothing.
 */
#define CAPABILITIES (UINT64_C(1) << 62 | UINT64_C(0x0d10e17b))

enum rule { RULE_ANY, RULE_CANONICAL, RULE_32, RULE_PAT };

struct plain {
	uint32_t msr;
	uint16_t at; /* offset in struct cpu */
	uint8_t rule;
};

static const struct plain plains[] = {
	{ MSR_SYSENTER_CS, offsetof(struct cpu, sysenter_cs), RULE_32 },
	{ MSR_SYSENTER_CS + 1, offsetof(struct cpu, sysenter_esp), RULE_CANONICAL },
	{ MSR_SYSENTER_CS + 2, offsetof(struct cpu, sysenter_eip), RULE_CANONICAL },
	{ MSR_MISC_ENABLE, offsetof(struct cpu, misc_enable), RULE_ANY },
	{ MSR_PAT, offsetof(struct cpu, pat), RULE_PAT },
	{ MSR_MTRR_DEFAULT, offsetof(struct cpu, mtrr_default), RULE_ANY },
	{ MSR_STAR, offsetof(struct cpu, star), RULE_ANY },
	{ MSR_LSTAR, offsetof(struct cpu, lstar), RULE_CANONICAL },
	{ MSR_CSTAR, offsetof(struct cpu, cstar), RULE_CANONICAL },
	{ MSR_FMASK, offsetof(struct cpu, fmask), RULE_32 },
	{ MSR_KERNEL_GS, offsetof(struct cpu, kernel_gs_base), RULE_CANONICAL },
	{ MSR_SPEC_CTRL, offsetof(struct cpu, spec_ctrl), RULE_32 },
	{ MSR_TSC_AUX, offsetof(struct cpu, tsc_aux), RULE_32 },
};

static const struct plain *find_plain(uint32_t msr)
{
	for (size_t i = 0; i < ARRAY_SIZE(plains); i++)
		if (plains[i].msr == msr)
			return &plains[i];
	return NULL;
}

static uint64_t *mtrr_at(struct cpu *cpu, uint32_t msr)
{
	static const uint16_t fixed[11] = { 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c,
		0x26d, 0x26e, 0x26f };
	if (msr >= MSR_MTRR_BASE && msr < MSR_MTRR_BASE + 16)
		return &cpu->mtrr_variable[msr - MSR_MTRR_BASE];
	for (int i = 0; i < 11; i++)
		if (fixed[i] == msr)
			return &cpu->mtrr_fixed[i];
	return NULL;
}

/* Machine-check banks and what kernels probe: read as zero, writes are lost. */
static bool is_quiet(uint32_t msr)
{
	return msr == MSR_PRED_CMD || (msr >= 0x179 && msr <= 0x17a) || msr == 0x17 ||
		msr == MSR_BIOS_SIGN || msr == MSR_DEBUG_CTL || msr == MSR_HWCR ||
		msr == 0xc0010055 || msr == 0x34 || msr == 0xcd || msr == 0xc0011029 ||
		msr == 0xc001001f || msr == 0xc0010010 || msr == 0xce || msr == 0xc0010058 ||
		(msr >= 0xc0010000 && msr < 0xc0010008);
}

bool msr_read(struct cpu *cpu, uint32_t msr, uint64_t *ret)
{
	if (msr == MSR_PRED_CMD)
		return false; /* it is only written */
	const struct plain *plain = find_plain(msr);
	if (plain) {
		memcpy(ret, (const char *)cpu + plain->at, sizeof(*ret));
		return true;
	}
	const uint64_t *mtrr = mtrr_at(cpu, msr);
	if (mtrr) {
		*ret = *mtrr;
		return true;
	}
	if (msr >= 0x800 && msr < 0x900)
		return lapic_read_msr(cpu, msr, ret);
	switch (msr) {
	case MSR_PRED_CMD: /* a command */
		return false;
	case MSR_TSC:
		*ret = cpu_tsc(cpu);
		return true;
	case MSR_TSC_ADJUST:
		*ret = cpu->tsc_adjust;
		return true;
	case MSR_APIC_BASE:
		*ret = cpu->lapic.base;
		return true;
	case MSR_CAPABILITIES:
		*ret = CAPABILITIES;
		return true;
	case MSR_MTRR_CAP:
		*ret = 0x508; /* 8 variable ranges, fixed ones, write-combining */
		return true;
	case MSR_TSC_DEADLINE:
		*ret = cpu->lapic.tsc_deadline;
		return true;
	case MSR_EFER:
		*ret = cpu->efer;
		return true;
	case MSR_FS_BASE:
		*ret = cpu->segments[CPU_FS].base;
		return true;
	case MSR_GS_BASE:
		*ret = cpu->segments[CPU_GS].base;
		return true;
	case MSR_KVM_TIME:
	case MSR_KVM_TIME_OLD:
		*ret = cpu->kvm_system_time;
		return true;
	case MSR_KVM_WALL:
	case MSR_KVM_WALL_OLD:
		*ret = cpu->kvm_wall_clock;
		return true;
	default:
		*ret = 0;
		return is_quiet(msr);
	}
}

static bool is_good_pat(uint64_t value)
{
	for (int i = 0; i < 8; i++) {
		uint32_t type = value >> (8 * i) & 0xff;
		if (type > 7 || type == 2 || type == 3)
			return false;
	}
	return true;
}

static bool write_plain(struct cpu *cpu, const struct plain *plain, uint64_t value)
{
	if (plain->rule == RULE_CANONICAL && !is_canonical(value))
		return false;
	if (plain->rule == RULE_PAT && !is_good_pat(value))
		return false;
	if (plain->rule == RULE_32) {
		if (plain->msr == MSR_TSC_AUX && value >> 32)
			return false;
		value = (uint32_t)value;
	}
	memcpy((char *)cpu + plain->at, &value, sizeof(value));
	return true;
}

static bool write_efer(struct cpu *cpu, uint64_t value)
{
	uint64_t known = EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE;
	if (value & ~known)
		return false;
	if (((value ^ cpu->efer) & EFER_LME) && (cpu->cr0 & CR0_PG))
		return false;
	cpu->efer = (value & ~EFER_LMA) | (cpu->efer & EFER_LMA);
	tlb_flush(cpu, true);
	return true;
}

/* The layouts that Linux knows as pvclock. */
struct clock_page {
	uint32_t version, reserved;
	uint64_t tsc, system_ns;
	uint32_t multiplier;
	int8_t shift;
	uint8_t flags, reserved2[2];
};
static_assert(sizeof(struct clock_page) == 32, "clock_page");

struct wall_page {
	uint32_t version, seconds, ns;
};

static void write_system_time(struct cpu *cpu, uint64_t value)
{
	cpu->kvm_system_time = value;
	if (!(value & 1))
		return;
	/* ns = (ticks << shift) * multiplier >> 32 */
	uint64_t hz = cpu->soft->tsc_khz * 1000, second = NS_PER_SEC;
	int8_t shift = 0;
	while (hz > 2 * second) {
		hz >>= 1;
		shift--;
	}
	while (hz <= second) {
		hz <<= 1;
		shift++;
	}
	struct clock_page page = {
		.version = 2,
		/* The same line through the same point on every CPU. */
		.tsc = cpu->soft->start_tsc + cpu->tsc_offset,
		.system_ns = 0,
		.multiplier = (uint32_t)(((unsigned __int128)second << 32) / hz),
		.shift = shift,
		.flags = 1,
	};
	if (guest_write(cpu->guest, value & ~UINT64_C(1), &page, sizeof(page)) < 0)
		cpu->kvm_system_time = 0;
}

static void write_wall_clock(struct cpu *cpu, uint64_t value)
{
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	uint64_t ns = (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec -
		(cpu_now() - cpu->soft->start_ns);
	struct wall_page page = { .version = 2,
		.seconds = (uint32_t)(ns / NS_PER_SEC),
		.ns = (uint32_t)(ns % NS_PER_SEC) };
	cpu->kvm_wall_clock = value;
	if (guest_write(cpu->guest, value, &page, sizeof(page)) < 0)
		cpu->kvm_wall_clock = 0;
}

bool msr_write(struct cpu *cpu, uint32_t msr, uint64_t value)
{
	const struct plain *plain = find_plain(msr);
	if (plain)
		return write_plain(cpu, plain, value);
	uint64_t *mtrr = mtrr_at(cpu, msr);
	if (mtrr) {
		*mtrr = value;
		return true;
	}
	if (msr >= 0x800 && msr < 0x900)
		return lapic_write_msr(cpu, msr, value);
	switch (msr) {
	case MSR_TSC:
		cpu->tsc_adjust += value - cpu_tsc(cpu);
		cpu->tsc_offset = value - __rdtsc();
		return true;
	case MSR_TSC_ADJUST:
		cpu->tsc_offset += value - cpu->tsc_adjust;
		cpu->tsc_adjust = value;
		return true;
	case MSR_APIC_BASE:
		return lapic_set_base(cpu, value);
	case MSR_TSC_DEADLINE:
		lapic_set_deadline(cpu, value);
		return true;
	case MSR_EFER:
		return write_efer(cpu, value);
	case MSR_FS_BASE:
	case MSR_GS_BASE: {
		uint32_t segment = msr == MSR_FS_BASE ? CPU_FS : CPU_GS;
		if (!is_canonical(value))
			return false;
		cpu->segments[segment].base = cpu->base[segment] = value;
		return true;
	}
	case MSR_KVM_TIME:
	case MSR_KVM_TIME_OLD:
		write_system_time(cpu, value);
		return true;
	case MSR_KVM_WALL:
	case MSR_KVM_WALL_OLD:
		write_wall_clock(cpu, value);
		return true;
	default:
		return is_quiet(msr);
	}
}
