/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow.c - jumps, calls, returns and the ways out of a block.
 *
 * A jump within the page leads straight to its target's block. One to another page is good for one
 * generation of mappings. Every loop has a jump backwards or an indirect one; those look for attention.
 * Indirect ones find their way in a table by address, or C jumps for them (SITE_JUMP).
 */
#include "vmm/soft/flow.h"

#include "vmm/soft/group.h"
#include "vmm/soft/hold.h"
#include "vmm/soft/recipe.h"

#define LOOK_AHEAD 8

uint16_t flow_live_at(struct writing *w, int64_t offset)
{
	uint32_t live = 0, killed = 0;
	for (uint32_t i = 0; i < LOOK_AHEAD && offset >= 0 && offset < (int64_t)GUEST_PAGE; i++) {
		struct insn insn;
		block_watch(w, (uint32_t)offset);
		if (decode(w->page + offset, GUEST_PAGE - (uint64_t)offset, 8, &insn) != DECODE_OK)
			break;
		struct effect effect = effect_of(&insn);
		live |= effect.reads & ~killed;
		bool goes = effect.class == EFFECT_CONDITION || effect.class == EFFECT_OTHER ||
			effect.class == EFFECT_IF_ZERO || effect.class >= EFFECT_CALL;
		if (goes && effect.class != EFFECT_DIRECTION && effect.class != EFFECT_ACCESS)
			break;
		killed |= effect.kills;
		if (killed == EFFECT_FLAGS)
			break;
		offset += insn.length;
		if (effect.class == EFFECT_JUMP)
			offset += (int64_t)insn.imm;
	}
	return (uint16_t)(live | (EFFECT_FLAGS & ~killed));
}

/* A way out that becomes a jump; T1 is free there. */
static uint32_t link_site(struct writing *w, int64_t target)
{
	uint32_t number = block_site(w, SITE_LINK);
	struct site *site = &w->native->sites[number];
	site->target = (int32_t)target;
	site->is_far = target < 0 || target >= (int64_t)GUEST_PAGE;
	if (w->next_crosses && target == flow_next(&w->steps[w->count - 1]))
		site->is_far = true; /* the page behind may become another one */
	site->count++;
	site->access = step_now(w)->effect.class == EFFECT_JUMP ||
			step_now(w)->effect.class == EFFECT_CONDITION ||
			step_now(w)->effect.class == EFFECT_IF_ZERO ||
			step_now(w)->effect.class == EFFECT_CALL
		? ACCESS_EXECUTE
		: ACCESS_NONE;
	site->bytes = step_now(w)->effect.class == EFFECT_CALL ? 8 : 0;
	return number;
}

/* The jump if the link is of another generation of mappings, or somebody wants attention. T2 is free, too. */
static uint8_t *compare_generation(struct writing *w, struct site *site, int64_t pages)
{
	struct native *native = w->native;
	struct emitter *to = &w->to;
	bool is_user = w->mode == NATIVE_USER;
	site->is_kept = is_user && !native->is_checked;
	if (!site->is_kept) {
		/* Beside the user's there is no attention: nothing is linked in lock-step. */
		emit_op_cpu(&w->to, is_user ? 0 : EMIT_WIDE, 0x81, 7,
			is_user ? AT(user_links) : AT(kernel_links)); /* cmp */
		site->generation = (uint32_t)(to->at - native->writable);
		emit_32(to, 0);
		return emit_jcc(to, 5);
	}
	site->generation = native->far_count++;
	struct far *far = &native->fars[site->generation];
	emit_load(to, HOST_T2, AT(attention));
	EMIT(to, 0x4c, 0x3b, 0x1d, 0, 0, 0, 0); /* cmp r11, [rip + ] */
	emit_set_target(to->at - 4, (const uint8_t *)&far->calm);
	uint8_t *jump = emit_jcc(to, 5);
	*far = (struct far){ .page = KEPT_NOWHERE,
		.hot = native->executable + (to->at - native->writable),
		.pages = pages | 1 };
	return jump;
}

/* Compares and jumps on; the flags are in cpu->flags or of no interest. */
static void put_checks(struct writing *w, struct site *site, struct cold *cold)
{
	const struct native *native = w->native;
	struct emitter *to = &w->to;
	if (!site->is_far) { /* a loop */
		emit_op_cpu(&w->to, 0, 0x83, 7, AT(attention));
		EMIT(to, 0);
		site->jump = (uint32_t)(emit_jcc(to, 4) - native->writable);
		cold->from = emit_jump(to);
		return;
	}
	int64_t pages = (site->target >> 12) * (int64_t)GUEST_PAGE;
	cold->from = compare_generation(w, site, pages);
	if (pages) {
		emit_op_cpu(&w->to, EMIT_WIDE, 0x81, 0, AT(r) + 8 * R_CODE); /* add */
		emit_32(to, (uint32_t)pages);
	}
	site->jump = (uint32_t)(emit_jump(to) - native->writable);
}

