/* SPDX-License-Identifier: Apache-2.0 */
/*
 * vector.c - each instruction runs as itself, on the guest's registers, in a stub.
 *
 * Vector registers keep their numbers. A general register is stood in for by RAX, the memory operand
 * by [rsi]: guest RAM itself if the TLB knows it, else a copy. An unmasked floating-point exception is
 * found in MXCSR afterwards: every exception is masked while the stub runs.
 */
#include "vmm/soft/vector.h"

#include <string.h>

#include "vmm/soft/cpuid.h"
#include "vmm/soft/masked.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/vector_check.h"
#include "vmm/soft/vector_table.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define MXCSR_DEFAULT 0x1f80u
#define MXCSR_FLAGS   0x3fu
#define MXCSR_MASKS   0x1f80u
#define MXCSR_UE      0x10u
#define MXCSR_FTZ     0x8000u

/* In op->extra of these ops. */
#define EXTRA_STORE   0x01u
#define EXTRA_ALIGNED 0x02u

static void check_alignment(struct cpu *cpu, const struct op *op, uint64_t linear)
{
	if ((op->extra & EXTRA_ALIGNED) && (linear & (op->memory_bytes - 1u)))
		fault_gp(cpu, op);
}

/* Runs the stub on the memory operand. */
static void on_memory(struct cpu *cpu, const struct op *op)
{
	uint64_t linear = op_linear(cpu, op);
	uint32_t access = op->extra & EXTRA_STORE ? ACCESS_WRITE : ACCESS_READ;
	check_alignment(cpu, op, linear);
	void *direct = memory_direct(cpu, linear, op->memory_bytes, access);
	if (direct) {
		op->stub->run(cpu, direct);
		return;
	}
	if (access == ACCESS_READ) {
		memory_read(cpu, op, linear, cpu->scratch + 128, op->memory_bytes);
		op->stub->run(cpu, cpu->scratch + 128);
		return;
	}
	memory_probe(cpu, op, linear, op->memory_bytes, ACCESS_WRITE);
	op->stub->run(cpu, cpu->scratch + 128);
	memory_write(cpu, op, linear, cpu->scratch + 128, op->memory_bytes);
}

static void run_stub(struct cpu *cpu, const struct op *op)
{
	if (op->flags & OP_MEMORY)
		on_memory(cpu, op);
	else
		op->stub->run(cpu, cpu->scratch);
}

HANDLER(plain)
{
	vector_check(cpu, op, op->reg);
	run_stub(cpu, op);
	return op + 1;
}

/* The flags to report when some are unmasked: what is found before the operation comes alone. */
static uint32_t reported(uint32_t found, uint32_t unmasked)
{
	const uint32_t before = 0x07; /* invalid, denormal, divide by zero */
	return found & unmasked & before ? found & before : found;
}

/* A half that is tiny; it underflows even if it is exact. */
static bool has_tiny_half(const uint8_t *halves, uint64_t bits)
{
	for (uint64_t left = bits; left; left &= left - 1) {
		uint16_t half;
		memcpy(&half, halves + 2 * __builtin_ctzll(left), sizeof(half));
		if ((half & 0x7c00) == 0 && (half & 0x3ff) != 0)
			return true;
	}
	return false;
}

void vector_floating(struct cpu *cpu, const struct op *op,
	void (*run)(struct cpu *cpu, const struct op *op), struct floating how)
{
	uint32_t unmasked = ~(cpu->mxcsr >> 7) & MXCSR_FLAGS;
	uint8_t was[sizeof(cpu->vector)];
	uint64_t was_r[16];
	uint64_t was_opmask[8];
	uint8_t was_fx[sizeof(cpu->fx)];
	cpu->stub_mxcsr = (cpu->mxcsr | MXCSR_MASKS) & ~MXCSR_FLAGS;
	if (likely(!unmasked || how.is_quiet)) {
		run(cpu, op);
		cpu->mxcsr |= cpu->stub_mxcsr & MXCSR_FLAGS;
		return;
	}
	memcpy(was, cpu->vector, sizeof(was));
	memcpy(was_r, cpu->r, sizeof(was_r));
	memcpy(was_opmask, cpu->opmask, sizeof(was_opmask));
	memcpy(was_fx, cpu->fx, sizeof(was_fx));
	uint16_t was_flags = cpu->flags;
	/* Unmasked, a tiny result that is exact underflows, too; masked, it does with flush-to-zero only. */
	if ((unmasked & MXCSR_UE) && !how.is_flushed)
		cpu->stub_mxcsr |= MXCSR_FTZ;
	/* Memory is not written before it is known that nothing is found. */
	bool is_store = (op->flags & OP_MEMORY) && op->access == ACCESS_WRITE;
	if (is_store)
		op->stub->run(cpu, cpu->scratch + 128);
	else
		run(cpu, op);
	uint32_t found = cpu->stub_mxcsr & MXCSR_FLAGS;
	if ((unmasked & MXCSR_UE) &&
		has_tiny_half(is_store ? cpu->scratch + 128 : how.halves_at, how.halves))
		found |= MXCSR_UE;
	cpu->mxcsr |= reported(found, unmasked);
	if (found & unmasked) {
		memcpy(cpu->vector, was, sizeof(was));
		memcpy(cpu->r, was_r, sizeof(was_r));
		memcpy(cpu->opmask, was_opmask, sizeof(was_opmask));
		memcpy(cpu->fx, was_fx, sizeof(was_fx));
		cpu->flags = was_flags;
		cpu_fault(cpu, op, cpu->cr4 & CR4_OSXMMEXCPT ? FAULT_XM : FAULT_UD, 0);
	}
	if (is_store)
		run(cpu, op);
}

