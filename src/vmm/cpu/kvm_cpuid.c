/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kvm_cpuid.c - CPUID for a guest: KVM's supported features with this machine's topology.
 *
 * Left out: the performance counters (a guest must not see the host's), thermal and power leaves,
 * nested virtualisation.
 */
#include "vmm/cpu/kvm_cpuid.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>

#define ENTRIES 128

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[ENTRIES];
};

static uint32_t log2_up(uint32_t count)
{
	uint32_t bits = 0;
	while ((1u << bits) < count)
		bits++;
	return bits;
}

static void basic(struct kvm_cpuid_entry2 *entry, uint32_t cpu, uint32_t count)
{
	entry->ebx = (entry->ebx & 0xffff) | (count > 255 ? 255 : count) << 16 | cpu << 24;
	entry->ecx |= 1u << 31 | 1u << 24;   /* a hypervisor; TSC deadline timer */
	entry->ecx &= ~(1u << 5 | 1u << 15); /* VMX, PDCM */
	if (count > 1)
		entry->edx |= 1u << 28;
	else
		entry->edx &= ~(1u << 28);
}

/* Leaf 0xb and 0x1f: one thread a core, all cores in one package. */
static void topology(struct kvm_cpuid_entry2 *entry, uint32_t cpu, uint32_t count)
{
	uint32_t index = entry->index;
	entry->eax = entry->ebx = 0;
	entry->ecx = index;
	entry->edx = cpu;
	if (index == 0) {
		entry->ebx = 1;
		entry->ecx |= 1u << 8;
	} else if (index == 1) {
		entry->eax = log2_up(count);
		entry->ebx = count;
		entry->ecx |= 2u << 8;
	}
}

static void adjust(struct kvm_cpuid_entry2 *entry, uint32_t cpu, uint32_t count)
{
	switch (entry->function) {
	case 1:
		basic(entry, cpu, count);
		break;
	case 4:
		/* Caches are not shared: bits 14-25 and 26-31. */
		entry->eax = (entry->eax & 0x3fff) | (count - 1) << 26;
		break;
	case 6:
		entry->eax = 1u << 2; /* the APIC timer runs always */
		entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0xa:
		entry->eax = entry->ebx = entry->ecx = entry->edx = 0;
		break;
	case 0xb:
	case 0x1f:
		topology(entry, cpu, count);
		break;
	case 0x80000001:
		entry->ecx &= ~(1u << 2 | 1u << 22 | 1u << 23); /* SVM, topology, counters */
		break;
	case 0x80000008:
		entry->ecx = (entry->ecx & ~0xffffu) | log2_up(count) << 12 | (count - 1);
		break;
	case 0x8000001e:
		entry->eax = cpu;
		entry->ebx = cpu;
		entry->ecx = 0;
		break;
	default:
		break;
	}
}

static bool is_kept(const struct kvm_cpuid_entry2 *entry)
{
	/* Nested virtualisation, encrypted memory and monitoring are not offered. */
	return entry->function != 0x8000000a && entry->function != 0x8000001f &&
		entry->function != 0x80000022 && entry->function != 0x12 && entry->function != 0x14;
}

int kvm_set_cpuid(int kvm_fd, int vcpu_fd, uint32_t cpu, uint32_t count)
{
	struct cpuid cpuid = { .head = { .nent = ENTRIES } };
	if (ioctl(kvm_fd, KVM_GET_SUPPORTED_CPUID, &cpuid) < 0)
		return -errno;
	uint32_t kept = 0;
	for (uint32_t i = 0; i < cpuid.head.nent; i++) {
		if (!is_kept(&cpuid.entries[i]))
			continue;
		cpuid.entries[kept] = cpuid.entries[i];
		adjust(&cpuid.entries[kept++], cpu, count);
	}
	cpuid.head.nent = kept;
	return ioctl(vcpu_fd, KVM_SET_CPUID2, &cpuid) < 0 ? -errno : 0;
}
