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

static enum group_part part_of(const struct step *step, struct reference *ret)
{
	const struct insn *insn = &step->insn;
	switch (step->effect.class) {
	case EFFECT_MODRM:
	case EFFECT_VECTOR:
		if (step->effect.needs & LIVE_X87)
			return GROUP_STRANGER;
		if (!insn->is_memory || !insn->has_modrm)
			return GROUP_NOTHING;
		*ret = group_reference(step);
		return insn->address_bytes == 8 ? GROUP_OPERAND : GROUP_STRANGER;
	case EFFECT_PUSH:
	case EFFECT_PUSH_IMMEDIATE:
	case EFFECT_CALL:
		*ret = on_stack(-8, ACCESS_WRITE);
		return GROUP_OPERAND;
	case EFFECT_POP:
	case EFFECT_RETURN:
		*ret = on_stack(0, ACCESS_READ);
		return GROUP_OPERAND;
	case EFFECT_NOTHING:
	case EFFECT_PLAIN:
	case EFFECT_LEA:
	case EFFECT_MOVE_IMMEDIATE:
	case EFFECT_BYTE_SWAP:
	case EFFECT_EXCHANGE_A:
	case EFFECT_CONDITION:
		return GROUP_NOTHING;
	default:
		return GROUP_STRANGER;
	}
}

void group_prepare(struct step *step)
{
	step->part = (uint8_t)part_of(step, &step->to);
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
	bool is_apart; /* operands of others are among them */
	bool is_maybe; /* it is for writing, and something before may keep that from happening */
};

/* False if the group would be too long with the operand. */
static bool take(struct span *span, const struct reference *to, int64_t moved)
{
	int64_t low = to->disp + moved, high = low + to->bytes, aligned_at = span->aligned_at;
	uint32_t align = span->align;
	if (to->is_aligned && !align) {
		align = to->bytes;
		aligned_at = low;
	}
	/* One test is for all that are aligned. */
	if (to->is_aligned && (align != to->bytes || (low - aligned_at) % align))
		return false;
	low = low < span->low ? low : span->low;
	high = high > span->high ? high : span->high;
	if (align)
		low = aligned_at - (aligned_at - low + align - 1) / align * align;
	if (high - low > SPAN_MAX || low < INT32_MIN || high > INT32_MAX)
		return false;
	span->align = align;
	span->aligned_at = aligned_at;
	span->low = low;
	span->high = high;
	span->access |= to->access;
	span->count++;
	return true;
}

/* Whether the group's address is at hand still. */
static bool is_there(const struct writing *w, uint32_t group)
{
	return group && group <= w->group_count &&
		(w->in_t1 == group || w->groups[group - 1].is_parked);
}

bool group_covers(const struct writing *w)
{
	const struct step *step = step_now(w);
	return !w->is_careful && is_there(w, step->group) &&
		w->now <= w->groups[step->group - 1].last;
}

/*
 * The group that begins with this operand, and in which steps it is. Behind a branch a write is for another one: it may
 * be to a page that is only read most often.
 */
static struct span find(struct writing *w, const struct reference *first, uint8_t number)
{
	struct span span = { .low = first->disp, .high = first->disp, .last = w->now };
	uint8_t live = w->live;
	int64_t moved = 0, by;
	bool has_others = false, has_branch = false;
	if (step_now(w)->part != GROUP_OPERAND)
		return span; /* it has more operands than this */
	for (uint32_t i = w->now; i < w->count; i++) {
		struct step *step = &w->steps[i];
		const struct reference *to = &step->to;
		if (step->part == GROUP_STRANGER || (step->effect.needs & ~live))
			break;
		bool begins_to_write = to->access & ~span.access & ACCESS_WRITE;
		bool fits = step->part == GROUP_OPERAND && is_like(first, to) &&
			!(begins_to_write && has_branch && has_others) &&
			!is_there(w, step->group) && take(&span, to, moved);
		if (fits) {
			span.is_maybe |= begins_to_write && (has_branch || has_others);
			span.last = i;
			span.is_apart |= has_others;
			step->group = number;
		}
		has_others |= step->part == GROUP_OPERAND && !fits;
		has_branch |= step->effect.class == EFFECT_CONDITION;
		if (!registers_moved(step, first->base, &by) ||
			(first->index != INSN_NONE && registers_written(step, first->index)))
			break;
		if (by && first->index == first->base)
			break;
		moved += by;
	}
	return span;
}

