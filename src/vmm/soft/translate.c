/* SPDX-License-Identifier: Apache-2.0 */
/*
 * translate.c - decodes up to a jump that is always taken, finds which flags are read by whom, writes.
 */
#include "vmm/soft/translate.h"

#include <string.h>

#include "vmm/soft/cache.h"
#include "vmm/soft/flow.h"
#include "vmm/soft/generate.h"
#include "vmm/soft/group.h"
#include "vmm/soft/hold.h"
#include "vmm/soft/recipe.h"
#include "vmm/soft/registers.h"

bool translate_has_room(const struct native *native)
{
	return native->used + BLOCK_BYTES <= native->cold &&
		native->cold_used + BLOCK_BYTES <= native->bytes &&
		native->block_count + 2 < native->blocks_max &&
		native->site_count + BLOCK_SITES + 1 <= native->sites_max &&
		native->far_count + BLOCK_SITES <= native->fars_max;
}

static bool ends(const struct step *step)
{
	switch (step->effect.class) {
	case EFFECT_OTHER:
	case EFFECT_JUMP:
	case EFFECT_CALL:
	case EFFECT_RETURN:
	case EFFECT_JUMP_INDIRECT:
	case EFFECT_CALL_INDIRECT:
	case EFFECT_CROSSING:
		return true;
	default:
		return false;
	}
}

/* Operands that the writers do not take. */
static bool is_odd(const struct insn *insn)
{
	return insn->is_memory &&
		(insn->address_bytes == 2 ||
			(insn->base == INSN_RIP && insn->disp > INT32_MAX - 0x2000));
}

static void take_bytes(struct step *step, const uint8_t *from, uint32_t left)
{
	if (left >= sizeof(step->bytes))
		memcpy(step->bytes, from, sizeof(step->bytes));
	else
		memcpy(step->bytes, from, left);
}

static void decode_steps(struct writing *w, uint32_t offset)
{
	while (w->count < BLOCK_INSNS && offset < GUEST_PAGE) {
		struct step *step = &w->steps[w->count];
		uint32_t left = (uint32_t)GUEST_PAGE - offset;
		step->offset = (uint16_t)offset;
		step->group = step->keeps = 0;
		block_watch(w, offset);
		take_bytes(step, w->page + offset, left);
		int status = decode(step->bytes, left, 8, &step->insn);
		w->next_crosses = status == DECODE_SHORT && w->count > 0;
		if (w->next_crosses)
			return;
		if (status == DECODE_SHORT && w->second) {
			cache_watch(w->cpu, w->second);
			memcpy(step->bytes, w->crossing, INSN_BYTES_MAX);
			status = decode(step->bytes, INSN_BYTES_MAX, 8, &step->insn);
		}
		w->count++;
		if (status != DECODE_OK) {
			step->insn = (struct insn){};
			step->effect = (struct effect){ .class = EFFECT_OTHER };
			registers_find(step);
			group_prepare(step);
			return;
		}
		step->effect = effect_of(&step->insn);
		if (is_odd(&step->insn))
			step->effect = (struct effect){ .class = EFFECT_OTHER };
		registers_find(step);
		group_prepare(step);
		offset += step->insn.length;
		if (ends(step))
			return;
	}
}

static bool has_target(const struct step *step)
{
	return step->effect.class == EFFECT_JUMP || step->effect.class == EFFECT_CONDITION ||
		step->effect.class == EFFECT_IF_ZERO || step->effect.class == EFFECT_CALL;
}

static uint32_t next_offset(const struct step *step)
{
	return step->offset + (uint32_t)step->insn.length;
}

static void find_live(struct writing *w)
{
	struct step *last = &w->steps[w->count - 1];
	uint16_t live = EFFECT_FLAGS;
	if (!ends(last))
		live = flow_live_at(w, next_offset(last));
	for (uint32_t i = w->count; i > 0; i--) {
		struct step *step = &w->steps[i - 1];
		if (has_target(step))
			step->live_target = flow_live_at(w, flow_target(step));
		if (step->effect.class == EFFECT_CONDITION || step->effect.class == EFFECT_IF_ZERO)
			live |= step->live_target;
		else if (has_target(step))
			live = step->live_target;
		step->live_out = live;
		live = (uint16_t)((live & ~step->effect.kills) | step->effect.reads);
		if (step->effect.class == EFFECT_OTHER)
			live = EFFECT_FLAGS;
		step->live_in = live;
	}
}

