/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event.c - through the interrupt table of each mode.
 *
 * cpu->rip is where the event happened; the return address is event_length further (software
 * interrupts). The event stays pending until it is delivered whole, so a fault on the way knows what
 * it interrupted.
 */
#include "vmm/soft/event.h"

#include "vmm/soft/segment.h"
#include "vmm/soft/task.h"

static bool has_code(uint32_t vector)
{
	return (UINT32_C(0x00027d00) >> vector & 1) && vector < 32;
}

static bool is_contributory(uint32_t vector)
{
	return vector == FAULT_DE || (vector >= FAULT_TS && vector <= FAULT_GP);
}

bool event_from_fault(struct cpu *cpu)
{
	uint32_t vector = cpu->fault_vector, code = cpu->fault_code;
	if (cpu->is_delivering && !cpu->event_is_soft && !cpu->event_is_external) {
		uint32_t first = cpu->event_vector;
		bool is_bad = is_contributory(vector) || vector == FAULT_PF;
		if (first == FAULT_DF && is_bad)
			return false;
		if ((is_contributory(first) && is_contributory(vector)) ||
			(first == FAULT_PF && is_bad)) {
			vector = FAULT_DF;
			code = 0;
		}
	}
	if (cpu->is_delivering && cpu->event_is_external && has_code(vector) &&
		vector != FAULT_PF && vector != FAULT_DF)
		code |= 1;
	cpu->is_delivering = false;
	cpu->event_is_pending = true;
	cpu->event_is_soft = cpu->event_is_external = false;
	cpu->event_vector = (uint8_t)vector;
	cpu->event_length = 0;
	cpu->event_has_code = has_code(vector);
	cpu->event_code = code;
	return true;
}

void event_external(struct cpu *cpu, uint32_t vector)
{
	cpu->event_is_pending = true;
	cpu->event_is_soft = false;
	cpu->event_is_external = true;
	cpu->event_has_code = false;
	cpu->event_vector = (uint8_t)vector;
	cpu->event_length = 0;
}

void event_software(struct cpu *cpu, uint32_t vector, uint32_t length, bool is_checked)
{
	cpu->event_is_pending = true;
	cpu->event_is_soft = is_checked;
	cpu->event_is_external = false;
	cpu->event_has_code = false;
	cpu->event_vector = (uint8_t)vector;
	cpu->event_length = (uint8_t)length;
}

void event_debug_trap(struct cpu *cpu)
{
	cpu->event_is_pending = true;
	cpu->event_is_soft = cpu->event_is_external = false;
	cpu->event_has_code = false;
	cpu->event_vector = FAULT_DB;
	cpu->event_length = 0;
}

/* RF in the flags image: a fault that is returned to shall not meet its breakpoint again. */
static uint32_t pushed_flags(const struct cpu *cpu)
{
	uint32_t flags = cpu_rflags(cpu), vector = cpu->event_vector;
	bool is_fault = !cpu->event_is_soft && !cpu->event_is_external && vector != FAULT_DB &&
		vector != FAULT_BP && vector != FAULT_OF && vector != FAULT_DF;
	return is_fault ? flags | FLAG_RF : flags;
}

static void deliver_real(struct cpu *cpu)
{
	uint32_t at = cpu->event_vector * 4u;
	if (at + 3 > cpu->idt.limit)
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	uint32_t entry = (uint32_t)memory_load_system(cpu, NULL, cpu->idt.base + at, 4);
	struct stack stack = stack_now(cpu);
	stack_push(cpu, NULL, &stack, 2, cpu_rflags(cpu));
	stack_push(cpu, NULL, &stack, 2, cpu->segments[CPU_CS].selector);
	stack_push(cpu, NULL, &stack, 2, cpu->rip + cpu->event_length);
	stack_commit(cpu, &stack);
	cpu_set_rflags(cpu, 0, FLAG_IF | FLAG_TF | FLAG_AC | FLAG_RF);
	segment_set_real(cpu, CPU_CS, (uint16_t)(entry >> 16));
	cpu->rip = entry & 0xffff;
}

struct gate {
	uint32_t type, dpl, ist;
	bool is_present;
	uint16_t selector;
	uint64_t offset;
};

