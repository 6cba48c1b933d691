/* SPDX-License-Identifier: Apache-2.0 */
/*
 * emit.h - writes host instructions into a buffer.
 *
 * The guest's registers have their place for good: most in the host's of the same number, RSP in R15, the
 * three that compilers use least in struct cpu, to which the host's RSP points. R14 and R11 are free for
 * whoever writes code.
 */
#pragma once

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

#define HOST_NONE 0xff

struct emitter {
	uint8_t *at, *end;
	bool is_full; /* something was not written */
	bool spoils;  /* T1 was an operand */
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

void emit_bytes(struct emitter *to, const void *bytes, uint32_t count);
void emit_32(struct emitter *to, uint32_t value);

#define EMIT(to, ...) \
	emit_bytes(to, (const uint8_t[]){ __VA_ARGS__ }, sizeof((uint8_t[]){ __VA_ARGS__ }))

/* A REX byte if one is needed, an opcode of one byte or of 0F, ModRM and what follows it. */
#define EMIT_WIDE   0x1u /* REX.W */
#define EMIT_0F     0x2u
#define EMIT_REX    0x4u /* a byte register that needs it */
#define EMIT_NO_REX 0x8u /* one that cannot have it: the emitter is full if it is needed */
void emit_op(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg,
	const struct host_operand *rm);
void emit_op_reg(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, uint32_t rm);

/* MOV between a register and struct cpu, 64 and 32 bits wide. */
void emit_load(struct emitter *to, uint32_t reg, size_t offset);
void emit_store(struct emitter *to, size_t offset, uint32_t reg);
void emit_load_32(struct emitter *to, uint32_t reg, size_t offset);
void emit_store_imm_32(struct emitter *to, size_t offset, uint32_t value);
void emit_move(struct emitter *to, uint32_t target, uint32_t source);
/* T2 = T1 rotated right by `by`, and the mask. */
void emit_slot(struct emitter *to, uint8_t by, uint32_t mask);
void emit_lea(struct emitter *to, uint32_t reg, const struct host_operand *rm);

/* The displacement of what was just written, to be set later: JMP and Jcc rel32. */
uint8_t *emit_jump(struct emitter *to);
uint8_t *emit_jcc(struct emitter *to, uint32_t condition);
/* LEA of what stands at a place to be set later. */
uint8_t *emit_place(struct emitter *to, uint32_t reg);
void emit_set_target(uint8_t *displacement, const uint8_t *target);

/* An instruction as it was decoded, with other operands. `rm` or `rm_reg` as insn->is_memory says. */
struct emit_operands {
	uint32_t reg, rm_reg, vvvv;
	struct host_operand rm;
	uint32_t how; /* EMIT_REX, EMIT_NO_REX */
};
/* The EVEX prefix and the opcode; rm_high: bits 4 and 3 of rm, or of index and base. */
void emit_evex(
	uint8_t bytes[5], const struct insn *insn, uint32_t reg, uint32_t rm_high, uint32_t vvvv);

void emit_insn(struct emitter *to, const struct insn *insn, const uint8_t *bytes,
	const struct emit_operands *operands);
