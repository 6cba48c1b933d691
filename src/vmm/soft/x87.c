/* SPDX-License-Identifier: Apache-2.0 */
/*
 * x87.c - x87 instructions in stubs, between FXRSTOR and FXSAVE of the guest's image.
 *
 * No exception ever reaches the host: a pending one becomes #MF before the stub, and what a stub
 * leaves pending goes into the image. The last instruction's addresses are kept here, because the
 * host would give its own away.
 */
#include <string.h>

#include "base/bytes.h"
#include "vmm/soft/fpu.h"
#include "vmm/soft/segment.h"
#include "vmm/soft/vector_check.h"
#include "vmm/soft/x87_table.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define FSW_ES 0x80u

#define EXTRA_STORE   0x01u
#define EXTRA_NO_WAIT 0x02u /* a control instruction: no #MF before, addresses stay */
#define EXTRA_ENV     0x04u /* the operand holds an environment */

static void check(struct cpu *cpu, const struct op *op)
{
	if (cpu->cr0 & (CR0_EM | CR0_TS))
		cpu_fault(cpu, op, FAULT_NM, 0);
	if (!(op->extra & EXTRA_NO_WAIT) && (cpu->fx[2] & FSW_ES))
		cpu_fault(cpu, op, FAULT_MF, 0);
}

/* Puts our addresses into an environment that the stub has stored, or takes them from one. */
static void put_addresses(const struct cpu *cpu, uint8_t *image, bool is_wide)
{
	if (!is_wide) {
		uint16_t words[4] = { (uint16_t)cpu->x87_rip, 0, (uint16_t)cpu->x87_rdp, 0 };
		memcpy(image + 6, words, sizeof(words));
		return;
	}
	put_le32(image + 12, (uint32_t)cpu->x87_rip);
	put_le32(image + 16, cpu->x87_cs | (uint32_t)cpu->x87_opcode << 16);
	put_le32(image + 20, (uint32_t)cpu->x87_rdp);
	put_le32(image + 24, 0xffff0000u | cpu->x87_ds);
}

static void take_addresses(struct cpu *cpu, const uint8_t *image, bool is_wide)
{
	if (!is_wide)
		return;
	cpu->x87_rip = get_le32(image + 12);
	cpu->x87_cs = (uint16_t)get_le32(image + 16);
	cpu->x87_opcode = get_le32(image + 16) >> 16 & 0x7ff;
	cpu->x87_rdp = get_le32(image + 20);
	cpu->x87_ds = (uint16_t)get_le32(image + 24);
}

static void note_addresses(struct cpu *cpu, const struct op *op, uint64_t linear)
{
	if (op->extra & EXTRA_NO_WAIT)
		return;
	cpu->x87_rip = op_rip(cpu, op);
	cpu->x87_cs = 0;
	cpu->x87_ds = 0;
	cpu->x87_opcode = 0;
	if (op->flags & OP_MEMORY)
		cpu->x87_rdp = linear;
}

HANDLER(on_registers)
{
	check(cpu, op);
	op->stub->run(cpu, cpu->scratch);
	note_addresses(cpu, op, 0);
	return op + 1;
}

HANDLER(on_memory)
{
	uint8_t *operand = cpu->scratch + 128;
	check(cpu, op);
	uint64_t linear = op_linear(cpu, op);
	bool is_wide = op->bytes != 2;
	if (op->extra & EXTRA_STORE) {
		memory_probe(cpu, op, linear, op->memory_bytes, ACCESS_WRITE);
		op->stub->run(cpu, operand);
		/* An unmasked exception keeps the operand from being stored. */
		bool is_stored = (op->extra & EXTRA_NO_WAIT) || !(cpu->fx[2] & FSW_ES);
		if (op->extra & EXTRA_ENV)
			put_addresses(cpu, operand, is_wide);
		if (is_stored)
			memory_write(cpu, op, linear, operand, op->memory_bytes);
	} else {
		memory_read(cpu, op, linear, operand, op->memory_bytes);
		op->stub->run(cpu, operand);
		if (op->extra & EXTRA_ENV)
			take_addresses(cpu, operand, is_wide);
	}
	note_addresses(cpu, op, linear);
	return op + 1;
}

HANDLER(wait_for_fpu)
{
	if ((cpu->cr0 & (CR0_MP | CR0_TS)) == (CR0_MP | CR0_TS))
		cpu_fault(cpu, op, FAULT_NM, 0);
	if (cpu->fx[2] & FSW_ES)
		cpu_fault(cpu, op, FAULT_MF, 0);
	return op + 1;
}

static op_run *bind_memory(struct stubs *stubs, const struct insn *insn, struct op *op)
{
	uint32_t row = insn->opcode & 7, which = insn->modrm >> 3 & 7;
	int32_t size = x87_size(insn);
	bool is_control = (row == 1 && which >= 4) || (row == 5 && which >= 4);
	bool is_env = size == 28 || size == -28 || size == 108 || size == -108;
	bool is_narrow = is_env && insn->operand_bytes == 2;
	if (size == 0)
		return op_undefined();
	struct stub_recipe recipe = { .flags = STUB_X87, .gpr = 0xff };
	if (is_narrow)
		recipe.bytes[recipe.length++] = 0x66;
	recipe.bytes[recipe.length++] = insn->opcode;
	recipe.bytes[recipe.length++] = (uint8_t)(which << 3 | 6); /* [rsi] */
	uint32_t bytes = (uint32_t)(size < 0 ? -size : size);
	if (is_narrow)
		bytes -= 14;
	op_set_access(op, bytes, size < 0 ? ACCESS_WRITE : ACCESS_READ);
	/* FLDCW, FLDENV and FRSTOR wait; the stores of control state do not. */
	op->extra = (uint8_t)((size < 0 ? EXTRA_STORE : 0) | (is_env ? EXTRA_ENV : 0) |
		(is_control && size < 0 ? EXTRA_NO_WAIT : 0));
	op->stub = stub_get(stubs, &recipe);
	return op->stub ? on_memory : vector_no_room;
}

op_run *x87_bind(struct stubs *stubs, const struct insn *insn, struct op *op)
{
	if (insn->map != MAP_ONE_BYTE || insn->has_vex)
		return NULL;
	if (insn->opcode == 0x9b)
		return wait_for_fpu;
	if ((insn->opcode & 0xf8) != 0xd8)
		return NULL;
	if (insn->is_memory)
		return bind_memory(stubs, insn, op);
	if (x87_is_missing(insn))
		return op_undefined();
	struct stub_recipe recipe = {
		.flags = STUB_X87, .gpr = 0xff, .length = 2, .bytes = { insn->opcode, insn->modrm }
	};
	bool is_status = insn->opcode == 0xdf && insn->modrm == 0xe0;
	bool is_control = insn->opcode == 0xdb && insn->modrm >= 0xe0 && insn->modrm <= 0xe4;
	bool compares = (insn->opcode == 0xdb || insn->opcode == 0xdf) && insn->modrm >= 0xe8;
	bool moves = (insn->opcode == 0xda || insn->opcode == 0xdb) && insn->modrm < 0xe0;
	if (is_status)
		recipe.gpr = 0;
	recipe.flags |= (compares ? STUB_FLAGS_OUT : 0) | (moves ? STUB_FLAGS_IN : 0);
	op->extra = is_status || is_control ? EXTRA_NO_WAIT : 0;
	op->stub = stub_get(stubs, &recipe);
	return op->stub ? on_registers : vector_no_room;
}
