/* SPDX-License-Identifier: Apache-2.0 */
/*
 * evex.c - each runs as itself in a stub, on as much of its operand in memory as its mask asks for.
 *
 * If all of the operand is there the host's own instruction sees to the mask. If not, the elements that the mask
 * has are taken one by one, so that the others do not fault; a few instructions always touch all.
 */
#include "vmm/soft/evex.h"

#include <string.h>

#include "vmm/soft/cpuid.h"
#include "vmm/soft/emit.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/vector.h"
#include "vmm/soft/vector_check.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define OPERAND(cpu) ((cpu)->scratch + 128)

/* In op->extra; op->reg: the opmask; op->rm: elements; op->bytes: of each in memory. */
#define EXTRA_STORE   0x01u
#define EXTRA_ALIGNED 0x02u
#define EXTRA_SAE     0x04u /* no exceptions */
#define EXTRA_WHOLE   0x08u /* whatever the mask says */
#define EXTRA_ONE     0x10u /* repeated: each of its elements is for several bits of the mask */
#define EXTRA_FLUSHED 0x20u /* to zero, without underflow */

static uint64_t mask_bits(const struct cpu *cpu, uint32_t opmask, uint32_t count)
{
	uint64_t all = count >= 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
	return opmask ? cpu->opmask[opmask] & all : all;
}

static void on_whole(struct cpu *cpu, const struct op *op, uint64_t linear)
{
	if (op->extra & EXTRA_STORE) {
		memory_probe(cpu, op, linear, op->memory_bytes, ACCESS_WRITE);
		op->stub->run(cpu, OPERAND(cpu));
		memory_write(cpu, op, linear, OPERAND(cpu), op->memory_bytes);
	} else {
		memory_read(cpu, op, linear, OPERAND(cpu), op->memory_bytes);
		op->stub->run(cpu, OPERAND(cpu));
	}
}

static void on_elements(struct cpu *cpu, const struct op *op, uint64_t linear, uint64_t bits)
{
	uint32_t bytes = op->bytes;
	bool is_store = op->extra & EXTRA_STORE;
	uint8_t operand[64] = {};
	for (uint64_t left = bits; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		if (is_store) {
			memory_probe(cpu, op, linear + i * bytes, bytes, ACCESS_WRITE);
			continue;
		}
		uint64_t value = load_any(cpu, op, linear + i * bytes, bytes);
		memcpy(operand + i * bytes, &value, bytes);
	}
	memcpy(OPERAND(cpu), operand, sizeof(operand));
	op->stub->run(cpu, OPERAND(cpu));
	memcpy(operand, OPERAND(cpu), sizeof(operand));
	for (uint64_t left = is_store ? bits : 0; left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		uint64_t value = 0;
		memcpy(&value, operand + i * bytes, bytes);
		store_any(cpu, op, linear + i * bytes, bytes, value);
	}
}

/* The elements of an operand of `count` that is repeated as often as there are bits. */
static uint64_t folded(uint64_t bits, uint32_t count)
{
	for (uint32_t width = 32; width >= count && width > 0; width /= 2)
		bits = (bits | bits >> width) & ((UINT64_C(1) << width) - 1);
	return bits;
}

static void run(struct cpu *cpu, const struct op *op)
{
	if (!(op->flags & OP_MEMORY)) {
		op->stub->run(cpu, cpu->scratch);
		return;
	}
	uint64_t linear = op_linear(cpu, op);
	uint64_t bits = mask_bits(cpu, op->reg, op->rm);
	/* Nobody minds where nothing is. */
	if ((op->extra & EXTRA_ALIGNED) && bits && (linear & (op->memory_bytes - 1u)))
		fault_gp(cpu, op);
	uint32_t access = op->extra & EXTRA_STORE ? ACCESS_WRITE : ACCESS_READ;
	void *direct = memory_direct(cpu, linear, op->memory_bytes, access);
	if (direct) {
		op->stub->run(cpu, direct);
		return;
	}
	if (op->extra & EXTRA_ONE)
		bits = folded(bits, op->memory_bytes / op->bytes);
	if (op->reg == 0 || (op->extra & EXTRA_WHOLE))
		on_whole(cpu, op, linear);
	else
		on_elements(cpu, op, linear, bits);
}

HANDLER(plain)
{
	vector_check(cpu, op, CLASS_512);
	run(cpu, op);
	return op + 1;
}

