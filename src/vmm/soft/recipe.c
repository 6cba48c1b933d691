/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recipe.c - which instruction made the flags, and how it is done again.
 */
#include "vmm/soft/recipe.h"

#include "vmm/soft/registers.h"

/* Of the eight operations in two operands. */
#define ALU_ADD 0
#define ALU_SUB 5
#define ALU_CMP 7

/* Its operands, if they are registers or constants of one size. */
static bool take_operands(const struct step *step, struct recipe *to)
{
	const struct insn *insn = &step->insn;
	uint32_t opcode = insn->opcode, form = opcode & 7;
	bool is_test =
		(opcode & 0xfe) == 0x84 || (opcode & 0xfe) == 0xa8 || (opcode & 0xfe) == 0xf6;
	if (insn->map != MAP_ONE_BYTE || insn->has_vex)
		return false;
	to->bytes = opcode & 1 ? insn->operand_bytes : 1;
	to->second = INSN_NONE;
	to->imm = (int32_t)insn->imm;
	if (opcode < 0x40) {
		to->which = opcode >> 3 & 7;
		to->first = form < 2 ? insn->rm : form < 4 ? insn->reg : CPU_RAX;
		if (form < 4)
			to->second = form < 2 ? insn->reg : insn->rm;
	} else if (opcode >= 0x80 && opcode <= 0x83 && opcode != 0x82) {
		to->which = insn->modrm >> 3 & 7;
		to->first = insn->rm;
	} else if ((opcode & 0xfe) == 0xf6 && (insn->modrm >> 3 & 7) == 3) {
		to->which = RECIPE_NEG;
		to->first = insn->rm;
	} else if (is_test) {
		to->which = RECIPE_TEST;
		to->first = (opcode & 0xfe) == 0xa8 ? CPU_RAX : insn->rm;
		if ((opcode & 0xfe) == 0x84)
			to->second = insn->reg;
		if ((opcode & 0xfe) == 0xf6 && (insn->modrm >> 3 & 7) > 1)
			return false;
	} else {
		return false;
	}
	return to->bytes != 2;
}

static bool is_high_byte(const struct recipe *of, const struct insn *insn, uint32_t reg)
{
	return of->bytes == 1 && !insn->has_rex && reg >= 4 && reg < 8;
}

/* An operation whose second operand may be in memory, its first being a register. */
static bool is_in_reg(const struct insn *insn)
{
	return insn->opcode < 0x40 && (insn->opcode & 7) >= 2;
}

/* What would be kept of the operand in memory, or 0: it has none that the flags depend on but by their result. */
static uint32_t memory_part(const struct step *step, const struct recipe *to)
{
	bool is_logic = to->which == 1 || to->which == 4 || to->which == 6;
	bool in_reg = is_in_reg(&step->insn);
	if (!step->insn.is_memory || step->effect.class != EFFECT_MODRM || (is_logic && in_reg))
		return 0;
	return in_reg ? KEEPS_SECOND : KEEPS_FIRST;
}

/* How the flags come about, with an operand in memory that must be kept: `memory`. */
static bool understand(const struct step *step, struct recipe *to, uint32_t *memory)
{
	const struct insn *insn = &step->insn;
	uint32_t class = step->effect.class;
	if ((class != EFFECT_MODRM && class != EFFECT_PLAIN) || !take_operands(step, to))
		return false;
	bool is_logic = to->which == 1 || to->which == 4 || to->which == 6;
	bool is_sum = to->which == ALU_ADD || to->which == ALU_SUB;
	bool compares = to->which == ALU_CMP || to->which == RECIPE_TEST;
	*memory = memory_part(step, to);
	if (*memory &&
		(insn->has_lock || insn->address_bytes != 8 ||
			!(compares || (is_sum && *memory == KEEPS_SECOND))))
		return false;
	if (*memory == KEEPS_SECOND && is_sum && host_register(insn->reg) == HOST_NONE)
		return false;
	if (*memory != KEEPS_FIRST && is_high_byte(to, insn, to->first))
		return false;
	if (to->which == RECIPE_NEG)
		return to->bytes >= 4;
	if (*memory == KEEPS_SECOND)
		to->second = RECIPE_KEPT + 1;
	if (*memory == KEEPS_FIRST)
		to->first = RECIPE_KEPT;
	/* Of the result alone, which is in a register though the other operand may have been in memory. */
	if (is_logic || (to->which == ALU_SUB && to->second == to->first)) {
		to->which = RECIPE_TEST;
		to->second = to->first;
		return true;
	}
	if (to->second < RECIPE_KEPT && to->second != INSN_NONE &&
		is_high_byte(to, insn, to->second))
		return false;
	return compares || (is_sum && to->second != to->first && to->bytes >= 4);
}

static bool understand_kept(const struct step *step, struct recipe *to)
{
	uint32_t memory;
	if (!understand(step, to, &memory) || (memory & ~step->keeps))
		return false;
	bool is_same = to->second == to->first;
	if (step->keeps & KEEPS_FIRST)
		to->first = RECIPE_KEPT;
	if (is_same)
		to->second = to->first;
	else if ((step->keeps & KEEPS_SECOND) && to->second != INSN_NONE)
		to->second = RECIPE_KEPT + 1;
	return true;
}

