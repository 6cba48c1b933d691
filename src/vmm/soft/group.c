/* SPDX-License-Identifier: Apache-2.0 */
/*
 * group.c - which operands are near each other.
 */
#include "vmm/soft/group.h"

#include "vmm/soft/registers.h"

#define SPAN_MAX 512 /* of a group: the more, the more often it reaches over the end of a page */

static struct reference on_stack(int32_t disp, uint32_t access)
{
	return (struct reference){ .base = CPU_RSP,
		.index = INSN_NONE,
		.segment = CPU_DS,
		.bytes = 8,
		.access = (uint8_t)access,
		.disp = disp };
}

struct reference group_reference(const struct step *step)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	bool is_based = insn->segment == CPU_FS || insn->segment == CPU_GS;
	int64_t here = insn->base == INSN_RIP ? step->offset + insn->length : 0;
	return (struct reference){ .base = insn->base,
		.index = insn->index,
		.scale = insn->scale,
		.segment = is_based ? insn->segment : CPU_DS,
		.bytes = effect->memory_bytes,
		.access = effect->memory_is_written ? ACCESS_WRITE : ACCESS_READ,
		.is_aligned = effect->is_aligned,
		.disp = insn->disp + here };
}

enum part { PART_NOTHING, PART_OPERAND, PART_STRANGER };

/* What the step is for a group: one that has no operand, has one, or must be outside. */
static enum part part_of(const struct step *step, struct reference *ret)
{
	const struct insn *insn = &step->insn;
	switch (step->effect.class) {
	case EFFECT_MODRM:
	case EFFECT_VECTOR:
		if (step->effect.needs & LIVE_X87)
			return PART_STRANGER;
		if (!insn->is_memory || !insn->has_modrm)
			return PART_NOTHING;
		*ret = group_reference(step);
		return insn->address_bytes == 8 ? PART_OPERAND : PART_STRANGER;
	case EFFECT_PUSH:
	case EFFECT_PUSH_IMMEDIATE:
	case EFFECT_CALL:
		*ret = on_stack(-8, ACCESS_WRITE);
		return PART_OPERAND;
	case EFFECT_POP:
	case EFFECT_RETURN:
		*ret = on_stack(0, ACCESS_READ);
		return PART_OPERAND;
	case EFFECT_NOTHING:
	case EFFECT_PLAIN:
	case EFFECT_LEA:
	case EFFECT_MOVE_IMMEDIATE:
	case EFFECT_BYTE_SWAP:
	case EFFECT_EXCHANGE_A:
	case EFFECT_CONDITION:
		return PART_NOTHING;
	default:
		return PART_STRANGER;
	}
}

static bool is_like(const struct reference *a, const struct reference *b)
{
	return a->base == b->base && a->index == b->index && a->scale == b->scale &&
		a->segment == b->segment;
}

/* What a group has so far. */
struct span {
	int64_t low, high;
	uint32_t count, access, align, last;
	int64_t aligned_at;
};

/* False if the group would be too long with the operand. */
static bool take(struct span *span, const struct reference *to, int64_t moved)
{
	int64_t low = to->disp + moved, high = low + to->bytes;
	low = low < span->low ? low : span->low;
	high = high > span->high ? high : span->high;
	if (to->is_aligned) {
		/* One test is for all that are aligned. */
		uint32_t align = to->bytes > span->align ? to->bytes : span->align;
		int64_t apart = to->disp + moved - span->aligned_at;
		if (span->align && (span->align != to->bytes || apart % align))
			return false;
		if (!span->align)
			span->aligned_at = to->disp + moved;
		span->align = align;
	}
	if (span->align)
		low = span->aligned_at -
			(span->aligned_at - low + span->align - 1) / span->align * span->align;
	if (high - low > SPAN_MAX)
		return false;
	span->low = low;
	span->high = high;
	span->access |= to->access;
	span->count++;
	return true;
}

/* The group that begins with this operand. */
static struct span find(const struct writing *w, const struct reference *first)
{
	struct span span = { .low = first->disp, .high = first->disp, .last = w->now };
	uint8_t live = w->live;
	int64_t moved = 0, by;
	struct reference own;
	if (part_of(step_now(w), &own) != PART_OPERAND)
		return span; /* it has more operands than this */
	for (uint32_t i = w->now; i < w->count; i++) {
		const struct step *step = &w->steps[i];
		struct reference to = *first;
		enum part part = i == w->now ? PART_OPERAND : part_of(step, &to);
		if (part == PART_STRANGER || (step->effect.needs & ~live))
			break;
		struct span longer = span;
		if (part == PART_OPERAND && (!is_like(first, &to) || !take(&longer, &to, moved)))
			break;
		span = longer;
		if (part == PART_OPERAND)
			span.last = i;
		if (!registers_moved(step, first->base, &by) ||
			(first->index != INSN_NONE && registers_written(step, first->index)))
			break;
		if (by && first->index == first->base)
			break;
		moved += by;
	}
	return span;
}

/* T1 = the guest's address of the operand's registers and `disp`. */
static void put_address(
	struct writing *w, const struct insn *insn, const struct reference *to, int64_t disp)
{
	struct insn moved = *insn;
	moved.base = to->base;
	moved.index = to->index;
	moved.scale = to->scale;
	moved.segment = to->segment;
	moved.address_bytes = insn->address_bytes;
	moved.disp = disp;
	if (to->base == INSN_RIP)
		moved.disp -= step_now(w)->offset + insn->length;
	block_address(w, &moved);
}

static void begin(struct writing *w, const struct insn *insn, const struct reference *to,
	const struct span *span)
{
	put_address(w, insn, to, span->low);
	w->group = (struct group){ .is_active = true,
		.base = to->base,
		.origin = span->low,
		.last = (uint8_t)span->last };
	block_access_group(w, (uint32_t)(span->high - span->low), span->access, span->align);
	w->to.spoils = false;
}

struct host_operand group_operand(
	struct writing *w, const struct insn *insn, const struct reference *to, bool in_one)
{
	struct host_operand at = { .base = HOST_T1, .index = HOST_NONE };
	if (!w->group.is_active && !w->is_careful && insn->address_bytes == 8) {
		struct span span = find(w, to);
		if (span.count > 1)
			begin(w, insn, to, &span);
	}
	if (w->group.is_active) {
		at.disp = (int32_t)(to->disp - w->group.origin);
		return at;
	}
	put_address(w, insn, to, to->disp);
	block_access(w, to->bytes, to->access, to->is_aligned, in_one);
	at.index = in_one ? HOST_NONE : HOST_T2;
	return at;
}

struct host_operand group_stack(struct writing *w, int32_t disp, uint32_t access)
{
	struct insn insn = { .address_bytes = 8 };
	struct reference to = on_stack(disp, access);
	return group_operand(w, &insn, &to, true);
}

static void end_at(struct writing *w, uint32_t last, bool ended)
{
	struct cold *cold = &w->cold[w->group.cold];
	cold->last = (uint8_t)last;
	cold->ended = ended;
	cold->back = w->to.at;
	cold->end_in_host = w->flags_in_host;
	cold->end_in_cpu = w->flags_in_cpu;
	w->group.is_active = false;
}

void group_step(struct writing *w, bool ended)
{
	struct group *group = &w->group;
	if (!group->is_active)
		return;
	int64_t by = 0;
	if (w->now >= group->last || ended || w->to.spoils)
		end_at(w, w->now, ended);
	else if (registers_moved(step_now(w), group->base, &by))
		group->origin -= by;
}

void group_close(struct writing *w)
{
	if (w->group.is_active)
		end_at(w, w->now - 1, false);
}
