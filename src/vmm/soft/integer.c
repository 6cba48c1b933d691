/* SPDX-License-Identifier: Apache-2.0 */
/*
 * integer.c - one handler for each width and form of operand, so that none asks at run time.
 *
 * Forms: rr register and register, rm register and memory, mr memory and register, ri and mi an
 * immediate; lock_ with a LOCK prefix.
 */
#include "vmm/soft/integer.h"

#include "vmm/soft/cpuid.h"
#include "vmm/soft/flags.h"
#include "vmm/soft/memory.h"
#include "vmm/soft/spin.h"

SIZES(DEFINE_BINARY, add)
SIZES(DEFINE_BINARY, or)
SIZES(DEFINE_WITH_CARRY, adc)
SIZES(DEFINE_WITH_CARRY, sbb)
SIZES(DEFINE_BINARY, and)
SIZES(DEFINE_BINARY, sub)
SIZES(DEFINE_BINARY, xor)
SIZES(DEFINE_BINARY, cmp)
SIZES(DEFINE_BINARY, test)
SIZES(DEFINE_UNARY, inc)
SIZES(DEFINE_UNARY, dec)
SIZES(DEFINE_UNARY, neg)

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

#define ANY(BITS, pointer) (((volatile any##BITS *)(pointer))->v)

