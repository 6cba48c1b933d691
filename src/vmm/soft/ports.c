/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ports.c - port instructions.
 */
#include "vmm/soft/ports.h"

#include "vmm/soft/io.h"
#include "vmm/soft/memory.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define TSS_IO_MAP 0x66

void port_check(struct cpu *cpu, const struct op *op, uint32_t port, uint32_t bytes)
{
	const struct cpu_segment *tr = &cpu->segments[CPU_TR];
	if (!(cpu->cr0 & CR0_PE) || (!is_v86(cpu) && cpu->cpl <= cpu_iopl(cpu)))
		return;
	if (!(tr->attributes & CPU_ATTRIBUTE_PRESENT) || !(tr->attributes & 8) ||
		tr->limit < TSS_IO_MAP + 1)
		fault_gp(cpu, op);
	uint32_t map = (uint32_t)memory_load_system(cpu, op, tr->base + TSS_IO_MAP, 2);
	uint32_t at = map + port / 8;
	if (at + 1 > tr->limit)
		fault_gp(cpu, op);
	uint32_t bits = (uint32_t)memory_load_system(cpu, op, tr->base + at, 2);
	if (bits >> (port & 7) & ((1u << bytes) - 1))
		fault_gp(cpu, op);
}

static uint32_t port_of(const struct cpu *cpu, const struct op *op)
{
	return op->extra ? REG16(cpu, CPU_RDX * 8) : (uint8_t)op->imm;
}

HANDLER(in)
{
	uint32_t port = port_of(cpu, op);
	port_check(cpu, op, port, op->bytes);
	reg_set(cpu, 0, op->bytes, io_read(cpu, op, port, op->bytes, true));
	return op + 1;
}

HANDLER(out)
{
	uint32_t port = port_of(cpu, op);
	port_check(cpu, op, port, op->bytes);
	io_write(cpu, op, port, op->bytes, reg_get(cpu, 0, op->bytes), true);
	return op + 1;
}

op_run *ports_bind(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	if (insn->map != MAP_ONE_BYTE || (opcode & 0xf4) != 0xe4)
		return NULL;
	if (insn->has_lock)
		return op_undefined();
	op_set_bytes(insn, op,
		!(opcode & 1)                      ? 1
			: insn->operand_bytes == 8 ? 4
						   : insn->operand_bytes);
	op->extra = opcode & 8;
	return opcode & 2 ? out : in;
}
