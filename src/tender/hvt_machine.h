/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hvt_machine.h - the virtual machine of one hvt unikernel, for the files hvt*.c.
 */
#pragma once

#include <linux/kvm.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tender/solo5.h"

/* Physical memory behind the guest's, for page tables and what else the CPU wants; the guest sees it here. */
#define HVT_OWN_BASE  UINT64_C(0x100000000)
#define HVT_OWN_BYTES (32 * 4096u)
#define HVT_OWN_AT    UINT64_C(0x8000000000)

struct hvt {
	struct solo5 *solo5;
	uint8_t *memory;
	uint64_t memory_bytes;
	uint64_t kernel_end;
	uint8_t *own;
	int kvm, vm, cpu;
	struct kvm_run *run;
	uint64_t cycles_per_second;
};

/* hvt_cpu.c */
int hvt_open_machine(struct hvt *hvt, struct error *e) must_use;
void hvt_close_machine(struct hvt *hvt);
/* The CPU at the guest's entry, in ring 0. */
int hvt_set_entry(struct hvt *hvt, struct error *e) must_use;
/* Whether a loop in ring 0 takes as long as only an interpreter does. */
int hvt_measure_ring_0(struct hvt *hvt, bool *ret_is_interpreted, struct error *e) must_use;
/* Prepares for ring 3: the one privileged instruction that a guest uses later goes out to us. */
void hvt_patch_for_ring_3(struct hvt *hvt);
int hvt_enter_ring_3(struct hvt *hvt, struct error *e) must_use;
/* The instruction that was patched: sets the base of FS. */
int hvt_set_fs(struct hvt *hvt, struct error *e) must_use;
#define HVT_PORT_FS 0xf0u

/* hvt_calls.c: serves one hypercall. -EFAULT names an address outside the guest's memory. */
int hvt_call(struct hvt *hvt, uint32_t number, uint64_t arguments, struct error *e) must_use;

/* Guest memory, or NULL if not all of it is there. */
static inline void *hvt_at(const struct hvt *hvt, uint64_t address, uint64_t bytes)
{
	if (address > hvt->memory_bytes || bytes > hvt->memory_bytes - address)
		return NULL;
	return hvt->memory + address;
}

/* Not libc's ioctl(): musl's takes an int, and the filter sees the sign of a request that has its highest bit. */
static inline int kvm_call(int fd, unsigned long request, const void *argument)
{
	return (int)syscall(SYS_ioctl, fd, request, argument);
}
