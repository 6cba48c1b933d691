/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pieces.c - into translated code, and out of it with the guest's registers saved.
 *
 * While translated code runs the host's RSP points to struct cpu and nothing is pushed; below it there is
 * room for the frame of a signal.
 */
#include "vmm/soft/pieces.h"

#include "vmm/soft/cpuid.h"

#define AT(field) offsetof(struct cpu, field)

static void in_cpu(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, size_t offset)
{
	struct host_operand at = { .base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)offset };
	emit_op(to, how, opcode, reg, &at);
}

static void here(struct emitter *to, uint8_t *displacement)
{
	emit_set_target(displacement, to->at);
}

/* VEX-coded, of map 0F without prefix, between a register and struct cpu. */
static void with_vex(struct emitter *to, bool is_wide, uint8_t opcode, uint32_t reg, size_t offset)
{
	uint8_t vvvv = opcode == 0x56 ? (uint8_t)((~reg & 15) << 3) : 0x78;
	EMIT(to, 0xc5, (uint8_t)((reg < 8 ? 0x80 : 0) | vvvv | is_wide << 2), opcode,
		(uint8_t)(0x84 | (reg & 7) << 3), 0x24);
	emit_32(to, (uint32_t)offset);
}

/* MOVUPS or VMOVUPS of all vector registers; opcode 10 loads, 11 stores. */
static void move_vectors(struct emitter *to, bool is_wide, uint8_t opcode)
{
	for (uint32_t n = 0; n < 16; n++) {
		size_t offset = AT(vector) + n * VECTOR_BYTES;
		if (cpuid_host_has(HOST_HAS_AVX))
			with_vex(to, is_wide, opcode, n, offset);
		else
			in_cpu(to, EMIT_0F, opcode, n, offset);
	}
}

/*
 * If the upper halves are all 0 the host has to know it, too: as long as it takes them for used, every SSE instruction
 * of the guest waits for what its target was before.
 */
static void load_vectors(struct emitter *to)
{
	if (!cpuid_host_has(HOST_HAS_AVX)) {
		move_vectors(to, false, 0x10);
		return;
	}
	for (uint32_t n = 0; n < 16; n++)
		with_vex(to, false, n == 0 ? 0x10 : 0x56, 0, AT(vector) + n * VECTOR_BYTES + 16);
	EMIT(to, 0xc4, 0xe2, 0x79, 0x17, 0xc0); /* vptest xmm0, xmm0 */
	uint8_t *is_used = emit_jcc(to, 5);
	EMIT(to, 0xc5, 0xf8, 0x77); /* vzeroupper */
	move_vectors(to, false, 0x10);
	uint8_t *done = emit_jump(to);
	here(to, is_used);
	move_vectors(to, true, 0x10);
	here(to, done);
}

static uint8_t *jump_if_lacks(struct emitter *to, uint8_t bit)
{
	in_cpu(to, 0, 0xf6, 0, AT(lacks)); /* test byte, imm8 */
	EMIT(to, bit);
	return emit_jcc(to, 5);
}

/* VMOVUPS of all 64 bytes of some. */
static void move_wide(struct emitter *to, uint32_t first, uint32_t behind, uint8_t opcode)
{
	for (uint32_t n = first; n < behind; n++) {
		EMIT(to, 0x62, (uint8_t)(0x61 | (n & 8 ? 0 : 0x80) | (n & 16 ? 0 : 0x10)), 0x7c,
			0x48, opcode, (uint8_t)(0x84 | (n & 7) << 3), 0x24);
		emit_32(to, (uint32_t)(AT(vector) + n * VECTOR_BYTES));
	}
}

/* KMOVQ; opcode 90 loads, 91 stores. */
static void move_opmasks(struct emitter *to, uint8_t opcode)
{
	for (uint32_t n = 0; n < 8; n++) {
		EMIT(to, 0xc4, 0xe1, 0xf8, opcode, (uint8_t)(0x84 | n << 3), 0x24);
		emit_32(to, (uint32_t)(AT(opmask) + 8 * n));
	}
}

