/* SPDX-License-Identifier: Apache-2.0 */
/*
 * filter.c - rules to classic BPF.
 *
 * Theory of operation. For each architecture every system call number gets a leaf: an action, or the
 * rules to try. Neighbours with the same action join into a range, and the ranges become a binary tree of
 * comparisons, so that a call costs some seven of them. Conditional jumps of classic BPF reach 255
 * instructions; a node is a comparison and an unconditional jump, which reaches everywhere.
 */
#include "container/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

struct system_call {
	const char *name;
	int16_t native; /* -1: none */
	int16_t compat;
};

static const struct system_call system_calls[] = {
#include "container/system_calls.inc"
};

#define NUMBERS_MAX     512
#define INSTRUCTION_MAX 4096 /* BPF_MAXINSNS */

#if defined(__x86_64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_X86_64
#define COMPAT_ARCHITECTURE AUDIT_ARCH_I386
#elif defined(__aarch64__)
#define NATIVE_ARCHITECTURE AUDIT_ARCH_AARCH64
#define COMPAT_ARCHITECTURE AUDIT_ARCH_ARM
#else
#error "the system calls of this architecture are not known"
#endif

struct program {
	struct sock_filter code[INSTRUCTION_MAX];
	size_t length;
};

/* The rules of one number are a list through `next`. */
struct tree {
	const struct filter_options *options;
	int16_t first[NUMBERS_MAX]; /* rule, or -1: the default */
	int16_t *next;
	int highest;
};

static void emit(struct program *program, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (program->length < INSTRUCTION_MAX)
		program->code[program->length] =
			(struct sock_filter){ .code = code, .jt = jt, .jf = jf, .k = k };
	program->length++;
}

static void emit_return(struct program *program, uint32_t action)
{
	emit(program, BPF_RET | BPF_K, 0, 0, action);
}

static int compare_name(const void *name, const void *call)
{
	return strcmp(name, ((const struct system_call *)call)->name);
}

static const struct system_call *find(const char *name)
{
	return bsearch(name, system_calls, ARRAY_SIZE(system_calls), sizeof(system_calls[0]),
		compare_name);
}

bool filter_knows(const char *name)
{
	return find(name) != NULL;
}

void filter_for_each_name(filter_name_call *call, void *data)
{
	for (size_t i = 0; i < ARRAY_SIZE(system_calls); i++)
		call(data, system_calls[i].name);
}

static uint32_t unknown_action(const struct filter_options *options)
{
	bool is_error = (options->default_action & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
	return is_error ? SECCOMP_RET_ERRNO | ENOSYS : options->default_action;
}

/* What a number without conditions does, or false if it has some. */
static bool plain_action(const struct tree *tree, int number, uint32_t *ret)
{
	if (number > tree->highest)
		*ret = unknown_action(tree->options);
	else if (tree->first[number] < 0)
		*ret = tree->options->default_action;
	else if (tree->options->rules[tree->first[number]].condition_count == 0)
		*ret = tree->options->rules[tree->first[number]].action;
	else
		return false;
	return true;
}

static uint32_t argument_at(const struct filter_condition *condition, bool is_high)
{
	size_t at = offsetof(struct seccomp_data, args) + 8 * (size_t)condition->argument;
	return (uint32_t)at + (is_high ? 4 : 0); /* little-endian */
}

static void emit_load(struct program *program, const struct filter_condition *c, bool is_high)
{
	emit(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, argument_at(c, is_high));
	uint32_t mask = (uint32_t)(is_high ? c->mask >> 32 : c->mask);
	if (c->how == FILTER_MASKED_EQUAL)
		emit(program, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
}

/*
 * Falls through if the condition holds, else comes to the instruction behind, which the caller makes a
 * jump to the next rule. Layout: tests that end with "hold" skipping one instruction.
 */
static void emit_condition(struct program *program, const struct filter_condition *c)
{
	uint32_t high = (uint32_t)(c->value >> 32), low = (uint32_t)c->value;
	/* In each: jumps count from the next instruction; "fail" is the one after the last test. */
	switch (c->how) {
	case FILTER_EQUAL:
	case FILTER_MASKED_EQUAL: {
		uint8_t rest = c->how == FILTER_EQUAL ? 2 : 3;
		emit_load(program, c, true);
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, rest, high);
		emit_load(program, c, false);
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, low);
		break;
	}
	case FILTER_NOT_EQUAL:
		emit_load(program, c, true);
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, high);
		emit_load(program, c, false);
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 1, low);
		break;
	case FILTER_GREATER:
	case FILTER_GREATER_OR_EQUAL:
		emit_load(program, c, true);
		emit(program, BPF_JMP | BPF_JGT | BPF_K, 4, 0, high);
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 2, high);
		emit_load(program, c, false);
		emit(program, BPF_JMP | (c->how == FILTER_GREATER ? BPF_JGT : BPF_JGE) | BPF_K, 1,
			0, low);
		break;
	case FILTER_LESS:
	case FILTER_LESS_OR_EQUAL:
		emit_load(program, c, true);
		emit(program, BPF_JMP | BPF_JGT | BPF_K, 3, 0, high);
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 0, 3, high);
		emit_load(program, c, false);
		emit(program, BPF_JMP | (c->how == FILTER_LESS ? BPF_JGE : BPF_JGT) | BPF_K, 0, 1,
			low);
		break;
	}
}

