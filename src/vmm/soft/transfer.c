/* SPDX-License-Identifier: Apache-2.0 */
/*
 * transfer.c - control that leaves its segment.
 */
#include "vmm/soft/transfer.h"

#include "vmm/soft/event.h"
#include "vmm/soft/nmi.h"
#include "vmm/soft/segment.h"
#include "vmm/soft/task.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

/* Where it goes on: of 64 bits 32-bit code takes the lower half. */
static uint64_t checked_rip(
	struct cpu *cpu, const struct op *op, const struct cpu_segment *cs, uint64_t rip)
{
	bool is_64 = is_long(cpu) && (cs->attributes & CPU_ATTRIBUTE_LONG);
	if (!is_64)
		rip = (uint32_t)rip;
	if (is_64 ? !is_canonical(rip) : rip > cs->limit)
		fault_gp(cpu, op);
	return rip;
}

/* A code descriptor that JMP or CALL may enter without a gate. */
static struct cpu_segment direct_code(
	struct cpu *cpu, const struct op *op, uint16_t selector, struct descriptor *d)
{
	uint32_t rpl = selector & 3u;
	bool is_allowed = DESC_CONFORMS(*d) ? DESC_DPL(*d) <= cpu->cpl
					    : rpl <= cpu->cpl && DESC_DPL(*d) == cpu->cpl;
	if (!is_allowed || (is_long(cpu) && DESC_L(*d) && DESC_DB(*d)))
		cpu_fault(cpu, op, FAULT_GP, selector & ~3u);
	if (!DESC_P(*d))
		cpu_fault(cpu, op, FAULT_NP, selector & ~3u);
	descriptor_set_accessed(cpu, op, selector, d);
	return segment_from(*d, (uint16_t)((selector & ~3u) | cpu->cpl));
}

struct call_gate {
	uint16_t selector;
	uint32_t parameters, size;
	uint64_t offset;
};

static struct call_gate read_gate(
	struct cpu *cpu, const struct op *op, uint16_t selector, const struct descriptor *d)
{
	if (DESC_DPL(*d) < cpu->cpl || DESC_DPL(*d) < (selector & 3u))
		cpu_fault(cpu, op, FAULT_GP, selector & ~3u);
	if (!DESC_P(*d))
		cpu_fault(cpu, op, FAULT_NP, selector & ~3u);
	struct call_gate gate = {
		.selector = (uint16_t)(d->low >> 16),
		.parameters = d->high & 31,
		.size = is_long(cpu)        ? 8
			: DESC_TYPE(*d) & 8 ? 4
					    : 2,
		.offset = (d->low & 0xffff) | (d->high & 0xffff0000) | (uint64_t)d->high2 << 32,
	};
	if (gate.size == 2)
		gate.offset &= 0xffff;
	return gate;
}

static struct descriptor gate_code(
	struct cpu *cpu, const struct op *op, const struct call_gate *gate)
{
	struct descriptor d = descriptor_need(cpu, op, gate->selector, FAULT_GP);
	bool is_wrong = !DESC_IS_CODE(d) || DESC_DPL(d) > cpu->cpl ||
		(is_long(cpu) && (!DESC_L(d) || DESC_DB(d)));
	if (is_wrong)
		cpu_fault(cpu, op, FAULT_GP, gate->selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, FAULT_NP, gate->selector & ~3u);
	return d;
}

static struct stack inner_stack(struct cpu *cpu, const struct op *op, uint32_t cpl)
{
	const struct cpu_segment *tr = &cpu->segments[CPU_TR];
	if (is_long(cpu)) {
		uint64_t pointer = memory_load_system(cpu, op, tr->base + 4 + 8 * cpl, 8);
		return (struct stack){ .pointer = pointer,
			.width = 8,
			.is_long = true,
			.is_system = true,
			.segment = { .selector = (uint16_t)cpl,
				.attributes = (uint16_t)(0x4093 | cpl << 5),
				.limit = 0xffffffff } };
	}
	uint32_t size = tr->attributes & 8 ? 4 : 2, at = size + 2 * size * cpl;
	if (at + 2 * size - 1 > tr->limit)
		cpu_fault(cpu, op, FAULT_TS, tr->selector & ~3u);
	uint64_t pointer = memory_load_system(cpu, op, tr->base + at, size);
	uint16_t selector = (uint16_t)memory_load_system(cpu, op, tr->base + at + size, 2);
	struct cpu_segment ss = segment_stack(cpu, op, selector, cpl, FAULT_TS);
	return (struct stack){ .pointer = pointer,
		.width = ss.attributes & CPU_ATTRIBUTE_BIG ? 4 : 2,
		.segment = ss,
		.is_system = true };
}