static size_t parked_at(uint32_t group)
{
	return AT(native_parked) + 8 * (group - 1);
}

/* What was in T1 is no more. */
static void lose_t1(struct writing *w, uint32_t last)
{
	if (w->in_t1 && !w->groups[w->in_t1 - 1].is_parked && w->groups[w->in_t1 - 1].last > last)
		w->groups[w->in_t1 - 1].last = (uint8_t)last;
	w->in_t1 = 0;
}

static void begin(struct writing *w, const struct reference *to, const struct span *span)
{
	lose_t1(w, w->now - 1);
	block_address_of(w, to, span->low, 8);
	w->groups[w->group_count++] = (struct group){ .base = to->base,
		.origin = span->low,
		.first = (uint8_t)w->now,
		.last = (uint8_t)span->last,
		.is_parked = span->is_apart };
	w->in_t1 = w->group_count;
	block_access_group(w, (uint32_t)(span->high - span->low), span->access,
		to->disp - span->low, span->align, w->is_eager || span->is_maybe);
	if (span->is_apart)
		emit_store(&w->to, parked_at(w->in_t1), HOST_T1);
	w->to.spoils = false;
}

/* T1 = the address of the group that this instruction's operand belongs to. */
static void fetch(struct writing *w, uint32_t group)
{
	if (w->in_t1 == group)
		return;
	lose_t1(w, w->now - 1);
	emit_load(&w->to, HOST_T1, parked_at(group));
	w->in_t1 = group;
	w->to.spoils = false;
}

static void begin_if_any(struct writing *w, const struct reference *to, uint32_t address_bytes)
{
	uint8_t number = (uint8_t)(w->group_count + 1);
	if (w->is_careful || address_bytes != 8 || group_covers(w) || w->group_count == GROUPS_MAX)
		return;
	struct span span = find(w, to, number);
	if (span.count > 1)
		begin(w, to, &span);
	else if (step_now(w)->group == number)
		w->steps[w->now].group = 0;
}

struct host_operand group_operand(
	struct writing *w, const struct reference *to, uint32_t address_bytes, bool in_one)
{
	struct host_operand at = { .base = HOST_T1, .index = HOST_NONE };
	begin_if_any(w, to, address_bytes);
	if (group_covers(w)) {
		uint32_t group = step_now(w)->group;
		fetch(w, group);
		at.disp = (int32_t)(to->disp - w->groups[group - 1].origin);
		return at;
	}
	block_address_of(w, to, to->disp, address_bytes);
	block_access(w, to->bytes, to->access, to->is_aligned, in_one);
	at.index = in_one ? HOST_NONE : HOST_T2;
	return at;
}

struct host_operand group_stack(struct writing *w, int32_t disp, uint32_t access)
{
	const struct reference to = on_stack(disp, access);
	return group_operand(w, &to, 8, true);
}

void group_step(struct writing *w)
{
	int64_t by;
	if (w->is_careful)
		return;
	if (w->to.spoils)
		lose_t1(w, w->now);
	for (uint32_t i = 0; step_now(w)->touched && i < w->group_count; i++) {
		struct group *group = &w->groups[i];
		if (w->now < group->last && registers_moved(step_now(w), group->base, &by))
			group->origin -= by;
	}
	w->after[w->now] = (struct after){
		.at = w->to.at, .in_host = w->flags_in_host, .in_cpu = w->flags_in_cpu
	};
}

void group_close(struct writing *w)
{
	for (uint32_t i = 0; i < w->group_count && !w->is_careful; i++)
		if (w->groups[i].last >= w->now)
			w->groups[i].last = (uint8_t)(w->now - 1);
}

uint32_t group_end(const struct writing *w, uint32_t first)
{
	uint32_t end = first, before;
	do {
		before = end;
		for (uint32_t i = 0; i < w->group_count; i++)
			if (w->groups[i].first <= end && w->groups[i].last > end)
				end = w->groups[i].last;
	} while (end != before);
	return end;
}

void group_forget(struct writing *w, uint32_t count)
{
	for (uint32_t i = 0; w->group_count > count && i < w->count; i++)
		if (w->steps[i].group > count)
			w->steps[i].group = 0;
	w->group_count = count;
	if (w->in_t1 > count)
		w->in_t1 = 0;
}
