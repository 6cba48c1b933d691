/* SPDX-License-Identifier: Apache-2.0 */
/*
 * control.c - where the next op comes from.
 *
 * A direct branch holds its target: for good if that is in the same page (both are dropped together),
 * else as long as cpu->generation stays. Branch ops have in imm the target relative to R_CODE and in
 * disp the mask of rip. Only taken branches look for attention, so every loop does.
 */
#include "vmm/soft/control.h"

#include "vmm/soft/flags.h"
#include "vmm/soft/segment.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

static inline bool wants_attention(const struct cpu *cpu)
{
	return atomic_load_explicit(&cpu->attention, memory_order_relaxed) != 0;
}

/* A wrong target is the fault of the branch, found before it changes anything. */
static inline void check_target(struct cpu *cpu, const struct op *op, uint64_t rip)
{
	bool is_good =
		cpu->code_bytes == 8 ? is_canonical(rip) : rip <= cpu->segments[CPU_CS].limit;
	if (unlikely(!is_good))
		fault_gp(cpu, op);
}

static const struct op *leave(struct cpu *cpu, const struct op *op, uint64_t rip, bool links)
{
	check_target(cpu, op, rip);
	cpu->link = links ? op : NULL;
	return op_look(cpu, rip);
}

static inline const struct op *jump_near(struct cpu *cpu, const struct op *op)
{
	const struct op *target = op->target;
	cpu->instructions += op->sequence;
	if (likely(target && !wants_attention(cpu)))
		return target;
	return leave(cpu, op, (cpu->r[R_CODE] + op->imm) & (uint64_t)op->disp, true);
}

static inline const struct op *jump_far(struct cpu *cpu, const struct op *op)
{
	uint64_t rip = (cpu->r[R_CODE] + op->imm) & (uint64_t)op->disp;
	cpu->instructions += op->sequence;
	if (likely(op->generation == cpu->generation && !wants_attention(cpu))) {
		cpu->r[R_CODE] = rip - op->target->offset;
		return op->target;
	}
	return leave(cpu, op, rip, true);
}

/* To an address that is not known before. */
static inline const struct op *go(struct cpu *cpu, const struct op *op, uint64_t rip)
{
	const struct jump_entry *entry = &cpu->jumps[(rip ^ rip >> 12) & (JUMP_SIZE - 1)];
	cpu->instructions += op->sequence;
	if (likely(entry->rip == rip && entry->generation == cpu->generation &&
		    !wants_attention(cpu))) {
		cpu->r[R_CODE] = rip - entry->op->offset;
		return entry->op;
	}
	return leave(cpu, op, rip, false);
}

