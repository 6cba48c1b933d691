/* SPDX-License-Identifier: Apache-2.0 */
/*
 * kept.c - what is known of a user's jumps is kept while CR3 changes, and asked again page by page.
 *
 * A CR3 load forgets which pages the user's code is in. Most often the next address space has the same programs,
 * at the same addresses or others. So a link between pages remembers the physical page that it led to, and holds
 * again where the target's page is known to be the same (cpu->fetch_user); a jump by address finds by the physical one
 * where it goes on. The first jump to a page after a CR3 load leaves for C, which walks the page tables.
 */
#include "vmm/soft/kept.h"

#define AT(field) offsetof(struct cpu, field)

static struct host_operand in_table(size_t offset)
{
	return (struct host_operand){ .base = HOST_RSP, .index = HOST_T2, .disp = (int32_t)offset };
}

static struct host_operand in_far(size_t offset)
{
	return (struct host_operand){
		.base = HOST_T2, .index = HOST_NONE, .disp = (int32_t)offset
	};
}

static void in_cpu(struct emitter *to, uint32_t how, uint8_t opcode, uint32_t reg, size_t offset)
{
	struct host_operand at = { .base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)offset };
	emit_op(to, how, opcode, reg, &at);
}

static void and_t2(struct emitter *to, uint32_t mask)
{
	emit_op_reg(to, 0, 0x81, 4, HOST_T2);
	emit_32(to, mask);
}

/* T1 = the physical page of the linear one (| 1) in T1: the jump if it is not known. */
static uint8_t *find_page(struct emitter *to)
{
	static_assert(sizeof(struct fetch_entry) == 32, "rotated by 12 - 5");
	struct host_operand linear =
		in_table(AT(fetch_user) + offsetof(struct fetch_entry, linear));
	struct host_operand physical =
		in_table(AT(fetch_user) + offsetof(struct fetch_entry, physical));
	EMIT(to, 0xc4, 0x43, 0x7b, 0xf0, 0xde, 0x07); /* rorx r11d, r14d, 7 */
	and_t2(to, (FETCH_USER - 1) * sizeof(struct fetch_entry));
	emit_op(to, EMIT_WIDE, 0x3b, HOST_T1, &linear); /* cmp */
	uint8_t *unknown = emit_jcc(to, 5);
	emit_op(to, EMIT_WIDE, 0x8b, HOST_T1, &physical);
	return unknown;
}

static void write_link(struct emitter *to)
{
	struct host_operand page = in_far(offsetof(struct far, page));
	struct host_operand pages = in_far(offsetof(struct far, pages));
	struct host_operand generation = in_far(offsetof(struct far, generation));
	struct host_operand hot = in_far(offsetof(struct far, hot));
	emit_store(to, AT(native_else), HOST_T1);
	emit_store(to, AT(native_seen), HOST_T2);
	emit_op(to, EMIT_WIDE, 0x8b, HOST_T1, &pages);
	in_cpu(to, EMIT_WIDE, 0x03, HOST_T1, AT(r) + 8 * R_CODE); /* add */
	uint8_t *unknown = find_page(to);
	emit_load(to, HOST_T2, AT(native_seen));
	emit_op(to, EMIT_WIDE, 0x3b, HOST_T1, &page); /* cmp */
	uint8_t *other = emit_jcc(to, 5);
	emit_load_32(to, HOST_T1, AT(user_links));
	in_cpu(to, EMIT_WIDE, 0x03, HOST_T2, AT(native_shift)); /* add */
	emit_op(to, 0, 0x89, HOST_T1, &generation);
	emit_op(to, 0, 0xff, 4, &hot); /* jmp [] */
	emit_set_target(unknown, to->at);
	emit_set_target(other, to->at);
	in_cpu(to, 0, 0xff, 4, AT(native_else));
}