HANDLER(floating)
{
	vector_check(cpu, op, CLASS_512);
	vector_floating(cpu, op, run,
		(struct floating){ .is_quiet = op->extra & EXTRA_SAE,
			.is_flushed = op->extra & EXTRA_FLUSHED });
	return op + 1;
}

/* op->imm: the register. */
HANDLER(to_halves)
{
	vector_check(cpu, op, CLASS_512);
	vector_floating(cpu, op, run,
		(struct floating){ .is_quiet = op->extra & EXTRA_SAE,
			.halves = mask_bits(cpu, op->reg, op->rm),
			.halves_at = cpu->vector[op->imm] });
	return op + 1;
}

/* Compress and expand: elements that the mask has, next to each other. */
HANDLER(packed)
{
	vector_check(cpu, op, CLASS_512);
	uint32_t count = (uint32_t)__builtin_popcountll(mask_bits(cpu, op->reg, op->rm));
	uint32_t bytes = count * op->bytes;
	uint64_t linear = op_linear(cpu, op);
	if (op->extra & EXTRA_STORE) {
		memory_probe(cpu, op, linear, bytes, ACCESS_WRITE);
		op->stub->run(cpu, OPERAND(cpu));
		if (bytes)
			memory_write(cpu, op, linear, OPERAND(cpu), bytes);
		return op + 1;
	}
	if (bytes)
		memory_read(cpu, op, linear, OPERAND(cpu), bytes);
	memset(OPERAND(cpu) + bytes, 0, 64 - bytes);
	op->stub->run(cpu, OPERAND(cpu));
	return op + 1;
}

/* op->imm: the opmask, the vector, the vector of indexes, its elements' bytes, in a byte each. */
struct indexed {
	uint8_t opmask, vector, index, index_bytes;
};

static struct indexed indexed_of(const struct op *op)
{
	struct indexed of;
	memcpy(&of, &op->imm, sizeof(of));
	return of;
}

static uint64_t indexed_at(
	struct cpu *cpu, const struct op *op, const struct indexed *of, uint32_t i)
{
	uint64_t index = 0;
	memcpy(&index, cpu->vector[of->index] + i * of->index_bytes, of->index_bytes);
	if (of->index_bytes == 4)
		index = (uint64_t)(int32_t)index;
	uint64_t at = REG64(cpu, op->base) + (uint64_t)op->disp + (index << op->scale);
	at = (at & mask_of(op->address_bytes)) + cpu->base[op->segment];
	return memory_of_code(cpu, at);
}

/*
 * Bits of the mask go as elements are done, so that a fault finds how far it got. What is behind the longer of indexes and
 * data is 0 from the first element on, what is behind the data at the end.
 */
HANDLER(gather)
{
	struct indexed of = indexed_of(op);
	vector_check(cpu, op, CLASS_512);
	uint8_t *to = cpu->vector[of.vector];
	uint32_t length = op->rm * op->bytes, partial = op->rm * of.index_bytes;
	partial = partial > length ? partial : length;
	for (uint64_t left = mask_bits(cpu, of.opmask, op->rm); left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		uint64_t value = load_any(cpu, op, indexed_at(cpu, op, &of, i), op->bytes);
		memcpy(to + i * op->bytes, &value, op->bytes);
		memset(to + partial, 0, VECTOR_BYTES - partial);
		cpu->opmask[of.opmask] &= ~(UINT64_C(1) << i);
	}
	memset(to + length, 0, VECTOR_BYTES - length);
	cpu->opmask[of.opmask] = 0;
	return op + 1;
}

HANDLER(scatter)
{
	struct indexed of = indexed_of(op);
	vector_check(cpu, op, CLASS_512);
	for (uint64_t left = mask_bits(cpu, of.opmask, op->rm); left; left &= left - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(left);
		uint64_t value = 0, at = indexed_at(cpu, op, &of, i);
		memcpy(&value, cpu->vector[of.vector] + i * op->bytes, op->bytes);
		store_any(cpu, op, at, op->bytes, value);
		cpu->opmask[of.opmask] &= ~(UINT64_C(1) << i);
	}
	cpu->opmask[of.opmask] = 0;
	return op + 1;
}

