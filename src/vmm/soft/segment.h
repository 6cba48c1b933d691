/* SPDX-License-Identifier: Apache-2.0 */
/*
 * segment.h - segment registers: descriptors, limits, rights; the stack.
 */
#pragma once

#include "vmm/soft/memory.h"

/* A descriptor as it stands in a table, and what is in it. */
struct descriptor {
	uint32_t low, high;
	uint32_t high2; /* bits 32 to 63 of the base of a 16-byte descriptor */
};

#define DESC_TYPE(d)     ((d).high >> 8 & 15)
#define DESC_S(d)        ((d).high >> 12 & 1)
#define DESC_DPL(d)      ((d).high >> 13 & 3)
#define DESC_P(d)        ((d).high >> 15 & 1)
#define DESC_L(d)        ((d).high >> 21 & 1)
#define DESC_DB(d)       ((d).high >> 22 & 1)
#define DESC_IS_CODE(d)  (DESC_S(d) && (DESC_TYPE(d) & 8))
#define DESC_CONFORMS(d) (DESC_TYPE(d) & 4)

/* The linear address, checked outside of 64-bit code; `op` gives the instruction. */
uint64_t segment_linear(struct cpu *cpu, const struct op *op, uint32_t segment, uint64_t offset,
	uint32_t bytes, uint32_t access);

/* Wraps an op whose memory operand needs a check or a narrow address; see op_fill_address(). */
op_run segment_wrapped;

struct cpu_segment segment_from(struct descriptor descriptor, uint16_t selector);
void segment_set_real(struct cpu *cpu, uint32_t segment, uint16_t selector);

/* Reads the descriptor of `selector`; false if it is not within its table. */
bool descriptor_read(
	struct cpu *cpu, const struct op *op, uint16_t selector, struct descriptor *ret);
/* As that, or fault `vector` with the selector. */
struct descriptor descriptor_need(
	struct cpu *cpu, const struct op *op, uint16_t selector, uint32_t vector);
void descriptor_set_accessed(
	struct cpu *cpu, const struct op *op, uint16_t selector, struct descriptor *descriptor);

/* MOV to, POP to a segment register; `vector` is what a wrong one raises (#GP, or #TS). */
void segment_load(struct cpu *cpu, const struct op *op, uint32_t segment, uint16_t selector);
void segment_load_as(struct cpu *cpu, const struct op *op, uint32_t segment, uint16_t selector,
	uint32_t cpl, uint32_t vector);
/* SS for `cpl`, checked, not yet set. */
struct cpu_segment segment_stack(
	struct cpu *cpu, const struct op *op, uint16_t selector, uint32_t cpl, uint32_t vector);
/* Returning to an outer level: data segments that it may not see become null. */
void segment_drop_inner(struct cpu *cpu);

void segment_set(struct cpu *cpu, uint32_t segment, const struct cpu_segment *value);

/* A stack that is not the CPU's until stack_commit(). */
struct stack {
	uint64_t pointer;
	uint32_t width; /* bytes of the pointer that count */
	struct cpu_segment segment;
	bool is_long;   /* no segmentation */
	bool is_system; /* accessed with CPL 0 rights */
};

struct stack stack_now(const struct cpu *cpu);
void stack_push(
	struct cpu *cpu, const struct op *op, struct stack *stack, uint32_t bytes, uint64_t value);
uint64_t stack_pop(struct cpu *cpu, const struct op *op, struct stack *stack, uint32_t bytes);
void stack_commit(struct cpu *cpu, const struct stack *stack);

static inline bool is_flat_mode(const struct cpu *cpu)
{
	return cpu->code_bytes == 8;
}