static void copy_parameters(
	struct cpu *cpu, const struct op *op, struct stack *to, const struct call_gate *gate)
{
	uint64_t values[32];
	struct stack from = stack_now(cpu);
	for (uint32_t i = 0; i < gate->parameters; i++)
		values[i] = stack_pop(cpu, op, &from, gate->size);
	for (uint32_t i = gate->parameters; i > 0; i--)
		stack_push(cpu, op, to, gate->size, values[i - 1]);
}

static const struct op *through_gate(struct cpu *cpu, const struct op *op, uint16_t selector,
	const struct descriptor *gate_descriptor, bool is_call)
{
	struct call_gate gate = read_gate(cpu, op, selector, gate_descriptor);
	struct descriptor d = gate_code(cpu, op, &gate);
	uint32_t cpl = cpu->cpl;
	if (is_call && !DESC_CONFORMS(d))
		cpl = DESC_DPL(d);
	else if (!DESC_CONFORMS(d) && DESC_DPL(d) != cpu->cpl)
		cpu_fault(cpu, op, FAULT_GP, gate.selector & ~3u);
	struct cpu_segment cs = segment_from(d, (uint16_t)((gate.selector & ~3u) | cpl));
	(void)checked_rip(cpu, op, &cs, gate.offset);
	bool is_inner = cpl < cpu->cpl;
	struct stack stack = stack_now(cpu);
	if (is_call) {
		if (is_inner) {
			stack = inner_stack(cpu, op, cpl);
			stack_push(cpu, op, &stack, gate.size, cpu->segments[CPU_SS].selector);
			stack_push(cpu, op, &stack, gate.size, cpu->r[CPU_RSP]);
			if (!is_long(cpu))
				copy_parameters(cpu, op, &stack, &gate);
		}
		stack_push(cpu, op, &stack, gate.size, cpu->segments[CPU_CS].selector);
		stack_push(cpu, op, &stack, gate.size, op_next_rip(cpu, op));
	}
	descriptor_set_accessed(cpu, op, gate.selector, &d);
	cpu->cpl = (uint8_t)cpl;
	segment_set(cpu, CPU_CS, &cs);
	if (is_inner)
		segment_set(cpu, CPU_SS, &stack.segment);
	stack_commit(cpu, &stack);
	return op_look(cpu, gate.offset);
}

static const struct op *far(
	struct cpu *cpu, const struct op *op, uint16_t selector, uint64_t offset, bool is_call)
{
	if (!is_protected(cpu)) {
		struct stack stack = stack_now(cpu);
		if (offset > 0xffff && !is_v86(cpu) && offset > cpu->segments[CPU_CS].limit)
			fault_gp(cpu, op);
		if (is_call) {
			stack_push(cpu, op, &stack, op->bytes, cpu->segments[CPU_CS].selector);
			stack_push(cpu, op, &stack, op->bytes, op_next_rip(cpu, op));
			stack_commit(cpu, &stack);
		}
		segment_set_real(cpu, CPU_CS, selector);
		return op_look(cpu, offset);
	}
	struct descriptor d = descriptor_need(cpu, op, selector, FAULT_GP);
	if (DESC_IS_CODE(d)) {
		struct cpu_segment cs = direct_code(cpu, op, selector, &d);
		offset = checked_rip(cpu, op, &cs, offset);
		if (is_call) {
			struct stack stack = stack_now(cpu);
			stack_push(cpu, op, &stack, op->bytes, cpu->segments[CPU_CS].selector);
			stack_push(cpu, op, &stack, op->bytes, op_next_rip(cpu, op));
			stack_commit(cpu, &stack);
		}
		segment_set(cpu, CPU_CS, &cs);
		return op_look(cpu, offset);
	}
	uint32_t type = DESC_S(d) ? 0 : DESC_TYPE(d);
	if (type == 12 || (type == 4 && !is_long(cpu)))
		return through_gate(cpu, op, selector, &d, is_call);
	bool is_task = !is_long(cpu) && (type == 5 || type == 1 || type == 9);
	if (!is_task || DESC_DPL(d) < cpu->cpl || DESC_DPL(d) < (selector & 3u))
		cpu_fault(cpu, op, FAULT_GP, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, FAULT_NP, selector & ~3u);
	if (type == 5)
		selector = (uint16_t)(d.low >> 16);
	task_switch(cpu, op, selector, is_call ? TASK_CALL : TASK_JUMP, op_next_rip(cpu, op));
	return NULL;
}