HANDLER(floating)
{
	vector_check(cpu, op, op->reg);
	vector_floating(cpu, op, run_stub, (struct floating){});
	return op + 1;
}

/* VCVTPS2PH; op->imm: the register. */
HANDLER(to_halves)
{
	vector_check(cpu, op, op->reg);
	vector_floating(cpu, op, run_stub,
		(struct floating){ .halves = (1u << op->memory_bytes / 2) - 1,
			.halves_at = cpu->vector[op->imm] });
	return op + 1;
}

HANDLER(zero_upper)
{
	vector_check(cpu, op, CLASS_AVX);
	uint32_t count = cpu->code_bytes == 8 ? 16 : 8, from = op->extra ? 0 : 16;
	for (uint32_t i = 0; i < count; i++)
		memset(cpu->vector[i] + from, 0, VECTOR_BYTES - from);
	return op + 1;
}

/* Register numbers of the instruction as the stub has it. */
struct encoding {
	uint32_t reg, rm;
	bool is_memory;
};

static void encode_vex(
	struct stub_recipe *recipe, const struct insn *insn, const struct encoding *to)
{
	static const uint8_t prefix[4] = { 0, 1, 2, 3 };
	uint8_t *at = recipe->bytes;
	*at++ = 0xc4;
	*at++ = (uint8_t)((to->reg & 8 ? 0 : 0x80) | 0x40 | (to->rm & 8 ? 0 : 0x20) | insn->map);
	*at++ = (uint8_t)(insn->w << 7 | (~insn->vvvv & 15) << 3 | insn->l << 2 | prefix[insn->pp]);
	*at++ = insn->opcode;
	recipe->length = (uint8_t)(at - recipe->bytes);
}

static void encode_legacy(
	struct stub_recipe *recipe, const struct insn *insn, const struct encoding *to)
{
	static const uint8_t prefix[4] = { 0, 0x66, 0xf3, 0xf2 };
	uint8_t *at = recipe->bytes;
	if (insn->pp)
		*at++ = prefix[insn->pp];
	uint8_t rex = (uint8_t)(insn->w << 3 | (to->reg >> 3 & 1) << 2 | (to->rm >> 3 & 1));
	if (rex)
		*at++ = 0x40 | rex;
	*at++ = 0x0f;
	if (insn->map != MAP_0F)
		*at++ = insn->map == MAP_0F38 ? 0x38 : 0x3a;
	*at++ = insn->opcode;
	recipe->length = (uint8_t)(at - recipe->bytes);
}

static void encode(struct stub_recipe *recipe, const struct insn *insn, const struct encoding *to,
	bool has_immediate)
{
	if (insn->has_vex)
		encode_vex(recipe, insn, to);
	else
		encode_legacy(recipe, insn, to);
	uint32_t rm = to->is_memory ? 6 : 0xc0 | (to->rm & 7); /* [rsi] */
	recipe->bytes[recipe->length++] = (uint8_t)(rm | (to->reg & 7) << 3);
	if (has_immediate)
		recipe->bytes[recipe->length++] = (uint8_t)insn->imm;
}

/* Which vector registers take part. */
static uint16_t vectors_of(
	const struct vector_entry *entry, const struct insn *insn, const struct encoding *to)
{
	uint32_t flags = entry->flags, vectors = 0;
	bool is_mmx = (flags & V_MMX) && insn->pp == PP_NONE;
	if (!is_mmx && !(flags & (V_REG_GPR | V_REG_MMX | V_GROUP)))
		vectors |= 1u << to->reg;
	if (!is_mmx && !to->is_memory && !(flags & (V_RM_GPR | V_RM_MMX)))
		vectors |= 1u << to->rm;
	if (insn->has_vex && !(flags & V_NO_VVVV))
		vectors |= 1u << insn->vvvv;
	if (flags & V_XMM0)
		vectors |= 1;
	if (flags & V_IS4)
		vectors |= 1u << ((uint8_t)insn->imm >> 4 & (insn->code_bytes == 8 ? 15 : 7));
	return (uint16_t)vectors;
}

