/* SPDX-License-Identifier: Apache-2.0 */
/*
 * generate.c - the guest's instruction with other operands.
 */
#include "vmm/soft/generate.h"

#include "vmm/soft/generate_string.h"
#include "vmm/soft/generate_system.h"
#include "vmm/soft/group.h"
#include "vmm/soft/hold.h"
#include "vmm/soft/placeless.h"
#include "vmm/soft/recipe.h"

static const struct host_operand at_t1 = { .base = HOST_T1, .index = HOST_NONE };

/* Where a general register stands for this instruction; loads it to `temp` if it has no place, unless it `is_new`. */
static uint32_t operand(struct writing *w, uint32_t guest, uint32_t temp, bool is_new)
{
	uint32_t host = host_register(guest);
	if (host != HOST_NONE)
		return host;
	if (!is_new)
		emit_load(&w->to, temp, AT(r) + 8 * guest);
	return temp;
}

static struct host_operand in_cpu(uint32_t guest)
{
	return (struct host_operand){
		.base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)(AT(r) + 8 * guest)
	};
}

static void keep(struct writing *w, uint32_t guest, uint32_t host)
{
	if (host_register(guest) == HOST_NONE)
		emit_store(&w->to, AT(r) + 8 * guest, host);
}

static bool is_high_byte(const struct insn *insn, uint32_t number)
{
	return !insn->has_rex && number >= 4 && number < 8;
}

/* A byte register that exists with a REX prefix only. */
static bool needs_rex(uint32_t host)
{
	return host >= 4 && host < 8;
}

/* What the block needs is asked for at once, so that nothing is asked in between. */
static void need_live(struct writing *w, uint8_t needs)
{
	if ((w->live & needs) == needs)
		return;
	for (uint32_t i = w->now; i < w->count && !(needs & LIVE_X87); i++)
		needs |= w->steps[i].effect.needs & ~LIVE_X87;
	emit_op_cpu(&w->to, 0, 0xf6, 0, AT(lacks)); /* test byte, imm8 */
	EMIT(&w->to, needs);
	uint32_t site = block_site(w, SITE_NEED);
	struct site *at = &w->native->sites[site];
	at->needs = needs | w->live;
	at->retry = (uint32_t)(w->retry - w->native->writable);
	block_cold(w, emit_jcc(&w->to, 5), site);
	w->live |= needs;
}

/* What is to be in the host's flags before the instruction itself. */
static void need_flags(struct writing *w)
{
	const struct step *step = step_now(w);
	bool touches = step->effect.touches || step->effect.reads;
	if (touches && step->live_in)
		hold_need(w);
}

static void flags_written(struct writing *w)
{
	if (!step_now(w)->effect.touches)
		return;
	w->flags_in_host = true;
	w->flags_in_cpu = false;
}

/* The address of the last x87 instruction, as far as it matters: of a run of them. */
static void note_x87(struct writing *w)
{
	const struct step *step = step_now(w), *next = step + 1;
	bool is_last = w->now + 1 == w->count || !(next->effect.needs & LIVE_X87);
	if (!(step->effect.needs & LIVE_X87) || !is_last)
		return;
	struct host_operand at = { .base = HOST_T1, .index = HOST_NONE, .disp = step->offset };
	emit_load(&w->to, HOST_T1, AT(r) + 8 * R_CODE);
	emit_lea(&w->to, HOST_T1, &at);
	emit_store(&w->to, AT(x87_rip), HOST_T1);
}

/* The places of the register operands. */
struct places {
	uint32_t reg, rm, vvvv;
	uint32_t how;
	bool has_t2, rm_is_in_cpu;
};

/* T2 if that is free; T1, which spoils a group, if not. */
static uint32_t take_temp(struct places *to)
{
	uint32_t temp = to->has_t2 ? HOST_T1 : HOST_T2;
	to->has_t2 = true;
	return temp;
}

static void choose_reg(struct writing *w, const struct step *step, struct places *to)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	if (!effect->reg_is_gpr) {
		to->reg = effect->class == EFFECT_VECTOR ? insn->reg : insn->modrm >> 3 & 7;
		return;
	}
	if (effect->reg_is_byte && is_high_byte(insn, insn->reg)) {
		to->reg = insn->reg;
		to->how |= EMIT_NO_REX;
		return;
	}
	uint32_t host = host_register(insn->reg);
	bool is_new = effect->class == EFFECT_MODRM && placeless_reg_is_new(insn);
	to->reg = host != HOST_NONE ? host : operand(w, insn->reg, take_temp(to), is_new);
	if (effect->reg_is_byte && needs_rex(to->reg))
		to->how |= EMIT_REX;
}