/* Whether flags before the instruction will be destroyed while somebody may read them. */
static bool is_lost(const struct writing *w, uint32_t i)
{
	for (; i < w->count && w->steps[i].live_in; i++) {
		const struct step *step = &w->steps[i];
		uint32_t class = step->effect.class;
		bool is_near = has_target(step) && flow_target(step) >= 0 &&
			flow_target(step) < (int64_t)GUEST_PAGE;
		bool is_jump = class == EFFECT_JUMP || class == EFFECT_CONDITION;
		bool is_simple = class == EFFECT_NOTHING || class == EFFECT_PLAIN ||
			class == EFFECT_LEA || class == EFFECT_MOVE_IMMEDIATE ||
			class == EFFECT_BYTE_SWAP || class == EFFECT_EXCHANGE_A;
		bool has_memory =
			step->insn.is_memory && (class == EFFECT_MODRM || class == EFFECT_VECTOR);
		bool is_in_registers = !has_memory &&
			(class == EFFECT_MODRM || class == EFFECT_VECTOR) && !step->effect.needs;
		if (!is_simple && !is_in_registers && !(is_jump && is_near) &&
			class != EFFECT_CONDITION)
			return true;
	}
	return i == w->count && w->steps[i - 1].live_out && !ends(&w->steps[i - 1]) &&
		(next_offset(&w->steps[i - 1]) >= GUEST_PAGE || w->next_crosses);
}

/* Which operands are kept for flags that would be saved otherwise. */
static void find_kept(struct writing *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		struct step *step = &w->steps[i];
		step->keeps = 0;
		if (step->live_out && is_lost(w, i + 1))
			recipe_choose(w, i);
	}
}

/* How far the writing was before an instruction, which begins groups and loses T1, but leaves the others as they are. */
struct mark {
	struct emitter to;
	uint32_t sites, fars, cold, mode;
	uint32_t group_count, in_t1;
	bool in_host, in_cpu;
	uint8_t live, last_in_t1;
};

static inline void set_mark(const struct writing *w, struct mark *mark)
{
	mark->to = w->to;
	mark->sites = w->native->site_count;
	mark->fars = w->native->far_count;
	mark->cold = w->cold_count;
	mark->mode = w->mode;
	mark->in_host = w->flags_in_host;
	mark->in_cpu = w->flags_in_cpu;
	mark->live = w->live;
	mark->group_count = w->group_count;
	mark->in_t1 = w->in_t1;
	if (w->in_t1)
		mark->last_in_t1 = w->groups[w->in_t1 - 1].last;
}

static void go_back(struct writing *w, const struct mark *mark)
{
	w->to = mark->to;
	w->native->site_count = mark->sites;
	w->native->far_count = mark->fars;
	w->cold_count = mark->cold;
	w->mode = mark->mode;
	w->flags_in_host = mark->in_host;
	w->flags_in_cpu = mark->in_cpu;
	w->live = mark->live;
	group_forget(w, mark->group_count);
	w->in_t1 = mark->in_t1;
	if (w->in_t1)
		w->groups[w->in_t1 - 1].last = mark->last_in_t1;
	hold_step(w);
}

/* Where the slow way of its accesses comes back. */
static void set_resume(struct writing *w, uint32_t cold)
{
	if (step_now(w)->keeps)
		return; /* nobody else does */
	for (; cold < w->cold_count; cold++) {
		if (w->cold[cold].is_group ||
			w->native->sites[w->cold[cold].site].kind != SITE_MEMORY)
			continue;
		w->cold[cold].back = w->to.at;
		w->cold[cold].restores = w->flags_in_host && step_now(w)->live_out;
	}
}

static bool goes_elsewhere(const struct step *step)
{
	uint32_t class = step->effect.class;
	return class >= EFFECT_JUMP && class <= EFFECT_CROSSING;
}