HANDLER(far_direct)
{
	return far(cpu, op, (uint16_t)op->disp, op->imm & mask_of(op->bytes), op->extra);
}

HANDLER(far_indirect)
{
	uint64_t linear = op_linear(cpu, op);
	uint64_t offset = load_any(cpu, op, linear, op->bytes);
	uint16_t selector = load_2(cpu, op, linear + op->bytes);
	return far(cpu, op, selector, offset, op->extra);
}

/* Pops CS and IP; what both RETF and IRET in protected mode check. */
static struct cpu_segment return_code(struct cpu *cpu, const struct op *op, uint16_t selector)
{
	struct descriptor d = descriptor_need(cpu, op, selector, FAULT_GP);
	uint32_t rpl = selector & 3u;
	bool is_wrong = !DESC_IS_CODE(d) || rpl < cpu->cpl ||
		(DESC_CONFORMS(d) ? DESC_DPL(d) > rpl : DESC_DPL(d) != rpl) ||
		(is_long(cpu) && DESC_L(d) && DESC_DB(d));
	if (is_wrong)
		cpu_fault(cpu, op, FAULT_GP, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, FAULT_NP, selector & ~3u);
	descriptor_set_accessed(cpu, op, selector, &d);
	return segment_from(d, selector);
}

/* The outer stack: a null SS is allowed when returning to 64-bit code below level 3. */
static struct cpu_segment return_stack(
	struct cpu *cpu, const struct op *op, const struct cpu_segment *cs, uint16_t selector)
{
	uint32_t rpl = cs->selector & 3u;
	bool is_64 = is_long(cpu) && (cs->attributes & CPU_ATTRIBUTE_LONG);
	if (!(selector & ~3u) && is_64 && rpl != 3 && (selector & 3u) == rpl)
		return (struct cpu_segment){ .selector = selector,
			.attributes = (uint16_t)(0x4093 | rpl << 5),
			.limit = 0xffffffff };
	return segment_stack(cpu, op, selector, rpl, FAULT_GP);
}

HANDLER(return_far)
{
	struct stack stack = stack_now(cpu);
	uint64_t rip = stack_pop(cpu, op, &stack, op->bytes);
	uint16_t selector = (uint16_t)stack_pop(cpu, op, &stack, op->bytes);
	uint64_t mask = mask_of(stack.width);
	if (!is_protected(cpu)) {
		if (rip > cpu->segments[CPU_CS].limit)
			fault_gp(cpu, op);
		stack.pointer = (stack.pointer & ~mask) | ((stack.pointer + op->imm) & mask);
		stack_commit(cpu, &stack);
		segment_set_real(cpu, CPU_CS, selector);
		return op_look(cpu, rip);
	}
	struct cpu_segment cs = return_code(cpu, op, selector);
	rip = checked_rip(cpu, op, &cs, rip);
	stack.pointer = (stack.pointer & ~mask) | ((stack.pointer + op->imm) & mask);
	uint32_t rpl = selector & 3u;
	if (rpl == cpu->cpl) {
		segment_set(cpu, CPU_CS, &cs);
		stack_commit(cpu, &stack);
		return op_look(cpu, rip);
	}
	uint64_t pointer = stack_pop(cpu, op, &stack, op->bytes);
	uint16_t ss_selector = (uint16_t)stack_pop(cpu, op, &stack, op->bytes);
	struct cpu_segment ss = return_stack(cpu, op, &cs, ss_selector);
	cpu->cpl = (uint8_t)rpl;
	segment_set(cpu, CPU_CS, &cs);
	segment_set(cpu, CPU_SS, &ss);
	struct stack outer = stack_now(cpu);
	mask = mask_of(outer.width);
	cpu->r[CPU_RSP] =
		((pointer + op->imm) & mask) | (outer.width == 2 ? cpu->r[CPU_RSP] & ~mask : 0);
	segment_drop_inner(cpu);
	return op_look(cpu, rip);
}

