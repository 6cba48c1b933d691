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
	*cold = (struct cold){ .from = from, .site = site };
	if (w->cold_count == BLOCK_SITES) {
		w->cold_count--;
		w->to.is_full = true;
	}
	return cold;
}

void block_op_cpu(struct writing *w, uint32_t how, uint8_t opcode, uint32_t reg, size_t offset)
{
	struct host_operand at = { .base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)offset };
	emit_op(&w->to, how, opcode, reg, &at);
}

/* LAHF and SETO give what cpu->flags holds. */
void block_save_flags(struct emitter *to)
{
	struct host_operand flags = {
		.base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)AT(flags)
	};
	emit_move(to, HOST_T1, HOST_RAX);
	EMIT(to, 0x9f, 0x0f, 0x90, 0xc0, 0x66); /* lahf; seto al; 16 bits: */
	emit_op(to, 0, 0x89, HOST_RAX, &flags);
	emit_move(to, HOST_RAX, HOST_T1);
}

void block_restore_flags(struct emitter *to, uint32_t temp)
{
	struct host_operand flags = {
		.base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)AT(flags)
	};
	emit_move(to, temp, HOST_RAX);
	emit_op(to, EMIT_0F, 0xb7, HOST_RAX, &flags); /* movzx */
	EMIT(to, 0x04, 0x7f, 0x9e);                   /* add al, 127: OF; sahf */
	emit_move(to, HOST_RAX, temp);
}

void block_need_flags(struct writing *w, uint32_t temp)
{
	if (w->flags_in_host)
		return;
	block_restore_flags(&w->to, temp);
	w->flags_in_host = true;
}

void block_begin_checks(struct writing *w)
{
	bool is_live = step_now(w)->live_in != 0;
	if (is_live && !w->flags_in_cpu)
		block_save_flags(&w->to);
	w->flags_in_cpu = w->flags_in_cpu || is_live;
	w->flags_in_host = !is_live;
	w->retry = w->to.at;
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
	cold->saves_flags = step_now(w)->live_in && !w->flags_in_cpu;
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
	block_address_to(w, insn, HOST_T1);
	if (insn->segment == CPU_FS || insn->segment == CPU_GS)
		block_op_cpu(w, EMIT_WIDE, 0x03, HOST_T1, AT(base) + 8 * insn->segment);
}

