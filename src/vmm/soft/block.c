/* SPDX-License-Identifier: Apache-2.0 */
/*
 * block.c - what all instructions are translated with.
 *
 * A memory operand costs: LEA, RORX and AND for the slot in the TLB, SUB of the tag, a compare that also
 * finds operands over the end of the page, and a load of the page's host address. The flags that this
 * destroys are saved before only if somebody may read them.
 */
#include "vmm/soft/block.h"

#include <string.h>

uint32_t block_site(struct writing *w, enum site_kind kind)
{
	struct native *native = w->native;
	const struct step *step = step_now(w);
	uint32_t number = native->site_count++;
	native->sites[number] = (struct site){
		.block = w->block,
		.kind = (uint8_t)kind,
		.live = w->live,
		.count = (uint8_t)w->now,
		.offset = step->offset,
		.dead = (uint16_t)((EFFECT_FLAGS & ~step->live_in) | w->undefined),
	};
	return number;
}

struct cold *block_cold(struct writing *w, uint8_t *from, uint32_t site)
{
	struct cold *cold = &w->cold[w->cold_count++];
	*cold = (struct cold){ .from = from, .site = site, .recipe = w->recipe };
	if (w->cold_count == BLOCK_SITES) {
		w->cold_count--;
		w->to.is_full = true;
	}
	return cold;
}

/* LAHF and SETO give what cpu->flags holds. */
void block_save_flags(struct emitter *to)
{
	static_assert(AT(flags) > 127 && AT(flags) < 256, "32 bits of displacement");
	/* mov r11, rax; lahf; seto al; mov [rsp + flags], ax; mov rax, r11 */
	EMIT(to, 0x4c, 0x8b, 0xd8, 0x9f, 0x0f, 0x90, 0xc0, 0x66, 0x89, 0x84, 0x24,
		(uint8_t)AT(flags), 0, 0, 0, 0x49, 0x8b, 0xc3);
}

void block_restore_flags(struct emitter *to, uint32_t temp)
{
	uint8_t rm = (uint8_t)(0xc0 | (temp & 7) << 3);
	to->spoils |= temp == HOST_T1;
	/* mov temp, rax; movzx eax, word [rsp + flags]; add al, 127: OF; sahf; mov rax, temp */
	EMIT(to, 0x4c, 0x8b, rm, 0x0f, 0xb7, 0x84, 0x24, (uint8_t)AT(flags), 0, 0, 0, 0x04, 0x7f,
		0x9e, 0x49, 0x8b, (uint8_t)(0xc0 | (temp & 7)));
}

void block_callout_if(struct writing *w, uint32_t condition)
{
	uint32_t site = block_site(w, SITE_CALLOUT);
	block_cold(w, emit_jcc(&w->to, condition), site);
}

void block_callout(struct writing *w)
{
	uint32_t site = block_site(w, SITE_CALLOUT);
	struct cold *cold = block_cold(w, emit_jump(&w->to), site);
	cold->saves_flags = step_now(w)->live_in && !w->flags_in_cpu && !w->recipe.is_there;
}

void block_get(struct writing *w, uint32_t target, uint32_t guest)
{
	uint32_t host = host_register(guest);
	if (host == HOST_NONE)
		emit_load(&w->to, target, AT(r) + 8 * guest);
	else
		emit_move(&w->to, target, host);
}

void block_set(struct writing *w, uint32_t guest, uint32_t source)
{
	uint32_t host = host_register(guest);
	if (host == HOST_NONE)
		emit_store(&w->to, AT(r) + 8 * guest, source);
	else
		emit_move(&w->to, host, source);
}

/* The host's register of a guest's that is part of an address; loads it to `temp` if need be. */
static uint8_t address_part(struct writing *w, uint32_t guest, uint32_t temp)
{
	if (guest == INSN_NONE)
		return HOST_NONE;
	if (guest == INSN_RIP) {
		emit_load(&w->to, temp, AT(r) + 8 * R_CODE);
		return (uint8_t)temp;
	}
	uint8_t host = host_register(guest);
	if (host != HOST_NONE)
		return host;
	emit_load(&w->to, temp, AT(r) + 8 * guest);
	return (uint8_t)temp;
}

void block_address(struct writing *w, const struct insn *insn)
{
	int64_t here = insn->base == INSN_RIP ? step_now(w)->offset + insn->length : 0;
	struct reference of = { .base = insn->base,
		.index = insn->index,
		.scale = insn->scale,
		.segment = insn->segment };
	block_address_of(w, &of, insn->disp + here, insn->address_bytes);
}

void block_address_of(
	struct writing *w, const struct reference *of, int64_t disp, uint32_t address_bytes)
{
	block_address_to(w, of, disp, address_bytes, HOST_T1);
	if (of->segment == CPU_FS || of->segment == CPU_GS)
		emit_op_cpu(&w->to, EMIT_WIDE, 0x03, HOST_T1, AT(base) + 8 * of->segment);
}

static bool has_no_place(uint32_t part)
{
	return part == INSN_RIP || (part != INSN_NONE && host_register(part) == HOST_NONE);
}

void block_address_to(struct writing *w, const struct reference *of, int64_t disp,
	uint32_t address_bytes, uint32_t target)
{
	struct host_operand at = { .scale = of->scale, .disp = (int32_t)disp };
	bool has_both = has_no_place(of->base) && has_no_place(of->index);
	if (of->index == INSN_NONE && !disp && of->base < INSN_NONE && address_bytes == 8) {
		block_get(w, target, of->base);
		return;
	}
	at.base = address_part(w, of->base, has_both ? HOST_T1 : HOST_T2);
	at.index = address_part(w, of->index, HOST_T2);
	if (disp != at.disp)
		w->to.is_full = true;
	emit_op(&w->to, address_bytes == 8 ? EMIT_WIDE : 0, 0x8d, target, &at);
}

