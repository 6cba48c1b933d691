/* SPDX-License-Identifier: Apache-2.0 */
/*
 * masked.c - element by element, because the others must not fault.
 */
#include "vmm/soft/masked.h"

#include <string.h>

#include "vmm/soft/cpuid.h"
#include "vmm/soft/segment.h"
#include "vmm/soft/vector_check.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

static uint64_t element(const uint8_t *vector, uint32_t i, uint32_t bytes)
{
	uint64_t value = 0;
	memcpy(&value, vector + i * bytes, bytes);
	return value;
}

static bool is_set(const uint8_t *mask, uint32_t i, uint32_t bytes)
{
	return mask[(i + 1) * bytes - 1] & 0x80;
}

/* op->reg: the register; op->extra: the mask's; op->bytes: of an element; op->imm: of the vector. */
HANDLER(load_masked)
{
	uint8_t result[VECTOR_BYTES] = {};
	vector_check(cpu, op, CLASS_AVX);
	uint64_t linear = op_linear(cpu, op);
	for (uint32_t i = 0; i < op->imm / op->bytes; i++) {
		if (!is_set(cpu->vector[op->extra], i, op->bytes))
			continue;
		uint64_t value = load_any(cpu, op, linear + i * op->bytes, op->bytes);
		memcpy(result + i * op->bytes, &value, op->bytes);
	}
	memcpy(cpu->vector[op->reg], result, sizeof(result));
	return op + 1;
}

HANDLER(store_masked)
{
	vector_check(cpu, op, CLASS_AVX);
	uint64_t linear = op_linear(cpu, op);
	const uint8_t *mask = cpu->vector[op->extra];
	for (uint32_t i = 0; i < op->imm / op->bytes; i++)
		if (is_set(mask, i, op->bytes))
			memory_probe(cpu, op, linear + i * op->bytes, op->bytes, ACCESS_WRITE);
	for (uint32_t i = 0; i < op->imm / op->bytes; i++)
		if (is_set(mask, i, op->bytes))
			store_any(cpu, op, linear + i * op->bytes, op->bytes,
				element(cpu->vector[op->reg], i, op->bytes));
	return op + 1;
}

/* An MMX instruction makes every register valid and the first one the top of the stack. */
static void enter_mmx(struct cpu *cpu)
{
	uint8_t registers[128];
	uint32_t top = cpu->fx[3] >> 3 & 7;
	for (uint32_t i = 0; i < 8; i++)
		memcpy(registers + 16 * i, cpu->fx + 32 + 16 * ((i - top) & 7), 16);
	memcpy(cpu->fx + 32, registers, sizeof(registers));
	cpu->fx[3] &= (uint8_t)~0x38;
	cpu->fx[4] = 0xff;
}

/* MASKMOVQ and MASKMOVDQU: bytes to [rdi]. */
HANDLER(store_masked_bytes)
{
	vector_check(cpu, op, op->imm == 8 ? CLASS_MMX : op->disp ? CLASS_AVX : CLASS_SSE);
	if (op->imm == 8)
		enter_mmx(cpu);
	const uint8_t *data = op->imm == 8 ? cpu->fx + 32 + 16 * op->reg : cpu->vector[op->reg];
	const uint8_t *mask = op->imm == 8 ? cpu->fx + 32 + 16 * op->extra : cpu->vector[op->extra];
	uint64_t offset = cpu->r[CPU_RDI] & mask_of(op->address_bytes);
	uint64_t base = cpu->base[op->segment];
	for (uint32_t i = 0; i < op->imm; i++)
		if (mask[i] & 0x80)
			memory_probe(
				cpu, op, memory_of_code(cpu, base + offset + i), 1, ACCESS_WRITE);
	for (uint32_t i = 0; i < op->imm; i++)
		if (mask[i] & 0x80)
			store_1(cpu, op, memory_of_code(cpu, base + offset + i), data[i]);
	return op + 1;
}

/*
 * op->rm: the vector of indexes; op->memory_bytes: of one index. The mask's elements are cleared as
 * they are done, so that a fault finds how far it got.
 */
