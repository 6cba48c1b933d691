/* SPDX-License-Identifier: Apache-2.0 */
/*
 * memory.h - loads and stores of the guest at linear addresses, through the software TLB.
 *
 * The inline parts find RAM that the TLB knows. The rest - accesses over the end of a page, devices,
 * pages with decoded code, breakpoints - is in paging.c, what the TLB holds in tlb.c, page walks in walk.c.
 * Each may end the instruction with a page fault or leave run() for a device.
 */
#pragma once

#include "vmm/soft/cpu.h"

#define PAGE_MASK     (~UINT64_C(0xfff))
#define PHYSICAL_BITS 40

typedef struct {
	uint8_t v;
} __attribute__((__packed__, __may_alias__)) any8;
typedef struct {
	uint16_t v;
} __attribute__((__packed__, __may_alias__)) any16;
typedef struct {
	uint32_t v;
} __attribute__((__packed__, __may_alias__)) any32;
typedef struct {
	uint64_t v;
} __attribute__((__packed__, __may_alias__)) any64;

/* 1, 2, 4 or 8 bytes; at CPL 3 as the user. */
uint64_t memory_load(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes);
void memory_store(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint64_t value);

/* As the CPU itself reaches descriptor tables and task states, whatever the CPL. */
uint64_t memory_load_system(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes);
void memory_store_system(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint64_t value);

/* Any length up to two pages. A write finds all pages writable before it changes a byte. */
void memory_read(struct cpu *cpu, const struct op *op, uint64_t linear, void *to, uint32_t bytes);
void memory_write(
	struct cpu *cpu, const struct op *op, uint64_t linear, const void *from, uint32_t bytes);

/* Faults now if the access would. */
void memory_probe(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint32_t access);

/* For read-modify-write: where the operand stands; see rmw_finish(). */
void *memory_rmw(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes);
void memory_rmw_finish(struct cpu *cpu, const struct op *op);

/* Instead of rmw_finish() when the instruction ends early. */
void memory_abandon(struct cpu *cpu);

/* Physical address of instruction bytes at `linear`, or a page fault. Host memory or NULL in *host. */
uint64_t memory_fetch(struct cpu *cpu, uint64_t linear, const uint8_t **host);

/* 4 or 8 bytes of RAM at a physical address; all ones where there is none. */
uint64_t memory_physical(struct cpu *cpu, guest_addr at, uint32_t bytes);

/*
 * Makes the next access of this kind fast, if that is possible at all. FILL_FAULTS: it would be a page fault with the error
 * code in *code; FILL_SLOW: it is over the end of a page, no RAM, or the like.
 */
enum fill { FILL_DONE, FILL_SLOW, FILL_FAULTS };
enum fill memory_fill(
	struct cpu *cpu, uint64_t linear, uint32_t bytes, uint32_t access, uint32_t *code);

void tlb_flush(struct cpu *cpu, bool with_global);
void tlb_flush_page(struct cpu *cpu, uint64_t linear);
void tlb_init(struct cpu *cpu);

/* Forgets where jumps lead to, not what pages are mapped. */
void tlb_forget_code(struct cpu *cpu);

/* Makes writes to the physical page slow; true if one of them was fast until now. */
bool tlb_protect(struct cpu *cpu, guest_addr page);

/* Lets the first write to each page take the slow path again. */
void tlb_slow_writes(struct cpu *cpu);

/* Reads the four PDPTEs of PAE paging; false if one has a reserved bit set. */
bool paging_load_pdptes(struct cpu *cpu, uint64_t cr3, uint64_t pdpte[4]);

/* Outside of long mode linear addresses are 32 bits wide. */
static inline uint64_t memory_wrap(const struct cpu *cpu, uint64_t linear)
{
	return is_long(cpu) ? linear : (uint32_t)linear;
}

/* Those of 16- and 32-bit code are so in long mode, too: a base and an offset that is meant as negative meet below 4 GiB. */
static inline uint64_t memory_of_code(const struct cpu *cpu, uint64_t linear)
{
	return cpu->code_bytes == 8 ? linear : (uint32_t)linear;
}

static inline const struct tlb_entry *tlb_at(const struct tlb *tlb, uint64_t linear)
{
	return &tlb->entries[linear >> 12 & (TLB_SIZE - 1)];
}

