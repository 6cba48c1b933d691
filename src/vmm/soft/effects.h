/* SPDX-License-Identifier: Apache-2.0 */
/*
 * effects.h - what an instruction of 64-bit code does with its operands and with the flags, for the
 * translator. Pure.
 */
#pragma once

#include "vmm/soft/decode.h"

enum effect_class {
	EFFECT_OTHER,   /* the interpreter's */
	EFFECT_NOTHING, /* a hint */
	EFFECT_PLAIN,   /* runs as it is: registers that have their own place, or none */
	EFFECT_MODRM,   /* operands in ModRM */
	EFFECT_VECTOR,  /* likewise, with vector registers */
	EFFECT_LEA,
	EFFECT_MOVE_IMMEDIATE, /* register in the opcode */
	EFFECT_BYTE_SWAP,
	EFFECT_EXCHANGE_A,
	EFFECT_DIVIDE,
	EFFECT_STRING,   /* MOVS, STOS, LODS */
	EFFECT_SELECTOR, /* MOV from a segment register */
	EFFECT_PUSH_FLAGS,
	EFFECT_INTERRUPTS, /* CLI, STI */
	EFFECT_SWAP_GS,
	EFFECT_BASE, /* RDFSBASE, RDGSBASE, WRFSBASE, WRGSBASE */
	EFFECT_TIME_STAMP,
	EFFECT_CONTROL, /* MOV from CR2 and CR3 */
	EFFECT_BIT_FAR, /* BT and its like, anywhere in memory */
	EFFECT_PUSH,
	EFFECT_PUSH_IMMEDIATE,
	EFFECT_PUSH_MEMORY,
	EFFECT_POP,
	EFFECT_LEAVE,
	EFFECT_JUMP,
	EFFECT_CONDITION,
	EFFECT_IF_ZERO, /* JRCXZ */
	EFFECT_CALL,
	EFFECT_RETURN,
	EFFECT_JUMP_INDIRECT,
	EFFECT_CALL_INDIRECT,
	EFFECT_CROSSING,  /* 64-bit SYSCALL, SYSRET, IRET */
	EFFECT_DIRECTION, /* CLD, STD */
	EFFECT_ACCESS,    /* STAC, CLAC */
};

/* Flags have their bits of RFLAGS. */
#define EFFECT_FLAGS 0x8d5u

struct effect {
	uint8_t class;      /* enum effect_class */
	uint16_t undefined; /* flags set to what no manual says */
	uint16_t reads, kills,
		touches; /* flags; kills: set whatever they were; a part of touches */
	bool reg_is_gpr, reg_is_written; /* ModRM.reg; not GPR: part of the opcode, or a vector */
	bool rm_is_gpr, rm_is_written;   /* as a register */
	bool reg_is_byte, rm_is_byte;    /* AH to BH without REX */
	bool vvvv_is_gpr, vvvv_is_written;
	bool memory_is_written;
	uint8_t memory_bytes;
	bool is_aligned; /* a memory operand that is not faults */
	uint8_t needs;   /* LIVE_... */
};

struct effect effect_of(const struct insn *insn);

/* The flags that a condition of Jcc reads. */
uint16_t effect_condition(uint32_t code);