HANDLER(gather)
{
	vector_check(cpu, op, CLASS_AVX);
	uint32_t bytes = op->bytes, index_bytes = op->memory_bytes;
	uint32_t count = (uint32_t)op->imm / (bytes > index_bytes ? bytes : index_bytes);
	uint8_t *mask = cpu->vector[op->extra], *to = cpu->vector[op->reg];
	uint64_t base = REG64(cpu, op->base) + (uint64_t)op->disp;
	for (uint32_t i = 0; i < count; i++) {
		if (!is_set(mask, i, bytes))
			continue;
		uint64_t index = element(cpu->vector[op->rm], i, index_bytes);
		if (index_bytes == 4)
			index = (uint64_t)(int32_t)index;
		uint64_t at = (base + (index << op->scale)) & mask_of(op->address_bytes);
		at = memory_of_code(cpu, at + cpu->base[op->segment]);
		uint64_t value = load_any(cpu, op, at, bytes);
		memcpy(to + i * bytes, &value, bytes);
		memset(mask + i * bytes, 0, bytes);
	}
	memset(to + count * bytes, 0, VECTOR_BYTES - count * bytes);
	memset(mask, 0, VECTOR_BYTES);
	return op + 1;
}

static op_run *bind_gather(const struct insn *insn, struct op *op)
{
	uint32_t index = insn->index == INSN_NONE ? 4 : insn->index;
	bool has_sib = insn->is_memory && (insn->modrm & 7) == 4 && insn->address_bytes != 2;
	if (!has_sib || index == insn->reg || index == insn->vvvv || insn->reg == insn->vvvv)
		return op_undefined();
	op->bytes = insn->w ? 8 : 4;
	op->memory_bytes = insn->opcode & 1 ? 8 : 4;
	op->rm = (uint8_t)index;
	op->access = ACCESS_NONE; /* addresses are worked out here */
	return gather;
}

static op_run *bind_avx(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	op->reg = insn->reg;
	op->extra = insn->vvvv;
	op->imm = insn->l ? 32 : 16;
	if (opcode >= 0x2c && opcode <= 0x2f) {
		if (!insn->is_memory || insn->w || !cpuid_host_has(HOST_HAS_AVX))
			return op_undefined();
		op->bytes = opcode & 1 ? 8 : 4;
		op_set_access(op, (uint32_t)op->imm, opcode < 0x2e ? ACCESS_READ : ACCESS_WRITE);
		return opcode < 0x2e ? load_masked : store_masked;
	}
	if (!cpuid_host_has(HOST_HAS_AVX2))
		return op_undefined();
	if (opcode >= 0x90)
		return bind_gather(insn, op);
	if (!insn->is_memory)
		return op_undefined();
	op->bytes = insn->w ? 8 : 4;
	op_set_access(op, (uint32_t)op->imm, opcode == 0x8c ? ACCESS_READ : ACCESS_WRITE);
	return opcode == 0x8c ? load_masked : store_masked;
}

op_run *masked_bind(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	if (insn->map == MAP_0F38 && insn->has_vex && insn->pp == PP_66 &&
		((opcode >= 0x2c && opcode <= 0x2f) || opcode == 0x8c || opcode == 0x8e ||
			(opcode >= 0x90 && opcode <= 0x93)))
		return bind_avx(insn, op);
	if (insn->map != MAP_0F || opcode != 0xf7 || insn->pp > PP_66)
		return NULL;
	bool is_wrong =
		insn->is_memory || (insn->has_vex && (insn->l || insn->vvvv || insn->pp != PP_66));
	if (is_wrong)
		return op_undefined();
	op->reg = insn->pp == PP_66 ? insn->reg : insn->reg & 7;
	op->extra = insn->pp == PP_66 ? insn->rm : insn->rm & 7;
	op->imm = insn->pp == PP_66 ? 16 : 8;
	op->disp = insn->has_vex;
	return store_masked_bytes;
}
