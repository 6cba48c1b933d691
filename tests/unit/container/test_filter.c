/* SPDX-License-Identifier: Apache-2.0 */
#include "container/filter.h"

#include <errno.h>
#include <linux/audit.h>
#include <sys/syscall.h>

#include "test.h"

#include "bpf.h"

#define ALLOW SECCOMP_RET_ALLOW
#define DENY  (SECCOMP_RET_ERRNO | EPERM)

static uint32_t run(const struct filter_options *options, uint32_t arch, int nr, uint64_t argument)
{
	cleanup(free) struct sock_filter *code = NULL;
	size_t length;
	struct error e = {};
	expect_equal(filter_compile(options, &code, &length, &e), 0);
	struct seccomp_data data = { .arch = arch, .nr = nr };
	for (int i = 0; i < 6; i++)
		data.args[i] = argument;
	return bpf_run(code, length, &data);
}

static uint32_t run_one(enum filter_operator how, uint64_t value, uint64_t mask, uint64_t argument)
{
	const struct filter_rule rule = { .name = "read",
		.action = ALLOW,
		.condition_count = 1,
		.conditions = { { 2, how, value, mask } } };
	const struct filter_options options = {
		.default_action = DENY, .rules = &rule, .rule_count = 1, .has_native = true
	};
	return run(&options, AUDIT_ARCH_X86_64, SYS_read, argument);
}

static void compares_64_bits(void)
{
	static const uint64_t values[] = { 0, 1, 0x7fffffff, 0xffffffff, 0x100000000, 0x100000001,
		0x7fffffffffffffff, UINT64_MAX - 1, UINT64_MAX };
	for (size_t i = 0; i < ARRAY_SIZE(values); i++)
		for (size_t j = 0; j < ARRAY_SIZE(values); j++) {
			uint64_t v = values[i], a = values[j];
			expect_equal(run_one(FILTER_EQUAL, v, 0, a), a == v ? ALLOW : DENY);
			expect_equal(run_one(FILTER_NOT_EQUAL, v, 0, a), a != v ? ALLOW : DENY);
			expect_equal(run_one(FILTER_LESS, v, 0, a), a < v ? ALLOW : DENY);
			expect_equal(run_one(FILTER_LESS_OR_EQUAL, v, 0, a), a <= v ? ALLOW : DENY);
			expect_equal(run_one(FILTER_GREATER, v, 0, a), a > v ? ALLOW : DENY);
			expect_equal(
				run_one(FILTER_GREATER_OR_EQUAL, v, 0, a), a >= v ? ALLOW : DENY);
			expect_equal(
				run_one(FILTER_MASKED_EQUAL, v & 0xff00000000ff, 0xff00000000ff, a),
				(a & 0xff00000000ff) == (v & 0xff00000000ff) ? ALLOW : DENY);
		}
}

static void first_rule_decides(void)
{
	const struct filter_rule rules[] = {
		{ "ioctl", SECCOMP_RET_ERRNO | 5, { { 0, FILTER_EQUAL, 7, 0 } }, 1 },
		{ "ioctl", SECCOMP_RET_ERRNO | 6,
			{ { 0, FILTER_GREATER, 2, 0 }, { 1, FILTER_LESS, 100, 0 } }, 2 },
		{ "ioctl", ALLOW, {}, 0 },
		{ "ioctl", SECCOMP_RET_ERRNO | 9, {}, 0 },
		{ "no such call", SECCOMP_RET_ERRNO | 9, {}, 0 },
	};
	const struct filter_options options = { .default_action = DENY,
		.rules = rules,
		.rule_count = ARRAY_SIZE(rules),
		.has_native = true };
	expect_equal(run(&options, AUDIT_ARCH_X86_64, SYS_ioctl, 7), SECCOMP_RET_ERRNO | 5);
	expect_equal(run(&options, AUDIT_ARCH_X86_64, SYS_ioctl, 8), SECCOMP_RET_ERRNO | 6);
	expect_equal(run(&options, AUDIT_ARCH_X86_64, SYS_ioctl, 100), ALLOW);
	expect_equal(run(&options, AUDIT_ARCH_X86_64, SYS_ioctl, 1), ALLOW);
	expect_equal(run(&options, AUDIT_ARCH_X86_64, SYS_read, 1), DENY);
}

static void minds_architectures_and_unknown_calls(void)
{
	const struct filter_rule rule = { .name = "write", .action = ALLOW };
	struct filter_options options = {
		.default_action = DENY, .rules = &rule, .rule_count = 1, .has_native = true
	};
	expect_equal(run(&options, AUDIT_ARCH_X86_64, SYS_write, 0), ALLOW);
	expect_equal(run(&options, AUDIT_ARCH_X86_64, 4000, 0), SECCOMP_RET_ERRNO | ENOSYS);
	/* The numbers of x32 are none of ours. */
	expect_equal(run(&options, AUDIT_ARCH_X86_64, 0x40000000 | SYS_write, 0),
		SECCOMP_RET_ERRNO | ENOSYS);
	expect_equal(run(&options, AUDIT_ARCH_X86_64, -1, 0), SECCOMP_RET_ERRNO | ENOSYS);
	expect_equal(run(&options, AUDIT_ARCH_I386, 4, 0), SECCOMP_RET_KILL_PROCESS);
	options.has_32bit = true;
	expect_equal(run(&options, AUDIT_ARCH_I386, 4, 0), ALLOW); /* write */
	expect_equal(run(&options, AUDIT_ARCH_I386, 1, 0), DENY);
	expect_equal(run(&options, AUDIT_ARCH_AARCH64, 4, 0), SECCOMP_RET_KILL_PROCESS);
}

static void covers_every_number(void)
{
	/* Every other call of the table, so that no two neighbours are alike. */
	static const struct filter_rule all[] = { { "read", ALLOW, {}, 0 },
		{ "open", ALLOW, {}, 0 }, { "stat", ALLOW, {}, 0 }, { "lstat", ALLOW, {}, 0 },
		{ "lseek", ALLOW, {}, 0 }, { "execve", ALLOW, {}, 0 } };
	const struct filter_options options = { .default_action = DENY,
		.rules = all,
		.rule_count = ARRAY_SIZE(all),
		.has_native = true };
	for (int nr = 0; nr < 450; nr++) {
		bool is_in = nr == SYS_read || nr == SYS_open || nr == SYS_stat ||
			nr == SYS_lstat || nr == SYS_lseek || nr == SYS_execve;
		expect_equal(run(&options, AUDIT_ARCH_X86_64, nr, 0), is_in ? ALLOW : DENY);
	}
}

static const struct test tests[] = {
	{ "conditions compare all 64 bits", compares_64_bits },
	{ "the first rule whose conditions hold decides", first_rule_decides },
	{ "other architectures and unknown calls are refused",
		minds_architectures_and_unknown_calls },
	{ "each number gets its own action", covers_every_number },
};

#if defined(__x86_64__)
TEST_MAIN(tests)
#else
int main(void)
{
	(void)tests;
	printf("1..0 # SKIP the numbers are those of x86-64\n");
	return 0;
}
#endif