/* Where "fail" is: a jump over the rest of the rule, whose length is known afterwards. */
static void emit_rule(struct program *program, const struct filter_rule *rule)
{
	size_t fails[FILTER_CONDITIONS_MAX];
	for (size_t i = 0; i < rule->condition_count; i++) {
		emit_condition(program, &rule->conditions[i]);
		fails[i] = program->length;
		emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
	}
	emit_return(program, rule->action);
	for (size_t i = 0; i < rule->condition_count; i++)
		if (fails[i] < INSTRUCTION_MAX)
			program->code[fails[i]].k = (uint32_t)(program->length - fails[i] - 1);
}

static void emit_leaf(struct program *program, const struct tree *tree, int number)
{
	uint32_t action;
	if (plain_action(tree, number, &action)) {
		emit_return(program, action);
		return;
	}
	for (int rule = tree->first[number]; rule >= 0; rule = tree->next[rule]) {
		emit_rule(program, &tree->options->rules[rule]);
		if (tree->options->rules[rule].condition_count == 0)
			return;
	}
	emit_return(program, tree->options->default_action);
}

static void emit_tree(
	struct program *program, const struct tree *tree, const int *starts, size_t count)
{
	if (count == 1) {
		emit_leaf(program, tree, starts[0]);
		return;
	}
	size_t half = count / 2;
	emit(program, BPF_JMP | BPF_JGE | BPF_K, 0, 1, (uint32_t)starts[half]);
	size_t jump = program->length;
	emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
	emit_tree(program, tree, starts, half);
	if (jump < INSTRUCTION_MAX)
		program->code[jump].k = (uint32_t)(program->length - jump - 1);
	emit_tree(program, tree, starts + half, count - half);
}

static void grow_tree(struct tree *tree, bool is_compat)
{
	memset(tree->first, -1, sizeof(tree->first));
	for (size_t i = 0; i < ARRAY_SIZE(system_calls); i++) {
		int number = is_compat ? system_calls[i].compat : system_calls[i].native;
		if (number > tree->highest)
			tree->highest = number;
	}
	/* Backwards, so that each list is in the order of the rules. */
	for (size_t i = tree->options->rule_count; i-- > 0;) {
		const struct system_call *call = find(tree->options->rules[i].name);
		int number = !call ? -1 : is_compat ? call->compat : call->native;
		if (number < 0)
			continue;
		tree->next[i] = tree->first[number];
		tree->first[number] = (int16_t)i;
	}
}

static void emit_architecture(
	struct program *program, const struct filter_options *options, bool is_compat)
{
	cleanup(free) int16_t *next = alloc_array(options->rule_count + 1, int16_t);
	struct tree tree = { .options = options, .next = next };
	grow_tree(&tree, is_compat);
	int starts[NUMBERS_MAX + 1];
	size_t count = 0;
	uint32_t before = 0;
	bool was_plain = false;
	for (int number = 0; number <= tree.highest + 1; number++) {
		uint32_t action = 0;
		bool is_plain = plain_action(&tree, number, &action);
		if (!is_plain || !was_plain || action != before)
			starts[count++] = number;
		was_plain = is_plain;
		before = action;
	}
	emit(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, nr));
	emit_tree(program, &tree, starts, count);
}

int filter_compile(const struct filter_options *options, struct sock_filter **ret,
	size_t *ret_length, struct error *e)
{
	if (options->rule_count > FILTER_RULES_MAX)
		return error_set(e, -E2BIG, "seccomp: more than %d rules", FILTER_RULES_MAX);
	cleanup(free) struct program *program = alloc(struct program);
	const struct {
		uint32_t architecture;
		bool is_used;
	} parts[] = { { NATIVE_ARCHITECTURE, options->has_native },
		{ COMPAT_ARCHITECTURE, options->has_32bit } };
	emit(program, BPF_LD | BPF_W | BPF_ABS, 0, 0, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		if (!parts[i].is_used)
			continue;
		emit(program, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, parts[i].architecture);
		size_t jump = program->length;
		emit(program, BPF_JMP | BPF_JA, 0, 0, 0);
		emit_architecture(program, options, i == 1);
		if (jump < INSTRUCTION_MAX)
			program->code[jump].k = (uint32_t)(program->length - jump - 1);
	}
	emit_return(program, SECCOMP_RET_KILL_PROCESS);
	if (program->length > INSTRUCTION_MAX)
		return error_set(e, -E2BIG, "seccomp: the rules make more than %d instructions",
			INSTRUCTION_MAX);
	struct sock_filter *code = alloc_array(program->length, struct sock_filter);
	memcpy(code, program->code, program->length * sizeof(code[0]));
	*ret = code;
	*ret_length = program->length;
	return 0;
}
