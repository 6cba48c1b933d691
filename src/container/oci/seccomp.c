/* SPDX-License-Identifier: Apache-2.0 */
/*
 * seccomp.c - actions, architectures and rules by name.
 */
#include "container/oci/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>

#include "base/text.h"
#include "container/filter.h"

static const struct {
	const char *name;
	uint32_t action;
	bool has_errno;
} actions[] = {
	{ "SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, false },
	{ "SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, true },
	{ "SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD, false },
	{ "SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD, false },
	{ "SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS, false },
	{ "SCMP_ACT_TRAP", SECCOMP_RET_TRAP, false },
	{ "SCMP_ACT_TRACE", SECCOMP_RET_TRACE, true },
	{ "SCMP_ACT_LOG", SECCOMP_RET_LOG, false },
};

static const struct {
	const char *name;
	enum filter_operator how;
} operators[] = {
	{ "SCMP_CMP_EQ", FILTER_EQUAL },
	{ "SCMP_CMP_NE", FILTER_NOT_EQUAL },
	{ "SCMP_CMP_LT", FILTER_LESS },
	{ "SCMP_CMP_LE", FILTER_LESS_OR_EQUAL },
	{ "SCMP_CMP_GT", FILTER_GREATER },
	{ "SCMP_CMP_GE", FILTER_GREATER_OR_EQUAL },
	{ "SCMP_CMP_MASKED_EQ", FILTER_MASKED_EQUAL },
};

static const struct {
	const char *name;
	uint32_t flag;
} flags[] = {
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_TSYNC", 0 }, /* there is one thread */
};

static int read_action(const json_t *name, const json_t *number, uint32_t *ret, struct error *e)
{
	const char *text = json_string_value(name);
	for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
		if (!text_equal(text, actions[i].name))
			continue;
		json_int_t code = number ? json_integer_value(number) : EPERM;
		*ret = actions[i].action |
			(actions[i].has_errno ? (uint32_t)code & SECCOMP_RET_DATA : 0);
		return 0;
	}
	return error_set(e, -EINVAL, "linux.seccomp: there is no action %s", text ?: "(none)");
}

static int read_condition(const json_t *object, struct filter_condition *ret, struct error *e)
{
	const char *name = json_string_value(json_object_get(object, "op"));
	json_int_t index = json_integer_value(json_object_get(object, "index"));
	uint64_t first = (uint64_t)json_integer_value(json_object_get(object, "value"));
	uint64_t second = (uint64_t)json_integer_value(json_object_get(object, "valueTwo"));
	for (size_t i = 0; i < ARRAY_SIZE(operators); i++) {
		if (!text_equal(name, operators[i].name) || index < 0 || index > 5)
			continue;
		bool is_masked = operators[i].how == FILTER_MASKED_EQUAL;
		*ret = (struct filter_condition){ .argument = (uint8_t)index,
			.how = operators[i].how,
			.value = is_masked ? second : first,
			.mask = first };
		return 0;
	}
	return error_set(e, -EINVAL, "linux.seccomp: a condition %s that cannot be", name ?: "");
}

struct rules {
	struct filter_rule *items;
	size_t count;
};

/* Conditions on one argument twice cannot be one rule of libseccomp's: they are alternatives there. */
static int add_rules(struct rules *rules, const json_t *call, struct error *e)
{
	struct filter_rule rule = {};
	int r = read_action(json_object_get(call, "action"), json_object_get(call, "errnoRet"),
		&rule.action, e);
	size_t at;
	json_t *item;
	uint8_t used = 0;
	bool are_alternatives = false;
	json_array_foreach(json_object_get(call, "args"), at, item)
	{
		if (r < 0)
			return r;
		if (rule.condition_count == FILTER_CONDITIONS_MAX)
			return error_set(e, -EINVAL, "linux.seccomp: more than 6 conditions");
		struct filter_condition *condition = &rule.conditions[rule.condition_count++];
		r = read_condition(item, condition, e);
		are_alternatives |= used & 1 << condition->argument;
		used |= (uint8_t)(1 << condition->argument);
	}
	if (r < 0)
		return r;
	json_array_foreach(json_object_get(call, "names"), at, item)
	{
		rule.name = json_string_value(item);
		if (!rule.name || rules->count + FILTER_CONDITIONS_MAX > FILTER_RULES_MAX)
			return error_set(
				e, -EINVAL, "linux.seccomp.syscalls: names that cannot be");
		for (size_t i = 0; are_alternatives && i < rule.condition_count; i++) {
			struct filter_rule one = rule;
			one.condition_count = 1;
			one.conditions[0] = rule.conditions[i];
			rules->items[rules->count++] = one;
		}
		if (!are_alternatives)
			rules->items[rules->count++] = rule;
	}
	return 0;
}

static bool has_architecture(const json_t *seccomp, const char *const *names)
{
	size_t at;
	json_t *item;
	json_array_foreach(json_object_get(seccomp, "architectures"), at, item)
	{
		for (size_t i = 0; names[i]; i++)
			if (text_equal(json_string_value(item), names[i]))
				return true;
	}
	return false;
}

int oci_read_seccomp(const json_t *seccomp, struct sock_filter **ret, size_t *ret_length,
	uint32_t *ret_flags, struct error *e)
{
	*ret = NULL;
	*ret_length = 0;
	if (!seccomp || json_is_null(seccomp))
		return 0;
	static const char *const compat[] = { "SCMP_ARCH_X86", "SCMP_ARCH_ARM", NULL };
	struct filter_options options = { .has_native = true,
		.has_32bit = has_architecture(seccomp, compat) };
	int r = read_action(json_object_get(seccomp, "defaultAction"),
		json_object_get(seccomp, "defaultErrnoRet"), &options.default_action, e);
	cleanup(free) struct filter_rule *items = alloc_array(FILTER_RULES_MAX, struct filter_rule);
	struct rules rules = { .items = items };
	size_t at;
	json_t *item;
	json_array_foreach(json_object_get(seccomp, "syscalls"), at, item)
	{
		if (r == 0)
			r = add_rules(&rules, item, e);
	}
	*ret_flags = 0;
	json_array_foreach(json_object_get(seccomp, "flags"), at, item)
	{
		for (size_t i = 0; i < ARRAY_SIZE(flags); i++)
			if (text_equal(json_string_value(item), flags[i].name))
				*ret_flags |= flags[i].flag;
	}
	options.rules = rules.items;
	options.rule_count = rules.count;
	return r < 0 ? r : filter_compile(&options, ret, ret_length, e);
}