#define DEFINE_ACCESS(BITS, NAME) \
	static inline uint##BITS##_t load_##NAME( \
		struct cpu *cpu, const struct op *op, uint64_t linear) \
	{ \
		const struct tlb_entry *entry = tlb_at(cpu->tlb, linear); \
		if (likely(entry->read == ((linear + BITS / 8 - 1) & PAGE_MASK))) \
			return ((const volatile any##BITS *)(entry->host + (linear & 0xfff)))->v; \
		return (uint##BITS##_t)memory_load(cpu, op, linear, BITS / 8); \
	} \
	static inline void store_##NAME( \
		struct cpu *cpu, const struct op *op, uint64_t linear, uint##BITS##_t value) \
	{ \
		const struct tlb_entry *entry = tlb_at(cpu->tlb, linear); \
		if (likely(entry->write == ((linear + BITS / 8 - 1) & PAGE_MASK))) \
			((volatile any##BITS *)(entry->host + (linear & 0xfff)))->v = value; \
		else \
			memory_store(cpu, op, linear, BITS / 8, value); \
	}

DEFINE_ACCESS(8, 1)
DEFINE_ACCESS(16, 2)
DEFINE_ACCESS(32, 4)
DEFINE_ACCESS(64, 8)

static inline void *rmw_at(struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	const struct tlb_entry *entry = tlb_at(cpu->tlb, linear);
	if (likely(entry->write == ((linear + bytes - 1) & PAGE_MASK)))
		return (void *)(entry->host + (linear & 0xfff));
	return memory_rmw(cpu, op, linear, bytes);
}

/* After the operand at rmw_at() was changed. */
static inline void rmw_finish(struct cpu *cpu, const struct op *op)
{
	if (unlikely(cpu->rmw_how))
		memory_rmw_finish(cpu, op);
}

/* The host address of `bytes` of RAM if it can be used directly, or NULL. */
static inline void *memory_direct(
	const struct cpu *cpu, uint64_t linear, uint32_t bytes, uint32_t access)
{
	uint64_t tag = (linear + bytes - 1) & PAGE_MASK;
	for (uint32_t beside = 0; beside <= TLB_BESIDE; beside += TLB_BESIDE) {
		const struct tlb_entry *entry = tlb_at(cpu->tlb, linear ^ beside * GUEST_PAGE);
		if ((!(access & ACCESS_READ) || entry->read == tag) &&
			(!(access & ACCESS_WRITE) || entry->write == tag))
			return (void *)(entry->host + (linear & 0xfff));
	}
	return NULL;
}

/* The linear address of an op's memory operand. */
static inline uint64_t op_linear(const struct cpu *cpu, const struct op *op)
{
	return REG64(cpu, op->base) + (REG64(cpu, op->index) << op->scale) + (uint64_t)op->disp +
		cpu->base[op->segment];
}

/* The operand of op->bytes at `linear`, for instructions that are not worth one handler a size. */
static inline uint64_t load_any(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes)
{
	switch (bytes) {
	case 1:
		return load_1(cpu, op, linear);
	case 2:
		return load_2(cpu, op, linear);
	case 4:
		return load_4(cpu, op, linear);
	default:
		return load_8(cpu, op, linear);
	}
}

static inline void store_any(
	struct cpu *cpu, const struct op *op, uint64_t linear, uint32_t bytes, uint64_t value)
{
	switch (bytes) {
	case 1:
		store_1(cpu, op, linear, (uint8_t)value);
		break;
	case 2:
		store_2(cpu, op, linear, (uint16_t)value);
		break;
	case 4:
		store_4(cpu, op, linear, (uint32_t)value);
		break;
	default:
		store_8(cpu, op, linear, value);
		break;
	}
}

static inline uint64_t reg_get(const struct cpu *cpu, uint32_t at, uint32_t bytes)
{
	switch (bytes) {
	case 1:
		return REG8(cpu, at);
	case 2:
		return REG16(cpu, at);
	case 4:
		return REG32(cpu, at);
	default:
		return REG64(cpu, at);
	}
}

/* A 32-bit write clears the upper half, narrower ones keep the rest. */
static inline void reg_set(struct cpu *cpu, uint32_t at, uint32_t bytes, uint64_t value)
{
	switch (bytes) {
	case 1:
		REG8(cpu, at) = (uint8_t)value;
		break;
	case 2:
		REG16(cpu, at) = (uint16_t)value;
		break;
	case 4:
		REG64(cpu, at) = (uint32_t)value;
		break;
	default:
		REG64(cpu, at) = value;
		break;
	}
}

static inline uint64_t rm_get(struct cpu *cpu, const struct op *op, uint32_t bytes)
{
	if (op->flags & OP_MEMORY)
		return load_any(cpu, op, op_linear(cpu, op), bytes);
	return reg_get(cpu, op->rm, bytes);
}

static inline void rm_set(struct cpu *cpu, const struct op *op, uint32_t bytes, uint64_t value)
{
	if (op->flags & OP_MEMORY)
		store_any(cpu, op, op_linear(cpu, op), bytes, value);
	else
		reg_set(cpu, op->rm, bytes, value);
}