/* Computes and stores. */
#define DEFINE_ALU(BITS, SUFFIX, TYPE, BYTES, NAME) \
	HANDLER(NAME##_rr_##BYTES) \
	{ \
		SET_##BYTES(cpu, op->rm, \
			NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->rm), GET_##BYTES(cpu, op->reg))); \
		return op + 1; \
	} \
	HANDLER(NAME##_ri_##BYTES) \
	{ \
		SET_##BYTES(cpu, op->rm, \
			NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->rm), (TYPE)op->imm)); \
		return op + 1; \
	} \
	HANDLER(NAME##_rm_##BYTES) \
	{ \
		TYPE b = load_##BYTES(cpu, op, op_linear(cpu, op)); \
		SET_##BYTES(cpu, op->reg, NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->reg), b)); \
		return op + 1; \
	} \
	HANDLER(NAME##_mr_##BYTES) \
	{ \
		void *at = rmw_at(cpu, op, op_linear(cpu, op), BYTES); \
		ANY(BITS, at) = NAME##_##BYTES(cpu, ANY(BITS, at), GET_##BYTES(cpu, op->reg)); \
		rmw_finish(cpu, op); \
		return op + 1; \
	} \
	HANDLER(NAME##_mi_##BYTES) \
	{ \
		void *at = rmw_at(cpu, op, op_linear(cpu, op), BYTES); \
		ANY(BITS, at) = NAME##_##BYTES(cpu, ANY(BITS, at), (TYPE)op->imm); \
		rmw_finish(cpu, op); \
		return op + 1; \
	} \
	static const struct op *NAME##_lock_##BYTES(struct cpu *cpu, const struct op *op, TYPE b) \
	{ \
		void *at = rmw_at(cpu, op, op_linear(cpu, op), BYTES); \
		uint16_t flags = cpu->flags; \
		TYPE old = ANY(BITS, at), new; \
		do { \
			cpu->flags = flags; \
			new = NAME##_##BYTES(cpu, old, b); \
		} while (!cas_##BYTES(at, &old, new)); \
		rmw_finish(cpu, op); \
		return op + 1; \
	} \
	HANDLER(NAME##_lock_mr_##BYTES) \
	{ \
		return NAME##_lock_##BYTES(cpu, op, GET_##BYTES(cpu, op->reg)); \
	} \
	HANDLER(NAME##_lock_mi_##BYTES) \
	{ \
		return NAME##_lock_##BYTES(cpu, op, (TYPE)op->imm); \
	}

/* Computes flags only. */
#define DEFINE_COMPARE(BITS, SUFFIX, TYPE, BYTES, NAME) \
	HANDLER(NAME##_rr_##BYTES) \
	{ \
		NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->rm), GET_##BYTES(cpu, op->reg)); \
		return op + 1; \
	} \
	HANDLER(NAME##_ri_##BYTES) \
	{ \
		NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->rm), (TYPE)op->imm); \
		return op + 1; \
	} \
	HANDLER(NAME##_rm_##BYTES) \
	{ \
		TYPE b = load_##BYTES(cpu, op, op_linear(cpu, op)); \
		NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->reg), b); \
		return op + 1; \
	} \
	HANDLER(NAME##_mr_##BYTES) \
	{ \
		TYPE a = load_##BYTES(cpu, op, op_linear(cpu, op)); \
		NAME##_##BYTES(cpu, a, GET_##BYTES(cpu, op->reg)); \
		return op + 1; \
	} \
	HANDLER(NAME##_mi_##BYTES) \
	{ \
		TYPE a = load_##BYTES(cpu, op, op_linear(cpu, op)); \
		NAME##_##BYTES(cpu, a, (TYPE)op->imm); \
		return op + 1; \
	}

SIZES(DEFINE_ALU, add)
SIZES(DEFINE_ALU, or)
SIZES(DEFINE_ALU, adc)
SIZES(DEFINE_ALU, sbb)
SIZES(DEFINE_ALU, and)
SIZES(DEFINE_ALU, sub)
SIZES(DEFINE_ALU, xor)
SIZES(DEFINE_COMPARE, cmp)
SIZES(DEFINE_COMPARE, test)

enum form { FORM_RR, FORM_RI, FORM_RM, FORM_MR, FORM_MI, FORM_LOCK_MR, FORM_LOCK_MI, FORMS };

#define ALU_FORMS(NAME, BYTES) \
	{ \
		NAME##_rr_##BYTES, NAME##_ri_##BYTES, NAME##_rm_##BYTES, NAME##_mr_##BYTES, \
			NAME##_mi_##BYTES, NAME##_lock_mr_##BYTES, NAME##_lock_mi_##BYTES \
	}
#define ALU_SIZES(NAME) \
	{ \
		ALU_FORMS(NAME, 1), ALU_FORMS(NAME, 2), ALU_FORMS(NAME, 4), ALU_FORMS(NAME, 8) \
	}
#define COMPARE_FORMS(NAME, BYTES) \
	{ \
		NAME##_rr_##BYTES, NAME##_ri_##BYTES, NAME##_rm_##BYTES, NAME##_mr_##BYTES, \
			NAME##_mi_##BYTES, NULL, NULL \
	}
#define COMPARE_SIZES(NAME) \
	{ \
		COMPARE_FORMS(NAME, 1), COMPARE_FORMS(NAME, 2), COMPARE_FORMS(NAME, 4), \
			COMPARE_FORMS(NAME, 8) \
	}

#define ALU_CMP  7
#define ALU_TEST 8

static op_run *const alu[9][4][FORMS] = { ALU_SIZES(add), ALU_SIZES(or), ALU_SIZES(adc),
	ALU_SIZES(sbb), ALU_SIZES(and), ALU_SIZES(sub), ALU_SIZES(xor), COMPARE_SIZES(cmp),
	COMPARE_SIZES(test) };

/* The stores that a 64-bit register move and its like are made of. */
#define DEFINE_MOVE(BITS, SUFFIX, TYPE, BYTES) \
	HANDLER(mov_rr_##BYTES) \
	{ \
		SET_##BYTES(cpu, op->rm, GET_##BYTES(cpu, op->reg)); \
		return op + 1; \
	} \
	HANDLER(mov_ri_##BYTES) \
	{ \
		SET_##BYTES(cpu, op->rm, (TYPE)op->imm); \
		return op + 1; \
	} \
	HANDLER(mov_rm_##BYTES) \
	{ \
		SET_##BYTES(cpu, op->reg, load_##BYTES(cpu, op, op_linear(cpu, op))); \
		return op + 1; \
	} \
	HANDLER(mov_mr_##BYTES) \
	{ \
		store_##BYTES(cpu, op, op_linear(cpu, op), GET_##BYTES(cpu, op->reg)); \
		return op + 1; \
	} \
	HANDLER(mov_mi_##BYTES) \
	{ \
		store_##BYTES(cpu, op, op_linear(cpu, op), (TYPE)op->imm); \
		return op + 1; \
	} \
	HANDLER(xchg_rr_##BYTES) \
	{ \
		TYPE was = GET_##BYTES(cpu, op->rm); \
		SET_##BYTES(cpu, op->rm, GET_##BYTES(cpu, op->reg)); \
		SET_##BYTES(cpu, op->reg, was); \
		return op + 1; \
	} \
	HANDLER(xchg_mr_##BYTES) \
	{ \
		void *at = rmw_at(cpu, op, op_linear(cpu, op), BYTES); \
		TYPE value = GET_##BYTES(cpu, op->reg); \
		__asm__ volatile("xchg" SUFFIX " %[value], %[at]" \
				 : [value] "+r"(value), [at] "+m"(*(TYPE(*)[1])at) \
				 : \
				 : "memory"); \
		rmw_finish(cpu, op); \
		SET_##BYTES(cpu, op->reg, value); \
		return op + 1; \
	} \
	static TYPE not_##BYTES(struct cpu *cpu, TYPE a) \
	{ \
		(void)cpu; \
		return (TYPE)~a; \
	}
SIZES(DEFINE_MOVE)

#define MOVE_FORMS(BYTES) \
	{ \
		mov_rr_##BYTES, mov_ri_##BYTES, mov_rm_##BYTES, mov_mr_##BYTES, mov_mi_##BYTES, \
			NULL, NULL \
	}
static op_run *const mov[4][FORMS] = { MOVE_FORMS(1), MOVE_FORMS(2), MOVE_FORMS(4), MOVE_FORMS(8) };
static op_run *const xchg[4][2] = { { xchg_rr_1, xchg_mr_1 }, { xchg_rr_2, xchg_mr_2 },
	{ xchg_rr_4, xchg_mr_4 }, { xchg_rr_8, xchg_mr_8 } };

#define DEFINE_ONE(BITS, SUFFIX, TYPE, BYTES, NAME) \
	HANDLER(NAME##_r_##BYTES) \
	{ \
		SET_##BYTES(cpu, op->rm, NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->rm))); \
		return op + 1; \
	} \
	HANDLER(NAME##_m_##BYTES) \
	{ \
		void *at = rmw_at(cpu, op, op_linear(cpu, op), BYTES); \
		ANY(BITS, at) = NAME##_##BYTES(cpu, ANY(BITS, at)); \
		rmw_finish(cpu, op); \
		return op + 1; \
	} \
	HANDLER(NAME##_lock_##BYTES) \
	{ \
		void *at = rmw_at(cpu, op, op_linear(cpu, op), BYTES); \
		uint16_t flags = cpu->flags; \
		TYPE old = ANY(BITS, at), new; \
		do { \
			cpu->flags = flags; \
			new = NAME##_##BYTES(cpu, old); \
		} while (!cas_##BYTES(at, &old, new)); \
		rmw_finish(cpu, op); \
		return op + 1; \
	}
SIZES(DEFINE_ONE, inc)
SIZES(DEFINE_ONE, dec)
SIZES(DEFINE_ONE, neg)
SIZES(DEFINE_ONE, not )

#define ONE_FORMS(NAME, BYTES) \
	{ \
		NAME##_r_##BYTES, NAME##_m_##BYTES, NAME##_lock_##BYTES \
	}
#define ONE_SIZES(NAME) \
	{ \
		ONE_FORMS(NAME, 1), ONE_FORMS(NAME, 2), ONE_FORMS(NAME, 4), ONE_FORMS(NAME, 8) \
	}
enum one { ONE_INC, ONE_DEC, ONE_NOT, ONE_NEG };
static op_run *const ones[4][4][3] = { ONE_SIZES(inc), ONE_SIZES(dec), ONE_SIZES(not ),
	ONE_SIZES(neg) };

/* MOVZX, MOVSX, MOVSXD: the destination's width matters only for 16 bits. */
#define DEFINE_EXTEND(NAME, FROM, BYTES, TYPE) \
	HANDLER(NAME##_r_2) \
	{ \
		REG16(cpu, op->reg) = (uint16_t)(TYPE)REG##FROM(cpu, op->rm); \
		return op + 1; \
	} \
	HANDLER(NAME##_r_4) \
	{ \
		REG64(cpu, op->reg) = (uint32_t)(TYPE)REG##FROM(cpu, op->rm); \
		return op + 1; \
	} \
	HANDLER(NAME##_r_8) \
	{ \
		REG64(cpu, op->reg) = (uint64_t)(TYPE)REG##FROM(cpu, op->rm); \
		return op + 1; \
	} \
	HANDLER(NAME##_m_2) \
	{ \
		TYPE value = (TYPE)load_##BYTES(cpu, op, op_linear(cpu, op)); \
		REG16(cpu, op->reg) = (uint16_t)value; \
		return op + 1; \
	} \
	HANDLER(NAME##_m_4) \
	{ \
		TYPE value = (TYPE)load_##BYTES(cpu, op, op_linear(cpu, op)); \
		REG64(cpu, op->reg) = (uint32_t)value; \
		return op + 1; \
	} \
	HANDLER(NAME##_m_8) \
	{ \
		TYPE value = (TYPE)load_##BYTES(cpu, op, op_linear(cpu, op)); \
		REG64(cpu, op->reg) = (uint64_t)value; \
		return op + 1; \
	}
DEFINE_EXTEND(movzx8, 8, 1, uint8_t)
DEFINE_EXTEND(movzx16, 16, 2, uint16_t)
DEFINE_EXTEND(movsx8, 8, 1, int8_t)
DEFINE_EXTEND(movsx16, 16, 2, int16_t)
DEFINE_EXTEND(movsx32, 32, 4, int32_t)

#define EXTEND_FORMS(NAME) \
	{ \
		{ NAME##_r_2, NAME##_r_4, NAME##_r_8 }, \
		{ \
			NAME##_m_2, NAME##_m_4, NAME##_m_8 \
		} \
	}
static op_run *const extends[5][2][3] = { EXTEND_FORMS(movzx8), EXTEND_FORMS(movzx16),
	EXTEND_FORMS(movsx8), EXTEND_FORMS(movsx16), EXTEND_FORMS(movsx32) };

HANDLER(lea_2)
{
	REG16(cpu, op->reg) = (uint16_t)(REG64(cpu, op->base) +
		(REG64(cpu, op->index) << op->scale) + (uint64_t)op->disp);
	return op + 1;
}

HANDLER(lea_4)
{
	REG64(cpu, op->reg) = (uint32_t)(REG64(cpu, op->base) +
		(REG64(cpu, op->index) << op->scale) + (uint64_t)op->disp);
	return op + 1;
}

HANDLER(lea_8)
{
	REG64(cpu, op->reg) =
		REG64(cpu, op->base) + (REG64(cpu, op->index) << op->scale) + (uint64_t)op->disp;
	return op + 1;
}

/* With a 16 or 32-bit address size. */
HANDLER(lea_narrow)
{
	uint64_t at =
		REG64(cpu, op->base) + (REG64(cpu, op->index) << op->scale) + (uint64_t)op->disp;
	reg_set(cpu, op->reg, op->bytes, at & mask_of(op->address_bytes));
	return op + 1;
}

HANDLER(push_r_8)
{
	uint64_t at = cpu->r[CPU_RSP] - 8;
	store_8(cpu, op, at, REG64(cpu, op->rm));
	cpu->r[CPU_RSP] = at;
	return op + 1;
}

HANDLER(push_i_8)
{
	uint64_t at = cpu->r[CPU_RSP] - 8;
	store_8(cpu, op, at, op->imm);
	cpu->r[CPU_RSP] = at;
	return op + 1;
}

HANDLER(pop_r_8)
{
	uint64_t at = cpu->r[CPU_RSP];
	uint64_t value = load_8(cpu, op, at);
	cpu->r[CPU_RSP] = at + 8;
	REG64(cpu, op->rm) = value;
	return op + 1;
}

#define DEFINE_CONDITIONAL(CODE) \
	HANDLER(setcc_##CODE) \
	{ \
		REG8(cpu, op->rm) = condition(cpu->flags, CODE); \
		return op + 1; \
	} \
	HANDLER(cmov_##CODE##_4) \
	{ \
		uint32_t value = REG32(cpu, condition(cpu->flags, CODE) ? op->rm : op->reg); \
		REG64(cpu, op->reg) = value; \
		return op + 1; \
	} \
	HANDLER(cmov_##CODE##_8) \
	{ \
		uint64_t value = REG64(cpu, condition(cpu->flags, CODE) ? op->rm : op->reg); \
		REG64(cpu, op->reg) = value; \
		return op + 1; \
	}
#define CONDITIONS(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
CONDITIONS(DEFINE_CONDITIONAL)

#define SETCC_ENTRY(CODE) setcc_##CODE,
#define CMOV_ENTRY(CODE)  { cmov_##CODE##_4, cmov_##CODE##_8 },
static op_run *const setcc[16] = { CONDITIONS(SETCC_ENTRY) };
static op_run *const cmov[16][2] = { CONDITIONS(CMOV_ENTRY) };

HANDLER(setcc_m)
{
	store_1(cpu, op, op_linear(cpu, op), condition(cpu->flags, op->extra));
	return op + 1;
}

/* The operand is loaded, and may fault, whatever the condition. */
HANDLER(cmov_any)
{
	uint64_t value = rm_get(cpu, op, op->bytes);
	if (!condition(cpu->flags, op->extra))
		value = reg_get(cpu, op->reg, op->bytes);
	reg_set(cpu, op->reg, op->bytes, value);
	return op + 1;
}

HANDLER(nop)
{
	(void)cpu;
	return op + 1;
}

HANDLER(pause_loop)
{
	spin_pause(cpu);
	if (likely(atomic_load(&cpu->attention) == 0))
		return op + 1;
	cpu->instructions += op->sequence;
	return op_end(cpu, op);
}

HANDLER(convert_a) /* CBW CWDE CDQE */
{
	if (op->bytes == 2)
		REG16(cpu, 0) = (uint16_t)(int8_t)REG8(cpu, 0);
	else if (op->bytes == 4)
		REG64(cpu, 0) = (uint32_t)(int16_t)REG16(cpu, 0);
	else
		REG64(cpu, 0) = (uint64_t)(int32_t)REG32(cpu, 0);
	return op + 1;
}

HANDLER(convert_d) /* CWD CDQ CQO */
{
	uint64_t a = reg_get(cpu, 0, op->bytes);
	bool is_negative = a >> (8 * op->bytes - 1) & 1;
	reg_set(cpu, CPU_RDX * 8, op->bytes, is_negative ? UINT64_MAX : 0);
	return op + 1;
}

static uint32_t size_index(uint32_t bytes)
{
	return (uint32_t)__builtin_ctz(bytes);
}

static op_run *bind_alu(const struct insn *insn, struct op *op, uint32_t which, enum form form)
{
	bool changes = which < ALU_CMP && form != FORM_RM;
	if (insn->has_lock && (!insn->is_memory || !changes))
		return op_undefined();
	if (insn->is_memory && changes)
		op->access = ACCESS_READ | ACCESS_WRITE;
	if (insn->has_lock)
		form = form == FORM_MR ? FORM_LOCK_MR : FORM_LOCK_MI;
	return alu[which][size_index(op->bytes)][form];
}

/* The register form of "reg, rm" is "rm, reg" with both exchanged. */
static void swap(struct op *op)
{
	uint8_t reg = op->reg;
	op->reg = op->rm;
	op->rm = reg;
}

/* 00 to 3f: eight operations in six forms. */
static op_run *bind_alu_row(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->opcode >> 3 & 7, form = insn->opcode & 7;
	if (form >= 6)
		return NULL; /* PUSH and POP of segments, DAA and its like: another's, as it came */
	if (!(form & 1))
		op_set_bytes(insn, op, 1);
	switch (form >> 1) {
	case 0:
		return bind_alu(insn, op, which, insn->is_memory ? FORM_MR : FORM_RR);
	case 1:
		if (insn->is_memory)
			return bind_alu(insn, op, which, FORM_RM);
		swap(op);
		return bind_alu(insn, op, which, FORM_RR);
	default:
		op->rm = 0;
		return bind_alu(insn, op, which, FORM_RI);
	}
}

static op_run *bind_mov(const struct insn *insn, struct op *op)
{
	uint32_t form = FORM_RR;
	uint8_t opcode = insn->opcode;
	if (insn->has_lock)
		return op_undefined();
	if (!(opcode & 1))
		op_set_bytes(insn, op, 1);
	if (opcode >= 0xc6) {
		if (insn->modrm >> 3 & 7)
			return op_undefined();
		form = insn->is_memory ? FORM_MI : FORM_RI;
	} else if (opcode >= 0x8a) {
		form = insn->is_memory ? FORM_RM : FORM_RR;
		if (!insn->is_memory)
			swap(op);
	} else {
		form = insn->is_memory ? FORM_MR : FORM_RR;
	}
	if (insn->is_memory && form != FORM_RM)
		op->access = ACCESS_WRITE;
	return mov[size_index(op->bytes)][form];
}

/* a0 to a3: the address is the immediate. */
static op_run *bind_mov_at(const struct insn *insn, struct op *op)
{
	op_set_bytes(insn, op, insn->opcode & 1 ? insn->operand_bytes : 1);
	op->disp = (int64_t)insn->imm;
	op->base = op->index = R_ZERO * 8;
	op->reg = 0;
	op->flags |= OP_MEMORY;
	bool is_load = insn->opcode < 0xa2;
	op_set_access(op, op->bytes, is_load ? ACCESS_READ : ACCESS_WRITE);
	return mov[size_index(op->bytes)][is_load ? FORM_RM : FORM_MR];
}

static op_run *bind_mov_immediate(const struct insn *insn, struct op *op)
{
	op_set_bytes(insn, op, insn->opcode >= 0xb8 ? insn->operand_bytes : 1);
	return mov[size_index(op->bytes)][FORM_RI];
}

static op_run *bind_one(const struct insn *insn, struct op *op, enum one which)
{
	if (insn->has_lock && !insn->is_memory)
		return op_undefined();
	if (insn->is_memory)
		op->access = ACCESS_READ | ACCESS_WRITE;
	return ones[which][size_index(op->bytes)][insn->has_lock ? 2 : insn->is_memory];
}

static op_run *bind_group1(const struct insn *insn, struct op *op)
{
	if (insn->opcode != 0x81 && insn->opcode != 0x83)
		op_set_bytes(insn, op, 1);
	return bind_alu(insn, op, insn->modrm >> 3 & 7, insn->is_memory ? FORM_MI : FORM_RI);
}

static op_run *bind_group3(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->opcode == 0xf6)
		op_set_bytes(insn, op, 1);
	if (which < 2)
		return bind_alu(insn, op, ALU_TEST, insn->is_memory ? FORM_MI : FORM_RI);
	if (which < 4)
		return bind_one(insn, op, which == 2 ? ONE_NOT : ONE_NEG);
	return NULL;
}

static op_run *bind_xchg(const struct insn *insn, struct op *op)
{
	if (insn->has_lock && !insn->is_memory)
		return op_undefined();
	if (insn->opcode == 0x86)
		op_set_bytes(insn, op, 1);
	if (insn->is_memory) {
		op->access = ACCESS_READ | ACCESS_WRITE;
		op->flags |= OP_LOCK;
	}
	return xchg[size_index(op->bytes)][insn->is_memory];
}

static op_run *bind_lea(const struct insn *insn, struct op *op)
{
	if (!insn->is_memory || insn->has_lock)
		return op_undefined();
	op->access = ACCESS_NONE;
	if (insn->address_bytes < insn->operand_bytes || insn->address_bytes == 2)
		return lea_narrow;
	return op->bytes == 8 ? lea_8 : op->bytes == 4 ? lea_4 : lea_2;
}

static op_run *bind_extend(const struct insn *insn, struct op *op, uint32_t which, uint32_t from)
{
	uint32_t to = size_index(op->bytes) - 1;
	uint8_t reg = op->reg;
	op_set_bytes(insn, op, from);
	op->reg = reg;
	return extends[which][insn->is_memory][to];
}

static op_run *bind_stack(const struct insn *insn, struct op *op)
{
	if (insn->code_bytes != 8 || insn->operand_bytes != 8 || insn->has_lock)
		return NULL;
	if (insn->opcode >= 0x58 && insn->opcode <= 0x5f)
		return pop_r_8;
	op->segment = CPU_SS;
	return insn->opcode <= 0x57 ? push_r_8 : push_i_8;
}

static op_run *bind_one_byte(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	if (opcode < 0x40)
		return bind_alu_row(insn, op);
	if (opcode < 0x50)
		return bind_one(insn, op, opcode < 0x48 ? ONE_INC : ONE_DEC);
	if (opcode >= 0xb0 && opcode <= 0xbf)
		return bind_mov_immediate(insn, op);
	if ((opcode >= 0x50 && opcode <= 0x5f) || opcode == 0x68 || opcode == 0x6a)
		return bind_stack(insn, op);
	switch (opcode) {
	case 0x63:
		return insn->code_bytes == 8 ? bind_extend(insn, op, 4, 4) : NULL;
	case 0x80:
	case 0x81:
	case 0x82:
	case 0x83:
		return bind_group1(insn, op);
	case 0x84:
	case 0x85:
		if (opcode == 0x84)
			op_set_bytes(insn, op, 1);
		return bind_alu(insn, op, ALU_TEST, insn->is_memory ? FORM_MR : FORM_RR);
	case 0x86:
	case 0x87:
		return bind_xchg(insn, op);
	case 0x88:
	case 0x89:
	case 0x8a:
	case 0x8b:
	case 0xc6:
	case 0xc7:
		return bind_mov(insn, op);
	case 0x8d:
		return bind_lea(insn, op);
	case 0x98:
		return convert_a;
	case 0x99:
		return convert_d;
	case 0xa0:
	case 0xa1:
	case 0xa2:
	case 0xa3:
		return bind_mov_at(insn, op);
	case 0xa8:
	case 0xa9:
		op_set_bytes(insn, op, opcode == 0xa8 ? 1 : insn->operand_bytes);
		op->rm = 0;
		return bind_alu(insn, op, ALU_TEST, FORM_RI);
	case 0xf6:
	case 0xf7:
		return bind_group3(insn, op);
	case 0xfe:
		op_set_bytes(insn, op, 1);
		__attribute__((__fallthrough__));
	case 0xff:
		return (insn->modrm >> 3 & 7) < 2
			? bind_one(insn, op, insn->modrm & 8 ? ONE_DEC : ONE_INC)
			: opcode == 0xfe ? op_undefined()
					 : NULL;
	default:
		return NULL;
	}
}

static op_run *bind_exchange_a(const struct insn *insn, struct op *op)
{
	/* F3 REX.B 90 is XCHG R8 for AMD's CPUs, PAUSE for the others. */
	bool is_pause = insn->opcode == 0x90 && insn->has_rep && !cpuid_host_is_amd();
	if (is_pause || (insn->rm == 0 && insn->has_rep))
		return pause_loop;
	if (insn->rm == 0)
		return nop;
	op->reg = 0;
	return xchg[size_index(op->bytes)][0];
}

static op_run *bind_conditional(const struct insn *insn, struct op *op)
{
	uint32_t code = insn->opcode & 15;
	op->extra = (uint8_t)code;
	if (insn->has_lock)
		return op_undefined();
	if (insn->opcode >= 0x90) {
		op_set_bytes(insn, op, 1);
		op->access = insn->is_memory ? ACCESS_WRITE : ACCESS_NONE;
		return insn->is_memory ? setcc_m : setcc[code];
	}
	if (insn->is_memory || op->bytes == 2)
		return cmov_any;
	return cmov[code][op->bytes == 8];
}

op_run *integer_bind(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	if (insn->has_vex)
		return NULL;
	if (insn->map == MAP_ONE_BYTE)
		return opcode >= 0x90 && opcode <= 0x97 && !insn->has_lock
			? bind_exchange_a(insn, op)
			: bind_one_byte(insn, op);
	if (insn->map != MAP_0F)
		return NULL;
	if ((opcode & 0xf0) == 0x40 || (opcode & 0xf0) == 0x90)
		return bind_conditional(insn, op);
	switch (opcode) {
	case 0xb6:
	case 0xb7:
		return bind_extend(insn, op, opcode - 0xb6u, opcode == 0xb6 ? 1 : 2);
	case 0xbe:
	case 0xbf:
		return bind_extend(insn, op, opcode - 0xbeu + 2, opcode == 0xbe ? 1 : 2);
	case 0x0d:
	case 0x18:
	case 0x19:
	case 0x1a:
	case 0x1b:
	case 0x1c:
	case 0x1d:
	case 0x1e:
	case 0x1f:
		op->access = ACCESS_NONE; /* hints */
		return nop;
	default:
		return NULL;
	}
}
