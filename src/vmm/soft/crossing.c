/* SPDX-License-Identifier: Apache-2.0 */
/*
 * crossing.c - between the rings within translated code: 64-bit SYSCALL and SYSRET, and IRET to ring 0 or 3.
 *
 * They are three pieces of code for each CPU. A piece checks that nothing is out of the ordinary before it
 * changes anything; otherwise it leaves, and the interpreter does the instruction. Ordinary is: nobody wants
 * attention, no single step follows, the descriptors are those of flat 64-bit code and data, and somebody has
 * jumped to the target before.
 */
#include "vmm/soft/crossing.h"

#include "vmm/soft/nmi.h"

#define CODE_64   0xa09bu /* present, code, readable, accessed; G, L */
#define DATA_32   0xc093u
#define DATA_NULL 0x4093u /* what a null selector makes of SS */

/* The same in a descriptor. */
#define FLAT_CODE UINT64_C(0x00af9b000000ffff)
#define FLAT_DATA UINT64_C(0x00cf93000000ffff)
#define FLAT_DPL  45

#define SYSRET_FLAGS UINT32_C(0x3c7fd5)
#define IRET_FLAGS   (FLAG_TF | FLAG_DF | FLAG_NT | FLAG_AC | FLAG_ID | FLAG_IOPL | FLAG_IF)

#define AT(field) offsetof(struct cpu, field)

/* The frame that IRET takes. */
enum { FRAME_RIP, FRAME_CS, FRAME_FLAGS, FRAME_RSP, FRAME_SS };

struct piece {
	struct emitter *to;
	const uint8_t *leave, *kept; /* kept: see kept.h */
};

static uint64_t segment_half(uint64_t selector, uint32_t attributes, uint32_t ring)
{
	return ((selector & 0xfffc) | ring) | (uint64_t)(attributes | ring << 5) << 16 |
		UINT64_C(0xffffffff) << 32;
}

void crossing_update(struct cpu *cpu)
{
	struct crossing *to = &cpu->crossing;
	bool has_smap = cpu->cr4 & CR4_SMAP;
	uint32_t out = (uint32_t)(cpu->star >> 48), in = (uint32_t)(cpu->star >> 32) & 0xffff;
	uint32_t mask = (uint32_t)cpu->fmask | FLAG_RF;
	bool is_ready = (cpu->efer & EFER_SCE) && is_long(cpu) && (cpu->cr0 & CR0_PE) &&
		(!has_smap || (mask & FLAG_AC));
	to->jumps = cpu->native_jumps[has_smap ? NATIVE_SMAP : NATIVE_KERNEL];
	to->tlb = &cpu->tlbs[has_smap ? TLB_SMAP : TLB_KERNEL];
	to->entry = is_ready ? &to->jumps[cpu->lstar & native_jump_mask(NATIVE_SMAP)] : NULL;
	to->in_cs = segment_half(in, CODE_64, 0);
	to->in_ss = segment_half(in + 8, DATA_32, 0);
	to->out_cs = segment_half(out + 16, CODE_64, 3);
	to->out_ss = segment_half(out + 8, DATA_32, 3);
	to->keep = ~mask | 2;
	to->keep_host = (uint16_t) ~((mask & 0xd5) << 8 | (mask >> 11 & 1));
}

static void in_cpu(const struct piece *p, uint32_t how, uint8_t opcode, uint32_t reg, size_t offset)
{
	struct host_operand at = { .base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)offset };
	emit_op(p->to, how, opcode, reg, &at);
}

static void in_cpu_16(const struct piece *p, uint8_t opcode, uint32_t reg, size_t offset)
{
	EMIT(p->to, 0x66);
	in_cpu(p, 0, opcode, reg, offset);
}

static void leave_if(const struct piece *p, uint32_t condition)
{
	emit_set_target(emit_jcc(p->to, condition), p->leave);
}

static void compare_byte(const struct piece *p, uint32_t how, size_t offset, uint8_t value)
{
	in_cpu(p, how, 0x83, 7, offset); /* cmp, imm8 */
	EMIT(p->to, value);
}

static void test_32(const struct piece *p, size_t offset, uint32_t value)
{
	in_cpu(p, 0, 0xf7, 0, offset);
	emit_32(p->to, value);
}

static void and_reg(const struct piece *p, uint32_t reg, uint32_t value)
{
	emit_op_reg(p->to, 0, 0x81, 4, reg);
	emit_32(p->to, value);
}

