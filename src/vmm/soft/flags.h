/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flags.h - arithmetic whose flags are the host's own, and conditions on them.
 */
#pragma once

#include "vmm/soft/cpu.h"

/* SIZES(X): X(bits, suffix, type, reg macro's byte count) for each operand width. */
#define SIZES(X, ...) \
	X(8, "b", uint8_t, 1, ##__VA_ARGS__) \
	X(16, "w", uint16_t, 2, ##__VA_ARGS__) \
	X(32, "l", uint32_t, 4, ##__VA_ARGS__) \
	X(64, "q", uint64_t, 8, ##__VA_ARGS__)

#define SET_1(cpu, at, value) (REG8(cpu, at) = (value))
#define SET_2(cpu, at, value) (REG16(cpu, at) = (value))
#define SET_4(cpu, at, value) (REG64(cpu, at) = (uint32_t)(value))
#define SET_8(cpu, at, value) (REG64(cpu, at) = (value))
#define GET_1(cpu, at)        REG8(cpu, at)
#define GET_2(cpu, at)        REG16(cpu, at)
#define GET_4(cpu, at)        REG32(cpu, at)
#define GET_8(cpu, at)        REG64(cpu, at)

/* Two operands, carry not looked at. */
#define DEFINE_BINARY(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static inline TYPE NAME##_##BYTES(struct cpu *cpu, TYPE a, TYPE b) \
	{ \
		uint32_t flags; \
		__asm__(#NAME SUFFIX " %[b], %[a]\n\tlahf\n\tseto %%al" \
			: [a] "+r"(a), "=&a"(flags) \
			: [b] "r"(b) \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}

/* Two operands and the carry flag. */
#define DEFINE_WITH_CARRY(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static inline TYPE NAME##_##BYTES(struct cpu *cpu, TYPE a, TYPE b) \
	{ \
		uint32_t flags = cpu->flags; \
		__asm__("bt $8, %%eax\n\t" #NAME SUFFIX " %[b], %[a]\n\tlahf\n\tseto %%al" \
			: [a] "+r"(a), "+a"(flags) \
			: [b] "r"(b) \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}

/* One operand; CF as it was if the instruction leaves it. */
#define DEFINE_UNARY(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static inline TYPE NAME##_##BYTES(struct cpu *cpu, TYPE a) \
	{ \
		uint32_t flags = cpu->flags; \
		__asm__("bt $8, %%eax\n\t" #NAME SUFFIX " %[a]\n\tlahf\n\tseto %%al" \
			: [a] "+r"(a), "+a"(flags) \
			: \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}

/* By a count that is not 0 after masking; flags that the instruction leaves stay. */
#define DEFINE_SHIFT(BITS, SUFFIX, TYPE, BYTES, NAME) \
	static inline TYPE NAME##_##BYTES(struct cpu *cpu, TYPE a, uint8_t count) \
	{ \
		uint32_t flags = cpu->flags; \
		__asm__("addb $127, %%al\n\tsahf\n\t" #NAME SUFFIX \
			" %%cl, %[a]\n\tlahf\n\tseto %%al" \
			: [a] "+r"(a), "+a"(flags) \
			: "c"(count) \
			: "cc"); \
		cpu->flags = (uint16_t)flags; \
		return a; \
	}

#define DEFINE_CAS(BITS, SUFFIX, TYPE, BYTES) \
	static inline bool cas_##BYTES(void *at, TYPE *old, TYPE value) \
	{ \
		bool done; \
		TYPE was = *old; \
		__asm__ volatile("lock cmpxchg" SUFFIX " %[value], %[at]\n\tsete %[done]" \
				 : "+a"(was), [at] "+m"(*(TYPE(*)[1])at), [done] "=q"(done) \
				 : [value] "r"(value) \
				 : "cc", "memory"); \
		*old = was; \
		return done; \
	}
SIZES(DEFINE_CAS)

/* One of the sixteen conditions; `code` is constant where it matters. */
static inline bool condition(uint32_t flags, uint32_t code)
{
	bool is;
	switch (code >> 1) {
	case 0:
		is = flags & HOST_OF;
		break;
	case 1:
		is = flags & HOST_CF;
		break;
	case 2:
		is = flags & HOST_ZF;
		break;
	case 3:
		is = flags & (HOST_CF | HOST_ZF);
		break;
	case 4:
		is = flags & HOST_SF;
		break;
	case 5:
		is = flags & HOST_PF;
		break;
	case 6:
		is = (flags >> 15 ^ flags) & 1;
		break;
	default:
		is = ((flags >> 15 ^ flags) & 1) || (flags & HOST_ZF);
		break;
	}
	return is != (code & 1);
}