static bool needs_checks(const struct site *site)
{
	return site->is_far || site->target <= (int32_t)site->offset;
}

/* Whether the flags behind `done` instructions need not be saved, as they can be had again. */
static bool is_lazy(struct writing *w, uint32_t done)
{
	if (!w->recipe.is_there && !recipe_find(w, done, &w->recipe))
		return false;
	w->recipe.stack_moved = step_now(w)->effect.class == EFFECT_CALL ? -8 : 0;
	return true;
}

void flow_link(struct writing *w, uint32_t done, int64_t target, uint16_t live)
{
	uint32_t number = link_site(w, target);
	struct site *site = &w->native->sites[number];
	site->dead = (uint16_t)((EFFECT_FLAGS & ~live) | w->undefined);
	if (needs_checks(site)) {
		if (live && !w->flags_in_cpu && !is_lazy(w, done))
			block_save_flags(&w->to);
		site->is_host = !live;
		struct cold *cold = block_cold(w, NULL, number);
		put_checks(w, site, cold);
		return;
	}
	bool is_gone = live && !w->flags_in_cpu && !w->flags_in_host;
	w->recipe.is_there = is_gone && is_lazy(w, done);
	site->is_host = w->flags_in_host || !live;
	uint8_t *jump = emit_jump(&w->to);
	site->jump = (uint32_t)(jump - w->native->writable);
	struct cold *cold = block_cold(w, jump, number);
	cold->saves_flags = live && !w->flags_in_cpu && !is_gone;
}

/* The flags are in the host's register, where Jcc needs them. */
static void link_condition(struct writing *w, uint32_t condition, int64_t target, uint16_t live)
{
	uint32_t number = link_site(w, target);
	struct site *site = &w->native->sites[number];
	site->dead = (uint16_t)((EFFECT_FLAGS & ~live) | w->undefined);
	if (site->target <= (int32_t)site->offset && !site->is_far) {
		/* A loop: most often it goes on. */
		uint8_t *ends = emit_jcc(&w->to, condition ^ 1);
		if (live && !w->flags_in_cpu)
			block_save_flags(&w->to);
		site->is_host = !live;
		put_checks(w, site, block_cold(w, NULL, number));
		emit_set_target(ends, w->to.at);
		return;
	}
	uint8_t *jump = emit_jcc(&w->to, condition);
	struct cold *cold = block_cold(w, jump, number);
	cold->saves_flags = live && !w->flags_in_cpu;
	if (needs_checks(site)) {
		cold->checks = true;
		if (cold->saves_flags && recipe_find(w, w->now, &cold->recipe))
			cold->saves_flags = false;
		site->is_host = !live;
	} else {
		site->is_host = true;
		site->jump = (uint32_t)(jump - w->native->writable);
	}
}

int64_t flow_next(const struct step *step)
{
	return (int64_t)step->offset + step->insn.length;
}

int64_t flow_target(const struct step *step)
{
	return (int64_t)step->offset + step->insn.length + (int64_t)step->insn.imm;
}

static bool condition(struct writing *w)
{
	const struct step *step = step_now(w);
	int64_t target = flow_target(step);
	hold_need(w);
	link_condition(w, step->insn.opcode & 15, target, step_now(w)->live_target);
	return true;
}

/* JRCXZ reads no flags and reaches no further than this. */
static bool if_zero(struct writing *w)
{
	EMIT(&w->to, 0xe3, 5);
	uint8_t *over = emit_jump(&w->to);
	flow_link(w, w->now, flow_target(step_now(w)), step_now(w)->live_target);
	emit_set_target(over, w->to.at);
	return true;
}

static void put_return_address(struct writing *w, const struct host_operand *slot)
{
	const struct step *step = step_now(w);
	struct host_operand next = {
		.base = HOST_T2, .index = HOST_NONE, .disp = step->offset + step->insn.length
	};
	struct host_operand below = { .base = HOST_SP, .index = HOST_NONE, .disp = -8 };
	emit_load(&w->to, HOST_T2, AT(r) + 8 * R_CODE);
	emit_lea(&w->to, HOST_T2, &next);
	emit_op(&w->to, EMIT_WIDE, 0x89, HOST_T2, slot);
	emit_lea(&w->to, HOST_SP, &below);
}

