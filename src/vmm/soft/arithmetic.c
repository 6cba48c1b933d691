/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arithmetic.c - the host's own instruction gives result and flags, the undefined ones too.
 */
#include "vmm/soft/arithmetic.h"

#include <string.h>

#include "vmm/soft/flags.h"
#include "vmm/soft/memory.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

SIZES(DEFINE_SHIFT, rol)
SIZES(DEFINE_SHIFT, ror)
SIZES(DEFINE_SHIFT, rcl)
SIZES(DEFINE_SHIFT, rcr)
SIZES(DEFINE_SHIFT, shl)
SIZES(DEFINE_SHIFT, shr)
SIZES(DEFINE_SHIFT, sar)

static uint8_t shift_count(const struct cpu *cpu, const struct op *op)
{
	uint8_t count = op->extra ? REG8(cpu, CPU_RCX * 8) : (uint8_t)op->imm;
	return count & (op->bytes == 8 ? 63 : 31);
}

#define DEFINE_SHIFT_FORMS(BITS, SUFFIX, TYPE, BYTES, NAME) \
	HANDLER(NAME##_r_##BYTES) \
	{ \
		uint8_t count = shift_count(cpu, op); \
		if (count) \
			SET_##BYTES(cpu, op->rm, \
				NAME##_##BYTES(cpu, GET_##BYTES(cpu, op->rm), count)); \
		else if (BYTES == 4) \
			REG64(cpu, op->rm) = REG32(cpu, op->rm); \
		return op + 1; \
	} \
	HANDLER(NAME##_m_##BYTES) \
	{ \
		volatile any##BITS *at = rmw_at(cpu, op, op_linear(cpu, op), BYTES); \
		uint8_t count = shift_count(cpu, op); \
		if (count) \
			at->v = NAME##_##BYTES(cpu, at->v, count); \
		rmw_finish(cpu, op); \
		return op + 1; \
	}
SIZES(DEFINE_SHIFT_FORMS, rol)
SIZES(DEFINE_SHIFT_FORMS, ror)
SIZES(DEFINE_SHIFT_FORMS, rcl)
SIZES(DEFINE_SHIFT_FORMS, rcr)
SIZES(DEFINE_SHIFT_FORMS, shl)
SIZES(DEFINE_SHIFT_FORMS, shr)
SIZES(DEFINE_SHIFT_FORMS, sar)

#define SHIFT_SIZES(NAME) \
	{ \
		{ NAME##_r_1, NAME##_r_2, NAME##_r_4, NAME##_r_8 }, \
		{ \
			NAME##_m_1, NAME##_m_2, NAME##_m_4, NAME##_m_8 \
		} \
	}
static op_run *const shifts[8][2][4] = { SHIFT_SIZES(rol), SHIFT_SIZES(ror), SHIFT_SIZES(rcl),
	SHIFT_SIZES(rcr), SHIFT_SIZES(shl), SHIFT_SIZES(shr), SHIFT_SIZES(shl), SHIFT_SIZES(sar) };

/* SHLD, SHRD. */
#define DEFINE_DOUBLE(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static TYPE NAME##_##BYTES(struct cpu *cpu, TYPE a, TYPE b, uint8_t count) \
	{ \
		uint32_t flags = cpu->flags; \
		__asm__("addb $127, %%al\n\tsahf\n\t" #NAME SUFFIX \
			" %%cl, %[b], %[a]\n\tlahf\n\tseto %%al" \
			: [a] "+r"(a), "+a"(flags) \
			: [b] "r"(b), "c"(count) \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}
#define WIDE_SIZES(X, ...) \
	X(16, "w", uint16_t, 2, ##__VA_ARGS__) \
	X(32, "l", uint32_t, 4, ##__VA_ARGS__) \
	X(64, "q", uint64_t, 8, ##__VA_ARGS__)
WIDE_SIZES(DEFINE_DOUBLE, shld)
WIDE_SIZES(DEFINE_DOUBLE, shrd)

#define DEFINE_DOUBLE_ANY(NAME) \
	static uint64_t NAME##_any( \
		struct cpu *cpu, uint64_t a, uint64_t b, uint8_t count, uint32_t bytes) \
	{ \
		if (bytes == 2) \
			return NAME##_2(cpu, (uint16_t)a, (uint16_t)b, count); \
		if (bytes == 4) \
			return NAME##_4(cpu, (uint32_t)a, (uint32_t)b, count); \
		return NAME##_8(cpu, a, b, count); \
	}
DEFINE_DOUBLE_ANY(shld)
DEFINE_DOUBLE_ANY(shrd)

static uint64_t any_get(const void *at, uint32_t bytes)
{
	uint64_t value = 0;
	memcpy(&value, at, bytes);
	return value;
}

/* Reads the rm operand for writing; finish with rm_put(). */
static uint64_t rm_take(struct cpu *cpu, const struct op *op, void **at)
{
	if (!(op->flags & OP_MEMORY)) {
		*at = NULL;
		return reg_get(cpu, op->rm, op->bytes);
	}
	*at = rmw_at(cpu, op, op_linear(cpu, op), op->bytes);
	return any_get(*at, op->bytes);
}

static void rm_put(struct cpu *cpu, const struct op *op, void *at, uint64_t value)
{
	if (!at) {
		reg_set(cpu, op->rm, op->bytes, value);
		return;
	}
	memcpy(at, &value, op->bytes);
	rmw_finish(cpu, op);
}

HANDLER(shift_double)
{
	void *at;
	uint64_t a = rm_take(cpu, op, &at), b = reg_get(cpu, op->reg, op->bytes);
	uint8_t count = op->extra & 1 ? REG8(cpu, CPU_RCX * 8) : (uint8_t)op->imm;
	count &= op->bytes == 8 ? 63 : 31;
	if (count)
		a = op->extra & 8 ? shrd_any(cpu, a, b, count, op->bytes)
				  : shld_any(cpu, a, b, count, op->bytes);
	rm_put(cpu, op, at, a);
	return op + 1;
}

/* MUL and IMUL of A; high half in D (AH). */
#define DEFINE_MUL(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static void NAME##_##BYTES(struct cpu *cpu, uint64_t operand) \
	{ \
		uint64_t a = cpu->r[CPU_RAX], d = cpu->r[CPU_RDX], c = 0; \
		__asm__(#NAME SUFFIX \
			" %[b]\n\tmovq %%rax, %%rcx\n\tlahf\n\tseto %%al\n\txchgq %%rax, %%rcx" \
			: "+a"(a), "+d"(d), "+&c"(c) \
			: [b] "r"((TYPE)operand) \
			: "cc"); \
		cpu->r[CPU_RAX] = a; \
		if (BYTES != 1) \
			cpu->r[CPU_RDX] = d; \
		cpu->flags = (uint16_t)c; \
	}
SIZES(DEFINE_MUL, mul)
SIZES(DEFINE_MUL, imul)

HANDLER(multiply)
{
	uint64_t b = rm_get(cpu, op, op->bytes);
	static void (*const run[2][4])(struct cpu *, uint64_t) = { { mul_1, mul_2, mul_4, mul_8 },
		{ imul_1, imul_2, imul_4, imul_8 } };
	run[op->extra][__builtin_ctz(op->bytes)](cpu, b);
	if (op->bytes == 4) {
		cpu->r[CPU_RAX] = (uint32_t)cpu->r[CPU_RAX];
		cpu->r[CPU_RDX] = (uint32_t)cpu->r[CPU_RDX];
	}
	return op + 1;
}

#define DEFINE_MUL_OF(BITS, SUFFIX, TYPE, BYTES) \
	static TYPE imul_of_##BYTES(struct cpu *cpu, TYPE a, TYPE b) \
	{ \
		uint32_t flags = cpu->flags; \
		__asm__("sahf\n\timul" SUFFIX " %[b], %[a]\n\tlahf\n\tseto %%al" \
			: [a] "+r"(a), "+a"(flags) \
			: [b] "r"(b) \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}
WIDE_SIZES(DEFINE_MUL_OF)

HANDLER(multiply_2)
{
	uint64_t b = rm_get(cpu, op, op->bytes);
	uint64_t a = op->extra != 0xaf ? op->imm : reg_get(cpu, op->reg, op->bytes);
	uint64_t value;
	if (op->bytes == 2)
		value = imul_of_2(cpu, (uint16_t)a, (uint16_t)b);
	else if (op->bytes == 4)
		value = imul_of_4(cpu, (uint32_t)a, (uint32_t)b);
	else
		value = imul_of_8(cpu, a, b);
	reg_set(cpu, op->reg, op->bytes, value);
	return op + 1;
}

HANDLER(divide_byte)
{
	uint32_t b = (uint32_t)rm_get(cpu, op, 1);
	uint16_t a = REG16(cpu, 0);
	if (op->extra) {
		int32_t d = (int8_t)b;
		if (d == 0)
			cpu_fault(cpu, op, FAULT_DE, 0);
		int32_t quotient = (int16_t)a / d;
		if (quotient != (int8_t)quotient)
			cpu_fault(cpu, op, FAULT_DE, 0);
		REG16(cpu, 0) = (uint16_t)((uint8_t)quotient | (uint8_t)((int16_t)a % d) << 8);
		return op + 1;
	}
	if (b == 0 || a / b > 0xff)
		cpu_fault(cpu, op, FAULT_DE, 0);
	REG16(cpu, 0) = (uint16_t)(a / b | (a % b) << 8);
	return op + 1;
}

HANDLER(divide)
{
	uint64_t b = rm_get(cpu, op, op->bytes);
	uint32_t bits = 8 * op->bytes;
	unsigned __int128 a = (unsigned __int128)reg_get(cpu, CPU_RDX * 8, op->bytes) << bits |
		reg_get(cpu, 0, op->bytes);
	if (b == 0 || a >> bits >= b)
		cpu_fault(cpu, op, FAULT_DE, 0);
	uint64_t quotient, rest;
	if (bits == 64) {
		__asm__("divq %[b]"
			: "=a"(quotient), "=d"(rest)
			: [b] "r"(b), "a"((uint64_t)a), "d"((uint64_t)(a >> 64))
			: "cc");
	} else {
		quotient = (uint64_t)a / b;
		rest = (uint64_t)a % b;
	}
	reg_set(cpu, 0, op->bytes, quotient);
	reg_set(cpu, CPU_RDX * 8, op->bytes, rest);
	return op + 1;
}

HANDLER(divide_signed)
{
	uint32_t bits = 8 * op->bytes, unused = 64 - bits;
	int64_t b = (int64_t)(rm_get(cpu, op, op->bytes) << unused) >> unused;
	uint64_t high = reg_get(cpu, CPU_RDX * 8, op->bytes), low = reg_get(cpu, 0, op->bytes);
	if (b == 0)
		cpu_fault(cpu, op, FAULT_DE, 0);
	__int128 a = (__int128)((unsigned __int128)high << bits | low);
	a = (__int128)((unsigned __int128)a << (128 - 2 * bits)) >> (128 - 2 * bits);
	/* The one quotient that __int128 cannot hold. */
	if (b == -1 && (unsigned __int128)a == (unsigned __int128)1 << 127)
		cpu_fault(cpu, op, FAULT_DE, 0);
	__int128 quotient = a / b;
	int64_t limit_high = (int64_t)(UINT64_MAX >> (unused + 1)), limit_low = -limit_high - 1;
	if (quotient > limit_high || quotient < limit_low)
		cpu_fault(cpu, op, FAULT_DE, 0);
	reg_set(cpu, 0, op->bytes, (uint64_t)quotient);
	reg_set(cpu, CPU_RDX * 8, op->bytes, (uint64_t)(a % b));
	return op + 1;
}

enum bit_operation { BIT_TEST, BIT_SET, BIT_RESET, BIT_COMPLEMENT };

static uint64_t bit_change(uint64_t value, uint64_t bit, uint32_t which)
{
	switch (which) {
	case BIT_SET:
		return value | bit;
	case BIT_RESET:
		return value & ~bit;
	case BIT_COMPLEMENT:
		return value ^ bit;
	default:
		return value;
	}
}

static void set_carry(struct cpu *cpu, bool carry)
{
	cpu->flags = (uint16_t)((cpu->flags & ~HOST_CF) | (carry ? HOST_CF : 0));
}

/* The locked forms on memory, one bit of the operand at `linear`. */
static uint64_t bit_locked(void *at, uint64_t bit, uint32_t which, uint32_t bytes)
{
	uint64_t old = any_get(at, bytes);
	if (bytes == 2) {
		uint16_t was = (uint16_t)old;
		while (!cas_2(at, &was, (uint16_t)bit_change(was, bit, which)))
			;
		return was;
	}
	if (bytes == 4) {
		uint32_t was = (uint32_t)old;
		while (!cas_4(at, &was, (uint32_t)bit_change(was, bit, which)))
			;
		return was;
	}
	while (!cas_8(at, &old, bit_change(old, bit, which)))
		;
	return old;
}

HANDLER(bit_test)
{
	uint32_t which = op->extra & 3, bits = 8 * op->bytes;
	bool is_immediate = op->extra & 4;
	uint64_t offset = is_immediate ? op->imm : reg_get(cpu, op->reg, op->bytes);
	uint64_t bit = UINT64_C(1) << (offset & (bits - 1));
	if (!(op->flags & OP_MEMORY)) {
		uint64_t value = reg_get(cpu, op->rm, op->bytes);
		if (which != BIT_TEST)
			reg_set(cpu, op->rm, op->bytes, bit_change(value, bit, which));
		set_carry(cpu, value & bit);
		return op + 1;
	}
	uint64_t linear = op_linear(cpu, op);
	if (!is_immediate) {
		/* The register's offset reaches beyond the operand. */
		int64_t far = (int64_t)(offset << (64 - bits)) >> (64 - bits);
		linear += (uint64_t)((far >> __builtin_ctz(bits)) * op->bytes);
	}
	uint64_t value;
	if (which == BIT_TEST) {
		value = load_any(cpu, op, linear, op->bytes);
	} else {
		void *at = rmw_at(cpu, op, linear, op->bytes);
		if (op->flags & OP_LOCK) {
			value = bit_locked(at, bit, which, op->bytes);
		} else {
			value = any_get(at, op->bytes);
			uint64_t new = bit_change(value, bit, which);
			memcpy(at, &new, op->bytes);
		}
		rmw_finish(cpu, op);
	}
	set_carry(cpu, value & bit);
	return op + 1;
}

/* BSF and BSR leave the register alone if the operand is 0. */
#define DEFINE_SCAN(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static void NAME##_##BYTES(struct cpu *cpu, uint32_t at, TYPE b) \
	{ \
		uint32_t flags = cpu->flags; \
		uint64_t a = cpu->r[at / 8]; \
		__asm__("sahf\n\t" #NAME SUFFIX " %[b], %[a]\n\tlahf\n\tseto %%al" \
			: [a] "+r"(*(TYPE *)&a), "+a"(flags) \
			: [b] "r"(b) \
			: "cc"); \
		if (BYTES == 4 && b != 0) \
			a = (uint32_t)a; \
		cpu->flags = (uint16_t)flags; \
		cpu->r[at / 8] = a; \
	}
WIDE_SIZES(DEFINE_SCAN, bsf)
WIDE_SIZES(DEFINE_SCAN, bsr)

HANDLER(scan)
{
	uint64_t b = rm_get(cpu, op, op->bytes);
	uint32_t at = op->reg;
	if (op->bytes == 2)
		op->extra ? bsr_2(cpu, at, (uint16_t)b) : bsf_2(cpu, at, (uint16_t)b);
	else if (op->bytes == 4)
		op->extra ? bsr_4(cpu, at, (uint32_t)b) : bsf_4(cpu, at, (uint32_t)b);
	else
		op->extra ? bsr_8(cpu, at, b) : bsf_8(cpu, at, b);
	return op + 1;
}

SIZES(DEFINE_BINARY, add)
SIZES(DEFINE_BINARY, cmp)

#define DEFINE_EXCHANGE(BITS, SUFFIX, TYPE, BYTES) \
	static void xadd_on_##BYTES(struct cpu *cpu, const struct op *op, void *at) \
	{ \
		TYPE b = GET_##BYTES(cpu, op->reg), old = (TYPE)any_get(at, BYTES), new; \
		do { \
			new = add_##BYTES(cpu, old, b); \
		} while (!cas_##BYTES(at, &old, new)); \
		rmw_finish(cpu, op); \
		SET_##BYTES(cpu, op->reg, old); \
	} \
	static void cmpxchg_on_##BYTES(struct cpu *cpu, const struct op *op, void *at) \
	{ \
		TYPE a = GET_##BYTES(cpu, 0), old = a; \
		bool done = cas_##BYTES(at, &old, GET_##BYTES(cpu, op->reg)); \
		rmw_finish(cpu, op); \
		cmp_##BYTES(cpu, a, old); \
		if (!done) \
			SET_##BYTES(cpu, 0, old); \
	} \
	HANDLER(xadd_##BYTES) \
	{ \
		if (op->flags & OP_MEMORY) { \
			xadd_on_##BYTES(cpu, op, rmw_at(cpu, op, op_linear(cpu, op), BYTES)); \
			return op + 1; \
		} \
		TYPE a = GET_##BYTES(cpu, op->rm), b = GET_##BYTES(cpu, op->reg); \
		TYPE sum = add_##BYTES(cpu, a, b); \
		SET_##BYTES(cpu, op->reg, a); \
		SET_##BYTES(cpu, op->rm, sum); \
		return op + 1; \
	} \
	HANDLER(cmpxchg_##BYTES) \
	{ \
		if (op->flags & OP_MEMORY) { \
			cmpxchg_on_##BYTES(cpu, op, rmw_at(cpu, op, op_linear(cpu, op), BYTES)); \
			return op + 1; \
		} \
		TYPE a = GET_##BYTES(cpu, 0), old = GET_##BYTES(cpu, op->rm); \
		cmp_##BYTES(cpu, a, old); \
		if (a == old) \
			SET_##BYTES(cpu, op->rm, GET_##BYTES(cpu, op->reg)); \
		else \
			SET_##BYTES(cpu, 0, old); \
		return op + 1; \
	}
SIZES(DEFINE_EXCHANGE)

static op_run *const xadds[4] = { xadd_1, xadd_2, xadd_4, xadd_8 };
static op_run *const cmpxchgs[4] = { cmpxchg_1, cmpxchg_2, cmpxchg_4, cmpxchg_8 };

static void set_zero(struct cpu *cpu, bool is_zero)
{
	cpu->flags = (uint16_t)((cpu->flags & ~HOST_ZF) | (is_zero ? HOST_ZF : 0));
}

HANDLER(cmpxchg8b)
{
	uint64_t *at = rmw_at(cpu, op, op_linear(cpu, op), 8);
	uint64_t wanted = (uint64_t)REG32(cpu, CPU_RDX * 8) << 32 | REG32(cpu, 0), old = wanted;
	uint64_t new = (uint64_t)REG32(cpu, CPU_RCX * 8) << 32 | REG32(cpu, CPU_RBX * 8);
	bool done = cas_8(at, &old, new);
	rmw_finish(cpu, op);
	set_zero(cpu, done);
	if (!done) {
		cpu->r[CPU_RAX] = (uint32_t)old;
		cpu->r[CPU_RDX] = old >> 32;
	}
	return op + 1;
}

HANDLER(cmpxchg16b)
{
	uint64_t linear = op_linear(cpu, op);
	if (linear & 15)
		fault_gp(cpu, op);
	unsigned __int128 *at = rmw_at(cpu, op, linear, 16);
	uint64_t low = cpu->r[CPU_RAX], high = cpu->r[CPU_RDX];
	bool done;
	__asm__ volatile("lock cmpxchg16b %[at]\n\tsete %[done]"
			 : "+a"(low), "+d"(high), [at] "+m"(*at), [done] "=q"(done)
			 : "b"(cpu->r[CPU_RBX]), "c"(cpu->r[CPU_RCX])
			 : "cc", "memory");
	rmw_finish(cpu, op);
	set_zero(cpu, done);
	if (!done) {
		cpu->r[CPU_RAX] = low;
		cpu->r[CPU_RDX] = high;
	}
	return op + 1;
}

HANDLER(byte_swap)
{
	if (op->bytes == 8)
		REG64(cpu, op->rm) = __builtin_bswap64(REG64(cpu, op->rm));
	else if (op->bytes == 4)
		REG64(cpu, op->rm) = __builtin_bswap32(REG32(cpu, op->rm));
	else
		REG16(cpu, op->rm) = 0; /* undefined; so does the silicon */
	return op + 1;
}

HANDLER(flag_change) /* CMC CLC STC CLD STD SAHF LAHF SALC */
{
	switch (op->extra) {
	case 0xf5:
		cpu->flags ^= HOST_CF;
		break;
	case 0xf8:
		set_carry(cpu, false);
		break;
	case 0xf9:
		set_carry(cpu, true);
		break;
	case 0xfc:
		cpu->rflags_rest &= ~FLAG_DF;
		break;
	case 0xfd:
		cpu->rflags_rest |= FLAG_DF;
		break;
	case 0x9e:
		cpu->flags = (uint16_t)((REG8(cpu, 1) & 0xd5) << 8 | (cpu->flags & 1));
		break;
	case 0x9f:
		REG8(cpu, 1) = (uint8_t)((cpu->flags >> 8 & 0xd5) | 2);
		break;
	default:
		REG8(cpu, 0) = cpu->flags & HOST_CF ? 0xff : 0;
		break;
	}
	return op + 1;
}

DEFINE_BINARY(8, "b", uint8_t, 1, test)

HANDLER(decimal) /* DAA DAS AAA AAS AAM AAD */
{
	uint8_t al = REG8(cpu, 0), ah = REG8(cpu, 1), was = al;
	bool carry = cpu->flags & HOST_CF, half = cpu->flags & HOST_AF,
	     digit = (al & 15) > 9 || half;
	bool is_ascii = op->extra == 0x37 || op->extra == 0x3f;
	bool is_subtract = op->extra == 0x2f || op->extra == 0x3f;
	if (op->extra == 0xd4) {
		if ((uint8_t)op->imm == 0)
			cpu_fault(cpu, op, FAULT_DE, 0);
		REG8(cpu, 1) = al / (uint8_t)op->imm;
		REG8(cpu, 0) = al % (uint8_t)op->imm;
		test_1(cpu, REG8(cpu, 0), REG8(cpu, 0));
		return op + 1;
	}
	if (op->extra == 0xd5) {
		REG16(cpu, 0) = (uint8_t)(al + ah * (uint8_t)op->imm);
		test_1(cpu, REG8(cpu, 0), REG8(cpu, 0));
		return op + 1;
	}
	if (is_ascii) {
		if (digit) {
			REG16(cpu, 0) = (uint16_t)(REG16(cpu, 0) + (is_subtract ? -0x106 : 0x106));
		}
		REG8(cpu, 0) &= 15;
		carry = digit;
	} else {
		bool high = was > 0x99 || carry;
		bool borrow = digit && is_subtract && (carry || was < 6);
		bool over = digit && !is_subtract && (carry || was > 0xf9);
		if (digit)
			al = (uint8_t)(is_subtract ? al - 6 : al + 6);
		if (high)
			al = (uint8_t)(is_subtract ? al - 0x60 : al + 0x60);
		REG8(cpu, 0) = al;
		carry = high || borrow || over;
	}
	test_1(cpu, REG8(cpu, 0), REG8(cpu, 0));
	cpu->flags = (uint16_t)((cpu->flags & ~(HOST_AF | HOST_CF)) | (digit ? HOST_AF : 0) |
		(carry ? HOST_CF : 0));
	return op + 1;
}

HANDLER(translate_byte) /* XLAT */
{
	uint64_t at = (cpu->r[CPU_RBX] + REG8(cpu, 0)) & mask_of(op->address_bytes);
	REG8(cpu, 0) = load_1(cpu, op, memory_of_code(cpu, at + cpu->base[op->segment]));
	return op + 1;
}

HANDLER(store_register) /* MOVNTI, and MOVBE's store */
{
	uint64_t value = reg_get(cpu, op->reg, op->bytes);
	if (op->extra)
		value = __builtin_bswap64(value) >> (64 - 8 * op->bytes);
	store_any(cpu, op, op_linear(cpu, op), op->bytes, value);
	return op + 1;
}

HANDLER(load_swapped)
{
	uint64_t value = load_any(cpu, op, op_linear(cpu, op), op->bytes);
	reg_set(cpu, op->reg, op->bytes, __builtin_bswap64(value) >> (64 - 8 * op->bytes));
	return op + 1;
}

static op_run *bind_shift(const struct insn *insn, struct op *op)
{
	if (!(insn->opcode & 1))
		op_set_bytes(insn, op, 1);
	if (insn->opcode >= 0xd2)
		op->extra = 1;
	else if (insn->opcode >= 0xd0)
		op->imm = 1;
	if (insn->has_lock)
		return op_undefined();
	if (insn->is_memory)
		op->access = ACCESS_READ | ACCESS_WRITE;
	return shifts[insn->modrm >> 3 & 7][insn->is_memory][__builtin_ctz(op->bytes)];
}

static op_run *bind_group3(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->opcode == 0xf6)
		op_set_bytes(insn, op, 1);
	if (insn->has_lock)
		return op_undefined();
	op->extra = which & 1;
	if (which < 6)
		return multiply;
	if (op->bytes == 1)
		return divide_byte;
	return which == 6 ? divide : divide_signed;
}

static op_run *bind_bit_test(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->opcode >> 3 & 3;
	op->extra = (uint8_t)which;
	if (insn->opcode == 0xba) {
		which = insn->modrm >> 3 & 3;
		op->extra = (uint8_t)(which | 4);
		if ((insn->modrm >> 3 & 7) < 4)
			return op_undefined();
	}
	if (insn->has_lock && (!insn->is_memory || which == BIT_TEST))
		return op_undefined();
	if (insn->is_memory)
		op->access = which == BIT_TEST ? ACCESS_READ : ACCESS_READ | ACCESS_WRITE;
	return bit_test;
}

static op_run *bind_exchange(const struct insn *insn, struct op *op)
{
	if (!(insn->opcode & 1))
		op_set_bytes(insn, op, 1);
	if (insn->has_lock && !insn->is_memory)
		return op_undefined();
	if (insn->is_memory)
		op->access = ACCESS_READ | ACCESS_WRITE;
	return (insn->opcode >= 0xc0 ? xadds : cmpxchgs)[__builtin_ctz(op->bytes)];
}

static op_run *bind_one_byte(const struct insn *insn, struct op *op)
{
	op->extra = insn->opcode;
	switch (insn->opcode) {
	case 0x27:
	case 0x2f:
	case 0x37:
	case 0x3f:
	case 0xd4:
	case 0xd5:
		return decimal;
	case 0x69:
	case 0x6b:
		return multiply_2;
	case 0x9e:
	case 0x9f:
	case 0xd6:
	case 0xf5:
	case 0xf8:
	case 0xf9:
	case 0xfc:
	case 0xfd:
		return flag_change;
	case 0xc0:
	case 0xc1:
	case 0xd0:
	case 0xd1:
	case 0xd2:
	case 0xd3:
		op->extra = 0;
		return bind_shift(insn, op);
	case 0xd7:
		op_set_access(op, 1, ACCESS_READ);
		return translate_byte;
	case 0xf6:
	case 0xf7:
		return (insn->modrm >> 3 & 7) >= 4 ? bind_group3(insn, op) : NULL;
	default:
		return NULL;
	}
}

static op_run *bind_two_byte(const struct insn *insn, struct op *op)
{
	uint8_t opcode = insn->opcode;
	switch (opcode) {
	case 0xa3:
	case 0xab:
	case 0xb3:
	case 0xbb:
	case 0xba:
		return bind_bit_test(insn, op);
	case 0xa4:
	case 0xa5:
	case 0xac:
	case 0xad:
		op->extra = opcode & 9;
		if (insn->is_memory)
			op->access = ACCESS_READ | ACCESS_WRITE;
		return insn->has_lock ? op_undefined() : shift_double;
	case 0xaf:
		op->extra = opcode;
		return insn->has_lock ? op_undefined() : multiply_2;
	case 0xb0:
	case 0xb1:
	case 0xc0:
	case 0xc1:
		return bind_exchange(insn, op);
	case 0xbc:
	case 0xbd:
		op->extra = opcode & 1;
		return insn->has_rep ? NULL : insn->has_lock ? op_undefined() : scan;
	case 0xc3:
		op_set_access(op, op->bytes, ACCESS_WRITE);
		return insn->is_memory && !insn->has_lock && insn->pp == PP_NONE ? store_register
										 : op_undefined();
	case 0xc7:
		if ((insn->modrm >> 3 & 7) != 1 || !insn->is_memory)
			return NULL;
		op_set_access(op, insn->operand_bytes == 8 ? 16 : 8, ACCESS_READ | ACCESS_WRITE);
		return insn->operand_bytes == 8 ? cmpxchg16b : cmpxchg8b;
	default:
		return opcode >= 0xc8 && opcode <= 0xcf ? byte_swap : NULL;
	}
}

op_run *arithmetic_bind(const struct insn *insn, struct op *op)
{
	if (insn->has_vex)
		return NULL;
	if (insn->map == MAP_ONE_BYTE)
		return bind_one_byte(insn, op);
	if (insn->map == MAP_0F)
		return bind_two_byte(insn, op);
	bool is_movbe = insn->map == MAP_0F38 && (insn->opcode & 0xfe) == 0xf0 &&
		!insn->has_repne && !insn->has_rep;
	if (!is_movbe)
		return NULL;
	if (!insn->is_memory || insn->has_lock)
		return op_undefined();
	op->extra = 1;
	op->access = insn->opcode & 1 ? ACCESS_WRITE : ACCESS_READ;
	return insn->opcode & 1 ? store_register : load_swapped;
}