/* Likewise. */
static void load_upper(struct emitter *to)
{
	for (uint32_t n = 0; n < 16; n++)
		with_vex(to, true, n == 0 ? 0x10 : 0x56, 0, AT(vector) + n * VECTOR_BYTES + 16);
	for (uint32_t n = 0; n < 16; n++)
		with_vex(to, true, 0x56, 0, AT(vector) + n * VECTOR_BYTES + 32);
	EMIT(to, 0xc4, 0xe2, 0x7d, 0x17, 0xc0); /* vptest ymm0, ymm0 */
	uint8_t *is_used = emit_jcc(to, 5);
	EMIT(to, 0xc5, 0xf8, 0x77); /* vzeroupper */
	move_vectors(to, false, 0x10);
	uint8_t *done = emit_jump(to);
	here(to, is_used);
	move_wide(to, 0, 16, 0x10);
	here(to, done);
}

/* Vectors from 16 on are not what an SSE instruction waits for. */
static void move_high(struct emitter *to, bool is_store)
{
	if (!cpuid_host_has(HOST_HAS_AVX512))
		return;
	uint8_t *none = jump_if_lacks(to, LIVE_HIGH);
	move_wide(to, 16, VECTORS, is_store ? 0x11 : 0x10);
	move_opmasks(to, is_store ? 0x91 : 0x90);
	here(to, none);
}

static void load_live(struct emitter *to)
{
	if (!cpuid_host_has(HOST_HAS_AVX512)) {
		load_vectors(to);
		return;
	}
	uint8_t *narrow = jump_if_lacks(to, LIVE_UPPER);
	load_upper(to);
	uint8_t *done = emit_jump(to);
	here(to, narrow);
	load_vectors(to);
	here(to, done);
}

static void save_live(struct emitter *to)
{
	if (!cpuid_host_has(HOST_HAS_AVX512)) {
		move_vectors(to, true, 0x11);
		return;
	}
	uint8_t *narrow = jump_if_lacks(to, LIVE_UPPER);
	move_wide(to, 0, 16, 0x11);
	uint8_t *done = emit_jump(to);
	here(to, narrow);
	move_vectors(to, true, 0x11);
	here(to, done);
}

static void write_enter(struct emitter *to)
{
	EMIT(to, 0xf3, 0x0f, 0x1e, 0xfa);                                     /* endbr64 */
	EMIT(to, 0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57); /* push */
	EMIT(to, 0x48, 0x89, 0xa7); /* mov [rdi + ], rsp */
	emit_32(to, (uint32_t)AT(native_host_rsp));
	EMIT(to, 0x48, 0x89, 0xfc); /* mov rsp, rdi */
	emit_store(to, AT(native_code), 6);
	EMIT(to, 0x85, 0xd2); /* test edx, edx */
	uint8_t *plain = emit_jcc(to, 4);
	EMIT(to, 0x83, 0xf2, 0xff); /* xor edx, -1 */
	in_cpu(to, 0, 0x88, 2, AT(lacks));
	uint8_t *no_x87 = jump_if_lacks(to, LIVE_X87);
	in_cpu(to, EMIT_0F | EMIT_WIDE, 0xae, 1, AT(fx)); /* fxrstor64 */
	in_cpu(to, EMIT_0F, 0xae, 2, AT(host_mxcsr));
	here(to, no_x87);
	uint8_t *no_vectors = jump_if_lacks(to, LIVE_SSE);
	load_live(to);
	here(to, no_vectors);
	move_high(to, false);
	uint8_t *no_fp = jump_if_lacks(to, LIVE_FP);
	in_cpu(to, EMIT_0F, 0xae, 2, AT(mxcsr)); /* ldmxcsr */
	here(to, no_fp);
	here(to, plain);
	for (uint32_t n = 0; n < 16; n++)
		if (host_register(n) != HOST_NONE)
			emit_load(to, host_register(n), AT(r) + 8 * n);
	EMIT(to, 0x45, 0x31, 0xf6);              /* xor r14d, r14d */
	in_cpu(to, 0, 0xff, 4, AT(native_code)); /* jmp [] */
}

