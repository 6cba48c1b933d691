/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit.h - writes host instructions into a buffer.
 *
 * The guest's registers have their place for good: most in the host's of the same number, RSP in R15, the
 * three that compilers use least in struct cpu, to which the host's RSP points. R14 and R11 are free for
 * whoever writes code.
 */
#pragma once

#include <string.h>

#include "vmm/soft/decode.h"

#define HOST_RAX 0
#define HOST_RCX 1
#define HOST_RDX 2
#define HOST_RSP 4
#define HOST_RBP 5
#define HOST_RSI 6
#define HOST_RDI 7
#define HOST_T2  11
#define HOST_T1  14
#define HOST_SP  15 /* the guest's RSP */

#define HOST_NONE 0xf4 /* its low bits are what SIB and REX say of no index */

#define EMIT_MOST 64 /* bytes that are written at once */

struct emitter {
	uint8_t *at, *end; /* EMIT_MOST bytes less than there are */
	bool is_full;      /* something was not written */
	bool spoils;       /* T1 was an operand */
};

/* A memory operand of the host. */
struct host_operand {
	uint8_t base, index, scale; /* HOST_NONE: no index */
	int32_t disp;
};

/* The host's register of a guest's, or HOST_NONE if it lives in struct cpu. */
static inline uint8_t host_register(uint32_t guest)
{
	if (guest == 4)
		return HOST_SP;
	return guest == 11 || guest >= 14 ? HOST_NONE : (uint8_t)guest;
}

static inline bool emit_has_room(struct emitter *to)
{
	if (__builtin_expect(to->at <= to->end, 1))
		return true;
	to->is_full = true;
	return false;
}

/* Inline: what is written is a constant or nearly so, and a few bytes. */
static inline __attribute__((__always_inline__)) void emit_bytes(
	struct emitter *to, const void *bytes, uint32_t count)
{
	if (!emit_has_room(to))
		return;
	memcpy(to->at, bytes, count);
	to->at += count;
}

static inline void emit_32(struct emitter *to, uint32_t value)
{
	emit_bytes(to, &value, 4);
}

#define EMIT(to, ...) \
	emit_bytes(to, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* The first `count` of an instruction's bytes, INSN_BYTES_MAX + 1. */
static inline void emit_copy(struct emitter *to, const uint8_t *bytes, uint32_t count)
{
	if (!emit_has_room(to))
		return;
	memcpy(to->at, bytes, INSN_BYTES_MAX + 1);
	to->at += count;
}

/* A REX byte if one is needed, an opcode of one byte or of 0F, ModRM and what follows it. */
#define EMIT_WIDE   0x1u /* REX.W */
#define EMIT_0F     0x2u
#define EMIT_REX    0x4u /* a byte register that needs it */
#define EMIT_NO_REX 0x8u /* one that cannot have it: the emitter is full if it is needed */
void emit_op(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg,
	const struct host_operand *rm);
void emit_op_reg(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, uint32_t rm);

/* The operand in struct cpu. */
void emit_op_cpu(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, size_t offset);

/* MOV between a register and struct cpu, 64 and 32 bits wide. */
static inline void emit_load(struct emitter *to, uint32_t reg, size_t offset)
{
	emit_op_cpu(to, EMIT_WIDE, 0x8b, reg, offset);
}

static inline void emit_store(struct emitter *to, size_t offset, uint32_t reg)
{
	emit_op_cpu(to, EMIT_WIDE, 0x89, reg, offset);
}

static inline void emit_load_32(struct emitter *to, uint32_t reg, size_t offset)
{
	emit_op_cpu(to, 0, 0x8b, reg, offset);
}

static inline void emit_store_imm_32(struct emitter *to, size_t offset, uint32_t value)
{
	emit_op_cpu(to, 0, 0xc7, 0, offset);
	emit_32(to, value);
}

static inline void emit_move(struct emitter *to, uint32_t target, uint32_t source)
{
	emit_op_reg(to, EMIT_WIDE, 0x8b, target, source);
}

/* T2 = T1 rotated right by `by`, and the mask. */
void emit_slot(struct emitter *to, uint8_t by, uint32_t mask);
static inline void emit_lea(struct emitter *to, uint32_t reg, const struct host_operand *rm)
{
	emit_op(to, EMIT_WIDE, 0x8d, reg, rm);
}

/* The displacement of what was just written, to be set later: JMP and Jcc rel32. */
static inline uint8_t *emit_jump(struct emitter *to)
{
	EMIT(to, 0xe9, 0, 0, 0, 0);
	return to->at - 4;
}

static inline uint8_t *emit_jcc(struct emitter *to, uint32_t condition)
{
	EMIT(to, 0x0f, (uint8_t)(0x80 | condition), 0, 0, 0, 0);
	return to->at - 4;
}

/* LEA of what stands at a place to be set later. */
uint8_t *emit_place(struct emitter *to, uint32_t reg);
static inline void emit_set_target(uint8_t *displacement, const uint8_t *target)
{
	int32_t value = (int32_t)(target - (displacement + 4));
	memcpy(displacement, &value, sizeof(value));
}

/* An instruction as it was decoded, with other operands. `rm` or `rm_reg` as insn->is_memory says. */
struct emit_operands {
	uint32_t reg, rm_reg, vvvv;
	struct host_operand rm;
	uint32_t how; /* EMIT_REX, EMIT_NO_REX */
};
/* The EVEX prefix and the opcode; rm_high: bits 4 and 3 of rm, or of index and base. */
void emit_evex(
	uint8_t bytes[5], const struct insn *insn, uint32_t reg, uint32_t rm_high, uint32_t vvvv);

/* What follows the operands of an instruction in its bytes. */
void emit_immediate(struct emitter *to, const struct insn *insn, const uint8_t *bytes);

void emit_insn(struct emitter *to, const struct insn *insn, const uint8_t *bytes,
	const struct emit_operands *operands);