static void shift_reg(const struct piece *p, bool is_left, uint32_t reg, uint8_t count)
{
	emit_op_reg(p->to, 0, 0xc1, is_left ? 4 : 5, reg);
	EMIT(p->to, count);
}

static void check_ready(const struct piece *p, bool may_enable)
{
	emit_load_32(p->to, HOST_T1, AT(attention));
	if (may_enable)
		in_cpu(p, 0, 0x0b, HOST_T1, AT(irq_waits)); /* or */
	emit_op_reg(p->to, 0, 0x85, HOST_T1, HOST_T1);      /* test */
	leave_if(p, 5);
	compare_byte(p, EMIT_WIDE, AT(crossing.entry), 0);
	leave_if(p, 4);
}

/* Leaves if the program is not for translated code. */
static void check_user(const struct piece *p)
{
	emit_load_32(p->to, HOST_T1, AT(direct_waits));
	in_cpu(p, 0, 0x0b, HOST_T1, AT(checks_alignment)); /* or */
	leave_if(p, 5);
}

/* T2 = the entry of the user's table for the address in T1; or of ring 0's. */
static void look_up(const struct piece *p, bool is_user)
{
	struct host_operand table = { .base = HOST_RSP,
		.index = HOST_T2,
		.disp = (int32_t)(AT(native_jumps) +
			NATIVE_USER * sizeof(((struct cpu *)NULL)->native_jumps[0])) };
	emit_op_reg(p->to, 0, 0x8b, HOST_T2, HOST_T1);
	and_reg(p, HOST_T2, native_jump_mask(is_user ? NATIVE_USER : NATIVE_SMAP));
	shift_reg(p, true, HOST_T2, 4);
	if (is_user)
		emit_lea(p->to, HOST_T2, &table);
	else
		in_cpu(p, EMIT_WIDE, 0x03, HOST_T2, AT(crossing.jumps)); /* add */
}

/* What a CR3 load has forgotten of the user's may hold again, and is at `again` then; or it leaves. */
static void ask_kept(const struct piece *p, const uint8_t *again)
{
	emit_set_target(emit_place(p->to, HOST_T2), again);
	emit_store(p->to, AT(native_code), HOST_T2);
	emit_set_target(emit_place(p->to, HOST_T2), p->leave);
	emit_set_target(emit_jump(p->to), p->kept);
}

/*
 * If neither the entry at T2 nor the one beside is that of the address in T1, which comes next then, it leaves; or asks at
 * `again`, where the user's entry is looked up.
 */
static void take_entry(const struct piece *p, const uint8_t *again)
{
	static_assert(offsetof(struct cpu, native_jumps) % 32 == 0, "pairs of entries");
	struct host_operand rip = { .base = HOST_T2, .index = HOST_NONE };
	struct host_operand code = {
		.base = HOST_T2, .index = HOST_NONE, .disp = offsetof(struct native_jump, code)
	};
	emit_op(p->to, EMIT_WIDE, 0x3b, HOST_T1, &rip); /* cmp */
	uint8_t *found = emit_jcc(p->to, 4);
	emit_op_reg(p->to, EMIT_WIDE, 0x83, 6, HOST_T2); /* xor */
	EMIT(p->to, sizeof(struct native_jump));
	emit_op(p->to, EMIT_WIDE, 0x3b, HOST_T1, &rip);
	if (again) {
		uint8_t *beside = emit_jcc(p->to, 4);
		ask_kept(p, again);
		emit_set_target(beside, p->to->at);
	} else {
		leave_if(p, 5);
	}
	emit_set_target(found, p->to->at);
	emit_op(p->to, EMIT_WIDE, 0x8b, HOST_T2, &code);
	emit_store(p->to, AT(native_code), HOST_T2);
	emit_store(p->to, AT(rip), HOST_T1);
	emit_op_reg(p->to, EMIT_WIDE, 0x81, 4, HOST_T1); /* and */
	emit_32(p->to, (uint32_t)~0xfffu);
	emit_store(p->to, AT(r) + 8 * R_CODE, HOST_T1);
}

static void find_entry(const struct piece *p, bool is_user)
{
	const uint8_t *again = p->to->at;
	look_up(p, is_user);
	take_entry(p, is_user ? again : NULL);
}

/* The arithmetic flags from RFLAGS in memory. */
static void set_arithmetic(const struct piece *p, size_t offset)
{
	emit_load_32(p->to, HOST_T1, offset);
	emit_op_reg(p->to, 0, 0x8b, HOST_T2, HOST_T1);
	and_reg(p, HOST_T2, 0xd5);
	shift_reg(p, true, HOST_T2, 8);
	shift_reg(p, false, HOST_T1, 11);
	and_reg(p, HOST_T1, 1);
	emit_op_reg(p->to, 0, 0x0b, HOST_T1, HOST_T2); /* or */
	in_cpu_16(p, 0x89, HOST_T1, AT(flags));
}