static bool call(struct writing *w)
{
	int64_t target = flow_target(step_now(w));
	if (!group_covers(w))
		hold_begin(w);
	struct host_operand slot = group_stack(w, -8, ACCESS_WRITE);
	put_return_address(w, &slot);
	flow_link(w, w->now, target, step_now(w)->live_target);
	return true;
}

static struct host_operand entry_rip(const struct writing *w, uint32_t mode)
{
	return (struct host_operand){ .base = HOST_RSP,
		.index = HOST_T2,
		.disp = (int32_t)(AT(native_jumps) + mode * sizeof(w->cpu->native_jumps[0]) +
			offsetof(struct native_jump, rip)) };
}

/*
 * With the target's address in T1: its entry's offset in T2, or C does the jump; `moved` is what it adds to RSP. If somebody wants attention
 * it is compared with that of another pair of entries, which never is for this address.
 */
static void find_entry(struct writing *w, int32_t moved)
{
	struct host_operand at = entry_rip(w, w->mode);
	emit_slot(&w->to, 32 - 4, native_jump_mask(w->mode) << 4);
	emit_op_cpu(&w->to, 0, 0x33, HOST_T2, AT(attention)); /* xor */
	emit_op(&w->to, EMIT_WIDE, 0x3b, HOST_T1, &at);
	uint32_t number = block_site(w, SITE_JUMP);
	struct site *site = &w->native->sites[number];
	site->bytes = step_now(w)->insn.length;
	site->target = moved;
	struct cold *cold = block_cold(w, emit_jcc(&w->to, 5), number);
	cold->looks_beside = true;
	cold->back = w->to.at;
	cold->mode = w->mode;
}

static void set_page(struct writing *w)
{
	emit_op_reg(&w->to, EMIT_WIDE, 0x81, 4, HOST_T1);
	emit_32(&w->to, (uint32_t)~0xfffu);
	emit_store(&w->to, AT(r) + 8 * R_CODE, HOST_T1);
}

static struct host_operand entry_code(const struct writing *w)
{
	return (struct host_operand){ .base = HOST_RSP,
		.index = HOST_T2,
		.disp = (int32_t)(AT(native_jumps) + w->mode * sizeof(w->cpu->native_jumps[0]) +
			offsetof(struct native_jump, code)) };
}

/* T1 = 0, or where the flags are made that were not saved. `moved`: what was added to RSP. */
static void tell(struct writing *w, int32_t moved)
{
	if (!w->recipe.is_there) {
		EMIT(&w->to, 0x45, 0x31, 0xf6); /* xor r14d, r14d */
		return;
	}
	w->recipe.stack_moved = moved;
	block_cold(w, emit_place(&w->to, HOST_T1), 0)->is_told = true;
}

static void jump_to_entry(struct writing *w, int32_t moved)
{
	struct host_operand at = entry_code(w);
	if (w->native->is_checked)
		emit_store(&w->to, AT(rip), HOST_T1);
	set_page(w);
	tell(w, moved);
	emit_op(&w->to, 0, 0xff, 4, &at);
}

static bool go_back(struct writing *w)
{
	static_assert(sizeof(struct native_jump) == 16, "shifted by 4");
	const struct insn *insn = &step_now(w)->insn;
	struct host_operand above = { .base = HOST_SP,
		.index = HOST_NONE,
		.disp = 8 + (insn->opcode == 0xc2 ? (int32_t)(uint16_t)insn->imm : 0) };
	hold_begin(w);
	struct host_operand slot = group_stack(w, 0, ACCESS_READ);
	emit_op(&w->to, EMIT_WIDE, 0x8b, HOST_T1, &slot);
	find_entry(w, above.disp);
	emit_lea(&w->to, HOST_SP, &above);
	jump_to_entry(w, above.disp);
	return true;
}

static void get_target(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	struct host_operand slot = { .base = HOST_T1, .index = HOST_NONE };
	if (!insn->is_memory) {
		block_get(w, HOST_T1, insn->rm);
		return;
	}
	block_address(w, insn);
	block_access(w, 8, ACCESS_READ, false, true);
	emit_op(&w->to, EMIT_WIDE, 0x8b, HOST_T1, &slot);
}

static bool jump_indirect(struct writing *w)
{
	hold_begin(w);
	get_target(w);
	find_entry(w, 0);
	jump_to_entry(w, 0);
	return true;
}