static struct gate read_gate(struct cpu *cpu, uint32_t code)
{
	uint32_t size = is_long(cpu) ? 16 : 8, at = cpu->event_vector * size;
	if (at + size - 1 > cpu->idt.limit)
		cpu_fault(cpu, NULL, FAULT_GP, code);
	uint64_t low = memory_load_system(cpu, NULL, cpu->idt.base + at, 8);
	struct gate gate = {
		.type = low >> 40 & 31,
		.dpl = low >> 45 & 3,
		.ist = is_long(cpu) ? low >> 32 & 7 : 0,
		.is_present = low >> 47 & 1,
		.selector = (uint16_t)(low >> 16),
		.offset = (low & 0xffff) | (low >> 32 & 0xffff0000),
	};
	if (is_long(cpu))
		gate.offset |= memory_load_system(cpu, NULL, cpu->idt.base + at + 8, 4) << 32;
	bool is_known = gate.type == 14 || gate.type == 15 ||
		(!is_long(cpu) && (gate.type == 5 || gate.type == 6 || gate.type == 7));
	if (!is_known || (cpu->event_is_soft && gate.dpl < cpu->cpl))
		cpu_fault(cpu, NULL, FAULT_GP, code);
	if (!gate.is_present)
		cpu_fault(cpu, NULL, FAULT_NP, code);
	if (gate.type == 6 || gate.type == 7)
		gate.offset &= 0xffff;
	return gate;
}

static struct descriptor read_handler(struct cpu *cpu, const struct gate *gate)
{
	uint32_t external = cpu->event_is_external;
	if (!(gate->selector & ~3u))
		cpu_fault(cpu, NULL, FAULT_GP, external);
	struct descriptor d;
	uint32_t code = (gate->selector & ~3u) | external;
	if (!descriptor_read(cpu, NULL, gate->selector, &d))
		cpu_fault(cpu, NULL, FAULT_GP, code);
	if (!DESC_IS_CODE(d) || DESC_DPL(d) > cpu->cpl)
		cpu_fault(cpu, NULL, FAULT_GP, code);
	if (!DESC_P(d))
		cpu_fault(cpu, NULL, FAULT_NP, code);
	if (is_long(cpu) && (!DESC_L(d) || DESC_DB(d)))
		cpu_fault(cpu, NULL, FAULT_GP, code);
	return d;
}

static void enter(struct cpu *cpu, const struct gate *gate, struct descriptor *d, uint32_t cpl)
{
	descriptor_set_accessed(cpu, NULL, gate->selector, d);
	struct cpu_segment cs = segment_from(*d, (uint16_t)((gate->selector & ~3u) | cpl));
	uint32_t cleared = FLAG_TF | FLAG_NT | FLAG_RF | FLAG_VM;
	if (!(gate->type & 1))
		cleared |= FLAG_IF;
	cpu_set_rflags(cpu, 0, cleared);
	cpu->cpl = (uint8_t)cpl;
	segment_set(cpu, CPU_CS, &cs);
	cpu->rip = gate->offset;
}

static void deliver_long(struct cpu *cpu, const struct gate *gate)
{
	struct descriptor d = read_handler(cpu, gate);
	uint32_t cpl = DESC_CONFORMS(d) ? cpu->cpl : DESC_DPL(d);
	struct stack stack = {
		.pointer = cpu->r[CPU_RSP], .width = 8, .is_long = true, .is_system = cpl != 3
	};
	const struct cpu_segment *tr = &cpu->segments[CPU_TR];
	if (gate->ist || cpl < cpu->cpl) {
		uint32_t at = gate->ist ? 0x24 + 8 * (gate->ist - 1) : 4 + 8 * cpl;
		if (at + 7 > tr->limit)
			cpu_fault(cpu, NULL, FAULT_TS, tr->selector & ~3u);
		stack.pointer = memory_load_system(cpu, NULL, tr->base + at, 8);
	}
	if (!is_canonical(stack.pointer))
		cpu_fault(cpu, NULL, FAULT_SS, 0);
	stack.pointer &= ~UINT64_C(15);
	stack_push(cpu, NULL, &stack, 8, cpu->segments[CPU_SS].selector);
	stack_push(cpu, NULL, &stack, 8, cpu->r[CPU_RSP]);
	stack_push(cpu, NULL, &stack, 8, pushed_flags(cpu));
	stack_push(cpu, NULL, &stack, 8, cpu->segments[CPU_CS].selector);
	stack_push(cpu, NULL, &stack, 8, cpu->rip + cpu->event_length);
	if (cpu->event_has_code)
		stack_push(cpu, NULL, &stack, 8, cpu->event_code);
	if (!is_canonical(gate->offset))
		cpu_fault(cpu, NULL, FAULT_GP, 0);
	bool is_inner = cpl < cpu->cpl;
	enter(cpu, gate, &d, cpl);
	if (is_inner) {
		struct cpu_segment ss = { .selector = (uint16_t)cpl,
			.attributes = (uint16_t)(0x4093 | cpl << 5),
			.limit = 0xffffffff };
		segment_set(cpu, CPU_SS, &ss);
	}
	stack_commit(cpu, &stack);
}