/*
 * The second operand of three. If the first, which is only written then, has no place either, it gets T1: an
 * operand at T1 is read before that.
 */
static void choose_vvvv(struct writing *w, const struct step *step, struct places *to)
{
	const struct insn *insn = &step->insn;
	to->vvvv = insn->vvvv;
	if (!step->effect.vvvv_is_gpr)
		return;
	uint32_t host = host_register(insn->vvvv);
	if (host != HOST_NONE) {
		to->vvvv = host;
		return;
	}
	if (to->has_t2)
		to->reg = HOST_T1;
	to->has_t2 = true;
	to->vvvv = operand(w, insn->vvvv, HOST_T2, false);
}

static void choose_rm(struct writing *w, const struct step *step, struct places *to)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	if (!effect->rm_is_gpr) {
		to->rm = insn->rm;
	} else if (effect->rm_is_byte && is_high_byte(insn, insn->rm)) {
		to->rm = insn->rm;
		to->how |= EMIT_NO_REX;
	} else if (placeless_rm_is_memory(step)) {
		to->rm_is_in_cpu = true;
	} else if (effect->reg_is_gpr && insn->rm == insn->reg && !(to->how & EMIT_NO_REX)) {
		to->rm = to->reg;
		if (effect->rm_is_byte && needs_rex(to->rm))
			to->how |= EMIT_REX;
	} else {
		uint32_t host = host_register(insn->rm);
		bool is_new = effect->class == EFFECT_MODRM && placeless_rm_is_new(insn);
		to->rm = host != HOST_NONE ? host : operand(w, insn->rm, take_temp(to), is_new);
		if (effect->rm_is_byte && needs_rex(to->rm))
			to->how |= EMIT_REX;
	}
}

static void store_back(struct writing *w, const struct step *step, const struct places *at)
{
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	bool reg_is_high = effect->reg_is_byte && is_high_byte(insn, insn->reg);
	bool rm_is_high = effect->rm_is_byte && is_high_byte(insn, insn->rm);
	if (effect->vvvv_is_written)
		keep(w, insn->vvvv, at->vvvv);
	if (!insn->is_memory && effect->rm_is_written && !rm_is_high && !at->rm_is_in_cpu)
		keep(w, insn->rm, at->rm);
	if (effect->reg_is_gpr && effect->reg_is_written && !reg_is_high)
		keep(w, insn->reg, at->reg);
}

static bool has_no_place(const struct step *step)
{
	const struct effect *effect = &step->effect;
	return (effect->reg_is_gpr && host_register(step->insn.reg) == HOST_NONE) ||
		(effect->vvvv_is_gpr && host_register(step->insn.vvvv) == HOST_NONE);
}

static bool on_memory(struct writing *w)
{
	const struct step *step = step_now(w);
	const struct insn *insn = &step->insn;
	const struct effect *effect = &step->effect;
	struct places at = {};
	bool takes_flags = (effect->touches || effect->reads) && step->live_in;
	bool in_one = takes_flags || has_no_place(step);
	if (!group_covers(w))
		hold_begin(w);
	if (effect->needs)
		need_live(w, effect->needs);
	const struct reference to = group_reference(step);
	struct emit_operands operands = {};
	if (effect->needs & LIVE_X87) {
		block_address(w, insn);
		emit_store(&w->to, AT(x87_rdp), HOST_T1);
		block_access(w, to.bytes, to.access, to.is_aligned, true);
		operands.rm = at_t1;
	} else {
		operands.rm = group_operand(w, &to, insn->address_bytes, in_one);
	}
	if (recipe_keep(w, &operands.rm)) {
		recipe_store(w);
		flags_written(w);
		return true;
	}
	if (takes_flags)
		hold_need(w);
	choose_reg(w, step, &at);
	choose_vvvv(w, step, &at);
	operands.reg = at.reg;
	operands.vvvv = at.vvvv;
	operands.how = at.how;
	emit_insn(&w->to, insn, step->bytes, &operands);
	store_back(w, step, &at);
	recipe_store(w);
	flags_written(w);
	note_x87(w);
	return true;
}

/* The instruction with a register of the guest's in memory. */
static void with_memory(struct writing *w, uint8_t opcode, const struct emit_operands *operands)
{
	struct insn with = step_now(w)->insn;
	with.opcode = opcode;
	with.is_memory = true;
	emit_insn(&w->to, &with, step_now(w)->bytes, operands);
}