static size_t segment_at(uint32_t segment)
{
	return AT(segments) + segment * sizeof(struct cpu_segment);
}

static void set_segment(const struct piece *p, uint32_t segment, size_t half)
{
	emit_load(p->to, HOST_T1, half);
	emit_store(p->to, segment_at(segment), HOST_T1);
	emit_op_reg(p->to, 0, 0x31, HOST_T1, HOST_T1); /* xor */
	emit_store(p->to, segment_at(segment) + offsetof(struct cpu_segment, base), HOST_T1);
}

static void enter_ring(const struct piece *p, uint8_t ring)
{
	struct host_operand user = { .base = HOST_RSP,
		.index = HOST_NONE,
		.disp = (int32_t)(AT(tlbs) + TLB_USER * sizeof(struct tlb)) };
	in_cpu(p, 0, 0xc6, 0, AT(cpl)); /* mov byte */
	EMIT(p->to, ring);
	in_cpu(p, 0, 0xff, 0, AT(generation)); /* inc */
	if (ring)
		emit_lea(p->to, HOST_T1, &user);
	else
		emit_load(p->to, HOST_T1, AT(crossing.tlb));
	emit_store(p->to, AT(tlb), HOST_T1);
	emit_op_reg(p->to, 0, 0x31, HOST_T1, HOST_T1); /* xor: the flags are saved, see recipe.h */
	in_cpu(p, 0, 0xff, 4, AT(native_code));        /* jmp [] */
}

/* T1 is the return address. */
static void write_syscall(const struct piece *p)
{
	struct emitter *to = p->to;
	emit_store(to, AT(native_value), HOST_T1);
	check_ready(p, false);
	emit_load(to, HOST_T2, AT(crossing.entry));
	emit_load(to, HOST_T1, AT(lstar));
	take_entry(p, NULL);
	emit_load(to, HOST_RCX, AT(native_value));
	in_cpu(p, EMIT_0F, 0xb7, HOST_T1, AT(flags)); /* movzx */
	emit_op_reg(to, 0, 0x8b, HOST_T2, HOST_T1);
	and_reg(p, HOST_T2, 1);
	shift_reg(p, true, HOST_T2, 11);
	shift_reg(p, false, HOST_T1, 8);
	and_reg(p, HOST_T1, 0xd5);
	emit_op_reg(to, 0, 0x0b, HOST_T1, HOST_T2);   /* or */
	in_cpu(p, 0, 0x0b, HOST_T1, AT(rflags_rest)); /* or */
	emit_store(to, AT(r) + 8 * 11, HOST_T1);
	emit_load_32(to, HOST_T1, AT(crossing.keep));
	in_cpu(p, 0, 0x21, HOST_T1, AT(rflags_rest)); /* and */
	emit_load_32(to, HOST_T1, AT(crossing.keep_host));
	in_cpu_16(p, 0x21, HOST_T1, AT(flags)); /* and */
	set_segment(p, CPU_CS, AT(crossing.in_cs));
	set_segment(p, CPU_SS, AT(crossing.in_ss));
	enter_ring(p, 0);
}

static void write_sysret(const struct piece *p)
{
	struct emitter *to = p->to;
	size_t flags = AT(r) + 8 * 11;
	check_ready(p, true);
	check_user(p);
	test_32(p, flags, FLAG_TF | FLAG_AC);
	leave_if(p, 5);
	emit_move(to, HOST_T1, HOST_RCX);
	find_entry(p, true);
	set_arithmetic(p, flags);
	emit_load_32(to, HOST_T1, flags);
	and_reg(p, HOST_T1, SYSRET_FLAGS & ~FLAGS_ARITHMETIC);
	emit_op_reg(to, 0, 0x83, 1, HOST_T1); /* or */
	EMIT(to, 2);
	in_cpu(p, 0, 0x89, HOST_T1, AT(rflags_rest));
	set_segment(p, CPU_CS, AT(crossing.out_cs));
	set_segment(p, CPU_SS, AT(crossing.out_ss));
	enter_ring(p, 3);
}

static size_t frame_at(uint32_t word)
{
	return AT(crossing.frame) + 8 * word;
}

