/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cpu.c - modes, flags and the ways out of an instruction.
 */
#include "vmm/soft/cpu.h"

#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <x86intrin.h>

_Noreturn void cpu_fault(struct cpu *cpu, const struct op *op, uint32_t vector, uint32_t code)
{
	if (op)
		cpu->rip = op_rip(cpu, op) & rip_mask(cpu);
	cpu->fault_vector = (uint8_t)vector;
	cpu->fault_code = code;
	longjmp(cpu->loop, LEAVE_FAULT);
}

_Noreturn void cpu_leave(struct cpu *cpu, const struct op *op)
{
	if (op)
		cpu->rip = op_rip(cpu, op) & rip_mask(cpu);
	longjmp(cpu->loop, LEAVE_EXIT);
}

void cpu_wake(struct cpu *cpu, uint32_t why)
{
	cpu_call(cpu, why);
	if (atomic_load(&cpu->is_idle))
		syscall(SYS_futex, &cpu->attention, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	if (cpu->direct_hooks)
		cpu->direct_hooks->call(cpu);
}

static void update_tlb(struct cpu *cpu)
{
	enum tlb_kind kind = TLB_KERNEL;
	if (cpu->cpl == 3 && cpu_wants_alignment(cpu) != (cpu->checks_alignment != 0))
		cpu_call(cpu, ATTENTION_STEP); /* the loop sees to it */
	if (cpu->cpl == 3)
		kind = TLB_USER;
	else if ((cpu->cr4 & CR4_SMAP) && !(cpu->rflags_rest & FLAG_AC))
		kind = TLB_SMAP;
	cpu->tlb = &cpu->tlbs[kind];
}

void cpu_set_cpl(struct cpu *cpu, uint32_t cpl)
{
	cpu->cpl = (uint8_t)cpl;
	cpu->generation++; /* the same address may not be executable now */
	update_tlb(cpu);
}

void cpu_update_mode(struct cpu *cpu)
{
	if (is_long(cpu) && (cpu->cr0 & CR0_PE) &&
		(cpu->segments[CPU_CS].attributes & CPU_ATTRIBUTE_LONG))
		cpu->code_bytes = 8;
	else
		cpu->code_bytes = cpu->segments[CPU_CS].attributes & CPU_ATTRIBUTE_BIG ? 4 : 2;
	for (int i = 0; i < 8; i++)
		cpu->base[i] = cpu->code_bytes == 8 && i < CPU_FS ? 0 : cpu->segments[i].base;
	cpu->generation++;
	update_tlb(cpu);
}

void cpu_set_rflags(struct cpu *cpu, uint64_t rflags, uint32_t mask)
{
	uint32_t before = cpu->rflags_rest;
	uint32_t flags = (cpu_rflags(cpu) & ~mask) | ((uint32_t)rflags & mask) | 2;
	cpu_set_arithmetic(cpu, flags);
	cpu->rflags_rest = (flags & ~FLAGS_ARITHMETIC & 0x3fffff & ~0x8028u) | 2;
	/* Without a breakpoint on code nobody asks for RF, and one instruction later it is gone. */
	if (!cpu->has_code_breakpoints)
		cpu->rflags_rest &= ~FLAG_RF;
	uint32_t changed = before ^ cpu->rflags_rest;
	if (changed & FLAG_AC)
		update_tlb(cpu);
	/* What came while they were off is known, and what comes calls. */
	if ((cpu->rflags_rest & changed & FLAG_IF) && cpu->irq_waits)
		cpu_call(cpu, ATTENTION_IRQ);
	if (cpu->rflags_rest & (FLAG_TF | FLAG_RF))
		cpu_call(cpu, ATTENTION_STEP);
}

uint64_t cpu_now(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_SEC + (uint64_t)now.tv_nsec;
}

uint64_t cpu_tsc(const struct cpu *cpu)
{
	return __rdtsc() + cpu->tsc_offset;
}

void cpu_update_breakpoints(struct cpu *cpu)
{
	cpu->has_data_breakpoints = cpu->has_code_breakpoints = false;
	for (int i = 0; i < BREAKPOINTS; i++) {
		if (!(cpu->dr[7] >> (2 * i) & 3))
			continue;
		if ((cpu->dr[7] >> (16 + 4 * i) & 3) == 0)
			cpu->has_code_breakpoints = true;
		else
			cpu->has_data_breakpoints = true;
	}
	cpu_call(cpu, ATTENTION_STEP);
}
