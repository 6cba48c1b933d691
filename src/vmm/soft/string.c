/* SPDX-License-Identifier: Apache-2.0 */
/*
 * string.c - one element at a time, or as many as lie in one page of RAM.
 *
 * After each element the registers say how far it got, so that a fault or an interrupt finds the
 * instruction as it would be begun again.
 */
#include "vmm/soft/string.h"

#include <string.h>

#include "vmm/soft/flags.h"
#include "vmm/soft/io.h"
#include "vmm/soft/ports.h"
#include "vmm/soft/segment.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

/* So that an interrupt waits for no more than this. */
#define ELEMENTS_AT_ONCE 4096

SIZES(DEFINE_BINARY, cmp)

static uint64_t index_of(const struct cpu *cpu, const struct op *op, uint32_t name)
{
	return cpu->r[name] & mask_of(op->address_bytes);
}

static void advance(struct cpu *cpu, const struct op *op, uint32_t name, int64_t by)
{
	reg_set(cpu, name * 8, op->address_bytes, cpu->r[name] + (uint64_t)by);
}

static int64_t step_of(const struct cpu *cpu, const struct op *op)
{
	return cpu->rflags_rest & FLAG_DF ? -(int64_t)op->bytes : op->bytes;
}

static uint64_t source(struct cpu *cpu, const struct op *op)
{
	return segment_linear(
		cpu, op, op->segment, index_of(cpu, op, CPU_RSI), op->bytes, ACCESS_READ);
}

static uint64_t target(struct cpu *cpu, const struct op *op, uint32_t access)
{
	return segment_linear(cpu, op, CPU_ES, index_of(cpu, op, CPU_RDI), op->bytes, access);
}

static void compare(struct cpu *cpu, const struct op *op, uint64_t a, uint64_t b)
{
	if (op->bytes == 1)
		cmp_1(cpu, (uint8_t)a, (uint8_t)b);
	else if (op->bytes == 2)
		cmp_2(cpu, (uint16_t)a, (uint16_t)b);
	else if (op->bytes == 4)
		cmp_4(cpu, (uint32_t)a, (uint32_t)b);
	else
		cmp_8(cpu, a, b);
}

/* Each does one element. */

static void move_one(struct cpu *cpu, const struct op *op)
{
	uint64_t value = load_any(cpu, op, source(cpu, op), op->bytes);
	store_any(cpu, op, target(cpu, op, ACCESS_WRITE), op->bytes, value);
	advance(cpu, op, CPU_RSI, step_of(cpu, op));
	advance(cpu, op, CPU_RDI, step_of(cpu, op));
}

static void store_one(struct cpu *cpu, const struct op *op)
{
	store_any(cpu, op, target(cpu, op, ACCESS_WRITE), op->bytes, cpu->r[CPU_RAX]);
	advance(cpu, op, CPU_RDI, step_of(cpu, op));
}

static void load_one(struct cpu *cpu, const struct op *op)
{
	reg_set(cpu, 0, op->bytes, load_any(cpu, op, source(cpu, op), op->bytes));
	advance(cpu, op, CPU_RSI, step_of(cpu, op));
}

static void compare_one(struct cpu *cpu, const struct op *op)
{
	uint64_t a = load_any(cpu, op, source(cpu, op), op->bytes);
	uint64_t b = load_any(cpu, op, target(cpu, op, ACCESS_READ), op->bytes);
	compare(cpu, op, a, b);
	advance(cpu, op, CPU_RSI, step_of(cpu, op));
	advance(cpu, op, CPU_RDI, step_of(cpu, op));
}

static void scan_one(struct cpu *cpu, const struct op *op)
{
	uint64_t b = load_any(cpu, op, target(cpu, op, ACCESS_READ), op->bytes);
	compare(cpu, op, reg_get(cpu, 0, op->bytes), b);
	advance(cpu, op, CPU_RDI, step_of(cpu, op));
}

static void in_one(struct cpu *cpu, const struct op *op)
{
	uint32_t port = REG16(cpu, CPU_RDX * 8);
	port_check(cpu, op, port, op->bytes);
	uint64_t linear = target(cpu, op, ACCESS_WRITE);
	memory_probe(cpu, op, linear, op->bytes, ACCESS_WRITE);
	store_any(cpu, op, linear, op->bytes, io_read(cpu, op, port, op->bytes, true));
	advance(cpu, op, CPU_RDI, step_of(cpu, op));
}

static void out_one(struct cpu *cpu, const struct op *op)
{
	uint32_t port = REG16(cpu, CPU_RDX * 8);
	port_check(cpu, op, port, op->bytes);
	uint64_t value = load_any(cpu, op, source(cpu, op), op->bytes);
	io_write(cpu, op, port, op->bytes, value, true);
	advance(cpu, op, CPU_RSI, step_of(cpu, op));
}

/* How many of `count` elements from `linear` are in its page. */
static uint64_t in_page(uint64_t linear, uint64_t count, uint32_t bytes)
{
	uint64_t fit = (GUEST_PAGE - (linear & 0xfff)) / bytes;
	return fit < count ? fit : count;
}

