/* SPDX-License-Identifier: Apache-2.0 */
/*
 * profile_rules.c - what the default profiles refuse.
 *
 * The profiles are allow lists of the system calls known when this was written (see system_calls.py):
 * of those, all that the tables below do not refuse. What is newer does not exist for a container.
 * A refused call fails with EPERM, as if a right were missing; one that programs probe for and do without
 * fails with ENOSYS.
 */
#include "container/profile_rules.h"

#include <errno.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <string.h>

#define BIT(profile) (1u << (profile))
#define APPLICATION  BIT(PROFILE_APPLICATION)
#define SYSTEM       BIT(PROFILE_SYSTEM)
#define NESTING      BIT(PROFILE_NESTING)
#define NO_USER      (APPLICATION | SYSTEM) /* those without user namespaces of their own */
#define ALL          (APPLICATION | SYSTEM | NESTING)

#define NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | \
		CLONE_NEWPID | CLONE_NEWNET)

/* Where `profiles` says so the call fails with `error`. */
static const struct refusal {
	const char *name;
	uint8_t profiles;
	uint8_t error;
} refusals[] = {
	/* The host's kernel and hardware. */
	{ "acct", ALL, EPERM },
	{ "bpf", ALL, EPERM },
	{ "create_module", ALL, EPERM },
	{ "delete_module", ALL, EPERM },
	{ "finit_module", ALL, EPERM },
	{ "get_kernel_syms", ALL, EPERM },
	{ "init_module", ALL, EPERM },
	{ "ioperm", ALL, EPERM },
	{ "iopl", ALL, EPERM },
	{ "kexec_file_load", ALL, EPERM },
	{ "kexec_load", ALL, EPERM },
	{ "lookup_dcookie", ALL, EPERM },
	{ "nfsservctl", ALL, EPERM },
	{ "perf_event_open", ALL, EPERM },
	{ "query_module", ALL, EPERM },
	{ "swapoff", ALL, EPERM },
	{ "swapon", ALL, EPERM },
	{ "syslog", ALL, EPERM },
	{ "uselib", ALL, EPERM },
	{ "vm86", ALL, EPERM },
	{ "vm86old", ALL, EPERM },
	{ "_sysctl", ALL, EPERM },
	{ "lsm_set_self_attr", ALL, EPERM },
	{ "clock_settime", ALL, EPERM },
	{ "clock_settime64", ALL, EPERM },
	{ "settimeofday", ALL, EPERM },
	{ "stime", ALL, EPERM },
	{ "reboot", APPLICATION, EPERM },

	/* Ways around paths and owners. */
	{ "open_by_handle_at", ALL, EPERM },
	{ "kcmp", NO_USER, EPERM },
	{ "quotactl", NO_USER, EPERM },
	{ "quotactl_fd", NO_USER, EPERM },

	/* Kernel code with a long history of holes, which programs do without. */
	{ "io_uring_enter", ALL, ENOSYS },
	{ "io_uring_register", ALL, ENOSYS },
	{ "io_uring_setup", ALL, ENOSYS },
	{ "userfaultfd", ALL, EPERM },

	/* Keyrings were not made for containers. */
	{ "add_key", NO_USER, EPERM },
	{ "keyctl", NO_USER, EPERM },
	{ "request_key", NO_USER, EPERM },

	/* Its flags are behind a pointer; the C libraries go on with clone. */
	{ "clone3", NO_USER, ENOSYS },

	/* An application manages no system. */
	{ "fanotify_init", APPLICATION, EPERM },
	{ "fsconfig", APPLICATION, EPERM },
	{ "fsmount", APPLICATION, EPERM },
	{ "fsopen", APPLICATION, EPERM },
	{ "fspick", APPLICATION, EPERM },
	{ "migrate_pages", APPLICATION, EPERM },
	{ "mount", APPLICATION, EPERM },
	{ "mount_setattr", APPLICATION, EPERM },
	{ "move_mount", APPLICATION, EPERM },
	{ "move_pages", APPLICATION, EPERM },
	{ "open_tree", APPLICATION, EPERM },
	{ "open_tree_attr", APPLICATION, EPERM },
	{ "pivot_root", APPLICATION, EPERM },
	{ "setdomainname", APPLICATION, EPERM },
	{ "sethostname", APPLICATION, EPERM },
	{ "setns", APPLICATION, EPERM },
	{ "sysfs", APPLICATION, EPERM },
	{ "umount", APPLICATION, EPERM },
	{ "umount2", APPLICATION, EPERM },
	{ "ustat", APPLICATION, EPERM },
	{ "vhangup", APPLICATION, EPERM },
};

