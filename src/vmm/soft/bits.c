/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bits.c - one-instruction functions on general registers that came after the 1990s.
 */
#include "vmm/soft/bits.h"

#include <immintrin.h>

#include "vmm/soft/cpuid.h"
#include "vmm/soft/flags.h"
#include "vmm/soft/memory.h"

#define HANDLER(name) static const struct op *name(struct cpu *cpu, const struct op *op)

/* b, and the flags word goes in and out in `flags`. */
#define DEFINE_COUNT(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static uint64_t NAME##_##BYTES(struct cpu *cpu, uint64_t b) \
	{ \
		uint32_t flags = cpu->flags; \
		TYPE a; \
		__asm__("addb $127, %%al\n\tsahf\n\t" #NAME SUFFIX \
			" %[b], %[a]\n\tlahf\n\tseto %%al" \
			: [a] "=&r"(a), "+a"(flags) \
			: [b] "r"((TYPE)b) \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}
#define COUNT_SIZES(NAME) \
	DEFINE_COUNT(16, "w", uint16_t, 2, NAME) \
	DEFINE_COUNT(32, "l", uint32_t, 4, NAME) \
	DEFINE_COUNT(64, "q", uint64_t, 8, NAME)
COUNT_SIZES(popcnt)
COUNT_SIZES(tzcnt)
COUNT_SIZES(lzcnt)
#define BMI_SIZES(X, NAME) X(32, "l", uint32_t, 4, NAME) X(64, "q", uint64_t, 8, NAME)
BMI_SIZES(DEFINE_COUNT, blsr)
BMI_SIZES(DEFINE_COUNT, blsmsk)
BMI_SIZES(DEFINE_COUNT, blsi)

/* NAME second, first, result in AT&T order. */
#define DEFINE_THREE(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static uint64_t NAME##_##BYTES(struct cpu *cpu, uint64_t first, uint64_t second) \
	{ \
		uint32_t flags = cpu->flags; \
		TYPE a; \
		__asm__("addb $127, %%al\n\tsahf\n\t" #NAME SUFFIX \
			" %[b], %[c], %[a]\n\tlahf\n\tseto %%al" \
			: [a] "=&r"(a), "+a"(flags) \
			: [c] "r"((TYPE)first), [b] "r"((TYPE)second) \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}
BMI_SIZES(DEFINE_THREE, andn)
BMI_SIZES(DEFINE_THREE, bextr)
BMI_SIZES(DEFINE_THREE, bzhi)
BMI_SIZES(DEFINE_THREE, pdep)
BMI_SIZES(DEFINE_THREE, pext)
BMI_SIZES(DEFINE_THREE, sarx)
BMI_SIZES(DEFINE_THREE, shlx)
BMI_SIZES(DEFINE_THREE, shrx)

typedef uint64_t one_operand(struct cpu *cpu, uint64_t b);
typedef uint64_t two_operands(struct cpu *cpu, uint64_t first, uint64_t second);

static one_operand *const counts[3][3] = { { popcnt_2, popcnt_4, popcnt_8 },
	{ tzcnt_2, tzcnt_4, tzcnt_8 }, { lzcnt_2, lzcnt_4, lzcnt_8 } };
static one_operand *const lowest[3][2] = { { blsr_4, blsr_8 }, { blsmsk_4, blsmsk_8 },
	{ blsi_4, blsi_8 } };
enum three {
	THREE_ANDN,
	THREE_BEXTR,
	THREE_BZHI,
	THREE_PDEP,
	THREE_PEXT,
	THREE_SARX,
	THREE_SHLX,
	THREE_SHRX
};
static two_operands *const threes[8][2] = { { andn_4, andn_8 }, { bextr_4, bextr_8 },
	{ bzhi_4, bzhi_8 }, { pdep_4, pdep_8 }, { pext_4, pext_8 }, { sarx_4, sarx_8 },
	{ shlx_4, shlx_8 }, { shrx_4, shrx_8 } };

HANDLER(count)
{
	uint64_t b = rm_get(cpu, op, op->bytes);
	reg_set(cpu, op->reg, op->bytes, counts[op->extra][__builtin_ctz(op->bytes) - 1](cpu, b));
	return op + 1;
}

/* op->address_base holds the register that VEX.vvvv names. */
HANDLER(lowest_bit)
{
	uint64_t b = rm_get(cpu, op, op->bytes);
	reg_set(cpu, op->imm & 0xff, op->bytes, lowest[op->extra][op->bytes == 8](cpu, b));
	return op + 1;
}

HANDLER(vvvv_first) /* the rm operand is the second source */
{
	uint64_t b = rm_get(cpu, op, op->bytes), a = REG64(cpu, op->imm & 0xff);
	reg_set(cpu, op->reg, op->bytes, threes[op->extra][op->bytes == 8](cpu, a, b));
	return op + 1;
}

HANDLER(vvvv_second)
{
	uint64_t b = rm_get(cpu, op, op->bytes), a = REG64(cpu, op->imm & 0xff);
	reg_set(cpu, op->reg, op->bytes, threes[op->extra][op->bytes == 8](cpu, b, a));
	return op + 1;
}

HANDLER(rotate_right) /* RORX */
{
	uint64_t value = rm_get(cpu, op, op->bytes);
	uint32_t bits = 8 * op->bytes, by = (uint32_t)op->imm & (bits - 1);
	if (by)
		value = value >> by | value << (bits - by);
	reg_set(cpu, op->reg, op->bytes, value);
	return op + 1;
}

HANDLER(multiply_wide) /* MULX */
{
	uint64_t a = reg_get(cpu, CPU_RDX * 8, op->bytes), b = rm_get(cpu, op, op->bytes);
	unsigned __int128 product = (unsigned __int128)a * b;
	reg_set(cpu, op->imm & 0xff, op->bytes, (uint64_t)product);
	reg_set(cpu, op->reg, op->bytes, (uint64_t)(product >> (8 * op->bytes)));
	return op + 1;
}

HANDLER(add_carry) /* ADCX, ADOX */
{
	uint32_t bit = op->extra ? HOST_OF : HOST_CF;
	uint64_t a = reg_get(cpu, op->reg, op->bytes), b = rm_get(cpu, op, op->bytes);
	unsigned __int128 sum = (unsigned __int128)a + b + ((cpu->flags & bit) != 0);
	bool carry = sum >> (8 * op->bytes) & 1;
	cpu->flags = (uint16_t)((cpu->flags & ~bit) | (carry ? bit : 0));
	reg_set(cpu, op->reg, op->bytes, (uint64_t)sum);
	return op + 1;
}

HANDLER(crc32)
{
	uint64_t b = rm_get(cpu, op, op->bytes);
	uint64_t crc = REG32(cpu, op->reg);
	if (op->bytes == 8)
		__asm__("crc32q %1, %0" : "+r"(crc) : "r"(b));
	else if (op->bytes == 4)
		__asm__("crc32l %1, %k0" : "+r"(crc) : "r"((uint32_t)b));
	else if (op->bytes == 2)
		__asm__("crc32w %1, %k0" : "+r"(crc) : "r"((uint16_t)b));
	else
		__asm__("crc32b %1, %k0" : "+r"(crc) : "r"((uint8_t)b));
	REG64(cpu, op->reg) = (uint32_t)crc;
	return op + 1;
}

HANDLER(random_number)
{
	uint64_t value = 0;
	bool done;
	if (op->extra)
		__asm__ volatile("rdseed %0\n\tsetc %1" : "=r"(value), "=q"(done) : : "cc");
	else
		__asm__ volatile("rdrand %0\n\tsetc %1" : "=r"(value), "=q"(done) : : "cc");
	reg_set(cpu, op->rm, op->bytes, value);
	cpu->flags = done ? HOST_CF : 0;
	return op + 1;
}

static op_run *bind_vex(const struct insn *insn, struct op *op)
{
	/* VEX.W is the operand's width, in 64-bit code only. */
	op_set_bytes(insn, op, insn->w && insn->code_bytes == 8 ? 8 : 4);
	if (insn->l)
		return NULL;
	if (insn->map == MAP_0F3A && insn->opcode == 0xf0 && insn->pp == PP_F2)
		return insn->vvvv ? op_undefined() : rotate_right;
	if (insn->map != MAP_0F38)
		return NULL;
	op->imm = insn->vvvv * 8u;
	uint32_t which = insn->modrm >> 3 & 7;
	switch (insn->opcode << 4 | insn->pp) {
	case 0xf20 | PP_NONE:
		op->extra = THREE_ANDN;
		return vvvv_first;
	case 0xf30 | PP_NONE:
		op->extra = (uint8_t)(which - 1);
		return which >= 1 && which <= 3 ? lowest_bit : op_undefined();
	case 0xf50 | PP_NONE:
		op->extra = THREE_BZHI;
		return vvvv_second;
	case 0xf50 | PP_F3:
		op->extra = THREE_PEXT;
		return vvvv_first;
	case 0xf50 | PP_F2:
		op->extra = THREE_PDEP;
		return vvvv_first;
	case 0xf60 | PP_F2:
		return multiply_wide;
	case 0xf70 | PP_NONE:
		op->extra = THREE_BEXTR;
		return vvvv_second;
	case 0xf70 | PP_66:
		op->extra = THREE_SHLX;
		return vvvv_second;
	case 0xf70 | PP_F3:
		op->extra = THREE_SARX;
		return vvvv_second;
	case 0xf70 | PP_F2:
		op->extra = THREE_SHRX;
		return vvvv_second;
	default:
		return NULL;
	}
}

static op_run *bind_0f(const struct insn *insn, struct op *op)
{
	uint32_t which = insn->modrm >> 3 & 7;
	if (insn->opcode == 0xb8 || insn->opcode == 0xbc || insn->opcode == 0xbd) {
		op->extra = insn->opcode == 0xb8 ? 0 : (uint8_t)(insn->opcode - 0xbb);
		return insn->has_rep && !insn->has_lock ? count : NULL;
	}
	if (insn->opcode == 0xc7 && !insn->is_memory && which >= 6 && !insn->has_rep &&
		!insn->has_repne) {
		uint64_t feature = which == 7 ? HOST_HAS_RDSEED : HOST_HAS_RDRAND;
		op->extra = which == 7;
		return cpuid_host_has(feature) ? random_number : op_undefined();
	}
	return NULL;
}

op_run *bits_bind(const struct insn *insn, struct op *op)
{
	if (insn->has_vex)
		return bind_vex(insn, op);
	if (insn->map == MAP_0F)
		return bind_0f(insn, op);
	if (insn->map != MAP_0F38 || insn->has_lock)
		return NULL;
	if ((insn->opcode & 0xfe) == 0xf0 && insn->has_repne) {
		uint8_t reg = (uint8_t)(insn->reg * 8);
		op_set_bytes(insn, op, insn->opcode == 0xf0 ? 1 : insn->operand_bytes);
		op->reg = reg;
		return crc32;
	}
	if (insn->opcode == 0xf6 && (insn->pp == PP_66 || insn->pp == PP_F3)) {
		op_set_bytes(insn, op, insn->w ? 8 : 4);
		op->extra = insn->pp == PP_F3;
		return add_carry;
	}
	return NULL;
}