static op_run *bind_indexed(const struct evex_row *row, const struct insn *insn, struct op *op)
{
	struct indexed of = { .opmask = insn->opmask,
		.vector = insn->reg,
		.index = (uint8_t)(insn->vector_index | insn->high << 4),
		.index_bytes = insn->opcode & 1 ? 8 : 4 };
	op->bytes = insn->w ? 8 : 4;
	uint32_t wider = op->bytes > of.index_bytes ? op->bytes : of.index_bytes;
	op->rm = (uint8_t)((16u << insn->l) / wider);
	op->imm = 0;
	memcpy(&op->imm, &of, sizeof(of));
	op->access = ACCESS_NONE; /* addresses are worked out here */
	return row->flags & X_GATHER ? gather : scatter;
}

static struct stub_recipe recipe_of(const struct evex_row *row, const struct insn *given)
{
	struct insn insn = *given;
	struct stub_recipe recipe = { .gpr = 0xff };
	uint32_t flags = row->flags, reg = insn.reg, rm = insn.rm;
	if (flags & X_REG_GPR) {
		recipe.gpr = (uint8_t)(8 * insn.reg);
		reg = 0;
	} else if (flags & X_TO_MASK) {
		recipe.opmasks |= (uint8_t)(1u << reg);
	} else if (!(flags & X_GROUP)) {
		recipe.vectors |= 1u << reg;
	}
	if (insn.is_memory) {
		rm = 0;
	} else if (flags & X_RM_GPR) {
		recipe.gpr = (uint8_t)(8 * insn.rm);
		rm = 0;
	} else if (flags & X_OF_MASK) {
		recipe.opmasks |= (uint8_t)(1u << rm);
	} else {
		recipe.vectors |= 1u << rm;
	}
	if (!(flags & X_NV))
		recipe.vectors |= 1u << insn.vvvv;
	if (insn.opmask)
		recipe.opmasks |= (uint8_t)(1u << insn.opmask);
	recipe.flags =
		STUB_WIDE | (flags & X_FP ? STUB_FP : 0) | (flags & X_FLAGS ? STUB_FLAGS_OUT : 0);
	emit_evex(recipe.bytes, &insn, reg, rm >> 3 & 3, insn.vvvv);
	recipe.bytes[5] = (uint8_t)((insn.is_memory ? 6 : 0xc0 | (rm & 7)) | (reg & 7) << 3);
	recipe.length = 6;
	if (flags & X_IMM)
		recipe.bytes[recipe.length++] = (uint8_t)insn.imm;
	return recipe;
}

const struct evex_row *evex_row_here(const struct insn *insn)
{
	const struct evex_row *row = evex_row(insn);
	return row && cpuid_host_has_evex(row->feature) ? row : NULL;
}

op_run *evex_bind(struct stubs *stubs, const struct insn *given, struct op *op)
{
	struct insn insn = *given;
	const struct evex_row *row = evex_row_here(&insn);
	if (!row)
		return NULL;
	uint32_t flags = row->flags;
	if (flags & (X_GATHER | X_SCATTER))
		return bind_indexed(row, &insn, op);
	if ((flags & (X_REG_GPR | X_RM_GPR)) && insn.code_bytes != 8)
		insn.w = 0;
	struct stub_recipe recipe = recipe_of(row, &insn);
	uint32_t count = evex_elements(row, &insn), bytes = evex_memory_bytes(row, &insn);
	bool is_one = (flags & X_ONE) || (insn.extra && insn.is_memory);
	op->memory_bytes = (uint8_t)bytes;
	op->access = flags & X_STORE ? ACCESS_WRITE : ACCESS_READ;
	op->reg = insn.opmask;
	op->rm = (uint8_t)count;
	uint32_t element = evex_element_bytes(row, &insn);
	op->bytes = (uint8_t)(is_one     ? (bytes < element ? bytes : element)
			: flags & X_PACK ? element
					 : bytes / count);
	op->extra = (flags & X_STORE ? EXTRA_STORE : 0) | (flags & X_ALIGNED ? EXTRA_ALIGNED : 0) |
		(flags & (X_NF | X_NO_MASK) ? EXTRA_WHOLE : 0) | (is_one ? EXTRA_ONE : 0) |
		(insn.extra && !insn.is_memory ? EXTRA_SAE : 0) |
		(flags & X_FLUSHED ? EXTRA_FLUSHED : 0);
	op->stub = stub_get(stubs, &recipe);
	if (!op->stub)
		return vector_no_room;
	if ((flags & X_PACK) && insn.is_memory)
		return packed;
	if (flags & X_HALVES) {
		op->imm = insn.is_memory ? 0 : insn.rm;
		return to_halves;
	}
	return flags & X_FP ? floating : plain;
}