void block_address_to(struct writing *w, const struct insn *insn, uint32_t target)
{
	const struct step *step = step_now(w);
	struct host_operand at = { .disp = (int32_t)insn->disp };
	at.base = address_part(w, insn->base, HOST_T1);
	at.index = address_part(w, insn->index, HOST_T2);
	at.scale = insn->scale;
	if (insn->base == INSN_RIP)
		at.disp += step->offset + insn->length;
	if (insn->base == INSN_RIP && (int32_t)insn->disp > INT32_MAX - 0x2000)
		w->to.is_full = true;
	emit_op(&w->to, insn->address_bytes == 8 ? EMIT_WIDE : 0, 0x8d, target, &at);
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

void block_access(struct writing *w, uint32_t bytes, uint32_t access, bool is_aligned, bool in_one)
{
	static_assert(sizeof(struct tlb_entry) == 32 && TLB_SIZE == 1024, "the slot's mask");
	struct emitter *to = &w->to;
	uint32_t kind = tlb_of(w->mode);
	struct host_operand at = block_tag(kind, access);

	/* rorx r11d, r14d, 7; and r11d, 0x7fe0 */
	EMIT(to, 0xc4, 0x43, 0x7b, 0xf0, 0xde, 0x07, 0x41, 0x81, 0xe3, 0xe0, 0x7f, 0, 0);
	emit_op(to, EMIT_WIDE, 0x2b, HOST_T1, &at); /* sub */
	EMIT(to, 0x49, 0x81, 0xfe);                 /* cmp r14, imm32 */
	emit_32(to, (uint32_t)GUEST_PAGE - bytes);
	uint32_t site = block_site(w, SITE_MEMORY);
	w->native->sites[site].bytes = (uint8_t)bytes;
	w->native->sites[site].access = (uint8_t)access;
	w->native->sites[site].has_two = w->has_two;
	w->native->sites[site].retry = (uint32_t)(w->retry - w->native->writable);
	struct cold *cold = block_cold(w, emit_jcc(to, 7), site); /* ja */
	cold->tlb = (uint8_t)kind;
	cold->found = to->at;
	if (is_aligned) {
		EMIT(to, 0x41, 0xf6, 0xc6, (uint8_t)(bytes - 1)); /* test r14b, imm8 */
		block_callout_if(w, 5);
	}
	at = block_tag(kind, ACCESS_READ);
	at.disp += (int32_t)(offsetof(struct tlb_entry, host) - offsetof(struct tlb_entry, read));
	emit_op(to, EMIT_WIDE, in_one ? 0x03 : 0x8b, in_one ? HOST_T1 : HOST_T2, &at);
}

void block_push_slot(struct writing *w)
{
	struct host_operand at = { .base = HOST_SP, .index = HOST_NONE, .disp = -8 };
	emit_lea(&w->to, HOST_T1, &at);
	block_access(w, 8, ACCESS_WRITE, false, true);
}

static struct reach reach_of(const struct writing *w, const struct insn *insn)
{
	int64_t here = insn->base == INSN_RIP ? step_now(w)->offset + insn->length : 0;
	bool is_based = insn->segment == CPU_FS || insn->segment == CPU_GS;
	return (struct reach){ .has = insn->address_bytes == 8,
		.base = insn->base,
		.index = insn->index,
		.scale = insn->scale,
		.segment = is_based ? insn->segment : CPU_DS,
		.disp = insn->disp + here };
}

#define REACH (1 << 20) /* what is further away is never near */

static bool is_near(const struct writing *w, const struct reach *to, uint32_t access)
{
	const struct reach *from = &w->reach;
	int64_t apart = to->disp - from->disp;
	return from->has && to->has && !w->to.spoils && from->base == to->base &&
		from->index == to->index && from->scale == to->scale &&
		from->segment == to->segment && apart > -REACH && apart < REACH &&
		(from->is_write || !(access & ACCESS_WRITE));
}

void block_operand(struct writing *w, const struct insn *insn, uint32_t bytes, uint32_t access,
	bool is_aligned, bool in_one)
{
	struct emitter *to = &w->to;
	struct reach now = reach_of(w, insn);
	now.is_write = access & ACCESS_WRITE;
	if (is_aligned || !is_near(w, &now, access)) {
		block_address(w, insn);
		block_access(w, bytes, access, is_aligned, in_one);
	} else {
		struct host_operand next = { .base = HOST_T1,
			.index = HOST_NONE,
			.disp = (int32_t)(now.disp - w->reach.disp) };
		struct host_operand sum = { .base = HOST_T1, .index = HOST_T2 };
		if (next.disp)
			emit_lea(to, HOST_T1, &next);
		EMIT(to, 0x49, 0x81, 0xfe); /* cmp r14, imm32 */
		emit_32(to, (uint32_t)GUEST_PAGE - bytes);
		struct cold *cold = block_cold(w, emit_jcc(to, 7), 0);
		cold->is_again = true;
		cold->bytes = (uint8_t)bytes;
		cold->access = (uint8_t)access;
		cold->now = (uint8_t)w->now;
		cold->mode = (uint8_t)w->mode;
		cold->live = w->live;
		cold->checked = to->at;
		if (in_one)
			emit_lea(to, HOST_T1, &sum);
	}
	w->reach = now;
	w->reach.has = now.has && !in_one;
	to->spoils = false;
}

void block_again(struct writing *w, struct cold *cold)
{
	const struct cold again = *cold;
	w->now = again.now;
	w->mode = again.mode;
	w->live = again.live;
	w->retry = w->to.at;
	w->has_two = false;
	uint32_t first = w->cold_count;
	block_address(w, &step_now(w)->insn);
	block_access(w, again.bytes, again.access, false, false);
	emit_set_target(emit_jump(&w->to), again.checked);
	for (; first < w->cold_count; first++) {
		w->cold[first].back = again.back;
		w->cold[first].restores = again.restores;
	}
}

static bool is_part(const struct reach *reach, uint32_t number)
{
	return reach->base == number || reach->index == number;
}

/* A register that was written, which may be a high byte of another. */
static bool changes(
	const struct reach *reach, const struct insn *insn, uint32_t number, bool is_byte)
{
	if (is_byte && !insn->has_rex && number >= 4 && number < 8)
		number -= 4;
	return is_part(reach, number);
}

/* RAX, RCX and RDX are written without being named. */
static bool writes_unnamed(const struct step *step)
{
	const struct insn *insn = &step->insn;
	if (step->effect.class == EFFECT_PLAIN)
		return true;
	if (insn->map == MAP_ONE_BYTE)
		return (insn->opcode & 0xfe) == 0xf6 || (insn->opcode & 0xf8) == 0xd8;
	if (insn->map == MAP_0F)
		return (insn->opcode & 0xfe) == 0xb0 || insn->opcode == 0xc7;
	return insn->map == MAP_0F3A;
}

void block_keep_reach(struct writing *w)
{
	const struct step *step = step_now(w);
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	struct reach *reach = &w->reach;
	switch (effect->class) {
	case EFFECT_NOTHING:
	case EFFECT_CONDITION:
		return;
	case EFFECT_PLAIN:
	case EFFECT_MODRM:
	case EFFECT_VECTOR:
	case EFFECT_LEA:
	case EFFECT_MOVE_IMMEDIATE:
		break;
	default:
		reach->has = false;
		return;
	}
	bool is_changed =
		(effect->reg_is_written && changes(reach, insn, insn->reg, effect->reg_is_byte)) ||
		(effect->rm_is_written && !insn->is_memory &&
			changes(reach, insn, insn->rm, effect->rm_is_byte)) ||
		(effect->vvvv_is_written && is_part(reach, insn->vvvv));
	bool is_unnamed = is_part(reach, 0) || is_part(reach, 1) || is_part(reach, 2);
	if (is_changed || (is_unnamed && writes_unnamed(step)))
		reach->has = false;
}