static bool on_registers(struct writing *w)
{
	const struct step *step = step_now(w);
	const struct insn *insn = &step->insn;
	struct places at = {};
	uint8_t needs = step->effect.needs, opcode;
	if (needs && (w->live & needs) != needs) {
		hold_begin(w);
		need_live(w, needs);
	}
	need_flags(w);
	if (placeless_swaps(step, &opcode)) {
		struct emit_operands operands = { .reg = host_register(insn->rm),
			.rm = in_cpu(insn->reg) };
		with_memory(w, opcode, &operands);
	} else {
		choose_reg(w, step, &at);
		choose_vvvv(w, step, &at);
		choose_rm(w, step, &at);
		struct emit_operands operands = {
			.reg = at.reg, .rm_reg = at.rm, .vvvv = at.vvvv, .how = at.how
		};
		operands.rm = in_cpu(insn->rm);
		if (at.rm_is_in_cpu)
			with_memory(w, insn->opcode, &operands);
		else
			emit_insn(&w->to, insn, step->bytes, &operands);
		store_back(w, step, &at);
	}
	recipe_store(w);
	flags_written(w);
	note_x87(w);
	return true;
}

static bool plain(struct writing *w)
{
	const struct step *step = step_now(w);
	need_flags(w);
	emit_copy(&w->to, step->bytes, step->insn.length);
	recipe_store(w);
	flags_written(w);
	return true;
}

static bool zero_upper(struct writing *w)
{
	const struct step *step = step_now(w);
	uint8_t needs = step->effect.needs;
	if ((w->live & needs) != needs) {
		hold_begin(w);
		need_live(w, needs);
	}
	emit_copy(&w->to, step->bytes, step->insn.length);
	return true;
}

static bool load_address(struct writing *w)
{
	const struct step *step = step_now(w);
	const struct insn *insn = &step->insn;
	if (insn->operand_bytes == 2)
		return false;
	/* For a result of 32 bits the same low half. */
	uint32_t host = host_register(insn->reg),
		 bytes = insn->operand_bytes == 4 ? 4 : insn->address_bytes;
	struct reference of = group_reference(step);
	block_address_to(w, &of, of.disp, bytes, host == HOST_NONE ? HOST_T2 : host);
	keep(w, insn->reg, HOST_T2);
	return true;
}

static bool move_immediate(struct writing *w)
{
	const struct step *step = step_now(w);
	const struct insn *insn = &step->insn;
	bool is_byte = insn->opcode < 0xb8;
	uint32_t how = insn->w && !is_byte ? EMIT_WIDE : 0, host = insn->rm;
	if (!is_byte || !is_high_byte(insn, insn->rm))
		host = operand(w, insn->rm, HOST_T2, insn->operand_bytes >= 4 && !is_byte);
	if (is_byte && host == insn->rm && is_high_byte(insn, insn->rm) == 0 && needs_rex(host))
		how |= EMIT_REX;
	if (!is_byte && insn->operand_bytes == 2)
		EMIT(&w->to, 0x66);
	uint8_t rex = (uint8_t)(0x40 | (how & EMIT_WIDE ? 8 : 0) | (host >> 3 & 1));
	if (rex != 0x40 || (how & EMIT_REX))
		EMIT(&w->to, rex);
	EMIT(&w->to, (uint8_t)((insn->opcode & 0xf8) | (host & 7)));
	emit_immediate(&w->to, insn, step->bytes);
	if (!is_byte || !is_high_byte(insn, insn->rm))
		keep(w, insn->rm, host);
	return true;
}

static bool byte_swap(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	uint32_t host = operand(w, insn->rm, HOST_T2, false);
	uint8_t rex = (uint8_t)(0x40 | insn->w << 3 | (host >> 3 & 1));
	if (rex != 0x40)
		EMIT(&w->to, rex);
	EMIT(&w->to, 0x0f, (uint8_t)(0xc8 | (host & 7)));
	keep(w, insn->rm, host);
	return true;
}

static bool exchange_a(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	uint32_t host = operand(w, insn->rm, HOST_T2, false);
	if (insn->operand_bytes == 2)
		EMIT(&w->to, 0x66);
	emit_op_reg(&w->to, insn->w ? EMIT_WIDE : 0, 0x87, HOST_RAX, host);
	keep(w, insn->rm, host);
	return true;
}