/* Writes the present instruction; false if the block ends with it. */
static bool write_step(struct writing *w)
{
	const struct step *step = step_now(w);
	struct mark before;
	set_mark(w, &before);
	w->has_two = false;
	hold_step(w);
	if (goes_elsewhere(step)) {
		if (flow(w) && !w->to.is_full) {
			group_step(w);
			return !ends(step);
		}
		go_back(w, &before);
	} else if (step->effect.class != EFFECT_OTHER) {
		if (generate(w) && !w->to.is_full) {
			set_resume(w, before.cold);
			group_step(w);
			return true;
		}
		go_back(w, &before);
	}
	group_close(w);
	block_callout(w);
	return false;
}

static void note_undefined(struct writing *w)
{
	const struct effect *effect = &step_now(w)->effect;
	w->undefined = (uint16_t)((w->undefined & ~effect->kills) | effect->undefined);
}

/* As it was where the group's check has failed. */
static void take_up(struct writing *w, const struct cold *group)
{
	emit_set_target(group->from, w->to.at);
	w->mode = group->mode;
	flow_look_beside(w, group);
	if (group->from_2)
		emit_set_target(group->from_2, w->to.at);
	w->live = group->live;
	w->flags_in_host = group->in_host;
	w->flags_in_cpu = group->in_cpu;
	w->undefined = group->undefined;
	w->now = group->first;
}

/*
 * The instructions of a group and of those that reach into it, each with its own checks; then back to where the block goes
 * on. If they were written for one of these already it goes on there.
 */
static void write_carefully(struct writing *w, const struct cold group)
{
	bool goes_on = true;
	take_up(w, &group);
	if (group.first < w->careful_end) {
		const struct after *there = &w->careful[group.first];
		if (step_now(w)->live_in)
			hold_like(w, there->in_host, there->in_cpu);
		emit_set_target(emit_jump(&w->to), there->at);
		return;
	}
	uint32_t last = group_end(w, group.first);
	w->careful_end = last + 1;
	w->is_careful = true;
	for (; goes_on && w->now <= last; w->now++) {
		w->careful[w->now] = (struct after){
			.at = w->to.at, .in_host = w->flags_in_host, .in_cpu = w->flags_in_cpu
		};
		goes_on = write_step(w);
		note_undefined(w);
	}
	w->is_careful = false;
	if (!goes_on)
		return;
	const struct after *after = &w->after[last];
	if (w->steps[last].live_out)
		hold_like(w, after->in_host, after->in_cpu);
	emit_set_target(emit_jump(&w->to), after->at);
}

static void write_cold(struct writing *w)
{
	for (uint32_t i = 0; i < w->cold_count && !w->to.is_full; i++) {
		if (w->cold[i].is_group)
			write_carefully(w, w->cold[i]);
		else
			flow_finish(w, &w->cold[i]);
	}
}

/* Whether the flags have to be saved before the host's are of any use. */
static bool begins_with_checks(const struct writing *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		const struct step *step = &w->steps[i];
		const struct effect *effect = &step->effect;
		bool is_simple = effect->class == EFFECT_NOTHING || effect->class == EFFECT_PLAIN ||
			effect->class == EFFECT_MODRM || effect->class == EFFECT_LEA ||
			effect->class == EFFECT_MOVE_IMMEDIATE;
		bool has_memory = effect->class == EFFECT_MODRM && step->insn.is_memory;
		if (has_memory || (!is_simple && effect->class != EFFECT_CONDITION))
			return true;
		if (effect->touches || effect->reads)
			return false;
	}
	return true;
}

/* Where jumps by address arrive: if T1 says that the flags are to be made first, that is behind the block. */
static void write_told(struct writing *w, struct block *block)
{
	block->entry_told = (uint32_t)(w->to.at - w->native->writable);
	emit_op_reg(&w->to, EMIT_WIDE, 0x85, HOST_T1, HOST_T1); /* test */
	w->told = emit_jcc(&w->to, 5);
}

static void write_entry(struct writing *w, struct block *block)
{
	block->wants_flags = w->steps[0].live_in;
	if (block->wants_flags)
		write_told(w, block);
	if (block->wants_flags && begins_with_checks(w)) {
		uint8_t *over = emit_jump(&w->to);
		block->entry_host = (uint32_t)(w->to.at - w->native->writable);
		block_save_flags(&w->to);
		emit_set_target(over, w->to.at);
		block->entry = (uint32_t)(w->to.at - w->native->writable);
		w->flags_in_cpu = true;
		return;
	}
	block->entry = (uint32_t)(w->to.at - w->native->writable);
	w->flags_in_host = true;
	if (block->wants_flags)
		block_restore_flags(&w->to, HOST_T1);
	block->entry_host = (uint32_t)(w->to.at - w->native->writable);
}