/* The flags that IRET and POPF may change at this level. */
static uint32_t changeable_flags(const struct cpu *cpu, uint32_t bytes)
{
	uint32_t mask = FLAGS_ARITHMETIC | FLAG_TF | FLAG_DF | FLAG_NT;
	if (bytes > 2)
		mask |= FLAG_RF | FLAG_AC | FLAG_ID;
	if (cpu->cpl == 0 || !(cpu->cr0 & CR0_PE))
		mask |= FLAG_IOPL;
	if (cpu->cpl <= cpu_iopl(cpu) || !(cpu->cr0 & CR0_PE))
		mask |= FLAG_IF;
	return mask;
}

static const struct op *iret_to_v86(struct cpu *cpu, const struct op *op, struct stack *stack,
	uint64_t rip, uint16_t selector, uint32_t flags)
{
	uint64_t pointer = stack_pop(cpu, op, stack, 4);
	uint16_t ss = (uint16_t)stack_pop(cpu, op, stack, 4);
	uint16_t others[4];
	for (int i = 0; i < 4; i++)
		others[i] = (uint16_t)stack_pop(cpu, op, stack, 4);
	cpu_set_rflags(cpu, flags, UINT32_MAX);
	cpu->cpl = 3;
	static const uint8_t names[4] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
	for (int i = 0; i < 4; i++)
		segment_set_real(cpu, names[i], others[i]);
	segment_set_real(cpu, CPU_SS, ss);
	segment_set_real(cpu, CPU_CS, selector);
	cpu->r[CPU_RSP] = pointer;
	nmi_unblock(cpu);
	return op_look(cpu, rip & 0xffff);
}

HANDLER(iret_real)
{
	if (is_v86(cpu) && cpu_iopl(cpu) < 3)
		fault_gp(cpu, op);
	struct stack stack = stack_now(cpu);
	uint64_t rip = stack_pop(cpu, op, &stack, op->bytes);
	uint16_t selector = (uint16_t)stack_pop(cpu, op, &stack, op->bytes);
	uint32_t flags = (uint32_t)stack_pop(cpu, op, &stack, op->bytes);
	if (rip > 0xffff)
		fault_gp(cpu, op);
	stack_commit(cpu, &stack);
	segment_set_real(cpu, CPU_CS, selector);
	cpu_set_rflags(
		cpu, flags, changeable_flags(cpu, op->bytes) & (is_v86(cpu) ? ~FLAG_IOPL : ~0u));
	nmi_unblock(cpu);
	return op_look(cpu, rip);
}

HANDLER(iret)
{
	if (!is_protected(cpu))
		return iret_real(cpu, op);
	if (cpu->rflags_rest & FLAG_NT) {
		if (is_long(cpu))
			fault_gp(cpu, op);
		task_return(cpu, op, op_next_rip(cpu, op));
		nmi_unblock(cpu);
		return NULL;
	}
	struct stack stack = stack_now(cpu);
	uint64_t rip = stack_pop(cpu, op, &stack, op->bytes);
	uint16_t selector = (uint16_t)stack_pop(cpu, op, &stack, op->bytes);
	uint32_t flags = (uint32_t)stack_pop(cpu, op, &stack, op->bytes);
	if (op->bytes == 4 && (flags & FLAG_VM) && cpu->cpl == 0 && !is_long(cpu))
		return iret_to_v86(cpu, op, &stack, rip, selector, flags);
	struct cpu_segment cs = return_code(cpu, op, selector);
	uint32_t rpl = selector & 3u, mask = changeable_flags(cpu, op->bytes);
	bool is_outer = rpl > cpu->cpl;
	uint64_t pointer = stack.pointer;
	struct cpu_segment ss = cpu->segments[CPU_SS];
	if (is_outer || cpu->code_bytes == 8) {
		pointer = stack_pop(cpu, op, &stack, op->bytes);
		uint16_t ss_selector = (uint16_t)stack_pop(cpu, op, &stack, op->bytes);
		ss = return_stack(cpu, op, &cs, ss_selector);
	}
	rip = checked_rip(cpu, op, &cs, rip);
	bool has_stack = is_outer || cpu->code_bytes == 8;
	cpu->cpl = (uint8_t)rpl;
	segment_set(cpu, CPU_CS, &cs);
	segment_set(cpu, CPU_SS, &ss);
	cpu_set_rflags(cpu, flags, mask);
	struct stack now = stack_now(cpu);
	uint64_t kept = now.width == 2 && has_stack ? ~UINT64_C(0xffff) : 0;
	cpu->r[CPU_RSP] = (cpu->r[CPU_RSP] & kept) | (pointer & ~kept);
	if (is_outer)
		segment_drop_inner(cpu);
	nmi_unblock(cpu);
	return op_look(cpu, rip);
}