/* Moves or fills many elements at once; how many, 0 if it must be one by one. */
static uint64_t many(struct cpu *cpu, const struct op *op, uint64_t count, bool is_move)
{
	if ((cpu->rflags_rest & FLAG_DF) || cpu->code_bytes != 8 || cpu->has_data_breakpoints)
		return 0;
	uint64_t to = cpu->base[CPU_ES] + index_of(cpu, op, CPU_RDI);
	uint64_t from = cpu->base[op->segment] + index_of(cpu, op, CPU_RSI);
	count = in_page(to, count, op->bytes);
	if (is_move)
		count = in_page(from, count, op->bytes);
	uint32_t bytes = (uint32_t)count * op->bytes;
	if (count < 2)
		return 0;
	uint8_t *host_to = memory_direct(cpu, to, bytes, ACCESS_WRITE);
	if (!host_to)
		return 0;
	if (is_move) {
		const uint8_t *host_from = memory_direct(cpu, from, bytes, ACCESS_READ);
		/* An overlap forwards repeats a pattern. */
		if (!host_from || (host_to > host_from && host_to < host_from + bytes))
			return 0;
		memmove(host_to, host_from, bytes);
		advance(cpu, op, CPU_RSI, bytes);
	} else if (op->bytes == 1) {
		memset(host_to, REG8(cpu, 0), bytes);
	} else {
		for (uint32_t i = 0; i < bytes; i += op->bytes)
			memcpy(host_to + i, &cpu->r[CPU_RAX], op->bytes);
	}
	advance(cpu, op, CPU_RDI, bytes);
	return count;
}

static inline bool wants_attention(const struct cpu *cpu)
{
	return atomic_load_explicit(&cpu->attention, memory_order_relaxed) != 0;
}

enum until { UNTIL_COUNT, UNTIL_ZERO };

/* Repeats; `is_move`: `many` may help. */
static inline const struct op *repeat(struct cpu *cpu, const struct op *op,
	void (*one)(struct cpu *, const struct op *), enum until until, bool has_many, bool is_move)
{
	if (!(op->flags & (OP_REP | OP_REPNE))) {
		one(cpu, op);
		return op + 1;
	}
	uint64_t left = index_of(cpu, op, CPU_RCX);
	bool is_stepped = cpu->rflags_rest & FLAG_TF;
	for (uint32_t done = 0; left > 0; done++) {
		uint64_t did = has_many && !is_stepped ? many(cpu, op, left, is_move) : 0;
		if (did == 0) {
			one(cpu, op);
			did = 1;
		}
		left -= did;
		reg_set(cpu, CPU_RCX * 8, op->address_bytes, left);
		io_commit(cpu);
		bool is_zero = cpu->flags & HOST_ZF;
		if (until == UNTIL_ZERO && is_zero == ((op->flags & OP_REPNE) != 0))
			break;
		if (left == 0)
			break;
		/* A trap comes behind each element, the instruction's breakpoint before the first only. */
		if (cpu->has_code_breakpoints)
			cpu->rflags_rest |= FLAG_RF;
		if (is_stepped || cpu->trap_dr6 || wants_attention(cpu) || done > ELEMENTS_AT_ONCE)
			return op_look(cpu, op_rip(cpu, op) & rip_mask(cpu));
	}
	return op + 1;
}

HANDLER(movs)
{
	return repeat(cpu, op, move_one, UNTIL_COUNT, true, true);
}

HANDLER(stos)
{
	return repeat(cpu, op, store_one, UNTIL_COUNT, true, false);
}

HANDLER(lods)
{
	return repeat(cpu, op, load_one, UNTIL_COUNT, false, false);
}

HANDLER(cmps)
{
	return repeat(cpu, op, compare_one, UNTIL_ZERO, false, false);
}

HANDLER(scas)
{
	return repeat(cpu, op, scan_one, UNTIL_ZERO, false, false);
}

HANDLER(ins)
{
	return repeat(cpu, op, in_one, UNTIL_COUNT, false, false);
}

HANDLER(outs)
{
	return repeat(cpu, op, out_one, UNTIL_COUNT, false, false);
}

static op_run *run_of(uint8_t opcode)
{
	switch (opcode & 0xfe) {
	case 0x6c:
		return ins;
	case 0x6e:
		return outs;
	case 0xa4:
		return movs;
	case 0xa6:
		return cmps;
	case 0xaa:
		return stos;
	case 0xac:
		return lods;
	case 0xae:
		return scas;
	default:
		return NULL;
	}
}

op_run *string_bind(const struct insn *insn, struct op *op)
{
	if (insn->map != MAP_ONE_BYTE)
		return NULL;
	op_run *run = run_of(insn->opcode);
	if (!run)
		return NULL;
	if (insn->has_lock)
		return op_undefined();
	uint32_t bytes = insn->opcode & 1 ? insn->operand_bytes : 1;
	if ((run == ins || run == outs) && bytes == 8)
		bytes = 4;
	op_set_bytes(insn, op, bytes);
	op->flags &= (uint8_t)~OP_MEMORY;
	return run;
}