/* The next instruction is another PUSH or POP that was checked together with this one: nobody sees RSP in between. */
static bool stays_on_stack(const struct writing *w)
{
	const struct step *step = step_now(w), *next = step + 1;
	if (w->now + 1 >= w->count)
		return false;
	uint32_t class = next->effect.class;
	return group_covers(w) && next->group == step->group &&
		w->now < w->groups[step->group - 1].last && next->insn.rm != CPU_RSP &&
		(class == EFFECT_PUSH || class == EFFECT_PUSH_IMMEDIATE || class == EFFECT_POP);
}

/* LEA of the guest's stack pointer, once for several. */
static void move_stack(struct writing *w, int32_t by)
{
	struct host_operand at = { .base = HOST_SP, .index = HOST_NONE };
	w->stack_moved += by;
	if (stays_on_stack(w))
		return;
	at.disp = w->stack_moved;
	w->stack_moved = 0;
	if (at.disp)
		emit_lea(&w->to, HOST_SP, &at);
}

static bool push(struct writing *w)
{
	const struct step *step = step_now(w);
	if (!group_covers(w))
		hold_begin(w);
	struct host_operand slot = group_stack(w, -8, ACCESS_WRITE);
	if (step->effect.class == EFFECT_PUSH_IMMEDIATE) {
		emit_op(&w->to, EMIT_WIDE, 0xc7, 0, &slot);
		emit_32(&w->to, (uint32_t)step->insn.imm);
	} else {
		emit_op(&w->to, EMIT_WIDE, 0x89, operand(w, step->insn.rm, HOST_T2, false), &slot);
	}
	move_stack(w, -8);
	return true;
}

static bool push_memory(struct writing *w)
{
	const struct step *step = step_now(w);
	hold_begin(w);
	if (step->insn.is_memory) {
		w->has_two = true;
		block_address(w, &step->insn);
		block_access(w, 8, ACCESS_READ, false, true);
		emit_op(&w->to, EMIT_WIDE, 0x8b, HOST_T2, &at_t1);
	} else {
		block_get(w, HOST_T2, step->insn.rm);
	}
	emit_store(&w->to, AT(native_value), HOST_T2);
	struct host_operand slot = group_stack(w, -8, ACCESS_WRITE);
	emit_load(&w->to, HOST_T2, AT(native_value));
	emit_op(&w->to, EMIT_WIDE, 0x89, HOST_T2, &slot);
	move_stack(w, -8);
	return true;
}

static bool pop(struct writing *w)
{
	const struct insn *insn = &step_now(w)->insn;
	if (!group_covers(w))
		hold_begin(w);
	struct host_operand slot = group_stack(w, 0, ACCESS_READ);
	uint32_t host = host_register(insn->rm);
	emit_op(&w->to, EMIT_WIDE, 0x8b, host == HOST_NONE ? HOST_T2 : host, &slot);
	keep(w, insn->rm, HOST_T2);
	if (host != HOST_SP)
		move_stack(w, 8);
	return true;
}

static bool leave(struct writing *w)
{
	struct host_operand above = { .base = HOST_RBP, .index = HOST_NONE, .disp = 8 };
	hold_begin(w);
	emit_move(&w->to, HOST_T1, HOST_RBP);
	block_access(w, 8, ACCESS_READ, false, true);
	emit_op(&w->to, EMIT_WIDE, 0x8b, HOST_T1, &at_t1);
	emit_lea(&w->to, HOST_SP, &above);
	emit_move(&w->to, HOST_RBP, HOST_T1);
	return true;
}

/* What would raise #DE, and for IDIV more than that, is the interpreter's. */
static bool divide(struct writing *w)
{
	const struct step *step = step_now(w);
	const struct insn *insn = &step->insn;
	uint32_t bytes = insn->operand_bytes, wide = bytes == 8 ? EMIT_WIDE : 0;
	bool is_signed = insn->modrm & 8;
	if (bytes < 4)
		return false;
	hold_begin(w);
	if (insn->is_memory) {
		block_address(w, insn);
		block_access(w, bytes, ACCESS_READ, false, true);
		emit_op(&w->to, wide, 0x8b, HOST_T1, &at_t1);
	} else {
		block_get(w, HOST_T1, insn->rm);
	}
	if (is_signed) {
		struct host_operand more = { .base = HOST_T1, .index = HOST_NONE, .disp = 1 };
		emit_op_reg(&w->to, wide, 0x8b, HOST_T2, HOST_RAX);
		emit_op_reg(&w->to, wide, 0xc1, 7, HOST_T2); /* sar */
		EMIT(&w->to, (uint8_t)(8 * bytes - 1));
		emit_op_reg(&w->to, wide, 0x3b, HOST_T2, HOST_RDX); /* cmp */
		block_callout_if(w, 5);
		emit_op(&w->to, wide, 0x8d, HOST_T2, &more);
		emit_op_reg(&w->to, wide, 0x83, 7, HOST_T2); /* cmp, 1 */
		EMIT(&w->to, 1);
		block_callout_if(w, 6);
	} else {
		emit_op_reg(&w->to, wide, 0x3b, HOST_RDX, HOST_T1);
		block_callout_if(w, 3);
	}
	emit_op_reg(&w->to, wide, 0xf7, insn->modrm >> 3 & 7, HOST_T1);
	return true;
}