/* Leaves unless the GDT's entry for the selector in T1 is this one; one of the two slots of the system's TLB has it. */
static void check_descriptor(const struct piece *p, uint64_t descriptor)
{
	struct emitter *to = p->to;
	static_assert(offsetof(struct tlb, entries) == 0, "crossing.tlb + the slot's offset");
	struct host_operand tag = {
		.base = HOST_T2, .index = HOST_NONE, .disp = offsetof(struct tlb_entry, read)
	};
	struct host_operand host = {
		.base = HOST_T2, .index = HOST_NONE, .disp = offsetof(struct tlb_entry, host)
	};
	struct host_operand value = { .base = HOST_T1, .index = HOST_NONE };
	emit_op_reg(to, 0, 0x8b, HOST_T2, HOST_T1);
	emit_op_reg(to, 0, 0x83, 1, HOST_T2); /* or */
	EMIT(to, 7);
	in_cpu(p, 0, 0x3b, HOST_T2, AT(gdt.limit)); /* cmp */
	leave_if(p, 7);
	EMIT(to, 0x41, 0xf6, 0xc6, 4); /* test r14b: not the LDT's */
	leave_if(p, 5);
	and_reg(p, HOST_T1, 0xfff8);
	in_cpu(p, EMIT_WIDE, 0x03, HOST_T1, AT(gdt.base)); /* add */
	emit_slot(to, TLB_SHIFT, TLB_MASK);
	in_cpu(p, EMIT_WIDE, 0x03, HOST_T2, AT(crossing.tlb)); /* add */
	emit_op(to, EMIT_WIDE, 0x2b, HOST_T1, &tag);           /* sub */
	emit_op_reg(to, EMIT_WIDE, 0x81, 7, HOST_T1);
	emit_32(to, (uint32_t)GUEST_PAGE - 8);
	uint8_t *found = emit_jcc(to, 6);
	emit_op(to, EMIT_WIDE, 0x03, HOST_T1, &tag);
	in_cpu(p, EMIT_WIDE, 0x2b, HOST_T2, AT(crossing.tlb));
	emit_op_reg(to, 0, 0x81, 6, HOST_T2); /* xor */
	emit_32(to, TLB_BESIDE * sizeof(struct tlb_entry));
	in_cpu(p, EMIT_WIDE, 0x03, HOST_T2, AT(crossing.tlb));
	emit_op(to, EMIT_WIDE, 0x2b, HOST_T1, &tag);
	emit_op_reg(to, EMIT_WIDE, 0x81, 7, HOST_T1);
	emit_32(to, (uint32_t)GUEST_PAGE - 8);
	leave_if(p, 7);
	emit_set_target(found, to->at);
	emit_op(to, EMIT_WIDE, 0x03, HOST_T1, &host);
	emit_op(to, EMIT_WIDE, 0x8b, HOST_T1, &value);
	EMIT(to, 0x49, 0xbb); /* mov r11, imm64 */
	emit_32(to, (uint32_t)descriptor);
	emit_32(to, (uint32_t)(descriptor >> 32));
	emit_op_reg(to, EMIT_WIDE, 0x3b, HOST_T1, HOST_T2);
	leave_if(p, 5);
}

/* T1 = the selector; leaves if its RPL is another one. */
static void get_selector(const struct piece *p, uint32_t word, uint8_t ring)
{
	in_cpu(p, EMIT_0F, 0xb7, HOST_T1, frame_at(word)); /* movzx */
	emit_op_reg(p->to, 0, 0x8b, HOST_T2, HOST_T1);
	and_reg(p, HOST_T2, 3);
	emit_op_reg(p->to, 0, 0x83, 7, HOST_T2); /* cmp */
	EMIT(p->to, ring);
	leave_if(p, 5);
}

static void store_16(const struct piece *p, size_t offset, uint32_t value)
{
	in_cpu_16(p, 0xc7, 0, offset);
	EMIT(p->to, (uint8_t)value, (uint8_t)(value >> 8));
}

static void set_flat(const struct piece *p, uint32_t segment, uint32_t word, uint32_t attributes)
{
	size_t at = segment_at(segment);
	in_cpu(p, EMIT_0F, 0xb7, HOST_T1, frame_at(word)); /* movzx */
	in_cpu_16(p, 0x89, HOST_T1, at);
	store_16(p, at + offsetof(struct cpu_segment, attributes), attributes);
	emit_store_imm_32(p->to, at + offsetof(struct cpu_segment, limit), UINT32_MAX);
	emit_op_reg(p->to, 0, 0x31, HOST_T1, HOST_T1); /* xor */
	emit_store(p->to, at + offsetof(struct cpu_segment, base), HOST_T1);
}

