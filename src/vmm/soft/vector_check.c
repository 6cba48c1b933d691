/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector_check.c - the exceptions that do not depend on operands.
 */
#include "vmm/soft/vector_check.h"

#define FSW_ES 0x80u

void vector_check(struct cpu *cpu, const struct op *op, enum vector_class class)
{
	uint64_t parts = class == CLASS_512 ? XCR0_512 : XCR0_AVX;
	if (class == CLASS_AVX || class == CLASS_512) {
		if (!(cpu->cr4 & CR4_OSXSAVE) || (cpu->xcr0 & parts) != parts || !is_protected(cpu))
			fault_ud(cpu, op);
	} else if ((cpu->cr0 & CR0_EM) || (class == CLASS_SSE && !(cpu->cr4 & CR4_OSFXSR))) {
		fault_ud(cpu, op);
	}
	if (cpu->cr0 & CR0_TS)
		cpu_fault(cpu, op, FAULT_NM, 0);
	cpu->has_high |= class == CLASS_512;
	cpu->has_upper |= class == CLASS_512;
	if (class == CLASS_MMX && (cpu->fx[2] & FSW_ES))
		cpu_fault(cpu, op, FAULT_MF, 0);
}

const struct op *vector_no_room(struct cpu *cpu, const struct op *op)
{
	cpu_call(cpu, ATTENTION_LATER);
	return op_look(cpu, op_rip(cpu, op) & rip_mask(cpu));
}