/* The stack that the task state names for an inner level. */
static struct stack inner_stack(struct cpu *cpu, uint32_t cpl)
{
	const struct cpu_segment *tr = &cpu->segments[CPU_TR];
	bool is_wide = tr->attributes & 8;
	uint32_t size = is_wide ? 4 : 2, at = size + 2 * size * cpl;
	uint32_t external = cpu->event_is_external;
	if (at + 2 * size - 1 > tr->limit)
		cpu_fault(cpu, NULL, FAULT_TS, (tr->selector & ~3u) | external);
	uint64_t pointer = memory_load_system(cpu, NULL, tr->base + at, size);
	uint16_t selector = (uint16_t)memory_load_system(cpu, NULL, tr->base + at + size, 2);
	struct cpu_segment ss = segment_stack(cpu, NULL, selector, cpl, FAULT_TS);
	return (struct stack){ .pointer = pointer,
		.width = ss.attributes & CPU_ATTRIBUTE_BIG ? 4 : 2,
		.segment = ss,
		.is_system = cpl != 3 };
}

static void push_v86_segments(struct cpu *cpu, struct stack *stack, uint32_t size)
{
	static const uint8_t names[4] = { CPU_GS, CPU_FS, CPU_DS, CPU_ES };
	for (int i = 0; i < 4; i++)
		stack_push(cpu, NULL, stack, size, cpu->segments[names[i]].selector);
}

static void drop_v86_segments(struct cpu *cpu)
{
	static const uint8_t names[4] = { CPU_GS, CPU_FS, CPU_DS, CPU_ES };
	struct cpu_segment null = { .selector = 0 };
	for (int i = 0; i < 4; i++)
		segment_set(cpu, names[i], &null);
}

static void deliver_legacy(struct cpu *cpu, const struct gate *gate)
{
	struct descriptor d = read_handler(cpu, gate);
	uint32_t cpl = DESC_CONFORMS(d) ? cpu->cpl : DESC_DPL(d);
	uint32_t size = gate->type & 8 ? 4 : 2;
	bool was_v86 = is_v86(cpu), is_inner = cpl < cpu->cpl;
	if (was_v86 && cpl != 0)
		cpu_fault(cpu, NULL, FAULT_GP, gate->selector & ~3u);
	struct stack stack = stack_now(cpu);
	if (is_inner) {
		stack = inner_stack(cpu, cpl);
		if (was_v86)
			push_v86_segments(cpu, &stack, size);
		stack_push(cpu, NULL, &stack, size, cpu->segments[CPU_SS].selector);
		stack_push(cpu, NULL, &stack, size, cpu->r[CPU_RSP]);
	}
	stack_push(cpu, NULL, &stack, size, pushed_flags(cpu));
	stack_push(cpu, NULL, &stack, size, cpu->segments[CPU_CS].selector);
	stack_push(cpu, NULL, &stack, size, cpu->rip + cpu->event_length);
	if (cpu->event_has_code)
		stack_push(cpu, NULL, &stack, size, cpu->event_code);
	struct cpu_segment target = segment_from(d, 0);
	if (gate->offset > target.limit)
		cpu_fault(cpu, NULL, FAULT_GP, cpu->event_is_external);
	enter(cpu, gate, &d, cpl);
	if (is_inner)
		segment_set(cpu, CPU_SS, &stack.segment);
	if (was_v86)
		drop_v86_segments(cpu);
	stack_commit(cpu, &stack);
}

void event_deliver(struct cpu *cpu)
{
	cpu->is_delivering = true;
	if (!(cpu->cr0 & CR0_PE)) {
		deliver_real(cpu);
	} else {
		uint32_t code = cpu->event_vector * 8u + 2 + cpu->event_is_external;
		if (is_v86(cpu) && cpu->event_is_soft && cpu_iopl(cpu) < 3 &&
			cpu->event_length == 2)
			cpu_fault(cpu, NULL, FAULT_GP, 0);
		struct gate gate = read_gate(cpu, code);
		if (is_long(cpu))
			deliver_long(cpu, &gate);
		else if (gate.type == 5)
			task_enter_by_event(cpu, gate.selector);
		else
			deliver_legacy(cpu, &gate);
	}
	cpu->is_delivering = false;
	cpu->event_is_pending = false;
}