HANDLER(interrupt)
{
	event_software(cpu, op->extra, op->length, true);
	return op_look(cpu, op_rip(cpu, op) & rip_mask(cpu));
}

HANDLER(interrupt_overflow)
{
	if (!(cpu->flags & HOST_OF))
		return op + 1;
	return interrupt(cpu, op);
}

HANDLER(interrupt_debug)
{
	/* What a breakpoint has left pending comes with it. */
	cpu->dr[6] |= cpu->trap_dr6;
	cpu->trap_dr6 = 0;
	event_software(cpu, FAULT_DB, op->length, false);
	return op_look(cpu, op_rip(cpu, op) & rip_mask(cpu));
}

static op_run *bind_group5(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (which != 3 && which != 5)
		return NULL;
	if (!insn->is_memory || insn->has_lock)
		return op_undefined();
	op->extra = which == 3;
	op_set_access(op, insn->operand_bytes + 2u, ACCESS_READ);
	return far_indirect;
}

op_run *transfer_bind(const struct insn *insn, struct op *op)
{
	if (insn->map != MAP_ONE_BYTE || insn->has_vex)
		return NULL;
	switch (insn->opcode) {
	case 0x9a:
	case 0xea:
		op->extra = insn->opcode == 0x9a;
		op->disp = insn->imm2;
		return far_direct;
	case 0xca:
	case 0xcb:
		return return_far;
	case 0xcc:
		op->extra = FAULT_BP;
		return interrupt;
	case 0xcd:
		op->extra = (uint8_t)insn->imm;
		return interrupt;
	case 0xce:
		op->extra = FAULT_OF;
		return interrupt_overflow;
	case 0xcf:
		return iret;
	case 0xf1:
		return interrupt_debug;
	case 0xff:
		return bind_group5(insn, op);
	default:
		return NULL;
	}
}

/* The stack's instructions in any mode. */

HANDLER(push_any)
{
	uint64_t value = op->extra == 2 ? op->imm
		: op->extra == 1        ? cpu->segments[op->reg].selector
					: rm_get(cpu, op, op->bytes);
	struct stack stack = stack_now(cpu);
	stack_push(cpu, op, &stack, op->bytes, value);
	stack_commit(cpu, &stack);
	return op + 1;
}

HANDLER(pop_any)
{
	struct stack stack = stack_now(cpu);
	uint64_t value = stack_pop(cpu, op, &stack, op->bytes);
	if (!(op->flags & OP_MEMORY)) {
		stack_commit(cpu, &stack);
		reg_set(cpu, op->rm, op->bytes, value);
		return op + 1;
	}
	/* An address with RSP sees it popped already. */
	uint64_t was = cpu->r[CPU_RSP];
	stack_commit(cpu, &stack);
	uint64_t linear = op_linear(cpu, op);
	if (op->inner) {
		uint64_t offset = REG64(cpu, op->address_base) +
			(REG64(cpu, op->address_index) << op->scale) + (uint64_t)op->disp;
		linear = memory_of_code(
			cpu, cpu->base[op->segment] + (offset & mask_of(op->address_bytes)));
	}
	cpu->r[CPU_RSP] = was;
	store_any(cpu, op, linear, op->bytes, value);
	stack_commit(cpu, &stack);
	return op + 1;
}