static void write_all(struct writing *w, struct block *block)
{
	const struct step *last = &w->steps[w->count - 1];
	bool goes_on = true;
	write_entry(w, block);
	w->undefined = 0;
	for (w->now = 0; goes_on && w->now < w->count; w->now++) {
		goes_on = write_step(w);
		note_undefined(w);
	}
	if (goes_on) {
		group_close(w);
		w->now = w->count - 1;
		w->recipe.is_there = false;
		flow_link(w, w->count, next_offset(last), last->live_out);
	}
	block->count = (uint8_t)w->now;
	block->undefined = w->undefined;
	block->end = (uint32_t)(w->to.at - w->native->writable);
	assert(!w->to.is_full);
	w->to.at = w->native->writable + w->native->cold_used;
	w->to.end = w->to.at + BLOCK_BYTES - EMIT_MOST;
	block->cold = w->native->cold_used;
	write_cold(w);
}

static void write_stale(struct writing *w, struct block *block)
{
	w->now = 0;
	uint32_t site = block_site(w, SITE_STALE);
	if (block->wants_flags) {
		emit_set_target(w->told, w->to.at);
		pieces_take_flags(&w->to);
		emit_set_target(emit_jump(&w->to), w->native->writable + block->entry);
	} else {
		block->entry_told = block->entry;
	}
	block->stale = (uint32_t)(w->to.at - w->native->writable);
	pieces_take_flags(&w->to);
	emit_store_imm_32(&w->to, AT(native_site), site);
	emit_set_target(emit_jump(&w->to), w->native->writable + w->native->pieces.leave);
}

bool translate_crosses(guest_addr physical, const uint8_t *page)
{
	struct insn insn;
	uint32_t offset = physical & (GUEST_PAGE - 1);
	return offset > GUEST_PAGE - INSN_BYTES_MAX &&
		decode(page + offset, GUEST_PAGE - offset, 8, &insn) == DECODE_SHORT;
}

static void take_crossing(struct writing *w, uint32_t offset, const struct second_page *second)
{
	uint32_t first = (uint32_t)GUEST_PAGE - offset;
	w->second = second->physical;
	memcpy(w->crossing, w->page + offset, first);
	memcpy(w->crossing + first, second->host, INSN_BYTES_MAX - first);
}

uint32_t translate(struct cpu *cpu, guest_addr physical, const uint8_t *page, uint32_t mode,
	const struct second_page *second)
{
	struct native *native = cpu->native;
	if (!native->writing)
		native->writing = alloc(struct writing);
	struct writing *w = native->writing;
	struct block block = { .physical = physical, .mode = mode };
	w->cpu = cpu;
	w->native = native;
	w->mode = mode;
	w->page = page;
	w->physical = physical & ~(GUEST_PAGE - 1);
	w->block = native->block_count;
	w->count = w->now = w->cold_count = 0;
	w->live = 0;
	w->is_careful = false;
	w->stack_moved = 0;
	/* In lock-step every other block, so that both ways are compared. */
	w->is_eager = native->is_checked ? native->translated & 1
					 : *code_seen(native, physical, mode) == CODE_CAREFUL;
	w->group_count = w->in_t1 = w->careful_end = 0;
	w->flags_in_host = w->flags_in_cpu = false;
	w->to = (struct emitter){ .at = native->writable + native->used };
	w->to.end = w->to.at + BLOCK_BYTES - EMIT_MOST;
	w->second = 0;
	w->watched = 0;
	w->next_crosses = false;
	if (second)
		take_crossing(w, physical & (GUEST_PAGE - 1), second);
	block.second = w->second;
	decode_steps(w, physical & (GUEST_PAGE - 1));
	find_live(w);
	find_kept(w);
	write_all(w, &block);
	write_stale(w, &block);
	assert(!w->to.is_full);
	return code_add(native, &block, w->to.at);
}