/* Nothing is known of others. */
static bool is_known(const struct step *step)
{
	switch (step->effect.class) {
	case EFFECT_MODRM:
	case EFFECT_VECTOR:
	case EFFECT_PUSH:
	case EFFECT_PUSH_IMMEDIATE:
	case EFFECT_POP:
	case EFFECT_NOTHING:
	case EFFECT_PLAIN:
	case EFFECT_LEA:
	case EFFECT_MOVE_IMMEDIATE:
	case EFFECT_BYTE_SWAP:
	case EFFECT_EXCHANGE_A:
	case EFFECT_CONDITION:
		return !(step->effect.needs & LIVE_X87);
	default:
		return false;
	}
}

bool recipe_find(const struct writing *w, uint32_t count, struct recipe *ret)
{
	uint32_t at = count;
	while (at > 0 && !w->steps[at - 1].effect.touches) {
		if (!is_known(&w->steps[--at]))
			return false;
	}
	struct recipe found = { .is_there = true };
	if (at == 0 || w->steps[at - 1].effect.kills != EFFECT_FLAGS ||
		!understand_kept(&w->steps[at - 1], &found))
		return false;
	int64_t moved = 0, by;
	for (; at < count; at++) {
		const struct step *step = &w->steps[at];
		if (!registers_moved(step, found.first, &by) ||
			(found.second != INSN_NONE && found.second != found.first &&
				registers_written(step, found.second)))
			return false;
		moved += by;
	}
	if (found.second == CPU_RSP || (found.first == CPU_RSP && found.bytes != 8))
		return false;
	if (moved && (found.bytes != 8 || moved != (int32_t)moved))
		return false;
	found.moved = (int32_t)moved;
	*ret = found;
	return true;
}

/* Without T1. */
static bool is_direct(const struct recipe *recipe)
{
	return (recipe->which == ALU_CMP || recipe->which == RECIPE_TEST) && !recipe->moved &&
		!recipe->stack_moved;
}

/* The instruction reads flags while T1 is the address of its operand. */
static bool has_no_t1(const struct step *step)
{
	const struct effect *effect = &step->effect;
	return effect->class == EFFECT_BIT_FAR ||
		(step->insn.is_memory && (effect->touches || effect->reads));
}

/* No instruction follows it in its block, and who leaves by it makes the flags that were before it. */
static bool is_end(const struct step *step)
{
	uint32_t class = step->effect.class;
	return class == EFFECT_OTHER || class == EFFECT_JUMP ||
		(class >= EFFECT_CALL && class <= EFFECT_CROSSING);
}

bool recipe_holds(const struct writing *w, uint32_t from)
{
	struct recipe recipe;
	uint32_t i = from;
	for (; i < w->count && w->steps[i].live_in; i++)
		if (has_no_t1(&w->steps[i]) && (!recipe_find(w, i, &recipe) || !is_direct(&recipe)))
			return false;
	/* What holds there holds before; behind the last one a link may follow. */
	bool has_link = i == w->count && w->steps[i - 1].live_out && !is_end(&w->steps[i - 1]);
	uint32_t last = has_link || i == from ? i : i - 1;
	return (i == from && !has_link) || recipe_find(w, last, &recipe);
}

/* The flags behind it last until a jump by address, behind which hardly anybody reads them but many make them. */
static bool is_told(const struct writing *w, uint32_t number)
{
	uint32_t i = number + 1;
	while (i < w->count && w->steps[i].live_in)
		i++;
	uint32_t class = w->steps[i - 1].effect.class;
	return i == w->count &&
		(class == EFFECT_RETURN || class == EFFECT_JUMP_INDIRECT ||
			class == EFFECT_CALL_INDIRECT);
}

bool recipe_choose(struct writing *w, uint32_t number)
{
	struct step *step = &w->steps[number];
	struct recipe to;
	uint32_t memory;
	step->keeps = 0;
	if (step->effect.kills != EFFECT_FLAGS || !understand(step, &to, &memory))
		return false;
	uint32_t choices = is_told(w, number) ? 1 : 4;
	for (uint32_t more = 0; more < choices; more++) {
		step->keeps = (uint8_t)(memory | more);
		if (recipe_holds(w, number + 1))
			return true;
	}
	step->keeps = 0;
	return false;
}

/* Where an operand stands that has no register. */
static struct host_operand place_of(uint32_t guest)
{
	size_t at = guest >= RECIPE_KEPT
		? offsetof(struct cpu, native_kept) + 8 * (guest - RECIPE_KEPT)
		: offsetof(struct cpu, r) + 8 * guest;
	return (struct host_operand){ .base = HOST_RSP, .index = HOST_NONE, .disp = (int32_t)at };
}

static uint32_t register_of(uint32_t guest)
{
	return guest >= RECIPE_KEPT ? HOST_NONE : host_register(guest);
}