/* Where `profiles` says so the call fails with EPERM if (argument & mask) == value. */
static const struct condition {
	const char *name;
	uint8_t profiles;
	uint8_t argument;
	enum filter_operator how;
	uint64_t value;
	uint64_t mask;
} conditions[] = {
	{ "clone", SYSTEM, 0, FILTER_MASKED_EQUAL, CLONE_NEWUSER, CLONE_NEWUSER },
	{ "unshare", SYSTEM, 0, FILTER_MASKED_EQUAL, CLONE_NEWUSER, CLONE_NEWUSER },
	/* Faked terminal input (TIOCSTI, TIOCLINUX) would reach who shares the terminal. */
	{ "ioctl", ALL, 1, FILTER_MASKED_EQUAL, 0x5412, 0xffffffff },
	{ "ioctl", ALL, 1, FILTER_MASKED_EQUAL, 0x541c, 0xffffffff },
	/* AF_VSOCK reaches the host without any namespace. */
	{ "socket", ALL, 0, FILTER_MASKED_EQUAL, 40, 0xffffffff },
};

/* And these fail unless all these flags are absent. */
static const struct filter_rule application_rules[] = {
	{ .name = "clone",
		.action = SECCOMP_RET_ALLOW,
		.condition_count = 1,
		.conditions = { { 0, FILTER_MASKED_EQUAL, 0, NAMESPACES } } },
	{ .name = "unshare",
		.action = SECCOMP_RET_ALLOW,
		.condition_count = 1,
		.conditions = { { 0, FILTER_MASKED_EQUAL, 0, NAMESPACES | CLONE_NEWTIME } } },
};

static const uint32_t personalities[] = { 0, 0x8, 0x20000, 0x20008, 0xffffffff };

struct rules {
	enum profile profile;
	struct filter_rule items[FILTER_RULES_MAX / 4];
	size_t count;
};

static struct filter_rule *add(struct rules *rules, const char *name, uint32_t action)
{
	assert(rules->count < ARRAY_SIZE(rules->items));
	struct filter_rule *rule = &rules->items[rules->count++];
	*rule = (struct filter_rule){ .name = name, .action = action };
	return rule;
}

static void add_condition(struct rules *rules, const char *name, uint32_t action, uint8_t argument,
	enum filter_operator how, uint64_t value, uint64_t mask)
{
	struct filter_rule *rule = add(rules, name, action);
	rule->condition_count = 1;
	rule->conditions[0] = (struct filter_condition){ argument, how, value, mask };
}

static bool is_conditional(enum profile profile, const char *name)
{
	if (strcmp(name, "personality") == 0)
		return true;
	return profile == PROFILE_APPLICATION &&
		(strcmp(name, "clone") == 0 || strcmp(name, "unshare") == 0);
}

static const struct refusal *find_refusal(enum profile profile, const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++)
		if (strcmp(refusals[i].name, name) == 0)
			return refusals[i].profiles & BIT(profile) ? &refusals[i] : NULL;
	return NULL;
}

static void add_name(void *data, const char *name)
{
	struct rules *rules = data;
	const struct refusal *refusal = find_refusal(rules->profile, name);
	if (refusal)
		add(rules, name, SECCOMP_RET_ERRNO | refusal->error);
	else if (!is_conditional(rules->profile, name))
		add(rules, name, SECCOMP_RET_ALLOW);
}

int profile_compile(
	enum profile profile, struct sock_filter **ret, size_t *ret_length, struct error *e)
{
	cleanup(free) struct rules *rules = alloc(struct rules);
	rules->profile = profile;
	for (size_t i = 0; i < ARRAY_SIZE(conditions); i++)
		if (conditions[i].profiles & BIT(profile))
			add_condition(rules, conditions[i].name, SECCOMP_RET_ERRNO | EPERM,
				conditions[i].argument, conditions[i].how, conditions[i].value,
				conditions[i].mask);
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
		add_condition(rules, "personality", SECCOMP_RET_ALLOW, 0, FILTER_EQUAL,
			personalities[i], 0);
	if (profile == PROFILE_APPLICATION)
		for (size_t i = 0; i < ARRAY_SIZE(application_rules); i++)
			rules->items[rules->count++] = application_rules[i];
	filter_for_each_name(add_name, rules);
	return filter_compile(&(struct filter_options){ .default_action = SECCOMP_RET_ERRNO | EPERM,
				      .rules = rules->items,
				      .rule_count = rules->count,
				      .has_native = true,
				      .has_32bit = true },
		ret, ret_length, e);
}