static void write_leave(struct emitter *to)
{
	for (uint32_t n = 0; n < 16; n++)
		if (host_register(n) != HOST_NONE)
			emit_store(to, AT(r) + 8 * n, host_register(n));
	move_high(to, true);
	uint8_t *no_vectors = jump_if_lacks(to, LIVE_SSE);
	save_live(to);
	if (cpuid_host_has(HOST_HAS_AVX))
		EMIT(to, 0xc5, 0xf8, 0x77); /* vzeroupper */
	here(to, no_vectors);
	uint8_t *no_fp = jump_if_lacks(to, LIVE_FP);
	in_cpu(to, EMIT_0F, 0xae, 3, AT(mxcsr)); /* stmxcsr */
	in_cpu(to, EMIT_0F, 0xae, 2, AT(host_mxcsr));
	here(to, no_fp);
	uint8_t *no_x87 = jump_if_lacks(to, LIVE_X87);
	in_cpu(to, EMIT_0F | EMIT_WIDE, 0xae, 0, AT(fx)); /* fxsave64 */
	EMIT(to, 0xdb, 0xe3);                             /* fninit */
	here(to, no_x87);
	in_cpu(to, EMIT_0F, 0xb6, HOST_RAX, AT(lacks)); /* movzx eax */
	in_cpu(to, 0, 0x88, HOST_RAX, AT(lacked));
	in_cpu(to, 0, 0xc6, 0, AT(lacks)); /* mov byte, 0xff */
	EMIT(to, 0xff);
	emit_load(to, HOST_RSP, AT(native_host_rsp));
	EMIT(to, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3); /* pop, ret */
}

/* T1 is the linear address less the tag of the entry at T2. */
static void write_miss(struct emitter *to, const uint8_t *leave, size_t tag)
{
	struct host_operand at = { .base = HOST_RSP, .index = HOST_T2, .disp = (int32_t)tag };
	emit_op(to, EMIT_WIDE, 0x03, HOST_T1, &at); /* add */
	emit_store(to, AT(native_linear), HOST_T1);
	emit_set_target(emit_jump(to), leave);
}

void pieces_take_flags(struct emitter *to)
{
	emit_op_reg(to, EMIT_WIDE, 0x85, HOST_T1, HOST_T1); /* test */
	uint8_t *none = emit_jcc(to, 4);
	uint8_t *behind = emit_place(to, HOST_T2);
	emit_store(to, AT(native_code), HOST_T2);
	EMIT(to, 0x41, 0xff, 0xe6); /* jmp r14 */
	here(to, behind);
	EMIT(to, 0x45, 0x31, 0xf6); /* xor r14d, r14d */
	here(to, none);
}

void pieces_write(
	struct pieces *pieces, struct emitter *to, const uint8_t *base, const uint8_t *executable)
{
	uintptr_t enter = (uintptr_t)executable + (size_t)(to->at - base);
	/* By way of an integer: ISO C has no conversion from data to a function. */
	pieces->enter = (void (*)(struct cpu *, const void *, uint32_t))enter;
	write_enter(to);
	const uint8_t *leave = to->at;
	pieces->leave = (uint32_t)(leave - base);
	write_leave(to);
	pieces->arrive = (uint32_t)(to->at - base);
	pieces_take_flags(to);
	emit_store_imm_32(to, AT(native_site), 0);
	emit_set_target(emit_jump(to), leave);
	for (uint32_t kind = 0; kind < TLB_KINDS; kind++) {
		size_t entries =
			AT(tlbs) + kind * sizeof(struct tlb) + offsetof(struct tlb, entries);
		pieces->miss[kind][0] = (uint32_t)(to->at - base);
		write_miss(to, leave, entries + offsetof(struct tlb_entry, read));
		pieces->miss[kind][1] = (uint32_t)(to->at - base);
		write_miss(to, leave, entries + offsetof(struct tlb_entry, write));
	}
	kept_write(&pieces->kept, to, base);
	crossing_write(&pieces->crossing, to, base, leave, base + pieces->kept.jump);
}