/* Data segments of an inner ring would be lost. */
static void check_data(const struct piece *p)
{
	static const uint8_t segments[4] = { CPU_ES, CPU_DS, CPU_FS, CPU_GS };
	for (int i = 0; i < 4; i++) {
		in_cpu(p, EMIT_0F, 0xb7, HOST_T1,
			segment_at(segments[i]) + offsetof(struct cpu_segment, attributes));
		and_reg(p, HOST_T1, 0xe0); /* present, DPL */
		emit_op_reg(p->to, 0, 0x81, 5, HOST_T1);
		emit_32(p->to, 0x80);
		emit_op_reg(p->to, 0, 0x83, 7, HOST_T1); /* cmp */
		EMIT(p->to, 0x60);
		leave_if(p, 2);
	}
}

static void write_iret_to(const struct piece *p, uint8_t ring)
{
	struct emitter *to = p->to;
	uint64_t level = (uint64_t)ring << FLAT_DPL;
	get_selector(p, FRAME_CS, ring);
	check_descriptor(p, FLAT_CODE | level);
	uint8_t *is_null = NULL;
	if (ring) {
		check_user(p);
		test_32(p, frame_at(FRAME_FLAGS), FLAG_AC); /* alignment may be checked there */
		leave_if(p, 5);
		check_data(p);
	} else {
		/* With AC it is another mode. */
		test_32(p, frame_at(FRAME_FLAGS), FLAG_AC);
		leave_if(p, 5);
		in_cpu_16(p, 0xf7, 0, frame_at(FRAME_SS)); /* test */
		EMIT(to, 0xff, 0xff);
		is_null = emit_jcc(to, 4);
	}
	get_selector(p, FRAME_SS, ring);
	check_descriptor(p, FLAT_DATA | level);
	if (is_null)
		emit_set_target(is_null, to->at);
	emit_load(to, HOST_T1, frame_at(FRAME_RIP));
	find_entry(p, ring != 0);
	set_arithmetic(p, frame_at(FRAME_FLAGS));
	emit_load_32(to, HOST_T1, frame_at(FRAME_FLAGS));
	and_reg(p, HOST_T1, IRET_FLAGS);
	emit_load_32(to, HOST_T2, AT(rflags_rest));
	and_reg(p, HOST_T2, ~IRET_FLAGS);
	emit_op_reg(to, 0, 0x0b, HOST_T1, HOST_T2); /* or */
	in_cpu(p, 0, 0x89, HOST_T1, AT(rflags_rest));
	emit_load(to, HOST_SP, frame_at(FRAME_RSP));
	set_flat(p, CPU_CS, FRAME_CS, CODE_64 | (uint32_t)ring << 5);
	set_flat(p, CPU_SS, FRAME_SS, DATA_32 | (uint32_t)ring << 5);
	if (is_null) {
		in_cpu_16(p, 0xf7, 0, frame_at(FRAME_SS)); /* test */
		EMIT(to, 0xff, 0xff);
		uint8_t *over = emit_jcc(to, 5);
		store_16(p, segment_at(CPU_SS) + offsetof(struct cpu_segment, attributes),
			DATA_NULL);
		emit_set_target(over, to->at);
	}
	enter_ring(p, ring);
}

/* The frame is in cpu->crossing. */
static void write_iret(const struct piece *p)
{
	check_ready(p, true);
	test_32(p, AT(rflags_rest), FLAG_NT);
	leave_if(p, 5);
	test_32(p, AT(nmi), NMI_BLOCKED);
	leave_if(p, 5);
	test_32(p, frame_at(FRAME_FLAGS), FLAG_TF);
	leave_if(p, 5);
	test_32(p, frame_at(FRAME_CS), 3);
	uint8_t *to_user = emit_jcc(p->to, 5);
	write_iret_to(p, 0);
	emit_set_target(to_user, p->to->at);
	write_iret_to(p, 3);
}

void crossing_write(struct crossing_pieces *pieces, struct emitter *to, const uint8_t *base,
	const uint8_t *leave, const uint8_t *kept)
{
	struct piece p = { .to = to, .leave = leave, .kept = kept };
	pieces->syscall = (uint32_t)(to->at - base);
	write_syscall(&p);
	pieces->sysret = (uint32_t)(to->at - base);
	write_sysret(&p);
	pieces->iret = (uint32_t)(to->at - base);
	write_iret(&p);
}
