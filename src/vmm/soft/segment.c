/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.c - everything that 64-bit code does without.
 */
#include "vmm/soft/segment.h"

static bool is_expand_down(const struct cpu_segment *segment)
{
	return (segment->attributes & 0x1c) == 0x14; /* data, expand-down */
}

static bool is_within(const struct cpu_segment *segment, uint64_t offset, uint32_t bytes)
{
	uint64_t last = offset + bytes - 1;
	if (is_expand_down(segment)) {
		uint64_t top = segment->attributes & CPU_ATTRIBUTE_BIG ? 0xffffffff : 0xffff;
		return offset > segment->limit && last <= top;
	}
	return last <= segment->limit;
}

static bool allows(const struct cpu_segment *segment, uint32_t access)
{
	uint32_t type = segment->attributes & 15;
	if (!(segment->attributes & CPU_ATTRIBUTE_PRESENT))
		return false;
	if (access & ACCESS_WRITE)
		return !(type & 8) && (type & 2);
	return !(type & 8) || (type & 2);
}

static void check(struct cpu *cpu, const struct op *op, const struct cpu_segment *segment,
	bool is_stack, uint64_t offset, uint32_t bytes, uint32_t access)
{
	bool is_allowed = !is_protected(cpu) || allows(segment, access);
	if (!is_allowed || !is_within(segment, offset, bytes ? bytes : 1))
		cpu_fault(cpu, op, is_stack ? FAULT_SS : FAULT_GP, 0);
}

uint64_t segment_linear(struct cpu *cpu, const struct op *op, uint32_t segment, uint64_t offset,
	uint32_t bytes, uint32_t access)
{
	if (is_flat_mode(cpu))
		return cpu->base[segment] + offset;
	check(cpu, op, &cpu->segments[segment], segment == CPU_SS, offset, bytes, access);
	return (uint32_t)(cpu->base[segment] + offset);
}

const struct op *segment_wrapped(struct cpu *cpu, const struct op *op)
{
	uint64_t offset = REG64(cpu, op->address_base) +
		(REG64(cpu, op->address_index) << op->scale) + (uint64_t)op->disp;
	offset &= mask_of(op->address_bytes);
	if (!is_flat_mode(cpu) && op->access)
		check(cpu, op, &cpu->segments[op->segment], op->segment == CPU_SS, offset,
			op->memory_bytes, op->access);
	/* The inner op adds scale, disp and base again: the first works on R_ZERO, the others are taken off here. */
	uint64_t base = cpu->base[op->segment];
	cpu->r[R_EA] = memory_of_code(cpu, offset + base) - base - (uint64_t)op->disp;
	return op->inner(cpu, op);
}

struct cpu_segment segment_from(struct descriptor d, uint16_t selector)
{
	uint32_t limit = (d.low & 0xffff) | (d.high & 0xf0000);
	if (d.high & 0x800000)
		limit = limit << 12 | 0xfff;
	return (struct cpu_segment){
		.selector = selector,
		.attributes = (uint16_t)((d.high >> 8 & 0xff) | (d.high >> 8 & 0xf000)),
		.limit = limit,
		.base = d.low >> 16 | (uint64_t)(d.high & 0xff) << 16 | (d.high & 0xff000000) |
			(uint64_t)d.high2 << 32,
	};
}

void segment_set(struct cpu *cpu, uint32_t segment, const struct cpu_segment *value)
{
	cpu->segments[segment] = *value;
	cpu->base[segment] = cpu->code_bytes == 8 && segment < CPU_FS ? 0 : value->base;
	if (segment == CPU_CS || segment == CPU_SS)
		cpu_update_mode(cpu);
}

void segment_set_real(struct cpu *cpu, uint32_t segment, uint16_t selector)
{
	struct cpu_segment value = cpu->segments[segment];
	value.selector = selector;
	value.base = (uint32_t)selector << 4;
	if (is_v86(cpu)) {
		value.limit = 0xffff;
		value.attributes = 0xf3;
	} else if (segment == CPU_CS) {
		value.attributes = 0x9b;
	}
	segment_set(cpu, segment, &value);
}

static bool table_of(const struct cpu *cpu, uint16_t selector, uint64_t *base, uint32_t *limit)
{
	*base = cpu->gdt.base;
	*limit = cpu->gdt.limit;
	if (!(selector & 4))
		return true;
	*base = cpu->segments[CPU_LDT].base;
	*limit = cpu->segments[CPU_LDT].limit;
	return cpu->segments[CPU_LDT].attributes & CPU_ATTRIBUTE_PRESENT;
}

bool descriptor_read(
	struct cpu *cpu, const struct op *op, uint16_t selector, struct descriptor *ret)
{
	uint64_t base;
	uint32_t limit;
	if (!table_of(cpu, selector, &base, &limit) || (selector | 7u) > limit)
		return false;
	uint64_t at = base + (selector & 0xfff8);
	uint64_t value = memory_load_system(cpu, op, at, 8);
	*ret = (struct descriptor){ .low = (uint32_t)value, .high = (uint32_t)(value >> 32) };
	/* System descriptors have 16 bytes in long mode. */
	if (is_long(cpu) && !DESC_S(*ret) && (selector | 7u) + 8 <= limit)
		ret->high2 = (uint32_t)memory_load_system(cpu, op, at + 8, 4);
	return true;
}

struct descriptor descriptor_need(
	struct cpu *cpu, const struct op *op, uint16_t selector, uint32_t vector)
{
	struct descriptor d;
	if (!(selector & ~3u) || !descriptor_read(cpu, op, selector, &d))
		cpu_fault(cpu, op, vector, selector & ~3u);
	return d;
}