HANDLER(pop_segment)
{
	struct stack stack = stack_now(cpu);
	uint16_t selector = (uint16_t)stack_pop(cpu, op, &stack, op->bytes);
	segment_load(cpu, op, op->reg, selector);
	stack_commit(cpu, &stack);
	if (op->reg == CPU_SS) {
		cpu->shadow = cpu->shadow_is_ss = true;
		cpu_call(cpu, ATTENTION_STEP);
	}
	return op_end(cpu, op);
}

HANDLER(push_all)
{
	struct stack stack = stack_now(cpu);
	for (uint32_t i = 0; i < 8; i++)
		stack_push(cpu, op, &stack, op->bytes, cpu->r[i]);
	stack_commit(cpu, &stack);
	return op + 1;
}

HANDLER(pop_all)
{
	uint64_t values[8];
	struct stack stack = stack_now(cpu);
	for (uint32_t i = 8; i > 0; i--)
		values[i - 1] = stack_pop(cpu, op, &stack, op->bytes);
	for (uint32_t i = 0; i < 8; i++)
		if (i != CPU_RSP)
			reg_set(cpu, i * 8, op->bytes, values[i]);
	stack_commit(cpu, &stack);
	return op + 1;
}

HANDLER(push_flags)
{
	if (is_v86(cpu) && cpu_iopl(cpu) < 3)
		fault_gp(cpu, op);
	struct stack stack = stack_now(cpu);
	stack_push(cpu, op, &stack, op->bytes, cpu_rflags(cpu) & ~(FLAG_VM | FLAG_RF));
	stack_commit(cpu, &stack);
	return op + 1;
}

HANDLER(pop_flags)
{
	if (is_v86(cpu) && cpu_iopl(cpu) < 3)
		fault_gp(cpu, op);
	struct stack stack = stack_now(cpu);
	uint32_t flags = (uint32_t)stack_pop(cpu, op, &stack, op->bytes);
	uint32_t mask = changeable_flags(cpu, op->bytes);
	stack_commit(cpu, &stack);
	cpu_set_rflags(cpu, flags & ~FLAG_RF, mask | (op->bytes > 2 ? FLAG_RF : 0));
	return op_end(cpu, op);
}

HANDLER(enter)
{
	uint32_t nesting = op->extra & 31;
	struct stack stack = stack_now(cpu);
	uint64_t mask = mask_of(stack.width);
	stack_push(cpu, op, &stack, op->bytes, cpu->r[CPU_RBP]);
	uint64_t frame = stack.pointer;
	if (nesting > 0) {
		struct stack outer = stack_now(cpu);
		outer.pointer = cpu->r[CPU_RBP];
		for (uint32_t i = 1; i < nesting; i++) {
			outer.pointer =
				(outer.pointer & ~mask) | ((outer.pointer - op->bytes) & mask);
			struct stack peek = outer;
			stack_push(
				cpu, op, &stack, op->bytes, stack_pop(cpu, op, &peek, op->bytes));
		}
		stack_push(cpu, op, &stack, op->bytes, frame);
	}
	stack.pointer = (stack.pointer & ~mask) | ((stack.pointer - op->imm) & mask);
	/* The new top must be writable, as if something were pushed there. */
	if (cpu->code_bytes == 8)
		memory_probe(cpu, op, stack.pointer, op->bytes, ACCESS_WRITE);
	reg_set(cpu, CPU_RBP * 8, op->bytes, frame);
	stack_commit(cpu, &stack);
	return op + 1;
}

HANDLER(leave)
{
	struct stack stack = stack_now(cpu);
	uint64_t mask = mask_of(stack.width);
	stack.pointer = (stack.pointer & ~mask) | (cpu->r[CPU_RBP] & mask);
	uint64_t value = stack_pop(cpu, op, &stack, op->bytes);
	stack_commit(cpu, &stack);
	reg_set(cpu, CPU_RBP * 8, op->bytes, value);
	return op + 1;
}