static bool call_indirect(struct writing *w)
{
	struct host_operand code = entry_code(w);
	w->has_two = step_now(w)->insn.is_memory;
	hold_begin(w);
	get_target(w);
	find_entry(w, -8);
	emit_op(&w->to, EMIT_WIDE, 0x8b, HOST_T2, &code);
	emit_store(&w->to, AT(native_code), HOST_T2);
	emit_store(&w->to, AT(native_value), HOST_T1);
	struct host_operand slot = group_stack(w, -8, ACCESS_WRITE);
	put_return_address(w, &slot);
	emit_load(&w->to, HOST_T1, AT(native_value));
	if (w->native->is_checked)
		emit_store(&w->to, AT(rip), HOST_T1);
	set_page(w);
	tell(w, -8);
	emit_op_cpu(&w->to, 0, 0xff, 4, AT(native_code));
	return true;
}

/* See crossing.h. */
static void jump_to_piece(struct writing *w, uint32_t piece)
{
	emit_store_imm_32(&w->to, AT(native_site), block_site(w, SITE_CALLOUT));
	emit_set_target(emit_jump(&w->to), w->native->writable + piece);
}

static void get_frame(struct writing *w)
{
	struct host_operand word = { .base = HOST_T1, .index = HOST_NONE };
	emit_move(&w->to, HOST_T1, HOST_SP);
	block_access(w, 40, ACCESS_READ, false, true);
	for (uint32_t i = 0; i < 5; i++) {
		word.disp = 8 * (int32_t)i;
		emit_op(&w->to, EMIT_WIDE, 0x8b, HOST_T2, &word);
		emit_store(&w->to, AT(crossing.frame) + 8 * i, HOST_T2);
	}
}

static bool cross(struct writing *w)
{
	const struct crossing_pieces *pieces = &w->native->pieces.crossing;
	const struct step *step = step_now(w);
	bool is_user = w->mode == NATIVE_USER, is_call = step->insn.opcode == 0x05;
	if (is_call != is_user)
		return false;
	hold_begin_saved(w);
	if (is_call) {
		struct host_operand next = { .base = HOST_T1,
			.index = HOST_NONE,
			.disp = step->offset + step->insn.length };
		emit_load(&w->to, HOST_T1, AT(r) + 8 * R_CODE);
		emit_lea(&w->to, HOST_T1, &next);
		jump_to_piece(w, pieces->syscall);
	} else if (step->insn.opcode == 0x07) {
		jump_to_piece(w, pieces->sysret);
	} else {
		get_frame(w);
		jump_to_piece(w, pieces->iret);
	}
	return true;
}

bool flow(struct writing *w)
{
	const struct step *step = step_now(w);
	int64_t far = flow_target(step);
	if (far > INT32_MAX || far < INT32_MIN)
		return false;
	switch (step->effect.class) {
	case EFFECT_JUMP: {
		int64_t target = flow_target(step);
		flow_link(w, w->now, target, step_now(w)->live_target);
		return true;
	}
	case EFFECT_CONDITION:
		return condition(w);
	case EFFECT_IF_ZERO:
		return if_zero(w);
	case EFFECT_CALL:
		return call(w);
	case EFFECT_RETURN:
		return go_back(w);
	case EFFECT_JUMP_INDIRECT:
		return jump_indirect(w);
	case EFFECT_CALL_INDIRECT:
		return call_indirect(w);
	case EFFECT_CROSSING:
		return cross(w);
	default:
		return false;
	}
}

static void leave_by(struct writing *w, uint32_t site)
{
	emit_store_imm_32(&w->to, AT(native_site), site);
	emit_set_target(emit_jump(&w->to), w->native->writable + w->native->pieces.leave);
}

void flow_look_beside(struct writing *w, const struct cold *cold)
{
	struct emitter *to = &w->to;
	struct host_operand tag = block_tag(cold->tlb, cold->access);
	emit_op(to, EMIT_WIDE, 0x03, HOST_T1, &tag); /* add */
	emit_op_reg(to, 0, 0x81, 6, HOST_T2);        /* xor */
	emit_32(to, TLB_BESIDE * sizeof(struct tlb_entry));
	emit_op(to, EMIT_WIDE, 0x2b, HOST_T1, &tag);  /* sub */
	emit_op_reg(to, EMIT_WIDE, 0x81, 7, HOST_T1); /* cmp */
	emit_32(to, (uint32_t)GUEST_PAGE - cold->bytes);
	emit_set_target(emit_jcc(to, 6), cold->found); /* jbe */
}

static void make_flags(struct writing *w, const struct cold *cold)
{
	if (!cold->recipe.is_there)
		return;
	recipe_write(w, &cold->recipe);
	block_save_flags(&w->to);
}

