/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscall.c - the fast ways into the kernel and back.
 */
#include "vmm/soft/segment.h"
#include "vmm/soft/system.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

static void set_flat(struct cpu *cpu, uint32_t segment, uint32_t selector, uint32_t attributes)
{
	cpu->segments[segment] = (struct cpu_segment){ .selector = (uint16_t)selector,
		.attributes = (uint16_t)attributes,
		.limit = 0xffffffff };
}

#define CODE_64 0xa09bu /* present, code, readable, accessed; G, L */
#define CODE_32 0xc09bu
#define DATA_32 0xc093u

static const struct op *enter(
	struct cpu *cpu, uint32_t cs, uint32_t ss, uint32_t cpl, bool is_64, uint64_t rip)
{
	uint32_t dpl = cpl << 5;
	set_flat(cpu, CPU_CS, (cs & ~3u) | cpl, (is_64 ? CODE_64 : CODE_32) | dpl);
	set_flat(cpu, CPU_SS, (ss & ~3u) | cpl, DATA_32 | dpl);
	cpu->cpl = (uint8_t)cpl;
	cpu_update_mode(cpu);
	/* The trap flag counts as it is afterwards. */
	cpu->trap_is_new = true;
	if (cpu->rflags_rest & FLAG_TF)
		cpu->trap_dr6 |= DR6_STEP;
	return op_look(cpu, rip);
}

HANDLER(call_system)
{
	if (!(cpu->efer & EFER_SCE) || !is_protected(cpu))
		fault_ud(cpu, op);
	uint32_t cs = (uint32_t)(cpu->star >> 32) & 0xffff, ss = cs + 8;
	uint64_t next = op_next_rip(cpu, op);
	if (!is_long(cpu)) {
		cpu->r[CPU_RCX] = (uint32_t)next;
		cpu_set_rflags(cpu, 0, FLAG_IF | FLAG_VM | FLAG_RF);
		return enter(cpu, cs, ss, 0, false, (uint32_t)cpu->star);
	}
	uint64_t rip = cpu->code_bytes == 8 ? cpu->lstar : cpu->cstar;
	cpu->r[CPU_RCX] = next;
	cpu->r[11] = cpu_rflags(cpu) & ~FLAG_RF;
	cpu_set_rflags(cpu, 0, (uint32_t)cpu->fmask | FLAG_RF);
	return enter(cpu, cs, ss, 0, true, rip);
}

HANDLER(sysret)
{
	if (!(cpu->efer & EFER_SCE))
		fault_ud(cpu, op);
	if (cpu->cpl != 0 || !is_protected(cpu))
		fault_gp(cpu, op);
	uint32_t cs = (uint32_t)(cpu->star >> 48);
	bool to_64 = op->bytes == 8;
	uint64_t rip = to_64 ? cpu->r[CPU_RCX] : (uint32_t)cpu->r[CPU_RCX];
	if (is_long(cpu)) {
		if (!is_canonical(rip))
			fault_gp(cpu, op);
		cpu_set_rflags(cpu, cpu->r[11], 0x3c7fd5);
	} else {
		cpu_set_rflags(cpu, FLAG_IF, FLAG_IF);
	}
	return enter(cpu, to_64 ? cs + 16 : cs, cs + 8, 3, to_64, rip);
}

HANDLER(sysenter)
{
	if (!(cpu->cr0 & CR0_PE) || !(cpu->sysenter_cs & ~UINT64_C(3)))
		fault_gp(cpu, op);
	uint32_t cs = (uint32_t)cpu->sysenter_cs & 0xffff;
	cpu_set_rflags(cpu, 0, FLAG_VM | FLAG_IF | FLAG_RF);
	uint64_t mask = is_long(cpu) ? UINT64_MAX : 0xffffffff;
	cpu->r[CPU_RSP] = cpu->sysenter_esp & mask;
	return enter(cpu, cs, cs + 8, 0, is_long(cpu), cpu->sysenter_eip & mask);
}

HANDLER(sysexit)
{
	if (cpu->cpl != 0 || !(cpu->cr0 & CR0_PE) || !(cpu->sysenter_cs & ~UINT64_C(3)))
		fault_gp(cpu, op);
	uint32_t cs = (uint32_t)cpu->sysenter_cs & 0xffff;
	bool to_64 = op->bytes == 8;
	uint64_t rip = to_64 ? cpu->r[CPU_RDX] : (uint32_t)cpu->r[CPU_RDX];
	uint64_t rsp = to_64 ? cpu->r[CPU_RCX] : (uint32_t)cpu->r[CPU_RCX];
	if (to_64 && (!is_canonical(rip) || !is_canonical(rsp)))
		fault_gp(cpu, op);
	cpu->r[CPU_RSP] = rsp;
	cs += to_64 ? 32 : 16;
	return enter(cpu, cs, cs + 8, 3, to_64, rip);
}

op_run *syscall_bind(const struct insn *insn, struct op *op)
{
	(void)op;
	if (insn->map != MAP_0F || insn->has_vex)
		return NULL;
	op_run *run = NULL;
	switch (insn->opcode) {
	case 0x05:
		run = call_system;
		break;
	case 0x07:
		run = sysret;
		break;
	case 0x34:
		run = sysenter;
		break;
	case 0x35:
		run = sysexit;
		break;
	default:
		return NULL;
	}
	return insn->has_lock ? op_undefined() : run;
}