static uint32_t tlb_of(uint32_t mode)
{
	static const uint8_t kinds[NATIVE_MODES] = { TLB_KERNEL, TLB_SMAP, TLB_USER, TLB_KERNEL };
	return kinds[mode];
}

struct host_operand block_tag(uint32_t kind, uint32_t access)
{
	size_t entries = AT(tlbs) + kind * sizeof(struct tlb) + offsetof(struct tlb, entries);
	return (struct host_operand){ .base = HOST_RSP,
		.index = HOST_T2,
		.disp = (int32_t)(entries +
			(access & ACCESS_WRITE ? offsetof(struct tlb_entry, write)
					       : offsetof(struct tlb_entry, read))) };
}

/* T1 = offset in the page, T2 = the slot's, if the page is there and `bytes` are in it: the jump if not. */
static uint8_t *check(struct writing *w, uint32_t bytes, uint32_t access)
{
	struct emitter *to = &w->to;
	struct host_operand tag = block_tag(tlb_of(w->mode), access);
	emit_slot(to, TLB_SHIFT, TLB_MASK);
	emit_op(to, EMIT_WIDE, 0x2b, HOST_T1, &tag); /* sub */
	EMIT(to, 0x49, 0x81, 0xfe);                  /* cmp r14, imm32 */
	emit_32(to, (uint32_t)GUEST_PAGE - bytes);
	return emit_jcc(to, 7); /* ja */
}

static void test_alignment(struct writing *w, uint32_t bytes)
{
	EMIT(&w->to, 0x41, 0xf6, 0xc6, (uint8_t)(bytes - 1)); /* test r14b, imm8 */
}

static void get_page(struct writing *w, bool in_one)
{
	struct host_operand at = block_tag(tlb_of(w->mode), ACCESS_READ);
	at.disp += (int32_t)(offsetof(struct tlb_entry, host) - offsetof(struct tlb_entry, read));
	emit_op(&w->to, EMIT_WIDE, in_one ? 0x03 : 0x8b, in_one ? HOST_T1 : HOST_T2, &at);
}

/* Whether a page fault is all that can become of the present instruction if its operand, `access`, has one. */
static bool is_sole(const struct writing *w, uint32_t access)
{
	const struct effect *effect = &step_now(w)->effect;
	if (w->has_two || effect->needs || effect->is_aligned)
		return false;
	switch (effect->class) {
	case EFFECT_MODRM:
		return access == step_now(w)->to.access;
	case EFFECT_PUSH:
	case EFFECT_PUSH_IMMEDIATE:
	case EFFECT_CALL:
		return access == ACCESS_WRITE;
	case EFFECT_POP:
	case EFFECT_RETURN:
		return access == ACCESS_READ;
	default:
		return false;
	}
}

/* Checks, and leaves to fill the TLB. `delta`: of the present instruction's own operand. */
static struct cold *check_or_leave(
	struct writing *w, uint32_t bytes, uint32_t access, int64_t delta, enum site_kind kind)
{
	uint8_t *jump = check(w, bytes, access);
	uint32_t number = block_site(w, kind);
	struct site *site = &w->native->sites[number];
	site->bytes = (uint16_t)bytes;
	site->access = (uint8_t)access;
	site->has_two = w->has_two;
	site->is_sole = is_sole(w, access);
	site->delta = (int16_t)delta;
	site->retry = (uint32_t)(w->retry - w->native->writable);
	struct cold *cold = block_cold(w, jump, number);
	cold->bytes = (uint16_t)bytes;
	cold->access = (uint8_t)access;
	cold->tlb = (uint8_t)tlb_of(w->mode);
	cold->found = w->to.at;
	return cold;
}

void block_access(struct writing *w, uint32_t bytes, uint32_t access, bool is_aligned, bool in_one)
{
	check_or_leave(w, bytes, access, 0, SITE_MEMORY);
	if (is_aligned) {
		test_alignment(w, bytes);
		block_callout_if(w, 5);
	}
	get_page(w, in_one);
}

static void check_or_repeat(struct writing *w, uint32_t bytes, uint32_t access, uint32_t align)
{
	struct cold *cold = block_cold(w, check(w, bytes, access), 0);
	cold->is_group = true;
	cold->bytes = (uint16_t)bytes;
	cold->access = (uint8_t)access;
	cold->tlb = (uint8_t)tlb_of(w->mode);
	cold->mode = (uint8_t)w->mode;
	cold->found = w->to.at;
	cold->first = (uint8_t)w->now;
	cold->live = w->live;
	cold->in_host = w->flags_in_host;
	cold->in_cpu = w->flags_in_cpu;
	cold->undefined = w->undefined;
	if (align) {
		test_alignment(w, align);
		cold->from_2 = emit_jcc(&w->to, 5);
	}
}

void block_access_group(struct writing *w, uint32_t bytes, uint32_t access, int64_t delta,
	uint32_t align, bool is_eager)
{
	if (is_eager) {
		check_or_repeat(w, bytes, access, align);
	} else {
		check_or_leave(w, bytes, access, delta, SITE_GROUP);
		if (align) {
			test_alignment(w, align);
			block_callout_if(w, 5);
		}
	}
	get_page(w, true);
}