/* The address depends on the bit's number, whose low part stays for the instruction itself. */
static bool bit_far(struct writing *w)
{
	const struct step *step = step_now(w);
	const struct insn *insn = &step->insn;
	bool is_wide = insn->operand_bytes == 8;
	uint32_t wide = is_wide ? EMIT_WIDE : 0;
	struct host_operand at = { .base = HOST_T1, .index = HOST_T2, .scale = is_wide ? 3 : 2 };
	hold_begin(w);
	block_address(w, insn);
	block_get(w, HOST_T2, insn->reg);
	emit_op_reg(&w->to, wide, 0x83, 4, HOST_T2); /* and */
	EMIT(&w->to, is_wide ? 63 : 31);
	emit_store(&w->to, AT(native_value), HOST_T2);
	block_get(w, HOST_T2, insn->reg);
	if (!is_wide)
		emit_op_reg(&w->to, EMIT_WIDE, 0x63, HOST_T2, HOST_T2); /* movsxd */
	emit_op_reg(&w->to, EMIT_WIDE, 0xc1, 7, HOST_T2);               /* sar */
	EMIT(&w->to, is_wide ? 6 : 5);
	emit_lea(&w->to, HOST_T1, &at);
	block_access(w, insn->operand_bytes,
		step->effect.memory_is_written ? ACCESS_WRITE : ACCESS_READ, false, true);
	if (step->live_in)
		hold_need(w);
	emit_load(&w->to, HOST_T2, AT(native_value));
	struct emit_operands operands = { .reg = HOST_T2,
		.rm = { .base = HOST_T1, .index = HOST_NONE } };
	emit_insn(&w->to, insn, step->bytes, &operands);
	flags_written(w);
	return true;
}

bool generate(struct writing *w)
{
	const struct step *step = step_now(w);
	switch (step->effect.class) {
	case EFFECT_NOTHING:
		return true;
	case EFFECT_PLAIN:
		return plain(w);
	case EFFECT_VECTOR:
		if (!step->insn.has_modrm)
			return zero_upper(w);
		__attribute__((__fallthrough__));
	case EFFECT_MODRM:
		return step->insn.is_memory ? on_memory(w) : on_registers(w);
	case EFFECT_LEA:
		return load_address(w);
	case EFFECT_MOVE_IMMEDIATE:
		return move_immediate(w);
	case EFFECT_BYTE_SWAP:
		return byte_swap(w);
	case EFFECT_EXCHANGE_A:
		return exchange_a(w);
	case EFFECT_DIVIDE:
		return divide(w);
	case EFFECT_STRING:
		return generate_string(w);
	case EFFECT_SELECTOR:
	case EFFECT_PUSH_FLAGS:
	case EFFECT_INTERRUPTS:
	case EFFECT_SWAP_GS:
	case EFFECT_BASE:
	case EFFECT_TIME_STAMP:
	case EFFECT_CONTROL:
	case EFFECT_DIRECTION:
	case EFFECT_ACCESS:
		return generate_system(w);
	case EFFECT_BIT_FAR:
		return bit_far(w);
	case EFFECT_PUSH:
	case EFFECT_PUSH_IMMEDIATE:
		return push(w);
	case EFFECT_PUSH_MEMORY:
		return push_memory(w);
	case EFFECT_POP:
		return pop(w);
	case EFFECT_LEAVE:
		return leave(w);
	case EFFECT_OTHER:
	case EFFECT_JUMP:
	case EFFECT_CONDITION:
	case EFFECT_IF_ZERO:
	case EFFECT_CALL:
	case EFFECT_RETURN:
	case EFFECT_JUMP_INDIRECT:
	case EFFECT_CALL_INDIRECT:
	case EFFECT_CROSSING:
	default:
		return false;
	}
}