#define DEFINE_JCC(CODE) \
	HANDLER(jcc_near_##CODE) \
	{ \
		return condition(cpu->flags, CODE) ? jump_near(cpu, op) : op + 1; \
	} \
	HANDLER(jcc_far_##CODE) \
	{ \
		return condition(cpu->flags, CODE) ? jump_far(cpu, op) : op + 1; \
	}
#define CONDITIONS(X) \
	X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
CONDITIONS(DEFINE_JCC)
#define JCC_ENTRY(CODE) { jcc_near_##CODE, jcc_far_##CODE },
static op_run *const jcc[16][2] = { CONDITIONS(JCC_ENTRY) };

HANDLER(jmp_near)
{
	return jump_near(cpu, op);
}

HANDLER(jmp_far)
{
	return jump_far(cpu, op);
}

const struct op *control_next(struct cpu *cpu, const struct op *op)
{
	return jump_far(cpu, op);
}

static void push_next(struct cpu *cpu, const struct op *op)
{
	if (likely(cpu->code_bytes == 8)) {
		uint64_t at = cpu->r[CPU_RSP] - 8;
		store_8(cpu, op, at, cpu->r[R_CODE] + op->offset + op->length);
		cpu->r[CPU_RSP] = at;
		return;
	}
	struct stack stack = stack_now(cpu);
	stack_push(cpu, op, &stack, op->bytes, op_next_rip(cpu, op));
	stack_commit(cpu, &stack);
}

HANDLER(call_near)
{
	push_next(cpu, op);
	return jump_near(cpu, op);
}

HANDLER(call_far_page)
{
	if (cpu->code_bytes != 8)
		check_target(cpu, op, (cpu->r[R_CODE] + op->imm) & (uint64_t)op->disp);
	push_next(cpu, op);
	return jump_far(cpu, op);
}

HANDLER(jmp_indirect)
{
	return go(cpu, op, rm_get(cpu, op, op->bytes));
}

HANDLER(call_indirect)
{
	uint64_t rip = rm_get(cpu, op, op->bytes);
	check_target(cpu, op, rip);
	push_next(cpu, op);
	return go(cpu, op, rip);
}

HANDLER(ret_long)
{
	uint64_t rip = load_8(cpu, op, cpu->r[CPU_RSP]);
	check_target(cpu, op, rip);
	cpu->r[CPU_RSP] += 8 + op->imm;
	return go(cpu, op, rip);
}

HANDLER(ret_any)
{
	struct stack stack = stack_now(cpu);
	uint64_t rip = stack_pop(cpu, op, &stack, op->bytes);
	check_target(cpu, op, rip);
	uint64_t mask = mask_of(stack.width);
	stack.pointer = (stack.pointer & ~mask) | ((stack.pointer + op->imm) & mask);
	stack_commit(cpu, &stack);
	return go(cpu, op, rip);
}

/* LOOPNE LOOPE LOOP JCXZ */
HANDLER(loop)
{
	uint64_t count = reg_get(cpu, CPU_RCX * 8, op->address_bytes);
	bool is_zero = cpu->flags & HOST_ZF, is_taken;
	if (op->extra == 3) {
		is_taken = count == 0;
	} else {
		count = (count - 1) & mask_of(op->address_bytes);
		is_taken = count != 0 && (op->extra == 2 || is_zero == op->extra);
		if (is_taken)
			check_target(cpu, op, (cpu->r[R_CODE] + op->imm) & (uint64_t)op->disp);
		reg_set(cpu, CPU_RCX * 8, op->address_bytes, count);
	}
	return is_taken ? jump_far(cpu, op) : op + 1;
}

/* Turns the relative immediate into one that starts at the page; says if it stays in the page. */
static bool set_target(const struct insn *insn, struct op *op)
{
	op->imm = insn->imm + op->offset + op->length;
	op->disp = (int64_t)(insn->operand_bytes == 8 ? UINT64_MAX
			: insn->operand_bytes == 4    ? 0xffffffff
						      : 0xffff);
	op->generation = UINT32_MAX;
	return insn->operand_bytes != 2 && insn->code_bytes != 2 && op->imm < GUEST_PAGE;
}

static op_run *bind_group5(const struct insn *insn, struct op *op)
{
	switch (insn->modrm >> 3 & 7) {
	case 2:
		return call_indirect;
	case 4:
		return jmp_indirect;
	default:
		(void)op;
		return NULL;
	}
}

op_run *control_bind(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	if (insn->has_vex)
		return NULL;
	if (insn->map == MAP_0F && (opcode & 0xf0) == 0x80)
		return jcc[opcode & 15][!set_target(insn, op)];
	if (insn->map != MAP_ONE_BYTE)
		return NULL;
	if ((opcode & 0xf0) == 0x70)
		return jcc[opcode & 15][!set_target(insn, op)];
	switch (opcode) {
	case 0xc2:
	case 0xc3:
		return insn->code_bytes == 8 ? ret_long : ret_any;
	case 0xe0:
	case 0xe1:
	case 0xe2:
	case 0xe3:
		op->extra = opcode & 3;
		set_target(insn, op);
		return loop;
	case 0xe8:
		return set_target(insn, op) && insn->code_bytes == 8 ? call_near : call_far_page;
	case 0xe9:
	case 0xeb:
		return set_target(insn, op) ? jmp_near : jmp_far;
	case 0xff:
		return insn->has_lock ? op_undefined() : bind_group5(insn, op);
	default:
		return NULL;
	}
}