void descriptor_set_accessed(
	struct cpu *cpu, const struct op *op, uint16_t selector, struct descriptor *d)
{
	uint64_t base;
	uint32_t limit;
	if ((d->high & 0x100) || !table_of(cpu, selector, &base, &limit))
		return;
	d->high |= 0x100;
	memory_store_system(cpu, op, base + (selector & 0xfff8) + 4, 4, d->high);
}

struct cpu_segment segment_stack(
	struct cpu *cpu, const struct op *op, uint16_t selector, uint32_t cpl, uint32_t vector)
{
	struct descriptor d = descriptor_need(cpu, op, selector, vector);
	bool is_writable = DESC_S(d) && (DESC_TYPE(d) & 0xa) == 2;
	if (!is_writable || (selector & 3u) != cpl || DESC_DPL(d) != cpl)
		cpu_fault(cpu, op, vector, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, FAULT_SS, selector & ~3u);
	descriptor_set_accessed(cpu, op, selector, &d);
	return segment_from(d, selector);
}

void segment_load_as(struct cpu *cpu, const struct op *op, uint32_t segment, uint16_t selector,
	uint32_t cpl, uint32_t vector)
{
	struct cpu_segment value;
	if (!is_protected(cpu)) {
		segment_set_real(cpu, segment, selector);
		return;
	}
	if (segment == CPU_SS) {
		if (!(selector & ~3u) && cpu->code_bytes == 8 && cpl < 3 &&
			(selector & 3u) == cpl) {
			value = (struct cpu_segment){ .selector = selector,
				.attributes = (uint16_t)(0x4093 | cpl << 5),
				.limit = 0xffffffff };
			segment_set(cpu, segment, &value);
			return;
		}
		value = segment_stack(cpu, op, selector, cpl, vector);
		segment_set(cpu, segment, &value);
		return;
	}
	if (!(selector & ~3u)) {
		value = (struct cpu_segment){ .selector = selector };
		/* A null selector in long mode keeps the base on no CPU of ours. */
		segment_set(cpu, segment, &value);
		return;
	}
	struct descriptor d = descriptor_need(cpu, op, selector, vector);
	bool is_readable = DESC_S(d) && (DESC_TYPE(d) & 0xa) != 8;
	bool is_conforming = DESC_IS_CODE(d) && DESC_CONFORMS(d);
	uint32_t rpl = selector & 3u;
	if (!is_readable || (!is_conforming && (rpl > DESC_DPL(d) || cpl > DESC_DPL(d))))
		cpu_fault(cpu, op, vector, selector & ~3u);
	if (!DESC_P(d))
		cpu_fault(cpu, op, FAULT_NP, selector & ~3u);
	descriptor_set_accessed(cpu, op, selector, &d);
	value = segment_from(d, selector);
	segment_set(cpu, segment, &value);
}

void segment_load(struct cpu *cpu, const struct op *op, uint32_t segment, uint16_t selector)
{
	segment_load_as(cpu, op, segment, selector, cpu->cpl, FAULT_GP);
}

void segment_drop_inner(struct cpu *cpu)
{
	static const uint8_t names[4] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
	for (int i = 0; i < 4; i++) {
		const struct cpu_segment *segment = &cpu->segments[names[i]];
		bool is_conforming = (segment->attributes & 0x1c) == 0x1c;
		/* One that is null already keeps its base. */
		if (!(segment->attributes & CPU_ATTRIBUTE_PRESENT))
			continue;
		if (is_conforming || (segment->attributes >> 5 & 3u) >= cpu->cpl)
			continue;
		/* The base of FS and GS stays, as on AMD's CPUs. */
		struct cpu_segment null = { .base = is_long(cpu) ? segment->base : 0 };
		segment_set(cpu, names[i], &null);
	}
}

struct stack stack_now(const struct cpu *cpu)
{
	struct stack stack = { .pointer = cpu->r[CPU_RSP],
		.width = 8,
		.segment = cpu->segments[CPU_SS],
		.is_long = cpu->code_bytes == 8 };
	if (!stack.is_long)
		stack.width = stack.segment.attributes & CPU_ATTRIBUTE_BIG ? 4 : 2;
	return stack;
}

static uint64_t stack_linear(struct cpu *cpu, const struct op *op, const struct stack *stack,
	uint64_t offset, uint32_t bytes, uint32_t access)
{
	if (stack->is_long) {
		if (!is_canonical(offset) || !is_canonical(offset + bytes - 1))
			cpu_fault(cpu, op, FAULT_SS, 0);
		return offset;
	}
	check(cpu, op, &stack->segment, true, offset, bytes, access);
	return (uint32_t)(stack->segment.base + offset);
}

void stack_push(
	struct cpu *cpu, const struct op *op, struct stack *stack, uint32_t bytes, uint64_t value)
{
	uint64_t mask = mask_of(stack->width);
	uint64_t offset = (stack->pointer - bytes) & mask;
	uint64_t linear = stack_linear(cpu, op, stack, offset, bytes, ACCESS_WRITE);
	if (stack->is_system)
		memory_store_system(cpu, op, linear, bytes, value);
	else
		store_any(cpu, op, linear, bytes, value);
	stack->pointer = (stack->pointer & ~mask) | offset;
}

uint64_t stack_pop(struct cpu *cpu, const struct op *op, struct stack *stack, uint32_t bytes)
{
	uint64_t mask = mask_of(stack->width);
	uint64_t offset = stack->pointer & mask;
	uint64_t linear = stack_linear(cpu, op, stack, offset, bytes, ACCESS_READ);
	uint64_t value = load_any(cpu, op, linear, bytes);
	stack->pointer = (stack->pointer & ~mask) | ((offset + bytes) & mask);
	return value;
}

void stack_commit(struct cpu *cpu, const struct stack *stack)
{
	cpu->r[CPU_RSP] = stack->pointer;
}