static void finish_memory(struct writing *w, struct cold *cold, struct site *site)
{
	const struct native *native = w->native;
	bool is_write = site->access & ACCESS_WRITE;
	flow_look_beside(w, cold);
	if (cold->recipe.is_there) {
		struct host_operand tag = block_tag(cold->tlb, cold->access);
		emit_op(&w->to, EMIT_WIDE, 0x03, HOST_T1, &tag); /* add */
		emit_store(&w->to, AT(native_linear), HOST_T1);
		make_flags(w, cold);
		leave_by(w, cold->site);
	} else {
		emit_store_imm_32(&w->to, AT(native_site), cold->site);
		emit_set_target(emit_jump(&w->to),
			native->writable + native->pieces.miss[cold->tlb][is_write]);
	}
	if (!cold->back)
		return;
	site->resume = (uint32_t)(w->to.at - native->writable);
	if (cold->restores)
		block_restore_flags(&w->to, HOST_T1);
	emit_set_target(emit_jump(&w->to), cold->back);
}

static uint8_t *jump_if_attention(struct writing *w)
{
	emit_op_cpu(&w->to, 0, 0x83, 7, AT(attention)); /* cmp */
	EMIT(&w->to, 0);
	return emit_jcc(&w->to, 5);
}

/* A link of the user's for another generation: it may hold in this one, too. See kept.h. */
static void ask_again(struct writing *w, const struct site *site)
{
	struct native *native = w->native;
	if (!site->is_kept)
		return;
	uint8_t *calls = jump_if_attention(w);
	emit_set_target(
		emit_place(&w->to, HOST_T2), (const uint8_t *)&native->fars[site->generation]);
	uint8_t *unknown = emit_place(&w->to, HOST_T1);
	emit_set_target(emit_jump(&w->to), native->writable + native->pieces.kept.link);
	emit_set_target(unknown, w->to.at);
	emit_set_target(calls, w->to.at);
}

static void ask_for_jump(struct writing *w, const struct cold *cold)
{
	const struct native *native = w->native;
	if (cold->mode != NATIVE_USER || native->is_checked)
		return;
	emit_set_target(emit_place(&w->to, HOST_T2), cold->back);
	emit_store(&w->to, AT(native_code), HOST_T2);
	uint8_t *unknown = emit_place(&w->to, HOST_T2);
	emit_set_target(emit_jump(&w->to), native->writable + native->pieces.kept.jump);
	emit_set_target(unknown, w->to.at);
}

void flow_finish(struct writing *w, struct cold *cold)
{
	struct native *native = w->native;
	struct site *site = &native->sites[cold->site];
	const uint8_t *start = w->to.at;
	uint8_t *calls;
	if (cold->from)
		emit_set_target(cold->from, w->to.at);
	if (site->kind == SITE_LINK && !cold->checks) {
		ask_again(w, site);
		start = w->to.at;
	}
	if (cold->is_told) {
		make_flags(w, cold);
		emit_op_cpu(&w->to, 0, 0xff, 4, AT(native_code));
		return;
	}
	if (cold->saves_flags)
		block_save_flags(&w->to);
	if (site->kind == SITE_MEMORY || site->kind == SITE_GROUP) {
		finish_memory(w, cold, site);
		return;
	}
	if (cold->looks_beside) {
		struct host_operand at = entry_rip(w, cold->mode);
		emit_store(&w->to, AT(native_linear), HOST_T1);
		calls = jump_if_attention(w);
		emit_op_reg(&w->to, 0, 0x83, 6, HOST_T2); /* xor */
		EMIT(&w->to, sizeof(struct native_jump));
		emit_op(&w->to, EMIT_WIDE, 0x3b, HOST_T1, &at);
		emit_set_target(emit_jcc(&w->to, 4), cold->back);
		ask_for_jump(w, cold);
		emit_set_target(calls, w->to.at);
	}
	if (cold->checks) {
		cold->from = NULL;
		put_checks(w, site, cold);
		emit_set_target(cold->from, w->to.at);
		ask_again(w, site);
	}
	/* An unlinked one that checks has the flags saved already. */
	const uint8_t *stub = cold->checks ? w->to.at : start;
	make_flags(w, cold);
	const uint8_t *leaves = w->to.at;
	leave_by(w, cold->site);
	if (site->kind != SITE_LINK)
		return;
	site->stub = (uint32_t)(stub - native->writable);
	emit_set_target(native->writable + site->jump, stub);
	if (!cold->recipe.is_there)
		return;
	site->maker = (uint32_t)(w->to.at - native->writable);
	make_flags(w, cold);
	uint8_t *made = emit_jump(&w->to);
	emit_set_target(made, leaves);
	site->made = (uint32_t)(made - native->writable);
}