HANDLER(mov_from_segment)
{
	uint64_t selector = cpu->segments[op->reg].selector;
	if (op->flags & OP_MEMORY)
		store_2(cpu, op, op_linear(cpu, op), (uint16_t)selector);
	else
		reg_set(cpu, op->rm, op->bytes, selector);
	return op + 1;
}

HANDLER(mov_to_segment)
{
	segment_load(cpu, op, op->reg, (uint16_t)rm_get(cpu, op, 2));
	if (op->reg == CPU_SS) {
		cpu->shadow = cpu->shadow_is_ss = true;
		cpu_call(cpu, ATTENTION_STEP);
		return op_end(cpu, op);
	}
	return op + 1;
}

HANDLER(load_far_pointer) /* LES LDS LSS LFS LGS */
{
	uint64_t linear = op_linear(cpu, op);
	uint64_t offset = load_any(cpu, op, linear, op->bytes);
	uint16_t selector = load_2(cpu, op, linear + op->bytes);
	segment_load(cpu, op, op->extra, selector);
	reg_set(cpu, op->reg, op->bytes, offset);
	return op_end(cpu, op);
}

static op_run *bind_far_pointer(const struct insn *insn, struct op *op, uint32_t segment)
{
	if (!insn->is_memory || insn->has_lock)
		return op_undefined();
	op->extra = (uint8_t)segment;
	op_set_access(op, insn->operand_bytes + 2u, ACCESS_READ);
	return load_far_pointer;
}

static op_run *bind_segment_move(const struct insn *insn, struct op *op)
{
	uint32_t segment = insn->modrm >> 3 & 7;
	bool is_load = insn->opcode == 0x8e;
	if (segment > CPU_GS || (is_load && segment == CPU_CS) || insn->has_lock)
		return op_undefined();
	op->reg = (uint8_t)segment;
	op_set_access(op, 2, is_load ? ACCESS_READ : ACCESS_WRITE);
	return is_load ? mov_to_segment : mov_from_segment;
}

static op_run *bind_stack_one_byte(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	if (opcode < 0x20 && (opcode & 6) == 6) {
		op->extra = 1;
		op->reg = opcode >> 3;
		return opcode & 1 ? pop_segment : push_any;
	}
	if (opcode >= 0x50 && opcode <= 0x5f)
		return opcode < 0x58 ? push_any : pop_any;
	switch (opcode) {
	case 0x60:
		return push_all;
	case 0x61:
		return pop_all;
	case 0x68:
	case 0x6a:
		op->extra = 2;
		return push_any;
	case 0x8c:
	case 0x8e:
		return bind_segment_move(insn, op);
	case 0x8f:
		op->access = ACCESS_WRITE;
		return insn->modrm >> 3 & 7 || insn->has_lock ? op_undefined() : pop_any;
	case 0x9c:
		return push_flags;
	case 0x9d:
		return pop_flags;
	case 0xc4:
	case 0xc5:
		return bind_far_pointer(insn, op, opcode == 0xc4 ? CPU_ES : CPU_DS);
	case 0xc8:
		op->extra = (uint8_t)insn->imm2;
		return enter;
	case 0xc9:
		return leave;
	case 0xff:
		return (insn->modrm >> 3 & 7) != 6 ? NULL
			: insn->has_lock           ? op_undefined()
						   : push_any;
	default:
		return NULL;
	}
}

op_run *stack_bind(const struct insn *insn, struct op *op)
{
	if (insn->has_vex)
		return NULL;
	if (insn->map == MAP_ONE_BYTE)
		return bind_stack_one_byte(insn, op);
	if (insn->map != MAP_0F)
		return NULL;
	switch (insn->opcode) {
	case 0xa0:
	case 0xa1:
	case 0xa8:
	case 0xa9:
		op->extra = 1;
		op->reg = insn->opcode >= 0xa8 ? CPU_GS : CPU_FS;
		return insn->opcode & 1 ? pop_segment : push_any;
	case 0xb2:
		return bind_far_pointer(insn, op, CPU_SS);
	case 0xb4:
	case 0xb5:
		return bind_far_pointer(insn, op, insn->opcode == 0xb4 ? CPU_FS : CPU_GS);
	default:
		return NULL;
	}
}