static void get(struct emitter *to, uint32_t target, uint32_t guest)
{
	uint32_t host = register_of(guest);
	struct host_operand at = place_of(guest);
	if (host == HOST_NONE)
		emit_op(to, EMIT_WIDE, 0x8b, target, &at);
	else
		emit_move(to, target, host);
}

/* `which` of a register and a constant, or of the register and another or what stands in struct cpu. */
static void operate(struct emitter *to, const struct recipe *recipe, uint32_t which, uint32_t first,
	uint32_t second)
{
	uint32_t how = recipe->bytes == 8 ? EMIT_WIDE : recipe->bytes == 1 ? EMIT_REX : 0;
	uint32_t form = recipe->bytes == 1 ? 0 : 1;
	bool is_test = which == RECIPE_TEST;
	if (recipe->second != INSN_NONE) {
		/* The register of an operation that does not write may be the other one. */
		uint8_t opcode = (uint8_t)((is_test ? 0x84 : which << 3 | 2) | form);
		struct host_operand at = place_of(recipe->second);
		if (second == HOST_NONE)
			emit_op(to, how, opcode, first, &at);
		else
			emit_op_reg(to, how, opcode, first, second);
		return;
	}
	emit_op_reg(to, how, (uint8_t)((is_test ? 0xf6 : 0x80) | form), is_test ? 0 : which, first);
	if (recipe->bytes == 1)
		EMIT(to, (uint8_t)recipe->imm);
	else
		emit_32(to, (uint32_t)recipe->imm);
}

/* The instruction with its operand in memory, which goes to T2 and is kept. */
static void with_kept(struct writing *w, const struct host_operand *at, const struct recipe *recipe)
{
	const struct insn *insn = &step_now(w)->insn;
	bool in_reg = is_in_reg(insn);
	uint32_t how = recipe->bytes == 8 ? EMIT_WIDE : recipe->bytes == 1 ? EMIT_0F : 0;
	uint32_t host = host_register(insn->reg);
	emit_op(&w->to, how, recipe->bytes == 1 ? 0xb6 : 0x8b, HOST_T2, at);
	emit_store(&w->to, AT(native_kept[in_reg]), HOST_T2);
	if (!in_reg) {
		operate(&w->to, recipe, recipe->which, HOST_T2,
			recipe->second == INSN_NONE ? HOST_NONE : host);
		return;
	}
	if (host != HOST_NONE) {
		operate(&w->to, recipe, recipe->which, host, HOST_T2);
		return;
	}
	struct host_operand first = place_of(insn->reg);
	how = recipe->bytes == 8 ? EMIT_WIDE : 0;
	emit_op(&w->to, how, (uint8_t)(recipe->which << 3 | (recipe->bytes > 1)), HOST_T2, &first);
}

bool recipe_keep(struct writing *w, const struct host_operand *at)
{
	struct recipe recipe = {};
	uint32_t memory;
	if (!step_now(w)->keeps || !understand(step_now(w), &recipe, &memory) || !memory)
		return false;
	with_kept(w, at, &recipe);
	return true;
}

void recipe_store(struct writing *w)
{
	const struct step *step = step_now(w);
	struct recipe recipe = {};
	uint32_t memory;
	if (!step->keeps || !understand(step, &recipe, &memory))
		return;
	for (uint32_t i = 0; i < 2; i++) {
		uint32_t guest = i ? recipe.second : recipe.first;
		if (!(step->keeps & ~memory & (KEEPS_FIRST << i)) || guest == INSN_NONE)
			continue;
		uint32_t host = host_register(guest);
		if (host == HOST_NONE)
			get(&w->to, HOST_T2, guest);
		emit_store(&w->to, AT(native_kept[0]) + 8 * i, host == HOST_NONE ? HOST_T2 : host);
	}
}

void recipe_write(struct writing *w, const struct recipe *recipe)
{
	struct emitter *to = &w->to;
	int32_t moved = recipe->moved + (recipe->first == CPU_RSP ? recipe->stack_moved : 0);
	uint32_t first = register_of(recipe->first), second = HOST_NONE;
	if (recipe->second != INSN_NONE)
		second = register_of(recipe->second);
	if (is_direct(recipe)) {
		if (first == HOST_NONE) {
			get(to, HOST_T2, recipe->first);
			first = HOST_T2;
		}
		operate(to, recipe, recipe->which, first, second);
		return;
	}
	get(to, HOST_T1, recipe->first);
	if (moved) {
		struct host_operand at = { .base = HOST_T1, .index = HOST_NONE, .disp = -moved };
		emit_lea(to, HOST_T1, &at);
	}
	if (recipe->second == recipe->first)
		second = HOST_T1; /* it has moved, too */
	if (recipe->which == RECIPE_NEG) {
		uint32_t wide = recipe->bytes == 8 ? EMIT_WIDE : 0;
		emit_op_reg(to, wide, 0xf7, 3, HOST_T1);
		emit_op_reg(to, wide, 0xf7, 3, HOST_T1);
		return;
	}
	if (recipe->which == ALU_ADD || recipe->which == ALU_SUB)
		operate(to, recipe, recipe->which ^ ALU_SUB, HOST_T1, second);
	operate(to, recipe, recipe->which, HOST_T1, second);
}