static op_run *bind_entry(struct stubs *stubs, const struct vector_entry *entry,
	const struct insn *given, struct op *op)
{
	struct insn insn = *given;
	uint32_t flags = entry->flags;
	bool is_mmx = vector_is_mmx(entry, &insn);
	struct encoding to = { .reg = insn.reg, .rm = insn.rm, .is_memory = insn.is_memory };
	struct stub_recipe recipe = { .gpr = 0xff };
	if ((flags & (V_REG_GPR | V_RM_GPR)) && insn.code_bytes != 8)
		insn.w = 0;
	if (flags & V_REG_GPR) {
		recipe.gpr = (uint8_t)(8 * insn.reg);
		to.reg = 0;
	}
	if ((flags & V_RM_GPR) && !insn.is_memory) {
		recipe.gpr = (uint8_t)(8 * insn.rm);
		to.rm = 0;
	}
	if (((flags & V_MMX) && insn.pp == PP_NONE) || (flags & V_REG_MMX))
		to.reg = flags & V_REG_GPR ? to.reg : to.reg & 7;
	if (((flags & V_MMX) && insn.pp == PP_NONE && !(flags & V_RM_GPR)) || (flags & V_RM_MMX))
		to.rm &= 7;
	if (to.is_memory)
		to.rm = 0;
	recipe.vectors = vectors_of(entry, &insn, &to);
	recipe.flags = (is_mmx ? STUB_X87 : 0) | (flags & V_FP ? STUB_FP : 0) |
		(insn.has_vex ? STUB_WIDE : 0) | (flags & V_FLAGS ? STUB_FLAGS_OUT : 0) |
		(flags & V_RCX ? STUB_RCX_OUT : 0) | (flags & V_RAX_RDX ? STUB_RAX_RDX : 0);
	encode(&recipe, &insn, &to, flags & V_IMM);

	op->memory_bytes = (uint8_t)vector_memory_bytes(entry, &insn);
	op->access = flags & V_STORE ? ACCESS_WRITE : ACCESS_READ;
	op->reg = insn.has_vex ? CLASS_AVX : is_mmx ? CLASS_MMX : CLASS_SSE;
	if ((flags & (V_REG_MMX | V_RM_MMX)) &&
		!(insn.is_memory && (flags & V_RM_MMX) && insn.pp == PP_66))
		op->reg = CLASS_MMX;
	op->extra = flags & V_STORE ? EXTRA_STORE : 0;
	bool is_whole = op->memory_bytes >= 16;
	bool is_any = flags & V_ANY || (flags & V_ANY_AMD && cpuid_host_is_amd());
	if (is_whole && (insn.has_vex ? flags & V_ALIGNED : !is_any))
		op->extra |= EXTRA_ALIGNED;
	op->stub = stub_get(stubs, &recipe);
	if (!op->stub)
		return vector_no_room;
	if (flags & V_HALVES) {
		op->imm = insn.is_memory ? 0 : insn.rm;
		return to_halves;
	}
	return flags & V_FP ? floating : plain;
}

static op_run *bind_empty(struct stubs *stubs, const struct insn *insn, struct op *op)
{
	if (insn->has_vex) {
		op->extra = insn->l;
		return insn->pp == PP_NONE && insn->vvvv == 0 ? zero_upper : op_undefined();
	}
	struct stub_recipe recipe = {
		.flags = STUB_X87, .gpr = 0xff, .length = 2, .bytes = { 0x0f, 0x77 }
	};
	if (insn->pp != PP_NONE)
		return op_undefined();
	op->reg = CLASS_MMX;
	op->stub = stub_get(stubs, &recipe);
	return op->stub ? plain : vector_no_room;
}

op_run *vector_bind(struct stubs *stubs, const struct insn *insn, struct op *op)
{
	if (insn->map == MAP_ONE_BYTE || insn->has_lock || insn->has_evex)
		return NULL;
	if (insn->map == MAP_0F && insn->opcode == 0x77)
		return bind_empty(stubs, insn, op);
	op_run *run = masked_bind(insn, op);
	if (run)
		return run;
	const struct vector_entry *entry = vector_entry(insn);
	return entry ? bind_entry(stubs, entry, insn, op) : NULL;
}

int vector_init(struct cpu *cpu, struct error *e)
{
	cpu->host_mxcsr = MXCSR_DEFAULT;
	return stubs_new(&cpu->stubs, e);
}

void vector_done(struct cpu *cpu)
{
	stubs_free(cpu->stubs);
	cpu->stubs = NULL;
}

void vector_flush(struct cpu *cpu)
{
	stubs_flush(cpu->stubs);
}