/* T2 = where the jump to the physical address in T1 is in its table, as kept_slot() says. */
static void find_slot(struct emitter *to)
{
	static_assert(sizeof(struct kept_jump) == 16, "shifted by 4");
	EMIT(to, 0xc4, 0x43, 0x7b, 0xf0, 0xde, 12); /* rorx r11d, r14d, 12 */
	emit_op_reg(to, 0, 0x33, HOST_T2, HOST_T1); /* xor */
	and_t2(to, KEPT_JUMPS - 1);
	emit_op_reg(to, 0, 0xc1, 4, HOST_T2); /* shl */
	EMIT(to, 4);
}

static void write_jump(struct emitter *to)
{
	struct host_operand at = in_table(AT(kept_jumps) + offsetof(struct kept_jump, at));
	struct host_operand code = in_table(AT(kept_jumps) + offsetof(struct kept_jump, code));
	size_t table = AT(native_jumps) + NATIVE_USER * NATIVE_JUMPS * sizeof(struct native_jump);
	struct host_operand to_rip = in_table(table + offsetof(struct native_jump, rip));
	struct host_operand to_code = in_table(table + offsetof(struct native_jump, code));
	static_assert(sizeof(struct native_jump) == 16, "shifted by 4");
	emit_store(to, AT(native_else), HOST_T2);
	emit_store(to, AT(native_linear), HOST_T1);
	emit_op_reg(to, EMIT_WIDE, 0x81, 4, HOST_T1); /* and */
	emit_32(to, (uint32_t)~0xfffu);
	emit_op_reg(to, EMIT_WIDE, 0x83, 1, HOST_T1); /* or */
	EMIT(to, 1);
	uint8_t *unknown = find_page(to);
	emit_load(to, HOST_T2, AT(native_linear));
	and_t2(to, 0xfff);
	emit_op_reg(to, EMIT_WIDE, 0x0b, HOST_T1, HOST_T2); /* or */
	find_slot(to);
	emit_op(to, EMIT_WIDE, 0x3b, HOST_T1, &at); /* cmp */
	uint8_t *absent = emit_jcc(to, 5);
	emit_op(to, EMIT_WIDE, 0x8b, HOST_T1, &code);
	emit_store(to, AT(native_seen), HOST_T1);
	emit_load(to, HOST_T1, AT(native_linear));
	emit_op_reg(to, 0, 0x8b, HOST_T2, HOST_T1);
	and_t2(to, native_jump_mask(NATIVE_USER));
	in_cpu(to, EMIT_0F | EMIT_WIDE, 0xab, HOST_T2, AT(native_used[NATIVE_USER])); /* bts */
	emit_op_reg(to, 0, 0xc1, 4, HOST_T2);                                         /* shl */
	EMIT(to, 4);
	emit_op(to, EMIT_WIDE, 0x89, HOST_T1, &to_rip);
	emit_load(to, HOST_T1, AT(native_seen));
	emit_op(to, EMIT_WIDE, 0x89, HOST_T1, &to_code);
	emit_load(to, HOST_T1, AT(native_linear));
	in_cpu(to, 0, 0xff, 4, AT(native_code)); /* jmp [] */
	emit_set_target(unknown, to->at);
	emit_set_target(absent, to->at);
	in_cpu(to, 0, 0xff, 4, AT(native_else));
}

void kept_write(struct kept_pieces *pieces, struct emitter *to, const uint8_t *base)
{
	pieces->link = (uint32_t)(to->at - base);
	write_link(to);
	pieces->jump = (uint32_t)(to->at - base);
	write_jump(to);
}

static uint32_t kept_slot(guest_addr physical)
{
	return (uint32_t)(physical ^ physical >> 12) & (KEPT_JUMPS - 1);
}

void kept_remember(struct cpu *cpu, const uint8_t *code, guest_addr physical)
{
	cpu->kept_jumps[kept_slot(physical)] = (struct kept_jump){ .at = physical, .code = code };
}

void kept_forget(struct cpu *cpu)
{
	for (uint32_t i = 0; i < KEPT_JUMPS; i++)
		cpu->kept_jumps[i] = (struct kept_jump){ .at = KEPT_NONE };
}
